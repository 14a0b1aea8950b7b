//! The keys by which links, cookies and forms are signed: made when they are first needed, kept with the ledger, shown to nobody.
//!
//! There is one, until all visits are to end at once: from then on they have a key of their own, which is made anew each time, and the
//! links by which mails are ended go on to work.

use super::backend::in_write;
use super::digest::digest;
use super::{Result, Store, StoreError, While};
use crate::core::signed::{KEY_BYTES, SigningKey};

/// Its name in `meta`, of what it signed first: links in mails that were sent go on to work.
const NAME: &str = "unsubscribe_key";
/// That of the key of visits, where it is another.
const OF_VISITS: &str = "visit_key";

impl Store {
    /// The ledger's key, where one was needed before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn signing_key(&self) -> Result<Option<SigningKey>> {
        self.key_named(NAME).await
    }

    /// The key of links to the pages, cookies and forms, where it is another than [`Store::signing_key`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn visit_key(&self) -> Result<Option<SigningKey>> {
        self.key_named(OF_VISITS).await
    }

    /// From now on visits are signed by these random bytes: whatever was signed for them before opens nothing.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn renew_visit_key(&self, fresh: [u8; KEY_BYTES]) -> Result<()> {
        let value = hexadecimal(&fresh);
        in_write!(self, "committing the key of visits", |tx| {
            tx.query(
                "INSERT INTO meta (name, value, digest) VALUES ($1, $2, $3)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value, digest = excluded.digest",
            )
            .bind(OF_VISITS)
            .bind(value.clone())
            .bind(digest!(OF_VISITS, value))
            .execute()
            .await
            .while_("writing the key of visits")?;
            Ok(())
        })
    }

    async fn key_named(&self, name: &'static str) -> Result<Option<SigningKey>> {
        let found = self.query("SELECT value FROM meta WHERE name = $1").bind(name);
        let found = found.fetch_all().await.while_("reading the signing key")?;
        found.first().map(|row| read(row.get(0))).transpose()
    }

    /// The ledger's key: the one that is there, or these random bytes from now on. Of many who come first, all get the same.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn signing_key_or(&self, fresh: [u8; KEY_BYTES]) -> Result<SigningKey> {
        if let Some(key) = self.signing_key().await? {
            return Ok(key);
        }
        let value = hexadecimal(&fresh);
        in_write!(self, "committing the signing key", |tx| {
            tx.query("INSERT INTO meta (name, value, digest) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING")
                .bind(NAME)
                .bind(value.clone())
                .bind(digest!(NAME, value))
                .execute()
                .await
                .while_("writing the signing key")?;
            let row = tx.query("SELECT value FROM meta WHERE name = $1").bind(NAME).fetch_one().await;
            read(row.while_("reading the signing key")?.get(0))
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Its bytes in hexadecimal. An error does not show them.
fn read(text: &str) -> Result<SigningKey> {
    let byte = |at: usize| text.get(2 * at..2 * at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let bytes: Option<Vec<u8>> = (0..KEY_BYTES).map(byte).collect();
    let key = bytes.filter(|_| text.len() == 2 * KEY_BYTES).and_then(|bytes| bytes.try_into().ok());
    key.map(SigningKey::new).ok_or_else(|| StoreError::Corrupt("the signing key".to_owned()))
}
