//! `webhooks`: posts events to the addresses that want them, and records what came of each (Standard Webhooks).
//!
//! Events for one address are posted one after the other, in the order in which they happened as far as all goes well; those
//! for others go on beside it. One that failed comes later than younger ones: what is newer, `timestamp` in an event says. An address
//! that does not answer a few times is left alone for a while, and one that is slow holds up nobody else. What a process that dies, or is held up for
//! longer than a lease, had posted and not recorded is posted again, with the same id.

use super::in_hand::{AskedAt, InHand};
use super::{Done, JobError, Kit, Problem, Run};
use crate::config::WebhookSettings;
use crate::core::calendar::Instant;
use crate::core::counting::counted;
use crate::core::delivery::{Breaker, retry_at};
use crate::core::webhook::{Event, EventKind, Facts};
use crate::post::{Posted, Poster};
use crate::store::{EventKey, HookEvent, HookNext, HookTry, Webhook};
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Sender, channel, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant as Moment, timeout};
use tokio_util::sync::CancellationToken;

/// Events leased at once.
const LEASE_EVENTS: usize = 200;
/// For how long of those that were leased at once new ones are begun: then they are leased anew, with the address as it is by then.
const ROUND: Duration = Duration::from_secs(60);
/// Addresses that are posted to at once. While so many are slow, others wait.
const AT_ONCE: usize = 64;
/// Old events that are forgotten at once, and how often in a run.
const FORGOTTEN_AT_ONCE: usize = 1_000;
const FORGOTTEN_ROUNDS: usize = 10;

/// Which addresses are left alone, by what this process has seen of them.
#[derive(Debug, Default)]
pub struct Breakers(Mutex<BTreeMap<String, Breaker>>);

