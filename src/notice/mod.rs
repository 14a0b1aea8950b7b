//! How notices are worded: plain facts in, a frozen [`Message`] out.
//!
//! The wording lives in `templates/mail/` (Tera 2), embedded in the binary; a file of the same name in the operator's
//! directory takes the place of the embedded one. All templates are loaded and rendered with samples at start, so a
//! broken one is refused there and not on the night it is needed.
//!
//! This module looks nothing up and sends nothing: no clock, no store, no transport. Names and titles are untrusted:
//! they become one line without control characters before a template sees them, HTML is escaped by Tera, and the
//! subject is made one line once more after rendering.

mod equation;
mod jobs;
mod lapse_soon;
mod low_credit;
mod markup;
mod platform;
mod resolved;
mod statement;
pub mod words;

pub use jobs::{
    CAUGHT_UP, Command, JobFailed, JobWell, commands, commands_for_missed, sample_job_caught_up, sample_job_failed,
    sample_job_missed, sample_job_well, why_missed,
};
pub use lapse_soon::{LapseSoon, sample_lapse_soon};
pub use low_credit::{LowCredit, Pack, sample_low_credit};
pub use platform::{PlatformMonth, sample_platform_month};
pub use resolved::{Resolved, sample_resolved};
pub use statement::{ChartPicture, PacksBought, Period, StatementMail, TopUse, Tops, sample_statement};

use crate::core::access::Reach;
use crate::core::calendar::Instant;
use crate::core::outbox::{Mailbox, Message, NoticeKey, NoticeKind, one_line};
use crate::core::signed::{KEY_BYTES, Purpose, SigningKey};
use crate::core::unsubscribe::Unsubscribe;
use crate::core::visit::{Visit, Visitor};
use include_dir::{Dir, include_dir};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tera::{Context, Tera};

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/mail");

/// Largest HTML part, in bytes: Gmail cuts a message off at 102 KB.
pub const HTML_BYTES_MAX: usize = 100_000;
/// Largest file taken from the operator's directory, in bytes: a template of ours has 6 KB.
const TEMPLATE_BYTES_MAX: u64 = 1_000_000;
/// What the names of templates end with, ours and what others call theirs.
const TEMPLATE_ENDINGS: [&str; 7] = [".html", ".txt", ".tera", ".htm", ".j2", ".jinja", ".jinja2"];
/// Folders within each other that are looked through for templates that nobody would find.
const FOLDERS_DEEP_MAX: u32 = 4;
/// Longest name of an account in a subject, in characters: inboxes show about 60 in all.
const SUBJECT_NAME_CHARS_MAX: usize = 40;
/// What names and titles are when templates are checked.
const MARKUP: &str = "<u>name</u>";
/// What the subject of a test begins with.
const TEST_MARK: &str = "[Test]";
/// Longest title of an action in a list, in characters.
const TITLE_CHARS_MAX: usize = 38;

/// Samples of all mails take a tenth of a second.
const SAMPLES_WITHIN: Duration = Duration::from_secs(20);

/// Why the templates cannot be used. Seen at start.
#[derive(Debug, thiserror::Error)]
pub enum BadTemplates {
    /// The operator's directory or a file in it cannot be read.
    #[error("cannot read the mail templates in {path}: {source}")]
    Read {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that replaces nothing: most likely a misspelt name.
    #[error("{path} replaces no mail template; the templates are {known}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The names that can be replaced.
        known: String,
    },
    /// A file that nobody looks at.
    #[error(
        "{path} replaces no mail template: folders within the folder of templates are not looked at; move it out of {folder}"
    )]
    Within {
        /// The file.
        path: PathBuf,
        /// The folder that it lies in.
        folder: PathBuf,
    },
    /// A template that would load or run something where it is read, or does not protect a value.
    #[error("{path}:{line}: a mail may not have {what}")]
    Markup {
        /// The file.
        path: PathBuf,
        /// In which line, from 1.
        line: usize,
        /// What.
        what: String,
    },
    /// A file of a size no template has.
    #[error("{path} has {bytes} bytes, too many for a mail template; at most {TEMPLATE_BYTES_MAX} are read")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Something in the templates is wrong; the reason names the template and the line.
    #[error("the mail templates{} do not work: {reason}", from_dir(dir.as_deref()))]
    Broken {
        /// The operator's directory, where one is in use.
        dir: Option<PathBuf>,
        /// What is wrong, from Tera.
        reason: String,
    },
    /// The templates parse, but a sample notice could not be made.
    #[error("the mail templates{} do not work: {source}", from_dir(dir.as_deref()))]
    Sample {
        /// The operator's directory, where one is in use.
        dir: Option<PathBuf>,
        /// What is wrong.
        source: NoticeError,
    },
    /// Most likely a loop in a loop.
    #[error(
        "the mail templates{} do not work: samples of all mails take more than {} seconds, the last one begun is {kind}; look for loops in its \
         templates and in what they include",
        from_dir(Some(dir)),
        limit.as_secs()
    )]
    Endless {
        /// The operator's directory.
        dir: PathBuf,
        /// What was being rendered.
        kind: NoticeKind,
        /// How long was waited.
        limit: Duration,
    },
}

