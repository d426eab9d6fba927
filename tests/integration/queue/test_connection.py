"""The queue as one process sees it, against a real NATS that is frozen, killed and wiped."""

import asyncio
import contextlib
import logging
import os
import time

import pytest

from tests.support.nats_servers import frozen, kill, own_nats, wipe
from tests.support.waiting import GIVE_UP_AFTER_S, until_so
from tidegate.embedded.nats import EmbeddedNats
from tidegate.queue.address import QueueAddress, read_addresses
from tidegate.queue.connection import QueueConnection
from tidegate.queue.messages import Outgoing, QueueAway, StreamMissing

STREAM = "TESTS"
CONFIG = {"subjects": ["tests.>"], "storage": "file", "retention": "limits", "duplicate_window": 10_000_000_000}
CONSUMER = {"ack_policy": "explicit", "ack_wait": 1_000_000_000, "max_ack_pending": 10_000, "filter_subject": "tests.a"}


@pytest.fixture
def server():
    with own_nats() as server:
        yield server


@contextlib.asynccontextmanager
async def connected(server: EmbeddedNats, *, timeout_s: float = 2.0, told: list[tuple[bool, str]] | None = None):
    queue = QueueConnection(
        read_addresses(server.url),
        name="tests",
        timeout_s=timeout_s,
        ping_interval_s=0.1,
        on_change=lambda is_up, why: None if told is None else told.append((is_up, why)),
    )
    queue.start()
    try:
        async with asyncio.timeout(GIVE_UP_AFTER_S):
            await queue.until_up()
        yield queue
    finally:
        await queue.aclose()


async def until_pulled(queue: QueueConnection, count: int) -> list[bytes]:
    pulled: list[bytes] = []
    async with asyncio.timeout(GIVE_UP_AFTER_S):
        while len(pulled) < count:
            messages = await queue.pull(STREAM, "all", at_most=100, wait_s=0.2)
            await queue.ack(messages)
            pulled += [message.payload for message in messages]
    return pulled


def letters(*texts: str) -> list[Outgoing]:
    return [Outgoing("tests.a", text.encode(), text) for text in texts]


def test_a_start_neither_waits_for_the_queue_nor_fails_without_it():
    async def body() -> None:
        queue = QueueConnection([QueueAddress(host="127.0.0.1", port=1)], name="tests", timeout_s=5)
        queue.start()
        assert not queue.is_up
        with pytest.raises(QueueAway):
            await queue.publish_all(letters("one"))
        await queue.aclose()

    asyncio.run(body())


@pytest.mark.parametrize(
    "said",
    [b"A" * 100_000 + b"\r\n", b"INFO []\r\n", b'INFO {"max_payload":1}\r\n-ERR \xff\r\n'],
    ids=["long", "info", "error"],
)
def test_whoever_speaks_otherwise_where_the_queue_should_be_is_tried_again(said):
    async def body() -> None:
        hung_up = asyncio.Semaphore(0)

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            with contextlib.suppress(ConnectionError):
                while await reader.read(65_536):
                    pass
            writer.close()
            hung_up.release()

        stranger = await asyncio.start_server(speak, "127.0.0.1", 0)
        address = QueueAddress(host="127.0.0.1", port=stranger.sockets[0].getsockname()[1])
        queue = QueueConnection([address], name="tests", timeout_s=0.5)
        queue.start()
        async with asyncio.timeout(GIVE_UP_AFTER_S):
            for _ in range(6):  # two connections an attempt
                await hung_up.acquire()
        assert not queue.is_up
        await queue.aclose()
        stranger.close()

    asyncio.run(body())


