-- Runs are shared by any number of processes: how far each is, who is at it, and when one that failed is tried again. And
-- backfills: past slots that somebody wants to be run.

CREATE TABLE runs_of_before AS SELECT * FROM runs;
DROP TABLE runs;

-- One execution of a job for one slot.
CREATE TABLE runs (
    backfill    INTEGER NOT NULL DEFAULT 0,        -- which one it is of; 0 for a slot of the job's own schedule
    job         TEXT    NOT NULL,
    slot        TEXT    NOT NULL,
    slot_at     INTEGER NOT NULL,                  -- when the slot fell due, for order
    state       TEXT    NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    attempts    INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    retry_at    INTEGER,                           -- when a run that failed is tried again
    outcome     TEXT,                              -- what it did, or why it failed
    progress    TEXT,                              -- JSON: what is ahead, and who has leased which part until when
    PRIMARY KEY (backfill, job, slot)
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_latest ON runs (job, slot_at);
CREATE INDEX runs_backfill ON runs (backfill, state, slot_at, job, slot) WHERE backfill <> 0;
CREATE INDEX runs_started ON runs (started_at);
CREATE INDEX runs_open ON runs (state) WHERE state IN ('waiting', 'running', 'failed');
-- Periods are run zone by zone.
CREATE INDEX terms_zone ON terms (zone, account_id);

INSERT INTO runs (job, slot, slot_at, state, attempts, started_at, finished_at, retry_at, outcome)
SELECT job, slot, slot_at, CASE state WHEN 'running' THEN 'failed' ELSE state END, attempts, started_at,
       CASE state WHEN 'running' THEN started_at ELSE finished_at END,
       CASE WHEN state IN ('running', 'failed') THEN started_at END,
       CASE state WHEN 'running' THEN 'its process ended before it did' ELSE outcome END
  FROM runs_of_before;
DROP TABLE runs_of_before;

-- Past slots that somebody wants to be run, each of which is a run.
CREATE TABLE backfills (
    number     INTEGER NOT NULL PRIMARY KEY CHECK (number > 0),
    asked      TEXT    NOT NULL,                   -- JSON: what for
    created_at INTEGER NOT NULL,
    ended_at   INTEGER,
    state      TEXT    NOT NULL CHECK (state IN ('open', 'done', 'cancelled'))
) STRICT;
