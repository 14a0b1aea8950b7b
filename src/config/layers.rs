//! Defaults, file, environment and flags laid over each other, each value with its origin.
//!
//! The file is read with `toml` directly rather than through the `config` crate, which keeps no lines and takes any
//! environment variable of the prefix: here every unknown key is an error that names its line and the nearest key.

use super::keys::{KEYS, Key, literal};
use super::{ConfigError, Origin, Problem, Shown, is_secret};
use crate::core::near::nearest;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Value;
use toml::de::{DeTable, DeValue};

const ENV_PREFIX: &str = "CREDITD__";

/// The values in force so far by key, and everything that was wrong with them.
pub(super) struct Layers {
    values: BTreeMap<String, (Value, Origin)>,
    problems: Vec<Problem>,
}

impl Layers {
    /// The defaults.
    pub fn new() -> Layers {
        let default = |key: &Key| Some((key.path.clone(), (key.default.clone()?, Origin::Default)));
        Layers { values: KEYS.iter().filter_map(default).collect(), problems: Vec::new() }
    }

    /// Lays the text of a file on top.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] when it is not TOML.
    pub fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let line_of = |at: usize| text.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
        let syntax = |error: toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_of(error.span().map_or(0, |span| span.start)),
            what: error.message().to_owned(),
        };
        // Read twice: once for the values, once for where they stand.
        let values: toml::Table = toml::from_str(text).map_err(syntax)?;
        let places = DeTable::parse(text).map_err(syntax)?;
        let origin = |at: usize| Origin::File { path: path.to_owned(), line: line_of(at) };
        self.add_table("", &values, places.get_ref(), &origin);
        Ok(())
    }

    fn add_table(
        &mut self,
        section: &str,
        values: &toml::Table,
        places: &DeTable<'_>,
        origin: &dyn Fn(usize) -> Origin,
    ) {
        for (name, place) in places {
            let Some(value) = values.get(name.get_ref().as_ref()) else { continue };
            let path = format!("{section}{}", name.get_ref());
            let origin_here = origin(name.span().start);
            let is_section = KEYS.iter().any(|k| k.path.starts_with(&format!("{path}.")));
            match (value, place.get_ref()) {
                (Value::Table(values), DeValue::Table(places)) if is_section => {
                    self.add_table(&format!("{path}."), values, places, origin);
                }
                _ if is_section => {
                    self.problem(origin_here, format!("{path} is a section: write [{path}] and its keys below"));
                }
                _ => match KEYS.iter().find(|key| key.path == path) {
                    Some(key) => {
                        if let Err(what) = key.check_kind(value) {
                            self.problem(origin_here.clone(), format!("{}: {what}", with_value(&path, value)));
                        }
                        self.values.insert(path, (value.clone(), origin_here));
                    }
                    None if value.is_table() => {
                        let sections = KEYS.iter().filter_map(|key| Some(key.path.rsplit_once('.')?.0));
                        self.unknown(origin_here, &format!("section {path}"), nearest(&path, sections));
                    }
                    None => self.unknown(origin_here, &format!("setting {path}"), nearest(&path, known_paths())),
                },
            }
        }
    }

    /// Lays the environment's `CREDITD__` variables on top; all others are none of our business, but for those that were
    /// meant to be one: a ledger that is chosen by `CREDITD_DATABASE_URL` must not silently be another.
    pub fn add_env(&mut self, env: impl IntoIterator<Item = (String, String)>) {
        let names: Vec<String> = KEYS.iter().map(Key::env_name).collect();
        let single = |name: &str| name.replace("__", "_");
        let is_meant = |name: &str| names.iter().any(|known| single(known) == single(name));
        for (name, text) in env.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX) || is_meant(name)) {
            let origin = Origin::Env(name.clone());
            match names.iter().position(|known| *known == name) {
                Some(at) => self.add_text(&KEYS[at], &text, origin),
                None => self.unknown(origin, "such setting", nearest(&name, names.iter().map(String::as_str))),
            }
        }
    }

    /// Lays flags, by key, on top.
    pub fn add_flags(&mut self, flags: impl IntoIterator<Item = (String, String)>) {
        for (path, text) in flags {
            match KEYS.iter().find(|key| key.path == path) {
                Some(key) => self.add_text(key, &text, Origin::Flag),
                None => self.unknown(Origin::Flag, &format!("setting {path}"), nearest(&path, known_paths())),
            }
        }
    }

    fn add_text(&mut self, key: &Key, text: &str, origin: Origin) {
        match key.value_from_text(text) {
            Ok(value) => drop(self.values.insert(key.path.clone(), (value, origin))),
            Err(what) => {
                let value = Value::String(text.to_owned());
                self.problem(origin, format!("{}: {what}", with_value(&key.path, &value)));
            }
        }
    }

    /// Replaces a text by what `change` makes of it and its origin.
    ///
    /// What `change` refuses becomes a problem, without showing the text: it may hold a password.
    pub fn change_text(&mut self, key: &str, change: impl FnOnce(&str, &Origin) -> Result<String, String>) {
        let Some((Value::String(text), origin)) = self.values.get_mut(key) else { return };
        match change(text, origin) {
            Ok(changed) => *text = changed,
            Err(what) => {
                let origin = origin.clone();
                self.problem(origin, format!("{key}: {what}"));
            }
        }
    }

    /// Sets the text of `key` to what is in the file that `file_key` names, if it names one. A flag beats it; any other text
    /// beside it is a problem, for one of the two would be without effect.
    pub fn read_file(&mut self, key: &str, file_key: &str) {
        let Some((Value::String(path), origin)) = self.values.get(file_key).cloned() else { return };
        match self.values.get(key).map(|(_, origin)| origin) {
            Some(Origin::Flag) => {}
            Some(Origin::File { .. } | Origin::Env(_)) => {
                self.problem(origin, format!("{file_key}: {key} is set as well; leave one of the two out"));
            }
            Some(Origin::Default) | None => match std::fs::read_to_string(&path) {
                // Editors end files by a line end.
                Ok(text) => {
                    let text = text.trim_end_matches(['\r', '\n']).to_owned();
                    self.values.insert(key.to_owned(), (Value::String(text), origin));
                }
                Err(error) => self.problem(origin, format!("{file_key}: {path} cannot be read: {error}")),
            },
        }
    }

    /// Notes that the value at `path` (a key, or a place inside its value) is wrong.
    pub fn refuse(&mut self, path: &str, what: &str) {
        let found = self.values.iter().rev().find(|(key, _)| {
            path.strip_prefix(key.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
        let (origin, text) = match found {
            Some((key, (value, origin))) if key == path => (origin.clone(), with_value(path, value)),
            Some((_, (_, origin))) => (origin.clone(), path.to_owned()),
            None => (Origin::Default, path.to_owned()),
        };
        self.problem(origin, format!("{text}: {what}"));
    }

    /// All values as one table, sections inside.
    pub fn table(&self) -> toml::Table {
        let mut table = toml::Table::new();
        'keys: for key in KEYS.iter() {
            let (sections, name) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
            let mut inside = &mut table;
            for section in sections.split('.').filter(|section| !section.is_empty()) {
                let entry = inside.entry(section).or_insert_with(|| Value::Table(toml::Table::new()));
                // No key has the name of a section.
                let Value::Table(entry) = entry else { continue 'keys };
                inside = entry;
            }
            if let Some((value, _)) = self.values.get(&key.path) {
                inside.insert(name.to_owned(), value.clone());
            }
        }
        table
    }

    /// Every setting with its value in force, for `config show`.
    pub fn shown(&self) -> Vec<Shown> {
        let shown = |key: &Key| {
            let (value, origin) = match self.values.get(&key.path) {
                Some((value, origin)) => (Some(literal(value)), origin.clone()),
                None => (None, Origin::Default),
            };
            Shown { key: key.path.clone(), value, origin, help: key.help.clone() }
        };
        KEYS.iter().map(shown).collect()
    }

    /// The layers when nothing is wrong so far.
    ///
    /// # Errors
    /// [`ConfigError::Settings`] with everything that is.
    pub fn without_problems(self) -> Result<Layers, ConfigError> {
        if self.problems.is_empty() { Ok(self) } else { Err(self.into_error()) }
    }

    /// Everything that is wrong, in the order of the file, then the rest.
    pub fn into_error(mut self) -> ConfigError {
        self.problems.sort_by_key(|problem| match &problem.origin {
            Origin::File { line, .. } => *line,
            Origin::Default | Origin::Env(_) | Origin::Flag => usize::MAX,
        });
        ConfigError::Settings(self.problems)
    }

    fn problem(&mut self, origin: Origin, what: String) {
        self.problems.push(Problem { origin, what });
    }

    fn unknown(&mut self, origin: Origin, what: &str, near: Option<&str>) {
        let hint = near.map_or("`creditd config show` lists all".to_owned(), |near| format!("did you mean {near}?"));
        self.problem(origin, format!("there is no {what}; {hint}"));
    }
}

/// The value of `key` in a table with sections inside.
pub(super) fn at<'a>(table: &'a toml::Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, rest)) => at(table.get(section)?.as_table()?, rest),
        None => table.get(key),
    }
}

/// A key and its value, or the key alone where the value may hold a secret.
fn with_value(path: &str, value: &Value) -> String {
    if is_secret(path) { path.to_owned() } else { format!("{path} = {}", literal(value)) }
}

fn known_paths() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.path.as_str())
}
