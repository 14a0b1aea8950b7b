//! `creditd jobs`: which jobs there are, what comes next, what was run.

use super::Context;
use super::exit::{Exit, Failure, OrExit};
use super::output::{Cell, Column, print_document};
use crate::app::App;
use crate::config::schedules;
use crate::core::calendar::Instant;
use crate::core::counting::{counted, counted_are};
use crate::core::run::{HANDED_BACK_WORD, Run, RunState};
use crate::core::schedule::{Due, Job, Schedule, Slot, schedule_schema};
use crate::jobs::{has_work, plan_due};
use crate::notice::{Command, commands_for_missed};
use crate::store::{NO_BACKFILL, RunRecord};

const LIST: &str = "creditd.jobs/1";
const NEXT: &str = "creditd.jobs-next/1";
const RUNS: &str = "creditd.runs/1";
/// Most rings shown per job.
const RINGS_MAX: u16 = 100;

/// How a run may stand: the states, and the word for those that are running although nobody is at them.
const STANDINGS: &[&str] = &[
    RunState::Waiting.as_str(),
    RunState::Running.as_str(),
    HANDED_BACK_WORD,
    RunState::Done.as_str(),
    RunState::Failed.as_str(),
    RunState::Cancelled.as_str(),
];

/// Jobs: their schedules, what comes next, what was run
#[derive(Debug, clap::Subcommand)]
pub enum Jobs {
    /// List the jobs with their schedules and last runs
    List,
    /// Show when each job is next looked at, and what is due now
    Next {
        /// How many times per job
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(RINGS_MAX)))]
        count: u16,
    },
    /// Print the JSON Schema of schedule files, for editors
    Schema,
    /// List runs, newest first
    Runs {
        /// Only of this job
        #[arg(long, value_parser = super::args::word(Job::ALL, Job::as_str))]
        job: Option<Job>,
        /// Only in this state; running has those, too, that were handed back and that nobody is at
        #[arg(long, value_parser = super::args::word(STANDINGS, |word| word))]
        state: Option<&'static str>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
}

impl Jobs {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Jobs::List => list(context).await,
            Jobs::Schema => Ok(print_document(&schedule_schema())?),
            Jobs::Next { count } => next(context, count.into()).await,
            Jobs::Runs { job, state, limit } => runs(context, job, state, limit).await,
        }
    }
}

async fn loaded(context: &Context) -> Result<Vec<Schedule>, Failure> {
    let app = context.app().await?;
    schedules::load(app.settings.cron.dir.as_deref()).or_exit(Exit::Config)
}

fn instant(at: Option<Instant>) -> Cell {
    at.map_or(Cell::Null, |at| Cell::Text(at.to_string()))
}

async fn list(context: &Context) -> Result<(), Failure> {
    let app = context.app().await?;
    let columns = ["job", "schedule", "zone", "catch_up", "last_slot", "last_state", "last_finished_at"];
    let mut list = context.list(LIST, &columns.map(Column::text))?;
    for schedule in loaded(context).await? {
        let last = app.store.runs(Some(schedule.job), None, 1).await?.into_iter().next();
        let (slot, state, finished) = last.map_or((Cell::Null, Cell::Null, Cell::Null), |RunRecord { id, run }| {
            (Cell::Text(id.slot.to_string()), run.standing().into(), instant(run.finished_at))
        });
        list.row(vec![
            Cell::Text(schedule.job.to_string()),
            Cell::Text(schedule.cron().to_owned()),
            Cell::Text(schedule.zone.name().to_owned()),
            Cell::Text(schedule.catch_up.to_string()),
            slot,
            state,
            finished,
        ])?;
    }
    Ok(list.finish()?)
}

