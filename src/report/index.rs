//! The index of a folder with one report per account: what was asked, and which file is whose, with its lines and its
//! SHA-256. As JSON for the next run and other programs, as CSV for a spreadsheet, as a page for people.

use super::{Format, Rendered};
use crate::core::calendar::Instant;
use crate::core::counting::{counted, grouped};
use crate::core::ids::AccountId;
use crate::core::statement::{Breakdown, Column, Grouping, LocalTime, ReportSpec};
use crate::report::wording::{days, filter_said, listed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use tera::{Context, Tera};

/// The form of the index and of a run's notes.
pub const SCHEMA: &str = "creditd.report-export/1";

/// The name ends in `.html`, which is what turns escaping on.
const TEMPLATE_NAME: &str = "report-index.html";
const TEMPLATE: &str = include_str!("../../templates/report-index.html");

/// Most accounts on the page: about 5 MB. The others have their files, and CSV and JSON have all.
const PAGE_ACCOUNTS_MAX: usize = 20_000;

/// What the files are. Runs that ask for the same make the same files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    schema: String,
    /// The program that made them: another version may write another file.
    creditd: String,
    /// Of which ledger: when it was made. Absent in what earlier versions noted.
    #[serde(default)]
    ledger: Option<Instant>,
    report: String,
    title: String,
    from: LocalTime,
    to: LocalTime,
    group_by: Grouping,
    breakdown: Option<Breakdown>,
    columns: Vec<Column>,
    /// Only transactions with one of the values of each; the empty text is for those without.
    #[serde(default)]
    filters: BTreeMap<String, Vec<String>>,
    /// Whether each is compared with the range before.
    #[serde(default)]
    compare: bool,
    format: Format,
    as_of: Instant,
}

impl Asked {
    /// The report named `report` as `spec` says, in `format`, of the ledger that was made at `ledger`.
    #[must_use]
    pub fn new(ledger: Instant, report: &str, spec: &ReportSpec, format: Format) -> Asked {
        let text =
            |(filter, values): (&str, Vec<&str>)| (filter.to_owned(), values.into_iter().map(str::to_owned).collect());
        Asked {
            schema: SCHEMA.to_owned(),
            creditd: env!("CARGO_PKG_VERSION").to_owned(),
            ledger: Some(ledger),
            report: report.to_owned(),
            title: spec.title().to_owned(),
            from: spec.range().from(),
            to: spec.range().to(),
            group_by: spec.grouping(),
            breakdown: spec.breakdown(),
            columns: spec.columns().to_vec(),
            filters: spec.filters().said().into_iter().map(text).collect(),
            compare: spec.before().is_some(),
            format,
            as_of: spec.as_of(),
        }
    }

    /// As of when all files read.
    #[must_use]
    pub const fn as_of(&self) -> Instant {
        self.as_of
    }

    /// Whether these are notes of ours that this version understands.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.schema == SCHEMA
    }

    /// Whether files of `self` are those that `other` asks for, whichever program made them.
    #[must_use]
    pub fn is_same_export(&self, other: &Asked) -> bool {
        *self == Asked { creditd: self.creditd.clone(), ..other.clone() }
    }

    /// Its filters in words; empty without any.
    fn only(&self) -> String {
        let said = |(filter, values): (&String, &Vec<String>)| filter_said(filter, values.iter().map(String::as_str));
        listed(&self.filters.iter().map(said).collect::<Vec<_>>())
    }

    /// Where the file of `account` is, within the folder. Every account has a name of its own, also where the case of letters
    /// makes no difference; none is hidden, begins with a sign, or is a word that a system keeps for itself.
    #[must_use]
    pub fn file_name(&self, account: &AccountId) -> String {
        let id = account.as_str();
        let capitals = id.bytes().zip(0_u32..).filter(|(letter, _)| letter.is_ascii_uppercase());
        let capitals = capitals.fold(0_u64, |mask, (_, at)| mask | 1 << at);
        let capitals = if capitals == 0 { String::new() } else { format!("~{capitals:x}") };
        format!("account-{id}{capitals}.{}", self.format.extension())
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Asked { report, from, to, group_by, format, as_of, .. } = self;
        let by = self.breakdown.map_or(group_by.to_string(), |breakdown| format!("{group_by},{breakdown}"));
        write!(f, "{report} from {from} to {to} by {by}")?;
        if !self.filters.is_empty() {
            write!(f, " with {}", self.only())?;
        }
        if self.compare {
            f.write_str(" with a comparison")?;
        }
        write!(f, " as {format}, as of {as_of}")?;
        self.ledger.map_or(Ok(()), |made| write!(f, ", of the ledger made at {made}"))
    }
}

