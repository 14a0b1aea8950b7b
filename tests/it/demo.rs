//! `creditd demo` from outside, as the README's first command runs it. It makes three months, so all is asked of one run.

use super::journal::provers::Prover;
use super::readme::{blocks, is_like, readme};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

fn creditd(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
    command.args(args).current_dir(folder).env_clear();
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// Every file below `folder` with its size and the time of its last change.
fn files(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let facts = path.metadata().expect("facts of a file");
            found.insert(path, (facts.len(), facts.modified().expect("a time")));
        }
    }
    found
}

#[test]
fn the_demo_tells_a_true_story_and_overwrites_nothing() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let made = creditd(place.path(), &["demo", "creditd-demo"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let story = text(&made.stdout);
    assert!(story.contains("creditd verify: ") && story.contains(", no difference."), "{story}");

    // The README quotes the story.
    let readme = readme();
    let quoted = blocks(&readme, "text").into_iter().find(|(_, lines)| lines[0].starts_with("creditd demo: "));
    let (line, quoted) = quoted.expect("README.md shows what the demo prints");
    assert!(is_like(&quoted, &story.lines().collect::<Vec<_>>()), "README.md:{line}: the demo prints:\n{story}");

    // Every file it names is there.
    let named = |ending: &str| {
        let words = story.split_whitespace().filter(|word| word.starts_with("creditd-demo/") && word.ends_with(ending));
        words.map(|word| place.path().join(word)).collect::<Vec<PathBuf>>()
    };
    for (ending, least) in [(".eml", 5), (".html", 2), (".csv", 1)] {
        let paths = named(ending);
        assert!(paths.len() >= least, "{} {ending} files are named:\n{story}", paths.len());
        for path in paths {
            assert!(path.metadata().is_ok_and(|file| file.len() > 0), "{} is missing or empty", path.display());
        }
    }

    // The commands it proposes work, in one go as they stand there.
    let proposed = story.lines().skip_while(|line| !line.starts_with("Next, try")).skip(1).map(str::trim_start);
    let script: Vec<&str> = std::iter::once("set -e").chain(proposed).collect();
    assert!(script.len() > 5, "{story}");
    let mut shell = Command::new("sh");
    let tried = shell.args(["-c", &script.join("\n")]).current_dir(place.path()).output().expect("there is a shell");
    assert!(tried.status.success(), "{}\n{}", text(&tried.stdout), text(&tried.stderr));

    // The whole ledger adds up, and the folder is not made twice.
    let config = ["--config", "creditd-demo/creditd.toml"];
    let verified = creditd(place.path(), &[&config[..], &["verify"]].concat());
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));

    // Others find the same: the journal proves the whole ledger.
    for prover in Prover::ALL {
        let name = format!("ledger.{}", prover.format());
        let exported = creditd(
            place.path(),
            &[&config[..], &["transactions", "export", "--format", prover.format(), "--out", &name]].concat(),
        );
        assert_eq!(exported.status.code(), Some(0), "{}", text(&exported.stderr));
        if prover.is_there() {
            assert_eq!(prover.prove(&place.path().join(&name)), Ok(()), "{prover:?}");
        }
    }
    let before = files(place.path());
    let again = creditd(place.path(), &["demo", "creditd-demo"]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stdout));
    assert!(text(&again.stderr).contains("creditd-demo is there already"), "{}", text(&again.stderr));
    assert_eq!(files(place.path()), before);

    // People find their way over its pages.
    let now = story.split("CREDITD_NOW=").nth(1).and_then(|rest| rest.split_whitespace().next());
    super::pages::browser::visit(&place.path().join("creditd-demo"), now.expect("the story says its instant"));
}
