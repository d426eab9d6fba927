"""Logins and refreshes of one moment share a statement, and keep every promise that each has alone."""

import asyncio
from uuid import UUID, uuid4

from tests.contract.sessions import add_user, fates, new_session, open_session
from tests.integration.storage.worlds import PostgresWorld, bystander, opened_world, until_waiting_or_done
from tidegate.domain.claims import RefreshGrant
from tidegate.domain.sessions import Fate, NewSession
from tidegate.storage.statements import statements


async def open_together(world: PostgresWorld, *sessions: NewSession, relied_on: str = "stored") -> list[bool]:
    """Open all in one turn of the event loop, and so in one batch."""
    return list(await asyncio.gather(*(world.sessions.open(session, relied_on=relied_on) for session in sessions)))


def test_a_batch_opens_each_login_and_puts_its_job(database: str) -> None:
    async def run() -> None:
        async with opened_world(database) as world:
            users = [await add_user(world) for _ in range(20)]
            sessions = [new_session(user, device=f"device {n}", address="::1") for n, user in enumerate([*users, users[0]])]
            assert await open_together(world, *sessions) == [True] * 21
            assert sorted(job.user_id for job in await world.jobs()) == sorted([*users, users[0]])
            for n, session in enumerate(sessions[1:20], start=1):
                (view,) = await world.sessions.of_user(session.user_id)
                assert (view.session_id, view.device, view.address) == (session.session_id, f"device {n}", "::1")

    asyncio.run(run())


def test_in_a_batch_only_who_relied_on_the_stored_password_gets_in(database: str) -> None:
    async def run() -> None:
        async with opened_world(database) as world:
            bob, eve = await add_user(world), await add_user(world)
            asked = [
                (new_session(bob), "stored"),
                (new_session(bob), "stale"),
                (new_session(eve), "stored"),
                (new_session(uuid4()), "stored"),
            ]
            opened = await asyncio.gather(*(world.sessions.open(session, relied_on=old) for session, old in asked))
            assert list(opened) == [True, False, True, False]
            assert await world.count() == 2
            assert len(await world.jobs()) == 2

    asyncio.run(run())


def test_a_user_who_is_held_holds_up_no_other_login(database: str) -> None:
    async def run() -> None:
        async with opened_world(database) as world, bystander(database) as other:
            held, *free = [await add_user(world) for _ in range(5)]
            await other.execute("BEGIN")
            await other.fetch(statements()["lock_user"], held)
            waiting = asyncio.ensure_future(world.sessions.open(new_session(held), relied_on="stored"))
            async with asyncio.timeout(5):
                assert await open_together(world, *(new_session(user) for user in free)) == [True] * 4
            await until_waiting_or_done(world, waiting)
            assert not waiting.done()
            await other.execute("UPDATE users SET password = 'changed' WHERE userid = $1", held)
            await other.execute("COMMIT")
            assert await waiting is False

    asyncio.run(run())


def test_a_batch_rotates_each_session_once(database: str) -> None:
    async def run() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            ids = [await open_session(world, bob) for _ in range(20)]
            rotations = await asyncio.gather(*(world.sessions.rotate(RefreshGrant(each, 0)) for each in ids * 2))
            assert {rotation.user_id for rotation in rotations} == {bob}
            assert {rotation.fate for rotation in rotations} <= {Fate.ROTATED, Fate.REPEATED}
            rows = await world.outside.fetch("SELECT generation FROM sessions")
            assert [row["generation"] for row in rows] == [1] * 20

    asyncio.run(run())


def test_in_a_batch_an_old_generation_does_not_pass_for_the_live_one(database: str) -> None:
    async def run() -> None:
        async with opened_world(database) as world:
            session_id = await open_session(world, await add_user(world))
            assert await fates(world, session_id, 0, 1) == [Fate.ROTATED, Fate.ROTATED]
            asked = [RefreshGrant(session_id, generation) for generation in (2, 0, 7)]
            live, old, unmade = await asyncio.gather(*(world.sessions.rotate(grant) for grant in asked))
            assert (live.fate, old.fate, unmade.fate) == (Fate.ROTATED, Fate.REUSED, Fate.DEAD)
            assert not await world.sessions.is_live(session_id)

    asyncio.run(run())


def test_a_session_that_is_held_holds_up_no_other_refresh(database: str) -> None:
    async def run() -> None:
        async with opened_world(database) as world, bystander(database) as other:
            bob = await add_user(world)
            held, *free = [await open_session(world, bob) for _ in range(5)]
            await other.execute("BEGIN")
            await other.execute("SELECT FROM sessions WHERE session_id = $1 FOR UPDATE", held)
            waiting = asyncio.ensure_future(world.sessions.rotate(RefreshGrant(held, 0)))
            async with asyncio.timeout(5):
                done = await asyncio.gather(*(world.sessions.rotate(RefreshGrant(each, 0)) for each in free))
            assert [rotation.fate for rotation in done] == [Fate.ROTATED] * 4
            await other.execute("COMMIT")
            assert (await waiting).fate is Fate.ROTATED

    asyncio.run(run())


def test_two_processes_whose_batches_share_sessions_do_not_deadlock(database: str) -> None:
    async def run() -> None:
        async with opened_world(database) as world, opened_world(database) as twin:
            bob = await add_user(world)
            ids: list[UUID] = [await open_session(world, bob) for _ in range(50)]
            for generation in range(5):
                grants = [RefreshGrant(each, generation) for each in ids]
                async with asyncio.timeout(10):
                    rotations = await asyncio.gather(
                        *(world.sessions.rotate(grant) for grant in grants),
                        *(twin.sessions.rotate(grant) for grant in reversed(grants)),
                    )
                assert [rotation.fate for rotation in rotations].count(Fate.ROTATED) >= 50
                assert {rotation.fate for rotation in rotations} <= {Fate.ROTATED, Fate.REPEATED}

    asyncio.run(run())
