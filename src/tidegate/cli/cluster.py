"""`tidegate cluster`: the whole picture on this machine, and faults by hand."""

import argparse
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tidegate.cli.cluster_running import Cluster
from tidegate.cli.cluster_starting import SETTINGS_FOLDER
from tidegate.cli.exits import CANNOT_CREATE, DONE, UNAVAILABLE, WRONG_SETTINGS, WRONG_WORDS, CommandFailed
from tidegate.cli.folder import open_data_folder
from tidegate.cli.options import data_folder
from tidegate.cli.starting import NEVER_USED_DSN, await_ports, refuse_foreign_database, with_secrets
from tidegate.cli.supervision import Signals
from tidegate.cluster.control import NoClusterError, Reply, Request, ask
from tidegate.cluster.layout import NODE_HOST, NODES_MAX, PORTS_ABOVE_MAX, REPLICAS_MAX, WORKERS_MAX, Kind, Layout
from tidegate.config import declared
from tidegate.settings_building import build_settings
from tidegate.settings_node import usable_cores
from tidegate.settings_sources import Given, gather

EXAMPLES = """\
  tidegate cluster                     two nodes, a worker, replicas and all servers, behind 127.0.0.1:8080
  tidegate cluster --nodes 3 --port 9000 --data-dir D
  tidegate cluster --balancer nginx    nginx before the nodes instead of HAProxy
  tidegate cluster kill api-1          and in another terminal: one part dies, and is started again
  tidegate cluster pause postgres      frozen whole, as on a machine that hangs
  tidegate cluster pause replica-2 --replay
                                       answers, but falls behind
  tidegate cluster cut cache           whoever asks it hangs; with --refuse, is refused
  tidegate cluster resume              undo every pause and cut
  tidegate cluster status --json
  tidegate cluster settings api-1      what it was told: the same would be set in production
"""

_ANSWER_WITHIN_S: Final = 90.0
"""Longer than anything that it is asked to do takes, on a machine that has other things to do."""

_PASSWORD: Final = re.compile(r"//([^:/@]*):[^@/]*@")
"""Of a URL; not shown even to whoever may see it, for terminals are copied from."""

