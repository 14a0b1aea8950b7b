//! The ledger that a log makes: everything but the account's own facts follows from its rows (R15).
//!
//! This is how the past is read ("as of"), and what proves that the projections stored beside the log say nothing else.

use super::{Account, Closure, Grant, Ledger, OpenHold};
use crate::core::calendar::Month;
use crate::core::credits::{Credits, Overflow};
use crate::core::transaction::{GrantId, Kind, Source, Status, Transaction};

impl Ledger {
    /// The ledger of `account` after `rows`, from its first row on, in order.
    ///
    /// # Errors
    /// [`Overflow`] when a sum leaves the range of credits.
    pub fn replay<'a>(account: Account, rows: impl IntoIterator<Item = &'a Transaction>) -> Result<Ledger, Overflow> {
        let mut ledger = Ledger::new(account);
        rows.into_iter().try_for_each(|row| ledger.replay_row(row))?;
        Ok(ledger)
    }

    /// Adds the next row of the log.
    ///
    /// # Errors
    /// [`Overflow`] when a sum leaves the range of credits.
    pub fn replay_row(&mut self, row: &Transaction) -> Result<(), Overflow> {
        if let Some(grant) = grant_of(row) {
            self.grants.insert(grant.id, grant);
        }
        for entry in &row.entries {
            let is_lapse = row.kind == Kind::Expiry && entry.delta < Credits::ZERO;
            let is_at_once = is_lapse && row.corrects.is_some();
            let Some(grant) = self.grants.get(&entry.grant) else { continue };
            let mut grant = grant.after(row.kind, row.occurred_at, entry.delta, is_at_once)?;
            if is_lapse && !is_at_once {
                grant.lapsed_by = Some(row.seq);
            }
            self.grants.insert(grant.id, grant);
        }
        let month = row.reference.as_ref().and_then(|month| month.as_str().parse::<Month>().ok());
        match row.kind {
            Kind::Allocation => self.opened_through = row.comment.strip_prefix(FREE).and_then(|m| m.parse().ok()),
            Kind::Hold => {
                if let Some(expires_at) = row.expires_at {
                    self.holds.insert(row.seq, OpenHold { row: row.clone(), expires_at });
                }
            }
            Kind::Charge => drop(row.corrects.and_then(|hold| self.holds.remove(&hold))),
            Kind::Closing => self.closures.push(Closure { closed_at: row.occurred_at, reopened_at: None }),
            Kind::Reopening => {
                if let Some(closure) = self.closures.last_mut() {
                    closure.reopened_at = Some(row.occurred_at);
                }
            }
            Kind::MonthClose => month.into_iter().for_each(|month| self.closed(month)),
            Kind::MonthReopen => month.into_iter().for_each(|month| self.opened_again(month)),
            _ => {}
        }
        self.balance = row.balance;
        self.last_seq = row.seq;
        self.last_recorded_at = row.recorded_at;
        Ok(())
    }
}

/// What every label of a month's free grant begins with (R2).
pub const FREE: &str = "free:";

/// The grant that a row makes, before the row's own entry fills it.
fn grant_of(row: &Transaction) -> Option<Grant> {
    let (label, source) = match row.kind {
        Kind::Allocation => (row.comment.clone(), Source::Monthly),
        Kind::Purchase => (format!("pack:{}", row.reference.as_ref()?), Source::Pack),
        Kind::Bonus => (format!("bonus:{}", row.key.as_ref()?), Source::Bonus),
        _ => return None,
    };
    let entry = row.entries.first().filter(|_| row.status == Status::Success)?;
    Some(Grant::new(GrantId(row.seq), label, entry.credit_type, source, entry.delta, row))
}
