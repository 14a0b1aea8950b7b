//! Problems (RFC 9457): whatever a program is told instead of what it asked for, in one form.
//!
//! Each kind has a code, one word that never changes, and a page at `/problems/CODE` that says what it means. Causes of
//! refusals keep the code that they have everywhere (`creditd help refusals`). The detail is the sentence that the command line
//! says: what happened, to what, and what to do next.

use super::Late;
use crate::app::{Answer, AppError};
use crate::core::credits::Split;
use crate::core::ids::{AccountId, Reference};
use crate::core::ledger::Cause;
use crate::core::transaction::{Reason, words};
use crate::store::StoreError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What the body of a problem says that it is.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// After how many seconds it is worth asking again when the ledger could not answer.
pub(super) const AGAIN_AFTER_SECONDS: u64 = 5;
/// What stands before the code of a kind.
const PAGES: &str = "/problems/";

words! {
    /// Kinds of problems that are no refusal of the ledger.
    Fault {
        /// Something about the request cannot be understood.
        InvalidRequest = "invalid_request",
        /// A call that changes something came without a key.
        MissingKey = "missing_idempotency_key",
        /// No token, or none that opens anything.
        Unauthorized = "unauthorized",
        /// The token does not open this.
        Forbidden = "forbidden",
        /// There is nothing at this address.
        NotFound = "not_found",
        /// There is no such account.
        UnknownAccount = "unknown_account",
        /// The address takes other methods.
        MethodNotAllowed = "method_not_allowed",
        /// The body did not come in time.
        RequestTimeout = "request_timeout",
        /// The body is larger than what is taken.
        TooLarge = "too_large",
        /// What the body says that it is, is not taken.
        UnsupportedMediaType = "unsupported_media_type",
        /// More than one answer holds.
        TooMuch = "too_much",
        /// The token asks too often.
        TooManyRequests = "too_many_requests",
        /// Something of creditd's own is wrong.
        Internal = "internal_error",
        /// The ledger does not answer now.
        Unavailable = "unavailable",
    }
}

impl Fault {
    const fn status(self) -> StatusCode {
        match self {
            Fault::InvalidRequest | Fault::MissingKey => StatusCode::BAD_REQUEST,
            Fault::Unauthorized => StatusCode::UNAUTHORIZED,
            Fault::Forbidden => StatusCode::FORBIDDEN,
            Fault::NotFound | Fault::UnknownAccount => StatusCode::NOT_FOUND,
            Fault::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Fault::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Fault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Fault::TooMuch => StatusCode::UNPROCESSABLE_ENTITY,
            Fault::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Fault::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Fault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Fault::InvalidRequest => "something about the request cannot be understood; the detail says what",
            Fault::MissingKey => "a call that changes something needs the header Idempotency-Key",
            Fault::Unauthorized => "no token was shown, or one that is unknown, expired or revoked",
            Fault::Forbidden => "the token does not open this: its scope or its account is another",
            Fault::NotFound => "there is nothing at this address",
            Fault::UnknownAccount => "there is no such account",
            Fault::MethodNotAllowed => "the address takes other methods, which the header Allow names",
            Fault::RequestTimeout => "the body did not come in time; nothing was done, and the connection is closed",
            Fault::TooLarge => "the body is larger than what is taken",
            Fault::UnsupportedMediaType => "the Content-Type of the body is not taken; the detail says why",
            Fault::TooMuch => "more is asked for than one answer holds",
            Fault::TooManyRequests => "the token asks too often; the header Retry-After says when to go on",
            Fault::Internal => "something of creditd's own is wrong; its log says what",
            Fault::Unavailable => {
                "the ledger does not answer now; repeat the call under the same key after the time in Retry-After"
            }
        }
    }
}

/// A kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fault(Fault),
    Refusal(Cause),
}

impl Kind {
    /// Every kind there is.
    fn all() -> impl Iterator<Item = Kind> {
        Fault::ALL.iter().copied().map(Kind::Fault).chain(Cause::ALL.iter().copied().map(Kind::Refusal))
    }

