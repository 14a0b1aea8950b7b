//! Fixed reports for the tests of the renderers.

use super::aggregate;
use crate::core::calendar::{Calendar, Terms, parse_zone};
use crate::core::credits::{Credits, Split};
use crate::core::statement::{
    Breakdown, DateRange, Grouping, LocalTime, LogRow, Name, Outcome, ReportAccount, ReportModel, ReportSpec, Row,
    Rows, Scope,
};
use crate::core::transaction::{Kind, Reason, Status};

/// One account, March 2026 in Berlin, with something in every column.
pub(super) fn statement() -> ReportModel {
    report("Statement", "2026-03-01", "2026-04-01", Grouping::Range, Scope::Account, &["9e-atl"])
}

/// Any report about the same month of `ids`.
pub(super) fn report(title: &str, from: &str, to: &str, grouping: Grouping, scope: Scope, ids: &[&str]) -> ReportModel {
    broken_down(title, (from, to), grouping, None, scope, ids)
}

/// The same broken down. Its users have names that must stay text wherever they are shown.
pub(super) fn broken_down(
    title: &str,
    (from, to): (&str, &str),
    grouping: Grouping,
    breakdown: Option<Breakdown>,
    scope: Scope,
    ids: &[&str],
) -> ReportModel {
    let date = |text: &str| text.parse::<LocalTime>().expect("a local time");
    let range = DateRange::new(date(from), date(to)).expect("a range");
    let as_of = "2026-04-02T06:00:00Z".parse().expect("an instant");
    let spec = ReportSpec::new(title, range, grouping, scope, as_of).expect("bounded").with_breakdown(breakdown);
    let accounts: Vec<ReportAccount> = ids
        .iter()
        .map(|id| ReportAccount {
            id: id.parse().expect("an id"),
            calendar: Calendar::new(Terms {
                from: "2026-01".parse().expect("a month"),
                zone: parse_zone("Europe/Berlin").expect("a zone"),
                allowance: Credits::new(1_500),
            }),
            opening: Split { free: Credits::ZERO, purchased: Credits::new(2_750) },
        })
        .map(|account| ReportAccount { opening: opening(&account, &spec), ..account })
        .collect();
    let mut rows = Rows::default();
    for (at, row) in (0..accounts.len()).flat_map(|at| month(u32::try_from(at).expect("few")).into_iter().enumerate()) {
        let name = NAMES.get(at).filter(|name| !name.is_empty());
        let name = name.map_or(Name::NONE, |name| rows.name(name));
        rows.push(Row { name, ..row });
    }
    aggregate(&spec, &accounts, &rows).expect("small")
}

/// One account in which each of `names` used credits on the first ten days of March 2026, the first most.
pub(super) fn usage(range: (&str, &str), grouping: Grouping, breakdown: Breakdown, names: &[&str]) -> ReportModel {
    let local = |text: &str| text.parse::<LocalTime>().expect("a local time");
    let range = DateRange::new(local(range.0), local(range.1)).expect("a range");
    let as_of = "2026-04-02T06:00:00Z".parse().expect("an instant");
    let spec = ReportSpec::new("Usage", range, grouping, Scope::Account, as_of).expect("bounded");
    let account = ReportAccount {
        id: "a".parse().expect("an id"),
        calendar: Calendar::new(Terms {
            from: "2026-01".parse().expect("a month"),
            zone: parse_zone("Europe/Berlin").expect("a zone"),
            allowance: Credits::new(1_500),
        }),
        opening: Split { free: Credits::ZERO, purchased: Credits::new(1_000_000) },
    };
    let mut rows = Rows::default();
    for day in 1..=10 {
        let at = format!("2026-03-{day:02}T12:00:00Z").parse().expect("an instant");
        for (name, less) in names.iter().zip(0_i64..) {
            let name = rows.name(name);
            let delta = Split { free: Credits::ZERO, purchased: Credits::new(-100 * day + 5 * less) };
            rows.push(Row { account: 0, counts_at: at, kind: Kind::Charge, outcome: Outcome::Succeeded, name, delta });
        }
    }
    aggregate(&spec.with_breakdown(Some(breakdown)), &[account], &rows).expect("small")
}

/// Whose the rows of the month are, as far as they are anybody's.
const NAMES: [&str; 6] = ["", "=ann", "שרה 🦊", "<b>eve</b>", "=ann", ""];

