//! Statements worded and written to the outbox in a second, on SQLite, forced to disk: the figures, a chart, a workbook and the
//! mail of a month, by the job that does it.
//!
//! `cargo bench --bench statements`, or `cargo bench --bench statements -- accounts=20000 charges=90 deliver`. Each account has an
//! admin, a purchase, and charges of six actions by five users over the whole month. Then each part alone, by one thread; and where it is
//! asked for, all of them delivered to a server in the same process.

use creditd::app::App;
use creditd::clock::Clock;
use creditd::config::{LoadInput, Settings};
use creditd::core::calendar::{Calendar, Instant, Month, Terms};
use creditd::core::counting::grouped;
use creditd::core::credits::Credits;
use creditd::core::delivery::Tls;
use creditd::core::ids::{AccountId, ActionCode, Email, Key, Reference, UserId};
use creditd::core::ledger::{Account, Call, Purchase, Usage};
use creditd::core::locale::Locale;
use creditd::core::outbox::{Mailbox, NoticeKind};
use creditd::core::run::Span;
use creditd::core::schedule::{Job, Slot};
use creditd::core::statement::{DateRange, Grouping, ReportSpec, Scope};
use creditd::core::transaction::{Money, Status};
use creditd::jobs::{Kit, Run, deliver, execute};
use creditd::mail::{Mailer, SmtpMailer, SmtpOptions};
use creditd::notice::sample_statement;
use creditd::report::chart::{Frame, Subject, chart, png};
use creditd::report::{Format, make, render};
use creditd::store::{Admin, Load, Meta, NewAccount, Store};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Accounts opened, and charged, at once.
const BATCH: usize = 250;
const ACTIONS: [&str; 6] =
    ["text-to-image", "erase", "background-removal", "image-enhancement", "translation", "upscale"];
const USERS: [&str; 5] = ["ann", "ben", "cleo", "dan", "eve"];
/// Accounts whose parts are timed alone.
const SAMPLE: usize = 200;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let number = |name: &str, default: usize| {
        let given = std::env::args().find_map(|arg| arg.strip_prefix(&format!("{name}="))?.parse().ok());
        given.unwrap_or(default)
    };
    let (accounts, charges) = (number("accounts", 5_000), number("charges", 60));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |text: &str| Instant::parse(text).expect("an instant");
    let (opened_at, month) = (at("2013-01-01T00:00:00Z"), Month::new(2013, 1).expect("a month"));
    let input = LoadInput { folder: folder.path().to_owned(), ..LoadInput::default() };
    let settings = Settings::load(input).expect("the defaults are valid");
    let meta = Meta { created_at: opened_at, sandbox: true };
    let store = Store::create(&settings.database_url, meta).await.expect("a ledger");
    let ids: Vec<AccountId> =
        (0..accounts).map(|n| AccountId::new(&format!("account-{n:06}")).expect("an id")).collect();
    let begin = now();
    for batch in ids.chunks(BATCH) {
        fill(&store, batch, opened_at, charges).await;
    }
    report("accounts filled", accounts, begin.elapsed());

    let app = App::new(settings, store, Clock::Fixed(at("2013-02-01T00:20:00Z"))).expect("a sandbox");
    let kit = Kit::new(app).expect("templates and a mail folder");
    let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
    execute(&kit, Job::Reset, Slot::Tick(kit.app.now()), &Span::WHOLE, &mut run).await.expect("January is over");
    let begin = now();
    let done = execute(&kit, Job::MonthlyReport, Slot::Month(month, chrono_tz::UTC), &Span::WHOLE, &mut run).await;
    let took = begin.elapsed();
    let done = done.expect("the job ends well");
    assert!(done.summary.starts_with(&format!("{} statements written,", grouped(accounts as u64))), "{}", done.summary);
    report("statements worded and written", accounts, took);

    let some = kit.app.store.messages(None, None, 1).await.expect("messages");
    let key = &some[0].message.key;
    assert_eq!(key.kind(), NoticeKind::MonthlyStatement);
    let message = kit.app.store.message(key).await.expect("readable").expect("there").message;
    let sizes: Vec<String> =
        message.attachments.iter().map(|part| format!("{} {} bytes", part.name, part.bytes.len())).collect();
    println!("one has {} bytes of text, {} of HTML, {}", message.text.len(), message.html.len(), sizes.join(", "));
    parts(&kit, &ids[..SAMPLE.min(accounts)], month).await;
    if std::env::args().any(|arg| arg == "deliver") {
        deliver_all(kit, accounts).await;
    }
}

/// Delivers what was written to a server in this process, which counts messages and keeps none.
async fn deliver_all(mut kit: Kit, messages: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(take_mail(stream, Arc::clone(&counted)));
        }
    });
    let options = SmtpOptions {
        host: "127.0.0.1".into(),
        port,
        tls: Tls::None,
        login: None,
        ca_file: None,
        connections: 4,
        timeout: Duration::from_secs(30),
        idempotency_header: None,
    };
    let address = Email::new("credits@platform.example").expect("an address");
    let from = Mailbox { name: "AI credits".into(), address };
    kit.mailer = Mailer::Smtp(Arc::new(SmtpMailer::new(options, from).expect("a mailer")));
    let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
    let begin = now();
    let done = deliver::run(&kit, &mut run).await.expect("the job ends well");
    let took = begin.elapsed();
    assert_eq!(taken.load(Ordering::Relaxed), messages, "{}", done.summary);
    report("statements delivered over 4 connections", messages, took);
}

