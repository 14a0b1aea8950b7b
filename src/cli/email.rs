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
    /// Write a mail as HTML, text and .eml into a folder, with its chart and workbook, without sending it
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
        let path = |path: PathBuf| Cell::Text(path.display().to_string());
        let mut shown = vec![("subject", Cell::Text(message.subject.clone()))];
        let (mut html, mut beside) = (message.html.clone(), Vec::new());
        for attached in &message.attachments {
            let name = format!("{kind}-{account}-{}", attached.name);
            let what = match &attached.content_id {
                // A browser finds it by the name of the file only.
                Some(id) => {
                    html = html.replace(&format!("src=\"cid:{id}\""), &format!("src=\"{name}\""));
                    "chart"
                }
                None => "workbook",
            };
            beside.push((what, path(write(&out.join(name), &attached.bytes)?)));
        }
        let html = write(&out.join(format!("{kind}-{account}.html")), html.as_bytes())?;
        let text = write(&out.join(format!("{kind}-{account}.txt")), message.text.as_bytes())?;
        let eml = FileMailer::new(&out, kit.app.settings.mail.from.clone())?.deliver(&message)?;
        shown.extend([("html", path(html)), ("text", path(text)), ("eml", path(eml))]);
        shown.extend(beside);
        context.show("creditd.email-preview/1", &shown)
    }
}

fn write(path: &Path, content: &[u8]) -> Result<PathBuf, Failure> {
    let mut file = WholeFile::create(path)?;
    file.write_all(content)?;
    file.replace()?;
    Ok(path.to_owned())
}
