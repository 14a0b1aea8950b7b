//! The transactional log of an account: filtered, searched, page by page, and as a file.

use super::super::visit::AtAccount;
use super::ask::{LOG_FIELDS, LogAsked, Query, given, place_text, query_text};
use super::look::{Shell, Tab, locale_of, page};
use super::summary::{download, format_of};
use super::tables::{RowView, Teller, When, action_name};
use super::{Pages, Shut};
use crate::app::LogPage;
use crate::core::calendar::next_day;
use crate::core::statement::{Breakdown, DateRange, Ending, Grouping, ReportModel, ReportSpec, Scope};
use crate::core::transaction::{Touched, Transaction};
use crate::report::{Format, make, render};
use crate::store::{LogPlace, LogWay};
use axum::extract::{Query as Asked, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

/// Transactions of a page.
const PAGE_ROWS: usize = 50;

#[derive(Serialize)]
struct View {
    problems: Vec<String>,
    /// What stands in the form.
    fields: Fields,
    actions: Vec<Choice>,
    types: Vec<Choice>,
    statuses: Vec<Choice>,
    is_filtered: bool,
    rows: Vec<RowView>,
    /// The addresses of the pages beside this one.
    older: Option<String>,
    newer: Option<String>,
    is_first: bool,
    /// How many rows were looked at where that is why the page ends, and until when.
    looked: Option<Looked>,
    /// The same rows as a file, as an address without its form.
    files: String,
    zone: &'static str,
}

#[derive(Serialize)]
struct Looked {
    rows: String,
    to: When,
    is_back: bool,
}

#[derive(Serialize)]
struct Fields {
    from: String,
    through: String,
    user: String,
    q: String,
}

/// Something to choose.
#[derive(Serialize)]
pub(super) struct Choice {
    value: String,
    text: String,
    is_chosen: bool,
}

impl Choice {
    pub fn new(value: impl Into<String>, text: impl Into<String>, chosen: Option<&str>) -> Choice {
        let value = value.into();
        Choice { is_chosen: chosen == Some(value.as_str()), value, text: text.into() }
    }
}

/// What is asked, as an address has it, without a place.
fn same(query: &Query) -> String {
    query_text(LOG_FIELDS.iter().map(|field| (*field, query.get(field).unwrap_or_default())))
}

/// `GET /accounts/{account}/transactions`.
pub(super) async fn show(
    State(pages): State<Pages>,
    at: AtAccount,
    Asked(query): Asked<Query>,
) -> Result<Response, Shut> {
    let (app, calendar) = (pages.app(), &at.record.account.calendar);
    let prices = app.store.prices().await?;
    let LogAsked { ask, behind, problems, .. } = LogAsked::of(&query, calendar);
    let (way, place) = behind.map_or((LogWay::Back, None), |(way, place)| (way, Some(place)));
    let LogPage { mut rows, next, looked_at } = app.log_page(at.id(), &ask, way, place, PAGE_ROWS).await?;
    if way == LogWay::Forth {
        rows.reverse();
    }
    let locale = locale_of(&pages, &at.record);
    let zone = calendar.zone_at(app.now());
    let teller = Teller { locale, calendar, prices: &prices };
    let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
    let chosen = |name: &str| given(&query, name);
    let mut actions: Vec<Choice> =
        prices.iter().map(|action| Choice::new(action.code.as_str(), action_name(action), chosen("action"))).collect();
    actions.sort_by_key(|choice| choice.text.to_lowercase());
    let types = Touched::ALL.iter().map(|word| {
        let text = match word {
            Touched::Free => "Free",
            Touched::Purchased => "Purchased",
            Touched::Mixed => "Both (mixed)",
            Touched::None => "None",
        };
        Choice::new(word.as_str(), text, chosen("type"))
    });
    let statuses = Ending::ALL.iter().map(|word| {
        let text = match word {
            Ending::Succeeded => "Done",
            Ending::Failed => "Failed",
            Ending::Refused => "Refused",
        };
        Choice::new(word.as_str(), text, chosen("status"))
    });
    let same = same(&query);
    let address = |name: &str, place: LogPlace| format!("?{}", query_text_with(&same, name, &place_text(place)));
    let beside = beside(way, place, next, &rows);
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let view = View {
        problems,
        fields: Fields { from: text("from"), through: text("through"), user: text("user"), q: text("q") },
        actions,
        types: types.collect(),
        statuses: statuses.collect(),
        is_filtered: !same.is_empty(),
        rows: rows.iter().map(|row| teller.row(row)).collect(),
        older: beside.older.map(|place| address("before", place)),
        newer: beside.newer.map(|place| address("after", place)),
        is_first: beside.newer.is_none(),
        looked: looked_at.zip(next).map(|(rows, place)| Looked {
            rows: locale.number(rows as u64),
            to: When::new(place.occurred_at, zone, locale),
            is_back: way == LogWay::Back,
        }),
        files: if same.is_empty() { String::new() } else { format!("{same}&") },
        zone: zone.name(),
    };
    Ok(page(status, "transactions.html", &Shell::of_account(&pages, &at, Tab::Transactions), &view))
}

/// The rows behind which the pages beside this one begin.
struct Beside {
    older: Option<LogPlace>,
    newer: Option<LogPlace>,
}

/// What is beside a page of `rows`, the newest first, that was read this way behind `place`; `next` is where it goes on.
fn beside(way: LogWay, place: Option<LogPlace>, next: Option<LogPlace>, rows: &[Transaction]) -> Beside {
    // A page without rows goes back to where it came from, and the row there was shown already.
    let back = |shown: Option<&Transaction>, by: i64| {
        let came_from = place.map(|place| LogPlace { seq: place.seq.saturating_add(by), ..place });
        shown.map(LogPlace::of).filter(|_| place.is_some()).or(came_from)
    };
    match way {
        LogWay::Back => Beside { older: next, newer: back(rows.first(), -1) },
        LogWay::Forth => Beside { older: back(rows.last(), 1), newer: next },
    }
}

fn query_text_with(same: &str, name: &str, value: &str) -> String {
    let more = query_text([(name, value)]);
    if same.is_empty() { more } else { format!("{same}&{more}") }
}

/// `GET /accounts/{account}/transactions/export`: what is filtered as a file, the oldest first.
pub(super) async fn export(
    State(pages): State<Pages>,
    at: AtAccount,
    Asked(query): Asked<Query>,
) -> Result<Response, Shut> {
    let (app, account) = (pages.app(), &at.record.account);
    let format = format_of(&query, Format::Csv)?;
    let LogAsked { ask, days: (from, through), problems, .. } = LogAsked::of(&query, &account.calendar);
    if let Some(problem) = problems.into_iter().next() {
        return Err(Shut::Asked(problem));
    }
    let now = app.now();
    let [opened, today] = [account.opened_at.min(now), now].map(|at| account.calendar.day_of(at));
    // The end stays as it was asked, also where nothing had begun.
    let end = through.unwrap_or_else(|| from.unwrap_or(today).max(today));
    let first = from.unwrap_or_else(|| opened.min(end));
    let range = DateRange::new(first, next_day(end)).map_err(|error| Shut::Asked(error.to_string()))?;
    let spec = ReportSpec::new("Transaction log", range, Grouping::Range, Scope::Account, now)
        .map(|spec| spec.with_breakdown(Some(Breakdown::Transaction)))
        .and_then(|spec| spec.with_filters(ask.filters.clone()))
        .map_err(|error| Shut::Asked(error.to_string()))?;
    let spec = if format.has_lines_only() { spec.bare() } else { spec };
    let _turn = pages.0.reports.turn(Some(&account.id)).await;
    let mut reading = app.read_report(Some(std::slice::from_ref(&account.id)), &spec, None, &mut |_, _| {}).await?;
    reading.log.retain(|row| ask.admits(&row.row));
    let made = tokio::task::spawn_blocking(move || {
        let model: ReportModel = make(&spec, reading).map_err(|error| Shut::Asked(error.to_string()))?;
        Ok::<_, Shut>(render(&model, format, u16::MAX)?)
    });
    let bytes = made.await.map_err(|error| Shut::Broken(Box::new(error)))??;
    Ok(download(&format!("transactions-{}", account.id), range, format, bytes))
}
