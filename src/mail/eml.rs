//! A message in mail format (RFC 5322, MIME): the same bytes every time.
//!
//! Nothing in it is random or of the moment: the date is when the notice was written, Message-ID and MIME boundary
//! come from its key.

use super::MailError;
use crate::core::calendar::Instant;
use crate::core::outbox::{Attachment, Mailbox, Message, one_line};
use lettre::Address;
use lettre::message::header::{
    ContentDisposition, ContentId, ContentTransferEncoding, ContentType, HeaderName, HeaderValue,
};
use lettre::message::{MultiPart, MultiPartBuilder, SinglePart, SinglePartBuilder};
use std::time::{Duration, SystemTime};

/// Letters of the key's fingerprint in a MIME boundary, which is at most 70 long (RFC 2046).
const BOUNDARY_LEN: usize = 40;
/// lettre gives up on dates from the year 9999 on.
const DATE_SECONDS_MAX: u64 = 253_370_764_799;
/// Longest name of a person or file in a header, in characters. A line of a header has at most 998, and one long word
/// cannot be folded.
const NAME_CHARS_MAX: usize = 200;
/// Longest subject, in characters.
const SUBJECT_CHARS_MAX: usize = 400;

/// `message` in mail format. `mail` is what errors call it.
///
/// Text and HTML are alternatives; around them come the pictures that the HTML shows, around these the files that are
/// attached. What there is nothing for is left out.
pub(super) fn compose(
    from: &Mailbox,
    message: &Message,
    header: Option<(&str, String)>,
    mail: &str,
) -> Result<lettre::Message, MailError> {
    let address = |whose, address: &str| {
        address.parse::<Address>().map_err(|source| MailError::Address { whose, mail: mail.to_owned(), source })
    };
    let sender = address("sender's", from.address.as_str())?;
    let recipient = address("recipient's", message.key.recipient().as_str())?;
    let mut builder = lettre::Message::builder()
        .from(lettre::message::Mailbox::new(display_name(&from.name), sender))
        .to(lettre::message::Mailbox::new(display_name(&message.recipient_name), recipient))
        .subject(short(&message.subject, SUBJECT_CHARS_MAX))
        .date(date(message.created_at))
        .message_id(Some(message.message_id.clone()))
        // RFC 3834: no mailbox should answer this by itself.
        .raw_header(raw_header("Auto-Submitted", "auto-generated"));
    if let Some(url) = &message.unsubscribe_url {
        builder = builder
            .raw_header(raw_header("List-Unsubscribe", &format!("<{url}>")))
            .raw_header(raw_header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"));
    }
    if let Some((name, value)) = header {
        let name = HeaderName::new_from_ascii(name.to_owned())
            .map_err(|_| MailError::Header { mail: mail.to_owned(), name: name.to_owned() })?;
        builder = builder.raw_header(HeaderValue::new(name, value));
    }
    builder.multipart(body(message, mail)?).map_err(|source| MailError::Content { mail: mail.to_owned(), source })
}

fn body(message: &Message, mail: &str) -> Result<MultiPart, MailError> {
    // Each level has a boundary of its own, none of which begins another: some programs look no further.
    let fingerprint = &message.key.fingerprint()[..BOUNDARY_LEN];
    let level = |kind: MultiPartBuilder, letter: char| kind.boundary(format!("{letter}{fingerprint}"));
    let (inline, attached): (Vec<_>, Vec<_>) =
        message.attachments.iter().partition(|attachment| attachment.content_id.is_some());
    let mut body = level(MultiPart::alternative(), 'a')
        .singlepart(SinglePart::plain(message.text.clone()))
        .singlepart(SinglePart::html(message.html.clone()));
    for (kind, letter, parts) in [(MultiPart::related(), 'r', inline), (MultiPart::mixed(), 'm', attached)] {
        if !parts.is_empty() {
            body = level(kind, letter).multipart(body);
            for attachment in parts {
                body = body.singlepart(part(attachment, mail)?);
            }
        }
    }
    Ok(body)
}

fn part(attachment: &Attachment, mail: &str) -> Result<SinglePart, MailError> {
    let content_type = ContentType::parse(&attachment.content_type)
        .map_err(|_| MailError::MediaType { mail: mail.to_owned(), found: one_line(&attachment.content_type) })?;
    let name = Some(short(&attachment.name, NAME_CHARS_MAX)).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| "attachment".to_owned());
    let (builder, disposition) = match &attachment.content_id {
        Some(id) => {
            let builder = SinglePartBuilder::new().header(ContentId::from(format!("<{id}>")));
            (builder, ContentDisposition::inline_with_name(&name))
        }
        None => (SinglePartBuilder::new(), ContentDisposition::attachment(&name)),
    };
    // Whatever it is, it arrives byte by byte: as text its line ends would be those of mail.
    let builder = builder.header(disposition).header(content_type).header(ContentTransferEncoding::Base64);
    Ok(builder.body(attachment.bytes.to_vec()))
}

