-- +goose Up
CREATE TABLE repository (
    name     TEXT    NOT NULL PRIMARY KEY,
    snapshot TEXT,                          -- digest of the current snapshot, NULL for the empty one
    serial   INTEGER NOT NULL,              -- counts the advances
    at       TEXT    NOT NULL
) STRICT;

-- Every tree that a product has shown, in order; exactly the last one is current.
CREATE TABLE tree (
    product TEXT    NOT NULL,
    serial  INTEGER NOT NULL CHECK (serial > 0),
    digest  TEXT    NOT NULL,
    at      TEXT    NOT NULL,
    current INTEGER NOT NULL CHECK (current IN (0, 1)),
    PRIMARY KEY (product, serial)
) STRICT;
CREATE UNIQUE INDEX tree_current ON tree (product) WHERE current = 1;
