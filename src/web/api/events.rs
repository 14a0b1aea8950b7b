//! Usage as CloudEvents 1.0: one in structured or binary mode, or a batch of them.
//!
//! The type is `creditd.usage`, the subject the account, and the data says what was done. `source` and `id` together are the
//! key (R9), so an event may be delivered any number of times; `time` is when the action happened, so one that comes late is
//! late usage (R14).

use super::answers;
use super::batch::{BATCH_BYTES_MAX, BatchAnswer, ITEMS_MAX, ItemAnswer, charge_one};
use super::calls::{ChargeAsked, Ended, called};
use super::input::{Asked, JSON, Object, bytes, item, json, object, unsupported};
use crate::core::calendar::Instant;
use crate::core::counting::grouped;
use crate::core::ids::{AccountId, ActionCode, Key, UserId};
use crate::core::ledger::Call;
use crate::web::State;
use crate::web::bearer::Caller;
use crate::web::media::{essence, media_type};
use crate::web::problem::{Problem, internal};
use axum::extract::{self, Request};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Json, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// One event, whole.
const EVENT: &str = "application/cloudevents+json";
/// A list of events.
const EVENTS: &str = "application/cloudevents-batch+json";
/// What the events are about.
const TYPE: &str = "creditd.usage";
/// The version of the specification.
const VERSION: &str = "1.0";
/// What keys of events begin with.
const KEY_PREFIX: &str = "event:";
/// Longest `source` or `id`, in bytes.
const NAME_LEN_MAX: usize = 2_000;

/// An event. Attributes that are not listed here, as extensions are, are left alone.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Event {
    /// `1.0`.
    #[schema(example = "1.0")]
    specversion: String,
    /// `creditd.usage`.
    #[serde(rename = "type")]
    #[schema(example = "creditd.usage")]
    event_type: String,
    /// Where it comes from: with `id` it is the idempotency key.
    #[schema(min_length = 1, example = "/gateway")]
    source: String,
    /// Which one of that source.
    #[schema(min_length = 1)]
    id: String,
    /// The account whose credits they are. A token of the platform needs it; left out, it is the account of the token.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    subject: Option<AccountId>,
    /// When the action happened; left out for now.
    #[schema(value_type = Option<String>, format = DateTime)]
    time: Option<Instant>,
    /// `application/json`, in any case of letters and with any parameters, where it is there.
    datacontenttype: Option<String>,
    /// What was done.
    #[schema(value_type = Option<UsageData>)]
    data: Option<Object<UsageData>>,
}

/// What was done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageData {
    /// One of the action credit matrix.
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    action: ActionCode,
    /// Who did it.
    #[schema(value_type = Option<String>)]
    user: Option<UserId>,
    /// How many.
    #[serde(default = "super::calls::one")]
    #[schema(minimum = 1, maximum = 1_000_000, default = 1)]
    quantity: i64,
    /// What the log shall say about it.
    #[serde(default)]
    #[schema(max_length = 500, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F\\u2028\\u2029]*$", default = "")]
    comment: String,
    /// Usage of a month that is closed counts at the beginning of the first open one, instead of being refused.
    #[serde(default)]
    #[schema(default = false)]
    post_to_open: bool,
}

impl Asked for Event {
    const EXAMPLE: &str = r#"{"specversion": "1.0", "type": "creditd.usage", "source": "/gateway", "id": "e-1", "subject": "acme", "data": {"action": "erase"}}"#;
}

impl Asked for UsageData {
    const EXAMPLE: &str = r#"{"action": "erase"}"#;
}

/// The key of an event. `source` and `id` may be longer than keys are and have other characters, so it is a hash of both.
fn key_of(source: &str, id: &str) -> Result<Key, Problem> {
    let length = u64::try_from(source.len()).unwrap_or(u64::MAX).to_be_bytes();
    let hash = Sha256::new().chain_update(length).chain_update(source).chain_update(id).finalize();
    let key = format!("{KEY_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(hash));
    Key::new(&key).map_err(|error| internal(&error))
}

impl Event {
    /// On which account, and what.
    fn call(self, caller: &Caller) -> Result<(AccountId, Call), Problem> {
        let Event { specversion, event_type, source, id, subject, time, datacontenttype, data } = self;
        let expect = |name: &str, found: &str, expected: &str| {
            if found == expected {
                return Ok(());
            }
            let found = crate::core::ids::cut_text(found, 64);
            Err(Problem::invalid(format!("{name}: {expected:?} is expected, not {found:?}")).at([name]))
        };
        expect("specversion", &specversion, VERSION)?;
        expect("type", &event_type, TYPE)?;
        if let Some(found) = datacontenttype.filter(|found| essence(found) != JSON) {
            expect("datacontenttype", &found, JSON)?;
        }
        for (name, text) in [("source", &source), ("id", &id)] {
            if text.is_empty() || text.len() > NAME_LEN_MAX {
                return Err(Problem::invalid(format!(
                    "{name}: 1 to {} bytes are expected, not {}",
                    grouped(NAME_LEN_MAX as u64),
                    grouped(text.len() as u64)
                ))
                .at([name]));
            }
        }
        let account = subject.or_else(|| caller.own_account().cloned());
        let account = account.ok_or_else(|| {
            Problem::invalid("subject: the account is expected, as the token is of none").at(["subject"])
        })?;
        caller.covers(&account)?;
        let Object(UsageData { action, user, quantity, comment, post_to_open }) =
            data.ok_or_else(|| Problem::invalid("data: what was done is expected, such as {\"action\": \"erase\"}"))?;
        // It tells of what was done.
        let (status, occurred_at) = (Ended::Success, time);
        let asked = ChargeAsked { action, user, quantity, comment, occurred_at, status, post_to_open, dry_run: false };
        let call = asked.call(key_of(&source, &id)?).map_err(|problem| problem.within(["data"]))?;
        Ok((account, call))
    }
}

/// Charge usage that is told by events
///
/// One CloudEvent (`application/cloudevents+json`, or `application/json` with the attributes in `ce-` headers), answered as a
/// charge is; or a batch of them (`application/cloudevents-batch+json`), each answered for itself. `source` and `id` are the
/// key, `time` is when the action happened, `subject` is the account.
#[utoipa::path(post, path = "/v1/events", tag = "calls", operation_id = "sendEvents",
    request_body(content((Event = "application/cloudevents+json"), (Vec<Event> = "application/cloudevents-batch+json"))),
    responses((status = 200, body = EventsAnswer, headers(("Idempotency-Replayed" = String, description = "`true` where the event came before"))), super::CallProblems))]
