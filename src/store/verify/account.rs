//! What the rows of an account say of the account itself, in their order and by its calendar: its months (R1, R2), terms,
//! closings (R14, R18) and caps (R17).

use super::came_back::CameBack;
use super::facts::text;
use super::reading::{Row, drift};
use super::{Findings, Slice, slice};
use crate::core::calendar::{Calendar, Instant, Month, Terms, parse_zone};
use crate::core::credits::Credits;
use crate::store::backend::Tx;
use crate::store::sql::{Row as Stored, Sql};
use crate::store::{Result, While};
use std::collections::BTreeMap;

const TERMS: &str = "terms are what the log says";
const MONTHS: &str = "each month that an account was open in has one free grant";
const ALLOWANCE: &str = "a free grant is the month's allowance, until the month ends";
const OPENED: &str = "the last opened month is that of the last free grant";
const DUE: &str = "an account is due when its month ends, a grant lapses or a hold expires";
const CLOSURES: &str = "an account was closed when the log says";
const CLOSED_THROUGH: &str = "months are closed as the log says";
const LATE: &str = "nothing happens in a month that is closed";
const CAPS: &str = "caps are what the log says";
const CAME_BACK: &str = "what came back to a grant is what the rows say";
const CAP_MONTHS: &str = "what a user with a cap has used is what the rows say";

pub(super) const CHECKS: &[&str] =
    &[TERMS, MONTHS, ALLOWANCE, OPENED, DUE, CLOSURES, CLOSED_THROUGH, LATE, CAME_BACK, CAPS, CAP_MONTHS];

/// An account as it is stored.
#[derive(Debug, Default)]
pub(super) struct Account {
    id: String,
    opened_at: i64,
    opened_through: Option<String>,
    closed_through: Option<String>,
    reopened_through: Option<String>,
    due_at: i64,
    /// By month, as text: zone and allowance.
    terms: BTreeMap<String, (String, i64)>,
    /// When it was closed and opened again.
    closures: Vec<(i64, Option<i64>)>,
    caps: BTreeMap<String, i64>,
    /// By user and month, what is not 0.
    cap_months: BTreeMap<(String, String), i128>,
    /// What came back to users with a cap, and when the action was that it came back from.
    refunded: Vec<Refunded>,
    /// By grant, what came back to it and is still there.
    came_back: BTreeMap<i64, String>,
    /// When the next grant with credits lapses or the next hold expires.
    next_end: Option<i64>,
    /// `None` when the terms cannot be read.
    calendar: Option<Calendar>,
}

#[derive(Debug)]
struct Refunded {
    user: String,
    used_at: i64,
    credits: i128,
}

/// What the rows of an account said so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Free grants in order.
    months: Vec<Opened>,
    /// By month, how the row says it.
    terms: BTreeMap<String, String>,
    closures: Vec<Closure>,
    closed_through: Option<Month>,
    /// Months that were opened again: the last of them.
    reopened_through: Option<Month>,
    /// Before it nothing may happen any more.
    closed_until: Option<Instant>,
    caps: BTreeMap<String, String>,
    used: BTreeMap<(String, Month), i128>,
    came_back: CameBack,
}

#[derive(Debug)]
struct Opened {
    seq: i64,
    label: String,
    starts_at: i64,
    expires_at: Option<i64>,
    amount: i128,
}

#[derive(Clone, Copy, Debug)]
struct Closure {
    seq: i64,
    closed_at: i64,
    /// The row and instant of the reopening.
    reopened: Option<(i64, i64)>,
}

macro_rules! refunded {
    ($index:literal) => {
        concat!(
            "SELECT t.account_id, t.user_id, o.occurred_at, t.free_delta, t.purchased_delta
               FROM transactions AS t ",
            $index,
            " CROSS JOIN transactions AS o
              WHERE ",
            slice!("t"),
            " AND t.corrects IS NOT NULL AND t.kind = 'refund'
                AND EXISTS (SELECT 1 FROM caps AS c WHERE c.account_id = t.account_id AND c.user_id = t.user_id)
                AND o.account_id = t.account_id AND o.seq = t.corrects"
        )
    };
}

/// What was refunded to users with a cap, and when that was charged. Only rows that name another are looked at.
pub(super) const REFUNDED: Sql = Sql { sqlite: refunded!("INDEXED BY transactions_corrects"), postgres: refunded!("") };

