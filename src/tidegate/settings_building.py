"""Turns texts into `Settings`: each value against its declaration, then all of them against each other and the machine."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from tidegate.cache.address import read_address
from tidegate.config import PREFIX, Declared, ExistenceMode, Profile, Settings, SettingsError, WelcomeMode, declared
from tidegate.passwords.profiles import PROFILES
from tidegate.queue.address import read_addresses
from tidegate.settings_node import share_of, usable_cores, usable_memory_bytes

PLACEHOLDER: Final = "change-me"
"""What .env.example has where a secret belongs; it starts nothing."""

STOP_NOTICE_MS: Final = 1_000
"""By default, behind a balancer: ours asks four times a second and waits 0.35 s for the answer (`balancer/haproxy.py`)."""

_SECRET_BYTES_MIN: Final = 32
"""A MAC key as long as the output of its hash, SHA-256 (RFC 2104 section 3)."""

_SECRET_CHARACTERS_MIN: Final = 32

_SECRET_DISTINCT_MIN: Final = 10
"""Of 32 random bytes about 30 are distinct; fewer than 10 come by typing."""

_MEMORY_SHARE_MAX: Final = 0.5
"""Of the machine's memory for hashing; the rest is for Python, the database and the page cache."""


def build_settings(given: Mapping[str, str]) -> Settings:
    """The settings that *given* says, with the defaults of the others, checked one by one and against each other.

    Args:
        given: Texts by variable. Names that no setting has are the caller's to refuse.

    Raises:
        SettingsError: All faults that were found.
    """
    faults: list[str] = []
    values: dict[str, Any] = {}
    for each in declared():
        try:
            value = read_one(each, given)
        except SettingsError as error:
            faults += error.faults
        else:
            if value is not None:
                values[each.name] = value
    if not faults:
        settings = Settings(**_with_computed_defaults(values))
        faults += _contradictions(settings)
        if not faults:
            return settings
    raise SettingsError(*faults)


def read_one(each: Declared, given: Mapping[str, str]) -> Any:  # noqa: ANN401 - of the type that the setting declares
    """The value of one setting, or None where it has a default and is not given.

    Raises:
        SettingsError: It is malformed, out of bounds, or missing and required.
    """
    text = _text_of(each, given)
    if text:
        return _parse(each, text)
    if each.is_required:
        raise SettingsError(f"{each.variable} is missing; set it{_or_file(each)}: {each.meaning.text}")
    return None


def _or_file(each: Declared) -> str:
    return f" (or {each.variable}_FILE)" if each.meaning.is_secret else ""


def _text_of(each: Declared, given: Mapping[str, str]) -> str:
    text = given.get(each.variable, "").strip()
    file = given.get(each.variable + "_FILE", "").strip() if each.meaning.is_secret else ""
    if not file:
        return text
    if text:
        raise SettingsError(f"{each.variable} and {each.variable}_FILE are both set; keep one of them")
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(
            f"{each.variable}_FILE names {file}, which cannot be read ({reason}); name a readable file"
        ) from None


def _parse(each: Declared, text: str) -> Any:  # noqa: ANN401 - of the type that the setting declares
    if each.meaning.is_secret:
        return _parse_secret(each, text)
    if each.type is bool:
        if text.lower() not in ("true", "false"):
            raise SettingsError(f"{each.variable} is {text!r}; set it to true or false")
        return text.lower() == "true"
    if each.type is int:
        return _parse_number(each, text)
    if each.meaning.choices and text not in each.meaning.choices:
        raise SettingsError(f"{each.variable} is {text!r}; set it to {' or '.join(each.meaning.choices)}")
    if each.type in (str, Profile, ExistenceMode, WelcomeMode):
        return each.type(text)
    return Path(text).absolute()


def _parse_number(each: Declared, text: str) -> int:
    low, high = each.meaning.low, each.meaning.high
    if (
        not re.fullmatch(r"-?[0-9]{1,18}", text)
        or (low is not None and int(text) < low)
        or (high is not None and int(text) > high)
    ):
        unit = f" of {each.meaning.unit}" if each.meaning.unit else ""
        raise SettingsError(f"{each.variable} is {text!r}; set it to a whole number{unit} from {low} to {high}")
    return int(text)


def _parse_secret(each: Declared, text: str) -> str | bytes | tuple[str, ...]:
    if PLACEHOLDER in text.lower():
        raise SettingsError(f"{each.variable} still is the placeholder of the example; set a secret of your own")
    if each.name == "primary_dsn":
        return _parse_dsn(each.variable, text)
    if each.name == "replica_dsns":
        return tuple(_parse_replica_dsn(each.variable, word) for word in text.split())
    if each.name == "cache_url":
        return _parse_cache_url(each.variable, text)
    if each.name == "queue_url":
        return _parse_queue_url(each.variable, text)
    if each.name == "smtp_password":
        return text  # another's server has made it, by its own rules
    if each.type is str:
        if len(text) < _SECRET_CHARACTERS_MIN:
            raise SettingsError(f"{each.variable} is too short; make it {_SECRET_CHARACTERS_MIN} random characters or more")
        return text
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise SettingsError(f"{each.variable} is not base64url; make one: openssl rand -base64 32 | tr +/ -_") from None
    if len(key) < _SECRET_BYTES_MIN:
        raise SettingsError(f"{each.variable} is too short; make it {_SECRET_BYTES_MIN} random bytes or more")
    if len(set(key)) < _SECRET_DISTINCT_MIN:
        raise SettingsError(f"{each.variable} is not random; make one: openssl rand -base64 32 | tr +/ -_")
    return key


