-- +goose Up
CREATE TABLE fleet_worker (
    worker_id BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    labels TEXT NOT NULL,
    cores BIGINT NOT NULL,
    memory BIGINT NOT NULL,
    disk BIGINT NOT NULL,
    pause TEXT NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    exclude TEXT NOT NULL DEFAULT '',
    drained_at TIMESTAMPTZ,
    drain_reason TEXT NOT NULL DEFAULT '',
    drained_by TEXT NOT NULL DEFAULT '',
    quarantined_at TIMESTAMPTZ,
    quarantine_reason TEXT NOT NULL DEFAULT '',
    lifted_at TIMESTAMPTZ
);
CREATE INDEX fleet_worker_name ON fleet_worker (name);
