-- What messages carry besides their words, who is delivering them, and addresses that get no mail.

ALTER TABLE outbox ALTER COLUMN recipient TYPE TEXT COLLATE "C";
ALTER TABLE outbox ADD COLUMN unsubscribe_url TEXT;
ALTER TABLE outbox ADD COLUMN attachments TEXT;        -- a list in JSON, each naming the hash of its content; NULL for none
-- digest is of these, too, where not both of them are NULL
ALTER TABLE outbox DROP CONSTRAINT outbox_state_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_state_check
    CHECK (state IN ('pending', 'sent', 'failed', 'ambiguous', 'cancelled', 'suppressed'));
ALTER TABLE outbox ADD COLUMN pending_since BIGINT;    -- when it was written, or put back by the operator
UPDATE outbox SET pending_since = created_at;
ALTER TABLE outbox ALTER COLUMN pending_since SET NOT NULL;
ALTER TABLE outbox ADD COLUMN tried_at BIGINT;         -- when it was last given to a deliverer
-- who delivers it: until then, by the database's clock, nobody else may
ALTER TABLE outbox ADD COLUMN lease TEXT COLLATE "C";
ALTER TABLE outbox ADD COLUMN leased_until BIGINT;
DROP INDEX outbox_due;
CREATE INDEX outbox_due ON outbox (due_at, account_id, key) WHERE state = 'pending';
CREATE INDEX outbox_tried ON outbox (tried_at) WHERE tried_at IS NOT NULL;

-- What is attached to messages: the same content once for each account, however many messages have it.
CREATE TABLE outbox_parts (
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts,
    sha256     TEXT COLLATE "C" NOT NULL,              -- of the content, in hexadecimal
    content    BYTEA NOT NULL,
    PRIMARY KEY (account_id, sha256)
);

-- Addresses that are not mailed any more.
CREATE TABLE suppressions (
    address TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    reason  TEXT NOT NULL,
    since   BIGINT NOT NULL,
    message TEXT COLLATE "C"                           -- the key of the message that was refused; NULL where a person decided
);
