//! Layers, origins, and every complaint an operator can get.

use super::*;
use crate::core::alert::Threshold;
use insta::assert_snapshot;

fn folder_with(file: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(FILE_NAME), file).expect("written");
    folder
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn load(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let folder = folder_with(file);
    Settings::load(LoadInput { folder: folder.path().to_owned(), path: None, env: pairs(env), flags: pairs(flags) })
}

fn complaint(file: &str, env: &[(&str, &str)]) -> String {
    load(file, env, &[]).expect_err("refused").to_string()
}

fn without_a_file() -> Settings {
    let folder = tempfile::tempdir().expect("a folder");
    Settings::load(LoadInput { folder: folder.path().to_owned(), ..LoadInput::default() }).expect("the defaults")
}

fn shown(settings: &Settings, key: &str) -> String {
    let shown = settings.shown().iter().find(|shown| shown.key == key).expect("a known key");
    format!("{} ({})", shown.value.as_deref().unwrap_or("unset"), shown.origin)
}

#[test]
fn the_defaults_are_valid_and_documented() {
    let settings = without_a_file();
    assert_eq!(settings.credits.monthly_allowance, Credits::new(1_500));
    assert_eq!((settings.credits.pack_credits.get(), settings.credits.pack_price_minor), (2_500, 2_500));
    assert_eq!(settings.alerts.levels, Levels::default());
    assert_eq!(
        (settings.mail.from.name.as_str(), settings.mail.from.address.as_str()),
        ("creditd", "credits@localhost")
    );
    assert_eq!(settings.cron, DirSettings::default());
    assert!(settings.shown().iter().all(|shown| shown.origin == Origin::Default));
}

#[test]
fn every_optional_setting_of_the_document_exists() {
    let everything: String = keys::DEFAULTS
        .lines()
        .filter(|line| !line.starts_with("#database_url_file"))
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect();
    let settings = load(&everything, &[], &[]).expect("valid");
    for job in Job::ALL {
        assert!(settings.jobs.ping.of(*job).is_some(), "{job} has no setting for its pings");
    }
    assert!(settings.credits.buy_url.is_some());
    assert!(settings.reports.dir.is_some() && settings.templates.dir.is_some() && settings.cron.dir.is_some());
    let set = settings.shown().iter().filter(|shown| shown.key != DATABASE_URL_FILE);
    assert!(set.into_iter().all(|shown| matches!(shown.origin, Origin::File { .. })));
}

#[test]
fn the_database_url_may_stand_in_a_file_and_then_nowhere_else() {
    let folder = folder_with("database_url_file = \"url\"\n");
    std::fs::write(folder.path().join("url"), "postgres://ann:hunter2@db.example/credits\n").expect("written");
    let load = |env: &[(&str, &str)], flags: &[(&str, &str)]| {
        Settings::load(LoadInput { folder: folder.path().to_owned(), path: None, env: pairs(env), flags: pairs(flags) })
    };
    let settings = load(&[], &[]).expect("valid");
    assert_eq!(settings.database_url, "postgres://ann:hunter2@db.example/credits");
    assert_eq!(shown(&settings, "database_url"), "\"postgres://ann:***@db.example/credits\" (file creditd.toml:1)");
    assert!(load(&[], &[("database_url", "sqlite://x.db")]).expect("a flag beats it").database_url.ends_with("x.db"));
    let both = load(&[("CREDITD__DATABASE_URL", "sqlite://x.db")], &[]).expect_err("refused").to_string();
    assert_snapshot!(both, @"creditd.toml:1: database_url_file: database_url is set as well; leave one of the two out");
    std::fs::remove_file(folder.path().join("url")).expect("removed");
    let missing = load(&[], &[]).expect_err("refused").to_string();
    assert!(missing.contains("database_url_file: ") && missing.contains("cannot be read"), "{missing}");
}

