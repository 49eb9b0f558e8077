-- +goose Up
-- What was found last when what is public of a product's advisories was read back.
CREATE TABLE errata_check (
    product    TEXT PRIMARY KEY,
    document   TEXT NOT NULL, -- JSON
    checked_at TIMESTAMPTZ NOT NULL
);
