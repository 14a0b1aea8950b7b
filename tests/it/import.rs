//! Importing files: an excerpt of a real year (tests/data), the whole of it where that is at hand, and every kind of file
//! and row that cannot be imported.

mod trace;

use crate::support::{Sandbox, purchase};
use creditd::app::App;
use creditd::app::import::{Import, ImportError, ImportOptions, ImportReport, PurchaseImport, Source, import};
use creditd::core::credits::Credits;
use creditd::core::ids::AccountId;
use creditd::store::LogFilter;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

const USAGE_HEADER: &str = "occurred_at,account,user,action,status,comment,key\n";
const PURCHASE_HEADER: &str = "occurred_at,account,packs,reference\n";
const ACCOUNT_HEADER: &str = "account,name,time_zone,opened_on,admin_email\n";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

async fn import_file<I: Import>(
    app: &App,
    kind: &I,
    path: &Path,
    options: &ImportOptions,
) -> Result<ImportReport, ImportError> {
    import(app, kind, Source::new(path), options, &mut |_, _| {}).await
}

/// Imports a whole file in which nothing is wrong.
async fn import_all<I: Import>(app: &App, kind: &I, path: &Path) -> ImportReport {
    let report = import_file(app, kind, path, &ImportOptions::default()).await.expect("a readable file");
    assert!(report.bad == 0 && report.written, "{report:?}");
    report
}

