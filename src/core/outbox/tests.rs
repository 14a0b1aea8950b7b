//! Keys read in one way, lines are one line, and what no mail can be made of is refused.

use super::*;
use crate::core::ids::LevelName;
use proptest::prelude::*;

fn key(text: &str) -> NoticeKey {
    text.parse().expect("a key")
}

#[test]
fn keys_are_spelled_in_one_way() {
    let account = AccountId::new("acme").expect("an id");
    let ann = Email::new("ann@example.com").expect("an address");
    let crossing = Crossing { level: LevelName::new("low").expect("a name"), crossing: 3 };
    let march = "2013-03".parse().expect("a month");
    let day = NaiveDate::from_ymd_opt(2013, 3, 5).expect("a date");
    let began_at = Instant::parse("2013-03-01T00:05:00.000001Z").expect("an instant");
    for (made, text) in [
        (NoticeKey::low_credit(account.clone(), &crossing, ann.clone()), "low-credit/acme/low#3/ann@example.com/1"),
        (
            NoticeKey::monthly_statement(account.clone(), march, ann.clone(), 2),
            "monthly-statement/acme/2013-03/ann@example.com/2",
        ),
        (NoticeKey::daily_statement(account, day, ann.clone(), 1), "daily-statement/acme/2013-03-05/ann@example.com/1"),
        (
            NoticeKey::job_failed(Job::MonthlyReport, began_at, ann.clone()),
            "job-failed//monthly-report@2013-03-01T00:05:00.000001Z/ann@example.com/1",
        ),
        (NoticeKey::platform_monthly(march, ann.clone()), "platform-monthly//2013-03/ann@example.com/1"),
        (
            NoticeKey::test(NoticeKind::MonthlyStatement, began_at, ann),
            "test//monthly-statement@2013-03-01T00:05:00.000001Z/ann@example.com/1",
        ),
    ] {
        assert_eq!(made.to_string(), text);
        assert_eq!(key(text), made);
    }
    for bad in [
        "",
        "low-credit",
        "gossip/acme/low#1/ann@example.com/1",
        "low-credit/acme//ann@example.com/1",
        "low-credit//low#1/ann@example.com/1",
        "job-failed/acme/reset@2013-03-01T00:05:00Z/ann@example.com/1",
        "low-credit/acme/low#1/ann/1",
        "low-credit/acme/low#1/ann@example.com",
        "low-credit/acme/low#1/ann@example.com/+1",
        "low-credit/acme/low#1/ann@EXAMPLE.com/1",
    ] {
        assert!(bad.parse::<NoticeKey>().is_err(), "{bad}");
    }
}

#[test]
fn a_message_id_is_a_function_of_what_is_said_to_whom() {
    let id = |of: &str, subject: &str, text: &str| key(of).message_id(subject, text, "credits.example");
    let (third, fourth) = ("low-credit/acme/low#3/ann@example.com/1", "low-credit/acme/low#4/ann@example.com/1");
    let one = id(third, "Low", "283 left");
    assert!(one.starts_with('<') && one.ends_with("@credits.example>") && one == id(third, "Low", "283 left"), "{one}");
    for other in [id(fourth, "Low", "283 left"), id(third, "Low", "50 left"), id(third, "Low2", "83 left")] {
        assert_ne!(one, other);
    }
}

#[test]
fn a_line_is_one_line() {
    assert_eq!(one_line("  Acme\r\nBcc: x@y.z\t\u{0}!  "), "Acme Bcc: x@y.z !");
    assert_eq!(one_line("a\u{202e}gpj.exe\u{2028}b\u{feff}"), "agpj.exe b");
    assert_eq!(one_line("مرحبا Zoë 東京"), "مرحبا Zoë 東京");
    assert_eq!(one_line("\r\n"), "");
}

#[test]
fn a_message_that_no_mail_can_be_made_of_is_refused_without_its_address() {
    let key = key("low-credit/acme/low#3/ann@example.com/1");
    let picture = Attachment {
        name: "chart.png".into(),
        content_type: "image/png".into(),
        content_id: Some("chart-1.a_b".into()),
        bytes: vec![0; MESSAGE_BYTES_MAX - 3].into(),
    };
    let good = Message {
        message_id: key.message_id("Low", "283 left", "credits.example"),
        key,
        recipient_name: String::new(),
        subject: "a".into(),
        text: "b".into(),
        html: "c".into(),
        created_at: Instant::from_micros(0),
        unsubscribe_url: Some("https://credits.example/u?t=1&s=2".into()),
        attachments: vec![picture.clone()],
    };
    assert_eq!(good.check(), Ok(()));
    let of = |content_type: &str, content_id: Option<&str>| {
        let (content_type, content_id) = (content_type.to_owned(), content_id.map(str::to_owned));
        Message { attachments: vec![Attachment { content_type, content_id, ..picture.clone() }], ..good.clone() }
    };
    let url = |url: String| Message { unsubscribe_url: Some(url), ..good.clone() };
    let large = Message { text: "bb".into(), ..good.clone() };
    insta::assert_snapshot!(large.check().expect_err("too large"), @"the message low-credit/acme/low#3/5589578aac65 has 5000001 bytes with its attachments; 5000000 are allowed. Attach less");
    let bad = [
        large,
        of("image", None),
        of("image/png; name=\"x\"", None),
        of("image/\r\nBcc: x", None),
        of("image/png", Some("")),
        of("image/png", Some("a>b")),
        url("javascript:x".into()),
        url("https://x.example/\r\nBcc: y".into()),
        url("https://x.example/>".into()),
        url(format!("https://x.example/{}", "x".repeat(UNSUBSCRIBE_URL_LEN_MAX))),
    ];
    for message in bad {
        let error = message.check().expect_err("refused").to_string();
        assert!(!error.contains("ann@") && error.contains("low-credit/acme/low#3/5589578aac65"), "{error}");
    }
}

proptest! {
    /// Whatever an address is allowed to look like, a key reads back as itself.
    #[test]
    fn keys_read_back(local in "[a-z/#+=!]{1,20}", version: u32, number: u32) {
        let recipient = Email::new(&format!("{local}@example.com"));
        prop_assume!(recipient.is_ok());
        let account = AccountId::new("a.b-c_d").expect("an id");
        let crossing = Crossing { level: LevelName::new("low").expect("a name"), crossing: number };
        let mut made = NoticeKey::low_credit(account, &crossing, recipient.expect("assumed"));
        made.version = version;
        prop_assert_eq!(key(&made.to_string()), made);
    }

    /// What `one_line` leaves alone it leaves alone the second time, too.
    #[test]
    fn one_line_is_settled(text: String) {
        let line = one_line(&text);
        let breaks = line.chars().any(|c| c.is_control() || c == '\u{2028}');
        prop_assert!(!breaks, "{:?}", line);
        prop_assert_eq!(one_line(&line), line);
    }
}
