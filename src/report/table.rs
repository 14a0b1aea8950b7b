//! A report for a terminal: as many columns as fit, figures to the right, thousands apart.
//!
//! What is shown shrinks with the width in a fixed order, and a note names what is missing: columns that are zero
//! everywhere, then the end of periods, then the counts of actions. What still does not fit becomes one small
//! statement per period. A report of one period of one account always is such a statement. A breakdown has a row per
//! group instead of three, with the credits of both types side by side.

use super::wording::{days, filters_said, listed, period, whom};
use super::{Unfit, log, more};
use crate::core::counting::grouped;
use crate::core::statement::{Breakdown, Cell, Column, Group, Grouping, LINES_PER_PERIOD, Line, ReportModel};
use comfy_table::{CellAlignment, ColumnConstraint, Table, TableComponent, presets};

/// Narrower than this no statement is readable; a narrower terminal wraps lines by itself.
const WIDTH_MIN: u16 = 40;

/// Lines whose widths are compared, about 5 kB of memory each: nobody reads further down.
const LINES_MAX: usize = 50_000;

/// As much of an account's name as the heading has room for.
const NAME_CHARS_MAX: usize = 60;

/// In place of a table whose figures would all be zero.
const NOTHING: &str = "No credits were there, came or went in any of its periods: all figures are zero.";

/// Spaces between two columns.
const GAP: u16 = 2;

/// Whether a table holds `model`.
pub(super) fn check(model: &ReportModel) -> Result<(), Unfit> {
    match model.record_count() {
        ..=LINES_MAX => Ok(()),
        lines => Err(Unfit::Lines { lines, max: LINES_MAX, place: "a table" }),
    }
}

pub(super) fn render(model: &ReportModel, width: u16) -> String {
    let width = width.max(WIDTH_MIN);
    let body = match model.spec.breakdown() {
        Some(Breakdown::Transaction) => log::table(model, width),
        Some(breakdown) => usage(model, breakdown, width),
        None if model.lines.len() == LINES_PER_PERIOD => statement(&model.lines.triple(0), model.spec.columns()),
        None => grid(model, width).unwrap_or_else(|| statements(model)),
    };
    let more = more::told(model, width);
    format!("{}\n{}\n{body}{more}", model.spec.title(), wrapped(&subtitle(model), width))
}

/// Whom, which days, as of when.
fn subtitle(model: &ReportModel) -> String {
    let whom = whom(model, NAME_CHARS_MAX);
    let filters: String = filters_said(model).into_iter().map(|filter| format!(", {filter}")).collect();
    format!("{whom}, {}{filters}, as of {}", period(model), model.spec.as_of())
}

/// All lines in one table; `None` when no choice of columns fits.
fn grid(model: &ReportModel, width: u16) -> Option<String> {
    let in_subtitle = |column: &Column| match column {
        Column::Account => model.sections().len() == 1,
        Column::From | Column::To => model.spec.grouping() == Grouping::Range,
        _ => false,
    };
    let columns: Vec<Column> = model.spec.columns().iter().copied().filter(|column| !in_subtitle(column)).collect();
    let mut figures = Column::all_of(None).into_iter().filter(|column| column.is_figure());
    if figures.all(|column| model.is_blank(column)) {
        return Some(wrapped(NOTHING, width));
    }
    let mut table = new_table(columns.iter().map(|column| column.as_str()));
    for triple in model.lines.triples() {
        add_triple(&mut table, &triple, &columns, None);
    }
    // Totals need a column that says so.
    if matches!(columns.first(), Some(Column::Account | Column::From | Column::To)) {
        table.add_row([""]);
        add_triple(&mut table, &model.totals, &columns, Some("all"));
    }
    for (at, column) in columns.iter().enumerate() {
        align(&mut table, at, column.is_figure());
    }

    let gives_way = |column: Column| match column {
        _ if model.is_blank(column) => Keep::Zero,
        Column::To => Keep::Second,
        Column::Succeeded | Column::Failed | Column::Refused => Keep::Third,
        _ => Keep::Always,
    };
    let heads: Vec<Head> = columns.iter().map(|column| (column.as_str(), gives_way(*column))).collect();
    fitted(&mut table, &heads, width, false)
}

