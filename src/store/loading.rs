//! The statements that load ledgers (see [`super::load`]).

use super::sql::Sql;

/// One row of `transactions AS t` as an object.
macro_rules! row_of_sqlite {
    () => {
        "json_object('seq', t.seq, 'kind', t.kind, 'occurred_at', t.occurred_at, 'recorded_at', t.recorded_at,
                     'user_id', t.user_id, 'action', t.action, 'quantity', t.quantity, 'unit_price', t.unit_price,
                     'status', t.status, 'reason', t.reason, 'comment', t.comment, 'key', t.key, 'content', t.content,
                     'corrects', t.corrects, 'expires_at', t.expires_at, 'money_minor', t.money_minor,
                     'currency', t.currency, 'reference', t.reference, 'free_delta', t.free_delta,
                     'purchased_delta', t.purchased_delta, 'free_balance', t.free_balance,
                     'purchased_balance', t.purchased_balance, 'entries', t.entries)"
    };
}

/// The columns of a grant, as [`StoredGrant`] reads them.
macro_rules! grant {
    () => {
        "g.grant_id, g.label, g.credit_type, g.source, g.amount, g.starts_at, g.expires_at, g.consumed, g.refunded,
         g.lapsed, g.lapsed_at_once, g.returned, g.adjusted, g.held, g.remaining, g.lapsed_by, g.came_back"
    };
}

/// Something of the row of hold `h` or under key `k`, on Postgres: looked up one by one, which its planner, that knows
/// little of what comes in a parameter, would not do for a join. By the order it asks for, the right index is never worse
/// than another that begins with the account.
macro_rules! row_of_hold {
    ($what:literal) => {
        concat!(
            "(SELECT ",
            $what,
            " FROM transactions AS t WHERE t.account_id = h.account_id AND t.seq = h.hold_id ORDER BY t.seq LIMIT 1)"
        )
    };
}
macro_rules! row_of_key {
    ($what:literal) => {
        concat!(
            "(SELECT ",
            $what,
            " FROM transactions AS t WHERE t.account_id = a.account_id AND t.key = k.key ORDER BY t.key LIMIT 1)"
        )
    };
}

/// The row under key `k`, on Postgres, of those that have left.
macro_rules! dropped_row {
    () => {
        "(SELECT d.seq FROM dropped_keys AS d WHERE d.account_id = a.account_id AND d.key = k.key ORDER BY d.key LIMIT 1)"
    };
}

/// When the credits of row `t` were used: what gives some back counts when they were (R17).
macro_rules! used_at {
    () => {
        "coalesce((SELECT o.occurred_at FROM transactions AS o
                    WHERE o.account_id = t.account_id AND o.seq = t.corrects), t.occurred_at)"
    };
}

/// Of the payments asked about, those that other accounts have, with whose they are (R12).
macro_rules! payments_sqlite {
    () => {
        "CASE WHEN v.payments IS NOT NULL THEN
             (SELECT json_group_array(json_array(p.reference, p.account_id)) FROM json_each(v.payments) AS k
               CROSS JOIN payments AS p WHERE p.reference = k.value AND p.account_id <> a.account_id) END"
    };
}
macro_rules! payments_postgres {
    () => {
        "CASE WHEN v.payments IS NOT NULL THEN
             (SELECT jsonb_agg(k.row) FILTER (WHERE k.row IS NOT NULL) FROM (
                  SELECT (SELECT jsonb_build_array(p.reference, p.account_id) FROM payments AS p
                           WHERE p.reference = k.reference AND p.account_id <> a.account_id) AS row
                    FROM jsonb_array_elements_text(v.payments) AS k (reference)) AS k)::text END"
    };
}

