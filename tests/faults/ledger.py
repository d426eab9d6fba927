"""What the primary itself writes down of jobs, in the transactions that put them, have their effects and take them out.

Triggers, so it holds for every build and every worker, and what was rolled back is not in it. What was there when a job was
taken out is looked at when the transaction commits. A job that goes to the dead is not done. Whose job is doomed is for a
fault to say: then no record of theirs can be written.
"""

import asyncio
from typing import Final

import asyncpg

from tests.faults.history import Done, Effect, Jobs, Put

_MADE: Final = """
CREATE SCHEMA ledger;
CREATE TABLE ledger.put (job text, kind text, userid uuid, at timestamptz);
CREATE TABLE ledger.done (job text, latest timestamp);
CREATE TABLE ledger.effect (userid uuid, at timestamp);
CREATE TABLE ledger.doomed (userid uuid PRIMARY KEY);
CREATE FUNCTION ledger.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_table_name = 'users' THEN
        INSERT INTO ledger.effect VALUES (new.userid, new.last_login);
    ELSIF tg_op = 'INSERT' THEN
        INSERT INTO ledger.put VALUES (new.job_id, new.kind, new.user_id, new.created_at);
    ELSIF NOT EXISTS (SELECT FROM dead_jobs WHERE job_id = old.job_id) THEN
        INSERT INTO ledger.done VALUES (old.job_id, (SELECT last_login FROM users WHERE users.userid = old.user_id));
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION ledger.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM ledger.doomed WHERE userid = new.user_id) THEN
        RAISE EXCEPTION 'doomed';
    END IF;
    RETURN new;
END
$$;
CREATE TRIGGER ledger_refuse BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION ledger.refuse();
CREATE TRIGGER ledger_put AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION ledger.note();
CREATE CONSTRAINT TRIGGER ledger_done AFTER DELETE ON jobs DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ledger.note();
CREATE TRIGGER ledger_effect AFTER UPDATE OF last_login ON users FOR EACH ROW EXECUTE FUNCTION ledger.note();
"""

_MICROSECONDS: Final = "(extract(epoch FROM {}) * 1000000)::bigint"


def open_ledger(dsn: str) -> None:
    """Begin to write down what happens to jobs in the database *dsn*."""

    async def open_it() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(_MADE)
        await connection.close()

    asyncio.run(open_it())


def read_ledger(dsn: str) -> Jobs:
    """All of it, and what stands in the end."""

    async def read() -> Jobs:
        connection = await asyncpg.connect(dsn)
        put = await connection.fetch(
            f"SELECT DISTINCT job, kind, userid::text, {_MICROSECONDS.format('at')} FROM ledger.put"
        )
        done = await connection.fetch(f"SELECT job, coalesce({_MICROSECONDS.format('latest')}, 0) FROM ledger.done")
        effects = await connection.fetch(f"SELECT userid::text, {_MICROSECONDS.format('at')} FROM ledger.effect")
        latest = await connection.fetch(
            f"SELECT userid::text, {_MICROSECONDS.format('last_login')} FROM users WHERE last_login IS NOT NULL"
        )
        audited = await connection.fetch("SELECT job_id::text FROM audit")
        users = await connection.fetch("SELECT username, userid::text FROM users WHERE username IS NOT NULL")
        waiting = await connection.fetch("SELECT job_id::text FROM jobs")
        await connection.close()
        return Jobs(
            put=tuple(Put(job=row[0], kind=row[1], user=row[2], at_us=row[3]) for row in put),
            effects=tuple(Effect(user=row[0], at_us=row[1]) for row in effects),
            done=tuple(Done(job=row[0], latest_us=row[1]) for row in done),
            latest_us={row[0]: row[1] for row in latest},
            waiting=tuple(row[0] for row in waiting),
            audited=tuple(row[0] for row in audited),
            users={row[0]: row[1] for row in users},
        )

    return asyncio.run(read())


def rows_of(dsn: str) -> dict[str, dict[str, str | None]]:
    """The users who stand in the primary: by username, what of them can be looked up."""

    async def read() -> dict[str, dict[str, str | None]]:
        connection = await asyncpg.connect(dsn)
        rows = await connection.fetch("SELECT username, email, phone_number, full_name FROM users")
        await connection.close()
        return {row["username"]: dict(row) for row in rows}

    return asyncio.run(read())