/// How long a column stays when there is less and less room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keep {
    /// Nothing but zeros: it goes first.
    Zero,
    Second,
    Third,
    Fourth,
    Always,
}

/// The name of a column, and when it goes.
pub(super) type Head<'a> = (&'a str, Keep);

/// The table with the columns that fit, and below it what is missing. `None` when those that stay do not fit, unless
/// there `must` be a table.
pub(super) fn fitted(table: &mut Table, heads: &[Head], width: u16, must: bool) -> Option<String> {
    let widths = table.column_max_content_widths();
    let needed = |stays: Keep| -> u32 {
        let shown = heads.iter().zip(&widths).filter(|((_, keep), _)| *keep >= stays);
        shown.map(|(_, width)| u32::from(width + GAP)).sum()
    };
    let choices = [Keep::Zero, Keep::Second, Keep::Third, Keep::Fourth, Keep::Always];
    let fits = choices.into_iter().find(|stays| needed(*stays) <= u32::from(width) + u32::from(GAP));
    let stays = fits.or_else(|| must.then_some(Keep::Always))?;
    let last_shown = heads.iter().rposition(|(_, keep)| *keep >= stays);
    for (at, ((_, keep), drawn)) in heads.iter().zip(table.column_iter_mut()).enumerate() {
        if *keep < stays {
            drawn.set_constraint(ColumnConstraint::Hidden);
        } else if Some(at) == last_shown {
            drawn.set_padding((0, 0));
        }
    }
    let named = |zero: bool| -> Vec<&str> {
        let of = |head: &&Head| head.1 < stays && (head.1 == Keep::Zero) == zero;
        heads.iter().filter(of).map(|(name, _)| *name).collect()
    };
    let notes = [("Zero everywhere", named(true)), ("No room for", named(false))].into_iter();
    let notes = notes.filter(|(_, names)| !names.is_empty());
    let notes: String = notes.map(|(intro, names)| wrapped(&format!("{intro}: {}.", listed(&names)), width)).collect();
    Some([finished(table), notes].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n"))
}

/// A column of figures of uses, whose groups have a row each: credits of both types side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct UseColumn {
    pub(super) name: &'static str,
    pub(super) column: Column,
    /// Of the three lines of a group.
    pub(super) of: usize,
    keep: Keep,
}

impl UseColumn {
    pub(super) fn cell<'a>(&self, triple: &[Line<'a>]) -> Cell<'a> {
        triple.get(self.of).map_or(Cell::Blank, |line| line.cell(self.column))
    }
}

/// The figures among `columns`, as uses show them.
pub(super) fn use_columns(columns: &[Column]) -> Vec<UseColumn> {
    let of = |column: &Column| -> Vec<UseColumn> {
        let of_type = |name, of, keep| UseColumn { name, column: *column, of, keep };
        match column {
            Column::Consumed => vec![
                of_type("free", 0, Keep::Third),
                of_type("purchased", 1, Keep::Third),
                of_type(column.as_str(), 2, Keep::Always),
            ],
            column if column.is_figure() => vec![of_type(column.as_str(), 2, Keep::Second)],
            _ => Vec::new(),
        }
    };
    columns.iter().flat_map(of).collect()
}

