//! The samples as real mail files, from facts to disk. They stay in `target/tmp/sample-mails`, to be opened with a
//! mail program and looked at.

use creditd::core::calendar::Instant;
use creditd::core::ids::Email;
use creditd::core::outbox::Mailbox;
use creditd::mail::FileMailer;
use creditd::notice::{
    Sender, Templates, sample_job_failed, sample_job_well, sample_low_credit, sample_platform_month, sample_statement,
};
use mail_parser::{MessageParser, MimeHeaders};
use std::path::Path;

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
