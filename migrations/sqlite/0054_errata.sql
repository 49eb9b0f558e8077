-- +goose Up
-- Advisories, one row for each id and platform.
CREATE TABLE advisory (
    id           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL, -- its id, as "ALSA-2024:6964"
    platform     TEXT    NOT NULL,
    revision     INTEGER NOT NULL, -- raised by every change
    state        INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
    reason       TEXT    NOT NULL, -- why its last release failed
    frozen       INTEGER NOT NULL CHECK (frozen IN (0, 1)),
    own          INTEGER NOT NULL CHECK (own IN (0, 1)),
    type         TEXT    NOT NULL, -- this and what follows up to issued_at: what document says too
    severity     TEXT    NOT NULL,
    title        TEXT    NOT NULL,
    issued_at    TEXT    NOT NULL,
    document     TEXT    NOT NULL, -- as edited: canonical JSON
    original     TEXT    NOT NULL, -- as it came in: canonical JSON
    content      INTEGER NOT NULL, -- the last revision that changed what is published
    version      INTEGER NOT NULL, -- the highest that was published; 0 for none
    shown        INTEGER NOT NULL, -- the version that is public; 0 for none
    shown_content INTEGER NOT NULL, -- the content that it has
    releasing_id INTEGER NOT NULL, -- the release that has it in progress; 0 for none
    release_id   INTEGER NOT NULL, -- the release that published it last; 0 for none
    created_at   TEXT    NOT NULL,
    changed_at   TEXT    NOT NULL,
    UNIQUE (name, platform)
) STRICT;
CREATE INDEX advisory_issued ON advisory (issued_at, id);
CREATE INDEX advisory_platform ON advisory (platform, name);
CREATE INDEX advisory_releasing ON advisory (releasing_id) WHERE releasing_id <> 0;

CREATE TABLE advisory_cve (
    advisory_id INTEGER NOT NULL REFERENCES advisory (id),
    cve         TEXT    NOT NULL,
    PRIMARY KEY (advisory_id, cve)
) STRICT;
CREATE INDEX advisory_cve_cve ON advisory_cve (cve);

-- Builds for which an advisory was made.
CREATE TABLE advisory_build (
    advisory_id INTEGER NOT NULL REFERENCES advisory (id),
    build_id    INTEGER NOT NULL REFERENCES build (id),
    PRIMARY KEY (advisory_id, build_id)
) STRICT;
CREATE INDEX advisory_build_build ON advisory_build (build_id);

-- Every change of an advisory, and by whom and why.
CREATE TABLE advisory_change (
    id          INTEGER PRIMARY KEY,
    advisory_id INTEGER NOT NULL REFERENCES advisory (id),
    revision    INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    actor       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    differences TEXT    NOT NULL, -- JSON list
    at          TEXT    NOT NULL
) STRICT;
CREATE INDEX advisory_change_advisory ON advisory_change (advisory_id, id);

-- What was published of an advisory, for good.
CREATE TABLE advisory_version (
    advisory_id INTEGER NOT NULL REFERENCES advisory (id),
    version     INTEGER NOT NULL,
    content     INTEGER NOT NULL, -- the revision whose content it has
    document    TEXT    NOT NULL, -- canonical JSON
    digest      TEXT    NOT NULL, -- of document
    release_id  INTEGER NOT NULL,
    at          TEXT    NOT NULL,
    PRIMARY KEY (advisory_id, version)
) STRICT;
