//! The suppression list: addresses that get no mail, because a server said that nobody is there or a person wants none.

use super::backend::in_write;
use super::ledgers::limit_of;
use super::sql::set;
use super::{Result, Store, StoreError, While, json};
use crate::core::calendar::Instant;
use crate::core::ids::Email;
use crate::core::outbox::NoticeKey;

/// An address on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// The address.
    pub address: Email,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Instant,
    /// The message that was refused; none where a person decided.
    pub message: Option<NoticeKey>,
}

impl Store {
    /// The suppression list, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn suppressions(&self, limit: usize) -> Result<Vec<Suppression>> {
        let rows = self
            .query("SELECT address, reason, since, message FROM suppressions ORDER BY since DESC, address LIMIT $1")
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("listing suppressed addresses")?;
        rows.iter()
            .map(|row| {
                let message = row.get::<Option<&str>>(3).map(str::parse).transpose();
                Ok(Suppression {
                    address: Email::new(row.get(0))?,
                    reason: row.get(1),
                    since: Instant::from_micros(row.get(2)),
                    message: message.map_err(|error| StoreError::Corrupt(format!("suppressed address: {error}")))?,
                })
            })
            .collect()
    }

    /// Those of `addresses` that are on the list, in whatever spelling.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn suppressed_of(&self, addresses: &[Email]) -> Result<Vec<Email>> {
        let rows = self
            .query(set!(address =>
                "SELECT DISTINCT v.address FROM v CROSS JOIN suppressions AS s WHERE lower(s.address) = lower(v.address)
                  ORDER BY v.address"
            ))
            .bind(json(addresses)?)
            .fetch_all()
            .await
            .while_("looking for addresses in the suppression list")?;
        rows.iter().map(|row| Ok(Email::new(row.get(0))?)).collect()
    }

    /// Puts an address on the list; false when it is there already, for whatever reason.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn suppress(&self, address: &Email, reason: &str, now: Instant) -> Result<bool> {
        let done = in_write!(self, "committing a suppressed address", |tx| {
            tx.query(
                "INSERT INTO suppressions (address, reason, since) SELECT $1, $2, $3
                  WHERE NOT EXISTS (SELECT 1 FROM suppressions WHERE lower(address) = lower($1))",
            )
            .bind(address.as_str())
            .bind(reason)
            .bind(now.micros())
            .execute()
            .await
            .while_("suppressing an address")
        })?;
        Ok(done.rows_affected() > 0)
    }

    /// Takes an address from the list, so that what is written from now on is mailed to it; false when it is not there.
    /// What was put aside meanwhile stays so until it is tried again.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn unsuppress(&self, address: &Email) -> Result<bool> {
        let done = in_write!(self, "committing an address that is mailed again", |tx| {
            tx.query("DELETE FROM suppressions WHERE lower(address) = lower($1)")
                .bind(address.as_str())
                .execute()
                .await
                .while_("taking an address from the suppression list")
        })?;
        Ok(done.rows_affected() > 0)
    }
}
