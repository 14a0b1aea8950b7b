//! A transaction as it is stored: one set of names for the columns, wherever a row is read.

use super::sql::Row;
use super::{Result, StoreError};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::ids::{AccountId, ActionCode, Key, Reference, UserId};
use crate::core::transaction::{ContentHash, Entry, Kind, Money, Reason, Status, Transaction};
use serde::Deserialize;

/// A row of `transactions` as an object, the fields named as the columns.
#[derive(Deserialize)]
pub(super) struct StoredTransaction {
    seq: i64,
    kind: Kind,
    occurred_at: i64,
    recorded_at: i64,
    user_id: Option<UserId>,
    action: Option<ActionCode>,
    quantity: i64,
    unit_price: Credits,
    status: Status,
    reason: Option<Reason>,
    comment: String,
    key: Option<Key>,
    content: Option<i64>,
    corrects: Option<i64>,
    expires_at: Option<i64>,
    money_minor: Option<i64>,
    currency: Option<String>,
    reference: Option<Reference>,
    free_delta: Credits,
    purchased_delta: Credits,
    free_balance: Credits,
    purchased_balance: Credits,
    entries: String,
}

impl StoredTransaction {
    pub fn read(self) -> Result<Transaction> {
        let money = |minor| Money { minor, currency: self.currency.unwrap_or_default() };
        Ok(Transaction {
            seq: self.seq,
            kind: self.kind,
            occurred_at: Instant::from_micros(self.occurred_at),
            recorded_at: Instant::from_micros(self.recorded_at),
            user: self.user_id,
            action: self.action,
            quantity: self.quantity,
            unit_price: self.unit_price,
            status: self.status,
            reason: self.reason,
            comment: self.comment,
            key: self.key,
            content: self.content.map(ContentHash),
            corrects: self.corrects,
            expires_at: self.expires_at.map(Instant::from_micros),
            money: self.money_minor.map(money),
            reference: self.reference,
            delta: Split { free: self.free_delta, purchased: self.purchased_delta },
            balance: Split { free: self.free_balance, purchased: self.purchased_balance },
            entries: read_entries(&self.entries)?,
        })
    }
}

pub(super) fn read_entries(text: &str) -> Result<Vec<Entry>> {
    if text == "[]" {
        return Ok(Vec::new());
    }
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("entries {text:?}: {error}")))
}

/// The columns that [`read_transaction`] reads, of `transactions AS t`.
macro_rules! columns {
    () => {
        "t.account_id, t.seq, t.kind, t.occurred_at, t.recorded_at, t.user_id, t.action, t.quantity, t.unit_price, t.status,
         t.reason, t.comment, t.key, t.content, t.corrects, t.expires_at, t.money_minor, t.currency, t.reference,
         t.free_delta, t.purchased_delta, t.free_balance, t.purchased_balance, t.entries"
    };
}
pub(super) use columns;

/// Reads a row of the columns of `columns!`.
pub(super) fn read_transaction(row: &Row) -> Result<(AccountId, Transaction)> {
    fn word<T>(row: &Row, at: usize, read: fn(&str) -> Option<T>) -> Result<T> {
        let word: &str = row.get(at);
        read(word).ok_or_else(|| StoreError::Corrupt(format!("transaction with the word {word:?}")))
    }
    fn name<T>(
        row: &Row,
        at: usize,
        new: fn(&str) -> std::result::Result<T, crate::core::ids::BadName>,
    ) -> Result<Option<T>> {
        Ok(row.get::<Option<&str>>(at).map(new).transpose()?)
    }
    let instant = |at: usize| Instant::from_micros(row.get(at));
    let split = |at: usize| Split { free: Credits::new(row.get(at)), purchased: Credits::new(row.get(at + 1)) };
    let reason = match row.get::<Option<&str>>(10) {
        None => None,
        Some(_) => Some(word(row, 10, Reason::from_word)?),
    };
    let money = |minor| Money { minor, currency: row.get::<Option<String>>(17).unwrap_or_default() };
    let transaction = Transaction {
        seq: row.get(1),
        kind: word(row, 2, Kind::from_word)?,
        occurred_at: instant(3),
        recorded_at: instant(4),
        user: name(row, 5, UserId::new)?,
        action: name(row, 6, ActionCode::new)?,
        quantity: row.get(7),
        unit_price: Credits::new(row.get(8)),
        status: word(row, 9, Status::from_word)?,
        reason,
        comment: row.get(11),
        key: name(row, 12, Key::new)?,
        content: row.get::<Option<i64>>(13).map(ContentHash),
        corrects: row.get(14),
        expires_at: row.get::<Option<i64>>(15).map(Instant::from_micros),
        money: row.get::<Option<i64>>(16).map(money),
        reference: name(row, 18, Reference::new)?,
        delta: split(19),
        balance: split(21),
        entries: read_entries(row.get(23))?,
    };
    Ok((AccountId::new(row.get(0))?, transaction))
}
