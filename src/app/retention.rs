//! Retention: rows of actions that are sealed long ago leave the database, where the operator wants that, and whatever needs them
//! finds them in the sealed files (DESIGN 8).
//!
//! Before a row leaves, it is compared with the one in the files. Afterwards three kinds of readers need it: calls under its key or
//! about it, which get it lent ([`Recalled`]); reports that add up, which read sealed files anyway; and all others, which work on
//! a whole copy ([`App::whole`]) by the code that they always use.

use super::batch::InTurn;
use super::reading::ACCOUNTS_PER_READ;
use super::sealing::{blocking, blocking_sealed};
use super::{App, AppError};
use crate::core::calendar::{Instant, Month};
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, UserId};
use crate::core::ledger::{Call, Cap, Ledger};
use crate::core::sealed::{Chain, Manifest, SeqRange};
use crate::core::transaction::Transaction;
use crate::sealed::{Balances, Folder, read_balances, read_rows};
use crate::store::{Batch, Droppable, Load, Opening, Store, StoreError};
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Accounts that are looked through at once for rows that may leave.
const ACCOUNTS_AT_ONCE: usize = 10_000;
/// Rows that leave in one database transaction: charges wait for it.
const DROPPED_AT_ONCE: i64 = 5_000;
/// Rows of files that are held in memory at once.
const ROWS_AT_ONCE: i64 = 100_000;

/// How often something is read again, as rows left meanwhile, before that is done on a copy of which none leaves.
pub(super) const TRIES_MAX: u32 = 3;

/// Reads with `$app`, which is `$on`: again where rows left the database meanwhile, and where it needs some that have, on a whole copy
/// of `$accounts` (`None` for all).
///
/// A macro because an async closure that borrows is not known to be `Send` where the reading is spawned.
macro_rules! on_whole {
    ($on:expr, $accounts:expr, |$app:ident| $read:expr) => {{
        let on: &$crate::app::App = $on;
        let mut tries = 0;
        loop {
            let read = {
                let $app = on;
                $read
            };
            tries += 1;
            match read {
                Err($crate::app::AppError::Moved(_)) if tries < $crate::app::retention::TRIES_MAX => {}
                Err($crate::app::AppError::Moved(_) | $crate::app::AppError::Dropped(_)) => {
                    let whole = on.whole($accounts).await?;
                    let $app = &whole;
                    break $read;
                }
                done => break done,
            }
        }
    }};
}
pub(super) use on_whole;

/// Rows that are on their way out of the database.
#[derive(Debug)]
pub struct Dropping {
    folder: Folder,
    /// The parts that they may be in, in the order of their days.
    parts: Vec<Manifest>,
    /// Up to which row each account is in these parts.
    sealed: Balances,
    /// The account that is looked at next.
    at: usize,
    /// What was found and is still there, with the parts that it is in.
    found: VecDeque<(Vec<SeqRange>, Vec<Manifest>)>,
}

impl App {
    /// What may leave the database now; `None` where nothing does, or nothing is sealed that is old enough.
    ///
    /// # Errors
    /// [`AppError`] when the store fails or the files cannot be read.
    pub async fn dropping(&self) -> Result<Option<Dropping>, AppError> {
        let Some(months) = self.settings.sealed.keep_months else { return Ok(None) };
        let this = Month::of(self.now().to_utc().date_naive());
        let cut = (0..months).fold(this, |month, _| month.previous()).first_day();
        let (folder, chain) = (self.sealed_folder(), self.store.sealed_chain().await?);
        let parts = chain.parts().into_iter().filter(|part| part.days.to <= cut).cloned();
        let parts: Vec<Manifest> = parts.collect();
        let Some(last) = parts.last().cloned() else { return Ok(None) };
        let of_files = folder.clone();
        let sealed = blocking(move || {
            of_files.check([&last.balances])?;
            read_balances(&of_files, &last)
        });
        Ok(Some(Dropping { folder, parts, sealed: sealed.await?, at: 0, found: VecDeque::new() }))
    }

