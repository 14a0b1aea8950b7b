//! The programs that prove a journal: hledger and Beancount's bean-check, as they are installed.
//!
//! Where one is not installed, what needs it says so and passes without being run, or fails when
//! `CREDITD_REQUIRE_HLEDGER=1` or `CREDITD_REQUIRE_BEANCOUNT=1` is set.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A program that proves a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prover {
    Hledger,
    Beancount,
}

impl Prover {
    pub const ALL: [Prover; 2] = [Prover::Hledger, Prover::Beancount];

    /// The form of the export that it reads.
    pub const fn format(self) -> &'static str {
        match self {
            Prover::Hledger => "hledger",
            Prover::Beancount => "beancount",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Prover::Hledger => "hledger",
            Prover::Beancount => "bean-check",
        }
    }

    /// Whether it is installed. What is not says so once, loudly, or fails where it is required.
    pub fn is_there(self) -> bool {
        static THERE: [OnceLock<bool>; Prover::ALL.len()] = [const { OnceLock::new() }; Prover::ALL.len()];
        *THERE[self as usize].get_or_init(|| {
            let is_there = Command::new(self.program()).arg("--version").output().is_ok();
            let (name, required) = (self.program(), format!("CREDITD_REQUIRE_{}", self.format().to_uppercase()));
            assert!(is_there || !is_set(&required), "{name} is not installed and {required} is set");
            if !is_there {
                // Past the capture of the tests' output: whoever looks at a green run must see what was not tested.
                let said =
                    format!("NOT TESTED: journals by {name}; install it (Debian: {}) to test them", self.format());
                let _ = writeln!(std::io::stderr().lock(), "\n{said}\n");
            }
            is_there
        })
    }

    /// Whether the journal adds up; what is wrong otherwise.
    pub fn prove(self, journal: &Path) -> Result<(), String> {
        let output = match self {
            Prover::Hledger => hledger(journal, &["check", "--strict", "payees"]),
            Prover::Beancount => {
                Command::new("bean-check").arg("--no-cache").arg(journal).output().expect("bean-check runs")
            }
        };
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        // What is wrong is said, and what is said is wrong.
        if output.status.success() && said.trim().is_empty() { Ok(()) } else { Err(said) }
    }
}

/// Asks hledger about a journal.
pub fn hledger(journal: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("hledger");
    // In the locale C it would not read texts beyond ASCII.
    command.env("LANG", "C.UTF-8").env("LC_ALL", "C.UTF-8").arg("--file").arg(journal).args(args);
    command.output().expect("hledger runs")
}

/// What hledger answers.
#[track_caller]
pub fn asked(journal: &Path, args: &[&str]) -> String {
    let output = hledger(journal, args);
    assert!(output.status.success(), "hledger {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[expect(clippy::disallowed_methods, reason = "the environment of a test run is its only setting")]
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}
