-- The ledger. Instants are microseconds since 1970 UTC, months are 'YYYY-MM', credits are whole numbers.
-- Every key begins with account_id, so that the same tables distribute by account; payments say why theirs does not.
-- A digest is the first 64 bits of a hash over the facts beside it: `creditd verify` finds what else was changed.

CREATE TABLE meta (
    name   TEXT NOT NULL PRIMARY KEY,
    value  TEXT NOT NULL,
    digest INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    account_id        TEXT    NOT NULL PRIMARY KEY,
    name              TEXT    NOT NULL,
    opened_at         INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,            -- when creditd learned of the account
    levels            TEXT,                        -- alert levels as JSON; NULL takes the platform's
    digest            INTEGER NOT NULL,            -- of all columns above
    -- projections of the ledger, written together with its rows
    opened_through    TEXT,                        -- the last month whose free grant was made
    closed_through    TEXT,                        -- the last month that takes no late usage any more (R14)
    reopened_through  TEXT,                        -- the last month that was opened again and not closed since
    last_seq          INTEGER NOT NULL DEFAULT 0,
    last_recorded_at  INTEGER NOT NULL DEFAULT -9223372036854775808,
    balance_free      INTEGER NOT NULL DEFAULT 0 CHECK (balance_free >= 0),
    balance_purchased INTEGER NOT NULL DEFAULT 0 CHECK (balance_purchased >= 0),
    due_at            INTEGER NOT NULL             -- when the next month opens, grant lapses or hold expires
) STRICT, WITHOUT ROWID;
CREATE INDEX accounts_due ON accounts (due_at, account_id);

-- Zone and allowance of an account from a month on, until later terms.
CREATE TABLE terms (
    account_id TEXT    NOT NULL REFERENCES accounts,
    from_month TEXT    NOT NULL,
    zone       TEXT    NOT NULL,
    allowance  INTEGER NOT NULL CHECK (allowance >= 0),
    digest     INTEGER NOT NULL,
    PRIMARY KEY (account_id, from_month)
) STRICT, WITHOUT ROWID;

