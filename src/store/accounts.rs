//! Accounts and their terms.

use super::admins::{Admin, read_admins, write_admins};
use super::backend::{Tx, in_write};
use super::digest::digest;
use super::ledgers::limit_of;
use super::sql::set;
use super::{Result, Store, StoreError, While, json};
use crate::core::alert::Levels;
use crate::core::calendar::{Calendar, Instant, Month, Terms, first_instant_of, parse_zone};
use crate::core::credits::Credits;
use crate::core::ids::AccountId;
use crate::core::ledger::Account;
use crate::core::locale::Locale;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// An account to open.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The account, with its first terms.
    pub account: Account,
    /// How its people write numbers and dates; `None` takes the locale of the settings.
    pub locale: Option<Locale>,
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
    /// Its own locale, where it has one.
    pub locale: Option<Locale>,
    /// Its admins, by address.
    pub admins: Vec<Admin>,
}

/// What to change of an account at once; `None` leaves it. In `levels` and `locale`, `Some(None)` takes the platform's.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewFacts<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// Its own alert levels.
    pub levels: Option<Option<&'a Levels>>,
    /// Its own locale.
    pub locale: Option<Option<Locale>>,
}

impl NewFacts<'_> {
    const fn is_empty(&self) -> bool {
        self.name.is_none() && self.levels.is_none() && self.locale.is_none()
    }
}

#[derive(Serialize)]
struct NewRow<'a> {
    account_id: &'a str,
    name: &'a str,
    opened_at: i64,
    created_at: i64,
    locale: Option<Locale>,
    digest: i64,
    from_month: Month,
    zone: &'static str,
    allowance: Credits,
    terms_digest: i64,
}

impl<'a> NewRow<'a> {
    fn of(NewAccount { account, locale, .. }: &'a NewAccount, now: Instant) -> NewRow<'a> {
        let first = account.calendar.terms()[0];
        NewRow {
            account_id: account.id.as_str(),
            name: &account.name,
            opened_at: account.opened_at.micros(),
            created_at: now.micros(),
            locale: *locale,
            digest: digest_of_account(account, &account.name, now, None, *locale),
            from_month: first.from,
            zone: first.zone.name(),
            allowance: first.allowance,
            terms_digest: digest_of_terms(&account.id, first),
        }
    }
}

fn digest_of_account(
    account: &Account,
    name: &str,
    created_at: Instant,
    levels: Option<&str>,
    locale: Option<Locale>,
) -> i64 {
    let Account { id, opened_at, .. } = account;
    match locale.map(Locale::as_str) {
        None => digest!(id, name, opened_at, created_at, levels),
        Some(locale) => digest!(id, name, opened_at, created_at, levels, locale),
    }
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
            let mut there = read_records(tx, &ids).await?;
            let (mut rows, mut admins, mut answers) = (Vec::new(), Vec::new(), Vec::new());
            for one in new {
                let NewAccount { account, locale, admins: people } = one;
                if let Some(old) = there.get(&account.id) {
                    answers.push(compare(old, one));
                    continue;
                }
                let record =
                    AccountRecord { account: account.clone(), levels: None, locale: *locale, admins: Vec::new() };
                there.insert(account.id.clone(), record);
                rows.push(NewRow::of(one, now));
                admins.extend(people.iter().map(|admin| (&account.id, admin)));
                answers.push(Opened::Created);
            }
            let rows = json(rows)?;
            tx.query(set!(
                account_id text, name text, opened_at bigint, created_at bigint, locale text, digest bigint =>
                "INSERT INTO accounts (account_id, name, opened_at, created_at, locale, digest, due_at)
                 SELECT account_id, name, opened_at, created_at, locale, digest, opened_at FROM v"
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
        let there = read_records(&mut tx, &ids).await?;
        let check = |n: &NewAccount| there.get(&n.account.id).map_or(Opened::Created, |there| compare(there, n));
        Ok(new.iter().map(check).collect())
    }

    /// The accounts with these ids, of those that exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<AccountRecord>> {
        let mut tx = self.read().await?;
        let ids = id_set(ids)?;
        let mut records = read_records(&mut tx, &ids).await?;
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

    /// The beginning of the first month for which any account used `zone`, or when creditd first learned of such an account, whichever
    /// came last; none where no account ever did. It reads all accounts of the zone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn zone_used_since(&self, zone: chrono_tz::Tz) -> Result<Option<Instant>> {
        let rows = self
            .query(
                "SELECT t.from_month, min(a.created_at) FROM terms AS t JOIN accounts AS a ON a.account_id = t.account_id
                  WHERE t.zone = $1 GROUP BY t.from_month",
            )
            .bind(zone.name())
            .fetch_all()
            .await
            .while_("asking since when a zone is used")?;
        let mut earliest = None;
        for row in &rows {
            let month: Month = row.get::<&str>(0).parse()?;
            let since = first_instant_of(month.first_day(), zone).max(Instant::from_micros(row.get(1)));
            earliest = Some(earliest.map_or(since, |earliest| since.min(earliest)));
        }
        Ok(earliest)
    }

    /// The zones that accounts are or were in, each with the first month for which any was. It reads the terms of all accounts.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_months(&self) -> Result<Vec<(chrono_tz::Tz, Month)>> {
        let rows = self.query("SELECT zone, min(from_month) FROM terms GROUP BY zone").fetch_all().await;
        let rows = rows.while_("asking for the first months of zones")?;
        rows.iter().map(|row| Ok((parse_zone(row.get(0))?, row.get::<&str>(1).parse()?))).collect()
    }

