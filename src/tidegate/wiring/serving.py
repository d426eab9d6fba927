"""One API process: everything it is made of, and how it serves until it is told to stop."""

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Final, Never
from uuid import uuid4

import msgspec

from tidegate import __version__
from tidegate.api import docs_page, openapi
from tidegate.api.app import Application
from tidegate.api.contract import Endpoints, public_routes
from tidegate.api.cookies import DeviceCookie
from tidegate.api.endpoints.availability import AvailabilityEndpoint
from tidegate.api.endpoints.health import ReadyEndpoint, live
from tidegate.api.endpoints.introspect import IntrospectEndpoint
from tidegate.api.endpoints.login import LoginEndpoint
from tidegate.api.endpoints.logout import LogoutEndpoint
from tidegate.api.endpoints.me import ChangeMeEndpoint, ReadMeEndpoint
from tidegate.api.endpoints.password import PasswordEndpoint
from tidegate.api.endpoints.refresh import RefreshEndpoint
from tidegate.api.endpoints.register import RegisterEndpoint
from tidegate.api.endpoints.revoke import RevokeEndpoint
from tidegate.api.endpoints.sessions import EndSessionEndpoint, ListSessionsEndpoint
from tidegate.api.endpoints.well_known import fixed_endpoint, jwks_endpoint, metadata_endpoint
from tidegate.api.errors import Refuser
from tidegate.api.http import Request
from tidegate.api.routing import Router
from tidegate.api.server import HttpServer
from tidegate.api.turnstile import Turnstile
from tidegate.config import Profile, Settings
from tidegate.domain.errors import HashPoolSaturated, NodeStopping
from tidegate.domain.lanes import Lane
from tidegate.observability import metrics
from tidegate.observability.log import JsonLog, RequestLine, frames_of, open_log, utc_now
from tidegate.passwords.blocklist import CommonPasswords
from tidegate.passwords.engine import ENGINE
from tidegate.passwords.pool import HashPool
from tidegate.passwords.profiles import PROFILES
from tidegate.profiles.remembered import RememberedProfiles
from tidegate.storage.idempotency import PostgresIdempotencyKeys
from tidegate.storage.pools import PrimaryPool
from tidegate.storage.sessions import PostgresSessions
from tidegate.storage.users import PostgresUsers
from tidegate.throttle.throttle import CountingThrottle
from tidegate.tokens.device import DeviceTokenCodec
from tidegate.tokens.ids import RandomIds
from tidegate.tokens.refresh import RefreshTokenCodec
from tidegate.usecases.act_once import ActOnce
from tidegate.usecases.authenticate import Authenticate
from tidegate.usecases.change_password import ChangePassword
from tidegate.usecases.change_password_once import ChangePasswordOnce
from tidegate.usecases.change_profile import ChangeProfile
from tidegate.usecases.introspect import Introspect
from tidegate.usecases.log_in import LogIn
from tidegate.usecases.log_out import LogOut
from tidegate.usecases.password_rules import PasswordRules
from tidegate.usecases.refresh import Refresh
from tidegate.usecases.register import Register
from tidegate.usecases.register_once import RegisterOnce
from tidegate.usecases.revoke import Revoke
from tidegate.wiring.clock import open_clock
from tidegate.wiring.coupons import coupon_endpoints
from tidegate.wiring.existence import Users, filtered
from tidegate.wiring.feed import following, make_knowledge
from tidegate.wiring.parts import (
    SystemClock,
    Tokens,
    background,
    name_digest,
    normaliser,
    open_cache,
    open_passwords,
    open_primary,
    open_queue,
    open_throttle,
    open_tokens,
    request_keying,
    session_lifetimes,
)
from tidegate.wiring.profiles import open_profiles
from tidegate.wiring.replicas import open_nearby

_DRAIN_S: Final = 10
"""How long requests under way may take to end once the process is told to stop."""

_KEEP_ALIVE_S: Final = 75
"""How long an idle connection is kept: over the 60 s after which common load balancers drop theirs."""

