//! A report as one self-contained page: no script, no request, readable in light, in dark and on paper.
//!
//! This module decides what the page says, `templates/report.html` how it looks. Every text reaches the template as a
//! value and is escaped there. The page is bounded: a report with more accounts or periods than one reads gets sums.

use super::Rendered;
use super::chart::{self, Chart, Frame, View, charts};
use super::html_more::{CSS, CSS_NAME, MORE, MORE_NAME, MoreView, more_view};
use super::table::use_columns;
use super::wording::{EQUATION, account_name, days, listed, period, section_name, story, whom, zones};
use crate::core::counting::grouped;
use crate::core::locale::Locale;
use crate::core::statement::{Breakdown, Cell, Column, DateRange, Group, LINES_PER_PERIOD, Line, ReportModel, Section};
use serde::Serialize;
use tera::{Context, Tera};

/// The name ends in `.html`, which is what turns escaping on.
const TEMPLATE_NAME: &str = "report.html";
const TEMPLATE: &str = include_str!("../../templates/report.html");

/// Most accounts in the list of accounts.
const ACCOUNTS_MAX: usize = 2_000;
/// Rows of a table that is not parted on paper.
const SHORT_ROWS_MAX: usize = 20;
/// Characters of figures, three of which have room on a phone beside their name.
const LONG_FIGURE: usize = 9;
/// As much of an account's name as a browser's tab may have.
const TITLE_NAME_CHARS_MAX: usize = 80;
/// Most accounts that get a section of their own.
const SECTIONS_MAX: usize = 200;
/// Most lines in all sections together: about 3 MB of page.
const DETAIL_LINES_MAX: usize = 9_000;

#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    whom: String,
    /// What the account of a report of one is called, and its id.
    name: Option<(String, String)>,
    period: String,
    zones: String,
    as_of: String,
    story: String,
    remaining: Remaining,
    equation: Vec<EquationRow>,
    counts: Vec<Count>,
    charts: Vec<Drawn<'a>>,
    /// Whether figures are so long that a phone has no room for three beside their name.
    has_long_figures: bool,
    /// The names of the columns of figures, in the list of accounts and in every section.
    columns: Vec<&'static str>,
    accounts: Option<Accounts>,
    sections: Vec<SectionView>,
    /// What stands beside the lines.
    more: MoreView,
    /// The word for the groups of a breakdown.
    breakdown: Option<&'static str>,
    /// The names of the columns of figures of its groups.
    usage_columns: Vec<String>,
    /// Whether they are all there are.
    has_all_usage: bool,
    /// Whether they are what the bars compare, too.
    has_usage_bars: bool,
    usage: Vec<UsageView>,
    notes: Vec<String>,
}

/// A chart, drawn for any page and for a phone.
#[derive(Serialize)]
struct Drawn<'a> {
    chart: &'a Chart,
    views: [View<'a>; 2],
}

/// What is left, and how many thousandths of it are free.
#[derive(Serialize)]
struct Remaining {
    total: String,
    free: String,
    purchased: String,
    free_permille: i64,
    has_bar: bool,
}

#[derive(Serialize)]
struct EquationRow {
    sign: &'static str,
    name: &'static str,
    meaning: &'static str,
    amounts: Vec<String>,
    is_zero: bool,
    is_bound: bool,
}

#[derive(Serialize)]
struct Count {
    name: &'static str,
    value: String,
}

/// The list of accounts.
#[derive(Serialize)]
struct Accounts {
    is_linked: bool,
    rows: Vec<AccountRow>,
    totals: Vec<String>,
}

#[derive(Serialize)]
struct AccountRow {
    id: String,
    cells: Vec<String>,
    /// Consumption in thousandths of the account that consumed most.
    share_permille: i64,
}

#[derive(Serialize)]
struct SectionView {
    name: String,
    periods: Vec<PeriodView>,
}

#[derive(Serialize)]
struct PeriodView {
    name: String,
    is_all: bool,
    rows: Vec<PeriodRow>,
}

#[derive(Serialize)]
struct PeriodRow {
    credit_type: &'static str,
    cells: Vec<String>,
}

/// What the groups of one account, or of the platform, used.
#[derive(Serialize)]
struct UsageView {
    name: String,
    /// It has room on one sheet of paper.
    is_short: bool,
    periods: Vec<UsagePeriod>,
    totals: Vec<String>,
}

#[derive(Serialize)]
struct UsagePeriod {
    /// Empty when the report has one.
    name: String,
    rows: Vec<UsageRow>,
}

