//! Reports: rows in, bytes out.
//!
//! [`aggregate`] adds up ledger rows with polars into the [`ReportModel`] of the core; [`render`] shows a model in a
//! [`Format`]; [`definitions`] say which reports there are. Nothing here reads a database, a clock or a setting, and
//! the same model gives the same bytes.
//!
//! [`ReportModel`]: crate::core::statement::ReportModel

mod frames;

pub use frames::aggregate;
