//! What a report says beside its lines, and what it is made of.

use super::super::credits::Overflow;
use super::super::ids::AccountId;
use super::{
    Breakdown, DateRange, Facts, Figures, Line, Lines, LogRow, Marks, ReportAccount, ReportModel, ReportSpec, Rows,
    Scope,
};
use std::collections::BTreeMap;

/// Most actions or users that a statement names; the others are summed up. A single other one has the row that its sum would have.
pub const TOP_MAX: usize = 5;

/// What a report says beside its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The transactions of a log, in order.
    pub log: Vec<LogRow>,
    /// Money and accounts, of a statement.
    pub facts: Option<Facts>,
    /// The range before, where it was asked for.
    pub comparison: Option<Comparison>,
    /// The actions and users that took most, of a statement of one account or of the platform.
    pub tops: Vec<Top>,
    /// What the account of a report of one is called.
    pub name: Option<String>,
    /// What actions are called, by their codes, where people read the report; empty where it has codes.
    pub titles: BTreeMap<String, String>,
    /// The accounts that are summed up, in a report of the platform that is not about all.
    pub chosen: Vec<AccountId>,
    /// The same statement by day, where that is drawn: [`ReportSpec::by_day`].
    pub days: Option<Box<ReportModel>>,
}

/// The range before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// When it was.
    pub range: DateRange,
    /// Its totals: one triple.
    pub totals: Vec<Line<'static>>,
}

/// Who or what used most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// Actions or users.
    pub by: Breakdown,
    /// At most [`TOP_MAX`] of them, or one more where there is no other: triples, the one that used most first.
    pub lines: Lines,
    /// How many there are beside these; never one.
    pub others: u64,
    /// What the others used, summed up: one triple, or nothing where there are none.
    pub rest: Vec<Line<'static>>,
}

/// What a report is made of. All of it was read at once: no row is in one part and missing in another.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Whose rows.
    pub accounts: Vec<ReportAccount>,
    /// The rows of the range.
    pub rows: Rows,
    /// The rows of [`ReportSpec::top`] by action and by user, where the statement names those that took most.
    pub tops: Vec<(Breakdown, Rows)>,
    /// The accounts as they were when the range before began, and its rows, where they were asked for.
    pub before: Option<(Vec<ReportAccount>, Rows)>,
    /// The transactions, where they were asked for.
    pub log: Vec<LogRow>,
    /// Money and accounts, of a statement.
    pub facts: Option<Facts>,
    /// The rows of [`ReportSpec::by_day`], where that is drawn.
    pub days: Option<Rows>,
    /// What the account of a report of one is called.
    pub name: Option<String>,
    /// The accounts of a report of the platform that is not about all.
    pub chosen: Vec<AccountId>,
}

impl ReportSpec {
    /// True where money and accounts stand beside the lines: those of a statement.
    #[must_use]
    pub fn has_facts(&self) -> bool {
        self.breakdown().is_none() && !self.is_bare()
    }

    /// True where a statement of so many accounts names the actions and users that took most.
    #[must_use]
    pub fn has_tops(&self, accounts: usize) -> bool {
        self.has_facts() && (self.scope() == Scope::Platform || accounts == 1)
    }

    /// The report by which those are found that took most.
    #[must_use]
    pub fn top(&self, by: Breakdown) -> ReportSpec {
        self.clone().as_one_period().with_breakdown(Some(by)).bare()
    }

    /// True where the account of a report of one is named.
    #[must_use]
    pub fn has_name(&self, accounts: usize) -> bool {
        self.scope() == Scope::Account && accounts == 1 && !self.is_bare()
    }

    /// True where its sums are those of a statement, so that it has to be known what was there before the range. Of some
    /// transactions only they would be untrue, and a breakdown in a form that has its lines alone does not show them.
    #[must_use]
    pub fn has_balances(&self) -> bool {
        self.filters().is_empty() && (self.breakdown().is_none() || !self.is_bare())
    }
}

impl Top {
    /// The first groups of a breakdown of one period by action or user, and the sum of the others.
    ///
    /// # Errors
    /// [`Overflow`] when a sum is out of range.
    pub fn of(by: Breakdown, model: &ReportModel) -> Result<Top, Overflow> {
        let count = model.lines.triple_count();
        let named = if count == TOP_MAX + 1 { count } else { TOP_MAX };
        let mut others = model.lines.triples().skip(named);
        let mut rest: Vec<Line<'static>> = Vec::new();
        for triple in others.by_ref().take(1) {
            rest.extend(triple.map(|line| Line { account: None, group: None, ..line }));
        }
        for triple in others {
            for (sum, line) in rest.iter_mut().zip(triple) {
                sum.figures = sum.figures.plus(&line.figures)?;
                sum.counts = sum.counts.zip(line.counts).map(|(one, other)| one.plus(other));
            }
        }
        let others = count.saturating_sub(named) as u64;
        Ok(Top { by, lines: model.lines.first(named), others, rest })
    }
}

impl ReportModel {
    /// What the charts show: the report, or its days where it has nothing to compare.
    #[must_use]
    pub fn drawn(&self) -> &ReportModel {
        self.beside.days.as_deref().unwrap_or(self)
    }

    /// The same report with marks in its charts.
    #[must_use]
    pub fn with_marks(mut self, marks: Option<Marks>) -> ReportModel {
        match &mut self.beside.days {
            Some(days) => days.marks = marks,
            None => self.marks = marks,
        }
        self
    }

    /// The same report with what actions are called.
    #[must_use]
    pub fn with_titles(mut self, titles: BTreeMap<String, String>) -> ReportModel {
        self.beside.titles = titles;
        self
    }

    /// What the action of this code is called, where that is known.
    #[must_use]
    pub fn title_of<'a>(&'a self, code: &'a str) -> &'a str {
        self.beside.titles.get(code).map_or(code, String::as_str)
    }

    /// The same report without the figures of a statement in its sums, as one that has no [balances](ReportSpec::has_balances).
    #[must_use]
    pub(crate) fn of_use(mut self) -> ReportModel {
        let of_totals = self.totals.iter_mut().map(|line| &mut line.figures);
        for figures in self.subtotals.figures_mut().chain(of_totals) {
            let Figures { consumed, refunded, .. } = *figures;
            *figures = Figures { consumed, refunded, ..Figures::default() };
        }
        self
    }
}
