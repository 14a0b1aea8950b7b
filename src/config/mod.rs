//! Flags, environment and file become validated [`Settings`] (DESIGN 10).
//!
//! Loading is a function of its input and of at most one file: the process's environment is handed in by `main`.
//! Everything is checked here, so whoever gets [`Settings`] need not check again; every complaint names the key, the
//! value, where it came from and what is allowed, and all complaints come at once. The known keys, their defaults and
//! their help stand in one document, `defaults.toml`.

mod check;
mod keys;
mod layers;
pub mod schedules;
mod schema;

pub use check::{AMOUNT_MAX, KEEP_MONTHS_MIN};
pub use schema::settings_schema;

use crate::core::alert::Levels;
use crate::core::credits::Credits;
use crate::core::delivery::Tls;
use crate::core::locale::Locale;
use crate::core::outbox::Mailbox;
use crate::core::schedule::Job;
use crate::core::secret::Secret;
use crate::core::transaction::words;
use layers::Layers;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The file that is read when none is named, in the working folder.
pub const FILE_NAME: &str = "creditd.toml";
/// The environment variable that names the file.
pub const FILE_ENV: &str = "CREDITD_CONFIG";

/// The setting that says where the ledger is, which may hold a password.
pub const DATABASE_URL: &str = "database_url";
/// The setting that names its file.
const DATABASE_URL_FILE: &str = "database_url_file";
/// What the names of settings begin with whose values are secrets as a whole.
const PINGS: &str = "jobs.ping.";
/// The settings whose texts are paths.
const PATHS: [&str; 9] = [
    DATABASE_URL_FILE,
    "mail.dir",
    "mail.smtp.password_file",
    "mail.smtp.ca_file",
    "reports.dir",
    "reports.out",
    "sealed.dir",
    "templates.dir",
    "cron.dir",
];
/// The environment variable with the password for the mail server. It is no setting, so that nothing shows it.
const SMTP_PASSWORD_ENV: &str = "CREDITD_SMTP_PASSWORD";

/// Whether a setting may hold a secret: it is never shown as it is, not even where it is wrong.
fn is_secret(key: &str) -> bool {
    key == DATABASE_URL || key.starts_with(PINGS)
}

/// What [`Settings::load`] works from.
#[derive(Clone, Debug, Default)]
pub struct LoadInput {
    /// The working folder; empty for the process's own.
    pub folder: PathBuf,
    /// The file named by `--config`.
    pub path: Option<PathBuf>,
    /// The process's environment.
    pub env: Vec<(String, String)>,
    /// Settings given as flags, by key: `("database_url", "sqlite://x.db")`.
    pub flags: Vec<(String, String)>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing set it.
    Default,
    /// A line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// An environment variable.
    Env(String),
    /// A flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.pad("default"),
            Origin::File { path, line } => f.pad(&format!("file {}:{line}", path.display())),
            Origin::Env(name) => f.pad(&format!("env {name}")),
            Origin::Flag => f.pad("flag"),
        }
    }
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was set.
    pub origin: Origin,
    /// The key, the value and what is allowed.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File { path, line } => write!(f, "{}:{line}: {}", path.display(), self.what),
            origin => write!(f, "{origin}: {}", self.what),
        }
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the settings file {} cannot be read: {source}{}", path.display(), hint(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Values that cannot be; never empty.
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Settings(Vec<Problem>),
}

/// What to do about a file that is named and is not there.
fn hint(error: &std::io::Error) -> &'static str {
    if error.kind() == std::io::ErrorKind::NotFound { "; `creditd init` makes it" } else { "" }
}

/// One line of `config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// `section.key`.
    pub key: String,
    /// The value in force as TOML; none for an optional setting that nothing sets.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: Origin,
    /// What it means.
    pub help: String,
}

