//! A real `creditd serve` and who listens to it: over HTTP, as a service manager, as a monitoring, and in its log.

use crate::support::{Sandbox, Watchers, account_id, both_databases};
use creditd::core::ids::Email;
use creditd::core::schedule::Job;
use creditd::jobs::Kit;
use creditd::store::Admin;
use creditd::web::{self, Listener};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
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
        let mut command = serve(sandbox);
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
    command.args(["serve", "--database-url", sandbox.url()]).current_dir(sandbox.path(""));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command
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
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("it reads");
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
        assert!(status == 200 && metrics.ends_with("# EOF\n"), "{status}: {metrics}");
        assert_eq!(values(&metrics, "creditd_database_up"), ["1.0"]);
        assert_eq!(values(&metrics, "creditd_charges_total").len(), 7);
        assert_eq!(values(&metrics, "creditd_job_failing").len(), Job::ALL.len());

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
