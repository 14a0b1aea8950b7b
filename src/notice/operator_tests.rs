//! What the mails to operators say.

use super::*;
use crate::core::calendar::Month;
use crate::core::ids::Email;
use crate::core::schedule::{Job, Slot};
use crate::core::unsubscribe::Wish;
use chrono_tz::Tz;

fn templates() -> Templates {
    let address = Email::new("credits@platform.example").expect("an address");
    let mailbox = Mailbox { name: "AI credits".to_owned(), address };
    Templates::load(None, Sender { mailbox, buy_url: None }).expect("the embedded templates work")
}

fn ops() -> Mailbox {
    Mailbox { name: "Ops".to_owned(), address: Email::new("ops@example.com").expect("an address") }
}

fn shown(message: &Message) -> String {
    format!("{}\nSubject: {}\n\n{}", message.key, message.subject, message.text)
}

#[test]
fn a_job_that_failed_reads_well() {
    let message = templates().job_failed(&sample_job_failed(), &ops()).expect("a message");
    insta::assert_snapshot!(shown(&message), @r#"
    job-failed//verify@2013-03-01T03:30:04Z/ops@example.com/1
    Subject: Job verify failed: the ledger does not add up

    The job verify failed on 1 March 2013, 03:30 UTC.

    Why: the ledger does not add up; `creditd verify` shows all differences. The first: the balance is what the grants have left: acme: balance of free + purchased should be 1500 + 2251, is 1500 + 2250.

    What it means: Nothing was changed. Do not trust figures of the accounts that are named before somebody has looked.

    What to do: The next night proves it again. Until then:
    creditd verify                   shows all differences, and changes nothing
    creditd jobs runs --job verify   shows its last runs
    creditd run verify               runs it now, and says what is wrong

    No other mail comes about this until the job is done; then one says so.

    -- 
    You get this because you are an operator of creditd: one of `operators` in [mail] of its settings.
    "#);
}

#[test]
fn a_job_that_is_well_again_reads_well() {
    let message = templates().job_well(&sample_job_well(), &ops()).expect("a message");
    insta::assert_snapshot!(shown(&message), @r#"
    job-well//verify@2013-03-01T03:30:04Z/ops@example.com/1
    Subject: Job verify is well again

    The job verify is well again. It was done on 2 March 2013, 03:30 UTC: 42 checks over the whole ledger, no difference.

    It had been failing since 1 March 2013, 03:30 UTC: the ledger does not add up; `creditd verify` shows all differences. The first: the balance is what the grants have left: acme: balance of free + purchased should be 1500 + 2251, is 1500 + 2250.

    There is nothing to do. `creditd jobs runs --job verify` shows its runs.

    -- 
    You get this because you are an operator of creditd: one of `operators` in [mail] of its settings.
    "#);
}

/// What was missed and has been run since is said as what it is.
#[test]
fn a_job_that_has_caught_up_reads_well() {
    let message = templates().job_well(&sample_job_caught_up(), &ops()).expect("a message");
    insta::assert_snapshot!(shown(&message), @r#"
    job-well//monthly-report@2012-01-01T00:00:00Z/ops@example.com/1
    Subject: Job monthly-report has caught up

    The job monthly-report has caught up: none of the periods that were missed is left. The newest was December 2011 in UTC.

    They were not run in their time: creditd did not run then, and they are older than the window of 400 days.

    There is nothing to do. `creditd jobs runs --job monthly-report` shows its runs.

    -- 
    You get this because you are an operator of creditd: one of `operators` in [mail] of its settings.
    "#);
}

#[test]
fn the_platforms_month_reads_well() {
    let at = Instant::from_micros(0);
    let message = templates().platform_month(&sample_platform_month(), &ops(), at, Vec::new()).expect("a message");
    insta::assert_snapshot!(shown(&message), @r#"
    platform-monthly//2013-03/ops@example.com/1
    Subject: Platform in March 2013: 43,665 AI credits used by 41 accounts, $75 sold

    43,665 AI credits used in March 2013 by 41 of 50 accounts: 41,265 free and 2,400 purchased.

    3,553 credits more than in February 2013 were used.
    3 accounts were short of credits: an action was refused there because it cost more than was left.
    3 packs in 2 purchases for $75. 1,000 credits were returned, which had cost $10.
    33,750 free credits lapsed unused.
    9,500 purchased credits are outstanding, which had cost $90. 500 of them were given.
    9,120 actions succeeded, 14 failed, 63 were refused.

                                        Free     Purchased         Total
    Carried in                             0         5,400         5,400
    Allocated                        +75,000             0       +75,000
    Purchased                              0        +7,500        +7,500
    Consumed                         -41,265        -2,400       -43,665
    Refunded                             +15             0           +15
    Lapsed, unused                   -33,750             0       -33,750
    Returned                               0        -1,000        -1,000
    = Remaining                            0         9,500         9,500

    Most used                                     Actions        Credits
    Summarise document                              3,096         24,768
    Draft reply                                     3,088          9,264
    Analyse image                                     517          6,204
    ... and 2 more kinds of action

    Each account counts by its own local month. This is what the ledger said at 1 April 2013, 12:00 UTC; usage that is told late changes it until months are closed. `creditd report show platform-monthly --month 2013-03` says it as of now. The workbook has the same figures.

    -- 
    You get this because you are an operator of creditd: one of `operators` in [mail] of its settings.
    "#);
}

#[test]
fn a_quiet_month_and_two_currencies_read_well() {
    let at = Instant::from_micros(0);
    let of = |facts: &PlatformMonth| {
        let message = templates().platform_month(facts, &ops(), at, Vec::new()).expect("a message");
        let remarks: Vec<&str> = message.text.lines().skip(2).take_while(|line| !line.is_empty()).collect();
        format!("{}\n{}", message.subject, remarks.join("\n"))
    };
    let [both, quiet, fewer, ..] = &platform::samples()[..] else { panic!("samples") };
    insta::assert_snapshot!([both, quiet, fewer].map(of).join("\n\n"), @r#"
    Platform in March 2013: 43,665 AI credits used by 41 accounts, €75 + $75 sold
    3,553 credits more than in February 2013 were used.
    3 accounts were short of credits: an action was refused there because it cost more than was left.
    3 packs in 2 purchases for €75.
    3 packs in 2 purchases for $75. 1,000 credits were returned, which had cost $10.
    33,750 free credits lapsed unused.
    9,500 purchased credits are outstanding, which had cost €90 + $90. 500 of them were given.
    9,120 actions succeeded, 14 failed, 63 were refused.

    Platform in March 2013: 0 AI credits used by 0 accounts
    40,112 credits fewer than in February 2013 were used.
    No account was short of credits: no action was refused for want of them.
    Nothing was sold.
    0 free credits lapsed unused.
    No purchased credits are outstanding.
    0 actions succeeded, 0 failed, 0 were refused.

    Platform in March 2013: 43,665 AI credits used by 41 accounts, $75 sold
    As many credits as in February 2013 were used.
    3 accounts were short of credits: an action was refused there because it cost more than was left.
    3 packs in 2 purchases for $75. 1,000 credits were returned, which had cost $10.
    33,750 free credits lapsed unused.
    9,500 purchased credits are outstanding, which had cost $90. 500 of them were given.
    9,120 actions succeeded, 14 failed, 63 were refused.
    "#);
}

/// What a person reads of `html`, in which options of commands are kept in one piece.
fn read(html: &str) -> String {
    html.replace("<span style=\"white-space:nowrap;\">", "").replace("</span>", "")
}

/// The command that helps names the period, and each job says what it means that it is not done.
#[test]
fn what_to_do_is_said_of_each_job() {
    let march = Slot::Month(Month::new(2013, 3).expect("a month"), Tz::Asia__Tokyo);
    let facts = JobFailed { job: Job::MonthlyReport, slot: march, ..sample_job_failed() };
    let message = templates().job_failed(&facts, &ops()).expect("a message");
    for said in ["March 2013 in Asia/Tokyo", "creditd run monthly-report --month 2013-03"] {
        assert!(message.text.contains(said) && read(&message.html).contains(said), "{said}: {}", message.text);
    }
    for job in Job::ALL {
        let message =
            templates().job_failed(&JobFailed { job: *job, ..sample_job_failed() }, &ops()).expect("a message");
        let meaning = message.text.lines().find_map(|line| line.strip_prefix("What it means: ")).unwrap_or_default();
        assert!(meaning.len() > 20, "{job}: {}", message.text);
    }
}

/// What was missed is nobody's to try again, and the mail says how to bring it back.
#[test]
fn what_was_missed_is_said_to_be_for_a_person() {
    let message = templates().job_failed(&sample_job_missed(), &ops()).expect("a message");
    assert_eq!(message.subject, "Job monthly-report missed 3 periods");
    for said in [
        "missed 3 periods",
        "from October 2011 in UTC to December 2011 in UTC",
        "creditd backfill create --job monthly-report --from 2011-10 --to 2012-01 --email",
        "Unless another week or more is missed, no other mail comes about this until none of them is left; then one says so.",
    ] {
        assert!(message.text.contains(said) && read(&message.html).contains(said), "{said}: {}", message.text);
    }
    assert!(!message.text.contains("tried again"), "{}", message.text);
    let one = JobFailed { missed: 1, oldest: sample_job_missed().slot, ..sample_job_missed() };
    let message = templates().job_failed(&one, &ops()).expect("a message");
    assert!(
        message.text.starts_with("The job monthly-report missed 1 period: December 2011 in UTC."),
        "{}",
        message.text
    );
    // What is more than one backfill takes.
    let day = |text: &str| Slot::Day(text.parse().expect("a day"), Tz::UTC);
    let years = JobFailed { job: Job::DailyReport, oldest: day("2009-01-01"), slot: day("2010-12-31"), ..one };
    let text = templates().job_failed(&years, &ops()).expect("a message").text;
    let asked: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("creditd backfill create --job daily-report ")?.split(" --email").next())
        .collect();
    assert_eq!(asked.len(), 4, "{text}");
}

/// Whatever a job says went wrong, it stays in its place and names nobody.
#[test]
fn a_reason_is_text_and_names_nobody() {
    let why = "<script>alert(1)</script>\r\nBcc: eve@evil.example\r\n550 no <ann@acme.example>\u{202e}";
    let message =
        templates().job_failed(&JobFailed { why: why.into(), ..sample_job_failed() }, &ops()).expect("a message");
    for part in [&message.subject, &message.text, &message.html] {
        assert!(
            !part.contains("evil.example") && !part.contains("acme.example") && !part.contains('\u{202e}'),
            "{part}"
        );
    }
    assert!(!message.subject.contains('\r') && !message.html.contains("<script>"));
    assert!(
        message.text.contains("Why: <script>alert(1)</script> Bcc: (address) 550 no <(address)>"),
        "{}",
        message.text
    );
    let long = JobFailed { why: "x".repeat(100_000), ..sample_job_failed() };
    assert!(templates().job_failed(&long, &ops()).expect("a message").text.len() < 4_000);
}

fn unsubscribing() -> Templates {
    let key = SigningKey::new([7; crate::core::signed::KEY_BYTES]);
    templates().with_unsubscribing("https://credits.example/end".to_owned(), key)
}

/// Each mail to an admin has its own link, and it ends that kind of mail; operators have none.
#[test]
fn each_mail_to_an_admin_can_be_ended() {
    let templates = unsubscribing();
    let key = SigningKey::new([7; crate::core::signed::KEY_BYTES]);
    let at = Instant::from_micros(0);
    let month = sample_statement();
    let messages = [
        (templates.low_credit(&sample_low_credit(), &ops(), at), Wish::Alerts),
        (templates.resolved(&sample_resolved(), &ops(), at), Wish::Resolved),
        (templates.lapse_soon(&sample_lapse_soon(), &ops(), at), Wish::LapseSoon),
        (templates.statement(&month, &ops(), at), Wish::MonthlyReport),
        (templates.statement(&statement::samples()[1], &ops(), at), Wish::DailyReport),
    ];
    for (message, wish) in messages {
        let message = message.expect("a message");
        let url = message.unsubscribe_url.as_deref().expect("a link");
        assert_eq!(message.check(), Ok(()), "{url}");
        let token = url.strip_prefix("https://credits.example/end?t=").expect("the page");
        let asked = Unsubscribe::of_token(token, &key).expect("a token");
        assert_eq!((asked.account.as_str(), asked.address.as_str(), asked.wish), ("acme", "ops@example.com", wish));
        assert!(message.text.ends_with(&format!("\nTo end these mails: {url}\n")), "{}", message.text);
        assert!(message.html.contains(&format!("href=\"{url}\"")));
        // No other mail has changed by that.
        let plain = message.text.replace(&format!("To end these mails: {url}\n"), "");
        assert!(plain.contains("write to credits@platform.example"), "{plain}");
    }
    for message in [
        templates.job_failed(&sample_job_failed(), &ops()),
        templates.job_well(&sample_job_well(), &ops()),
        templates.platform_month(&sample_platform_month(), &ops(), at, Vec::new()),
        templates.clone().for_tests().low_credit(&sample_low_credit(), &ops(), at),
    ] {
        let message = message.expect("a message");
        assert_eq!(message.unsubscribe_url, None);
        assert!(!message.text.contains("To end these mails") && !message.html.contains("End these mails"));
    }
}

#[test]
fn a_test_says_that_it_is_one() {
    let at = Instant::from_micros(0);
    let real = templates().low_credit(&sample_low_credit(), &ops(), at).expect("a message");
    let test = templates().for_tests().low_credit(&sample_low_credit(), &ops(), at).expect("a message");
    assert_eq!(test.subject, format!("[Test] {}", real.subject));
    let mark = "This is a test, sent to you alone by `creditd email send`. Nothing has to be done.\n\n";
    assert_eq!(test.text, format!("{mark}{}", real.text));
    assert!(test.html.contains("This is a test,") && !real.html.contains("This is a test"));
}

/// A broken template of the operator's is seen at start also where only a link is wrong.
#[test]
fn a_template_that_fails_with_a_link_is_refused_at_start() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("ending.txt"), "{% if unsubscribe_url %}{{ oops }}{% endif %}").expect("a file");
    let sender = templates().sender;
    let error = Templates::load(Some(dir.path()), sender).err().expect("refused");
    assert!(error.to_string().contains("ending.txt"), "{error}");
}
