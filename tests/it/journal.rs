//! The independent proof: somebody else's program adds up the whole ledger, and finds the balances and the statements
//! of creditd. And the proof of the proof: a journal in which one figure is another one fails.

pub mod provers;
mod year;

use crate::support::{Sandbox, both_databases};
use creditd::core::credits::CreditType;
use creditd::core::ids::AccountId;
use creditd::core::statement::{DateRange, Figures, Grouping, LineType, ReportSpec, Scope};
use creditd::core::transaction::{Kind, Status, Transaction};
use creditd::report::aggregate;
use provers::{Prover, asked};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Instants in the middle of it all: one hour into a month that just began in Tokyo, and one on the day that begins at
/// one in the morning in São Paulo.
const AS_OF: [&str; 2] = ["2018-07-31T16:00:00Z", "2018-11-04T12:00:00Z"];

/// Writes the journal through the real binary.
fn export(sandbox: &Sandbox, prover: Prover, more: &[&str]) -> PathBuf {
    let path = sandbox.path(&format!("ledger.{}", prover.format()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
    command.env_clear().current_dir(sandbox.path(".")).args(["--now", year::END, "--database-url", sandbox.url()]);
    command.args(["transactions", "export", "--format", prover.format(), "--out"]).arg(&path).args(more);
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

both_databases! {
    async fn a_year_of_everything_is_proved_by_other_programs(sandbox: Sandbox) {
        let accounts = year::play(&sandbox).await;
        let mut logs = BTreeMap::new();
        for id in &accounts {
            logs.insert(id, sandbox.log(id).await);
        }
        let kinds: BTreeSet<Kind> = logs.values().flatten().map(|row| row.kind).collect();
        assert_eq!(kinds, Kind::ALL.iter().copied().collect(), "the year leaves a kind out");
        let log = logs.values().flatten();
        assert!(log.clone().count() > 1_500 && log.filter(|row| row.status == Status::Failed).count() > 50);
        for prover in Prover::ALL.into_iter().filter(|prover| prover.is_there()) {
            for as_of in AS_OF {
                let path = export(&sandbox, prover, &["--as-of", as_of]);
                assert_eq!(prover.prove(&path), Ok(()), "{prover:?} as of {as_of}");
            }
            let path = export(&sandbox, prover, &[]);
            assert_eq!(prover.prove(&path), Ok(()), "{prover:?}");
            assert_one_wrong_figure_is_found(prover, &path);
            if prover == Prover::Hledger {
                assert_all_of_the_log_is_there(&path, &logs);
                for (id, log) in &logs {
                    assert_statements_are_what_hledger_adds_up(&sandbox, &path, id).await;
                    assert_sales_are_what_was_paid(&path, id, log);
                }
            }
        }
        // A balance that creditd stores beside its log, and that is another one.
        let wrong = "UPDATE grants SET remaining = remaining - 1, consumed = consumed + 1 WHERE remaining > 0";
        assert!(sandbox.execute(wrong).await.expect("a projection can be overwritten") > 0);
        for prover in Prover::ALL.into_iter().filter(|prover| prover.is_there()) {
            let said = prover.prove(&export(&sandbox, prover, &[])).expect_err("the stored balance is wrong");
            assert!(said.to_lowercase().contains("balance"), "{said}");
        }
    }
}

/// The journal in its parts: entries, assertions, declarations and remarks, each behind an empty line.
fn parts(journal: &str) -> Vec<String> {
    journal.split("\n\n").map(str::to_owned).collect()
}

/// The number before `CREDIT` at the end of a line, made another one.
fn with_other_number(line: &str, by: i64) -> String {
    let (before, _) = line.rsplit_once(" CREDIT").expect("a line about credits");
    let (before, number) = before.rsplit_once(' ').expect("a number");
    let number: i64 = number.parse().expect("a number");
    format!("{before} {} CREDIT", number + by)
}

/// Changes line number `line` of `part` by `by`.
fn change(part: &str, line: usize, by: i64) -> String {
    let mut lines: Vec<String> = part.lines().map(str::to_owned).collect();
    lines[line] = with_other_number(&lines[line], by);
    lines.join("\n")
}

/// A journal that says another thing in a single place fails, whatever the place.
fn assert_one_wrong_figure_is_found(prover: Prover, path: &Path) {
    let journal = std::fs::read_to_string(path).expect("the journal");
    let parts = parts(&journal);
    let is_dated = |part: &&str| part.starts_with("20");
    let credits = |part: &str| part.lines().filter(|line| line.ends_with(" CREDIT")).count();
    let is_check = |part: &str| part.contains(" CREDIT = ") || part.contains(" balance ");
    let entries: Vec<usize> = (0..parts.len())
        .filter(|at| is_dated(&parts[*at].as_str()) && credits(&parts[*at]) == 2 && !is_check(&parts[*at]))
        .collect();
    let checks: Vec<usize> = (0..parts.len()).filter(|at| is_check(&parts[*at]) && credits(&parts[*at]) >= 2).collect();
    assert!(entries.len() > 800 && checks.len() > 30, "{} entries, {} checks", entries.len(), checks.len());
    let last = |part: &str| part.lines().count() - 1;

    let tampered = path.with_extension("tampered");
    let found = |what: &str, change: &dyn Fn(&mut Vec<String>)| {
        let mut changed = parts.clone();
        change(&mut changed);
        assert_ne!(changed, parts, "{what}: nothing was changed");
        std::fs::write(&tampered, changed.join("\n\n")).expect("a journal");
        let said = prover.prove(&tampered).expect_err(what);
        assert!(said.to_lowercase().contains("balance"), "{what}: {said}");
    };
    // From the beginning, the middle and the end of the file, so from every account.
    for part in [1, 4, 7] {
        let (entry, check) = (entries[entries.len() * part / 8], checks[checks.len() * part / 8]);
        found("an assertion", &|parts| parts[check] = change(&parts[check], last(&parts[check]), 1));
        found("one side of an entry", &|parts| parts[entry] = change(&parts[entry], last(&parts[entry]), 1));
        found("both sides of an entry", &|parts| {
            let end = last(&parts[entry]);
            parts[entry] = change(&change(&parts[entry], end, 1), end - 1, -1);
        });
        found("an entry left out", &|parts| drop(parts.remove(entry)));
        found("an entry that is there twice", &|parts| parts.insert(entry, parts[entry].clone()));
    }
}

/// Every row that moves something is one transaction, every other is a remark, and nothing else is there, whatever people
/// wrote.
fn assert_all_of_the_log_is_there(path: &Path, logs: &BTreeMap<&AccountId, Vec<Transaction>>) {
    let journal = std::fs::read_to_string(path).expect("the journal");
    let codes: BTreeSet<String> = asked(path, &["codes"]).lines().map(str::to_owned).collect();
    let code_of = |line: &str| Some(line.strip_prefix("; 20")?.split_once('(')?.1.split_once(')')?.0.to_owned());
    let remarks: BTreeSet<String> = journal.lines().filter_map(code_of).collect();
    for (id, log) in logs {
        for row in log {
            let code = format!("{id}/{}", row.seq);
            let moves = row.credits().get() != 0 || row.delta.free.get() != 0 || row.money.is_some();
            let is_remark = remarks.contains(&code);
            assert_eq!((codes.contains(&code), is_remark), (moves, !moves), "{code} {}", row.kind);
        }
    }
    // What no job has written yet is there, too, and marked.
    let unwritten = codes.iter().filter(|code| {
        let (id, seq) = code.rsplit_once('/').expect("account/seq");
        let log = logs.iter().find(|(known, _)| known.as_str() == id).map(|(_, log)| log).expect("a known account");
        seq.parse::<usize>().expect("a number") > log.len()
    });
    let pending = asked(path, &["codes", "--pending"]);
    assert_eq!(unwritten.cloned().collect::<BTreeSet<_>>(), pending.lines().map(str::to_owned).collect());
    assert!(pending.lines().any(|code| code.starts_with("gamma/")), "{pending}");

    let known =
        ["action", "corrects", "key", "kind", "occurred_at", "quantity", "recorded_at", "reference", "seq", "user"];
    assert_eq!(asked(path, &["tags"]).lines().collect::<Vec<_>>(), known);
    let mut payees: Vec<String> = asked(path, &["payees"]).lines().map(str::to_owned).collect();
    payees.sort();
    let mut ids: Vec<String> = logs.keys().map(ToString::to_string).collect();
    ids.sort();
    assert_eq!(payees, ids);
}

/// What hledger adds up for an account, by place and month.
fn monthly(path: &Path, id: &AccountId, what: &[&str]) -> BTreeMap<(String, String), i64> {
    let payee = format!("payee:^{}$", id.as_str().replace('.', "[.]"));
    let args = ["balance", "--monthly", "--flat", "--no-total", "--output-format", "csv", &payee];
    let table = asked(path, &[&args[..], what].concat());
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let months: Vec<String> = reader.headers().expect("a head").iter().skip(1).map(str::to_owned).collect();
    let mut sums = BTreeMap::new();
    for record in reader.records() {
        let record = record.expect("a record");
        for (month, amount) in months.iter().zip(record.iter().skip(1)) {
            let number = amount.split_whitespace().next().unwrap_or("0");
            let number: i64 = number.replace('.', "").parse().expect("a whole number");
            sums.insert((record[0].to_owned(), month.clone()), number);
        }
    }
    sums
}

/// Every column of every monthly statement, by credit type, is what hledger finds in its place.
async fn assert_statements_are_what_hledger_adds_up(sandbox: &Sandbox, path: &Path, id: &AccountId) {
    let app = sandbox.at(year::END);
    let date = |text: &str| creditd::core::calendar::parse_date(text).expect("a date");
    let range = DateRange::new(date("2018-01-01"), date("2019-04-01")).expect("months");
    let spec = ReportSpec::new("t", range, Grouping::Month, Scope::Account, app.now()).expect("a spec");
    let rows = app.report_rows(Some(std::slice::from_ref(id)), range, None, &mut |_, _| {}).await;
    let (accounts, rows) = rows.expect("rows");
    let statement = aggregate(&spec, &accounts, &rows).expect("a statement");
    let sums = monthly(path, id, &["cur:CREDIT"]);
    let mut seen: BTreeMap<&str, i64> = BTreeMap::new();
    for line in statement.lines.iter().filter(|line| line.credit_type != LineType::Total) {
        let month = line.range.from().date().format("%Y-%m").to_string();
        let credit_type = line.credit_type.as_str();
        // The sum of a place and all below it.
        let of = |place: &str| -> i64 {
            let is_within =
                |found: &str| found.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
            sums.iter().filter(|((found, when), _)| *when == month && is_within(found)).map(|(_, sum)| sum).sum()
        };
        let typed = |column: &str| of(&format!("{column}:{credit_type}"));
        let only = |of_type: CreditType, column: &str| if of_type.as_str() == credit_type { of(column) } else { 0 };
        let (pool, held) =
            (format!("assets:credits:{id}:{credit_type}"), format!("assets:credits:{id}:held:{credit_type}"));
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
        for (column, figure, sum) in [
            ("allocated", allocated.get(), -only(CreditType::Free, "income:allocated")),
            ("purchased", purchased.get(), -only(CreditType::Purchased, "income:purchased")),
            ("bonus", bonus.get(), -typed("income:bonus")),
            ("consumed", consumed.get(), typed("expenses:consumed") + of(&held)),
            ("refunded", refunded.get(), -typed("expenses:refunded")),
            ("lapsed", lapsed.get(), typed("expenses:lapsed")),
            ("returned", returned.get(), only(CreditType::Purchased, "income:returned")),
            ("adjusted", adjusted.get(), -typed("expenses:adjusted")),
            ("remaining less carried_in", remaining.get() - carried_in.get(), of(&pool)),
        ] {
            assert_eq!(sum, figure, "{id} {month} {credit_type} {column}: hledger left, creditd right");
            *seen.entry(column).or_default() += figure.abs();
        }
    }
    let idle: Vec<&&str> = seen.iter().filter(|(_, sum)| **sum == 0).map(|(column, _)| column).collect();
    assert!(idle.is_empty(), "{id}: nothing was compared in {idle:?}");
}

/// The money that came in is the money of the purchases, by month.
fn assert_sales_are_what_was_paid(path: &Path, id: &AccountId, log: &[Transaction]) {
    let paid: i64 = log.iter().filter_map(|row| row.money.as_ref()).map(|money| money.minor).sum();
    let sums = monthly(path, id, &["cur:USD"]);
    let of = |place: &str| -> i64 { sums.iter().filter(|((found, _), _)| found == place).map(|(_, sum)| sum).sum() };
    assert!(paid > 0);
    assert_eq!((of("assets:payments"), of("income:sales")), (paid, -paid), "{id}");
}
