//! Ledgers that a program keeps after it wrote them: whatever another program changes between two charges counts for the
//! second, though nothing is loaded for it.

use crate::support::{PACK, Sandbox, both_databases, instant, purchase, usage};
use crate::tampering::Raw;
use creditd::app::{Answer, App, AppError};
use creditd::core::credits::{Credits, Split};
use creditd::core::ids::{AccountId, Key, UserId};
use creditd::core::ledger::{Call, Cap, Closing, Hold, NewTerms, Usage};
use creditd::core::price::PriceVersion;
use creditd::core::transaction::{Reason, Status, Transaction};

const NOW: &str = "2013-01-10T00:00:00Z";

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

async fn charge(app: &App, id: &AccountId, key: &str) -> Answer {
    app.charge(id, &usage("erase", key)).await.expect("an answer")
}

/// A program that keeps the ledger of an account, and another one.
struct Programs {
    sandbox: Sandbox,
    acme: AccountId,
    keeper: App,
    other: App,
}

impl Programs {
    async fn on(sandbox: Sandbox) -> Programs {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let programs = [sandbox.second_program(instant(NOW)).await, sandbox.second_program(instant(NOW)).await];
        let [keeper, other] = programs;
        // The first opens the month, the second is planned on what was kept of it.
        charge(&keeper, &acme, "first").await;
        charge(&keeper, &acme, "second").await;
        Programs { sandbox, acme, keeper, other }
    }

    /// What the other program does, and the next charge of the one that keeps.
    async fn charge_after(&self, call: Call, key: &str) -> Result<Answer, AppError> {
        self.other.call(&self.acme, call).await.expect("done by the other");
        self.keeper.charge(&self.acme, &usage("erase", key)).await
    }

    async fn set_price(&self, action: &str, credits: Option<i64>) {
        let version = PriceVersion { effective_from: self.other.now(), credits: credits.map(Credits::new) };
        let code = usage(action, "any").action;
        self.other.store.set_price(&code, "", "", version).await.expect("a price");
    }
}

/// R15: numbers without gaps, and each balance the one before it and the change.
fn assert_whole(rows: &[Transaction]) {
    let mut before = (0, Split::ZERO);
    for row in rows {
        assert_eq!((row.seq, row.balance), (before.0 + 1, before.1.plus(row.delta).expect("small sums")));
        before = (row.seq, row.balance);
    }
}

