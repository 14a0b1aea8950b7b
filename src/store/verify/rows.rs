//! What each row says by itself, what the rows of an account add up to, and what jobs wrote beside them.

use super::{Group, group, slice};
use crate::store::outbox::levels;

pub(super) const GROUPS: &[Group] = &[SHAPES, TOTALS];
/// What is beside the rows, of which none leaves that is needed here.
pub(super) const GROUPS_BESIDE: &[Group] = &[BESIDE];

/// Quantity times price, which must not overflow where somebody has changed them.
macro_rules! cost {
    () => {
        "CAST(t.quantity AS NUMERIC) * t.unit_price"
    };
}

/// One look at each row: the name of the first column that is not as its kind has it, or `credits`. A lapse counts, and is
/// known of, one microsecond before it occurs.
macro_rules! misshapen {
    () => {
        concat!(
            "WITH bad AS MATERIALIZED (SELECT * FROM (
             SELECT t.account_id, t.seq, t.kind, t.status, t.reason, t.quantity, t.unit_price, t.free_delta,
                    t.purchased_delta, CASE
                WHEN t.recorded_at < t.occurred_at - CASE WHEN t.kind = 'expiry' THEN 1 ELSE 0 END THEN 'recorded_at'
                WHEN (t.content IS NULL) <> (t.key IS NULL) THEN 'content'
                WHEN t.free_balance < 0 OR t.purchased_balance < 0 THEN 'balance'
                WHEN t.kind = 'charge' THEN CASE
                    WHEN t.action IS NULL THEN 'action'
                    WHEN t.quantity < 1 THEN 'quantity'
                    WHEN t.unit_price < 0 THEN 'unit_price'
                    WHEN t.key IS NULL AND (t.status <> 'failed' OR t.corrects IS NULL) THEN 'key'
                    WHEN t.expires_at IS NOT NULL THEN 'expires_at'
                    WHEN t.money_minor IS NOT NULL OR t.currency IS NOT NULL THEN 'money'
                    WHEN t.reference IS NOT NULL THEN 'reference'
                    WHEN t.status = 'success' THEN CASE
                        WHEN t.reason IS NOT NULL THEN 'reason'
                        WHEN t.free_delta > 0 OR t.purchased_delta > 0 THEN 'credits'
                        WHEN t.corrects IS NULL AND -(t.free_delta + t.purchased_delta) <> ", cost!(), " THEN 'credits'
                        WHEN t.corrects IS NOT NULL AND -(t.free_delta + t.purchased_delta) > ", cost!(), " THEN 'credits'
                    END
                    WHEN t.status <> 'failed' THEN 'status'
                    WHEN t.free_delta <> 0 OR t.purchased_delta <> 0 OR t.entries <> '[]' THEN 'credits'
                    WHEN t.reason IS NOT NULL
                         AND (t.corrects IS NOT NULL OR t.reason NOT IN ('user_cap', 'insufficient_credits')) THEN 'reason'
                END
                WHEN t.status <> 'success' THEN 'status'
                WHEN t.reason IS NOT NULL THEN 'reason'
                WHEN (t.action IS NOT NULL) <> (t.kind IN ('hold', 'release', 'refund')) THEN 'action'
                WHEN t.user_id IS NOT NULL AND t.kind NOT IN ('hold', 'release', 'refund', 'cap') THEN 'user_id'
                WHEN t.user_id IS NULL AND t.kind = 'cap' THEN 'user_id'
                WHEN CASE WHEN t.kind IN ('hold', 'release', 'purchase') THEN t.quantity < 1 ELSE t.quantity <> 0 END
                    THEN 'quantity'
                WHEN CASE WHEN t.kind IN ('hold', 'release', 'purchase') THEN t.unit_price < 0 ELSE t.unit_price <> 0 END
                    THEN 'unit_price'
                WHEN (t.key IS NULL) <> (t.kind IN ('allocation', 'expiry', 'release')) THEN 'key'
                WHEN t.corrects IS NULL AND (t.kind IN ('release', 'refund', 'return')
                                             OR (t.kind = 'expiry' AND t.free_delta + t.purchased_delta > 0)) THEN 'corrects'
                WHEN t.corrects IS NOT NULL AND t.kind NOT IN ('release', 'refund', 'return', 'expiry') THEN 'corrects'
                WHEN t.expires_at IS NULL AND t.kind IN ('allocation', 'hold') THEN 'expires_at'
                WHEN t.expires_at IS NOT NULL AND (t.kind NOT IN ('allocation', 'hold', 'bonus')
                                                   OR t.expires_at <= t.occurred_at) THEN 'expires_at'
                WHEN (t.money_minor IS NULL) = (t.kind = 'purchase') OR (t.currency IS NULL) = (t.kind = 'purchase')
                    THEN 'money'
                WHEN (t.reference IS NULL) = (t.kind IN ('purchase', 'return', 'terms', 'month_close', 'month_reopen'))
                    THEN 'reference'
                WHEN t.comment = '' AND t.kind NOT IN ('purchase', 'hold', 'release', 'refund', 'return', 'month_close')
                    THEN 'comment'
                WHEN t.kind = 'purchase' AND t.key IS DISTINCT FROM 'purchase:' || t.reference THEN 'key'
                WHEN t.kind IN ('allocation', 'purchase', 'bonus') AND t.entries <> '[[' || t.seq || CASE
                        WHEN t.kind = 'purchase' OR t.purchased_delta <> 0 THEN ',\"purchased\",' ELSE ',\"free\",' END
                        || (t.free_delta + t.purchased_delta) || ']]' THEN 'entries'
                WHEN NOT CASE t.kind
                    WHEN 'allocation' THEN t.free_delta >= 0 AND t.purchased_delta = 0
                    WHEN 'purchase' THEN t.free_delta = 0 AND t.purchased_delta = ", cost!(), "
                    WHEN 'bonus' THEN t.free_delta >= 0 AND t.purchased_delta >= 0
                                      AND t.free_delta + t.purchased_delta > 0
                    WHEN 'hold' THEN t.free_delta <= 0 AND t.purchased_delta <= 0
                                     AND -(t.free_delta + t.purchased_delta) = ", cost!(), "
                    WHEN 'release' THEN t.free_delta >= 0 AND t.purchased_delta >= 0
                                        AND t.free_delta + t.purchased_delta = ", cost!(), "
                    WHEN 'refund' THEN t.free_delta >= 0 AND t.purchased_delta >= 0
                                       AND t.free_delta + t.purchased_delta > 0
                    WHEN 'expiry' THEN (t.free_delta = 0) <> (t.purchased_delta = 0)
                    WHEN 'return' THEN t.free_delta = 0 AND t.purchased_delta < 0
                    WHEN 'adjustment' THEN (t.free_delta = 0) <> (t.purchased_delta = 0)
                                           AND t.free_delta + t.purchased_delta < 0
                    ELSE t.free_delta = 0 AND t.purchased_delta = 0 AND t.entries = '[]'
                END THEN 'credits'
                WHEN t.kind NOT IN ('allocation', 'purchase', 'bonus', 'hold', 'release', 'refund', 'expiry', 'return',
                                    'adjustment', 'terms', 'cap', 'closing', 'reopening', 'month_close', 'month_reopen')
                    THEN 'kind'
             END AS wrong FROM transactions AS t WHERE ", slice!("t"), ") AS looked_at WHERE wrong IS NOT NULL)"
        )
    };
}

