//! `creditd email`: what the mails look like, and whether they leave.

use super::exit::{Exit, Failure, OrExit};
use super::files::WholeFile;
use super::output::Cell;
use super::{Context, args};
use crate::config::TransportKind;
use crate::core::calendar::{Month, parse_date};
use crate::core::ids::{AccountId, Email, LevelName};
use crate::core::outbox::{Message, NoticeKey};
use crate::jobs::preview::{Look, OperatorPreview, Preview, preview, preview_for_operators};
use crate::jobs::{JobError, Kit};
use crate::mail::as_file;
use anyhow::Context as _;
use chrono::{Days, NaiveDate};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Mail: what it looks like, and whether it leaves
#[derive(Debug, clap::Subcommand)]
pub enum EmailCommand {
    /// Write a mail as HTML, text and .eml into a folder, with its chart and workbook, without sending it
    Preview {
        #[command(flatten)]
        what: What,
        /// The folder
        #[arg(long, value_name = "DIR", default_value = "preview")]
        out: PathBuf,
    },
    /// Send a mail to look at right away, marked as a test, as the settings say and past the outbox
    Send {
        #[command(flatten)]
        what: What,
        /// To whom
        #[arg(long, value_name = "EMAIL", value_parser = args::address)]
        to: Email,
    },
    /// Check that mail would leave: connect, encrypt, log in and name the sender, or write to the folder, and send nothing
    Check,
}

/// A mail to look at.
#[derive(Debug, clap::Args)]
pub struct What {
    /// Which: low-credit (what the account would get next), critical, exhausted, resolved (as if packs had been bought, where
    /// too little is left), lapse-soon, monthly-statement, corrected-statement or daily-statement, of an account; job-failed, job-missed, job-well, job-caught-up or platform-monthly, to
    /// operators
    #[arg(value_parser = super::args::word(Look::ALL, Look::as_str), hide_possible_values = true)]
    kind: Look,
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
        let has_month = matches!(kind, Look::MonthlyStatement | Look::CorrectedStatement | Look::PlatformMonthly);
        let has_day = matches!(kind, Look::DailyStatement);
        for (is_given, is_taken, what) in [(month.is_some(), has_month, "month"), (day.is_some(), has_day, "day")] {
            if is_given && !is_taken {
                let why = format!("{kind} is about no {what} that one could choose: leave --{what} out");
                return Err(Failure::message(Exit::Usage, why));
            }
        }
        let app = &kit.app;
        let last_month = |zone| month.unwrap_or_else(|| Month::of(app.now().in_zone(zone).date_naive()).previous());
        if !kind.notice().is_of_an_account() {
            if account.is_some() {
                return Err(Failure::message(Exit::Usage, format!("{kind} is about no account: leave --account out")));
            }
            let what = match kind {
                Look::JobMissed => OperatorPreview::JobMissed,
                Look::JobWell => OperatorPreview::JobWell,
                Look::JobCaughtUp => OperatorPreview::JobCaughtUp,
                Look::PlatformMonthly => OperatorPreview::PlatformMonth(last_month(chrono_tz::Tz::UTC)),
                _ => OperatorPreview::JobFailed,
            };
            return preview_for_operators(kit, what).await?.ok_or_else(|| {
                let why = "there was no account yet in that month, or it has not begun; name another --month";
                Failure::message(Exit::Refused, format!("nobody gets such a mail: {why}"))
            });
        }
        let Some(account) = account else {
            let why = format!("{kind} is about an account: name one by --account");
            return Err(Failure::message(Exit::Usage, why));
        };
        let balance = app.balances(std::slice::from_ref(account)).await?.pop();
        let zone = balance.map_or(chrono_tz::Tz::UTC, |balance| balance.zone);
        let yesterday = app.now().in_zone(zone).date_naive() - Days::new(1);
        let what = match kind {
            Look::Critical | Look::Exhausted => Preview::AtLevel(LevelName::new(kind.as_str()).or_exit(Exit::Usage)?),
            Look::Resolved => Preview::Resolved,
            Look::LapseSoon => Preview::LapseSoon,
            Look::MonthlyStatement => Preview::MonthlyStatement(last_month(zone)),
            Look::CorrectedStatement => Preview::CorrectedStatement(last_month(zone)),
            Look::DailyStatement => Preview::DailyStatement(day.unwrap_or(yesterday)),
            _ => Preview::LowCredit,
        };
        preview(kit, account, what).await?.ok_or_else(|| {
            let why = match kind {
                Look::MonthlyStatement | Look::DailyStatement => {
                    "the account was not there yet, or the time has not begun; name another --month or --day"
                }
                Look::CorrectedStatement => {
                    "the account was not there yet, or nothing was used in that month; name another --month"
                }
                Look::Critical | Look::Exhausted => {
                    "it is closed, or has no alert level of that name (`creditd account set --levels`) that is one with its allowance"
                }
                _ => {
                    "it is closed, has no alert levels (`creditd account set --levels`), or has no free credits that lapse with the \
                     month"
                }
            };
            Failure::message(Exit::Refused, format!("{account} gets no such mail: {why}"))
        })
    }
}

