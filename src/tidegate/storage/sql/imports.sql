-- Imports and exports of users (ADR 0029). On the primary, on a connection of their own.

-- name: begin_import
-- Primary key. Whoever begins a second time changes nothing.
INSERT INTO imports (digest, bytes_done, lines_done) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: import_progress
-- Primary key.
SELECT bytes_done, lines_done, added, refused, ended_at FROM imports WHERE digest = $1;

-- name: forget_import
-- Primary key. Whom it added stays.
DELETE FROM imports WHERE digest = $1;

-- name: take_import
-- Primary key. Opens the transaction of a batch: of two processes that import one file the second waits here, and then finds
-- the file further than it knew.
SELECT bytes_done FROM imports WHERE digest = $1 FOR UPDATE;

-- name: note_import
-- Primary key. Only after take_import.
UPDATE imports SET bytes_done = $2, lines_done = $3, added = $4, refused = $5, ended_at = CASE WHEN $6 THEN now() END
WHERE digest = $1;

-- name: make_imported
-- Once a session. What COPY brings in before it is known who of them can be added.
CREATE TEMP TABLE imported (
    line         bigint NOT NULL,
    userid       uuid NOT NULL,
    username     varchar(255) COLLATE "C",
    email        varchar(255) COLLATE "C",
    phone_number varchar(255) COLLATE "C",
    password     varchar(512) NOT NULL,
    full_name    varchar(255),
    birth_date   date,
    last_login   timestamp
) ON COMMIT DELETE ROWS;

-- name: add_imported
-- Adds whom nobody stands in the way, in the order of the file, and returns the lines of the others; never an error, however many
-- come at once with the same names: the four unique indexes decide. Whoever adds one of the names at the same moment is waited
-- for. The triggers of users fire once for all: other nodes hear, and a node that decides alone gives way first (ADR 0014).
-- Two equal lines make one user: the first of them.
WITH added AS (
    INSERT INTO users (userid, username, email, phone_number, password, full_name, birth_date, last_login)
    SELECT userid, username, email, phone_number, password, full_name, birth_date, last_login FROM imported ORDER BY line
    ON CONFLICT DO NOTHING
    RETURNING userid, username, email, phone_number
), kept AS (
    SELECT min(line) AS line FROM imported JOIN added USING (userid)
    WHERE (imported.username, imported.email, imported.phone_number)
        IS NOT DISTINCT FROM (added.username, added.email, added.phone_number)
    GROUP BY userid
)
SELECT line FROM imported WHERE NOT EXISTS (SELECT FROM kept WHERE kept.line = imported.line) ORDER BY line;

-- name: why_not_imported
-- Only after add_imported, of the lines that it returned. Primary key and the three indexes of names.
SELECT line,
    EXISTS (SELECT FROM users WHERE users.userid = imported.userid) AS userid,
    EXISTS (SELECT FROM users WHERE users.username = imported.username) AS username,
    EXISTS (SELECT FROM users WHERE users.email = imported.email) AS email,
    EXISTS (SELECT FROM users WHERE users.phone_number = imported.phone_number) AS phone_number
FROM imported WHERE line = ANY($1::bigint[]) ORDER BY line;

-- name: make_rehearsed
-- Once a session. Whom an import that only looks would have added.
CREATE TEMP TABLE rehearsed (
    userid       uuid PRIMARY KEY,
    username     varchar(255) COLLATE "C" UNIQUE,
    email        varchar(255) COLLATE "C" UNIQUE,
    phone_number varchar(255) COLLATE "C" UNIQUE
);

-- name: rehearse_imported
-- As add_imported, but nothing is written to users.
WITH added AS (
    INSERT INTO rehearsed (userid, username, email, phone_number)
    SELECT userid, username, email, phone_number FROM imported
    WHERE NOT EXISTS (SELECT FROM users WHERE users.userid = imported.userid)
        AND NOT EXISTS (SELECT FROM users WHERE users.username = imported.username)
        AND NOT EXISTS (SELECT FROM users WHERE users.email = imported.email)
        AND NOT EXISTS (SELECT FROM users WHERE users.phone_number = imported.phone_number)
    ORDER BY line
    ON CONFLICT DO NOTHING
    RETURNING userid, username, email, phone_number
), kept AS (
    SELECT min(line) AS line FROM imported JOIN added USING (userid)
    WHERE (imported.username, imported.email, imported.phone_number)
        IS NOT DISTINCT FROM (added.username, added.email, added.phone_number)
    GROUP BY userid
)
SELECT line FROM imported WHERE NOT EXISTS (SELECT FROM kept WHERE kept.line = imported.line) ORDER BY line;

-- name: why_not_rehearsed
-- As why_not_imported.
WITH everybody AS NOT MATERIALIZED (
    SELECT userid, username, email, phone_number FROM users
    UNION ALL SELECT userid, username, email, phone_number FROM rehearsed
)
SELECT line,
    EXISTS (SELECT FROM everybody WHERE everybody.userid = imported.userid) AS userid,
    EXISTS (SELECT FROM everybody WHERE everybody.username = imported.username) AS username,
    EXISTS (SELECT FROM everybody WHERE everybody.email = imported.email) AS email,
    EXISTS (SELECT FROM everybody WHERE everybody.phone_number = imported.phone_number) AS phone_number
FROM imported WHERE line = ANY($1::bigint[]) ORDER BY line;

-- name: users_as_csv
-- The whole table, by COPY: one statement, hence one snapshot, however long whoever reads takes.
SELECT userid, username, email, phone_number, full_name, to_char(birth_date, 'YYYY-MM-DD') AS birthdate,
    to_char(last_login, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS last_login
FROM users;

-- name: users_and_hashes_as_csv
-- As users_as_csv.
SELECT userid, username, email, phone_number, password AS password_hash, full_name,
    to_char(birth_date, 'YYYY-MM-DD') AS birthdate, to_char(last_login, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS last_login
FROM users;

-- name: users_as_json
-- As users_as_csv.
SELECT json_strip_nulls(json_build_object(
    'userid', userid, 'username', username, 'email', email, 'phone_number', phone_number, 'full_name', full_name,
    'birthdate', to_char(birth_date, 'YYYY-MM-DD'), 'last_login', to_char(last_login, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
)) FROM users;

-- name: users_and_hashes_as_json
-- As users_as_csv.
SELECT json_strip_nulls(json_build_object(
    'userid', userid, 'username', username, 'email', email, 'phone_number', phone_number, 'password_hash', password,
    'full_name', full_name,
    'birthdate', to_char(birth_date, 'YYYY-MM-DD'), 'last_login', to_char(last_login, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
)) FROM users;
