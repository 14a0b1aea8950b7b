//! `monthly-report`: the statement of a month, to the admins who want it, once the month has ended in their zone; and the
//! platform's month, to the operators, once it has ended in every zone.

use super::statements::{self, Reported};
use super::{Done, JobError, Kit, Run, platform};
use crate::core::calendar::Month;
use chrono_tz::Tz;

/// Writes the statements of `month` for the accounts whose zone it was, and the platform report for the zone where it ends last.
///
/// # Errors
/// [`JobError`].
pub async fn run(kit: &Kit, month: Month, zone: Tz, run: &mut Run<'_>) -> Result<Done, JobError> {
    let mut done = statements::run(kit, Reported::Month(month), zone, run).await?;
    if zone == platform::LAST_ZONE {
        run.check_stop()?;
        platform::run(kit, month, run.dry_run, &mut done).await?;
    }
    Ok(done)
}
