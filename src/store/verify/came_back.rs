//! What came back to grants and is still there, told from the rows in their order (R11, R14).
//!
//! A refund to a grant that is not over comes back at its instant. A charge, a return and an adjustment use up what came
//! back last before theirs. Holds do not: they end in a charge, or in nothing.

use super::reading::{Row, read_entries};
use std::collections::BTreeMap;

/// Most instants that are kept of one grant; beyond it the oldest joins the next.
const INSTANTS_MAX: usize = 32;

/// What came back so far to the grants of an account.
#[derive(Debug, Default)]
pub(super) struct CameBack {
    /// When grants end, of those that do.
    ends: BTreeMap<i64, i64>,
    /// By grant and instant.
    credits: BTreeMap<i64, BTreeMap<i64, i128>>,
}

impl CameBack {
    /// Adds the next row of the account.
    pub fn add(&mut self, row: &Row<'_>) {
        let (kind, at) = (row.kind(), row.occurred_at());
        match kind {
            "allocation" | "bonus" => {
                self.ends.extend(row.expires_at().map(|end| (row.seq(), end)));
            }
            "refund" => {
                for (grant, _, delta) in read_entries(row.entries()).unwrap_or_default() {
                    if self.ends.get(&grant).is_none_or(|end| at < *end) {
                        self.give_back(grant, at, delta.into());
                    }
                }
            }
            "charge" | "return" | "adjustment" if !self.credits.is_empty() => {
                for (grant, _, delta) in read_entries(row.entries()).unwrap_or_default() {
                    self.use_up(grant, at, -i128::from(delta));
                }
            }
            _ => {}
        }
    }

    fn give_back(&mut self, grant: i64, at: i64, credits: i128) {
        let there = self.credits.entry(grant).or_default();
        *there.entry(at).or_default() += credits;
        if there.len() > INSTANTS_MAX
            && let (Some((_, oldest)), Some(mut next)) = (there.pop_first(), there.first_entry())
        {
            *next.get_mut() += oldest;
        }
    }

    fn use_up(&mut self, grant: i64, at: i64, credits: i128) {
        let Some(there) = self.credits.get_mut(&grant) else { return };
        let mut missing = credits;
        for (_, left) in there.range_mut(..=at).rev() {
            let part = missing.min(*left);
            missing -= part;
            *left -= part;
        }
        there.retain(|_, left| *left != 0);
        if there.is_empty() {
            self.credits.remove(&grant);
        }
    }

    /// As it must be stored with each grant that has some.
    pub fn texts(&self) -> impl Iterator<Item = (i64, String)> {
        self.credits.iter().map(|(grant, there)| {
            let parts: Vec<String> = there.iter().map(|(at, credits)| format!("[{at},{credits}]")).collect();
            (*grant, format!("[{}]", parts.join(",")))
        })
    }
}
