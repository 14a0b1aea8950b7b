//! What belongs to no account: the action credit matrix, what `init` recorded, the schema's versions, the runs of jobs and the
//! tokens of programs.

use super::Findings;
use super::facts::{Facts, bytes, facts, text};
use super::reading::{check_digest, drift};
use crate::core::run::RunState;
use crate::core::schedule::{Job, Slot};
use crate::store::backend::Tx;
use crate::store::sql::{Row as Stored, Sql};
use crate::store::{Incident, Result, While};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

const META: &str = "what the ledger is stands as it was written";
const PRICE: &str = "a price is as it was written";
const MATRIX: &str = "an action and all its prices are as they were written";
const SCHEMA: &str = "the schema is that of this program";
const RUN: &str = "a run is one that a job can have";
const INCIDENT: &str = "an incident is of a job and a slot that there can be";
const SEALED: &str = "the manifests of the sealed ledger are as they were written, each naming the one before";
const TOKEN: &str = "a token is as it was written";

/// Where the name of an account stands in a drift otherwise.
const NO_ACCOUNT: &str = "-";

const META_FACTS: Sql = facts!("SELECT ", " FROM meta AS t", t "name", t "value");
const PRICE_FACTS: Sql = facts!(
    "SELECT ", " FROM prices AS t ORDER BY t.action, t.effective_from",
    t "action", i "effective_from", i "credits"
);
const ACTION_FACTS: Sql = facts!("SELECT ", " FROM actions AS t ORDER BY t.code", t "code", t "title", t "help");
const TOKEN_FACTS: Sql = facts!(
    "SELECT ", " FROM tokens AS t ORDER BY t.id",
    t "id", t "hash", t "name", t "scope", t "account_id", i "created_at", i "expires_at", i "revoked_at"
);

pub(super) async fn check(tx: &mut Tx, findings: &mut Findings) -> Result<()> {
    findings.does([META, PRICE, MATRIX, SCHEMA, RUN, INCIDENT, SEALED, TOKEN]);
    check_meta(tx, findings).await?;
    check_matrix(tx, findings).await?;
    check_schema(tx, findings).await?;
    check_sealed(tx, findings).await?;
    check_incidents(tx, findings).await?;
    check_tokens(tx, findings).await?;
    check_runs(tx, findings).await
}

async fn check_sealed(tx: &mut Tx, findings: &mut Findings) -> Result<()> {
    let rows = tx.query("SELECT number, manifest, hash FROM sealed ORDER BY number").fetch_all().await;
    let mut previous = serde_json::Value::Null;
    for (row, number) in rows.while_("reading what is sealed")?.iter().zip(1_i64..) {
        let (manifest, hash) = (bytes(row, 1), text(row, 2).unwrap_or_default());
        let mut differs = |what: &str, expected: &dyn ToString, found: &dyn ToString| {
            findings.add(drift(
                SEALED,
                NO_ACCOUNT,
                format!("part {number}: {what}"),
                expected.to_string(),
                found.to_string(),
            ));
        };
        let computed: String = Sha256::digest(manifest).iter().map(|byte| format!("{byte:02x}")).collect();
        if computed != hash {
            differs("hash", &computed, &hash);
        }
        let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap_or_default();
        for (name, expected) in [("number", number.into()), ("previous", previous)] {
            if manifest[name] != expected {
                differs(name, &expected, &manifest[name]);
            }
        }
        if row.get::<i64>(0) != number {
            differs("number in the table", &number, &row.get::<i64>(0));
        }
        previous = hash.into();
    }
    Ok(())
}

/// The facts of each row.
async fn read(tx: &mut Tx, sql: Sql) -> Result<Vec<Stored>> {
    tx.query(sql).fetch_all().await.while_("reading what belongs to no account")
}

fn facts(row: &Stored, count: usize) -> Option<Facts<'_>> {
    Facts::next(&mut bytes(row, 0), count)
}

async fn check_meta(tx: &mut Tx, findings: &mut Findings) -> Result<()> {
    let mut names = BTreeSet::new();
    let rows = read(tx, META_FACTS).await?;
    for row in rows.iter().filter_map(|row| facts(row, 2)) {
        check_digest(META, NO_ACCOUNT, row.text(0).unwrap_or_default(), &row, findings);
        names.extend(row.text(0));
    }
    for name in ["created_at", "sandbox"] {
        if !names.contains(name) {
            findings.add(drift(META, NO_ACCOUNT, "names", name, "none"));
        }
    }
    Ok(())
}

/// An action's digest counts its prices, too, so that none is lost or added.
async fn check_matrix(tx: &mut Tx, findings: &mut Findings) -> Result<()> {
    let prices = read(tx, PRICE_FACTS).await?;
    let mut prices_of: BTreeMap<&str, Vec<Facts<'_>>> = BTreeMap::new();
    for price in prices.iter().filter_map(|row| facts(row, 3)) {
        let what = format!("price of {} from {}", price.text(0).unwrap_or_default(), price.text(1).unwrap_or_default());
        check_digest(PRICE, NO_ACCOUNT, &what, &price, findings);
        prices_of.entry(price.text(0).unwrap_or_default()).or_default().push(price);
    }
    let actions = read(tx, ACTION_FACTS).await?;
    for action in actions.iter().filter_map(|row| facts(row, 3)) {
        let code = action.text(0).unwrap_or_default();
        let digest = action.digest_with(&prices_of.remove(code).unwrap_or_default());
        if digest != action.stored() {
            findings.add(drift(MATRIX, NO_ACCOUNT, format!("action {code}: digest"), digest, action.stored()));
        }
    }
    for action in prices_of.keys() {
        findings.add(drift(MATRIX, NO_ACCOUNT, format!("prices of {action}"), "an action", "none"));
    }
    Ok(())
}

