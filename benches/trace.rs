//! Imports a real year of activity and reports it, through the real binary: whole-process time and peak memory.
//!
//! `CREDITD_TRACE_DIR=DIR cargo bench --bench trace` where DIR has accounts.csv, purchases.csv and usage.csv.gz.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Actions in the trace.
const ACTIONS: u64 = 336_776;
/// After the trace's year, in every zone.
const NOW: &str = "2014-01-02T00:00:00Z";
/// How often the year is imported and reported; the first run warms the disk's cache and is not counted.
const RUNS: usize = 4;
/// How often the memory of the process is looked at.
const LOOK: Duration = Duration::from_millis(20);

struct Measured {
    seconds: f64,
    peak_mib: u64,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is told by the environment where the trace is")]
fn main() {
    let Some(trace) = std::env::var_os("CREDITD_TRACE_DIR").map(PathBuf::from) else {
        eprintln!("trace: set CREDITD_TRACE_DIR to the folder of the trace; nothing was measured");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut imports, mut reports, mut verifies, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for round in 0..RUNS {
        let ledger = folder.path().join(format!("ledger-{round}"));
        creditd(folder.path(), &["init", "--sandbox", &ledger.display().to_string()]);
        let mut import = 0.0;
        for (noun, file) in
            [("account", "accounts.csv"), ("purchase", "purchases.csv"), ("transactions", "usage.csv.gz")]
        {
            let measured = creditd(&ledger, &[noun, "import", &trace.join(file).display().to_string()]);
            import += measured.seconds;
            peak = peak.max(measured.peak_mib);
        }
        let year =
            ["report", "export", "statement-monthly", "--from", "2013-01-01", "--to", "2014-01-01", "--by", "month"];
        let report = creditd(&ledger, &[&year[..], &["--out", "year.csv"]].concat());
        let verify = creditd(&ledger, &["verify"]);
        if round > 0 {
            imports.push(import);
            reports.push(report.seconds);
            verifies.push(verify.seconds);
        }
        println!(
            "run {round}: import {import:.2} s, year by month of all accounts {:.2} s ({} MiB), verify {:.2} s",
            report.seconds, report.peak_mib, verify.seconds
        );
    }
    let import = median(&mut imports);
    println!(
        "median of {}: import {import:.2} s = {:.0} actions/s at a peak of {peak} MiB; report {:.2} s; verify {:.2} s",
        RUNS - 1,
        u32::try_from(ACTIONS).map_or(0.0, f64::from) / import,
        median(&mut reports),
        median(&mut verifies),
    );
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Runs the binary in `folder` and watches its peak memory, which the kernel keeps as VmHWM while it lives.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn creditd(folder: &Path, args: &[&str]) -> Measured {
    let begin = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_creditd"))
        .args(args)
        .arg("--quiet")
        .env("CREDITD_NOW", NOW)
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_mib = 0;
    let exit = loop {
        if let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak_mib = peak_mib.max(kib.unwrap_or(0) / 1_024);
        }
        match child.try_wait().expect("the binary can be waited for") {
            Some(exit) => break exit,
            None => std::thread::sleep(LOOK),
        }
    };
    let seconds = begin.elapsed().as_secs_f64();
    assert!(exit.success(), "creditd {args:?} failed: {exit}");
    Measured { seconds, peak_mib }
}
