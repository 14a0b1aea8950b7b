//! A program that asks nobody's leave: one connection to a ledger's database on which nothing is refused that can be
//! written at all, and which puts back what it changed.

use crate::support::{Backend, Sandbox};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};

/// The connection.
pub enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A column of a table, from the database's own catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub table: String,
    pub name: String,
    /// The type in the words of the database, in capitals.
    pub kind: String,
    pub is_nullable: bool,
    pub is_key: bool,
}

impl Raw {
    /// Connects, and takes triggers, checks and foreign keys out of the way.
    pub async fn new(sandbox: &Sandbox) -> Raw {
        match sandbox.backend() {
            Backend::Sqlite => {
                let options = sqlx::sqlite::SqliteConnectOptions::new()
                    .filename(sandbox.path("creditd.db"))
                    .foreign_keys(false)
                    .pragma("ignore_check_constraints", "ON")
                    .synchronous(sqlx::sqlite::SqliteSynchronous::Off);
                let mut raw = Raw::Sqlite(SqliteConnection::connect_with(&options).await.expect("a connection"));
                for trigger in raw.texts("SELECT name FROM sqlite_schema WHERE type = 'trigger'").await {
                    raw.execute(&format!("DROP TRIGGER {trigger}")).await.expect("dropped");
                }
                raw
            }
            Backend::Postgres => {
                let mut raw = Raw::Postgres(PgConnection::connect(sandbox.url()).await.expect("a connection"));
                let checks = "SELECT 'ALTER TABLE ' || conrelid::regclass || ' DROP CONSTRAINT ' || conname
                                FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0";
                for drop in raw.texts(checks).await {
                    raw.execute(&drop).await.expect("dropped");
                }
                // Neither triggers nor foreign keys.
                raw.execute("SET session_replication_role = replica").await.expect("a superuser may");
                raw
            }
        }
    }

    /// Runs a statement; how many rows it changed, or what the database said.
    pub async fn execute(&mut self, sql: &str) -> Result<u64, String> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        let done = match self {
            Raw::Sqlite(connection) => sql.execute(connection).await.map(|done| done.rows_affected()),
            Raw::Postgres(connection) => sql.execute(connection).await.map(|done| done.rows_affected()),
        };
        done.map_err(|error| error.to_string())
    }

    /// The first column of what a query finds, which is text.
    pub async fn texts(&mut self, sql: &str) -> Vec<String> {
        self.rows(sql).await.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
    }

    /// What a query finds; all columns are texts.
    pub async fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql));
        match self {
            Raw::Sqlite(connection) => {
                let rows = query.fetch_all(connection).await.expect(sql);
                rows.iter().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).collect()
            }
            Raw::Postgres(connection) => {
                let rows = query.fetch_all(connection).await.expect(sql);
                rows.iter().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).collect()
            }
        }
    }

    /// Every column of every table there is.
    pub async fn columns(&mut self) -> Vec<Column> {
        let catalogue = match self {
            Raw::Sqlite(_) => {
                "SELECT m.name, c.name, upper(c.type), CASE WHEN c.\"notnull\" THEN 'no' ELSE 'yes' END,
                        CASE WHEN c.pk > 0 THEN 'yes' ELSE 'no' END
                   FROM sqlite_schema AS m, pragma_table_info(m.name) AS c
                  WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, c.cid"
            }
            Raw::Postgres(_) => {
                "SELECT c.table_name::text, c.column_name::text, upper(c.data_type), lower(c.is_nullable),
                        CASE WHEN k.column_name IS NULL THEN 'no' ELSE 'yes' END
                   FROM information_schema.columns AS c JOIN information_schema.tables AS t
                     ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.table_type = 'BASE TABLE'
                   LEFT JOIN (information_schema.key_column_usage AS k JOIN information_schema.table_constraints AS p
                              ON p.constraint_name = k.constraint_name AND p.constraint_type = 'PRIMARY KEY')
                     ON k.table_name = c.table_name AND k.column_name = c.column_name
                  WHERE c.table_schema = current_schema() ORDER BY c.table_name, c.ordinal_position"
            }
        };
        let read = |row: Vec<Option<String>>| {
            let mut texts = row.into_iter().map(Option::unwrap_or_default);
            let mut next = || texts.next().unwrap_or_default();
            let (table, name, kind) = (next(), next(), next());
            Column { table, name, kind, is_nullable: next() == "yes", is_key: next() == "yes" }
        };
        self.rows(catalogue).await.into_iter().map(read).collect()
    }

    /// Remembers what is in a table.
    pub async fn remember(&mut self, table: &str) {
        self.execute(&format!("CREATE TEMP TABLE was_{table} AS SELECT * FROM {table}")).await.expect("a copy");
    }

    /// Makes a table again what it was.
    pub async fn put_back(&mut self, table: &str) {
        let script = format!("BEGIN; DELETE FROM {table}; INSERT INTO {table} SELECT * FROM was_{table}; COMMIT");
        self.execute(&script).await.expect("put back");
    }
}
