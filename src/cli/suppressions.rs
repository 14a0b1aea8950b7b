//! `creditd suppressions`: addresses that get no mail.

use super::exit::{Exit, Failure};
use super::output::Column;
use super::{Context, args};
use crate::core::ids::{BadName, Email, clean_text};

/// Addresses that get no mail, because a server said that nobody is there or somebody wants none
#[derive(Debug, clap::Subcommand)]
pub(super) enum Suppressions {
    /// List them, newest first
    List {
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = args::limit)]
        limit: usize,
    },
    /// Do not mail an address any more
    Add {
        /// The address
        address: Email,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Mail an address again; `outbox retry` sends what was put aside meanwhile
    Remove {
        /// The address
        address: Email,
    },
}

const COLUMNS: [Column; 4] =
    [Column::text("address"), Column::text("since"), Column::text("reason"), Column::text("message")];

impl Suppressions {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        match self {
            Suppressions::List { limit } => {
                let found = app.store.suppressions(limit.saturating_add(1)).await?;
                let mut list = context.list("creditd.suppressions/1", &COLUMNS)?;
                for one in found.iter().take(limit) {
                    let message = one.message.as_ref().map(ToString::to_string);
                    list.row(vec![
                        one.address.as_str().into(),
                        one.since.into(),
                        one.reason.as_str().into(),
                        message.as_deref().into(),
                    ])?;
                }
                list.finish()?;
                context.say_how_many(found.len(), limit, "No address is suppressed.");
            }
            Suppressions::Add { address, reason } => {
                let reason = clean_text("the reason", &reason)?;
                if reason.trim().is_empty() {
                    return Err(Failure::new(Exit::Usage, BadName::Empty { what: "the reason" }));
                }
                if app.store.suppress(&address, &reason, app.now()).await? {
                    context.say("The address gets no more mail.");
                } else {
                    context.say("The address gets no mail already; `creditd suppressions list` says why.");
                }
            }
            Suppressions::Remove { address } => {
                if !app.store.unsuppress(&address).await? {
                    let why = "the address is not suppressed; `creditd suppressions list` shows those that are";
                    return Err(Failure::message(Exit::Refused, why));
                }
                context.say("The address is mailed again, beginning with the next message to it.");
            }
        }
        Ok(())
    }
}
