//! `cargo fuzz run names`; what it does stands in `bodies/names.rs`.
#![no_main]

#[path = "../bodies/names.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
