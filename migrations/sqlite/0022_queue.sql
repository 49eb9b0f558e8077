-- +goose Up
-- How long the last successful runs of a key took.
CREATE TABLE task_history (
    kind   TEXT    NOT NULL,
    key    TEXT    NOT NULL,
    runs   TEXT    NOT NULL, -- seconds of the last nine, the newest last, separated by spaces
    median INTEGER NOT NULL, -- of these
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
