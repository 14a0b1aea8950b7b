//! `creditd demo`: three months of made-up life of forty accounts, on a clock that runs as fast as the machine can.
//!
//! The jobs are the real ones, rung by the real daemon's [`ring`]; only the clock and the customers are made up. The
//! customers come from a fixed seed, so every demo tells the same story.

mod activity;

use crate::app::{App, AppError};
use crate::clock::Clock;
use crate::config::schedules::{self, ScheduleError};
use crate::config::{ConfigError, LoadInput, Settings, default_file};
use crate::core::calendar::{Instant, Month};
use crate::core::ids::{AccountId, BadName, Key, Reference};
use crate::core::ledger::{Call, Purchase, Refusal, Usage};
use crate::core::schedule::{Job, Schedule};
use crate::core::statement::{DateRange, Grouping, ReportError, ReportModel, ReportSpec, Scope};
use crate::core::transaction::Money;
use crate::daemon::{Looked, Ran, ring};
use crate::jobs::{JobError, Kit};
use crate::report::aggregate;
use crate::store::{Admin, Meta, NewAccount, Store, StoreError};
use activity::Company;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The first and last months of the story.
const MONTHS: [(i32, u32); 3] = [(2026, 1), (2026, 2), (2026, 3)];
/// Where the made-up customers come from.
const SEED: u64 = 20_260_101;
/// How far the clock moves at once, in hours.
const STEP_HOURS: i64 = 6;
/// The clock goes on this long after the last month, so that it ends in every zone and its statements are sent.
const AFTERWARDS_HOURS: i64 = 36;
/// Companies that buy do so below this many credits.
const BUY_BELOW: i64 = 180;

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The folder is taken.
    #[error("{} is there already; move it away, or make the demo elsewhere with `creditd demo DIR`", .0.display())]
    Taken(PathBuf),
    /// A file cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The settings do not load.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The schedules do not load.
    #[error(transparent)]
    Schedules(#[from] ScheduleError),
    /// The application failed.
    #[error(transparent)]
    App(#[from] AppError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A job failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A report cannot be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A charge was refused that must not be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A made-up name is not one.
    #[error(transparent)]
    Name(#[from] BadName),
}

/// What the demo did.
pub struct Story {
    /// The ledger at the end of the story.
    pub app: App,
    /// The settings file.
    pub config: PathBuf,
    /// Accounts made.
    pub accounts: usize,
    /// Zones they are in.
    pub zones: usize,
    /// Actions that were asked for.
    pub actions: u64,
    /// Purchases made.
    pub purchases: u64,
    /// Runs of each job that did something.
    pub runs: Vec<(Job, u64)>,
    /// The months of the platform.
    pub report: ReportModel,
    /// The account worth looking at first: of those that bought packs, the one with most alerts.
    pub example: AccountId,
}

/// Makes the demo in `dir`, which must not exist. `progress` hears of steps done and in all.
///
/// # Errors
/// [`DemoError`].
pub async fn make(dir: &Path, progress: &mut (dyn FnMut(u64, Option<u64>) + Send)) -> Result<Story, DemoError> {
    let mut rng = fastrand::Rng::with_seed(SEED);
    let companies = activity::companies(&mut rng);
    let first = Month::new(MONTHS[0].0, MONTHS[0].1).map_err(StoreError::from)?;
    let last = Month::new(MONTHS[2].0, MONTHS[2].1).map_err(StoreError::from)?;
    // The easternmost zone begins the month half a day before UTC does.
    let begin = Instant::parse(&format!("{}T00:00:00Z", first.first_day())).map_err(StoreError::from)?.plus_days(-1);
    let end = Instant::parse(&format!("{}T00:00:00Z", last.next().first_day())).map_err(StoreError::from)?;
    let end = end.plus_seconds(AFTERWARDS_HOURS * 3_600);

    let (config, app) = begin_ledger(dir, begin).await?;
    open_accounts(&app, &companies).await?;
    let schedules = schedules::load(None)?;
    let mut kit = Arc::new(Kit::new(app)?);
    let mut teller = Teller::new(companies.len());
    let steps = u64::try_from((end.micros() - begin.micros()) / (STEP_HOURS * 3_600 * 1_000_000)).unwrap_or(0);
    for step in 0..steps {
        let from = begin.plus_seconds(STEP_HOURS * 3_600 * i64::try_from(step).unwrap_or(0));
        let to = from.plus_seconds(STEP_HOURS * 3_600);
        let app = kit.app.at(to)?;
        teller.act(&app, &companies, &mut rng, (from, to)).await?;
        kit = Arc::new(kit.at(app));
        teller.ring(&kit, &schedules).await?;
        progress(step + 1, Some(steps));
    }
    teller.finish(kit, config, &companies, (first, last)).await
}

async fn begin_ledger(dir: &Path, begin: Instant) -> Result<(PathBuf, App), DemoError> {
    if dir.exists() {
        return Err(DemoError::Taken(dir.to_owned()));
    }
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| DemoError::Write { path, source }
    };
    std::fs::create_dir_all(dir).map_err(fail(dir))?;
    let config = dir.join(crate::config::FILE_NAME);
    let text =
        default_file(&[("database_url", "sqlite://creditd.db"), ("mail.from", "Credits <credits@demo.example>")])?;
    std::fs::write(&config, text).map_err(fail(&config))?;
    let settings = Settings::load(LoadInput { path: Some(config.clone()), ..LoadInput::default() })?;
    let store = Store::create(&settings.database_url, Meta { created_at: begin, sandbox: true }).await?;
    Ok((config, App::new(settings, store, Clock::Fixed(begin))?))
}

async fn open_accounts(app: &App, companies: &[Company]) -> Result<(), DemoError> {
    let allowance = app.settings.credits.monthly_allowance;
    let new: Vec<NewAccount> = companies
        .iter()
        .map(|company| NewAccount { account: company.account(allowance), locale: None, admins: vec![company.admin()] })
        .collect();
    app.store.open_accounts(&new, app.now()).await?;
    Ok(())
}

/// Plays the customers and counts what happens.
struct Teller {
    /// Packs bought so far, per company.
    bought: Vec<u64>,
    actions: u64,
    purchases: u64,
    runs: Vec<(Job, u64)>,
}

impl Teller {
    fn new(companies: usize) -> Teller {
        Teller { bought: vec![0; companies], actions: 0, purchases: 0, runs: Vec::new() }
    }

    async fn act(
        &mut self,
        app: &App,
        companies: &[Company],
        rng: &mut fastrand::Rng,
        (from, to): (Instant, Instant),
    ) -> Result<(), DemoError> {
        let mut asked: Vec<(AccountId, Usage)> = Vec::new();
        for company in companies {
            for usage in company.actions_in(rng, from, to, &mut self.actions) {
                asked.push((company.id.clone(), usage));
            }
        }
        asked.sort_by_key(|(_, usage)| usage.occurred_at);
        let asked: Vec<(AccountId, Call)> = asked.into_iter().map(|(id, usage)| (id, Call::Charge(usage))).collect();
        app.apply(&asked).await?.into_iter().collect::<Result<Vec<_>, AppError>>()?;
        self.buy(app, companies, rng).await
    }

    async fn buy(&mut self, app: &App, companies: &[Company], rng: &mut fastrand::Rng) -> Result<(), DemoError> {
        let ids: Vec<AccountId> = companies.iter().map(|company| company.id.clone()).collect();
        let balances = app.balances(&ids).await?;
        let credits = &app.settings.credits;
        for (at, company) in companies.iter().enumerate().filter(|(_, company)| company.buys) {
            let Some(balance) = balances.iter().find(|balance| balance.account == company.id) else { continue };
            // Not every company sees its alert at once.
            if balance.available.total().get() > BUY_BELOW || app.now() < company.opened_at() || rng.u8(..100) >= 60 {
                continue;
            }
            let packs = rng.i64(1..=2);
            self.bought[at] += 1;
            self.purchases += 1;
            let reference = Reference::new(&format!("inv-{}-{:03}", company.id, self.bought[at]))?;
            let purchase = Purchase {
                key: Key::of_purchase(&reference),
                reference,
                occurred_at: None,
                packs,
                pack_credits: credits.pack_credits,
                money: Money { minor: credits.pack_price_minor * packs, currency: credits.currency.clone() },
                comment: String::new(),
            };
            app.purchase(&company.id, &purchase).await?;
        }
        Ok(())
    }

    async fn ring(&mut self, kit: &Arc<Kit>, schedules: &[Schedule]) -> Result<(), DemoError> {
        // Each step is a bell at another instant, so every schedule is looked at anew.
        let mut runs: Vec<Ran> = Vec::new();
        let stop = CancellationToken::new();
        ring(kit, schedules, &mut Looked::default(), &stop, &mut |ran| runs.push(ran)).await?;
        for Ran { job, result, .. } in runs {
            let done = result?;
            if done.lines.is_empty() && job != Job::Verify {
                continue;
            }
            match self.runs.iter_mut().find(|(known, _)| *known == job) {
                Some((_, count)) => *count += 1,
                None => self.runs.push((job, 1)),
            }
        }
        Ok(())
    }

    async fn finish(
        self,
        kit: Arc<Kit>,
        config: PathBuf,
        companies: &[Company],
        (first, last): (Month, Month),
    ) -> Result<Story, DemoError> {
        let app = kit.app.clone();
        let range = DateRange::new(first.first_day(), last.next().first_day())?;
        let (accounts, rows) = app.report_rows(None, range, None, &mut |_, _| {}).await?;
        let spec = ReportSpec::new("The platform by month", range, Grouping::Month, Scope::Platform, app.now())?;
        let report = aggregate(&spec, &accounts, &rows)?;
        let mut zones: Vec<&str> = companies.iter().map(|company| company.zone.name()).collect();
        zones.sort_unstable();
        zones.dedup();
        let alerts = app.store.alerts(None, true, 100_000).await?;
        let count = |id: &AccountId| alerts.iter().filter(|alert| alert.account == *id).count();
        // One that bought has something of everything to show.
        let buyers = companies.iter().zip(&self.bought).filter(|(_, bought)| **bought > 0);
        let example = buyers.map(|(company, _)| &company.id).max_by_key(|id| count(id)).cloned();
        Ok(Story {
            app,
            config,
            accounts: companies.len(),
            zones: zones.len(),
            actions: self.actions,
            purchases: self.purchases,
            runs: self.runs,
            report,
            example: example.unwrap_or(AccountId::new("none")?),
        })
    }
}

impl Company {
    fn admin(&self) -> Admin {
        Admin {
            name: self.admin_name.to_owned(),
            daily_report: self.wants_daily,
            ..Admin::with_defaults(self.email.clone())
        }
    }
}

/// A key that tells one made-up action from all others.
fn key_of(number: u64) -> Result<Key, BadName> {
    Key::new(&format!("demo-{number:06}"))
}
