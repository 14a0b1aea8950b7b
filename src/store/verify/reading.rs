//! One row after the other: what each was when it was written, what the rows of an account make in their order, and the
//! digests of what stands beside them.

use super::account::{Account, Seen};
use super::facts::{self, Facts, bytes, facts};
use super::{Drift, Findings, Slice, slice};
use crate::store::backend::Tx;
use crate::store::sql::Sql;
use crate::store::{Result, While};
use futures_util::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet};

const WRITTEN: &str = "a transaction is as it was written";
const ENTRIES: &str = "a row's change is the sum of its entries";
const BALANCE: &str = "a row's balance is the sum of all changes up to it";
const RECORDED: &str = "recording time never decreases";
const ACTION: &str = "an action is one of the matrix";

/// The next rows of a slice behind a row, joined to one text: one long value costs far less than many short ones, and the
/// database and its reader take turns instead of waiting for each other at every row.
const ROWS: Sql = facts!(
    ("SELECT group_concat(page.facts, '') FROM (SELECT ", "SELECT string_agg(page.facts, '') FROM (SELECT "),
    " AS facts FROM transactions AS t WHERE (t.account_id, t.seq) > ($1, $2) AND t.account_id < $3
       ORDER BY t.account_id, t.seq LIMIT $4) AS page",
    t "account_id", i "seq", t "kind", i "occurred_at", i "recorded_at", t "user_id", t "action", i "quantity",
    i "unit_price", t "status", t "reason", t "comment", t "key", i "content", i "corrects", i "expires_at",
    i "money_minor", t "currency", t "reference", i "free_delta", i "purchased_delta", i "free_balance",
    i "purchased_balance", t "entries"
);
/// Columns of [`ROWS`].
const COLUMNS: usize = 24;
/// Rows that are read at once: some 200 kB.
const ROWS_AT_ONCE: i64 = 1_000;

/// Tables beside the ledger whose rows have digests: the check, what a row is called, how many facts each has and how many
/// came later, which count only where there are any, and they.
const TABLES: &[(&str, &str, (usize, usize), Sql)] = &[
    (
        "an account is as it was written",
        "the account",
        (6, 1),
        facts!(
            "SELECT ", concat!(" FROM accounts AS t WHERE ", slice!("t")),
            t "account_id", t "name", i "opened_at", i "created_at", t "levels", t "locale"
        ),
    ),
    (
        "terms are as they were written",
        "terms from",
        (4, 0),
        facts!(
            "SELECT ", concat!(" FROM terms AS t WHERE ", slice!("t")),
            t "account_id", t "from_month", t "zone", i "allowance"
        ),
    ),
    (
        "an admin is as it was written",
        "admin",
        (6, 0),
        facts!(
            "SELECT ", concat!(" FROM admins AS t WHERE ", slice!("t")),
            t "account_id", t "email", t "name", b "alerts", b "monthly_report", b "daily_report"
        ),
    ),
    (
        "what an admin wishes is as it was written",
        "wish",
        (3, 0),
        facts!("SELECT ", concat!(" FROM opt_ins AS t WHERE ", slice!("t")), t "account_id", t "email", t "mail"),
    ),
    (
        "what a statement said is as it was written",
        "statement",
        (4, 0),
        facts!(
            "SELECT ", concat!(" FROM statements AS t WHERE ", slice!("t")),
            t "account_id", t "month", i "version", t "figures"
        ),
    ),
    (
        "an alert is as it was written",
        "alert",
        (6, 0),
        facts!(
            "SELECT ", concat!(" FROM alerts AS t WHERE ", slice!("t")),
            t "account_id", t "level", i "crossing", i "threshold", i "opened_at", i "resolved_at"
        ),
    ),
    (
        "a message is as it was written",
        "message",
        (12, 2),
        facts!(
            "SELECT ", concat!(" FROM outbox AS t WHERE ", slice!("t")),
            t "account_id", t "key", t "kind", t "recipient", t "recipient_name", t "subject", t "body_text",
            t "body_html", t "message_id", i "created_at", t "unsubscribe_url", t "attachments"
        ),
    ),
];

/// The statements on a slice here.
#[cfg(test)]
pub(super) fn statements() -> impl Iterator<Item = Sql> {
    TABLES.iter().map(|(.., sql)| *sql).chain([ROWS])
}

/// A row of `transactions` as it is read here, by the places of its columns.
pub(super) struct Row<'a> {
    facts: Facts<'a>,
}

