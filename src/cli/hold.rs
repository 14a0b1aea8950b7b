//! `creditd hold`, `capture`, `void` and `holds`: credits that are reserved before the work (R10).

use super::account::find;
use super::call::{self, Fields, KeyArg, amounts};
use super::exit::Failure;
use super::output::Column;
use super::{Context, args};
use crate::app::Answer;
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, ActionCode, Key, UserId};
use crate::core::ledger::{Call, Capture as CoreCapture, Hold as CoreHold, Void as CoreVoid};

/// Reserve the credits of an AI action before it is done
///
/// They are taken by `creditd capture` or given back by `creditd void`; a hold that is neither in
/// its time ends by itself. A refusal reserves nothing, but is logged, as that of a charge.
/// Example:
///   creditd hold --account acme --action erase --user ann --ttl 2h --key job-4711
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Hold {
    #[command(flatten)]
    what: call::Action,
    /// How long the hold is open: 90s, 15m or 2h, at most 24h
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = args::ttl)]
    ttl: i64,
}

impl Hold {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let call::Action { account, action, user, quantity, comment, key } = self.what;
        let key = key.or_made(context, context.app().await?)?;
        let hold = CoreHold { key, user, action, quantity, ttl_seconds: self.ttl, comment };
        let about = |answer: &Answer| {
            let mut fields = call::of_action(answer);
            fields.push(("expires_at", answer.row.expires_at.into()));
            fields
        };
        call::make(context, "creditd.hold/1", &account, Call::Hold(hold), about).await
    }
}

/// Take the credits of a hold, or some of them, and give back the rest
///
/// Example: creditd capture job-4711 --account acme --credits 5
#[derive(Debug, clap::Args)]
pub(super) struct Capture {
    /// The key of the hold
    #[arg(value_name = "HOLD_KEY")]
    hold: Key,
    /// Whose credits
    #[arg(long)]
    account: AccountId,
    /// How many to take, at most what is held [default: all]
    #[arg(long, value_parser = args::amount)]
    credits: Option<Credits>,
    /// What the log shall say about it [default: what it says about the hold]
    #[arg(long, default_value = "", hide_default_value = true, value_parser = args::comment)]
    comment: String,
    #[command(flatten)]
    key: KeyArg,
}

impl Capture {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Capture { hold, account, credits, comment, key } = self;
        let key = key.or_made(context, context.app().await?)?;
        let about = of_settlement(&hold);
        let call = Call::Capture(CoreCapture { key, hold: hold.clone(), credits, comment });
        call::make(context, "creditd.capture/1", &account, call, about).await
    }
}

/// Give a hold back: the action was not done
///
/// The log keeps it as a failed action. Example: creditd void job-4711 --account acme --comment timeout
#[derive(Debug, clap::Args)]
pub(super) struct Void {
    /// The key of the hold
    #[arg(value_name = "HOLD_KEY")]
    hold: Key,
    /// Whose credits
    #[arg(long)]
    account: AccountId,
    /// Why [default: what the log says about the hold]
    #[arg(long, default_value = "", hide_default_value = true, value_parser = args::comment)]
    comment: String,
    #[command(flatten)]
    key: KeyArg,
}

impl Void {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Void { hold, account, comment, key } = self;
        let key = key.or_made(context, context.app().await?)?;
        let about = of_settlement(&hold);
        let call = Call::Void(CoreVoid { key, hold: hold.clone(), comment });
        call::make(context, "creditd.void/1", &account, call, about).await
    }
}

/// What is shown of a hold that was settled: its row is the charge that it became, and is about the row of the hold.
fn of_settlement(hold: &Key) -> impl FnOnce(&Answer) -> Fields {
    let hold = hold.to_string();
    move |Answer { row, about, .. }| {
        let held = about.as_ref().map(|hold| hold.credits().get());
        let mut fields = vec![
            ("hold", hold.into()),
            ("action", row.action.as_ref().map(ActionCode::as_str).into()),
            ("quantity", row.quantity.into()),
            ("user", row.user.as_ref().map(UserId::as_str).into()),
            ("status", row.status.as_str().into()),
            ("held", held.into()),
        ];
        fields.extend(amounts(row));
        fields.push(("given_back", held.map(|held| held.saturating_sub(row.credits().get())).into()));
        fields
    }
}

/// Holds: what is reserved now
#[derive(Debug, clap::Subcommand)]
pub(super) enum Holds {
    List(List),
}

impl Holds {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Holds::List(command) = self;
        command.run(context).await
    }
}

/// List open holds, those that end next first
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only of this account
    #[arg(long)]
    account: Option<AccountId>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = args::limit)]
    limit: usize,
}

const COLUMNS: &[Column] = &[
    Column::text("account"),
    Column::text("hold"),
    Column::text("user"),
    Column::text("action"),
    Column::number("quantity"),
    Column::number("held"),
    Column::number("free"),
    Column::number("purchased"),
    Column::text("occurred_at"),
    Column::text("expires_at"),
    Column::text("comment"),
];

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        if let Some(id) = &self.account {
            find(app, id).await?;
        }
        let holds = app.store.open_holds(self.account.as_ref(), app.now(), self.limit.saturating_add(1)).await?;
        let mut list = context.list("creditd.holds/1", COLUMNS)?;
        for (account, row) in holds.iter().take(self.limit) {
            let [held, free, purchased] = amounts(row).map(|(_, cell)| cell);
            list.row(vec![
                account.as_str().into(),
                row.key.as_ref().map(Key::as_str).into(),
                row.user.as_ref().map(UserId::as_str).into(),
                row.action.as_ref().map(ActionCode::as_str).into(),
                row.quantity.into(),
                held,
                free,
                purchased,
                row.occurred_at.into(),
                row.expires_at.into(),
                row.comment.as_str().into(),
            ])?;
        }
        list.finish()?;
        context.say_how_many(holds.len(), self.limit, "No hold is open.");
        Ok(())
    }
}
