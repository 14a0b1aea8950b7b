//! Loading ledgers: what a batch is about, in one statement (DESIGN 8).
//!
//! One row comes back per account, with its terms, grants, holds and earlier rows as JSON beside it. So a batch costs one
//! statement to load, whatever is in it, and all of it was true at one instant.

use super::batch::{Batch, Gone, Stood};
use super::sql::Row;
use super::stored::StoredTransaction;
use super::{Result, StoreError, json};
use crate::core::calendar::{Calendar, Instant, Month, Terms, parse_zone};
use crate::core::credits::{CreditType, Credits, Split};
use crate::core::ids::{AccountId, ActionCode, Key, Reference, UserId};
use crate::core::ledger::{Account, Call, CameBack, CapUse, Closure, Grant, Ledger, OpenHold, Usage};
use crate::core::price::{Action, PriceMatrix, PriceVersion};
use crate::core::transaction::{GrantId, Source, Transaction};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a batch is about.
#[derive(Clone, Debug, Default)]
pub struct Load {
    accounts: BTreeMap<AccountId, Asked>,
    with_prices: bool,
    /// How many calls are charges that happen now.
    charges: usize,
}

/// What is asked of one account.
#[derive(Clone, Debug)]
struct Asked {
    /// The earliest instant at which something in the batch happened.
    since: Instant,
    /// The keys that calls come under or name (R9).
    keys: Vec<Key>,
    /// Keys of calls that later calls are about: what corrects their rows is loaded, too.
    about: Vec<Key>,
    /// Payments to be recorded (R12).
    payments: Vec<Reference>,
    /// Users whose caps count (R17).
    users: Vec<UserId>,
    /// Users whose history is needed, for new caps.
    history: Vec<UserId>,
    /// Whether grants that are used up are needed, too.
    everything: bool,
}

impl Load {
    /// The accounts alone, as they are at `now`.
    pub fn accounts<'a>(ids: impl IntoIterator<Item = &'a AccountId>, now: Instant) -> Load {
        let mut load = Load::default();
        for id in ids {
            load.account(id, now);
        }
        load
    }

    /// Adds what `call` on `account` needs to be planned at `now`.
    pub fn call(&mut self, account: &AccountId, call: &Call, now: Instant) {
        self.with_prices = true;
        self.charges += usize::from(matches!(call, Call::Charge(Usage { occurred_at: None, .. })));
        let asked = self.account(account, call.occurred_at().unwrap_or(now));
        asked.keys.push(call.key().clone());
        asked.keys.extend(call.about().cloned());
        asked.about.extend(call.about().cloned());
        asked.users.extend(call.user().cloned());
        match call {
            Call::Refund(_) => asked.everything = true,
            Call::Cap(cap) => asked.history.push(cap.user.clone()),
            Call::Purchase(purchase) => asked.payments.push(purchase.reference.clone()),
            _ => {}
        }
    }

    /// Adds the cap of a user of `account`, as it is at `now`.
    pub fn user(&mut self, account: &AccountId, user: &UserId, now: Instant) {
        self.account(account, now).users.push(user.clone());
    }

    fn account(&mut self, id: &AccountId, since: Instant) -> &mut Asked {
        // Most accounts come more than once, and need their id cloned only once.
        if !self.accounts.contains_key(id) {
            let asked = Asked {
                since,
                keys: Vec::new(),
                about: Vec::new(),
                payments: Vec::new(),
                users: Vec::new(),
                history: Vec::new(),
                everything: false,
            };
            self.accounts.insert(id.clone(), asked);
        }
        let asked = self.accounts.get_mut(id).unwrap_or_else(|| unreachable!("it was inserted"));
        asked.since = asked.since.min(since);
        asked
    }

    /// Whether [`LOAD_PLAIN`] may do: no call is about an earlier one.
    pub(super) fn is_plain(&self) -> bool {
        let is_plain = |asked: &Asked| asked.about.is_empty() && asked.history.is_empty() && !asked.everything;
        self.accounts.values().all(is_plain)
    }

    /// Whether there is nothing in it but charges that happen now.
    pub(super) fn is_charges(&self) -> bool {
        let keys = |asked: &Asked| asked.keys.len();
        let is_called = |asked: &Asked| !asked.keys.is_empty();
        self.accounts.values().all(is_called) && self.accounts.values().map(keys).sum::<usize>() == self.charges
    }

    /// How many of the calls are charges that happen now.
    pub(super) const fn charges(&self) -> usize {
        self.charges
    }

    /// Each account, and the earliest instant at which something in the batch happened to it.
    pub(super) fn since(&self) -> impl Iterator<Item = (&AccountId, Instant)> {
        self.accounts.iter().map(|(id, asked)| (id, asked.since))
    }

    /// What it asks beyond the ledgers of `batch`; `None` when that is nothing.
    pub(super) fn beyond(&self, batch: &Batch) -> Option<Cow<'_, Load>> {
        if batch.ledgers.is_empty() {
            return (!self.accounts.is_empty()).then_some(Cow::Borrowed(self));
        }
        let rest = self.accounts.iter().filter(|(id, _)| !batch.ledgers.contains_key(*id));
        let accounts: BTreeMap<_, _> = rest.map(|(id, asked)| (id.clone(), asked.clone())).collect();
        (!accounts.is_empty()).then_some(Cow::Owned(Load { accounts, ..*self }))
    }

    /// The accounts, as a JSON array.
    pub(super) fn ids(&self) -> Result<String> {
        json(self.accounts.keys().collect::<Vec<_>>())
    }

    /// The parameter of [`LOAD`].
    pub(super) fn parameter(&self) -> Result<String> {
        let ask = |(n, (id, asked)): (usize, (&AccountId, &Asked))| AskedRow {
            account_id: id.to_string(),
            since: asked.since.micros(),
            everything: asked.everything,
            keys: asked.keys.clone(),
            about: asked.about.clone(),
            payments: asked.payments.clone(),
            users: asked.users.clone(),
            history: asked.history.clone(),
            prices: self.with_prices && n == 0,
        };
        json(self.accounts.iter().enumerate().map(ask).collect::<Vec<_>>())
    }
}

