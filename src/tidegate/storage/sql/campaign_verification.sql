-- Statements of `tidegate campaigns verify`: each counts one thing again from the rows and returns those that offend, at most $2 of
-- campaign $1. They go to the primary, one after the other in one snapshot, which no grant under way can come between. They read
-- whole tables or the whole part of one campaign, and lean on no constraint, trigger or counter, which are what is doubted.
-- MATERIALIZED: else the LIMIT has those that join planned for a few rows soon found, where there is none in a million.

-- name: one_snapshot
-- The first of the transaction. Takes no lock that anybody waits for.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: whole_tables
-- For this transaction alone: what is recounted is read from end to end, which a pool's connection would do by an index.
SET LOCAL enable_seqscan = on;

-- name: verify_cap
-- The grants of one campaign.
SELECT cap, count(*) AS taken
FROM grants JOIN campaigns USING (campaign_id)
WHERE campaign_id = $1 AND grants.state IN ('held', 'granted', 'voided')
GROUP BY cap HAVING count(*) > cap
LIMIT $2;

-- name: verify_counters
-- The grants of one campaign. What is free follows from the two, and no constraint need hold it.
SELECT cap, issued, issued_in_rows, held, held_in_rows, cap - issued - held AS free
FROM campaigns, (
    SELECT count(*) FILTER (WHERE state IN ('granted', 'voided')) AS issued_in_rows,
        count(*) FILTER (WHERE state = 'held') AS held_in_rows
    FROM grants WHERE campaign_id = $1
) AS counted
WHERE campaign_id = $1 AND (issued <> issued_in_rows OR held <> held_in_rows)
LIMIT $2;

-- name: verify_state
-- The grants of one campaign. A paused or ended one may be full or not.
SELECT state, cap, issued_in_rows
FROM campaigns, (
    SELECT count(*) AS issued_in_rows FROM grants WHERE campaign_id = $1 AND grants.state IN ('granted', 'voided')
) AS counted
WHERE campaign_id = $1 AND (
    (state = 'exhausted' AND issued_in_rows < cap)
    OR (state = 'active' AND issued_in_rows >= cap)
    OR (state = 'draft' AND EXISTS (SELECT FROM grants WHERE campaign_id = $1))
)
LIMIT $2;

-- name: verify_one_per_user
-- The grants of one campaign.
SELECT user_id, count(*) AS seats FROM grants WHERE campaign_id = $1 GROUP BY user_id HAVING count(*) > 1 LIMIT $2;

-- name: verify_one_per_place
-- The grants of one campaign. The two users, where they are two.
SELECT rank AS place, count(*) AS seats, min(user_id::text) AS user_id, max(user_id::text) AS other_user_id
FROM grants WHERE campaign_id = $1
GROUP BY rank HAVING count(*) > 1
LIMIT $2;

-- name: verify_one_per_coupon
-- Of the other campaigns too: a coupon of this one must not be theirs.
SELECT couponid, count(*) AS grants, min(user_id::text) AS user_id, max(user_id::text) AS other_user_id
FROM grants WHERE couponid IN (SELECT couponid FROM grants WHERE campaign_id = $1)
GROUP BY couponid HAVING count(*) > 1
LIMIT $2;

-- name: verify_entrants
-- Who was deleted takes part no more, and keeps the grant.
WITH offences AS MATERIALIZED (
    SELECT grants.user_id, grants.state, entrants.campaign_id AS entrant_of
    FROM grants JOIN users ON userid = grants.user_id LEFT JOIN entrants ON entrants.user_id = grants.user_id
    WHERE grants.campaign_id = $1 AND entrants.campaign_id IS DISTINCT FROM $1
)
SELECT * FROM offences LIMIT $2;

-- name: verify_first_login
-- Grants and entrants of one campaign. Of who was deleted only the audit knows: verify_login_happened.
WITH offences AS MATERIALIZED (
    SELECT grants.user_id, grants.state, couponid FROM grants JOIN entrants USING (campaign_id, user_id)
    WHERE campaign_id = $1 AND couponid IS NOT NULL AND (login_job IS NULL OR login_at IS NULL)
)
SELECT * FROM offences LIMIT $2;

-- name: verify_login_happened
-- As far as the audit reaches back. What was removed from it has a lower id than what was kept, or is older; so what has a higher
-- id than its first rows and is newer was not removed. Of a long one that is the first thousand: an old job that was done late
-- may be among them. By registration the place of who was deleted is not the job of a login.
WITH since AS (
    SELECT max(job_id) AS job_id, max(at) AS at FROM (
        SELECT job_id, at FROM audit ORDER BY job_id
        LIMIT CASE WHEN (SELECT count(*) FROM (SELECT FROM audit LIMIT 10001) AS rows) > 10000 THEN 1000 ELSE 1 END
    ) AS first
), owed AS (
    SELECT grants.user_id, couponid, coalesce(login_job, rank) AS login_job
    FROM grants JOIN campaigns USING (campaign_id) LEFT JOIN entrants USING (campaign_id, user_id), since
    WHERE campaign_id = $1 AND couponid IS NOT NULL AND (rank_by = 'login' OR login_job IS NOT NULL)
        AND coalesce(login_job, rank) > since.job_id AND coalesce(login_at, taken_at) >= since.at
), offences AS MATERIALIZED (
    SELECT user_id, couponid, login_job FROM owed
    WHERE NOT EXISTS (
        SELECT FROM audit WHERE audit.job_id = login_job AND audit.user_id = owed.user_id AND event = 'login_succeeded'
    ) AND NOT EXISTS (
        SELECT FROM jobs WHERE jobs.job_id = login_job AND jobs.user_id = owed.user_id AND kind = 'login_succeeded'
    ) AND NOT EXISTS (
        SELECT FROM dead_jobs WHERE dead_jobs.job_id = login_job AND dead_jobs.user_id = owed.user_id AND kind = 'login_succeeded'
    )
)
SELECT * FROM offences LIMIT $2;

