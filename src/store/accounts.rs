//! Accounts, their terms and their admins.

use super::backend::{Tx, in_write};
use super::digest::digest;
use super::ledgers::limit_of;
use super::sql::{Row, Sql, set};
use super::{Result, Store, StoreError, While, json};
use crate::core::alert::Levels;
use crate::core::calendar::{Calendar, Instant, Month, Terms, parse_zone};
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, Email};
use crate::core::ledger::Account;
use crate::core::unsubscribe::{Unsubscribe, Wish};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

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
    /// That an alert is over.
    pub resolved: bool,
    /// That unused free credits lapse soon.
    pub lapse_soon: bool,
}

impl Admin {
    /// Whether a mail is wished.
    #[must_use]
    pub const fn wishes(&self, wish: Wish) -> bool {
        match wish {
            Wish::Alerts => self.alerts,
            Wish::Resolved => self.resolved,
            Wish::LapseSoon => self.lapse_soon,
            Wish::MonthlyReport => self.monthly_report,
            Wish::DailyReport => self.daily_report,
        }
    }

    /// Says whether a mail is wished.
    pub const fn set(&mut self, wish: Wish, is_wished: bool) {
        let wished = match wish {
            Wish::Alerts => &mut self.alerts,
            Wish::Resolved => &mut self.resolved,
            Wish::LapseSoon => &mut self.lapse_soon,
            Wish::MonthlyReport => &mut self.monthly_report,
            Wish::DailyReport => &mut self.daily_report,
        };
        *wished = is_wished;
    }

    /// An admin who gets alerts and monthly reports, as most want them.
    #[must_use]
    pub fn with_defaults(email: Email) -> Admin {
        Admin {
            email,
            name: String::new(),
            alerts: true,
            monthly_report: true,
            daily_report: false,
            resolved: false,
            lapse_soon: false,
        }
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
    account_id: &'a str,
    name: &'a str,
    opened_at: i64,
    created_at: i64,
    digest: i64,
    from_month: Month,
    zone: &'static str,
    allowance: Credits,
    terms_digest: i64,
}

impl<'a> NewRow<'a> {
    fn of(account: &'a Account, now: Instant) -> NewRow<'a> {
        let first = account.calendar.terms()[0];
        NewRow {
            account_id: account.id.as_str(),
            name: &account.name,
            opened_at: account.opened_at.micros(),
            created_at: now.micros(),
            digest: digest_of_account(&account.id, &account.name, account.opened_at, now, None),
            from_month: first.from,
            zone: first.zone.name(),
            allowance: first.allowance,
            terms_digest: digest_of_terms(&account.id, first),
        }
    }
}

fn digest_of_account(id: &AccountId, name: &str, opened_at: Instant, created_at: Instant, levels: Option<&str>) -> i64 {
    digest!(id, name, opened_at, created_at, levels)
}

pub(super) fn digest_of_terms(id: &AccountId, terms: Terms) -> i64 {
    digest!(id, terms.from, terms.zone.name(), terms.allowance)
}

/// Accounts page by page: there may be a million. Made by [`Store::pages`].
#[derive(Clone, Debug)]
pub struct Pages<'a> {
    store: &'a Store,
    /// None for all.
    chosen: Option<std::slice::Chunks<'a, AccountId>>,
    size: usize,
    last: Option<AccountId>,
}

impl Pages<'_> {
    /// The next page; never an empty one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn next(&mut self) -> Result<Option<Vec<AccountId>>> {
        if let Some(chosen) = &mut self.chosen {
            return Ok(chosen.next().map(<[AccountId]>::to_vec));
        }
        let page = self.store.account_ids(self.last.as_ref(), self.size).await?;
        self.last = page.last().cloned();
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

impl Store {
    /// Opens accounts: all of those that are not there yet, in one database transaction. `now` is when creditd learns of
    /// them.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn open_accounts(&self, new: &[NewAccount], now: Instant) -> Result<Vec<Opened>> {
        let ids = id_set(new.iter().map(|n| &n.account.id))?;
        in_write!(self, "committing accounts", |tx| {
            let mut there = read_accounts(tx, &ids).await?;
            let (mut rows, mut admins, mut answers) = (Vec::new(), Vec::new(), Vec::new());
            for NewAccount { account, admins: people } in new {
                if let Some(old) = there.get(&account.id) {
                    answers.push(compare(old, account));
                    continue;
                }
                there.insert(account.id.clone(), account.clone());
                rows.push(NewRow::of(account, now));
                admins.extend(people.iter().map(|admin| (&account.id, admin)));
                answers.push(Opened::Created);
            }
            let rows = json(rows)?;
            tx.query(set!(account_id text, name text, opened_at bigint, created_at bigint, digest bigint =>
                "INSERT INTO accounts (account_id, name, opened_at, created_at, digest, due_at)
                 SELECT account_id, name, opened_at, created_at, digest, opened_at FROM v"
            ))
            .bind(rows.as_str())
            .execute()
            .await
            .while_("opening accounts")?;
            tx.query(set!(account_id text, from_month text, zone text, allowance bigint, terms_digest bigint =>
                "INSERT INTO terms (account_id, from_month, zone, allowance, digest)
                 SELECT account_id, from_month, zone, allowance, terms_digest FROM v"
            ))
            .bind(rows.as_str())
            .execute()
            .await
            .while_("writing the terms of accounts")?;
            write_admins(tx, &admins).await?;
            Ok(answers)
        })
    }

