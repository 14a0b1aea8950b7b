//! `reset`: the month-start work. Lapses the unused free credits, keeps the purchased ones, allocates the new month.
//!
//! Balances are right without it (R3): it merely writes for all accounts what every touch of an account would write.

use super::rollover::{self, Bounds, Looking};
use super::{Done, JobError, Kit, Run};
use crate::core::counting::{counted, grouped};
use crate::core::run::{Span, Tally};

/// Brings every account of `span` whose month has turned up to now.
///
/// # Errors
/// [`JobError`].
pub async fn run(kit: &Kit, span: &Span, run: &mut Run<'_>) -> Result<Done, JobError> {
    let looking = Looking::ForAnything(Bounds::of(span)?, None);
    let (mut done, totals) = rollover::run(kit, run, looking).await?;
    for (name, n) in [("accounts", totals.accounts), ("months", totals.months), ("holds", totals.holds)] {
        done.tally.add(name, n.cast_signed());
    }
    done.tally.add("allocated", totals.allocated);
    done.tally.add("lapsed", totals.lapsed);
    let summary = summary(&done.tally);
    Ok(Done { summary, ..done })
}

/// What was done, in one sentence.
pub(super) fn summary(tally: &Tally) -> String {
    let mut summary = format!(
        "{}: {} opened with {}, {} lapsed unused",
        counted(tally.count("accounts"), "account"),
        counted(tally.count("months"), "month"),
        counted(tally.get("allocated").unsigned_abs(), "free credit"),
        grouped(tally.get("lapsed").unsigned_abs())
    );
    if tally.count("holds") > 0 {
        summary.push_str(&format!(", {} ran out", counted(tally.count("holds"), "hold")));
    }
    summary
}
