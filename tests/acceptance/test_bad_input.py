"""Values that may not stand in a field: 400 with the reason, nothing hashed, nothing stored; and what just fits."""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.client import PASSWORD, Client, Person, fresh_name
from tests.support.contract import INVALID_REQUEST, SUCCESS, TOKENS, Row
from tests.support.nodes import Node
from tests.support.untouched import Watch

REGISTERING: Final = ("POST /register", "POST /login")
FOUR_BYTES: Final = "\U00020000"
"""A Chinese character of four bytes in UTF-8, which may stand in a username too."""


def refused(call: str, reason: str, *, members: dict[str, Any] | None = None, form: dict[str, str] | None = None) -> Row:
    """A row that must be refused for *reason*."""
    bearer = "$access_token" if "/me" in call else None
    return Row(name="", call=call, json=members, form=form, bearer=bearer, gives=INVALID_REQUEST, reason=reason)


def check_refused(row: Row, client: Client, bystander: Person, watch: Watch) -> None:
    """Assert the contract's 400, that a problem says the same, and that neither cost or left anything."""
    with watch.nothing_hashed_nor_stored():
        row.check(client, bystander)
        row.check_problem(client, bystander)


def a_registration(**members: str) -> dict[str, str]:
    return {"username": "new-$username", "password": PASSWORD} | members


# How long

LONG: Final = {
    "username": ("u" * 256, "too_long"),
    "email": (f"{'e' * 64}@{'d' * 63}.{'d' * 63}.{'d' * 60}.ex", "too_long"),
    "phone_number": ("+4915112345678" + " " * 242, "too_long"),
    "full_name": ("n" * 256, "too_long"),
}


@pytest.mark.parametrize("field", LONG)
@pytest.mark.parametrize("call", REGISTERING)
def test_256_characters_are_refused_at_registration(
    call: str, field: str, client: Client, bystander: Person, watch: Watch
) -> None:
    value, reason = LONG[field]
    assert len(value) == 256
    check_refused(refused(call, f"{field}={reason}", members=a_registration(**{field: value})), client, bystander, watch)


@pytest.mark.parametrize("field", ["username", "email", "phone_number"])
def test_256_characters_are_refused_at_login(field: str, client: Client, bystander: Person, watch: Watch) -> None:
    value, reason = LONG[field]
    row = refused("POST /login", f"{field}={reason}", form={field: value, "password": PASSWORD})
    check_refused(row, client, bystander, watch)


def test_256_characters_are_refused_everywhere_else(client: Client, bystander: Person, watch: Watch) -> None:
    for row in (
        refused("PATCH /me", "full_name=too_long", members={"full_name": "n" * 256}),
        refused("PATCH /me", "full_name=too_long", members={"full_name": FOUR_BYTES * 256}),
        refused(f"GET /availability?username={'u' * 256}", "username=too_long"),
    ):
        check_refused(row, client, bystander, watch)


def test_what_grows_over_255_characters_when_normalised_is_refused(client: Client, bystander: Person, watch: Watch) -> None:
    """Each letter becomes three in normalisation form C, and one becomes two in small."""
    for field, value in {"full_name": "\U0001d15e" * 100 + "\ufb2c" * 60, "username": "İ" * 200}.items():
        assert len(value) <= 255
        row = refused("POST /register", f"{field}=too_long", members=a_registration(**{field: value}))
        check_refused(row, client, bystander, watch)


@pytest.mark.parametrize("letter", ["u", "ü", FOUR_BYTES], ids=["one byte", "two bytes", "four bytes"])
def test_a_username_of_255_characters_fits(letter: str, client: Client) -> None:
    name = fresh_name() + "-"
    name += letter * (255 - len(name))
    SUCCESS.check(client.send_json("/register", {"username": name, "password": PASSWORD}))
    TOKENS.check(client.form("/login", {"username": name, "password": PASSWORD}))
    assert client.get("/me", token=client.log_in(name)["access_token"]).json["username"] == name


