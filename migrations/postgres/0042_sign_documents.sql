-- +goose Up
-- A task signs all documents that are asked for together, not one.
ALTER TABLE sign_document DROP CONSTRAINT sign_document_pkey;
ALTER TABLE sign_document ADD PRIMARY KEY (task_id, digest);
-- A document need not be of any effects.
ALTER TABLE sign_document ALTER COLUMN effects DROP NOT NULL;
