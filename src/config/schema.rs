//! The JSON Schema of `creditd.toml`, for editors: of the document that has the settings, and of the table that bounds
//! their numbers. What it admits may still be refused, where one setting needs another or a text has a form of its own.

use super::check::{BELL_SECONDS, MINUTE_SECONDS, RANGES};
use super::keys::{KEYS, Key};
use super::{LogFormat, LogLevel, TransportKind, is_secret};
use crate::core::alert::{LEVELS_MAX, PERCENT_MAX};
use crate::core::delivery::Tls;
use crate::core::locale::Locale;
use serde_json::{Value, json};

/// The schema, of JSON Schema 2020-12.
#[must_use]
pub fn settings_schema() -> Value {
    let mut schema =
        section("Settings of creditd. Everything may be left out; `creditd config show` prints what then holds.");
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("creditd.toml");
    for key in KEYS.iter() {
        let (sections, name) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
        let mut inside = &mut schema;
        for name in sections.split('.').filter(|name| !name.is_empty()) {
            let place = &mut inside["properties"][name];
            if place.is_null() {
                *place = section(&format!("[{sections}]"));
            }
            inside = place;
        }
        inside["properties"][name] = setting(key);
    }
    schema
}

fn section(description: &str) -> Value {
    json!({"type": "object", "additionalProperties": false, "description": description, "properties": {}})
}

fn setting(key: &Key) -> Value {
    let mut schema = match &key.example {
        toml::Value::Integer(_) => whole_number(&key.path),
        toml::Value::Boolean(_) => json!({"type": "boolean"}),
        toml::Value::Array(_) => list(&key.path),
        example => text(&key.path, example.as_str().unwrap_or_default()),
    };
    schema["description"] = json!(key.help);
    match &key.default {
        Some(default) => schema["default"] = json!(default),
        None if is_secret(&key.path) => {}
        None => schema["examples"] = json!([key.example]),
    }
    schema
}

fn whole_number(path: &str) -> Value {
    if path == BELL_SECONDS {
        return json!({"enum": (1..=MINUTE_SECONDS).filter(|number| MINUTE_SECONDS % number == 0).collect::<Vec<_>>()});
    }
    let mut schema = json!({"type": "integer"});
    if let Some((_, allowed)) = RANGES.iter().find(|(key, _)| *key == path) {
        schema["minimum"] = json!(allowed.start());
        schema["maximum"] = json!(allowed.end());
    }
    schema
}

fn text(path: &str, example: &str) -> Value {
    let words = |all: Vec<&str>| json!({"type": "string", "enum": all});
    match path {
        "mail.transport" => words(TransportKind::ALL.iter().map(|word| word.as_str()).collect()),
        "mail.locale" => words(Locale::ALL.iter().map(|word| word.as_str()).collect()),
        "mail.smtp.tls" => words(Tls::ALL.iter().map(|word| word.as_str()).collect()),
        "log.format" => words(LogFormat::ALL.iter().map(|word| word.as_str()).collect()),
        "log.level" => words(LogLevel::ALL.iter().map(|word| word.as_str()).collect()),
        "database_url" => json!({"type": "string", "pattern": "^(sqlite:|postgres(ql)?://)"}),
        "credits.currency" => json!({"type": "string", "pattern": "^[A-Z]{3}$"}),
        _ if example.starts_with("https://") => json!({"type": "string", "pattern": "^https?://"}),
        _ => json!({"type": "string", "minLength": 1}),
    }
}

fn list(path: &str) -> Value {
    if path != "alerts.levels" {
        return json!({"type": "array", "items": {"type": "string", "minLength": 1}});
    }
    let level = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "description": "What mails and reports call it."},
            "percent": {"type": "integer", "minimum": 0, "maximum": PERCENT_MAX, "description": "Of the monthly allowance."},
            "credits": {"type": "integer", "minimum": 0, "description": "A number of credits, in place of a percentage."},
        },
        "oneOf": [{"required": ["percent"]}, {"required": ["credits"]}],
    });
    json!({"type": "array", "maxItems": LEVELS_MAX, "items": level})
}
