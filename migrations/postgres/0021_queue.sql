-- +goose Up
ALTER TABLE task ADD COLUMN key TEXT NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN expected BIGINT NOT NULL DEFAULT 2147483647;
ALTER TABLE task ADD COLUMN chain BIGINT NOT NULL DEFAULT 2147483647;
ALTER TABLE task ADD COLUMN infra BIGINT NOT NULL DEFAULT 0;

DROP INDEX task_ready;
CREATE INDEX task_ready ON task (state, class, priority DESC, chain DESC, id);

CREATE INDEX attempt_ended ON attempt (ended_at);
CREATE INDEX attempt_worker ON attempt (worker_id, ended_at);

CREATE TABLE task_history (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    runs TEXT NOT NULL,
    median BIGINT NOT NULL,
    PRIMARY KEY (kind, key)
);