/// The accounts of a slice, by id.
pub(super) async fn read(tx: &mut Tx, slice: &Slice, findings: &mut Findings) -> Result<BTreeMap<String, Account>> {
    let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
    const ACCOUNTS: &str = concat!(
        "SELECT a.account_id, a.opened_at, a.opened_through, a.closed_through, a.due_at, a.reopened_through FROM accounts AS a WHERE ",
        slice!("a")
    );
    for row in rows(tx, slice, ACCOUNTS).await? {
        let id = text(&row, 0).unwrap_or_default();
        let account = Account {
            id: id.clone(),
            opened_at: row.get(1),
            opened_through: text(&row, 2),
            closed_through: text(&row, 3),
            due_at: row.get(4),
            reopened_through: text(&row, 5),
            ..Account::default()
        };
        accounts.insert(id, account);
    }
    // What belongs to no account is found elsewhere.
    let mut each = |rows: Vec<Stored>, add: fn(&mut Account, &Stored)| {
        for row in rows {
            if let Some(account) = text(&row, 0).and_then(|id| accounts.get_mut(&id)) {
                add(account, &row);
            }
        }
    };
    const TERMS_OF: &str =
        concat!("SELECT t.account_id, t.from_month, t.zone, t.allowance FROM terms AS t WHERE ", slice!("t"));
    each(rows(tx, slice, TERMS_OF).await?, |account, row| {
        let word = |at: usize| text(row, at).unwrap_or_default();
        account.terms.insert(word(1), (word(2), row.get(3)));
    });
    const CLOSURES_OF: &str = concat!(
        "SELECT c.account_id, c.closed_at, c.reopened_at FROM closures AS c WHERE ",
        slice!("c"),
        " ORDER BY c.account_id, c.closed_at"
    );
    each(rows(tx, slice, CLOSURES_OF).await?, |account, row| account.closures.push((row.get(1), row.get(2))));
    const CAPS_OF: &str = concat!("SELECT c.account_id, c.user_id, c.credits FROM caps AS c WHERE ", slice!("c"));
    each(rows(tx, slice, CAPS_OF).await?, |account, row| {
        account.caps.insert(text(row, 1).unwrap_or_default(), row.get(2));
    });
    const CAP_MONTHS_OF: &str = concat!(
        "SELECT m.account_id, m.user_id, m.month, m.used FROM cap_months AS m WHERE m.used <> 0 AND ",
        slice!("m")
    );
    each(rows(tx, slice, CAP_MONTHS_OF).await?, |account, row| {
        let word = |at: usize| text(row, at).unwrap_or_default();
        account.cap_months.insert((word(1), word(2)), row.get::<i64>(3).into());
    });
    // A refund counts in the month of the charge that it is about, which may stand anywhere before it.
    each(rows(tx, slice, REFUNDED).await?, |account, row| {
        let credits = i128::from(row.get::<i64>(3)) + i128::from(row.get::<i64>(4));
        account.refunded.push(Refunded { user: text(row, 1).unwrap_or_default(), used_at: row.get(2), credits });
    });
    const CAME_BACK_OF: &str = concat!(
        "SELECT g.account_id, g.grant_id, g.came_back FROM grants AS g WHERE g.came_back IS NOT NULL AND ",
        slice!("g")
    );
    each(rows(tx, slice, CAME_BACK_OF).await?, |account, row| {
        account.came_back.insert(row.get(1), text(row, 2).unwrap_or_default());
    });
    const NEXT_ENDS: &str = concat!(
        "SELECT g.account_id, min(g.expires_at) FROM grants AS g
          WHERE g.remaining > 0 AND g.expires_at IS NOT NULL AND ",
        slice!("g"),
        " GROUP BY g.account_id
         UNION ALL
         SELECT h.account_id, min(h.expires_at) FROM holds AS h WHERE ",
        slice!("h"),
        " GROUP BY h.account_id"
    );
    each(rows(tx, slice, NEXT_ENDS).await?, |account, row| {
        let end = row.get::<i64>(1);
        account.next_end = Some(account.next_end.map_or(end, |known| known.min(end)));
    });
    for account in accounts.values_mut() {
        account.calendar = account.read_calendar();
        if account.calendar.is_none() {
            findings.add(drift(TERMS, &account.id, "terms", "months, zones and allowances", "none, or no such words"));
        }
    }
    Ok(accounts)
}

async fn rows(tx: &mut Tx, slice: &Slice, sql: impl Into<Sql>) -> Result<Vec<Stored>> {
    tx.query(sql)
        .bind(slice.from.as_str())
        .bind(slice.to.as_str())
        .fetch_all()
        .await
        .while_("reading what is stored of accounts")
}

