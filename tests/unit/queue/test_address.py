"""Where the queue is, as its setting tells it."""

import pytest

from tidegate.queue.address import QueueAddress, read_addresses


def test_a_server_is_named_by_its_host_and_perhaps_more():
    assert read_addresses("nats://one") == (QueueAddress(host="one", port=4222),)
    assert read_addresses("tls://two:1234") == (QueueAddress(host="two", port=1234, uses_tls=True),)
    assert read_addresses("nats://u%40:p%2Fw@[::1]:1") == (QueueAddress(host="::1", port=1, username="u@", password="p/w"),)


def test_several_servers_of_a_cluster_stand_with_commas_between():
    assert [address.url for address in read_addresses("nats://one:1, nats://[::1]:2")] == ["nats://one:1", "nats://[::1]:2"]


@pytest.mark.parametrize("url", ["", "one", "http://one", "nats://", "nats://one:port", "nats://one/two", "nats://one,"])
def test_what_cannot_be_read_is_told_and_not_quoted(url):
    with pytest.raises(ValueError, match=r"\w") as told:
        read_addresses(f"nats://user:canary@one,{url}")
    assert "canary" not in str(told.value)


def test_neither_the_text_nor_the_url_of_an_address_shows_who_asks():
    (address,) = read_addresses("nats://user-canary:password-canary@one")
    assert "canary" not in f"{address!r} {address.url}"
