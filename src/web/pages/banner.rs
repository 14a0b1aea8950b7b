//! The banner of an account for the platform's own pages: a fragment of HTML without a look of its own, and the same as JSON.

use super::super::api::Bonus;
use super::super::visit::AtEmbed;
use super::account::{Banner, banner, said, stops};
use super::look::{Shell, locale_of, rendered};
use super::{Pages, Shut};
use crate::app::{Balance, Standing};
use crate::core::calendar::Instant;
use crate::core::ledger::AccountStatus;
use crate::store::AccountRecord;
use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Serialize)]
struct View {
    banner: Option<Banner>,
    account: String,
    free: String,
    purchased: String,
    forecast: String,
    /// The account's page, where it is known where that is.
    page: Option<String>,
}

/// The account's page, for whoever is let in there.
fn page_of(pages: &Pages, record: &AccountRecord) -> Option<String> {
    let url = pages.app().settings.web.public_url.as_ref()?;
    Some(format!("{url}/accounts/{}", record.account.id))
}

async fn standing(pages: &Pages, record: &AccountRecord) -> Result<(Standing, Option<Banner>), Shut> {
    let standing = pages.standing(record).await?;
    let prices = pages.app().store.prices().await?;
    let banner = banner(&standing, &stops(prices.iter(), pages.app().now()), locale_of(pages, record));
    Ok((standing, banner))
}

/// `GET /embed/accounts/{account}/banner`.
pub(super) async fn html(State(pages): State<Pages>, AtEmbed(record): AtEmbed) -> Result<Response, Shut> {
    let (standing, banner) = standing(&pages, &record).await?;
    let locale = locale_of(&pages, &record);
    let view = View {
        banner,
        account: record.account.id.to_string(),
        free: locale.number(standing.balance.available.free.get()),
        purchased: locale.number(standing.balance.available.purchased.get()),
        forecast: said(&standing.forecast, &standing, locale).into_iter().next().unwrap_or_default(),
        page: page_of(&pages, &record),
    };
    let html = rendered("banner.html", &Shell::of_nobody(&pages, ""), &view);
    Ok(Html(html.map_err(|error| Shut::Broken(error.into()))?).into_response())
}

/// `GET /embed/accounts/{account}/banner.json`.
pub(super) async fn json(State(pages): State<Pages>, AtEmbed(record): AtEmbed) -> Result<Json<Value>, Shut> {
    let (Standing { balance, level, forecast, .. }, banner) = standing(&pages, &record).await?;
    let Balance { available, held, .. } = &balance;
    // Nobody uses the credits of an account that is not open.
    let runs_out = |at: Option<Instant>| at.filter(|_| balance.status == AccountStatus::Open).map(|at| at.to_string());
    Ok(Json(json!({
        "schema": "creditd.banner/1",
        "account": record.account.id,
        "at": balance.at.to_string(),
        "level": level.as_ref().map(|(level, _)| level.as_str()),
        "threshold": level.as_ref().map(|(_, threshold)| threshold.get()),
        "title": banner.as_ref().map(|banner| banner.title.as_str()),
        "text": banner.as_ref().map(|banner| banner.text.as_str()),
        "available": {"free": available.free.get(), "purchased": available.purchased.get(), "total": available.total().get()},
        "held": held.total().get(),
        "allowance": balance.allowance.get(),
        "allowance_left": balance.allowance_left.get(),
        "bonuses": balance.bonuses.iter().map(Bonus::of).collect::<Vec<_>>(),
        "status": balance.status.as_str(),
        "next_reset_at": balance.next_reset_at.map(|at| at.to_string()),
        "next_allowance": balance.next_allowance.get(),
        "free_runs_out_at": runs_out(forecast.free_runs_out_at),
        "runs_out_at": runs_out(forecast.runs_out_at),
        "zone": balance.zone.name(),
        "page": page_of(&pages, &record),
    })))
}