impl Seen {
    /// Adds the next row of `account`.
    pub fn add(&mut self, row: &Row<'_>, account: &Account, findings: &mut Findings) {
        let (free, purchased) = row.change();
        let moves = free + purchased != 0 && row.kind() != "refund";
        if let Some(user) = row.user().filter(|user| moves && account.caps.contains_key(*user))
            && let Some(calendar) = &account.calendar
        {
            let month = calendar.month_of(Instant::from_micros(row.occurred_at()));
            *self.used.entry((user.to_owned(), month)).or_default() -= free + purchased;
        }
        self.came_back.add(row);
        let at = row.occurred_at();
        match row.kind() {
            "charge" | "hold" | "purchase" | "bonus" | "adjustment" | "refund" | "return" => {
                let until = self.closed_until.map(Instant::micros).filter(|until| at < *until && !row.settles_a_hold());
                if let Some(until) = until {
                    let what = format!("row {}: occurred_at", row.seq());
                    findings.add(drift(LATE, &account.id, what, format!("{until} or later"), at));
                }
            }
            "allocation" => self.months.push(Opened {
                seq: row.seq(),
                label: row.comment().to_owned(),
                starts_at: at,
                expires_at: row.expires_at(),
                amount: free,
            }),
            "terms" => drop(self.terms.insert(row.reference().to_owned(), row.comment().to_owned())),
            "cap" => {
                if let Some(user) = row.user() {
                    self.caps.insert(user.to_owned(), row.comment().to_owned());
                }
            }
            "closing" => self.closures.push(Closure { seq: row.seq(), closed_at: at, reopened: None }),
            "reopening" => {
                if let Some(closure) = self.closures.last_mut() {
                    closure.reopened = Some((row.seq(), at));
                }
            }
            "month_close" | "month_reopen" => {
                if let (Some(calendar), Ok(month)) = (&account.calendar, row.reference().parse::<Month>()) {
                    let first = calendar.month_of(Instant::from_micros(account.opened_at));
                    if row.kind() == "month_close" {
                        self.closed_through = Some(month);
                        if self.reopened_through.is_some_and(|reopened| reopened <= month) {
                            self.reopened_through = None;
                        }
                    } else {
                        let latest = self.closed_through.into_iter().chain(self.reopened_through).max();
                        self.reopened_through = latest;
                        self.closed_through = Some(month.previous()).filter(|through| *through >= first);
                    }
                    self.closed_until = self.closed_through.map(|through| calendar.month_end(through));
                }
            }
            _ => {}
        }
    }
}

impl Account {
    fn read_calendar(&self) -> Option<Calendar> {
        let read = |(from, (zone, allowance)): (&String, &(String, i64))| {
            let zone = parse_zone(zone).ok()?;
            Some(Terms { from: from.parse().ok()?, zone, allowance: Credits::new(*allowance) })
        };
        Calendar::from_terms(self.terms.iter().map(read).collect::<Option<Vec<_>>>()?)
    }

    /// Compares what is stored with what all its rows say.
    pub fn check(&self, seen: &Seen, findings: &mut Findings) {
        self.check_terms(seen, findings);
        self.check_closures(seen, findings);
        self.check_came_back(seen, findings);
        self.check_caps(seen, findings);
        if let Some(calendar) = &self.calendar {
            self.check_months(calendar, seen, findings);
            self.check_due(calendar, findings);
        }
    }

    fn check_terms(&self, seen: &Seen, findings: &mut Findings) {
        // The first terms are those the account was opened with: no row says them, and a digest keeps them.
        let plural = |count: i64| if count == 1 { "" } else { "s" };
        let shown = |(zone, count): &(String, i64)| format!("{zone}, {count} free credit{} a month", plural(*count));
        let stored: BTreeMap<&str, String> =
            self.terms.iter().skip(1).map(|(month, terms)| (month.as_str(), shown(terms))).collect();
        for month in stored.keys().copied().chain(seen.terms.keys().map(String::as_str)) {
            let expected = seen.terms.get(month).map_or("none", String::as_str);
            let found = stored.get(month).map_or("none", String::as_str);
            findings.compare(TERMS, &self.id, &format!("terms from {month}"), expected, found);
        }
    }

    fn check_closures(&self, seen: &Seen, findings: &mut Findings) {
        let end = |end: Option<i64>| end.map_or_else(|| "open end".to_owned(), |end| end.to_string());
        let expected: Vec<String> = seen
            .closures
            .iter()
            .map(|closure| format!("{} to {}", closure.closed_at, end(closure.reopened.map(|(_, at)| at))))
            .collect();
        let found: Vec<String> = self.closures.iter().map(|(from, to)| format!("{from} to {}", end(*to))).collect();
        findings.compare(CLOSURES, &self.id, "closures", &expected.join("; "), &found.join("; "));
        for (column, expected, found) in [
            ("closed_through", seen.closed_through, &self.closed_through),
            ("reopened_through", seen.reopened_through, &self.reopened_through),
        ] {
            let expected = expected.map_or_else(|| "none".to_owned(), |month| month.to_string());
            findings.compare(CLOSED_THROUGH, &self.id, column, &expected, found.as_deref().unwrap_or("none"));
        }
    }

