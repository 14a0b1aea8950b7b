//! Changing what an account is called, how it is written to, what it is warned of, and what it is entitled to.

use super::{Answer, App, AppError};
use crate::core::alert::Levels;
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, Key};
use crate::core::ledger::{Call, NewTerms};
use crate::core::locale::Locale;
use crate::store::NewFacts;
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
    /// Its own locale; `Some(None)` takes the platform's.
    pub locale: Option<Option<Locale>>,
}

impl App {
    /// Changes an account; `key` stands for the change of its terms (R9), while name, levels and locale are simply set. Returns the
    /// answer about the terms ([`terms_of`](crate::core::ledger::terms_of) its row), when those change.
    ///
    /// # Errors
    /// [`AppError`]; nothing was written then, or all but the terms.
    pub async fn change_account(
        &self,
        id: &AccountId,
        change: &AccountChange,
        key: Key,
    ) -> Result<Option<Answer>, AppError> {
        let AccountChange { name, zone, allowance, levels, locale } = change;
        let levels = levels.as_ref().map(Option::as_ref);
        if !self.store.set_account(id, NewFacts { name: name.as_deref(), levels, locale: *locale }).await? {
            return Err(AppError::UnknownAccount(id.clone()));
        }
        if zone.is_none() && allowance.is_none() {
            return Ok(None);
        }
        let terms = NewTerms { key, zone: *zone, allowance: *allowance };
        self.call(id, Call::Terms(terms)).await.map(Some)
    }
}
