//! The first page of an account: what is left, how long it lasts, this month and the newest transactions. And what actions cost.

use super::super::visit::AtAccount;
use super::ask::sentence;
use super::look::{Shell, Tab, locale_of, page};
use super::tables::{EquationRow, RowView, Teller, When, action_name, counts_said, equation, is_long};
use super::{Pages, Shut};
use crate::app::{LogAsk, Standing};
use crate::core::calendar::Instant;
use crate::core::credits::{CreditType, Credits};
use crate::core::forecast::{Forecast, Outlook};
use crate::core::ids::printable;
use crate::core::ledger::AccountStatus;
use crate::core::locale::Locale;
use crate::core::outbox::one_line;
use crate::core::price::Action;
use crate::core::statement::Filters;
use crate::core::transaction::Money;
use crate::notice::words::{hour, listed, moment, month_title, price};
use crate::store::LogWay;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono_tz::Tz;
use serde::Serialize;

/// Transactions on the first page.
const NEWEST: usize = 10;
/// Names of actions that stop, in the banner.
const STOPS_SHOWN: usize = 4;

/// That a level is crossed.
#[derive(Serialize)]
pub(super) struct Banner {
    /// `low`, or `empty` when nothing is left.
    pub tone: &'static str,
    pub title: String,
    pub text: String,
}

#[derive(Serialize)]
struct View {
    banner: Option<Banner>,
    /// Why there are no credits to use, where the account is not open.
    status: Option<String>,
    total: String,
    /// The total is so long that a phone has no room for it in its size.
    is_long: bool,
    free: String,
    /// That the free ones are those of the month alone, where they are: how many those are at its beginning.
    allowance: Option<String>,
    /// How many of the free ones are those of the month, where there are bonuses beside them.
    of_month: Option<String>,
    /// Thousandths of the allowance, for a bar.
    free_permille: Option<i64>,
    lapses: When,
    has_lapsing: bool,
    free_bonuses: Vec<Bonus>,
    purchased: String,
    purchased_bonuses: Vec<Bonus>,
    /// Some of the purchased ones are of none of these.
    has_others: bool,
    held: Option<String>,
    forecast: Vec<String>,
    zone: &'static str,
    month: String,
    /// The day on which an account begins that has not.
    begins: Option<String>,
    equation: Vec<EquationRow>,
    counts: String,
    rows: Vec<RowView>,
    buy: Option<Buy>,
    /// What actions cost, behind the help.
    prices: Vec<PriceRow>,
}

#[derive(Serialize)]
struct Bonus {
    credits: String,
    is_one: bool,
    /// When it lapses; none never.
    ends: Option<When>,
}

#[derive(Serialize)]
struct Buy {
    url: String,
    text: String,
}

