"""`tidegate admin`: serves the admin API on a port of its own, for who shows the admin token."""

import argparse
import asyncio

import uvloop

from tidegate.cli.api import listen
from tidegate.cli.exits import DONE, WRONG_SETTINGS, CommandFailed
from tidegate.cli.options import add_data_dir, read_settings
from tidegate.migrations.runner import Runner
from tidegate.wiring.administering import serve_admin

EXAMPLES = """\
  tidegate admin                       on TIDEGATE_ADMIN_HOST:TIDEGATE_ADMIN_PORT, by default 127.0.0.1:10080, for
                                       who shows TIDEGATE_ADMIN_TOKEN; make one: openssl rand -hex 32
  curl http://127.0.0.1:10080/admin/campaigns -H "Authorization: Bearer $TIDEGATE_ADMIN_TOKEN"
                                       every campaign

What it can do, `tidegate campaigns` can do too. `tidegate up` starts it by itself where TIDEGATE_ADMIN_TOKEN is set.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Take no words but where the settings are."""
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = read_settings(arguments, falls_back=False)
    if not settings.admin_token:
        raise CommandFailed(
            WRONG_SETTINGS,
            "TIDEGATE_ADMIN_TOKEN is missing, and without it nobody may use the admin API; make one: openssl rand -hex 32",
        )
    asyncio.run(Runner(settings.primary_dsn).check())
    with listen(settings.admin_host, settings.admin_port, "TIDEGATE_ADMIN_PORT") as listener:
        uvloop.run(serve_admin(settings, listener))
    return DONE
