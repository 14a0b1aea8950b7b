//! The promise of the outbox under everything at once: no message is lost, and one comes twice only where a connection ended
//! between the message and the answer, then to the byte the same.
//!
//! Thousands of sessions with a server whose faults are drawn from a fixed seed (`CREDITD_CHAOS_SEED`,
//! `CREDITD_CHAOS_SESSIONS`); and a sending process that is killed at each step of a delivery, by a server that tells when it is there.

use crate::delivery::{kit_with, run};
use crate::support::smtp::{At, Does, Manner, SmtpServer};
use crate::support::{Sandbox, attachments, instant, lapse_soon, statement, write_wished};
use creditd::app::App;
use creditd::clock::Clock;
use creditd::config::{LoadInput, Settings};
use creditd::core::calendar::Instant;
use creditd::core::delivery::Tls;
use creditd::core::outbox::{Message, OutboxState};
use creditd::jobs::{JobError, Problem};
use creditd::mail::SmtpOptions;
use creditd::store::OutboxRecord;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

const WRITTEN: &str = "2013-02-01T12:00:00Z";
/// Sessions that the random server is asked for at least.
const SESSIONS: u64 = 10_000;
/// Messages at once for them; fewer than a run tells of.
const MESSAGES: u32 = 900;
/// A server that is silent is waited for this long; one that answers does so in a fraction of it, on a busy machine, too.
const PATIENCE: Duration = Duration::from_millis(500);
/// Runs of the job until nothing is left: bounded, since a message that is never delivered would be a loss.
const RUNS_MAX: usize = 20_000;
/// Tells a test that it is to be the process that is killed.
const ORDER: &str = "CREDITD_CHAOS_ORDER";

fn options(port: u16) -> SmtpOptions {
    SmtpOptions {
        host: "127.0.0.1".into(),
        port,
        tls: Tls::None,
        login: None,
        ca_file: None,
        connections: 4,
        timeout: PATIENCE,
        idempotency_header: None,
    }
}

#[expect(clippy::disallowed_methods, reason = "the environment of a test run is its only setting")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |text| text.parse().expect("a number"))
}

/// How the `n`th session goes: a message, or something wrong, at any step and in any way.
fn fate(seed: u64, n: u64) -> Manner {
    let mut rng = fastrand::Rng::with_seed((seed << 32) + n);
    let steps = [At::Greeting, At::Ehlo, At::Mail, At::Rcpt, At::Data, At::Content, At::End, At::Taken];
    let at = steps[rng.usize(..steps.len())];
    let does = match rng.u32(..1_000) {
        // Each costs the patience.
        0..4 => Does::Silence,
        4..8 => Does::Drip,
        8..60 => Does::Flood,
        60..200 => Does::Say("\u{fffd}250 hello\r\n"),
        200..350 => Does::Say("451 4.3.0 busy\r\n"),
        350..450 => Does::Say("421 4.3.2 going down\r\n"),
        450..480 => Does::Say("554 5.7.1 not from you\r\n"),
        _ => Does::Close,
    };
    // What is said in the middle of a message is said too early, and would be taken for what comes later.
    let does = if matches!((at, does), (At::Content, Does::Say(_) | Does::Flood)) { Does::Close } else { does };
    // Who refuses what was taken lies.
    let at = if at == At::Taken && does.is_refusal() { At::End } else { at };
    let wrong = rng.u8(..10) < 4;
    Manner { wrong: wrong.then_some((at, does)), messages_max: Some(1), ..Manner::default() }
}

/// How often each message was taken, by its Message-ID; each time the same bytes.
fn copies(server: &SmtpServer) -> BTreeMap<String, usize> {
    let mut bytes: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for taken in server.taken() {
        let id = taken.header("Message-ID").expect("a message id");
        assert_eq!(bytes.entry(id.clone()).or_insert_with(|| taken.raw.clone()), &taken.raw, "{id}");
        *copies.entry(id).or_default() += 1;
    }
    copies
}