both_databases! {
    /// What cannot be read any more stands in the way of whoever loads it, and of nobody else.
    async fn a_charge_on_a_ledger_that_was_just_written_loads_nothing(sandbox: Sandbox) {
        let Programs { sandbox, acme, keeper, .. } = Programs::on(sandbox).await;
        let mut raw = Raw::new(&sandbox).await;
        raw.execute("UPDATE terms SET zone = 'Nowhere/Land'").await.expect("changed");
        for n in 0..3 {
            assert_eq!(charge(&keeper, &acme, &format!("k{n}")).await.row.seq, 4 + n);
        }
        let loaded = sandbox.at(NOW).charge(&acme, &usage("erase", "loaded")).await;
        assert!(loaded.is_err(), "a program that loads it finds out");
        raw.execute("UPDATE terms SET zone = 'UTC'").await.expect("put back");
        assert_whole(&sandbox.log(&acme).await);
        sandbox.assert_verified().await;
    }

    /// R8.
    async fn r8_a_price_of_another_program_counts_at_once(sandbox: Sandbox) {
        let programs = Programs::on(sandbox).await;
        let Programs { sandbox, acme, keeper, .. } = &programs;
        for (n, credits) in [9, 2, 30].into_iter().enumerate() {
            programs.set_price("erase", Some(credits)).await;
            for again in ["a", "b"] {
                let row = charge(keeper, acme, &format!("k{n}{again}")).await.row;
                assert_eq!((row.unit_price.get(), row.delta.total().get()), (credits, -credits));
            }
            // Beyond the batches that do without what is kept after it was stale.
            for again in 0..120 {
                charge(keeper, acme, &format!("k{n}-{again}")).await;
            }
        }
        programs.set_price("erase", None).await;
        let Err(AppError::Refused(refusal)) = keeper.charge(acme, &usage("erase", "retired")).await else {
            panic!("the action is retired")
        };
        assert_eq!(refusal.code(), "retired_action");
        programs.set_price("sing", Some(3)).await;
        let row = keeper.charge(acme, &usage("sing", "new")).await.expect("a new action").row;
        assert_eq!(row.unit_price.get(), 3);
        sandbox.assert_verified().await;
    }

    /// R9: a key that another program used is answered with its row, or is a conflict.
    async fn r9_a_key_of_another_program_is_a_replay(sandbox: Sandbox) {
        let programs = Programs::on(sandbox).await;
        let Programs { sandbox, acme, keeper, other } = &programs;
        let first = charge(other, acme, "same").await;
        let again = charge(keeper, acme, "same").await;
        assert_eq!((again.row, again.replayed), (first.row, true));
        assert!(charge(keeper, acme, "first").await.replayed, "its own, long written");
        let Err(AppError::Refused(refusal)) = keeper.charge(acme, &usage("upscale", "same")).await else {
            panic!("the key was used for something else")
        };
        assert_eq!(refusal.code(), "idempotency_conflict");
        assert_eq!(sandbox.log(acme).await.len(), 4);
        sandbox.assert_verified().await;
    }

    /// R10, R12, R17, R18, R2: what another program does to the account counts for the next charge.
    async fn whatever_another_program_does_counts_at_once(sandbox: Sandbox) {
        let programs = Programs::on(sandbox).await;
        let Programs { sandbox, acme, keeper, other } = &programs;
        let bought = programs.charge_after(Call::Purchase(purchase(1, "inv-1")), "bought").await.expect("charged");
        assert_eq!(bought.available.purchased.get(), PACK);
        let terms = NewTerms { key: key("terms"), zone: None, allowance: Some(Credits::new(20)) };
        programs.charge_after(Call::Terms(terms), "terms-charge").await.expect("charged");
        let action = usage("erase", "any").action;
        let hold =
            Hold { key: key("hold"), user: None, action, quantity: 100, ttl_seconds: 60, comment: String::new() };
        let held = programs.charge_after(Call::Hold(hold), "held").await.expect("charged");
        assert_eq!(held.available.free.get(), 1_500 - 5 * 7 - 700);
        let ann = UserId::new("ann").expect("a user");
        let cap = Cap { key: key("cap"), user: ann.clone(), credits: Some(Credits::new(5)) };
        programs.charge_after(Call::Cap(cap), "capped").await.expect("another user");
        let by_ann = Usage { user: Some(ann), ..usage("erase", "by-ann") };
        let row = keeper.charge(acme, &by_ann).await.expect("an answer").row;
        assert_eq!((row.status, row.reason), (Status::Failed, Some(Reason::UserCap)));
        let closing = Closing { key: key("closing"), reopen: false, comment: "why".to_owned() };
        let Err(AppError::Refused(refusal)) = programs.charge_after(Call::Closing(closing), "closed").await else {
            panic!("the account is closed")
        };
        assert_eq!(refusal.code(), "account_closed");
        let reopening = Closing { key: key("reopening"), reopen: true, comment: "why".to_owned() };
        other.call(acme, Call::Closing(reopening)).await.expect("opened again");
        let later = keeper.at(instant("2013-01-10T00:00:01Z")).expect("a fixed clock");
        charge(&later, acme, "open").await;
        // The month turns: what is kept lapses, and the new terms count.
        let later = keeper.at(instant("2013-02-01T00:00:00Z")).expect("a fixed clock");
        assert_eq!(charge(&later, acme, "february").await.available.free.get(), 20 - 7);
        charge(&other.at(later.now()).expect("a fixed clock"), acme, "by-the-other").await;
        charge(&later, acme, "after-it").await;
        assert_whole(&sandbox.log(acme).await);
        sandbox.assert_verified().await;
    }

    /// R6: two programs that keep the same account never take more than there is.
    async fn r6_two_programs_that_keep_an_account_take_no_more_than_it_has(sandbox: Sandbox) {
        let Programs { sandbox, acme, keeper, other } = Programs::on(sandbox).await;
        let charges = (0..300).map(|n| {
            let (app, id) = (if n % 2 == 0 { keeper.clone() } else { other.clone() }, acme.clone());
            tokio::spawn(async move { charge(&app, &id, &format!("k{n}")).await })
        });
        let mut done = 2;
        for task in charges.collect::<Vec<_>>() {
            done += usize::from(task.await.expect("a task").row.status == Status::Success);
        }
        assert_eq!(done, 1_500 / 7);
        assert_whole(&sandbox.log(&acme).await);
        sandbox.assert_verified().await;
    }

    /// R15: a database that was set back to an earlier state, as a failover to a server that was behind does, gets no row
    /// whose number leaves a gap.
    async fn r15_a_database_that_was_set_back_is_gone_on_with(sandbox: Sandbox) {
        let Programs { sandbox, acme, keeper, .. } = Programs::on(sandbox).await;
        let mut raw = Raw::new(&sandbox).await;
        let tables = ["transactions", "grants", "accounts"];
        for table in tables {
            raw.execute(&format!("CREATE TABLE old_{table} AS SELECT * FROM {table}")).await.expect("kept");
        }
        charge(&keeper, &acme, "lost").await;
        for table in tables {
            raw.execute(&format!("DELETE FROM {table}")).await.expect("gone");
            raw.execute(&format!("INSERT INTO {table} SELECT * FROM old_{table}")).await.expect("as before");
            raw.execute(&format!("DROP TABLE old_{table}")).await.expect("dropped");
        }
        assert_eq!(charge(&keeper, &acme, "next").await.row.seq, 4);
        assert!(!charge(&keeper, &acme, "lost").await.replayed);
        assert_whole(&sandbox.log(&acme).await);
        sandbox.assert_verified().await;
    }
}
