//! Rows that are about another row (R10, R11, R12, R14, R15), the holds that are open, and what closed accounts refuse (R18).

use super::{Group, entries, entry, group, slice};

pub(super) const GROUPS: &[Group] = &[ABOUT, HOLDS, CLOSED];

/// `c` is each row that names another, `o` stands for the other. `p` is what charges and refunds took of the grants of the
/// row they are about, and `r` the entries of refunds.
macro_rules! about {
    ($index:literal, $entries_of_c:expr, $entries_of_d:expr, $grant_of_c:literal, $grant_of_o:literal) => {
        concat!(
            "WITH c AS MATERIALIZED (
                 SELECT c.account_id, c.seq, c.kind, c.status, c.occurred_at, c.recorded_at, c.user_id, c.action, c.quantity,
                        c.unit_price, c.key, c.reference, c.corrects, c.entries,
                        c.free_delta + c.purchased_delta AS change, o.seq AS o_seq, o.kind AS o_kind, o.status AS o_status,
                        o.occurred_at AS o_occurred_at, o.user_id AS o_user_id, o.action AS o_action,
                        o.quantity AS o_quantity, o.unit_price AS o_unit_price, o.reference AS o_reference,
                        o.corrects AS o_corrects, o.expires_at AS o_expires_at, o.entries AS o_entries,
                        o.free_delta + o.purchased_delta AS o_change,
                        CASE WHEN c.kind = 'expiry' THEN ", $grant_of_c, " END AS grant_id,
                        CASE WHEN c.kind = 'expiry' THEN ", $grant_of_o, " END AS o_grant_id
                   FROM transactions AS c ", $index, "
                   LEFT JOIN transactions AS o
                     ON o.account_id = c.account_id AND o.seq = c.corrects AND ", slice!("o"), "
                  WHERE c.corrects IS NOT NULL AND ", slice!("c"), "),
             r AS MATERIALIZED (
                 SELECT c.account_id, c.seq, c.kind, c.occurred_at, c.corrects, ", entry!(), "
                   FROM c CROSS JOIN ", $entries_of_c, " WHERE c.kind IN ('charge', 'refund')),
             d AS MATERIALIZED (
                 SELECT DISTINCT c.account_id, c.corrects, c.o_entries AS entries FROM c
                  WHERE c.kind IN ('charge', 'refund') AND c.o_entries IS NOT NULL),
             p AS MATERIALIZED (
                 SELECT d.account_id, d.corrects, ", entry!(), " FROM d CROSS JOIN ", $entries_of_d, "),
             s AS MATERIALIZED (
                 SELECT account_id, corrects, kind, grant_id, sum(CASE kind WHEN 'charge' THEN -delta ELSE delta END) AS credits
                   FROM r GROUP BY account_id, corrects, kind, grant_id)"
        )
    };
}

