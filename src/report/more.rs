//! What stands beside the lines of a report, for people: a few small tables that every renderer shows in its own way, and
//! for programs as fields of the JSON object.

use super::json::{Object, objects};
use super::table::{Head, Keep, align, fitted, new_table, shortened, wrapped};
use super::wording::{EQUATION, days, money, period};
use crate::core::counting::{counted, grouped};
use crate::core::ids::{AccountId, printable};
use crate::core::statement::{
    Breakdown, Cell, Column, Facts, Group, LINES_PER_PERIOD, Line, LineType, ReportModel, Sales, Scope, Top,
};
use crate::core::transaction::Money;
use serde::Serialize;
use std::collections::BTreeMap;

/// A small table beside the lines.
pub(super) struct Block {
    pub(super) title: String,
    /// What it says and how that is counted, in a sentence or two.
    pub(super) hint: &'static str,
    /// The names of its columns; the first column names the row.
    pub(super) heads: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Value>>,
    /// Whether the last row sums up the others.
    pub(super) has_sum: bool,
}

/// What stands in a cell of such a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A word of ours.
    Word(String),
    /// Text that was given from outside.
    Given(String),
    Number(i128),
    /// A difference, with its sign.
    Change(i128),
    Money(Money),
    Blank,
}

impl Value {
    pub(super) fn said(&self) -> String {
        match self {
            Value::Word(text) | Value::Given(text) => text.clone(),
            Value::Number(number) => grouped(*number),
            Value::Change(change) if *change > 0 => format!("+{}", grouped(*change)),
            Value::Change(change) => grouped(*change),
            Value::Money(amount) => money(amount),
            Value::Blank => String::new(),
        }
    }
}

fn word(text: &str) -> Value {
    Value::Word(text.to_owned())
}

/// A figure of a line.
fn figure(line: Option<&Line>, column: Column) -> Value {
    match line.map(|line| line.cell(column)) {
        Some(Cell::Credits(credits)) => Value::Number(credits.get().into()),
        Some(Cell::Count(count)) => Value::Number(count.into()),
        _ => Value::Blank,
    }
}

/// The tables of `model`, in the order in which one reads them.
pub(super) fn blocks(model: &ReportModel) -> Vec<Block> {
    let mut blocks = Vec::new();
    blocks.extend(in_sum(model));
    blocks.extend(comparison(model));
    if let Some(facts) = &model.beside.facts {
        blocks.extend(accounts(model, facts));
        blocks.extend(sales(facts));
    }
    blocks.extend(model.beside.tops.iter().map(|top| most_used(model, top)));
    blocks
}

/// What the transactions of a filtered log sum to: there is no statement of them.
fn in_sum(model: &ReportModel) -> Option<Block> {
    if !model.is_log() || model.spec.filters().is_empty() {
        return None;
    }
    let rows = compared(model).into_iter().map(|column| {
        let figures = model.totals.iter().map(|line| figure(Some(line), column));
        [word(column.heading())].into_iter().chain(figures).collect()
    });
    Some(Block {
        title: "In sum".to_owned(),
        hint: "Credits that these transactions took and gave back, and how the actions ended.",
        heads: vec!["", "free", "purchased", "total"],
        rows: rows.collect(),
        has_sum: false,
    })
}

/// The figures that a comparison compares: those that the report has.
fn compared(model: &ReportModel) -> Vec<Column> {
    let figures = EQUATION.into_iter().map(|(column, ..)| column);
    let counts = [Column::Succeeded, Column::Failed, Column::Refused];
    figures.chain(counts).filter(|column| total_columns(model).contains(column)).collect()
}

fn comparison(model: &ReportModel) -> Option<Block> {
    let before = model.beside.comparison.as_ref()?;
    let rows = compared(model).into_iter().filter_map(|column| {
        let (then, now) = (figure(before.totals.last(), column), figure(model.totals.last(), column));
        let (Value::Number(was), Value::Number(is)) = (&then, &now) else { return None };
        let change = Value::Change(is - was);
        let is_nothing = (*was, *is) == (0, 0);
        (!is_nothing).then(|| vec![word(column.heading()), then, now, change])
    });
    Some(Block {
        title: if model.is_over {
            format!("Compared with {}", days(before.range))
        } else {
            format!("{}, compared with the whole of {}", period(model), days(before.range))
        },
        hint: "Free and purchased credits together. What is zero in both is left out.",
        heads: vec!["", "then", "now", "change"],
        rows: rows.collect(),
        has_sum: false,
    })
}