/// As in the parameter; what is empty is left out.
#[derive(Serialize)]
struct AskedRow {
    account_id: String,
    since: i64,
    everything: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<Key>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    about: Vec<Key>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    payments: Vec<Reference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<UserId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<UserId>,
    prices: bool,
}

/// Where the columns of [`LOAD`] stand.
mod at {
    pub const ID: usize = 0;
    pub const NAME: usize = 1;
    pub const OPENED_AT: usize = 2;
    pub const OPENED_THROUGH: usize = 3;
    pub const CLOSED_THROUGH: usize = 4;
    pub const LAST_SEQ: usize = 5;
    pub const LAST_RECORDED_AT: usize = 6;
    pub const BALANCE_FREE: usize = 7;
    pub const BALANCE_PURCHASED: usize = 8;
    pub const DUE_AT: usize = 9;
    pub const TERMS: usize = 10;
    pub const CLOSURES: usize = 11;
    pub const GRANTS_OPEN: usize = 12;
    pub const GRANTS_OVER: usize = 13;
    pub const HOLDS: usize = 14;
    pub const KNOWN: usize = 15;
    pub const ABOUT: usize = 16;
    pub const CAPS: usize = 17;
    pub const HISTORY: usize = 18;
    pub const PRICES: usize = 19;
    pub const REOPENED_THROUGH: usize = 20;
    pub const PAYMENTS: usize = 21;
    pub const OPENING: usize = 22;
    pub const GONE: usize = 23;
    pub const HAS_MORE: usize = 24;
}

/// Reads what [`LOAD_PLAIN`] returned, without the accounts of which it says that [`LOAD`] must be asked.
pub(super) fn read_plain(mut rows: Vec<Row>) -> Result<Batch> {
    rows.retain(|row| !row.get::<Option<bool>>(at::HAS_MORE).unwrap_or(false));
    let batch = read_batch(&rows)?;
    Ok(Batch { plain: batch.ledgers.keys().cloned().collect(), ..batch })
}

