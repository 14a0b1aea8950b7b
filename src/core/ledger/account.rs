//! Changes of an account that its ledger must know in their order: terms (R1, R2), caps (R17), closing (R18).
//!
//! Each is a row of its own, so the log tells who was entitled to what, and two writers who planned on the same ledger
//! cannot both be right: they collide on the row's number.

use super::call::Done;
use super::{Call, CapUse, Closure, Ledger, Refusal, blank};
use crate::core::calendar::{Instant, Month, Terms, parse_zone};
use crate::core::credits::Credits;
use crate::core::ids::{Key, Reference, UserId};
use crate::core::transaction::{Kind, Transaction};
use chrono_tz::Tz;
use std::collections::BTreeMap;

/// A new zone, allowance or both, from the next month on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTerms {
    /// The idempotency key (R9).
    pub key: Key,
    /// The time zone (R1).
    pub zone: Option<Tz>,
    /// Free credits per month (R2).
    pub allowance: Option<Credits>,
}

/// A user's monthly cap (R17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The idempotency key (R9).
    pub key: Key,
    /// Whose.
    pub user: UserId,
    /// Most credits in a month of the account; `None` ends the cap.
    pub credits: Option<Credits>,
}

/// The closing of an account, or its reopening (R18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The idempotency key (R9).
    pub key: Key,
    /// Open it again.
    pub reopen: bool,
    /// Why.
    pub comment: String,
}

/// What a row of terms or of a cap says: `1 credit a month`. Numbers are not grouped, so that programs read them again.
fn a_month(credits: Credits, noun: &str) -> String {
    let plural = if credits.get() == 1 { "" } else { "s" };
    format!("{credits} {noun}{plural} a month")
}

/// The terms that a row says were set: whatever has been set since, they are what its call came to (R9).
#[must_use]
pub fn terms_of(row: &Transaction) -> Option<Terms> {
    let (zone, allowance) = row.comment.rsplit_once(", ")?;
    let (allowance, _) = allowance.split_once(" free credit")?;
    Some(Terms {
        from: row.reference.as_ref().filter(|_| row.kind == Kind::Terms)?.as_str().parse().ok()?,
        zone: parse_zone(zone).ok()?,
        allowance: Credits::new(allowance.parse().ok()?),
    })
}

impl Ledger {
    /// Changes the terms from the next month on (R1, R2): the one after now, after the one in which the account opens
    /// (that instant is fixed in the zone it was opened in), and after the last that was opened.
    pub(super) fn change_terms(&mut self, new: &NewTerms, now: Instant) -> Done {
        self.roll_over(now, now)?;
        let month = self.account.calendar.month_of(now.max(self.account.opened_at));
        let from = self.opened_through.map_or(month, |opened| opened.max(month)).next();
        self.set_terms(new, from, now)
    }

    fn set_terms(&mut self, new: &NewTerms, from: Month, now: Instant) -> Done {
        let old = self.account.calendar.terms_in(from);
        let terms =
            Terms { from, zone: new.zone.unwrap_or(old.zone), allowance: new.allowance.unwrap_or(old.allowance) };
        self.account.calendar.set(terms);
        self.changed.terms.insert(from, terms);
        let row = Transaction {
            comment: format!("{}, {}", terms.zone, a_month(terms.allowance, "free credit")),
            key: Some(new.key.clone()),
            content: Some(Call::Terms(new.clone()).content()),
            reference: Reference::new(&from.to_string()).ok(),
            ..blank(Kind::Terms, now)
        };
        self.append(row, now).map_err(|source| self.overflow(source))
    }

