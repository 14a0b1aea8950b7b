//! What reports say beside their lines, against a plain look at every transaction: random histories on real databases.

use crate::ledger::{History, World, history};
use crate::model::{config, happen, open};
use crate::support::{Backend, Sandbox, both_databases, instant, purchase, seal, usage};
use chrono::{Days, NaiveDate};
use creditd::app::App;
use creditd::core::calendar::{Calendar, Instant};
use creditd::core::credits::{CreditType, Credits, Split};
use creditd::core::ids::{AccountId, ActionCode, UserId};
use creditd::core::ledger::{Bonus, Call, Purchase, Usage};
use creditd::core::statement::{
    Breakdown, DateRange, Ending, Filters, Grouping, LINES_PER_PERIOD, LocalTime, ReportModel, ReportSpec, Sales, Scope,
};
use creditd::core::transaction::{GrantId, Kind, Money, Reason, Status, Touched, Transaction, touched};
use creditd::report::make;
use creditd::store::Load;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;

/// Random histories that go through each database.
const CASES: u32 = 3;

/// A part of an account's life, in thousandths of it, and of the time at which it is looked at.
#[derive(Clone, Copy, Debug)]
struct Look {
    from: i64,
    lasts: i64,
    as_of: Option<i64>,
    is_within_days: bool,
}

fn look() -> impl Strategy<Value = Look> {
    let as_of = prop::option::of(0_i64..=1_000);
    (0_i64..1_000, 1_i64..600, as_of, any::<bool>()).prop_map(|(from, lasts, as_of, is_within_days)| Look {
        from,
        lasts,
        as_of,
        is_within_days,
    })
}

both_databases! {
    fn what_reports_say_is_what_the_transactions_say(backend: Backend) {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let looks = prop::collection::vec(look(), 2);
        let look_at = |(history, looks): (History, Vec<Look>)| {
            runtime.block_on(play(backend, &history, &looks))
        };
        TestRunner::new(config(CASES)).run(&(history(), looks), look_at).expect("the same");
    }
}

async fn play(backend: Backend, history: &History, looks: &[Look]) -> Result<(), TestCaseError> {
    let sandbox = Sandbox::on(backend).await;
    let acme = open(&sandbox, "acme", history).await;
    let mut world = World::new(history);
    for step in &history.steps {
        world.step(step)?;
    }
    let (begin, latest) = (world.ledger.account.opened_at, world.latest);
    let program = sandbox.second_program(begin).await;
    for (now, event) in &world.done {
        happen(&program.at(*now).expect("a fixed clock"), &acme, event).await?;
    }
    let app = program.at(latest).expect("a fixed clock");
    let other = another(&sandbox, &app, begin).await;
    let known = |at: i64| begin.plus_micros((latest.micros() - begin.micros()) / 1_000 * at);
    // The days after the opening, too, when the other account has what lapsed since and nobody wrote that down.
    let opening = Look { from: 0, lasts: 1, as_of: None, is_within_days: false };
    let at_once = looks.iter().copied().chain([opening]);
    // Then once more with what is over in sealed files, which tell nothing else.
    let from_files = at_once.clone().filter(|look| look.as_of.is_none()).map(|look| (look, true));
    let mut is_sealed = false;
    for (look, from_files) in at_once.map(|look| (look, false)).chain(from_files) {
        if from_files && !is_sealed {
            seal(&app).await;
            is_sealed = true;
        }
        let as_of = look.as_of.map(known);
        let first = known(look.from).to_utc().naive_utc();
        let days = 1 + (latest.micros() - begin.micros()) / 86_400_000_000 * look.lasts / 1_000;
        let last = first + chrono::TimeDelta::days(days);
        let range = if look.is_within_days {
            let local = |at: chrono::NaiveDateTime| at.format("%Y-%m-%dT%H:%M:%S").to_string().parse::<LocalTime>();
            DateRange::new(local(first).expect("a time"), local(last).expect("a time"))
        } else {
            DateRange::new(first.date(), last.date())
        };
        let range = range.expect("at least a day");
        let of_both = all_rows(&app, &sandbox, &[acme.clone(), other.clone()], as_of).await;
        for (scope, accounts) in [(Scope::Platform, None), (Scope::Account, None), (Scope::Account, Some(&acme))] {
            let chosen = accounts.map(std::slice::from_ref);
            let asked = Asked { app: &app, range, scope, chosen, as_of };
            let rows: Vec<Row> =
                of_both.iter().filter(|row| chosen.is_none_or(|of| of[0] == row.account)).cloned().collect();
            compare(&asked, &rows).await?;
        }
    }
    Ok(())
}

