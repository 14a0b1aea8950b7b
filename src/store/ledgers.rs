//! Loading ledgers and writing what was planned on them: the one way by which credits move.

use super::backend::{Tx, in_write};
use super::sql::{Row, set};
use super::{Result, Store, StoreError, While, accounts, actions, json, transactions};
use crate::core::calendar::{Instant, Month};
use crate::core::credits::{CreditType, Credits, Split};
use crate::core::ids::{AccountId, Key};
use crate::core::ledger::{Changes, Grant, Ledger};
use crate::core::price::PriceMatrix;
use crate::core::transaction::{GrantId, Source, Transaction};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a batch is about.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Per account: the earliest instant at which something in the batch happened, and the keys it uses.
    accounts: BTreeMap<AccountId, (Instant, Vec<Key>)>,
}

impl Load {
    /// The accounts alone, as they are now.
    pub fn accounts<'a>(ids: impl IntoIterator<Item = &'a AccountId>) -> Load {
        let mut load = Load::default();
        ids.into_iter().for_each(|id| load.add(id, Instant::MAX, None));
        load
    }

    /// Adds a call on `account` that happened at `at` under `key`.
    pub fn add(&mut self, account: &AccountId, at: Instant, key: Option<Key>) {
        if !self.accounts.contains_key(account) {
            self.accounts.insert(account.clone(), (at, Vec::new()));
        }
        if let Some((earliest, keys)) = self.accounts.get_mut(account) {
            *earliest = at.min(*earliest);
            keys.extend(key);
        }
    }
}

/// What was loaded: plan on it.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The ledgers of those accounts that exist.
    pub ledgers: BTreeMap<AccountId, Ledger>,
    /// The action credit matrix.
    pub prices: PriceMatrix,
}

impl Store {
    /// Loads what `load` asks for, lets `plan` change it, and writes the changes: one database transaction.
    ///
    /// When this returns, the changes are on disk; when it fails, none of them is. `plan` may be asked more than once, each
    /// time on what was loaded anew.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn update<R>(&self, load: &Load, plan: impl Fn(&mut Batch) -> R) -> Result<R> {
        let ids = json(load.accounts.keys().collect::<Vec<_>>())?;
        in_write!(self.backend, "committing a batch", |tx| {
            accounts::lock(tx, &ids).await?;
            let mut batch = read_batch(tx, load).await?;
            let answer = plan(&mut batch);
            let changed = batch.ledgers.into_values().filter(Ledger::is_changed);
            write_changes(tx, changed.collect()).await?;
            Ok(answer)
        })
    }

    /// Loads what `load` asks for, to look at.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(&self, load: &Load) -> Result<Batch> {
        let mut tx = self.read().await?;
        read_batch(&mut tx, load).await
    }

    /// Up to `limit` accounts that have something to roll over at `now`, in order of id after `after` (R3).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts_to_roll_over(
        &self,
        now: Instant,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>> {
        let rows = self
            .query(
                "SELECT account_id FROM accounts WHERE due_at <= $1 AND account_id > $2 ORDER BY account_id LIMIT $3",
            )
            .bind(now.micros())
            .bind(after.map_or("", AccountId::as_str))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("looking for accounts whose month has turned")?;
        rows.iter().map(|row| Ok(AccountId::new(row.get(0))?)).collect()
    }
}

pub(super) fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[derive(Serialize)]
struct Since {
    account_id: AccountId,
    at: i64,
}

#[derive(Serialize)]
struct Asked<'a> {
    account_id: &'a AccountId,
    key: &'a Key,
}

