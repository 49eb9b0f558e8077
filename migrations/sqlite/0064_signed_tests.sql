-- +goose Up
-- A run tests what a rebuild left, or the copies of that which are signed with a key.
ALTER TABLE test_run ADD COLUMN signed_by TEXT NOT NULL DEFAULT ''; -- the key's fingerprint
