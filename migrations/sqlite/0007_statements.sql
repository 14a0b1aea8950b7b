-- What statements of months said, so that whoever got one can be told what has changed since.
CREATE TABLE statements (
    account_id TEXT    NOT NULL REFERENCES accounts,
    month      TEXT    NOT NULL,
    version    INTEGER NOT NULL,                   -- 1, 2, 3, ...
    figures    TEXT    NOT NULL,                   -- an object in JSON
    digest     INTEGER NOT NULL,                   -- of all columns above
    -- the row that closed the month since, until its figures are compared with these
    closed_by  INTEGER,
    PRIMARY KEY (account_id, month, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX statements_closed ON statements (account_id, month) WHERE closed_by IS NOT NULL;