def test_an_email_of_254_characters_fits(client: Client) -> None:
    """The longest there is: RFC 5321 section 4.5.3.1.3 allows a path of 256 octets, its two brackets included."""
    local_part = fresh_name() + "-"
    email = f"{local_part.ljust(64, 'e')}@{'d' * 63}.{'d' * 63}.{'d' * 57}.abc"
    assert len(email) == 254
    SUCCESS.check(client.send_json("/register", {"email": email, "password": PASSWORD}))
    TOKENS.check(client.form("/login", {"email": email, "password": PASSWORD}))


@pytest.mark.parametrize("letter", ["n", FOUR_BYTES, "👩"], ids=["one byte", "four bytes", "emoji"])
def test_a_full_name_of_255_characters_fits(letter: str, client: Client) -> None:
    name = fresh_name()
    client.register(name, full_name=letter * 255)
    token = client.log_in(name)["access_token"]
    assert client.get("/me", token=token).json["full_name"] == letter * 255
    changed = client.send_json("/me", {"full_name": f"{letter * 254}x"}, method="PATCH", token=token)
    assert changed.json["full_name"] == f"{letter * 254}x"


def test_an_eight_megabyte_header_is_refused_and_its_sender_hears_it(
    shared_node: Node, bystander: Person, watch: Watch
) -> None:
    with watch.nothing_hashed_nor_stored(), socket.create_connection(("127.0.0.1", shared_node.port), 20) as connection:
        head = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nX: "
        connection.sendall(head + b"x" * 8_000_000 + b"\r\n\r\n")
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\ncontent-type: application/json\r\n" in answer
    assert answer.endswith(b'\r\n\r\n{"code":"413","message":"request too large"}')


def test_an_eight_megabyte_target_is_refused(shared_node: Node, watch: Watch) -> None:
    with watch.nothing_hashed_nor_stored(), socket.create_connection(("127.0.0.1", shared_node.port), 20) as connection:
        connection.sendall(b"GET /availability?username=" + b"x" * 8_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.endswith(b'{"code":"413","message":"request too large"}')


@pytest.mark.parametrize(
    "octets",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/3.0\r\n\r\n", b"\0" * 64, b"POST /login\r\n\r\n"],
    ids=["TLS", "an HTTP that we do not speak", "zeros", "no version"],
)
def test_what_is_not_http_is_refused_in_the_contract_s_form(octets: bytes, shared_node: Node, watch: Watch) -> None:
    with watch.nothing_hashed_nor_stored(), socket.create_connection(("127.0.0.1", shared_node.port), 20) as connection:
        connection.sendall(octets)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b'{"code":"400","message":"invalid request"}')


# Who

NO_NAMES: Final = {
    "username": [
        "with space",
        " leading",
        "trailing ",
        "a@b",
        "@",
        "+4915112345678",
        "+ada",
        "a\tb",
        "a\nb",
        "a\x7f",
        "zero\u200bwidth",
        "a\u202eb",
        "☃",
        "ada🙂",
        "\u05d0a\u05d1",
        "a\u00ad",
    ],
    "email": [
        "ada",
        "ada@",
        "@example.com",
        "ada@example.com@example.com",
        "ada king@example.com",
        " ada@example.com",
        "ada@example.com ",
        "ada@exam ple.com",
        "ada@.example.com",
        "ada@example..com",
        "ada@-example.com",
        ".ada@example.com",
        "ada.@example.com",
        "a..b@example.com",
        "ada@[127.0.0.1]",
        '"ada"@example.com',
        "Ada <ada@example.com>",
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@xn--a",
        f"{'e' * 64}@{'d' * 63}.{'d' * 63}.{'d' * 59}.ex",
    ],
    "phone_number": [
        "0151 12345678",
        "112",
        "+",
        "+1",
        "+49",
        "+999123456789",
        "+4915112345678901234",
        "+49 151 ABCDEFG",
        "+49 151 12345678 ext. 3",
        "tel:+4915112345678",
        "00491511234567",
        "++4915112345678",
        "４９15112345678",
        "+49 151 12345678\n",
        "ada",
    ],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in NO_NAMES.items() for value in values], ids=repr
)
def test_what_nobody_can_be_called_is_refused(
    field: str, value: str, client: Client, bystander: Person, watch: Watch
) -> None:
    """At login too: nobody can have it, so nobody is told that nobody has it."""
    reason = f"{field}=invalid"
    for row in (
        refused("POST /register", reason, members={field: value, "password": PASSWORD}),
        refused("POST /login", reason, form={field: value, "password": PASSWORD}),
    ):
        check_refused(row, client, bystander, watch)


