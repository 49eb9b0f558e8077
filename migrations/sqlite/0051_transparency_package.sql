-- +goose Up
-- What lies beside a package is asked for by the package.
CREATE INDEX transparency_leaf_package ON transparency_leaf (package, id);
