-- +goose Up
-- By these two columns the tests of one package are found again in other runs and builds.
ALTER TABLE test_package ADD COLUMN name TEXT NOT NULL DEFAULT '';   -- of the NEVRA; '' of older runs
ALTER TABLE test_package ADD COLUMN inputs TEXT NOT NULL DEFAULT ''; -- a digest over what its test rested on; '' until it was carried out
CREATE INDEX test_package_name ON test_package (name, run_id);
CREATE INDEX test_package_inputs ON test_package (inputs, run_id);
