//! `verify`: proves conservation over the whole ledger (R16), and that statements say what the log says.
//!
//! The store proves what is stored. What is not stored but made of it each time is a statement: here each account's
//! statement of its whole life is made the way every statement is, and compared with sums taken straight from the log.

use super::{Done, JobError, Kit, Run};
use crate::app::{App, AppError};
use crate::core::calendar::{Instant, YEAR_MAX, YEAR_MIN};
use crate::core::credits::{Credits, Split};
use crate::core::ids::AccountId;
use crate::core::ledger::{Ledger, Refusal};
use crate::core::statement::{Counts, DateRange, Figures, Grouping, LINES_PER_PERIOD, Line, ReportSpec, Scope};
use crate::core::transaction::{Kind, Status, Transaction};
use crate::report::aggregate;
use crate::store::{Drift, Load, StatementSums};
use chrono::NaiveDate;
use std::collections::BTreeSet;

/// Differing rows named in the error; `creditd verify` shows them all.
const DRIFTS_NAMED: usize = 3;
/// Accounts whose statements are made at once.
const ACCOUNTS_AT_ONCE: usize = 1_000;

const WHOLE: &str = "rows that have left the database are in the sealed files";
const STATEMENTS: &str = "a statement over the whole life of an account is what the log says";

/// What was proved.
#[derive(Clone, Debug)]
pub struct Proof {
    /// How many checks were done.
    pub checks: usize,
    /// The first differences that each found.
    pub drifts: Vec<Drift>,
}

/// Recomputes everything from the transactions.
///
/// # Errors
/// [`JobError::Drift`] when the ledger does not add up.
pub async fn run(kit: &Kit, run: &mut Run<'_>) -> Result<Done, JobError> {
    let Proof { checks, drifts } = prove(&kit.app, None, run).await?;
    let files = if kit.app.settings.sealed.enabled { kit.app.check_sealed().await? } else { Vec::new() };
    if drifts.is_empty() && files.is_empty() {
        return Ok(Done {
            summary: format!("{checks} checks over the whole ledger, no difference"),
            ..Done::default()
        });
    }
    let named = |lines: Vec<String>| lines.into_iter().take(DRIFTS_NAMED).collect::<Vec<_>>().join("; ");
    let of = |d: &Drift| format!("{}: {}: {} should be {}, is {}", d.check, d.account, d.what, d.expected, d.found);
    let mut said = Vec::new();
    if !drifts.is_empty() {
        let drifts = named(drifts.iter().map(of).collect());
        said.push(format!("the ledger does not add up; `creditd verify` shows all differences. The first: {drifts}"));
    }
    if !files.is_empty() {
        let files = named(files);
        said.push(format!(
            "the sealed files are not what was written; `creditd verify --sealed` shows all. The first: {files}"
        ));
    }
    Err(JobError::Drift(said.join(" And ")))
}

