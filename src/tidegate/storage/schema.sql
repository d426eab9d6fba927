-- The whole schema as the migrations together make it, to be read in one place; tests/migration proves the two equal.

-- Who can log in. The columns are the asked-for ones and stay exactly these.
-- The three identifiers are stored normalised: what is stored is what is looked up, byte for byte, hence COLLATE "C".
-- The CHECKs keep the three sets apart: an email has an '@', a phone number begins with '+', a username has neither, so no
-- username can ever be taken for somebody's email or phone number.
-- fillfactor leaves room on the page for the new version of a row when the worker writes last_login (HOT).
CREATE TABLE users (
    userid       uuid PRIMARY KEY,
    username     varchar(255) COLLATE "C" CONSTRAINT users_username_unique UNIQUE,
    email        varchar(255) COLLATE "C" CONSTRAINT users_email_unique UNIQUE,
    phone_number varchar(255) COLLATE "C" CONSTRAINT users_phone_number_unique UNIQUE,
    password     varchar(512) NOT NULL,
    full_name    varchar(255),
    birth_date   date,
    last_login   timestamp,
    discount     uuid[],
    CONSTRAINT users_has_identifier CHECK (num_nonnulls(username, email, phone_number) > 0),
    CONSTRAINT users_username_form CHECK (username ~ '^[^+@A-Z][^@A-Z]*$'),
    CONSTRAINT users_email_form CHECK (email LIKE '%@%' AND email !~ '[A-Z]'),
    CONSTRAINT users_phone_number_form CHECK (phone_number ~ '^\+[0-9]{2,15}$')
) WITH (fillfactor = 85);

