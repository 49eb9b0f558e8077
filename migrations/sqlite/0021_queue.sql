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

-- How long the last successful runs of a key took.
CREATE TABLE task_history (
    kind   TEXT    NOT NULL,
    key    TEXT    NOT NULL,
    runs   TEXT    NOT NULL, -- seconds of the last nine, the newest last, separated by spaces
    median INTEGER NOT NULL, -- of these
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
