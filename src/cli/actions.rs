//! `creditd actions`: the action credit matrix (R8).

use super::Context;
use super::args::{self, Moment};
use super::exit::Failure;
use super::output::{Cell, Column};
use crate::app::AppError;
use crate::core::calendar::Instant;
use crate::core::credits::Credits;
use crate::core::ids::{ActionCode, BadName, clean_text};
use crate::core::ledger::Refusal;
use crate::core::price::{Action, NoPrice, PriceVersion};

/// The action credit matrix: what each AI action costs
#[derive(Debug, clap::Subcommand)]
pub(super) enum Actions {
    List(List),
    Set(Set),
    Retire(Retire),
}

impl Actions {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Actions::List(command) => command.run(context).await,
            Actions::Set(command) => command.run(context).await,
            Actions::Retire(command) => command.run(context).await,
        }
    }
}

/// List actions with their price, since when it counts, and the next one
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// As of this instant or day (in UTC) instead of now
    #[arg(long, value_name = "DATE|INSTANT")]
    at: Option<Moment>,
}

const COLUMNS: &[Column] = &[
    Column::text("action"),
    Column::text("title"),
    Column::text("state"),
    Column::number("credits"),
    Column::text("from"),
    Column::number("next_credits"),
    Column::text("next_from"),
    Column::text("help"),
];
const SCHEMA: &str = "creditd.actions/1";

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        let at = self.at.map_or_else(|| app.now(), |moment| moment.instant(None));
        let prices = app.store.prices().await?;
        let mut list = context.list(SCHEMA, COLUMNS)?;
        for action in prices.iter() {
            list.row(cells(action, at))?;
        }
        Ok(list.finish()?)
    }
}

fn cells(action: &Action, at: Instant) -> Vec<Cell> {
    let now = action.version_at(at);
    let next = action.versions.iter().filter(|version| version.effective_from > at).min_by_key(|v| v.effective_from);
    let state = match now {
        None => "planned",
        Some(PriceVersion { credits: None, .. }) => "retired",
        Some(PriceVersion { credits: Some(_), .. }) => "active",
    };
    vec![
        action.code.as_str().into(),
        action.title.as_str().into(),
        state.into(),
        now.and_then(|version| version.credits).into(),
        now.map(|version| version.effective_from).into(),
        next.and_then(|version| version.credits).into(),
        next.map(|version| version.effective_from).into(),
        action.help.as_str().into(),
    ]
}

/// Set the price of an action from an instant on; a new code adds an action
///
/// What was charged before keeps its price. Example:
///   creditd actions set erase --credits 9 --from 2013-03-01
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Set {
    /// Its code: letters, digits, '-', '_' and '.'
    #[arg(value_name = "ACTION")]
    code: ActionCode,
    /// Credits of one action
    #[arg(long, value_parser = args::amount)]
    credits: Credits,
    /// Its name for people
    #[arg(long, default_value = "", hide_default_value = true, value_parser = args::name)]
    title: String,
    /// One sentence on what it does
    #[arg(long, default_value = "", hide_default_value = true, value_parser = help_text)]
    help_text: String,
    /// From this instant or day (in UTC) on [default: now]
    #[arg(long, value_name = "DATE|INSTANT")]
    from: Option<Moment>,
}

fn help_text(text: &str) -> Result<String, BadName> {
    clean_text("the help text", text)
}

impl Set {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        set(context, &self.code, (&self.title, &self.help_text), self.from, Some(self.credits)).await
    }
}

/// Retire an action from an instant on: it can no longer be done
///
/// What was charged before stays; `creditd actions set` brings the action back. Example:
///   creditd actions retire erase --from 2013-03-01
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Retire {
    /// Its code
    #[arg(value_name = "ACTION")]
    code: ActionCode,
    /// From this instant or day (in UTC) on [default: now]
    #[arg(long, value_name = "DATE|INSTANT")]
    from: Option<Moment>,
}

impl Retire {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        if context.app().await?.store.prices().await?.get(&self.code).is_none() {
            return Err(AppError::from(Refusal::from(NoPrice::Unknown { action: self.code })).into());
        }
        set(context, &self.code, ("", ""), self.from, None).await
    }
}

async fn set(
    context: &Context,
    code: &ActionCode,
    (title, help): (&str, &str),
    from: Option<Moment>,
    credits: Option<Credits>,
) -> Result<(), Failure> {
    let app = context.app().await?;
    let now = app.now();
    let effective_from = from.map_or(now, |moment| moment.instant(None));
    app.store.set_price(code, title, help, PriceVersion { effective_from, credits }).await?;
    if effective_from < now {
        let then = if credits.is_some() { "cost it" } else { "be refused" };
        context.say(format_args!("It counts from an instant that is past: usage imported for that time will {then}."));
    }
    let prices = app.store.prices().await?;
    let mut list = context.list(SCHEMA, COLUMNS)?;
    if let Some(action) = prices.get(code) {
        list.row(cells(action, now))?;
    }
    Ok(list.finish()?)
}
