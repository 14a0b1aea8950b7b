//! `creditd config`: which settings are in force, and whether they can be, and what an editor may know of them.

use super::Context;
use super::exit::{Exit, Failure};
use super::output::{Cell, Column, print_document};
use crate::config::{FILE_NAME, schedules, settings_schema};
use crate::core::counting::counted;
use crate::notice::{Sender, Templates};
use crate::report::Definitions;
use crate::store::Place;
use std::path::{Path, PathBuf};

/// Settings: check, show, schema
#[derive(Debug, clap::Subcommand)]
pub(super) enum Config {
    /// Check settings, the place of the ledger, alert levels, schedules, report definitions and mail templates; exit code 4 when
    /// something is wrong
    Check,
    Show(Show),
    /// Print the JSON Schema of creditd.toml, for editors
    ///
    /// Example: creditd config schema > creditd.schema.json, and `#:schema creditd.schema.json` as the
    /// first line of creditd.toml
    #[command(verbatim_doc_comment)]
    Schema,
}

impl Config {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Config::Check => check(context),
            Config::Show(command) => command.run(context),
            Config::Schema => Ok(print_document(&settings_schema())?),
        }
    }
}

/// Show every setting with its value in force
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Also where each value comes from: default, file and line, environment or flag
    #[arg(long)]
    origin: bool,
}

impl Show {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let settings = context.settings()?;
        let columns = [Column::text("key"), Column::text("value"), Column::text("origin")];
        let count = if self.origin { 3 } else { 2 };
        let mut list = context.list("creditd.settings/1", &columns[..count])?;
        for shown in settings.shown() {
            let row = [shown.key.as_str().into(), shown.value.as_deref().into(), shown.origin.to_string().into()];
            list.row(row[..count].to_vec())?;
        }
        Ok(list.finish()?)
    }
}

/// Looks at each part even when another is wrong, so that one call finds everything.
fn check(context: &Context) -> Result<(), Failure> {
    let settings = context.settings()?;
    let file = context.named_config().unwrap_or_else(|| PathBuf::from(FILE_NAME));
    let from_dir = |dir: Option<&Path>| dir.map_or_else(|| "built-in".to_owned(), |dir| dir.display().to_string());
    let mut problems: Vec<String> = Vec::new();
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut part = |name: &str, source: String, result: Result<String, String>| {
        let (ok, what) = match result {
            Ok(what) => (true, what),
            Err(problem) => {
                problems.push(problem.clone());
                (false, problem)
            }
        };
        rows.push(vec![name.into(), source.into(), ok.into(), what.into()]);
    };

    let source = if file.exists() { file.display().to_string() } else { "defaults".to_owned() };
    let set = settings.shown().iter().filter(|shown| shown.origin != crate::config::Origin::Default).count();
    part("settings", source.clone(), Ok(format!("{set} set, the others have their defaults")));
    let ledger = settings.shown().iter().find(|shown| shown.key == "database_url");
    let source_of_url = ledger.map_or_else(String::new, |shown| shown.origin.to_string());
    let place = Place::of(&settings.database_url);
    part("ledger", source_of_url, place.map(|place| place.to_string()).map_err(|error| error.to_string()));
    part("alert levels", source, Ok(settings.alerts.levels.to_string()));
    let cron = settings.cron.dir.as_deref();
    let loaded = schedules::load(cron).map(|all| format!("{} jobs", all.len())).map_err(|error| error.to_string());
    part("schedules", from_dir(cron), loaded);
    let reports = settings.reports.dir.as_deref();
    part("report definitions", from_dir(reports), definitions(reports));
    let templates = settings.templates.dir.as_deref();
    let sender = Sender { mailbox: settings.mail.from.clone(), buy_url: settings.credits.buy_url.clone() };
    let loaded = Templates::load(templates, sender).map(|_| "samples of every notice could be made".to_owned());
    part("mail templates", from_dir(templates), loaded.map_err(|error| error.to_string()));

    let columns = [Column::text("part"), Column::text("source"), Column::text("ok"), Column::text("what")];
    let mut list = context.list("creditd.config-check/1", &columns)?;
    rows.into_iter().try_for_each(|row| list.row(row))?;
    list.finish()?;
    if problems.is_empty() { Ok(()) } else { Err(Failure::message(Exit::Config, problems.join("\n"))) }
}

/// How many reports there are, or what is wrong with each definition that cannot be used.
fn definitions(dir: Option<&Path>) -> Result<String, String> {
    let all = Definitions::load(dir).map_err(|error| error.to_string())?;
    let bad: Vec<&str> = all.bad().map(|(_, why)| why).collect();
    if bad.is_empty() { Ok(counted(all.iter().count() as u64, "report")) } else { Err(bad.join("\n")) }
}