const ABOUT: Group = group! {
    sqlite: about!(
        "INDEXED BY transactions_corrects", entries!(sqlite "c"), entries!(sqlite "d"),
        "c.entries ->> '$[0][0]'", "o.entries ->> '$[0][0]'"
    ),
    postgres: about!(
        "", entries!(postgres "c"), entries!(postgres "d"),
        "c.entries::jsonb -> 0 ->> 0", "o.entries::jsonb -> 0 ->> 0"
    );
    "a row is about an earlier row of the right kind" =>
        "SELECT account_id, 'row ' || seq || ' (' || kind || '): corrects', CASE kind
                    WHEN 'release' THEN 'a hold' WHEN 'charge' THEN 'a hold' WHEN 'refund' THEN 'a charge that succeeded'
                    WHEN 'return' THEN 'a purchase' ELSE 'a lapse of the grant, or a refund to it' END,
                corrects || ' (' || coalesce(o_kind || ', ' || o_status, 'no row') || ')' FROM c
          WHERE o_seq >= seq OR NOT coalesce(CASE kind
                    WHEN 'release' THEN o_kind = 'hold' WHEN 'charge' THEN o_kind = 'hold'
                    WHEN 'refund' THEN o_kind = 'charge' AND o_status = 'success' WHEN 'return' THEN o_kind = 'purchase'
                    WHEN 'expiry' THEN CASE
                        WHEN change > 0 THEN o_kind = 'expiry' AND o_change < 0 AND o_corrects IS NULL
                                             AND grant_id = o_grant_id
                        ELSE o_kind = 'refund' END END, FALSE)";
    "a row has the facts of the row it is about" =>
        "SELECT account_id, 'row ' || seq || ' (' || kind || '): user, action, quantity, price, reference, occurred_at',
                coalesce(o_user_id, '-') || ', ' || coalesce(o_action, '-') || ', ' || o_quantity || ', ' || o_unit_price
                || ', ' || coalesce(o_reference, '-') || ', ' || o_occurred_at,
                coalesce(user_id, '-') || ', ' || coalesce(action, '-') || ', ' || quantity || ', ' || unit_price
                || ', ' || coalesce(reference, '-') || ', ' || occurred_at FROM c
          WHERE (kind IN ('release', 'charge', 'refund')
                 AND (user_id IS DISTINCT FROM o_user_id OR action IS DISTINCT FROM o_action))
             OR (kind IN ('release', 'charge')
                 AND (quantity <> o_quantity OR unit_price <> o_unit_price OR occurred_at <> o_occurred_at))
             OR (kind = 'return' AND reference IS DISTINCT FROM o_reference)";
    "a hold is settled once, by a release and then a charge" =>
        "SELECT account_id, 'hold ' || corrects || ': rows that settle it', 'a release and then a charge',
                count(*) || ', ' || min(kind) || ' to ' || max(kind) FROM c WHERE o_kind = 'hold'
          GROUP BY account_id, corrects
         HAVING count(*) <> 2 OR max(CASE kind WHEN 'charge' THEN seq END)
                                 IS DISTINCT FROM max(CASE kind WHEN 'release' THEN seq END) + 1";
    "a release gives back what was held" =>
        "SELECT account_id, 'row ' || seq || ': entries', replace(o_entries, ',-', ','), entries FROM c
          WHERE kind = 'release' AND entries <> replace(o_entries, ',-', ',')";
    "a hold that no call settled had expired" =>
        "SELECT account_id, 'row ' || seq || ': recorded_at', o_expires_at || ' or later', CAST(recorded_at AS TEXT) FROM c
          WHERE kind = 'charge' AND key IS NULL AND recorded_at < o_expires_at";
    "no more is captured than was held, or refunded than was taken" =>
        "SELECT s.account_id, s.kind || ' about row ' || s.corrects || ', grant ' || s.grant_id || ': credits',
                'up to ' || coalesce(-p.delta, 0), CAST(s.credits AS TEXT)
           FROM s LEFT JOIN p ON p.account_id = s.account_id AND p.corrects = s.corrects AND p.grant_id = s.grant_id
          WHERE p.delta IS NULL OR s.credits > -p.delta";
    "what is refunded to a grant that is over lapses at once" => concat!(
        "SELECT q.* FROM (
             SELECT r.account_id, 'row ' || r.seq || ', ' || g.label || ': lapses at once',
                    CASE WHEN g.expires_at <= r.occurred_at THEN '1' ELSE '0' END AS expected, CAST((
                        SELECT count(*) FROM transactions AS l
                         WHERE ", slice!("l"), " AND l.account_id = r.account_id AND l.corrects = r.seq AND l.kind = 'expiry'
                           AND l.entries = '[[' || r.grant_id || ',\"' || r.credit_type || '\",-' || r.delta || ']]'
                           AND l.occurred_at = r.occurred_at + 1) AS TEXT) AS found
               FROM r JOIN grants AS g ON g.account_id = r.account_id AND g.grant_id = r.grant_id AND ", slice!("g"), "
              WHERE r.kind = 'refund') AS q WHERE q.expected <> q.found");
    "what lapses at once was refunded" =>
        "SELECT account_id, 'row ' || seq || ': entries, occurred_at', 'of ' || o_entries || ', ' || (o_occurred_at + 1),
                entries || ', ' || occurred_at FROM c
          WHERE kind = 'expiry' AND change < 0 AND (occurred_at <> o_occurred_at + 1
                OR o_entries NOT LIKE '%' || substr(replace(entries, ',-', ','), 2, length(replace(entries, ',-', ',')) - 2)
                                      || '%')";
    "a purchase is returned once, from its own grant" =>
        "SELECT account_id, 'purchase ' || corrects || ': returns', '1 of grant ' || corrects,
                count(*) || ' of ' || min(entries) FROM c WHERE kind = 'return' GROUP BY account_id, corrects
         HAVING count(*) <> 1 OR min(entries) NOT LIKE '[[' || corrects || ',\"purchased\",-%'";
};

