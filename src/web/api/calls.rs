//! Calls that change something, each under its key (R9): charge, hold, capture, void, refund, purchase.

use super::answers;
use super::input::{self, Asked, body, call_key, comment};
use crate::app::{Answer, AppError};
use crate::config::AMOUNT_MAX;
use crate::core::calendar::Instant;
use crate::core::counting::grouped;
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, ActionCode, Key, Reference, UserId};
use crate::core::ledger::{self, Call, HOLD_TTL_SECONDS, Refusal, Usage};
use crate::core::transaction::{Money, Status};
use crate::web::State;
use crate::web::bearer::Caller;
use crate::web::problem::{Problem, REPLAYED};
use axum::extract::{self, Request};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Json, Response};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// Largest body of a call.
const CALL_BYTES_MAX: usize = 16 * 1024;

/// An AI action to charge.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChargeAsked {
    /// One of the action credit matrix.
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$", example = "text-to-image")]
    pub(super) action: ActionCode,
    /// Who did it: an opaque id of yours.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, pattern = "^[!-~]+$", example = "ann")]
    pub(super) user: Option<UserId>,
    /// How many.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1_000_000, default = 1)]
    pub(super) quantity: i64,
    /// What the log shall say about it.
    #[serde(default)]
    #[schema(max_length = 500, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F\\u2028\\u2029]*$", default = "")]
    pub(super) comment: String,
    /// When it happened, for usage that is told later; left out for now.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) occurred_at: Option<Instant>,
    /// `failed` logs an action that failed at the platform and takes nothing.
    #[serde(default, deserialize_with = "ended")]
    #[schema(default = "success")]
    pub(super) status: Ended,
    /// Usage of a month that is closed counts at the beginning of the first open one, instead of being refused.
    #[serde(default)]
    #[schema(default = false)]
    pub(super) post_to_open: bool,
    /// Answer what the charge would come to, and write nothing.
    #[serde(default)]
    #[schema(default = false)]
    pub(super) dry_run: bool,
}

/// How an action ended at the platform.
#[derive(Clone, Copy, Debug, Default, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Ended {
    /// It was done.
    #[default]
    Success,
    /// It was not.
    Failed,
}

/// The word alone: serde would also take an object of it.
fn ended<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ended, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "success" => Ok(Ended::Success),
        "failed" => Ok(Ended::Failed),
        other => Err(D::Error::unknown_variant(other, &["success", "failed"])),
    }
}

pub(super) const fn one() -> i64 {
    1
}

impl ChargeAsked {
    pub(super) fn call(self, key: Key) -> Result<Call, Problem> {
        Ok(Call::Charge(Usage {
            key,
            occurred_at: self.occurred_at,
            user: self.user,
            action: self.action,
            quantity: self.quantity,
            status: match self.status {
                Ended::Success => Status::Success,
                Ended::Failed => Status::Failed,
            },
            comment: comment(&self.comment)?,
            post_to_open: self.post_to_open,
        }))
    }
}

/// An AI action whose credits are reserved before the work.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldAsked {
    /// One of the action credit matrix.
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$", example = "text-to-image")]
    action: ActionCode,
    /// Who will do it.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, pattern = "^[!-~]+$", example = "ann")]
    user: Option<UserId>,
    /// How many.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1_000_000, default = 1)]
    quantity: i64,
    /// For how many seconds it is open.
    #[serde(default = "usual_ttl")]
    #[schema(minimum = 1, maximum = 86_400, default = 900)]
    ttl_seconds: i64,
    /// What the log shall say about it.
    #[serde(default)]
    #[schema(max_length = 500, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F\\u2028\\u2029]*$", default = "")]
    comment: String,
}

const fn usual_ttl() -> i64 {
    HOLD_TTL_SECONDS
}

/// How much of a hold to take.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CaptureAsked {
    /// Credits to take, at most what is held; left out for all. The rest is given back.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    credits: Option<i64>,
    /// What the log shall say; left out for what it says about the hold.
    #[serde(default)]
    #[schema(max_length = 500, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F\\u2028\\u2029]*$", default = "")]
    comment: String,
}

/// Why a hold is given back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VoidAsked {
    /// What the log shall say; left out for what it says about the hold.
    #[serde(default)]
    #[schema(max_length = 500, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F\\u2028\\u2029]*$", default = "")]
    comment: String,
}

/// What to give back of a charge, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundAsked {
    /// Credits to give back; left out for all that are not given back yet.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    credits: Option<i64>,
    /// Why; the log keeps it.
    #[serde(default)]
    #[schema(max_length = 500, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F\\u2028\\u2029]*$", default = "")]
    comment: String,
}

