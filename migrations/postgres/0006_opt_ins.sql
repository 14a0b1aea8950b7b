-- Mails that an admin gets on request only. A row is a wish.
CREATE TABLE opt_ins (
    account_id TEXT COLLATE "C" NOT NULL,
    email      TEXT COLLATE "C" NOT NULL,
    mail       TEXT COLLATE "C" NOT NULL CHECK (mail IN ('resolved', 'lapse-soon')),
    digest     BIGINT NOT NULL,                    -- of all columns above
    PRIMARY KEY (account_id, email, mail),
    FOREIGN KEY (account_id, email) REFERENCES admins
);
