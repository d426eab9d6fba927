"""Texts become settings, or sentences that say what is wrong and what to do."""

import base64
import secrets
from pathlib import Path

import pytest

from tidegate import settings_building
from tidegate.config import Profile, Settings, SettingsError, declared, variables
from tidegate.settings_building import build_settings, hash_threads_of

MAC_KEY = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
REQUIRED = {
    "TIDEGATE_PRIMARY_DSN": "postgresql://tidegate:hunter2@db.example/tidegate",
    "TIDEGATE_SIGNING_KEYS_FILE": "/keys.json",
    "TIDEGATE_REFRESH_MAC_KEY": MAC_KEY,
}


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_building, "usable_cores", lambda: 8)
    monkeypatch.setattr(settings_building, "usable_memory_bytes", lambda: 4 << 30)


def build(**given: str) -> Settings:
    return build_settings(REQUIRED | {f"TIDEGATE_{name}": text for name, text in given.items()})


def fault(**given: str) -> str:
    with pytest.raises(SettingsError) as refused:
        build(**given)
    assert len(refused.value.faults) == 1
    return refused.value.faults[0]


def test_defaults_are_what_the_declarations_say() -> None:
    settings = build()
    assert (settings.host, settings.port, settings.metrics_port) == ("127.0.0.1", 8080, 9080)
    assert settings.issuer == "http://127.0.0.1:8080"
    assert settings.profile is Profile.CONTRACT
    assert settings.register_at_login is True
    assert settings.log_file is None


def test_what_is_given_replaces_the_default() -> None:
    settings = build(PORT="81", METRICS_PORT="90", REGISTER_AT_LOGIN="False", PROFILE="hardened", LOG_FILE="/l", HOST="::1")
    assert (settings.port, settings.metrics_port, settings.register_at_login) == (81, 90, False)
    assert (settings.profile, settings.log_file) == (Profile.HARDENED, Path("/l"))
    assert settings.issuer == "http://[::1]:81"


def test_an_empty_value_counts_as_none() -> None:
    assert build(PORT="", ISSUER=" ").port == 8080


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        build(PORT="x", PROFILE="y")
    assert len(refused.value.faults) == 2


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_required_setting_is_asked_for(missing: str) -> None:
    with pytest.raises(SettingsError, match=f"^{missing} is missing; set it"):
        build_settings({name: text for name, text in REQUIRED.items() if name != missing})


@pytest.mark.parametrize("text", ["abc", "0", "65536", "-1", "8080.0", "1e3", "٨", "8_0", "9" * 30])
def test_a_number_out_of_its_bounds_is_refused(text: str) -> None:
    assert fault(PORT=text) == f"TIDEGATE_PORT is {text!r}; set it to a whole number from 1 to 65535"


@pytest.mark.parametrize("name", ["PROFILE", "HASH_PROFILE", "REGISTER_AT_LOGIN"])
def test_a_choice_names_its_values(name: str) -> None:
    assert f"TIDEGATE_{name} is 'bogus'; set it to " in fault(**{name: "bogus"})


def test_hash_threads_are_the_cores_shared_out_over_the_processes() -> None:
    """All of them, and none twice; but a process without a thread could serve no login."""

    def threads(processes: int, **given: str) -> list[int]:
        settings = build(API_PROCESSES=str(processes), DATABASE_CONNECTIONS="2", **given)
        return [hash_threads_of(settings, process) for process in range(1, processes + 1)]

    assert [threads(1), threads(3), threads(8)] == [[8], [3, 3, 2], [1] * 8]
    assert threads(9) == [1] * 9
    assert threads(3, HASH_THREADS="2") == [2, 2, 2]


def test_processes_follow_the_cores_as_far_as_there_are_connections_for_them() -> None:
    assert build().api_processes == 8
    assert build(API_PROCESSES="0", DATABASE_CONNECTIONS="19").api_processes == 4
    assert build(DATABASE_CONNECTIONS="100", DATABASE_CONNECTIONS_BUDGET="101").api_processes == 1


def test_more_hash_threads_than_cores_are_refused() -> None:
    assert build(API_PROCESSES="2", HASH_THREADS="4").hash_threads == 4
    assert "is 10, but there are 8 cores" in fault(API_PROCESSES="2", HASH_THREADS="5")


