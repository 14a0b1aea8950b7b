//! What statements of months said: frozen with their messages, and looked at again when the month is closed (R14).

use super::backend::{Tx, in_write};
use super::digest::digest;
use super::ledgers::limit_of;
use super::outbox::{read_key, read_state};
use super::runs::clock;
use super::sql::{Row, Sql, set};
use super::{Result, Store, StoreError, While, accounts, json, outbox};
use crate::core::calendar::{Instant, Month};
use crate::core::ids::AccountId;
use crate::core::ledger::Changes;
use crate::core::outbox::{CancelledBecause, Message, NoticeKey, NoticeKind, OutboxState};
use crate::core::statement::Said;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// By so much the clocks of those who write may differ at most.
const CLOCKS_APART_SECONDS: i64 = 300;

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
    /// The row that closed the month; below zero where it was closed by then, perhaps after the figures were read.
    pub closed_by: i64,
}

/// What belongs to messages about statements, and is written with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statements {
    /// New versions.
    pub versions: Vec<(AccountId, Month, Version)>,
    /// Those that were compared with the figures of the closed month.
    pub compared: Vec<ClosedStatement>,
    /// Earlier versions that waited when these were worded, and do not leave any more.
    pub superseded: Vec<NoticeKey>,
    /// When the figures of the messages began to be read: where a month was closed since, they are to be compared, too. None where they
    /// are those of closed months.
    pub read_at: Option<Instant>,
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
    account_id: &'a str,
    month: &'a str,
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

/// Notes on the statements of months that they are to be compared where, perhaps, the month was closed after their figures were read.
async fn mark_closed_since(tx: &mut Tx, messages: &[Message], read_at: Instant) -> Result<()> {
    let statements =
        messages.iter().map(|message| &message.key).filter(|key| key.kind() == NoticeKind::MonthlyStatement);
    let months: BTreeSet<(&str, &str)> = statements.map(|key| (key.account_text(), key.about())).collect();
    if months.is_empty() {
        return Ok(());
    }
    // Whoever closes a month has its account locked, and sees what is written here only behind that. The note is none that whoever
    // closes makes, so who compares them at this moment takes only his own away.
    let accounts: BTreeSet<&str> = months.iter().map(|(account, _)| *account).collect();
    accounts::lock(tx, &json(accounts)?).await?;
    const SQL: Sql = set!(account_id text, month text =>
        "UPDATE statements SET closed_by = (SELECT -a.last_seq FROM accounts AS a WHERE a.account_id = statements.account_id)
           FROM v WHERE statements.account_id = v.account_id AND statements.month = v.month
            AND EXISTS (SELECT 1 FROM accounts AS a WHERE a.account_id = v.account_id AND a.closed_through >= v.month
                           AND a.last_recorded_at >= $2)");
    let asked: Vec<Asked<'_>> = months.into_iter().map(|(account_id, month)| Asked { account_id, month }).collect();
    tx.query(SQL)
        .bind(json(asked)?)
        .bind(read_at.plus_seconds(-CLOCKS_APART_SECONDS).micros())
        .execute()
        .await
        .while_("noting which statements are to be compared")
        .map(drop)
}

/// What has become of a statement that was written before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It left, or perhaps did.
    Told,
    /// Somebody has it in hand: whether it leaves shows in a moment.
    InHand,
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
    /// Keys are compared by their bytes, in which what follows `/` is `0`.
    fn of(key: &NoticeKey) -> Stretch<'_> {
        let of_all = format!("{}/{}/{}", key.kind(), key.account_text(), key.about());
        Stretch { account_id: key.account_text(), first: format!("{of_all}/"), behind: format!("{of_all}0") }
    }
}

/// A statement as it stands in the outbox.
pub(super) struct Written {
    pub key: NoticeKey,
    state: OutboxState,
    because: Option<CancelledBecause>,
    leased_until: Option<Instant>,
    may_have_left: bool,
    is_suppressed: bool,
}

