//! Ledger rows as a report reads them: the few columns it needs, side by side.

use super::super::calendar::Instant;
use super::super::credits::{Credits, Split};
use super::super::transaction::{Kind, Reason, Status, words};
use super::{Adding, Grid, ReportError, SumKey, Tally};
use std::collections::BTreeMap;
use std::sync::Arc;

words! {
    /// How a row counts among the actions.
    Outcome {
        /// Not an AI action.
        NotAnAction = "not_an_action",
        /// An action that was done.
        Succeeded = "succeeded",
        /// An action that failed at the platform.
        Failed = "failed",
        /// An action that creditd refused, with a reason.
        Refused = "refused",
    }
}

impl Outcome {
    /// How a row of `kind` counts: only charges are actions, and a failed one without a reason failed at the platform.
    #[must_use]
    pub const fn of(kind: Kind, status: Status, reason: Option<Reason>) -> Outcome {
        match (kind, status, reason) {
            (Kind::Charge, Status::Success, _) => Outcome::Succeeded,
            (Kind::Charge, Status::Failed, None) => Outcome::Failed,
            (Kind::Charge, Status::Failed, Some(_)) => Outcome::Refused,
            _ => Outcome::NotAnAction,
        }
    }

    /// How the transaction ended, for a breakdown by status: what is held and what is refunded was done.
    #[must_use]
    pub const fn ended(self) -> Ending {
        match self {
            Outcome::NotAnAction | Outcome::Succeeded => Ending::Succeeded,
            Outcome::Failed => Ending::Failed,
            Outcome::Refused => Ending::Refused,
        }
    }
}

words! {
    /// How a transaction ended.
    Ending {
        /// It was done.
        Succeeded = "succeeded",
        /// It failed at the platform.
        Failed = "failed",
        /// creditd refused it, with a reason.
        Refused = "refused",
    }
}

/// The action or user of a row, as [`Rows`] know it by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(u32);

impl Name {
    /// No action or user, or none that was asked for.
    pub const NONE: Name = Name(0);

    pub(super) const fn number(self) -> u32 {
        self.0
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One transaction, as a report reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Index of the account among the accounts of the report.
    pub account: u32,
    /// See [`Kind::counts_at`].
    pub counts_at: Instant,
    /// What it is.
    pub kind: Kind,
    /// How it counts among the actions.
    pub outcome: Outcome,
    /// Its action or its user, whichever the report is broken down by.
    pub name: Name,
    /// The signed change per credit type.
    pub delta: Split,
}

/// Transactions in columns: what a store fills in one pass and the frames take over without turning rows around.
/// Rows of one account should follow each other, for speed; no order is required.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    account: Vec<u32>,
    counts_at: Vec<Instant>,
    kind: Vec<Kind>,
    outcome: Vec<Outcome>,
    name: Vec<Name>,
    free: Vec<i64>,
    purchased: Vec<i64>,
    /// The texts of names, from number 1 on.
    texts: Vec<Arc<str>>,
    names: BTreeMap<Arc<str>, Name>,
    /// Of more rows, which whoever read them has added up.
    summed: Tally,
}

impl Rows {
    /// No rows, with room for `rows`.
    #[must_use]
    pub fn with_capacity(rows: usize) -> Rows {
        let mut new = Rows::default();
        new.reserve(rows);
        new
    }