/// Another account of the platform, with purchases in two currencies, and credits that nobody paid for.
async fn another(sandbox: &Sandbox, app: &App, begin: Instant) -> AccountId {
    let opened_on = begin.to_utc().date_naive().to_string();
    let other = sandbox.open_account("other", "Asia/Tokyo", &opened_on).await;
    let begin = begin.plus_seconds(86_400);
    if app.now() < begin {
        return other;
    }
    let at = |now: Instant| app.at(now).expect("a fixed clock");
    for (packs, minor, currency) in [(3, 1_001, "EUR"), (1, 7, "JPY")] {
        let money = Money { minor, currency: currency.to_owned() };
        let bought = Purchase { money, pack_credits: Credits::new(3), ..purchase(packs, &format!("other-{currency}")) };
        at(begin).call(&other, Call::Purchase(bought)).await.expect("a purchase");
    }
    let bonus = Bonus {
        key: "other-bonus".parse().expect("a key"),
        credit_type: CreditType::Purchased,
        credits: Credits::new(10),
        expires_at: None,
        comment: "for nothing".to_owned(),
    };
    let lapses = Bonus {
        key: "other-lapse".parse().expect("a key"),
        expires_at: Some(begin.plus_seconds(20 * 86_400)),
        credits: Credits::new(5_000),
        ..bonus.clone()
    };
    for bonus in [bonus, lapses] {
        at(begin).call(&other, Call::Bonus(bonus)).await.expect("a bonus");
    }
    for number in 0..240 {
        // Whatever the prices are by then: some is done, some refused.
        let used = usage("text-to-image", &format!("other-{number}"));
        let now = begin.plus_seconds(number * 3_600).min(app.now());
        let _ = at(now).call(&other, Call::Charge(used)).await;
    }
    other
}

/// A transaction with what is needed to know when it counts.
#[derive(Clone, Debug)]
struct Row {
    account: AccountId,
    calendar: Calendar,
    row: Transaction,
}

impl Row {
    fn counts_at(&self) -> Instant {
        let late = i64::from(self.row.kind == Kind::Expiry);
        self.row.occurred_at.plus_micros(-late)
    }

    fn is_inside(&self, range: DateRange) -> bool {
        let (from, to) = range.instants_in(&self.calendar);
        from <= self.counts_at() && self.counts_at() < to
    }
}

/// Every transaction, with those that a reset would write by then.
async fn all_rows(app: &App, sandbox: &Sandbox, ids: &[AccountId], as_of: Option<Instant>) -> Vec<Row> {
    let now = as_of.unwrap_or(app.now());
    let mut ledgers = match as_of {
        Some(at) => app.store.load_as_of(ids, at).await.expect("the past"),
        None => app.store.load(&Load::accounts(ids, now)).await.expect("ledgers").ledgers,
    };
    let mut all = Vec::new();
    for id in ids {
        let Some(mut ledger) = ledgers.remove(id) else { continue };
        ledger.roll_over(now, now).expect("small");
        let calendar = ledger.account.calendar.clone();
        let written = sandbox.log(id).await.into_iter().filter(|row| as_of.is_none_or(|at| row.recorded_at <= at));
        let rows = written.chain(ledger.rows().iter().cloned());
        all.extend(rows.map(|row| Row { account: id.clone(), calendar: calendar.clone(), row }));
    }
    all
}

struct Asked<'a> {
    app: &'a App,
    range: DateRange,
    scope: Scope,
    chosen: Option<&'a [AccountId]>,
    as_of: Option<Instant>,
}

impl Asked<'_> {
    fn spec(&self, breakdown: Option<Breakdown>) -> ReportSpec {
        let as_of = self.as_of.unwrap_or(self.app.now());
        let spec = ReportSpec::new("Random", self.range, Grouping::Range, self.scope, as_of).expect("bounded");
        spec.with_breakdown(breakdown)
    }

    async fn report(&self, spec: &ReportSpec) -> ReportModel {
        let reading = self.app.read_report(self.chosen, spec, self.as_of, &mut |_, _| {}).await.expect("read");
        make(spec, reading).expect("small")
    }
}

