//! A copy of the ledger's file, made while it is in use.

use super::backend::Backend;
use super::sql::Failed;
use super::{Result, Store, While};
use std::path::Path;

impl Store {
    /// Writes the whole ledger, as it is at one instant, to the new file `to`. Others read and write meanwhile. False on a
    /// server, which has programs of its own for that.
    ///
    /// # Errors
    /// [`super::StoreError`]; what was written until then is of no use.
    pub async fn copy_to(&self, to: &Path) -> Result<bool> {
        let Backend::Sqlite { reader, file, .. } = &self.backend else { return Ok(false) };
        // It reads in one transaction, and writes rows and indexes in their order: the copy is whole and without gaps.
        let copy = sqlx::query("VACUUM INTO $1").bind(to.to_string_lossy().into_owned()).execute(reader).await;
        copy.map_err(|source| Failed::at(file, source)).while_("copying the ledger")?;
        Ok(true)
    }

    /// What SQLite finds wrong with the structure of the file, at most `limit` lines; nothing where all is well, and on a
    /// server.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn broken_pages(&self, limit: u32) -> Result<Vec<String>> {
        let Backend::Sqlite { reader, file, .. } = &self.backend else { return Ok(Vec::new()) };
        let check = format!("PRAGMA integrity_check({limit})");
        let found: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(check))
            .fetch_all(reader)
            .await
            .map_err(|source| Failed::at(file, source))
            .while_("checking the structure of the file")?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }
}
