//! What is read for statements, one batch after the other, so that one can be read while another is worded.

use super::wanted::{Wanted, reported_on, whom};
use super::{ACCOUNTS_AT_ONCE, ACCOUNTS_LOOKED_AT, Reported};
use crate::app::Stated;
use crate::core::calendar::{Instant, Month};
use crate::core::ids::AccountId;
use crate::core::ledger::AccountStatus;
use crate::core::webhook::{Event, EventKind, Facts};
use crate::jobs::{JobError, Kit};
use crate::store::AccountRecord;
use chrono_tz::Tz;
use std::collections::{BTreeSet, VecDeque};

/// Reads the accounts of a span batch by batch: who wants a statement, and what stands in it.
pub(super) struct Batches<'a> {
    kit: &'a Kit,
    reported: Reported,
    zone: Tz,
    after: Option<AccountId>,
    until: Option<AccountId>,
    /// Who was found and is in no batch yet.
    wanted: VecDeque<Wanted>,
    /// Whether webhooks are told of months that are over.
    tells: bool,
    seen: u64,
    there: u64,
}

/// A batch to be worded as of `now`.
pub(super) struct Batch {
    pub(super) wanted: Vec<Wanted>,
    pub(super) stated: Vec<Stated>,
    pub(super) now: Instant,
}

impl<'a> Batches<'a> {
    /// Those of accounts behind the first mark, up to and including the second. Where it `tells`, events for webhooks are
    /// written for all of them.
    pub(super) fn new(
        kit: &'a Kit,
        reported: Reported,
        zone: Tz,
        (after, until): (Option<AccountId>, Option<AccountId>),
        tells: bool,
    ) -> Batches<'a> {
        Batches { kit, reported, zone, after, until, wanted: VecDeque::new(), tells, seen: 0, there: 0 }
    }

    /// How many accounts were looked at.
    pub(super) const fn seen(&self) -> u64 {
        self.seen
    }

    /// How many statements were there already.
    pub(super) const fn there(&self) -> u64 {
        self.there
    }

    /// The next batch, which is not empty.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, JobError> {
        let (kit, reported, zone) = (self.kit, self.reported, self.zone);
        let now = kit.app.now();
        while self.wanted.is_empty() {
            let store = &kit.app.store;
            let (after, until) = (self.after.as_ref(), self.until.as_ref());
            let ids = store.accounts_in_zone(zone, after, until, ACCOUNTS_LOOKED_AT).await?;
            let Some(last) = ids.last().cloned() else { return Ok(None) };
            let records = reported_on(kit, &ids, reported, zone, now).await?;
            if let (true, Reported::Month(month)) = (self.tells, reported) {
                store.write_events(&events(kit, &records, month, now).await?, now).await?;
            }
            let (wanted, known) = whom(kit, records, reported).await?;
            self.wanted.extend(wanted);
            self.there += known;
            self.seen += ids.len() as u64;
            self.after = Some(last);
        }
        let wanted: Vec<Wanted> = self.wanted.drain(..self.wanted.len().min(ACCOUNTS_AT_ONCE)).collect();
        Ok(Some(Batch { stated: stated(kit, &wanted, reported).await?, wanted, now }))
    }
}

/// What stands in the statements of `wanted`.
pub(super) async fn stated(kit: &Kit, wanted: &[Wanted], reported: Reported) -> Result<Vec<Stated>, JobError> {
    let ids: Vec<AccountId> = wanted.iter().map(|wanted| wanted.record.account.id.clone()).collect();
    Ok(kit.app.statements(&ids, reported.range()?).await?)
}

/// What the platform's own programs are told of accounts whose month is over: that its statement can be read, and that the next
/// has begun, where one has.
async fn events(kit: &Kit, records: &[AccountRecord], month: Month, now: Instant) -> Result<Vec<Event>, JobError> {
    let ids: Vec<AccountId> = records.iter().map(|record| record.account.id.clone()).collect();
    let balances = kit.app.balances(&ids).await?;
    let open: BTreeSet<&AccountId> = balances
        .iter()
        .filter(|balance| balance.status == AccountStatus::Open)
        .map(|balance| &balance.account)
        .collect();
    let mut events = Vec::new();
    for AccountRecord { account, .. } in records {
        let calendar = &account.calendar;
        let event = |kind, month: Month| Event {
            account: account.id.clone(),
            kind,
            about: month.to_string(),
            at: now,
            facts: Facts::Month {
                month,
                from: calendar.month_start(month).to_string(),
                to: calendar.month_end(month).to_string(),
                allowance: calendar.terms_in(month).allowance,
            },
        };
        events.push(event(EventKind::StatementReady, month));
        if open.contains(&account.id) {
            events.push(event(EventKind::MonthReset, month.next()));
        }
    }
    Ok(events)
}
