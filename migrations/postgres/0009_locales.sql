-- How the people of an account write numbers, dates and money; NULL: as the settings say. It counts in the digest where there is one.
ALTER TABLE accounts ADD COLUMN locale TEXT COLLATE "C";
