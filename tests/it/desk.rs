//! The desk when things go wrong: callers who leave, work that is dropped in the middle, a ledger on which a plan panics.

use crate::support::{Backend, Sandbox, both_databases, purchase, usage};
use creditd::app::{App, AppError};
use creditd::core::ids::{AccountId, Key};
use creditd::core::ledger::{Call, Refund};
use creditd::store::{Batch, Load, StoreError};
use std::task::Poll;
use std::time::Duration;

/// Ample for a call that waits for nobody.
const CALL_MAX: Duration = Duration::from_secs(60);
/// More than enough to meet a unit of work in each of its pauses, on a machine so busy that the server has often answered before
/// anybody pauses.
const ROUNDS_MAX: usize = 2_000;

/// Drops `future` in its `pauses`th pause: at the pause's beginning, when what it waits for has just been asked for, or at
/// its end, when that was just done. What comes of it when it ends before.
async fn dropped_in_pause<F: Future>(pauses: usize, at_end: bool, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut paused = 0;
    std::future::poll_fn(move |context| {
        if paused == pauses {
            return Poll::Ready(None);
        }
        paused += 1;
        match future.as_mut().poll(context) {
            Poll::Pending if paused == pauses && !at_end => Poll::Ready(None),
            polled => polled.map(Some),
        }
    })
    .await
}

fn charge(key: &str) -> Call {
    Call::Charge(usage("erase", key))
}

/// A call that must be done soon.
async fn call(app: &App, id: &AccountId, asked: Call) -> Result<bool, AppError> {
    let key = asked.key().clone();
    let answered = tokio::time::timeout(CALL_MAX, app.call(id, asked)).await;
    answered.unwrap_or_else(|_| panic!("{key} is not answered")).map(|answer| answer.replayed)
}

/// Two accounts with room for every call of a test.
async fn two_accounts(sandbox: &Sandbox) -> (App, [AccountId; 2]) {
    let app = sandbox.at("2013-01-10T00:00:00Z");
    let mut accounts = Vec::new();
    for id in ["a0", "a1"] {
        accounts.push(sandbox.open_account(id, "UTC", "2013-01-01").await);
        app.purchase(&accounts[accounts.len() - 1], &purchase(10, &format!("inv-{id}"))).await.expect("a purchase");
    }
    (app, accounts.try_into().expect("two"))
}

