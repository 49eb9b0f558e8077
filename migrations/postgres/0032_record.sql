-- +goose Up
-- The metadata files that people give the repositories of products; releases take them over.
CREATE TABLE product_record (
    product TEXT        COLLATE "C" NOT NULL,
    path    TEXT        COLLATE "C" NOT NULL, -- of the repository
    type    TEXT        COLLATE "C" NOT NULL, -- as it was given: group, modules, …
    digest  TEXT        NOT NULL, -- of the file uncompressed
    size    BIGINT      NOT NULL CHECK (size > 0),
    files   TEXT        NOT NULL, -- JSON: what a repository has of it, read only in Go
    actor   TEXT        NOT NULL,
    at      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (product, path, type)
);
