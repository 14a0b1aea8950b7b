//! Data on stdout, in the form that was asked for.
//!
//! A command makes rows of [`Cell`]s under named [`Column`]s; the form is chosen here alone, so every command has all
//! of them and column names are the same in each. Long lists stream: only the table holds rows back, at most
//! [`TABLE_ROWS_MAX`] of them.

use crate::core::calendar::Instant;
use crate::core::counting::grouped;
use crate::core::credits::Credits;
use crate::core::ids::printable;
use crate::report::neutral;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, TableComponent, Width, presets};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::io::{self, BufWriter, Write};

/// Rows of one table; a longer list becomes several, each under its own head.
pub const TABLE_ROWS_MAX: usize = 1_000;

/// What a column of text keeps on a narrow terminal, in characters: an instant's. Below that one reads letters, not words.
const TEXT_WIDTH_MIN: usize = 20;

/// Spaces left and right of a column; with the blank between two columns that makes two spaces.
const PADDING: (u16, u16) = (0, 1);

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputMode {
    /// For people.
    #[default]
    Table,
    /// One JSON document with its schema's name and version.
    Json,
    /// Comma-separated, with a head.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

/// How and where output is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layout {
    /// The form.
    pub mode: OutputMode,
    /// Columns of text that a table may take; none for as many as it needs.
    pub width: Option<u16>,
}

impl Layout {
    /// The form `mode`, fitted to the terminal when stdout is one.
    #[must_use]
    pub fn for_stdout(mode: OutputMode) -> Layout {
        Layout { mode, width: Table::new().width() }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A whole number; a table groups its digits.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// Things inside the one thing, for programs.
    Json(serde_json::Value),
    /// Nothing.
    Null,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Cell {
        Cell::Int(number)
    }
}

impl From<Credits> for Cell {
    fn from(credits: Credits) -> Cell {
        Cell::Int(credits.get())
    }
}

impl From<Instant> for Cell {
    fn from(instant: Instant) -> Cell {
        Cell::Text(instant.to_string())
    }
}

impl From<bool> for Cell {
    fn from(truth: bool) -> Cell {
        Cell::Bool(truth)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}

impl Cell {
    fn for_people(&self) -> String {
        match self {
            Cell::Text(text) => printable(&text.replace(char::is_control, " ")),
            Cell::Int(number) => grouped(*number),
            Cell::Bool(true) => "yes".to_owned(),
            Cell::Bool(false) => "no".to_owned(),
            Cell::Json(value) => printable(&value.to_string()),
            Cell::Null => "-".to_owned(),
        }
    }

    fn for_csv(&self) -> String {
        match self {
            Cell::Text(text) => neutral(text).into_owned(),
            Cell::Int(number) => number.to_string(),
            Cell::Bool(truth) => truth.to_string(),
            Cell::Json(value) => neutral(&value.to_string()).into_owned(),
            Cell::Null => String::new(),
        }
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::Text(text) => serializer.serialize_str(text),
            Cell::Int(number) => serializer.serialize_i64(*number),
            Cell::Bool(truth) => serializer.serialize_bool(*truth),
            Cell::Json(value) => value.serialize(serializer),
            Cell::Null => serializer.serialize_none(),
        }
    }
}

/// A named column: the same name in every form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub(super) name: &'static str,
    is_number: bool,
}

impl Column {
    /// A column of text, flush left.
    #[must_use]
    pub const fn text(name: &'static str) -> Column {
        Column { name, is_number: false }
    }

    /// A column of numbers, flush right.
    #[must_use]
    pub const fn number(name: &'static str) -> Column {
        Column { name, is_number: true }
    }
}

/// One row under its columns, as a JSON object.
struct Object<'a> {
    schema: Option<&'static str>,
    columns: &'a [Column],
    cells: &'a [Cell],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(schema) = self.schema {
            map.serialize_entry("schema", schema)?;
        }
        for (column, cell) in self.columns.iter().zip(self.cells) {
            map.serialize_entry(column.name, cell)?;
        }
        map.end()
    }
}

