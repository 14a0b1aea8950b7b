//! `creditd charge`: takes the credits of an AI action.

use super::exit::{Exit, Failure};
use super::output::grouped;
use super::{Context, args};
use crate::app::Answer;
use crate::core::credits::Split;
use crate::core::ids::{AccountId, ActionCode, Key, UserId};
use crate::core::ledger::{QUANTITY_MAX, Usage};
use crate::core::transaction::{Reason, Status};

/// Take the credits of an AI action, or refuse it for want of credits
///
/// A refusal ends with exit code 6 and takes nothing, but is logged.
/// The same call under the same key is answered again without taking anything. Example:
///   creditd charge --account acme --action erase --user ann --key job-4711
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Charge {
    /// Whose credits
    #[arg(long)]
    account: AccountId,
    /// What was done: an action of `creditd actions list`
    #[arg(long)]
    action: ActionCode,
    /// Who did it
    #[arg(long)]
    user: Option<UserId>,
    /// How many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..=QUANTITY_MAX))]
    quantity: i64,
    /// What the log shall say about it
    #[arg(long, default_value = "", hide_default_value = true, value_parser = args::comment)]
    comment: String,
    /// The idempotency key; a missing one is made and printed on stderr
    #[arg(long)]
    key: Option<Key>,
}

impl Charge {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        let key = match self.key {
            Some(key) => key,
            None => {
                let key = args::key(app.now())?;
                // Before the charge, so that it can be repeated safely should its answer be lost.
                context.say(format_args!("key: {key}"));
                key
            }
        };
        let usage = Usage {
            key,
            occurred_at: None,
            user: self.user,
            action: self.action,
            quantity: self.quantity,
            status: Status::Success,
            comment: self.comment,
            post_to_open: false,
        };
        let answer = app.charge(&self.account, &usage).await?;
        show(context, &self.account, &usage.key, &answer)?;
        match answer.row.reason {
            Some(Reason::InsufficientCredits) => Err(insufficient(&self.account, &answer)),
            Some(Reason::UserCap) => Err(Failure::message(
                Exit::Refused,
                "user_cap: the user's cap of this month does not allow it; nothing was taken",
            )),
            None => Ok(()),
        }
    }
}

fn show(context: &Context, account: &AccountId, key: &Key, answer: &Answer) -> Result<(), Failure> {
    let row = &answer.row;
    let Split { free, purchased } = row.parts();
    context.show(
        "creditd.charge/1",
        &[
            ("account", account.as_str().into()),
            ("seq", row.seq.into()),
            ("occurred_at", row.occurred_at.into()),
            ("action", row.action.as_ref().map(ActionCode::as_str).into()),
            ("quantity", row.quantity.into()),
            ("status", row.status.as_str().into()),
            ("reason", row.reason.map(Reason::as_str).into()),
            ("credits", row.credits().into()),
            ("free", free.into()),
            ("purchased", purchased.into()),
            ("replayed", answer.replayed.into()),
            ("available", answer.available.total().into()),
            ("available_free", answer.available.free.into()),
            ("available_purchased", answer.available.purchased.into()),
            ("next_reset_at", answer.next_reset_at.into()),
            ("key", key.as_str().into()),
        ],
    )
}

/// What the caller needs to know: how much is missing, and what helps.
fn insufficient(account: &AccountId, answer: &Answer) -> Failure {
    let Answer { row, replayed, available, next_reset_at } = answer;
    let needed = row.unit_price.get().saturating_mul(row.quantity);
    let available = available.total().get();
    let what = if *replayed {
        format!(
            "insufficient_credits: account {account}: this call was refused on {} (row {}), and its key stands for that \
             refusal for ever; {} credits are available now. Use a new key to try again",
            row.recorded_at,
            row.seq,
            grouped(available)
        )
    } else {
        format!(
            "insufficient_credits: account {account}: {} credits are needed, {} are available, {} are missing; nothing \
             was taken. Purchase credits, or wait for the next reset at {next_reset_at}",
            grouped(needed),
            grouped(available),
            grouped(needed.saturating_sub(available))
        )
    };
    Failure::message(Exit::InsufficientCredits, what)
}
