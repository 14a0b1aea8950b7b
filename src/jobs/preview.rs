//! What a mail would look like: worded by the same code as the jobs', from the ledger as it is, and sent to nobody.

use super::statements::{self, Reported};
use super::{JobError, Kit, platform, scan};
use crate::app::AppError;
use crate::core::calendar::Month;
use crate::core::ids::{AccountId, Email, LevelName};
use crate::core::outbox::{Mailbox, Message, NoticeKind};
use crate::core::transaction::words;
use crate::notice::{JobFailed, JobWell, sample_job_caught_up, sample_job_failed, sample_job_missed, sample_job_well};
use crate::store::{AccountRecord, Admin};
use chrono::NaiveDate;

words! {
    /// The mails that there are to look at: notices, and those that one notice can be.
    Look {
        /// The alert that the account would get first.
        LowCredit = "low-credit",
        /// The alert at the level `critical`.
        Critical = "critical",
        /// The alert at the level `exhausted`.
        Exhausted = "exhausted",
        /// An alert is over.
        Resolved = "resolved",
        /// Unused free credits lapse soon.
        LapseSoon = "lapse-soon",
        /// The statement of a month.
        MonthlyStatement = "monthly-statement",
        /// The same when its figures have changed.
        CorrectedStatement = "corrected-statement",
        /// The statement of a day.
        DailyStatement = "daily-statement",
        /// A job failed.
        JobFailed = "job-failed",
        /// Periods of a job were missed.
        JobMissed = "job-missed",
        /// It is done again.
        JobWell = "job-well",
        /// Nothing that was missed is left.
        JobCaughtUp = "job-caught-up",
        /// The platform's month.
        PlatformMonthly = "platform-monthly",
    }
}

impl Look {
    /// The notice that it is one of.
    #[must_use]
    pub const fn notice(self) -> NoticeKind {
        match self {
            Look::LowCredit | Look::Critical | Look::Exhausted => NoticeKind::LowCredit,
            Look::Resolved => NoticeKind::Resolved,
            Look::LapseSoon => NoticeKind::LapseSoon,
            Look::MonthlyStatement | Look::CorrectedStatement => NoticeKind::MonthlyStatement,
            Look::DailyStatement => NoticeKind::DailyStatement,
            Look::JobFailed | Look::JobMissed => NoticeKind::JobFailed,
            Look::JobWell | Look::JobCaughtUp => NoticeKind::JobWell,
            Look::PlatformMonthly => NoticeKind::PlatformMonthly,
        }
    }
}

/// The mail to look at.
#[derive(Clone, Debug)]
pub enum Preview {
    /// The alert at the most advanced level that the account is at, or else at the first that it will come to.
    LowCredit,
    /// The alert at the level of this name.
    AtLevel(LevelName),
    /// That an alert is over; of an account that is at a level, as if packs had been bought.
    Resolved,
    /// That free credits lapse soon.
    LapseSoon,
    /// The statement of a month.
    MonthlyStatement(Month),
    /// The same, corrected: by what was said before, or, where that was the same, by a made-up action of 10 credits.
    CorrectedStatement(Month),
    /// The statement of a day.
    DailyStatement(NaiveDate),
}

/// A mail to operators to look at.
#[derive(Clone, Copy, Debug)]
pub enum OperatorPreview {
    /// That a job failed: a made-up failure.
    JobFailed,
    /// That periods of one were missed: made up, too, as what follows.
    JobMissed,
    /// That it is well again.
    JobWell,
    /// That it has caught up.
    JobCaughtUp,
    /// The platform's month.
    PlatformMonth(Month),
}

/// Words `preview` for the first of the operators, or for a made-up one where there is none. `None` when there would never be such
/// a mail: of a month in which no account was there, or that has not begun.
///
/// # Errors
/// [`JobError`].
pub async fn preview_for_operators(kit: &Kit, preview: OperatorPreview) -> Result<Option<Message>, JobError> {
    let reader = match kit.app.settings.mail.operators.first() {
        Some(operator) => operator.clone(),
        None => Mailbox { name: String::new(), address: made_up("operator@example.com")? },
    };
    let locale = kit.app.settings.mail.locale;
    Ok(Some(match preview {
        OperatorPreview::JobFailed => {
            kit.templates.job_failed(&JobFailed { locale, ..sample_job_failed() }, &reader)?
        }
        OperatorPreview::JobMissed => {
            kit.templates.job_failed(&JobFailed { locale, ..sample_job_missed() }, &reader)?
        }
        OperatorPreview::JobCaughtUp => {
            kit.templates.job_well(&JobWell { locale, ..sample_job_caught_up() }, &reader)?
        }
        OperatorPreview::JobWell => kit.templates.job_well(&JobWell { locale, ..sample_job_well() }, &reader)?,
        OperatorPreview::PlatformMonth(month) => {
            if !platform::is_there(&kit.app, month).await? {
                return Ok(None);
            }
            platform::word(kit, month, &[&reader]).await?.remove(0)
        }
    }))
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
        Preview::LowCredit => scan::preview(kit, record, balance, reader, None).await,
        Preview::AtLevel(level) => scan::preview(kit, record, balance, reader, Some(&level)).await,
        Preview::Resolved => scan::preview_resolved(kit, &record, &balance, &reader),
        Preview::LapseSoon => scan::preview_lapse_soon(kit, &record, &balance, &reader),
        Preview::MonthlyStatement(month) => statement(kit, record, reader, Reported::Month(month), false).await,
        Preview::CorrectedStatement(month) => statement(kit, record, reader, Reported::Month(month), true).await,
        Preview::DailyStatement(day) => statement(kit, record, reader, Reported::Day(day), false).await,
    }
}

/// Of a period that has begun, and in which the account was there.
async fn statement(
    kit: &Kit,
    record: AccountRecord,
    reader: Admin,
    reported: Reported,
    corrected: bool,
) -> Result<Option<Message>, JobError> {
    let (from, to) = reported.bounds(&record.account.calendar);
    if kit.app.now() < from || to <= record.account.opened_at {
        return Ok(None);
    }
    statements::preview::preview(kit, record, reader, reported, corrected).await
}

fn reader(record: &AccountRecord) -> Result<Admin, JobError> {
    match record.admins.first() {
        Some(admin) => Ok(admin.clone()),
        None => Ok(Admin::with_defaults(made_up("admin@example.com")?)),
    }
}
