//! `creditd doctor`: whether everything that creditd needs is well, and what to do where it is not.

use super::Context;
use super::exit::{Exit, Failure};
use super::output::{Cell, Column};
use crate::core::counting::counted;
use crate::jobs::doctor::{Finding, Sample, State, examine};

/// Look at settings, ledger, disk, clock, mail and jobs, and say what to do; exit code 1 when something fails
///
/// Nothing is changed. Each line is `ok`, `warn` (it works, look at it), `fail` (it does not work) or `not looked at`
/// (something else comes first).
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// So many accounts are proved, as `creditd verify` proves all of them
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=1000))]
    sample: u16,
}

impl Doctor {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let settings = context.settings().map_err(|failure| failure.text().unwrap_or_default());
        let sample = Sample { accounts: usize::from(self.sample), seed: fastrand::u64(..) };
        let findings = examine(settings, context.clock(), sample, context.stop.clone()).await;
        let columns = ["check", "state", "says", "fix"].map(Column::text);
        let mut list = context.list("creditd.doctor/1", &columns)?;
        for Finding { check, state, says, fix } in &findings {
            let fix = fix.clone().map_or(Cell::Null, Cell::Text);
            list.row(vec![(*check).into(), state.as_str().into(), says.as_str().into(), fix])?;
        }
        list.finish()?;
        let count = |state| findings.iter().filter(|finding| finding.state == state).count() as u64;
        let (failed, warned) = (count(State::Fail), count(State::Warn));
        if failed > 0 {
            let what = format!("{} failed; see `fix` for each", counted(failed, "check"));
            return Err(Failure::message(Exit::Failure, what));
        }
        context.say(match warned {
            0 => "All is well.".to_owned(),
            _ => format!("Nothing failed; {} to look at.", counted(warned, "thing")),
        });
        Ok(())
    }
}
