//! Rows of AI actions leave the database once they are in sealed files, where the operator wants that (DESIGN 8).
//!
//! What leaves are the rows of an account up to one, its opening: charges, holds, releases and refunds. Their sums stay in the
//! account, their keys beside it, so that no key is ever used twice (R9); grants, purchases, lapses and what operators did
//! stay as they are. An account is dropped up to before its first open hold at most, so exactly those rows are gone.

use super::accounts::lock;
use super::backend::{Tx, in_write};
use super::sql::{Row, Sql, set};
use super::{Result, Store, While, json};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::ids::AccountId;
use crate::core::sealed::SeqRange;

/// With what the rows of an account begin that are all in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Whose.
    pub account: AccountId,
    /// The last row up to which rows of actions are in sealed files alone.
    pub seq: i64,
    /// When it was recorded: no row that is gone counts later.
    pub recorded_at: Instant,
    /// The balance with it.
    pub balance: Split,
}

impl Opening {
    /// Of the columns of [`openings!`].
    pub(super) fn read(row: &Row) -> Result<Opening> {
        Ok(Opening {
            account: AccountId::new(row.get(0))?,
            seq: row.get(1),
            recorded_at: Instant::from_micros(row.get(2)),
            balance: Split { free: Credits::new(row.get(3)), purchased: Credits::new(row.get(4)) },
        })
    }
}

/// The columns of an [`Opening`].
macro_rules! opening {
    () => {
        "a.account_id, a.opening_seq, a.opening_recorded_at, a.opening_free, a.opening_purchased"
    };
}

/// Rows `t` of the accounts and numbers in `v` that may leave.
macro_rules! leaving {
    () => {
        "FROM v CROSS JOIN transactions AS t
          WHERE t.account_id = v.account_id AND t.seq > v.after AND t.seq <= v.through
            AND t.kind IN ('charge', 'hold', 'release', 'refund')"
    };
}

const OPENINGS: &str =
    concat!("SELECT ", opening!(), " FROM accounts AS a WHERE a.opening_seq > 0 ORDER BY a.account_id");
pub(super) const OPENINGS_OF: Sql = set!(account_id => concat!(
    "SELECT ", opening!(), " FROM v CROSS JOIN accounts AS a
      WHERE a.account_id = v.account_id AND a.opening_seq > 0 ORDER BY a.account_id"));

/// Between the opening that there is and the row that is asked for, or the first open hold.
const DROPPABLE: Sql = set!(account_id text, after bigint, through bigint =>
    "SELECT r.account_id, r.opening_seq, r.through, r.opening_recorded_at FROM (
         SELECT a.account_id, a.opening_seq, a.opening_recorded_at, CASE
                    WHEN (SELECT min(h.hold_id) FROM holds AS h WHERE h.account_id = a.account_id) <= v.through
                    THEN (SELECT min(h.hold_id) - 1 FROM holds AS h WHERE h.account_id = a.account_id)
                    ELSE v.through END AS through
           FROM v CROSS JOIN accounts AS a WHERE a.account_id = v.account_id AND a.last_seq >= v.through) AS r
      WHERE r.through > r.opening_seq ORDER BY r.account_id");

/// How many openings are where they are to be moved from.
const STAND: Sql = set!(account_id text, after bigint, through bigint =>
    "SELECT count(*) FROM v CROSS JOIN accounts AS a WHERE a.account_id = v.account_id AND a.opening_seq = v.after");
/// Whether keys of rows that have left are refused where they come again; and that they are. On Postgres this is looked at for
/// each row that is written, and so begins with the first that leaves.
const IS_GUARDED: &str =
    "SELECT count(*) FROM pg_trigger WHERE tgname = 'keys_are_used_once' AND tgrelid = 'transactions'::regclass
      AND tgenabled <> 'D'";
const GUARD: &str = "ALTER TABLE transactions ENABLE TRIGGER keys_are_used_once";
const OPEN: Sql = set!(account_id text, after bigint, through bigint =>
    "UPDATE accounts SET opening_seq = t.seq, opening_recorded_at = t.recorded_at, opening_free = t.free_balance,
                         opening_purchased = t.purchased_balance
       FROM v, transactions AS t
      WHERE accounts.account_id = v.account_id AND accounts.opening_seq = v.after
        AND t.account_id = v.account_id AND t.seq = v.through");
const KEEP_KEYS: Sql = set!(account_id text, after bigint, through bigint => concat!(
    "INSERT INTO dropped_keys (account_id, key, seq) SELECT t.account_id, t.key, t.seq ", leaving!(), " AND t.key IS NOT NULL"));
const DROP: Sql = set!(account_id text, after bigint, through bigint => concat!(
    "DELETE FROM transactions WHERE (account_id, seq) IN (SELECT t.account_id, t.seq ", leaving!(), ")"));

/// How far rows of an account may leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Droppable {
    /// Behind its opening, up to the row that is the next.
    pub range: SeqRange,
    /// When its opening was recorded.
    pub behind: Instant,
}

impl Store {
    /// The openings of those of `accounts`, or of all, of which rows have left, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn openings(&self, accounts: Option<&[AccountId]>) -> Result<Vec<Opening>> {
        let rows = match accounts {
            None => self.query(OPENINGS).fetch_all().await,
            Some(accounts) => self.query(OPENINGS_OF).bind(json(accounts)?).fetch_all().await,
        };
        rows.while_("reading with what accounts begin")?.iter().map(Opening::read).collect()
    }

    /// Which rows of accounts may leave that are sealed up to these numbers.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn droppable(&self, sealed: &[SeqRange]) -> Result<Vec<Droppable>> {
        let rows = self.query(DROPPABLE).bind(json(sealed)?).fetch_all().await.while_("looking for rows to drop")?;
        let read = |row: &Row| {
            let range = SeqRange { account_id: AccountId::new(row.get(0))?, after: row.get(1), through: row.get(2) };
            Ok(Droppable { range, behind: Instant::from_micros(row.get(3)) })
        };
        rows.iter().map(read).collect()
    }

    /// Drops the rows of actions in `ranges`, each of which begins behind an opening and lies before every open hold, and makes its
    /// end the opening. Returns how many rows left; `None` when others have moved an opening meanwhile, and nothing was done.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError); nothing has left then.
    pub async fn drop_rows(&self, ranges: &[SeqRange]) -> Result<Option<u64>> {
        let ids = json(ranges.iter().map(|range| &range.account_id).collect::<Vec<_>>())?;
        let asked = json(ranges)?;
        in_write!(self, "dropping rows that are sealed", |tx| {
            lock(tx, &ids).await?;
            let stand = tx.query(STAND).bind(asked.as_str()).fetch_one().await.while_("looking at openings")?;
            if stand.get::<i64>(0) < i64::try_from(ranges.len()).unwrap_or(i64::MAX) {
                return Ok(None);
            }
            tx.query(OPEN).bind(asked.as_str()).execute().await.while_("moving openings")?;
            if let Tx::Postgres(_) = tx
                && tx.query(IS_GUARDED).fetch_one().await.while_("asking how keys are guarded")?.get::<i64>(0) == 0
            {
                tx.query(GUARD).execute().await.while_("guarding keys of rows that leave")?;
            }
            tx.query(KEEP_KEYS).bind(asked.as_str()).execute().await.while_("keeping the keys of rows that leave")?;
            let dropped =
                tx.query(DROP).bind(asked.as_str()).execute().await.while_("dropping rows that are sealed")?;
            Ok(Some(dropped.rows_affected()))
        })
    }
}
