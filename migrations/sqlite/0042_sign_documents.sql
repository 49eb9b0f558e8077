-- +goose Up
-- A task signs all documents that are asked for together, not one.
CREATE TABLE sign_documents (
    task_id    INTEGER NOT NULL,
    digest     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    key        TEXT    NOT NULL REFERENCES sign_key (fingerprint),
    product    TEXT    NOT NULL,
    ended      INTEGER NOT NULL CHECK (ended IN (0, 1)), -- without a signature
    file       INTEGER NOT NULL DEFAULT 0 CHECK (file IN (0, 1)),
    clear      INTEGER NOT NULL DEFAULT 0 CHECK (clear IN (0, 1)),
    requester  TEXT    NOT NULL DEFAULT '',
    created_at TEXT,
    effects    TEXT,
    expires_at TEXT,
    PRIMARY KEY (task_id, digest)
) STRICT;
INSERT INTO sign_documents (task_id, digest, name, size, key, product, ended, file, clear, requester, created_at, effects, expires_at)
    SELECT task_id, digest, name, size, key, product, ended, file, clear, requester, created_at, effects, expires_at FROM sign_document;
DROP TABLE sign_document;
ALTER TABLE sign_documents RENAME TO sign_document;
CREATE UNIQUE INDEX sign_document_open ON sign_document (digest, key, file, clear) WHERE NOT ended;
CREATE INDEX sign_document_file ON sign_document (task_id) WHERE file;
CREATE INDEX sign_document_key ON sign_document (key);
