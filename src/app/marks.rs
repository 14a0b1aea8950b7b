//! What the charts of one account show beside the figures: its allowance, its levels, and how long its credits last.

use super::retention::on_whole;
use super::{App, AppError, balance_of};
use crate::core::calendar::{Instant, Month, next_day};
use crate::core::forecast::{DailyUse, ForecastInput};
use crate::core::ids::{AccountId, printable};
use crate::core::ledger::{AccountStatus, Ledger};
use crate::core::statement::{Ahead, DateRange, Grouping, LocalTime, Marks, ReportSpec, Rows, Scope};
use crate::core::transaction::Kind;
use crate::store::Load;
use std::collections::BTreeMap;

impl App {
    /// The marks in the charts of a report of `id` by day; `None` for any other report. The levels are those that are set now:
    /// they are settings, of which no past is kept. With `as_of`, all else is as it was known then.
    ///
    /// # Errors
    /// [`AppError::UnknownAccount`]; others when the store fails or a sum leaves the range of credits.
    pub async fn marks(
        &self,
        id: &AccountId,
        spec: &ReportSpec,
        as_of: Option<Instant>,
    ) -> Result<Option<Marks>, AppError> {
        if spec.grouping() != Grouping::Day || spec.scope() != Scope::Account {
            return Ok(None);
        }
        on_whole!(self, Some(std::slice::from_ref(id)), |app| app.read_marks(id, spec, as_of).await)
    }

    /// What actions are called now, by their codes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn titles(&self) -> Result<BTreeMap<String, String>, AppError> {
        let prices = self.store.prices().await?;
        Ok(prices.iter().map(|action| (action.code.to_string(), printable(&action.title))).collect())
    }

    async fn read_marks(
        &self,
        id: &AccountId,
        spec: &ReportSpec,
        as_of: Option<Instant>,
    ) -> Result<Option<Marks>, AppError> {
        let one = std::slice::from_ref(id);
        let mut ledgers = match as_of {
            Some(at) => self.load_as_of(one, at).await?,
            None => self.store.load(&Load::accounts(one, self.now())).await?.ledgers,
        };
        let record = self.store.accounts(one).await?.into_iter().next();
        let (Some(ledger), Some(record)) = (ledgers.remove(id), record) else {
            return Err(AppError::UnknownAccount(id.clone()));
        };
        let (first, last) = (Month::of(spec.range().from().date()), Month::of(spec.range().last_day()));
        let allowance = ledger.account.calendar.terms_in(last).allowance;
        let levels = record.levels.as_ref().unwrap_or(&self.settings.alerts.levels);
        let levels = levels.ladder(allowance).into_iter().map(|(level, credits)| (level.name().clone(), credits));
        Ok(Some(Marks {
            month: (first == last).then_some(first),
            allowance,
            levels: levels.collect(),
            ahead: self.ahead(&ledger, spec, as_of).await?,
        }))
    }

    /// How the month of the report goes on; `None` when it is not the month in which it is read.
    async fn ahead(
        &self,
        ledger: &Ledger,
        spec: &ReportSpec,
        as_of: Option<Instant>,
    ) -> Result<Option<Ahead>, AppError> {
        let now = spec.as_of();
        let balance = balance_of(ledger, now)?;
        let (calendar, id) = (&ledger.account.calendar, &ledger.account.id);
        let (range, today) = (spec.range(), LocalTime::of(now, calendar).date());
        let is_read_within = Month::of(range.from().date()) == balance.month
            && Month::of(range.last_day()) == balance.month
            && (range.from().date()..=range.to().date()).contains(&today);
        let (true, AccountStatus::Open) = (is_read_within, balance.status) else { return Ok(None) };
        let mut daily = DailyUse::unused(calendar, ledger.account.opened_at, now);
        let since = daily.days().first().map_or(now, |day| day.from);
        let Ok(window) = DateRange::new(calendar.day_of(since), next_day(calendar.day_of(now))) else {
            return Ok(None);
        };
        let (_, rows) = self.report_rows(Some(std::slice::from_ref(id)), window, as_of, &mut |_, _| {}).await?;
        count(&rows, &mut daily);
        let input = ForecastInput {
            calendar,
            daily: &daily,
            now,
            available: balance.available,
            grants: &balance.grants,
            next_reset_at: balance.month_ends_at,
            pack_credits: Some(self.settings.credits.pack_credits),
        };
        Ok(Some(Ahead::new(&input)))
    }
}

/// Counts what was charged, less refunds, on its days.
fn count(rows: &Rows, daily: &mut DailyUse) {
    let uses = rows.iter().filter(|row| matches!(row.kind, Kind::Charge | Kind::Refund));
    uses.for_each(|row| daily.add(row.counts_at, row.delta.total().negated()));
}