const SHAPES: Group = group! {
    sqlite: misshapen!(), postgres: misshapen!();
    "a row has what its kind needs and nothing else" =>
        "SELECT account_id, 'row ' || seq || ' (' || kind || '): ' || wrong, 'as its kind has it',
                kind || ', ' || status || ', ' || quantity || ' x ' || unit_price || coalesce(', ' || reason, '')
           FROM bad WHERE wrong <> 'credits'";
    "a row moves what its kind moves" =>
        "SELECT account_id, 'row ' || seq || ' (' || kind || ', ' || status || '): free + purchased',
                'by ' || quantity || ' x ' || unit_price, free_delta || ' + ' || purchased_delta
           FROM bad WHERE wrong = 'credits'";
};

macro_rules! totals {
    () => {
        concat!(
            "WITH logged AS MATERIALIZED (
                 SELECT t.account_id, count(*) AS n, min(t.seq) AS first_seq, max(t.seq) AS last_seq,
                        min(t.occurred_at) AS first_at, max(t.recorded_at) AS recorded_at,
                        sum(t.free_delta) AS free, sum(t.purchased_delta) AS purchased
                   FROM transactions AS t WHERE ", slice!("t"), " GROUP BY t.account_id),
             granted AS MATERIALIZED (
                 SELECT g.account_id, sum(CASE g.credit_type WHEN 'free' THEN g.remaining ELSE 0 END) AS free,
                        sum(CASE g.credit_type WHEN 'purchased' THEN g.remaining ELSE 0 END) AS purchased
                   FROM grants AS g WHERE ", slice!("g"), " GROUP BY g.account_id),
             totals AS MATERIALIZED (
                 SELECT a.account_id, a.opened_at, a.last_seq, a.last_recorded_at, a.balance_free, a.balance_purchased,
                        coalesce(logged.n, 0) AS n, coalesce(logged.first_seq, 1) AS first_seq, coalesce(logged.last_seq, 0) AS newest_seq,
                        logged.first_at, coalesce(logged.recorded_at, -9223372036854775808) AS recorded_at,
                        coalesce(logged.free, 0) AS free, coalesce(logged.purchased, 0) AS purchased,
                        coalesce(granted.free, 0) AS left_free, coalesce(granted.purchased, 0) AS left_purchased
                   FROM accounts AS a LEFT JOIN logged ON logged.account_id = a.account_id
                   LEFT JOIN granted ON granted.account_id = a.account_id WHERE ", slice!("a"), ")"
        )
    };
}

