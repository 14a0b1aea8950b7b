//! What reports read: the rows of a range in columns, and what was there before.

use super::backend::Backend;
use super::bulk::{Bulk, Gather, Line, Parameter, Walk};
use super::sql::{Failed, Sql, set};
use super::{Result, Store, StoreError, While, json};
use crate::core::calendar::{BadTime, Calendar, Instant, Terms, parse_zone};
use crate::core::credits::{Credits, Split};
use crate::core::forecast::{DailyUse, DayUse};
use crate::core::ids::AccountId;
use crate::core::statement::{Breakdown, Name, Outcome, REPORT_ROWS_MAX, ReportError, Row as ReportRow, Rows};
use crate::core::transaction::{Kind, Reason, Status};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::AbortOnDropHandle;

/// An account as far as a report needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccount {
    /// Which.
    pub id: AccountId,
    /// Its terms.
    pub calendar: Calendar,
    /// The number of its last row.
    pub last_seq: i64,
    /// When it has something to roll over.
    pub due_at: Instant,
    /// When creditd learned of it.
    pub created_at: Instant,
    /// When its last row was recorded.
    pub last_recorded_at: Instant,
}

/// Which rows of one account a report reads.
#[derive(Clone, Debug)]
pub struct ReportRange {
    /// Whose.
    pub account: AccountId,
    /// First instant of the range.
    pub from: Instant,
    /// First instant after it.
    pub to: Instant,
    /// The row behind which the reader needs rows: what is before is known to it. 0 for all.
    pub after_seq: i64,
    /// The newest row of the ledger that the reader has loaded. Rows written since are left out, so that a reader who
    /// adds what is still unwritten (R3) counts nothing twice.
    pub last_seq: i64,
}

#[derive(Serialize)]
struct Asked {
    at: usize,
    account_id: AccountId,
    from_at: i64,
    to_at: i64,
    after_seq: i64,
    last_seq: i64,
}