async fn next(context: &Context, count: usize) -> Result<(), Failure> {
    let app = context.app().await?;
    let columns = [Column::text("job"), Column::text("looks_at"), Column::number("due_now"), Column::text("first_due")];
    say_bad_clock(context, app).await?;
    let mut list = context.list(NEXT, &columns)?;
    for schedule in loaded(context).await? {
        let mut due = plan_due(app, &schedule).await?;
        if !has_work(app, schedule.job, &[]).await? {
            (due.slots, due.capped) = (Vec::new(), 0);
        }
        let waiting = i64::try_from(due.slots.len() + due.capped).unwrap_or(i64::MAX);
        if let Some(missed) = missed(&schedule, &due) {
            context.say(missed);
        }
        for at in schedule.next(app.now(), count) {
            let first = due.slots.first().map_or(Cell::Null, |slot| Cell::Text(slot.to_string()));
            list.row(vec![Cell::Text(schedule.job.to_string()), instant(Some(at)), Cell::Int(waiting), first])?;
        }
    }
    Ok(list.finish()?)
}

/// Says that nothing is run as long as the clock cannot be believed, if that is so.
pub(super) async fn say_bad_clock(context: &Context, app: &App) -> Result<(), Failure> {
    if let Some(bad) = app.bad_clock().await? {
        context.say(format!("No job and no backfill is run now: {bad}"));
    }
    Ok(())
}

/// What periods have left the window of a schedule unrun, if any, and what runs them.
pub(super) fn missed(schedule: &Schedule, due: &Due) -> Option<String> {
    let (first, last) = due.expired_first.zip(due.expired_last)?;
    // The first of them is `creditd jobs next`, which says this.
    let by_hand = commands_for_missed(schedule.job, first, last).into_iter().skip(1);
    let by_hand: Vec<String> = by_hand.map(|Command { command, what }| format!("`{command}` {what}")).collect();
    Some(format!(
        "{}: {} older than its window of {}; {}",
        schedule.job,
        counted_are(due.expired as u64, "missed slot"),
        counted(schedule.window_days, "day"),
        by_hand.join("; "),
    ))
}

/// What others hold of the run of `slot` that is under way. One that died is believed to be at it until its lease is over.
pub(super) fn held(slot: Slot, run: &Run, clock: Instant) -> impl Iterator<Item = String> {
    run.holders().filter(move |(_, until)| *until > clock).map(move |(holder, until)| {
        format!("{slot} is held by process {}, until {until} if it is not heard of any more", process(holder))
    })
}

/// The number of the process in the name of a holder.
fn process(holder: &str) -> &str {
    holder.split('/').next().unwrap_or(holder)
}

/// Who is at a run, and who was when they were last heard of.
fn at_it(run: &Run, clock: Instant) -> Cell {
    let who = run.holders().map(|(holder, until)| {
        let process = process(holder);
        if until > clock { format!("process {process}") } else { format!("process {process}, not heard of any more") }
    });
    let who: Vec<String> = if run.state == RunState::Running { who.collect() } else { Vec::new() };
    if who.is_empty() { Cell::Null } else { Cell::Text(who.join("; ")) }
}

async fn runs(context: &Context, job: Option<Job>, standing: Option<&str>, limit: usize) -> Result<(), Failure> {
    let app = context.app().await?;
    let columns = [
        Column::text("job"),
        Column::text("slot"),
        Column::text("state"),
        Column::number("attempts"),
        Column::text("started_at"),
        Column::text("finished_at"),
        Column::text("outcome"),
        Column::text("backfill"),
        Column::text("at_it"),
    ];
    let clock = app.store.clock().await?;
    let mut list = context.list(RUNS, &columns)?;
    let found = match standing {
        // They are kept as running, and of those there are few.
        Some(HANDED_BACK_WORD) => {
            let mut found = app.store.runs(job, Some(RunState::Running), usize::MAX).await?;
            found.retain(|record| record.run.is_handed_back());
            found.truncate(limit);
            found
        }
        _ => app.store.runs(job, standing.and_then(RunState::from_word), limit).await?,
    };
    for RunRecord { id, run } in found {
        list.row(vec![
            Cell::Text(id.job.to_string()),
            Cell::Text(id.slot.to_string()),
            run.standing().into(),
            Cell::Int(run.attempts.into()),
            instant(Some(run.started_at)),
            instant(run.finished_at),
            run.outcome.clone().map_or(Cell::Null, Cell::Text),
            if id.backfill == NO_BACKFILL { Cell::Null } else { Cell::Text(id.backfill.to_string()) },
            at_it(&run, clock),
        ])?;
    }
    Ok(list.finish()?)
}