    /// What [`Store::open_accounts`] would answer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check_accounts(&self, new: &[NewAccount]) -> Result<Vec<Opened>> {
        let mut tx = self.read().await?;
        let ids = id_set(new.iter().map(|n| &n.account.id))?;
        let there = read_accounts(&mut tx, &ids).await?;
        let check =
            |n: &NewAccount| there.get(&n.account.id).map_or(Opened::Created, |there| compare(there, &n.account));
        Ok(new.iter().map(check).collect())
    }

    /// The accounts with these ids, of those that exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<AccountRecord>> {
        let mut tx = self.read().await?;
        let ids = id_set(ids)?;
        let record = |account| AccountRecord { account, levels: None, admins: Vec::new() };
        let mut records: BTreeMap<AccountId, AccountRecord> =
            read_accounts(&mut tx, &ids).await?.into_iter().map(|(id, account)| (id, record(account))).collect();
        let rows = tx
            .query(set!(account_id =>
                "SELECT a.account_id, a.levels FROM v CROSS JOIN accounts AS a
                  WHERE a.account_id = v.account_id AND a.levels IS NOT NULL"
            ))
            .bind(ids.as_str())
            .fetch_all()
            .await
            .while_("loading alert levels")?;
        for row in rows {
            let levels = serde_json::from_str(row.get(1)).map_err(|e| StoreError::Corrupt(e.to_string()))?;
            if let Some(record) = records.get_mut(row.get::<&str>(0)) {
                record.levels = Some(levels);
            }
        }
        for (account, admin) in read_admins(&mut tx, &ids).await? {
            if let Some(record) = records.get_mut(account.as_str()) {
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
        let rows = self
            .query("SELECT account_id FROM accounts WHERE account_id > $1 ORDER BY account_id LIMIT $2")
            .bind(after.map_or("", AccountId::as_str))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("listing accounts")?;
        rows.iter().map(|row| Ok(AccountId::new(row.get(0))?)).collect()
    }

    /// The `chosen` accounts, or all where none are chosen, up to `size` at a time and in order of id where it is all.
    #[must_use]
    pub fn pages<'a>(&'a self, chosen: Option<&'a [AccountId]>, size: usize) -> Pages<'a> {
        Pages { store: self, chosen: chosen.map(|chosen| chosen.chunks(size.max(1))), size, last: None }
    }

    /// How many accounts there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_accounts(&self) -> Result<u64> {
        let row = self.query("SELECT count(*) FROM accounts").fetch_one().await.while_("counting accounts")?;
        Ok(row.get::<i64>(0).unsigned_abs())
    }

    /// The zones that any account uses or used, in order of name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn zones(&self) -> Result<Vec<chrono_tz::Tz>> {
        let rows = self.query("SELECT DISTINCT zone FROM terms").fetch_all().await.while_("listing zones")?;
        let mut zones = rows.iter().map(|row| Ok(parse_zone(row.get(0))?)).collect::<Result<Vec<_>>>()?;
        zones.sort_by_key(|zone| zone.name());
        Ok(zones)
    }

    /// Up to `limit` accounts that are or were in `zone`, in order of id, behind `after` and up to and including `until`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts_in_zone(
        &self,
        zone: chrono_tz::Tz,
        after: Option<&AccountId>,
        until: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>> {
        let rows = self
            .query(
                "SELECT DISTINCT account_id FROM terms
                  WHERE zone = $1 AND account_id > $2 AND ($3 IS NULL OR account_id <= $3) ORDER BY account_id LIMIT $4",
            )
            .bind(zone.name())
            .bind(after.map_or("", AccountId::as_str))
            .bind(until.map(AccountId::as_str))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("listing the accounts of a zone")?;
        rows.iter().map(|row| Ok(AccountId::new(row.get(0))?)).collect()
    }

    /// Changes an account's name or own alert levels; `None` leaves them. False when there is no such account.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn set_account(
        &self,
        id: &AccountId,
        name: Option<&str>,
        levels: Option<Option<&Levels>>,
    ) -> Result<bool> {
        let ids = json([id])?;
        in_write!(self, "committing an account", |tx| {
            lock(tx, &ids).await?;
            let accounts = read_accounts(tx, &ids).await?;
            let Some(account) = accounts.get(id) else { return Ok(false) };
            if name.is_some() || levels.is_some() {
                write_facts(tx, account, name, levels).await?;
            }
            Ok(true)
        })
    }

    /// Adds an admin, or replaces what is known of that address.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn set_admin(&self, account: &AccountId, admin: &Admin) -> Result<()> {
        in_write!(self, "committing an admin", |tx| write_admins(tx, &[(account, admin)]).await)
    }

    /// Takes back one wish of an admin, whatever is written of the same admin meanwhile; returns what is left, or `None` when
    /// the account has no such admin.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn end_wish(&self, asked: &Unsubscribe) -> Result<Option<Admin>> {
        let Unsubscribe { account, address, wish } = asked;
        let ids = json([account])?;
        in_write!(self, "committing what an admin wishes", |tx| {
            lock(tx, &ids).await?;
            let admins = read_admins(tx, &ids).await?;
            let Some((_, mut admin)) = admins.into_iter().find(|(_, admin)| admin.email == *address) else {
                return Ok(None);
            };
            admin.set(*wish, false);
            write_admins(tx, &[(account, &admin)]).await?;
            Ok(Some(admin))
        })
    }

    /// Removes an admin; false when there was none with that address.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn remove_admin(&self, account: &AccountId, email: &Email) -> Result<bool> {
        in_write!(self, "committing an admin", |tx| {
            tx.query("DELETE FROM opt_ins WHERE account_id = $1 AND email = $2")
                .bind(account.as_str())
                .bind(email.as_str())
                .execute()
                .await
                .while_("forgetting what an admin wished")?;
            let done = tx
                .query("DELETE FROM admins WHERE account_id = $1 AND email = $2")
                .bind(account.as_str())
                .bind(email.as_str())
                .execute()
                .await
                .while_("removing an admin")?;
            Ok(done.rows_affected() > 0)
        })
    }
}

