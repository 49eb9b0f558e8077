-- +goose Up
-- Which version of an advisory each product shows. advisory has what comes of it: as shown
-- the newest of them, as shown_content the oldest content.
CREATE TABLE advisory_shown (
    advisory_id BIGINT NOT NULL REFERENCES advisory (id),
    product     TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    content     BIGINT NOT NULL, -- that the version has
    PRIMARY KEY (advisory_id, product)
);
-- Until now it was known of the product alone that released last.
INSERT INTO advisory_shown (advisory_id, product, version, content)
    SELECT a.id, r.product, a.shown, a.shown_content FROM advisory a JOIN release r ON r.id = a.release_id WHERE a.shown > 0;