/// `GET /accounts/{account}`.
pub(super) async fn overview(State(pages): State<Pages>, at: AtAccount) -> Result<Response, Shut> {
    let standing = pages.standing(&at.record).await?;
    let app = pages.app();
    let prices = app.store.prices().await?;
    let ask = LogAsk { from: Instant::MIN, to: Instant::MAX, filters: Filters::default(), text: String::new() };
    let newest = app.log_page(at.id(), &ask, LogWay::Back, None, NEWEST).await?;
    let locale = locale_of(&pages, &at.record);
    let teller = Teller { locale, calendar: &at.record.account.calendar, prices: &prices };
    let Standing { balance, forecast, month, .. } = &standing;
    let (zone, allowance) = (balance.zone, balance.allowance);
    let credits = |credits: Credits| teller.credits(credits);
    let bonuses = |of: CreditType| -> Vec<Bonus> {
        let bonuses = balance.bonuses.iter().filter(|bonus| bonus.credit_type == of).map(|bonus| Bonus {
            credits: credits(bonus.credits),
            is_one: bonus.credits.get() == 1,
            ends: bonus.ends_at.map(|at| When::new(at, zone, locale)),
        });
        bonuses.collect()
    };
    let free_bonuses = bonuses(CreditType::Free);
    let (has_allowance, has_bonuses) = (!allowance.is_zero(), !free_bonuses.is_empty());
    let of_month = if has_allowance {
        format!("{} of the month’s {}", credits(balance.allowance_left), credits(allowance))
    } else {
        format!("{} of the month", credits(balance.allowance_left))
    };
    let held = balance.held.total();
    let settings = &app.settings.credits;
    let buy = settings.buy_url.as_ref().map(|url| {
        let money = Money { minor: settings.pack_price_minor, currency: settings.currency.clone() };
        let text = format!("Buy {} for {}", of_credits(settings.pack_credits, locale), price(&money, locale));
        Buy { url: url.clone(), text }
    });
    let of_bonuses = balance.bonuses.iter().filter(|bonus| bonus.credit_type == CreditType::Purchased);
    let of_bonuses: i64 = of_bonuses.map(|bonus| bonus.credits.get()).sum();
    let begins = (balance.status == AccountStatus::NotOpened).then(|| balance.opened_at.in_zone(zone).date_naive());
    let closed = status(&standing, locale);
    let counts = month.totals.iter().filter_map(|line| line.counts).next().unwrap_or_default();
    let total = credits(balance.available.total());
    let view = View {
        banner: banner(&standing, &stops(prices.iter(), app.now()), locale),
        is_long: is_long(&total),
        total,
        free: credits(balance.available.free),
        allowance: (has_allowance && !has_bonuses).then(|| credits(allowance)),
        of_month: has_bonuses.then_some(of_month),
        free_permille: (has_allowance || !balance.available.free.is_zero())
            .then(|| permille(balance.available.free, allowance.max(balance.available.free))),
        lapses: When::new(balance.month_ends_at, zone, locale),
        has_lapsing: !balance.allowance_left.is_zero(),
        free_bonuses,
        purchased: credits(balance.available.purchased),
        purchased_bonuses: bonuses(CreditType::Purchased),
        has_others: balance.available.purchased.get() > of_bonuses,
        held: (!held.is_zero()).then(|| credits(held)),
        // Why nothing is used stands above.
        forecast: if closed.is_some() { Vec::new() } else { said(forecast, &standing, locale) },
        status: closed,
        zone: zone.name(),
        month: month_title(balance.month),
        begins: begins.map(|day| locale.date(day)),
        equation: equation(&month.totals, locale, false),
        counts: counts_said(counts, locale),
        rows: newest.rows.iter().map(|row| teller.row(row)).collect(),
        buy,
        prices: price_rows(prices.iter(), app.now(), zone, locale),
    };
    Ok(page(StatusCode::OK, "overview.html", &Shell::of_account(&pages, &at, Tab::Overview), &view))
}

/// Thousandths of a whole; what is there shows.
fn permille(part: Credits, whole: Credits) -> i64 {
    let (part, whole) = (i128::from(part.get().max(0)), i128::from(whole.get().max(1)));
    i64::try_from(part * 1_000 / whole).unwrap_or(1_000).clamp(i64::from(part > 0), 1_000)
}

/// The titles of actions that cost something now: what stops at 0.
pub(super) fn stops<'a>(actions: impl Iterator<Item = &'a Action>, now: Instant) -> Vec<String> {
    let costs = |action: &&Action| {
        let price = action.version_at(now).and_then(|version| version.credits);
        price.is_some_and(|credits| credits > Credits::ZERO)
    };
    actions.filter(costs).map(action_name).collect()
}

