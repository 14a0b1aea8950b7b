//! Programs of others that read our files, where they are installed.

use std::io::Write as _;
use std::process::Command;

/// Whether `name` is installed. Where it is not, what is `untested` then is said loudly, or the test fails if the variable
/// `required` is set to 1.
#[track_caller]
pub fn program(name: &str, required: &str, untested: &str) -> bool {
    let is_there = Command::new(name).arg("--version").output().is_ok();
    assert!(is_there || !is_set(required), "{name} is not installed and {required} is set");
    if !is_there {
        // Past the capture of the tests' output: whoever looks at a green run must see what was not tested.
        let _ = writeln!(std::io::stderr().lock(), "\nNOT TESTED: {untested} to test them\n");
    }
    is_there
}

#[expect(clippy::disallowed_methods, reason = "the environment of a test run is its only setting")]
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}
