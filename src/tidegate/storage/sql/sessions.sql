-- Statements on sessions. All go to the primary, whose clock alone expires anything. session_id is the primary key.
-- "Live" is: user_id IS NOT NULL AND revoked_at IS NULL AND idle_expires_at > now().
-- Whatever revokes a session tells the feed by a trigger, in the same transaction: both happen or neither (schema.sql).

-- name: open_session
-- Hot: the one write of a login, in one round trip. Primary key of users.
-- FOR KEY SHARE settles the race with a change of password, a disabling or a deletion, which all take FOR UPDATE on the
-- user first (lock_user). Either we come first: then they wait until we have committed, see our session and revoke it. Or
-- they do: then we wait, PostgreSQL evaluates the WHERE anew on what they left, and nothing is written. An update of
-- last_login or a rehash takes FOR NO KEY UPDATE, which neither waits for us nor makes us wait.
WITH claimant AS (
    SELECT userid FROM users WHERE userid = $1 AND password = $2 FOR KEY SHARE
), opened AS (
    INSERT INTO sessions (session_id, user_id, idle_expires_at, absolute_expires_at, cleanup_due_at, device, address)
    SELECT $3, userid, now() + $4::interval, now() + $5::interval, now() + $4::interval, $6, $7 FROM claimant
    RETURNING user_id
), put AS (
    INSERT INTO jobs (kind, user_id) SELECT 'login_succeeded', user_id FROM opened
)
SELECT user_id FROM opened;

-- name: open_sessions
-- Hot: open_session for all logins of a moment, one commit. Primary key of users.
-- A user whose row somebody holds FOR UPDATE is passed over, so that a change of one password holds up no other login: who
-- is missing from the answer asks again by open_session, which waits. A user changed since our snapshot is read anew by the
-- lock, and its new password matches nobody's.
WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::varchar[], $3::uuid[], $6::varchar[], $7::varchar[])
        AS login (user_id, relied_on, session_id, device, address)
), claimant AS (
    SELECT userid, password FROM users WHERE userid = ANY($1::uuid[]) FOR KEY SHARE SKIP LOCKED
), opened AS (
    INSERT INTO sessions (session_id, user_id, idle_expires_at, absolute_expires_at, cleanup_due_at, device, address)
    SELECT session_id, userid, now() + $4::interval, now() + $5::interval, now() + $4::interval, device, address
    FROM asked JOIN claimant ON userid = user_id AND password = relied_on
    RETURNING session_id, user_id
), put AS (
    INSERT INTO jobs (kind, user_id) SELECT 'login_succeeded', user_id FROM opened
)
SELECT session_id FROM opened;

-- name: continue_session
-- After a change of password, in its transaction, which holds the user's row: the session the change goes on in.
INSERT INTO sessions (session_id, user_id, idle_expires_at, absolute_expires_at, cleanup_due_at, device, address)
VALUES ($1, $2, now() + $3::interval, now() + $4::interval, now() + $3::interval, $5, $6);

-- name: rotate_session
-- Hot: the whole of a refresh. Primary key; touches no index (HOT). Racing refreshes queue on the row, the first takes the
-- generation with it, and the WHERE evaluated anew turns the others away. now() is the time before that wait, so the grace
-- may be shorter by as much; clock_timestamp() would not help: it is evaluated before the wait too.
UPDATE sessions SET
    generation = generation + 1,
    last_used_at = now(),
    rotated_at = now(),
    idle_expires_at = least(now() + $3::interval, absolute_expires_at)
WHERE session_id = $1 AND generation = $2
    AND user_id IS NOT NULL AND revoked_at IS NULL AND idle_expires_at > now()
RETURNING user_id;

