//! The ledger of one account: what it holds, and the operations that change it (R2 to R9, R12, R14 to R16).
//!
//! A [`Ledger`] is the account as loaded, with the grants that can still matter. An operation changes it in memory and
//! appends the rows it made; the store then writes what [`Ledger::into_changes`] hands out, in one database
//! transaction. So planning is pure, a batch is many such values, and a dry run is a plan that is not written.
//!
//! Invariants, after every operation: no remainder is negative (R6); each grant's amount is consumed + lapsed +
//! remaining (R16); the balance is the sum of remainders and of all changes (R16); `seq` has no gaps and
//! `recorded_at` never decreases (R15).

use super::calendar::{Calendar, Instant, Month};
use super::credits::{CreditType, Credits, Overflow, Split};
use super::ids::{AccountId, ActionCode, Key, PURCHASE_KEY_PREFIX, Reference, UserId};
use super::price::{NoPrice, PriceMatrix};
use super::transaction::{ContentHash, Entry, GrantId, Kind, Money, Reason, Source, Status, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// Most of one action in one charge: a mistyped quantity is an error, not an empty account.
pub const QUANTITY_MAX: i64 = 1_000_000;
/// Most packs in one purchase.
pub const PACKS_MAX: i64 = 100_000;

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

/// One AI action as the platform reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The idempotency key (R9).
    pub key: Key,
    /// When it happened, for usage that is told later; `None` is now.
    pub occurred_at: Option<Instant>,
    /// Who did it.
    pub user: Option<UserId>,
    /// What was done.
    pub action: ActionCode,
    /// How many, 1 to [`QUANTITY_MAX`].
    pub quantity: i64,
    /// `Success` asks for the credits; `Failed` logs an action that failed at the platform and takes none.
    pub status: Status,
    /// Free text.
    pub comment: String,
}

impl Usage {
    /// What decides whether a second call under the same key is the same call (R9).
    #[must_use]
    pub fn content(&self) -> ContentHash {
        let at = self.occurred_at.map(|t| t.micros().to_string()).unwrap_or_default();
        let user = self.user.as_ref().map_or("", UserId::as_str);
        let quantity = self.quantity.to_string();
        let fields = ["charge", &at, user, self.action.as_str(), &quantity, self.status.as_str(), &self.comment];
        ContentHash::of(&fields)
    }
}

/// Packs bought (R12). The payment's reference is also the idempotency key: one payment, one grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// The external payment.
    pub reference: Reference,
    /// When it was made, for a purchase that is told later; `None` is now.
    pub occurred_at: Option<Instant>,
    /// How many packs, 1 to [`PACKS_MAX`].
    pub packs: i64,
    /// Credits in one pack.
    pub pack_credits: Credits,
    /// What was paid for all of them.
    pub money: Money,
    /// Free text.
    pub comment: String,
}

impl Purchase {
    /// The idempotency key of a payment.
    ///
    /// # Errors
    /// None in practice: a reference is short enough to leave room for the prefix.
    pub fn key(&self) -> Result<Key, super::ids::BadName> {
        Key::new(&format!("{PURCHASE_KEY_PREFIX}{}", self.reference))
    }

    /// What decides whether a second call for the same payment is the same call (R9). What a pack holds and costs comes
    /// from the configuration, not from the caller, so it does not count.
    #[must_use]
    pub fn content(&self) -> ContentHash {
        let at = self.occurred_at.map(|t| t.micros().to_string()).unwrap_or_default();
        ContentHash::of(&["purchase", &at, &self.packs.to_string(), &self.comment])
    }
}

/// Why an operation wrote nothing. The causes are looked for in the order in which they stand here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// R9: the key was used for something else.
    #[error(
        "idempotency_conflict: account {account}: the key {key} was used on {first_at} for another call (row {seq}); \
         use a new key for a new call"
    )]
    Conflict {
        /// Whose key.
        account: AccountId,
        /// The key.
        key: Key,
        /// The row that it made.
        seq: i64,
        /// When that row was recorded.
        first_at: Instant,
    },
    /// Later than the clock.
    #[error(
        "in_future: account {account}: {at} is later than now ({now}); check the file's time and this machine's clock"
    )]
    InFuture {
        /// Which account.
        account: AccountId,
        /// When the call says it happened.
        at: Instant,
        /// The clock.
        now: Instant,
    },
    /// Before the account existed.
    #[error("not_opened: account {account} opened at {opened_at}, after {at}")]
    NotOpened {
        /// Which account.
        account: AccountId,
        /// When it opened.
        opened_at: Instant,
        /// When the call says it happened.
        at: Instant,
    },
    /// A count outside its bounds.
    #[error("bad_quantity: account {account}: {what} must be 1 to {max}, not {given}")]
    Quantity {
        /// Which account.
        account: AccountId,
        /// What was counted.
        what: &'static str,
        /// The count.
        given: i64,
        /// The bound.
        max: i64,
    },
    /// R8: the action has no price.
    #[error(transparent)]
    NoPrice(#[from] NoPrice),
    /// A sum beyond the range of credits.
    #[error("overflow: account {account}: {source}")]
    Overflow {
        /// Which account.
        account: AccountId,
        /// Which bound.
        source: Overflow,
    },
}

