//! Admins: who of an account receives which mails.

use super::accounts::lock;
use super::backend::{Tx, in_write};
use super::digest::digest;
use super::sql::{Row, Sql, set};
use super::{Result, Store, StoreError, While, json};
use crate::core::ids::{AccountId, Email};
use crate::core::outbox::{CancelledBecause, NoticeKey, NoticeKind};
use crate::core::unsubscribe::{Unsubscribe, Wish};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A person of an account who receives mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Admin {
    /// Where mail goes.
    pub email: Email,
    /// How the mail greets; may be empty.
    pub name: String,
    /// Low-credit alerts.
    pub alerts: bool,
    /// The statement of each month.
    pub monthly_report: bool,
    /// The statement of each day.
    pub daily_report: bool,
    /// That an alert is over.
    pub resolved: bool,
    /// That unused free credits lapse soon.
    pub lapse_soon: bool,
}

impl Admin {
    /// Whether a mail is wished.
    #[must_use]
    pub const fn wishes(&self, wish: Wish) -> bool {
        match wish {
            Wish::Alerts => self.alerts,
            Wish::Resolved => self.resolved,
            Wish::LapseSoon => self.lapse_soon,
            Wish::MonthlyReport => self.monthly_report,
            Wish::DailyReport => self.daily_report,
        }
    }

    /// Says whether a mail is wished.
    pub const fn set(&mut self, wish: Wish, is_wished: bool) {
        let wished = match wish {
            Wish::Alerts => &mut self.alerts,
            Wish::Resolved => &mut self.resolved,
            Wish::LapseSoon => &mut self.lapse_soon,
            Wish::MonthlyReport => &mut self.monthly_report,
            Wish::DailyReport => &mut self.daily_report,
        };
        *wished = is_wished;
    }

    /// An admin who gets alerts and monthly reports, as most want them.
    #[must_use]
    pub fn with_defaults(email: Email) -> Admin {
        Admin {
            email,
            name: String::new(),
            alerts: true,
            monthly_report: true,
            daily_report: false,
            resolved: false,
            lapse_soon: false,
        }
    }
}

impl Store {
    /// Adds an admin, or replaces what is known of that address, however it was spelt. What was written and has not left does not leave
    /// where it is not wished any more.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn set_admin(&self, account: &AccountId, admin: &Admin) -> Result<()> {
        in_write!(self, "committing an admin", |tx| {
            write_admins(tx, &[(account, admin)]).await?;
            cancel_unwished(tx, account, &admin.email, Some(admin)).await
        })
    }

    /// Takes back one wish of an admin, whatever is written of the same admin meanwhile, and with it the mails of that kind that have
    /// not left; returns what is left, or `None` when the account has no such admin.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn end_wish(&self, asked: &Unsubscribe) -> Result<Option<Admin>> {
        let Unsubscribe { account, address, wish } = asked;
        let ids = json([account])?;
        in_write!(self, "committing what an admin wishes", |tx| {
            lock(tx, &ids).await?;
            let admins = read_admins(tx, &ids).await?;
            let Some((_, mut admin)) = admins.into_iter().find(|(_, admin)| admin.email == *address) else {
                return Ok(None);
            };
            admin.set(*wish, false);
            write_admins(tx, &[(account, &admin)]).await?;
            cancel_unwished(tx, account, address, Some(&admin)).await?;
            Ok(Some(admin))
        })
    }

    /// Says which mails an admin wishes, whatever is written of the same admin meanwhile; returns the admin as written, or `None`
    /// when the account has none with that address. What has not left and is not wished any more does not leave.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn set_wishes(
        &self,
        account: &AccountId,
        email: &Email,
        wishes: &[(Wish, bool)],
    ) -> Result<Option<Admin>> {
        let ids = json([account])?;
        in_write!(self, "committing what an admin wishes", |tx| {
            lock(tx, &ids).await?;
            let admins = read_admins(tx, &ids).await?;
            let Some((_, mut admin)) = admins.into_iter().find(|(_, admin)| admin.email == *email) else {
                return Ok(None);
            };
            wishes.iter().for_each(|(wish, is_wished)| admin.set(*wish, *is_wished));
            write_admins(tx, &[(account, &admin)]).await?;
            cancel_unwished(tx, account, email, Some(&admin)).await?;
            Ok(Some(admin))
        })
    }

    /// Removes an admin, and what was written to that address and has not left; false when there was none with that address.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn remove_admin(&self, account: &AccountId, email: &Email) -> Result<bool> {
        in_write!(self, "committing an admin", |tx| {
            tx.query("DELETE FROM opt_ins WHERE account_id = $1 AND lower(email) = lower($2)")
                .bind(account.as_str())
                .bind(email.as_str())
                .execute()
                .await
                .while_("forgetting what an admin wished")?;
            let done = tx
                .query("DELETE FROM admins WHERE account_id = $1 AND lower(email) = lower($2)")
                .bind(account.as_str())
                .bind(email.as_str())
                .execute()
                .await
                .while_("removing an admin")?;
            cancel_unwished(tx, account, email, None).await?;
            Ok(done.rows_affected() > 0)
        })
    }

    /// Whether any admin wishes daily reports.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_daily_report_wanted(&self) -> Result<bool> {
        let rows = self.query("SELECT 1 FROM admins WHERE daily_report LIMIT 1").fetch_all().await;
        Ok(!rows.while_("asking whether anybody wishes daily reports")?.is_empty())
    }
}

