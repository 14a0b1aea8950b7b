//! Writing what was planned on ledgers: a handful of statements for a batch of any size (DESIGN 8).

use super::accounts::{self, digest_of_terms};
use super::backend::Tx;
use super::batch::Stood;
use super::kept::KeptLedger;
use super::sql::{On, Query, Sql, set};
use super::tables::Holds::{Int, Text};
use super::tables::{Bound, Cell, Columns, Table};
use super::{Batch, Result, While, json, said};
use crate::core::calendar::{Instant, Month};
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, Reference};
use crate::core::ledger::{Changes, Grant, Ledger};
use crate::core::transaction::{Reason, Transaction};
use serde::Serialize;
use sqlx::postgres::PgConnection;
use std::sync::LazyLock;

#[rustfmt::skip]
pub(super) const TRANSACTIONS: Columns = Columns { table: "transactions", keys: 2, expected: 0, checked: None, columns: &[
    ("account_id", Text), ("seq", Int), ("kind", Text), ("occurred_at", Int), ("recorded_at", Int), ("user_id", Text),
    ("action", Text), ("quantity", Int), ("unit_price", Int), ("status", Text), ("reason", Text), ("comment", Text),
    ("key", Text), ("content", Int), ("corrects", Int), ("expires_at", Int), ("money_minor", Int), ("currency", Text),
    ("reference", Text), ("free_delta", Int), ("purchased_delta", Int), ("free_balance", Int),
    ("purchased_balance", Int), ("entries", Text), ("digest", Int),
] };
/// The same, of charges that happen now: each at the price that its action has at that moment (R8), also where one was set
/// after the charge was planned.
const CHARGES: Columns = Columns {
    checked: Some((
        "unit_price",
        "CASE WHEN v.action IS NULL OR v.unit_price =
                   (SELECT p.credits FROM prices AS p WHERE p.action = v.action AND p.effective_from <= v.occurred_at
                     ORDER BY p.effective_from DESC LIMIT 1)
              THEN v.unit_price END",
    )),
    ..TRANSACTIONS
};
/// Grants that are made: first, what moves in them later.
#[rustfmt::skip]
const GRANTS: Columns = Columns { table: "grants", keys: 2, expected: 0, checked: None, columns: &[
    ("account_id", Text), ("grant_id", Int), ("consumed", Int), ("refunded", Int), ("lapsed", Int),
    ("lapsed_at_once", Int), ("returned", Int), ("adjusted", Int), ("held", Int), ("remaining", Int),
    ("lapsed_by", Int), ("came_back", Text), ("label", Text), ("credit_type", Text), ("source", Text), ("amount", Int),
    ("starts_at", Int), ("expires_at", Int),
] };
/// What moves in grants that were there: the beginning of [`GRANTS`].
const GRANTS_MOVED: Columns = Columns { columns: GRANTS.columns.split_at(12).0, ..GRANTS };
/// Accounts whose next month, lapse or expiry is another now. Each must stand where it stood when its rows were planned: no
/// further, as where another process has gone on, and no less far, as where the database was set back to an earlier state. And
/// no rows may have left it meanwhile.
#[rustfmt::skip]
const ACCOUNTS: Columns = Columns { table: "accounts", keys: 1, expected: 3, columns: &[
    ("account_id", Text), ("stood_at", Int), ("stood_since", Int), ("stood_on", Int), ("opened_through", Text),
    ("closed_through", Text), ("last_seq", Int), ("last_recorded_at", Int), ("balance_free", Int),
    ("balance_purchased", Int), ("due_at", Int),
], checked: Some((
    "last_seq", "CASE WHEN t.last_seq = v.stood_at AND t.last_recorded_at = v.stood_since AND t.opening_seq = v.stood_on
          THEN v.last_seq END",
)) };
/// The others: the beginning of [`ACCOUNTS`]. SQLite would move the entry in the index of `due_at`, and write its page,
/// also where it stays the same.
const ACCOUNTS_NOT_DUE: Columns = Columns { columns: ACCOUNTS.columns.split_at(10).0, ..ACCOUNTS };

/// The statements that write a batch, for each database. Their texts are made once.
struct Statements {
    transactions: Sql,
    charges: Sql,
    grants: Sql,
    grants_moved: Sql,
    accounts: Sql,
    accounts_not_due: Sql,
    /// Charges, moved grants and accounts that are not due, all in one: of many rows, and of one in each table.
    many_at_once: &'static str,
    one_at_once: &'static str,
}

