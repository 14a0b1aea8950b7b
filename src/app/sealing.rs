//! Sealing: days that are over go from the database into files (DESIGN 8), and the files are compared with the database.

use super::{App, AppError};
use crate::core::calendar::Instant;
use crate::core::credits::Split;
use crate::core::ids::AccountId;
use crate::core::sealed::{Chain, Manifest, RecordedDays, SeqRange};
use crate::core::transaction::Transaction;
use crate::sealed::{Balances, Folder, PartWriter, SealedError, Tidied, read_balances, read_rows};
use crate::store::Store;
use std::collections::BTreeMap;

/// Rows that are held in memory at once.
const ROWS_AT_ONCE: i64 = 100_000;
/// Accounts that are looked through at once.
const ACCOUNTS_AT_ONCE: usize = 10_000;
/// Rows of an account that are looked through for those of the days. Where more are not sealed yet, as in a ledger that is
/// sealed for the first time, the last of the days is looked for, so that years are not read again for each month.
const ROWS_LOOKED_THROUGH: i64 = 1_000;
/// Differences of one part that are named.
const DIFFERENCES_MAX: usize = 20;
/// Files outside of the chain that are named.
const OUTSIDE_NAMED_MAX: usize = 10;

/// What sealing has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Write the rows that were recorded on these days.
    Days(RecordedDays),
    /// Join the parts of a month, whose days these are.
    Month(RecordedDays, Vec<Manifest>),
}

/// What came of comparing the sealed files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedProof {
    /// The parts that hold the rows.
    pub parts: u64,
    /// Their rows, by their manifests.
    pub rows: u64,
    /// One line for each difference, the first few of each part.
    pub problems: Vec<String>,
}

/// The next step of sealing.
#[derive(Clone, Debug)]
pub struct NextSealing {
    chain: Chain,
    /// What it is.
    pub sealing: Sealing,
}

impl App {
    /// The folder of the sealed files.
    #[must_use]
    pub fn sealed_folder(&self) -> Folder {
        Folder::new(self.settings.sealed.dir.clone())
    }

    /// What is to be sealed now; `None` when every day that is over is.
    ///
    /// # Errors
    /// [`AppError::Store`].
    pub async fn next_sealing(&self) -> Result<Option<NextSealing>, AppError> {
        let chain = self.store.sealed_chain().await?;
        let today = self.now().to_utc().date_naive();
        let Some(first) = self.store.first_recorded_at().await? else { return Ok(None) };
        if let Some(days) = chain.days_to_seal(first.to_utc().date_naive(), today) {
            return Ok(Some(NextSealing { chain, sealing: Sealing::Days(days) }));
        }
        let joined: Vec<Manifest> = chain.parts_to_join().into_iter().cloned().collect();
        let (Some(first), Some(last)) = (joined.first(), joined.last()) else { return Ok(None) };
        let days = RecordedDays { from: first.days.from, to: last.days.to };
        Ok(Some(NextSealing { chain, sealing: Sealing::Month(days, joined) }))
    }

    /// Removes the files of parts that are over, and writes manifests again that are missing. Readers of files go on.
    ///
    /// # Errors
    /// [`AppError`] when the folder cannot be read, or a file not be removed or written.
    pub async fn tidy_sealed(&self) -> Result<Tidied, AppError> {
        let (folder, chain) = (self.sealed_folder(), self.store.sealed_chain().await?);
        blocking(move || folder.tidy(&chain)).await
    }

    /// Does a step of sealing; [`App::tidy_sealed`] takes away what is over then. `None` when there was nothing on its days, or another process has done it.
    ///
    /// # Errors
    /// [`AppError`] when a file cannot be written or read, or the store fails; the ledger and what is sealed stay as they were.
    pub async fn seal(&self, next: NextSealing) -> Result<Option<Manifest>, AppError> {
        let NextSealing { chain, sealing } = next;
        let folder = self.sealed_folder();
        let written = match sealing {
            Sealing::Days(days) => seal_days(&self.store, &folder, &chain, days).await?,
            Sealing::Month(days, parts) => {
                let before = chain.parts().iter().rev().find(|part| part.days.to <= days.from).copied().cloned();
                let joining = Joining { folder, next: chain.next(), days, parts, before };
                blocking(move || joining.run()).await?
            }
        };
        Ok(self.store.add_sealed(&written).await?.then_some(written))
    }

