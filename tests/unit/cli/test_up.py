"""What `tidegate up` can do without, it does without, and says so."""

import signal
import subprocess

import pytest

from tidegate.cli.supervision import Child
from tidegate.cli.up import _is_started
from tidegate.embedded.children import StopStep
from tidegate.embedded.nats import EmbeddedNatsError


def fail() -> "subprocess.Popen[bytes]":
    raise EmbeddedNatsError("no NATS found; install it")


@pytest.fixture
def queue() -> Child:
    return Child("NATS", fail, [StopStep(signal.SIGTERM, 1)])


def test_without_a_server_that_was_not_asked_for_it_goes_on(queue: Child, capsys: pytest.CaptureFixture[str]) -> None:
    assert not _is_started(queue, must=False, without="a queue")
    assert capsys.readouterr().err == "tidegate: no NATS found; install it; going on without a queue\n"


def test_a_server_that_was_asked_for_must_start(queue: Child) -> None:
    with pytest.raises(EmbeddedNatsError):
        _is_started(queue, must=True, without="a queue")
