-- What statements of months said, so that whoever got one can be told what has changed since.
CREATE TABLE statements (
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts,
    month      TEXT COLLATE "C" NOT NULL,
    version    BIGINT NOT NULL,                    -- 1, 2, 3, ...
    figures    TEXT NOT NULL,                      -- an object in JSON
    digest     BIGINT NOT NULL,                    -- of all columns above
    -- the row that closed the month since, until its figures are compared with these
    closed_by  BIGINT,
    PRIMARY KEY (account_id, month, version)
);
CREATE INDEX statements_closed ON statements (account_id, month) WHERE closed_by IS NOT NULL;