    const fn code(self) -> &'static str {
        match self {
            Kind::Fault(fault) => fault.as_str(),
            Kind::Refusal(cause) => cause.as_str(),
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Kind::Fault(fault) => fault.meaning(),
            Kind::Refusal(cause) => cause.meaning(),
        }
    }

    /// 402: more credits help. 404: what the address names is not there. 400: the call can never be right. 409: the call is in
    /// order, but as things stand it cannot be done. 422: what the call says contradicts what is known.
    const fn status(self) -> StatusCode {
        match self {
            Kind::Fault(fault) => fault.status(),
            Kind::Refusal(cause) => match cause {
                Cause::InsufficientCredits => StatusCode::PAYMENT_REQUIRED,
                Cause::UnknownHold | Cause::UnknownCharge => StatusCode::NOT_FOUND,
                Cause::ReservedKey | Cause::Quantity | Cause::NoReason => StatusCode::BAD_REQUEST,
                Cause::HoldCaptured
                | Cause::HoldVoided
                | Cause::HoldExpired
                | Cause::ExceedsHold
                | Cause::ExceedsRefundable
                | Cause::NothingToReturn
                | Cause::PaymentUsed
                | Cause::AccountClosed
                | Cause::AccountOpen
                | Cause::MonthClosed
                | Cause::MonthOpen
                | Cause::MonthNotOver
                | Cause::NoCap
                | Cause::UserCap => StatusCode::CONFLICT,
                Cause::Conflict
                | Cause::InFuture
                | Cause::NotOpened
                | Cause::ExpiresInPast
                | Cause::UnknownAction
                | Cause::RetiredAction
                | Cause::Overflow => StatusCode::UNPROCESSABLE_ENTITY,
            },
        }
    }

    fn page(self) -> String {
        format!("{PAGES}{}", self.code().replace('_', "-"))
    }
}

/// A problem, as RFC 9457 has it. What does not apply is left out.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(title = "Problem")]
pub struct Problem {
    /// What kind of problem it is: a page of this server.
    #[serde(rename = "type")]
    page: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The kind in one word, which never changes.
    code: &'static str,
    /// What happened, to what, and what to do next.
    detail: String,
    /// What only some problems have.
    #[serde(flatten)]
    members: Box<Members>,
    #[serde(skip)]
    retry_after_seconds: Option<u64>,
}

/// What only some problems have: the place of what is wrong with a body; or what the ledger says of an action that was refused, and
/// is logged as a failed row.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
struct Members {
    /// Where in the body that is which cannot be understood: a JSON Pointer (RFC 6901) as a fragment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "#/charges/0/charge/quantity")]
    pointer: Option<String>,
    /// Whose credits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    account: Option<String>,
    /// The key of the call, which stands for this refusal for ever; after a dry run it stands for nothing yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    key: Option<String>,
    /// The row of the log that says so; a dry run leaves none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    seq: Option<i64>,
    /// Whether the call came before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    replayed: Option<bool>,
    /// Credits that the action costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    needed: Option<i64>,
    /// Credits that are available.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    available: Option<i64>,
    /// Of them, free ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    available_free: Option<i64>,
    /// Of them, purchased ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    available_purchased: Option<i64>,
    /// Credits that are missing; 0 where a user's cap is what forbids it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    missing: Option<i64>,
    /// When the next month begins, with its free credits if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    next_reset_at: Option<String>,
    /// The user's cap in credits a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cap: Option<i64>,
    /// What of the cap is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cap_left: Option<i64>,
    /// When the month of the cap ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    cap_ends_at: Option<String>,
}

impl Problem {
    /// The payment was recorded for another account, which stays unnamed.
    pub(super) fn payment_used(reference: &Reference) -> Problem {
        let what = "was recorded before, for another account, and a payment counts once; nothing was written";
        Problem::of(Kind::Refusal(Cause::PaymentUsed), format!("payment_used: the payment {reference} {what}"))
    }

    fn of(kind: Kind, detail: String) -> Problem {
        Problem {
            page: kind.page(),
            title: kind.meaning(),
            status: kind.status().as_u16(),
            code: kind.code(),
            detail,
            members: Box::default(),
            retry_after_seconds: None,
        }
    }

