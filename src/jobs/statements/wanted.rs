//! Whom a statement is for: the admins of an account who want it, each with what is known of versions that were written before.

use super::{FIRST_VERSION, Reported};
use crate::core::calendar::Instant;
use crate::core::ids::{AccountId, Email};
use crate::core::outbox::NoticeKey;
use crate::core::statement::Said;
use crate::jobs::{JobError, Kit};
use crate::store::{AccountRecord, Admin, Known, Store, StoreError, Version};
use chrono_tz::Tz;
use std::collections::BTreeMap;

/// An account with the admins who may get this statement.
pub(super) struct Wanted {
    pub(super) record: AccountRecord,
    /// Each with what is known of versions that were written before.
    pub(super) admins: Vec<(Admin, Knows)>,
    /// What was said so far, oldest first.
    pub(super) versions: Vec<Version>,
}

/// The numbers of the last versions that were written to an admin, by what has become of them.
#[derive(Clone, Default)]
pub(super) struct Knows {
    pub(super) told: Option<u32>,
    pub(super) in_hand: Option<u32>,
    /// With its key.
    pub(super) waiting: Option<NoticeKey>,
    pub(super) put_aside: Option<u32>,
}

impl Knows {
    const fn is_nothing(&self) -> bool {
        !self.is_to_be_told() && self.put_aside.is_none()
    }

    /// Whether something is told or will be, so that a change of it matters.
    const fn is_to_be_told(&self) -> bool {
        self.told.is_some() || self.in_hand.is_some() || self.waiting.is_some()
    }
}

impl Wanted {
    /// The number of the version that says `said`: the last one, where nothing has changed since.
    pub(super) fn version_of(&self, said: &Said) -> u32 {
        match self.versions.last() {
            None => FIRST_VERSION,
            Some(last) if last.said == *said => last.number,
            Some(last) => last.number.saturating_add(1),
        }
    }

    /// Whether the last that was or will be said to somebody who knows this, or is not to be, is `said`.
    pub(super) fn has_said(&self, knows: &Knows, said: &Said) -> bool {
        let waiting = knows.waiting.as_ref().map(NoticeKey::version);
        let last = knows.told.max(knows.in_hand).max(waiting).max(knows.put_aside);
        last.and_then(|number| self.said_by(number)).as_ref() == Some(said)
    }

    pub(super) fn said_by(&self, number: u32) -> Option<Said> {
        self.versions.iter().find(|version| version.number == number).map(|version| version.said)
    }
}

/// The accounts of `ids` whose period this was and has ended; in a backfill those of them that were asked for.
pub(super) async fn reported_on(
    kit: &Kit,
    ids: &[AccountId],
    reported: Reported,
    zone: Tz,
    now: Instant,
) -> Result<Vec<AccountRecord>, StoreError> {
    let is_asked = |id: &&AccountId| match &kit.asked {
        Some(asked) => asked.accounts.is_empty() || asked.accounts.contains(id),
        None => true,
    };
    let ids: Vec<AccountId> = ids.iter().filter(is_asked).cloned().collect();
    let mut records = kit.app.store.accounts(&ids).await?;
    records.retain(|record| {
        let account = &record.account;
        let (_, to) = reported.bounds(&account.calendar);
        reported.zone_in(&account.calendar) == zone && account.opened_at < to && to <= now
    });
    Ok(records)
}

/// Those of `records` with admins who want the statement and were sent none. In a backfill of months also those who were, perhaps
/// something else; what a day said is not kept. And how many admins are left alone.
pub(super) async fn whom(
    kit: &Kit,
    records: Vec<AccountRecord>,
    reported: Reported,
) -> Result<(Vec<Wanted>, u64), JobError> {
    let compares = kit.asked.is_some() && matches!(reported, Reported::Month(_));
    let mut wanted = readers(&kit.app.store, records, reported).await?;
    let mut left_alone = 0;
    for one in &mut wanted {
        let all = one.admins.len();
        one.admins.retain(|(_, knows)| knows.is_nothing() || compares && knows.is_to_be_told());
        left_alone += (all - one.admins.len()) as u64;
    }
    wanted.retain(|one| !one.admins.is_empty());
    Ok((wanted, left_alone))
}

/// Accounts with the admins who were told.
pub(super) async fn told(store: &Store, ids: &[AccountId], reported: Reported) -> Result<Vec<Wanted>, JobError> {
    let mut wanted = readers(store, store.accounts(ids).await?, reported).await?;
    wanted.iter_mut().for_each(|one| one.admins.retain(|(_, knows)| knows.is_to_be_told()));
    wanted.retain(|one| !one.admins.is_empty());
    Ok(wanted)
}

/// Accounts with all admins who want such statements.
async fn readers(store: &Store, records: Vec<AccountRecord>, reported: Reported) -> Result<Vec<Wanted>, JobError> {
    let mut versions = match reported {
        Reported::Month(month) => {
            let ids: Vec<AccountId> = records.iter().map(|record| record.account.id.clone()).collect();
            store.statement_versions(&ids, month).await?
        }
        Reported::Day(_) => BTreeMap::new(),
    };
    let wanted = |record: AccountRecord| {
        let admins = record
            .admins
            .iter()
            .filter(|admin| reported.is_wanted_by(admin))
            .map(|admin| (admin.clone(), Knows::default()));
        Wanted { admins: admins.collect(), versions: versions.remove(&record.account.id).unwrap_or_default(), record }
    };
    let mut all: Vec<Wanted> = records.into_iter().map(wanted).collect();
    // Any key of a statement stands for all of its versions and recipients.
    let any_of = |one: &Wanted| {
        let (admin, _) = one.admins.first()?;
        Some(reported.key(&one.record.account.id, admin, FIRST_VERSION))
    };
    let any_of: Vec<NoticeKey> = all.iter().filter_map(any_of).collect();
    let mut known: BTreeMap<(AccountId, Email), Knows> = BTreeMap::new();
    for (key, of) in store.known_statements(&any_of).await? {
        let Some(account) = key.account() else { continue };
        let knows = known.entry((account.clone(), key.recipient().clone())).or_default();
        let version = Some(key.version());
        match of {
            Known::Told => knows.told = knows.told.max(version),
            Known::InHand => knows.in_hand = knows.in_hand.max(version),
            Known::PutAside => knows.put_aside = knows.put_aside.max(version),
            // Of two, the later one took the place of the other.
            Known::Waiting if knows.waiting.as_ref().map(NoticeKey::version) < version => knows.waiting = Some(key),
            Known::Waiting => {}
        }
    }
    for Wanted { record, admins, .. } in &mut all {
        for (admin, knows) in admins {
            *knows = known.get(&(record.account.id.clone(), admin.email.clone())).cloned().unwrap_or_default();
        }
    }
    Ok(all)
}
