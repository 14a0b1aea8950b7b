//! The lines of a report, kept as triples in little room: a report of all accounts has millions of lines.
//!
//! What many triples share (accounts, periods, the names of groups) is kept once and named by number, and a breakdown keeps
//! no figures but those of use. A [`Line`] is made when somebody looks at it.

use super::super::credits::{Credits, Overflow};
use super::super::ids::AccountId;
use super::{Cell, Column, Counts, DateRange, Figures, Group, LineType};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Lines of one period, or of one group in it: free, purchased, total.
pub const LINES_PER_PERIOD: usize = LineType::ALL.len();

/// One line of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The account; `None` for the sum of all accounts.
    pub account: Option<&'a AccountId>,
    /// The local time it covers.
    pub range: DateRange,
    /// Whose use it is, on the lines of a breakdown; there, only the figures of use are anything but zero.
    pub group: Option<&'a Group>,
    /// What the figures count.
    pub credit_type: LineType,
    /// The credits.
    pub figures: Figures,
    /// The actions, on `total` lines only: an action that took credits of both types cannot be counted per type.
    pub counts: Option<Counts>,
}

impl<'a> Line<'a> {
    /// What stands in `column`.
    #[must_use]
    pub fn cell(&self, column: Column) -> Cell<'a> {
        let count = |of: fn(&Counts) -> u64| self.counts.as_ref().map_or(Cell::Blank, |counts| Cell::Count(of(counts)));
        let credits = |credits| match self.group {
            Some(_) if !column.is_of_use() => Cell::Blank,
            _ => Cell::Credits(credits),
        };
        match column {
            Column::Action | Column::User | Column::Type | Column::Status => {
                self.group.map_or(Cell::Blank, Group::cell)
            }
            Column::Account => self.account.map_or(Cell::Blank, |id| Cell::Text(id.as_str())),
            Column::From => Cell::Date(self.range.from()),
            Column::To => Cell::Date(self.range.to()),
            Column::CreditType => Cell::Word(self.credit_type.as_str()),
            Column::CarriedIn => credits(self.figures.carried_in),
            Column::Allocated => credits(self.figures.allocated),
            Column::Purchased => credits(self.figures.purchased),
            Column::Bonus => credits(self.figures.bonus),
            Column::Consumed => credits(self.figures.consumed),
            Column::Refunded => credits(self.figures.refunded),
            Column::Lapsed => credits(self.figures.lapsed),
            Column::Returned => credits(self.figures.returned),
            Column::Adjusted => credits(self.figures.adjusted),
            Column::Remaining => credits(self.figures.remaining),
            Column::Succeeded => count(|counts| counts.succeeded),
            Column::Failed => count(|counts| counts.failed),
            Column::Refused => count(|counts| counts.refused),
            _ => Cell::Blank, // of transactions
        }
    }
}

/// The figures of a use of credits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    pub consumed: Credits,
    pub refunded: Credits,
}

impl Use {
    pub fn plus(self, other: Use) -> Result<Use, Overflow> {
        Ok(Use { consumed: self.consumed.plus(other.consumed)?, refunded: self.refunded.plus(other.refunded)? })
    }
}

impl From<Use> for Figures {
    fn from(Use { consumed, refunded }: Use) -> Figures {
        Figures { consumed, refunded, ..Figures::default() }
    }
}

/// Whose figures they are: the numbers of an account, a period and a group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About {
    pub account: u32,
    pub period: u32,
    pub group: u32,
}

/// What three lines say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Triple<F> {
    pub about: About,
    /// By [`LineType`].
    pub figures: [F; LINES_PER_PERIOD],
    pub counts: Counts,
}

#[derive(Clone, Debug)]
enum Kept {
    /// Of a statement, which has no groups.
    Periods(Vec<Triple<Figures>>),
    /// Of a breakdown.
    Groups(Vec<Triple<Use>>),
}

/// Lines in triples: free, purchased, total.
#[derive(Clone)]
pub struct Lines {
    /// None for the platform.
    accounts: Arc<[AccountId]>,
    periods: Arc<[DateRange]>,
    groups: Arc<[Group]>,
    kept: Kept,
}

impl Lines {
    /// Of a statement. There are no `accounts` where all is about the platform.
    pub(super) fn of_periods(
        accounts: Arc<[AccountId]>,
        periods: impl Into<Arc<[DateRange]>>,
        kept: Vec<Triple<Figures>>,
    ) -> Lines {
        Lines { accounts, periods: periods.into(), groups: Arc::default(), kept: Kept::Periods(kept) }
    }

