//! Alerts: which levels are crossed, and since when.

use super::backend::{Tx, in_write};
use super::digest::digest;
use super::in_order::behind_others;
use super::ledgers::limit_of;
use super::sql::{Row, Sql, set};
use super::{Result, Store, While, accounts, json, outbox, webhooks};
use crate::core::alert::{AlertPlan, AlertState, Crossing, Levels, OpenAlert, Opened, Quiet};
use crate::core::calendar::Instant;
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, LevelName};
use crate::core::outbox::Message;
use crate::core::webhook::Event;
use chrono::NaiveDate;
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

/// What was known of an account before it was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// Where its alerts need nothing; `None` while that is not known.
    pub quiet: Option<Quiet>,
    /// Whether it is marked for the scan.
    pub is_marked: bool,
    last_seq: i64,
    digest: i64,
}

/// What came of a look at an account.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Which.
    pub account: AccountId,
    /// What its alerts need.
    pub plan: AlertPlan,
    /// Where they need nothing from then on; `None` to look at every change.
    pub quiet: Option<Quiet>,
    /// What was known before: of an account that was changed meanwhile, the mark stays.
    pub watched: Watched,
}

#[derive(Serialize)]
struct LookedRow<'a> {
    account_id: &'a AccountId,
    quiet_from: Option<Credits>,
    quiet_to: Option<Credits>,
    last_seq: i64,
    digest: i64,
}

/// The last time that all accounts were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// The platform's levels then, in their short form.
    pub levels: String,
    /// The day, of UTC.
    pub day: NaiveDate,
}

impl Scanned {
    /// On `day`, with these levels.
    #[must_use]
    pub fn new(levels: &Levels, day: NaiveDate) -> Scanned {
        Scanned { levels: levels.to_string(), day }
    }
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
                "SELECT a.account_id, a.level, max(a.crossing), max(a.opened_at), count(*) - count(a.resolved_at),
                        max(CASE WHEN a.resolved_at IS NULL THEN a.threshold END)
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
                let threshold = Credits::new(row.get::<Option<i64>>(5).unwrap_or_default());
                state.open.push(OpenAlert { level: level.clone(), crossing, threshold, opened_at });
            }
            state.crossings.insert(level, crossing);
        }
        Ok(states)
    }

    /// Those of `accounts` that never got a credit, of either type.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn without_any_credits(&self, accounts: &[AccountId]) -> Result<Vec<AccountId>> {
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self
            .query(set!(account_id =>
                "SELECT v.account_id FROM v WHERE NOT EXISTS (
                     SELECT 1 FROM grants AS g WHERE g.account_id = v.account_id AND g.amount > 0)
                  ORDER BY v.account_id"
            ))
            .bind(json(accounts)?)
            .fetch_all()
            .await
            .while_("looking for accounts that never had credits")?;
        rows.iter().map(|row| Ok(AccountId::new(row.get(0))?)).collect()
    }

    /// Up to `limit` accounts that are marked for the scan, behind `after`, in order of id. It costs what has changed, however
    /// many accounts there are.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn alerts_due(&self, after: Option<&AccountId>, limit: usize) -> Result<Vec<AccountId>> {
        let rows = self
            .query("SELECT account_id FROM alerts_due WHERE account_id > $1 ORDER BY account_id LIMIT $2")
            .bind(after.map_or("", AccountId::as_str))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("looking for accounts to scan")?;
        rows.iter().map(|row| Ok(AccountId::new(row.get(0))?)).collect()
    }

    /// What is known of these accounts before they are looked at: so it is asked for first.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn watched(&self, accounts: &[AccountId]) -> Result<BTreeMap<AccountId, Watched>> {
        let rows = self
            .query(set!(account_id =>
                "SELECT a.account_id, a.quiet_from, a.quiet_to, a.last_seq, a.digest, d.account_id
                   FROM v CROSS JOIN accounts AS a LEFT JOIN alerts_due AS d ON d.account_id = a.account_id
                  WHERE a.account_id = v.account_id"
            ))
            .bind(json(accounts)?)
            .fetch_all()
            .await
            .while_("looking at what is known of accounts")?;
        let watched = |row: &Row| {
            let bound = |at| row.get::<Option<i64>>(at).map(Credits::new);
            let quiet = bound(1).zip(bound(2)).map(|(from, to)| Quiet { from, to });
            let is_marked = row.get::<Option<&str>>(5).is_some();
            let watched = Watched { quiet, is_marked, last_seq: row.get(3), digest: row.get(4) };
            Ok((AccountId::new(row.get(0))?, watched))
        };
        rows.iter().map(watched).collect()
    }

    /// Writes what came of looking at accounts, and the notices and events about it, in one database transaction. A crossing that is
    /// recorded already, and a notice whose key is taken, stay as they are. An account that was changed since it was
    /// looked at is marked for the next scan, the others are marked no more. Returns how many notices are new.
    ///
    /// # Errors
    /// [`super::StoreError`]; nothing was written then.
    pub async fn write_looked(
        &self,
        looked: &[Looked],
        notices: &[Message],
        events: &[Event],
        now: Instant,
    ) -> Result<u64> {
        let plans = || looked.iter().map(|look| (&look.account, &look.plan));
        let opened = plans().flat_map(|(account, plan)| plan.opened.iter().map(move |one| opened_row(account, one)));
        let opened = json(opened.collect::<Vec<_>>())?;
        let over = plans().flat_map(|(account, plan)| plan.resolved.iter().map(move |over| (account, over)));
        let over: Vec<(&AccountId, &Crossing)> = over.collect();
        let ids = json(looked.iter().map(|look| &look.account).collect::<Vec<_>>())?;
        let rows = json(looked.iter().map(looked_row).collect::<Vec<_>>())?;
        in_write!(self, "committing alerts", |tx| {
            accounts::lock(tx, &ids).await?;
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
            write_marks(tx, &rows).await?;
            webhooks::insert(tx, events, now).await?;
            // In the order in which they came about; they are due at once all the same.
            let notices = behind_others(tx, notices).await?;
            outbox::insert_due(tx, &notices, Some(now)).await
        })
    }

    /// When all accounts were looked at last; `None` for never.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn scanned(&self) -> Result<Option<Scanned>> {
        let rows = self.query("SELECT levels, day FROM scanned").fetch_all().await;
        let rows = rows.while_("asking when all accounts were scanned")?;
        // Whatever else stands there is no day on which this was done.
        let read = |row: &Row| Some(Scanned { levels: row.get(0), day: row.get::<&str>(1).parse().ok()? });
        Ok(rows.first().and_then(read))
    }

    /// Records that all accounts were looked at.
    ///
    /// # Errors
    /// [`super::StoreError`]; nothing was written then.
    pub async fn write_scanned(&self, scanned: &Scanned) -> Result<()> {
        in_write!(self, "committing a scan", |tx| {
            tx.query(
                "INSERT INTO scanned (id, levels, day) VALUES (1, $1, $2)
                 ON CONFLICT (id) DO UPDATE SET levels = excluded.levels, day = excluded.day",
            )
            .bind(scanned.levels.as_str())
            .bind(scanned.day.to_string())
            .execute()
            .await
            .while_("recording a scan")
        })
        .map(drop)
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
        rows.iter().map(read_alert).collect()
    }
}

