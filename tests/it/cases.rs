//! Scenarios in files that a person reads and writes (tests/cases/README.md), run on a real ledger of each kind.
//!
//! Every file is run whole, and every difference is reported with its line, so that one run tells all. Afterwards
//! `creditd verify` must find nothing.

mod over_http;
mod parse;

use crate::support::{Backend, Sandbox, account};
use creditd::app::{Answer, App, AppError};
use creditd::core::calendar::{Calendar, Instant, Month, Terms};
use creditd::core::credits::{Credits, Split};
use creditd::core::ids::AccountId;
use creditd::core::ledger::Ledger;
use creditd::core::price::PriceVersion;
use creditd::core::statement::{DateRange, Figures, Grouping, LineType, ReportSpec, Scope, fold};
use creditd::core::transaction::{Kind, Status, Transaction};
use creditd::store::{Load, NewAccount, Opened};
use over_http::OverHttp;
use parse::{Call, Says, parse, spaced};
use std::path::Path;

macro_rules! cases {
    ($($name:ident)+) => {
        $(mod $name {
            use crate::support::Backend;

            use super::Way;

            const FILE: &str = concat!(stringify!($name), ".txt");

            #[tokio::test]
            async fn sqlite() {
                super::check(FILE, Backend::Sqlite, Way::App).await;
            }

            #[tokio::test]
            async fn postgres() {
                if Backend::Postgres.is_there() {
                    super::check(FILE, Backend::Postgres, Way::App).await;
                }
            }

            #[tokio::test]
            async fn api_on_sqlite() {
                super::check(FILE, Backend::Sqlite, Way::Api).await;
            }

            #[tokio::test]
            async fn api_on_postgres() {
                if Backend::Postgres.is_there() {
                    super::check(FILE, Backend::Postgres, Way::Api).await;
                }
            }
        })+

        /// A file that no test reads would be a promise that nobody keeps.
        #[test]
        fn every_scenario_is_run() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
            let names = std::fs::read_dir(folder).expect("tests/cases").map(|entry| entry.expect("a file").file_name());
            let mut there: Vec<_> = names.filter(|name| Path::new(name).extension().is_some_and(|e| e == "txt")).collect();
            there.sort();
            assert_eq!(there, [$(concat!(stringify!($name), ".txt")),+], "list every file of tests/cases in tests/it/cases.rs");
        }
    };
}

cases! {
    r01_month
    r02_allowance
    r03_true_without_a_job
    r04_half_open
    r05_burn_order
    r06_all_or_nothing
    r07_log
    r08_price
    r09_idempotency
    r10_hold
    r11_refund
    r12_purchase
    r13_bonus_adjustment
    r14_late_usage
    r15_append_only
    r16_conservation
    r17_caps
    r18_closing
}

/// How calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As the command line makes them.
    App,
    /// By HTTP, as far as the API has them.
    Api,
}

async fn check(name: &str, backend: Backend, way: Way) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name);
    let text = std::fs::read_to_string(path).expect("the scenario");
    let differences = run(&format!("tests/cases/{name}"), &text, backend, way).await;
    assert!(differences.is_empty(), "\n\n{}\n", differences.join("\n\n"));
}

/// What is not as the scenario says, each with its place.
async fn run(file: &str, text: &str, backend: Backend, way: Way) -> Vec<String> {
    let lines = match parse(file, text) {
        Ok(lines) => lines,
        Err(error) => return vec![error],
    };
    let sandbox = Sandbox::on(backend).await;
    let over_http = match way {
        Way::App => None,
        Way::Api => Some(OverHttp::new(&sandbox).await),
    };
    let world = World { sandbox, over_http };
    let mut differences = Vec::new();
    let mut latest = Instant::MIN;
    for line in lines {
        if let Says::Call { at, .. } = &line.says {
            latest = latest.max(*at);
        }
        let (expected, found) = world.check(line.says, latest).await;
        if expected != found {
            let number = line.number;
            differences.push(format!("{file}:{number}:\n  expected: {expected}\n  found:    {found}"));
        }
    }
    differences.extend(world.sandbox.drifts().await.iter().map(|drift| format!("{file}: verify finds {drift:?}")));
    differences
}