def test_hash_memory_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hashes of 19 MiB a thread; of the lanes of a hash one after the other, so one of 64 MiB."""
    monkeypatch.setattr(settings_building, "usable_memory_bytes", lambda: 608 << 20)
    assert build(API_PROCESSES="1")
    assert "8 hash threads of TIDEGATE_HASH_PROFILE rfc9106-65536 need 512 MiB" in fault(
        API_PROCESSES="1", HASH_PROFILE="rfc9106-65536"
    )
    assert "9 hash threads of TIDEGATE_HASH_PROFILE owasp-19456 need 342 MiB" in fault(
        API_PROCESSES="9", DATABASE_CONNECTIONS="2"
    )


def test_connections_over_the_budget_are_refused() -> None:
    """Each process holds one more, which hears of revocations."""
    assert build(API_PROCESSES="9", DATABASE_CONNECTIONS="9").api_processes == 9
    assert "is 99, over TIDEGATE_DATABASE_CONNECTIONS_BUDGET 90" in fault(API_PROCESSES="9", DATABASE_CONNECTIONS="10")


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"SESSION_IDLE_TTL_S": "1000"}, {"SESSION_ABSOLUTE_TTL_S": "999"}),
        ({"ACCESS_TOKEN_TTL_S": "1000"}, {"SESSION_IDLE_TTL_S": "999"}),
        ({"REFRESH_REUSE_GRACE_S": "60"}, {"ACCESS_TOKEN_TTL_S": "59"}),
        ({"HASH_WAIT_MS_MAX": "20000"}, {"REQUEST_DEADLINE_MS": "19999"}),
        ({"RECEIVE_DEADLINE_MS": "20000"}, {"REQUEST_DEADLINE_MS": "19999"}),
    ],
)
def test_what_must_end_first_must_be_shorter(less: dict[str, str], more: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as refused:
        build(**less, **more)
    expected = (
        f"TIDEGATE_{next(iter(less))} must not exceed TIDEGATE_{next(iter(more))}; lower the first or raise the second"
    )
    assert expected in refused.value.faults


def test_what_ends_first_may_be_as_long() -> None:
    settings = build(SESSION_IDLE_TTL_S="999", SESSION_ABSOLUTE_TTL_S="999", ACCESS_TOKEN_TTL_S="999")
    assert settings.access_token_ttl_s == settings.session_absolute_ttl_s


def test_metrics_need_a_port_of_their_own() -> None:
    assert "TIDEGATE_METRICS_PORT is TIDEGATE_PORT" in fault(PORT="80", METRICS_PORT="80")
    assert fault(PORT="65000") == "TIDEGATE_PORT + 1000 is no port; set TIDEGATE_METRICS_PORT"


@pytest.mark.parametrize("issuer", ["login.example", "https://login.example/", "https://login.example/?a", "ftp://a.b"])
def test_an_issuer_is_a_url_without_a_tail(issuer: str) -> None:
    assert fault(ISSUER=issuer).startswith("TIDEGATE_ISSUER must be")


def test_a_phone_region_is_two_capital_letters() -> None:
    assert build(PHONE_REGION="DE").phone_region == "DE"
    assert "TIDEGATE_PHONE_REGION is 'Germany'" in fault(PHONE_REGION="Germany")


@pytest.mark.parametrize("text", ["change-me", "change-me-" + "x" * 40])
@pytest.mark.parametrize("name", ["REFRESH_MAC_KEY", "INTROSPECTION_CLIENT_SECRET", "PRIMARY_DSN"])
def test_the_placeholder_of_the_example_starts_nothing(name: str, text: str) -> None:
    assert fault(**{name: text}) == f"TIDEGATE_{name} still is the placeholder of the example; set a secret of your own"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A" * 43, "is not random"),
        (MAC_KEY[:40], "is too short"),
        ("not base64url at all!", "is not base64url"),
    ],
    ids=["one letter", "short", "spaces"],
)
def test_a_weak_mac_key_is_refused_and_not_shown(text: str, why: str) -> None:
    told = fault(REFRESH_MAC_KEY=text)
    assert told.startswith(f"TIDEGATE_REFRESH_MAC_KEY {why};")
    assert text not in told


def test_introspection_needs_both_of_its_halves() -> None:
    assert build(INTROSPECTION_CLIENT_ID="a", INTROSPECTION_CLIENT_SECRET="s" * 32).introspection_client_id == "a"
    assert "belong together" in fault(INTROSPECTION_CLIENT_ID="a")
    assert "is too short" in fault(INTROSPECTION_CLIENT_ID="a", INTROSPECTION_CLIENT_SECRET="s" * 31)


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(MAC_KEY + "\n")
    given = {name: text for name, text in REQUIRED.items() if name != "TIDEGATE_REFRESH_MAC_KEY"}
    assert build_settings(given | {"TIDEGATE_REFRESH_MAC_KEY_FILE": str(file)}).refresh_mac_key == build().refresh_mac_key


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    assert "are both set; keep one" in fault(REFRESH_MAC_KEY_FILE=str(tmp_path / "key"))


def test_a_secret_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    told = fault(REFRESH_MAC_KEY="", REFRESH_MAC_KEY_FILE=str(tmp_path / "none"))
    assert told.startswith(f"TIDEGATE_REFRESH_MAC_KEY_FILE names {tmp_path / 'none'}, which cannot be read (No such file")


def test_no_secret_is_in_the_repr() -> None:
    shown = repr(build(INTROSPECTION_CLIENT_ID="a", INTROSPECTION_CLIENT_SECRET="s3cr3t" * 6))
    assert "hunter2" not in shown
    assert "s3cr3t" not in shown
    assert "refresh_mac_key" not in shown
    assert "port=8080" in shown


def test_every_secret_is_kept_out_of_the_repr() -> None:
    """A secret declared without `field(repr=False)` would end up in a log one day."""
    for each in declared():
        shown = f"{each.name}=" in repr(build())
        assert shown is not each.meaning.is_secret, each.name


def test_only_secrets_may_come_from_files() -> None:
    known = variables()
    assert "TIDEGATE_REFRESH_MAC_KEY_FILE" in known
    assert "TIDEGATE_PORT_FILE" not in known


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://tidegate:ZAN/QUX@db.example/tidegate",
        "postgresql://tidegate:ZAN#QUX@db.example/tidegate",
        "postgresql://tidegate:ZAN?QUX@db.example/tidegate",
        "postgresql://tidegate:ZANQUX@[db.example/tidegate",
        "postgresql://tidegate:ZANQUX@db.example:port/tidegate",
        "postgresql://tidegate:ZANQUX@a:1,b:x/tidegate",
        "postgresql://tidegate:ZANQUX@db.example/tidegate?sslmode=ZANQUX",
        "postgresql://",
        "mysql://tidegate:ZANQUX@db.example/tidegate",
    ],
)
def test_a_dsn_that_the_driver_would_choke_on_is_refused_and_not_shown(dsn: str) -> None:
    """The driver's own error quotes a piece of the password."""
    told = fault(PRIMARY_DSN=dsn)
    assert "TIDEGATE_PRIMARY_DSN" in told
    assert not any(piece in told for piece in ("ZAN", "QUX"))


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://tidegate:a%2Fb%23@db.example:5432/tidegate?sslmode=verify-full",
        "postgresql://tidegate@/tidegate?host=/run/postgresql",
        "postgres://tidegate@[2001:db8::1]:5432/tidegate",
        "postgresql://tidegate:secret@a:5432,b:5433/tidegate?target_session_attrs=primary",
    ],
)
def test_a_dsn_that_the_driver_reads_is_taken_as_it_is(dsn: str) -> None:
    assert build(PRIMARY_DSN=dsn).primary_dsn == dsn


