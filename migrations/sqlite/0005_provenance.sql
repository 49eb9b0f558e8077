-- +goose Up
-- tx_id is a note for people: whether the ledger holds a row is asked of the ledger.
CREATE TABLE statement (
    id         INTEGER PRIMARY KEY,
    subject    TEXT    NOT NULL,          -- sha256
    predicate  TEXT    NOT NULL,          -- attest's short name: source, build, test, sign, release
    n          INTEGER NOT NULL,          -- counts the statements of one subject and predicate
    envelope   TEXT    NOT NULL,          -- DSSE, JSON
    created_at TEXT    NOT NULL,
    tx_id      INTEGER,
    UNIQUE (subject, predicate, n)
) STRICT;

CREATE TABLE file_record (
    digest     TEXT    NOT NULL PRIMARY KEY,
    value      TEXT    NOT NULL,          -- JSON
    created_at TEXT    NOT NULL,
    tx_id      INTEGER
) STRICT;

-- What is still to be carried into the ledger, in this order. What one row names
-- goes in one transaction.
CREATE TABLE outbox (
    id           INTEGER PRIMARY KEY,
    statement_id INTEGER UNIQUE REFERENCES statement (id),
    digest       TEXT    UNIQUE REFERENCES file_record (digest),
    CHECK (statement_id IS NOT NULL OR digest IS NOT NULL)
) STRICT;

-- The ledger's state as last verified: one row.
CREATE TABLE ledger_state (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    ledger TEXT    NOT NULL,
    tx_id  INTEGER NOT NULL,
    alh    TEXT    NOT NULL,
    at     TEXT    NOT NULL
) STRICT;
