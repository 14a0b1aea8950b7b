//! Past statements of an account: what each said when it was sent, and how it reads now (R14).

use super::super::visit::AtAccount;
use super::look::{Shell, Tab, locale_of, page};
use super::tables::When;
use super::{Pages, Shut};
use crate::core::calendar::Month;
use crate::core::ids::AccountId;
use crate::core::locale::Locale;
use crate::core::outbox::{Attachment, NoticeKey, NoticeKind};
use crate::core::statement::{
    Column, DateRange, FIGURES, Figures, Grouping, LineType, ReportModel, ReportSpec, Said, Scope,
};
use crate::notice::words::month_title;
use crate::report::make;
use crate::store::{OutboxRecord, SaidTo};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::collections::BTreeMap;

/// Months in the list: ten years.
const MONTHS_MAX: usize = 120;
/// Messages that are looked at for them.
const MESSAGES_MAX: usize = 2_000;
/// Versions of one statement that are shown beside each other, the newest of them.
const VERSIONS_SHOWN: usize = 3;

#[derive(Serialize)]
struct List {
    months: Vec<MonthRow>,
}

#[derive(Serialize)]
struct MonthRow {
    month: String,
    title: String,
    /// To how many it was sent, and when last; none for nobody.
    sent: Option<String>,
    versions: u32,
}

#[derive(Serialize)]
struct View {
    title: String,
    month: String,
    first: String,
    last: String,
    /// The headings of the columns, the last of which is how it reads now.
    heads: Vec<String>,
    rows: Vec<Row>,
    is_changed: bool,
    /// What was sent to the visitor: version, when, whether there is a workbook.
    sent: Vec<SentView>,
    /// To how many others.
    to_others: Option<String>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    credit_type: &'static str,
    cells: Vec<String>,
    is_changed: bool,
}

#[derive(Serialize)]
struct SentView {
    version: u32,
    at: When,
}

/// `GET /accounts/{account}/statements`.
pub(super) async fn list(State(pages): State<Pages>, at: AtAccount) -> Result<Response, Shut> {
    let (app, account, locale) = (pages.app(), &at.record.account, locale_of(&pages, &at.record));
    let now = app.now();
    let messages = app.store.said_to_whom(&account.id, NoticeKind::MonthlyStatement, "", MESSAGES_MAX).await?;
    let mut by_month: BTreeMap<&str, Vec<&SaidTo>> = BTreeMap::new();
    for message in &messages {
        by_month.entry(message.key.about()).or_default().push(message);
    }
    let first = account.calendar.month_of(account.opened_at);
    let last = account.calendar.month_of(now).previous();
    let months = std::iter::successors(Some(last), |month| Some(month.previous()));
    let row = |month: Month| {
        let text = month.to_string();
        let told = by_month.get(text.as_str()).map_or(&[][..], Vec::as_slice);
        MonthRow {
            title: month_title(month),
            sent: sent_said(told, account.calendar.zone_at(now), locale),
            versions: told.iter().map(|message| message.key.version()).max().unwrap_or(0),
            month: text,
        }
    };
    let months: Vec<MonthRow> = months.take_while(|month| *month >= first).take(MONTHS_MAX).map(row).collect();
    let shell = Shell::of_account(&pages, &at, Tab::Statements);
    Ok(page(StatusCode::OK, "statements.html", &shell, &List { months }))
}

/// To how many, and when last.
fn sent_said(told: &[&SaidTo], zone: chrono_tz::Tz, locale: Locale) -> Option<String> {
    let mut recipients: Vec<_> = told.iter().map(|message| message.key.recipient()).collect();
    recipients.sort();
    recipients.dedup();
    let last = told.iter().filter_map(|message| message.sent_at).max();
    let to = match recipients.len() {
        0 => return None,
        1 => "to one admin".to_owned(),
        many => format!("to {} admins", locale.number(many as u64)),
    };
    Some(match last {
        Some(at) => format!("{to}, last on {}", locale.date(at.in_zone(zone).date_naive())),
        None => format!("{to}, not delivered yet"),
    })
}

