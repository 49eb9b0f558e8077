-- +goose Up
-- A key may leave signing to a subkey, be in a token, have a time of its use, and end.
ALTER TABLE sign_key ADD COLUMN subkey         TEXT NOT NULL DEFAULT ''; -- fingerprint of the subkey that signs; '' if none does
ALTER TABLE sign_key ADD COLUMN kept           TEXT NOT NULL DEFAULT ''; -- file or token, as the signer said
ALTER TABLE sign_key ADD COLUMN not_before     TIMESTAMPTZ;
ALTER TABLE sign_key ADD COLUMN not_after      TIMESTAMPTZ;
ALTER TABLE sign_key ADD COLUMN revoked_at     TIMESTAMPTZ;
ALTER TABLE sign_key ADD COLUMN revoked_public TEXT NOT NULL DEFAULT ''; -- public with the certificate of that; what was verified before was by public

ALTER TABLE sign_keygen ADD COLUMN subkey     BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE sign_keygen ADD COLUMN not_before TIMESTAMPTZ;
ALTER TABLE sign_keygen ADD COLUMN not_after  TIMESTAMPTZ;

-- Somebody's wish that a key ends.
CREATE TABLE sign_revocation (
    task_id    BIGINT PRIMARY KEY,
    key        TEXT    NOT NULL REFERENCES sign_key (fingerprint),
    reason     TEXT    NOT NULL, -- compromised, superseded, retired
    text       TEXT    NOT NULL, -- for people
    requester  TEXT    NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    ended      BOOLEAN NOT NULL
);
CREATE UNIQUE INDEX sign_revocation_open ON sign_revocation (key) WHERE NOT ended;