/// The admins of the accounts in `ids` (a JSON array), in order of account and address.
async fn read_admins(tx: &mut Tx, ids: &str) -> Result<Vec<(String, Admin)>> {
    let rows = tx
        .query(set!(account_id =>
            "SELECT p.account_id, p.email, p.name, p.alerts, p.monthly_report, p.daily_report, (
                    SELECT count(*) FROM opt_ins AS o
                     WHERE o.account_id = p.account_id AND o.email = p.email AND o.mail = 'resolved'), (
                    SELECT count(*) FROM opt_ins AS o
                     WHERE o.account_id = p.account_id AND o.email = p.email AND o.mail = 'lapse-soon')
               FROM v CROSS JOIN admins AS p WHERE p.account_id = v.account_id ORDER BY p.account_id, p.email"
        ))
        .bind(ids)
        .fetch_all()
        .await
        .while_("loading admins")?;
    let read = |row: &Row| {
        let admin = Admin {
            email: Email::new(row.get(1))?,
            name: row.get(2),
            alerts: row.get(3),
            monthly_report: row.get(4),
            daily_report: row.get(5),
            resolved: row.get::<i64>(6) > 0,
            lapse_soon: row.get::<i64>(7) > 0,
        };
        Ok((row.get(0), admin))
    };
    rows.iter().map(read).collect()
}

