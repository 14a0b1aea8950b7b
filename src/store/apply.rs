//! Writing what was planned on ledgers: a handful of statements for a batch of any size (DESIGN 8).
//!
//! Rows go in as cells. SQLite takes a table of them as one JSON parameter, Postgres as one array per column.

use super::accounts::digest_of_terms;
use super::backend::{Backend, Tx};
use super::sql::{Query, Sql, set};
use super::{Result, While, json};
use crate::core::calendar::{Instant, Month};
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, Reference};
use crate::core::ledger::{Changes, Grant, Ledger};
use crate::core::transaction::{Reason, Transaction};
use serde::{Serialize, Serializer};
use sqlx::postgres::PgPool;

/// A value on its way into a column.
#[derive(Clone, Debug)]
pub(super) enum Cell<'a> {
    Int(i64),
    Text(&'a str),
    Own(String),
    Null,
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Cell::Int(number) => serializer.serialize_i64(*number),
            Cell::Text(text) => serializer.serialize_str(text),
            Cell::Own(text) => serializer.serialize_str(text),
            Cell::Null => serializer.serialize_none(),
        }
    }
}

impl Cell<'_> {
    const fn int(&self) -> Option<i64> {
        match self {
            Cell::Int(number) => Some(*number),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Cell::Text(text) => Some(text),
            Cell::Own(text) => Some(text),
            _ => None,
        }
    }

    fn of_int(number: Option<i64>) -> Cell<'static> {
        number.map_or(Cell::Null, Cell::Int)
    }

    fn of_text(text: Option<&str>) -> Cell<'_> {
        text.map_or(Cell::Null, Cell::Text)
    }
}

/// Rows of one table, and what their columns hold: `i` a whole number, `t` a text.
struct Table<'a> {
    columns: &'static [u8],
    rows: Vec<Vec<Cell<'a>>>,
}

impl Table<'_> {
    /// Adds the rows to the parameters of `query`: as one JSON text, or as one array per column.
    fn bind<'q>(&self, query: Query<'q>) -> Result<Query<'q>> {
        match query {
            Query::Sqlite(..) => Ok(query.bind(json(&self.rows)?)),
            Query::Postgres(on, mut query) => {
                for (at, column) in self.columns.iter().enumerate() {
                    query = match column {
                        b'i' => query.bind(self.rows.iter().map(|row| row[at].int()).collect::<Vec<Option<i64>>>()),
                        _ => query.bind(self.rows.iter().map(|row| row[at].text()).collect::<Vec<Option<&str>>>()),
                    };
                }
                Ok(Query::Postgres(on, query))
            }
        }
    }
}

/// The pieces of the statements on Postgres, whose parameters begin behind those of the piece before.
macro_rules! transactions_postgres {
    () => {
        "INSERT INTO transactions (
            account_id, seq, kind, occurred_at, recorded_at, user_id, action, quantity, unit_price, status, reason,
            comment, key, content, corrects, expires_at, money_minor, currency, reference, free_delta,
            purchased_delta, free_balance, purchased_balance, entries, digest)
         SELECT * FROM unnest(
            $1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bigint[],
            $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bigint[], $15::bigint[],
            $16::bigint[], $17::bigint[], $18::text[], $19::text[], $20::bigint[], $21::bigint[], $22::bigint[],
            $23::bigint[], $24::text[], $25::bigint[])"
    };
}
macro_rules! grants_postgres {
    ($parameters:literal) => {
        concat!(
            "INSERT INTO grants (
            account_id, grant_id, label, credit_type, source, amount, starts_at, expires_at, consumed, refunded,
            lapsed, lapsed_at_once, returned, adjusted, held, remaining, lapsed_by, came_back)
         SELECT * FROM unnest(", $parameters, ")
         ON CONFLICT (account_id, grant_id) DO UPDATE
            SET consumed = excluded.consumed, refunded = excluded.refunded, lapsed = excluded.lapsed,
                lapsed_at_once = excluded.lapsed_at_once, returned = excluded.returned, adjusted = excluded.adjusted,
                held = excluded.held, remaining = excluded.remaining, lapsed_by = excluded.lapsed_by,
                came_back = excluded.came_back"
        )
    };
}
macro_rules! accounts_postgres {
    ($parameters:literal) => {
        concat!(
            "UPDATE accounts AS a
            SET opened_through = v.opened_through, closed_through = v.closed_through, last_seq = v.last_seq,
                last_recorded_at = v.last_recorded_at, balance_free = v.balance_free,
                balance_purchased = v.balance_purchased, due_at = v.due_at
           FROM unnest(", $parameters, ")
             AS v (account_id, opened_through, closed_through, last_seq, last_recorded_at, balance_free, balance_purchased,
            due_at)
          WHERE a.account_id = v.account_id"
        )
    };
}

