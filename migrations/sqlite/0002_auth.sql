-- +goose Up
CREATE TABLE account (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    created_at  TEXT NOT NULL,
    disabled_at TEXT
) STRICT;

CREATE TABLE team (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL
) STRICT;

-- team_id is NULL exactly for the global roles.
CREATE TABLE account_role (
    id         INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id),
    role       TEXT    NOT NULL CHECK (role IN ('contributor', 'product_maintainer', 'signer', 'operator', 'admin')),
    team_id    INTEGER REFERENCES team (id),
    CHECK ((team_id IS NULL) = (role IN ('operator', 'admin')))
) STRICT;
CREATE UNIQUE INDEX account_role_once ON account_role (account_id, role, COALESCE(team_id, 0));
CREATE INDEX account_role_team ON account_role (team_id);

CREATE TABLE token (
    id         INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id),
    hash       TEXT    NOT NULL UNIQUE, -- sha256 of the token, the token itself is nowhere
    prefix     TEXT    NOT NULL,
    note       TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    used_at    TEXT,                    -- rounded down to the hour
    expires_at TEXT    NOT NULL,
    revoked_at TEXT
) STRICT;
CREATE INDEX token_account ON token (account_id, id);

-- A session lives no longer than its token is unrevoked.
CREATE TABLE session (
    hash       TEXT    NOT NULL PRIMARY KEY,
    token_id   INTEGER NOT NULL REFERENCES token (id),
    created_at TEXT    NOT NULL,
    expires_at TEXT    NOT NULL
) STRICT;
CREATE INDEX session_token ON session (token_id);
CREATE INDEX session_expires ON session (expires_at);

CREATE TABLE worker (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    role        TEXT NOT NULL,
    labels      TEXT NOT NULL,        -- JSON list, the bound of what the worker may offer
    hash        TEXT UNIQUE,          -- NULL for a worker of the master's own process
    prefix      TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    used_at     TEXT,
    disabled_at TEXT
) STRICT;

CREATE TABLE approval (
    id         INTEGER PRIMARY KEY,
    subject    TEXT    NOT NULL,      -- "release:3"
    digest     TEXT    NOT NULL,      -- of the effects that the person saw
    account_id INTEGER NOT NULL REFERENCES account (id),
    note       TEXT    NOT NULL,
    at         TEXT    NOT NULL,
    expires_at TEXT    NOT NULL,
    UNIQUE (subject, digest, account_id)
) STRICT;
CREATE INDEX approval_account ON approval (account_id);
