-- Mails that an admin gets on request only. A row is a wish.
CREATE TABLE opt_ins (
    account_id TEXT    NOT NULL,
    email      TEXT    NOT NULL,
    mail       TEXT    NOT NULL CHECK (mail IN ('resolved', 'lapse-soon')),
    digest     INTEGER NOT NULL,                   -- of all columns above
    PRIMARY KEY (account_id, email, mail),
    FOREIGN KEY (account_id, email) REFERENCES admins
) STRICT, WITHOUT ROWID;
