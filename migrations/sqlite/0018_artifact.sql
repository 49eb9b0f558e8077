-- +goose Up
-- No query asks by kind or by NEVRA any more.
DROP INDEX artifact_kind;
DROP INDEX artifact_nevra;
