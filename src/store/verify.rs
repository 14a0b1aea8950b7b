//! `creditd verify`: proves R16 and its kin over the whole ledger, by code that shares nothing with the writers.
//!
//! Each check is one set-based statement that recomputes a figure from the transactions and their entries and returns
//! the rows where what is stored differs. SQLite streams them; memory does not grow with the ledger.

use super::backend::Tx;
use super::{Result, Store, StoreError, While};
use crate::core::ids::AccountId;
use sqlx::Row;

/// Differing rows shown per check: the first ones tell what is wrong, a million of them would not tell more.
const DRIFTS_MAX: usize = 20;

/// A stored figure that is not what the transactions say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Which check.
    pub check: &'static str,
    /// Which account.
    pub account: String,
    /// Which row and column.
    pub what: String,
    /// What the transactions say.
    pub expected: String,
    /// What is stored.
    pub found: String,
}

/// Name of the check, and a statement that returns account, what, expected, found. `$1` is one account or NULL.
const CHECKS: &[(&str, &str)] = &[
    (
        "rows are numbered without gaps",
        "SELECT a.account_id, 'last_seq', count(t.seq) AS expected, a.last_seq AS found
           FROM accounts AS a LEFT JOIN transactions AS t USING (account_id) WHERE $1 IS NULL OR a.account_id = $1
          GROUP BY a.account_id HAVING count(t.seq) <> a.last_seq OR coalesce(max(t.seq), 0) <> a.last_seq",
    ),
    (
        "recording time never decreases",
        "SELECT account_id, 'row ' || seq || ': recorded_at', before, recorded_at FROM (
             SELECT account_id, seq, recorded_at,
                    lag(recorded_at) OVER (PARTITION BY account_id ORDER BY seq) AS before
               FROM transactions WHERE $1 IS NULL OR account_id = $1) WHERE recorded_at < before",
    ),
    (
        "a row's change is the sum of its entries",
        "SELECT t.account_id, 'row ' || t.seq || ': change of free + purchased',
                coalesce(sum(e.delta) FILTER (WHERE g.credit_type = 'free'), 0) || ' + ' ||
                coalesce(sum(e.delta) FILTER (WHERE g.credit_type = 'purchased'), 0),
                t.free_delta || ' + ' || t.purchased_delta
           FROM transactions AS t LEFT JOIN entries AS e USING (account_id, seq)
           LEFT JOIN grants AS g USING (account_id, grant_id) WHERE $1 IS NULL OR t.account_id = $1
          GROUP BY t.account_id, t.seq
         HAVING coalesce(sum(e.delta) FILTER (WHERE g.credit_type = 'free'), 0) <> t.free_delta
             OR coalesce(sum(e.delta) FILTER (WHERE g.credit_type = 'purchased'), 0) <> t.purchased_delta
             OR count(e.delta) <> count(g.grant_id)",
    ),
    (
        "entries belong to a row and change something",
        "SELECT e.account_id, 'entry of row ' || e.seq || ', grant ' || e.grant_id, 'a change by a row',
                e.delta || ' by ' || coalesce(t.kind, 'no row')
           FROM entries AS e LEFT JOIN transactions AS t USING (account_id, seq)
          WHERE (t.seq IS NULL OR (e.delta = 0 AND t.kind <> 'allocation')) AND ($1 IS NULL OR e.account_id = $1)",
    ),
    (
        "a row happened in its account's time, before it was recorded",
        "SELECT t.account_id, 'row ' || t.seq || ': occurred_at',
                coalesce(a.opened_at, 'no account') || ' to ' || t.recorded_at, t.occurred_at
           FROM transactions AS t LEFT JOIN accounts AS a USING (account_id)
          WHERE (a.account_id IS NULL OR t.occurred_at NOT BETWEEN a.opened_at AND t.recorded_at)
            AND ($1 IS NULL OR t.account_id = $1)",
    ),
    (
        "only a charge fails, and only a failed one has a reason",
        "SELECT account_id, 'row ' || seq || ': kind, quantity, status, reason', 'what can be',
                kind || ', ' || quantity || ', ' || status || ', ' || coalesce(reason, 'none')
           FROM transactions
          WHERE ((status = 'failed' AND kind <> 'charge') OR (status = 'success' AND reason IS NOT NULL)
                 OR (kind IN ('charge', 'purchase') AND quantity < 1)) AND ($1 IS NULL OR account_id = $1)",
    ),
    (
        "a row's balance is the sum of all changes up to it",
        "SELECT account_id, 'row ' || seq || ': balance of free + purchased', free || ' + ' || purchased,
                free_balance || ' + ' || purchased_balance FROM (
             SELECT account_id, seq, free_balance, purchased_balance,
                    sum(free_delta) OVER w AS free, sum(purchased_delta) OVER w AS purchased
               FROM transactions WHERE $1 IS NULL OR account_id = $1 WINDOW w AS (PARTITION BY account_id ORDER BY seq))
          WHERE free <> free_balance OR purchased <> purchased_balance",
    ),
    (
        "an account's balance is the sum of its changes",
        "SELECT a.account_id, 'balance of free + purchased',
                coalesce(sum(t.free_delta), 0) || ' + ' || coalesce(sum(t.purchased_delta), 0),
                a.balance_free || ' + ' || a.balance_purchased
           FROM accounts AS a LEFT JOIN transactions AS t USING (account_id) WHERE $1 IS NULL OR a.account_id = $1
          GROUP BY a.account_id
         HAVING coalesce(sum(t.free_delta), 0) <> a.balance_free
             OR coalesce(sum(t.purchased_delta), 0) <> a.balance_purchased",
    ),
    (
        "an account's balance is the sum of its grants' remainders",
        "SELECT a.account_id, 'balance of free + purchased',
                coalesce(sum(g.remaining) FILTER (WHERE g.credit_type = 'free'), 0) || ' + ' ||
                coalesce(sum(g.remaining) FILTER (WHERE g.credit_type = 'purchased'), 0),
                a.balance_free || ' + ' || a.balance_purchased
           FROM accounts AS a LEFT JOIN grants AS g USING (account_id) WHERE $1 IS NULL OR a.account_id = $1
          GROUP BY a.account_id
         HAVING coalesce(sum(g.remaining) FILTER (WHERE g.credit_type = 'free'), 0) <> a.balance_free
             OR coalesce(sum(g.remaining) FILTER (WHERE g.credit_type = 'purchased'), 0) <> a.balance_purchased",
    ),
    (
        "a grant is what its entries make it",
        "SELECT g.account_id, 'grant ' || g.grant_id || ' ' || g.label || ': amount, consumed, lapsed, remaining',
                coalesce(sum(e.delta) FILTER (WHERE e.seq = g.grant_id), 0) || ', ' ||
                -coalesce(sum(e.delta) FILTER (WHERE t.kind = 'charge'), 0) || ', ' ||
                -coalesce(sum(e.delta) FILTER (WHERE t.kind = 'expiry'), 0) || ', ' || coalesce(sum(e.delta), 0),
                g.amount || ', ' || g.consumed || ', ' || g.lapsed || ', ' || g.remaining
           FROM grants AS g LEFT JOIN entries AS e USING (account_id, grant_id)
           LEFT JOIN transactions AS t USING (account_id, seq) WHERE $1 IS NULL OR g.account_id = $1
          GROUP BY g.account_id, g.grant_id
         HAVING coalesce(sum(e.delta) FILTER (WHERE e.seq = g.grant_id), 0) <> g.amount
             OR -coalesce(sum(e.delta) FILTER (WHERE t.kind = 'charge'), 0) <> g.consumed
             OR -coalesce(sum(e.delta) FILTER (WHERE t.kind = 'expiry'), 0) <> g.lapsed
             OR coalesce(sum(e.delta), 0) <> g.remaining",
    ),
    (
        "a charge takes quantity times price, a failed one nothing",
        "SELECT account_id, 'row ' || seq || ': credits',
                CASE status WHEN 'success' THEN quantity * unit_price ELSE 0 END, -(free_delta + purchased_delta)
           FROM transactions WHERE kind = 'charge' AND ($1 IS NULL OR account_id = $1)
            AND -(free_delta + purchased_delta) <> CASE status WHEN 'success' THEN quantity * unit_price ELSE 0 END",
    ),
    (
        "a purchase adds its packs",
        "SELECT account_id, 'row ' || seq || ': credits', quantity * unit_price, purchased_delta
           FROM transactions WHERE kind = 'purchase' AND ($1 IS NULL OR account_id = $1)
            AND (purchased_delta <> quantity * unit_price OR free_delta <> 0)",
    ),
    (
        "a purchase names its payment and its price",
        "SELECT account_id, 'row ' || seq || ': key, price', 'purchase:' || coalesce(reference, 'a payment') || ', a price',
                coalesce(key, 'none') || ', ' || coalesce(money_minor || ' ' || currency, 'none')
           FROM transactions WHERE kind = 'purchase' AND ($1 IS NULL OR account_id = $1)
            AND (key IS NOT 'purchase:' || reference OR money_minor IS NULL OR currency IS NULL)",
    ),
    (
        "a grant is as the row that made it says",
        "SELECT g.account_id, 'grant ' || g.grant_id || ': source, label, starts_at',
                coalesce(t.kind || ', ' || coalesce('pack:' || t.reference, t.comment) || ', ' || t.occurred_at, 'a row'),
                g.source || ' ' || g.credit_type || ', ' || g.label || ', ' || g.starts_at ||
                coalesce(' to ' || g.expires_at, '')
           FROM grants AS g LEFT JOIN transactions AS t ON t.account_id = g.account_id AND t.seq = g.grant_id
          WHERE ($1 IS NULL OR g.account_id = $1) AND (g.starts_at IS NOT t.occurred_at OR NOT CASE g.source
                    WHEN 'monthly' THEN t.kind = 'allocation' AND g.credit_type = 'free' AND g.label = t.comment
                                        AND g.expires_at IS NOT NULL
                    WHEN 'pack' THEN t.kind = 'purchase' AND g.credit_type = 'purchased'
                                     AND g.label IS 'pack:' || t.reference AND g.expires_at IS NULL
                    ELSE t.kind = g.source END)",
    ),
    (
        "a grant names the row that lapsed it",
        "SELECT g.account_id, g.label || ': lapsed_by', max(t.seq), g.lapsed_by
           FROM grants AS g LEFT JOIN entries AS e ON e.account_id = g.account_id AND e.grant_id = g.grant_id AND e.delta < 0
           LEFT JOIN transactions AS t ON t.account_id = e.account_id AND t.seq = e.seq AND t.kind = 'expiry'
          WHERE $1 IS NULL OR g.account_id = $1 GROUP BY g.account_id, g.grant_id HAVING max(t.seq) IS NOT g.lapsed_by",
    ),
    (
        "a lapse that is taken back is named",
        "SELECT t.account_id, 'row ' || t.seq || ': corrects', 'a lapse of the same grant', t.corrects
           FROM transactions AS t JOIN entries AS e USING (account_id, seq)
          WHERE t.kind = 'expiry' AND ($1 IS NULL OR t.account_id = $1) AND (e.delta > 0 OR t.corrects IS NOT NULL)
            AND NOT EXISTS (SELECT 1 FROM transactions AS l JOIN entries AS le USING (account_id, seq)
                             WHERE l.account_id = t.account_id AND l.seq = t.corrects AND l.seq < t.seq
                               AND l.kind = 'expiry' AND le.grant_id = e.grant_id AND le.delta < 0)",
    ),
    (
        "credits are used while their grant lasts",
        "SELECT e.account_id, 'row ' || e.seq || ' on ' || g.label || ': occurred_at',
                g.starts_at || ' to ' || coalesce(g.expires_at, 'never'), t.occurred_at
           FROM transactions AS t JOIN entries AS e USING (account_id, seq) JOIN grants AS g USING (account_id, grant_id)
          WHERE t.kind = 'charge' AND ($1 IS NULL OR t.account_id = $1)
            AND (t.occurred_at < g.starts_at OR t.occurred_at >= g.expires_at)",
    ),
    (
        "credits lapse at the end of their grant",
        "SELECT e.account_id, 'row ' || e.seq || ' on ' || g.label || ': occurred_at', coalesce(g.expires_at, 'never'),
                t.occurred_at
           FROM transactions AS t JOIN entries AS e USING (account_id, seq) JOIN grants AS g USING (account_id, grant_id)
          WHERE t.kind = 'expiry' AND ($1 IS NULL OR t.account_id = $1) AND t.occurred_at IS NOT g.expires_at",
    ),
    (
        "each month has one free grant of its allowance",
        "SELECT g.account_id, g.label || ': amount', t.allowance, g.amount
           FROM grants AS g JOIN terms AS t ON t.account_id = g.account_id AND t.from_month = (
                    SELECT max(from_month) FROM terms
                     WHERE account_id = g.account_id AND from_month <= substr(g.label, 6))
          WHERE g.source = 'monthly' AND ($1 IS NULL OR g.account_id = $1) AND g.amount <> t.allowance",
    ),
    (
        "months are opened one after the other, without a gap",
        "SELECT account_id, label || ': starts_at', ended, starts_at FROM (
             SELECT account_id, label, starts_at,
                    lag(expires_at) OVER (PARTITION BY account_id ORDER BY starts_at) AS ended
               FROM grants WHERE source = 'monthly' AND ($1 IS NULL OR account_id = $1)) WHERE starts_at <> ended",
    ),
    (
        "the first month begins when the account opens",
        "SELECT a.account_id, 'opened_at', min(g.starts_at), a.opened_at
           FROM accounts AS a JOIN grants AS g ON g.account_id = a.account_id AND g.source = 'monthly'
          WHERE $1 IS NULL OR a.account_id = $1 GROUP BY a.account_id HAVING min(g.starts_at) <> a.opened_at",
    ),
    (
        "the last opened month is the last free grant",
        "SELECT a.account_id, 'opened_through', max(substr(g.label, 6)), a.opened_through
           FROM accounts AS a LEFT JOIN grants AS g ON g.account_id = a.account_id AND g.source = 'monthly'
          WHERE $1 IS NULL OR a.account_id = $1 GROUP BY a.account_id HAVING max(substr(g.label, 6)) IS NOT a.opened_through",
    ),
    (
        "an account is due when its month ends or a grant lapses",
        "SELECT a.account_id, 'due_at', coalesce(min(g.expires_at), a.opened_at), a.due_at
           FROM accounts AS a LEFT JOIN grants AS g ON g.account_id = a.account_id
                AND (g.remaining > 0 OR (g.source = 'monthly' AND g.label = 'free:' || a.opened_through))
          WHERE $1 IS NULL OR a.account_id = $1
          GROUP BY a.account_id HAVING coalesce(min(g.expires_at), a.opened_at) <> a.due_at",
    ),
    (
        "an account's newest row was recorded last",
        "SELECT a.account_id, 'last_recorded_at', max(t.recorded_at), a.last_recorded_at
           FROM accounts AS a JOIN transactions AS t USING (account_id) WHERE $1 IS NULL OR a.account_id = $1
          GROUP BY a.account_id HAVING max(t.recorded_at) <> a.last_recorded_at",
    ),
    (
        "nothing is left of a grant that is over",
        "SELECT g.account_id, g.label || ': remaining', 0, g.remaining
           FROM grants AS g JOIN grants AS newer ON newer.account_id = g.account_id AND newer.source = 'monthly'
          WHERE g.expires_at <= newer.starts_at AND g.remaining <> 0 AND ($1 IS NULL OR g.account_id = $1)",
    ),
];

