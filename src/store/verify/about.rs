//! Rows that are about another row (R10, R11, R12, R14, R15), the holds that are open, and what closed accounts refuse (R18).

use super::{Group, entries, entry, group, slice};

pub(super) const GROUPS: &[Group] = &[ABOUT, HOLDS, CLOSED];

/// `about` is each row that names another, whose columns are `o_..`. `moved` are the entries of charges and refunds that
/// name another, `sums` what these took or gave back of each grant, `had` the entries of the rows they name, and `lapsing` the
/// refunds with the number of their lapses.
macro_rules! about {
    ($index:literal, $entries_of_about:expr, $entries_of_named:expr, $grant_of_c:literal, $grant_of_o:literal) => {
        concat!(
            "WITH about AS MATERIALIZED (
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
             moved AS MATERIALIZED (
                 SELECT about.account_id, about.seq, about.kind, about.occurred_at, about.corrects, ", entry!(), "
                   FROM about CROSS JOIN ", $entries_of_about, " WHERE about.kind IN ('charge', 'refund')),
             named AS MATERIALIZED (
                 SELECT DISTINCT account_id, corrects, o_entries AS entries FROM about
                  WHERE kind IN ('charge', 'refund') AND o_entries IS NOT NULL),
             had AS MATERIALIZED (
                 SELECT named.account_id, named.corrects, ", entry!(), " FROM named CROSS JOIN ", $entries_of_named, "),
             sums AS MATERIALIZED (
                 SELECT account_id, corrects, kind, grant_id, sum(CASE kind WHEN 'charge' THEN -delta ELSE delta END) AS credits
                   FROM moved GROUP BY account_id, corrects, kind, grant_id),
             lapsing AS (
                 SELECT moved.account_id, 'row ' || moved.seq || ', ' || g.label || ': lapses at once' AS what,
                        CASE WHEN g.expires_at <= moved.occurred_at THEN '1' ELSE '0' END AS expected, CAST((
                            SELECT count(*) FROM transactions AS l ", $index, "
                             WHERE ", slice!("l"), " AND l.account_id = moved.account_id AND l.corrects = moved.seq AND l.kind = 'expiry'
                               AND l.entries = '[[' || moved.grant_id || ',\"' || moved.credit_type || '\",-' || moved.delta || ']]'
                               AND l.occurred_at = moved.occurred_at + 1) AS TEXT) AS found
                   FROM moved JOIN grants AS g ON g.account_id = moved.account_id AND g.grant_id = moved.grant_id AND ", slice!("g"), "
                  WHERE moved.kind = 'refund')"
        )
    };
}

