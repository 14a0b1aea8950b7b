//! A real `creditd serve` and who listens to it: over HTTP, as a service manager, as a monitoring, and in its log.

use crate::api::{ALL, Made, token};
use crate::pages::{OPERATOR, admin_of, visit_token};
use crate::support::{Backend, Sandbox, Watchers, account_id, both_databases, instant, program};
use creditd::core::credits::{CreditType, Credits};
use creditd::core::ids::{Email, Key};
use creditd::core::ledger::{Bonus, Call, NewTerms};
use creditd::core::schedule::Job;
use creditd::core::signed::{Purpose, SigningKey};
use creditd::core::token::TokenHash;
use creditd::jobs::{Kit, signing_key};
use creditd::store::Admin;
use creditd::web::{self, Listener};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A machine that is busy with other tests may take so long for what takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);

/// `creditd serve` in the folder of a sandbox, on any free port. It does not outlive the test.
struct Served {
    child: Child,
    /// Lines of its log.
    log: Receiver<Value>,
    at: SocketAddr,
    /// The line that said where everything is.
    serving: Value,
}

impl Served {
    fn start(sandbox: &Sandbox, env: &[(&str, &str)]) -> Served {
        Served::by(serve(sandbox), env)
    }

    fn by(mut command: Command, env: &[(&str, &str)]) -> Served {
        command.env("CREDITD__WEB__LISTEN", "127.0.0.1:0").envs(env.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let stderr = child.stderr.take().expect("a pipe");
        let (line, log) = channel();
        std::thread::spawn(move || {
            for text in BufReader::new(stderr).lines().map_while(Result::ok) {
                let parsed = serde_json::from_str(&text).unwrap_or(Value::String(text));
                if line.send(parsed).is_err() {
                    break;
                }
            }
        });
        let serving = lines_until(&log, |line| line["message"] == "serving").pop().expect("a line");
        let at = serving["listener"].as_str().and_then(|url| url.strip_prefix("http://")).expect("an address");
        let at = at.parse().expect("an address");
        Served { child, log, at, serving }
    }

    fn get(&self, path: &str) -> (u16, String) {
        get(self.at, path)
    }

    /// Asks it to stop as an init system does.
    fn stop(mut self) -> (ExitStatus, Vec<Value>) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill is there").success());
        let exit = self.child.wait().expect("it can be waited for");
        (exit, self.log.iter().collect())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(sandbox: &Sandbox) -> Command {
    let mut command = serve_in(&sandbox.path(""));
    command.args(["--database-url", sandbox.url()]);
    command
}

fn serve_in(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
    command.arg("serve").current_dir(folder);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Trying it takes one command; what was named and is missing stays an error.
#[test]
fn serve_makes_a_ledger_where_nothing_was_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let there = |name: &str| folder.path().join(name).exists();
    let refused = |args: &[&str], env: (&str, &str)| {
        let output = serve_in(folder.path()).args(args).env(env.0, env.1).output().expect("it runs");
        assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!there("creditd.db") && !there("named.db"), "{args:?} {env:?}");
    };
    refused(&["--database-url", "sqlite://named.db"], ("X", ""));
    refused(&[], ("CREDITD__DATABASE_URL", "sqlite://creditd.db"));
    refused(&[], ("CREDITD_CONFIG", "creditd.toml"));

    let served = Served::by(serve_in(folder.path()), &[]);
    assert!(there("creditd.db") && there("creditd.toml"));
    for (what, part) in [("ledger", "/creditd.db"), ("settings", "/creditd.toml"), ("schedules", "built in")] {
        let said = served.serving[what].as_str().unwrap_or_default();
        assert!(said.ends_with(part), "{what}: {said}");
    }
    assert!(served.stop().0.success());

    std::fs::remove_file(folder.path().join("creditd.db")).expect("lost");
    refused(&[], ("X", ""));
}

/// The lines of a log up to the first that is wanted.
#[track_caller]
fn lines_until(log: &Receiver<Value>, is_wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut lines = Vec::new();
    loop {
        let line = log.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error} behind {lines:#?}"));
        lines.push(line);
        if lines.last().is_some_and(&is_wanted) {
            return lines;
        }
    }
}

fn get(at: SocketAddr, path: &str) -> (u16, String) {
    get_with(at, path, "")
}

/// The same with lines in the head of the request.
fn get_with(at: SocketAddr, path: &str, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{head}\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// Collects what the service manager is told, until it is told this.
#[track_caller]
fn told_until(socket: &UnixDatagram, last: &str, told: &mut BTreeSet<String>) {
    while !told.contains(last) {
        let mut message = [0; 200];
        let length = socket.recv(&mut message).expect("the service manager is told more");
        told.insert(String::from_utf8_lossy(&message[..length]).into_owned());
    }
}

/// The values of a metric, as the text has them.
fn values<'a>(metrics: &'a str, name: &str) -> Vec<&'a str> {
    let rest = |line: &'a str| line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
    metrics.lines().filter_map(rest).map(|rest| rest.trim_start()).collect()
}

