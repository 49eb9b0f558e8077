-- +goose Up
ALTER TABLE task ADD COLUMN key TEXT NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN expected BIGINT NOT NULL DEFAULT 2147483647;
ALTER TABLE task ADD COLUMN chain BIGINT NOT NULL DEFAULT 2147483647;
ALTER TABLE task ADD COLUMN infra BIGINT NOT NULL DEFAULT 0;

DROP INDEX task_ready;
CREATE INDEX task_ready ON task (state, class, priority DESC, chain DESC, id);

CREATE INDEX attempt_ended ON attempt (ended_at);
CREATE INDEX attempt_worker ON attempt (worker_id, ended_at);

CREATE TABLE queue_worker (
    worker_id BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    labels TEXT NOT NULL,
    cores BIGINT NOT NULL,
    memory BIGINT NOT NULL,
    disk BIGINT NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    exclude TEXT NOT NULL DEFAULT '',
    drained_at TIMESTAMPTZ,
    drain_reason TEXT NOT NULL DEFAULT '',
    drained_by TEXT NOT NULL DEFAULT '',
    quarantined_at TIMESTAMPTZ,
    quarantine_reason TEXT NOT NULL DEFAULT '',
    lifted_at TIMESTAMPTZ
);
CREATE INDEX queue_worker_name ON queue_worker (name);
