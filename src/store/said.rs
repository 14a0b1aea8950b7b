//! What statements of months said: frozen with their messages, and looked at again when the month is closed (R14).

use super::backend::{Tx, in_write};
use super::digest::digest;
use super::ledgers::limit_of;
use super::sql::{Sql, set};
use super::{Result, Store, StoreError, While, json, outbox};
use crate::core::calendar::Month;
use crate::core::ids::AccountId;
use crate::core::ledger::Changes;
use crate::core::outbox::Message;
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

impl Store {
    /// Adds messages whose keys are new, with what belongs to them, and lets those leave that were there and never left; returns how
    /// many messages those were.
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
            let added = if messages.is_empty() { 0 } else { outbox::insert(tx, messages).await? };
            // Whoever words them leaves out those of whom something is known, so what is there already can be offered again.
            let again = if added < messages.len() as u64 { outbox::offer_again(tx, messages).await? } else { 0 };
            Ok(added + again)
        })
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