    /// Drops the next rows of `dropping`, and returns how many; `None` when there are no more.
    ///
    /// # Errors
    /// [`AppError::NotSealed`] when a row is not in the files as it is in the database; others when files or store fail. What
    /// was dropped before stays so.
    pub async fn drop_next(&self, dropping: &mut Dropping) -> Result<Option<u64>, AppError> {
        loop {
            let Some((ranges, parts)) = dropping.found.pop_front() else {
                if self.look_for_more(dropping).await? { continue } else { return Ok(None) }
            };
            self.compare(&dropping.folder, &ranges, parts).await?;
            match self.store.drop_rows(&ranges).await? {
                Some(rows) => return Ok(Some(rows)),
                // Another process drops the same, and will come to the end of it.
                None => return Ok(None),
            }
        }
    }

    /// Looks for rows of the next accounts that may leave. False when there are no more accounts.
    async fn look_for_more(&self, dropping: &mut Dropping) -> Result<bool, AppError> {
        let Dropping { parts, sealed, at, found, .. } = dropping;
        let mut asked = Vec::new();
        while let (true, Some(id), Some((through, _))) =
            (asked.len() < ACCOUNTS_AT_ONCE, sealed.account(*at), sealed.get(*at))
        {
            let account_id = AccountId::new(id).map_err(StoreError::from)?;
            asked.push(SeqRange { account_id, after: 0, through });
            *at += 1;
        }
        if asked.is_empty() {
            return Ok(false);
        }
        let droppable = self.store.droppable(&asked).await?;
        let Some(behind) = droppable.iter().map(|one| one.behind).min() else { return Ok(true) };
        let parts: Vec<Manifest> = parts.iter().filter(|part| part.days.end() > behind).cloned().collect();
        let ranges = droppable.into_iter().map(|Droppable { range, .. }| range).collect();
        let batches = SeqRange::batches(ranges, DROPPED_AT_ONCE).into_iter().filter(|batch| !batch.is_empty());
        found.extend(batches.map(|batch| (batch, parts.clone())));
        Ok(true)
    }

    /// Whether every row of `ranges` is in the files as it is in the database.
    async fn compare(&self, folder: &Folder, ranges: &[SeqRange], parts: Vec<Manifest>) -> Result<(), AppError> {
        let expected = self.store.rows_in(ranges, Instant::MAX).await?;
        let (folder, ranges) = (folder.clone(), ranges.to_vec());
        let found = blocking_sealed(move || {
            folder.check(parts.iter().map(|part| &part.log))?;
            let mut found = BTreeMap::new();
            for part in &parts {
                let rows = read_rows(&folder, &part.log, &ranges)?;
                found.extend(rows.into_iter().map(|(id, row)| ((id, row.seq), row)));
            }
            Ok(found)
        });
        let found = found.await?;
        let differs = |(id, row): &(AccountId, Transaction)| found.get(&(id.clone(), row.seq)) != Some(row);
        match expected.into_iter().find(differs) {
            Some((account, row)) => Err(AppError::NotSealed { account, seq: row.seq }),
            None => Ok(()),
        }
    }

    /// The same on a copy of `accounts`, or of all, in which the rows are back that left the database. It is there as long as what is returned,
    /// and for reading only.
    ///
    /// # Errors
    /// [`AppError`] when the store or the sealed files fail.
    pub fn whole<'a>(&'a self, accounts: Option<&'a [AccountId]>) -> BoxFuture<'a, Result<App, AppError>> {
        let copying = async move {
            let mut before: Option<Chain> = None;
            loop {
                let chain = self.store.sealed_chain().await?;
                match self.copied(accounts, &chain).await {
                    // Parts may have been joined while they were read, or more been sealed and dropped.
                    Err(AppError::Sealed(error)) if error.is_of_files() && before.as_ref() != Some(&chain) => {
                        before = Some(chain);
                    }
                    Err(AppError::Lacking(_)) if before.as_ref() != Some(&chain) => before = Some(chain),
                    done => return done,
                }
            }
        };
        Box::pin(copying)
    }

