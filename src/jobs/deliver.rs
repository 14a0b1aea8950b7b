//! `deliver`: takes messages from the outbox to where they go, and records what came of each (DESIGN 6).
//!
//! A few deliverers work side by side on messages that were leased; what each of them did is recorded as soon as the
//! database is free, whatever has come together until then in one go. What a process that dies, or is held up for longer than a
//! lease, had delivered and not recorded is delivered again, with the same Message-ID.
//!
//! What a server refuses for good is believed once it has taken another message, or when the run is over. Where several addresses
//! were refused since it last took one, the server is at fault, and none of them.

use super::in_hand::{AskedAt, InHand};
use super::{Done, JobError, Kit, PLAN_LINES_MAX, Problem, Run};
use crate::core::calendar::Instant;
use crate::core::counting::counted;
use crate::core::delivery::{Fault, Next, Tried, after_failure, after_refusing_everybody, refuses_everybody};
use crate::core::ids::Email;
use crate::core::outbox::{Message, NoticeKey};
use crate::mail::MailError;
use crate::store::{Delivery, OutboxRecord};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::Instant as Moment;

/// Messages leased at once: their bodies are in memory, and the deliverers have enough to do until there are more.
const LEASE_MESSAGES: usize = 100;
/// For how long of those that were leased at once new ones are begun: where a server is slow, an alert that has come since waits no longer.
const ROUND: Duration = Duration::from_secs(60);
/// Messages of each deliverer that may have left without being recorded, that at hand included. So few leave twice where the database
/// is away for longer than a lease, or the process dies.
const UNRECORDED_PER_DELIVERER: usize = 2;
/// Most messages that were given up and are taken back at once. They are to a few addresses, so it takes thousands to one to have more.
const TAKEN_BACK_MAX: usize = 10_000;

/// Delivers what is due.
///
/// # Errors
/// [`JobError::NotDelivered`] when the server does not take mail at all; others when the ledger fails.
pub async fn run(kit: &Kit, run: &mut Run<'_>) -> Result<Done, JobError> {
    run.check_stop()?;
    if run.dry_run {
        return plan(kit).await;
    }
    let mut crew = Crew::hire(kit);
    let (mut tally, in_hand) = (Tally::default(), Arc::clone(&crew.foreman.in_hand));
    let all = async {
        let done = work(kit, run, &mut crew, &mut tally).await;
        // Whatever went wrong, what was delivered meanwhile is recorded if it can be.
        crew.halt();
        (done, record_rest(kit, &mut crew, &mut tally).await)
    };
    let (done, rest) = in_hand.extended(&kit.app.store, all).await;
    crew.go().await;
    kit.mailer.finish().await;
    if tally.refuses_everybody {
        // Those that were on their way had answers, too.
        kit.breaker().rest(kit.app.now());
    }
    done.and(rest)?;
    if run.stop.is_cancelled() && tally.untried > 0 {
        return Err(JobError::Stopped);
    }
    match (tally.halted.is_none(), tally.server_failed.take()) {
        (true, Some(why)) if tally.sent == 0 => tally.halted = Some((Fault::Server, why)),
        (true, Some(why)) => tally.done.problems.push(format!("{why}; messages wait for it").into()),
        _ => {}
    }
    match tally.halted.take() {
        Some((fault, why)) => {
            let summary = tally.summary();
            Err(JobError::NotDelivered { fault, why, summary, problems: tally.done.problems })
        }
        None => Ok(Done { summary: tally.summary(), proves_nothing: !tally.is_proved, ..tally.done }),
    }
}

async fn plan(kit: &Kit) -> Result<Done, JobError> {
    let mut done = Done::default();
    let due = kit.app.store.due_messages(kit.app.now(), LEASE_MESSAGES).await?;
    due.iter().for_each(|record| done.line(format!("deliver {}", record.message.key.name())));
    let now = counted(due.len() as u64, "message");
    done.summary = match due.len() {
        LEASE_MESSAGES => format!("{now} to deliver now; more may follow"),
        _ => format!("{now} to deliver now"),
    };
    Ok(done)
}

