//! creditd manages the AI credits of a multi-tenant platform.
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod mail;
pub mod notice;
pub mod report;
pub mod store;