async fn check_schema(tx: &mut Tx, findings: &mut Findings) -> Result<()> {
    let rows = tx
        .query("SELECT version, description, success, checksum, execution_time FROM _sqlx_migrations ORDER BY version")
        .fetch_all()
        .await
        .while_("reading the schema's versions")?;
    let shown = |version: i64, description: &str, success: bool, checksum: &[u8], time: i64| {
        let sum: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{version} {description}, {}, {sum}, {time}", if success { "applied" } else { "not applied" })
    };
    let found: Vec<String> = rows
        .iter()
        .map(|row| {
            let description = text(row, 1).unwrap_or_default();
            shown(row.get(0), &description, row.get(2), &row.get::<Vec<u8>>(3), row.get(4))
        })
        .collect();
    let known = tx.migrations();
    let expected: Vec<String> = known.iter().map(|m| shown(m.version, &m.description, true, &m.checksum, 0)).collect();
    findings.compare(SCHEMA, NO_ACCOUNT, "versions", &expected.join("; "), &found.join("; "));
    Ok(())
}

async fn check_tokens(tx: &mut Tx, findings: &mut Findings) -> Result<()> {
    for token in read(tx, TOKEN_FACTS).await?.iter().filter_map(|row| facts(row, 8)) {
        check_digest(TOKEN, NO_ACCOUNT, &format!("token {}", token.text(0).unwrap_or_default()), &token, findings);
    }
    Ok(())
}

/// Since when a job fails, and why, is the job's own word.
async fn check_incidents(tx: &mut Tx, findings: &mut Findings) -> Result<()> {
    let rows = tx.query("SELECT job, slot FROM incidents ORDER BY job").fetch_all().await;
    for row in &rows.while_("reading which jobs fail")? {
        let [place, slot] = [0, 1].map(|at| text(row, at).unwrap_or_default());
        let covered = slot.parse::<Slot>().ok().map(Slot::covers);
        if covered.is_none() || Incident::job_at(&place).map(Job::covers) != covered {
            let found = format!("{place}, {slot}");
            findings.add(drift(INCIDENT, NO_ACCOUNT, "job, slot", "what there is", found));
        }
    }
    Ok(())
}

/// What a run can be: its slot falls due when it says, it ended or it did not, and one that ended says how. When it was
/// begun, how often and what came of it is the job's own word.
async fn check_runs(tx: &mut Tx, findings: &mut Findings) -> Result<()> {
    let mut rows = tx
        .query("SELECT r.job, r.slot, r.slot_at, r.state, r.attempts, r.finished_at, r.outcome, r.backfill = 0 OR b.number IS NOT NULL
               FROM runs AS r LEFT JOIN backfills AS b ON b.number = r.backfill ORDER BY r.job, r.slot")
        .fetch();
    while let Some(row) = rows.try_next().await.while_("reading the runs of jobs")? {
        let [job, slot, state] = [0, 1, 3].map(|at| text(&row, at).unwrap_or_default());
        let (slot_at, attempts) = (row.get::<i64>(2), row.get::<i64>(4));
        let (finished_at, outcome) = (row.get::<Option<i64>>(5), text(&row, 6));
        let what = |column: &str| format!("run of {job} for {slot}: {column}");
        let due = slot.parse::<Slot>().ok().map(Slot::due_at);
        let known = RunState::from_word(&state);
        if Job::from_word(&job).is_none()
            || known.is_none()
            || (attempts < 1 && !matches!(known, Some(RunState::Waiting | RunState::Cancelled)))
        {
            let found = format!("{job}, {state}, {attempts}");
            findings.add(drift(RUN, NO_ACCOUNT, what("job, state, attempts"), "what there is", found));
        }
        if due.is_none_or(|due| due.micros() != slot_at) {
            let expected = due.map_or_else(|| "of a slot".to_owned(), |due| due.micros().to_string());
            findings.add(drift(RUN, NO_ACCOUNT, what("slot_at"), expected, slot_at));
        }
        if !row.get::<bool>(7) {
            findings.add(drift(RUN, NO_ACCOUNT, what("backfill"), "one that there is", "none"));
        }
        let has_ended = matches!(known, Some(RunState::Done | RunState::Failed | RunState::Cancelled));
        let says_why = known == Some(RunState::Cancelled) || outcome.is_some() == has_ended;
        if finished_at.is_some() != has_ended || !says_why {
            let found = format!("{finished_at:?}, {outcome:?}");
            findings.add(drift(RUN, NO_ACCOUNT, what("finished_at, outcome"), format!("as {state}"), found));
        }
    }
    Ok(())
}