/// Leases, hands out and records until nothing is due, the server is found not to work, or the process is to stop.
async fn work(kit: &Kit, run: &mut Run<'_>, crew: &mut Crew, tally: &mut Tally) -> Result<(), JobError> {
    let store = &kit.app.store;
    let mut more = true;
    loop {
        let is_over = tally.halted.is_some() || run.stop.is_cancelled();
        if more && !is_over && crew.in_hand <= LEASE_MESSAGES / 2 {
            let (asked, lease) = (AskedAt::now(), &crew.foreman.in_hand.lease);
            let leased = store.lease_messages(lease, kit.app.now(), LEASE_MESSAGES, kit.per_minute()).await?;
            more = leased.more && !leased.limited;
            tally.suppressed += leased.suppressed;
            tally.unwished += leased.unwished;
            tally.superseded += leased.superseded;
            tally.is_limited |= leased.limited;
            if !leased.records.is_empty() && !crew.foreman.is_told.swap(true, Ordering::Relaxed) {
                let before = store.refused_since_delivery(kit.app.now(), TAKEN_BACK_MAX).await?;
                crew.foreman.refused().extend(before.iter().map(|key| key.recipient().clone()));
            }
            let of_one = |one: &OutboxRecord, next: &OutboxRecord| one.message.key.is_in_order_with(&next.message.key);
            leased.records.chunk_by(of_one).for_each(|records| crew.give(records, asked));
            continue;
        }
        if is_over {
            crew.halt();
        }
        if crew.in_hand == 0 {
            return Ok(());
        }
        let ended = tokio::select! {
            ended = crew.ended() => ended,
            // Whoever is at a message ends it; the next one is not begun.
            () = run.stop.cancelled(), if !is_over => continue,
        };
        let is_late = |one: &Ended| one.result.is_none() && Moment::now() > one.errand.begin_by;
        let is_given_back = ended.iter().any(is_late);
        // One that was written meanwhile waited for it.
        more |= ended.iter().any(|one| one.result.is_some() && one.errand.record.message.key.kind().is_of_levels());
        record(kit, &crew.foreman.in_hand, ended, tally).await?;
        if is_given_back && !is_over && !tally.is_limited {
            // They are leased again, in their order among what has come since.
            (more, tally.untried) = (true, 0);
        }
        (run.progress)(tally.sent + tally.failed, None);
    }
}

async fn record_rest(kit: &Kit, crew: &mut Crew, tally: &mut Tally) -> Result<(), JobError> {
    while crew.in_hand > 0 {
        let ended = crew.ended().await;
        record(kit, &crew.foreman.in_hand, ended, tally).await?;
    }
    // Too few to blame the server.
    let known = tally.believe(kit.app.now());
    settle(kit, &crew.foreman.in_hand, &known).await
}

async fn record(kit: &Kit, in_hand: &InHand<NoticeKey>, ended: Vec<Ended>, tally: &mut Tally) -> Result<(), JobError> {
    let now = kit.app.now();
    let mut known = Vec::with_capacity(ended.len());
    for Ended { errand, result, halts } in ended {
        let next = match result {
            None => Next::Untried,
            Some(Ok(to)) => {
                if !errand.record.message.key.kind().is_about_a_job() {
                    tally.is_proved = true;
                    // Once it refuses everybody, nothing that it takes makes a refusal true.
                    if !tally.refuses_everybody {
                        known.append(&mut tally.believe(now));
                    }
                }
                Next::Sent { to }
            }
            Some(Err(error)) if error.fault().is_for_good() => {
                tally.refuses_everybody |= halts;
                tally.refused.push((errand, error));
                continue;
            }
            Some(Err(error)) => {
                if halts && tally.halted.is_none() {
                    tally.halted = Some((error.fault(), error.to_string()));
                } else if error.fault() == Fault::Server {
                    tally.server_failed = Some(error.to_string());
                }
                after_failure(errand.tried(now), error.fault(), error.to_string())
            }
        };
        known.push(tally.end(errand, next));
    }
    doubt(kit, tally, &mut known).await?;
    settle(kit, in_hand, &known).await
}

