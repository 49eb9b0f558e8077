-- +goose Up
CREATE INDEX test_run_item ON test_run (item_id);
