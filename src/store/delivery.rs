//! Who delivers which messages, and what came of it.
//!
//! A deliverer leases a few messages for a while by the clock of the database, so that any number of processes share the
//! work whatever their own clocks say. While it lives it extends its lease; what a process that died had leased comes back
//! when that is over. A lease has a name that nobody else uses, and what is recorded under another one changes nothing but
//! for one thing: what was delivered was delivered.

use super::admins::unwished;
use super::backend::{Tx, in_write};
use super::in_order::{OutOfOrder, in_turn, overtaken};
use super::ledgers::limit_of;
use super::outbox::{OutboxRecord, Wanted, due, read_whole};
use super::runs::clock;
use super::sql::{Sql, set};
use super::{Result, Store, While, json};
use crate::core::calendar::Instant;
use crate::core::delivery::{GIVE_UP_DAYS, Next, REFUSES_EVERYBODY, TRIES_MIN};
use crate::core::outbox::{CancelledBecause, NoticeKey, OutboxState};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// The time over which a limit per minute counts.
const MINUTE_SECONDS: i64 = 60;

/// Candidates, alerts first and then the oldest, whether their addresses are suppressed, and when they were written.
const CANDIDATES: [Sql; 2] = due!(
    "SELECT o.account_id, o.key, lower(o.recipient) IN (SELECT lower(address) FROM suppressions), o.created_at FROM outbox AS o"
);
/// Those who lease take turns, or two would choose the same messages. On SQLite whoever writes has the turn.
pub(super) const TAKE_TURNS: Sql =
    Sql { sqlite: "SELECT 1", postgres: "SELECT 1 FROM meta WHERE name = 'created_at' FOR UPDATE" };
/// The end of a lease that begins now, or is extended.
const END_OF_LEASE: Sql = Sql {
    sqlite: "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) + $1",
    postgres: "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) + $1",
};

/// Whose messages or events are, and for how long they are if that is not extended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// A name that nobody else uses.
    pub name: Arc<str>,
    /// How long it lasts, by the clock of the database, from when it is asked for or extended.
    pub lasts: Duration,
}

impl Lease {
    /// When it ends if it begins, or is extended, now.
    pub(super) async fn end(&self, tx: &mut Tx) -> Result<i64> {
        let lasts = i64::try_from(self.lasts.as_micros()).unwrap_or(i64::MAX / 2);
        let end = tx.query(END_OF_LEASE).bind(lasts).fetch_one().await;
        Ok(end.while_("asking for the database's time")?.get(0))
    }
}

/// Messages that are one deliverer's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leased {
    /// They, alerts first and then the oldest.
    pub records: Vec<OutboxRecord>,
    /// Messages that were due and will not be delivered, because their addresses are on the suppression list.
    pub suppressed: u64,
    /// Those that will not be because their admins do not wish them any more.
    pub unwished: u64,
    /// Statements that will not be because later versions were written, and alerts because later ones were delivered.
    pub superseded: u64,
    /// Whether more may be due.
    pub more: bool,
    /// Whether the limit per minute kept some back.
    pub limited: bool,
}

/// What became of a message that was leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which message.
    pub key: NoticeKey,
    /// The name of the lease.
    pub lease: Arc<str>,
    /// What became of it.
    pub next: Next,
}

#[derive(Serialize)]
struct DeliveryRow<'a> {
    account_id: &'a str,
    key: String,
    lease: &'a str,
    state: &'static str,
    /// 1 where it was tried.
    tried: i64,
    due_at: Option<i64>,
    delivered_to: Option<&'a str>,
    error: Option<&'a str>,
}

impl DeliveryRow<'_> {
    fn of(delivery: &Delivery) -> DeliveryRow<'_> {
        let Delivery { key, lease, next } = delivery;
        let (state, due_at, delivered_to, error) = match next {
            Next::Sent { to } => ("sent", None, Some(to.as_str()), None),
            Next::Again { error, at } => ("pending", Some(at.micros()), None, Some(error.as_str())),
            Next::Failed { error, suppress: _ } => ("failed", None, None, Some(error.as_str())),
            Next::Ambiguous { error } => ("ambiguous", None, None, Some(error.as_str())),
            Next::Untried => ("pending", None, None, None),
        };
        let tried = i64::from(*next != Next::Untried);
        let (account_id, key) = (key.account_text(), key.to_string());
        DeliveryRow { account_id, key, lease, state, tried, due_at, delivered_to, error }
    }
}

/// A message with its place among those that are leased.
#[derive(Serialize)]
struct Turn<'a> {
    at: usize,
    #[serde(flatten)]
    wanted: Wanted<'a>,
}

/// A message that is put aside, and why where it is cancelled.
#[derive(Serialize)]
struct Aside<'a> {
    #[serde(flatten)]
    wanted: Wanted<'a>,
    state: &'static str,
    because: Option<&'static str>,
}

