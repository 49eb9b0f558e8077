-- +goose Up
-- The public logs of releases, one after the other: the last is the one that is appended
-- to. What was published of a log is remembered, so that one that was put back is noticed.
CREATE TABLE transparency_log (
    id         INTEGER PRIMARY KEY,
    origin     TEXT    NOT NULL UNIQUE,
    vkey       TEXT    NOT NULL,
    size       INTEGER NOT NULL, -- leaves of the checkpoint
    root       TEXT    NOT NULL, -- hash over them; '' before the first
    checkpoint TEXT    NOT NULL, -- as it was signed
    begun_at   TEXT    NOT NULL
) STRICT;

-- Released packages on their way into a log, and from there to their place beside the
-- package. A step that was done isn't undone.
CREATE TABLE transparency_leaf (
    id           INTEGER PRIMARY KEY,
    release_id   INTEGER NOT NULL REFERENCES release (id),
    product      TEXT    NOT NULL,
    package      TEXT    NOT NULL, -- sha256 of the signed package
    step         INTEGER NOT NULL CHECK (step BETWEEN 1 AND 6), -- waits, stated, logged, proven, asked, laid
    leaf         TEXT    NOT NULL, -- what the log says, once the statements are in the ledger
    statements   TEXT,             -- sha256 of the files beside the package
    ledger_proof TEXT,
    log_proof    TEXT,
    log_id       INTEGER REFERENCES transparency_log (id),
    place        INTEGER,          -- the leaf's index in the log
    task_id      INTEGER NOT NULL, -- that lays the files; 0 before
    changed_at   TEXT    NOT NULL,
    UNIQUE (release_id, package)
) STRICT;
CREATE INDEX transparency_leaf_step ON transparency_leaf (step, id);
CREATE INDEX transparency_leaf_place ON transparency_leaf (log_id, place);
CREATE INDEX transparency_leaf_task ON transparency_leaf (task_id);

-- The names under which the package of a leaf was released.
CREATE TABLE transparency_name (
    leaf_id INTEGER NOT NULL REFERENCES transparency_leaf (id),
    path    TEXT    NOT NULL, -- of the repository
    file    TEXT    NOT NULL,
    PRIMARY KEY (leaf_id, path, file)
) STRICT;

-- Releasers lay beside packages what is told of them.
UPDATE worker SET labels = replace(labels, '"kind:prune"', '"kind:prune","kind:prove"');
