-- +goose Up
-- Since when a tree is beyond its product's retention: that it was shown stays on record,
-- and some time later what it shows is kept for it no longer.
ALTER TABLE tree ADD COLUMN retired_at TIMESTAMPTZ;

-- Releasers prune what they publish.
UPDATE worker SET labels = replace(labels, '"kind:publish"', '"kind:publish","kind:prune"');
