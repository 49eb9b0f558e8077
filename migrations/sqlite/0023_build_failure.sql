-- +goose Up
-- Why attempts failed, as their logs told when they ended.
CREATE TABLE build_failure (
    task_id  INTEGER NOT NULL REFERENCES build_task (task_id),
    attempt  INTEGER NOT NULL, -- number
    build_id INTEGER NOT NULL REFERENCES build (id),
    kind     TEXT NOT NULL,
    cause    TEXT NOT NULL,    -- JSON of failure.Cause, read only in Go
    PRIMARY KEY (task_id, attempt)
) STRICT;
CREATE INDEX build_failure_build ON build_failure (build_id, task_id);
