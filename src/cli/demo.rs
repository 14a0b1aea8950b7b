//! `creditd demo`: makes three months of made-up life, and tells what happened.

use super::Context;
use super::exit::Failure;
use super::files::WholeFile;
use super::output::stdout;
use crate::core::calendar::Month;
use crate::core::counting::grouped;
use crate::core::outbox::NoticeKind;
use crate::core::schedule::Job;
use crate::core::statement::{Grouping, Scope};
use crate::demo::{self, Story};
use crate::jobs::Run;
use crate::jobs::verify::{Proof, prove};
use crate::report::{Definitions, Format, Overrides, make, render};
use crate::store::OutboxRecord;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// Demo folders that are tried in turn when none is named: a demo never overwrites anything.
const FOLDERS_MAX: u32 = 100;
/// Width of the table in the story.
const WIDTH: u16 = 100;

/// Make a sandbox with forty accounts and three months of made-up activity, and tell what happened
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// The folder to make; else creditd-demo, or creditd-demo-2 when that is there, and so on
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Demo {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let dir = self.dir.unwrap_or_else(free_folder);
        context.say(format!("Making three months of made-up activity in {} ...", dir.display()));
        let progress = context.progress("simulating");
        let story = demo::make(&dir, &mut progress.report()).await?;
        drop(progress);
        let reports = write_reports(&dir, &story).await?;
        let told = tell(context.program(), &dir, &story, &reports).await?;
        story.app.store.close().await;
        let mut out = stdout();
        out.write_all(told.as_bytes())?;
        Ok(out.flush()?)
    }
}

fn free_folder() -> PathBuf {
    let name = |at: u32| if at == 1 { "creditd-demo".to_owned() } else { format!("creditd-demo-{at}") };
    (1..=FOLDERS_MAX)
        .map(|at| PathBuf::from(name(at)))
        .find(|dir| !dir.exists())
        .unwrap_or_else(|| "creditd-demo".into())
}

/// A statement of the example account, and the whole platform, for the browser; every account and month for a spreadsheet.
async fn write_reports(dir: &Path, story: &Story) -> Result<Vec<(PathBuf, &'static str)>, Failure> {
    let range = story.report.spec.range();
    let definitions = Definitions::load(None)?;
    let out = dir.join("reports");
    std::fs::create_dir_all(&out)?;
    let example = format!("{}.html", story.example);
    let wanted = [
        (
            example.as_str(),
            "statement-monthly",
            Some(&story.example),
            Scope::Account,
            Grouping::Month,
            "the statement of one account",
        ),
        ("platform.html", "platform-daily", None, Scope::Platform, Grouping::Day, "the whole platform, day by day"),
        ("all-accounts.csv", "statement-monthly", None, Scope::Account, Grouping::Month, "every account and month"),
    ];
    let mut written = Vec::new();
    for (file, name, account, scope, by, what) in wanted {
        let overrides = Overrides {
            from: Some(range.from()),
            to: Some(range.to()),
            group_by: Some(by),
            scope: Some(scope),
            ..Overrides::default()
        };
        let now = story.app.now();
        let spec = definitions.get(name)?.resolve(&overrides, now.to_utc().date_naive(), now)?;
        let chosen = account.map(std::slice::from_ref);
        let reading = story.app.read_report(chosen, &spec, None, &mut |_, _| {}).await?;
        let format = if file.ends_with("csv") { Format::Csv } else { Format::Html };
        let titles = if format.has_charts() { story.app.titles().await? } else { BTreeMap::new() };
        let bytes = render(&make(&spec, reading)?.with_titles(titles), format, WIDTH)?;
        let path = out.join(file);
        let mut file = WholeFile::create(&path)?;
        file.write_all(&bytes)?;
        file.replace()?;
        written.push((path, what));
    }
    Ok(written)
}

async fn tell(
    program: &str,
    dir: &Path,
    story: &Story,
    reports: &[(PathBuf, &'static str)],
) -> Result<String, Failure> {
    let store = &story.app.store;
    let alerts = store.alerts(None, true, 100_000).await?;
    let open = alerts.iter().filter(|alert| alert.resolved_at.is_none()).count();
    let mails = store.messages(None, None, 100_000).await?;
    let transactions = store.count_transactions().await?;
    let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
    let Proof { checks, drifts } = prove(&story.app, None, &mut run).await?;
    let number = |n: u64| grouped(n);
    let size = |n: usize| number(n as u64);
    let runs = |job: Job| story.runs.iter().find(|(known, _)| *known == job).map_or(0, |(_, count)| *count);
    let sent = |kind: NoticeKind| mails.iter().filter(|mail| mail.message.key.kind() == kind).count();
    let table = render(&story.report, Format::Table, WIDTH)?;
    let month = Month::of(story.report.spec.range().last_day());

    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line(format!("creditd demo: January to March 2026, made up from a fixed seed, in {}", dir.display()));
    line(String::new());
    line(format!(
        "  {} accounts in {} time zones asked for {} AI actions and bought packs {} times.",
        size(story.accounts),
        story.zones,
        number(story.actions),
        number(story.purchases)
    ));
    line(format!(
        "  {} transactions were recorded. The reset ran {} times: each zone's month begins at its own midnight.",
        number(transactions),
        runs(Job::Reset)
    ));
    line(format!(
        "  {} alerts fired ({open} are open); {} low-credit mails, {} monthly and {} daily statements were delivered.",
        size(alerts.len()),
        size(sent(NoticeKind::LowCredit)),
        size(sent(NoticeKind::MonthlyStatement)),
        size(sent(NoticeKind::DailyStatement))
    ));
    line(match drifts.len() {
        0 => format!("  creditd verify: {checks} checks over the whole ledger, no difference."),
        n => format!("  creditd verify: {n} DIFFERENCES; this must not be, please report it."),
    });
    line(String::new());
    line(String::from_utf8_lossy(&table).into_owned());
    line("Mails to open:".into());
    for mail in picked(&mails) {
        line(format!("  {}", mail.delivered_to.as_deref().unwrap_or("not delivered yet")));
        line(format!("      {}", mail.message.subject));
    }
    line(String::new());
    line("Reports to open:".into());
    for (path, what) in reports {
        line(format!("  {:<42} {what}", path.display().to_string()));
    }
    line(String::new());
    line("Next, try (the sandbox's clock is set, so the story stands still):".into());
    let (now, config) = (story.app.now(), story.config.display());
    line(format!("  export CREDITD_CONFIG={config} CREDITD_NOW={now}"));
    for command in [
        format!("balance {}", story.example),
        format!("charge --account {} --action text-to-image --user you", story.example),
        format!("transactions list --account {} --limit 10", story.example),
        format!("report show statement-monthly --account {} --month {month}", story.example),
        "report show platform-monthly".into(),
        "alerts list --all --limit 10".into(),
        "jobs next".into(),
        format!("run monthly-report --month {month} --dry-run"),
        "verify".into(),
    ] {
        line(format!("  {program} {command}"));
    }
    Ok(text)
}

/// One mail of each kind, with the most telling alerts first.
fn picked(mails: &[OutboxRecord]) -> Vec<&OutboxRecord> {
    let about = |prefix: &str| mails.iter().find(|mail| mail.message.key.about().starts_with(prefix));
    let kind = |kind: NoticeKind| mails.iter().find(|mail| mail.message.key.kind() == kind);
    let all = [
        about("low#"),
        about("critical#"),
        about("exhausted#"),
        kind(NoticeKind::MonthlyStatement),
        kind(NoticeKind::DailyStatement),
    ];
    all.into_iter().flatten().collect()
}
