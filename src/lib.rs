//! creditd manages the AI credits of a multi-tenant platform: a scheduled batch and reporting job with an exact ledger.
//!
//! Every account gets free credits each calendar month; what is left of them lapses at the month's end. Purchased
//! credits never lapse. Every AI action costs a fixed number of credits, checked and deducted at once. Jobs do the
//! month start, write the alerts and statements that are e-mailed, and aggregate the transaction table into reports.
//!
//! The words, the rules (R1 to R18) and the sections that the code refers to (`DESIGN 6`) are in `docs/design.md`.
//!
//! # How it is built
//!
//! Data goes one way. A call or a job *gathers* plain values from the store, a pure function of the core *plans*, and
//! the store *applies* the plan in one database transaction. A dry run is the same way without the last step.
//!
//! ```text
//!     main -> cli -> { daemon, web, demo } -> jobs -> app -> { store, sealed, mail, config, clock } -> core
//!                                             jobs -> { report, notice, ping, post } -> core
//! ```
//!
//! Each layer uses only layers below it and siblings never each other; `tests/it/tidy.rs` holds the arrows.
//!
//! | module | what it is | start reading at |
//! |---|---|---|
//! | [`core`] | the rules: pure functions over plain values; no clock, no I/O, no floats | [`core::ledger::Ledger`], [`core::calendar::Calendar`] |
//! | [`store`] | how values are kept, on SQLite or Postgres; the only user of sqlx | [`store::Store::update`] |
//! | [`sealed`] | what days that are over are in files: Parquet by polars, and how far it is believed | [`sealed::sum_range`] |
//! | [`mail`] | how messages leave; the only user of lettre | [`mail::Mailer`] |
//! | [`config`] | flags, environment and file become settings | [`config::Settings::load`] |
//! | [`clock`] | the only "now" | [`clock::Clock`] |
//! | [`report`] | rows become figures (polars) and figures become bytes | [`report::aggregate`], [`report::render`] |
//! | [`notice`] | facts become messages, by Tera templates | [`notice::Templates`] |
//! | [`ping`] | who is told of runs over the web | [`ping::Pinger`] |
//! | [`post`] | how events reach the addresses of webhooks; with `ping` the only user of reqwest | [`post::Poster`] |
//! | [`app`] | what creditd offers: charges, holds and every other call, balances, imports | [`app::App`] |
//! | [`jobs`] | what creditd does by itself, one file per job | [`jobs::execute`] |
//! | [`daemon`] | the bell, and what happens when it rings | [`daemon::ring`] |
//! | [`web`] | what `serve` answers over HTTP; the only user of axum | [`web::router`] |
//! | [`demo`] | three made-up months on a fast clock, through the real jobs | [`demo::make`] |
//! | [`cli`] | typed arguments become calls, answers become text | `src/cli/mod.rs` |
//!
//! # What holds always
//!
//! - Credits are whole numbers with checked arithmetic; every sum that could overflow is an error.
//! - The ledger is append-only, and the databases refuse anything else. Balances are projections written with the rows.
//! - Balances, charges and statements are right at every instant, whether or not any job has run.
//! - Every effect has a unique key, so whatever runs twice happens once.
//! - Everything is bounded by a named constant, and hitting one is an answer, not a silence.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod daemon;
pub mod demo;
pub mod jobs;
pub mod mail;
pub mod notice;
pub mod ping;
pub mod post;
pub mod report;
pub mod sealed;
pub mod store;
pub mod web;
