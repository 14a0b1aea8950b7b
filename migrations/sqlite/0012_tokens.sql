-- Bearer tokens, of which no more is kept than their hashes.
CREATE TABLE tokens (
    id           TEXT    NOT NULL PRIMARY KEY,     -- the beginning of the hash, which opens nothing
    hash         TEXT    NOT NULL,                 -- SHA-256 of the token, in hexadecimal
    name         TEXT    NOT NULL,
    scope        TEXT    NOT NULL CHECK (scope IN ('read', 'charge', 'admin')),
    account_id   TEXT,                             -- NULL for all accounts, and the platform
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,                          -- NULL for never
    revoked_at   INTEGER,
    digest       INTEGER NOT NULL,                 -- of all columns above
    last_used_at INTEGER                           -- to the minute
) STRICT, WITHOUT ROWID;
