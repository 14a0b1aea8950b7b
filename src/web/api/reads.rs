//! What can be looked at: accounts, balances, the log, alerts, the action credit matrix.

use super::answers::{self, Account, Action, Actions, Alert, Balance, Notifications, Transactions};
use super::input::{Params, cut};
use crate::app::{AppError, LogAsk};
use crate::core::calendar::{Calendar, Instant, parse_date};
use crate::core::ids::{AccountId, ActionCode, UserId, clean_text};
use crate::core::statement::{Ending, Filters};
use crate::core::transaction::Touched;
use crate::store::{AccountRecord, LogPlace, LogWay};
use crate::web::State;
use crate::web::bearer::Caller;
use crate::web::problem::Problem;
use axum::extract::{self, Request};
use axum::http::Uri;
use axum::response::Json;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Rows of a page of the log, unless asked otherwise.
const PAGE_ROWS: usize = 100;
/// Most rows of a page.
const PAGE_ROWS_MAX: usize = 1_000;
/// Alerts that are listed, unless asked otherwise.
const ALERTS: usize = 100;
/// Most alerts that are listed.
const ALERTS_MAX: usize = 1_000;

/// The record of an account that there must be.
pub(super) async fn record(state: &State, account: &AccountId) -> Result<AccountRecord, Problem> {
    let found = state.0.kit.app.store.accounts(std::slice::from_ref(account)).await?;
    Ok(found.into_iter().next().ok_or_else(|| AppError::UnknownAccount(account.clone()))?)
}

/// An account and what it has
#[utoipa::path(get, path = "/v1/accounts/{account}", tag = "reads", operation_id = "account", params(super::AccountPath),
    responses((status = 200, body = Account), super::ReadProblems))]
pub(super) async fn account(
    extract::State(state): extract::State<State>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<Account>, Problem> {
    Params::of(&uri)?.finish()?;
    let id = caller.account()?;
    let record = record(&state, id).await?;
    let balances = state.0.kit.app.balances(std::slice::from_ref(id)).await?;
    let balance = balances.first().ok_or_else(|| AppError::UnknownAccount(id.clone()))?;
    Ok(Json(Account::of(&record, balance)))
}

/// What an account can use
///
/// True at every instant, whether or not any job has run.
#[utoipa::path(get, path = "/v1/accounts/{account}/balance", tag = "reads", operation_id = "balance",
    params(super::AccountPath, ("as_of" = Option<String>, Query, format = DateTime, description = "As it was known at this instant, instead of now")),
    responses((status = 200, body = Balance), super::ReadProblems))]
pub(super) async fn balance(
    extract::State(state): extract::State<State>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<Balance>, Problem> {
    let mut params = Params::of(&uri)?;
    let as_of: Option<Instant> = params.one("as_of")?;
    params.finish()?;
    let (app, account) = (&state.0.kit.app, caller.account()?);
    let accounts = std::slice::from_ref(account);
    let balances = match as_of {
        Some(at) => app.balances_as_of(accounts, at).await?,
        None => app.balances(accounts).await?,
    };
    let balance = balances.first().ok_or_else(|| match as_of {
        Some(at) => AppError::UnknownThen { account: account.clone(), at },
        None => AppError::UnknownAccount(account.clone()),
    })?;
    Ok(Json(Balance::of(balance)))
}

/// The log of an account
///
/// The newest first, page by page. A page may have fewer rows than its limit, even none, where many are looked through for few:
/// go on while there is a `next_cursor`. What is written meanwhile moves no row from one page to another.
#[utoipa::path(get, path = "/v1/accounts/{account}/transactions", tag = "reads", operation_id = "transactions",
    params(super::AccountPath,
        ("from" = Option<String>, Query, min_length = 10, description = "From this instant or local day of the account on, 1970-01-01 or later; without it, from the first row on", example = "2026-03-01"),
        ("to" = Option<String>, Query, min_length = 10, description = "Before this instant or local day; without it, up to the newest row"),
        ("user" = Option<String>, Query, description = "Only by this user"),
        ("action" = Option<String>, Query, description = "Only of this action"),
        ("type" = Option<super::TypeWord>, Query, description = "Only what touched these pools"),
        ("status" = Option<super::EndingWord>, Query, description = "Only what ended so; `refused` has a reason, `failed` failed at the platform"),
        ("search" = Option<String>, Query, max_length = 500, description = "Only with this text in comment, user, action, reference or key"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1_000, description = "Rows of a page; 100 unless said otherwise"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before, with the same filters")),
    responses((status = 200, body = Transactions), super::ReadProblems))]
pub(super) async fn transactions(
    extract::State(state): extract::State<State>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<Transactions>, Problem> {
    let mut params = Params::of(&uri)?;
    let (from, to): (Option<Moment>, Option<Moment>) = (params.one("from")?, params.one("to")?);
    let (user, action): (Option<UserId>, Option<ActionCode>) = (params.one("user")?, params.one("action")?);
    let touched = params.word("type", Touched::ALL, Touched::as_str)?;
    let status = params.word("status", Ending::ALL, Ending::as_str)?;
    let text = params.text("search")?.unwrap_or_default();
    let text = clean_text("the text", &text).map_err(|error| Problem::invalid(format!("search: {error}")))?;
    let limit = params.limit(PAGE_ROWS, PAGE_ROWS_MAX)?;
    let cursor = params.text("cursor")?;
    params.finish()?;
    let account = caller.account()?;
    let calendar = record(&state, account).await?.account.calendar;
    let asked = from.zip(to);
    let [from, to] = [from, to].map(|moment| moment.map(|moment| moment.instant(&calendar)));
    if let (Some((asked_from, asked_to)), true) = (asked, from >= to) {
        let what = format!("from: {asked_from} is not before to, {asked_to}, which ends the range without being in it");
        return Err(Problem::invalid(what));
    }
    let filters = Filters {
        actions: action.map(Some).into_iter().collect(),
        users: user.map(Some).into_iter().collect(),
        types: touched.into_iter().collect(),
        statuses: status.into_iter().collect(),
    };
    let ask = LogAsk { from: from.unwrap_or(Instant::MIN), to: to.unwrap_or(Instant::MAX), filters, text };
    let place = cursor.map(|cursor| place_of(&cursor, account, &ask)).transpose()?;
    let page = state.0.kit.app.log_page(account, &ask, LogWay::Back, place, limit).await?;
    Ok(Json(Transactions {
        schema: "creditd.transactions/1",
        account: account.to_string(),
        transactions: page.rows.iter().map(answers::Transaction::of).collect(),
        next_cursor: page.next.map(|place| cursor_of(place, account, &ask)),
    }))
}

/// A local day, or an instant.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Day(chrono::NaiveDate),
    At(Instant),
}

impl std::str::FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Moment, String> {
        let both = |error: &dyn std::fmt::Display| format!("{error}, and no day such as 2026-03-01");
        if text.contains(['T', 't', ' ']) {
            Instant::parse(text).map(Moment::At).map_err(|error| both(&error))
        } else {
            parse_date(text)
                .map(Moment::Day)
                .map_err(|error| format!("{error}, and no instant such as 2026-03-01T00:00:00Z"))
        }
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Moment::Day(day) => day.fmt(f),
            Moment::At(instant) => instant.fmt(f),
        }
    }
}

