//! `creditd balance`: what accounts have, now or at an instant that has passed.

use super::Context;
use super::exit::Failure;
use super::output::{Cell, Column};
use crate::app::{App, AppError, Balance as AppBalance};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::ledger::AccountStatus;
use crate::store::Pages;

/// Accounts read at once.
pub(super) const PAGE_ACCOUNTS: usize = 1_000;

/// Show what accounts can use, free and purchased credits apart, and what is held of them
#[derive(Debug, clap::Args)]
pub(super) struct Balance {
    /// Accounts; all of them when none is named
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<AccountId>,
    /// As it was known at this instant, instead of now: what was recorded later does not count
    #[arg(long, value_name = "INSTANT")]
    as_of: Option<Instant>,
}

const COLUMNS: &[Column] = &[
    Column::text("account"),
    Column::number("free"),
    Column::number("purchased"),
    Column::number("available"),
    Column::number("held"),
    Column::text("status"),
    Column::text("month"),
    Column::number("allowance"),
    Column::number("allowance_left"),
    Column::text("next_reset_at"),
    Column::text("zone"),
];

impl Balance {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        refuse_unknown(app, &self.accounts).await?;
        app.check_as_of(self.as_of)?;
        let mut list = context.list("creditd.balance/1", COLUMNS)?;
        let mut shown = 0_u64;
        let mut pages = self::pages(app, &self.accounts);
        let for_people = context.is_for_people();
        while let Some(ids) = pages.next().await? {
            let balances = match self.as_of {
                Some(at) => app.balances_as_of(&ids, at).await?,
                None => app.balances(&ids).await?,
            };
            for id in self.accounts.iter().filter(|id| ids.contains(id)) {
                if !balances.iter().any(|balance| balance.account == *id) {
                    context.say(format_args!("The account {id} was not known then."));
                }
            }
            for balance in balances {
                list.row(cells(&balance, for_people))?;
                shown += 1;
            }
        }
        list.finish()?;
        match self.as_of {
            None if shown == 0 => context.say("There are no accounts yet; `creditd account create` opens one."),
            Some(_) if shown == 0 => context.say("No account was known then."),
            _ => {}
        }
        Ok(())
    }
}

fn cells(balance: &AppBalance, for_people: bool) -> Vec<Cell> {
    let mut cells = vec![balance.account.as_str().into()];
    cells.extend(amounts(balance));
    cells.extend([
        status(balance, for_people),
        balance.month.to_string().into(),
        balance.allowance.into(),
        balance.allowance_left.into(),
        next_reset(balance.next_reset_at, for_people),
        balance.zone.name().into(),
    ]);
    cells
}

/// Free, purchased and both, and what is held.
pub(super) fn amounts(balance: &AppBalance) -> [Cell; 4] {
    let AppBalance { available, held, .. } = balance;
    [available.free.into(), available.purchased.into(), available.total().into(), held.total().into()]
}

/// Whether the account is open (R18). Programs get a word, people a date, too.
pub(super) fn status(balance: &AppBalance, for_people: bool) -> Cell {
    match balance.status {
        AccountStatus::NotOpened if for_people => format!("not opened until {}", balance.opened_at).into(),
        status => status.as_str().into(),
    }
}

/// When the next free credits come. People read why none do.
pub(super) fn next_reset(at: Option<Instant>, for_people: bool) -> Cell {
    match at {
        None if for_people => "none while closed".into(),
        next_reset_at => next_reset_at.into(),
    }
}

/// Ends with the first of `ids` that does not exist, before anything is done or shown.
pub(super) async fn refuse_unknown(app: &App, ids: &[AccountId]) -> Result<(), Failure> {
    for ids in ids.chunks(PAGE_ACCOUNTS) {
        let there = app.store.accounts(ids).await?;
        if let Some(unknown) = ids.iter().find(|id| !there.iter().any(|record| record.account.id == **id)) {
            return Err(AppError::UnknownAccount(unknown.clone()).into());
        }
    }
    Ok(())
}

/// The `chosen` accounts page by page, or all when there are none.
pub(super) fn pages<'a>(app: &'a App, chosen: &'a [AccountId]) -> Pages<'a> {
    app.store.pages((!chosen.is_empty()).then_some(chosen), PAGE_ACCOUNTS)
}
