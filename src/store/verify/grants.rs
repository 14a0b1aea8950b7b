//! What the entries of rows make of each grant (R4, R16).

use super::{Group, entries, entry, group, slice};

pub(super) const GROUPS: &[Group] = &[GRANTS];

/// `made` is what the entries say of each grant, `compared` has the grant beside it. What an action took is told by charges, holds
/// and releases; what lapsed because it was refunded too late is told by a row that names the refund.
macro_rules! grants {
    ($entries:expr) => {
        concat!(
            "WITH changes AS MATERIALIZED (
                 SELECT t.account_id, t.seq, t.kind, t.occurred_at, t.corrects, ", entry!(), "
                   FROM transactions AS t CROSS JOIN ", $entries, " WHERE ", slice!("t"), "),
             made AS MATERIALIZED (
                 SELECT account_id, grant_id, min(credit_type) AS type_min, max(credit_type) AS type_max,
                        min(seq) AS first_seq, sum(delta) AS remaining,
                        coalesce(sum(delta) FILTER (WHERE seq = grant_id), 0) AS amount,
                        -coalesce(sum(delta) FILTER (WHERE kind = 'charge'), 0) AS consumed,
                        coalesce(sum(delta) FILTER (WHERE kind = 'refund'), 0) AS refunded,
                        -coalesce(sum(delta) FILTER (WHERE kind = 'expiry'), 0) AS lapsed,
                        -coalesce(sum(delta) FILTER (WHERE kind = 'expiry' AND delta < 0 AND corrects IS NOT NULL), 0)
                            AS lapsed_at_once,
                        -coalesce(sum(delta) FILTER (WHERE kind = 'return'), 0) AS returned,
                        -coalesce(sum(delta) FILTER (WHERE kind = 'adjustment'), 0) AS adjusted,
                        -coalesce(sum(delta) FILTER (WHERE kind IN ('hold', 'release')), 0) AS held,
                        max(seq) FILTER (WHERE kind = 'expiry' AND delta < 0 AND corrects IS NULL) AS lapsed_by,
                        min(occurred_at) FILTER (WHERE kind IN ('charge', 'hold', 'release', 'adjustment')) AS used_min,
                        max(occurred_at) FILTER (WHERE kind IN ('charge', 'hold', 'release', 'adjustment')) AS used_max,
                        min(occurred_at) FILTER (WHERE kind = 'expiry' AND (delta > 0 OR corrects IS NULL)) AS lapse_min,
                        max(occurred_at) FILTER (WHERE kind = 'expiry' AND (delta > 0 OR corrects IS NULL)) AS lapse_max,
                        max(seq) FILTER (WHERE delta > 0) AS filled_by
                   FROM changes GROUP BY account_id, grant_id),
             compared AS MATERIALIZED (
                 SELECT made.*, g.label, g.credit_type, g.starts_at, g.expires_at, g.amount AS g_amount,
                        g.consumed AS g_consumed, g.refunded AS g_refunded, g.lapsed AS g_lapsed,
                        g.lapsed_at_once AS g_lapsed_at_once, g.returned AS g_returned, g.adjusted AS g_adjusted,
                        g.held AS g_held, g.remaining AS g_remaining, g.lapsed_by AS g_lapsed_by
                   FROM made LEFT JOIN grants AS g ON g.account_id = made.account_id AND g.grant_id = made.grant_id AND ", slice!("g"), ")"
        )
    };
}