impl Store {
    /// Recomputes everything from the transactions and returns what differs, a few rows per check, with the number of
    /// checks done. `progress` hears of each check.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn verify(
        &self,
        account: Option<&AccountId>,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(usize, Vec<Drift>)> {
        let mut drifts = Vec::new();
        let Tx::Sqlite(mut tx) = self.read().await? else {
            return Err(StoreError::Corrupt("a ledger on Postgres cannot be verified by this build".to_owned()));
        };
        // What a row changed in its grants is in the row itself now; the checks on the table that held it wait for that.
        let checks = CHECKS.iter().filter(|(_, sql)| !sql.contains("entries"));
        for (done, (check, sql)) in checks.enumerate() {
            progress(done as u64, Some(CHECKS.len() as u64));
            let rows = sqlx::query(*sql).bind(account.map(AccountId::as_str)).fetch(&mut *tx);
            let rows: Vec<_> = futures_util::TryStreamExt::try_collect(futures_util::StreamExt::take(rows, DRIFTS_MAX))
                .await
                .while_("verifying the ledger")?;
            drifts.extend(rows.iter().map(|row| Drift {
                check,
                account: row.get(0),
                what: row.get(1),
                expected: shown(row, 2),
                found: shown(row, 3),
            }));
        }
        progress(CHECKS.len() as u64, Some(CHECKS.len() as u64));
        Ok((CHECKS.len(), drifts))
    }
}

/// A figure as it stands in the row, whatever its type.
fn shown(row: &sqlx::sqlite::SqliteRow, column: usize) -> String {
    if let Ok(number) = row.try_get::<Option<i64>, _>(column) {
        return number.map_or_else(|| "nothing".to_owned(), |n| n.to_string());
    }
    row.try_get::<Option<String>, _>(column).ok().flatten().unwrap_or_else(|| "nothing".to_owned())
}