fn month_of(path: &BTreeMap<String, String>) -> Result<Month, Shut> {
    path.get("month").and_then(|month| month.parse().ok()).ok_or(Shut::NotFound)
}

/// `GET /accounts/{account}/statements/{month}`.
pub(super) async fn show(
    State(pages): State<Pages>,
    at: AtAccount,
    Path(path): Path<BTreeMap<String, String>>,
) -> Result<Response, Shut> {
    let (app, account, locale) = (pages.app(), &at.record.account, locale_of(&pages, &at.record));
    let (month, now) = (month_of(&path)?, app.now());
    let (first, last) = (account.calendar.month_of(account.opened_at), account.calendar.month_of(now));
    if !(first..last).contains(&month) {
        return Err(Shut::NotFound);
    }
    let ids = std::slice::from_ref(&account.id);
    let mut versions = app.store.statement_versions(ids, month).await?.remove(&account.id).unwrap_or_default();
    let told =
        app.store.said_to_whom(&account.id, NoticeKind::MonthlyStatement, &format!("{month}/"), MESSAGES_MAX).await?;
    let range = DateRange::of_month(month).map_err(|_| Shut::NotFound)?;
    let spec = ReportSpec::new("Statement", range, Grouping::Range, Scope::Account, now).map(ReportSpec::bare);
    let spec = spec.map_err(|error| Shut::Asked(error.to_string()))?;
    let turn = pages.0.reports.acquire().await;
    let reading = app.read_report(Some(ids), &spec, None, &mut |_, _| {}).await?;
    let made = tokio::task::spawn_blocking(move || make(&spec, reading)).await;
    drop(turn);
    let made = made.map_err(|error| Shut::Broken(Box::new(error)))?;
    let reads = said_by(&made.map_err(|error| Shut::Asked(error.to_string()))?);
    let older = versions.len().saturating_sub(VERSIONS_SHOWN);
    versions.drain(..older);
    let mut heads: Vec<String> = versions
        .iter()
        .map(
            |version| {
                if version.number == 1 { "As sent".to_owned() } else { format!("Corrected, no. {}", version.number) }
            },
        )
        .collect();
    heads.push("Now".to_owned());
    let mut all: Vec<Said> = versions.iter().map(|version| version.said).collect();
    all.push(reads);
    let rows = rows(&all, locale);
    let mine = at.admin().map(|admin| &admin.email);
    let zone = account.calendar.zone_at(now);
    let sent = told.iter().filter(|message| Some(message.key.recipient()) == mine).map(|message| SentView {
        version: message.key.version(),
        at: When::new(message.sent_at.unwrap_or(message.created_at), zone, locale),
    });
    let mut sent: Vec<SentView> = sent.collect();
    sent.sort_by_key(|one| one.version);
    let others: Vec<&SaidTo> = told.iter().filter(|message| Some(message.key.recipient()) != mine).collect();
    let view = View {
        title: month_title(month),
        month: month.to_string(),
        first: range.from().date().to_string(),
        last: range.last_day().to_string(),
        is_changed: rows.iter().any(|row| row.is_changed),
        heads,
        rows,
        sent,
        to_others: sent_said(&others, zone, locale),
    };
    Ok(page(StatusCode::OK, "statement.html", &Shell::of_account(&pages, &at, Tab::Statements), &view))
}

/// What a report of one period says.
fn said_by(model: &ReportModel) -> Said {
    let figures = |of| {
        let line = model.totals.iter().find(|line| line.credit_type == of);
        line.map(|line| line.figures).unwrap_or_default()
    };
    let counts = model.totals.iter().find_map(|line| line.counts).unwrap_or_default();
    Said { free: figures(LineType::Free), purchased: figures(LineType::Purchased), counts }
}

/// The figures of one type of credits.
type FiguresOf = fn(&Said) -> &Figures;
/// How many actions ended one way.
type CountOf = fn(&Said) -> u64;

