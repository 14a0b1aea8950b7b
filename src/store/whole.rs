//! A whole copy of some accounts: a ledger of its own on SQLite, in which no row is missing.
//!
//! Whatever needs rows that have left the database, but for what calls ask, is done on such a copy, by the same code that does it
//! where all rows are in the database.

use super::apply::{TRANSACTIONS, transaction_cells};
use super::backend::Tx;
use super::retention::Opening;
use super::sql::{Row, Sql};
use super::tables::Holds::{Int, Text};
use super::tables::{Bound, Cell, Columns, Holds, Table};
use super::{Result, Store, While, json};
use crate::core::ids::AccountId;
use crate::core::transaction::Transaction;
use futures_util::TryStreamExt;
use std::sync::LazyLock;

/// Rows that are handed over at once.
const ROWS_AT_ONCE: usize = 2_000;

const fn columns(table: &'static str, columns: &'static [(&'static str, Holds)]) -> Columns {
    Columns { table, keys: 0, expected: 0, checked: None, columns }
}

/// What belongs to accounts and says what their credits are, in an order in which each finds what it refers to.
#[rustfmt::skip]
const TABLES: &[Columns] = &[
    // Without its opening: in the copy there is none.
    columns("accounts", &[
        ("account_id", Text), ("name", Text), ("opened_at", Int), ("created_at", Int), ("levels", Text), ("locale", Text),
        ("digest", Int), ("opened_through", Text), ("closed_through", Text), ("reopened_through", Text), ("last_seq", Int),
        ("last_recorded_at", Int), ("balance_free", Int), ("balance_purchased", Int), ("due_at", Int),
    ]),
    columns("terms", &[
        ("account_id", Text), ("from_month", Text), ("zone", Text), ("allowance", Int), ("digest", Int),
    ]),
    columns("closures", &[("account_id", Text), ("closed_at", Int), ("reopened_at", Int)]),
    columns("grants", &[
        ("account_id", Text), ("grant_id", Int), ("label", Text), ("credit_type", Text), ("source", Text), ("amount", Int),
        ("starts_at", Int), ("expires_at", Int), ("consumed", Int), ("refunded", Int), ("lapsed", Int),
        ("lapsed_at_once", Int), ("returned", Int), ("adjusted", Int), ("held", Int), ("remaining", Int),
        ("lapsed_by", Int), ("came_back", Text),
    ]),
    columns("holds", &[("account_id", Text), ("hold_id", Int), ("expires_at", Int)]),
    columns("caps", &[("account_id", Text), ("user_id", Text), ("credits", Int)]),
    columns("cap_months", &[("account_id", Text), ("user_id", Text), ("month", Text), ("used", Int)]),
    columns("payments", &[("reference", Text), ("account_id", Text), ("purchase_id", Int)]),
    TRANSACTIONS,
];
/// What belongs to none, and is there whole.
#[rustfmt::skip]
const COMMON: &[Columns] = &[
    columns("actions", &[("code", Text), ("title", Text), ("help", Text), ("digest", Int)]),
    columns("prices", &[("action", Text), ("effective_from", Int), ("credits", Int), ("digest", Int)]),
];

/// Reads a table, and writes what was read.
struct Copied {
    columns: &'static Columns,
    read: Sql,
    write: Sql,
}

static OF_ACCOUNTS: LazyLock<Vec<Copied>> = LazyLock::new(|| {
    let of = |columns: &'static Columns| {
        let from = format!(
            "SELECT {} FROM v CROSS JOIN {} AS t WHERE t.account_id = v.account_id",
            named(columns),
            columns.table
        );
        let read = Sql {
            sqlite: format!("WITH v AS MATERIALIZED (SELECT value AS account_id FROM jsonb_each($1)) {from}").leak(),
            postgres: format!(
                "WITH v AS MATERIALIZED (SELECT account_id FROM jsonb_array_elements_text($1::jsonb) AS j (account_id)) {from}"
            )
            .leak(),
        };
        Copied { columns, read, write: insert(columns) }
    };
    TABLES.iter().map(of).collect()
});
static IN_COMMON: LazyLock<Vec<Copied>> = LazyLock::new(|| {
    let of = |columns: &'static Columns| {
        let read: &'static str = format!("SELECT {} FROM {} AS t", named(columns), columns.table).leak();
        Copied { columns, read: read.into(), write: insert(columns) }
    };
    COMMON.iter().map(of).collect()
});