#[derive(Serialize)]
struct UsageRow {
    name: String,
    /// Nobody's name, but words of the page.
    is_unnamed: bool,
    cells: Vec<String>,
    /// Consumption in thousandths of the group that consumed most: free, and both together.
    free_permille: i64,
    permille: i64,
}

pub(super) fn render(model: &ReportModel) -> Rendered {
    let mut tera = Tera::default();
    tera.add_raw_templates([
        (chart::STYLE_NAME, chart::STYLE),
        (chart::TEMPLATE_NAME, chart::TEMPLATE),
        (MORE_NAME, MORE),
        (CSS_NAME, CSS),
        (TEMPLATE_NAME, TEMPLATE),
    ])?;
    let charts = [Frame::PLAIN, Frame::Narrow(Locale::default())].map(|frame| charts(model, frame));
    Ok(tera.render(TEMPLATE_NAME, &Context::from_serialize(&page(model, &charts))?)?.into_bytes())
}

/// Whether the page has the lines of `model`, and not their sums alone.
pub(super) fn has_detail(model: &ReportModel) -> bool {
    model.sections().len() <= SECTIONS_MAX && model.lines.len() <= DETAIL_LINES_MAX
}

fn page<'a>(model: &'a ReportModel, [wide, narrow]: &'a [Vec<Chart>; 2]) -> Page<'a> {
    let spec = &model.spec;
    let sections: Vec<Section> = model.sections().collect();
    let has_detail = has_detail(model);
    // One period of one account is the equation at the top; its section would say the same again.
    let breakdown = spec.breakdown();
    let is_told = has_detail && breakdown.is_none() && model.lines.len() > LINES_PER_PERIOD;
    let has_usage = has_detail && breakdown.is_some() && !model.is_log();
    let figures = spec.columns().iter().copied().filter(|column| column.is_figure());
    let (zeros, columns): (Vec<Column>, Vec<Column>) = figures.partition(|column| model.is_blank(*column));
    // Without figures, every period would say the same.
    let has_sections = is_told && !columns.is_empty();
    let has_columns = breakdown.is_none() && (is_told || sections.len() > 1);
    let views = sections.iter().filter(|_| has_sections).map(|section| section_view(section, &columns));
    let most_used = model.lines.iter().map(|line| line.figures.consumed.get()).max().unwrap_or(0);
    let drawn = |(chart, narrow): (&'a Chart, &'a Chart)| Drawn { chart, views: [chart, narrow].map(View::bare) };
    let equation = equation(&model.totals);
    let usage = sections.iter().filter(|_| has_usage).map(|section| usage_view(section, model, most_used));
    Page {
        title: spec.title(),
        whom: whom(model, TITLE_NAME_CHARS_MAX),
        name: account_name(model).zip(sections.first().map(section_name)),
        period: period(model),
        zones: zones(model),
        as_of: spec.as_of().to_utc().format("%-d %B %Y, %H:%M:%S UTC").to_string(),
        story: story(&model.totals, model.is_over, Locale::default()),
        remaining: remaining(&model.totals),
        has_long_figures: equation
            .iter()
            .flat_map(|row| &row.amounts)
            .any(|amount| amount.chars().count() > LONG_FIGURE),
        equation,
        counts: counts(&model.totals),
        charts: wide.iter().zip(narrow).map(drawn).collect(),
        columns: columns.iter().map(|column| column.heading()).collect(),
        more: more_view(model),
        accounts: (sections.len() > 1 && !model.is_log())
            .then(|| accounts(model, &sections, &columns, has_sections || has_usage)),
        sections: views.collect(),
        breakdown: breakdown.map(|breakdown| breakdown.as_str()),
        usage_columns: use_columns(spec.columns()).iter().map(|figure| headed(figure.name)).collect(),
        has_all_usage: Column::all_of(breakdown)
            .iter()
            .all(|column| spec.columns().contains(column) || !column.is_figure()),
        has_usage_bars: spec.columns().contains(&Column::Consumed),
        usage: usage.collect(),
        notes: notes(sections.len(), has_detail, if has_columns { &zeros } else { &[] }),
    }
}

/// What the page leaves out, and why.
fn notes(sections: usize, has_detail: bool, left_out: &[Column]) -> Vec<String> {
    let mut notes = Vec::new();
    if !has_detail {
        notes.push("This report is too long to read period by period; as CSV it has every line.".to_owned());
    }
    if sections > ACCOUNTS_MAX {
        let missing = match sections - ACCOUNTS_MAX {
            1 => "1 more account is".to_owned(),
            many => format!("{} more accounts are", grouped(many as u64)),
        };
        notes.push(format!("{missing} in the sums but not in the list, which CSV has in full."));
    }
    if !left_out.is_empty() {
        let names: Vec<String> = left_out.iter().map(|column| column.heading().to_lowercase()).collect();
        notes.push(format!("Zero throughout and therefore without a column: {}.", listed(&names)));
    }
    notes
}

