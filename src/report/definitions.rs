//! Which reports there are: TOML files, built in from `reports/`, added to or overridden file by file by an
//! operator's directory. A new report needs no code.
//!
//! A definition says what a report is when nothing else is asked; [`Definition::resolve`] puts what was asked over it.

use super::Format;
use crate::core::calendar::{Instant, Month, next_day};
use crate::core::ids::clean_text;
use crate::core::statement::{Breakdown, Column, DateRange, Grouping, LocalTime, ReportError, ReportSpec, Scope};
use crate::core::transaction::words;
use chrono::{Datelike, Days, NaiveDate};
use include_dir::{Dir, include_dir};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/reports");

/// Largest definition file: fifty times the largest that makes sense.
const FILE_BYTES_MAX: u64 = 64 * 1024;

words! {
    /// The range of a report when none is asked for, seen from today. All but the finished ones end with today.
    DefaultRange {
        /// Today so far.
        Today = "today",
        /// The day before today.
        Yesterday = "yesterday",
        /// Today and the six days before.
        Last7Days = "last-7-days",
        /// Today and the 29 days before.
        Last30Days = "last-30-days",
        /// This month so far.
        ThisMonth = "this-month",
        /// The month before this one.
        LastMonth = "last-month",
        /// This year so far.
        ThisYear = "this-year",
        /// The year before this one.
        LastYear = "last-year",
        /// None: whoever wants the report says which range.
        Custom = "custom",
    }
}

/// Why a report definition cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The operator's directory or a file in it.
    #[error("cannot read {path}: {source}; it holds the report definitions you configured", path = path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it could not be.
        source: std::io::Error,
    },
    /// A file that is not a definition.
    #[error("{file}, line {line}: {message}")]
    Invalid {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong, and the nearest word that would be right.
        message: String,
    },
    /// A name without a definition.
    #[error("there is no report {name:?}; {hint}")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest name that exists, or how to see all.
        hint: String,
    },
    /// A report without a range.
    #[error("the report {0:?} has no range of its own: say --from and, if it does not end with today, --to")]
    NoRange(String),
    /// A report that ends but does not begin.
    #[error("--to needs --from: the first day of the range")]
    NoBeginning,
    /// What was asked makes no report.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// One report that can be asked for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The name of its file, without `.toml`.
    pub name: String,
    /// The heading of the report.
    pub title: String,
    /// What it is for, in a sentence.
    pub description: String,
    /// Whom it is about.
    pub scope: Scope,
    /// Which days, when not asked.
    pub range: DefaultRange,
    /// How long a period is.
    pub group_by: Grouping,
    /// By what the use of credits in a period is broken down; without it the report is a statement.
    pub breakdown: Option<Breakdown>,
    /// Which columns, in order; `None` for all that such a report has.
    pub columns: Option<Vec<Column>>,
    /// The formats it is made for, the usual one first; never empty. Every report can be had in every format.
    pub formats: Vec<Format>,
}

/// What was asked of a report beside its name. What is not asked stays as defined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// First day, or the time within it.
    pub from: Option<LocalTime>,
    /// First day after the range, or the time within it; without it the range ends with today.
    pub to: Option<LocalTime>,
    /// How long a period is.
    pub group_by: Option<Grouping>,
    /// By what it is broken down. A report by something else than it was defined for has all columns.
    pub breakdown: Option<Breakdown>,
    /// Whom it is about.
    pub scope: Option<Scope>,
    /// Which columns, in order.
    pub columns: Option<Vec<Column>>,
}

/// A definition as it stands in its file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: Spanned<String>,
    description: Spanned<String>,
    scope: Scope,
    range: DefaultRange,
    group_by: Grouping,
    breakdown: Option<Breakdown>,
    columns: Option<Spanned<Vec<Column>>>,
    formats: Spanned<Vec<Format>>,
}