def test_the_url_of_a_cache_is_read_at_the_start() -> None:
    assert build(CACHE_URL="valkey://:hunter2@cache.example").cache_url == "valkey://:hunter2@cache.example"
    told = fault(CACHE_URL="valkey://:hunter2/@cache.example")
    assert told.startswith("TIDEGATE_CACHE_URL cannot be read: ")
    assert "hunter2" not in told
    assert "hunter2" not in repr(build(CACHE_URL="valkey://:hunter2@cache.example"))


def test_notice_is_given_where_somebody_stands_before_us_who_could_take_it() -> None:
    """A node that clients reach directly has nobody to tell, and stops at once."""
    assert build().stop_notice_ms == 0
    assert build(TRUSTED_HOPS="1").stop_notice_ms == 1_000
    assert build(TRUSTED_HOPS="1", STOP_NOTICE_MS="0").stop_notice_ms == 0


REPLICAS = "postgresql://tidegate@one.example/tidegate\n postgresql://tidegate@two.example/tidegate"


def test_replicas_are_urls_parted_by_blanks() -> None:
    assert build().replica_dsns == ()
    assert build(REPLICA_DSNS=REPLICAS).replica_dsns == (
        "postgresql://tidegate@one.example/tidegate",
        "postgresql://tidegate@two.example/tidegate",
    )
    assert "one.example" not in repr(build(REPLICA_DSNS=REPLICAS))


