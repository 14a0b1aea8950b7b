//! `creditd account`: tenants.

use super::balance::{amounts, next_reset, pages, status};
use super::call::{self, Fields, KeyArg};
use super::exit::{Exit, Failure};
use super::import::ImportArgs;
use super::output::{Cell, Column};
use super::{Context, args};
use crate::app::import::AccountImport;
use crate::app::{AccountChange, Answer, App, AppError, Balance};
use crate::core::alert::{BadLevel, Levels};
use crate::core::calendar::{Calendar, Instant, Month, Terms, first_instant_of, parse_date, parse_zone};
use crate::core::counting::counted;
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, Email};
use crate::core::ledger::{Account as CoreAccount, AccountStatus, Call, Closing, terms_of};
use crate::core::locale::{BadLocale, Locale};
use crate::core::transaction::Kind;
use crate::store::{AccountRecord, Admin, NewAccount, Opened};
use chrono::NaiveDate;
use chrono_tz::Tz;
use clap::ArgGroup;

/// Accounts: open, look at, change, close, import
#[derive(Debug, clap::Subcommand)]
pub(super) enum Account {
    Create(Create),
    List(List),
    Show(Show),
    Set(Set),
    /// Close an account: it gets no free credits and refuses charges, and keeps what it has
    ///
    /// Free credits that are left lapse at the end of their month; purchased ones are there when it opens again.
    Close(Change),
    /// Open an account again; free credits come at once when it was closed at the beginning of the month
    Reopen(Change),
    /// Open accounts from a CSV file with the columns account, name, time_zone, opened_on, admin_email
    ///
    /// and, where accounts have one of their own, locale.
    Import(ImportArgs),
}

impl Account {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Account::Create(command) => command.run(context).await,
            Account::List(command) => command.run(context).await,
            Account::Show(command) => command.run(context).await,
            Account::Set(command) => command.run(context).await,
            Account::Close(command) => command.run(context, false).await,
            Account::Reopen(command) => command.run(context, true).await,
            Account::Import(file) => {
                let allowance = context.app().await?.settings.credits.monthly_allowance;
                file.run(context, &AccountImport { allowance }).await
            }
        }
    }
}

/// Open an account
///
/// Repeating it changes nothing. Example:
///   creditd account create acme --name "Acme Inc." --zone Europe/Berlin --admin ann@acme.example
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// Its id: letters, digits, '-', '_' and '.'
    #[arg(value_name = "ACCOUNT")]
    id: AccountId,
    /// Its name for people
    #[arg(long, value_parser = args::name)]
    name: String,
    /// Its IANA time zone, which decides when its days and months begin
    #[arg(long, value_parser = parse_zone)]
    zone: Tz,
    /// The first day on which it exists [default: today, in its zone]
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    opened_on: Option<NaiveDate>,
    /// Free credits per month [default: monthly_allowance of the settings]
    #[arg(long, value_name = "CREDITS", value_parser = args::amount)]
    allowance: Option<Credits>,
    /// How its mails write numbers, dates and money: en-GB, en-US, de-DE, fr-FR, ... [default: that of the settings]
    #[arg(long)]
    locale: Option<Locale>,
    /// Who receives its alerts and reports; may be given several times
    #[arg(long = "admin", value_name = "EMAIL", value_parser = args::address)]
    admins: Vec<Email>,
}

impl Create {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        let opened_on = self.opened_on.unwrap_or_else(|| app.now().in_zone(self.zone).date_naive());
        let allowance = self.allowance.unwrap_or(app.settings.credits.monthly_allowance);
        let terms = Terms { from: Month::of(opened_on), zone: self.zone, allowance };
        let opened_at = first_instant_of(opened_on, self.zone);
        let account = CoreAccount { id: self.id.clone(), name: self.name, opened_at, calendar: Calendar::new(terms) };
        let admins = self.admins.into_iter().map(Admin::with_defaults).collect();
        let opened = app.store.open_accounts(&[NewAccount { account, locale: self.locale, admins }], app.now()).await?;
        match opened.into_iter().next() {
            Some(Opened::Conflict(differences)) => {
                let what = format!(
                    "the account {} is there already and {differences}; `creditd account set` changes accounts",
                    self.id
                );
                return Err(Failure::message(Exit::Conflict, what));
            }
            Some(Opened::Already) => context.say(format_args!("The account {} was there already.", self.id)),
            Some(Opened::Created) | None if opened_at > app.now() => {
                context.say(format_args!("The account {} opens at {opened_at}.", self.id));
            }
            Some(Opened::Created) | None => context.say(format_args!("The account {} is open.", self.id)),
        }
        show(context, app, &self.id, Vec::new()).await
    }
}

/// List accounts
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// With what each can use now
    #[arg(long)]
    balance: bool,
}

