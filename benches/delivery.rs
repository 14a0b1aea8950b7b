//! Messages delivered in a second: from the outbox on SQLite, forced to disk, to a mail server in this process.
//!
//! `cargo bench --bench delivery`, or `cargo bench --bench delivery -- messages=20000 connections=4`. Each message has text,
//! 30 kB of HTML and a workbook of 20 kB; so has what is delivered, which is compared at the end.

#[allow(dead_code, reason = "the server of the tests can do more wrong than a bench wants")]
#[path = "../tests/it/support/smtp.rs"]
mod smtp;

use chrono::{Days, NaiveDate};
use creditd::app::App;
use creditd::clock::Clock;
use creditd::config::{LoadInput, Settings};
use creditd::core::calendar::{Calendar, Instant, Month, Terms};
use creditd::core::credits::Credits;
use creditd::core::delivery::Tls;
use creditd::core::ids::{AccountId, Email};
use creditd::core::ledger::Account;
use creditd::core::outbox::{Attachment, Mailbox, Message, NoticeKey};
use creditd::jobs::{Kit, Run, deliver};
use creditd::mail::{Mailer, SmtpMailer, SmtpOptions};
use creditd::store::{Admin, Meta, NewAccount, Store};
use smtp::{Manner, SmtpServer};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Messages written at once.
const BATCH: usize = 200;
/// Whom they are for.
const ANN: &str = "ann@acme.example";

#[tokio::main(worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
async fn main() {
    let number = |name: &str, default: usize| {
        let given = std::env::args().find_map(|arg| arg.strip_prefix(&format!("{name}="))?.parse().ok());
        given.unwrap_or(default)
    };
    let (messages, connections) = (number("messages", 5_000), number("connections", 4));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let now = Instant::parse("2013-02-01T00:00:00Z").expect("an instant");
    let input = LoadInput { folder: folder.path().to_owned(), ..LoadInput::default() };
    let settings = Settings::load(input).expect("the defaults are valid");
    let store = Store::create(&settings.database_url, Meta { created_at: now, sandbox: true }).await.expect("a ledger");
    let account = AccountId::new("acme").expect("an id");
    let terms =
        Terms { from: Month::new(2013, 1).expect("a month"), zone: chrono_tz::UTC, allowance: Credits::new(1_500) };
    let calendar = Calendar::new(terms);
    let new = Account { id: account.clone(), name: "Acme".into(), opened_at: now, calendar };
    let ann = Admin { daily_report: true, ..Admin::with_defaults(Email::new(ANN).expect("an address")) };
    store
        .open_accounts(&[NewAccount { account: new, locale: None, admins: vec![ann] }], now)
        .await
        .expect("an account");

    let begin = std::time::Instant::now();
    let all: Vec<usize> = (0..messages).collect();
    for batch in all.chunks(BATCH) {
        let batch: Vec<Message> = batch.iter().map(|n| message(&account, *n, now)).collect();
        store.write_messages(&batch).await.expect("written");
    }
    report("written to the outbox", messages, begin.elapsed());

    let server = SmtpServer::start(|_| Manner::default()).await;
    let app = App::new(settings, store, Clock::Fixed(now)).expect("a sandbox takes a fixed clock");
    let options = SmtpOptions {
        host: "127.0.0.1".into(),
        port: server.port,
        tls: Tls::None,
        login: None,
        ca_file: None,
        connections,
        timeout: Duration::from_secs(30),
        idempotency_header: None,
    };
    let from =
        Mailbox { name: "AI credits".into(), address: Email::new("credits@platform.example").expect("an address") };
    let mut kit = Kit::new(app).expect("templates and a mail folder");
    kit.mailer = Mailer::Smtp(Arc::new(SmtpMailer::new(options, from).expect("a mailer")));
    let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
    let begin = std::time::Instant::now();
    let done = deliver::run(&kit, &mut run).await.expect("the job ends well");
    let took = begin.elapsed();
    assert_eq!(server.taken().len(), messages, "{}", done.summary);
    report(&format!("delivered over {connections} connections"), messages, took);
}

fn message(account: &AccountId, number: usize, created_at: Instant) -> Message {
    let ann = Email::new(ANN).expect("an address");
    let day = NaiveDate::default() + Days::new(number as u64);
    let key = NoticeKey::daily_statement(account.clone(), day, ann, 1);
    // One workbook for two recipients, as statements have it.
    let mut rng = fastrand::Rng::with_seed(number as u64 / 2);
    let workbook: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(20_000).collect();
    Message {
        message_id: key.message_id("a subject", "a text", "platform.example"),
        key,
        recipient_name: "Ann".into(),
        subject: "AI credits in January 2013".into(),
        text: "You have 280 credits left.\n".repeat(40),
        html: "<tr><td style=\"padding: 4px\">280 credits</td></tr>\n".repeat(600),
        created_at,
        unsubscribe_url: Some("https://credits.example/unsubscribe?token=0123456789".into()),
        attachments: vec![Attachment {
            name: "statement.xlsx".into(),
            content_type: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet".into(),
            content_id: None,
            bytes: workbook.into(),
        }],
    }
}

fn report(what: &str, messages: usize, took: Duration) {
    let per_second = u32::try_from(messages).map_or(0.0, f64::from) / took.as_secs_f64();
    println!("{messages} messages {what} in {:.2} s: {per_second:.0} a second", took.as_secs_f64());
}
