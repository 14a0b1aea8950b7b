//! The program: hands arguments, environment and the stop signal to the command line, and ends with its exit code.

use creditd::cli::exit::Exit;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Calls and their answers are many small pieces of memory, of which this one gives and takes more in a second.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("creditd: the system gives no threads to work with: {error}");
            return Exit::Failure.into();
        }
    };
    // A variable that is not UTF-8 is no setting of ours.
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let env = std::env::vars_os().filter_map(text).collect();
    let exit = runtime.block_on(async {
        let stop = CancellationToken::new();
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => drop(tokio::spawn(watch(interrupt, terminate, stop.clone()))),
            // Without them Ctrl-C ends the process at once, which every command survives.
            _ => tracing::warn!("signals cannot be watched"),
        }
        creditd::cli::run(std::env::args_os(), env, stop).await
    });
    // Whatever still waits for input or a disk has nothing to add.
    runtime.shutdown_background();
    exit.into()
}

/// The first Ctrl-C or SIGTERM asks the command to stop, the second ends the process.
async fn watch(mut interrupt: Signal, mut terminate: Signal, stop: CancellationToken) {
    let mut next = async || tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} };
    next().await;
    stop.cancel();
    next().await;
    #[expect(clippy::disallowed_methods, reason = "a second signal ends the process, whatever it is at")]
    std::process::exit(Exit::Interrupted.code().into());
}
