-- Messages to operators, which belong to no account, and the failures of jobs that they were told of.

-- '' is what belongs to none.
ALTER TABLE outbox DROP CONSTRAINT IF EXISTS outbox_account_id_fkey;
ALTER TABLE outbox_parts DROP CONSTRAINT IF EXISTS outbox_parts_account_id_fkey;

-- Jobs that fail since some time and that the operators were told of. A job that is well has no row.
CREATE TABLE incidents (
    job      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    slot     TEXT COLLATE "C" NOT NULL,                 -- the first that failed
    began_at BIGINT NOT NULL,
    why      TEXT NOT NULL
);
