//! The house rules that no compiler holds: the arrows between layers (DESIGN 9), which crate lives where, and how a
//! file looks. The rules read tokens, so comments and texts may say what they like.

use creditd::core::schedule::Job;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// Longer files are no longer one room.
const LINES_MAX: usize = 600;

/// Every module at the top of the crate, and those it may use besides itself. A new module needs its line here.
const LAYERS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("clock", &["core"]),
    ("config", &["core"]),
    ("store", &["core"]),
    ("mail", &["core"]),
    ("sealed", &["core"]),
    ("report", &["core"]),
    ("notice", &["core"]),
    ("ping", &["core"]),
    ("post", &["core"]),
    ("app", &["core", "clock", "config", "store", "sealed", "mail"]),
    ("jobs", &["core", "clock", "config", "store", "sealed", "mail", "app", "report", "notice", "ping", "post"]),
    (
        "daemon",
        &["core", "clock", "config", "store", "sealed", "mail", "app", "report", "notice", "ping", "post", "jobs"],
    ),
    ("web", &["core", "clock", "config", "store", "sealed", "mail", "app", "report", "notice", "ping", "post", "jobs"]),
    (
        "demo",
        &[
            "core", "clock", "config", "store", "sealed", "mail", "app", "report", "notice", "ping", "post", "jobs",
            "daemon",
        ],
    ),
    (
        "cli",
        &[
            "core", "clock", "config", "store", "sealed", "mail", "app", "report", "notice", "ping", "post", "jobs",
            "daemon", "web", "demo",
        ],
    ),
];

/// Crates that only these layers may name.
const HOMES: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("lettre", &["mail"]),
    ("polars", &["report", "sealed"]),
    ("resvg", &["report"]),
    ("rust_xlsxwriter", &["report"]),
    ("reqwest", &["ping", "post"]),
    ("axum", &["web"]),
    ("prometheus_client", &["web"]),
    ("sd_notify", &["daemon"]),
];

/// Layers where amounts live.
const WITHOUT_FLOATS: &[&str] = &["core", "store"];

/// What `core` never sees: I/O, other people's time, the order of a hash map.
const IMPURE_CRATES: &[&str] = &["tokio", "tracing"];
const IMPURE_STD: &[&str] = &["env", "fs", "io", "net", "process", "thread"];
const UNORDERED: &[&str] = &["HashMap", "HashSet"];

/// Macros for the way, not for the goal.
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

#[test]
fn the_tree_keeps_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        collect(&root.join(folder), &mut files);
    }
    assert!(files.len() > 10, "the sources were not found under {}", root.display());
    let mut findings = Vec::new();
    for file in files {
        let source = std::fs::read_to_string(&file).expect("a readable source file");
        let path = file.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
        check_file(&path, &source, &mut findings);
    }
    let list: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(findings.is_empty(), "the rules of tests/it/tidy.rs are broken:\n{}", list.join("\n"));
}

#[test]
fn cron_holds_one_file_per_job() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cron");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("a readable folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    assert_eq!(files, Job::ALL.iter().map(|job| format!("{job}.toml")).collect());
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn check_file(path: &str, source: &str, findings: &mut Vec<Finding>) {
    let mut found = |line: usize, what: String| findings.push(Finding { path: path.to_owned(), line, what });
    if !source.starts_with("//!") {
        found(1, "a file begins with `//!`: its purpose and what it may not know".to_owned());
    }
    if source.lines().count() > LINES_MAX {
        found(LINES_MAX + 1, format!("a file has at most {LINES_MAX} lines"));
    }
    let tokens = tokens(source);
    check_words(&tokens, &mut found);
    let Some(module) = module_of(path) else { return };
    let Some(layer) = module.first() else { return };
    let Some((_, may_use)) = LAYERS.iter().find(|(name, _)| name == layer) else {
        found(1, format!("the module {layer} is in no layer; give it its line in LAYERS of tests/it/tidy.rs"));
        return;
    };
    for (line, used) in used_modules(&tokens, &module) {
        if used != *layer && LAYERS.iter().any(|(name, _)| *name == used) && !may_use.contains(&used.as_str()) {
            found(line, format!("{layer} may not use {used} (DESIGN 9)"));
        }
    }
    check_crates(&tokens, layer, &mut found);
}

/// Rules for every file.
fn check_words(tokens: &[Token], found: &mut impl FnMut(usize, String)) {
    for (at, token) in tokens.iter().enumerate() {
        let next = |n: usize| tokens.get(at + n).map_or("", |t| t.text.as_str());
        if UNFINISHED.contains(&token.text.as_str()) && next(1) == "!" {
            found(token.line, format!("{}! is unfinished work", token.text));
        }
        if matches!(token.text.as_str(), "allow" | "expect") && next(1) == "(" && at >= 1 {
            let opens =
                tokens[at - 1].text == "[" && tokens[..at - 1].last().is_some_and(|t| t.text == "#" || t.text == "!");
            let reason = || tokens[at..].iter().take_while(|t| t.text != "]").any(|t| t.text == "reason");
            if opens && !reason() {
                found(token.line, format!("#[{}(..)] needs a reason", token.text));
            }
        }
    }
}

