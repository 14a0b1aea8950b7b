//! What a mail would look like: worded by the same code as the jobs', from the ledger as it is, and sent to nobody.

use super::statements::{self, Reported};
use super::{JobError, Kit, platform, scan};
use crate::app::AppError;
use crate::core::calendar::Month;
use crate::core::ids::{AccountId, Email};
use crate::core::outbox::{Mailbox, Message};
use crate::notice::{JobFailed, JobWell, sample_job_failed, sample_job_well};
use crate::store::{AccountRecord, Admin};
use chrono::NaiveDate;

/// The mail to look at.
#[derive(Clone, Copy, Debug)]
pub enum Preview {
    /// The alert at a level.
    LowCredit,
    /// That an alert is over.
    Resolved,
    /// That free credits lapse soon.
    LapseSoon,
    /// The statement of a month.
    MonthlyStatement(Month),
    /// The statement of a day.
    DailyStatement(NaiveDate),
}

/// A mail to operators to look at.
#[derive(Clone, Copy, Debug)]
pub enum OperatorPreview {
    /// That a job failed: a made-up failure.
    JobFailed,
    /// That it is well again.
    JobWell,
    /// The platform's month.
    PlatformMonth(Month),
}

/// Words `preview` for the first of the operators, or for a made-up one where there is none.
///
/// # Errors
/// [`JobError`].
pub async fn preview_for_operators(kit: &Kit, preview: OperatorPreview) -> Result<Message, JobError> {
    let reader = match kit.app.settings.mail.operators.first() {
        Some(operator) => operator.clone(),
        None => Mailbox { name: String::new(), address: made_up("operator@example.com")? },
    };
    let locale = kit.app.settings.mail.locale;
    Ok(match preview {
        OperatorPreview::JobFailed => {
            kit.templates.job_failed(&JobFailed { locale, ..sample_job_failed() }, &reader)?
        }
        OperatorPreview::JobWell => kit.templates.job_well(&JobWell { locale, ..sample_job_well() }, &reader)?,
        OperatorPreview::PlatformMonth(month) => return Ok(platform::word(kit, month, &[&reader]).await?.remove(0)),
    })
}

fn made_up(address: &str) -> Result<Email, JobError> {
    Ok(Email::new(address).map_err(crate::store::StoreError::from)?)
}

/// Words `preview` for the first admin of `account`, or for a made-up one where there is none. `None` when the account
/// would never get such a mail.
///
/// # Errors
/// [`JobError`]; an unknown account among them.
pub async fn preview(kit: &Kit, account: &AccountId, preview: Preview) -> Result<Option<Message>, JobError> {
    let unknown = || AppError::UnknownAccount(account.clone());
    let ids = std::slice::from_ref(account);
    let record = kit.app.store.accounts(ids).await?.pop().ok_or_else(unknown)?;
    let reader = reader(&record)?;
    let balance = kit.app.balances(ids).await?.pop().ok_or_else(unknown)?;
    match preview {
        Preview::LowCredit => scan::preview(kit, record, balance, reader).await,
        Preview::Resolved => scan::preview_resolved(kit, &record, &balance, &reader),
        Preview::LapseSoon => scan::preview_lapse_soon(kit, &record, &balance, &reader),
        Preview::MonthlyStatement(month) => statement(kit, record, reader, Reported::Month(month)).await,
        Preview::DailyStatement(day) => statement(kit, record, reader, Reported::Day(day)).await,
    }
}

/// Of a period that has begun, and in which the account was there.
async fn statement(
    kit: &Kit,
    record: AccountRecord,
    reader: Admin,
    reported: Reported,
) -> Result<Option<Message>, JobError> {
    let (from, to) = reported.bounds(&record.account.calendar);
    if kit.app.now() < from || to <= record.account.opened_at {
        return Ok(None);
    }
    statements::preview(kit, record, reader, reported).await
}

fn reader(record: &AccountRecord) -> Result<Admin, JobError> {
    match record.admins.first() {
        Some(admin) => Ok(admin.clone()),
        None => Ok(Admin::with_defaults(made_up("admin@example.com")?)),
    }
}
