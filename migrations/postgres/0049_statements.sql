-- +goose Up
-- Whose key signs the statements of signers and releasers is asked often, and stated seldom.
CREATE INDEX statement_worker_key ON statement (id) WHERE predicate = 'worker-key';