/// True for the sum of many accounts.
fn is_of_many(model: &ReportModel) -> bool {
    model.spec.scope() == Scope::Platform || model.subtotals.len() > LINES_PER_PERIOD
}

fn accounts(model: &ReportModel, facts: &Facts) -> Option<Block> {
    if !is_of_many(model) {
        return None;
    }
    let lapsed = |at: usize| model.totals.get(at).map_or(0, |line| line.figures.lapsed.get());
    let row = |name: &str, number: i128, meaning: &str| vec![word(name), Value::Number(number), word(meaning)];
    let of_bonuses = (lapsed(1) != 0)
        .then(|| row("Purchased credits lapsed", lapsed(1).into(), "of bonuses, left unused when their time was over"));
    let rows = vec![
        row("Accounts", facts.accounts.into(), "in this report"),
        row("Active", facts.active.into(), "accounts with an action that was done"),
        row("Short of credits", facts.short.into(), "accounts with an action that was refused for want of credits"),
        row("Free credits lapsed", lapsed(0).into(), "left unused when their time was over"),
    ];
    Some(Block {
        title: "All accounts".to_owned(),
        hint: "Over the whole period, each account by its own clock.",
        heads: vec!["", "number", "what it counts"],
        rows: rows.into_iter().chain(of_bonuses).collect(),
        has_sum: false,
    })
}

fn sales(facts: &Facts) -> Option<Block> {
    let amount = |minor: i64, currency: &str| Value::Money(Money { minor, currency: currency.to_owned() });
    let row = |(currency, sales): (&String, &Sales)| {
        vec![
            Value::Given(currency.clone()),
            Value::Number(sales.packs.into()),
            Value::Number(sales.credits.get().into()),
            amount(sales.revenue_minor, currency),
            Value::Number(sales.returned.get().into()),
            amount(sales.returned_minor, currency),
            Value::Number(sales.outstanding.get().into()),
            amount(sales.outstanding_minor, currency),
        ]
    };
    let mut rows: Vec<Vec<Value>> = facts.sales.iter().map(row).collect();
    if !facts.given.is_zero() {
        let mut given = vec![word("bonus")];
        given.resize(6, Value::Blank);
        given.extend([Value::Number(facts.given.get().into()), Value::Number(0)]);
        rows.push(given);
    }
    (!rows.is_empty()).then(|| Block {
        title: "Purchases and money".to_owned(),
        hint: "Outstanding are the purchased credits that are there at the end. Each is worth what its own pack cost, to the \
               nearest unit for each purchase, and a bonus nothing; so are those that were returned.",
        heads: vec!["currency", "packs", "credits", "revenue", "returned", "worth returned", "outstanding", "worth outstanding"],
        rows,
        has_sum: false,
    })
}

const USE_COLUMNS: [Column; 4] = [Column::Refunded, Column::Succeeded, Column::Failed, Column::Refused];

fn most_used(model: &ReportModel, top: &Top) -> Block {
    let use_of = |name: Value, triple: &[Line]| {
        let consumed = [0, 1, 2].map(|at| figure(triple.get(at), Column::Consumed));
        let rest = USE_COLUMNS.map(|column| figure(triple.get(2), column));
        [name].into_iter().chain(consumed).chain(rest).collect::<Vec<Value>>()
    };
    let hint = if is_of_many(model) && top.by == Breakdown::User {
        "In credits consumed, over the whole period, and how the actions ended. Users of the same id in several accounts are one \
         here."
    } else {
        "In credits consumed, over the whole period, and how the actions ended."
    };
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for triple in top.lines.triples() {
        let name = match triple[0].group {
            Some(Group::Named(name)) if top.by == Breakdown::Action => Value::Given(model.title_of(name).to_owned()),
            Some(Group::Named(name)) => Value::Given(name.to_string()),
            Some(Group::Word(name)) => word(name),
            Some(Group::Unnamed) | None => Value::Word(format!("(no {})", top.by)),
        };
        rows.push(use_of(name, &triple));
    }
    if !top.rest.is_empty() {
        rows.push(use_of(Value::Word(counted(top.others, "other")), &top.rest));
    }
    rows.push(use_of(word("all"), &model.totals));
    Block {
        title: if top.by == Breakdown::User { "Users that took most" } else { "Actions that took most" }.to_owned(),
        hint,
        heads: vec![top.by.as_str(), "free", "purchased", "consumed", "refunded", "succeeded", "failed", "refused"],
        rows,
        has_sum: true,
    }
}

