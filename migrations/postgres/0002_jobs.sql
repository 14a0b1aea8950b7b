-- What the jobs remember. Each row has a key that names the effect, so that doing it again changes nothing.

-- A level that was crossed; open until resolved_at is set.
CREATE TABLE alerts (
    account_id  TEXT COLLATE "C"    NOT NULL REFERENCES accounts,
    level       TEXT COLLATE "C"    NOT NULL,
    crossing    BIGINT NOT NULL,
    threshold   BIGINT NOT NULL,
    opened_at   BIGINT NOT NULL,
    resolved_at BIGINT,
    digest      BIGINT NOT NULL,                  -- of all columns above
    PRIMARY KEY (account_id, level, crossing)
);
CREATE INDEX alerts_open ON alerts (account_id) WHERE resolved_at IS NULL;

-- Messages as they will be sent, frozen when the fact was written that caused them.
CREATE TABLE outbox (
    account_id     TEXT COLLATE "C"    NOT NULL REFERENCES accounts,
    key            TEXT COLLATE "C"    NOT NULL,
    kind           TEXT COLLATE "C"    NOT NULL,
    recipient      TEXT    NOT NULL,
    recipient_name TEXT    NOT NULL,
    subject        TEXT    NOT NULL,
    body_text      TEXT    NOT NULL,
    body_html      TEXT    NOT NULL,
    message_id     TEXT    NOT NULL,
    created_at     BIGINT NOT NULL,
    digest         BIGINT NOT NULL,               -- of all columns above
    -- what became of it
    state          TEXT COLLATE "C"    NOT NULL CHECK (state IN ('pending', 'sent', 'failed')),
    attempts       BIGINT NOT NULL DEFAULT 0,
    due_at         BIGINT NOT NULL,
    sent_at        BIGINT,
    delivered_to   TEXT,                           -- the file written
    last_error     TEXT,
    PRIMARY KEY (account_id, key)
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE state = 'pending';

-- One execution of a job for one slot.
CREATE TABLE runs (
    job         TEXT COLLATE "C"    NOT NULL,
    slot        TEXT COLLATE "C"    NOT NULL,
    slot_at     BIGINT NOT NULL,                  -- when the slot fell due, for order
    state       TEXT COLLATE "C"    NOT NULL CHECK (state IN ('running', 'done', 'failed')),
    attempts    BIGINT NOT NULL,
    started_at  BIGINT NOT NULL,
    finished_at BIGINT,
    outcome     TEXT,                              -- what it did, or why it failed
    PRIMARY KEY (job, slot)
);
CREATE INDEX runs_latest ON runs (job, slot_at);
