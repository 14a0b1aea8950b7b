//! What operators look for on the platform's page. Every statement enters an index and ends after as many rows as were asked
//! for, so that it takes as long with a million accounts as with ten.

use super::alerts::{AlertRecord, read_alert};
use super::ledgers::limit_of;
use super::outbox::{OutboxRecord, read_record};
use super::runs::{RunRecord, columns as run_columns, read_run};
use super::sql::Sql;
use super::{Result, Store, While};
use crate::core::calendar::Instant;
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, Email};
use crate::core::outbox::{NoticeKey, NoticeKind, OutboxState};
use crate::core::schedule::Job;

/// An account in a list of operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundAccount {
    /// Which.
    pub account: AccountId,
    /// Its name.
    pub name: String,
    /// What its rows sum to, as the last of them left it: a reset that is due is not in it yet.
    pub balance: Credits,
}

/// Behind every text that begins with what stands before it.
const LAST: char = '\u{10ffff}';

impl Store {
    /// Up to `limit` accounts behind `after` whose ids begin with `start`, in order of id.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn accounts_by_id(&self, start: &str, after: &str, limit: usize) -> Result<Vec<FoundAccount>> {
        let sql = "SELECT account_id, name, balance_free + balance_purchased FROM accounts
                    WHERE account_id >= $1 AND account_id < $2 AND account_id > $3 ORDER BY account_id LIMIT $4";
        let asked = self.query(sql).bind(start.to_owned()).bind(format!("{start}{LAST}")).bind(after.to_owned());
        let rows = asked.bind(limit_of(limit)).fetch_all().await.while_("looking for accounts by id")?;
        rows.iter().map(read_found).collect()
    }

    /// Up to `limit` accounts whose names begin with `start`, whatever the case of its ASCII letters, in order of name. Of other
    /// letters, databases differ.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn accounts_by_name(&self, start: &str, limit: usize) -> Result<Vec<FoundAccount>> {
        const BY_NAME: Sql = Sql {
            sqlite: "SELECT account_id, name, balance_free + balance_purchased FROM accounts
                      WHERE lower(name) >= lower($1) AND lower(name) < lower($1) || $2
                      ORDER BY lower(name), account_id LIMIT $3",
            postgres: "SELECT account_id, name, balance_free + balance_purchased FROM accounts
                        WHERE lower(name) COLLATE \"C\" >= lower($1) AND lower(name) COLLATE \"C\" < lower($1) || $2
                        ORDER BY lower(name) COLLATE \"C\", account_id LIMIT $3",
        };
        let asked = self.query(BY_NAME).bind(start.to_owned()).bind(LAST.to_string()).bind(limit_of(limit));
        let rows = asked.fetch_all().await.while_("looking for accounts by name")?;
        rows.iter().map(read_found).collect()
    }

    /// Up to `limit` accounts of which `email` is an admin, whatever the case of its ASCII letters, in order of id.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn accounts_of_admin(&self, email: &Email, limit: usize) -> Result<Vec<FoundAccount>> {
        let sql = "SELECT a.account_id, a.name, a.balance_free + a.balance_purchased
                     FROM admins AS p JOIN accounts AS a ON a.account_id = p.account_id
                    WHERE lower(p.email) = $1 ORDER BY p.account_id LIMIT $2";
        let asked = self.query(sql).bind(email.as_str().to_ascii_lowercase()).bind(limit_of(limit));
        let rows = asked.fetch_all().await.while_("looking for the accounts of an admin")?;
        rows.iter().map(read_found).collect()
    }

    /// Up to `limit` accounts with open alerts behind `after`, those that fell last first: the alert of the most advanced level that
    /// is open.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn newest_alerts(
        &self,
        after: Option<(Instant, &AccountId)>,
        limit: usize,
    ) -> Result<Vec<(AlertRecord, FoundAccount)>> {
        let (at, account) = after.map_or((Instant::MAX, ""), |(at, account)| (at, account.as_str()));
        let rows = self
            .query(
                "SELECT a.account_id, a.level, a.crossing, a.threshold, a.opened_at, a.resolved_at,
                        o.name, o.balance_free + o.balance_purchased
                   FROM alerts AS a JOIN accounts AS o ON o.account_id = a.account_id
                  WHERE a.resolved_at IS NULL AND a.opened_at <= $1 AND (a.opened_at <> $1 OR a.account_id > $2)
                    AND NOT EXISTS (SELECT 1 FROM alerts AS b
                                     WHERE b.account_id = a.account_id AND b.resolved_at IS NULL
                                       AND (b.threshold < a.threshold OR (b.threshold = a.threshold AND b.level < a.level)))
                  ORDER BY a.opened_at DESC, a.account_id LIMIT $3",
            )
            .bind(at.micros())
            .bind(account.to_owned())
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("listing open alerts")?;
        let read = |row: &super::sql::Row| {
            let alert = read_alert(row)?;
            let found =
                FoundAccount { account: alert.account.clone(), name: row.get(6), balance: Credits::new(row.get(7)) };
            Ok((alert, found))
        };
        rows.iter().map(read).collect()
    }

    /// The run of `job` for its newest slot.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn newest_run(&self, job: Job) -> Result<Option<RunRecord>> {
        const NEWEST: &str = concat!(
            "SELECT ",
            run_columns!(),
            " FROM runs WHERE job = $1 AND backfill = 0 ORDER BY slot_at DESC LIMIT 1"
        );
        let rows = self.query(NEWEST).bind(job.as_str()).fetch_all().await.while_("reading the newest run of a job")?;
        rows.first().map(read_run).transpose()
    }

    /// Up to `limit` messages that were last given to a deliverer, the newest first, without what is attached to them.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn tried_messages(&self, limit: usize) -> Result<Vec<OutboxRecord>> {
        let sql = "SELECT * FROM outbox WHERE tried_at IS NOT NULL ORDER BY tried_at DESC LIMIT $1";
        let rows = self.query(sql).bind(limit_of(limit)).fetch_all().await.while_("listing messages")?;
        rows.iter().map(|row| Ok(read_record(row)?.0)).collect()
    }

    /// Up to `limit` messages that were given up or are in doubt, without what is attached to them.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn stuck_messages(&self, limit: usize) -> Result<Vec<OutboxRecord>> {
        let sql = "SELECT * FROM outbox WHERE state IN ('failed', 'ambiguous') LIMIT $1";
        let rows = self.query(sql).bind(limit_of(limit)).fetch_all().await.while_("listing messages")?;
        rows.iter().map(|row| Ok(read_record(row)?.0)).collect()
    }

    /// The messages of an account, by its id or nothing for the operators', whose name in logs ([`NoticeKey::name`]) begins with
    /// `start`, which goes beyond the account.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn messages_named(&self, account: &str, start: &str) -> Result<Vec<NoticeKey>> {
        // Key and name are the same up to who gets the message.
        let same = start.rfind('/').map_or("", |at| &start[..=at]);
        let rows = self
            .query("SELECT key FROM outbox WHERE account_id = $1 AND key >= $2 AND key < $3 ORDER BY key")
            .bind(account.to_owned())
            .bind(same.to_owned())
            .bind(format!("{same}{LAST}"))
            .fetch_all()
            .await
            .while_("looking for messages by their names")?;
        let keys: Vec<NoticeKey> = rows.iter().map(|row| super::outbox::read_key(row.get(0))).collect::<Result<_>>()?;
        Ok(keys.into_iter().filter(|key| key.name().starts_with(start)).collect())
    }

    /// Up to `limit` messages of `kind` about `account`, whose subject-matter begins with `about`: key, state and when they were
    /// written and sent; those about what comes last first.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn said_to_whom(
        &self,
        account: &AccountId,
        kind: NoticeKind,
        about: &str,
        limit: usize,
    ) -> Result<Vec<SaidTo>> {
        let start = format!("{kind}/{account}/{about}");
        let rows = self
            .query(
                "SELECT key, state, created_at, sent_at FROM outbox
                  WHERE account_id = $1 AND key >= $2 AND key < $3 ORDER BY key DESC LIMIT $4",
            )
            .bind(account.as_str().to_owned())
            .bind(start.clone())
            .bind(format!("{start}{LAST}"))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("asking who was told what")?;
        let read = |row: &super::sql::Row| {
            let (key, state): (&str, &str) = (row.get(0), row.get(1));
            let unknown = || super::StoreError::Corrupt(format!("message in state {state:?}"));
            Ok(SaidTo {
                key: super::outbox::read_key(key)?,
                state: OutboxState::from_word(state).ok_or_else(unknown)?,
                created_at: Instant::from_micros(row.get(2)),
                sent_at: row.get::<Option<i64>>(3).map(Instant::from_micros),
            })
        };
        rows.iter().map(read).collect()
    }
}

/// A message without what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidTo {
    /// Which.
    pub key: NoticeKey,
    /// Where it stands.
    pub state: OutboxState,
    /// When it was written.
    pub created_at: Instant,
    /// When it was delivered.
    pub sent_at: Option<Instant>,
}

fn read_found(row: &super::sql::Row) -> Result<FoundAccount> {
    Ok(FoundAccount { account: AccountId::new(row.get(0))?, name: row.get(1), balance: Credits::new(row.get(2)) })
}
