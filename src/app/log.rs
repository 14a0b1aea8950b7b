//! The log of one account, page by page from the newest row: all of it, or what passes filters and has a text in it.

use super::{App, AppError};
use crate::core::calendar::Instant;
use crate::core::ids::{AccountId, ActionCode, Key, Reference, UserId};
use crate::core::statement::Filters;
use crate::core::transaction::Transaction;
use crate::store::LogPlace;

/// Rows that are looked at for one page of what is filtered: some tens of milliseconds.
const LOOKED_AT_MAX: usize = 10_000;
/// Rows that are read at once while looking.
const STRETCH_ROWS: usize = 2_000;

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
    /// Its rows, the newest first.
    pub rows: Vec<Transaction>,
    /// The row behind which the next page begins; `None` when there is nothing more.
    pub next: Option<LogPlace>,
    /// Set when the page ends because enough rows were looked at, not because it is full: those until then were looked at.
    pub looked_back_to: Option<Instant>,
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
    /// Up to `size` rows of the log of `account` before `before`, the newest first.
    ///
    /// # Errors
    /// [`AppError::Store`].
    pub async fn log_back(
        &self,
        account: &AccountId,
        ask: &LogAsk,
        before: Option<LogPlace>,
        size: usize,
    ) -> Result<LogPage, AppError> {
        let (range, mut place, mut page) = ((ask.from, ask.to), before, LogPage::default());
        let stretch = if ask.is_plain() { size + 1 } else { STRETCH_ROWS };
        let mut looked_at = 0;
        loop {
            let rows = self.store.log_back(account, range, place, stretch).await?;
            let is_end = rows.len() < stretch;
            for row in rows {
                if page.rows.len() == size {
                    page.next = place;
                    return Ok(page);
                }
                place = Some(LogPlace::of(&row));
                looked_at += 1;
                if ask.admits(&row) {
                    page.rows.push(row);
                }
            }
            if is_end {
                return Ok(page);
            }
            if looked_at >= LOOKED_AT_MAX {
                page.looked_back_to = place.map(|place| place.occurred_at);
                page.next = place;
                return Ok(page);
            }
        }
    }
}
