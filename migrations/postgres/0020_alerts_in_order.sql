-- What somebody is told of the levels of an account is delivered in its order: each looks for those before and behind it.
CREATE INDEX outbox_levels ON outbox (account_id, recipient, state, created_at) WHERE kind IN ('low-credit', 'resolved');