/// What became of the report of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is in its file.
    File {
        /// Lines of the report.
        lines: u64,
        /// SHA-256 of the file.
        sha256: [u8; 32],
    },
    /// There is no file, and why.
    Nothing(String),
}

/// One line of the index.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    account: AccountId,
    file: Option<String>,
    lines: Option<u64>,
    sha256: Option<String>,
    problem: Option<String>,
}

impl Entry {
    /// What became of the report of `account`.
    #[must_use]
    pub fn new(asked: &Asked, account: &AccountId, made: &Made) -> Entry {
        let none = Entry { account: account.clone(), file: None, lines: None, sha256: None, problem: None };
        match made {
            Made::File { lines, sha256 } => Entry {
                file: Some(asked.file_name(account)),
                lines: Some(*lines),
                sha256: Some(sha256.iter().map(|byte| format!("{byte:02x}")).collect()),
                ..none
            },
            Made::Nothing(problem) => Entry { problem: Some(problem.clone()), ..none },
        }
    }

    /// Whose file there is, if there is one.
    #[must_use]
    pub fn made(self) -> Option<(AccountId, Made)> {
        let (lines, text) = (self.lines?, self.sha256?);
        let mut sha256 = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, at) in sha256.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some((self.account, Made::File { lines, sha256 }))
    }
}

/// The whole index as it is read back.
#[derive(Debug, Deserialize)]
pub struct Index {
    /// What the files are.
    pub export: Asked,
    /// Whose they are.
    pub files: Vec<Entry>,
}

/// Writes the index as JSON, one account per line.
///
/// # Errors
/// Those of `out`.
pub fn write_json(out: &mut impl Write, asked: &Asked, made: &BTreeMap<AccountId, Made>) -> std::io::Result<()> {
    write!(out, "{{\"schema\":\"{SCHEMA}\",\n\"export\":")?;
    serde_json::to_writer(&mut *out, asked)?;
    write!(out, ",\n\"files\":[")?;
    for (at, (account, made)) in made.iter().enumerate() {
        out.write_all(if at == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &Entry::new(asked, account, made))?;
    }
    writeln!(out, "\n]}}")
}

/// Writes the index as CSV.
///
/// # Errors
/// Those of `out`.
pub fn write_csv(out: &mut impl Write, asked: &Asked, made: &BTreeMap<AccountId, Made>) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(["account", "file", "lines", "sha256", "problem"])?;
    for (account, made) in made {
        let Entry { account, file, lines, sha256, problem } = Entry::new(asked, account, made);
        let account = super::csv::neutral(account.as_str()).into_owned();
        let lines = lines.map(|lines| lines.to_string());
        let problem = problem.map(|problem| super::csv::neutral(&problem).into_owned());
        let fields = [Some(account), file, lines, sha256, problem].map(Option::unwrap_or_default);
        writer.write_record(fields)?;
    }
    Ok(writer.flush()?)
}

#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    period: String,
    as_of: String,
    /// What was left out, in words; empty when nothing was.
    filters: String,
    files: String,
    lines: String,
    rows: Vec<PageRow>,
    /// What is not on the page.
    more: Option<String>,
}

#[derive(Serialize)]
struct PageRow {
    account: String,
    file: Option<String>,
    lines: String,
    sha256: String,
    problem: Option<String>,
}

