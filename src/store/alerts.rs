//! Alerts: which levels are crossed, and since when.

use super::backend::{Tx, in_write};
use super::digest::digest;
use super::ledgers::limit_of;
use super::sql::{Row, set};
use super::{Result, Store, While, json, outbox};
use crate::core::alert::{AlertPlan, AlertState, Crossing, OpenAlert, Opened};
use crate::core::calendar::Instant;
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, LevelName};
use crate::core::outbox::Message;
use serde::Serialize;
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

#[derive(Serialize)]
struct OpenedRow<'a> {
    account_id: &'a AccountId,
    level: &'a str,
    crossing: u32,
    threshold: Credits,
    opened_at: i64,
    digest: i64,
}

/// An alert that is over; `digest` counts when, too.
#[derive(Serialize)]
struct ResolvedRow<'a> {
    account_id: &'a AccountId,
    level: &'a str,
    crossing: u32,
    digest: i64,
}

impl<'a> ResolvedRow<'a> {
    fn of(account_id: &'a AccountId, over: &'a Crossing, digest: i64) -> ResolvedRow<'a> {
        ResolvedRow { account_id, level: over.level.as_str(), crossing: over.crossing, digest }
    }
}

fn digest_of_alert(
    account: &AccountId,
    crossing: &Crossing,
    threshold: Credits,
    opened_at: Instant,
    resolved_at: Option<Instant>,
) -> i64 {
    digest!(account, crossing.level.as_str(), i64::from(crossing.crossing), threshold, opened_at, resolved_at)
}

impl Store {
    /// What is known of the alerts of these accounts. Accounts without any are left out.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn alert_states(&self, accounts: &[AccountId]) -> Result<BTreeMap<AccountId, AlertState>> {
        let rows = self
            .query(set!(account_id =>
                "SELECT a.account_id, a.level, max(a.crossing), max(a.opened_at), count(*) - count(a.resolved_at)
                   FROM v CROSS JOIN alerts AS a WHERE a.account_id = v.account_id
                  GROUP BY a.account_id, a.level ORDER BY a.account_id, a.level"
            ))
            .bind(json(accounts)?)
            .fetch_all()
            .await
            .while_("loading alerts")?;
        let mut states: BTreeMap<AccountId, AlertState> = BTreeMap::new();
        for row in rows {
            let level = LevelName::new(row.get(1))?;
            let crossing = u32::try_from(row.get::<i64>(2)).unwrap_or(u32::MAX);
            let state = states.entry(AccountId::new(row.get(0))?).or_default();
            // Only the newest crossing of a level can be open.
            if row.get::<i64>(4) > 0 {
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
        let opened =
            plans.iter().flat_map(|(account, plan)| plan.opened.iter().map(move |one| opened_row(account, one)));
        let opened = json(opened.collect::<Vec<_>>())?;
        let over = plans.iter().flat_map(|(account, plan)| plan.resolved.iter().map(move |over| (account, over)));
        let over: Vec<(&AccountId, &Crossing)> = over.collect();
        in_write!(self.backend, "committing alerts", |tx| {
            tx.query(set!(
                account_id text, level text, crossing bigint, threshold bigint, opened_at bigint, digest bigint =>
                "INSERT INTO alerts (account_id, level, crossing, threshold, opened_at, digest)
                 SELECT account_id, level, crossing, threshold, opened_at, digest FROM v WHERE true
                 ON CONFLICT (account_id, level, crossing) DO NOTHING"
            ))
            .bind(opened.as_str())
            .execute()
            .await
            .while_("writing alerts")?;
            resolve(tx, &over, now).await?;
            outbox::insert(tx, notices).await
        })
    }

    /// Alerts, newest first; only open ones unless `all`.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn alerts(&self, account: Option<&AccountId>, all: bool, limit: usize) -> Result<Vec<AlertRecord>> {
        let rows = self
            .query(
                "SELECT account_id, level, crossing, threshold, opened_at, resolved_at FROM alerts
                  WHERE ($1 IS NULL OR account_id = $1) AND ($2 OR resolved_at IS NULL)
                  ORDER BY opened_at DESC, account_id, threshold, level, crossing LIMIT $3",
            )
            .bind(account.map(AccountId::as_str))
            .bind(all)
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("listing alerts")?;
        rows.iter()
            .map(|row| {
                Ok(AlertRecord {
                    account: AccountId::new(row.get(0))?,
                    crossing: crossing_of(row, 1)?,
                    threshold: Credits::new(row.get(3)),
                    opened_at: Instant::from_micros(row.get(4)),
                    resolved_at: row.get::<Option<i64>>(5).map(Instant::from_micros),
                })
            })
            .collect()
    }
}

fn opened_row<'a>(account_id: &'a AccountId, opened: &'a Opened) -> OpenedRow<'a> {
    let Opened { level, crossing, threshold, opened_at } = opened;
    let name = Crossing { level: level.clone(), crossing: *crossing };
    OpenedRow {
        account_id,
        level: level.as_str(),
        crossing: *crossing,
        threshold: *threshold,
        opened_at: opened_at.micros(),
        digest: digest_of_alert(account_id, &name, *threshold, *opened_at, None),
    }
}

/// Ends those of the alerts in `over` that are open.
async fn resolve(tx: &mut Tx, over: &[(&AccountId, &Crossing)], now: Instant) -> Result<()> {
    if over.is_empty() {
        return Ok(());
    }
    let asked = json(over.iter().map(|(account, over)| ResolvedRow::of(account, over, 0)).collect::<Vec<_>>())?;
    let open = tx
        .query(set!(account_id text, level text, crossing bigint =>
            "SELECT a.account_id, a.level, a.crossing, a.threshold, a.opened_at FROM v CROSS JOIN alerts AS a
              WHERE a.account_id = v.account_id AND a.level = v.level AND a.crossing = v.crossing
                AND a.resolved_at IS NULL"
        ))
        .bind(asked.as_str())
        .fetch_all()
        .await
        .while_("looking at alerts that are over")?;
    let digests = open.iter().map(|row| {
        let (account, crossing) = (AccountId::new(row.get(0))?, crossing_of(row, 1)?);
        let (threshold, opened_at) = (Credits::new(row.get(3)), Instant::from_micros(row.get(4)));
        let digest = digest_of_alert(&account, &crossing, threshold, opened_at, Some(now));
        Ok((account, crossing, digest))
    });
    let digests = digests.collect::<Result<Vec<_>>>()?;
    let resolved = digests.iter().map(|(account, over, digest)| ResolvedRow::of(account, over, *digest));
    let resolved = json(resolved.collect::<Vec<_>>())?;
    tx.query(set!(account_id text, level text, crossing bigint, digest bigint =>
        "UPDATE alerts SET resolved_at = $2, digest = v.digest FROM v
          WHERE alerts.account_id = v.account_id AND alerts.level = v.level AND alerts.crossing = v.crossing
            AND alerts.resolved_at IS NULL"
    ))
    .bind(resolved)
    .bind(now.micros())
    .execute()
    .await
    .while_("resolving alerts")?;
    Ok(())
}

/// The crossing in two columns.
fn crossing_of(row: &Row, at: usize) -> Result<Crossing> {
    let crossing = u32::try_from(row.get::<i64>(at + 1)).unwrap_or(u32::MAX);
    Ok(Crossing { level: LevelName::new(row.get(at))?, crossing })
}
