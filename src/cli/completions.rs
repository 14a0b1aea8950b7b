//! `creditd completions`: what a shell needs to complete command lines.

use super::Cli;
use super::exit::Failure;
use super::output::stdout;
use clap::CommandFactory;
use std::io::Write;

/// Print the completions of a shell; for bash: source <(creditd completions bash)
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// Which shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        // Through memory: the generator panics when its output does not take everything.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "creditd", &mut script);
        let mut out = stdout();
        out.write_all(&script)?;
        Ok(out.flush()?)
    }
}