/// What was there before each range.
const OPENINGS: Sql = set!(at bigint, account_id text, from_at bigint, after_seq bigint, last_seq bigint =>
    "SELECT v.at, CAST(sum(t.free_delta) AS BIGINT), CAST(sum(t.purchased_delta) AS BIGINT)
       FROM v CROSS JOIN transactions AS t
      WHERE t.account_id = v.account_id AND t.seq > v.after_seq AND t.seq <= v.last_seq
        AND t.occurred_at - CASE t.kind WHEN 'expiry' THEN 1 ELSE 0 END < v.from_at
      GROUP BY v.at");

/// All rows of the ranges, found by time. The + keeps SQLite from walking the whole account by seq.
const LOOKED_UP: Sql = set!(at bigint, account_id text, from_at bigint, to_at bigint, last_seq bigint =>
    "SELECT v.at, t.kind, t.occurred_at, t.status, t.reason, t.free_delta, t.purchased_delta,
            CASE CAST($2 AS TEXT) WHEN 'action' THEN t.action WHEN 'user' THEN t.user_id END
       FROM v CROSS JOIN transactions AS t
      WHERE t.account_id = v.account_id AND t.occurred_at >= v.from_at AND t.occurred_at <= v.to_at
        AND +t.seq <= v.last_seq");

/// How many these are.
const COUNTED: Sql = set!(at bigint, account_id text, from_at bigint, to_at bigint, last_seq bigint =>
    "SELECT count(*) FROM v CROSS JOIN transactions AS t
      WHERE t.account_id = v.account_id AND t.occurred_at >= v.from_at AND t.occurred_at <= v.to_at
        AND +t.seq <= v.last_seq");

/// To look up a row by the index costs as much as to walk over this many that lie beside each other.
const WALKED_PER_LOOKUP: i64 = 5;
/// Accounts whose ranges are read at once.
pub const RANGES_PER_READ: usize = 1_000;
/// Ranges that are read row by row of each, however large their accounts are.
const RANGES_FEW: usize = 16;
/// Accounts in which rows are counted, to see how many of all rows lie in the ranges.
const ACCOUNTS_COUNTED: usize = 16;

/// The rows of the ranges behind one that is known.
const BEHIND: Sql = set!(at bigint, account_id text, from_at bigint, to_at bigint, after_seq bigint, last_seq bigint =>
    "SELECT v.at, t.kind, t.occurred_at, t.status, t.reason, t.free_delta, t.purchased_delta,
            CASE CAST($2 AS TEXT) WHEN 'action' THEN t.action WHEN 'user' THEN t.user_id END
       FROM v CROSS JOIN transactions AS t
      WHERE t.account_id = v.account_id AND t.seq > v.after_seq AND t.seq <= v.last_seq
        AND +t.occurred_at >= v.from_at AND +t.occurred_at <= v.to_at");

/// The ranges as a parameter, each by its place among them.
pub(super) fn asked_of(ranges: &[(usize, ReportRange)]) -> Result<String> {
    asked_from(0, ranges)
}

/// The same of ranges of which the first has this place.
fn asked_from(first: usize, ranges: &[(usize, ReportRange)]) -> Result<String> {
    let ask = |(at, (_, range)): (usize, &(usize, ReportRange))| Asked {
        at: first + at,
        account_id: range.account.clone(),
        from_at: range.from.micros(),
        to_at: range.to.micros(),
        after_seq: range.after_seq,
        last_seq: range.last_seq,
    };
    json(ranges.iter().enumerate().map(ask).collect::<Vec<_>>())
}

/// Calendars of accounts on their way, in the order of their ids.
#[derive(Default)]
struct Calendars(Vec<(AccountId, Calendar)>);

impl Calendars {
    /// Adds an account, or further terms of the last one.
    fn add(&mut self, row: &dyn Line) -> Result<()> {
        let text = |at: usize| row.text(at).unwrap_or_default();
        let bad = |error: BadTime| StoreError::Corrupt(error.to_string());
        let terms = Terms {
            from: text(1).parse().map_err(bad)?,
            zone: parse_zone(text(2)).map_err(bad)?,
            allowance: Credits::new(row.int(3)),
        };
        match self.0.last_mut().filter(|(id, _)| id.as_str() == text(0)) {
            Some((_, calendar)) => calendar.set(terms),
            None => self.0.push((AccountId::new(text(0))?, Calendar::new(terms))),
        }
        Ok(())
    }
}

/// The last number, when there is something to roll over, when creditd learned of it and when it recorded last, by account, in the
/// same order.
#[derive(Default)]
struct States(Vec<(AccountId, [i64; 4])>);

impl States {
    fn add(&mut self, row: &dyn Line) -> Result<()> {
        self.0.push((AccountId::new(row.text(0).unwrap_or_default())?, [1, 2, 3, 4].map(|at| row.int(at))));
        Ok(())
    }
}

impl Gather for Calendars {}
impl Gather for States {}

/// How the rows of many ranges are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Each by an index.
    LookedUp,
    /// By a walk over all rows of all accounts, whose ranges are in their order.
    Walked,
}

/// What a report asks of its ranges.
#[derive(Clone, Copy, Debug)]
pub struct ReportAsk {
    /// By what rows are named.
    pub breakdown: Option<Breakdown>,
    /// Whether it has to know what was there before each.
    pub has_openings: bool,
    /// How they are found.
    pub way: Way,
}

/// What is read for a report.
#[derive(Debug, Default)]
pub struct ReportRead {
    /// The balance just before each range: what the rows from behind `after_seq` until then sum to. Zero where that was not
    /// asked for.
    pub openings: Vec<Split>,
    /// The rows of all.
    pub rows: Rows,
}

/// Rows on their way, in pieces, the last of which has the openings. Whoever drops this ends the reading.
#[derive(Debug)]
pub struct BegunRead {
    pieces: mpsc::Receiver<Result<ReportRead>>,
    /// Until it has ended.
    reading: Option<AbortOnDropHandle<()>>,
}

impl BegunRead {
    /// The next piece; `None` when that was all.
    ///
    /// # Errors
    /// [`StoreError`], as of [`Store::report_rows`].
    pub async fn next(&mut self) -> Result<Option<ReportRead>> {
        if let Some(piece) = self.pieces.recv().await {
            return piece.map(Some);
        }
        if let Some(reading) = self.reading.take() {
            let crashed = |_| Failed::from(sqlx::Error::WorkerCrashed);
            reading.await.map_err(crashed).while_(READING)?;
        }
        Ok(None)
    }
}

/// Pieces that wait for whoever takes them.
const PIECES_WAITING: usize = 1;
/// Ranges whose openings are asked for at once: a parameter of some ten megabytes.
const OPENINGS_AT_ONCE: usize = 50_000;
/// Connections on which reports read much, of a few more that there are.
pub(super) const REPORT_CONNECTIONS: usize = 4;
const READING: &str = "reading the rows of a report";

struct Reading {
    ranges: Arc<[(usize, ReportRange)]>,
    /// Of which of them the newest row is, in a walk.
    at: usize,
    /// Of the newest row: the next is likely to be the same.
    kind: Kind,
    read: ReportRead,
    /// Who takes rows as soon as there are so many; nobody where all are gathered.
    pieces: Option<Pieces>,
}

/// Who takes pieces, and of how many rows.
type Pieces = (mpsc::Sender<Result<ReportRead>>, usize);

/// Begins to read in a task of its own.
pub(super) fn begin<F>(rows: usize, read: impl FnOnce(Pieces) -> F) -> BegunRead
where
    F: Future<Output = Result<ReportRead>> + Send + 'static,
{
    let (sender, pieces) = mpsc::channel(PIECES_WAITING);
    let reading = read((sender.clone(), rows));
    let reading = tokio::spawn(async move {
        let last = reading.await;
        // Nobody is there when nobody wants it.
        let _ = sender.send(last).await;
    });
    BegunRead { pieces, reading: Some(AbortOnDropHandle::new(reading)) }
}

impl Gather for Reading {
    fn hand_on(&mut self) -> Option<BoxFuture<'static, Result<()>>> {
        let (pieces, _) = self.pieces.as_ref().filter(|(_, rows)| self.read.rows.len() >= *rows)?;
        let (pieces, rows) = (pieces.clone(), std::mem::take(&mut self.read.rows));
        let piece = ReportRead { openings: Vec::new(), rows };
        // That nobody takes it is told to nobody; it ends the reading.
        let unwanted = |_| Failed::from(sqlx::Error::WorkerCrashed);
        Some(async move { pieces.send(Ok(piece)).await.map_err(unwanted).while_(READING) }.boxed())
    }
}

/// Over what one walks for `ranges`, which are in the order of their accounts.
fn over(ranges: &[(usize, ReportRange)]) -> Option<Walk> {
    Some(Walk {
        first: ranges.first()?.1.account.clone(),
        last: ranges.last()?.1.account.clone(),
        from: ranges.iter().map(|(_, range)| range.from).min()?,
        to: ranges.iter().map(|(_, range)| range.to).max()?,
        half: None,
    })
}

impl Reading {
    fn new(ranges: Arc<[(usize, ReportRange)]>, pieces: Option<Pieces>) -> Reading {
        let read = ReportRead { openings: vec![Split::ZERO; ranges.len()], rows: Rows::default() };
        Reading { ranges, at: 0, kind: Kind::Charge, read, pieces }
    }

    fn opening(&mut self, row: &dyn Line) -> Result<()> {
        let at = usize::try_from(row.int(0)).unwrap_or(usize::MAX);
        if let Some(opening) = self.read.openings.get_mut(at) {
            *opening = Split { free: Credits::new(row.int(1)), purchased: Credits::new(row.int(2)) };
        }
        Ok(())
    }

    /// A row of the range that it names.
    fn row(&mut self, row: &dyn Line) -> Result<()> {
        let at = usize::try_from(row.int(0)).unwrap_or(usize::MAX);
        let number = self.ranges.get(at).map(|(number, _)| *number);
        self.add(number, row)
    }

    /// A row of the account that it names.
    fn used(&mut self, row: &dyn Line) -> Result<()> {
        self.add(usize::try_from(row.int(0)).ok(), row)
    }

    /// A row of a walk, which comes by accounts that nobody asked for and rows that were written meanwhile. Rows of one account
    /// follow each other on SQLite, and come in any order from Postgres.
    fn walked(&mut self, row: &dyn Line) -> Result<()> {
        let id = row.text(8).unwrap_or_default();
        let at = |at: usize| self.ranges.get(at).map(|(_, range)| range.account.as_str());
        if at(self.at) != Some(id) {
            self.at = if at(self.at + 1) == Some(id) {
                self.at + 1
            } else {
                self.ranges.partition_point(|(_, range)| range.account.as_str() < id)
            };
        }
        match self.ranges.get(self.at) {
            Some((number, range)) if range.account.as_str() == id && row.int(0) <= range.last_seq => {
                let number = Some(*number);
                self.add(number, row)
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, account: Option<usize>, row: &dyn Line) -> Result<()> {
        let rows = &mut self.read.rows;
        if rows.len() == REPORT_ROWS_MAX {
            return Err(ReportError::TooManyRows { max: REPORT_ROWS_MAX }.into());
        }
        let (kind, status) = (row.text(1).unwrap_or_default(), row.text(3).unwrap_or_default());
        let unknown = || StoreError::Corrupt(format!("transaction of kind {kind:?}, status {status:?}"));
        if kind != self.kind.as_str() {
            self.kind = Kind::from_word(kind).ok_or_else(unknown)?;
        }
        let kind = self.kind;
        let status = Status::from_word(status).ok_or_else(unknown)?;
        let name = row.text(7).map_or(Name::NONE, |name| rows.name(name));
        rows.push(ReportRow {
            account: account.and_then(|number| u32::try_from(number).ok()).unwrap_or(u32::MAX),
            counts_at: kind.counts_at(Instant::from_micros(row.int(2))),
            kind,
            outcome: Outcome::of(kind, status, row.text(4).and_then(Reason::from_word)),
            name,
            delta: Split { free: Credits::new(row.int(5)), purchased: Credits::new(row.int(6)) },
        });
        Ok(())
    }
}

#[derive(Serialize)]
struct Stretch {
    at: usize,
    account_id: AccountId,
    from_at: i64,
    to_at: i64,
}

impl Store {
    /// The accounts of `chosen` that exist, or all, in the order of their ids: as little of them as a report needs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn report_accounts(&self, chosen: Option<&[AccountId]>) -> Result<Vec<StoredAccount>> {
        // Two walks in order cost less than a look-up of the terms for every account, and half of that side by side. Terms that were
        // written between the two are of months to come, and an account that is in one of them alone is just being opened.
        let (terms, rest, asked) = match chosen {
            None => (
                "SELECT account_id, from_month, zone, allowance FROM terms ORDER BY account_id, from_month".into(),
                "SELECT account_id, last_seq, due_at, created_at, last_recorded_at FROM accounts ORDER BY account_id"
                    .into(),
                None,
            ),
            Some(chosen) => (
                set!(account_id => "SELECT t.account_id, t.from_month, t.zone, t.allowance
                       FROM v CROSS JOIN terms AS t WHERE t.account_id = v.account_id ORDER BY t.account_id, t.from_month"),
                set!(account_id => "SELECT a.account_id, a.last_seq, a.due_at, a.created_at, a.last_recorded_at
                       FROM v CROSS JOIN accounts AS a WHERE a.account_id = v.account_id ORDER BY a.account_id"),
                Some(json(chosen)?),
            ),
        };
        let asked: Vec<Parameter> = asked.into_iter().map(Parameter::Text).collect();
        let doing = "reading the accounts of a report";
        let calendars = async {
            let bulk = self.bulk(Calendars::default()).await?;
            Ok::<_, StoreError>(bulk.each(terms, asked.clone(), Calendars::add, doing).await?.finish().await.0)
        };
        let states = async {
            let bulk = self.bulk(States::default()).await?;
            Ok(bulk.each(rest, asked.clone(), States::add, doing).await?.finish().await.0)
        };
        let (calendars, states) = tokio::try_join!(calendars, states)?;
        let mut calendars = calendars.into_iter().peekable();
        let with_calendar = |(id, [last_seq, due_at, created_at, last_recorded_at]): (AccountId, [i64; 4])| {
            while calendars.next_if(|(other, _)| *other < id).is_some() {}
            let (id, calendar) = calendars.next_if(|(other, _)| *other == id)?;
            let [due_at, created_at, last_recorded_at] =
                [due_at, created_at, last_recorded_at].map(Instant::from_micros);
            Some(StoredAccount { id, calendar, last_seq, due_at, created_at, last_recorded_at })
        };
        Ok(states.into_iter().filter_map(with_calendar).collect())
    }

    /// The rows that count in `ranges`, each with the number of its account. Rows at the edge may lie just outside; the report
    /// leaves them out.
    ///
    /// # Errors
    /// [`StoreError`], also when there are more than [`REPORT_ROWS_MAX`] rows.
    pub async fn report_rows(&self, ranges: &[(usize, ReportRange)], asked: ReportAsk) -> Result<ReportRead> {
        self.gather(ranges.into(), asked, None).await
    }

    /// Begins to do so, whether or not somebody waits for it yet, and hands them on by about `rows` at a time.
    #[must_use]
    pub fn begin_report_rows(&self, ranges: &[(usize, ReportRange)], asked: ReportAsk, rows: usize) -> BegunRead {
        let (store, ranges) = (self.clone(), ranges.into());
        begin(rows, |pieces| async move { store.gather(ranges, asked, Some(pieces)).await })
    }

    async fn gather(
        &self,
        ranges: Arc<[(usize, ReportRange)]>,
        asked: ReportAsk,
        pieces: Option<Pieces>,
    ) -> Result<ReportRead> {
        let another = Reading::new(Arc::clone(&ranges), pieces.clone());
        let mut bulk = self.bulk(Reading::new(Arc::clone(&ranges), pieces)).await?;
        if ranges.len() <= RANGES_FEW {
            bulk = bulk.about_few().await?;
        }
        let by = asked.breakdown.map(Breakdown::as_str);
        if asked.has_openings {
            let doing = "summing what was there before the range";
            for (number, some) in ranges.chunks(OPENINGS_AT_ONCE).enumerate() {
                let some = vec![Parameter::Text(asked_from(number * OPENINGS_AT_ONCE, some)?)];
                bulk = bulk.each(OPENINGS, some, Reading::opening, doing).await?;
            }
        }
        let is_behind = ranges.iter().any(|(_, range)| range.after_seq > 0);
        if let (Way::Walked, false, Some(over)) = (asked.way, is_behind, over(&ranges)) {
            return self.walk(bulk, another, by, over).await;
        }
        let rows = if is_behind { BEHIND } else { LOOKED_UP };
        let parameters = vec![Parameter::Text(asked_of(&ranges)?), Parameter::Word(by)];
        Ok(bulk.each(rows, parameters, Reading::row, READING).await?.finish().await.read)
    }

    /// Walks over all rows; on Postgres over both halves of the table at once, each on a connection of its own.
    async fn walk(
        &self,
        mut bulk: Bulk<Reading>,
        other: Reading,
        by: Option<&'static str>,
        over: Walk,
    ) -> Result<ReportRead> {
        async fn over_half(bulk: Bulk<Reading>, by: Option<&'static str>, over: Walk) -> Result<ReportRead> {
            Ok(bulk.walk(by, over, Reading::walked, READING).await?.finish().await.read)
        }
        let Backend::Postgres { .. } = self.backend else { return over_half(bulk, by, over).await };
        let mut other = self.bulk(other).await?;
        let halves = bulk.halves(&mut other).await?;
        let [one_half, other_half] = halves.map(|half| Walk { half: Some(half), ..over.clone() });
        let other = AbortOnDropHandle::new(tokio::spawn(over_half(other, by, other_half)));
        let mut read = over_half(bulk, by, one_half).await?;
        let crashed = |_| Failed::from(sqlx::Error::WorkerCrashed);
        read.rows.append(other.await.map_err(crashed).while_(READING)??.rows);
        Ok(read)
    }

    /// The uses of credits that `sql` finds for these parameters, each with the number of its account.
    pub(super) async fn gather_uses(
        &self,
        sql: Sql,
        parameters: Vec<Parameter>,
        pieces: Option<Pieces>,
    ) -> Result<ReportRead> {
        let bulk = self.bulk(Reading::new(Arc::default(), pieces)).await?;
        Ok(bulk.each(sql, parameters, Reading::used, READING).await?.finish().await.read)
    }

    /// Waits until a report can read on so many connections at once: it would wait for itself if it got some of them. Others
    /// are left to everybody else.
    pub async fn turn_to_report(&self, connections: usize) -> OwnedSemaphorePermit {
        let connections = u32::try_from(connections.min(REPORT_CONNECTIONS)).unwrap_or(u32::MAX);
        let turn = Arc::clone(&self.turns).acquire_many_owned(connections).await;
        turn.unwrap_or_else(|_| unreachable!("nobody closes it"))
    }

    /// How the rows of `ranges` are best found. Where they `are_all` there are, in the order of their accounts, it may be a walk,
    /// if many of all rows are in the ranges: a few accounts tell.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn way_to_rows(&self, ranges: &[(usize, ReportRange)], are_all: bool) -> Result<Way> {
        if !are_all || ranges.is_empty() || ranges.iter().any(|(_, range)| range.after_seq > 0) {
            return Ok(Way::LookedUp);
        }
        let few: Vec<_> = ranges.iter().step_by(ranges.len().div_ceil(ACCOUNTS_COUNTED)).cloned().collect();
        let counting = self.query(COUNTED).bind(asked_of(&few)?).fetch_one();
        let found: i64 = counting.await.while_("counting the rows of a report")?.get(0);
        let all = few.iter().fold(0_i64, |sum, (_, range)| sum.saturating_add(range.last_seq));
        Ok(if all < found.saturating_mul(WALKED_PER_LOOKUP) { Way::Walked } else { Way::LookedUp })
    }

    /// How many ranges are to be read at once. Postgres keeps rows in no order, so that one walk finds those of all.
    #[must_use]
    pub fn ranges_per_read(&self, way: Way) -> usize {
        match (&self.backend, way) {
            (Backend::Postgres { .. }, Way::Walked) => usize::MAX,
            _ => RANGES_PER_READ,
        }
    }

    /// Adds to each account's days what was charged in them, less refunds, by one statement for all.
    ///
    /// The days are asked for as stretches of time, because no database knows where the days of all zones begin as the
    /// calendar does, least of all where an account changed its zone. So each database does what both do alike: it looks up
    /// rows of an account between two instants by an index.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn daily_use(&self, asked: &mut [(AccountId, DailyUse)]) -> Result<()> {
        let ask = |(at, (account_id, daily)): (usize, &(AccountId, DailyUse))| {
            let stretch = |day: &DayUse| Stretch {
                at,
                account_id: account_id.clone(),
                from_at: day.from.micros(),
                to_at: day.to.micros(),
            };
            daily.days().iter().map(stretch).collect::<Vec<_>>()
        };
        let rows = self
            .query(set!(at bigint, account_id text, from_at bigint, to_at bigint =>
                "SELECT v.at, v.from_at, CAST(-sum(t.free_delta + t.purchased_delta) AS BIGINT)
                   FROM v CROSS JOIN transactions AS t
                  WHERE t.account_id = v.account_id AND t.occurred_at >= v.from_at AND t.occurred_at < v.to_at
                    AND t.kind IN ('charge', 'refund')
                  GROUP BY v.at, v.from_at"
            ))
            .bind(json(asked.iter().enumerate().flat_map(ask).collect::<Vec<_>>())?)
            .fetch_all()
            .await
            .while_("summing what was used by day")?;
        for row in &rows {
            if let Some((_, daily)) = usize::try_from(row.get::<i64>(0)).ok().and_then(|at| asked.get_mut(at)) {
                daily.add(Instant::from_micros(row.get(1)), Credits::new(row.get(2)));
            }
        }
        Ok(())
    }
}
