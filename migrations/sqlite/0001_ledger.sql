-- The ledger. Instants are microseconds since 1970 UTC, months are 'YYYY-MM', credits are whole numbers.
-- Every key begins with account_id, so that the same tables distribute by account.

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    account_id       TEXT    NOT NULL PRIMARY KEY,
    name             TEXT    NOT NULL,
    opened_at        INTEGER NOT NULL,
    levels           TEXT,                         -- alert levels as JSON; NULL takes the platform's
    -- projections of the ledger, written together with its rows
    opened_through   TEXT,                         -- the last month whose free grant was made
    last_seq         INTEGER NOT NULL DEFAULT 0,
    last_recorded_at INTEGER NOT NULL DEFAULT -9223372036854775808,
    balance_free     INTEGER NOT NULL DEFAULT 0 CHECK (balance_free >= 0),
    balance_purchased INTEGER NOT NULL DEFAULT 0 CHECK (balance_purchased >= 0),
    rollover_due_at  INTEGER NOT NULL              -- when the next month opens or the next grant lapses
) STRICT, WITHOUT ROWID;
CREATE INDEX accounts_rollover_due ON accounts (rollover_due_at);

-- Zone and allowance of an account from a month on, until later terms.
CREATE TABLE terms (
    account_id TEXT    NOT NULL REFERENCES accounts,
    from_month TEXT    NOT NULL,
    zone       TEXT    NOT NULL,
    allowance  INTEGER NOT NULL CHECK (allowance >= 0),
    PRIMARY KEY (account_id, from_month)
) STRICT, WITHOUT ROWID;

CREATE TABLE admins (
    account_id     TEXT    NOT NULL REFERENCES accounts,
    email          TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    alerts         INTEGER NOT NULL CHECK (alerts IN (0, 1)),
    monthly_report INTEGER NOT NULL CHECK (monthly_report IN (0, 1)),
    daily_report   INTEGER NOT NULL CHECK (daily_report IN (0, 1)),
    PRIMARY KEY (account_id, email)
) STRICT, WITHOUT ROWID;

-- The action credit matrix: actions and their price versions. NULL credits retire an action.
CREATE TABLE actions (
    code  TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    help  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE prices (
    action         TEXT    NOT NULL REFERENCES actions,
    effective_from INTEGER NOT NULL,
    credits        INTEGER CHECK (credits >= 0),
    PRIMARY KEY (action, effective_from)
) STRICT, WITHOUT ROWID;

-- Append-only. free_balance and purchased_balance are the sums of all changes up to and with the row.
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
    money_minor       INTEGER,
    currency          TEXT,
    reference         TEXT,
    free_delta        INTEGER NOT NULL,
    purchased_delta   INTEGER NOT NULL,
    free_balance      INTEGER NOT NULL CHECK (free_balance >= 0),
    purchased_balance INTEGER NOT NULL CHECK (purchased_balance >= 0),
    PRIMARY KEY (account_id, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX transactions_key ON transactions (account_id, key) WHERE key IS NOT NULL;
CREATE INDEX transactions_occurred ON transactions (account_id, occurred_at);

-- What each transaction changed in each grant.
CREATE TABLE entries (
    account_id TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    grant_id   INTEGER NOT NULL,
    delta      INTEGER NOT NULL,
    PRIMARY KEY (account_id, seq, grant_id),
    FOREIGN KEY (account_id, seq) REFERENCES transactions
) STRICT, WITHOUT ROWID;

CREATE TRIGGER transactions_are_never_updated BEFORE UPDATE ON transactions
BEGIN SELECT RAISE(ABORT, 'transactions are append-only: correct a row by a new one'); END;
CREATE TRIGGER transactions_are_never_deleted BEFORE DELETE ON transactions
BEGIN SELECT RAISE(ABORT, 'transactions are append-only: correct a row by a new one'); END;
CREATE TRIGGER entries_are_never_updated BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only: correct a row by a new one'); END;
CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only: correct a row by a new one'); END;

-- Lots of credits, as projections of the entries. grant_id is the seq of the transaction that made the grant.
CREATE TABLE grants (
    account_id  TEXT    NOT NULL REFERENCES accounts,
    grant_id    INTEGER NOT NULL,
    label       TEXT    NOT NULL,
    credit_type TEXT    NOT NULL CHECK (credit_type IN ('free', 'purchased')),
    source      TEXT    NOT NULL,
    amount      INTEGER NOT NULL CHECK (amount >= 0),
    starts_at   INTEGER NOT NULL,
    expires_at  INTEGER,
    consumed    INTEGER NOT NULL CHECK (consumed >= 0),
    lapsed      INTEGER NOT NULL CHECK (lapsed >= 0),
    remaining   INTEGER NOT NULL CHECK (remaining >= 0),
    lapsed_by   INTEGER,
    PRIMARY KEY (account_id, grant_id),
    CHECK (amount = consumed + lapsed + remaining)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX grants_label ON grants (account_id, label);
CREATE INDEX grants_open ON grants (account_id) WHERE remaining > 0;
CREATE INDEX grants_lapsed ON grants (account_id, expires_at) WHERE lapsed > 0;
