//! `creditd webhook`: where the platform's own programs are told what happens.

use super::exit::{Exit, Failure, OrExit};
use super::output::Column;
use super::{Context, args};
use crate::app::AppError;
use crate::core::counting::counted_are;
use crate::core::ids::AccountId;
use crate::core::secret::Secret;
use crate::core::webhook::{EventKind, SECRET_BYTES, WEBHOOKS_MAX, Wanted, WebhookSecret};
use crate::jobs::{Kit, random_bytes, webhooks};
use crate::post::{Posted, Poster};
use crate::store::{EventState, Webhook as Stored};
use std::time::Duration;

/// Addresses that are told of low credits, new months and statements, in the form of the Standard Webhooks specification
///
/// Events: credits.low, credits.exhausted, credits.recovered, month.reset, statement.ready. Each is
/// posted as JSON, signed with the secret of the address (webhook-id, webhook-timestamp,
/// webhook-signature), until it is answered with 2xx.
#[derive(Debug, clap::Subcommand)]
#[command(verbatim_doc_comment)]
pub(super) enum Webhook {
    /// Add an address, and show its secret this once
    Add {
        /// The address: https://...
        url: String,
        /// Only the events of this account; without it those of all
        #[arg(long)]
        account: Option<AccountId>,
        /// Only these events; without it all. May be given more than once
        #[arg(long = "event", value_parser = event)]
        events: Vec<EventKind>,
    },
    /// List addresses
    List {
        /// Only those of this account
        #[arg(long)]
        account: Option<AccountId>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = args::limit)]
        limit: usize,
    },
    /// Post a test event to an address, and say what it answers
    Test {
        /// Which: an id of `creditd webhook list`
        id: String,
    },
    /// List what addresses were told, or are to be told, newest first
    Events {
        /// Only what this address is told
        #[arg(long)]
        webhook: Option<String>,
        /// Only the events of this account
        #[arg(long)]
        account: Option<AccountId>,
        /// Only those that stand there: pending, sent or failed
        #[arg(long, value_parser = state)]
        state: Option<EventState>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = args::limit)]
        limit: usize,
    },
    /// Post again what was given up, also to an address that had said that it wants no more
    Retry {
        /// To which: an id of `creditd webhook list`
        id: String,
    },
    /// Remove an address, and what it was still to be told
    Remove {
        /// Which: an id of `creditd webhook list`
        id: String,
    },
}

fn event(word: &str) -> Result<EventKind, String> {
    let offered = || EventKind::ALL.iter().filter(|kind| **kind != EventKind::Test);
    let words = || offered().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    offered().find(|kind| kind.as_str() == word).copied().ok_or_else(|| format!("no such event; there are {}", words()))
}

fn state(word: &str) -> Result<EventState, String> {
    EventState::from_word(word).ok_or_else(|| "pending, sent or failed is expected".to_owned())
}

const WEBHOOKS: [Column; 6] = [
    Column::text("webhook"),
    Column::text("account"),
    Column::text("url"),
    Column::text("events"),
    Column::text("created_at"),
    Column::text("stopped_at"),
];

const EVENTS: [Column; 9] = [
    Column::text("event"),
    Column::text("webhook"),
    Column::text("account"),
    Column::text("type"),
    Column::text("created_at"),
    Column::text("state"),
    Column::number("attempts"),
    Column::text("due_at"),
    Column::text("answer"),
];