/// Everything that can be set. `defaults.toml` says what each means and which values are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `sqlite://FILE`, with the file's path resolved.
    pub database_url: String,
    /// The file that it was read from, if it was.
    pub database_url_file: Option<PathBuf>,
    /// Amounts and prices of new accounts and purchases.
    pub credits: CreditSettings,
    /// Alert levels.
    pub alerts: AlertSettings,
    /// How mail leaves.
    pub mail: MailSettings,
    /// Where report definitions and reports are.
    pub reports: ReportSettings,
    /// Where the sealed ledger is.
    pub sealed: SealedSettings,
    /// Where the operator's templates are.
    pub templates: DirSettings,
    /// Where the operator's schedules are.
    pub cron: DirSettings,
    /// How jobs work.
    pub jobs: JobSettings,
    /// Where `serve` answers.
    pub web: WebSettings,
    /// `[webhooks]`
    pub webhooks: WebhookSettings,
    /// What is logged and how.
    pub log: LogSettings,
    #[serde(skip)]
    shown: Vec<Shown>,
}

/// `[credits]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditSettings {
    /// Free credits per month of an account without an allowance of its own (R2).
    pub monthly_allowance: Credits,
    /// Credits of one pack (R12).
    pub pack_credits: Credits,
    /// Price of one pack in minor units of `currency`.
    pub pack_price_minor: i64,
    /// ISO 4217, three capital letters.
    pub currency: String,
    /// Days after its end for which a month takes usage that is told late (R14), and days after creditd learned of an account
    /// for which all its months do.
    pub late_usage_days: i64,
    /// The page where packs are ordered, http or https.
    pub buy_url: Option<String>,
}

/// `[sealed]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedSettings {
    /// Whether days that are over are written to files.
    pub enabled: bool,
    /// The folder of the files.
    pub dir: PathBuf,
    /// For how many months that are over rows of actions stay in the database once they are sealed; for ever where there is none.
    pub keep_months: Option<u32>,
}

/// `[alerts]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSettings {
    /// Levels of accounts without levels of their own.
    pub levels: Levels,
    /// How many days before unused free credits lapse those admins are told who asked for it.
    pub lapse_soon_days: i64,
    /// From how many such credits on.
    pub lapse_soon_credits: Credits,
}

/// `[mail]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// The transport.
    pub transport: TransportKind,
    /// The folder of the file transport.
    pub dir: PathBuf,
    /// The sender of every message; its domain is that of the Message-IDs.
    #[serde(deserialize_with = "check::sender")]
    pub from: Mailbox,
    /// How numbers, dates and money are written, to operators and to accounts without a locale of their own.
    #[serde(deserialize_with = "check::locale")]
    pub locale: Locale,
    /// Days for which what a message said is kept: its text, HTML and attachments.
    pub keep_days: i64,
    /// Who hears of what concerns the platform and no account: at most one message each for a thing. May be nobody.
    #[serde(default, deserialize_with = "check::mailboxes")]
    pub operators: Vec<Mailbox>,
    /// The page where whoever got a mail ends such mails, http or https.
    pub unsubscribe_url: Option<String>,
    /// The server of the smtp transport.
    pub smtp: SmtpSettings,
}

/// `[mail.smtp]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpSettings {
    /// The server; there is one when the transport is smtp.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// How the way there is encrypted; not at all only within this machine.
    pub tls: Tls,
    /// Who logs in. Then there is a password or a file of it.
    pub username: Option<String>,
    /// The password, from the environment.
    #[serde(skip)]
    pub password: Option<Secret>,
    /// The file of the password, for when the environment has none. It is read by those who send mail.
    pub password_file: Option<PathBuf>,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Most messages in a minute; 0 for any number.
    pub per_minute: u32,
    /// Most connections of one process.
    pub connections: usize,
    /// The longest that a delivery may take, in seconds.
    pub timeout_seconds: u64,
    /// The header for a key of the message.
    pub idempotency_header: Option<String>,
}

impl SmtpSettings {
    /// The port of the server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::Implicit => 465,
            Tls::Starttls => 587,
            Tls::None => 25,
        })
    }
}

words! {
    /// How mail leaves.
    TransportKind {
        /// One .eml file per message.
        File = "file",
        /// To a mail server.
        Smtp = "smtp",
    }
}

/// `[reports]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportSettings {
    /// The operator's report definitions.
    pub dir: Option<PathBuf>,
    /// Where reports are written.
    pub out: PathBuf,
}

/// A section that names a folder of the operator's own files (`[templates]`, `[cron]`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirSettings {
    /// The folder.
    pub dir: Option<PathBuf>,
}

