//! What statements of months said: frozen with their messages, and looked at again when the month is closed (R14).

use super::backend::{Tx, in_write};
use super::digest::digest;
use super::ledgers::limit_of;
use super::outbox::read_key;
use super::sql::{Sql, set};
use super::{Result, Store, StoreError, While, json, outbox};
use crate::core::calendar::Month;
use crate::core::ids::AccountId;
use crate::core::ledger::Changes;
use crate::core::outbox::{CancelledBecause, Message, NoticeKey, NoticeKind};
use crate::core::statement::Said;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One version of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// 1 for the first.
    pub number: u32,
    /// What it said.
    pub said: Said,
}

/// A statement whose month was closed since it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedStatement {
    /// Whose.
    pub account: AccountId,
    /// Of which month.
    pub month: Month,
    /// The row that closed the month.
    pub closed_by: i64,
}

/// What belongs to messages about statements, and is written with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statements {
    /// New versions; those that are there already stay as they are.
    pub versions: Vec<(AccountId, Month, Version)>,
    /// Those that were compared with the figures of the closed month.
    pub compared: Vec<ClosedStatement>,
    /// Earlier versions that waited when these were worded, and do not leave any more.
    pub superseded: Vec<NoticeKey>,
}

#[derive(Serialize)]
struct NewVersion<'a> {
    account_id: &'a AccountId,
    month: String,
    version: i64,
    figures: String,
    digest: i64,
}

impl<'a> NewVersion<'a> {
    fn of((account_id, month, version): &'a (AccountId, Month, Version)) -> Result<NewVersion<'a>> {
        let (figures, number) = (json(version.said)?, i64::from(version.number));
        let digest = digest!(account_id, *month, number, figures);
        Ok(NewVersion { account_id, month: month.to_string(), version: number, figures, digest })
    }
}

#[derive(Serialize)]
struct Asked<'a> {
    account_id: &'a AccountId,
    month: String,
}

#[derive(Serialize)]
struct Compared<'a> {
    account_id: &'a AccountId,
    month: String,
    closed_by: i64,
}

#[derive(Serialize)]
struct Closed<'a> {
    account_id: &'a AccountId,
    /// Before every month where there is none.
    after: String,
    through: String,
    seq: i64,
}

impl<'a> Closed<'a> {
    fn of(account_id: &'a AccountId, changes: &'a Changes) -> impl Iterator<Item = Closed<'a>> {
        changes.months_closed.iter().map(move |closed| Closed {
            account_id,
            after: closed.after.map_or_else(String::new, |month| month.to_string()),
            through: closed.through.to_string(),
            seq: closed.seq,
        })
    }
}

/// Notes on the statements of months that are closed by which row: they are to be compared.
pub(super) async fn mark_closed<'a>(
    tx: &mut Tx,
    changes: impl Iterator<Item = &'a (AccountId, Changes)>,
) -> Result<()> {
    let closed: Vec<Closed<'_>> = changes.flat_map(|(id, changes)| Closed::of(id, changes)).collect();
    if closed.is_empty() {
        return Ok(());
    }
    const SQL: Sql = set!(account_id text, after text, through text, seq bigint =>
        "UPDATE statements SET closed_by = v.seq FROM v
          WHERE statements.account_id = v.account_id AND statements.month > v.after AND statements.month <= v.through");
    tx.query(SQL).bind(json(closed)?).execute().await.while_("noting whose statements are to be compared").map(drop)
}

/// What has become of a statement that was written before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It left, or perhaps did: somebody had it in hand of whom nothing was heard yet.
    Told,
    /// It is to leave, unless a later version takes its place.
    Waiting,
    /// It does not leave, and nothing is to be said instead: an operator cancelled it, or its address is suppressed.
    PutAside,
}

/// The keys of the statements of an account and a period.
#[derive(Serialize)]
struct Stretch<'a> {
    account_id: &'a str,
    first: String,
    behind: String,
}

impl Stretch<'_> {
    fn of(key: &NoticeKey) -> Stretch<'_> {
        let of_all = format!("{}/{}/{}", key.kind(), key.account_text(), key.about());
        Stretch { account_id: key.account_text(), first: format!("{of_all}/"), behind: format!("{of_all}0") }
    }
}

