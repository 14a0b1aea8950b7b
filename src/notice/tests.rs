//! What the mails say, and what they never let through.

use super::*;
use crate::core::counting::grouped;
use crate::core::credits::Credits;
use crate::core::ids::Email;
use crate::core::statement::{Figures, Said};
use proptest::prelude::*;
use std::fs;
use std::sync::LazyLock;

pub(super) static TEMPLATES: LazyLock<Templates> =
    LazyLock::new(|| Templates::load(None, sender()).expect("the embedded templates work"));

pub(super) fn mailbox(name: &str, address: &str) -> Mailbox {
    Mailbox { name: name.to_owned(), address: Email::new(address).expect("an address") }
}

fn sender() -> Sender {
    Sender { mailbox: mailbox("AI credits", "credits@platform.example"), buy_url: None }
}

pub(super) fn at() -> Instant {
    Instant::parse("2013-03-05T17:00:00Z").expect("an instant")
}

pub(super) fn low_credit(facts: &LowCredit) -> Message {
    TEMPLATES.low_credit(facts, &mailbox("Ann", "ann@example.com"), at()).expect("a message")
}

pub(super) fn statement(facts: &StatementMail) -> Message {
    TEMPLATES.statement(facts, &mailbox("Ann", "ann@example.com"), at()).expect("a message")
}

fn shown(message: &Message) -> String {
    format!("{}\n{}\nSubject: {}\n\n{}", message.key, message.message_id, message.subject, message.text)
}