/// A row per group: what it took of each type and of both, and how its actions ended.
fn usage(model: &ReportModel, breakdown: Breakdown, width: u16) -> String {
    let has_accounts = model.sections().len() > 1;
    let has_periods = model.spec.grouping() != Grouping::Range;
    let in_subtitle = |column: &Column| match column {
        Column::Account => !has_accounts,
        Column::From | Column::To => !has_periods,
        // Types stand side by side.
        column => *column == Column::CreditType || column.is_figure(),
    };
    let texts: Vec<Column> = model.spec.columns().iter().copied().filter(|column| !in_subtitle(column)).collect();
    let figures = use_columns(model.spec.columns());
    let text_head =
        |column: &Column| (column.as_str(), if *column == Column::To { Keep::Second } else { Keep::Always });
    let mut heads: Vec<Head> = texts.iter().map(text_head).collect();
    for figure in &figures {
        let total = figure.cell(&model.totals);
        // How many there were of each is what a breakdown by status is asked for.
        let is_count = matches!(total, Cell::Count(_)) && breakdown == Breakdown::Status;
        let keep = if is_count { Keep::Fourth } else { figure.keep };
        heads.push((figure.name, if total.is_nothing() && keep != Keep::Always { Keep::Zero } else { keep }));
    }

    let mut table = new_table(heads.iter().map(|(name, _)| *name));
    let name_max = usize::from(width / 2).max(16);
    for triple in model.lines.triples() {
        let line = &triple[0];
        let text = |column: &Column| match (column.breakdown(), line.group) {
            (None, _) => shown(line.cell(*column)),
            (Some(_), Some(Group::Named(name))) => shortened(name, name_max),
            (Some(_), Some(Group::Word(word))) => (*word).to_owned(),
            (Some(_), Some(Group::Unnamed) | None) => format!("(no {breakdown})"),
        };
        let texts = texts.iter().map(text);
        table.add_row(texts.chain(figures.iter().map(|figure| shown(figure.cell(&triple)))).collect::<Vec<_>>());
    }
    if model.lines.is_empty() {
        return "No credits were used.\n".to_owned();
    }
    table.add_row([""]);
    let mut all: Vec<String> = texts.iter().map(|_| String::new()).collect();
    // Only a text has room for a word.
    all.iter_mut().take(1).for_each(|first| "all".clone_into(first));
    all.extend(figures.iter().map(|figure| shown(figure.cell(&model.totals))));
    table.add_row(all);
    for at in 0..heads.len() {
        align(&mut table, at, at >= texts.len());
    }
    fitted(&mut table, &heads, width, true).unwrap_or_default()
}

/// The beginning of a text that is too long for a table, on one line.
pub(super) fn shortened(text: &str, length_max: usize) -> String {
    if text.chars().count() <= length_max {
        return text.to_owned();
    }
    text.chars().take(length_max.saturating_sub(1)).chain(['…']).collect()
}

/// Adds the lines of one period. What the first line says of all three, the others do not repeat.
fn add_triple(table: &mut Table, triple: &[Line], columns: &[Column], label: Option<&str>) {
    let typed = columns.contains(&Column::CreditType);
    for (at, line) in triple.iter().enumerate() {
        let cells = columns.iter().enumerate().map(|(place, column)| match (column, label) {
            (Column::Account | Column::From | Column::To, _) if at > 0 && typed => String::new(),
            (Column::Account | Column::From | Column::To, Some(label)) => {
                if place == 0 {
                    label.to_owned()
                } else {
                    String::new()
                }
            }
            _ => shown(line.cell(*column)),
        });
        table.add_row(cells.collect::<Vec<_>>());
    }
}

/// One small statement per period.
fn statements(model: &ReportModel) -> String {
    let mut text = String::new();
    for section in model.sections() {
        for triple in section.triples() {
            let account = section.account.map(|id| format!("{id}, ")).unwrap_or_default();
            let period = triple.first().map(|line| days(line.range)).unwrap_or_default();
            text.push_str(&format!("{account}{period}\n{}\n", statement(&triple, model.spec.columns())));
        }
    }
    text
}

