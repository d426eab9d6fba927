"""The URL of the cache is read once, and what is wrong with it is said without quoting it."""

import pytest

from tidegate.cache.address import CacheAddress, read_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("unix:///run/valkey.sock", CacheAddress(socket="/run/valkey.sock")),
        ("unix:///tmp/a%20b/s", CacheAddress(socket="/tmp/a b/s")),
        ("valkey://cache.example", CacheAddress(host="cache.example")),
        ("redis://cache.example:7000/3", CacheAddress(host="cache.example", port=7000, database=3)),
        ("valkey://:p%40ss@cache.example/", CacheAddress(host="cache.example", password="p@ss")),
        ("valkeys://u:p@[::1]:1", CacheAddress(host="::1", port=1, uses_tls=True, username="u", password="p")),
        ("rediss://cache.example", CacheAddress(host="cache.example", uses_tls=True)),
    ],
)
def test_every_form_is_read(url: str, address: CacheAddress) -> None:
    assert read_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hunter2",
        "http://:hunter2@cache.example",
        "valkey://",
        "valkey:///hunter2",
        "valkey://:hunter2@cache.example:port",
        "valkey://:hunter2@cache.example:99999",
        "valkey://[::1:hunter2",
        "valkey://cache.example/hunter2",
        "valkey://cache.example/0?password=hunter2",
        "unix://hunter2/s",
        "unix:hunter2",
    ],
)
def test_anything_else_is_refused_without_being_quoted(url: str) -> None:
    """What is unreadable may be a password with a sign in it that should have been escaped."""
    with pytest.raises(ValueError) as refused:
        read_address(url)
    assert "hunter2" not in str(refused.value)


def test_its_repr_does_not_show_the_password() -> None:
    assert "hunter2" not in repr(read_address("valkey://u:hunter2@cache.example"))
