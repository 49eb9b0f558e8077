-- +goose Up
-- People's word that a package of a build may go though its tests didn't pass. Gates believe
-- the statement of each, and no row here.
CREATE TABLE test_waiver (
    id         INTEGER PRIMARY KEY,
    build_id   INTEGER NOT NULL REFERENCES build (id),
    digest     TEXT NOT NULL, -- the package
    nevra      TEXT NOT NULL,
    stage      TEXT NOT NULL, -- '' for every one
    untested   INTEGER NOT NULL, -- also where nobody knows how its tests end
    person     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    ended_at   TEXT, -- when somebody took it back
    ended_by   TEXT NOT NULL
) STRICT;
CREATE INDEX test_waiver_build ON test_waiver (build_id, id);
CREATE INDEX test_waiver_digest ON test_waiver (digest);