_ACTS: Final = {
    "kill": "end all processes of a part at once; it is started again after a pause that grows with each death",
    "pause": "freeze all processes of a part",
    "cut": "make the line to a server dead",
    "resume": "undo pause and cut, of one part or of all",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Take `up`, which may be left out, or what is to be done to the one that runs."""
    _add_words_of_up(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    _add_words_of_up(actions.add_parser("up", help="start it, as without any action", argument_default=argparse.SUPPRESS))
    for action, summary in _ACTS.items():
        added = actions.add_parser(action, help=summary, argument_default=argparse.SUPPRESS)
        added.add_argument("part", nargs="?" if action == "resume" else None, default="", help="such as api-1, or cache")
        if action == "pause":
            added.add_argument("--replay", action="store_true", help="of a replica: only let it fall behind")
        if action == "cut":
            added.add_argument(
                "--refuse", action="store_true", help="refuse everybody at once instead of letting them hang"
            )
        _add_data_dir(added)
    status = actions.add_parser("status", help="tell how each part is", argument_default=argparse.SUPPRESS)
    status.add_argument("--json", action="store_true", help="print JSON instead of a table")
    _add_data_dir(status)
    settings = actions.add_parser("settings", help="print what a part was told", argument_default=argparse.SUPPRESS)
    settings.add_argument("part", help="such as api-1")
    _add_data_dir(settings)
    _add_data_dir(actions.add_parser("down", help="stop it", argument_default=argparse.SUPPRESS))


def _add_words_of_up(parser: argparse.ArgumentParser) -> None:
    for word, default, most, what in (
        ("--nodes", 2, NODES_MAX, "nodes that serve the API"),
        ("--workers", 1, WORKERS_MAX, "workers"),
        ("--replicas", 2, REPLICAS_MAX, "replicas of the database"),
    ):
        parser.add_argument(word, type=_count(most), metavar="N", help=f"how many {what}; default: {default}")
    parser.add_argument(
        "--port", metavar="P", help="port that people ask; those of the nodes follow it; default: TIDEGATE_PORT, else 8080"
    )
    parser.add_argument(
        "--balancer",
        choices=(Kind.HAPROXY.value, Kind.NGINX.value),
        metavar="B",
        help="what stands before the nodes: haproxy or nginx; default: haproxy where there is one",
    )
    _add_data_dir(parser)


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        metavar="D",
        type=Path,
        help="folder of the databases, the secrets, the logs and the socket that other commands talk to; default: "
        "TIDEGATE_DATA_DIR, else /var/lib/tidegate-cluster for root and ~/.local/share/tidegate-cluster for others",
    )


def _count(most: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not re.fullmatch("[0-9]{1,3}", text) or int(text) > most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number up to {most}")
        return int(text)

    return count


def run(arguments: argparse.Namespace) -> int:
    """Start it and look after it, or have the one that runs do something."""
    said = gather(environment=os.environ, working_folder=Path.cwd())
    path = _folder(arguments.data_dir, said)
    match arguments.action:
        case None | "up":
            return _up(arguments, said, path)
        case "settings":
            return _print_settings(path, arguments.part)
    reply = _ask(path, _request(arguments), to_its_end=arguments.action == "down")
    if reply.code != DONE:
        raise CommandFailed(reply.code, *reply.lines)
    print(json.dumps(reply.status, indent=2) if getattr(arguments, "json", False) else "\n".join(reply.lines))
    return DONE


def _folder(named: Path | None, said: Given) -> Path:
    if named is None and not said.texts.get("TIDEGATE_DATA_DIR"):
        of_up = data_folder(None, said)
        named = of_up and of_up.with_name("tidegate-cluster")  # beside that of `tidegate up`: another database
    path = data_folder(named, said)
    if path is None:
        raise CommandFailed(CANNOT_CREATE, "there is no home folder to keep data in; name a data folder with --data-dir")
    return path


def _up(arguments: argparse.Namespace, said: Given, path: Path) -> int:
    refuse_foreign_database(said, "cluster")
    signals = Signals()
    with signals.caught(), open_data_folder(path) as folder:
        texts = with_secrets(said.texts, folder) | {"TIDEGATE_DATA_DIR": str(folder.path)}
        if arguments.port is not None:
            texts["TIDEGATE_PORT"] = arguments.port
        settings = build_settings(texts | {"TIDEGATE_PRIMARY_DSN": NEVER_USED_DSN})
        layout = Layout(
            nodes=2 if arguments.nodes is None else arguments.nodes,
            workers=1 if arguments.workers is None else arguments.workers,
            replicas=2 if arguments.replicas is None else arguments.replicas,
            host=settings.host,
            port=settings.port,
            cores=usable_cores(),
        )
        if layout.nodes < 1:
            raise CommandFailed(WRONG_WORDS, "without a node nobody is served; give --nodes 1 or more")
        if layout.port > 65_535 - PORTS_ABOVE_MAX:
            raise CommandFailed(
                WRONG_SETTINGS, f"above port {layout.port} there is no room for the nodes; set a lower --port"
            )
        wanted = [(settings.host, settings.port, "--port"), (NODE_HOST, layout.balancer_metrics_port, "--port")]
        for name in layout.node_names():
            wanted += [(NODE_HOST, layout.port_of(name), "--port"), (NODE_HOST, layout.metrics_port_of(name), "--port")]
        await_ports(wanted, folder, signals)
        balancer = None if arguments.balancer is None else Kind(arguments.balancer)
        if not signals.is_stopping:
            Cluster(layout, texts, settings, folder, signals, balancer).run()
    return DONE


def _request(arguments: argparse.Namespace) -> Request:
    how = next((word for word in ("replay", "refuse") if getattr(arguments, word, False)), "")
    return Request(arguments.action, getattr(arguments, "part", ""), how)


def _ask(path: Path, request: Request, *, to_its_end: bool) -> Reply:
    try:
        return ask(path, request, timeout_s=_ANSWER_WITHIN_S, to_its_end=to_its_end)
    except NoClusterError as error:
        raise CommandFailed(
            UNAVAILABLE, f"{error}; start one with `tidegate cluster`, or name its folder with --data-dir"
        ) from None


def _print_settings(path: Path, part: str) -> int:
    folder = path / SETTINGS_FOLDER
    told = sorted(file.stem for file in folder.glob("*.env"))
    if part not in told:
        known = f"there are {', '.join(told)}" if told else f"no cluster has run in {path}"
        raise CommandFailed(WRONG_WORDS, f"no settings are known of {part!r}; {known}")
    secrets = {each.variable for each in declared() if each.meaning.is_secret}
    for line in (folder / f"{part}.env").read_text().splitlines():
        name, _, text = line.partition("=")
        if name in secrets:
            text = _PASSWORD.sub(r"//\1:…@", text) if "://" in text else "…"
        if not line.startswith("#"):
            print(f"{name}={text}")
    return DONE
