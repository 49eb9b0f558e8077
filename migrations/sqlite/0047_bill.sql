-- +goose Up
-- The newest bill of materials of each package, build and release.
CREATE TABLE bill (
    id         INTEGER PRIMARY KEY,
    kind       TEXT    NOT NULL CHECK (kind IN ('package', 'build', 'release')),
    subject    TEXT    NOT NULL, -- sha256 of a package, else the id
    name       TEXT    NOT NULL, -- of its files, without their ends
    facts      TEXT, -- over what a build or release consists of; none of a package
    model      TEXT    NOT NULL, -- digest of the bill itself, as JSON
    build_id   INTEGER NOT NULL, -- with which it is given up; 0 for none
    product    TEXT    NOT NULL, -- likewise, with what the product showed as serial
    serial     INTEGER NOT NULL,
    created_at TEXT    NOT NULL,
    UNIQUE (kind, subject)
) STRICT;

-- The formats that are attested; others are written of the model when they are asked for.
CREATE TABLE bill_document (
    bill_id INTEGER NOT NULL REFERENCES bill (id) ON DELETE CASCADE,
    format  TEXT    NOT NULL,
    digest  TEXT    NOT NULL,
    PRIMARY KEY (bill_id, format)
) STRICT;
