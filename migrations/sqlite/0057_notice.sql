-- +goose Up
-- Who wants to be told of what, and where.
CREATE TABLE notice_subscription (
    id            INTEGER PRIMARY KEY,
    team          TEXT    NOT NULL, -- whose it is; '' for the installation's
    channel       TEXT    NOT NULL CHECK (channel IN ('webhook', 'mail')),
    target        TEXT    NOT NULL, -- a URL or a mail address
    note          TEXT    NOT NULL,
    filter        TEXT    NOT NULL, -- JSON, read only in Go
    builds        INTEGER NOT NULL CHECK (builds IN (0, 1)), -- filter asks for builds
    salt          TEXT    NOT NULL, -- what the key of a webhook is made from, beside the master's; '' for mail
    revision      INTEGER NOT NULL, -- raised by every change of a person's
    actor         TEXT    NOT NULL, -- who made it
    created_at    TEXT    NOT NULL,
    changed_at    TEXT    NOT NULL,
    stopped       TEXT    NOT NULL, -- why nothing is sent; '' if it is
    failures      INTEGER NOT NULL, -- in a row
    paused_until  TEXT    NOT NULL, -- after a failure
    claim         INTEGER NOT NULL, -- raised by every claim; only who has the last one writes
    claimed_until TEXT    NOT NULL
) STRICT;

-- What is to be sent, and what became of it.
CREATE TABLE notice_delivery (
    id              INTEGER PRIMARY KEY,
    subscription_id INTEGER NOT NULL REFERENCES notice_subscription (id),
    cause           TEXT    NOT NULL, -- what it tells of: once to each subscription
    message         TEXT    NOT NULL, -- its id for the receiver, the same each time
    kind            TEXT    NOT NULL,
    title           TEXT    NOT NULL,
    document        TEXT    NOT NULL, -- JSON: a webhook's body, or what a mail is made of
    state           TEXT    NOT NULL CHECK (state IN ('waiting', 'sent', 'dead')),
    attempts        INTEGER NOT NULL,
    reason          TEXT    NOT NULL, -- of the last failure
    created_at      TEXT    NOT NULL,
    next_at         TEXT    NOT NULL,
    give_up_at      TEXT    NOT NULL,
    ended_at        TEXT,
    UNIQUE (subscription_id, cause)
) STRICT;
CREATE INDEX notice_delivery_list ON notice_delivery (subscription_id, id);
CREATE INDEX notice_delivery_due ON notice_delivery (subscription_id, next_at) WHERE state = 'waiting';
CREATE INDEX notice_delivery_ended ON notice_delivery (ended_at) WHERE ended_at IS NOT NULL;

-- Builds of which a task has ended, so that somebody has to look whether they have.
CREATE TABLE notice_build (
    build_id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL -- the last that told so
) STRICT;

-- What a release published is asked for when it is told of.
CREATE INDEX advisory_version_release ON advisory_version (release_id);
