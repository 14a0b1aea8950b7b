//! Webhooks and their events: written with the fact that caused them, leased by whoever sends them, and what came of each.

use super::backend::{Tx, in_write};
use super::delivery::{Lease, TAKE_TURNS};
use super::ledgers::limit_of;
use super::outbox::IN_HAND_MAX;
use super::sql::{Row, Sql, set};
use super::{Result, Store, StoreError, While, json};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::secret::Secret;
use crate::core::webhook::{Event, EventKind, WEBHOOKS_MAX, Wanted, WebhookSecret};
use serde::Serialize;
use std::sync::Arc;

/// An address that is told what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// What it is called.
    pub id: String,
    /// Of which account's events; none for those of all.
    pub account: Option<AccountId>,
    /// The address: whoever knows it may be able to post there, so it is in no log.
    pub url: Secret,
    /// Which events it gets.
    pub wanted: Wanted,
    /// With what its events are signed.
    pub secret: WebhookSecret,
    /// Since when.
    pub created_at: Instant,
    /// Since when it gets none, because it said so itself.
    pub stopped_at: Option<Instant>,
}

/// An event for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEvent {
    /// Whose event it is.
    pub account: AccountId,
    /// For which address.
    pub webhook: String,
    /// The event.
    pub id: String,
    /// What it is about.
    pub kind: EventKind,
    /// What is sent.
    pub body: String,
    /// When it was written down.
    pub created_at: Instant,
    /// Where it stands.
    pub state: EventState,
    /// How often it was sent in vain, or once more where it was taken.
    pub attempts: u32,
    /// When it is tried next, while it is pending.
    pub due_at: Instant,
    /// Since when it waits.
    pub since: Instant,
    /// What came of the last try.
    pub answer: Option<String>,
}

/// An event for one address, by what tells it from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EventKey {
    /// Whose event it is.
    pub account_id: AccountId,
    /// For which address.
    pub webhook_id: String,
    /// The event.
    pub event_id: String,
}

impl HookEvent {
    /// What tells it from all others.
    #[must_use]
    pub fn key(&self) -> EventKey {
        let HookEvent { account, webhook, id, .. } = self;
        EventKey { account_id: account.clone(), webhook_id: webhook.clone(), event_id: id.clone() }
    }
}

crate::core::transaction::words! {
    /// Where an event for an address stands.
    EventState {
        /// To be sent, perhaps again.
        Pending = "pending",
        /// Taken.
        Sent = "sent",
        /// Given up: it was not taken for days, or nobody wants any.
        Failed = "failed",
    }
}

/// What came of sending an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookTry {
    /// The event.
    pub event: HookEvent,
    /// The name of the lease.
    pub lease: Arc<str>,
    /// What comes next.
    pub next: HookNext,
}

/// What comes after a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookNext {
    /// It was taken.
    Sent(String),
    /// It is tried again then.
    Again(String, Instant),
    /// It is given up.
    Failed(String),
    /// The address wants no more events at all.
    Gone(String),
    /// It was not tried.
    Untried,
}

#[derive(Serialize)]
struct EventRow<'a> {
    account_id: &'a AccountId,
    event_id: String,
    kind: EventKind,
    body: String,
}

impl EventRow<'_> {
    fn of(event: &Event) -> Result<EventRow<'_>> {
        Ok(EventRow { account_id: &event.account, event_id: event.id(), kind: event.kind, body: event.body()? })
    }
}

#[derive(Serialize)]
struct TryRow<'a> {
    account_id: &'a AccountId,
    webhook_id: &'a str,
    event_id: &'a str,
    lease: &'a str,
    state: &'static str,
    tried: i64,
    due_at: Option<i64>,
    answer: Option<&'a str>,
}

#[derive(Serialize)]
struct GoneRow<'a> {
    webhook_id: &'a str,
    answer: &'a str,
}