impl<'a> Row<'a> {
    fn text(&self, at: usize) -> &'a str {
        self.facts.text(at).unwrap_or_default()
    }

    fn number(&self, at: usize) -> i64 {
        self.facts.number(at).unwrap_or_default()
    }

    pub fn account(&self) -> &'a str {
        self.text(0)
    }

    pub fn seq(&self) -> i64 {
        self.number(1)
    }

    pub fn kind(&self) -> &'a str {
        self.text(2)
    }

    pub fn occurred_at(&self) -> i64 {
        self.number(3)
    }

    fn recorded_at(&self) -> i64 {
        self.number(4)
    }

    pub fn user(&self) -> Option<&'a str> {
        self.facts.text(5)
    }

    fn action(&self) -> Option<&'a str> {
        self.facts.text(6)
    }

    pub fn comment(&self) -> &'a str {
        self.text(11)
    }

    /// Whether it is the charge that a hold came to, which counts when the hold was made.
    pub fn settles_a_hold(&self) -> bool {
        self.kind() == "charge" && self.facts.number(14).is_some()
    }

    pub fn expires_at(&self) -> Option<i64> {
        self.facts.number(15)
    }

    pub fn reference(&self) -> &'a str {
        self.text(18)
    }

    /// The change of free and of purchased credits.
    pub fn change(&self) -> (i128, i128) {
        (self.number(19).into(), self.number(20).into())
    }

    fn balance(&self) -> (i128, i128) {
        (self.number(21).into(), self.number(22).into())
    }

    pub fn entries(&self) -> &'a str {
        self.text(23)
    }

    fn name(&self, column: &str) -> String {
        format!("row {} ({}): {column}", self.seq(), self.kind())
    }
}

/// What an account's rows have come to so far.
#[derive(Default)]
struct Sums {
    recorded_at: Option<i64>,
    balance: (i128, i128),
    seen: Seen,
}

/// Reads what stands beside the rows of the slice.
pub(super) async fn check_beside(tx: &mut Tx, slice: &Slice, findings: &mut Findings) -> Result<()> {
    findings.does(TABLES.iter().map(|(check, ..)| *check));
    for (check, what, (count, later), sql) in TABLES {
        let mut rows = tx.query(*sql).bind(slice.from.as_str()).bind(slice.to.as_str()).fetch();
        while let Some(row) = rows.try_next().await.while_("reading what stands beside the transactions")? {
            if let Some(facts) = Facts::next(&mut bytes(&row, 0), *count) {
                let (account, name) = (facts.text(0).unwrap_or_default(), facts.text(1).unwrap_or_default());
                let facts = facts.without_last_if_null(*later);
                check_digest(check, account, &format!("{what} {name}"), &facts, findings);
            }
        }
    }
    Ok(())
}

/// Reads the rows of the slice. False when there are entries that cannot be read, so that nothing else may try to.
pub(super) async fn check_rows(tx: &mut Tx, slice: &Slice, findings: &mut Findings) -> Result<bool> {
    findings.does([WRITTEN, ENTRIES, BALANCE, RECORDED, ACTION]);
    findings.does(super::account::CHECKS.iter().copied());
    let mut pass = Pass {
        actions: read_actions(tx).await?,
        accounts: super::account::read(tx, slice, findings).await?,
        current: None,
        sums: Sums::default(),
        are_readable: true,
    };
    let mut behind = (slice.from.clone(), i64::MIN);
    loop {
        let rows = tx.query(ROWS).bind(behind.0.as_str()).bind(behind.1).bind(slice.to.as_str()).bind(ROWS_AT_ONCE);
        let joined = rows.fetch_one().await.while_("reading the transactions")?;
        let mut text = bytes(&joined, 0);
        let mut rows: Vec<Row<'_>> = Vec::new();
        while let Some(facts) = Facts::next(&mut text, COLUMNS) {
            rows.push(Row { facts });
        }
        rows.sort_by_key(|row| (row.account(), row.seq()));
        rows.iter().for_each(|row| pass.add(row, findings));
        match rows.last() {
            Some(last) => behind = (last.account().to_owned(), last.seq()),
            None => break,
        }
    }
    Ok(pass.end(findings))
}

/// What is kept while the rows of a slice go by.
struct Pass {
    actions: BTreeSet<String>,
    /// Accounts whose rows have not come yet.
    accounts: BTreeMap<String, Account>,
    /// The account whose rows are going by; it may be one that there is not.
    current: Option<(String, Option<Account>)>,
    sums: Sums,
    are_readable: bool,
}

impl Pass {
    fn add(&mut self, row: &Row<'_>, findings: &mut Findings) {
        if self.current.as_ref().is_none_or(|(id, _)| id != row.account()) {
            let id = row.account().to_owned();
            let next = self.accounts.remove(&id);
            let sums = std::mem::take(&mut self.sums);
            if let Some((_, Some(before))) = self.current.replace((id, next)) {
                before.check(&sums.seen, findings);
            }
        }
        if row.facts.digest() != row.facts.stored() {
            check_digest(WRITTEN, row.account(), &format!("row {} ({})", row.seq(), row.kind()), &row.facts, findings);
        }
        self.are_readable &= self.sums.add(row, findings);
        if let Some(unknown) = row.action().filter(|action| !self.actions.contains(*action)) {
            findings.add(drift(ACTION, row.account(), row.name("action"), "an action of the matrix", unknown));
        }
        if let Some((_, Some(account))) = &self.current {
            self.sums.seen.add(row, account, findings);
        }
    }

    /// Checks the last account and those without a row. False when there were entries that cannot be read.
    fn end(self, findings: &mut Findings) -> bool {
        if let Some((_, Some(last))) = self.current {
            last.check(&self.sums.seen, findings);
        }
        self.accounts.values().for_each(|account| account.check(&Seen::default(), findings));
        self.are_readable
    }
}

