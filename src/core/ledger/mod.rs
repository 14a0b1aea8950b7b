//! The ledger of one account: what it holds, and the operations that change it (R2 to R9, R12, R14 to R16).
//!
//! A [`Ledger`] is the account as loaded, with the grants that can still matter. An operation changes it in memory and
//! appends the rows it made; the store then writes what [`Ledger::into_changes`] hands out, in one database
//! transaction. So planning is pure, a batch is many such values, and a dry run is a plan that is not written.
//!
//! Invariants, after every operation: no remainder is negative (R6); each grant's amount is consumed + lapsed +
//! remaining (R16); the balance is the sum of remainders and of all changes (R16); `seq` has no gaps and
//! `recorded_at` never decreases (R15).

mod charge;
mod purchase;
mod refusal;
mod rollover;

pub use charge::{QUANTITY_MAX, Usage};
pub use purchase::{PACKS_MAX, Purchase};
pub use refusal::Refusal;

use super::calendar::{Calendar, Instant, Month};
use super::credits::{CreditType, Credits, Overflow, Split};
use super::ids::{AccountId, Key};
use super::transaction::{ContentHash, Entry, GrantId, Kind, Source, Status, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id, given by the platform.
    pub id: AccountId,
    /// Its name for people.
    pub name: String,
    /// The first instant at which it exists.
    pub opened_at: Instant,
    /// Its zone and allowance over time.
    pub calendar: Calendar,
}

/// A lot of credits of one type with its own remainder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which grant of the account.
    pub id: GrantId,
    /// Unique within the account: `free:2013-01`, `pack:<reference>`.
    pub label: String,
    /// Its pool.
    pub credit_type: CreditType,
    /// Where it came from.
    pub source: Source,
    /// Credits it began with.
    pub amount: Credits,
    /// First instant at which it is usable (R4).
    pub starts_at: Instant,
    /// First instant at which it is not; `None` never lapses.
    pub expires_at: Option<Instant>,
    /// Credits taken by charges.
    pub consumed: Credits,
    /// Credits lapsed.
    pub lapsed: Credits,
    /// Credits left.
    pub remaining: Credits,
    /// The row that lapsed it, which a late charge corrects (R14).
    pub lapsed_by: Option<i64>,
}

impl Grant {
    /// R4: usable for `starts_at <= t < expires_at`.
    fn is_usable_at(&self, t: Instant) -> bool {
        self.starts_at <= t && self.expires_at.is_none_or(|end| t < end)
    }

    /// R5: earliest expiry first, never-expiring last, then earlier start, then order of arrival.
    fn burn_order(&self) -> (Instant, Instant, GrantId) {
        (self.expires_at.unwrap_or(Instant::MAX), self.starts_at, self.id)
    }

    /// What a charge at an instant inside the window may take: the remainder, and what lapsed since (R14).
    fn unspent(&self) -> Result<Credits, Overflow> {
        self.remaining.plus(self.lapsed)
    }
}

/// The row that answers a call.
#[derive(Clone, Copy, Debug)]
pub struct Receipt<'a> {
    /// The row, just planned or first written long ago.
    pub row: &'a Transaction,
    /// R9: the same call came before; nothing moved now.
    pub replayed: bool,
}

/// An account and its ledger as loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Whose.
    pub account: Account,
    /// The last month whose free grant was made; `None` before the first.
    pub opened_through: Option<Month>,
    /// `seq` of the newest row; 0 when there is none.
    pub last_seq: i64,
    /// `recorded_at` of the newest row.
    pub last_recorded_at: Instant,
    /// Sum of all changes so far.
    pub balance: Split,
    /// The grants that can still change, by id: those with a remainder and, for late usage, those that lapsed.
    pub grants: BTreeMap<GrantId, Grant>,
    /// Rows written earlier under the keys this batch asks about (R9).
    pub known: BTreeMap<Key, Transaction>,
    rows: Vec<Transaction>,
    changed: BTreeSet<GrantId>,
}

/// What an operation did to a ledger, for the store to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Rows to append, in order.
    pub rows: Vec<Transaction>,
    /// Grants to insert or update, as they are now.
    pub grants: Vec<Grant>,
}