@pytest.mark.parametrize("wrong", ["mysql://one.example/x", REPLICAS + " two", "postgresql://tidegate:p@ss#word@one/x"])
def test_a_replica_that_cannot_be_read_is_told_without_its_words(wrong: str) -> None:
    told = fault(REPLICA_DSNS=wrong)
    assert "TIDEGATE_REPLICA_DSNS" in told
    assert "example" not in told
    assert "ss#word" not in told


def test_a_replica_is_one_server() -> None:
    """What one of several has replayed would be taken for what another has."""
    assert "several hosts" in fault(REPLICA_DSNS="postgresql://tidegate@one.example,two.example/tidegate")


def test_the_connections_to_a_replica_fit_its_budget() -> None:
    given = {"API_PROCESSES": "2", "REPLICA_CONNECTIONS": "4", "REPLICA_DSNS": REPLICAS}
    assert build(**given, REPLICA_CONNECTIONS_BUDGET="10")
    assert "TIDEGATE_REPLICA_CONNECTIONS_BUDGET 9" in fault(**given, REPLICA_CONNECTIONS_BUDGET="9")


def test_who_has_replicas_holds_one_more_connection_to_the_primary() -> None:
    """It tells where the primary is to who watches replicas."""
    assert build(API_PROCESSES="2", DATABASE_CONNECTIONS_BUDGET="18")
    assert "and one to watch replicas" in fault(API_PROCESSES="2", DATABASE_CONNECTIONS_BUDGET="18", REPLICA_DSNS=REPLICAS)
    assert build(DATABASE_CONNECTIONS_BUDGET="20", REPLICA_DSNS=REPLICAS).api_processes == 2


def test_a_replica_is_not_waited_for_longer_than_the_primary() -> None:
    given = {"DATABASE_STATEMENT_TIMEOUT_MS": "200"}
    assert build(**given)
    assert "TIDEGATE_REPLICA_STATEMENT_TIMEOUT_MS" in fault(**given, REPLICA_DSNS=REPLICAS)


def test_the_url_of_a_queue_is_read_at_the_start() -> None:
    url = "nats://:hunter2@one.example,tls://two.example:4223"
    assert build(QUEUE_URL=url).queue_url == url
    told = fault(QUEUE_URL="nats://:hunter2/@one.example")
    assert told.startswith("TIDEGATE_QUEUE_URL cannot be read: ")
    assert "hunter2" not in told
    assert "hunter2" not in repr(build(QUEUE_URL=url))


def test_a_greeting_by_email_needs_a_server_and_fits_into_a_transaction() -> None:
    assert "TIDEGATE_SMTP_HOST" in fault(WELCOME="smtp")
    complete = {"WELCOME": "smtp", "SMTP_HOST": "mail.example", "SMTP_FROM": "hello@tidegate.example"}
    assert build(**complete).welcome == "smtp"
    assert "TIDEGATE_SMTP_TIMEOUT_MS" in fault(**complete, SMTP_TIMEOUT_MS="5001")
    assert "belong together" in fault(SMTP_USER="tidegate")
    assert "hunter2" not in repr(build(SMTP_USER="tidegate", SMTP_PASSWORD="hunter2"))