impl EmailCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let kit = Kit::open(context.app().await?.clone()).await.or_exit(Exit::Config)?;
        let (what, out) = match self {
            EmailCommand::Preview { what, out } => (what, out),
            EmailCommand::Send { what, to } => return send(context, kit, &what, to).await,
            EmailCommand::Check => return check(context, &kit).await,
        };
        let message = what.word(&kit).await?;
        if out.exists() && !out.is_dir() {
            let why = format!("{}: is a file; name a folder with --out", out.display());
            return Err(Failure::message(Exit::Usage, why));
        }
        std::fs::create_dir_all(&out).with_context(|| format!("{}: the folder cannot be made", out.display()))?;
        let name = match &what.account {
            Some(account) => format!("{}-{account}", what.kind),
            None => what.kind.to_string(),
        };
        let path = |path: PathBuf| Cell::Text(path.display().to_string());
        let mut shown = vec![("subject", Cell::Text(message.subject.clone()))];
        let (mut html, mut beside) = (message.html.clone(), Vec::new());
        for attached in &message.attachments {
            let name = format!("{name}-{}", attached.name);
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
        let html = write(&out.join(format!("{name}.html")), html.as_bytes())?;
        let text = write(&out.join(format!("{name}.txt")), message.text.as_bytes())?;
        let (eml, mail) = as_file(&kit.app.settings.mail.from, &message)?;
        let eml = write(&out.join(eml), &mail)?;
        shown.extend([("html", path(html)), ("text", path(text)), ("eml", path(eml))]);
        shown.extend(beside);
        context.show("creditd.email-preview/1", &shown)
    }
}

/// A test has a key and a Message-ID of its own: whoever recognises what comes twice would else take the mail that it looks
/// like for the second.
async fn send(context: &Context, mut kit: Kit, what: &What, to: Email) -> Result<(), Failure> {
    kit.templates = kit.templates.for_tests();
    let message = what.word(&kit).await?;
    let key = NoticeKey::test(what.kind.notice(), kit.app.now(), to);
    let message_id = key.message_id(&message.subject, &message.text, kit.app.settings.mail.from.address.domain());
    let message = Message { key, message_id, recipient_name: String::new(), ..message };
    message.check().or_exit(Exit::Failure)?;
    let said = kit.mailer.deliver(&message, &|| true).await.map_err(JobError::Mail)?.unwrap_or_default();
    kit.mailer.finish().await;
    context.show(
        "creditd.email-send/1",
        &[
            ("to", message.key.recipient().as_str().into()),
            ("subject", Cell::Text(message.subject)),
            ("message_id", Cell::Text(message.message_id)),
            ("answer", Cell::Text(said)),
        ],
    )
}

async fn check(context: &Context, kit: &Kit) -> Result<(), Failure> {
    let mail = &kit.app.settings.mail;
    kit.mailer.check().await.map_err(JobError::Mail)?;
    let mut fields: Vec<(&'static str, Cell)> = vec![("transport", mail.transport.as_str().into())];
    match mail.transport {
        TransportKind::File => {
            fields.push(("folder", Cell::Text(mail.dir.display().to_string())));
            context.say("Mail is written to files, which nobody sends; transport = \"smtp\" in [mail] sends it.");
        }
        TransportKind::Smtp => {
            let smtp = &mail.smtp;
            let server = format!("{}:{}", smtp.host.as_deref().unwrap_or_default(), smtp.port());
            fields.extend([
                ("server", Cell::Text(server)),
                ("tls", smtp.tls.as_str().into()),
                ("username", smtp.username.as_deref().into()),
            ]);
            context.say(
                "The server can be reached, and takes the login and the sender. `creditd email send` sends a test.",
            );
        }
    }
    fields.push(("from", mail.from.address.as_str().into()));
    context.show("creditd.email-check/1", &fields)
}

fn write(path: &Path, content: &[u8]) -> Result<PathBuf, Failure> {
    // Links in a mail let in whoever has it.
    let mut file = WholeFile::create_private(path)?;
    file.write_all(content)?;
    file.replace()?;
    Ok(path.to_owned())
}
