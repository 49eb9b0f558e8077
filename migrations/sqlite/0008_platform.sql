-- +goose Up
-- Append only: the platform as it is now is its highest revision.
CREATE TABLE platform (
    id       INTEGER NOT NULL,               -- the same in all revisions of a name
    name     TEXT    NOT NULL,
    revision INTEGER NOT NULL CHECK (revision > 0),
    digest   TEXT    NOT NULL,               -- sha256 of spec
    spec     TEXT    NOT NULL,               -- JSON, read only in Go
    actor    TEXT    NOT NULL,
    at       TEXT    NOT NULL,
    PRIMARY KEY (name, revision),
    UNIQUE (id, revision)
) STRICT;

-- The last repomd.xml that was seen at an outside repository.
CREATE TABLE mirror_pin (
    url    TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL,
    at     TEXT NOT NULL
) STRICT;
