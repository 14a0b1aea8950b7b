//! The ledger as a double-entry journal in plain text, for somebody else's program to prove: `hledger check --strict`
//! or `bean-check`.
//!
//! Every row that moves credits is one transaction between what its account has and a place that says where the credits
//! came from or went to: the columns of statements (DESIGN 4). A purchase moves money beside them. Rows that move nothing
//! are remarks, so that no `seq` is missing.
//!
//! The proof is in the assertions of balances. What is asserted comes with the [`Book`] from where statements and balances
//! come from; here nothing is added up, or a wrong sum would be asserted as it was written.
//!
//! Invariants:
//! - an account's part of the journal is in the order in which its rows count
//!   ([`Kind::counts_at`](crate::core::transaction::Kind::counts_at), then `seq`): both
//!   programs check assertions in order of date, and hledger within a date in order of the file;
//! - text from outside stays where it is put: it ends no line, opens no posting and makes no tag of its own.

mod beancount;
mod entry;
mod hledger;

use crate::core::calendar::{Instant, Month};
use crate::core::credits::{CreditType, Credits, Split};
use crate::core::ids::AccountId;
use crate::core::ledger::Account;
use crate::core::transaction::{Transaction, words};
use chrono::NaiveDate;
use entry::{Entry, held, pool};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// The commodity that is counted. Currencies have three letters, so it is none.
const CREDIT: &str = "CREDIT";

words! {
    /// Whose journal it is.
    JournalFormat {
        /// hledger's, and mostly ledger's.
        Hledger = "hledger",
        /// Beancount's.
        Beancount = "beancount",
    }
}

/// All that a journal says about one account.
#[derive(Clone, Debug)]
pub struct Book {
    /// Whose.
    pub account: Account,
    /// Its rows, those that no job has written yet (R3) included, in any order.
    pub rows: Vec<Transaction>,
    /// `seq` of the newest row that is written.
    pub last_seq: i64,
    /// What statements say remained of each month that is over, in order.
    pub month_ends: Vec<(Month, Split)>,
    /// The instant of the two balances, no earlier than any row.
    pub at: Instant,
    /// What a charge can use.
    pub available: Split,
    /// What open holds have reserved (R10).
    pub held: Split,
}

/// A journal on its way out.
#[derive(Debug)]
pub struct Journal<W: Write> {
    out: W,
    format: JournalFormat,
    /// Places and currencies that are declared already.
    declared: BTreeSet<String>,
}

/// What an account had at the end of a day.
struct Check<'a> {
    day: NaiveDate,
    account: &'a AccountId,
    why: String,
    balances: Vec<(String, Credits)>,
}

impl<W: Write> Journal<W> {
    /// Begins a journal of the ledger as it is at `at`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin(mut out: W, format: JournalFormat, at: Instant) -> io::Result<Journal<W>> {
        match format {
            JournalFormat::Hledger => hledger::head(&mut out, at)?,
            JournalFormat::Beancount => beancount::head(&mut out, at)?,
        }
        Ok(Journal { out, format, declared: BTreeSet::new() })
    }

    /// Adds an account. No account comes twice.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn add(&mut self, mut book: Book) -> io::Result<()> {
        book.rows.sort_by_key(|row| (row.kind.counts_at(row.occurred_at), row.seq));
        self.declare(&book)?;
        let Account { id, calendar, opened_at, .. } = &book.account;
        let mut month_ends = book.month_ends.iter().peekable();
        for row in &book.rows {
            let counts_at = row.kind.counts_at(row.occurred_at);
            while let Some((month, left)) = month_ends.next_if(|(month, _)| calendar.month_end(*month) <= counts_at) {
                self.check(&month_end(id, *month, *left))?;
            }
            let entry = Entry::new(id, calendar.day_of(counts_at), row, row.seq <= book.last_seq);
            match self.format {
                JournalFormat::Hledger => hledger::entry(&mut self.out, &entry)?,
                JournalFormat::Beancount => beancount::entry(&mut self.out, &entry)?,
            }
        }
        for (month, left) in month_ends {
            self.check(&month_end(id, *month, *left))?;
        }
        if *opened_at <= book.at {
            let balances = |of: fn(&AccountId, CreditType) -> String, split: Split| {
                TYPES.map(|credit_type| (of(id, credit_type), split.get(credit_type)))
            };
            let balances = [balances(pool, book.available), balances(held, book.held)].concat();
            let why = format!("the balance at {}", book.at);
            self.check(&Check { day: calendar.day_of(book.at), account: id, why, balances })?;
        }
        Ok(())
    }

    /// Ends the journal. Without it the last of it may be missing.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Names what the account's part is about to use and no earlier one has.
    fn declare(&mut self, book: &Book) -> io::Result<()> {
        let Account { id, calendar, opened_at, .. } = &book.account;
        let mut places = BTreeMap::new();
        let mut currencies = BTreeMap::new();
        for row in &book.rows {
            for posting in entry::postings(id, row) {
                let in_credits = posting.money.is_none();
                if let Some(money) = posting.money.filter(|money| !self.declared.contains(&money.currency)) {
                    currencies.insert(money.currency.clone(), money.decimals());
                }
                if !self.declared.contains(&posting.place) {
                    places.insert(posting.place, in_credits);
                }
            }
        }
        let own = [TYPES.map(|of| pool(id, of)), TYPES.map(|of| held(id, of))].concat();
        places.retain(|place, _| !own.contains(place));
        self.declared.extend(currencies.keys().chain(places.keys()).cloned());
        match self.format {
            JournalFormat::Hledger => hledger::declare(&mut self.out, &currencies, &places, id, &own),
            JournalFormat::Beancount => {
                let opened_on = calendar.day_of(*opened_at);
                beancount::declare(&mut self.out, &currencies, &places, (id, opened_on), &own)
            }
        }
    }

    fn check(&mut self, check: &Check<'_>) -> io::Result<()> {
        match self.format {
            JournalFormat::Hledger => hledger::check(&mut self.out, check),
            JournalFormat::Beancount => beancount::check(&mut self.out, check),
        }
    }
}

const TYPES: [CreditType; 2] = [CreditType::Free, CreditType::Purchased];

fn month_end(id: &AccountId, month: Month, left: Split) -> Check<'_> {
    let day = month.next().first_day().pred_opt().unwrap_or(NaiveDate::MIN);
    let balances = TYPES.map(|credit_type| (pool(id, credit_type), left.get(credit_type))).to_vec();
    Check { day, account: id, why: format!("what the statement of {month} says remained"), balances }
}

#[cfg(test)]
mod tests;
