//! What a person might do with the shell of the database, or a broken disk with a bit, and a ledger to do it to.

use crate::store::reset;
use crate::support::{Sandbox, instant, purchase, usage};
use creditd::core::ids::AccountId;
use creditd::core::ledger::Usage;
use creditd::core::transaction::Status;

/// An account with free and purchased credits, a charge of both, failed and refused ones, lapses, and a lapse taken back.
/// Its rows: 1 January's grant, 2 the pack, 3 a charge of 700 (grant 1), 4 refused, 5 failed, 6 January's lapse, 7
/// February's grant, 8 a charge of 1500 (grant 7) and 250 (grant 2), 9 a lapse taken back, 10 the late charge, then the
/// months until April.
pub async fn play(sandbox: &Sandbox) -> AccountId {
    let acme = sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
    let charge = |key, quantity| Usage { quantity, ..usage("erase", key) };
    let january = sandbox.at("2013-01-10T00:00:00Z");
    january.purchase(&acme, &purchase(1, "inv-1")).await.expect("a purchase");
    january.charge(&acme, &charge("a", 100)).await.expect("700 free");
    january.charge(&acme, &charge("refused", 10_000)).await.expect("a refusal");
    january.charge(&acme, &Usage { status: Status::Failed, ..charge("failed", 1) }).await.expect("a failure");
    let february = sandbox.at("2013-02-10T00:00:00Z");
    february.charge(&acme, &charge("b", 250)).await.expect("1500 free and 250 purchased");
    let late = Usage { occurred_at: Some(instant("2013-01-20T00:00:00Z")), ..charge("late", 20) };
    february.charge(&acme, &late).await.expect("140 free of January");
    reset(&sandbox.at("2013-04-10T00:00:00Z"), 100).await;
    sandbox.open_account("other", "UTC", "2013-01-01").await;
    sandbox.assert_verified().await;
    acme
}