pub(super) async fn events(
    extract::State(state): extract::State<State>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let found = media_type(&parts.headers)?;
    let body = bytes(body, BATCH_BYTES_MAX);
    match found.as_deref() {
        Some(EVENTS) => many(&state, &caller, &body.await?).await,
        Some(EVENT) => single(&state, object::<Event>(&body.await?)?.call(&caller)?).await,
        // Its attributes are no parts of the body.
        Some(JSON) => {
            let event = binary(&parts.headers, &body.await?)?;
            single(&state, event.call(&caller).map_err(Problem::of_no_place)?).await
        }
        found => Err(unsupported(found, &[EVENT, EVENTS, JSON])),
    }
}

/// A charge for one event, a list of results for a batch.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is only described")]
enum EventsAnswer {
    One(Box<answers::Charge>),
    Many(BatchAnswer),
}

async fn single(state: &State, (account, call): (AccountId, Call)) -> Result<Response, Problem> {
    let charge = charge_one(state, &account, call, false).await?;
    Ok(called(charge.is_replayed(), &charge))
}

/// One event that cannot be read spoils no other.
async fn many(state: &State, caller: &Caller, body: &[u8]) -> Result<Response, Problem> {
    let events: Vec<Box<RawValue>> = json(body)?;
    if events.len() > ITEMS_MAX {
        return Err(Problem::invalid(format!(
            "at most {} events are taken at once, not {}",
            grouped(ITEMS_MAX as u64),
            grouped(events.len() as u64)
        )));
    }
    let one = async |at: usize, event: Box<RawValue>| {
        let read = item::<Event>("the event", event.get().as_bytes()).and_then(|event| event.call(caller));
        let (account, call) = read.map_err(|problem| problem.within([at]))?;
        charge_one(state, &account, call, false).await
    };
    let results = join_all(events.into_iter().enumerate().map(|(at, event)| one(at, event))).await;
    Ok(Json(BatchAnswer::of(results.into_iter().map(ItemAnswer::of))).into_response())
}

/// An event whose attributes are headers and whose data is the body.
fn binary(headers: &HeaderMap, body: &[u8]) -> Result<Event, Problem> {
    let attribute = |name: &str| {
        let mut values = headers.get_all(format!("ce-{name}")).iter();
        let value = values.next()?;
        // Which of two was meant, nobody knows.
        if values.next().is_some() {
            return Some(Err(Problem::invalid(format!("ce-{name}: the header is there more than once"))));
        }
        let text = value.to_str().ok().and_then(percent_decoded);
        Some(text.ok_or_else(|| {
            Problem::invalid(format!(
                "ce-{name}: printable ASCII is expected, and all else as % and two hexadecimal digits"
            ))
        }))
    };
    let maybe = |name: &str| attribute(name).transpose();
    let must = |name: &str| {
        maybe(name)?.ok_or_else(|| {
            Problem::invalid(format!(
                "the header ce-{name} is missing; send the attributes of an event as ce- headers, or a whole event as {EVENT}"
            ))
        })
    };
    let named = |name: &str, error: &dyn std::fmt::Display| Problem::invalid(format!("ce-{name}: {error}"));
    let subject = maybe("subject")?.map(|text| AccountId::new(&text)).transpose();
    let time = maybe("time")?.map(|text| Instant::parse(&text)).transpose();
    Ok(Event {
        specversion: must("specversion")?,
        event_type: must("type")?,
        source: must("source")?,
        id: must("id")?,
        subject: subject.map_err(|error| named("subject", &error))?,
        time: time.map_err(|error| named("time", &error))?,
        datacontenttype: None,
        data: Some(json(body)?),
    })
}

/// An attribute as its header has it (CloudEvents, HTTP binding 3.1.3.2): a `%` and two hexadecimal digits stand for a byte. The key
/// of an event must be the same whichever way it comes.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_one_key_whichever_way_it_comes() {
        assert_eq!(percent_decoded("j%C3%B6b%201").as_deref(), Some("jöb 1"));
        assert_eq!(percent_decoded("/gateway?a=1+2").as_deref(), Some("/gateway?a=1+2"));
        assert_eq!(["%", "%1", "%g0", "%ff", "100%"].map(percent_decoded), [const { None }; 5]);
    }

    #[test]
    fn source_and_id_are_the_key_together() {
        let key = |source: &str, id: &str| key_of(source, id).expect("a key");
        assert_eq!(key("/gateway", "1"), key("/gateway", "1"));
        assert_ne!(key("/gateway", "1"), key("/gateway/", "1"));
        assert_ne!(key("a", "bc"), key("ab", "c"));
        assert_eq!(key("/ü", &"x".repeat(NAME_LEN_MAX)).as_str().len(), KEY_PREFIX.len() + 43);
    }
}