/// Adds transactions. A row whose number is taken is refused by the database: somebody else was first.
const TRANSACTIONS: Sql = Sql {
    sqlite: "INSERT INTO transactions (
            account_id, seq, kind, occurred_at, recorded_at, user_id, action, quantity, unit_price, status, reason,
            comment, key, content, corrects, expires_at, money_minor, currency, reference, free_delta,
            purchased_delta, free_balance, purchased_balance, entries, digest)
         SELECT v ->> 0, v ->> 1, v ->> 2, v ->> 3, v ->> 4, v ->> 5, v ->> 6, v ->> 7, v ->> 8, v ->> 9, v ->> 10,
            v ->> 11, v ->> 12, v ->> 13, v ->> 14, v ->> 15, v ->> 16, v ->> 17, v ->> 18, v ->> 19, v ->> 20,
            v ->> 21, v ->> 22, v ->> 23, v ->> 24
           FROM (SELECT value AS v FROM jsonb_each($1))",
    postgres: transactions_postgres!(),
};
const TRANSACTION_COLUMNS: &[u8; 25] = b"titiittiittttiiiittiiiiti";

/// Adds grants, and moves what stands in those that are there.
const GRANTS: Sql = Sql {
    sqlite: "INSERT INTO grants (
            account_id, grant_id, label, credit_type, source, amount, starts_at, expires_at, consumed, refunded,
            lapsed, lapsed_at_once, returned, adjusted, held, remaining, lapsed_by, came_back)
         SELECT v ->> 0, v ->> 1, v ->> 2, v ->> 3, v ->> 4, v ->> 5, v ->> 6, v ->> 7, v ->> 8, v ->> 9, v ->> 10,
            v ->> 11, v ->> 12, v ->> 13, v ->> 14, v ->> 15, v ->> 16, v ->> 17
           FROM (SELECT value AS v FROM jsonb_each($1)) WHERE true
         ON CONFLICT (account_id, grant_id) DO UPDATE
            SET consumed = excluded.consumed, refunded = excluded.refunded, lapsed = excluded.lapsed,
                lapsed_at_once = excluded.lapsed_at_once, returned = excluded.returned, adjusted = excluded.adjusted,
                held = excluded.held, remaining = excluded.remaining, lapsed_by = excluded.lapsed_by,
                came_back = excluded.came_back",
    postgres: grants_postgres!(
        "$1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[],
            $16::bigint[], $17::bigint[], $18::text[]"
    ),
};
const GRANT_COLUMNS: &[u8; 18] = b"titttiiiiiiiiiiiit";

/// Moves the projections of accounts on.
const ACCOUNTS: Sql = Sql {
    sqlite: "UPDATE accounts
            SET opened_through = v ->> 1, closed_through = v ->> 2, last_seq = v ->> 3, last_recorded_at = v ->> 4,
                balance_free = v ->> 5, balance_purchased = v ->> 6, due_at = v ->> 7
           FROM (SELECT value AS v FROM jsonb_each($1)) WHERE account_id = v ->> 0",
    postgres: accounts_postgres!(
        "$1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]"
    ),
};
const ACCOUNT_COLUMNS: &[u8; 8] = b"tttiiiii";

/// All three at once. One statement is one round trip and needs no transaction around it.
const ALL_AT_ONCE: &str = concat!(
    "WITH t AS (",
    transactions_postgres!(),
    "), g AS (",
    grants_postgres!(
        "$26::text[], $27::bigint[], $28::text[], $29::text[], $30::text[], $31::bigint[], $32::bigint[],
            $33::bigint[], $34::bigint[], $35::bigint[], $36::bigint[], $37::bigint[], $38::bigint[], $39::bigint[],
            $40::bigint[], $41::bigint[], $42::bigint[], $43::text[]"
    ),
    ") ",
    accounts_postgres!(
        "$44::text[], $45::text[], $46::text[], $47::bigint[], $48::bigint[], $49::bigint[], $50::bigint[],
            $51::bigint[]"
    )
);

