-- +goose Up
-- Public parts only; the private ones never leave the signer.
CREATE TABLE sign_key (
    fingerprint TEXT    PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE,
    user_id     TEXT    NOT NULL,
    algorithm   TEXT    NOT NULL,
    products    TEXT    NOT NULL, -- JSON list of those that it may sign for; [] is any
    public      TEXT    NOT NULL, -- ASCII-armored
    created_at  TEXT    NOT NULL,
    active      INTEGER NOT NULL CHECK (active IN (0, 1))
) STRICT;

CREATE TABLE sign_keygen (
    task_id     INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    algorithm   TEXT    NOT NULL,
    products    TEXT    NOT NULL,
    requester   TEXT    NOT NULL,
    created_at  TEXT    NOT NULL,
    ended       INTEGER NOT NULL CHECK (ended IN (0, 1)),
    fingerprint TEXT              -- once the key is there
) STRICT;
CREATE UNIQUE INDEX sign_keygen_open ON sign_keygen (name) WHERE NOT ended;

-- Somebody's wish to have a build signed with a key.
CREATE TABLE sign_request (
    id         INTEGER PRIMARY KEY,
    build_id   INTEGER NOT NULL REFERENCES build (id),
    key        TEXT    NOT NULL REFERENCES sign_key (fingerprint),
    product    TEXT    NOT NULL,
    requester  TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    ended      INTEGER NOT NULL CHECK (ended IN (0, 1))
) STRICT;
CREATE INDEX sign_request_build ON sign_request (build_id, id);
CREATE UNIQUE INDEX sign_request_open ON sign_request (build_id, key) WHERE NOT ended;

CREATE TABLE sign_task (
    task_id    INTEGER PRIMARY KEY,
    request_id INTEGER NOT NULL REFERENCES sign_request (id),
    ended      INTEGER NOT NULL CHECK (ended IN (0, 1))
) STRICT;
CREATE INDEX sign_task_request ON sign_task (request_id);

CREATE TABLE sign_package (
    task_id  INTEGER NOT NULL REFERENCES sign_task (task_id),
    unsigned TEXT    NOT NULL,
    kind     TEXT    NOT NULL, -- rpm, srpm
    name     TEXT    NOT NULL,
    size     INTEGER NOT NULL,
    PRIMARY KEY (task_id, unsigned)
) STRICT;

-- The one signed copy of a package by a key.
CREATE TABLE signed_package (
    unsigned TEXT NOT NULL,
    key      TEXT NOT NULL REFERENCES sign_key (fingerprint),
    signed   TEXT NOT NULL,
    at       TEXT NOT NULL,
    PRIMARY KEY (unsigned, key)
) STRICT;

CREATE TABLE sign_document (
    task_id INTEGER PRIMARY KEY,
    digest  TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    size    INTEGER NOT NULL,
    key     TEXT    NOT NULL REFERENCES sign_key (fingerprint),
    product TEXT    NOT NULL,
    ended   INTEGER NOT NULL CHECK (ended IN (0, 1)) -- without a signature
) STRICT;
CREATE UNIQUE INDEX sign_document_open ON sign_document (digest, key) WHERE NOT ended;

-- The one detached signature of a document by a key.
CREATE TABLE document_signature (
    digest  TEXT NOT NULL,
    key     TEXT NOT NULL REFERENCES sign_key (fingerprint),
    armored TEXT NOT NULL,
    at      TEXT NOT NULL,
    PRIMARY KEY (digest, key)
) STRICT;