async fn read_batch(tx: &mut Tx, load: &Load) -> Result<Batch> {
    let ids = json(load.accounts.keys().collect::<Vec<_>>())?;
    let mut ledgers = accounts::read_ledgers(tx, &ids).await?;

    let since = |(account_id, (at, _)): (&'_ AccountId, &(Instant, Vec<Key>))| Since {
        account_id: account_id.clone(),
        at: at.micros(),
    };
    // Grants with a remainder, and those of which a charge that happened before they lapsed can take the lapse back.
    let rows = tx
        .query(set!(account_id text, at bigint =>
            "SELECT g.account_id, g.grant_id, g.label, g.credit_type, g.source, g.amount, g.starts_at, g.expires_at,
                    g.consumed, g.lapsed, g.remaining, g.lapsed_by
               FROM v CROSS JOIN grants AS g
              WHERE g.account_id = v.account_id AND (g.remaining > 0 OR (g.expires_at > v.at AND g.lapsed > 0))"
        ))
        .bind(json(load.accounts.iter().map(since).collect::<Vec<_>>())?)
        .fetch_all()
        .await
        .while_("loading grants")?;
    for row in rows {
        let grant = read_grant(&row)?;
        if let Some(ledger) = ledgers.get_mut(row.get::<&str>(0)) {
            ledger.grants.insert(grant.id, grant);
        }
    }

    let asked: Vec<Asked<'_>> = load
        .accounts
        .iter()
        .flat_map(|(account_id, (_, keys))| keys.iter().map(move |key| Asked { account_id, key }))
        .collect();
    if !asked.is_empty() {
        for (id, row) in transactions::read_known(tx, &json(asked)?).await? {
            if let (Some(ledger), Some(key)) = (ledgers.get_mut(&id), row.key.clone()) {
                ledger.known.insert(key, row);
            }
        }
    }
    Ok(Batch { ledgers, prices: actions::read_prices(tx).await? })
}

fn read_grant(row: &Row) -> Result<Grant> {
    let credits = |index: usize| Credits::new(row.get(index));
    let credit_type = match row.get::<&str>(3) {
        "free" => CreditType::Free,
        "purchased" => CreditType::Purchased,
        other => return Err(StoreError::Corrupt(format!("grant of credit type {other:?}"))),
    };
    let source: &str = row.get(4);
    Ok(Grant {
        id: GrantId(row.get(1)),
        label: row.get(2),
        credit_type,
        source: Source::from_word(source).ok_or_else(|| StoreError::Corrupt(format!("grant source {source:?}")))?,
        amount: credits(5),
        starts_at: Instant::from_micros(row.get(6)),
        expires_at: row.get::<Option<i64>>(7).map(Instant::from_micros),
        consumed: credits(8),
        lapsed: credits(9),
        remaining: credits(10),
        lapsed_by: row.get(11),
    })
}

#[derive(Serialize)]
struct TransactionRow<'a> {
    account_id: &'a str,
    seq: i64,
    kind: &'static str,
    occurred_at: i64,
    recorded_at: i64,
    user_id: Option<&'a str>,
    action: Option<&'a str>,
    quantity: i64,
    unit_price: Credits,
    status: &'static str,
    reason: Option<&'static str>,
    comment: &'a str,
    key: Option<&'a str>,
    content: Option<i64>,
    corrects: Option<i64>,
    money_minor: Option<i64>,
    currency: Option<&'a str>,
    reference: Option<&'a str>,
    free_delta: Credits,
    purchased_delta: Credits,
    free_balance: Credits,
    purchased_balance: Credits,
}

impl<'a> TransactionRow<'a> {
    fn of(account: &'a AccountId, row: &'a Transaction) -> TransactionRow<'a> {
        TransactionRow {
            account_id: account.as_str(),
            seq: row.seq,
            kind: row.kind.as_str(),
            occurred_at: row.occurred_at.micros(),
            recorded_at: row.recorded_at.micros(),
            user_id: row.user.as_ref().map(|user| user.as_str()),
            action: row.action.as_ref().map(|action| action.as_str()),
            quantity: row.quantity,
            unit_price: row.unit_price,
            status: row.status.as_str(),
            reason: row.reason.map(crate::core::transaction::Reason::as_str),
            comment: &row.comment,
            key: row.key.as_ref().map(|key| key.as_str()),
            content: row.content.map(|content| content.0),
            corrects: row.corrects,
            money_minor: row.money.as_ref().map(|money| money.minor),
            currency: row.money.as_ref().map(|money| money.currency.as_str()),
            reference: row.reference.as_ref().map(|reference| reference.as_str()),
            free_delta: row.delta.free,
            purchased_delta: row.delta.purchased,
            free_balance: row.balance.free,
            purchased_balance: row.balance.purchased,
        }
    }
}

#[derive(Serialize)]
struct GrantRow<'a> {
    account_id: &'a str,
    grant_id: GrantId,
    label: &'a str,
    credit_type: CreditType,
    source: Source,
    amount: Credits,
    starts_at: i64,
    expires_at: Option<i64>,
    consumed: Credits,
    lapsed: Credits,
    remaining: Credits,
    lapsed_by: Option<i64>,
}

#[derive(Serialize)]
struct AccountRow<'a> {
    account_id: &'a str,
    opened_through: Option<Month>,
    last_seq: i64,
    last_recorded_at: i64,
    #[serde(flatten)]
    balance: Split,
    due_at: i64,
}

