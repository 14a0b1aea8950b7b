//! What all commands share that change a ledger: a call is made under a key, and its answer is shown.

use super::balance::next_reset;
use super::exit::{Exit, Failure};
use super::output::Cell;
use super::{Context, args};
use crate::app::{Answer, App, UserCap};
use crate::core::credits::Split;
use crate::core::ids::{AccountId, ActionCode, Key, UserId};
use crate::core::ledger::{Call, QUANTITY_MAX};
use crate::core::transaction::{Reason, Transaction};

/// Names and values that an answer shows.
pub(super) type Fields = Vec<(&'static str, Cell)>;

/// The key of a call (R9).
#[derive(Debug, clap::Args)]
pub(super) struct KeyArg {
    /// The idempotency key; a missing one is made and printed on stderr
    #[arg(long)]
    key: Option<Key>,
}

impl KeyArg {
    /// The key that was given, or a new one.
    pub(super) fn or_made(self, context: &Context, app: &App) -> Result<Key, Failure> {
        if let Some(key) = self.key {
            return Ok(key);
        }
        let key = args::key(app.now())?;
        // Before the call, so that it can be repeated safely should its answer be lost.
        context.say(format_args!("key: {key}"));
        Ok(key)
    }
}

/// An AI action that is charged or held.
#[derive(Debug, clap::Args)]
pub(super) struct Action {
    /// Whose credits
    #[arg(long)]
    pub account: AccountId,
    /// The action: one of `creditd actions list`
    #[arg(long)]
    pub action: ActionCode,
    /// Who does it
    #[arg(long)]
    pub user: Option<UserId>,
    /// How many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..=QUANTITY_MAX))]
    pub quantity: i64,
    /// What the log shall say about it
    #[arg(long, default_value = "", hide_default_value = true, value_parser = args::comment)]
    pub comment: String,
    #[command(flatten)]
    pub key: KeyArg,
}

/// What is asked of a call that nobody makes without a reason.
#[derive(Debug, clap::Args)]
pub(super) struct Because {
    /// Of which account
    #[arg(long)]
    pub account: AccountId,
    /// Why; the log keeps it
    #[arg(long, value_parser = args::reason)]
    pub comment: String,
    #[command(flatten)]
    pub key: KeyArg,
}

/// Makes `call` and shows the answer as `schema`: `about` says what it was about, and the rest is the same for all. A
/// charge or hold that was refused is shown, too, and fails the command.
pub(super) async fn make(
    context: &Context,
    schema: &'static str,
    account: &AccountId,
    call: Call,
    about: impl FnOnce(&Answer) -> Fields,
) -> Result<(), Failure> {
    let app = context.app().await?;
    let key = call.key().clone();
    let answer = app.call(account, call).await?;
    show(context, schema, account, &key, &answer, about(&answer))?;
    let exit = match answer.row.reason {
        None => return Ok(()),
        Some(Reason::InsufficientCredits) => Exit::InsufficientCredits,
        Some(Reason::UserCap) => Exit::Refused,
    };
    Err(Failure::message(exit, answer.refusal(account).unwrap_or_default()))
}

/// Shows an answer; `about` stands between what all answers begin and end with.
pub(super) fn show(
    context: &Context,
    schema: &'static str,
    account: &AccountId,
    key: &Key,
    answer: &Answer,
    about: Fields,
) -> Result<(), Failure> {
    let Answer { row, replayed, available, next_reset_at, .. } = answer;
    let for_people = context.is_for_people();
    let mut fields =
        vec![("account", account.as_str().into()), ("seq", row.seq.into()), ("occurred_at", row.occurred_at.into())];
    fields.extend(about);
    fields.extend(replay(row, *replayed));
    fields.extend([
        ("available", available.total().into()),
        ("available_free", available.free.into()),
        ("available_purchased", available.purchased.into()),
        ("next_reset_at", next_reset(*next_reset_at, for_people)),
        ("key", key.as_str().into()),
    ]);
    if for_people {
        // Programs can rely on every name; people need not read what is not there.
        fields.retain(|(_, cell)| *cell != Cell::Null);
    }
    context.show(schema, &fields)
}

/// Whether a call came before, and when it first did: what is said of its row is what came of it then.
pub(super) fn replay(row: &Transaction, replayed: bool) -> [(&'static str, Cell); 2] {
    [("replayed", replayed.into()), ("first_at", replayed.then_some(row.recorded_at).into())]
}

/// What is shown of an action that was charged or held, or refused.
pub(super) fn of_action(answer: &Answer) -> Fields {
    let Answer { row, cap, .. } = answer;
    let mut fields = vec![
        ("action", row.action.as_ref().map(ActionCode::as_str).into()),
        ("quantity", row.quantity.into()),
        ("user", row.user.as_ref().map(UserId::as_str).into()),
        ("status", row.status.as_str().into()),
        ("reason", row.reason.map(Reason::as_str).into()),
    ];
    fields.extend(amounts(row));
    fields.extend([
        ("cap", cap.as_ref().map(|cap| cap.limit).into()),
        ("cap_used", cap.as_ref().map(|cap| cap.used).into()),
        ("cap_left", cap.as_ref().map(UserCap::left).into()),
    ]);
    fields
}

/// How many credits a row moved, as the log shows them, and of which types.
pub(super) fn amounts(row: &Transaction) -> [(&'static str, Cell); 3] {
    let Split { free, purchased } = row.parts();
    [("credits", row.credits().into()), ("free", free.into()), ("purchased", purchased.into())]
}
