//! Tells the operator's monitoring over the web that a run of a job began, was done or failed, in the manner of
//! healthchecks.io: whoever misses such a ping for too long raises the alarm, also when creditd itself is gone.
//!
//! A ping is said and forgotten: a task for each job sends its pings one after the other, each bounded in time, and what does
//! not fit into its queue is dropped. So no job ever waits for one or fails by one, and an address where nobody answers holds
//! up no other. Whoever has an address can ping it, so addresses are in no log.

use crate::core::causes::with_causes;
use crate::core::schedule::Job;
use crate::core::secret::Secret;
use crate::core::transaction::words;
use reqwest::{Client, Url};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio::task::JoinSet;

/// Pings of a job that wait to be sent. Two every ten seconds are usual.
const QUEUE_MAX: usize = 20;
/// The longest that a try takes.
const TRY_TIME_MAX: Duration = Duration::from_secs(5);
/// Tries of one ping.
const TRIES_MAX: u32 = 3;
/// The pause between two.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a process that ends waits for what is still to be sent.
const FAREWELL: Duration = Duration::from_secs(5);
/// Services of this kind answer directly or send to another name once.
const REDIRECTS_MAX: usize = 3;

words! {
    /// What happened to a run.
    Event {
        /// It began.
        Began = "start",
        /// It was done.
        Done = "success",
        /// It failed.
        Failed = "fail",
    }
}

/// Why pings cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// The address is none.
    #[error("jobs.ping: the address for {0} is no web address; see `creditd config show`")]
    Address(Job),
    /// The client cannot be made.
    #[error("jobs.ping: pings cannot be sent: {0}")]
    Client(reqwest::Error),
}

/// Who is told of runs.
#[derive(Debug)]
pub struct Pinger {
    queues: BTreeMap<Job, Sender<Event>>,
    sending: JoinSet<()>,
}

impl Pinger {
    /// Begins to send pings to these addresses; `None` when there are none. To be called within a runtime.
    ///
    /// # Errors
    /// [`PingError`].
    pub fn start<'a>(addresses: impl IntoIterator<Item = (Job, &'a Secret)>) -> Result<Option<Pinger>, PingError> {
        let mut urls = BTreeMap::new();
        for (job, address) in addresses {
            let url = Url::parse(address.expose()).ok().filter(|url| !url.cannot_be_a_base());
            urls.insert(job, url.ok_or(PingError::Address(job))?);
        }
        if urls.is_empty() {
            return Ok(None);
        }
        let client = Client::builder()
            .user_agent(concat!("creditd/", env!("CARGO_PKG_VERSION")))
            .timeout(TRY_TIME_MAX)
            .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
            .build()
            .map_err(PingError::Client)?;
        let (mut queues, mut sending) = (BTreeMap::new(), JoinSet::new());
        for (job, url) in urls {
            let (queue, waiting) = channel(QUEUE_MAX);
            queues.insert(job, queue);
            sending.spawn(send_all(client.clone(), job, url, waiting));
        }
        Ok(Some(Pinger { queues, sending }))
    }

    /// Says what happened to a run of `job`, at once and without waiting for anybody.
    pub fn tell(&self, job: Job, event: Event) {
        let Some(queue) = self.queues.get(&job) else { return };
        if let Err(TrySendError::Full(_)) = queue.try_send(event) {
            tracing::warn!(%job, %event, "too many pings wait to be sent; this one is left out");
        }
    }

    /// Sends what waits, for a few seconds at most.
    pub async fn finish(self) {
        let Pinger { queues, mut sending } = self;
        drop(queues);
        let all_sent = async { while sending.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all_sent).await.is_err() {
            // What is dropped is ended.
            tracing::warn!("pings were still waiting to be sent; they are left out");
        }
    }
}

async fn send_all(client: Client, job: Job, url: Url, mut waiting: Receiver<Event>) {
    let mut is_failing = false;
    while let Some(event) = waiting.recv().await {
        match send(&client, url_of(&url, event)).await {
            Ok(()) if is_failing => {
                is_failing = false;
                tracing::info!(%job, "pings are taken again");
            }
            Ok(()) => {}
            // Once: a monitoring that is away for an hour would fill the log.
            Err(why) if !is_failing => {
                is_failing = true;
                tracing::warn!(%job, %event, why, "a ping could not be sent; jobs go on");
            }
            Err(why) => tracing::debug!(%job, %event, why, "a ping could not be sent"),
        }
    }
}

/// The address for an event: its word behind the path, but for success, which has none.
fn url_of(url: &Url, event: Event) -> Url {
    let mut url = url.clone();
    if event != Event::Done
        && let Ok(mut path) = url.path_segments_mut()
    {
        path.pop_if_empty().push(event.as_str());
    }
    url
}

/// What went wrong is said without the address.
async fn send(client: &Client, url: Url) -> Result<(), String> {
    let mut why = String::new();
    for attempt in 0..TRIES_MAX {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match client.get(url.clone()).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            // It would be the same answer again.
            Ok(answer) if answer.status().is_client_error() => {
                return Err(format!("the answer was {}", answer.status()));
            }
            Ok(answer) => why = format!("the answer was {}", answer.status()),
            Err(error) => why = with_causes(&error.without_url()),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_behind_the_path() {
        let url = |text: &str, event| url_of(&Url::parse(text).expect("a url"), event).to_string();
        assert_eq!(url("https://hc.example/uuid", Event::Began), "https://hc.example/uuid/start");
        assert_eq!(url("https://hc.example/uuid/?create=1", Event::Failed), "https://hc.example/uuid/fail?create=1");
        assert_eq!(url("https://hc.example/uuid", Event::Done), "https://hc.example/uuid");
    }
}
