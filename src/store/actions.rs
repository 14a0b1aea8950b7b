//! The action credit matrix.

use super::backend::{Tx, in_write};
use super::digest::{self, Fact, digest};
use super::sql::Sql;
use super::{Result, Store, While};
use crate::core::calendar::Instant;
use crate::core::credits::Credits;
use crate::core::ids::ActionCode;
use crate::core::price::{Action, DEFAULT_ACTIONS, PriceMatrix, PriceVersion};
use std::collections::BTreeMap;

impl Store {
    /// The action credit matrix.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn prices(&self) -> Result<PriceMatrix> {
        let mut tx = self.read().await?;
        read_prices(&mut tx).await
    }

    /// Adds a price version, and the action if it is new. A version with the same `effective_from` is replaced.
    /// Empty texts leave those of an action that is there.
    ///
    /// # Errors
    /// [`super::StoreError`]; nothing was written then.
    pub async fn set_price(&self, code: &ActionCode, title: &str, help: &str, version: PriceVersion) -> Result<()> {
        in_write!(self, "committing a price", |tx| write_price(tx, code.as_str(), title, help, version).await)
    }
}

pub(super) async fn insert_defaults(tx: &mut Tx) -> Result<()> {
    for (code, credits, title, help) in DEFAULT_ACTIONS {
        // From the beginning of time, so that a history older than the ledger has prices.
        let version = PriceVersion { effective_from: Instant::from_micros(0), credits: Some(Credits::new(*credits)) };
        write_price(tx, code, title, help, version).await?;
    }
    Ok(())
}

async fn write_price(tx: &mut Tx, code: &str, title: &str, help: &str, version: PriceVersion) -> Result<()> {
    let old = tx
        .query(Sql {
            sqlite: "SELECT title, help FROM actions WHERE code = $1",
            postgres: "SELECT title, help FROM actions WHERE code = $1 FOR NO KEY UPDATE",
        })
        .bind(code)
        .fetch_all()
        .await
        .while_("looking for an action")?;
    let (old_title, old_help) = old.first().map_or((code, ""), |row| (row.get(0), row.get(1)));
    let title = if title.is_empty() { old_title } else { title };
    let help = if help.is_empty() { old_help } else { help };
    tx.query(
        "INSERT INTO actions (code, title, help, digest) VALUES ($1, $2, $3, 0)
         ON CONFLICT (code) DO UPDATE SET title = excluded.title, help = excluded.help",
    )
    .bind(code)
    .bind(title)
    .bind(help)
    .execute()
    .await
    .while_("writing an action")?;
    tx.query(
        "INSERT INTO prices (action, effective_from, credits, digest) VALUES ($1, $2, $3, $4)
         ON CONFLICT (action, effective_from) DO UPDATE SET credits = excluded.credits, digest = excluded.digest",
    )
    .bind(code)
    .bind(version.effective_from.micros())
    .bind(version.credits.map(Credits::get))
    .bind(digest!(code, version.effective_from, version.credits))
    .execute()
    .await
    .while_("writing a price")?;
    write_digest(tx, code, title, help).await
}

/// An action's digest counts all its prices: a price that is gone would be missed by nothing else.
async fn write_digest(tx: &mut Tx, code: &str, title: &str, help: &str) -> Result<()> {
    let prices = tx
        .query("SELECT effective_from, credits FROM prices WHERE action = $1 ORDER BY effective_from")
        .bind(code)
        .fetch_all()
        .await
        .while_("reading the prices of an action")?;
    let mut facts = vec![code.text(), title.text(), help.text()];
    for price in prices {
        facts.extend([price.get::<i64>(0).text(), price.get::<Option<i64>>(1).text()]);
    }
    tx.query("UPDATE actions SET digest = $2 WHERE code = $1")
        .bind(code)
        .bind(digest::of(&facts))
        .execute()
        .await
        .while_("writing the digest of an action")?;
    Ok(())
}

pub(super) async fn read_prices(tx: &mut Tx) -> Result<PriceMatrix> {
    let rows = tx
        .query(
            "SELECT a.code, a.title, a.help, p.effective_from, p.credits
               FROM actions AS a JOIN prices AS p ON p.action = a.code ORDER BY a.code, p.effective_from",
        )
        .fetch_all()
        .await
        .while_("loading prices")?;
    let mut actions: BTreeMap<ActionCode, Action> = BTreeMap::new();
    for row in rows {
        let code = ActionCode::new(row.get(0))?;
        let version = PriceVersion {
            effective_from: Instant::from_micros(row.get(3)),
            credits: row.get::<Option<i64>>(4).map(Credits::new),
        };
        actions
            .entry(code.clone())
            .or_insert_with(|| Action { code, title: row.get(1), help: row.get(2), versions: Vec::new() })
            .versions
            .push(version);
    }
    Ok(actions.into_values().collect())
}
