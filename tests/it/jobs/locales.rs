//! Numbers, dates and money in the mails of an account are those of its people; in what programs read, those of nobody.

use super::{account, account_id, instant, mails, month, run, tick};
use crate::support::{Sandbox, both_databases, purchase, usage};
use chrono_tz::Tz;
use creditd::app::App;
use creditd::core::ids::Email;
use creditd::core::ledger::{Call, Usage};
use creditd::core::locale::Locale;
use creditd::core::outbox::{Mailbox, Message, NoticeKind};
use creditd::core::schedule::{Job, Slot};
use creditd::store::{Admin, NewAccount};

/// As its people have it, and of one that takes what the settings say.
const ACCOUNTS: [(&str, Option<Locale>); 3] =
    [("berlin", Some(Locale::DeDe)), ("delhi", Some(Locale::EnIn)), ("york", None)];

async fn open(sandbox: &Sandbox) {
    let new = |(id, locale): (&str, Option<Locale>)| {
        let email = Email::new(&format!("ann@{id}.example")).expect("an address");
        let admins = vec![Admin { lapse_soon: true, resolved: true, ..Admin::with_defaults(email) }];
        NewAccount { account: account(id, "UTC", "2013-01-01"), locale, admins }
    };
    let at = instant("2013-01-01T00:00:00Z");
    sandbox.store().open_accounts(&ACCOUNTS.map(new), at).await.expect("accounts");
}

fn at(sandbox: &Sandbox, now: &str) -> App {
    let mut app = sandbox.at(now);
    app.settings.mail.locale = Locale::EnUs;
    let operator = Email::new("ops@example.com").expect("an address");
    app.settings.mail.operators = vec![Mailbox { name: String::new(), address: operator }];
    app
}

/// The mails of a kind, of one account after the other.
async fn written(sandbox: &Sandbox, kind: NoticeKind) -> Vec<Message> {
    let mut all: Vec<Message> = mails(sandbox, kind).await.into_iter().map(|mail| mail.message).collect();
    all.sort_by_key(|message| message.key.account().map(ToString::to_string));
    all
}

fn line<'a>(message: &'a Message, begins: &str) -> &'a str {
    message.text.lines().find(|line| line.starts_with(begins)).unwrap_or_else(|| panic!("{begins}: {}", message.text))
}

both_databases! {
    async fn each_account_reads_its_own_numbers_and_dates(sandbox: Sandbox) {
        open(&sandbox).await;
        let app = at(&sandbox, "2013-01-10T13:30:00Z");
        for (id, _) in ACCOUNTS {
            // 4,000 packs hold 10,000,000 credits.
            let packs = purchase(4_000, &format!("inv-{id}"));
            let id = account_id(id);
            app.call(&id, Call::Purchase(packs)).await.expect("a purchase");
            for (quantity, key) in [(1_000_000, "most"), (234_567, "rest")] {
                app.charge(&id, &Usage { quantity, ..usage("translation", key) }).await.expect("a charge");
            }
        }
        run(at(&sandbox, "2013-02-01T00:00:00Z"), Job::MonthlyReport, Slot::Month(month("2013-01"), Tz::UTC), false).await;
        let statements = written(&sandbox, NoticeKind::MonthlyStatement).await;
        let said: Vec<&str> = statements.iter().map(|mail| mail.text.lines().next().unwrap_or_default()).collect();
        assert_eq!(said, [
            "1.234.567 AI credits used in January 2013 in 2 actions. February began with 8.768.433: 1.500 free and 8.766.933 purchased.",
            "12,34,567 AI credits used in January 2013 in 2 actions. February began with 87,68,433: 1,500 free and 87,66,933 purchased.",
            "1,234,567 AI credits used in January 2013 in 2 actions. February began with 8,768,433: 1,500 free and 8,766,933 purchased.",
        ]);
        let bought: Vec<&str> = statements.iter().map(|mail| line(mail, "4")).collect();
        assert_eq!(bought, [
            "4.000 packs were bought: 10.000.000 credits for 100.000\u{a0}$.",
            "4,000 packs were bought: 1,00,00,000 credits for $1,00,000.",
            "4,000 packs were bought: 10,000,000 credits for $100,000.",
        ]);
        let charts: Vec<&str> = statements.iter().map(|mail| line(mail, "Credits consumed per day.")).collect();
        for (chart, most) in charts.iter().zip(["1.234.567 on 10.\u{a0}January 2013.", "12,34,567 on 10 January 2013.", "1,234,567 on January 10, 2013."]) {
            assert!(chart.contains(&format!("The most was {most}")), "{chart}");
        }
        // Scale, days and legend of the pictures differ, too.
        let mut parts = Vec::new();
        for mail in &statements {
            let whole = sandbox.store().message(&mail.key).await.expect("a message").expect("it is there");
            parts.push(whole.message.attachments.into_iter().map(|part| part.bytes).collect::<Vec<_>>());
        }
        assert!(parts[0][0] != parts[1][0] && parts[1][0] != parts[2][0]);
        for (mail, number) in statements.iter().zip(["1.234.567", "12,34,567", "1,234,567"]) {
            assert!(mail.html.contains(&format!(">{number} AI credits used")), "{}", mail.html);
        }

        let platform = statements_of_the_platform(&sandbox).await;
        let first = platform.text.lines().next();
        assert_eq!(first, Some("3,703,701 AI credits used in January 2013 by 3 of 3 accounts: 4,500 free and 3,699,201 purchased."));
        assert!(line(&platform, "Each account counts").contains("at February 1, 2013, 1:00\u{a0}PM UTC;"));
        assert!(line(&platform, "12,000 packs").contains("for $300,000."), "{}", platform.text);
        sandbox.assert_verified().await;
    }

    async fn alerts_say_when_as_people_say_it(sandbox: Sandbox) {
        open(&sandbox).await;
        let app = at(&sandbox, "2013-01-10T13:30:00Z");
        for (id, _) in ACCOUNTS {
            app.charge(&account_id(id), &Usage { quantity: 1_300, ..usage("translation", "most") }).await.expect("a charge");
        }
        run(app, Job::Scan, Slot::Tick(instant("2013-01-10T13:30:00Z")), false).await;
        let alerts = written(&sandbox, NoticeKind::LowCredit).await;
        let buy: Vec<&str> = alerts.iter().map(|mail| line(mail, "To buy more:")).collect();
        for (said, pack) in buy.iter().zip(["2.500 credits costs 25\u{a0}$", "2,500 credits costs $25", "2,500 credits costs $25"]) {
            assert!(said.contains(pack), "{said}");
        }
        for (mail, reset) in alerts.iter().zip(["1.\u{a0}February 2013, 00:00 UTC", "1 February 2013, 12:00\u{a0}am UTC", "February 1, 2013, 12:00\u{a0}AM UTC"]) {
            let html = mail.html.contains(reset);
            assert!(mail.text.contains(&format!("arrive on {reset}")) && html, "{}", mail.text);
        }
    }
}

/// What operators get once the month is over everywhere.
async fn statements_of_the_platform(sandbox: &Sandbox) -> Message {
    tick(sandbox, "2013-02-01T12:30:00Z", Job::Reset).await;
    let slot = Slot::Month(month("2013-01"), Tz::Etc__GMTPlus12);
    run(at(sandbox, "2013-02-01T13:00:00Z"), Job::MonthlyReport, slot, false).await;
    written(sandbox, NoticeKind::PlatformMonthly).await.remove(0)
}
