//! What happened in one account lately, added up by the database in stretches of time: an account with a million transactions has
//! as few sums as any other.

use super::sql::Row;
use super::{Result, Store, StoreError, Way, While};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::ids::AccountId;
use crate::core::statement::Outcome;
use crate::core::transaction::{Kind, Reason, Status};

/// Which rows of an account are added up.
#[derive(Clone, Copy, Debug)]
pub struct LatelyAsk {
    /// Those that count at this instant or later,
    pub from: Instant,
    /// and before this one.
    pub to: Instant,
    /// The row behind which they are; 0 for all.
    pub after_seq: i64,
    /// The last of them.
    pub last_seq: i64,
    /// How they are found.
    pub way: Way,
    /// How long a stretch is, in microseconds. The first begins at `begin`.
    pub stretch_us: i64,
    /// Where stretches are counted from, not after `from`.
    pub begin: Instant,
}

/// What rows of one kind that ended alike came to in one stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatelySum {
    /// When the stretch begins.
    pub begins_at: Instant,
    /// Their kind.
    pub kind: Kind,
    /// How they ended.
    pub outcome: Outcome,
    /// What they changed.
    pub delta: Split,
    /// How many there are.
    pub count: u64,
}

/// A lapse at the end of a grant counts before it. The + keeps SQLite from the other way in.
macro_rules! sums {
    ($bounds:literal) => {
        concat!(
            "SELECT (t.occurred_at - CASE t.kind WHEN 'expiry' THEN 1 ELSE 0 END - $6) / $7, t.kind, t.status, t.reason,
                    CAST(sum(t.free_delta) AS BIGINT), CAST(sum(t.purchased_delta) AS BIGINT), count(*)
               FROM transactions AS t
              WHERE t.account_id = $1 AND ",
            $bounds,
            " AND t.occurred_at - CASE t.kind WHEN 'expiry' THEN 1 ELSE 0 END >= $2
              AND t.occurred_at - CASE t.kind WHEN 'expiry' THEN 1 ELSE 0 END < $3
              GROUP BY 1, 2, 3, 4"
        )
    };
}

/// By time.
const LOOKED_UP: &str = sums!("t.occurred_at >= $2 AND t.occurred_at <= $3 AND +t.seq > $4 AND +t.seq <= $5");
/// By number, which on SQLite costs half as much for each row.
const WALKED: &str = sums!("+t.occurred_at >= $2 AND +t.occurred_at <= $3 AND t.seq > $4 AND t.seq <= $5");

/// Halves the rows until one is left: the last that was recorded before `$2`, or the account's opening. Numbers and times of
/// recording go the same way. With it comes the balance that it left.
const RECORDED_BEFORE: &str = "
    WITH RECURSIVE s (lo, hi) AS (
        SELECT a.opening_seq, CAST($3 AS BIGINT) FROM accounts AS a WHERE a.account_id = $1
        UNION ALL
        SELECT CASE WHEN t.recorded_at < $2 THEN t.seq ELSE s.lo END, CASE WHEN t.recorded_at < $2 THEN s.hi ELSE t.seq - 1 END
          FROM s CROSS JOIN transactions AS t
         WHERE s.lo < s.hi AND t.account_id = $1 AND t.seq = (s.lo + s.hi + 1) / 2)
    SELECT l.lo, coalesce(t.free_balance, a.opening_free), coalesce(t.purchased_balance, a.opening_purchased)
      FROM (SELECT max(lo) AS lo FROM s) AS l CROSS JOIN accounts AS a
      LEFT JOIN transactions AS t ON t.account_id = $1 AND t.seq = l.lo WHERE a.account_id = $1";

impl Store {
    /// The number of the last row of `account`, up to `last_seq`, that was recorded before `at`, and the balance with it; 0 where
    /// none was, and the opening where that was recorded before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recorded_before(&self, account: &AccountId, at: Instant, last_seq: i64) -> Result<(i64, Split)> {
        let asked = self.query(RECORDED_BEFORE).bind(account.as_str()).bind(at.micros()).bind(last_seq);
        let row = asked.fetch_one().await.while_("looking for what was recorded lately")?;
        let credits = |at| Credits::new(row.get::<Option<i64>>(at).unwrap_or(0));
        Ok((row.get(0), Split { free: credits(1), purchased: credits(2) }))
    }

    /// Adds up rows of `account`, by stretch, kind and outcome, in no order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lately(&self, account: &AccountId, asked: LatelyAsk) -> Result<Vec<LatelySum>> {
        let LatelyAsk { from, to, after_seq, last_seq, way, stretch_us, begin } = asked;
        let rows = self
            .query(if way == Way::Walked { WALKED } else { LOOKED_UP })
            .bind(account.as_str().to_owned())
            .bind(from.micros())
            .bind(to.micros())
            .bind(after_seq)
            .bind(last_seq)
            .bind(begin.micros())
            .bind(stretch_us)
            .fetch_all()
            .await
            .while_("adding up what happened lately")?;
        let read = |row: &Row| {
            let (kind, status) = (row.get::<&str>(1), row.get::<&str>(2));
            let unknown = || StoreError::Corrupt(format!("transaction of kind {kind:?}, status {status:?}"));
            let kind = Kind::from_word(kind).ok_or_else(unknown)?;
            let status = Status::from_word(status).ok_or_else(unknown)?;
            let reason = row.get::<Option<&str>>(3).and_then(Reason::from_word);
            Ok(LatelySum {
                begins_at: begin.plus_micros(row.get::<i64>(0).saturating_mul(stretch_us)),
                kind,
                outcome: Outcome::of(kind, status, reason),
                delta: Split { free: Credits::new(row.get(4)), purchased: Credits::new(row.get(5)) },
                count: row.get::<i64>(6).unsigned_abs(),
            })
        };
        rows.iter().map(read).collect()
    }
}
