"""Those who ask for their coupon, against a server that lets them wait."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from bench.campaign.crowds import ASKERS, ENTRANT, name_of
from bench.campaign.winners import ASKED_EVERY_S, Winners

ASKED_UNTIL_GRANTED = 3


class Answers:
    """What came, and what is said."""

    def __init__(self, status: int = 200, *, told: str = "granted") -> None:
        self.asked: Counter[str] = Counter()
        self.status = status
        self.told = told

    def login(self, body: str) -> str:
        username = parse_qs(body)["username"][0]
        self.asked[username] = 0
        return json.dumps({"access_token": username})

    def coupons(self, token: str) -> str:
        self.asked[token] += 1
        return json.dumps({"status": self.told if self.asked[token] >= ASKED_UNTIL_GRANTED else "pending"})


@contextmanager
def serving(answers: Answers) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_POST(self) -> None:
            self.answer(200, answers.login(self.rfile.read(int(self.headers["Content-Length"])).decode()))

        def do_GET(self) -> None:
            token = self.headers["Authorization"].removeprefix("Bearer ")
            self.answer(answers.status, answers.coupons(token))

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def came(answers: Answers, *, until: int) -> Winners:
    """Let them come until so many have, or none comes any more."""
    enough = threading.Event()
    with serving(answers) as port:
        winners = Winners(port, first_number=301, has_begun=lambda: True)
        with winners.asking():
            for _ in range(600):
                if len(winners.delays_s) >= until or not winners.is_going_on:
                    break
                enough.wait(0.05)
    return winners


def test_each_asks_until_the_coupon_is_there_and_then_the_next_comes():
    answers = Answers()
    winners = came(answers, until=4)
    assert len(winners.delays_s) >= 4
    assert min(winners.delays_s) >= ASKED_EVERY_S * (ASKED_UNTIL_GRANTED - 1)
    assert set(answers.asked) <= {name_of(ENTRANT, number) for number in range(301, 301 + ASKERS)}
    assert len([count for count in answers.asked.values() if count == ASKED_UNTIL_GRANTED]) >= 4


def test_where_nothing_is_left_or_nobody_can_ask_nobody_goes_on():
    for answers in (Answers(told="sold_out"), Answers(404)):
        winners = came(answers, until=1)
        assert winners.delays_s == []
        assert len(answers.asked) <= 2


def test_nobody_comes_before_the_storm():
    answers = Answers()
    with serving(answers) as port, Winners(port, first_number=1, has_begun=lambda: False).asking():
        pass
    assert not answers.asked