/// `[jobs]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSettings {
    /// Accounts per database transaction.
    pub batch_accounts: usize,
    /// How often the daemon looks whether anything is due, in seconds.
    pub bell_seconds: u32,
    /// For how long a process that gives no sign of life is believed to be at its part of a run, in seconds; at the mails and events
    /// that it has in hand for three quarters of that.
    pub lease_seconds: i64,
    /// Who is told of runs over the web.
    #[serde(default)]
    pub ping: PingSettings,
}

/// `[jobs.ping]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PingSettings(#[serde(deserialize_with = "check::pings")] BTreeMap<String, Secret>);

impl PingSettings {
    /// The address that is told of the runs of `job`.
    #[must_use]
    pub fn of(&self, job: Job) -> Option<&Secret> {
        self.0.get(&ping_name(job))
    }
}

/// The last part of the name of the setting for the pings of `job`: variables of the environment have no hyphens.
fn ping_name(job: Job) -> String {
    job.as_str().replace('-', "_")
}

/// `[webhooks]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// Whether events may be posted within one's own network, and over http.
    pub allow_private: bool,
    /// The longest that posting one may take, in seconds.
    pub timeout_seconds: u64,
    /// Days for which those are kept that were posted or given up.
    pub keep_days: i64,
}

/// `[web]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSettings {
    /// Where the listener is; `None` for nowhere.
    #[serde(deserialize_with = "check::listen")]
    pub listen: Option<SocketAddr>,
    /// How often a token may call the API in a second; 0 for any number.
    pub requests_per_second: u32,
    /// Where people find that, without a `/` at its end; `None` when nobody said, and then no mail links there.
    pub public_url: Option<String>,
    /// For how many days the links in mails let their recipients in; 0 for mails without.
    pub mail_link_days: i64,
    /// Sites that may show pages of ours within theirs.
    pub frame_ancestors: Vec<String>,
    /// Whom we believe who visits.
    pub trusted_proxy: ProxySettings,
}

impl WebSettings {
    /// The path below which people find the pages: empty, or `/credits`.
    #[must_use]
    pub fn base(&self) -> &str {
        let behind = self.public_url.as_deref().and_then(|url| url.split_once("://")).map_or("", |(_, behind)| behind);
        behind.find('/').map_or("", |at| &behind[at..])
    }

    /// The scheme and host of the pages, as browsers name where a form comes from.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        let url = self.public_url.as_deref()?;
        Some(&url[..url.len() - self.base().len()])
    }
}

/// `[web.trusted_proxy]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxySettings {
    /// Its addresses; without any, nobody is believed.
    #[serde(default)]
    pub from: Vec<IpAddr>,
    /// The header with the account that its visitor may see.
    pub account_header: String,
    /// The header with the address of the admin who visits.
    pub email_header: String,
    /// The header that is `yes` for operators.
    pub platform_header: String,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// The form of a line.
    pub format: LogFormat,
    /// The least important events that are logged.
    pub level: LogLevel,
}

words! {
    /// The form of a log line.
    LogFormat {
        /// Text on a terminal, JSON elsewhere.
        Auto = "auto",
        /// For people.
        Text = "text",
        /// For machines.
        Json = "json",
    }
}

words! {
    /// How important an event is.
    LogLevel {
        /// Something failed.
        Error = "error",
        /// Something is odd.
        Warn = "warn",
        /// What happened.
        Info = "info",
        /// How it happened.
        Debug = "debug",
        /// Every step.
        Trace = "trace",
    }
}

