//! Making, opening and closing ledgers, and what is said of places where there is none.

use crate::support::{
    Backend, Sandbox, account, attachments, both_databases, instant, lease_of, message, statement, write_wished,
};
use creditd::core::ids::Email;
use creditd::core::outbox::{Message, NoticeKey};
use creditd::core::schedule::Job;
use creditd::store::{Meta, NewAccount, Store, StoreError};
use std::future::Future;

/// Does `make` as many times at once as there are in a small fleet.
async fn at_once<T: Send + 'static>(make: impl Fn() -> std::pin::Pin<Box<dyn Future<Output = T> + Send>>) -> Vec<T> {
    let tasks: Vec<_> = (0..6).map(|_| tokio::spawn(make())).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("a task"));
    }
    answers
}

both_databases! {
    async fn a_ledger_is_made_once_and_remembers_what_it_is(sandbox: Sandbox) {
        let (url, _database) = sandbox.empty_place().await;
        assert!(matches!(Store::open(&url).await, Err(StoreError::Missing { .. })));
        let meta = Meta { created_at: instant("2013-05-06T07:08:09.123456Z"), sandbox: false };
        let store = Store::create(&url, meta).await.expect("a new ledger");
        let new = NewAccount { account: account("acme", "UTC", "2013-01-01"), locale: None, admins: Vec::new() };
        store.open_accounts(&[new], meta.created_at).await.expect("an account");
        store.close().await;
        assert!(matches!(Store::create(&url, meta).await, Err(StoreError::Exists { .. })));
        let store = Store::open(&url).await.expect("it is there");
        assert_eq!(store.meta(), meta);
        assert_eq!(store.count_accounts().await.expect("a count"), 1);
        assert_eq!(store.place().file().is_some(), sandbox.backend() == Backend::Sqlite);
        assert_eq!(store.folder().is_some(), sandbox.backend() == Backend::Sqlite);
        store.close().await;
        assert_eq!(sandbox.store().meta(), crate::support::META);
    }

    /// Two replicas that `init` at once: one makes the ledger, the others find it.
    async fn of_many_who_make_a_ledger_at_once_one_does(sandbox: Sandbox) {
        let (url, _database) = sandbox.empty_place().await;
        let answers = at_once(|| {
            let url = url.clone();
            Box::pin(async move { Store::create(&url, crate::support::META).await })
        });
        let (made, refused): (Vec<_>, Vec<_>) = answers.await.into_iter().partition(Result::is_ok);
        assert_eq!(made.len(), 1);
        for refused in refused {
            let error = refused.map(|_| ()).expect_err("refused");
            assert!(matches!(error, StoreError::Exists { .. }), "{error}");
        }
        let store = Store::open(&url).await.expect("a whole ledger");
        assert_eq!(store.prices().await.expect("prices"), crate::support::default_prices());
    }

    /// Replicas of a new version that start at once on an old ledger.
    async fn of_many_who_bring_a_schema_up_to_date_one_does(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let message = statement(&acme, "ann@example.com", "2013-02-01T00:00:00Z");
        write_wished(sandbox.store(), std::slice::from_ref(&message)).await;
        let versions = "SELECT CAST(version AS TEXT) FROM _sqlx_migrations ORDER BY version";
        let all = sandbox.texts(versions).await;
        // Without what versions 3 and 4 brought, and what 18 to 20 did to the same table.
        let columns = match sandbox.backend() {
            // That one makes the table anew, of the columns that there were.
            Backend::Sqlite => "",
            Backend::Postgres => {
                "ALTER TABLE outbox DROP COLUMN unsubscribe_url, DROP COLUMN attachments, DROP COLUMN pending_since,
                     DROP COLUMN tried_at, DROP COLUMN lease, DROP COLUMN leased_until, DROP COLUMN cancelled_because,
                     DROP COLUMN may_have_left;"
            }
        };
        let before = "DROP INDEX outbox_levels; DROP INDEX IF EXISTS outbox_in_hand; DROP TABLE sealed; DROP TABLE outbox_parts; DROP TABLE suppressions;
                      DELETE FROM _sqlx_migrations WHERE version IN (3, 4, 18, 19, 20)";
        sandbox.execute(&format!("{columns} {before}")).await.expect("a ledger of before");
        let opened = at_once(|| {
            let url = sandbox.url().to_owned();
            Box::pin(async move { Store::open(&url).await })
        });
        for opened in opened.await {
            let store = opened.expect("the ledger, up to date");
            let record = store.message(&message.key).await.expect("read").expect("it is there");
            assert_eq!((record.message, record.pending_since), (message.clone(), message.created_at));
            store.close().await;
        }
        assert_eq!(sandbox.texts(versions).await, all);
        sandbox.assert_verified().await;
    }

    /// Messages keep what they are and what became of them when the reference to accounts goes.
    async fn messages_outlive_their_reference_to_accounts(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let now = "2013-02-01T00:00:00Z";
        let whole = Message {
            attachments: attachments(),
            unsubscribe_url: Some("https://credits.example/u?t=1".into()),
            ..statement(&acme, "ann@example.com", now)
        };
        let messages = [whole, statement(&acme, "bob@example.com", now)];
        let store = sandbox.store();
        write_wished(store, &messages).await;
        store.lease_messages(&lease_of("a lease"), instant(now), 1, None).await.expect("leased");
        let rows = "SELECT account_id || key || digest || state || due_at || coalesce(lease, '') || coalesce(leased_until, 0)
                           || coalesce(tried_at, 0) FROM outbox ORDER BY key";
        let before = sandbox.texts(rows).await;
        let references = match sandbox.backend() {
            // There, tables are made anew.
            Backend::Sqlite => "",
            Backend::Postgres => {
                "ALTER TABLE outbox ADD CONSTRAINT outbox_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts;
                 ALTER TABLE outbox_parts ADD CONSTRAINT outbox_parts_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts;"
            }
        };
        // What came later and is about the same tables is not there either.
        let undo = format!(
            "{references} DROP TABLE incidents; DROP INDEX outbox_stuck; DROP INDEX outbox_content; DROP INDEX outbox_alerts;
             DROP INDEX outbox_levels; DROP INDEX IF EXISTS outbox_in_hand;
             ALTER TABLE accounts DROP COLUMN locale;
             ALTER TABLE outbox DROP COLUMN cancelled_because; ALTER TABLE outbox DROP COLUMN may_have_left;
             DELETE FROM _sqlx_migrations WHERE version IN (8, 9, 11, 15, 18, 19, 20)"
        );
        sandbox.execute(&undo).await.expect("a ledger of before");
        let store = Store::open(sandbox.url()).await.expect("the ledger, up to date");
        for message in &messages {
            assert_eq!(store.message(&message.key).await.expect("read").expect("it is there").message, *message);
        }
        assert_eq!(sandbox.texts(rows).await, before);
        let key = NoticeKey::job_failed(Job::Reset, instant(now), Email::new("ops@example.com").expect("an address"));
        let to_operators = Message { attachments: attachments(), ..message(key, now) };
        store.write_messages(std::slice::from_ref(&to_operators)).await.expect("one that belongs to no account");
        store.close().await;
        let found = sandbox.store().message(&to_operators.key).await.expect("read").expect("it is there").message;
        assert_eq!(found, to_operators);
        sandbox.assert_verified().await;
        let indexes = match sandbox.backend() {
            Backend::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'outbox_%' ORDER BY name",
            Backend::Postgres => {
                "SELECT CAST(indexname AS TEXT) FROM pg_indexes
                  WHERE tablename = 'outbox' AND indexname <> 'outbox_pkey' ORDER BY 1"
            }
        };
        assert_eq!(sandbox.texts(indexes).await, ["outbox_alerts", "outbox_content", "outbox_due", "outbox_in_hand", "outbox_levels", "outbox_stuck", "outbox_tried"]);
    }

    async fn a_schema_of_another_build_is_left_as_it_is(sandbox: Sandbox) {
        let blob = if sandbox.backend() == Backend::Sqlite { "x'00'" } else { "'\\x00'" };
        let changed = format!("UPDATE _sqlx_migrations SET checksum = {blob} WHERE version = 2");
        sandbox.execute(&changed).await.expect("another build's");
        let error = Store::open(sandbox.url()).await.map(|_| ()).expect_err("another build's");
        let said = error.to_string();
        assert!(matches!(error, StoreError::Changed { version: 2, .. }), "{said}");
        assert!(said.contains("was made by another build of creditd: its schema 2 is not schema 2 of this one"), "{said}");

        let newest = sandbox.texts("SELECT CAST(max(version) AS TEXT) FROM _sqlx_migrations").await.remove(0);
        let newer = "INSERT INTO _sqlx_migrations
                     SELECT 9999, 'from the future', installed_on, success, checksum, execution_time
                       FROM _sqlx_migrations WHERE version = 1";
        sandbox.execute(newer).await.expect("a newer schema");
        let error = Store::open(sandbox.url()).await.map(|_| ()).expect_err("a newer schema");
        let said = format!("the ledger has schema 9999, this creditd knows {newest}; install a newer creditd");
        assert_eq!(error.to_string(), said);
    }

    async fn a_place_with_something_else_is_left_as_it_is(sandbox: Sandbox) {
        sandbox.execute("DROP TABLE transactions").await.expect("no ledger any more");
        let error = Store::open(sandbox.url()).await.map(|_| ()).expect_err("no ledger");
        assert!(matches!(error, StoreError::NotALedger { .. }), "{error}");
        assert!(Store::create(sandbox.url(), sandbox.store().meta()).await.is_err());
        assert_eq!(sandbox.texts("SELECT CAST(count(*) AS TEXT) FROM meta").await, ["2"]);
    }
}