    fn check_came_back(&self, seen: &Seen, findings: &mut Findings) {
        let expected: BTreeMap<i64, String> = seen.came_back.texts().collect();
        for grant in expected.keys().chain(self.came_back.keys()) {
            let shown = |of: &BTreeMap<i64, String>| of.get(grant).cloned().unwrap_or_else(|| "nothing".to_owned());
            let what = format!("grant {grant}: came_back");
            findings.compare(CAME_BACK, &self.id, &what, &shown(&expected), &shown(&self.came_back));
        }
    }

    fn check_caps(&self, seen: &Seen, findings: &mut Findings) {
        let none = || "no cap".to_owned();
        let shown = |count: &i64| format!("{count} credit{} a month", if *count == 1 { "" } else { "s" });
        for user in self.caps.keys().chain(seen.caps.keys()) {
            let found = self.caps.get(user).map_or_else(none, shown);
            let expected = seen.caps.get(user).cloned().unwrap_or_else(none);
            findings.compare(CAPS, &self.id, &format!("cap of {user}"), &expected, &found);
        }
        let mut all = seen.used.clone();
        if let Some(calendar) = &self.calendar {
            for Refunded { user, used_at, credits } in &self.refunded {
                let month = calendar.month_of(Instant::from_micros(*used_at));
                *all.entry((user.clone(), month)).or_default() -= credits;
            }
        }
        let used: BTreeMap<(String, String), i128> = all
            .into_iter()
            .filter(|(_, used)| *used != 0)
            .map(|((user, month), used)| ((user, month.to_string()), used))
            .collect();
        for key in used.keys().chain(self.cap_months.keys()) {
            let figure = |of: &BTreeMap<(String, String), i128>| of.get(key).copied().unwrap_or_default().to_string();
            let what = format!("used by {} in {}", key.0, key.1);
            findings.compare(CAP_MONTHS, &self.id, &what, &figure(&used), &figure(&self.cap_months));
        }
    }

    /// R1, R2, R18: a month has a grant when the account was open at some instant in it, from the first such instant on.
    fn check_months(&self, calendar: &Calendar, seen: &Seen, findings: &mut Findings) {
        let mut month = calendar.month_of(Instant::from_micros(self.opened_at));
        for opened in &seen.months {
            let what = |column: &str| format!("row {} ({}): {column}", opened.seq, opened.label);
            let Some(label) = opened.label.strip_prefix("free:").and_then(|label| label.parse::<Month>().ok()) else {
                findings.compare(MONTHS, &self.id, &what("comment"), &format!("free:{month}"), &opened.label);
                continue;
            };
            while month < label && self.first_open(calendar, month, seen, opened.seq).is_none() {
                month = month.next();
            }
            let start = self.first_open(calendar, month, seen, opened.seq);
            let expected =
                format!("{month} from {}", start.map_or_else(|| "no instant".to_owned(), |at| at.to_string()));
            let found = format!("{label} from {}", opened.starts_at);
            findings.compare(MONTHS, &self.id, &what("month and start"), &expected, &found);
            let allowance = calendar.terms_in(label).allowance;
            let expected = format!("{allowance} until {}", calendar.month_end(label).micros());
            let found = format!("{} until {}", opened.amount, opened.expires_at.unwrap_or_default());
            findings.compare(ALLOWANCE, &self.id, &what("credits and end"), &expected, &found);
            month = label.next();
        }
        let last = seen.months.last().and_then(|opened| opened.label.strip_prefix("free:")).unwrap_or("none");
        let found = self.opened_through.as_deref().unwrap_or("none");
        findings.compare(OPENED, &self.id, "opened_through", last, found);
    }

    /// The first instant of `month` at which the account was open, as far as rows before `seq` say.
    fn first_open(&self, calendar: &Calendar, month: Month, seen: &Seen, seq: i64) -> Option<i64> {
        let mut at = calendar.month_start(month).micros().max(self.opened_at);
        for closure in seen.closures.iter().filter(|closure| closure.seq < seq) {
            match closure.reopened.filter(|(reopening, _)| *reopening < seq) {
                Some((_, reopened_at)) if closure.closed_at <= at => at = at.max(reopened_at),
                None if closure.closed_at <= at => return None,
                _ => {}
            }
        }
        Some(at).filter(|at| *at < calendar.month_end(month).micros())
    }

    fn check_due(&self, calendar: &Calendar, findings: &mut Findings) {
        let opened_through = self.opened_through.as_ref().and_then(|month| month.parse::<Month>().ok());
        let next = opened_through.map(|month| calendar.month_end(month).micros());
        let mut opens_at = next.unwrap_or(self.opened_at);
        for (closed_at, reopened_at) in &self.closures {
            if *closed_at <= opens_at {
                opens_at = opens_at.max(reopened_at.unwrap_or(i64::MAX));
            }
        }
        let expected = self.next_end.map_or(opens_at, |end| end.min(opens_at));
        findings.compare(DUE, &self.id, "due_at", &expected.to_string(), &self.due_at.to_string());
    }
}
