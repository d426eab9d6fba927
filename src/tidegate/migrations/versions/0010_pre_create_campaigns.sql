-- Campaigns and who got a coupon (DESIGN 5.8, ADR 0027); which files of users were imported (ADR 0029).
-- Locks: SHARE ROW EXCLUSIVE on users for the foreign key, SHARE on dead_jobs for CREATE INDEX; milliseconds once granted.
-- Down: ACCESS EXCLUSIVE on users; milliseconds. The coupons stay, and users.discount.
-- pre: the running release survives it, and knows no campaign. Its workers note no first login: let none of them be left
-- before the first campaign begins.

-- migrate:up
CREATE TABLE campaigns (
    campaign_id uuid PRIMARY KEY,
    code        varchar(64) COLLATE "C" NOT NULL CONSTRAINT campaigns_code_unique UNIQUE,
    name        varchar(255) NOT NULL,
    opens_at    timestamptz NOT NULL,
    closes_at   timestamptz NOT NULL,
    cap         integer NOT NULL,
    percent     decimal(5, 2) NOT NULL,
    coupon_days integer NOT NULL,
    rank_by     varchar(16) NOT NULL,
    seat_hours  integer,
    passes_on   boolean NOT NULL,
    state       varchar(16) NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,
    issued      integer NOT NULL DEFAULT 0,
    held        integer NOT NULL DEFAULT 0,
    CONSTRAINT campaigns_code_form CHECK (code ~ '^[a-z0-9][a-z0-9-]*$'),
    CONSTRAINT campaigns_window CHECK (opens_at < closes_at),
    CONSTRAINT campaigns_percent CHECK (percent > 0 AND percent <= 100),
    CONSTRAINT campaigns_coupon_days CHECK (coupon_days BETWEEN 1 AND 3660),
    CONSTRAINT campaigns_rank_by CHECK ((rank_by = 'login' AND seat_hours IS NULL)
        OR (rank_by = 'registration' AND seat_hours BETWEEN 1 AND 8784)),
    CONSTRAINT campaigns_state CHECK (state IN ('draft', 'active', 'paused', 'ended', 'exhausted')),
    CONSTRAINT campaigns_ended_at CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
    CONSTRAINT campaigns_cap CHECK (cap > 0 AND issued >= 0 AND held >= 0 AND issued + held <= cap)
);