async fn all(sandbox: &Sandbox) -> Vec<OutboxRecord> {
    sandbox.store().messages(None, None, 1_000_000).await.expect("the outbox")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_sessions_lose_nothing() {
    let seed = number("CREDITD_CHAOS_SEED", 1);
    let sessions = number("CREDITD_CHAOS_SESSIONS", SESSIONS);
    let sandbox = Sandbox::new().await;
    let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
    let server = SmtpServer::start(move |n| if n < sessions { fate(seed, n) } else { Manner::default() }).await;
    let kit = kit_with(sandbox.at(WRITTEN), options(server.port));
    let mut now = instant(WRITTEN);
    // By name: how often it was unknown whether a message had arrived.
    let mut unknown: BTreeMap<String, usize> = BTreeMap::new();
    let mut written = 0_u32;
    for runs in 0.. {
        assert!(runs < RUNS_MAX, "in seed {seed}: messages stay behind");
        let left = sandbox.store().due_messages(now.plus_days(9), 1).await.expect("messages");
        if left.is_empty() {
            if server.sessions() >= sessions {
                break;
            }
            // Until there were enough sessions, there is more to send.
            let more = written..written + MESSAGES;
            let new = |n: u32| match n % 3 {
                0 => statement(&acme, &format!("s{n}@acme.example"), WRITTEN),
                _ => lapse_soon(&acme, n % 1_000, &format!("a{}@acme.example", n / 1_000), WRITTEN),
            };
            let new: Vec<Message> =
                more.map(new).map(|message| Message { text: "Low.\n.\n".into(), created_at: now, ..message }).collect();
            write_wished(sandbox.store(), &new).await;
            written += MESSAGES;
        }
        let problems = match run(&kit.at(sandbox.at_instant(now)), false).await {
            Ok(done) => done.problems,
            Err(JobError::NotDelivered { problems, .. }) => problems,
            Err(error) => panic!("in seed {seed}: {error}"),
        };
        let is_unknown = |problem: &&Problem| {
            problem.what.contains("while waiting for its answer to the message") && !problem.what.contains("refused")
        };
        for problem in problems.iter().filter(is_unknown) {
            let name = problem.what.split(": ").next().expect("a name");
            *unknown.entry(name.to_owned()).or_default() += 1;
        }
        // The operator sends what is held.
        let held = sandbox.store().messages(None, Some(OutboxState::Ambiguous), 1_000_000).await.expect("messages");
        for record in held {
            sandbox.store().retry_message(&record.message.key, now).await.expect("asked");
        }
        now = now.plus_seconds(301);
    }
    let copies = copies(&server);
    let (mut twice, mut refused) = (0, 0);
    for record in all(&sandbox).await {
        let key = &record.message.key;
        let arrived = copies.get(&record.message.message_id).copied().unwrap_or_default();
        let unknown = unknown.get(&key.name()).copied().unwrap_or_default();
        match record.state {
            OutboxState::Sent => assert!(arrived >= 1, "lost: {}", key.name()),
            OutboxState::Failed => {
                let error = record.last_error.as_deref().unwrap_or_default();
                assert!(error.contains("554 5.7.1"), "given up: {}: {error}", key.name());
                refused += 1;
            }
            state => panic!("{} is {state}", key.name()),
        }
        assert!(arrived <= unknown + 1, "{} came {arrived} times; {unknown} times it was unknown", key.name());
        twice += usize::from(arrived > 1);
    }
    println!(
        "{} sessions, {written} messages, {} deliveries unknown, {twice} came more than once, {refused} refused",
        server.sessions(),
        unknown.values().sum::<usize>()
    );
    assert!(twice > 0 && refused > 0 && !unknown.is_empty(), "this proves less than it says");
    assert_eq!(sandbox.store().suppressions(1).await.expect("the list"), []);
    sandbox.assert_verified().await;
}

/// What the process that is killed is told.
#[derive(Serialize, Deserialize)]
struct Order {
    url: String,
    folder: String,
    now: i64,
    port: u16,
}

/// A process is killed at each step of a delivery, and the next one goes on.
#[test]
fn killed_at_each_step_nothing_is_lost() {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let threads = threads.expect("threads");
    if let Some(order) = variable(ORDER) {
        return threads.block_on(be_killed(serde_json::from_str(&order).expect("an order")));
    }
    let steps = [At::Greeting, At::Ehlo, At::Mail, At::Rcpt, At::Data, At::Content, At::End, At::Taken];
    threads.block_on(async {
        for (number, at) in steps.into_iter().enumerate() {
            // Also in the third session, when others are at work.
            for session in [0, 2] {
                let case = format!("{at:?} in session {session}");
                let server = SmtpServer::start(move |n| match n == session {
                    true => Manner::wrong(at, Does::Tell),
                    false => Manner { messages_max: Some(5), ..Manner::default() },
                })
                .await;
                let mut sandbox = Sandbox::new().await;
                let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
                let new = |n: u32| Message {
                    attachments: attachments(),
                    ..lapse_soon(&acme, n, "ann@acme.example", WRITTEN)
                };
                let messages: Vec<Message> = (1..=40).map(new).collect();
                write_wished(sandbox.store(), &messages).await;
                sandbox.store().close().await;
                let now = instant(WRITTEN).plus_seconds(i64::try_from(number).expect("few"));
                kill_when_told(&sandbox, &server, now).await;

                sandbox.reopen(now).await;
                let before = server.taken().len();
                // Nothing that the dead process had in hand is taken from it before its time is over.
                sandbox
                    .execute("UPDATE outbox SET leased_until = 1 WHERE lease IS NOT NULL")
                    .await
                    .expect("time passes");
                let patient = SmtpOptions { timeout: Duration::from_secs(60), ..options(server.port) };
                run(&kit_with(sandbox.at_instant(now), patient), false).await.expect("the next process ends well");
                let copies = copies(&server);
                for record in all(&sandbox).await {
                    assert_eq!(record.state, OutboxState::Sent, "{case}");
                    assert!(copies.contains_key(&record.message.message_id), "lost: {case}");
                }
                // What was taken and not recorded comes again: at most what had come by then.
                let twice = copies.values().filter(|count| **count > 1).count();
                assert!(copies.values().all(|count| *count <= 2) && twice <= before, "{case}: {copies:?}");
                assert!(at != At::Taken || twice >= 1, "{case}");
                sandbox.assert_verified().await;
            }
        }
    });
}

async fn kill_when_told(sandbox: &Sandbox, server: &SmtpServer, now: Instant) {
    let order = Order {
        url: sandbox.url().to_owned(),
        folder: sandbox.path("").to_string_lossy().into_owned(),
        now: now.micros(),
        port: server.port,
    };
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "chaos::killed_at_each_step_nothing_is_lost", "--nocapture", "--test-threads=1"])
        .env(ORDER, serde_json::to_string(&order).expect("an order"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this binary runs");
    let told = tokio::time::timeout(Duration::from_secs(120), server.told()).await;
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
    told.expect("the child delivers");
}

/// Delivers until it is killed; what its server does not answer it waits for.
async fn be_killed(order: Order) {
    let flags = vec![("database_url".to_owned(), order.url.clone())];
    let input = LoadInput { folder: (&order.folder).into(), flags, ..LoadInput::default() };
    let settings = Settings::load(input).expect("settings");
    let app = App::open(settings, Clock::Fixed(Instant::from_micros(order.now))).await.expect("the ledger opens");
    let options = SmtpOptions { timeout: Duration::from_secs(200), ..options(order.port) };
    let _ = run(&kit_with(app, options), false).await;
    panic!("it is killed before its server answers");
}