    /// Of a breakdown.
    pub(super) fn of_groups(
        accounts: Arc<[AccountId]>,
        periods: impl Into<Arc<[DateRange]>>,
        groups: Arc<[Group]>,
        kept: Vec<Triple<Use>>,
    ) -> Lines {
        Lines { accounts, periods: periods.into(), groups, kept: Kept::Groups(kept) }
    }

    /// How many triples.
    #[must_use]
    pub fn triple_count(&self) -> usize {
        match &self.kept {
            Kept::Periods(kept) => kept.len(),
            Kept::Groups(kept) => kept.len(),
        }
    }

    /// How many lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.triple_count() * LINES_PER_PERIOD
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.triple_count() == 0
    }

    /// The lines of one period, or of one group in it.
    ///
    /// # Panics
    /// When there are no more than `at` of them, as a slice does.
    #[must_use]
    pub fn triple(&self, at: usize) -> [Line<'_>; LINES_PER_PERIOD] {
        let (About { account, period, group }, figures, counts) = match &self.kept {
            Kept::Periods(kept) => (kept[at].about, kept[at].figures, kept[at].counts),
            Kept::Groups(kept) => (kept[at].about, kept[at].figures.map(Figures::from), kept[at].counts),
        };
        let group = match &self.kept {
            Kept::Periods(_) => None,
            Kept::Groups(_) => Some(self.groups.get(group as usize).unwrap_or(&Group::Unnamed)),
        };
        let line = |credit_type| Line {
            account: self.accounts.get(account as usize),
            range: self.periods[period as usize],
            group,
            credit_type,
            figures: figures[credit_type as usize],
            counts: (credit_type == LineType::Total).then_some(counts),
        };
        [LineType::Free, LineType::Purchased, LineType::Total].map(line)
    }

    /// Some of the triples, in order.
    pub(super) fn triples_in(
        &self,
        span: Range<usize>,
    ) -> impl ExactSizeIterator<Item = [Line<'_>; LINES_PER_PERIOD]> + Clone {
        span.map(|at| self.triple(at))
    }

    /// The lines by threes, in order.
    pub fn triples(&self) -> impl ExactSizeIterator<Item = [Line<'_>; LINES_PER_PERIOD]> + Clone {
        self.triples_in(0..self.triple_count())
    }

    /// The lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = Line<'_>> + Clone {
        self.triples().flatten()
    }

    /// The number of a triple's account.
    pub(super) fn account_of(&self, at: usize) -> Option<u32> {
        match &self.kept {
            Kept::Periods(kept) => kept.get(at).map(|triple| triple.about.account),
            Kept::Groups(kept) => kept.get(at).map(|triple| triple.about.account),
        }
    }

    /// The first so many triples.
    pub(super) fn first(&self, triples: usize) -> Lines {
        fn first<F: Copy>(kept: &[Triple<F>], triples: usize) -> Vec<Triple<F>> {
            kept[..triples.min(kept.len())].to_vec()
        }
        let kept = match &self.kept {
            Kept::Periods(kept) => Kept::Periods(first(kept, triples)),
            Kept::Groups(kept) => Kept::Groups(first(kept, triples)),
        };
        Lines { accounts: self.accounts.clone(), periods: self.periods.clone(), groups: self.groups.clone(), kept }
    }

    /// The figures of a statement, line by line.
    pub(crate) fn figures_mut(&mut self) -> impl Iterator<Item = &mut Figures> {
        let kept = match &mut self.kept {
            Kept::Periods(kept) => kept.as_mut_slice(),
            Kept::Groups(_) => &mut [],
        };
        kept.iter_mut().flat_map(|triple| &mut triple.figures)
    }

    /// Its first triple so many times.
    #[cfg(test)]
    pub(crate) fn repeated(&self, triples: usize) -> Lines {
        let Kept::Periods(kept) = &self.kept else { panic!("of a statement") };
        Lines { kept: Kept::Periods(vec![kept[0]; triples]), ..self.clone() }
    }
}

impl PartialEq for Lines {
    /// The numbers behind them do not count.
    fn eq(&self, other: &Lines) -> bool {
        self.triples().eq(other.triples())
    }
}

impl Eq for Lines {}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
