-- An index by which a worker sees that a seat of a campaign that has ended came back lately (ADR 0027).
-- Locks: SHARE on grants for CREATE INDEX: no coupon is granted, used or voided while grants is read once: a second for some
-- millions. Down: ACCESS EXCLUSIVE on grants; milliseconds.
-- pre: the running release survives it: it does not look.

-- migrate:up
CREATE INDEX IF NOT EXISTS grants_returned ON grants (campaign_id, voided_at) WHERE state = 'returned';

-- migrate:down
DROP INDEX grants_returned;