#[derive(Serialize)]
struct SuppressedRow<'a> {
    account_id: &'a str,
    address: &'a str,
    reason: &'a str,
    message: String,
}

impl Store {
    /// Leases up to `limit` messages that are due, and with `per_minute` no more than that are given to deliverers in any
    /// minute before `now`. Messages to suppressed addresses are put aside; those that nobody wishes any more, statements of which later
    /// versions were written, and alerts of which later ones were delivered, are cancelled. Alerts of an account to
    /// one recipient are leased together, and stand one behind the other.
    ///
    /// # Errors
    /// [`super::StoreError`]; nothing is leased then, or what is comes back when the lease is over.
    pub async fn lease_messages(
        &self,
        lease: &Lease,
        now: Instant,
        limit: usize,
        per_minute: Option<u32>,
    ) -> Result<Leased> {
        in_write!(self, "committing which messages are delivered", |tx| {
            tx.query(TAKE_TURNS).fetch_all().await.while_("waiting for the turn to deliver")?;
            let limit = limit_of(limit);
            let room = match per_minute {
                Some(most) => limit.min(i64::from(most) - tried_in_the_last_minute(tx, now).await?).max(0),
                None => limit,
            };
            take(tx, lease, now, room, room < limit).await
        })
    }

    /// Extends the lease of those of `keys` that nobody else has leased since, whether or not it had ended. Which of them are still to be
    /// sent, to addresses that get mail: the others may be leaving at this moment, and are not to be begun.
    ///
    /// # Errors
    /// [`super::StoreError`]; nothing is extended then.
    pub async fn extend_messages(&self, lease: &Lease, keys: &[NoticeKey]) -> Result<Vec<NoticeKey>> {
        let wanted = json(keys.iter().map(Wanted::of).collect::<Vec<_>>())?;
        in_write!(self, "committing who goes on delivering", |tx| {
            let until = lease.end(tx).await?;
            let rows = tx
                .query(set!(account_id text, key text =>
                    "UPDATE outbox SET leased_until = $3 FROM v
                      WHERE outbox.account_id = v.account_id AND outbox.key = v.key AND outbox.lease = $2
                  RETURNING outbox.key, outbox.state = 'pending'
                            AND lower(outbox.recipient) NOT IN (SELECT lower(address) FROM suppressions)"
                ))
                .bind(wanted.as_str())
                .bind(&*lease.name)
                .bind(until)
                .fetch_all()
                .await
                .while_("extending the lease of messages")?;
            rows.iter().filter(|row| row.get(1)).map(|row| super::outbox::read_key(row.get(0))).collect()
        })
    }

    /// Records what became of messages that were leased. What was delivered was, whoever has the lease now and whatever was said
    /// meanwhile; the rest is recorded only under the lease, and what was called off meanwhile stays so.
    ///
    /// # Errors
    /// [`super::StoreError`]; nothing was written then.
    pub async fn record_deliveries(&self, deliveries: &[Delivery], now: Instant) -> Result<()> {
        let rows: Vec<DeliveryRow<'_>> = deliveries.iter().map(DeliveryRow::of).collect();
        let rows = json(rows)?;
        let suppressed = deliveries.iter().filter_map(|delivery| match &delivery.next {
            Next::Failed { error, suppress: true } => Some(SuppressedRow {
                account_id: delivery.key.account_text(),
                address: delivery.key.recipient().as_str(),
                reason: error,
                message: delivery.key.to_string(),
            }),
            _ => None,
        });
        let suppressed: Vec<SuppressedRow<'_>> = suppressed.collect();
        let addresses = (!suppressed.is_empty()).then(|| json(suppressed)).transpose()?;
        in_write!(self, "committing deliveries", |tx| {
            tx.query(set!(
                account_id text, key text, lease text, state text, tried bigint, due_at bigint, delivered_to text, error text =>
                "UPDATE outbox
                    SET state = CASE WHEN v.state = 'sent' OR outbox.state = 'pending' THEN v.state ELSE outbox.state END,
                        attempts = attempts + v.tried, due_at = coalesce(v.due_at, outbox.due_at),
                        sent_at = CASE WHEN v.state = 'sent' THEN $2 END, delivered_to = v.delivered_to,
                        last_error = CASE WHEN v.state <> 'sent' THEN coalesce(v.error, outbox.last_error) END,
                        tried_at = CASE WHEN v.tried = 1 THEN outbox.tried_at END, lease = NULL, leased_until = NULL,
                        may_have_left = may_have_left OR v.state = 'ambiguous',
                        cancelled_because = CASE WHEN v.state <> 'sent' THEN outbox.cancelled_because END
                   FROM v WHERE outbox.account_id = v.account_id AND outbox.key = v.key
                    AND CASE WHEN v.state = 'sent' THEN outbox.state IN ('pending', 'cancelled', 'suppressed')
                             ELSE outbox.lease = v.lease END"
            ))
            .bind(rows.as_str())
            .bind(now.micros())
            .execute()
            .await
            .while_("recording deliveries")?;
            if let Some(addresses) = &addresses {
                tx.query(set!(account_id text, address text, reason text, message text =>
                    "INSERT INTO suppressions (address, reason, since, message)
                     SELECT v.address, v.reason, $2, v.message FROM v CROSS JOIN outbox AS o
                      WHERE o.account_id = v.account_id AND o.key = v.message AND o.state = 'failed'
                     ON CONFLICT (address) DO NOTHING"
                ))
                .bind(addresses.as_str())
                .bind(now.micros())
                .execute()
                .await
                .while_("writing the suppression list")?;
            }
            Ok(())
        })
    }
}

