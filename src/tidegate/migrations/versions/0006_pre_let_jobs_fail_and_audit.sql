-- Jobs that are published, fail, wait and die, and the records of what happened to users (DESIGN 5.6, ADR 0022).
-- Locks: ACCESS EXCLUSIVE on jobs for ADD COLUMN, which rewrites nothing; milliseconds once it is granted, in both directions.
-- pre: the running release survives it: what it puts has the new columns empty, and what it takes it may take.

-- migrate:up
ALTER TABLE jobs
    ADD COLUMN detail jsonb,
    ADD COLUMN due_at timestamptz,
    ADD COLUMN tries smallint,
    ADD COLUMN error varchar(64);

CREATE TABLE dead_jobs (
    job_id     bigint PRIMARY KEY,
    kind       varchar(64) NOT NULL,
    user_id    uuid NOT NULL,
    created_at timestamptz NOT NULL,
    died_at    timestamptz NOT NULL DEFAULT now(),
    detail     jsonb,
    tries      smallint NOT NULL,
    error      varchar(64) NOT NULL
);

CREATE TABLE audit (
    job_id  bigint PRIMARY KEY,
    at      timestamptz NOT NULL,
    event   varchar(64) NOT NULL,
    user_id uuid NOT NULL,
    detail  jsonb
);

-- migrate:down
DROP TABLE audit;
DROP TABLE dead_jobs;
ALTER TABLE jobs DROP COLUMN detail, DROP COLUMN due_at, DROP COLUMN tries, DROP COLUMN error;
