-- Whether a message that is not recorded as delivered may have been: nobody knows, or whoever had it in hand was never heard of again.
ALTER TABLE outbox ADD COLUMN may_have_left BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE outbox SET may_have_left = TRUE WHERE state = 'ambiguous';