/// Cancels what waits of `earlier` versions. What was leased since they were looked at may be leaving: then nothing is to be written.
async fn supersede(tx: &mut Tx, earlier: &[NoticeKey]) -> Result<()> {
    if earlier.is_empty() {
        return Ok(());
    }
    const SQL: Sql = set!(account_id text, key text =>
        "UPDATE outbox SET state = 'cancelled', cancelled_because = $2
           FROM v WHERE outbox.account_id = v.account_id AND outbox.key = v.key AND outbox.state = 'pending'
            AND outbox.lease IS NULL");
    let done = tx
        .query(SQL)
        .bind(json(earlier.iter().map(outbox::Wanted::of).collect::<Vec<_>>())?)
        .bind(CancelledBecause::Superseded.as_str())
        .execute()
        .await
        .while_("cancelling earlier versions of statements")?;
    if done.rows_affected() < earlier.len() as u64 { Err(StoreError::Leaving) } else { Ok(()) }
}

/// Those of `keys` that are statements of which a later version was written to the same recipient: in hand of somebody then, they were not
/// cancelled with it.
pub(super) async fn outdated(tx: &mut Tx, keys: &[NoticeKey]) -> Result<Vec<NoticeKey>> {
    let statements = keys.iter().filter(|key| key.kind() == NoticeKind::MonthlyStatement);
    let asked: Vec<Told<'_>> = statements.map(Told::of).collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    const LATEST: Sql = set!(account_id text, month text, version bigint, key text =>
        "SELECT v.key, max(s.version) FROM v CROSS JOIN statements AS s
          WHERE s.account_id = v.account_id AND s.month = v.month AND s.version > v.version GROUP BY v.key ORDER BY v.key");
    let rows = tx.query(LATEST).bind(json(asked)?).fetch_all().await;
    let mut later: BTreeMap<NoticeKey, NoticeKey> = BTreeMap::new();
    for row in &rows.while_("looking for later versions of statements")? {
        let (key, latest) = (read_key(row.get(0))?, u32::try_from(row.get::<i64>(1)).unwrap_or(u32::MAX));
        later.extend(key.later_versions(latest).map(|one| (one, key.clone())));
    }
    if later.is_empty() {
        return Ok(Vec::new());
    }
    const WRITTEN: Sql = set!(account_id text, key text =>
        "SELECT o.key FROM v CROSS JOIN outbox AS o
          WHERE o.account_id = v.account_id AND o.key = v.key AND o.state IN ('pending', 'sent', 'ambiguous')");
    let rows =
        tx.query(WRITTEN).bind(json(later.keys().map(outbox::Wanted::of).collect::<Vec<_>>())?).fetch_all().await;
    let mut outdated = BTreeSet::new();
    for row in &rows.while_("looking for later versions of messages")? {
        outdated.extend(later.get(&read_key(row.get(0))?).cloned());
    }
    Ok(outdated.into_iter().collect())
}

/// Those of `keys` that are statements of which an earlier version is in hand of somebody: they are not to overtake it.
pub(super) async fn overtaking(tx: &mut Tx, keys: &[NoticeKey]) -> Result<Vec<NoticeKey>> {
    let statements = keys.iter().filter(|key| key.kind() == NoticeKind::MonthlyStatement);
    let earlier = statements.flat_map(|key| key.earlier_versions().map(|one| (one, key.clone())));
    let earlier: BTreeMap<NoticeKey, NoticeKey> = earlier.collect();
    if earlier.is_empty() {
        return Ok(Vec::new());
    }
    const SQL: Sql = set!(account_id text, key text =>
        "SELECT o.key FROM v CROSS JOIN outbox AS o
          WHERE o.account_id = v.account_id AND o.key = v.key AND o.state = 'pending' AND o.lease IS NOT NULL");
    let wanted = json(earlier.keys().map(outbox::Wanted::of).collect::<Vec<_>>())?;
    let rows = tx.query(SQL).bind(wanted).fetch_all().await.while_("looking for earlier versions in hand")?;
    let mut overtaking = BTreeSet::new();
    for row in &rows {
        overtaking.extend(earlier.get(&read_key(row.get(0))?).cloned());
    }
    Ok(overtaking.into_iter().collect())
}

/// A statement that was written to somebody.
#[derive(Serialize)]
struct Told<'a> {
    account_id: &'a str,
    month: &'a str,
    version: u32,
    key: String,
}

impl Told<'_> {
    fn of(key: &NoticeKey) -> Told<'_> {
        Told { account_id: key.account_text(), month: key.about(), version: key.version(), key: key.to_string() }
    }
}

