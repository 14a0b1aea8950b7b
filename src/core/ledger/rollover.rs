//! The rollover of a ledger (R2, R3): months open and grants lapse as time goes by, however late anybody looks.

use super::replay::FREE;
use super::{Ledger, Refusal, blank};
use crate::core::calendar::{Instant, Month};
use crate::core::credits::{CreditType, Overflow};
use crate::core::transaction::{Entry, GrantId, Kind, Source, Transaction};

impl Ledger {
    /// The first instant at which [`Ledger::roll_over`] has something to do.
    #[must_use]
    pub fn due_at(&self) -> Instant {
        let lapse = self.next_lapse().map_or(Instant::MAX, |(at, _)| at);
        let hold = self.next_expiring_hold().map_or(Instant::MAX, |hold| hold.expires_at);
        self.next_opening().1.min(lapse).min(hold)
    }

    /// The next month to open and when (R2): at its start, or when the account opens or reopens within it (R18).
    fn next_opening(&self) -> (Month, Instant) {
        let calendar = &self.account.calendar;
        let (mut month, mut at) = match self.opened_through {
            None => (calendar.month_of(self.account.opened_at), self.account.opened_at),
            Some(month) => (month.next(), calendar.month_start(month.next())),
        };
        for closure in &self.closures {
            match closure.reopened_at {
                _ if at < closure.closed_at => break,
                None => return (month, Instant::MAX),
                Some(reopened_at) if at < reopened_at => {
                    at = reopened_at;
                    month = month.max(calendar.month_of(reopened_at));
                }
                Some(_) => {}
            }
        }
        (month, at)
    }

    fn next_lapse(&self) -> Option<(Instant, GrantId)> {
        let with_rest = self.grants.values().filter(|grant| !grant.remaining.is_zero());
        with_rest.filter_map(|grant| Some((grant.expires_at?, grant.id))).min()
    }

    /// Brings the account up to `t` (R2, R3): every month that began is opened and everything whose time is over
    /// lapses, in order of time, however many months were missed. Holds that ran out by `now` are settled first, also
    /// when `t` is earlier: they give back what usage told late may need. Doing it twice changes nothing.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] when a sum leaves the range of credits.
    pub fn roll_over(&mut self, t: Instant, now: Instant) -> Result<(), Refusal> {
        self.try_roll_over(t, now).map_err(|source| self.overflow(source))
    }

    fn try_roll_over(&mut self, t: Instant, now: Instant) -> Result<(), Overflow> {
        self.expire_holds(now)?;
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

    pub(super) fn lapse(&mut self, id: GrantId, at: Instant, now: Instant) -> Result<(), Overflow> {
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
        let label = format!("{FREE}{month}");
        let row = Transaction { comment: label.clone(), expires_at, ..blank(Kind::Allocation, at) };
        self.grant(row, label, CreditType::Free, Source::Monthly, amount, now)?;
        self.opened_through = Some(month);
        Ok(())
    }
}
