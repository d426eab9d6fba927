"""A line says what happened and never what was typed; and no full disk or closed pipe stops a login."""

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tidegate.observability import log as log_module
from tidegate.observability.log import EventHandler, JsonLog, RequestLine, frames_of, utc_now

CANARY = "canary-of-a-password"


def line(request_id: str = "1") -> RequestLine:
    return RequestLine(
        time=utc_now(),
        request_id=request_id,
        method="GET",
        route="/me",
        status=200,
        outcome="ok",
        duration_ms=0.5,
    )


@contextmanager
def a_log(path: Path) -> Iterator[JsonLog]:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        yield JsonLog(descriptor)
    finally:
        os.close(descriptor)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_bytes().splitlines()]


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_line_is_one_json_object_with_a_time_in_utc(path: Path) -> None:
    with a_log(path) as log:
        log.write(line("a\nb"))
    (written,) = lines_of(path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", written["time"])
    assert written["request_id"] == "a\nb"
    assert "user_id" not in written


def test_times_grow_and_are_those_of_the_clock() -> None:
    """Across seconds too, though lines of one second share its text."""
    before = datetime.now(UTC)
    times = [datetime.fromisoformat(utc_now()) for _ in range(1000)]
    after = datetime.now(UTC)
    assert times == sorted(times)
    assert before - timedelta(microseconds=1) <= times[0]
    assert times[-1] <= after


@pytest.mark.parametrize("nanoseconds", [0, 999, 1_000, 1_767_225_599_999_999_999, 1_767_225_600_000_000_000])
def test_a_time_is_cut_to_microseconds_and_never_rounded_into_another_second(
    nanoseconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds)
    expected = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=nanoseconds // 1_000)
    assert datetime.fromisoformat(utc_now()) == expected
    assert len(utc_now()) == len("2026-01-01T00:00:00.000000Z")


class TestWhatIsNotTold:
    def test_of_an_exception_only_its_class_and_where_it_was_raised(self, path: Path) -> None:
        with a_log(path) as log:
            log.event("error", "api", "a request failed", raised(ValueError(CANARY)))
        (written,) = lines_of(path)
        assert written["error"] == "ValueError"
        assert re.fullmatch(r"test_log\.py:\d+ raised", written["frames"][-1])
        assert CANARY not in path.read_text()

    def test_nor_anything_of_its_causes_notes_and_values(self) -> None:
        def fail(password: str) -> None:
            try:
                raise KeyError(password)
            except KeyError as cause:
                error = ValueError(password)
                error.add_note(password)
                raise error from cause

        with pytest.raises(ValueError, match=CANARY) as caught:
            fail(CANARY)
        assert CANARY not in "".join(frames_of(caught.value))

    def test_of_a_library_only_the_first_line_of_its_message(self, path: Path) -> None:
        """asyncio writes the repr of an exception, arguments and all, in the lines behind the first."""
        with a_log(path) as log, handled(log) as logger:
            logger.error("Task exception was never retrieved\nfuture: %s", f"<Task exception=ValueError({CANARY!r})>")
        (written,) = lines_of(path)
        assert written["event"] == "Task exception was never retrieved"
        assert written["source"] == "a.library"
        assert written["level"] == "error"
        assert CANARY not in path.read_text()

    def test_nor_the_text_of_the_exception_that_a_library_caught(self, path: Path) -> None:
        with a_log(path) as log, handled(log) as logger:
            logger.warning("it failed", exc_info=raised(ValueError(CANARY)))
        (written,) = lines_of(path)
        assert (written["event"], written["error"]) == ("it failed", "ValueError")
        assert CANARY not in path.read_text()

    def test_what_asyncio_says_of_a_task_that_nobody_awaited(self, path: Path) -> None:
        async def fail() -> None:
            raise ValueError(CANARY)

        async def story() -> None:
            task = asyncio.create_task(fail())
            await asyncio.wait([task])
            del task

        with a_log(path) as log, handled(log, "asyncio"):
            asyncio.run(story())
            log.flush()
        (written,) = lines_of(path)
        assert (written["source"], written["error"]) == ("asyncio", "ValueError")
        assert CANARY not in path.read_text()

    def test_the_chatter_of_libraries(self, path: Path) -> None:
        with a_log(path) as log, handled(log, "a.talkative.library") as logger:
            logger.setLevel(logging.INFO)
            logger.info("starting")
        assert lines_of(path) == []


async def timers_due() -> None:
    """Return when every timer that is due by now has run: they run in the order of their times."""
    due = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, due.set)
    await due.wait()


@contextmanager
def handled(log: JsonLog, name: str = "a.library") -> Iterator[logging.Logger]:
    """The logger *name*, whose records go to *log*."""
    logger = logging.getLogger(name)
    handler = EventHandler(log)
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.removeHandler(handler)


class TestBuffering:
    def test_lines_wait_for_their_neighbours_and_then_go_out_together(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log_module, "_FLUSH_INTERVAL_S", 0.0)

        async def story() -> None:
            log.write(line("1"))
            log.write(line("2"))
            assert lines_of(path) == []
            await timers_due()
            assert [written["request_id"] for written in lines_of(path)] == ["1", "2"]

        with a_log(path) as log:
            asyncio.run(story())

    def test_the_timer_runs_again_after_a_flush(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(log_module, "_FLUSH_INTERVAL_S", 0.0)

        async def story() -> None:
            for count in (1, 2):
                log.write(line(str(count)))
                await timers_due()
                assert len(lines_of(path)) == count

        with a_log(path) as log:
            asyncio.run(story())

    def test_a_crowd_does_not_pile_up(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(log_module, "_BUFFERED_LINES_MAX", 3)

        async def story() -> None:
            for count in range(4):
                log.write(line(str(count)))
            assert len(lines_of(path)) == 3

        with a_log(path) as log:
            asyncio.run(story())

    def test_without_an_event_loop_a_line_is_written_at_once(self, path: Path) -> None:
        with a_log(path) as log:
            log.event("info", "cli", "starting")
            assert len(lines_of(path)) == 1

    def test_flush_writes_what_waits_and_nothing_twice(self, path: Path) -> None:
        async def story() -> None:
            log.write(line("1"))
            log.flush()
            log.flush()

        with a_log(path) as log:
            asyncio.run(story())
        assert len(lines_of(path)) == 1


class TestWhenTheLogCannotBeWritten:
    def test_a_full_disk_is_no_reason_to_fail(self) -> None:
        descriptor = os.open("/dev/full", os.O_WRONLY)
        try:
            log = JsonLog(descriptor)
            log.event("info", "api", "serving")
            log.event("info", "api", "serving")
        finally:
            os.close(descriptor)

    def test_a_reader_who_is_gone_is_no_reason_to_fail(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        try:
            JsonLog(writer).event("info", "api", "serving")
        finally:
            os.close(writer)

    def test_a_write_in_parts_is_completed(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, octets: write(descriptor, octets[:7]))
        with a_log(path) as log:
            log.event("info", "api", "serving")
        assert [written["event"] for written in lines_of(path)] == ["serving"]