fn from_dir(dir: Option<&Path>) -> String {
    dir.map_or_else(String::new, |dir| format!(" (with those of {})", dir.display()))
}

/// Why a notice could not be worded. Nothing here goes away by trying again.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// A template failed on these facts.
    #[error("the mail template {template} failed: {reason}")]
    Template {
        /// The name of the template.
        template: String,
        /// What Tera says.
        reason: String,
    },
    /// No subject or no text, no mail.
    #[error("the mail template {template} gave an empty {what}")]
    Empty {
        /// The name of the template.
        template: String,
        /// What it was to give.
        what: &'static str,
    },
    /// More than mailboxes show.
    #[error("the mail template {template} gave {bytes} bytes of HTML; mailboxes cut off after {HTML_BYTES_MAX}")]
    TooLarge {
        /// The name of the template.
        template: String,
        /// What it gave.
        bytes: usize,
    },
    /// What comes from outside could be markup, and links.
    #[error("the HTML template of {0} does not escape what comes from outside, such as the name of an account")]
    Unescaped(&'static str),
    /// Mails load nothing and run nothing.
    #[error(
        "the mail template {template}, or one that it takes in, gave HTML that has in line {line} what a mail may not have: {what}"
    )]
    Markup {
        /// The name of the template.
        template: String,
        /// The line of what they gave, from 1.
        line: usize,
        /// What.
        what: String,
    },
    /// A statement that does not add up is not sent.
    #[error("the figures of the statement do not add up: {changes} credits by its rows, {remaining} by its remainder")]
    DoesNotAddUp {
        /// Everything but `remaining`, added up.
        changes: i128,
        /// `remaining`.
        remaining: i128,
    },
}

/// Who speaks, and where admins turn to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Who mail is from, and where answers go.
    pub mailbox: Mailbox,
    /// Where packs are ordered, when there is such a page.
    pub buy_url: Option<String>,
}

/// The loaded templates, all of which work.
#[derive(Clone)]
pub struct Templates {
    tera: Arc<Tera>,
    sender: Sender,
    unsubscribing: Option<Unsubscribing>,
    pages: Option<Pages>,
    is_test: bool,
    /// Whether the operator replaces any, so that no test of ours has seen what they give.
    is_replaced: bool,
}

/// How links are made by which mails are ended.
#[derive(Clone)]
struct Unsubscribing {
    url: String,
    key: SigningKey,
}

/// How links are made by which whoever gets a mail comes to the account's page.
#[derive(Clone)]
struct Pages {
    url: String,
    key: SigningKey,
    days: i64,
}

impl Templates {
    /// Loads the embedded templates and those of `dir` that replace them, and renders samples with them, without links and with them.
    ///
    /// # Errors
    /// [`BadTemplates`] when a file cannot be read, replaces nothing or does not work.
    pub fn load(dir: Option<&Path>, sender: Sender) -> Result<Templates, BadTemplates> {
        Templates::load_within(SAMPLES_WITHIN, dir, sender)
    }