struct World {
    sandbox: Sandbox,
    over_http: Option<OverHttp>,
}

impl World {
    /// Does what a line says; what it expects, and what came of it.
    async fn check(&self, says: Says, latest: Instant) -> (String, String) {
        let nothing = (String::new(), String::new());
        let store = self.sandbox.store();
        match says {
            Says::Account { id, zone, opened_on, allowance } => {
                let mut account = account(id.as_str(), zone.name(), &opened_on.to_string());
                if let Some(allowance) = allowance {
                    let first = account.calendar.terms()[0];
                    account.calendar.set(Terms { allowance: Credits::new(allowance), ..first });
                }
                let new = NewAccount { account, locale: None, admins: Vec::new() };
                let opened = store.open_accounts(&[new], store.meta().created_at).await.expect("an account");
                assert_eq!(opened, [Opened::Created]);
                nothing
            }
            Says::Price { action, credits, from } => {
                let version = PriceVersion { effective_from: from, credits: credits.map(Credits::new) };
                store.set_price(&action, "", "", version).await.expect("a price");
                nothing
            }
            Says::Call { at, call, expected } => (expected, self.call(&self.sandbox.at_instant(at), call).await),
            Says::Statement { account, month, credit_type, as_of, expected } => {
                (expected, self.statement(&account, latest, month, credit_type, as_of).await)
            }
            Says::Ledger { account, expected } => {
                let ledger = self.ledger(&account).await;
                (block(expected), block(ledger))
            }
            Says::Grants { account, expected } => (block(expected), block(self.grants(&account).await)),
        }
    }

    async fn calendar(&self, account: &AccountId) -> Calendar {
        let accounts = self.sandbox.store().accounts(std::slice::from_ref(account)).await.expect("accounts");
        accounts[0].account.calendar.clone()
    }

    async fn call(&self, app: &App, call: Call) -> String {
        match call {
            Call::Ledger { account, call } => {
                let over_http = match &self.over_http {
                    Some(over_http) => over_http.call(app, &account, &call).await,
                    None => None,
                };
                match over_http {
                    Some(said) => said,
                    None => shown(app.call(&account, *call).await),
                }
            }
            Call::Balance { account, as_of } => {
                let accounts = std::slice::from_ref(&account);
                let balances = match as_of {
                    None => app.balances(accounts).await,
                    Some(at) => app.balances_as_of(accounts, at).await,
                };
                let Some(balance) = balances.expect("balances").pop() else { return "unknown".to_owned() };
                let Split { free, purchased } = balance.available;
                let held = if balance.held == Split::ZERO { String::new() } else { unsigned(balance.held) };
                let held = if held.is_empty() { held } else { format!(" held {held}") };
                format!("{free} free {purchased} purchased{held}")
            }
            Call::Reset => {
                let (store, now) = (&app.store, app.now());
                let due = store.accounts_due(now, None, None, 1_000).await.expect("accounts");
                let due: Vec<AccountId> = due.into_iter().map(|due| due.account).collect();
                let roll_over = |ledger: &mut Ledger| {
                    ledger.roll_over(now, now).expect("small sums");
                    ledger.rows().len()
                };
                let rows: usize = store
                    .update(&Load::accounts(&due, now), |batch| batch.ledgers.values_mut().map(roll_over).sum())
                    .await
                    .expect("a reset");
                format!("{rows} rows")
            }
        }
    }

