//! `creditd verify`: proves R16 and its kin over the whole ledger, by code that shares nothing with the writers.
//!
//! The ledger is gone through in slices: accounts that follow each other, with not too many rows among them. A slice is
//! read in one database transaction of its own, for what is written of an account is written together. So memory, what
//! the database sorts, and how long it must keep old versions of rows do not grow with the ledger, and the time grows no
//! faster than it. One account is a slice, too.
//!
//! What a slice must fulfil is said in three ways:
//! - sets: each [`Group`] is one statement that recomputes figures from the transactions and returns those that are stored
//!   otherwise ([`rows`], [`grants`], [`about`]);
//! - one row after the other, where their order counts or a calendar is needed ([`reading`], [`account`]);
//! - digests of what no sum would miss ([`facts`]).
//!
//! What is not of an account ([`platform`]) is checked once. Statements are proved by the layers that make them, with
//! [`statements`] as what they are compared with.

mod about;
mod account;
mod attachments;
mod came_back;
mod facts;
mod grants;
mod openings;
mod platform;
mod reading;
mod rows;
mod statements;

pub use statements::StatementSums;

use super::backend::Tx;
use super::sql::Sql;
use super::{Result, Store, While};
use crate::core::ids::AccountId;
use facts::text;
use futures_util::TryStreamExt;

/// Differing rows kept per check: the first ones tell what is wrong, a million of them would not tell more.
const DRIFTS_MAX: usize = 20;
/// Most accounts in a slice.
const SLICE_ACCOUNTS_MAX: i64 = 10_000;
/// Most rows in a slice, unless one account has more. What a statement sorts or keeps of a slice is some 10 MB.
const SLICE_ROWS_MAX: i64 = 100_000;
/// An end behind every account: the last character there is.
const END: &str = "\u{10ffff}";

/// Settings of Postgres for one transaction, of those that the server knows: one account may have any number of rows;
/// a plan made for any slice is right for all of them, as slices are alike; compiling it would take longer than it runs;
/// what is sorted of a slice has room in memory; and rows come in the order of their key, for which Postgres, before it has
/// statistics of a table, would sort by another index all that is left of the slice, for each page of it.
const SETTINGS: &str = "SELECT set_config(s.name, v.value, true)
   FROM (VALUES ('statement_timeout', '0'), ('plan_cache_mode', 'force_generic_plan'), ('jit', 'off'),
                ('enable_incremental_sort', 'off'), ('work_mem', '64MB')) AS v (name, value) JOIN pg_settings AS s ON s.name = v.name";

/// A stored figure that is not what the transactions say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Which check.
    pub check: &'static str,
    /// Which account; `-` for what belongs to none.
    pub account: String,
    /// Which row and column.
    pub what: String,
    /// What the transactions say.
    pub expected: String,
    /// What is stored.
    pub found: String,
}

/// What was checked and found so far.
#[derive(Debug, Default)]
struct Findings {
    /// The checks that were done, each with its first drifts, up to [`DRIFTS_MAX`].
    by_check: Vec<(&'static str, Vec<Drift>)>,
}

impl Findings {
    /// Notes that a check is done.
    fn does(&mut self, checks: impl IntoIterator<Item = &'static str>) {
        for check in checks {
            self.drifts_of(check);
        }
    }

    fn drifts_of(&mut self, check: &'static str) -> &mut Vec<Drift> {
        let known = self.by_check.iter().position(|(done, _)| *done == check);
        let at = known.unwrap_or(self.by_check.len());
        if known.is_none() {
            self.by_check.push((check, Vec::new()));
        }
        &mut self.by_check[at].1
    }

    fn add(&mut self, drift: Drift) {
        let drifts = self.drifts_of(drift.check);
        if drifts.len() < DRIFTS_MAX {
            drifts.push(drift);
        }
    }

    /// Adds a drift of `check` unless both texts are the same.
    fn compare(&mut self, check: &'static str, account: &str, what: &str, expected: &str, found: &str) {
        if expected != found {
            self.add(Drift {
                check,
                account: account.to_owned(),
                what: what.to_owned(),
                expected: expected.to_owned(),
                found: found.to_owned(),
            });
        }
    }
}

/// Accounts `from <= account_id < to`.
#[derive(Clone, Debug)]
struct Slice {
    from: String,
    to: String,
}

/// Checks that one statement does. It takes a slice as `$1` and `$2`, and returns for each drift the name of the check,
/// account, what, expected and found.
struct Group {
    checks: &'static [&'static str],
    sql: Sql,
}

/// A [`Group`]: the common table expressions in the words of each database, and for each check a SELECT of account, what,
/// expected and found. Names of checks have no apostrophe.
macro_rules! group {
    (sqlite: $sqlite:expr, postgres: $postgres:expr; $check:literal => $select:expr; $($checks:literal => $selects:expr;)*) => {
        $crate::store::verify::Group {
            checks: &[$check, $($checks),*],
            sql: $crate::store::sql::Sql {
                sqlite: concat!(
                    $sqlite, " SELECT '", $check, "', drift.* FROM (", $select, ") AS drift",
                    $(" UNION ALL SELECT '", $checks, "', drift.* FROM (", $selects, ") AS drift",)*
                ),
                postgres: concat!(
                    $postgres, " SELECT '", $check, "', drift.* FROM (", $select, ") AS drift",
                    $(" UNION ALL SELECT '", $checks, "', drift.* FROM (", $selects, ") AS drift",)*
                ),
            },
        }
    };
}
use group;

