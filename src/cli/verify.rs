//! `creditd verify`: proves that every figure in the ledger is what its transactions say (R16).

use super::Context;
use super::account::find;
use super::exit::Failure;
use super::output::Column;
use crate::app::App;
use crate::core::counting::{counted, counted_do};
use crate::core::ids::AccountId;
use crate::jobs::Run;
use crate::jobs::verify::{Proof, prove};
use crate::store::{Drift, Load};
use anyhow::anyhow;
use tokio_util::sync::CancellationToken;

/// Recompute every figure from the transactions; exit code 1 when one differs
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Only this account
    #[arg(long)]
    account: Option<AccountId>,
    /// Compare the sealed files with their manifests and with the database instead
    #[arg(long, conflicts_with = "account")]
    sealed: bool,
}

const COLUMNS: &[Column] = &[
    Column::text("check"),
    Column::text("account"),
    Column::text("what"),
    Column::text("expected"),
    Column::text("found"),
];

impl Verify {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        if self.sealed {
            return sealed(context, app).await;
        }
        let (accounts, transactions) = match &self.account {
            Some(id) => {
                find(app, id).await?;
                let batch = app.store.load(&Load::accounts([id], app.now())).await?;
                (1, batch.ledgers.values().map(|ledger| ledger.last_seq).sum())
            }
            None => {
                let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
                (count(app.store.count_accounts().await?), count(app.store.count_transactions().await?))
            }
        };
        let progress = context.progress("verifying");
        let mut report = progress.report();
        // Told to stop, the command is dropped wherever it is: it only reads.
        let mut run = Run { dry_run: false, progress: &mut report, stop: CancellationToken::new() };
        let proved = prove(app, self.account.as_ref(), &mut run).await;
        drop(report);
        drop(progress);
        let Proof { checks, drifts } = proved?;
        if !(drifts.is_empty() && context.is_for_people()) {
            let mut list = context.list("creditd.verify/1", COLUMNS)?;
            for Drift { check, account, what, expected, found } in &drifts {
                list.row(vec![
                    (*check).into(),
                    account.as_str().into(),
                    what.as_str().into(),
                    expected.as_str().into(),
                    found.as_str().into(),
                ])?;
            }
            list.finish()?;
        }
        let ledger = format!(
            "{}, {}, {}",
            counted(accounts, "account"),
            counted(transactions, "transaction"),
            counted(checks as u64, "check")
        );
        if drifts.is_empty() {
            context.say(format_args!("{ledger}: every figure is what the transactions say."));
            return Ok(());
        }
        Err(anyhow!(
            "{ledger}: {} from what the transactions say. Keep the ledger's file as it is, restore a backup \
             beside it and compare; charges go on meanwhile by the figures found",
            counted_do(drifts.len() as u64, "figure", "differ")
        )
        .into())
    }
}

/// Every sealed file, and every row in it.
async fn sealed(context: &Context, app: &App) -> Result<(), Failure> {
    let progress = context.progress("verifying");
    let found = app.verify_sealed(&mut progress.report()).await?;
    drop(progress);
    if !(found.problems.is_empty() && context.is_for_people()) {
        let mut list = context.list("creditd.verify-sealed/1", &[Column::text("what")])?;
        for problem in &found.problems {
            list.row(vec![problem.as_str().into()])?;
        }
        list.finish()?;
    }
    let has_dropped = !app.store.openings(None).await?.is_empty();
    let left = if has_dropped { " or dropped there" } else { "" };
    let what = format!("{}, {}", counted(found.parts, "sealed part"), counted(found.rows, "row"));
    if found.problems.is_empty() {
        context.say(format_args!("{what}: every file is as its manifest says, every row as in the database{left}."));
        return Ok(());
    }
    let meanwhile = if has_dropped {
        "Put the file back from a backup of the folder: rows that have left the database are in it alone, and what needs them fails \
         meanwhile; see `sealed files` in the README"
    } else {
        "Reports read the database as long as a file they need is not as it was written; put the file back from a backup of the folder, \
         or if there is none, see `sealed files` in the README"
    };
    Err(anyhow!("{what}: {} found. {meanwhile}", counted(found.problems.len() as u64, "problem")).into())
}