/// A row for each figure and each count that any of `all` has.
fn rows(all: &[Said], locale: Locale) -> Vec<Row> {
    let mut rows = Vec::new();
    for (column, figure) in FIGURES {
        let [free, purchased]: [FiguresOf; 2] = [|said| &said.free, |said| &said.purchased];
        for (credit_type, of) in [("free", free), ("purchased", purchased)] {
            let figures: Vec<i64> = all.iter().map(|said| figure(of(said)).get()).collect();
            if figures.iter().all(|figure| *figure == 0) {
                continue;
            }
            rows.push(Row {
                name: column.heading(),
                credit_type,
                cells: figures.iter().map(|figure| locale.number(*figure).replace('-', "−")).collect(),
                is_changed: figures.iter().any(|figure| *figure != figures[0]),
            });
        }
    }
    let counts: [(Column, CountOf); 3] = [
        (Column::Succeeded, |said| said.counts.succeeded),
        (Column::Failed, |said| said.counts.failed),
        (Column::Refused, |said| said.counts.refused),
    ];
    for (column, of) in counts {
        let counts: Vec<u64> = all.iter().map(of).collect();
        if counts.iter().any(|count| *count != 0) {
            rows.push(Row {
                name: column.heading(),
                credit_type: "actions",
                cells: counts.iter().map(|count| locale.number(*count)).collect(),
                is_changed: counts.iter().any(|count| *count != counts[0]),
            });
        }
    }
    rows
}

/// A statement as it was sent to the visitor.
async fn message_of(pages: &Pages, at: &AtAccount, path: &BTreeMap<String, String>) -> Result<OutboxRecord, Shut> {
    let (month, admin) = (month_of(path)?, at.admin().ok_or(Shut::NotFound)?);
    let version = path.get("version").and_then(|version| version.parse().ok()).ok_or(Shut::NotFound)?;
    let id: AccountId = at.id().clone();
    let key = NoticeKey::monthly_statement(id, month, admin.email.clone(), version);
    let record = pages.app().store.message(&key).await?.ok_or(Shut::NotFound)?;
    // What it said is dropped after some time; that it was sent is kept.
    if record.message.html.is_empty() {
        Err(Shut::Asked("What this mail said is not kept any more.".to_owned()))
    } else {
        Ok(record)
    }
}

/// `GET /accounts/{account}/statements/{month}/sent/{version}`: the mail, to the letter.
pub(super) async fn sent(
    State(pages): State<Pages>,
    at: AtAccount,
    Path(path): Path<BTreeMap<String, String>>,
) -> Result<Response, Shut> {
    let message = message_of(&pages, &at, &path).await?.message;
    let mut html = message.html;
    for Attachment { content_id, content_type, bytes, .. } in &message.attachments {
        if let Some(id) = content_id {
            let picture = format!("data:{content_type};base64,{}", STANDARD.encode(bytes));
            html = html.replace(&format!("src=\"cid:{id}\""), &format!("src=\"{picture}\""));
        }
    }
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox allow-popups";
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
    ];
    Ok((headers, html).into_response())
}

/// `GET /accounts/{account}/statements/{month}/sent/{version}/workbook`: what was attached to it.
pub(super) async fn workbook(
    State(pages): State<Pages>,
    at: AtAccount,
    Path(path): Path<BTreeMap<String, String>>,
) -> Result<Response, Shut> {
    let message = message_of(&pages, &at, &path).await?.message;
    let attached = message.attachments.into_iter().find(|attached| attached.content_id.is_none());
    let attached = attached.ok_or_else(|| Shut::Asked("Nothing was attached to this mail.".to_owned()))?;
    let name: String =
        attached.name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).collect();
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    let kind = HeaderValue::from_str(&attached.content_type);
    let headers = [
        (header::CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/octet-stream"))),
        (header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment"))),
    ];
    Ok((headers, attached.bytes.to_vec()).into_response())
}
