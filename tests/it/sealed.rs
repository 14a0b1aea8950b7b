//! The sealed ledger (DESIGN 8): presence of a sealed file changes cost, never meaning.

use crate::support::{Sandbox, account_id, both_databases, instant, purchase, seal, usage};
use crate::tampering::history::{self, NOW};
use creditd::app::App;
use creditd::core::calendar::Instant;
use creditd::core::ids::{AccountId, UserId};
use creditd::core::ledger::{Call, Hold, Usage};
use creditd::core::sealed::SeqRange;
use creditd::core::statement::{Breakdown, DateRange, Grouping, LocalTime, ReportModel, ReportSpec, Scope};
use creditd::report::aggregate;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

async fn report(app: &App, accounts: Option<&[AccountId]>, spec: &ReportSpec) -> ReportModel {
    report_as_of(app, accounts, spec, None).await
}

async fn report_as_of(
    app: &App,
    accounts: Option<&[AccountId]>,
    spec: &ReportSpec,
    at: Option<Instant>,
) -> ReportModel {
    let (accounts, rows) = app.report_rows(accounts, spec, at, &mut |_, _| {}).await.expect("rows");
    aggregate(spec, &accounts, &rows).expect("a report")
}

/// Whether a report takes sums from files.
async fn is_from_files(app: &App, spec: &ReportSpec) -> bool {
    let (_, rows) = app.report_rows(None, spec, None, &mut |_, _| {}).await.expect("rows");
    !rows.summed().sums().is_empty()
}

/// The same ledger without its sealed files.
fn unsealed(app: &App) -> App {
    let mut app = app.clone();
    app.settings.sealed.dir = PathBuf::from("/nowhere");
    app
}

fn local(text: &str) -> LocalTime {
    text.parse().expect("a local time")
}

fn spec(from: &str, to: &str, grouping: Grouping, breakdown: Option<Breakdown>, scope: Scope) -> ReportSpec {
    let range = DateRange::new(local(from), local(to)).expect("a range");
    ReportSpec::new("t", range, grouping, scope, instant(NOW)).expect("bounded").with_breakdown(breakdown)
}

/// Ranges of all sorts by every breakdown, in turns by every period and scope, and in turns bare.
fn specs() -> Vec<ReportSpec> {
    let breakdowns: Vec<Option<Breakdown>> = Breakdown::ALL.iter().copied().map(Some).chain([None]).collect();
    let ranges = [
        ("2013-01-01", "2013-07-01"),
        ("2013-02-01", "2013-03-01"),
        ("2013-01-20T06:30", "2013-02-10T13:00:01"),
        ("2013-04-12", "2013-04-13"),
        ("2012-01-01", "2012-12-31"),
        ("2013-06-20", "2013-08-01"),
    ];
    let each = ranges.into_iter().flat_map(|range| breakdowns.iter().map(move |breakdown| (range, *breakdown)));
    let of = |(at, ((from, to), breakdown)): (usize, ((&str, &str), _))| {
        let grouping = Grouping::ALL[at % Grouping::ALL.len()];
        let spec = spec(from, to, grouping, breakdown, Scope::ALL[at / 2 % Scope::ALL.len()]);
        if (at + at / 6).is_multiple_of(2) { spec } else { spec.bare() }
    };
    each.enumerate().map(of).collect()
}

async fn assert_same(app: &App) {
    let (one, two) = ([account_id("acme")], [account_id("other"), account_id("acme")]);
    for (spec, chosen) in specs().iter().zip([None, Some(&one[..]), Some(&two[..])].into_iter().cycle()) {
        let expected = report(&unsealed(app), chosen, spec).await;
        assert_eq!(report(app, chosen, spec).await, expected, "{spec:?} of {chosen:?}");
    }
}

fn sealed_files(app: &App) -> Vec<PathBuf> {
    let files = std::fs::read_dir(app.sealed_folder().path()).expect("a folder");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files
}

