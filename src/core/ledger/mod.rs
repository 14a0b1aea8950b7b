//! The ledger of one account: what it holds, and the operations that change it (R1 to R18).
//!
//! A [`Ledger`] is the account as loaded, with the grants that can still matter. An operation changes it in memory and
//! appends the rows it made; the store then writes what [`Ledger::into_changes`] hands out, in one database
//! transaction. So planning is pure, a batch is many such values, and a dry run is a plan that is not written.
//!
//! Invariants, after every operation: no remainder is negative (R6); each grant's amount is consumed - refunded + lapsed +
//! returned + adjusted + held + remaining (R16); the balance is the sum of remainders and of all changes (R16); `seq` has no
//! gaps and `recorded_at` never decreases (R15). A call that is refused has changed nothing.

mod account;
mod call;
mod came_back;
mod cause;
mod charge;
mod grant;
mod hold;
mod month;
mod operator;
mod purchase;
mod refund;
mod refusal;
mod replay;
mod rollover;

pub use account::{Cap, Closing, NewTerms, terms_of};
pub use call::Call;
pub use came_back::{CAME_BACK_MAX, CameBack};
pub use cause::Cause;
pub use charge::{QUANTITY_MAX, Usage};
pub use grant::Grant;
pub use hold::{Capture, HOLD_TTL_SECONDS, HOLD_TTL_SECONDS_MAX, Hold, OpenHold, Void};
pub use month::MonthClosing;
pub use operator::{Adjust, Bonus};
pub use purchase::{PACKS_MAX, Purchase, Return};
pub use refund::Refund;
pub use refusal::Refusal;
pub use replay::FREE;

use super::calendar::{Calendar, Instant, Month, Terms};
use super::credits::{CreditType, Credits, Overflow, Split};
use super::ids::{AccountId, Key, Reference, UserId};
use super::transaction::{Entry, GrantId, Kind, Source, Status, Transaction, words};
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

/// A time in which an account was closed (R18): `[closed_at, reopened_at)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closure {
    /// When it was closed.
    pub closed_at: Instant,
    /// When it was opened again; `None` while it is closed.
    pub reopened_at: Option<Instant>,
}

words! {
    /// Whether an account is open (R18).
    AccountStatus {
        /// Before its first instant.
        NotOpened = "not_opened",
        /// It gets free credits and can be charged.
        Open = "open",
        /// Neither, until it is opened again.
        Closed = "closed",
    }
}

/// What a user may use in a month, and did (R17).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapUse {
    /// Most credits in a month.
    pub limit: Credits,
    /// Credits charged and held by the user, by the month in which that occurred, less what was released and refunded of
    /// them, whenever that was.
    pub used: BTreeMap<Month, Credits>,
}

/// The row that answers a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The row, just planned or first written long ago.
    pub row: Transaction,
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
    /// The last month that takes no late usage any more (R14).
    pub closed_through: Option<Month>,
    /// The last month that was opened again and is open since: the job leaves it to a person to close it (R14).
    pub reopened_through: Option<Month>,
    /// When the account was closed (R18), oldest first.
    pub closures: Vec<Closure>,
    /// The grants that can still change, by id: those with a remainder or held credits and, for late usage, those that
    /// lapsed.
    pub grants: BTreeMap<GrantId, Grant>,
    /// The open holds, by the `seq` of their row (R10).
    pub holds: BTreeMap<i64, OpenHold>,
    /// The caps of the users this batch is about (R17).
    pub caps: BTreeMap<UserId, CapUse>,
    /// Rows written earlier under the keys this batch asks about (R9).
    pub known: BTreeMap<Key, Transaction>,
    /// Rows that correct one of those: settlements of a hold, refunds of a charge, the return of a purchase.
    pub about: Vec<Transaction>,
    /// Payments this batch asks about that other accounts have, and which (R12).
    pub payments: BTreeMap<Reference, AccountId>,
    /// What users moved, and when it was used: for new caps (R17).
    pub history: BTreeMap<UserId, Vec<(Instant, Credits)>>,
    rows: Vec<Transaction>,
    changed: Changed,
}

/// What operations touched beside the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Changed {
    grants: BTreeSet<GrantId>,
    holds: BTreeSet<i64>,
    caps: BTreeMap<UserId, Option<Credits>>,
    cap_months: BTreeSet<(UserId, Month)>,
    terms: BTreeMap<Month, Terms>,
    closures: BTreeSet<Instant>,
    reopened_through: bool,
    months_closed: Vec<MonthsClosed>,
}

/// Months that one call closed to late usage (R14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthsClosed {
    /// The last month that was closed before; none where all were open.
    pub after: Option<Month>,
    /// The last of those that it closed.
    pub through: Month,
    /// The row that says so.
    pub seq: i64,
}