    fn load_within(limit: Duration, dir: Option<&Path>, sender: Sender) -> Result<Templates, BadTemplates> {
        let mut sources: BTreeMap<String, String> = EMBEDDED.files().filter_map(embedded).collect();
        let is_replaced = match dir {
            Some(dir) => replace(&mut sources, dir)?,
            None => false,
        };
        let mut tera = Tera::new();
        words::register(&mut tera);
        let dir = || dir.map(Path::to_owned);
        tera.add_raw_templates(&sources)
            .map_err(|error| BadTemplates::Broken { dir: dir(), reason: error.to_string() })?;
        let tera = Arc::new(tera);
        let templates = Templates { tera, sender, unsubscribing: None, pages: None, is_test: false, is_replaced };
        let rendered = match dir() {
            Some(dir) => {
                let (tell, told) = mpsc::channel();
                let (templates, at) = (templates.clone(), Arc::new(Mutex::new(NoticeKind::LowCredit)));
                let begun = Arc::clone(&at);
                // Where it never ends, the process does.
                std::thread::spawn(move || {
                    let begins = |kind| *begun.lock().unwrap_or_else(PoisonError::into_inner) = kind;
                    tell.send(templates.prove(&begins))
                });
                let kind = || *at.lock().unwrap_or_else(PoisonError::into_inner);
                told.recv_timeout(limit).map_err(|error| match error {
                    RecvTimeoutError::Timeout => BadTemplates::Endless { dir, kind: kind(), limit },
                    RecvTimeoutError::Disconnected => {
                        let reason =
                            format!("rendering {} ended in a panic, whose words are on standard error", kind());
                        BadTemplates::Broken { dir: Some(dir), reason }
                    }
                })?
            }
            None => templates.prove(&|_| {}),
        };
        rendered.map_err(|source| BadTemplates::Sample { dir: dir(), source })?;
        Ok(templates)
    }

    /// The same, with a link in each mail to an admin by which such mails are ended: the page `url`, which is given a token
    /// under `key`.
    #[must_use]
    pub fn with_unsubscribing(self, url: String, key: SigningKey) -> Templates {
        Templates { unsubscribing: Some(Unsubscribing { url, key }), ..self }
    }

    /// The same, with a link in each mail to an admin that lets its recipient in at `url`, for so many days from when the mail was
    /// written.
    #[must_use]
    pub fn with_pages(self, url: String, key: SigningKey, days: i64) -> Templates {
        Templates { pages: Some(Pages { url, key, days }), ..self }
    }

    /// The same, whose links to the pages, where it has any, are signed under `key`.
    #[must_use]
    pub fn with_pages_key(self, key: SigningKey) -> Templates {
        Templates { pages: self.pages.map(|pages| Pages { key, ..pages }), ..self }
    }

    /// The same for mails that somebody wants to see arrive. Each says that it is a test, and has no link that would end
    /// the mails of another, or let in as another.
    #[must_use]
    pub fn for_tests(self) -> Templates {
        Templates { unsubscribing: None, pages: None, is_test: true, ..self }
    }

    /// The link by which whoever gets `key` ends such mails: none for operators, whom the settings name.
    fn unsubscribe_url(&self, key: &NoticeKey) -> Option<String> {
        let Unsubscribing { url, key: secret } = self.unsubscribing.as_ref()?;
        let (account, wish) = (key.account()?.clone(), key.kind().wish()?);
        let token = Unsubscribe { account, address: key.recipient().clone(), wish }.token(secret);
        Some(format!("{url}?t={token}"))
    }

    /// The link by which whoever gets `key` comes to the account's page: none for operators.
    fn page_url(&self, key: &NoticeKey, written_at: Instant) -> Option<String> {
        let Pages { url, key: secret, days } = self.pages.as_ref()?;
        let (reach, _) = (Reach::Account(key.account()?.clone()), key.kind().wish()?);
        let visitor = Visitor { reach, address: Some(key.recipient().clone()) };
        let token = Visit { visitor, until: written_at.plus_days(*days) }.token(Purpose::Link, secret);
        Some(format!("{url}/enter/{token}"))
    }

    /// Renders enough samples to enter every branch of the embedded templates. Whatever comes from outside is markup in them,
    /// which no HTML may take for its own.
    /// Renders samples of all mails, without the links that there may be and with them.
    fn prove(&self, begins: &dyn Fn(NoticeKind)) -> Result<(), NoticeError> {
        self.render_samples(begins)?;
        let (url, key) = ("https://credits.example/", || SigningKey::new([0; KEY_BYTES]));
        let linked = self.clone().with_unsubscribing(url.to_owned(), key()).with_pages(url.to_owned(), key(), 1);
        linked.render_samples(begins)
    }

