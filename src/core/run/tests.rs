//! Cases and properties of runs.

use super::*;
use proptest::prelude::*;

fn at(seconds: i64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn taken(run: &mut Run, holder: &str, clock: i64, end: End) -> Option<Batch> {
    match run.take(holder, at(clock), 20) {
        Take::Batch(batch) => Some(batch),
        Take::Find(after) => run.hand_out(after.as_deref(), end, holder, at(clock), 20),
        Take::Wait | Take::Over => None,
    }
}

#[test]
fn a_batch_is_ones_until_the_lease_ends_and_then_under_a_greater_term() {
    let mut run = Run::begin(at(0));
    let first = taken(&mut run, "ann", 0, End::Rest).expect("all of it");
    assert_eq!((first.span.clone(), first.term), (Span::WHOLE, 1));
    assert!(run.holds(1, at(19)) && !run.holds(1, at(20)), "half-open");
    assert!(run.extend(1, at(19), 20) && run.holds(1, at(38)));
    assert_eq!(taken(&mut run, "bob", 38, End::Rest), None);
    let second = taken(&mut run, "bob", 39, End::Rest).expect("what Ann left lying");
    assert_eq!((second.term, second.deaths), (2, 1));
    assert!(!run.extend(1, at(40), 20) && !run.holds(1, at(40)), "Ann was too late");
    run.finish(1, &Tally::default(), &[]);
    assert!(!run.fail(1, "no disk".into(), at(40), None), "it is not hers to say");
    assert!(!run.is_all_done());
    run.finish(2, &Tally::default(), &[]);
    assert!(run.is_all_done());
}

#[test]
fn what_a_process_has_left_is_lost_until_another_takes_it() {
    let mut run = Run::begin(at(0));
    let (span, rest) = (|n: &str| End::At(n.to_owned()), End::Rest);
    let first = taken(&mut run, "ann", 0, span("m")).expect("the first half");
    let second = taken(&mut run, "bob", 5, rest).expect("the second half");
    assert!(!run.is_lost(at(19)) && run.is_lost(at(20)), "Ann's lease is over, Bob's is not");
    let again = taken(&mut run, "bob", 20, End::Nothing).expect("what Bob has");
    assert_eq!(again.term, second.term);
    run.finish(second.term, &Tally::default(), &[]);
    let left = taken(&mut run, "bob", 21, End::Nothing).expect("what Ann left");
    assert_eq!(left.span, first.span);
    assert!(!run.is_lost(at(22)));
    run.hand_back(left.term);
    assert!(run.is_lost(at(22)));
    let last = taken(&mut run, "joe", 22, End::Nothing).expect("what Bob gave back");
    run.finish(last.term, &Tally::default(), &[]);
    assert!(!run.is_lost(at(99)) && run.is_all_done());
}

#[test]
fn what_was_handed_back_or_failed_is_no_death() {
    let mut run = Run::begin(at(0));
    let batch = taken(&mut run, "ann", 0, End::Rest).expect("all of it");
    run.hand_back(batch.term);
    assert!(run.is_open(at(0), at(0)), "at once");
    let batch = taken(&mut run, "bob", 0, End::Rest).expect("all of it");
    assert_eq!(batch.deaths, 0);
    assert!(run.fail(batch.term, "no disk".into(), at(1), Some(at(31))));
    assert!(!run.is_open(at(99), at(30)) && run.is_open(at(0), at(31)));
    assert_eq!(run.take("joe", at(1), 20), Take::Over);
    run.begin_again(at(31));
    let batch = taken(&mut run, "joe", 31, End::Rest).expect("the same again");
    assert_eq!((batch.span, batch.deaths, run.attempts), (Span::WHOLE, 0, 2));
}

/// What whoever ended, stopped or failed had done of a part is in no tally, and that is said; of parts that were done there is no doubt.
#[test]
fn an_outcome_says_where_what_was_done_is_not_counted() {
    let outcome = |leave: fn(&mut Run, u32)| {
        let mut run = Run::begin(at(0));
        let first = taken(&mut run, "ann", 0, End::At("m".into())).expect("the first half");
        run.finish(first.term, &Tally::default(), &["no zone".to_owned()]);
        let second = taken(&mut run, "ann", 0, End::Rest).expect("the second half");
        leave(&mut run, second.term);
        if run.state == RunState::Failed {
            run.begin_again(at(30));
        }
        if let Some(left) = taken(&mut run, "bob", 30, End::Nothing) {
            run.finish(left.term, &Tally::default(), &[]);
        }
        assert!(run.is_all_done());
        run.end("2 months".into(), at(31));
        run.outcome.unwrap_or_default()
    };
    assert_eq!(outcome(|run, term| run.finish(term, &Tally::default(), &[])), "2 months; 1 problem, first: no zone");
    let unknown = "2 months; not counted is what was done of a part before whoever was at it ended, stopped or failed; \
                   1 problem, first: no zone";
    assert_eq!(outcome(|_, _| ()), unknown, "Ann's lease is over");
    assert_eq!(outcome(|run, term| run.hand_back(term)), unknown);
    assert_eq!(outcome(|run, term| assert!(run.fail(term, "no disk".into(), at(1), Some(at(30))))), unknown);
}

#[test]
fn only_what_somebody_left_is_handed_back() {
    let mut run = Run::begin(at(0));
    let batch = taken(&mut run, "ann", 0, End::At("m".into())).expect("a batch");
    run.finish(batch.term, &Tally::default(), &[]);
    assert_eq!(run.standing(), "running", "Ann asks for the next batch");
    run.leave();
    assert_eq!(run.standing(), "handed back");
    let batch = taken(&mut run, "bob", 1, End::At("p".into())).expect("the next");
    let other = taken(&mut run, "joe", 1, End::Rest).expect("the rest");
    run.hand_back(batch.term);
    assert_eq!(run.standing(), "running", "Joe is at it");
    run.finish(other.term, &Tally::default(), &[]);
    assert_eq!(run.standing(), "running", "Joe looks for more");
    run.leave();
    assert_eq!(run.standing(), "handed back");
    assert!(taken(&mut run, "joe", 2, End::Rest).is_some());
    assert_eq!(run.standing(), "running");
}

#[test]
fn whoever_dies_of_a_batch_again_and_again_is_counted() {
    let mut run = Run::begin(at(0));
    let deaths = (0..=DEATHS_MAX).map(|n| taken(&mut run, &n.to_string(), i64::from(n) * 20, End::Rest));
    let deaths: Vec<u32> = deaths.map(|batch| batch.expect("it").deaths).collect();
    assert_eq!(deaths, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_run_that_is_begun_again_goes_on_with_its_terms() {
    let mut run = Run::begin(at(0));
    let old = taken(&mut run, "ann", 0, End::Rest).expect("all of it");
    run.finish(old.term, &Tally::default(), &[]);
    run.end("done".into(), at(1));
    run.begin_again(at(2));
    let new = taken(&mut run, "bob", 2, End::Rest).expect("all of it");
    assert!(new.term > old.term && !run.holds(old.term, at(2)));
    run.cancel(at(3));
    assert!(!run.holds(new.term, at(3)), "nobody wants it");
}

#[test]
fn retries_come_later_and_later() {
    let seconds: Vec<i64> = (1..10).map(retry_seconds).collect();
    assert_eq!(seconds, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
    assert_eq!(retry_seconds(u32::MAX), 3_600);
}

#[test]
fn a_run_is_stored_and_read() {
    let mut run = Run::begin(at(0));
    taken(&mut run, "ann", 0, End::At("m".into())).expect("a batch");
    let read = Run::begin(at(0)).with_progress(&run.progress()).expect("what was stored");
    assert_eq!(read, run);
    assert!(Run::begin(at(0)).with_progress("{}").is_err());
}

/// What a process does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Take,
    Beat,
    Finish,
    Fail,
    HandBack,
    /// The process is held up, or dies: its lease ends.
    Sleep,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    use Step::{Beat, Fail, Finish, HandBack, Sleep, Take};
    let step = prop::sample::select(vec![Take, Take, Take, Beat, Finish, Finish, Fail, HandBack, Sleep]);
    prop::collection::vec((0..4_usize, step), 1..120)
}

proptest! {
    /// Whoever does what: at no time may two write for the same part, every part is done before the run is, and each is
    /// counted once.
    #[test]
    fn each_part_is_ones_at_a_time_and_all_are_done(steps in steps(), parts in 1..6_usize) {
        let mut run = Run::begin(at(0));
        let mut clock = 0;
        let mut hands: Vec<Option<Batch>> = vec![None; 4];
        let mut done: Vec<Span> = Vec::new();
        let end = |after: Option<&str>| {
            let next = after.map_or(1, |after| after.parse::<usize>().expect("a number") + 1);
            if next < parts { End::At(next.to_string()) } else { End::Rest }
        };
        // In the end, everybody who lives goes on.
        let rest = (0..parts * 8).flat_map(|n| [(n % 4, Step::Take), (n % 4, Step::Finish), (n % 4, Step::Sleep)]);
        for (who, step) in steps.into_iter().chain(rest) {
            let name = who.to_string();
            clock += 1;
            if run.state == RunState::Failed {
                run.begin_again(at(clock));
            }
            match step {
                Step::Take => {
                    let taken = match run.take(&name, at(clock), 20) {
                        Take::Batch(batch) => Some(batch),
                        Take::Find(after) => {
                            run.hand_out(after.as_deref(), end(after.as_deref()), &name, at(clock), 20)
                        }
                        Take::Wait | Take::Over => None,
                    };
                    hands[who] = taken.or(hands[who].take());
                }
                Step::Beat => drop(hands[who].as_ref().map(|batch| run.extend(batch.term, at(clock), 20))),
                Step::Finish => {
                    if let Some(batch) = hands[who].take() {
                        // What is written is fenced, and so is what is said of it.
                        if run.holds(batch.term, at(clock)) {
                            run.finish(batch.term, &Tally::default(), &[]);
                            done.push(batch.span);
                        }
                    }
                }
                Step::Fail => drop(hands[who].take().map(|batch| run.fail(batch.term, "so".into(), at(clock), None))),
                Step::HandBack => drop(hands[who].take().map(|batch| run.hand_back(batch.term))),
                Step::Sleep => clock += 25,
            }
            let writers: Vec<&Span> =
                hands.iter().flatten().filter(|batch| run.holds(batch.term, at(clock))).map(|batch| &batch.span).collect();
            for (n, span) in writers.iter().enumerate() {
                prop_assert!(!writers[..n].contains(span), "two write for {span:?}");
                prop_assert!(!done.contains(*span), "what is done is done again: {span:?}");
            }
            if run.is_all_done() {
                break;
            }
        }
        prop_assert!(run.is_all_done(), "{run:?}");
        done.sort_by_key(|span| span.after.clone());
        let mut after = None;
        for span in &done {
            prop_assert_eq!(&span.after, &after);
            after.clone_from(&span.until);
        }
        prop_assert_eq!(done.len(), parts);
        prop_assert_eq!(after, None);
    }
}
