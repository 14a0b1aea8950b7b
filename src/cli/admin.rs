//! `creditd admin`: the people of accounts who receive mail.

use super::balance::pages;
use super::exit::{Exit, Failure};
use super::output::{Cell, Column};
use super::{Context, account, args};
use crate::core::ids::{AccountId, Email};
use crate::core::unsubscribe::{Unsubscribe as CoreUnsubscribe, Wish};
use crate::store::Admin as StoredAdmin;
use clap::builder::BoolishValueParser;

/// Admins of accounts: who receives alerts and reports
#[derive(Debug, clap::Subcommand)]
pub(super) enum Admin {
    #[command(visible_alias = "set")]
    Add(Add),
    List(List),
    Remove(Remove),
    Unsubscribe(Unsubscribe),
}

impl Admin {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Admin::Add(command) => command.run(context).await,
            Admin::List(command) => command.run(context).await,
            Admin::Remove(command) => command.run(context).await,
            Admin::Unsubscribe(command) => command.run(context).await,
        }
    }
}

/// Add an admin, or change what one receives
///
/// A new admin receives alerts and monthly reports; of an admin who is there, what is not given stays.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Of which account
    account: AccountId,
    /// The address
    #[arg(value_parser = args::address)]
    email: Email,
    /// How mail greets
    #[arg(long, value_parser = args::name)]
    name: Option<String>,
    /// Whether low-credit alerts are wanted
    #[arg(long, value_name = "YES|NO", hide_possible_values = true, value_parser = BoolishValueParser::new())]
    alerts: Option<bool>,
    /// Whether each month's statement is wanted
    #[arg(long, value_name = "YES|NO", hide_possible_values = true, value_parser = BoolishValueParser::new())]
    monthly_report: Option<bool>,
    /// Whether each day's statement is wanted
    #[arg(long, value_name = "YES|NO", hide_possible_values = true, value_parser = BoolishValueParser::new())]
    daily_report: Option<bool>,
    /// Whether it is wanted to hear that an alert is over
    #[arg(long, value_name = "YES|NO", hide_possible_values = true, value_parser = BoolishValueParser::new())]
    resolved: Option<bool>,
    /// Whether it is wanted to hear some days before that unused free credits lapse
    #[arg(long, value_name = "YES|NO", hide_possible_values = true, value_parser = BoolishValueParser::new())]
    lapse_soon: Option<bool>,
}

const COLUMNS: &[Column] = &[
    Column::text("account"),
    Column::text("email"),
    Column::text("name"),
    Column::text("alerts"),
    Column::text("monthly_report"),
    Column::text("daily_report"),
    Column::text("resolved"),
    Column::text("lapse_soon"),
];
const SCHEMA: &str = "creditd.admins/1";

impl Add {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        let record = account::find(app, &self.account).await?;
        let old = record.admins.into_iter().find(|admin| admin.email == self.email);
        let old = old.unwrap_or_else(|| StoredAdmin::with_defaults(self.email));
        let admin = StoredAdmin {
            email: old.email,
            name: self.name.unwrap_or(old.name),
            alerts: self.alerts.unwrap_or(old.alerts),
            monthly_report: self.monthly_report.unwrap_or(old.monthly_report),
            daily_report: self.daily_report.unwrap_or(old.daily_report),
            resolved: self.resolved.unwrap_or(old.resolved),
            lapse_soon: self.lapse_soon.unwrap_or(old.lapse_soon),
        };
        app.store.set_admin(&self.account, &admin).await?;
        let mut list = context.list(SCHEMA, COLUMNS)?;
        list.row(cells(&self.account, &admin))?;
        Ok(list.finish()?)
    }
}

fn cells(account: &AccountId, admin: &StoredAdmin) -> Vec<Cell> {
    vec![
        account.as_str().into(),
        admin.email.as_str().into(),
        admin.name.as_str().into(),
        admin.alerts.into(),
        admin.monthly_report.into(),
        admin.daily_report.into(),
        admin.resolved.into(),
        admin.lapse_soon.into(),
    ]
}

/// List admins
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Of these accounts; of all when none is named
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<AccountId>,
}

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        for id in &self.accounts {
            account::find(app, id).await?;
        }
        let mut list = context.list(SCHEMA, COLUMNS)?;
        let mut shown = 0_u64;
        let mut pages = pages(app, &self.accounts);
        while let Some(ids) = pages.next().await? {
            for record in app.store.accounts(&ids).await? {
                for admin in &record.admins {
                    list.row(cells(&record.account.id, admin))?;
                    shown += 1;
                }
            }
        }
        list.finish()?;
        if shown == 0 {
            context.say("There are no admins; `creditd admin add ACCOUNT EMAIL` adds one.");
        }
        Ok(())
    }
}

/// Remove an admin, who receives nothing more then
#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// Of which account
    account: AccountId,
    /// The address
    email: Email,
}

impl Remove {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        account::find(app, &self.account).await?;
        if !app.store.remove_admin(&self.account, &self.email).await? {
            let what = format!(
                "account {} has no admin {}; `creditd admin list {0}` shows those there are",
                self.account, self.email
            );
            return Err(Failure::message(Exit::Refused, what));
        }
        context.say(format_args!("{} receives nothing more about account {}.", self.email, self.account));
        Ok(())
    }
}

/// End the mails that a link of a mail names, as the page behind `unsubscribe_url` of [mail] does
///
/// Repeating it changes nothing. `creditd admin set ACCOUNT EMAIL` wishes them again.
#[derive(Debug, clap::Args)]
pub(super) struct Unsubscribe {
    /// The link, or what stands behind ?t= in it
    #[arg(allow_hyphen_values = true)]
    link: String,
}

/// What stands behind `?t=` in a link; what is no link is taken for that.
fn token_of(link: &str) -> &str {
    let behind = link.trim().rsplit_once("?t=").or_else(|| link.trim().rsplit_once("&t="));
    behind.map_or(link.trim(), |(_, token)| token).split(['&', '#']).next().unwrap_or_default()
}

impl Unsubscribe {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let (ended, admin) = context.app().await?.unsubscribe(token_of(&self.link)).await?;
        let CoreUnsubscribe { account, address, wish } = ended;
        let Some(admin) = admin else {
            context.say(format_args!("Account {account} has no admin {address} any more, who receives nothing."));
            return context.show(UNSUBSCRIBED, &fields(&account, &address, wish, ""));
        };
        let left: Vec<&str> = Wish::ALL.iter().filter(|one| admin.wishes(**one)).map(|one| one.as_str()).collect();
        context.say(format_args!("{address} does not receive {} of account {account} any more.", said(wish)));
        context.show(UNSUBSCRIBED, &fields(&account, &address, wish, &left.join(", ")))
    }
}

const UNSUBSCRIBED: &str = "creditd.unsubscribe/1";

fn fields(account: &AccountId, address: &Email, wish: Wish, left: &str) -> [(&'static str, Cell); 4] {
    [
        ("account", account.as_str().into()),
        ("email", address.as_str().into()),
        ("ended", wish.as_str().into()),
        ("receives", left.into()),
    ]
}

const fn said(wish: Wish) -> &'static str {
    match wish {
        Wish::Alerts => "low-credit alerts",
        Wish::Resolved => "notices that an alert is over",
        Wish::LapseSoon => "notices that free credits lapse soon",
        Wish::MonthlyReport => "monthly statements",
        Wish::DailyReport => "daily statements",
    }
}
