//! The jobs: what creditd does by itself. One file per job, named as its file in `cron/`.
//!
//! Every job is gather -> plan -> apply: it loads a bounded batch, a pure function decides what to do, and the store
//! writes that in one database transaction. A dry run is the same way without the last step. Each effect has a unique
//! key, so a job that runs twice, or was killed half-way and runs again, does everything once.

pub mod backfill;
pub mod close;
pub mod daily_report;
pub mod deliver;
pub mod doctor;
pub mod expire_holds;
mod in_hand;
mod incidents;
pub mod monthly_report;
mod planner;
mod platform;
pub mod preview;
mod pulse;
pub mod reset;
mod rollover;
pub mod scan;
pub mod seal;
mod statements;
pub mod verify;
mod watched;
pub mod webhooks;

pub use incidents::tell_missed;
pub use planner::{Begun, Claiming, Planned, Retries, begun, has_work, lost, plan_due, run_slot};
pub use platform::zones_of;
pub use pulse::{Pulse, RunEnd};
pub use statements::foresee::{Foresight, GrantMoves, StatementMoves, foresee};

use crate::app::{App, AppError, BadClock};
use crate::config::{MailSettings, TransportKind};
use crate::core::alert::Levels;
use crate::core::backfill::Asked;
use crate::core::calendar::Instant;
use crate::core::delivery::{Breaker, Fault};
use crate::core::ids::AccountId;
use crate::core::ledger::Refusal;
use crate::core::locale::Locale;
use crate::core::outbox::Message;
use crate::core::outbox::NoticeKey;
use crate::core::run::{Span, Tally};
use crate::core::schedule::{Job, Slot};
use crate::core::secret::Secret;
use crate::core::signed::SigningKey;
use crate::core::statement::ReportError;
use crate::mail::{FileMailer, MailError, Mailer, SmtpMailer, SmtpOptions};
use crate::notice::{BadTemplates, NoticeError, Sender, Templates};
use crate::ping::{PingError, Pinger};
use crate::report::{DefinitionError, RenderError};
use crate::store::EventKey;
use crate::store::{AccountRecord, RunId, StoreError};
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Plan lines that are kept for showing; the rest is counted.
pub const PLAN_LINES_MAX: usize = 1_000;

/// Why a job did not finish. What it did until then stays done; running it again does the rest.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The application or the ledger failed.
    #[error(transparent)]
    App(#[from] AppError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A ledger cannot be moved on.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A message could not be worded.
    #[error(transparent)]
    Notice(#[from] NoticeError),
    /// Messages of some accounts could not be worded. Of these nothing was written; of all others everything was.
    #[error(
        "of {accounts}: {source}. What is due to them waits until the template works, `creditd email preview` shows it; {summary}"
    )]
    NotWorded {
        /// Which: a few of them by name.
        accounts: String,
        /// Why not, of the first.
        source: NoticeError,
        /// What was done of the others.
        summary: String,
    },
    /// The templates cannot be used.
    #[error(transparent)]
    Templates(#[from] BadTemplates),
    /// Mail cannot leave as the settings say.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// The mail server takes no mail at all.
    #[error("{why}. {summary}; what was not tried waits, and nothing is held against it")]
    NotDelivered {
        /// Whose fault it is.
        fault: Fault,
        /// What the last delivery came to.
        why: String,
        /// What was done until then.
        summary: String,
        /// What else went wrong.
        problems: Vec<Problem>,
    },
    /// Nobody can be told of runs.
    #[error(transparent)]
    Ping(#[from] PingError),
    /// Events cannot be posted.
    #[error("events for webhooks cannot be posted: {0}")]
    Poster(String),
    /// A report cannot be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A report cannot be written out.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A report is not defined.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// The slot is of another kind than the job's.
    #[error("the job {job} cannot run for {slot}")]
    WrongSlot {
        /// The job.
        job: Job,
        /// The slot.
        slot: Slot,
    },
    /// No key can be made.
    #[error("the system gives no random numbers, so neither key nor secret can be made")]
    NoRandomness,
    /// The ledger does not add up.
    #[error("{0}")]
    Drift(String),
    /// The process is shutting down.
    #[error("stopped between two batches; the next run does the rest")]
    Stopped,
    /// Whoever was at it died of it, or so it seems.
    #[error(
        "{deaths} processes ended without a word while they were at the same part of it, or stood still until others took it \
         over: look for `out of memory` in the system's log; `creditd jobs runs` shows what it was"
    )]
    Killed {
        /// How many.
        deaths: u32,
    },
    /// The job's task died.
    #[error("the job ended in a panic: {0}; this is a defect of creditd, please report it")]
    Panic(String),
}

