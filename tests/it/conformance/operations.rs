//! How a ledger stands, its schema, and a copy of it: what an operator asks.

use crate::support::{Backend, Sandbox, both_databases, end_run, instant, take_run};
use creditd::core::run::{Run, RunState};
use creditd::core::schedule::{Job, Slot};
use creditd::store::{Incident, JobFigures, RunId, Schema, Store, StoreError, Telling, Wrong};

/// The number of the newest migration, which brought what nothing here depends on.
const NEWEST: &str = "SELECT CAST(max(version) AS TEXT) FROM _sqlx_migrations";

both_databases! {
    async fn the_figures_are_those_of_jobs_and_mail(sandbox: Sandbox) {
        let store = sandbox.store();
        let empty = store.figures().await.expect("figures");
        assert_eq!((empty.waiting, empty.waiting_since, empty.newest_row_at), (0, None, None));
        assert!(empty.jobs.is_empty() && empty.runs.is_empty() && empty.alerts.is_empty(), "{empty:?}");
        assert!(empty.database_at > instant("2026-01-01T00:00:00Z"), "{empty:?}");

        let run = async |job, at: &str, took: i64, ended: Result<(), &str>, telling: Option<&Telling>| {
            let (slot, at) = (Slot::Tick(instant(at)), instant(at));
            // It begins, and ends a while later.
            assert!(store.begin_run(RunId::of(job, slot), at).await.expect("a run"));
            end_run(store, RunId::of(job, slot), at.plus_micros(took), ended, telling).await;
        };
        run(Job::Scan, "2013-01-05T00:00:00Z", 7, Ok(()), None).await;
        run(Job::Scan, "2013-01-05T00:01:00Z", 9, Ok(()), None).await;
        run(Job::Verify, "2013-01-05T00:00:00Z", 5, Ok(()), None).await;
        let began_at = instant("2013-01-06T00:00:00Z");
        let incident = Incident { job: Job::Verify, wrong: Wrong::Fails, slot: Slot::Tick(began_at), began_at, why: "x".into() };
        let telling = Telling::Begins(incident, Vec::new());
        run(Job::Verify, "2013-01-06T00:00:00Z", 3, Err("x"), Some(&telling)).await;
        for (key, state, due) in [("a", "pending", 20), ("b", "pending", 10), ("c", "failed", 5), ("d", "ambiguous", 1), ("e", "sent", 1)] {
            let insert = format!(
                "INSERT INTO outbox (account_id, key, kind, recipient, recipient_name, subject, body_text, body_html, message_id,
                                     created_at, digest, state, due_at, pending_since)
                 VALUES ('', '{key}', 'job-failed', 'ops@example.com', '', 's', 't', 'h', '{key}', 1, 1, '{state}', {due}, 1)"
            );
            sandbox.execute(&insert).await.expect("a message");
        }
        let figures = store.figures().await.expect("figures");
        let scan = JobFigures { done_at: Some(instant("2013-01-05T00:01:00.000009Z")), took_us: Some(9), ..JobFigures::default() };
        let verify = JobFigures {
            done_at: Some(instant("2013-01-05T00:00:00.000005Z")),
            took_us: Some(3),
            failed: true,
            failing_since: Some(began_at),
        };
        assert_eq!(figures.jobs.into_iter().collect::<Vec<_>>(), [(Job::Scan, scan), (Job::Verify, verify)]);
        let runs = [((Job::Scan, RunState::Done), 2), ((Job::Verify, RunState::Done), 1), ((Job::Verify, RunState::Failed), 1)];
        assert_eq!(figures.runs.into_iter().collect::<Vec<_>>(), runs);
        assert_eq!((figures.waiting, figures.failed, figures.ambiguous, figures.suppressed), (2, 1, 1, 0));
        // Of two that were begun, one is handed back, so that nobody is at it.
        for (job, is_back) in [(Job::Reset, true), (Job::Seal, false)] {
            let id = RunId::of(job, Slot::Tick(began_at));
            let batch = take_run(store, id, began_at).await;
            let hand_back = |run: &mut Run, _| ((), is_back.then(|| run.hand_back(batch.term)).and(None));
            store.change_run(id, hand_back).await.expect("a run");
            let run = store.newest_run(job).await.expect("read").expect("a run").run;
            assert_eq!((run.state, run.standing()), (RunState::Running, if is_back { "handed back" } else { "running" }));
            assert_eq!(run.holders().count(), usize::from(!is_back));
        }
        let handed_back = store.figures().await.expect("figures").handed_back;
        assert_eq!(handed_back.into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>(), [(Job::Reset, 1)]);
        assert_eq!(figures.waiting_since.map(|at| at.micros()), Some(10));
    }

    async fn the_newest_row_and_the_zones_are_those_of_accounts(sandbox: Sandbox) {
        sandbox.open_account("acme", "Europe/Berlin", "2013-01-01").await;
        sandbox.open_account("Zoo", "America/New_York", "2013-01-01").await;
        let store = sandbox.store();
        assert_eq!(store.stored_zones().await.expect("zones"), ["America/New_York", "Europe/Berlin"]);
        let app = sandbox.at("2013-01-07T00:00:00Z");
        app.charge(&crate::support::account_id("acme"), &crate::support::usage("erase", "k")).await.expect("charged");
        assert_eq!(store.newest_row_at().await.expect("asked"), Some(app.now()));
        let version = store.database_version().await.expect("a version");
        let name = if sandbox.backend() == Backend::Sqlite { "SQLite 3." } else { "Postgres 1" };
        assert!(version.starts_with(name), "{version}");
    }

    /// Looking at a schema leaves it as it is, and a newer one is noticed while one works.
    async fn a_schema_is_looked_at_without_being_changed(sandbox: Sandbox) {
        let store = sandbox.store();
        store.check().await.expect("the schema is known");
        let newest: i64 = sandbox.texts(NEWEST).await[0].parse().expect("a number");
        let look = async || {
            let (store, schema) = Store::open_as_it_is(sandbox.url()).await.expect("opened");
            store.close().await;
            schema
        };
        assert_eq!(look().await, Schema { found: newest, known: newest, due: 0 });
        sandbox.execute(&format!("DELETE FROM _sqlx_migrations WHERE version = {newest}")).await.expect("forgotten");
        let old = look().await;
        assert_eq!((old.known, old.due), (newest, 1));
        assert_eq!(look().await, old);
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                     SELECT 9999, 'newer', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
        sandbox.execute(newer).await.expect("a newer creditd was there");
        assert!(matches!(store.check().await, Err(StoreError::Newer { found: 9999, .. })));
        assert!(matches!(Store::open_as_it_is(sandbox.url()).await, Err(StoreError::Newer { .. })));
    }

    /// A copy has what was committed when it began; a server makes its own.
    async fn a_ledger_is_copied_whole(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let app = sandbox.at("2013-01-07T00:00:00Z");
        app.charge(&acme, &crate::support::usage("erase", "first")).await.expect("charged");
        let copy = sandbox.path("copy.db");
        let is_copied = sandbox.store().copy_to(&copy).await.expect("copied or not");
        assert_eq!((is_copied, copy.exists()), (sandbox.backend() == Backend::Sqlite, is_copied));
        assert_eq!(sandbox.store().broken_pages(5).await.expect("looked"), Vec::<String>::new());
        if is_copied {
            app.charge(&acme, &crate::support::usage("erase", "second")).await.expect("charged");
            assert!(sandbox.store().copy_to(&copy).await.is_err(), "one that is there is left as it is");
            let copied = Store::open(&format!("sqlite://{}", copy.display())).await.expect("a ledger");
            let rows = async |store: &Store| store.count_transactions().await.expect("a count");
            assert_eq!((rows(&copied).await, rows(sandbox.store()).await), (2, 3));
            copied.close().await;
        }
    }
}
