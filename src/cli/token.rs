//! `creditd token`: what programs show to the API.

use super::account::find;
use super::exit::{Exit, Failure};
use super::output::{Cell, Column};
use super::{Context, args};
use crate::core::access::{Reach, Scope};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::token::{Token as CoreToken, TokenHash, TokenId, token_of};
use crate::jobs::random_bytes;
use crate::store::TokenRecord;

/// Longest that a token with an end lasts: whoever wants more says `never`.
const DAYS_MAX: i64 = 3_650;
const CREATED: &str = "creditd.token/1";

/// Tokens by which programs call the API
#[derive(Debug, clap::Subcommand)]
pub(super) enum Token {
    Create(Create),
    /// List tokens, newest first: what each opens, until when, and when it was last used; never the token itself
    List {
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = args::limit)]
        limit: usize,
    },
    /// Let a token open nothing any more; running processes know within seconds
    Revoke {
        /// Its id, as `creditd token list` shows it
        id: TokenId,
    },
}

/// Make a token and show it, this once
///
/// What is kept is its hash. Examples:
///   creditd token create --scope charge --account acme --name checkout
///   creditd token create --scope read --platform --expires never --quiet
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Create {
    /// What it is for: read (to look), charge (to take credits as well) or admin (all else as well)
    #[arg(long, value_parser = args::word(Scope::ALL, Scope::as_str), hide_possible_values = true)]
    scope: Scope,
    #[command(flatten)]
    whose: Whose,
    /// What it is called in lists
    #[arg(long, default_value = "", hide_default_value = true, value_parser = args::name)]
    name: String,
    /// For how long it is good: 30d, 365d, or never
    #[arg(long, value_name = "DAYS|never", default_value = "90d", value_parser = lasting)]
    expires: Lasting,
}

/// Whose credits a token is about.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// Of this account alone
    #[arg(long)]
    account: Option<AccountId>,
    /// Of all accounts, and of the platform itself
    #[arg(long)]
    platform: bool,
}

/// For how long a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    Days(i64),
    Ever,
}

fn lasting(text: &str) -> Result<Lasting, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
    match (text, days) {
        ("never", _) => Ok(Lasting::Ever),
        (_, Some(days)) if (1..=DAYS_MAX).contains(&days) => Ok(Lasting::Days(days)),
        _ => Err(format!("days such as 90d are expected, 1d to {DAYS_MAX}d, or never")),
    }
}

const COLUMNS: &[Column] = &[
    Column::text("id"),
    Column::text("name"),
    Column::text("scope"),
    Column::text("account"),
    Column::text("status"),
    Column::text("created_at"),
    Column::text("expires_at"),
    Column::text("revoked_at"),
    Column::text("last_used_at"),
];

impl Token {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Token::Create(command) => command.run(context).await,
            Token::List { limit } => list(context, limit).await,
            Token::Revoke { id } => revoke(context, &id).await,
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        let reach = match self.whose.account {
            Some(account) => {
                find(app, &account).await?;
                Reach::Account(account)
            }
            None => Reach::Platform,
        };
        let secret = token_of(random_bytes()?);
        let Some(hash) = TokenHash::of_token(secret.expose()) else {
            return Err(Failure::message(Exit::Failure, "a token could not be made; this is a defect of creditd"));
        };
        let (id, created_at) = (hash.id(), app.now());
        let expires_at = match self.expires {
            Lasting::Ever => None,
            Lasting::Days(days) => Some(created_at.plus_days(days)),
        };
        let (name, scope) = (self.name, self.scope);
        let token = CoreToken { hash, name, scope, reach, created_at, expires_at, revoked_at: None };
        app.store.add_token(&token).await?;
        context.show(
            CREATED,
            &[
                ("id", id.as_str().into()),
                ("token", secret.expose().into()),
                ("scope", token.scope.as_str().into()),
                ("account", account_of(&token.reach)),
                ("expires_at", token.expires_at.into()),
            ],
        )?;
        context.say("Keep the token where your program reads its secrets: it is not shown again.");
        Ok(())
    }
}

async fn list(context: &Context, limit: usize) -> Result<(), Failure> {
    let app = context.app().await?;
    let found = app.store.tokens(limit.saturating_add(1)).await?;
    let mut list = context.list("creditd.tokens/1", COLUMNS)?;
    for record in found.iter().take(limit) {
        list.row(cells(record, app.now()))?;
    }
    list.finish()?;
    context.say_how_many(found.len(), limit, "There are no tokens; `creditd token create` makes one.");
    Ok(())
}

async fn revoke(context: &Context, id: &TokenId) -> Result<(), Failure> {
    let app = context.app().await?;
    if app.store.revoke_token(id, app.now()).await?.is_none() {
        let what = format!("there is no token {id}; `creditd token list` shows those there are");
        return Err(Failure::message(Exit::Refused, what));
    }
    context.say(format_args!("The token {id} opens nothing any more; running processes know within seconds."));
    Ok(())
}

/// The account of a token; what is for all says so.
fn account_of(reach: &Reach) -> Cell {
    match reach {
        Reach::Platform => Cell::Null,
        Reach::Account(account) => account.as_str().into(),
    }
}

fn cells(TokenRecord { token, last_used_at }: &TokenRecord, now: Instant) -> Vec<Cell> {
    let status = match (token.revoked_at, token.is_good_at(now)) {
        (Some(_), _) => "revoked",
        (None, false) => "expired",
        (None, true) => "good",
    };
    vec![
        token.hash.id().as_str().into(),
        token.name.as_str().into(),
        token.scope.as_str().into(),
        account_of(&token.reach),
        status.into(),
        token.created_at.into(),
        token.expires_at.into(),
        token.revoked_at.into(),
        (*last_used_at).into(),
    ]
}
