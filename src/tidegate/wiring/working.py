"""One worker process: what it is made of, and how it works until it is told to stop."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Final

from tidegate.config import Settings, WelcomeMode
from tidegate.domain.jobs import RECORDED, JobKind
from tidegate.notices.logged import LoggedWelcome
from tidegate.notices.smtp import SmtpWelcome
from tidegate.observability import metrics
from tidegate.observability.log import JsonLog, open_log
from tidegate.ports.notices import WelcomeSender
from tidegate.queue.carrier import JobCarrier
from tidegate.queue.connection import QueueConnection
from tidegate.storage.campaign_line import PostgresCampaignLine
from tidegate.storage.idempotency import PostgresIdempotencyKeys
from tidegate.storage.jobs import PostgresJobs
from tidegate.storage.pools import PrimaryPool
from tidegate.storage.sessions import PostgresSessions
from tidegate.tokens.ids import RandomIds
from tidegate.usecases.clean_up_audit import CleanUpAudit
from tidegate.usecases.clean_up_idempotency_keys import CleanUpIdempotencyKeys
from tidegate.usecases.clean_up_sessions import CleanUpSessions
from tidegate.usecases.grant_coupons import GrantCoupons
from tidegate.usecases.record_events import RecordEvents
from tidegate.usecases.welcome import Welcome
from tidegate.wiring.feed import relaying
from tidegate.wiring.parts import open_primary, open_queue, session_lifetimes
from tidegate.worker.hands import Hands
from tidegate.worker.lanes import Lane
from tidegate.worker.loop import Rounds, WorkerLoop
from tidegate.worker.relay import Relay

RECORDS_AT_ONCE_MAX: Final = 500
"""In one transaction. Updates by unnest cost a tenth of single ones from some hundred rows on (STACK.md section 4)."""

_RECORD_TRIES_MAX: Final = 8
"""2 minutes in all: what the database refuses for so long, it refuses for good."""

_WELCOMES_AT_ONCE: Final = 4
_WELCOME_TRIES_MAX: Final = 14
"""About an hour in all: as long as a mail server may well be away."""

_CONNECTIONS: Final = 5
"""Hands, relay, clean-up, gauge, coupons; `_WELCOMES_AT_ONCE` and a relay come on top where there is somebody to greet."""

_CLEANUP_INTERVAL_S: Final = 60.0
_GAUGE_INTERVAL_S: Final = 5.0

_DEAD_FOR_S_MIN: Final = 60
"""Added to how long an access token can outlive its session, before the session's row goes."""


async def run_worker(settings: Settings) -> None:
    """Do jobs and clean up until SIGTERM or SIGINT, then finish the batches under way.

    Raises:
        DatabaseUnavailable: The primary cannot be reached at start; later it is waited for.
    """
    async with AsyncExitStack() as opened:
        log = opened.enter_context(open_log(settings.log_file))
        sender = _welcome_sender(settings, log)
        connections = _CONNECTIONS + (_WELCOMES_AT_ONCE + 1 if sender is not None else 0)
        primary = await opened.enter_async_context(open_primary(settings, connections=connections))
        queue = await opened.enter_async_context(open_queue(settings, log, name="tidegate worker"))
        await opened.enter_async_context(relaying(settings, queue, log))

        def report(failure: Exception) -> None:
            log.event("error", "worker", "a round failed and will be tried again", failure)

        coupons = CouponBell()
        lanes = list(_lanes(sender, coupons))
        rounds = [
            *_job_rounds(settings, lanes, primary, queue, _Watcher(log, coupons)),
            _grants(settings, primary, coupons),
            *_clean_ups(settings, primary),
        ]
        loop = WorkerLoop([*rounds, _gauge(primary, lambda: loop.overdue_s)], on_failure=report)
        running = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            running.add_signal_handler(number, loop.stop)
        log.event("info", "worker", "working")
        await loop.run()
        log.event("info", "worker", "stopped")


def _lanes(sender: WelcomeSender | None, coupons: "CouponBell") -> Iterator[Lane]:
    yield Lane(
        name="records",
        kinds=RECORDED,
        do=RecordEvents(welcomes=sender is not None, on_first_logins=coupons.noted),
        at_once_max=RECORDS_AT_ONCE_MAX,
        parallel=1,
        tries_max=_RECORD_TRIES_MAX,
    )
    if sender is not None:
        yield Lane(
            name="notices",
            kinds=(JobKind.WELCOME_DUE,),
            do=Welcome(sender=sender),
            at_once_max=1,  # what was sent is written down before the next is
            parallel=_WELCOMES_AT_ONCE,
            tries_max=_WELCOME_TRIES_MAX,
        )