def test_what_was_published_is_pulled_once_and_an_id_counts_once(server):
    async def body() -> None:
        async with connected(server) as queue:
            await queue.ensure_stream(STREAM, CONFIG)
            await queue.ensure_consumer(STREAM, "all", CONSUMER)
            assert await queue.publish_all(letters("one", "two", "three")) == [1, 2, 3]
            assert await queue.publish_all(letters("two", "four")) == [2, 4]
            assert await queue.unacknowledged(STREAM, "all") == 4
            assert await until_pulled(queue, 4) == [b"one", b"two", b"three", b"four"]
            assert await queue.pull(STREAM, "all", at_most=10, wait_s=0.05) == []
            async with asyncio.timeout(GIVE_UP_AFTER_S):
                left = 4
                while left:
                    left = await queue.unacknowledged(STREAM, "all")

    asyncio.run(body())


def test_what_is_not_acknowledged_or_is_put_back_comes_again(server):
    async def body() -> None:
        async with connected(server) as queue:
            await queue.ensure_stream(STREAM, CONFIG)
            await queue.ensure_consumer(STREAM, "all", CONSUMER)
            await queue.publish_all(letters("kept", "back"))
            kept, back = await queue.pull(STREAM, "all", at_most=2, wait_s=5)
            assert (kept.delivery, back.delivery) == (1, 1)
            await queue.put_back([back], delay_s=0.01)
            again = await queue.pull(STREAM, "all", at_most=2, wait_s=5)
            again += await queue.pull(STREAM, "all", at_most=2, wait_s=5)
            assert {message.payload: message.delivery for message in again} == {b"kept": 2, b"back": 2}

    asyncio.run(body())


def test_a_stream_and_a_consumer_are_made_by_several_at_once_changed_and_made_again_when_wiped(server):
    async def body() -> None:
        async with connected(server) as one, connected(server) as two:
            with pytest.raises(StreamMissing):
                await one.publish_all(letters("early"))
            with pytest.raises(StreamMissing):
                await one.pull(STREAM, "all", at_most=1, wait_s=0.1)
            with pytest.raises(StreamMissing):
                await one.stream_state(STREAM)
            await asyncio.gather(*(queue.ensure_stream(STREAM, CONFIG) for queue in (one, two) * 4))
            await asyncio.gather(*(queue.ensure_consumer(STREAM, "all", CONSUMER) for queue in (one, two) * 4))
            state = await two.ensure_stream(STREAM, {**CONFIG, "max_msgs": 10})
            assert state == await one.stream_state(STREAM)
            await two.ensure_consumer(STREAM, "all", {**CONSUMER, "ack_wait": 2_000_000_000})
            with pytest.raises(QueueAway):
                await two.ensure_stream(STREAM, {**CONFIG, "storage": "memory"})

            wipe(server)
            await until_so(lambda: not one.is_up, "the loss goes unnoticed")
            await one.until_up()
            with pytest.raises(StreamMissing):
                await one.publish_all(letters("early"))
            assert (await one.ensure_stream(STREAM, CONFIG)).created != state.created

    asyncio.run(body())


def test_a_frozen_queue_is_noticed_within_a_bounded_time_whether_or_not_anybody_asks_it(server):
    async def body() -> None:
        told: list[tuple[bool, str]] = []
        async with connected(server, timeout_s=0.3, told=told) as idle, connected(server, timeout_s=0.3) as busy:
            await busy.ensure_stream(STREAM, CONFIG)
            await busy.ensure_consumer(STREAM, "all", CONSUMER)
            waiting = asyncio.create_task(busy.pull(STREAM, "all", at_most=1, wait_s=3_600))
            with frozen(server):
                with pytest.raises(QueueAway):
                    await busy.publish_all(letters("one"))
                assert not busy.is_up
                with pytest.raises(QueueAway):
                    await waiting
                await until_so(lambda: not idle.is_up, "nobody noticed")
            async with asyncio.timeout(GIVE_UP_AFTER_S):
                await idle.until_up()
                await busy.until_up()
            await busy.publish_all(letters("two"))
        assert [is_up for is_up, _ in told][:2] == [True, False]
        assert told[-1] == (True, "")

    asyncio.run(body())