static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| {
    let leak = |text: String| -> &'static str { text.leak() };
    let both = |of: &dyn Fn(Bound) -> String| Sql { sqlite: leak(of(Bound::Json)), postgres: leak(of(Bound::Arrays)) };
    let at_once = |bound: Bound| {
        let (charges, grants) = (CHARGES.columns.len(), GRANTS_MOVED.columns.len());
        leak(format!(
            "WITH added AS ({}), moved AS ({}) {}",
            CHARGES.insert(bound, 0),
            GRANTS_MOVED.update(bound, charges),
            ACCOUNTS_NOT_DUE.update(bound, charges + grants)
        ))
    };
    Statements {
        transactions: both(&|bound| TRANSACTIONS.insert(bound, 0)),
        charges: both(&|bound| CHARGES.insert(bound, 0)),
        grants: both(&|bound| GRANTS.insert(bound, 0)),
        grants_moved: both(&|bound| GRANTS_MOVED.update(bound, 0)),
        accounts: both(&|bound| ACCOUNTS.update(bound, 0)),
        accounts_not_due: both(&|bound| ACCOUNTS_NOT_DUE.update(bound, 0)),
        many_at_once: at_once(Bound::Arrays),
        one_at_once: at_once(Bound::Cells),
    }
});

/// The changes of ledgers and, of those that have some, the projections beside them.
pub(super) struct Projected {
    changes: Vec<(AccountId, Changes)>,
    accounts: Vec<Vec<Cell<'static>>>,
    accounts_not_due: Vec<Vec<Cell<'static>>>,
    kept: Vec<KeptLedger>,
    is_charges: bool,
}

impl Projected {
    /// `is_charges` where all calls are charges that happen now: their ledgers are worth keeping, and their prices checked.
    pub fn of(batch: Batch, is_charges: bool) -> Projected {
        let (mut changes, mut accounts, mut accounts_not_due) = (Vec::new(), Vec::new(), Vec::new());
        let mut kept = Vec::new();
        for (id, ledger) in batch.ledgers.into_iter().filter(|(_, ledger)| ledger.is_changed()) {
            let due_at = ledger.due_at();
            let stood = batch.stood.get(&id).unwrap_or_else(|| unreachable!("it was loaded or kept"));
            let mut cells = account_cells(&ledger, stood);
            if stood.due_at == due_at {
                accounts_not_due.push(cells);
            } else {
                cells.push(Cell::Int(due_at.micros()));
                accounts.push(cells);
            }
            if is_charges && batch.plain.contains(&id) {
                kept.extend(KeptLedger::of(&ledger, due_at, stood.opening));
            }
            changes.push((id, ledger.into_changes()));
        }
        Projected { changes, accounts, accounts_not_due, kept, is_charges }
    }

    /// The ledgers worth keeping, once they are committed.
    pub fn into_kept(self) -> Vec<KeptLedger> {
        self.kept
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub fn written(&self) -> Result<Written<'_>> {
        let (mut transactions, mut grants, mut grants_moved) = (Vec::new(), Vec::new(), Vec::new());
        for (id, changes) in &self.changes {
            for row in &changes.rows {
                transactions.push(transaction_cells(id, row)?);
            }
            // The number of the row that makes a grant is the grant's.
            let first_seq = changes.rows.first().map_or(i64::MAX, |row| row.seq);
            for grant in &changes.grants {
                let mut cells = grant_cells(id, grant);
                if grant.id.0 < first_seq {
                    grants_moved.push(cells);
                } else {
                    cells.extend(made_cells(grant));
                    grants.push(cells);
                }
            }
        }
        Ok(Written {
            transactions: Table { columns: &TRANSACTIONS, rows: transactions },
            is_charges: self.is_charges,
            grants: Table { columns: &GRANTS, rows: grants },
            grants_moved: Table { columns: &GRANTS_MOVED, rows: grants_moved },
            accounts: Table { columns: &ACCOUNTS, rows: self.accounts.clone() },
            accounts_not_due: Table { columns: &ACCOUNTS_NOT_DUE, rows: self.accounts_not_due.clone() },
            changes: &self.changes,
        })
    }
}

/// What a batch changed, laid out in tables.
pub(super) struct Written<'a> {
    transactions: Table<'a>,
    is_charges: bool,
    grants: Table<'a>,
    grants_moved: Table<'a>,
    accounts: Table<'a>,
    accounts_not_due: Table<'a>,
    changes: &'a [(AccountId, Changes)],
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
        || !changes.months_closed.is_empty()
        || !changes.payments.is_empty()
}