/// The three lines of a period side by side: the equation read downwards.
fn statement(triple: &[Line], columns: &[Column]) -> String {
    let mut table = new_table([""].into_iter().chain(triple.iter().map(|line| line.credit_type.as_str())));
    for column in columns {
        let sign = match column {
            Column::Account | Column::From | Column::To | Column::CreditType => continue,
            column if column.breakdown().is_some() || column.is_of_log() => continue,
            Column::Consumed | Column::Lapsed | Column::Returned => '-',
            Column::Remaining => '=',
            Column::CarriedIn | Column::Succeeded | Column::Failed | Column::Refused => ' ',
            _ => '+', // allocated, purchased, bonus, refunded and adjusted
        };
        let cells = triple.iter().map(|line| shown(line.cell(*column)));
        table.add_row([format!("{sign} {column}")].into_iter().chain(cells).collect::<Vec<_>>());
    }
    for at in 0..=triple.len() {
        align(&mut table, at, at > 0);
    }
    if let Some(last) = table.column_mut(triple.len()) {
        last.set_padding((0, 0));
    }
    finished(&table)
}

pub(super) fn shown(cell: Cell) -> String {
    match cell {
        Cell::Credits(credits) => grouped(credits.get()),
        Cell::Count(count) => grouped(count),
        cell => cell.to_string(),
    }
}

pub(super) fn new_table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    // Any style between columns would add a space to the padding.
    table.load_preset(presets::NOTHING).remove_style(TableComponent::VerticalLines);
    table.set_style(TableComponent::HeaderLines, '─');
    table.set_header(header.into_iter().collect::<Vec<_>>());
    table
}

pub(super) fn align(table: &mut Table, at: usize, right: bool) {
    if let Some(column) = table.column_mut(at) {
        column.set_cell_alignment(if right { CellAlignment::Right } else { CellAlignment::Left });
        column.set_padding((0, GAP));
    }
}

/// Words in lines of at most `width` characters, each line ended.
pub(super) fn wrapped(text: &str, width: u16) -> String {
    let (mut lines, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 {
            let is_full = used + 1 + length > usize::from(width);
            lines.push(if is_full { '\n' } else { ' ' });
            used = if is_full { 0 } else { used + 1 };
        }
        lines.push_str(word);
        used += length;
    }
    lines.push('\n');
    lines
}

