//! The ledger as a double-entry journal: what `transactions export --format hledger` and `--format beancount` gather.
//!
//! The postings are the log; the balances that the journal asserts come another way. What remained of a month is what its
//! report says: sums that the database and polars take. The last balance is what the grants hold that are stored beside
//! the log. So when any two of the three disagree, the journal does not check.
//!
//! All that is said of one account is cut at one row of its log and read at one instant, however much is written meanwhile.
//! As of an earlier instant there are no stored grants: they are made of the log then, and only the reports are another way.

use super::exit::{Exit, Failure};
use crate::app::{App, balance_of};
use crate::core::calendar::{Instant, Month};
use crate::core::credits::Split;
use crate::core::ids::AccountId;
use crate::core::ledger::{Account, Ledger};
use crate::core::statement::{DateRange, Grouping, ReportSpec, Scope};
use crate::core::transaction::Transaction;
use crate::report::aggregate;
use crate::report::journal::{Book, Journal, JournalFormat};
use crate::store::{Cursor, Load, LogFilter};
use std::io::Write;

/// Most rows of one account: they are sorted in memory, some 500 bytes each.
const ROWS_MAX: i64 = 2_000_000;
/// Rows read at once.
const PAGE_ROWS: usize = 5_000;
/// Accounts whose ids are read at once.
const PAGE_ACCOUNTS: usize = 1_000;
/// Months reported at once. Their rows are in memory beside the log's.
const MONTHS_PER_REPORT: usize = 12;

/// Writes the journal of `account`, or of all accounts in order of id, one after the other: as they are, or as they were
/// known at `as_of` (R15). `progress` hears how many rows are done. Returns how many rows are in it.
///
/// # Errors
/// [`Failure`] when an account has more than [`ROWS_MAX`] rows, a read fails or `out` does.
pub(super) async fn write(
    app: &App,
    account: Option<&AccountId>,
    as_of: Option<Instant>,
    format: JournalFormat,
    out: impl Write,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, Failure> {
    let now = as_of.unwrap_or(app.now());
    let mut journal = Journal::begin(out, format, now)?;
    let mut written = 0;
    let mut pages = app.store.pages(account.map(std::slice::from_ref), PAGE_ACCOUNTS);
    while let Some(ids) = pages.next().await? {
        for id in &ids {
            let Some(book) = read(app, id, as_of, now).await? else { continue };
            written += book.rows.len() as u64;
            journal.add(book)?;
            progress(written);
        }
    }
    journal.finish()?;
    Ok(written)
}

/// All about one account at `now`, with what is due by then and not written yet (R3); none where it was not known then.
async fn read(app: &App, id: &AccountId, as_of: Option<Instant>, now: Instant) -> Result<Option<Book>, Failure> {
    let whole = app.whole_if_dropped(Some(std::slice::from_ref(id))).await?;
    let app = whole.as_ref().unwrap_or(app);
    let mut ledgers = match as_of {
        Some(at) => app.store.load_as_of(std::slice::from_ref(id), at).await?,
        None => app.store.load(&Load::accounts([id], now)).await?.ledgers,
    };
    let Some(ledger) = ledgers.remove(id) else { return Ok(None) };
    let last_seq = ledger.last_seq;
    if last_seq > ROWS_MAX {
        let what = format!(
            "{id} has {last_seq} transactions; a journal takes at most {ROWS_MAX} of one account. Export it with --format csv"
        );
        return Err(Failure::message(Exit::Failure, what));
    }
    // Where the clock was set back, the ledger is ahead of it.
    let at = now.max(ledger.last_recorded_at);
    let mut rows = log(app, id, last_seq).await?;
    let month_ends = month_ends(app, &ledger, at).await?;
    let balance = balance_of(&ledger, at)?;
    let mut due = ledger;
    due.roll_over(at, at)?;
    rows.extend_from_slice(due.rows());
    let (available, held) = (balance.available, balance.held);
    Ok(Some(Book { account: due.account, rows, last_seq, month_ends, at, available, held }))
}

/// The log of an account up to the row `last_seq`.
async fn log(app: &App, id: &AccountId, last_seq: i64) -> Result<Vec<Transaction>, Failure> {
    let filter = LogFilter { account: Some(id.clone()), ..LogFilter::default() };
    let mut rows: Vec<Transaction> = Vec::new();
    while let Some(seq) = Some(rows.last().map_or(0, |row| row.seq)).filter(|seq| *seq < last_seq) {
        let after = Cursor { account: id.clone(), seq };
        let page = app.store.log_page(&filter, Some(&after), PAGE_ROWS).await?;
        if page.is_empty() {
            break;
        }
        rows.extend(page.into_iter().map(|(_, row)| row).filter(|row| row.seq <= last_seq));
    }
    Ok(rows)
}

/// What the monthly report says remained of each month that was over at `at`.
async fn month_ends(app: &App, ledger: &Ledger, at: Instant) -> Result<Vec<(Month, Split)>, Failure> {
    let Account { calendar, opened_at, .. } = &ledger.account;
    let (mut from, current) = (calendar.month_of(*opened_at), calendar.month_of(at));
    let mut ends = Vec::new();
    while from < current {
        let to = (0..MONTHS_PER_REPORT).fold(from, |month, _| month.next()).min(current);
        let range = DateRange::new(from.first_day(), to.first_day())?;
        let spec = ReportSpec::new("journal", range, Grouping::Month, Scope::Account, at)?;
        let (accounts, rows) = app.report_rows_of(vec![ledger.clone()], range, at).await?;
        for [free, purchased, _] in aggregate(&spec, &accounts, &rows)?.lines.triples() {
            let left = Split { free: free.figures.remaining, purchased: purchased.figures.remaining };
            ends.push((Month::of(free.range.from().date()), left));
        }
        from = to;
    }
    Ok(ends)
}
