//! creditd manages the AI credits of a multi-tenant platform.
pub mod core;
pub mod mail;
pub mod notice;