-- When an account was closed, and until when (R18).
CREATE TABLE closures (
    account_id  TEXT    NOT NULL REFERENCES accounts,
    closed_at   INTEGER NOT NULL,
    reopened_at INTEGER,
    PRIMARY KEY (account_id, closed_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE admins (
    account_id     TEXT    NOT NULL REFERENCES accounts,
    email          TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    alerts         INTEGER NOT NULL CHECK (alerts IN (0, 1)),
    monthly_report INTEGER NOT NULL CHECK (monthly_report IN (0, 1)),
    daily_report   INTEGER NOT NULL CHECK (daily_report IN (0, 1)),
    digest         INTEGER NOT NULL,
    PRIMARY KEY (account_id, email)
) STRICT, WITHOUT ROWID;

-- The action credit matrix: actions and their price versions. NULL credits retire an action.
CREATE TABLE actions (
    code   TEXT    NOT NULL PRIMARY KEY,
    title  TEXT    NOT NULL,
    help   TEXT    NOT NULL,
    digest INTEGER NOT NULL                        -- of all columns above, and of the action's prices
) STRICT, WITHOUT ROWID;

CREATE TABLE prices (
    action         TEXT    NOT NULL REFERENCES actions,
    effective_from INTEGER NOT NULL,
    credits        INTEGER CHECK (credits >= 0),
    digest         INTEGER NOT NULL,
    PRIMARY KEY (action, effective_from)
) STRICT, WITHOUT ROWID;

-- Append-only. free_balance and purchased_balance are the sums of all changes up to and with the row; entries says what
-- the row changed in each grant: [[grant_id, credit_type, delta], ...] in burn order.
CREATE TABLE transactions (
    account_id        TEXT    NOT NULL REFERENCES accounts,
    seq               INTEGER NOT NULL CHECK (seq > 0),
    kind              TEXT    NOT NULL,
    occurred_at       INTEGER NOT NULL,
    recorded_at       INTEGER NOT NULL,
    user_id           TEXT,
    action            TEXT,
    quantity          INTEGER NOT NULL,
    unit_price        INTEGER NOT NULL,
    status            TEXT    NOT NULL CHECK (status IN ('success', 'failed')),
    reason            TEXT,
    comment           TEXT    NOT NULL,
    key               TEXT,
    content           INTEGER,
    corrects          INTEGER,
    expires_at        INTEGER,                     -- of the grant or hold that the row makes
    money_minor       INTEGER,
    currency          TEXT,
    reference         TEXT,
    free_delta        INTEGER NOT NULL,
    purchased_delta   INTEGER NOT NULL,
    free_balance      INTEGER NOT NULL CHECK (free_balance >= 0),
    purchased_balance INTEGER NOT NULL CHECK (purchased_balance >= 0),
    entries           TEXT    NOT NULL,
    digest            INTEGER NOT NULL,            -- of all columns above
    PRIMARY KEY (account_id, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX transactions_key ON transactions (account_id, key) WHERE key IS NOT NULL;
CREATE INDEX transactions_occurred ON transactions (account_id, occurred_at);
CREATE INDEX transactions_corrects ON transactions (account_id, corrects) WHERE corrects IS NOT NULL;

CREATE TRIGGER transactions_are_never_updated BEFORE UPDATE ON transactions
BEGIN SELECT RAISE(ABORT, 'transactions are append-only: correct a row by a new one'); END;
CREATE TRIGGER transactions_are_never_deleted BEFORE DELETE ON transactions
BEGIN SELECT RAISE(ABORT, 'transactions are append-only: correct a row by a new one'); END;
-- REPLACE deletes the row it replaces past the trigger above, unless the connection asks for recursive triggers.
CREATE TRIGGER transactions_are_never_replaced BEFORE INSERT ON transactions
WHEN EXISTS (SELECT 1 FROM transactions WHERE account_id = NEW.account_id AND seq = NEW.seq)
  OR EXISTS (SELECT 1 FROM transactions WHERE account_id = NEW.account_id AND key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'transactions are append-only: correct a row by a new one'); END;

-- Which purchase a payment was recorded for (R12): one, over the whole platform, so this one table has a key that does not
-- begin with the account. purchase_id is the seq of the purchase.
CREATE TABLE payments (
    reference   TEXT    NOT NULL PRIMARY KEY,
    account_id  TEXT    NOT NULL REFERENCES accounts,
    purchase_id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX payments_purchase ON payments (account_id, purchase_id);

-- Lots of credits, as projections of the entries. grant_id is the seq of the transaction that made the grant.
CREATE TABLE grants (
    account_id     TEXT    NOT NULL REFERENCES accounts,
    grant_id       INTEGER NOT NULL,
    label          TEXT    NOT NULL,
    credit_type    TEXT    NOT NULL CHECK (credit_type IN ('free', 'purchased')),
    source         TEXT    NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount >= 0),
    starts_at      INTEGER NOT NULL,
    expires_at     INTEGER,
    consumed       INTEGER NOT NULL CHECK (consumed >= 0),
    refunded       INTEGER NOT NULL CHECK (refunded BETWEEN 0 AND consumed),
    lapsed         INTEGER NOT NULL CHECK (lapsed >= 0),
    lapsed_at_once INTEGER NOT NULL CHECK (lapsed_at_once BETWEEN 0 AND lapsed), -- refunded after its end (R11)
    returned       INTEGER NOT NULL CHECK (returned >= 0),
    adjusted       INTEGER NOT NULL CHECK (adjusted >= 0),
    held           INTEGER NOT NULL CHECK (held >= 0),
    remaining      INTEGER NOT NULL CHECK (remaining >= 0),
    lapsed_by      INTEGER,
    came_back      TEXT,                           -- [[refunded_at, credits], ...]: what of that is still there (R14)
    PRIMARY KEY (account_id, grant_id),
    CHECK (amount = consumed - refunded + lapsed + returned + adjusted + held + remaining)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX grants_label ON grants (account_id, label);
CREATE INDEX grants_open ON grants (account_id) WHERE remaining > 0 OR held > 0;

-- Open holds (R10). hold_id is the seq of the transaction that made the hold; a hold that is settled leaves this table.
CREATE TABLE holds (
    account_id TEXT    NOT NULL REFERENCES accounts,
    hold_id    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, hold_id)
) STRICT, WITHOUT ROWID;

-- Users with a monthly cap (R17), and what they used in each month, less what came back of that.
CREATE TABLE caps (
    account_id TEXT    NOT NULL REFERENCES accounts,
    user_id    TEXT    NOT NULL,
    credits    INTEGER NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (account_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE cap_months (
    account_id TEXT    NOT NULL REFERENCES accounts,
    user_id    TEXT    NOT NULL,
    month      TEXT    NOT NULL,
    used       INTEGER NOT NULL CHECK (used >= 0),
    PRIMARY KEY (account_id, user_id, month)
) STRICT, WITHOUT ROWID;