const COLUMNS: [Column; 9] = [
    Column::text("account"),
    Column::text("status"),
    Column::text("name"),
    Column::text("zone"),
    Column::number("allowance"),
    Column::text("opened_at"),
    Column::number("admins"),
    Column::text("levels"),
    Column::text("locale"),
];
const BALANCE_COLUMNS: [Column; 4] =
    [Column::number("free"), Column::number("purchased"), Column::number("available"), Column::number("held")];

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        let now = app.now();
        let columns = if self.balance { [&COLUMNS[..], &BALANCE_COLUMNS[..]].concat() } else { COLUMNS.to_vec() };
        let mut list = context.list("creditd.accounts/1", &columns)?;
        let mut shown = 0_u64;
        let mut pages = pages(app, &[]);
        while let Some(ids) = pages.next().await? {
            // Both come in order of id.
            let records = app.store.accounts(&ids).await?;
            for (record, balance) in records.iter().zip(app.balances(&ids).await?) {
                let mut cells = facts(record, &balance, now, context.is_for_people());
                if self.balance {
                    cells.extend(amounts(&balance));
                }
                list.row(cells)?;
                shown += 1;
            }
        }
        list.finish()?;
        if shown == 0 {
            context.say("There are no accounts yet; `creditd account create` opens one.");
        }
        Ok(())
    }
}

fn facts(record: &AccountRecord, balance: &Balance, now: Instant, for_people: bool) -> Vec<Cell> {
    let account = &record.account;
    let terms = terms_at(account, now);
    vec![
        account.id.as_str().into(),
        status(balance, for_people),
        account.name.as_str().into(),
        terms.zone.name().into(),
        terms.allowance.into(),
        account.opened_at.into(),
        i64::try_from(record.admins.len()).unwrap_or(i64::MAX).into(),
        record.levels.as_ref().map(Levels::to_string).into(),
        record.locale.map(Locale::as_str).into(),
    ]
}

fn terms_at(account: &CoreAccount, now: Instant) -> &Terms {
    account.calendar.terms_in(account.calendar.month_of(now.max(account.opened_at)))
}

/// Show one account: facts, terms, alert levels, admins and balance
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Which one
    #[arg(value_name = "ACCOUNT")]
    id: AccountId,
}

impl Show {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        show(context, context.app().await?, &self.id, Vec::new()).await
    }
}

/// Change an account
///
/// A new time zone or allowance counts from the account's next month on; name, alert levels and locale at once.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true).args(["name", "zone", "allowance", "levels", "locale"])))]
pub(super) struct Set {
    /// Which one
    #[arg(value_name = "ACCOUNT")]
    id: AccountId,
    /// Its name for people
    #[arg(long, value_parser = args::name)]
    name: Option<String>,
    /// Its IANA time zone, from its next month on
    #[arg(long, value_parser = parse_zone)]
    zone: Option<Tz>,
    /// Free credits per month, from its next month on
    #[arg(long, value_name = "CREDITS", value_parser = args::amount)]
    allowance: Option<Credits>,
    /// Its alert levels: "low=20%,critical=75", "none", or "default" for those of the settings
    #[arg(long, value_parser = own_levels)]
    levels: Option<OwnLevels>,
    /// How its mails write numbers, dates and money: en-GB, en-US, de-DE, fr-FR, ..., or "default" for that of the settings
    #[arg(long, value_parser = own_locale)]
    locale: Option<OwnLocale>,
    #[command(flatten)]
    key: KeyArg,
}

/// Levels of an account; `None` takes those of the settings.
type OwnLevels = Option<Levels>;

fn own_levels(text: &str) -> Result<OwnLevels, BadLevel> {
    if text.trim() == "default" { Ok(None) } else { text.parse().map(Some) }
}

/// The locale of an account; `None` takes that of the settings.
type OwnLocale = Option<Locale>;

fn own_locale(text: &str) -> Result<OwnLocale, BadLocale> {
    if text.trim() == "default" { Ok(None) } else { text.trim().parse().map(Some) }
}

