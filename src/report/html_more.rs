//! The sections of the page beside its lines: the comparison, accounts, money, who used most, and the log.

use super::log::columns;
use super::more::{Block, Value, blocks};
use super::wording::{filters_said, listed};
use crate::core::counting::grouped;
use crate::core::statement::{Cell, Column, LOG_COLUMNS, ReportModel};
use serde::Serialize;

/// The names end in `.html`, which is what turns escaping on.
pub(super) const MORE_NAME: &str = "report-more.html";
pub(super) const MORE: &str = include_str!("../../templates/report-more.html");
pub(super) const CSS_NAME: &str = "report-more.css";
pub(super) const CSS: &str = include_str!("../../templates/report-more.css");

/// Most transactions on a page: about 1 MB of it.
pub(super) const LOG_ROWS_MAX: usize = 2_000;

/// What the template of these sections shows.
#[derive(Serialize)]
pub(super) struct MoreView {
    /// What was left out, in words; empty when nothing was.
    filters: String,
    blocks: Vec<BlockView>,
    log: Option<LogView>,
}

#[derive(Serialize)]
struct BlockView {
    title: String,
    hint: &'static str,
    heads: Vec<HeadView>,
    rows: Vec<RowView>,
}

#[derive(Serialize)]
struct HeadView {
    name: &'static str,
    is_text: bool,
}

#[derive(Serialize)]
struct RowView {
    is_sum: bool,
    /// A row of a log that is no AI action.
    is_no_action: bool,
    cells: Vec<CellView>,
}

#[derive(Serialize)]
struct CellView {
    /// The column of a log, and its heading.
    column: &'static str,
    head: &'static str,
    said: String,
    is_text: bool,
    /// Long text of somebody else, which may be broken anywhere.
    is_long: bool,
    is_nothing: bool,
}

#[derive(Serialize)]
struct LogView {
    heads: Vec<HeadView>,
    rows: Vec<RowView>,
    /// How many there are, and which are on the page.
    hint: String,
}

pub(super) fn more_view(model: &ReportModel) -> MoreView {
    MoreView {
        filters: listed(&filters_said(model)),
        blocks: blocks(model).into_iter().map(block_view).collect(),
        log: model.is_log().then(|| log_view(model)),
    }
}

fn block_view(block: Block) -> BlockView {
    let is_text = |at: usize| block.rows.iter().all(|row| matches!(row[at], Value::Word(_) | Value::Given(_)));
    let heads = block.heads.iter().enumerate().map(|(at, name)| HeadView { name, is_text: is_text(at) });
    let cell = |value: &Value| CellView {
        column: "",
        head: "",
        said: value.said().replace('-', if matches!(value, Value::Word(_) | Value::Given(_)) { "-" } else { "−" }),
        is_text: matches!(value, Value::Word(_) | Value::Given(_)),
        is_long: false,
        is_nothing: matches!(value, Value::Number(0) | Value::Change(0) | Value::Blank),
    };
    let last = block.rows.len().saturating_sub(1);
    let rows = block.rows.iter().enumerate().map(|(at, row)| RowView {
        is_sum: block.has_sum && at == last,
        is_no_action: false,
        cells: row.iter().map(cell).collect(),
    });
    BlockView { heads: heads.collect(), rows: rows.collect(), title: block.title.clone(), hint: block.hint }
}

/// The columns of a log that a person reads first, where no order was chosen; those for machines are last.
const READ_FIRST: [Column; 10] = [
    Column::Account,
    Column::LocalTime,
    Column::User,
    Column::Action,
    Column::Credits,
    Column::Type,
    Column::Status,
    Column::Reason,
    Column::Comment,
    Column::Kind,
];

const fn is_long(column: Column) -> bool {
    matches!(column, Column::Comment | Column::User | Column::Reference | Column::Key)
}

fn log_view(model: &ReportModel) -> LogView {
    let log = &model.beside.log;
    let mut columns = columns(model);
    if model.spec.columns() == LOG_COLUMNS {
        columns.sort_by_key(|column| READ_FIRST.iter().position(|first| first == column).unwrap_or(READ_FIRST.len()));
    }
    let head = |column: &Column| HeadView { name: column.heading(), is_text: !column.is_figure() };
    let rows = log.iter().take(LOG_ROWS_MAX).map(|row| {
        let cell = |column: &Column| {
            let cell = row.cell(*column);
            let said = match cell {
                Cell::Credits(credits) => grouped(credits.get()).replace('-', "−"),
                Cell::Count(count) => grouped(count),
                Cell::Text(code) if *column == Column::Action => model.title_of(code).to_owned(),
                Cell::Time(time) => time.format("%Y-%m-%d %H:%M:%S").to_string(),
                cell => cell.to_string(),
            };
            CellView {
                column: column.as_str(),
                head: column.heading(),
                said,
                is_text: !column.is_figure(),
                is_long: is_long(*column),
                is_nothing: cell.is_nothing(),
            }
        };
        let is_no_action = matches!(row.cell(Column::Action), Cell::Blank);
        RowView { is_sum: false, is_no_action, cells: columns.iter().map(cell).collect() }
    });
    let all = grouped(log.len() as u64);
    let hint = match log.len() {
        0 => "There are no such transactions.".to_owned(),
        1 => "One transaction.".to_owned(),
        2..=LOG_ROWS_MAX => format!("{all} transactions, each by the clock of its account."),
        _ => format!("The first {} of {all} transactions; as CSV it has all.", grouped(LOG_ROWS_MAX as u64)),
    };
    LogView { heads: columns.iter().map(head).collect(), rows: rows.collect(), hint }
}