/// Writes events for every address that is to get them; an event that it has already stays as it is.
pub(super) async fn insert(tx: &mut Tx, events: &[Event], now: Instant) -> Result<u64> {
    if events.is_empty() {
        return Ok(0);
    }
    let rows: Vec<EventRow<'_>> = events.iter().map(EventRow::of).collect::<Result<_>>()?;
    let written = tx
        .query(set!(account_id text, event_id text, kind text, body text =>
            "INSERT INTO webhook_events (account_id, webhook_id, event_id, kind, body, created_at, state, due_at, since)
             SELECT v.account_id, w.webhook_id, v.event_id, v.kind, v.body, $2, 'pending', $2, $2
               FROM v CROSS JOIN webhooks AS w
              WHERE w.account_id IN ('', v.account_id) AND w.stopped_at IS NULL
                AND (w.wanted = '' OR ' ' || w.wanted || ' ' LIKE '% ' || v.kind || ' %')
             ON CONFLICT (account_id, webhook_id, event_id) DO NOTHING"
        ))
        .bind(json(rows)?)
        .bind(now.micros())
        .execute()
        .await
        .while_("writing events for webhooks")?;
    Ok(written.rows_affected())
}

const DUE: Sql = Sql {
    sqlite: "SELECT e.* FROM webhook_events AS e WHERE e.state = 'pending' AND e.due_at <= $1
                AND e.webhook_id NOT IN (SELECT value FROM json_each($3))
                AND (e.leased_until IS NULL OR e.leased_until <= CAST(unixepoch('subsec') * 1000000 AS INTEGER))
              ORDER BY e.due_at, e.account_id, e.webhook_id, e.event_id LIMIT $2",
    postgres: "SELECT e.* FROM webhook_events AS e WHERE e.state = 'pending' AND e.due_at <= $1
                AND e.webhook_id NOT IN (SELECT jsonb_array_elements_text($3::jsonb))
                AND (e.leased_until IS NULL OR e.leased_until <= CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))
              ORDER BY e.due_at, e.account_id, e.webhook_id, e.event_id LIMIT $2",
};

impl Store {
    /// Adds an address; `None` when there are [`WEBHOOKS_MAX`] of its account already, or of the platform.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn add_webhook(&self, webhook: &Webhook) -> Result<Option<()>> {
        let account = webhook.account.as_ref().map_or("", AccountId::as_str).to_owned();
        in_write!(self, "committing a webhook", |tx| {
            tx.query(TAKE_TURNS).fetch_all().await.while_("waiting for the turn to add a webhook")?;
            let there = tx.query("SELECT count(*) FROM webhooks WHERE account_id = $1").bind(account.clone());
            let there: i64 = there.fetch_one().await.while_("counting webhooks")?.get(0);
            if there >= limit_of(WEBHOOKS_MAX) {
                return Ok(None);
            }
            tx.query(
                "INSERT INTO webhooks (account_id, webhook_id, url, wanted, secret, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(account.clone())
            .bind(webhook.id.clone())
            .bind(webhook.url.expose().to_owned())
            .bind(webhook.wanted.to_string())
            .bind(webhook.secret.expose().to_owned())
            .bind(webhook.created_at.micros())
            .execute()
            .await
            .while_("writing a webhook")?;
            Ok(Some(()))
        })
    }

