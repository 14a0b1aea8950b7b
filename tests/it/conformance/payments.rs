//! Which purchase a payment was recorded for (R12).

use crate::support::{Sandbox, both_databases, instant, purchase};
use creditd::app::AppError;
use creditd::core::ids::{AccountId, Reference};
use creditd::core::ledger::{Call, Refusal};
use creditd::store::Load;

const NOW: &str = "2013-01-10T00:00:00Z";

async fn two_accounts(sandbox: &Sandbox) -> [AccountId; 2] {
    [sandbox.open_account("acme", "UTC", "2013-01-01").await, sandbox.open_account("beta", "UTC", "2013-01-01").await]
}

async fn stored(sandbox: &Sandbox) -> Vec<String> {
    sandbox.texts("SELECT reference || ' ' || account_id || ' ' || purchase_id FROM payments ORDER BY reference").await
}

/// An account and what it buys, by one payment.
fn bought(id: &AccountId, reference: &str) -> (AccountId, Call) {
    (id.clone(), Call::Purchase(purchase(1, reference)))
}

fn codes<T>(answers: &[Result<T, AppError>]) -> Vec<&'static str> {
    let code = |answer: &Result<T, AppError>| match answer {
        Ok(_) => "done",
        Err(AppError::Refused(refusal)) => refusal.code(),
        Err(error) => panic!("{error}"),
    };
    answers.iter().map(code).collect()
}

both_databases! {
    async fn r12_a_payment_is_stored_with_its_purchase(sandbox: Sandbox) {
        let [acme, beta] = two_accounts(&sandbox).await;
        let app = sandbox.at(NOW);
        app.purchase(&acme, &purchase(1, "pi_2")).await.expect("a pack");
        app.purchase(&beta, &purchase(1, "PI_2")).await.expect("another payment");
        app.purchase(&acme, &purchase(1, "pi_1")).await.expect("a pack");
        assert_eq!(stored(&sandbox).await, ["PI_2 beta 2", "pi_1 acme 3", "pi_2 acme 2"]);

        // What is loaded for a call names who else has its payment, and nothing of its own.
        let mut load = Load::default();
        for (id, call) in [bought(&acme, "pi_1"), bought(&beta, "pi_1"), bought(&beta, "pi_3"), bought(&beta, "PI_2")] {
            load.call(&id, &call, instant(NOW));
        }
        let ledgers = sandbox.store().load(&load).await.expect("ledgers").ledgers;
        let payments = |id: &AccountId| ledgers[id].payments.clone().into_iter().collect::<Vec<_>>();
        assert_eq!(payments(&acme), []);
        assert_eq!(payments(&beta), [(Reference::new("pi_1").expect("a reference"), acme.clone())]);

        let refused = app.purchase(&beta, &purchase(1, "pi_1")).await.expect_err("of another account");
        let AppError::Refused(refusal @ Refusal::PaymentUsed { .. }) = refused else { panic!("{refused}") };
        assert_eq!(
            refusal.to_string(),
            "payment_used: account beta: the payment pi_1 was recorded for account acme, and a payment counts once; nothing \
             was written. If acme got it by mistake, return it there (creditd return pi_1 --account acme) and record it \
             here under another reference, such as pi_1-moved"
        );
        assert_eq!(stored(&sandbox).await.len(), 3);
        sandbox.assert_verified().await;
    }

    /// Two accounts in one batch: what the first was given is not stored yet when the second asks.
    async fn r12_a_batch_gives_a_payment_once(sandbox: Sandbox) {
        let [acme, beta] = two_accounts(&sandbox).await;
        let app = sandbox.at(NOW);
        let calls = [bought(&beta, "pi_1"), bought(&acme, "pi_1"), bought(&acme, "pi_2"), bought(&beta, "pi_1")];
        let expected = ["done", "payment_used", "done", "done"];
        assert_eq!(codes(&app.plan(&calls).await.expect("a plan")), expected);
        assert_eq!(stored(&sandbox).await, Vec::<String>::new());
        let done = app.apply(&calls).await.expect("a batch");
        assert_eq!(codes(&done), expected);
        assert!(done[3].as_ref().is_ok_and(|receipt| receipt.replayed));
        assert_eq!(stored(&sandbox).await, ["pi_1 beta 2", "pi_2 acme 2"]);
        assert_eq!(codes(&app.check(&calls).await.expect("answers")), ["done", "payment_used", "done", "done"]);
        sandbox.assert_verified().await;
    }
}
