//! `/metrics`: what Prometheus collects, in its text form, which every collector knows.
//!
//! Counters are of this process. Gauges are of the ledger, so every replica says the same; they are asked for when somebody
//! collects, in bounded time, and hold for some seconds, so that collecting cannot load the ledger.
//!
//! A job's label is `job_name`: `job` is Prometheus's own.

use super::State;
use super::health::database_is_gone;
use crate::app::Health;
use crate::core::alert::Levels;
use crate::core::calendar::Instant;
use crate::core::run::RunState;
use crate::core::schedule::Job;
use crate::jobs::Kit;
use axum::extract;
use axum::http::header;
use axum::response::IntoResponse;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant as Moment;

/// For how long what the ledger said holds.
const HOLDS: Duration = Duration::from_secs(30);
/// How long the ledger may take to say it.
const TIME_MAX: Duration = Duration::from_secs(8);
/// What the exposition says that it is.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Of runs in hand those that nobody is at, as a label, which has no spaces.
const HANDED_BACK: &str = "handed_back";

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// What was found last, and when; `None` where the ledger did not say. Who collects meanwhile waits for the one who asks.
#[derive(Default)]
pub(super) struct Metrics(Mutex<Option<(Moment, Option<Arc<Health>>)>>);

pub(super) async fn metrics(extract::State(state): extract::State<State>) -> impl IntoResponse {
    let kit = &state.0.kit;
    let health = {
        let mut found = state.0.metrics.0.lock().await;
        match &*found {
            Some((at, health)) if at.elapsed() < HOLDS => health.clone(),
            _ => {
                let health = ask(&state).await;
                *found = Some((Moment::now(), health.clone()));
                health
            }
        }
    };
    ([(header::CONTENT_TYPE, TEXT)], text(kit, health.as_deref()))
}

async fn ask(state: &State) -> Option<Arc<Health>> {
    let answer = tokio::select! {
        answer = state.0.kit.app.health() => Some(answer),
        () = database_is_gone(state) => None,
        () = tokio::time::sleep(TIME_MAX) => None,
    };
    match answer {
        Some(Ok(health)) => Some(Arc::new(health)),
        Some(Err(error)) => {
            tracing::warn!(%error, "the ledger could not be asked for its metrics");
            None
        }
        None => {
            tracing::warn!("the ledger did not answer in time for its metrics");
            None
        }
    }
}

fn text(kit: &Kit, health: Option<&Health>) -> String {
    let mut registry = Registry::with_prefix("creditd");
    of_process(&mut registry, kit, health.is_some());
    if let Some(health) = health {
        of_ledger(&mut registry, health, &kit.app.settings.alerts.levels, kit.app.now());
    }
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = encode(&mut text, &registry);
    plain_text(&text)
}

/// OpenMetrics as text of Prometheus: there a counter is described under the name that its samples have, and nothing marks the end.
fn plain_text(open_metrics: &str) -> String {
    let lines: Vec<&str> = open_metrics.lines().filter(|line| *line != "# EOF").collect();
    let is_counter = |name: &str| lines.contains(&format!("# TYPE {name} counter").as_str());
    let plain = |line: &&str| match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
        ["#", what @ ("HELP" | "TYPE"), name, rest] if is_counter(name) => format!("# {what} {name}_total {rest}\n"),
        _ => format!("{line}\n"),
    };
    lines.iter().map(plain).collect()
}