async fn compare(asked: &Asked<'_>, all: &[Row]) -> Result<(), TestCaseError> {
    let inside: Vec<&Row> = all.iter().filter(|row| row.is_inside(asked.range)).collect();
    let spec = asked.spec(None).with_comparison(true).expect("known years");
    let statement = asked.report(&spec).await;

    let facts = statement.beside.facts.as_ref().expect("a statement has them");
    let accounts_with = |is: &dyn Fn(&Transaction) -> bool| {
        let mut ids: Vec<&AccountId> = inside.iter().filter(|row| is(&row.row)).map(|row| &row.account).collect();
        ids.sort();
        ids.dedup();
        ids.len() as u64
    };
    let is_done = |row: &Transaction| row.kind == Kind::Charge && row.status == Status::Success;
    prop_assert_eq!(facts.active, accounts_with(&is_done));
    prop_assert_eq!(facts.short, accounts_with(&|row| row.reason == Some(Reason::InsufficientCredits)));
    let (sales, outstanding, given) = naive_sales(all, asked.range);
    prop_assert_eq!(&facts.sales, &sales);
    prop_assert_eq!((facts.outstanding.get(), facts.given.get()), (outstanding, given));
    prop_assert_eq!(facts.outstanding, statement.totals[1].figures.remaining);

    let before = spec.before().expect("asked for");
    let alone = asked.report(&before).await;
    let comparison = statement.beside.comparison.as_ref().expect("asked for");
    prop_assert_eq!(&comparison.totals, &alone.totals);
    for (then, now) in comparison.totals.iter().zip(&statement.totals) {
        prop_assert_eq!(then.figures.remaining, now.figures.carried_in);
    }
    for top in &statement.beside.tops {
        let whole = asked.report(&asked.spec(Some(top.by))).await;
        let parts = top.lines.iter().chain(top.rest.iter().copied()).skip(2).step_by(LINES_PER_PERIOD);
        let consumed: i64 = parts.map(|line| line.figures.consumed.get()).sum();
        prop_assert_eq!(consumed, statement.totals[2].figures.consumed.get());
        prop_assert!(whole.lines.iter().take(top.lines.len()).eq(top.lines.iter()));
    }

    compare_log(asked, &inside, &statement).await?;
    for by in [Breakdown::Action, Breakdown::User, Breakdown::Type, Breakdown::Status] {
        compare_filters(asked, by, &inside).await?;
    }
    Ok(())
}

/// Sales by currency, and purchased credits that are there at the end: all of them, and those that nobody paid for.
fn naive_sales(all: &[Row], range: DateRange) -> (BTreeMap<String, Sales>, i64, i64) {
    let mut sales: BTreeMap<String, Sales> = BTreeMap::new();
    let worth = |bought: &Transaction, part: i64| {
        let (minor, amount) =
            (i128::from(bought.money.as_ref().expect("money").minor), i128::from(bought.delta.purchased.get()));
        let (whole, rest) = (minor * i128::from(part) / amount, minor * i128::from(part) % amount);
        i64::try_from(whole + i128::from(rest * 2 >= amount)).expect("small")
    };
    let (mut outstanding, mut paid) = (0, 0);
    for bought in all.iter().filter(|row| row.row.kind == Kind::Purchase) {
        let of_account = || all.iter().filter(|row| row.account == bought.account);
        let (_, to) = range.instants_in(&bought.calendar);
        if bought.counts_at() >= to {
            continue;
        }
        let grant = GrantId(bought.row.seq);
        let entries = of_account().filter(|row| row.counts_at() < to).flat_map(|row| &row.row.entries);
        let left: i64 = entries.filter(|entry| entry.grant == grant).map(|entry| entry.delta.get()).sum();
        let is_return = |row: &&Row| row.row.kind == Kind::Return && row.row.corrects == Some(bought.row.seq);
        let returned: i64 = of_account()
            .filter(is_return)
            .filter(|row| row.is_inside(range))
            .map(|row| -row.row.delta.purchased.get())
            .sum();
        paid += left;
        let is_sold = bought.is_inside(range);
        if is_sold || returned != 0 || left != 0 {
            let money = bought.row.money.clone().expect("money");
            let sum = sales.entry(money.currency).or_default();
            if is_sold {
                sum.purchases += 1;
                sum.packs += bought.row.quantity.unsigned_abs();
                sum.credits = Credits::new(sum.credits.get() + bought.row.delta.purchased.get());
                sum.revenue_minor += money.minor;
            }
            sum.returned = Credits::new(sum.returned.get() + returned);
            sum.returned_minor += worth(&bought.row, returned);
            sum.outstanding = Credits::new(sum.outstanding.get() + left);
            sum.outstanding_minor += worth(&bought.row, left);
        }
    }
    for row in all {
        if row.counts_at() < range.instants_in(&row.calendar).1 {
            outstanding += row.row.delta.purchased.get();
        }
    }
    (sales, outstanding, outstanding - paid)
}

