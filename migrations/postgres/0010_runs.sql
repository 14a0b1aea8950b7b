-- Runs are shared by any number of processes: how far each is, who is at it, and when one that failed is tried again. And
-- backfills: past slots that somebody wants to be run.

ALTER TABLE runs ADD COLUMN backfill BIGINT NOT NULL DEFAULT 0;  -- which one it is of; 0 for a slot of the job's own schedule
ALTER TABLE runs ADD COLUMN retry_at BIGINT;                     -- when a run that failed is tried again
ALTER TABLE runs ADD COLUMN progress TEXT;                       -- JSON: what is ahead, and who has leased which part until when
ALTER TABLE runs DROP CONSTRAINT runs_state_check;
ALTER TABLE runs ADD CONSTRAINT runs_state_check
    CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled'));
ALTER TABLE runs DROP CONSTRAINT runs_pkey;
ALTER TABLE runs ADD PRIMARY KEY (backfill, job, slot);
CREATE INDEX runs_backfill ON runs (backfill, state, slot_at, job, slot) WHERE backfill <> 0;
CREATE INDEX runs_started ON runs (started_at);
CREATE INDEX runs_open ON runs (state) WHERE state IN ('waiting', 'running', 'failed');
-- Periods are run zone by zone.
CREATE INDEX terms_zone ON terms (zone, account_id);
UPDATE runs SET retry_at = started_at WHERE state IN ('running', 'failed');
UPDATE runs SET state = 'failed', finished_at = started_at, outcome = 'its process ended before it did' WHERE state = 'running';

-- Past slots that somebody wants to be run, each of which is a run.
CREATE TABLE backfills (
    number     BIGINT NOT NULL PRIMARY KEY CHECK (number > 0),
    asked      TEXT   NOT NULL,                   -- JSON: what for
    created_at BIGINT NOT NULL,
    ended_at   BIGINT,
    state      TEXT   NOT NULL CHECK (state IN ('open', 'done', 'cancelled'))
);
