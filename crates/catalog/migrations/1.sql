-- Portable SQL: SQLite here, PostgreSQL where there are many hosts. Names and hashes are
-- hexadecimal text, times are milliseconds since 1970, and ids are counted in the transaction that
-- inserts, because the two databases agree on no other way.

CREATE TABLE catalog (
    instance TEXT NOT NULL,
    owner TEXT NOT NULL
);

CREATE TABLE machines (
    machine TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    notes TEXT NOT NULL,
    tags TEXT NOT NULL,
    clipboard BOOLEAN NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE shares (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    machine TEXT NOT NULL,
    role TEXT NOT NULL,
    label TEXT NOT NULL,
    secret TEXT NOT NULL,
    password TEXT,
    past_from_ns BIGINT,
    created_unix_ms BIGINT NOT NULL,
    expires_unix_ms BIGINT,
    revoked_unix_ms BIGINT,
    opened BIGINT NOT NULL
);
CREATE INDEX shares_by_machine ON shares (machine, created_unix_ms);

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    secret TEXT NOT NULL UNIQUE,
    owner TEXT,
    name TEXT NOT NULL,
    hue BIGINT NOT NULL,
    created_unix_ms BIGINT NOT NULL,
    seen_unix_ms BIGINT NOT NULL
);
CREATE INDEX sessions_by_seen ON sessions (seen_unix_ms);

CREATE TABLE grants (
    session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    share TEXT NOT NULL REFERENCES shares (id) ON DELETE CASCADE,
    PRIMARY KEY (session, share)
);
CREATE INDEX grants_by_share ON grants (share);

CREATE TABLE audit (
    id BIGINT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    at_unix_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);

CREATE TABLE said (
    machine TEXT NOT NULL,
    id BIGINT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    hue BIGINT NOT NULL,
    body TEXT NOT NULL,
    at_unix_ms BIGINT NOT NULL,
    instant_ns BIGINT,
    PRIMARY KEY (machine, id)
);

CREATE TABLE answers (
    session TEXT NOT NULL,
    key TEXT NOT NULL,
    request TEXT NOT NULL,
    status BIGINT NOT NULL,
    body TEXT NOT NULL,
    at_unix_ms BIGINT NOT NULL,
    PRIMARY KEY (session, key)
);
CREATE INDEX answers_by_time ON answers (at_unix_ms);
