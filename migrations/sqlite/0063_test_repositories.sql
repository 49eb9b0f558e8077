-- +goose Up
-- Repositories in which maintainers keep tests of packages.
CREATE TABLE test_repository (
    id           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL UNIQUE,
    url          TEXT    NOT NULL,
    ref          TEXT    NOT NULL, -- what is tested: a branch, a tag or a commit
    tests_dir    TEXT    NOT NULL, -- below which folders are looked for, ends in a slash; '' for the top
    tests_prefix TEXT    NOT NULL, -- with which their names begin
    team         TEXT    NOT NULL, -- '' for the installation's
    actor        TEXT    NOT NULL,
    created_at   TEXT    NOT NULL,
    commit_id    TEXT    NOT NULL, -- whose folders are mapped
    scanned_at   TEXT    NOT NULL, -- when it was looked at last
    failure      TEXT    NOT NULL, -- why that came to nothing; '' if it didn't
    UNIQUE (url, ref, tests_dir, tests_prefix)
) STRICT;

-- Which packages are tested by which folders of them.
CREATE TABLE test_mapping (
    id            INTEGER PRIMARY KEY,
    repository_id INTEGER NOT NULL REFERENCES test_repository (id),
    package       TEXT    NOT NULL, -- a name, or a pattern of names
    pattern       INTEGER NOT NULL,
    folder        TEXT    NOT NULL, -- below tests_dir
    scanned       INTEGER NOT NULL, -- found by a scan, and not said by a person
    UNIQUE (repository_id, package, folder, pattern)
) STRICT;

-- The commits of tests that a build is tested by.
CREATE TABLE test_pin (
    build_id   INTEGER NOT NULL REFERENCES build (id),
    url        TEXT    NOT NULL,
    ref        TEXT    NOT NULL,
    commit_id  TEXT    NOT NULL,
    tree       TEXT,             -- the digest of its tar; NULL while nothing of it is to be run
    created_at TEXT    NOT NULL,
    PRIMARY KEY (build_id, url, ref)
) STRICT;
CREATE INDEX test_pin_commit ON test_pin (url, commit_id);

-- The tests of its own that each package of a build has, in the order in which they are run.
CREATE TABLE test_suite (
    build_id INTEGER NOT NULL REFERENCES build (id),
    package  TEXT    NOT NULL, -- its name
    n        INTEGER NOT NULL,
    url      TEXT    NOT NULL,
    ref      TEXT    NOT NULL,
    dir      TEXT    NOT NULL,
    files    TEXT    NOT NULL, -- a list as JSON; empty for all of the folder
    failure  TEXT    NOT NULL, -- why they can't be had; '' if they can
    PRIMARY KEY (build_id, package, n)
) STRICT;
