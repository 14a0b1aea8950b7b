//! What is attached to messages: each has the content whose hash it names, and there is nothing else.

use super::facts;
use super::reading::drift;
use super::{Findings, Slice, slice};
use crate::store::backend::Tx;
use crate::store::sql::{Row, Sql};
use crate::store::{Result, While};
use futures_util::TryStreamExt;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use sqlx::Row as _;
use std::collections::BTreeSet;

const CHECK: &str = "an attachment is what its messages name";

/// The lists of attachments.
const NAMED: Sql = Sql { sqlite: NAMED_TEXT, postgres: NAMED_TEXT };
const NAMED_TEXT: &str = concat!(
    "SELECT t.account_id, t.attachments FROM outbox AS t WHERE ",
    slice!("t"),
    " AND t.attachments IS NOT NULL"
);
/// What is there.
const PARTS: Sql = Sql { sqlite: PARTS_TEXT, postgres: PARTS_TEXT };
const PARTS_TEXT: &str = concat!("SELECT t.account_id, t.sha256, t.content FROM outbox_parts AS t WHERE ", slice!("t"));

#[derive(Deserialize)]
struct Part {
    sha256: String,
}

/// The statements on a slice here.
#[cfg(test)]
pub(super) fn statements() -> [Sql; 2] {
    [NAMED, PARTS]
}

pub(super) async fn check(tx: &mut Tx, slice: &Slice, findings: &mut Findings) -> Result<()> {
    findings.does([CHECK]);
    let mut named: BTreeSet<(String, String)> = BTreeSet::new();
    let mut lists = tx.query(NAMED).bind(slice.from.as_str()).bind(slice.to.as_str()).fetch();
    while let Some(row) = lists.try_next().await.while_("reading which attachments messages have")? {
        let (account, list) = (text(&row, 0), text(&row, 1));
        match serde_json::from_str::<Vec<Part>>(&list) {
            Ok(parts) => named.extend(parts.into_iter().map(|part| (account.clone(), part.sha256))),
            Err(_) => findings.add(drift(CHECK, &account, "attachments of a message", "a list", list)),
        }
    }
    drop(lists);
    let mut parts = tx.query(PARTS).bind(slice.from.as_str()).bind(slice.to.as_str()).fetch();
    while let Some(row) = parts.try_next().await.while_("reading attachments")? {
        let (account, stored) = (text(&row, 0), text(&row, 1));
        let content = match &row {
            Row::Sqlite(row) => row.get::<&[u8], _>(2),
            Row::Postgres(row) => row.get::<&[u8], _>(2),
        };
        let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        findings.compare(CHECK, &account, &format!("attachment {stored}: SHA-256 of its content"), &stored, &hash);
        if !named.remove(&(account.clone(), stored.clone())) {
            findings.add(drift(CHECK, &account, format!("attachment {stored}"), "a message that has it", "none"));
        }
    }
    drop(parts);
    for (account, missing) in named {
        findings.add(drift(CHECK, &account, format!("attachment {missing}"), "its content", "none"));
    }
    Ok(())
}

fn text(row: &Row, at: usize) -> String {
    facts::text(row, at).unwrap_or_default()
}
