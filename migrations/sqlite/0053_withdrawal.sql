-- +goose Up
-- What a product showed before a release of it and not behind that, in a repository.
CREATE TABLE withdrawn_package (
    release_id INTEGER NOT NULL REFERENCES release (id),
    path       TEXT    NOT NULL, -- of the repository
    file       TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    PRIMARY KEY (release_id, path, file)
) STRICT;

-- Leaves are of released packages or of withdrawn ones, and one release may have both of one
-- package. SQLite changes a constraint by a new table only.
CREATE TABLE transparency_leaf_new (
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
    withdrawn    INTEGER NOT NULL DEFAULT 0 CHECK (withdrawn IN (0, 1)), -- nothing is laid of these
    UNIQUE (release_id, package, withdrawn)
) STRICT;
INSERT INTO transparency_leaf_new (id, release_id, product, package, step, leaf, statements, ledger_proof, log_proof, log_id, place, task_id, changed_at)
    SELECT id, release_id, product, package, step, leaf, statements, ledger_proof, log_proof, log_id, place, task_id, changed_at FROM transparency_leaf;
CREATE TABLE transparency_name_new (
    leaf_id INTEGER NOT NULL REFERENCES transparency_leaf_new (id),
    path    TEXT    NOT NULL, -- of the repository
    file    TEXT    NOT NULL,
    PRIMARY KEY (leaf_id, path, file)
) STRICT;
INSERT INTO transparency_name_new (leaf_id, path, file) SELECT leaf_id, path, file FROM transparency_name;
DROP TABLE transparency_name;
DROP TABLE transparency_leaf;
ALTER TABLE transparency_leaf_new RENAME TO transparency_leaf;
ALTER TABLE transparency_name_new RENAME TO transparency_name;
CREATE INDEX transparency_leaf_step ON transparency_leaf (step, id);
CREATE INDEX transparency_leaf_place ON transparency_leaf (log_id, place);
CREATE INDEX transparency_leaf_task ON transparency_leaf (task_id);
CREATE INDEX transparency_leaf_package ON transparency_leaf (package, id);