/// Rules about the crates and types that a layer may name.
fn check_crates(tokens: &[Token], layer: &str, found: &mut impl FnMut(usize, String)) {
    for (at, token) in tokens.iter().enumerate() {
        let text = token.text.as_str();
        let next = |n: usize| tokens.get(at + n).map_or("", |t| t.text.as_str());
        let before = if at == 0 { "" } else { tokens[at - 1].text.as_str() };
        let names_crate = before != "::" && (next(1) == "::" || before == "use");
        if let Some((_, homes)) =
            HOMES.iter().find(|(name, homes)| names_crate && *name == text && !homes.contains(&layer))
        {
            found(token.line, format!("{text} is used in {} alone", homes.join(" and ")));
        }
        let is_float = matches!(text, "f32" | "f64")
            || (text.starts_with(|c: char| c.is_ascii_digit()) && !text.starts_with("0x") && text.contains(['.', 'f']));
        if is_float && WITHOUT_FLOATS.contains(&layer) {
            found(token.line, format!("{text}: there are no floats in {layer}"));
        }
        if layer == "core" {
            let impure_std = text == "std" && next(1) == "::" && IMPURE_STD.contains(&next(2));
            if impure_std || (names_crate && IMPURE_CRATES.contains(&text)) || text == "async" {
                found(token.line, format!("core is pure: no {text}{}{}", next(1), next(2)));
            }
            if UNORDERED.contains(&text) {
                found(token.line, format!("{text} has no order; core uses BTreeMap and BTreeSet"));
            }
        }
    }
}

/// The module that a file of the library holds: `src/core/schedule/tests.rs` is `core::schedule::tests`.
fn module_of(path: &str) -> Option<Vec<String>> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    if matches!(inside, "lib" | "main") {
        return None;
    }
    let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    Some(module)
}

