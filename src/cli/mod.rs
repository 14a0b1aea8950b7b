//! The command line: data on stdout, talk on stderr, one exit code per kind of outcome (DESIGN 10).
//!
//! One file per noun: clap's derive makes typed arguments of the command line, `run` does what they say and prints the
//! answer. Nothing here decides about credits. A new noun is its file, its `mod` line and its variant of `Command`.

mod account;
mod actions;
mod admin;
mod alerts;
mod args;
mod backfill;
mod balance;
mod call;
mod cap;
mod charge;
mod completions;
mod config;
mod context;
mod db;
mod demo;
mod doctor;
mod email;
pub mod exit;
mod files;
mod help;
mod hold;
mod import;
mod init;
mod jobs;
mod journal;
mod link;
mod log;
mod man;
mod month;
mod openapi;
mod operator;
mod outbox;
pub mod output;
pub mod progress;
mod purchase;
mod refund;
mod report;
mod run;
mod serve;
mod suppressions;
mod token;
mod transactions;
mod verify;
mod webhook;

pub use context::Context;

use crate::core::ids::cut_text;
use crate::daemon::{STOP_MAX, overtime};
use clap::Parser;
use clap::error::{ContextKind, ContextValue};
use exit::{Exit, Failure};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// AI credits of a multi-tenant platform: an exact ledger, and jobs that reset, alert and report
#[derive(Debug, Parser)]
#[command(
    name = "creditd",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The settings file [env: CREDITD_CONFIG; default: creditd.toml, if it is there]
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// The ledger, instead of the one that the settings name: sqlite://FILE or postgres://USER@HOST/DATABASE
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Set the clock, on a sandbox only: 2013-03-01T00:00:00Z, or @FILE for a file with an instant in it [env: CREDITD_NOW]
    #[arg(long, global = true, value_name = "INSTANT")]
    now: Option<crate::clock::Clock>,
    /// The form of the data on stdout: table (for people, the default), json, csv or ndjson
    #[arg(short, long, global = true, value_name = "FORM", value_enum, hide_possible_values = true)]
    output: Option<output::OutputMode>,
    /// The same as --output json
    #[arg(long, global = true, conflicts_with = "output")]
    json: bool,
    /// No talk and no progress on stderr, errors only; what the log says is up to [log]
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// What creditd can be asked for.
#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(init::Init),
    Demo(demo::Demo),
    Serve(serve::Serve),
    Run(run::Run),
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    #[command(subcommand)]
    Backfill(backfill::Backfill),
    #[command(subcommand)]
    Account(account::Account),
    #[command(subcommand)]
    Admin(admin::Admin),
    Balance(balance::Balance),
    Charge(charge::Charge),
    Hold(hold::Hold),
    Capture(hold::Capture),
    Void(hold::Void),
    #[command(subcommand)]
    Holds(hold::Holds),
    Refund(refund::Refund),
    Purchase(purchase::Purchase),
    Return(purchase::Return),
    Grant(operator::Grant),
    Adjust(operator::Adjust),
    #[command(subcommand)]
    Cap(cap::Cap),
    #[command(subcommand)]
    Month(month::Month),
    #[command(subcommand)]
    Transactions(transactions::Transactions),
    #[command(subcommand)]
    Actions(actions::Actions),
    #[command(subcommand)]
    Report(report::Report),
    #[command(subcommand)]
    Alerts(alerts::Alerts),
    #[command(subcommand)]
    Email(email::EmailCommand),
    #[command(subcommand)]
    Outbox(outbox::Outbox),
    #[command(subcommand)]
    Suppressions(suppressions::Suppressions),
    #[command(subcommand)]
    Webhook(webhook::Webhook),
    #[command(subcommand)]
    Token(token::Token),
    Verify(verify::Verify),
    Doctor(doctor::Doctor),
    Link(link::Link),
    #[command(subcommand)]
    Db(db::Db),
    #[command(subcommand)]
    Config(config::Config),
    Openapi(openapi::Openapi),
    Completions(completions::Completions),
    Man(man::Man),
    Help(help::Help),
}

impl Command {
    /// Whether the command looks at the stop signal itself: jobs end between two batches and record that they did.
    const fn ends_itself(&self) -> bool {
        matches!(self, Command::Serve(_) | Command::Run(_) | Command::Backfill(_))
    }

