//! Holds (R10): credits are reserved before the work, then captured in whole or in part, or given back.
//!
//! A hold takes its credits out of the remainder of its grants at once, so nobody else can use them. Settling it gives
//! all of them back by a `release` row *at the instant of the hold*, and what was captured is then taken by an ordinary
//! charge at that same instant: the action counts when it was authorised, from the credits that were there then. What is
//! given back to a grant that is over by now lapses with it, so it never leaks into a new month.

use super::call::Done;
use super::{Call, Ledger, QUANTITY_MAX, Refusal, blank};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Overflow};
use crate::core::ids::{ActionCode, Key, UserId};
use crate::core::price::PriceMatrix;
use crate::core::transaction::{Entry, Kind, Status, Transaction};

/// How long a hold is open unless the call says otherwise, in seconds.
pub const HOLD_TTL_SECONDS: i64 = 15 * 60;
/// The longest a hold can be open, in seconds.
pub const HOLD_TTL_SECONDS_MAX: i64 = 24 * 3_600;

/// Credits to reserve for an AI action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The idempotency key (R9), by which the hold is captured or voided.
    pub key: Key,
    /// Who will do it.
    pub user: Option<UserId>,
    /// What will be done.
    pub action: ActionCode,
    /// How many, 1 to [`QUANTITY_MAX`].
    pub quantity: i64,
    /// How long it is open, 1 to [`HOLD_TTL_SECONDS_MAX`].
    pub ttl_seconds: i64,
    /// Free text.
    pub comment: String,
}

/// Take of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The idempotency key (R9).
    pub key: Key,
    /// The key of the hold.
    pub hold: Key,
    /// Credits to take, 0 to what is held; `None` takes all. The rest is given back.
    pub credits: Option<Credits>,
    /// Free text; empty keeps that of the hold.
    pub comment: String,
}

/// Give a hold back: the action was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Void {
    /// The idempotency key (R9).
    pub key: Key,
    /// The key of the hold.
    pub hold: Key,
    /// Why; empty keeps the comment of the hold.
    pub comment: String,
}

/// A hold that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHold {
    /// Its row.
    pub row: Transaction,
    /// The first instant at which it is over.
    pub expires_at: Instant,
}

impl OpenHold {
    /// Credits held.
    #[must_use]
    pub fn held(&self) -> Credits {
        self.row.delta.total().negated()
    }
}

/// How a hold ends.
struct Settlement<'a> {
    /// The call's key and content; `None` when it ran out of time.
    call: Option<(&'a Key, Call)>,
    /// Credits taken; `None` when the action was not done.
    captured: Option<Credits>,
    comment: &'a str,
}

impl Ledger {
    /// Reserves the price of an action (R10), or logs why not as a charge would (R7).
    pub(super) fn hold(&mut self, hold: &Hold, prices: &PriceMatrix, now: Instant) -> Done {
        let at = self.check_time(None, now)?;
        self.check_count("the quantity", hold.quantity, QUANTITY_MAX)?;
        self.check_count("the time a hold is open, in seconds,", hold.ttl_seconds, HOLD_TTL_SECONDS_MAX)?;
        let unit_price = prices.price_at(&hold.action, at)?;
        let cost = unit_price.times(hold.quantity).map_err(|source| self.overflow(source))?;
        self.check_open(at)?;
        self.check_month(at)?;
        self.roll_over(at, now)?;
        let row = Transaction {
            user: hold.user.clone(),
            action: Some(hold.action.clone()),
            quantity: hold.quantity,
            unit_price,
            comment: hold.comment.clone(),
            key: Some(hold.key.clone()),
            content: Some(Call::Hold(hold.clone()).content()),
            ..blank(Kind::Hold, at)
        };
        let appended = match self.refusal_of(hold.user.as_ref(), cost, at, false) {
            Ok(Ok(entries)) => self.open_hold(row, entries, at.plus_seconds(hold.ttl_seconds), now),
            Ok(Err(reason)) => {
                let row = Transaction { kind: Kind::Charge, status: Status::Failed, reason: Some(reason), ..row };
                self.append(row, now)
            }
            Err(overflow) => Err(overflow),
        };
        appended.map_err(|source| self.overflow(source))
    }

    fn open_hold(
        &mut self,
        row: Transaction,
        entries: Vec<Entry>,
        expires_at: Instant,
        now: Instant,
    ) -> Result<Transaction, Overflow> {
        // Where the clock was set back behind a lapse.
        self.take_back_lapses(&entries, now)?;
        let row = self.append(Transaction { entries, expires_at: Some(expires_at), ..row }, now)?;
        self.holds.insert(row.seq, OpenHold { row: row.clone(), expires_at });
        self.changed.holds.insert(row.seq);
        Ok(row)
    }

    /// Takes all or part of a hold (R10): the first credits in burn order, and gives the rest back.
    pub(super) fn capture(&mut self, capture: &Capture, now: Instant) -> Done {
        self.check_time(None, now)?;
        let hold = self.open_hold_of(&capture.hold, now)?;
        let held = hold.held();
        let captured = capture.credits.unwrap_or(held);
        if captured < Credits::ZERO || captured > held {
            let (account, hold) = (self.account.id.clone(), capture.hold.clone());
            return Err(Refusal::ExceedsHold { account, hold, asked: captured, held });
        }
        let call = Some((&capture.key, Call::Capture(capture.clone())));
        self.settle_at(hold, &Settlement { call, captured: Some(captured), comment: &capture.comment }, now)
    }

