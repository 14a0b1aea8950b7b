//! `/v1`: what programs call. One table of routes says for each of them what a token needs to open it, and the gate asks before
//! the handler does anything; the document (`/v1/openapi.json`) is made from the types that handlers take and give.

mod answers;
mod batch;
mod calls;
mod events;
mod input;
mod reads;
mod statement;

pub(super) use self::answers::Bonus;
use super::bearer::gate;
use super::problem::Problem;
use super::{Needs, Route, Served, State};
use crate::core::access::Scope;
use axum::Router;
use axum::extract::{self, Request};
use axum::http::{Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeSet;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi, ToSchema};

const OPEN: Needs = Needs::Nothing;
const READ: Needs = Needs::Token(Scope::Read);
const CHARGE: Needs = Needs::Token(Scope::Charge);
const ADMIN: Needs = Needs::Token(Scope::Admin);

/// The table. A route that names an account opens for tokens of that account and of the platform alone.
pub(super) fn served() -> Vec<Served<State>> {
    vec![
        Served::get("/v1/openapi.json", OPEN, openapi),
        Served::get("/v1/actions", READ, reads::actions),
        Served::get("/v1/accounts/{account}", READ, reads::account),
        Served::get("/v1/accounts/{account}/balance", READ, reads::balance),
        Served::get("/v1/accounts/{account}/transactions", READ, reads::transactions),
        Served::get("/v1/accounts/{account}/statement", READ, statement::statement),
        Served::get("/v1/accounts/{account}/notifications", READ, reads::notifications),
        Served::post("/v1/accounts/{account}/charges", CHARGE, calls::charge),
        Served::post("/v1/accounts/{account}/charges/{charge}/refund", CHARGE, calls::refund),
        Served::post("/v1/accounts/{account}/holds", CHARGE, calls::hold),
        Served::post("/v1/accounts/{account}/holds/{hold}/capture", CHARGE, calls::capture),
        Served::post("/v1/accounts/{account}/holds/{hold}/void", CHARGE, calls::void),
        Served::post("/v1/accounts/{account}/purchases", ADMIN, calls::purchase),
        Served::post("/v1/charges", CHARGE, batch::charges),
        Served::post("/v1/events", CHARGE, events::events),
    ]
}

/// The API behind its gate. Calls say what they want in their bodies, and in no query.
pub(super) fn router(state: &State) -> Router<State> {
    served().into_iter().fold(Router::new(), |router, Served { route, by }| {
        let by = if route.method == "POST" { by.route_layer(from_fn_with_state(route, without_query)) } else { by };
        let by = match route.needs {
            Needs::Token(scope) => by.route_layer(from_fn_with_state((state.clone(), scope), gate)),
            _ => by,
        };
        router.route(route.path, by)
    })
}

/// Lets through what asks nothing by its query: what stands there would be passed over, and `dry_run` would charge.
async fn without_query(extract::State(route): extract::State<Route>, request: Request, next: Next) -> Response {
    match input::Params::of(request.uri()).and_then(|params| params.none_of(|| fields(route.path))) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// The fields that the body of the call at `path` has, in whatever it holds.
fn fields(path: &str) -> BTreeSet<String> {
    let document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    let mut left = vec![&document["paths"][path]["post"]["requestBody"]];
    let (mut fields, mut seen) = (BTreeSet::new(), BTreeSet::new());
    while let Some(value) = left.pop() {
        fields.extend(value["properties"].as_object().into_iter().flat_map(serde_json::Map::keys).cloned());
        let schema =
            value["$ref"].as_str().and_then(|found| found.strip_prefix('#')).filter(|found| seen.insert(*found));
        left.extend(schema.and_then(|schema| document.pointer(schema)));
        left.extend(value.as_object().into_iter().flat_map(serde_json::Map::values));
        left.extend(value.as_array().into_iter().flatten());
    }
    fields
}

/// The document of the API, as JSON with line ends: the same for every process of this version.
#[must_use]
pub fn document() -> String {
    // What is made of our own types is JSON.
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

async fn openapi(uri: Uri) -> Result<impl IntoResponse, Problem> {
    input::Params::of(&uri)?.finish()?;
    Ok(([(header::CONTENT_TYPE, input::JSON)], document()))
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "creditd",
        description = "AI credits of a multi-tenant platform: charges, holds, balances, statements.\n\nEvery call that changes something \
                       comes under a key (`Idempotency-Key`), unique per account for ever: repeated, it is answered by what came of it \
                       first. Problems are those of RFC 9457; each `code` is also listed by `creditd help refusals`.",
        license(name = "MIT", identifier = "MIT")
    ),
    servers((url = "/")),
    security(("token" = [])),
    modifiers(&BearerToken),
    tags((name = "calls", description = "What changes something"), (name = "reads", description = "What can be looked at")),
    paths(
        reads::actions, reads::account, reads::balance, reads::transactions, statement::statement, reads::notifications,
        calls::charge, calls::refund, calls::hold, calls::capture, calls::void, calls::purchase, batch::charges, events::events
    ),
    components(schemas(Problem))
)]
struct Document;

