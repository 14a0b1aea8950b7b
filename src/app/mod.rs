//! What creditd offers, whoever asks: settings, store and clock in one value, built once and lent to everything above.
//!
//! The calls here are the platform engineer's: charge, purchase, balance. Each is a batch of one on the one way by
//! which credits move ([`Store::update`]).

mod batch;
mod caps;
mod clocks;
mod desk;
mod health;
pub mod import;
mod left;
mod log;
mod marks;
mod reading;
mod refused;
mod report;
mod retention;
mod sealing;
mod standing;
mod stated;
mod tally;
mod terms;
mod unsubscribe;

pub use batch::Foreseen;
pub use caps::UserCap;
pub use clocks::BadClock;
pub use desk::DESK_BATCH_MAX;
pub use health::{Health, free_bytes};
pub use log::{LogAsk, LogPage};
pub use retention::Dropping;
pub use sealing::{NextSealing, SealedProof, Sealing};
pub use standing::{Lately, Standing};
pub use stated::Stated;
pub use tally::ChargeOutcome;
pub use terms::AccountChange;

use crate::clock::Clock;
use crate::config::Settings;
use crate::core::calendar::{Instant, Month};
use crate::core::credits::{CreditType, Credits, Split};
use crate::core::forecast::GrantLeft;
use crate::core::ids::AccountId;
use crate::core::ledger::{AccountStatus, Call, Grant, Ledger, Purchase, Refusal, Usage};
use crate::core::transaction::{Source, Transaction};
use crate::core::unsubscribe::BadToken;
use crate::sealed::{Folder, SealedError};
use crate::store::{Load, Store, StoreError};
use desk::Desk;
use retention::on_whole;
use std::borrow::Cow;
use std::sync::Arc;
use tally::Tally;
use tokio::sync::{Mutex, Semaphore};

/// Why a call was not done. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The account does not exist.
    #[error("unknown_account: there is no account {0}; `creditd account list` shows those there are")]
    UnknownAccount(AccountId),
    /// The account did not exist at the moment of which it is asked.
    #[error(
        "unknown_account: {account} was not known at {at} yet; `creditd account show {account}` says since when it is"
    )]
    UnknownThen {
        /// Whose.
        account: AccountId,
        /// The moment.
        at: Instant,
    },
    /// A rule forbids it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The clock may be set on a sandbox only.
    #[error("--now (CREDITD_NOW) sets the clock, which only a sandbox allows; this ledger is a real one. Leave it out")]
    NotASandbox,
    /// Somebody asks how something was at an instant that has not come.
    #[error("--as-of {at} is later than now ({now}); ask for an instant that has passed")]
    AsOfFuture {
        /// The instant.
        at: Instant,
        /// The clock.
        now: Instant,
    },
    /// Somebody wants to end mails by what is no link of this ledger.
    #[error(transparent)]
    BadToken(#[from] BadToken),
    /// The sealed files failed.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// A row is not in the sealed files as it is in the database, so it does not leave it.
    #[error(
        "row {seq} of {account} is not in the sealed files as it is in the database; it was not dropped, nor what comes behind \
         it. `creditd verify --sealed` shows what differs"
    )]
    NotSealed {
        /// Whose.
        account: AccountId,
        /// Its number.
        seq: i64,
    },
    /// Something needs rows that have left the database: whoever reads does so on a whole copy.
    #[error(
        "old rows of {0} are in the sealed files alone, and this reads the database; this is a defect of creditd, please report it"
    )]
    Dropped(AccountId),
    /// Rows left the database while something was read: whoever reads does so again.
    #[error("old rows of {0} left the database while it was read; try again")]
    Moved(AccountId),
    /// Rows are nowhere.
    #[error(
        "rows of {0} are neither in the database nor in the sealed files; put the files of the folder `dir` of [sealed] back from a backup"
    )]
    Lacking(AccountId),
    /// A whole copy cannot be made.
    #[error(
        "old rows are in the sealed files alone, and they cannot be laid out there: {0}. The folder `dir` of [sealed] must be writable, with room for them"
    )]
    Copy(std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The row that was written, now or when the call first came. Whatever it says is the first result (R9).
    pub row: Transaction,
    /// R9: the call came before; nothing moved now.
    pub replayed: bool,
    /// What is available as of now, also when the call came before: free and purchased credits that are unspent, unlapsed and not held.
    pub available: Split,
    /// When the account's next month begins, with its free credits if there are any; `None` while it is closed.
    pub next_reset_at: Option<Instant>,
    /// What will be available then if nothing else happens: the next free credits, and what is left now and does not lapse.
    pub available_then: Credits,
    /// The earlier row that the call is about: the hold captured or voided, the charge refunded, the purchase returned.
    pub about: Option<Transaction>,
    /// The cap of the row's user, where there is one, in the month of the row (R17).
    pub cap: Option<UserCap>,
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
    /// What open holds have reserved (R10).
    pub held: Split,
    /// Whether the account is open (R18).
    pub status: AccountStatus,
    /// When it opens or opened.
    pub opened_at: Instant,
    /// The month it is.
    pub month: Month,
    /// Free credits of that month.
    pub allowance: Credits,
    /// When that month ends, and what is left of its allowance lapses.
    pub month_ends_at: Instant,
    /// What is left of those; with what is left of free bonuses, all free credits there are.
    pub allowance_left: Credits,
    /// Free credits that lapse at the end of the month, if they are not used: those, and bonuses that end with it.
    pub lapsing: Credits,
    /// What is left of bonuses, those of one type and end together: free credits that are not the allowance, or purchased ones
    /// that lapse (R13). Those that end first before those that never do.
    pub bonuses: Vec<GrantLeft>,
    /// What is left of each grant, in the order in which they are used (R5).
    pub grants: Vec<GrantLeft>,
    /// Where among those the allowance is; `None` once it is used up.
    pub allowance_at: Option<usize>,
    /// When the next ones come; `None` while the account is closed.
    pub next_reset_at: Option<Instant>,
    /// How many come then; 0 where none do.
    pub next_allowance: Credits,
    /// The zone that decides that.
    pub zone: chrono_tz::Tz,
}

