//! What statements of months said: frozen with their messages, and looked at again when the month is closed (R14).

use super::backend::{Tx, in_write};
use super::digest::digest;
use super::ledgers::limit_of;
use super::outbox::{never_left, read_key};
use super::sql::{Row, Sql, set};
use super::{Result, Store, StoreError, While, json, outbox};
use crate::core::calendar::{Instant, Month};
use crate::core::ids::AccountId;
use crate::core::ledger::Changes;
use crate::core::outbox::{CancelledBecause, Message, NoticeKey};
use crate::core::statement::Said;
use serde::Serialize;
use std::collections::BTreeMap;

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
    /// It left, or perhaps did, or is just leaving.
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

/// Cancels what waits of versions before those of `messages`, to the same recipients; not what is in hand by `clock`.
async fn supersede(tx: &mut Tx, messages: &[Message], clock: Instant) -> Result<()> {
    let earlier: Vec<NoticeKey> = messages.iter().flat_map(|message| message.key.earlier_versions()).collect();
    if earlier.is_empty() {
        return Ok(());
    }
    const SQL: Sql = set!(account_id text, key text =>
        "UPDATE outbox SET state = 'cancelled', cancelled_because = $2
           FROM v WHERE outbox.account_id = v.account_id AND outbox.key = v.key AND outbox.state = 'pending'
            AND (outbox.leased_until IS NULL OR outbox.leased_until <= $3)");
    tx.query(SQL)
        .bind(json(earlier.iter().map(outbox::Wanted::of).collect::<Vec<_>>())?)
        .bind(CancelledBecause::Superseded.as_str())
        .bind(clock.micros())
        .execute()
        .await
        .while_("cancelling earlier versions of statements")
        .map(drop)
}

impl Store {
    /// Writes messages, with what belongs to them, except where one of the same key left, may leave or is not to; returns how many were
    /// written. Earlier versions to the same recipients that wait do not leave any more.
    ///
    /// # Errors
    /// As [`Store::write_messages`]; nothing was written then.
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
            let written = outbox::insert_or_replace(tx, messages, clock).await?;
            supersede(tx, messages, clock).await?;
            Ok(written)
        })
    }

    /// What has become of the messages of the statements that `any_of` name, each by the key of any version to anybody, whatever their
    /// versions and recipients. Left out are those whose place another may take.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn known_statements(&self, any_of: &[NoticeKey]) -> Result<Vec<(NoticeKey, Known)>> {
        // Keys are compared by their bytes, in which what follows `/` is `0`.
        const SQL: Sql = set!(account_id text, first text, behind text => concat!(
            "SELECT outbox.key, CASE WHEN outbox.state IN ('sent', 'ambiguous') OR outbox.leased_until > $3 THEN 'told'
                                     WHEN outbox.state = 'pending' THEN 'waiting' ELSE 'put aside' END
               FROM v CROSS JOIN outbox
              WHERE outbox.account_id = v.account_id AND outbox.key >= v.first AND outbox.key < v.behind AND NOT ",
            never_left!()
        ));
        let stretches: Vec<Stretch<'_>> = any_of.iter().map(Stretch::of).collect();
        let (operator, clock) = (CancelledBecause::Operator.as_str(), self.clock().await?);
        let rows = self.query(SQL).bind(json(stretches)?).bind(operator).bind(clock.micros()).fetch_all().await;
        let known = |row: &Row| match row.get::<&str>(1) {
            "told" => Known::Told,
            "waiting" => Known::Waiting,
            _ => Known::PutAside,
        };
        let rows = rows.while_("looking for statements that were written")?;
        rows.iter().map(|row| Ok((read_key(row.get(0))?, known(row)))).collect()
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
