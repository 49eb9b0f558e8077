-- +goose Up
CREATE TABLE test_run (
    id            INTEGER PRIMARY KEY,
    build_id      INTEGER NOT NULL REFERENCES build (id),
    item_id       INTEGER NOT NULL REFERENCES build_item (id),
    build_task_id INTEGER NOT NULL,        -- whose packages are tested
    revision      INTEGER NOT NULL,        -- 1 for the first; a restart makes the next
    task_id       INTEGER NOT NULL UNIQUE, -- the test task
    platform      TEXT    NOT NULL,
    arch          TEXT    NOT NULL,
    created_at    TEXT    NOT NULL,
    UNIQUE (build_task_id, revision)
) STRICT;
CREATE INDEX test_run_build ON test_run (build_id, id);

CREATE TABLE test_package (
    run_id INTEGER NOT NULL REFERENCES test_run (id),
    digest TEXT    NOT NULL,
    nevra  TEXT    NOT NULL,
    PRIMARY KEY (run_id, digest)
) STRICT;
CREATE INDEX test_package_digest ON test_package (digest);

CREATE TABLE test_case (
    run_id INTEGER NOT NULL REFERENCES test_run (id),
    n      INTEGER NOT NULL,        -- in the order told
    digest TEXT    NOT NULL,        -- the package
    name   TEXT    NOT NULL,
    ok     INTEGER NOT NULL CHECK (ok IN (0, 1)),
    detail TEXT    NOT NULL,
    PRIMARY KEY (run_id, n)
) STRICT;

CREATE TABLE test_log (
    run_id  INTEGER NOT NULL REFERENCES test_run (id),
    attempt INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    digest  TEXT    NOT NULL,
    size    INTEGER NOT NULL,
    PRIMARY KEY (run_id, attempt, name)
) STRICT;
