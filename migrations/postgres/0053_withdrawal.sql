-- +goose Up
-- What a product showed before a release of it and not behind that, in a repository.
CREATE TABLE withdrawn_package (
    release_id BIGINT NOT NULL REFERENCES release (id),
    path       TEXT   NOT NULL, -- of the repository
    file       TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    PRIMARY KEY (release_id, path, file)
);

-- Leaves are of released packages or of withdrawn ones, and one release may have both of one
-- package.
ALTER TABLE transparency_leaf ADD COLUMN withdrawn BOOLEAN NOT NULL DEFAULT FALSE; -- nothing is laid of these
ALTER TABLE transparency_leaf DROP CONSTRAINT transparency_leaf_release_id_package_key;
ALTER TABLE transparency_leaf ADD UNIQUE (release_id, package, withdrawn);
