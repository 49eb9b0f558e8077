-- +goose Up
-- Statements speak of git commits by the sha256 of their objects; this finds them by
-- git's own names.
CREATE TABLE statement_commit (
    commit_id TEXT NOT NULL,
    subject   TEXT NOT NULL, -- sha256
    PRIMARY KEY (commit_id, subject)
) STRICT;

-- The commits that were notarized, for lists: what is true of one, its statements say.
CREATE TABLE source_commit (
    id           INTEGER PRIMARY KEY,
    repository   TEXT    NOT NULL, -- URL
    commit_id    TEXT    NOT NULL,
    subject      TEXT    NOT NULL, -- sha256 of its object
    ref          TEXT    NOT NULL, -- in whose history it was found first
    author       TEXT    NOT NULL,
    title        TEXT    NOT NULL, -- the first line of its message
    committed_at TEXT,
    notarized_at TEXT    NOT NULL,
    UNIQUE (repository, commit_id)
) STRICT;
CREATE INDEX source_commit_page ON source_commit (repository, id);

-- What refs named whenever somebody had them notarized: the last row of one is its state.
CREATE TABLE source_ref (
    id         INTEGER PRIMARY KEY,
    repository TEXT    NOT NULL,
    ref        TEXT    NOT NULL, -- full name
    commit_id  TEXT    NOT NULL,
    previous   TEXT    NOT NULL, -- the commit of the row before, "" of the first
    rewritten  INTEGER NOT NULL CHECK (rewritten IN (0, 1)), -- previous doesn't come before commit_id
    actor      TEXT    NOT NULL,
    at         TEXT    NOT NULL
) STRICT;
CREATE INDEX source_ref_state ON source_ref (repository, ref, id);
