//! Statements: the same report as every file of it, as JSON or CSV.

use super::input::{JSON, Params, cut, matches_etag, prefers};
use super::reads::record;
use crate::core::calendar::{Instant, Month, next_day};
use crate::core::counting::grouped;
use crate::core::ids::AccountId;
use crate::core::statement::{Breakdown, DateRange, Grouping, LocalTime, ReportModel, ReportSpec, Scope};
use crate::report::{Format, make, render};
use crate::web::State;
use crate::web::bearer::Caller;
use crate::web::problem::{Fault, Problem, internal};
use axum::extract;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

const CSV: &str = "text/csv";
/// A statement may be kept by whoever asked, but not be believed without asking.
const KEPT: &str = "private, no-cache";
/// Longest range of a statement, in days: a leap year and a week.
const DAYS_MAX: u64 = 373;
/// Most lines of one.
const LINES_MAX: usize = 50_000;

/// A statement, `creditd.report/1`: fields may be added, none is renamed or removed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Statement {
    /// `creditd.report/1`.
    schema: String,
    /// Its heading.
    title: String,
    /// `account`.
    scope: String,
    /// `range`, `day`, `week` or `month`.
    group_by: String,
    /// `action`, `user`, `type` or `status`; null for a statement.
    breakdown: Option<String>,
    /// First local day.
    from: String,
    /// First local day after it.
    to: String,
    /// It reads as the ledger did at this instant.
    #[schema(format = DateTime)]
    as_of: String,
    /// Whether the range was over then.
    is_over: bool,
    /// The names of the columns, in order.
    columns: Vec<String>,
    /// An object with these columns each, three for a period: free, purchased and total.
    lines: Vec<serde_json::Value>,
    /// The sums of all periods.
    totals: Vec<serde_json::Value>,
}

/// A statement of an account
///
/// By JSON, or by CSV where `Accept` prefers `text/csv`. Without parameters it is that of the present month. It has an `ETag`, which
/// changes when its figures do: ask with `If-None-Match`, and what is as it was is answered by 304.
#[utoipa::path(get, path = "/v1/accounts/{account}/statement", tag = "reads", operation_id = "statement",
    params(super::AccountPath,
        ("month" = Option<String>, Query, description = "This month", example = "2026-03"),
        ("from" = Option<String>, Query, min_length = 10, description = "From this local day or time on, 1970-01-01 or later", example = "2026-03-01"),
        ("to" = Option<String>, Query, min_length = 10, description = "Up to and without this local day or time; only with `from`"),
        ("by" = Option<String>, Query, description = "`range`, `day`, `week` or `month`, and `action`, `user`, `type` or `status`, separated by a comma", example = "day,action"),
        ("as_of" = Option<String>, Query, format = DateTime, description = "As it read at this instant"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of a statement that you have")),
    responses((status = 200, content((Statement = "application/json"), (String = "text/csv")), headers(("ETag" = String, description = "Changes when the figures do"))),
        (status = 304, description = "It is as you have it"), super::ReadProblems))]
pub(super) async fn statement(
    extract::State(state): extract::State<State>,
    caller: Caller,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut params = Params::of(&uri)?;
    let month: Option<Month> = params.one("month")?;
    let (from, to): (Option<LocalTime>, Option<LocalTime>) = (params.one("from")?, params.one("to")?);
    let (grouping, breakdown) = by(params.text("by")?.as_deref())?;
    let as_of: Option<Instant> = params.one("as_of")?;
    params.finish()?;
    let (app, account) = (&state.0.kit.app, caller.account()?);
    let calendar = record(&state, account).await?.account.calendar;
    app.check_as_of(as_of)?;
    let read_at = as_of.unwrap_or(app.now());
    let range = match (month, from, to) {
        (Some(month), None, None) => DateRange::of_month(month),
        (Some(_), ..) => return Err(Problem::invalid("month: say either a month, or from and to")),
        (None, Some(from), to) => DateRange::new(from, to.unwrap_or(next_day(calendar.day_of(read_at)).into())),
        (None, None, Some(_)) => return Err(Problem::invalid("to: say from when on, too, by from")),
        (None, None, None) => DateRange::of_month(calendar.month_of(read_at)),
    };
    let range = range.map_err(|error| Problem::invalid(error.to_string()))?;
    if range.days() > DAYS_MAX {
        return Err(Problem::new(
            Fault::TooMuch,
            format!("a statement has at most {DAYS_MAX} days here, not {}", grouped(range.days())),
        ));
    }
    if range.instants_in(&calendar).0 > read_at {
        let what = format!("from: the range has not begun: the statement reads as of {read_at}; let it begin earlier");
        return Err(Problem::invalid(what));
    }
    let spec = ReportSpec::new("Statement", range, grouping, Scope::Account, read_at);
    let spec = spec.map_err(|error| Problem::new(Fault::TooMuch, error.to_string()))?.with_breakdown(breakdown);
    let is_csv = prefers(&headers, CSV, JSON);
    let spec = if is_csv { spec.bare() } else { spec };
    answer(&state, account, &spec, as_of, is_csv, &headers).await
}