    pub(super) fn new(fault: Fault, detail: impl Into<String>) -> Problem {
        let again = matches!(fault, Fault::Unavailable).then_some(AGAIN_AFTER_SECONDS);
        Problem { retry_after_seconds: again, ..Problem::of(Kind::Fault(fault), detail.into()) }
    }

    /// The request cannot be understood.
    pub(super) fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(Fault::InvalidRequest, detail)
    }

    /// The answer that tells nothing: whoever shows no good token learns no more than that.
    pub(super) fn unauthorized() -> Problem {
        Problem::new(
            Fault::Unauthorized,
            "show a token by the header `Authorization: Bearer crd_...`; `creditd token create` makes one, `creditd token list` \
             says which are good",
        )
    }

    /// What a refused action is told. `None` where it was done.
    pub(super) fn of_refused(account: &AccountId, answer: &Answer, dry_run: bool) -> Option<Problem> {
        let Answer { row, replayed, available, next_reset_at, cap, .. } = answer;
        let cause = match row.reason? {
            Reason::InsufficientCredits => Cause::InsufficientCredits,
            Reason::UserCap => Cause::UserCap,
        };
        let Split { free, purchased } = *available;
        let (needed, there) = (answer.needed().get(), available.total().get());
        let members = Members {
            pointer: None,
            account: Some(account.to_string()),
            key: row.key.as_ref().map(ToString::to_string),
            seq: (*replayed || !dry_run).then_some(row.seq),
            replayed: Some(*replayed),
            needed: Some(needed),
            available: Some(there),
            available_free: Some(free.get()),
            available_purchased: Some(purchased.get()),
            missing: Some(needed.saturating_sub(there).max(0)),
            next_reset_at: next_reset_at.map(|at| at.to_string()),
            cap: cap.as_ref().map(|cap| cap.limit.get()),
            cap_left: cap.as_ref().map(|cap| cap.left().get()),
            cap_ends_at: cap.as_ref().map(|cap| cap.ends_at.to_string()),
        };
        let detail = answer.refusal(account).unwrap_or_default();
        Some(Problem { members: Box::new(members), ..Problem::of(Kind::Refusal(cause), detail) })
    }

    /// The same about the part of the body that is found by these names.
    pub(super) fn at(mut self, names: impl IntoIterator<Item = impl std::fmt::Display>) -> Problem {
        let escaped = |name: &dyn std::fmt::Display| name.to_string().replace('~', "~0").replace('/', "~1");
        let place: String = names.into_iter().map(|name| format!("/{}", percent(&escaped(&name)))).collect();
        let within = self.members.pointer.take().unwrap_or_default();
        self.members.pointer = Some(format!("#{place}{}", within.trim_start_matches('#')));
        self
    }

    /// The same about a body that is part of another, where those names lead to it. What is about no place stays so.
    pub(super) fn within(self, names: impl IntoIterator<Item = impl std::fmt::Display>) -> Problem {
        if self.members.pointer.is_some() { self.at(names) } else { self }
    }

    /// The same about what is in no body.
    pub(super) fn of_no_place(mut self) -> Problem {
        self.members.pointer = None;
        self
    }

    /// The same, which asks to wait so long.
    pub(super) fn after(self, seconds: u64) -> Problem {
        Problem { retry_after_seconds: Some(seconds), ..self }
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whether it is about a call that came before.
    fn is_replayed(&self) -> bool {
        self.members.replayed == Some(true)
    }
}

