//! What stands in the database for rows that have left it: the opening of their account, and their keys (R9).

use super::reading::drift;
use super::{Findings, Slice, slice};
use crate::store::backend::Tx;
use crate::store::sql::Row;
use crate::store::{Result, While};
use futures_util::TryStreamExt;

const OPENING: &str = "an opening is the balance of the row it names";
const KEYS: &str = "the keys of rows that have left are kept";
const NONE: &str = "an account of which no row has left has no opening";

const HAVE_LEFT: &str = concat!(
    "SELECT (SELECT count(*) FROM accounts AS a WHERE ",
    slice!("a"),
    " AND a.opening_seq <> 0) + (SELECT count(*) FROM dropped_keys AS d WHERE ",
    slice!("d"),
    ")"
);
const OPENED: &str = concat!(
    "SELECT a.account_id FROM accounts AS a WHERE ",
    slice!("a"),
    " AND a.opening_seq <= 0 AND (a.opening_seq <> 0 OR a.opening_recorded_at <> -9223372036854775807 - 1
                                  OR a.opening_free <> 0 OR a.opening_purchased <> 0)"
);
const OPENINGS: &str = concat!(
    "SELECT a.account_id, a.opening_seq, a.opening_recorded_at, a.opening_free, a.opening_purchased FROM accounts AS a WHERE ",
    slice!("a"),
    " AND a.opening_seq > 0 ORDER BY a.account_id"
);
const KEPT: &str = concat!(
    "SELECT d.account_id, d.key, d.seq FROM dropped_keys AS d WHERE ",
    slice!("d"),
    " ORDER BY d.account_id, d.seq"
);
const ROW: &str = "SELECT t.recorded_at, t.free_balance, t.purchased_balance FROM transactions AS t
      WHERE t.account_id = $1 AND t.seq = $2";
const USED: &str = "SELECT t.account_id, t.key, t.seq FROM transactions AS t
      WHERE t.account_id = $1 AND t.seq <= $2 AND t.key IS NOT NULL AND t.kind IN ('charge', 'hold', 'release', 'refund')
      ORDER BY t.seq";

/// Whether there are such rows of the slice, or something says so.
pub(super) async fn have_left(tx: &mut Tx, slice: &Slice, findings: &mut Findings) -> Result<bool> {
    findings.does([NONE]);
    let opened = tx.query(OPENED).bind(slice.from.as_str()).bind(slice.to.as_str()).fetch_all().await;
    for row in &opened.while_("looking for openings")? {
        findings.add(drift(NONE, row.get(0), "opening_recorded_at, opening_free, opening_purchased", "none", "some"));
    }
    let found = tx.query(HAVE_LEFT).bind(slice.from.as_str()).bind(slice.to.as_str()).fetch_one().await;
    Ok(found.while_("looking for rows that have left")?.get::<i64>(0) > 0)
}

/// Compares what is kept in `there` with the rows in `whole`.
pub(super) async fn check(there: &mut Tx, whole: &mut Tx, slice: &Slice, findings: &mut Findings) -> Result<()> {
    findings.does([OPENING, KEYS]);
    let doing = "comparing what is kept of rows that have left";
    let key = |row: &Row| (row.get::<String>(0), row.get::<i64>(2), row.get::<String>(1));
    let openings = there.query(OPENINGS).bind(slice.from.as_str()).bind(slice.to.as_str()).fetch_all().await;
    let openings = openings.while_(doing)?;
    let kept = there.query(KEPT).bind(slice.from.as_str()).bind(slice.to.as_str()).fetch_all().await.while_(doing)?;
    let mut kept = kept.iter().map(key).peekable();
    for opening in &openings {
        let (account, seq): (&str, i64) = (opening.get(0), opening.get(1));
        let said: [i64; 3] = std::array::from_fn(|at| opening.get(2 + at));
        let rows = whole.query(ROW).bind(account.to_owned()).bind(seq).fetch_all().await.while_(doing)?;
        let found = rows.first().map(|row| -> [i64; 3] { std::array::from_fn(|at| row.get(at)) });
        if found != Some(said) {
            let what = format!("the opening, row {seq}: recorded_at, free, purchased");
            findings.add(drift(OPENING, account, what, format!("{found:?}"), format!("{said:?}")));
        }
        let mut used = whole.query(USED).bind(account.to_owned()).bind(seq).fetch();
        while let Some(row) = used.try_next().await.while_(doing)? {
            let (account, seq, name) = key(&row);
            if kept.next_if(|kept| (&kept.0, kept.1, &kept.2) == (&account, seq, &name)).is_none() {
                findings.add(drift(KEYS, &account, format!("row {seq}: key"), &name, "another one, or none"));
                while kept.next_if(|kept| kept.0 == account && kept.1 <= seq).is_some() {}
            }
        }
        while let Some((account, seq, name)) = kept.next_if(|kept| kept.0 == account) {
            findings.add(drift(
                KEYS,
                &account,
                format!("key {name}"),
                format!("that of row {seq}"),
                "of no row that left",
            ));
        }
    }
    if let Some((account, seq, name)) = kept.next() {
        findings.add(drift(
            KEYS,
            &account,
            format!("key {name}"),
            format!("that of row {seq}"),
            "of no account with an opening",
        ));
    }
    Ok(())
}
