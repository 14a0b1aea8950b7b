//! `creditd outbox`: the messages that were written, and what became of them.

use super::account::find;
use super::exit::Failure;
use super::output::{Cell, Column};
use super::{Context, args};
use crate::core::ids::AccountId;
use crate::core::outbox::OutboxState;
use crate::store::OutboxRecord;

/// Messages to admins, and what became of them
#[derive(Debug, clap::Subcommand)]
pub(super) enum Outbox {
    List(List),
}

impl Outbox {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Outbox::List(command) = self;
        command.run(context).await
    }
}

/// List messages, newest first
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only about this account
    #[arg(long)]
    account: Option<AccountId>,
    /// Only in this state
    #[arg(long, value_parser = args::word(OutboxState::ALL, OutboxState::as_str))]
    state: Option<OutboxState>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = args::limit)]
    limit: usize,
}

const COLUMNS: [Column; 8] = [
    Column::text("created_at"),
    Column::text("account"),
    Column::text("kind"),
    Column::text("about"),
    Column::text("recipient"),
    Column::text("subject"),
    Column::text("state"),
    Column::number("attempts"),
];
/// What a table has no room for; the file or the error is in one of them.
const MORE_COLUMNS: [Column; 6] = [
    Column::number("version"),
    Column::text("due_at"),
    Column::text("sent_at"),
    Column::text("delivered_to"),
    Column::text("last_error"),
    Column::text("message_id"),
];

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        if let Some(id) = &self.account {
            find(app, id).await?;
        }
        let messages = app.store.messages(self.account.as_ref(), self.state, self.limit.saturating_add(1)).await?;
        let for_people = context.is_for_people();
        let more = if for_people { &[][..] } else { &MORE_COLUMNS[..] };
        let mut list = context.list("creditd.outbox/1", &[&COLUMNS[..], more].concat())?;
        for record in messages.iter().take(self.limit) {
            let mut row = cells(record);
            if !for_people {
                row.extend(more_cells(record));
            }
            list.row(row)?;
        }
        list.finish()?;
        context.say_how_many(messages.len(), self.limit, "There are no such messages.");
        Ok(())
    }
}

fn cells(record: &OutboxRecord) -> Vec<Cell> {
    let key = &record.message.key;
    vec![
        record.message.created_at.into(),
        key.account().as_str().into(),
        key.kind().as_str().into(),
        key.about().into(),
        key.recipient().as_str().into(),
        record.message.subject.as_str().into(),
        record.state.as_str().into(),
        i64::from(record.attempts).into(),
    ]
}

fn more_cells(record: &OutboxRecord) -> [Cell; 6] {
    [
        i64::from(record.message.key.version()).into(),
        (record.state == OutboxState::Pending).then_some(record.due_at).into(),
        record.sent_at.into(),
        record.delivered_to.as_deref().into(),
        record.last_error.as_deref().into(),
        record.message.message_id.as_str().into(),
    ]
}
