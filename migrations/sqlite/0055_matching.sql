-- +goose Up
-- Packages of builds, as they may answer advisories.
CREATE TABLE errata_package (
    id       INTEGER PRIMARY KEY,
    platform TEXT    NOT NULL,
    build_id INTEGER NOT NULL REFERENCES build (id),
    item_id  INTEGER NOT NULL REFERENCES build_item (id),
    name     TEXT    NOT NULL,
    epoch    INTEGER NOT NULL,
    version  TEXT    NOT NULL,
    release  TEXT    NOT NULL,
    arch     TEXT    NOT NULL,
    module   TEXT    NOT NULL, -- the header's label, name:stream:version:context; '' for none
    source   TEXT    NOT NULL, -- file name of the SRPM; '' of one itself
    unsigned TEXT    NOT NULL, -- digest
    UNIQUE (item_id, unsigned)
) STRICT;
CREATE INDEX errata_package_name ON errata_package (platform, name);
CREATE INDEX errata_package_build ON errata_package (build_id);
CREATE INDEX errata_package_unsigned ON errata_package (unsigned);

-- What answers each advisory.
CREATE TABLE errata_matching (
    id        INTEGER PRIMARY KEY,
    advisory  TEXT    NOT NULL, -- its id
    platform  TEXT    NOT NULL,
    pending   INTEGER NOT NULL CHECK (pending IN (0, 1)), -- a release would publish something of it
    stage     INTEGER NOT NULL CHECK (stage BETWEEN 1 AND 3), -- this and what follows up to settled: what document says too
    wanted    INTEGER NOT NULL,
    lacking   INTEGER NOT NULL,
    unsettled INTEGER NOT NULL,
    settled   INTEGER NOT NULL,
    document  TEXT    NOT NULL, -- JSON, read only in Go
    UNIQUE (platform, advisory)
) STRICT;

-- Names of packages that matter to an advisory.
CREATE TABLE errata_name (
    matching_id INTEGER NOT NULL REFERENCES errata_matching (id),
    name        TEXT    NOT NULL,
    PRIMARY KEY (matching_id, name)
) STRICT;
CREATE INDEX errata_name_name ON errata_name (name);

-- Builds of which packages answer an advisory, or could.
CREATE TABLE errata_build (
    matching_id INTEGER NOT NULL REFERENCES errata_matching (id),
    build_id    INTEGER NOT NULL REFERENCES build (id),
    PRIMARY KEY (matching_id, build_id)
) STRICT;
CREATE INDEX errata_build_build ON errata_build (build_id);