/// What is collected is described as the program that collects it wants.
fn promtool_takes(metrics: &str) {
    if !program("promtool", "CREDITD_REQUIRE_PROMTOOL", "the metrics; install promtool (Debian: prometheus)") {
        return;
    }
    let mut command = Command::new("promtool");
    let command =
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool runs");
    child.stdin.take().expect("a pipe").write_all(metrics.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}\n{metrics}", String::from_utf8_lossy(&said));
}

both_databases! {
    async fn serve_says_where_it_is_and_whether_it_is_ready(sandbox: Sandbox) {
        sandbox.open_account("acme", "America/New_York", "2026-01-01").await;
        let socket = UnixDatagram::bind(sandbox.path("notify")).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let notify = sandbox.path("notify").display().to_string();
        let served = Served::start(&sandbox, &[("NOTIFY_SOCKET", &notify)]);
        for (what, part) in [("ledger", "creditd"), ("folders", "mail in /"), ("jobs", "reset, ")] {
            let said = served.serving[what].as_str().unwrap_or_default();
            assert!(said.contains(part), "{what}: {said}");
        }

        assert_eq!(served.get("/healthz"), (200, "alive\n".to_owned()));
        let mut told = BTreeSet::new();
        told_until(&socket, "WATCHDOG=1\n", &mut told);
        assert_eq!(served.get("/readyz"), (200, "ready\n".to_owned()));
        assert_eq!(served.get("/nothing").0, 404);
        let (status, metrics) = served.get("/metrics");
        assert_eq!(status, 200, "{metrics}");
        promtool_takes(&metrics);
        assert_eq!(values(&metrics, "creditd_database_up"), ["1.0"]);
        assert_eq!(values(&metrics, "creditd_charges_total").len(), 7);
        assert_eq!(values(&metrics, "creditd_job_failing").len(), Job::ALL.len());
        assert_eq!(values(&metrics, "creditd_open_alerts").len(), 3, "each level of the settings");
        assert_eq!(values(&metrics, "creditd_runs_recorded{job_name=\"reset\",state=\"handed_back\"}"), ["0.0"]);

        // Another one finds the port taken, and says what to do.
        let mut second = serve(&sandbox);
        let second = second.env("CREDITD__WEB__LISTEN", served.at.to_string()).output().expect("it runs");
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert_eq!(second.status.code(), Some(4), "{said}");
        assert!(said.contains("is in use by another process") && said.contains("CREDITD__WEB__LISTEN"), "{said}");

        let (exit, _) = served.stop();
        assert!(exit.success(), "{exit}");
        told_until(&socket, "STOPPING=1\n", &mut told);
        assert!(told.contains("READY=1\n"), "{told:?}");
    }

    /// A run tells the log which it is, and the monitoring that it began and how it ended.
    async fn runs_are_told_of_and_addresses_are_in_no_log(sandbox: Sandbox) {
        sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
        let ann = Admin::with_defaults(Email::new("ann@acme.example").expect("an address"));
        sandbox.store().set_admin(&account_id("acme"), &ann).await.expect("an admin");
        let monitoring = Watchers::start().await;
        let url = monitoring.url("s3cret-uuid");
        let nobody = "http://127.0.0.1:9/s3cret-nobody";
        let served = Served::start(
            &sandbox,
            &[("CREDITD__JOBS__PING__RESET", &url), ("CREDITD__JOBS__PING__SEAL", nobody), ("CREDITD__LOG__LEVEL", "debug")],
        );
        assert_eq!(monitoring.next().await, "GET /s3cret-uuid/start");
        assert_eq!(monitoring.next().await, "GET /s3cret-uuid");
        let mut log = lines_until(&served.log, |line| line["message"] == "a ping could not be sent; jobs go on");
        let failed = log.last().expect("a line");
        assert_eq!((failed["job"].as_str(), failed["event"].as_str()), (Some("seal"), Some("start")), "{failed}");
        // Whatever is said of a run names it.
        log.extend(lines_until(&served.log, |line| line["job"] == "deliver" && line["slot"].is_string()));
        let (exit, rest) = served.stop();
        assert!(exit.success(), "{exit}");
        log.extend(rest);
        for line in &log {
            assert!(line.is_object(), "a line that is no JSON: {line}");
            assert!(!line.to_string().contains("s3cret") && !line.to_string().contains("acme.example"), "{line}");
        }
    }
}