/// Lets nothing more leave of what was written to `email` and is not wished by `admin`, as who is there now: nobody wishes nothing.
async fn cancel_unwished(tx: &mut Tx, account: &AccountId, email: &Email, admin: Option<&Admin>) -> Result<()> {
    let is_unwished =
        |kind: &&NoticeKind| kind.wish().is_some_and(|wish| !admin.is_some_and(|admin| admin.wishes(wish)));
    let because = if admin.is_some() { CancelledBecause::Unwished } else { CancelledBecause::NoAdmin };
    let kinds: Vec<&str> = NoticeKind::ALL.iter().filter(is_unwished).map(|kind| kind.as_str()).collect();
    tx.query(set!(kind =>
        "UPDATE outbox SET state = 'cancelled', cancelled_because = $4 FROM v
          WHERE outbox.account_id = $2 AND lower(outbox.recipient) = lower($3) AND outbox.kind = v.kind
            AND outbox.state = 'pending'"
    ))
    .bind(json(kinds)?)
    .bind(account.as_str())
    .bind(email.as_str())
    .bind(because.as_str())
    .execute()
    .await
    .while_("cancelling mails that are not wished any more")
    .map(drop)
}

/// Those of `keys` that no admin wishes any more, and why, whatever was written when: who wrote it may have asked before somebody ended such
/// mails. What goes to operators is nobody's to end here.
pub(super) async fn unwished(tx: &mut Tx, keys: &[NoticeKey]) -> Result<Vec<(NoticeKey, CancelledBecause)>> {
    let wished = |key: &&NoticeKey| key.kind().wish().is_some();
    let accounts: BTreeSet<&str> = keys.iter().filter(wished).map(NoticeKey::account_text).collect();
    if accounts.is_empty() {
        return Ok(Vec::new());
    }
    let admins = read_admins(tx, &json(accounts)?).await?;
    let admins: BTreeMap<(&str, &Email), &Admin> =
        admins.iter().map(|(account, admin)| ((account.as_str(), &admin.email), admin)).collect();
    let because = |key: &NoticeKey| match admins.get(&(key.account_text(), key.recipient())) {
        _ if !key.kind().is_of_an_account() => None,
        None => Some(CancelledBecause::NoAdmin),
        Some(admin) => key.kind().wish().filter(|wish| !admin.wishes(*wish)).map(|_| CancelledBecause::Unwished),
    };
    Ok(keys.iter().filter_map(|key| Some((key.clone(), because(key)?))).collect())
}

/// The admins of the accounts in `ids` (a JSON array), in order of account and address. What was written under several spellings of one
/// address, as could be done once, is one admin, who gets what any of them wishes; whoever writes of that admin leaves one.
pub(super) async fn read_admins(tx: &mut Tx, ids: &str) -> Result<Vec<(String, Admin)>> {
    let rows = tx
        .query(set!(account_id =>
            "SELECT p.account_id, p.email, p.name, p.alerts, p.monthly_report, p.daily_report, (
                    SELECT count(*) FROM opt_ins AS o
                     WHERE o.account_id = p.account_id AND o.email = p.email AND o.mail = 'resolved'), (
                    SELECT count(*) FROM opt_ins AS o
                     WHERE o.account_id = p.account_id AND o.email = p.email AND o.mail = 'lapse-soon')
               FROM v CROSS JOIN admins AS p WHERE p.account_id = v.account_id ORDER BY p.account_id, p.email"
        ))
        .bind(ids)
        .fetch_all()
        .await
        .while_("loading admins")?;
    let read = |row: &Row| {
        let admin = Admin {
            email: Email::new(row.get(1))?,
            name: row.get(2),
            alerts: row.get(3),
            monthly_report: row.get(4),
            daily_report: row.get(5),
            resolved: row.get::<i64>(6) > 0,
            lapse_soon: row.get::<i64>(7) > 0,
        };
        Ok::<_, StoreError>((row.get(0), admin))
    };
    let mut admins: Vec<(String, Admin)> = Vec::with_capacity(rows.len());
    for row in &rows {
        let (account, admin) = read(row)?;
        let of_account = admins.iter_mut().rev().take_while(|(of, _)| *of == account);
        match of_account.map(|(_, other)| other).find(|other| other.email == admin.email) {
            Some(other) => Wish::ALL.iter().filter(|wish| admin.wishes(**wish)).for_each(|wish| other.set(*wish, true)),
            None => admins.push((account, admin)),
        }
    }
    Ok(admins)
}

