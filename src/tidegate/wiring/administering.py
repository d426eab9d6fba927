"""The admin API: everything it is made of, and how it serves until it is told to stop."""

import asyncio
import signal
import socket
from contextlib import AsyncExitStack
from typing import Final

from tidegate.api.admin.campaigns import CampaignEndpoints, campaign_routes
from tidegate.api.admin.gate import AdminGate
from tidegate.api.app import Application
from tidegate.api.endpoints.health import ReadyEndpoint, live
from tidegate.api.errors import Refuser
from tidegate.api.routing import Route, Router
from tidegate.api.server import HttpServer
from tidegate.config import Settings
from tidegate.observability.log import open_log
from tidegate.storage.campaign_administration import PostgresCampaignAdministration
from tidegate.tokens.ids import RandomIds
from tidegate.usecases.administer_campaigns import AdministerCampaigns
from tidegate.wiring.parts import open_primary, open_throttle
from tidegate.wiring.serving import Observer

_CONNECTIONS: Final = 2
"""To the primary: operators are few."""

_BACKLOG: Final = 128
_KEEP_ALIVE_S: Final = 75
_DRAIN_S: Final = 10


async def serve_admin(settings: Settings, listener: socket.socket) -> None:
    """Serve the admin port until SIGTERM or SIGINT, then let requests under way end.

    Raises:
        DatabaseUnavailable: The primary cannot be reached at start.
    """
    async with AsyncExitStack() as opened:
        log = opened.enter_context(open_log(settings.log_file))
        primary = await opened.enter_async_context(open_primary(settings, connections=_CONNECTIONS))
        throttle = await opened.enter_async_context(open_throttle(settings, cache=None))
        administer = AdministerCampaigns(campaigns=PostgresCampaignAdministration(primary), ids=RandomIds())
        gate = AdminGate(token=settings.admin_token, throttle=throttle)
        routes = [
            *campaign_routes(CampaignEndpoints(administer=administer), gate),
            Route("GET", "/health/live", live),
            Route("GET", "/health/ready", ReadyEndpoint(checks=(primary.ping,), full=list)),
        ]
        observer = Observer(log)
        opened.callback(observer.close)
        application = Application(
            router=Router(routes),
            turnstile=_admit_all,
            refuser=Refuser(is_uniform=False),
            trusted_hops=0,  # no proxy of ours stands before this port
            on_seen=observer,
        )
        server = HttpServer(
            application=application,
            request_deadline_s=settings.request_deadline_ms / 1000,
            receive_deadline_s=settings.receive_deadline_ms / 1000,
            keep_alive_s=_KEEP_ALIVE_S,
            is_uniform=False,
        )
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        log.event("info", "admin", "serving")
        await server.serve(listener, until=stopping, drain_s=_DRAIN_S, backlog=_BACKLOG)
        log.event("info", "admin", "stopped")


def _admit_all(_octets: bytes) -> None:
    """Nobody logs in here, so nobody is turned away for it."""
