-- Statements on a replica, but for primary_position. A position is a place in the write-ahead log, in bytes since its beginning.

-- name: replayed
-- Replica. Once it is promoted it stays where it was: what it writes itself is no part of the primary's log.
SELECT coalesce((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0) AS replayed;

-- name: replica_state
-- Replica, also one that was promoted. What it receives may be seen by roles that have pg_read_all_stats; of others it
-- stays unknown whose log they replay, so they are not read from.
SELECT
    pg_is_in_recovery() AS is_standby,
    CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS is_paused,
    coalesce((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0) AS replayed,
    (SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming') AS timeline,
    (SELECT system_identifier FROM pg_control_system()) AS system;

-- name: primary_position
-- Primary; no row from one that was demoted. What is acknowledged is flushed, and what a replica has was flushed before.
-- The first eight digits of a segment's name are the timeline (PostgreSQL: "WAL Internals").
SELECT
    (flushed - '0/0'::pg_lsn)::bigint AS flushed,
    ('x' || left(pg_walfile_name(flushed), 8))::bit(32)::int AS timeline,
    (SELECT system_identifier FROM pg_control_system()) AS system
FROM (
    SELECT pg_current_wal_flush_lsn() AS flushed WHERE NOT pg_is_in_recovery()
) AS now;