impl Written<'_> {
    /// Whether [`Written::write_at_once`] can write it: charges on grants that were there, and nothing else.
    pub fn is_plain(&self) -> bool {
        self.is_charges
            && self.grants.rows.is_empty()
            && self.accounts.rows.is_empty()
            && !self.changes.iter().any(|(_, changes)| has_more(changes))
    }

    /// Writes everything in one statement, which is a transaction of its own, on Postgres. The statement that it ends with
    /// runs first there: the update of the accounts.
    pub async fn write_at_once(&self, connection: &mut PgConnection) -> Result<()> {
        let is_one = self.transactions.rows.len() == 1 && self.grants_moved.rows.len() <= 1;
        let query = if is_one {
            let query = Query::Postgres(On::Connection(connection), sqlx::query(STATEMENTS.one_at_once));
            self.accounts_not_due.bind_one(self.grants_moved.bind_one(self.transactions.bind_one(query)))
        } else {
            let query = Query::Postgres(On::Connection(connection), sqlx::query(STATEMENTS.many_at_once));
            self.accounts_not_due.bind(self.grants_moved.bind(self.transactions.bind(query)?)?)?
        };
        query.execute().await.while_("writing a batch").map(drop)
    }

    /// Locks the accounts in order of id, where [`Written::write`] would not touch them so: it takes those that are due
    /// behind the others, and two writers with both could wait for each other. Who locked them all has no need of it.
    pub async fn lock_in_order(&self, tx: &mut Tx) -> Result<()> {
        if self.accounts.rows.is_empty() || self.accounts_not_due.rows.is_empty() {
            return Ok(());
        }
        let ids = self.changes.iter().map(|(id, _)| id).collect::<Vec<_>>();
        accounts::lock(tx, &json(ids)?).await
    }

    /// Writes everything in a transaction, the accounts first: whoever writes touches their rows before all others.
    pub async fn write(&self, tx: &mut Tx) -> Result<()> {
        self.accounts_not_due.write(tx, STATEMENTS.accounts_not_due).await?;
        self.accounts.write(tx, STATEMENTS.accounts).await?;
        let transactions = if self.is_charges { STATEMENTS.charges } else { STATEMENTS.transactions };
        self.transactions.write(tx, transactions).await?;
        self.grants_moved.write(tx, STATEMENTS.grants_moved).await?;
        self.grants.write(tx, STATEMENTS.grants).await?;
        if self.changes.iter().any(|(_, changes)| has_more(changes)) { self.write_more(tx).await } else { Ok(()) }
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
        said::mark_closed(tx, each()).await?;
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
            if !changes.closures.is_empty() {
                // Its alerts end with it, also where no credits move.
                tx.query("INSERT INTO alerts_due (account_id) VALUES ($1) ON CONFLICT (account_id) DO NOTHING")
                    .bind(id.as_str())
                    .execute()
                    .await
                    .while_("marking an account for the next scan")?;
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

pub(super) fn transaction_cells<'a>(account: &'a AccountId, row: &'a Transaction) -> Result<Vec<Cell<'a>>> {
    let mut cells = Vec::with_capacity(TRANSACTIONS.columns.len());
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

/// The cells of [`GRANTS_MOVED`].
fn grant_cells<'a>(account: &'a AccountId, grant: &Grant) -> Vec<Cell<'a>> {
    let mut cells = Vec::with_capacity(GRANTS.columns.len());
    cells.extend([Cell::Text(account.as_str()), Cell::Int(grant.id.0)]);
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

/// The cells that [`GRANTS`] has beyond them.
fn made_cells(grant: &Grant) -> [Cell<'_>; 6] {
    [
        Cell::Text(&grant.label),
        Cell::Text(grant.credit_type.as_str()),
        Cell::Text(grant.source.as_str()),
        Cell::Int(grant.amount.get()),
        Cell::Int(grant.starts_at.micros()),
        Cell::of_int(grant.expires_at.map(Instant::micros)),
    ]
}

/// `[[instant,credits],..]`, oldest first.
fn came_back_text(parts: &[(Instant, Credits)]) -> String {
    let part = |(at, credits): &(Instant, Credits)| format!("[{},{credits}]", at.micros());
    format!("[{}]", parts.iter().map(part).collect::<Vec<_>>().join(","))
}

/// The cells of [`ACCOUNTS_NOT_DUE`].
fn account_cells(ledger: &Ledger, stood: &Stood) -> Vec<Cell<'static>> {
    let month = |month: Option<Month>| month.map_or(Cell::Null, |m| Cell::Own(m.to_string()));
    let mut cells = Vec::with_capacity(ACCOUNTS.columns.len());
    cells.extend([
        Cell::Own(ledger.account.id.to_string()),
        Cell::Int(stood.last_seq),
        Cell::Int(stood.last_recorded_at.micros()),
        Cell::Int(stood.opening),
        month(ledger.opened_through),
        month(ledger.closed_through),
        Cell::Int(ledger.last_seq),
        Cell::Int(ledger.last_recorded_at.micros()),
        Cell::Int(ledger.balance.free.get()),
        Cell::Int(ledger.balance.purchased.get()),
    ]);
    cells
}