const GRANTS: Group = group! {
    sqlite: grants!(entries!(sqlite "t")), postgres: grants!(entries!(postgres "t"));
    "an entry names a grant of its type" =>
        "SELECT account_id, 'grant ' || grant_id || ': credit_type', type_min || ', ' || type_max || ' from row ' || grant_id,
                coalesce(credit_type, 'no grant') || ' from row ' || first_seq FROM compared
          WHERE credit_type IS NULL OR type_min <> credit_type OR type_max <> credit_type OR first_seq <> grant_id";
    "a grant is what its entries make it" =>
        "SELECT account_id, label || ': amount, consumed, refunded, lapsed (at once), returned, adjusted, held, remaining',
                amount || ', ' || consumed || ', ' || refunded || ', ' || lapsed || ' (' || lapsed_at_once || '), ' ||
                returned || ', ' || adjusted || ', ' || held || ', ' || remaining,
                g_amount || ', ' || g_consumed || ', ' || g_refunded || ', ' || g_lapsed || ' (' || g_lapsed_at_once || '), '
                || g_returned || ', ' || g_adjusted || ', ' || g_held || ', ' || g_remaining FROM compared
          WHERE amount <> g_amount OR consumed <> g_consumed OR refunded <> g_refunded OR lapsed <> g_lapsed
             OR lapsed_at_once <> g_lapsed_at_once OR returned <> g_returned OR adjusted <> g_adjusted OR held <> g_held
             OR remaining <> g_remaining";
    "the amount of a grant is all that became of it" =>
        "SELECT account_id, label || ': amount', g_consumed || ' - ' || g_refunded || ' + ' || g_lapsed || ' + ' ||
                g_returned || ' + ' || g_adjusted || ' + ' || g_held || ' + ' || g_remaining, CAST(g_amount AS TEXT) FROM compared
          WHERE g_amount <> g_consumed - g_refunded + g_lapsed + g_returned + g_adjusted + g_held + g_remaining
             OR g_remaining < 0 OR g_held < 0 OR g_refunded > g_consumed OR g_lapsed_at_once > g_lapsed";
    "credits are used while their grant lasts" =>
        "SELECT account_id, label || ': occurred_at of what it was used for', starts_at || ' to ' ||
                coalesce(CAST(expires_at AS TEXT), 'never'), used_min || ' to ' || used_max FROM compared
          WHERE used_min < starts_at OR used_max >= expires_at";
    "credits lapse at the end of their grant" =>
        "SELECT account_id, label || ': occurred_at of its lapses', coalesce(CAST(expires_at AS TEXT), 'never'),
                lapse_min || ' to ' || lapse_max FROM compared
          WHERE lapse_min IS NOT NULL AND (lapse_min IS DISTINCT FROM expires_at OR lapse_max IS DISTINCT FROM expires_at)";
    "a grant names the row that lapsed it" =>
        "SELECT account_id, label || ': lapsed_by', CAST(lapsed_by AS TEXT), CAST(g_lapsed_by AS TEXT) FROM compared
          WHERE label IS NOT NULL AND lapsed_by IS DISTINCT FROM g_lapsed_by";
    // Only what a hold gave back just now waits for the next row to lapse it.
    "nothing is left of a grant that is over" => concat!(
        "SELECT compared.account_id, compared.label || ': remaining', '0', CAST(compared.g_remaining AS TEXT) FROM compared
          WHERE compared.g_remaining <> 0 AND compared.expires_at IS NOT NULL AND EXISTS (
                SELECT 1 FROM transactions AS t
                 WHERE ", slice!("t"), " AND t.account_id = compared.account_id AND t.occurred_at >= compared.expires_at
                   AND t.seq > compared.filled_by AND t.kind NOT IN ('purchase', 'expiry', 'release')
                   AND (t.kind <> 'charge' OR t.corrects IS NULL))");
    "a grant is as the row that made it says" => concat!(
        "SELECT g.account_id, 'grant ' || g.grant_id || ': source, label, credits, starts_at, expires_at',
                coalesce(CASE t.kind WHEN 'allocation' THEN 'monthly, ' || t.comment
                                     WHEN 'purchase' THEN 'pack, pack:' || t.reference
                                     WHEN 'bonus' THEN 'bonus, bonus:' || t.key END
                         || ', ' || t.entries || ', ' || t.occurred_at || coalesce(', ' || t.expires_at, ''), 'no grant'),
                g.source || ', ' || g.label || ', [[' || g.grant_id || ',\"' || g.credit_type || '\",' || g.amount ||
                ']], ' || g.starts_at || coalesce(', ' || g.expires_at, '')
           FROM grants AS g LEFT JOIN transactions AS t
             ON t.account_id = g.account_id AND t.seq = g.grant_id AND ", slice!("t"), "
          WHERE ", slice!("g"), " AND coalesce(
                CASE t.kind WHEN 'allocation' THEN g.source <> 'monthly' OR g.label <> t.comment
                            WHEN 'purchase' THEN g.source <> 'pack' OR g.label <> 'pack:' || t.reference
                            WHEN 'bonus' THEN g.source <> 'bonus' OR g.label <> 'bonus:' || t.key END
                OR g.starts_at <> t.occurred_at OR g.expires_at IS DISTINCT FROM t.expires_at
                OR t.entries <> '[[' || g.grant_id || ',\"' || g.credit_type || '\",' || g.amount || ']]', TRUE)");
};
