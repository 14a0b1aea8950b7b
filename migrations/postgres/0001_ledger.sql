-- The ledger. Instants are microseconds since 1970 UTC, months are 'YYYY-MM', credits are whole numbers.
-- Ids and keys sort by bytes, as in SQLite. Every key begins with account_id, so that the same tables distribute by account.
-- A digest is the first 64 bits of a hash over the facts beside it: `creditd verify` finds what else was changed.

CREATE TABLE meta (
    name   TEXT NOT NULL PRIMARY KEY,
    value  TEXT NOT NULL,
    digest BIGINT NOT NULL
);

CREATE TABLE accounts (
    account_id        TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    name              TEXT    NOT NULL,
    opened_at         BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,            -- when creditd learned of the account
    levels            TEXT,                        -- alert levels as JSON; NULL takes the platform's
    digest            BIGINT NOT NULL,            -- of all columns above
    -- projections of the ledger, written together with its rows
    opened_through    TEXT COLLATE "C",                        -- the last month whose free grant was made
    closed_through    TEXT COLLATE "C",                        -- the last month that takes no late usage any more (R14)
    reopened_through  TEXT,                        -- the last month that was opened again and not closed since
    last_seq          BIGINT NOT NULL DEFAULT 0,
    last_recorded_at  BIGINT NOT NULL DEFAULT -9223372036854775808,
    balance_free      BIGINT NOT NULL DEFAULT 0 CHECK (balance_free >= 0),
    balance_purchased BIGINT NOT NULL DEFAULT 0 CHECK (balance_purchased >= 0),
    due_at            BIGINT NOT NULL             -- when the next month opens, grant lapses or hold expires
);
CREATE INDEX accounts_due ON accounts (due_at, account_id);

-- Zone and allowance of an account from a month on, until later terms.
CREATE TABLE terms (
    account_id TEXT COLLATE "C"    NOT NULL REFERENCES accounts,
    from_month TEXT COLLATE "C"    NOT NULL,
    zone       TEXT    NOT NULL,
    allowance  BIGINT NOT NULL CHECK (allowance >= 0),
    digest     BIGINT NOT NULL,
    PRIMARY KEY (account_id, from_month)
);

-- When an account was closed, and until when (R18).
CREATE TABLE closures (
    account_id  TEXT COLLATE "C"    NOT NULL REFERENCES accounts,
    closed_at   BIGINT NOT NULL,
    reopened_at BIGINT,
    PRIMARY KEY (account_id, closed_at)
);

CREATE TABLE admins (
    account_id     TEXT COLLATE "C"    NOT NULL REFERENCES accounts,
    email          TEXT COLLATE "C"    NOT NULL,
    name           TEXT    NOT NULL,
    alerts         BOOLEAN NOT NULL,
    monthly_report BOOLEAN NOT NULL,
    daily_report   BOOLEAN NOT NULL,
    digest         BIGINT NOT NULL,
    PRIMARY KEY (account_id, email)
);

-- The action credit matrix: actions and their price versions. NULL credits retire an action.
CREATE TABLE actions (
    code   TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    title  TEXT    NOT NULL,
    help   TEXT    NOT NULL,
    digest BIGINT NOT NULL                        -- of all columns above, and of the action's prices
);

CREATE TABLE prices (
    action         TEXT COLLATE "C"    NOT NULL REFERENCES actions,
    effective_from BIGINT NOT NULL,
    credits        BIGINT CHECK (credits >= 0),
    digest         BIGINT NOT NULL,
    PRIMARY KEY (action, effective_from)
);

