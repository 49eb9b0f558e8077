-- +goose Up
-- Public keys by which people sign approvals. The private ones are the people's.
CREATE TABLE account_key (
    id         INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id),
    keyid      TEXT    NOT NULL,      -- as envelopes name it
    public     TEXT    NOT NULL,      -- a line of OpenSSH's authorized_keys
    created_at TEXT    NOT NULL,
    removed_at TEXT
) STRICT;
CREATE INDEX account_key_account ON account_key (account_id);
CREATE UNIQUE INDEX account_key_used ON account_key (keyid) WHERE removed_at IS NULL;

ALTER TABLE approval ADD COLUMN keyid TEXT NOT NULL DEFAULT '';    -- of the person's key; '' for a session's word
ALTER TABLE approval ADD COLUMN envelope TEXT NOT NULL DEFAULT ''; -- that it signed

-- What people approve of a request; '' of one that was made before there was that.
ALTER TABLE sign_request ADD COLUMN effects TEXT NOT NULL DEFAULT '';
ALTER TABLE sign_request ADD COLUMN expires_at TEXT;

-- Documents of releases, and files that people have signed.
ALTER TABLE sign_document ADD COLUMN file INTEGER NOT NULL DEFAULT 0 CHECK (file IN (0, 1));
ALTER TABLE sign_document ADD COLUMN clear INTEGER NOT NULL DEFAULT 0 CHECK (clear IN (0, 1));
ALTER TABLE sign_document ADD COLUMN requester TEXT NOT NULL DEFAULT '';
ALTER TABLE sign_document ADD COLUMN created_at TEXT;
ALTER TABLE sign_document ADD COLUMN effects TEXT NOT NULL DEFAULT '';
ALTER TABLE sign_document ADD COLUMN expires_at TEXT;
DROP INDEX sign_document_open;
CREATE UNIQUE INDEX sign_document_open ON sign_document (digest, key, file, clear) WHERE NOT ended;
CREATE INDEX sign_document_file ON sign_document (task_id) WHERE file;

-- A document has one detached signature by a key, and one clear-signed copy.
CREATE TABLE document_signature_new (
    digest  TEXT    NOT NULL,
    key     TEXT    NOT NULL REFERENCES sign_key (fingerprint),
    clear   INTEGER NOT NULL CHECK (clear IN (0, 1)),
    armored TEXT    NOT NULL,
    at      TEXT    NOT NULL,
    PRIMARY KEY (digest, key, clear)
) STRICT;
INSERT INTO document_signature_new (digest, key, clear, armored, at) SELECT digest, key, 0, armored, at FROM document_signature;
DROP TABLE document_signature;
ALTER TABLE document_signature_new RENAME TO document_signature;
CREATE INDEX document_signature_key ON document_signature (key);

-- Files that may be signed for a product, by digest.
CREATE TABLE sign_allowed (
    product TEXT NOT NULL,
    digest  TEXT NOT NULL,
    name    TEXT NOT NULL,
    note    TEXT NOT NULL,
    actor   TEXT NOT NULL,
    at      TEXT NOT NULL,
    PRIMARY KEY (product, digest)
) STRICT;