/// One session: takes whatever it is given.
async fn take_mail(stream: TcpStream, taken: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 bench\r\n").await?;
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).await? > 0 {
        let said = match line.first().map(u8::to_ascii_uppercase) {
            Some(b'D') => {
                stream.write_all(b"354 go on\r\n").await?;
                while line != b".\r\n" {
                    line.clear();
                    stream.read_until(b'\n', &mut line).await?;
                }
                taken.fetch_add(1, Ordering::Relaxed);
                "250 taken\r\n"
            }
            Some(b'Q') => return stream.write_all(b"221 bye\r\n").await,
            _ => "250 so be it\r\n",
        };
        stream.write_all(said.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

/// What each part takes alone.
async fn parts(kit: &Kit, ids: &[AccountId], month: Month) {
    let range = DateRange::of_month(month).expect("a range");
    let spec = ReportSpec::new("Statement", range, Grouping::Day, Scope::Account, kit.app.now()).expect("a spec");
    let begin = now();
    let stated = kit.app.statements(ids, range).await.expect("readable");
    each("reading", ids.len(), begin.elapsed());
    let begin = now();
    let models: Vec<_> = stated.into_iter().map(|one| make(&spec, one.reading).expect("small")).collect();
    each("adding up", ids.len(), begin.elapsed());
    let begin = now();
    for model in &models {
        let drawn =
            chart(model, Subject::Consumption, Frame::Narrow(Locale::default())).expect("something was consumed");
        black_box(png(&drawn, Frame::Narrow(Locale::default())).expect("a picture"));
    }
    each("the picture", ids.len(), begin.elapsed());
    let begin = now();
    for model in &models {
        black_box(render(model, Format::Xlsx, 0).expect("a workbook"));
    }
    each("the workbook", ids.len(), begin.elapsed());
    let to = Mailbox { name: "Ann".into(), address: Email::new("ann@acme.example").expect("an address") };
    let facts = sample_statement();
    let begin = now();
    for _ in ids {
        black_box(kit.templates.statement(&facts, &to, kit.app.now()).expect("a message"));
    }
    each("the words", ids.len(), begin.elapsed());
}

/// Opens accounts, and lets them buy a pack and be charged over a month.
async fn fill(store: &Store, ids: &[AccountId], opened_at: Instant, charges: usize) {
    let terms =
        Terms { from: Month::new(2013, 1).expect("a month"), zone: chrono_tz::UTC, allowance: Credits::new(1_500) };
    let new = |id: &AccountId| {
        let email = Email::new(&format!("ann@{id}.example")).expect("an address");
        let calendar = Calendar::new(terms);
        let account = Account { id: id.clone(), name: format!("The {id}"), opened_at, calendar };
        NewAccount { account, locale: None, admins: vec![Admin { name: "Ann".into(), ..Admin::with_defaults(email) }] }
    };
    let new: Vec<NewAccount> = ids.iter().map(new).collect();
    store.open_accounts(&new, opened_at).await.expect("accounts");
    let mut calls: Vec<(AccountId, Instant, Call)> = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        let reference = Reference::new(&format!("{id}-1")).expect("a reference");
        let bought = Purchase {
            key: Key::of_purchase(&reference),
            reference,
            occurred_at: None,
            packs: 1,
            pack_credits: Credits::new(2_500),
            money: Money { minor: 2_500, currency: "USD".into() },
            comment: String::new(),
        };
        calls.push((id.clone(), opened_at.plus_seconds(3_600), Call::Purchase(bought)));
        for n in 0..charges {
            let step = i64::try_from(30 * 86_400 / charges * n).expect("small");
            let usage = Usage {
                key: Key::new(&format!("charge-{n}")).expect("a key"),
                occurred_at: None,
                user: Some(UserId::new(USERS[(n * 7 + number) % USERS.len()]).expect("a user")),
                action: ActionCode::new(ACTIONS[(n * 5 + number) % ACTIONS.len()]).expect("a code"),
                quantity: i64::try_from(1 + (n * 13 + number * 3) % 9).expect("small"),
                status: if n % 31 == 30 { Status::Failed } else { Status::Success },
                comment: String::new(),
                post_to_open: false,
            };
            calls.push((id.clone(), opened_at.plus_seconds(7_200 + step), Call::Charge(usage)));
        }
    }
    let mut load = Load::default();
    calls.iter().for_each(|(id, at, call)| load.call(id, call, *at));
    let apply = |batch: &mut creditd::store::Batch| {
        for (id, at, call) in &calls {
            batch.ledgers.get_mut(id).expect("loaded").apply(call, &batch.prices, *at).expect("in order");
        }
    };
    store.update(&load, apply).await.expect("written");
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn report(what: &str, count: usize, took: Duration) {
    let per_second = u32::try_from(count).map_or(0.0, f64::from) / took.as_secs_f64();
    println!("{count} {what} in {:.2} s: {per_second:.0} a second", took.as_secs_f64());
}

fn each(what: &str, count: usize, took: Duration) {
    println!("{what}: {:.2} ms each", took.as_secs_f64() * 1_000.0 / u32::try_from(count).map_or(1.0, f64::from));
}