async fn settle(kit: &Kit, in_hand: &InHand<NoticeKey>, known: &[Delivery]) -> Result<(), JobError> {
    let keys = known.iter().map(|delivery| delivery.key.clone());
    Ok(in_hand.settle(keys, || kit.app.store.record_deliveries(known, kit.app.now())).await?)
}

/// Blames the server for what it refused for good, where the deliverers found that it refuses everybody: in this run, and in those
/// before, what they believed included.
async fn doubt(kit: &Kit, tally: &mut Tally, known: &mut Vec<Delivery>) -> Result<(), JobError> {
    let now = kit.app.now();
    let Some((_, last)) = tally.refused.last() else { return Ok(()) };
    if !tally.refuses_everybody {
        if tally.refused.len() >= LEASE_MESSAGES {
            known.append(&mut tally.believe(now));
        }
        return Ok(());
    }
    if tally.halted.is_none() {
        tally.halted = Some((
            Fault::Settings,
            format!(
                "the mail server refuses everybody: address after address for good, and no message taken in between but what is \
                 said of jobs; the last: {last}. Look at [mail] and at what the server lets us do. No address is suppressed for it"
            ),
        ));
        if !tally.is_proved {
            let before = kit.app.store.refused_since_delivery(now, TAKEN_BACK_MAX).await?;
            kit.app.store.take_back_refusals(&before, now).await?;
        }
    }
    for (errand, error) in std::mem::take(&mut tally.refused) {
        let next = after_refusing_everybody(errand.tried(now), &error.to_string());
        known.push(tally.end(errand, next));
    }
    Ok(())
}

/// Says in the log what came of a message. Why one did not leave is said of the run; here it is which.
fn log(message: &Message, next: &Next) {
    let key = &message.key;
    let outcome = match next {
        Next::Sent { .. } => "delivered",
        Next::Again { .. } => "not delivered, tried again",
        Next::Failed { .. } => "given up",
        Next::Ambiguous { .. } => "perhaps delivered",
        Next::Untried => return,
    };
    let account = key.account().map(tracing::field::display);
    tracing::debug!(account, notice = key.name(), outcome, "a message was tried");
}

/// What a run came to.
#[derive(Default)]
struct Tally {
    done: Done,
    sent: u64,
    failed: u64,
    again: u64,
    ambiguous: u64,
    suppressed: u64,
    unwished: u64,
    superseded: u64,
    untried: u64,
    is_limited: bool,
    /// Why no more is tried.
    halted: Option<(Fault, String)>,
    /// How the server failed last, as it may now and then.
    server_failed: Option<String>,
    /// What was refused for good since a message was taken, and is not believed yet.
    refused: Vec<(Errand, MailError)>,
    /// Whether no refusal is to be believed.
    refuses_everybody: bool,
    /// Whether the server took a message for somebody, besides what is said of jobs to those who run creditd.
    is_proved: bool,
}

impl Tally {
    /// What becomes of messages that were refused for good, if the server is right.
    fn believe(&mut self, now: Instant) -> Vec<Delivery> {
        let refused = std::mem::take(&mut self.refused);
        let end = |(errand, error): (Errand, MailError)| {
            let next = after_failure(errand.tried(now), error.fault(), error.to_string());
            self.end(errand, next)
        };
        refused.into_iter().map(end).collect()
    }

    fn end(&mut self, errand: Errand, next: Next) -> Delivery {
        self.add(&errand.record, &next);
        log(&errand.record.message, &next);
        Delivery { key: errand.record.message.key, lease: errand.lease, next }
    }