/// The ids as the JSON array that the statements below take, each once: an id given twice would be read twice.
fn id_set<'a>(ids: impl IntoIterator<Item = &'a AccountId>) -> Result<String> {
    json(ids.into_iter().collect::<BTreeSet<_>>())
}

/// Locks the rows of the accounts in `ids` (a JSON array), in order of id: what is read of them from now on is the newest,
/// and stays so until the transaction ends. SQLite has one writer and needs none.
pub(super) async fn lock(tx: &mut Tx, ids: &str) -> Result<()> {
    if let Tx::Sqlite(..) = tx {
        return Ok(());
    }
    // Not FOR UPDATE: rows of other tables may go on to refer to these accounts.
    tx.query(set!(account_id =>
        "SELECT a.account_id FROM v CROSS JOIN accounts AS a WHERE a.account_id = v.account_id
          ORDER BY a.account_id FOR NO KEY UPDATE OF a"
    ))
    .bind(ids)
    .fetch_all()
    .await
    .while_("locking accounts")?;
    Ok(())
}

/// Writes the name and the alert levels of an account that is locked; `None` leaves them.
async fn write_facts(
    tx: &mut Tx,
    account: &Account,
    name: Option<&str>,
    levels: Option<Option<&Levels>>,
) -> Result<()> {
    let old = tx
        .query("SELECT created_at, levels FROM accounts WHERE account_id = $1")
        .bind(account.id.as_str())
        .fetch_one()
        .await
        .while_("loading an account")?;
    let name = name.unwrap_or(&account.name);
    let levels = match levels {
        Some(levels) => levels.map(serde_json::to_string).transpose()?,
        None => old.get(1),
    };
    let created_at = Instant::from_micros(old.get(0));
    tx.query("UPDATE accounts SET name = $2, levels = $3, digest = $4 WHERE account_id = $1")
        .bind(account.id.as_str())
        .bind(name)
        .bind(levels.as_deref())
        .bind(digest_of_account(&account.id, name, account.opened_at, created_at, levels.as_deref()))
        .execute()
        .await
        .while_("writing the name and levels of an account")?;
    Ok(())
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

#[derive(Serialize)]
struct AdminRow<'a> {
    account_id: &'a AccountId,
    #[serde(flatten)]
    admin: &'a Admin,
    digest: i64,
}

impl<'a> AdminRow<'a> {
    fn of(account_id: &'a AccountId, admin: &'a Admin) -> AdminRow<'a> {
        let Admin { email, name, alerts, monthly_report, daily_report, resolved: _, lapse_soon: _ } = admin;
        let digest = digest!(account_id, email, name, alerts, monthly_report, daily_report);
        AdminRow { account_id, admin, digest }
    }
}

/// A mail that an admin asked for.
#[derive(Serialize)]
struct OptIn<'a> {
    account_id: &'a AccountId,
    email: &'a Email,
    mail: &'static str,
    digest: i64,
}

