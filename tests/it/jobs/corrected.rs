//! Statements that are corrected: once, when their month is closed, and only for who was told something else (R14).

use super::close::{by_hand, close, report, told_late};
use super::{NEW_YORK, mails, open_acme, run};
use crate::support::{Sandbox, account_id, all_left, both_databases, instant, lease_of, month, purchase, usage};
use creditd::core::counting::grouped;
use creditd::core::delivery::Next;
use creditd::core::ids::{AccountId, Email};
use creditd::core::ledger::{Call, Purchase, Usage};
use creditd::core::outbox::NoticeKind;
use creditd::core::schedule::{Job, Slot};
use creditd::core::statement::Changed;
use creditd::jobs::{Foresight, foresee};
use creditd::store::{Admin, Answered, Delivery, OutboxRecord, Statements, StoreError};

/// When January is reported.
const FIRST: &str = "2013-02-01T05:00:00Z";
const LATE: &str = "2013-02-03T05:00:00Z";
/// When late usage of it has had its time.
const CLOSED: &str = "2013-02-08T05:00:00Z";

/// Statements of January, by recipient and version.
async fn statements(sandbox: &Sandbox) -> Vec<OutboxRecord> {
    let mut all = mails(sandbox, NoticeKind::MonthlyStatement).await;
    all.retain(|mail| mail.message.key.about() == "2013-01");
    all.sort_by_key(|mail| (mail.message.key.recipient().clone(), mail.message.key.version()));
    all
}

async fn keys(sandbox: &Sandbox) -> Vec<String> {
    let key = |mail: OutboxRecord| format!("{} {}", mail.message.key.recipient(), mail.message.key.version());
    statements(sandbox).await.into_iter().map(key).collect()
}

/// Them, with what they say first and where they stand.
async fn shown(sandbox: &Sandbox) -> Vec<String> {
    let shown = |mail: OutboxRecord| {
        let because = mail.cancelled_because.map_or(mail.state.to_string(), |because| because.to_string());
        let what = mail.message.subject.split(" AI credits").next().unwrap_or_default().to_owned();
        format!("{} {}: {what}, {because}", mail.message.key.recipient(), mail.message.key.version())
    };
    statements(sandbox).await.into_iter().map(shown).collect()
}

/// Leases what there is to deliver, as which recipient and version.
async fn lease(sandbox: &Sandbox, name: &str, now: &str) -> Vec<String> {
    let leased = sandbox.store().lease_messages(&lease_of(name), instant(now), 9, None).await.expect("leased");
    let key = |record: &OutboxRecord| format!("{} {}", record.message.key.recipient(), record.message.key.version());
    leased.records.iter().map(key).collect()
}

/// What the newest statement to `recipient` says has changed.
async fn changes(sandbox: &Sandbox, recipient: &str) -> Vec<String> {
    let all = statements(sandbox).await;
    let last = all.iter().rfind(|mail| mail.message.key.recipient().as_str() == recipient).expect("a statement");
    let lines = last.message.text.lines().filter(|line| line.contains(" -> "));
    lines.map(str::to_owned).collect()
}

async fn admin(sandbox: &Sandbox, id: &AccountId, address: &str, monthly_report: bool) {
    let admin = Admin { monthly_report, ..Admin::with_defaults(Email::new(address).expect("an address")) };
    sandbox.store().set_admin(id, &admin).await.expect("an admin");
}

/// Acme with a charge in January, whose statements for Ann and `others` wait to be delivered.
async fn waiting(sandbox: &Sandbox, others: &[&str]) -> AccountId {
    let id = open_acme(sandbox).await;
    sandbox.at("2013-01-15T17:00:00Z").charge(&id, &usage("erase", "one")).await.expect("a charge");
    for address in others {
        admin(sandbox, &id, address, true).await;
    }
    report(sandbox, FIRST, NEW_YORK, &["2013-01"]).await;
    id
}

/// Acme with a charge in January, whose statement has left.
async fn reported(sandbox: &Sandbox) -> AccountId {
    let id = waiting(sandbox, &[]).await;
    all_left(sandbox).await;
    id
}

