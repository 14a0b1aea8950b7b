//! `creditd serve`: all jobs on their schedules, until it is told to stop.

use super::Context;
use super::exit::{Exit, Failure, OrExit};
use crate::app::App;
use crate::config::{DATABASE_URL, FILE_NAME, schedules};
use crate::core::schedule::Job;
use crate::daemon;
use crate::jobs::Kit;
use crate::report::Definitions;
use crate::store::Place;
use crate::web::{self, Listener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Run all jobs on their schedules until stopped by Ctrl-C or SIGTERM
///
/// In a folder without settings and ledger, and where none are named, it makes them as `creditd init` does.
#[derive(Debug, clap::Args)]
pub struct Serve {}

impl Serve {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let is_new = super::init::make_where_nothing_is(context).await?;
        let app = context.app().await?;
        if context.clock().is_fixed() {
            return Err(Failure::message(
                Exit::Usage,
                "serve lives on a clock that moves; leave --now (CREDITD_NOW) out, or let it follow a file: @FILE",
            ));
        }
        let schedules = schedules::load(app.settings.cron.dir.as_deref()).or_exit(Exit::Config)?;
        // Jobs need none of them.
        if let Err(error) = Definitions::load(app.settings.reports.dir.as_deref()) {
            tracing::warn!(reason = %error, "`creditd report` can make no report");
        }
        let listener = match app.settings.web.listen {
            Some(at) => Some(Listener::bind(at).await.or_exit(Exit::Config)?),
            None => None,
        };
        let kit = Kit::open(app.clone()).await.and_then(Kit::with_pings).or_exit(Exit::Config)?;
        let places = places(app, context.named_config(), listener.as_ref());
        say_where(context, &places, is_new);
        let kit = Arc::new(kit);
        // It answers until all jobs have stopped, so that whoever asks meanwhile hears what is going on.
        let done = CancellationToken::new();
        let answering = listener.map(|listener| {
            let router = web::router(web::State::new(Arc::clone(&kit)));
            tokio::spawn(listener.serve(router, done.clone()))
        });
        let served = daemon::serve(Arc::clone(&kit), schedules, context.stop.clone()).await;
        done.cancel();
        if let Some(answering) = answering {
            // A listener that panicked has nothing left to finish.
            let _ = answering.await;
        }
        if let Some(kit) = Arc::into_inner(kit) {
            kit.finish().await;
        }
        served?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Where everything is, each with how to have it elsewhere.
fn places(app: &App, named: Option<PathBuf>, listener: Option<&Listener>) -> Vec<(&'static str, String, &'static str)> {
    let settings = &app.settings;
    let shown = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let ledger = match app.store.place() {
        Place::File(file) => shown(file),
        server @ Place::Server { .. } => server.to_string(),
    };
    let change = |name| match name {
        "mail" => "dir in [mail]; transport = \"smtp\" sends it instead",
        "sealed" => "dir in [sealed]",
        _ => "out in [reports]",
    };
    let folders = settings.folders();
    let folders = folders.iter().map(|(name, folder)| (*name, shown(folder), change(*name)));
    let file = named.unwrap_or_else(|| PathBuf::from(FILE_NAME));
    let file = if file.exists() { shown(&file) } else { "no file, all by default".to_owned() };
    let mut places = vec![("ledger", ledger, DATABASE_URL)];
    places.extend(folders);
    places.extend([
        (
            "listener",
            listener.map_or_else(|| "off".to_owned(), |listener| format!("http://{}", listener.at())),
            "listen in [web]",
        ),
        (
            "schedules",
            settings.cron.dir.as_deref().map_or_else(|| "built in".to_owned(), shown),
            "dir in [cron]; `creditd jobs list` shows them",
        ),
        ("settings", file, "--config; `creditd config show` lists all"),
    ]);
    places
}

/// Says where everything is, for nobody may have set anything.
fn say_where(context: &Context, places: &[(&'static str, String, &'static str)], is_new: bool) {
    let is_text = context.log_is_text();
    if is_new {
        tracing::info!("there was no ledger and none was named, so a new and empty one was made");
    }
    if is_text {
        for (name, place, change) in places {
            context.say(format_args!("  {name:<10} {place:<44} {change}"));
        }
    }
    let place =
        |wanted: &str| places.iter().find(|(name, ..)| *name == wanted && !is_text).map(|(_, place, _)| place.as_str());
    let folders = places.iter().filter(|(name, ..)| ["mail", "reports", "sealed"].contains(name) && !is_text);
    let folders: Vec<String> = folders.map(|(name, place, _)| format!("{name} in {place}")).collect();
    let jobs: Vec<&str> = Job::ALL.iter().map(|job| job.as_str()).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        ledger = place("ledger"),
        folders = (!is_text).then(|| folders.join(", ")),
        listener = place("listener"),
        schedules = place("schedules"),
        settings = place("settings"),
        jobs = jobs.join(", "),
        "serving"
    );
}
