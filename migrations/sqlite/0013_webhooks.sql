-- Where the platform's own programs are told what happens, and what they are told.

CREATE TABLE webhooks (
    account_id TEXT    NOT NULL,                   -- of which account's events; empty for those of all
    webhook_id TEXT    NOT NULL,
    url        TEXT    NOT NULL,
    wanted     TEXT    NOT NULL,                   -- kinds of events, a space between them; empty for all
    secret     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    stopped_at INTEGER,                            -- when the address said that it wants no more
    PRIMARY KEY (account_id, webhook_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX webhooks_id ON webhooks (webhook_id);

CREATE TABLE webhook_events (
    account_id   TEXT    NOT NULL,                 -- whose event it is
    webhook_id   TEXT    NOT NULL,
    event_id     TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    body         TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    -- what became of it
    state        TEXT    NOT NULL CHECK (state IN ('pending', 'sent', 'failed')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    due_at       INTEGER NOT NULL,
    since        INTEGER NOT NULL,                 -- since when it waits: when it was written, or put back by the operator
    sent_at      INTEGER,
    answer       TEXT,                             -- what came of the last try
    -- who sends it: until then, by the database's clock, nobody else may
    lease        TEXT,
    leased_until INTEGER,
    PRIMARY KEY (account_id, webhook_id, event_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_events_due ON webhook_events (due_at) WHERE state = 'pending';
CREATE INDEX webhook_events_of ON webhook_events (webhook_id, created_at);
CREATE INDEX webhook_events_old ON webhook_events (created_at);