/// The tables below a table.
pub(super) fn told(model: &ReportModel, width: u16) -> String {
    let name_max = usize::from(width / 2).max(16);
    let mut text = String::new();
    for block in blocks(model) {
        let mut table = new_table(block.heads.iter().copied());
        for row in &block.rows {
            table.add_row(row.iter().map(|value| shortened(&printable(&value.said()), name_max)).collect::<Vec<_>>());
        }
        for at in 0..block.heads.len() {
            let is_text = block.rows.iter().all(|row| matches!(row[at], Value::Word(_) | Value::Given(_)));
            align(&mut table, at, !is_text);
        }
        let keep = |(at, name): (usize, &&'static str)| -> Head<'static> {
            let keep = match *name {
                _ if at == 0 => Keep::Always,
                "consumed" | "revenue" | "number" | "change" | "total" => Keep::Always,
                "worth outstanding" => Keep::Fourth,
                _ if at > 4 => Keep::Second,
                _ => Keep::Third,
            };
            (*name, keep)
        };
        let heads: Vec<Head> = block.heads.iter().enumerate().map(keep).collect();
        let drawn = fitted(&mut table, &heads, width, true).unwrap_or_default();
        text.push_str(&format!("\n{}{drawn}", wrapped(&block.title, width)));
    }
    text
}

/// The columns of totals: those of the report, but for a log those of the statement that it is the log of.
pub(super) fn total_columns(model: &ReportModel) -> &[Column] {
    const STATEMENT: &[Column] = &[
        Column::Account,
        Column::From,
        Column::To,
        Column::CreditType,
        Column::CarriedIn,
        Column::Allocated,
        Column::Purchased,
        Column::Bonus,
        Column::Consumed,
        Column::Refunded,
        Column::Lapsed,
        Column::Returned,
        Column::Adjusted,
        Column::Remaining,
        Column::Succeeded,
        Column::Failed,
        Column::Refused,
    ];
    const USE: &[Column] = &[
        Column::Account,
        Column::From,
        Column::To,
        Column::CreditType,
        Column::Consumed,
        Column::Refunded,
        Column::Succeeded,
        Column::Failed,
        Column::Refused,
    ];
    match (model.is_log(), model.spec.filters().is_empty()) {
        (false, _) => model.spec.columns(),
        (true, true) => STATEMENT,
        (true, false) => USE,
    }
}

/// The fields that a report has beside its lines and totals. What was not asked for or cannot be is left out.
#[derive(Serialize)]
pub(super) struct More<'a> {
    /// The accounts that are summed up, where they are not all.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    chosen: &'a [AccountId],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    filters: BTreeMap<&'static str, Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Compared<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accounts: Option<CountedAccounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    money: Option<SoldFor<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tops: Vec<MostUsed<'a>>,
}

#[derive(Serialize)]
struct Compared<'a> {
    from: String,
    to: String,
    totals: Vec<Object<'a>>,
    /// Now less then, by credit type.
    change: Vec<BTreeMap<&'static str, serde_json::Value>>,
}

#[derive(Serialize)]
struct CountedAccounts {
    all: u64,
    active: u64,
    short_of_credits: u64,
}

#[derive(Serialize)]
struct SoldFor<'a> {
    outstanding: i64,
    given: i64,
    currencies: Vec<Sold<'a>>,
}

#[derive(Serialize)]
struct Sold<'a> {
    currency: &'a str,
    purchases: u64,
    packs: u64,
    credits: i64,
    revenue_minor: i64,
    returned: i64,
    returned_minor: i64,
    outstanding: i64,
    outstanding_minor: i64,
}

#[derive(Serialize)]
struct MostUsed<'a> {
    by: &'static str,
    lines: Vec<Object<'a>>,
    others: u64,
    rest: Vec<Object<'a>>,
}

/// The columns of what was used most.
const fn top_columns(by: Breakdown) -> &'static [Column] {
    const BY_USER: &[Column] = &[
        Column::User,
        Column::CreditType,
        Column::Consumed,
        Column::Refunded,
        Column::Succeeded,
        Column::Failed,
        Column::Refused,
    ];
    const BY_ACTION: &[Column] = &[
        Column::Action,
        Column::CreditType,
        Column::Consumed,
        Column::Refunded,
        Column::Succeeded,
        Column::Failed,
        Column::Refused,
    ];
    if matches!(by, Breakdown::User) { BY_USER } else { BY_ACTION }
}

