//! The log of one account, page by page, to older rows or to newer ones: all of it, or what passes filters and has a text in it.

use super::{App, AppError};
use crate::core::calendar::Instant;
use crate::core::ids::{AccountId, ActionCode, Key, Reference, UserId};
use crate::core::statement::Filters;
use crate::core::transaction::Transaction;
use crate::store::{LogPlace, LogStretch, LogWay};

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
        let (mut place, mut page) = (behind, LogPage::default());
        let of = |behind, through| LogStretch { from: ask.from, to: ask.to, way, behind, through };
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
                    return Ok(page);
                }
                place = Some(LogPlace::of(&row));
                if ask.admits(&row) {
                    page.rows.push(row);
                }
            }
            if is_end {
                (page.next, page.looked_at) = (through, through.map(|_| looked_at_max));
                return Ok(page);
            }
        }
    }
}
