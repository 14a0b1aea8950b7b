//! The sealed ledger: which recorded days are written to files, and the chain of manifests that says what is in them
//! (DESIGN 8).
//!
//! Rows are recorded in the order of their numbers, so what an account has recorded until the end of a day is its rows up
//! to some number, and never changes. A [`Manifest`] describes one part of the ledger: every row that was recorded before
//! the end of its days and that no earlier part has. It names the manifest before it by its hash, so whoever knows the last
//! one can prove them all. A part that joins others replaces them; their manifests stay in the chain.

use super::calendar::{Instant, Month, next_day};
use super::credits::{Credits, Split};
use super::ids::AccountId;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;

/// The form of manifests and of the files that they describe.
pub const FORM: &str = "creditd.sealed/1";

/// Days of UTC on which rows were recorded: `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordedDays {
    /// The first.
    pub from: NaiveDate,
    /// The first after them.
    pub to: NaiveDate,
}

impl RecordedDays {
    /// The instant at which they begin.
    #[must_use]
    pub fn begin(self) -> Instant {
        Instant::from_micros(self.from.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
    }

    /// The instant at which they are over.
    #[must_use]
    pub fn end(self) -> Instant {
        Instant::from_micros(self.to.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
    }

    /// True when they are a month, to the day.
    #[must_use]
    pub fn is_month(self) -> bool {
        let month = Month::of(self.from);
        self.from == month.first_day() && self.to == month.next().first_day()
    }
}

impl fmt::Display for RecordedDays {
    /// `2026-03` for a month, `2026-03-05` for a day, else `2026-03-05-to-2026-03-09`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            days if days.is_month() => f.pad(&Month::of(days.from).to_string()),
            days if next_day(days.from) == days.to => f.pad(&days.from.to_string()),
            days => f.pad(&format!("{}-to-{}", days.from, days.to)),
        }
    }
}

/// What a file must be to be the one that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    /// Its name, without a folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of what is in it, in hexadecimal digits.
    pub sha256: String,
}

/// What is in one part of the sealed ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORM`].
    pub form: String,
    /// 1, 2, 3, ... in the order in which parts were made.
    pub number: u64,
    /// The hash of the manifest before this one; none before the first.
    pub previous: Option<String>,
    /// The days on which its rows were recorded. A row that became known to the database late is in the part after.
    pub days: RecordedDays,
    /// The parts whose rows are in this one instead.
    pub replaces: Vec<u64>,
    /// How many rows.
    pub rows: u64,
    /// The sum of their changes, free.
    pub free: i64,
    /// The sum of their changes, purchased.
    pub purchased: i64,
    /// The first instant at which one of them counts in statements.
    pub earliest: Instant,
    /// The last such instant.
    pub latest: Instant,
    /// The rows, as they stand in the table of transactions, in order of account and time.
    pub log: FileFacts,
    /// Every account with a row in this part or one before: its last number there, and its balance with that row.
    pub balances: FileFacts,
}

impl Manifest {
    /// The text that is kept in the file and in the database, and hashed: the same facts give the same bytes.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The hash by which the next manifest names this one.
    #[must_use]
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.text().as_bytes()))
    }

    /// The name of its own file.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.json", self.log.name.trim_end_matches(".log.parquet"))
    }

    /// The sum of the changes.
    #[must_use]
    pub const fn delta(&self) -> Split {
        Split { free: Credits::new(self.free), purchased: Credits::new(self.purchased) }
    }
}

/// Some rows of an account, by their numbers: those behind `after` until `through`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeqRange {
    /// Whose.
    pub account_id: AccountId,
    /// The row behind which they begin; 0 for the first.
    pub after: i64,
    /// The last of them.
    pub through: i64,
}

impl SeqRange {
    /// How many rows.
    #[must_use]
    pub const fn rows(&self) -> i64 {
        self.through.saturating_sub(self.after)
    }

    /// `ranges`, in batches of at most `most` rows. One that has more is cut, and all pieces but the last are alone, so that
    /// nobody who reads a piece has to read the whole.
    #[must_use]
    pub fn batches(ranges: Vec<SeqRange>, most: i64) -> Vec<Vec<SeqRange>> {
        let (mut batches, mut batch, mut rows) = (Vec::new(), Vec::new(), 0);
        for mut range in ranges {
            if rows + range.rows() > most {
                batches.push(std::mem::take(&mut batch));
                rows = 0;
            }
            while range.rows() > most {
                let through = range.after + most;
                batches.push(vec![SeqRange { account_id: range.account_id.clone(), after: range.after, through }]);
                range.after = through;
            }
            rows += range.rows();
            batch.push(range);
        }
        batches.push(batch);
        batches
    }
}

