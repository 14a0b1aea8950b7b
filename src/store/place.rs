//! Where a ledger is, by its database url. What is shown of it never has a user or password.

use super::{Result, StoreError};
use sqlx::postgres::PgConnectOptions;
use std::fmt;
use std::path::PathBuf;

/// Where a ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file of SQLite.
    File(PathBuf),
    /// In a database of a Postgres server.
    Server {
        /// Name or address, or the folder of the server's socket.
        host: String,
        /// The port.
        port: u16,
        /// The database.
        database: String,
    },
}

impl Place {
    /// The place that a database url names.
    ///
    /// # Errors
    /// [`StoreError::Url`] when it is neither a `sqlite:` url with a path nor a `postgres:` url.
    pub fn of(url: &str) -> Result<Place> {
        if is_postgres(url) {
            return Ok(Place::of_options(&postgres_options(url)?));
        }
        let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
        match path {
            Some(path) if !path.is_empty() && !path.contains(['?', '#']) && path != ":memory:" => {
                Ok(Place::File(PathBuf::from(path)))
            }
            _ => Err(StoreError::Url { url: without_password(url) }),
        }
    }

    pub(super) fn of_options(options: &PgConnectOptions) -> Place {
        let host =
            options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
        // Postgres' own rule: the database is named as the user when it is not named.
        let database = options.get_database().unwrap_or(options.get_username()).to_owned();
        Place::Server { host, port: options.get_port(), database }
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&std::path::Path> {
        match self {
            Place::File(path) => Some(path),
            Place::Server { .. } => None,
        }
    }

    /// What to do when something else is there.
    pub(super) const fn instead(&self) -> &'static str {
        match self {
            Place::File(_) => {
                "Name another file in database_url, or move this one away and make a ledger with `creditd init`"
            }
            Place::Server { .. } => {
                "Name another database in database_url; `creditd init` makes a ledger in an empty one"
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => path.display().fmt(f),
            Place::Server { host, port, database } if host.starts_with('/') => {
                write!(f, "{database} at {host}:{port}")
            }
            Place::Server { host, port, database } => write!(f, "{database} at {host}:{port}"),
        }
    }
}

/// Whether a database url names a Postgres server.
pub(super) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// How to connect, as the url says.
pub(super) fn postgres_options(url: &str) -> Result<PgConnectOptions> {
    // What sqlx says of a bad url may quote parts of it.
    url.parse().map_err(|_| StoreError::Url { url: without_password(url) })
}

/// The url with what may be a password left out, wherever it stands.
#[must_use]
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password with an unescaped slash ends the host early: what stands before the last @ is not shown then either.
    let (login, rest) = match rest[..end].rfind('@').or_else(|| rest.rfind('@')) {
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    };
    let rest = match rest.split_once('?') {
        Some((rest, query)) => {
            let shown = query.split('&').map(|pair| match pair.split_once('=') {
                Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}=***"),
                _ => pair.to_owned(),
            });
            format!("{rest}?{}", shown.collect::<Vec<_>>().join("&"))
        }
        None => rest.to_owned(),
    };
    match login.map(|login| login.split_once(':').map_or((login, false), |(user, _)| (user, true))) {
        Some((user, true)) => format!("{scheme}://{user}:***@{rest}"),
        Some((user, false)) => format!("{scheme}://{user}@{rest}"),
        None => format!("{scheme}://{rest}"),
    }
}
