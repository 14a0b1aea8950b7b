//! The doctor: looks at everything that creditd needs and says of each whether it is well, and what to do where it is not.
//!
//! Each thing is asked by itself, so that what is broken is one line, and the rest is looked at all the same. What cannot be
//! looked at because of that says so. Nothing is changed: a schema that is old stays so. What is found is judged by pure
//! functions (`judge`); how long it takes is bounded.

mod judge;

use super::verify::prove;
use super::{Run, mailer, plan_due};
use crate::app::{App, AppError, free_bytes};
use crate::clock::Clock;
use crate::config::{Origin, Settings, TransportKind, schedules};
use crate::core::counting::counted;
use crate::core::ids::{AccountId, Email};
use crate::core::schedule::Schedule;
use crate::core::transaction::words;
use crate::mail::MailError;
use crate::notice::{Sender, Templates};
use crate::report::Definitions;
use crate::store::{Schema, Store};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Names of settings that are set, of those that are said.
const SETTINGS_NAMED_MAX: usize = 12;
/// How long the sample of accounts may take to verify.
const SAMPLE_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a mail server may take, whatever it does.
const MAIL_TIME_MAX: Duration = Duration::from_secs(60);

words! {
    /// How something is.
    State {
        /// Well.
        Ok = "ok",
        /// It works, and somebody should look at it.
        Warn = "warn",
        /// It does not work.
        Fail = "fail",
        /// It was not looked at, because of something else that does not work.
        NotLookedAt = "not looked at",
    }
}

/// One line of what the doctor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub says: String,
    /// What to do; where there is anything to do.
    pub fix: Option<String>,
}

impl Finding {
    fn new(check: &'static str, state: State, says: impl Into<String>, fix: Option<&str>) -> Finding {
        Finding { check, state, says: says.into(), fix: fix.map(str::to_owned) }
    }

    fn ok(check: &'static str, says: String) -> Finding {
        Finding { check, state: State::Ok, says, fix: None }
    }

    fn warn(check: &'static str, says: String, fix: impl Into<String>) -> Finding {
        Finding { check, state: State::Warn, says, fix: Some(fix.into()) }
    }

    fn fail(check: &'static str, says: String, fix: impl Into<String>) -> Finding {
        Finding { check, state: State::Fail, says, fix: Some(fix.into()) }
    }

    fn not_looked_at(check: &'static str, because: &str) -> Finding {
        Finding::new(check, State::NotLookedAt, because, None)
    }
}

/// Which accounts are verified: so many, from a place that `seed` chooses.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How many.
    pub accounts: usize,
    /// Anything.
    pub seed: u64,
}

/// What needs the ledger, in the order in which it is said.
const OF_LEDGER: [&str; 8] = ["clock", "zones", "schedule", "outbox", "webhooks", "suppressed", "sealed", "verify"];

/// Looks at everything. `settings` are those in force, or what is wrong with them.
pub async fn examine(
    settings: Result<Settings, String>,
    clock: Clock,
    sample: Sample,
    stop: CancellationToken,
) -> Vec<Finding> {
    let settings = match settings {
        Ok(settings) => settings,
        Err(why) => {
            let fix = "mend what is named; `creditd config show --origin` says where each setting comes from";
            let others =
                ["ledger", "schema", "disk", "templates", "reports", "mail", "operators"].into_iter().chain(OF_LEDGER);
            let others = others.map(|check| Finding::not_looked_at(check, "the settings come first"));
            return std::iter::once(Finding::fail("config", why, fix)).chain(others).collect();
        }
    };
    let mut findings = vec![config(&settings)];
    let opened = Store::open_as_it_is(&settings.database_url).await;
    let ledger_folder = opened.as_ref().ok().and_then(|(store, _)| store.folder().map(Path::to_owned));
    let mut of_ledger = match opened {
        Ok((store, found)) => ledger(&settings, store, found, clock, sample, stop).await,
        Err(error) => {
            let others = std::iter::once("schema").chain(OF_LEDGER);
            let others = others.map(|check| Finding::not_looked_at(check, "the ledger comes first"));
            std::iter::once(judge::no_ledger(&error)).chain(others).collect()
        }
    };
    let split = of_ledger.len().min(2);
    let rest = of_ledger.split_off(split);
    findings.extend(of_ledger);
    let folders = ledger_folder.map(|folder| ("ledger", folder)).into_iter().chain(settings.folders());
    for (name, folder) in folders {
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        findings.push(judge::folder(name, &folder, free_bytes(&folder), try_to_write(&folder)));
    }
    findings.push(templates(&settings));
    findings.push(reports(&settings));
    findings.push(mail(&settings).await);
    findings.push(judge::operators(settings.mail.operators.len()));
    findings.extend(rest);
    findings
}

