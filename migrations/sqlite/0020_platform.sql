-- +goose Up
-- Append only, as platforms are.
CREATE TABLE flavour (
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

ALTER TABLE build ADD COLUMN flavours TEXT NOT NULL DEFAULT '[]'; -- JSON: names and revisions, in the order given
ALTER TABLE build ADD COLUMN linked TEXT NOT NULL DEFAULT '[]';   -- JSON: builds and the snapshots taken of them
ALTER TABLE build ADD COLUMN secure_boot INTEGER NOT NULL DEFAULT 0 CHECK (secure_boot IN (0, 1));
ALTER TABLE build_item ADD COLUMN options TEXT NOT NULL DEFAULT '{}'; -- JSON: the package's own, beside the build's
ALTER TABLE build_item ADD COLUMN target TEXT NOT NULL DEFAULT '{}';  -- JSON: what the platform said of arches
ALTER TABLE build_item ADD COLUMN srpm_url TEXT NOT NULL DEFAULT '';  -- where an SRPM was fetched, '' for others
ALTER TABLE build_item ADD COLUMN noarch TEXT NOT NULL DEFAULT '[]';   -- JSON: in what its noarch packages differed between arches
ALTER TABLE build_task ADD COLUMN told INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1)); -- whether a rebuild's packages are settled, and others were told
