-- +goose Up
CREATE TABLE event (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: cursors outlive rows
    txid    INTEGER NOT NULL DEFAULT 0,        -- PostgreSQL's; one writer at a time needs none
    at      TEXT    NOT NULL,
    kind    TEXT    NOT NULL,                  -- "build.created", "task.leased" …
    topic   TEXT    NOT NULL,                  -- what it is about: "build:7", "release:3"
    actor   TEXT    NOT NULL,                  -- who did it, as auth.Actor spells itself
    data    TEXT    NOT NULL DEFAULT '{}'      -- JSON, read only in Go
) STRICT;
CREATE INDEX event_order ON event (txid, id);
CREATE INDEX event_topic ON event (topic, txid, id);

CREATE TABLE event_cursor (
    name     TEXT    PRIMARY KEY, -- the follower's
    event_id INTEGER NOT NULL     -- the last that it has dealt with
) STRICT;
