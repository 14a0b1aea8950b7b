//! Charges (R5 to R9): an AI action takes its credits at once, or leaves a failed row that says why not.

use super::{Grant, Ledger, Receipt, Refusal, blank};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Overflow};
use crate::core::ids::{ActionCode, Key, PURCHASE_KEY_PREFIX, UserId};
use crate::core::price::PriceMatrix;
use crate::core::transaction::{ContentHash, Entry, Kind, Reason, Status, Transaction};

/// Most of one action in one charge: a mistyped quantity is an error, not an empty account.
pub const QUANTITY_MAX: i64 = 1_000_000;

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

impl Ledger {
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
        if usage.key.as_str().starts_with(PURCHASE_KEY_PREFIX) {
            let (account, key) = (self.account.id.clone(), usage.key.clone());
            return Err(Refusal::ReservedKey { account, key });
        }
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
}
