//! The whole ledger on real databases: what it is in memory it is in the store, whoever opens it, whatever is read of it
//! and when.

use crate::ledger::{Event, History, World, history, statement};
use crate::support::{Backend, Sandbox, account, account_id, both_databases};
use creditd::app::{App, AppError};
use creditd::core::calendar::Instant;
use creditd::core::credits::Split;
use creditd::core::ids::{AccountId, UserId};
use creditd::core::ledger::{CapUse, Closure, Grant, Ledger};
use creditd::core::statement::{Grouping, fold};
use creditd::store::{Load, NewAccount, Opened};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Random histories that go through each database.
const CASES: u32 = 12;
/// After so many steps another program goes on.
const STEPS_PER_PROGRAM: usize = 7;

both_databases! {
    /// The database is loaded and written in parts; whatever is left out must not matter. So a history that goes through
    /// the store gives every answer that it gives in memory, and leaves the rows, lots, balances and statements that it
    /// leaves there. Programs come and go; none takes anything with it.
    fn any_history_goes_through_the_store_as_in_memory(backend: Backend) {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let config = config(CASES);
        let through_the_store = |history: History| runtime.block_on(play(backend, &history));
        TestRunner::new(config).run(&history(), through_the_store).expect("as in memory");
    }
}

/// Few cases, and not many tries to find a smaller one that fails: each takes a database.
pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 32, failure_persistence: None, ..ProptestConfig::default() }
}

async fn play(backend: Backend, history: &History) -> Result<(), TestCaseError> {
    let sandbox = Sandbox::on(backend).await;
    let acme = open(&sandbox, "acme", history).await;
    let mut world = World::new(history);
    let mut program = sandbox.second_program(world.now).await;
    let (mut done, mut past) = (0, Vec::new());
    for (number, step) in history.steps.iter().enumerate() {
        world.step(step)?;
        for (now, event) in &world.done[done..] {
            let app = program.at(*now).expect("a sandbox takes a fixed clock");
            happen(&app, &acme, event).await?;
        }
        done = world.done.len();
        if number % STEPS_PER_PROGRAM == 0 {
            program = sandbox.second_program(world.now).await;
            compare_ledger(&program, &acme, &world).await?;
        }
        past.push(world.ledger.clone());
    }
    prop_assert_eq!(sandbox.log(&acme).await, world.ledger.rows());
    compare_stored(&sandbox, &acme, &world.ledger).await?;
    compare_caps_and_terms(&sandbox, &acme, &world.ledger).await?;
    compare_past(&program, &acme, &past).await?;
    compare_statement(&program.at(world.latest).expect("a fixed clock"), &acme, &world).await?;
    let drifts = sandbox.drifts().await;
    prop_assert!(drifts.is_empty(), "{:#?}", drifts);
    Ok(())
}

/// Opens the account of a history, known from the first.
pub async fn open(sandbox: &Sandbox, id: &str, history: &History) -> AccountId {
    let account = account(id, history.zone, history.opened_on);
    let (known_at, new) = (account.opened_at, NewAccount { account, locale: None, admins: Vec::new() });
    let opened = sandbox.store().open_accounts(&[new], known_at).await.expect("an account");
    assert_eq!(opened, [Opened::Created]);
    account_id(id)
}

/// Does to the ledger of `id` what was done in memory, and compares the answers.
pub async fn happen(app: &App, id: &AccountId, event: &Event) -> Result<(), TestCaseError> {
    match event {
        Event::Price(code, version) => {
            app.store.set_price(&crate::ledger::action(code), "", "", *version).await.expect("a price");
        }
        Event::Job => {
            let now = app.now();
            let roll_over = |ledger: &mut Ledger| ledger.roll_over(now, now).expect("small sums");
            let load = Load::accounts([id], now);
            app.store.update(&load, |batch| batch.ledgers.values_mut().for_each(roll_over)).await.expect("a job");
        }
        Event::Call(call, expected) => match (app.call(id, (**call).clone()).await, &**expected) {
            (Ok(found), Ok(expected)) => {
                prop_assert_eq!(&found.row, &expected.row, "{:?} at {}", call, app.now());
                prop_assert_eq!(found.replayed, expected.replayed, "{:?} at {}", call, app.now());
            }
            (Err(AppError::Refused(found)), Err(expected)) => {
                prop_assert_eq!(found.code(), expected.code(), "{:?} at {}", call, app.now());
            }
            (found, expected) => prop_assert!(false, "{:?}: {:?}, not {:?}", call, found, expected),
        },
    }
    Ok(())
}

