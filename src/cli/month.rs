//! `creditd month`: closes months to late usage, and opens them again (R14).

use super::balance::{pages, refuse_unknown};
use super::call::{self, Because, KeyArg};
use super::exit::{Exit, Failure};
use super::output::{Cell, Column};
use super::{Context, args};
use crate::app::{Answer, AppError, DESK_BATCH_MAX};
use crate::core::calendar::Month as CoreMonth;
use crate::core::counting::counted;
use crate::core::ids::{AccountId, Key, Reference};
use crate::core::ledger::{Call, MonthClosing, Refusal};

/// Failures that are said one by one.
const FAILURES_SHOWN_MAX: usize = 20;

/// Months: close them to usage that is told late, or open them again
#[derive(Debug, clap::Subcommand)]
pub(super) enum Month {
    Close(Close),
    Reopen(Reopen),
}

impl Month {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Month::Close(command) => command.run(context).await,
            Month::Reopen(command) => command.run(context).await,
        }
    }
}

/// Close a month, and all before it, to late usage
///
/// The job `close` does so by itself, a while after the month has been reported, unless it was
/// opened again. Examples:
///   creditd month close 2013-01 --account acme
///   creditd month close 2013-01 --all
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Close {
    /// The month: 2013-01
    month: CoreMonth,
    /// Of this account; may be given several times
    #[arg(long = "account", value_name = "ACCOUNT", required_unless_present = "all", conflicts_with = "all")]
    accounts: Vec<AccountId>,
    /// Of all accounts
    #[arg(long)]
    all: bool,
    /// What the log shall say about it
    #[arg(long, default_value = "", hide_default_value = true, value_parser = args::comment)]
    comment: String,
    #[command(flatten)]
    key: KeyArg,
}

const COLUMNS: &[Column] = &[
    Column::text("account"),
    Column::text("month"),
    Column::text("outcome"),
    Column::text("closed_through"),
    Column::text("replayed"),
    Column::text("first_at"),
    Column::text("key"),
];

impl Close {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        refuse_unknown(app, &self.accounts).await?;
        let key = self.key.or_made(context, app)?;
        let month = self.month;
        // A key is an account's own, so all accounts can have the same.
        let closing = MonthClosing { key: key.clone(), month, reopen: false, comment: self.comment };
        let mut list = context.list("creditd.month-close/1", COLUMNS)?;
        let (mut done, mut failures) = (0_u64, Failures::default());
        let mut pages = pages(app, &self.accounts);
        while let Some(ids) = pages.next().await? {
            for ids in ids.chunks(DESK_BATCH_MAX) {
                let calls = ids.iter().map(|id| (id.clone(), Call::Month(closing.clone()))).collect();
                for (id, answer) in ids.iter().zip(app.call_all(calls).await) {
                    list.row(cells(id, month, &key, &answer))?;
                    match answer {
                        Ok(_) | Err(AppError::Refused(Refusal::MonthClosed { .. })) => done += 1,
                        // It would fail for all others, too.
                        Err(error @ AppError::Store(_)) => {
                            list.finish()?;
                            return Err(error.into());
                        }
                        Err(error) => failures.add(error),
                    }
                }
            }
        }
        list.finish()?;
        failures.conclude(done)
    }
}

fn cells(id: &AccountId, month: CoreMonth, key: &Key, answer: &Result<Answer, AppError>) -> Vec<Cell> {
    let (outcome, through) = match answer {
        // As its row says: a call that came before closed the months through this one, whatever was done since.
        Ok(Answer { row, .. }) => ("closed", row.reference.as_ref().map(Reference::to_string)),
        // It is as it shall be.
        Err(AppError::Refused(Refusal::MonthClosed { through, .. })) => ("was closed", Some(through.to_string())),
        Err(AppError::Refused(refusal)) => (refusal.code(), None),
        Err(_) => ("failed", None),
    };
    let replayed = answer.as_ref().ok().map(|answer| answer.replayed);
    vec![
        id.as_str().into(),
        month.to_string().into(),
        outcome.into(),
        through.into(),
        replayed.into(),
        answer.as_ref().ok().filter(|answer| answer.replayed).map(|answer| answer.row.recorded_at).into(),
        replayed.map(|_| key.as_str()).into(),
    ]
}

/// What went wrong for some accounts while it went well for others.
#[derive(Default)]
struct Failures {
    first: Vec<AppError>,
    more: u64,
}

impl Failures {
    fn add(&mut self, error: AppError) {
        if self.first.len() < FAILURES_SHOWN_MAX {
            self.first.push(error);
        } else {
            self.more += 1;
        }
    }

    /// The exit code says whether anything was done. When nothing was, it is that of the failures where all have the same.
    fn conclude(self, done: u64) -> Result<(), Failure> {
        let Some(first) = self.first.first() else { return Ok(()) };
        let exit = match Exit::from(first) {
            _ if done > 0 => Exit::PartlyDone,
            exit if self.first.iter().all(|error| Exit::from(error) == exit) => exit,
            _ => Exit::Failure,
        };
        let mut lines: Vec<String> = self.first.iter().map(AppError::to_string).collect();
        if self.more > 0 {
            lines.push(format!("... and {}", counted(self.more, "more account")));
        }
        Err(Failure::message(exit, lines.join("\n")))
    }
}

/// Open a month, and all after it, to late usage again
///
/// It stays open until it, or a later one, is closed with `creditd month close`: the job leaves
/// that to you. Example:
///   creditd month reopen 2013-01 --account acme --comment "the platform found usage that it had not told"
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Reopen {
    /// The month: 2013-01
    month: CoreMonth,
    #[command(flatten)]
    because: Because,
}

impl Reopen {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let Reopen { month, because: Because { account, comment, key } } = self;
        let key = key.or_made(context, context.app().await?)?;
        let about = |Answer { row, .. }: &Answer| {
            vec![
                ("month", row.reference.as_ref().map(Reference::as_str).into()),
                ("comment", row.comment.as_str().into()),
            ]
        };
        let call = Call::Month(MonthClosing { key, month, reopen: true, comment });
        call::make(context, "creditd.month-reopen/1", &account, call, about).await
    }
}