const ABOUT: Group = group! {
    sqlite: about!(
        "INDEXED BY transactions_corrects", entries!(sqlite "about"), entries!(sqlite "named"),
        "c.entries ->> '$[0][0]'", "o.entries ->> '$[0][0]'"
    ),
    postgres: about!(
        "", entries!(postgres "about"), entries!(postgres "named"),
        "c.entries::jsonb -> 0 ->> 0", "o.entries::jsonb -> 0 ->> 0"
    );
    "a row is about an earlier row of the right kind" =>
        "SELECT account_id, 'row ' || seq || ' (' || kind || '): corrects', CASE kind
                    WHEN 'release' THEN 'a hold' WHEN 'charge' THEN 'a hold' WHEN 'refund' THEN 'a charge that succeeded'
                    WHEN 'return' THEN 'a purchase' ELSE 'a lapse of the grant, or a refund to it' END,
                corrects || ' (' || coalesce(o_kind || ', ' || o_status, 'no row') || ')' FROM about
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
                || ', ' || coalesce(reference, '-') || ', ' || occurred_at FROM about
          WHERE (kind IN ('release', 'charge', 'refund')
                 AND (user_id IS DISTINCT FROM o_user_id OR action IS DISTINCT FROM o_action))
             OR (kind IN ('release', 'charge')
                 AND (quantity <> o_quantity OR unit_price <> o_unit_price OR occurred_at <> o_occurred_at))
             OR (kind = 'return' AND reference IS DISTINCT FROM o_reference)";
    "a hold is settled once, by a release and then a charge" =>
        "SELECT account_id, 'hold ' || corrects || ': rows that settle it', 'a release and then a charge',
                count(*) || ', ' || min(kind) || ' to ' || max(kind) FROM about WHERE o_kind = 'hold'
          GROUP BY account_id, corrects
         HAVING count(*) <> 2 OR max(CASE kind WHEN 'charge' THEN seq END)
                                 IS DISTINCT FROM max(CASE kind WHEN 'release' THEN seq END) + 1";
    "a release gives back what was held" =>
        "SELECT account_id, 'row ' || seq || ': entries', replace(o_entries, ',-', ','), entries FROM about
          WHERE kind = 'release' AND entries <> replace(o_entries, ',-', ',')";
    "a hold that no call settled had expired" =>
        "SELECT account_id, 'row ' || seq || ': recorded_at', o_expires_at || ' or later', CAST(recorded_at AS TEXT) FROM about
          WHERE kind = 'charge' AND key IS NULL AND recorded_at < o_expires_at";
    "no more is captured than was held, or refunded than was taken" =>
        "SELECT sums.account_id, sums.kind || ' about row ' || sums.corrects || ', grant ' || sums.grant_id || ': credits',
                'up to ' || coalesce(-had.delta, 0), CAST(sums.credits AS TEXT)
           FROM sums LEFT JOIN had ON had.account_id = sums.account_id AND had.corrects = sums.corrects AND had.grant_id = sums.grant_id
          WHERE had.delta IS NULL OR sums.credits > -had.delta";
    "what is refunded to a grant that is over lapses at once" =>
        "SELECT account_id, what, expected, found FROM lapsing WHERE expected <> found";
    "what lapses at once was refunded" =>
        "SELECT account_id, 'row ' || seq || ': entries, occurred_at', 'of ' || o_entries || ', ' || (o_occurred_at + 1),
                entries || ', ' || occurred_at FROM about
          WHERE kind = 'expiry' AND change < 0 AND (occurred_at <> o_occurred_at + 1
                OR o_entries NOT LIKE '%' || substr(replace(entries, ',-', ','), 2, length(replace(entries, ',-', ',')) - 2)
                                      || '%')";
    "a purchase is returned once, from its own grant" =>
        "SELECT account_id, 'purchase ' || corrects || ': returns', '1 of grant ' || corrects,
                count(*) || ' of ' || min(entries) FROM about WHERE kind = 'return' GROUP BY account_id, corrects
         HAVING count(*) <> 1 OR min(entries) NOT LIKE '[[' || corrects || ',\"purchased\",-%'";
};

/// `open` is each hold that no charge settles, which is looked up by the hold: an account may have a hold for each action.
macro_rules! holds {
    ($index:literal) => {
        concat!(
            "WITH open AS MATERIALIZED (
                 SELECT t.account_id, t.seq, t.expires_at FROM transactions AS t
                  WHERE t.kind = 'hold' AND ",
            slice!("t"),
            " AND NOT EXISTS (
                        SELECT 1 FROM transactions AS c ",
            $index,
            " WHERE ",
            slice!("c"),
            " AND c.account_id = t.account_id AND c.corrects = t.seq
                           AND c.kind = 'charge'))"
        )
    };
}

const HOLDS: Group = group! {
    sqlite: holds!("INDEXED BY transactions_corrects"), postgres: holds!("");
    "a hold is open until it is settled" => concat!(
        "SELECT open.account_id, 'hold ' || open.seq || ': expires_at', CAST(open.expires_at AS TEXT), CAST(h.expires_at AS TEXT)
           FROM open LEFT JOIN holds AS h ON h.account_id = open.account_id AND h.hold_id = open.seq AND ", slice!("h"), "
          WHERE h.expires_at IS DISTINCT FROM open.expires_at
         UNION ALL
         SELECT h.account_id, 'hold ' || h.hold_id || ': expires_at', NULL, CAST(h.expires_at AS TEXT)
           FROM holds AS h LEFT JOIN open ON open.account_id = h.account_id AND open.seq = h.hold_id
          WHERE open.seq IS NULL AND ", slice!("h"));
};

/// `closed` is each time in which an account was closed, with the row that closed it: what was recorded before may well have
/// happened in it, where a clock was set back.
macro_rules! closed {
    () => {
        concat!(
            "WITH closed AS MATERIALIZED (
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
    "nothing is charged to a closed account" => concat!(
        "SELECT t.account_id, 'row ' || t.seq || ': occurred_at', 'not ' || closed.closed_at || ' to ' ||
                coalesce(CAST(closed.reopened_at AS TEXT), 'now'), CAST(t.occurred_at AS TEXT)
           FROM closed CROSS JOIN transactions AS t
          WHERE ", slice!("t"), " AND t.account_id = closed.account_id AND t.seq > closed.seq AND t.occurred_at >= closed.closed_at
            AND (closed.reopened_at IS NULL OR t.occurred_at < closed.reopened_at) AND t.kind IN ('charge', 'hold')
            AND t.corrects IS NULL");
};
