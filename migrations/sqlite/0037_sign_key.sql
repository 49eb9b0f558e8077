-- +goose Up
-- A key may leave signing to a subkey, be in a token, have a time of its use, and end.
ALTER TABLE sign_key ADD COLUMN subkey         TEXT NOT NULL DEFAULT ''; -- fingerprint of the subkey that signs; '' if none does
ALTER TABLE sign_key ADD COLUMN kept           TEXT NOT NULL DEFAULT ''; -- file or token, as the signer said
ALTER TABLE sign_key ADD COLUMN not_before     TEXT;
ALTER TABLE sign_key ADD COLUMN not_after      TEXT;
ALTER TABLE sign_key ADD COLUMN revoked_at     TEXT;
ALTER TABLE sign_key ADD COLUMN revoked_public TEXT NOT NULL DEFAULT ''; -- public with the certificate of that; what was verified before was by public

ALTER TABLE sign_keygen ADD COLUMN subkey     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sign_keygen ADD COLUMN not_before TEXT;
ALTER TABLE sign_keygen ADD COLUMN not_after  TEXT;

-- Somebody's wish that a key ends.
CREATE TABLE sign_revocation (
    task_id    INTEGER PRIMARY KEY,
    key        TEXT    NOT NULL REFERENCES sign_key (fingerprint),
    reason     TEXT    NOT NULL, -- compromised, superseded, retired
    text       TEXT    NOT NULL, -- for people
    requester  TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    ended      INTEGER NOT NULL CHECK (ended IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX sign_revocation_open ON sign_revocation (key) WHERE NOT ended;