-- name: verify_login_noted
-- Not of logins after the end, and, once all seats are taken for good, not of those behind the last that was served.
WITH first AS (
    SELECT audit.user_id, min(audit.job_id) AS job_id, min(audit.at) AS at
    FROM audit JOIN entrants ON entrants.user_id = audit.user_id AND entrants.campaign_id = $1
    WHERE event = 'login_succeeded'
    GROUP BY audit.user_id
), last AS (
    SELECT max(login_job) AS job_id FROM grants JOIN entrants USING (campaign_id, user_id)
    WHERE campaign_id = $1 AND couponid IS NOT NULL
), offences AS MATERIALIZED (
    SELECT user_id, first.job_id AS login_in_audit, login_job AS login_noted
    FROM first JOIN entrants USING (user_id) JOIN campaigns USING (campaign_id), last
    WHERE (login_job IS NULL OR login_job > first.job_id) AND (ended_at IS NULL OR first.at <= ended_at)
        AND (passes_on OR issued < cap OR (rank_by = 'login' AND first.job_id < last.job_id))
)
SELECT * FROM offences LIMIT $2;

-- name: verify_place
-- Grants and entrants of one campaign.
WITH offences AS MATERIALIZED (
    SELECT grants.user_id, rank AS place_served, CASE rank_by WHEN 'login' THEN login_job ELSE entrant_id END AS place
    FROM grants JOIN entrants USING (campaign_id, user_id) JOIN campaigns USING (campaign_id)
    WHERE campaign_id = $1 AND rank IS DISTINCT FROM CASE rank_by WHEN 'login' THEN login_job ELSE entrant_id END
)
SELECT * FROM offences LIMIT $2;

-- name: verify_order
-- Whoever was deleted is no entrant any more. A login after the end has no place.
WITH last AS (SELECT max(rank) AS place FROM grants WHERE campaign_id = $1), offences AS MATERIALIZED (
    SELECT entrants.user_id, CASE rank_by WHEN 'login' THEN login_job ELSE entrant_id END AS place,
        last.place AS last_place_served
    FROM entrants JOIN campaigns USING (campaign_id), last
    WHERE campaign_id = $1
        AND CASE rank_by WHEN 'login' THEN login_job < last.place AND (ended_at IS NULL OR login_at <= ended_at)
            ELSE entrant_id < last.place END
        AND NOT EXISTS (SELECT FROM grants WHERE grants.campaign_id = $1 AND grants.user_id = entrants.user_id)
)
SELECT * FROM offences LIMIT $2;

-- name: verify_in_time
-- Grants and entrants of one campaign. By login no seat is held. Who was deleted has no login_at, and offends nobody.
WITH offences AS MATERIALIZED (
    SELECT grants.user_id, grants.state, login_at, held_until, ended_at
    FROM grants JOIN campaigns USING (campaign_id) LEFT JOIN entrants USING (campaign_id, user_id)
    WHERE campaign_id = $1 AND (
        (rank_by = 'login') <> (held_until IS NULL)
        OR (couponid IS NOT NULL AND (login_at > held_until OR login_at > ended_at))
        OR (grants.state = 'lapsed' AND login_at <= held_until AND (ended_at IS NULL OR login_at <= ended_at))
    )
)
SELECT * FROM offences LIMIT $2;

-- name: verify_terms
-- Grants and coupons of one campaign.
WITH offences AS MATERIALIZED (
    SELECT grants.user_id, couponid, discount, percent, expiration_date,
        (granted_at AT TIME ZONE 'utc')::date + coupon_days AS expiration_due
    FROM grants JOIN campaigns USING (campaign_id) LEFT JOIN coupons USING (couponid)
    WHERE campaign_id = $1 AND (grants.couponid IS NOT NULL OR grants.state NOT IN ('held', 'lapsed')) AND (
        discount IS DISTINCT FROM percent
        OR expiration_date IS DISTINCT FROM (granted_at AT TIME ZONE 'utc')::date + coupon_days
    )
)
SELECT * FROM offences LIMIT $2;

-- name: verify_ends
-- The grants of one campaign.
SELECT user_id, state, couponid, redeemed_at, reserved_until FROM grants
WHERE campaign_id = $1 AND state <> 'granted' AND (redeemed_at IS NOT NULL OR reservation_id IS NOT NULL)
LIMIT $2;

-- name: verify_mirror_missing
-- The grants of one campaign, and their users.
WITH offences AS MATERIALIZED (
    SELECT user_id, couponid FROM grants JOIN users ON userid = user_id
    WHERE campaign_id = $1 AND state = 'granted' AND couponid IS NOT NULL AND coalesce(NOT couponid = ANY (discount), true)
)
SELECT * FROM offences LIMIT $2;

-- name: verify_mirror_extra
-- Coupons of this campaign at whoever it is, and whatever else those show who take part in it.
WITH shown AS (
    SELECT userid, couponid, count(*) AS times FROM users, unnest(discount) AS couponid GROUP BY userid, couponid
), offences AS MATERIALIZED (
    SELECT userid AS user_id, shown.couponid, times FROM shown
    WHERE (
        EXISTS (SELECT FROM grants WHERE campaign_id = $1 AND grants.couponid = shown.couponid)
        OR EXISTS (SELECT FROM entrants WHERE campaign_id = $1 AND user_id = userid)
    ) AND (
        times > 1
        OR NOT EXISTS (SELECT FROM grants WHERE grants.couponid = shown.couponid AND user_id = userid AND state = 'granted')
    )
)
SELECT * FROM offences LIMIT $2;