/// What `account` has when `range` begins, given that it now has what it had before the month.
fn opening(account: &ReportAccount, spec: &ReportSpec) -> Split {
    let (begin, _) = spec.range().instants_in(&account.calendar);
    let before = month(0).into_iter().filter(|row| row.counts_at < begin);
    before.fold(account.opening, |sum, row| sum.plus(row.delta).expect("small"))
}

/// A month of one account; the lapse at its very end is the last of it.
fn month(account: u32) -> Vec<Row> {
    let refused = Some(Reason::InsufficientCredits);
    [
        ("2026-02-28T23:00:00Z", Kind::Allocation, Status::Success, None, 1_500, 0),
        ("2026-03-02T09:00:00Z", Kind::Charge, Status::Success, None, -1_200, 0),
        ("2026-03-09T09:00:00Z", Kind::Charge, Status::Success, None, -40, -60),
        ("2026-03-09T10:00:00Z", Kind::Charge, Status::Failed, None, 0, 0),
        ("2026-03-10T10:00:00Z", Kind::Charge, Status::Failed, refused, 0, 0),
        ("2026-03-11T08:00:00Z", Kind::Purchase, Status::Success, None, 0, 5_000),
        ("2026-03-12T08:00:00Z", Kind::Refund, Status::Success, None, 0, 60),
        ("2026-03-13T08:00:00Z", Kind::Return, Status::Success, None, 0, -2_500),
        ("2026-03-14T08:00:00Z", Kind::Bonus, Status::Success, None, 100, 0),
        ("2026-03-15T08:00:00Z", Kind::Adjustment, Status::Success, None, 0, -250),
        ("2026-03-31T22:00:00Z", Kind::Expiry, Status::Success, None, -360, 0),
    ]
    .into_iter()
    .map(|(at, kind, status, reason, free, purchased)| Row {
        account,
        counts_at: kind.counts_at(at.parse().expect("an instant")),
        kind,
        outcome: Outcome::of(kind, status, reason),
        name: Name::NONE,
        delta: Split { free: Credits::new(free), purchased: Credits::new(purchased) },
    })
    .collect()
}

/// Texts that want to be a formula, a tag, another line, a command of the terminal, or all of the page.
pub(super) fn hostile() -> Vec<String> {
    let texts = [
        "=HYPERLINK(\"http://x.example\")",
        "+1+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "a,b;c\"d'e",
        "\u{1b}[2J\u{7}\u{0}",
        "line\nline",
        "\u{202e}detrever שלום 🦊",
        "{{ title }} {% raw %} &amp;",
    ];
    let long = format!("={}", "x".repeat(4_095));
    texts.into_iter().map(str::to_owned).chain([long]).collect()
}

/// A log of March 2026 in Berlin with these comments, of users and payments that look like formulas, too.
pub(super) fn log(comments: &[String], scope: Scope) -> ReportModel {
    let march = ("2026-03-01", "2026-04-01");
    let mut model = broken_down("=Log", march, Grouping::Range, Some(Breakdown::Transaction), scope, &["9e-atl"]);
    let terms = Terms {
        from: "2026-01".parse().expect("a month"),
        zone: parse_zone("Europe/Berlin").expect("a zone"),
        allowance: Credits::new(1_500),
    };
    let account: crate::core::ids::AccountId = "9e-atl".parse().expect("an id");
    let calendar = Calendar::new(terms);
    let ledger = crate::core::ledger::Ledger::new(crate::core::ledger::Account {
        id: account.clone(),
        name: String::new(),
        opened_at: "2026-02-28T23:00:00Z".parse().expect("an instant"),
        calendar: calendar.clone(),
    });
    let mut opened = ledger;
    let now = "2026-03-28T23:30:00.5Z".parse().expect("an instant");
    opened.roll_over(now, now).expect("small");
    let allocation = opened.rows()[0].clone();
    model.beside.log = std::iter::once(allocation.clone())
        .chain(comments.iter().zip(2_i64..).map(|(comment, seq)| crate::core::transaction::Transaction {
            seq,
            kind: Kind::Charge,
            occurred_at: now,
            user: "=ann".parse().ok(),
            action: "erase".parse().ok(),
            quantity: 2,
            comment: comment.clone(),
            key: "+key-1".parse().ok(),
            delta: Split { free: Credits::new(-8), purchased: Credits::new(-6) },
            ..allocation.clone()
        }))
        .map(|row| LogRow::new(account.clone(), &calendar, row))
        .collect();
    model
}
