-- What somebody is told of the levels of an account is delivered in its order: each looks for those before and behind it, and for what is in hand.
CREATE INDEX outbox_levels ON outbox (account_id, recipient, state, created_at) WHERE kind IN ('low-credit', 'resolved');
CREATE INDEX outbox_in_hand ON outbox (account_id, recipient) WHERE lease IS NOT NULL AND kind IN ('low-credit', 'resolved');
