-- +goose Up
-- Append only: the product as it is now is its highest revision.
CREATE TABLE product (
    id       BIGINT      NOT NULL,               -- the same in all revisions of a name
    name     TEXT        COLLATE "C" NOT NULL,
    revision BIGINT      NOT NULL CHECK (revision > 0),
    digest   TEXT        NOT NULL,               -- sha256 of spec
    spec     TEXT        NOT NULL,               -- JSON, read only in Go
    actor    TEXT        NOT NULL,
    at       TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (name, revision),
    UNIQUE (id, revision)
);