/// The condition that a table, by its alias, is in the slice.
macro_rules! slice {
    ($table:literal) => {
        concat!($table, ".account_id >= $1 AND ", $table, ".account_id < $2")
    };
}
use slice;

/// The entries of the rows of a table, by its alias, as the table `j` for [`entry`]'s columns.
macro_rules! entries {
    (sqlite $table:literal) => {
        concat!("jsonb_each(", $table, ".entries) AS j")
    };
    (postgres $table:literal) => {
        concat!("jsonb_array_elements(", $table, ".entries::jsonb) AS j (value)")
    };
}
use entries;

/// The columns `grant_id`, `credit_type` and `delta` of an entry.
macro_rules! entry {
    () => {
        "CAST(j.value ->> 0 AS BIGINT) AS grant_id, j.value ->> 1 AS credit_type, CAST(j.value ->> 2 AS BIGINT) AS delta"
    };
}
use entry;

/// Goes through a ledger, slice by slice.
#[derive(Debug)]
pub struct Audit<'a> {
    store: &'a Store,
    only: Option<AccountId>,
    /// Where the next slice begins; `None` when all is done.
    from: Option<String>,
    /// The last slice, if rows of it have left the database: what they are part of is still to be looked at.
    left: Option<Slice>,
    findings: Findings,
}

impl Store {
    /// Begins to verify the ledger, or only one account.
    #[must_use]
    pub fn audit(&self, only: Option<&AccountId>) -> Audit<'_> {
        let from = only.map_or_else(String::new, |account| account.as_str().to_owned());
        Audit { store: self, only: only.cloned(), from: Some(from), left: None, findings: Findings::default() }
    }
}

impl Audit<'_> {
    /// Checks the next slice, and returns its accounts; `None` when everything was checked.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn step(&mut self) -> Result<Option<Vec<AccountId>>> {
        let Some(from) = self.from.take() else { return Ok(None) };
        let mut tx = self.store.read().await?;
        if let Tx::Postgres(_) = tx {
            tx.query(SETTINGS).fetch_all().await.while_("preparing to verify the ledger")?;
        }
        if self.only.is_none() && from.is_empty() {
            platform::check(&mut tx, &mut self.findings).await?;
        }
        let (slice, accounts, next) = self.slice(&mut tx, from).await?;
        reading::check_beside(&mut tx, &slice, &mut self.findings).await?;
        attachments::check(&mut tx, &slice, &mut self.findings).await?;
        let are_all_there = check_groups(&mut tx, &[rows::GROUPS_BESIDE], &slice, &mut self.findings).await?
            && !openings::have_left(&mut tx, &slice, &mut self.findings).await?;
        if are_all_there {
            check_rows(&mut tx, &slice, &mut self.findings).await?;
        }
        (self.from, self.left) = (next, (!are_all_there).then_some(slice));
        Ok(Some(accounts))
    }

    /// Whether rows of the last slice have left the database, so that [`Audit::look_into`] is to follow.
    #[must_use]
    pub const fn have_left(&self) -> bool {
        self.left.is_some()
    }

    /// Checks what the last step could not: the rows of the slice, on a whole copy of its accounts, and what stands in the database for
    /// those that have left.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn look_into(&mut self, whole: &Store) -> Result<()> {
        let Some(slice) = self.left.take() else { return Ok(()) };
        let mut tx = whole.read().await?;
        check_rows(&mut tx, &slice, &mut self.findings).await?;
        openings::check(&mut self.store.read().await?, &mut tx, &slice, &mut self.findings).await
    }

    /// Notes a check that was done elsewhere, with what it found.
    pub fn note(&mut self, check: &'static str, drifts: impl IntoIterator<Item = Drift>) {
        self.findings.does([check]);
        drifts.into_iter().for_each(|drift| self.findings.add(drift));
    }

    /// Adds what another one has found.
    pub fn absorb(&mut self, other: Audit<'_>) {
        for (check, drifts) in other.findings.by_check {
            self.note(check, drifts);
        }
    }

    /// How many checks were done, and the first drifts that each found.
    #[must_use]
    pub fn finish(self) -> (usize, Vec<Drift>) {
        let checks = self.findings.by_check.len();
        (checks, self.findings.by_check.into_iter().flat_map(|(_, drifts)| drifts).collect())
    }

    /// The slice that begins at `from`, its accounts, and where the next one begins.
    async fn slice(&self, tx: &mut Tx, from: String) -> Result<(Slice, Vec<AccountId>, Option<String>)> {
        if let Some(account) = &self.only {
            // No account's id has a character below this one.
            let slice = Slice { to: format!("{from}\u{1}"), from };
            return Ok((slice, vec![account.clone()], None));
        }
        let mut listed = tx
            .query("SELECT account_id, last_seq FROM accounts WHERE account_id >= $1 ORDER BY account_id LIMIT $2")
            .bind(from.as_str())
            .bind(SLICE_ACCOUNTS_MAX + 1)
            .fetch();
        let (mut accounts, mut rows, mut next) = (Vec::new(), 0_i64, None);
        while let Some(row) = listed.try_next().await.while_("listing accounts")? {
            let id: String = row.get(0);
            rows = rows.saturating_add(row.get(1));
            let is_full = accounts.len() as u64 >= SLICE_ACCOUNTS_MAX.unsigned_abs() || rows > SLICE_ROWS_MAX;
            if is_full && !accounts.is_empty() {
                next = Some(id);
                break;
            }
            accounts.push(id);
        }
        let to = next.clone().unwrap_or_else(|| END.to_owned());
        // What is no id of an account differs from its digest.
        let accounts = accounts.iter().filter_map(|id| AccountId::new(id).ok()).collect();
        Ok((Slice { from, to }, accounts, next))
    }
}

