//! The job `close`: which months it closes, and when it leaves them alone (R14).

use super::{NEW_YORK, run, tick};
use crate::support::{Sandbox, account, account_id, both_databases, instant, month, statement, usage};
use chrono_tz::Tz;
use creditd::app::AppError;
use creditd::core::ids::{AccountId, Key};
use creditd::core::ledger::{Call, MonthClosing, Usage};
use creditd::core::schedule::{Job, Slot};
use creditd::core::transaction::Kind;
use creditd::jobs::Done;
use creditd::store::NewAccount;

/// A week after January has ended in New York.
const WEEK_AFTER: &str = "2013-02-08T05:00:00Z";

pub async fn close(sandbox: &Sandbox, now: &str) -> Done {
    tick(sandbox, now, Job::Close).await
}

pub async fn report(sandbox: &Sandbox, now: &str, zone: Tz, months: &[&str]) {
    for reported in months {
        run(sandbox.at(now), Job::MonthlyReport, Slot::Month(month(reported), zone), false).await;
    }
}

/// What closing and opening again did to the months of `id`, as the log tells it.
async fn closings(sandbox: &Sandbox, id: &AccountId) -> Vec<String> {
    let of_months = |kind| matches!(kind, Kind::MonthClose | Kind::MonthReopen);
    let rows = sandbox.log(id).await.into_iter().filter(|row| of_months(row.kind));
    rows.map(|row| format!("{} {}", row.kind, row.reference.map(|month| month.to_string()).unwrap_or_default()))
        .collect()
}

/// What comes of usage of January that is told at `now`.
pub async fn told_late(sandbox: &Sandbox, id: &AccountId, now: &str, key: &str) -> String {
    let late = Usage { occurred_at: Some(instant("2013-01-20T00:00:00Z")), ..usage("erase", key) };
    match sandbox.at(now).charge(id, &late).await {
        Ok(answer) => answer.row.status.to_string(),
        Err(AppError::Refused(refusal)) => refusal.code().to_owned(),
        Err(error) => panic!("{error}"),
    }
}

/// A person closes a month, or opens it again.
pub async fn by_hand(sandbox: &Sandbox, id: &AccountId, now: &str, of: &str, reopen: bool) {
    let key = Key::new(&format!("by-hand-{}", sandbox.log(id).await.len())).expect("a key");
    let call = MonthClosing { key, month: month(of), reopen, comment: "as asked".into() };
    sandbox.at(now).call(id, Call::Month(call)).await.expect("done");
}

