//! The summary of an account over a month or any other range: what was allocated, consumed, carried forward and remains, free and
//! purchased apart, with charts, and as a file in every form. It is the report of the same name, shown.

use super::super::visit::AtAccount;
use super::ask::{Query, SummaryAsked, given, query_text};
use super::log::Choice;
use super::look::{Shell, Tab, locale_of, page};
use super::tables::{EquationRow, counts_said, equation};
use super::{Pages, Shut};
use crate::core::calendar::{Instant, Month};
use crate::core::ids::{AccountId, printable};
use crate::core::locale::Locale;
use crate::core::statement::{
    Breakdown, Cell, Column, DateRange, Group, Grouping, LINES_PER_PERIOD, Line, ReportModel, ReportSpec, Scope,
};
use crate::report::{Format, days_in, drawings, make, render, story};
use axum::extract::{Query as Asked, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{Days, NaiveDate};
use serde::Serialize;

/// Groups of a breakdown on a page; files have all.
const GROUPS_MAX: usize = 100;
/// Columns of a table for a terminal, in files.
const WIDTH: u16 = 160;

#[derive(Serialize)]
struct View {
    problems: Vec<String>,
    from: String,
    through: String,
    by: Vec<Choice>,
    of: Vec<Choice>,
    presets: Vec<Preset>,
    period: String,
    is_over: bool,
    /// That the account has none of these days, as it opens later.
    is_before: bool,
    story: String,
    equation: Vec<EquationRow>,
    counts: String,
    charts: Vec<Drawing>,
    /// The names of the columns of figures.
    columns: Vec<&'static str>,
    periods: Vec<Row>,
    uses: Vec<Row>,
    breakdown: Option<&'static str>,
    /// What the rows of uses are of: `user`, or `day and user`.
    uses_of: Option<String>,
    more_uses: usize,
    forms: Vec<File>,
    files: String,
    zone: &'static str,
}

#[derive(Serialize)]
struct Preset {
    text: String,
    href: String,
    is_here: bool,
}

#[derive(Serialize)]
struct Drawing {
    title: String,
    description: String,
    note: Option<String>,
    svg: String,
    id: String,
}

#[derive(Serialize)]
struct Row {
    name: String,
    credit_type: &'static str,
    cells: Vec<String>,
    is_total: bool,
    is_first: bool,
}

#[derive(Serialize)]
struct File {
    form: &'static str,
    text: &'static str,
}

/// The form that is asked for.
pub(super) fn format_of(query: &Query, usual: Format) -> Result<Format, Shut> {
    let Some(word) = given(query, "form") else { return Ok(usual) };
    word.parse().map_err(|error: crate::report::UnknownFormat| Shut::Asked(error.to_string()))
}

/// A file to keep.
pub(super) fn download(name: &str, range: DateRange, format: Format, bytes: Vec<u8>) -> Response {
    let kind = match format {
        Format::Table => "text/plain; charset=utf-8",
        Format::Csv => "text/csv; charset=utf-8",
        Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
        Format::Html => "text/html; charset=utf-8",
        Format::Parquet => "application/vnd.apache.parquet",
        Format::Png => "image/png",
        Format::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    };
    // Ids have letters that are safe in a file's name only.
    let name = format!("{name}-{}-to-{}.{}", range.from().date(), range.last_day(), format.extension());
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    let disposition = disposition.unwrap_or(HeaderValue::from_static("attachment"));
    // Whatever opens it, it runs nothing and asks for nothing.
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, bytes).into_response()
}

/// The report of one account.
async fn read(pages: &Pages, id: &AccountId, spec: ReportSpec, has_charts: bool) -> Result<ReportModel, Shut> {
    let app = pages.app();
    let reading = app.read_report(Some(std::slice::from_ref(id)), &spec, None, &mut |_, _| {}).await?;
    let marks = if has_charts { app.marks(id, &spec, None).await? } else { None };
    let made = tokio::task::spawn_blocking(move || make(&spec, reading));
    let made = made.await.map_err(|error| Shut::Broken(Box::new(error)))?;
    let model = made.map_err(|error| Shut::Asked(error.to_string()))?;
    Ok(ReportModel { marks, ..model })
}

fn spec(asked: &SummaryAsked, by: Grouping, now: Instant) -> Result<ReportSpec, Shut> {
    let spec = ReportSpec::new("Summary", asked.range, by, Scope::Account, now);
    spec.map(|spec| spec.with_breakdown(asked.of)).map_err(|error| Shut::Asked(error.to_string()))
}

