"""Keeps the connections of all streams busy: one thread, epoll, nothing between the kernel and the request."""

import heapq
import select
import socket
from collections import deque
from collections.abc import Callable
from itertools import count
from time import monotonic, sleep
from typing import Final

from bench.driver.answers import UnreadableAnswerError, is_whole, retry_after_s
from bench.driver.asking import Asking, Session
from bench.driver.tally import Tally

_EVENTS_MAX: Final = 64
"""Answers that are read before the clock is looked at again: some 0.5 ms, by which an open loop may be late."""

_TICK_S: Final = 0.002
"""How long an open loop rests when nothing is left to do: what falls due or comes back meanwhile is late by so much at the
most, and the lateness counts against the server. To wake for each of 2,000 requests a second and for each answer took 0.18
of two cores, which the server under measurement was then without."""

_READ_BYTES: Final = 65_536
_RECONNECT_AFTER_S: Final = 0.1
_CONNECT_S_MAX: Final = 10.0


class Connection:
    """One client, and the request that it waits for an answer to."""

    __slots__ = ("buffer", "due_at", "fd", "is_due", "is_first", "lane", "recv", "send", "session", "socket")

    def __init__(self, lane: "Lane", connected: socket.socket) -> None:
        self.lane = lane
        self.socket = connected
        self.fd = connected.fileno()
        self.send = connected.send
        self.recv = connected.recv
        self.buffer = b""
        self.due_at = 0.0
        self.is_due = False
        self.is_first = True
        self.session: Session | None = None


class Lane:
    """The connections of one stream.

    Args:
        asking: Where its requests come from.
        tally: What has come of it.
        connections: How many.
        rate_per_s: See `orders.Stream`.
        requests: Likewise.
    """

    def __init__(
        self,
        asking: Asking,
        tally: Tally,
        *,
        connections: int,
        rate_per_s: float | None,
        requests: int | None = None,
    ) -> None:
        self.asking = asking
        self.tally = tally
        self.connections = connections
        self.interval_s = 1 / rate_per_s if rate_per_s else None
        self.left = requests
        self.next_due = 0.0
        self.idle: deque[Connection] = deque()
        self.backlog: deque[float] = deque()
        self.yet_unanswered = connections