/// A message that was given up although its time was not over was refused for good. What operators are told of jobs is no sign that
/// a server takes mail for others.
const REFUSED: &str = "SELECT o.key FROM outbox AS o
     WHERE o.tried_at > coalesce((SELECT s.tried_at FROM outbox AS s WHERE s.state = 'sent' AND s.tried_at > $1
                                   AND s.kind NOT IN ('job-failed', 'job-well') ORDER BY s.tried_at DESC LIMIT 1), $1)
       AND CASE o.state WHEN 'failed' THEN o.attempts <= $2 OR o.tried_at < o.pending_since + $3
                        WHEN 'pending' THEN substr(o.last_error, 1, length($4)) = $4
                        ELSE false END
     ORDER BY o.tried_at, o.account_id, o.key LIMIT $5";

impl Store {
    /// Up to `limit` messages that were refused for good, or would have been by a server that takes others, since one was delivered,
    /// and no longer ago than messages are tried for.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn refused_since_delivery(&self, now: Instant, limit: usize) -> Result<Vec<NoticeKey>> {
        let since = now.plus_days(-GIVE_UP_DAYS).micros();
        let found = self.query(REFUSED).bind(since).bind(i64::from(TRIES_MIN));
        let found = found.bind(now.micros() - since).bind(REFUSES_EVERYBODY).bind(limit_of(limit));
        let rows = found.fetch_all().await.while_("looking for messages that were refused")?;
        rows.iter().map(|row| super::outbox::read_key(row.get(0))).collect()
    }

    /// Takes back that these messages were given up and that their addresses get no more mail: they, and what was put aside for
    /// such an address since, are tried again in a minute.
    ///
    /// # Errors
    /// [`super::StoreError`]; nothing was written then.
    pub async fn take_back_refusals(&self, keys: &[NoticeKey], now: Instant) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let rows = json(keys.iter().map(Wanted::of).collect::<Vec<_>>())?;
        let due_at = now.plus_seconds(MINUTE_SECONDS).micros();
        in_write!(self, "committing refusals that are taken back", |tx| {
            tx.query(set!(account_id text, key text =>
                "UPDATE outbox SET state = 'pending', due_at = $2, last_error = $3 || last_error
                   FROM v WHERE outbox.account_id = v.account_id AND outbox.key = v.key AND outbox.state = 'failed'"
            ))
            .bind(rows.as_str())
            .bind(due_at)
            .bind(REFUSES_EVERYBODY)
            .execute()
            .await
            .while_("taking refusals back")?;
            tx.query(set!(account_id text, key text =>
                "UPDATE outbox SET state = 'pending', due_at = $2, pending_since = $2
                  WHERE state = 'suppressed' AND body_html <> '' AND pending_since > $3
                    AND lower(recipient) IN (SELECT lower(s.address) FROM v CROSS JOIN suppressions AS s WHERE s.message = v.key)"
            ))
            .bind(rows.as_str())
            .bind(due_at)
            .bind(now.plus_days(-GIVE_UP_DAYS).micros())
            .execute()
            .await
            .while_("bringing back what was put aside")?;
            tx.query(set!(account_id text, key text => "DELETE FROM suppressions WHERE message IN (SELECT key FROM v)"))
                .bind(rows.as_str())
                .execute()
                .await
                .while_("taking addresses from the suppression list")
                .map(drop)
        })
    }
}

async fn tried_in_the_last_minute(tx: &mut Tx, now: Instant) -> Result<i64> {
    let counted = tx
        .query("SELECT count(*) FROM outbox WHERE tried_at > $1 AND tried_at <= $2")
        .bind(now.plus_seconds(-MINUTE_SECONDS).micros())
        .bind(now.micros())
        .fetch_one()
        .await
        .while_("counting deliveries of the last minute")?;
    Ok(counted.get(0))
}

