-- +goose Up
CREATE TABLE task (
    id            INTEGER PRIMARY KEY,
    kind          TEXT    NOT NULL,
    lane          TEXT    NOT NULL,                 -- whose work it is: lanes share the workers
    class         TEXT    NOT NULL,                 -- kind, lane and needs, a line each: what the dispatcher counts as alike
    topic         TEXT    NOT NULL,                 -- of its events
    spec          TEXT    NOT NULL,                 -- JSON, as enqueued; a claim's own is with the attempt
    priority      INTEGER NOT NULL,                 -- within its lane, higher first
    state         TEXT    NOT NULL CHECK (state IN
        ('blocked', 'queued', 'leased', 'stopping', 'succeeded', 'failed', 'excluded', 'cancelled')),
    reason        TEXT    NOT NULL DEFAULT '',      -- one line: why it is as it is
    cause_id      INTEGER REFERENCES task (id),     -- of a blocked task: the one that must be retried first
    fence         INTEGER NOT NULL DEFAULT 0,       -- the newest token's
    attempts      INTEGER NOT NULL DEFAULT 0,
    lost          INTEGER NOT NULL DEFAULT 0,       -- attempts since the last retry that ended without a word on the work
    worker_id     INTEGER,                          -- the newest attempt's
    worker        TEXT    NOT NULL DEFAULT '',
    lease_until   TEXT,
    not_before_at TEXT,
    created_at    TEXT    NOT NULL,
    started_at    TEXT,                             -- of the first claim
    changed_at    TEXT    NOT NULL                  -- of state
) STRICT;
CREATE INDEX task_ready ON task (state, class, priority DESC, id);
CREATE INDEX task_cause ON task (cause_id) WHERE cause_id IS NOT NULL;
CREATE INDEX task_state ON task (state, id);
CREATE INDEX task_topic ON task (topic, id);
CREATE INDEX task_lane ON task (lane, id);
CREATE INDEX task_kind ON task (kind, id);

CREATE TABLE task_after (
    task_id  INTEGER NOT NULL REFERENCES task (id),
    after_id INTEGER NOT NULL REFERENCES task (id),
    PRIMARY KEY (task_id, after_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_after_after ON task_after (after_id);

CREATE TABLE attempt (
    task_id    INTEGER NOT NULL REFERENCES task (id),
    fence      INTEGER NOT NULL,
    number     INTEGER NOT NULL,            -- 1 for the task's first
    worker_id  INTEGER NOT NULL,
    worker     TEXT    NOT NULL,
    spec       TEXT    NOT NULL DEFAULT '', -- JSON, as the worker got it; '' until it did
    evidence   TEXT    NOT NULL DEFAULT '', -- JSON
    claimed_at TEXT    NOT NULL,
    ended_at   TEXT,
    ended      TEXT    NOT NULL DEFAULT '', -- the event that ended it, of the state table
    outcome    TEXT    NOT NULL DEFAULT '', -- the worker's word; '' if it gave none
    result     TEXT,                        -- digest of what it reported, to know a repeated report
    reason     TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (task_id, fence)
) STRICT, WITHOUT ROWID;