/// Every module at the top of the crate that is named by `crate::..` or enough `super::`, with its line.
fn used_modules(tokens: &[Token], module: &[String]) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    // One entry per open brace: the inline module it opens, or none.
    let mut braces: Vec<Option<String>> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let text = |n: usize| tokens.get(n).map_or("", |t| t.text.as_str());
        match text(at) {
            "{" => {
                let opens_module = at >= 2 && text(at - 2) == "mod";
                braces.push(opens_module.then(|| text(at - 1).to_owned()));
            }
            "}" => drop(braces.pop()),
            "crate" | "super" if text(at + 1) == "::" && (at == 0 || text(at - 1) != "::") => {
                let inline = braces.iter().flatten().cloned();
                let mut here: Vec<String> = module.iter().cloned().chain(inline).collect();
                while matches!(text(at), "crate" | "super") && text(at + 1) == "::" {
                    if text(at) == "crate" {
                        here.clear()
                    } else {
                        drop(here.pop())
                    }
                    at += 2;
                }
                if here.is_empty() {
                    used.extend(first_names(tokens, at));
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    used
}

/// The first name of each path that begins at `at`: one, or those of a group `{a::b, c}`.
fn first_names(tokens: &[Token], at: usize) -> Vec<(usize, String)> {
    let Some(first) = tokens.get(at) else { return Vec::new() };
    if first.text != "{" {
        return vec![(first.line, first.text.clone())];
    }
    let (mut names, mut depth) = (Vec::new(), 0);
    for (before, token) in tokens[at..].iter().zip(&tokens[at + 1..]) {
        match before.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(before.text.as_str(), "{" | ",") && token.text != "}" {
            names.push((token.line, token.text.clone()));
        }
    }
    names
}

struct Token {
    text: String,
    line: usize,
}

/// Names, numbers and signs, without comments, texts, characters and lifetimes. `::` is one token.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::<Token>::new(), 0, 1);
    while at < chars.len() {
        let begin = at;
        let rest = &chars[at..];
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        if rest.starts_with(&['/', '/']) {
            at += rest.iter().take_while(|c| **c != '\n').count();
        } else if rest.starts_with(&['/', '*']) {
            at += block_comment(rest);
        } else if let Some(length) = text_literal(rest) {
            at += length;
        } else if rest[0] == '\'' {
            at += char_or_lifetime(rest);
        } else if rest[0].is_ascii_digit() {
            // In `pair.0.1` the dots are no decimal points.
            let is_field = tokens.last().is_some_and(|t| t.text == ".");
            at += 1;
            while at < chars.len()
                && (is_word(chars[at])
                    || (!is_field && chars[at] == '.' && chars.get(at + 1).is_some_and(char::is_ascii_digit)))
            {
                at += 1;
            }
            tokens.push(Token { text: chars[begin..at].iter().collect(), line });
        } else if is_word(rest[0]) {
            at += rest.iter().take_while(|c| is_word(**c)).count();
            tokens.push(Token { text: chars[begin..at].iter().collect(), line });
        } else {
            at += if rest.starts_with(&[':', ':']) { 2 } else { 1 };
            if !rest[0].is_whitespace() {
                tokens.push(Token { text: chars[begin..at].iter().collect(), line });
            }
        }
        line += chars[begin..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of a text literal (`"`, `b"`, `r#"`, ...) that begins here.
fn text_literal(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take(3).take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
    let is_raw = rest[..prefix].contains(&'r');
    let hashes = if is_raw { rest[prefix..].iter().take_while(|c| **c == '#').count() } else { 0 };
    let open = prefix + hashes;
    if rest.get(open) != Some(&'"') {
        return None;
    }
    let mut at = open + 1;
    while at < rest.len() {
        match rest[at] {
            '\\' if !is_raw => at += 2,
            '"' if rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes => {
                return Some(at + 1 + hashes);
            }
            _ => at += 1,
        }
    }
    Some(rest.len())
}

fn char_or_lifetime(rest: &[char]) -> usize {
    match (rest.get(1), rest.get(2)) {
        (Some('\\'), _) => rest.iter().skip(3).take_while(|c| **c != '\'').count() + 4,
        (Some(_), Some('\'')) => 3,
        _ => 1,
    }
}

/// What `check_file` says about a file, one finding a line.
fn findings(path: &str, source: &str) -> String {
    let mut findings = Vec::new();
    check_file(path, &format!("//! A file.\n{source}"), &mut findings);
    findings.iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn refused(path: &str, source: &str, says: &str) {
    let found = findings(path, source);
    assert!(found.starts_with("2: ") && found.contains(says), "{source:?} gave {found:?}, not {says:?}");
}

#[track_caller]
fn accepted(path: &str, source: &str) {
    assert_eq!(findings(path, source), "", "{source:?}");
}

#[test]
fn an_arrow_upward_or_sideways_is_found_however_it_is_written() {
    refused("src/core/a.rs", "use crate::store::Store;", "core may not use store");
    refused("src/core/a.rs", "use super::super::store::Store;", "core may not use store");
    refused("src/core/a.rs", "mod tests { use super::super::super::store::Store; }", "core may not use store");
    refused("src/mail/mod.rs", "use crate::{core::ids, store::{Store}};", "mail may not use store");
    refused("src/report/a.rs", "fn f() { crate::notice::x() }", "report may not use notice");
    refused("src/store/mod.rs", "use super::jobs;", "store may not use jobs");
    refused("src/jobs/reset.rs", "pub(in crate::daemon) fn f() {}", "jobs may not use daemon");
    assert!(findings("src/api/mod.rs", "").contains("the module api is in no layer"));

    accepted("src/core/a.rs", "use super::ids::Key; use crate::core::{ids, credits}; // crate::store");
    accepted("src/core/a.rs", "mod tests { use super::super::ids; }");
    accepted("src/jobs/reset.rs", "use crate::{app::App, core::{store, daemon}, report};");
    accepted("src/cli/mod.rs", "use crate::daemon; fn f() { let s = \"crate::main\"; }");
}

#[test]
fn crates_and_floats_stay_where_they_belong() {
    refused("src/jobs/a.rs", "use sqlx::Row;", "sqlx is used in store alone");
    refused("src/jobs/a.rs", "fn f(e: polars::Error) {}", "polars is used in report and sealed alone");
    refused("src/cli/a.rs", "use lettre;", "lettre is used in mail alone");
    refused("src/core/a.rs", "fn f(x: f64) {}", "no floats in core");
    refused("src/store/a.rs", "const X: u8 = 1.5;", "no floats in store");
    refused("src/core/a.rs", "use std::fs::File;", "core is pure");
    refused("src/core/a.rs", "fn f(x: &HashMap<u8, u8>) {}", "HashMap has no order");

    accepted("src/store/a.rs", "use sqlx::Row; fn f(x: ((u8, u8), u8)) { (x.0.1, 0..5, 0xff, '\"', 'f') }");
    accepted("src/report/a.rs", "fn f<'f64>(x: f64, polars: u8) -> &'static str { r#\"sqlx::x \"f64\"# }");
}

#[test]
fn a_file_is_finished_and_says_what_it_is() {
    refused("src/app.rs", "fn f() { todo!() }", "todo! is unfinished work");
    refused("src/app.rs", "#[allow(dead_code)] fn f() {}", "needs a reason");
    refused("src/app.rs", "#![expect(dead_code)]", "needs a reason");
    accepted("src/app.rs", "#[allow(dead_code, reason = \"shown\")] fn f() { x.expect(\"y\") } /* todo!() /* */ */");
    assert!(findings("src/app.rs", &"\n".repeat(LINES_MAX)).contains("at most 600 lines"));
    let mut found = Vec::new();
    check_file("src/app.rs", "fn f() {}", &mut found);
    assert!(found[0].to_string().starts_with("src/app.rs:1: a file begins with `//!`"));
}
