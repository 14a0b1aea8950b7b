//! `creditd backfill`: past days and months of the report jobs, run because somebody asks.

use super::Context;
use super::args::{self, FirstDay};
use super::exit::{Exit, Failure, OrExit};
use super::jobs;
use super::output::{Cell, Column};
use crate::app::App;
use crate::core::backfill::{ACCOUNTS_MAX, Asked, Decision, PARALLEL_MAX, Planned, Reprocess};
use crate::core::calendar::Instant;
use crate::core::counting::{counted, counted_are, grouped};
use crate::core::ids::AccountId;
use crate::core::run::RunState;
use crate::core::schedule::{Job, Slot};
use crate::jobs::backfill::{BackfillError, Slotted, create_backfill, plan_backfill, run_next};
use crate::jobs::{JobError, Kit, Retries};
use crate::store::{BackfillRecord, BackfillState, RunRecord};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

const PLAN: &str = "creditd.backfill-plan/1";
const LIST: &str = "creditd.backfills/1";
const SHOW: &str = "creditd.backfill/1";

/// Lines about single statements that are said of a backfill: it may write ten thousands, and what came of each slot has a row.
const LINES_MAX: usize = 100;

/// Backfills: run past days and months of the report jobs again, or for the first time
///
/// Figures are compared with what was sent. Without --email nothing is sent: it is said which accounts would get a statement, or a
/// corrected one. Doing it again changes nothing.
#[derive(Debug, clap::Subcommand)]
pub enum Backfill {
    Create(Create),
    /// List backfills, newest first
    List {
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show the slots of a backfill, and what came of each
    Show {
        /// Its number
        number: i64,
    },
    /// Go on with a backfill here and now; `creditd serve` does so by itself
    Resume {
        /// Its number
        number: i64,
    },
    /// Cancel what is left of a backfill; what was sent stays sent
    Cancel {
        /// Its number
        number: i64,
    },
}

/// Make a backfill, and run it
///
/// Examples:
///   creditd backfill create --job monthly-report --from 2013-01 --to 2013-04 --dry-run
///   creditd backfill create --job daily-report --from 2013-03-01 --to 2013-03-08 --account acme --email
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Create {
    /// The job: daily-report or monthly-report
    #[arg(long, value_parser = args::word(Job::ALL, Job::as_str), hide_possible_values = true)]
    job: Job,
    /// The first day or month: 2013-03-05 or 2013-03
    #[arg(long, value_name = "DATE")]
    from: FirstDay,
    /// The day or month behind the last one; of months, only whole ones are reported
    #[arg(long, value_name = "DATE")]
    to: FirstDay,
    /// Of this account only; may be given several times
    #[arg(long = "account", value_name = "ACCOUNT")]
    accounts: Vec<AccountId>,
    /// Which slots: those that were never run, those that were never done, or all
    #[arg(long, default_value = "missing", value_parser = args::word(Reprocess::ALL, Reprocess::as_str))]
    reprocess: Reprocess,
    /// Show each slot and what would be done about it, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Write the mails
    #[arg(long)]
    email: bool,
    /// How many slots are run side by side
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(PARALLEL_MAX)))]
    max_parallel: u32,
    /// The newest first
    #[arg(long)]
    reverse: bool,
    /// Only make it; `creditd serve` runs it
    #[arg(long, conflicts_with = "dry_run")]
    detach: bool,
}

impl Backfill {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Backfill::Create(create) => create.run(context).await,
            Backfill::List { limit } => list(context, limit).await,
            Backfill::Show { number } => show(context, number).await,
            Backfill::Resume { number } => {
                let kit = kit(context).await?;
                let record = find(&kit.app, number).await?;
                if record.state != BackfillState::Open {
                    context.say(format!("Backfill {number} is {} already.", record.state));
                    return Ok(());
                }
                believe_clock(&kit.app).await?;
                work(context, &kit, record).await
            }
            Backfill::Cancel { number } => cancel(context, number).await,
        }
    }
}

async fn kit(context: &Context) -> Result<Kit, Failure> {
    Kit::open(context.app().await?.clone()).await.or_exit(Exit::Config)
}

/// Under a clock that is wrong, periods would be taken for over that are not.
async fn believe_clock(app: &App) -> Result<(), Failure> {
    match app.bad_clock().await? {
        Some(bad) => Err(Failure::message(Exit::Refused, format!("no backfill is run: {bad}"))),
        None => Ok(()),
    }
}

async fn find(app: &App, number: i64) -> Result<BackfillRecord, Failure> {
    app.store.backfills(Some(number), false, 1).await?.pop().ok_or_else(|| {
        Failure::message(
            Exit::Failure,
            format!("there is no backfill {number}; `creditd backfill list` shows those there are"),
        )
    })
}