fn raw_header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// lettre panics on a line end in a name, so this is not left to the caller.
fn display_name(name: &str) -> Option<String> {
    Some(short(name, NAME_CHARS_MAX)).filter(|name| !name.is_empty())
}

/// One line of at most so many characters.
fn short(text: &str, chars_max: usize) -> String {
    let line = one_line(text);
    match line.char_indices().nth(chars_max) {
        Some((at, _)) => format!("{}\u{2026}", line[..at].trim_end()),
        None => line,
    }
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
            unsubscribe_url: None,
            attachments: Vec::new(),
        }
    }

    fn attachment(name: &str, content_type: &str, content_id: Option<&str>, bytes: &[u8]) -> Attachment {
        let content_id = content_id.map(str::to_owned);
        Attachment { name: name.to_owned(), content_type: content_type.to_owned(), content_id, bytes: bytes.into() }
    }

    /// The tree of a mail, by media types: `mixed(related(alternative(plain html) png) csv)`.
    fn tree(mail: &mail_parser::Message<'_>, at: usize) -> String {
        let part = &mail.parts[at];
        let subtype = part.content_type().and_then(|kind| kind.subtype()).unwrap_or_default().to_owned();
        match part.sub_parts() {
            Some(parts) => {
                let inside: Vec<String> = parts.iter().map(|at| tree(mail, *at as usize)).collect();
                format!("{subtype}({})", inside.join(" "))
            }
            None => subtype,
        }
    }

    fn bytes(name: &str, message: &Message) -> Vec<u8> {
        compose(&mailbox(name, "credits@platform.example"), message, None, "a mail").expect("composed").formatted()
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
    fn a_mail_has_the_levels_that_it_needs() {
        let picture = attachment("chart.png", "image/png", Some("chart"), &[0x89, b'P', 0, b'\r', b'\n', 255]);
        let table = attachment("März \"1\".csv", "text/csv", None, b"a,b\n1,2\r3\n");
        for (attachments, expected) in [
            (vec![], "alternative(plain html)"),
            (vec![picture.clone()], "related(alternative(plain html) png)"),
            (vec![table.clone()], "mixed(alternative(plain html) csv)"),
            (vec![table.clone(), picture.clone()], "mixed(related(alternative(plain html) png) csv)"),
        ] {
            let message = Message { attachments, ..message("A", "B") };
            let raw = bytes("Acme", &message);
            assert_eq!(raw, bytes("Acme", &message), "the same every time");
            let mail = MessageParser::default().parse(&raw).expect("a mail");
            assert_eq!(tree(&mail, 0), expected);
            assert!(raw.is_ascii() && raw.split(|b| *b == b'\n').all(|line| line.len() <= 998));
            for part in mail.attachments() {
                let sent = if part.content_id().is_some() { &picture } else { &table };
                assert_eq!(part.contents(), &*sent.bytes, "byte by byte");
                assert_eq!(part.attachment_name(), Some(sent.name.as_str()));
                assert_eq!(part.content_id(), sent.content_id.as_deref());
            }
        }
    }

    #[test]
    fn headers_of_lists_and_providers_come_when_they_are_asked_for() {
        let url = format!("https://credits.example/u?t={}", "a".repeat(700));
        let message = Message { unsubscribe_url: Some(url.clone()), ..message("A", "B") };
        let header = Some(("X-Idempotency-Key", message.key.fingerprint()));
        let raw = compose(&mailbox("", "a@b.example"), &message, header, "a mail").expect("composed").formatted();
        let mail = MessageParser::default().parse(&raw).expect("a mail");
        let header = |name: &str| mail.header_raw(name).unwrap_or_default().replace("\r\n ", "").trim().to_owned();
        assert_eq!(header("List-Unsubscribe"), format!("<{url}>"));
        assert_eq!(header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
        assert_eq!(header("X-Idempotency-Key"), message.key.fingerprint());
        let error = compose(&mailbox("", "a@b.example"), &message, Some(("No Header", String::new())), "a mail");
        assert!(error.is_err_and(|error| error.to_string().contains("\"No Header\"")));
    }

    #[test]
    fn no_date_is_too_odd() {
        for micros in [i64::MIN, -1, 0, i64::MAX] {
            let at = Instant::from_micros(micros);
            assert!(!bytes("", &Message { created_at: at, ..message("A", "B") }).is_empty());
        }
    }

    /// What people and machines put into names: anything, and what is known to break mail.
    fn odd() -> impl Strategy<Value = String> {
        let known = prop::sample::select(vec![
            "\r\nBcc: eve@evil.example\r\n\r\n",
            "\n.\n",
            "\r.\r",
            "\u{0}\u{b}\u{1b}[31m",
            "\"\\\"<eve@evil.example>, ",
            "=?utf-8?q?=0D=0ABcc:_x?=",
            "\u{202e}\u{5d0}\u{5d1}\u{628}\u{61c}",
            "xn--bcher-kva.example b\u{fc}cher\u{3002}example",
            "\u{2028}\u{85}\u{feff}\u{1f469}\u{200d}\u{1f4bb}",
            "; filename=\"x\"; name*=utf-8''x",
        ]);
        let known = known.prop_map(str::to_owned);
        let long = (prop::char::any(), 1_000_usize..10_000).prop_map(|(c, times)| c.to_string().repeat(times));
        let part = prop_oneof![4 => any::<String>(), 4 => known, 1 => long];
        prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
    }

    proptest! {
        /// Whatever stands in names and subject, the mail has its own headers, each once, and no other; its parts are those
        /// that were put in, and no line is longer than mail allows.
        #[test]
        fn headers_stay_as_they_are(name in odd(), person in odd(), subject in odd(), file in odd()) {
            let mut message = message(&subject, "text");
            message.recipient_name = person;
            message.attachments = vec![attachment(&file, "text/csv", None, b"1"), attachment(&file, "image/png", Some("a"), b"2")];
            let raw = bytes(&name, &message);
            prop_assert!(raw.is_ascii() && raw.split(|b| *b == b'\n').all(|line| line.len() <= 998));
            let mail = MessageParser::default().parse(&raw).expect("a mail");
            let mut names: Vec<&str> = mail.headers().iter().map(|header| header.name()).collect();
            names.sort_unstable();
            prop_assert_eq!(names, [
                "Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "Subject", "To",
            ]);
            prop_assert_eq!(mail.to().and_then(|to| to.first()).and_then(|to| to.address()), Some("ann@example.com"));
            prop_assert_eq!(mail.from().and_then(|to| to.first()).and_then(|to| to.address()), Some("credits@platform.example"));
            prop_assert_eq!(tree(&mail, 0), "mixed(related(alternative(plain html) png) csv)");
        }
    }
}