impl Ledger {
    /// The ledger of an account that was just opened.
    #[must_use]
    pub fn new(account: Account) -> Ledger {
        Ledger {
            account,
            opened_through: None,
            last_seq: 0,
            last_recorded_at: Instant::MIN,
            balance: Split::ZERO,
            grants: BTreeMap::new(),
            known: BTreeMap::new(),
            rows: Vec::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Rows planned so far.
    #[must_use]
    pub fn rows(&self) -> &[Transaction] {
        &self.rows
    }

    /// Whether there is anything to write.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.rows.is_empty()
    }

    /// What to write.
    #[must_use]
    pub fn into_changes(mut self) -> Changes {
        let grants = self.changed.iter().filter_map(|id| self.grants.remove(id)).collect();
        Changes { rows: self.rows, grants }
    }

    /// What a charge at `t` can use, once the ledger was brought up to `t` (R6). Where the clock was set back behind a
    /// lapse, that includes what lapsed since, as for a charge.
    ///
    /// # Errors
    /// [`Overflow`] when a sum leaves the range of credits.
    pub fn available_at(&self, t: Instant) -> Result<Split, Overflow> {
        self.grants
            .values()
            .filter(|grant| grant.is_usable_at(t))
            .try_fold(Split::ZERO, |sum, grant| sum.plus(Split::of(grant.credit_type, grant.unspent()?)))
    }

    /// Adds a grant that starts when `row` occurred, and the row that made it.
    #[expect(
        clippy::too_many_arguments,
        reason = "private; a parameter struct would be Grant itself with half its fields"
    )]
    fn grant(
        &mut self,
        row: Transaction,
        label: String,
        credit_type: CreditType,
        source: Source,
        amount: Credits,
        expires_at: Option<Instant>,
        now: Instant,
    ) -> Result<(), Overflow> {
        let id = GrantId(self.last_seq + 1);
        let grant = Grant {
            id,
            label,
            credit_type,
            source,
            amount,
            starts_at: row.occurred_at,
            expires_at,
            consumed: Credits::ZERO,
            lapsed: Credits::ZERO,
            remaining: Credits::ZERO,
            lapsed_by: None,
        };
        self.grants.insert(id, grant);
        let row = Transaction { entries: vec![Entry { grant: id, credit_type, delta: amount }], ..row };
        let appended = self.append(row, now).map(|_| ());
        if appended.is_err() {
            self.grants.remove(&id);
        }
        appended
    }

    /// R9: true when the same call came before.
    fn replay(&self, key: &Key, content: ContentHash) -> Result<bool, Refusal> {
        match self.known.get(key) {
            None => Ok(false),
            Some(first) if first.content == Some(content) => Ok(true),
            Some(first) => Err(Refusal::Conflict {
                account: self.account.id.clone(),
                key: key.clone(),
                seq: first.seq,
                first_at: first.recorded_at,
            }),
        }
    }

    fn check_time(&self, occurred_at: Option<Instant>, now: Instant) -> Result<Instant, Refusal> {
        let at = occurred_at.unwrap_or(now);
        if at > now {
            return Err(Refusal::InFuture { account: self.account.id.clone(), at, now });
        }
        if at < self.account.opened_at {
            let opened_at = self.account.opened_at;
            return Err(Refusal::NotOpened { account: self.account.id.clone(), opened_at, at });
        }
        Ok(at)
    }

    fn check_count(&self, what: &'static str, given: i64, max: i64) -> Result<(), Refusal> {
        if (1..=max).contains(&given) {
            return Ok(());
        }
        Err(Refusal::Quantity { account: self.account.id.clone(), what, given, max })
    }

    fn overflow(&self, source: Overflow) -> Refusal {
        Refusal::Overflow { account: self.account.id.clone(), source }
    }

    /// Numbers the row, moves its credits and keeps it. Everything that changes a ledger passes here, and all sums are
    /// taken before anything is changed, so an overflow leaves the ledger as it was.
    fn append(&mut self, mut row: Transaction, now: Instant) -> Result<&Transaction, Overflow> {
        let mut moved = Vec::with_capacity(row.entries.len());
        for entry in &row.entries {
            let mut grant = self.grants[&entry.grant].clone();
            grant.remaining = grant.remaining.plus(entry.delta)?;
            match row.kind {
                Kind::Charge => grant.consumed = grant.consumed.minus(entry.delta)?,
                Kind::Expiry => grant.lapsed = grant.lapsed.minus(entry.delta)?,
                _ => {}
            }
            row.delta = row.delta.plus(Split::of(entry.credit_type, entry.delta))?;
            moved.push(grant);
        }
        row.balance = self.balance.plus(row.delta)?;
        row.seq = self.last_seq + 1;
        row.recorded_at = now.max(self.last_recorded_at);

        self.balance = row.balance;
        self.last_seq = row.seq;
        self.last_recorded_at = row.recorded_at;
        for grant in moved {
            self.changed.insert(grant.id);
            self.grants.insert(grant.id, grant);
        }
        if let Some(key) = &row.key {
            self.known.insert(key.clone(), row.clone());
        }
        self.rows.push(row);
        Ok(&self.rows[self.rows.len() - 1])
    }
}

/// A row of `kind` at `occurred_at` with nothing else in it yet.
fn blank(kind: Kind, occurred_at: Instant) -> Transaction {
    Transaction {
        seq: 0,
        kind,
        occurred_at,
        recorded_at: occurred_at,
        user: None,
        action: None,
        quantity: 0,
        unit_price: Credits::ZERO,
        status: Status::Success,
        reason: None,
        comment: String::new(),
        key: None,
        content: None,
        corrects: None,
        money: None,
        reference: None,
        delta: Split::ZERO,
        balance: Split::ZERO,
        entries: Vec::new(),
    }
}
