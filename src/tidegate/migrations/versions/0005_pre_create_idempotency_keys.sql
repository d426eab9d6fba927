-- What was asked for under which idempotency key (ADR 0019).
-- Locks: only on the table it creates, which nobody knows yet; milliseconds. Down takes ACCESS EXCLUSIVE on it.
-- pre: the running release survives it, and takes no notice of the header.

-- migrate:up
CREATE TABLE idempotency_keys (
    key_mac     bytea PRIMARY KEY,
    request_mac bytea NOT NULL,
    made        uuid NOT NULL,
    expires_at  timestamptz NOT NULL
);

CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);

-- migrate:down
DROP TABLE idempotency_keys;
