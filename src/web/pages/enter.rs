//! In and out: a signed link is exchanged for a cookie by a button, for what reads mails before people do follows links.

use super::super::visit::{Guest, Sent, from_our_page, record};
use super::look::{Shell, page};
use super::{Pages, Shut};
use crate::core::access::Reach;
use crate::core::visit::{Visit, Visitor};
use crate::notice::words::named;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Serialize;

#[derive(Serialize)]
struct View {
    /// Whose credits are behind it; none for the platform.
    account: Option<String>,
    who: Option<String>,
}

/// What a page needs that says the same to everybody.
#[derive(Serialize)]
struct Nothing {}

/// Where a visitor begins.
fn start(pages: &Pages, visitor: &Visitor) -> String {
    let base = pages.app().settings.web.base();
    match &visitor.reach {
        Reach::Platform => format!("{base}/platform"),
        Reach::Account(account) => format!("{base}/accounts/{account}"),
    }
}

/// The visit of a link, of somebody whom it still lets in, and the account's name.
async fn opened(pages: &Pages, token: &str) -> Result<(Visit, Option<String>), Shut> {
    let visit = pages.gate().await?.of_link(token, pages.app().now())?;
    let name = match &visit.visitor.reach {
        Reach::Platform => None,
        Reach::Account(id) => {
            let record = record(pages, id, &visit.visitor, true).await.map_err(|shut| match shut {
                Shut::NotFound => Shut::NoAdmin,
                shut => shut,
            })?;
            Some(named(&record.account.name, id, 80))
        }
    };
    Ok((visit, name))
}

/// `GET /enter/{token}`: one button.
pub(super) async fn show(State(pages): State<Pages>, Path(token): Path<String>) -> Result<Response, Shut> {
    let (visit, account) = opened(&pages, &token).await?;
    let who = visit.visitor.address.as_ref().map(ToString::to_string);
    let shell = Shell::of_nobody(&pages, "Open your credits");
    Ok(page(StatusCode::OK, "enter.html", &shell, &View { account, who }))
}

/// `POST /enter/{token}`: a cookie, and the way to the first page.
pub(super) async fn exchange(
    State(pages): State<Pages>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Shut> {
    from_our_page(&pages, &headers).await?;
    let (visit, _) = opened(&pages, &token).await?;
    let to = start(&pages, &visit.visitor);
    let cookie = pages.gate().await?.cookie(visit.visitor, pages.app().now());
    let cookie = cookie.map(|cookie| [(header::SET_COOKIE, cookie)]);
    Ok((cookie.into_iter().next().ok_or(Shut::Nobody)?, Redirect::to(&to)).into_response())
}

/// `GET /` and `GET /leave`: where the visitor begins.
pub(super) async fn home(State(pages): State<Pages>, guest: Guest) -> Redirect {
    Redirect::to(&start(&pages, &guest.visitor))
}

/// `POST /leave`: the cookie is taken away.
pub(super) async fn leave(State(pages): State<Pages>, sent: Sent<Guest>) -> Result<Response, Shut> {
    let shell = Shell::of_nobody(&pages, "You have left");
    let answer = page(StatusCode::OK, "left.html", &shell, &Nothing {});
    let cookie = pages.gate().await?.no_cookie().filter(|_| sent.at.has_cookie);
    Ok(match cookie {
        Some(cookie) => ([(header::SET_COOKIE, cookie)], answer).into_response(),
        None => answer,
    })
}
