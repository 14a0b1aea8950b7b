//! The known settings, read from one document: `defaults.toml`.
//!
//! That file is at once the layer of defaults, the list of keys that exist, their help in `config show` and the
//! `creditd.toml` that `init` writes, so the four cannot drift apart. A key without a default stands there commented
//! out (`#dir = "reports"`), its value being an example of its kind. Every `key = value` is one line.

use std::sync::LazyLock;
use toml::Value;

/// The document.
pub(super) const DEFAULTS: &str = include_str!("defaults.toml");

/// Every setting that exists, in the order of the document.
pub(super) static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| document().filter_map(|line| line.key).collect());

/// One setting.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// `section.key`, or the key alone where it has no section.
    pub path: String,
    /// What holds when nothing sets it.
    pub default: Option<Value>,
    /// A value of its kind: the default, or an example.
    pub example: Value,
    /// The comment above it.
    pub help: String,
}

/// One line of the document, and the key that it is about.
pub(super) struct Line {
    /// As it stands there.
    pub text: &'static str,
    /// The key, where the line sets one.
    pub key: Option<Key>,
}

/// The lines of the document.
pub(super) fn document() -> impl Iterator<Item = Line> {
    let (mut section, mut help) = (String::new(), Vec::new());
    DEFAULTS.lines().map(move |text| {
        let key = parse_key(text, &section, &help.join(" "));
        match text.strip_prefix("# ") {
            Some(comment) => help.push(comment),
            None => help.clear(),
        }
        if let Some(name) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            section = format!("{name}.");
        }
        Line { text, key }
    })
}

fn parse_key(text: &'static str, section: &str, help: &str) -> Option<Key> {
    if text.is_empty() || text.starts_with("# ") || text.starts_with('[') {
        return None;
    }
    let (line, has_default) = text.strip_prefix('#').map_or((text, true), |line| (line, false));
    let (name, example) = toml::from_str::<toml::Table>(line).ok()?.into_iter().next()?;
    let default = has_default.then(|| example.clone());
    Some(Key { path: format!("{section}{name}"), default, example, help: help.to_owned() })
}

impl Key {
    /// The variable that sets it: `CREDITD__CREDITS__MONTHLY_ALLOWANCE`.
    pub fn env_name(&self) -> String {
        format!("CREDITD__{}", self.path.replace('.', "__").to_ascii_uppercase())
    }

    /// Checks that a value of the file is of this key's kind.
    ///
    /// # Errors
    /// What would have been right.
    pub fn check_kind(&self, value: &Value) -> Result<(), String> {
        if self.example.same_type(value) { Ok(()) } else { Err(self.expected()) }
    }

    fn expected(&self) -> String {
        match &self.example {
            Value::Integer(_) => "a whole number is expected".to_owned(),
            Value::Boolean(_) => "true or false is expected".to_owned(),
            Value::Array(items) => {
                let first = items.iter().take(1).cloned().collect();
                format!("a list is expected, such as {}", literal(&Value::Array(first)))
            }
            _ => "a text in quotes is expected".to_owned(),
        }
    }

    /// Reads a value of this key's kind from plain text, as flags and the environment carry it.
    ///
    /// # Errors
    /// What would have been right.
    pub fn value_from_text(&self, text: &str) -> Result<Value, String> {
        match &self.example {
            Value::Integer(_) => text.trim().parse().map(Value::Integer).map_err(|_| self.expected()),
            Value::Boolean(_) => text.trim().parse().map(Value::Boolean).map_err(|_| self.expected()),
            Value::Array(_) => toml::from_str::<toml::Table>(&format!("list = {text}"))
                .ok()
                .and_then(|mut table| table.remove("list"))
                .filter(|value| self.check_kind(value).is_ok())
                .ok_or(self.expected()),
            _ => Ok(Value::String(text.to_owned())),
        }
    }
}

/// The value as TOML text.
pub(super) fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let mut quoted = String::from('"');
            for c in text.chars() {
                match c {
                    '"' | '\\' => quoted.extend(['\\', c]),
                    c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
                    c => quoted.push(c),
                }
            }
            quoted + "\""
        }
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Table(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{name} = {}", literal(value));
            format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Datetime(time) => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_describes_every_key() {
        let listed: Vec<&str> = KEYS.iter().map(|key| key.path.as_str()).collect();
        let is_setting = |line: &&str| line.contains(" = ") && !line.starts_with("# ");
        assert_eq!(listed.len(), DEFAULTS.lines().filter(is_setting).count(), "{listed:?}");
        for key in KEYS.iter() {
            assert!(key.help.ends_with('.'), "{} has no help: {:?}", key.path, key.help);
        }
    }

    #[test]
    fn values_have_a_text_that_reads_back() {
        for key in KEYS.iter() {
            let table: toml::Table = toml::from_str(&format!("v = {}", literal(&key.example))).expect("valid TOML");
            assert_eq!(table["v"], key.example);
        }
        assert_eq!(literal(&Value::String("a\"\\\n".into())), r#""a\"\\\u000A""#);
    }
}
