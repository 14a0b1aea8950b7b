//! What every command works with: the ledger once it is needed, the form of the output, and a voice on stderr.

use super::Global;
use super::exit::{Exit, Failure, OrExit};
use super::output::{Cell, Column, Layout, OutputMode, Piped, RecordWriter, stdout, write_one};
use super::progress::Progress;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{LoadInput, Settings};
use std::io::{BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// The environment variable that sets the clock.
const NOW_ENV: &str = "CREDITD_NOW";

/// A list on its way to stdout.
pub type List = RecordWriter<BufWriter<Piped<Stdout>>>;

/// What commands share.
#[derive(Debug)]
pub struct Context {
    program: String,
    global: Global,
    env: Vec<(String, String)>,
    clock: Clock,
    layout: Layout,
    /// Asked between two steps of long work; commands that do not look are simply dropped.
    pub stop: CancellationToken,
    app: OnceCell<App>,
}

impl Context {
    /// Reads nothing yet but the clock's setting.
    ///
    /// # Errors
    /// [`Failure`] when `CREDITD_NOW` is no instant.
    pub fn new(
        program: String,
        mut global: Global,
        env: Vec<(String, String)>,
        stop: CancellationToken,
    ) -> Result<Context, Failure> {
        let from_env = || env.iter().find(|(name, text)| name == NOW_ENV && !text.is_empty());
        let now = match (global.now, from_env()) {
            (Some(now), _) => Some(now),
            (None, Some((name, text))) => Some(
                text.parse::<Clock>()
                    .map_err(|error| anyhow::anyhow!("the environment variable {name}: {error}"))
                    .or_exit(Exit::Config)?,
            ),
            (None, None) => None,
        };
        let clock = now.unwrap_or_default();
        if global.json {
            global.output = Some(OutputMode::Json);
        }
        let layout = Layout::for_stdout(global.output.unwrap_or_default());
        Ok(Context { program, global, env, clock, layout, stop, app: OnceCell::new() })
    }

    /// How this program was called, so that commands it proposes can be copied.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Where "now" comes from.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// The form that was asked for, if any was.
    #[must_use]
    pub const fn output(&self) -> Option<OutputMode> {
        self.global.output
    }

    /// The form of the output.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// True when the output is laid out for people.
    #[must_use]
    pub fn is_for_people(&self) -> bool {
        self.layout.mode == OutputMode::Table
    }

    /// The ledger named by `--database-url`.
    #[must_use]
    pub fn database_url(&self) -> Option<&str> {
        self.global.database_url.as_deref()
    }

    /// The settings file named by `--config`.
    #[must_use]
    pub fn config_flag(&self) -> Option<&Path> {
        self.global.config.as_deref()
    }

    /// The settings file named by `--config`, else by the environment.
    #[must_use]
    pub fn named_config(&self) -> Option<PathBuf> {
        let from_env = || self.env.iter().find(|(name, text)| name == crate::config::FILE_ENV && !text.is_empty());
        self.global.config.clone().or_else(|| from_env().map(|(_, text)| PathBuf::from(text)))
    }

    /// Loads the settings.
    ///
    /// # Errors
    /// [`Failure`] with [`Exit::Config`].
    pub fn settings(&self) -> Result<Settings, Failure> {
        self.settings_of(self.global.config.as_deref())
    }

    /// Loads the settings from this file.
    ///
    /// # Errors
    /// [`Failure`] with [`Exit::Config`].
    pub fn settings_of(&self, path: Option<&Path>) -> Result<Settings, Failure> {
        let flags = self.database_url().map(|url| ("database_url".to_owned(), url.to_owned()));
        Ok(Settings::load(LoadInput {
            folder: PathBuf::new(),
            path: path.map(Path::to_owned),
            env: self.env.clone(),
            flags: flags.into_iter().collect(),
        })?)
    }

    /// Settings, ledger and clock; opened when first asked for, which also begins the log.
    ///
    /// # Errors
    /// [`Failure`] when the settings are wrong or there is no ledger that can be used with this clock.
    pub async fn app(&self) -> Result<&App, Failure> {
        let open = async || {
            let settings = self.settings()?;
            super::log::start(&settings.log);
            Ok(App::open(settings, self.clock).await?)
        };
        self.app.get_or_try_init(open).await
    }

    /// Whether the log is for people; false before the ledger is opened.
    #[must_use]
    pub fn log_is_text(&self) -> bool {
        self.app.get().is_some_and(|app| super::log::is_text(&app.settings.log))
    }

    /// Closes the ledger, if it was opened: its write-ahead log goes into its file.
    pub async fn close(&self) {
        if let Some(app) = self.app.get() {
            app.store.close().await;
        }
    }

    /// Begins a list on stdout; `schema` as for [`RecordWriter::new`].
    ///
    /// # Errors
    /// Those of stdout.
    pub fn list(&self, schema: &'static str, columns: &[Column]) -> Result<List, Failure> {
        Ok(RecordWriter::new(stdout(), self.layout, schema, columns)?)
    }

    /// Writes one thing to stdout.
    ///
    /// # Errors
    /// Those of stdout.
    pub fn show(&self, schema: &'static str, fields: &[(&'static str, Cell)]) -> Result<(), Failure> {
        Ok(write_one(&mut stdout(), self.layout, schema, fields)?)
    }

    /// Talks, on stderr, unless asked to be quiet.
    pub fn say(&self, text: impl std::fmt::Display) {
        if !self.global.quiet {
            self.warn(text);
        }
    }

    /// Says on stderr what is wrong, also when asked to be quiet.
    pub fn warn(&self, text: impl std::fmt::Display) {
        // What is said is lost without harm when nobody listens.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Says that a list is empty, or that `found` entries were more than the `limit` shown.
    pub fn say_how_many(&self, found: usize, limit: usize, none: &str) {
        if found == 0 {
            self.say(none);
        } else if found > limit {
            self.say(format_args!("There are more than these {limit}; --limit shows more."));
        }
    }

    /// A bar on stderr.
    #[must_use]
    pub fn progress(&self, label: &'static str) -> Progress {
        if self.global.quiet { Progress::hidden() } else { Progress::new(label) }
    }
}
