-- +goose Up
-- Lists ask for an owner by name and for a platform.
DROP INDEX build_owner;
CREATE INDEX build_owner ON build (owner, id);
CREATE INDEX build_item_platform ON build_item (platform, build_id);
CREATE INDEX build_task_item ON build_task (item_id);
CREATE INDEX build_artifact_item ON build_artifact (item_id);
