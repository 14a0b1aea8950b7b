//! Past statements of an account: what each said when it was sent, and how it reads now (R14).

use super::super::visit::AtAccount;
use super::look::{Shell, Tab, locale_of, page};
use super::tables::When;
use super::{Pages, Shut};
use crate::core::calendar::Month;
use crate::core::locale::Locale;
use crate::core::outbox::{Attachment, NoticeKey, NoticeKind};
use crate::core::signed::first_lines;
use crate::core::statement::{
    Column, DateRange, FIGURES, Figures, Grouping, LineType, ReportModel, ReportSpec, Said, Scope,
};
use crate::core::unsubscribe::Wish;
use crate::notice::words::month_title;
use crate::report::make;
use crate::store::{Content, OutboxRecord, SaidTo};
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
    /// What was sent, to the visitor where anything was.
    sent: Vec<SentView>,
    is_mine: bool,
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
    /// What it said is there to be read.
    is_kept: bool,
    /// A file is attached to it.
    has_file: bool,
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
    let turn = pages.0.reports.turn(Some(&account.id)).await;
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
    let (own, others): (Vec<&SaidTo>, Vec<&SaidTo>) =
        told.iter().partition(|message| Some(message.key.recipient()) == mine);
    // What was sent to several is the same.
    let shown = if own.is_empty() { &others } else { &own };
    let versions: BTreeMap<u32, &SaidTo> = shown.iter().map(|message| (message.key.version(), *message)).collect();
    let mut sent = Vec::new();
    for (version, message) in versions {
        let Content { is_kept, has_file } = app.store.message_content(&message.key).await?;
        let at = When::new(message.sent_at.unwrap_or(message.created_at), zone, locale);
        sent.push(SentView { version, at, is_kept, has_file });
    }
    let view = View {
        title: month_title(month),
        month: month.to_string(),
        first: range.from().date().to_string(),
        last: range.last_day().to_string(),
        is_changed: rows.iter().any(|row| row.is_changed),
        heads,
        rows,
        sent,
        is_mine: !own.is_empty(),
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
    let (mut rows, mut is_blank) = (Vec::new(), true);
    for (column, figure) in FIGURES {
        let [free, purchased]: [FiguresOf; 2] = [|said| &said.free, |said| &said.purchased];
        for (credit_type, of) in [("free", free), ("purchased", purchased)] {
            let figures: Vec<i64> = all.iter().map(|said| figure(of(said)).get()).collect();
            let is_zero = figures.iter().all(|figure| *figure == 0);
            // That nothing is left is worth telling, where anything is.
            if is_zero && column != Column::Remaining {
                continue;
            }
            is_blank &= is_zero;
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
            is_blank = false;
            rows.push(Row {
                name: column.heading(),
                credit_type: "actions",
                cells: counts.iter().map(|count| locale.number(*count)).collect(),
                is_changed: counts.iter().any(|count| *count != counts[0]),
            });
        }
    }
    if is_blank {
        rows.clear();
    }
    rows
}

/// A statement as it was sent: to the visitor, or where nothing was, to somebody else. The links of a mail let in whom it was sent to,
/// so that nobody else gets them.
async fn message_of(pages: &Pages, at: &AtAccount, path: &BTreeMap<String, String>) -> Result<OutboxRecord, Shut> {
    let (month, store) = (month_of(path)?, &pages.app().store);
    let version = path.get("version").and_then(|version| version.parse().ok()).ok_or(Shut::NotFound)?;
    let own = match at.admin() {
        Some(admin) => {
            let key = NoticeKey::monthly_statement(at.id().clone(), month, admin.email.clone(), version);
            store.message(&key).await?
        }
        None => None,
    };
    let record = match own {
        Some(own) => own,
        None => {
            let about = format!("{month}/");
            let told = store.said_to_whom(at.id(), NoticeKind::MonthlyStatement, &about, MESSAGES_MAX).await?;
            let key = told.into_iter().map(|message| message.key).find(|key| key.version() == version);
            let mut record = store.message(&key.ok_or(Shut::NotFound)?).await?.ok_or(Shut::NotFound)?;
            record.message.html = without_links(&record.message.html);
            record
        }
    };
    // What it said is dropped after some time; that it was sent is kept.
    if record.message.html.is_empty() {
        Err(Shut::Asked("What this mail said is not kept any more.".to_owned()))
    } else {
        Ok(record)
    }
}

/// The same page, whose links lead nowhere; and however templates write them, without the tokens that let in.
fn without_links(html: &str) -> String {
    let mut parts = html.split(" href=\"");
    let first = parts.next().unwrap_or_default().to_owned();
    let page = parts.filter_map(|part| part.split_once('"')).fold(first, |page, (_, rest)| page + rest);
    let is_of_token = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let words = page.split_inclusive(|letter| !is_of_token(letter));
    let ends_at = |word: &str| word.trim_end_matches(|letter| !is_of_token(letter)).len();
    words.map(|word| if has_token(word) { &word[ends_at(word)..] } else { word }).collect()
}

/// Whether a token of ours is in it: what it signs begins with which mails it ends, or with the instant until which it lets in.
fn has_token(word: &str) -> bool {
    first_lines(word).any(|line| Wish::from_word(&line).is_some() || line.parse::<i64>().is_ok())
}

/// `GET /accounts/{account}/statements/{month}/sent/{version}`: the mail, to whom it was sent to the letter.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access::Reach;
    use crate::core::calendar::Instant;
    use crate::core::ids::{AccountId, Email};
    use crate::core::signed::{Purpose, SigningKey};
    use crate::core::unsubscribe::Unsubscribe;
    use crate::core::visit::{Visit, Visitor};

    #[test]
    fn a_mail_of_another_lets_nobody_in() {
        let key = SigningKey::new([7; 32]);
        let (account, address) = (
            AccountId::new(&"a-B_9".repeat(13)[..64]).expect("an id"),
            Email::new("ann@a.example").expect("an address"),
        );
        let visitor = Visitor { reach: Reach::Account(account.clone()), address: Some(address.clone()) };
        let link = Visit { visitor, until: Instant::from_micros(1_361_000_000_000_000) }.token(Purpose::Link, &key);
        let end = Unsubscribe { account: account.clone(), address, wish: Wish::MonthlyReport }.token(&key);
        let mail = format!(
            "<p class=\"a\">Ann of {account} <a class=\"b\" href=\"https://x.example/enter/{link}\" style=\"c\">in</a> \
             <a href='https://x.example/unsubscribe?t={end}&amp;x'>out</a> https://x.example/enter/{link} _{link}_ see-{end}-{account}"
        );
        insta::assert_snapshot!(without_links(&mail), @r#"<p class="a">Ann of a-B_9a-B_9a-B_9a-B_9a-B_9a-B_9a-B_9a-B_9a-B_9a-B_9a-B_9a-B_9a-B_ <a class="b" style="c">in</a> <a href='https://x.example/unsubscribe?t=&amp;x'>out</a> https://x.example/enter/  "#);
    }
}
