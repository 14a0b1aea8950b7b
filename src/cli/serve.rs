//! `creditd serve`: all jobs on their schedules, until it is told to stop.

use super::Context;
use super::exit::{Exit, Failure, OrExit};
use crate::config::schedules;
use crate::daemon;
use crate::jobs::Kit;
use std::sync::Arc;

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
        let kit = Arc::new(Kit::open(app.clone()).await.or_exit(Exit::Config)?);
        let jobs: Vec<&str> = schedules.iter().map(|schedule| schedule.job.as_str()).collect();
        tracing::info!(jobs = jobs.join(", "), ledger = %app.store.place(), "serving");
        daemon::serve(kit, schedules, context.stop.clone()).await?;
        tracing::info!("stopped");
        Ok(())
    }
}
