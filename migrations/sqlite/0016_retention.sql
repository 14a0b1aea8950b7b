-- Rows of AI actions that are in sealed files may leave the database, where the operator wants that. What they came to stays:
-- the account's opening, the balance with which the rows that are left begin, and the keys of the rows that are not (R9).

ALTER TABLE accounts ADD COLUMN opening_seq INTEGER NOT NULL DEFAULT 0;         -- the last row that may be gone; 0 for none
ALTER TABLE accounts ADD COLUMN opening_recorded_at INTEGER NOT NULL DEFAULT -9223372036854775808;
ALTER TABLE accounts ADD COLUMN opening_free INTEGER NOT NULL DEFAULT 0;        -- the balance with that row
ALTER TABLE accounts ADD COLUMN opening_purchased INTEGER NOT NULL DEFAULT 0;
CREATE INDEX accounts_opening ON accounts (account_id) WHERE opening_seq > 0;

CREATE TABLE dropped_keys (
    account_id TEXT    NOT NULL REFERENCES accounts,
    key        TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    PRIMARY KEY (account_id, key)
) STRICT, WITHOUT ROWID;

DROP TRIGGER transactions_are_never_deleted;
CREATE TRIGGER transactions_are_never_deleted BEFORE DELETE ON transactions
WHEN OLD.kind NOT IN ('charge', 'hold', 'release', 'refund')
  OR OLD.seq > (SELECT opening_seq FROM accounts WHERE account_id = OLD.account_id)
  OR EXISTS (SELECT 1 FROM holds WHERE account_id = OLD.account_id AND hold_id = OLD.seq)
  OR (OLD.key IS NOT NULL AND NOT EXISTS (
          SELECT 1 FROM dropped_keys WHERE account_id = OLD.account_id AND key = OLD.key AND seq = OLD.seq))
BEGIN SELECT RAISE(ABORT, 'transactions are append-only: correct a row by a new one'); END;

-- A key is used once (R9), also where the row that used it has left, and whoever writes.
DROP TRIGGER transactions_are_never_replaced;
CREATE TRIGGER transactions_are_never_replaced BEFORE INSERT ON transactions
WHEN EXISTS (SELECT 1 FROM transactions WHERE account_id = NEW.account_id AND seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM transactions WHERE account_id = NEW.account_id AND key = NEW.key)
  OR EXISTS (SELECT 1 FROM dropped_keys WHERE account_id = NEW.account_id AND key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'transactions are append-only: correct a row by a new one'); END;

-- Where rows have left, the manifests of the parts that they may be in stay. Later ones may go, and be made anew.
CREATE TRIGGER sealed_is_needed BEFORE DELETE ON sealed
WHEN EXISTS (SELECT 1 FROM accounts WHERE opening_seq > 0
                AND opening_recorded_at >= unixepoch(OLD.manifest ->> '$.days.from') * 1000000)
BEGIN SELECT RAISE(ABORT, 'rows have left the database that are in this part of the sealed ledger alone: it stays'); END;
