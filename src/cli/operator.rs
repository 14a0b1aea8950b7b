//! `creditd grant` and `creditd adjust`: what operators give and take (R13).

use super::account::find;
use super::args::Moment;
use super::call::{self, KeyArg};
use super::exit::Failure;
use super::{Context, args};
use crate::app::Answer;
use crate::core::credits::{CreditType, Credits};
use crate::core::ids::AccountId;
use crate::core::ledger::{Adjust as CoreAdjust, Bonus, Call};
use crate::core::transaction::touched;

/// Give an account credits
///
/// Example: creditd grant --account acme --type free --credits 500 --expires 2013-07-01 --comment "sorry for the outage"
#[derive(Debug, clap::Args)]
pub(super) struct Grant {
    #[command(flatten)]
    what: Amount,
    /// When what is left of them lapses: an instant, or the beginning of a day of the account; without it, never
    #[arg(long, value_name = "DATE|INSTANT")]
    expires: Option<Moment>,
    #[command(flatten)]
    key: KeyArg,
}

/// Take credits of an account away: all of them, or none when there are fewer
///
/// Example: creditd adjust --account acme --type purchased --credits 500 --comment "granted by mistake"
#[derive(Debug, clap::Args)]
pub(super) struct Adjust {
    #[command(flatten)]
    what: Amount,
    #[command(flatten)]
    key: KeyArg,
}

/// What is given or taken.
#[derive(Debug, clap::Args)]
struct Amount {
    /// Whose credits
    #[arg(long)]
    account: AccountId,
    /// Of which type
    #[arg(long = "type", value_name = "TYPE", value_parser = args::word(CreditType::ALL, CreditType::as_str))]
    credit_type: CreditType,
    /// How many
    #[arg(long, value_parser = args::some_credits)]
    credits: Credits,
    /// Why; the log keeps it
    #[arg(long, value_parser = args::reason)]
    comment: String,
}

impl Grant {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Amount { account, credit_type, credits, comment } = self.what;
        let app = context.app().await?;
        let expires_at = match self.expires {
            Some(moment) => Some(moment.instant(Some(&find(app, &account).await?.account.calendar))),
            None => None,
        };
        let key = self.key.or_made(context, app)?;
        let call = Call::Bonus(Bonus { key, credit_type, credits, expires_at, comment });
        let about = |Answer { row, .. }: &Answer| {
            vec![
                ("type", touched(row.delta).as_str().into()),
                ("credits", row.credits().into()),
                ("expires_at", row.expires_at.into()),
                ("comment", row.comment.as_str().into()),
            ]
        };
        call::make(context, "creditd.grant/1", &account, call, about).await
    }
}

impl Adjust {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Amount { account, credit_type, credits, comment } = self.what;
        let key = self.key.or_made(context, context.app().await?)?;
        let call = Call::Adjust(CoreAdjust { key, credit_type, credits, comment });
        let about = |Answer { row, .. }: &Answer| {
            vec![
                ("type", touched(row.delta).as_str().into()),
                ("taken", row.credits().negated().into()),
                ("comment", row.comment.as_str().into()),
            ]
        };
        call::make(context, "creditd.adjust/1", &account, call, about).await
    }
}
