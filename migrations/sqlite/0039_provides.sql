-- +goose Up
-- What the packages of an outside repository provide, a blob; '' for one that was listed before
-- that was asked.
ALTER TABLE reference_repository ADD COLUMN provides TEXT NOT NULL DEFAULT '';