    fn render_samples(&self, begins: &dyn Fn(NoticeKind)) -> Result<(), NoticeError> {
        let markup = || MARKUP.to_owned();
        let escaped = |message: Message| match message.html.contains(MARKUP) {
            true => Err(NoticeError::Unescaped(message.key.kind().as_str())),
            false => Ok(()),
        };
        let to = Mailbox { name: "Ann Example".to_owned(), address: self.sender.mailbox.address.clone() };
        begins(NoticeKind::LowCredit);
        for sample in low_credit::samples() {
            let all = |titles: &[String]| titles.iter().map(|_| markup()).collect();
            let (stopped, stops) = (all(&sample.stopped), all(&sample.stops));
            let sample = LowCredit { account_name: markup(), stopped, stops, ..sample };
            escaped(self.low_credit(&sample, &to, Instant::from_micros(0))?)?;
        }
        begins(NoticeKind::Resolved);
        for sample in resolved::samples() {
            let sample = Resolved { account_name: markup(), ..sample };
            escaped(self.resolved(&sample, &to, Instant::from_micros(0))?)?;
        }
        begins(NoticeKind::LapseSoon);
        for sample in lapse_soon::samples() {
            let sample = LapseSoon { account_name: markup(), ..sample };
            escaped(self.lapse_soon(&sample, &to, Instant::from_micros(0))?)?;
        }
        begins(NoticeKind::JobFailed);
        for sample in jobs::samples() {
            escaped(self.job_failed(&JobFailed { why: markup(), ..sample }, &to)?)?;
        }
        begins(NoticeKind::JobWell);
        for sample in [sample_job_well(), sample_job_caught_up()] {
            escaped(self.job_well(&JobWell { why: markup(), outcome: markup(), ..sample }, &to)?)?;
        }
        begins(NoticeKind::PlatformMonthly);
        for mut sample in platform::samples() {
            sample.top_actions.iter_mut().for_each(|(title, ..)| *title = markup());
            escaped(self.platform_month(&sample, &to, Instant::from_micros(0), Vec::new())?)?;
        }
        begins(NoticeKind::MonthlyStatement);
        for mut sample in statement::samples() {
            sample.account_name = markup();
            let tops = [&mut sample.top_actions, &mut sample.top_users];
            tops.into_iter()
                .flat_map(|tops| &mut tops.most)
                .filter(|one| !one.name.is_empty())
                .for_each(|one| one.name = markup());
            escaped(self.statement(&sample, &to, Instant::from_micros(0))?)?;
        }
        Ok(())
    }

    /// Words the notice `key` with the three templates of `kind` (`kind.subject.txt`, `kind.txt`, `kind.html`).
    fn message(
        &self,
        kind: &str,
        facts: &impl Serialize,
        key: NoticeKey,
        recipient_name: &str,
        created_at: Instant,
    ) -> Result<Message, NoticeError> {
        let address = &self.sender.mailbox.address;
        let failed = |template: &str, error: tera::Error| NoticeError::Template {
            template: template.to_owned(),
            reason: error.to_string(),
        };
        let mut context = Context::from_serialize(facts).map_err(|error| failed(kind, error))?;
        context.insert("contact", address);
        context.insert("buy_url", &self.sender.buy_url);
        let unsubscribe_url = self.unsubscribe_url(&key);
        context.insert("unsubscribe_url", &unsubscribe_url);
        context.insert("page_url", &self.page_url(&key, created_at));
        context.insert("is_test", &self.is_test);
        // In the text of the mail and in its HTML, where each is escaped once.
        let remarks = format!("{kind}.remarks.txt");
        if self.tera.get_template_names().any(|template| template == remarks) {
            let text = self.tera.render(&remarks, &context).map_err(|error| failed(&remarks, error))?;
            let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            context.insert("remarks", &lines);
        }
        let render = |suffix: &str| {
            let template = format!("{kind}.{suffix}");
            let rendered = self.tera.render(&template, &context).map_err(|error| failed(&template, error))?;
            Ok((template, rendered))
        };
        let around = |template: &str| self.tera.render(template, &context).map_err(|error| failed(template, error));
        let (template, subject) = render("subject.txt")?;
        let subject = one_line(&subject);
        if subject.is_empty() {
            return Err(NoticeError::Empty { template, what: "subject" });
        }
        let subject = if self.is_test { format!("{TEST_MARK} {subject}") } else { subject };
        // What every mail begins and ends with; the sheet of the HTML has both.
        let (template, text) = render("txt")?;
        if text.trim().is_empty() {
            return Err(NoticeError::Empty { template, what: "text" });
        }
        let text = format!("{}{text}\n{}", around("test.txt")?, around("ending.txt")?);
        let (template, html) = render("html")?;
        if html.len() > HTML_BYTES_MAX {
            return Err(NoticeError::TooLarge { template, bytes: html.len() });
        }
        if self.is_replaced
            && let Some(markup::Fault { line, what }) = markup::of_html(&html)
        {
            return Err(NoticeError::Markup { template, line, what });
        }
        let text = tidy(&text);
        let message_id = key.message_id(&subject, &text, address.domain());
        let recipient_name = one_line(recipient_name);
        Ok(Message {
            key,
            recipient_name,
            subject,
            text,
            html,
            message_id,
            created_at,
            unsubscribe_url,
            attachments: Vec::new(),
        })
    }
}