-- Campaign coupons: the asked-for columns.
CREATE TABLE coupons (
    couponid        uuid PRIMARY KEY,
    code            varchar(255) NOT NULL CONSTRAINT coupons_code_unique UNIQUE,
    discount        decimal(5, 2) NOT NULL,
    expiration_date date,
    created_at      timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

-- One login on one device (DESIGN 5.4). A session is live while it has a user, is not revoked, and idle_expires_at is
-- ahead; idle_expires_at never passes absolute_expires_at, so it alone decides.
-- A refresh changes generation, last_used_at, rotated_at and idle_expires_at. None of them may stand in an index: so a
-- refresh touches no index, and its old row version goes without vacuum (HOT, fillfactor). That is why clean-up goes by
-- cleanup_due_at: the moment of death as it was known when clean-up last looked (or the row was revoked), which a refresh
-- leaves alone; clean-up moves it when it finds the session refreshed since.
CREATE TABLE sessions (
    session_id          uuid PRIMARY KEY,
    user_id             uuid CONSTRAINT sessions_user_id_fkey REFERENCES users ON DELETE SET NULL,
    generation          integer NOT NULL DEFAULT 0,
    created_at          timestamptz NOT NULL DEFAULT now(),
    last_used_at        timestamptz NOT NULL DEFAULT now(),
    rotated_at          timestamptz,
    idle_expires_at     timestamptz NOT NULL,
    absolute_expires_at timestamptz NOT NULL,
    cleanup_due_at      timestamptz NOT NULL,
    revoked_at          timestamptz,
    device              varchar(255),
    address             varchar(64),
    CONSTRAINT sessions_expiry_order CHECK (idle_expires_at <= absolute_expires_at)
) WITH (fillfactor = 70);

CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_cleanup_due_at ON sessions (cleanup_due_at);
CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- What is to be done after the answer: put by the transaction that causes it, deleted by the one that does it (DESIGN 5.6).
-- No foreign key: a job of a user who is gone meanwhile finds nobody and is done.
-- detail: what the job needs beside the user; never a password, a token, a hash, or a name. due_at: not to be published
-- before; null: it never was. tries: how often it failed; null: never. error: the class of the last failure.
-- Eight columns, for the nulls of up to eight cost a row nothing: a login writes its job as short as it was without them.
-- A queue is mostly dead rows, so vacuum goes by their number, not by their share.
CREATE TABLE jobs (
    job_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       varchar(64) NOT NULL,
    user_id    uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    detail     jsonb,
    due_at     timestamptz,
    tries      smallint,
    error      varchar(64)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- A million greetings that wait for a mail server must not be read by whoever looks for what is due: notices and records lie
-- apart in both, and what has failed lies by its time. Any kind of `NOTICES` (domain/jobs.py) must stand here.
CREATE INDEX jobs_fresh ON jobs (((kind = 'welcome_due')::int), job_id) WHERE tries IS NULL;
CREATE INDEX jobs_failed ON jobs (((kind = 'welcome_due')::int), coalesce(due_at, created_at)) WHERE tries IS NOT NULL;

-- Which jobs are being tried together, one row a batch, removed with them (ADR 0026). A row that outlives its batch says that
-- a worker ended in the middle of it. Long arrays lie outside of the row, so even dead rows are quickly read.
CREATE TABLE job_batches (
    batch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    jobs     bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Requests that took effect under an idempotency key, written by the transaction of that effect (ADR 0019).
-- key_mac and request_mac are HMACs under the installation's secret, of which nobody can read key, names or password.
-- made is the id of what the request made: the answer is made again from it, and never stored.
CREATE TABLE idempotency_keys (
    key_mac     bytea PRIMARY KEY,
    request_mac bytea NOT NULL,
    made        uuid NOT NULL,
    expires_at  timestamptz NOT NULL
);

CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);

-- Jobs that failed too often: they wait for a person (`tidegate jobs`), who lets them be tried again or forgets them.
CREATE TABLE dead_jobs (
    job_id     bigint PRIMARY KEY,
    kind       varchar(64) NOT NULL,
    user_id    uuid NOT NULL,
    created_at timestamptz NOT NULL,
    died_at    timestamptz NOT NULL DEFAULT now(),
    detail     jsonb,
    tries      smallint NOT NULL,
    error      varchar(64) NOT NULL
);

-- What happened to users and when, kept after the jobs and after the users (ADR 0022). The key is the job's: written twice,
-- it would be an error, and its order is that of time, so the oldest go without another index. None on user_id: it would
-- cost every login a page somewhere in it; who looks for one user reads the table, or adds the index.
CREATE TABLE audit (
    job_id  bigint PRIMARY KEY,
    at      timestamptz NOT NULL,
    event   varchar(64) NOT NULL,
    user_id uuid NOT NULL,
    detail  jsonb
);

-- Who may say "nobody has this name" without looking (ADR 0014; the whole of it: storage/sql/existence.sql). The sequence is
-- a variable that no snapshot hides and no rollback takes back: 0, nobody; -n, the filter of note n is being completed; n,
-- the node that has the filter of note n decides alone. Whoever adds a name that is not noted in that filter waits, before
-- committing, until the node has given way or cannot believe in its lease any more, and takes the lease away.
-- Always: also where session_replication_role is replica.
CREATE SEQUENCE existence_lease AS bigint MINVALUE -9223372036854775807 START WITH 0;

CREATE FUNCTION fence_existence() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    lease bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1952933240, 1);
    SELECT last_value INTO lease FROM existence_lease;
    IF lease = 0 OR abs(lease)::text = current_setting('tidegate.noted_in', true) THEN
        RETURN NULL;
    END IF;
    IF lease > 0 THEN
        PERFORM pg_advisory_xact_lock_shared(1952933240, 2);
        FOR waited IN 1..50 LOOP
            PERFORM pg_sleep(0.02);
            PERFORM FROM existence_lease WHERE last_value = lease;
            EXIT WHEN NOT FOUND;
        END LOOP;
    END IF;
    PERFORM setval('existence_lease', 0) FROM existence_lease WHERE last_value = lease;
    RETURN NULL;
END
$$;
DO $$ BEGIN EXECUTE format('ALTER FUNCTION fence_existence() SET search_path TO %I, pg_temp', current_schema()); END $$;

CREATE TRIGGER users_fence_existence AFTER INSERT OR UPDATE OF username, email, phone_number ON users
    FOR EACH STATEMENT EXECUTE FUNCTION fence_existence();
ALTER TABLE users ENABLE ALWAYS TRIGGER users_fence_existence;

-- What is to be told to every node (ADR 0023): written by the triggers below in the transaction that changes something,
-- whoever's it is, and removed once it is told (storage/sql/changes.sql). No secret and no name, only kinds and ids.
-- They also notify who listens (ADR 0010), if and only if it is committed.
CREATE TABLE changes (
    change_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       varchar(32) NOT NULL,
    subject_id uuid
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

CREATE FUNCTION note_revoked_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO changes (kind, subject_id) VALUES ('session_revoked', NEW.session_id);
    PERFORM pg_notify('tidegate_revoked', NEW.session_id::text);
    RETURN NULL;
END
$$;
CREATE FUNCTION note_changed_profile() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO changes (kind, subject_id) VALUES ('profile_changed', NEW.userid);
    PERFORM pg_notify('tidegate_profile', NEW.userid::text);
    RETURN NULL;
END
$$;
CREATE FUNCTION note_added_users() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF (SELECT count(*) FROM (SELECT FROM added LIMIT 1001) AS counted) > 1000 THEN
        INSERT INTO changes (kind) VALUES ('users_added');
    ELSE
        INSERT INTO changes (kind, subject_id) SELECT 'user_added', userid FROM added;
    END IF;
    RETURN NULL;
END
$$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION note_revoked_session() SET search_path TO %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION note_changed_profile() SET search_path TO %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION note_added_users() SET search_path TO %I, pg_temp', current_schema());
END
$$;

-- A refresh, which is the hot path, sets none of these columns and fires nothing.
CREATE TRIGGER sessions_note_revoked AFTER UPDATE OF revoked_at ON sessions
    FOR EACH ROW WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION note_revoked_session();
CREATE TRIGGER users_note_changed AFTER UPDATE OF username, email, phone_number, full_name, birth_date ON users
    FOR EACH ROW EXECUTE FUNCTION note_changed_profile();
CREATE TRIGGER users_note_added AFTER INSERT ON users
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_added_users();
ALTER TABLE sessions ENABLE ALWAYS TRIGGER sessions_note_revoked;
ALTER TABLE users ENABLE ALWAYS TRIGGER users_note_changed;
ALTER TABLE users ENABLE ALWAYS TRIGGER users_note_added;

-- What is given away, to whom and until when (DESIGN 5.8, ADR 0027). All times are the primary's, whose clock alone decides.
-- rank_by: who comes first, by first login or by registration; then a seat is held for seat_hours until its first login.
-- passes_on: whether the seat of a voided coupon goes to the next. issued and held count seats, by the triggers of grants: so
-- the cap holds whoever writes. A campaign is never removed.
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

-- Who registered through a campaign within its window, written by the registration itself. login_job: the job of the first
-- login ever, whose id is the place in the line (ADR 0027); written when that job is done, lowered if an earlier one turns up.
-- No foreign key on campaign_id: it would lock one row for each of 100,000, and campaigns are not removed.
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

-- Who got a seat, and what became of it: the truth about coupons, which users.discount only mirrors. state: held (a seat without
-- a coupon), lapsed (it was), granted, voided (the seat stays taken), returned (voided, and the seat is free again). rank: the
-- place in the line, login_job or entrant_id. No foreign key on user_id: what was granted outlives its user.
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
CREATE INDEX grants_returned ON grants (campaign_id, voided_at) WHERE state = 'returned';

-- A login whose job is dead counts for its place in the line all the same.
CREATE INDEX dead_jobs_logins ON dead_jobs (job_id) WHERE kind = 'login_succeeded';

-- One row of campaigns is changed once a statement, however many grants that writes.
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

-- Files of users that were imported, or are being so (ADR 0029). digest: SHA-256 of the file. Written by the transaction of each
-- batch of users: bytes_done and lines_done tell where the same file goes on, so nobody is added twice or left out.
CREATE TABLE imports (
    digest     bytea PRIMARY KEY,
    bytes_done bigint NOT NULL,
    lines_done bigint NOT NULL,
    added      bigint NOT NULL DEFAULT 0,
    refused    bigint NOT NULL DEFAULT 0,
    began_at   timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);
