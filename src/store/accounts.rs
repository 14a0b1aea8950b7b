//! Accounts, their terms and their admins.

use super::ledgers::limit_of;
use super::{Result, Store, StoreError, While, json};
use crate::core::alert::Levels;
use crate::core::calendar::{Calendar, Instant, Month, Terms, parse_zone};
use crate::core::credits::{Credits, Split};
use crate::core::ids::{AccountId, Email};
use crate::core::ledger::{Account, Ledger};
use serde::Serialize;
use sqlx::{Row, SqliteConnection};
use std::collections::BTreeMap;

/// A person of an account who receives mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Admin {
    /// Where mail goes.
    pub email: Email,
    /// How the mail greets; may be empty.
    pub name: String,
    /// Low-credit alerts.
    pub alerts: bool,
    /// The statement of each month.
    pub monthly_report: bool,
    /// The statement of each day.
    pub daily_report: bool,
}

impl Admin {
    /// An admin who gets alerts and monthly reports, as most want them.
    #[must_use]
    pub fn with_defaults(email: Email) -> Admin {
        Admin { email, name: String::new(), alerts: true, monthly_report: true, daily_report: false }
    }
}

/// An account to open.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The account, with its first terms.
    pub account: Account,
    /// Its first admins.
    pub admins: Vec<Admin>,
}

/// What came of opening an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It was opened.
    Created,
    /// It is there already, with the same facts.
    Already,
    /// It is there already with other facts, which are named; nothing was changed.
    Conflict(String),
}

/// An account as stored.
#[derive(Clone, Debug)]
pub struct AccountRecord {
    /// The account.
    pub account: Account,
    /// Its own alert levels, where it has any.
    pub levels: Option<Levels>,
    /// Its admins, by address.
    pub admins: Vec<Admin>,
}

#[derive(Serialize)]
struct NewRow<'a> {
    id: &'a str,
    name: &'a str,
    opened_at: i64,
    month: Month,
    zone: &'static str,
    allowance: Credits,
}

impl Store {
    /// Opens accounts: all of those that are not there yet, in one database transaction.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn open_accounts(&self, new: &[NewAccount]) -> Result<Vec<Opened>> {
        let mut tx = self.begin().await?;
        let ids = json(new.iter().map(|n| &n.account.id).collect::<Vec<_>>())?;
        let mut there: BTreeMap<AccountId, Account> =
            read_ledgers(&mut tx, &ids).await?.into_iter().map(|(id, ledger)| (id, ledger.account)).collect();
        let (mut rows, mut admins, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for NewAccount { account, admins: people } in new {
            if let Some(old) = there.get(&account.id) {
                answers.push(compare(old, account));
                continue;
            }
            there.insert(account.id.clone(), account.clone());
            let first = account.calendar.terms()[0];
            rows.push(NewRow {
                id: account.id.as_str(),
                name: &account.name,
                opened_at: account.opened_at.micros(),
                month: first.from,
                zone: first.zone.name(),
                allowance: first.allowance,
            });
            admins.extend(people.iter().map(|admin| (&account.id, admin)));
            answers.push(Opened::Created);
        }
        let rows = json(rows)?;
        sqlx::query(
            "INSERT INTO accounts (account_id, name, opened_at, rollover_due_at)
             SELECT v ->> 'id', v ->> 'name', v ->> 'opened_at', v ->> 'opened_at'
               FROM (SELECT value AS v FROM jsonb_each($1))",
        )
        .bind(&rows)
        .execute(&mut *tx)
        .await
        .while_("opening accounts")?;
        sqlx::query(
            "INSERT INTO terms (account_id, from_month, zone, allowance)
             SELECT v ->> 'id', v ->> 'month', v ->> 'zone', v ->> 'allowance'
               FROM (SELECT value AS v FROM jsonb_each($1))",
        )
        .bind(&rows)
        .execute(&mut *tx)
        .await
        .while_("writing the terms of accounts")?;
        write_admins(&mut tx, &admins).await?;
        tx.commit().await.while_("committing accounts")?;
        Ok(answers)
    }

