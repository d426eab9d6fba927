"""A running cluster: looks after its parts, breaks and mends them when it is asked to, shows how they are, stops them."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tidegate.cli.cluster_parts import Part
from tidegate.cli.cluster_starting import Starting
from tidegate.cli.exits import DONE, UNAVAILABLE, WRONG_WORDS, CommandFailed
from tidegate.cli.folder import DataFolder
from tidegate.cli.starting import await_ready, lines_to_try, url_of
from tidegate.cli.supervision import Child, Signals, say, tend_all, tend_each
from tidegate.cluster.control import Control, Reply, Request
from tidegate.cluster.layout import ALIASES, NODE_HOST, Kind, Layout
from tidegate.cluster.view import Picture, Row, Screen, State, may_redraw, table, wants_colours
from tidegate.cluster.watching import NotDoneError, Round, Standing, Watcher
from tidegate.config import Settings

_STARTING_S: Final = 15.0
"""For so long after its start a part that does not answer is starting."""

_STATUS_WIDTH: Final = 200
"""Letters of a line of `status`: every column fits."""


@dataclass
class Cluster:
    """One cluster, from its start to its end.

    Attributes:
        layout: What it is made of.
        said: What the operator said, secrets included.
        settings: The same, as settings.
        folder: Where everything lies.
        signals: When to stop.
        balancer: Which program it is to be; None: HAProxy where there is one, else nginx.
    """

    layout: Layout
    said: Mapping[str, str]
    settings: Settings
    folder: DataFolder
    signals: Signals
    balancer: Kind | None = None
    _parts: dict[str, Part] = field(default_factory=dict, init=False)
    _screen: Screen | None = field(default=None, init=False)
    _watcher: Watcher | None = field(default=None, init=False)

    def run(self) -> None:
        """Start all, look after it until a signal or `tidegate cluster down`, stop all in reverse."""
        starting = Starting(
            layout=self.layout,
            said=self.said,
            settings=self.settings,
            folder=self.folder,
            tell=self._tell,
            signals=self.signals,
            balancer=self.balancer,
            parts=self._parts,
        )
        with ExitStack() as running:
            control = Control(self.folder.path)
            running.callback(control.close)
            say(f"tidegate: starting {self.layout}")
            running.callback(self._stop)
            starting.start(running)
            say("tidegate: waiting until all nodes are ready")
            if not self._await_ready(control):
                return
            self._welcome()
            self._watcher = self._watch(starting.dsns)
            running.callback(self._watcher.stop)
            while not self.signals.is_stopping:
                tend_all(list(self._children()), self.signals, [control.fileno()])
                control.serve(self._answer)

    def _children(self) -> Iterator[Child]:
        for part in self._parts.values():
            yield from part.children()

    def _await_ready(self, control: Control) -> bool:
        def tend() -> None:
            control.serve(self._answer)
            tend_each(self._children())

        nodes = [(NODE_HOST, self.layout.port_of(name), name) for name in self.layout.node_names()]
        asked = [*nodes, (self.settings.host, self.layout.port, "the balancer")]
        return all(await_ready(tend, host, port, name, self.signals) for host, port, name in asked)

    def _tell(self, line: str) -> None:
        if self._screen is None:
            say(line)
        else:
            self._screen.tell(line)

    def _welcome(self) -> None:
        url = url_of(self.settings.host, self.layout.port)
        say(f"""\
Tidegate is ready at {url}
  docs {url}/docs
  data {self.folder.path}
  logs {self.folder.log("api-1").parent} and, of each part, as `tidegate cluster status --json` tells
{lines_to_try(url)}
Break it, from another terminal:
  tidegate cluster kill api-1
  tidegate cluster pause postgres; sleep 5; tidegate cluster resume postgres
  tidegate cluster cut cache
  tidegate cluster resume
