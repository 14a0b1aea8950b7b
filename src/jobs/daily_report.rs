//! `daily-report`: the statement of a day, to the admins who asked for it, once the day has ended in their zone.

use super::statements::{self, Reported};
use super::{Done, JobError, Kit, Run};
use crate::core::run::Span;
use chrono::NaiveDate;
use chrono_tz::Tz;

/// Writes the statements of `day` for the accounts of `span` whose zone it was.
///
/// # Errors
/// [`JobError`].
pub async fn run(kit: &Kit, day: NaiveDate, zone: Tz, span: &Span, run: &mut Run<'_>) -> Result<Done, JobError> {
    statements::run(kit, Reported::Day(day), zone, span, run).await
}
