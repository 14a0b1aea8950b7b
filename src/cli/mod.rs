//! The command line: data on stdout, talk on stderr, one exit code per kind of outcome (DESIGN 10).

pub mod exit;
pub mod output;
pub mod progress;
