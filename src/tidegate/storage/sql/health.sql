-- Statements on the server itself.

-- name: is_primary
-- Whether it takes writes. A primary that was demoted answers reads as before.
SELECT NOT pg_is_in_recovery() AS is_primary;
