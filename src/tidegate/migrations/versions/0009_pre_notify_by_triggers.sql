-- What is revoked or changed by hand is told to who listens in the database too, as it is told through the queue (ADR 0010).
-- Locks: none but those of the functions' own rows; no time.
-- pre: the running release survives it. What it notifies itself is notified once: equal notices of a transaction are one.

-- migrate:up
CREATE OR REPLACE FUNCTION note_revoked_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO changes (kind, subject_id) VALUES ('session_revoked', NEW.session_id);
    PERFORM pg_notify('tidegate_revoked', NEW.session_id::text);
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION note_changed_profile() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO changes (kind, subject_id) VALUES ('profile_changed', NEW.userid);
    PERFORM pg_notify('tidegate_profile', NEW.userid::text);
    RETURN NULL;
END
$$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION note_revoked_session() SET search_path TO %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION note_changed_profile() SET search_path TO %I, pg_temp', current_schema());
END
$$;

-- migrate:down
CREATE OR REPLACE FUNCTION note_revoked_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO changes (kind, subject_id) VALUES ('session_revoked', NEW.session_id);
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION note_changed_profile() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO changes (kind, subject_id) VALUES ('profile_changed', NEW.userid);
    RETURN NULL;
END
$$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION note_revoked_session() SET search_path TO %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION note_changed_profile() SET search_path TO %I, pg_temp', current_schema());
END
$$;
