-- +goose Up
CREATE TABLE build (
    id         INTEGER PRIMARY KEY,
    key        TEXT UNIQUE,   -- the caller's idempotency key with its owner, NULL if none was given
    owner_id   INTEGER NOT NULL,
    owner      TEXT NOT NULL, -- the owner's name, for lists
    team       TEXT NOT NULL, -- of the product; '' without one
    product    TEXT NOT NULL, -- '' without one
    options    TEXT NOT NULL, -- JSON, read only in Go
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX build_owner ON build (owner_id, id);
CREATE INDEX build_product ON build (product, id);

CREATE TABLE build_item (
    id        INTEGER PRIMARY KEY,
    build_id  INTEGER NOT NULL REFERENCES build (id),
    place     INTEGER NOT NULL,   -- in the order asked for, from 0
    platform  TEXT NOT NULL,
    arches    TEXT NOT NULL, -- JSON list
    url       TEXT NOT NULL, -- '' for an SRPM
    ref       TEXT NOT NULL,
    ref_type  TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    package   TEXT NOT NULL, -- name; '' until it is known
    imported  TEXT,          -- JSON of albs.ImportResult, once there is one
    srpm      TEXT,          -- digest, once there is one
    srpm_name TEXT NOT NULL DEFAULT '',
    UNIQUE (build_id, place)
) STRICT;
CREATE INDEX build_item_package ON build_item (package, build_id);

CREATE TABLE build_task (
    task_id  INTEGER PRIMARY KEY,
    build_id INTEGER NOT NULL REFERENCES build (id),
    item_id  INTEGER NOT NULL REFERENCES build_item (id),
    kind     TEXT NOT NULL,
    arch     TEXT NOT NULL -- '' but for kind build
) STRICT;
CREATE INDEX build_task_build ON build_task (build_id, task_id);

CREATE TABLE build_artifact (
    build_id INTEGER NOT NULL REFERENCES build (id),
    item_id  INTEGER NOT NULL REFERENCES build_item (id),
    task_id  INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    digest   TEXT NOT NULL,
    kind     TEXT NOT NULL, -- rpm, srpm, log, record
    name     TEXT NOT NULL, -- file name
    arch     TEXT NOT NULL, -- the repository's arch: src for an SRPM, '' for what is in none
    PRIMARY KEY (build_id, task_id, attempt, name)
) STRICT;
CREATE INDEX build_artifact_digest ON build_artifact (digest);
