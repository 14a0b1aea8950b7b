//! One behaviour on both databases: every method of the store that the ledger's own tests do not exercise has a case here,
//! run on a file of SQLite and on a Postgres server.
//!
//! Ids are chosen so that people and bytes sort them differently: what comes back comes in order of bytes.

mod accounts;
mod daily_use;
mod dashboard;
mod jobs;
mod operations;
mod outbox;
mod pages;
mod payments;
mod places;
mod refunds;
mod standing;
mod tokens;
