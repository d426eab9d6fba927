-- Statements of who grants coupons: a worker, some times a second while a campaign is open (ADR 0027). The place in the line is
-- the id of a job, drawn by the transaction of the first login; the steps below find out up to which id all of them are known.

-- name: campaigns_to_serve
-- The whole table, of one row a campaign. One that has ended still serves who logged in before, for a day after the end, and
-- after each seat that comes back. Index grants_returned.
SELECT campaign_id, rank_by FROM campaigns
WHERE state = 'active' OR (state = 'ended' AND (ended_at > now() - interval '1 day' OR EXISTS (
    SELECT FROM grants
    WHERE grants.campaign_id = campaigns.campaign_id AND grants.state = 'returned' AND voided_at > now() - interval '1 day'
)))
ORDER BY campaign_id;

-- name: last_places
-- First step: beyond these nobody is served in this round. No snapshot hides what a sequence has given out.
SELECT (SELECT last_value FROM jobs_job_id_seq) AS job_id, (SELECT last_value FROM entrants_entrant_id_seq) AS entrant_id,
    clock_timestamp() AS at;

-- name: writers_of_places
-- Second step, a statement of its own, for it must look after the first: who may have drawn one of those numbers and not ended
-- yet. A transaction locks the table before it draws, and until its end.
SELECT virtualtransaction AS writer FROM pg_locks
WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted AND pid IS DISTINCT FROM pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND relation IN ('jobs'::regclass, 'entrants'::regclass);

-- name: first_unnoted_login
-- Third step, once those have ended: the first login below $1 that waits in the table and is not noted yet. Looks no further than
-- at $2 jobs; past_to is where it stopped. Index jobs_fresh (jobs.sql: claim_jobs), primary key of entrants.
WITH waiting AS (
    SELECT job_id, user_id, created_at, kind FROM jobs
    WHERE tries IS NULL AND (kind = 'welcome_due')::int = 0 AND job_id <= $1
    ORDER BY job_id
    LIMIT $2
), unnoted AS (
    SELECT waiting.job_id, waiting.created_at FROM waiting JOIN entrants USING (user_id) JOIN campaigns USING (campaign_id)
    WHERE kind = 'login_succeeded' AND (login_job IS NULL OR login_job > waiting.job_id)
        AND (ended_at IS NULL OR waiting.created_at <= ended_at) AND (state <> 'exhausted' OR passes_on)
    ORDER BY waiting.job_id
    LIMIT 1
)
SELECT (SELECT job_id FROM unnoted) AS job_id, (SELECT created_at FROM unnoted) AS at,
    (SELECT max(job_id) FROM waiting HAVING count(*) = $2) AS past_to,
    (SELECT min(created_at) FROM waiting HAVING count(*) = $2) AS past_at;

-- name: note_unfinished_logins
-- Fourth step: the logins up to $1 whose jobs have failed, are dead or are tried again. A place in the line does not wait for
-- whatever is wrong with the job. Indexes jobs_failed, jobs_fresh, dead_jobs_logins.
WITH unfinished AS (
    SELECT user_id, job_id, created_at FROM jobs
    WHERE tries IS NOT NULL AND (kind = 'welcome_due')::int = 0 AND kind = 'login_succeeded' AND job_id <= $1
    UNION ALL
    SELECT user_id, job_id, created_at FROM jobs
    WHERE tries IS NULL AND (kind = 'welcome_due')::int = 0 AND kind = 'login_succeeded' AND job_id <= $1
    UNION ALL
    SELECT user_id, job_id, created_at FROM dead_jobs WHERE kind = 'login_succeeded' AND job_id <= $1
), first AS (
    SELECT DISTINCT ON (user_id) user_id, job_id, created_at FROM unfinished ORDER BY user_id, job_id
), locked AS (
    SELECT entrants.user_id, first.job_id, first.created_at FROM entrants JOIN first USING (user_id)
    WHERE login_job IS NULL OR login_job > first.job_id
    ORDER BY entrants.user_id
    FOR NO KEY UPDATE OF entrants
)
UPDATE entrants SET login_job = locked.job_id, login_at = locked.created_at FROM locked
WHERE entrants.user_id = locked.user_id AND (login_job IS NULL OR login_job > locked.job_id);

-- name: note_first_logins
-- Worker, with the logins' jobs, in the transaction that removes them. Primary key of entrants, in its order, so that two workers
-- wait for each other instead of deadlocking. Who cannot get a seat any more is kept away: a campaign that is sold out for good
-- costs a look. Who logged in before the end counts, however late that is noted. LATERAL: as rotate_sessions (sql/sessions.sql).
WITH login AS (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[]) AS login (user_id, job_id, at) ORDER BY user_id
), locked AS (
    SELECT entrant.user_id, login.job_id, login.at
    FROM login, LATERAL (
        SELECT user_id FROM entrants JOIN campaigns USING (campaign_id)
        WHERE user_id = login.user_id AND (login_job IS NULL OR login_job > login.job_id)
            AND (ended_at IS NULL OR login.at <= ended_at) AND (state <> 'exhausted' OR passes_on)
        FOR NO KEY UPDATE OF entrants
    ) AS entrant
)
UPDATE entrants SET login_job = locked.job_id, login_at = locked.at FROM locked
WHERE entrants.user_id = locked.user_id AND (login_job IS NULL OR login_job > locked.job_id)
RETURNING 1;

