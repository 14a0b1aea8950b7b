//! Runs as a process leaves them, without a job that does something.

use creditd::core::calendar::Instant;
use creditd::core::run::{Batch, End, Run, RunState, Take};
use creditd::store::{RunId, Store, Telling};

/// Begins a run, or begins it again, and takes all of it.
pub async fn take_run(store: &Store, id: RunId, now: Instant) -> Batch {
    if !store.begin_run(id, now).await.expect("a run") {
        let again = |run: &mut Run, _| {
            if run.state != RunState::Running {
                run.begin_again(now);
            }
            ((), None)
        };
        store.change_run(id, again).await.expect("begun again");
    }
    let take = |run: &mut Run, clock| {
        let batch = match run.take("a test", clock, 60) {
            Take::Batch(batch) => Some(batch),
            Take::Find(after) => run.hand_out(after.as_deref(), End::Rest, "a test", clock, 60),
            Take::Wait | Take::Over => None,
        };
        (batch, None)
    };
    store.change_run(id, take).await.expect("a run").flatten().expect("a batch")
}

/// The same, and ends it, well or for a reason.
pub async fn end_run(store: &Store, id: RunId, now: Instant, ended: Result<(), &str>, telling: Option<&Telling>) {
    let Batch { term, .. } = take_run(store, id, now).await;
    let end = |run: &mut Run, _| {
        match ended {
            Ok(()) => {
                run.finish(term, &Default::default(), &[]);
                run.end("so".to_owned(), now);
            }
            Err(why) => assert!(run.fail(term, why.to_owned(), now, None), "it is ours"),
        }
        ((), telling)
    };
    store.change_run(id, end).await.expect("ended");
}