/// What a batch changed, laid out in tables.
pub(super) struct Written<'a> {
    transactions: Table<'a>,
    grants: Table<'a>,
    accounts: Table<'a>,
    changes: &'a [(AccountId, Changes)],
}

/// The changes of ledgers and, of those that have some, the projections beside them.
pub(super) struct Projected {
    changes: Vec<(AccountId, Changes)>,
    accounts: Vec<Vec<Cell<'static>>>,
}

impl Projected {
    pub fn of(ledgers: impl IntoIterator<Item = Ledger>) -> Projected {
        let (mut changes, mut accounts) = (Vec::new(), Vec::new());
        for ledger in ledgers.into_iter().filter(Ledger::is_changed) {
            accounts.push(account_cells(&ledger));
            changes.push((ledger.account.id.clone(), ledger.into_changes()));
        }
        Projected { changes, accounts }
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub fn written(&self) -> Result<Written<'_>> {
        let mut rows = Vec::new();
        for (id, changes) in &self.changes {
            for row in &changes.rows {
                rows.push(transaction_cells(id, row)?);
            }
        }
        let grants = self.changes.iter().flat_map(|(id, changes)| changes.grants.iter().map(|g| grant_cells(id, g)));
        Ok(Written {
            transactions: Table { columns: TRANSACTION_COLUMNS, rows },
            grants: Table { columns: GRANT_COLUMNS, rows: grants.collect() },
            accounts: Table { columns: ACCOUNT_COLUMNS, rows: self.accounts.clone() },
            changes: &self.changes,
        })
    }
}

/// Whether there is more than rows, grants and balances.
fn has_more(changes: &Changes) -> bool {
    let Changes { rows: _, grants: _, holds_opened, holds_settled, caps, cap_months, terms, closures, .. } = changes;
    let has_holds = !holds_opened.is_empty() || !holds_settled.is_empty();
    let has_caps = !caps.is_empty() || !cap_months.is_empty();
    has_holds
        || has_caps
        || !terms.is_empty()
        || !closures.is_empty()
        || changes.reopened_through.is_some()
        || !changes.payments.is_empty()
}

