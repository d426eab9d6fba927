-- What one node changes and all others must hear of, whoever changes it (ADR 0023).
-- Locks: SHARE ROW EXCLUSIVE on sessions and users for CREATE TRIGGER, ACCESS EXCLUSIVE for DROP; milliseconds once granted.
-- pre: the running release survives it, and what it revokes, changes and adds is told too, for triggers do it.

-- migrate:up
CREATE TABLE changes (
    change_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       varchar(32) NOT NULL,
    subject_id uuid
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

CREATE FUNCTION note_revoked_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO changes (kind, subject_id) VALUES ('session_revoked', NEW.session_id);
    RETURN NULL;
END
$$;
CREATE FUNCTION note_changed_profile() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO changes (kind, subject_id) VALUES ('profile_changed', NEW.userid);
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

CREATE TRIGGER sessions_note_revoked AFTER UPDATE OF revoked_at ON sessions
    FOR EACH ROW WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION note_revoked_session();
CREATE TRIGGER users_note_changed AFTER UPDATE OF username, email, phone_number, full_name, birth_date ON users
    FOR EACH ROW EXECUTE FUNCTION note_changed_profile();
CREATE TRIGGER users_note_added AFTER INSERT ON users
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_added_users();
ALTER TABLE sessions ENABLE ALWAYS TRIGGER sessions_note_revoked;
ALTER TABLE users ENABLE ALWAYS TRIGGER users_note_changed;
ALTER TABLE users ENABLE ALWAYS TRIGGER users_note_added;

-- migrate:down
DROP TRIGGER users_note_added ON users;
DROP TRIGGER users_note_changed ON users;
DROP TRIGGER sessions_note_revoked ON sessions;
DROP FUNCTION note_added_users();
DROP FUNCTION note_changed_profile();
DROP FUNCTION note_revoked_session();
DROP TABLE changes;