impl Store {
    /// Writes messages, with what belongs to them, except where one of the same key left, may leave or is not to; returns how many were
    /// written.
    ///
    /// # Errors
    /// As [`Store::write_messages`], and [`StoreError::Leaving`] where one of those that they supersede may be leaving by now; nothing was
    /// written then.
    pub async fn write_statements(&self, messages: &[Message], statements: &Statements) -> Result<u64> {
        let new: Vec<NewVersion<'_>> = statements.versions.iter().map(NewVersion::of).collect::<Result<_>>()?;
        let compared: Vec<Compared<'_>> = statements
            .compared
            .iter()
            .map(|ClosedStatement { account, month, closed_by }| Compared {
                account_id: account,
                month: month.to_string(),
                closed_by: *closed_by,
            })
            .collect();
        let clock = self.clock().await?;
        in_write!(self, "committing statements", |tx| {
            supersede(tx, &statements.superseded).await?;
            if !new.is_empty() {
                const SQL: Sql = set!(account_id text, month text, version bigint, figures text, digest bigint =>
                    "INSERT INTO statements (account_id, month, version, figures, digest)
                     SELECT account_id, month, version, figures, digest FROM v WHERE true
                     ON CONFLICT (account_id, month, version) DO NOTHING");
                tx.query(SQL).bind(json(&new)?).execute().await.while_("writing what statements said")?;
            }
            if !compared.is_empty() {
                // Should the month have been opened and closed again meanwhile, they are compared once more.
                const SQL: Sql = set!(account_id text, month text, closed_by bigint =>
                    "UPDATE statements SET closed_by = NULL FROM v
                      WHERE statements.account_id = v.account_id AND statements.month = v.month
                        AND statements.closed_by = v.closed_by");
                tx.query(SQL).bind(json(&compared)?).execute().await.while_("noting which statements were compared")?;
            }
            if messages.is_empty() {
                return Ok(0);
            }
            outbox::insert_or_replace(tx, messages, clock).await
        })
    }

    /// What has become of the messages of the statements that `any_of` name, each by the key of any version to anybody, whatever their
    /// versions and recipients. Left out are those whose place another may take.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn known_statements(&self, any_of: &[NoticeKey]) -> Result<Vec<(NoticeKey, Known)>> {
        // Keys are compared by their bytes, in which what follows `/` is `0`. Of addresses, the list is read once.
        const SQL: Sql = set!(account_id text, first text, behind text =>
            "SELECT o.key, CASE WHEN o.state IN ('sent', 'ambiguous') OR o.lease IS NOT NULL THEN 'told'
                                WHEN o.state = 'pending' THEN 'waiting'
                                WHEN o.state = 'cancelled' AND coalesce(o.cancelled_because, $2) = $2 THEN 'put aside'
                                ELSE 'never left' END,
                    lower(o.recipient) IN (SELECT lower(address) FROM suppressions)
               FROM v CROSS JOIN outbox AS o
              WHERE o.account_id = v.account_id AND o.key >= v.first AND o.key < v.behind");
        let stretches: Vec<Stretch<'_>> = any_of.iter().map(Stretch::of).collect();
        let rows = self.query(SQL).bind(json(stretches)?).bind(CancelledBecause::Operator.as_str()).fetch_all().await;
        let mut all = Vec::new();
        for row in &rows.while_("looking for statements that were written")? {
            let known = match (row.get::<&str>(1), row.get::<bool>(2)) {
                ("told", _) => Known::Told,
                ("waiting", _) => Known::Waiting,
                ("never left", false) => continue,
                _ => Known::PutAside,
            };
            all.push((read_key(row.get(0))?, known));
        }
        Ok(all)
    }

    /// The versions of the statements of `month`, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn statement_versions(
        &self,
        accounts: &[AccountId],
        month: Month,
    ) -> Result<BTreeMap<AccountId, Vec<Version>>> {
        let month = month.to_string();
        let asked: Vec<Asked<'_>> =
            accounts.iter().map(|account_id| Asked { account_id, month: month.clone() }).collect();
        let rows = self
            .query(set!(account_id text, month text =>
                "SELECT s.account_id, s.version, s.figures FROM v CROSS JOIN statements AS s
                  WHERE s.account_id = v.account_id AND s.month = v.month ORDER BY s.account_id, s.version"
            ))
            .bind(json(asked)?)
            .fetch_all()
            .await
            .while_("reading what statements said")?;
        let mut versions: BTreeMap<AccountId, Vec<Version>> = BTreeMap::new();
        for row in &rows {
            let (account, number, figures): (&str, i64, &str) = (row.get(0), row.get(1), row.get(2));
            let bad = || StoreError::Corrupt(format!("statement of {account} for {month}, version {number}"));
            let said = serde_json::from_str(figures).map_err(|_| bad())?;
            let number = u32::try_from(number).map_err(|_| bad())?;
            versions.entry(AccountId::new(account)?).or_default().push(Version { number, said });
        }
        Ok(versions)
    }

    /// Up to `limit` statements whose months were closed since they were written, and are, in order of account and month behind
    /// `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn closed_statements(
        &self,
        after: Option<&ClosedStatement>,
        limit: usize,
    ) -> Result<Vec<ClosedStatement>> {
        let rows = self
            .query(
                "SELECT s.account_id, s.month, max(s.closed_by) FROM statements AS s
                  WHERE s.closed_by IS NOT NULL AND (s.account_id, s.month) > ($1, $2)
                    AND EXISTS (SELECT 1 FROM accounts AS a WHERE a.account_id = s.account_id AND a.closed_through >= s.month)
                  GROUP BY s.account_id, s.month ORDER BY s.account_id, s.month LIMIT $3",
            )
            .bind(after.map_or("", |after| after.account.as_str()))
            .bind(after.map_or_else(String::new, |after| after.month.to_string()))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("looking for statements to compare")?;
        let read = |row: &super::sql::Row| {
            let (account, month): (&str, &str) = (row.get(0), row.get(1));
            Ok(ClosedStatement { account: AccountId::new(account)?, month: month.parse()?, closed_by: row.get(2) })
        };
        rows.iter().map(read).collect()
    }
}
