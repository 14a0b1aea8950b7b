//! In which order messages leave: no version of a statement behind a later one, and what somebody is told of the levels of an account as it
//! came about.
//!
//! Of the alerts of an account to one recipient, all that wait are leased together, and delivered one after the other: before the newest that
//! is due, each older one that had no try since then, the oldest first. Then the newest is tried, whatever came of them: so an old alert never
//! keeps a new one back for longer than its try takes. While any is in hand, none is leased. What could not be delivered before a
//! later one was does not leave any more: the later one said how things stand.

use super::backend::Tx;
use super::outbox::{Wanted, levels, read_key};
use super::runs::clock;
use super::said::{Written, last_versions};
use super::sql::{Sql, set};
use super::{Result, While, json};
use crate::core::calendar::Instant;
use crate::core::outbox::{Message, NoticeKey, NoticeKind};
use std::collections::BTreeMap;

/// Which messages are not to be delivered now, for the order of theirs.
#[derive(Default)]
pub(super) struct OutOfOrder {
    /// Statements of which a later version was written to the same recipient, whatever became of it, when these were in hand of somebody
    /// and so not cancelled.
    pub outdated: Vec<NoticeKey>,
    /// Statements of which an earlier version to the same recipient is in hand of somebody, or was when nobody heard of that any more.
    pub too_early: Vec<NoticeKey>,
}

impl OutOfOrder {
    pub async fn of(tx: &mut Tx, keys: &[NoticeKey]) -> Result<OutOfOrder> {
        let several = last_versions(tx, keys).await?;
        let month = |key: &NoticeKey| (key.account_text().to_owned(), key.about().to_owned());
        let statements = keys.iter().filter(|key| key.kind() == NoticeKind::MonthlyStatement);
        let of_months: BTreeMap<_, &NoticeKey> =
            statements.map(|key| (month(key), key)).filter(|(month, _)| several.contains_key(month)).collect();
        if of_months.is_empty() {
            return Ok(OutOfOrder::default());
        }
        let written = Written::read(tx, of_months.into_values()).await?;
        let clock = clock(tx).await?;
        let mut found = OutOfOrder::default();
        for key in keys {
            let (later, earlier): (Vec<&Written>, Vec<&Written>) = written
                .iter()
                .filter(|one| one.key.is_version_of(key) && one.key.version() != key.version())
                .partition(|one| one.key.version() > key.version());
            if !later.is_empty() {
                found.outdated.push(key.clone());
            } else if earlier.into_iter().any(|one| one.is_in_hand(clock)) {
                found.too_early.push(key.clone());
            }
        }
        Ok(found)
    }
}

/// A statement on messages that are asked for and others of the levels of their accounts. On SQLite it names the index of these: its planner
/// takes the key for better, by which it reads all messages of an account.
macro_rules! among_levels {
    ($before:literal, $behind:expr) => {
        Sql {
            sqlite: set!(account_id text, key text => concat!($before, " INDEXED BY outbox_levels ", $behind)).sqlite,
            postgres: set!(account_id text, key text => concat!($before, " ", $behind)).postgres,
        }
    };
}

/// Those of `due` whose turn it is, each of which was written at some time, in the order in which they are to be delivered. Of the alerts of an
/// account to one recipient, these are, where the first of them stands, those that wait and had no try since the newest is due, and the
/// newest; the others are for the next time.
pub(super) async fn in_turn(tx: &mut Tx, due: &[(NoticeKey, Instant)]) -> Result<Vec<NoticeKey>> {
    let group = |key: &NoticeKey| (key.account_text().to_owned(), key.recipient().to_string());
    let mut newest: BTreeMap<(String, String), (Instant, &NoticeKey)> = BTreeMap::new();
    for (key, written_at) in due.iter().filter(|(key, _)| key.kind().is_of_levels()) {
        let last = newest.entry(group(key)).or_insert((*written_at, key));
        *last = (*last).max((*written_at, key));
    }
    let last: Vec<NoticeKey> = newest.values().map(|(_, key)| (*key).clone()).collect();
    let mut before = before(tx, &last).await?;
    let mut in_turn = Vec::with_capacity(due.len());
    for (key, _) in due {
        if !key.kind().is_of_levels() {
            in_turn.push(key.clone());
        } else if let Some((_, last)) = newest.remove(&group(key)) {
            in_turn.extend(before.remove(last).unwrap_or_default());
            in_turn.push(last.clone());
        }
    }
    Ok(in_turn)
}