    /// What [`Store::open_accounts`] would answer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check_accounts(&self, new: &[NewAccount]) -> Result<Vec<Opened>> {
        let mut tx = self.reader.begin().await.while_("beginning to read")?;
        let ids = json(new.iter().map(|n| &n.account.id).collect::<Vec<_>>())?;
        let there = read_ledgers(&mut tx, &ids).await?;
        let check = |n: &NewAccount| {
            there.get(&n.account.id).map_or(Opened::Created, |ledger| compare(&ledger.account, &n.account))
        };
        Ok(new.iter().map(check).collect())
    }

    /// The accounts with these ids, of those that exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<AccountRecord>> {
        let mut tx = self.reader.begin().await.while_("beginning to read")?;
        let ids = json(ids)?;
        let ledgers = read_ledgers(&mut tx, &ids).await?;
        let mut records: BTreeMap<AccountId, AccountRecord> = BTreeMap::new();
        for (id, ledger) in ledgers {
            records.insert(id, AccountRecord { account: ledger.account, levels: None, admins: Vec::new() });
        }
        let rows = sqlx::query(
            "SELECT a.account_id, a.levels FROM jsonb_each($1) AS j CROSS JOIN accounts AS a ON a.account_id = j.value
              WHERE a.levels IS NOT NULL",
        )
        .bind(&ids)
        .fetch_all(&mut *tx)
        .await
        .while_("loading alert levels")?;
        for row in rows {
            let levels = serde_json::from_str(row.get(1)).map_err(|e| StoreError::Corrupt(e.to_string()))?;
            if let Some(record) = records.get_mut(row.get::<&str, _>(0)) {
                record.levels = Some(levels);
            }
        }
        let rows = sqlx::query(
            "SELECT p.account_id, p.email, p.name, p.alerts, p.monthly_report, p.daily_report
               FROM jsonb_each($1) AS j CROSS JOIN admins AS p ON p.account_id = j.value ORDER BY p.account_id, p.email",
        )
        .bind(&ids)
        .fetch_all(&mut *tx)
        .await
        .while_("loading admins")?;
        for row in rows {
            let admin = Admin {
                email: Email::new(row.get(1))?,
                name: row.get(2),
                alerts: row.get(3),
                monthly_report: row.get(4),
                daily_report: row.get(5),
            };
            if let Some(record) = records.get_mut(row.get::<&str, _>(0)) {
                record.admins.push(admin);
            }
        }
        Ok(records.into_values().collect())
    }

    /// Up to `limit` account ids after `after`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account_ids(&self, after: Option<&AccountId>, limit: usize) -> Result<Vec<AccountId>> {
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT account_id FROM accounts WHERE account_id > $1 ORDER BY account_id LIMIT $2")
                .bind(after.map_or("", AccountId::as_str))
                .bind(limit_of(limit))
                .fetch_all(&self.reader)
                .await
                .while_("listing accounts")?;
        ids.iter().map(|id| Ok(AccountId::new(id)?)).collect()
    }

    /// How many accounts there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_accounts(&self) -> Result<u64> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM accounts")
            .fetch_one(&self.reader)
            .await
            .while_("counting accounts")?;
        Ok(count.unsigned_abs())
    }

    /// The zones that any account uses or used.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn zones(&self) -> Result<Vec<chrono_tz::Tz>> {
        let names: Vec<String> = sqlx::query_scalar("SELECT DISTINCT zone FROM terms ORDER BY zone")
            .fetch_all(&self.reader)
            .await
            .while_("listing zones")?;
        names.iter().map(|name| Ok(parse_zone(name)?)).collect()
    }

    /// Changes an account's name or own alert levels, and its terms to those that `plan` makes of its ledger; `None`
    /// leaves them. New terms replace those of their month. They are planned on what no other process can change any
    /// more, so that a month that opens at this moment is either before them or theirs.
    ///
    /// Returns the new terms; `None` when there are none, or no such account.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn set_account(
        &self,
        id: &AccountId,
        name: Option<&str>,
        levels: Option<Option<&Levels>>,
        plan: impl FnOnce(&Ledger) -> Option<Terms>,
    ) -> Result<Option<Terms>> {
        let mut tx = self.begin().await?;
        let ledgers = read_ledgers(&mut tx, &json([id])?).await?;
        let terms = ledgers.get(id).and_then(plan);
        if let Some(name) = name {
            sqlx::query("UPDATE accounts SET name = $2 WHERE account_id = $1")
                .bind(id.as_str())
                .bind(name)
                .execute(&mut *tx)
                .await
                .while_("renaming an account")?;
        }
        if let Some(terms) = terms {
            sqlx::query(
                "INSERT INTO terms (account_id, from_month, zone, allowance) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (account_id, from_month) DO UPDATE SET zone = excluded.zone, allowance = excluded.allowance",
            )
            .bind(id.as_str())
            .bind(terms.from.to_string())
            .bind(terms.zone.name())
            .bind(terms.allowance.get())
            .execute(&mut *tx)
            .await
            .while_("writing the terms of an account")?;
        }
        if let Some(levels) = levels {
            sqlx::query("UPDATE accounts SET levels = $2 WHERE account_id = $1")
                .bind(id.as_str())
                .bind(levels.map(serde_json::to_string).transpose()?)
                .execute(&mut *tx)
                .await
                .while_("writing alert levels")?;
        }
        tx.commit().await.while_("committing an account")?;
        Ok(terms)
    }

    /// Adds an admin, or replaces what is known of that address.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn set_admin(&self, account: &AccountId, admin: &Admin) -> Result<()> {
        let mut tx = self.begin().await?;
        write_admins(&mut tx, &[(account, admin)]).await?;
        tx.commit().await.while_("committing an admin")
    }

    /// Removes an admin; false when there was none with that address.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn remove_admin(&self, account: &AccountId, email: &Email) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("DELETE FROM admins WHERE account_id = $1 AND email = $2")
            .bind(account.as_str())
            .bind(email.as_str())
            .execute(&mut *tx)
            .await
            .while_("removing an admin")?;
        tx.commit().await.while_("committing an admin")?;
        Ok(done.rows_affected() > 0)
    }
}

