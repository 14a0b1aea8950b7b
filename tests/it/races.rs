//! Many at once: calls, jobs and programs that meet on one account, on both databases. However they meet, each thing
//! happens once, and what is stored is what the log says.

use crate::ledger::{Event, History, Step, World, check_invariants, history};
use crate::support::{Backend, PACK, Sandbox, both_databases, instant, purchase, usage};
use creditd::app::{Answer, App, AppError};
use creditd::core::ids::{AccountId, Key};
use creditd::core::ledger::{Call, Capture, Hold, Ledger, Usage, Void};
use creditd::core::transaction::{Kind, Status, Transaction};
use creditd::store::Load;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::process::{Child, Command, Stdio};

fn key(text: impl AsRef<str>) -> Key {
    Key::new(text.as_ref()).expect("a key")
}

/// Asks for all of them at once; the answers, in order.
async fn all_at_once(calls: impl IntoIterator<Item = (App, AccountId, Call)>) -> Vec<Result<Answer, AppError>> {
    let ask = |(app, id, call): (App, AccountId, Call)| tokio::spawn(async move { app.call(&id, call).await });
    let asked: Vec<_> = calls.into_iter().map(ask).collect();
    let mut answers = Vec::new();
    for task in asked {
        answers.push(task.await.expect("a task"));
    }
    answers
}

