-- Statements on coupons and what anybody sees of campaigns. All go to the primary, whose clock alone expires anything.
-- grants is the truth: users.discount is never read.

-- name: participations
-- All users that ask at a moment. Primary key of entrants, index grants_user_id, then primary keys. The campaign of the
-- registration comes first. is_served: as campaigns_to_serve and next_by_login (sql/campaign_line.sql) have it.
-- The state of a coupon, and why OFFSET 0: as in user_profiles (sql/users.sql).
WITH parts AS (
    SELECT user_id, campaign_id FROM entrants WHERE user_id = ANY($1::uuid[])
    UNION
    SELECT user_id, campaign_id FROM grants WHERE user_id = ANY($1::uuid[])
)
SELECT user_id, campaigns.code AS campaign, campaigns.state AS campaign_state, issued = cap AS is_sold_out,
    coalesce(login_at <= ended_at AND ended_at > now() - interval '1 day', false) AS is_served,
    grants.state AS grant_state, CASE WHEN grants.state = 'held' THEN held_until END AS held_until,
    coupons.code, discount, expiration_date, CASE
        WHEN grants.state <> 'granted' THEN 'voided'
        WHEN redeemed_at IS NOT NULL THEN 'redeemed'
        WHEN reserved_until > now() THEN 'reserved'
        WHEN expiration_date < (now() AT TIME ZONE 'utc')::date THEN 'expired'
        ELSE 'valid' END AS coupon_state
FROM parts JOIN campaigns USING (campaign_id)
    LEFT JOIN LATERAL (
        SELECT * FROM entrants WHERE user_id = parts.user_id AND campaign_id = parts.campaign_id OFFSET 0
    ) AS entrants USING (user_id, campaign_id)
    LEFT JOIN LATERAL (
        SELECT * FROM grants WHERE user_id = parts.user_id AND campaign_id = parts.campaign_id OFFSET 0
    ) AS grants USING (user_id, campaign_id)
    LEFT JOIN LATERAL (SELECT * FROM coupons WHERE couponid = grants.couponid OFFSET 0) AS coupons USING (couponid)
ORDER BY entrant_id, granted_at;

-- name: redeem_coupon
-- Unique indexes coupons_code_unique and grants_couponid_unique. Of any number of racing statements the first changes the row;
-- the others wait for it, look again (READ COMMITTED) and find nothing to change. What the audit is told is written with it.
WITH redeemed AS (
    UPDATE grants SET redeemed_at = now(), reservation_id = NULL, reserved_until = NULL
    FROM coupons
    WHERE coupons.code = $2 AND grants.couponid = coupons.couponid AND user_id = $1
        AND state = 'granted' AND redeemed_at IS NULL AND (reserved_until IS NULL OR reserved_until <= now())
        AND (expiration_date IS NULL OR expiration_date >= (now() AT TIME ZONE 'utc')::date)
    RETURNING user_id, campaign_id, grants.couponid
)
INSERT INTO jobs (kind, user_id, detail)
SELECT 'coupon_redeemed', user_id, jsonb_build_object('campaign_id', campaign_id, 'couponid', couponid) FROM redeemed
RETURNING true AS is_done;

-- name: reserve_coupon
-- As redeem_coupon. $3 is the new reservation; one whose time is over gives way to it.
WITH reserved AS (
    UPDATE grants SET reservation_id = $3, reserved_until = now() + $4::interval
    FROM coupons
    WHERE coupons.code = $2 AND grants.couponid = coupons.couponid AND user_id = $1
        AND state = 'granted' AND redeemed_at IS NULL AND (reserved_until IS NULL OR reserved_until <= now())
        AND (expiration_date IS NULL OR expiration_date >= (now() AT TIME ZONE 'utc')::date)
    RETURNING user_id, campaign_id, grants.couponid, reserved_until
), told AS (
    INSERT INTO jobs (kind, user_id, detail)
    SELECT 'coupon_reserved', user_id, jsonb_build_object('campaign_id', campaign_id, 'couponid', couponid) FROM reserved
)
SELECT reserved_until FROM reserved;

-- name: confirm_coupon
-- As redeem_coupon, but the reservation decides, not the time: it was made when the coupon was good, and whoever reserved or
-- redeemed since has replaced it.
WITH redeemed AS (
    UPDATE grants SET redeemed_at = now(), reservation_id = NULL, reserved_until = NULL
    FROM coupons
    WHERE coupons.code = $2 AND grants.couponid = coupons.couponid AND user_id = $1
        AND state = 'granted' AND redeemed_at IS NULL AND reservation_id = $3
    RETURNING user_id, campaign_id, grants.couponid
)
INSERT INTO jobs (kind, user_id, detail)
SELECT 'coupon_redeemed', user_id, jsonb_build_object('campaign_id', campaign_id, 'couponid', couponid) FROM redeemed
RETURNING true AS is_done;

-- name: release_coupon
-- As confirm_coupon.
WITH released AS (
    UPDATE grants SET reservation_id = NULL, reserved_until = NULL
    FROM coupons
    WHERE coupons.code = $2 AND grants.couponid = coupons.couponid AND user_id = $1
        AND state = 'granted' AND redeemed_at IS NULL AND reservation_id = $3
    RETURNING user_id, campaign_id, grants.couponid
)
INSERT INTO jobs (kind, user_id, detail)
SELECT 'coupon_released', user_id, jsonb_build_object('campaign_id', campaign_id, 'couponid', couponid) FROM released
RETURNING true AS is_done;

-- name: reservation_of_coupon
-- Unique indexes coupons_code_unique and grants_couponid_unique.
SELECT reserved_until FROM grants JOIN coupons USING (couponid)
WHERE coupons.code = $2 AND user_id = $1 AND state = 'granted' AND reservation_id = $3;

-- name: shown_campaigns
-- The whole table, of one row a campaign, about once a second for each process that is asked.
SELECT code, name, opens_at, closes_at, percent, state, cap - issued - held AS seats_left FROM campaigns
WHERE state <> 'draft';