impl Breakers {
    fn all<T>(&self, look: impl FnOnce(&mut BTreeMap<String, Breaker>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those that are left alone at `now`.
    pub fn resting(&self, now: Instant) -> Vec<String> {
        let rests = |(id, breaker): (&String, &Breaker)| breaker.rests_until(now).map(|_| id.clone());
        self.all(|all| all.iter().filter_map(rests).collect())
    }

    fn answered(&self, id: &str) {
        self.all(|all| all.remove(id));
    }

    /// It did not, or wants to be left alone for so many seconds.
    fn failed(&self, id: &str, now: Instant) -> bool {
        self.all(|all| all.entry(id.to_owned()).or_default().failed(now))
    }
}

/// Posts what is due.
///
/// # Errors
/// [`JobError`] when the ledger fails or there can be no client.
pub async fn run(kit: &Kit, run: &mut Run<'_>) -> Result<Done, JobError> {
    run.check_stop()?;
    let store = &kit.app.store;
    if run.dry_run {
        let due = store.due_events(kit.app.now(), &[], LEASE_EVENTS).await?;
        let mut done = Done::default();
        due.iter().for_each(|event| done.line(format!("post {} of {} to {}", event.id, event.account, event.webhook)));
        done.summary = format!("{} to post now", counted(due.len() as u64, "event"));
        return Ok(done);
    }
    let poster = poster(&kit.app.settings.webhooks)?;
    let (mut tally, in_hand) = (Tally::default(), InHand::nothing(kit, &kit.events_in_hand));
    in_hand.extended(store, post_due(kit, run, &poster, &in_hand, &mut tally)).await?;
    // Others go on with what is left.
    run.check_stop()?;
    let before = kit.app.now().plus_days(-kit.app.settings.webhooks.keep_days);
    for _ in 0..FORGOTTEN_ROUNDS {
        if run.stop.is_cancelled() || store.forget_events(before, FORGOTTEN_AT_ONCE).await? == 0 {
            break;
        }
    }
    Ok(tally.done())
}

/// Leases, posts and records until nothing is due, or the process is to stop. What is in hand of an address is posted before more of
/// it is leased; whatever comes for others meanwhile goes on beside it.
async fn post_due(
    kit: &Kit,
    run: &mut Run<'_>,
    poster: &Poster,
    in_hand: &InHand<EventKey>,
    tally: &mut Tally,
) -> Result<(), JobError> {
    let (store, stop, places) = (&kit.app.store, &run.stop.clone(), &Semaphore::new(AT_ONCE));
    let (tell, mut told) = channel(AT_ONCE);
    let (give, mut given) = unbounded_channel();
    let (free, mut freed) = unbounded_channel();
    let leasing = async move {
        let (mut busy, mut ended) = (BTreeSet::new(), Ok(()));
        loop {
            if ended.is_ok() && !stop.is_cancelled() && busy.len() < AT_ONCE {
                let (asked, now) = (AskedAt::now(), kit.app.now());
                let others: Vec<String> = kit.breakers.resting(now).into_iter().chain(busy.iter().cloned()).collect();
                let leased = store.lease_events(&in_hand.lease, now, &others, LEASE_EVENTS).await;
                // What is in hand is posted and recorded all the same.
                let leased = leased.unwrap_or_else(|error| {
                    ended = Err(error.into());
                    Vec::new()
                });
                let mut queues: BTreeMap<String, (Webhook, Vec<HookEvent>)> = BTreeMap::new();
                for (event, webhook) in leased {
                    if in_hand.take(event.key(), asked) {
                        queues.entry(webhook.id.clone()).or_insert_with(|| (webhook, Vec::new())).1.push(event);
                    }
                }
                for (id, (webhook, events)) in queues {
                    let queue = Queue { kit, poster, webhook, in_hand, places, until: asked.moment + ROUND, stop };
                    // It is posted as long as this goes on.
                    let _ = give.send(queue.post_all(events, tell.clone()));
                    busy.insert(id);
                }
            }
            if busy.is_empty() {
                return ended;
            }
            // Others may have events by the next bell, which nobody else hears meanwhile.
            let bell = Duration::from_secs(kit.app.settings.jobs.bell_seconds.into());
            if let Ok(Some(id)) = timeout(bell, freed.recv()).await {
                busy.remove(&id);
                while let Ok(id) = freed.try_recv() {
                    busy.remove(&id);
                }
            }
        }
    };
    let posting = async {
        stream::poll_fn(|context| given.poll_recv(context)).for_each_concurrent(None, |queue| queue).await;
        Ok(())
    };
    let recording = async {
        // As soon as the database is free, whatever has come together until then.
        let mut news = Vec::new();
        while told.recv_many(&mut news, LEASE_EVENTS).await > 0 {
            let (mut tries, mut recorded, mut over) = (Vec::new(), Vec::new(), Vec::new());
            for one in news.drain(..) {
                match one {
                    Told::Try(one, done) => {
                        tries.push(one);
                        recorded.push(done);
                    }
                    Told::Over(webhook) => over.push(webhook),
                }
            }
            if !tries.is_empty() {
                let keys = tries.iter().map(|one: &HookTry| one.event.key());
                in_hand.settle(keys, || store.record_tries(&tries, kit.app.now())).await?;
            }
            // Whoever has gone meanwhile waits for nothing.
            recorded.into_iter().for_each(|done| _ = done.send(()));
            tries.iter().for_each(|one| tally.add(one));
            (run.progress)(tally.sent, None);
            // Whoever has leased nothing more listens no more.
            over.into_iter().for_each(|webhook| drop(free.send(webhook)));
        }
        Ok::<(), JobError>(())
    };
    tokio::try_join!(leasing, posting, recording).map(drop)
}

/// What posts, as the settings say.
fn poster(settings: &WebhookSettings) -> Result<Poster, JobError> {
    let timeout = Duration::from_secs(settings.timeout_seconds);
    Poster::new(settings.allow_private, timeout).map_err(|error| JobError::Poster(error.to_string()))
}

/// What is told of a queue.
enum Told {
    /// What came of an event, and who waits until that is recorded.
    Try(HookTry, oneshot::Sender<()>),
    /// All of this address was told.
    Over(String),
}

/// The events of one address.
struct Queue<'a> {
    kit: &'a Kit,
    poster: &'a Poster,
    webhook: Webhook,
    in_hand: &'a InHand<EventKey>,
    /// One for each event that is being posted; whoever waits longest comes next.
    places: &'a Semaphore,
    until: Moment,
    stop: &'a CancellationToken,
}

impl Queue<'_> {
    /// Posts them in turn, until the address does not answer, it is to be asked anew who has a turn, or the process is to stop. Tells
    /// of each.
    async fn post_all(self, events: Vec<HookEvent>, tell: Sender<Told>) {
        let mut is_over = false;
        for event in events {
            let place = if is_over { None } else { self.places.acquire().await.ok() };
            is_over |= self.stop.is_cancelled() || Moment::now() >= self.until || !self.in_hand.is_ours(&event.key());
            let next = if is_over { HookNext::Untried } else { self.post(&event).await };
            drop(place);
            // Whoever comes behind what failed is not posted now either: it would fail as well, most of the time.
            is_over |= !matches!(next, HookNext::Sent(_));
            let is_posted = !matches!(next, HookNext::Untried);
            let told = HookTry { event, lease: self.in_hand.lease.name.clone(), next };
            let (done, is_recorded) = oneshot::channel();
            // So no more than one leaves twice where the database is away for longer than a lease, or the process dies.
            if tell.send(Told::Try(told, done)).await.is_err() || (is_posted && is_recorded.await.is_err()) {
                return;
            }
        }
        // Nobody listens where what came of them could not be recorded.
        let _ = tell.send(Told::Over(self.webhook.id)).await;
    }

