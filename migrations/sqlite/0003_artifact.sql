-- +goose Up
CREATE TABLE artifact (
    id             INTEGER PRIMARY KEY,
    digest         TEXT    NOT NULL UNIQUE,
    size           INTEGER NOT NULL,
    kind           TEXT    NOT NULL CHECK (kind IN ('rpm', 'srpm', 'log', 'record', 'tree', 'source', 'document')),
    name           TEXT    NOT NULL,             -- base name of the file
    rpm_name       TEXT    NOT NULL DEFAULT '',  -- this and what follows: of rpm and srpm only
    rpm_epoch      INTEGER NOT NULL DEFAULT 0,
    rpm_version    TEXT    NOT NULL DEFAULT '',
    rpm_release    TEXT    NOT NULL DEFAULT '',
    rpm_arch       TEXT    NOT NULL DEFAULT '',
    source_rpm     TEXT    NOT NULL DEFAULT '',  -- file name of the SRPM, as the header says
    header_sha256  TEXT,
    payload_sha256 TEXT,
    unsigned       TEXT,                         -- of a signed copy: the digest of the unsigned package
    signed_by      TEXT    NOT NULL DEFAULT '',  -- and the fingerprint of the key
    at             TEXT    NOT NULL
) STRICT;
CREATE INDEX artifact_kind ON artifact (kind, id);
CREATE INDEX artifact_nevra ON artifact (rpm_name, rpm_version, rpm_release, rpm_arch);
CREATE INDEX artifact_unsigned ON artifact (unsigned);
