//! Everything that is tested from outside, in one binary: each would link polars and SQLite again.

mod batches;
mod cases;
mod cli;
mod conformance;
mod crash;
mod demo;
mod desk;
mod fuzz;
mod import;
mod jobs;
mod journal;
mod ledger;
mod marks;
mod model;
mod parquet;
mod postgres;
mod races;
mod readme;
mod sample_mails;
mod sealed;
mod store;
mod support;
mod tampering;
mod tidy;
mod workbooks;
