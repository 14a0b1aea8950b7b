//! `creditd charge`: takes the credits of an AI action.

use super::call::{self, KeyArg};
use super::exit::Failure;
use super::{Context, args};
use crate::core::ids::{AccountId, ActionCode, UserId};
use crate::core::ledger::{Call, QUANTITY_MAX, Usage};
use crate::core::transaction::Status;

/// Take the credits of an AI action, or refuse it for want of credits
///
/// A refusal takes nothing, but is logged: for want of credits it ends with exit code 6, by the user's cap with 5.
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
    #[command(flatten)]
    key: KeyArg,
}

impl Charge {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let usage = Usage {
            key: self.key.or_made(context, context.app().await?)?,
            occurred_at: None,
            user: self.user,
            action: self.action,
            quantity: self.quantity,
            status: Status::Success,
            comment: self.comment,
            post_to_open: false,
        };
        call::make(context, "creditd.charge/1", &self.account, Call::Charge(usage), call::of_action).await
    }
}
