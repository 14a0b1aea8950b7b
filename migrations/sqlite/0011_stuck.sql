-- Messages that were given up or are in doubt are counted again and again, and must not be looked for among all that were sent.
CREATE INDEX outbox_stuck ON outbox (state) WHERE state IN ('failed', 'ambiguous');
