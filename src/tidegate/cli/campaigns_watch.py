"""`tidegate campaigns watch`: a campaign, live, while everybody logs in."""

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from tidegate.cli.campaigns_view import Watched, json_of, line, page, unheard, watched
from tidegate.cluster.view import Screen, may_redraw, wants_colours
from tidegate.config import Settings
from tidegate.domain.campaigns import read_campaign_code
from tidegate.domain.errors import DatabaseUnavailable, UnknownCampaign
from tidegate.wiring.administration import open_campaign_watch

_EVERY_S_MIN: Final = 0.2
_EVERY_S_MAX: Final = 3_600.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Take the campaign, how often to look, and when to end."""
    parser.add_argument("campaign", metavar="CODE", help="as `campaigns list` names it")
    parser.add_argument("--json", action="store_true", help="for a program: one object a line, a line a look")
    parser.add_argument(
        "--every", type=_every, default=1.0, metavar="S", help=f"seconds between two looks, from {_EVERY_S_MIN}; 1"
    )
    parser.add_argument("--until-done", action="store_true", help="end when the campaign is exhausted or ended")


def _every(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _EVERY_S_MIN <= seconds <= _EVERY_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from {_EVERY_S_MIN} to {_EVERY_S_MAX:.0f}")
    return seconds


def run(settings: Settings, arguments: argparse.Namespace) -> None:
    """Watch until Ctrl-C, or until the campaign is done.

    Raises:
        InvalidRequest: What was typed is no code.
        UnknownCampaign: Nor is it that of a campaign.
        DatabaseUnavailable: At the first look; later it is waited for.
    """
    code = read_campaign_code(arguments.campaign)
    show = _json if arguments.json else _drawn() if may_redraw(sys.stdout) else _lines
    with contextlib.suppress(KeyboardInterrupt):  # as people end it; nothing else ends by it
        asyncio.run(_watch(settings, code, show, every_s=arguments.every, until_done=arguments.until_done))


Show = Callable[[Watched, bool], None]
"""Shows what was seen last, and whether that was just now: whether the database answered."""


async def _watch(settings: Settings, code: str, show: Show, *, every_s: float, until_done: bool) -> None:
    seen: Watched | None = None
    async with open_campaign_watch(settings, code) as watch:
        while True:
            try:
                look = await watch.look()
            except DatabaseUnavailable:
                if seen is None:
                    raise
                show(seen, False)  # a primary that is being replaced comes back
            else:
                if look is None:
                    raise UnknownCampaign
                seen = watched(look, at=datetime.now(UTC), before=seen)
                show(seen, True)
                if until_done and look.is_done:
                    return
            await asyncio.sleep(every_s)


def _json(seen: Watched, is_heard: bool) -> None:
    if is_heard:
        print(json.dumps(json_of(seen)), flush=True)


def _lines(seen: Watched, is_heard: bool) -> None:
    print(line(seen) if is_heard else unheard(datetime.now(UTC)), flush=True)


def _drawn() -> Show:
    screen = Screen(sys.stdout, is_coloured=wants_colours(os.environ))

    def show(seen: Watched, is_heard: bool) -> None:
        screen.draw_page(
            lambda width, height: page(seen, width=width, height=height, is_coloured=screen.is_coloured, is_heard=is_heard)
        )

    return show