/// The log has each transaction of the range once and in order, and they sum to the statement.
async fn compare_log(asked: &Asked<'_>, inside: &[&Row], statement: &ReportModel) -> Result<(), TestCaseError> {
    let log = asked.report(&asked.spec(Some(Breakdown::Transaction))).await;
    prop_assert_eq!(&log.totals, &statement.totals);
    let mut expected: Vec<(&AccountId, &Transaction)> = inside.iter().map(|row| (&row.account, &row.row)).collect();
    expected.sort_by_key(|(account, row)| match asked.scope {
        Scope::Platform => (None, row.occurred_at, Some(*account), row.seq),
        Scope::Account => (Some(*account), row.occurred_at, None, row.seq),
    });
    let found: Vec<(&AccountId, &Transaction)> = log.beside.log.iter().map(|row| (&row.account, &row.row)).collect();
    prop_assert_eq!(found, expected);
    for (at, of) in [(0, CreditType::Free), (1, CreditType::Purchased)] {
        let moved: i64 = log.beside.log.iter().map(|row| row.row.delta.get(of).get()).sum();
        let figures = statement.totals[at].figures;
        prop_assert_eq!(moved, figures.remaining.get() - figures.carried_in.get());
    }
    Ok(())
}

fn ending(row: &Transaction) -> Ending {
    match (row.kind, row.status, row.reason) {
        (Kind::Charge, Status::Failed, None) => Ending::Failed,
        (Kind::Charge, Status::Failed, Some(_)) => Ending::Refused,
        _ => Ending::Succeeded,
    }
}

/// Every value of a filter, one at a time: its log has what has it, its breakdown sums to that, and all together to the whole.
async fn compare_filters(asked: &Asked<'_>, by: Breakdown, inside: &[&Row]) -> Result<(), TestCaseError> {
    let actions = |row: &Transaction| row.action.clone();
    let users = |row: &Transaction| row.user.clone();
    let mut filters: Vec<Filters> = Vec::new();
    match by {
        Breakdown::Action => {
            let mut all: Vec<Option<ActionCode>> = inside.iter().map(|row| actions(&row.row)).collect();
            all.sort();
            all.dedup();
            filters.extend(all.into_iter().map(|of| Filters { actions: vec![of], ..Filters::default() }));
        }
        Breakdown::User => {
            let mut all: Vec<Option<UserId>> = inside.iter().map(|row| users(&row.row)).collect();
            all.sort();
            all.dedup();
            filters.extend(all.into_iter().map(|of| Filters { users: vec![of], ..Filters::default() }));
        }
        Breakdown::Type => {
            filters.extend(Touched::ALL.iter().map(|of| Filters { types: vec![*of], ..Filters::default() }));
        }
        _ => filters.extend(Ending::ALL.iter().map(|of| Filters { statuses: vec![*of], ..Filters::default() })),
    }
    let whole = asked.report(&asked.spec(Some(by))).await;
    let (mut consumed, mut refunded, mut done, mut rows) = (0, 0, 0, 0);
    for filter in filters {
        let has = |row: &Transaction| match by {
            Breakdown::Action => filter.actions[0] == actions(row),
            Breakdown::User => filter.users[0] == users(row),
            Breakdown::Type => filter.types[0] == touched(row.delta),
            _ => filter.statuses[0] == ending(row),
        };
        let spec = asked.spec(Some(Breakdown::Transaction)).with_filters(filter.clone()).expect("few");
        let log = asked.report(&spec).await;
        let expected = inside.iter().filter(|row| has(&row.row)).count();
        prop_assert_eq!(log.beside.log.len(), expected);
        prop_assert!(log.beside.log.iter().all(|row| has(&row.row)));
        rows += expected;

        let spec = asked.spec(Some(by)).with_filters(filter.clone()).expect("few");
        let part = asked.report(&spec).await;
        // What has the value is a group of its own in the whole.
        for line in part.lines.iter() {
            prop_assert!(whole.lines.iter().any(|of| of == line), "{line:?}");
        }
        prop_assert_eq!(&part.totals, &log.totals);
        consumed += part.totals[2].figures.consumed.get();
        refunded += part.totals[2].figures.refunded.get();
        done += part.totals[2].counts.map_or(0, |counts| counts.succeeded);
    }
    let total = &whole.totals[2];
    prop_assert_eq!(rows, inside.len());
    prop_assert_eq!((consumed, refunded), (total.figures.consumed.get(), total.figures.refunded.get()));
    prop_assert_eq!(done, total.counts.map_or(0, |counts| counts.succeeded));
    Ok(())
}

