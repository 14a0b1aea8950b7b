//! Many charges in one request, each under a key of its own and answered for itself.

use super::answers;
use super::calls::{ChargeAsked, make};
use super::input::{Asked, Object, body, item};
use crate::core::counting::grouped;
use crate::core::ids::{AccountId, Key};
use crate::core::ledger::Call;
use crate::web::State;
use crate::web::bearer::Caller;
use crate::web::problem::Problem;
use axum::extract::{self, Request};
use axum::response::Json;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Most items of one request.
pub(super) const ITEMS_MAX: usize = 1_000;
/// Largest body of a request with many items.
pub(super) const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Charges, of any accounts that the token covers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchAsked {
    /// At most 1,000. They are read one by one, so that one that cannot be read spoils no other.
    #[schema(value_type = Vec<ItemAsked>, max_items = 1_000)]
    charges: Vec<Box<RawValue>>,
}

/// One of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ItemAsked {
    /// Whose credits.
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    account: AccountId,
    /// The idempotency key of this charge.
    #[schema(value_type = String, min_length = 1, max_length = 200, pattern = "^[!-~]+$")]
    key: Key,
    /// What is charged, as in a call of its own.
    #[schema(value_type = ChargeAsked)]
    charge: Object<ChargeAsked>,
}

impl Asked for BatchAsked {
    const EXAMPLE: &str = r#"{"charges": [{"account": "acme", "key": "job-1", "charge": {"action": "erase"}}]}"#;
}

impl Asked for ItemAsked {
    const EXAMPLE: &str = r#"{"account": "acme", "key": "job-1", "charge": {"action": "erase"}}"#;
}

impl ItemAsked {
    /// On which account, what, and whether it is only tried.
    fn call(self, caller: &Caller) -> Result<(AccountId, Call, bool), Problem> {
        let ItemAsked { account, key, charge: Object(charge) } = self;
        caller.covers(&account)?;
        let dry_run = charge.dry_run;
        let call = charge.call(key).map_err(|problem| problem.within(["charge"]))?;
        Ok((account, call, dry_run))
    }
}

/// What came of one item: a charge or a problem, with the status that it would have had alone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ItemAnswer {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    charge: Option<answers::Charge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

impl ItemAnswer {
    pub(super) fn of(answer: Result<answers::Charge, Problem>) -> ItemAnswer {
        match answer {
            Ok(charge) => ItemAnswer { status: 200, charge: Some(charge), problem: None },
            Err(problem) => ItemAnswer { status: problem.status().as_u16(), charge: None, problem: Some(problem) },
        }
    }
}

/// What came of each, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchAnswer {
    /// `creditd.charges/1`.
    schema: &'static str,
    results: Vec<ItemAnswer>,
}

impl BatchAnswer {
    pub(super) fn of(results: impl IntoIterator<Item = ItemAnswer>) -> BatchAnswer {
        BatchAnswer { schema: "creditd.charges/1", results: results.into_iter().collect() }
    }
}

/// Charge many AI actions
///
/// Each item has its own account and key and is answered for itself, as a call of its own would be: one that is refused, or cannot be
/// understood, holds up no other. The request itself has no key; repeat it as it is when its answer is lost.
#[utoipa::path(post, path = "/v1/charges", tag = "calls", operation_id = "chargeMany", request_body = BatchAsked,
    responses((status = 200, body = BatchAnswer), super::BodyProblems))]
pub(super) async fn charges(
    extract::State(state): extract::State<State>,
    caller: Caller,
    request: Request,
) -> Result<Json<BatchAnswer>, Problem> {
    let BatchAsked { charges } = body(request, BATCH_BYTES_MAX).await?;
    if charges.len() > ITEMS_MAX {
        return Err(Problem::invalid(format!(
            "charges: at most {} are taken at once, not {}",
            grouped(ITEMS_MAX as u64),
            grouped(charges.len() as u64)
        ))
        .at(["charges"]));
    }
    let one = async |at: usize, text: Box<RawValue>| {
        let place = ["charges".to_owned(), at.to_string()];
        let read = item::<ItemAsked>("the item", text.get().as_bytes()).and_then(|item| item.call(&caller));
        let (account, call, dry_run) = read.map_err(|problem| problem.within(place))?;
        charge_one(&state, &account, call, dry_run).await
    };
    let results = join_all(charges.into_iter().enumerate().map(|(at, item)| one(at, item))).await;
    Ok(Json(BatchAnswer::of(results.into_iter().map(ItemAnswer::of))))
}

pub(super) async fn charge_one(
    state: &State,
    account: &AccountId,
    call: Call,
    dry_run: bool,
) -> Result<answers::Charge, Problem> {
    let answer = make(state, account, call, dry_run).await?;
    Ok(answers::Charge::of(account, &answer, dry_run))
}
