-- What the jobs remember. Each row has a key that names the effect, so that doing it again changes nothing.

-- A level that was crossed; open until resolved_at is set.
CREATE TABLE alerts (
    account_id  TEXT    NOT NULL REFERENCES accounts,
    level       TEXT    NOT NULL,
    crossing    INTEGER NOT NULL,
    threshold   INTEGER NOT NULL,
    opened_at   INTEGER NOT NULL,
    resolved_at INTEGER,
    digest      INTEGER NOT NULL,                  -- of all columns above
    PRIMARY KEY (account_id, level, crossing)
) STRICT, WITHOUT ROWID;
CREATE INDEX alerts_open ON alerts (account_id) WHERE resolved_at IS NULL;

-- Messages as they will be sent, frozen when the fact was written that caused them.
CREATE TABLE outbox (
    account_id     TEXT    NOT NULL REFERENCES accounts,
    key            TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    recipient      TEXT    NOT NULL,
    recipient_name TEXT    NOT NULL,
    subject        TEXT    NOT NULL,
    body_text      TEXT    NOT NULL,
    body_html      TEXT    NOT NULL,
    message_id     TEXT    NOT NULL,
    created_at     INTEGER NOT NULL,
    digest         INTEGER NOT NULL,               -- of all columns above
    -- what became of it
    state          TEXT    NOT NULL CHECK (state IN ('pending', 'sent', 'failed')),
    attempts       INTEGER NOT NULL DEFAULT 0,
    due_at         INTEGER NOT NULL,
    sent_at        INTEGER,
    delivered_to   TEXT,                           -- the file written
    last_error     TEXT,
    PRIMARY KEY (account_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (due_at) WHERE state = 'pending';

-- One execution of a job for one slot.
CREATE TABLE runs (
    job         TEXT    NOT NULL,
    slot        TEXT    NOT NULL,
    slot_at     INTEGER NOT NULL,                  -- when the slot fell due, for order
    state       TEXT    NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    attempts    INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    outcome     TEXT,                              -- what it did, or why it failed
    PRIMARY KEY (job, slot)
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_latest ON runs (job, slot_at);