/// Recomputes everything of all accounts, or of one, and compares.
///
/// # Errors
/// [`JobError`] when it cannot be done; what differs is no error here.
pub async fn prove(app: &App, account: Option<&AccountId>, run: &mut Run<'_>) -> Result<Proof, JobError> {
    let total = match account {
        Some(_) => 1,
        None => app.store.count_accounts().await?,
    };
    let mut audit = app.store.audit(account);
    let mut done = 0;
    (run.progress)(done, Some(total));
    while let Some(accounts) = audit.step().await? {
        // Where rows have left the database, what they are part of is proved on a copy in which they are back.
        let whole = match audit.have_left() {
            true => app.whole(Some(&accounts)).await.map(Some),
            false => app.whole_if_dropped(Some(&accounts)).await,
        };
        let whole = match whole {
            Ok(whole) => whole,
            // Something that no ledger takes was written past creditd, or a file is not as it was.
            Err(error) if is_about_rows(&error) => {
                audit.note(WHOLE, [unproved(&accounts, &error)]);
                // Those of which no row has left are proved all the same.
                for id in complete(app, &accounts).await? {
                    run.check_stop()?;
                    let mut one = app.store.audit(Some(&id));
                    one.step().await?;
                    audit.absorb(one);
                    audit.note(STATEMENTS, check_statements(app, &[id]).await?);
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(whole) = &whole {
            audit.look_into(&whole.store).await?;
        }
        for some in accounts.chunks(ACCOUNTS_AT_ONCE) {
            run.check_stop()?;
            let mut drifts = check_statements(whole.as_ref().unwrap_or(app), some).await?;
            // Where some have left meanwhile, what was found may be these.
            if whole.is_none()
                && let Some(whole) = app.whole_if_dropped(Some(some)).await?
            {
                drifts = check_statements(&whole, some).await?;
            }
            audit.note(STATEMENTS, drifts);
            done += some.len() as u64;
            (run.progress)(done, Some(total));
        }
        run.check_stop()?;
    }
    audit.note(STATEMENTS, []);
    let (checks, drifts) = audit.finish();
    Ok(Proof { checks, drifts })
}

/// Where a value that nobody wrote keeps the statements of some accounts from being made, each is tried alone.
async fn check_statements(app: &App, accounts: &[AccountId]) -> Result<Vec<Drift>, JobError> {
    match compare_statements(app, accounts).await {
        Err(error) if !is_about_data(&error) => Err(error),
        Err(error) => {
            if let [account] = accounts {
                return Ok(vec![drift(account, "the statement", "can be made", error.to_string())]);
            }
            let mut drifts = Vec::new();
            for account in accounts {
                drifts.extend(Box::pin(check_statements(app, std::slice::from_ref(account))).await?);
            }
            Ok(drifts)
        }
        done => done,
    }
}

/// That rows of some of `accounts`, which have left the database, cannot be laid out.
fn unproved(accounts: &[AccountId], error: &AppError) -> Drift {
    let account = match (error, accounts) {
        (AppError::Lacking(account), _) => account.to_string(),
        (_, [only]) => only.to_string(),
        _ => "-".to_owned(),
    };
    Drift {
        check: WHOLE,
        account,
        what: "rows that have left the database".to_owned(),
        expected: "in the sealed files, as they were written".to_owned(),
        found: error.to_string(),
    }
}

/// Those of `accounts` of which no row has left the database.
async fn complete(app: &App, accounts: &[AccountId]) -> Result<Vec<AccountId>, AppError> {
    let left: BTreeSet<AccountId> =
        app.store.openings(Some(accounts)).await?.into_iter().map(|opening| opening.account).collect();
    Ok(accounts.iter().filter(|id| !left.contains(*id)).cloned().collect())
}

fn is_about_rows(error: &AppError) -> bool {
    match error {
        AppError::Store(error) => error.is_about_data(),
        AppError::Sealed(error) => error.is_of_files(),
        AppError::Lacking(_) => true,
        _ => false,
    }
}

fn is_about_data(error: &JobError) -> bool {
    match error {
        JobError::Store(error) | JobError::App(AppError::Store(error)) => error.is_about_data(),
        JobError::App(AppError::Refused(_)) | JobError::Refused(_) | JobError::Report(_) => true,
        _ => false,
    }
}

async fn compare_statements(app: &App, accounts: &[AccountId]) -> Result<Vec<Drift>, JobError> {
    let now = app.now();
    let ledgers: Vec<Ledger> = app.store.load(&Load::accounts(accounts, now)).await?.ledgers.into_values().collect();
    // Sums and statements read the same rows, whatever is written meanwhile.
    let through: Vec<(AccountId, i64)> = ledgers.iter().map(|l| (l.account.id.clone(), l.last_seq)).collect();
    let mut sums = app.store.statement_sums(&through).await?;
    let mut expected = Vec::with_capacity(ledgers.len());
    for ledger in &ledgers {
        let mut of_account = sums.remove(&ledger.account.id).unwrap_or_default();
        add_unwritten(&mut of_account, ledger, now)?;
        expected.push(of_account);
    }
    let life = life()?;
    let (reported, rows) = app.report_rows_of(ledgers, life, now).await?;
    let spec = ReportSpec::new("", life, Grouping::Range, Scope::Account, now)?;
    let model = aggregate(&spec, &reported, &rows)?;
    let mut drifts = Vec::new();
    for ((section, account), expected) in model.sections().zip(&reported).zip(&expected) {
        drifts.extend(differences(&account.id, section.subtotal, expected));
    }
    if model.subtotals.len() != expected.len() * LINES_PER_PERIOD {
        let (expected, found) = (expected.len() * LINES_PER_PERIOD, model.subtotals.len());
        drifts.extend(accounts.first().map(|first| drift(first, "lines of statements", expected, found)));
    }
    Ok(drifts)
}

/// All days that creditd knows.
fn life() -> Result<DateRange, JobError> {
    let first = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default();
    Ok(DateRange::new(first(YEAR_MIN), first(YEAR_MAX + 1))?)
}

/// Adds what a reset at `now` would write (R3): statements count it, and the log does not have it yet.
fn add_unwritten(sums: &mut StatementSums, ledger: &Ledger, now: Instant) -> Result<(), Refusal> {
    if ledger.due_at() > now {
        return Ok(());
    }
    let mut ahead = ledger.clone();
    ahead.roll_over(now, now)?;
    for Transaction { kind, status, reason, delta: Split { free, purchased }, .. } in ahead.rows() {
        let (column, sign) = match kind {
            Kind::Allocation => (0, 1),
            Kind::Purchase => (1, 1),
            Kind::Bonus => (2, 1),
            Kind::Charge | Kind::Hold | Kind::Release => (3, -1),
            Kind::Refund => (4, 1),
            Kind::Expiry => (5, -1),
            Kind::Return => (6, -1),
            Kind::Adjustment => (7, 1),
            _ => continue,
        };
        for (figures, change) in [(&mut sums.free, free.get()), (&mut sums.purchased, purchased.get())] {
            figures[column] += sign * change;
            figures[8] += change;
        }
        if *kind == Kind::Charge {
            let outcome = if *status == Status::Success { 0 } else { 1 + usize::from(reason.is_some()) };
            sums.actions[outcome] += 1;
        }
    }
    Ok(())
}

/// Where the lines of a statement differ from the sums.
fn differences(account: &AccountId, lines: [Line; LINES_PER_PERIOD], sums: &StatementSums) -> Vec<Drift> {
    let mut drifts = Vec::new();
    let both = std::array::from_fn(|at| sums.free[at] + sums.purchased[at]);
    for (line, expected) in lines.into_iter().zip([sums.free, sums.purchased, both]) {
        let Figures {
            carried_in,
            allocated,
            purchased,
            bonus,
            consumed,
            refunded,
            lapsed,
            returned,
            adjusted,
            remaining,
        } = line.figures;
        let found = [allocated, purchased, bonus, consumed, refunded, lapsed, returned, adjusted, remaining];
        if found.map(Credits::get) != expected || !carried_in.is_zero() {
            let what = format!(
                "{}: carried_in, allocated, purchased, bonus, consumed, refunded, lapsed, returned, adjusted, remaining",
                line.credit_type
            );
            let shown = |carried_in: i64, figures: [i64; 9]| {
                let figures = std::iter::once(carried_in).chain(figures).map(|figure| figure.to_string());
                figures.collect::<Vec<_>>().join(", ")
            };
            let found = shown(carried_in.get(), found.map(Credits::get));
            drifts.push(drift(account, what, shown(0, expected), found));
        }
    }
    let [succeeded, failed, refused] = sums.actions;
    let expected = Counts { succeeded, failed, refused };
    let found = lines[LINES_PER_PERIOD - 1].counts.unwrap_or_default();
    if found != expected {
        let shown = |counts: Counts| format!("{}, {}, {}", counts.succeeded, counts.failed, counts.refused);
        drifts.push(drift(account, "succeeded, failed, refused", shown(expected), shown(found)));
    }
    drifts
}

fn drift(account: &AccountId, what: impl Into<String>, expected: impl ToString, found: impl ToString) -> Drift {
    Drift {
        check: STATEMENTS,
        account: account.to_string(),
        what: what.into(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}