/// The drawn table without the spaces that its last column leaves.
pub(super) fn finished(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::Scope;
    use crate::report::testing::{broken_down, report, statement};

    #[test]
    fn a_statement_is_the_equation_read_downwards() {
        insta::assert_snapshot!(render(&statement(), 80), @"
        Statement
        9e-atl, March 2026, as of 2026-04-02T06:00:00Z

                       free  purchased  total
        ─────────────────────────────────────
          carried_in      0      2,750  2,750
        + allocated   1,500          0  1,500
        + purchased       0      5,000  5,000
        + bonus         100          0    100
        - consumed    1,240         60  1,300
        + refunded        0         60     60
        - lapsed        360          0    360
        - returned        0      2,500  2,500
        + adjusted        0       -250   -250
        = remaining       0      5,000  5,000
          succeeded                         2
          failed                            1
          refused                           1
        ");
    }

    #[test]
    fn a_wide_terminal_gets_every_column() {
        let model = report("By month", "2026-02-15", "2026-03-11", Grouping::Month, Scope::Account, &["b", "a"]);
        insta::assert_snapshot!(render(&model, 200), @"
        By month
        2 accounts, 15 February – 10 March 2026, as of 2026-04-02T06:00:00Z

        account  from        to          credit_type  carried_in  allocated  purchased  bonus  consumed  refunded  lapsed  returned  adjusted  remaining  succeeded  failed  refused
        ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
        a        2026-02-15  2026-03-01  free                  0          0          0      0         0         0       0         0         0          0
                                         purchased         2,750          0          0      0         0         0       0         0         0      2,750
                                         total             2,750          0          0      0         0         0       0         0         0      2,750          0       0        0
        a        2026-03-01  2026-03-11  free                  0      1,500          0      0     1,240         0       0         0         0        260
                                         purchased         2,750          0          0      0        60         0       0         0         0      2,690
                                         total             2,750      1,500          0      0     1,300         0       0         0         0      2,950          2       1        1
        b        2026-02-15  2026-03-01  free                  0          0          0      0         0         0       0         0         0          0
                                         purchased         2,750          0          0      0         0         0       0         0         0      2,750
                                         total             2,750          0          0      0         0         0       0         0         0      2,750          0       0        0
        b        2026-03-01  2026-03-11  free                  0      1,500          0      0     1,240         0       0         0         0        260
                                         purchased         2,750          0          0      0        60         0       0         0         0      2,690
                                         total             2,750      1,500          0      0     1,300         0       0         0         0      2,950          2       1        1

        all                              free                  0      3,000          0      0     2,480         0       0         0         0        520
                                         purchased         5,500          0          0      0       120         0       0         0         0      5,380
                                         total             5,500      3,000          0      0     2,600         0       0         0         0      5,900          4       2        2
        ");
    }

    #[test]
    fn a_narrow_one_gets_less_and_a_note() {
        let model = report("By day", "2026-03-09", "2026-03-11", Grouping::Day, Scope::Platform, &["a", "b"]);
        insta::assert_snapshot!(render(&model, 80), @"
        By day
        Whole platform, 9–10 March 2026, as of 2026-04-02T06:00:00Z

        from        credit_type  carried_in  consumed  remaining
        ────────────────────────────────────────────────────────
        2026-03-09  free                600        80        520
                    purchased         5,500       120      5,380
                    total             6,100       200      5,900
        2026-03-10  free                520         0        520
                    purchased         5,380         0      5,380
                    total             5,900         0      5,900

        all         free                600        80        520
                    purchased         5,500       120      5,380
                    total             6,100       200      5,900

        Zero everywhere: allocated, purchased, bonus, refunded, lapsed, returned and
        adjusted.
        No room for: to, succeeded, failed and refused.
        ");
        insta::assert_snapshot!(render(&model, 40), @"
        By day
        Whole platform, 9–10 March 2026, as of
        2026-04-02T06:00:00Z

        9 March 2026
                      free  purchased  total
        ────────────────────────────────────
          carried_in   600      5,500  6,100
        + allocated      0          0      0
        + purchased      0          0      0
        + bonus          0          0      0
        - consumed      80        120    200
        + refunded       0          0      0
        - lapsed         0          0      0
        - returned       0          0      0
        + adjusted       0          0      0
        = remaining    520      5,380  5,900
          succeeded                        2
          failed                           2
          refused                          0

        10 March 2026
                      free  purchased  total
        ────────────────────────────────────
          carried_in   520      5,380  5,900
        + allocated      0          0      0
        + purchased      0          0      0
        + bonus          0          0      0
        - consumed       0          0      0
        + refunded       0          0      0
        - lapsed         0          0      0
        - returned       0          0      0
        + adjusted       0          0      0
        = remaining    520      5,380  5,900
          succeeded                        0
          failed                           0
          refused                          2
        ");
    }

    #[test]
    fn a_breakdown_has_a_row_per_group() {
        let of = |grouping, breakdown, ids: &[&str]| {
            broken_down("Usage", ("2026-03-01", "2026-04-01"), grouping, Some(breakdown), Scope::Account, ids)
        };
        insta::assert_snapshot!(render(&of(Grouping::Range, Breakdown::User, &["9e-atl"]), 100), @"
        Usage
        9e-atl, March 2026, as of 2026-04-02T06:00:00Z

        user         free  purchased  consumed  refunded  succeeded  failed  refused
        ────────────────────────────────────────────────────────────────────────────
        =ann        1,200          0     1,200         0          1       0        1
        שרה 🦊         40         60       100         0          1       0        0
        <b>eve</b>      0          0         0         0          0       1        0
        (no user)       0          0         0        60          0       0        0

        all         1,240         60     1,300        60          2       1        1
        ");
        insta::assert_snapshot!(render(&of(Grouping::Week, Breakdown::Type, &["a", "b"]), 120), @"
        Usage
        2 accounts, March 2026, as of 2026-04-02T06:00:00Z

        account  from        to          type        free  purchased  consumed  refunded  succeeded  failed  refused
        ────────────────────────────────────────────────────────────────────────────────────────────────────────────
        a        2026-03-02  2026-03-09  free       1,200          0     1,200         0          1       0        0
        a        2026-03-09  2026-03-16  purchased      0          0         0        60          0       0        0
        a        2026-03-09  2026-03-16  mixed         40         60       100         0          1       0        0
        a        2026-03-09  2026-03-16  none           0          0         0         0          0       1        1
        b        2026-03-02  2026-03-09  free       1,200          0     1,200         0          1       0        0
        b        2026-03-09  2026-03-16  purchased      0          0         0        60          0       0        0
        b        2026-03-09  2026-03-16  mixed         40         60       100         0          1       0        0
        b        2026-03-09  2026-03-16  none           0          0         0         0          0       1        1

        all                                         2,480        120     2,600       120          4       2        2
        ");
        insta::assert_snapshot!(render(&of(Grouping::Range, Breakdown::Status, &["9e-atl"]), 50), @"
        Usage
        9e-atl, March 2026, as of 2026-04-02T06:00:00Z

        status     consumed  succeeded  failed  refused
        ───────────────────────────────────────────────
        succeeded     1,300          2       0        0
        failed            0          0       1        0
        refused           0          0       0        1

        all           1,300          2       1        1

        No room for: free, purchased and refunded.
        ");
    }

    #[test]
    fn a_breakdown_of_nothing_says_so_and_a_long_name_is_cut() {
        let idle = broken_down(
            "t",
            ("2026-05-01", "2026-06-01"),
            Grouping::Range,
            Some(Breakdown::User),
            Scope::Platform,
            &[],
        );
        assert!(render(&idle, 80).ends_with("\nNo credits were used.\n"));
        assert_eq!(shortened(&"🦊".repeat(10_000), 16).chars().count(), 16);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for ids in [&["a"][..], &["9e-atl", "b", "c"]] {
            for scope in Scope::ALL {
                for grouping in Grouping::ALL {
                    let model = report("Report", "2026-02-01", "2026-04-01", *grouping, *scope, ids);
                    for width in [60, 80, 100, 120, 160, 240] {
                        let longest = render(&model, width).lines().map(|line| line.chars().count()).max();
                        assert!(longest <= Some(usize::from(width)), "{scope} {grouping} {width}: {longest:?}");
                    }
                }
            }
        }
    }

    /// Forms for people show the columns that were chosen, in their order, as those for programs do.
    #[test]
    fn uses_have_the_columns_that_were_chosen() {
        let march = ("2026-03-01", "2026-04-01");
        let mut model = broken_down("Refusals", march, Grouping::Range, Some(Breakdown::User), Scope::Account, &["a"]);
        let columns = vec![Column::User, Column::CreditType, Column::Refused, Column::Refunded];
        model.spec = model.spec.clone().with_columns(columns).expect("of a breakdown");
        insta::assert_snapshot!(render(&model, 80), @"
        Refusals
        a, March 2026, as of 2026-04-02T06:00:00Z

        user        refused  refunded
        ─────────────────────────────
        =ann              1         0
        שרה 🦊            0         0
        <b>eve</b>        0         0
        (no user)         0        60

        all               1        60
        ");
        assert!(!render(&model, 40).contains("No room for"));
        let page =
            String::from_utf8(crate::report::render(&model, crate::report::Format::Html, 0).expect("it renders"));
        let page = page.expect("UTF-8");
        let (_, table) = page.split_once("<table class=\"usage short\">").expect("a table");
        let (head, _) = table.split_once("</thead>").expect("a head");
        let heads: Vec<&str> =
            head.split("<th scope=\"col\">").skip(1).filter_map(|rest| rest.split('<').next()).collect();
        assert_eq!(heads, ["User", "Refused", "Refunded"]);
        assert!(!table.contains("class=\"bar\""), "consumption was not asked for");
    }
}
