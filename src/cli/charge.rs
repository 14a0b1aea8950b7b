//! `creditd charge`: takes the credits of an AI action.

use super::Context;
use super::call;
use super::exit::Failure;
use crate::core::ledger::{Call, Usage};
use crate::core::transaction::Status;

/// Take the credits of an AI action, or refuse it for want of credits
///
/// A refusal takes nothing, but is logged: for want of credits it ends with exit code 6, by the
/// user's cap with 5. The same call under the same key is answered again without taking anything.
/// Example:
///   creditd charge --account acme --action erase --user ann --key job-4711
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Charge {
    #[command(flatten)]
    what: call::Action,
}

impl Charge {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let call::Action { account, action, user, quantity, comment, key } = self.what;
        let key = key.or_made(context, context.app().await?)?;
        let (occurred_at, status, post_to_open) = (None, Status::Success, false);
        let usage = Usage { key, occurred_at, user, action, quantity, status, comment, post_to_open };
        call::make(context, "creditd.charge/1", &account, Call::Charge(usage), call::of_action).await
    }
}