fn named(columns: &Columns) -> String {
    columns.columns.iter().map(|(name, _)| format!("t.{name}")).collect::<Vec<_>>().join(", ")
}

/// The copy is on SQLite, wherever it comes from.
fn insert(columns: &Columns) -> Sql {
    let text: &'static str = columns.insert(Bound::Json, 0).leak();
    text.into()
}

impl Copied {
    fn cells(&self, row: &Row) -> Vec<Cell<'static>> {
        let cell = |(at, (_, holds)): (usize, &(&str, Holds))| match holds {
            Int => Cell::of_int(row.get(at)),
            Text => row.get::<Option<String>>(at).map_or(Cell::Null, Cell::Own),
        };
        self.columns.columns.iter().enumerate().map(cell).collect()
    }

    /// Copies what `from` finds for `asked`.
    async fn copy(&self, from: &mut Tx, asked: Option<&str>, to: &mut Tx) -> Result<()> {
        let query = from.query(self.read);
        let mut found = match asked {
            Some(asked) => query.bind(asked.to_owned()),
            None => query,
        }
        .fetch();
        let mut rows = Vec::new();
        while let Some(row) = found.try_next().await.while_("reading what is to be copied")? {
            rows.push(self.cells(&row));
            if rows.len() == ROWS_AT_ONCE {
                write(self, std::mem::take(&mut rows), to).await?;
            }
        }
        write(self, rows, to).await
    }
}

async fn write(copied: &Copied, rows: Vec<Vec<Cell<'static>>>, to: &mut Tx) -> Result<()> {
    Table { columns: copied.columns, rows }.write(to, copied.write).await
}

impl Store {
    /// Copies to `to`, an empty ledger on SQLite, what says what the credits of `accounts` are, all of one instant. Returns the openings
    /// that they have here: in the copy they have none, and the rows up to those that have left are for
    /// [`Store::lay_back`].
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn copy_accounts(&self, accounts: &[AccountId], to: &Store) -> Result<Vec<Opening>> {
        let asked = json(accounts)?;
        let (mut from, mut into) = (self.read().await?, to.begin().await?);
        // Those that every new ledger begins with.
        into.run_script("DELETE FROM prices; DELETE FROM actions").await.while_("emptying the copy")?;
        for copied in IN_COMMON.iter() {
            copied.copy(&mut from, None, &mut into).await?;
        }
        for copied in OF_ACCOUNTS.iter() {
            copied.copy(&mut from, Some(&asked), &mut into).await?;
        }
        into.commit().await.while_("committing a copy")?;
        let openings = from.query(super::retention::OPENINGS_OF).bind(asked).fetch_all().await;
        openings.while_("reading with what accounts begin")?.iter().map(Opening::read).collect()
    }

    /// An account of a copy that has not all its rows, if there is one: they are numbered without gaps.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn lacking_account(&self) -> Result<Option<AccountId>> {
        const LACKING: &str = "SELECT a.account_id FROM accounts AS a WHERE a.last_seq <>
            (SELECT count(*) FROM transactions AS t WHERE t.account_id = a.account_id) LIMIT 1";
        let rows = self.query(LACKING).fetch_all().await.while_("counting the rows of a copy")?;
        rows.first().map(|row| Ok(AccountId::new(row.get(0))?)).transpose()
    }

    /// Adds rows to a copy that left the ledger it was made of.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn lay_back(&self, rows: &[(AccountId, Transaction)]) -> Result<()> {
        let mut tx = self.begin().await?;
        let sql = insert(&TRANSACTIONS);
        for some in rows.chunks(ROWS_AT_ONCE) {
            let rows = some.iter().map(|(id, row)| transaction_cells(id, row)).collect::<Result<_>>()?;
            Table { columns: &TRANSACTIONS, rows }.write(&mut tx, sql).await?;
        }
        tx.commit().await.while_("committing a copy")
    }
}
