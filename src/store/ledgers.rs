//! Ledgers, loaded and changed: the one way by which credits move.
//!
//! A batch is planned ahead on what was loaded, without a lock, and then written. A ledger's rows are numbered and every
//! change of a ledger is at least one row, so of two writers who planned on the same ledger the second is refused by the
//! key (account, number). It gets in line then: it loads, plans and writes while nobody else can change its accounts. On
//! SQLite that is the writer's transaction, on Postgres their rows are locked, in order of id. So it does, too, where it had
//! to wait long for its turn: a row says when it was its turn, not when somebody began to wait.

use super::apply::Projected;
use super::backend::{Loader, Tries, Tx};
use super::load;
use super::loading::{LOAD, LOAD_PLAIN};
use super::sql::{Row, Sql, set};
use super::stored::{columns, read_transaction};
use super::{Batch, Load, Result, Store, StoreError, While, accounts, json};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::ledger::{Ledger, Refusal};
use futures_util::TryStreamExt;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tokio::time;

/// How long a batch that was planned may wait for its turn to be written: longer than it does behind others of its process.
/// Another process may hold SQLite's only write lock for many seconds, in which holds end and months turn.
const WAITS_MAX: Duration = Duration::from_millis(250);

/// How many batches are best written at once: one is planned while another is committed.
pub const BATCHES_AT_ONCE: usize = 2;

impl Store {
    /// Loads what `load` asks for, lets `plan` change it, and writes the changes: all of them or none.
    ///
    /// When this returns, the changes are on disk. `plan` is asked again when another process was faster or kept this one
    /// waiting, or when a connection was lost while it was unknown whether the changes were committed: by their keys, it
    /// finds those that were.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then, unless the connection was lost for good.
    pub async fn update<R>(&self, load: &Load, mut plan: impl FnMut(&mut Batch) -> R) -> Result<R> {
        let mut tries = Tries::from(self);
        let mut may_be_written = false;
        loop {
            let is_first = tries.next();
            let mut plan = |batch: &mut Batch| {
                batch.may_be_written = may_be_written;
                plan(batch)
            };
            let done = if is_first {
                let done = ahead(self, load, &mut plan).await;
                if done.as_ref().is_err_and(StoreError::breaks_a_constraint) {
                    // Somebody else was first, whichever constraint it was that found out: get in line.
                    self.kept.was_stale();
                    continue;
                }
                done
            } else {
                in_line(self, load, &mut plan).await
            };
            may_be_written |= done.as_ref().is_err_and(StoreError::is_lost);
            if let Some(done) = tries.again(done).await {
                return done;
            }
        }
    }

    /// Loads what `load` asks for, to look at.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(&self, load: &Load) -> Result<Batch> {
        let rows = self.query(LOAD).bind(load.parameter()?).fetch_all().await.while_("loading ledgers")?;
        load::read_batch(&rows)
    }

    /// Ledgers as they were at `at`, as creditd knew them then: made of the rows recorded until then (R15). Accounts that
    /// were not known then are left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load_as_of(&self, ids: &[AccountId], at: Instant) -> Result<BTreeMap<AccountId, Ledger>> {
        const KNOWN: Sql = set!(account_id =>
            "SELECT a.account_id FROM v CROSS JOIN accounts AS a WHERE a.account_id = v.account_id AND a.created_at <= $2");
        const ROWS: Sql = set!(account_id =>
            concat!("SELECT ", columns!(), " FROM v CROSS JOIN transactions AS t
              WHERE t.account_id = v.account_id AND t.recorded_at <= $2 ORDER BY t.account_id, t.seq"));
        let mut tx = self.read().await?;
        let known = tx.query(KNOWN).bind(json(ids)?).bind(at.micros()).fetch_all().await;
        let known = known.while_("looking for accounts of the past")?;
        let known = known.iter().map(|row| Ok(AccountId::new(row.get(0))?)).collect::<Result<Vec<AccountId>>>()?;
        let rows = tx.query(LOAD).bind(Load::accounts(&known, at).parameter()?).fetch_all().await;
        let batch = load::read_batch(&rows.while_("loading ledgers")?)?;
        let new = |(id, ledger): (AccountId, Ledger)| (id, Ledger::new(ledger.account));
        let mut ledgers: BTreeMap<AccountId, Ledger> = batch.ledgers.into_iter().map(new).collect();
        let mut rows = tx.query(ROWS).bind(json(&known)?).bind(at.micros()).fetch();
        while let Some(row) = rows.try_next().await.while_("reading the past of ledgers")? {
            let (id, row) = read_transaction(&row)?;
            if let Some(ledger) = ledgers.get_mut(&id) {
                let replayed = ledger.replay_row(&row);
                replayed
                    .map_err(|source| StoreError::Corrupt(Refusal::Overflow { account: id, source }.to_string()))?;
            }
        }
        Ok(ledgers)
    }

    /// Up to `limit` accounts that have something to roll over at `now` (R3), those that are due longest first, behind `after`
    /// and up to and including `until`.
    /// It costs what is due, however many accounts there are.
    ///
    /// Whoever goes through all of them names the last one of a page to get the next, and asks with the same `now`. An account
    /// that is rolled over meanwhile is due later than `now`, one that cannot be is passed: so nothing that was due when
    /// this began is left out or comes twice.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts_due(
        &self,
        now: Instant,
        after: Option<&Due>,
        until: Option<&Due>,
        limit: usize,
    ) -> Result<Vec<Due>> {
        let rows = self
            .query(ACCOUNTS_DUE)
            .bind(now.micros())
            .bind(after.map_or(i64::MIN, |after| after.due_at.micros()))
            .bind(after.map_or("", |after| after.account.as_str()))
            .bind(until.map_or(i64::MAX, |until| until.due_at.micros()))
            .bind(until.map_or("", |until| until.account.as_str()))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("looking for accounts whose month has turned")?;
        let due =
            |row: &Row| Ok(Due { due_at: Instant::from_micros(row.get(0)), account: AccountId::new(row.get(1))? });
        rows.iter().map(due).collect()
    }
}

