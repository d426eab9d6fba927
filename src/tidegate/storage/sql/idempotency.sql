-- Statements on idempotency keys. All go to the primary, whose clock alone expires anything. key_mac is the primary key.

-- name: take_idempotency_key
-- In the transaction that has the effect, before it: both are committed or neither. Of any number of racing requests with
-- one key the first goes on; the others wait here for its end, for as long as a statement may take. It commits: they get no
-- row, and there is no second effect. It rolls back: the next of them goes on. Nothing else may be locked before, so that
-- nobody who waits here holds up the one who is waited for. A key that has expired and is not removed yet is free.
INSERT INTO idempotency_keys (key_mac, request_mac, made, expires_at) VALUES ($1, $2, $3, now() + $4::interval)
ON CONFLICT (key_mac) DO UPDATE SET request_mac = excluded.request_mac, made = excluded.made, expires_at = excluded.expires_at
WHERE idempotency_keys.expires_at <= now()
RETURNING true AS taken;

-- name: made_under_idempotency_key
-- Primary key.
SELECT made, request_mac = $2 AS is_same FROM idempotency_keys WHERE key_mac = $1 AND expires_at > now();

-- name: remove_expired_idempotency_keys
-- Worker. Index on expires_at, a bounded batch; a key that somebody is just taking anew is left to them.
WITH expired AS (
    SELECT key_mac FROM idempotency_keys
    WHERE expires_at <= now()
    ORDER BY expires_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
), removed AS (
    DELETE FROM idempotency_keys USING expired WHERE idempotency_keys.key_mac = expired.key_mac
)
SELECT count(*) FROM expired;