    fn add(&mut self, record: &OutboxRecord, next: &Next) {
        let name = record.message.key.name();
        let mut problem = |text: String| {
            if self.done.problems.len() < PLAN_LINES_MAX {
                let account = record.message.key.account().cloned();
                self.done.problems.push(Problem { account, what: format!("{name}: {text}") });
            }
        };
        match next {
            Next::Sent { to } => {
                self.sent += 1;
                self.done.line(format!("{name} -> {to}"));
            }
            Next::Again { error, at } => {
                self.again += 1;
                problem(format!("{error}; again at {at}"));
            }
            Next::Failed { error, suppress } => {
                self.failed += 1;
                let address = if *suppress { ", and its address gets no more mail" } else { "" };
                problem(format!("{error}; given up{address}"));
            }
            Next::Ambiguous { error } => {
                self.ambiguous += 1;
                problem(format!(
                    "{error}; it may have been delivered. `creditd outbox retry` sends it again, `creditd outbox cancel` does not"
                ));
            }
            Next::Untried => self.untried += 1,
        }
    }

    fn summary(&self) -> String {
        let mut summary = format!("{} delivered, {} failed", counted(self.sent, "message"), self.failed);
        for (count, what) in [
            (self.again, "to be tried again"),
            (self.ambiguous, "perhaps delivered"),
            (self.suppressed, "to suppressed addresses"),
            (self.unwished, "not wished any more"),
            (self.superseded, "superseded by later ones"),
            (self.untried, "not tried"),
        ] {
            if count > 0 {
                summary.push_str(&format!(", {count} {what}"));
            }
        }
        if self.is_limited {
            summary.push_str("; the limit per minute keeps more back");
        }
        summary
    }
}

/// A message that a deliverer is to deliver.
struct Errand {
    record: OutboxRecord,
    lease: Arc<str>,
    /// Later it is given back.
    begin_by: Moment,
}

impl Errand {
    fn tried(&self, at: Instant) -> Tried {
        let OutboxRecord { message, attempts, pending_since, .. } = &self.record;
        Tried { kind: message.key.kind(), attempts: *attempts, pending_since: *pending_since, at }
    }
}

/// What came of it; nothing where it was not tried.
struct Ended {
    errand: Errand,
    result: Option<Result<String, MailError>>,
    /// Whether nothing more is to be tried.
    halts: bool,
}

/// What the deliverers of a run know of each other.
struct Foreman {
    kit: Kit,
    in_hand: Arc<InHand<NoticeKey>>,
    /// How many more may be begun before what came of others is recorded.
    unrecorded: Semaphore,
    is_halted: AtomicBool,
    /// Addresses refused for good since a message was taken, in the runs before as well once those are told.
    refused: std::sync::Mutex<BTreeSet<Email>>,
    is_told: AtomicBool,
}

impl Foreman {
    /// What a result says about the server. True when it is to be left alone from now on.
    fn heeds(&self, key: &NoticeKey, result: &Result<String, MailError>) -> bool {
        let (mut breaker, now) = (self.kit.breaker(), self.kit.app.now());
        let halts = match result.as_ref().map_err(MailError::fault) {
            Ok(_) => {
                breaker.answered();
                if !key.kind().is_about_a_job() {
                    self.refused().clear();
                }
                false
            }
            Err(Fault::Passing) => {
                breaker.answered();
                false
            }
            Err(Fault::Address | Fault::Message) => {
                breaker.answered();
                let mut refused = self.refused();
                refused.insert(key.recipient().clone());
                refuses_everybody(&refused)
            }
            Err(Fault::Server | Fault::Broken | Fault::Unknown) => breaker.failed(now),
            Err(Fault::Settings) => {
                breaker.rest(now);
                true
            }
        };
        self.is_halted.fetch_or(halts, Ordering::Relaxed);
        halts
    }

