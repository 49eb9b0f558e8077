-- +goose Up
-- Tracing asks by NEVRA, by SRPM and by commit.
CREATE INDEX artifact_nevra ON artifact (rpm_name, rpm_version, rpm_release, rpm_arch);
CREATE INDEX build_item_srpm ON build_item (srpm);
CREATE INDEX build_item_commit ON build_item (commit_id);
