//! Which reports there are: TOML files, built in from `reports/`, added to or overridden file by file by an
//! operator's directory. A new report needs no code.
//!
//! A definition says what a report is when nothing else is asked; [`Definition::resolve`] puts what was asked over it.

use super::Format;
use crate::core::calendar::{Instant, Month, next_day};
use crate::core::ids::{BadName, clean_text};
use crate::core::near::nearest;
use crate::core::statement::{
    Breakdown, Column, DateRange, Ending, Filters, Grouping, LocalTime, ReportError, ReportSpec, Scope,
};
use crate::core::transaction::{Touched, words};
use chrono::{Datelike, Days, NaiveDate};
use include_dir::{Dir, include_dir};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

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
    /// The operator's directory.
    #[error("cannot read {path}: {source}; it holds the report definitions you configured", path = path.display())]
    Folder {
        /// Where it should be.
        path: PathBuf,
        /// Why it could not be read.
        source: std::io::Error,
    },
    /// A file.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it could not be.
        source: std::io::Error,
    },
    /// A file whose name is no report's.
    #[error("{file}: a report is called as its file is without .toml, by a-z, 0-9 and - alone: rename it")]
    Name {
        /// The file.
        file: String,
    },
    /// A file that is not a definition.
    #[error("{file}, {}", first_of(mistakes))]
    Invalid {
        /// The file.
        file: String,
        /// What is wrong, in the order of the file: all that can be told before some of it is mended.
        mistakes: Vec<Mistake>,
    },
    /// A definition that was asked for and cannot be used.
    #[error("the report {name:?} cannot be made: {why}")]
    Bad {
        /// Its name.
        name: String,
        /// What is wrong with its file.
        why: String,
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

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and the nearest word that would be right.
    pub message: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// The first mistake, and how many there are besides.
fn first_of(mistakes: &[Mistake]) -> String {
    let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
    match mistakes.len() {
        ..=1 => first,
        many => format!("{first} (and {} more: `creditd report check` names them all)", many - 1),
    }
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
    /// Which transactions it is about; a statement is about all of them.
    pub filters: Filters,
    /// Whether it is compared with the range before.
    pub compare: bool,
    /// The formats it is made for, the usual one first, which files get where no other is asked for; never empty. Every report can be
    /// had in every format.
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
    /// Which transactions. Those that were defined stay where none of the same kind is asked for.
    pub filters: Filters,
    /// Compared with the range before, also where that was not defined.
    pub compare: bool,
}

/// A definition as it stands in its file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: Spanned<String>,
    description: Spanned<String>,
    scope: Scope,
    range: DefaultRange,
    group_by: Spanned<Grouping>,
    breakdown: Option<Breakdown>,
    columns: Option<Spanned<Vec<Column>>>,
    formats: Spanned<Vec<Format>>,
    #[serde(default)]
    compare: bool,
    filters: Option<Spanned<FiltersRead>>,
}

/// Filters as they stand in a file. A name without letters is that of none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FiltersRead {
    #[serde(default)]
    action: Vec<Spanned<String>>,
    #[serde(default)]
    user: Vec<Spanned<String>>,
    #[serde(default)]
    r#type: Vec<Touched>,
    #[serde(default)]
    status: Vec<Ending>,
}

/// The value of a filter: a name, or nothing for what has none.
///
/// # Errors
/// What the name must be like.
pub fn filter_name<T: FromStr<Err = BadName>>(text: &str) -> Result<Option<T>, BadName> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

impl Definition {
    /// Reads one file. `file` names it in errors.
    fn parse(name: &str, file: &str, text: &str) -> Result<Definition, DefinitionError> {
        let read = match toml::from_str::<File>(text) {
            Ok(read) => Definition::of(name, read),
            Err(error) => Err(some(each_wrong(text)).unwrap_or_else(|| vec![wrong(text, &error)])),
        };
        read.map_err(|mut wrong| {
            wrong.sort_by_key(|(offset, _)| *offset);
            let line = |offset| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
            let mistakes = wrong.into_iter().map(|(offset, message)| Mistake { line: line(offset), message });
            DefinitionError::Invalid { file: file.to_owned(), mistakes: mistakes.collect() }
        })
    }

