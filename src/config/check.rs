//! The bounds of settings, and the paths inside them. `defaults.toml` tells the operator the same bounds.

use super::{PINGS, ProxySettings, Settings, SmtpSettings, TransportKind, ping_name};
use crate::core::delivery::Tls;
use crate::core::ids::{BadName, Email, clean_text};
use crate::core::locale::Locale;
use crate::core::outbox::Mailbox;
use crate::core::schedule::Job;
use crate::core::secret::Secret;
use serde::de::{Deserialize, Deserializer, Error};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;

/// Amounts beyond a thousand million credits, or minor units, are slips of the keyboard.
pub const AMOUNT_MAX: i64 = 1_000_000_000;
/// A year, as the longest that a platform may take to tell what was used.
const LATE_USAGE_DAYS_MAX: i64 = 366;
/// Every month has as many days.
const LAPSE_SOON_DAYS_MAX: i64 = 28;
/// Not before whoever has a question has seen the next statement; a hundred years are for ever.
const KEEP_DAYS: RangeInclusive<i64> = 40..=36_525;
/// Forecasts, statements and late usage read the last months; a hundred years are for ever.
const KEEP_MONTHS: RangeInclusive<i64> = KEEP_MONTHS_MIN as i64..=1_200;
/// Months that are over whose rows never leave the database.
pub const KEEP_MONTHS_MIN: u32 = 3;
/// Of events for webhooks: longer than they are tried, and no archive.
const WEBHOOK_KEEP_DAYS: RangeInclusive<i64> = 7..=3_650;
/// A receiver takes an event and looks at it later.
const WEBHOOK_SECONDS_MAX: i64 = 30;
/// A batch is one database transaction, which charges wait for.
const BATCH_ACCOUNTS_MAX: i64 = 10_000;
/// Longer ones are cut by some mail programs.
const URL_LEN_MAX: usize = 2_000;
/// Each gets every message of its own.
const OPERATORS_MAX: usize = 20;
/// A relay that takes more a minute needs no limit.
const PER_MINUTE_MAX: i64 = 1_000_000;
/// No process answers more.
const REQUESTS_PER_SECOND_MAX: i64 = 1_000_000;
/// Of TCP.
const PORT_MAX: i64 = 65_535;
/// No mail server likes more of one client.
const CONNECTIONS_MAX: i64 = 50;
/// A server that takes longer for one message takes none.
const TIMEOUT_SECONDS_MAX: i64 = 120;
/// Longer names of headers leave no room for a value on the line.
const HEADER_LEN_MAX: usize = 60;
/// Headers that mails have or servers add: one more of these would be another mail.
const TAKEN_HEADERS: &[&str] = &[
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "auto-submitted",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "return-path",
    "received",
    "dkim-signature",
    "authentication-results",
];
/// Headers with a hyphen that browsers send or proxies add: whoever names one lets anybody in.
const TAKEN_REQUEST_HEADERS: &[&str] = &[
    "accept-encoding",
    "accept-language",
    "cache-control",
    "if-modified-since",
    "if-none-match",
    "idempotency-key",
    "user-agent",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-requested-with",
];
/// A month; whoever needs longer is let in by a proxy.
const MAIL_LINK_DAYS_MAX: i64 = 30;
/// More make a header that proxies cut.
const FRAME_ANCESTORS_MAX: usize = 20;
/// Of one platform.
const PROXIES_MAX: usize = 20;
/// With the longest token it stays within a line of a header.
const PAGE_LEN_MAX: usize = 400;
/// Whatever a dead process left lying waits for that long.
const LEASE_SECONDS_MAX: i64 = 300;
/// No scheme of a database is longer.
const SCHEME_LEN_MAX: usize = 20;