macro_rules! holds {
    () => {
        concat!(
            "WITH o AS MATERIALIZED (
                 SELECT t.account_id, t.seq, t.expires_at FROM transactions AS t
                  WHERE t.kind = 'hold' AND ",
            slice!("t"),
            " AND NOT EXISTS (
                        SELECT 1 FROM transactions AS c
                         WHERE ",
            slice!("c"),
            " AND c.account_id = t.account_id AND c.corrects = t.seq
                           AND c.kind = 'charge'))"
        )
    };
}

const HOLDS: Group = group! {
    sqlite: holds!(), postgres: holds!();
    "a hold is open until it is settled" => concat!(
        "SELECT o.account_id, 'hold ' || o.seq || ': expires_at', CAST(o.expires_at AS TEXT), CAST(h.expires_at AS TEXT)
           FROM o LEFT JOIN holds AS h ON h.account_id = o.account_id AND h.hold_id = o.seq AND ", slice!("h"), "
          WHERE h.expires_at IS DISTINCT FROM o.expires_at
         UNION ALL
         SELECT h.account_id, 'hold ' || h.hold_id || ': expires_at', NULL, CAST(h.expires_at AS TEXT)
           FROM holds AS h LEFT JOIN o ON o.account_id = h.account_id AND o.seq = h.hold_id
          WHERE o.seq IS NULL AND ", slice!("h"));
};

/// `k` is each time in which an account was closed, with the row that closed it: what was recorded before may well have
/// happened in it, where a clock was set back.
macro_rules! closed {
    () => {
        concat!(
            "WITH k AS MATERIALIZED (
                 SELECT c.account_id, c.closed_at, c.reopened_at, (
                        SELECT max(t.seq) FROM transactions AS t
                         WHERE ",
            slice!("t"),
            " AND t.account_id = c.account_id AND t.occurred_at = c.closed_at
                           AND t.kind = 'closing') AS seq
                   FROM closures AS c WHERE ",
            slice!("c"),
            ")"
        )
    };
}

const CLOSED: Group = group! {
    sqlite: closed!(), postgres: closed!();
    // What is posted to the open month counts at its start, whenever it happened.
    "nothing is charged to a closed account" => concat!(
        "SELECT t.account_id, 'row ' || t.seq || ': occurred_at', 'not ' || k.closed_at || ' to ' ||
                coalesce(CAST(k.reopened_at AS TEXT), 'now'), CAST(t.occurred_at AS TEXT)
           FROM k CROSS JOIN transactions AS t
          WHERE ", slice!("t"), " AND t.account_id = k.account_id AND t.seq > k.seq AND t.occurred_at >= k.closed_at
            AND (k.reopened_at IS NULL OR t.occurred_at < k.reopened_at) AND t.kind IN ('charge', 'hold')
            AND t.corrects IS NULL AND t.comment NOT LIKE '%posted to the open month)'");
};