    /// Webhooks, those of the platform first; of one account, or all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn webhooks(&self, account: Option<&AccountId>, limit: usize) -> Result<Vec<Webhook>> {
        let rows = self
            .query(
                "SELECT * FROM webhooks WHERE ($1 IS NULL OR account_id = $1) ORDER BY account_id, created_at, webhook_id LIMIT $2",
            )
            .bind(account.map(AccountId::as_str))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("listing webhooks")?;
        rows.iter().map(read_webhook).collect()
    }

    /// The webhook of this id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn webhook(&self, id: &str) -> Result<Option<Webhook>> {
        let rows = self.query("SELECT * FROM webhooks WHERE webhook_id = $1").bind(id.to_owned()).fetch_all().await;
        rows.while_("reading a webhook")?.first().map(read_webhook).transpose()
    }

    /// Removes a webhook and its events; false when there is none of this id.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn remove_webhook(&self, id: &str) -> Result<bool> {
        in_write!(self, "committing that a webhook is gone", |tx| {
            let doing = "removing a webhook";
            for sql in
                ["DELETE FROM webhook_events WHERE webhook_id = $1", "DELETE FROM webhooks WHERE webhook_id = $1"]
            {
                let done = tx.query(sql).bind(id.to_owned()).execute().await.while_(doing)?;
                if sql.contains("FROM webhooks") {
                    return Ok(done.rows_affected() > 0);
                }
            }
            Ok(false)
        })
    }

    /// Writes events for all addresses that are to get them, and returns for how many that was news.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn write_events(&self, events: &[Event], now: Instant) -> Result<u64> {
        if events.is_empty() {
            return Ok(0);
        }
        in_write!(self, "committing events for webhooks", |tx| insert(tx, events, now).await)
    }

    /// Whether anybody is told of these at all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_webhooks(&self) -> Result<bool> {
        let found = self.query("SELECT 1 FROM webhooks WHERE stopped_at IS NULL LIMIT 1").fetch_all().await;
        Ok(!found.while_("looking for webhooks")?.is_empty())
    }

    /// Events that are due and that nobody is sending, oldest first, but for those to addresses that are left alone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn due_events(&self, now: Instant, resting: &[String], limit: usize) -> Result<Vec<HookEvent>> {
        let due = self.query(DUE).bind(now.micros()).bind(limit_of(limit)).bind(json(resting)?);
        let rows = due.fetch_all().await.while_("looking for events to send")?;
        rows.iter().map(read_event).collect()
    }

    /// How many events are being posted at present, by the database's clock: [`IN_HAND_MAX`] where there are more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events_in_hand(&self) -> Result<u64> {
        let clock = self.clock().await?;
        let found = self.query(
            "SELECT count(*) FROM (SELECT 1 FROM webhook_events WHERE state = 'pending' AND leased_until > $1 LIMIT $2) AS in_hand",
        );
        let found = found.bind(clock.micros()).bind(limit_of(IN_HAND_MAX)).fetch_one().await;
        let found = found.while_("counting events that are being posted")?;
        Ok(found.get::<i64>(0).unsigned_abs())
    }

    /// Leases events that are due, each with its address.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is leased then, or what is comes back when the lease is over.
    pub async fn lease_events(
        &self,
        lease: &Lease,
        now: Instant,
        resting: &[String],
        limit: usize,
    ) -> Result<Vec<(HookEvent, Webhook)>> {
        let resting = json(resting)?;
        in_write!(self, "committing who sends events", |tx| {
            tx.query(TAKE_TURNS).fetch_all().await.while_("waiting for the turn to send events")?;
            let due = tx.query(DUE).bind(now.micros()).bind(limit_of(limit)).bind(resting.clone());
            let rows = due.fetch_all().await.while_("looking for events to send")?;
            let events: Vec<HookEvent> = rows.iter().map(read_event).collect::<Result<_>>()?;
            if events.is_empty() {
                return Ok(Vec::new());
            }
            let until = lease.end(tx).await?;
            let wanted = json(events.iter().map(HookEvent::key).collect::<Vec<_>>())?;
            tx.query(set!(account_id text, webhook_id text, event_id text =>
                "UPDATE webhook_events SET lease = $2, leased_until = $3 FROM v
                  WHERE webhook_events.account_id = v.account_id AND webhook_events.webhook_id = v.webhook_id
                    AND webhook_events.event_id = v.event_id"
            ))
            .bind(wanted.clone())
            .bind(&*lease.name)
            .bind(until)
            .execute()
            .await
            .while_("leasing events")?;
            let rows = tx
                .query(set!(webhook_id text => "SELECT DISTINCT w.* FROM v CROSS JOIN webhooks AS w WHERE w.webhook_id = v.webhook_id"))
                .bind(wanted)
                .fetch_all()
                .await
                .while_("reading webhooks")?;
            let hooks: Vec<Webhook> = rows.iter().map(read_webhook).collect::<Result<_>>()?;
            let with_hook = |event: HookEvent| {
                let hook = hooks.iter().find(|hook| hook.id == event.webhook)?;
                Some((event, hook.clone()))
            };
            Ok(events.into_iter().filter_map(with_hook).collect())
        })
    }

    /// Extends the lease of those of `keys` that nobody else has leased since, whether or not it had ended. Which those are.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is extended then.
    pub async fn extend_events(&self, lease: &Lease, keys: &[EventKey]) -> Result<Vec<EventKey>> {
        let wanted = json(keys)?;
        in_write!(self, "committing who goes on sending events", |tx| {
            let until = lease.end(tx).await?;
            let rows = tx
                .query(set!(account_id text, webhook_id text, event_id text =>
                    "UPDATE webhook_events SET leased_until = $3 FROM v
                      WHERE webhook_events.account_id = v.account_id AND webhook_events.webhook_id = v.webhook_id
                        AND webhook_events.event_id = v.event_id AND webhook_events.lease = $2
                  RETURNING webhook_events.account_id, webhook_events.webhook_id, webhook_events.event_id"
                ))
                .bind(wanted.as_str())
                .bind(&*lease.name)
                .bind(until)
                .fetch_all()
                .await
                .while_("extending the lease of events")?;
            let key = |row: &Row| {
                let (webhook_id, event_id) = (row.get(1), row.get(2));
                Ok(EventKey { account_id: AccountId::new(row.get::<&str>(0))?, webhook_id, event_id })
            };
            rows.iter().map(key).collect()
        })
    }

    /// Records what came of events that were leased. What was taken was, whoever has the lease now. An address that wants no
    /// more gets none of those that wait either.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn record_tries(&self, tries: &[HookTry], now: Instant) -> Result<()> {
        let rows: Vec<TryRow<'_>> = tries.iter().map(|one| try_row(&one.event, &one.lease, &one.next)).collect();
        let rows = json(rows)?;
        let gone = tries.iter().filter_map(|one| match &one.next {
            HookNext::Gone(answer) => Some(GoneRow { webhook_id: &one.event.webhook, answer }),
            _ => None,
        });
        let gone = json(gone.collect::<Vec<_>>())?;
        in_write!(self, "committing what came of events", |tx| {
            tx.query(set!(
                account_id text, webhook_id text, event_id text, lease text, state text, tried bigint, due_at bigint, answer text =>
                "UPDATE webhook_events
                    SET state = v.state, attempts = attempts + v.tried, due_at = coalesce(v.due_at, webhook_events.due_at),
                        sent_at = CASE WHEN v.state = 'sent' THEN $2 END, answer = coalesce(v.answer, webhook_events.answer),
                        lease = NULL, leased_until = NULL
                   FROM v
                  WHERE webhook_events.account_id = v.account_id AND webhook_events.webhook_id = v.webhook_id
                    AND webhook_events.event_id = v.event_id AND webhook_events.state = 'pending'
                    AND (v.state = 'sent' OR webhook_events.lease = v.lease)"
            ))
            .bind(rows.clone())
            .bind(now.micros())
            .execute()
            .await
            .while_("recording what came of events")?;
            for sql in [
                set!(webhook_id text => "UPDATE webhooks SET stopped_at = $2 FROM v
                      WHERE webhooks.webhook_id = v.webhook_id AND webhooks.stopped_at IS NULL"),
                // Why they end is not what went wrong with them before.
                set!(webhook_id text, answer text => "UPDATE webhook_events SET state = 'failed', due_at = $2, answer = v.answer FROM v
                      WHERE webhook_events.webhook_id = v.webhook_id AND webhook_events.state = 'pending'"),
            ] {
                if gone != "[]" {
                    let done = tx.query(sql).bind(gone.clone()).bind(now.micros()).execute().await;
                    done.while_("stopping a webhook")?;
                }
            }
            Ok(())
        })
    }

    /// Events, newest first; of one webhook or account, and in one state, where that is asked for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn hook_events(
        &self,
        webhook: Option<&str>,
        account: Option<&AccountId>,
        state: Option<EventState>,
        limit: usize,
    ) -> Result<Vec<HookEvent>> {
        let rows = self
            .query(
                "SELECT * FROM webhook_events
                  WHERE ($1 IS NULL OR webhook_id = $1) AND ($2 IS NULL OR account_id = $2) AND ($3 IS NULL OR state = $3)
                  ORDER BY created_at DESC, account_id, webhook_id, event_id LIMIT $4",
            )
            .bind(webhook)
            .bind(account.map(AccountId::as_str))
            .bind(state.map(EventState::as_str))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("listing events")?;
        rows.iter().map(read_event).collect()
    }

    /// Sends an address once more all that was given up, and lets it get events again if it wanted no more. How many those are.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn retry_events(&self, webhook: &str, now: Instant) -> Result<u64> {
        in_write!(self, "committing events that are sent again", |tx| {
            let doing = "sending events again";
            let resumed =
                tx.query("UPDATE webhooks SET stopped_at = NULL WHERE webhook_id = $1").bind(webhook.to_owned());
            resumed.execute().await.while_(doing)?;
            let again = tx
                .query("UPDATE webhook_events SET state = 'pending', due_at = $2, since = $2 WHERE webhook_id = $1 AND state = 'failed'")
                .bind(webhook.to_owned())
                .bind(now.micros())
                .execute()
                .await
                .while_(doing)?;
            Ok(again.rows_affected())
        })
    }

    /// Forgets up to `limit` events that were written before `before` and are pending no more. How many those were.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn forget_events(&self, before: Instant, limit: usize) -> Result<u64> {
        let done = in_write!(self, "committing that old events are forgotten", |tx| {
            tx.query(
                "DELETE FROM webhook_events WHERE (account_id, webhook_id, event_id) IN (
                     SELECT account_id, webhook_id, event_id FROM webhook_events
                      WHERE created_at < $1 AND state <> 'pending' ORDER BY created_at LIMIT $2)",
            )
            .bind(before.micros())
            .bind(limit_of(limit))
            .execute()
            .await
            .while_("forgetting old events")
        })?;
        Ok(done.rows_affected())
    }
}

