//! `monthly-report`: the statement of a month, to the admins who want it, once the month has ended in their zone; and the
//! platform's month, to the operators, once it has ended in every zone.

use super::statements::{self, Reported};
use super::{Done, JobError, Kit, Run, platform};
use crate::core::calendar::Month;
use crate::core::run::Span;
use chrono_tz::Tz;

/// Writes the statements of `month` for the accounts of `span` whose zone it was, and with the first of them the platform report
/// for the zone where it ends last.
///
/// # Errors
/// [`JobError`].
pub async fn run(kit: &Kit, month: Month, zone: Tz, span: &Span, run: &mut Run<'_>) -> Result<Done, JobError> {
    let mut done = statements::run(kit, Reported::Month(month), zone, span, run).await?;
    let is_of_all = kit.asked.as_ref().is_none_or(|asked| asked.accounts.is_empty());
    if zone == platform::LAST_ZONE && span.after.is_none() && is_of_all {
        run.check_stop()?;
        platform::run(kit, month, kit.only_shows(run), &mut done).await?;
    }
    Ok(done)
}