/// Which settings are set, and where.
fn config(settings: &Settings) -> Finding {
    let set = settings.shown().iter().filter(|shown| shown.origin != Origin::Default);
    let named: Vec<String> = set.map(|shown| format!("{} ({})", shown.key, shown.origin)).collect();
    let more = named.len().saturating_sub(SETTINGS_NAMED_MAX);
    let mut says = match named.len() {
        0 => "nothing is set, everything has its default".to_owned(),
        _ => format!("set: {}", named.into_iter().take(SETTINGS_NAMED_MAX).collect::<Vec<_>>().join(", ")),
    };
    if more > 0 {
        says.push_str(&format!(", and {more} more"));
    }
    Finding::ok("config", format!("creditd {}; {says}", env!("CARGO_PKG_VERSION")))
}

/// Everything that is asked of the ledger: `ledger` and `schema` first, then the others.
async fn ledger(
    settings: &Settings,
    store: Store,
    found: Schema,
    clock: Clock,
    sample: Sample,
    stop: CancellationToken,
) -> Vec<Finding> {
    let place = store.place().to_string();
    let version = store.database_version().await.unwrap_or_else(|error| error.to_string());
    let sandbox = if store.meta().sandbox { ", a sandbox" } else { "" };
    let mut findings = vec![Finding::ok("ledger", format!("{place}: {version}{sandbox}")), judge::schema(found)];
    let app = match App::new(settings.clone(), store.clone(), clock) {
        Ok(app) if found.due == 0 => app,
        outcome => {
            let because = match outcome {
                Ok(_) => "the schema comes first".to_owned(),
                Err(error) => error.to_string(),
            };
            findings.extend(OF_LEDGER.map(|check| Finding::not_looked_at(check, &because)));
            store.close().await;
            return findings;
        }
    };
    match app.health().await {
        Ok(health) => {
            let (figures, now) = (&health.figures, app.now());
            // A clock that was set has nothing to do with the database's.
            let database_at = if clock.is_set() { now } else { figures.database_at };
            findings.push(match app.bad_clock().await {
                Ok(None) => judge::clock(now, database_at, figures.newest_row_at),
                Ok(Some(bad)) => Finding::fail("clock", format!("no job is run by itself: {bad}"), BROKEN_CLOCK),
                Err(error) => Finding::fail("clock", error.to_string(), BROKEN),
            });
            findings.push(asked("zones", app.store.stored_zones().await.map(|zones| judge::zones(&zones))));
            match schedules::load(settings.cron.dir.as_deref()) {
                Ok(schedules) => {
                    for schedule in schedules {
                        findings.push(job(&app, &schedule, figures).await);
                    }
                }
                Err(error) => {
                    findings.push(Finding::fail("schedule", error.to_string(), "mend the file that is named"))
                }
            }
            findings.extend(judge::outbox(figures, now));
            findings.push(judge::webhooks(figures));
            let operators: Vec<Email> = settings.mail.operators.iter().map(|one| one.address.clone()).collect();
            let of_operators = app.store.suppressed_of(&operators).await;
            findings.push(asked("suppressed", of_operators.map(|of| judge::suppressed(figures.suppressed, &of))));
            findings.push(sealed(&app, health.unsealed_days).await.unwrap_or_else(|error| judge::not_sealed(&error)));
        }
        Err(error) => {
            findings.push(Finding::fail("clock", error.to_string(), BROKEN));
            let others = OF_LEDGER.iter().filter(|check| !matches!(**check, "clock" | "verify"));
            findings.extend(others.map(|check| Finding::not_looked_at(check, "the ledger does not answer")));
        }
    }
    findings.push(verify(&app, sample, stop).await);
    store.close().await;
    findings
}

/// What to do about a clock by which nothing is run.
const BROKEN_CLOCK: &str = "set the clock of this machine by the network (timedatectl set-ntp true)";
/// What to do about a ledger that can be opened and does not answer.
const BROKEN: &str = "`creditd verify` looks at the whole ledger; docs/operations.md says how to restore a backup";

fn asked<E: std::fmt::Display>(check: &'static str, found: Result<Finding, E>) -> Finding {
    found.unwrap_or_else(|error| Finding::fail(check, error.to_string(), BROKEN))
}

async fn sealed(app: &App, unsealed_days: Option<u64>) -> Result<Finding, AppError> {
    if unsealed_days.is_none() {
        return Ok(judge::sealed(None, &[], &[]));
    }
    // The folder first: of one that cannot be read, no file is there.
    let outside = app.files_outside().await?;
    Ok(judge::sealed(unsealed_days, &app.files_lacking().await?, &outside))
}

async fn job(app: &App, schedule: &Schedule, figures: &crate::store::Figures) -> Finding {
    let stands = figures.jobs.get(&schedule.job).copied().unwrap_or_default();
    let due = plan_due(app, schedule).await;
    asked("schedule", due.map(|due| judge::job(schedule, stands, &due, app.store.meta().created_at, app.now())))
}

fn templates(settings: &Settings) -> Finding {
    let dir = settings.templates.dir.as_deref();
    let sender = Sender { mailbox: settings.mail.from.clone(), buy_url: settings.credits.buy_url.clone() };
    match Templates::load(dir, sender) {
        Ok(_) => {
            let own = dir.map_or(String::new(), |dir| {
                format!(", with those in {} in place of the built-in ones", dir.display())
            });
            Finding::ok("templates", format!("a sample of every notice could be made{own}"))
        }
        Err(error) => {
            let fix = "mend the template that is named, or take it out of the folder (templates.dir): the built-in one is used then";
            Finding::fail("templates", error.to_string(), fix)
        }
    }
}

