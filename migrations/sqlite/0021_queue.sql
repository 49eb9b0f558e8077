-- +goose Up
ALTER TABLE task ADD COLUMN key TEXT NOT NULL DEFAULT '';                    -- what past runs of the like are known by
ALTER TABLE task ADD COLUMN expected INTEGER NOT NULL DEFAULT 2147483647;    -- seconds, the median of those; 2147483647 without history
ALTER TABLE task ADD COLUMN chain INTEGER NOT NULL DEFAULT 2147483647;       -- expected, and that of the longest chain behind it; likewise
ALTER TABLE task ADD COLUMN infra INTEGER NOT NULL DEFAULT 0;                -- attempts since the last retry that were reported as infra

-- Within a class the longest chain first: a task without history may be the longest.
DROP INDEX task_ready;
CREATE INDEX task_ready ON task (state, class, priority DESC, chain DESC, id);

-- What was used of late, and what a worker lost of late.
CREATE INDEX attempt_ended ON attempt (ended_at);
CREATE INDEX attempt_worker ON attempt (worker_id, ended_at);

-- What workers offered last, and what operators and the queue decided about them.
CREATE TABLE queue_worker (
    worker_id         INTEGER PRIMARY KEY,       -- of auth
    name              TEXT    NOT NULL,
    version           TEXT    NOT NULL,
    labels            TEXT    NOT NULL,          -- sorted, separated by spaces
    cores             INTEGER NOT NULL,          -- 0: unknown, likewise the next two
    memory            INTEGER NOT NULL,
    disk              INTEGER NOT NULL,
    seen_at           TEXT    NOT NULL,
    exclude           TEXT    NOT NULL DEFAULT '', -- patterns of tasks that it is not to have, separated by spaces
    drained_at        TEXT,                      -- since when it gets nothing by an operator's word
    drain_reason      TEXT    NOT NULL DEFAULT '',
    drained_by        TEXT    NOT NULL DEFAULT '',
    quarantined_at    TEXT,                      -- since when it gets nothing for what it lost
    quarantine_reason TEXT    NOT NULL DEFAULT '',
    lifted_at         TEXT                       -- what it lost before then counts no more
) STRICT;
CREATE INDEX queue_worker_name ON queue_worker (name);