/// `GET /accounts/{account}/summary`.
pub(super) async fn show(
    State(pages): State<Pages>,
    at: AtAccount,
    Asked(query): Asked<Query>,
) -> Result<Response, Shut> {
    let (now, calendar) = (pages.app().now(), &at.record.account.calendar);
    let today = calendar.day_of(now);
    let asked = SummaryAsked::of(&query, today);
    let spec = spec(&asked, asked.by, now)?;
    let turn = pages.0.reports.turn(Some(at.id())).await;
    let mut model = read(&pages, at.id(), spec, true).await?;
    if asked.of == Some(Breakdown::Action) {
        model = model.with_titles(pages.app().titles().await?);
    }
    drop(turn);
    let locale = locale_of(&pages, &at.record);
    let drawings = drawings(&model, locale)?.into_iter().enumerate().map(|(at, (chart, svg))| Drawing {
        title: chart.title().to_owned(),
        description: chart.description().to_owned(),
        note: chart.note().map(ToOwned::to_owned),
        svg,
        id: format!("chart-{at}"),
    });
    let drawings: Vec<Drawing> = drawings.collect();
    let figures = Column::all_of(None).into_iter().filter(|column| column.is_figure());
    let columns: Vec<Column> = match asked.of {
        None => figures.filter(|column| !model.is_blank(*column)).collect(),
        Some(_) => vec![Column::Consumed, Column::Refunded, Column::Succeeded, Column::Failed, Column::Refused],
    };
    let (mut periods, mut uses, mut more_uses) = (Vec::new(), Vec::new(), 0);
    for (at, triple) in model.sections().next().iter().flat_map(|section| section.triples()).enumerate() {
        match asked.of {
            // Of days that lie ahead there is nothing to tell yet; files have them all.
            None if !columns.is_empty()
                && model.lines.len() > LINES_PER_PERIOD
                && triple[0].range.from().date() <= today =>
            {
                push(&mut periods, &triple, &columns, locale);
            }
            None => {}
            Some(_) if at < GROUPS_MAX => uses.push(use_row(&model, &triple, &columns, locale)),
            Some(_) => more_uses += 1,
        }
    }
    let counts = model.totals.iter().filter_map(|line| line.counts).next().unwrap_or_default();
    let through = asked.range.last_day();
    let same = [
        ("from", asked.range.from().date().to_string()),
        ("through", through.to_string()),
        ("by", asked.asked_by.to_string()),
        ("of", asked.of.map_or_else(String::new, |of| of.to_string())),
    ];
    let opened = calendar.day_of(at.record.account.opened_at);
    let is_before = through < opened;
    let has_charts = !drawings.is_empty();
    let forms = Format::ALL.iter().filter(|format| **format != Format::Png || has_charts);
    let status = if asked.problems.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let view = View {
        from: asked.range.from().date().to_string(),
        through: through.to_string(),
        by: by_choices(asked.by),
        of: of_choices(asked.of),
        presets: presets(today, asked.range),
        period: days_in(asked.range, locale),
        is_over: model.is_over,
        is_before,
        story: if is_before { before(opened, today, locale) } else { story(&model.totals, model.is_over, locale) },
        equation: equation(&model.totals, locale, true),
        counts: counts_said(counts, locale),
        charts: drawings,
        columns: columns.iter().map(|column| column.heading()).collect(),
        periods,
        uses,
        breakdown: asked.of.map(Breakdown::as_str),
        uses_of: asked.of.map(|of| uses_of(asked.by, of)),
        more_uses,
        forms: forms.map(|format| File { form: format.as_str(), text: form_text(*format) }).collect(),
        files: query_text(same.iter().map(|(name, value)| (*name, value.as_str()))),
        zone: calendar.zone_at(now).name(),
        problems: asked.problems.into_iter().chain(asked.cut).collect(),
    };
    Ok(page(status, "summary.html", &Shell::of_account(&pages, &at, Tab::Summary), &view))
}

/// `GET /accounts/{account}/summary/export`.
pub(super) async fn export(
    State(pages): State<Pages>,
    at: AtAccount,
    Asked(query): Asked<Query>,
) -> Result<Response, Shut> {
    let now = pages.app().now();
    let format = format_of(&query, Format::Xlsx)?;
    let asked = SummaryAsked::of(&query, at.record.account.calendar.day_of(now));
    if let Some(problem) = asked.problems.first() {
        return Err(Shut::Asked(problem.clone()));
    }
    let spec = spec(&asked, asked.asked_by, now)?;
    let spec = if format.has_lines_only() { spec.bare() } else { spec };
    let _turn = pages.0.reports.turn(Some(at.id())).await;
    let mut model = read(&pages, at.id(), spec, format.has_charts()).await?;
    if format.has_charts() {
        model = model.with_titles(pages.app().titles().await?);
    }
    let made = tokio::task::spawn_blocking(move || render(&model, format, WIDTH));
    let bytes = made.await.map_err(|error| Shut::Broken(Box::new(error)))??;
    Ok(download(&format!("summary-{}", at.id()), asked.range, format, bytes))
}