impl<'a> More<'a> {
    pub(super) fn of(model: &'a ReportModel) -> More<'a> {
        let beside = &model.beside;
        let sold = |(currency, sales): (&'a String, &Sales)| Sold {
            currency,
            purchases: sales.purchases,
            packs: sales.packs,
            credits: sales.credits.get(),
            revenue_minor: sales.revenue_minor,
            returned: sales.returned.get(),
            returned_minor: sales.returned_minor,
            outstanding: sales.outstanding.get(),
            outstanding_minor: sales.outstanding_minor,
        };
        let top = |top: &'a Top| MostUsed {
            by: top.by.as_str(),
            lines: objects(top.lines.iter(), top_columns(top.by)),
            others: top.others,
            rest: objects(top.rest.iter().copied(), top_columns(top.by)),
        };
        More {
            chosen: &beside.chosen,
            filters: model.spec.filters().said().into_iter().collect(),
            comparison: beside.comparison.as_ref().map(|before| Compared {
                from: before.range.from().to_string(),
                to: before.range.to().to_string(),
                totals: objects(before.totals.iter().copied(), total_columns(model)),
                change: model.totals.iter().zip(&before.totals).map(|(now, then)| changes(model, now, then)).collect(),
            }),
            accounts: beside.facts.as_ref().filter(|_| is_of_many(model)).map(|facts| CountedAccounts {
                all: facts.accounts,
                active: facts.active,
                short_of_credits: facts.short,
            }),
            money: beside.facts.as_ref().map(|facts| SoldFor {
                outstanding: facts.outstanding.get(),
                given: facts.given.get(),
                currencies: facts.sales.iter().map(sold).collect(),
            }),
            tops: beside.tops.iter().map(top).collect(),
        }
    }
}