/// What differs between an account that is there and one that was to be opened. An account's zone may have changed since
/// it was opened, so its first terms count.
fn compare(old: &Account, new: &Account) -> Opened {
    let (old_zone, new_zone) = (old.calendar.terms()[0].zone, new.calendar.terms()[0].zone);
    let mut differences = Vec::new();
    if old.name != new.name {
        differences.push(format!("its name is {:?}, not {:?}", old.name, new.name));
    }
    if old_zone != new_zone {
        differences.push(format!("its time zone was {old_zone} when it opened, not {new_zone}"));
    }
    if old.opened_at != new.opened_at {
        differences.push(format!("it opened at {}, not {}", old.opened_at, new.opened_at));
    }
    if differences.is_empty() { Opened::Already } else { Opened::Conflict(differences.join("; ")) }
}

async fn write_admins(tx: &mut SqliteConnection, admins: &[(&AccountId, &Admin)]) -> Result<()> {
    sqlx::query(
        "INSERT INTO admins (account_id, email, name, alerts, monthly_report, daily_report)
         SELECT v ->> 0, v ->> '$[1].email', v ->> '$[1].name', v ->> '$[1].alerts', v ->> '$[1].monthly_report',
                v ->> '$[1].daily_report'
           FROM (SELECT value AS v FROM jsonb_each($1)) WHERE true
         ON CONFLICT (account_id, email) DO UPDATE
            SET name = excluded.name, alerts = excluded.alerts, monthly_report = excluded.monthly_report,
                daily_report = excluded.daily_report",
    )
    .bind(json(admins)?)
    .execute(&mut *tx)
    .await
    .while_("writing admins")?;
    Ok(())
}

/// The ledgers of the accounts in `ids` (a JSON array) without grants and rows.
pub(super) async fn read_ledgers(tx: &mut SqliteConnection, ids: &str) -> Result<BTreeMap<AccountId, Ledger>> {
    let rows = sqlx::query(
        "SELECT t.account_id, t.from_month, t.zone, t.allowance
           FROM jsonb_each($1) AS j CROSS JOIN terms AS t ON t.account_id = j.value",
    )
    .bind(ids)
    .fetch_all(&mut *tx)
    .await
    .while_("loading the terms of accounts")?;
    let mut calendars: BTreeMap<String, Calendar> = BTreeMap::new();
    for row in rows {
        let terms = Terms {
            from: row.get::<&str, _>(1).parse()?,
            zone: parse_zone(row.get(2))?,
            allowance: Credits::new(row.get(3)),
        };
        calendars.entry(row.get(0)).and_modify(|c| c.set(terms)).or_insert_with(|| Calendar::new(terms));
    }
    let rows = sqlx::query(
        "SELECT a.account_id, a.name, a.opened_at, a.opened_through, a.last_seq, a.last_recorded_at, a.balance_free,
                a.balance_purchased
           FROM jsonb_each($1) AS j CROSS JOIN accounts AS a ON a.account_id = j.value",
    )
    .bind(ids)
    .fetch_all(&mut *tx)
    .await
    .while_("loading accounts")?;
    let mut ledgers = BTreeMap::new();
    for row in rows {
        let id = AccountId::new(row.get(0))?;
        let calendar =
            calendars.remove(id.as_str()).ok_or_else(|| StoreError::Corrupt(format!("account {id} has no terms")))?;
        let opened_at = Instant::from_micros(row.get(2));
        let mut ledger = Ledger::new(Account { id: id.clone(), name: row.get(1), opened_at, calendar });
        ledger.opened_through = row.get::<Option<&str>, _>(3).map(str::parse).transpose()?;
        ledger.last_seq = row.get(4);
        ledger.last_recorded_at = Instant::from_micros(row.get(5));
        ledger.balance = Split { free: Credits::new(row.get(6)), purchased: Credits::new(row.get(7)) };
        ledgers.insert(id, ledger);
    }
    Ok(ledgers)
}