/// What the files of a part are called, without an ending. `sha256` is that of its rows: of two who write a part at once and
/// find other rows, neither writes over the files of the other.
#[must_use]
pub fn name_of(number: u64, days: RecordedDays, sha256: &str) -> String {
    format!("{number:06}-{days}-{}", sha256.get(..8).unwrap_or(sha256))
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why manifests are no chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// A part is missing or twice.
    #[error("part {expected} of the sealed ledger is missing: part {found} follows the one before it")]
    Number {
        /// The number that should come.
        expected: u64,
        /// The number that comes.
        found: u64,
    },
    /// A manifest does not name the one before it.
    #[error("the manifest of part {number} does not name the one before it: one of the two was changed")]
    Hash {
        /// The part.
        number: u64,
    },
    /// A manifest of another version of creditd.
    #[error("the manifest of part {number} has the form {form:?}; this creditd knows {FORM:?}")]
    Form {
        /// The part.
        number: u64,
        /// What it says.
        form: String,
    },
}

/// The manifests of a ledger, in order, each naming the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain(Vec<Manifest>);

impl Chain {
    /// These manifests.
    ///
    /// # Errors
    /// [`BrokenChain`] for the first that does not follow the one before it.
    pub fn new(manifests: Vec<Manifest>) -> Result<Chain, BrokenChain> {
        let mut previous = None;
        for (manifest, expected) in manifests.iter().zip(1..) {
            let Manifest { number, form, .. } = manifest;
            if *number != expected {
                return Err(BrokenChain::Number { expected, found: *number });
            }
            if form != FORM {
                return Err(BrokenChain::Form { number: *number, form: form.chars().take(64).collect() });
            }
            if manifest.previous != previous {
                return Err(BrokenChain::Hash { number: *number });
            }
            previous = Some(manifest.hash());
        }
        Ok(Chain(manifests))
    }

    /// All manifests.
    #[must_use]
    pub fn manifests(&self) -> &[Manifest] {
        &self.0
    }

    /// The newest.
    #[must_use]
    pub fn last(&self) -> Option<&Manifest> {
        self.0.last()
    }

    /// The number and the `previous` of the part that comes next.
    #[must_use]
    pub fn next(&self) -> (u64, Option<String>) {
        (self.0.len() as u64 + 1, self.last().map(Manifest::hash))
    }

    /// Whether this manifest, whoever wrote it, names the one before it in this chain. The one that came may be another.
    #[must_use]
    pub fn is_followed_by(&self, manifest: &Manifest) -> bool {
        let before = manifest.number.checked_sub(2).and_then(|at| self.0.get(usize::try_from(at).ok()?));
        match manifest.number {
            0 => false,
            1 => manifest.previous.is_none(),
            _ => before.is_some_and(|before| manifest.previous == Some(before.hash())),
        }
    }

    /// The parts that hold the rows, in the order of their days: all but those that were replaced.
    #[must_use]
    pub fn parts(&self) -> Vec<&Manifest> {
        let replaced: BTreeSet<u64> = self.0.iter().flat_map(|manifest| manifest.replaces.iter().copied()).collect();
        let mut parts: Vec<&Manifest> = self.0.iter().filter(|part| !replaced.contains(&part.number)).collect();
        parts.sort_by_key(|part| part.days);
        parts
    }

    /// What is to be sealed next at the beginning of `today`, when the first row was recorded on `first`: the days from where
    /// the last part ends until yesterday, or until the end of the month in which they begin.
    #[must_use]
    pub fn days_to_seal(&self, first: NaiveDate, today: NaiveDate) -> Option<RecordedDays> {
        let from = self.0.iter().map(|part| part.days.to).max().unwrap_or(first);
        let to = Month::of(from).next().first_day().min(today);
        (from < to).then_some(RecordedDays { from, to })
    }