-- name: rotate_sessions
-- Hot: rotate_session for all refreshes of a moment, one commit. Primary key; touches no index (HOT).
-- Passes over what somebody else holds: two batches never wait for each other. Who is missing from the answer asks again by
-- rotate_session, which waits. LATERAL, for a join may be planned as a walk through all sessions while they are few, and a
-- subquery that locks is looked up for each that is asked (ADR 0032).
WITH locked AS (
    SELECT found.session_id, found.user_id
    FROM unnest($1::uuid[], $2::integer[]) AS asked (session_id, generation), LATERAL (
        SELECT session_id, user_id FROM sessions
        WHERE sessions.session_id = asked.session_id AND sessions.generation = asked.generation
            AND user_id IS NOT NULL AND revoked_at IS NULL AND idle_expires_at > now()
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS found
)
UPDATE sessions SET
    generation = generation + 1,
    last_used_at = now(),
    rotated_at = now(),
    idle_expires_at = least(now() + $3::interval, absolute_expires_at)
FROM locked WHERE sessions.session_id = locked.session_id
RETURNING sessions.session_id, sessions.generation - 1 AS rotated, locked.user_id;

-- name: judge_stale_generation
-- When rotate_session found nothing. Primary key. Only reads, and so judges one moment. "Reused" stays true whatever
-- happens after it, because generations only grow and time only passes: revoke_session can act on it as a statement of its
-- own.
SELECT user_id, generation > $2 + 1 OR rotated_at < now() - $3::interval AS is_reused
FROM sessions
WHERE session_id = $1 AND generation > $2
    AND user_id IS NOT NULL AND revoked_at IS NULL AND idle_expires_at > now();

-- name: live_session
-- Primary key.
SELECT user_id FROM sessions
WHERE session_id = $1 AND user_id IS NOT NULL AND revoked_at IS NULL AND idle_expires_at > now();

-- name: live_sessions_of_user
-- Index on user_id.
SELECT session_id, created_at, last_used_at, idle_expires_at, device, address FROM sessions
WHERE user_id = $1 AND revoked_at IS NULL AND idle_expires_at > now()
ORDER BY last_used_at DESC, session_id DESC
LIMIT $2;

-- name: revoke_session
-- Primary key. An expired session is revoked too, though not counted: an access token of its last minutes may outlive it.
-- $3 is the job that tells why.
WITH revoked AS (
    UPDATE sessions SET revoked_at = now(), cleanup_due_at = now()
    WHERE session_id = $1 AND ($2::uuid IS NULL OR user_id = $2) AND revoked_at IS NULL
    RETURNING session_id, user_id, user_id IS NOT NULL AND idle_expires_at > now() AS was_live
), put AS (
    INSERT INTO jobs (kind, user_id, detail)
    SELECT $3, user_id, jsonb_build_object('session_id', session_id) FROM revoked WHERE was_live
)
SELECT was_live FROM revoked;

-- name: revoke_sessions_of_user
-- Index on user_id. Rows are locked in the order of their keys, so two of these wait for each other instead of deadlocking.
-- As revoke_session, revokes the expired ones too.
WITH locked AS (
    SELECT session_id FROM sessions
    WHERE user_id = $1 AND revoked_at IS NULL AND session_id IS DISTINCT FROM $2::uuid
    ORDER BY session_id
    FOR NO KEY UPDATE
), revoked AS (
    UPDATE sessions SET revoked_at = now(), cleanup_due_at = now() FROM locked
    WHERE sessions.session_id = locked.session_id
    RETURNING sessions.session_id, idle_expires_at > now() AS was_live
), put AS (
    INSERT INTO jobs (kind, user_id, detail)
    SELECT 'sessions_revoked', $1, jsonb_build_object('sessions', count(*)) FROM revoked WHERE was_live HAVING count(*) > 0
)
SELECT was_live FROM revoked;

-- name: recent_revocations
-- Partial index on revoked_at. The oldest first, as the feed forgets them.
SELECT session_id, extract(epoch FROM now() - revoked_at)::float8 AS age_s FROM sessions
WHERE revoked_at > now() - $1::interval
ORDER BY revoked_at;

-- name: feed_heartbeat
-- Asked on the connection that listens: whether the backend that answers does listen, and is still a primary's.
SELECT NOT pg_is_in_recovery()
    AND 'tidegate_revoked' IN (SELECT pg_listening_channels())
    AND 'tidegate_profile' IN (SELECT pg_listening_channels()) AS is_sound;

-- name: remove_dead_sessions
-- Worker. Index on cleanup_due_at, a bounded batch, rows that somebody holds are left for the next time.
-- A row that is due is either dead for long enough and goes, or was refreshed since and gets the new time of its death; so
-- each batch leaves less to do. Whoever refreshes a row between our finding and locking it has changed it before we read
-- it: the lock gives the newest version.
WITH due AS (
    SELECT session_id, coalesce(revoked_at, idle_expires_at) AS dies_at FROM sessions
    WHERE cleanup_due_at < now() - $1::interval
    ORDER BY cleanup_due_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), removed AS (
    DELETE FROM sessions USING due
    WHERE sessions.session_id = due.session_id AND due.dies_at < now() - $1::interval
), put_off AS (
    UPDATE sessions SET cleanup_due_at = due.dies_at FROM due
    WHERE sessions.session_id = due.session_id AND due.dies_at >= now() - $1::interval
)
SELECT count(*) FROM due;