/// For those of `keys` that are alerts: the older ones that wait and had no try since it is due, or one by somebody who was not heard of any
/// more; the oldest first.
async fn before(tx: &mut Tx, keys: &[NoticeKey]) -> Result<BTreeMap<NoticeKey, Vec<NoticeKey>>> {
    const SQL: Sql = among_levels!(
        "SELECT o.key, e.key FROM v CROSS JOIN outbox AS o CROSS JOIN outbox AS e",
        concat!(
            "WHERE o.account_id = v.account_id AND o.key = v.key
               AND e.account_id = o.account_id AND e.recipient = o.recipient AND e.state = 'pending' AND e.kind IN ",
            levels!(),
            " AND (e.created_at, e.key) < (o.created_at, o.key) AND (e.lease IS NOT NULL OR coalesce(e.tried_at, 0) < o.due_at)
              ORDER BY e.created_at, e.key"
        )
    );
    let mut before: BTreeMap<NoticeKey, Vec<NoticeKey>> = BTreeMap::new();
    let Some(wanted) = wanted(keys)? else { return Ok(before) };
    let rows = tx.query(SQL).bind(wanted).fetch_all().await.while_("looking for alerts that come first")?;
    for row in &rows {
        before.entry(read_key(row.get(0))?).or_default().push(read_key(row.get(1))?);
    }
    Ok(before)
}

/// Those of `keys` that are alerts, where a later one of the account was delivered to the same recipient.
pub(super) async fn overtaken(tx: &mut Tx, keys: &[NoticeKey]) -> Result<Vec<NoticeKey>> {
    // Postgres makes no join of this, in which it would read all that was ever sent.
    const SQL: Sql = among_levels!(
        "SELECT o.key FROM v CROSS JOIN outbox AS o WHERE o.account_id = v.account_id AND o.key = v.key
            AND o.created_at < (SELECT max(l.created_at) FROM outbox AS l",
        concat!(
            "WHERE l.account_id = o.account_id AND l.recipient = o.recipient AND l.state = 'sent' AND l.kind IN ",
            levels!(),
            ")"
        )
    );
    let Some(wanted) = wanted(keys)? else { return Ok(Vec::new()) };
    let rows = tx.query(SQL).bind(wanted).fetch_all().await.while_("looking for alerts that were overtaken")?;
    rows.iter().map(|row| read_key(row.get(0))).collect()
}

/// `notices`, each alert behind all that were written of the levels of its account, whatever the clock of who writes says: the account is
/// locked, so in the order of these times is what came about later.
pub(super) async fn behind_others(tx: &mut Tx, notices: &[Message]) -> Result<Vec<Message>> {
    const SQL: Sql = among_levels!(
        "SELECT v.account_id, max(o.created_at) FROM v CROSS JOIN outbox AS o",
        concat!("WHERE o.account_id = v.account_id AND o.kind IN ", levels!(), " GROUP BY v.account_id")
    );
    let mut notices = notices.to_vec();
    let keys: Vec<NoticeKey> = notices.iter().map(|notice| notice.key.clone()).collect();
    let Some(wanted) = wanted(&keys)? else { return Ok(notices) };
    let rows = tx.query(SQL).bind(wanted).fetch_all().await.while_("looking for alerts that were written before")?;
    let last: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for notice in notices.iter_mut().filter(|notice| notice.key.kind().is_of_levels()) {
        if let Some(last) = last.get(notice.key.account_text()) {
            notice.created_at = notice.created_at.max(Instant::from_micros(last.saturating_add(1)));
        }
    }
    Ok(notices)
}

/// Those of `keys` that are alerts, where there are any.
fn wanted(keys: &[NoticeKey]) -> Result<Option<String>> {
    let alerts: Vec<Wanted<'_>> = keys.iter().filter(|key| key.kind().is_of_levels()).map(Wanted::of).collect();
    (!alerts.is_empty()).then(|| json(alerts)).transpose()
}
