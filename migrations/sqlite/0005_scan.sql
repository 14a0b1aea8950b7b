-- So that a scan costs what has changed: an account says between which balances its alerts need nothing, and whoever moves
-- it out of them leaves a mark. The database itself does that, whichever program writes.
ALTER TABLE accounts ADD COLUMN quiet_from INTEGER;   -- least total balance at which no alert fires; NULL: not known
ALTER TABLE accounts ADD COLUMN quiet_to   INTEGER;   -- largest at which no open alert is over

-- Accounts to look at in the next scan.
CREATE TABLE alerts_due (
    account_id TEXT NOT NULL PRIMARY KEY REFERENCES accounts
) STRICT, WITHOUT ROWID;

CREATE TRIGGER balance_leaves_the_quiet AFTER UPDATE OF balance_free, balance_purchased ON accounts
    WHEN NEW.quiet_from IS NULL OR NEW.balance_free + NEW.balance_purchased NOT BETWEEN NEW.quiet_from AND NEW.quiet_to
BEGIN INSERT INTO alerts_due (account_id) VALUES (NEW.account_id) ON CONFLICT (account_id) DO NOTHING; END;
CREATE TRIGGER account_is_warned_otherwise AFTER UPDATE OF levels ON accounts
BEGIN INSERT INTO alerts_due (account_id) VALUES (NEW.account_id) ON CONFLICT (account_id) DO NOTHING; END;
CREATE TRIGGER account_is_new AFTER INSERT ON accounts
BEGIN INSERT INTO alerts_due (account_id) VALUES (NEW.account_id) ON CONFLICT (account_id) DO NOTHING; END;
CREATE TRIGGER terms_are_new AFTER INSERT ON terms
BEGIN INSERT INTO alerts_due (account_id) VALUES (NEW.account_id) ON CONFLICT (account_id) DO NOTHING; END;
CREATE TRIGGER terms_are_others AFTER UPDATE ON terms
BEGIN INSERT INTO alerts_due (account_id) VALUES (NEW.account_id) ON CONFLICT (account_id) DO NOTHING; END;

-- When all accounts were looked at last, and with which levels of the platform. One row.
CREATE TABLE scanned (
    id     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    levels TEXT    NOT NULL,
    day    TEXT    NOT NULL                              -- of UTC
) STRICT;
