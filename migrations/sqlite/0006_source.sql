-- +goose Up
CREATE TABLE source_file (
    algorithm TEXT NOT NULL, -- sha1, sha256, sha512: what the look-aside cache is addressed by
    hex       TEXT NOT NULL,
    digest    TEXT NOT NULL, -- the artifact's sha256
    added_at  TEXT NOT NULL,
    PRIMARY KEY (algorithm, hex)
) STRICT;
