//! `creditd email`: what the mails look like.

use super::Context;
use super::exit::{Exit, Failure, OrExit};
use super::files::WholeFile;
use super::output::Cell;
use crate::core::calendar::{Month, parse_date};
use crate::core::ids::AccountId;
use crate::core::outbox::NoticeKind;
use crate::jobs::Kit;
use crate::jobs::preview::{Preview, preview};
use crate::mail::FileMailer;
use chrono::{Days, NaiveDate};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Mail: what it looks like
#[derive(Debug, clap::Subcommand)]
pub enum EmailCommand {
    /// Write a mail as HTML, text and .eml into a folder, without sending it
    Preview {
        /// Which: low-credit, resolved, lapse-soon, monthly-statement or daily-statement
        #[arg(value_parser = super::args::word(NoticeKind::ALL, NoticeKind::as_str))]
        kind: NoticeKind,
        /// For this account
        #[arg(long)]
        account: AccountId,
        /// The month of a monthly statement; else the last one
        #[arg(long, value_name = "MONTH")]
        month: Option<Month>,
        /// The day of a daily statement; else yesterday
        #[arg(long, value_name = "DATE", value_parser = parse_date)]
        day: Option<NaiveDate>,
        /// The folder
        #[arg(long, value_name = "DIR", default_value = "preview")]
        out: PathBuf,
    },
}

impl EmailCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let EmailCommand::Preview { kind, account, month, day, out } = self;
        let kit = Kit::new(context.app().await?.clone()).or_exit(Exit::Config)?;
        let balance = kit.app.balances(std::slice::from_ref(&account)).await?.pop();
        let today = kit.app.now().in_zone(balance.map_or(chrono_tz::Tz::UTC, |balance| balance.zone)).date_naive();
        let what = match kind {
            NoticeKind::LowCredit => Preview::LowCredit,
            NoticeKind::Resolved => Preview::Resolved,
            NoticeKind::LapseSoon => Preview::LapseSoon,
            NoticeKind::MonthlyStatement => {
                Preview::MonthlyStatement(month.unwrap_or_else(|| Month::of(today).previous()))
            }
            NoticeKind::DailyStatement => Preview::DailyStatement(day.unwrap_or(today - Days::new(1))),
        };
        let Some(message) = preview(&kit, &account, what).await? else {
            let why = format!(
                "{account} gets no such mail now: it is closed, has no alert levels (`creditd account set --levels`), or has no free credits that lapse with the month"
            );
            return Err(Failure::message(Exit::Refused, why));
        };
        std::fs::create_dir_all(&out)?;
        let html = write(&out.join(format!("{kind}-{account}.html")), &message.html)?;
        let text = write(&out.join(format!("{kind}-{account}.txt")), &message.text)?;
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