/// What anybody loads to go on from.
async fn compare_ledger(app: &App, id: &AccountId, world: &World) -> Result<(), TestCaseError> {
    let mut batch = app.store.load(&Load::accounts([id], world.now)).await.expect("a ledger");
    let (found, expected) = (batch.ledgers.remove(id).expect("the account"), &world.ledger);
    prop_assert_eq!(&found.account, &expected.account);
    prop_assert_eq!(found.last_seq, expected.last_seq);
    prop_assert_eq!(found.last_recorded_at, expected.last_recorded_at);
    prop_assert_eq!(found.balance, expected.balance);
    prop_assert_eq!(found.opened_through, expected.opened_through);
    prop_assert_eq!(found.closed_through, expected.closed_through);
    prop_assert_eq!(found.reopened_through, expected.reopened_through);
    prop_assert_eq!(&found.closures, &expected.closures);
    prop_assert_eq!(&found.holds, &expected.holds);
    for grant in found.grants.values() {
        prop_assert_eq!(Some(grant), expected.grants.get(&grant.id));
    }
    let can_change = |grant: &&Grant| !grant.remaining.is_zero() || !grant.held.is_zero();
    let left_out = expected.grants.values().filter(can_change).find(|grant| !found.grants.contains_key(&grant.id));
    prop_assert_eq!(left_out, None);
    let balance = app.at(world.now).expect("a fixed clock").balances(std::slice::from_ref(id)).await;
    let available = world.up_to_date().available_at(world.now).expect("small sums");
    prop_assert_eq!(balance.expect("a balance")[0].available, available);
    Ok(())
}

/// The rows of a table that belong to an account, as texts.
async fn stored(sandbox: &Sandbox, id: &AccountId, table: &str, columns: &str, order: &str) -> Vec<String> {
    let columns: Vec<String> =
        columns.split(' ').map(|name| format!("coalesce(CAST({name} AS text), 'none')")).collect();
    let columns = columns.join(" || ' ' || ");
    sandbox.texts(&format!("SELECT {columns} FROM {table} WHERE account_id = '{id}' ORDER BY {order}")).await
}

fn or_none(value: Option<impl std::fmt::Display>) -> String {
    value.map_or("none".to_owned(), |value| value.to_string())
}

/// R16: what the log makes of an account, as it is stored beside it.
pub async fn compare_stored(sandbox: &Sandbox, id: &AccountId, ledger: &Ledger) -> Result<(), TestCaseError> {
    let columns =
        "opened_through closed_through reopened_through last_seq last_recorded_at balance_free balance_purchased";
    let Ledger { opened_through, closed_through, reopened_through, last_seq, last_recorded_at, balance, .. } = ledger;
    let (opened_through, closed_through) = (or_none(*opened_through), or_none(*closed_through));
    let Split { free, purchased } = balance;
    let reopened = or_none(*reopened_through);
    let line = format!(
        "{opened_through} {closed_through} {reopened} {last_seq} {} {free} {purchased}",
        last_recorded_at.micros()
    );
    prop_assert_eq!(stored(sandbox, id, "accounts", columns, "account_id").await, [line]);

    let columns = "grant_id label credit_type source amount starts_at expires_at consumed refunded lapsed lapsed_at_once \
                   returned adjusted held remaining lapsed_by came_back";
    let grants = stored(sandbox, id, "grants", columns, "grant_id").await;
    prop_assert_eq!(grants, ledger.grants.values().map(grant_text).collect::<Vec<_>>());

    let holds = stored(sandbox, id, "holds", "hold_id expires_at", "hold_id").await;
    let open = ledger.holds.iter().map(|(seq, hold)| format!("{seq} {}", hold.expires_at.micros()));
    prop_assert_eq!(holds, open.collect::<Vec<_>>());

    let closures = stored(sandbox, id, "closures", "closed_at reopened_at", "closed_at").await;
    let closed = |c: &Closure| format!("{} {}", c.closed_at.micros(), or_none(c.reopened_at.map(Instant::micros)));
    prop_assert_eq!(closures, ledger.closures.iter().map(closed).collect::<Vec<_>>());
    Ok(())
}