impl Written<'_> {
    /// Whether there is more to write than rows, grants and balances.
    pub fn has_more(&self) -> bool {
        self.changes.iter().any(|(_, changes)| has_more(changes))
    }

    /// Writes everything in one statement, which is a transaction of its own, on Postgres. The statement that it ends with
    /// runs first there: the update of the account.
    pub async fn write_at_once(&self, pool: &PgPool) -> Result<()> {
        let query = Backend::on_its_own(pool, ALL_AT_ONCE);
        let query = self.accounts.bind(self.grants.bind(self.transactions.bind(query)?)?)?;
        query.execute().await.while_("writing a call").map(drop)
    }

    /// Writes everything in a transaction, the accounts first: whoever writes touches their rows before all others.
    pub async fn write(&self, tx: &mut Tx) -> Result<()> {
        self.accounts.bind(tx.query(ACCOUNTS))?.execute().await.while_("writing balances")?;
        self.transactions.bind(tx.query(TRANSACTIONS))?.execute().await.while_("writing transactions")?;
        if !self.grants.rows.is_empty() {
            self.grants.bind(tx.query(GRANTS))?.execute().await.while_("writing grants")?;
        }
        if self.has_more() { self.write_more(tx).await } else { Ok(()) }
    }

    async fn write_more(&self, tx: &mut Tx) -> Result<()> {
        let each = || self.changes.iter();
        let mut payments: Vec<Payment<'_>> = each()
            .flat_map(|(account_id, changes)| {
                let of = move |(reference, seq)| Payment { reference, account_id, purchase_id: seq };
                changes.payments.iter().map(|(reference, seq)| (reference, *seq)).map(of)
            })
            .collect();
        if !payments.is_empty() {
            // In one order, so that two writers do not wait for each other. Who comes second with a payment plans again.
            payments.sort_by_key(|payment| payment.reference);
            const SQL: Sql = set!(reference text, account_id text, purchase_id bigint =>
                "INSERT INTO payments (reference, account_id, purchase_id) SELECT reference, account_id, purchase_id FROM v");
            tx.query(SQL).bind(json(payments)?).execute().await.while_("writing payments")?;
        }
        let opened: Vec<OpenedHold<'_>> = each()
            .flat_map(|(account_id, changes)| {
                let open = |(hold_id, end): &(i64, Instant)| OpenedHold {
                    account_id,
                    hold_id: *hold_id,
                    expires_at: end.micros(),
                };
                changes.holds_opened.iter().map(open)
            })
            .collect();
        if !opened.is_empty() {
            const SQL: Sql = set!(account_id text, hold_id bigint, expires_at bigint =>
                "INSERT INTO holds (account_id, hold_id, expires_at) SELECT account_id, hold_id, expires_at FROM v");
            tx.query(SQL).bind(json(opened)?).execute().await.while_("writing holds")?;
        }
        let settled: Vec<SettledHold<'_>> = each()
            .flat_map(|(account_id, changes)| {
                changes.holds_settled.iter().map(move |hold_id| SettledHold { account_id, hold_id: *hold_id })
            })
            .collect();
        if !settled.is_empty() {
            const SQL: Sql = set!(account_id text, hold_id bigint =>
                "DELETE FROM holds WHERE (account_id, hold_id) IN (SELECT account_id, hold_id FROM v)");
            tx.query(SQL).bind(json(settled)?).execute().await.while_("settling holds")?;
        }
        for (id, changes) in each() {
            write_caps(tx, id, changes).await?;
            for terms in &changes.terms {
                tx.query(
                    "INSERT INTO terms (account_id, from_month, zone, allowance, digest) VALUES ($1, $2, $3, $4, $5)
                     ON CONFLICT (account_id, from_month)
                     DO UPDATE SET zone = excluded.zone, allowance = excluded.allowance, digest = excluded.digest",
                )
                .bind(id.as_str())
                .bind(terms.from.to_string())
                .bind(terms.zone.name())
                .bind(terms.allowance.get())
                .bind(digest_of_terms(id, *terms))
                .execute()
                .await
                .while_("writing the terms of an account")?;
            }
            for closure in &changes.closures {
                tx.query(
                    "INSERT INTO closures (account_id, closed_at, reopened_at) VALUES ($1, $2, $3)
                     ON CONFLICT (account_id, closed_at) DO UPDATE SET reopened_at = excluded.reopened_at",
                )
                .bind(id.as_str())
                .bind(closure.closed_at.micros())
                .bind(closure.reopened_at.map(Instant::micros))
                .execute()
                .await
                .while_("writing the closing of an account")?;
            }
            if let Some(month) = changes.reopened_through {
                tx.query("UPDATE accounts SET reopened_through = $2 WHERE account_id = $1")
                    .bind(id.as_str())
                    .bind(month.map(|month| month.to_string()))
                    .execute()
                    .await
                    .while_("writing which months were opened again")?;
            }
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Payment<'a> {
    reference: &'a Reference,
    account_id: &'a AccountId,
    purchase_id: i64,
}

#[derive(Serialize)]
struct OpenedHold<'a> {
    account_id: &'a AccountId,
    hold_id: i64,
    expires_at: i64,
}

#[derive(Serialize)]
struct SettledHold<'a> {
    account_id: &'a AccountId,
    hold_id: i64,
}

async fn write_caps(tx: &mut Tx, id: &AccountId, changes: &Changes) -> Result<()> {
    for (user, credits) in &changes.caps {
        match credits {
            Some(credits) => {
                tx.query(
                    "INSERT INTO caps (account_id, user_id, credits) VALUES ($1, $2, $3)
                     ON CONFLICT (account_id, user_id) DO UPDATE SET credits = excluded.credits",
                )
                .bind(id.as_str())
                .bind(user.as_str())
                .bind(credits.get())
                .execute()
                .await
                .while_("writing a cap")?;
            }
            None => {
                for sql in [
                    "DELETE FROM caps WHERE account_id = $1 AND user_id = $2",
                    "DELETE FROM cap_months WHERE account_id = $1 AND user_id = $2",
                ] {
                    tx.query(sql).bind(id.as_str()).bind(user.as_str()).execute().await.while_("ending a cap")?;
                }
            }
        }
    }
    for (user, month, used) in &changes.cap_months {
        tx.query(
            "INSERT INTO cap_months (account_id, user_id, month, used) VALUES ($1, $2, $3, $4)
             ON CONFLICT (account_id, user_id, month) DO UPDATE SET used = excluded.used",
        )
        .bind(id.as_str())
        .bind(user.as_str())
        .bind(month.to_string())
        .bind(used.get())
        .execute()
        .await
        .while_("writing what a user with a cap has used")?;
    }
    Ok(())
}