#[derive(Serialize)]
struct AdminRow<'a> {
    account_id: &'a AccountId,
    #[serde(flatten)]
    admin: &'a Admin,
    digest: i64,
}

impl<'a> AdminRow<'a> {
    fn of(account_id: &'a AccountId, admin: &'a Admin) -> AdminRow<'a> {
        let Admin { email, name, alerts, monthly_report, daily_report, resolved: _, lapse_soon: _ } = admin;
        let digest = digest!(account_id, email, name, alerts, monthly_report, daily_report);
        AdminRow { account_id, admin, digest }
    }
}

/// A mail that an admin asked for.
#[derive(Serialize)]
struct OptIn<'a> {
    account_id: &'a AccountId,
    email: &'a Email,
    mail: &'static str,
    digest: i64,
}

impl<'a> OptIn<'a> {
    fn all_of(account_id: &'a AccountId, admin: &'a Admin) -> impl Iterator<Item = OptIn<'a>> {
        let Admin { email, resolved, lapse_soon, .. } = admin;
        let wished =
            [("resolved", *resolved), ("lapse-soon", *lapse_soon)].into_iter().filter(|(_, is_wished)| *is_wished);
        wished.map(move |(mail, _)| OptIn { account_id, email, mail, digest: digest!(account_id, email, mail) })
    }
}

pub(super) async fn write_admins(tx: &mut Tx, admins: &[(&AccountId, &Admin)]) -> Result<()> {
    // Of one address given twice, the last counts: Postgres does not write one row twice in one statement.
    let last: BTreeMap<(&AccountId, &Email), &Admin> =
        admins.iter().map(|(account, admin)| ((*account, &admin.email), *admin)).collect();
    let all = || last.iter().map(|((account, _), admin)| (*account, *admin));
    let rows = json(all().map(|(account, admin)| AdminRow::of(account, admin)).collect::<Vec<_>>())?;
    let opt_ins = json(all().flat_map(|(account, admin)| OptIn::all_of(account, admin)).collect::<Vec<_>>())?;
    const OLD: Sql = set!(account_id text, email text =>
        "DELETE FROM opt_ins WHERE account_id IN (SELECT account_id FROM v)
            AND EXISTS (SELECT 1 FROM v WHERE v.account_id = opt_ins.account_id AND lower(v.email) = lower(opt_ins.email))");
    const SPELT_OTHERWISE: Sql = set!(account_id text, email text =>
        "DELETE FROM admins WHERE account_id IN (SELECT account_id FROM v)
            AND EXISTS (SELECT 1 FROM v WHERE v.account_id = admins.account_id AND lower(v.email) = lower(admins.email)
                                          AND v.email <> admins.email)");
    tx.query(OLD).bind(rows.as_str()).execute().await.while_("forgetting what admins wished")?;
    tx.query(SPELT_OTHERWISE).bind(rows.as_str()).execute().await.while_("forgetting other spellings of admins")?;
    tx.query(set!(
        account_id text, email text, name text, alerts boolean, monthly_report boolean, daily_report boolean, digest bigint =>
        "INSERT INTO admins (account_id, email, name, alerts, monthly_report, daily_report, digest)
         SELECT account_id, email, name, alerts, monthly_report, daily_report, digest FROM v WHERE true
         ON CONFLICT (account_id, email) DO UPDATE
            SET name = excluded.name, alerts = excluded.alerts, monthly_report = excluded.monthly_report,
                daily_report = excluded.daily_report, digest = excluded.digest"
    ))
    .bind(rows.as_str())
    .execute()
    .await
    .while_("writing admins")?;
    const NEW: Sql = set!(account_id text, email text, mail text, digest bigint =>
        "INSERT INTO opt_ins (account_id, email, mail, digest) SELECT account_id, email, mail, digest FROM v");
    tx.query(NEW).bind(opt_ins).execute().await.while_("writing what admins wish")?;
    Ok(())
}