/// What is known without asking anybody.
fn of_process(registry: &mut Registry, kit: &Kit, database_is_up: bool) {
    let build = gauge(registry, "build_info", "The version of this process");
    set(&build, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    plain(registry, "database_up", "Whether the ledger answered just now", if database_is_up { 1.0 } else { 0.0 });
    if let Some(since) = kit.pulse.since_ring() {
        plain(registry, "bell_age_seconds", "How long ago the bell rang that jobs wait for", since.as_secs_f64());
    }
    let charges = Family::<Labels, Counter>::default();
    for (outcome, count) in kit.app.charges() {
        charges.get_or_create(&vec![("outcome", outcome.to_string())]).inc_by(count);
    }
    registry.register("charges", "Charges that came to this process, by what came of them", charges);
    let (runs, time) = (Family::<Labels, Counter>::default(), Family::<Labels, Counter<f64, AtomicU64>>::default());
    for ((job, end), (count, took)) in kit.pulse.runs() {
        let labels = vec![("job_name", job.to_string()), ("end", end.to_string())];
        runs.get_or_create(&labels).inc_by(count);
        time.get_or_create(&labels).inc_by(took.as_secs_f64());
    }
    registry.register("runs", "Runs of jobs that ended in this process", runs);
    registry.register("run_seconds", "How long these runs took together", time);
}

/// What the ledger says.
fn of_ledger(registry: &mut Registry, health: &Health, levels: &Levels, now: Instant) {
    let figures = &health.figures;
    let done_at = gauge(registry, "job_last_success_timestamp_seconds", "When a run of the job was last done");
    let took = gauge(registry, "job_last_run_seconds", "How long the run took that ended last");
    let failing = gauge(registry, "job_failing", "Whether the run of the job that ended last failed");
    for job in Job::ALL {
        let stands = figures.jobs.get(job).copied().unwrap_or_default();
        let labels = [("job_name", job.as_str())];
        set(&failing, &labels, if stands.failed || stands.failing_since.is_some() { 1.0 } else { 0.0 });
        if let Some(at) = stands.done_at {
            set(&done_at, &labels, seconds(at.micros()));
        }
        if let Some(micros) = stands.took_us {
            set(&took, &labels, seconds(micros));
        }
    }
    let runs = gauge(
        registry,
        "runs_recorded",
        "Runs that the ledger has on record, by state; handed_back are running ones that nobody is at",
    );
    for (job, state) in Job::ALL.iter().flat_map(|job| RunState::ALL.iter().map(move |state| (job, state))) {
        let count = figures.runs.get(&(*job, *state)).copied().unwrap_or(0);
        let handed_back = figures.handed_back.get(job).copied().unwrap_or(0);
        let count = if *state == RunState::Running { count.saturating_sub(handed_back) } else { count };
        set(&runs, &[("job_name", job.as_str()), ("state", state.as_str())], number(count));
        if *state == RunState::Running {
            set(&runs, &[("job_name", job.as_str()), ("state", HANDED_BACK)], number(handed_back));
        }
    }
    let messages = gauge(
        registry,
        "outbox_messages",
        "Messages that are not delivered: they wait, were given up, or are in doubt",
    );
    for (state, count) in [("pending", figures.waiting), ("failed", figures.failed), ("ambiguous", figures.ambiguous)] {
        set(&messages, &[("state", state)], number(count));
    }
    plain(
        registry,
        "outbox_oldest_due_seconds",
        "For how long the message is due that is due longest",
        figures.waiting_since.map_or(0.0, |since| seconds(now.micros() - since.micros())).max(0.0),
    );
    plain(registry, "suppressed_addresses", "Addresses that get no mail", number(figures.suppressed));
    plain(registry, "webhook_events_waiting", "Events for webhooks that wait", number(figures.events_waiting));
    plain(
        registry,
        "webhook_oldest_due_seconds",
        "For how long the event for a webhook is due that is due longest",
        figures.events_waiting_since.map_or(0.0, |since| seconds(now.micros() - since.micros())).max(0.0),
    );
    plain(registry, "webhook_events_failed", "Events for webhooks that were given up", number(figures.events_failed));
    let stopped = number(figures.webhooks_stopped);
    plain(registry, "webhooks_stopped", "Addresses of webhooks that get no events, as they answered 410", stopped);
    let alerts = gauge(registry, "open_alerts", "Alerts of accounts that are open, by level");
    // A level at which nobody is stays a line at 0, and not a gap.
    for level in levels.as_slice() {
        set(&alerts, &[("level", level.name().as_str())], 0.0);
    }
    for (level, count) in &figures.alerts {
        set(&alerts, &[("level", level)], number(*count));
    }
    let verify = figures.jobs.get(&Job::Verify).copied().unwrap_or_default();
    plain(
        registry,
        "verify_drift",
        "Whether the last proof of the ledger failed",
        if verify.failed { 1.0 } else { 0.0 },
    );
    if let Some(days) = health.unsealed_days {
        plain(
            registry,
            "sealed_lag_seconds",
            "How much time of days that are over is not in sealed files yet",
            number(days * 86_400),
        );
    }
    plain(
        registry,
        "clock_skew_seconds",
        "How far this machine's clock is ahead of the database's",
        seconds(health.clock_skew_us),
    );
    if let Some(newest) = figures.newest_row_at {
        plain(
            registry,
            "newest_row_timestamp_seconds",
            "When the newest row of the ledger was recorded",
            seconds(newest.micros()),
        );
    }
    let free = gauge(registry, "disk_free_bytes", "Bytes that are free where creditd writes");
    for (name, _, bytes) in &health.folders {
        if let Some(bytes) = bytes {
            set(&free, &[("folder", name)], number(*bytes));
        }
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauges {
    let gauges = Gauges::default();
    registry.register(name, help, gauges.clone());
    gauges
}

/// A gauge without labels.
fn plain(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn set(gauges: &Gauges, labels: &[(&'static str, &str)], value: f64) {
    let labels: Labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    gauges.get_or_create(&labels).set(value);
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats; a microsecond less in a century does not matter")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats; beyond 2^53 nobody counts")]
fn number(count: u64) -> f64 {
    count as f64
}