impl From<Late> for Problem {
    fn from(late: Late) -> Problem {
        match late {
            Late::Body(time_max) => {
                let seconds = time_max.as_secs();
                let what =
                    format!("the body did not come within {seconds} seconds; nothing was done: send the request again");
                Problem::new(Fault::RequestTimeout, what)
            }
            Late::Answer => Problem::new(Fault::Unavailable, "no answer in time; repeat the call under the same key"),
            Late::Database => {
                let what = "the ledger's database cannot be reached now; repeat the call under the same key";
                Problem::new(Fault::Unavailable, what)
            }
        }
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Problem {
        match error {
            AppError::UnknownAccount(_) | AppError::UnknownThen { .. } => {
                Problem::new(Fault::UnknownAccount, error.to_string())
            }
            AppError::Refused(refusal) => Problem::of(Kind::Refusal(refusal.cause()), refusal.to_string()),
            AppError::AsOfFuture { at, now } => {
                Problem::invalid(format!("as_of: {at} is later than now ({now}); ask for an instant that has passed"))
            }
            AppError::BadToken(error) => Problem::invalid(error.to_string()),
            AppError::Store(error) => Problem::from(error),
            AppError::Sealed(crate::sealed::SealedError::Report(error)) => {
                Problem::new(Fault::TooMuch, error.to_string())
            }
            AppError::Sealed(_)
            | AppError::NotSealed { .. }
            | AppError::Dropped(_)
            | AppError::Moved(_)
            | AppError::Lacking(_)
            | AppError::Copy(_)
            | AppError::NotASandbox => internal(&error),
        }
    }
}

impl From<StoreError> for Problem {
    /// What is wrong with the ledger is for its log: it may name places that are nobody's business.
    fn from(error: StoreError) -> Problem {
        match &error {
            StoreError::Report(error) => Problem::new(Fault::TooMuch, error.to_string()),
            StoreError::Shared(shared) if shared.is_about_data() => internal(&error),
            error if error.is_about_data() => internal(error),
            error => {
                tracing::warn!(%error, "a request could not be answered");
                Problem::new(Fault::Unavailable, "the ledger does not answer now; repeat the call under the same key")
            }
        }
    }
}

/// A part of an address as a fragment has it.
fn percent(text: &str) -> String {
    use std::fmt::Write as _;
    let mut coded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => coded.push(char::from(byte)),
            other => {
                // A string takes everything.
                let _ = write!(coded, "%{other:02X}");
            }
        }
    }
    coded
}

/// A defect, or data that creditd did not write.
pub(super) fn internal(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "a request could not be answered");
    Problem::new(
        Fault::Internal,
        "something of creditd's own is wrong; its log says what. Nothing was written by this call",
    )
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, is_replayed) = (self.status(), self.code, self.is_replayed());
        let retry_after = self.retry_after_seconds;
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut answer = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        let headers = answer.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if is_replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        if code == Fault::RequestTimeout.as_str() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if code == Fault::Unauthorized.as_str() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"creditd\""));
        }
        answer
    }
}

/// Says that a call came before, and that what is answered is what came of it then.
pub(super) const REPLAYED: &str = "idempotency-replayed";

/// What a kind means, for its page.
pub(super) struct Meaning {
    /// The kind in one word.
    pub code: &'static str,
    /// The HTTP status that it comes with.
    pub status: u16,
    /// The kind in words.
    pub meaning: &'static str,
}

impl From<Kind> for Meaning {
    fn from(kind: Kind) -> Meaning {
        Meaning { code: kind.code(), status: kind.status().as_u16(), meaning: kind.meaning() }
    }
}

/// What every kind means.
pub(super) fn meanings() -> impl Iterator<Item = Meaning> {
    Kind::all().map(Meaning::from)
}

/// What the kind with this page means.
pub(super) fn meaning_of(page: &str) -> Option<Meaning> {
    let code = page.replace('-', "_");
    let kind = Fault::from_word(&code).map(Kind::Fault).or_else(|| Cause::from_word(&code).map(Kind::Refusal));
    kind.map(Meaning::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn kinds_have_a_page_each_and_a_status_that_is_an_error() {
        let pages: BTreeSet<String> = Kind::all().map(Kind::page).collect();
        assert_eq!(pages.len(), Kind::all().count());
        for kind in Kind::all() {
            assert!(kind.status().is_client_error() || kind.status().is_server_error(), "{kind:?}");
        }
        let server: Vec<&str> = Kind::all().filter(|kind| kind.status().is_server_error()).map(Kind::code).collect();
        assert_eq!(server, ["internal_error", "unavailable"]);
    }
}