impl Moment {
    fn instant(self, calendar: &Calendar) -> Instant {
        match self {
            Moment::At(instant) => instant,
            Moment::Day(day) => calendar.day_start(day),
        }
    }
}

/// What tells a cursor of one list from that of another.
fn mark_of(account: &AccountId, ask: &LogAsk) -> String {
    let LogAsk { from, to, filters, text } = ask;
    let said = format!("{account}\n{}\n{}\n{:?}\n{text}", from.micros(), to.micros(), filters.said());
    BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(said)[..6])
}

fn cursor_of(place: LogPlace, account: &AccountId, ask: &LogAsk) -> String {
    let text = format!("{} {} {}", place.occurred_at.micros(), place.seq, mark_of(account, ask));
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn place_of(cursor: &str, account: &AccountId, ask: &LogAsk) -> Result<LogPlace, Problem> {
    let read = || {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let mut parts = std::str::from_utf8(&bytes).ok()?.split(' ');
        let occurred_at = Instant::from_micros(parts.next()?.parse().ok()?);
        let place = LogPlace { occurred_at, seq: parts.next()?.parse().ok()? };
        (parts.next()? == mark_of(account, ask) && parts.next().is_none()).then_some(place)
    };
    read().ok_or_else(|| {
        let what = "is no next_cursor of this list; give it with the filters of the page that it came from";
        Problem::invalid(format!("cursor: {:?} {what}", cut(cursor)))
    })
}

/// Low-credit alerts of an account
#[utoipa::path(get, path = "/v1/accounts/{account}/notifications", tag = "reads", operation_id = "notifications",
    params(super::AccountPath,
        ("all" = Option<bool>, Query, description = "Also those that are over"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1_000, description = "At most so many; 100 unless said otherwise")),
    responses((status = 200, body = Notifications), super::ReadProblems))]
pub(super) async fn notifications(
    extract::State(state): extract::State<State>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<Notifications>, Problem> {
    let mut params = Params::of(&uri)?;
    let all = params.one("all")?.unwrap_or(false);
    let limit = params.limit(ALERTS, ALERTS_MAX)?;
    params.finish()?;
    let account = caller.account()?;
    record(&state, account).await?;
    let alerts = state.0.kit.app.store.alerts(Some(account), all, limit).await?;
    Ok(Json(Notifications {
        schema: "creditd.alerts/1",
        account: account.to_string(),
        alerts: alerts.iter().map(Alert::of).collect(),
    }))
}

/// The action credit matrix
#[utoipa::path(get, path = "/v1/actions", tag = "reads", operation_id = "actions",
    responses((status = 200, body = Actions), super::BareProblems))]
pub(super) async fn actions(
    extract::State(state): extract::State<State>,
    _: Caller,
    request: Request,
) -> Result<Json<Actions>, Problem> {
    Params::of(request.uri())?.finish()?;
    let (app, now) = (&state.0.kit.app, state.0.kit.app.now());
    let prices = app.store.prices().await?;
    let actions = prices.iter().map(|action| Action::of(action, now)).collect();
    Ok(Json(Actions { schema: "creditd.actions/1", actions }))
}