/// Reads what [`LOAD`] returned.
pub(super) fn read_batch(rows: &[Row]) -> Result<Batch> {
    let (mut ledgers, mut stood, mut gone) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut prices = Arc::default();
    for row in rows {
        if row.get::<Option<&str>>(at::ID).is_some() {
            let mut ledger = read_ledger(row)?;
            let due_at = Instant::from_micros(row.get(at::DUE_AT));
            let id = &ledger.account.id;
            let opening = row.get(at::OPENING);
            stood.insert(id.clone(), Stood::of(&ledger, due_at, opening));
            let late = read_history(row, &mut ledger.history)?;
            if opening > 0 {
                gone.insert(ledger.account.id.clone(), Gone { opening, rows: column(row, at::GONE)?, late });
            }
            ledgers.insert(ledger.account.id.clone(), ledger);
        }
        let versions: Vec<StoredPrice> = column(row, at::PRICES)?;
        if !versions.is_empty() {
            prices = Arc::new(read_prices(versions));
        }
    }
    Ok(Batch { ledgers, prices, stood, gone, ..Batch::default() })
}

/// A column of JSON; NULL is what an aggregate over nothing is on one of the databases.
fn column<T: for<'de> Deserialize<'de>>(row: &Row, at: usize) -> Result<Vec<T>> {
    match row.get::<Option<&str>>(at) {
        None | Some("[]") => Ok(Vec::new()),
        Some(text) => serde_json::from_str(text).map_err(|error| StoreError::Corrupt(error.to_string())),
    }
}

fn read_ledger(row: &Row) -> Result<Ledger> {
    let id = AccountId::new(row.get(at::ID))?;
    let month = |at: usize| row.get::<Option<&str>>(at).map(str::parse::<Month>).transpose();
    let mut ledger = Ledger::new(Account {
        calendar: read_calendar(&id, column(row, at::TERMS)?)?,
        id,
        name: row.get(at::NAME),
        opened_at: Instant::from_micros(row.get(at::OPENED_AT)),
    });
    (ledger.opened_through, ledger.closed_through, ledger.reopened_through) =
        (month(at::OPENED_THROUGH)?, month(at::CLOSED_THROUGH)?, month(at::REOPENED_THROUGH)?);
    ledger.last_seq = row.get(at::LAST_SEQ);
    ledger.last_recorded_at = Instant::from_micros(row.get(at::LAST_RECORDED_AT));
    ledger.balance = Split {
        free: Credits::new(row.get(at::BALANCE_FREE)),
        purchased: Credits::new(row.get(at::BALANCE_PURCHASED)),
    };
    ledger.closures = column::<(i64, Option<i64>)>(row, at::CLOSURES)?.into_iter().map(read_closure).collect();
    ledger.closures.sort_by_key(|closure| closure.closed_at);
    for grant in column::<StoredGrant>(row, at::GRANTS_OPEN)?.into_iter().chain(column(row, at::GRANTS_OVER)?) {
        let grant = grant.read()?;
        ledger.grants.insert(grant.id, grant);
    }
    for held in column::<StoredTransaction>(row, at::HOLDS)? {
        let row = held.read()?;
        let expires_at = row.expires_at.ok_or_else(|| StoreError::Corrupt("a hold without an end".to_owned()))?;
        ledger.holds.insert(row.seq, OpenHold { row, expires_at });
    }
    for known in column::<StoredTransaction>(row, at::KNOWN)? {
        let row = known.read()?;
        if let Some(key) = row.key.clone() {
            ledger.known.insert(key, row);
        }
    }
    let transactions = |at: usize| -> Result<Vec<Transaction>> {
        column::<StoredTransaction>(row, at)?.into_iter().map(StoredTransaction::read).collect()
    };
    ledger.about = transactions(at::ABOUT)?;
    for (user, limit, used) in column::<StoredCap>(row, at::CAPS)? {
        ledger.caps.insert(user, CapUse { limit, used: used.unwrap_or_default().into_iter().collect() });
    }
    ledger.payments = column::<(Reference, AccountId)>(row, at::PAYMENTS)?.into_iter().collect();
    Ok(ledger)
}

