//! `creditd serve`: all jobs on their schedules, until it is told to stop.

use super::Context;
use super::exit::{Exit, Failure, OrExit};
use crate::app::App;
use crate::config::schedules;
use crate::core::schedule::Job;
use crate::daemon;
use crate::jobs::Kit;
use crate::store::Place;
use crate::web::{self, Listener};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Run all jobs on their schedules until stopped by Ctrl-C or SIGTERM
#[derive(Debug, clap::Args)]
pub struct Serve {}

impl Serve {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        if context.clock().is_fixed() {
            return Err(Failure::message(
                Exit::Usage,
                "serve lives on a clock that moves; leave --now (CREDITD_NOW) out, or let it follow a file: @FILE",
            ));
        }
        let schedules = schedules::load(app.settings.cron.dir.as_deref()).or_exit(Exit::Config)?;
        let listener = match app.settings.web.listen {
            Some(at) => Some(Listener::bind(at).await.or_exit(Exit::Config)?),
            None => None,
        };
        let kit = Kit::open(app.clone()).await.and_then(Kit::with_pings).or_exit(Exit::Config)?;
        say_where(app, listener.as_ref());
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

/// Says where everything is, for nobody may have set anything.
fn say_where(app: &App, listener: Option<&Listener>) {
    let folders = app
        .settings
        .folders()
        .into_iter()
        .map(|(name, folder)| format!("{name} in {}", std::path::absolute(&folder).unwrap_or(folder).display()));
    let ledger = match app.store.place() {
        Place::File(file) => std::path::absolute(file).unwrap_or_else(|_| file.clone()).display().to_string(),
        server @ Place::Server { .. } => server.to_string(),
    };
    let listener = listener.map_or("off".to_owned(), |listener| format!("http://{}", listener.at()));
    let jobs: Vec<&str> = Job::ALL.iter().map(|job| job.as_str()).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        ledger,
        folders = folders.collect::<Vec<_>>().join(", "),
        listener,
        jobs = jobs.join(", "),
        "serving"
    );
}
