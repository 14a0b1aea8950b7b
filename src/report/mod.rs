//! Reports: rows in, bytes out.
//!
//! [`aggregate`] adds up ledger rows with polars into the [`ReportModel`] of the core; [`render`] shows a model in a
//! [`Format`]; [`Definitions`] say which reports there are; [`journal`] has the whole ledger for programs of double-entry
//! bookkeeping. Nothing here reads a database, a clock or a setting, and the same model gives the same bytes.

pub mod chart;
mod csv;
mod definitions;
mod frames;
mod html;
mod html_more;
pub mod index;
pub mod journal;
mod json;
mod log;
mod made;
mod more;
mod parquet;
mod pieces;
mod schema;
mod table;
mod wording;
mod xlsx;

pub use csv::neutral;
pub use definitions::{DefaultRange, Definition, DefinitionError, Definitions, Mistake, Overrides, filter_name};
pub use frames::aggregate;
pub use made::make;
pub use schema::definition_schema;
pub use wording::{EQUATION, days_in, story};

use crate::core::counting::grouped;
use crate::core::locale::Locale;
use crate::core::statement::{Column, ReportModel};
use crate::core::transaction::words;
use chart::Frame;
use std::io::{self, Write};

words! {
    /// How a report is shown.
    Format {
        /// For reading in a terminal.
        Table = "table",
        /// Comma-separated values, one row per line of the report.
        Csv = "csv",
        /// One JSON object, `creditd.report/1`.
        Json = "json",
        /// One JSON object per line of the report.
        Ndjson = "ndjson",
        /// One self-contained page.
        Html = "html",
        /// Typed columns for any engine that reads them; a file only.
        Parquet = "parquet",
        /// The chart of the report as a picture; a file only.
        Png = "png",
        /// A workbook with formulas, a chart and notes; a file only.
        Xlsx = "xlsx",
    }
}

impl Format {
    /// Whether a terminal or a pipe is no place for it.
    #[must_use]
    pub const fn is_file_only(self) -> bool {
        matches!(self, Format::Parquet | Format::Png | Format::Xlsx)
    }

    /// Whether it has the lines of a report, or the transactions of a log, and nothing beside them.
    #[must_use]
    pub const fn has_lines_only(self) -> bool {
        matches!(self, Format::Csv | Format::Ndjson | Format::Parquet)
    }

    /// The ending of a file in this format, without the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Format::Table => "txt",
            Format::Csv
            | Format::Json
            | Format::Ndjson
            | Format::Html
            | Format::Parquet
            | Format::Png
            | Format::Xlsx => self.as_str(),
        }
    }

    /// Whether it has charts at all.
    #[must_use]
    pub const fn is_drawn(self) -> bool {
        self.has_charts() || matches!(self, Format::Xlsx)
    }

    /// Whether it has charts that show [`Marks`](crate::core::statement::Marks).
    #[must_use]
    pub const fn has_charts(self) -> bool {
        matches!(self, Format::Html | Format::Png)
    }
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;
    fn from_str(text: &str) -> Result<Format, UnknownFormat> {
        Format::from_word(text).ok_or_else(|| UnknownFormat(text.chars().take(64).collect()))
    }
}

/// Not a [`Format`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a report format; choose table, csv, json, ndjson, html, parquet, png or xlsx")]
pub struct UnknownFormat(String);

/// What a format cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// More lines than there is room for.
    #[error(
        "the report has {} lines and {place} holds {}: write it as csv, or choose fewer accounts or longer periods",
        grouped(*lines as u64),
        grouped(*max as u64)
    )]
    Lines {
        /// Lines of the report.
        lines: usize,
        /// As many as there is room for.
        max: usize,
        /// What they do not fit into.
        place: &'static str,
    },
    /// There is nothing to draw in a list.
    #[error("a log of transactions has no chart, which is what png is: write it in another form")]
    Log,
    /// A figure that a spreadsheet would round.
    #[error("{column} is {figure} on a line of the report and a spreadsheet keeps 15 digits: write it as csv")]
    Digits {
        /// Where it stands.
        column: Column,
        /// The figure.
        figure: i128,
    },
}

