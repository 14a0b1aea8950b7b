//! Digests, computed again from what stands in the tables: the definition is written down here a second time.
//!
//! The digest of a row is the first 64 bits, as a signed number, of SHA-256 over its facts, which are its columns in the
//! order of the schema up to the digest itself, leaving out the projections. A fact counts as one text: `-` for NULL, else
//! `+` and its value, a number in decimal and a truth as 0 or 1. Before each text stands its length in bytes, in eight
//! bytes, the highest first.
//!
//! The database hands out the facts of a row as one text, because one long value costs far less than twenty short ones:
//! for each fact its length in bytes, a colon and the value; for NULL the colon alone.

use sha2::{Digest, Sha256};

/// The facts of one row.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a>(Vec<Option<&'a str>>);

impl<'a> Facts<'a> {
    /// Reads what a statement of [`facts!`] returned; `None` when it is not of that form.
    pub fn read(mut text: &'a str) -> Option<Facts<'a>> {
        const USUAL: usize = 24;
        let mut facts = Vec::with_capacity(USUAL);
        while !text.is_empty() {
            let (length, rest) = text.split_once(':')?;
            if length.is_empty() {
                facts.push(None);
                text = rest;
            } else {
                let length = length.parse().ok()?;
                facts.push(Some(rest.get(..length)?));
                text = rest.get(length..)?;
            }
        }
        Some(Facts(facts))
    }

    /// The text of a column, by its place.
    pub fn text(&self, at: usize) -> Option<&'a str> {
        self.0.get(at).copied().flatten()
    }

    /// The number in a column, by its place.
    pub fn number(&self, at: usize) -> Option<i64> {
        self.text(at)?.parse().ok()
    }

    /// These facts and others behind them.
    pub fn and(mut self, others: impl IntoIterator<Item = Option<&'a str>>) -> Facts<'a> {
        self.0.extend(others);
        self
    }

    /// The digest of the row.
    pub fn digest(&self) -> i64 {
        const USUAL: usize = 512;
        let mut bytes = Vec::with_capacity(USUAL);
        for fact in &self.0 {
            let length = fact.map_or(0, str::len) + 1;
            bytes.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
            bytes.push(if fact.is_some() { b'+' } else { b'-' });
            bytes.extend_from_slice(fact.unwrap_or_default().as_bytes());
        }
        let mut first = [0; 8];
        first.copy_from_slice(&Sha256::digest(&bytes)[..8]);
        i64::from_be_bytes(first)
    }
}

/// A statement on facts: `facts!(rest of the SELECT; t "a text", i "a number", b "a truth", ..)`. It returns the stored
/// digest and the facts, and then what the rest of the SELECT lists.
///
/// Lengths are those in UTF-8, whatever the encoding of the database.
macro_rules! facts {
    ($rest:expr; $($kind:ident $column:literal),+) => {
        $crate::store::sql::Sql {
            sqlite: concat!(
                "SELECT t.digest, concat(''", $($crate::store::verify::facts::fact_sqlite!($kind $column),)+ ")", $rest
            ),
            postgres: concat!(
                "SELECT t.digest, concat(''", $($crate::store::verify::facts::fact_postgres!($kind $column),)+ ")", $rest
            ),
        }
    };
}
pub(super) use facts;

macro_rules! fact_sqlite {
    (t $column:literal) => {
        concat!(", octet_length(t.", $column, "), ':', t.", $column)
    };
    ($kind:ident $column:literal) => {
        concat!(", length(t.", $column, "), ':', t.", $column)
    };
}
pub(super) use fact_sqlite;

macro_rules! fact_postgres {
    (t $column:literal) => {
        concat!(", octet_length(convert_to(t.", $column, ", 'UTF8')), ':', t.", $column)
    };
    (i $column:literal) => {
        concat!(", length(t.", $column, "::text), ':', t.", $column)
    };
    (b $column:literal) => {
        concat!(", '1:', CAST(t.", $column, " AS INTEGER)")
    };
}
pub(super) use fact_postgres;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::Instant;
    use crate::core::credits::Credits;
    use crate::store::digest::digest;

    #[test]
    fn facts_are_read_as_they_stand() {
        let facts = Facts::read("4:acme:0:2:-12:é:").expect("facts");
        assert_eq!(facts.0, [Some("acme"), None, Some(""), Some("-1"), Some("é"), None]);
        assert_eq!((facts.number(3), facts.number(0), facts.number(9)), (Some(-1), None, None));
        for broken in ["4:acm", "x:acme", "1:é", "5", "-1:x"] {
            assert!(Facts::read(broken).is_none(), "{broken}");
        }
    }

    /// Two definitions, one digest.
    #[test]
    fn what_the_writers_compute_is_what_is_defined_here() {
        let written = digest!("acme", None::<String>, Credits::new(1_500), Instant::from_micros(-1), true, "", "é");
        let facts = Facts::read("4:acme:4:15002:-11:10:2:é").expect("facts");
        assert_eq!(facts.digest(), written);
    }
}
