//! The closing of months to late usage (R14).
//!
//! One line divides closed months from open ones: closing a month closes all before it, opening one again opens all
//! after it. So a closed month can rely on everything it was built on.

use super::call::Done;
use super::{Call, Ledger, MonthsClosed, Refusal, blank};
use crate::core::calendar::{Instant, Month};
use crate::core::ids::{Key, Reference};
use crate::core::transaction::{Kind, Transaction};

/// A month to close, or to open again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthClosing {
    /// The idempotency key (R9).
    pub key: Key,
    /// The month.
    pub month: Month,
    /// Open it again.
    pub reopen: bool,
    /// Why; opening again needs a reason.
    pub comment: String,
}

impl Ledger {
    /// Closes a month and all before it to late usage, or opens it and all after it again (R14).
    pub(super) fn close_or_reopen_month(&mut self, call: &MonthClosing, now: Instant) -> Done {
        let (account, month) = (self.account.id.clone(), call.month);
        let at = self.check_time(None, now)?;
        let first = self.account.calendar.month_of(self.account.opened_at);
        if month < first {
            let (opened_at, at) = (self.account.opened_at, self.account.calendar.month_start(month));
            return Err(Refusal::NotOpened { account, opened_at, at });
        }
        if call.reopen {
            self.check_comment(&call.comment)?;
            if self.closed_through.is_none_or(|closed| closed < month) {
                return Err(Refusal::MonthOpen { account, month });
            }
        } else {
            if let Some(through) = self.closed_through.filter(|closed| month <= *closed) {
                return Err(Refusal::MonthClosed { account, month, through });
            }
            let over_at = self.month_over_at(month);
            if now < over_at {
                return Err(Refusal::MonthNotOver { account, month, over_at });
            }
        }
        self.roll_over(at, now)?;
        let after = self.closed_through;
        if call.reopen {
            self.opened_again(month)
        } else {
            self.closed(month)
        }
        self.changed.reopened_through = true;
        let row = Transaction {
            comment: call.comment.clone(),
            key: Some(call.key.clone()),
            content: Some(Call::Month(call.clone()).content()),
            reference: Reference::new(&month.to_string()).ok(),
            ..blank(if call.reopen { Kind::MonthReopen } else { Kind::MonthClose }, at)
        };
        let done = self.append(row, now).map_err(|source| self.overflow(source))?;
        if !call.reopen {
            self.changed.months_closed.push(MonthsClosed { after, through: month, seq: self.last_seq });
        }
        Ok(done)
    }

    /// A month was closed, and all before it.
    pub(super) fn closed(&mut self, month: Month) {
        self.closed_through = Some(month);
        self.reopened_through = self.reopened_through.filter(|reopened| *reopened > month);
    }

    /// A month was opened again, and all after it.
    pub(super) fn opened_again(&mut self, month: Month) {
        let first = self.account.calendar.month_of(self.account.opened_at);
        self.reopened_through = self.reopened_through.max(self.closed_through);
        self.closed_through = Some(month.previous()).filter(|before| *before >= first);
    }

    /// When nothing but late usage can happen in `month` any more: it has ended, and so have the holds made in it.
    #[must_use]
    pub fn month_over_at(&self, month: Month) -> Instant {
        let end = self.account.calendar.month_end(month);
        let of_month = self.holds.values().filter(|hold| hold.row.occurred_at < end);
        of_month.map(|hold| hold.expires_at).fold(end, Instant::max)
    }

    /// R14: nothing can happen any more in a month that is closed.
    pub(super) fn check_month(&self, at: Instant) -> Result<(), Refusal> {
        match self.closed_through {
            Some(through) if at < self.account.calendar.month_end(through) => {
                let month = self.account.calendar.month_of(at);
                Err(Refusal::MonthClosed { account: self.account.id.clone(), month, through })
            }
            _ => Ok(()),
        }
    }

    /// `at`, or the start of the first month that is open to late usage.
    pub(super) fn first_open_instant(&self, at: Instant) -> Instant {
        self.closed_through.map_or(at, |through| at.max(self.account.calendar.month_end(through)))
    }
}
