//! Folding SQLite's write-ahead log into its file, beside the writer.
//!
//! By default the writer does it itself, inside the commit that makes the log long enough: every few batches one caller waits
//! for thousands of pages and two syncs more. Here another connection does it while the next batches are written. It
//! never makes anybody wait; what it leaves, when writers do not pause, the writer finishes at its own, larger limit.

use sqlx::Row as _;
use sqlx::sqlite::SqlitePool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Pages in the log, of 4 KiB, that are worth a checkpoint: SQLite's own measure.
const WORTH_PAGES: i64 = 1_000;

/// The checkpoints of one ledger.
#[derive(Clone, Debug)]
pub(super) struct Checkpoints(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: SqlitePool,
    is_running: AtomicBool,
}

impl Checkpoints {
    pub fn new(pool: SqlitePool) -> Checkpoints {
        Checkpoints(Arc::new(Inner { pool, is_running: AtomicBool::new(false) }))
    }

    /// Begins a checkpoint in the background when the log has grown long enough and none is under way.
    pub fn after_a_commit(&self) {
        if self.0.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = Running(Arc::clone(&self.0));
        tokio::spawn(async move {
            if let Err(error) = fold(&running.0.pool).await {
                // The writer's own limit stands behind it.
                tracing::debug!(%error, "a checkpoint beside the writer failed");
            }
        });
    }

    pub async fn close(&self) {
        self.0.pool.close().await;
    }
}

/// A checkpoint under way: it is over however its task ends, also by a panic, so that the next one can begin.
struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.is_running.store(false, Ordering::Release);
    }
}

/// A checkpoint, if there is much to fold.
async fn fold(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    // Whether somebody was in the way, pages in the log, pages of them in the file.
    let look = sqlx::query("PRAGMA wal_checkpoint(NOOP)").fetch_one(pool).await?;
    if look.get::<i64, _>(1) - look.get::<i64, _>(2) >= WORTH_PAGES {
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(pool).await?;
    }
    Ok(())
}
