//! How an account stands, for its page: what is left, at which level that is, how long it lasts, and this month so far.
//!
//! All of it is true whether or not any job has run (R3). What was used lately is kept between two looks, in quarters of an
//! hour: a look then reads the rows that came since, and takes as long for an account with a million transactions. What nobody has
//! looked at yet the database adds up, some days on each of a few connections.

use super::{App, AppError, Balance, balance_of};
use crate::core::calendar::{Calendar, Instant, Month};
use crate::core::credits::{Credits, Overflow, Split};
use crate::core::forecast::{DailyUse, Forecast, ForecastInput, PATTERN_DAYS, forecast};
use crate::core::ids::{AccountId, LevelName};
use crate::core::ledger::{AccountStatus, Ledger, Refusal};
use crate::core::statement::{
    Adding, DateRange, Grid, Grouping, Outcome, ReportAccount, ReportModel, ReportSpec, Row, Rows, Scope, SumKey,
    assemble,
};
use crate::core::statement::{Name, ReportError};
use crate::core::transaction::{Kind, Transaction};
use crate::store::{AccountRecord, LatelyAsk, LatelySum, Load, StoreError, Way};
use futures_util::future::try_join_all;
use std::collections::BTreeMap;

/// Rows are kept in stretches of so many microseconds: no zone's days begin within one.
const QUARTER_US: i64 = 15 * 60 * 1_000_000;
/// Connections that read at once what nobody has looked at yet.
const PIECES: i64 = 4;
/// Rows that are walked over, whether or not all of them are of the time; of more, those of the time are looked up.
const WALKED_ROWS_MAX: i64 = 200_000;
/// What lies further back than the longest month and the days of a forecast is let go once it has grown to so many days.
const KEPT_DAYS_MAX: i64 = 70;

/// How an account stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What it has.
    pub balance: Balance,
    /// The most advanced level that this is at or below, in credits; none while it is above all, or not open.
    pub level: Option<(LevelName, Credits)>,
    /// How long that lasts.
    pub forecast: Forecast,
    /// This month so far, as one period.
    pub month: ReportModel,
}

/// What happened in an account lately, kept for the next look at it.
#[derive(Clone, Debug, Default)]
pub struct Lately {
    /// Everything from here on is in it.
    from: Option<Instant>,
    /// The last row that is.
    through_seq: i64,
    /// By quarter of an hour, kind and outcome.
    sums: BTreeMap<(i64, u8, u8), (Split, u64)>,
}

impl Lately {
    /// How much room it takes, in sums.
    #[must_use]
    pub fn size(&self) -> usize {
        self.sums.len()
    }

    fn add(&mut self, some: &LatelySum) -> Result<(), Overflow> {
        let key = (some.begins_at.micros().div_euclid(QUARTER_US), some.kind as u8, some.outcome as u8);
        let (sum, count) = self.sums.entry(key).or_insert((Split::ZERO, 0));
        *sum = sum.plus(some.delta)?;
        *count += some.count;
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = (Row, u64)> {
        self.sums.iter().filter_map(|((quarter, kind, outcome), (delta, count))| {
            let kind = *Kind::ALL.get(usize::from(*kind))?;
            let outcome = *Outcome::ALL.get(usize::from(*outcome))?;
            let counts_at = Instant::from_micros(quarter.saturating_mul(QUARTER_US));
            Some((Row { account: 0, counts_at, kind, outcome, name: Name::NONE, delta: *delta }, *count))
        })
    }
}

impl App {
    /// How the account of `record` stands now. `lately` is what a look before left, or nothing; it is brought up to date.
    ///
    /// # Errors
    /// [`AppError`] when the store fails or a sum leaves the range of credits.
    pub async fn standing(&self, record: &AccountRecord, lately: &mut Lately) -> Result<Standing, AppError> {
        let (now, id) = (self.now(), &record.account.id);
        let unknown = || AppError::UnknownAccount(id.clone());
        let mut ledgers = self.store.load(&Load::accounts([id], now)).await?.ledgers;
        let mut ledger = ledgers.remove(id).ok_or_else(unknown)?;
        let last_seq = ledger.last_seq;
        ledger.roll_over(now, now)?;
        let balance = balance_of(&ledger, now)?;
        let calendar = ledger.account.calendar.clone();
        self.bring_up(lately, id, &calendar, balance.month, last_seq).await?;
        let overflow = |source| Refusal::Overflow { account: id.clone(), source };
        let quarter = Instant::from_micros(now.micros().div_euclid(QUARTER_US).saturating_mul(QUARTER_US));
        let mut daily = DailyUse::unused(&calendar, ledger.account.opened_at, quarter);
        for (row, _) in lately.iter().filter(|(row, _)| matches!(row.kind, Kind::Charge | Kind::Refund)) {
            daily.add(row.counts_at, row.delta.total().negated());
        }
        let forecast = forecast(&ForecastInput {
            calendar: &calendar,
            daily: &daily,
            now: quarter,
            available: balance.available,
            grants: &balance.grants,
            next_reset_at: balance.month_ends_at,
            pack_credits: Some(self.settings.credits.pack_credits),
        });
        let is_open = balance.status == AccountStatus::Open && ledger.account.opened_at <= now;
        let levels = record.levels.as_ref().unwrap_or(&self.settings.alerts.levels);
        let mut reached = levels.ladder(balance.allowance).into_iter();
        let reached = reached.rfind(|(_, threshold)| is_open && balance.available.total() <= *threshold);
        let level = reached.map(|(level, threshold)| (level.name().clone(), threshold));
        let month = month_of(&ledger, lately, balance.month, now).map_err(|error| match error {
            ReportError::Overflow(source) => AppError::from(overflow(source)),
            error => StoreError::from(error).into(),
        })?;
        Ok(Standing { balance, level, forecast, month })
    }