const TOTALS: Group = group! {
    sqlite: totals!(), postgres: totals!();
    "rows are numbered without gaps" =>
        "SELECT account_id, 'last_seq', n || ' rows, ' || first_seq || ' to ' || newest_seq, CAST(last_seq AS TEXT) FROM totals
          WHERE n <> last_seq OR newest_seq <> last_seq OR first_seq <> 1";
    "the balance is the sum of all changes" =>
        "SELECT account_id, 'balance of free + purchased', free || ' + ' || purchased,
                balance_free || ' + ' || balance_purchased FROM totals
          WHERE free <> balance_free OR purchased <> balance_purchased";
    "the balance is what the grants have left" =>
        "SELECT account_id, 'balance of free + purchased', left_free || ' + ' || left_purchased,
                balance_free || ' + ' || balance_purchased FROM totals
          WHERE left_free <> balance_free OR left_purchased <> balance_purchased";
    "the newest row was recorded last" =>
        "SELECT account_id, 'last_recorded_at', CAST(recorded_at AS TEXT), CAST(last_recorded_at AS TEXT) FROM totals
          WHERE recorded_at <> last_recorded_at";
    "nothing happened before the account opened" =>
        "SELECT account_id, 'the earliest occurred_at', opened_at || ' or later', CAST(first_at AS TEXT) FROM totals
          WHERE first_at < opened_at";
};