/// What is about one account says so in a field, and names nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_the_log_names_the_account_that_it_is_about() {
    let sandbox = Sandbox::new().await;
    let (app, id) = (sandbox.at("2013-01-10T00:00:00Z"), sandbox.open_account("acme", "UTC", "2013-01-01").await);
    let ann = Admin::with_defaults(Email::new("ann@acme.example").expect("an address"));
    sandbox.store().set_admin(&id, &ann).await.expect("an admin");
    // From February on, there is more than can be counted beside what is left of the gift.
    let key = |name: &str| Key::new(name).expect("a key");
    let (credit_type, credits) = (CreditType::Free, Credits::new(1));
    let gift = Bonus { key: key("gift"), credit_type, credits, expires_at: None, comment: "sorry".to_owned() };
    app.call(&id, Call::Bonus(gift)).await.expect("a gift");
    let terms = NewTerms { key: key("terms"), zone: None, allowance: Some(Credits::LIMIT) };
    app.call(&id, Call::Terms(terms)).await.expect("new terms");
    let served = Served::start(&sandbox, &[]);
    let log = lines_until(&served.log, |line| line["account"].is_string());
    let line = log.last().expect("a line");
    assert_eq!((line["account"].as_str(), line["job"].as_str()), (Some("acme"), Some("reset")), "{line}");
    assert!(line["slot"].is_string() && !line.to_string().contains("acme.example"), "{line}");
}

/// What nobody can do anything about is said, and nothing waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database_it_lives_and_is_not_ready() {
    let sandbox = Sandbox::new().await;
    let kit = Arc::new(Kit::new(sandbox.at("2013-02-01T00:00:00Z")).expect("a kit"));
    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a listener");
    let (at, stop) = (listener.at(), CancellationToken::new());
    let answering = tokio::spawn(listener.serve(web::router(web::State::new(Arc::clone(&kit))), stop.clone()));
    kit.app.store.close().await;
    let ask = |path: &'static str| tokio::task::spawn_blocking(move || get(at, path));
    assert_eq!(ask("/healthz").await.expect("an answer").0, 200);
    let ready = ask("/readyz").await.expect("an answer");
    assert_eq!(ready, (503, "the database cannot be used\nthe bell has not rung yet\n".to_owned()));
    let (status, metrics) = ask("/metrics").await.expect("an answer");
    assert_eq!((status, values(&metrics, "creditd_database_up")), (200, vec!["0.0"]));
    assert_eq!(values(&metrics, "creditd_outbox_messages"), Vec::<&str>::new());
    stop.cancel();
    answering.await.expect("it stops");
}

