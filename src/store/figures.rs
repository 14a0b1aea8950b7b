//! How the ledger's jobs and mail stand, in a few figures: for metrics and for whoever looks after the ledger.
//!
//! They are asked for again and again, so no statement here reads what grows with the ledger's age: of transactions none, of
//! the outbox what an index has of those messages that still need something.

use super::runs::{columns, read_run};
use super::sql::Sql;
use super::{Result, Store, While};
use crate::core::calendar::Instant;
use crate::core::run::RunState;
use crate::core::schedule::Job;
use std::collections::BTreeMap;

/// Its name and version.
const VERSION: Sql = Sql {
    sqlite: "SELECT 'SQLite ' || sqlite_version()",
    postgres: "SELECT 'Postgres ' || current_setting('server_version')",
};

/// How a job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobFigures {
    /// When a run of it was last done.
    pub done_at: Option<Instant>,
    /// How long the run took that ended last, done or failed, in microseconds.
    pub took_us: Option<i64>,
    /// Whether that run failed.
    pub failed: bool,
    /// Since when the operators know that it fails, while it does.
    pub failing_since: Option<Instant>,
}

/// How the ledger stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Of jobs that ever ran.
    pub jobs: BTreeMap<Job, JobFigures>,
    /// How many runs are recorded of each job in each state.
    pub runs: BTreeMap<(Job, RunState), u64>,
    /// How many of those that are running were handed back, so that nobody is at them.
    pub handed_back: BTreeMap<Job, u64>,
    /// Messages that wait to be delivered.
    pub waiting: u64,
    /// Since when the one that is due longest is.
    pub waiting_since: Option<Instant>,
    /// Messages that were given up.
    pub failed: u64,
    /// Messages of which nobody knows whether they were delivered.
    pub ambiguous: u64,
    /// Events for webhooks that wait.
    pub events_waiting: u64,
    /// Since when the first of them is due.
    pub events_waiting_since: Option<Instant>,
    /// Events for webhooks that were given up.
    pub events_failed: u64,
    /// Addresses of webhooks that wanted no more.
    pub webhooks_stopped: u64,
    /// Addresses that get no mail.
    pub suppressed: u64,
    /// Alerts that are open, by level. An account has one for each level that it is at or below.
    pub alerts: BTreeMap<String, u64>,
    /// When the newest row was recorded.
    pub newest_row_at: Option<Instant>,
    /// The clock of the database, which on SQLite is this machine's.
    pub database_at: Instant,
}

