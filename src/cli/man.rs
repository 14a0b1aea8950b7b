//! `creditd man`: the manual pages of creditd and each of its commands, made of what `--help` says.

use super::exit::{Exit, Failure};
use super::files::WholeFile;
use super::help::find;
use super::output::stdout;
use anyhow::Context as _;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Print a manual page, or write all of them into a folder; to read one: creditd man | man -l -
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// The command, such as: account create; without it, the page of creditd
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    path: Vec<String>,
    /// The folder for all pages, such as /usr/local/share/man/man1; it is made when it is missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self) -> Result<(), Failure> {
        let command = find(&self.path)?;
        match self.out {
            Some(dir) => {
                std::fs::create_dir_all(&dir).with_context(|| format!("{}: cannot be made", dir.display()))?;
                Ok(write_all(command, &dir)?)
            }
            None => {
                let mut out = stdout();
                out.write_all(&page(command)?)?;
                Ok(out.flush()?)
            }
        }
    }
}

/// Writes the page of `command` and those of the commands below it.
fn write_all(command: clap::Command, dir: &Path) -> anyhow::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_all(below.clone(), dir)?;
    }
    let mut file = WholeFile::create(&dir.join(clap_mangen::Man::new(command.clone()).get_filename()))?;
    file.write_all(&page(command)?)?;
    file.replace()
}

fn page(command: clap::Command) -> std::io::Result<Vec<u8>> {
    let is_program = command.get_subcommands().next().is_some() && command.get_name() == "creditd";
    let source = format!("creditd {}", env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    clap_mangen::Man::new(command).source(source).manual("creditd").render(&mut page)?;
    if is_program {
        more().to_writer(&mut page)?;
    }
    Ok(page)
}

/// What is said of creditd as a whole.
fn more() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        roff.control("TP", []).text([bold(exit.code().to_string())]).text([roman(exit.meaning())]);
    }
    roff.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in [
        ("CREDITD_CONFIG", "The settings file, where --config names none."),
        ("CREDITD_NOW", "The instant that it is, on a sandbox only."),
        ("CREDITD_SMTP_PASSWORD", "The password for the mail server."),
        ("CREDITD__SECTION__KEY", "A setting; it beats the file. `creditd config show` lists all."),
    ] {
        roff.control("TP", []).text([bold(name)]).text([roman(meaning)]);
    }
    roff.control("SH", ["FILES"]);
    roff.control("TP", []).text([bold("creditd.toml")]).text([roman("The settings, in the working folder.")]);
    roff
}