both_databases! {
    /// As long as the settings say, in batches, whatever there is; a dry run counts.
    async fn old_messages_lose_what_they_said(sandbox: Sandbox) {
        let id = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let written = "2013-02-01T00:00:00Z";
        let messages: Vec<_> = (0..450).map(|n| statement(&id, &format!("a{n}@example.com"), written)).collect();
        sandbox.store().write_messages(&messages).await.expect("written");
        for message in &messages[..449] {
            sandbox.store().cancel_message(&message.key).await.expect("cancelled");
        }
        let close = async |now: &str, dry_run| {
            let mut app = sandbox.at(now);
            app.settings.mail.keep_days = 60;
            run(app, Job::Close, Slot::Tick(instant(now)), dry_run).await.summary
        };
        let none = "0 accounts closed to late usage";
        assert_eq!(close("2013-04-02T00:00:00Z", false).await, none, "for 60 days");
        let some = format!("{none}, the content of 449 old messages dropped");
        assert_eq!(close("2013-04-02T00:00:01Z", true).await, some);
        assert_eq!(close("2013-04-02T00:00:01Z", false).await, some);
        assert_eq!(close("2013-04-02T00:00:01Z", false).await, none);
        let left = sandbox.texts("SELECT key FROM outbox WHERE body_html <> ''").await;
        assert_eq!(left, [messages[449].key.to_string()], "it waits to be sent");
        sandbox.assert_verified().await;
    }

    async fn a_month_is_closed_once_it_had_its_time_and_was_reported(sandbox: Sandbox) {
        let id = sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
        let early = close(&sandbox, "2013-02-08T04:59:59.999999Z").await;
        assert_eq!((early.lines, early.problems), (vec![], vec![]), "late usage has a week");

        let waiting = close(&sandbox, WEEK_AFTER).await;
        assert_eq!(waiting.lines, Vec::<String>::new(), "its statement comes first");
        assert_eq!(
            waiting.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["2013-01@America/New_York was not reported, so it stays open to late usage (1 account); `creditd run \
              monthly-report --month 2013-01` reports it"]
        );
        report(&sandbox, WEEK_AFTER, NEW_YORK, &["2013-01"]).await;

        assert_eq!(told_late(&sandbox, &id, WEEK_AFTER, "u-1").await, "success");
        let planned = run(sandbox.at(WEEK_AFTER), Job::Close, Slot::Tick(instant(WEEK_AFTER)), true).await;
        assert_eq!(closings(&sandbox, &id).await, Vec::<String>::new(), "a dry run writes nothing");
        let done = close(&sandbox, WEEK_AFTER).await;
        assert_eq!((&done.lines, &done.problems), (&planned.lines, &vec![]));
        assert_eq!(done.lines, ["acme: close 2013-01"]);
        assert_eq!(done.summary, "1 account closed to late usage");
        let again = close(&sandbox, "2013-02-09T05:00:00Z").await;
        assert_eq!((again.lines, again.problems), (vec![], vec![]));
        assert_eq!(closings(&sandbox, &id).await, ["month_close 2013-01"]);
        assert_eq!(told_late(&sandbox, &id, WEEK_AFTER, "u-2").await, "month_closed");
    }

    async fn a_month_that_was_opened_again_stays_open_until_a_person_closes_it(sandbox: Sandbox) {
        let id = sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
        report(&sandbox, WEEK_AFTER, NEW_YORK, &["2013-01"]).await;
        close(&sandbox, WEEK_AFTER).await;
        by_hand(&sandbox, &id, WEEK_AFTER, "2013-01", true).await;
        let left = close(&sandbox, "2013-02-09T05:00:00Z").await;
        assert_eq!((left.lines, left.problems), (vec![], vec![]));
        assert_eq!(left.summary, "0 accounts closed to late usage, 1 left as they were opened again");
        assert_eq!(told_late(&sandbox, &id, "2013-02-10T00:00:00Z", "u-1").await, "success");

        // Closing February would close January, too.
        let next = "2013-03-08T05:00:00Z";
        report(&sandbox, next, NEW_YORK, &["2013-02"]).await;
        let left = close(&sandbox, next).await;
        assert_eq!((left.lines, left.problems), (vec![], vec![]));
        assert_eq!(told_late(&sandbox, &id, next, "u-2").await, "success");
        by_hand(&sandbox, &id, next, "2013-01", false).await;
        assert_eq!(close(&sandbox, next).await.lines, ["acme: close 2013-02"]);
        assert_eq!(
            closings(&sandbox, &id).await,
            ["month_close 2013-01", "month_reopen 2013-01", "month_close 2013-01", "month_close 2013-02"]
        );
        assert_eq!(told_late(&sandbox, &id, next, "u-3").await, "month_closed");
        sandbox.assert_verified().await;
    }

    async fn it_does_not_matter_who_closed_a_month_that_was_opened_again(sandbox: Sandbox) {
        let id = sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
        let now = "2013-04-20T00:00:00Z";
        report(&sandbox, now, NEW_YORK, &["2013-01", "2013-02", "2013-03"]).await;
        by_hand(&sandbox, &id, now, "2013-02", false).await;
        by_hand(&sandbox, &id, now, "2013-01", true).await;
        let planned = run(sandbox.at(now), Job::Close, Slot::Tick(instant(now)), true).await;
        let left = close(&sandbox, now).await;
        assert_eq!((&left.lines, &left.problems), (&vec![], &vec![]));
        assert_eq!(left.summary, "0 accounts closed to late usage, 1 left as they were opened again");
        assert_eq!(planned.summary, left.summary);
        // February was opened again with January.
        by_hand(&sandbox, &id, now, "2013-01", false).await;
        assert_eq!(close(&sandbox, now).await.lines, Vec::<String>::new());
        by_hand(&sandbox, &id, now, "2013-02", false).await;
        assert_eq!(close(&sandbox, now).await.lines, ["acme: close 2013-03"]);
        // And once more, with what the job closed.
        by_hand(&sandbox, &id, now, "2013-03", true).await;
        assert_eq!(close(&sandbox, now).await.lines, Vec::<String>::new());
        by_hand(&sandbox, &id, now, "2013-03", false).await;
        let done = close(&sandbox, now).await;
        assert_eq!((done.lines, done.summary.as_str()), (vec![], "0 accounts closed to late usage"));
        sandbox.assert_verified().await;
    }

    async fn months_are_caught_up_but_none_passes_one_that_was_not_reported(sandbox: Sandbox) {
        let id = sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
        let now = "2013-05-20T00:00:00Z";
        report(&sandbox, now, NEW_YORK, &["2013-01", "2013-02", "2013-04"]).await;
        let done = close(&sandbox, now).await;
        assert_eq!(done.lines, ["acme: close 2013-02"], "in one step");
        assert_eq!(done.problems.len(), 1);
        assert!(done.problems[0].what.starts_with("2013-03@America/New_York was not reported"), "{}", done.problems[0]);
        report(&sandbox, now, NEW_YORK, &["2013-03"]).await;
        assert_eq!(close(&sandbox, now).await.lines, ["acme: close 2013-04"]);
        assert_eq!(closings(&sandbox, &id).await, ["month_close 2013-02", "month_close 2013-04"]);
    }

    async fn a_first_load_of_history_is_merely_early(sandbox: Sandbox) {
        // The ledger was made on 1 January 2013: nobody but a person closes what ended before.
        sandbox.open_account("old", "UTC", "2012-10-01").await;
        let quiet = close(&sandbox, "2013-02-01T00:00:00Z").await;
        assert_eq!((quiet.lines, quiet.problems), (vec![], vec![]));

        let learned = instant("2013-03-05T00:00:00Z");
        let new = NewAccount { account: account("new", "America/New_York", "2013-01-01"), locale: None, admins: Vec::new() };
        sandbox.store().open_accounts(&[new], learned).await.expect("an account");
        for zone in [Tz::UTC, NEW_YORK] {
            report(&sandbox, "2013-03-09T00:00:00Z", zone, &["2013-01", "2013-02"]).await;
        }
        let done = close(&sandbox, "2013-03-11T23:59:59Z").await;
        assert_eq!(done.lines, ["old: close 2013-02"], "creditd knows the other account for less than a week");
        assert_eq!(close(&sandbox, "2013-03-12T00:00:00Z").await.lines, ["new: close 2013-02"]);
        assert_eq!(told_late(&sandbox, &account_id("new"), "2013-03-12T00:00:00Z", "u-1").await, "month_closed");
    }
}