CREATE TABLE entrants (
    user_id     uuid PRIMARY KEY CONSTRAINT entrants_user_id_fkey REFERENCES users ON DELETE CASCADE,
    campaign_id uuid NOT NULL,
    entrant_id  bigint GENERATED ALWAYS AS IDENTITY,
    login_job   bigint,
    login_at    timestamptz,
    CONSTRAINT entrants_login CHECK ((login_job IS NULL) = (login_at IS NULL))
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX entrants_by_registration ON entrants (campaign_id, entrant_id);
CREATE UNIQUE INDEX entrants_by_login ON entrants (campaign_id, login_job) WHERE login_job IS NOT NULL;

CREATE TABLE grants (
    campaign_id    uuid NOT NULL CONSTRAINT grants_campaign_id_fkey REFERENCES campaigns,
    user_id        uuid NOT NULL,
    rank           bigint NOT NULL,
    state          varchar(16) NOT NULL,
    taken_at       timestamptz NOT NULL DEFAULT now(),
    held_until     timestamptz,
    couponid       uuid CONSTRAINT grants_couponid_unique UNIQUE CONSTRAINT grants_couponid_fkey REFERENCES coupons,
    granted_at     timestamptz,
    reservation_id uuid,
    reserved_until timestamptz,
    redeemed_at    timestamptz,
    voided_at      timestamptz,
    void_reason    varchar(255),
    PRIMARY KEY (campaign_id, user_id),
    CONSTRAINT grants_rank_unique UNIQUE (campaign_id, rank),
    CONSTRAINT grants_state CHECK (state IN ('held', 'lapsed', 'granted', 'voided', 'returned')),
    CONSTRAINT grants_coupon CHECK ((state IN ('held', 'lapsed')) = (couponid IS NULL) AND (couponid IS NULL) = (granted_at IS NULL)),
    CONSTRAINT grants_reservation CHECK ((reservation_id IS NULL) = (reserved_until IS NULL)),
    CONSTRAINT grants_redeemed CHECK (redeemed_at IS NULL OR (couponid IS NOT NULL AND reservation_id IS NULL)),
    CONSTRAINT grants_voided CHECK ((state IN ('voided', 'returned')) = (voided_at IS NOT NULL)
        AND (voided_at IS NULL) = (void_reason IS NULL))
);

CREATE INDEX grants_user_id ON grants (user_id);
CREATE INDEX grants_held ON grants (campaign_id, held_until) WHERE state = 'held';

CREATE INDEX dead_jobs_logins ON dead_jobs (job_id) WHERE kind = 'login_succeeded';

CREATE FUNCTION count_seats() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE campaigns SET issued = campaigns.issued + more.issued, held = campaigns.held + more.held, state = CASE
            WHEN state = 'active' AND campaigns.issued + more.issued = cap THEN 'exhausted' ELSE state END
        FROM (
            SELECT campaign_id, count(*) FILTER (WHERE grants.state IN ('granted', 'voided')) AS issued,
                count(*) FILTER (WHERE grants.state = 'held') AS held
            FROM came AS grants GROUP BY campaign_id
        ) AS more WHERE campaigns.campaign_id = more.campaign_id;
    ELSE
        UPDATE campaigns SET issued = campaigns.issued + more.issued, held = campaigns.held + more.held, state = CASE
            WHEN state = 'active' AND campaigns.issued + more.issued = cap THEN 'exhausted'
            WHEN state = 'exhausted' AND campaigns.issued + more.issued < cap THEN 'active' ELSE state END
        FROM (
            SELECT campaign_id, coalesce(sum(seat) FILTER (WHERE seats.state IN ('granted', 'voided')), 0) AS issued,
                coalesce(sum(seat) FILTER (WHERE seats.state = 'held'), 0) AS held
            FROM (SELECT campaign_id, went.state, -1 AS seat FROM went UNION ALL SELECT campaign_id, came.state, 1 FROM came) AS seats
            GROUP BY campaign_id
        ) AS more WHERE campaigns.campaign_id = more.campaign_id AND (more.issued <> 0 OR more.held <> 0);
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION refuse_removal_of_grants() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'grants are voided, never removed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE FUNCTION note_changed_coupons() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO changes (kind, subject_id) VALUES ('profile_changed', NEW.user_id);
    PERFORM pg_notify('tidegate_profile', NEW.user_id::text);
    RETURN NULL;
END
$$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION count_seats() SET search_path TO %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION note_changed_coupons() SET search_path TO %I, pg_temp', current_schema());
END
$$;

CREATE TRIGGER grants_count_new AFTER INSERT ON grants
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION count_seats();
CREATE TRIGGER grants_count_changed AFTER UPDATE ON grants
    REFERENCING OLD TABLE AS went NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION count_seats();
CREATE TRIGGER grants_stay BEFORE DELETE OR TRUNCATE ON grants
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_removal_of_grants();
CREATE TRIGGER grants_note_changed AFTER INSERT OR UPDATE ON grants
    FOR EACH ROW WHEN (NEW.couponid IS NOT NULL) EXECUTE FUNCTION note_changed_coupons();
ALTER TABLE grants ENABLE ALWAYS TRIGGER grants_count_new;
ALTER TABLE grants ENABLE ALWAYS TRIGGER grants_count_changed;
ALTER TABLE grants ENABLE ALWAYS TRIGGER grants_note_changed;

CREATE TABLE imports (
    digest     bytea PRIMARY KEY,
    bytes_done bigint NOT NULL,
    lines_done bigint NOT NULL,
    added      bigint NOT NULL DEFAULT 0,
    refused    bigint NOT NULL DEFAULT 0,
    began_at   timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);

-- migrate:down
DROP TABLE imports;
DROP TABLE grants;
DROP TABLE entrants;
DROP TABLE campaigns;
DROP FUNCTION note_changed_coupons();
DROP FUNCTION refuse_removal_of_grants();
DROP FUNCTION count_seats();
DROP INDEX dead_jobs_logins;