impl Written {
    /// The statements that `any_of` name, each by the key of any version to anybody, whatever their versions and recipients.
    pub async fn read(tx: &mut Tx, any_of: impl Iterator<Item = &NoticeKey>) -> Result<Vec<Written>> {
        // Of addresses, the list is read once.
        const SQL: Sql = set!(account_id text, first text, behind text =>
            "SELECT o.key, o.state, o.cancelled_because, o.leased_until, o.may_have_left,
                    lower(o.recipient) IN (SELECT lower(address) FROM suppressions)
               FROM v CROSS JOIN outbox AS o
              WHERE o.account_id = v.account_id AND o.key >= v.first AND o.key < v.behind");
        let stretches: Vec<Stretch<'_>> = any_of.map(Stretch::of).collect();
        let rows = tx.query(SQL).bind(json(stretches)?).fetch_all().await;
        rows.while_("looking for statements that were written")?.iter().map(Written::of).collect()
    }

    fn of(row: &Row) -> Result<Written> {
        Ok(Written {
            key: read_key(row.get(0))?,
            state: read_state(row.get(1))?,
            because: row.get::<Option<&str>>(2).map(outbox::read_because).transpose()?,
            leased_until: row.get::<Option<i64>>(3).map(Instant::from_micros),
            may_have_left: row.get(4),
            is_suppressed: row.get(5),
        })
    }

    /// Whether it left or is to, as far as anybody knows.
    pub fn leaves(&self) -> bool {
        self.may_have_left
            || self.leased_until.is_some()
            || matches!(self.state, OutboxState::Sent | OutboxState::Pending)
    }

    /// Whether somebody has it in hand by the database's `clock`, or had when nobody heard of that any more. One that is called off while it
    /// is in hand may leave as well, but nobody takes it up when it is not heard of any more.
    pub fn is_in_hand(&self, clock: Instant) -> bool {
        self.leased_until.is_some_and(|until| self.state == OutboxState::Pending || until > clock)
    }

    /// What is known of it by the database's `clock`; `None` where another may take its place.
    fn known(&self, clock: Instant) -> Option<Known> {
        if self.state == OutboxState::Sent || self.may_have_left {
            return Some(Known::Told);
        }
        match (self.state, self.leased_until) {
            (_, Some(until)) => Some(if until > clock { Known::InHand } else { Known::Told }),
            (OutboxState::Pending, None) => Some(Known::Waiting),
            (OutboxState::Cancelled, _) if self.because.is_none_or(|because| because == CancelledBecause::Operator) => {
                Some(Known::PutAside)
            }
            _ => Some(Known::PutAside).filter(|_| self.is_suppressed),
        }
    }
}

/// The numbers of the last versions of those of `keys` that are statements of months, where there are several versions.
pub(super) async fn last_versions(tx: &mut Tx, keys: &[NoticeKey]) -> Result<BTreeMap<(String, String), u32>> {
    let statements = keys.iter().filter(|key| key.kind() == NoticeKind::MonthlyStatement);
    let asked: Vec<Asked<'_>> =
        statements.map(|key| Asked { account_id: key.account_text(), month: key.about() }).collect();
    if asked.is_empty() {
        return Ok(BTreeMap::new());
    }
    const SQL: Sql = set!(account_id text, month text =>
        "SELECT s.account_id, s.month, max(s.version) FROM v CROSS JOIN statements AS s
          WHERE s.account_id = v.account_id AND s.month = v.month AND s.version > 1 GROUP BY s.account_id, s.month");
    let rows = tx.query(SQL).bind(json(asked)?).fetch_all().await.while_("looking for later versions of statements")?;
    let last = |row: &Row| ((row.get(0), row.get(1)), u32::try_from(row.get::<i64>(2)).unwrap_or(u32::MAX));
    Ok(rows.iter().map(last).collect())
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
    if done.rows_affected() < earlier.len() as u64 { Err(StoreError::Overtaken) } else { Ok(()) }
}

impl Store {
    /// Writes messages, with what belongs to them, except where one of the same key left, may leave or is not to; returns how many were
    /// written.
    ///
    /// # Errors
    /// As [`Store::write_messages`], and [`StoreError::Overtaken`] where one of those that they supersede may be leaving by now, or a
    /// version is there already; nothing was written then.
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
        in_write!(self, "committing statements", |tx| {
            supersede(tx, &statements.superseded).await?;
            if !new.is_empty() {
                const SQL: Sql = set!(account_id text, month text, version bigint, figures text, digest bigint =>
                    "INSERT INTO statements (account_id, month, version, figures, digest)
                     SELECT account_id, month, version, figures, digest FROM v WHERE true
                     ON CONFLICT (account_id, month, version) DO NOTHING");
                let added = tx.query(SQL).bind(json(&new)?).execute().await.while_("writing what statements said")?;
                if added.rows_affected() < new.len() as u64 {
                    return Err(StoreError::Overtaken);
                }
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
            let written = outbox::insert_or_replace(tx, messages).await?;
            if let Some(read_at) = statements.read_at {
                mark_closed_since(tx, messages, read_at).await?;
            }
            Ok(written)
        })
    }

    /// What has become of the messages of the statements that `any_of` name, each by the key of any version to anybody, whatever their
    /// versions and recipients. Left out are those whose place another may take.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn known_statements(&self, any_of: &[NoticeKey]) -> Result<Vec<(NoticeKey, Known)>> {
        let mut tx = self.read().await?;
        let clock = clock(&mut tx).await?;
        let written = Written::read(&mut tx, any_of.iter()).await?;
        let known = |one: Written| one.known(clock).map(|known| (one.key, known));
        Ok(written.into_iter().filter_map(known).collect())
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
            accounts.iter().map(|account| Asked { account_id: account.as_str(), month: &month }).collect();
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
