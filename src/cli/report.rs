//! `creditd report`: the statements of accounts and of the platform, on the terminal or as files.

mod all;

use super::Context;
use super::exit::{Exit, Failure, OrExit};
use super::files::{WholeFile, agreed, ending};
use super::output::{Cell, Column, OutputMode, print_document, stdout};
use crate::app::App;
use crate::core::calendar::{Instant, Month};
use crate::core::counting::{counted, grouped};
use crate::core::ids::{AccountId, ActionCode, UserId};
use crate::core::statement::{
    Breakdown, DateRange, Ending, Filters, Grouping, LocalTime, ReportModel, ReportSpec, Scope,
};
use crate::core::transaction::Touched;
use crate::report::{
    Definition, DefinitionError, Definitions, Format, Overrides, RenderError, definition_schema, filter_name, make,
    shown_of, write,
};
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LIST: &str = "creditd.reports/1";
const CHECK: &str = "creditd.report-check/1";

/// Reports: statements of accounts and of the platform
#[derive(Debug, clap::Subcommand)]
pub enum Report {
    /// List the reports there are
    List,
    /// Check report definitions: the files that are named, else all in `dir` of [reports] in the settings; exit code 4 when
    /// something is wrong
    Check {
        /// Files of definitions
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of report definitions, for editors
    ///
    /// Example: creditd report schema > report.schema.json, and `#:schema report.schema.json` as the first line of a definition
    Schema,
    /// Show a report
    Show(Asked),
    /// Write a report to a file, or with --all one for each account to a folder
    Export {
        #[command(flatten)]
        asked: Asked,
        /// The form of the file: table, csv, json, ndjson, html, parquet, png or xlsx. --output and the file's ending say it,
        /// too, and must not say another one; a file without such an ending, and stdout, need one of them. Where --out is left
        /// out, it is the first form that the report is made for and that is one for files, else html
        #[arg(long, value_name = "FORM")]
        format: Option<Format>,
        /// The file; - is stdout [default: named for report, account and range, in `out` of [reports] in the settings]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// A file for each account, with an index, in the folder that --out names. Repeated, it makes what is missing, as of
        /// the instant of the first run
        #[arg(long, requires = "out", conflicts_with = "account")]
        all: bool,
    },
}

/// What to report.
#[derive(Debug, clap::Args)]
pub struct Asked {
    /// The report, as `creditd report list` names it
    #[arg(default_value = "statement-monthly")]
    name: String,
    /// Only these accounts, repeated or separated by commas; else all
    #[arg(long, value_name = "ACCOUNT", value_delimiter = ',')]
    account: Vec<AccountId>,
    /// This month: 2013-03
    #[arg(long, value_name = "MONTH", conflicts_with_all = ["from", "to"])]
    month: Option<Month>,
    /// From this day on, or this time of it: 2013-03-10T06:00, by the clock of each account
    #[arg(long, value_name = "DATE|TIME")]
    from: Option<LocalTime>,
    /// Up to and without this day or time
    #[arg(long, value_name = "DATE|TIME")]
    to: Option<LocalTime>,
    /// By range, day, week or month, and broken down by action, user, type or status: --by month,action; or into its
    /// transactions: --by transaction
    #[arg(long, value_name = "WORDS", value_delimiter = ',', value_parser = super::args::word(By::ALL, By::as_str), hide_possible_values = true)]
    by: Vec<By>,
    /// Only transactions of this action, of a breakdown or a log; repeated for several, empty for those without one
    #[arg(long, value_name = "ACTION", value_parser = filter_name::<ActionCode>)]
    action: Vec<Option<ActionCode>>,
    /// Only transactions of this user; repeated for several, empty for those without one
    #[arg(long, value_name = "USER", value_parser = filter_name::<UserId>)]
    user: Vec<Option<UserId>>,
    /// Only transactions that took credits of this type; repeated for several
    #[arg(long = "type", value_name = "TYPE", value_parser = super::args::word(Touched::ALL, Touched::as_str))]
    types: Vec<Touched>,
    /// Only transactions that ended so; repeated for several
    #[arg(long, value_name = "STATUS", value_parser = super::args::word(Ending::ALL, Ending::as_str))]
    status: Vec<Ending>,
    /// Compare the totals with those of the range before: a month with the month before, else as many days with those before
    #[arg(long)]
    compare: bool,
    /// Per account, or the sum of the whole platform
    #[arg(long, value_name = "SCOPE", value_parser = super::args::word(Scope::ALL, Scope::as_str))]
    scope: Option<Scope>,
    /// As it read at this instant: what was recorded later does not count
    #[arg(long, value_name = "INSTANT")]
    as_of: Option<Instant>,
}

/// One of the words of `--by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Period(Grouping),
    Use(Breakdown),
}