/// Loads ledgers: `$1` is [`Load::parameter`]. The two texts say the same in the words of each database.
///
/// Open grants are found by their own index. Grants that are used up or over matter only to what happened before the
/// newest row, and to refunds.
pub(super) const LOAD: Sql = Sql {
    sqlite: concat!(
        "WITH v AS MATERIALIZED (
             SELECT value ->> 'account_id' AS account_id, value ->> 'since' AS since,
                    value ->> 'everything' AS everything,
                    value ->> 'keys' AS keys, value ->> 'about' AS about, value ->> 'users' AS users,
                    value ->> 'history' AS history, value ->> 'payments' AS payments, value ->> 'prices' AS prices
               FROM jsonb_each($1))
         SELECT a.account_id, a.name, a.opened_at, a.opened_through, a.closed_through, a.last_seq, a.last_recorded_at,
                a.balance_free, a.balance_purchased, a.due_at,
                (SELECT json_group_array(json_array(t.from_month, t.zone, t.allowance)) FROM terms AS t
                  WHERE t.account_id = a.account_id),
                (SELECT json_group_array(json_array(c.closed_at, c.reopened_at)) FROM closures AS c
                  WHERE c.account_id = a.account_id),
                (SELECT json_group_array(json_array(", grant!(), ")) FROM grants AS g INDEXED BY grants_open
                  WHERE g.account_id = a.account_id AND (g.remaining > 0 OR g.held > 0)),
                CASE WHEN v.everything OR v.since < a.last_recorded_at THEN
                    (SELECT json_group_array(json_array(", grant!(), ")) FROM grants AS g
                      WHERE g.account_id = a.account_id AND g.remaining = 0 AND g.held = 0
                        AND (v.everything OR (g.lapsed > 0 AND g.expires_at > v.since))) END,
                (SELECT json_group_array(", row_of_sqlite!(), ") FROM holds AS h CROSS JOIN transactions AS t
                  WHERE h.account_id = a.account_id AND t.account_id = h.account_id AND t.seq = h.hold_id),
                (SELECT json_group_array(", row_of_sqlite!(), ") FROM json_each(v.keys) AS k
                  CROSS JOIN transactions AS t INDEXED BY transactions_key
                  WHERE t.account_id = a.account_id AND t.key = k.value),
                CASE WHEN v.about IS NOT NULL THEN
                    (SELECT json_group_array(", row_of_sqlite!(), ") FROM json_each(v.about) AS k
                      CROSS JOIN transactions AS t INDEXED BY transactions_corrects
                      WHERE t.account_id = a.account_id AND t.corrects = coalesce(
                            (SELECT o.seq FROM transactions AS o INDEXED BY transactions_key
                              WHERE o.account_id = a.account_id AND o.key = k.value),
                            (SELECT d.seq FROM dropped_keys AS d
                              WHERE d.account_id = a.account_id AND d.key = k.value))) END,
                (SELECT json_group_array(json_array(c.user_id, c.credits,
                            (SELECT json_group_array(json_array(m.month, m.used)) FROM cap_months AS m
                              WHERE m.account_id = c.account_id AND m.user_id = c.user_id)))
                   FROM caps AS c WHERE c.account_id = a.account_id
                    AND (c.user_id IN (SELECT value FROM json_each(v.users))
                         OR c.user_id IN (SELECT t.user_id FROM holds AS h CROSS JOIN transactions AS t
                                           WHERE h.account_id = a.account_id AND t.account_id = h.account_id
                                             AND t.seq = h.hold_id)
                         OR c.user_id IN (SELECT t.user_id FROM json_each(v.about) AS k
                                           CROSS JOIN transactions AS t INDEXED BY transactions_key
                                           WHERE t.account_id = a.account_id AND t.key = k.value))),
                CASE WHEN v.history IS NOT NULL THEN
                    (SELECT json_group_array(json_array(t.user_id, ", used_at!(), ", t.free_delta + t.purchased_delta,
                                                       CASE WHEN t.corrects <= a.opening_seq THEN t.corrects END))
                       FROM transactions AS t WHERE t.account_id = a.account_id
                        AND t.user_id IN (SELECT value FROM json_each(v.history))
                        AND (t.free_delta <> 0 OR t.purchased_delta <> 0)) END,
                CASE WHEN v.prices THEN
                    (SELECT json_group_array(json_array(p.action, p.effective_from, p.credits)) FROM prices AS p) END,
                a.reopened_through, ", payments_sqlite!(), ", a.opening_seq,
                CASE WHEN a.opening_seq > 0 THEN
                    (SELECT json_group_array(d.seq) FROM json_each(v.keys) AS k CROSS JOIN dropped_keys AS d
                      WHERE d.account_id = a.account_id AND d.key = k.value) END
           FROM v LEFT JOIN accounts AS a ON a.account_id = v.account_id"
    ),
    postgres: concat!(
        "WITH v AS MATERIALIZED (
             SELECT * FROM jsonb_to_recordset($1::jsonb) AS j (account_id text, since bigint, everything bool, keys jsonb,
                                                               about jsonb, users jsonb, history jsonb, payments jsonb,
                                                               prices bool))
         SELECT a.account_id, a.name, a.opened_at, a.opened_through, a.closed_through, a.last_seq, a.last_recorded_at,
                a.balance_free, a.balance_purchased, a.due_at,
                (SELECT jsonb_agg(jsonb_build_array(t.from_month, t.zone, t.allowance)) FROM terms AS t
                  WHERE t.account_id = a.account_id)::text,
                (SELECT jsonb_agg(jsonb_build_array(c.closed_at, c.reopened_at)) FROM closures AS c
                  WHERE c.account_id = a.account_id)::text,
                (SELECT jsonb_agg(jsonb_build_array(", grant!(), ")) FROM grants AS g
                  WHERE g.account_id = a.account_id AND (g.remaining > 0 OR g.held > 0))::text,
                CASE WHEN v.everything OR v.since < a.last_recorded_at THEN
                    (SELECT jsonb_agg(jsonb_build_array(", grant!(), ")) FROM grants AS g
                      WHERE g.account_id = a.account_id AND g.remaining = 0 AND g.held = 0
                        AND (v.everything OR (g.lapsed > 0 AND g.expires_at > v.since)))::text END,
                (SELECT jsonb_agg(", row_of_hold!("to_jsonb(t)"), ") FROM holds AS h
                  WHERE h.account_id = a.account_id)::text,
                CASE WHEN v.keys IS NOT NULL THEN
                    (SELECT jsonb_agg(k.row) FILTER (WHERE k.row IS NOT NULL) FROM (
                         SELECT ", row_of_key!("to_jsonb(t)"), " AS row FROM jsonb_array_elements_text(v.keys) AS k (key)
                     ) AS k)::text END,
                CASE WHEN v.about IS NOT NULL THEN
                    (SELECT jsonb_agg(to_jsonb(t)) FROM jsonb_array_elements_text(v.about) AS k (key)
                      CROSS JOIN LATERAL (SELECT coalesce(", row_of_key!("t.seq"), ", ", dropped_row!(), ") AS seq OFFSET 0) AS o
                      CROSS JOIN LATERAL (SELECT * FROM transactions AS t
                                           WHERE t.account_id = a.account_id AND t.corrects = o.seq OFFSET 0) AS t)::text END,
                (SELECT jsonb_agg(jsonb_build_array(c.user_id, c.credits,
                            (SELECT jsonb_agg(jsonb_build_array(m.month, m.used)) FROM cap_months AS m
                              WHERE m.account_id = c.account_id AND m.user_id = c.user_id)))
                   FROM caps AS c WHERE c.account_id = a.account_id
                    AND (c.user_id IN (SELECT jsonb_array_elements_text(v.users))
                         OR c.user_id IN (SELECT ", row_of_hold!("t.user_id"), " FROM holds AS h
                                           WHERE h.account_id = a.account_id)
                         OR c.user_id IN (SELECT ", row_of_key!("t.user_id"), "
                                            FROM jsonb_array_elements_text(v.about) AS k (key))))::text,
                CASE WHEN v.history IS NOT NULL THEN
                    (SELECT jsonb_agg(jsonb_build_array(t.user_id, ", used_at!(), ", t.free_delta + t.purchased_delta,
                                                      CASE WHEN t.corrects <= a.opening_seq THEN t.corrects END))
                       FROM transactions AS t WHERE t.account_id = a.account_id
                        AND t.user_id IN (SELECT jsonb_array_elements_text(v.history))
                        AND (t.free_delta <> 0 OR t.purchased_delta <> 0))::text END,
                CASE WHEN v.prices THEN
                    (SELECT jsonb_agg(jsonb_build_array(p.action, p.effective_from, p.credits)) FROM prices AS p)::text END,
                a.reopened_through, ", payments_postgres!(), ", a.opening_seq,
                CASE WHEN a.opening_seq > 0 THEN
                    (SELECT jsonb_agg(k.seq) FILTER (WHERE k.seq IS NOT NULL) FROM (
                         SELECT ", dropped_row!(), " AS seq FROM jsonb_array_elements_text(v.keys) AS k (key)
                     ) AS k)::text END
           FROM v LEFT JOIN accounts AS a ON a.account_id = v.account_id"
    ),
};