/// The index as a page with links.
///
/// # Errors
/// A defect of creditd.
pub fn page(asked: &Asked, made: &BTreeMap<AccountId, Made>) -> Rendered {
    let lines = |made: &Made| if let Made::File { lines, .. } = made { Some(*lines) } else { None };
    let row = |(account, made): (&AccountId, &Made)| {
        let Entry { account, file, lines, sha256, problem } = Entry::new(asked, account, made);
        let lines = lines.map(grouped).unwrap_or_default();
        PageRow { account: account.to_string(), file, lines, sha256: sha256.unwrap_or_default(), problem }
    };
    let range = crate::core::statement::DateRange::new(asked.from, asked.to)?;
    let more = made.len().saturating_sub(PAGE_ACCOUNTS_MAX);
    let page = Page {
        title: &asked.title,
        period: days(range),
        as_of: asked.as_of.to_utc().format("%-d %B %Y, %H:%M:%S UTC").to_string(),
        filters: asked.only(),
        files: counted(made.values().filter_map(lines).count() as u64, "file"),
        lines: counted(made.values().filter_map(lines).sum::<u64>(), "line"),
        rows: made.iter().take(PAGE_ACCOUNTS_MAX).map(row).collect(),
        more: (more > 0).then(|| format!("{} more are in index.csv and index.json.", counted(more as u64, "account"))),
    };
    let mut tera = Tera::default();
    tera.add_raw_template(TEMPLATE_NAME, TEMPLATE)?;
    Ok(tera.render(TEMPLATE_NAME, &Context::from_serialize(&page)?)?.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::Filters;
    use crate::report::testing::statement;
    use proptest::prelude::*;

    const LEDGER: Instant = Instant::from_micros(1_767_225_600_000_000);

    fn asked() -> Asked {
        Asked::new(LEDGER, "statement-monthly", &statement().spec, Format::Html)
    }

    proptest! {
        #[test]
        fn every_account_has_a_file_of_its_own_within_the_folder(
            ids in prop::collection::btree_set("[abAB.-]{1,4}|[A-Za-z0-9._-]{1,64}", 2..40),
        ) {
            let names: Vec<String> =
                ids.iter().map(|id| asked().file_name(&id.parse().expect("an id")).to_lowercase()).collect();
            let apart: std::collections::BTreeSet<&String> = names.iter().collect();
            prop_assert_eq!(apart.len(), ids.len(), "also where case makes no difference");
            for name in &names {
                prop_assert!(name.starts_with("account-") && name.ends_with(".html") && name.len() < 120);
                prop_assert!(!name.contains(['/', '\\', ':', ' ']));
            }
        }
    }

    #[test]
    fn names_are_readable() {
        let name = |id: &str| asked().file_name(&id.parse().expect("an id"));
        assert_eq!((name("acme").as_str(), name("Acme").as_str()), ("account-acme.html", "account-Acme~1.html"));
        assert_eq!((name("..").as_str(), name("-rf").as_str()), ("account-...html", "account--rf.html"));
    }

    #[test]
    fn an_index_is_read_back_and_cannot_run() {
        let file = Made::File { lines: 3, sha256: [0xab; 32] };
        let made: BTreeMap<AccountId, Made> = [("-1", file), ("b", Made::Nothing("=<b>too much</b>".to_owned()))]
            .map(|(id, made)| (id.parse().expect("an id"), made))
            .into();
        let mut json = Vec::new();
        write_json(&mut json, &asked(), &made).expect("a vector takes everything");
        let read: Index = serde_json::from_slice(&json).expect("an index");
        assert_eq!(read.export, asked());
        let files: Vec<_> = read.files.into_iter().filter_map(Entry::made).collect();
        assert_eq!(files, [("-1".parse().expect("an id"), Made::File { lines: 3, sha256: [0xab; 32] })]);

        let mut csv = Vec::new();
        write_csv(&mut csv, &asked(), &made).expect("a vector takes everything");
        let csv = String::from_utf8(csv).expect("UTF-8");
        assert!(csv.contains("\n'-1,account--1.html,3,abab") && csv.contains("\nb,,,,'=<b>too much</b>"), "{csv}");

        let page = String::from_utf8(page(&asked(), &made).expect("it renders")).expect("UTF-8");
        assert!(page.contains("href=\"account--1.html\"") && page.contains("=&lt;b&gt;too much"), "{page}");
        assert!(page.contains("1 file") && !page.contains("<script"));
    }

    #[test]
    fn a_change_of_what_is_asked_is_another_export() {
        let (one, mut other) = (asked(), asked());
        other.creditd = "0.0.1".to_owned();
        assert!(one.is_same_export(&other) && one != other);
        other.format = Format::Csv;
        assert!(!one.is_same_export(&other));
        let other = Asked::new(LEDGER.plus_seconds(1), "statement-monthly", &statement().spec, Format::Html);
        assert!(!one.is_same_export(&other), "another ledger has other figures");
        let filters = Filters { users: vec!["ann".parse().ok(), None], ..Filters::default() };
        let spec = statement().spec.with_breakdown(Some(Breakdown::Action)).with_filters(filters).expect("a breakdown");
        let spec = spec.with_comparison(true).expect("years that are known");
        let filtered = Asked::new(LEDGER, "usage-by-action", &spec, Format::Csv);
        insta::assert_snapshot!(filtered, @"usage-by-action from 2026-03-01 to 2026-04-01 by range,action with user ann or none with a comparison as csv, as of 2026-04-02T06:00:00Z, of the ledger made at 2026-01-01T00:00:00Z");
        let page = String::from_utf8(page(&filtered, &BTreeMap::new()).expect("it renders")).expect("UTF-8");
        assert!(page.contains("<dt>Only</dt><dd>user ann or none</dd>"), "{page}");
        let plain = Asked { filters: BTreeMap::new(), compare: false, ..filtered.clone() };
        assert!(!filtered.is_same_export(&plain));
        insta::assert_snapshot!(one, @"statement-monthly from 2026-03-01 to 2026-04-01 by range as html, as of 2026-04-02T06:00:00Z, of the ledger made at 2026-01-01T00:00:00Z");
    }
}