impl<'a> OptIn<'a> {
    fn all_of(account_id: &'a AccountId, admin: &'a Admin) -> impl Iterator<Item = OptIn<'a>> {
        let Admin { email, resolved, lapse_soon, .. } = admin;
        let wished =
            [("resolved", *resolved), ("lapse-soon", *lapse_soon)].into_iter().filter(|(_, is_wished)| *is_wished);
        wished.map(move |(mail, _)| OptIn { account_id, email, mail, digest: digest!(account_id, email, mail) })
    }
}

async fn write_admins(tx: &mut Tx, admins: &[(&AccountId, &Admin)]) -> Result<()> {
    // Of one address given twice, the last counts: Postgres does not write one row twice in one statement.
    let last: BTreeMap<(&AccountId, &Email), &Admin> =
        admins.iter().map(|(account, admin)| ((*account, &admin.email), *admin)).collect();
    let all = || last.iter().map(|((account, _), admin)| (*account, *admin));
    let rows = json(all().map(|(account, admin)| AdminRow::of(account, admin)).collect::<Vec<_>>())?;
    let opt_ins = json(all().flat_map(|(account, admin)| OptIn::all_of(account, admin)).collect::<Vec<_>>())?;
    tx.query(set!(
        account_id text, email text, name text, alerts boolean, monthly_report boolean, daily_report boolean, digest bigint =>
        "INSERT INTO admins (account_id, email, name, alerts, monthly_report, daily_report, digest)
         SELECT account_id, email, name, alerts, monthly_report, daily_report, digest FROM v WHERE true
         ON CONFLICT (account_id, email) DO UPDATE
            SET name = excluded.name, alerts = excluded.alerts, monthly_report = excluded.monthly_report,
                daily_report = excluded.daily_report, digest = excluded.digest"
    ))
    .bind(rows.as_str())
    .execute()
    .await
    .while_("writing admins")?;
    const OLD: Sql = set!(account_id text, email text =>
        "DELETE FROM opt_ins WHERE (account_id, email) IN (SELECT account_id, email FROM v)");
    const NEW: Sql = set!(account_id text, email text, mail text, digest bigint =>
        "INSERT INTO opt_ins (account_id, email, mail, digest) SELECT account_id, email, mail, digest FROM v");
    tx.query(OLD).bind(rows).execute().await.while_("forgetting what admins wished")?;
    tx.query(NEW).bind(opt_ins).execute().await.while_("writing what admins wish")?;
    Ok(())
}

/// The accounts in `ids` (a JSON array).
async fn read_accounts(tx: &mut Tx, ids: &str) -> Result<BTreeMap<AccountId, Account>> {
    let rows = tx
        .query(set!(account_id =>
            "SELECT t.account_id, t.from_month, t.zone, t.allowance FROM v CROSS JOIN terms AS t
              WHERE t.account_id = v.account_id ORDER BY t.account_id, t.from_month"
        ))
        .bind(ids)
        .fetch_all()
        .await
        .while_("loading the terms of accounts")?;
    let mut calendars: BTreeMap<String, Calendar> = BTreeMap::new();
    for row in rows {
        let terms = Terms {
            from: row.get::<&str>(1).parse()?,
            zone: parse_zone(row.get(2))?,
            allowance: Credits::new(row.get(3)),
        };
        calendars.entry(row.get(0)).and_modify(|c| c.set(terms)).or_insert_with(|| Calendar::new(terms));
    }
    let rows = tx
        .query(set!(account_id =>
            "SELECT a.account_id, a.name, a.opened_at FROM v CROSS JOIN accounts AS a WHERE a.account_id = v.account_id"
        ))
        .bind(ids)
        .fetch_all()
        .await
        .while_("loading accounts")?;
    let mut accounts = BTreeMap::new();
    for row in rows {
        let id = AccountId::new(row.get(0))?;
        let calendar =
            calendars.remove(id.as_str()).ok_or_else(|| StoreError::Corrupt(format!("account {id} has no terms")))?;
        let opened_at = Instant::from_micros(row.get(2));
        accounts.insert(id.clone(), Account { id, name: row.get(1), opened_at, calendar });
    }
    Ok(accounts)
}