impl Balance {
    /// What lapses until the month's end, and at it, if it is not used: the allowance's, and bonuses of both types.
    fn ending_with_month(&self) -> Credits {
        let is_ended = |bonus: &&GrantLeft| bonus.ends_at.is_some_and(|end| end <= self.month_ends_at);
        let bonuses = self.bonuses.iter().filter(is_ended).map(|bonus| bonus.credits.get());
        Credits::new(bonuses.fold(self.allowance_left.get(), i64::saturating_add))
    }
}

/// Settings, store and clock.
#[derive(Clone, Debug)]
pub struct App {
    /// The validated settings.
    pub settings: Settings,
    /// The ledger's database.
    pub store: Store,
    clock: Clock,
    /// Where calls of this process meet to be done together.
    desk: Desk,
    tally: Tally,
    newest_row: Arc<Mutex<Option<clocks::NewestRow>>>,
    zones_used: Arc<Mutex<clocks::ZonesUsed>>,
    /// The folder of a whole copy, on which this one reads; removed with it.
    _copy: Option<Arc<tempfile::TempDir>>,
    /// Whose turn it is to make one.
    copies: Arc<Semaphore>,
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
        if clock.is_set() && !store.meta().sandbox {
            return Err(AppError::NotASandbox);
        }
        let desk = Desk::new(store.clone(), Folder::new(settings.sealed.dir.clone()));
        Ok(App {
            settings,
            desk,
            tally: Tally::default(),
            newest_row: Arc::default(),
            zones_used: Arc::default(),
            _copy: None,
            copies: Arc::new(Semaphore::new(1)),
            store,
            clock,
        })
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
        let app = App::new(self.settings.clone(), self.store.clone(), Clock::Fixed(now))?;
        let newest_row = Arc::clone(&self.newest_row);
        let zones_used = Arc::clone(&self.zones_used);
        let copies = Arc::clone(&self.copies);
        Ok(App { desk: self.desk.clone(), tally: self.tally.clone(), newest_row, zones_used, copies, ..app })
    }

    /// The same on `store`, which is the same ledger under some condition. Calls are not under it.
    #[must_use]
    pub fn with_store(&self, store: Store) -> App {
        App { store, ..self.clone() }
    }

    /// Does what `call` asks of the ledger of `account`, once (R9). When this returns, it is on disk. Calls that come at the
    /// same time are done together, each with an answer of its own; one that comes alone waits for nobody.
    ///
    /// A charge or hold that is refused for want of credits or by a cap is an answer, too: a failed row in the log.
    ///
    /// # Errors
    /// [`AppError`]; nothing was written then.
    pub async fn call(&self, account: &AccountId, call: Call) -> Result<Answer, AppError> {
        let is_charge = matches!(call, Call::Charge(_));
        let answer = self.desk.call(account.clone(), call, self.clock).await;
        if is_charge {
            self.tally.count(ChargeOutcome::of(&answer));
        }
        answer
    }

    /// Does many calls, each for itself: as many together as the desk takes at a time. One answer for each, in order.
    pub async fn call_all(&self, calls: Vec<(AccountId, Call)>) -> Vec<Result<Answer, AppError>> {
        let calls = calls.into_iter().map(async |(account, call)| self.call(&account, call).await);
        futures_util::future::join_all(calls).await
    }

    /// Checks the balance and takes the credits of one action at once (R5 to R9).
    ///
    /// # Errors
    /// As [`App::call`].
    pub async fn charge(&self, account: &AccountId, usage: &Usage) -> Result<Answer, AppError> {
        self.call(account, Call::Charge(usage.clone())).await
    }

    /// Adds purchased packs (R12).
    ///
    /// # Errors
    /// As [`App::call`].
    pub async fn purchase(&self, account: &AccountId, purchase: &Purchase) -> Result<Answer, AppError> {
        self.call(account, Call::Purchase(purchase.clone())).await
    }

    /// What accounts have now, whether or not any job has run (R3). In order of id; unknown accounts are left out.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn balances(&self, accounts: &[AccountId]) -> Result<Vec<Balance>, AppError> {
        let now = self.now();
        let batch = self.store.load(&Load::accounts(accounts, now)).await?;
        batch.ledgers.values().map(|ledger| Ok(balance_of(ledger, now)?)).collect()
    }

    /// What accounts had at `at`, as creditd knew it then (R15): what was recorded later does not count. In order of id;
    /// accounts that were not known then are left out.
    ///
    /// # Errors
    /// [`AppError::AsOfFuture`] for an instant to come, others when the store fails.
    pub async fn balances_as_of(&self, accounts: &[AccountId], at: Instant) -> Result<Vec<Balance>, AppError> {
        self.check_as_of(Some(at))?;
        on_whole!(self, Some(accounts), |app| app.read_balances_as_of(accounts, at).await)
    }

    async fn read_balances_as_of(&self, accounts: &[AccountId], at: Instant) -> Result<Vec<Balance>, AppError> {
        let ledgers = self.load_as_of(accounts, at).await?;
        ledgers.values().map(|ledger| Ok(balance_of(ledger, at)?)).collect()
    }

    /// Whether one can ask how things were at `as_of`: not before it has come.
    ///
    /// # Errors
    /// [`AppError::AsOfFuture`].
    pub fn check_as_of(&self, as_of: Option<Instant>) -> Result<(), AppError> {
        let now = self.now();
        as_of.filter(|at| *at > now).map_or(Ok(()), |at| Err(AppError::AsOfFuture { at, now }))
    }
}