Ctrl-C stops it, and so does `tidegate cluster down`.""")

    def _watch(self, dsns: Mapping[str, str]) -> Watcher:
        if may_redraw(sys.stdout):
            self._screen = Screen(sys.stdout, is_coloured=wants_colours(os.environ))
        watcher = Watcher(
            metrics_ports={name: self.layout.metrics_port_of(name) for name in self.layout.node_names()},
            dsns=dsns,
            on_round=self._draw if self._screen is not None else None,
        )
        watcher.start()
        return watcher

    def _draw(self, found: Round) -> None:
        if self._screen is not None:
            self._screen.draw(self._picture(found))

    def _stop(self) -> None:
        screen, self._screen = self._screen, None
        for line in screen.untold() if screen is not None else ():
            say(line)
        say("tidegate: stopping")
        parts = list(self._parts.values())
        for part in reversed(parts):
            part.resume()
        programs = [part for part in parts if part.kind in (Kind.API, Kind.WORKER)]
        for part in programs:
            part.child.ask_to_stop()  # they take a moment each, so all at once
        for part in reversed(parts):
            part.child.settle()
            part.end()
        for part in parts:
            part.end_line()

    # What others ask

    def _answer(self, request: Request) -> Reply:
        try:
            return self._done(request)
        except CommandFailed as failed:
            return Reply(failed.code, failed.sentences)
        except NotDoneError as error:
            return Reply(UNAVAILABLE, (f"{request.part} does not do it: {error}",))

    def _done(self, request: Request) -> Reply:
        match request.act:
            case "status":
                return self._status()
            case "down":
                self.signals.is_stopping = True
                return Reply(DONE, ("the cluster is stopping",))
            case "kill":
                return Reply(DONE, (self._part(request.part).kill(),))
            case "pause" if request.how == "replay":
                return Reply(DONE, (self._pause_replay(self._part(request.part)),))
            case "pause":
                return Reply(DONE, (self._part(request.part).pause(),))
            case "cut":
                return Reply(DONE, (self._part(request.part).cut(is_refused=request.how == "refuse"),))
            case "resume":
                return self._resume(self._broken(request.part))
        raise CommandFailed(WRONG_WORDS, f"the running cluster knows no {request.act!r}; is it of another version?")

    def _part(self, name: str) -> Part:
        found = next((self._parts[each] for each in ALIASES.get(name, (name,)) if each in self._parts), None)
        if found is None:
            raise CommandFailed(WRONG_WORDS, f"there is no part {name!r}; there are {', '.join(self._parts)}")
        return found

    def _broken(self, name: str) -> list[Part]:
        """The part called *name*, or all, as far as there is something to undo."""
        named = [self._part(name)] if name else list(self._parts.values())
        return [part for part in named if part.is_paused or part.is_cut or part.is_replay_paused]

    def _pause_replay(self, part: Part) -> str:
        if part.kind is not Kind.REPLICA:
            raise CommandFailed(WRONG_WORDS, f"{part.name} replays nothing; only replicas do")
        self._execute(part, "SELECT pg_wal_replay_pause()")
        part.is_replay_paused = True
        return f"{part.name}: it answers, and falls behind, until `resume {part.name}`"

    def _resume(self, parts: Sequence[Part]) -> Reply:
        """Mend all of *parts*, also when one of them does not do it."""
        told, failed = [], []
        for part in parts:
            part.resume()
            try:
                if part.is_replay_paused:
                    self._execute(part, "SELECT pg_wal_replay_resume()")
                    part.is_replay_paused = False
            except NotDoneError as error:
                failed.append(f"{part.name} does not do it: {error}")
            else:
                told.append(f"{part.name}: goes on")
        return Reply(UNAVAILABLE if failed else DONE, (*failed, *told) or ("nothing is paused or cut",))

    def _execute(self, part: Part, statement: str) -> None:
        if self._watcher is None:
            raise CommandFailed(UNAVAILABLE, "the cluster is still starting; try again")
        self._watcher.execute(part.name, statement)

    # How it is

    def _status(self) -> Reply:
        found = self._watcher.fresh() if self._watcher is not None else Round()
        picture = self._picture(found)
        rows = {row.name: row for row in picture.rows}
        status: dict[str, Any] = {
            "url": url_of(self.settings.host, self.layout.port),
            "data": str(self.folder.path),
            "pid": os.getpid(),
            "jobs": picture.jobs,
            "parts": [
                {
                    **asdict(rows[part.name]),
                    "kind": part.kind,
                    "is_paused": part.is_paused,
                    "is_cut": part.is_cut,
                    "is_replay_paused": part.is_replay_paused,
                    "log": str(part.log),
                }
                for part in self._parts.values()
            ],
        }
        return Reply(DONE, tuple(table(picture.rows, width=_STATUS_WIDTH, is_coloured=False)), status)

    def _picture(self, found: Round) -> Picture:
        primary = found.servers.get(Kind.POSTGRES)
        jobs = None if primary is None else primary.jobs
        return Picture([self._row(part, found) for part in list(self._parts.values())], jobs)

    def _row(self, part: Part, found: Round) -> Row:
        pace = found.nodes.get(part.name)
        return Row(
            name=part.name,
            state=self._state(part, found),
            pid=part.child.pid,
            deaths=part.child.deaths,
            requests_per_s=None if pace is None else pace.requests_per_s,
            logins_per_s=None if pace is None else pace.logins_per_s,
            p99_ms=None if pace is None else pace.p99_ms,
            waiting=self._waiting(part, found),
            lag_bytes=_lag(found.servers.get(Kind.POSTGRES), found.applied.get(part.name)),
        )

    def _waiting(self, part: Part, found: Round) -> int | None:
        pace, primary = found.nodes.get(part.name), found.servers.get(Kind.POSTGRES)
        if part.kind is Kind.NATS and primary is not None:
            return primary.jobs
        return None if pace is None else pace.hashes_waiting

    def _state(self, part: Part, found: Round) -> State:
        if part.child.pid is None:
            return State.STARTING if part.child.is_starting else State.DEAD
        if part.is_paused:
            return State.PAUSED
        if part.is_cut:
            return State.CUT
        if part.is_replay_paused:
            return State.REPLAY_PAUSED
        is_asked = part.kind in (Kind.API, Kind.POSTGRES, Kind.REPLICA)
        if is_asked and part.name not in found.nodes and part.name not in found.servers:
            return State.STARTING if self._watcher is None or part.child.age_s < _STARTING_S else State.SILENT
        return State.UP


def _lag(primary: Standing | None, applied: int | None) -> int | None:
    """How many bytes of the log of *primary* a replica that has *applied* so many lacks; None: nobody can tell."""
    return None if primary is None or applied is None else max(0, primary.wal - applied)
