//! The log of one account, page by page, to older rows or to newer ones: all of it, or what passes filters and has a text in it.

use super::retention::on_whole;
use super::{App, AppError};
use crate::core::calendar::Instant;
use crate::core::ids::{AccountId, ActionCode, Key, Reference, UserId};
use crate::core::statement::Filters;
use crate::core::transaction::Transaction;
use crate::store::{LogFilter, LogPlace, LogStretch, LogWay, Opening};

/// Rows that the database sifts for one page of what is filtered: some tens of milliseconds.
const SIFTED_MAX: usize = 50_000;
/// Rows that are looked at for one page of what has a text in it, which takes as long.
const LOOKED_AT_MAX: usize = 10_000;
/// Of them, those that are read at once.
const READ_AT_ONCE: usize = 2_000;

/// Which rows of the log of an account.
#[derive(Clone, Debug)]
pub struct LogAsk {
    /// That occurred at this instant or later.
    pub from: Instant,
    /// That occurred before this instant.
    pub to: Instant,
    /// That pass these.
    pub filters: Filters,
    /// That have this text in what people and the platform wrote; empty for any. The case of letters does not count.
    pub text: String,
}

/// A page of the log.
#[derive(Clone, Debug, Default)]
pub struct LogPage {
    /// Its rows, in the order in which they were looked at.
    pub rows: Vec<Transaction>,
    /// The row behind which the next page begins; `None` when there is nothing more.
    pub next: Option<LogPlace>,
    /// Set when the page ends because enough rows were looked at, not because it is full: how many there were until `next`.
    pub looked_at: Option<usize>,
}

impl LogAsk {
    /// Whether every row of the time passes.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.filters.is_empty() && self.text.is_empty()
    }

    /// Whether `row` passes.
    #[must_use]
    pub fn admits(&self, row: &Transaction) -> bool {
        self.filters.admit(row) && (self.text.is_empty() || has_text(row, &self.text.to_lowercase()))
    }
}

/// Whether any of the texts of `row` has `text`, which is in lower case.
fn has_text(row: &Transaction, text: &str) -> bool {
    let texts = [
        Some(row.comment.as_str()),
        row.user.as_ref().map(UserId::as_str),
        row.action.as_ref().map(ActionCode::as_str),
        row.reference.as_ref().map(Reference::as_str),
        row.key.as_ref().map(Key::as_str),
    ];
    texts.into_iter().flatten().any(|one| one.to_lowercase().contains(text))
}

impl App {
    /// The newest `limit` rows of the log that `filter` lets pass, newest first.
    ///
    /// # Errors
    /// [`AppError`] when the store or the sealed files fail.
    pub async fn log_newest(
        &self,
        filter: &LogFilter,
        limit: usize,
    ) -> Result<Vec<(AccountId, Transaction)>, AppError> {
        let accounts = filter.account.as_ref().map(std::slice::from_ref);
        on_whole!(self, accounts, |app| app.read_newest(filter, limit).await)
    }

    async fn read_newest(&self, filter: &LogFilter, limit: usize) -> Result<Vec<(AccountId, Transaction)>, AppError> {
        let rows = self.store.log_newest(filter, limit).await?;
        let openings = self.store.openings(filter.account.as_ref().map(std::slice::from_ref)).await?;
        let is_full = rows.len() >= limit;
        let newest = openings.into_iter().max_by_key(|opening| opening.recorded_at);
        let reaches = |opening: &Opening| {
            let last = rows.last().map_or(Instant::MIN, |(_, row)| row.occurred_at);
            filter.from.is_none_or(|from| from <= opening.recorded_at) && !(is_full && last > opening.recorded_at)
        };
        newest.filter(reaches).map_or(Ok(rows), |opening| Err(AppError::Dropped(opening.account)))
    }

    /// Up to `size` rows of the log of `account` that `ask` admits behind the row `behind`, seen that way, in its order.
    ///
    /// # Errors
    /// [`AppError::Store`].
    pub async fn log_page(
        &self,
        account: &AccountId,
        ask: &LogAsk,
        way: LogWay,
        behind: Option<LogPlace>,
        size: usize,
    ) -> Result<LogPage, AppError> {
        on_whole!(self, Some(std::slice::from_ref(account)), |app| app.read_log(account, ask, way, behind, size).await)
    }

    async fn read_log(
        &self,
        account: &AccountId,
        ask: &LogAsk,
        way: LogWay,
        behind: Option<LogPlace>,
        size: usize,
    ) -> Result<LogPage, AppError> {
        let (mut place, mut page) = (behind, LogPage::default());
        // Behind its opening all rows of the account are there. What is behind that in the log is looked up elsewhere, once a page
        // comes to it.
        let opening = self.opening_of(account).await?;
        let begin = opening.as_ref().map_or(ask.from, |opening| ask.from.max(opening.recorded_at.plus_micros(1)));
        let is_cut = begin > ask.from;
        if is_cut && way == LogWay::Forth && behind.is_none_or(|place| place.occurred_at < begin) {
            return Err(AppError::Dropped(account.clone()));
        }
        let of = |behind, through| LogStretch { from: begin, to: ask.to, way, behind, through };
        let looked_at_max = if ask.text.is_empty() { SIFTED_MAX } else { LOOKED_AT_MAX };
        // Where the looking ends, as nobody waits for ever; without filters each row is one of the page.
        let through = match ask.is_plain() {
            true => None,
            false => self.store.log_place(account, &of(behind, None), looked_at_max).await?,
        };
        let at_once = if ask.text.is_empty() { size + 1 } else { READ_AT_ONCE };
        loop {
            let rows = self.store.log_found(account, &of(place, through), &ask.filters, at_once).await?;
            let is_end = rows.len() < at_once;
            for row in rows {
                if page.rows.len() == size {
                    page.next = page.rows.last().map(LogPlace::of);
                    return self.unless_moved(account, opening.as_ref(), page).await;
                }
                place = Some(LogPlace::of(&row));
                if ask.admits(&row) {
                    page.rows.push(row);
                }
            }
            if is_end && through.is_none() && is_cut && way == LogWay::Back {
                return Err(AppError::Dropped(account.clone()));
            }
            if is_end {
                (page.next, page.looked_at) = (through, through.map(|_| looked_at_max));
                return self.unless_moved(account, opening.as_ref(), page).await;
            }
        }
    }

    async fn opening_of(&self, account: &AccountId) -> Result<Option<Opening>, AppError> {
        Ok(self.store.openings(Some(std::slice::from_ref(account))).await?.into_iter().next())
    }

    /// The page, unless rows have left since its account had this opening.
    async fn unless_moved(
        &self,
        account: &AccountId,
        opening: Option<&Opening>,
        page: LogPage,
    ) -> Result<LogPage, AppError> {
        let is_same = self.opening_of(account).await?.as_ref() == opening;
        if is_same { Ok(page) } else { Err(AppError::Moved(account.clone())) }
    }
}