impl Settings {
    /// Lays flags over environment over file over defaults and checks the result.
    ///
    /// The file is `input.path`, else the one that `CREDITD_CONFIG` names, else `creditd.toml` in the working folder
    /// if there is one. Relative paths are relative to the file's folder, those from flags and environment to the
    /// working folder.
    ///
    /// # Errors
    /// [`ConfigError`] when a named file cannot be read, the file is not TOML, or any value or key is wrong.
    pub fn load(input: LoadInput) -> Result<Settings, ConfigError> {
        let LoadInput { folder, path, env, flags } = input;
        let named_by_env = || env.iter().find(|(name, text)| name == FILE_ENV && !text.is_empty());
        let named = path.or_else(|| named_by_env().map(|(_, text)| PathBuf::from(text)));

        let mut layers = Layers::new();
        let mut file_folder = folder.clone();
        if let Some((path, text)) = read_file(&folder, named)? {
            layers.add_file(&path, &text)?;
            file_folder = folder.join(path.parent().unwrap_or(Path::new("")));
        }
        let password = env.iter().find(|(name, text)| name == SMTP_PASSWORD_ENV && !text.is_empty());
        let password = password.map(|(_, text)| Secret::new(text.as_str()));
        layers.add_env(env);
        layers.add_flags(flags);

        let base = |origin: &Origin| match origin {
            Origin::Default | Origin::File { .. } => file_folder.clone(),
            Origin::Env(_) | Origin::Flag => folder.clone(),
        };
        for key in PATHS {
            layers.change_text(key, |text, origin| check::path(text, &base(origin)));
        }
        layers.read_file(DATABASE_URL, DATABASE_URL_FILE);
        layers.change_text(DATABASE_URL, |text, origin| check::database_url(text, &base(origin)));

        // What is known to be wrong comes first: the values would be refused again, in serde's words.
        let mut layers = layers.without_problems()?;
        let values = layers.table();
        check::numbers(&|key| layers::at(&values, key)?.as_integer(), &mut |key, what| layers.refuse(key, &what));
        match serde_path_to_error::deserialize::<_, Settings>(toml::Value::Table(values)) {
            Ok(mut settings) => {
                settings.mail.smtp.password = password;
                check::settings(&settings, &mut |key, what| layers.refuse(key, &what));
                let mut shown = layers.without_problems()?.shown();
                for setting in shown.iter_mut().filter(|setting| is_secret(&setting.key) && setting.value.is_some()) {
                    let text = match setting.key.as_str() {
                        DATABASE_URL => check::without_password(&settings.database_url),
                        _ => check::HIDDEN.to_owned(),
                    };
                    setting.value = Some(keys::literal(&toml::Value::String(text)));
                }
                Ok(Settings { shown, ..settings })
            }
            // A number that its type has no room for is out of its bounds, too.
            Err(error) => {
                let mut layers = layers.without_problems()?;
                layers.refuse(&error.path().to_string(), error.inner().message());
                Err(layers.into_error())
            }
        }
    }

    /// The folders that creditd writes to, besides the ledger's own, by what is written there.
    #[must_use]
    pub fn folders(&self) -> Vec<(&'static str, PathBuf)> {
        let mail = (self.mail.transport == TransportKind::File).then(|| ("mail", self.mail.dir.clone()));
        let sealed = self.sealed.enabled.then(|| ("sealed", self.sealed.dir.clone()));
        mail.into_iter().chain([("reports", self.reports.out.clone())]).chain(sealed).collect()
    }

    /// Every setting with its value in force and where it came from, in the order of the documentation.
    #[must_use]
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }
}

/// The text of a `creditd.toml` that sets `live` (by key) and shows everything else commented out: what `init` writes.
///
/// # Errors
/// [`ConfigError::Settings`] when a key is unknown or its value of the wrong kind.
pub fn default_file(live: &[(&str, &str)]) -> Result<String, ConfigError> {
    let mut layers = Layers::new();
    layers.add_flags(live.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())));
    let shown = layers.without_problems()?.shown();
    let mut file = String::new();
    for line in keys::document() {
        let set =
            line.key.as_ref().and_then(|key| shown.iter().find(|s| s.key == key.path && s.origin == Origin::Flag));
        match (set, line.key) {
            (Some(set), _) => {
                let name = set.key.rsplit('.').next().unwrap_or_default();
                file.push_str(&format!("{name} = {}", set.value.as_deref().unwrap_or_default()));
            }
            (None, Some(_)) => file.push_str(&format!("#{}", line.text.trim_start_matches('#'))),
            (None, None) => file.push_str(line.text),
        }
        file.push('\n');
    }
    Ok(file)
}

/// The file to read, with its text; none when none is named and there is none.
fn read_file(folder: &Path, named: Option<PathBuf>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let required = named.is_some();
    let path = named.unwrap_or_else(|| PathBuf::from(FILE_NAME));
    match std::fs::read_to_string(folder.join(&path)) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

#[cfg(test)]
mod tests;
