//! Reports: rows in, bytes out.
//!
//! [`aggregate`] adds up ledger rows with polars into the [`ReportModel`] of the core; [`render`] shows a model in a
//! [`Format`]; [`Definitions`] say which reports there are; [`journal`] has the whole ledger for programs of double-entry
//! bookkeeping. Nothing here reads a database, a clock or a setting, and the same model gives the same bytes.

mod chart;
mod csv;
mod definitions;
mod frames;
mod html;
pub mod journal;
mod json;
mod schema;
mod table;
mod wording;

pub use definitions::{DefaultRange, Definition, DefinitionError, Definitions, Overrides};
pub use frames::aggregate;
pub use schema::definition_schema;

use crate::core::statement::ReportModel;
use crate::core::transaction::words;

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
    }
}

impl Format {
    /// The ending of a file in this format, without the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Format::Table => "txt",
            Format::Csv | Format::Json | Format::Ndjson | Format::Html => self.as_str(),
        }
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
#[error("{0:?} is not a report format; choose table, csv, json, ndjson or html")]
pub struct UnknownFormat(String);

/// A report could not be written out. The data is not at fault: the memory or a template is.
#[derive(Debug, thiserror::Error)]
#[error("the report {title:?} could not be written as {format}: {cause}")]
pub struct RenderError {
    title: String,
    format: Format,
    cause: Box<dyn std::error::Error + Send + Sync>,
}

/// Shows `model` in `format`. `width` bounds the lines of [`Format::Table`], in characters; the others ignore it.
///
/// # Errors
/// [`RenderError`], which is always a defect of creditd.
pub fn render(model: &ReportModel, format: Format, width: u16) -> Result<Vec<u8>, RenderError> {
    let rendered = match format {
        Format::Table => Ok(table::render(model, width).into_bytes()),
        Format::Csv => csv::render(model),
        Format::Json => json::render(model),
        Format::Ndjson => json::render_lines(model),
        Format::Html => html::render(model),
    };
    rendered.map_err(|cause| RenderError { title: model.spec.title().to_owned(), format, cause })
}

/// What a renderer answers before [`render`] says which report it was.
type Rendered = Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>;

#[cfg(test)]
mod testing;