/// When the account opens, of days before.
fn before(opened: NaiveDate, today: NaiveDate, locale: Locale) -> String {
    let opens = if opened > today { "opens" } else { "opened" };
    format!("This account {opens} on {}. There is nothing to tell of days before.", locale.date(opened))
}

fn uses_of(by: Grouping, of: Breakdown) -> String {
    if by == Grouping::Range { of.to_string() } else { format!("{by} and {of}") }
}

const fn form_text(format: Format) -> &'static str {
    match format {
        Format::Table => "Text",
        Format::Csv => "CSV",
        Format::Json => "JSON",
        Format::Ndjson => "NDJSON",
        Format::Html => "Web page",
        Format::Parquet => "Parquet",
        Format::Png => "Picture (PNG)",
        Format::Xlsx => "Workbook (XLSX)",
    }
}

fn by_choices(by: Grouping) -> Vec<Choice> {
    let text = |grouping: &Grouping| match grouping {
        Grouping::Range => "The whole range",
        Grouping::Day => "Day",
        Grouping::Week => "Week",
        Grouping::Month => "Month",
    };
    Grouping::ALL.iter().map(|grouping| Choice::new(grouping.as_str(), text(grouping), Some(by.as_str()))).collect()
}

fn of_choices(of: Option<Breakdown>) -> Vec<Choice> {
    let all = [
        (Breakdown::Action, "Action"),
        (Breakdown::User, "User"),
        (Breakdown::Type, "Type of credits"),
        (Breakdown::Status, "How it ended"),
    ];
    all.iter().map(|(breakdown, text)| Choice::new(breakdown.as_str(), *text, of.map(Breakdown::as_str))).collect()
}

/// Ranges that people ask for most.
fn presets(today: NaiveDate, range: DateRange) -> Vec<Preset> {
    let month = Month::of(today);
    let last = |month: Month| month.next().first_day() - Days::new(1);
    let all = [
        ("Today".to_owned(), today, today, Grouping::Range),
        ("Last 30 days".to_owned(), today - Days::new(29), today, Grouping::Day),
        (month.first_day().format("%B").to_string(), month.first_day(), last(month), Grouping::Day),
        (
            month.previous().first_day().format("%B").to_string(),
            month.previous().first_day(),
            last(month.previous()),
            Grouping::Day,
        ),
        (
            today.format("%Y").to_string(),
            today - Days::new(u64::from(chrono::Datelike::ordinal0(&today))),
            today,
            Grouping::Month,
        ),
    ];
    let preset = |(text, from, through, by): (String, NaiveDate, NaiveDate, Grouping)| {
        let [first, final_day] = [from.to_string(), through.to_string()];
        let href = query_text([("from", first.as_str()), ("through", final_day.as_str()), ("by", by.as_str())]);
        Preset { text, href: format!("?{href}"), is_here: range.from().date() == from && range.last_day() == through }
    };
    all.into_iter().map(preset).collect()
}

/// The lines of a period: free, purchased, total.
fn push(rows: &mut Vec<Row>, triple: &[Line], columns: &[Column], locale: Locale) {
    for (at, line) in triple.iter().enumerate() {
        rows.push(Row {
            name: days_in(line.range, locale),
            credit_type: line.credit_type.as_str(),
            cells: columns.iter().map(|column| shown(line.cell(*column), locale)).collect(),
            is_total: at + 1 == triple.len(),
            is_first: at == 0,
        });
    }
}

/// A group: both types together, as what it consumed.
fn use_row(model: &ReportModel, triple: &[Line], columns: &[Column], locale: Locale) -> Row {
    let name = match triple[0].group {
        Some(Group::Named(code)) if model.spec.breakdown() == Some(Breakdown::Action) => {
            model.title_of(code).to_owned()
        }
        Some(Group::Named(name)) => printable(name),
        Some(Group::Word(word)) => (*word).to_owned(),
        Some(Group::Unnamed) | None => "none".to_owned(),
    };
    let has_periods = model.spec.grouping() != Grouping::Range;
    let name = if has_periods { format!("{} · {name}", days_in(triple[0].range, locale)) } else { name };
    let total = triple.last();
    let cells = columns.iter().map(|column| total.map_or_else(String::new, |line| shown(line.cell(*column), locale)));
    Row { name, credit_type: "total", cells: cells.collect(), is_total: false, is_first: true }
}

fn shown(cell: Cell, locale: Locale) -> String {
    match cell {
        Cell::Credits(credits) => locale.number(credits.get()).replace('-', "−"),
        Cell::Count(count) => locale.number(count),
        Cell::Blank => String::new(),
        cell => printable(&cell.to_string()),
    }
}
