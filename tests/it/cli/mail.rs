//! Mail by the command line: to operators, ended by its link, tried and checked.

use super::Place;
use crate::support::smtp::{At, Does, Encryption, Manner, SmtpServer, certificate};
use std::os::unix::fs::PermissionsExt;

const OPERATORS: &str = "[mail]\noperators = [\"Ops <ops@example.com>\"]\n";

#[test]
fn mails_to_operators_are_shown_and_written() {
    let place = Place::with_acme();
    for (kind, said) in [
        ("job-failed", "Job verify failed: the ledger does not add up"),
        ("job-missed", "Job monthly-report missed 3 periods"),
        ("job-well", "Job verify is well again"),
        ("job-caught-up", "Job monthly-report has caught up"),
        ("platform-monthly --month 2013-01", "Platform in January 2013: 0 AI credits used by 0 accounts"),
    ] {
        let shown = place.json(&format!("email preview {kind} --out looks"));
        assert!(shown["subject"].as_str().is_some_and(|subject| subject.starts_with(said)), "{shown}");
    }
    assert!(place.read("looks/job-failed.txt").starts_with("The job verify failed on "));
    place.run("email preview job-failed --account acme").fails_with(2, "job-failed is about no account");
    place.run("email preview low-credit").fails_with(2, "low-credit is about an account: name one by --account");
    place.run("email preview test").fails_with(2, "platform-monthly");
    place
        .run("email preview job-failed --month 2013-01")
        .fails_with(2, "job-failed is about no month that one could choose");
    place.run("email preview monthly-statement --account acme --day 2013-01-01").fails_with(2, "leave --day out");
    place
        .run("email send low-credit --account acme --month 2013-01 --to a@b.example")
        .fails_with(2, "leave --month out");
    place
        .run("email preview job-failed --out creditd.toml")
        .fails_with(2, "creditd.toml: is a file; name a folder with --out");

    // Of a time before everything there is no mail.
    for month in ["2001-01", "2012-12", "2013-03"] {
        let none = "nobody gets such a mail: there was no account yet in that month, or it has not begun";
        place.run(&format!("email preview platform-monthly --month {month}")).fails_with(5, none);
    }
    place.ok("run monthly-report --month 2013-01");
    assert_eq!(place.rows("outbox list").len(), 0, "there are no operators");
    let config = place.read("creditd.toml");
    place.write("creditd.toml", config.replace("[mail]\n", OPERATORS));
    for month in ["2012-12", "2013-01", "2013-01"] {
        place.ok(&format!("run monthly-report --month {month}"));
    }
    let rows = place.rows("outbox list");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["account"], serde_json::Value::Null);
    assert_eq!(rows[0]["key"], "platform-monthly//2013-01/ops@example.com/1");
    place.ok("outbox show platform-monthly//2013-01/ops@example.com/1");
    place.ok("run deliver");
    place.ok("verify");
}

