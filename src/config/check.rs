//! The bounds of settings, and the paths inside them. `defaults.toml` tells the operator the same bounds.

use super::Settings;
use crate::core::ids::{Email, clean_text};
use crate::core::outbox::Mailbox;
use serde::de::{Deserialize, Deserializer, Error};
use std::ops::RangeInclusive;
use std::path::Path;

/// Amounts beyond a thousand million credits, or minor units, are slips of the keyboard.
pub const AMOUNT_MAX: i64 = 1_000_000_000;
/// A year, as the longest that a platform may take to tell what was used.
const LATE_USAGE_DAYS_MAX: i64 = 366;
/// A batch is one database transaction, which charges wait for.
const BATCH_ACCOUNTS_MAX: usize = 10_000;
/// Longer ones are cut by some mail programs.
const URL_LEN_MAX: usize = 2_000;

/// Calls `refuse` with the key and what is allowed, for each value out of bounds.
pub(super) fn settings(settings: &Settings, refuse: &mut dyn FnMut(&str, String)) {
    let credits = &settings.credits;
    range(refuse, "credits.monthly_allowance", credits.monthly_allowance.get(), 0..=AMOUNT_MAX);
    range(refuse, "credits.pack_credits", credits.pack_credits.get(), 1..=AMOUNT_MAX);
    range(refuse, "credits.pack_price_minor", credits.pack_price_minor, 0..=AMOUNT_MAX);
    range(refuse, "credits.late_usage_days", credits.late_usage_days, 0..=LATE_USAGE_DAYS_MAX);
    range(refuse, "jobs.batch_accounts", settings.jobs.batch_accounts, 1..=BATCH_ACCOUNTS_MAX);
    if credits.currency.len() != 3 || !credits.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        refuse("credits.currency", "three capital letters are expected, such as \"USD\"".to_owned());
    }
    if credits.buy_url.as_ref().is_some_and(|url| !is_web_address(url)) {
        refuse("credits.buy_url", "a web address is expected, such as \"https://example.com/credits\"".to_owned());
    }
}

fn range<N: PartialOrd + std::fmt::Display>(
    refuse: &mut dyn FnMut(&str, String),
    key: &str,
    value: N,
    allowed: RangeInclusive<N>,
) {
    if !allowed.contains(&value) {
        refuse(key, format!("allowed are {} to {}", allowed.start(), allowed.end()));
    }
}

/// Reads `Name <address>`, or an address alone.
pub(super) fn sender<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Mailbox, D::Error> {
    let text = String::deserialize(deserializer)?;
    let (name, address) = match text.strip_suffix('>').and_then(|t| t.rsplit_once('<')) {
        Some((name, address)) => (name.trim(), address),
        None => ("", text.as_str()),
    };
    let name = clean_text("the name", name).map_err(D::Error::custom)?;
    Ok(Mailbox { name, address: Email::new(address).map_err(D::Error::custom)? })
}

/// Printable and without what would end an attribute or a line: it is put into mail.
fn is_web_address(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '<' | '>' | '\\' | '`');
    text.len() <= URL_LEN_MAX
        && text.chars().all(allowed)
        && host.is_some_and(|host| host.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// The path `text`, seen from `base` when it is relative.
pub(super) fn path(text: &str, base: &Path) -> Result<String, String> {
    if text.is_empty() {
        return Err("a path is expected; leave the setting out for none".to_owned());
    }
    let joined = base.join(text).into_os_string().into_string();
    joined.map_err(|path| format!("the path {} is not UTF-8", path.display()))
}

/// A database url as it may be shown: without its password, wherever that stands.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // A password with an unescaped slash or question mark reaches beyond the host, so the last @ counts.
    let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
    let login = login.map(|login| match login.split_once(':') {
        Some((user, _)) => format!("{user}:***@"),
        None => format!("{login}@"),
    });
    let rest = match rest.split_once('?') {
        Some((rest, query)) => {
            let shown = query.split('&').map(|pair| match pair.split_once('=') {
                Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}=***"),
                _ => pair.to_owned(),
            });
            format!("{rest}?{}", shown.collect::<Vec<_>>().join("&"))
        }
        None => rest.to_owned(),
    };
    format!("{scheme}://{}{rest}", login.unwrap_or_default())
}

/// `postgres://..` as it is, or `sqlite://FILE?options` with the file seen from `base`.
pub(super) fn database_url(text: &str, base: &Path) -> Result<String, String> {
    const EXPECTED: &str = "sqlite://FILE or postgres://USER@HOST/DATABASE is expected, such as sqlite://creditd.db";
    let (scheme, rest) = text.split_once(':').ok_or_else(|| format!("it has no scheme; {EXPECTED}"))?;
    if matches!(scheme, "postgres" | "postgresql") && rest.starts_with("//") {
        return Ok(text.to_owned());
    }
    if scheme != "sqlite" {
        let shown: String = scheme.chars().take(20).collect();
        return Err(format!("databases of the scheme {shown:?} are not supported by this version; {EXPECTED}"));
    }
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (file, options) = rest.split_once('?').map_or((rest, String::new()), |(file, o)| (file, format!("?{o}")));
    if file.is_empty() || file.starts_with(":memory:") {
        return Err(format!("a ledger in memory would be forgotten; {EXPECTED}"));
    }
    Ok(format!("sqlite://{}{options}", path(file, base)?))
}