/// Packs that were paid for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PurchaseAsked {
    /// How many.
    #[schema(minimum = 1, maximum = 100_000)]
    packs: i64,
    /// When it was paid, for a purchase that is told later; left out for now.
    #[schema(value_type = Option<String>, format = DateTime)]
    occurred_at: Option<Instant>,
    /// What the log shall say about it.
    #[serde(default)]
    #[schema(max_length = 500, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F\\u2028\\u2029]*$", default = "")]
    comment: String,
}

impl Asked for ChargeAsked {
    const EXAMPLE: &str = r#"{"action": "erase"}"#;
}

impl Asked for HoldAsked {
    const EXAMPLE: &str = r#"{"action": "erase"}"#;
}

impl Asked for CaptureAsked {
    const EXAMPLE: &str = r#"{"credits": 7}, or {} for all"#;
}

impl Asked for VoidAsked {
    const EXAMPLE: &str = r#"{"comment": "no images"}, or {}"#;
}

impl Asked for RefundAsked {
    const EXAMPLE: &str = r#"{"credits": 7, "comment": "blurred"}, or {} for all"#;
}

impl Asked for PurchaseAsked {
    const EXAMPLE: &str = r#"{"packs": 1}"#;
}

/// Credits of a body: not negative, and not a slip of the keyboard. Whether they are too many is for the ledger to say.
fn credits(asked: Option<i64>) -> Result<Option<Credits>, Problem> {
    match asked {
        Some(credits) if !(0..=AMOUNT_MAX).contains(&credits) => {
            let (max, credits) = (grouped(AMOUNT_MAX), grouped(credits));
            Err(Problem::invalid(format!("credits: a whole number from 0 to {max} is expected, not {credits}"))
                .at(["credits"]))
        }
        asked => Ok(asked.map(Credits::new)),
    }
}

/// Charge an AI action
///
/// Checks the balance and takes the credits at once. A refusal takes nothing, but is logged: 402 for want of credits, 409 by the
/// user's cap. The same call under the same key is answered again without taking anything.
#[utoipa::path(post, path = "/v1/accounts/{account}/charges", tag = "calls", operation_id = "charge",
    params(super::AccountPath, super::KeyHeader), request_body = ChargeAsked,
    responses((status = 200, body = answers::Charge, headers(("Idempotency-Replayed" = String, description = "`true` where the call came before"))), super::CallProblems))]
pub(super) async fn charge(
    extract::State(state): extract::State<State>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let key = call_key(request.headers())?;
    let asked: ChargeAsked = body(request, CALL_BYTES_MAX).await?;
    let dry_run = asked.dry_run;
    let answer = make(&state, caller.account()?, asked.call(key)?, dry_run).await?;
    Ok(called(answer.replayed, &answers::Charge::of(caller.account()?, &answer, dry_run)))
}

/// Makes a call, or only tries it. What was refused and logged is a problem, too.
pub(super) async fn make(state: &State, account: &AccountId, call: Call, dry_run: bool) -> Result<Answer, Problem> {
    let app = &state.0.kit.app;
    let answer = if dry_run { app.dry_run(account, &call).await? } else { app.call(account, call).await? };
    match Problem::of_refused(account, &answer, dry_run) {
        Some(problem) => Err(problem),
        None => Ok(answer),
    }
}

/// What a call is answered; the header says whether it came before.
pub(super) fn called(replayed: bool, answer: &impl Serialize) -> Response {
    let mut response = Json(answer).into_response();
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Reserve the credits of an AI action
///
/// They are taken by a capture or given back by a void; a hold that is neither in its time ends by itself. The hold is called by
/// the key of this call.
#[utoipa::path(post, path = "/v1/accounts/{account}/holds", tag = "calls", operation_id = "hold",
    params(super::AccountPath, super::KeyHeader), request_body = HoldAsked,
    responses((status = 200, body = answers::Hold, headers(("Idempotency-Replayed" = String, description = "`true` where the call came before"))), super::CallProblems))]
pub(super) async fn hold(
    extract::State(state): extract::State<State>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let key = call_key(request.headers())?;
    let HoldAsked { action, user, quantity, ttl_seconds, comment } = body(request, CALL_BYTES_MAX).await?;
    let comment = input::comment(&comment)?;
    let call = Call::Hold(ledger::Hold { key, user, action, quantity, ttl_seconds, comment });
    let answer = make(&state, caller.account()?, call, false).await?;
    Ok(called(answer.replayed, &answers::Hold::of(caller.account()?, &answer)))
}

/// Take the credits of a hold, or some of them
///
/// The rest is given back. A hold is captured once.
#[utoipa::path(post, path = "/v1/accounts/{account}/holds/{hold}/capture", tag = "calls", operation_id = "capture",
    params(super::AccountPath, super::HoldPath, super::KeyHeader), request_body = CaptureAsked,
    responses((status = 200, body = answers::Settled, headers(("Idempotency-Replayed" = String, description = "`true` where the call came before"))), super::CallProblems))]
