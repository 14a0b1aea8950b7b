//! Changing what an account is entitled to.

use super::{App, AppError};
use crate::core::alert::Levels;
use crate::core::calendar::{Instant, Month, Terms};
use crate::core::credits::Credits;
use crate::core::ids::AccountId;
use crate::core::ledger::Ledger;
use chrono_tz::Tz;

/// What to change of an account; `None` leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// Its name.
    pub name: Option<String>,
    /// Its time zone, from its next month on (R1).
    pub zone: Option<Tz>,
    /// Its free credits per month, from its next month on (R2).
    pub allowance: Option<Credits>,
    /// Its own alert levels; `Some(None)` takes the platform's.
    pub levels: Option<Option<Levels>>,
}

impl App {
    /// Changes an account. Returns its terms from its next month on, when those change.
    ///
    /// # Errors
    /// [`AppError`]; nothing was written then.
    pub async fn change_account(&self, id: &AccountId, change: &AccountChange) -> Result<Option<Terms>, AppError> {
        if self.store.accounts(std::slice::from_ref(id)).await?.is_empty() {
            return Err(AppError::UnknownAccount(id.clone()));
        }
        let now = self.now();
        let terms = |ledger: &Ledger| next_terms(ledger, change, now);
        let levels = change.levels.as_ref().map(Option::as_ref);
        Ok(self.store.set_account(id, change.name.as_deref(), levels, terms).await?)
    }
}

/// The first month that a change can still reach: the one after `now`, after the one in which the account opens (that
/// instant is fixed in the zone it was opened in), and after the last that was opened.
fn next_month(ledger: &Ledger, now: Instant) -> Month {
    let month = ledger.account.calendar.month_of(now.max(ledger.account.opened_at));
    ledger.opened_through.map_or(month, |opened| opened.max(month)).next()
}

/// The terms of the next month with `change` in them; `None` when that changes neither zone nor allowance.
fn next_terms(ledger: &Ledger, change: &AccountChange, now: Instant) -> Option<Terms> {
    if change.zone.is_none() && change.allowance.is_none() {
        return None;
    }
    let from = next_month(ledger, now);
    let old = ledger.account.calendar.terms_in(from);
    Some(Terms { from, zone: change.zone.unwrap_or(old.zone), allowance: change.allowance.unwrap_or(old.allowance) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::Calendar;
    use crate::core::ledger::Account;

    #[test]
    fn a_change_waits_for_the_month_after_the_last_that_was_opened() {
        let instant = |text| Instant::parse(text).expect("an instant");
        let month = |text: &str| text.parse::<Month>().expect("a month");
        let first = Terms { from: month("2013-01"), zone: Tz::America__New_York, allowance: Credits::new(1_500) };
        let mut ledger = Ledger::new(Account {
            id: AccountId::new("acme").expect("an id"),
            name: String::new(),
            opened_at: instant("2013-01-01T05:00:00Z"),
            calendar: Calendar::new(first),
        });
        let more = AccountChange { allowance: Some(Credits::new(3_000)), ..AccountChange::default() };
        let from = |ledger: &Ledger, now| next_terms(ledger, &more, instant(now)).map(|terms| terms.from.to_string());

        // An account that opens later has its first month by the terms it was opened with.
        assert_eq!(from(&ledger, "2012-06-15T00:00:00Z").as_deref(), Some("2013-02"));
        // The account's own January lasts until 05:00 UTC.
        assert_eq!(from(&ledger, "2013-02-01T04:59:59Z").as_deref(), Some("2013-02"));
        assert_eq!(from(&ledger, "2013-02-01T05:00:00Z").as_deref(), Some("2013-03"));
        ledger.opened_through = Some(month("2013-04"));
        assert_eq!(from(&ledger, "2013-02-01T05:00:00Z").as_deref(), Some("2013-05"));

        // A second change before that month keeps the first.
        ledger.account.calendar.set(Terms { from: month("2013-05"), zone: Tz::Europe__Berlin, ..first });
        let terms = next_terms(&ledger, &more, instant("2013-02-10T00:00:00Z")).expect("terms");
        assert_eq!((terms.zone, terms.allowance), (Tz::Europe__Berlin, Credits::new(3_000)));
        assert_eq!(next_terms(&ledger, &AccountChange::default(), instant("2013-02-10T00:00:00Z")), None);
    }
}
