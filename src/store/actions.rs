//! The action credit matrix.

use super::{Result, Store, While};
use crate::core::calendar::Instant;
use crate::core::credits::Credits;
use crate::core::ids::ActionCode;
use crate::core::price::{Action, DEFAULT_ACTIONS, PriceMatrix, PriceVersion};
use sqlx::{Row, SqliteConnection};
use std::collections::BTreeMap;

impl Store {
    /// The action credit matrix.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn prices(&self) -> Result<PriceMatrix> {
        let mut tx = self.reader.begin().await.while_("beginning to read")?;
        read_prices(&mut tx).await
    }

    /// Adds a price version, and the action if it is new. A version with the same `effective_from` is replaced.
    /// Empty texts leave those of an action that is there.
    ///
    /// # Errors
    /// [`super::StoreError`]; nothing was written then.
    pub async fn set_price(&self, code: &ActionCode, title: &str, help: &str, version: PriceVersion) -> Result<()> {
        let mut tx = self.begin().await?;
        write_price(&mut tx, code.as_str(), title, help, version).await?;
        tx.commit().await.while_("committing a price")
    }
}

pub(super) async fn insert_defaults(tx: &mut SqliteConnection) -> Result<()> {
    for (code, credits, title, help) in DEFAULT_ACTIONS {
        // From the beginning of time, so that a history older than the ledger has prices.
        let version = PriceVersion { effective_from: Instant::from_micros(0), credits: Some(Credits::new(*credits)) };
        write_price(tx, code, title, help, version).await?;
    }
    Ok(())
}

async fn write_price(
    tx: &mut SqliteConnection,
    code: &str,
    title: &str,
    help: &str,
    version: PriceVersion,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO actions (code, title, help) VALUES ($1, CASE $2 WHEN '' THEN $1 ELSE $2 END, $3)
         ON CONFLICT (code) DO UPDATE SET title = CASE $2 WHEN '' THEN title ELSE $2 END,
                                          help = CASE $3 WHEN '' THEN help ELSE $3 END",
    )
    .bind(code)
    .bind(title)
    .bind(help)
    .execute(&mut *tx)
    .await
    .while_("writing an action")?;
    sqlx::query(
        "INSERT INTO prices (action, effective_from, credits) VALUES ($1, $2, $3)
         ON CONFLICT (action, effective_from) DO UPDATE SET credits = excluded.credits",
    )
    .bind(code)
    .bind(version.effective_from.micros())
    .bind(version.credits.map(Credits::get))
    .execute(&mut *tx)
    .await
    .while_("writing a price")?;
    Ok(())
}

pub(super) async fn read_prices(tx: &mut SqliteConnection) -> Result<PriceMatrix> {
    let rows = sqlx::query(
        "SELECT a.code, a.title, a.help, p.effective_from, p.credits
           FROM actions AS a JOIN prices AS p ON p.action = a.code ORDER BY a.code, p.effective_from",
    )
    .fetch_all(&mut *tx)
    .await
    .while_("loading prices")?;
    let mut actions: BTreeMap<ActionCode, Action> = BTreeMap::new();
    for row in rows {
        let code = ActionCode::new(row.get(0))?;
        let version = PriceVersion {
            effective_from: Instant::from_micros(row.get(3)),
            credits: row.get::<Option<i64>, _>(4).map(Credits::new),
        };
        actions
            .entry(code.clone())
            .or_insert_with(|| Action { code, title: row.get(1), help: row.get(2), versions: Vec::new() })
            .versions
            .push(version);
    }
    Ok(actions.into_values().collect())
}