/// What the log alone does not make: caps with what they have counted, and terms.
async fn compare_caps_and_terms(sandbox: &Sandbox, id: &AccountId, ledger: &Ledger) -> Result<(), TestCaseError> {
    let caps = stored(sandbox, id, "caps", "user_id credits", "user_id").await;
    let limit = |(user, cap): (&UserId, &CapUse)| format!("{user} {}", cap.limit);
    prop_assert_eq!(caps, ledger.caps.iter().map(limit).collect::<Vec<_>>());

    let used = stored(sandbox, id, "cap_months", "user_id month used", "user_id, month").await;
    let months = ledger
        .caps
        .iter()
        .flat_map(|(user, cap)| cap.used.iter().map(move |(month, used)| format!("{user} {month} {used}")));
    let is_used = |line: &String| !line.ends_with(" 0");
    prop_assert_eq!(used.into_iter().filter(is_used).collect::<Vec<_>>(), months.filter(is_used).collect::<Vec<_>>());

    let terms = stored(sandbox, id, "terms", "from_month zone allowance", "from_month").await;
    let known = ledger.account.calendar.terms().iter();
    prop_assert_eq!(terms, known.map(|t| format!("{} {} {}", t.from, t.zone, t.allowance)).collect::<Vec<_>>());
    Ok(())
}

fn grant_text(grant: &Grant) -> String {
    let Grant { id, label, credit_type, source, amount, starts_at, expires_at, consumed, refunded, lapsed, .. } = grant;
    let Grant { lapsed_at_once, returned, adjusted, held, remaining, lapsed_by, came_back, .. } = grant;
    let (starts_at, expires_at) = (starts_at.micros(), or_none(expires_at.map(Instant::micros)));
    let credit_type = credit_type.as_str();
    let lapsed_by = or_none(*lapsed_by);
    let parts = came_back.parts().iter().map(|(at, credits)| format!("[{},{credits}]", at.micros()));
    let parts = parts.collect::<Vec<_>>().join(",");
    let came_back = if parts.is_empty() { "none".to_owned() } else { format!("[{parts}]") };
    format!(
        "{} {label} {credit_type} {source} {amount} {starts_at} {expires_at} {consumed} {refunded} {lapsed} \
         {lapsed_at_once} {returned} {adjusted} {held} {remaining} {lapsed_by} {came_back}",
        id.0
    )
}

/// R15: as of any instant the ledger reads as it was then, the present included.
async fn compare_past(app: &App, id: &AccountId, past: &[Ledger]) -> Result<(), TestCaseError> {
    let next = past.iter().skip(1).map(|ledger| ledger.last_recorded_at).chain([Instant::MAX]);
    let whole = past.iter().zip(next).filter(|(ledger, next)| ledger.last_seq > 0 && ledger.last_recorded_at < *next);
    let whole: Vec<&Ledger> = whole.map(|(ledger, _)| ledger).collect();
    for ledger in whole.iter().rev().step_by(3) {
        let mut then = app.store.load_as_of(std::slice::from_ref(id), ledger.last_recorded_at).await.expect("the past");
        let then = then.remove(id).expect("an account that was known then");
        prop_assert_eq!(then.last_seq, ledger.last_seq);
        prop_assert_eq!(then.balance, ledger.balance);
        prop_assert_eq!(&then.grants, &ledger.grants);
        prop_assert_eq!(&then.holds, &ledger.holds);
        prop_assert_eq!(&then.closures, &ledger.closures);
        prop_assert_eq!(then.opened_through, ledger.opened_through);
        prop_assert_eq!(then.closed_through, ledger.closed_through);
        prop_assert_eq!(then.reopened_through, ledger.reopened_through);
    }
    Ok(())
}

async fn compare_statement(app: &App, id: &AccountId, world: &World) -> Result<(), TestCaseError> {
    let model = statement(&world.up_to_date_at(world.latest), world.latest, Grouping::Month);
    let chosen = Some(std::slice::from_ref(id));
    let (accounts, rows) = app.report_rows(chosen, model.spec.range(), None, &mut |_, _| {}).await.expect("rows");
    prop_assert_eq!(fold(&model.spec, &accounts, &rows).expect("small sums"), model);
    Ok(())
}
