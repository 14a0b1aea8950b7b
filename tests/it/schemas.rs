//! The JSON Schemas that editors read while somebody writes settings, schedules and report definitions: a validator of its
//! own takes what creditd takes, and finds what creditd refuses.

use crate::support::python_with;
use creditd::config::{LoadInput, Settings, default_file, settings_schema};
use creditd::core::schedule::schedule_schema;
use creditd::report::definition_schema;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// Reads `[[schema, document], ...]` and prints for each what is wrong with it, or an empty line.
const VALIDATE: &str = "
import json, sys, jsonschema
for schema, document in json.load(sys.stdin):
    jsonschema.Draft202012Validator.check_schema(schema)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
    print(' | '.join(error.json_path + ': ' + error.message.replace('\\n', ' ') for error in errors))
";

/// What the validator says of each document, by the schema beside it; `None` where it is not there.
fn validated(pairs: &[(Value, Value)]) -> Option<Vec<String>> {
    let untested = "the schemas of settings, schedules and reports; install jsonschema (PyPI)";
    let python = python_with("jsonschema", "CREDITD_REQUIRE_JSONSCHEMA", untested)?;
    let mut command = Command::new(python);
    command.args(["-c", VALIDATE]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("Python starts");
    serde_json::to_writer(child.stdin.take().expect("its input"), &json!(pairs)).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "the validator fails");
    let said: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(said.len(), pairs.len());
    Some(said)
}

fn toml(text: &str) -> Value {
    let table: toml::Table = toml::from_str(text).expect("TOML");
    serde_json::to_value(table).expect("JSON")
}

fn settings(text: &str) -> Result<Settings, String> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("creditd.toml"), text).expect("written");
    let input = LoadInput { folder: folder.path().to_owned(), ..LoadInput::default() };
    Settings::load(input).map_err(|error| error.to_string())
}

fn shipped(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).expect("a text"))).collect()
}

/// The file that `init` writes with nothing set, the same with everything set, and every file that is shipped.
#[test]
fn schemas_admit_every_file_that_is_shipped() {
    let untouched = default_file(&[]).expect("a file");
    let is_setting = |line: &str| line.starts_with('#') && !line.starts_with("# ");
    let everything: String =
        untouched.lines().map(|line| if is_setting(line) { &line[1..] } else { line }.to_owned() + "\n").collect();
    let kubernetes = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("cron/kubernetes/config.yaml"));
    let kubernetes = kubernetes.expect("the manifest");
    let (_, kubernetes) = kubernetes.split_once("creditd.toml: |\n").expect("the settings");
    let kubernetes: String = kubernetes
        .split("\n---\n")
        .take(1)
        .flat_map(str::lines)
        .map(|line| line.trim_start().to_owned() + "\n")
        .collect();

    let mut files = vec![
        ("untouched".to_owned(), settings_schema(), untouched),
        ("everything".to_owned(), settings_schema(), everything),
        ("kubernetes".to_owned(), settings_schema(), kubernetes),
    ];
    for (folder, schema) in
        [("cron/systemd", settings_schema()), ("cron", schedule_schema()), ("reports", definition_schema())]
    {
        files.extend(shipped(folder).into_iter().map(|(name, text)| (name, schema.clone(), text)));
    }
    assert!(files.len() > 20, "only {} files", files.len());
    let pairs: Vec<(Value, Value)> = files.iter().map(|(_, schema, text)| (schema.clone(), toml(text))).collect();
    for ((name, ..), said) in files.iter().zip(validated(&pairs).unwrap_or_default()) {
        assert_eq!(said, "", "{name}");
    }
}

/// What is refused by the check for itself alone, whatever else is set, is refused by the schema at the same place.
#[test]
fn the_schema_of_settings_refuses_what_the_check_refuses() {
    let wrong = [
        ("monthly_alowance = 1", "$"),
        ("[credit]\nmonthly_allowance = 1", "$"),
        ("[credits]\nmonthly_alowance = 1", "$.credits"),
        ("[credits]\nmonthly_allowance = -1", "$.credits.monthly_allowance"),
        ("[credits]\nmonthly_allowance = 1000000001", "$.credits.monthly_allowance"),
        ("[credits]\nmonthly_allowance = \"many\"", "$.credits.monthly_allowance"),
        ("[credits]\ncurrency = \"usd\"", "$.credits.currency"),
        ("[credits]\nbuy_url = \"example.com\"", "$.credits.buy_url"),
        ("[jobs]\nbell_seconds = 7", "$.jobs.bell_seconds"),
        ("[jobs]\nbell_seconds = 0", "$.jobs.bell_seconds"),
        ("[jobs.ping]\nrest = \"https://hc.example/x\"", "$.jobs.ping"),
        ("[jobs.ping]\nreset = \"hc.example/x\"", "$.jobs.ping.reset"),
        ("[mail]\ntransport = \"pigeon\"", "$.mail.transport"),
        ("[mail]\nlocale = \"tlh\"", "$.mail.locale"),
        ("[mail]\noperators = \"ops@example.com\"", "$.mail.operators"),
        ("[mail.smtp]\nport = 0", "$.mail.smtp.port"),
        ("[mail.smtp]\nport = 65536", "$.mail.smtp.port"),
        ("[mail.smtp]\nper_minute = -1", "$.mail.smtp.per_minute"),
        ("[mail.smtp]\ntls = \"ssl\"", "$.mail.smtp.tls"),
        ("[sealed]\nenabled = \"no\"", "$.sealed.enabled"),
        ("[log]\nlevel = \"all\"", "$.log.level"),
        ("database_url = \"mysql://x\"", "$.database_url"),
        ("[alerts]\nlevels = [{ name = \"low\" }]", "$.alerts.levels[0]"),
        ("[alerts]\nlevels = [{ name = \"low\", percent = 20, credits = 1 }]", "$.alerts.levels[0]"),
        ("[alerts]\nlevels = [{ name = \"low\", percent = 101 }]", "$.alerts.levels[0].percent"),
        ("[alerts]\nlevels = [{ name = \"low\", credits = -1 }]", "$.alerts.levels[0].credits"),
        ("[alerts]\nlevels = [{ name = \"low\", per_cent = 20 }]", "$.alerts.levels[0]"),
    ];
    for (text, _) in wrong {
        let error = settings(text).expect_err(text);
        assert!(error.starts_with("creditd.toml:"), "{text}: {error}");
    }
    let pairs: Vec<(Value, Value)> = wrong.iter().map(|(text, _)| (settings_schema(), toml(text))).collect();
    for ((text, place), said) in wrong.iter().zip(validated(&pairs).unwrap_or_default()) {
        assert!(said.split(" | ").any(|one| one.starts_with(&format!("{place}: "))), "{text}: {said:?}");
    }
}
