//! `expire-holds`: gives back what is reserved by holds that ran out (R10).
//!
//! Balances are right without it (R3): it merely writes for all accounts what every touch of an account would write.

use super::rollover::{self, Looking};
use super::{Done, JobError, Kit, Run};
use crate::core::counting::counted;

/// Settles every hold whose time is over.
///
/// # Errors
/// [`JobError`].
pub async fn run(kit: &Kit, run: &mut Run<'_>) -> Result<Done, JobError> {
    let (done, totals) = rollover::run(kit, run, Looking::ForExpiredHolds(None)).await?;
    let summary = format!(
        "{}: {} ran out, {} given back",
        counted(totals.accounts, "account"),
        counted(totals.holds, "hold"),
        counted(totals.given_back.unsigned_abs(), "credit")
    );
    Ok(Done { summary, ..done })
}