/// Writes rows as they come.
pub struct RecordWriter<W: Write> {
    form: Form<W>,
    schema: &'static str,
    columns: Vec<Column>,
    rows: usize,
}

enum Form<W: Write> {
    Table { out: W, width: Option<u16>, rows: Vec<Vec<Cell>> },
    Json(W),
    Csv(Box<csv::Writer<W>>),
    Ndjson(W),
}

impl<W: Write> RecordWriter<W> {
    /// Begins a list. `schema` names what a row is, with its version: `creditd.transactions/1`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, layout: Layout, schema: &'static str, columns: &[Column]) -> io::Result<RecordWriter<W>> {
        let form = match layout.mode {
            OutputMode::Table => Form::Table { out, width: layout.width, rows: Vec::new() },
            OutputMode::Json => {
                write!(out, "{{\"schema\":{},\"rows\":[", serde_json::to_string(schema)?)?;
                Form::Json(out)
            }
            OutputMode::Csv => {
                let mut writer = Box::new(csv::Writer::from_writer(out));
                writer.write_record(columns.iter().map(|column| column.name)).map_err(csv_error)?;
                Form::Csv(writer)
            }
            OutputMode::Ndjson => Form::Ndjson(out),
        };
        Ok(RecordWriter { form, schema, columns: columns.to_vec(), rows: 0 })
    }

    /// Writes one row, a cell for each column.
    ///
    /// # Errors
    /// Those of `out`; [`io::ErrorKind::InvalidInput`] when the cells do not match the columns.
    pub fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        if cells.len() != self.columns.len() {
            let what = format!("a row of {} has {} cells for {} columns", self.schema, cells.len(), self.columns.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let object = |schema| Object { schema, columns: &self.columns, cells: &cells };
        match &mut self.form {
            Form::Table { out, width, rows } => {
                rows.push(cells);
                if rows.len() == TABLE_ROWS_MAX {
                    write_table(out, *width, &self.columns, rows)?;
                    rows.clear();
                }
            }
            Form::Json(out) => {
                out.write_all(if self.rows == 0 { b"\n" } else { b",\n" })?;
                serde_json::to_writer(out, &object(None))?;
            }
            Form::Csv(writer) => writer.write_record(cells.iter().map(Cell::for_csv)).map_err(csv_error)?,
            Form::Ndjson(out) => {
                serde_json::to_writer(&mut *out, &object(Some(self.schema)))?;
                out.write_all(b"\n")?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Ends the list. Without it the output is incomplete.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(self) -> io::Result<()> {
        match self.form {
            Form::Table { mut out, width, rows } => {
                // An empty list shows its head, so that it does not look like a failure.
                if !rows.is_empty() || self.rows == 0 {
                    write_table(&mut out, width, &self.columns, &rows)?;
                }
                out.flush()
            }
            Form::Json(mut out) => {
                out.write_all(if self.rows == 0 { b"]}\n" } else { b"\n]}\n" })?;
                out.flush()
            }
            Form::Csv(mut writer) => writer.flush(),
            Form::Ndjson(mut out) => out.flush(),
        }
    }
}

/// Serialising our own values cannot fail, so every error here is one of the writer below.
fn csv_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn write_table(out: &mut impl Write, width: Option<u16>, columns: &[Column], rows: &[Vec<Cell>]) -> io::Result<()> {
    let mut table = plain_table(width);
    table.set_style(TableComponent::HeaderLines, '─').set_style(TableComponent::MiddleHeaderIntersections, '─');
    table.set_header(columns.iter().map(|column| column.name));
    let mut longest: Vec<usize> = columns.iter().map(|column| column.name.len()).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().map(Cell::for_people).collect();
        longest.iter_mut().zip(&cells).for_each(|(longest, cell)| *longest = cell.chars().count().max(*longest));
        table.add_row(cells);
    }
    for (at, column) in columns.iter().enumerate() {
        let Some(in_table) = table.column_mut(at) else { continue };
        in_table.set_padding(PADDING);
        // Only long texts wrap: a number in two lines is two numbers.
        let mut least = longest[at];
        if column.is_number {
            in_table.set_cell_alignment(CellAlignment::Right);
        } else {
            least = least.min(TEXT_WIDTH_MIN);
        }
        let least = u16::try_from(least).unwrap_or(u16::MAX).saturating_add(PADDING.0 + PADDING.1);
        in_table.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
    }
    writeln!(out, "{}", table.trim_fmt())
}

fn plain_table(width: Option<u16>) -> Table {
    let mut table = Table::new();
    // The terminal is looked at once, in `Layout`: what is written depends on arguments alone.
    table.load_preset(presets::NOTHING).force_no_tty();
    if let Some(width) = width {
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// A list that is already complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    schema: &'static str,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Records {
    /// An empty list; `schema` as for [`RecordWriter::new`].
    #[must_use]
    pub fn new(schema: &'static str, columns: &[Column]) -> Records {
        Records { schema, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, a cell for each column.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// As [`RecordWriter::row`].
    pub fn write(self, out: &mut impl Write, layout: Layout) -> io::Result<()> {
        let mut writer = RecordWriter::new(out, layout, self.schema, &self.columns)?;
        self.rows.into_iter().try_for_each(|row| writer.row(row))?;
        writer.finish()
    }
}

/// Writes one thing: a table of names and values, one JSON object, or one row.
///
/// # Errors
/// Those of `out`.
pub fn write_one(
    out: &mut impl Write,
    layout: Layout,
    schema: &'static str,
    fields: &[(&'static str, Cell)],
) -> io::Result<()> {
    let columns: Vec<Column> = fields.iter().map(|(name, _)| Column::text(name)).collect();
    let cells: Vec<Cell> = fields.iter().map(|(_, cell)| cell.clone()).collect();
    match layout.mode {
        OutputMode::Table => {
            let mut table = plain_table(layout.width);
            table.add_rows(fields.iter().map(|(name, cell)| [(*name).to_owned(), cell.for_people()]));
            if let Some(names) = table.column_mut(0) {
                names.set_padding(PADDING);
            }
            writeln!(out, "{}", table.trim_fmt())?;
            out.flush()
        }
        OutputMode::Json => {
            let object = Object { schema: Some(schema), columns: &columns, cells: &cells };
            serde_json::to_writer_pretty(&mut *out, &object)?;
            out.write_all(b"\n")?;
            out.flush()
        }
        OutputMode::Csv | OutputMode::Ndjson => {
            let mut writer = RecordWriter::new(out, layout, schema, &columns)?;
            writer.row(cells)?;
            writer.finish()
        }
    }
}

/// Whoever read our stdout has closed it (`| head`). [`crate::cli::exit::Failure`] ends quietly on it; a broken pipe
/// of anything else stays a failure.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the reader of the output has gone")]
pub struct ReaderGone;

impl ReaderGone {
    /// True when `error` is this one, as an [`io::Error`] carries it.
    pub(super) fn is_cause(error: &(dyn std::error::Error + 'static)) -> bool {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.is_some_and(|inner| inner.is::<ReaderGone>())
    }
}

/// A writer whose broken pipe is [`ReaderGone`].
#[derive(Debug)]
pub struct Piped<W>(W);

impl<W: Write> Write for Piped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(reader_gone)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(reader_gone)
    }
}

fn reader_gone(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, ReaderGone),
        _ => error,
    }
}

/// The process's stdout, buffered: the only way data gets there. Flush it, or finish what writes to it.
#[must_use]
pub fn stdout() -> BufWriter<Piped<io::Stdout>> {
    BufWriter::new(Piped(io::stdout()))
}

/// Prints a document that is JSON in any case, such as the schema of a file.
///
/// # Errors
/// When stdout does not take it.
pub(super) fn print_document(document: &serde_json::Value) -> io::Result<()> {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, document)?;
    writeln!(out)?;
    out.flush()
}

#[cfg(test)]
mod tests;