-- Append-only. free_balance and purchased_balance are the sums of all changes up to and with the row; entries says what
-- the row changed in each grant: [[grant_id, credit_type, delta], ...] in burn order.
CREATE TABLE transactions (
    account_id        TEXT COLLATE "C"    NOT NULL REFERENCES accounts,
    seq               BIGINT NOT NULL CHECK (seq > 0),
    kind              TEXT COLLATE "C"    NOT NULL,
    occurred_at       BIGINT NOT NULL,
    recorded_at       BIGINT NOT NULL,
    user_id           TEXT COLLATE "C",
    action            TEXT COLLATE "C",
    quantity          BIGINT NOT NULL,
    unit_price        BIGINT NOT NULL,
    status            TEXT    NOT NULL CHECK (status IN ('success', 'failed')),
    reason            TEXT,
    comment           TEXT    NOT NULL,
    key               TEXT COLLATE "C",
    content           BIGINT,
    corrects          BIGINT,
    expires_at        BIGINT,                     -- of the grant or hold that the row makes
    money_minor       BIGINT,
    currency          TEXT,
    reference         TEXT COLLATE "C",
    free_delta        BIGINT NOT NULL,
    purchased_delta   BIGINT NOT NULL,
    free_balance      BIGINT NOT NULL CHECK (free_balance >= 0),
    purchased_balance BIGINT NOT NULL CHECK (purchased_balance >= 0),
    entries           TEXT    NOT NULL,
    digest            BIGINT NOT NULL,            -- of all columns above
    PRIMARY KEY (account_id, seq)
);
CREATE UNIQUE INDEX transactions_key ON transactions (account_id, key) WHERE key IS NOT NULL;
CREATE INDEX transactions_occurred ON transactions (account_id, occurred_at);
CREATE INDEX transactions_corrects ON transactions (account_id, corrects) WHERE corrects IS NOT NULL;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'transactions are append-only: correct a row by a new one'; END $$;
CREATE TRIGGER transactions_are_never_changed BEFORE UPDATE OR DELETE ON transactions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER transactions_are_never_truncated BEFORE TRUNCATE ON transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Which purchase a payment was recorded for (R12): one, over the whole platform, so this one table has a key that does not
-- begin with the account. purchase_id is the seq of the purchase.
CREATE TABLE payments (
    reference   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id  TEXT COLLATE "C" NOT NULL REFERENCES accounts,
    purchase_id BIGINT NOT NULL
);
CREATE INDEX payments_purchase ON payments (account_id, purchase_id);

-- Lots of credits, as projections of the entries. grant_id is the seq of the transaction that made the grant.
CREATE TABLE grants (
    account_id     TEXT COLLATE "C"    NOT NULL REFERENCES accounts,
    grant_id       BIGINT NOT NULL,
    label          TEXT COLLATE "C"    NOT NULL,
    credit_type    TEXT    NOT NULL CHECK (credit_type IN ('free', 'purchased')),
    source         TEXT    NOT NULL,
    amount         BIGINT NOT NULL CHECK (amount >= 0),
    starts_at      BIGINT NOT NULL,
    expires_at     BIGINT,
    consumed       BIGINT NOT NULL CHECK (consumed >= 0),
    refunded       BIGINT NOT NULL CHECK (refunded BETWEEN 0 AND consumed),
    lapsed         BIGINT NOT NULL CHECK (lapsed >= 0),
    lapsed_at_once BIGINT NOT NULL CHECK (lapsed_at_once BETWEEN 0 AND lapsed), -- refunded after its end (R11)
    returned       BIGINT NOT NULL CHECK (returned >= 0),
    adjusted       BIGINT NOT NULL CHECK (adjusted >= 0),
    held           BIGINT NOT NULL CHECK (held >= 0),
    remaining      BIGINT NOT NULL CHECK (remaining >= 0),
    lapsed_by      BIGINT,
    came_back      TEXT,                           -- [[refunded_at, credits], ...]: what of that is still there (R14)
    PRIMARY KEY (account_id, grant_id),
    CHECK (amount = consumed - refunded + lapsed + returned + adjusted + held + remaining)
);
CREATE UNIQUE INDEX grants_label ON grants (account_id, label);
CREATE INDEX grants_open ON grants (account_id) WHERE remaining > 0 OR held > 0;

-- Open holds (R10). hold_id is the seq of the transaction that made the hold; a hold that is settled leaves this table.
CREATE TABLE holds (
    account_id TEXT COLLATE "C"    NOT NULL REFERENCES accounts,
    hold_id    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, hold_id)
);

-- Users with a monthly cap (R17), and what they used in each month, less what came back of that.
CREATE TABLE caps (
    account_id TEXT COLLATE "C"    NOT NULL REFERENCES accounts,
    user_id    TEXT COLLATE "C"    NOT NULL,
    credits    BIGINT NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (account_id, user_id)
);

CREATE TABLE cap_months (
    account_id TEXT COLLATE "C"    NOT NULL REFERENCES accounts,
    user_id    TEXT COLLATE "C"    NOT NULL,
    month      TEXT COLLATE "C"    NOT NULL,
    used       BIGINT NOT NULL CHECK (used >= 0),
    PRIMARY KEY (account_id, user_id, month)
);