/// Changes made behind creditd's back. Each alone must be found by what the transactions say, without any digest.
pub const TAMPERING: &[&str] = &[
    "UPDATE accounts SET opened_at = opened_at - 1",
    "UPDATE accounts SET opened_through = '2013-05'",
    "UPDATE accounts SET opened_through = NULL",
    "UPDATE accounts SET last_seq = last_seq + 1",
    "UPDATE accounts SET last_recorded_at = last_recorded_at + 1",
    "UPDATE accounts SET balance_free = balance_free + 1",
    "UPDATE accounts SET balance_purchased = balance_purchased - 1",
    "UPDATE accounts SET due_at = due_at + 1",
    "UPDATE terms SET allowance = 1501",
    "DELETE FROM accounts WHERE account_id = 'acme'",
    "UPDATE grants SET amount = amount + 1 WHERE grant_id = 2",
    "UPDATE grants SET amount = amount + 1, remaining = remaining + 1 WHERE grant_id = 2",
    "UPDATE grants SET consumed = consumed + 1 WHERE grant_id = 1",
    "UPDATE grants SET consumed = consumed + 1, remaining = remaining - 1 WHERE grant_id = 2",
    "UPDATE grants SET lapsed = lapsed + 1 WHERE grant_id = 1",
    "UPDATE grants SET lapsed = lapsed - 1, remaining = remaining + 1 WHERE grant_id = 1",
    "UPDATE grants SET remaining = remaining + 1 WHERE grant_id = 2",
    "UPDATE grants SET starts_at = starts_at + 1 WHERE grant_id = 1",
    "UPDATE grants SET starts_at = starts_at - 1 WHERE grant_id = 2",
    "UPDATE grants SET starts_at = starts_at - 1 WHERE grant_id = 7",
    "UPDATE grants SET expires_at = expires_at + 1 WHERE grant_id = 1",
    "UPDATE grants SET expires_at = 4000000000000000 WHERE grant_id = 2",
    "UPDATE grants SET expires_at = expires_at + 1 WHERE label = 'free:2013-04'",
    "UPDATE grants SET lapsed_by = 3 WHERE grant_id = 1",
    "UPDATE grants SET lapsed_by = NULL WHERE grant_id = 1",
    "UPDATE grants SET lapsed_by = 4 WHERE grant_id = 2",
    "UPDATE grants SET credit_type = 'purchased' WHERE grant_id = 1",
    "UPDATE grants SET source = 'bonus' WHERE grant_id = 1",
    "UPDATE grants SET source = 'monthly' WHERE grant_id = 2",
    "UPDATE grants SET label = 'free:2012-12' WHERE grant_id = 1",
    "UPDATE grants SET label = 'pack:other' WHERE grant_id = 2",
    "DELETE FROM grants WHERE grant_id = 2",
    "DELETE FROM grants WHERE label = 'free:2013-03'",
    "INSERT INTO grants SELECT account_id, 3, 'x', credit_type, source, 0, starts_at, NULL, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL
                          FROM grants WHERE account_id = 'acme' AND grant_id = 2",
    "UPDATE grants SET came_back = '[[1357819200000000,1]]' WHERE grant_id = 2",
    "UPDATE accounts SET reopened_through = '2013-01' WHERE account_id = 'acme'",
    "UPDATE payments SET reference = 'inv-2'",
    "UPDATE payments SET account_id = 'other'",
    "UPDATE payments SET purchase_id = 3",
    "DELETE FROM payments",
    "INSERT INTO payments VALUES ('inv-2', 'acme', 2)",
    "INSERT INTO payments VALUES ('inv-2', 'acme', 90)",
    "INSERT INTO payments VALUES ('inv-2', 'other', 1)",
    "UPDATE transactions SET kind = 'bonus' WHERE seq = 2",
    "UPDATE transactions SET kind = 'expiry' WHERE seq = 3",
    "UPDATE transactions SET kind = 'charge' WHERE seq = 6",
    "UPDATE transactions SET kind = 'charge' WHERE seq = 1",
    "UPDATE transactions SET seq = 100 WHERE seq = 5",
    "UPDATE transactions SET occurred_at = occurred_at + 1 WHERE seq = 1",
    "UPDATE transactions SET occurred_at = occurred_at + 1 WHERE seq = 2",
    "UPDATE transactions SET occurred_at = occurred_at + 3000000000000 WHERE seq = 3",
    "UPDATE transactions SET occurred_at = occurred_at - 1 WHERE seq = 6",
    "UPDATE transactions SET occurred_at = 0 WHERE seq = 5",
    "UPDATE transactions SET occurred_at = occurred_at + 315360000000000 WHERE seq = 5",
    "UPDATE transactions SET recorded_at = recorded_at - 5000000000000 WHERE seq = 7",
    "UPDATE transactions SET recorded_at = recorded_at + 1 WHERE seq = (SELECT max(seq) FROM transactions)",
    "UPDATE transactions SET quantity = quantity + 1 WHERE seq = 2",
    "UPDATE transactions SET quantity = quantity + 1 WHERE seq = 3",
    "UPDATE transactions SET quantity = 0 WHERE seq = 5",
    "UPDATE transactions SET unit_price = unit_price + 1 WHERE seq = 2",
    "UPDATE transactions SET unit_price = unit_price - 1 WHERE seq = 3",
    "UPDATE transactions SET status = 'failed' WHERE seq = 3",
    "UPDATE transactions SET status = 'success' WHERE seq = 4",
    "UPDATE transactions SET status = 'success' WHERE seq = 5",
    "UPDATE transactions SET status = 'failed' WHERE seq = 6",
    "UPDATE transactions SET reason = 'insufficient_credits' WHERE seq = 3",
    "UPDATE transactions SET corrects = NULL WHERE seq = 9",
    "UPDATE transactions SET corrects = 3 WHERE seq = 9",
    "UPDATE transactions SET reference = 'inv-2' WHERE seq = 2",
    "UPDATE transactions SET key = 'purchase:inv-2' WHERE seq = 2",
    "UPDATE transactions SET money_minor = NULL WHERE seq = 2",
    "UPDATE transactions SET free_delta = free_delta - 1 WHERE seq = 3",
    "UPDATE transactions SET free_delta = -9223372036854775807 WHERE seq = 3",
    "UPDATE transactions SET quantity = 9223372036854775807 WHERE seq = 3",
    "UPDATE transactions SET purchased_delta = purchased_delta + 1 WHERE seq = 8",
    "UPDATE transactions SET free_delta = free_delta + 250, purchased_delta = purchased_delta - 250 WHERE seq = 8",
    "UPDATE transactions SET free_balance = free_balance + 1 WHERE seq = 3",
    "UPDATE transactions SET purchased_balance = purchased_balance - 1 WHERE seq = 8",
    "DELETE FROM transactions WHERE seq = 5",
    "DELETE FROM transactions WHERE seq = (SELECT max(seq) FROM transactions)",
    "UPDATE transactions SET account_id = 'other', seq = 50 WHERE seq = 5",
    "INSERT INTO transactions (account_id, seq, kind, occurred_at, recorded_at, quantity, unit_price, status, comment,
                               free_delta, purchased_delta, free_balance, purchased_balance, entries, digest)
     VALUES ('acme', 50, 'bonus', 0, 0, 0, 0, 'success', '', 0, 0, 0, 0, '[]', 0)",
    "UPDATE transactions SET entries = '[]' WHERE seq = 3",
    "UPDATE transactions SET entries = '[[1,\"free\",-701]]' WHERE seq = 3",
    "UPDATE transactions SET entries = '[[99,\"free\",-700]]' WHERE seq = 3",
    "UPDATE transactions SET entries = '[[1,\"free\",-1500],[2,\"purchased\",-250]]' WHERE seq = 8",
];
