//! The store on a real SQLite file: what the database refuses, what verify finds, and many at once.

use crate::support::{Sandbox, account, account_id, instant, month, purchase, usage};
use creditd::app::App;
use creditd::core::ids::AccountId;
use creditd::core::statement::{DateRange, Grouping, ReportSpec, Scope, fold};
use creditd::store::{Load, NewAccount};

/// Brings every account up to the time of `app` in batches, as the reset job does.
async fn reset(app: &App, batch: usize) {
    let now = app.now();
    let mut last: Option<AccountId> = None;
    loop {
        let due = app.store.accounts_to_roll_over(now, last.as_ref(), batch).await.expect("due accounts");
        let Some(newest) = due.last() else { break };
        last = Some(newest.clone());
        let plan = |batch: &mut creditd::store::Batch| {
            batch.ledgers.values_mut().for_each(|ledger| ledger.roll_over(now, now).expect("small sums"));
        };
        app.store.update(&Load::accounts(&due), plan).await.expect("a batch");
    }
}

/// R3: a report counts what a reset would write. While a reset writes it, nothing may be counted twice or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r3_a_report_beside_a_reset_counts_everything_once() {
    let sandbox = Sandbox::new().await;
    let new = |n: usize| NewAccount { account: account(&format!("a{n:03}"), "UTC", "2013-01-01"), admins: Vec::new() };
    let accounts: Vec<NewAccount> = (0..200).map(new).collect();
    sandbox.store().open_accounts(&accounts).await.expect("accounts");
    let range = DateRange::new(month("2013-01").first_day(), month("2014-01").first_day()).expect("a year");
    for moment in ["2013-03-10", "2013-06-10", "2013-09-10", "2013-12-10"] {
        let app = sandbox.at(&format!("{moment}T00:00:00Z"));
        let writing = tokio::spawn({
            let app = app.clone();
            async move { reset(&app, 10).await }
        });
        let months = moment[5..7].parse::<i64>().expect("a month");
        while !writing.is_finished() {
            let (accounts, rows) = app.report_rows(None, range, &mut |_, _| {}).await.expect("rows");
            let spec = ReportSpec::new("", range, Grouping::Range, Scope::Platform, app.now()).expect("one period");
            let model = fold(&spec, &accounts, &rows).expect("small sums");
            let figures = model.totals[0].figures;
            assert_eq!(figures.allocated.get(), 200 * 1_500 * months, "{moment}");
            assert_eq!(figures.remaining.get(), 200 * 1_500, "{moment}");
        }
        writing.await.expect("the reset");
    }
    sandbox.assert_verified().await;
}
