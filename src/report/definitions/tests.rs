//! What a definition may say, what is wrong with others, and what is asked over it.

use super::*;
use crate::core::calendar::parse_date;

fn parse(text: &str) -> Result<Definition, DefinitionError> {
    Definition::parse("mine", "reports/mine.toml", text)
}

const MINE: &str = r#"
title = "Mine"
description = "For me."
scope = "account"
range = "last-month"
group_by = "day"
formats = ["csv"]
"#;

#[track_caller]
fn refused(from: &str, to: &str) -> String {
    assert!(MINE.contains(from));
    parse(&MINE.replace(from, to)).expect_err("it is wrong").to_string()
}

#[test]
fn built_in_reports_are_sound() {
    let all = Definitions::load(None).expect("they are ours");
    let names: Vec<&str> = all.iter().map(|definition| definition.name.as_str()).collect();
    insta::assert_snapshot!(names.join(" "), @"platform-daily platform-monthly statement-custom statement-daily statement-monthly transaction-log usage-by-action usage-by-user");
    for definition in all.iter() {
        let asked = Overrides { from: "2026-01-01".parse().ok(), ..Overrides::default() };
        let today = parse_date("2026-03-15").expect("a date");
        definition.resolve(&asked, today, Instant::MAX).expect("a year at most");
        assert!(definition.description.ends_with('.'), "{}", definition.name);
    }
}

#[test]
fn errors_name_the_file_the_line_and_the_word() {
    insta::assert_snapshot!(refused("title", "titel"), @"reports/mine.toml, line 2: unknown field `titel`, expected one of `title`, `description`, `scope`, `range`, `group_by`, `breakdown`, `columns`, `formats`, `compare`, `filters`; did you mean `title`? (and 1 more: `creditd report check` names them all)");
    insta::assert_snapshot!(refused("last-month", "last_month"), @"reports/mine.toml, line 5: unknown variant `last_month`, expected one of `today`, `yesterday`, `last-7-days`, `last-30-days`, `this-month`, `last-month`, `this-year`, `last-year`, `custom`; did you mean `last-month`?");
    insta::assert_snapshot!(refused("[\"csv\"]", "[\"csv\", \"xls\"]"), @"reports/mine.toml, line 7: unknown variant `xls`, expected one of `table`, `csv`, `json`, `ndjson`, `html`, `parquet`, `png`, `xlsx`; did you mean `xlsx`?");
    insta::assert_snapshot!(refused("[\"csv\"]", "[]"), @"reports/mine.toml, line 7: formats needs at least one");
    insta::assert_snapshot!(refused("scope = \"account\"\n", ""), @"reports/mine.toml, line 2: missing field `scope`");
    insta::assert_snapshot!(refused("For me.", "For\\nme."), @r"reports/mine.toml, line 3: the description has the character '\n'; allowed are all but control characters");
    insta::assert_snapshot!(refused("scope", "columns = [\"from\", \"from\"]\nscope"), @"reports/mine.toml, line 4: the columns of a report must be at least one, and each only once");
}