impl By {
    const ALL: &'static [By] = &[
        By::Period(Grouping::Range),
        By::Period(Grouping::Day),
        By::Period(Grouping::Week),
        By::Period(Grouping::Month),
        By::Use(Breakdown::Action),
        By::Use(Breakdown::User),
        By::Use(Breakdown::Type),
        By::Use(Breakdown::Status),
        By::Use(Breakdown::Transaction),
    ];

    const fn as_str(self) -> &'static str {
        match self {
            By::Period(grouping) => grouping.as_str(),
            By::Use(breakdown) => breakdown.as_str(),
        }
    }

    /// One of each kind at most.
    fn parts(all: &[By]) -> Result<(Option<Grouping>, Option<Breakdown>), Failure> {
        let (mut grouping, mut breakdown) = (None, None);
        for by in all {
            let before = match *by {
                By::Period(period) => grouping.replace(period).map(Grouping::as_str),
                By::Use(what) => breakdown.replace(what).map(Breakdown::as_str),
            };
            if let Some(before) = before {
                let what = format!(
                    "--by has both {before} and {}: say one of range, day, week and month, and one of action, user, type, status and transaction",
                    by.as_str()
                );
                return Err(Failure::message(Exit::Usage, what));
            }
        }
        Ok((grouping, breakdown))
    }
}

impl Report {
    /// Whether nothing is there of it before it is done: only a folder of reports grows file by file.
    pub(super) const fn leaves_nothing(&self) -> bool {
        !matches!(self, Report::Export { all: true, .. })
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Report::List => list(context),
            Report::Check { files } => check(context, files),
            Report::Schema => Ok(print_document(&definition_schema())?),
            Report::Show(asked) => {
                let layout = context.layout();
                let format = Format::from(layout.mode);
                let model = asked.model(context, format).await?;
                let shown = move || {
                    let mut out = stdout();
                    write(&model, format, layout.width.unwrap_or(WIDTH), &mut out)?;
                    Ok(out.flush()?)
                };
                away(shown).await?
            }
            Report::Export { asked, format, out: Some(dir), all: true } => {
                if dir == Path::new("-") {
                    let what = "--all writes a folder, which stdout is not: name one by --out";
                    return Err(Failure::message(Exit::Usage, what.to_owned()));
                }
                // A folder's name has no ending that says a form.
                let format = form_of(format, context.output(), None, asked.usual(context)?)?;
                all::export(context, &asked, format, &dir).await
            }
            Report::Export { asked, format, out, .. } => export(context, &asked, format, out).await,
        }
    }
}

/// Definitions that cannot be used and are named beside a report.
const BAD_NAMED_MAX: usize = 5;
/// Columns of a table that goes to no terminal.
const WIDTH: u16 = 160;

/// All definitions. What is wrong with one is said, and keeps nobody from the others.
fn definitions(context: &Context) -> Result<Definitions, Failure> {
    let definitions = Definitions::load(context.settings()?.reports.dir.as_deref()).or_exit(Exit::Config)?;
    for (_, why) in definitions.bad().take(BAD_NAMED_MAX) {
        context.warn(format_args!("a report definition cannot be used: {why}"));
    }
    if let Some(more) = definitions.bad().len().checked_sub(BAD_NAMED_MAX).filter(|more| *more > 0) {
        context.warn(format_args!("and {more} more; `creditd report check` names them all"));
    }
    Ok(definitions)
}