    async fn copied(&self, accounts: Option<&[AccountId]>, chain: &Chain) -> Result<App, AppError> {
        // One at a time: each takes a processor and much of the disk.
        let turn = Arc::clone(&self.copies).acquire_owned().await;
        let _turn = turn.unwrap_or_else(|_| unreachable!("nobody closes it"));
        let folder = self.sealed_folder().temporary().map_err(AppError::Copy)?;
        let store = Store::create_for_now(&folder.path().join("whole.db"), self.store.meta()).await?;
        let mut pages = self.store.pages(accounts, ACCOUNTS_PER_READ);
        while let Some(ids) = pages.next().await? {
            let openings = self.store.copy_accounts(&ids, &store).await?;
            let Some(last) = openings.iter().map(|opening| opening.recorded_at).max() else { continue };
            let parts = chain.parts().into_iter().filter(|part| part.days.begin() <= last);
            let parts: Vec<Manifest> = parts.cloned().collect();
            let whole = |Opening { account, seq, .. }| SeqRange { account_id: account, after: 0, through: seq };
            for ranges in SeqRange::batches(openings.into_iter().map(whole).collect(), ROWS_AT_ONCE) {
                for part in &parts {
                    let (of_files, log, ranges) = (self.sealed_folder(), part.log.clone(), ranges.clone());
                    let rows = blocking_sealed(move || {
                        of_files.check([&log])?;
                        read_rows(&of_files, &log, &ranges)
                    });
                    let mut rows = rows.await?;
                    rows.retain(|(_, row)| row.kind.is_of_action());
                    store.lay_back(&rows).await?;
                }
            }
        }
        match store.lacking_account().await? {
            Some(account) => Err(AppError::Lacking(account)),
            None => Ok(App { _copy: Some(Arc::new(folder)), ..self.with_store(store) }),
        }
    }

    /// A whole copy of `accounts`, or of all, where rows of one of them have left the database; else `None`, and this one has all of them.
    ///
    /// # Errors
    /// As [`App::whole`].
    pub async fn whole_if_dropped(&self, accounts: Option<&[AccountId]>) -> Result<Option<App>, AppError> {
        if self.store.openings(accounts).await?.is_empty() { Ok(None) } else { self.whole(accounts).await.map(Some) }
    }

    /// Ledgers as they were at `at`, as [`Store::load_as_of`] has them. They are made of all rows.
    ///
    /// # Errors
    /// [`AppError::Dropped`] where some have left the database, others when the store fails.
    pub(super) async fn load_as_of(
        &self,
        accounts: &[AccountId],
        at: Instant,
    ) -> Result<BTreeMap<AccountId, Ledger>, AppError> {
        let ledgers = self.store.load_as_of(accounts, at).await?;
        // Behind it: whatever has left since, has not before.
        match self.store.openings(Some(accounts)).await?.into_iter().next() {
            Some(opening) => Err(AppError::Dropped(opening.account)),
            None => Ok(ledgers),
        }
    }
}

/// What calls need of rows that have left the database.
#[derive(Debug, Default)]
struct Wanted {
    opening: i64,
    /// These rows, and those that correct them.
    rows: BTreeSet<i64>,
    /// All rows of these users, for new caps (R17).
    users: BTreeSet<UserId>,
}

/// Rows that have left the database and that calls need, from the sealed files.
#[derive(Debug, Default)]
pub(super) struct Recalled(BTreeMap<AccountId, Past>);

/// What was wanted of one account, and found.
#[derive(Debug)]
struct Past {
    wanted: Wanted,
    rows: Vec<Transaction>,
    /// Rows of the users, by number: whose, when what they moved was used, and how much that is.
    moved: BTreeMap<i64, (UserId, Instant, Credits)>,
    /// Those of them that correct others, and which.
    corrected: Vec<(i64, i64)>,
}

