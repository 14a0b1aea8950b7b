//! `creditd email`: what the mails look like.

use super::Context;
use super::exit::{Exit, Failure, OrExit};
use super::files::WholeFile;
use super::output::Cell;
use crate::core::calendar::{Month, parse_date};
use crate::core::ids::AccountId;
use crate::core::outbox::{Message, NoticeKind};
use crate::jobs::Kit;
use crate::jobs::preview::{OperatorPreview, Preview, preview, preview_for_operators};
use crate::mail::FileMailer;
use chrono::{Days, NaiveDate};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The mails that there are to look at.
const KINDS: &[NoticeKind] = &[
    NoticeKind::LowCredit,
    NoticeKind::Resolved,
    NoticeKind::LapseSoon,
    NoticeKind::MonthlyStatement,
    NoticeKind::DailyStatement,
    NoticeKind::JobFailed,
    NoticeKind::JobWell,
    NoticeKind::PlatformMonthly,
];

/// Mail: what it looks like
#[derive(Debug, clap::Subcommand)]
pub enum EmailCommand {
    /// Write a mail as HTML, text and .eml into a folder, without sending it
    Preview {
        #[command(flatten)]
        what: What,
        /// The folder
        #[arg(long, value_name = "DIR", default_value = "preview")]
        out: PathBuf,
    },
}

/// A mail to look at.
#[derive(Debug, clap::Args)]
pub struct What {
    /// Which: low-credit, resolved, lapse-soon, monthly-statement or daily-statement, of an account; job-failed, job-well or
    /// platform-monthly, to operators
    #[arg(value_parser = super::args::word(KINDS, NoticeKind::as_str), hide_possible_values = true)]
    kind: NoticeKind,
    /// For this account, where it is of one
    #[arg(long)]
    account: Option<AccountId>,
    /// The month of a monthly statement or report; else the last one
    #[arg(long, value_name = "MONTH")]
    month: Option<Month>,
    /// The day of a daily statement; else yesterday
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    day: Option<NaiveDate>,
}

impl What {
    /// The mail, worded as the jobs word it.
    async fn word(&self, kit: &Kit) -> Result<Message, Failure> {
        let What { kind, account, month, day } = self;
        let app = &kit.app;
        let last_month = |zone| month.unwrap_or_else(|| Month::of(app.now().in_zone(zone).date_naive()).previous());
        if !kind.is_of_an_account() {
            if account.is_some() {
                return Err(Failure::message(Exit::Usage, format!("{kind} is about no account: leave --account out")));
            }
            let what = match kind {
                NoticeKind::JobWell => OperatorPreview::JobWell,
                NoticeKind::PlatformMonthly => OperatorPreview::PlatformMonth(last_month(chrono_tz::Tz::UTC)),
                _ => OperatorPreview::JobFailed,
            };
            return Ok(preview_for_operators(kit, what).await?);
        }
        let Some(account) = account else {
            let why = format!("{kind} is about an account: name one by --account");
            return Err(Failure::message(Exit::Usage, why));
        };
        let balance = app.balances(std::slice::from_ref(account)).await?.pop();
        let zone = balance.map_or(chrono_tz::Tz::UTC, |balance| balance.zone);
        let yesterday = app.now().in_zone(zone).date_naive() - Days::new(1);
        let what = match kind {
            NoticeKind::Resolved => Preview::Resolved,
            NoticeKind::LapseSoon => Preview::LapseSoon,
            NoticeKind::MonthlyStatement => Preview::MonthlyStatement(last_month(zone)),
            NoticeKind::DailyStatement => Preview::DailyStatement(day.unwrap_or(yesterday)),
            _ => Preview::LowCredit,
        };
        preview(kit, account, what).await?.ok_or_else(|| {
            let why = format!(
                "{account} gets no such mail now: it is closed, has no alert levels (`creditd account set --levels`), or has no free credits that lapse with the month"
            );
            Failure::message(Exit::Refused, why)
        })
    }
}

impl EmailCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let EmailCommand::Preview { what, out } = self;
        let kit = Kit::new(context.app().await?.clone()).or_exit(Exit::Config)?;
        let message = what.word(&kit).await?;
        std::fs::create_dir_all(&out)?;
        let name = match &what.account {
            Some(account) => format!("{}-{account}", what.kind),
            None => what.kind.to_string(),
        };
        let html = write(&out.join(format!("{name}.html")), &message.html)?;
        let text = write(&out.join(format!("{name}.txt")), &message.text)?;
        let eml = FileMailer::new(&out, kit.app.settings.mail.from.clone())?.deliver(&message)?;
        let path = |path: PathBuf| Cell::Text(path.display().to_string());
        context.show(
            "creditd.email-preview/1",
            &[("subject", Cell::Text(message.subject)), ("html", path(html)), ("text", path(text)), ("eml", path(eml))],
        )
    }
}

fn write(path: &Path, text: &str) -> Result<PathBuf, Failure> {
    let mut file = WholeFile::create(path)?;
    file.write_all(text.as_bytes())?;
    file.replace()?;
    Ok(path.to_owned())
}