impl Sums {
    /// Adds the next row of the account. False when its entries cannot be read.
    fn add(&mut self, row: &Row<'_>, findings: &mut Findings) -> bool {
        if let Some(before) = self.recorded_at.replace(row.recorded_at()).filter(|before| row.recorded_at() < *before) {
            let expected = format!("{before} or later");
            findings.add(drift(RECORDED, row.account(), row.name("recorded_at"), expected, row.recorded_at()));
        }
        let change = row.change();
        self.balance = (self.balance.0 + change.0, self.balance.1 + change.1);
        let both = |(free, purchased): (i128, i128)| format!("{free} + {purchased}");
        if self.balance != row.balance() {
            let (expected, found) = (both(self.balance), both(row.balance()));
            findings.add(drift(BALANCE, row.account(), row.name("balance of free + purchased"), expected, found));
            // One wrong balance is one drift, not one for each row behind it.
            self.balance = row.balance();
        }
        let sum = sum_of_entries(row.entries());
        if sum.is_none() {
            let what = row.name("entries");
            findings.add(drift(ENTRIES, row.account(), what, "[[grant,\"credit_type\",change],..]", row.entries()));
        } else if sum != Some(change) {
            let (expected, found) = (both(sum.unwrap_or_default()), both(change));
            findings.add(drift(ENTRIES, row.account(), row.name("change of free + purchased"), expected, found));
        }
        sum.is_some()
    }
}

/// The sums of free and of purchased credits in a list of entries. `None` when it is not written as one.
fn sum_of_entries(text: &str) -> Option<(i128, i128)> {
    let (mut free, mut purchased) = (0, 0);
    for (_, credit_type, delta) in read_entries(text)? {
        match credit_type {
            "free" => free += i128::from(delta),
            "purchased" => purchased += i128::from(delta),
            _ => return None,
        }
    }
    Some((free, purchased))
}

/// A list of entries: grant, credit type and change. No grant twice and, but for a grant of no credits, no change by nothing.
/// `None` when it is not written as one.
pub(super) fn read_entries(text: &str) -> Option<Vec<(i64, &str, i64)>> {
    let entries = text.strip_prefix('[')?.strip_suffix(']')?;
    if entries.is_empty() {
        return Some(Vec::new());
    }
    let mut read: Vec<(i64, &str, i64)> = Vec::new();
    for entry in entries.strip_prefix('[')?.strip_suffix(']')?.split("],[") {
        let (grant, rest) = entry.split_once(",\"")?;
        let (credit_type, delta) = rest.split_once("\",")?;
        let (grant, delta) = (whole_number(grant)?, whole_number(delta)?);
        if read.iter().any(|(earlier, ..)| *earlier == grant) {
            return None;
        }
        read.push((grant, credit_type, delta));
    }
    let has_nothing = read.iter().any(|(.., delta)| *delta == 0);
    (!has_nothing || read.len() == 1).then_some(read)
}

/// A number in the one way of writing it.
fn whole_number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = !digits.starts_with('+') && (digits == "0" || !digits.starts_with('0')) && text != "-0";
    text.parse().ok().filter(|_| is_plain)
}

/// Compares the digest that is stored with a row with what it must be.
pub(super) fn check_digest(check: &'static str, account: &str, what: &str, row: &Facts<'_>, findings: &mut Findings) {
    let (digest, stored) = (row.digest(), row.stored());
    if digest != stored {
        findings.add(drift(check, account, format!("{what}: digest"), digest, stored));
    }
}

async fn read_actions(tx: &mut Tx) -> Result<BTreeSet<String>> {
    let rows = tx.query("SELECT code FROM actions").fetch_all().await.while_("reading the actions")?;
    Ok(rows.iter().filter_map(|row| facts::text(row, 0)).collect())
}

pub(super) fn drift(
    check: &'static str,
    account: &str,
    what: impl Into<String>,
    expected: impl ToString,
    found: impl ToString,
) -> Drift {
    Drift {
        check,
        account: account.to_owned(),
        what: what.into(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_one_spelling() {
        assert_eq!(sum_of_entries("[]"), Some((0, 0)));
        assert_eq!(sum_of_entries(r#"[[1,"free",0]]"#), Some((0, 0)));
        assert_eq!(sum_of_entries(r#"[[1,"free",-5],[12,"purchased",-7],[3,"free",1]]"#), Some((-4, -7)));
        for bad in [
            "",
            "[",
            "[[]]",
            r#"[[1,"free",-5]"#,
            r#"[[1, "free", -5]]"#,
            r#"[[1,"bonus",-5]]"#,
            r#"[[1,"free",-5],[1,"free",-5]]"#,
            r#"[[1,"free",-5],[2,"free",0]]"#,
            r#"[[01,"free",-5]]"#,
            r#"[[1,"free",+5]]"#,
            r#"[[1,"free",-0]]"#,
            r#"[[1,"free",99999999999999999999]]"#,
        ] {
            assert_eq!(sum_of_entries(bad), None, "{bad}");
        }
    }
}
