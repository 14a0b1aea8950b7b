//! What came back to a grant, as it is stored beside it (R11, R14).

use crate::support::{Sandbox, both_databases, instant, purchase, usage};
use creditd::core::credits::Credits;
use creditd::core::ids::{AccountId, Key};
use creditd::core::ledger::{CAME_BACK_MAX, Call, Refund, Usage};
use creditd::core::transaction::Status;

/// What comes of usage of the 10th that is told on the 25th.
async fn told_late(sandbox: &Sandbox, id: &AccountId, key: &str, quantity: i64) -> Status {
    let occurred_at = Some(instant("2013-01-10T12:00:00Z"));
    let late = Usage { quantity, occurred_at, ..usage("translation", key) };
    sandbox.at("2013-01-25T12:00:00Z").charge(id, &late).await.expect("an answer").row.status
}

both_databases! {
    /// Beyond the room there is, the oldest is late rather than early; the rest is exact, and verify says the same.
    async fn r14_many_refunds_in_a_row_are_remembered_within_bounds(sandbox: Sandbox) {
        let id = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let early = sandbox.at("2013-01-05T00:00:00Z");
        early.purchase(&id, &purchase(1, "inv-1")).await.expect("a pack");
        let all = Usage { quantity: 4_000, ..usage("translation", "all") };
        early.charge(&id, &all).await.expect("all of it");
        let refunds = CAME_BACK_MAX + 8;
        for n in 0..refunds {
            let app = sandbox.at(&format!("2013-01-{:02}T00:{:02}:00Z", 11 + n / 30, n % 30));
            let (key, charge) = (Key::new(&format!("r{n}")).expect("a key"), Key::new("all").expect("a key"));
            let refund = Refund { key, charge, credits: Some(Credits::new(1)), comment: "one".into() };
            app.call(&id, Call::Refund(refund)).await.expect("refunded");
        }
        let stored = "SELECT came_back FROM grants WHERE label = 'pack:inv-1'";
        let parts = sandbox.texts(stored).await[0].matches("],[").count() + 1;
        assert_eq!(parts, CAME_BACK_MAX);
        sandbox.assert_verified().await;

        assert_eq!(told_late(&sandbox, &id, "too-early", 1).await, Status::Failed);
        let on_the_20th = sandbox.at("2013-01-20T00:00:00Z");
        let some = Usage { quantity: 30, ..usage("translation", "some") };
        on_the_20th.charge(&id, &some).await.expect("of what came back");
        assert_eq!(told_late(&sandbox, &id, "still-too-early", 1).await, Status::Failed);
        let rest = i64::try_from(refunds).expect("few") - 30;
        let rest = Usage { quantity: rest, ..usage("translation", "rest") };
        assert_eq!(on_the_20th.charge(&id, &rest).await.expect("the rest").row.status, Status::Success);
        assert_eq!(sandbox.texts("SELECT label FROM grants WHERE came_back IS NOT NULL").await, Vec::<String>::new());
        sandbox.assert_verified().await;
    }
}