    /// What a file says, if it goes together.
    fn of(name: &str, read: File) -> Result<Definition, Vec<Wrong>> {
        let mut all = Vec::new();
        let mut check = |at: usize, error: Option<String>| all.extend(error.map(|message| (at, message)));
        for (what, line) in [("the title", &read.title), ("the description", &read.description)] {
            check(line.span().start, clean_text(what, line.get_ref()).err().map(|error| error.to_string()));
        }
        let formats = read.formats.get_ref();
        let twice = formats.iter().enumerate().find(|(at, format)| formats[..*at].contains(format));
        check(read.formats.span().start, twice.map(|(_, twice)| format!("formats has {twice} twice")));
        check(read.formats.span().start, formats.is_empty().then(|| "formats needs at least one".to_owned()));
        let is_log = read.breakdown == Some(Breakdown::Transaction);
        let has_no_chart = is_log && formats.contains(&Format::Png);
        let what = "a log of transactions has no chart, which is what png is";
        check(read.formats.span().start, has_no_chart.then(|| what.to_owned()));
        let group_by = *read.group_by.get_ref();
        let has_periods = is_log && group_by != Grouping::Range;
        check(read.group_by.span().start, has_periods.then(|| ReportError::LogPeriods(group_by).to_string()));
        let filters = read.filters.as_ref().map(|filters| filters_of(filters.get_ref(), &mut check));
        let definition = Definition {
            name: name.to_owned(),
            title: read.title.into_inner(),
            description: read.description.into_inner(),
            scope: read.scope,
            range: read.range,
            group_by,
            breakdown: read.breakdown,
            columns: read.columns.as_ref().map(|columns| columns.get_ref().clone()),
            formats: read.formats.into_inner(),
            filters: filters.unwrap_or_default(),
            compare: read.compare,
        };
        let any_day = DateRange::of_month(Month::of(NaiveDate::default()));
        let spec = any_day.and_then(|day| ReportSpec::new("", day, Grouping::Range, definition.scope, Instant::MIN));
        let spec =
            spec.map(|spec| spec.with_breakdown(definition.breakdown)).map_err(|error| vec![(0, error.to_string())])?;
        if let Some(columns) = read.columns {
            let at = columns.span().start;
            let error = spec.clone().with_columns(columns.get_ref().clone()).err().map(|error| error.to_string());
            // Whoever sums lines that look alike counts everything twice.
            let lacks_types = !is_log && !columns.get_ref().contains(&Column::CreditType);
            let what = "columns needs credit_type: there is a line each for free, purchased and total credits";
            check(at, error.or_else(|| lacks_types.then(|| what.to_owned())));
        }
        if let Some(filters) = read.filters {
            let checked = spec.with_filters(definition.filters.clone());
            check(filters.span().start, checked.err().map(|error| error.to_string()));
        }
        if all.is_empty() { Ok(definition) } else { Err(all) }
    }

