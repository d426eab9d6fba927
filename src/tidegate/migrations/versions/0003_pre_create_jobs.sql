-- The outbox: what is to be done after the answer (DESIGN 5.6).
-- Locks: only on the table it creates, which nobody knows yet; milliseconds. Down takes ACCESS EXCLUSIVE on jobs.
-- pre: the running release survives it.

-- migrate:up
CREATE TABLE jobs (
    job_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       varchar(64) NOT NULL,
    user_id    uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- migrate:down
DROP TABLE jobs;
