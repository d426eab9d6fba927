-- Changes that wait to be told to the nodes (ADR 0023). Triggers write them, in the transaction that makes the change.
-- A row is removed only once the stream has acknowledged a message that tells of it, or in exchange for one of kind 'lost';
-- so whatever is committed and not in this table has been told, and a listener rests on it (feed/following.py).

-- name: waiting_changes
-- Relay. Primary key. A plain snapshot, without locks: what another relay is telling is told by us too, for whoever asks us
-- must be able to rely on our answer while that other one has been stopped. Always at least one row; a standby's snapshot
-- lacks what its primary has committed since. started_at: a row's number means that row on this server, until it restarts.
SELECT pg_is_in_recovery() AS is_standby, pg_postmaster_start_time() AS started_at, change_id, kind, subject_id
FROM (VALUES (true)) AS always
LEFT JOIN (SELECT change_id, kind, subject_id FROM changes ORDER BY change_id LIMIT $1) AS waiting ON true;

-- name: remove_changes
-- Relay. Primary key. SKIP LOCKED: what another relay is removing is not waited for.
-- Nothing on any other server than the one that was read, which is $2: a replica that was promoted meanwhile draws the numbers
-- again that it has not heard of, for changes that nobody has told.
WITH removable AS (
    SELECT change_id FROM changes WHERE change_id = ANY ($1::bigint[]) AND pg_postmaster_start_time() = $2::timestamptz
    ORDER BY change_id FOR UPDATE SKIP LOCKED
)
DELETE FROM changes USING removable WHERE changes.change_id = removable.change_id;

-- name: newest_change
-- Primary key; null: none waits.
SELECT max(change_id) AS newest FROM changes;

-- name: condense_changes
-- Where nobody tells changes. $2: up to which; null: all. The word for them is written anew each time, never left: a relay may be removing an older one
-- that it has told, and what is dropped here would be dropped untold.
WITH dropping AS (
    SELECT change_id FROM changes WHERE $2::bigint IS NULL OR change_id <= $2
    ORDER BY change_id LIMIT $1 FOR UPDATE SKIP LOCKED
), dropped AS (
    DELETE FROM changes USING dropping WHERE changes.change_id = dropping.change_id RETURNING changes.change_id
), told AS (
    INSERT INTO changes (kind) SELECT 'lost' WHERE EXISTS (SELECT FROM dropped)
)
SELECT count(*) AS dropped FROM dropped;