    /// Reads the file at `path`, whose name is the report's.
    ///
    /// # Errors
    /// [`DefinitionError`] naming the file, the line and what would be right.
    pub fn read(path: &Path) -> Result<Definition, DefinitionError> {
        let read = std::fs::metadata(path).and_then(|meta| match meta.len() {
            // A pipe would be waited for.
            _ if !meta.is_file() => Err(std::io::Error::other("it is no regular file")),
            ..=FILE_BYTES_MAX => std::fs::read(path),
            _ => Err(std::io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes"))),
        });
        let bytes = read.map_err(|source| DefinitionError::Read { path: path.to_owned(), source })?;
        let (name, file) = (name_of(path), path.display().to_string());
        if name.is_empty() || !name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(DefinitionError::Name { file });
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = 1 + bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count();
            let message = "what stands there is not UTF-8: save the file as UTF-8".to_owned();
            DefinitionError::Invalid { file: file.clone(), mistakes: vec![Mistake { line, message }] }
        })?;
        Definition::parse(&name, &file, text)
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
        let breakdown = asked.breakdown.or(self.breakdown);
        // A log has no periods, whatever the report has that is asked for as one.
        let own = if breakdown == Some(Breakdown::Transaction) { Grouping::Range } else { self.group_by };
        let group_by = asked.group_by.unwrap_or(own);
        let spec = ReportSpec::new(&self.title, range, group_by, asked.scope.unwrap_or(self.scope), as_of)?;
        if let (Some(Breakdown::Transaction), Some(group_by)) = (breakdown, asked.group_by)
            && group_by != Grouping::Range
        {
            return Err(ReportError::LogPeriods(group_by).into());
        }
        let spec = spec.with_breakdown(breakdown).with_filters(asked.filters.over(&self.filters))?;
        let spec = spec.with_comparison(asked.compare || self.compare)?;
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

/// All reports that can be asked for, by name, and why others cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definitions {
    all: BTreeMap<String, Definition>,
    bad: BTreeMap<String, String>,
}

impl Definitions {
    /// The built-in definitions, and over them the `.toml` files of the operator's directory `dir`. One that cannot be used is
    /// [bad](Definitions::bad) and takes no other with it, but for a built-in one of its name: whoever asks for what somebody
    /// meant to override gets no other report in its place.
    ///
    /// # Errors
    /// [`DefinitionError::Folder`] when the directory cannot be read.
    pub fn load(dir: Option<&Path>) -> Result<Definitions, DefinitionError> {
        let (mut all, mut bad) = (BTreeMap::new(), BTreeMap::new());
        for file in BUILT_IN.files() {
            let text = file.contents_utf8().unwrap_or_default();
            let shown = format!("built-in {}", file.path().display());
            let definition = Definition::parse(&name_of(file.path()), &shown, text)?;
            all.insert(definition.name.clone(), definition);
        }
        for path in dir.map(Definitions::files).transpose()?.unwrap_or_default() {
            match Definition::read(&path) {
                Ok(definition) => {
                    all.insert(definition.name.clone(), definition);
                }
                Err(error) => {
                    let name = name_of(&path);
                    all.remove(&name);
                    bad.insert(name, error.to_string());
                }
            }
        }
        Ok(Definitions { all, bad })
    }

    /// The operator's files in `dir`, sorted, so that the first error is always the same one.
    ///
    /// # Errors
    /// [`DefinitionError::Folder`] when the directory cannot be read.
    pub fn files(dir: &Path) -> Result<Vec<PathBuf>, DefinitionError> {
        let failed = |source| DefinitionError::Folder { path: dir.to_owned(), source };
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
    /// [`DefinitionError::Bad`] with what is wrong with it; [`DefinitionError::Unknown`] with the nearest name.
    pub fn get(&self, name: &str) -> Result<&Definition, DefinitionError> {
        if let Some(why) = self.bad.get(name) {
            return Err(DefinitionError::Bad { name: name.to_owned(), why: why.clone() });
        }
        self.all.get(name).ok_or_else(|| {
            let hint = nearest(name, self.all.keys().map(String::as_str)).map_or_else(
                || "`creditd report list` shows all".to_owned(),
                |nearest| format!("did you mean {nearest:?}?"),
            );
            DefinitionError::Unknown { name: name.chars().take(64).collect(), hint }
        })
    }

    /// All that can be asked for, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.all.values()
    }

    /// Those that cannot be used, by name, each with what is wrong with its file.
    pub fn bad(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.bad.iter().map(|(name, why)| (name.as_str(), why.as_str()))
    }
}

/// Where something is wrong, and what.
type Wrong = (usize, String);

fn some<T>(all: Vec<T>) -> Option<Vec<T>> {
    Some(all).filter(|all| !all.is_empty())
}