impl Webhook {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        let store = &app.store;
        match self {
            Webhook::Add { url, account, events } => {
                let settings = &app.settings.webhooks;
                let poster = Poster::new(settings.allow_private, Duration::from_secs(settings.timeout_seconds));
                let poster = poster.map_err(|error| Failure::new(Exit::Failure, error))?;
                let url = poster.check(&url).map_err(|error| Failure::new(Exit::Usage, error))?;
                if let Some(account) = &account
                    && store.accounts(std::slice::from_ref(account)).await?.is_empty()
                {
                    return Err(AppError::UnknownAccount(account.clone()).into());
                }
                let id: [u8; 8] = random_bytes()?;
                let secret = WebhookSecret::new(random_bytes::<SECRET_BYTES>()?);
                let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
                let webhook = Stored {
                    id: format!("wh_{id}"),
                    account,
                    url: Secret::new(url.as_str()),
                    wanted: Wanted::new(events),
                    secret,
                    created_at: app.now(),
                    stopped_at: None,
                };
                if store.add_webhook(&webhook).await?.is_none() {
                    let why = format!(
                        "there are {WEBHOOKS_MAX} webhooks of this kind already, which is as many as there may be; `creditd webhook \
                         list` shows them, `creditd webhook remove` makes room"
                    );
                    return Err(Failure::message(Exit::Refused, why));
                }
                context.show(
                    "creditd.webhook/1",
                    &[
                        ("webhook", webhook.id.as_str().into()),
                        ("account", webhook.account.as_ref().map(AccountId::as_str).into()),
                        ("url", webhook.url.expose().into()),
                        ("events", events_of(&webhook.wanted).as_str().into()),
                        ("secret", webhook.secret.expose().into()),
                    ],
                )?;
                context.say(
                    "The secret is shown this once. `creditd webhook test` posts an event to see that it arrives.",
                );
            }
            Webhook::List { account, limit } => {
                let found = store.webhooks(account.as_ref(), limit.saturating_add(1)).await?;
                let mut list = context.list("creditd.webhooks/1", &WEBHOOKS)?;
                for one in found.iter().take(limit) {
                    list.row(vec![
                        one.id.as_str().into(),
                        one.account.as_ref().map(AccountId::as_str).into(),
                        one.url.expose().into(),
                        events_of(&one.wanted).as_str().into(),
                        one.created_at.into(),
                        one.stopped_at.into(),
                    ])?;
                }
                list.finish()?;
                context.say_how_many(found.len(), limit, "There are no webhooks; `creditd webhook add` makes one.");
            }
            Webhook::Test { id } => {
                let Some(webhook) = store.webhook(&id).await? else { return Err(unknown(&id)) };
                match webhooks::test(&Kit::open(app.clone()).await.or_exit(Exit::Config)?, &webhook).await? {
                    Posted::Taken(status) => context.say(format_args!("It was taken: {status}.")),
                    Posted::Gone => return Err(not_taken("the answer was 410: it wants no events")),
                    Posted::Refused { status, .. } => return Err(not_taken(&format!("the answer was {status}"))),
                    Posted::Unanswered(why) => return Err(not_taken(&why)),
                }
            }
            Webhook::Events { webhook, account, state, limit } => {
                let found =
                    store.hook_events(webhook.as_deref(), account.as_ref(), state, limit.saturating_add(1)).await?;
                let mut list = context.list("creditd.webhook-events/1", &EVENTS)?;
                for one in found.iter().take(limit) {
                    let due_at = (one.state == EventState::Pending).then_some(one.due_at);
                    list.row(vec![
                        one.id.as_str().into(),
                        one.webhook.as_str().into(),
                        one.account.as_str().into(),
                        one.kind.as_str().into(),
                        one.created_at.into(),
                        one.state.as_str().into(),
                        i64::from(one.attempts).into(),
                        due_at.into(),
                        one.answer.as_deref().into(),
                    ])?;
                }
                list.finish()?;
                context.say_how_many(found.len(), limit, "Nobody was told anything.");
            }
            Webhook::Retry { id } => {
                if store.webhook(&id).await?.is_none() {
                    return Err(unknown(&id));
                }
                let again = store.retry_events(&id, app.now()).await?;
                context.say(format_args!("{} posted again by the job webhooks.", counted_are(again, "event")));
            }
            Webhook::Remove { id } => {
                if !store.remove_webhook(&id).await? {
                    return Err(unknown(&id));
                }
                context.say("It is told nothing more.");
            }
        }
        Ok(())
    }
}

fn events_of(wanted: &Wanted) -> String {
    if wanted.kinds().is_empty() { "all".to_owned() } else { wanted.to_string() }
}

fn unknown(id: &str) -> Failure {
    let id: String = id.chars().take(40).collect();
    Failure::message(Exit::Refused, format!("there is no webhook {id:?}; `creditd webhook list` shows those there are"))
}

fn not_taken(why: &str) -> Failure {
    Failure::message(Exit::Failure, format!("the event was not taken: {why}"))
}