fn named(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

both_databases! {
    async fn a_ledger_reads_the_same_from_files_database_or_both(sandbox: Sandbox) {
        history::play(&sandbox).await;
        // As in months of nights: what was recorded until then is sealed each time, and the rest read from the database.
        for now in ["2013-02-11T00:00:00Z", "2013-05-20T12:00:00Z", NOW] {
            seal(&sandbox.at(now)).await;
        }
        let app = sandbox.at(NOW);
        let year = spec("2013-01-01", "2014-01-01", Grouping::Month, Some(Breakdown::Action), Scope::Account);
        assert!(is_from_files(&app, &year).await);
        assert_same(&app).await;
        let proof = app.verify_sealed(&mut |_, _| {}).await.expect("looked at");
        assert_eq!(proof.problems, Vec::<String>::new());
        assert!(proof.rows > 50, "{proof:?}");
        // Later, when months have turned that nobody wrote yet.
        assert_same(&sandbox.at("2013-09-02T00:00:00Z")).await;
    }

    /// Of all accounts, most rows of a long range are found in another way than those of a day, or of accounts that are named.
    async fn rows_are_the_same_however_the_database_finds_them(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let app = sandbox.at(NOW);
        let mut pages = app.store.pages(None, 1_000);
        let ids = pages.next().await.expect("read").expect("accounts");
        for spec in specs() {
            let named = report(&app, Some(&ids), &spec).await;
            assert_eq!(report(&app, None, &spec).await, named, "{spec:?}");
        }
    }

    async fn a_file_that_is_not_as_it_was_written_is_named_and_not_read(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let app = sandbox.at(NOW);
        seal(&app).await;
        let year = spec("2013-01-01", "2014-01-01", Grouping::Month, None, Scope::Account);
        let expected = report(&unsealed(&app), None, &year).await;
        assert!(is_from_files(&app, &year).await);
        let files = sealed_files(&app);
        let parquet: Vec<&PathBuf> = files.iter().filter(|file| named(file).ends_with(".log.parquet")).collect();
        let [first, second, ..] = parquet[..] else { panic!("{files:?}") };
        let whole = std::fs::read(first).expect("readable");
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        let foreign = std::fs::read(second).expect("readable");
        for (bytes, what) in [
            (Some(&flipped), "its SHA-256 is another one"),
            (Some(&whole[..whole.len() - 1].to_vec()), "bytes instead of"),
            (Some(&foreign), "bytes instead of"),
            (Some(&Vec::new()), "it has 0 bytes"),
            (None, "is missing"),
        ] {
            match bytes {
                Some(bytes) => std::fs::write(first, bytes).expect("written"),
                None => std::fs::remove_file(first).expect("removed"),
            }
            assert!(!is_from_files(&app, &year).await, "{what}");
            assert_eq!(report(&app, None, &year).await, expected);
            let found = app.check_sealed().await.expect("looked at");
            assert!(found.len() == 1 && found[0].contains(&named(first)) && found[0].contains(what), "{found:?}");
            let proof = app.verify_sealed(&mut |_, _| {}).await.expect("looked at");
            assert!(proof.problems[0].contains(&named(first)), "{proof:?}");
        }
        std::fs::write(first, &whole).expect("put back");
        assert!(is_from_files(&app, &year).await);
        assert_eq!(app.check_sealed().await.expect("looked at"), Vec::<String>::new());
        // A manifest is looked at by those who prove, not by reports.
        let manifest = files.iter().find(|file| named(file).ends_with(".json") && !named(file).starts_with('.')).expect("one");
        std::fs::write(manifest, "{}").expect("written");
        let found = app.check_sealed().await.expect("looked at");
        assert!(found.len() == 1 && found[0].contains("the database has another manifest"), "{found:?}");
    }

    async fn where_the_chain_is_broken_the_database_is_read(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let app = sandbox.at(NOW);
        seal(&app).await;
        let year = spec("2013-01-01", "2014-01-01", Grouping::Month, None, Scope::Account);
        let expected = report(&unsealed(&app), None, &year).await;
        sandbox.execute("DELETE FROM sealed WHERE number = 1").await.expect("past creditd");
        assert_eq!(report(&app, None, &year).await, expected);
        assert!(!is_from_files(&app, &year).await);
    }

    /// For their owner only, as the ledger's file: comments, users and payments are in them.
    async fn nobody_else_reads_sealed_files(sandbox: Sandbox) {
        use std::os::unix::fs::PermissionsExt;
        history::play(&sandbox).await;
        let app = sandbox.at(NOW);
        seal(&app).await;
        let folder = app.sealed_folder().path().to_owned();
        for path in sealed_files(&app).iter().chain([&folder]) {
            let mode = std::fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
    }

    async fn what_was_changed_in_the_database_is_found_by_its_files(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let app = sandbox.at(NOW);
        seal(&app).await;
        let change = match sandbox.backend() {
            crate::support::Backend::Sqlite => "DROP TRIGGER transactions_are_never_updated;
                UPDATE transactions SET comment = 'other' WHERE account_id = 'acme' AND seq = 3",
            crate::support::Backend::Postgres => "ALTER TABLE transactions DISABLE TRIGGER USER;
                UPDATE transactions SET comment = 'other' WHERE account_id = 'acme' AND seq = 3",
        };
        sandbox.execute(change).await.expect("past creditd");
        let proof = app.verify_sealed(&mut |_, _| {}).await.expect("looked at");
        assert!(proof.problems.len() == 1 && proof.problems[0].contains("row 3 of acme"), "{proof:?}");
    }

    /// Where an account has too many rows to look through all, the last of the days is looked for.
    async fn the_last_row_before_an_instant_is_found(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let acme = account_id("acme");
        let log = sandbox.log(&acme).await;
        let through = log.last().expect("rows").seq;
        for at in ["2012-01-01T00:00:00Z", "2013-01-10T12:05:00Z", "2013-02-10T12:00:00Z", "2013-03-01T00:00:00Z", NOW, "2014-01-01T00:00:00Z"] {
            for after in [0, 5, through] {
                let range = SeqRange { account_id: acme.clone(), after, through };
                let found = sandbox.store().last_recorded_before(&range, instant(at)).await.expect("found");
                let before = log.iter().filter(|row| row.recorded_at < instant(at)).map(|row| row.seq).max();
                assert_eq!(found, before.unwrap_or(0).max(after), "{at} behind {after}");
            }
        }
    }

    /// They find other rows, as where one was committed between their looks.
    async fn who_is_too_late_with_a_part_leaves_that_of_the_other_alone(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let app = sandbox.at(NOW);
        let next = app.next_sealing().await.expect("a plan").expect("something to seal");
        assert!(app.seal(next.clone()).await.expect("sealed").is_some(), "it was first");
        // The same days once more: the same rows, the same names, and nothing of the first is lost.
        assert!(app.seal(next).await.expect("an answer").is_some(), "it wrote the same");
        assert_eq!(app.check_sealed().await.expect("looked at"), Vec::<String>::new());
        seal(&app).await;
        // Of a later part a process finds other rows, and comes too late with them.
        let chain = sandbox.store().sealed_chain().await.expect("a chain");
        let known = chain.manifests().last().expect("parts");
        let mut late = known.clone();
        (late.rows, late.log.name) = (late.rows + 1, known.log.name.replace(&known.log.sha256[..8], "00000000"));
        late.balances.name = late.log.name.replace(".log.", ".balances.");
        let folder = app.sealed_folder().path().to_owned();
        for (name, text) in [(late.name(), late.text()), (late.log.name.clone(), "rows".into()), (late.balances.name.clone(), "rows".into())] {
            std::fs::write(folder.join(name), text).expect("written");
        }
        assert_eq!(app.tidy_sealed().await.expect("tidied").removed.len(), 3);
        assert!(!folder.join(&late.log.name).exists());
        assert_eq!(app.check_sealed().await.expect("looked at"), Vec::<String>::new());
    }

    /// Whoever reads the whole folder counts them. Nobody knows whose they are, so they are named and left.
    async fn files_of_others_are_named_and_left_alone(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let app = sandbox.at(NOW);
        seal(&app).await;
        let folder = app.sealed_folder().path().to_owned();
        let chain = sandbox.store().sealed_chain().await.expect("a chain");
        let first = chain.parts()[0].clone();
        let foreign = ["000002-2014-01-06-deadbeef.log.parquet", "foreign\u{202e}.parquet"];
        for name in foreign {
            std::fs::copy(folder.join(&first.log.name), folder.join(name)).expect("copied");
        }
        // What no pattern reads, and what no process can be at any more.
        std::fs::write(folder.join(".DS_Store"), "").expect("written");
        std::fs::create_dir(folder.join("lost+found")).expect("made");
        let [left, young] = [".creditd-left", ".creditd-young"].map(|name| folder.join(name));
        std::fs::write(&young, "half").expect("written");
        std::fs::File::create(&left).and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH)).expect("old");
        let tidied = app.tidy_sealed().await.expect("tidied");
        assert_eq!((tidied.joined, &tidied.removed[..]), (0, &[".creditd-left".to_owned()][..]));
        assert!(young.exists() && !left.exists());
        let found = app.check_sealed().await.expect("looked at");
        assert_eq!(app.verify_sealed(&mut |_, _| {}).await.expect("looked at").problems, found);
        assert_eq!(found.len(), foreign.len(), "{found:?}");
        for (found, name) in found.iter().zip([foreign[0], "foreign\\u{202e}.parquet"]) {
            assert!(found.contains(name) && found.contains("no part of the sealed ledger"), "{found}");
        }
        for name in foreign {
            std::fs::remove_file(folder.join(name)).expect("still there");
        }
        // Many are named by the first, and their number.
        (0..25).for_each(|at| std::fs::write(folder.join(format!("{at:02}.csv")), "").expect("written"));
        let found = app.files_outside().await.expect("looked at");
        assert!(found.len() == 11 && found[0].contains("00.csv") && found[10].contains("and 15 more"), "{found:?}");
    }

    async fn a_manifest_that_is_missing_is_written_again(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let app = sandbox.at(NOW);
        seal(&app).await;
        let chain = sandbox.store().sealed_chain().await.expect("a chain");
        let (name, text) = (chain.manifests()[0].name(), chain.manifests()[0].text());
        let path = app.sealed_folder().path().join(&name);
        std::fs::remove_file(&path).expect("removed");
        let found = app.check_sealed().await.expect("looked at");
        assert!(found.len() == 1 && found[0].contains(&name) && found[0].contains("`creditd run seal` writes it again"), "{found:?}");
        assert_eq!(app.tidy_sealed().await.expect("tidied").written, [name]);
        assert_eq!(std::fs::read_to_string(&path).expect("readable"), text);
        assert_eq!(app.check_sealed().await.expect("looked at"), Vec::<String>::new());
    }

    async fn two_that_seal_at_once_make_one_part(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let app = sandbox.at(NOW);
        let before = sandbox.store().sealed_chain().await.expect("a chain").manifests().len();
        let next = app.next_sealing().await.expect("a plan").expect("something to seal");
        let (one, other) = tokio::join!(app.seal(next.clone()), app.seal(next));
        let (one, other) = (one.expect("sealed"), other.expect("sealed"));
        assert!(one.is_some() || other.is_some());
        assert_eq!(sandbox.store().sealed_chain().await.expect("a chain").manifests().len(), before + 1);
        seal(&app).await;
        assert_same(&app).await;
    }
}

