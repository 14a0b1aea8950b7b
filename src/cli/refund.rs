//! `creditd refund`: gives credits of a charge back (R11).

use super::call::{self, Because, amounts};
use super::exit::Failure;
use super::{Context, args};
use crate::app::App;
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, ActionCode, Key, UserId};
use crate::core::ledger::{Call, Refund as CoreRefund};
use crate::core::transaction::{Kind, Transaction};
use crate::store::{Cursor, LogFilter};

/// Give credits of a charge back, to where they came from
///
/// What goes back to free credits of a month that is over lapses at once. Example:
///   creditd refund job-4711 --account acme --comment "the image was empty"
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Refund {
    /// The key of the charge, or of the capture that made it
    #[arg(value_name = "CHARGE_KEY")]
    charge: Key,
    /// How many [default: all that are not refunded yet]
    #[arg(long, value_parser = args::some_credits)]
    credits: Option<Credits>,
    #[command(flatten)]
    because: Because,
}

impl Refund {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Refund { charge, credits, because: Because { account, comment, key } } = self;
        let app = context.app().await?;
        let key = key.or_made(context, app)?;
        let refund = CoreRefund { key: key.clone(), charge: charge.clone(), credits, comment };
        let answer = app.call(&account, Call::Refund(refund)).await?;
        let row = &answer.row;
        let mut fields = vec![
            ("charge", charge.as_str().into()),
            ("action", row.action.as_ref().map(ActionCode::as_str).into()),
            ("user", row.user.as_ref().map(UserId::as_str).into()),
        ];
        fields.extend(amounts(row));
        fields.push(("lapsed", lapsed_at_once(app, &account, row).await?.into()));
        call::show(context, "creditd.refund/1", &account, &key, &answer, fields)
    }
}

/// Credits of a refund that lapsed at once, because their grants were over: rows that follow it directly say so.
async fn lapsed_at_once(app: &App, account: &AccountId, refund: &Transaction) -> Result<i64, Failure> {
    let filter = LogFilter { account: Some(account.clone()), ..LogFilter::default() };
    let behind = Cursor { account: account.clone(), seq: refund.seq };
    let next = app.store.log_page(&filter, Some(&behind), refund.entries.len()).await?;
    let lapses = next.iter().filter(|(_, row)| row.kind == Kind::Expiry && row.corrects == Some(refund.seq));
    Ok(lapses.map(|(_, row)| row.delta.total().negated().get()).sum())
}