impl JobError {
    /// Whether all that happened is that another process has taken over.
    #[must_use]
    pub const fn is_lease_lost(&self) -> bool {
        let (JobError::Store(error) | JobError::App(AppError::Store(error))) = self else { return false };
        matches!(error, StoreError::LeaseLost { .. })
    }
}

/// What jobs work with, built once.
pub struct Kit {
    /// Settings, store and clock.
    pub app: App,
    /// The worded templates.
    pub templates: Templates,
    /// Where mail goes.
    pub mailer: Mailer,
    /// Whether the mail server is worth asking.
    breaker: Arc<Mutex<Breaker>>,
    /// Which addresses of webhooks are left alone.
    pub breakers: Arc<webhooks::Breakers>,
    /// What its runs have leased and not recorded yet.
    messages_in_hand: in_hand::OfProcess<NoticeKey>,
    events_in_hand: in_hand::OfProcess<EventKey>,
    /// What a person asked for, where past slots are run for that.
    asked: Option<Arc<Asked>>,
    /// What this process did lately.
    pub pulse: Arc<Pulse>,
    /// Who is told of runs over the web, if anybody is.
    pub pinger: Option<Arc<Pinger>>,
}

impl Kit {
    /// Loads the templates and opens the mail folder; and where the settings say where the pages are, mail has links to them and
    /// by which it is ended, signed under the ledger's key.
    ///
    /// # Errors
    /// [`JobError`] when templates, folder or ledger cannot be used.
    pub async fn open(app: App) -> Result<Kit, JobError> {
        let (mail, web) = (&app.settings.mail, &app.settings.web);
        let landing = || web.public_url.as_ref().map(|url| format!("{url}/unsubscribe"));
        let end = mail.unsubscribe_url.clone().or_else(landing);
        let enter = web.public_url.clone().filter(|_| web.mail_link_days > 0);
        if end.is_none() && enter.is_none() {
            return Kit::new(app);
        }
        let (key, of_visits, days) = (signing_key(&app).await?, visit_key(&app).await?, web.mail_link_days);
        let mut kit = Kit::new(app)?;
        if let Some(url) = end {
            kit.templates = kit.templates.with_unsubscribing(url, key);
        }
        if let Some(url) = enter {
            kit.templates = kit.templates.with_pages(url, of_visits, days);
        }
        Ok(kit)
    }

    /// Loads the templates and opens the mail folder. Mail that it words has no links by which it is ended.
    ///
    /// # Errors
    /// [`JobError`] when the templates or the folder cannot be used.
    pub fn new(app: App) -> Result<Kit, JobError> {
        let settings = &app.settings;
        let sender = Sender { mailbox: settings.mail.from.clone(), buy_url: settings.credits.buy_url.clone() };
        let templates = Templates::load(app.settings.templates.dir.as_deref(), sender)?;
        let mailer = mailer(&app.settings.mail)?;
        Ok(Kit {
            app,
            templates,
            mailer,
            breaker: Arc::default(),
            breakers: Arc::default(),
            messages_in_hand: Arc::default(),
            events_in_hand: Arc::default(),
            pulse: Arc::default(),
            pinger: None,
            asked: None,
        })
    }

    /// The same kit, which tells of runs where the settings name addresses for that.
    ///
    /// # Errors
    /// [`JobError::Ping`].
    pub fn with_pings(self) -> Result<Kit, JobError> {
        let ping = &self.app.settings.jobs.ping;
        let addresses = Job::ALL.iter().filter_map(|job| Some((*job, ping.of(*job)?)));
        let pinger = Pinger::start(addresses)?.map(Arc::new);
        Ok(Kit { pinger, ..self })
    }

    /// Lets the pings that wait be sent, for a few seconds at most.
    pub async fn finish(self) {
        // Whoever still has the other half is not done with it.
        if let Some(pinger) = self.pinger.and_then(Arc::into_inner) {
            pinger.finish().await;
        }
    }

    /// The same kit on `app`, which is at another instant: how a simulation moves on.
    #[must_use]
    pub fn at(&self, app: App) -> Kit {
        Kit {
            app,
            templates: self.templates.clone(),
            mailer: self.mailer.clone(),
            breaker: Arc::clone(&self.breaker),
            breakers: Arc::clone(&self.breakers),
            messages_in_hand: Arc::clone(&self.messages_in_hand),
            events_in_hand: Arc::clone(&self.events_in_hand),
            pulse: Arc::clone(&self.pulse),
            pinger: self.pinger.clone(),
            asked: self.asked.clone(),
        }
    }