    /// Gives a hold back (R10), and leaves a failed row (R7).
    pub(super) fn void(&mut self, void: &Void, now: Instant) -> Done {
        self.check_time(None, now)?;
        let hold = self.open_hold_of(&void.hold, now)?;
        let call = Some((&void.key, Call::Void(void.clone())));
        self.settle_at(hold, &Settlement { call, captured: None, comment: &void.comment }, now)
    }

    /// The open hold under `key`, or why there is none at `now`.
    fn open_hold_of(&self, key: &Key, now: Instant) -> Result<OpenHold, Refusal> {
        let (account, hold) = (self.account.id.clone(), key.clone());
        let Some(row) = self.known.get(key).filter(|row| row.kind == Kind::Hold) else {
            return Err(Refusal::UnknownHold { account, hold });
        };
        let settled = self.about.iter().find(|about| about.corrects == Some(row.seq) && about.kind == Kind::Charge);
        match (settled, self.holds.get(&row.seq)) {
            (Some(charge), _) if charge.status == Status::Success => {
                Err(Refusal::HoldCaptured { account, hold, at: charge.recorded_at })
            }
            (Some(charge), _) if charge.key.is_some() => {
                Err(Refusal::HoldVoided { account, hold, at: charge.recorded_at })
            }
            (None, Some(open)) if now < open.expires_at => Ok(open.clone()),
            _ => Err(Refusal::HoldExpired { account, hold, at: row.expires_at.unwrap_or(row.occurred_at) }),
        }
    }

    /// R3, R10: settles every hold whose time is over at `now`, in the order in which they end.
    pub(super) fn expire_holds(&mut self, now: Instant) -> Result<(), Overflow> {
        let is_over = |hold: &&OpenHold| hold.expires_at <= now;
        let mut over: Vec<OpenHold> = self.holds.values().filter(is_over).cloned().collect();
        over.sort_by_key(|hold| (hold.expires_at, hold.row.seq));
        for hold in over {
            let comment = "the hold expired";
            self.settle(&hold, &Settlement { call: None, captured: None, comment }, now)?;
        }
        Ok(())
    }

    /// The open hold that ends next.
    pub(super) fn next_expiring_hold(&self) -> Option<&OpenHold> {
        self.holds.values().min_by_key(|hold| (hold.expires_at, hold.row.seq))
    }

    fn settle_at(&mut self, hold: OpenHold, how: &Settlement<'_>, now: Instant) -> Done {
        self.roll_over(now, now)?;
        self.settle(&hold, how, now).map_err(|source| self.overflow(source))
    }

    fn settle(&mut self, hold: &OpenHold, how: &Settlement<'_>, now: Instant) -> Result<Transaction, Overflow> {
        let OpenHold { row: held, .. } = hold;
        self.holds.remove(&held.seq);
        self.changed.holds.insert(held.seq);
        let about = |kind| Transaction {
            user: held.user.clone(),
            action: held.action.clone(),
            quantity: held.quantity,
            unit_price: held.unit_price,
            corrects: Some(held.seq),
            ..blank(kind, held.occurred_at)
        };
        let given_back: Vec<Entry> =
            held.entries.iter().map(|entry| Entry { delta: entry.delta.negated(), ..*entry }).collect();
        let release = Transaction { entries: given_back, ..about(Kind::Release) };
        self.append(release, now)?;
        let mut missing = how.captured.unwrap_or(Credits::ZERO);
        let mut entries = Vec::new();
        for entry in &held.entries {
            let part = missing.min(entry.delta.negated());
            if !part.is_zero() {
                entries.push(Entry { delta: part.negated(), ..*entry });
                missing = missing.minus(part)?;
            }
        }
        let comment = if how.comment.is_empty() { &held.comment } else { how.comment };
        let charge = Transaction {
            status: if how.captured.is_some() { Status::Success } else { Status::Failed },
            comment: comment.to_owned(),
            key: how.call.as_ref().map(|(key, _)| (*key).clone()),
            content: how.call.as_ref().map(|(_, call)| call.content()),
            entries,
            ..about(Kind::Charge)
        };
        let charge = self.append(charge, now)?;
        self.lapse_what_is_over(&held.entries, now)?;
        Ok(charge)
    }

    /// What was given back to grants that have lapsed lapses with them, where and when they did.
    fn lapse_what_is_over(&mut self, entries: &[Entry], now: Instant) -> Result<(), Overflow> {
        for entry in entries {
            let grant = &self.grants[&entry.grant];
            // A grant that is over but has not lapsed yet will, by the rollover.
            if let (Some(at), Some(_), false) = (grant.expires_at, grant.lapsed_by, grant.remaining.is_zero())
                && at <= now
            {
                self.lapse(entry.grant, at, now)?;
            }
        }
        Ok(())
    }
}
