-- +goose Up
-- What people plan, approve and publish; a rollback is a release of its own.
CREATE TABLE release (
    id          INTEGER PRIMARY KEY,
    kind        TEXT    NOT NULL CHECK (kind IN ('publish', 'rollback')),
    product     TEXT    NOT NULL,
    team        TEXT    NOT NULL,
    planner_id  INTEGER NOT NULL,
    planner     TEXT    NOT NULL,
    status      INTEGER NOT NULL CHECK (status BETWEEN 1 AND 5), -- scheduled, in progress, completed, failed, reverted
    reason      TEXT    NOT NULL, -- one line: why it failed, why its approvals are void
    plan        TEXT    NOT NULL, -- JSON, read only in Go
    digest      TEXT    NOT NULL, -- over the plan's effects
    expires_at  TEXT    NOT NULL,
    from_serial INTEGER NOT NULL, -- what the product showed when publication began
    serial      INTEGER NOT NULL, -- of its tree; 0 before publication began
    offered     INTEGER NOT NULL, -- the highest serial that a releaser was ever given for it
    back_to     INTEGER NOT NULL, -- of a rollback: the serial whose content it brings back
    files       TEXT    NOT NULL, -- JSON list of the tree's files beside repositories
    tree        TEXT,             -- digest of the tree's document, once it is sealed
    task_id     INTEGER NOT NULL, -- its publish task; 0 before
    created_at  TEXT    NOT NULL,
    changed_at  TEXT    NOT NULL
) STRICT;
CREATE INDEX release_product ON release (product, id);
CREATE INDEX release_task ON release (task_id);
CREATE UNIQUE INDEX release_in_progress ON release (product) WHERE status = 2;

CREATE TABLE release_build (
    release_id INTEGER NOT NULL REFERENCES release (id),
    build_id   INTEGER NOT NULL REFERENCES build (id),
    PRIMARY KEY (release_id, build_id)
) STRICT;
CREATE INDEX release_build_build ON release_build (build_id, release_id);

-- The repositories of a release's tree.
CREATE TABLE release_repository (
    release_id INTEGER NOT NULL REFERENCES release (id),
    path       TEXT    NOT NULL,
    snapshot   TEXT    NOT NULL,
    repomd     TEXT    NOT NULL,
    sealed     TEXT, -- the snapshot with its signature, once there is one
    PRIMARY KEY (release_id, path)
) STRICT;

-- Everything that was ever released: a file name never stands for other bytes.
CREATE TABLE released_package (
    product    TEXT    NOT NULL,
    path       TEXT    NOT NULL, -- of the repository
    file       TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    release_id INTEGER NOT NULL REFERENCES release (id), -- the first
    PRIMARY KEY (product, path, file)
) STRICT;
