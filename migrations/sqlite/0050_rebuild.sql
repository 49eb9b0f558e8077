-- +goose Up
-- Builds that were done once more, and how what came out compares with what there was.
CREATE TABLE rebuild (
    id         INTEGER PRIMARY KEY,
    task_id    INTEGER NOT NULL UNIQUE, -- that does it
    build_id   INTEGER NOT NULL REFERENCES build (id),
    of_task    INTEGER NOT NULL,        -- the task that built, and which attempt at it
    of_attempt INTEGER NOT NULL,
    platform   TEXT    NOT NULL,
    arch       TEXT    NOT NULL,
    built_on   TEXT    NOT NULL,        -- the node that built
    built_in   TEXT    NOT NULL,        -- the buildroot record of that
    needs      TEXT    NOT NULL,        -- what was asked of the node, beside what the build needs
    requester_id INTEGER NOT NULL,
    requester  TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    ended_at   TEXT,                    -- NULL while it is under way
    node       TEXT    NOT NULL DEFAULT '',
    record     TEXT,                    -- the buildroot record of the rebuild
    verdict    TEXT    NOT NULL DEFAULT '',
    reason     TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX rebuild_build ON rebuild (build_id);
CREATE INDEX rebuild_of ON rebuild (of_task, of_attempt);

CREATE TABLE rebuild_package (
    rebuild_id INTEGER NOT NULL REFERENCES rebuild (id),
    digest     TEXT    NOT NULL, -- the package that was built
    name       TEXT    NOT NULL,
    rebuilt    TEXT,             -- the file that the rebuild left of that name
    verdict    TEXT    NOT NULL DEFAULT '',
    differing  TEXT    NOT NULL DEFAULT 'null', -- JSON list
    ignored    TEXT    NOT NULL DEFAULT 'null', -- JSON list
    PRIMARY KEY (rebuild_id, digest)
) STRICT;
CREATE INDEX rebuild_package_digest ON rebuild_package (digest);

-- What a rebuild left: logs, its record, and packages that differ, for people to look at.
CREATE TABLE rebuild_file (
    rebuild_id INTEGER NOT NULL REFERENCES rebuild (id),
    attempt    INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    PRIMARY KEY (rebuild_id, attempt, name)
) STRICT;

-- Nodes do builds once more.
UPDATE worker SET labels = replace(labels, '"kind:build"', '"kind:build","kind:rebuild"');
