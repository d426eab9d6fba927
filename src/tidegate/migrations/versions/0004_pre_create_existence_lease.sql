-- What the existence filter needs to know that nobody adds users behind its back (DESIGN 5.2, ADR 0014).
-- Locks: SHARE ROW EXCLUSIVE on users for CREATE TRIGGER, ACCESS EXCLUSIVE for DROP; milliseconds once it is granted.
-- pre: the running release survives it; whom it adds is added without a note, which is waited for where somebody decides alone.

-- migrate:up
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

-- migrate:down
DROP TRIGGER users_fence_existence ON users;
DROP FUNCTION fence_existence();
DROP SEQUENCE existence_lease;
