//! What must hold of the rows of any ledger, whatever happened to it (R6, R7, R15, R16).

use creditd::core::calendar::Instant;
use creditd::core::credits::{CreditType, Credits, Split};
use creditd::core::ledger::{Grant, Ledger};
use creditd::core::transaction::{GrantId, Kind, Source, Status, Transaction};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// R6, R7, R15 and R16: `ledger` is what `rows`, all of its log, say.
pub fn check_invariants(rows: &[Transaction], ledger: &Ledger) -> Result<(), TestCaseError> {
    let mut balance = Split::ZERO;
    let mut by_grant: BTreeMap<GrantId, Figures> = BTreeMap::new();
    let mut recorded_at = Instant::MIN;
    for (row, seq) in rows.iter().zip(1..) {
        prop_assert_eq!(row.seq, seq, "R15: numbered without gaps");
        prop_assert!(row.recorded_at >= recorded_at, "R15: recorded_at never decreases");
        recorded_at = row.recorded_at;
        let mut delta = Split::ZERO;
        for entry in &row.entries {
            let figures = by_grant.entry(entry.grant).or_default();
            figures.add(row, entry.delta.get())?;
            delta = delta.plus(Split::of(entry.credit_type, entry.delta)).expect("small sums");
        }
        balance = balance.plus(delta).expect("small sums");
        prop_assert_eq!((row.delta, row.balance), (delta, balance), "R16: row {}", seq);
        prop_assert!(balance.free >= Credits::ZERO && balance.purchased >= Credits::ZERO, "R6: row {}", seq);
        prop_assert!(row.status == Status::Success || delta == Split::ZERO, "R7: a failed row moves nothing");
        check_correction(rows, row)?;
    }
    prop_assert_eq!((ledger.balance, ledger.last_recorded_at), (balance, recorded_at));
    prop_assert_eq!(by_grant.len(), ledger.grants.len());
    let mut remainders = Split::ZERO;
    for grant in ledger.grants.values() {
        let figures = Figures::of(grant);
        prop_assert_eq!(&by_grant[&grant.id], &figures, "R16: {}", grant.label);
        prop_assert_eq!(figures.amount, figures.accounted_for(), "R16: {}", grant.label);
        prop_assert!(grant.source != Source::Pack || grant.lapsed.is_zero(), "R12: what was bought never lapses");
        remainders = remainders.plus(Split::of(grant.credit_type, grant.remaining)).expect("small sums");
    }
    prop_assert_eq!(remainders, balance, "R16: the balance is the sum of the remainders");
    Ok(())
}

/// R15: a row that is about another one names it, and is of a kind that can be about it.
fn check_correction(rows: &[Transaction], row: &Transaction) -> Result<(), TestCaseError> {
    let Some(seq) = row.corrects else {
        prop_assert!(!matches!(row.kind, Kind::Release | Kind::Refund | Kind::Return), "{:?} names nothing", row);
        return Ok(());
    };
    let about = &rows[usize::try_from(seq).expect("a row") - 1];
    let grants = |row: &Transaction| row.entries.iter().map(|entry| entry.grant).collect::<Vec<_>>();
    let is_within = grants(row).iter().all(|grant| grants(about).contains(grant));
    let is_taken_back = row.delta.total() > Credits::ZERO;
    let expected = match row.kind {
        Kind::Release => &[Kind::Hold][..],
        Kind::Charge => &[Kind::Hold],
        Kind::Refund => &[Kind::Charge],
        Kind::Return => &[Kind::Purchase],
        Kind::Expiry if is_taken_back => &[Kind::Expiry],
        Kind::Expiry => &[Kind::Refund],
        _ => &[],
    };
    prop_assert!(is_within && expected.contains(&about.kind), "R15: {:?} names {:?}", row, about);
    Ok(())
}

/// Where the credits of a grant went.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    amount: i64,
    consumed: i64,
    refunded: i64,
    lapsed: i64,
    returned: i64,
    adjusted: i64,
    held: i64,
    remaining: i64,
}

impl Figures {
    fn of(grant: &Grant) -> Figures {
        Figures {
            amount: grant.amount.get(),
            consumed: grant.consumed.get(),
            refunded: grant.refunded.get(),
            lapsed: grant.lapsed.get(),
            returned: grant.returned.get(),
            adjusted: grant.adjusted.get(),
            held: grant.held.get(),
            remaining: grant.remaining.get(),
        }
    }

    const fn accounted_for(&self) -> i64 {
        let Figures { consumed, refunded, lapsed, returned, adjusted, held, remaining, .. } = self;
        *consumed - *refunded + *lapsed + *returned + *adjusted + *held + *remaining
    }

    /// Adds what `row` changed.
    fn add(&mut self, row: &Transaction, change: i64) -> Result<(), TestCaseError> {
        prop_assert!(change != 0 || row.kind == Kind::Allocation, "an entry changes something");
        match row.kind {
            Kind::Allocation | Kind::Purchase | Kind::Bonus => self.amount += change,
            Kind::Charge => self.consumed -= change,
            Kind::Hold | Kind::Release => self.held -= change,
            Kind::Refund => self.refunded += change,
            Kind::Expiry => self.lapsed -= change,
            Kind::Return => self.returned -= change,
            Kind::Adjustment => self.adjusted -= change,
            other => prop_assert!(false, "a {} moves nothing", other),
        }
        self.remaining += change;
        let Figures { amount, consumed, refunded, lapsed, returned, adjusted, held, remaining } = self;
        let all = [amount, consumed, refunded, lapsed, returned, adjusted, held, remaining];
        prop_assert!(all.iter().all(|figure| **figure >= 0), "R6: {:?} after row {}", self, row.seq);
        Ok(())
    }
}

/// What a grant is but for its number and the row that lapsed it, by label.
pub fn grants_by_label(ledger: &Ledger) -> BTreeMap<String, Grant> {
    let plain = |grant: &Grant| Grant { id: GrantId(0), lapsed_by: None, ..grant.clone() };
    ledger.grants.values().map(|grant| (grant.label.clone(), plain(grant))).collect()
}

/// Every answer that was given, in order.
pub fn answers(ledger: &Ledger) -> Vec<Transaction> {
    let plain = |row: &Transaction| Transaction {
        seq: 0,
        corrects: None,
        balance: Split::ZERO,
        entries: Vec::new(),
        ..row.clone()
    };
    ledger.rows().iter().filter(|row| row.key.is_some()).map(plain).collect()
}

/// The first month whose free credits have not all gone though it is over at `t`.
pub fn month_not_emptied(ledger: &Ledger, t: Instant) -> Option<&Grant> {
    let over = ledger.grants.values().filter(|grant| grant.expires_at.is_some_and(|end| end <= t));
    let mut monthly = over.filter(|grant| grant.credit_type == CreditType::Free && grant.source == Source::Monthly);
    monthly.find(|grant| !grant.remaining.is_zero())
}