impl Create {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let kit = kit(context).await?;
        if self.accounts.len() > ACCOUNTS_MAX {
            let message = format!("--account is given {} times; {ACCOUNTS_MAX} are allowed", self.accounts.len());
            return Err(Failure::message(Exit::Usage, message));
        }
        if !self.dry_run {
            believe_clock(&kit.app).await?;
        }
        let Create { job, reprocess, email, max_parallel: parallel_max, reverse, .. } = self;
        let (from, to, accounts) = (self.from.0, self.to.0, self.accounts);
        let asked = Asked { job, from, to, accounts, reprocess, email, parallel_max, reverse };
        let planned = plan_backfill(&kit, &asked).await.map_err(|error| match error {
            BackfillError::Bad(error) => Failure::new(Exit::Usage, error),
            BackfillError::UnknownAccount(_) => Failure::new(Exit::Refused, error),
            BackfillError::Store(error) => error.into(),
        })?;
        if self.dry_run {
            jobs::say_bad_clock(context, &kit.app).await?;
            return show_plan(context, &planned);
        }
        if planned.is_empty() {
            context.say("Nothing is to be done: none of the accounts was there yet.");
            return Ok(());
        }
        let to_run = planned.iter().filter(|planned| planned.decision == Decision::Run).count();
        if to_run == 0 {
            let left = planned.iter().filter(|planned| planned.decision == Decision::Leave).count();
            let ahead = planned.iter().filter(|planned| planned.decision == Decision::NotOver).count();
            context.say(format!(
                "Nothing is to be done: {}, run before: {left}, not over: {ahead}. --reprocess says which are run again; --dry-run \
                 shows each.",
                counted(planned.len() as u64, "slot")
            ));
            return Ok(());
        }
        let number = create_backfill(&kit, &asked, &planned).await?;
        let to_run = counted_are(to_run as u64, "slot");
        context.say(format!("Backfill {number}: {to_run} to be run, of {}.", planned.len()));
        if self.detach {
            context.say(format!("`creditd serve` runs them; `creditd backfill show {number}` shows how far they are."));
            return Ok(());
        }
        let record = find(&kit.app, number).await?;
        work(context, &kit, record).await
    }
}

fn show_plan(context: &Context, planned: &[Planned]) -> Result<(), Failure> {
    let mut list = context.list(PLAN, &["slot", "state", "decision"].map(Column::text))?;
    for Planned { slot, state, decision } in planned {
        let state = state.map_or("missing", RunState::as_str);
        list.row([slot.to_string(), state.to_owned(), decision.to_string()].map(Cell::Text).into())?;
    }
    Ok(list.finish()?)
}

/// Does this process's share until nothing is left for it.
async fn work(context: &Context, kit: &Kit, record: BackfillRecord) -> Result<(), Failure> {
    let number = record.number;
    let columns = ["slot", "state", "outcome"].map(Column::text);
    let mut list = context.list(SHOW, &columns)?;
    let progress = context.progress("slots");
    let all = record.slots.values().sum::<u64>();
    let done = AtomicU64::new(all - record.count(RunState::Waiting));
    let mut report = progress.report();
    report(done.load(Ordering::Relaxed), Some(all));
    let one = async || {
        let mut slotted = Vec::new();
        while let Some(ran) = run_next(kit, &record, Retries::AtOnce, &context.stop, &mut |_, _| {}).await? {
            done.fetch_add(1, Ordering::Relaxed);
            let failed = ran.result.is_err();
            slotted.push(ran);
            if failed || context.stop.is_cancelled() {
                break;
            }
        }
        Ok::<_, Failure>(slotted)
    };
    let working = (0..record.asked.parallel_max).map(|_| one());
    let ran = futures_util::future::try_join_all(working).await?;
    report(done.load(Ordering::Relaxed), Some(all));
    let mut ran: Vec<Slotted> = ran.into_iter().flatten().collect();
    ran.sort_by_key(|ran| (ran.slot.due_at(), ran.slot));
    let (mut problems, mut failure) = (Vec::<String>::new(), None);
    let slots: BTreeSet<Slot> = ran.iter().map(|ran| ran.slot).collect();
    let (mut shown, mut more) = (0, 0);
    for Slotted { result, .. } in ran {
        match result {
            Ok(done) => {
                let room = LINES_MAX - shown;
                done.lines.iter().take(room).for_each(|line| context.say(line));
                shown += done.lines.len().min(room);
                more += done.lines.len().saturating_sub(room) as u64 + done.more_lines;
                problems.extend(done.problems.iter().map(ToString::to_string));
            }
            Err(error) => failure = Some(error),
        }
    }
    if more > 0 {
        context.say(format!("... and {} more", grouped(more)));
    }
    // Several may have done a slot together, here and elsewhere: what became of it is in the ledger.
    let (runs, _) = kit.app.store.backfill_runs(number).await?;
    for RunRecord { id, run } in runs.into_iter().filter(|record| slots.contains(&record.id.slot)) {
        let outcome = run.outcome.clone().map_or(Cell::Null, Cell::Text);
        list.row(vec![Cell::Text(id.slot.to_string()), run.standing().into(), outcome])?;
    }
    list.finish()?;
    let (left, mut left_over) = (find(&kit.app, number).await?, Vec::new());
    if left.state == BackfillState::Open {
        let waiting = left.slots.values().sum::<u64>() - left.count(RunState::Done);
        let waiting = counted_are(waiting, "slot");
        left_over = held(kit, number).await?;
        left_over
            .push(format!("{waiting} left of {all}; `creditd backfill resume {number}` or `creditd serve` goes on."));
    }
    let failure = match failure {
        None if context.stop.is_cancelled() => Some(JobError::Stopped),
        failure => failure,
    };
    if let Some(error) = failure {
        left_over.iter().for_each(|line| context.say(line));
        return Err(match context.stop.is_cancelled() {
            true => Failure::new(Exit::Interrupted, error),
            false => error.into(),
        });
    }
    problems.extend(left_over);
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::message(Exit::PartlyDone, problems.join("\n"))),
    }
}