/// Adds what users moved to `history`, and returns what corrects rows that have left: only these say when it was used.
fn read_history(
    row: &Row,
    history: &mut BTreeMap<UserId, Vec<(Instant, Credits)>>,
) -> Result<Vec<(UserId, i64, Credits)>> {
    let mut late = Vec::new();
    for (user, at, delta, gone) in column::<(UserId, i64, Credits, Option<i64>)>(row, at::HISTORY)? {
        match gone {
            Some(seq) => late.push((user, seq, delta)),
            None => history.entry(user).or_default().push((Instant::from_micros(at), delta)),
        }
    }
    Ok(late)
}

pub(super) fn read_calendar(id: &AccountId, terms: Vec<StoredTerms>) -> Result<Calendar> {
    let read = |(from, zone, allowance): StoredTerms| Ok(Terms { from, zone: parse_zone(&zone)?, allowance });
    let terms = terms.into_iter().map(read).collect::<Result<Vec<Terms>>>()?;
    Calendar::from_terms(terms).ok_or_else(|| StoreError::Corrupt(format!("account {id} has no terms")))
}

fn read_closure((closed_at, reopened_at): (i64, Option<i64>)) -> Closure {
    Closure { closed_at: Instant::from_micros(closed_at), reopened_at: reopened_at.map(Instant::from_micros) }
}

/// From month, zone, allowance.
pub(super) type StoredTerms = (Month, String, Credits);
/// User, credits a month, and what was used in each month.
type StoredCap = (UserId, Credits, Option<Vec<(Month, Credits)>>);
/// Action, first instant, credits.
type StoredPrice = (ActionCode, i64, Option<Credits>);
/// The columns of `grant!`, in their order.
#[derive(Deserialize)]
struct StoredGrant {
    id: GrantId,
    label: String,
    credit_type: CreditType,
    source: Source,
    amount: Credits,
    starts_at: i64,
    expires_at: Option<i64>,
    consumed: Credits,
    refunded: Credits,
    lapsed: Credits,
    lapsed_at_once: Credits,
    returned: Credits,
    adjusted: Credits,
    held: Credits,
    remaining: Credits,
    lapsed_by: Option<i64>,
    came_back: Option<String>,
}

impl StoredGrant {
    fn read(self) -> Result<Grant> {
        #[rustfmt::skip]
        let StoredGrant {
            id, label, credit_type, source, amount, starts_at, expires_at, consumed, refunded,
            lapsed, lapsed_at_once, returned, adjusted, held, remaining, lapsed_by, came_back,
        } = self;
        let (starts_at, expires_at) = (Instant::from_micros(starts_at), expires_at.map(Instant::from_micros));
        let came_back = came_back.map_or_else(|| Ok(CameBack::default()), |text| read_came_back(&text))?;
        #[rustfmt::skip]
        let grant = Grant {
            id, label, credit_type, source, amount, starts_at, expires_at, consumed, refunded,
            lapsed, lapsed_at_once, returned, adjusted, held, remaining, lapsed_by, came_back,
        };
        Ok(grant)
    }
}

fn read_came_back(text: &str) -> Result<CameBack> {
    let parts: Vec<(i64, Credits)> =
        serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("came_back {text:?}: {error}")))?;
    Ok(CameBack::of(parts.into_iter().map(|(at, credits)| (Instant::from_micros(at), credits)).collect()))
}

fn read_prices(versions: Vec<StoredPrice>) -> PriceMatrix {
    let mut actions: BTreeMap<ActionCode, Action> = BTreeMap::new();
    for (code, effective_from, credits) in versions {
        let version = PriceVersion { effective_from: Instant::from_micros(effective_from), credits };
        let new = |code| Action { code, title: String::new(), help: String::new(), versions: Vec::new() };
        actions.entry(code.clone()).or_insert_with(|| new(code)).versions.push(version);
    }
    actions.into_values().collect()
}
