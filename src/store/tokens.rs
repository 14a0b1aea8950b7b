//! Bearer tokens: their hashes, and what each opens.

use super::backend::in_write;
use super::digest::digest;
use super::ledgers::limit_of;
use super::sql::{Row, Sql};
use super::{Result, Store, StoreError, While};
use crate::core::access::{Reach, Scope};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::token::{Token, TokenHash, TokenId};

/// A token as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// What it opens.
    pub token: Token,
    /// When it was last used, to the minute; `None` for never.
    pub last_used_at: Option<Instant>,
}

/// The columns of a token, in the order in which [`read`] reads them.
macro_rules! columns {
    () => {
        "hash, name, scope, account_id, created_at, expires_at, revoked_at, digest, last_used_at"
    };
}

impl Store {
    /// Keeps a new token.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn add_token(&self, token: &Token) -> Result<()> {
        in_write!(self, "committing a token", |tx| {
            tx.query(
                "INSERT INTO tokens (id, hash, name, scope, account_id, created_at, expires_at, revoked_at, digest)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(token.hash.id().as_str().to_owned())
            .bind(token.hash.as_str())
            .bind(token.name.as_str())
            .bind(token.scope.as_str())
            .bind(account_of(token).map(AccountId::as_str))
            .bind(token.created_at.micros())
            .bind(token.expires_at.map(Instant::micros))
            .bind(token.revoked_at.map(Instant::micros))
            .bind(digest_of(token))
            .execute()
            .await
            .while_("writing a token")
        })
        .map(drop)
    }

    /// The token with this hash, whether it still opens anything or not. One that was changed past creditd is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn token(&self, hash: &TokenHash) -> Result<Option<TokenRecord>> {
        const ONE: &str = concat!("SELECT ", columns!(), " FROM tokens WHERE id = $1");
        let found =
            self.query(ONE).bind(hash.id().as_str().to_owned()).fetch_all().await.while_("looking for a token")?;
        let record = found.first().map(read).transpose()?;
        Ok(record.filter(|record| record.token.hash == *hash))
    }

    /// Tokens, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tokens(&self, limit: usize) -> Result<Vec<TokenRecord>> {
        const ALL: &str = concat!("SELECT ", columns!(), " FROM tokens ORDER BY created_at DESC, id LIMIT $1");
        let rows = self.query(ALL).bind(limit_of(limit)).fetch_all().await.while_("listing tokens")?;
        rows.iter().map(read).collect()
    }

    /// Lets a token open nothing from now on; the token as it is then, `None` when there is none. One that was revoked stays
    /// revoked as it was.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn revoke_token(&self, id: &TokenId, now: Instant) -> Result<Option<TokenRecord>> {
        const ONE: Sql = Sql {
            sqlite: concat!("SELECT ", columns!(), " FROM tokens WHERE id = $1"),
            postgres: concat!("SELECT ", columns!(), " FROM tokens WHERE id = $1 FOR NO KEY UPDATE"),
        };
        in_write!(self, "committing the end of a token", |tx| {
            let found = tx.query(ONE).bind(id.as_str()).fetch_all().await.while_("looking for a token")?;
            let Some(mut record) = found.first().map(read).transpose()? else { return Ok(None) };
            if record.token.revoked_at.is_none() {
                record.token.revoked_at = Some(now);
                tx.query("UPDATE tokens SET revoked_at = $2, digest = $3 WHERE id = $1")
                    .bind(id.as_str())
                    .bind(now.micros())
                    .bind(digest_of(&record.token))
                    .execute()
                    .await
                    .while_("revoking a token")?;
            }
            Ok(Some(record))
        })
    }

    /// Notes that a token was used, unless that is known of the same time or a later one.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn note_token_use(&self, id: &TokenId, now: Instant) -> Result<()> {
        in_write!(self, "committing the use of a token", |tx| {
            tx.query("UPDATE tokens SET last_used_at = $2 WHERE id = $1 AND coalesce(last_used_at, $3) < $2")
                .bind(id.as_str())
                .bind(now.micros())
                .bind(i64::MIN)
                .execute()
                .await
                .while_("noting the use of a token")
        })
        .map(drop)
    }
}

fn account_of(token: &Token) -> Option<&AccountId> {
    match &token.reach {
        Reach::Platform => None,
        Reach::Account(account) => Some(account),
    }
}

fn digest_of(token: &Token) -> i64 {
    let Token { hash, name, scope, created_at, expires_at, revoked_at, .. } = token;
    let id = hash.id();
    let account = account_of(token);
    digest!(id.as_str(), hash.as_str(), name, scope.as_str(), account, created_at, expires_at, revoked_at)
}

/// A row that is not as it was written could open what nobody meant it to.
fn read(row: &Row) -> Result<TokenRecord> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("token: {what}"));
    let scope = row.get::<&str>(2);
    let account = row.get::<Option<&str>>(3).map(AccountId::new).transpose()?;
    let at = |column: usize| row.get::<Option<i64>>(column).map(Instant::from_micros);
    let token = Token {
        hash: TokenHash::kept(row.get(0)),
        name: row.get(1),
        scope: Scope::from_word(scope).ok_or_else(|| corrupt(scope))?,
        reach: account.map_or(Reach::Platform, Reach::Account),
        created_at: Instant::from_micros(row.get(4)),
        expires_at: at(5),
        revoked_at: at(6),
    };
    if digest_of(&token) != row.get::<i64>(7) {
        return Err(corrupt(&format!("{} is not as it was written", token.hash.id())));
    }
    Ok(TokenRecord { token, last_used_at: at(8) })
}
