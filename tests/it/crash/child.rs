//! The process that is killed: many clients charge through one [`App`] while the clock moves on and the reset job runs.
//!
//! It says what a client was answered when the client was answered, in one write per line, so that a line is whole or
//! not there: what was said and then lost is lost by the ledger, not by the pipe.

use super::script::{CLIENTS, Line, Order, Said, account_of, calls_of};
use creditd::app::{App, AppError};
use creditd::clock::Clock;
use creditd::config::{LoadInput, Settings};
use creditd::core::ids::AccountId;
use creditd::core::ledger::Call;
use creditd::core::schedule::{Job, Slot};
use creditd::jobs::{Claiming, Kit, Planned, Run, run_slot};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Steps that clients take between two resets, at most.
const STEPS_MAX: u32 = 24;
/// The clock moves on by up to as many days with a reset: not each turns a month, some turn it for some zones only.
const DAYS_MAX: i64 = 24;

struct Shared {
    app: Mutex<Arc<App>>,
    /// Calls under way.
    at_once: Semaphore,
    /// Steps taken since the last reset.
    steps: Semaphore,
}

impl Shared {
    fn app(&self) -> Arc<App> {
        Arc::clone(&self.app.lock().expect("a lock"))
    }
}

/// Does as ordered until it is killed.
pub fn run(order: Order) {
    say("");
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    threads.expect("threads").block_on(async {
        let flags = [("database_url", order.url.as_str()), ("jobs.batch_accounts", "2")];
        let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let input = LoadInput { folder: (&order.folder).into(), flags, ..LoadInput::default() };
        let settings = Settings::load(input).expect("settings");
        let app = App::open(settings, Clock::Fixed(order.now)).await.expect("the ledger opens");
        let shared = Arc::new(Shared {
            app: Mutex::new(Arc::new(app)),
            at_once: Semaphore::new(order.at_once),
            steps: Semaphore::new(0),
        });
        let mut tasks = JoinSet::new();
        for client in 0..CLIENTS {
            tasks.spawn(be_client(Arc::clone(&shared), client, order.steps[client]));
        }
        tasks.spawn(reset_again_and_again(shared, order.seed));
        // None of them ends by itself.
        let ended = tasks.join_next().await.expect("a task");
        panic!("{ended:?}");
    });
}

fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).expect("the parent listens");
}

async fn be_client(shared: Arc<Shared>, client: usize, first_step: u64) {
    for step in first_step.. {
        let mut calls = JoinSet::new();
        for call in calls_of(client, step) {
            calls.spawn(ask(Arc::clone(&shared), account_of(client), call));
        }
        while let Some(answered) = calls.join_next().await {
            answered.expect("an answer");
        }
        shared.steps.add_permits(1);
    }
}

async fn ask(shared: Arc<Shared>, account: AccountId, call: Call) {
    let key = call.key().clone();
    let permit = shared.at_once.acquire().await.expect("it is never closed");
    let answer = shared.app().call(&account, call).await;
    let (said, replayed) = match answer {
        Ok(answer) => (Said::of(&answer.row), answer.replayed),
        Err(AppError::Refused(_)) => (Said::Refused, false),
        Err(error) => panic!("{account} {key}: {error}"),
    };
    say(&Line::Answer { account, key, said, replayed }.text());
    drop(permit);
}

async fn reset_again_and_again(shared: Arc<Shared>, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let app = shared.app();
    let new = move || Kit::new(App::clone(&app)).expect("templates and a mail folder");
    let kit = tokio::task::spawn_blocking(new).await.expect("a task");
    loop {
        shared.steps.acquire_many(rng.u32(1..STEPS_MAX)).await.expect("it is never closed").forget();
        let now = shared.app().now().plus_days(rng.i64(1..=DAYS_MAX));
        say(&Line::Resetting(now).text());
        let app = shared.app().at(now).expect("a sandbox takes a fixed clock");
        *shared.app.lock().expect("a lock") = Arc::new(app.clone());
        let kit = kit.at(app);
        let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
        match run_slot(&kit, Job::Reset, Slot::Tick(now), Claiming::Anyway, &mut run).await.expect("a run") {
            Planned::Ran(done) => assert_eq!(done.expect("the reset ends well").problems, []),
            Planned::Taken => panic!("a run that was asked for is never left out"),
        }
        say(&Line::Reset(now).text());
    }
}