    /// The figures of one line of a month's statement that are not 0, and the actions on a line `total`.
    async fn statement(
        &self,
        id: &AccountId,
        now: Instant,
        month: Month,
        credit_type: LineType,
        as_of: Option<Instant>,
    ) -> String {
        let range = DateRange::of_month(month).expect("a month");
        let spec = ReportSpec::new("", range, Grouping::Range, Scope::Account, Instant::MAX).expect("one period");
        let app = self.sandbox.at_instant(now);
        let chosen = Some(std::slice::from_ref(id));
        let (accounts, rows) =
            app.report_rows(chosen, range, as_of, &mut |_, _| {}).await.expect("the rows of a month");
        let model = fold(&spec, &accounts, &rows).expect("small sums");
        let line = model.totals.iter().find(|line| line.credit_type == credit_type).expect("three lines");
        assert!(line.figures.closes(), "{line:?}");
        let Figures {
            carried_in,
            allocated,
            purchased,
            bonus,
            consumed,
            refunded,
            lapsed,
            returned,
            adjusted,
            remaining,
        } = line.figures;
        let figures = [
            ("carried_in", carried_in),
            ("allocated", allocated),
            ("purchased", purchased),
            ("bonus", bonus),
            ("consumed", consumed),
            ("refunded", refunded),
            ("lapsed", lapsed),
            ("returned", returned),
            ("adjusted", adjusted),
            ("remaining", remaining),
        ];
        let mut shown: Vec<String> = figures
            .iter()
            .map(|(name, figure)| (name, figure.get().to_string()))
            .filter(|(_, figure)| figure != "0")
            .map(|(name, figure)| format!("{name} {figure}"))
            .collect();
        if let Some(counts) = line.counts {
            shown.push(format!("succeeded {} failed {} refused {}", counts.succeeded, counts.failed, counts.refused));
        }
        if shown.is_empty() { "nothing".to_owned() } else { shown.join(" ") }
    }

    /// The log, a line per row, in the account's own time.
    async fn ledger(&self, id: &AccountId) -> Vec<String> {
        let calendar = self.calendar(id).await;
        let local = |t: Instant| t.in_zone(calendar.zone_at(t)).format("%Y-%m-%dT%H:%M:%S%.f").to_string();
        let line = |row: Transaction| {
            let (kind, at, moved) = (row.kind, local(row.occurred_at), moved(row.delta));
            let Split { free, purchased } = row.balance;
            let (seq, notes) = (row.seq, notes(&row, &local).join(", "));
            spaced(&format!("{seq} {kind} {at} {moved} leaves {free} free {purchased} purchased ({notes})"))
        };
        self.sandbox.log(id).await.into_iter().map(line).collect()
    }

    /// The grants, a line each: R16 as it is stored.
    async fn grants(&self, id: &AccountId) -> Vec<String> {
        let figures = ["consumed", "-refunded", "lapsed", "returned", "adjusted", "held", "remaining"].map(|name| {
            let (sign, column) = name.strip_prefix('-').map_or(('+', name), |column| ('-', column));
            format!("CASE {column} WHEN 0 THEN '' ELSE ' {sign} {column} ' || {column} END")
        });
        let sql = format!(
            "SELECT label || ' ' || amount || ' =' || {} FROM grants WHERE account_id = '{id}' ORDER BY grant_id",
            figures.join(" || ")
        );
        let plain = |line: String| match line.split_once('=') {
            Some((before, "")) => format!("{before}= nothing"),
            _ => line.replacen("= + ", "= ", 1),
        };
        self.sandbox.texts(&sql).await.into_iter().map(plain).collect()
    }
}

/// What a row says beside what it moved.
fn notes(row: &Transaction, local: &impl Fn(Instant) -> String) -> Vec<String> {
    let mut notes = Vec::new();
    match (&row.action, &row.money) {
        (Some(action), _) if row.quantity > 0 => {
            notes.push(format!("{action} x{} at {}", row.quantity, row.unit_price))
        }
        (Some(action), _) => notes.push(action.to_string()),
        (None, Some(money)) => {
            let (packs, credits) = (row.quantity, row.unit_price);
            notes.push(format!("{packs} packs of {credits} for {} {}", money.minor, money.currency));
        }
        (None, None) => {
            notes.extend(row.reference.as_ref().map(ToString::to_string));
            notes.push(row.comment.clone());
        }
    }
    notes.extend(row.user.as_ref().map(|user| format!("user {user}")));
    if row.action.is_some() && !row.comment.is_empty() {
        notes.push(format!("comment {}", row.comment));
    }
    if row.status == Status::Failed {
        notes.push(spaced(&format!("failed {}", row.reason.map_or("", |reason| reason.as_str()))));
    }
    // A month's free credits end with the month.
    let ends = row.expires_at.filter(|_| row.kind != Kind::Allocation);
    notes.extend(ends.map(|end| format!("until {}", local(end))));
    notes.extend(row.corrects.map(|seq| format!("corrects {seq}")));
    if row.recorded_at != row.occurred_at {
        notes.push(format!("recorded {}", local(row.recorded_at)));
    }
    notes.retain(|note| !note.is_empty());
    notes
}