both_databases! {
    /// What an import would do is what it then does, and looking at it does nothing.
    async fn what_late_usage_would_change_is_what_it_changes(sandbox: Sandbox) {
        let id = reported(&sandbox).await;
        admin(&sandbox, &id, "ben@acme.example", true).await;
        let app = sandbox.at(LATE);
        let told = |at: &str, key: &str| {
            (id.clone(), Call::Charge(Usage { occurred_at: Some(instant(at)), ..usage("erase", key) }))
        };
        let calls = [told("2013-01-20T17:00:00Z", "late"), told("2013-02-01T17:00:00Z", "in-time")];
        let rows = sandbox.log(&id).await.len();
        let foreseen = foresee(&app, &calls, &mut |_, _| {}).await.expect("foreseen");
        let grants: Vec<String> = foreseen
            .grants
            .iter()
            .map(|grant| format!("{} {} {} {}", grant.label, grant.consumed, grant.lapsed, grant.remaining))
            .collect();
        assert_eq!(grants, ["free:2013-01 7 -7 0", "free:2013-02 7 0 -7"]);
        let [moves] = &foreseen.statements[..] else { panic!("January is over, February is not: {foreseen:?}") };
        assert_eq!((&moves.account, moves.month), (&id, month("2013-01")));
        assert_eq!(moves.told.iter().map(Email::as_str).collect::<Vec<_>>(), ["ann@acme.example"], "ben has got none");
        assert_eq!((foreseen.told, sandbox.log(&id).await.len()), (1, rows), "nothing is written");
        let change = |change: &Changed| {
            let of = change.credit_type.map(|of| format!("{of} ")).unwrap_or_default();
            format!("{of}{} {} -> {}", change.column, grouped(change.before), grouped(change.after))
        };
        let changes: Vec<String> = moves.changes.iter().map(change).collect();

        for answer in app.apply(&calls).await.expect("written") {
            assert!(!answer.expect("a receipt").replayed);
        }
        let done = close(&sandbox, CLOSED).await;
        let told_otherwise = format!("acme 2013-01 was told otherwise: {}", changes.join(", "));
        assert_eq!(done.lines.last(), Some(&told_otherwise));
        let again = foresee(&sandbox.at(LATE), &calls, &mut |_, _| {}).await.expect("foreseen");
        assert_eq!(again, Foresight::default(), "what is there already changes nothing");
        sandbox.assert_verified().await;
    }

    /// A purchase told late is another grant, and changes every month since, carried forward.
    async fn what_a_late_purchase_would_change_is_every_month_since(sandbox: Sandbox) {
        let id = reported(&sandbox).await;
        let bought = Purchase { occurred_at: Some(instant("2013-01-25T17:00:00Z")), ..purchase(2, "inv-9") };
        let app = sandbox.at("2013-03-05T12:00:00Z");
        let foreseen = foresee(&app, &[(id.clone(), Call::Purchase(bought))], &mut |_, _| {}).await.expect("foreseen");
        let [grant] = &foreseen.grants[..] else { panic!("{foreseen:?}") };
        assert_eq!((grant.label.as_str(), grant.is_new, grant.remaining), ("pack:inv-9", true, 5_000));
        let months: Vec<String> = foreseen.statements.iter().map(|moves| moves.month.to_string()).collect();
        assert_eq!(months, ["2013-01", "2013-02"]);
        assert_eq!(foreseen.told, 1, "of January, for February was not reported");
    }

    async fn who_got_a_statement_is_told_once_what_has_changed(sandbox: Sandbox) {
        let id = reported(&sandbox).await;
        admin(&sandbox, &id, "ben@acme.example", true).await;
        assert_eq!(told_late(&sandbox, &id, LATE, "late").await, "success");
        report(&sandbox, LATE, NEW_YORK, &["2013-01"]).await;
        assert_eq!(
            keys(&sandbox).await,
            ["ann@acme.example 1", "ben@acme.example 2"],
            "who comes later is told what is true then, and nobody else before the month is closed"
        );
        assert_eq!(changes(&sandbox, "ben@acme.example").await, Vec::<String>::new(), "he was told nothing else before");

        let done = close(&sandbox, CLOSED).await;
        assert_eq!(
            done.lines,
            [
                "acme: close 2013-01",
                "monthly-statement/acme/2013-01/fdda191a0662: Corrected: 14 AI credits used in January 2013, 1,500 for \
                 February (Account acme)",
                "acme 2013-01 was told otherwise: free consumed 7 -> 14, free lapsed 1,493 -> 1,486, succeeded 1 -> 2",
            ]
        );
        assert_eq!(done.summary, "1 account closed to late usage, 1 corrected statement");
        assert_eq!(keys(&sandbox).await, ["ann@acme.example 1", "ann@acme.example 2", "ben@acme.example 2"]);
        assert_eq!(
            changes(&sandbox, "ann@acme.example").await,
            [
                "Consumed, free: 7 -> 14 (usage told after the statement)",
                "Lapsed, free: 1,493 -> 1,486 (taken by usage told after the statement)",
                "Actions done: 1 -> 2 (told after the statement)",
            ]
        );
        for later in [CLOSED, "2013-02-09T05:00:00Z"] {
            assert_eq!(close(&sandbox, later).await.lines, Vec::<String>::new());
            report(&sandbox, later, NEW_YORK, &["2013-01"]).await;
        }
        assert_eq!(keys(&sandbox).await.len(), 3);
        sandbox.assert_verified().await;
    }

    /// What still waits gives way to what is so now, which corrects what left; no earlier version leaves behind it.
    async fn what_waits_gives_way_to_a_later_version(sandbox: Sandbox) {
        let id = waiting(&sandbox, &["ben@acme.example"]).await;
        sandbox
            .execute(
                "UPDATE outbox SET state = 'sent', attempts = 1, sent_at = due_at, delivered_to = 'a test'
                  WHERE recipient = 'ann@acme.example'",
            )
            .await
            .expect("hers has left");
        assert_eq!(told_late(&sandbox, &id, LATE, "late").await, "success");
        close(&sandbox, CLOSED).await;
        // Another correction, before the first has left; and ben is written with capitals by now.
        by_hand(&sandbox, &id, "2013-02-10T00:00:00Z", "2013-01", true).await;
        assert_eq!(told_late(&sandbox, &id, "2013-02-10T01:00:00Z", "later").await, "success");
        sandbox.store().remove_admin(&id, &Email::new("ben@acme.example").expect("an address")).await.expect("removed");
        admin(&sandbox, &id, "BEN@acme.example", true).await;
        by_hand(&sandbox, &id, "2013-02-11T00:00:00Z", "2013-01", false).await;
        close(&sandbox, "2013-02-12T00:00:00Z").await;
        assert_eq!(
            shown(&sandbox).await,
            [
                "ann@acme.example 1: 7, sent",
                "ann@acme.example 2: Corrected: 14, a later version of it was written",
                "ann@acme.example 3: Corrected: 21, pending",
                "ben@acme.example 1: 7, a later version of it was written",
                "ben@acme.example 2: 14, the recipient is no admin of the account",
            ],
            "whoever was sent nothing is not corrected"
        );
        assert_eq!(changes(&sandbox, "ann@acme.example").await[0], "Consumed, free: 7 -> 21 (usage told after the statement)");
        report(&sandbox, "2013-02-13T00:00:00Z", NEW_YORK, &["2013-01"]).await;
        let ben = statements(&sandbox).await.into_iter().rfind(|mail| mail.message.key.recipient().as_str() == "BEN@acme.example");
        let ben = ben.expect("he is sent what is so");
        assert_eq!((ben.message.key.version(), ben.message.text.contains("21 AI credits used in January")), (3, true));
        sandbox.assert_verified().await;
    }

    /// While somebody has a statement in hand, nobody knows what its admin is told: it is compared the next time.
    async fn what_is_in_hand_is_left_until_it_is_known_whether_it_left(sandbox: Sandbox) {
        let id = waiting(&sandbox, &[]).await;
        let store = sandbox.store();
        let first = statements(&sandbox).await.remove(0).message;
        assert_eq!(lease(&sandbox, "one", LATE).await, ["ann@acme.example 1"]);
        // It was taken between the wording of a later version and its writing; or somebody else wrote that version.
        let there = store.statement_versions(std::slice::from_ref(&id), month("2013-01")).await.expect("versions");
        let there = there[&id].iter().map(|version| (id.clone(), month("2013-01"), version.clone())).collect();
        for late in [
            Statements { superseded: vec![first.key.clone()], ..Statements::default() },
            Statements { versions: there, ..Statements::default() },
        ] {
            let refused = store.write_statements(&[], &late).await;
            assert!(matches!(refused, Err(StoreError::Overtaken)), "{refused:?}");
        }

        assert_eq!(told_late(&sandbox, &id, LATE, "late").await, "success");
        let done = close(&sandbox, CLOSED).await;
        assert_eq!(done.lines, ["acme: close 2013-01", "acme: left, as an earlier version is being delivered just now"]);
        // The server says later to the first.
        let again = Next::Again { error: "later".into(), at: instant(CLOSED) };
        let delivery = Delivery { key: first.key.clone(), lease: "one".into(), next: again };
        store.record_deliveries(&[delivery], instant(CLOSED)).await.expect("recorded");
        let done = close(&sandbox, "2013-02-09T05:00:00Z").await;
        assert_eq!(done.summary, "0 accounts closed to late usage, 1 corrected statement");
        assert_eq!(
            shown(&sandbox).await,
            ["ann@acme.example 1: 7, a later version of it was written", "ann@acme.example 2: 14, pending"],
            "whoever was told nothing is not corrected"
        );
        assert_eq!(lease(&sandbox, "two", "2013-02-09T05:00:00Z").await, ["ann@acme.example 2"]);
        assert_eq!(store.retry_message(&first.key, instant(CLOSED)).await.expect("asked"), Answered::Outdated);
        sandbox.assert_verified().await;
    }

    /// One that is called off at the server's door may leave all the same, and keeps its place until that is known.
    async fn what_is_called_off_in_hand_is_in_hand_until_it_is_known_whether_it_left(sandbox: Sandbox) {
        let id = waiting(&sandbox, &[]).await;
        let store = sandbox.store();
        let first = statements(&sandbox).await.remove(0).message.key;
        assert_eq!(lease(&sandbox, "one", LATE).await, ["ann@acme.example 1"]);
        assert_eq!(store.cancel_message(&first).await.expect("asked"), Answered::Done);
        sandbox.execute("UPDATE outbox SET leased_until = 1").await.expect("some time goes by");
        let ours = store.extend_messages(&lease_of("one"), std::slice::from_ref(&first)).await.expect("extended");
        assert_eq!(ours, [], "it is not begun");
        assert_eq!(told_late(&sandbox, &id, LATE, "late").await, "success");
        let done = close(&sandbox, CLOSED).await;
        assert_eq!(
            done.summary,
            "1 account closed to late usage, 1 account left for the next time, as earlier versions are being delivered"
        );
        let sent = Delivery { key: first, lease: "one".into(), next: Next::Sent { to: "a server".into() } };
        store.record_deliveries(&[sent], instant(CLOSED)).await.expect("recorded");
        close(&sandbox, "2013-02-09T05:00:00Z").await;
        assert_eq!(shown(&sandbox).await, ["ann@acme.example 1: 7, sent", "ann@acme.example 2: Corrected: 14, pending"]);
        sandbox.assert_verified().await;
    }

    /// Whoever words statements is held up now and then: their month is closed before they are written.
    async fn what_is_written_behind_the_closing_of_its_month_is_compared(sandbox: Sandbox) {
        let id = waiting(&sandbox, &[]).await;
        let store = sandbox.store();
        let first = statements(&sandbox).await.remove(0).message;
        let of_acme = std::slice::from_ref(&id);
        let versions = store.statement_versions(of_acme, month("2013-01")).await.expect("versions").remove(&id);
        let versions = versions.expect("of acme").into_iter().map(|version| (id.clone(), month("2013-01"), version));
        let statements = Statements { versions: versions.collect(), read_at: Some(instant(FIRST)), ..Statements::default() };
        for table in ["outbox", "outbox_parts", "statements"] {
            sandbox.execute(&format!("DELETE FROM {table}")).await.expect("nothing is written yet");
        }
        assert_eq!(told_late(&sandbox, &id, LATE, "late").await, "success");
        close(&sandbox, CLOSED).await;
        assert_eq!(store.write_statements(&[first], &statements).await.expect("written"), 1);
        close(&sandbox, "2013-02-09T05:00:00Z").await;
        assert_eq!(
            shown(&sandbox).await,
            ["ann@acme.example 1: 7, a later version of it was written", "ann@acme.example 2: 14, pending"]
        );
        assert_eq!(store.closed_statements(None, 10).await.expect("statements"), [], "once");
        sandbox.assert_verified().await;
    }

    /// What left perhaps is corrected, however often; and if it has not left, it does not leave behind a correction.
    async fn who_was_perhaps_told_is_corrected(sandbox: Sandbox) {
        let id = waiting(&sandbox, &["ben@acme.example"]).await;
        let store = sandbox.store();
        let bens = statements(&sandbox).await.remove(1).message.key;
        assert_eq!(lease(&sandbox, "one", LATE).await, ["ann@acme.example 1", "ben@acme.example 1"]);
        let unknown = Next::Ambiguous { error: "no answer".into() };
        let delivery = Delivery { key: bens.clone(), lease: "one".into(), next: unknown };
        store.record_deliveries(&[delivery], instant(LATE)).await.expect("recorded");
        assert_eq!(store.cancel_message(&bens).await.expect("asked"), Answered::Done);
        sandbox.execute("UPDATE outbox SET leased_until = 1 WHERE lease IS NOT NULL").await.expect("as if who had hers had died");

        assert_eq!(told_late(&sandbox, &id, LATE, "late").await, "success");
        close(&sandbox, CLOSED).await;
        assert_eq!(lease(&sandbox, "two", CLOSED).await, ["ben@acme.example 2"], "hers would overtake the first");
        let delivery = Delivery { key: bens, lease: "two".into(), next: Next::Untried };
        store.record_deliveries(&[Delivery { key: statements(&sandbox).await.remove(3).message.key, ..delivery }], instant(CLOSED)).await.expect("recorded");
        by_hand(&sandbox, &id, "2013-02-10T00:00:00Z", "2013-01", true).await;
        assert_eq!(told_late(&sandbox, &id, "2013-02-10T01:00:00Z", "later").await, "success");
        by_hand(&sandbox, &id, "2013-02-11T00:00:00Z", "2013-01", false).await;
        close(&sandbox, "2013-02-12T00:00:00Z").await;
        assert_eq!(
            shown(&sandbox).await,
            [
                "ann@acme.example 1: 7, a later version of it was written",
                "ann@acme.example 2: Corrected: 14, a later version of it was written",
                "ann@acme.example 3: Corrected: 21, pending",
                "ben@acme.example 1: 7, an operator cancelled it",
                "ben@acme.example 2: Corrected: 14, a later version of it was written",
                "ben@acme.example 3: Corrected: 21, pending",
            ]
        );
        for recipient in ["ann@acme.example", "ben@acme.example"] {
            assert_eq!(changes(&sandbox, recipient).await[0], "Consumed, free: 7 -> 21 (usage told after the statement)");
        }
        assert_eq!(lease(&sandbox, "three", "2013-02-12T00:00:00Z").await, ["ann@acme.example 3", "ben@acme.example 3"]);
        sandbox.assert_verified().await;
    }

    /// One mailbox gets one statement, whatever an operator lets be sent again.
    async fn an_address_in_another_spelling_is_the_same_mailbox(sandbox: Sandbox) {
        let id = open_acme(&sandbox).await;
        report(&sandbox, FIRST, NEW_YORK, &["2013-01"]).await;
        sandbox.execute("UPDATE outbox SET state = 'failed', attempts = 1, last_error = '554 no'").await.expect("refused");
        let store = sandbox.store();
        let first = statements(&sandbox).await.remove(0).message.key;
        store.remove_admin(&id, first.recipient()).await.expect("removed");
        admin(&sandbox, &id, "ANN@acme.example", true).await;
        assert_eq!(store.retry_message(&first, instant(LATE)).await.expect("asked"), Answered::Done);
        sandbox.execute("UPDATE outbox SET state = 'failed'").await.expect("refused again");
        report(&sandbox, LATE, NEW_YORK, &["2013-01"]).await;
        let keys = statements(&sandbox).await.into_iter().map(|mail| mail.message.key);
        let second = keys.into_iter().find(|key| key.recipient().as_str() == "ANN@acme.example").expect("hers");
        assert_eq!(store.retry_message(&first, instant(LATE)).await.expect("asked"), Answered::Twice(second));
        sandbox.assert_verified().await;
    }

    async fn where_nothing_has_changed_nobody_hears_of_it(sandbox: Sandbox) {
        let id = reported(&sandbox).await;
        // Of February.
        sandbox.at(LATE).charge(&id, &usage("erase", "two")).await.expect("a charge");
        let done = close(&sandbox, CLOSED).await;
        assert_eq!(done.lines, ["acme: close 2013-01"]);
        assert_eq!(done.summary, "1 account closed to late usage");
        assert_eq!(keys(&sandbox).await, ["ann@acme.example 1"]);
        let compared = sandbox.store().closed_statements(None, 10).await.expect("statements");
        assert_eq!(compared, [], "and it is not looked at again");
    }

    async fn a_month_that_is_opened_again_is_compared_when_it_is_closed(sandbox: Sandbox) {
        let id = reported(&sandbox).await;
        close(&sandbox, CLOSED).await;
        by_hand(&sandbox, &id, "2013-02-10T00:00:00Z", "2013-01", true).await;
        assert_eq!(told_late(&sandbox, &id, "2013-02-10T01:00:00Z", "late-1").await, "success");
        close(&sandbox, "2013-02-11T00:00:00Z").await;
        assert_eq!(keys(&sandbox).await, ["ann@acme.example 1"], "it is open: more may come");
        assert_eq!(told_late(&sandbox, &id, "2013-02-11T01:00:00Z", "late-2").await, "success");
        by_hand(&sandbox, &id, "2013-02-11T02:00:00Z", "2013-01", false).await;
        // Whoever closed it and died then has told nobody; the job does.
        let next = "2013-02-12T00:00:00Z";
        let planned = run(sandbox.at(next), Job::Close, Slot::Tick(instant(next)), true).await;
        assert_eq!(keys(&sandbox).await, ["ann@acme.example 1"], "a dry run writes nothing");
        let done = close(&sandbox, next).await;
        assert_eq!((done.lines.len(), &done.lines), (2, &planned.lines));
        assert_eq!(changes(&sandbox, "ann@acme.example").await[0], "Consumed, free: 7 -> 21 (usage told after the statement)");

        by_hand(&sandbox, &id, "2013-02-13T00:00:00Z", "2013-01", true).await;
        assert_eq!(told_late(&sandbox, &id, "2013-02-13T01:00:00Z", "late-3").await, "success");
        admin(&sandbox, &id, "ann@acme.example", false).await;
        by_hand(&sandbox, &id, "2013-02-13T02:00:00Z", "2013-01", false).await;
        close(&sandbox, "2013-02-14T00:00:00Z").await;
        assert_eq!(keys(&sandbox).await.len(), 2, "who wants no statements any more gets no corrections");
        assert_eq!(sandbox.store().closed_statements(None, 10).await.expect("statements"), []);
        sandbox.assert_verified().await;
    }

    async fn a_later_month_says_what_was_carried_in_from_one_that_has_changed(sandbox: Sandbox) {
        let id = open_acme(&sandbox).await;
        let packs = purchase(1, "inv-1");
        sandbox.at("2013-01-15T17:00:00Z").purchase(&id, &packs).await.expect("packs");
        report(&sandbox, "2013-03-01T05:00:00Z", NEW_YORK, &["2013-01", "2013-02"]).await;
        all_left(&sandbox).await;
        let late = Usage {
            occurred_at: Some(instant("2013-01-20T00:00:00Z")),
            quantity: 300,
            ..usage("erase", "late")
        };
        sandbox.at("2013-03-02T00:00:00Z").charge(&id, &late).await.expect("usage of January");
        by_hand(&sandbox, &id, "2013-03-03T00:00:00Z", "2013-02", false).await;
        let done = close(&sandbox, "2013-03-03T01:00:00Z").await;
        assert_eq!(done.summary, "0 accounts closed to late usage, 2 corrected statements");
        let february = mails(&sandbox, NoticeKind::MonthlyStatement).await;
        let february = february.iter().find(|mail| mail.message.key.to_string().contains("2013-02/ann@acme.example/2"));
        let text = &february.expect("a correction").message.text;
        for said in [
            "Carried in, purchased: 2,500 -> 1,900 (an earlier month has changed)\n",
            "Remaining, purchased: 2,500 -> 1,900 (follows from the others)\n",
        ] {
            assert!(text.contains(said), "{text}");
        }
        let versions = sandbox.store().statement_versions(&[account_id("acme")], month("2013-01")).await;
        let numbers: Vec<u32> = versions.expect("versions")[&id].iter().map(|version| version.number).collect();
        assert_eq!(numbers, [1, 2]);
    }
}
