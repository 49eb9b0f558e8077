-- +goose Up
-- Blobs that nothing reaches.
CREATE TABLE tombstone (
    digest TEXT NOT NULL PRIMARY KEY,
    at     TEXT NOT NULL -- since when; whoever puts the blob again takes the row away
) STRICT, WITHOUT ROWID;

-- When the build was deleted for which a task or a repository was: it stays on record,
-- and some time later what it names is kept for it no longer.
ALTER TABLE task ADD COLUMN forgotten_at TEXT;
ALTER TABLE repository ADD COLUMN forgotten_at TEXT;
UPDATE task SET forgotten_at = (SELECT deleted_at FROM build WHERE build.id = CAST(substr(topic, 7) AS BIGINT))
    WHERE topic IN (SELECT 'build:' || id FROM build WHERE deleted_at IS NOT NULL);
UPDATE repository SET forgotten_at = (SELECT deleted_at FROM build WHERE repository.name LIKE 'build/' || build.id || '/%')
    WHERE EXISTS (SELECT 1 FROM build WHERE deleted_at IS NOT NULL AND repository.name LIKE 'build/' || build.id || '/%');
