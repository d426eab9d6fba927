-- Who can log in, and the coupons of campaigns.
-- Locks: only on the tables it creates, which nobody knows yet; up in milliseconds. Down takes ACCESS EXCLUSIVE on both.
-- pre: the running release survives it.

-- migrate:up
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

CREATE TABLE coupons (
    couponid        uuid PRIMARY KEY,
    code            varchar(255) NOT NULL CONSTRAINT coupons_code_unique UNIQUE,
    discount        decimal(5, 2) NOT NULL,
    expiration_date date,
    created_at      timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

-- migrate:down
DROP TABLE coupons;
DROP TABLE users;
