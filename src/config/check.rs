//! The bounds of settings, and the paths inside them. `defaults.toml` tells the operator the same bounds.

use super::{AMOUNT_MAX, Settings};
use crate::core::alert::{Level, Levels};
use crate::core::ids::Email;
use std::ops::RangeInclusive;
use std::path::Path;

/// A batch is one database transaction, which charges wait for.
const BATCH_ACCOUNTS_MAX: usize = 10_000;
/// RFC 1035.
const DOMAIN_LEN_MAX: usize = 253;

/// Calls `refuse` with the key and what is allowed, for each value out of bounds.
pub(super) fn settings(settings: &Settings, refuse: &mut dyn FnMut(&str, String)) {
    let credits = &settings.credits;
    range(refuse, "credits.monthly_allowance", credits.monthly_allowance.get(), 0..=AMOUNT_MAX);
    range(refuse, "credits.pack_credits", credits.pack_credits.get(), 1..=AMOUNT_MAX);
    range(refuse, "credits.pack_price_minor", credits.pack_price_minor, 0..=AMOUNT_MAX);
    range(refuse, "jobs.batch_accounts", settings.jobs.batch_accounts, 1..=BATCH_ACCOUNTS_MAX);
    if credits.currency.len() != 3 || !credits.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        refuse("credits.currency", "three capital letters are expected, such as \"USD\"".to_owned());
    }
    if let Err(error) = settings.mail.sender() {
        refuse("mail.from", error.to_string());
    }
    if settings.mail.message_id_domain.as_ref().is_some_and(|domain| !is_domain(domain)) {
        refuse("mail.message_id_domain", "a domain is expected, such as \"credits.example.com\"".to_owned());
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

/// Calls `refuse` with each alert level that cannot be, and leaves none in `table` then: reading the settings as a whole
/// would stop at the first.
pub(super) fn take_bad_levels(table: &mut toml::Table, refuse: &mut dyn FnMut(&str, String)) {
    const KEY: &str = "alerts.levels";
    let Some(list) = table.get_mut("alerts").and_then(|alerts| alerts.get_mut("levels")?.as_array_mut()) else {
        return;
    };
    let mut levels: Vec<Level> = Vec::new();
    let mut refused = 0;
    for (at, item) in list.iter().enumerate() {
        match serde_path_to_error::deserialize::<_, Level>(item.clone()) {
            Ok(level) => levels.push(level),
            Err(error) => {
                let field = Some(error.path().to_string()).filter(|path| path != ".");
                let field = field.map_or_else(String::new, |path| format!(".{path}"));
                refuse(&format!("{KEY}[{at}]{field}"), error.inner().message().to_owned());
                refused += 1;
            }
        }
    }
    if let Err(error) = Levels::new(levels) {
        refuse(KEY, error.to_string());
        refused += 1;
    }
    if refused > 0 {
        list.clear();
    }
}

fn is_domain(text: &str) -> bool {
    text.len() <= DOMAIN_LEN_MAX && Email::new(&format!("x@{text}")).is_ok()
}

/// The path `text`, seen from `base` when it is relative.
pub(super) fn path(text: &str, base: &Path) -> Result<String, String> {
    if text.is_empty() {
        return Err("a path is expected; leave the setting out for none".to_owned());
    }
    let joined = base.join(text).into_os_string().into_string();
    joined.map_err(|path| format!("the path {} is not UTF-8", path.display()))
}

/// `sqlite://FILE?options` with the file seen from `base`.
pub(super) fn database_url(text: &str, base: &Path) -> Result<String, String> {
    const EXPECTED: &str = "sqlite://FILE is expected, such as sqlite://creditd.db";
    let (scheme, rest) = text.split_once(':').ok_or_else(|| format!("it has no scheme; {EXPECTED}"))?;
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
