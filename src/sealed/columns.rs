//! Rows of the ledger as columns of a file, and back.

use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::ids::{AccountId, ActionCode, BadName, Key, Reference, UserId};
use crate::core::transaction::{ContentHash, Kind, Money, Reason, Status, Transaction};
use polars::prelude::*;
use std::sync::Arc;

/// Instants in microseconds of UTC.
const INSTANT: DataType = DataType::Datetime(TimeUnit::Microseconds, None);

/// The columns of the log, in order.
pub(super) fn log_schema() -> Schema {
    let (text, number) = (DataType::String, DataType::Int64);
    let columns = [
        ("account_id", text.clone()),
        ("seq", number.clone()),
        ("kind", text.clone()),
        ("occurred_at", INSTANT),
        ("recorded_at", INSTANT),
        ("user_id", text.clone()),
        ("action", text.clone()),
        ("quantity", number.clone()),
        ("unit_price", number.clone()),
        ("status", text.clone()),
        ("reason", text.clone()),
        ("comment", text.clone()),
        ("key", text.clone()),
        ("content", number.clone()),
        ("corrects", number.clone()),
        ("expires_at", INSTANT),
        ("money_minor", number.clone()),
        ("currency", text.clone()),
        ("reference", text.clone()),
        ("free_delta", number.clone()),
        ("purchased_delta", number.clone()),
        ("free_balance", number.clone()),
        ("purchased_balance", number),
        ("entries", text),
    ];
    columns.into_iter().map(|(name, kind)| Field::new(name.into(), kind)).collect()
}

/// The columns of balances, in order.
pub(super) fn balances_schema() -> Schema {
    let columns = [
        ("account_id", DataType::String),
        ("seq", DataType::Int64),
        ("free", DataType::Int64),
        ("purchased", DataType::Int64),
    ];
    columns.into_iter().map(|(name, kind)| Field::new(name.into(), kind)).collect()
}

/// Columns of `schema` from rows, given one by one.
macro_rules! frame {
    ($schema:expr, $rows:expr, |$row:ident| $($name:literal: $kind:ident = $value:expr),+ $(,)?) => {{
        let schema: &Schema = $schema;
        let columns = vec![$({
            let values = $rows.iter().map(|$row| $value);
            let series = frame!(@$kind values, $name);
            let wanted = schema.try_get($name)?;
            if series.dtype() == wanted { series } else { series.cast(wanted)? }.into_column()
        }),+];
        DataFrame::new_infer_height(columns)
    }};
    (@int $values:ident, $name:literal) => { Int64Chunked::from_iter_values($name.into(), $values).into_series() };
    (@some_int $values:ident, $name:literal) => { Int64Chunked::from_iter_options($name.into(), $values).into_series() };
    (@text $values:ident, $name:literal) => { StringChunked::from_iter_values($name.into(), $values).into_series() };
    (@some_text $values:ident, $name:literal) => { StringChunked::from_iter_options($name.into(), $values).into_series() };
}

/// Rows of the ledger as a frame of [`log_schema`].
pub(super) fn log_frame(schema: &Schema, rows: &[(Arc<AccountId>, Transaction)]) -> PolarsResult<DataFrame> {
    let entries = rows.iter().map(|(_, row)| serde_json::to_string(&row.entries).unwrap_or_default());
    let entries: Vec<String> = entries.collect();
    let rows: Vec<(&AccountId, &Transaction, &String)> =
        rows.iter().zip(&entries).map(|((account, row), entries)| (&**account, row, entries)).collect();
    frame!(schema, rows, |row|
        "account_id": text = row.0.as_str(),
        "seq": int = row.1.seq,
        "kind": text = row.1.kind.as_str(),
        "occurred_at": int = row.1.occurred_at.micros(),
        "recorded_at": int = row.1.recorded_at.micros(),
        "user_id": some_text = row.1.user.as_ref().map(UserId::as_str),
        "action": some_text = row.1.action.as_ref().map(ActionCode::as_str),
        "quantity": int = row.1.quantity,
        "unit_price": int = row.1.unit_price.get(),
        "status": text = row.1.status.as_str(),
        "reason": some_text = row.1.reason.map(Reason::as_str),
        "comment": text = row.1.comment.as_str(),
        "key": some_text = row.1.key.as_ref().map(Key::as_str),
        "content": some_int = row.1.content.map(|content| content.0),
        "corrects": some_int = row.1.corrects,
        "expires_at": some_int = row.1.expires_at.map(Instant::micros),
        "money_minor": some_int = row.1.money.as_ref().map(|money| money.minor),
        "currency": some_text = row.1.money.as_ref().map(|money| money.currency.as_str()),
        "reference": some_text = row.1.reference.as_ref().map(Reference::as_str),
        "free_delta": int = row.1.delta.free.get(),
        "purchased_delta": int = row.1.delta.purchased.get(),
        "free_balance": int = row.1.balance.free.get(),
        "purchased_balance": int = row.1.balance.purchased.get(),
        "entries": text = row.2.as_str(),
    )
}