    /// Whether it is to be bounded how long it takes for that. The daemon sees to it itself.
    const fn takes_its_time(&self) -> bool {
        matches!(self, Command::Run(_) | Command::Backfill(_))
    }

    /// What is left when the command is interrupted.
    const fn interrupted(&self) -> &'static str {
        match self {
            Command::Report(report) if report.leaves_nothing() => INTERRUPTED_READING,
            Command::Jobs(_)
            | Command::Balance(_)
            | Command::Holds(_)
            | Command::Alerts(_)
            | Command::Verify(_)
            | Command::Doctor(_)
            | Command::Config(_)
            | Command::Completions(_)
            | Command::Openapi(_)
            | Command::Help(_) => INTERRUPTED_READING,
            _ => INTERRUPTED,
        }
    }

    async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Command::Init(command) => command.run(context).await,
            Command::Demo(command) => command.run(context).await,
            Command::Link(command) => command.run(context).await,
            Command::Serve(command) => command.run(context).await,
            Command::Run(command) => command.run(context).await,
            Command::Jobs(command) => command.run(context).await,
            Command::Backfill(command) => command.run(context).await,
            Command::Account(command) => command.run(context).await,
            Command::Admin(command) => command.run(context).await,
            Command::Balance(command) => command.run(context).await,
            Command::Charge(command) => command.run(context).await,
            Command::Hold(command) => command.run(context).await,
            Command::Capture(command) => command.run(context).await,
            Command::Void(command) => command.run(context).await,
            Command::Holds(command) => command.run(context).await,
            Command::Refund(command) => command.run(context).await,
            Command::Purchase(command) => command.run(context).await,
            Command::Return(command) => command.run(context).await,
            Command::Grant(command) => command.run(context).await,
            Command::Adjust(command) => command.run(context).await,
            Command::Cap(command) => command.run(context).await,
            Command::Month(command) => command.run(context).await,
            Command::Transactions(command) => command.run(context).await,
            Command::Actions(command) => command.run(context).await,
            Command::Report(command) => command.run(context).await,
            Command::Email(command) => command.run(context).await,
            Command::Alerts(command) => command.run(context).await,
            Command::Outbox(command) => command.run(context).await,
            Command::Suppressions(command) => command.run(context).await,
            Command::Webhook(command) => command.run(context).await,
            Command::Token(command) => command.run(context).await,
            Command::Verify(command) => command.run(context).await,
            Command::Doctor(command) => command.run(context).await,
            Command::Db(command) => command.run(context).await,
            Command::Config(command) => command.run(context),
            Command::Openapi(command) => command.run(),
            Command::Completions(command) => command.run(),
            Command::Man(command) => command.run(),
            Command::Help(command) => command.run(),
        }
    }
}

/// Does what `args` (the program's name first) ask for. `env` is the process's environment; `stop` asks for an early end.
pub async fn run(
    args: impl IntoIterator<Item = OsString>,
    env: Vec<(String, String)>,
    stop: CancellationToken,
) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let program = args.first().map_or_else(|| "creditd".to_owned(), |name| name.to_string_lossy().into_owned());
    let Cli { global, command } = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are no failure.
            let error = shortened(error);
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    let done = match Context::new(program, global, env, stop.clone()) {
        Ok(context) => {
            let (ends_itself, time_max) = (command.ends_itself(), command.takes_its_time().then_some(STOP_MAX));
            let interrupted = command.interrupted();
            // Whatever another command has begun and not committed is undone by dropping it.
            let done = tokio::select! {
                biased;
                () = stop.cancelled(), if !ends_itself => Err(Failure::message(Exit::Interrupted, interrupted)),
                done = done_or_left(Box::pin(command.run(&context)), &stop, time_max) => match done {
                    Ok(done) => done,
                    // A statement that the database is at is not waited for either.
                    Err(left) => return end(&left),
                },
            };
            // It is closed for order's sake: a database that does not answer keeps nobody who was told to end.
            let _ = done_or_left(context.close(), &stop, Some(CLOSE_MAX)).await;
            done
        }
        Err(failure) => Err(failure),
    };
    done.map_or_else(|failure| end(&failure), |()| Exit::Ok)
}

