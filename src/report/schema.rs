//! The JSON Schema of report definitions, for editors that complete and check TOML. Made of the word lists by which
//! definitions are read, so that it knows every word and no other.

use super::{DefaultRange, Format};
use crate::core::statement::{Breakdown, Column, Ending, FILTER_VALUES_MAX, Grouping, Scope};
use crate::core::transaction::Touched;
use serde_json::{Value, json};

/// What a file in the reports folder may say.
#[must_use]
pub fn definition_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A report of creditd",
        "description": "The name of the file, without .toml, is the name of the report.",
        "type": "object",
        "additionalProperties": false,
        "required": ["title", "description", "scope", "range", "group_by", "formats"],
        "properties": {
            "title": {"type": "string", "minLength": 1, "description": "The heading of the report."},
            "description": {"type": "string", "minLength": 1, "description": "What it is for, in a sentence."},
            "scope": words("Each account apart, or all accounts together.", Scope::ALL, Scope::as_str),
            "range": words("The range when none is asked for, seen from today.", DefaultRange::ALL, DefaultRange::as_str),
            "group_by": words("How long a period is. Days, weeks and months are each account's own.", Grouping::ALL, Grouping::as_str),
            "breakdown": words(
                "By what the use of credits in a period is broken down. Without it, the report is a statement.",
                Breakdown::ALL,
                Breakdown::as_str,
            ),
            "columns": list(
                "The columns, in order; without it, all that such a report has. The figures that say what was there, came and \
                 went besides use are of statements; action, user, type and status are of breakdowns by them; a log has its own.",
                Column::ALL,
                Column::as_str,
            ),
            "compare": {"type": "boolean", "description": "Whether it is compared with the range before."},
            "filters": {
                "type": "object",
                "additionalProperties": false,
                "description": "Only some transactions, of a breakdown or a log: those that have one of the values of each filter. An \
                                empty text stands for transactions without an action or user.",
                "properties": {
                    "action": names("Codes of actions."),
                    "user": names("Users, as the platform calls them."),
                    "type": list("The pools that it touched.", Touched::ALL, Touched::as_str),
                    "status": list("How it ended.", Ending::ALL, Ending::as_str),
                },
            },
            "formats": list("The formats that it is made for, the usual one first: that of files where no other is asked for.", Format::ALL, Format::as_str),
        },
    })
}

fn words<T: Copy>(description: &str, all: &[T], as_str: fn(T) -> &'static str) -> Value {
    let all: Vec<&str> = all.iter().map(|word| as_str(*word)).collect();
    json!({"type": "string", "enum": all, "description": description})
}

fn names(description: &str) -> Value {
    let (items, most) = (json!({"type": "string"}), FILTER_VALUES_MAX);
    json!({"type": "array", "minItems": 1, "maxItems": most, "uniqueItems": true, "items": items, "description": description})
}

fn list<T: Copy>(description: &str, all: &[T], as_str: fn(T) -> &'static str) -> Value {
    let all: Vec<&str> = all.iter().map(|word| as_str(*word)).collect();
    json!({"type": "array", "minItems": 1, "uniqueItems": true, "items": {"enum": all}, "description": description})
}
