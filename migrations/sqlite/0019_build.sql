-- +goose Up
ALTER TABLE build ADD COLUMN ordering TEXT NOT NULL DEFAULT 'listed'; -- auto, listed or independent
ALTER TABLE build ADD COLUMN request TEXT NOT NULL DEFAULT ''; -- JSON of what was asked for; '' of builds that are older than this
ALTER TABLE build ADD COLUMN deleted_at TEXT; -- NULL unless it was deleted
ALTER TABLE build ADD COLUMN deleted_by TEXT NOT NULL DEFAULT '';

ALTER TABLE build_item ADD COLUMN facts TEXT; -- JSON list of what the spec file says for each arch, once it was asked
ALTER TABLE build_item ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0 CHECK (dropped IN (0, 1)); -- cancelled by itself: the others don't wait for it

-- A fresh SRPM has new tasks; those before keep their logs and count no more. The packages
-- that gave way to it have the kind 'replaced' in build_artifact, and no arch.
ALTER TABLE build_task ADD COLUMN superseded INTEGER NOT NULL DEFAULT 0 CHECK (superseded IN (0, 1));

-- The order of a platform's rebuilds, where it is found out.
CREATE TABLE build_graph (
    build_id INTEGER NOT NULL REFERENCES build (id),
    platform TEXT NOT NULL,
    task_id  INTEGER NOT NULL, -- that finds it
    graph    TEXT, -- JSON, once it is found
    PRIMARY KEY (build_id, platform)
) STRICT;
