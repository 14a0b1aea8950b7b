//! Digests, computed again from what stands in the tables: the definition is written down here a second time.
//!
//! The digest of a row is the first 64 bits, as a signed number, of SHA-256 over its facts, which are its columns in the
//! order of the schema up to the digest itself, leaving out the projections. A fact counts as one text: `-` for NULL, else
//! `+` and its value, a number in decimal and a truth as 0 or 1. Before each text stands its length in bytes, in eight
//! bytes, the highest first.
//!
//! The database hands out the facts of a row as one text, because one long value costs far less than twenty short ones:
//! first the digest that is stored, then each fact, as its length in bytes, a colon and the value; for NULL the colon
//! alone. Rows may follow each other in such a text. It is read as bytes: what a broken disk made of it need not be text.

use crate::store::sql::Row;
use sha2::{Digest, Sha256};
use sqlx::Row as _;

/// One row: the digest that is stored with it, and its facts.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    stored: i64,
    facts: Vec<Option<&'a [u8]>>,
}

impl<'a> Facts<'a> {
    /// Takes the next row of `count` facts from what a statement of [`facts!`] returned; `None` when there is none.
    pub fn next(rows: &mut &'a [u8], count: usize) -> Option<Facts<'a>> {
        let stored = number(next_fact(rows)??)?;
        let mut facts = Vec::with_capacity(count);
        for _ in 0..count {
            facts.push(next_fact(rows)?);
        }
        Some(Facts { stored, facts })
    }

    fn fact(&self, at: usize) -> Option<&'a [u8]> {
        self.facts.get(at).copied().flatten()
    }

    /// The text of a column, by its place.
    pub fn text(&self, at: usize) -> Option<&'a str> {
        self.fact(at).map(|fact| str::from_utf8(fact).unwrap_or("\u{fffd}"))
    }

    /// The number in a column, by its place.
    pub fn number(&self, at: usize) -> Option<i64> {
        number(self.fact(at)?)
    }

    /// The row without its last `count` facts where all of them are NULL: as rows were written when there were none.
    pub fn without_last_if_null(&self, count: usize) -> Facts<'a> {
        let (first, last) = self.facts.split_at(self.facts.len().saturating_sub(count));
        let facts = if last.iter().all(Option::is_none) { first } else { &self.facts };
        Facts { stored: self.stored, facts: facts.to_vec() }
    }

    /// The digest that is stored with the row.
    pub const fn stored(&self) -> i64 {
        self.stored
    }

    /// The digest that the row must have.
    pub fn digest(&self) -> i64 {
        digest_of(&self.facts)
    }

    /// The digest that the row must have with the facts behind them.
    pub fn digest_with(&self, others: &[Facts<'_>]) -> i64 {
        let others = others.iter().flat_map(|other| other.facts.iter().skip(1));
        digest_of(&self.facts.iter().chain(others).copied().collect::<Vec<_>>())
    }
}

fn digest_of(facts: &[Option<&[u8]>]) -> i64 {
    const USUAL: usize = 512;
    let mut bytes = Vec::with_capacity(USUAL);
    for fact in facts {
        let length = fact.map_or(0, <[u8]>::len) + 1;
        bytes.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        bytes.push(if fact.is_some() { b'+' } else { b'-' });
        bytes.extend_from_slice(fact.unwrap_or_default());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(&bytes)[..8]);
    i64::from_be_bytes(first)
}

fn number(text: &[u8]) -> Option<i64> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// Takes one fact, which may be NULL; `None` when there is none or it is not of that form.
fn next_fact<'a>(rows: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let colon = rows.iter().position(|byte| *byte == b':')?;
    let (length, rest) = (&rows[..colon], &rows[colon + 1..]);
    if length.is_empty() {
        *rows = rest;
        return Some(None);
    }
    let (fact, rest) = rest.split_at_checked(str::from_utf8(length).ok()?.parse().ok()?)?;
    *rows = rest;
    Some(Some(fact))
}

/// The bytes of a text in a column of a row.
pub(super) fn bytes(row: &Row, at: usize) -> &[u8] {
    match row {
        Row::Sqlite(row) => row.get::<Option<&[u8]>, _>(at).unwrap_or_default(),
        Row::Postgres(row) => row.get::<Option<&str>, _>(at).unwrap_or_default().as_bytes(),
    }
}

/// A text in a column of a row, as far as it is one; `None` is NULL.
pub(super) fn text(row: &Row, at: usize) -> Option<String> {
    let is_null = match row {
        Row::Sqlite(row) => row.get::<Option<&[u8]>, _>(at).is_none(),
        Row::Postgres(row) => row.get::<Option<&str>, _>(at).is_none(),
    };
    (!is_null).then(|| String::from_utf8_lossy(bytes(row, at)).into_owned())
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
        let mut rows = "2:-74:acme:0:2:-12:é:1:93:one2:é".as_bytes();
        let first = Facts::next(&mut rows, 6).expect("a row");
        let texts: Vec<Option<&str>> = (0..6).map(|at| first.text(at)).collect();
        assert_eq!((first.stored(), texts), (-7, vec![Some("acme"), None, Some(""), Some("-1"), Some("é"), None]));
        assert_eq!((first.number(3), first.number(0), first.number(9)), (Some(-1), None, None));
        let second = Facts::next(&mut rows, 2).expect("a row");
        assert_eq!((second.stored(), second.text(0), second.text(1)), (9, Some("one"), Some("é")));
        for mut broken in ["", "1:", "1:x1:a", ":1:a", "1:9", "1:94:acm", "1:9x:acme", "1:9-1:x"].map(str::as_bytes) {
            assert!(Facts::next(&mut broken, 1).is_none(), "{broken:?}");
        }
    }

    #[test]
    fn what_is_no_text_has_a_digest_too() {
        let one = Facts::next(&mut &b"1:02:\xff\xfe"[..], 1).expect("facts");
        let other = Facts::next(&mut &b"1:02:\xff\xfd"[..], 1).expect("facts");
        assert_ne!(one.digest(), other.digest());
        assert_eq!(one.text(0), Some("\u{fffd}"));
    }

    /// Two definitions, one digest.
    #[test]
    fn what_the_writers_compute_is_what_is_defined_here() {
        let written = digest!("acme", None::<String>, Credits::new(1_500), Instant::from_micros(-1), true, "", "é");
        let facts = Facts::next(&mut "1:04:acme:4:15002:-11:10:2:é".as_bytes(), 7).expect("facts");
        assert_eq!(facts.digest(), written);
    }
}