class Loop:
    """Every lane's connections, until told to stop.

    Args:
        host: Of the server.
        port: Of the server.
        lanes: All that is asked.
    """

    def __init__(self, host: str, port: int, lanes: list[Lane]) -> None:
        self._address = host, port
        self._lanes = lanes
        self._open_lanes = [lane for lane in lanes if lane.interval_s]
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = count()
        self._is_asking = True
        self._due = 0

    def connect(self) -> None:
        """Open every connection; open loops begin to be due, closed ones ask.

        Raises:
            OSError: The server is not there.
        """
        made = [self._connection(lane) for lane in self._lanes for _ in range(lane.connections)]
        now = monotonic()
        for number, lane in enumerate(self._open_lanes, 1):  # streams of one rate shall not fall due together
            assert lane.interval_s
            lane.next_due = now + lane.interval_s * number / (len(self._open_lanes) + 1)
        for connection in made:
            self._free(connection, now)

    def run(self, until: float, *, or_when: Callable[[], bool] = lambda: False) -> None:
        """Ask and read answers until the clock says *until*, or *or_when* does.

        Raises:
            UnreadableAnswerError: The server does not answer as we can read.
        """
        epoll, connections, clock, read = self._epoll, self._connections, monotonic, self._read
        while (now := clock()) < until and not or_when():
            next_at = min(until, self._ask_what_is_due(now), self._run_timers(now))
            events = epoll.poll(0, _EVENTS_MAX)
            if not events and (wait_s := next_at - clock()) > 0:
                if self._open_lanes:
                    sleep(_TICK_S)
                else:
                    # epoll_wait counts milliseconds; the descriptor of an epoll is ready when something in it is.
                    select.select((epoll,), (), (), wait_s)
            for fd, _ in events:
                read(connections[fd])

    def stop_asking(self) -> None:
        """Only read from now on."""
        self._is_asking = False

    def is_quiet(self) -> bool:
        """Whether no answer is due any more."""
        return not self._due

    def is_spent(self) -> bool:
        """Whether every lane has asked all that it was to ask, and has had its answers."""
        return not self._due and all(lane.left == 0 for lane in self._lanes)

    def has_answered_all(self) -> bool:
        """Whether each connection of the closed loops has had an answer."""
        return all(lane.yet_unanswered <= 0 or lane.interval_s for lane in self._lanes)

    def unanswered(self, lane: Lane) -> list[float]:
        """When the requests of *lane* were due that have had no answer yet."""
        under_way = [each.due_at for each in self._connections.values() if each.lane is lane and each.is_due]
        return under_way + list(lane.backlog)

    def close(self) -> None:
        """End all connections."""
        for connection in self._connections.values():
            connection.socket.close()
        self._epoll.close()

    # Asking.

    def _ask_what_is_due(self, now: float) -> float:
        """Let the open loops ask what is due; return when the next is."""
        next_at = float("inf")
        if not self._is_asking:
            return next_at
        for lane in self._open_lanes:
            interval_s, due_at = lane.interval_s, lane.next_due
            assert interval_s
            while due_at <= now:
                if lane.idle and self._send(lane.idle[0], due_at):
                    lane.idle.popleft()
                    lane.tally.asked(due_at, now - due_at)
                else:
                    lane.backlog.append(due_at)
                    lane.tally.asked(due_at, 0.0)
                due_at += interval_s
            lane.next_due = due_at
            next_at = min(next_at, due_at)
        return next_at

    def _free(self, connection: Connection, now: float) -> None:
        """Let *connection*, which waits for nothing, ask what comes next."""
        if not self._is_asking:
            return
        lane = connection.lane
        if lane.interval_s is None:
            if lane.left == 0:
                return
            if lane.left is not None:
                lane.left -= 1
            lane.tally.asked(now, 0.0)
            if not self._send(connection, now):
                raise UnreadableAnswerError("There are fewer sessions than connections that need one.")
        elif lane.backlog and self._send(connection, lane.backlog[0]):
            lane.backlog.popleft()
        else:
            lane.idle.append(connection)

    def _send(self, connection: Connection, due_at: float) -> bool:
        """Send the next request; False while no session is free for it."""
        taken = connection.lane.asking.take()
        if taken is None:
            return False
        connection.session, request = taken
        connection.due_at = due_at
        connection.is_due = True
        self._due += 1
        try:
            sent = connection.send(request)
        except OSError:
            return True  # reading will tell that it is gone
        if sent != len(request):
            raise UnreadableAnswerError("The server does not read.")
        return True

    # Answers.

    def _read(self, connection: Connection) -> None:
        try:
            octets = connection.recv(_READ_BYTES)
        except OSError:
            octets = b""
        if not octets:
            self._lost(connection)
            return
        if connection.buffer:
            octets = connection.buffer + octets
        if not is_whole(octets):
            connection.buffer = octets
            return
        if not connection.is_due:
            raise UnreadableAnswerError("The server answers what nobody asked.")
        now, lane = monotonic(), connection.lane
        connection.buffer = b""
        connection.is_due = False
        self._due -= 1
        status = octets[9:12]
        is_good = lane.tally.answered(status, connection.due_at, now)
        lane.asking.give_back(connection.session, octets if is_good else None)
        if connection.is_first:
            connection.is_first = False
            lane.yet_unanswered -= 1
        if not is_good and lane.interval_s is None and (pause_s := retry_after_s(octets)):
            self._later(now + pause_s, lambda: self._free_if_there(connection))
        else:
            self._free(connection, now)

    # Connections that come and go.

    def _connection(self, lane: Lane) -> Connection:
        connected = socket.create_connection(self._address, _CONNECT_S_MAX)
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(lane, connected)
        self._connections[connection.fd] = connection
        self._epoll.register(connection.fd, select.EPOLLIN)
        return connection

    def _lost(self, connection: Connection) -> None:
        """Let another take the place of *connection*, in a moment."""
        lane = connection.lane
        if connection.is_due:
            self._due -= 1
            lane.tally.lost()
            lane.asking.give_back(connection.session, None)
        elif connection in lane.idle:
            lane.idle.remove(connection)
        if connection.is_first:
            lane.yet_unanswered -= 1
        self._epoll.unregister(connection.fd)
        del self._connections[connection.fd]
        connection.socket.close()
        self._later(monotonic() + _RECONNECT_AFTER_S, lambda: self._reconnect(lane))

    def _reconnect(self, lane: Lane) -> None:
        if self._is_asking:
            self._free(self._connection(lane), monotonic())

    def _free_if_there(self, connection: Connection) -> None:
        if self._connections.get(connection.fd) is connection and not connection.is_due:
            self._free(connection, monotonic())

    def _later(self, at: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (at, next(self._timer_numbers), act))

    def _run_timers(self, now: float) -> float:
        """Do what is due by now; return when the next is."""
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        return self._timers[0][0] if self._timers else float("inf")