    /// Whether every sealed file is there and as it was written, to the bit, and no other. One line for each that is not.
    ///
    /// # Errors
    /// [`AppError::Store`] when the database fails, which has the manifests.
    pub async fn check_sealed(&self) -> Result<Vec<String>, AppError> {
        let chain = self.store.sealed_chain().await?;
        let found = self.check_files(chain.clone()).await?;
        // What is missing may have been joined into others meanwhile.
        let now = self.store.sealed_chain().await?;
        if found.is_empty() || now == chain { Ok(found) } else { self.check_files(now).await }
    }

    async fn check_files(&self, chain: Chain) -> Result<Vec<String>, AppError> {
        let folder = self.sealed_folder();
        let check = move || {
            let manifests = chain.manifests().iter().map(|manifest| folder.check_manifest(manifest));
            let files = chain.parts().into_iter().flat_map(|part| [&part.log, &part.balances]);
            let all = manifests.chain(files.map(|facts| folder.hash(facts)));
            let mut found: Vec<String> =
                all.filter_map(|checked| checked.err().map(|error| error.to_string())).collect();
            found.extend(outside(&folder, &chain)?);
            Ok(found)
        };
        blocking(check).await
    }

    /// The files in the folder that are outside of the chain: a line for each of the first, and one for how many more.
    ///
    /// # Errors
    /// [`AppError`] when the database fails or the folder cannot be read.
    pub async fn files_outside(&self) -> Result<Vec<String>, AppError> {
        let (folder, chain) = (self.sealed_folder(), self.store.sealed_chain().await?);
        blocking(move || outside(&folder, &chain)).await
    }

    /// The sealed files that are missing or of another size, a line for each: what can be said without reading them.
    ///
    /// # Errors
    /// [`AppError`] when the database fails.
    pub async fn files_lacking(&self) -> Result<Vec<String>, AppError> {
        let look = |chain: Chain| {
            let folder = self.sealed_folder();
            blocking(move || Ok(folder.lacking(&chain)))
        };
        let found = look(self.store.sealed_chain().await?).await?;
        // What is missing may have been joined into others meanwhile.
        if found.is_empty() { Ok(found) } else { look(self.store.sealed_chain().await?).await }
    }