def test_nothing_is_left_of_a_connection_to_a_frozen_queue_that_takes_no_more(server):
    """What was to be sent fills the sockets of both sides; who waits until it has gone keeps a descriptor for ever."""

    async def fill(queue: QueueConnection) -> None:
        with contextlib.suppress(QueueAway):
            while True:
                await queue.send("nobody", bytes(500_000))

    async def body() -> None:
        def is_nothing_left() -> bool:
            return len(os.listdir("/proc/self/fd")) == before and len(asyncio.all_tasks()) == 1

        before = len(os.listdir("/proc/self/fd"))
        async with connected(server, timeout_s=0.3) as queue:
            with frozen(server):
                async with asyncio.timeout(GIVE_UP_AFTER_S):
                    await fill(queue)
                await queue.aclose()
                await until_so(is_nothing_left, "a descriptor or a task is left")

    asyncio.run(body())


def test_whoever_waits_when_the_queue_dies_is_told_at_once_and_it_comes_back(server):
    async def body() -> None:
        async with connected(server, timeout_s=3_600) as queue:
            await queue.ensure_stream(STREAM, CONFIG)
            await queue.ensure_consumer(STREAM, "all", CONSUMER)
            waiting = asyncio.create_task(queue.pull(STREAM, "all", at_most=1, wait_s=3_600))
            await asyncio.sleep(0)
            began = time.monotonic()
            kill(server)
            with pytest.raises(QueueAway):
                await waiting
            assert time.monotonic() - began < GIVE_UP_AFTER_S
            server.start()
            await queue.until_up()
            assert await queue.publish_all(letters("one")) == [1]

    asyncio.run(body())


def test_a_follower_gets_all_in_order_from_any_place_and_hears_that_the_queue_lives(server):
    async def body() -> None:
        async with connected(server) as queue:
            await queue.ensure_stream(STREAM, CONFIG)
            await queue.publish_all(letters("one", "two"))
            heard: list[bytes | None] = []
            async with contextlib.aclosing(queue.follow(STREAM, subject="tests.*", after=1, heartbeat_s=0.2)) as news:
                async for message in news:
                    heard.append(message and message.payload)
                    if heard[-1] is None and b"three" not in heard:
                        await queue.publish_all([Outgoing("tests.b", b"three")])
                    elif heard[-1] == b"three":
                        break
            assert heard == [b"two", None, b"three"]

    asyncio.run(body())


def test_a_follower_is_told_when_the_queue_is_frozen_gone_or_has_no_such_stream(server):
    async def follow(queue: QueueConnection) -> None:
        async with contextlib.aclosing(queue.follow(STREAM, subject="tests.>", after=0, heartbeat_s=0.2)) as news:
            async for _ in news:
                pass

    async def body() -> None:
        async with connected(server, timeout_s=0.3) as queue:
            with pytest.raises(StreamMissing):
                await follow(queue)
            await queue.ensure_stream(STREAM, CONFIG)
            following = asyncio.create_task(follow(queue))
            await asyncio.sleep(0.3)
            with frozen(server), pytest.raises(QueueAway):
                await following
            await queue.until_up()
            following = asyncio.create_task(follow(queue))
            await asyncio.sleep(0.3)
            kill(server)
            with pytest.raises(QueueAway):
                await following

    asyncio.run(body())


def test_neither_a_payload_nor_a_password_reaches_a_log_or_an_error(server, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    told: list[tuple[bool, str]] = []

    async def body() -> None:
        (address,) = read_addresses(server.url)
        queue = QueueConnection([address], name="tests", timeout_s=1, on_change=lambda *tell: told.append(tell))
        queue.start()
        await queue.until_up()
        with pytest.raises(QueueAway) as caught:
            await queue.publish_all([Outgoing("tests.a", b"payload-canary")])
        told.append((False, repr(caught.value)))
        kill(server)
        await until_so(lambda: not queue.is_up, "the loss goes unnoticed")
        await queue.aclose()

    asyncio.run(body())
    out, err = capfd.readouterr()
    seen = f"{told} {caplog.text} {out} {err}"
    assert "canary" not in seen
    (address,) = read_addresses(server.url)
    assert address.password
    assert address.password not in seen
