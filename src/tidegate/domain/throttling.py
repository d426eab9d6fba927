"""Whose attempts are counted together, and how many may fail before the next has to wait."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple
from uuid import UUID

_IPV6_NETWORK_OCTETS: Final = 8
"""A /64 is what one customer or one phone is given at least (RFC 6177, RFC 7934): within it addresses cost nothing."""

_ADDRESSES_REMEMBERED: Final = 8_192
"""Of parsing; an IPv6 address costs 5 us."""


class CounterKind(StrEnum):
    """What a counter counts, and so which limit it has; the values are labels of a metric."""

    USER = "user"
    """Failed logins of one user from all devices that the user has not logged in from before."""
    PAIR = "pair"
    """Those of them that come from one address."""
    ADDRESS = "address"
    """Failed logins from one address, whoever they name; unknown users too."""
    DEVICE = "device"
    """Failed attempts from one device that its user has logged in from before, or in one session."""
    REGISTRATION = "registration"
    """Registrations from one address, whatever becomes of them."""
    AVAILABILITY = "availability"
    """Questions from one address whether a username is free."""
    CLIENT = "client"
    """Wrong client secrets from one address."""
    COUPON = "coupon"
    """Wrong coupon codes of one user."""
    COUPON_ADDRESS = "coupon_address"
    """Wrong coupon codes from one address, whoever tries them."""


class Counter(NamedTuple):
    """One thing that is counted.

    Attributes:
        kind: Decides the limit.
        key: What is counted, unique among all kinds.
    """

    kind: CounterKind
    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most so many within so long, as a sliding window made of two fixed ones.

    The window before counts for the share of it that the sliding window still covers, as if what is in it had come evenly.
    So no stretch of `window_s` ever holds more than twice `at_most`, and evenly coming attempts are bounded by it exactly.

    Attributes:
        at_most: 0 for no limit.
        window_s: In seconds.
    """

    at_most: int
    window_s: int

    def window_of(self, now_s: float) -> int:
        """The number of the fixed window that *now_s*, in seconds since any moment that all nodes agree on, lies in."""
        return int(now_s // self.window_s)

    def counted(self, *, current: int, previous: int, now_s: float) -> float:
        """How many the sliding window holds.

        Args:
            current: In the fixed window that *now_s* lies in.
            previous: In the one before.
            now_s: In seconds.
        """
        return current + previous * (1 - now_s % self.window_s / self.window_s)

    def wait_s(self, *, current: int, previous: int, now_s: float) -> float:
        """How long until one more fits, in seconds, if nothing else is counted meanwhile; 0.0: it fits now."""
        room = self.at_most - 1
        if not self.at_most or self.counted(current=current, previous=previous, now_s=now_s) <= room:
            return 0.0
        elapsed_s = now_s % self.window_s
        if current <= room:
            # The window before leaves until only room - current of it is covered.
            return max(0.0, self.window_s * (1 - (room - current) / previous) - elapsed_s)
        # Not before this window is the one before, and only room of it is covered.
        return self.window_s - elapsed_s + self.window_s * (1 - room / current)


@lru_cache(_ADDRESSES_REMEMBERED)
def address_group(address: str) -> bytes:
    """Whoever shares this with another address counts as one caller: the IPv4 address, or the /64 of an IPv6 one.

    Args:
        address: Textual, as a socket or X-Forwarded-For tells it; an IPv4 address mapped into IPv6 is that IPv4 address.

    Raises:
        ValueError: It is no address.
    """
    parsed = ip_address(address)
    if not isinstance(parsed, IPv6Address):
        return parsed.packed
    mapped = parsed.ipv4_mapped
    return parsed.packed[:_IPV6_NETWORK_OCTETS] if mapped is None else mapped.packed


def login_counters(subject: bytes, address: str | None) -> list[Counter]:
    """What a login from a device that is not known counts against.

    Args:
        subject: Who is to be logged in.
        address: Of the client; None when it has none (a Unix socket), and then no address is counted.
    """
    user = Counter(CounterKind.USER, _KEY_OF[CounterKind.USER] + subject)
    if address is None:
        return [user]
    pair = Counter(CounterKind.PAIR, b"%b%b@%b" % (_KEY_OF[CounterKind.PAIR], subject, address_group(address)))
    return [user, pair, *address_counters(CounterKind.ADDRESS, address)]


@lru_cache(_ADDRESSES_REMEMBERED)
def address_counters(kind: CounterKind, address: str | None) -> tuple[Counter, ...]:
    """What a call counts against of which only the address is known; nothing when it has none."""
    return () if address is None else (Counter(kind, _KEY_OF[kind] + address_group(address)),)


def device_counters(device_id: UUID) -> list[Counter]:
    """What an attempt from a known device, or in the session *device_id*, counts against: nobody else's counters."""
    return [Counter(CounterKind.DEVICE, _KEY_OF[CounterKind.DEVICE] + device_id.bytes)]


def coupon_counters(user_id: UUID) -> list[Counter]:
    """What a wrong coupon code of *user_id* counts against that may refuse the next: nobody else's counters."""
    return [Counter(CounterKind.COUPON, _KEY_OF[CounterKind.COUPON] + user_id.bytes)]


_KEY_OF: Final = {kind: f"{kind}:".encode() for kind in CounterKind}
"""How the keys of a kind begin."""
