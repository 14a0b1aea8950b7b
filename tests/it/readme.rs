//! The README's examples, run as a reader would: every `console` block is one part of one shell session, in a folder
//! of its own, with the real binary in the path.
//!
//! A line that begins with `$ ` is a command and one with `> ` goes on with it; what follows is what it prints, stdout
//! and stderr alike. A line of three dots stands for any lines; a command with nothing below it may print anything. A
//! command may fail only when the next one is `echo $?`.

use std::path::Path;
use std::process::{Command, Stdio};

/// Ends the output of one command; no command prints it.
const MARK: char = '\u{1e}';

/// One command and what the README says that it prints.
struct Step {
    /// Where it stands in the README, from 1.
    line: usize,
    command: String,
    shown: Vec<String>,
}

/// What a command really did.
struct Outcome<'a> {
    printed: Vec<&'a str>,
    status: &'a str,
}

#[test]
fn the_examples_do_what_they_show() {
    let steps = steps(&readme());
    assert!(steps.len() > 20, "only {} commands were found in README.md", steps.len());
    let output = run(&steps);
    let outcomes = outcomes(&output);
    let mut wrong = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let Some(Outcome { printed, status }) = outcomes.get(at) else {
            wrong.push(complaint(step, "was not reached; the shell printed at last", &output));
            break;
        };
        let is_explained = steps.get(at + 1).is_some_and(|next| next.command == "echo $?");
        if *status != "0" && !is_explained {
            wrong.push(complaint(step, &format!("ended with exit code {status}"), &printed.join("\n")));
        }
        let shown: Vec<&str> = step.shown.iter().map(String::as_str).collect();
        if !shown.is_empty() && !is_like(&shown, printed) {
            wrong.push(complaint(step, "prints something else, namely", &printed.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "README.md shows what is not so:\n\n{}", wrong.join("\n\n"));
}

fn complaint(step: &Step, what: &str, printed: &str) -> String {
    format!("README.md:{}: `{}` {what}:\n{printed}", step.line, step.command)
}

/// The text of the README.
pub(super) fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(path).expect("README.md is there")
}

/// The lines of every fenced block of `language`, each with the line of its first one.
pub(super) fn blocks<'a>(text: &'a str, language: &str) -> Vec<(usize, Vec<&'a str>)> {
    let (mut blocks, mut inside) = (Vec::new(), None);
    for (at, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut inside) {
            (Some(info), None) => inside = Some((info == language, at + 2, Vec::new())),
            (Some(_), Some(_)) => {
                blocks.extend(inside.take().filter(|(is_wanted, ..)| *is_wanted).map(|(_, line, lines)| (line, lines)));
            }
            (None, Some((_, _, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    assert!(inside.is_none(), "a fenced block is not closed");
    blocks
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (first, lines) in blocks(text, "console") {
        assert!(lines.first().is_some_and(|line| line.starts_with("$ ")), "README.md:{first}: a command is expected");
        for (at, line) in lines.into_iter().enumerate() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { line: first + at, command: command.to_owned(), shown: Vec::new() });
                }
                (None, Some(step)) => match line.strip_prefix("> ").filter(|_| step.shown.is_empty()) {
                    Some(more) => step.command.extend(["\n", more]),
                    None => step.shown.push(line.to_owned()),
                },
                (None, None) => unreachable!("a block begins with a command"),
            }
        }
    }
    steps
}

/// Runs all commands in one shell and returns what it printed, with a mark and the exit code after each.
fn run(steps: &[Step]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let binaries = Path::new(env!("CARGO_BIN_EXE_creditd")).parent().expect("the binary is in a folder");
    let mut script = format!("exec 2>&1\nPATH=\"{}:$PATH\"\n", binaries.display());
    for step in steps {
        // The exit code is handed on, for `echo $?`.
        script += &format!("{}\nended=$?; printf '\\036%s\\n' $ended; (exit $ended)\n", step.command);
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(folder.path()).stdin(Stdio::null());
    let output = shell.env_remove("CREDITD_NOW").env_remove("CREDITD_CONFIG").output().expect("there is a shell");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn outcomes(output: &str) -> Vec<Outcome<'_>> {
    let (mut outcomes, mut rest) = (Vec::new(), output);
    while let Some((printed, after)) = rest.split_once(MARK) {
        let (status, after) = after.split_once('\n').expect("an exit code ends with its line");
        outcomes.push(Outcome { printed: printed.lines().collect(), status });
        rest = after;
    }
    outcomes
}

/// Whether `lines` are those of `pattern`, in which `...` stands for any lines; spaces at the end do not count.
pub(super) fn is_like(pattern: &[&str], lines: &[&str]) -> bool {
    match (pattern.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((&"...", later)), _) => (0..=lines.len()).any(|skipped| is_like(later, &lines[skipped..])),
        (Some((wanted, later)), Some((line, rest))) => wanted.trim_end() == line.trim_end() && is_like(later, rest),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[test]
fn links_to_files_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut followed = 0;
    for page in [
        "README.md",
        "docs/design.md",
        "docs/decisions.md",
        "docs/operations.md",
        "docs/api.md",
        "benches/README.md",
        "cron/README.md",
    ] {
        let page = root.join(page);
        let text = std::fs::read_to_string(&page).expect("the page is there");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        for target in targets.filter(|target| !target.starts_with('#') && !target.starts_with("http")) {
            let path = page.parent().expect("a page is in a folder").join(target);
            assert!(path.exists(), "{}: the link to {target} leads nowhere", page.display());
            followed += 1;
        }
    }
    assert!(followed > 5, "only {followed} links were found");
}

#[test]
fn dots_stand_for_any_lines() {
    for (pattern, lines, expected) in [
        (&["a", "b"][..], &["a", "b  "][..], true),
        (&["a", "..."], &["a"], true),
        (&["...", "b", "..."], &["a", "a", "b"], true),
        (&["a", "...", "c"], &["a", "b", "b"], false),
        (&["a"], &["a", "b"], false),
        (&["a", "b"], &["a"], false),
    ] {
        assert_eq!(is_like(pattern, lines), expected, "{pattern:?} and {lines:?}");
    }
}