    async fn post(&self, event: &HookEvent) -> HookNext {
        let Queue { kit, poster, webhook, .. } = self;
        let seconds = kit.app.now().micros().div_euclid(1_000_000);
        let posted = poster.post(&webhook.url, &webhook.secret, &event.id, seconds, &event.body).await;
        let now = kit.app.now();
        let failed = |why: String, wait: Option<i64>| {
            kit.breakers.failed(&webhook.id, now);
            match retry_at(event.attempts, event.since, now) {
                Some(at) => HookNext::Again(why, at.max(now.plus_seconds(wait.unwrap_or(0)))),
                None => HookNext::Failed(why),
            }
        };
        match posted {
            Posted::Taken(status) => {
                kit.breakers.answered(&webhook.id);
                HookNext::Sent(status.to_string())
            }
            Posted::Gone => HookNext::Gone("410: it wants no more".to_owned()),
            Posted::Refused { status, retry_after } => failed(format!("the answer was {status}"), retry_after),
            Posted::Unanswered(why) => failed(why, None),
        }
    }
}

#[derive(Default)]
struct Tally {
    sent: u64,
    again: u64,
    failed: u64,
    gone: u64,
    problems: Vec<Problem>,
}

impl Tally {
    fn add(&mut self, one: &HookTry) {
        let (count, why) = match &one.next {
            HookNext::Sent(_) => {
                let (account, event) = (&one.event.account, &one.event.id);
                tracing::debug!(%account, event, webhook = one.event.webhook, "an event was posted");
                (&mut self.sent, None)
            }
            HookNext::Untried => return,
            HookNext::Again(why, at) => (&mut self.again, Some(format!("{why}; again at {at}"))),
            HookNext::Failed(why) => (&mut self.failed, Some(format!("{why}; given up"))),
            HookNext::Gone(why) => {
                (&mut self.gone, Some(format!("{why}; it gets no more, unless `creditd webhook retry`")))
            }
        };
        *count += 1;
        if let Some(why) = why.filter(|_| self.problems.len() < super::PLAN_LINES_MAX) {
            let what = format!("{} for {}: {why}", one.event.id, one.event.webhook);
            self.problems.push(Problem::of(&one.event.account, what));
        }
    }

    fn done(self) -> Done {
        let Tally { sent, again, failed, gone, problems } = self;
        let mut summary = format!("{} posted, {} given up", counted(sent, "event"), failed + gone);
        if again > 0 {
            summary.push_str(&format!(", {again} to be tried again"));
        }
        Done { summary, problems, ..Done::default() }
    }
}

/// Posts one event to see that it arrives; says what came of it. Nothing is recorded.
///
/// # Errors
/// [`JobError`] when there can be no client.
pub async fn test(kit: &Kit, webhook: &Webhook) -> Result<Posted, JobError> {
    let now = kit.app.now();
    let account = webhook.account.clone().map_or_else(|| crate::core::ids::AccountId::new("test"), Ok);
    let event = Event {
        account: account.map_err(|error| JobError::Poster(error.to_string()))?,
        kind: EventKind::Test,
        about: now.to_string(),
        at: now,
        facts: Facts::Test { message: "This is a test: nothing happened." },
    };
    let body = event.body().map_err(|error| JobError::Poster(error.to_string()))?;
    let poster = poster(&kit.app.settings.webhooks)?;
    Ok(poster.post(&webhook.url, &webhook.secret, &event.id(), now.micros().div_euclid(1_000_000), &body).await)
}
