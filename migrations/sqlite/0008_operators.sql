-- Messages to operators, which belong to no account, and the failures of jobs that they were told of.

-- The outbox without its reference to accounts, so it is made anew: '' is what belongs to none.
ALTER TABLE outbox RENAME TO outbox_before;
CREATE TABLE outbox (
    account_id      TEXT    NOT NULL,              -- '' for a message to operators
    key             TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    recipient       TEXT    NOT NULL,
    recipient_name  TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    body_text       TEXT    NOT NULL,
    body_html       TEXT    NOT NULL,
    message_id      TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    unsubscribe_url TEXT,
    attachments     TEXT,                          -- a list in JSON, each naming the hash of its content; NULL for none
    digest          INTEGER NOT NULL,              -- of all columns above; without the last two where both are NULL
    -- what became of it
    state           TEXT    NOT NULL
                    CHECK (state IN ('pending', 'sent', 'failed', 'ambiguous', 'cancelled', 'suppressed')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    due_at          INTEGER NOT NULL,
    pending_since   INTEGER NOT NULL,              -- when it was written, or put back by the operator
    tried_at        INTEGER,                       -- when it was last given to a deliverer
    sent_at         INTEGER,
    delivered_to    TEXT,                          -- the file written, or what the server said
    last_error      TEXT,
    -- who delivers it: until then, by the database's clock, nobody else may
    lease           TEXT,
    leased_until    INTEGER,
    PRIMARY KEY (account_id, key)
) STRICT, WITHOUT ROWID;
INSERT INTO outbox (account_id, key, kind, recipient, recipient_name, subject, body_text, body_html, message_id, created_at,
                    unsubscribe_url, attachments, digest, state, attempts, due_at, pending_since, tried_at, sent_at,
                    delivered_to, last_error, lease, leased_until)
SELECT account_id, key, kind, recipient, recipient_name, subject, body_text, body_html, message_id, created_at,
       unsubscribe_url, attachments, digest, state, attempts, due_at, pending_since, tried_at, sent_at, delivered_to, last_error,
       lease, leased_until
  FROM outbox_before;
DROP TABLE outbox_before;
CREATE INDEX outbox_due ON outbox (due_at) WHERE state = 'pending';
CREATE INDEX outbox_tried ON outbox (tried_at) WHERE tried_at IS NOT NULL;

ALTER TABLE outbox_parts RENAME TO outbox_parts_before;
CREATE TABLE outbox_parts (
    account_id TEXT NOT NULL,                      -- as in outbox
    sha256     TEXT NOT NULL,                      -- of the content, in hexadecimal
    content    BLOB NOT NULL,
    PRIMARY KEY (account_id, sha256)
) STRICT;
INSERT INTO outbox_parts (account_id, sha256, content) SELECT account_id, sha256, content FROM outbox_parts_before;
DROP TABLE outbox_parts_before;

-- Jobs that fail since some time and that the operators were told of. A job that is well has no row.
CREATE TABLE incidents (
    job      TEXT    NOT NULL PRIMARY KEY,
    slot     TEXT    NOT NULL,                     -- the first that failed
    began_at INTEGER NOT NULL,
    why      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