/// What a ledger has at `now`, rolled over in memory (R3). Before the account opens it has nothing.
///
/// # Errors
/// [`Refusal::Overflow`] when a sum leaves the range of credits.
pub fn balance_of(ledger: &Ledger, now: Instant) -> Result<Balance, Refusal> {
    let mut ledger = Cow::Borrowed(ledger);
    if ledger.due_at() <= now {
        ledger.to_mut().roll_over(now, now)?;
    }
    let overflow = |source| Refusal::Overflow { account: ledger.account.id.clone(), source };
    let available = ledger.available_at(now).map_err(overflow)?;
    let held = ledger.held().map_err(overflow)?;
    let calendar = &ledger.account.calendar;
    let month = calendar.month_of(now.max(ledger.account.opened_at));
    let month_ends_at = calendar.month_end(month);
    let mut open: Vec<&Grant> = ledger.grants.values().filter(|grant| !grant.remaining.is_zero()).collect();
    open.sort_by_key(|grant| grant.burn_order());
    let (mut allowance_left, mut lapsing, mut bonuses) = (Credits::ZERO, Credits::ZERO, Vec::<GrantLeft>::new());
    for grant in &open {
        let (credit_type, ends_at, credits) = (grant.credit_type, grant.expires_at, grant.remaining);
        if credit_type == CreditType::Free && ends_at == Some(month_ends_at) {
            lapsing = lapsing.plus(credits).map_err(overflow)?;
        }
        if grant.source == Source::Monthly {
            allowance_left = allowance_left.plus(credits).map_err(overflow)?;
        } else if credit_type == CreditType::Free || ends_at.is_some() {
            match bonuses.iter_mut().find(|bonus| (bonus.credit_type, bonus.ends_at) == (credit_type, ends_at)) {
                Some(bonus) => bonus.credits = bonus.credits.plus(credits).map_err(overflow)?,
                None => bonuses.push(GrantLeft { credit_type, ends_at, credits }),
            }
        }
    }
    let allowance_at = open.iter().position(|grant| grant.source == Source::Monthly);
    let left_of = |grant: &Grant| GrantLeft {
        credit_type: grant.credit_type,
        ends_at: grant.expires_at,
        credits: grant.remaining,
    };
    let next_reset_at = ledger.next_reset_at(now);
    let next_month = if now < ledger.account.opened_at { month } else { month.next() };
    Ok(Balance {
        account: ledger.account.id.clone(),
        at: now,
        available,
        held,
        status: ledger.status_at(now),
        opened_at: ledger.account.opened_at,
        month,
        allowance: calendar.terms_in(month).allowance,
        month_ends_at,
        allowance_left,
        lapsing,
        bonuses,
        grants: open.into_iter().map(left_of).collect(),
        allowance_at,
        next_reset_at,
        next_allowance: next_reset_at.map_or(Credits::ZERO, |_| calendar.terms_in(next_month).allowance),
        zone: calendar.terms_in(month).zone,
    })
}
