//! The log of one account as its page shows it: from the newest row to older ones or back again, a bounded stretch at a time.
//!
//! Each stretch is entered by one index, however many rows the account has. What is filtered is sifted by the database, which hands
//! out the few that pass.

use super::ledgers::limit_of;
use super::stored::{columns, read_transaction};
use super::{Result, Store, While};
use crate::core::calendar::Instant;
use crate::core::ids::{AccountId, ActionCode, UserId};
use crate::core::statement::Filters;
use crate::core::transaction::Transaction;

/// A row's place in the log of its account: when it occurred, and its number among those of that instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPlace {
    /// When.
    pub occurred_at: Instant,
    /// Its number.
    pub seq: i64,
}

impl LogPlace {
    /// Where `row` is.
    #[must_use]
    pub const fn of(row: &Transaction) -> LogPlace {
        LogPlace { occurred_at: row.occurred_at, seq: row.seq }
    }
}

/// Which way a log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogWay {
    /// To older rows.
    Back,
    /// To newer ones.
    Forth,
}

/// A stretch of the log of an account.
#[derive(Clone, Copy, Debug)]
pub struct LogStretch {
    /// Rows that count at this instant or later: a lapse at the end of a grant counts just before it,
    pub from: Instant,
    /// and before this one.
    pub to: Instant,
    /// Which way.
    pub way: LogWay,
    /// The row behind which it begins, seen that way; `None` for the first there is.
    pub behind: Option<LogPlace>,
    /// The row with which it ends; `None` for the last there is.
    pub through: Option<LogPlace>,
}

impl LogStretch {
    /// Its bounds as statements take them: the oldest and the newest place that are in it, both included.
    fn bounds(&self) -> (LogPlace, LogPlace) {
        let next_seq = |place: LogPlace, by: i64| LogPlace { seq: place.seq.saturating_add(by), ..place };
        let oldest = LogPlace { occurred_at: self.from, seq: i64::MIN };
        // Of what occurred at that very instant, what counts before it is in.
        let newest = LogPlace { occurred_at: self.to, seq: i64::MAX };
        match self.way {
            LogWay::Back => {
                let newest = self.behind.map_or(newest, |place| newest.min(next_seq(place, -1)));
                (self.through.map_or(oldest, |place| oldest.max(place)), newest)
            }
            LogWay::Forth => {
                let oldest = self.behind.map_or(oldest, |place| oldest.max(next_seq(place, 1)));
                (oldest, self.through.map_or(newest, |place| newest.min(place)))
            }
        }
    }
}

/// What rows of a log must have that are worth looking at: at most one value of each filter.
#[derive(Clone, Copy, Debug, Default)]
struct Sieve<'a> {
    action: Option<&'a str>,
    user: Option<&'a str>,
    touched: Option<&'a str>,
    ending: Option<&'a str>,
}

impl<'a> Sieve<'a> {
    /// Lets everything pass that `filters` do, and maybe more.
    fn of(filters: &'a Filters) -> Sieve<'a> {
        fn only<T>(values: &[T]) -> Option<&T> {
            values.first().filter(|_| values.len() == 1)
        }
        Sieve {
            action: only(&filters.actions).and_then(Option::as_ref).map(ActionCode::as_str),
            user: only(&filters.users).and_then(Option::as_ref).map(UserId::as_str),
            touched: only(&filters.types).map(|touched| touched.as_str()),
            ending: only(&filters.statuses).map(|ending| ending.as_str()),
        }
    }
}

/// The bounds of time are what the index is entered by; the numbers only tell rows of the first and the last instant apart.
macro_rules! stretch {
    ($columns:expr, $sieve:literal, $order:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM transactions AS t
              WHERE t.account_id = $1 AND t.occurred_at >= $2 AND (t.occurred_at <> $2 OR t.seq >= $3)
                AND t.occurred_at <= $4 AND (t.occurred_at <> $4 OR t.seq <= $5)",
            $sieve,
            $order
        )
    };
}

/// [`Filters::admit`] of at most one value each.
macro_rules! found {
    ($order:literal) => {
        stretch!(
            columns!(),
            " AND t.occurred_at - CASE t.kind WHEN 'expiry' THEN 1 ELSE 0 END >= $6
              AND t.occurred_at - CASE t.kind WHEN 'expiry' THEN 1 ELSE 0 END < $7
              AND ($8 IS NULL OR t.action = $8) AND ($9 IS NULL OR t.user_id = $9)
              AND ($10 IS NULL OR $10 = CASE WHEN t.free_delta <> 0 AND t.purchased_delta <> 0 THEN 'mixed'
                  WHEN t.free_delta <> 0 THEN 'free' WHEN t.purchased_delta <> 0 THEN 'purchased' ELSE 'none' END)
              AND ($11 IS NULL OR $11 = CASE WHEN t.kind <> 'charge' OR t.status = 'success' THEN 'succeeded'
                  WHEN t.reason IS NULL THEN 'failed' ELSE 'refused' END)",
            $order
        )
    };
}

const FOUND_BACK: &str = found!(" ORDER BY t.occurred_at DESC, t.seq DESC LIMIT $12");
const FOUND_FORTH: &str = found!(" ORDER BY t.occurred_at, t.seq LIMIT $12");
const PLACE_BACK: &str =
    stretch!("t.occurred_at, t.seq", "", " ORDER BY t.occurred_at DESC, t.seq DESC LIMIT 1 OFFSET $6");
const PLACE_FORTH: &str = stretch!("t.occurred_at, t.seq", "", " ORDER BY t.occurred_at, t.seq LIMIT 1 OFFSET $6");

impl Store {
    /// Up to `limit` rows of `account` in `stretch`, in the order of its way: those that pass `filters`, and where a filter has several
    /// values maybe others.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn log_found(
        &self,
        account: &AccountId,
        stretch: &LogStretch,
        filters: &Filters,
        limit: usize,
    ) -> Result<Vec<Transaction>> {
        let ((oldest, newest), sieve) = (stretch.bounds(), Sieve::of(filters));
        let rows = self
            .query(if stretch.way == LogWay::Back { FOUND_BACK } else { FOUND_FORTH })
            .bind(account.as_str())
            .bind(oldest.occurred_at.micros())
            .bind(oldest.seq)
            .bind(newest.occurred_at.micros())
            .bind(newest.seq)
            .bind(stretch.from.micros())
            .bind(stretch.to.micros())
            .bind(sieve.action)
            .bind(sieve.user)
            .bind(sieve.touched)
            .bind(sieve.ending)
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("reading the log of an account")?;
        rows.iter().map(|row| Ok(read_transaction(row)?.1)).collect()
    }

    /// The place of row number `rows` of `stretch`, counted its way; `None` where it has fewer. The index alone tells, so rows
    /// of the last instant are counted, too, that count behind the stretch.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn log_place(&self, account: &AccountId, stretch: &LogStretch, rows: usize) -> Result<Option<LogPlace>> {
        let (oldest, newest) = stretch.bounds();
        let found = self
            .query(if stretch.way == LogWay::Back { PLACE_BACK } else { PLACE_FORTH })
            .bind(account.as_str())
            .bind(oldest.occurred_at.micros())
            .bind(oldest.seq)
            .bind(newest.occurred_at.micros())
            .bind(newest.seq)
            .bind(limit_of(rows.saturating_sub(1)))
            .fetch_all()
            .await
            .while_("looking for a place in the log of an account")?;
        let place = |row: &super::sql::Row| LogPlace { occurred_at: Instant::from_micros(row.get(0)), seq: row.get(1) };
        Ok(found.first().map(place))
    }
}
