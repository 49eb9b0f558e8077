-- +goose Up
-- A run tests a part of what a rebuild left, in stages. SQLite changes a constraint by a
-- new table only.
CREATE TABLE test_run_new (
    id            INTEGER PRIMARY KEY,
    build_id      INTEGER NOT NULL REFERENCES build (id),
    item_id       INTEGER NOT NULL REFERENCES build_item (id),
    build_task_id INTEGER NOT NULL,        -- whose packages are tested
    revision      INTEGER NOT NULL,        -- 1 for the first; a restart makes the next
    part          INTEGER NOT NULL,        -- of the revision, from 1: a task tests so many packages and no more
    task_id       INTEGER NOT NULL UNIQUE, -- the test task
    platform      TEXT    NOT NULL,
    arch          TEXT    NOT NULL,
    created_at    TEXT    NOT NULL,
    UNIQUE (build_task_id, revision, part)
) STRICT;
INSERT INTO test_run_new (id, build_id, item_id, build_task_id, revision, part, task_id, platform, arch, created_at)
    SELECT id, build_id, item_id, build_task_id, revision, 1, task_id, platform, arch, created_at FROM test_run;

CREATE TABLE test_package_new (
    run_id INTEGER NOT NULL REFERENCES test_run_new (id),
    digest TEXT    NOT NULL,
    nevra  TEXT    NOT NULL,
    PRIMARY KEY (run_id, digest)
) STRICT;
INSERT INTO test_package_new (run_id, digest, nevra) SELECT run_id, digest, nevra FROM test_package;

-- What a stage of a package's test came to.
CREATE TABLE test_stage (
    run_id     INTEGER NOT NULL REFERENCES test_run_new (id),
    digest     TEXT    NOT NULL, -- the package
    n          INTEGER NOT NULL, -- in the order in which they were carried out
    stage      TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    started_at TEXT,             -- by the tester's clock
    millis     INTEGER NOT NULL,
    log        TEXT    NOT NULL, -- the name of its own among the run's; '' for none
    PRIMARY KEY (run_id, digest, n),
    UNIQUE (run_id, digest, stage)
) STRICT;
-- Before, a package's test had the cases install, files, libraries and remove, and ended
-- with the first that failed.
INSERT INTO test_stage (run_id, digest, n, stage, status, reason, started_at, millis, log)
    SELECT run_id, digest, min(n),
        CASE WHEN name IN ('files', 'libraries') THEN 'integrity' ELSE name END,
        CASE min(ok) WHEN 1 THEN 'passed' ELSE 'failed' END,
        substr(max(CASE ok WHEN 1 THEN '' ELSE detail END), 1, 500), NULL, 0, ''
    FROM test_case GROUP BY run_id, digest, CASE WHEN name IN ('files', 'libraries') THEN 'integrity' ELSE name END;

CREATE TABLE test_case_new (
    run_id INTEGER NOT NULL REFERENCES test_run_new (id),
    n      INTEGER NOT NULL, -- in the order told
    digest TEXT    NOT NULL, -- the package
    stage  TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    status TEXT    NOT NULL,
    detail TEXT    NOT NULL,
    millis INTEGER NOT NULL,
    PRIMARY KEY (run_id, n)
) STRICT;
INSERT INTO test_case_new (run_id, n, digest, stage, name, status, detail, millis)
    SELECT run_id, n, digest, 'integrity', name, CASE ok WHEN 1 THEN 'passed' ELSE 'failed' END, detail, 0
    FROM test_case WHERE name IN ('files', 'libraries');

CREATE TABLE test_log_new (
    run_id  INTEGER NOT NULL REFERENCES test_run_new (id),
    attempt INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    digest  TEXT    NOT NULL,
    size    INTEGER NOT NULL,
    PRIMARY KEY (run_id, attempt, name)
) STRICT;
INSERT INTO test_log_new (run_id, attempt, name, digest, size) SELECT run_id, attempt, name, digest, size FROM test_log;

DROP TABLE test_log;
DROP TABLE test_case;
DROP TABLE test_package;
DROP TABLE test_run;
ALTER TABLE test_run_new RENAME TO test_run;
ALTER TABLE test_package_new RENAME TO test_package;
ALTER TABLE test_case_new RENAME TO test_case;
ALTER TABLE test_log_new RENAME TO test_log;
CREATE INDEX test_run_build ON test_run (build_id, id);
CREATE INDEX test_run_item ON test_run (item_id);
CREATE INDEX test_package_digest ON test_package (digest);

-- Stages that aren't carried out for packages of exactly that name on a platform.
CREATE TABLE test_skip (
    id         INTEGER PRIMARY KEY,
    platform   TEXT    NOT NULL,
    package    TEXT    NOT NULL, -- its name
    stage      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    UNIQUE (platform, package, stage)
) STRICT;