fn embedded(file: &include_dir::File<'_>) -> Option<(String, String)> {
    Some((file.path().to_str()?.to_owned(), file.contents_utf8()?.to_owned()))
}

/// Whether somebody who calls a file so means it for a template. A README, or what an editor leaves behind, is none.
fn is_template(name: &str) -> bool {
    let name = name.to_lowercase();
    !name.starts_with('.') && TEMPLATE_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The first template in `folder`, which is not looked at, or in one within it.
fn template_within(folder: &Path, depth: u32) -> std::io::Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if is_template(&name) {
            return Ok(Some(path));
        }
        if depth > 0
            && entry.file_type()?.is_dir()
            && !name.starts_with('.')
            && let Some(found) = template_within(&path, depth - 1)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Puts the operator's files in the place of the embedded ones. Files that are no templates by their ending are passed over; a
/// template that replaces nothing, or lies where nobody looks, is refused. Whether there is any.
fn replace(sources: &mut BTreeMap<String, String>, dir: &Path) -> Result<bool, BadTemplates> {
    let mut is_any = false;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| BadTemplates::Read { path, source }
    };
    for entry in std::fs::read_dir(dir).map_err(failed(dir))? {
        let path = entry.map_err(failed(dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() && !name.starts_with('.') {
            if let Some(found) = template_within(&path, FOLDERS_DEEP_MAX).map_err(failed(&path))? {
                return Err(BadTemplates::Within { path: found, folder: path });
            }
            continue;
        }
        if !is_template(&name) {
            continue;
        }
        if !sources.contains_key(&name) {
            let known = sources.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(BadTemplates::Unknown { path, known });
        }
        let bytes = std::fs::metadata(&path).map_err(failed(&path))?.len();
        if bytes > TEMPLATE_BYTES_MAX {
            return Err(BadTemplates::TooLarge { path, bytes });
        }
        let source = std::fs::read_to_string(&path).map_err(failed(&path))?;
        let of_html = || name.ends_with(".html").then(|| markup::of_template(&source)).flatten();
        if let Some(markup::Fault { line, what }) = markup::unescaped(&source).or_else(of_html) {
            return Err(BadTemplates::Markup { path, line, what });
        }
        sources.insert(name, source);
        is_any = true;
    }
    Ok(is_any)
}

/// Plain text as mail wants it: no control characters but line ends, no blank at a line's end, at most one empty line
/// in a row, one line end at the end. The signature mark `-- ` keeps its blank.
fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    for line in text.trim().split('\n') {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        let line = if line == "-- " { line.as_str() } else { line.trim_end() };
        if line.is_empty() && (tidied.is_empty() || tidied.ends_with("\n\n")) {
            continue;
        }
        tidied.push_str(line);
        tidied.push('\n');
    }
    tidied
}

#[cfg(test)]
mod bonus_tests;
#[cfg(test)]
mod operator_tests;
#[cfg(test)]
mod tests;