    /// Sets or ends a user's cap (R17). What the user has used counts at once, whenever it was.
    pub(super) fn cap(&mut self, cap: &Cap, now: Instant) -> Done {
        let at = self.check_time(None, now)?;
        if cap.credits.is_none() && !self.caps.contains_key(&cap.user) {
            return Err(Refusal::NoCap { account: self.account.id.clone(), user: cap.user.clone() });
        }
        self.roll_over(at, now)?;
        match cap.credits {
            Some(limit) if self.caps.contains_key(&cap.user) => {
                self.caps.entry(cap.user.clone()).and_modify(|known| known.limit = limit);
            }
            Some(limit) => {
                let mut known = CapUse { limit, ..CapUse::default() };
                // Whatever a planned row gives back was planned, too, or the batch knows it.
                let named = self.rows.iter().chain(self.known.values());
                let occurred_at: BTreeMap<i64, Instant> = named.map(|row| (row.seq, row.occurred_at)).collect();
                let used_at = |row: &Transaction| {
                    row.corrects.and_then(|seq| occurred_at.get(&seq).copied()).unwrap_or(row.occurred_at)
                };
                let rows = self.rows.iter().filter(|row| row.user.as_ref() == Some(&cap.user));
                let planned = rows.map(|row| (used_at(row), row.delta.total()));
                let written = self.history.get(&cap.user).into_iter().flatten().copied();
                for (at, delta) in written.chain(planned) {
                    let used = known.used.entry(self.account.calendar.month_of(at)).or_insert(Credits::ZERO);
                    *used = used.minus(delta).map_err(|source| self.overflow(source))?;
                }
                self.changed.cap_months.extend(known.used.keys().map(|month| (cap.user.clone(), *month)));
                self.caps.insert(cap.user.clone(), known);
            }
            None => {
                self.caps.remove(&cap.user);
                self.changed.cap_months.retain(|(user, _)| *user != cap.user);
            }
        }
        self.changed.caps.insert(cap.user.clone(), cap.credits);
        let comment = cap.credits.map_or_else(|| "no cap".to_owned(), |limit| a_month(limit, "credit"));
        let row = Transaction {
            user: Some(cap.user.clone()),
            comment,
            key: Some(cap.key.clone()),
            content: Some(Call::Cap(cap.clone()).content()),
            ..blank(Kind::Cap, at)
        };
        self.append(row, now).map_err(|source| self.overflow(source))
    }

    /// Closes the account or opens it again (R18). It gets no free credits while it is closed; what it has stays and
    /// lapses in its time.
    pub(super) fn close_or_reopen(&mut self, call: &Closing, now: Instant) -> Done {
        let at = self.check_time(None, now)?;
        self.check_comment(&call.comment)?;
        let account = || self.account.id.clone();
        match (call.reopen, self.closures.last().filter(|closure| closure.reopened_at.is_none())) {
            (false, Some(closure)) => {
                return Err(Refusal::AccountClosed { account: account(), closed_at: closure.closed_at });
            }
            (true, None) => return Err(Refusal::AccountOpen { account: account() }),
            _ => {}
        }
        // An account that reopens gets the free credits of the month.
        self.check_month(at)?;
        // The clock may have been set back; closures follow each other all the same, each with an instant of its own.
        let latest = self.closures.last().map(|last| last.reopened_at.unwrap_or(last.closed_at));
        let (told, at) = (at, latest.map_or(at, |latest| at.max(latest.plus_micros(1))));
        if call.reopen {
            self.roll_over(told, now)?;
            if let Some(closure) = self.closures.last_mut() {
                closure.reopened_at = Some(at);
                self.changed.closures.insert(closure.closed_at);
            }
        } else {
            // R4: the instant of the closing is closed already, so a month that begins at it is none of the account's.
            self.closures.push(Closure { closed_at: at, reopened_at: None });
            self.changed.closures.insert(at);
            self.roll_over(told, now)?;
        }
        let row = Transaction {
            comment: call.comment.clone(),
            key: Some(call.key.clone()),
            content: Some(Call::Closing(call.clone()).content()),
            ..blank(if call.reopen { Kind::Reopening } else { Kind::Closing }, at)
        };
        let row = self.append(row, now).map_err(|source| self.overflow(source))?;
        self.roll_over(at, now)?;
        Ok(row)
    }

    /// R18: nothing is charged to an account that was closed at `at`.
    pub(super) fn check_open(&self, at: Instant) -> Result<(), Refusal> {
        let closed = self.closures.iter().find(|c| c.closed_at <= at && c.reopened_at.is_none_or(|end| at < end));
        match closed {
            Some(closure) => {
                Err(Refusal::AccountClosed { account: self.account.id.clone(), closed_at: closure.closed_at })
            }
            None => Ok(()),
        }
    }
}