/// An account that has something to roll over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Since when.
    pub due_at: Instant,
    /// Which.
    pub account: AccountId,
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.due_at.micros(), self.account)
    }
}

impl FromStr for Due {
    type Err = StoreError;
    fn from_str(text: &str) -> Result<Due> {
        let bad = || StoreError::Corrupt(format!("a batch of accounts that ends at {text:?}"));
        let (due_at, account) = text.split_once(' ').ok_or_else(bad)?;
        let due_at = Instant::from_micros(due_at.parse().map_err(|_| bad())?);
        Ok(Due { due_at, account: AccountId::new(account)? })
    }
}

/// The statement of [`Store::accounts_due`], for tests to look at its plan.
pub const ACCOUNTS_DUE: &str =
    "SELECT due_at, account_id FROM accounts WHERE due_at <= $1 AND (due_at, account_id) > ($2, $3)
        AND (due_at, account_id) <= ($4, $5) ORDER BY due_at, account_id LIMIT $6";

/// A batch planned ahead, and written if nobody was faster. On Postgres that is two statements, where there are charges
/// and nothing more, and one where their ledgers are kept.
async fn ahead<R>(store: &Store, load: &Load, plan: &mut impl FnMut(&mut Batch) -> R) -> Result<R> {
    let Store { backend, kept, .. } = store;
    let mut loader = backend.loader().await?;
    let mut batch = kept.take(load);
    let has_kept = !batch.ledgers.is_empty();
    load_beyond(&mut loader, load, &mut batch).await?;
    let mut answer = plan(&mut batch);
    if has_kept && batch.rows_of_calls() < load.charges() {
        // What is no row, nobody checks.
        batch = Batch::default();
        load_beyond(&mut loader, load, &mut batch).await?;
        answer = plan(&mut batch);
    }
    if load.is_charges() {
        kept.put_prices(&batch.prices);
    }
    let projected = Projected::of(batch, load.is_charges());
    let written = projected.written()?;
    if let Loader::Postgres(connection) = &mut loader
        && !projected.is_empty()
        && written.is_plain()
        && store.fence.is_none()
    {
        written.write_at_once(connection).await?;
        backend.keep(loader);
        kept.put(projected.into_kept());
        return Ok(answer);
    }
    // First this connection goes back: who held one while waiting for another could wait for somebody who does the same.
    backend.keep(loader);
    if !projected.is_empty() {
        let planned_at = time::Instant::now();
        let mut tx = store.begin().await?;
        if planned_at.elapsed() > WAITS_MAX {
            return in_its_turn(tx, load, plan).await;
        }
        written.lock_in_order(&mut tx).await?;
        written.write(&mut tx).await?;
        tx.commit().await.while_("committing a batch")?;
        kept.put(projected.into_kept());
    }
    Ok(answer)
}

/// Loads those ledgers that `load` asks for and `batch` has not: accounts as most are for half the cost, then the others.
async fn load_beyond(loader: &mut Loader, load: &Load, batch: &mut Batch) -> Result<()> {
    if load.is_plain()
        && let Some(asked) = load.beyond(batch)
    {
        let rows = loader.query(LOAD_PLAIN).bind(asked.parameter()?).fetch_all().await;
        batch.extend(load::read_plain(rows.while_("loading ledgers")?)?);
    }
    if let Some(asked) = load.beyond(batch) {
        let rows = loader.query(LOAD).bind(asked.parameter()?).fetch_all().await;
        batch.extend(load::read_batch(&rows.while_("loading ledgers")?)?);
    }
    Ok(())
}

/// A batch on accounts that nobody else can change meanwhile.
async fn in_line<R>(store: &Store, load: &Load, plan: &mut impl FnMut(&mut Batch) -> R) -> Result<R> {
    let tx = store.begin().await?;
    in_its_turn(tx, load, plan).await
}

/// A batch in a transaction that begins.
async fn in_its_turn<R>(mut tx: Tx, load: &Load, plan: &mut impl FnMut(&mut Batch) -> R) -> Result<R> {
    accounts::lock(&mut tx, &load.ids()?).await?;
    let rows = tx.query(LOAD).bind(load.parameter()?).fetch_all().await.while_("loading ledgers")?;
    let mut batch = load::read_batch(&rows)?;
    let answer = plan(&mut batch);
    // Nothing is checked as it is written: it was loaded behind the locks.
    let projected = Projected::of(batch, false);
    if !projected.is_empty() {
        projected.written()?.write(&mut tx).await?;
    }
    tx.commit().await.while_("committing a batch")?;
    Ok(answer)
}

pub(super) fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