    /// The same kit, whose mail has links signed by the key of visits that the ledger has now.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn of_today(&self) -> Result<Kit, StoreError> {
        let kit = self.at(self.app.clone());
        let key = match kit.app.store.visit_key().await? {
            Some(key) => key,
            // That of all else, which never changes.
            None => return Ok(kit),
        };
        Ok(Kit { templates: kit.templates.clone().with_pages_key(key), ..kit })
    }

    /// The same kit for a slot of a backfill.
    fn for_backfill(&self, asked: Arc<Asked>) -> Kit {
        Kit { asked: Some(asked), ..self.at(self.app.clone()) }
    }

    /// Whether what is planned is only shown: in a dry run, and in a backfill without mails.
    fn only_shows(&self, run: &Run<'_>) -> bool {
        run.dry_run || self.only_says()
    }

    fn only_says(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| !asked.email)
    }

    /// The same kit for whoever does the batch of `term`: it writes as long as the batch is theirs.
    fn fenced(&self, id: RunId, term: u32) -> Kit {
        self.at(self.app.with_store(self.app.store.fenced(id, term)))
    }

    /// Why jobs do nothing by themselves at the present instant; none where the clock can be believed. That it is so, or not any
    /// more, is news to the log once, whoever of this process asks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn bad_clock(&self) -> Result<Option<BadClock>, StoreError> {
        let bad = self.app.bad_clock().await?;
        if self.pulse.clock_is_news(bad.is_some()) {
            match &bad {
                Some(why) => tracing::error!("no job is run: {why}"),
                None => tracing::info!("the clock can be believed again; jobs are run"),
            }
        }
        Ok(bad)
    }

    /// Until when the mail server is left alone, after it did not answer a few times.
    #[must_use]
    pub fn mail_rests_until(&self) -> Option<Instant> {
        self.breaker().rests_until(self.app.now())
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limit of deliveries in a minute, if there is one.
    fn per_minute(&self) -> Option<u32> {
        let mail = &self.app.settings.mail;
        Some(mail.smtp.per_minute).filter(|most| mail.transport == TransportKind::Smtp && *most > 0)
    }

    /// How the people of an account write numbers and dates: as it says, or as the platform does.
    fn locale(&self, record: &AccountRecord) -> Locale {
        record.locale.unwrap_or(self.app.settings.mail.locale)
    }

    /// The alert levels of an account: its own, or the platform's.
    fn levels<'a>(&'a self, record: &'a AccountRecord) -> &'a Levels {
        record.levels.as_ref().unwrap_or(&self.app.settings.alerts.levels)
    }
}

/// The way that mail leaves by.
///
/// # Errors
/// [`MailError`] when it cannot be used.
fn mailer(mail: &MailSettings) -> Result<Mailer, MailError> {
    let mailbox = mail.from.clone();
    Ok(match mail.transport {
        TransportKind::File => Mailer::File(FileMailer::new(&mail.dir, mailbox)?),
        TransportKind::Smtp => Mailer::Smtp(Arc::new(SmtpMailer::new(smtp_options(mail)?, mailbox)?)),
    })
}

/// The key by which the ledger signs what lets somebody in at its pages: links, cookies and forms.
///
/// # Errors
/// [`JobError`].
pub async fn visit_key(app: &App) -> Result<SigningKey, JobError> {
    match app.store.visit_key().await? {
        Some(key) => Ok(key),
        None => signing_key(app).await,
    }
}

/// The key by which the ledger signs the links by which mails are ended; and what [`visit_key`] signs, until that is another.
///
/// # Errors
/// [`JobError`].
pub async fn signing_key(app: &App) -> Result<SigningKey, JobError> {
    Ok(app.store.signing_key_or(random_bytes()?).await?)
}

/// From the operating system, as keys are.
///
/// # Errors
/// [`JobError::NoRandomness`].
pub fn random_bytes<const N: usize>() -> Result<[u8; N], JobError> {
    let mut bytes = [0; N];
    let random = tokio_rustls::rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| JobError::NoRandomness)?;
    Ok(bytes)
}