fn try_row<'a>(event: &'a HookEvent, lease: &'a str, next: &'a HookNext) -> TryRow<'a> {
    let (state, due_at, answer) = match next {
        HookNext::Sent(answer) => (EventState::Sent, None, Some(answer)),
        HookNext::Again(answer, at) => (EventState::Pending, Some(at.micros()), Some(answer)),
        HookNext::Failed(answer) | HookNext::Gone(answer) => (EventState::Failed, None, Some(answer)),
        HookNext::Untried => (EventState::Pending, None, None),
    };
    TryRow {
        account_id: &event.account,
        webhook_id: &event.webhook,
        event_id: &event.id,
        lease,
        state: state.as_str(),
        tried: i64::from(*next != HookNext::Untried),
        due_at,
        answer: answer.map(String::as_str),
    }
}

fn read_webhook(row: &Row) -> Result<Webhook> {
    let id: String = row.get("webhook_id");
    let corrupt = |what: &str| StoreError::Corrupt(format!("webhook {id}: {what}"));
    let kind = |word: &str| EventKind::from_word(word).ok_or_else(|| corrupt("a kind of events that is none"));
    let kinds = row.get::<&str>("wanted").split_whitespace().map(kind).collect::<Result<Vec<_>>>()?;
    let secret = WebhookSecret::read(row.get("secret")).ok_or_else(|| corrupt("its secret is none"))?;
    let account = Some(row.get::<&str>("account_id")).filter(|id| !id.is_empty()).map(AccountId::new).transpose()?;
    Ok(Webhook {
        account,
        url: Secret::new(row.get::<String>("url")),
        wanted: Wanted::new(kinds),
        secret,
        created_at: Instant::from_micros(row.get("created_at")),
        stopped_at: row.get::<Option<i64>>("stopped_at").map(Instant::from_micros),
        id,
    })
}

fn read_event(row: &Row) -> Result<HookEvent> {
    let id: String = row.get("event_id");
    let corrupt = |what: &str| StoreError::Corrupt(format!("event {id}: {what}"));
    Ok(HookEvent {
        account: AccountId::new(row.get::<&str>("account_id"))?,
        webhook: row.get("webhook_id"),
        kind: EventKind::from_word(row.get("kind")).ok_or_else(|| corrupt("its kind is none"))?,
        body: row.get("body"),
        created_at: Instant::from_micros(row.get("created_at")),
        state: EventState::from_word(row.get("state")).ok_or_else(|| corrupt("its state is none"))?,
        attempts: u32::try_from(row.get::<i64>("attempts")).unwrap_or(u32::MAX),
        due_at: Instant::from_micros(row.get("due_at")),
        since: Instant::from_micros(row.get("since")),
        answer: row.get("answer"),
        id,
    })
}
