//! Everything that is tested from outside, in one binary: each would link polars and SQLite again.

mod cases;
mod cli;
mod demo;
mod import;
mod jobs;
mod ledger;
mod readme;
mod sample_mails;
mod store;
mod support;
mod tidy;
