//! Alerts: which levels are crossed, and since when.

use super::ledgers::limit_of;
use super::{Result, Store, While, json, outbox};
use crate::core::alert::{AlertPlan, AlertState, Crossing, OpenAlert};
use crate::core::calendar::Instant;
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, LevelName};
use crate::core::outbox::Message;
use sqlx::Row;
use std::collections::BTreeMap;

/// An alert as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRecord {
    /// Whose.
    pub account: AccountId,
    /// Which level, and which crossing of it.
    pub crossing: Crossing,
    /// The level in credits when it fired.
    pub threshold: Credits,
    /// When it was seen.
    pub opened_at: Instant,
    /// When it was seen to be over; `None` while it is open.
    pub resolved_at: Option<Instant>,
}

impl Store {
    /// What is known of the alerts of these accounts. Accounts without any are left out.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn alert_states(&self, accounts: &[AccountId]) -> Result<BTreeMap<AccountId, AlertState>> {
        let rows = sqlx::query(
            "SELECT a.account_id, a.level, max(a.crossing), max(a.opened_at), count(*) - count(a.resolved_at)
               FROM jsonb_each($1) AS j CROSS JOIN alerts AS a ON a.account_id = j.value
              GROUP BY a.account_id, a.level",
        )
        .bind(json(accounts)?)
        .fetch_all(&self.reader)
        .await
        .while_("loading alerts")?;
        let mut states: BTreeMap<AccountId, AlertState> = BTreeMap::new();
        for row in rows {
            let level = LevelName::new(row.get(1))?;
            let crossing = u32::try_from(row.get::<i64, _>(2)).unwrap_or(u32::MAX);
            let state = states.entry(AccountId::new(row.get(0))?).or_default();
            // Only the newest crossing of a level can be open.
            if row.get::<i64, _>(4) > 0 {
                let opened_at = Instant::from_micros(row.get(3));
                state.open.push(OpenAlert { level: level.clone(), crossing, opened_at });
            }
            state.crossings.insert(level, crossing);
        }
        Ok(states)
    }

    /// Writes what was planned for the alerts of some accounts, and the notices about them, in one database transaction.
    /// A crossing that is recorded already, and a notice whose key is taken, stay as they are.
    ///
    /// # Errors
    /// [`super::StoreError`]; nothing was written then.
    pub async fn write_alerts(
        &self,
        plans: &[(AccountId, AlertPlan)],
        notices: &[Message],
        now: Instant,
    ) -> Result<u64> {
        let opened: Vec<(&AccountId, &str, u32, i64, i64)> = plans
            .iter()
            .flat_map(|(id, plan)| {
                plan.opened
                    .iter()
                    .map(move |o| (id, o.level.as_str(), o.crossing, o.threshold.get(), o.opened_at.micros()))
            })
            .collect();
        let resolved: Vec<(&AccountId, &str, u32)> = plans
            .iter()
            .flat_map(|(id, plan)| plan.resolved.iter().map(move |over| (id, over.level.as_str(), over.crossing)))
            .collect();
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO alerts (account_id, level, crossing, threshold, opened_at)
             SELECT v ->> 0, v ->> 1, v ->> 2, v ->> 3, v ->> 4 FROM (SELECT value AS v FROM jsonb_each($1)) WHERE true
             ON CONFLICT (account_id, level, crossing) DO NOTHING",
        )
        .bind(json(opened)?)
        .execute(&mut *tx)
        .await
        .while_("writing alerts")?;
        sqlx::query(
            "UPDATE alerts SET resolved_at = $2 FROM (SELECT value AS v FROM jsonb_each($1))
              WHERE account_id = v ->> 0 AND level = v ->> 1 AND crossing = v ->> 2 AND resolved_at IS NULL",
        )
        .bind(json(resolved)?)
        .bind(now.micros())
        .execute(&mut *tx)
        .await
        .while_("resolving alerts")?;
        let written = outbox::insert(&mut tx, notices).await?;
        tx.commit().await.while_("committing alerts")?;
        Ok(written)
    }

    /// Alerts, newest first; only open ones unless `all`.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn alerts(&self, account: Option<&AccountId>, all: bool, limit: usize) -> Result<Vec<AlertRecord>> {
        let rows = sqlx::query(
            "SELECT account_id, level, crossing, threshold, opened_at, resolved_at FROM alerts
              WHERE ($1 IS NULL OR account_id = $1) AND ($2 OR resolved_at IS NULL)
              ORDER BY opened_at DESC, account_id, threshold LIMIT $3",
        )
        .bind(account.map(AccountId::as_str))
        .bind(all)
        .bind(limit_of(limit))
        .fetch_all(&self.reader)
        .await
        .while_("listing alerts")?;
        rows.iter()
            .map(|row| {
                Ok(AlertRecord {
                    account: AccountId::new(row.get(0))?,
                    crossing: Crossing {
                        level: LevelName::new(row.get(1))?,
                        crossing: u32::try_from(row.get::<i64, _>(2)).unwrap_or(u32::MAX),
                    },
                    threshold: Credits::new(row.get(3)),
                    opened_at: Instant::from_micros(row.get(4)),
                    resolved_at: row.get::<Option<i64>, _>(5).map(Instant::from_micros),
                })
            })
            .collect()
    }
}