_BACKLOG: Final = 4_096
"""Connections that the kernel holds while we are busy accepting others."""

_GARBAGE_MIN: Final = 20_000
"""Objects that must be left over before cycles are looked for: some 10 MB, if they were garbage. Python's own 700 made the
collector a twelfth of what the event loop did in a storm."""

_GAUGES_INTERVAL_S: Final = 1.0

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMemory:
    """Descriptors of memory that all processes of the node share.

    Attributes:
        profile_stamps: See `profiles.stamps`.
        existence: Of the existence filter; None: there is none.
    """

    profile_stamps: int
    existence: int | None


async def serve_api(settings: Settings, listener: socket.socket, shared: SharedMemory) -> None:
    """Serve the public port in this process until SIGTERM or SIGINT, then let requests under way end.

    Args:
        settings: Checked.
        listener: Bound.
        shared: What the node's processes share.

    Raises:
        DatabaseUnavailable: The primary cannot be reached at start.
        KeyFileError: The signing keys cannot be read.
    """
    with open_log(settings.log_file) as log:
        stopping = asyncio.Event()
        async with open_application(settings, log, shared, stopping) as application:
            # Accepted connections inherit it where the event loop does not set it.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = HttpServer(
                application=application,
                request_deadline_s=settings.request_deadline_ms / 1000,
                receive_deadline_s=settings.receive_deadline_ms / 1000,
                keep_alive_s=_KEEP_ALIVE_S,
                is_uniform=settings.profile is Profile.HARDENED,
            )
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stopping.set)
            log.event("info", "api", _hashing(settings))
            _collect_rarely()
            notice_s = settings.stop_notice_ms / 1000
            await server.serve(listener, until=stopping, drain_s=_DRAIN_S, backlog=_BACKLOG, notice_s=notice_s)
        log.event("info", "api", "stopped")