fn list(context: &Context) -> Result<(), Failure> {
    let columns = ["name", "title", "scope", "range", "by", "description"].map(Column::text);
    // A table has no room for the last, a sentence.
    let shown = if context.is_for_people() { columns.len() - 1 } else { columns.len() };
    let mut list = context.list(LIST, &columns[..shown])?;
    for definition in definitions(context)?.iter() {
        list.row(described(definition).into_iter().take(shown).collect())?;
    }
    Ok(list.finish()?)
}

/// Looks at each file even when another is wrong, so that one call finds everything.
fn check(context: &Context, files: Vec<PathBuf>) -> Result<(), Failure> {
    let files = match (files.is_empty(), &context.settings()?.reports.dir) {
        (false, _) => files,
        (true, Some(dir)) => Definitions::files(dir).or_exit(Exit::Config)?,
        (true, None) => {
            context.say("All reports are built in; `dir` of [reports] in the settings names a folder of your own.");
            return Ok(());
        }
    };
    // A row for each mistake.
    let columns = ["name", "file", "ok", "what"].map(Column::text);
    let mut list = context.list(CHECK, &columns)?;
    let mut bad = 0_usize;
    for path in &files {
        let read = Definition::read(path);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let said = match &read {
            Ok(definition) => vec![definition.title.clone()],
            Err(DefinitionError::Invalid { file, mistakes }) => {
                mistakes.iter().map(|mistake| format!("{file}, {mistake}")).collect()
            }
            Err(error) => vec![error.to_string()],
        };
        bad += usize::from(read.is_err());
        for what in said {
            list.row(vec![
                Cell::Text(name.clone()),
                Cell::Text(path.display().to_string()),
                read.is_ok().into(),
                Cell::Text(what),
            ])?;
        }
    }
    list.finish()?;
    match bad {
        0 => Ok(()),
        bad => {
            let what =
                format!("{} of {} cannot be used", grouped(bad as u64), counted(files.len() as u64, "definition"));
            Err(Failure::message(Exit::Config, what))
        }
    }
}

fn described(definition: &Definition) -> Vec<Cell> {
    let Definition { name, title, scope, range, group_by, breakdown, description, .. } = definition;
    let by = breakdown.map_or(group_by.to_string(), |breakdown| format!("{group_by},{breakdown}"));
    [name.clone(), title.clone(), scope.to_string(), range.to_string(), by, description.clone()]
        .into_iter()
        .map(Cell::Text)
        .collect()
}

impl Asked {
    /// The first form that the report is made for and that is one for files. What is wrong with it is said where it is read.
    fn usual(&self, context: &Context) -> Result<Format, Failure> {
        let definitions = Definitions::load(context.settings()?.reports.dir.as_deref()).or_exit(Exit::Config)?;
        let formats = definitions.get(&self.name).map(|definition| definition.formats.as_slice()).unwrap_or_default();
        Ok(formats.iter().copied().find(|format| *format != Format::Table).unwrap_or(Format::Html))
    }

    /// What is asked of `format`, seen from `now`.
    fn spec(&self, context: &Context, now: Instant, format: Format) -> Result<ReportSpec, Failure> {
        let definitions = Definitions::load(context.settings()?.reports.dir.as_deref()).or_exit(Exit::Config)?;
        let definition = definitions.get(&self.name).map_err(|error| match error {
            DefinitionError::Bad { .. } => Failure::new(Exit::Config, error),
            error => Failure::new(Exit::Usage, error),
        })?;
        let (from, to) = match self.month.map(DateRange::of_month).transpose().or_exit(Exit::Usage)? {
            Some(range) => (Some(range.from()), Some(range.to())),
            None => (self.from, self.to),
        };
        let (group_by, breakdown) = By::parts(&self.by)?;
        let filters = Filters {
            actions: self.action.clone(),
            users: self.user.clone(),
            types: self.types.clone(),
            statuses: self.status.clone(),
        };
        let (scope, compare) = (self.scope, self.compare);
        let overrides = Overrides { from, to, group_by, breakdown, scope, columns: None, filters, compare };
        // A definition's "today" is UTC's: the same command gives the same report wherever it is typed.
        let spec = definition.resolve(&overrides, now.to_utc().date_naive(), now).or_exit(Exit::Usage)?;
        Ok(if format.has_lines_only() { spec.bare() } else { spec.drawn(format.is_drawn()) })
    }