    /// The first month, by its own time zone, in which any account was there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_month(&self) -> Result<Option<Month>> {
        let found = self.query("SELECT min(from_month) FROM terms").fetch_one().await;
        let found = found.while_("asking for the first month")?;
        Ok(found.get::<Option<&str>>(0).map(str::parse).transpose()?)
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

    /// Changes facts of an account. False when there is no such account.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn set_account(&self, id: &AccountId, new: NewFacts<'_>) -> Result<bool> {
        let ids = json([id])?;
        in_write!(self, "committing an account", |tx| {
            lock(tx, &ids).await?;
            let accounts = read_accounts(tx, &ids).await?;
            let Some(account) = accounts.get(id) else { return Ok(false) };
            if !new.is_empty() {
                write_facts(tx, account, new).await?;
            }
            Ok(true)
        })
    }
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

/// Writes facts of an account that is locked.
async fn write_facts(tx: &mut Tx, account: &Account, new: NewFacts<'_>) -> Result<()> {
    let old = tx
        .query("SELECT created_at, levels, locale FROM accounts WHERE account_id = $1")
        .bind(account.id.as_str())
        .fetch_one()
        .await
        .while_("loading an account")?;
    let name = new.name.unwrap_or(&account.name);
    let levels = match new.levels {
        Some(levels) => levels.map(serde_json::to_string).transpose()?,
        None => old.get(1),
    };
    let locale = match new.locale {
        Some(locale) => locale,
        None => locale_of(&account.id, old.get(2))?,
    };
    let created_at = Instant::from_micros(old.get(0));
    tx.query("UPDATE accounts SET name = $2, levels = $3, locale = $4, digest = $5 WHERE account_id = $1")
        .bind(account.id.as_str())
        .bind(name)
        .bind(levels.as_deref())
        .bind(locale.map(Locale::as_str))
        .bind(digest_of_account(account, name, created_at, levels.as_deref(), locale))
        .execute()
        .await
        .while_("writing facts of an account")?;
    Ok(())
}

/// What differs between an account that is there and one that was to be opened. An account's zone may have changed since
/// it was opened, so its first terms count; whoever names no locale does not say that it has none.
fn compare(old: &AccountRecord, new: &NewAccount) -> Opened {
    let (old_locale, new_locale) = (old.locale, new.locale);
    let (old, new) = (&old.account, &new.account);
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
    if let Some(new_locale) = new_locale.filter(|new| old_locale != Some(*new)) {
        let its = old_locale.map_or_else(|| "that of the settings".to_owned(), |locale| locale.to_string());
        differences.push(format!("its locale is {its}, not {new_locale}"));
    }
    if differences.is_empty() { Opened::Already } else { Opened::Conflict(differences.join("; ")) }
}

/// The accounts in `ids` (a JSON array) without their admins.
async fn read_records(tx: &mut Tx, ids: &str) -> Result<BTreeMap<AccountId, AccountRecord>> {
    let record = |account| AccountRecord { account, levels: None, locale: None, admins: Vec::new() };
    let accounts = read_accounts(tx, ids).await?;
    let mut records: BTreeMap<AccountId, AccountRecord> =
        accounts.into_iter().map(|(id, account)| (id, record(account))).collect();
    let rows = tx
        .query(set!(account_id =>
            "SELECT a.account_id, a.levels, a.locale FROM v CROSS JOIN accounts AS a
              WHERE a.account_id = v.account_id AND (a.levels IS NOT NULL OR a.locale IS NOT NULL)"
        ))
        .bind(ids)
        .fetch_all()
        .await
        .while_("loading alert levels and locales")?;
    for row in rows {
        let Some(record) = records.get_mut(row.get::<&str>(0)) else { continue };
        let levels: Option<&str> = row.get(1);
        record.levels =
            levels.map(serde_json::from_str).transpose().map_err(|error| StoreError::Corrupt(error.to_string()))?;
        record.locale = locale_of(&record.account.id, row.get(2))?;
    }
    Ok(records)
}

fn locale_of(id: &AccountId, word: Option<&str>) -> Result<Option<Locale>> {
    let known = |word: &str| {
        Locale::from_word(word).ok_or_else(|| StoreError::Corrupt(format!("account {id} has the locale {word:?}")))
    };
    word.map(known).transpose()
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