@asynccontextmanager
async def open_application(
    settings: Settings, log: JsonLog, shared: SharedMemory, stopping: asyncio.Event
) -> AsyncIterator[Application]:
    """Open everything that an API process is made of; from *stopping* on it is not ready for more."""
    async with AsyncExitStack() as opened:
        primary = await opened.enter_async_context(open_primary(settings, connections=settings.database_connections))
        passwords = await opened.enter_async_context(open_passwords(settings))
        clock = await opened.enter_async_context(open_clock(primary, log))
        tokens = await opened.enter_async_context(open_tokens(settings, log, now=clock.now))
        cache = await opened.enter_async_context(open_cache(settings, log))
        throttle = await opened.enter_async_context(open_throttle(settings, cache, now=clock.now))
        sessions = PostgresSessions(primary, lifetimes=session_lifetimes(settings))
        users, knowledge = PostgresUsers(primary), make_knowledge(settings, sessions)
        profiles = opened.enter_context(open_profiles(users, knowledge, cache, stamps=shared.profile_stamps))
        queue = await opened.enter_async_context(open_queue(settings, log, name="tidegate api"))
        await opened.enter_async_context(following(settings, knowledge, primary=primary, queue=queue))
        nearby = await opened.enter_async_context(open_nearby(settings, users, log))
        people = filtered(users, nearby.users, shared.existence, log)
        gauging = _gauge(passwords, primary, (people.tell, nearby.tell), threads=settings.hash_threads)
        await opened.enter_async_context(background(gauging))
        parts = _Parts(
            primary=primary,
            people=people,
            profiles=profiles,
            sessions=sessions,
            passwords=passwords,
            tokens=tokens,
            throttle=throttle,
            refresh_tokens=RefreshTokenCodec(mac_key=settings.refresh_mac_key),
            authenticate=Authenticate(access_tokens=tokens.access, revocations=knowledge),
            rules=PasswordRules(blocklist=CommonPasswords.load()),
            act_once=ActOnce(keys=PostgresIdempotencyKeys(primary), throttle=throttle),
            stopping=stopping,
        )
        yield Application(
            router=Router(public_routes(_endpoints(settings, parts))),
            turnstile=Turnstile(refuse_if_full=passwords.refuse_if_full, is_crowded=lambda: passwords.waiting > 0),
            refuser=Refuser(is_uniform=settings.profile is Profile.HARDENED),
            trusted_hops=settings.trusted_hops,
            on_seen=opened.enter_context(closing(Observer(log))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the endpoints are made of."""

    primary: PrimaryPool
    people: Users
    profiles: RememberedProfiles
    sessions: PostgresSessions
    passwords: HashPool
    tokens: Tokens
    throttle: CountingThrottle
    refresh_tokens: RefreshTokenCodec
    authenticate: Authenticate
    rules: PasswordRules
    act_once: ActOnce
    stopping: asyncio.Event


def _endpoints(settings: Settings, parts: _Parts) -> Endpoints:
    is_hardened = settings.profile is Profile.HARDENED
    users, profiles, sessions, passwords = parts.people.known, parts.profiles, parts.sessions, parts.passwords
    access, refresh, authenticate = parts.tokens.access, parts.refresh_tokens, parts.authenticate
    throttle, normalise = parts.throttle, normaliser(settings)
    register = _register_endpoint(settings, parts)
    device_cookie = DeviceCookie(is_secure=settings.issuer.startswith("https:"), max_age_s=settings.device_token_ttl_s)
    document = openapi.document(version=__version__, issuer=settings.issuer)
    return Endpoints(
        login=LoginEndpoint(
            log_in=_log_in(settings, parts),
            normalise=normalise,
            device_cookie=device_cookie,
            register=register if settings.register_at_login else None,
        ),
        register=register,
        refresh=RefreshEndpoint(refresh=Refresh(sessions=sessions, access_tokens=access, refresh_tokens=refresh)),
        logout=LogoutEndpoint(authenticate=authenticate, log_out=LogOut(sessions=sessions)),
        read_me=ReadMeEndpoint(authenticate=authenticate, profiles=profiles),
        change_me=ChangeMeEndpoint(
            authenticate=authenticate, change_profile=ChangeProfile(profiles=profiles, clock=SystemClock())
        ),
        change_password=_password_endpoint(settings, parts),
        list_sessions=ListSessionsEndpoint(authenticate=authenticate, sessions=sessions),
        end_session=EndSessionEndpoint(authenticate=authenticate, sessions=sessions),
        **coupon_endpoints(
            settings,
            parts.primary,
            profiles=profiles,
            throttle=throttle,
            act_once=parts.act_once,
            authenticate=authenticate,
        ),
        availability=AvailabilityEndpoint(users=users, normalise=normalise, throttle=throttle, is_offered=not is_hardened),
        revoke=RevokeEndpoint(revoke=Revoke(sessions=sessions, access_tokens=access, refresh_tokens=refresh)),
        introspect=IntrospectEndpoint(
            introspect=Introspect(access_tokens=access, sessions=sessions),
            throttle=throttle,
            client_id=settings.introspection_client_id or None,
            client_secret=settings.introspection_client_secret or None,
            issuer=settings.issuer,
            audience=settings.audience,
        ),
        jwks=jwks_endpoint(parts.tokens.keys.public_jwks),
        metadata=metadata_endpoint(settings.issuer),
        live=live,
        ready=ReadyEndpoint(
            checks=(
                partial(_check_not_stopping, parts.stopping),
                partial(_check_hash_pool, passwords),
                parts.primary.ping,
            ),
            full=passwords.full_lanes,
        ),
        openapi=fixed_endpoint(msgspec.json.encode(document), "application/json"),
        docs=fixed_endpoint(docs_page.render(document), docs_page.PAGE_TYPE),
    )


def _register_endpoint(settings: Settings, parts: _Parts) -> RegisterEndpoint:
    register = Register(
        normalise=normaliser(settings),
        rules=parts.rules,
        readers=parts.people.newcomers,
        writers=parts.people.known,
        passwords=parts.passwords,
        throttle=parts.throttle,
        ids=RandomIds(),
        clock=SystemClock(),
    )
    return RegisterEndpoint(
        register=register,
        register_once=RegisterOnce(register=register, act_once=parts.act_once, keying=request_keying(settings)),
    )


def _log_in(settings: Settings, parts: _Parts) -> LogIn:
    return LogIn(
        nearby=parts.people.nearby,
        users=parts.people.known,
        credentials=parts.people.known,
        passwords=parts.passwords,
        sessions=parts.sessions,
        ids=RandomIds(),
        is_uniform=settings.profile is Profile.HARDENED,
        name_digest=name_digest(settings),
        throttle=parts.throttle,
        devices=DeviceTokenCodec(
            mac_key=settings.refresh_mac_key, ttl_s=settings.device_token_ttl_s, now=parts.tokens.now, new_id=uuid4
        ),
        access_tokens=parts.tokens.access,
        refresh_tokens=parts.refresh_tokens,
    )


def _password_endpoint(settings: Settings, parts: _Parts) -> PasswordEndpoint:
    change_password = ChangePassword(
        users=parts.people.known,
        profiles=parts.profiles,
        rules=parts.rules,
        passwords=parts.passwords,
        sessions=parts.sessions,
        ids=RandomIds(),
        throttle=parts.throttle,
        access_tokens=parts.tokens.access,
        refresh_tokens=parts.refresh_tokens,
    )
    return PasswordEndpoint(
        authenticate=parts.authenticate,
        change_password=change_password,
        change_password_once=ChangePasswordOnce(
            authenticate=parts.authenticate,
            change_password=change_password,
            sessions=parts.sessions,
            act_once=parts.act_once,
            keying=request_keying(settings),
        ),
    )


def _collect_rarely() -> None:
    """Spare the collector what lives as long as the process, and what a request makes and frees by itself."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_MIN)


def _hashing(settings: Settings) -> str:
    mib = settings.hash_threads * PROFILES[settings.hash_profile].thread_bytes >> 20
    return f"serving; hash threads: {settings.hash_threads}, with {mib} MiB of memory; Argon2 by {ENGINE.name}"


async def _check_not_stopping(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        raise NodeStopping


async def _check_hash_pool(passwords: HashPool) -> None:
    if not passwords.is_alive():
        raise HashPoolSaturated


class Observer:
    """Tells the log and the metrics of each request."""

    def __init__(self, log: JsonLog) -> None:
        self._log = log
        self._counter = metrics.RequestCounter()

    def __call__(self, request: Request, status: int | None) -> None:
        """Write the line of *request*, and count it; status None: its client had gone."""
        method = request.method if request.method in _METHODS else "OTHER"
        duration_s = perf_counter() - request.started
        self._counter.count(
            route=request.route, method=method, status=status, outcome=request.outcome, duration_s=duration_s
        )
        fault = request.fault
        self._log.write(
            RequestLine(
                time=utc_now(),
                request_id=request.request_id,
                method=method,
                route=request.route,
                status=status,
                outcome=request.outcome,
                duration_ms=round(duration_s * 1000, 3),
                user_id=None if request.user_id is None else str(request.user_id),
                error=None if fault is None else type(fault).__name__,
                frames=None if fault is None else frames_of(fault),
            )
        )

    def close(self) -> None:
        """Count what is left."""
        self._counter.flush()


async def _gauge(
    passwords: HashPool,
    primary: PrimaryPool,
    others: Sequence[Callable[[], None]],
    *,
    threads: int,
) -> Never:
    """Keep the gauges within a second of what they measure."""
    metrics.HASH_THREADS.set(threads)
    while True:
        for lane in Lane:
            metrics.HASH_WAITING.labels(lane).set(passwords.waiting_in(lane))
        metrics.HASH_RUNNING.set(passwords.running)
        metrics.DATABASE_OPEN.set(primary.opened)
        metrics.DATABASE_IN_USE.set(primary.in_use)
        for tell in others:
            tell()
        await asyncio.sleep(_GAUGES_INTERVAL_S)