impl Definition {
    /// Reads one file. `file` names it in errors.
    fn parse(name: &str, file: &str, text: &str) -> Result<Definition, DefinitionError> {
        let invalid = |offset: usize, message: String| DefinitionError::Invalid {
            file: file.to_owned(),
            line: 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count(),
            message,
        };
        let read: File = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            invalid(offset, format!("{}{}", error.message(), did_you_mean(error.message())))
        })?;
        for (what, line) in [("the title", &read.title), ("the description", &read.description)] {
            let clean = clean_text(what, line.get_ref());
            clean.map_err(|error| invalid(line.span().start, error.to_string()))?;
        }
        let formats = read.formats.get_ref();
        if formats.is_empty() {
            return Err(invalid(read.formats.span().start, "formats needs at least one".to_owned()));
        }
        if let Some((_, twice)) = formats.iter().enumerate().find(|(at, format)| formats[..*at].contains(format)) {
            return Err(invalid(read.formats.span().start, format!("formats has {twice} twice")));
        }
        let definition = Definition {
            name: name.to_owned(),
            title: read.title.into_inner(),
            description: read.description.into_inner(),
            scope: read.scope,
            range: read.range,
            group_by: read.group_by,
            breakdown: read.breakdown,
            columns: read.columns.as_ref().map(|columns| columns.get_ref().clone()),
            formats: read.formats.into_inner(),
        };
        if let Some(columns) = read.columns {
            let any_day = DateRange::of_month(Month::of(NaiveDate::default()))?;
            let spec = ReportSpec::new("", any_day, Grouping::Range, definition.scope, Instant::MIN)?;
            let checked = spec.with_breakdown(definition.breakdown).with_columns(columns.get_ref().clone());
            checked.map_err(|error| invalid(columns.span().start, error.to_string()))?;
        }
        Ok(definition)
    }

    /// Reads the file at `path`, whose name is the report's.
    ///
    /// # Errors
    /// [`DefinitionError`] naming the file, the line and what would be right.
    pub fn read(path: &Path) -> Result<Definition, DefinitionError> {
        let read = std::fs::metadata(path).and_then(|meta| match meta.len() {
            ..=FILE_BYTES_MAX => std::fs::read_to_string(path),
            _ => Err(std::io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes"))),
        });
        let text = read.map_err(|source| DefinitionError::Read { path: path.to_owned(), source })?;
        Definition::parse(&name_of(path), &path.display().to_string(), &text)
    }

    /// The report as asked for: this definition with `asked` over it, seen from `today`, as the ledger read at `as_of`.
    ///
    /// # Errors
    /// [`DefinitionError`] when no range follows, or one that makes no report.
    pub fn resolve(&self, asked: &Overrides, today: NaiveDate, as_of: Instant) -> Result<ReportSpec, DefinitionError> {
        let range = match (asked.from, asked.to) {
            (Some(from), to) => DateRange::new(from, to.unwrap_or(next_day(today).into()))?,
            (None, Some(_)) => return Err(DefinitionError::NoBeginning),
            (None, None) => self.default_range(today)?.ok_or_else(|| DefinitionError::NoRange(self.name.clone()))?,
        };
        let group_by = asked.group_by.unwrap_or(self.group_by);
        let spec = ReportSpec::new(&self.title, range, group_by, asked.scope.unwrap_or(self.scope), as_of)?;
        let breakdown = asked.breakdown.or(self.breakdown);
        let spec = spec.with_breakdown(breakdown);
        let own = self.columns.as_ref().filter(|_| breakdown == self.breakdown);
        Ok(asked.columns.as_ref().or(own).map_or(Ok(spec.clone()), |columns| spec.with_columns(columns.clone()))?)
    }

    fn default_range(&self, today: NaiveDate) -> Result<Option<DateRange>, ReportError> {
        let (month, tomorrow) = (Month::of(today), next_day(today));
        let first_of_year = |year: i32| Month::new(year, 1).map(Month::first_day);
        let (from, to) = match self.range {
            DefaultRange::Today => (today, tomorrow),
            DefaultRange::Yesterday => (today - Days::new(1), today),
            DefaultRange::Last7Days => (tomorrow - Days::new(7), tomorrow),
            DefaultRange::Last30Days => (tomorrow - Days::new(30), tomorrow),
            DefaultRange::ThisMonth => (month.first_day(), tomorrow),
            DefaultRange::LastMonth => (month.previous().first_day(), month.first_day()),
            DefaultRange::ThisYear => (first_of_year(today.year())?, tomorrow),
            DefaultRange::LastYear => (first_of_year(today.year() - 1)?, first_of_year(today.year())?),
            DefaultRange::Custom => return Ok(None),
        };
        DateRange::new(from, to).map(Some)
    }
}

