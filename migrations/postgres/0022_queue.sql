-- +goose Up
CREATE TABLE task_history (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    runs TEXT NOT NULL,
    median BIGINT NOT NULL,
    PRIMARY KEY (kind, key)
);
