-- Statements on jobs, the outbox, on dead_jobs and on audit. Whatever causes a job puts it: sessions.sql, users.sql.
-- Only the kinds that this release knows are touched: what a newer one has put stays for its workers.

-- name: claim_jobs
-- Relay. Primary key, the oldest first, by the flag and never by "the ids beyond the last one": a transaction that took its
-- id early may commit late. SKIP LOCKED: another relay's are not waited for. The claim is a lease: who is killed before
-- publishing loses nothing but that time, and what the queue has lost is published again after it.
WITH due AS (
    SELECT job_id FROM jobs
    WHERE kind = ANY ($1::text[]) AND (due_at IS NULL OR due_at <= now())
    ORDER BY job_id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET due_at = now() + $3::interval FROM due
WHERE jobs.job_id = due.job_id
RETURNING jobs.job_id, coalesce(tries, 0) AS tries, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_s;

-- name: take_jobs
-- Worker without a queue. Primary key, the oldest first. SKIP LOCKED: another worker's batch is not waited for. Those that
-- were published and never failed are taken too, before their lease ends: the queue may have gone with them.
SELECT job_id, kind, user_id, created_at, coalesce(tries, 0) AS tries FROM jobs
WHERE kind = ANY ($1::text[]) AND (due_at IS NULL OR due_at <= now() OR tries IS NULL)
ORDER BY job_id
LIMIT $2
FOR UPDATE SKIP LOCKED;

-- name: take_named_jobs
-- Worker with a queue. Primary key, in its order, so that two workers with the same jobs do not deadlock; SKIP LOCKED, so
-- that none waits for one that was stopped. Who is missing is done, or held: unfinished_jobs tells.
SELECT job_id, kind, user_id, created_at, coalesce(tries, 0) AS tries FROM jobs
WHERE job_id = ANY ($1::bigint[]) AND kind = ANY ($2::text[])
ORDER BY job_id
FOR UPDATE SKIP LOCKED;

-- name: unfinished_jobs
-- Primary key. In a snapshot later than take_named_jobs': whoever held one and has committed since is seen to be done.
SELECT job_id FROM jobs WHERE job_id = ANY ($1::bigint[]);

-- name: remove_jobs
-- Worker. Primary key. In the transaction that has the jobs' effect: both happen or neither.
DELETE FROM jobs WHERE job_id = ANY ($1::bigint[]);

-- name: put_off_job
-- Worker, after a failure. Primary key. The relay publishes it again when it is due.
UPDATE jobs SET tries = coalesce(tries, 0) + 1, error = $2, due_at = now() + $3::interval WHERE job_id = $1;

-- name: bury_job
-- Worker, after one failure too many. Primary key.
WITH dead AS (
    DELETE FROM jobs WHERE job_id = $1 RETURNING job_id, kind, user_id, created_at, detail, tries
)
INSERT INTO dead_jobs (job_id, kind, user_id, created_at, detail, tries, error)
SELECT job_id, kind, user_id, created_at, detail, coalesce(tries, 0) + 1, $2 FROM dead;

-- name: record_audit
-- Worker, in the transaction that removes the jobs. Primary key of both.
INSERT INTO audit (job_id, at, event, user_id, detail)
SELECT job_id, created_at, kind, user_id, detail FROM jobs WHERE job_id = ANY ($1::bigint[]);

-- name: put_jobs
-- Worker, in the transaction of the jobs that cause these.
INSERT INTO jobs (kind, user_id) SELECT $1, unnest($2::uuid[]);

-- name: remove_old_audit
-- Worker. Primary key, whose order is that of time: looks at a bounded batch of the oldest and no further.
WITH oldest AS (
    SELECT job_id, at FROM audit ORDER BY job_id LIMIT $2
), removed AS (
    DELETE FROM audit USING oldest WHERE audit.job_id = oldest.job_id AND oldest.at < now() - $1::interval
    RETURNING audit.job_id
)
SELECT count(*) FROM removed;

-- name: job_depth
-- For a gauge, every few seconds: counts no further than $1, the oldest first. Primary key.
SELECT count(*) AS waiting, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_s
FROM (SELECT created_at FROM jobs ORDER BY job_id LIMIT $1) AS first;

-- name: job_stats
-- For a person. Reads both tables whole.
SELECT kind, count(*) FILTER (WHERE died_at IS NULL) AS waiting,
    count(*) FILTER (WHERE died_at IS NULL AND tries IS NOT NULL) AS failing,
    count(*) FILTER (WHERE died_at IS NOT NULL) AS dead,
    extract(epoch FROM now() - min(created_at) FILTER (WHERE died_at IS NULL))::float8 AS oldest_s
FROM (
    SELECT kind, created_at, tries, NULL::timestamptz AS died_at FROM jobs
    UNION ALL SELECT kind, created_at, tries, died_at FROM dead_jobs
) AS every
GROUP BY kind ORDER BY kind;

-- name: list_jobs
-- For a person: the dead, then those that have failed, then the others, the oldest first. $1: one job or null for all.
SELECT job_id, kind, user_id, created_at, due_at, died_at, detail, tries, error FROM (
    SELECT job_id, kind, user_id, created_at, NULL AS due_at, died_at, detail, tries, error FROM dead_jobs
    UNION ALL
    SELECT job_id, kind, user_id, created_at, due_at, NULL, detail, coalesce(tries, 0), error FROM jobs
) AS every
WHERE $1::bigint IS NULL OR job_id = $1
ORDER BY died_at IS NULL, error IS NULL, job_id
LIMIT $2;

-- name: retry_jobs
-- For a person. The dead wait again, under their old ids, as if they had never failed; who fails now and waits for its turn
-- has it at once. $1: one job or null for all.
WITH risen AS (
    DELETE FROM dead_jobs WHERE $1::bigint IS NULL OR job_id = $1
    RETURNING job_id, kind, user_id, created_at, detail
), put AS (
    INSERT INTO jobs (job_id, kind, user_id, created_at, detail)
    OVERRIDING SYSTEM VALUE SELECT job_id, kind, user_id, created_at, detail FROM risen
    RETURNING job_id
), hurried AS (
    UPDATE jobs SET due_at = NULL WHERE ($1::bigint IS NULL OR job_id = $1) AND tries IS NOT NULL
    RETURNING job_id
)
SELECT job_id FROM put UNION ALL SELECT job_id FROM hurried ORDER BY job_id;