both_databases! {
    /// Half of the callers of a batch leave. The others are answered, and so would they have been: whoever stops waiting
    /// does not stop the call.
    async fn a_caller_who_leaves_takes_nobody_along(sandbox: Sandbox) {
        let (app, accounts) = two_accounts(&sandbox).await;
        for round in 0..20 {
            let asked = |n: usize| (accounts[n % 2].clone(), charge(&format!("k{round}-{n}")));
            let stays = move |n: usize| (n + round).is_multiple_of(3);
            let callers: Vec<_> = (0..24)
                .map(|n| {
                    let (app, (account, charge)) = (app.clone(), asked(n));
                    tokio::spawn(async move {
                        if stays(n) {
                            return call(&app, &account, charge).await.map(Some);
                        }
                        let left = dropped_in_pause(1, n % 2 == 0, app.call(&account, charge)).await;
                        left.transpose().map(|answer| answer.map(|answer| answer.replayed))
                    })
                })
                .collect();
            for (n, caller) in callers.into_iter().enumerate() {
                let replayed = caller.await.expect("a caller").expect("done");
                assert!(replayed != Some(true) && (replayed.is_some() || !stays(n)), "k{round}-{n}");
            }
            for n in 0..24 {
                let (account, charge) = asked(n);
                assert!(call(&app, &account, charge).await.expect("done"), "k{round}-{n} was not done");
            }
        }
        sandbox.assert_verified().await;
    }

    /// A job is dropped with whoever ran it, at every point at which that can happen: nothing of it is half done, and
    /// nobody finds the writer, a connection or a row taken.
    async fn work_that_is_dropped_anywhere_leaves_nothing_behind(sandbox: Sandbox) {
        let (app, accounts) = two_accounts(&sandbox).await;
        let (mut dropped, mut done, mut pauses) = (0, 0, 0);
        for round in 0..ROUNDS_MAX {
            pauses += 1;
            for at_end in [false, true] {
                // On both accounts a transaction of several statements, on one of them perhaps a single one.
                let accounts = &accounts[..1 + pauses % 2];
                let asked = charge(&format!("job-{round}-{at_end}"));
                let mut load = Load::default();
                accounts.iter().for_each(|id| load.call(id, &asked, app.now()));
                let plan = |batch: &mut Batch| {
                    for ledger in batch.ledgers.values_mut() {
                        ledger.apply(&asked, &batch.prices, app.now()).expect("charged");
                    }
                };
                match dropped_in_pause(pauses, at_end, app.store.update(&load, plan)).await {
                    None => dropped += 1,
                    Some(updated) => {
                        updated.expect("done");
                        done += 1;
                    }
                }
                let mut replayed = Vec::new();
                for id in accounts {
                    call(&app, id, charge(&format!("after-{round}-{at_end}"))).await.expect("the writer is free");
                    replayed.push(call(&app, id, asked.clone()).await.expect("charged, now or before"));
                }
                assert!(replayed.windows(2).all(|two| two[0] == two[1]), "{}: half done", asked.key());
            }
            // Behind its last pause nothing is dropped any more. A batch is as little as two statements, and a fast server answers
            // before anybody pauses: then from the first one again.
            match (done > 8, dropped > 1) {
                (true, true) => break,
                (true, false) => (done, pauses) = (0, 0),
                (false, _) => {}
            }
        }
        assert!(dropped > 1 && done > 8, "{dropped} dropped, {done} done");
        for id in &accounts {
            let log = sandbox.log(id).await;
            let mut keys: Vec<&Key> = log.iter().filter_map(|row| row.key.as_ref()).collect();
            keys.sort_unstable();
            assert!(keys.windows(2).all(|two| two[0] != two[1]), "{id}");
        }
        sandbox.assert_verified().await;
    }
}

both_databases! {
    /// A ledger that was changed behind creditd's back can make a plan panic. Its callers are told, those who came
    /// meanwhile are answered though nobody else comes, and everything goes on.
    fn a_panic_keeps_nobody_waiting(backend: Backend) {
        // One thread, so that it is known who has come when.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread");
        runtime.block_on(async {
            let sandbox = Sandbox::on(backend).await;
            let (app, [broken, whole]) = two_accounts(&sandbox).await;
            call(&app, &broken, charge("charge")).await.expect("charged");
            let gone = "DELETE FROM grants WHERE account_id = 'a0' AND source = 'monthly'";
            assert_eq!(sandbox.execute(gone).await, Ok(1));
            for round in 0..5 {
                let key = |name: &str| Key::new(&format!("{name}-{round}")).expect("a key");
                let refund =
                    Refund { key: key("refund"), charge: Key::new("charge").expect("a key"), credits: None, comment: String::new() };
                let ask = |id: &AccountId, asked: Call| {
                    let (app, id) = (app.clone(), id.clone());
                    tokio::spawn(async move { call(&app, &id, asked).await })
                };
                let panics = ask(&broken, Call::Refund(refund));
                // It asks, and its batch begins.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                let same = ask(&broken, charge(key("same").as_str()));
                let other = ask(&whole, charge(key("other").as_str()));
                let error = panics.await.expect("a task").expect_err("there is no such grant");
                assert!(matches!(error, AppError::Store(StoreError::Interrupted)), "{error:?}");
                assert!(!same.await.expect("a task").expect("its account has another grant"));
                assert!(!other.await.expect("a task").expect("nobody touched its account"));
            }
        });
    }
}