async fn take(tx: &mut Tx, lease: &Lease, now: Instant, room: i64, is_limited: bool) -> Result<Leased> {
    // One more than there is room for tells whether the limit keeps any back.
    let (clock, mut found, room) = (clock(tx).await?, Vec::new(), usize::try_from(room).unwrap_or(0));
    for some in CANDIDATES {
        let some = tx.query(some).bind(now.micros()).bind(limit_of(room + 1 - found.len())).bind(clock.micros());
        found.extend(some.fetch_all().await.while_("looking for messages to deliver")?);
    }
    let is_more = found.len() > room;
    let (mut due, mut suppressed) = (Vec::new(), Vec::new());
    for row in found.iter().take(room) {
        let key: NoticeKey = super::outbox::read_key(row.get(1))?;
        if row.get::<bool>(2) { suppressed.push(key) } else { due.push((key, Instant::from_micros(row.get(3)))) }
    }
    let mut wanted = in_turn(tx, &due).await?;
    wanted.truncate(room);
    let unwished = unwished(tx, &wanted).await?;
    wanted.retain(|key| !unwished.iter().any(|(of, _)| of == key));
    let aside = |key, state: OutboxState, because: Option<CancelledBecause>| Aside {
        wanted: Wanted::of(key),
        state: state.as_str(),
        because: because.map(CancelledBecause::as_str),
    };
    let OutOfOrder { outdated, too_early } = OutOfOrder::of(tx, &wanted).await?;
    let overtaken = overtaken(tx, &wanted).await?;
    wanted.retain(|key| !outdated.contains(key) && !too_early.contains(key) && !overtaken.contains(key));
    if !too_early.is_empty() {
        // Their turn is when what is in hand has ended, or its lease has.
        tx.query(set!(account_id text, key text =>
            "UPDATE outbox SET due_at = $2, pending_since = $2
               FROM v WHERE outbox.account_id = v.account_id AND outbox.key = v.key AND outbox.state = 'pending'"
        ))
        .bind(json(too_early.iter().map(Wanted::of).collect::<Vec<_>>())?)
        .bind(now.plus_seconds(MINUTE_SECONDS).micros())
        .execute()
        .await
        .while_("holding back what would overtake an earlier version")?;
    }
    let cancelled = |key, because: CancelledBecause| aside(key, OutboxState::Cancelled, Some(because));
    let asides: Vec<Aside<'_>> = suppressed
        .iter()
        .map(|key| aside(key, OutboxState::Suppressed, None))
        .chain(unwished.iter().map(|(key, because)| cancelled(key, *because)))
        .chain(outdated.iter().map(|key| cancelled(key, CancelledBecause::Superseded)))
        .chain(overtaken.iter().map(|key| cancelled(key, CancelledBecause::Overtaken)))
        .collect();
    if !asides.is_empty() {
        tx.query(set!(account_id text, key text, state text, because text =>
            "UPDATE outbox SET state = v.state, cancelled_because = v.because, lease = NULL, leased_until = NULL,
                    may_have_left = may_have_left OR outbox.lease IS NOT NULL
               FROM v WHERE outbox.account_id = v.account_id AND outbox.key = v.key AND outbox.state = 'pending'"
        ))
        .bind(json(asides)?)
        .execute()
        .await
        .while_("putting messages aside that are not to be delivered")?;
    }
    let mut records = Vec::new();
    if !wanted.is_empty() {
        let until = lease.end(tx).await?;
        let at = |(at, key)| Turn { at, wanted: Wanted::of(key) };
        let wanted = json(wanted.iter().enumerate().map(at).collect::<Vec<_>>())?;
        tx.query(set!(account_id text, key text =>
            "UPDATE outbox SET lease = $2, leased_until = $3, tried_at = $4,
                    may_have_left = may_have_left OR outbox.lease IS NOT NULL
               FROM v WHERE outbox.account_id = v.account_id AND outbox.key = v.key AND outbox.state = 'pending'"
        ))
        .bind(wanted.as_str())
        .bind(&*lease.name)
        .bind(until)
        .bind(now.micros())
        .execute()
        .await
        .while_("leasing messages")?;
        let rows = tx
            .query(set!(at bigint, account_id text, key text =>
                "SELECT o.* FROM v CROSS JOIN outbox AS o
                  WHERE o.account_id = v.account_id AND o.key = v.key AND o.lease = $2 ORDER BY v.at"
            ))
            .bind(wanted.as_str())
            .bind(&*lease.name)
            .fetch_all()
            .await
            .while_("reading messages to deliver")?;
        records = read_whole(tx, &rows).await?;
    }
    let [suppressed, unwished, superseded] =
        [suppressed.len(), unwished.len(), outdated.len() + overtaken.len()].map(|count| count as u64);
    Ok(Leased { records, suppressed, unwished, superseded, more: is_more, limited: is_limited && is_more })
}
