//! Pythons with a package that reads our files back.

use std::io::Write as _;
use std::process::Command;

/// Pythons to ask: the first on the path, and Debian's, to which its own packages belong.
const PYTHONS: &[&str] = &["python3", "/usr/bin/python3"];

/// A python that has `package`. Where there is none, what is `untested` then is said loudly, or the test fails if the
/// variable `required` is set to 1.
#[track_caller]
pub fn python_with(package: &str, required: &str, untested: &str) -> Option<&'static str> {
    let has_package = |python: &&&str| {
        let asked = Command::new(python).args(["-c", &format!("import {package}")]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    let found = PYTHONS.iter().find(has_package).copied();
    assert!(
        found.is_some() || !is_set(required),
        "{package} is not installed for any of {PYTHONS:?} and {required} is set"
    );
    if found.is_none() {
        // Past the capture of the tests' output: whoever looks at a green run must see what was not tested.
        let _ = writeln!(std::io::stderr().lock(), "\nNOT TESTED: {untested} to test them\n");
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "the environment of a test run is its only setting")]
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}