/// The same for accounts as most are: without closures, holds, caps, and calls that are about earlier ones. It costs half.
/// Its last column says whether the account has more.
pub(super) const LOAD_PLAIN: Sql = Sql {
    sqlite: concat!(
        "WITH v AS MATERIALIZED (
             SELECT value ->> 'account_id' AS account_id, value ->> 'since' AS since, value ->> 'keys' AS keys,
                    value ->> 'payments' AS payments, value ->> 'prices' AS prices FROM jsonb_each($1))
         SELECT a.account_id, a.name, a.opened_at, a.opened_through, a.closed_through, a.last_seq, a.last_recorded_at,
                a.balance_free, a.balance_purchased, a.due_at,
                (SELECT json_group_array(json_array(t.from_month, t.zone, t.allowance)) FROM terms AS t
                  WHERE t.account_id = a.account_id),
                NULL,
                (SELECT json_group_array(json_array(",
        grant!(),
        ")) FROM grants AS g INDEXED BY grants_open
                  WHERE g.account_id = a.account_id AND (g.remaining > 0 OR g.held > 0)),
                NULL, NULL,
                (SELECT json_group_array(",
        row_of_sqlite!(),
        ") FROM json_each(v.keys) AS k
                  CROSS JOIN transactions AS t INDEXED BY transactions_key
                  WHERE t.account_id = a.account_id AND t.key = k.value),
                NULL, NULL, NULL,
                CASE WHEN v.prices THEN
                    (SELECT json_group_array(json_array(p.action, p.effective_from, p.credits)) FROM prices AS p) END,
                a.reopened_through, ", payments_sqlite!(), ", a.opening_seq, NULL,
                v.since < a.last_recorded_at OR EXISTS (SELECT 1 FROM holds AS h WHERE h.account_id = a.account_id)
                    OR EXISTS (SELECT 1 FROM caps AS c WHERE c.account_id = a.account_id)
                    OR EXISTS (SELECT 1 FROM closures AS c WHERE c.account_id = a.account_id)
                    OR (a.opening_seq > 0 AND EXISTS (SELECT 1 FROM json_each(v.keys) AS k CROSS JOIN dropped_keys AS d
                                                       WHERE d.account_id = a.account_id AND d.key = k.value))
           FROM v LEFT JOIN accounts AS a ON a.account_id = v.account_id"
    ),
    postgres: concat!(
        "WITH v AS MATERIALIZED (
             SELECT * FROM jsonb_to_recordset($1::jsonb) AS j (account_id text, since bigint, keys jsonb, payments jsonb,
                                                               prices bool))
         SELECT a.account_id, a.name, a.opened_at, a.opened_through, a.closed_through, a.last_seq, a.last_recorded_at,
                a.balance_free, a.balance_purchased, a.due_at,
                (SELECT jsonb_agg(jsonb_build_array(t.from_month, t.zone, t.allowance)) FROM terms AS t
                  WHERE t.account_id = a.account_id)::text,
                NULL,
                (SELECT jsonb_agg(jsonb_build_array(",
        grant!(),
        ")) FROM grants AS g
                  WHERE g.account_id = a.account_id AND (g.remaining > 0 OR g.held > 0))::text,
                NULL, NULL,
                (SELECT jsonb_agg(k.row) FILTER (WHERE k.row IS NOT NULL) FROM (
                     SELECT ",
        row_of_key!("to_jsonb(t)"),
        " AS row FROM jsonb_array_elements_text(v.keys) AS k (key)
                 ) AS k)::text,
                NULL, NULL, NULL,
                (SELECT jsonb_agg(jsonb_build_array(p.action, p.effective_from, p.credits)) FROM prices AS p
                  WHERE v.prices)::text,
                a.reopened_through, ", payments_postgres!(), ", a.opening_seq, NULL,
                v.since < a.last_recorded_at OR EXISTS (SELECT 1 FROM holds AS h WHERE h.account_id = a.account_id)
                    OR EXISTS (SELECT 1 FROM caps AS c WHERE c.account_id = a.account_id)
                    OR EXISTS (SELECT 1 FROM closures AS c WHERE c.account_id = a.account_id)
                    OR (a.opening_seq > 0 AND EXISTS (SELECT 1 FROM jsonb_array_elements_text(v.keys) AS k (key)
                                                       WHERE ", dropped_row!(), " IS NOT NULL))
           FROM v LEFT JOIN accounts AS a ON a.account_id = v.account_id"
    ),
};
