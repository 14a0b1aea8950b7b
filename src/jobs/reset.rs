//! `reset`: the month-start work. Lapses the unused free credits, keeps the purchased ones, allocates the new month.
//!
//! Balances are right without it (R3): it merely writes for all accounts what every touch of an account would write.

use super::rollover::{self, Looking};
use super::{Done, JobError, Kit, Run};
use crate::core::counting::{counted, grouped};

/// Brings every account whose month has turned up to now.
///
/// # Errors
/// [`JobError`].
pub async fn run(kit: &Kit, run: &mut Run<'_>) -> Result<Done, JobError> {
    let (done, totals) = rollover::run(kit, run, Looking::ForAnything(None)).await?;
    let mut summary = format!(
        "{}: {} opened with {}, {} lapsed unused",
        counted(totals.accounts, "account"),
        counted(totals.months, "month"),
        counted(totals.allocated.unsigned_abs(), "free credit"),
        grouped(totals.lapsed.unsigned_abs())
    );
    if totals.holds > 0 {
        summary.push_str(&format!(", {} ran out", counted(totals.holds, "hold")));
    }
    Ok(Done { summary, ..done })
}