    /// Compares the sealed files with their manifests, and their rows with the database.
    ///
    /// # Errors
    /// [`AppError::Store`] when the database fails, which has the manifests.
    pub async fn verify_sealed(
        &self,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<SealedProof, AppError> {
        let chain = self.store.sealed_chain().await?;
        let folder = self.sealed_folder();
        let manifests = chain.manifests().iter().filter_map(|manifest| folder.check_manifest(manifest).err());
        let mut problems: Vec<String> = manifests.map(|error| error.to_string()).collect();
        let parts = chain.parts();
        let rows = parts.iter().map(|part| part.rows).sum();
        let mut read = 0;
        let mut before = Some(Balances::default());
        for part in &parts {
            let progress = &mut |more| progress(read + more, Some(rows));
            let (found, balances) = self.verify_part(&folder, part, before, progress).await?;
            problems.extend(found);
            read += part.rows;
            before = balances;
        }
        problems.extend(self.files_outside().await?);
        Ok(SealedProof { parts: parts.len() as u64, rows, problems })
    }

    /// Compares a part. `before` are the balances with which the part before it ends, if those could be read; else it is not
    /// known which rows are in this one, and only the files are looked at.
    async fn verify_part(
        &self,
        folder: &Folder,
        part: &Manifest,
        before: Option<Balances>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(Vec<String>, Option<Balances>), AppError> {
        let (of_files, files) = (folder.clone(), part.clone());
        let hashed = blocking_sealed(move || {
            of_files.hash(&files.log)?;
            of_files.hash(&files.balances)?;
            read_balances(&of_files, &files)
        });
        let balances = match hashed.await {
            Ok(balances) => balances,
            Err(error) => return Ok((vec![error.to_string()], None)),
        };
        let Some(before) = before else { return Ok((Vec::new(), Some(balances))) };
        let mut problems = Vec::new();
        let (mut rows, mut delta) = (0, Split::ZERO);
        for ranges in SeqRange::batches(ranges_between(&before, &balances)?, ROWS_AT_ONCE) {
            let expected = self.store.rows_in(&ranges, Instant::MAX).await?;
            // Behind the rows: of those that have left by now, none is missed.
            let ids: Vec<AccountId> = ranges.iter().map(|range| range.account_id.clone()).collect();
            let openings = self.store.openings(Some(&ids)).await?.into_iter();
            let openings: BTreeMap<AccountId, i64> = openings.map(|opening| (opening.account, opening.seq)).collect();
            let (of_files, log) = (folder.clone(), part.log.clone());
            let found = match blocking_sealed(move || read_rows(&of_files, &log, &ranges)).await {
                Ok(found) => found,
                Err(error) => {
                    problems.push(error.to_string());
                    break;
                }
            };
            rows += found.len() as u64;
            delta = found.iter().try_fold(delta, |sum, (_, row)| sum.plus(row.delta)).map_err(SealedError::from)?;
            progress(rows);
            let mut found: BTreeMap<(AccountId, i64), Transaction> =
                found.into_iter().map(|(id, row)| ((id, row.seq), row)).collect();
            for (id, row) in expected {
                let seq = row.seq;
                let differs = match found.remove(&(id.clone(), seq)) {
                    Some(sealed) if sealed == row => continue,
                    Some(_) => "is another one in the database",
                    None => "is missing",
                };
                problems.push(format!("{}: row {seq} of {id} {differs}", part.log.name));
            }
            let has_left = |((id, seq), row): &(&(AccountId, i64), &Transaction)| {
                row.kind.is_of_action() && openings.get(id).is_some_and(|opening| seq <= opening)
            };
            let missing = found.iter().filter(|one| !has_left(one));
            problems.extend(
                missing.map(|((id, seq), _)| format!("{}: row {seq} of {id} is not in the database", part.log.name)),
            );
            if problems.len() > DIFFERENCES_MAX {
                problems.truncate(DIFFERENCES_MAX);
                problems.push(format!("{}: and more", part.log.name));
                break;
            }
        }
        if problems.is_empty() && (rows, delta) != (part.rows, part.delta()) {
            problems.push(format!("{}: its rows or their sums are not those of its manifest", part.log.name));
        }
        Ok((problems, Some(balances)))
    }
}

/// One line for each of the first files that are outside of the chain, and one for how many more there are.
fn outside(folder: &Folder, chain: &Chain) -> Result<Vec<String>, SealedError> {
    let names = folder.outside(chain)?;
    let says = |name: &String| {
        format!(
            "the file {} is no part of the sealed ledger; move it out of the folder",
            folder.path().join(name).display()
        )
    };
    let more = names.len().saturating_sub(OUTSIDE_NAMED_MAX);
    let mut lines: Vec<String> = names.iter().take(OUTSIDE_NAMED_MAX).map(says).collect();
    if more > 0 {
        lines.push(format!("and {more} more that are no part of it"));
    }
    Ok(lines)
}

/// Writes what was recorded until the end of `days` and is in no part yet.
async fn seal_days(store: &Store, folder: &Folder, chain: &Chain, days: RecordedDays) -> Result<Manifest, AppError> {
    let newest = chain.parts().last().map(|part| (*part).clone());
    let (of_files, next) = (folder.clone(), chain.next());
    let (balances, mut writer) = blocking(move || {
        if let Some(part) = &newest {
            of_files.check([&part.balances])?;
        }
        let balances = newest.map(|part| read_balances(&of_files, &part)).transpose()?.unwrap_or_default();
        Ok((balances, PartWriter::begin(&of_files, next, days, Vec::new())?))
    })
    .await?;
    let (mut at, mut last) = (0, None);
    loop {
        let accounts = store.all_rows(last.as_ref(), ACCOUNTS_AT_ONCE).await?;
        let Some(newest) = accounts.last() else { break };
        last = Some(newest.account_id.clone());
        let mut before = BTreeMap::new();
        let mut ranges = Vec::new();
        for range in accounts {
            let sealed = balances.find(&range.account_id, &mut at);
            let after = sealed.map_or(0, |(seq, _)| seq);
            before.insert(range.account_id.clone(), sealed);
            let mut range = SeqRange { after, ..range };
            if range.rows() > ROWS_LOOKED_THROUGH {
                range.through = store.last_recorded_before(&range, days.end()).await?;
            }
            ranges.push(range);
        }
        for ranges in SeqRange::batches(ranges, ROWS_AT_ONCE) {
            let rows = store.rows_in(&ranges, days.end()).await?;
            let mut of_account = accounts_of(ranges);
            for (id, row) in rows {
                of_account.entry(id).or_default().push(row);
            }
            let known: Vec<_> = of_account
                .into_iter()
                .map(|(id, rows)| (before.get(&id).copied().flatten(), id, rows))
                .filter(|(before, _, rows)| before.is_some() || !rows.is_empty())
                .collect();
            writer = blocking(move || {
                for (before, id, rows) in known {
                    writer.add(id, before, rows)?;
                }
                Ok(writer)
            })
            .await?;
        }
    }
    Ok(blocking(move || writer.finish()).await?.into())
}

/// Parts of a month on their way into one.
struct Joining {
    folder: Folder,
    next: (u64, Option<String>),
    days: RecordedDays,
    parts: Vec<Manifest>,
    before: Option<Manifest>,
}

impl Joining {
    fn run(self) -> Result<Manifest, SealedError> {
        let Joining { folder, next, days, parts, before } = self;
        let files =
            parts.iter().flat_map(|part| [&part.log, &part.balances]).chain(before.iter().map(|part| &part.balances));
        folder.check(files)?;
        let balances = |part: Option<&Manifest>| {
            part.map(|part| read_balances(&folder, part)).transpose().map(Option::unwrap_or_default)
        };
        let (before, after) = (balances(before.as_ref())?, balances(parts.last())?);
        let replaced = parts.iter().map(|part| part.number).collect();
        let mut writer = PartWriter::begin(&folder, next, days, replaced)?;
        let mut at = 0;
        for ranges in SeqRange::batches(ranges_between(&before, &after)?, ROWS_AT_ONCE) {
            let mut rows = Vec::new();
            for part in &parts {
                rows.extend(read_rows(&folder, &part.log, &ranges)?);
            }
            let mut of_account = accounts_of(ranges);
            for (id, row) in rows {
                of_account.entry(id).or_default().push(row);
            }
            for (id, mut rows) in of_account {
                rows.sort_by_key(|row| row.seq);
                let before = before.find(&id, &mut at);
                writer.add(id, before, rows)?;
            }
        }
        let joined: Manifest = writer.finish()?.into();
        let delta = parts.iter().try_fold(Split::ZERO, |sum, part| sum.plus(part.delta()))?;
        if joined.rows != parts.iter().map(|part| part.rows).sum::<u64>() || joined.delta() != delta {
            return Err(SealedError::Strange(format!(
                "other sums than the parts that are joined in {}",
                joined.log.name
            )));
        }
        Ok(joined)
    }
}

/// The accounts of `ranges`, without rows.
fn accounts_of(ranges: Vec<SeqRange>) -> BTreeMap<AccountId, Vec<Transaction>> {
    ranges.into_iter().map(|range| (range.account_id, Vec::new())).collect()
}

/// What accounts have between two balances, in order; also of those that have nothing.
fn ranges_between(before: &Balances, after: &Balances) -> Result<Vec<SeqRange>, SealedError> {
    let mut at = 0;
    let range = |account: usize| {
        let account_id = AccountId::new(after.account(account).unwrap_or_default())
            .map_err(|error| SealedError::Strange(error.to_string()))?;
        let through = after.get(account).map_or(0, |(seq, _)| seq);
        let from = before.find(&account_id, &mut at).map_or(0, |(seq, _)| seq);
        Ok(SeqRange { account_id, after: from, through })
    };
    (0..after.len()).map(range).collect()
}

/// Runs what waits for disks, away from those who wait for answers.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SealedError> + Send + 'static,
) -> Result<T, AppError> {
    Ok(blocking_sealed(work).await?)
}

pub(super) async fn blocking_sealed<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SealedError> + Send + 'static,
) -> Result<T, SealedError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|died| Err(SealedError::Died(died.to_string())))
}
