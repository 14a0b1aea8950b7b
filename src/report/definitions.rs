//! Which reports there are: TOML files, built in from `reports/`, added to or overridden file by file by an
//! operator's directory. A new report needs no code.
//!
//! A definition says what a report is when nothing else is asked; [`Definition::resolve`] puts what was asked over it.

use super::Format;
use crate::core::calendar::{Instant, Month, next_day};
use crate::core::ids::{BadName, clean_text};
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
    /// A file whose name is no report's.
    #[error("{file}: a report is called as its file is without .toml, by a-z, 0-9 and - alone: rename it")]
    Name {
        /// The file.
        file: String,
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
        let invalid = |offset: usize, message: String| DefinitionError::Invalid {
            file: file.to_owned(),
            line: 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count(),
            message,
        };
        let read: File = toml::from_str(text).map_err(|error| {
            // What is missing is told where its table begins: that of all keys, behind what is said above them.
            let offset = error.span().map(|span| span.start).filter(|start| *start > 0);
            let offset = offset.unwrap_or_else(|| first_key_in(text));
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
        if read.breakdown == Some(Breakdown::Transaction) && *read.group_by.get_ref() != Grouping::Range {
            let error = ReportError::LogPeriods(*read.group_by.get_ref());
            return Err(invalid(read.group_by.span().start, error.to_string()));
        }
        let filters = read.filters.as_ref().map(|filters| filters_of(filters.get_ref(), &invalid)).transpose()?;
        let definition = Definition {
            name: name.to_owned(),
            title: read.title.into_inner(),
            description: read.description.into_inner(),
            scope: read.scope,
            range: read.range,
            group_by: read.group_by.into_inner(),
            breakdown: read.breakdown,
            columns: read.columns.as_ref().map(|columns| columns.get_ref().clone()),
            formats: read.formats.into_inner(),
            filters: filters.unwrap_or_default(),
            compare: read.compare,
        };
        let any_day = DateRange::of_month(Month::of(NaiveDate::default()))?;
        let spec = ReportSpec::new("", any_day, Grouping::Range, definition.scope, Instant::MIN)?;
        let spec = spec.with_breakdown(definition.breakdown);
        if let Some(columns) = read.columns {
            let checked = spec.clone().with_columns(columns.get_ref().clone());
            checked.map_err(|error| invalid(columns.span().start, error.to_string()))?;
            // Whoever sums lines that look alike counts everything twice.
            let has_types = definition.breakdown != Some(Breakdown::Transaction);
            if has_types && !columns.get_ref().contains(&Column::CreditType) {
                let message = "columns needs credit_type: there is a line each for free, purchased and total credits";
                return Err(invalid(columns.span().start, message.to_owned()));
            }
        }
        if let Some(filters) = read.filters {
            let checked = spec.with_filters(definition.filters.clone());
            checked.map_err(|error| invalid(filters.span().start, error.to_string()))?;
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
        let (name, file) = (name_of(path), path.display().to_string());
        if name.is_empty() || !name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(DefinitionError::Name { file });
        }
        Definition::parse(&name, &file, &text)
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
    /// [`DefinitionError::Read`] when the directory cannot be read.
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

fn filters_of(
    read: &FiltersRead,
    invalid: &impl Fn(usize, String) -> DefinitionError,
) -> Result<Filters, DefinitionError> {
    fn names<T: FromStr<Err = BadName>>(
        values: &[Spanned<String>],
        invalid: &impl Fn(usize, String) -> DefinitionError,
    ) -> Result<Vec<Option<T>>, DefinitionError> {
        let name = |value: &Spanned<String>| {
            filter_name(value.get_ref()).map_err(|error| invalid(value.span().start, error.to_string()))
        };
        values.iter().map(name).collect()
    }
    Ok(Filters {
        actions: names(&read.action, invalid)?,
        users: names(&read.user, invalid)?,
        types: read.r#type.clone(),
        statuses: read.status.clone(),
    })
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
mod tests;
