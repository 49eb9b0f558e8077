-- +goose Up
-- Lists ask for a status.
CREATE INDEX release_status ON release (status, id);
CREATE INDEX released_package_release ON released_package (release_id);
