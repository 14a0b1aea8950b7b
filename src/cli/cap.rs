//! `creditd cap`: what users may use in a month (R17).

use super::account::find;
use super::balance::pages;
use super::call::{self, KeyArg};
use super::exit::Failure;
use super::output::Column;
use super::{Context, args};
use crate::app::{Answer, UserCap};
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, Key, UserId};
use crate::core::ledger::{Call, Cap as CoreCap};

/// Caps: what a user may use in a month of the account
#[derive(Debug, clap::Subcommand)]
pub(super) enum Cap {
    Set(Set),
    Remove(Remove),
    List(List),
}

impl Cap {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Cap::Set(command) => command.run(context).await,
            Cap::Remove(command) => command.run(context).await,
            Cap::List(command) => command.run(context).await,
        }
    }
}

/// Cap what a user may use in a month, or change the cap
///
/// It counts at once, with all that the user has used this month. Example:
///   creditd cap set ann --account acme --credits 200
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Set {
    /// Which user
    user: UserId,
    /// Of which account
    #[arg(long)]
    account: AccountId,
    /// Most credits in a month
    #[arg(long, value_parser = args::amount)]
    credits: Credits,
    #[command(flatten)]
    key: KeyArg,
}

impl Set {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let key = self.key.or_made(context, context.app().await?)?;
        make(context, &self.account, key, self.user, Some(self.credits)).await
    }
}

/// Remove the cap of a user
#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// Which user
    user: UserId,
    /// Of which account
    #[arg(long)]
    account: AccountId,
    #[command(flatten)]
    key: KeyArg,
}

impl Remove {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let key = self.key.or_made(context, context.app().await?)?;
        make(context, &self.account, key, self.user, None).await
    }
}

async fn make(
    context: &Context,
    account: &AccountId,
    key: Key,
    user: UserId,
    credits: Option<Credits>,
) -> Result<(), Failure> {
    let about = |Answer { row, replayed, cap, .. }: &Answer| {
        // Of a call that came before, what was used then is not known, and the cap may be another one by now.
        let cap = cap.as_ref().filter(|_| !replayed);
        vec![
            ("user", row.user.as_ref().map(UserId::as_str).into()),
            ("cap", credits.into()),
            ("cap_used", cap.map(|cap| cap.used).into()),
            ("cap_left", cap.map(UserCap::left).into()),
        ]
    };
    call::make(context, "creditd.cap/1", account, Call::Cap(CoreCap { key, user, credits }), about).await
}

/// List caps, with what was used of them this month
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only of this account
    #[arg(long)]
    account: Option<AccountId>,
}

const COLUMNS: &[Column] = &[
    Column::text("account"),
    Column::text("user"),
    Column::text("month"),
    Column::number("cap"),
    Column::number("cap_used"),
    Column::number("cap_left"),
    Column::text("next_month_at"),
];

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        if let Some(id) = &self.account {
            find(app, id).await?;
        }
        let mut list = context.list("creditd.caps/1", COLUMNS)?;
        let mut shown = 0_u64;
        let mut pages = pages(app, self.account.as_slice());
        while let Some(ids) = pages.next().await? {
            for cap in app.caps(&ids).await? {
                list.row(vec![
                    cap.account.as_str().into(),
                    cap.user.as_str().into(),
                    cap.month.to_string().into(),
                    cap.limit.into(),
                    cap.used.into(),
                    cap.left().into(),
                    cap.ends_at.into(),
                ])?;
                shown += 1;
            }
        }
        list.finish()?;
        if shown == 0 {
            context.say("No user has a cap; `creditd cap set` gives one.");
        }
        Ok(())
    }
}