async fn write_changes(tx: &mut Tx, ledgers: Vec<Ledger>) -> Result<()> {
    if ledgers.is_empty() {
        return Ok(());
    }
    let projections = json(ledgers.iter().map(account_row).collect::<Vec<_>>())?;
    let changes: Vec<(AccountId, Changes)> =
        ledgers.into_iter().map(|ledger| (ledger.account.id.clone(), ledger.into_changes())).collect();

    let rows = || changes.iter().flat_map(|(id, changes)| changes.rows.iter().map(move |row| (id, row)));
    tx.query(set!(
        account_id text, seq bigint, kind text, occurred_at bigint, recorded_at bigint, user_id text, action text,
        quantity bigint, unit_price bigint, status text, reason text, comment text, key text, content bigint,
        corrects bigint, money_minor bigint, currency text, reference text, free_delta bigint, purchased_delta bigint,
        free_balance bigint, purchased_balance bigint =>
        "INSERT INTO transactions (account_id, seq, kind, occurred_at, recorded_at, user_id, action, quantity, unit_price,
                                   status, reason, comment, key, content, corrects, money_minor, currency, reference,
                                   free_delta, purchased_delta, free_balance, purchased_balance, entries, digest)
         SELECT account_id, seq, kind, occurred_at, recorded_at, user_id, action, quantity, unit_price, status, reason,
                comment, key, content, corrects, money_minor, currency, reference, free_delta, purchased_delta,
                free_balance, purchased_balance, '[]', 0
           FROM v"
    ))
    .bind(json(rows().map(|(id, row)| TransactionRow::of(id, row)).collect::<Vec<_>>())?)
    .execute()
    .await
    .while_("writing transactions")?;

    let grants: Vec<GrantRow<'_>> =
        changes.iter().flat_map(|(id, changes)| changes.grants.iter().map(move |grant| grant_row(id, grant))).collect();
    tx.query(set!(
        account_id text, grant_id bigint, label text, credit_type text, source text, amount bigint, starts_at bigint,
        expires_at bigint, consumed bigint, lapsed bigint, remaining bigint, lapsed_by bigint =>
        "INSERT INTO grants (account_id, grant_id, label, credit_type, source, amount, starts_at, expires_at, consumed,
                             refunded, lapsed, lapsed_at_once, returned, adjusted, held, remaining, lapsed_by)
         SELECT account_id, grant_id, label, credit_type, source, amount, starts_at, expires_at, consumed,
                0, lapsed, 0, 0, 0, 0, remaining, lapsed_by
           FROM v WHERE true
         ON CONFLICT (account_id, grant_id) DO UPDATE
            SET consumed = excluded.consumed, lapsed = excluded.lapsed, remaining = excluded.remaining,
                lapsed_by = excluded.lapsed_by"
    ))
    .bind(json(grants)?)
    .execute()
    .await
    .while_("writing grants")?;

    tx.query(set!(
        account_id text, opened_through text, last_seq bigint, last_recorded_at bigint, free bigint, purchased bigint,
        due_at bigint =>
        "UPDATE accounts
            SET opened_through = v.opened_through, last_seq = v.last_seq, last_recorded_at = v.last_recorded_at,
                balance_free = v.free, balance_purchased = v.purchased, due_at = v.due_at
           FROM v WHERE accounts.account_id = v.account_id"
    ))
    .bind(projections)
    .execute()
    .await
    .while_("writing balances")?;
    Ok(())
}

fn account_row(ledger: &Ledger) -> AccountRow<'_> {
    AccountRow {
        account_id: ledger.account.id.as_str(),
        opened_through: ledger.opened_through,
        last_seq: ledger.last_seq,
        last_recorded_at: ledger.last_recorded_at.micros(),
        balance: ledger.balance,
        due_at: ledger.rollover_due_at().micros(),
    }
}

fn grant_row<'a>(account: &'a AccountId, grant: &'a Grant) -> GrantRow<'a> {
    GrantRow {
        account_id: account.as_str(),
        grant_id: grant.id,
        label: &grant.label,
        credit_type: grant.credit_type,
        source: grant.source,
        amount: grant.amount,
        starts_at: grant.starts_at.micros(),
        expires_at: grant.expires_at.map(Instant::micros),
        consumed: grant.consumed,
        lapsed: grant.lapsed,
        remaining: grant.remaining,
        lapsed_by: grant.lapsed_by,
    }
}