/// What happens next to a ledger.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in seconds.
    Wait(i64),
    /// A charge, this many seconds ago.
    Charge {
        account: usize,
        quantity: i64,
        user: Option<u8>,
        ago: Option<i64>,
    },
    Hold {
        account: usize,
    },
    Buy {
        account: usize,
    },
    Seal,
}

fn step() -> impl Strategy<Value = Step> {
    let account = 0..ZONES.len();
    let wait = prop_oneof![1_i64..7_200, 3_600_i64..200_000, 500_000_i64..4_000_000];
    let user = prop::option::of(0_u8..3);
    let ago = prop::option::of(1_i64..3_000_000);
    prop_oneof![
        3 => wait.prop_map(Step::Wait),
        6 => (account.clone(), 1_i64..120, user, ago)
            .prop_map(|(account, quantity, user, ago)| Step::Charge { account, quantity, user, ago }),
        1 => account.clone().prop_map(|account| Step::Hold { account }),
        1 => account.prop_map(|account| Step::Buy { account }),
        2 => Just(Step::Seal),
    ]
}

const ZONES: [&str; 3] = ["Pacific/Kiritimati", "America/Havana", "Pacific/Pago_Pago"];
const BEGIN: &str = "2024-01-20T10:00:00Z";

/// A range of local time, some days and seconds after [`BEGIN`].
fn range() -> impl Strategy<Value = DateRange> {
    let clock = || prop_oneof![Just(0_i64), 0_i64..86_400];
    (0_i64..120, 1_i64..120, clock(), clock()).prop_map(|(from, days, begin, end)| {
        let at = |days: i64, seconds: i64| {
            let at = instant("2024-01-10T00:00:00Z").plus_days(days).plus_seconds(seconds);
            local(at.to_string().trim_end_matches('Z'))
        };
        DateRange::new(at(from, begin), at(from + days, end)).expect("a range")
    })
}