-- name: take_turn
-- One worker at a time serves a campaign; the others pass it over. What follows in its transaction sees what the one before left.
SELECT cap - issued - held AS free FROM campaigns
WHERE campaign_id = $1 AND (state = 'active' OR state = 'ended')
FOR NO KEY UPDATE SKIP LOCKED;

-- name: next_by_login
-- Index entrants_by_login. Beyond the last place served, for all before it have been: places are served in their order only.
SELECT user_id, login_job AS rank FROM entrants JOIN campaigns USING (campaign_id)
WHERE campaign_id = $1 AND login_job <= $2
    AND login_job > coalesce((SELECT max(rank) FROM grants WHERE campaign_id = $1), 0)
    AND (ended_at IS NULL OR login_at <= ended_at)
ORDER BY login_job
LIMIT $3;

-- name: hold_seats
-- Index entrants_by_registration, likewise.
WITH next AS (
    SELECT user_id, entrant_id, seat_hours FROM entrants JOIN campaigns USING (campaign_id)
    WHERE campaign_id = $1 AND entrant_id <= $2 AND state = 'active'
        AND entrant_id > coalesce((SELECT max(rank) FROM grants WHERE campaign_id = $1), 0)
    ORDER BY entrant_id
    LIMIT $3
), held AS (
    INSERT INTO grants (campaign_id, user_id, rank, state, held_until)
    SELECT $1, user_id, entrant_id, 'held', now() + seat_hours * interval '1 hour' FROM next
    RETURNING user_id
)
INSERT INTO jobs (kind, user_id, detail) SELECT 'seat_held', user_id, jsonb_build_object('campaign_id', $1::uuid) FROM held
RETURNING user_id;

-- name: lapse_seats
-- Index grants_held. Seats whose time was over, and whose user had not logged in by then, as far as is known at $2. A minute
-- later: $2 goes by numbers, and a login that began before another may have drawn its number after it; no statement lives longer
-- (config.py: database_statement_timeout_ms). Whoever logs in in that minute is too late all the same.
WITH over AS (
    SELECT user_id FROM grants
    WHERE campaign_id = $1 AND state = 'held' AND held_until < $2::timestamptz - interval '1 minute' AND NOT EXISTS (
        SELECT FROM entrants WHERE entrants.user_id = grants.user_id AND login_at <= held_until
    )
), lapsed AS (
    UPDATE grants SET state = 'lapsed' FROM over WHERE grants.campaign_id = $1 AND grants.user_id = over.user_id
    RETURNING grants.user_id
)
INSERT INTO jobs (kind, user_id, detail) SELECT 'seat_lapsed', user_id, jsonb_build_object('campaign_id', $1::uuid) FROM lapsed
RETURNING user_id;

-- name: seats_to_grant
-- Index grants_held. Seats whose user has logged in in time.
SELECT grants.user_id, rank FROM grants JOIN entrants USING (campaign_id, user_id) JOIN campaigns USING (campaign_id)
WHERE campaign_id = $1 AND grants.state = 'held' AND login_at <= held_until AND (ended_at IS NULL OR login_at <= ended_at)
ORDER BY rank
LIMIT $2;

-- name: lock_winners
-- Primary key, in its order. Whose row goes on to be changed: users.discount. Who is gone is not in the answer.
SELECT userid FROM users WHERE userid = ANY ($1::uuid[]) ORDER BY userid FOR NO KEY UPDATE;

-- name: make_coupons
-- After lock_winners. What the campaign grants, under the codes that the worker has drawn.
INSERT INTO coupons (couponid, code, discount, expiration_date)
SELECT couponid, made.code, percent, (now() AT TIME ZONE 'utc')::date + coupon_days
FROM campaigns, unnest($2::uuid[], $3::varchar[]) AS made (couponid, code)
WHERE campaign_id = $1;

-- name: grant_coupons
-- After make_coupons. A seat that was held becomes a grant, else a grant takes a seat.
INSERT INTO grants (campaign_id, user_id, rank, state, couponid, granted_at)
SELECT $1, user_id, rank, 'granted', couponid, now()
FROM unnest($2::uuid[], $3::bigint[], $4::uuid[]) AS won (user_id, rank, couponid);

-- name: grant_held_seats
-- As grant_coupons.
UPDATE grants SET state = 'granted', couponid = won.couponid, granted_at = now()
FROM unnest($2::uuid[], $3::uuid[]) AS won (user_id, couponid)
WHERE campaign_id = $1 AND grants.user_id = won.user_id AND state = 'held';

-- name: mirror_coupons
-- After lock_winners. Primary key; the asked-for column shows what the grants say.
UPDATE users SET discount = array_append(discount, won.couponid)
FROM unnest($1::uuid[], $2::uuid[]) AS won (user_id, couponid) WHERE userid = won.user_id;

-- name: put_granted
-- The last of the transaction: what the audit is told.
INSERT INTO jobs (kind, user_id, detail)
SELECT 'coupon_granted', user_id, jsonb_build_object('campaign_id', $1::uuid, 'couponid', couponid)
FROM unnest($2::uuid[], $3::uuid[]) AS won (user_id, couponid);
