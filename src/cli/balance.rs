//! `creditd balance`: what accounts have, now.

use super::Context;
use super::exit::Failure;
use super::output::{Cell, Column};
use crate::app::{App, AppError, Balance as AppBalance};
use crate::core::ids::AccountId;

/// Accounts read at once.
pub(super) const PAGE_ACCOUNTS: usize = 1_000;

/// Show what accounts can use now, free and purchased credits apart
#[derive(Debug, clap::Args)]
pub(super) struct Balance {
    /// Accounts; all of them when none is named
    #[arg(value_name = "ACCOUNT")]
    accounts: Vec<AccountId>,
}

const COLUMNS: &[Column] = &[
    Column::text("account"),
    Column::number("free"),
    Column::number("purchased"),
    Column::number("available"),
    Column::text("month"),
    Column::number("allowance"),
    Column::text("next_reset_at"),
    Column::text("zone"),
];

impl Balance {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        for ids in self.accounts.chunks(PAGE_ACCOUNTS) {
            refuse_unknown(app, ids).await?;
        }
        let mut list = context.list("creditd.balance/1", COLUMNS)?;
        let mut shown = 0_u64;
        let mut pages = Pages::new(app, &self.accounts);
        while let Some(ids) = pages.next().await? {
            for balance in app.balances(&ids).await? {
                list.row(cells(&balance))?;
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

fn cells(balance: &AppBalance) -> Vec<Cell> {
    let mut cells = vec![balance.account.as_str().into()];
    cells.extend(amounts(balance));
    cells.extend([
        balance.month.to_string().into(),
        balance.allowance.into(),
        balance.next_reset_at.into(),
        balance.zone.name().into(),
    ]);
    cells
}

/// Free, purchased and both.
pub(super) fn amounts(balance: &AppBalance) -> [Cell; 3] {
    let available = balance.available;
    [available.free.into(), available.purchased.into(), available.total().into()]
}

/// Ends with the first of `ids` that does not exist, before anything is shown.
async fn refuse_unknown(app: &App, ids: &[AccountId]) -> Result<(), Failure> {
    let there = app.store.accounts(ids).await?;
    match ids.iter().find(|id| !there.iter().any(|record| record.account.id == **id)) {
        Some(unknown) => Err(AppError::UnknownAccount(unknown.clone()).into()),
        None => Ok(()),
    }
}

/// Accounts page by page: there may be a million.
pub(super) struct Pages<'a> {
    app: &'a App,
    /// None for all.
    chosen: Option<std::slice::Chunks<'a, AccountId>>,
    last: Option<AccountId>,
}

impl<'a> Pages<'a> {
    /// The `chosen` ones, or all when there are none.
    pub(super) fn new(app: &'a App, chosen: &'a [AccountId]) -> Pages<'a> {
        let chosen = (!chosen.is_empty()).then(|| chosen.chunks(PAGE_ACCOUNTS));
        Pages { app, chosen, last: None }
    }

    /// The next page; never an empty one.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<AccountId>>, Failure> {
        if let Some(chosen) = &mut self.chosen {
            return Ok(chosen.next().map(<[AccountId]>::to_vec));
        }
        let page = self.app.store.account_ids(self.last.as_ref(), PAGE_ACCOUNTS).await?;
        self.last = page.last().cloned();
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}