# When

TODAY: Final = datetime.now(UTC).date()

NO_DATES: Final = {
    "2001-02-29": "not_a_date",
    "1900-02-29": "not_a_date",
    "2000-04-31": "not_a_date",
    "2000-13-01": "not_a_date",
    "2000-00-10": "not_a_date",
    "2000-01-00": "not_a_date",
    "2000-01-32": "not_a_date",
    "0000-01-01": "not_a_date",
    "20000101": "not_a_date",
    "2000-1-1": "not_a_date",
    "2000-001": "not_a_date",
    "2000-W01-1": "not_a_date",
    "01.02.2000": "not_a_date",
    "02/01/2000": "not_a_date",
    "2000-01-01T00:00:00Z": "not_a_date",
    " 2000-01-01": "not_a_date",
    "2000-01-01\n": "not_a_date",
    "+2000-01-01": "not_a_date",
    "-2000-01-01": "not_a_date",
    "12000-01-01": "not_a_date",
    "２０００-01-01": "not_a_date",
    "yesterday": "not_a_date",
    "946684800": "not_a_date",
    "0001-01-01": "too_early",
    "0199-01-01": "too_early",
    "1899-12-31": "too_early",
    "9999-12-31": "in_the_future",
    # Not tomorrow: midnight may pass between the two of us.
    str(TODAY + timedelta(days=2)): "in_the_future",
}


@pytest.mark.parametrize("call", [*REGISTERING, "PATCH /me"])
@pytest.mark.parametrize("birthdate", NO_DATES)
def test_a_day_on_which_nobody_can_have_been_born_is_refused(
    birthdate: str, call: str, client: Client, bystander: Person, watch: Watch
) -> None:
    members = {"birthdate": birthdate} if call == "PATCH /me" else a_registration(birthdate=birthdate)
    check_refused(refused(call, f"birthdate={NO_DATES[birthdate]}", members=members), client, bystander, watch)


# What somebody is called


@pytest.mark.parametrize("character", ["\n", "\t", "\x00", "\x1b", "\x7f", "\x85"], ids=repr)
@pytest.mark.parametrize("call", [*REGISTERING, "PATCH /me"])
def test_a_control_character_in_a_full_name_is_refused(
    call: str, character: str, client: Client, bystander: Person, watch: Watch
) -> None:
    members = {"full_name": f"Ada{character}King"}
    row = refused(
        call, "full_name=invalid_characters", members=members if call == "PATCH /me" else a_registration(**members)
    )
    check_refused(row, client, bystander, watch)


# Passwords that may not be chosen

NO_PASSWORDS: Final = {
    "7 letters": ("abcdefg", "too_short"),
    "7 letters of four bytes": (FOUR_BYTES * 7, "too_short"),
    "7 letters and 7 accents that join them": ("e\u0301" * 7, "too_short"),
    "7 spaces": (" " * 7, "too_short"),
    "1,025 letters": ("a1B?" * 256 + "x", "too_long"),
    "257 letters of four bytes": (FOUR_BYTES * 257, "too_long"),
    "1,025 bytes after composing": ("a" * 1_023 + "e\u0301", "too_long"),
    "a NUL in the middle": ("correct\0horse battery", "invalid_characters"),
    "a NUL at the end": ("correct horse battery\0", "invalid_characters"),
    "a common one": ("password1", "too_common"),
    "a common one in capitals": ("PassWord1", "too_common"),
}


