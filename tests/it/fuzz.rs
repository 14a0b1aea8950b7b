//! The bodies of the fuzz targets, without a fuzzer: over their seeds, over seeds with changes, and over random input.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::path::Path;

#[path = "../../fuzz/bodies/import.rs"]
mod import;
#[path = "../../fuzz/bodies/names.rs"]
mod names;
#[path = "../../fuzz/bodies/times.rs"]
mod times;

/// Inputs of each sort for a target.
const CASES: u32 = 512;
/// Longest random input, in bytes.
const BYTES_MAX: usize = 300;

/// A change to a seed: where, how many bytes it takes away, and what it puts there.
type Change = (prop::sample::Index, usize, Vec<u8>);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4),
        // What texts are made of, and what parsers trip over.
        prop::sample::select(b"0129-:+.TZ ,\"\n\r\t@/eE\0".to_vec()).prop_map(|byte| vec![byte]),
        "[0-9]{1,20}".prop_map(String::into_bytes),
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize, piece), 1..6)
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for (at, taken, put) in changes {
        let at = at.index(bytes.len() + 1);
        let end = bytes.len().min(at + taken);
        bytes.splice(at..end, put.iter().copied());
    }
    bytes
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("seeds").map(|entry| entry.expect("a seed").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
}

fn run(target: &str, body: fn(&[u8])) {
    let seeds = seeds(target);
    assert!(seeds.len() > 4, "{target} has seeds");
    body(b"");
    seeds.iter().for_each(|seed| body(seed));
    let config = || ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let from_seeds = (prop::sample::select(seeds), changes()).prop_map(|(seed, changes)| changed(seed, &changes));
    let texts = ".{0,80}".prop_map(String::into_bytes);
    let inputs = prop_oneof![4 => from_seeds, 1 => texts, 1 => prop::collection::vec(any::<u8>(), 0..BYTES_MAX)];
    let tried = TestRunner::new(config()).run(&inputs, |input| {
        body(&input);
        Ok(())
    });
    tried.unwrap_or_else(|failure| panic!("{target}: {failure}"));
}

#[test]
fn import_answers_any_bytes() {
    run("import", import::run);
}

#[test]
fn names_answer_any_bytes() {
    run("names", names::run);
}

#[test]
fn times_answer_any_bytes() {
    run("times", times::run);
}
