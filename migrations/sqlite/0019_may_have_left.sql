-- Whether a message that is not recorded as delivered may have been: nobody knows, or whoever had it in hand was never heard of again.
ALTER TABLE outbox ADD COLUMN may_have_left INTEGER NOT NULL DEFAULT 0 CHECK (may_have_left IN (0, 1));
UPDATE outbox SET may_have_left = 1 WHERE state = 'ambiguous';
