-- Statements on jobs, the outbox, on dead_jobs and on audit. Whatever causes a job puts it: sessions.sql, users.sql.
-- Only the kinds that this release knows are touched: what a newer one has put stays for its workers.

-- name: claim_jobs
-- Relay. jobs_failed for those whose time has come again, then jobs_fresh, the oldest first, by the flag and never by "the ids
-- beyond the last one": a transaction that took its id early may commit late. SKIP LOCKED: another relay's are not waited
-- for. The claim is a lease: who is killed before publishing loses nothing but that time, and what the queue has lost is
-- published again after it. $4: 1 if $1 are notices, else 0, as both indexes begin: so no lane reads the rows of the other.
-- No boolean, which the planner would turn into what no index has.
WITH failed AS (
    SELECT job_id FROM jobs
    WHERE tries IS NOT NULL AND (kind = 'welcome_due')::int = $4 AND kind = ANY ($1::text[])
        AND coalesce(due_at, created_at) <= now()
    ORDER BY coalesce(due_at, created_at)
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), fresh AS (
    SELECT job_id FROM jobs
    WHERE tries IS NULL AND (kind = 'welcome_due')::int = $4 AND kind = ANY ($1::text[]) AND (due_at IS NULL OR due_at <= now())
    ORDER BY job_id
    LIMIT $2 - (SELECT count(*) FROM failed)
    FOR UPDATE SKIP LOCKED
)
-- An array, for a join would be planned for a tenth of the table: nobody knows before how many these limits leave.
UPDATE jobs SET due_at = now() + $3::interval
WHERE job_id = ANY (ARRAY (SELECT job_id FROM failed UNION ALL SELECT job_id FROM fresh))
RETURNING job_id, coalesce(tries, 0) AS tries, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_s;

-- name: take_jobs
-- Worker without a queue. Indexes as claim_jobs; $3 as its $4. SKIP LOCKED: another worker's batch is not waited for. Those
-- that were published and never failed are taken too, before their lease ends: the queue may have gone with them.
WITH failed AS (
    SELECT job_id, kind, user_id, created_at, tries, error FROM jobs
    WHERE tries IS NOT NULL AND (kind = 'welcome_due')::int = $3 AND kind = ANY ($1::text[])
        AND coalesce(due_at, created_at) <= now()
    ORDER BY coalesce(due_at, created_at)
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), fresh AS (
    SELECT job_id, kind, user_id, created_at, 0::smallint AS tries, error FROM jobs
    WHERE tries IS NULL AND (kind = 'welcome_due')::int = $3 AND kind = ANY ($1::text[])
    ORDER BY job_id
    LIMIT $2 - (SELECT count(*) FROM failed)
    FOR UPDATE SKIP LOCKED
)
SELECT * FROM failed UNION ALL SELECT * FROM fresh ORDER BY job_id;

-- name: take_named_jobs
-- Worker with a queue. Primary key, in its order, so that two workers with the same jobs do not deadlock; SKIP LOCKED, so
-- that none waits for one that was stopped. Who is missing is done, or held: unfinished_jobs tells.
SELECT job_id, kind, user_id, created_at, coalesce(tries, 0) AS tries, error FROM jobs
WHERE job_id = ANY ($1::bigint[]) AND kind = ANY ($2::text[])
ORDER BY job_id
FOR UPDATE SKIP LOCKED;

-- name: unfinished_jobs
-- Primary key. In a snapshot later than take_named_jobs': whoever held one and has committed since is seen to be done.
SELECT job_id FROM jobs WHERE job_id = ANY ($1::bigint[]);

-- name: begin_batch
-- Worker that holds $1, on another connection, so that it is committed before anything is tried. Whoever holds a job that
-- another row names knows that somebody ended in the middle of trying it: who tries it holds it, and ends both at once.
-- Reads the whole table, of one row for each batch under way. INTERSECT and not &&, which compares each with each.
WITH begun AS (
    INSERT INTO job_batches (jobs) VALUES ($1::bigint[]) RETURNING batch_id
)
SELECT batch_id, ARRAY (SELECT unnest(jobs) FROM job_batches INTERSECT SELECT unnest($1::bigint[])) AS suspected FROM begun;

