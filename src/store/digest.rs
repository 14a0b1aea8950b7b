//! The digest of a row: the first 64 bits of a hash over the facts in it, which `creditd verify` computes again.
//!
//! It finds what was changed past creditd, by a person or a broken disk, in columns that no sum would miss. It keeps no
//! secret, so it does not stop a forger who reads this file. Projections have no part in it: they are proved by the
//! transactions they sum up.

use super::tables::Cell;
use crate::core::calendar::{Instant, Month};
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, Email};
use crate::core::transaction::{ContentHash, ContentHasher};

/// A value of a column, as text; `None` is NULL.
pub(super) trait Fact {
    fn text(&self) -> Option<String>;
}

/// The digest of the facts, in the order of their columns. NULL and the empty text differ.
macro_rules! digest {
    ($($fact:expr),+ $(,)?) => {
        $crate::store::digest::of(&[$($crate::store::digest::Fact::text(&$fact)),+])
    };
}
pub(super) use digest;

/// The digest of facts that are texts already.
pub(super) fn of(facts: &[Option<String>]) -> i64 {
    let marked = |fact: &Option<String>| fact.as_ref().map_or_else(|| "-".to_owned(), |text| format!("+{text}"));
    let marked: Vec<String> = facts.iter().map(marked).collect();
    ContentHash::of(&marked.iter().map(String::as_str).collect::<Vec<_>>()).0
}

/// The digest of a row that is cells already: the same facts give the same digest.
pub(super) fn of_cells(cells: &[Cell<'_>]) -> i64 {
    let mut hash = ContentHasher::default();
    for cell in cells {
        match cell {
            Cell::Null => hash.field(&[b"-"]),
            Cell::Int(number) => hash.field(&[b"+", number.to_string().as_bytes()]),
            Cell::Text(text) => hash.field(&[b"+", text.as_bytes()]),
            Cell::Own(text) => hash.field(&[b"+", text.as_bytes()]),
        }
    }
    hash.finish().0
}

impl<T: Fact + ?Sized> Fact for &T {
    fn text(&self) -> Option<String> {
        (*self).text()
    }
}

impl<T: Fact> Fact for Option<T> {
    fn text(&self) -> Option<String> {
        self.as_ref().and_then(Fact::text)
    }
}

macro_rules! facts {
    ($($kind:ty: |$value:ident| $text:expr;)+) => {
        $(impl Fact for $kind {
            fn text(&self) -> Option<String> {
                let $value = self;
                Some($text)
            }
        })+
    };
}

facts! {
    str: |text| text.to_owned();
    String: |text| text.clone();
    i64: |number| number.to_string();
    bool: |yes| u8::from(*yes).to_string();
    Instant: |instant| instant.micros().to_string();
    Month: |month| month.to_string();
    Credits: |credits| credits.get().to_string();
    AccountId: |id| id.as_str().to_owned();
    Email: |email| email.as_str().to_owned();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_counts_and_null_is_no_text() {
        let row = digest!("acme", Some("x"), 1_i64, true);
        for other in [
            digest!("acme2", Some("x"), 1_i64, true),
            digest!("acme", Some("+x"), 1_i64, true),
            digest!("acme", Some(""), 1_i64, true),
            digest!("acme", None::<String>, 1_i64, true),
            digest!("acme", Some("-"), 1_i64, true),
            digest!("acme", Some("x"), -1_i64, true),
            digest!("acme", Some("x"), 1_i64, false),
            digest!("acmex", Some(""), 1_i64, true),
        ] {
            assert_ne!(row, other);
        }
        assert_eq!(digest!(None::<String>), digest!(None::<i64>));
    }

    /// What was written years ago is computed again, so the digest of given facts never changes.
    #[test]
    fn the_digest_of_given_facts_stays_what_it_is() {
        assert_eq!(
            digest!("acme", None::<String>, Credits::new(1_500), Instant::from_micros(-1)),
            -9_184_951_635_323_982_655
        );
    }
}