/// A report could not be written out.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// It is more than the format holds.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Nothing can be drawn.
    #[error(
        "the report {title:?} has no chart to write as png: nothing was consumed in it, or it has one period and nothing to \
         compare; say --by day, week, month or action"
    )]
    NoChart {
        /// Its title.
        title: String,
    },
    /// Whatever takes the bytes does not.
    #[error("the report could not be written")]
    Unwritten(#[from] io::Error),
    /// A defect of creditd: the data is not at fault, the memory or a template is.
    #[error("the report {title:?} could not be written as {format}: {cause}")]
    Broken {
        /// Its title.
        title: String,
        /// As what it should be written.
        format: Format,
        /// Why it was not.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Shows `model` in `format`. `width` bounds the lines of [`Format::Table`], in characters; the others ignore it.
///
/// # Errors
/// [`RenderError`]; for all formats but [`Format::Table`], [`Format::Xlsx`] and [`Format::Png`] it is a defect of creditd.
pub fn render(model: &ReportModel, format: Format, width: u16) -> Result<Vec<u8>, RenderError> {
    let mut bytes = Vec::new();
    write(model, format, width, &mut bytes)?;
    Ok(bytes)
}

/// The same into `out`. What has a row per record does not come to be in memory as a whole.
///
/// # Errors
/// As [`render`], and [`RenderError::Unwritten`] when `out` does not take it.
pub fn write(model: &ReportModel, format: Format, width: u16, out: &mut dyn Write) -> Result<(), RenderError> {
    let broken = |cause: Broke| match cause.downcast::<io::Error>() {
        Ok(source) => RenderError::Unwritten(*source),
        Err(cause) => RenderError::Broken { title: model.spec.title().to_owned(), format, cause },
    };
    let rendered = match format {
        Format::Table => {
            table::check(model)?;
            Ok(table::render(model, width).into_bytes())
        }
        Format::Csv => return csv::write(model, out).map_err(broken),
        Format::Json => return json::write(model, out).map_err(broken),
        Format::Ndjson => return json::write_lines(model, out).map_err(broken),
        Format::Html => html::render(model),
        Format::Parquet => parquet::render(model),
        Format::Png if model.is_log() => return Err(Unfit::Log.into()),
        Format::Png => {
            let drawn = chart::charts(model, Frame::PLAIN).into_iter().next();
            let drawn = drawn.ok_or_else(|| RenderError::NoChart { title: model.spec.title().to_owned() })?;
            return Ok(out.write_all(&picture(model, &drawn, Frame::PLAIN)?.png)?);
        }
        Format::Xlsx => {
            xlsx::check(model)?;
            xlsx::render(model)
        }
    };
    Ok(out.write_all(&rendered.map_err(broken)?)?)
}

/// How many of its lines or transactions `format` shows where it has no room for all of them; `None` where it has.
#[must_use]
pub fn shown_of(model: &ReportModel, format: Format) -> Option<usize> {
    let shown = match format {
        Format::Html if model.is_log() => html_more::LOG_ROWS_MAX,
        Format::Html if !html::has_detail(model) => 0,
        Format::Table if model.is_log() => log::ROWS_MAX,
        _ => return None,
    };
    (shown < model.record_count()).then_some(shown)
}

/// The picture of a chart of `model` that was drawn for `frame`.
///
/// # Errors
/// [`RenderError::Broken`], which is a defect of creditd.
pub fn picture(model: &ReportModel, drawn: &chart::Chart, frame: Frame) -> Result<chart::Picture, RenderError> {
    let title = || model.spec.title().to_owned();
    chart::png(drawn, frame).map_err(|cause| RenderError::Broken { title: title(), format: Format::Png, cause })
}

/// A chart for a page, and its SVG: of class `wide`, and once more of class `narrow` for a phone. The sheet [`CHART_STYLE`] knows its
/// other classes.
pub type Drawing = (chart::Chart, String);

/// The charts of `model` for a page whose readers write numbers as people of `locale` do.
///
/// # Errors
/// [`RenderError::Broken`], which is a defect of creditd.
pub fn drawings(model: &ReportModel, locale: Locale) -> Result<Vec<Drawing>, RenderError> {
    let [wide, narrow] = [Frame::Wide(locale), Frame::Narrow(locale)].map(|frame| chart::charts(model, frame));
    wide.into_iter().zip(narrow).map(|(wide, narrow)| drawn(model, wide, &narrow)).collect()
}

/// The one about `subject`; `None` when there is nothing to compare.
///
/// # Errors
/// [`RenderError::Broken`], which is a defect of creditd.
pub fn drawing(model: &ReportModel, subject: chart::Subject, locale: Locale) -> Result<Option<Drawing>, RenderError> {
    let [wide, narrow] = [Frame::Wide(locale), Frame::Narrow(locale)].map(|frame| chart::chart(model, subject, frame));
    wide.zip(narrow).map(|(wide, narrow)| drawn(model, wide, &narrow)).transpose()
}

fn drawn(model: &ReportModel, wide: chart::Chart, narrow: &chart::Chart) -> Result<Drawing, RenderError> {
    let svg = chart::svg(&wide).and_then(|svg| Ok(svg + &chart::svg(narrow)?));
    let broken = |cause| RenderError::Broken { title: model.spec.title().to_owned(), format: Format::Html, cause };
    svg.map(|svg| (wide, svg)).map_err(broken)
}

/// How charts look, by the names of colours.
pub const CHART_STYLE: &str = chart::STYLE;

/// Why a renderer did not end, before [`write`] says which report it was.
type Broke = Box<dyn std::error::Error + Send + Sync>;
type Rendered = Result<Vec<u8>, Broke>;

#[cfg(test)]
mod testing;
