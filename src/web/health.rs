//! `/healthz`: the process lives. `/readyz`: it can do its work. And whether there is a database to wait for.

use super::State;
use crate::jobs::Kit;
use axum::extract;
use axum::http::StatusCode;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant as Moment;

/// The bell rings every few seconds; one that has not for so long will not.
pub(super) const BELL_SILENT_MAX: Duration = Duration::from_secs(60);
/// How long the database may take for all that it is asked.
const DATABASE_TIME_MAX: Duration = Duration::from_secs(5);
/// How often it is looked at whether the database is there, in the time that an answer may take: each time after three seconds, and
/// for three at most, so that whoever waits for one that is not there hears so before most clients give up.
const LOOKS_PER_ANSWER: u32 = 10;
/// For how long an answer holds, so that asking often costs nothing.
const HOLDS: Duration = Duration::from_secs(2);

/// What was found last, and when. Who asks meanwhile waits for the one who looks.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Moment, Vec<String>)>>);

/// Whether the database could be connected to, and when that was found. Whoever asks meanwhile waits for the one who looks.
#[derive(Debug, Default)]
pub(super) struct Reach(Mutex<Option<(Moment, bool)>>);

/// Ends once the database cannot be connected to, which is looked at now and then while an answer is waited for. One that is there
/// and has much to do is waited for as long as answers are.
pub(super) async fn database_is_gone(state: &State) {
    let pause = state.0.answer_time_max / LOOKS_PER_ANSWER;
    loop {
        tokio::time::sleep(pause).await;
        let mut found = state.0.reach.0.lock().await;
        let is_there = match *found {
            Some((at, is_there)) if at.elapsed() < pause => is_there,
            _ => {
                let is_there = state.0.kit.app.store.is_reachable(pause).await;
                *found = Some((Moment::now(), is_there));
                is_there
            }
        };
        if !is_there {
            return;
        }
    }
}

pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

pub(super) async fn readyz(extract::State(state): extract::State<State>) -> (StatusCode, String) {
    let mut found = state.0.ready.0.lock().await;
    let problems = match &*found {
        Some((at, problems)) if at.elapsed() < HOLDS => problems.clone(),
        _ => {
            let problems = look(&state).await;
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
async fn look(state: &State) -> Vec<String> {
    let kit = &state.0.kit;
    let silent = || format!("the database did not answer within {} s", DATABASE_TIME_MAX.as_secs());
    let problem = tokio::select! {
        problem = ask_database(kit) => problem,
        () = database_is_gone(state) => Some("the database cannot be reached".to_owned()),
        () = tokio::time::sleep(DATABASE_TIME_MAX) => Some(silent()),
    };
    let mut problems = Vec::from_iter(problem);
    match kit.pulse.since_ring() {
        None => problems.push("the bell has not rung yet".to_owned()),
        Some(since) if since > BELL_SILENT_MAX => {
            problems.push(format!("the bell has not rung for {} s", since.as_secs()));
        }
        Some(_) => {}
    }
    problems
}

/// What is wrong with the database, or with the clock as it sees it.
async fn ask_database(kit: &Kit) -> Option<String> {
    if let Err(error) = kit.app.store.check().await {
        tracing::warn!(%error, "not ready: the database");
        return Some("the database cannot be used".to_owned());
    }
    match kit.bad_clock().await {
        Ok(Some(_)) => Some("the clock cannot be believed, so that no job is run".to_owned()),
        // What it says to the first, it says to the next who asks.
        Ok(None) | Err(_) => None,
    }
}