impl Refusal {
    /// The result code: one word per cause.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Refusal::Conflict { .. } => "idempotency_conflict",
            Refusal::NotOpened { .. } => "not_opened",
            Refusal::InFuture { .. } => "in_future",
            Refusal::Quantity { .. } => "bad_quantity",
            Refusal::NoPrice(no_price) => no_price.code(),
            Refusal::Overflow { .. } => "overflow",
        }
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

    /// The first instant at which [`Ledger::roll_over`] has something to do.
    #[must_use]
    pub fn rollover_due_at(&self) -> Instant {
        let lapse = self.next_lapse().map_or(Instant::MAX, |(at, _)| at);
        self.next_opening().1.min(lapse)
    }

    fn next_opening(&self) -> (Month, Instant) {
        match self.opened_through {
            None => (self.account.calendar.month_of(self.account.opened_at), self.account.opened_at),
            Some(month) => (month.next(), self.account.calendar.month_start(month.next())),
        }
    }

    fn next_lapse(&self) -> Option<(Instant, GrantId)> {
        let with_rest = self.grants.values().filter(|grant| !grant.remaining.is_zero());
        with_rest.filter_map(|grant| Some((grant.expires_at?, grant.id))).min()
    }

    /// Brings the account up to `t` (R2, R3): every month that began is opened and everything whose time is over
    /// lapses, in order of time, however many months were missed. Doing it twice changes nothing.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] when a sum leaves the range of credits.
    pub fn roll_over(&mut self, t: Instant, now: Instant) -> Result<(), Refusal> {
        self.try_roll_over(t, now).map_err(|source| self.overflow(source))
    }

    fn try_roll_over(&mut self, t: Instant, now: Instant) -> Result<(), Overflow> {
        loop {
            let (month, opens_at) = self.next_opening();
            match self.next_lapse() {
                // R4: the instant of the boundary belongs to the new month, so the old one lapses first.
                Some((at, grant)) if at <= opens_at && at <= t => self.lapse(grant, at, now)?,
                _ if opens_at <= t => self.open_month(month, opens_at, now)?,
                _ => return Ok(()),
            }
        }
    }

    fn lapse(&mut self, id: GrantId, at: Instant, now: Instant) -> Result<(), Overflow> {
        let grant = &self.grants[&id];
        let entry = Entry { grant: id, credit_type: grant.credit_type, delta: grant.remaining.negated() };
        let comment = format!("{} lapsed", grant.label);
        let seq = self.append(Transaction { comment, entries: vec![entry], ..blank(Kind::Expiry, at) }, now)?.seq;
        if let Some(grant) = self.grants.get_mut(&id) {
            grant.lapsed_by = Some(seq);
        }
        Ok(())
    }

    fn open_month(&mut self, month: Month, at: Instant, now: Instant) -> Result<(), Overflow> {
        let amount = self.account.calendar.terms_in(month).allowance;
        let expires_at = Some(self.account.calendar.month_end(month));
        let label = format!("free:{month}");
        let row = Transaction { comment: label.clone(), ..blank(Kind::Allocation, at) };
        self.grant(row, label, CreditType::Free, Source::Monthly, amount, expires_at, now)?;
        self.opened_through = Some(month);
        Ok(())
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

    /// Takes the price of `usage` at once, or logs why not (R5 to R9).
    ///
    /// Usage told late burns what was unspent then, taking lapses back where needed (R14).
    ///
    /// # Errors
    /// [`Refusal`]; nothing is written then. A charge refused for want of credits is no error but a failed row (R7).
    pub fn charge(&mut self, usage: &Usage, prices: &PriceMatrix, now: Instant) -> Result<Receipt<'_>, Refusal> {
        let Some((at, unit_price, cost)) = self.check_charge(usage, prices, now)? else {
            return Ok(Receipt { row: &self.known[&usage.key], replayed: true });
        };
        self.roll_over(at, now)?;
        let row = Transaction {
            user: usage.user.clone(),
            action: Some(usage.action.clone()),
            quantity: usage.quantity,
            unit_price,
            status: usage.status,
            comment: usage.comment.clone(),
            key: Some(usage.key.clone()),
            content: Some(usage.content()),
            ..blank(Kind::Charge, at)
        };
        self.burn_for(row, cost, now).map_err(|source| self.overflow(source))?;
        Ok(Receipt { row: &self.known[&usage.key], replayed: false })
    }

    /// What a charge would be refused for, without doing it; `None` for a replay (R9), else when it happens, the price of
    /// one and the price of all.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check_charge(
        &self,
        usage: &Usage,
        prices: &PriceMatrix,
        now: Instant,
    ) -> Result<Option<(Instant, Credits, Credits)>, Refusal> {
        if self.replay(&usage.key, usage.content())? {
            return Ok(None);
        }
        let at = self.check_time(usage.occurred_at, now)?;
        self.check_count("the quantity", usage.quantity, QUANTITY_MAX)?;
        let unit_price = prices.price_at(&usage.action, at)?;
        let cost = unit_price.times(usage.quantity).map_err(|source| self.overflow(source))?;
        Ok(Some((at, unit_price, cost)))
    }

    fn burn_for(&mut self, mut row: Transaction, cost: Credits, now: Instant) -> Result<(), Overflow> {
        if row.status == Status::Success {
            match self.take(cost, row.occurred_at)? {
                Some(entries) => {
                    self.take_back_lapses(&entries, now)?;
                    row.entries = entries;
                }
                None => {
                    row.status = Status::Failed;
                    row.reason = Some(Reason::InsufficientCredits);
                }
            }
        }
        self.append(row, now)?;
        Ok(())
    }

    /// The entries that take `cost` from what is unspent at `at`, in burn order; `None` when it does not suffice (R6).
    fn take(&self, cost: Credits, at: Instant) -> Result<Option<Vec<Entry>>, Overflow> {
        let mut usable: Vec<&Grant> = self.grants.values().filter(|grant| grant.is_usable_at(at)).collect();
        usable.sort_by_key(|grant| grant.burn_order());
        let mut entries = Vec::new();
        let mut missing = cost;
        for grant in usable {
            let part = missing.min(grant.unspent()?);
            if !part.is_zero() {
                entries.push(Entry { grant: grant.id, credit_type: grant.credit_type, delta: part.negated() });
                missing = missing.minus(part)?;
            }
        }
        Ok(missing.is_zero().then_some(entries))
    }

    /// R14: where `entries` need more of a grant than is left, the difference had lapsed and is taken back first, by a
    /// row at the lapse's own instant that names the row it corrects.
    fn take_back_lapses(&mut self, entries: &[Entry], now: Instant) -> Result<(), Overflow> {
        for entry in entries {
            let grant = &self.grants[&entry.grant];
            let lapsed = entry.delta.negated().minus(grant.remaining)?;
            let (Some(at), true) = (grant.expires_at, lapsed > Credits::ZERO) else { continue };
            let back = Entry { delta: lapsed, ..*entry };
            let comment = format!("{}: late usage takes back a lapse", grant.label);
            let corrects = grant.lapsed_by;
            self.append(Transaction { comment, corrects, entries: vec![back], ..blank(Kind::Expiry, at) }, now)?;
        }
        Ok(())
    }

    /// Adds purchased packs (R12).
    ///
    /// A purchase depends on nothing before it, so one told late does not open months: usage that is still to be told
    /// finds them as they were.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is written then.
    pub fn purchase(&mut self, purchase: &Purchase, key: &Key, now: Instant) -> Result<Receipt<'_>, Refusal> {
        let Some((at, amount)) = self.check_purchase(purchase, key, now)? else {
            return Ok(Receipt { row: &self.known[key], replayed: true });
        };
        if purchase.occurred_at.is_none() {
            self.roll_over(at, now)?;
        }
        let row = Transaction {
            quantity: purchase.packs,
            unit_price: purchase.pack_credits,
            comment: purchase.comment.clone(),
            key: Some(key.clone()),
            content: Some(purchase.content()),
            money: Some(purchase.money.clone()),
            reference: Some(purchase.reference.clone()),
            ..blank(Kind::Purchase, at)
        };
        let label = format!("pack:{}", purchase.reference);
        self.grant(row, label, CreditType::Purchased, Source::Pack, amount, None, now)
            .map_err(|source| self.overflow(source))?;
        Ok(Receipt { row: &self.known[key], replayed: false })
    }

    /// What a purchase would be refused for, without doing it; `None` for a replay (R9), else when it happens and how many
    /// credits it adds.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check_purchase(
        &self,
        purchase: &Purchase,
        key: &Key,
        now: Instant,
    ) -> Result<Option<(Instant, Credits)>, Refusal> {
        if self.replay(key, purchase.content())? {
            return Ok(None);
        }
        let at = self.check_time(purchase.occurred_at, now)?;
        self.check_count("the number of packs", purchase.packs, PACKS_MAX)?;
        let amount = purchase.pack_credits.times(purchase.packs).map_err(|source| self.overflow(source))?;
        Ok(Some((at, amount)))
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
