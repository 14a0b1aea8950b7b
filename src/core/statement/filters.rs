//! Which transactions a log or a breakdown is about: those of some actions, users, types or statuses.

use super::super::ids::{ActionCode, UserId};
use super::super::transaction::{Touched, Transaction, touched};
use super::{Ending, Outcome, ReportError};

/// Most values of one filter: more than anybody types, and few enough to look through for every row.
pub const FILTER_VALUES_MAX: usize = 100;

/// What must hold of a transaction. A filter without values lets every one pass; one with several, those that have any
/// of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Actions; `None` is a transaction without one.
    pub actions: Vec<Option<ActionCode>>,
    /// Users; `None` is a transaction without one.
    pub users: Vec<Option<UserId>>,
    /// The pools that it touched.
    pub types: Vec<Touched>,
    /// How it ended.
    pub statuses: Vec<Ending>,
}

impl Filters {
    /// True when every transaction passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Filters::default()
    }

    /// # Errors
    /// [`ReportError::TooManyValues`].
    pub(super) fn check(&self) -> Result<(), ReportError> {
        let counts = [
            ("action", self.actions.len()),
            ("user", self.users.len()),
            ("type", self.types.len()),
            ("status", self.statuses.len()),
        ];
        match counts.into_iter().find(|(_, found)| *found > FILTER_VALUES_MAX) {
            Some((what, found)) => Err(ReportError::TooManyValues { what, found, max: FILTER_VALUES_MAX }),
            None => Ok(()),
        }
    }

    /// Whether `row` passes.
    #[must_use]
    pub fn admit(&self, row: &Transaction) -> bool {
        fn is_in<T: PartialEq>(values: &[T], value: &T) -> bool {
            values.is_empty() || values.contains(value)
        }
        is_in(&self.actions, &row.action)
            && is_in(&self.users, &row.user)
            && is_in(&self.types, &touched(row.delta))
            && is_in(&self.statuses, &Outcome::of(row.kind, row.status, row.reason).ended())
    }

    /// These filters, and those of `defined` of which these have no values.
    #[must_use]
    pub fn over(&self, defined: &Filters) -> Filters {
        fn of<T: Clone>(asked: &[T], defined: &[T]) -> Vec<T> {
            if asked.is_empty() { defined.to_vec() } else { asked.to_vec() }
        }
        Filters {
            actions: of(&self.actions, &defined.actions),
            users: of(&self.users, &defined.users),
            types: of(&self.types, &defined.types),
            statuses: of(&self.statuses, &defined.statuses),
        }
    }

    /// The filters with their values as text, those that have any, in the order of their declaration; what has none is the
    /// empty text.
    #[must_use]
    pub fn said(&self) -> Vec<(&'static str, Vec<&str>)> {
        let all = [
            ("action", self.actions.iter().map(|value| value.as_ref().map_or("", ActionCode::as_str)).collect()),
            ("user", self.users.iter().map(|value| value.as_ref().map_or("", UserId::as_str)).collect()),
            ("type", self.types.iter().map(|value| value.as_str()).collect()),
            ("status", self.statuses.iter().map(|value| value.as_str()).collect::<Vec<_>>()),
        ];
        all.into_iter().filter(|(_, values)| !values.is_empty()).collect()
    }
}
