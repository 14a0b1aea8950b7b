-- How the people of an account write numbers, dates and money; NULL: as the settings say. It counts in the digest where there is one.
ALTER TABLE accounts ADD COLUMN locale TEXT COLLATE "C";

-- Messages whose content is there, the oldest first: that of old ones is dropped.
CREATE INDEX outbox_content ON outbox (created_at) WHERE body_html <> '';