/// Each says in its subject what it is; and its files are whole, its owner's alone, and leave nothing beside them.
#[test]
fn each_kind_of_mail_about_an_account_is_shown() {
    let place = Place::with_acme();
    place.ok("charge --account acme --action erase --quantity 3 --key some");
    let help = place.ok("help email preview").stdout;
    for (kind, subject, said) in [
        ("low-credit", "Low on AI credits: 300 left (", "300 AI credits left"),
        ("critical", "Critically low on AI credits: 75 left (", "75 AI credits left"),
        ("exhausted", "Out of AI credits (", "No AI credits left"),
        ("resolved", "Enough AI credits again: 1,479 available (", "1,479"),
        ("lapse-soon", "1,479 free AI credits lapse after 28 February (", "1,479"),
        (
            "monthly-statement --month 2013-02",
            "21 AI credits used in February 2013, 1,479 left (",
            "21 AI credits used",
        ),
        ("corrected-statement --month 2013-02", "Corrected: 21 AI credits used in February 2013, ", "11"),
        (
            "daily-statement --day 2013-02-10",
            "21 AI credits used on 10 February 2013, 1,479 left (",
            "21 AI credits used",
        ),
    ] {
        let kind_alone = kind.split(' ').next().expect("a word");
        assert!(help.contains(kind_alone), "{kind_alone} is in the help: {help}");
        let shown = place.json(&format!("email preview {kind} --account acme --out looks"));
        assert!(shown["subject"].as_str().expect("a subject").starts_with(subject), "{kind}: {shown}");
        assert!(place.read(&format!("looks/{kind_alone}-acme.txt")).contains(said), "{kind}");
        place.ok(&format!("email send {kind} --account acme --to me@example.com"));
    }
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(place.path("looks")).expect("a folder") {
        let entry = entry.expect("an entry");
        assert_eq!(entry.metadata().expect("it is there").permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");

    let none = place.run("email preview corrected-statement --account acme --month 2012-12 --out looks");
    none.fails_with(5, "acme gets no such mail: the account was not there yet, or nothing was used in that month");
    place.ok("account set acme --levels low=20%");
    place.run("email preview critical --account acme --out looks").fails_with(5, "has no alert level of that name");
    // Of an account that is at a level, it is what comes once packs are bought.
    place.ok("charge --account acme --action erase --quantity 211 --key more");
    let over = place.json("email preview resolved --account acme --out looks");
    assert!(over["subject"].as_str().is_some_and(|said| said.contains("again: 2,502 available (")), "{over}");
    let text = place.read("looks/resolved-acme.txt");
    assert!(text.starts_with("2,502 AI credits available again: 2 free and 2,500 purchased."), "{text}");
    std::fs::create_dir_all(place.path("full/low-credit-acme.html")).expect("a folder");
    place.run("email preview low-credit --account acme --out full").fails_with(1, "low-credit-acme.html: is a folder");
    let left: Vec<_> = std::fs::read_dir(place.path("full")).expect("a folder").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

const PAGE: &str = "[mail]\nunsubscribe_url = \"https://credits.example/unsubscribe\"\n";

/// The token of the link in the only message that there is.
fn token(message: &serde_json::Value) -> String {
    let url = message["unsubscribe_url"].as_str().expect("an address");
    url.strip_prefix("https://credits.example/unsubscribe?t=").expect("the page of the settings").to_owned()
}

/// Whoever spells an address otherwise means the same person.
#[test]
fn addresses_are_the_same_whatever_their_letters() {
    let place = Place::with_acme();
    place.ok("admin add acme ann@acme.example");
    place.ok("admin add acme ANN@Acme.example --daily-report yes");
    let admins = place.rows("admin list acme");
    assert_eq!(
        (admins.len(), &admins[0]["email"], &admins[0]["daily_report"]),
        (1, &"ann@acme.example".into(), &true.into())
    );
    let long = format!("admin add acme {}@acme.example", "a".repeat(65));
    place.run(&long).fails_with(2, "the e-mail address before its @ is longer than 64 characters");
    place.run("admin add acme jorg@ex\u{e4}mple.de").fails_with(2, "it begins with xn--");

    place.ok("suppressions add ANN@ACME.example --reason asked");
    place.ok("suppressions add Ann@acme.example --reason again");
    assert_eq!(place.rows("suppressions list").len(), 1);
    place.ok("charge --account acme --action erase --quantity 214 --key all");
    place.ok("run scan");
    place.ok("run deliver");
    assert_eq!(place.rows("outbox list")[0]["state"], "suppressed");
    place.ok("suppressions remove ann@acme.example");
    assert_eq!(place.rows("suppressions list").len(), 0);
    place.ok("admin remove acme Ann@acme.example");
    assert_eq!(place.rows("admin list acme").len(), 0);
    place.ok("verify");
}

#[test]
fn a_mail_is_ended_by_its_link() {
    let place = Place::with_acme();
    place.ok("admin set acme ann@acme.example --daily-report yes --resolved yes");
    place.run("admin unsubscribe AAAA").fails_with(5, "this is no link of ours to end mails by");
    let config = place.read("creditd.toml");
    place.write("creditd.toml", config.replace("[mail]\n", PAGE));
    place.ok("charge --account acme --action erase --quantity 214 --key all");
    place.ok("run scan");
    let list = place.rows("outbox list");
    let message = place.json(&format!("outbox show {}", list[0]["key"].as_str().expect("a key")));
    let token = token(&message);
    let link = format!("To end these mails: https://credits.example/unsubscribe?t={token}\n");
    assert!(message["text"].as_str().is_some_and(|text| text.ends_with(&link)), "{message}");
    assert!(message["html"].as_str().is_some_and(|html| html.contains(&format!("?t={token}\""))));

    for link in [token.clone(), format!("https://credits.example/unsubscribe?t={token}&from=mail")] {
        let done = place.json(&format!("admin unsubscribe {link}"));
        assert_eq!(
            (&done["account"], &done["email"], &done["ended"], &done["receives"]),
            (
                &"acme".into(),
                &"ann@acme.example".into(),
                &"alerts".into(),
                &"resolved, monthly-report, daily-report".into()
            )
        );
    }
    let admin = &place.rows("admin list acme")[0];
    assert_eq!(
        (&admin["alerts"], &admin["monthly_report"], &admin["resolved"]),
        (&false.into(), &true.into(), &true.into())
    );
    let cut = &token[..token.len() - 1];
    place.run(&format!("admin unsubscribe {cut}")).fails_with(5, "no link of ours");
    place.ok("admin remove acme ann@acme.example");
    let gone = place.ok(&format!("admin unsubscribe {token}"));
    assert!(gone.stderr.contains("has no admin ann@acme.example any more"), "{}", gone.stderr);
    place.ok("verify");
}

#[test]
fn a_page_to_end_mails_by_is_one() {
    let place = Place::with_acme();
    let config = place.read("creditd.toml");
    for url in ["credits.example", "https://credits.example/?a=1", "https://credits.example/#a"] {
        place.write("creditd.toml", config.replace("[mail]\n", &format!("[mail]\nunsubscribe_url = \"{url}\"\n")));
        place.run("config check").fails_with(4, "a web address of at most 400 characters without ? and # is expected");
    }
}

#[test]
fn a_test_is_sent_to_files_and_says_so() {
    let place = Place::with_acme();
    let config = place.read("creditd.toml");
    place.write("creditd.toml", config.replace("[mail]\n", PAGE));
    let sent = place.json("email send low-credit --account acme --to me@example.com");
    let subject = sent["subject"].as_str().expect("a subject");
    assert!(subject.starts_with("[Test] "), "{subject}");
    let eml = place.read(sent["answer"].as_str().expect("a file"));
    assert!(eml.contains("This is a test, sent to you alone by `creditd email send`."), "{eml}");
    assert!(eml.contains("To: me@example.com") && !eml.contains("List-Unsubscribe"), "{eml}");
    let real = place.json("email preview low-credit --account acme --out looks");
    for not_there in ["--month 2012-12", "--month 2013-03"] {
        let none = place.run(&format!("email preview monthly-statement --account acme {not_there} --out looks"));
        none.fails_with(5, "acme gets no such mail: the account was not there yet, or the time has not begun");
    }
    assert!(!real["subject"].as_str().expect("a subject").contains("[Test]"));
    assert_eq!(place.rows("outbox list").len(), 0, "a test is in no outbox");
    place.run("email send low-credit --account acme").fails_with(2, "--to");

    let checked = place.json("email check");
    assert_eq!((&checked["transport"], &checked["from"]), (&"file".into(), &"credits@localhost".into()));
}

/// Encrypted, by a certificate that only who is told trusts: both commands say what is wrong with it, and with none do they send.
#[tokio::test(flavor = "multi_thread")]
async fn a_test_and_a_check_go_over_tls() {
    let place = Place::with_acme();
    for (tls, at_once) in [("implicit", true), ("starttls", false)] {
        let (acceptor, pem) = certificate("localhost");
        let encryption = Encryption { acceptor, at_once };
        let login = Some(("me", "secret"));
        let server =
            SmtpServer::start(move |_| Manner { tls: Some(encryption.clone()), login, ..Manner::default() }).await;
        place.write("ca.pem", pem);
        place.write("secret", "secret\n");
        let settings = |host: &str, more: &str| {
            format!(
                "[mail]\ntransport = \"smtp\"\n[mail.smtp]\nhost = \"{host}\"\nport = {}\ntls = \"{tls}\"\nusername = \"me\"\n\
                 password_file = \"secret\"\ntimeout_seconds = 20\n{more}",
                server.port
            )
        };
        place.write("creditd.toml", settings("localhost", "ca_file = \"ca.pem\"\n"));
        let checked = place.json("email check");
        assert_eq!((&checked["tls"], &checked["username"]), (&tls.into(), &"me".into()));
        assert!(server.taken().is_empty(), "nothing is sent");
        place.ok("email send job-failed --to me@example.com");
        assert_eq!(server.taken().len(), 1);

        // Nobody vouches for it, or for another name.
        for (host, more) in [("localhost", ""), ("127.0.0.1", "ca_file = \"ca.pem\"\n")] {
            place.write("creditd.toml", settings(host, more));
            for command in ["email check", "email send job-failed --to me@example.com"] {
                let refused = place.run(command);
                assert!(matches!(refused.code, 1 | 4) && refused.stderr.contains("certificate"), "{}", refused.stderr);
            }
        }
        assert_eq!(server.taken().len(), 1, "what is not trusted gets no mail");

        for (content, says) in [("\n", "secret is empty;"), ("user\nsecret\n", "secret has several lines;")] {
            place.write("secret", content);
            let refused = place.run("email check");
            assert!(refused.code == 4 && refused.stderr.contains(says), "{}", refused.stderr);
            assert!(!refused.stderr.contains("user"), "none of it is shown: {}", refused.stderr);
        }
    }
}

#[test]
fn an_account_is_written_to_in_its_locale() {
    let place = Place::with_acme();
    let shown = place.json("account show acme");
    assert_eq!((&shown["locale"], &shown["own_locale"]), (&"en-GB".into(), &false.into()));
    let subject = || {
        let shown = place.json("email preview low-credit --account acme --out looks");
        (shown["subject"].as_str().expect("a subject").to_owned(), place.read("looks/low-credit-acme.txt"))
    };
    place.ok("charge --account acme --action translation --quantity 5 --key some");
    assert!(subject().1.contains("the next 1,500 free credits"), "{}", subject().1);
    let set = place.json("account set acme --locale de-DE");
    assert_eq!((&set["locale"], &set["own_locale"]), (&"de-DE".into(), &true.into()));
    assert!(subject().1.contains("the next 1.500 free credits"), "{}", subject().1);
    // An account that is well off is shown as it will be at its first level.
    assert!(subject().0.contains("300 left") && subject().1.contains("300"), "{}", subject().0);
    place.run("account set acme --locale de").fails_with(2, "there is no locale \"de\"; did you mean de-DE?");
    assert_eq!(place.rows("balance acme")[0]["available"], 1_495, "data has no locale");

    let config = place.read("creditd.toml");
    place.write("creditd.toml", config.replace("[mail]\n", "[mail]\nlocale = \"en-IN\"\n"));
    assert_eq!(place.json("account set acme --locale default")["locale"], "en-IN");
    place.ok("account create rm --name Roma --zone Europe/Rome --locale it-IT");
    let again = "account create rm --name Roma --zone Europe/Rome --locale fr-FR";
    place.run(again).fails_with(7, "its locale is it-IT, not fr-FR; `creditd account set` changes accounts");
    place.write(
        "accounts.csv",
        "account,name,time_zone,opened_on,admin_email,locale\nfr,Lyon,Europe/Paris,2013-01-01,a@fr.example,fr-FR\n\
         us,Utah,America/Denver,2013-01-01,a@us.example,\n",
    );
    place.ok("account import accounts.csv");
    let listed: Vec<serde_json::Value> = place.rows("account list").iter().map(|row| row["locale"].clone()).collect();
    assert_eq!(listed, [None, Some("fr-FR"), Some("it-IT"), None].map(serde_json::Value::from));
    place.write("bad.csv", "account,name,time_zone,opened_on,admin_email,locale\nx,X,UTC,2013-01-01,,french\n");
    place.run("account import bad.csv").fails_with(1, "bad.csv:2: column 6 (locale): there is no locale \"french\"");
    place.ok("verify");
}

/// A server that is there, one that is not, and settings that cannot be.
#[tokio::test(flavor = "multi_thread")]
async fn a_test_is_sent_to_a_server_and_the_server_is_checked() {
    let login = Some(("me", "secret"));
    let server = SmtpServer::start(move |_| Manner { login, ..Manner::default() }).await;
    let mut place = Place::with_acme();
    let port = server.port;
    place.env.push(("CREDITD_SMTP_PASSWORD", "secret".to_owned()));
    let smtp = |port: u16, more: &str| {
        format!(
            "[mail]\ntransport = \"smtp\"\n[mail.smtp]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nusername = \"me\"\n\
             idempotency_header = \"X-Key\"\ntimeout_seconds = 5\n{more}"
        )
    };
    place.write("creditd.toml", smtp(port, ""));
    let checked = place.json("email check");
    assert_eq!(checked["server"], format!("127.0.0.1:{port}"));
    assert!(server.taken().is_empty(), "nothing is sent");
    let sent = place.json("email send monthly-statement --month 2013-01 --account acme --to me@example.com");
    assert_eq!(sent["answer"], "250 2.0.0 queued as 1");
    let taken = &server.taken()[0];
    assert_eq!(
        (taken.to.as_str(), taken.header("Message-ID")),
        ("me@example.com", sent["message_id"].as_str().map(str::to_owned))
    );
    let real = place.json("email preview monthly-statement --month 2013-01 --account acme --out looks");
    let real = place.read(real["eml"].as_str().expect("a file"));
    assert!(!real.contains(sent["message_id"].as_str().expect("an id")), "no mailbox takes one for the other");

    place.env.retain(|(name, _)| *name != "CREDITD_SMTP_PASSWORD");
    place.env.push(("CREDITD_SMTP_PASSWORD", "wrong".to_owned()));
    place.run("email check").fails_with(4, "the mail server refused the login with 535; check mail.smtp.username");
    place.run("email send job-failed --to me@example.com").fails_with(4, "refused the login");
    drop(server);
    place.run("email check").fails_with(1, "the mail server cannot be reached: ");
    for (at, does, said) in [
        (At::Greeting, Does::Say("554 5.7.1 go away\r\n"), "the mail server refused while "),
        (At::Greeting, Does::Close, "the mail server cannot be reached: the server closed it"),
    ] {
        let server = SmtpServer::start(move |_| Manner::wrong(at, does)).await;
        place.write("creditd.toml", smtp(server.port, ""));
        place.run("email check").fails_with(1, said);
    }
    place.write("creditd.toml", smtp(port, "ca_file = \"none.pem\"\n").replace("\"none\"", "\"implicit\""));
    place.run("email check").fails_with(4, "mail.smtp.ca_file: ");
    place.write("creditd.toml", "[mail]\ndir = \"creditd.db\"\n");
    place.run("email check").fails_with(4, "cannot create ");
}