both_databases! {
    /// A lapse at the very end of a month that nobody has written yet is in its log, and the money of a month is that of
    /// its own purchases.
    async fn a_month_without_a_job_is_reported_whole(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
        let at = |now: &str| sandbox.at(now);
        at("2013-01-10T12:00:00Z").call(&acme, Call::Purchase(purchase(2, "inv-1"))).await.expect("a purchase");
        let app = at("2013-03-05T00:00:00Z");
        let january = DateRange::of_month("2013-01".parse().expect("a month")).expect("known");
        let asked = |range| Asked { app: &app, range, scope: Scope::Account, chosen: None, as_of: None };
        let spec = asked(january).spec(Some(Breakdown::Transaction));
        let log = asked(january).report(&spec).await;
        let said: Vec<String> =
            log.beside.log.iter().map(|row| format!("{} {} {}", row.local_time, row.row.kind, row.row.credits())).collect();
        assert_eq!(said, [
            "2013-01-01 00:00:00 allocation 1500",
            "2013-01-10 07:00:00 purchase 5000",
            "2013-02-01 00:00:00 expiry -1500",
        ]);
        let february = DateRange::of_month("2013-02".parse().expect("a month")).expect("known");
        let spec = asked(february).spec(None).with_comparison(true).expect("known");
        let statement = asked(february).report(&spec).await;
        let sales = &statement.beside.facts.as_ref().expect("facts").sales["USD"];
        assert_eq!((sales.packs, sales.revenue_minor, sales.outstanding_minor), (0, 0, 5_000));
        let then = &statement.beside.comparison.as_ref().expect("asked for").totals[0].figures;
        assert_eq!((then.lapsed.get(), statement.totals[0].figures.lapsed.get()), (1_500, 1_500));
    }

    /// Whether few of an account's rows come before its range or most do, also late ones, a report begins with what there was.
    async fn a_report_begins_with_what_was_there_wherever_its_range_begins(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "Europe/Berlin", "2013-01-01").await;
        for day in 1..=59 {
            let now = instant("2013-01-01T12:00:00Z").plus_days(day);
            let told_late = (day % 5 == 0).then(|| now.plus_days(-3));
            for occurred_at in [None, told_late] {
                let usage = Usage { occurred_at, ..usage("erase", &format!("{day}-{occurred_at:?}")) };
                sandbox.at_instant(now).charge(&acme, &usage).await.expect("charged");
            }
        }
        let (app, log) = (sandbox.at("2013-03-01T12:00:00Z"), sandbox.log(&acme).await);
        for first in (0..62).map(|day| NaiveDate::from_ymd_opt(2013, 1, 1).expect("a date") + Days::new(day)) {
            let range = DateRange::new(first, first + Days::new(4)).expect("a range");
            let read = app.report_rows(Some(std::slice::from_ref(&acme)), range, None, &mut |_, _| {}).await;
            let (accounts, rows) = read.expect("rows");
            let (from, to) = range.instants_in(&accounts[0].calendar);
            let sum = |rows: &mut dyn Iterator<Item = (Instant, Split)>, from, to| {
                let counted = rows.filter(|(at, _)| (from..to).contains(at));
                counted.fold((0, Split::ZERO), |(count, sum), (_, delta)| (count + 1, sum.plus(delta).expect("small")))
            };
            let told = || log.iter().map(|row| (row.kind.counts_at(row.occurred_at), row.delta));
            assert_eq!(accounts[0].opening, sum(&mut told(), Instant::MIN, from).1, "{range:?}");
            let found = sum(&mut rows.iter().map(|row| (row.counts_at, row.delta)), from, to);
            assert_eq!(found, sum(&mut told(), from, to), "{range:?}");
        }
    }
}
