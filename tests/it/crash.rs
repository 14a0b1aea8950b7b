//! A process that charges and resets is killed at any moment, again and again, and its parent keeps the truth: nothing
//! that was answered is lost, nothing is there twice, and the ledger adds up each time.
//!
//! The process is this test binary itself, which runs the test below with an order in its environment. After each kill the ledger is opened anew, looked
//! at, and handed to the next process, whose clients send again what they had no answer to.

mod child;
mod script;
mod truth;

use crate::support::{Backend, META, Sandbox, account_id, both_databases};
use creditd::app::{App, AppError};
use creditd::core::ids::{AccountId, Key};
use creditd::core::ledger::Call;
use creditd::store::{Load, LogFilter};
use script::{ACCOUNTS, Line, Order, Said};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use truth::{Tally, Truth};

/// Kills on each database: hundreds in all, in about a minute. `CREDITD_CRASH_ROUNDS` asks for another number.
const ROUNDS: u32 = 200;
/// Kills of one ledger: verify and the log are read whole after each, so it stays small.
const ROUNDS_PER_LEDGER: u32 = 10;
/// Names the order to the child, and which test takes it.
const ORDER: &str = "CREDITD_CRASH_ORDER";
const CHILD: &str = "crash::killed_at_any_moment_nothing_is_lost_and_nothing_is_done_twice::sqlite";
/// Calls under way at once: one by one, in small batches, or all there are.
const AT_ONCE: &[usize] = &[1, 8, 1_000];
/// A kill that does not wait for an answer comes within this time: about what it takes to the first ones.
const START_MICROS: u64 = 80_000;
/// After the answer or the beginning of the reset that a kill waits for, it comes within this time: that of a batch or two.
const PAUSE_MICROS: u64 = 6_000;
/// A child that says nothing for so long is stuck.
const SILENCE_MAX: Duration = Duration::from_secs(60);

both_databases! {
    /// R9, and the promise that a process keeps no state that matters.
    fn killed_at_any_moment_nothing_is_lost_and_nothing_is_done_twice(backend: Backend) {
        if let Some(order) = variable(ORDER) {
            return child::run(serde_json::from_str(&order).expect("an order"));
        }
        let seed = number("CREDITD_CRASH_SEED", 1);
        let rounds = u32::try_from(number("CREDITD_CRASH_ROUNDS", ROUNDS.into())).expect("rounds");
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let threads = threads.expect("threads");
        let mut tally = Tally::default();
        let mut round = Round { seed, round: 0 };
        while round.round < rounds {
            let mut sandbox = threads.block_on(new_ledger(backend));
            let mut truth = Truth::new(META.created_at.plus_days(9));
            for _ in 0..ROUNDS_PER_LEDGER {
                round.round += 1;
                let mut rng = fastrand::Rng::with_seed((seed << 32) + u64::from(round.round));
                let lines = run_and_kill(&sandbox, &truth, &mut rng);
                truth.hear(&lines, &mut tally);
                threads.block_on(look(&mut sandbox, &mut truth, rng.bool(), &mut tally));
            }
        }
        println!("{backend:?}: {tally:?}");
        // The kills hit start and stop of everything, or this proves less than it says.
        assert!(tally.before_any_answer > 0 && tally.before_any_answer < tally.kills, "{tally:?}");
        assert!(tally.unheard_but_done > 0 && tally.unheard_and_not_done > 0, "{tally:?}");
        assert!(tally.resets > 0 && tally.resets_cut_short > 0 && tally.replays > 0, "{tally:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the environment of a test run is its only setting")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Says where it was when something was found.
struct Round {
    seed: u64,
    round: u32,
}

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in round {} of CREDITD_CRASH_SEED={}", self.round, self.seed);
        }
    }
}

async fn new_ledger(backend: Backend) -> Sandbox {
    let sandbox = Sandbox::on(backend).await;
    for (id, zone) in ACCOUNTS {
        sandbox.open_account(id, zone, "2013-01-01").await;
    }
    sandbox.store().close().await;
    sandbox
}

/// When the child is killed.
#[derive(Debug)]
enum Kill {
    AfterStart(Duration),
    AfterAnswers(usize, Duration),
    InReset(usize, Duration),
}

impl Kill {
    fn drawn(at_once: usize, rng: &mut fastrand::Rng) -> Kill {
        // At once, the answers of a batch are still being given.
        let pause = Duration::from_micros(if rng.bool() { 0 } else { rng.u64(..PAUSE_MICROS) });
        match rng.u8(..10) {
            0..3 => Kill::AfterStart(Duration::from_micros(rng.u64(..START_MICROS))),
            3..8 => Kill::AfterAnswers(rng.usize(1..(at_once * 4).clamp(20, 300)), pause),
            _ => Kill::InReset(rng.usize(1..3), pause),
        }
    }
}

