//! The landing of links that end mails (RFC 8058): a look shows what would end, one click ends it. The token in the link proves
//! that whoever has it got such a mail, so that nobody is asked to come in first.

use super::look::{Shell, page};
use super::{Pages, Shut, ask};
use crate::app::AppError;
use crate::core::unsubscribe::{BadToken, Unsubscribe, Wish};
use crate::core::visit::BadVisit;
use crate::jobs::signing_key;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

#[derive(Serialize)]
struct View<'a> {
    mails: &'static str,
    account: String,
    address: String,
    token: &'a str,
    is_done: bool,
    /// What the admin gets still.
    left: Vec<&'static str>,
    /// There is no such admin any more, who gets nothing.
    is_gone: bool,
}

/// The mails of a wish, in words.
pub(super) const fn mails(wish: Wish) -> &'static str {
    match wish {
        Wish::Alerts => "low-credit alerts",
        Wish::Resolved => "notices that an alert is over",
        Wish::LapseSoon => "notices that free credits lapse soon",
        Wish::MonthlyReport => "monthly statements",
        Wish::DailyReport => "daily statements",
    }
}

/// `GET /unsubscribe?t=TOKEN`: what would end, and a button.
pub(super) async fn show(State(pages): State<Pages>, Query(query): Query<ask::Query>) -> Result<Response, Shut> {
    let token = query.get_once("t").unwrap_or_default();
    let key = signing_key(pages.app()).await?;
    let asked = Unsubscribe::of_token(token, &key).map_err(|BadToken| Shut::Link(BadVisit::Unknown))?;
    Ok(shown(&pages, &View::of(&asked, token)))
}

/// `POST /unsubscribe?t=TOKEN`: it ends, however often it is asked.
pub(super) async fn end(State(pages): State<Pages>, Query(query): Query<ask::Query>) -> Result<Response, Shut> {
    let token = query.get_once("t").unwrap_or_default();
    let (asked, admin) = pages.app().unsubscribe(token).await.map_err(|error| match error {
        AppError::BadToken(BadToken) => Shut::Link(BadVisit::Unknown),
        error => error.into(),
    })?;
    let wished = |wish: &&Wish| admin.as_ref().is_some_and(|admin| admin.wishes(**wish));
    let left = Wish::ALL.iter().filter(wished).map(|wish| mails(*wish)).collect();
    let view = View { is_done: true, left, is_gone: admin.is_none(), ..View::of(&asked, token) };
    Ok(shown(&pages, &view))
}

impl<'a> View<'a> {
    fn of(asked: &Unsubscribe, token: &'a str) -> View<'a> {
        View {
            mails: mails(asked.wish),
            account: asked.account.to_string(),
            address: asked.address.to_string(),
            token,
            is_done: false,
            left: Vec::new(),
            is_gone: false,
        }
    }
}

fn shown(pages: &Pages, view: &View<'_>) -> Response {
    let title = if view.is_done { "These mails have ended" } else { "End these mails" };
    page(StatusCode::OK, "unsubscribe.html", &Shell::of_nobody(pages, title), view)
}