/// `creditd run` tells of its one run, also that it failed, and ends as it would without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_by_hand_tells_how_it_ended() {
    let sandbox = Sandbox::new().await;
    sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
    let monitoring = Watchers::start().await;
    let run = |url: String| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
        command.args(["run", "verify", "--database-url", sandbox.url()]).current_dir(sandbox.path(""));
        command.env_clear().env("CREDITD__JOBS__PING__VERIFY", url).stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().expect("it runs"))
    };
    let done = run(monitoring.url("uuid")).await.expect("done");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(monitoring.next().await, "GET /uuid/start");
    assert_eq!(monitoring.next().await, "GET /uuid");

    sandbox.execute("UPDATE accounts SET balance_free = balance_free + 1").await.expect("tampered with");
    let failed = run(monitoring.url("uuid?create=1")).await.expect("done");
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(monitoring.next().await, "GET /uuid/start?create=1");
    assert_eq!(monitoring.next().await, "GET /uuid/fail?create=1");
}

both_databases! {
    /// Whoever was let in by a running process, and by another one beside it, is not any more soon after somebody else says so.
    async fn what_is_revoked_opens_nothing_soon(sandbox: Sandbox) {
        const NOW: &str = "2013-03-20T12:00:00Z";
        sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let (ann, store) = (Email::new("ann@acme.example").expect("an address"), sandbox.store());
        store.set_admin(&account_id("acme"), &Admin::with_defaults(ann.clone())).await.expect("an admin");
        let token = token(store, Made { account: Some("acme"), ..ALL }).await;
        let hash = TokenHash::of_token(&token).expect("a token");
        let key = signing_key(&sandbox.at(NOW)).await.expect("a key");
        let visitor = admin_of("acme", ann.as_str());
        let cookie = visit_token(visitor, "2013-03-20T20:00:00Z", Purpose::Cookie, &key);
        let heads = [format!("Authorization: Bearer {token}\r\n"), format!("Cookie: creditd={cookie}\r\n")];
        let paths = ["/v1/accounts/acme/balance", "/accounts/acme/prices"];
        // One process has the file of SQLite; on a server two stand beside each other.
        let processes = if sandbox.backend() == Backend::Sqlite { 1 } else { 2 };
        let clock = format!("@{}", sandbox.write("now", NOW).display());
        let serving: Vec<Served> =
            (0..processes).map(|_| Served::start(&sandbox, &[("CREDITD_NOW", &clock)])).collect();
        let status = |served: &Served, at: usize| get_with(served.at, paths[at], &heads[at]).0;
        for served in &serving {
            assert_eq!([status(served, 0), status(served, 1)], [200, 200]);
        }
        // All visits end at once, and a link made then lets in.
        let operator = |purpose, key: &SigningKey| visit_token(OPERATOR, "2013-03-20T20:00:00Z", purpose, key);
        let platform = format!("Cookie: creditd={}\r\n", operator(Purpose::Cookie, &key));
        for served in &serving {
            assert_eq!(get_with(served.at, "/platform", &platform).0, 200);
        }
        assert!(store.renew_visit_key([5; 32]).await.is_ok());
        let enter = format!("/enter/{}", operator(Purpose::Link, &SigningKey::new([5; 32])));
        for served in &serving {
            let ended = async {
                while get_with(served.at, "/platform", &platform).0 != 403 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, ended).await.expect("it opens nothing any more");
            assert_eq!(get_with(served.at, &enter, "").0, 200);
        }
        let cookie = visit_token(admin_of("acme", ann.as_str()), "2013-03-20T20:00:00Z", Purpose::Cookie, &SigningKey::new([5; 32]));
        let heads = [heads[0].clone(), format!("Cookie: creditd={cookie}\r\n")];
        let status = |served: &Served, at: usize| get_with(served.at, paths[at], &heads[at]).0;
        for served in &serving {
            assert_eq!([status(served, 0), status(served, 1)], [200, 200]);
        }
        assert!(store.revoke_token(&hash.id(), instant(NOW)).await.is_ok());
        assert!(store.remove_admin(&account_id("acme"), &ann).await.is_ok());
        for served in &serving {
            assert_eq!(status(served, 1), 403, "nothing is remembered of admins");
            let revoked = async {
                while status(served, 0) != 401 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, revoked).await.expect("it opens nothing any more");
        }
    }
}