def _welcome_sender(settings: Settings, log: JsonLog) -> WelcomeSender | None:
    match settings.welcome:
        case WelcomeMode.OFF:
            return None
        case WelcomeMode.LOG:
            return LoggedWelcome(write=lambda line: log.event("info", "worker", line))
        case WelcomeMode.SMTP:
            return SmtpWelcome(
                host=settings.smtp_host,
                port=settings.smtp_port,
                user=settings.smtp_user,
                password=settings.smtp_password,
                sender=settings.smtp_from,
                timeout_s=settings.smtp_timeout_ms / 1000,
            )


def _job_rounds(
    settings: Settings, lanes: Sequence[Lane], primary: PrimaryPool, queue: QueueConnection | None, watcher: "_Watcher"
) -> Iterator[Rounds]:
    jobs = PostgresJobs(primary)
    rest_s = settings.worker_poll_interval_ms / 1000
    for lane in lanes:
        carrier = None if queue is None else JobCarrier(queue, lane=lane.name)
        yield Rounds(work=Hands(lane, jobs=jobs, carrier=carrier, watcher=watcher).work, rest_s=rest_s)
        if carrier is not None:
            yield Rounds(work=Relay(lane, jobs=jobs, carrier=carrier, watcher=watcher).work, rest_s=rest_s)


def _grants(settings: Settings, primary: PrimaryPool, coupons: "CouponBell") -> Rounds:
    grant = GrantCoupons(
        line=PostgresCampaignLine(primary, statement_timeout_s=settings.database_statement_timeout_ms / 1000),
        ids=RandomIds(),
        random_octets=os.urandom,
        on_granted=metrics.COUPONS_GRANTED.inc,
    )
    return Rounds(work=grant, rest_s=settings.worker_poll_interval_ms / 1000, bell=coupons.bell)


def _clean_ups(settings: Settings, primary: PrimaryPool) -> Iterator[Rounds]:
    """A circle each: none waits for the backlog of another."""
    sessions = CleanUpSessions(
        sessions=PostgresSessions(primary, lifetimes=session_lifetimes(settings)),
        dead_for_s=settings.access_token_ttl_s + _DEAD_FOR_S_MIN,
    )
    audit = CleanUpAudit(audit=PostgresJobs(primary), kept_for_s=settings.audit_kept_days * 86_400)
    keys = CleanUpIdempotencyKeys(keys=PostgresIdempotencyKeys(primary))
    yield from (Rounds(work=work, rest_s=_CLEANUP_INTERVAL_S) for work in (sessions, audit, keys))


def _gauge(primary: PrimaryPool, overdue_s: Callable[[], float]) -> Rounds:
    jobs = PostgresJobs(primary)

    async def look() -> bool:
        depth = await jobs.depth()
        metrics.JOBS_WAITING.set(depth.waiting)
        metrics.JOBS_OLDEST_SECONDS.set(depth.oldest_s)
        metrics.WORKER_OVERDUE.set(overdue_s())
        return False

    return Rounds(work=look, rest_s=_GAUGE_INTERVAL_S)


class CouponBell:
    """Lets who grants coupons rest no longer once this worker itself has noted first logins, and committed that.

    What others have noted is found by the next round: nothing depends on the bell but a few tenths of a second.

    Attributes:
        bell: See `worker.loop.Rounds.bell`.
    """

    def __init__(self) -> None:
        self.bell = asyncio.Event()
        self._is_noted = False

    def noted(self) -> None:
        """First logins were noted, and that is not committed yet."""
        self._is_noted = True

    def committed(self) -> None:
        """What was noted is."""
        if self._is_noted:
            self._is_noted = False
            self.bell.set()


class _Watcher:
    """`worker.lanes.Watcher`: counts, and tells what died."""

    def __init__(self, log: JsonLog, coupons: CouponBell) -> None:
        self._log = log
        self._coupons = coupons

    def done(self, lane: str, count: int) -> None:
        metrics.JOBS_DONE.labels(lane).inc(count)
        self._coupons.committed()

    def failed(self, lane: str, error: str, *, is_dead: bool) -> None:
        metrics.JOBS_FAILED.labels(lane, error).inc()
        if is_dead:
            metrics.JOBS_DEAD.labels(lane).inc()
            self._log.event("error", "worker", f"a job failed too often, the last time with {error}: see `tidegate jobs`")

    def relayed(self, lane: str, ages_s: Sequence[float]) -> None:
        metrics.JOBS_RELAYED.labels(lane).inc(len(ages_s))
        metrics.JOBS_RELAY_SECONDS.labels(lane).observe(max(ages_s))