/// What an admin must know first, where a level is crossed.
pub(super) fn banner(standing: &Standing, stops: &[String], locale: Locale) -> Option<Banner> {
    let (level, threshold) = standing.level.as_ref()?;
    let total = standing.balance.available.total();
    let stops = if stops.is_empty() { "Actions that cost credits".to_owned() } else { listed(stops, STOPS_SHOWN) };
    if total <= Credits::ZERO {
        let next = standing.balance.next_reset_at.filter(|_| !standing.balance.next_allowance.is_zero());
        let next = next.map(|at| moment(at, standing.balance.zone, locale));
        let next = next.map(|next| format!(" or new free ones come on {next}")).unwrap_or_default();
        let text = format!("{stops} are refused until credits are bought{next}.");
        return Some(Banner { tone: "empty", title: "No credits are left".to_owned(), text });
    }
    let title =
        format!("{} {} left", locale.number(total.get()), if total.get() == 1 { "credit is" } else { "credits are" });
    let text = format!(
        "That is at or below the alert level {level} ({} {}). At 0, these are refused: {stops}.",
        locale.number(threshold.get()),
        if threshold.get() == 1 { "credit" } else { "credits" },
    );
    Some(Banner { tone: "low", title, text })
}

/// Why nothing can be used, where the account is not open.
fn status(standing: &Standing, locale: Locale) -> Option<String> {
    let balance = &standing.balance;
    match balance.status {
        AccountStatus::Open => None,
        AccountStatus::Closed => Some("This account is closed: actions are refused. Purchased credits stay, and can be used once it is opened again.".to_owned()),
        AccountStatus::NotOpened => {
            Some(format!("This account opens on {}.", moment(balance.opened_at, balance.zone, locale)))
        }
    }
}

/// `1 credit`, `2,500 credits`.
fn of_credits(credits: Credits, locale: Locale) -> String {
    format!("{} {}", locale.number(credits.get()), if credits.get() == 1 { "credit" } else { "credits" })
}

/// How long the credits last, in sentences.
pub(super) fn said(forecast: &Forecast, standing: &Standing, locale: Locale) -> Vec<String> {
    let balance = &standing.balance;
    let zone = balance.zone;
    // Whoever is not open uses nothing, and an account that is closed has no reset to come.
    let (None, Some(reset)) = (status(standing, locale), balance.next_reset_at.map(|at| moment(at, zone, locale)))
    else {
        return status(standing, locale).into_iter().collect();
    };
    let at = |at: Option<Instant>| at.map(|at| hour(at, zone, locale));
    let mut sentences = Vec::new();
    let fresh = if balance.next_allowance.is_zero() {
        format!("the next month begins on {reset}, which brings no free credits")
    } else {
        format!("new free credits come on {reset}")
    };
    let lasts_until = forecast.lasts_until(balance.month_ends_at, balance.next_allowance);
    let lasts_until = lasts_until.map(|at| moment(at, zone, locale));
    let first = match (forecast.outlook, at(forecast.runs_out_at), at(forecast.free_runs_out_at)) {
        (Outlook::Empty, ..) => format!("Nothing is left. {}.", sentence(&fresh)),
        (Outlook::RunsOut, Some(out), _) if forecast.lapse => format!(
            "At this pace the credits run out around {out}, when the last of the bonus credits lapse, before {fresh}."
        ),
        (Outlook::RunsOut, Some(out), _) => {
            format!("At this pace everything is used up around {out}, before {fresh}.")
        }
        // No free credits come that these are to last for, so it is said how long they last in all.
        (Outlook::PurchasedCover | Outlook::FreeLast, ..) if balance.next_allowance.is_zero() => {
            let lapse = if forecast.gone_lapse { ", when the last of them lapse" } else { "" };
            let out = at(forecast.gone_at);
            let last = out.map_or("last for more than a year".to_owned(), |out| format!("run out around {out}{lapse}"));
            format!("At this pace the credits {last}. {}.", sentence(&fresh))
        }
        (Outlook::PurchasedCover, ..) if balance.available.free.is_zero() => {
            let used_up = if balance.allowance.is_zero() { "" } else { "The free credits are used up. " };
            format!("{used_up}At this pace the purchased ones cover the rest of the month, until {fresh}.")
        }
        (Outlook::PurchasedCover, _, Some(free)) if forecast.free_lapse => format!(
            "At this pace the free credits run out around {free}, when the last of the free bonus credits lapse. The purchased ones cover the rest of the month, until {fresh}."
        ),
        (Outlook::PurchasedCover, _, Some(free)) => format!(
            "At this pace the free credits are used up around {free}. The purchased ones cover the rest of the month, until {fresh}."
        ),
        (Outlook::FreeLast, ..) => format!("At this pace the free credits last until {fresh}."),
        _ if lasts_until.is_some() => format!(
            "They last until {} at most, when the last of them lapse. {}.",
            lasts_until.unwrap_or_default(),
            sentence(&fresh)
        ),
        _ => format!("Too little was used lately to say how long they last. {}.", sentence(&fresh)),
    };
    sentences.push(first);
    if let Some(pace) = forecast.pace_per_day.filter(|_| forecast.outlook != Outlook::Unknown) {
        let longer = forecast.pace28_per_day.map(|pace| format!(", {} in the last 28 days", locale.number(pace.get())));
        let pace = of_credits(pace, locale);
        let (window, longer) = (forecast.pace_window(), longer.unwrap_or_default());
        sentences.push(format!("The pace is {pace} a day in the {window}{longer}."));
    }
    if let (Outlook::RunsOut | Outlook::Empty, Some(packs @ 1..)) = (forecast.outlook, forecast.packs_needed) {
        let packs = if packs == 1 { "One pack".to_owned() } else { format!("{} packs", locale.number(packs)) };
        sentences.push(format!("{packs} would carry to the end of the month."));
    }
    sentences
}

