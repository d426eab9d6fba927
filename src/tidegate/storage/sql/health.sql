-- Statements on the server itself.

-- name: is_primary
-- Whether it takes writes. A primary that was demoted answers reads as before.
SELECT NOT pg_is_in_recovery() AS is_primary;

-- name: connections_offered
-- To everybody but superusers; what PostgreSQL 16 can reserve for a role besides is left out of account.
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS offered;

-- name: clock
-- What the clock of whoever takes writes shows, not when a transaction began; of who was demoted nobody asks the time.
SELECT extract(epoch FROM clock_timestamp())::float8 AS time_s WHERE NOT pg_is_in_recovery();
