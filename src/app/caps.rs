//! What users may still use of their monthly caps (R17).

use super::{App, AppError};
use crate::core::calendar::{Instant, Month};
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, UserId};
use crate::core::ledger::Ledger;
use crate::store::Load;

/// The cap of a user, and what was used of it in a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCap {
    /// Of which account.
    pub account: AccountId,
    /// Whose.
    pub user: UserId,
    /// The month.
    pub month: Month,
    /// When it ends, and nothing is used of the next one.
    pub ends_at: Instant,
    /// Most credits in it.
    pub limit: Credits,
    /// Credits charged and held, less those that were released and refunded.
    pub used: Credits,
}

impl UserCap {
    /// What the user may still use; nothing where the cap was set below what had been used.
    #[must_use]
    pub fn left(&self) -> Credits {
        self.limit.minus(self.used).unwrap_or(Credits::ZERO).max(Credits::ZERO)
    }
}

/// The cap of `user` in the month of `at`.
pub(super) fn cap_of(ledger: &Ledger, user: &UserId, at: Instant) -> Option<UserCap> {
    let cap = ledger.caps.get(user)?;
    let (account, calendar) = (ledger.account.id.clone(), &ledger.account.calendar);
    let month = calendar.month_of(at);
    let used = cap.used.get(&month).copied().unwrap_or(Credits::ZERO);
    Some(UserCap { account, user: user.clone(), month, ends_at: calendar.month_end(month), limit: cap.limit, used })
}

impl App {
    /// The caps of `accounts` in the month that is now, by account and user: right whether or not holds that ran out were
    /// settled (R3).
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn caps(&self, accounts: &[AccountId]) -> Result<Vec<UserCap>, AppError> {
        let now = self.now();
        let capped = self.store.capped_users(accounts).await?;
        let mut load = Load::default();
        capped.iter().for_each(|(account, user)| load.user(account, user, now));
        let mut ledgers = self.store.load(&load).await?.ledgers;
        ledgers.values_mut().try_for_each(|ledger| ledger.roll_over(now, now))?;
        Ok(capped.iter().filter_map(|(account, user)| cap_of(ledgers.get(account)?, user, now)).collect())
    }
}
