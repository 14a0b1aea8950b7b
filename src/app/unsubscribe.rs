//! Ending mails by the token of a link, for whoever has one.

use super::{App, AppError};
use crate::core::unsubscribe::{BadToken, Unsubscribe};
use crate::store::Admin;

impl App {
    /// Ends the mails that `token` names, which may be done again and again; returns which, and what the admin gets now: `None`
    /// for nothing, because the account has no such admin any more.
    ///
    /// # Errors
    /// [`AppError::BadToken`] for what is no token of this ledger; [`AppError::Store`].
    pub async fn unsubscribe(&self, token: &str) -> Result<(Unsubscribe, Option<Admin>), AppError> {
        let key = self.store.signing_key().await?.ok_or(BadToken)?;
        let asked = Unsubscribe::of_token(token, &key)?;
        let admin = self.store.end_wish(&asked).await?;
        Ok((asked, admin))
    }
}