/// An alert in six columns.
pub(super) fn read_alert(row: &Row) -> Result<AlertRecord> {
    Ok(AlertRecord {
        account: AccountId::new(row.get(0))?,
        crossing: crossing_of(row, 1)?,
        threshold: Credits::new(row.get(3)),
        opened_at: Instant::from_micros(row.get(4)),
        resolved_at: row.get::<Option<i64>>(5).map(Instant::from_micros),
    })
}

fn looked_row(look: &Looked) -> LookedRow<'_> {
    let Looked { account, quiet, watched: Watched { last_seq, digest, .. }, .. } = look;
    LookedRow {
        account_id: account,
        quiet_from: quiet.map(|quiet| quiet.from),
        quiet_to: quiet.map(|quiet| quiet.to),
        last_seq: *last_seq,
        digest: *digest,
    }
}

/// Where accounts are quiet, and which are marked. They are locked.
async fn write_marks(tx: &mut Tx, looked: &str) -> Result<()> {
    const QUIET: Sql = set!(account_id text, quiet_from bigint, quiet_to bigint =>
        "UPDATE accounts SET quiet_from = v.quiet_from, quiet_to = v.quiet_to FROM v
          WHERE accounts.account_id = v.account_id
            AND (accounts.quiet_from IS DISTINCT FROM v.quiet_from OR accounts.quiet_to IS DISTINCT FROM v.quiet_to)");
    // What made a mark before it was looked at is done with; what has changed since needs one, whoever looked.
    const DONE: Sql = set!(account_id text => "DELETE FROM alerts_due WHERE account_id IN (SELECT account_id FROM v)");
    const CHANGED: Sql = set!(account_id text, last_seq bigint, digest bigint =>
        "INSERT INTO alerts_due (account_id)
         SELECT a.account_id FROM v CROSS JOIN accounts AS a
          WHERE a.account_id = v.account_id AND (a.last_seq <> v.last_seq OR a.digest <> v.digest)
         ON CONFLICT (account_id) DO NOTHING");
    tx.query(QUIET).bind(looked).execute().await.while_("writing where accounts are quiet")?;
    tx.query(DONE).bind(looked).execute().await.while_("removing marks")?;
    tx.query(CHANGED).bind(looked).execute().await.while_("marking accounts")?;
    Ok(())
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
