//! `creditd help`: a command explained, or the exit codes.

use super::Cli;
use super::exit::{Exit, Failure};
use super::output::stdout;
use clap::CommandFactory;
use std::io::Write;

const EXIT_CODES: &str = "exit-codes";

/// Explain a command; `creditd help exit-codes` lists the exit codes
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
        } else {
            let mut command = Cli::command();
            command.build();
            write!(out, "{}", find(command, &self.path)?.render_long_help())?;
        }
        Ok(out.flush()?)
    }
}

fn find(mut command: clap::Command, path: &[String]) -> Result<clap::Command, Failure> {
    for name in path {
        command = command.find_subcommand(name).cloned().ok_or_else(|| {
            let what = format!("there is no command {:?}; `creditd help` lists all", path.join(" "));
            Failure::message(Exit::Usage, what)
        })?;
    }
    Ok(command)
}
