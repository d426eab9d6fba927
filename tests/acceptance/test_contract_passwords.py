"""Passwords are used exactly as typed, after one documented normalisation: nothing is trimmed, cut, folded or mapped."""

from typing import Final

import pytest

from tests.support.client import Client, fresh_name
from tests.support.contract import INVALID_PASSWORD, SUCCESS, TOKENS

FOUR_BYTES: Final = "\U0001f40e"
SIXTY_FOUR: Final = FOUR_BYTES * 64

DIFFER: Final = {
    "a leading space": (" correct horse", "correct horse"),
    "a trailing space": ("correct horse ", "correct horse"),
    "spaces inside": ("correct  horse", "correct horse"),
    "a space that does not break": ("correct\u00a0horse", "correct horse"),
    "a tab": ("correct\thorse", "correct horse"),
    "a newline at the end": ("correct horse\n", "correct horse"),
    "a carriage return before the newline": ("correct\r\nhorse", "correct\nhorse"),
    "case": ("Correct Horse", "correct horse"),
    "case beyond ASCII": ("ÉTÉ ÉTÉ ÉTÉ", "été été été"),
    "an accent": ("résumé résumé", "resume resume"),
    "a ligature": ("ﬁrst ﬁddle", "first fiddle"),
    "full-width letters": ("ｃｏｒｒｅｃｔ ｈｏｒｓｅ", "correct horse"),
    "a character of no width": ("correct\u200bhorse", "correcthorse"),
    "the 64th of 64 characters of four bytes": (SIXTY_FOUR, SIXTY_FOUR[:-1] + "\U0001f984"),
    "one of 64 characters of four bytes less": (SIXTY_FOUR, SIXTY_FOUR[:-1]),
    "the 73rd byte": ("x" * 72 + "a", "x" * 72 + "b"),
    "what follows the 72nd byte": ("x" * 72 + "a", "x" * 72),
    "the 1,024th byte": ("a1B?" * 256, "a1B?" * 255 + "a1B!"),
    "a plus sign": ("correct+horse", "correct horse"),
    "a percent sign and two digits": ("correct%20horse", "correct horse"),
    "what looks like HTML": ("correct&amp;horse", "correct&horse"),
    "a backslash": ("correct\\nhorse", "correct\nhorse"),
    "what looks like the end of a statement": ("'; DROP TABLE users; --", "'' DROP TABLE users; --"),
}


@pytest.mark.parametrize("what", DIFFER)
def test_passwords_that_differ_in_anything_are_two(what: str, client: Client) -> None:
    """Both ways round: neither is a short form of the other."""
    for chosen, other in (DIFFER[what], DIFFER[what][::-1]):
        name = fresh_name()
        SUCCESS.check(client.send_json("/register", {"username": name, "password": chosen}))
        INVALID_PASSWORD.check(client.form("/login", {"username": name, "password": other}))
        TOKENS.check(client.form("/login", {"username": name, "password": chosen}))


SAME: Final = {
    "an accented letter": ("r\u00e9sum\u00e9 r\u00e9sum\u00e9", "re\u0301sume\u0301 re\u0301sume\u0301"),
    "Korean syllables": (
        "\ud55c\uae00 \ud55c\uae00 \ud55c\uae00",
        "\u1112\u1161\u11ab\u1100\u1173\u11af \u1112\u1161\u11ab\u1100\u1173\u11af \u1112\u1161\u11ab\u1100\u1173\u11af",
    ),
    "a Vietnamese letter": ("m\u1eadt kh\u1ea9u m\u1edbi", "ma\u0323\u0302t kha\u0302\u0309u mo\u031b\u0301i"),
    "the sign for angstrom": ("\u212bngstr\u00f6m \u212bngstr\u00f6m", "\u00c5ngstr\u00f6m A\u030angstro\u0308m"),
}


@pytest.mark.parametrize("what", SAME)
def test_the_same_keys_on_two_systems_give_one_password(what: str, client: Client) -> None:
    """Normalisation form C (RFC 8265 section 4.2.2): composed on one, decomposed on the other, either way round."""
    for chosen, typed in (SAME[what], SAME[what][::-1]):
        assert chosen != typed
        name = fresh_name()
        SUCCESS.check(client.send_json("/register", {"username": name, "password": chosen}))
        TOKENS.check(client.form("/login", {"username": name, "password": typed}))


def test_a_changed_password_is_used_as_typed_too(client: Client) -> None:
    person = client.person()
    chosen = f"  {SIXTY_FOUR} e\u0301 "
    fields = {"current_password": person.password, "new_password": chosen}
    TOKENS.check(client.form("/me/password", fields, token=person.access_token))
    TOKENS.check(client.form("/login", {"username": person.username, "password": f"  {SIXTY_FOUR} \u00e9 "}))
    for other in (chosen.strip(), chosen.lstrip(), chosen.rstrip(), f"  {SIXTY_FOUR} e "):
        INVALID_PASSWORD.check(client.form("/login", {"username": person.username, "password": other}))
