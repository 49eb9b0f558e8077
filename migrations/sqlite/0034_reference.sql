-- +goose Up
-- Outside repositories that say which place packages have, by URL: platforms share them.
CREATE TABLE reference_repository (
    id        INTEGER PRIMARY KEY,
    url       TEXT    NOT NULL UNIQUE,
    repomd    TEXT,             -- digest of the repomd.xml whose packages are listed; none before the first
    packages  INTEGER NOT NULL,
    listed_at TEXT,             -- when they were listed
    looked_at TEXT    NOT NULL, -- when the repository was last asked
    failure   TEXT    NOT NULL  -- why that came to nothing; '' if it didn't
) STRICT;

-- What they list; replaced as a whole.
CREATE TABLE reference_package (
    repository_id INTEGER NOT NULL REFERENCES reference_repository (id),
    name          TEXT    NOT NULL,
    epoch         INTEGER NOT NULL,
    version       TEXT    NOT NULL,
    release       TEXT    NOT NULL,
    arch          TEXT    NOT NULL,
    source        TEXT    NOT NULL -- name of the source package; '' for one itself
) STRICT;
CREATE INDEX reference_package_name ON reference_package (repository_id, name);
CREATE INDEX reference_package_source ON reference_package (repository_id, source);
