//! Who calls: bearer tokens, what each may do, and how often.
//!
//! The gate stands before every route of the API. It knows what the route needs from the route's own line in the table, so there
//! is no handler that could forget to ask. A token that was found good is believed for [`BELIEVED`] without asking the ledger
//! again, so a revocation works within that time.

use super::State;
use super::problem::{Fault, Problem};
use crate::core::access::{Reach, Scope};
use crate::core::calendar::Instant;
use crate::core::ids::{AccountId, Key};
use crate::core::token::{Token, TokenHash, TokenId};
use crate::jobs::Kit;
use crate::store::TokenRecord;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{self, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant as Moment;

/// For how long what the ledger said of a token is believed, or of the key of visits.
pub(super) const BELIEVED: Duration = Duration::from_secs(5);
/// Most tokens that are remembered, those that open nothing among them.
const REMEMBERED_MAX: usize = 10_000;
/// How old the note of a token's last use may be before it is written anew.
const NOTED_SECONDS: i64 = 60;
/// Longest value of the header that is looked at.
const HEADER_LEN_MAX: usize = 256;

/// What a process remembers of tokens.
#[derive(Default)]
pub(super) struct Bearers {
    known: Mutex<HashMap<TokenHash, Known>>,
    rates: Mutex<HashMap<TokenId, Moment>>,
}

/// What the ledger said of a hash, and when.
#[derive(Clone)]
struct Known {
    token: Option<Arc<Token>>,
    asked_at: Moment,
    /// When the ledger was last told, or knew, that it was used.
    noted_at: Option<Instant>,
}

impl Bearers {
    fn known(&self) -> MutexGuard<'_, HashMap<TokenHash, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the ledger said of a hash, while that is believed.
    fn believed(&self, hash: &TokenHash, now: Moment) -> Option<Known> {
        let all = self.known();
        all.get(hash).filter(|known| now.saturating_duration_since(known.asked_at) < BELIEVED).cloned()
    }

    /// The token of `text`, if it opens anything now.
    async fn token(&self, kit: &Arc<Kit>, text: &str) -> Result<Option<Arc<Token>>, Problem> {
        let Some(hash) = TokenHash::of_token(text) else { return Ok(None) };
        let now = kit.app.now();
        let known = match self.believed(&hash, Moment::now()) {
            Some(known) => known,
            None => {
                let found = kit.app.store.token(&hash).await?;
                let (token, noted_at) = match found {
                    Some(TokenRecord { token, last_used_at }) => (Some(Arc::new(token)), last_used_at),
                    None => (None, None),
                };
                let known = Known { token, asked_at: Moment::now(), noted_at };
                let mut all = self.known();
                make_room(&mut all, |known| known.asked_at.elapsed() < BELIEVED);
                all.insert(hash.clone(), known.clone());
                known
            }
        };
        let token = known.token.filter(|token| token.is_good_at(now));
        if token.is_some() && known.noted_at.is_none_or(|noted| noted.plus_seconds(NOTED_SECONDS) <= now) {
            self.note_use(kit, hash, now);
        }
        Ok(token)
    }

    /// Tells the ledger that a token is used, beside what it is used for.
    fn note_use(&self, kit: &Arc<Kit>, hash: TokenHash, now: Instant) {
        if let Some(known) = self.known().get_mut(&hash) {
            known.noted_at = Some(now);
        }
        let store = kit.app.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.note_token_use(&hash.id(), now).await {
                tracing::warn!(%error, "the last use of a token could not be noted");
            }
        });
    }

    /// Whether a token may ask once more, `per_second` times in a second and twice as often for a moment; else the whole
    /// seconds after which it may.
    fn admit(&self, token: &TokenId, per_second: u32, now: Moment) -> Result<(), u64> {
        if per_second == 0 {
            return Ok(());
        }
        let each = Duration::from_secs(1) / per_second;
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut rates, |free_at| *free_at > now);
        // When all that was admitted so far would have been in order, one after the other.
        let free_at = rates.entry(token.clone()).or_insert(now);
        let next = (*free_at).max(now) + each;
        match next.checked_duration_since(now + Duration::from_secs(2)) {
            Some(early) if !early.is_zero() => Err(early.as_secs() + 1),
            _ => {
                *free_at = next;
                Ok(())
            }
        }
    }
}

/// Forgets what is not needed any more once there is no room; everything where all of it is.
fn make_room<K: std::hash::Hash + Eq, V>(all: &mut HashMap<K, V>, is_needed: impl Fn(&V) -> bool) {
    if all.len() >= REMEMBERED_MAX {
        all.retain(|_, value| is_needed(value));
        if all.len() >= REMEMBERED_MAX {
            all.clear();
        }
    }
}

/// Who calls, and what the address of the call names.
#[derive(Clone)]
pub(super) struct Caller {
    token: Arc<Token>,
    /// The account in the address, which the token covers.
    account: Option<AccountId>,
    params: Arc<RawPathParams>,
}

impl Caller {
    /// The account in the address.
    pub(super) fn account(&self) -> Result<&AccountId, Problem> {
        self.account.as_ref().ok_or_else(|| super::problem::internal(&"a route without an account"))
    }

    /// Whether it may call about `account`, for routes whose address names none.
    pub(super) fn covers(&self, account: &AccountId) -> Result<(), Problem> {
        if self.token.reach.covers(account) { Ok(()) } else { Err(forbidden()) }
    }