fn remaining(totals: &[Line]) -> Remaining {
    let [free, purchased, total] = [0, 1, 2].map(|at| totals.get(at).map_or(0, |line| line.figures.remaining.get()));
    let has_bar = free >= 0 && purchased >= 0 && total > 0;
    Remaining {
        total: grouped(total),
        free: grouped(free),
        purchased: grouped(purchased),
        free_permille: permille(free, total),
        has_bar,
    }
}

/// `part` of `whole` in thousandths, for bars.
fn permille(part: i64, whole: i64) -> i64 {
    if whole <= 0 {
        return 0;
    }
    i64::try_from(i128::from(part.max(0)) * 1_000 / i128::from(whole)).unwrap_or(1_000)
}

/// The equation of DESIGN section 4, read downwards.
fn equation(totals: &[Line]) -> Vec<EquationRow> {
    EQUATION
        .into_iter()
        .map(|(column, sign, meaning)| EquationRow {
            sign,
            name: column.heading(),
            meaning,
            amounts: totals.iter().map(|line| shown(line.cell(column))).collect(),
            is_zero: totals.iter().all(|line| line.cell(column).is_nothing()),
            is_bound: matches!(column, Column::CarriedIn | Column::Remaining),
        })
        .collect()
}

fn counts(totals: &[Line]) -> Vec<Count> {
    let columns = [Column::Succeeded, Column::Failed, Column::Refused].into_iter();
    let total = totals.last().into_iter();
    total
        .flat_map(|total| {
            columns.clone().map(|column| Count { name: column.heading(), value: shown(total.cell(column)) })
        })
        .collect()
}

fn accounts(model: &ReportModel, sections: &[Section], columns: &[Column], is_linked: bool) -> Accounts {
    let consumed = |section: &Section| section.subtotal.last().map_or(0, |line| line.figures.consumed.get());
    let most = sections.iter().map(consumed).max().unwrap_or(0);
    let rows = sections.iter().take(ACCOUNTS_MAX).map(|section| AccountRow {
        id: section_name(section),
        cells: cells(section.subtotal.last(), columns),
        share_permille: permille(consumed(section), most),
    });
    Accounts { is_linked, rows: rows.collect(), totals: cells(model.totals.last(), columns) }
}

fn section_view(section: &Section, columns: &[Column]) -> SectionView {
    let view = |name: String, is_all: bool, triple: &[Line]| {
        let row = |line: &Line| PeriodRow { credit_type: line.credit_type.as_str(), cells: cells(Some(line), columns) };
        PeriodView { name, is_all, rows: triple.iter().map(row).collect() }
    };
    let periods = section.triples();
    let all = (periods.len() > 1).then(|| view("All".to_owned(), true, &section.subtotal));
    let periods = periods.map(|triple| view(days(triple[0].range), false, &triple));
    SectionView { name: section_name(section), periods: periods.chain(all).collect() }
}