#[test]
fn addresses_of_pings_are_checked_and_shown_to_nobody() {
    let settings = load("[jobs.ping]\nexpire_holds = \"https://hc.example/s3cret\"\n", &[], &[]).expect("valid");
    assert_eq!(settings.jobs.ping.of(Job::ExpireHolds).map(Secret::expose), Some("https://hc.example/s3cret"));
    assert_eq!(settings.jobs.ping.of(Job::Reset), None);
    assert_eq!(shown(&settings, "jobs.ping.expire_holds"), "\"***\" (file creditd.toml:2)");
    assert_eq!(shown(&settings, "jobs.ping.reset"), "unset (default)");
    assert!(!format!("{settings:?}").contains("s3cret"));
    let wrong = [("CREDITD__JOBS__PING__RESET", "s3cret")];
    let wrong = complaint("[jobs.ping]\nscan = 3\nrest = \"x\"\n", &wrong);
    assert_snapshot!(wrong, @r"
    creditd.toml:2: jobs.ping.scan: a text in quotes is expected
    creditd.toml:3: there is no setting jobs.ping.rest; did you mean jobs.ping.reset?
    ");
    let wrong = complaint("", &[("CREDITD__JOBS__PING__RESET", "s3cret")]);
    assert_snapshot!(wrong, @r#"env CREDITD__JOBS__PING__RESET: jobs.ping.reset: a web address is expected, such as "https://hc-ping.com/your-uuid""#);
}

#[test]
fn yes_and_no_come_by_the_environment_too() {
    let sealed = |text: &str| load("", &[("CREDITD__SEALED__ENABLED", text)], &[]).map(|s| s.sealed.enabled);
    assert!(!sealed("false").expect("valid") && sealed("true").expect("valid"));
    let wrong = sealed("no").expect_err("refused").to_string();
    assert_snapshot!(wrong, @r#"env CREDITD__SEALED__ENABLED: sealed.enabled = "no": true or false is expected"#);
}

#[test]
fn a_proxy_is_trusted_by_its_address_and_headers_of_its_own() {
    let off = load("", &[], &[]).expect("valid").web;
    assert!(off.trusted_proxy.from.is_empty() && off.frame_ancestors.is_empty() && off.public_url.is_none());
    let right = "[web]\npublic_url = \"https://app.example.com/credits\"\nframe_ancestors = [\"https://app.example.com:8443\"]\n\
                 [web.trusted_proxy]\nfrom = [\"10.0.0.5\", \"::1\"]\n";
    let web = load(right, &[], &[]).expect("valid").web;
    assert_eq!(
        (web.base(), web.origin(), web.trusted_proxy.from.len()),
        ("/credits", Some("https://app.example.com"), 2)
    );
    for (wrong, says) in [
        ("[web]\npublic_url = \"https://a.example/\"\n", "web.public_url"),
        ("[web]\npublic_url = \"https://a.example?x\"\n", "web.public_url"),
        ("[web]\npublic_url = \"a.example\"\n", "web.public_url"),
        ("[web]\nmail_link_days = 31\n", "web.mail_link_days"),
        ("[web]\nframe_ancestors = [\"*\"]\n", "web.frame_ancestors"),
        ("[web]\nframe_ancestors = [\"https://a.example/path\"]\n", "web.frame_ancestors"),
        ("[web]\nframe_ancestors = [\"https://a.example; script-src *\"]\n", "web.frame_ancestors"),
        ("[web.trusted_proxy]\nfrom = [\"0.0.0.0\"]\n", "web.trusted_proxy.from"),
        ("[web.trusted_proxy]\nfrom = [\"10.0.0.0/8\"]\n", "web.trusted_proxy.from"),
        ("[web.trusted_proxy]\naccount_header = \"Cookie\"\n", "web.trusted_proxy.account_header"),
        ("[web.trusted_proxy]\naccount_header = \"X-Forwarded-For\"\n", "web.trusted_proxy.account_header"),
        ("[web.trusted_proxy]\nemail_header = \"x-creditd-account\"\n", "web.trusted_proxy.email_header"),
        ("[web.trusted_proxy]\nplatform_header = \"\"\n", "web.trusted_proxy.platform_header"),
    ] {
        let complaint = complaint(wrong, &[]);
        assert!(complaint.contains(says), "{wrong}: {complaint}");
    }
}

#[test]
fn the_listener_has_an_address_or_is_off() {
    let listen = |text: &str| load(&format!("[web]\nlisten = \"{text}\"\n"), &[], &[]).map(|s| s.web.listen);
    assert_eq!(listen("off").expect("valid"), None);
    assert_eq!(listen("[::1]:80").expect("valid").map(|at| at.to_string()).as_deref(), Some("[::1]:80"));
    let wrong = listen("8417").expect_err("refused").to_string();
    assert_snapshot!(wrong, @r#"creditd.toml:2: web.listen = "8417": an address and a port are expected, such as "127.0.0.1:8417" or "[::1]:8417", or "off""#);
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let file = "[jobs]\nbatch_accounts = 10\n[credits]\npack_credits = 10\nmonthly_allowance = 10\n";
    let env = [("CREDITD__JOBS__BATCH_ACCOUNTS", "20"), ("CREDITD__CREDITS__PACK_CREDITS", "20"), ("HOME", "/root")];
    let settings = load(file, &env, &[("jobs.batch_accounts", "30")]).expect("valid");
    assert_eq!(settings.jobs.batch_accounts, 30);
    assert_eq!(shown(&settings, "jobs.batch_accounts"), "30 (flag)");
    assert_eq!(shown(&settings, "credits.pack_credits"), "20 (env CREDITD__CREDITS__PACK_CREDITS)");
    assert_eq!(shown(&settings, "credits.monthly_allowance"), "10 (file creditd.toml:5)");
    assert_eq!(shown(&settings, "credits.currency"), "\"USD\" (default)");
    assert_eq!(shown(&settings, "cron.dir"), "unset (default)");
}

#[test]
fn a_variable_that_was_meant_to_be_a_setting_is_not_passed_over() {
    assert_snapshot!(
        complaint("", &[("CREDITD_DATABASE_URL", "sqlite://l.db"), ("CREDITD__CREDITS_PACK_CREDITS", "1"), ("CREDITD_NOW", "x")]),
        @"
    env CREDITD_DATABASE_URL: there is no such setting; did you mean CREDITD__DATABASE_URL?
    env CREDITD__CREDITS_PACK_CREDITS: there is no such setting; did you mean CREDITD__CREDITS__PACK_CREDITS?
    "
    );
}

#[test]
fn levels_come_as_a_list_in_the_environment_too() {
    let env = [("CREDITD__ALERTS__LEVELS", "[{ name = \"half\", percent = 50 }]")];
    let settings = load("", &env, &[]).expect("valid");
    let half = settings.alerts.levels.as_slice();
    assert_eq!((half.len(), half[0].name().as_str(), half[0].threshold()), (1, "half", Threshold::Percent(50)));
}

#[test]
fn relative_paths_are_seen_from_where_they_were_written() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("etc")).expect("created");
    std::fs::write(
        folder.path().join("etc/c.toml"),
        "database_url = \"sqlite://l.db?mode=rw\"\n[mail]\ndir = \"/m\"\n",
    )
    .expect("written");
    let settings = Settings::load(LoadInput {
        folder: folder.path().to_owned(),
        path: None,
        env: pairs(&[("CREDITD_CONFIG", "etc/c.toml")]),
        flags: pairs(&[("reports.dir", "own")]),
    })
    .expect("valid");
    assert_eq!(settings.database_url, format!("sqlite://{}/etc/l.db?mode=rw", folder.path().display()));
    assert_eq!(settings.mail.dir, Path::new("/m"));
    assert_eq!(settings.reports.out, folder.path().join("etc/out"));
    assert_eq!(settings.reports.dir, Some(folder.path().join("own")));
}

#[test]
fn all_complaints_come_at_once_with_line_and_bounds() {
    let file = r#"
[credits]
monthly_allowance = -5
currency = "usd"
buy_url = "javascript:x"
"#;
    assert_snapshot!(complaint(file, &[("CREDITD__JOBS__BATCH_ACCOUNTS", "0")]), @r#"
    creditd.toml:3: credits.monthly_allowance = -5: allowed are 0 to 1000000000
    creditd.toml:4: credits.currency = "usd": three capital letters are expected, such as "USD"
    creditd.toml:5: credits.buy_url = "javascript:x": a web address is expected, such as "https://example.com/credits"
    env CREDITD__JOBS__BATCH_ACCOUNTS: jobs.batch_accounts = 0: allowed are 1 to 10000
    "#);
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    let file = "montly_allowance = 3\nmail = 3\n[credits]\nmontly_allowance = 3\n[smtp]\nhost = \"x\"\n";
    assert_snapshot!(complaint(file, &[("CREDITD__MAIL__DIRS", "x"), ("CREDITD__NONSENSE", "x")]), @"
    creditd.toml:1: there is no setting montly_allowance; did you mean credits.monthly_allowance?
    creditd.toml:2: mail is a section: write [mail] and its keys below
    creditd.toml:4: there is no setting credits.montly_allowance; did you mean credits.monthly_allowance?
    creditd.toml:5: there is no section smtp; did you mean mail.smtp?
    env CREDITD__MAIL__DIRS: there is no such setting; did you mean CREDITD__MAIL__DIR?
    env CREDITD__NONSENSE: there is no such setting; `creditd config show` lists all
    ");
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_where_it_stands() {
    let complaints = [
        complaint("[jobs]\nbatch_accounts = \"many\"\n", &[]),
        complaint("", &[("CREDITD__JOBS__BATCH_ACCOUNTS", "many")]),
        complaint("", &[("CREDITD__ALERTS__LEVELS", "many")]),
        complaint("[alerts]\nlevels = [{ name = \"low\", per_cent = 3 }]\n", &[]),
        complaint("[alerts]\nlevels = [{ name = \"low\", percent = 120 }]\n", &[]),
        complaint("[alerts]\nlevels = [{ name = \"low\" }]\n", &[]),
        complaint("[alerts]\nlevels = [{ name = \"a\", credits = 1 }, { name = \"a\", credits = 2 }]\n", &[]),
        complaint("[mail]\nfrom = \"creditd <nobody>\"\n", &[]),
        complaint("[mail]\n\ntransport = \"post\"\n", &[]),
        complaint("[mail]\nlocale = \"de\"\n", &[]),
        complaint("[log\nlevel = 3\n", &[]),
    ];
    assert_snapshot!(complaints.join("\n"), @r#"
    creditd.toml:2: jobs.batch_accounts = "many": a whole number is expected
    env CREDITD__JOBS__BATCH_ACCOUNTS: jobs.batch_accounts = "many": a whole number is expected
    env CREDITD__ALERTS__LEVELS: alerts.levels = "many": a list is expected, such as [{ name = "low", percent = 20 }]
    creditd.toml:2: alerts.levels[0].per_cent: unknown field `per_cent`, expected one of `name`, `percent`, `credits`
    creditd.toml:2: alerts.levels[0]: the alert level low is at 120 percent; use 0 to 100
    creditd.toml:2: alerts.levels[0]: the alert level low needs either `percent` or `credits`, exactly one of them
    creditd.toml:2: alerts.levels = [{ credits = 1, name = "a" }, { credits = 2, name = "a" }]: there are two alert levels named a; give each its own name
    creditd.toml:2: mail.from = "creditd <nobody>": "nobody" is not an e-mail address (name@domain)
    creditd.toml:3: mail.transport = "post": unknown variant `post`, expected `file` or `smtp`
    creditd.toml:2: mail.locale = "de": there is no locale "de"; did you mean de-DE? Known are de-DE, de-CH, en-GB, en-US, en-AU, en-CA, en-IE, en-IN, en-NZ, es-ES, fr-FR, it-IT, nl-NL, pl-PL, pt-BR, sv-SE
    creditd.toml:1: unclosed table, expected `]`
    "#);
}

#[test]
fn operators_are_a_list_of_mailboxes() {
    assert_eq!(without_a_file().mail.operators, []);
    let env = [(
        "CREDITD__MAIL__OPERATORS",
        "[\"Ops <ops@example.com>\", \"night@example.com\", '\"Acme, \\\"Inc.\\\"\" <a@example.com>']",
    )];
    let operators = load("", &env, &[]).expect("valid").mail.operators;
    let shown: Vec<String> = operators.iter().map(|one| format!("{}|{}", one.name, one.address)).collect();
    assert_eq!(shown, ["Ops|ops@example.com", "|night@example.com", "Acme, \"Inc.\"|a@example.com"]);
    let complaints = [
        complaint("[mail]\noperators = \"ops@example.com\"\n", &[]),
        complaint("[mail]\noperators = [\"a@example.com\", \"nobody\"]\n", &[]),
        complaint("[mail]\noperators = [\"a@example.com\", \"A <a@EXAMPLE.com>\"]\n", &[]),
        complaint("[mail]\nfrom = \"A <a@example.com>, B <b@example.com>\"\n", &[]),
    ];
    insta::assert_snapshot!(complaints.join("\n"), @r#"
    creditd.toml:2: mail.operators = "ops@example.com": a list is expected, such as ["Ops <ops@example.com>"]
    creditd.toml:2: mail.operators[1]: "nobody" is not an e-mail address (name@domain)
    creditd.toml:2: mail.operators = ["a@example.com", "A <a@EXAMPLE.com>"]: a@example.com is there twice
    creditd.toml:2: mail.from = "A <a@example.com>, B <b@example.com>": "A <a@example.com>, B <b@example.com>" is not an e-mail address (name@domain)
    "#);
}

#[test]
fn a_mail_server_is_whole_and_nobody_reads_along() {
    let smtp = |lines: &str| format!("[mail]\ntransport = \"smtp\"\n[mail.smtp]\n{lines}");
    let complaints = [
        complaint(&smtp(""), &[]),
        complaint(&smtp("host = \"smtp.example.com\"\ntls = \"none\""), &[]),
        complaint(&smtp("host = \"smtp example\"\ntls = \"ssl\""), &[]),
        complaint(&smtp("host = \"smtp example\"\nport = 70000"), &[]),
        complaint(
            &smtp("host = \"smtp.example.com:465\"\nconnections = 0\ntimeout_seconds = 121\nper_minute = -1"),
            &[],
        ),
        complaint(&smtp("host = \"smtp.example.com:465\"\nconnections = 0\ntimeout_seconds = 121"), &[]),
        complaint(&smtp("host = \"[::1]\"\ntls = \"none\""), &[]),
        complaint(&smtp("host = \"h\"\nusername = \"u\""), &[]),
        complaint(&smtp("host = \"h\"\npassword_file = \"/p\""), &[("CREDITD_SMTP_PASSWORD", "s3cret")]),
        complaint(&smtp("host = \"h\"\nidempotency_header = \"Bcc\""), &[]),
        complaint(&smtp("host = \"h\"\nidempotency_header = \"X Key\""), &[]),
        complaint(&smtp("host = \"h\"\npassword = \"s3cret\""), &[]),
        complaint("mail.smtp = 3\n", &[]),
        complaint("[mail.smpt]\n", &[]),
    ];
    assert_snapshot!(complaints.join("\n"), @r#"
    creditd.toml:2: mail.transport = "smtp": a server is needed for it; set mail.smtp.host, such as "smtp.example.com"
    creditd.toml:5: mail.smtp.tls = "none": mail and password would go over the network for all to read; "none" is for a server on this machine (localhost, 127.0.0.1, ::1). Set "implicit" (port 465) or "starttls" (port 587)
    creditd.toml:5: mail.smtp.tls = "ssl": unknown variant `ssl`, expected one of `implicit`, `starttls`, `none`
    creditd.toml:5: mail.smtp.port = 70000: allowed are 1 to 65535
    creditd.toml:5: mail.smtp.connections = 0: allowed are 1 to 50
    creditd.toml:6: mail.smtp.timeout_seconds = 121: allowed are 1 to 120
    creditd.toml:7: mail.smtp.per_minute = -1: allowed are 0 to 1000000
    creditd.toml:4: mail.smtp.host = "smtp.example.com:465": the name or address of a server alone is expected, such as "smtp.example.com" or "::1"
    creditd.toml:5: mail.smtp.connections = 0: allowed are 1 to 50
    creditd.toml:6: mail.smtp.timeout_seconds = 121: allowed are 1 to 120
    creditd.toml:4: mail.smtp.host = "[::1]": the name or address of a server alone is expected, such as "smtp.example.com" or "::1"
    creditd.toml:5: mail.smtp.username = "u": a password is needed for it; set the environment variable CREDITD_SMTP_PASSWORD or mail.smtp.password_file
    creditd.toml:5: mail.smtp.password_file = "/p": nobody logs in with it; set mail.smtp.username
    creditd.toml:5: mail.smtp.idempotency_header = "Bcc": the name of a header that mails do not have yet is expected, such as "X-Idempotency-Key"
    creditd.toml:5: mail.smtp.idempotency_header = "X Key": the name of a header that mails do not have yet is expected, such as "X-Idempotency-Key"
    creditd.toml:5: there is no setting mail.smtp.password; `creditd config show` lists all
    creditd.toml:1: mail.smtp is a section: write [mail.smtp] and its keys below
    creditd.toml:1: there is no section mail.smpt; did you mean mail.smtp?
    "#);

    for (lines, port) in [
        ("host = \"smtp.example.com\"", 465),
        ("host = \"smtp.example.com\"\ntls = \"starttls\"", 587),
        ("host = \"localhost\"\ntls = \"none\"", 25),
        ("host = \"127.0.0.9\"\ntls = \"none\"\nport = 1025", 1025),
        ("host = \"::1\"\ntls = \"none\"\nidempotency_header = \"X-Key\"", 25),
    ] {
        assert_eq!(load(&smtp(lines), &[], &[]).expect("valid").mail.smtp.port(), port, "{lines}");
    }
}

#[test]
fn the_password_of_a_mail_server_is_shown_nowhere() {
    let file = "[mail.smtp]\nhost = \"h\"\nusername = \"u\"\n";
    let env = [("CREDITD_SMTP_PASSWORD", "s3cret"), ("CREDITD__MAIL__SMTP__HOST", "h2")];
    let settings = load(file, &env, &[]).expect("valid");
    assert_eq!(settings.mail.smtp.password.as_ref().map(Secret::expose), Some("s3cret"));
    assert_eq!(shown(&settings, "mail.smtp.host"), "\"h2\" (env CREDITD__MAIL__SMTP__HOST)");
    assert!(!format!("{settings:?}").contains("s3cret"));
    let flag = [("mail.smtp.password_file", "secrets/smtp")];
    let settings = load("[mail.smtp]\nusername = \"u\"\n", &[], &flag).expect("valid");
    assert!(settings.mail.smtp.password_file.is_some_and(|path| path.ends_with("secrets/smtp")));
}

#[test]
fn a_database_is_a_file_or_a_postgres_server_and_no_password_is_repeated() {
    let complaints =
        ["mysql://u:secret@h/db", "u:secret@h/db", "secret@h:1/db", "creditd.db", "sqlite::memory:", "sqlite://"]
            .map(|url| complaint(&format!("database_url = \"{url}\""), &[]));
    assert_snapshot!(complaints.join("\n"), @r#"
    creditd.toml:1: database_url: databases of the scheme "mysql" are not supported by this version; sqlite://FILE or postgres://USER@HOST/DATABASE is expected, such as sqlite://creditd.db
    creditd.toml:1: database_url: it is no url of a database; sqlite://FILE or postgres://USER@HOST/DATABASE is expected, such as sqlite://creditd.db
    creditd.toml:1: database_url: it is no url of a database; sqlite://FILE or postgres://USER@HOST/DATABASE is expected, such as sqlite://creditd.db
    creditd.toml:1: database_url: it has no scheme; sqlite://FILE or postgres://USER@HOST/DATABASE is expected, such as sqlite://creditd.db
    creditd.toml:1: database_url: a ledger in memory would be forgotten; sqlite://FILE or postgres://USER@HOST/DATABASE is expected, such as sqlite://creditd.db
    creditd.toml:1: database_url: a ledger in memory would be forgotten; sqlite://FILE or postgres://USER@HOST/DATABASE is expected, such as sqlite://creditd.db
    "#);
    for file in [
        "database_url = [\"postgres://u:secret@h/db\"]",
        "database_url = { url = \"postgres://u:secret@h/db\" }",
        "database_url = postgres://u:secret@h/db",
        "database_url = \"postgres://u:secret@h/db",
        "database_url = \"postgres://u:secret@h/db\"\ndatabase_url = \"postgres://u:secret@h/db\"",
        "[database_url]\nurl = \"postgres://u:secret@h/db\"",
        "databse_url = \"postgres://u:secret@h/db\"",
    ] {
        let complaint = complaint(file, &[]);
        assert!(complaint.starts_with("creditd.toml:") && !complaint.contains("secret"), "{complaint}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (url, shown) in [
        ("postgres://u:secret@h:6432/db?sslmode=require", "postgres://u:***@h:6432/db?sslmode=require"),
        ("postgres://u@h/db", "postgres://u@h/db"),
        ("postgres://h:6432", "postgres://h:6432"),
        ("postgres://u:@h/db", "postgres://u:***@h/db"),
        ("postgres://:secret@h/db", "postgres://:***@h/db"),
        ("postgres://u:se:cr@et@[::1]:6432/db", "postgres://u:***@[::1]:6432/db"),
        ("postgres://u:se%40cr%2Fet@[::1]/db", "postgres://u:***@[::1]/db"),
        ("postgres:///db?user=u&password=secret&host=/tmp", "postgres:///db?user=u&password=***&host=/tmp"),
        ("postgres://h/db?password=se@cret", "postgres://h/db?password=***"),
        ("postgres://h:6432/db?password=se@cret&user=u", "postgres://h:6432/db?password=***&user=u"),
        ("postgres://u@h/db?sslpassword=secret&options=-csecret", "postgres://u@h/db?sslpassword=***&options=***"),
        // None of these is a url: a password could be anywhere.
        ("postgresql://u:se/c?r@et@h/db", "postgresql://***"),
        ("postgres://u:12/secret@h/db", "postgres://***"),
        ("postgres://u:12?secret@h/db", "postgres://***"),
        ("postgres://u:12#secret@h/db", "postgres://***"),
        ("postgres://u:secret/db", "postgres://***"),
        ("postgres://u:secret", "postgres://***"),
        ("postgres://u@h/db?p%61ssword=secret", "postgres://***"),
        ("postgres://u@h/db?host=h#password=secret", "postgres://u@h/db?host=***"),
    ] {
        let flags = vec![("database_url".to_owned(), url.to_owned())];
        let input = LoadInput { folder: folder.path().to_owned(), flags, ..LoadInput::default() };
        let settings = Settings::load(input).expect("a Postgres url is taken as it is");
        assert_eq!(settings.database_url, url);
        let value = settings.shown().iter().find(|s| s.key == "database_url").and_then(|s| s.value.clone());
        assert_eq!(value.as_deref(), Some(format!("\"{shown}\"").as_str()));
        assert!(!value.unwrap_or_default().contains("secret"), "{url}");
        // The file that `init` writes must work.
        assert!(default_file(&[("database_url", url)]).expect("known").contains(url));
    }
}

#[test]
fn a_named_file_must_exist_and_an_unnamed_one_need_not() {
    let missing = LoadInput { path: Some("no/such.toml".into()), ..LoadInput::default() };
    let error = Settings::load(missing).expect_err("refused").to_string();
    assert!(error.starts_with("the settings file no/such.toml cannot be read: "), "{error}");
}

#[test]
fn the_written_file_changes_nothing_but_what_it_sets() {
    let file =
        default_file(&[("database_url", "sqlite:///srv/\"odd\".db"), ("jobs.batch_accounts", "7")]).expect("known");
    let settings = load(&file, &[], &[]).expect("valid");
    assert_eq!(settings.database_url, "sqlite:///srv/\"odd\".db");
    let defaults = without_a_file();
    for (after, before) in settings.shown().iter().zip(defaults.shown()) {
        match after.key.as_str() {
            "database_url" | "jobs.batch_accounts" => assert!(matches!(after.origin, Origin::File { .. })),
            // Default paths are seen from the folder of the file, which is another one here.
            key if PATHS.contains(&key) => assert_eq!(after.origin, Origin::Default),
            _ => assert_eq!(after, before),
        }
    }
    assert!(default_file(&[("databse_url", "x")]).is_err());
}