impl Store {
    /// How the ledger stands now.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn figures(&self) -> Result<Figures> {
        let mut figures = Figures {
            jobs: BTreeMap::new(),
            runs: BTreeMap::new(),
            handed_back: BTreeMap::new(),
            waiting: 0,
            waiting_since: None,
            failed: 0,
            ambiguous: 0,
            events_waiting: 0,
            events_waiting_since: None,
            events_failed: 0,
            webhooks_stopped: 0,
            suppressed: 0,
            alerts: BTreeMap::new(),
            newest_row_at: self.newest_row_at().await?,
            database_at: self.clock().await?,
        };
        self.read_runs(&mut figures).await?;
        self.read_outbox(&mut figures).await?;
        for row in self
            .query("SELECT level, count(*) FROM alerts WHERE resolved_at IS NULL GROUP BY level")
            .fetch_all()
            .await
            .while_("counting open alerts")?
        {
            figures.alerts.insert(row.get(0), count(row.get(1)));
        }
        Ok(figures)
    }

    /// How many accounts have open alerts. It reads all of these.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn count_alerted(&self) -> Result<u64> {
        let alerted = self.query("SELECT count(DISTINCT account_id) FROM alerts WHERE resolved_at IS NULL").fetch_one();
        Ok(count(alerted.await.while_("counting accounts with open alerts")?.get(0)))
    }

    /// What the database calls itself, with its version.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn database_version(&self) -> Result<String> {
        let version = self.query(VERSION).fetch_one().await.while_("asking for the database's version")?;
        Ok(version.get(0))
    }

    async fn read_runs(&self, figures: &mut Figures) -> Result<()> {
        for row in self
            .query("SELECT job, state, count(*), max(finished_at) FROM runs WHERE backfill = 0 GROUP BY job, state")
            .fetch_all()
            .await
            .while_("counting runs")?
        {
            // What a newer creditd wrote is none of this one's.
            let (Some(job), Some(state)) = (Job::from_word(row.get(0)), RunState::from_word(row.get(1))) else {
                continue;
            };
            figures.runs.insert((job, state), count(row.get(2)));
            if state == RunState::Done {
                figures.jobs.entry(job).or_default().done_at = row.get::<Option<i64>>(3).map(Instant::from_micros);
            }
        }
        for row in self
            .query(
                "SELECT r.job, r.state, r.finished_at - r.started_at
                   FROM (SELECT job, max(finished_at) AS finished_at FROM runs WHERE backfill = 0 GROUP BY job) AS last
                   JOIN runs AS r ON r.job = last.job AND r.finished_at = last.finished_at AND r.backfill = 0",
            )
            .fetch_all()
            .await
            .while_("looking for the last runs")?
        {
            let Some(job) = Job::from_word(row.get(0)) else { continue };
            let entry = figures.jobs.entry(job).or_default();
            entry.took_us = Some(row.get::<i64>(2).max(0));
            entry.failed |= row.get::<&str>(1) == RunState::Failed.as_str();
        }
        const BEGUN: &str = concat!("SELECT ", columns!(), " FROM runs WHERE backfill = 0 AND state = 'running'");
        for row in self.query(BEGUN).fetch_all().await.while_("looking for runs that were begun")? {
            let record = read_run(&row)?;
            *figures.handed_back.entry(record.id.job).or_default() += u64::from(record.run.is_handed_back());
        }
        let incidents = self.query("SELECT job, began_at FROM incidents").fetch_all().await;
        for row in incidents.while_("asking which jobs fail")? {
            let Some(job) = Job::from_word(row.get(0)) else { continue };
            figures.jobs.entry(job).or_default().failing_since = Some(Instant::from_micros(row.get(1)));
        }
        Ok(())
    }

    async fn read_outbox(&self, figures: &mut Figures) -> Result<()> {
        let waiting = self.query("SELECT count(*), min(due_at) FROM outbox WHERE state = 'pending'").fetch_one().await;
        let waiting = waiting.while_("counting messages that wait")?;
        figures.waiting = count(waiting.get(0));
        figures.waiting_since = waiting.get::<Option<i64>>(1).map(Instant::from_micros);
        for row in self
            .query("SELECT state, count(*) FROM outbox WHERE state IN ('failed', 'ambiguous') GROUP BY state")
            .fetch_all()
            .await
            .while_("counting messages that were not delivered")?
        {
            match row.get::<&str>(0) {
                "failed" => figures.failed = count(row.get(1)),
                _ => figures.ambiguous = count(row.get(1)),
            }
        }
        let events =
            self.query("SELECT count(*), min(due_at) FROM webhook_events WHERE state = 'pending'").fetch_one().await;
        let events = events.while_("counting events that wait")?;
        figures.events_waiting = count(events.get(0));
        figures.events_waiting_since = events.get::<Option<i64>>(1).map(Instant::from_micros);
        let failed = self.query("SELECT count(*) FROM webhook_events WHERE state = 'failed'").fetch_one().await;
        figures.events_failed = count(failed.while_("counting events that were given up")?.get(0));
        let stopped = self.query("SELECT count(*) FROM webhooks WHERE stopped_at IS NOT NULL").fetch_one().await;
        figures.webhooks_stopped = count(stopped.while_("counting webhooks that were stopped")?.get(0));
        let suppressed = self.query("SELECT count(*) FROM suppressions").fetch_one().await;
        figures.suppressed = count(suppressed.while_("counting suppressed addresses")?.get(0));
        Ok(())
    }

    /// When the newest row of any account was recorded; `None` where there is none.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn newest_row_at(&self) -> Result<Option<Instant>> {
        let newest = self.query("SELECT max(last_recorded_at) FROM accounts").fetch_one().await;
        let newest = newest.while_("looking for the newest row")?.get::<Option<i64>>(0).map(Instant::from_micros);
        Ok(newest.filter(|at| *at > Instant::from_micros(i64::MIN)))
    }

    /// The zones that accounts have or will have, as they are stored: this program need not know them.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn stored_zones(&self) -> Result<Vec<String>> {
        let zones = self.query("SELECT DISTINCT zone FROM terms ORDER BY zone").fetch_all().await;
        Ok(zones.while_("reading the zones of accounts")?.iter().map(|row| row.get(0)).collect())
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