/// Starts a process of its own on the ledger, at an instant.
fn start(sandbox: &Sandbox, now: &str, args: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
    command.env_clear().env("CREDITD_NOW", now).current_dir(sandbox.path(""));
    command.args(args.split(' ')).args(["--database-url", sandbox.url()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs")
}

/// Brings one account up to the time of `app`, as the jobs do.
async fn roll_over(app: App, id: AccountId) {
    let now = app.now();
    let roll_over = |ledger: &mut Ledger| ledger.roll_over(now, now).expect("small sums");
    let load = Load::accounts([&id], now);
    app.store.update(&load, |batch| batch.ledgers.values_mut().for_each(roll_over)).await.expect("a job");
}

/// The log of an account makes exactly what is stored beside it, and every rule about rows holds.
async fn check_log(sandbox: &Sandbox, id: &AccountId) -> Vec<Transaction> {
    let rows = sandbox.log(id).await;
    let accounts = sandbox.store().accounts(std::slice::from_ref(id)).await.expect("the account");
    let ledger = Ledger::replay(accounts[0].account.clone(), &rows).expect("small sums");
    check_invariants(&rows, &ledger).expect("the rules of rows");
    crate::model::compare_stored(sandbox, id, &ledger).await.expect("what the log says");
    rows
}

both_databases! {
    /// R10: of a capture, a void and the end of a hold at the same moment, one settles it.
    async fn r10_a_hold_is_settled_once_whoever_comes(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let start = sandbox.at("2013-01-31T23:59:00Z");
        let end = instant("2013-02-01T00:00:00Z"); // what is given back lapses at the same instant
        let before_end = sandbox.at_instant(end.plus_micros(-1));
        let other = sandbox.second_program(end.plus_micros(-1)).await;
        let holds: Vec<String> = (0..8).map(|n| format!("h{n}")).collect();
        let hold = |name: &String| {
            let action = usage("erase", "any").action;
            let hold = Hold { key: key(name), user: None, action, quantity: 10, ttl_seconds: 60, comment: String::new() };
            (start.clone(), acme.clone(), Call::Hold(hold))
        };
        for answer in all_at_once(holds.iter().map(hold)).await {
            assert_eq!(answer.expect("held").row.kind, Kind::Hold);
        }
        let jobs = [sandbox.at_instant(end), sandbox.second_program(end).await];
        let jobs = jobs.map(|app| tokio::spawn(roll_over(app, acme.clone())));
        let settle = |name: &String| {
            let capture = Capture { key: key(format!("c-{name}")), hold: key(name), credits: None, comment: String::new() };
            let void = Void { key: key(format!("v-{name}")), hold: key(name), comment: String::new() };
            let (capture, void) = (Call::Capture(capture), Call::Void(void));
            [(before_end.clone(), acme.clone(), capture), (other.clone(), acme.clone(), void)]
        };
        let answers = all_at_once(holds.iter().flat_map(settle)).await;
        for job in jobs {
            job.await.expect("a job");
        }
        let rows = check_log(&sandbox, &acme).await;
        for (name, answers) in holds.iter().zip(answers.chunks(2)) {
            let seq = rows.iter().find(|row| row.key.as_ref() == Some(&key(name))).expect("the hold").seq;
            let of_kind = |kind| rows.iter().filter(move |row| row.kind == kind && row.corrects == Some(seq));
            assert_eq!(of_kind(Kind::Release).count(), 1, "{name}");
            let charges: Vec<&Transaction> = of_kind(Kind::Charge).collect();
            assert_eq!(charges.len(), 1, "{name}");
            let done: Vec<&Answer> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
            let asked: Vec<&Transaction> = done.iter().map(|answer| &answer.row).collect();
            assert_eq!(asked, charges.into_iter().filter(|row| row.key.is_some()).collect::<Vec<_>>(), "{name}");
            for refusal in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                let AppError::Refused(refusal) = refusal else { panic!("{refusal}") };
                assert!(["hold_captured", "hold_voided", "hold_expired"].contains(&refusal.code()), "{refusal}");
            }
        }
        sandbox.assert_verified().await;
    }

    /// R3, R4: charges of the last instant of a month and of the first of the next, while two programs open the new month.
    async fn r3_charges_and_resets_meet_at_the_end_of_a_month(sandbox: Sandbox) {
        let end = instant("2013-02-01T00:00:00Z");
        let programs = [sandbox.at_instant(end), sandbox.second_program(end).await];
        let mut accounts = Vec::new();
        for n in 0..6 {
            accounts.push(sandbox.open_account(&format!("a{n}"), "UTC", "2013-01-01").await);
        }
        let jobs: Vec<_> = accounts
            .iter()
            .flat_map(|id| programs.iter().map(|app| tokio::spawn(roll_over(app.clone(), id.clone()))))
            .collect();
        let charge = |(n, id): (usize, &AccountId)| {
            [(-1, "before"), (0, "at")].map(|(us, name)| {
                let app = programs[n % 2].at(end.plus_micros(us)).expect("a fixed clock");
                (app, id.clone(), Call::Charge(usage("erase", name)))
            })
        };
        for answer in all_at_once(accounts.iter().enumerate().flat_map(charge)).await {
            assert_eq!(answer.expect("an answer").row.status, Status::Success);
        }
        for job in jobs {
            job.await.expect("a job");
        }
        for id in &accounts {
            roll_over(programs[0].clone(), id.clone()).await;
            check_log(&sandbox, id).await;
            let grants = format!("SELECT label || ' ' || consumed || ' ' || lapsed || ' ' || remaining FROM grants
                                   WHERE account_id = '{id}' ORDER BY label");
            assert_eq!(sandbox.texts(&grants).await, ["free:2013-01 7 1493 0", "free:2013-02 7 0 1493"], "{id}");
        }
        sandbox.assert_verified().await;
    }

    /// R6: room for two charges is room for two, though each is a process of its own.
    async fn r6_processes_share_the_room_of_an_account(sandbox: Sandbox) {
        const PROCESSES: usize = 6;
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let charge = |n: usize| {
            let args = format!("charge --account acme --action translation --quantity 700 --key k{n}");
            start(&sandbox, "2013-03-10T00:00:00Z", &args)
        };
        let processes: Vec<Child> = (0..PROCESSES).map(charge).collect();
        let ended = processes.into_iter().map(|process| process.wait_with_output().expect("the binary ends"));
        let codes = ended.map(|output| match output.status.code() {
            Some(code @ (0 | 6)) => code,
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
        });
        assert_eq!(codes.filter(|code| *code == 0).count(), 2); // 1,500 credits
        let rows = check_log(&sandbox, &acme).await;
        assert_eq!(rows.iter().filter(|row| row.kind == Kind::Charge).count(), PROCESSES);
        let balance = sandbox.balance(&sandbox.at("2013-03-10T00:00:00Z"), &acme).await;
        assert_eq!(balance.available.total().get(), 100);
        sandbox.assert_verified().await;
    }

    /// R9: a program is killed in the middle of an import, between two commits or within one. Run again, it does the rest.
    async fn r9_an_import_that_is_killed_goes_on_where_it_was(sandbox: Sandbox) {
        const ROWS: usize = 6_000; // two batches
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let now = "2013-01-10T00:00:00Z";
        sandbox.at(now).purchase(&acme, &purchase(2, "inv-1")).await.expect("a purchase");
        let row = |n: usize| {
            let (hour, minute, second) = (n / 3_600, n / 60 % 60, n % 60);
            format!("2013-01-11T{hour:02}:{minute:02}:{second:02}Z,acme,ann,translation,success,,k{n}\n")
        };
        let usage: String = (0..ROWS).map(row).collect();
        sandbox.write("usage.csv", format!("occurred_at,account,user,action,status,comment,key\n{usage}"));
        let (now, args) = ("2013-01-12T00:00:00Z", "transactions import usage.csv");
        let mut killed = start(&sandbox, now, args);
        let charges = "SELECT CAST(count(*) AS TEXT) FROM transactions WHERE kind = 'charge'";
        while sandbox.texts(charges).await == ["0"] && killed.try_wait().expect("a process").is_none() {}
        killed.kill().expect("it can be killed");
        killed.wait().expect("it is gone");
        let before: usize = sandbox.texts(charges).await[0].parse().expect("a number");
        assert!(before > 0);
        let output = start(&sandbox, now, args).wait_with_output().expect("the binary ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        println!("killed after {before} of {ROWS}");

        let rows = check_log(&sandbox, &acme).await;
        let charged: Vec<&Transaction> = rows.iter().filter(|row| row.kind == Kind::Charge).collect();
        assert_eq!(charged.len(), ROWS);
        assert!(charged.iter().all(|row| row.status == Status::Success));
        let left = sandbox.balance(&sandbox.at(now), &acme).await.available.total().get();
        assert_eq!(left, 1_500 + 2 * PACK - i64::try_from(ROWS).expect("few"));
        sandbox.assert_verified().await;
    }

    /// R12: of many accounts that a payment is recorded for at once, by several programs, one has it. The others are refused,
    /// whoever comes when.
    async fn r12_a_payment_is_of_one_account_whoever_comes(sandbox: Sandbox) {
        const PAYMENTS: usize = 12;
        let mut accounts = Vec::new();
        for n in 0..6 {
            accounts.push(sandbox.open_account(&format!("a{n}"), "UTC", "2013-01-01").await);
        }
        let now = instant("2013-01-10T00:00:00Z");
        let programs = [sandbox.at_instant(now), sandbox.second_program(now).await, sandbox.second_program(now).await];
        let buy = |n: usize| {
            let (payment, at) = (n / accounts.len(), n % accounts.len());
            let bought = Call::Purchase(purchase(1, &format!("pi_{payment}")));
            (programs[n % programs.len()].clone(), accounts[at].clone(), bought)
        };
        let answers = all_at_once((0..PAYMENTS * accounts.len()).map(buy)).await;
        for of_payment in answers.chunks(accounts.len()) {
            assert_eq!(of_payment.iter().filter(|answer| answer.is_ok()).count(), 1, "{of_payment:?}");
            for error in of_payment.iter().filter_map(|answer| answer.as_ref().err()) {
                let AppError::Refused(refusal) = error else { panic!("{error}") };
                assert_eq!(refusal.code(), "payment_used", "{refusal}");
            }
        }
        let bought = "SELECT reference FROM transactions WHERE kind = 'purchase' ORDER BY reference";
        let mut payments: Vec<String> = (0..PAYMENTS).map(|n| format!("pi_{n}")).collect();
        payments.sort();
        assert_eq!(sandbox.texts(bought).await, payments);
        // Who has it is told so again.
        let again = all_at_once((0..PAYMENTS * accounts.len()).map(buy)).await;
        assert_eq!(again.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.replayed)).count(), PAYMENTS);
        for id in &accounts {
            check_log(&sandbox, id).await;
        }
        sandbox.assert_verified().await;
    }

    /// R6, R9: connections of their own, all at one account and under keys that come twice.
    async fn r6_stores_share_the_room_of_an_account(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let now = instant("2013-01-10T00:00:00Z");
        sandbox.at_instant(now).purchase(&acme, &purchase(1, "inv-1")).await.expect("a purchase");
        let mut programs = Vec::new();
        for _ in 0..4 {
            programs.push(sandbox.second_program(now).await);
        }
        let charge = |n: usize| {
            let usage = Usage { quantity: 1_000, ..usage("translation", &format!("k{}", n / 2)) };
            (programs[n % 4].clone(), acme.clone(), Call::Charge(usage))
        };
        let answers = all_at_once((0..24).map(charge)).await;
        let answers: Vec<Answer> = answers.into_iter().map(|answer| answer.expect("an answer")).collect();
        let new: Vec<&Answer> = answers.iter().filter(|answer| !answer.replayed).collect();
        assert_eq!(new.len(), 12);
        let succeeded = new.iter().filter(|answer| answer.row.status == Status::Success).count();
        assert_eq!(succeeded, usize::try_from((1_500 + PACK) / 1_000).expect("few"));
        for twins in answers.chunks(2) {
            assert_eq!(twins[0].row, twins[1].row);
        }
        check_log(&sandbox, &acme).await;
        sandbox.assert_verified().await;
    }
}

both_databases! {
    /// Accounts do not touch each other: histories of several, all at once and through the same batches, end as each does
    /// alone.
    fn accounts_do_not_touch_each_other(backend: Backend) {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let histories = prop::collection::vec(history(), 3);
        let config = crate::model::config(4);
        let side_by_side = |histories: Vec<History>| runtime.block_on(side_by_side(backend, &histories));
        TestRunner::new(config).run(&histories, side_by_side).expect("as each alone");
    }

    /// Whatever is asked of one account all at once, what is stored is what the log says, and the log is in order.
    fn any_calls_may_come_at_once(backend: Backend) {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let config = crate::model::config(6);
        let at_once = |history: History| runtime.block_on(at_once(backend, &history));
        TestRunner::new(config).run(&history(), at_once).expect("in order");
    }
}

async fn side_by_side(backend: Backend, histories: &[History]) -> Result<(), TestCaseError> {
    let sandbox = Sandbox::on(backend).await;
    let mut tasks = Vec::new();
    for (n, history) in histories.iter().enumerate() {
        let id = crate::model::open(&sandbox, &format!("a{n}"), history).await;
        // Prices are everybody's.
        let is_own = |step: &&Step| !matches!(step, Step::Price { .. });
        let steps: Vec<_> = history.steps.iter().filter(is_own).cloned().collect();
        let mut world = World::new(history);
        world.payer = format!("a{n}-");
        steps.iter().try_for_each(|step| world.step(step))?;
        let app = sandbox.at_instant(world.now);
        tasks.push(tokio::spawn(async move {
            for (now, event) in &world.done {
                let app = app.at(*now).expect("a sandbox takes a fixed clock");
                crate::model::happen(&app, &id, event).await?;
            }
            Ok::<_, TestCaseError>((id, world))
        }));
    }
    for task in tasks {
        let (id, world) = task.await.expect("a task")?;
        let rows = sandbox.log(&id).await;
        prop_assert_eq!(&rows[..], world.ledger.rows());
        crate::model::compare_stored(&sandbox, &id, &world.ledger).await?;
    }
    let drifts = sandbox.drifts().await;
    prop_assert!(drifts.is_empty(), "{:#?}", drifts);
    Ok(())
}

async fn at_once(backend: Backend, history: &History) -> Result<(), TestCaseError> {
    let sandbox = Sandbox::on(backend).await;
    let acme = crate::model::open(&sandbox, "acme", history).await;
    let world = World::played(history, &history.steps)?;
    let programs = [sandbox.at_instant(world.now), sandbox.second_program(world.now).await];
    let mut jobs = Vec::new();
    let mut calls = Vec::new();
    for (n, (now, event)) in world.done.iter().enumerate() {
        let app = programs[n % 2].at(*now).expect("a sandbox takes a fixed clock");
        match event {
            Event::Call(call, _) => calls.push((app, acme.clone(), (**call).clone())),
            Event::Job => jobs.push(tokio::spawn(roll_over(app, acme.clone()))),
            Event::Price(..) => {}
        }
    }
    for answer in all_at_once(calls).await {
        prop_assert!(matches!(answer, Ok(_) | Err(AppError::Refused(_))), "{:?}", answer);
    }
    for job in jobs {
        job.await.expect("a job");
    }
    let rows = check_log(&sandbox, &acme).await;
    // R9: however often it came, each key has one row.
    let mut keys: Vec<&Key> = rows.iter().filter_map(|row| row.key.as_ref()).collect();
    keys.sort_unstable();
    prop_assert!(keys.windows(2).all(|two| two[0] != two[1]));
    // R17: what caps have counted is what their users moved.
    let counted = sandbox.texts("SELECT user_id || ' ' || sum(used) FROM cap_months GROUP BY user_id ORDER BY 1").await;
    for line in counted {
        let (user, used) = line.split_once(' ').expect("a user and a sum");
        let moved = rows.iter().filter(|row| row.user.as_ref().is_some_and(|of| of.as_str() == user));
        let moved: i64 = moved.map(|row| row.delta.total().get()).sum();
        prop_assert_eq!(used, (-moved).to_string(), "{}", user);
    }
    let drifts = sandbox.drifts().await;
    prop_assert!(drifts.is_empty(), "{:#?}", drifts);
    Ok(())
}