@pytest.mark.parametrize("what", NO_PASSWORDS)
@pytest.mark.parametrize("call", [*REGISTERING, "POST /me/password"])
def test_a_password_that_may_not_be_chosen_is_refused(
    call: str, what: str, client: Client, bystander: Person, watch: Watch
) -> None:
    password, reason = NO_PASSWORDS[what]
    if call == "POST /me/password":
        form = {"current_password": "$password", "new_password": password}
        row = refused(call, f"new_password={reason}", form=form)
    else:
        row = refused(call, f"password={reason}", members=a_registration(password=password))
    check_refused(row, client, bystander, watch)


@pytest.mark.parametrize("what", ["1,025 letters", "257 letters of four bytes", "a NUL in the middle"])
def test_a_password_that_nobody_can_have_is_refused_unhashed_at_login(
    what: str, client: Client, bystander: Person, watch: Watch
) -> None:
    password, reason = NO_PASSWORDS[what]
    form = {"username": "$username", "password": password}
    check_refused(refused("POST /login", f"password={reason}", form=form), client, bystander, watch)
    form = {"current_password": password, "new_password": "correct donkey battery"}
    check_refused(refused("POST /me/password", f"current_password={reason}", form=form), client, bystander, watch)


@pytest.mark.parametrize(
    "password",
    ["8 horses", FOUR_BYTES * 8, "e\u0301" * 8, " " * 8, "a1B?" * 256, FOUR_BYTES * 256],
    ids=["8 letters", "8 of four bytes", "8 accented", "8 spaces", "1,024 letters", "256 of four bytes"],
)
def test_the_shortest_and_the_longest_password_fit(password: str, client: Client) -> None:
    name = fresh_name()
    SUCCESS.check(client.send_json("/register", {"username": name, "password": password}))
    TOKENS.check(client.form("/login", {"username": name, "password": password}))


@pytest.mark.parametrize(
    ("field", "value", "password"),
    [
        ("username", "Correct-$username", "correct-$username"),
        ("email", "Correct-$email", "CORRECT-$email"),
        ("phone_number", "+49 1511 0000002", "+4915110000002"),
    ],
)
def test_one_s_own_name_is_no_password(
    field: str, value: str, password: str, client: Client, bystander: Person, watch: Watch
) -> None:
    row = refused("POST /register", "password=same_as_identifier", members={field: value, "password": password})
    check_refused(row, client, bystander, watch)
    own = {"username": "$username", "email": "$email", "phone_number": "$phone_number"}[field]
    form = {"current_password": PASSWORD, "new_password": own}
    check_refused(refused("POST /me/password", "new_password=same_as_identifier", form=form), client, bystander, watch)


def most_common() -> list[str]:
    text = (Path(__file__).parents[1] / "data" / "common_passwords_3000.txt").read_text(encoding="utf-8")
    return text.partition("\n\n")[2].splitlines()


def test_none_of_the_3000_most_common_passwords_can_be_chosen(client: Client, bystander: Person, watch: Watch) -> None:
    passwords = most_common()
    assert len(passwords) == 3_000
    with watch.nothing_hashed_nor_stored():
        for password in passwords:
            members = {"username": f"new-{bystander.username}", "password": password}
            reason = "too_common" if len(password) >= 8 else "too_short"
            INVALID_REQUEST.check(client.send_json("/register", members), reason=f"password={reason}")


def test_no_common_password_can_be_changed_to(client: Client, bystander: Person, watch: Watch) -> None:
    long_enough = [password for password in most_common() if len(password) >= 8][:200]
    with watch.nothing_hashed_nor_stored():
        for password in long_enough:
            fields = {"current_password": PASSWORD, "new_password": password.upper()}
            reply = client.form("/me/password", fields, token=bystander.access_token)
            INVALID_REQUEST.check(reply, reason="new_password=too_common")


def test_the_watch_sees_a_hash_and_a_refresh(client: Client, watch: Watch) -> None:
    """Else every test here would pass for nothing."""
    with pytest.raises(AssertionError, match="hashed"), watch.nothing_hashed():
        person = client.person()
    with pytest.raises(AssertionError, match="stored"), watch.nothing_hashed_nor_stored():
        client.form("/refresh", {"refresh_token": person.refresh_token})