fn changes(model: &ReportModel, now: &Line, then: &Line) -> BTreeMap<&'static str, serde_json::Value> {
    let mut changes = BTreeMap::from([(Column::CreditType.as_str(), now.credit_type.as_str().into())]);
    for column in compared(model) {
        let change = match (figure(Some(now), column), figure(Some(then), column)) {
            (Value::Number(is), Value::Number(was)) => i64::try_from(is - was).ok(),
            _ => None,
        };
        let is_counted = now.credit_type == LineType::Total;
        if change.is_some() || !is_counted {
            changes.insert(column.as_str(), change.into());
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::credits::Credits;
    use crate::core::statement::{Comparison, Grouping};
    use crate::report::testing::{broken_down, report, statement};
    use crate::report::{Format, render};

    /// A statement with everything beside it, of which nothing may run.
    fn whole() -> ReportModel {
        let march = ("2026-03-01", "2026-04-01");
        let used = broken_down("t", march, Grouping::Range, Some(Breakdown::User), Scope::Platform, &["a", "b"]);
        let before = report("t", "2026-02-01", "2026-03-01", Grouping::Range, Scope::Platform, &["a", "b"]);
        let mut model = report("Platform", march.0, march.1, Grouping::Range, Scope::Platform, &["a", "b"]);
        let sold = Sales {
            purchases: 2,
            packs: 4,
            credits: Credits::new(10_000),
            revenue_minor: 1_234_567,
            returned: Credits::new(5_000),
            returned_minor: 5,
            outstanding: Credits::new(7),
            outstanding_minor: 3,
        };
        let sales = ["USD", "JPY", "=<b>"].map(|currency| (currency.to_owned(), sold)).into_iter().collect();
        let facts = Facts { accounts: 2, active: 1, short: 1, sales, given: Credits::new(9), ..Facts::default() };
        model.beside.facts = Some(facts);
        model.beside.comparison = Some(Comparison { range: before.spec.range(), totals: before.totals });
        model.beside.tops = vec![Top::of(Breakdown::User, &used).expect("small")];
        model
    }

    #[test]
    fn what_stands_beside_a_statement_is_told_below_it() {
        insta::assert_snapshot!(told(&whole(), 120), @"

        Compared with February 2026
                     then     now   change
        ──────────────────────────────────
        Carried in  5,500   5,500        0
        Allocated       0   3,000   +3,000
        Purchased       0  10,000  +10,000
        Bonus           0     200     +200
        Consumed        0   2,600   +2,600
        Refunded        0     120     +120
        Lapsed          0     720     +720
        Returned        0   5,000   +5,000
        Adjusted        0    -500     -500
        Remaining   5,500  10,000   +4,500
        Succeeded       0       4       +4
        Failed          0       2       +2
        Refused         0       2       +2

        All accounts
                             number  what it counts
        ─────────────────────────────────────────────────────────────────────────────────────────
        Accounts                  2  in this report
        Active                    1  accounts with an action that was done
        Short of credits          1  accounts with an action that was refused for want of credits
        Free credits lapsed     720  left unused when their time was over

        Purchases and money
        currency  packs  credits         revenue  returned  worth returned  outstanding  worth outstanding
        ──────────────────────────────────────────────────────────────────────────────────────────────────
        =<b>          4   10,000  12,345.67 =<b>     5,000       0.05 =<b>            7          0.03 =<b>
        JPY           4   10,000   1,234,567 JPY     5,000           5 JPY            7              3 JPY
        USD           4   10,000   12,345.67 USD     5,000        0.05 USD            7           0.03 USD
        bonus                                                                         9                  0

        Users that took most
        user         free  purchased  consumed  refunded  succeeded  failed  refused
        ────────────────────────────────────────────────────────────────────────────
        =ann        2,400          0     2,400         0          2       0        2
        שרה 🦊         80        120       200         0          2       0        0
        <b>eve</b>      0          0         0         0          0       2        0
        (no user)       0          0         0       120          0       0        0
        all         2,480        120     2,600       120          4       2        2
        ");
        let narrow = told(&whole(), 44);
        insta::assert_snapshot!(narrow.split("Purchases").nth(1).unwrap_or_default(), @"
         and money
        currency         revenue  worth outstanding
        ───────────────────────────────────────────
        =<b>      12,345.67 =<b>          0.03 =<b>
        JPY        1,234,567 JPY              3 JPY
        USD        12,345.67 USD           0.03 USD
        bonus                                     0

        No room for: packs, credits, returned, worth
        returned and outstanding.

        Users that took most
        user        consumed
        ────────────────────
        =ann           2,400
        שרה 🦊           200
        <b>eve</b>         0
        (no user)          0
        all            2,600

        No room for: free, purchased, refunded,
        succeeded, failed and refused.
        ");
        assert_eq!(told(&statement(), 80), "");
    }

    #[test]
    fn what_stands_beside_it_is_text_on_a_page() {
        let page = String::from_utf8(render(&whole(), Format::Html, 0).expect("it renders")).expect("UTF-8");
        for said in ["Compared with February 2026", "&lt;b&gt;eve&lt;/b&gt;", "=&lt;b&gt;", "12,345.67 USD", "−500"] {
            assert!(page.contains(said), "{said}: {page}");
        }
        assert!(!page.contains("<b>eve") && !page.contains("=<b>"));
    }

    #[test]
    fn a_program_finds_it_under_names() {
        let json: serde_json::Value =
            serde_json::from_slice(&render(&whole(), Format::Json, 0).expect("it renders")).expect("JSON");
        insta::assert_snapshot!(json["accounts"], @r#"{"active":1,"all":2,"short_of_credits":1}"#);
        insta::assert_snapshot!(json["money"]["currencies"][2], @r#"{"credits":10000,"currency":"USD","outstanding":7,"outstanding_minor":3,"packs":4,"purchases":2,"returned":5000,"returned_minor":5,"revenue_minor":1234567}"#);
        insta::assert_snapshot!(json["comparison"]["change"][0], @r#"{"adjusted":0,"allocated":3000,"bonus":200,"carried_in":0,"consumed":2480,"credit_type":"free","failed":null,"lapsed":720,"purchased":0,"refunded":0,"refused":null,"remaining":0,"returned":0,"succeeded":null}"#);
        insta::assert_snapshot!(json["tops"][0]["lines"][8], @r#"{"consumed":0,"credit_type":"total","failed":2,"refunded":0,"refused":0,"succeeded":0,"user":"<b>eve</b>"}"#);
    }

    #[test]
    fn only_what_is_filtered_has_sums_of_its_own() {
        let mut model = crate::report::testing::log(&[], Scope::Account);
        assert_eq!(told(&model, 80), "");
        let filters = crate::core::statement::Filters { users: vec![None], ..Default::default() };
        model.spec = model.spec.clone().with_filters(filters).expect("a log");
        insta::assert_snapshot!(told(&model.of_use(), 80), @"

        In sum
                    free  purchased  total
        ──────────────────────────────────
        Consumed   1,240         60  1,300
        Refunded       0         60     60
        Succeeded                        2
        Failed                           1
        Refused                          1
        ");
    }
}
