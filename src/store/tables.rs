//! Rows on their way into a table: cells, the columns they go to, and the statements that take many rows at once.
//!
//! SQLite takes a set of rows as one JSON parameter, Postgres as one array per column. The texts are made from one list of
//! columns, so that no order of columns is written down twice.

use super::backend::Tx;
use super::sql::{Query, Sql};
use super::{Result, While, json};
use serde::{Serialize, Serializer};

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
    pub const fn int(&self) -> Option<i64> {
        match self {
            Cell::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Cell::Text(text) => Some(text),
            Cell::Own(text) => Some(text),
            _ => None,
        }
    }

    pub fn of_int(number: Option<i64>) -> Cell<'static> {
        number.map_or(Cell::Null, Cell::Int)
    }

    pub fn of_text(text: Option<&str>) -> Cell<'_> {
        text.map_or(Cell::Null, Cell::Text)
    }
}

/// What a column holds.
#[derive(Clone, Copy)]
pub(super) enum Holds {
    Int,
    Text,
}
use Holds::{Int, Text};

/// Columns of a table, in the order in which cells come. The first [`Columns::keys`] of them say which row, the next
/// [`Columns::expected`] what an update expects to find.
pub(super) struct Columns {
    pub table: &'static str,
    pub keys: usize,
    pub expected: usize,
    pub columns: &'static [(&'static str, Holds)],
    /// A column and what is written there in place of its cell: NULL, which it does not take, where the database knows
    /// better than who planned. So the statement is refused as a whole, as by any other constraint.
    pub checked: Option<(&'static str, &'static str)>,
}

/// How the cells of rows are bound, and become the table `v` in a statement.
#[derive(Clone, Copy)]
pub(super) enum Bound {
    /// All of them as one JSON text: SQLite.
    Json,
    /// One array for each column: Postgres.
    Arrays,
    /// One row, a parameter for each cell, which Postgres plans and runs quicker.
    Cells,
}

impl Columns {
    /// The table `v` of the rows that are bound behind `before` other parameters.
    fn v(&self, bound: Bound, before: usize) -> String {
        let parameter = |at: usize, (_, holds): &(&str, Holds)| {
            let kind = match holds {
                Int => "bigint",
                Text => "text",
            };
            format!("${}::{kind}", before + at + 1)
        };
        let each = |of: &dyn Fn(usize, &(&'static str, Holds)) -> String| {
            let each = self.columns.iter().enumerate().map(|(at, column)| of(at, column));
            each.collect::<Vec<_>>().join(", ")
        };
        match bound {
            Bound::Json => format!(
                "(SELECT {} FROM jsonb_each($1)) AS v",
                each(&|at, (name, _)| format!("value ->> {at} AS {name}"))
            ),
            Bound::Arrays => {
                format!(
                    "unnest({}) AS v ({})",
                    each(&|at, column| format!("{}[]", parameter(at, column))),
                    self.names()
                )
            }
            Bound::Cells => {
                format!("(SELECT {}) AS v", each(&|at, column| format!("{} AS {}", parameter(at, column), column.0)))
            }
        }
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// Adds rows. One whose number is taken is refused by the database: somebody else was first.
    pub fn insert(&self, bound: Bound, before: usize) -> String {
        let (table, names) = (self.table, self.names());
        let values = self.columns.iter().map(|(name, _)| self.value(name)).collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {table} ({names}) SELECT {values} FROM {}", self.v(bound, before))
    }

    /// What is written to a column.
    fn value(&self, name: &str) -> String {
        match self.checked {
            Some((checked, value)) if checked == name => value.to_owned(),
            _ => format!("v.{name}"),
        }
    }

    /// Moves on what stands behind the keys.
    pub fn update(&self, bound: Bound, before: usize) -> String {
        let (keys, moved) = (&self.columns[..self.keys], &self.columns[self.keys + self.expected..]);
        let set = moved.iter().map(|(name, _)| format!("{name} = {}", self.value(name))).collect::<Vec<_>>().join(", ");
        let same = keys.iter().map(|(name, _)| format!("t.{name} = v.{name}")).collect::<Vec<_>>().join(" AND ");
        format!("UPDATE {} AS t SET {set} FROM {} WHERE {same}", self.table, self.v(bound, before))
    }
}

/// Rows of one table.
pub(super) struct Table<'a> {
    pub columns: &'static Columns,
    pub rows: Vec<Vec<Cell<'a>>>,
}

impl Table<'_> {
    /// Adds the rows to the parameters of `query`, as [`Bound::Json`] or [`Bound::Arrays`].
    pub fn bind<'q>(&self, query: Query<'q>) -> Result<Query<'q>> {
        match query {
            Query::Sqlite(..) => Ok(query.bind(json(&self.rows)?)),
            Query::Postgres(on, mut query) => {
                for (at, (_, holds)) in self.columns.columns.iter().enumerate() {
                    query = match holds {
                        Int => query.bind(self.rows.iter().map(|row| row[at].int()).collect::<Vec<Option<i64>>>()),
                        Text => query.bind(self.rows.iter().map(|row| row[at].text()).collect::<Vec<Option<&str>>>()),
                    };
                }
                Ok(Query::Postgres(on, query))
            }
        }
    }

    /// Adds the only row as [`Bound::Cells`]; where there is none, as NULL, which no key is.
    pub fn bind_one<'q>(&self, mut query: Query<'q>) -> Query<'q> {
        for (at, (_, holds)) in self.columns.columns.iter().enumerate() {
            let cell = self.rows.first().map_or(&Cell::Null, |row| &row[at]);
            query = match holds {
                Int => query.bind(cell.int()),
                Text => query.bind(cell.text().map(str::to_owned)),
            };
        }
        query
    }

    /// Writes the rows, if there are any.
    pub async fn write(&self, tx: &mut Tx, sql: Sql) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.bind(tx.query(sql))?.execute().await.while_("writing a batch").map(drop)
    }
}
