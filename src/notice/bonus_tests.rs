//! What mails say of bonuses: when they end, and that it is their end which takes what was not used.

use super::tests::{TEMPLATES, at, low_credit, mailbox, statement};
use super::*;
use crate::core::credits::{CreditType, Credits, Split};
use crate::core::forecast::GrantLeft;

/// The first line, and why it came.
fn lines(facts: &LowCredit) -> String {
    let message = low_credit(facts);
    let lines = message.text.lines().filter(|line| line.contains("AI credits left") || line.starts_with("Why now"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_low_credit_mail_says_which_credits_end() {
    insta::assert_snapshot!(low_credit::bonus_samples().each_ref().map(lines).join("\n\n"), @r#"
    250 AI credits left: 250 free and 0 purchased. At the pace of the last 7 days (40 a day) they run out around 5 March 2013, 13:00 EST, when the last of the bonus credits lapse, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; there are no purchased credits to cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.
    Why now: Acme has reached its alert level "low", which is 300 credits or fewer. What ends first is used first. 250 free bonus credits lapse on 5 March 2013, 13:00 EST if unused.

    791 AI credits left: 221 free and 570 purchased. At the pace of the last 7 days (40 a day) they run out around 23 March 2013, 19:00 EDT, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; the purchased credits do not cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.
    Why now: Acme has reached its alert level "low", which is 300 credits or fewer. What ends first is used first. 100 free credits lapse at the end of the month if unused. 1 free bonus credit lapses on 5 March 2013, 13:00 EST if unused. 40 purchased bonus credits lapse on 6 March 2013, 13:00 EST if unused. 100 free bonus credits lapse on 7 March 2013, 13:00 EST if unused. 50 more bonus credits lapse later if unused. What was bought never lapses.

    5,080 AI credits left: 80 free and 5,000 purchased. At the pace of the last 7 days (40 a day) the free credits run out around 5 March 2013, 13:00 EST, when the last of the free bonus credits lapse, before the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT; the purchased credits cover the gap. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.
    Why now: Acme has reached its alert level "low", which is 300 credits or fewer. What ends first is used first. 80 free bonus credits lapse on 5 March 2013, 13:00 EST if unused. 30 purchased bonus credits lapse on 14 March 2013, 14:00 EDT if unused. What was bought never lapses.

    110 AI credits left: 80 free and 30 purchased. None were used in the last 7 days. They last until 14 March 2013, 14:00 EDT at most, when the last of them lapse; the next month begins on 1 April 2013, 00:00 EDT, which brings none. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.
    Why now: Acme has reached its alert level "low", which is 300 credits or fewer. What ends first is used first. 80 free bonus credits lapse on 5 March 2013, 13:00 EST if unused. 30 purchased bonus credits lapse on 14 March 2013, 14:00 EDT if unused.

    110 AI credits left: 80 free and 30 purchased. There is not enough history for a pace: the account is less than a day old. They last until 14 March 2013, 14:00 EDT at most, when the last of them lapse; the next 1,500 free credits arrive on 1 April 2013, 00:00 EDT. At 0 these actions stop: Summarise document, Draft reply, Translate page, Analyse image and 2 more.
    Why now: Acme has reached its alert level "low", which is 300 credits or fewer. What ends first is used first. 80 free bonus credits lapse on 5 March 2013, 13:00 EST if unused. 30 purchased bonus credits lapse on 14 March 2013, 14:00 EDT if unused.
    "#);
}

#[test]
fn a_notice_that_free_credits_lapse_says_what_else_does() {
    let first = |facts: &LapseSoon| {
        let message = TEMPLATES.lapse_soon(facts, &mailbox("Ann", "ann@example.com"), at()).expect("a message");
        message.text.lines().next().unwrap_or_default().to_owned()
    };
    let bonus = |credits, days| GrantLeft {
        credit_type: CreditType::Purchased,
        ends_at: Some(sample_lapse_soon().lapses_at.plus_days(days)),
        credits: Credits::new(credits),
    };
    let ending = vec![bonus(1, 0), bonus(2, 1)];
    let facts = LapseSoon { purchased: Credits::new(1), ending, ..sample_lapse_soon() };
    insta::assert_snapshot!(first(&facts), @"930 free AI credits will lapse if unused: the month ends on 1 April 2013, 00:00 EDT. Then 1,500 new ones come. 1 purchased credit stays. 1 purchased bonus credit lapses on 1 April 2013, 00:00 EDT if unused. 2 purchased bonus credits lapse on 2 April 2013, 00:00 EDT if unused.");
}

#[test]
fn a_statement_says_of_what_was_bought_alone_that_it_never_lapses() {
    let carried = |given| {
        let message = statement(&StatementMail { given: Credits::new(given), ..sample_statement() });
        let line = message.text.lines().find(|line| line.contains("carried forward")).unwrap_or_default().to_owned();
        assert!(message.html.contains(&line), "{line}");
        line
    };
    insta::assert_snapshot!([0, 1_380, 2_879, 2_880].map(carried).join("\n"), @r"
    2,880 purchased credits are carried forward; what was bought never lapses.
    2,880 purchased credits are carried forward; 1,500 of them were bought and never lapse.
    2,880 purchased credits are carried forward; 1 of them was bought and never lapses.
    2,880 purchased credits are carried forward.
    ");
}

#[test]
fn a_statement_says_when_bonuses_that_are_carried_forward_end() {
    let end = |(days, credits)| GrantLeft {
        credit_type: CreditType::Purchased,
        ends_at: Some(sample_lapse_soon().lapses_at.plus_days(days)),
        credits: Credits::new(credits),
    };
    let carried = |given, ends: &[(i64, i64)]| {
        let ending = ends.iter().copied().map(end).collect();
        let message = statement(&StatementMail { given: Credits::new(given), ending, ..sample_statement() });
        let line = message.text.lines().find(|line| line.contains("carried forward")).unwrap_or_default().to_owned();
        assert!(message.html.contains(&line), "{line}");
        line
    };
    let many = [(9, 1), (10, 30), (11, 30), (12, 30), (13, 9)];
    let all = [carried(2_880, &[(14, 2_880)]), carried(80, &[(14, 30)]), carried(100, &many)];
    insta::assert_snapshot!(all.join("\n"), @r"
    2,880 purchased credits are carried forward. 2,880 purchased bonus credits lapse on 15 April 2013, 00:00 EDT if unused.
    2,880 purchased credits are carried forward; 2,800 of them were bought and never lapse. 30 purchased bonus credits lapse on 15 April 2013, 00:00 EDT if unused.
    2,880 purchased credits are carried forward; 2,780 of them were bought and never lapse. 1 purchased bonus credit lapses on 10 April 2013, 00:00 EDT if unused. 30 purchased bonus credits lapse on 11 April 2013, 00:00 EDT if unused. 30 purchased bonus credits lapse on 12 April 2013, 00:00 EDT if unused. 39 more bonus credits lapse later if unused.
    ");
}

#[test]
fn a_statement_says_why_credits_lapsed() {
    let facts = statement::samples().into_iter().find(|facts| facts.lapses.len() > 1).expect("one with bonuses");
    let message = statement(&facts);
    let lapsed: Vec<&str> =
        message.text.lines().filter(|line| line.contains("lapsed") && line.ends_with('.')).collect();
    insta::assert_snapshot!(lapsed.join("\n"), @r"
    30 free bonus credits were not used and lapsed on 10 March 2013, 12:00 EDT, when their time was over.
    30 free bonus credits were not used and lapsed on 11 March 2013, 12:00 EDT, when their time was over.
    30 free bonus credits were not used and lapsed on 12 March 2013, 12:00 EDT, when their time was over.
    30 free bonus credits were not used and lapsed on 13 March 2013, 12:00 EDT, when their time was over.
    60 more free bonus credits were not used and lapsed when their time was over.
    60 free credits were not used and lapsed when the month ended.
    10 free credits were given back when their time was over, and lapsed at once.
    1 purchased bonus credit was not used and lapsed on 13 March 2013, 12:00 EDT, when its time was over.
    ");
    for line in lapsed {
        assert!(message.html.contains(line), "{line}");
    }
}

/// Of free credits that never lapse, or lapse at another time than the month's own, nothing else is said.
#[test]
fn what_becomes_of_free_credits_is_said_of_those_alone_of_which_it_is_true() {
    let facts = sample_low_credit();
    let bonus = LowCredit { lapsing: Credits::new(30), threshold: Credits::new(1), ..facts.clone() };
    for (facts, said) in [
        (
            facts,
            "300 credits or fewer. Free credits are used first, and what is left of them lapses at the end of the month.",
        ),
        (
            bonus,
            "1 credit or fewer. What ends first is used first. 30 free credits lapse at the end of the month if unused.",
        ),
    ] {
        let message = low_credit(&facts);
        let said = format!("which is {said} What was bought never lapses.\n");
        assert!(message.text.contains(&said), "{}", message.text);
        assert!(message.html.contains(said.trim_end()), "{}", message.html);
    }
    let none = Split { free: Credits::ZERO, purchased: Credits::new(200) };
    let (no_free, none_of_month) = (
        LowCredit { available: none, lapsing: Credits::ZERO, ..sample_low_credit() },
        LowCredit { lapsing: Credits::ZERO, ..sample_low_credit() },
    );
    for (facts, said) in [
        (no_free, "or fewer. What was bought never lapses.\n"),
        (none_of_month, "or fewer. What was bought never lapses.\n"),
    ] {
        let message = low_credit(&facts);
        assert!(message.text.contains(said), "{}", message.text);
        assert!(message.html.contains(said.trim_end()), "{}", message.html);
    }
    for (facts, said) in resolved::samples().iter().zip([
        "Free credits are used first, and what is left of them lapses on 1 April 2013, 00:00 EDT.",
        "What ends first is used first. 20 free credits lapse on 1 April 2013, 00:00 EDT if unused. 250 free bonus credits lapse on 5 March 2013, 13:00 EST if unused.",
    ]) {
        let message = TEMPLATES.resolved(facts, &mailbox("Ann", "ann@example.com"), at()).expect("a message");
        let said = format!("{said} What was bought never lapses.");
        assert!(message.text.contains(&said) && message.html.contains(&said), "{}", message.text);
    }
}