/// One look at a file finds what is wrong with each key of it, and then what does not go together.
#[test]
fn each_mistake_is_named() {
    let all = |text: &str| match parse(text) {
        Err(DefinitionError::Invalid { mistakes, .. }) => {
            mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        other => panic!("{other:?}"),
    };
    let keys =
        "titel = \"Mine\"\ndescription = 7\nscope = \"acount\"\ngroup_by = \"day\"\nformats = [\n\"csv\",\n\"xls\"]\n";
    insta::assert_snapshot!(all(keys), @"
    line 1: unknown field `titel`, expected one of `title`, `description`, `scope`, `range`, `group_by`, `breakdown`, `columns`, `formats`, `compare`, `filters`; did you mean `title`?
    line 1: missing field `range`
    line 1: missing field `title`
    line 2: invalid type: integer `7`, expected a string
    line 3: unknown variant `acount`, expected `account` or `platform`; did you mean `account`?
    line 7: unknown variant `xls`, expected one of `table`, `csv`, `json`, `ndjson`, `html`, `parquet`, `png`, `xlsx`; did you mean `xlsx`?
    ");
    let together = MINE.replace("For me.", "For\\nme.").replace("[\"csv\"]", "[]") + "columns = [\"from\", \"user\"]\n";
    insta::assert_snapshot!(all(&together), @r"
    line 3: the description has the character '\n'; allowed are all but control characters
    line 7: formats needs at least one
    line 8: a statement has no column user: a breakdown by it has
    ");
    insta::assert_snapshot!(all("title = \"Mine"), @r#"line 1: invalid basic string, expected `"`"#);
}

#[test]
fn a_bad_file_takes_only_its_own_name_along() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    write("fine.toml", MINE);
    write("bad.toml", "# what it is\n\ntitle = \"Bad\"\n");
    write("usage-by-action.toml", &MINE.replace("day", "dya"));
    write("Bad Name.toml", MINE);
    let all = Definitions::load(Some(dir.path())).expect("it can be read");
    assert_eq!(all.get("fine").expect("fine").title, "Mine");
    assert!(all.get("usage-by-user").is_ok(), "built in");
    let said = |name: &str| {
        let error = all.get(name).expect_err("bad").to_string();
        error.replace(&dir.path().display().to_string(), "reports")
    };
    insta::assert_snapshot!(said("bad"), @r#"the report "bad" cannot be made: reports/bad.toml, line 3: missing field `description` (and 4 more: `creditd report check` names them all)"#);
    // Never the built-in one in its place.
    assert!(said("usage-by-action").contains("line 6: unknown variant `dya`"), "{}", said("usage-by-action"));
    insta::assert_snapshot!(said("Bad Name"), @r#"the report "Bad Name" cannot be made: reports/Bad Name.toml: a report is called as its file is without .toml, by a-z, 0-9 and - alone: rename it"#);
    let bad: Vec<&str> = all.bad().map(|(name, _)| name).collect();
    assert_eq!(bad, ["Bad Name", "bad", "usage-by-action"]);
    assert!(all.iter().all(|definition| !bad.contains(&definition.name.as_str())));
}

#[test]
fn a_file_that_is_no_text_is_named_with_its_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("mine.toml");
    std::fs::write(&path, [MINE.as_bytes(), b"# caf\xe9\n"].concat()).expect("written");
    let error = Definition::read(&path).expect_err("no UTF-8").to_string();
    assert!(error.ends_with("mine.toml, line 8: what stands there is not UTF-8: save the file as UTF-8"), "{error}");
    let error = Definition::read(&dir.path().join("none.toml")).expect_err("absent").to_string();
    assert!(!error.contains("configured"), "{error}");
}

#[test]
fn a_breakdown_is_checked_with_its_columns() {
    let by = |rest: &str| format!("breakdown = \"user\"\n{rest}scope");
    insta::assert_snapshot!(refused("scope", &by("columns = [\"user\", \"remaining\"]\n")), @"reports/mine.toml, line 5: a breakdown by user has no column remaining: by user there are consumed, refunded and the counts");
    insta::assert_snapshot!(refused("scope", &by("columns = [\"user\", \"consumed\"]\n")), @"reports/mine.toml, line 5: columns needs credit_type: there is a line each for free, purchased and total credits");
    insta::assert_snapshot!(refused("scope", "columns = [\"user\"]\nscope"), @"reports/mine.toml, line 4: a statement has no column user: a breakdown by it has");
    insta::assert_snapshot!(refused("scope", "breakdown = \"usr\"\nscope"), @"reports/mine.toml, line 4: unknown variant `usr`, expected one of `action`, `user`, `type`, `status`, `transaction`; did you mean `user`?");
    insta::assert_snapshot!(refused("[\"csv\"]", "[\"csv\", \"csv\"]"), @"reports/mine.toml, line 7: formats has csv twice");
    let fine =
        parse(&MINE.replace("scope", &by("columns = [\"user\", \"credit_type\", \"consumed\"]\n"))).expect("valid");
    assert_eq!((fine.breakdown, fine.columns.map(|columns| columns.len())), (Some(Breakdown::User), Some(3)));
}

#[test]
fn each_value_that_is_wrong_is_named() {
    let wrong = "columns = [\"accuont\", \"frm\", \"from\"]\nbreakdown = \"action\"\n";
    let text = format!(
        "{wrong}{}\n[filters]\naction = [3, \"x\"]\nstatus = \"failed\"\nuser = 5\nbogus = 1",
        MINE.replace("[\"csv\"]", "[\"htm\", \"cvs\"]")
    );
    let Err(DefinitionError::Invalid { mistakes, .. }) = parse(&text) else { panic!("it is wrong") };
    let said: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    for what in ["`accuont`", "`frm`", "`htm`", "`cvs`", "integer `3`", "string \"failed\"", "integer `5`", "`bogus`"] {
        assert_eq!(said.iter().filter(|line| line.contains(what)).count(), 1, "{what} in {said:#?}");
    }
    assert_eq!(said.len(), 8, "{said:#?}");
}

/// To read a pipe would be to wait for whoever writes to it.
#[test]
fn only_a_regular_file_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pipe.toml");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    let Err(DefinitionError::Read { source, .. }) = Definition::read(&path) else { panic!("it is a pipe") };
    assert_eq!(source.to_string(), "it is no regular file");
}

#[test]
fn a_log_is_no_picture() {
    let log = MINE.replace("\"day\"", "\"range\"").replace("[\"csv\"]", "[\"png\"]");
    let said = parse(&format!("breakdown = \"transaction\"\n{log}")).expect_err("nothing to draw").to_string();
    assert!(said.ends_with("a log of transactions has no chart, which is what png is"), "{said}");
}

#[test]
fn filters_and_comparisons_are_checked_and_go_over_what_is_defined() {
    let with = |by: &str, filters: &str| parse(&format!("{by}\n{MINE}{filters}"));
    let refused = |by: &str, filters: &str| with(by, filters).expect_err("it is wrong").to_string();
    let by_user = "breakdown = \"user\"";
    insta::assert_snapshot!(refused("", "[filters]\nstatus = [\"failed\"]"), @"reports/mine.toml, line 9: a statement has no filters, for it would not add up: break it down by action, user, type or status, or into its log by transaction");
    insta::assert_snapshot!(refused(by_user, "[filters]\nstatus = [\"faild\"]"), @"reports/mine.toml, line 10: unknown variant `faild`, expected one of `succeeded`, `failed`, `refused`; did you mean `failed`?");
    insta::assert_snapshot!(refused(by_user, "[filters]\nuser = [\"ann\",\n \"an n\"]"), @"reports/mine.toml, line 11: the user id has the character ' '; allowed are printable ASCII without spaces");
    insta::assert_snapshot!(refused("breakdown = \"transaction\"", ""), @"reports/mine.toml, line 7: a log has no periods, so it cannot be by day: leave that out");
    insta::assert_snapshot!(refused("compare = \"yes\"", ""), @r#"reports/mine.toml, line 1: invalid type: string "yes", expected a boolean"#);
    let many = vec!["\"u\""; 101].join(", ");
    insta::assert_snapshot!(refused(by_user, &format!("[filters]\nuser = [{many}]")), @"reports/mine.toml, line 9: 101 values of the filter user; the most is 100");
    let mine = with(by_user, "compare = true\n[filters]\nuser = [\"\", \"ann\"]\ntype = [\"mixed\"]").expect("valid");
    let today = parse_date("2026-03-15").expect("a date");
    let asked = Filters { types: vec![Touched::None], ..Filters::default() };
    let asked = Overrides { filters: asked, ..Overrides::default() };
    let spec = mine.resolve(&asked, today, Instant::MIN).expect("valid");
    assert_eq!(spec.filters().said(), [("user", vec!["", "ann"]), ("type", vec!["none"])]);
    assert_eq!(
        spec.before().map(|before| before.range()),
        DateRange::of_month("2026-01".parse().expect("a month")).ok()
    );
    let asked = Overrides { breakdown: Some(Breakdown::Transaction), ..Overrides::default() };
    let log = mine.resolve(&asked, today, Instant::MIN).expect("valid");
    assert_eq!((log.grouping(), log.columns().len()), (Grouping::Range, 16));
    let asked = Overrides { group_by: Some(Grouping::Week), ..asked };
    let error = mine.resolve(&asked, today, Instant::MIN).expect_err("periods");
    insta::assert_snapshot!(error, @"a log has no periods, so it cannot be by week: leave that out");
    let statement = parse(MINE).expect("valid");
    let asked = Overrides { filters: Filters { users: vec![None], ..Filters::default() }, ..Overrides::default() };
    assert!(matches!(
        statement.resolve(&asked, today, Instant::MIN),
        Err(DefinitionError::Report(ReportError::FilteredStatement))
    ));
}

/// The schema and the reader take the same keys and words: each word of the schema is read, each key that the reader
/// knows is in the schema, and what the schema requires is required.
#[test]
fn the_schema_says_what_is_read() {
    let schema = crate::report::definition_schema();
    let properties = schema["properties"].as_object().expect("properties");
    let unknown = parse("nonsense = 1").expect_err("no such key").to_string();
    let known: std::collections::BTreeSet<&str> = unknown.split('`').skip(1).step_by(2).skip(1).take(10).collect();
    assert_eq!(known, properties.keys().map(String::as_str).collect(), "{unknown}");
    let required: Vec<&str> =
        schema["required"].as_array().expect("keys").iter().filter_map(serde_json::Value::as_str).collect();
    for key in MINE.lines().filter_map(|line| line.split(" = ").next()).filter(|key| !key.is_empty()) {
        let without: String =
            MINE.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
        assert!(required.contains(&key) && parse(&without).is_err(), "{key}");
    }
    let words = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().expect("words").iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
    };
    let mut seen = 0;
    for (key, property) in properties {
        for word in property.get("enum").map(words).unwrap_or_default() {
            let own: String =
                MINE.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
            // A log has no periods.
            let own = if word == "transaction" { own.replace("\"day\"", "\"range\"") } else { own };
            parse(&format!("{own}{key} = \"{word}\"\n")).expect("a word of the schema");
            seen += 1;
        }
        for word in property["items"].get("enum").map(words).unwrap_or_default() {
            let is_of_log = Column::from_word(&word).is_some_and(Column::is_of_log);
            let column = Column::from_word(&word).and_then(Column::breakdown);
            let column = if is_of_log { Some(Breakdown::Transaction) } else { column };
            let by = column.map(|by| format!("breakdown = \"{by}\"\n")).unwrap_or_default();
            let own: String =
                MINE.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
            let own = if is_of_log { own.replace("\"day\"", "\"range\"") } else { own };
            // Lines of a type each need its column.
            let types = if key == "columns" && !is_of_log && word != "credit_type" { "\"credit_type\", " } else { "" };
            parse(&format!("{own}{by}{key} = [{types}\"{word}\"]\n")).expect("a word of the schema");
            seen += 1;
        }
    }
    let filters = properties["filters"]["properties"].as_object().expect("filters");
    for (key, filter) in filters {
        let of_any = vec![String::new(), "erase".to_owned()];
        for word in filter["items"].get("enum").map(words).unwrap_or(of_any) {
            parse(&format!("breakdown = \"user\"\n{MINE}compare = true\n[filters]\n{key} = [\"{word}\"]\n"))
                .expect("a word of the schema");
        }
    }
    let error = parse(&format!("breakdown = \"user\"\n{MINE}[filters]\nnonsense = []")).expect_err("no such filter");
    let error = error.to_string();
    let known: std::collections::BTreeSet<&str> = error.split('`').skip(1).step_by(2).skip(1).take(4).collect();
    assert_eq!(known, filters.keys().map(String::as_str).collect(), "{error}");
    let all = [Scope::ALL.len(), DefaultRange::ALL.len(), Grouping::ALL.len(), Breakdown::ALL.len(), Column::ALL.len()];
    assert_eq!(seen, all.iter().sum::<usize>() + Format::ALL.len());
}

#[test]
fn a_name_that_does_not_exist_suggests_one_that_does() {
    let all = Definitions::load(None).expect("they are ours");
    let error = all.get("statement-montly").expect_err("misspelt");
    insta::assert_snapshot!(error, @r#"there is no report "statement-montly"; did you mean "statement-monthly"?"#);
    insta::assert_snapshot!(all.get("xyz").expect_err("nothing like it"), @r#"there is no report "xyz"; `creditd report list` shows all"#);
}

#[test]
fn an_operators_file_adds_or_overrides_a_report() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("mine.toml"), MINE).expect("writable");
    std::fs::write(dir.path().join("statement-daily.toml"), MINE).expect("writable");
    std::fs::write(dir.path().join("notes.txt"), "not a definition").expect("writable");
    let (own, all) = (Definitions::load(None).expect("ours"), Definitions::load(Some(dir.path())).expect("valid"));
    assert_eq!(all.iter().count(), own.iter().count() + 1);
    assert_eq!(all.get("statement-daily").expect("overridden").title, "Mine");
    std::fs::write(dir.path().join("bad.toml"), "title = 1").expect("writable");
    assert!(matches!(Definitions::load(Some(&dir.path().join("none"))), Err(DefinitionError::Folder { .. })));
}

#[test]
fn default_ranges_are_seen_from_today() {
    let today = parse_date("2026-03-15").expect("a date");
    let shown: Vec<String> = DefaultRange::ALL
        .iter()
        .map(|range| {
            let definition = Definition { range: *range, ..parse(MINE).expect("valid") };
            match definition.resolve(&Overrides::default(), today, Instant::MAX) {
                Ok(spec) => format!("{range}: {} {}", spec.range().from(), spec.range().to()),
                Err(error) => format!("{range}: {error}"),
            }
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    today: 2026-03-15 2026-03-16
    yesterday: 2026-03-14 2026-03-15
    last-7-days: 2026-03-09 2026-03-16
    last-30-days: 2026-02-14 2026-03-16
    this-month: 2026-03-01 2026-03-16
    last-month: 2026-02-01 2026-03-01
    this-year: 2026-01-01 2026-03-16
    last-year: 2025-01-01 2026-01-01
    custom: the report "mine" has no range of its own: say --from and, if it does not end with today, --to
    "#);
}

#[test]
fn what_is_asked_goes_over_what_is_defined() {
    let definition = parse(MINE).expect("valid");
    let date = |text: &str| text.parse::<LocalTime>().ok();
    let today = parse_date("2026-03-15").expect("a date");
    let asked = Overrides {
        from: date("2026-01-10"),
        to: date("2026-02-20"),
        group_by: Some(Grouping::Month),
        breakdown: None,
        scope: Some(Scope::Platform),
        columns: Some(vec![Column::From, Column::Consumed]),
        ..Overrides::default()
    };
    let spec = definition.resolve(&asked, today, Instant::MIN).expect("valid");
    assert_eq!((spec.grouping(), spec.scope(), spec.period_count()), (Grouping::Month, Scope::Platform, 2));
    assert_eq!(spec.columns(), [Column::From, Column::Consumed]);
    let users = Overrides { breakdown: Some(Breakdown::User), columns: None, ..asked.clone() };
    let spec = definition.resolve(&users, today, Instant::MIN).expect("valid");
    assert_eq!((spec.breakdown(), spec.grouping()), (Some(Breakdown::User), Grouping::Month));
    assert!(spec.columns().contains(&Column::User) && !spec.columns().contains(&Column::Remaining));
    let open = Overrides { to: None, ..asked.clone() };
    let spec = definition.resolve(&open, today, Instant::MIN).expect("valid");
    assert_eq!(Some(spec.range().to()), date("2026-03-16"));
    let endless = Overrides { from: None, ..asked };
    assert!(matches!(definition.resolve(&endless, today, Instant::MIN), Err(DefinitionError::NoBeginning)));
}
