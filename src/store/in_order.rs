//! In which order messages leave: no version of a statement behind a later one, and what somebody is told of the levels of an account as it
//! came about.
//!
//! Of the alerts of an account to one recipient, the oldest that is due is delivered alone; the next one's turn is when it is known what
//! became of that. One that failed and waits for its next try is tried once more before the next alert is, which then leaves whatever
//! came of it: an old alert never keeps a new one back for long. What could not be delivered before a later one was does not leave any
//! more: the later one said how things stand.

use super::backend::Tx;
use super::outbox::{Wanted, read_key};
use super::runs::clock;
use super::said::{Written, last_versions};
use super::sql::{Sql, set};
use super::{Result, While, json};
use crate::core::outbox::{NoticeKey, NoticeKind, OutboxState};
use std::collections::BTreeMap;

/// Which messages are not to be delivered now, for the order of theirs.
#[derive(Default)]
pub(super) struct OutOfOrder {
    /// Statements of which a later version was written to the same recipient, whatever became of it, when these were in hand of somebody
    /// and so not cancelled.
    pub outdated: Vec<NoticeKey>,
    /// Statements of which an earlier version to the same recipient is in hand of somebody, or was when nobody heard of that any more.
    pub overtaking: Vec<NoticeKey>,
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
                found.overtaking.push(key.clone());
            }
        }
        Ok(found)
    }
}

const fn is_of_levels(key: &NoticeKey) -> bool {
    matches!(key.kind(), NoticeKind::LowCredit | NoticeKind::Resolved)
}

/// For those of `keys` that are alerts: the oldest one before it that waits for its next try, and was not tried since it is due itself.
pub(super) async fn to_try_first(tx: &mut Tx, keys: &[NoticeKey]) -> Result<BTreeMap<NoticeKey, NoticeKey>> {
    const SQL: Sql = set!(account_id text, key text =>
        "SELECT f.key, f.earlier
           FROM (SELECT o.key, (SELECT e.key FROM outbox AS e
                   WHERE e.account_id = o.account_id AND e.recipient = o.recipient AND e.state = 'pending'
                     AND e.kind IN ('low-credit', 'resolved') AND (e.created_at, e.key) < (o.created_at, o.key)
                     AND coalesce(e.tried_at, 0) < o.due_at ORDER BY e.created_at, e.key LIMIT 1) AS earlier
                   FROM v CROSS JOIN outbox AS o WHERE o.account_id = v.account_id AND o.key = v.key) AS f
          WHERE f.earlier IS NOT NULL");
    let Some(wanted) = wanted(keys)? else { return Ok(BTreeMap::new()) };
    let rows = tx.query(SQL).bind(wanted).fetch_all().await.while_("looking for alerts that come first")?;
    rows.iter().map(|row| Ok((read_key(row.get(0))?, read_key(row.get(1))?))).collect()
}

/// Those of `keys` that are alerts, where a later one of the account was delivered to the same recipient.
pub(super) async fn overtaken(tx: &mut Tx, keys: &[NoticeKey]) -> Result<Vec<NoticeKey>> {
    const SQL: Sql = set!(account_id text, key text =>
        "SELECT o.key FROM v CROSS JOIN outbox AS o
          WHERE o.account_id = v.account_id AND o.key = v.key
            AND EXISTS (SELECT 1 FROM outbox AS l
                         WHERE l.account_id = o.account_id AND l.recipient = o.recipient AND l.state = $2
                           AND l.kind IN ('low-credit', 'resolved') AND (l.created_at, l.key) > (o.created_at, o.key))");
    let Some(wanted) = wanted(keys)? else { return Ok(Vec::new()) };
    let rows = tx.query(SQL).bind(wanted).bind(OutboxState::Sent.as_str()).fetch_all().await;
    rows.while_("looking for alerts that were overtaken")?.iter().map(|row| read_key(row.get(0))).collect()
}

/// Whether any alert waits until it is known what becomes of those of `keys` that are in hand.
pub(super) async fn do_others_wait(tx: &mut Tx, keys: &[NoticeKey]) -> Result<bool> {
    const SQL: Sql = set!(account_id text, key text =>
        "SELECT 1 FROM v CROSS JOIN outbox AS o
          WHERE o.account_id = v.account_id AND o.key = v.key
            AND EXISTS (SELECT 1 FROM outbox AS e
                         WHERE e.account_id = o.account_id AND e.recipient = o.recipient AND e.state = 'pending'
                           AND e.kind IN ('low-credit', 'resolved') AND e.key <> o.key) LIMIT 1");
    let Some(wanted) = wanted(keys)? else { return Ok(false) };
    let rows = tx.query(SQL).bind(wanted).fetch_all().await.while_("looking for alerts that wait for others")?;
    Ok(!rows.is_empty())
}

/// Those of `keys` that are alerts, where there are any.
fn wanted(keys: &[NoticeKey]) -> Result<Option<String>> {
    let alerts: Vec<Wanted<'_>> = keys.iter().filter(|key| is_of_levels(key)).map(Wanted::of).collect();
    (!alerts.is_empty()).then(|| json(alerts)).transpose()
}
