//! `creditd run JOB`: one job now, for what is due or for a period that is named.

use super::Context;
use super::exit::{Exit, Failure, OrExit};
use super::jobs::{held, missed, say_bad_clock};
use super::output::{Cell, Column};
use crate::app::App;
use crate::config::schedules;
use crate::core::calendar::{Month, parse_date};
use crate::core::counting::counted_are;
use crate::core::run::{Run as SharedRun, RunState};
use crate::core::schedule::{Covers, Due, Job, Schedule, Slot};
use crate::jobs::{
    Claiming, Done, JobError, Kit, Planned, Retries, Run as JobRun, begun, plan_due, run_slot, tell_missed, zones_of,
};
use crate::store::{IN_HAND_MAX, RunId};
use chrono::NaiveDate;

const SCHEMA: &str = "creditd.run/1";

/// Run a job once: what is due now, or the period that is named
///
/// Jobs are safe to repeat: each effect has a key, so what was done is not done again.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The job
    #[arg(value_parser = super::args::word(Job::ALL, Job::as_str))]
    job: Job,
    /// Report this month in every zone, also if it was reported before: 2013-03
    #[arg(long, value_name = "MONTH", conflicts_with = "day")]
    month: Option<Month>,
    /// Report this day in every zone, also if it was reported before: 2013-03-05
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    day: Option<NaiveDate>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Run it although the clock is far from what was recorded last: it is right
    #[arg(long)]
    clock_is_right: bool,
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        let kit = self.kit(context, app).await?;
        if !self.dry_run
            && !self.clock_is_right
            && let Some(bad) = app.bad_clock().await?
        {
            return Err(Failure::message(Exit::Refused, format!("{}: {bad}", self.job)));
        }
        if self.dry_run {
            say_bad_clock(context, app).await?;
        }
        // Periods whose run was begun and is not over: because its process died, or because it failed and is tried again.
        let begun = begun(app, Retries::AtOnce).await?;
        let left_lying: Vec<Slot> = begun.open.iter().filter(|id| id.job == self.job).map(|id| id.slot).collect();
        let slots = self.slots(context, &kit, &left_lying).await?;
        if slots.is_empty() {
            context.say(format!("{}: nothing is due", self.job));
        }
        // Where a period is named, or all is done that there is to do, the runs of others are not what is asked for.
        if self.claiming(false) == Claiming::OnceOnly {
            for id in begun.under_way.iter().filter(|id| id.job == self.job && !slots.contains(&id.slot)) {
                let job = self.job;
                let who = format!("`creditd jobs runs --job {job} --state running` says who is at it");
                context.say(format!("{job}: {} is under way; {who}", id.slot));
            }
        }
        for slot in slots.iter().filter(|slot| slot.due_at() > app.now()) {
            context.say(format!("{}: {slot} has not ended yet", self.job));
        }
        let mut list = context.list(
            SCHEMA,
            &[Column::text("job"), Column::text("slot"), Column::text("state"), Column::text("outcome")],
        )?;
        let (mut problems, mut failure) = (Vec::<String>::new(), None);
        for slot in slots {
            let progress = context.progress("working");
            let stop = context.stop.clone();
            let mut report = progress.report();
            let mut run = JobRun { dry_run: self.dry_run, progress: &mut report, stop };
            let result =
                match run_slot(&kit, self.job, slot, self.claiming(left_lying.contains(&slot)), &mut run).await? {
                    Planned::Ran(result) => result,
                    Planned::Taken => Ok(Done { summary: "done already, or being done".into(), ..Done::default() }),
                };
            // A job that failed says itself what is wrong; that the ledger does not answer then is seldom another thing.
            let left = match self.left(app, slot).await {
                Err(_) if result.is_err() => None,
                left => left?,
            };
            let (state, outcome) = match result {
                Ok(done) => {
                    self.explain(context, &done);
                    problems.extend(done.problems.iter().map(ToString::to_string));
                    match &left {
                        Some(_) if context.stop.is_cancelled() => failure = Some(JobError::Stopped),
                        Some((_, held)) => problems.extend(held.iter().cloned()),
                        None => {}
                    }
                    (if self.dry_run { "planned" } else { "done" }, done.summary)
                }
                Err(error) => {
                    let text = error.to_string();
                    failure = Some(error);
                    ("failed", text)
                }
            };
            let state = left.map_or(state, |(standing, _)| standing);
            let cells = [self.job.to_string(), slot.to_string(), state.to_owned(), outcome];
            list.row(cells.into_iter().map(Cell::Text).collect())?;
            if failure.is_some() {
                break;
            }
        }
        kit.finish().await;
        list.finish()?;
        if failure.is_none() && !self.dry_run {
            self.say_what_others_have(context, app).await;
        }
        match failure {
            // Whatever the last of it came to.
            Some(error) if context.stop.is_cancelled() => Err(Failure::new(Exit::Interrupted, error)),
            Some(error) => Err(error.into()),
            None if problems.is_empty() => Ok(()),
            None => {
                let exit = if context.stop.is_cancelled() { Exit::Interrupted } else { Exit::PartlyDone };
                Err(Failure::message(exit, problems.join("\n")))
            }
        }
    }

    /// A job that writes to no admin runs with templates that cannot be used, too: what operators hear of it is in creditd's own
    /// words then.
    async fn kit(&self, context: &Context, app: &App) -> Result<Kit, Failure> {
        let kit = match Kit::open(app.clone()).await {
            Err(JobError::Templates(bad)) if !self.job.writes_to_admins() => {
                context.say(format!("{bad}; {} does without, and runs", self.job));
                let mut app = app.clone();
                app.settings.templates.dir = None;
                Kit::open(app).await
            }
            kit => kit,
        };
        kit.and_then(Kit::with_pings).or_exit(Exit::Config)
    }

    /// What is asked for by name, or by calling a job that does all there is to do, is done whatever was recorded: the
    /// keys of its effects decide what is left to do.
    fn claiming(&self, is_left_lying: bool) -> Claiming {
        let is_named = self.month.is_some() || self.day.is_some() || self.job.covers() == Covers::Tick;
        if is_named || is_left_lying { Claiming::Anyway } else { Claiming::OnceOnly }
    }

    async fn slots(&self, context: &Context, kit: &Kit, left_lying: &[Slot]) -> Result<Vec<Slot>, Failure> {
        let app = &kit.app;
        let wrong = |flag: &str| {
            Failure::message(Exit::Usage, format!("the job {} does not take {flag}; see creditd run --help", self.job))
        };
        match (self.job.covers(), self.month, self.day) {
            (Covers::Tick, None, None) => Ok(vec![Slot::Tick(app.now())]),
            (Covers::Tick, Some(_), _) | (Covers::Day, Some(_), _) => Err(wrong("--month")),
            (Covers::Tick, None, Some(_)) | (Covers::Month, _, Some(_)) => Err(wrong("--day")),
            (Covers::Month, Some(month), None) => {
                Ok(zones_of(app, self.job).await?.into_iter().map(|zone| Slot::Month(month, zone)).collect())
            }
            (Covers::Day, None, Some(day)) => {
                Ok(app.store.zones().await?.into_iter().map(|zone| Slot::Day(day, zone)).collect())
            }
            (Covers::Day | Covers::Month, None, None) => {
                let all = schedules::load(app.settings.cron.dir.as_deref()).or_exit(Exit::Config)?;
                match all.iter().find(|schedule| schedule.job == self.job) {
                    Some(schedule) => {
                        let due = self.due(context, kit, schedule).await?;
                        Ok(left_lying.iter().copied().chain(due.slots).collect())
                    }
                    None => Ok(Vec::new()),
                }
            }
        }
    }

    /// What is due, where nothing is named: what of it is not run is said here, and what was missed to the operators too, who may have
    /// no `creditd serve` that tells them.
    async fn due(&self, context: &Context, kit: &Kit, schedule: &Schedule) -> Result<Due, Failure> {
        let due = plan_due(&kit.app, schedule).await?;
        if due.capped > 0 {
            let (are, at_once) = (counted_are((due.slots.len() + due.capped) as u64, "slot"), due.slots.len());
            let (done, rest) = match self.dry_run {
                true => ("shown", ""),
                false => ("run now", "; this command, run again, or `creditd serve` runs the others"),
            };
            context.say(format!("{}: {are} due, of which the oldest {at_once} are {done}{rest}", self.job));
        }
        if let Some(missed) = missed(schedule, &due) {
            context.say(missed);
        }
        if !self.dry_run {
            tell_missed(kit, schedule, &due).await?;
        }
        Ok(due)
    }

    /// How the run of `slot` stands where it is not over although this process has no more to do for it, and what is to be known
    /// about that.
    async fn left(&self, app: &App, slot: Slot) -> Result<Option<(&'static str, Vec<String>)>, Failure> {
        if self.dry_run {
            return Ok(None);
        }
        let look = |run: &mut SharedRun, clock| {
            let is_left = run.state == RunState::Running;
            (is_left.then(|| (run.standing(), held(slot, run, clock).collect::<Vec<_>>())), None)
        };
        let mut left = app.store.change_run(RunId::of(self.job, slot), look).await?.flatten();
        if let Some((_, held)) = &mut left {
            let job = self.job;
            held.push(format!("{job}: {slot} is not done yet; this command, run again, or `creditd serve` goes on."));
        }
        Ok(left)
    }

    /// Of what is sent, what this process did not send because others are at it. All that was asked for is done by then, whether this
    /// can be told or not.
    async fn say_what_others_have(&self, context: &Context, app: &App) {
        let (job, what) = (self.job, if self.job == Job::Deliver { "message" } else { "event" });
        let in_hand = match job {
            Job::Deliver => app.store.messages_in_hand().await,
            Job::Webhooks => app.store.events_in_hand().await,
            _ => return,
        };
        match in_hand {
            Ok(0) => {}
            Ok(count) => {
                let at_least = if count < IN_HAND_MAX as u64 { "" } else { "at least " };
                let are = counted_are(count, what);
                context.say(format!(
                    "{job}: {at_least}{are} in hand of other processes; if one of these ends, they are free for others within half a \
                     minute"
                ));
            }
            Err(error) => context.say(format!("{job}: what other processes have in hand could not be asked: {error}")),
        }
    }

    fn explain(&self, context: &Context, done: &Done) {
        if self.dry_run {
            done.lines.iter().for_each(|line| context.say(line));
            if done.more_lines > 0 {
                context.say(format!("... and {} more", done.more_lines));
            }
        }
    }
}