/// The server of the settings, with the password from wherever it is.
fn smtp_options(mail: &MailSettings) -> Result<SmtpOptions, MailError> {
    let smtp = &mail.smtp;
    let password = match (&smtp.password, &smtp.password_file) {
        (Some(password), _) => Some(password.clone()),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|source| MailError::Password { path: path.clone(), source })?;
            // Editors end files by a line end.
            let text = text.trim_end_matches(['\r', '\n']);
            let wrong = |what| Err(MailError::NoPassword { path: path.clone(), what });
            match text {
                "" => return wrong("is empty"),
                _ if text.contains(['\r', '\n']) => return wrong("has several lines"),
                _ if text.contains(char::is_control) => return wrong("has characters that cannot be typed"),
                password => Some(Secret::new(password)),
            }
        }
        (None, None) => None,
    };
    Ok(SmtpOptions {
        host: smtp.host.clone().unwrap_or_default(),
        port: smtp.port(),
        tls: smtp.tls,
        login: smtp.username.clone().zip(password),
        ca_file: smtp.ca_file.clone(),
        connections: smtp.connections,
        timeout: Duration::from_secs(smtp.timeout_seconds),
        idempotency_header: smtp.idempotency_header.clone(),
    })
}

/// What could not be done although a job went on, in one line without addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The account that it is about, where it is about one: the log has it in a field.
    pub account: Option<AccountId>,
    /// What it is.
    pub what: String,
}

impl Problem {
    fn of(account: &AccountId, what: impl fmt::Display) -> Problem {
        Problem { account: Some(account.clone()), what: what.to_string() }
    }
}

impl From<String> for Problem {
    fn from(what: String) -> Problem {
        Problem { account: None, what }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// How a job runs.
pub struct Run<'a> {
    /// Decide and show, but write nothing.
    pub dry_run: bool,
    /// Hears of work done, and of all of it where that is known.
    pub progress: &'a mut (dyn FnMut(u64, Option<u64>) + Send),
    /// Asked between batches.
    pub stop: CancellationToken,
}

impl Run<'_> {
    fn check_stop(&self) -> Result<(), JobError> {
        if self.stop.is_cancelled() { Err(JobError::Stopped) } else { Ok(()) }
    }
}

/// What a job did, or in a dry run would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// One line per effect, the first [`PLAN_LINES_MAX`].
    pub lines: Vec<String>,
    /// Effects beyond those.
    pub more_lines: u64,
    /// In one sentence.
    pub summary: String,
    /// What could not be done although the job went on.
    pub problems: Vec<Problem>,
    /// The counts of the summary, of jobs that are done in batches.
    pub tally: Tally,
    /// Whether nothing was done by which one could tell that the job works: `deliver` delivered nothing.
    pub proves_nothing: bool,
}

impl Done {
    /// Adds another batch of the same run.
    fn extend(&mut self, other: Done) {
        other.lines.into_iter().for_each(|line| self.line(line));
        self.more_lines += other.more_lines;
        self.problems.extend(other.problems);
        self.tally.extend(&other.tally);
        self.summary = other.summary;
    }

    fn line(&mut self, line: impl Into<String>) {
        if self.lines.len() < PLAN_LINES_MAX {
            self.lines.push(line.into());
        } else {
            self.more_lines += 1;
        }
    }
}

/// Says in the log which message is in the outbox now, and not to whom it goes.
fn log_written(message: &Message) {
    let key = &message.key;
    let account = key.account().map(tracing::field::display);
    tracing::debug!(account, notice = key.name(), "a message was written");
}

/// Does a part of one job for one slot, or all of it, without recording a run: [`run_slot`] does that around it.
///
/// # Errors
/// [`JobError`].
pub async fn execute(kit: &Kit, job: Job, slot: Slot, span: &Span, run: &mut Run<'_>) -> Result<Done, JobError> {
    // Each in a box: what a job keeps while it waits is large, and would else be part of whatever runs one, down to the stack of a thread.
    let work: BoxFuture<'_, Result<Done, JobError>> = match (job, slot) {
        (Job::Reset, Slot::Tick(_)) => Box::pin(reset::run(kit, span, run)),
        (Job::ExpireHolds, Slot::Tick(_)) => Box::pin(expire_holds::run(kit, run)),
        (Job::Scan, Slot::Tick(_)) => Box::pin(scan::run(kit, run)),
        (Job::Close, Slot::Tick(_)) => Box::pin(close::run(kit, run)),
        (Job::Deliver, Slot::Tick(_)) => Box::pin(deliver::run(kit, run)),
        (Job::Webhooks, Slot::Tick(_)) => Box::pin(webhooks::run(kit, run)),
        (Job::Seal, Slot::Tick(_)) => Box::pin(seal::run(kit, run)),
        (Job::Verify, Slot::Tick(_)) => Box::pin(verify::run(kit, run)),
        (Job::DailyReport, Slot::Day(day, zone)) => Box::pin(daily_report::run(kit, day, zone, span, run)),
        (Job::MonthlyReport, Slot::Month(month, zone)) => Box::pin(monthly_report::run(kit, month, zone, span, run)),
        (job, slot) => return Err(JobError::WrongSlot { job, slot }),
    };
    work.await
}