/// Does `steps` from `now` on, under keys that begin with `name`; returns when that is done.
async fn act(sandbox: &Sandbox, name: &str, mut now: Instant, steps: &[Step]) -> Instant {
    let ids: Vec<AccountId> = ["a", "b", "c"].map(account_id).to_vec();
    for (at, step) in steps.iter().enumerate() {
        let app = sandbox.at_instant(now);
        let key = format!("{name}{at}");
        let call = match step {
            Step::Wait(seconds) => {
                now = now.plus_seconds(*seconds);
                continue;
            }
            Step::Seal => {
                seal(&app).await;
                continue;
            }
            Step::Charge { account, quantity, user, ago } => {
                let occurred_at = ago.map(|ago| now.plus_seconds(-ago).max(instant(BEGIN)));
                let user = user.map(|user| UserId::new(&format!("u{user}")).expect("a user"));
                let action = if quantity % 3 == 0 { "erase" } else { "text-to-image" };
                (*account, Call::Charge(Usage { quantity: *quantity, user, occurred_at, ..usage(action, &key) }))
            }
            Step::Hold { account } => {
                let Usage { key, action, .. } = usage("erase", &key);
                let comment = String::new();
                (*account, Call::Hold(Hold { key, user: None, action, quantity: 2, ttl_seconds: 900, comment }))
            }
            Step::Buy { account } => (*account, Call::Purchase(purchase(1, &key))),
        };
        // Some are refused, which is as good.
        let _ = app.call(&ids[call.0], call.1).await;
    }
    now
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn sealed_unsealed_and_mixed_are_equal(
        steps in prop::collection::vec(step(), 1..60),
        ranges in prop::collection::vec(range(), 2),
        breakdowns in prop::collection::vec(prop::option::of(prop::sample::select(Breakdown::ALL)), 2),
        groupings in prop::collection::vec(prop::sample::select(Grouping::ALL), 2),
        chosen in prop::option::of(prop::sample::subsequence(vec!["a", "b", "c"], 1..3)),
        then in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let sandbox = Sandbox::new().await;
            for (id, zone) in ["a", "b", "c"].into_iter().zip(ZONES) {
                sandbox.open_account(id, zone, "2024-01-15").await;
            }
            let chosen = chosen.map(|names| names.into_iter().map(account_id).collect::<Vec<AccountId>>());
            // What reports said in the midst of it is what they say later of that moment.
            let (first, rest) = steps.split_at(then.index(steps.len()));
            let then = act(&sandbox, "k", instant(BEGIN), first).await;
            let of_then = |at: usize| {
                let spec = ReportSpec::new("t", ranges[at], groupings[at], Scope::Account, then).expect("bounded");
                spec.with_breakdown(breakdowns[at])
            };
            let said = report(&sandbox.at_instant(then), chosen.as_deref(), &of_then(0)).await;
            let now = act(&sandbox, "l", then.plus_seconds(1), rest).await;
            let app = sandbox.at_instant(now);
            for app in [&app, &unsealed(&app)] {
                prop_assert_eq!(&report_as_of(app, chosen.as_deref(), &of_then(0), Some(then)).await, &said);
            }
            let expected = report_as_of(&unsealed(&app), chosen.as_deref(), &of_then(1), Some(then)).await;
            prop_assert_eq!(report_as_of(&app, chosen.as_deref(), &of_then(1), Some(then)).await, expected);
            for ((range, breakdown), grouping) in ranges.into_iter().zip(breakdowns).zip(&groupings) {
                for scope in Scope::ALL {
                    let spec = ReportSpec::new("t", range, *grouping, *scope, now).expect("bounded").with_breakdown(breakdown);
                    let expected = report(&unsealed(&app), chosen.as_deref(), &spec).await;
                    prop_assert_eq!(report(&app, chosen.as_deref(), &spec).await, expected);
                }
            }
            let proof = app.verify_sealed(&mut |_, _| {}).await.expect("looked at");
            prop_assert_eq!(proof.problems, Vec::<String>::new());
            Ok(())
        })?;
    }
}
