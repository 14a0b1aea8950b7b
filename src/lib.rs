//! creditd manages the AI credits of a multi-tenant platform.
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
