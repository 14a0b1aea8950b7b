//! A message in mail format (RFC 5322, MIME): the same bytes every time.
//!
//! Nothing in it is random or of the moment: the date is when the notice was written, Message-ID and MIME boundary
//! come from its key.

use super::MailError;
use crate::core::calendar::Instant;
use crate::core::outbox::{Mailbox, Message, one_line};
use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{MultiPart, SinglePart};
use std::time::{Duration, SystemTime};

/// Letters of the key's fingerprint in a MIME boundary, which is at most 70 long (RFC 2046).
const BOUNDARY_LEN: usize = 40;
/// lettre gives up on dates from the year 9999 on.
const DATE_SECONDS_MAX: u64 = 253_370_764_799;

/// `message` in mail format. `mail` is what errors call it.
pub(super) fn compose(from: &Mailbox, message: &Message, mail: &str) -> Result<lettre::Message, MailError> {
    let address = |whose, address: &str| {
        address.parse::<Address>().map_err(|source| MailError::Address { whose, mail: mail.to_owned(), source })
    };
    let sender = address("sender's", from.address.as_str())?;
    let recipient = address("recipient's", message.key.recipient().as_str())?;
    let boundary = &message.key.fingerprint()[..BOUNDARY_LEN];
    let body = MultiPart::alternative()
        .boundary(boundary)
        .singlepart(SinglePart::plain(message.text.clone()))
        .singlepart(SinglePart::html(message.html.clone()));
    lettre::Message::builder()
        .from(lettre::message::Mailbox::new(display_name(&from.name), sender))
        .to(lettre::message::Mailbox::new(display_name(&message.recipient_name), recipient))
        .subject(one_line(&message.subject))
        .date(date(message.created_at))
        .message_id(Some(message.message_id.clone()))
        .raw_header(auto_submitted())
        .multipart(body)
        .map_err(|source| MailError::Content { mail: mail.to_owned(), source })
}

/// RFC 3834: no mailbox should answer this by itself.
fn auto_submitted() -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned())
}

/// lettre panics on a line end in a name, so this is not left to the caller.
fn display_name(name: &str) -> Option<String> {
    Some(one_line(name)).filter(|name| !name.is_empty())
}

fn date(at: Instant) -> SystemTime {
    let micros = u64::try_from(at.micros()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros).min(Duration::from_secs(DATE_SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Email;
    use mail_parser::{MessageParser, MimeHeaders};
    use proptest::prelude::*;

    fn mailbox(name: &str, address: &str) -> Mailbox {
        Mailbox { name: name.to_owned(), address: Email::new(address).expect("an address") }
    }

    fn message(subject: &str, text: &str) -> Message {
        Message {
            key: "low-credit/acme/low#3/ann@example.com/1".parse().expect("a key"),
            recipient_name: "Ann".to_owned(),
            subject: subject.to_owned(),
            text: text.to_owned(),
            html: format!("<p>{text}</p>"),
            message_id: "<1@credits.example>".to_owned(),
            created_at: Instant::parse("2013-03-05T10:15:00Z").expect("an instant"),
        }
    }

    fn bytes(name: &str, message: &Message) -> Vec<u8> {
        compose(&mailbox(name, "credits@platform.example"), message, "a mail").expect("composed").formatted()
    }

    #[test]
    fn a_mail_reads_back() {
        let text = "Zoë has 280 credits left.\n.\nFrom here on\n".to_owned() + &"long ".repeat(300);
        let raw = bytes("Acme \"AI\" credits", &message("Knapp: 280 übrig (Zoë 東京)", &text));
        let mail = MessageParser::default().parse(&raw).expect("a mail");
        let one = |address: Option<&mail_parser::Address<'_>>| {
            let first = address.and_then(|a| a.first()).expect("one");
            (first.name().unwrap_or_default().to_owned(), first.address().unwrap_or_default().to_owned())
        };
        assert_eq!(one(mail.from()), ("Acme \"AI\" credits".to_owned(), "credits@platform.example".to_owned()));
        assert_eq!(one(mail.to()), ("Ann".to_owned(), "ann@example.com".to_owned()));
        assert_eq!(mail.subject(), Some("Knapp: 280 übrig (Zoë 東京)"));
        assert_eq!(mail.message_id(), Some("1@credits.example"));
        assert_eq!(mail.date().map(mail_parser::DateTime::to_rfc3339).as_deref(), Some("2013-03-05T10:15:00Z"));
        assert_eq!(mail.header_raw("Auto-Submitted").map(str::trim), Some("auto-generated"));
        assert_eq!(mail.content_type().and_then(|t| t.subtype()), Some("alternative"));
        assert_eq!((mail.text_body_count(), mail.html_body_count(), mail.parts.len()), (1, 1, 3));
        assert_eq!(mail.body_text(0).expect("text").replace("\r\n", "\n").trim_end(), text.trim_end());
        let html = mail.body_html(0).expect("html").replace("\r\n", "\n");
        assert_eq!(html.trim_end(), format!("<p>{text}</p>"));
        assert!(raw.is_ascii() && raw.split(|b| *b == b'\n').all(|line| line.len() <= 998));
    }

    #[test]
    fn a_mail_is_the_same_every_time() {
        assert_eq!(bytes("Acme", &message("A", "B")), bytes("Acme", &message("A", "B")));
    }

    #[test]
    fn no_date_is_too_odd() {
        for micros in [i64::MIN, -1, 0, i64::MAX] {
            let at = Instant::from_micros(micros);
            assert!(!bytes("", &Message { created_at: at, ..message("A", "B") }).is_empty());
        }
    }

    proptest! {
        /// Whatever stands in names and subject, the mail has its own headers, each once, and no other.
        #[test]
        fn headers_stay_as_they_are(name: String, person: String, subject: String, cut in "\r\nBcc: eve@evil\\.example\r\n\r\n|") {
            let mut message = message(&format!("{subject}{cut}"), "text");
            message.recipient_name = format!("{person}{cut}");
            let raw = bytes(&format!("{cut}{name}"), &message);
            let mail = MessageParser::default().parse(&raw).expect("a mail");
            let mut names: Vec<&str> = mail.headers().iter().map(|header| header.name()).collect();
            names.sort_unstable();
            prop_assert_eq!(names, [
                "Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "Subject", "To",
            ]);
            prop_assert_eq!(mail.to().and_then(|to| to.first()).and_then(|to| to.address()), Some("ann@example.com"));
        }
    }
}