impl Set {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        let Set { id: _, name, zone, allowance, levels, locale, key: _ } = &self;
        let change = AccountChange {
            name: name.clone(),
            zone: *zone,
            allowance: *allowance,
            levels: levels.clone(),
            locale: *locale,
        };
        // Only new terms are a call of the ledger.
        let has_terms = change.zone.is_some() || change.allowance.is_some();
        let key = if has_terms { self.key.or_made(context, app)? } else { args::key(app.now())? };
        let answer = app.change_account(&self.id, &change, key.clone()).await?;
        let Some((Answer { row, replayed, .. }, terms)) = answer.and_then(|answer| {
            let terms = terms_of(&answer.row)?;
            Some((answer, terms))
        }) else {
            return show(context, app, &self.id, Vec::new()).await;
        };
        let Terms { from, zone, allowance } = terms;
        let allowance_said = counted(allowance.get(), "free credit");
        context.say(if replayed {
            format!(
                "This call came before, at {}, and set from {from} on: {allowance_said} a month, zone {zone}. Terms were left \
                 as they are.",
                row.recorded_at
            )
        } else {
            format!("From {from} on: {allowance_said} a month, zone {zone}.")
        });
        let mut fields = vec![
            ("set_from", from.to_string().into()),
            ("set_zone", zone.name().into()),
            ("set_allowance", allowance.into()),
        ];
        fields.extend(call::replay(&row, replayed));
        fields.push(("key", key.as_str().into()));
        show(context, app, &self.id, fields).await
    }
}

/// An account to close or to open again.
#[derive(Debug, clap::Args)]
pub(super) struct Change {
    /// Which one
    #[arg(value_name = "ACCOUNT")]
    id: AccountId,
    /// Why; the log keeps it
    #[arg(long, value_parser = args::reason)]
    comment: String,
    #[command(flatten)]
    key: KeyArg,
}

impl Change {
    async fn run(self, context: &Context, reopen: bool) -> Result<(), Failure> {
        let key = self.key.or_made(context, context.app().await?)?;
        let schema = if reopen { "creditd.account-reopen/1" } else { "creditd.account-close/1" };
        let about = |Answer { row, .. }: &Answer| {
            let status = if row.kind == Kind::Reopening { AccountStatus::Open } else { AccountStatus::Closed };
            vec![("status", status.as_str().into()), ("comment", row.comment.as_str().into())]
        };
        let call = Call::Closing(Closing { key, reopen, comment: self.comment });
        call::make(context, schema, &self.id, call, about).await
    }
}

/// The account with this id.
pub(super) async fn find(app: &App, id: &AccountId) -> Result<AccountRecord, Failure> {
    let found = app.store.accounts(std::slice::from_ref(id)).await?.pop();
    Ok(found.ok_or_else(|| AppError::UnknownAccount(id.clone()))?)
}

/// Shows an account, and behind it what a command has done to it.
async fn show(context: &Context, app: &App, id: &AccountId, done: Fields) -> Result<(), Failure> {
    let record = find(app, id).await?;
    let now = app.now();
    let balance = app.balances(std::slice::from_ref(id)).await?.pop();
    let balance = balance.ok_or_else(|| AppError::UnknownAccount(id.clone()))?;
    let (month, for_people) = (balance.month, context.is_for_people());
    let account = &record.account;
    let terms = terms_at(account, now);
    let pending = account.calendar.terms().iter().find(|later| later.from > month);
    let levels = record.levels.as_ref().unwrap_or(&app.settings.alerts.levels);
    let admins: Vec<&str> = record.admins.iter().map(|admin| admin.email.as_str()).collect();
    let [free, purchased, available, held] = amounts(&balance);
    let mut fields: Fields = vec![
        ("account", account.id.as_str().into()),
        ("name", account.name.as_str().into()),
        ("status", status(&balance, for_people)),
        ("opened_at", account.opened_at.into()),
        ("zone", terms.zone.name().into()),
        ("allowance", terms.allowance.into()),
        ("next_terms_from", pending.map(|terms| terms.from.to_string()).into()),
        ("next_zone", pending.map(|terms| terms.zone.name()).into()),
        ("next_allowance", pending.map(|terms| terms.allowance).into()),
        ("levels", levels.to_string().into()),
        ("own_levels", record.levels.is_some().into()),
        ("locale", record.locale.unwrap_or(app.settings.mail.locale).as_str().into()),
        ("own_locale", record.locale.is_some().into()),
        ("admins", admins.join(", ").into()),
        ("month", month.to_string().into()),
        ("next_reset_at", next_reset(balance.next_reset_at, for_people)),
        ("free", free),
        ("purchased", purchased),
        ("available", available),
        ("held", held),
    ];
    fields.extend(done);
    context.show("creditd.account/1", &fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_its_own_none_and_the_default_are_three_things() {
        assert_eq!(own_levels("default"), Ok(None));
        assert_eq!(own_levels("none"), Ok(Some(Levels::new(Vec::new()).expect("none is fine"))));
        assert_eq!(own_levels("low=20%").map(|levels| levels.map(|l| l.to_string())), Ok(Some("low=20%".to_owned())));
        assert!(own_levels("").is_err());
    }

    #[test]
    fn a_locale_of_its_own_and_the_default_are_two_things() {
        assert_eq!((own_locale("default"), own_locale("fr-FR")), (Ok(None), Ok(Some(Locale::FrFr))));
        assert!(own_locale("fr").is_err() && own_locale("").is_err());
    }
}