    fn refused(&self) -> MutexGuard<'_, BTreeSet<Email>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The deliverers of one run.
struct Crew {
    give: UnboundedSender<Vec<Errand>>,
    ended: UnboundedReceiver<Ended>,
    in_hand: usize,
    /// What was told of and is being recorded.
    told: usize,
    foreman: Arc<Foreman>,
    deliverers: JoinSet<()>,
}

impl Crew {
    fn hire(kit: &Kit) -> Crew {
        let (give, errands) = unbounded_channel();
        let (tell, ended) = unbounded_channel();
        let errands = Arc::new(Mutex::new(errands));
        let foreman = Arc::new(Foreman {
            kit: kit.at(kit.app.clone()),
            in_hand: Arc::new(InHand::nothing(kit, &kit.messages_in_hand)),
            unrecorded: Semaphore::new(kit.mailer.at_once() * UNRECORDED_PER_DELIVERER),
            is_halted: AtomicBool::new(false),
            refused: std::sync::Mutex::default(),
            is_told: AtomicBool::new(false),
        });
        let mut deliverers = JoinSet::new();
        for _ in 0..kit.mailer.at_once() {
            deliverers.spawn(deliver_all(Arc::clone(&foreman), Arc::clone(&errands), tell.clone()));
        }
        Crew { give, ended, in_hand: 0, told: 0, foreman, deliverers }
    }

    /// Gives messages that were leased, for which was asked at `asked`, to whoever is free, one after the other. What comes behind one that
    /// is still in hand of a run before is not for this one either.
    fn give(&mut self, records: &[OutboxRecord], asked: AskedAt) {
        let in_hand = &self.foreman.in_hand;
        let errand = |record: &OutboxRecord| Errand {
            record: record.clone(),
            lease: Arc::clone(&in_hand.lease.name),
            begin_by: asked.moment + ROUND,
        };
        let is_taken = |record: &&OutboxRecord| in_hand.take(record.message.key.clone(), asked);
        let errands: Vec<Errand> = records.iter().take_while(is_taken).map(errand).collect();
        let count = errands.len();
        // Deliverers end only when the crew does.
        if count > 0 && self.give.send(errands).is_ok() {
            self.in_hand += count;
        }
    }

    /// Nothing new is begun any more.
    fn halt(&self) {
        self.foreman.is_halted.store(true, Ordering::Relaxed);
    }

    /// Waits for the end of an errand; returns all that have ended by then. Those of the last time are recorded.
    async fn ended(&mut self) -> Vec<Ended> {
        self.foreman.unrecorded.add_permits(std::mem::take(&mut self.told));
        let mut ended = Vec::new();
        if self.ended.recv_many(&mut ended, LEASE_MESSAGES).await == 0 {
            self.in_hand = 0;
        }
        self.in_hand -= ended.len();
        self.told = ended.len();
        ended
    }

    async fn go(self) {
        drop(self.give);
        self.deliverers.join_all().await;
    }
}

async fn deliver_all(
    foreman: Arc<Foreman>,
    errands: Arc<Mutex<UnboundedReceiver<Vec<Errand>>>>,
    tell: UnboundedSender<Ended>,
) {
    loop {
        let Some(all) = errands.lock().await.recv().await else { return };
        for errand in all {
            // The crew gives it back once it is recorded.
            let Ok(()) = foreman.unrecorded.acquire().await.map(SemaphorePermit::forget) else { return };
            let is_late = Moment::now() > errand.begin_by;
            let result = match is_late || foreman.is_halted.load(Ordering::Relaxed) {
                true => None,
                false => deliver_one(&foreman, &errand.record).await.transpose(),
            };
            let halts = result.as_ref().is_some_and(|result| foreman.heeds(&errand.record.message.key, result));
            let ended = Ended { errand, result, halts };
            if tell.send(ended).is_err() {
                return;
            }
        }
    }
}

/// In a task of its own, so that a panic ends the delivery and not the deliverer. Nothing where the message is another's by now.
async fn deliver_one(foreman: &Foreman, record: &OutboxRecord) -> Result<Option<String>, MailError> {
    let (mailer, message) = (foreman.kit.mailer.clone(), record.message.clone());
    let in_hand = Arc::clone(&foreman.in_hand);
    let result = tokio::spawn(async move { mailer.deliver(&message, &|| in_hand.is_ours(&message.key)).await }).await;
    result.unwrap_or_else(|error| Err(MailError::Panic { why: error.to_string() }))
}
