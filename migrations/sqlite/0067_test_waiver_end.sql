-- +goose Up
-- Why a waiver was taken back.
ALTER TABLE test_waiver ADD COLUMN ended_reason TEXT NOT NULL DEFAULT '';
