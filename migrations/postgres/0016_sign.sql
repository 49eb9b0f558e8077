-- +goose Up
CREATE INDEX sign_request_key ON sign_request (key);
CREATE INDEX signed_package_key ON signed_package (key);
CREATE INDEX sign_document_key ON sign_document (key);
CREATE INDEX document_signature_key ON document_signature (key);