impl Recalled {
    /// What `calls` need, and what the rows that were recalled need besides.
    pub fn load(&self, calls: &[InTurn<'_>]) -> Load {
        let mut load = Load::default();
        for (account, call, clock) in calls {
            let now = clock.now();
            load.call(account, call, now);
            for row in self.0.get(*account).into_iter().flat_map(|past| &past.rows) {
                row.user.iter().for_each(|user| load.user(account, user, now));
            }
        }
        load
    }

    /// Lends to `batch` what was recalled, and returns what `calls` need besides: then nothing may be planned on it.
    pub fn lend(&self, batch: &mut Batch, calls: &[InTurn<'_>]) -> Lacking {
        let mut lacking = Lacking::default();
        if batch.gone.is_empty() {
            return lacking;
        }
        let mut users: BTreeMap<&AccountId, BTreeSet<UserId>> = BTreeMap::new();
        for (account, call, _) in calls {
            // What was used so far matters only where there is no cap yet.
            let is_new = |cap: &&Cap| {
                let ledger = batch.ledgers.get(*account);
                cap.credits.is_some() && ledger.is_some_and(|ledger| !ledger.caps.contains_key(&cap.user))
            };
            if let Call::Cap(cap) = call
                && is_new(&cap)
            {
                users.entry(account).or_default().insert(cap.user.clone());
            }
        }
        for (id, gone) in &batch.gone {
            let users = users.remove(id).unwrap_or_default();
            if gone.rows.is_empty() && users.is_empty() {
                continue;
            }
            let has = |past: &&Past| {
                let Past { wanted: Wanted { opening, rows, users: known }, .. } = past;
                *opening == gone.opening && gone.rows.iter().all(|seq| rows.contains(seq)) && users.is_subset(known)
            };
            let (Some(past), Some(ledger)) = (self.0.get(id).filter(has), batch.ledgers.get_mut(id)) else {
                let rows = gone.rows.iter().copied().collect();
                lacking.0.insert(id.clone(), Wanted { opening: gone.opening, rows, users });
                continue;
            };
            for row in &past.rows {
                if let Some(key) = row.key.clone().filter(|_| gone.rows.contains(&row.seq)) {
                    ledger.known.insert(key, row.clone());
                }
                if row.corrects.is_some_and(|seq| gone.rows.contains(&seq)) {
                    ledger.about.push(row.clone());
                }
            }
            let moved = past.moved.values().filter(|(user, _, credits)| users.contains(user) && !credits.is_zero());
            for (user, at, credits) in moved {
                ledger.history.entry(user.clone()).or_default().push((*at, *credits));
            }
            for (user, seq, credits) in &gone.late {
                if let Some((_, at, _)) = past.moved.get(seq) {
                    ledger.history.entry(user.clone()).or_default().push((*at, *credits));
                }
            }
        }
        lacking
    }

    /// Reads what is lacking from the files in `folder`.
    pub async fn recall(&mut self, store: &Store, folder: &Folder, lacking: Lacking) -> Result<(), StoreError> {
        let parts: Vec<Manifest> = store.sealed_chain().await?.parts().into_iter().cloned().collect();
        for (account, wanted) in lacking.0 {
            let (folder, parts, id) = (folder.clone(), parts.clone(), account.clone());
            let past = blocking_sealed(move || {
                let after = if wanted.users.is_empty() { wanted.rows.first().map_or(0, |first| first - 1) } else { 0 };
                let range = [SeqRange { account_id: id, after, through: wanted.opening }];
                folder.check(parts.iter().map(|part| &part.log))?;
                let mut past = Past { wanted, rows: Vec::new(), moved: BTreeMap::new(), corrected: Vec::new() };
                for part in &parts {
                    read_rows(&folder, &part.log, &range)?.into_iter().for_each(|(_, row)| past.add(row));
                }
                Ok(past)
            });
            let unreadable = |why: String| StoreError::Recall { account: account.clone(), why };
            let past = past.await.map_err(|error| unreadable(error.to_string()))?;
            let lacks = |seq: &&i64| !past.rows.iter().any(|row| row.seq == **seq);
            if let Some(seq) = past.wanted.rows.iter().find(lacks) {
                return Err(unreadable(format!("row {seq} is in none of them")));
            }
            self.0.insert(account, past.timed());
        }
        Ok(())
    }
}

impl Past {
    fn add(&mut self, row: Transaction) {
        if !row.kind.is_of_action() {
            return;
        }
        if let Some(user) = row.user.as_ref().filter(|user| self.wanted.users.contains(*user)) {
            // When what it corrects was used is known once all are there.
            self.moved.insert(row.seq, (user.clone(), row.occurred_at, row.delta.total()));
            if let Some(seq) = row.corrects {
                self.corrected.push((row.seq, seq));
            }
        }
        let rows = &self.wanted.rows;
        if rows.contains(&row.seq) || row.corrects.is_some_and(|seq| rows.contains(&seq)) {
            self.rows.push(row);
        }
    }

    /// What gives credits back counts when they were used.
    fn timed(mut self) -> Past {
        for (seq, corrected) in std::mem::take(&mut self.corrected) {
            if let (Some((_, used_at, _)), true) = (self.moved.get(&corrected), self.moved.contains_key(&seq)) {
                let used_at = *used_at;
                self.moved.entry(seq).and_modify(|(_, at, _)| *at = used_at);
            }
        }
        self
    }
}

/// What must be read from files before calls can be planned; none when nothing.
#[derive(Debug, Default)]
pub(super) struct Lacking(BTreeMap<AccountId, Wanted>);

impl Lacking {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