fn wrong(text: &str, error: &toml::de::Error) -> Wrong {
    // What is missing is told where its table begins: that of all keys, behind what is said above them.
    let offset = error.span().map(|span| span.start).filter(|start| *start > 0);
    let message = format!("{}{}", error.message(), did_you_mean(error.message()));
    (offset.unwrap_or_else(|| first_key_in(text)), message)
}

/// A definition in which each key can be looked at by itself.
const SOUND: &str = "title = \"x\"\ndescription = \"x\"\nscope = \"account\"\nrange = \"today\"\ngroup_by = \"day\"\nformats = [\"csv\"]";

/// What is wrong with each value of a file, and which keys are missing; nothing where it is no TOML.
fn each_wrong(text: &str) -> Vec<Wrong> {
    let (Ok(table), Ok(sound)) = (DeTable::parse(text), DeTable::parse(SOUND)) else { return Vec::new() };
    let (table, sound) = (table.into_inner(), sound.into_inner());
    let missing = sound.keys().filter(|key| !table.contains_key(*key)).map(|key| (key.clone(), None));
    let there = table.iter().flat_map(|(key, value)| values(value).into_iter().map(|value| (key.clone(), Some(value))));
    let alone = |(key, value): (Spanned<DeString<'_>>, Option<_>)| {
        let others = sound.iter().filter(|(other, _)| *other != &key).map(|(key, value)| (key.clone(), value.clone()));
        let alone: DeTable<'_> =
            others.collect::<Vec<_>>().into_iter().chain(value.map(|value| (key.clone(), value))).collect();
        File::deserialize(toml::Deserializer::from(Spanned::new(0..text.len(), alone))).err()
    };
    let mut all: Vec<Wrong> = Vec::new();
    for error in there.chain(missing).filter_map(alone) {
        // A key that nobody knows is wrong with each of its values.
        let wrong = wrong(text, &error);
        if !all.contains(&wrong) {
            all.push(wrong);
        }
    }
    all
}

/// `value` with one value at a time of those that it holds.
fn values<'a>(value: &Spanned<DeValue<'a>>) -> Vec<Spanned<DeValue<'a>>> {
    let of = |inner| Spanned::new(value.span(), inner);
    let each: Vec<Spanned<DeValue<'a>>> = match value.get_ref() {
        DeValue::Array(all) => all.iter().map(|one| of(DeValue::Array([one.clone()].into_iter().collect()))).collect(),
        DeValue::Table(all) => {
            let one = |(key, value): (&Spanned<DeString<'a>>, _)| {
                let alone = |value| of(DeValue::Table([(key.clone(), value)].into_iter().collect()));
                values(value).into_iter().map(alone).collect::<Vec<_>>()
            };
            all.iter().flat_map(one).collect()
        }
        _ => Vec::new(),
    };
    if each.is_empty() { vec![value.clone()] } else { each }
}

fn filters_of(read: &FiltersRead, check: &mut impl FnMut(usize, Option<String>)) -> Filters {
    fn names<T: FromStr<Err = BadName>>(
        values: &[Spanned<String>],
        check: &mut impl FnMut(usize, Option<String>),
    ) -> Vec<Option<T>> {
        let name = |value: &Spanned<String>| {
            let read = filter_name(value.get_ref());
            read.map_err(|error| check(value.span().start, Some(error.to_string()))).ok()
        };
        values.iter().filter_map(name).collect()
    }
    Filters {
        actions: names(&read.action, check),
        users: names(&read.user, check),
        types: read.r#type.clone(),
        statuses: read.status.clone(),
    }
}

/// Where the first line begins that is neither empty nor a comment.
fn first_key_in(text: &str) -> usize {
    let says_nothing = |line: &&str| line.trim_start().is_empty() || line.trim_start().starts_with('#');
    text.split_inclusive('\n').take_while(says_nothing).map(str::len).sum()
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

#[cfg(test)]
mod tests;
