//! What the parent knows of a ledger whose process was killed: who was answered what, and what may have been asked.

use super::script::{ACCOUNTS, CLIENTS, Line, Said, account_of, calls_of};
use crate::ledger::check_invariants;
use crate::support::{account_id, month};
use creditd::core::calendar::{Instant, Month, parse_zone};
use creditd::core::ids::{AccountId, Key, PURCHASE_KEY_PREFIX};
use creditd::core::ledger::{Call, Grant, Ledger};
use creditd::core::transaction::{Kind, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// What came of the kills, to see that they hit what they should.
#[derive(Debug, Default)]
pub struct Tally {
    pub kills: u32,
    /// Kills before the first answer: while the process started, opened the ledger or did its first batch.
    pub before_any_answer: u32,
    pub answers: usize,
    /// Calls without an answer that are in the ledger: the process was killed between commit and answer.
    pub unheard_but_done: usize,
    /// Calls without an answer that are not.
    pub unheard_and_not_done: usize,
    /// Resets that were done, and those that were under way when the process was killed.
    pub resets: usize,
    pub resets_cut_short: usize,
    /// Answers that were asked for again.
    pub replays: usize,
}

pub struct Truth {
    /// The latest the clock was set to.
    pub now: Instant,
    /// The step of each client.
    pub steps: Vec<u64>,
    /// The calls of these steps without an answer.
    open: Vec<BTreeMap<Key, Call>>,
    /// Everything that was answered.
    said: BTreeMap<(AccountId, Key), (Call, Said)>,
    /// What of it was answered since the last look.
    fresh: Vec<(AccountId, Key)>,
    /// The calls that the last look found in the ledger.
    found: BTreeMap<(AccountId, Key), Said>,
    reset_through: Option<Instant>,
}

impl Truth {
    pub fn new(now: Instant) -> Truth {
        Truth {
            now,
            steps: vec![0; CLIENTS],
            open: (0..CLIENTS).map(|client| open(client, 0)).collect(),
            said: BTreeMap::new(),
            fresh: Vec::new(),
            found: BTreeMap::new(),
            reset_through: None,
        }
    }

    /// Takes note of what the child said before it was killed.
    pub fn hear(&mut self, lines: &[Line], tally: &mut Tally) {
        let answers_before = tally.answers;
        let mut resetting = false;
        for line in lines {
            match line {
                Line::Answer { account, key, said, replayed } => {
                    let at = (account.clone(), key.clone());
                    let is_known = self.found.contains_key(&at) || self.was_done(&at);
                    assert_eq!(*replayed, is_known, "{account} {key}: {said:?} is marked wrong");
                    self.answered(at, said.clone(), tally);
                }
                Line::Resetting(now) => {
                    self.now = self.now.max(*now);
                    resetting = true;
                }
                Line::Reset(now) => {
                    self.reset_through = Some(*now);
                    resetting = false;
                    tally.resets += 1;
                }
            }
        }
        tally.kills += 1;
        tally.before_any_answer += u32::from(tally.answers == answers_before);
        tally.resets_cut_short += usize::from(resetting);
    }

    fn was_done(&self, at: &(AccountId, Key)) -> bool {
        self.said.get(at).is_some_and(|(_, said)| *said != Said::Refused)
    }

    /// Takes note of an answer. One that was given before is given again.
    pub fn answered(&mut self, at: (AccountId, Key), said: Said, tally: &mut Tally) {
        tally.answers += 1;
        if let Some(found) = self.found.get(&at) {
            assert_eq!(said, *found, "{at:?} was found");
        }
        if let Some((_, before)) = self.said.get(&at) {
            assert_eq!(said, *before, "{at:?} was answered before");
            return;
        }
        let client = client_of(&at.1);
        let call = self.open[client].remove(&at.1);
        let call = call.unwrap_or_else(|| panic!("nobody asked for {at:?}"));
        self.said.insert(at.clone(), (call, said));
        self.fresh.push(at);
        if self.open[client].is_empty() {
            self.steps[client] += 1;
            self.open[client] = open(client, self.steps[client]);
        }
    }

    /// What may have been asked and was not answered.
    pub fn unheard(&self) -> Vec<(AccountId, Call)> {
        let of_client = |(client, open): (usize, &BTreeMap<Key, Call>)| {
            open.values().map(move |call| (account_of(client), call.clone())).collect::<Vec<_>>()
        };
        self.open.iter().enumerate().flat_map(of_client).collect()
    }

    /// What was answered since this was asked last.
    pub fn take_fresh(&mut self) -> Vec<(AccountId, Call, Said)> {
        let fresh = std::mem::take(&mut self.fresh).into_iter();
        fresh
            .map(|at| {
                let (call, said) = &self.said[&at];
                (at.0, call.clone(), said.clone())
            })
            .collect()
    }

    /// Compares the whole log, and the ledgers as they are loaded, with what is known.
    pub fn look(&mut self, log: &[(AccountId, Transaction)], loaded: &BTreeMap<AccountId, Ledger>, tally: &mut Tally) {
        self.found.clear();
        for (account, row) in log {
            let Some(key) = &row.key else { continue };
            let twice = self.found.insert((account.clone(), key.clone()), Said::of(row));
            assert_eq!(twice, None, "{account} {key} is there twice");
        }
        for (at, (_, said)) in &self.said {
            match (said, self.found.get(at)) {
                (Said::Refused, found) => assert_eq!(found, None, "{at:?} was refused"),
                (said, found) => assert_eq!(Some(said), found, "{at:?} was answered and is lost or another"),
            }
        }
        let unheard: BTreeSet<_> = self.unheard().into_iter().map(|(id, call)| (id, call.key().clone())).collect();
        for at in self.found.keys().filter(|at| !self.said.contains_key(at)) {
            assert!(unheard.contains(at), "nobody asked for {at:?}");
        }
        let done = unheard.iter().filter(|at| self.found.contains_key(at)).count();
        tally.unheard_but_done += done;
        tally.unheard_and_not_done += unheard.len() - done;
        for (id, zone) in ACCOUNTS {
            let id = account_id(id);
            let rows = log.iter().filter(|(account, _)| *account == id).map(|(_, row)| row.clone());
            let rows: Vec<Transaction> = rows.collect();
            check_account(&id, &rows);
            check_ledger(&loaded[&id], &rows);
            let Some(reset_through) = self.reset_through else { continue };
            let zone = parse_zone(zone).expect("a zone");
            let reached = Month::of(reset_through.in_zone(zone).date_naive());
            assert!(months(&rows).last().is_some_and(|last| *last >= reached), "{id}: the reset of {reached} is lost");
        }
    }
}

fn open(client: usize, step: u64) -> BTreeMap<Key, Call> {
    calls_of(client, step).into_iter().map(|call| (call.key().clone(), call)).collect()
}

/// `c7.2.4` is a call of client 7.
fn client_of(key: &Key) -> usize {
    let name = key.as_str().strip_prefix(PURCHASE_KEY_PREFIX).unwrap_or(key.as_str());
    let client = name.strip_prefix('c').and_then(|name| name.split('.').next()?.parse().ok());
    client.unwrap_or_else(|| panic!("{key} is no client's"))
}

fn months(rows: &[Transaction]) -> Vec<Month> {
    let allocations = rows.iter().filter(|row| row.kind == Kind::Allocation);
    allocations.map(|row| month(row.comment.trim_start_matches("free:"))).collect()
}

/// What the rows of an account say by themselves: each month is opened once and each hold is settled once.
fn check_account(id: &AccountId, rows: &[Transaction]) {
    let mut settled = BTreeSet::new();
    for row in rows.iter().filter(|row| row.kind == Kind::Release) {
        assert!(settled.insert(row.corrects), "{id}: the hold {:?} is settled twice", row.corrects);
    }
    let months = months(rows);
    assert!(months.windows(2).all(|pair| pair[0].next() == pair[1]), "{id}: {months:?}");
}

/// The ledger of an account as it was loaded is what its rows make.
fn check_ledger(loaded: &Ledger, rows: &[Transaction]) {
    let id = &loaded.account.id;
    let made = Ledger::replay(loaded.account.clone(), rows).expect("small sums");
    check_invariants(rows, &made).unwrap_or_else(|error| panic!("{id}: {error}"));
    assert_eq!((loaded.last_seq, loaded.last_recorded_at), (made.last_seq, made.last_recorded_at), "{id}");
    assert_eq!((loaded.balance, loaded.opened_through), (made.balance, made.opened_through), "{id}");
    assert_eq!(loaded.holds, made.holds, "{id}");
    loaded.grants.values().for_each(|grant| assert_eq!(Some(grant), made.grants.get(&grant.id), "{id}"));
    let left_out = |grant: &&Grant| !grant.remaining.is_zero() && !loaded.grants.contains_key(&grant.id);
    assert_eq!(made.grants.values().find(left_out), None, "{id}");
}
