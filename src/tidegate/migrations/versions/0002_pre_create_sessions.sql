-- One row per login on one device (DESIGN 5.4).
-- Locks: SHARE ROW EXCLUSIVE on users for the foreign key, for milliseconds: the new table is empty, nothing is checked.
-- Registrations wait that long. Down takes ACCESS EXCLUSIVE on sessions and users.
-- pre: the running release survives it.

-- migrate:up
CREATE TABLE sessions (
    session_id          uuid PRIMARY KEY,
    user_id             uuid CONSTRAINT sessions_user_id_fkey REFERENCES users ON DELETE SET NULL,
    generation          integer NOT NULL DEFAULT 0,
    created_at          timestamptz NOT NULL DEFAULT now(),
    last_used_at        timestamptz NOT NULL DEFAULT now(),
    rotated_at          timestamptz,
    idle_expires_at     timestamptz NOT NULL,
    absolute_expires_at timestamptz NOT NULL,
    cleanup_due_at      timestamptz NOT NULL,
    revoked_at          timestamptz,
    device              varchar(255),
    address             varchar(64),
    CONSTRAINT sessions_expiry_order CHECK (idle_expires_at <= absolute_expires_at)
) WITH (fillfactor = 70);

CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_cleanup_due_at ON sessions (cleanup_due_at);
CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- migrate:down
DROP TABLE sessions;
