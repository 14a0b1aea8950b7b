-- So that a scan costs what has changed: an account says between which balances its alerts need nothing, and whoever moves
-- it out of them leaves a mark. The database itself does that, whichever program writes.
ALTER TABLE accounts ADD COLUMN quiet_from BIGINT;    -- least total balance at which no alert fires; NULL: not known
ALTER TABLE accounts ADD COLUMN quiet_to   BIGINT;    -- largest at which no open alert is over

-- Accounts to look at in the next scan.
CREATE TABLE alerts_due (
    account_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES accounts
);

CREATE FUNCTION mark_for_the_scan() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO alerts_due (account_id) VALUES (NEW.account_id) ON CONFLICT (account_id) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER balance_leaves_the_quiet AFTER UPDATE OF balance_free, balance_purchased ON accounts FOR EACH ROW
    WHEN (NEW.quiet_from IS NULL OR NEW.balance_free + NEW.balance_purchased NOT BETWEEN NEW.quiet_from AND NEW.quiet_to)
    EXECUTE FUNCTION mark_for_the_scan();
CREATE TRIGGER account_is_warned_otherwise AFTER UPDATE OF levels ON accounts
    FOR EACH ROW EXECUTE FUNCTION mark_for_the_scan();
CREATE TRIGGER account_is_new AFTER INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION mark_for_the_scan();
CREATE TRIGGER terms_are_new_or_others AFTER INSERT OR UPDATE ON terms
    FOR EACH ROW EXECUTE FUNCTION mark_for_the_scan();

-- When all accounts were looked at last, and with which levels of the platform. One row.
CREATE TABLE scanned (
    id     BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    levels TEXT   NOT NULL,
    day    TEXT   NOT NULL                               -- of UTC
);
