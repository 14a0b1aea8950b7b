//! `creditd help`: a command explained, the exit codes, or the causes of refusals.

use super::Cli;
use super::exit::{Exit, Failure};
use super::output::stdout;
use crate::core::ledger::Cause;
use clap::CommandFactory;
use std::io::Write;

const EXIT_CODES: &str = "exit-codes";
const REFUSALS: &str = "refusals";

/// Explain a command, or list the exit codes (exit-codes) or the causes of refusals (refusals)
#[derive(Debug, clap::Args)]
pub(super) struct Help {
    /// The command, such as: account create
    #[arg(value_name = "COMMAND")]
    path: Vec<String>,
}

impl Help {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut out = stdout();
        if self.path == [EXIT_CODES] {
            out.write_all(Exit::help().as_bytes())?;
        } else if self.path == [REFUSALS] {
            out.write_all(refusals().as_bytes())?;
        } else {
            write!(out, "{}", find(&self.path)?.render_long_help())?;
        }
        Ok(out.flush()?)
    }
}

/// Every cause of a refusal with its exit code, in the order in which they are looked for.
fn refusals() -> String {
    let line = |exit: Exit, code: &str, meaning: &str| format!("{:>4}  {code:<20}  {meaning}\n", exit.code());
    let unknown = line(Exit::Refused, "unknown_account", "there is no such account");
    let causes = Cause::ALL.iter().map(|cause| line(Exit::from(*cause), cause.as_str(), cause.meaning()));
    std::iter::once(unknown).chain(causes).collect()
}

/// The command at `path`, or the whole program where that is empty.
pub(super) fn find(path: &[String]) -> Result<clap::Command, Failure> {
    let mut command = Cli::command();
    command.build();
    for name in path {
        command = command.find_subcommand(name).cloned().ok_or_else(|| {
            let what = format!("there is no command {:?}; `creditd help` lists all", path.join(" "));
            Failure::message(Exit::Usage, what)
        })?;
    }
    Ok(command)
}