    /// Reads what is missing in `lately`, up to the row `last_seq`.
    async fn bring_up(
        &self,
        lately: &mut Lately,
        id: &AccountId,
        calendar: &Calendar,
        month: Month,
        last_seq: i64,
    ) -> Result<(), AppError> {
        let now = self.now();
        let needed = calendar.month_start(month).min(now.plus_days(-PATTERN_DAYS));
        let needed = Instant::from_micros(needed.micros().div_euclid(QUARTER_US).saturating_mul(QUARTER_US));
        let is_kept = lately.from.is_some_and(|from| from <= needed && now.plus_days(-KEPT_DAYS_MAX) <= from);
        if !is_kept || last_seq < lately.through_seq {
            *lately = Lately { from: Some(needed), ..Lately::default() };
        }
        if lately.through_seq < last_seq {
            let begin = lately.from.unwrap_or(needed);
            // What occurred since was recorded since; of what was told late, most may have occurred before.
            let after_seq = match lately.through_seq {
                0 => self.store.recorded_before(id, begin, last_seq).await?.0,
                seq => seq,
            };
            let whole = LatelyAsk {
                from: begin,
                to: Instant::MAX,
                after_seq,
                last_seq,
                way: Way::Walked,
                stretch_us: QUARTER_US,
                begin,
            };
            let asked: Vec<LatelyAsk> = if last_seq - after_seq <= WALKED_ROWS_MAX {
                let by_number = |(after_seq, last_seq)| LatelyAsk { after_seq, last_seq, ..whole };
                pieces(after_seq, last_seq).map(by_number).collect()
            } else {
                let instant = Instant::from_micros;
                let by_time =
                    |(from, to)| LatelyAsk { from: instant(from), to: instant(to), way: Way::LookedUp, ..whole };
                // The last has no end: another process may know what is later than now here.
                let last = LatelyAsk { from: now.max(begin), way: Way::LookedUp, ..whole };
                pieces(begin.micros(), now.micros()).map(by_time).chain([last]).collect()
            };
            for sums in try_join_all(asked.into_iter().map(|asked| self.store.lately(id, asked))).await? {
                for some in &sums {
                    lately.add(some).map_err(|source| Refusal::Overflow { account: id.clone(), source })?;
                }
            }
            lately.through_seq = last_seq;
        }
        Ok(())
    }
}

/// From one number to another, in pieces that are read by a connection each; none is empty.
fn pieces(from: i64, to: i64) -> impl Iterator<Item = (i64, i64)> {
    let length = to.saturating_sub(from);
    let at = move |piece: i64| if piece == PIECES { to } else { from + length / PIECES * piece };
    (0..PIECES).map(move |piece| (at(piece), at(piece + 1))).filter(|(from, to)| from < to)
}

/// This month so far: what happened in it, and what was there before by what is there now.
fn month_of(ledger: &Ledger, lately: &Lately, month: Month, now: Instant) -> Result<ReportModel, ReportError> {
    let (account, range) = (&ledger.account, DateRange::of_month(month)?);
    let spec = ReportSpec::new("This month", range, Grouping::Range, Scope::Account, now)?;
    let mut accounts =
        [ReportAccount { id: account.id.clone(), calendar: account.calendar.clone(), opening: Split::ZERO }];
    let grid = Grid::new(&spec, &accounts)?;
    let unwritten = ledger.rows().iter().map(|row| (row_of(row), 1));
    let (mut adding, mut changed) = (Adding::default(), Split::ZERO);
    for (row, count) in lately.iter().chain(unwritten) {
        if let Some(place) = grid.place_of(&row)? {
            adding.add(SumKey::new(place, row.kind, row.outcome), row.delta, count)?;
        }
        if account.calendar.month_start(month) <= row.counts_at {
            changed = changed.plus(row.delta)?;
        }
    }
    accounts[0].opening = Split {
        free: ledger.balance.free.minus(changed.free)?,
        purchased: ledger.balance.purchased.minus(changed.purchased)?,
    };
    assemble(&spec, &accounts, &Rows::default(), &grid, &adding.finish()?)
}

fn row_of(row: &Transaction) -> Row {
    Row {
        account: 0,
        counts_at: row.kind.counts_at(row.occurred_at),
        kind: row.kind,
        outcome: Outcome::of(row.kind, row.status, row.reason),
        name: Name::NONE,
        delta: row.delta,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Pieces join without a gap.
        #[test]
        fn pieces_are_the_whole(from in 0_i64..1_000_000, length in -5_i64..100) {
            let mut at = from;
            for (begin, end) in pieces(from, from + length) {
                prop_assert_eq!(begin, at);
                prop_assert!(begin < end);
                at = end;
            }
            prop_assert_eq!(at, from + length.max(0));
        }
    }
}
