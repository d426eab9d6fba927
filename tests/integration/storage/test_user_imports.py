"""Of one batch everybody is added whom nobody stands in the way, and the others are told apart exactly, also in a race."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from tests.support.imports import CHEAP_HASH
from tests.support.tables import change, rows
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.domain.user_imports import ImportedUser, ImportProgress
from tidegate.domain.users import NewUser
from tidegate.ports.user_imports import BatchLost, ImportElsewhere
from tidegate.storage.copied_rows import copy_row
from tidegate.storage.user_imports import PostgresUserImports, open_user_imports

END_IT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidegate import'"
START = ImportProgress(bytes_done=0, lines_done=0)


def row(line: int, userid: int, username: str | None, email: str | None = None, phone_number: str | None = None) -> str:
    user = NewUser(
        user_id=UUID(int=userid),
        username=username,
        email=email,
        phone_number=phone_number,
        password_hash=CHEAP_HASH,
        full_name=None,
        birth_date=None,
    )
    return copy_row(line, ImportedUser(user, None)) + "\n"


async def add(imports: PostgresUserImports, text: Sequence[str]) -> list[tuple[int, str]]:
    progress = await imports.begin(START)
    async with imports.batch(progress) as batch:
        refused = await batch.add("".join(text).encode())
        await batch.note(progress, is_last=False)
    return [(each.line, " ".join(map(str, each.faults))) for each in refused]


@pytest.mark.parametrize("is_rehearsed", [False, True])
def test_the_first_of_the_file_is_added_and_who_comes_after_is_refused_for_each_that_is_taken(
    database: str, is_rehearsed: bool
) -> None:
    change(
        database,
        "INSERT INTO users (userid, username, email, password) VALUES ($1, 'known', 'known@example.com', 'x')",
        UUID(int=99),
    )
    text = [
        row(1, 1, "a", "a@example.com"),
        row(2, 2, "b", "a@example.com", "+4915112345678"),
        row(3, 3, "c", None, "+4915112345678"),
        row(4, 1, "d"),
        row(5, 5, "known"),
        row(6, 5, "e"),  # the id that line 5 would have had
        row(7, 7, "f"),
        row(8, 7, "f"),  # the same again
        row(9, 99, "known", "known@example.com"),
        row(10, 10, "a", "known@example.com", "+4915112345678"),
    ]

    async def run() -> list[tuple[int, str]]:
        async with open_user_imports(dsn=database, connect_timeout_s=5, digest=b"x", is_rehearsed=is_rehearsed) as imports:
            return await add(imports, text)

    assert asyncio.run(run()) == [
        (2, "email=taken phone_number=taken"),  # the number is line 3's
        (4, "userid=taken"),
        (5, "userid=taken username=taken"),
        (8, "userid=taken username=taken"),
        (9, "userid=taken username=taken email=taken"),
        (10, "username=taken email=taken phone_number=taken"),
    ]
    added = [found["username"] for found in rows(database, "SELECT username FROM users ORDER BY username")]
    assert added == (["known"] if is_rehearsed else ["a", "c", "e", "f", "known"])


def test_two_files_with_the_same_names_in_another_order_add_each_of_them_once(database: str) -> None:
    """They wait for each other; where each waits for the other, the database takes one batch back, to be tried again."""
    names = [f"user-{number}" for number in range(400)]

    async def import_all(digest: bytes, order: Sequence[str], first_id: int) -> int:
        added = 0
        async with open_user_imports(dsn=database, connect_timeout_s=5, digest=digest, is_rehearsed=False) as imports:
            for begin in range(0, len(order), 40):
                text = [row(line, first_id + line, name) for line, name in enumerate(order[begin : begin + 40], begin)]
                while True:
                    try:
                        added += 40 - len(await add(imports, text))
                        break
                    except BatchLost:
                        continue
        return added

    async def run() -> list[int]:
        return list(await asyncio.gather(import_all(b"1", names, 1_000), import_all(b"2", names[::-1], 9_000)))

    assert sum(asyncio.run(run())) == len(names)
    assert len(rows(database, "SELECT FROM users")) == len(names)


def test_a_batch_that_raises_leaves_neither_users_nor_a_place(database: str) -> None:
    async def run() -> None:
        async with open_user_imports(dsn=database, connect_timeout_s=5, digest=b"x", is_rehearsed=False) as imports:
            progress = await imports.begin(START)
            with pytest.raises(ValueError, match="in the middle"):
                await raise_behind(imports, progress)
            assert await imports.begin(START) == START

    async def raise_behind(imports: PostgresUserImports, progress: ImportProgress) -> None:
        async with imports.batch(progress) as batch:
            await batch.add(row(1, 1, "a").encode())
            await batch.note(ImportProgress(bytes_done=9, lines_done=9), is_last=True)
            raise ValueError("in the middle")

    asyncio.run(run())
    assert rows(database, "SELECT FROM users") == []


def test_who_does_not_know_how_far_the_file_is_adds_nobody(database: str) -> None:
    async def run() -> None:
        async with open_user_imports(dsn=database, connect_timeout_s=5, digest=b"x", is_rehearsed=False) as imports:
            progress = await imports.begin(START)
            async with imports.batch(progress) as batch:
                await batch.note(ImportProgress(bytes_done=9, lines_done=9), is_last=False)
            with pytest.raises(ImportElsewhere):
                await add_behind(imports)

    async def add_behind(imports: PostgresUserImports) -> None:
        async with imports.batch(START) as batch:
            await batch.add(row(1, 1, "a").encode())

    asyncio.run(run())
    assert rows(database, "SELECT FROM users") == []


def test_what_the_database_says_of_an_error_is_not_passed_on(database: str) -> None:
    """It may hold the row, and the row holds the hash."""

    async def run() -> None:
        async with open_user_imports(dsn=database, connect_timeout_s=5, digest=b"x", is_rehearsed=False) as imports:
            await add(imports, [row(1, 1, "CAPITALS")])  # nothing that normalise returns

    with pytest.raises(Exception, match="users_username_form") as caught:
        asyncio.run(run())
    assert CHEAP_HASH not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_database_that_ends_in_the_middle_is_unavailable(database: str) -> None:
    async def run() -> None:
        async with open_user_imports(dsn=database, connect_timeout_s=5, digest=b"x", is_rehearsed=False) as imports:
            progress = await imports.begin(START)
            async with imports.batch(progress) as batch:
                await asyncio.to_thread(
                    rows,
                    database,
                    END_IT,
                )
                await batch.add(row(1, 1, "a").encode())

    with pytest.raises(DatabaseUnavailable):
        asyncio.run(run())
