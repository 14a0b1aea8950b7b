//! Tests of the whole: one binary, because each test binary links polars and SQLite again.

mod tidy;
mod cases;
mod import;
mod ledger;
mod sample_mails;
mod store;
mod support;
