//! The samples as real mail files, from facts to disk. They stay in `target/tmp/sample-mails`, to be opened with a
//! mail program and looked at.

use crate::support::program;
use creditd::core::calendar::Instant;
use creditd::core::ids::Email;
use creditd::core::outbox::Mailbox;
use creditd::mail::FileMailer;
use creditd::notice::{
    LapseSoon, LowCredit, Resolved, Sender, StatementMail, Templates, sample_job_failed, sample_job_well,
    sample_lapse_soon, sample_low_credit, sample_platform_month, sample_resolved, sample_statement,
};
use mail_parser::{MessageParser, MimeHeaders};
use std::path::Path;
use std::process::Command;

#[test]
fn samples_become_mail_files() {
    let mailbox =
        |name: &str, address| Mailbox { name: name.to_owned(), address: Email::new(address).expect("an address") };
    let from = mailbox("AI credits", "credits@platform.example");
    let to = mailbox("Ann Example", "ann@acme.example");
    let written_at = Instant::parse("2013-04-01T04:05:00Z").expect("an instant");

    let templates = Templates::load(None, Sender { mailbox: from.clone(), buy_url: None }).expect("templates");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sample-mails");
    let mailer = FileMailer::new(&dir, from).expect("a mailer");
    let messages = [
        templates.low_credit(&sample_low_credit(), &to, written_at).expect("a message"),
        templates.statement(&sample_statement(), &to, written_at).expect("a message"),
        templates.job_failed(&sample_job_failed(), &to).expect("a message"),
        templates.job_well(&sample_job_well(), &to).expect("a message"),
        templates.platform_month(&sample_platform_month(), &to, written_at, Vec::new()).expect("a message"),
    ];
    for message in messages {
        let raw = std::fs::read(mailer.deliver(&message).expect("delivered")).expect("a file");
        let mail = MessageParser::default().parse(&raw).expect("a mail");
        let part =
            |body: Option<std::borrow::Cow<'_, str>>| body.map(|b| b.replace("\r\n", "\n").trim_end().to_owned());
        assert_eq!(mail.subject(), Some(message.subject.as_str()));
        assert_eq!(part(mail.body_text(0)).as_deref(), Some(message.text.trim_end()));
        assert_eq!(part(mail.body_html(0)).as_deref(), Some(message.html.trim_end()));
        let attached: Vec<&[u8]> = mail.attachments().map(|part| part.contents()).collect();
        assert_eq!(attached, message.attachments.iter().map(|part| &*part.bytes).collect::<Vec<_>>());
        for shown in message.attachments.iter().filter_map(|part| part.content_id.as_deref()) {
            assert!(message.html.contains(&format!("src=\"cid:{shown}\"")), "{shown}");
            assert!(mail.attachments().any(|part| part.content_id() == Some(shown)), "{shown}");
        }
    }
}

/// A name without a space, as long as there can be, makes no mail wider than the screen: as a browser lays it out.
#[test]
fn long_names_make_no_mail_wider_than_the_screen() {
    if !program("chromium", "CREDITD_REQUIRE_CHROMIUM", "mails in a browser; install it (Debian: chromium)") {
        return;
    }
    let to = Mailbox { name: String::new(), address: Email::new("ann@acme.example").expect("an address") };
    let at = Instant::parse("2013-04-01T04:05:00Z").expect("an instant");
    let templates = Templates::load(None, Sender { mailbox: to.clone(), buy_url: None }).expect("templates");
    let name = || "Contoso_International_Holdings_GmbH".repeat(6);
    let mails = [
        templates.low_credit(&LowCredit { account_name: name(), ..sample_low_credit() }, &to, at),
        templates.resolved(&Resolved { account_name: name(), ..sample_resolved() }, &to, at),
        templates.lapse_soon(&LapseSoon { account_name: name(), ..sample_lapse_soon() }, &to, at),
        templates.statement(&StatementMail { account_name: name(), ..sample_statement() }, &to, at),
    ];
    let mut page = String::from("<!DOCTYPE html><meta charset=\"utf-8\">");
    for (at, mail) in mails.into_iter().enumerate() {
        let html = mail.expect("a message").html.replace('&', "&amp;").replace('"', "&quot;");
        for width in [360, 700] {
            page.push_str(&format!(
                "<iframe id=\"mail-{at}-{width}\" style=\"border:0;width:{width}px\" srcdoc=\"{html}\"></iframe>"
            ));
        }
    }
    page.push_str(
        "<p id=\"found\"></p><script>onload = () => { document.getElementById('found').textContent = 'found:' + [...document.querySelectorAll('iframe')]
           .map(frame => frame.id + '=' + (root => root.scrollWidth > root.clientWidth ? root.scrollWidth : 'fits')(frame.contentDocument.documentElement)).join(' ') + ':' }</script>",
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mails.html");
    std::fs::write(&file, page).expect("written");
    let mut browser = Command::new("chromium");
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]).arg(&file);
    browser.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
    let shown = browser.output().expect("chromium runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let found =
        shown.split("<p id=\"found\">found:").nth(1).and_then(|rest| rest.split(':').next()).expect("it is laid out");
    let widths = [360, 700];
    let expected: Vec<String> = (0..4).flat_map(|at| widths.map(|width| format!("mail-{at}-{width}=fits"))).collect();
    assert_eq!(found, expected.join(" "));
}
