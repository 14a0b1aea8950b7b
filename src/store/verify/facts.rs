//! Digests, computed again from what stands in the tables: the definition is written down here a second time.
//!
//! The digest of a row is the first 64 bits, as a signed number, of SHA-256 over its facts, which are its columns in the
//! order of the schema up to the digest itself, leaving out the projections. A fact counts as one text: `-` for NULL, else
//! `+` and its value, a number in decimal and a truth as 0 or 1. Before each text stands its length in bytes, in eight
//! bytes, the highest first.
//!
//! The database hands out the facts of a row as one text, because one long value costs far less than twenty short ones:
//! first the digest that is stored, then each fact, as its length in bytes, a colon and the value; for NULL the colon
//! alone. Rows may follow each other in such a text.

use sha2::{Digest, Sha256};

/// One row: the digest that is stored with it, and its facts.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    stored: i64,
    facts: Vec<Option<&'a str>>,
}

impl<'a> Facts<'a> {
    /// Takes the next row of `count` facts from what a statement of [`facts!`] returned; `None` when there is none.
    pub fn next(text: &mut &'a str, count: usize) -> Option<Facts<'a>> {
        let stored = next_fact(text)??.parse().ok()?;
        let mut facts = Vec::with_capacity(count);
        for _ in 0..count {
            facts.push(next_fact(text)?);
        }
        Some(Facts { stored, facts })
    }

    /// The text of a column, by its place.
    pub fn text(&self, at: usize) -> Option<&'a str> {
        self.facts.get(at).copied().flatten()
    }

    /// The number in a column, by its place.
    pub fn number(&self, at: usize) -> Option<i64> {
        self.text(at)?.parse().ok()
    }

    /// These facts and others behind them.
    pub fn and(mut self, others: impl IntoIterator<Item = Option<&'a str>>) -> Facts<'a> {
        self.facts.extend(others);
        self
    }

    /// The digest that is stored with the row.
    pub const fn stored(&self) -> i64 {
        self.stored
    }

    /// The digest that the row must have.
    pub fn digest(&self) -> i64 {
        const USUAL: usize = 512;
        let mut bytes = Vec::with_capacity(USUAL);
        for fact in &self.facts {
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

/// Takes one fact, which may be NULL; `None` when there is none or it is not of that form.
fn next_fact<'a>(text: &mut &'a str) -> Option<Option<&'a str>> {
    let (length, rest) = text.split_once(':')?;
    if length.is_empty() {
        *text = rest;
        return Some(None);
    }
    let (fact, rest) = rest.split_at_checked(length.parse().ok()?)?;
    *text = rest;
    Some(Some(fact))
}

/// A statement on facts: `facts!("SELECT ", " FROM .. AS t ..", t "a text", i "a number", b "a truth", ..)` has the stored
/// digest and the facts where the two texts meet. With a text for each database in the first place, `facts!(("..", ".."),
/// ..)`, they may differ.
///
/// Lengths are those in UTF-8, whatever the encoding of the database.
macro_rules! facts {
    (($sqlite:expr, $postgres:expr), $rest:expr, $($kind:ident $column:literal),+) => {
        $crate::store::sql::Sql {
            sqlite: concat!(
                $sqlite, "concat(length(t.digest), ':', t.digest",
                $($crate::store::verify::facts::fact_sqlite!($kind $column),)+ ")", $rest
            ),
            postgres: concat!(
                $postgres, "concat(length(t.digest::text), ':', t.digest",
                $($crate::store::verify::facts::fact_postgres!($kind $column),)+ ")", $rest
            ),
        }
    };
    ($begin:literal, $rest:expr, $($kind:ident $column:literal),+) => {
        $crate::store::verify::facts::facts!(($begin, $begin), $rest, $($kind $column),+)
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
        let mut text = "2:-74:acme:0:2:-12:é:1:93:one2:é";
        let first = Facts::next(&mut text, 6).expect("a row");
        assert_eq!((first.stored(), &first.facts[..3]), (-7, &[Some("acme"), None, Some("")][..]));
        assert_eq!(first.facts[3..], [Some("-1"), Some("é"), None]);
        assert_eq!((first.number(3), first.number(0), first.number(9)), (Some(-1), None, None));
        let second = Facts::next(&mut text, 2).expect("a row");
        assert_eq!((second.stored(), second.text(0), second.text(1)), (9, Some("one"), Some("é")));
        for mut broken in ["", "1:", "1:x1:a", ":1:a", "1:9", "1:94:acm", "1:9x:acme", "1:91:é", "1:9-1:x"] {
            assert!(Facts::next(&mut broken, 1).is_none(), "{broken}");
        }
    }

    /// Two definitions, one digest.
    #[test]
    fn what_the_writers_compute_is_what_is_defined_here() {
        let written = digest!("acme", None::<String>, Credits::new(1_500), Instant::from_micros(-1), true, "", "é");
        let facts = Facts::next(&mut "1:04:acme:4:15002:-11:10:2:é", 7).expect("facts");
        assert_eq!(facts.digest(), written);
    }
}