/// All reports that can be asked for, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definitions(BTreeMap<String, Definition>);

impl Definitions {
    /// The built-in definitions, and over them the `.toml` files of the operator's directory `dir`.
    ///
    /// # Errors
    /// [`DefinitionError`] naming the file, the line and what would be right.
    pub fn load(dir: Option<&Path>) -> Result<Definitions, DefinitionError> {
        let mut all = BTreeMap::new();
        for file in BUILT_IN.files() {
            let text = file.contents_utf8().unwrap_or_default();
            let shown = format!("built-in {}", file.path().display());
            let definition = Definition::parse(&name_of(file.path()), &shown, text)?;
            all.insert(definition.name.clone(), definition);
        }
        for path in dir.map(Definitions::files).transpose()?.unwrap_or_default() {
            let definition = Definition::read(&path)?;
            all.insert(definition.name.clone(), definition);
        }
        Ok(Definitions(all))
    }

    /// The operator's files in `dir`, sorted, so that the first error is always the same one.
    ///
    /// # Errors
    /// [`DefinitionError::Read`] when the directory cannot be read.
    pub fn files(dir: &Path) -> Result<Vec<PathBuf>, DefinitionError> {
        let failed = |source| DefinitionError::Read { path: dir.to_owned(), source };
        let entries = std::fs::read_dir(dir).map_err(failed)?;
        let mut paths =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
        paths.sort();
        Ok(paths)
    }

    /// The report of this name.
    ///
    /// # Errors
    /// [`DefinitionError::Unknown`] with the nearest name.
    pub fn get(&self, name: &str) -> Result<&Definition, DefinitionError> {
        self.0.get(name).ok_or_else(|| {
            let hint = nearest(name, self.0.keys().map(String::as_str)).map_or_else(
                || "`creditd report list` shows all".to_owned(),
                |nearest| format!("did you mean {nearest:?}?"),
            );
            DefinitionError::Unknown { name: name.chars().take(64).collect(), hint }
        })
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.0.values()
    }
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// serde names the wrong word and the right ones in backticks; the nearest of these is the suggestion.
fn did_you_mean(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let nearest = quoted.next().and_then(|wrong| nearest(wrong, quoted));
    nearest.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}

/// The candidate with the fewest edits from `word`, if at most half of its letters differ.
fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let nearest = candidates.map(|candidate| (edits(word, candidate), candidate)).min()?;
    (nearest.0 * 2 <= nearest.1.chars().count()).then_some(nearest.1)
}

/// Levenshtein's distance.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, letter) in from.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (place, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::parse_date;

    fn parse(text: &str) -> Result<Definition, DefinitionError> {
        Definition::parse("mine", "reports/mine.toml", text)
    }

    const MINE: &str = r#"