fn block(lines: Vec<String>) -> String {
    let shown: String = lines.iter().map(|line| format!("\n    {line}")).collect();
    format!("({} lines){shown}", lines.len())
}

fn moved(delta: Split) -> String {
    match (delta.free.get(), delta.purchased.get()) {
        (0, 0) => "nothing".to_owned(),
        (free, 0) => format!("{free:+} free"),
        (0, purchased) => format!("{purchased:+} purchased"),
        (free, purchased) => format!("{free:+} free {purchased:+} purchased"),
    }
}

/// The same without signs, where it is clear who gives and who takes.
fn unsigned(delta: Split) -> String {
    moved(delta).replace(['+', '-'], "")
}

/// An answer in the words of the scenarios. What moved is shown without a sign: a charge takes, a purchase gives.
fn shown(answer: Result<Answer, AppError>) -> String {
    let answer = match answer {
        Ok(answer) => answer,
        Err(AppError::Refused(refusal)) => return format!("error {}", refusal.code()),
        Err(AppError::UnknownAccount(_)) => return "error unknown_account".to_owned(),
        Err(other) => panic!("{other}"),
    };
    let row = &answer.row;
    let replayed = if answer.replayed { "replayed " } else { "" };
    let what = match (row.status, row.reason, &row.reference) {
        (Status::Failed, reason, _) => format!("failed {}", reason.map_or("", |reason| reason.as_str())),
        (Status::Success, _, Some(month)) if row.kind == Kind::Terms => format!("success from {month}"),
        (Status::Success, ..) if !row.kind.moves_credits() => "success".to_owned(),
        (Status::Success, ..) => format!("success {}", unsigned(row.delta)),
    };
    spaced(&format!("{replayed}{what}"))
}

