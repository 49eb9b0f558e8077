-- +goose Up
-- What workers offered last, and what operators and the queue decided about them.
CREATE TABLE fleet_worker (
    worker_id         INTEGER PRIMARY KEY,       -- of auth
    name              TEXT    NOT NULL,
    version           TEXT    NOT NULL,
    labels            TEXT    NOT NULL,          -- sorted, separated by spaces
    cores             INTEGER NOT NULL,          -- 0: unknown, likewise the next two
    memory            INTEGER NOT NULL,
    disk              INTEGER NOT NULL,
    pause             TEXT    NOT NULL,          -- why it takes nothing now, by its own word; '' if it does
    seen_at           TEXT    NOT NULL,
    exclude           TEXT    NOT NULL DEFAULT '', -- patterns of tasks that it is not to have, separated by spaces
    drained_at        TEXT,                      -- since when it gets nothing by an operator's word
    drain_reason      TEXT    NOT NULL DEFAULT '',
    drained_by        TEXT    NOT NULL DEFAULT '',
    quarantined_at    TEXT,                      -- since when it gets nothing for what it lost
    quarantine_reason TEXT    NOT NULL DEFAULT '',
    lifted_at         TEXT                       -- what it lost before then counts no more
) STRICT;
CREATE INDEX fleet_worker_name ON fleet_worker (name);