_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:]*)(:[0-9]{1,5})?")
_SSL_MODES: Final = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}


def _parse_dsn(variable: str, text: str) -> str:
    """Refuse what the driver would choke on: its own words quote what it could not read, which may be a password."""
    scheme, _, rest = text.partition("://")
    if scheme not in ("postgresql", "postgres") or not rest:
        raise SettingsError(f"{variable} is no PostgreSQL URL; begin it with postgresql://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    hosts = authority.rpartition("@")[2].split(",")
    if "#" in rest or not all(_HOST.fullmatch(host) for host in hosts):
        raise SettingsError(
            f"{variable} cannot be read; write / ? # [ ] @ : and % of its password as %2F %3F %23 and so on"
        )
    query = rest.partition("?")[2]
    for mode in parse_qs(query).get("sslmode", []):
        if mode not in _SSL_MODES:
            raise SettingsError(f"{variable} has an unknown sslmode; take one of {', '.join(sorted(_SSL_MODES))}")
    return text


def _parse_replica_dsn(variable: str, text: str) -> str:
    """Of several hosts each connection could reach another, and what one of them has replayed says nothing of the next."""
    if "," in _parse_dsn(variable, text):
        raise SettingsError(f"{variable} names several hosts in one URL; give each replica a URL of its own, after a blank")
    return text


def _parse_cache_url(variable: str, text: str) -> str:
    try:
        read_address(text)
    except ValueError as error:
        raise SettingsError(f"{variable} cannot be read: {error}; correct it") from None
    return text


def _parse_queue_url(variable: str, text: str) -> str:
    try:
        read_addresses(text)
    except ValueError as error:
        raise SettingsError(f"{variable} cannot be read: {error}; correct it") from None
    return text


def _with_computed_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Add the defaults that follow from other values, and turn "0" processes into a number."""
    complete = {each.name: each.default for each in declared() if each.default is not MISSING} | dict(values)
    complete.setdefault("metrics_port", complete["port"] + 1_000)
    complete.setdefault("admin_port", complete["port"] + 2_000)
    host = complete["host"]
    complete.setdefault("issuer", f"http://{f'[{host}]' if ':' in host else host}:{complete['port']}")
    complete.setdefault("stop_notice_ms", STOP_NOTICE_MS if complete["trusted_hops"] else 0)
    if complete["api_processes"] == 0:
        complete["api_processes"] = processes_by_default(
            usable_cores(),
            each=connections_each(complete["database_connections"], has_replicas=bool(complete["replica_dsns"])),
            budget=complete["database_connections_budget"],
        )
    return complete


def connections_of(settings: Settings) -> int:
    """How many connections to the primary the API processes hold together."""
    each = connections_each(settings.database_connections, has_replicas=bool(settings.replica_dsns))
    return each * settings.api_processes


def connections_each(lent: int, *, has_replicas: bool) -> int:
    """How many an API process holds that lends *lent* to its requests."""
    return lent + 1 + has_replicas  # one hears of revocations, one tells where the primary is to who watches replicas


def replica_connections_of(settings: Settings) -> int:
    """How many connections to each replica the API processes hold together."""
    return (settings.replica_connections + 1) * settings.api_processes  # one watches


def hash_threads_of(settings: Settings, process: int) -> int:
    """How many hash threads API process number *process*, counted from 1, starts: all of them together one a core.

    At least one each, or the process could serve no login: with more processes than cores there are more threads, too.
    """
    return settings.hash_threads or max(1, share_of(usable_cores(), of=settings.api_processes, number=process))


def hash_threads_of_node(settings: Settings) -> int:
    """How many hash threads all API processes of the node start together."""
    return sum(hash_threads_of(settings, process) for process in range(1, settings.api_processes + 1))


def processes_by_default(cores: int, *, each: int, budget: int) -> int:
    """One a core, if *budget* has the connections of all, *each* of a process."""
    return max(1, min(cores, budget // each))


def _contradictions(settings: Settings) -> Iterator[str]:
    """What each value allows but all of them together do not. Every sentence names the settings to change."""
    cores = usable_cores()
    threads = hash_threads_of_node(settings)
    if threads > cores and settings.hash_threads > 1:
        yield (
            f"TIDEGATE_HASH_THREADS times TIDEGATE_API_PROCESSES is {threads}, but there are {cores} cores, and more "
            "threads than cores hash slower; lower one, or set TIDEGATE_HASH_THREADS=0"
        )
    hashing_bytes = threads * PROFILES[settings.hash_profile].thread_bytes
    if hashing_bytes > usable_memory_bytes() * _MEMORY_SHARE_MAX:
        yield (
            f"{threads} hash threads of TIDEGATE_HASH_PROFILE {settings.hash_profile} need {hashing_bytes >> 20} MiB, more "
            f"than half of the {usable_memory_bytes() >> 20} MiB here; lower TIDEGATE_HASH_THREADS or take another profile"
        )
    connections = connections_of(settings)
    if connections > settings.database_connections_budget:
        yield (
            "TIDEGATE_DATABASE_CONNECTIONS, and one more to hear of revocations"
            f"{', and one to watch replicas' if settings.replica_dsns else ''}, times TIDEGATE_API_PROCESSES is "
            f"{connections}, over "
            f"TIDEGATE_DATABASE_CONNECTIONS_BUDGET {settings.database_connections_budget}; lower one, or raise the budget"
        )
    replica_connections = replica_connections_of(settings)
    if settings.replica_dsns and replica_connections > settings.replica_connections_budget:
        yield (
            "TIDEGATE_REPLICA_CONNECTIONS, and one more to watch, times TIDEGATE_API_PROCESSES is "
            f"{replica_connections}, over "
            f"TIDEGATE_REPLICA_CONNECTIONS_BUDGET {settings.replica_connections_budget}; lower one, or raise the budget"
        )
    if settings.replica_dsns and settings.replica_statement_timeout_ms > settings.database_statement_timeout_ms:
        yield (
            "TIDEGATE_REPLICA_STATEMENT_TIMEOUT_MS must not exceed TIDEGATE_DATABASE_STATEMENT_TIMEOUT_MS; lower the first "
            "or raise the second"
        )
    for less, more in _IN_ORDER:
        if getattr(settings, less) > getattr(settings, more):
            names = [PREFIX + name.upper() for name in (less, more)]
            yield f"{names[0]} must not exceed {names[1]}; lower the first or raise the second"
    if settings.metrics_port > 65_535:
        yield "TIDEGATE_PORT + 1000 is no port; set TIDEGATE_METRICS_PORT"
    if settings.metrics_port == settings.port:
        yield "TIDEGATE_METRICS_PORT is TIDEGATE_PORT; set another, for metrics are not for the public"
    if settings.admin_token and settings.admin_port > 65_535:
        yield "TIDEGATE_PORT + 2000 is no port; set TIDEGATE_ADMIN_PORT"
    if settings.admin_token and settings.admin_port in (settings.port, settings.metrics_port):
        yield "TIDEGATE_ADMIN_PORT is TIDEGATE_PORT or TIDEGATE_METRICS_PORT; set another, for it is not for the public"
    if settings.phone_region and not re.fullmatch("[A-Z]{2}", settings.phone_region):
        yield f"TIDEGATE_PHONE_REGION is {settings.phone_region!r}; set it to two capital letters such as DE"
    if not re.fullmatch(r"https?://[^\s?#]+[^\s?#/]", settings.issuer):
        yield "TIDEGATE_ISSUER must be an https URL without query, fragment and final slash (RFC 8414 section 2); change it"
    if settings.welcome is WelcomeMode.SMTP and not (settings.smtp_host and settings.smtp_from):
        yield "TIDEGATE_WELCOME is smtp, which needs TIDEGATE_SMTP_HOST and TIDEGATE_SMTP_FROM; set both"
    if settings.welcome is WelcomeMode.SMTP and settings.smtp_timeout_ms > settings.database_statement_timeout_ms:
        # A greeting is sent within a transaction, which the database ends when nothing happens in it for so long.
        yield "TIDEGATE_SMTP_TIMEOUT_MS must not exceed TIDEGATE_DATABASE_STATEMENT_TIMEOUT_MS; lower it or raise the other"
    if bool(settings.smtp_user) != bool(settings.smtp_password):
        yield "TIDEGATE_SMTP_USER and TIDEGATE_SMTP_PASSWORD belong together; set both or none"
    if bool(settings.introspection_client_id) != bool(settings.introspection_client_secret):
        yield "TIDEGATE_INTROSPECTION_CLIENT_ID and TIDEGATE_INTROSPECTION_CLIENT_SECRET belong together; set both or none"


_IN_ORDER: Final = (
    ("refresh_reuse_grace_s", "access_token_ttl_s"),
    ("access_token_ttl_s", "session_idle_ttl_s"),
    ("session_idle_ttl_s", "session_absolute_ttl_s"),
    ("receive_deadline_ms", "request_deadline_ms"),
    ("hash_wait_ms_max", "request_deadline_ms"),
    ("cache_timeout_ms", "request_deadline_ms"),
    ("database_acquire_timeout_ms", "request_deadline_ms"),
    ("database_connect_timeout_ms", "request_deadline_ms"),
    ("database_statement_timeout_ms", "request_deadline_ms"),
)
"""Pairs of which the first must not exceed the second."""