    async fn model(&self, context: &Context, format: Format) -> Result<ReportModel, Failure> {
        let app = context.app().await?;
        app.check_as_of(self.as_of)?;
        let spec = self.spec(context, self.as_of.unwrap_or(app.now()), format)?;
        let chosen = (!self.account.is_empty()).then_some(self.account.as_slice());
        let count = match chosen {
            Some(chosen) => chosen.len() as u64,
            None => app.store.count_accounts().await?,
        };
        check_begun(app, chosen, &spec).await?;
        spec.check_size(usize::try_from(count).unwrap_or(usize::MAX)).or_exit(Exit::Usage)?;
        known_actions(app, spec.filters()).await?;
        let progress = context.progress("reading");
        let model = read(app, chosen, &spec, self.as_of, format, &mut progress.report()).await?;
        drop(progress);
        if self.compare && format.has_lines_only() {
            context
                .say(format_args!("{format} has lines and nothing beside them: --compare is left out; json has both"));
        }
        Ok(model)
    }
}

/// A range that lies ahead was mistyped, or is asked for too early: its report would read as if nothing had happened in it.
async fn check_begun(app: &App, chosen: Option<&[AccountId]>, spec: &ReportSpec) -> Result<(), Failure> {
    let (range, now) = (spec.range(), spec.as_of());
    if range.has_begun_everywhere(now) {
        return Ok(());
    }
    let accounts = app.store.report_accounts(chosen).await?;
    if accounts.is_empty() || accounts.iter().any(|account| range.instants_in(&account.calendar).0 <= now) {
        return Ok(());
    }
    let what =
        format!("the range from {} has not begun: the report reads as of {now}; let it begin earlier", range.from());
    Err(Failure::message(Exit::Usage, what))
}

/// An action that is not in the matrix was misspelt: no transaction can be of it.
async fn known_actions(app: &App, filters: &Filters) -> Result<(), Failure> {
    let asked: Vec<&ActionCode> = filters.actions.iter().flatten().collect();
    if asked.is_empty() {
        return Ok(());
    }
    let prices = app.store.prices().await?;
    match asked.into_iter().find(|code| prices.iter().all(|action| action.code != **code)) {
        None => Ok(()),
        Some(unknown) => {
            let what = format!("there is no action {unknown}; `creditd actions list` shows those there are");
            Err(Failure::message(Exit::Usage, what))
        }
    }
}

/// Reads and adds up a report, with what its charts mark and what actions are called where `format` is for people.
async fn read(
    app: &App,
    chosen: Option<&[AccountId]>,
    spec: &ReportSpec,
    as_of: Option<Instant>,
    format: Format,
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> anyhow::Result<ReportModel> {
    let reading = app.read_report(chosen, spec, as_of, progress).await?;
    let drawn = spec.by_day(reading.accounts.len());
    let marks = match reading.accounts.as_slice() {
        [one] if format.has_charts() => app.marks(&one.id, drawn.as_ref().unwrap_or(spec), as_of).await?,
        _ => None,
    };
    let titles = if format.has_charts() { app.titles().await? } else { BTreeMap::new() };
    let spec = spec.clone();
    Ok(away(move || make(&spec, reading)).await??.with_marks(marks).with_titles(titles))
}

/// Does `work`, which keeps a processor busy for a while, on a thread of its own: whoever is told to stop meanwhile does so.
async fn away<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("a report was not finished")
}

