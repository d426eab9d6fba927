-- Statements on users. They go to the primary; those of look-ups by name go to replicas too. userid is the primary key; each identifier has a unique index of its own.

-- name: find_users_by_username
-- Hot: all usernames that logins and registrations ask for at a moment. Unique index on username.
SELECT username AS asked, userid, password FROM users WHERE username = ANY($1::varchar[]);

-- name: find_users_by_email
-- As find_users_by_username. Unique index on email.
SELECT email AS asked, userid, password FROM users WHERE email = ANY($1::varchar[]);

-- name: find_users_by_phone_number
-- As find_users_by_username. Unique index on phone_number.
SELECT phone_number AS asked, userid, password FROM users WHERE phone_number = ANY($1::varchar[]);

-- name: user_credentials
-- Primary key.
SELECT userid, password FROM users WHERE userid = $1;

-- name: user_profiles
-- Hot: all profiles that are asked for at a moment, one row for each coupon, or one without. Primary key, index grants_user_id,
-- then primary keys. users.discount, which mirrors the grants, is not read. The state of a coupon: as in participations
-- (sql/coupons.sql). OFFSET 0 keeps a subquery one that is looked up for each user: joined, all grants may be read while they
-- are few, and by a plan that stands while they grow (ADR 0032).
SELECT userid, username, email, phone_number, full_name, birth_date, last_login, campaigns.code AS campaign,
    coupons.code, coupons.discount, expiration_date, CASE
        WHEN grants.state <> 'granted' THEN 'voided'
        WHEN redeemed_at IS NOT NULL THEN 'redeemed'
        WHEN reserved_until > now() THEN 'reserved'
        WHEN expiration_date < (now() AT TIME ZONE 'utc')::date THEN 'expired'
        ELSE 'valid' END AS coupon_state
FROM users
    LEFT JOIN LATERAL (SELECT * FROM grants WHERE user_id = userid AND couponid IS NOT NULL OFFSET 0) AS grants ON true
    LEFT JOIN LATERAL (SELECT * FROM coupons WHERE couponid = grants.couponid OFFSET 0) AS coupons ON true
    LEFT JOIN campaigns USING (campaign_id)
WHERE userid = ANY($1::uuid[])
ORDER BY granted_at;

-- name: add_user
-- No look-up before: of any number of racing adds the unique indexes let one through, the others wait for it and fail.
-- $8 is the note of the existence filter that has the names, or 0. RETURNING sets it after the row is in and before the
-- trigger that reads it is fired; it is forgotten with the transaction. $9 is the code of a campaign, or null: who registers
-- through one that is open at this moment takes part (ADR 0027); a link that is no good any more keeps nobody from registering.
WITH added AS (
    INSERT INTO users (userid, username, email, phone_number, password, full_name, birth_date)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    RETURNING userid, set_config('tidegate.noted_in', $8, true)
), entered AS (
    INSERT INTO entrants (user_id, campaign_id)
    SELECT userid, campaign_id FROM added, campaigns
    WHERE code = $9 AND state IN ('active', 'exhausted') AND opens_at <= now() AND closes_at > now()
)
INSERT INTO jobs (kind, user_id) SELECT 'user_registered', userid FROM added;

-- name: rehash_user
-- Primary key. Compare and set: the same password under another hash, so logins that relied on the old one need not wait.
-- Changes no key column, hence takes FOR NO KEY UPDATE, which the FOR KEY SHARE of open_session does not wait for.
UPDATE users SET password = $3 WHERE userid = $1 AND password = $2 RETURNING userid;

-- name: change_profile
-- Primary key. A trigger tells every process that may remember the profile, if and only if the change is committed.
UPDATE users SET full_name = coalesce($2, full_name), birth_date = coalesce($3, birth_date) WHERE userid = $1
RETURNING userid;

-- name: lock_user
-- Primary key. Opens every transaction that ends what the stored password allows. FOR UPDATE waits for the FOR KEY SHARE of
-- each login under way, and holds up those that come: see open_session. The statements that follow have later snapshots
-- (READ COMMITTED), so they see every session that such a login has opened.
SELECT userid FROM users WHERE userid = $1 FOR UPDATE;

-- name: lock_user_of_password
-- Like lock_user, but only while $2 is the stored password: a change in between is seen after the wait, and finds nobody.
SELECT userid FROM users WHERE userid = $1 AND password = $2 FOR UPDATE;

-- name: replace_password
-- Primary key. Only after lock_user_of_password.
WITH changed AS (
    UPDATE users SET password = $2 WHERE userid = $1 RETURNING userid
)
INSERT INTO jobs (kind, user_id) SELECT 'password_changed', userid FROM changed;

-- name: disable_user
-- Primary key. Only after lock_user. The mark is domain.users.DISABLED_MARK.
WITH disabled AS (
    UPDATE users SET password = $2 || password WHERE userid = $1 AND NOT starts_with(password, $2) RETURNING userid
)
INSERT INTO jobs (kind, user_id) SELECT 'user_disabled', userid FROM disabled RETURNING user_id;

-- name: enable_user
-- Primary key. Nobody can have logged in on a marked password, so no lock is needed before.
WITH enabled AS (
    UPDATE users SET password = substr(password, length($2) + 1) WHERE userid = $1 AND starts_with(password, $2)
    RETURNING userid
)
INSERT INTO jobs (kind, user_id) SELECT 'user_enabled', userid FROM enabled RETURNING user_id;

-- name: delete_user
-- Primary key. Only after lock_user and revoke_sessions_of_user: the foreign key then sets sessions.user_id null, and the
-- revoked rows stay for the feed of revocations.
WITH deleted AS (
    DELETE FROM users WHERE userid = $1 RETURNING userid
)
INSERT INTO jobs (kind, user_id) SELECT 'user_deleted', userid FROM deleted;

-- name: record_last_logins
-- Primary key, one update for the whole batch; changes no indexed column (HOT). SKIP LOCKED: a user whose row somebody holds
-- holds up neither the others nor a worker, and two workers whose batches share users do not deadlock. Who is missing from
-- the answer is gone, or held: users_among tells. Never goes back in time, whatever the order of batches. The column has no
-- time zone and holds UTC.
WITH latest AS (
    SELECT users.userid, login.at AT TIME ZONE 'utc' AS at
    FROM unnest($1::uuid[], $2::timestamptz[]) AS login (userid, at)
    JOIN users USING (userid)
    FOR NO KEY UPDATE OF users SKIP LOCKED
), recorded AS (
    UPDATE users SET last_login = latest.at FROM latest
    WHERE users.userid = latest.userid AND (users.last_login IS NULL OR users.last_login < latest.at)
)
SELECT userid FROM latest;

-- name: users_among
-- Primary key. Who of these is there.
SELECT userid FROM users WHERE userid = ANY($1::uuid[]);

-- name: addressees
-- Worker, for a notice. Primary key.
SELECT userid, email, full_name FROM users WHERE userid = ANY($1::uuid[]);
