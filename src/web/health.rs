//! `/healthz`: the process lives. `/readyz`: it can do its work.

use super::State;
use crate::jobs::Kit;
use axum::extract;
use axum::http::StatusCode;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant as Moment;

/// The bell rings every few seconds; one that has not for so long will not.
pub(super) const BELL_SILENT_MAX: Duration = Duration::from_secs(60);
/// How long the database may take to say that it is there.
const DATABASE_TIME_MAX: Duration = Duration::from_secs(5);
/// For how long an answer holds, so that asking often costs nothing.
const HOLDS: Duration = Duration::from_secs(2);

/// What was found last, and when. Who asks meanwhile waits for the one who looks.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Moment, Vec<String>)>>);

pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

pub(super) async fn readyz(extract::State(state): extract::State<State>) -> (StatusCode, String) {
    let mut found = state.0.ready.0.lock().await;
    let problems = match &*found {
        Some((at, problems)) if at.elapsed() < HOLDS => problems.clone(),
        _ => {
            let problems = look(&state.0.kit).await;
            *found = Some((Moment::now(), problems.clone()));
            problems
        }
    };
    match problems.is_empty() {
        true => (StatusCode::OK, "ready\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, problems.iter().map(|problem| format!("{problem}\n")).collect()),
    }
}

/// What keeps this process from its work. It is shown to whoever asks, so it names no place and no cause; the log does.
async fn look(kit: &Kit) -> Vec<String> {
    let mut problems = Vec::new();
    match tokio::time::timeout(DATABASE_TIME_MAX, kit.app.store.check()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the database");
            problems.push("the database cannot be used".to_owned());
        }
        Err(_) => problems.push(format!("the database did not answer within {} s", DATABASE_TIME_MAX.as_secs())),
    }
    // What the database did not say is said above.
    if let Ok(Ok(Some(_))) = tokio::time::timeout(DATABASE_TIME_MAX, kit.bad_clock()).await {
        problems.push("the clock cannot be believed, so that no job is run".to_owned());
    }
    match kit.pulse.since_ring() {
        None => problems.push("the bell has not rung yet".to_owned()),
        Some(since) if since > BELL_SILENT_MAX => {
            problems.push(format!("the bell has not rung for {} s", since.as_secs()));
        }
        Some(_) => {}
    }
    problems
}