/// How a token is shown.
struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("crd_...")
            .description(Some("A token of `creditd token create`"))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The account in an address.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it is only described")]
struct AccountPath {
    /// The id of the account.
    #[param(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$", example = "acme")]
    account: String,
}

/// The hold in an address.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it is only described")]
struct HoldPath {
    /// The key of the hold, percent-encoded where that is needed.
    #[param(min_length = 1, max_length = 200)]
    hold: String,
}

/// The charge in an address.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it is only described")]
struct ChargePath {
    /// The key of the charge, or of the capture that made it.
    #[param(min_length = 1, max_length = 200)]
    charge: String,
}

/// The key of a call.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it is only described")]
struct KeyHeader {
    /// A text of yours, new for each new call and the same when a call is repeated; printable ASCII without spaces.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 200, pattern = "^[!-~]+$", example = "job-4711")]
    key: String,
}

/// The key of a purchase.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it is only described")]
struct PaymentHeader {
    /// The reference of the payment; printable ASCII without spaces.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 191,
        pattern = "^[!-~]+$",
        example = "pi_3Nq4711"
    )]
    key: String,
}

/// Pools of credits that a transaction touched.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "it is only described")]
enum TypeWord {
    Free,
    Purchased,
    Mixed,
    None,
}

/// How a transaction ended.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "it is only described")]
enum EndingWord {
    Succeeded,
    Failed,
    Refused,
}

/// A set of problems that a route may answer.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident { $($status:literal $variant:ident $description:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(IntoResponses)]
        #[expect(dead_code, reason = "it is only described")]
        enum $name {
            $(#[response(status = $status, description = $description, content_type = "application/problem+json")]
            $variant(Problem),)+
        }
    )+};
}

problems! {
    /// Of a route without an account.
    BareProblems {
        400 Invalid "The request cannot be understood",
        401 Unauthorized "No token, or one that is unknown, expired or revoked",
        403 Forbidden "The token is of a lesser scope",
        429 TooMany "The token asks too often; see Retry-After",
        500 Internal "A defect of creditd",
        503 Unavailable "The ledger does not answer now; see Retry-After",
    }
    /// Of what is looked at.
    ReadProblems {
        400 Invalid "The request cannot be understood",
        401 Unauthorized "No token, or one that is unknown, expired or revoked",
        403 Forbidden "The token is of another account, or of a lesser scope",
        404 NotFound "There is no such account",
        422 TooMuch "More is asked for than one answer holds",
        429 TooMany "The token asks too often; see Retry-After",
        500 Internal "A defect of creditd",
        503 Unavailable "The ledger does not answer now; see Retry-After",
    }
    /// Of a body with items that are answered for themselves.
    BodyProblems {
        400 Invalid "The request cannot be understood",
        401 Unauthorized "No token, or one that is unknown, expired or revoked",
        403 Forbidden "The token is of a lesser scope",
        408 Late "The body did not come in time; nothing was done",
        413 TooLarge "The body is larger than what is taken",
        415 Unsupported "The Content-Type of the body is not taken",
        429 TooMany "The token asks too often; see Retry-After",
        500 Internal "A defect of creditd",
        503 Unavailable "The ledger does not answer now; see Retry-After",
    }
    /// Of a call.
    CallProblems {
        400 Invalid "The request cannot be understood, or has no Idempotency-Key",
        401 Unauthorized "No token, or one that is unknown, expired or revoked",
        402 Insufficient "The credits are not there: needed, available, missing and the next reset are told",
        403 Forbidden "The token is of another account, or of a lesser scope",
        404 NotFound "There is no such account, hold or charge",
        409 Conflict "As things stand it cannot be done: a user's cap, a closed account or month, a hold that is settled or over",
        408 Late "The body did not come in time; nothing was done",
        413 TooLarge "The body is larger than what is taken",
        415 Unsupported "The Content-Type of the body is not taken",
        422 Refused "The key stands for another call, or what the call says contradicts what is known",
        429 TooMany "The token asks too often; see Retry-After",
        500 Internal "A defect of creditd",
        503 Unavailable "The ledger does not answer now; repeat the call under the same key; see Retry-After",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is served is described, and nothing else.
    #[test]
    fn the_document_has_every_route_behind_the_gate() {
        let document: serde_json::Value = serde_json::from_str(&document()).expect("JSON");
        assert_eq!(document["openapi"], "3.1.0");
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("methods").keys();
                methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
            })
            .collect();
        let served: BTreeSet<(String, String)> = served()
            .into_iter()
            .map(|served| served.route)
            .filter(|route| route.needs != Needs::Nothing)
            .map(|route| (route.method.to_owned(), route.path.to_owned()))
            .collect();
        assert_eq!(described, served);
    }
}
