//! How the ledger and what is around it stand: figures for metrics and for whoever looks after it.

use super::tally::ChargeOutcome;
use super::{App, AppError};
use crate::clock::Clock;
use crate::store::Figures;
use chrono::NaiveDate;
use std::path::{Path, PathBuf};

/// How the ledger stands, and its files.
#[derive(Clone, Debug)]
pub struct Health {
    /// What the database says.
    pub figures: Figures,
    /// How far this machine's clock was ahead of the database's, in microseconds; also on a sandbox that has another.
    pub clock_skew_us: i64,
    /// Days of UTC that are over and whose rows are not in sealed files yet; `None` where sealing is off.
    pub unsealed_days: Option<u64>,
    /// The folders that creditd writes to, with the bytes that are free there; none where the system does not say.
    pub folders: Vec<(&'static str, PathBuf, Option<u64>)>,
}

impl App {
    /// How the ledger and its files stand.
    ///
    /// # Errors
    /// [`AppError::Store`].
    pub async fn health(&self) -> Result<Health, AppError> {
        let database_at = self.store.clock().await?;
        let clock_skew_us = Clock::System.now().micros() - database_at.micros();
        let figures = self.store.figures().await?;
        let unsealed_days = if self.settings.sealed.enabled { Some(self.unsealed_days().await?) } else { None };
        let folders = self.folders();
        let asked = tokio::task::spawn_blocking(move || {
            folders.into_iter().map(|(name, folder)| (name, free_bytes(&folder).ok(), folder)).collect::<Vec<_>>()
        });
        let folders = asked.await.unwrap_or_default();
        let folders = folders.into_iter().map(|(name, free, folder)| (name, folder, free)).collect();
        Ok(Health { figures, clock_skew_us, unsealed_days, folders })
    }

    async fn unsealed_days(&self) -> Result<u64, AppError> {
        let chain = self.store.sealed_chain().await?;
        let sealed_to = chain.manifests().iter().map(|part| part.days.to).max();
        let from = match sealed_to {
            Some(day) => day,
            None => match self.store.first_recorded_at().await? {
                Some(first) => first.to_utc().date_naive(),
                None => return Ok(0),
            },
        };
        Ok(days_between(from, self.now().to_utc().date_naive()))
    }

    /// The folders that creditd writes to, by what is written there.
    #[must_use]
    pub fn folders(&self) -> Vec<(&'static str, PathBuf)> {
        let ledger = self.store.folder().map(|folder| ("ledger", folder.to_owned()));
        ledger.into_iter().chain(self.settings.folders()).collect()
    }

    /// What came of the charges of this process.
    pub fn charges(&self) -> impl Iterator<Item = (ChargeOutcome, u64)> {
        self.tally.counts()
    }
}

fn days_between(from: NaiveDate, to: NaiveDate) -> u64 {
    u64::try_from((to - from).num_days()).unwrap_or(0)
}

/// Bytes that a program of this user can still write in `folder`, or in the nearest folder above it that is there.
///
/// # Errors
/// What the system says.
pub fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let there = folder.ancestors().find(|folder| folder.exists()).filter(|folder| !folder.as_os_str().is_empty());
    let stat = rustix::fs::statvfs(there.unwrap_or(Path::new(".")))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
