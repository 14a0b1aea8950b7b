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

-- How often rows were dropped: whoever reads in several steps sees by it that none went away between them. One row.
CREATE TABLE drops (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    times INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO drops (one, times) VALUES (1, 0);

-- From then on they are the only place where these rows are.
CREATE TRIGGER sealed_is_needed BEFORE DELETE ON sealed
WHEN EXISTS (SELECT 1 FROM accounts WHERE opening_seq > 0)
BEGIN SELECT RAISE(ABORT, 'rows have left the database that are in the sealed files alone: their manifests stay'); END;