pub(super) async fn capture(
    extract::State(state): extract::State<State>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (key, hold) = (call_key(request.headers())?, caller.key("hold")?);
    let CaptureAsked { credits: asked, comment } = body(request, CALL_BYTES_MAX).await?;
    let (credits, comment) = (credits(asked)?, input::comment(&comment)?);
    let call = Call::Capture(ledger::Capture { key, hold: hold.clone(), credits, comment });
    settle(&state, &caller, "creditd.capture/1", &hold, call).await
}

/// Makes a call about a hold.
async fn settle(
    state: &State,
    caller: &Caller,
    schema: &'static str,
    hold: &Key,
    call: Call,
) -> Result<Response, Problem> {
    let answer = make(state, caller.account()?, call, false).await?;
    Ok(called(answer.replayed, &answers::Settled::of(schema, caller.account()?, hold.as_str(), &answer)))
}

/// Give a hold back
///
/// The action was not done; the log keeps it as a failed one.
#[utoipa::path(post, path = "/v1/accounts/{account}/holds/{hold}/void", tag = "calls", operation_id = "void",
    params(super::AccountPath, super::HoldPath, super::KeyHeader), request_body = VoidAsked,
    responses((status = 200, body = answers::Settled, headers(("Idempotency-Replayed" = String, description = "`true` where the call came before"))), super::CallProblems))]
pub(super) async fn void(
    extract::State(state): extract::State<State>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (key, hold) = (call_key(request.headers())?, caller.key("hold")?);
    let VoidAsked { comment } = body(request, CALL_BYTES_MAX).await?;
    let call = Call::Void(ledger::Void { key, hold: hold.clone(), comment: input::comment(&comment)? });
    settle(&state, &caller, "creditd.void/1", &hold, call).await
}

/// Give credits of a charge back
///
/// They go to where they came from; what goes back to free credits of a month that is over lapses at once.
#[utoipa::path(post, path = "/v1/accounts/{account}/charges/{charge}/refund", tag = "calls", operation_id = "refund",
    params(super::AccountPath, super::ChargePath, super::KeyHeader), request_body = RefundAsked,
    responses((status = 200, body = answers::Refund, headers(("Idempotency-Replayed" = String, description = "`true` where the call came before"))), super::CallProblems))]
pub(super) async fn refund(
    extract::State(state): extract::State<State>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (key, charge) = (call_key(request.headers())?, caller.key("charge")?);
    let RefundAsked { credits: asked, comment } = body(request, CALL_BYTES_MAX).await?;
    // How many there may be, the ledger says of all of them.
    let (credits, comment) = (asked.map(Credits::new), input::comment(&comment)?);
    let call = Call::Refund(ledger::Refund { key, charge: charge.clone(), credits, comment });
    let answer = make(&state, caller.account()?, call, false).await?;
    Ok(called(answer.replayed, &answers::Refund::of(caller.account()?, charge.as_str(), &answer)))
}

/// Add purchased packs
///
/// The reference of the payment is the key, unique over all accounts: a payment adds its packs once, however often it is told.
/// What a pack holds and costs is what the settings say.
#[utoipa::path(post, path = "/v1/accounts/{account}/purchases", tag = "calls", operation_id = "purchase",
    params(super::AccountPath, super::PaymentHeader), request_body = PurchaseAsked,
    responses((status = 200, body = answers::Purchase, headers(("Idempotency-Replayed" = String, description = "`true` where the call came before"))), super::CallProblems))]
pub(super) async fn purchase(
    extract::State(state): extract::State<State>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let reference: Reference = input::key(request.headers())?;
    let PurchaseAsked { packs, occurred_at, comment } = body(request, CALL_BYTES_MAX).await?;
    let settings = &state.0.kit.app.settings.credits;
    let call = Call::Purchase(ledger::Purchase {
        key: Key::of_purchase(&reference),
        reference,
        occurred_at,
        packs,
        pack_credits: settings.pack_credits,
        // What has more packs than there can be is refused by the ledger, whatever it would cost.
        money: Money { minor: settings.pack_price_minor.saturating_mul(packs), currency: settings.currency.clone() },
        comment: input::comment(&comment)?,
    });
    let account = caller.account()?;
    let answer = match state.0.kit.app.call(account, call).await {
        // Whose it is concerns nobody who may see one account alone.
        Err(AppError::Refused(Refusal::PaymentUsed { reference, .. })) if caller.own_account().is_some() => {
            return Err(Problem::payment_used(&reference));
        }
        answer => answer?,
    };
    if let Some(problem) = Problem::of_refused(account, &answer, false) {
        return Err(problem);
    }
    Ok(called(answer.replayed, &answers::Purchase::of(account, &answer)))
}