/// What operations did to a ledger, for the store to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Rows to append, in order.
    pub rows: Vec<Transaction>,
    /// The payments of the purchases among them, each with its row's `seq`.
    pub payments: Vec<(Reference, i64)>,
    /// Grants to insert or update, as they are now.
    pub grants: Vec<Grant>,
    /// Holds that were opened, with their end.
    pub holds_opened: Vec<(i64, Instant)>,
    /// Holds that were settled.
    pub holds_settled: Vec<i64>,
    /// Caps to insert or update, and those that ended.
    pub caps: Vec<(UserId, Option<Credits>)>,
    /// What capped users used in months, as it is now.
    pub cap_months: Vec<(UserId, Month, Credits)>,
    /// Terms to insert or replace.
    pub terms: Vec<Terms>,
    /// Closures to insert or update.
    pub closures: Vec<Closure>,
    /// The last month that was opened again, where that has changed.
    pub reopened_through: Option<Option<Month>>,
    /// The months that were closed.
    pub months_closed: Vec<MonthsClosed>,
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
            closed_through: None,
            reopened_through: None,
            closures: Vec::new(),
            grants: BTreeMap::new(),
            holds: BTreeMap::new(),
            caps: BTreeMap::new(),
            known: BTreeMap::new(),
            about: Vec::new(),
            payments: BTreeMap::new(),
            history: BTreeMap::new(),
            rows: Vec::new(),
            changed: Changed::default(),
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
        let Changed { grants, holds, caps, cap_months, terms, closures, reopened_through, months_closed } =
            self.changed;
        let (opened, settled): (Vec<i64>, Vec<i64>) = holds.into_iter().partition(|id| self.holds.contains_key(id));
        let used = |(user, month): (UserId, Month)| {
            let credits = *self.caps.get(&user)?.used.get(&month)?;
            Some((user, month, credits))
        };
        let bought = self.rows.iter().filter(|row| row.kind == Kind::Purchase);
        Changes {
            payments: bought.filter_map(|row| Some((row.reference.clone()?, row.seq))).collect(),
            grants: grants.iter().filter_map(|id| self.grants.remove(id)).collect(),
            holds_opened: opened.into_iter().map(|id| (id, self.holds[&id].expires_at)).collect(),
            holds_settled: settled,
            caps: caps.into_iter().collect(),
            cap_months: cap_months.into_iter().filter_map(used).collect(),
            terms: terms.into_values().collect(),
            reopened_through: reopened_through.then_some(self.reopened_through),
            months_closed,
            closures: self.closures.into_iter().filter(|closure| closures.contains(&closure.closed_at)).collect(),
            rows: self.rows,
        }
    }

    /// R18: what the account is at `t`.
    #[must_use]
    pub fn status_at(&self, t: Instant) -> AccountStatus {
        if t < self.account.opened_at {
            AccountStatus::NotOpened
        } else if self.check_open(t).is_err() {
            AccountStatus::Closed
        } else {
            AccountStatus::Open
        }
    }

    /// When the next free credits come, as things are at `t` (R2): when the next month begins, or when the account opens.
    /// `None` while it is closed, for then none come (R18).
    #[must_use]
    pub fn next_reset_at(&self, t: Instant) -> Option<Instant> {
        match self.status_at(t) {
            AccountStatus::NotOpened => Some(self.account.opened_at),
            AccountStatus::Open => Some(self.account.calendar.month_end(self.account.calendar.month_of(t))),
            AccountStatus::Closed => None,
        }
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

    /// What open holds have reserved (R10).
    ///
    /// # Errors
    /// [`Overflow`] when a sum leaves the range of credits.
    pub fn held(&self) -> Result<Split, Overflow> {
        let held = |grant: &Grant| Split::of(grant.credit_type, grant.held);
        self.grants.values().try_fold(Split::ZERO, |sum, grant| sum.plus(held(grant)))
    }

    /// Adds a grant that starts when `row` occurred and ends when it says, and the row.
    fn grant(
        &mut self,
        row: Transaction,
        label: String,
        credit_type: CreditType,
        source: Source,
        amount: Credits,
        now: Instant,
    ) -> Result<Transaction, Overflow> {
        let id = GrantId(self.last_seq + 1);
        let grant = Grant::new(id, label, credit_type, source, amount, &row);
        self.grants.insert(id, grant);
        let row = Transaction { entries: vec![Entry { grant: id, credit_type, delta: amount }], ..row };
        let appended = self.append(row, now);
        if appended.is_err() {
            self.grants.remove(&id);
        }
        appended
    }

    /// The entries that take `cost` from what is unspent at `at`, in burn order (R5); `None` when it does not suffice
    /// (R6). Usage told late takes only what was unspent then, too. Only credits of `of_type`, where one is named.
    fn take(
        &self,
        cost: Credits,
        at: Instant,
        is_late: bool,
        of_type: Option<CreditType>,
    ) -> Result<Option<Vec<Entry>>, Overflow> {
        let of_type = |grant: &&Grant| of_type.is_none_or(|wanted| grant.credit_type == wanted);
        let mut usable: Vec<&Grant> = self.grants.values().filter(|g| g.is_usable_at(at)).filter(of_type).collect();
        usable.sort_by_key(|grant| grant.burn_order());
        let mut entries = Vec::new();
        let mut missing = cost;
        for grant in usable {
            let unspent = if is_late { self.unspent_then(grant, at)? } else { grant.unspent()? };
            let part = missing.min(unspent);
            if !part.is_zero() {
                entries.push(Entry { grant: grant.id, credit_type: grant.credit_type, delta: part.negated() });
                missing = missing.minus(part)?;
            }
        }
        Ok(missing.is_zero().then_some(entries))
    }

    /// What usage told late may take of a grant: the least that was there from `at` on, what lapsed since included (R14).
    fn unspent_then(&self, grant: &Grant, at: Instant) -> Result<Credits, Overflow> {
        let unspent = grant.unspent()?;
        if grant.came_back.later_than(at)?.is_zero() {
            return Ok(unspent);
        }
        // Open holds are no part of the list, as they may yet be given back; until then they have taken what they hold.
        let mut came_back = grant.came_back.clone();
        for OpenHold { row, .. } in self.holds.values() {
            for entry in row.entries.iter().filter(|entry| entry.grant == grant.id) {
                came_back.take(row.occurred_at, entry.delta.negated())?;
            }
        }
        Ok(unspent.minus(came_back.later_than(at)?)?.max(Credits::ZERO))
    }

    /// When a call happened: not in the future, and not before the account opened.
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
    fn append(&mut self, row: Transaction, now: Instant) -> Result<Transaction, Overflow> {
        let used_at = row.occurred_at;
        self.append_used_at(row, used_at, now)
    }

    /// The same for a row whose credits were used at `used_at`: what comes back of them comes back to that month's use of a
    /// cap (R17).
    fn append_used_at(
        &mut self,
        mut row: Transaction,
        used_at: Instant,
        now: Instant,
    ) -> Result<Transaction, Overflow> {
        let mut moved = Vec::with_capacity(row.entries.len());
        for entry in &row.entries {
            // What lapses because of another row is what that row gave back to a grant that was over (R11).
            let is_at_once = row.corrects.is_some() && entry.delta < Credits::ZERO;
            moved.push(self.grants[&entry.grant].after(row.kind, row.occurred_at, entry.delta, is_at_once)?);
            row.delta = row.delta.plus(Split::of(entry.credit_type, entry.delta))?;
        }
        row.balance = self.balance.plus(row.delta)?;
        let use_of_cap = self.use_of_cap(&row, used_at)?;
        row.seq = self.last_seq + 1;
        row.recorded_at = now.max(self.last_recorded_at).max(row.kind.counts_at(row.occurred_at));

        self.balance = row.balance;
        self.last_seq = row.seq;
        self.last_recorded_at = row.recorded_at;
        for grant in moved {
            self.changed.grants.insert(grant.id);
            self.grants.insert(grant.id, grant);
        }
        if let Some((user, month, used)) = use_of_cap {
            if let Some(cap) = self.caps.get_mut(&user) {
                cap.used.insert(month, used);
            }
            self.changed.cap_months.insert((user, month));
        }
        if let Some(key) = &row.key {
            self.known.insert(key.clone(), row.clone());
        }
        if row.corrects.is_some() && row.kind != Kind::Expiry {
            self.about.push(row.clone());
        }
        self.rows.push(row.clone());
        Ok(row)
    }

    /// R17: what the row's user used in the month of `used_at`, with it; `None` when the user has no cap.
    fn use_of_cap(&self, row: &Transaction, used_at: Instant) -> Result<Option<(UserId, Month, Credits)>, Overflow> {
        let Some((user, cap)) = row.user.as_ref().and_then(|user| self.caps.get_key_value(user)) else {
            return Ok(None);
        };
        if row.delta == Split::ZERO {
            return Ok(None);
        }
        let month = self.account.calendar.month_of(used_at);
        let used = cap.used.get(&month).copied().unwrap_or(Credits::ZERO).minus(row.delta.total())?;
        Ok(Some((user.clone(), month, used)))
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
        expires_at: None,
        money: None,
        reference: None,
        delta: Split::ZERO,
        balance: Split::ZERO,
        entries: Vec::new(),
    }
}