async fn export(context: &Context, asked: &Asked, format: Option<Format>, out: Option<PathBuf>) -> Result<(), Failure> {
    if let Some(folder) = out.as_deref().filter(|out| out.is_dir()) {
        let what = format!(
            "{}: is a folder; name a file in it, or say --all for a file for each account in a folder of their own",
            folder.display()
        );
        return Err(Failure::message(Exit::Usage, what));
    }
    let format = form_of(format, context.output(), out.as_deref(), asked.usual(context)?)?;
    let is_stdout = out.as_deref() == Some(Path::new("-"));
    if format.is_file_only() && is_stdout {
        let what = format!("{format} is no text and does not go to stdout: name a file by --out, or leave it out");
        return Err(Failure::message(Exit::Usage, what));
    }
    let model = Arc::new(asked.model(context, format).await?);
    let rendered = Arc::clone(&model);
    let written = move |out: &mut dyn Write| match write(&rendered, format, WIDTH, out) {
        Err(error @ (RenderError::Unfit(_) | RenderError::NoChart { .. })) => {
            Err(Failure::message(Exit::Usage, error.to_string()))
        }
        written => Ok(written.and_then(|()| Ok(out.flush()?))?),
    };
    let path = match out {
        Some(_) if is_stdout => return away(move || written(&mut stdout())).await?,
        Some(path) => path,
        None => {
            let folder = context.app().await?.settings.reports.out.clone();
            std::fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
            let range = model.spec.range();
            let range = format!("{}-to-{}", range.from(), range.to()).replace(':', "");
            // Reports of one account after the other do not take each other's place.
            let account = match asked.account.as_slice() {
                [account] => format!("-{account}"),
                _ => String::new(),
            };
            folder.join(format!("{}{account}-{range}.{}", asked.name, format.extension()))
        }
    };
    // Given up meanwhile, the file disappears with its name, whoever still writes to it.
    // A pipe opens when somebody reads it.
    let begun = path.clone();
    let file = away(move || WholeFile::create(&begun)).await??;
    let mut out = BufWriter::new(file.handle()?);
    away(move || written(&mut out)).await??;
    file.replace()?;
    let what = if model.is_log() { "transaction" } else { "line" };
    let count = counted(model.record_count() as u64, what);
    context.say(match shown_of(&model, format) {
        None => format!("{}: {count}", path.display()),
        Some(0) => {
            format!(
                "{}: only the sums of {count}, which are too many for a page; --format csv has each",
                path.display()
            )
        }
        Some(some) => {
            format!("{}: the first {} of {count}; --format csv has them all", path.display(), grouped(some as u64))
        }
    });
    Ok(())
}

/// The form that `--format`, `--output` and the file's ending agree on; the `usual` one where there is none of them and no file is
/// named.
fn form_of(
    format: Option<Format>,
    output: Option<OutputMode>,
    out: Option<&Path>,
    usual: Format,
) -> Result<Format, Failure> {
    let by_output = output.map(Format::from);
    let by_ending = |out| Format::ALL.iter().copied().find(|format| Some(format.extension()) == ending(out));
    let mut said = vec![
        (format!("--format {}", format.unwrap_or(Format::Html)), format),
        (format!("--output {}", by_output.unwrap_or(Format::Html)), by_output),
    ];
    said.extend(out.map(|out| (format!("the ending of {}", out.display()), by_ending(out))));
    match (agreed(&said)?, out) {
        (Some(form), _) => Ok(form),
        (None, None) => Ok(usual),
        (None, Some(out)) => {
            let known: Vec<&str> = Format::ALL.iter().map(|format| format.as_str()).collect();
            let what = format!("{}: name the form of the report by --format: {}", out.display(), known.join(", "));
            Err(Failure::message(Exit::Usage, what))
        }
    }
}

impl From<OutputMode> for Format {
    fn from(mode: OutputMode) -> Format {
        match mode {
            OutputMode::Table => Format::Table,
            OutputMode::Json => Format::Json,
            OutputMode::Csv => Format::Csv,
            OutputMode::Ndjson => Format::Ndjson,
        }
    }
}