/// Starts a child on the ledger and kills it; what it said until then.
fn run_and_kill(sandbox: &Sandbox, truth: &Truth, rng: &mut fastrand::Rng) -> Vec<Line> {
    let mut at_once = AT_ONCE[rng.usize(..AT_ONCE.len())];
    let kill = Kill::drawn(at_once, rng);
    if matches!(kill, Kill::InReset(..)) {
        at_once = at_once.max(8); // one by one, the clients would take long to get there
    }
    let url = match sandbox.backend() {
        Backend::Sqlite => sandbox.url().to_owned(),
        Backend::Postgres => format!("{}&application_name=child", sandbox.url()),
    };
    let order = Order {
        url,
        folder: sandbox.path("").to_string_lossy().into_owned(),
        now: truth.now,
        seed: rng.u64(..),
        at_once,
        steps: truth.steps.clone(),
    };
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
        .env(ORDER, serde_json::to_string(&order).expect("an order"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this binary runs");
    let said = listen(&mut child);
    let mut lines = Vec::new();
    let is_there = wait_for(&kill, &said, &mut lines);
    child.kill().expect("a child of ours");
    let status = child.wait().expect("a child of ours");
    let mut errors = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("its errors");
    assert!(is_there && status.signal() == Some(9), "the child ended by itself or was stuck: {status}\n{errors}");
    lines.extend(said);
    lines
}

/// Reads what the child says, in a thread of its own.
fn listen(child: &mut Child) -> Receiver<Line> {
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let (say, said) = channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok).filter_map(|line| Line::read(&line)) {
            let _ = say.send(line);
        }
    });
    said
}

/// Waits for the moment to kill; false when the child ended before, or says nothing more.
fn wait_for(kill: &Kill, said: &Receiver<Line>, lines: &mut Vec<Line>) -> bool {
    let is_awaited = |line: &Line| match kill {
        Kill::AfterStart(_) => false,
        Kill::AfterAnswers(..) => matches!(line, Line::Answer { .. }),
        Kill::InReset(..) => matches!(line, Line::Resetting(_)),
    };
    let (awaited, pause) = match kill {
        Kill::AfterStart(pause) => (0, *pause),
        Kill::AfterAnswers(count, pause) | Kill::InReset(count, pause) => (*count, *pause),
    };
    while lines.iter().filter(|line| is_awaited(line)).count() < awaited {
        match said.recv_timeout(SILENCE_MAX) {
            Ok(line) => lines.push(line),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
        }
    }
    std::thread::sleep(pause);
    true
}

/// Looks at the ledger after a kill, as the next program that opens it. With `resend`, that is at once a client who sends
/// again what it has no answer to, perhaps while a server still works on what the dead process had asked.
async fn look(sandbox: &mut Sandbox, truth: &mut Truth, resend: bool, tally: &mut Tally) {
    truth.now = truth.now.plus_seconds(3_600);
    sandbox.reopen(truth.now).await;
    let app = sandbox.at_instant(truth.now);
    if resend {
        for (account, key, said, _) in ask(&app, truth.unheard()).await {
            truth.answered((account, key), said, tally);
        }
    }
    if sandbox.backend() == Backend::Postgres {
        await_the_end_of_its_connections(sandbox).await;
    }
    let log = app.store.log_page(&LogFilter::default(), None, usize::MAX).await.expect("the log");
    let ids: Vec<AccountId> = ACCOUNTS.iter().map(|(id, _)| account_id(id)).collect();
    let loaded = app.store.load(&Load::accounts(&ids, truth.now)).await.expect("the ledgers");
    truth.look(&log, &loaded.ledgers, tally);
    sandbox.assert_verified().await;
    replay(&app, truth, tally).await;
    assert_eq!(app.store.count_transactions().await.expect("a count"), log.len() as u64, "replays wrote rows");
    app.store.close().await;
}

/// Whoever was answered is answered the same again.
async fn replay(app: &App, truth: &mut Truth, tally: &mut Tally) {
    let fresh = truth.take_fresh();
    tally.replays += fresh.len();
    let expected: Vec<_> = fresh.iter().map(|(account, call, said)| (account, call.key(), said)).collect();
    let calls = fresh.iter().map(|(account, call, _)| (account.clone(), call.clone())).collect();
    for ((account, key, said, replayed), expected) in ask(app, calls).await.iter().zip(expected) {
        assert_eq!((account, key, said), expected);
        assert_eq!(*replayed, *said != Said::Refused, "{account} {key}");
    }
}

/// Makes calls at once; what each is answered, and whether it is marked as replayed.
async fn ask(app: &App, calls: Vec<(AccountId, Call)>) -> Vec<(AccountId, Key, Said, bool)> {
    let asked: Vec<_> = calls
        .into_iter()
        .map(|(account, call)| {
            let app = app.clone();
            tokio::spawn(async move {
                let key = call.key().clone();
                match app.call(&account, call).await {
                    Ok(answer) => (account, key, Said::of(&answer.row), answer.replayed),
                    Err(AppError::Refused(_)) => (account, key, Said::Refused, false),
                    Err(error) => panic!("{account} {key}: {error}"),
                }
            })
        })
        .collect();
    let mut told = Vec::new();
    for answer in asked {
        told.push(answer.await.expect("an answer"));
    }
    told
}

/// A server learns late that a client is dead, and may commit what it was at.
async fn await_the_end_of_its_connections(sandbox: &Sandbox) {
    let alive = "SELECT CAST(count(*) AS TEXT) FROM pg_stat_activity
                  WHERE datname = current_database() AND application_name = 'child'";
    let mut waits = 0;
    while sandbox.texts(alive).await != ["0"] {
        waits += 1;
        assert!(waits < 2_000, "connections of the killed process stay");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