#[tokio::test]
async fn a_scenario_that_is_wrong_is_told_with_its_line() {
    let wrong = "\
account acme in America/New_York from 2013-01-01
2013-01-05 New_York: charge erase x3 key=a -> success 20 free
2013-01-05 New_York: balance -> 1479 free 0 purchased
ledger:
    1 allocation
";
    insta::assert_snapshot!(run("wrong.txt", wrong, Backend::Sqlite, Way::App).await.join("\n"), @r"
    wrong.txt:2:
      expected: success 20 free
      found:    success 21 free
    wrong.txt:4:
      expected: (1 lines)
        1 allocation
      found:    (2 lines)
        1 allocation 2013-01-01T00:00:00 +1500 free leaves 1500 free 0 purchased (free:2013-01, recorded 2013-01-05T00:00:00)
        2 charge 2013-01-05T00:00:00 -21 free leaves 1479 free 0 purchased (erase x3 at 7)
    ");
}

#[test]
fn a_line_that_cannot_be_read_is_an_error_with_its_line() {
    let acme = "account acme in America/New_York from 2013-01-01\n";
    let bad = [
        "acount acme",
        "account acme in Mars/Olympus from 2013-01-01",
        "account acme in America/New_York from 2013-1-1",
        "account beta in America/New_York from 2013-01-01 please",
        "2013-01-05 New_York: charge erase x3 -> success",
        "2013-01-05 New_York: charge erase x3 key=a",
        "2013-01-05 New_York: charge erase x3 key=a ->",
        "2013-01-05 New_York: charge erase xx key=a -> success",
        "2013-01-05 New_York: charge erase colour=red key=a -> success",
        "2013-01-05 New_York: pay erase -> success",
        "2013-01-05 New_York: hold erase key=a ttl=15 -> success",
        "2013-01-05 New_York: capture key=a -> success",
        "2013-01-05 New_York: capture -> success",
        "2013-01-05 New_York: bonus 5 gold key=a -> success",
        "2013-01-05 New_York: bonus 5 free key=a until=noon -> success",
        "2013-01-05 New_York: cap ann many key=a -> success",
        "2013-01-05 New_York: close shop key=a -> success",
        "2013-01-05 New_York: balance as if 2013-01-04 -> 0 free",
        "2013-01-05 Atlantis: balance -> 0 free",
        "2013-01-05T25:00 New_York: balance -> 0 free",
        "2013-03-10T02:30 New_York: balance -> 0 free",
        "2013-11-03T01:30 New_York: balance -> 0 free",
        "2013-01-05 New_York: purchase 2 bags ref=a -> success",
        "2013-01-05 New_York: purchase 2 packs -> success",
        "statement 2013-01 gratis -> nothing",
        "statement 2013-13 free -> nothing",
        "    1 allocation",
        "2013-01-05 New_York: charge erase comment=\"open key=a -> success",
    ];
    let errors: Vec<String> = bad
        .iter()
        .map(|line| parse("bad.txt", &format!("{acme}{line}\n")).expect_err(line))
        .chain([parse("bad.txt", "").expect_err("no account")])
        .collect();
    insta::assert_snapshot!(errors.join("\n"), @r#"
    bad.txt:2: "acount" begins no line; they begin with account, price, statement, ledger, grants or a time such as 2013-01-31T23:59:59 New_York:
    bad.txt:2: "Mars/Olympus" is not a time zone of the IANA database, such as Europe/Berlin
    bad.txt:2: "2013-1-1" is not a date such as 2026-03-01
    bad.txt:2: nothing is expected at "please"
    bad.txt:2: a charge needs key=
    bad.txt:2: expected `->`, found "the end of the line"
    bad.txt:2: nothing is expected: write it behind ->
    bad.txt:2: "x" is not a whole number
    bad.txt:2: a charge has no "colour=red"; it has xN, key=, user=, at=, comment=, failed, post-to-open
    bad.txt:2: "pay" is no call; there are charge, hold, capture, void, refund, purchase, return, bonus, adjust, terms, cap, close, reopen, balance and reset
    bad.txt:2: "15" is no length of time; write for example 30s, 15m or 24h
    bad.txt:2: a capture needs key=
    bad.txt:2: the key of the hold is missing
    bad.txt:2: must be free or purchased, not "gold"
    bad.txt:2: "noon" is no time; write for example 2013-01-31, 2013-01-31T23:59 or 2013-01-31T23:59:59.999999
    bad.txt:2: "many" is not a whole number
    bad.txt:2: an account or a month is closed, not "shop"
    bad.txt:2: expected `of`, found "if"
    bad.txt:2: "Atlantis" is no time zone; write for example New_York, America/New_York or UTC
    bad.txt:2: "2013-01-05T25:00" is no time; write for example 2013-01-31, 2013-01-31T23:59 or 2013-01-31T23:59:59.999999
    bad.txt:2: the clocks in America/New_York skip 2013-03-10T02:30; write it in UTC
    bad.txt:2: the clocks in America/New_York show 2013-11-03T01:30 twice; write it in UTC
    bad.txt:2: packs are bought, not "bags": write `purchase 2 packs ref=inv-1`
    bad.txt:2: a purchase needs ref=
    bad.txt:2: must be free, purchased or total, not "gratis"
    bad.txt:2: "2013-13" is not a month such as 2026-03
    bad.txt:2: an indented line belongs below `ledger:` or `grants:`
    bad.txt:2: a quote (") is not closed
    bad.txt:1: there is no account; begin with `account acme in America/New_York from 2013-01-01`
    "#);
}