/// The slots that others are at.
async fn held(kit: &Kit, number: i64) -> Result<Vec<String>, Failure> {
    let (begun, clock) = kit.app.store.begun_backfill_runs(number).await?;
    let running = begun.iter().filter(|record| record.run.state == RunState::Running);
    Ok(running.flat_map(|record| jobs::held(record.id.slot, &record.run, clock)).collect())
}

async fn list(context: &Context, limit: usize) -> Result<(), Failure> {
    let app = context.app().await?;
    let columns = [
        Column::number("backfill"),
        Column::text("job"),
        Column::text("from"),
        Column::text("to"),
        Column::text("reprocess"),
        Column::text("email"),
        Column::text("state"),
        Column::number("slots"),
        Column::number("done"),
        Column::number("failed"),
        Column::text("created_at"),
        Column::text("ended_at"),
    ];
    let found = app.store.backfills(None, false, limit.saturating_add(1)).await?;
    let mut list = context.list(LIST, &columns)?;
    for record in found.iter().take(limit) {
        let count = |n: u64| Cell::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let Asked { job, from, to, reprocess, email, .. } = &record.asked;
        list.row(vec![
            Cell::Int(record.number),
            Cell::Text(job.to_string()),
            Cell::Text(from.to_string()),
            Cell::Text(to.to_string()),
            Cell::Text(reprocess.to_string()),
            Cell::Text(if *email { "yes" } else { "no" }.to_owned()),
            Cell::Text(record.state.to_string()),
            count(record.slots.values().sum()),
            count(record.count(RunState::Done)),
            count(record.count(RunState::Failed)),
            instant(Some(record.created_at)),
            instant(record.ended_at),
        ])?;
    }
    list.finish()?;
    context.say_how_many(found.len(), limit, "There are no backfills.");
    Ok(())
}

async fn show(context: &Context, number: i64) -> Result<(), Failure> {
    let app = context.app().await?;
    let record = find(app, number).await?;
    let columns = [
        Column::text("slot"),
        Column::text("state"),
        Column::number("attempts"),
        Column::text("finished_at"),
        Column::text("outcome"),
    ];
    let mut list = context.list(SHOW, &columns)?;
    let (mut runs, _) = app.store.backfill_runs(number).await?;
    if record.asked.reverse {
        runs.reverse();
    }
    let mut notes = Vec::new();
    for one in runs {
        notes.extend(one.run.notes().iter().map(|note| format!("{}: {note}", one.id.slot)));
        list.row(vec![
            Cell::Text(one.id.slot.to_string()),
            one.run.standing().into(),
            Cell::Int(one.run.attempts.into()),
            instant(one.run.finished_at),
            one.run.outcome.map_or(Cell::Null, Cell::Text),
        ])?;
    }
    list.finish()?;
    notes.iter().for_each(|note| context.say(note));
    let counts: Vec<String> = record.slots.iter().map(|(state, n)| format!("{n} {state}")).collect();
    context.say(format!("Backfill {number} is {}: {}.", record.state, counts.join(", ")));
    Ok(())
}

async fn cancel(context: &Context, number: i64) -> Result<(), Failure> {
    let app = context.app().await?;
    let record = find(app, number).await?;
    if app.store.end_backfill(number, BackfillState::Cancelled, app.now()).await? {
        context.say(format!("Backfill {number} is cancelled; what it had done stays."));
    } else {
        context.say(format!("Backfill {number} is {} already.", record.state));
    }
    Ok(())
}

fn instant(at: Option<Instant>) -> Cell {
    at.map_or(Cell::Null, |at| Cell::Text(at.to_string()))
}
