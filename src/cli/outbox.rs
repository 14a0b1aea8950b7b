//! `creditd outbox`: the messages that were written, what became of them, and what is to become of them.

use super::account::find;
use super::exit::{Exit, Failure};
use super::output::{Cell, Column};
use super::{Context, args};
use crate::core::calendar::Month;
use crate::core::counting::counted;
use crate::core::ids::AccountId;
use crate::core::outbox::{Attachment, BadNoticeKey, CancelledBecause, NoticeKey, NoticeKind, OutboxState};
use crate::store::{Answered, OutboxRecord};
use std::str::FromStr;

/// Messages to admins and operators, and what became of them
#[derive(Debug, clap::Subcommand)]
pub(super) enum Outbox {
    List(List),
    /// Show a message with all that is known of it
    Show {
        /// Its key: kind/account/about/recipient/version, as in `creditd outbox list -o csv`; or its name as in the log, or the
        /// beginning of that, with at least kind/account/
        key: Named,
    },
    /// Send messages again that failed, were cancelled or suppressed, or perhaps arrived; or at once what waits
    Retry {
        /// Their keys, or names as in the log
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<Named>,
    },
    /// Do not send messages that wait, or that perhaps arrived
    Cancel {
        /// Their keys, or names as in the log
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<Named>,
    },
}

impl Outbox {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Outbox::List(command) => command.run(context).await,
            Outbox::Show { key } => show(context, &key.found(context).await?).await,
            Outbox::Retry { keys } => retry(context, &found(context, &keys).await?).await,
            Outbox::Cancel { keys } => cancel(context, &found(context, &keys).await?).await,
        }
    }
}

/// Most names that an error lists.
const NAMES_LISTED: usize = 10;

/// A message, as people name it: by its key, or by what logs and errors call it, which tells no address. Of a name the beginning is
/// enough while no other message has it.
#[derive(Clone, Debug)]
pub(super) enum Named {
    Key(NoticeKey),
    Name { account: String, name: String },
}

impl FromStr for Named {
    type Err = BadNoticeKey;

    fn from_str(text: &str) -> Result<Named, BadNoticeKey> {
        text.parse().map(Named::Key).or_else(|error| {
            let mut parts = text.splitn(3, '/');
            let kind = parts.next().and_then(NoticeKind::from_word);
            match (kind, parts.next(), parts.next()) {
                (Some(_), Some(account), Some(_)) => {
                    Ok(Named::Name { account: account.to_owned(), name: text.to_owned() })
                }
                _ => Err(error),
            }
        })
    }
}

impl Named {
    async fn found(&self, context: &Context) -> Result<NoticeKey, Failure> {
        let (account, name) = match self {
            Named::Key(key) => return Ok(key.clone()),
            Named::Name { account, name } => (account, name),
        };
        let mut keys = context.app().await?.store.messages_named(account, name).await?;
        match keys.len() {
            0 => Err(unknown(name)),
            1 => Ok(keys.remove(0)),
            many => {
                let names = keys.iter().take(NAMES_LISTED).map(|key| format!("\n  {}", key.name())).collect::<String>();
                let more = if many > NAMES_LISTED { "\n  ..." } else { "" };
                let what = format!("{many} messages begin with {name}: say more of it{names}{more}");
                Err(Failure::message(Exit::Refused, what))
            }
        }
    }
}

/// All of them, before anything is done about one.
async fn found(context: &Context, named: &[Named]) -> Result<Vec<NoticeKey>, Failure> {
    let mut keys = Vec::new();
    for one in named {
        keys.push(one.found(context).await?);
    }
    Ok(keys)
}

fn unknown(name: &str) -> Failure {
    let what = format!("there is no message {name}; `creditd outbox list -o csv` shows the keys of those there are");
    Failure::message(Exit::Refused, what)
}

