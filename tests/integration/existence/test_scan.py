"""A scan finds every name as it is stored, and the second one whatever the first could not see."""

import asyncio

from tests.contract.users import new_user
from tests.integration.existence.worlds import ADD, LeaseWorld, begun, told
from tests.integration.storage.worlds import until

ODD = [
    "tab\there",
    "line\nbreak",
    "return\rhere",
    "back\\slash",
    "\\n",
    "\\",
    "ß𝒯",
    "'quoted'",
    "\x0bvertical\x08",
    ",",
]


def test_odd_names_are_found_as_they_are_stored(database: str) -> None:
    """COPY escapes some characters. Registration lets few of them through; somebody with psql, more."""

    async def story(world: LeaseWorld) -> None:
        for name in ODD:
            await world.somebody.execute(ADD, name)
        assert await world.names() == {name.encode() for name in ODD}

    told(database, story)


def test_every_kind_of_name_is_found_and_none_that_is_missing(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        await world.somebody.execute(
            "INSERT INTO users (userid, username, email, phone_number, password) VALUES"
            " (gen_random_uuid(), 'ada', NULL, NULL, 'x'),"
            " (gen_random_uuid(), NULL, 'bob@example.org', NULL, 'x'),"
            " (gen_random_uuid(), NULL, NULL, '+4930123456', 'x'),"
            " (gen_random_uuid(), 'cleo', 'cleo@example.org', '+4930123457', 'x')"
        )
        expected = {b"ada", b"bob@example.org", b"+4930123456", b"cleo", b"cleo@example.org", b"+4930123457"}
        assert await world.names() == expected
        assert await world.keeper.count() == len(expected)

    told(database, story)


def test_many_names_are_found_however_they_were_cut_into_messages(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        await world.somebody.execute(
            "INSERT INTO users (userid, username, email, password) SELECT gen_random_uuid(), 'user-' || n,"
            " CASE WHEN n % 3 = 0 THEN 'user-' || n || '@example.org' END, 'x' FROM generate_series(1, 20000) n"
        )
        names = {b"user-%d" % number for number in range(1, 20_001)}
        names |= {b"user-%d@example.org" % number for number in range(3, 20_001, 3)}
        assert await world.names() == names
        assert await world.keeper.count() == len(names)

    told(database, story)


def test_a_scan_since_a_horizon_finds_what_was_written_since(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        await world.somebody.execute(ADD, "old")
        await world.somebody.execute("VACUUM FREEZE users")
        horizon = await world.keeper.horizon()
        assert await world.names() == {b"old"}
        await world.somebody.execute(ADD, "new")
        assert await world.names(since=horizon) == {b"new"}
        await world.somebody.execute("UPDATE users SET email = 'old@example.org' WHERE username = 'old'")
        assert await world.names(since=horizon) == {b"new", b"old", b"old@example.org"}

    told(database, story)


def test_whoever_was_being_added_at_the_horizon_is_found_afterwards(database: str) -> None:
    """Their transaction is older than the scan that could not see them."""

    async def story(world: LeaseWorld) -> None:
        transaction = world.somebody.transaction()
        await transaction.start()
        await world.somebody.execute(ADD, "ada")
        inner = world.somebody.transaction()  # a savepoint: a transaction number of its own
        await inner.start()
        await world.somebody.execute(ADD, "bob")
        await inner.commit()
        await world.users.add(new_user(username="cleo"))  # later, and committed: numbers behind the one that is open
        horizon = await world.keeper.horizon()
        assert await world.names() == {b"cleo"}
        await transaction.commit()
        assert await world.names(since=horizon) == {b"ada", b"bob", b"cleo"}

    told(database, story)


def test_a_horizon_of_long_ago_is_not_relied_on(database: str) -> None:
    """The 32 bits of a transaction's number come again."""

    async def story(world: LeaseWorld) -> None:
        await world.somebody.execute(ADD, "ada")
        horizon = await world.keeper.horizon()
        assert await world.names(since=horizon) == set()
        assert await world.names(since=horizon - 1_500_000_000) == {b"ada"}

    told(database, story)


def test_the_next_portion_waits_until_the_last_one_is_dealt_with(database: str) -> None:
    """Else all names of a large table would lie in memory."""

    async def story(world: LeaseWorld) -> None:
        await world.somebody.execute(
            "INSERT INTO users (userid, username, password) SELECT gen_random_uuid(), repeat('u', 200) || n, 'x'"
            " FROM generate_series(1, 30000) n"
        )
        portions = 0
        goes_on = asyncio.Event()

        async def take(_names: list[bytes]) -> None:
            nonlocal portions
            portions += 1
            await goes_on.wait()

        scanning = begun(world.keeper.scan(take, since=None))

        async def has_begun() -> bool:
            return portions > 0

        await until(has_begun)
        for _ in range(50):
            await asyncio.sleep(0)
        assert portions == 1
        goes_on.set()
        await scanning
        assert portions > 1

    told(database, story)
