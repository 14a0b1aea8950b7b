//! How pages look: the templates in `templates/web/`, one sheet and one script of ours, and what stands around every page.

use super::super::visit::{AtAccount, Guest};
use super::Pages;
use crate::core::access::Reach;
use crate::core::locale::Locale;
use crate::notice::words::{moment, named};
use crate::report::CHART_STYLE;
use crate::store::AccountRecord;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use chrono_tz::Tz;
use include_dir::{Dir, include_dir};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use tera::{Context, Tera};

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/web");

/// Longest name of an account in a heading, in characters.
const NAME_CHARS_MAX: usize = 80;
/// How long browsers keep what a name with a hash stands for: a year.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

static TERA: LazyLock<Result<Tera, tera::Error>> = LazyLock::new(|| {
    let mut tera = Tera::default();
    let sources = TEMPLATES.files().filter_map(|file| Some((file.path().to_str()?, file.contents_utf8()?)));
    tera.add_raw_templates(sources.filter(|(name, _)| name.ends_with(".html")))?;
    Ok(tera)
});

/// What browsers load besides pages, by names that change with what is in it.
struct Asset {
    name: String,
    text: String,
    kind: &'static str,
}

fn asset_of(stem: &str, ending: &str, kind: &'static str, text: String) -> Asset {
    let hash: String = Sha256::digest(&text).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Asset { name: format!("{stem}-{hash}.{ending}"), text, kind }
}

static SHEET: LazyLock<Asset> = LazyLock::new(|| {
    let text = format!("{}{CHART_STYLE}", include_str!("../../../templates/web/page.css"));
    asset_of("page", "css", "text/css; charset=utf-8", text)
});
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = include_str!("../../../templates/web/page.js").to_owned();
    asset_of("page", "js", "text/javascript; charset=utf-8", text)
});

/// `GET /assets/{name}`: the sheet or the script of this version.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match [&*SHEET, &*SCRIPT].into_iter().find(|asset| asset.name == name) {
        Some(asset) => {
            let kind = HeaderValue::from_static(asset.kind);
            ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, FOR_EVER)], asset.text.as_str()).into_response()
        }
        None => super::Shut::NotFound.into_response(),
    }
}

/// The pages of an account that stand beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    /// What is left.
    Overview,
    /// The log.
    Transactions,
    /// Sums by day, month or any range.
    Summary,
    /// What was sent for past months.
    Statements,
    /// What actions cost.
    Prices,
    /// Which mails come.
    Notifications,
}

impl Tab {
    const ALL: [Tab; 6] =
        [Tab::Overview, Tab::Transactions, Tab::Summary, Tab::Statements, Tab::Prices, Tab::Notifications];

    const fn as_str(self) -> &'static str {
        match self {
            Tab::Overview => "Overview",
            Tab::Transactions => "Transactions",
            Tab::Summary => "Summary",
            Tab::Statements => "Statements",
            Tab::Prices => "What actions cost",
            Tab::Notifications => "Notifications",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Tab::Overview => "",
            Tab::Transactions => "/transactions",
            Tab::Summary => "/summary",
            Tab::Statements => "/statements",
            Tab::Prices => "/prices",
            Tab::Notifications => "/notifications",
        }
    }
}

#[derive(Serialize)]
pub(super) struct TabView {
    label: &'static str,
    href: String,
    is_here: bool,
}

/// What stands around a page.
#[derive(Serialize)]
pub(super) struct Shell {
    pub title: String,
    /// The path below which all pages are.
    pub base: String,
    css: &'static str,
    js: &'static str,
    /// The account's name, on its pages.
    account: Option<String>,
    /// The path of the account's pages.
    pub here: String,
    tabs: Vec<TabView>,
    /// As whom one is here.
    who: Option<String>,
    is_operator: bool,
    can_leave: bool,
    /// What forms carry.
    token: String,
    /// When the page was made.
    now: String,
}

impl Shell {
    /// Around what says something to whoever it is.
    pub fn of_nobody(pages: &Pages, title: &str) -> Shell {
        Shell {
            title: title.to_owned(),
            base: pages.app().settings.web.base().to_owned(),
            css: &SHEET.name,
            js: &SCRIPT.name,
            account: None,
            here: String::new(),
            tabs: Vec::new(),
            who: None,
            is_operator: false,
            can_leave: false,
            token: String::new(),
            now: String::new(),
        }
    }

    /// Around a page for a guest.
    pub fn of_guest(pages: &Pages, guest: &Guest, title: &str) -> Shell {
        let is_operator = guest.visitor.reach == Reach::Platform;
        let address = guest.visitor.address.as_ref().map(ToString::to_string);
        Shell {
            who: if is_operator { Some("operator".to_owned()) } else { address },
            is_operator,
            can_leave: guest.has_cookie,
            token: guest.token.clone(),
            now: moment(pages.app().now(), Tz::UTC, pages.app().settings.mail.locale),
            ..Shell::of_nobody(pages, title)
        }
    }

    /// Around a page of an account.
    pub fn of_account(pages: &Pages, at: &AtAccount, here: Tab) -> Shell {
        let shell = Shell::of_guest(pages, &at.guest, here.as_str());
        let path = format!("{}/accounts/{}", shell.base, at.id());
        let tab =
            |tab: &Tab| TabView { label: tab.as_str(), href: format!("{path}{}", tab.path()), is_here: *tab == here };
        let name = named(&at.record.account.name, at.id(), NAME_CHARS_MAX);
        let now = pages.app().now();
        Shell {
            title: format!("{} · {name}", shell.title),
            tabs: Tab::ALL.iter().map(tab).collect(),
            account: Some(name),
            here: path,
            now: moment(now, at.record.account.calendar.zone_at(now), locale_of(pages, &at.record)),
            ..shell
        }
    }
}

/// How the people of an account write numbers and dates.
pub(super) fn locale_of(pages: &Pages, record: &AccountRecord) -> Locale {
    record.locale.unwrap_or(pages.app().settings.mail.locale)
}

/// A page of `template`.
pub(super) fn page(status: StatusCode, template: &str, shell: &Shell, view: &impl Serialize) -> Response {
    match rendered(template, shell, view) {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(template, %error, "a page could not be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "this page is out of order\n").into_response()
        }
    }
}

/// The text of `template`.
pub(super) fn rendered(template: &str, shell: &Shell, view: &impl Serialize) -> Result<String, String> {
    let tera = TERA.as_ref().map_err(ToString::to_string)?;
    let mut context = Context::from_serialize(view).map_err(|error| error.to_string())?;
    context.insert("shell", shell);
    tera.render(template, &context).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_whole() {
        assert!(TERA.is_ok(), "{:?}", TERA.as_ref().err());
        for file in TEMPLATES.files() {
            let text = file.contents_utf8().unwrap_or_default();
            let name = file.path().display();
            for forbidden in [" style=", "<style", " onclick", " onload", " onsubmit", "javascript:"] {
                assert!(!text.contains(forbidden), "{name} has {forbidden}, which the policy forbids");
            }
            // Charts are drawn by a template that escapes; nothing else goes unescaped.
            let charts = text.replace("{{ chart.svg | safe }}", "").replace("{{ totals.sums.chart | safe }}", "");
            assert!(!charts.contains("safe }}"), "{name} does not escape something");
        }
    }
}