/// Checks everything that needs the rows of the slice.
async fn check_rows(tx: &mut Tx, slice: &Slice, findings: &mut Findings) -> Result<()> {
    let are_readable = reading::check_rows(tx, slice, findings).await?;
    // The latter look into the entries of rows.
    let groups = if are_readable { [rows::GROUPS, grants::GROUPS, about::GROUPS] } else { [rows::GROUPS, &[], &[]] };
    check_groups(tx, &groups, slice, findings).await.map(drop)
}

/// False when nothing more can be asked in the transaction.
async fn check_groups(tx: &mut Tx, groups: &[&[Group]], slice: &Slice, findings: &mut Findings) -> Result<bool> {
    for group in groups.iter().flat_map(|groups| groups.iter()) {
        if !check_group(tx, group, slice, findings).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// False when nothing more can be asked in the transaction.
async fn check_group(tx: &mut Tx, group: &Group, slice: &Slice, findings: &mut Findings) -> Result<bool> {
    findings.does(group.checks.iter().copied());
    match look_for_drifts(tx, group, slice, findings).await {
        // A figure that somebody changed may be beyond what can be added up. Postgres gives the transaction up, too.
        Err(error) if error.is_about_data() => {
            findings.add(reading::drift(group.checks[0], &slice.from, "this or a later account", "figures", error));
            Ok(matches!(tx, Tx::Sqlite(..)))
        }
        done => done.map(|()| true),
    }
}

async fn look_for_drifts(tx: &mut Tx, group: &Group, slice: &Slice, findings: &mut Findings) -> Result<()> {
    let mut rows = tx.query(group.sql).bind(slice.from.as_str()).bind(slice.to.as_str()).fetch();
    while let Some(row) = rows.try_next().await.while_("verifying the ledger")? {
        let shown = |at: usize| text(&row, at).unwrap_or_else(|| "nothing".to_owned());
        let name = shown(0);
        let Some(check) = group.checks.iter().find(|check| **check == name) else { continue };
        findings.add(Drift { check, account: shown(1), what: shown(2), expected: shown(3), found: shown(4) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::Instant;
    use crate::store::Meta;
    use sqlx::{AssertSqlSafe, Row};

    /// Each statement on a slice finds it by its keys: the tables of the ledger have aliases of one letter here, and of those
    /// none is walked from end to end. Nor is a whole account for each row that others are about: those (`c`, `l`) are
    /// found by the row that they name.
    #[tokio::test]
    async fn no_statement_walks_more_than_its_slice() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}", folder.path().join("creditd.db").display());
        let meta = Meta { created_at: Instant::from_micros(0), sandbox: true };
        let store = Store::create(&url, meta).await.expect("a new ledger");
        let Tx::Sqlite(mut tx, ..) = store.read().await.expect("a connection") else { panic!("this is SQLite") };
        let groups = rows::GROUPS
            .iter()
            .chain(rows::GROUPS_BESIDE)
            .chain(grants::GROUPS)
            .chain(about::GROUPS)
            .map(|group| group.sql);
        let mut walked = Vec::new();
        for sql in groups.chain(reading::statements()).chain(attachments::statements()).chain([account::REFUNDED]) {
            let plan = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.sqlite));
            for step in sqlx::query(plan).fetch_all(&mut *tx).await.expect("a plan") {
                let step: String = step.get(3);
                let is_table = |word: &str| word.len() == 1 && word != "j";
                if step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next()).is_some_and(is_table)
                    || step == "SEARCH c USING PRIMARY KEY (account_id=?)"
                    || step == "SEARCH l USING PRIMARY KEY (account_id=?)"
                {
                    walked.push(format!("{step}: {}", sql.sqlite));
                }
            }
        }
        assert!(walked.is_empty(), "{}", walked.join("\n\n"));
    }
}