async fn show(context: &Context, key: &NoticeKey) -> Result<(), Failure> {
    let app = context.app().await?;
    let Some(record) = app.store.message(key).await? else { return Err(refused(key, Answered::Unknown, "")) };
    let mut fields: Vec<(&'static str, Cell)> = vec![("key", key.to_string().as_str().into())];
    let columns = COLUMNS.iter().chain(&MORE_COLUMNS[1..]).map(|column| column.name);
    fields.extend(columns.zip(cells(&record).into_iter().chain(more_cells(&record).into_iter().skip(1))));
    let message = &record.message;
    let attached = message.attachments.iter().map(|Attachment { name, content_type, bytes, .. }| {
        format!("{name} ({content_type}, {})", counted(bytes.len() as u64, "byte"))
    });
    let attached: Vec<String> = attached.collect();
    fields.push(("unsubscribe_url", message.unsubscribe_url.as_deref().into()));
    fields.push(("attachments", Some(attached.join(", ")).filter(|list| !list.is_empty()).as_deref().into()));
    if !context.is_for_people() {
        fields.push(("text", message.text.as_str().into()));
        fields.push(("html", message.html.as_str().into()));
    }
    context.show("creditd.message/1", &fields)?;
    if context.is_for_people() {
        let is_dropped = message.html.is_empty();
        let dropped = "What it said was dropped, as it is older than keep_days in [mail].";
        context.say(format_args!("\n{}", if is_dropped { dropped } else { message.text.trim_end() }));
    }
    Ok(())
}

async fn retry(context: &Context, keys: &[NoticeKey]) -> Result<(), Failure> {
    let app = context.app().await?;
    for key in keys {
        match app.store.retry_message(key, app.now()).await? {
            Answered::Done => {}
            asked => return Err(refused(key, asked, "sent again")),
        }
    }
    context.say(format_args!("{} will be sent by the next run of deliver.", counted(keys.len() as u64, "message")));
    Ok(())
}

async fn cancel(context: &Context, keys: &[NoticeKey]) -> Result<(), Failure> {
    let app = context.app().await?;
    for key in keys {
        match app.store.cancel_message(key).await? {
            Answered::Done => {}
            asked => return Err(refused(key, asked, "cancelled")),
        }
    }
    context.say(format_args!(
        "{} will not be sent, unless it is leaving just now.",
        counted(keys.len() as u64, "message")
    ));
    Ok(())
}

/// Why a wish about a message cannot be had. What was done for messages before it stays done.
fn refused(key: &NoticeKey, asked: Answered, done: &str) -> Failure {
    let name = key.name();
    let why = match asked {
        Answered::Unknown | Answered::Done => return unknown(&name),
        Answered::Not(state) => format!("the message {name} is {state}, so it cannot be {done}"),
        Answered::Suppressed(since) => format!(
            "the message {name} goes to an address that is suppressed since {since}; `creditd suppressions list` says why, and \
             `creditd suppressions remove` lets it be mailed again"
        ),
        Answered::Unwished => format!(
            "the message {name} goes to somebody who is no admin of the account any more, or wishes no such mails; `creditd admin list` \
             says who does, and `creditd admin set` changes that"
        ),
        Answered::Outdated => format!(
            "the message {name} is a statement of which there is a later version, so it is not sent any more; `{}` writes what is so now to \
             whoever was sent nothing or something else",
            reporting_anew(key)
        ),
        Answered::Overtaken => format!(
            "the message {name} is an alert, and a later one of the account was delivered to its recipient, so it is not sent any more; \
             `creditd alerts list` says how things stand"
        ),
        Answered::Twice(other) => format!(
            "the message {name} was written to the same address in another spelling as well, as {}, so it is not sent again",
            other.name()
        ),
        Answered::Dropped => {
            format!("the content of the message {name} was dropped (keep_days in [mail]), so it cannot be {done}")
        }
    };
    Failure::message(Exit::Refused, why)
}

/// What to type so that whoever was sent nothing of the month of a statement is.
fn reporting_anew(key: &NoticeKey) -> String {
    let months = key.about().parse().map(|month: Month| format!(" --from {month} --to {}", month.next()));
    let (months, account) = (months.unwrap_or_default(), key.account_text());
    format!("creditd backfill create --job monthly-report{months} --account {account} --reprocess all --email")
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
const MORE_COLUMNS: [Column; 8] = [
    Column::text("key"),
    Column::number("version"),
    Column::text("due_at"),
    Column::text("sent_at"),
    Column::text("delivered_to"),
    Column::text("last_error"),
    Column::text("cancelled_because"),
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
        key.account().map(AccountId::as_str).into(),
        key.kind().as_str().into(),
        key.about().into(),
        key.recipient().as_str().into(),
        record.message.subject.as_str().into(),
        record.state.as_str().into(),
        i64::from(record.attempts).into(),
    ]
}

fn more_cells(record: &OutboxRecord) -> [Cell; 8] {
    [
        record.message.key.to_string().as_str().into(),
        i64::from(record.message.key.version()).into(),
        (record.state == OutboxState::Pending).then_some(record.due_at).into(),
        record.sent_at.into(),
        record.delivered_to.as_deref().into(),
        record.last_error.as_deref().into(),
        record.cancelled_because.map(CancelledBecause::as_str).into(),
        record.message.message_id.as_str().into(),
    ]
}
