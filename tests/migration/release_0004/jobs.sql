-- Statements on jobs, the outbox. open_session (sessions.sql) puts them.

-- name: take_jobs
-- Worker. Primary key, the oldest first. SKIP LOCKED: another worker's batch is not waited for. Only the kinds that this
-- release knows: what a newer one has put stays for its workers.
SELECT job_id, kind, user_id, created_at FROM jobs
WHERE kind = ANY ($1::text[])
ORDER BY job_id
LIMIT $2
FOR UPDATE SKIP LOCKED;

-- name: remove_jobs
-- Worker. Primary key. In the transaction that has the jobs' effect: both happen or neither.
DELETE FROM jobs WHERE job_id = ANY ($1::bigint[]);