-- name: end_batch
-- Worker, after a failure that says which job is at fault or lets it be found: before it lets go of them. Primary key.
DELETE FROM job_batches WHERE batch_id = $1;

-- name: lock_unfinished_batches
-- Worker, in the transaction that holds $1; $2 is its own batch. Whoever sets apart other jobs of the same is waited for, so
-- that one of the two sees that it is the last. In the order of the key, so that they do not deadlock. And those of which no
-- job is left by which one would be found: a release that notes nothing has done them, or they were set apart and done alone
-- beside one that failed, with which it was taken back that they were.
SELECT batch_id FROM job_batches
WHERE batch_id <> $2 AND (jobs && $1::bigint[] OR NOT EXISTS (SELECT FROM jobs WHERE job_id = ANY (job_batches.jobs)))
ORDER BY batch_id
FOR UPDATE;

-- name: set_jobs_apart
-- Worker, likewise. Primary key. From now on each is tried alone.
UPDATE jobs SET tries = coalesce(tries, 0), error = $2 WHERE job_id = ANY ($1::bigint[]);

-- name: forget_unfinished_batches
-- Worker, likewise, once set_jobs_apart has run: those of which no job is left that is not apart.
DELETE FROM job_batches WHERE batch_id = ANY ($1::bigint[]) AND NOT EXISTS (
    SELECT FROM jobs WHERE job_id = ANY (job_batches.jobs) AND error IS DISTINCT FROM $2
);

-- name: begin_try
-- Worker, before it tries $1 alone: counted at its begin, for who dies counts nothing. Primary key. Not if somebody else holds
-- it or has counted since.
UPDATE jobs SET tries = $2::smallint + 1, error = $4, due_at = now() + $3::interval
WHERE job_id IN (
    SELECT job_id FROM jobs WHERE job_id = $1 AND coalesce(tries, 0) = $2::smallint FOR UPDATE SKIP LOCKED
)
RETURNING job_id;

-- name: take_back_try
-- Worker that holds $1 and found that it could not be tried. Primary key.
UPDATE jobs SET tries = greatest(tries - 1, 0) WHERE job_id = $1;

-- name: remove_jobs
-- Worker. Primary keys. In the transaction that has the jobs' effect: all happens or nothing. $2: their batch, or null.
WITH ended AS (
    DELETE FROM job_batches WHERE batch_id = $2
)
DELETE FROM jobs WHERE job_id = ANY ($1::bigint[]);

-- name: put_off_job
-- Worker, after a failure. Primary key. The relay publishes it again when it is due.
UPDATE jobs SET tries = $2::smallint, error = $3, due_at = now() + $4::interval WHERE job_id = $1;

-- name: bury_job
-- Worker, after one failure too many. Primary key.
WITH dead AS (
    DELETE FROM jobs WHERE job_id = $1 RETURNING job_id, kind, user_id, created_at, detail
)
INSERT INTO dead_jobs (job_id, kind, user_id, created_at, detail, tries, error)
SELECT job_id, kind, user_id, created_at, detail, $2::smallint, $3 FROM dead;

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
-- has it at once; with it all its tries, if the last has not ended ($2), or whoever takes it after the last would find it dead.
-- $1: one job or null for all.
WITH risen AS (
    DELETE FROM dead_jobs WHERE $1::bigint IS NULL OR job_id = $1
    RETURNING job_id, kind, user_id, created_at, detail
), put AS (
    INSERT INTO jobs (job_id, kind, user_id, created_at, detail)
    OVERRIDING SYSTEM VALUE SELECT job_id, kind, user_id, created_at, detail FROM risen
    RETURNING job_id
), hurried AS (
    UPDATE jobs SET due_at = NULL, tries = CASE WHEN error = $2 THEN 0 ELSE tries END
    WHERE ($1::bigint IS NULL OR job_id = $1) AND tries IS NOT NULL
    RETURNING job_id
)
SELECT job_id FROM put UNION ALL SELECT job_id FROM hurried ORDER BY job_id;