async fn answer(
    state: &State,
    account: &AccountId,
    spec: &ReportSpec,
    as_of: Option<Instant>,
    is_csv: bool,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    // Each takes memory and a core, and charges come first.
    let turn = state.0.statements.turn(Some(account)).await;
    let reading = state.0.kit.app.read_report(Some(std::slice::from_ref(account)), spec, as_of, &mut |_, _| {}).await?;
    let spec = spec.clone();
    let written = tokio::task::spawn_blocking(move || {
        let model = make(&spec, reading).map_err(|error| Problem::new(Fault::TooMuch, error.to_string()))?;
        written(&model, if is_csv { Format::Csv } else { Format::Json })
    });
    let (bytes, etag) = written.await.map_err(|error| internal(&error))??;
    drop(turn);
    let is_known = matches_etag(headers, &etag);
    let tagged = [(header::ETAG, etag), (header::VARY, "Accept".to_owned()), (header::CACHE_CONTROL, KEPT.to_owned())];
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, tagged).into_response());
    }
    let content_type = if is_csv { "text/csv; charset=utf-8" } else { JSON };
    Ok((tagged, [(header::CONTENT_TYPE, content_type)], bytes).into_response())
}

fn written(model: &ReportModel, format: Format) -> Result<(Vec<u8>, String), Problem> {
    if model.record_count() > LINES_MAX {
        let what = format!("{} lines; at most {LINES_MAX} are answered: ask for a shorter range", model.record_count());
        return Err(Problem::new(Fault::TooMuch, what));
    }
    let bytes = render(model, format, 0).map_err(|error| internal(&error))?;
    let etag = etag_of(&bytes);
    Ok((bytes, etag))
}

/// The tag of a statement, weak: the instant at which it was read makes it no other.
fn etag_of(bytes: &[u8]) -> String {
    const NAME: &[u8] = b",\"as_of\":\"";
    let begin = bytes.windows(NAME.len()).position(|part| part == NAME);
    let end = begin.and_then(|begin| {
        let behind = begin + NAME.len();
        bytes[behind..].iter().position(|byte| *byte == b'"').map(|length| behind + length)
    });
    let (first, rest) = match (begin, end) {
        (Some(begin), Some(end)) => (&bytes[..begin], &bytes[end..]),
        _ => (bytes, &[][..]),
    };
    let hash = Sha256::new().chain_update(first).chain_update(rest).finalize();
    format!("W/\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&hash[..16]))
}

/// The words of `by`: one of each kind at most.
fn by(text: Option<&str>) -> Result<(Grouping, Option<Breakdown>), Problem> {
    let (mut grouping, mut breakdown) = (None, None);
    for word in text.unwrap_or_default().split(',').filter(|word| !word.is_empty()) {
        let (of_period, of_use) = (Grouping::from_word(word), Breakdown::from_word(word));
        let is_twice = match (of_period, of_use) {
            (_, Some(Breakdown::Transaction)) => {
                return Err(Problem::invalid(
                    "by: transactions are at /v1/accounts/ACCOUNT/transactions, page by page",
                ));
            }
            (Some(one), _) => grouping.replace(one).is_some(),
            (_, Some(one)) => breakdown.replace(one).is_some(),
            (None, None) => {
                let what = "is none of range, day, week, month, action, user, type and status";
                return Err(Problem::invalid(format!("by: {:?} {what}", cut(word))));
            }
        };
        if is_twice {
            return Err(Problem::invalid("by: say one period and one kind of use at most, such as day,action"));
        }
    }
    Ok((grouping.unwrap_or(Grouping::Range), breakdown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_changes_with_the_figures_and_not_with_the_hour() {
        let body = |as_of: &str, figure: u8| {
            format!("{{\"title\":\"a \\\"as_of\\\":\",\"as_of\":\"{as_of}\",\"x\":{figure}}}")
        };
        let tag = |as_of, figure| etag_of(body(as_of, figure).as_bytes());
        assert_eq!(tag("2026-03-01T00:00:00Z", 1), tag("2026-03-02T00:00:00.5Z", 1));
        assert_ne!(tag("2026-03-01T00:00:00Z", 1), tag("2026-03-01T00:00:00Z", 2));
        assert_ne!(etag_of(b"a,b\n"), etag_of(b"a,c\n"));
    }

    #[test]
    fn words_of_by_are_one_of_a_kind() {
        assert_eq!(by(None).expect("nothing"), (Grouping::Range, None));
        assert_eq!(by(Some("action,day")).expect("both"), (Grouping::Day, Some(Breakdown::Action)));
        for bad in ["day,week", "user,user", "transaction", "hour"] {
            assert!(by(Some(bad)).is_err(), "{bad}");
        }
    }
}
