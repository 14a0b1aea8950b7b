//! `monthly-report`: the statement of a month, to the admins who want it, once the month has ended in their zone.

use super::statements::{self, Reported};
use super::{Done, JobError, Kit, Run};
use crate::core::calendar::Month;
use chrono_tz::Tz;

/// Writes the statements of `month` for the accounts whose zone it was.
///
/// # Errors
/// [`JobError`].
pub async fn run(kit: &Kit, month: Month, zone: Tz, run: &mut Run<'_>) -> Result<Done, JobError> {
    statements::run(kit, Reported::Month(month), zone, run).await
}