const BESIDE: Group = group! {
    sqlite: "", postgres: "";
"what belongs to an account has one" => concat!(
        "SELECT DISTINCT owned.account_id, 'a row of ' || owned.of_table, 'an account', 'none' FROM (
             SELECT x.account_id, 'transactions' AS of_table FROM transactions AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'grants' FROM grants AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'dropped_keys' FROM dropped_keys AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'terms' FROM terms AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'closures' FROM closures AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'admins' FROM admins AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'opt_ins' FROM opt_ins AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'statements' FROM statements AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'holds' FROM holds AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'caps' FROM caps AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'cap_months' FROM cap_months AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'payments' FROM payments AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'alerts' FROM alerts AS x WHERE ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'outbox' FROM outbox AS x WHERE x.account_id <> '' AND ", slice!("x"), "
             UNION ALL SELECT x.account_id, 'outbox_parts' FROM outbox_parts AS x
                        WHERE x.account_id <> '' AND ", slice!("x"), ") AS owned
          WHERE NOT EXISTS (SELECT 1 FROM accounts AS z WHERE ", slice!("z"), " AND z.account_id = owned.account_id)");
    "a purchase has its payment to itself" => concat!(
        "SELECT bought.* FROM (
             SELECT t.account_id, 'row ' || t.seq || ': payment ' || t.reference, t.account_id || ', row ' || t.seq AS expected, (
                    SELECT p.account_id || ', row ' || p.purchase_id FROM payments AS p WHERE p.reference = t.reference) AS found
               FROM transactions AS t WHERE t.kind = 'purchase' AND ", slice!("t"), ") AS bought
          WHERE bought.found IS DISTINCT FROM bought.expected");
    "a payment is that of a purchase" => concat!(
        "SELECT paid.account_id, 'payment ' || paid.reference, 'a purchase with this reference in row ' || paid.purchase_id,
                paid.found FROM (
             SELECT p.account_id, p.reference, p.purchase_id, (
                    SELECT t.kind || coalesce(', ' || t.reference, '') FROM transactions AS t
                     WHERE t.account_id = p.account_id AND t.seq = p.purchase_id) AS found
               FROM payments AS p WHERE ", slice!("p"), ") AS paid
          WHERE paid.found IS DISTINCT FROM 'purchase, ' || paid.reference");
    "alerts of a level are numbered, and only the newest is open" => concat!(
        "SELECT x.account_id, 'alerts of ' || x.level || ': crossing', '1 to ' || count(*) || ', open at most the last',
                min(x.crossing) || ' to ' || max(x.crossing) || coalesce(', open '
                || min(CASE WHEN x.resolved_at IS NULL THEN x.crossing END), '')
           FROM alerts AS x WHERE ", slice!("x"), " GROUP BY x.account_id, x.level
         HAVING min(x.crossing) <> 1 OR max(x.crossing) <> count(*)
             OR min(CASE WHEN x.resolved_at IS NULL THEN x.crossing END) <> max(x.crossing)");
    // Those that belong to none go to operators, and say so in their keys.
    "a message has the account that its key names" => concat!(
        "SELECT x.account_id, 'message ' || x.key || ': account_id', 'as in the key', x.account_id
           FROM outbox AS x WHERE ", slice!("x"), "
            AND substr(x.key, 1, length(x.kind) + length(x.account_id) + 2) <> x.kind || '/' || x.account_id || '/'");
    // A message is due when it is written, or was put back by the operator; a delivery that failed says why, and one that
    // succeeded where to and when. Alerts of levels are written behind those before them also where the clock went back.
    "a message is where its deliveries left it" => concat!(
        "SELECT x.account_id, 'message ' || x.key || ': state', 'what its deliveries say',
                x.state || ' after ' || x.attempts || coalesce(', sent at ' || x.sent_at, '')
                || coalesce(' to ' || x.delivered_to, '') || coalesce(', ' || x.last_error, '')
                || coalesce(', cancelled because ' || x.cancelled_because, '')
           FROM outbox AS x WHERE ", slice!("x"), " AND (NOT CASE
                    WHEN x.state = 'sent' THEN x.sent_at IS NOT NULL AND x.delivered_to IS NOT NULL AND x.attempts >= 1
                                               AND x.last_error IS NULL
                    WHEN x.sent_at IS NOT NULL OR x.delivered_to IS NOT NULL THEN FALSE
                    WHEN x.state IN ('failed', 'ambiguous') THEN x.attempts >= 1 AND x.last_error IS NOT NULL
                    WHEN x.state IN ('pending', 'cancelled', 'suppressed') THEN x.attempts >= 0
                                               AND (x.attempts = 0) = (x.last_error IS NULL)
                    ELSE FALSE END
                OR (x.cancelled_because IS NOT NULL AND x.state <> 'cancelled')
                OR (x.pending_since < x.created_at AND x.kind NOT IN ", levels!(), ")
                OR (x.due_at <> x.pending_since AND (x.attempts = 0 OR (x.attempts = 1 AND x.state = 'sent'))))");
};
