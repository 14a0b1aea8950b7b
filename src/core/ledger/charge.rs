//! Charges (R5 to R9, R17): an AI action takes its credits at once, or leaves a failed row that says why not.

use super::call::Done;
use super::{Ledger, Refusal, blank};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Overflow};
use crate::core::ids::{ActionCode, Key, TEXT_CHARS_MAX, UserId, cut_text};
use crate::core::price::PriceMatrix;
use crate::core::transaction::{Entry, Kind, Reason, Status, Transaction};

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
    /// R14: usage of a month that is closed counts at the start of the first open month instead of being refused.
    pub post_to_open: bool,
}

/// What the log says of usage that counts in another month than it happened in: when that was, after as much of the
/// caller's `comment` as there is room for.
fn posted_comment(comment: &str, told: Instant) -> String {
    let note = format!("(of {told}, posted to the open month)");
    let room = TEXT_CHARS_MAX.saturating_sub(note.chars().count() + 1);
    format!("{} {note}", cut_text(comment, room)).trim().to_owned()
}

/// A charge whose call is in order.
pub(super) struct Checked {
    at: Instant,
    unit_price: Credits,
    cost: Credits,
}

impl Ledger {
    /// Takes the price of `usage` at once, or logs why not (R5 to R9).
    ///
    /// Usage told late burns what was unspent then, taking lapses back where needed (R14).
    pub(super) fn charge(&mut self, usage: &Usage, prices: &PriceMatrix, now: Instant) -> Done {
        let Checked { at, unit_price, cost } = self.check_charge(usage, prices, now)?;
        self.roll_over(at, now)?;
        let comment = match usage.occurred_at {
            Some(told) if told != at => posted_comment(&usage.comment, told),
            _ => usage.comment.clone(),
        };
        let row = Transaction {
            user: usage.user.clone(),
            action: Some(usage.action.clone()),
            quantity: usage.quantity,
            unit_price,
            status: usage.status,
            comment,
            key: Some(usage.key.clone()),
            content: Some(super::Call::Charge(usage.clone()).content()),
            ..blank(Kind::Charge, at)
        };
        self.burn_for(row, cost, usage.occurred_at.is_some(), now).map_err(|source| self.overflow(source))
    }

    /// Whether the call is in order: when it happens, the price of one and the price of all.
    pub(super) fn check_charge(&self, usage: &Usage, prices: &PriceMatrix, now: Instant) -> Result<Checked, Refusal> {
        let told = self.check_time(usage.occurred_at, now)?;
        self.check_count("the quantity", usage.quantity, QUANTITY_MAX)?;
        let unit_price = prices.price_at(&usage.action, told)?;
        let cost = unit_price.times(usage.quantity).map_err(|source| self.overflow(source))?;
        self.check_open(told)?;
        let at = if usage.post_to_open { self.first_open_instant(told) } else { told };
        self.check_open(at)?;
        self.check_month(at)?;
        Ok(Checked { at, unit_price, cost })
    }

    fn burn_for(
        &mut self,
        mut row: Transaction,
        cost: Credits,
        is_late: bool,
        now: Instant,
    ) -> Result<Transaction, Overflow> {
        if row.status == Status::Success {
            match self.refusal_of(row.user.as_ref(), cost, row.occurred_at, is_late)? {
                Err(reason) => (row.status, row.reason) = (Status::Failed, Some(reason)),
                Ok(entries) => {
                    self.take_back_lapses(&entries, now)?;
                    row.entries = entries;
                }
            }
        }
        self.append(row, now)
    }

    /// The entries that pay `cost` at `at`, or why it is refused: by the cap of `user` first (R17), then for want of
    /// credits (R6).
    pub(super) fn refusal_of(
        &self,
        user: Option<&UserId>,
        cost: Credits,
        at: Instant,
        is_late: bool,
    ) -> Result<Result<Vec<Entry>, Reason>, Overflow> {
        if let Some(cap) = user.and_then(|user| self.caps.get(user)) {
            let used = cap.used.get(&self.account.calendar.month_of(at)).copied().unwrap_or(Credits::ZERO);
            if !cost.is_zero() && used.plus(cost)? > cap.limit {
                return Ok(Err(Reason::UserCap));
            }
        }
        Ok(self.take(cost, at, is_late, None)?.ok_or(Reason::InsufficientCredits))
    }

    /// R14: where `entries` need more of a grant than is left, the difference had lapsed and is taken back first, by a
    /// row at the lapse's own instant that names the row it corrects.
    pub(super) fn take_back_lapses(&mut self, entries: &[Entry], now: Instant) -> Result<(), Overflow> {
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
