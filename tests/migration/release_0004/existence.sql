-- The lease of the existence filter: how a node can know that nobody adds users behind its back (ADR 0014).
--
-- The sequence existence_lease holds 0, -n or n, as schema.sql says. A sequence, because what is written there is seen at
-- once by everybody, in whatever snapshot and before any commit, and is still there after a crash.
-- Three advisory locks, of the class 1952933240 ("tgex"):
--   1  writers: shared by every transaction that adds a name, from its trigger to its end. Whoever has it exclusively knows
--      that what was added is committed, and that what will be added has yet to look at the sequence.
--   2  waiters: shared by whoever waits for the end of a lease. While somebody does, the lease cannot be renewed.
--   3  keeper: held by the session of the one keeper that may have the lease.
-- A lease counts for 0.8 s from the sending of the last renewal that was granted (existence/keeper.py:LEASE_S); a waiter
-- waits 1 s, or until the node has given way.

-- name: hold_existence
-- Once a connection. False: the keeper of another node is there.
SELECT pg_try_advisory_lock(1952933240, 3) AS is_held;

-- name: existence_lease
-- The sequence itself: no snapshot, no lock that anybody waits for.
SELECT last_value FROM existence_lease;

-- name: stop_existence_writers
-- In a transaction, within its lock_timeout; the next statement sees what all writers before it have committed.
SELECT pg_advisory_xact_lock(1952933240, 1);

-- name: claim_existence
-- After stop_existence_writers. From here on whoever adds what is not noted in filter $1 takes the claim away.
-- Not for a table that a subscription fills: its worker fires no trigger for statements.
SELECT setval('existence_lease', -$1::bigint)
WHERE EXISTS (
    SELECT FROM pg_trigger
    WHERE tgrelid = 'users'::regclass AND tgname = 'users_fence_existence' AND tgenabled = 'A'
) AND NOT EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = 'users'::regclass);

-- name: win_existence
-- After stop_existence_writers.
SELECT setval('existence_lease', $1::bigint) FROM existence_lease WHERE last_value = -$1::bigint;

-- name: renew_existence
-- The locks' order of evaluation matters, and CASE keeps it: first nobody waits, then the lease is still ours.
SELECT CASE
    WHEN pg_is_in_recovery() OR NOT pg_try_advisory_xact_lock(1952933240, 2) THEN false
    ELSE last_value = $1::bigint AND EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = 'users'::regclass AND tgname = 'users_fence_existence' AND tgenabled = 'A'
    )
END AS is_renewed
FROM existence_lease;

-- name: give_up_existence
-- Only its own: somebody may have taken it away meanwhile, and another have claimed it.
SELECT setval('existence_lease', 0) FROM existence_lease WHERE last_value = $1::bigint;

-- name: existence_horizon
-- The oldest transaction that may not have ended yet: rows of older ones are seen by every later statement.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon;

-- name: count_names
-- The whole table.
SELECT count(username) + count(email) + count(phone_number) AS names FROM users;

-- name: all_names
-- The whole table, by COPY.
SELECT username, email, phone_number FROM users;

-- name: names_since
-- The whole table, by COPY, but only the rows that were written since the horizon $1. Exact while less than 2^31
-- transactions lie between; a row whose writer is older than that may come too.
SELECT username, email, phone_number FROM users WHERE age(xmin) <= age($1::xid8::xid);
