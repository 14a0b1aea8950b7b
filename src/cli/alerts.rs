//! `creditd alerts`: which accounts are at or below a level.

use super::account::find;
use super::exit::Failure;
use super::output::Column;
use super::{Context, args};
use crate::core::ids::AccountId;

/// Low-credit alerts: which accounts are at or below a level
#[derive(Debug, clap::Subcommand)]
pub(super) enum Alerts {
    List(List),
}

impl Alerts {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Alerts::List(command) = self;
        command.run(context).await
    }
}

/// List open alerts, newest first
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only of this account
    #[arg(long)]
    account: Option<AccountId>,
    /// Also those that are over
    #[arg(long)]
    all: bool,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = args::limit)]
    limit: usize,
}

const COLUMNS: &[Column] = &[
    Column::text("account"),
    Column::text("level"),
    Column::number("crossing"),
    Column::number("threshold"),
    Column::text("opened_at"),
    Column::text("resolved_at"),
];

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        if let Some(id) = &self.account {
            find(app, id).await?;
        }
        let alerts = app.store.alerts(self.account.as_ref(), self.all, self.limit.saturating_add(1)).await?;
        let mut list = context.list("creditd.alerts/1", COLUMNS)?;
        for alert in alerts.iter().take(self.limit) {
            list.row(vec![
                alert.account.as_str().into(),
                alert.crossing.level.as_str().into(),
                i64::from(alert.crossing.crossing).into(),
                alert.threshold.into(),
                alert.opened_at.into(),
                alert.resolved_at.into(),
            ])?;
        }
        list.finish()?;
        let none = if self.all { "There were no alerts yet." } else { "No alert is open." };
        context.say_how_many(alerts.len(), self.limit, none);
        Ok(())
    }
}