/// `Free` for `free`.
fn headed(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

fn usage_view(section: &Section, model: &ReportModel, most: i64) -> UsageView {
    let breakdown = model.spec.breakdown().unwrap_or(Breakdown::User);
    let columns = use_columns(model.spec.columns());
    let cells = |triple: &[Line]| columns.iter().map(|figure| shown(figure.cell(triple))).collect::<Vec<_>>();
    let row = |triple: &[Line]| {
        let [free, total] = [0, 2].map(|at| triple[at].figures.consumed.get());
        let (name, is_unnamed) = match triple[0].group {
            Some(Group::Named(name)) if breakdown == Breakdown::Action => (model.title_of(name).to_owned(), false),
            Some(Group::Named(name)) => (name.to_string(), false),
            Some(Group::Word(word)) => ((*word).to_owned(), false),
            Some(Group::Unnamed) | None => (format!("(no {breakdown})"), true),
        };
        UsageRow {
            name,
            is_unnamed,
            cells: cells(triple),
            free_permille: permille(free, most),
            permille: permille(total, most),
        }
    };
    let mut periods: Vec<(DateRange, UsagePeriod)> = Vec::new();
    for triple in section.triples() {
        let range = triple[0].range;
        if periods.last().is_none_or(|(last, _)| *last != range) {
            let name = if model.spec.period_count() > 1 { days(range) } else { String::new() };
            periods.push((range, UsagePeriod { name, rows: Vec::new() }));
        }
        if let Some((_, period)) = periods.last_mut() {
            period.rows.push(row(&triple));
        }
    }
    let periods: Vec<UsagePeriod> = periods.into_iter().map(|(_, period)| period).collect();
    let is_short = periods.iter().map(|period| period.rows.len()).sum::<usize>() <= SHORT_ROWS_MAX;
    UsageView { name: section_name(section), is_short, periods, totals: cells(&section.subtotal) }
}

fn cells(line: Option<&Line>, columns: &[Column]) -> Vec<String> {
    line.into_iter().flat_map(|line| columns.iter().map(|column| shown(line.cell(*column)))).collect()
}

/// A figure on the page, with a real minus sign.
fn shown(cell: Cell) -> String {
    match cell {
        Cell::Credits(credits) => grouped(credits.get()).replace('-', "−"),
        Cell::Count(count) => grouped(count),
        Cell::Text(text) => text.to_owned(),
        Cell::Word(word) => word.to_owned(),
        cell @ (Cell::Date(_) | Cell::Time(_) | Cell::Instant(_)) => cell.to_string(),
        Cell::Blank => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::testing::GROUPED;
    use crate::core::statement::{Grouping, Scope};
    use crate::report::testing::{broken_down, report, statement};

    fn page_of(model: &ReportModel) -> String {
        String::from_utf8(render(model).expect("it renders")).expect("UTF-8")
    }

    fn days_of(ids: &[&str]) -> ReportModel {
        report("By <b>day</b> & \"all\"", "2026-03-01", "2026-04-01", Grouping::Day, Scope::Account, ids)
    }

    /// Every tag that is opened is closed, in order.
    fn assert_nested(page: &str) {
        let mut open: Vec<&str> = Vec::new();
        for tag in page.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
            let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap_or_default();
            match tag {
                _ if tag.ends_with('/') || ["!doctype", "meta"].contains(&name) => {}
                _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "in <{tag}>"),
                _ => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn a_page_is_whole_asks_for_nothing_and_runs_nothing() {
        for model in [statement(), days_of(&["a"]), days_of(&["a", "b"])] {
            let page = page_of(&model);
            assert_nested(&page);
            for forbidden in ["<script", "<link", "<img", "http:", "https:", "@import", " onclick", " style="] {
                // The one name of a language that looks like an address.
                let page = page.replace("http://www.w3.org/2000/svg", "");
                assert!(!page.contains(forbidden), "{forbidden}");
            }
            assert_eq!(page.matches("url(").count(), page.matches("url(#").count(), "only what is in the page");
            assert_eq!(page, page_of(&model), "the same model gives the same bytes");
        }
    }

    #[test]
    fn text_is_escaped_and_figures_are_there() {
        let page = page_of(&days_of(&["a", "b"]));
        assert!(page.contains("By &lt;b&gt;day&lt;/b&gt; &amp; &quot;all&quot;"));
        assert!(!page.contains("<b>day"));
        assert!(page.contains("<td>10,000</td>"), "purchased by both");
        assert!(page.contains("href=\"#account-b\"") && page.contains("id=\"account-b\""));
    }

    #[test]
    fn a_breakdown_lists_its_groups_and_keeps_the_equation() {
        for breakdown in &GROUPED {
            for ids in [&["a"][..], &["a", "b"]] {
                let march = ("2026-03-01", "2026-04-01");
                let model = broken_down("t", march, Grouping::Week, Some(*breakdown), Scope::Account, ids);
                let page = page_of(&model);
                assert_nested(&page);
                assert!(page.contains("How it adds up") && !page.contains("Period by period"));
                assert!(page.contains(&format!("By {breakdown}")) && page.contains("2–8 March 2026"), "{page}");
                assert!(!page.contains("<b>eve"));
                assert_eq!(page.contains("href=\"#account-b\""), ids.len() > 1);
            }
        }
    }

    #[test]
    fn one_period_of_one_account_is_not_told_twice() {
        let page = page_of(&statement());
        assert!(!page.contains("Period by period") && !page.contains("<h2 id=\"accounts\">"));
    }

    #[test]
    fn a_page_stays_readable_with_many_accounts() {
        let ids: Vec<String> = (0..=ACCOUNTS_MAX).map(|at| format!("a{at}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let model = report("All", "2026-03-01", "2026-04-01", Grouping::Range, Scope::Account, &ids);
        let page = page_of(&model);
        assert!(page.contains("1 more account is in the sums"));
        assert!(page.contains("too long to read period by period"));
        assert!(!page.contains("class=\"detail\""));
        assert!(page.len() < 2_000_000, "{}", page.len());
    }
}