fn transaction_cells<'a>(account: &'a AccountId, row: &'a Transaction) -> Result<Vec<Cell<'a>>> {
    let mut cells = Vec::with_capacity(TRANSACTION_COLUMNS.len());
    cells.extend([
        Cell::Text(account.as_str()),
        Cell::Int(row.seq),
        Cell::Text(row.kind.as_str()),
        Cell::Int(row.occurred_at.micros()),
        Cell::Int(row.recorded_at.micros()),
        Cell::of_text(row.user.as_ref().map(|user| user.as_str())),
        Cell::of_text(row.action.as_ref().map(|action| action.as_str())),
        Cell::Int(row.quantity),
        Cell::Int(row.unit_price.get()),
        Cell::Text(row.status.as_str()),
        Cell::of_text(row.reason.map(Reason::as_str)),
        Cell::Text(&row.comment),
        Cell::of_text(row.key.as_ref().map(|key| key.as_str())),
        Cell::of_int(row.content.map(|content| content.0)),
        Cell::of_int(row.corrects),
        Cell::of_int(row.expires_at.map(Instant::micros)),
        Cell::of_int(row.money.as_ref().map(|money| money.minor)),
        Cell::of_text(row.money.as_ref().map(|money| money.currency.as_str())),
        Cell::of_text(row.reference.as_ref().map(|reference| reference.as_str())),
        Cell::Int(row.delta.free.get()),
        Cell::Int(row.delta.purchased.get()),
        Cell::Int(row.balance.free.get()),
        Cell::Int(row.balance.purchased.get()),
        Cell::Own(json(&row.entries)?),
    ]);
    cells.push(Cell::Int(super::digest::of_cells(&cells)));
    Ok(cells)
}

fn grant_cells<'a>(account: &'a AccountId, grant: &'a Grant) -> Vec<Cell<'a>> {
    let mut cells = vec![
        Cell::Text(account.as_str()),
        Cell::Int(grant.id.0),
        Cell::Text(&grant.label),
        Cell::Text(grant.credit_type.as_str()),
        Cell::Text(grant.source.as_str()),
        Cell::Int(grant.amount.get()),
        Cell::Int(grant.starts_at.micros()),
        Cell::of_int(grant.expires_at.map(Instant::micros)),
    ];
    let figures = [
        grant.consumed,
        grant.refunded,
        grant.lapsed,
        grant.lapsed_at_once,
        grant.returned,
        grant.adjusted,
        grant.held,
        grant.remaining,
    ];
    cells.extend(figures.map(|credits| Cell::Int(credits.get())));
    cells.push(Cell::of_int(grant.lapsed_by));
    let came_back = grant.came_back.parts();
    cells.push(if came_back.is_empty() { Cell::Null } else { Cell::Own(came_back_text(came_back)) });
    cells
}

/// `[[instant,credits],..]`, oldest first.
fn came_back_text(parts: &[(Instant, Credits)]) -> String {
    let part = |(at, credits): &(Instant, Credits)| format!("[{},{credits}]", at.micros());
    format!("[{}]", parts.iter().map(part).collect::<Vec<_>>().join(","))
}

fn account_cells(ledger: &Ledger) -> Vec<Cell<'static>> {
    let month = |month: Option<Month>| month.map_or(Cell::Null, |m| Cell::Own(m.to_string()));
    vec![
        Cell::Own(ledger.account.id.to_string()),
        month(ledger.opened_through),
        month(ledger.closed_through),
        Cell::Int(ledger.last_seq),
        Cell::Int(ledger.last_recorded_at.micros()),
        Cell::Int(ledger.balance.free.get()),
        Cell::Int(ledger.balance.purchased.get()),
        Cell::Int(ledger.due_at().micros()),
    ]
}
