//! What creditd offers, whoever asks: settings, store and clock in one value, built once and lent to everything above.
//!
//! The calls here are the platform engineer's: charge, purchase, balance. Each is a batch of one on the one way by
//! which credits move ([`Store::update`]).

pub mod import;
mod reading;
mod terms;

pub use terms::AccountChange;

use crate::clock::Clock;
use crate::config::Settings;
use crate::core::calendar::{Instant, Month};
use crate::core::credits::{Credits, Split};
use crate::core::ids::AccountId;
use crate::core::ledger::{Ledger, Purchase, Receipt, Refusal, Usage};
use crate::core::transaction::Transaction;
use crate::store::{Batch, Load, Store, StoreError};

/// Why a call was not done. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The account does not exist.
    #[error("unknown_account: there is no account {0}; `creditd account list` shows those there are")]
    UnknownAccount(AccountId),
    /// A rule forbids it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The clock may be set on a sandbox only.
    #[error("--now (CREDITD_NOW) sets the clock, which only a sandbox allows; this ledger is a real one. Leave it out")]
    NotASandbox,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The answer to a charge or a purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The row that was written, now or when the call first came.
    pub row: Transaction,
    /// R9: the call came before; nothing moved now.
    pub replayed: bool,
    /// What is available after it, as of now.
    pub available: Split,
    /// When the account's next free credits come.
    pub next_reset_at: Instant,
}

/// What an account has at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Whose.
    pub account: AccountId,
    /// When.
    pub at: Instant,
    /// What a charge can use.
    pub available: Split,
    /// The month it is.
    pub month: Month,
    /// Free credits of that month.
    pub allowance: Credits,
    /// When what is left of them lapses and the next ones come.
    pub next_reset_at: Instant,
    /// The zone that decides that.
    pub zone: chrono_tz::Tz,
}

/// Settings, store and clock.
#[derive(Clone, Debug)]
pub struct App {
    /// The validated settings.
    pub settings: Settings,
    /// The ledger's database.
    pub store: Store,
    clock: Clock,
}

impl App {
    /// Opens the ledger that `settings` name.
    ///
    /// # Errors
    /// [`AppError::NotASandbox`] when the clock is set on a real ledger; [`AppError::Store`] when it cannot be opened.
    pub async fn open(settings: Settings, clock: Clock) -> Result<App, AppError> {
        let store = Store::open(&settings.database_url).await?;
        App::new(settings, store, clock)
    }

    /// Puts the parts together.
    ///
    /// # Errors
    /// [`AppError::NotASandbox`] when the clock is set on a real ledger.
    pub fn new(settings: Settings, store: Store, clock: Clock) -> Result<App, AppError> {
        if clock.is_fixed() && !store.meta().sandbox {
            return Err(AppError::NotASandbox);
        }
        Ok(App { settings, store, clock })
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The same ledger at another instant: how a simulation moves on.
    ///
    /// # Errors
    /// [`AppError::NotASandbox`] when this is a real ledger.
    pub fn at(&self, now: Instant) -> Result<App, AppError> {
        App::new(self.settings.clone(), self.store.clone(), Clock::Fixed(now))
    }

    /// Checks the balance and takes the credits of one action at once (R5 to R9). A refusal for want of credits is an
    /// answer, too: a failed row in the log.
    ///
    /// # Errors
    /// [`AppError`]; nothing was written then.
    pub async fn charge(&self, account: &AccountId, usage: &Usage) -> Result<Answer, AppError> {
        let now = self.now();
        let mut load = Load::default();
        load.add(account, usage.occurred_at.unwrap_or(now), Some(usage.key.clone()));
        self.one(account, &load, now, |ledger, batch_prices| ledger.charge(usage, batch_prices, now).map(owned)).await
    }

    /// Adds purchased packs (R12).
    ///
    /// # Errors
    /// [`AppError`]; nothing was written then.
    pub async fn purchase(&self, account: &AccountId, purchase: &Purchase) -> Result<Answer, AppError> {
        let now = self.now();
        let key = purchase.key().map_err(StoreError::from)?;
        let mut load = Load::default();
        load.add(account, purchase.occurred_at.unwrap_or(now), Some(key.clone()));
        self.one(account, &load, now, |ledger, _| ledger.purchase(purchase, &key, now).map(owned)).await
    }

    async fn one(
        &self,
        account: &AccountId,
        load: &Load,
        now: Instant,
        operation: impl Fn(&mut Ledger, &crate::core::price::PriceMatrix) -> Result<(Transaction, bool), Refusal>,
    ) -> Result<Answer, AppError> {
        self.store
            .update(load, |Batch { ledgers, prices }| {
                let ledger = ledgers.get_mut(account).ok_or_else(|| AppError::UnknownAccount(account.clone()))?;
                let (row, replayed) = operation(ledger, prices)?;
                let balance = balance_of(ledger, now)?;
                Ok(Answer { row, replayed, available: balance.available, next_reset_at: balance.next_reset_at })
            })
            .await?
    }

    /// What accounts have now, whether or not any job has run (R3). In order of id; unknown accounts are left out.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn balances(&self, accounts: &[AccountId]) -> Result<Vec<Balance>, AppError> {
        let now = self.now();
        let mut load = Load::default();
        accounts.iter().for_each(|account| load.add(account, now, None));
        let batch = self.store.load(&load).await?;
        batch.ledgers.values().map(|ledger| Ok(balance_of(ledger, now)?)).collect()
    }
}

fn owned(receipt: Receipt<'_>) -> (Transaction, bool) {
    (receipt.row.clone(), receipt.replayed)
}

/// What a ledger has at `now`, rolled over in memory (R3). Before the account opens it has nothing.
///
/// # Errors
/// [`Refusal::Overflow`] when a sum leaves the range of credits.
pub fn balance_of(ledger: &Ledger, now: Instant) -> Result<Balance, Refusal> {
    let mut ledger = ledger.clone();
    ledger.roll_over(now, now)?;
    let available =
        ledger.available_at(now).map_err(|source| Refusal::Overflow { account: ledger.account.id.clone(), source })?;
    let calendar = &ledger.account.calendar;
    let month = calendar.month_of(now.max(ledger.account.opened_at));
    Ok(Balance {
        account: ledger.account.id.clone(),
        at: now,
        available,
        month,
        allowance: calendar.terms_in(month).allowance,
        next_reset_at: calendar.month_end(month),
        zone: calendar.terms_in(month).zone,
    })
}
