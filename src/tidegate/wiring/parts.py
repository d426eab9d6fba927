"""Opens the parts that several processes need, each as a context that closes it again."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from tidegate.api.clients import current_client
from tidegate.api.endpoints.well_known import JWKS_CACHE_S
from tidegate.cache.address import read_address
from tidegate.cache.client import CacheClient
from tidegate.cache.counters import ValkeyCounters
from tidegate.config import Settings
from tidegate.domain.idempotency import Keying
from tidegate.domain.sessions import SessionLifetimes
from tidegate.domain.throttling import CounterKind, Limit
from tidegate.domain.users import LoginIdentifier
from tidegate.identifiers.normalise import normalise
from tidegate.observability import metrics
from tidegate.observability.log import JsonLog
from tidegate.passwords.pool import HashPool
from tidegate.passwords.profiles import PROFILES
from tidegate.queue.address import read_addresses
from tidegate.queue.connection import QueueConnection
from tidegate.storage.pools import PrimaryPool
from tidegate.throttle.throttle import CountingThrottle
from tidegate.tokens.access import AccessTokenService
from tidegate.tokens.issuer import JITTER_SHARE_MAX, AccessTokenIssuer
from tidegate.tokens.keys import KeyFileError, KeyRing
from tidegate.tokens.keyset import keep_s_min, lead_s_min
from tidegate.tokens.macs import PurposeMac
from tidegate.tokens.remembered import RememberingVerifier
from tidegate.tokens.verifier import LEEWAY_S_MAX, AccessTokenVerifier
from tidegate.usecases.register import Normalise

_REMEMBERED_TOKENS_MAX: Final = 8_192
"""Of each process, 12 MB: users that are about within five minutes; beyond them each request costs a signature check."""

_TALLIES_MAX: Final = 65_536
"""Of each process, 30 MB at most: counters that hold something, and only while many fail are they many."""


class SystemClock:
    """Implements `ports.clock.Clock`."""

    def now(self) -> datetime:
        """Now, aware, UTC."""
        return datetime.now(UTC)


@asynccontextmanager
async def open_primary(settings: Settings, *, connections: int) -> AsyncIterator[PrimaryPool]:
    """Open *connections* to the primary.

    Raises:
        DatabaseUnavailable: It cannot be reached.
    """
    pool = PrimaryPool(
        dsn=settings.primary_dsn,
        size=connections,
        acquire_timeout_s=settings.database_acquire_timeout_ms / 1000,
        statement_timeout_s=settings.database_statement_timeout_ms / 1000,
        connect_timeout_s=settings.database_connect_timeout_ms / 1000,
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.aclose()


@asynccontextmanager
async def open_passwords(settings: Settings) -> AsyncIterator[HashPool]:
    """Start this process's hash threads."""
    pool = HashPool(
        profile=PROFILES[settings.hash_profile],
        threads=settings.hash_threads,
        queue_max=settings.hash_queue_max,
        wait_s_max=settings.hash_wait_ms_max / 1000,
        niceness=settings.hash_niceness,
        on_hashed=metrics.HASH_SECONDS.observe,
        on_refused=lambda lane, reason: metrics.HASH_REFUSED.labels(lane, reason).inc(),
        on_shared=lambda lane: metrics.HASH_SHARED.labels(lane).inc(),
        client=current_client,
    )
    try:
        yield pool
    finally:
        await pool.aclose()


@asynccontextmanager
async def open_cache(settings: Settings, log: JsonLog) -> AsyncIterator[CacheClient | None]:
    """Connect to the cache, where one is named; that it is away stops nobody."""
    if not settings.cache_url:
        yield None
        return

    def report(is_up: bool, why: str) -> None:
        metrics.CACHE_UP.set(is_up)
        log.event("info" if is_up else "error", "cache", "the cache answers" if is_up else f"the cache is away: {why}")

    client = CacheClient(read_address(settings.cache_url), timeout_s=settings.cache_timeout_ms / 1000, on_change=report)
    await client.start()
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def open_queue(settings: Settings, log: JsonLog, *, name: str) -> AsyncIterator[QueueConnection | None]:
    """Begin to connect to the queue, where one is named; that it is away stops nobody.

    Args:
        settings: Say where it is.
        log: Told when it comes and goes.
        name: What an operator sees among the connections of NATS.
    """
    if not settings.queue_url:
        yield None
        return

    def report(is_up: bool, why: str) -> None:
        metrics.QUEUE_UP.set(is_up)
        log.event("info" if is_up else "error", "queue", "the queue answers" if is_up else f"the queue is away: {why}")

    connection = QueueConnection(
        read_addresses(settings.queue_url), name=name, timeout_s=settings.queue_timeout_ms / 1000, on_change=report
    )
    connection.start()
    try:
        yield connection
    finally:
        await connection.aclose()


@asynccontextmanager
async def open_throttle(
    settings: Settings, cache: CacheClient | None, *, now: Callable[[], float] = time.time
) -> AsyncIterator[CountingThrottle]:
    """Count failures with the other nodes where there is a cache, else alone.

    Args:
        settings: Say how many may fail.
        cache: Where the nodes count together.
        now: Seconds since 1970; with a cache as all nodes tell them, for each counts in the window of that time.
    """
    throttle = CountingThrottle(
        limits=throttle_limits(settings),
        shared=None if cache is None else ValkeyCounters(cache),
        now=now,
        tallies_max=_TALLIES_MAX,
        on_refused=lambda kind: metrics.THROTTLED.labels(kind).inc(),
    )
    try:
        yield throttle
    finally:
        await throttle.aclose()