/// What `work` comes to; or that it is left under way, where it has not ended `time_max` after it was told to.
async fn done_or_left<T>(
    work: impl Future<Output = T>,
    stop: &CancellationToken,
    time_max: Option<Duration>,
) -> Result<T, Failure> {
    let too_long = async {
        match time_max {
            Some(time_max) => overtime(stop, time_max).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = too_long => Err(Failure::message(Exit::Interrupted, LEFT)),
        done = work => Ok(done),
    }
}

/// Characters of what was typed that an error repeats.
const TYPED_CHARS_MAX: usize = 200;

/// The same error about the beginning of what was typed: somebody gives a file's content for a name.
fn shortened(mut error: clap::Error) -> clap::Error {
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidArg, ContextKind::InvalidSubcommand] {
        if let Some(ContextValue::String(typed)) = error.get(kind) {
            let beginning = cut_text(typed, TYPED_CHARS_MAX);
            error.insert(kind, ContextValue::String(beginning));
        }
    }
    error
}

const LEFT: &str = "interrupted with work under way, which took too long to end; it is left to other processes, which take it up \
                    within half a minute, or to the same command";
/// How long the ledger may take to be closed by a command that was told to stop.
const CLOSE_MAX: Duration = Duration::from_secs(2);

const INTERRUPTED_READING: &str = "interrupted; nothing was changed";
const INTERRUPTED: &str = "interrupted; what was committed stays, and repeating the command with the same keys or file \
                           does only the rest";

/// Says what went wrong, once.
fn end(failure: &Failure) -> Exit {
    let mut stderr = std::io::stderr().lock();
    for line in failure.text().iter().flat_map(|text| text.lines()) {
        // Nobody is left to tell when stderr is gone.
        let _ = writeln!(stderr, "creditd: {line}");
    }
    failure.exit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use futures_util::FutureExt;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// What is said is that it is left, and the exit code is that of what was interrupted.
    #[tokio::test]
    async fn work_that_does_not_end_when_told_to_is_left() {
        let command = |args: &str| {
            let args = std::iter::once("creditd").chain(args.split(' '));
            Cli::try_parse_from(args).expect("a command").command
        };
        assert!(command("run deliver").takes_its_time() && command("backfill resume 1").takes_its_time());
        // Whatever supervises creditd kills what has not ended half a minute after it was told to: Kubernetes after 30 seconds.
        assert!(STOP_MAX + CLOSE_MAX < Duration::from_secs(30));
        let (stop, at_once) = (CancellationToken::new(), Some(Duration::ZERO));
        let never = std::future::pending::<Result<(), Failure>>;
        assert!(done_or_left(never(), &stop, at_once).now_or_never().is_none(), "nobody told it to stop");
        stop.cancel();
        assert!(done_or_left(never(), &stop, Some(STOP_MAX)).now_or_never().is_none(), "it has time to end by itself");
        assert!(done_or_left(never(), &stop, None).now_or_never().is_none(), "this one has all the time there is");
        assert!(done_or_left(async { 7 }, &stop, Some(STOP_MAX)).await.is_ok_and(|done| done == 7), "it took none");
        let left = done_or_left(never(), &stop, at_once).await.expect_err("it never ends");
        assert_eq!((left.exit().code(), left.text().as_deref()), (130, Some(LEFT)));
    }

    #[test]
    fn who_only_reads_leaves_nothing_when_interrupted() {
        let said = |args: &str| {
            let args = std::iter::once("creditd").chain(args.split(' '));
            Cli::try_parse_from(args).expect("a command").command.interrupted()
        };
        for reading in ["report show", "report export --out x.html", "balance", "verify"] {
            assert_eq!(said(reading), INTERRUPTED_READING, "{reading}");
        }
        for writing in ["report export --all --out x", "charge --account a --action b", "transactions import x.csv"] {
            assert_eq!(said(writing), INTERRUPTED, "{writing}");
        }
    }

    /// Every command, option and argument says in a line what it is.
    #[test]
    fn everything_has_help() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no help");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{path}: {} has no help", arg.get_id());
            }
            command.get_subcommands().for_each(|sub| check(sub, &path));
        }
        let mut command = Cli::command();
        command.build();
        check(&command, "");
    }
}