title = "Mine"
description = "For me."
scope = "account"
range = "last-month"
group_by = "day"
formats = ["csv"]
"#;

    #[track_caller]
    fn refused(from: &str, to: &str) -> String {
        assert!(MINE.contains(from));
        parse(&MINE.replace(from, to)).expect_err("it is wrong").to_string()
    }

    #[test]
    fn built_in_reports_are_sound() {
        let all = Definitions::load(None).expect("they are ours");
        let names: Vec<&str> = all.iter().map(|definition| definition.name.as_str()).collect();
        insta::assert_snapshot!(names.join(" "), @"platform-daily platform-monthly statement-custom statement-daily statement-monthly usage-by-action usage-by-user");
        for definition in all.iter() {
            let asked = Overrides { from: "2026-01-01".parse().ok(), ..Overrides::default() };
            let today = parse_date("2026-03-15").expect("a date");
            definition.resolve(&asked, today, Instant::MAX).expect("a year at most");
            assert!(definition.description.ends_with('.'), "{}", definition.name);
        }
    }

    #[test]
    fn errors_name_the_file_the_line_and_the_word() {
        insta::assert_snapshot!(refused("title", "titel"), @"reports/mine.toml, line 2: unknown field `titel`, expected one of `title`, `description`, `scope`, `range`, `group_by`, `breakdown`, `columns`, `formats`; did you mean `title`?");
        insta::assert_snapshot!(refused("last-month", "last_month"), @"reports/mine.toml, line 5: unknown variant `last_month`, expected one of `today`, `yesterday`, `last-7-days`, `last-30-days`, `this-month`, `last-month`, `this-year`, `last-year`, `custom`; did you mean `last-month`?");
        insta::assert_snapshot!(refused("[\"csv\"]", "[\"csv\", \"xls\"]"), @"reports/mine.toml, line 7: unknown variant `xls`, expected one of `table`, `csv`, `json`, `ndjson`, `html`, `parquet`, `png`, `xlsx`; did you mean `xlsx`?");
        insta::assert_snapshot!(refused("[\"csv\"]", "[]"), @"reports/mine.toml, line 7: formats needs at least one");
        insta::assert_snapshot!(refused("scope = \"account\"\n", ""), @"reports/mine.toml, line 1: missing field `scope`");
        insta::assert_snapshot!(refused("For me.", "For\\nme."), @r"reports/mine.toml, line 3: the description has the character '\n'; allowed are all but control characters");
        insta::assert_snapshot!(refused("scope", "columns = [\"from\", \"from\"]\nscope"), @"reports/mine.toml, line 4: the columns of a report must be at least one, and each only once");
    }

    #[test]
    fn a_breakdown_is_checked_with_its_columns() {
        let by = |rest: &str| format!("breakdown = \"user\"\n{rest}scope");
        insta::assert_snapshot!(refused("scope", &by("columns = [\"user\", \"remaining\"]\n")), @"reports/mine.toml, line 5: a breakdown by user has no column remaining: by user there are consumed, refunded and the counts");
        insta::assert_snapshot!(refused("scope", "columns = [\"user\"]\nscope"), @"reports/mine.toml, line 4: a statement has no column user: a breakdown by it has");
        insta::assert_snapshot!(refused("scope", "breakdown = \"usr\"\nscope"), @"reports/mine.toml, line 4: unknown variant `usr`, expected one of `action`, `user`, `type`, `status`; did you mean `user`?");
        insta::assert_snapshot!(refused("[\"csv\"]", "[\"csv\", \"csv\"]"), @"reports/mine.toml, line 7: formats has csv twice");
        let fine = parse(&MINE.replace("scope", &by("columns = [\"user\", \"consumed\"]\n"))).expect("valid");
        assert_eq!((fine.breakdown, fine.columns.map(|columns| columns.len())), (Some(Breakdown::User), Some(2)));
    }

    /// The schema and the reader take the same keys and words: each word of the schema is read, each key that the reader
    /// knows is in the schema, and what the schema requires is required.
    #[test]
    fn the_schema_says_what_is_read() {
        let schema = crate::report::definition_schema();
        let properties = schema["properties"].as_object().expect("properties");
        let unknown = parse("nonsense = 1").expect_err("no such key").to_string();
        let known: std::collections::BTreeSet<&str> = unknown.split('`').skip(1).step_by(2).skip(1).take(8).collect();
        assert_eq!(known, properties.keys().map(String::as_str).collect(), "{unknown}");
        let required: Vec<&str> =
            schema["required"].as_array().expect("keys").iter().filter_map(serde_json::Value::as_str).collect();
        for key in MINE.lines().filter_map(|line| line.split(" = ").next()).filter(|key| !key.is_empty()) {
            let without: String =
                MINE.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
            assert!(required.contains(&key) && parse(&without).is_err(), "{key}");
        }
        let words = |value: &serde_json::Value| -> Vec<String> {
            value.as_array().expect("words").iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
        };
        let mut seen = 0;
        for (key, property) in properties {
            for word in property.get("enum").map(words).unwrap_or_default() {
                let own: String =
                    MINE.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
                parse(&format!("{own}{key} = \"{word}\"\n")).expect("a word of the schema");
                seen += 1;
            }
            for word in property["items"].get("enum").map(words).unwrap_or_default() {
                let column = Column::from_word(&word).and_then(Column::breakdown);
                let by = column.map(|by| format!("breakdown = \"{by}\"\n")).unwrap_or_default();
                let own: String =
                    MINE.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
                parse(&format!("{own}{by}{key} = [\"{word}\"]\n")).expect("a word of the schema");
                seen += 1;
            }
        }
        let all =
            [Scope::ALL.len(), DefaultRange::ALL.len(), Grouping::ALL.len(), Breakdown::ALL.len(), Column::ALL.len()];
        assert_eq!(seen, all.iter().sum::<usize>() + Format::ALL.len());
    }

    #[test]
    fn a_name_that_does_not_exist_suggests_one_that_does() {
        let all = Definitions::load(None).expect("they are ours");
        let error = all.get("statement-montly").expect_err("misspelt");
        insta::assert_snapshot!(error, @r#"there is no report "statement-montly"; did you mean "statement-monthly"?"#);
        insta::assert_snapshot!(all.get("xyz").expect_err("nothing like it"), @r#"there is no report "xyz"; `creditd report list` shows all"#);
    }

    #[test]
    fn an_operators_file_adds_or_overrides_a_report() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("mine.toml"), MINE).expect("writable");
        std::fs::write(dir.path().join("statement-daily.toml"), MINE).expect("writable");
        std::fs::write(dir.path().join("notes.txt"), "not a definition").expect("writable");
        let (own, all) = (Definitions::load(None).expect("ours"), Definitions::load(Some(dir.path())).expect("valid"));
        assert_eq!(all.iter().count(), own.iter().count() + 1);
        assert_eq!(all.get("statement-daily").expect("overridden").title, "Mine");
        std::fs::write(dir.path().join("bad.toml"), "title = 1").expect("writable");
        let error = Definitions::load(Some(dir.path())).expect_err("a bad file").to_string();
        assert!(error.contains("bad.toml, line 1: "), "{error}");
        assert!(matches!(Definitions::load(Some(&dir.path().join("none"))), Err(DefinitionError::Read { .. })));
    }

    #[test]
    fn default_ranges_are_seen_from_today() {
        let today = parse_date("2026-03-15").expect("a date");
        let shown: Vec<String> = DefaultRange::ALL
            .iter()
            .map(|range| {
                let definition = Definition { range: *range, ..parse(MINE).expect("valid") };
                match definition.resolve(&Overrides::default(), today, Instant::MAX) {
                    Ok(spec) => format!("{range}: {} {}", spec.range().from(), spec.range().to()),
                    Err(error) => format!("{range}: {error}"),
                }
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        today: 2026-03-15 2026-03-16
        yesterday: 2026-03-14 2026-03-15
        last-7-days: 2026-03-09 2026-03-16
        last-30-days: 2026-02-14 2026-03-16
        this-month: 2026-03-01 2026-03-16
        last-month: 2026-02-01 2026-03-01
        this-year: 2026-01-01 2026-03-16
        last-year: 2025-01-01 2026-01-01
        custom: the report "mine" has no range of its own: say --from and, if it does not end with today, --to
        "#);
    }

    #[test]
    fn what_is_asked_goes_over_what_is_defined() {
        let definition = parse(MINE).expect("valid");
        let date = |text: &str| text.parse::<LocalTime>().ok();
        let today = parse_date("2026-03-15").expect("a date");
        let asked = Overrides {
            from: date("2026-01-10"),
            to: date("2026-02-20"),
            group_by: Some(Grouping::Month),
            breakdown: None,
            scope: Some(Scope::Platform),
            columns: Some(vec![Column::From, Column::Consumed]),
        };
        let spec = definition.resolve(&asked, today, Instant::MIN).expect("valid");
        assert_eq!((spec.grouping(), spec.scope(), spec.period_count()), (Grouping::Month, Scope::Platform, 2));
        assert_eq!(spec.columns(), [Column::From, Column::Consumed]);
        let users = Overrides { breakdown: Some(Breakdown::User), columns: None, ..asked.clone() };
        let spec = definition.resolve(&users, today, Instant::MIN).expect("valid");
        assert_eq!((spec.breakdown(), spec.grouping()), (Some(Breakdown::User), Grouping::Month));
        assert!(spec.columns().contains(&Column::User) && !spec.columns().contains(&Column::Remaining));
        let open = Overrides { to: None, ..asked.clone() };
        let spec = definition.resolve(&open, today, Instant::MIN).expect("valid");
        assert_eq!(Some(spec.range().to()), date("2026-03-16"));
        let endless = Overrides { from: None, ..asked };
        assert!(matches!(definition.resolve(&endless, today, Instant::MIN), Err(DefinitionError::NoBeginning)));
    }
}
