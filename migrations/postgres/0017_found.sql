-- Events that were given up are counted again and again, and must not be looked for among all that were sent.
CREATE INDEX webhook_events_failed ON webhook_events (webhook_id) WHERE state = 'failed';
-- An admin is found by their address, whatever the case of its letters (ASCII).
CREATE INDEX admins_email_folded ON admins (lower(email), account_id);
