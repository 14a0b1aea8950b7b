//! Which mails an admin gets about an account: shown, and changed by a form.

use super::super::visit::{AtAccount, NAME_SHOWN_MAX, Sent, TOKEN_FIELD};
use super::look::{Shell, Tab, page};
use super::{Pages, Shut};
use crate::core::ids::printable;
use crate::core::unsubscribe::Wish;
use crate::notice::words::{listed, shorten};
use crate::store::Admin;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

/// What a box that is checked says.
const CHECKED: &str = "yes";

#[derive(Serialize)]
struct View {
    /// As whom one chooses; none for whoever visits as nobody in particular.
    address: Option<String>,
    wishes: Vec<WishView>,
    is_saved: bool,
    /// Everybody who gets mail, for those who choose for none of them.
    admins: Vec<AdminView>,
}

#[derive(Serialize)]
struct WishView {
    name: &'static str,
    title: &'static str,
    text: &'static str,
    is_wished: bool,
}

#[derive(Serialize)]
struct AdminView {
    name: String,
    address: String,
    mails: Vec<&'static str>,
}

const fn title(wish: Wish) -> (&'static str, &'static str) {
    match wish {
        Wish::Alerts => {
            ("Low-credit alerts", "When what is left falls to an alert level: once each time, without reminders.")
        }
        Wish::Resolved => {
            ("When an alert is over", "When there is more again than the level, by a purchase or a new month.")
        }
        Wish::LapseSoon => {
            ("Before free credits lapse", "Some days before the end of a month with many unused free credits.")
        }
        Wish::MonthlyReport => ("Monthly statement", "On the first of each month, with a chart and a workbook."),
        Wish::DailyReport => ("Daily statement", "Every morning, about the day before."),
    }
}

/// `GET /accounts/{account}/notifications`.
pub(super) async fn show(State(pages): State<Pages>, at: AtAccount) -> Response {
    shown(&pages, &at, at.admin(), false)
}

/// `POST /accounts/{account}/notifications`: what is checked comes, what is not does not.
pub(super) async fn change(State(pages): State<Pages>, sent: Sent<AtAccount>) -> Result<Response, Shut> {
    let Sent { at, fields } = sent;
    let admin = at.admin().ok_or(Shut::NotFound)?;
    if let Some(problem) = fields.iter().find_map(|(name, value)| misfilled(name, value)) {
        return Err(Shut::Filled(problem));
    }
    let wishes: Vec<(Wish, bool)> = Wish::ALL.iter().map(|wish| (*wish, fields.contains_key(wish.as_str()))).collect();
    let changed = pages.app().store.set_wishes(at.id(), &admin.email, &wishes).await?.ok_or(Shut::NoAdmin)?;
    Ok(shown(&pages, &at, Some(&changed), true))
}

/// What is wrong with a field: a misspelt one would end mails that are wished.
fn misfilled(name: &str, value: &str) -> Option<String> {
    let shown = |text: &str| shorten(&printable(text), NAME_SHOWN_MAX);
    match Wish::from_word(name) {
        _ if name == TOKEN_FIELD => None,
        Some(_) if value == CHECKED => None,
        Some(_) => Some(format!("“{}” is no answer for {name}: that is {CHECKED}, or is left out.", shown(value))),
        None => {
            let names: Vec<String> = Wish::ALL.iter().map(ToString::to_string).collect();
            Some(format!("There are no mails called “{}”; there are {}.", shown(name), listed(&names, names.len())))
        }
    }
}

fn shown(pages: &Pages, at: &AtAccount, admin: Option<&Admin>, is_saved: bool) -> Response {
    let wishes = admin.into_iter().flat_map(|admin| {
        Wish::ALL.iter().map(|wish| {
            let (title, text) = title(*wish);
            WishView { name: wish.as_str(), title, text, is_wished: admin.wishes(*wish) }
        })
    });
    let others = at.record.admins.iter().filter(|_| admin.is_none()).map(|admin| AdminView {
        name: printable(&admin.name),
        address: admin.email.to_string(),
        mails: Wish::ALL.iter().filter(|wish| admin.wishes(**wish)).map(|wish| title(*wish).0).collect(),
    });
    let view = View {
        address: admin.map(|admin| admin.email.to_string()),
        wishes: wishes.collect(),
        is_saved,
        admins: others.collect(),
    };
    page(StatusCode::OK, "notifications.html", &Shell::of_account(pages, at, Tab::Notifications), &view)
}