def throttle_limits(settings: Settings) -> dict[CounterKind, Limit]:
    """How many may fail, by what is counted."""
    address_window_s = settings.throttle_address_window_s
    return {
        CounterKind.USER: Limit(at_most=settings.throttle_user_failures, window_s=settings.throttle_user_window_s),
        CounterKind.PAIR: Limit(at_most=settings.throttle_pair_failures, window_s=settings.throttle_pair_window_s),
        CounterKind.DEVICE: Limit(at_most=settings.throttle_device_failures, window_s=settings.throttle_device_window_s),
        CounterKind.ADDRESS: Limit(at_most=settings.throttle_address_failures, window_s=address_window_s),
        CounterKind.CLIENT: Limit(at_most=settings.throttle_address_failures, window_s=address_window_s),
        CounterKind.REGISTRATION: Limit(at_most=settings.throttle_address_registrations, window_s=address_window_s),
        CounterKind.COUPON: Limit(at_most=settings.throttle_user_coupons, window_s=address_window_s),
        CounterKind.COUPON_ADDRESS: Limit(at_most=settings.throttle_address_coupons, window_s=address_window_s),
        CounterKind.AVAILABILITY: Limit(at_most=settings.throttle_address_questions, window_s=address_window_s),
    }


def name_digest(settings: Settings) -> Callable[[LoginIdentifier], bytes]:
    """What stands for a name among the counters: it tells nothing to who reads them, and is the same on every node."""
    mac = PurposeMac(settings.refresh_mac_key, purpose=b"tidegate names under throttle v1")
    return lambda identifier: mac(f"{identifier.kind}:{identifier.value}".encode())


def request_keying(settings: Settings) -> Keying:
    """What is kept of requests under an idempotency key; the same on every node."""
    return Keying(
        mac_of_key=PurposeMac(settings.refresh_mac_key, purpose=b"tidegate idempotency key v1"),
        mac_of_request=PurposeMac(settings.refresh_mac_key, purpose=b"tidegate request under idempotency key v1"),
    )


@dataclass(frozen=True, slots=True)
class Tokens:
    """What makes and verifies access tokens, the public keys, and the time that tokens go by, in seconds since 1970."""

    access: AccessTokenService
    keys: KeyRing
    now: Callable[[], float]


@asynccontextmanager
async def open_tokens(settings: Settings, log: JsonLog, *, now: Callable[[], float]) -> AsyncIterator[Tokens]:
    """Read the signing keys, and read them again whenever their file changes.

    Args:
        settings: Say where they are.
        log: Told when they cannot be read.
        now: What tokens and keys go by, seconds since 1970, as all nodes tell them.

    Raises:
        KeyFileError: They cannot be read now.
    """
    keys = KeyRing(settings.signing_keys_file, now=now, reload_interval_s=settings.key_reload_interval_ms / 1000)

    def report(error: KeyFileError) -> None:
        log.event("error", "keys", str(error))

    async with background(keys.watch(report=report)):
        yield Tokens(access_tokens(settings, keys, now=now), keys, now)


def access_tokens(settings: Settings, keys: KeyRing, *, now: Callable[[], float]) -> AccessTokenService:
    """Return what issues and verifies access tokens with *keys*, by the clock *now*."""
    issuer = AccessTokenIssuer(
        keys=keys,
        issuer=settings.issuer,
        audience=settings.audience,
        client_id=settings.client_id,
        ttl_s=settings.access_token_ttl_s,
        ttl_jitter_s=int(settings.access_token_ttl_s * JITTER_SHARE_MAX),
        now=now,
        random=random.random,
    )
    verifier = AccessTokenVerifier(keys=keys, issuer=settings.issuer, audience=settings.audience, now=now)
    remembering = RememberingVerifier(verifier, keys=keys, now=now, remembered_max=_REMEMBERED_TOKENS_MAX)
    return AccessTokenService(issuer, remembering)


def rotation_lead_s(settings: Settings) -> int:
    """For how long `keys rotate` publishes a key before it signs, in seconds."""
    return lead_s_min(jwks_cached_s_max=JWKS_CACHE_S, reload_interval_s=settings.key_reload_interval_ms / 1000)


def rotation_keep_s(settings: Settings) -> int:
    """For how long a key stays published after its successor began to sign, in seconds."""
    return keep_s_min(access_token_ttl_s_max=settings.access_token_ttl_s, leeway_s=LEEWAY_S_MAX)


def session_lifetimes(settings: Settings) -> SessionLifetimes:
    """How long sessions live."""
    return SessionLifetimes(
        idle_s=settings.session_idle_ttl_s,
        absolute_s=settings.session_absolute_ttl_s,
        reuse_grace_s=settings.refresh_reuse_grace_s,
    )


def normaliser(settings: Settings) -> Normalise:
    """The one normalisation of login identifiers, for this node's phone region."""
    return partial(normalise, phone_region=settings.phone_region or None)


@asynccontextmanager
async def background(work: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Run *work* beside the block and end it with the block; if it fails, the failure is logged by the event loop."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