/// An account in [`balances_schema`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BalanceRow {
    pub account: Arc<AccountId>,
    pub seq: i64,
    pub balance: Split,
}

/// Balances as a frame of [`balances_schema`].
pub(super) fn balances_frame(schema: &Schema, rows: &[BalanceRow]) -> PolarsResult<DataFrame> {
    frame!(schema, rows, |row|
        "account_id": text = row.account.as_str(),
        "seq": int = row.seq,
        "free": int = row.balance.free.get(),
        "purchased": int = row.balance.purchased.get(),
    )
}

/// What is wrong in a file whose hash was right: a defect of whoever wrote it.
fn bad(what: impl std::fmt::Display) -> PolarsError {
    PolarsError::ComputeError(what.to_string().into())
}

/// The rows of a frame of [`log_schema`], as they were.
pub(super) fn log_rows(frame: &DataFrame) -> PolarsResult<Vec<(AccountId, Transaction)>> {
    let frame = frame.clone();
    let column = |name: &str| frame.column(name).map(Column::as_materialized_series);
    let ints = |name: &str| -> PolarsResult<Vec<Option<i64>>> {
        Ok(column(name)?.cast(&DataType::Int64)?.i64()?.iter().collect())
    };
    let strings = |name: &str| column(name).cloned();
    let texts = [
        "account_id",
        "kind",
        "user_id",
        "action",
        "status",
        "reason",
        "comment",
        "key",
        "currency",
        "reference",
        "entries",
    ];
    let texts = texts.map(strings).into_iter().collect::<PolarsResult<Vec<Series>>>()?;
    let texts = texts.iter().map(Series::str).collect::<PolarsResult<Vec<&StringChunked>>>()?;
    let [
        seq,
        occurred,
        recorded,
        quantity,
        price,
        content,
        corrects,
        expires,
        money,
        free,
        purchased,
        free_balance,
        purchased_balance,
    ] = [
        "seq",
        "occurred_at",
        "recorded_at",
        "quantity",
        "unit_price",
        "content",
        "corrects",
        "expires_at",
        "money_minor",
        "free_delta",
        "purchased_delta",
        "free_balance",
        "purchased_balance",
    ]
    .map(ints);
    let (seq, occurred, recorded, quantity, price) = (seq?, occurred?, recorded?, quantity?, price?);
    let (content, corrects, expires, money) = (content?, corrects?, expires?, money?);
    let (free, purchased, free_balance, purchased_balance) = (free?, purchased?, free_balance?, purchased_balance?);
    fn must<T>(value: Option<T>) -> PolarsResult<T> {
        value.ok_or_else(|| bad("a value is missing"))
    }
    fn name<T>(text: Option<&str>, new: fn(&str) -> Result<T, BadName>) -> PolarsResult<Option<T>> {
        text.map(new).transpose().map_err(bad)
    }
    let instant = |values: &[Option<i64>], at: usize| must(values[at]).map(Instant::from_micros);
    let split = |free: &[Option<i64>], purchased: &[Option<i64>], at: usize| -> PolarsResult<Split> {
        Ok(Split { free: Credits::new(must(free[at])?), purchased: Credits::new(must(purchased[at])?) })
    };
    let row = |at: usize| {
        let text = |column: usize| texts[column].get(at);
        let transaction = Transaction {
            seq: must(seq[at])?,
            kind: must(text(1).and_then(Kind::from_word))?,
            occurred_at: instant(&occurred, at)?,
            recorded_at: instant(&recorded, at)?,
            user: name(text(2), UserId::new)?,
            action: name(text(3), ActionCode::new)?,
            quantity: must(quantity[at])?,
            unit_price: Credits::new(must(price[at])?),
            status: must(text(4).and_then(Status::from_word))?,
            reason: text(5).map(|word| must(Reason::from_word(word))).transpose()?,
            comment: must(text(6))?.to_owned(),
            key: name(text(7), Key::new)?,
            content: content[at].map(ContentHash),
            corrects: corrects[at],
            expires_at: expires[at].map(Instant::from_micros),
            money: money[at].map(|minor| Money { minor, currency: text(8).unwrap_or_default().to_owned() }),
            reference: name(text(9), Reference::new)?,
            delta: split(&free, &purchased, at)?,
            balance: split(&free_balance, &purchased_balance, at)?,
            entries: serde_json::from_str(must(text(10))?).map_err(bad)?,
        };
        Ok((AccountId::new(must(text(0))?).map_err(bad)?, transaction))
    };
    (0..frame.height()).map(row).collect()
}
