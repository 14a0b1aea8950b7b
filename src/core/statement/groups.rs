//! By what the use of credits is broken down: which group a row counts in, and what the groups are called.

use super::super::credits::Split;
use super::super::ids::{ActionCode, UserId};
use super::super::transaction::{Kind, Touched, Transaction, touched};
use super::{Breakdown, Cell, Ending, Name, Outcome, Row, Rows};
use std::sync::Arc;

/// What a line of a breakdown is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// A type or a status.
    Word(&'static str),
    /// An action or a user.
    Named(Arc<str>),
    /// What nobody named: use without a user.
    Unnamed,
}

impl Group {
    pub(super) fn cell(&self) -> Cell<'_> {
        match self {
            Group::Word(word) => Cell::Word(word),
            Group::Named(name) => Cell::Text(name),
            Group::Unnamed => Cell::Blank,
        }
    }
}

/// True for what uses credits: actions, and what holds or gives back credits for one.
pub(super) const fn is_use(kind: Kind) -> bool {
    matches!(kind, Kind::Charge | Kind::Hold | Kind::Release | Kind::Refund)
}

impl Breakdown {
    /// The number of the group that a row counts in. Rows that are no use of credits are in any: no line shows them.
    pub(super) fn group_of(self, row: &Row) -> u32 {
        self.group_by(row.name, row.outcome, row.delta)
    }

    /// The same of what decides about it.
    #[must_use]
    pub fn group_by(self, name: Name, outcome: Outcome, delta: Split) -> u32 {
        match self {
            Breakdown::Action | Breakdown::User => name.number(),
            Breakdown::Type => touched(delta) as u32,
            Breakdown::Status => outcome.ended() as u32,
            // A log has its transactions beside the lines.
            Breakdown::Transaction => 0,
        }
    }

    /// The action or user of `row`, where that is what it is broken down by.
    #[must_use]
    pub fn name_of(self, row: &Transaction) -> Option<&str> {
        match self {
            Breakdown::Action => row.action.as_ref().map(ActionCode::as_str),
            Breakdown::User => row.user.as_ref().map(UserId::as_str),
            Breakdown::Type | Breakdown::Status | Breakdown::Transaction => None,
        }
    }

    /// What the groups are called, by their numbers. `rows` know the names.
    pub(super) fn groups(self, rows: &Rows) -> Arc<[Group]> {
        match self {
            Breakdown::Action | Breakdown::User => {
                let named = rows.texts().iter().map(|name| Group::Named(Arc::clone(name)));
                [Group::Unnamed].into_iter().chain(named).collect()
            }
            Breakdown::Type => Touched::ALL.iter().map(|word| Group::Word(word.as_str())).collect(),
            Breakdown::Status => Ending::ALL.iter().map(|word| Group::Word(word.as_str())).collect(),
            Breakdown::Transaction => Arc::default(),
        }
    }

    /// True where most comes first; else words are in the order of their declaration.
    pub(super) const fn is_by_use(self) -> bool {
        matches!(self, Breakdown::Action | Breakdown::User)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::Instant;
    use crate::core::credits::Split;

    #[test]
    fn every_group_has_a_name() {
        let mut rows = Rows::default();
        let ann = rows.name("ann");
        let row =
            |name, kind, outcome| Row { account: 0, counts_at: Instant::MIN, kind, outcome, name, delta: Split::ZERO };
        let named = |by: Breakdown, row: &Row| by.groups(&rows)[by.group_of(row) as usize].clone();
        let (charge, refund) =
            (row(ann, Kind::Charge, Outcome::Refused), row(Name::NONE, Kind::Refund, Outcome::NotAnAction));
        assert_eq!(named(Breakdown::User, &charge), Group::Named("ann".into()));
        assert_eq!(named(Breakdown::User, &refund), Group::Unnamed);
        assert_eq!(named(Breakdown::Status, &charge), Group::Word("refused"));
        assert_eq!(named(Breakdown::Status, &refund), Group::Word("succeeded"));
        assert_eq!(named(Breakdown::Type, &charge), Group::Word("none"));
    }
}