/// What creditd says of a file with these bytes, and of its first bad rows.
async fn say<I: Import>(sandbox: &Sandbox, app: &App, kind: &I, bytes: &[u8]) -> String {
    let path = sandbox.write("file.csv", bytes);
    let said = match import_file(app, kind, &path, &ImportOptions::default()).await {
        Err(error) => error.to_string(),
        Ok(report) if report.bad == 0 => {
            format!("{} rows, {} new, {} already", report.rows, report.new, report.already)
        }
        Ok(report) => {
            assert!(report.is_rejected() && !report.written, "{report:?}");
            report.bad_rows.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
    };
    said.replace(&format!("{}/", path.parent().expect("a folder").display()), "")
}

/// One account, acme in New York since 2013, and the first of June 2013.
async fn with_acme() -> (Sandbox, App, AccountId) {
    let sandbox = Sandbox::new().await;
    let acme = sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
    let app = sandbox.at("2013-06-01T00:00:00Z");
    (sandbox, app, acme)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn the_excerpt_is_imported_and_importing_it_again_changes_nothing() {
    let sandbox = Sandbox::new().await;
    let app = sandbox.at("2014-01-02T00:00:00Z");
    let (accounts, purchases, usage) = (sandbox.accounts_kind(), sandbox.purchases_kind(), sandbox.usage_kind());
    assert_eq!(import_all(&app, &accounts, &data("accounts.csv")).await.new, 12);
    assert_eq!(import_all(&app, &purchases, &data("purchases.csv")).await.new, 18);
    let report = import_all(&app, &usage, &data("usage.csv.gz")).await;
    assert_eq!((report.rows, report.new, report.already), (1_881, 1_881, 0));
    assert_eq!(report.refused, 78); // counted beforehand, by a script of twenty lines
    sandbox.assert_verified().await;

    let rows = app.store.count_transactions().await.expect("a count");
    let later = sandbox.at("2014-02-02T00:00:00Z");
    let again = [
        import_all(&later, &accounts, &data("accounts.csv")).await,
        import_all(&later, &purchases, &data("purchases.csv")).await,
        import_all(&later, &usage, &data("usage.csv.gz")).await,
    ];
    assert_eq!(again.map(|report| (report.rows - report.already, report.new, report.refused)), [(0, 0, 0); 3]);
    assert_eq!(app.store.count_transactions().await.expect("a count"), rows);
    sandbox.assert_verified().await;
}

/// The order of rows decides which of them are refused, but no order breaks the ledger; and however a file is cut into
/// parts, each part reaches back to the months that its rows need.
#[tokio::test]
async fn an_excerpt_out_of_order_gives_the_same_ledger_in_one_file_or_in_many() {
    let mut text = String::new();
    let file = std::fs::File::open(data("usage.csv.gz")).expect("the excerpt");
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("text");
    let mut rows: Vec<&str> = text.lines().skip(1).collect();
    // From the end to the beginning, but for every third row: months open late and early, lapses are taken back.
    rows.reverse();
    let (mut last, first): (Vec<_>, Vec<_>) = rows.into_iter().enumerate().partition(|(at, _)| at % 3 == 0);
    last.reverse();
    let rows: Vec<&str> = first.into_iter().chain(last).map(|(_, row)| row).collect();

    let mut ledgers = Vec::new();
    for rows_per_file in [usize::MAX, 97] {
        let sandbox = Sandbox::new().await;
        let app = sandbox.at("2014-01-02T00:00:00Z");
        import_all(&app, &sandbox.accounts_kind(), &data("accounts.csv")).await;
        import_all(&app, &sandbox.purchases_kind(), &data("purchases.csv")).await;
        let mut refused = 0;
        for part in rows.chunks(rows_per_file) {
            let path = sandbox.write("part.csv", format!("{USAGE_HEADER}{}\n", part.join("\n")));
            let report = import_all(&app, &sandbox.usage_kind(), &path).await;
            assert_eq!((report.new, report.already), (part.len() as u64, 0));
            refused += report.refused;
        }
        assert!(refused > 0);
        sandbox.assert_verified().await;
        let again = import_all(&app, &sandbox.usage_kind(), &data("usage.csv.gz")).await;
        assert_eq!((again.new, again.already), (0, 1_881));
        sandbox.assert_verified().await;
        ledgers.push(app.store.log_page(&LogFilter::default(), None, 10_000).await.expect("the log"));
    }
    assert!(ledgers[0].iter().any(|(_, row)| row.corrects.is_some()));
    assert_eq!(ledgers[0], ledgers[1]);
}

/// Every kind of row that cannot be, each between two good ones. Nothing of such a file is kept.
#[tokio::test]
async fn a_bad_row_is_told_with_its_place_and_nothing_of_its_file_is_kept() {
    let (sandbox, app, _) = with_acme().await;
    let rows_before = app.store.count_transactions().await.expect("a count");
    let mut said = Vec::new();
    let good = |n: usize| format!("2013-01-05T12:00:00Z,acme,ann,erase,success,,good-{n}\n");
    let long = format!("2013-01-05T12:00:00Z,acme,ann,erase,success,{},k", "x".repeat(501));
    let endless = format!("{},acme,ann,erase,success,,k", "9".repeat(1_000_000));
    for bad in [
        "2013-01-05T12:00:00Z,nobody,ann,erase,success,,k",
        "2013-01-05T12:00:00Z,a b,ann,erase,success,,k",
        "2013-01-05T12:00:00Z,,ann,erase,success,,k",
        "2013-01-05T12:00:00Z,acme,ann,teleport,success,,k",
        "2013-01-05T12:00:00Z,acme,ann,,success,,k",
        "2013-01-05T12:00:00Z,acme,ann,erase,done,,k",
        "2013-01-05T12:00:00Z,acme,ann,erase,,,k",
        "2013-01-05T12:00:00Z,acme,ann,erase,success,,",
        "2013-01-05T12:00:00Z,acme,a nn,erase,success,,k",
        "2013-01-05T12:00:00Z,acme,ann,erase,success,a\u{7}b,k",
        &long,
        &endless,
        "2013-01-05 12:00,acme,ann,erase,success,,k",
        "2013-01-05T12:00:00,acme,ann,erase,success,,k",
        "2013-02-30T12:00:00Z,acme,ann,erase,success,,k",
        "20130-01-05T12:00:00Z,acme,ann,erase,success,,k",
        ",acme,ann,erase,success,,k",
        "2013-06-01T00:00:00.000001Z,acme,ann,erase,success,,k",
        "2013-01-01T04:59:59.999999Z,acme,ann,erase,success,,k",
        "2013-01-06T12:00:00Z,acme,ann,erase,success,,good-1",
        "2013-01-05T12:00:00Z,acme,ann,erase,success,k",
        "2013-01-05T12:00:00Z,acme,ann,erase,success,,k,more",
        "acme",
    ] {
        let file = format!("{USAGE_HEADER}{}{bad}\n{}", good(1), good(2));
        said.push(say(&sandbox, &app, &sandbox.usage_kind(), file.as_bytes()).await);
    }
    let not_utf8 = [USAGE_HEADER.as_bytes(), b"2013-01-05T12:00:00Z,acme,ann,erase,success,caf\xe9,k\n"].concat();
    said.push(say(&sandbox, &app, &sandbox.usage_kind(), &not_utf8).await);
    for bad in [
        "2013-01-05T12:00:00Z,acme,-1,inv-1",
        "2013-01-05T12:00:00Z,acme,0,inv-1",
        "2013-01-05T12:00:00Z,acme,100001,inv-1",
        "2013-01-05T12:00:00Z,acme,9223372036854775807,inv-1",
        "2013-01-05T12:00:00Z,acme,9223372036854775808,inv-1",
        "2013-01-05T12:00:00Z,acme,1.5,inv-1",
        "2013-01-05T12:00:00Z,acme,+1,inv-1",
        "2013-01-05T12:00:00Z,acme,\"1,000\",inv-1",
        "2013-01-05T12:00:00Z,acme,,inv-1",
        "2013-01-05T12:00:00Z,acme,1,",
        "2013-01-05T12:00:00Z,nobody,1,inv-1",
        "2014-01-05T12:00:00Z,acme,1,inv-1",
        "2012-01-05T12:00:00Z,acme,1,inv-1",
        "2013-01-05T12:00:00Z,acme,2,good-1",
    ] {
        let row = |n: usize| format!("2013-01-05T12:00:00Z,acme,1,good-{n}\n");
        let file = format!("{PURCHASE_HEADER}{}{bad}\n{}", row(1), row(2));
        said.push(say(&sandbox, &app, &sandbox.purchases_kind(), file.as_bytes()).await);
    }
    for bad in [
        "b/c,Name,UTC,2013-01-01,ann@b.example",
        "bad,Name,Mars/Olympus,2013-01-01,ann@b.example",
        "bad,Name,,2013-01-01,ann@b.example",
        "bad,Name,UTC,01.02.2013,ann@b.example",
        "bad,Name,UTC,2013-02-29,ann@b.example",
        "bad,Name,UTC,1969-12-31,ann@b.example",
        "bad,Name,UTC,2200-01-01,ann@b.example",
        "bad,Name,UTC,2013-01-01,not an address",
        "bad,Na\u{0}me,UTC,2013-01-01,ann@b.example",
        "good-1,Another name,UTC,2013-01-01,",
        "acme,Account acme,UTC,2013-01-01,",
    ] {
        let row = |n: usize| format!("good-{n},Good,UTC,2013-01-01,\n");
        let file = format!("{ACCOUNT_HEADER}{}{bad}\n{}", row(1), row(2));
        said.push(say(&sandbox, &app, &sandbox.accounts_kind(), file.as_bytes()).await);
    }
    assert_eq!(app.store.count_transactions().await.expect("a count"), rows_before);
    assert_eq!(app.store.count_accounts().await.expect("a count"), 1);
    insta::assert_snapshot!(said.join("\n"), @r#"
    file.csv:3: column 2 (account): unknown_account: there is no account nobody; `creditd account list` shows those there are
    file.csv:3: column 2 (account): the account id has the character ' '; allowed are letters, digits, '-', '_' and '.'
    file.csv:3: column 2 (account): the account id is empty
    file.csv:3: column 4 (action): unknown_action: there is no action teleport; `creditd actions list` shows those there are
    file.csv:3: column 4 (action): the action code is empty
    file.csv:3: column 5 (status): must be success or failed, not "done"
    file.csv:3: column 5 (status): must be success or failed, not ""
    file.csv:3: column 7 (key): the key is empty
    file.csv:3: column 3 (user): the user id has the character ' '; allowed are printable ASCII without spaces
    file.csv:3: column 6 (comment): the comment has the character '\u{7}'; allowed are all but control characters
    file.csv:3: column 6 (comment): the comment is longer than 500 characters
    file.csv:3: column 1 (occurred_at): "999999999999999999999999999999999999999999999999999999999999999…" is not an instant such as 2026-03-01T00:00:00Z
    file.csv:3: column 1 (occurred_at): "2013-01-05 12:00" is not an instant such as 2026-03-01T00:00:00Z
    file.csv:3: column 1 (occurred_at): "2013-01-05T12:00:00" is not an instant such as 2026-03-01T00:00:00Z
    file.csv:3: column 1 (occurred_at): "2013-02-30T12:00:00Z" is not an instant such as 2026-03-01T00:00:00Z
    file.csv:3: column 1 (occurred_at): "20130-01-05T12:00:00Z" is not an instant such as 2026-03-01T00:00:00Z
    file.csv:3: column 1 (occurred_at): "" is not an instant such as 2026-03-01T00:00:00Z
    file.csv:3: column 1 (occurred_at): in_future: account acme: 2013-06-01T00:00:00.000001Z is later than now (2013-06-01T00:00:00Z); check the time that is told and this machine's clock
    file.csv:3: column 1 (occurred_at): not_opened: account acme opens at 2013-01-01T05:00:00Z, after 2013-01-01T04:59:59.999999Z
    file.csv:3: contradicts line 2, which has the same key (or account, or payment) and other values
    file.csv:3: has 6 columns, the header has 7
    file.csv:3: has 8 columns, the header has 7
    file.csv:3: has 1 column, the header has 7
    file.csv:2: column 6 (comment): is not UTF-8 text
    file.csv:3: column 3 (packs): bad_quantity: account acme: the number of packs must be 1 to 100,000, not -1
    file.csv:3: column 3 (packs): bad_quantity: account acme: the number of packs must be 1 to 100,000, not 0
    file.csv:3: column 3 (packs): bad_quantity: account acme: the number of packs must be 1 to 100,000, not 100,001
    file.csv:3: column 3 (packs): 9,223,372,036,854,775,807 packs cost more than can be counted
    file.csv:3: column 3 (packs): must be a whole number, not "9223372036854775808"
    file.csv:3: column 3 (packs): must be a whole number, not "1.5"
    file.csv:3: column 3 (packs): must be a whole number, not "+1"
    file.csv:3: column 3 (packs): must be a whole number, not "1,000"
    file.csv:3: column 3 (packs): must be a whole number, not ""
    file.csv:3: column 4 (reference): the reference is empty
    file.csv:3: column 2 (account): unknown_account: there is no account nobody; `creditd account list` shows those there are
    file.csv:3: column 1 (occurred_at): in_future: account acme: 2014-01-05T12:00:00Z is later than now (2013-06-01T00:00:00Z); check the time that is told and this machine's clock
    file.csv:3: column 1 (occurred_at): not_opened: account acme opens at 2013-01-01T05:00:00Z, after 2012-01-05T12:00:00Z
    file.csv:3: contradicts line 2, which has the same key (or account, or payment) and other values
    file.csv:3: column 1 (account): the account id has the character '/'; allowed are letters, digits, '-', '_' and '.'
    file.csv:3: column 3 (time_zone): "Mars/Olympus" is not a time zone of the IANA database, such as Europe/Berlin
    file.csv:3: column 3 (time_zone): "" is not a time zone of the IANA database, such as Europe/Berlin
    file.csv:3: column 4 (opened_on): "01.02.2013" is not a date such as 2026-03-01
    file.csv:3: column 4 (opened_on): "2013-02-29" is not a date such as 2026-03-01
    file.csv:3: column 4 (opened_on): the year 1969 is outside 1970 to 2199
    file.csv:3: column 4 (opened_on): the year 2200 is outside 1970 to 2199
    file.csv:3: column 5 (admin_email): "not an address" is not an e-mail address (name@domain)
    file.csv:3: column 2 (name): the name has the character '\0'; allowed are all but control characters
    file.csv:3: contradicts line 2, which has the same key (or account, or payment) and other values
    file.csv:3: column 1 (account): the account is there already and its time zone was America/New_York when it opened, not UTC; it opened at 2013-01-01T05:00:00Z, not 2013-01-01T00:00:00Z; `creditd account set` changes accounts
    "#);
}

/// R12: a payment is of one account: not of two in one file, nor of one that has it not.
#[tokio::test]
async fn r12_a_payment_is_imported_for_one_account() {
    let (sandbox, app, acme) = with_acme().await;
    sandbox.open_account("beta", "UTC", "2013-01-01").await;
    app.purchase(&acme, &purchase(1, "pi_1")).await.expect("a pack");
    let row = |account: &str, reference: &str| format!("2013-01-05T12:00:00Z,{account},1,{reference}\n");
    let kind = sandbox.purchases_kind();
    let rows_before = app.store.count_transactions().await.expect("a count");
    let header = "occurred_at,account,packs,reference\n";
    let twice = [header, &row("acme", "pi_2"), &row("beta", "pi_2")].concat();
    let of_another = [header, &row("acme", "pi_2"), &row("beta", "pi_1")].concat();
    let said =
        [say(&sandbox, &app, &kind, twice.as_bytes()).await, say(&sandbox, &app, &kind, of_another.as_bytes()).await];
    insta::assert_snapshot!(said.join("\n"), @"
    file.csv:3: contradicts line 2, which has the same key (or account, or payment) and other values
    file.csv:3: column 4 (reference): payment_used: account beta: the payment pi_1 was recorded for account acme, and a payment counts once; nothing was written. If acme got it by mistake, return it there (creditd return pi_1 --account acme) and record it here under another reference, such as pi_1-moved
    ");
    assert_eq!(app.store.count_transactions().await.expect("a count"), rows_before);

    let skip_bad = ImportOptions { skip_bad: Some(sandbox.path("bad.csv")), ..ImportOptions::default() };
    let rows =
        [row("acme", "pi_2"), row("beta", "pi_2"), row("beta", "pi_1"), row("beta", "pi_3"), row("acme", "pi_3")];
    let path = sandbox.write("purchases.csv", [header, &rows.concat()].concat());
    let report = import_file(&app, &kind, &path, &skip_bad).await.expect("a readable file");
    assert_eq!((report.rows, report.new, report.bad), (5, 2, 3));
    assert_eq!(report.bad_rows.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 4, 6]);
    sandbox.assert_verified().await;
}

/// `--skip-bad` keeps what is good; the rest is written to a file which, once mended, is imported like any other.
#[tokio::test]
async fn bad_rows_are_put_aside_mended_and_imported() {
    let (sandbox, app, acme) = with_acme().await;
    let kind = sandbox.usage_kind();
    let row = |key: &str| format!("2013-01-05T12:00:00Z,acme,ann,erase,success,\"a, \"\"b\"\"\",{key}\n");
    let bad = [row("k-2").replace("acme", "nobody"), "k-3\n".into(), row("k-4").replace("erase", "eraze")].concat();
    let file = [USAGE_HEADER, &row("k-1"), &bad, &row("k-5"), &row("k-1")].concat();
    let (path, aside) = (sandbox.write("usage.csv", file), sandbox.path("bad.csv"));
    let skip_bad = ImportOptions { skip_bad: Some(aside.clone()), ..ImportOptions::default() };

    let dry_run = ImportOptions { dry_run: true, ..skip_bad.clone() };
    let report = import_file(&app, &kind, &path, &dry_run).await.expect("a readable file");
    assert_eq!((report.rows, report.bad, report.written), (6, 3, false));
    assert!(!aside.exists() && sandbox.log(&acme).await.is_empty());

    let report = import_file(&app, &kind, &path, &skip_bad).await.expect("a readable file");
    assert_eq!((report.rows, report.new, report.already, report.bad), (6, 2, 1, 3));
    assert!(report.written && !report.is_rejected());
    assert_eq!(report.bad_rows.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 4, 5], "in the order of the file");
    assert_eq!(report.bad_file.as_deref(), Some(&*aside));
    let written = std::fs::read_to_string(&aside).expect("the bad rows");
    assert_eq!(written, [USAGE_HEADER, &bad].concat());
    sandbox.assert_verified().await;

    // The file is not overwritten: it may be all that is left of those rows.
    let error = import_file(&app, &kind, &path, &skip_bad).await.expect_err("it is there already");
    assert!(error.to_string().contains("there already"), "{error}");

    let mended = written.replace("nobody", "acme").replace("eraze", "erase").replace("k-3\n", &row("k-3"));
    let report = import_all(&app, &kind, &sandbox.write("mended.csv", mended)).await;
    assert_eq!((report.new, report.already), (3, 0));
    assert_eq!(sandbox.balance(&app, &acme).await.available.free.get(), 1_500);
    assert_eq!(sandbox.log(&acme).await.len(), 1 + 5);
    sandbox.assert_verified().await;

    // Where nothing is bad there is no such file.
    let none = ImportOptions { skip_bad: Some(sandbox.path("none.csv")), ..ImportOptions::default() };
    let report = import_file(&app, &kind, &sandbox.path("mended.csv"), &none).await.expect("a readable file");
    assert_eq!((report.already, report.bad, report.bad_file), (3, 0, None));
    let wrong = sandbox.write("wrong.csv", "a,b\n1,2\n");
    assert!(import_file(&app, &kind, &wrong, &none).await.is_err());
    let left: Vec<String> = std::fs::read_dir(sandbox.path(""))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("none") || name.contains("partial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What only shows while a file is written (here the sum of all packs leaves the range of credits) cannot undo the rows
/// before it. The report says so, the ledger holds, and the file can be sent again.
#[tokio::test]
async fn a_row_that_fails_while_writing_is_told_as_such() {
    let (sandbox, app, acme) = with_acme().await;
    let kind = PurchaseImport { pack_credits: Credits::new(1_000_000_000), ..sandbox.purchases_kind() };
    let rows: String = (0..100).map(|n| format!("2013-01-05T12:00:00Z,acme,100000,inv-{n}\n")).collect();
    let path = sandbox.write("purchases.csv", [PURCHASE_HEADER, &rows].concat());
    for (new, already) in [(92, 0), (0, 92)] {
        let report = import_file(&app, &kind, &path, &ImportOptions::default()).await.expect("a readable file");
        assert_eq!((report.new, report.already, report.bad), (new, already, 8));
        assert!(report.written && !report.is_rejected());
        assert_eq!(report.bad_rows[0].line, 94);
        sandbox.assert_verified().await;
    }
    assert_eq!(sandbox.balance(&app, &acme).await.available.purchased.get(), 92 * 100_000_000_000_000);
}

/// Files that are no table, or another, or broken off.
#[tokio::test]
async fn a_file_that_cannot_be_read_is_told_with_the_line_and_nothing_of_it_is_kept() {
    let (sandbox, app, _) = with_acme().await;
    let kind = sandbox.usage_kind();
    let row = |n: usize| format!("2013-01-05T12:00:00Z,acme,ann,erase,success,,k-{n}\n");
    let good = format!("{USAGE_HEADER}{}{}", row(1), row(2));
    let header = |columns: &str| format!("{columns}\n{}", row(1));
    let mut said = Vec::new();
    for bytes in [
        Vec::new(),
        b"\n\n".to_vec(),
        header("occurred_at,account,user,action,status,comment").into_bytes(),
        header("occurred_at,account,user,action,status,comment,key,colour").into_bytes(),
        header("occurred_at,account,user,action,status,comment,key,key").into_bytes(),
        header("when;account;user;action;status;comment;key").into_bytes(),
        [PURCHASE_HEADER, "2013-01-05T12:00:00Z,acme,1,inv-1\n"].concat().into_bytes(),
        good.clone().into_bytes()[USAGE_HEADER.len()..].to_vec(),
        [&b"\x50\x4b\x03\x04"[..], &[0; 100]].concat(),
        [good.as_bytes(), b"2013-01-05T12:00:00Z,acme,ann,erase,success,\"", &[b'x'; 3_000_000]].concat(),
        [good.as_bytes(), &[b'x'; 3_000_000]].concat(),
        gzip(&[good.as_bytes(), &[b'x'; 3_000_000]].concat()),
        [&gzip(good.as_bytes())[..], b"and more"].concat(),
    ] {
        said.push(say(&sandbox, &app, &kind, &bytes).await);
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    file.csv:1: the file is empty; the header must name the columns occurred_at, account, user, action, status, comment, key
    file.csv:1: the file is empty; the header must name the columns occurred_at, account, user, action, status, comment, key
    file.csv:1: the column "key" is missing; the header must name the columns occurred_at, account, user, action, status, comment, key
    file.csv:1: there is no column "colour"; the header must name the columns occurred_at, account, user, action, status, comment, key
    file.csv:1: the column "key" stands there twice; the header must name the columns occurred_at, account, user, action, status, comment, key
    file.csv:1: there is no column "when;account;user;action;status;comment;"; the header must name the columns occurred_at, account, user, action, status, comment, key
    file.csv:1: there is no column "packs"; the header must name the columns occurred_at, account, user, action, status, comment, key
    file.csv:1: there is no column "2013-01-05T12:00:00Z"; the header must name the columns occurred_at, account, user, action, status, comment, key
    file.csv:1: there is no column "PK\u{3}\u{4}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"; the header must name the columns occurred_at, account, user, action, status, comment, key
    file.csv:4: cannot be read: a record is longer than 1048576 bytes; is a quote (") not closed?
    file.csv:4: cannot be read: a record is longer than 1048576 bytes; is a quote (") not closed?
    file.csv:4: cannot be read: a record is longer than 1048576 bytes; is a quote (") not closed?
    file.csv:4: cannot be read: unexpected end of file
    "#);

    // However much of a compressed file arrived: not all of it is not enough.
    let whole = gzip(good.as_bytes());
    for length in 0..whole.len() {
        let path = sandbox.write("cut.csv.gz", &whole[..length]);
        let report = import_file(&app, &kind, &path, &ImportOptions::default()).await;
        assert!(report.is_err(), "{length} of {} bytes: {report:?}", whole.len());
    }
    assert_eq!(app.store.count_transactions().await.expect("a count"), 0);
    assert!(import_file(&app, &kind, &sandbox.path(""), &ImportOptions::default()).await.is_err());
    assert!(import_file(&app, &kind, &sandbox.path("none.csv"), &ImportOptions::default()).await.is_err());
}

/// A pipe can be read only once, and a file is gone through twice: the shell's `<(zcat usage.csv.gz)` is imported whole.
#[cfg(unix)]
#[tokio::test]
async fn a_pipe_is_a_file() {
    let (sandbox, app, _) = with_acme().await;
    let path = sandbox.path("pipe.csv");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(made.success());
    let row = "2013-01-05T12:00:00Z,acme,ann,erase,success,,k-1\n";
    let writer = std::thread::spawn({
        let path = path.clone();
        move || std::fs::write(path, [USAGE_HEADER, row].concat())
    });
    assert_eq!(import_all(&app, &sandbox.usage_kind(), &path).await.new, 1);
    writer.join().expect("the writer").expect("written");
}

/// What spreadsheets and other systems make of a table is the same table.
#[tokio::test]
async fn the_same_table_in_other_bytes_is_the_same() {
    let (sandbox, app, acme) = with_acme().await;
    let kind = sandbox.usage_kind();
    let plain = format!(
        "{USAGE_HEADER}2013-01-05T12:00:00Z,acme,ann,erase,success,\"said \"\"no\"\", twice\",k-1\n\
         2013-01-06T12:00:00Z,acme,,upscale,failed,,k-2\n"
    );
    let crlf = plain.replace('\n', "\r\n");
    let swapped = "key,status,comment,action,user,account,occurred_at\n\
                   k-1,success,\"said \"\"no\"\", twice\",erase,ann,acme,2013-01-05T13:00:00+01:00\n\
                   k-2,failed,,upscale,,acme,2013-01-06T12:00:00.000Z\n";
    let first = say(&sandbox, &app, &kind, plain.as_bytes()).await;
    assert_eq!(first, "2 rows, 2 new, 0 already");
    for bytes in [
        plain.trim_end().as_bytes().to_vec(),
        crlf.clone().into_bytes(),
        ["\u{feff}", &plain].concat().into_bytes(),
        gzip(["\u{feff}", &crlf].concat().as_bytes()),
        [gzip(USAGE_HEADER.as_bytes()), gzip(&plain.as_bytes()[USAGE_HEADER.len()..])].concat(),
        swapped.as_bytes().to_vec(),
        plain.replace('\n', "\n\n").into_bytes(),
        plain.replace(",acme,", ", acme ,").into_bytes(),
    ] {
        let said = say(&sandbox, &app, &kind, &bytes).await;
        assert_eq!(said, "2 rows, 0 new, 2 already", "{:?}", String::from_utf8_lossy(&bytes));
    }
    let log = sandbox.log(&acme).await;
    assert_eq!(log[1].comment, "said \"no\", twice");
    assert_eq!(log.len(), 3);

    // Whatever ends a line, its number is the one that an editor shows.
    let bad = "2013-01-07T12:00:00Z,acme,ann,erase,odd,,k-3";
    for (before, line) in [
        (plain.clone(), 4),
        (crlf, 4),
        (format!("\u{feff}{plain}"), 4),
        (format!("{plain}\n\n"), 6),
        (format!("{}\r\n\r\n", plain.replace('\n', "\r\n")), 6),
        (plain.replace("twice", "over\nand\nover"), 6),
    ] {
        let said = say(&sandbox, &app, &kind, format!("{before}{bad}\n").as_bytes()).await;
        let expected = format!("file.csv:{line}: column 5 (status): must be success or failed, not \"odd\"");
        assert_eq!(said.lines().last(), Some(expected.as_str()), "{before:?}");
    }
}