/// The whole numbers that are allowed, by setting: for the check, and for the schema that editors read.
pub(super) const RANGES: [(&str, RangeInclusive<i64>); 19] = [
    ("credits.monthly_allowance", 0..=AMOUNT_MAX),
    ("credits.pack_credits", 1..=AMOUNT_MAX),
    ("credits.pack_price_minor", 0..=AMOUNT_MAX),
    ("credits.late_usage_days", 0..=LATE_USAGE_DAYS_MAX),
    ("sealed.keep_months", KEEP_MONTHS),
    ("alerts.lapse_soon_days", 1..=LAPSE_SOON_DAYS_MAX),
    ("alerts.lapse_soon_credits", 1..=AMOUNT_MAX),
    ("mail.keep_days", KEEP_DAYS),
    ("mail.smtp.port", 1..=PORT_MAX),
    ("mail.smtp.per_minute", 0..=PER_MINUTE_MAX),
    ("mail.smtp.connections", 1..=CONNECTIONS_MAX),
    ("mail.smtp.timeout_seconds", 1..=TIMEOUT_SECONDS_MAX),
    ("jobs.batch_accounts", 1..=BATCH_ACCOUNTS_MAX),
    (BELL_SECONDS, 1..=MINUTE_SECONDS),
    ("jobs.lease_seconds", 1..=LEASE_SECONDS_MAX),
    ("webhooks.timeout_seconds", 1..=WEBHOOK_SECONDS_MAX),
    ("webhooks.keep_days", WEBHOOK_KEEP_DAYS),
    ("web.requests_per_second", 0..=REQUESTS_PER_SECOND_MAX),
    ("web.mail_link_days", 0..=MAIL_LINK_DAYS_MAX),
];
/// The setting that also divides a minute.
pub(super) const BELL_SECONDS: &str = "jobs.bell_seconds";
/// Bells ring at the same seconds of each minute.
pub(super) const MINUTE_SECONDS: i64 = 60;

/// Calls `refuse` with the key and what is allowed, for each whole number out of bounds, as `number` has it by its key.
pub(super) fn numbers(number: &dyn Fn(&str) -> Option<i64>, refuse: &mut dyn FnMut(&str, String)) {
    for (key, allowed) in RANGES {
        let Some(value) = number(key) else { continue };
        if key == BELL_SECONDS {
            if !allowed.contains(&value) || MINUTE_SECONDS % value != 0 {
                refuse(key, "a divisor of 60 is expected, such as 5".to_owned());
            }
        } else if !allowed.contains(&value) {
            refuse(key, format!("allowed are {} to {}", allowed.start(), allowed.end()));
        }
    }
}

/// Calls `refuse` with the key and what is allowed, for everything else that cannot be.
pub(super) fn settings(settings: &Settings, refuse: &mut dyn FnMut(&str, String)) {
    let credits = &settings.credits;
    if credits.currency.len() != 3 || !credits.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        refuse("credits.currency", "three capital letters are expected, such as \"USD\"".to_owned());
    }
    if credits.buy_url.as_ref().is_some_and(|url| !is_web_address(url)) {
        refuse("credits.buy_url", "a web address is expected, such as \"https://example.com/credits\"".to_owned());
    }
    if settings.mail.transport == TransportKind::Smtp && settings.mail.smtp.host.is_none() {
        refuse(
            "mail.transport",
            "a server is needed for it; set mail.smtp.host, such as \"smtp.example.com\"".to_owned(),
        );
    }
    if settings.mail.unsubscribe_url.as_ref().is_some_and(|url| !is_page(url)) {
        let what = format!(
            "a web address of at most {PAGE_LEN_MAX} characters without ? and # is expected, such as \
             \"https://credits.example.com/unsubscribe\""
        );
        refuse("mail.unsubscribe_url", what);
    }
    let operators = &settings.mail.operators;
    if operators.len() > OPERATORS_MAX {
        refuse("mail.operators", format!("at most {OPERATORS_MAX} are allowed; a list of a mail server takes more"));
    }
    if let Some((_, twice)) =
        operators.iter().enumerate().find(|(at, one)| operators[..*at].iter().any(|other| other.address == one.address))
    {
        refuse("mail.operators", format!("{} is there twice", twice.address));
    }
    smtp(&settings.mail.smtp, refuse);
    web(settings, refuse);
    for job in Job::ALL {
        // The path gets /start and /fail behind it.
        let is_address = |url: &Secret| is_web_address(url.expose()) && !url.expose().contains('#');
        if settings.jobs.ping.of(*job).is_some_and(|url| !is_address(url)) {
            let what = "a web address is expected, such as \"https://hc-ping.com/your-uuid\"";
            refuse(&format!("{PINGS}{}", ping_name(*job)), what.to_owned());
        }
    }
}

