-- +goose Up
CREATE TABLE repository (
    name     TEXT        NOT NULL PRIMARY KEY,
    snapshot TEXT,                              -- digest of the current snapshot, NULL for the empty one
    serial   BIGINT      NOT NULL,              -- counts the advances
    at       TIMESTAMPTZ NOT NULL
);

-- Every tree that a product has shown, in order; exactly the last one is current.
CREATE TABLE tree (
    product TEXT        NOT NULL,
    serial  BIGINT      NOT NULL CHECK (serial > 0),
    digest  TEXT        NOT NULL,
    at      TIMESTAMPTZ NOT NULL,
    current BOOLEAN     NOT NULL,
    PRIMARY KEY (product, serial)
);
CREATE UNIQUE INDEX tree_current ON tree (product) WHERE current;
