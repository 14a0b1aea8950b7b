//! `creditd purchase` and `creditd return`: packs that were paid for, and what is unspent of them (R12).

use super::call::{self, Because};
use super::exit::{Exit, Failure};
use super::import::ImportArgs;
use super::{Context, args};
use crate::app::Answer;
use crate::app::import::PurchaseImport;
use crate::config::CreditSettings;
use crate::core::ids::{AccountId, Key, Reference};
use crate::core::ledger::{Call, PACKS_MAX, Purchase as CorePurchase, Return as CoreReturn};
use crate::core::transaction::Money;
use anyhow::anyhow;

/// Add purchased packs, whose credits never lapse
///
/// A payment adds its packs once, however often it is told, and to one account: one that another
/// account has is refused (payment_used). If that account got it by mistake, `creditd return` it
/// there, and record it here under another reference, such as the old one with -moved behind it.
/// Example:
///   creditd purchase --account acme --packs 2 --reference inv-2013-0042
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Purchase {
    #[command(subcommand)]
    file: Option<File>,
    #[command(flatten)]
    one: Option<One>,
}

#[derive(Debug, clap::Subcommand)]
enum File {
    /// Add purchases from a CSV file with the columns occurred_at, account, packs, reference
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
struct One {
    /// Who bought
    #[arg(long)]
    account: AccountId,
    /// How many packs
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=PACKS_MAX))]
    packs: i64,
    /// The payment's reference, unique over all accounts, which is also the idempotency key; a missing one is made and
    /// printed on stderr
    #[arg(long)]
    reference: Option<Reference>,
    /// What the log shall say about it
    #[arg(long, default_value = "", hide_default_value = true, value_parser = args::comment)]
    comment: String,
}

impl Purchase {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match (self.file, self.one) {
            (Some(File::Import(file)), _) => {
                let CreditSettings { pack_credits, pack_price_minor, currency, .. } =
                    context.app().await?.settings.credits.clone();
                let pack_price = Money { minor: pack_price_minor, currency };
                file.run(context, &PurchaseImport { pack_credits, pack_price }).await
            }
            (None, Some(one)) => one.run(context).await,
            (None, None) => Err(Failure::message(Exit::Usage, "a purchase needs --account and --packs")),
        }
    }
}

impl One {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        let reference = match self.reference {
            Some(reference) => reference,
            None => {
                let reference = Reference::new(&args::unique("cli", app.now()))?;
                // Before the purchase, so that it can be repeated safely should its answer be lost.
                context.say(format_args!("reference: {reference}"));
                reference
            }
        };
        let CreditSettings { pack_credits, pack_price_minor, currency, .. } = &app.settings.credits;
        let minor = pack_price_minor.checked_mul(self.packs).ok_or_else(|| anyhow!("the price is beyond counting"))?;
        let purchase = CorePurchase {
            key: Key::of_purchase(&reference),
            reference,
            occurred_at: None,
            packs: self.packs,
            pack_credits: *pack_credits,
            money: Money { minor, currency: currency.clone() },
            comment: self.comment,
        };
        let about = |Answer { row, .. }: &Answer| {
            let money = row.money.as_ref();
            vec![
                ("packs", row.quantity.into()),
                ("credits", row.credits().into()),
                ("price_minor", money.map(|money| money.minor).into()),
                ("currency", money.map(|money| money.currency.as_str()).into()),
                ("reference", row.reference.as_ref().map(Reference::as_str).into()),
            ]
        };
        call::make(context, "creditd.purchase/1", &self.account, Call::Purchase(purchase), about).await
    }
}

/// Return what is unspent of a purchase; the money is yours to give back
///
/// Credits that are held stay held. A purchase is returned once. Example:
///   creditd return inv-2013-0042 --account acme --comment "cancelled by the customer"
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Return {
    /// The reference of the payment
    reference: Reference,
    #[command(flatten)]
    because: Because,
}

impl Return {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Return { reference, because: Because { account, comment, key } } = self;
        let key = key.or_made(context, context.app().await?)?;
        let about = |Answer { row, .. }: &Answer| {
            vec![
                ("reference", row.reference.as_ref().map(Reference::as_str).into()),
                ("returned", row.credits().negated().into()),
                ("comment", row.comment.as_str().into()),
            ]
        };
        let call = Call::Return(CoreReturn { key, purchase: Key::of_purchase(&reference), comment });
        call::make(context, "creditd.return/1", &account, call, about).await
    }
}