    /// The parts that are to be joined into one: those of the first month of which all days are sealed and that has more than
    /// one.
    #[must_use]
    pub fn parts_to_join(&self) -> Vec<&Manifest> {
        let sealed_to = self.0.iter().map(|part| part.days.to).max();
        let parts = self.parts();
        let months = parts.chunk_by(|one, other| Month::of(one.days.from) == Month::of(other.days.from));
        let mut whole = months.filter(|parts| {
            let month = Month::of(parts[0].days.from);
            parts.len() > 1 && Some(month.next().first_day()) <= sealed_to
        });
        whole.next().map(<[&Manifest]>::to_vec).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::parse_date;
    use proptest::prelude::*;

    fn day(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    fn manifest(chain: &Chain, days: RecordedDays, replaces: Vec<u64>) -> Manifest {
        let (number, previous) = chain.next();
        let file = || FileFacts { name: String::new(), bytes: 0, sha256: String::new() };
        let (earliest, latest) = (Instant::MIN, Instant::MIN);
        let (log, balances, form) = (file(), file(), FORM.to_owned());
        Manifest {
            form,
            number,
            previous,
            days,
            replaces,
            rows: 1,
            free: 0,
            purchased: 0,
            earliest,
            latest,
            log,
            balances,
        }
    }

    /// Seals and joins all there is at the beginning of a day.
    fn sealed(mut chain: Chain, first: &str, today: &str) -> Chain {
        loop {
            let joined = chain.parts_to_join();
            let next = match chain.days_to_seal(day(first), day(today)) {
                Some(days) => manifest(&chain, days, vec![]),
                None if joined.is_empty() => return chain,
                None => {
                    let days = RecordedDays { from: joined[0].days.from, to: joined[joined.len() - 1].days.to };
                    manifest(&chain, days, joined.iter().map(|part| part.number).collect())
                }
            };
            let mut manifests = chain.0;
            manifests.push(next);
            chain = Chain::new(manifests).expect("a chain");
        }
    }

    fn shown(chain: &Chain) -> String {
        chain.parts().iter().map(|part| format!("{}:{}", part.number, part.days)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn whole_months_are_sealed_at_once_and_days_one_by_one() {
        let chain = sealed(Chain::default(), "2026-01-20", "2026-03-03");
        insta::assert_snapshot!(shown(&chain), @"1:2026-01-20-to-2026-02-01 2:2026-02 3:2026-03-01-to-2026-03-03");
        let chain = sealed(chain, "2026-01-20", "2026-03-04");
        let chain = sealed(chain, "2026-01-20", "2026-03-05");
        insta::assert_snapshot!(shown(&chain), @"1:2026-01-20-to-2026-02-01 2:2026-02 3:2026-03-01-to-2026-03-03 4:2026-03-03 5:2026-03-04");
        let chain = sealed(chain, "2026-01-20", "2026-04-02");
        insta::assert_snapshot!(shown(&chain), @"1:2026-01-20-to-2026-02-01 2:2026-02 8:2026-03 7:2026-04-01");
    }

    #[test]
    fn a_manifest_that_was_changed_breaks_the_chain() {
        let chain = sealed(Chain::default(), "2026-01-20", "2026-04-02");
        let mut manifests = chain.0.clone();
        manifests[1].free = 1;
        insta::assert_snapshot!(Chain::new(manifests).expect_err("changed"), @"the manifest of part 3 does not name the one before it: one of the two was changed");
        let mut manifests = chain.0.clone();
        manifests.remove(1);
        insta::assert_snapshot!(Chain::new(manifests).expect_err("missing"), @"part 2 of the sealed ledger is missing: part 3 follows the one before it");
    }

    proptest! {
        #[test]
        fn batches_hold_every_row_once_and_no_more_than_they_may(sizes in prop::collection::vec(0_i64..30, 0..12), most in 1_i64..12) {
            let id = |at: usize| format!("a{at}").parse::<AccountId>().expect("an id");
            let range = |(at, rows): (usize, &i64)| SeqRange { account_id: id(at), after: 7, through: 7 + rows };
            let ranges: Vec<SeqRange> = sizes.iter().enumerate().map(range).collect();
            let batches = SeqRange::batches(ranges, most);
            prop_assert!(batches.iter().all(|batch| batch.iter().map(SeqRange::rows).sum::<i64>() <= most));
            for (at, rows) in sizes.iter().enumerate() {
                let of_account = batches.iter().flatten().filter(|range| range.account_id == id(at));
                let seqs: Vec<i64> = of_account.flat_map(|range| range.after + 1..=range.through).collect();
                prop_assert_eq!(seqs, (8..=7 + rows).collect::<Vec<i64>>());
            }
        }

        #[test]
        fn parts_tile_the_days_however_often_it_is_looked(gaps in prop::collection::vec(0_u64..45, 1..20)) {
            let first = day("2026-01-20");
            let (mut chain, mut today) = (Chain::default(), first);
            for gap in gaps {
                today = today + chrono::Days::new(gap);
                chain = sealed(chain, "2026-01-20", &today.to_string());
                let parts = chain.parts();
                prop_assert_eq!(parts.first().map_or(today, |part| part.days.from), first);
                prop_assert_eq!(parts.last().map_or(first, |part| part.days.to), today);
                for (one, next) in parts.iter().zip(parts.iter().skip(1)) {
                    prop_assert_eq!(one.days.to, next.days.from);
                }
                let whole = parts.iter().filter(|part| Month::of(part.days.from) < Month::of(today));
                let months: Vec<Month> = whole.map(|part| Month::of(part.days.from)).collect();
                prop_assert!(months.windows(2).all(|two| two[0] < two[1]), "one part for each month that is over");
            }
        }
    }
}
