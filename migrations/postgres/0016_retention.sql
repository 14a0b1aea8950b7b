-- Rows of AI actions that are in sealed files may leave the database, where the operator wants that. What they came to stays:
-- the account's opening, the balance with which the rows that are left begin, and the keys of the rows that are not (R9).

ALTER TABLE accounts
    ADD COLUMN opening_seq BIGINT NOT NULL DEFAULT 0,               -- the last row that may be gone; 0 for none
    ADD COLUMN opening_recorded_at BIGINT NOT NULL DEFAULT -9223372036854775808,
    ADD COLUMN opening_free BIGINT NOT NULL DEFAULT 0,              -- the balance with that row
    ADD COLUMN opening_purchased BIGINT NOT NULL DEFAULT 0;
CREATE INDEX accounts_opening ON accounts (account_id) WHERE opening_seq > 0;

CREATE TABLE dropped_keys (
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts,
    key        TEXT COLLATE "C" NOT NULL,
    seq        BIGINT NOT NULL,
    PRIMARY KEY (account_id, key)
);

CREATE FUNCTION refuse_drop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.kind NOT IN ('charge', 'hold', 'release', 'refund')
       OR OLD.seq > (SELECT opening_seq FROM accounts WHERE account_id = OLD.account_id)
       OR EXISTS (SELECT 1 FROM holds WHERE account_id = OLD.account_id AND hold_id = OLD.seq)
       OR (OLD.key IS NOT NULL AND NOT EXISTS (
               SELECT 1 FROM dropped_keys WHERE account_id = OLD.account_id AND key = OLD.key AND seq = OLD.seq)) THEN
        RAISE EXCEPTION 'transactions are append-only: correct a row by a new one';
    END IF;
    RETURN OLD;
END $$;
DROP TRIGGER transactions_are_never_changed ON transactions;
CREATE TRIGGER transactions_are_never_changed BEFORE UPDATE ON transactions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER transactions_are_never_deleted BEFORE DELETE ON transactions
    FOR EACH ROW EXECUTE FUNCTION refuse_drop();

-- A key is used once (R9), also where the row that used it has left, and whoever writes. Off until rows leave for the first time: it
-- looks at each row that is written.
CREATE FUNCTION refuse_used_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM dropped_keys WHERE account_id = NEW.account_id AND key = NEW.key) THEN
        RAISE EXCEPTION 'the key was used by a row that has left the database' USING ERRCODE = 'unique_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keys_are_used_once BEFORE INSERT ON transactions
    FOR EACH ROW WHEN (NEW.key IS NOT NULL) EXECUTE FUNCTION refuse_used_key();
ALTER TABLE transactions DISABLE TRIGGER keys_are_used_once;

-- Where rows have left, the manifests of the parts that they may be in stay. Later ones may go, and be made anew.
CREATE FUNCTION refuse_to_forget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM accounts WHERE opening_seq > 0 AND opening_recorded_at >=
                   extract(epoch FROM (OLD.manifest::jsonb #>> '{days,from}')::timestamp)::bigint * 1000000) THEN
        RAISE EXCEPTION 'rows have left the database that are in this part of the sealed ledger alone: it stays';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER sealed_is_needed BEFORE DELETE ON sealed FOR EACH ROW EXECUTE FUNCTION refuse_to_forget();
