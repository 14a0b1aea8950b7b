//! `cargo fuzz run import`; what it does stands in `bodies/import.rs`.
#![no_main]

#[path = "../bodies/import.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