    /// The account that its token is of, where it is of one alone.
    pub(super) fn own_account(&self) -> Option<&AccountId> {
        match &self.token.reach {
            Reach::Platform => None,
            Reach::Account(account) => Some(account),
        }
    }

    /// The key that the address names; an address with what can be no key is that of nothing.
    pub(super) fn key(&self, name: &str) -> Result<Key, Problem> {
        let text = self.params.iter().find(|(param, _)| *param == name).map_or("", |(_, text)| text);
        Key::new(text).map_err(|error| Problem::new(Fault::NotFound, format!("the address names no {name}: {error}")))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| super::problem::internal(&"a route without a gate"))
    }
}

/// It says the same whether the account exists or not.
fn forbidden() -> Problem {
    Problem::new(
        Fault::Forbidden,
        "the token does not open this: it is of another account, or of a lesser scope; `creditd token list` says of which",
    )
}

/// Lets through who may do what asks for `needed`.
pub(super) async fn gate(
    extract::State((state, needed)): extract::State<(State, Scope)>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    match admitted(&state, needed, params, bearer(request.headers())).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// The caller of a route that visitors may ask, too; `None` where no token is shown.
pub(super) async fn caller(state: &State, needed: Scope, parts: &mut Parts) -> Result<Option<Caller>, Problem> {
    let Some(shown) = bearer(&parts.headers) else { return Ok(None) };
    let params = RawPathParams::from_request_parts(parts, state).await;
    admitted(state, needed, params, Some(shown)).await.map(Some)
}

async fn admitted(
    state: &State,
    needed: Scope,
    params: Result<RawPathParams, RawPathParamsRejection>,
    shown: Option<String>,
) -> Result<Caller, Problem> {
    let kit = &state.0.kit;
    let token = match shown {
        Some(text) => state.0.bearers.token(kit, &text).await?,
        None => None,
    };
    let token = token.ok_or_else(Problem::unauthorized)?;
    let per_second = kit.app.settings.web.requests_per_second;
    state.0.bearers.admit(&token.hash.id(), per_second, Moment::now()).map_err(|seconds| {
        let what = format!("the token asks more than {per_second} times a second; go on after the time in Retry-After");
        Problem::new(Fault::TooManyRequests, what).after(seconds)
    })?;
    let params = params.map_err(|_| Problem::new(Fault::NotFound, "the address is not UTF-8"))?;
    let account = params.iter().find(|(name, _)| *name == "account").map(|(_, text)| text);
    if !token.scope.includes(needed) {
        return Err(forbidden());
    }
    let account = match (account, &token.reach) {
        (None, _) => None,
        (Some(text), Reach::Account(own)) if text == own.as_str() => Some(own.clone()),
        (Some(_), Reach::Account(_)) => return Err(forbidden()),
        (Some(text), Reach::Platform) => Some(AccountId::new(text).map_err(|error| {
            Problem::new(Fault::UnknownAccount, format!("unknown_account: the address names no account: {error}"))
        })?),
    };
    Ok(Caller { token, account, params: Arc::new(params) })
}

/// What stands behind `Bearer` in the one header that may say it.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|value| value.len() <= HEADER_LEN_MAX)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (values.next().is_none() && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim_matches(' ').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TokenId {
        text.parse().expect("an id")
    }

    #[test]
    fn a_token_may_ask_so_often_and_others_are_not_held_up() {
        let (bearers, begin) = (Bearers::default(), Moment::now());
        let (one, other) = (id("0123456789ab"), id("0123456789ac"));
        let admitted = |token: &TokenId, now| (0..100).take_while(|_| bearers.admit(token, 10, now).is_ok()).count();
        assert_eq!(admitted(&one, begin), 20, "two seconds' worth at once");
        assert_eq!(bearers.admit(&one, 10, begin), Err(1));
        assert_eq!(admitted(&other, begin), 20);
        assert_eq!(admitted(&one, begin + Duration::from_secs(1)), 10);
        assert_eq!(admitted(&one, begin + Duration::from_secs(60)), 20);
        assert!((0..100).all(|_| bearers.admit(&one, 0, begin).is_ok()), "0 is without a limit");
    }

    #[test]
    fn what_the_ledger_said_is_believed_for_some_seconds() {
        let (bearers, asked_at) = (Bearers::default(), Moment::now());
        let hash = TokenHash::kept("0123456789ab");
        bearers.known().insert(hash.clone(), Known { token: None, asked_at, noted_at: None });
        let is_believed = |after| bearers.believed(&hash, asked_at + after).is_some();
        assert!(is_believed(Duration::ZERO) && is_believed(BELIEVED - Duration::from_millis(1)));
        assert!(!is_believed(BELIEVED), "a revocation is known then");
        assert!(bearers.believed(&TokenHash::kept("0123456789ac"), asked_at).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut all: HashMap<usize, bool> = (0..REMEMBERED_MAX).map(|n| (n, n % 2 == 0)).collect();
        make_room(&mut all, |needed| *needed);
        assert_eq!(all.len(), REMEMBERED_MAX / 2);
        let mut all: HashMap<usize, bool> = (0..REMEMBERED_MAX).map(|n| (n, true)).collect();
        make_room(&mut all, |needed| *needed);
        assert!(all.is_empty());
    }
}