#[test]
fn low_credit_reads_well() {
    insta::assert_snapshot!(shown(&low_credit(&sample_low_credit())), @r#"
    low-credit/acme/low#3/ann@example.com/1
    <a85059ac86534cbc66ab4f81aaa31130@platform.example>
    Subject: Low on AI credits: 280 left (Acme)

    280 AI credits left: 80 free and 200 purchased. At the pace of the last 7 days (40 a day) they run out around 12 March 2013, 13:00 EDT, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; the purchased credits do not cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    Why now: Acme has reached its alert level "low", which is 300 credits or fewer. Free credits are used first, and what is left of them lapses at the end of the month. What was bought never lapses.

    To buy more: a pack of 2,500 credits costs $25 and never lapses. At this pace 1 pack carries to the end of the month. To order, write to credits@platform.example.

    -- 
    You get this because you are an admin of Acme (account acme). It comes once each time a level is reached, without reminders. To change the levels or who is told, write to credits@platform.example.
    Times are those of America/New_York.
    "#);
}

#[test]
fn the_first_line_answers_in_every_case() {
    let first = |facts: &LowCredit| low_credit(facts).text.lines().next().unwrap_or_default().to_owned();
    let lines: Vec<String> = low_credit::samples().iter().map(first).collect();
    insta::assert_snapshot!(lines.join("\n\n"), @r#"
    280 AI credits left: 80 free and 200 purchased. At the pace of the last 7 days (40 a day) they run out around 12 March 2013, 13:00 EDT, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; the purchased credits do not cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    80 AI credits left: 80 free and 0 purchased. At the pace of the last 7 days (40 a day) they run out around 7 March 2013, 12:00 EST, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; there are no purchased credits to cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    5,080 AI credits left: 80 free and 5,000 purchased. At the pace of the last 7 days (10 a day) the free credits run out around 13 March 2013, 13:00 EDT, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; the purchased credits cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    5,000 AI credits left: 0 free and 5,000 purchased. At the pace of the last 7 days (10 a day) they last until the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT: the free credits are used up, the purchased ones cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    280 AI credits left: 280 free and 0 purchased. At the pace of the last 7 days (less than 1 a day) the free credits last until the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    280 AI credits left: 280 free and 0 purchased. None were used in the last 7 days, so there is no telling how long they last; the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    No AI credits left, neither free nor purchased. The pace of the last 7 days was 40 a day. Unless more are bought, there are none until the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT. These actions have stopped: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    No AI credits left, neither free nor purchased. Unless more are bought, there are none until the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT. These actions have stopped: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    280 AI credits left: 80 free and 200 purchased. There is not enough history to tell how long they last: the account is less than a day old; the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT.

    No AI credits left, neither free nor purchased. There are none until more are bought. These actions have stopped: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    280 AI credits left: 280 free and 0 purchased. At the pace of the 3 days since the account was opened (40 a day) they run out around 12 March 2013, 13:00 EDT, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; there are no purchased credits to cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    280 AI credits left: 280 free and 0 purchased. At the pace of the last 7 days (40 a day), each weekday as usual, they run out around 12 March 2013, 12:00 EDT, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; there are no purchased credits to cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    500 AI credits left: 0 free and 500 purchased. At the pace of the last 7 days (10 a day) they run out around 24 April 2013, 13:00 EDT; the next month begins on 1 April 2013, 00:00 EDT, which brings none. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    5,000 AI credits left: 0 free and 5,000 purchased. At the pace of the last 7 days (1 a day) they last for more than a year; the next month begins on 1 April 2013, 00:00 EDT, which brings none. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    580 AI credits left: 80 free and 500 purchased. At the pace of the last 7 days (10 a day) the free credits run out around 13 March 2013, 13:00 EDT, and all of them run out around 2 May 2013, 13:00 EDT; the next month begins on 1 April 2013, 00:00 EDT, which brings none. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    280 AI credits left: 280 free and 0 purchased. At the pace of the last 7 days (1 a day) they run out around 10 December 2013, 12:00 EST; the next month begins on 1 April 2013, 00:00 EDT, which brings none. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    80 AI credits left: 80 free and 0 purchased. 1 more is on hold for actions under way. At the pace of the last 7 days (40 a day) they run out around 7 March 2013, 12:00 EST, before the next month begins on 1 April 2013, 00:00 EDT, which brings none; there are no purchased credits to cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    No AI credits left, neither free nor purchased. 1,500 are on hold for actions under way. Unless more are bought or some of those on hold come back, there are none until the next free credit arrives on 1 April 2013, 00:00 EDT. These actions have stopped: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    280 AI credits left: 80 free and 200 purchased. At the pace of the last 7 days (40 a day) they run out around 12 March 2013, 13:00 EDT, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; the purchased credits do not cover the gap. These actions have stopped: Write a book. At 0 these actions stop, too: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    250 AI credits left: 250 free and 0 purchased. At the pace of the last 7 days (40 a day) they run out around 5 March 2013, 13:00 EST, when the last of the bonus credits lapse, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; there are no purchased credits to cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    791 AI credits left: 221 free and 570 purchased. At the pace of the last 7 days (40 a day) they run out around 23 March 2013, 19:00 EDT, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; the purchased credits do not cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    5,080 AI credits left: 80 free and 5,000 purchased. At the pace of the last 7 days (40 a day) the free credits run out around 5 March 2013, 13:00 EST, when the last of the free bonus credits lapse, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; the purchased credits cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    110 AI credits left: 80 free and 30 purchased. None were used in the last 7 days. They last until 14 March 2013, 14:00 EDT at most, when the last of them lapse; the next month begins on 1 April 2013, 00:00 EDT, which brings none. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    110 AI credits left: 80 free and 30 purchased. There is not enough history for a pace: the account is less than a day old. They last until 14 March 2013, 14:00 EDT at most, when the last of them lapse; the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.

    280 AI credits left: 280 free and 0 purchased. At the pace of the last 7 days (1,000 a day), each weekday as usual, they run out around 5 March 2013, 18:00 EST, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; there are no purchased credits to cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.
    "#);
}

#[test]
fn the_longer_pace_and_the_packs_are_said_where_they_help() {
    let samples = low_credit::samples();
    let said = |facts: &LowCredit, text: &str| low_credit(facts).text.contains(text);
    let longest = samples.last().expect("a sample");
    assert!(said(longest, " Over the last 28 days, 1,000 a day were used."));
    assert!(said(longest, " At this pace 11 packs carry to the end of the month."));
    assert!(said(&samples[1], " At this pace 1 pack carries to the end of the month."));
    for (facts, why) in
        [(2, "the purchased cover"), (5, "nothing was used"), (8, "too young")].map(|(at, why)| (&samples[at], why))
    {
        assert!(!said(facts, "to the end of the month") && !said(facts, "28 days"), "{why}");
    }
    assert!(!said(&LowCredit { pack: None, ..samples[1].clone() }, "to the end of the month"), "none are sold");
}

#[test]
fn a_statement_says_what_of_it_is_on_hold() {
    let mut facts = StatementMail { on_hold: 1_265, ..sample_statement() };
    facts.said.counts.succeeded = 0;
    let message = statement(&facts);
    let first = message.text.lines().next().unwrap_or_default();
    assert_eq!(first, "1,305 AI credits used in March 2013. April began with 4,380: 1,500 free and 2,880 purchased.");
    let said = "1,265 of the credits used are on hold for actions under way; what those do not take is given back, and lapses at once where its time was over.";
    assert!(message.text.contains(&format!("\n{said}\n")) && message.html.contains(said), "{}", message.text);
}

#[test]
fn a_statement_escapes_its_remarks_once() {
    let html = statement(&sample_statement()).html;
    assert!(html.contains("because a user&#39;s monthly cap was used up") && !html.contains("&amp;"), "{html}");
}

#[test]
fn a_monthly_statement_reads_well() {
    insta::assert_snapshot!(shown(&statement(&sample_statement())), @r#"
    monthly-statement/acme/2013-03/ann@example.com/1
    <3b0097191a09a974a33721cb2921c40c@platform.example>
    Subject: 1,305 AI credits used in March 2013, 4,380 for April (Acme)

    1,305 AI credits used in March 2013 in 212 actions. April began with 4,380: 1,500 free and 2,880 purchased.

                                    Free   Purchased       Total
    Carried in                         0         420         420
    Allocated                     +1,500           0      +1,500
    Purchased                          0      +2,500      +2,500
    Consumed                      -1,265         -40      -1,305
    Refunded                         +15           0         +15
    Lapsed, unused                  -250           0        -250
    = Remaining                        0       2,880       2,880

    1 pack was bought: 2,500 credits for $25.
    250 free credits were not used and lapsed when the month ended.
    2,880 purchased credits are carried forward; what was bought never lapses.
    1 action was refused because a user's monthly cap was used up; you were not charged for it.
    7 actions were refused for want of credits; you were not charged for them.
    2 actions failed; you were not charged for them.

    Credits consumed per day. March 2013: 1,305 consumed, 1,265 free and 40 purchased. The most was 120 on 5 March 2013.

    Where they went                           Actions    Credits
    Summarise document                             96        768
    Draft reply                                    88        264
    Analyse image                                  17        204
    Translate page                                 11         69

    Who used them                             Actions    Credits
    ben                                           120        800
    (without a user)                               50        300
    zoë@acme.example                               30        150
    4 others                                       12         55

    Attached: statement-acme-2013-03.xlsx, the month by day as a workbook, with notes on what each figure means.

    To order credits, write to credits@platform.example.

    -- 
    You get this because you are an admin of Acme (account acme) and its monthly statement is on. To change that, write to credits@platform.example.
    The month begins and ends at midnight in America/New_York.
    "#);
}

#[test]
fn a_daily_statement_and_a_correction_say_so() {
    let samples = statement::samples();
    insta::assert_snapshot!(shown(&statement(&samples[2])), @r#"
    daily-statement/acme/2013-03-05/ann@example.com/1
    <51c34fcc6c03e35f9a27191fb2e6038c@platform.example>
    Subject: No AI credits used on 5 March 2013, 0 left (Acme)

    No AI credits used on 5 March 2013. 0 left: 0 free and 0 purchased.

                                    Free   Purchased       Total
    Carried in                         0           0           0
    = Remaining                        0           0           0

    To order credits, write to credits@platform.example.

    -- 
    You get this because you are an admin of Acme (account acme) and its daily statement is on. To change that, write to credits@platform.example.
    The day begins and ends at midnight in America/New_York.
    "#);
    let corrected = statement(&samples[0]);
    assert_eq!(corrected.subject, "Corrected: 1,305 AI credits used in March 2013, 4,380 for April (Acme)");
    assert!(
        corrected.text.starts_with("Corrected: 1,305 AI credits used in March 2013 in 212 actions."),
        "{}",
        corrected.text
    );
    assert!(corrected.html.contains(">Corrected: 1,305 AI credits used in March 2013</h1>"), "{}", corrected.html);
    let last_day = statement(&samples[1]);
    assert_eq!(last_day.subject, "1,305 AI credits used on 31 March 2013, 4,380 for April (Acme)");
    let changes = corrected.text.split("\n\n").nth(1).unwrap_or_default();
    insta::assert_snapshot!(changes, @"
    This replaces the statement you got before. Something became known after it was written. These figures have changed:
    Consumed, free: 1,240 -> 1,265 (usage told after the statement)
    Lapsed, free: 275 -> 250 (taken by usage told after the statement)
    Actions done: 209 -> 212 (told after the statement)
    ");
    for change in ["<strong>This replaces", "Consumed, free", "1,240", "usage told after the statement"] {
        assert!(corrected.html.contains(change), "{change}");
    }
}

#[test]
fn a_statement_that_does_not_add_up_is_refused() {
    let mut facts = sample_statement();
    facts.said.purchased.remaining = Credits::new(2_881);
    let refused = TEMPLATES.statement(&facts, &mailbox("", "ann@example.com"), at());
    assert!(matches!(refused, Err(NoticeError::DoesNotAddUp { changes: 2_880, remaining: 2_881 })));
}

#[test]
fn the_html_says_what_the_text_says() {
    let message = low_credit(&sample_low_credit());
    for said in ["280 AI credits left", "80 free", "200 purchased", "12 March 2013", "1 April", "Draft reply", "$25"] {
        assert!(message.html.contains(said) && message.text.contains(said), "{said}");
    }
    let message = statement(&sample_statement());
    let all = [
        "1,305 AI credits used",
        "April began with 4,380",
        "1,500 free and 2,880 purchased",
        "-1,265",
        "2,880",
        "1 pack was bought: 2,500 credits for $25.",
        "lapsed when the month ended",
        "7 actions were refused for want of credits; you were not charged for them.",
        "2 actions failed; you were not charged for them.",
        "The most was 120 on 5 March 2013.",
        "Summarise document",
        "zoë@acme.example",
        "(without a user)",
        "4 others",
        "statement-acme-2013-03.xlsx",
        "credits@platform.example",
    ];
    for said in all {
        assert!(message.html.contains(said) && message.text.contains(said), "{said}");
    }
}

#[test]
fn a_statement_shows_its_chart_and_brings_its_workbook() {
    let facts = sample_statement();
    let message = statement(&facts);
    let [chart, workbook] = message.attachments.as_slice() else { panic!("{:?}", message.attachments) };
    let id = chart.content_id.as_deref().expect("shown within");
    let shown =
        format!("<img src=\"cid:{id}\" width=\"520\" alt=\"Credits consumed per day. March 2013: 1,305 consumed,");
    assert!(message.html.contains(&shown), "{}", message.html);
    assert_eq!((workbook.name.as_str(), workbook.content_id.as_deref()), ("statement-acme-2013-03.xlsx", None));
    let other = TEMPLATES.statement(&facts, &mailbox("Ben", "ben@example.com"), at()).expect("a message");
    for (of_ann, of_ben) in message.attachments.iter().zip(&other.attachments) {
        assert!(Arc::ptr_eq(&of_ann.bytes, &of_ben.bytes), "made once");
    }
    message.check().expect("a mail can be made of it");
}

#[test]
fn a_month_in_which_nobody_did_anything_is_told_in_short() {
    let mut quiet = statement::samples().swap_remove(3);
    (quiet.said.free.allocated, quiet.said.free.lapsed) = (Credits::new(1_500), Credits::new(1_500));
    quiet.lapses = sample_statement().lapses;
    quiet.lapses[0].credits = Credits::new(1_500);
    let message = statement(&quiet);
    assert_eq!(message.attachments, []);
    assert!(!message.html.contains("<img") && !message.html.contains("Attached"));
    insta::assert_snapshot!(message.text, @"
    No AI credits used in March 2013. April began with 1,500: 1,500 free and 0 purchased.

                                    Free   Purchased       Total
    Carried in                         0           0           0
    Allocated                     +1,500           0      +1,500
    Lapsed, unused                -1,500           0      -1,500
    = Remaining                        0           0           0

    1,500 free credits were not used and lapsed when the month ended.

    To order credits, write to credits@platform.example.

    -- 
    You get this because you are an admin of Acme (account acme) and its monthly statement is on. To change that, write to credits@platform.example.
    The month begins and ends at midnight in America/New_York.
    ");
}

#[test]
fn mails_load_nothing() {
    for html in [low_credit(&sample_low_credit()).html, statement(&sample_statement()).html] {
        for outside in ["http:", "https:", "url(", "@import", "<link", "<script"] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert_eq!(html.matches("src=").count(), html.matches("src=\"cid:").count());
    }
}

#[test]
fn a_page_to_buy_at_is_linked() {
    let sender = Sender { buy_url: Some("https://platform.example/buy?a=1&b=2".to_owned()), ..sender() };
    let templates = Templates::load(None, sender).expect("the embedded templates work");
    let message = templates.low_credit(&sample_low_credit(), &mailbox("", "ann@example.com"), at());
    let message = message.expect("a message");
    assert!(message.text.contains("Order at https://platform.example/buy?a=1&b=2\n"));
    assert!(message.html.contains("href=\"https://platform.example/buy?a=1&amp;b=2\""));
}

/// Zones without letters are told by how far they are from UTC.
#[test]
fn a_zone_is_told_as_people_write_it() {
    for (zone, said) in [
        ("Asia/Kathmandu", "5 March 2013, 16:00 UTC+05:45"),
        ("Asia/Dubai", "5 March 2013, 14:15 UTC+04"),
        ("America/Caracas", "5 March 2013, 05:45 UTC-04:30"),
        ("America/New_York", "5 March 2013, 05:15 EST"),
    ] {
        let at = Instant::parse("2013-03-05T10:15:00Z").expect("an instant");
        assert_eq!(words::moment(at, zone.parse().expect("a zone"), crate::core::locale::Locale::default()), said);
    }
}

/// Loads the embedded templates with one file replaced.
fn load_with(name: &str, content: &str) -> Result<Templates, String> {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join(name), content).expect("a file");
    Templates::load(Some(dir.path()), sender()).map_err(|error| error.to_string())
}

#[test]
fn a_file_of_the_operator_replaces_one_template() {
    let templates = load_with("low-credit.subject.txt", "[{{ account_id }}]\r\n{{ total | number }} left\n");
    let message = templates.expect("works").low_credit(&sample_low_credit(), &mailbox("", "ann@example.com"), at());
    let message = message.expect("a message");
    assert_eq!(message.subject, "[acme] 280 left");
    assert_eq!(message.text, low_credit(&sample_low_credit()).text);
    assert!(load_with("README.md", "{{ not a template").is_ok());
}

#[test]
fn a_broken_template_is_refused_by_name() {
    for (name, content, reasons) in [
        ("low-credit.txt", "{{ total", ["low-credit.txt", "1:"]),
        ("low-credit.txt", "fine\n{{ balance }}", ["low-credit.txt", "balance"]),
        ("statement.html", "{% if monthly %}{{ oops }}{% endif %}", ["statement.html", "oops"]),
        ("parts.html", "", ["low-credit.html", "paragraph"]),
        ("statement.subject.txt", " \n ", ["statement.subject.txt", "empty subject"]),
        ("low-credit.txt", " \n ", ["low-credit.txt", "empty text"]),
        ("low-credits.txt", "x", ["low-credits.txt", "low-credit.txt"]),
        ("low-credit.txt", "{% for a in [1] %}{% endfor", ["low-credit.txt", "1:"]),
    ] {
        let Err(error) = load_with(name, content) else { panic!("{name} with {content:?} was accepted") };
        for reason in reasons {
            assert!(error.contains(reason), "{name} with {content:?}: {error}");
        }
    }
    let large = load_with("low-credit.html", &"x".repeat(HTML_BYTES_MAX + 1)).err().unwrap_or_default();
    assert!(large.contains("low-credit.html") && large.contains("bytes of HTML"), "{large}");
    let dir = tempfile::tempdir().expect("a directory");
    let loops = ["{% for a in range(end=100) %}".repeat(6), "{% endfor %}".repeat(6)].join("x");
    fs::write(dir.path().join("low-credit.txt"), loops).expect("a file");
    let endless = Templates::load_within(Duration::from_millis(50), Some(dir.path()), sender()).err();
    assert!(matches!(endless, Some(BadTemplates::Endless { kind: NoticeKind::LowCredit, .. })));
    let missing = Templates::load(Some(Path::new("/nowhere/at/all")), sender()).err();
    assert!(matches!(missing, Some(BadTemplates::Read { .. })));
}

/// As ours do not; by file and line where a template says so, and by what its sample came to where it is put together.
#[test]
fn a_template_that_loads_or_runs_something_is_refused() {
    for (name, content, reason) in [
        (
            "low-credit.html",
            "<p>\n<img src=\"https://x.example/a.png\">",
            "low-credit.html:2: a mail may not have src=",
        ),
        ("layout.html", "<style>.a { background: url(a.png) }</style>", "layout.html:1: a mail may not have url("),
        ("statement.html", "<a href={{ account }}>", "statement.html:1: a mail may not have {{ }} in an element"),
        (
            "resolved.html",
            "{% set a = \"https:\" %}\n<img src=\"{{ a }}//x\">",
            "resolved.html, or one that it takes in, gave HTML that has in line 2 what a mail may not have: src=",
        ),
        ("job-well.html", "<b onmouseover=\"x()\">", "job-well.html:1: a mail may not have the attribute onmouseover"),
        (
            "statement.remarks.txt",
            "\n{{ account | safe }}",
            "statement.remarks.txt:2: a mail may not have the filter \"safe\"",
        ),
        (
            "low-credit.html",
            "{% filter safe %}{% endfilter %}",
            "low-credit.html:1: a mail may not have the filter \"safe\"",
        ),
    ] {
        let Err(error) = load_with(name, content) else { panic!("{name} with {content:?} was accepted") };
        assert!(error.contains(reason), "{name} with {content:?}: {error}");
    }
    assert!(load_with("resolved.html", "<a href=\"https://x.example/{{ account_id }}\">{{ account }}</a>").is_ok());
}

#[test]
fn a_template_that_nobody_looks_at_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let load = || Templates::load(Some(dir.path()), sender()).map(drop).map_err(|error| error.to_string());
    for folder in [".git", "notes/old"] {
        fs::create_dir_all(dir.path().join(folder)).expect("a folder");
    }
    fs::write(dir.path().join(".git/low-credit.html"), "{{").expect("a file");
    fs::write(dir.path().join("notes/old/why.md"), "so").expect("a file");
    assert_eq!(load(), Ok(()));
    fs::write(dir.path().join("notes/old/low-credit.html"), "x").expect("a file");
    let error = load().expect_err("it would be ignored");
    assert!(error.contains("notes/old/low-credit.html replaces no mail template: folders within"), "{error}");
    for name in ["low-credit.htm", "Low-Credit.html", "low-credit.html.j2"] {
        let error = load_with(name, "x").err().unwrap_or_default();
        assert!(error.contains(name) && error.contains("replaces no mail template; the templates are"), "{error}");
    }
}

/// What no sample comes to is seen in the mail that does: it is not written, and so not sent.
#[test]
fn a_mail_that_would_load_something_is_not_written() {
    for (name, content, template) in [
        (
            "low-credit.html",
            "{% if account_id == \"odd\" %}{% set u = \"https://x.example/a.png\" %}<img src=\"{{ u }}\">{% endif %}",
            "low-credit.html",
        ),
        (
            "low-credit.longer.txt",
            "{% if account_id == \"odd\" %}<img src=\"https://x.example/a.png\">{% endif %}",
            "low-credit.html",
        ),
    ] {
        let templates = load_with(name, content).expect("no sample comes to it");
        let word = |account: &str| {
            let facts = LowCredit { account: account.parse().expect("an id"), ..sample_low_credit() };
            templates.low_credit(&facts, &mailbox("", "ann@example.com"), at())
        };
        assert!(word("even").is_ok(), "{name}");
        let error = word("odd").expect_err(name).to_string();
        let said = format!("the mail template {template}, or one that it takes in, gave HTML that has in line ");
        assert!(error.starts_with(&said) && error.contains("src=\"https://x.example/a.png\""), "{error}");
    }
}

/// Names as an attacker would choose them: pieces that end headers, open tags, close attributes, turn the direction.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "\r\nBcc: eve@evil.example\r\n",
            "<script>alert(1)</script>",
            "\" onclick=\"x",
            "' onclick='x",
            "</td></table>",
            "<!--",
            "{{ contact }}{% raw %}",
            "&lt;",
            "\u{202e}txt.exe",
            "\u{2066}",
            "\u{2028}",
            "\0",
            "\u{1b}[31m",
            "مرحبا",
            "東京",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// The tags of a page, without what stands between them.
fn tags(html: &str) -> Vec<&str> {
    html.split('<').skip(1).map(|rest| rest.split_once('>').map_or(rest, |(tag, _)| tag)).collect()
}

#[track_caller]
fn check_harmless(message: &Message, plain: &Message) {
    let unseen =
        |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!message.subject.chars().any(unseen), "{:?}", message.subject);
    assert!(!message.recipient_name.chars().any(unseen), "{:?}", message.recipient_name);
    assert!(!message.text.chars().any(|c| c != '\n' && unseen(c)), "{:?}", message.text);
    assert!(!message.html.chars().any(|c| c != '\n' && unseen(c)));
    assert_eq!(message.text.lines().count(), plain.text.lines().count());
    assert_eq!(tags(&message.html), tags(&plain.html));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the names are: one subject line, as many lines of text and the very same tags as with plain names.
    #[test]
    fn names_stay_in_their_place(name in hostile(), title in hostile(), person in hostile()) {
        let to = mailbox(&person, "ann@example.com");
        let mut facts = sample_low_credit();
        let plain = low_credit(&facts);
        facts.account_name = name.clone();
        facts.stops[0] = title.clone();
        check_harmless(&TEMPLATES.low_credit(&facts, &to, at()).expect("a message"), &plain);

        let mut facts = sample_statement();
        let plain = statement(&facts);
        facts.account_name = name;
        facts.top_actions.most[1].name = title.clone();
        facts.top_users.most[0].name = title;
        check_harmless(&TEMPLATES.statement(&facts, &to, at()).expect("a message"), &plain);
    }

    /// Any figures that add up make a statement, and their rows add up in it.
    #[test]
    fn any_figures_that_add_up_are_stated(parts in proptest::array::uniform9(0..Credits::LIMIT.get() / 10)) {
        let [carried_in, allocated, purchased, bonus, consumed, refunded, lapsed, returned, adjusted] =
            parts.map(Credits::new);
        let sum = parts[..4].iter().sum::<i64>() - parts[4] + parts[5] - parts[6] - parts[7] + parts[8];
        let remaining = Credits::new(sum);
        let figures = Figures {
            carried_in, allocated, purchased, bonus, consumed, refunded, lapsed, returned, adjusted, remaining,
        };
        let said = Said { free: figures, purchased: figures, ..sample_statement().said };
        let message = statement(&StatementMail { said, ..sample_statement() });
        let suffix = format!("{} for April (Acme)", grouped(2 * i128::from(sum) + 1_500));
        prop_assert!(message.subject.ends_with(&suffix), "{}", message.subject);
        let within = statement(&StatementMail { said, next: None, ..sample_statement() });
        let suffix = format!("{} left (Acme)", grouped(2 * i128::from(sum)));
        prop_assert!(within.subject.ends_with(&suffix), "{}", within.subject);
    }
}