    /// Makes room for `more` rows.
    pub fn reserve(&mut self, more: usize) {
        self.account.reserve(more);
        self.counts_at.reserve(more);
        self.kind.reserve(more);
        self.outcome.reserve(more);
        self.name.reserve(more);
        self.free.reserve(more);
        self.purchased.reserve(more);
    }

    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        self.account.push(row.account);
        self.counts_at.push(row.counts_at);
        self.kind.push(row.kind);
        self.outcome.push(row.outcome);
        self.name.push(row.name);
        self.free.push(row.delta.free.get());
        self.purchased.push(row.delta.purchased.get());
    }

    /// The name with this text, for rows of these [`Rows`] only.
    pub fn name(&mut self, text: &str) -> Name {
        // Rows of one user or action often follow each other.
        let last = self.name.last().copied().filter(|name| self.text_of(*name).is_some_and(|last| **last == *text));
        if let Some(known) = last.or_else(|| self.names.get(text).copied()) {
            return known;
        }
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        let name = Name(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        self.names.insert(text, name);
        name
    }

    /// Adds all of `more` behind its own, whatever numbers names have there.
    pub fn append(&mut self, more: Rows) {
        let known = self.names_of(&more);
        self.name.extend(more.name.iter().map(|name| known[name.index()]));
        self.account.extend(more.account);
        self.counts_at.extend(more.counts_at);
        self.kind.extend(more.kind);
        self.outcome.extend(more.outcome);
        self.free.extend(more.free);
        self.purchased.extend(more.purchased);
    }

    /// Adds up `more` in `adding` for the report of `grid`, and keeps nothing of it but the names.
    ///
    /// # Errors
    /// [`ReportError`] when a sum is out of range, a row belongs to no account, or there are more places than a report has lines.
    pub fn sum_up(&mut self, more: &Rows, grid: &Grid, adding: &mut Adding) -> Result<(), ReportError> {
        let known = self.names_of(more);
        for row in more.iter() {
            let row = Row { name: known[row.name.index()], ..row };
            if let Some(place) = grid.place_of(&row)? {
                adding.add(SumKey::new(place, row.kind, row.outcome), row.delta, 1)?;
            }
        }
        Ok(())
    }

    /// The names of `more` as they are here, by their numbers there.
    fn names_of(&mut self, more: &Rows) -> Vec<Name> {
        [Name::NONE].into_iter().chain(more.texts.iter().map(|text| self.name(text))).collect()
    }

    /// What `name` stands for; `None` for [`Name::NONE`].
    #[must_use]
    pub fn text_of(&self, name: Name) -> Option<&Arc<str>> {
        usize::try_from(name.0).ok()?.checked_sub(1).and_then(|at| self.texts.get(at))
    }

    /// The texts of all names, in the order of their numbers, from 1 on.
    pub(super) fn texts(&self) -> &[Arc<str>] {
        &self.texts
    }

    /// More rows, which are added up already, for the report for which these are read. Those whose names they have are named
    /// by these [`Rows`].
    pub fn add_summed(&mut self, summed: Tally) {
        self.summed = summed;
    }

    /// The sums of rows that are not among those beside them.
    #[must_use]
    pub const fn summed(&self) -> &Tally {
        &self.summed
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.account.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.account.is_empty()
    }

    /// The rows, in the order they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row> {
        (0..self.len()).map(|at| Row {
            account: self.account[at],
            counts_at: self.counts_at[at],
            kind: self.kind[at],
            outcome: self.outcome[at],
            name: self.name[at],
            delta: Split { free: Credits::new(self.free[at]), purchased: Credits::new(self.purchased[at]) },
        })
    }

    /// Credits, of both types, that are on hold for actions that are not settled: what the holds between these instants took, but for
    /// what was released of them, which counts where the hold does (R10).
    #[must_use]
    pub fn on_hold(&self, (from, to): (Instant, Instant)) -> i128 {
        let is_held =
            |row: &Row| matches!(row.kind, Kind::Hold | Kind::Release) && from <= row.counts_at && row.counts_at < to;
        self.iter().filter(is_held).map(|row| -i128::from(row.delta.total().get())).sum()
    }

    /// The signed changes of free credits, row by row.
    #[must_use]
    pub fn free(&self) -> &[i64] {
        &self.free
    }

    /// The signed changes of purchased credits, row by row.
    #[must_use]
    pub fn purchased(&self) -> &[i64] {
        &self.purchased
    }
}

impl Extend<Row> for Rows {
    fn extend<I: IntoIterator<Item = Row>>(&mut self, rows: I) {
        rows.into_iter().for_each(|row| self.push(row));
    }
}

impl FromIterator<Row> for Rows {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Rows {
        let mut all = Rows::default();
        all.extend(rows);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lapse_counts_in_the_range_that_it_ends() {
        let end = Instant::from_micros(1_000);
        assert_eq!(Kind::Expiry.counts_at(end).micros(), 999);
        assert_eq!(Kind::Allocation.counts_at(end), end);
    }

    #[test]
    fn rows_keep_their_names_behind_others() {
        let row = |name, change| Row {
            account: 1,
            counts_at: Instant::MIN,
            kind: Kind::Charge,
            outcome: Outcome::Succeeded,
            name,
            delta: Split { free: Credits::new(change), purchased: Credits::ZERO },
        };
        let of = |names: &[Option<&str>]| {
            let mut rows = Rows::default();
            for (change, name) in (1..).zip(names) {
                let name = name.map_or(Name::NONE, |name| rows.name(name));
                rows.push(row(name, change));
            }
            rows
        };
        let mut all = of(&[Some("ann"), None, Some("bob")]);
        all.append(of(&[Some("bob"), Some("eve"), None, Some("ann")]));
        let named: Vec<_> =
            all.iter().map(|row| (row.delta.free.get(), all.text_of(row.name).map(|name| &**name))).collect();
        let (ann, bob, eve) = (Some("ann"), Some("bob"), Some("eve"));
        assert_eq!(named, [(1, ann), (2, None), (3, bob), (1, bob), (2, eve), (3, None), (4, ann)]);
        assert_eq!(all.texts().len(), 3);
    }

    #[test]
    fn only_charges_are_actions() {
        let refused = Some(Reason::InsufficientCredits);
        assert_eq!(Outcome::of(Kind::Charge, Status::Success, None), Outcome::Succeeded);
        assert_eq!(Outcome::of(Kind::Charge, Status::Failed, None), Outcome::Failed);
        assert_eq!(Outcome::of(Kind::Charge, Status::Failed, refused), Outcome::Refused);
        for kind in Kind::ALL.iter().filter(|kind| **kind != Kind::Charge) {
            assert_eq!(Outcome::of(*kind, Status::Success, None), Outcome::NotAnAction, "{kind}");
        }
    }
}
