//! The log of the process, on stderr: text for whoever watches a terminal, JSON for whoever collects it.

use crate::config::{LogFormat, LogSettings};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Begins to log. A second call changes nothing.
pub(super) fn start(settings: &LogSettings) {
    // What the libraries below have to say matters when it is a warning; sqlx would warn of each slow statement with its text.
    let filter = EnvFilter::new(format!("warn,sqlx=error,creditd={}", settings.level));
    // Without its `ansi` feature tracing-subscriber has no colours, and asking for them ends the process.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let _ = if is_text(settings) {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}

/// Whether it is for people.
pub(super) fn is_text(settings: &LogSettings) -> bool {
    match settings.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    }
}