#[derive(Serialize)]
struct Prices {
    rows: Vec<PriceRow>,
    zone: &'static str,
}

#[derive(Serialize)]
struct PriceRow {
    title: String,
    code: String,
    help: String,
    /// What it costs now; none where it cannot be done now.
    credits: Option<String>,
    since: Option<When>,
    /// What it will cost, and from when on.
    next: Vec<NextPrice>,
}

#[derive(Serialize)]
struct NextPrice {
    credits: Option<String>,
    from: When,
}

/// `GET /accounts/{account}/prices`: the action credit matrix.
pub(super) async fn prices(State(pages): State<Pages>, at: AtAccount) -> Result<Response, Shut> {
    let (app, locale) = (pages.app(), locale_of(&pages, &at.record));
    let (now, matrix) = (app.now(), app.store.prices().await?);
    let zone = at.record.account.calendar.zone_at(now);
    let view = Prices { rows: price_rows(matrix.iter(), now, zone, locale), zone: zone.name() };
    Ok(page(StatusCode::OK, "prices.html", &Shell::of_account(&pages, &at, Tab::Prices), &view))
}

/// The matrix, by title; what cannot be done now comes last.
fn price_rows<'a>(actions: impl Iterator<Item = &'a Action>, now: Instant, zone: Tz, locale: Locale) -> Vec<PriceRow> {
    let row = |action: &Action| {
        let version = action.version_at(now);
        let credits = version.and_then(|version| version.credits);
        // What counts from the beginning of time has no date.
        let since = version.map(|version| version.effective_from).filter(|from| *from > Instant::from_micros(0));
        let next = action.versions.iter().filter(|version| version.effective_from > now).map(|version| NextPrice {
            credits: version.credits.map(|credits| of_credits(credits, locale)),
            from: When::new(version.effective_from, zone, locale),
        });
        PriceRow {
            title: printable(&one_line(&action.title)),
            code: action.code.to_string(),
            help: printable(&action.help),
            credits: credits.map(|credits| locale.number(credits.get())),
            since: since.map(|from| When::new(from, zone, locale)),
            next: next.collect(),
        }
    };
    let mut rows: Vec<PriceRow> = actions.map(row).collect();
    rows.sort_by_key(|row| (row.credits.is_none(), row.title.to_lowercase()));
    rows
}