/// Whether the operator's report definitions can be used.
fn reports(settings: &Settings) -> Finding {
    let fix = "mend the file that is named; `creditd report check` names all that is wrong";
    let dir = settings.reports.dir.as_deref();
    match (Definitions::load(dir), dir) {
        (Err(error), _) => Finding::fail("reports", error.to_string(), fix),
        (Ok(all), None) => Finding::ok("reports", format!("{} built in", counted(all.iter().count() as u64, "report"))),
        (Ok(all), Some(dir)) => match all.bad().next() {
            None => {
                let count = counted(all.iter().count() as u64, "report");
                Finding::ok("reports", format!("{count}, with those in {}", dir.display()))
            }
            Some((_, why)) => {
                let bad = counted(all.bad().len() as u64, "definition");
                Finding::warn("reports", format!("{bad} cannot be used: {why}"), fix)
            }
        },
    }
}

/// Whether mail would leave: a server is connected to, logged in at and told the sender, and nothing is sent; a folder is not made for it.
async fn mail(settings: &Settings) -> Finding {
    let (mail, fix) = (&settings.mail, "see [mail]; `creditd email check` tries again");
    if mail.transport == TransportKind::File {
        let dir = mail.dir.display();
        return match try_to_write(&mail.dir) {
            Err(error) => Finding::fail("mail", format!("{dir} cannot be written to: {error}"), fix),
            Ok(()) => Finding::warn(
                "mail",
                format!("written to files in {dir}, which nobody sends"),
                "set transport = \"smtp\" in [mail] when admins shall get them",
            ),
        };
    }
    let checked: Result<(), MailError> = match mailer(mail) {
        Err(error) => Err(error),
        Ok(mailer) => match tokio::time::timeout(MAIL_TIME_MAX, mailer.check()).await {
            Ok(checked) => checked,
            Err(_) => {
                let says = format!("no answer within {} s", MAIL_TIME_MAX.as_secs());
                return Finding::fail("mail", says, "look whether the mail server is reachable from this machine");
            }
        },
    };
    match checked {
        Err(error) => Finding::fail("mail", error.to_string(), fix),
        Ok(()) => {
            let host = mail.smtp.host.as_deref().unwrap_or_default();
            Finding::ok(
                "mail",
                format!("{host}:{} takes the login and the sender ({})", mail.smtp.port(), mail.smtp.tls.as_str()),
            )
        }
    }
}

/// Whether something can be written in a folder, or in the nearest one above it that is there.
fn try_to_write(folder: &Path) -> std::io::Result<()> {
    let there = folder.ancestors().find(|folder| folder.exists()).filter(|folder| !folder.as_os_str().is_empty());
    tempfile::tempfile_in(there.unwrap_or(Path::new("."))).map(drop)
}

/// Proves a few accounts, from a place on that the seed chooses.
async fn verify(app: &App, sample: Sample, stop: CancellationToken) -> Finding {
    let accounts = match chosen(app, sample).await {
        Ok(accounts) => accounts,
        Err(error) => return Finding::fail("verify", error.to_string(), BROKEN),
    };
    let (mut done, mut drifts) = (0_u64, Vec::new());
    let proving = async {
        for account in &accounts {
            let mut run = Run { dry_run: true, progress: &mut |_, _| {}, stop: stop.clone() };
            drifts.extend(prove(app, Some(account), &mut run).await?.drifts);
            done += 1;
        }
        Ok::<(), super::JobError>(())
    };
    // What is not done in time is not of the sample.
    if let Ok(Err(error)) = tokio::time::timeout(SAMPLE_TIME_MAX, proving).await {
        return Finding::fail("verify", error.to_string(), BROKEN);
    }
    let sampled = format!("{} of the ledger proved", counted(done, "account"));
    match drifts.first() {
        None => Finding::ok("verify", format!("a sample: {sampled}, no difference")),
        Some(drift) => Finding::fail(
            "verify",
            format!("{sampled}: {}: {}: {}, first of {}", drift.check, drift.account, drift.what, drifts.len()),
            "`creditd verify` shows all; keep the ledger as it is, restore a backup beside it and compare",
        ),
    }
}

async fn chosen(app: &App, sample: Sample) -> Result<Vec<AccountId>, crate::store::StoreError> {
    // Any text of letters is a place among the ids.
    let letters = (0..4).map(|at| char::from(b'a' + u8::try_from((sample.seed >> (8 * at)) % 26).unwrap_or(0)));
    let place = AccountId::new(&letters.collect::<String>()).ok();
    let mut accounts = app.store.account_ids(place.as_ref(), sample.accounts).await?;
    if accounts.len() < sample.accounts {
        let before = app.store.account_ids(None, sample.accounts - accounts.len()).await?;
        accounts.extend(before);
        accounts.sort();
        accounts.dedup();
    }
    Ok(accounts)
}
