"""The device cookie is found among others, and set so that no script and no other site can use it."""

import pytest

from tidegate.api.cookies import DeviceCookie
from tidegate.api.http import Request


def a_request(*cookies: bytes) -> Request:
    headers = {b"host": [b"a"], b"cookie": list(cookies), b"accept": [b"*/*"]}
    return Request(method="POST", path="/login", query=b"", headers=headers, address=None, request_id="1")


COOKIE = DeviceCookie(is_secure=True, max_age_s=60)


@pytest.mark.parametrize(
    ("cookies", "token"),
    [
        ([], None),
        ([b"a=b"], None),
        ([b"tidegate_device=abc"], "abc"),
        ([b"a=b; tidegate_device=abc; c=d"], "abc"),
        ([b"a=b;tidegate_device=abc;c=d"], "abc"),
        ([b"a=b", b"tidegate_device=abc"], "abc"),
        ([b"xtidegate_device=abc"], None),
        ([b"x=tidegate_device=abc"], None),
        ([b"tidegate_device"], ""),
        ([b"tidegate_device=\xff"], "\xff"),
        ([b";;=;tidegate_device=abc"], "abc"),
    ],
)
def test_it_is_found_among_others(cookies: list[bytes], token: str | None) -> None:
    assert COOKIE.read(a_request(*cookies)) == token


def test_it_is_set_for_the_login_alone_and_for_no_script() -> None:
    assert COOKIE.set("abc") == (
        b"set-cookie",
        b"tidegate_device=abc; Path=/login; Max-Age=60; HttpOnly; SameSite=Lax; Secure",
    )


def test_without_https_it_is_not_secure_or_it_would_never_come_back() -> None:
    assert b"Secure" not in DeviceCookie(is_secure=False, max_age_s=60).set("abc")[1]
