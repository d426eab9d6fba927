-- Statements of an operator on campaigns (ADR 0027). Whoever changes one locks its row first, then the user's, then the grant's,
-- as the granter does (campaign_line.sql); who redeems locks the grant's alone, so nobody deadlocks.

-- name: add_campaign
-- Unique index on code. $13 is who does it; the audit keeps the terms, whatever becomes of the row.
WITH made AS (
    INSERT INTO campaigns (campaign_id, code, name, opens_at, closes_at, cap, percent, coupon_days, rank_by, seat_hours,
        passes_on, state)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    RETURNING *
)
INSERT INTO jobs (kind, user_id, detail)
SELECT 'campaign_changed', campaign_id, jsonb_build_object('step', 'create', 'to', state, 'by', $13::text, 'code', made.code,
    'name', name, 'opens_at', opens_at, 'closes_at', closes_at, 'cap', cap, 'percent', percent, 'coupon_days', coupon_days,
    'rank_by', rank_by, 'seat_hours', seat_hours, 'passes_on', passes_on)
FROM made;

-- name: list_campaigns
-- For a person. The whole table, of one row a campaign.
SELECT * FROM campaigns ORDER BY created_at DESC, code;

-- name: find_campaign
-- Unique index on code.
SELECT * FROM campaigns WHERE code = $1;

-- name: count_campaign
-- For a person. Reads the entrants and the grants of one campaign: entrants_by_registration, the grants' primary key.
SELECT * FROM (
    SELECT count(*) AS registered, count(login_job) AS logged_in FROM entrants WHERE campaign_id = $1
) AS entered, (
    SELECT count(*) FILTER (WHERE state = 'granted') AS granted,
        count(*) FILTER (WHERE state = 'granted' AND reserved_until > now()) AS reserved,
        count(*) FILTER (WHERE redeemed_at IS NOT NULL) AS redeemed,
        count(*) FILTER (WHERE state IN ('voided', 'returned')) AS voided,
        count(*) FILTER (WHERE state = 'returned') AS returned,
        count(*) FILTER (WHERE state = 'lapsed') AS lapsed
    FROM grants WHERE campaign_id = $1
) AS seats;

-- name: coupon_holder
-- Unique indexes on coupons.code and grants.couponid.
SELECT campaigns.code, user_id FROM coupons JOIN grants USING (couponid) JOIN campaigns USING (campaign_id)
WHERE coupons.code = $1;

-- name: take_campaign
-- First lock. Whoever grants from it is waited for; while it is held, they pass it over.
SELECT * FROM campaigns WHERE code = $1 FOR NO KEY UPDATE;

-- name: move_campaign
-- After take_campaign. The end is now, not when the transaction began to wait for the row: who has been answered before is
-- among those who had logged in.
WITH moved AS (
    UPDATE campaigns SET state = $2::text, ended_at = CASE WHEN $2::text = 'ended' THEN clock_timestamp() END WHERE campaign_id = $1
    RETURNING campaign_id, ended_at
), told AS (
    INSERT INTO jobs (kind, user_id, detail)
    SELECT 'campaign_changed', campaign_id, jsonb_build_object('step', $3::text, 'from', $4::text, 'to', $2::text, 'by', $5::text)
    FROM moved
)
SELECT ended_at FROM moved;

-- name: lock_grant
-- After take_campaign and lock_winners: the last lock. Whoever redeems at this moment is waited for, and seen.
SELECT user_id, state, couponid, redeemed_at IS NOT NULL AS is_redeemed FROM grants
WHERE campaign_id = $1 AND user_id = $2
FOR NO KEY UPDATE;

-- name: void_grant
-- After lock_grant. The triggers of grants give the seat back where it is returned, and tell every node. The mirror is one user's
-- row, if there still is one. Of a mirror that was tampered with all copies go.
WITH voided AS (
    UPDATE grants SET state = $3, voided_at = clock_timestamp(), void_reason = $4::text, reservation_id = NULL, reserved_until = NULL
    WHERE campaign_id = $1 AND user_id = $2 AND state = 'granted' AND redeemed_at IS NULL
    RETURNING campaign_id, user_id, couponid, state
), mirrored AS (
    UPDATE users SET discount = nullif(array_remove(discount, couponid), '{}') FROM voided WHERE userid = user_id
)
INSERT INTO jobs (kind, user_id, detail)
SELECT 'coupon_voided', user_id, jsonb_build_object('campaign_id', campaign_id, 'couponid', couponid, 'to', state,
    'reason', $4::text, 'by', $5::text)
FROM voided
RETURNING job_id;

-- name: count_grants
-- For a person who waits. Index grants_rank_unique.
SELECT count(*) FROM grants WHERE campaign_id = $1;

-- name: export_grants
-- For a person. Index grants_rank_unique, beyond the last place of the page before: none is removed, and who comes takes a higher one.
SELECT rank AS place, user_id, username, email, phone_number, full_name, state, couponid, coupons.code, coupons.discount,
    expiration_date, granted_at, redeemed_at, voided_at, void_reason
FROM grants LEFT JOIN coupons USING (couponid) LEFT JOIN users ON userid = user_id
WHERE campaign_id = $1 AND rank > $2
ORDER BY rank
LIMIT $3;