fn web(settings: &Settings, refuse: &mut dyn FnMut(&str, String)) {
    let web = &settings.web;
    if web.public_url.as_ref().is_some_and(|url| !is_page(url) || url.ends_with('/')) {
        let what = format!(
            "a web address of at most {PAGE_LEN_MAX} characters without ?, # and a / at its end is expected, such as \
             \"https://credits.example.com\""
        );
        refuse("web.public_url", what);
    }
    if web.frame_ancestors.len() > FRAME_ANCESTORS_MAX || !web.frame_ancestors.iter().all(|site| is_site(site)) {
        let what = format!(
            "at most {FRAME_ANCESTORS_MAX} sites are expected, each a scheme and a host, such as \"https://app.example.com\""
        );
        refuse("web.frame_ancestors", what);
    }
    let ProxySettings { from, account_header, email_header, platform_header } = &web.trusted_proxy;
    if from.iter().any(IpAddr::is_unspecified) || from.len() > PROXIES_MAX {
        let what = format!("at most {PROXIES_MAX} addresses of machines are expected, such as \"127.0.0.1\"");
        refuse("web.trusted_proxy.from", what);
    }
    let headers =
        [("account_header", account_header), ("email_header", email_header), ("platform_header", platform_header)];
    for (at, (key, name)) in headers.iter().enumerate() {
        let is_taken = headers[..at].iter().any(|(_, before)| before.eq_ignore_ascii_case(name));
        let has_prefix = name.to_ascii_lowercase().starts_with("x-") || name.contains('-');
        if !is_free_header(name) || TAKEN_REQUEST_HEADERS.contains(&name.to_ascii_lowercase().as_str()) || !has_prefix {
            let what = "the name of a header that browsers do not send is expected, such as \"X-Creditd-Account\"";
            refuse(&format!("web.trusted_proxy.{key}"), what.to_owned());
        } else if is_taken {
            refuse(&format!("web.trusted_proxy.{key}"), format!("{name} says something else already"));
        }
    }
}

/// A scheme and a host, perhaps with a port: what a browser calls an origin.
fn is_site(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    is_web_address(text) && host.is_some_and(|host| host.chars().all(is_of_host))
}

fn smtp(smtp: &SmtpSettings, refuse: &mut dyn FnMut(&str, String)) {
    let host = smtp.host.as_deref();
    if host.is_some_and(|host| !is_host(host)) {
        refuse(
            "mail.smtp.host",
            "the name or address of a server alone is expected, such as \"smtp.example.com\" or \"::1\"".to_owned(),
        );
    } else if smtp.tls == Tls::None && host.is_some_and(|host| !is_loopback(host)) {
        let what = "mail and password would go over the network for all to read; \"none\" is for a server on this machine \
                    (localhost, 127.0.0.1, ::1). Set \"implicit\" (port 465) or \"starttls\" (port 587)";
        refuse("mail.smtp.tls", what.to_owned());
    }
    if smtp.username.is_some() && smtp.password.is_none() && smtp.password_file.is_none() {
        let what = "a password is needed for it; set the environment variable CREDITD_SMTP_PASSWORD or mail.smtp.password_file";
        refuse("mail.smtp.username", what.to_owned());
    }
    if smtp.password_file.is_some() && smtp.username.is_none() {
        refuse("mail.smtp.password_file", "nobody logs in with it; set mail.smtp.username".to_owned());
    }
    if smtp.idempotency_header.as_deref().is_some_and(|name| !is_free_header(name)) {
        let what = "the name of a header that mails do not have yet is expected, such as \"X-Idempotency-Key\"";
        refuse("mail.smtp.idempotency_header", what.to_owned());
    }
}

fn is_host(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.parse::<IpAddr>().is_ok() || (!text.is_empty() && text.len() <= 253 && text.chars().all(is_name))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_free_header(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    (1..=HEADER_LEN_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !lower.starts_with("content-")
        && !TAKEN_HEADERS.contains(&lower.as_str())
}

/// Reads `Name <address>`, or an address alone.
pub(super) fn sender<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Mailbox, D::Error> {
    Written::deserialize(deserializer).map(|Written(mailbox)| mailbox)
}

/// Reads a list of them.
pub(super) fn mailboxes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Mailbox>, D::Error> {
    Ok(Vec::<Written>::deserialize(deserializer)?.into_iter().map(|Written(mailbox)| mailbox).collect())
}

/// Reads secrets by name.
pub(super) fn pings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Secret>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|(name, text)| (name, Secret::new(text))).collect())
}

/// Reads an address with its port, or the word for none.
pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "off" {
        return Ok(None);
    }
    let expected = "an address and a port are expected, such as \"127.0.0.1:8417\" or \"[::1]:8417\", or \"off\"";
    text.parse().map(Some).map_err(|_| D::Error::custom(expected))
}

/// Reads a locale.
pub(super) fn locale<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Locale, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// A mailbox as settings have it.
struct Written(Mailbox);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Written, D::Error> {
        mailbox(&String::deserialize(deserializer)?).map(Written).map_err(D::Error::custom)
    }
}

fn mailbox(text: &str) -> Result<Mailbox, BadName> {
    let (name, address) = match text.strip_suffix('>').and_then(|t| t.rsplit_once('<')) {
        // Of several, the last would be taken and the others be its name.
        Some((name, _)) if name.contains(['<', '>']) => return Err(BadName::Email(text.to_owned())),
        Some((name, address)) => (unquoted(name.trim()), address),
        None => (String::new(), text),
    };
    Ok(Mailbox { name: clean_text("the name", &name)?, address: Email::new(address)?.deliverable()? })
}

