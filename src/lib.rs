//! creditd manages the AI credits of a multi-tenant platform.
pub mod clock;
pub mod core;
pub mod report;
pub mod store;
