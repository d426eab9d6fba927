-- Which jobs are being tried together, and indexes by which those that wait long are not read (DESIGN 5.6, ADR 0026).
-- Locks: SHARE on jobs for CREATE INDEX: nobody puts a job, so nobody logs in, while jobs is read twice: milliseconds where
-- workers keep it short, 1 to 2 s a million rows. With more than some 100,000 (`tidegate jobs stats`) let workers empty it
-- first, or make the two indexes beforehand with CREATE INDEX CONCURRENTLY. Down: ACCESS EXCLUSIVE on jobs; milliseconds.
-- pre: the running release survives it: it notes nothing, and reads by the primary key.

-- migrate:up
CREATE TABLE job_batches (
    batch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    jobs     bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE INDEX IF NOT EXISTS jobs_fresh ON jobs (((kind = 'welcome_due')::int), job_id) WHERE tries IS NULL;
CREATE INDEX IF NOT EXISTS jobs_failed ON jobs (((kind = 'welcome_due')::int), coalesce(due_at, created_at)) WHERE tries IS NOT NULL;

-- migrate:down
DROP INDEX jobs_failed;
DROP INDEX jobs_fresh;
DROP TABLE job_batches;
