//! What the database knows of the sealed ledger: the manifests of its parts, and the rows that are to be sealed.

use super::backend::in_write;
use super::ledgers::limit_of;
use super::sql::{Row, set};
use super::stored::{columns, read_transaction};
use super::{Result, Store, StoreError, While, json};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::sealed::{Chain, Manifest, SeqRange};
use crate::core::transaction::Transaction;
use futures_util::TryStreamExt;

impl Store {
    /// The manifests of the sealed ledger.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when they are no chain, others when they cannot be read.
    pub async fn sealed_chain(&self) -> Result<Chain> {
        let rows = self.query("SELECT number, manifest, hash FROM sealed ORDER BY number").fetch_all().await;
        let mut manifests = Vec::new();
        for row in rows.while_("reading what is sealed")? {
            let (number, text, hash): (i64, &str, &str) = (row.get(0), row.get(1), row.get(2));
            let changed = |what: &str| StoreError::Corrupt(format!("manifest {number} of the sealed ledger: {what}"));
            let manifest: Manifest = serde_json::from_str(text).map_err(|error| changed(&error.to_string()))?;
            if manifest.text() != text || manifest.hash() != hash || i64::try_from(manifest.number) != Ok(number) {
                return Err(changed("it was changed"));
            }
            manifests.push(manifest);
        }
        Chain::new(manifests).map_err(|broken| StoreError::Corrupt(broken.to_string()))
    }

    /// Adds the manifest of the next part, whose files are on disk: from now on they are read. False when another process
    /// was faster, and nothing was written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_sealed(&self, manifest: &Manifest) -> Result<bool> {
        let (number, hash) = (i64::try_from(manifest.number).unwrap_or(i64::MAX), manifest.hash());
        in_write!(self, "committing what was sealed", |tx| {
            // It may be another database now, which was set back while the part was written.
            let before = tx.query("SELECT hash FROM sealed WHERE number = $1").bind(number - 1).fetch_all().await;
            let before = before.while_("reading what was sealed")?;
            if before.first().map(|row| row.get::<&str>(0)) != manifest.previous.as_deref() {
                return Ok(false);
            }
            let add = tx.query(
                "INSERT INTO sealed (number, manifest, hash) VALUES ($1, $2, $3) ON CONFLICT (number) DO NOTHING",
            );
            let add = add.bind(number).bind(manifest.text()).bind(hash.as_str());
            add.execute().await.while_("writing what was sealed")?;
            let there = tx.query("SELECT hash FROM sealed WHERE number = $1").bind(number).fetch_one().await;
            Ok(there.while_("reading what was sealed")?.get::<&str>(0) == hash)
        })
    }

    /// When the first row of the ledger was recorded; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_recorded_at(&self) -> Result<Option<Instant>> {
        let row = self
            .query(
                "SELECT min(t.recorded_at) FROM accounts AS a JOIN transactions AS t ON t.account_id = a.account_id AND t.seq = 1",
            )
            .fetch_one()
            .await
            .while_("looking for the first row")?;
        Ok(row.get::<Option<i64>>(0).map(Instant::from_micros))
    }

    /// When the newest row of the ledger was recorded; `None` where there is none. It looks at every account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_recorded_at(&self) -> Result<Option<Instant>> {
        let row = self.query("SELECT max(last_recorded_at) FROM accounts WHERE last_seq > 0").fetch_one().await;
        Ok(row.while_("looking for the newest row")?.get::<Option<i64>>(0).map(Instant::from_micros))
    }

    /// Up to `limit` accounts in the order of their ids, behind `behind`, each with all its rows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all_rows(&self, behind: Option<&AccountId>, limit: usize) -> Result<Vec<SeqRange>> {
        let rows = self
            .query("SELECT account_id, last_seq FROM accounts WHERE account_id > $1 ORDER BY account_id LIMIT $2")
            .bind(behind.map_or("", AccountId::as_str))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("looking for rows to seal")?;
        let range = |row: &Row| Ok(SeqRange { account_id: AccountId::new(row.get(0))?, after: 0, through: row.get(1) });
        rows.iter().map(range).collect()
    }

    /// The last row of `range` that was recorded before `before`: rows are recorded in the order of their numbers, so it is
    /// found without looking at those between.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_recorded_before(&self, range: &SeqRange, before: Instant) -> Result<i64> {
        let (mut last, mut end) = (range.after, range.through);
        while last < end {
            let middle = end - (end - last) / 2;
            let row = self
                .query("SELECT recorded_at FROM transactions WHERE account_id = $1 AND seq = $2")
                .bind(range.account_id.as_str())
                .bind(middle)
                .fetch_one()
                .await
                .while_("looking for rows to seal")?;
            if row.get::<i64>(0) < before.micros() {
                last = middle;
            } else {
                end = middle - 1;
            }
        }
        Ok(last)
    }

    /// The rows of `ranges` that were recorded before `before`, in order of account and number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rows_in(&self, ranges: &[SeqRange], before: Instant) -> Result<Vec<(AccountId, Transaction)>> {
        let mut rows = Vec::new();
        let mut tx = self.read().await?;
        let mut found = tx
            .query(set!(account_id text, after bigint, through bigint =>
                concat!("SELECT ", columns!(), " FROM v CROSS JOIN transactions AS t
                  WHERE t.account_id = v.account_id AND t.seq > v.after AND t.seq <= v.through AND t.recorded_at < $2
                  ORDER BY t.account_id, t.seq")
            ))
            .bind(json(ranges)?)
            .bind(before.micros())
            .fetch();
        while let Some(row) = found.try_next().await.while_("reading rows to seal")? {
            rows.push(read_transaction(&row)?);
        }
        Ok(rows)
    }
}
