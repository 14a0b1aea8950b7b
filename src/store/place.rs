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
            _ => {
                Err(StoreError::Url { url: shown(url), what: "it is neither a file nor a Postgres server".to_owned() })
            }
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
            Place::Server { host, port, database } => write!(f, "{database} on {host}:{port}"),
        }
    }
}

/// Whether a database url names a Postgres server.
pub(super) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// How to connect, as the url says.
pub(super) fn postgres_options(url: &str) -> Result<PgConnectOptions> {
    let bad = |what: String| StoreError::Url { url: shown(url), what };
    let query = url.split_once('?').map_or("", |(_, query)| query).split('#').next().unwrap_or_default();
    let names = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or_default());
    // sqlx passes over what it does not know, and logs it with its value.
    if let Some(name) = names.into_iter().find(|name| !PARAMETERS.contains(name) && !name.starts_with("options")) {
        return Err(bad(format!(
            "creditd knows no parameter {name:?}; leave it out, or use {}",
            PARAMETERS.join(", ")
        )));
    }
    // What sqlx says of a bad url may quote parts of it.
    url.parse().map_err(|_| bad("it cannot be understood; write special characters in a password as %XX".to_owned()))
}

/// What may stand behind the `?` of a Postgres url, beside `options[NAME]`.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "statement-cache-capacity",
    "options",
];

/// What may be said of a url: nothing behind its scheme where a password can stand, which is everywhere but in the path of a
/// file.
fn shown(url: &str) -> String {
    let file = url.strip_prefix("sqlite:").unwrap_or(url);
    match (file.split_once(['?', '#']), url.split_once("://")) {
        (None, _) if !file.contains('@') && (file != url || !url.contains(':')) => url.to_owned(),
        (Some((path, _)), _) if !url.contains('@') && file != url => format!("sqlite:{path}?..."),
        (_, Some((scheme, _))) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => format!("{scheme}://..."),
        _ => "...".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> String {
        Place::of(url).map_or_else(|error| error.to_string(), |place| place.to_string())
    }

    #[test]
    fn a_place_names_neither_user_nor_password() {
        assert_eq!(place("sqlite:///srv/creditd.db"), "/srv/creditd.db");
        assert_eq!(
            place("postgres://ann:secret@db.example:6432/credits?sslmode=require"),
            "credits on db.example:6432"
        );
        assert_eq!(place("postgresql://ann@%2Frun%2Fpostgresql/credits"), "credits on /run/postgresql:5432");
        assert_eq!(place("postgres:///credits?host=/tmp&user=ann&password=secret"), "credits on /tmp:5432");
        assert_eq!(place("postgres://ann:secret@db.example"), "ann on db.example:5432");
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_its_secrets() {
        for bad in [
            "postgres://ann:secret@db.example:port/credits",
            "postgres://ann:secret@db.example/credits?sslmode=sure",
            "postgres://ann:secret@db.example/credits?pass=secret",
            "mysql://ann:secret@db.example/credits",
            "sqlite://ann:secret@db.example/credits?x",
            "sqlite://creditd.db?password=secret",
            "mysql://db.example/credits?password=secret",
            "ann:secret@db.example/credits",
            "secret@ann://db.example/credits",
            "postgres://ann:secret/word@db.example/credits",
            "postgres://ann:secret@db.example/credits?p%61ssword=secret",
        ] {
            let said = place(bad);
            assert!(said.starts_with("the database url") && !said.contains("secret"), "{bad}: {said}");
        }
        let said = place("postgres://ann@db.example/credits?sslmode=require&channel_binding=secret");
        assert!(said.contains("knows no parameter \"channel_binding\""), "{said}");
    }
}