/// What stands between quotes, as mails have a name with a comma.
fn unquoted(name: &str) -> String {
    let inner = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.map_or_else(|| name.to_owned(), |inner| inner.replace("\\\"", "\""))
}

/// Printable and without what would end an attribute or a line: it is put into mail.
fn is_web_address(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '<' | '>' | '\\' | '`');
    text.len() <= URL_LEN_MAX
        && text.chars().all(allowed)
        && host.is_some_and(|host| host.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// A web address to which a parameter can be added, and which a header can name.
fn is_page(text: &str) -> bool {
    is_web_address(text) && text.len() <= PAGE_LEN_MAX && !text.contains(['?', '#', ','])
}

/// The path `text`, seen from `base` when it is relative.
pub(super) fn path(text: &str, base: &Path) -> Result<String, String> {
    if text.is_empty() {
        return Err("a path is expected; leave the setting out for none".to_owned());
    }
    let joined = base.join(text).into_os_string().into_string();
    joined.map_err(|path| format!("the path {} is not UTF-8", path.display()))
}

/// What a url shows where it may have a secret.
pub(super) const HIDDEN: &str = "***";
/// Parameters of a database url whose values anybody may see.
const HARMLESS: &[&str] =
    &["sslmode", "host", "hostaddr", "port", "dbname", "user", "application_name", "mode", "statement-cache-capacity"];

/// A database url as it may be shown: without its password, wherever that stands. Of a url that is not made as urls are,
/// where a password may be anywhere, only the scheme is left.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return HIDDEN.to_owned() };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let place = if scheme == "sqlite" { Some(place.to_owned()) } else { place_without_password(place) };
    let query = query.map_or(Some(String::new()), query_without_secrets);
    match place.zip(query) {
        Some((place, query)) => format!("{scheme}://{place}{query}"),
        None => format!("{scheme}://{HIDDEN}"),
    }
}

/// `USER:***@HOST:PORT/DATABASE`; `None` where it is not that.
fn place_without_password(place: &str) -> Option<String> {
    let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let (login, host) = authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
    // A port is digits; behind the colon of an address in brackets, too.
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    let is_port = host.ends_with(']') || port.bytes().all(|b| b.is_ascii_digit());
    // A password that holds a slash, a question mark or a hash as they are has ended the authority too early.
    if !is_port || path.contains(['@', '#']) || authority.contains('#') {
        return None;
    }
    let login = login.map(|login| match login.split_once(':') {
        Some((user, _)) => format!("{user}:{HIDDEN}@"),
        None => format!("{login}@"),
    });
    Some(format!("{}{host}{path}", login.unwrap_or_default()))
}

/// `?name=value&password=***`: values of parameters that are known to be harmless, and no others; `None` where something is no
/// parameter.
fn query_without_secrets(query: &str) -> Option<String> {
    let shown = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '[' | ']' | '.'));
        let is_harmless = HARMLESS.contains(&name) && !value.contains(['@', '#']);
        is_name.then(|| format!("{name}={}", if is_harmless { value } else { HIDDEN }))
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(shown).collect::<Option<Vec<_>>>()?;
    Some(if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) })
}

/// `postgres://..` as it is, or `sqlite://FILE?options` with the file seen from `base`.
pub(super) fn database_url(text: &str, base: &Path) -> Result<String, String> {
    const EXPECTED: &str = "sqlite://FILE or postgres://USER@HOST/DATABASE is expected, such as sqlite://creditd.db";
    let (scheme, rest) = text.split_once(':').ok_or_else(|| format!("it has no scheme; {EXPECTED}"))?;
    if matches!(scheme, "postgres" | "postgresql") && rest.starts_with("//") {
        return Ok(text.to_owned());
    }
    if scheme != "sqlite" {
        // Without a scheme, what is in front of the first colon may be anything.
        let is_scheme = scheme.len() <= SCHEME_LEN_MAX && scheme.bytes().all(|b| b.is_ascii_alphabetic());
        let what = if is_scheme && rest.starts_with("//") {
            format!("databases of the scheme {scheme:?} are not supported by this version")
        } else {
            "it is no url of a database".to_owned()
        };
        return Err(format!("{what}; {EXPECTED}"));
    }
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (file, options) = rest.split_once('?').map_or((rest, String::new()), |(file, o)| (file, format!("?{o}")));
    if file.is_empty() || file.starts_with(":memory:") {
        return Err(format!("a ledger in memory would be forgotten; {EXPECTED}"));
    }
    Ok(format!("sqlite://{}{options}", path(file, base)?))
}
