//! Webhooks: what the platform's own programs are told as it happens, in the form of the Standard Webhooks specification.
//!
//! An event has one id and one text however often it is sent and to however many addresses, so that whoever gets it twice can
//! tell. It is signed with the secret of each address at the instant at which it is sent: that instant is part of what is
//! signed, and a receiver refuses what is old.

use super::calendar::{Instant, Month};
use super::credits::{Credits, Split};
use super::ids::AccountId;
use super::secret::Secret;
use super::transaction::words;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt;

/// Bytes of a secret, which are random.
pub const SECRET_BYTES: usize = 32;
/// Addresses of one account, and those of the platform.
pub const WEBHOOKS_MAX: usize = 10;
/// Longest address, in characters.
pub const URL_LEN_MAX: usize = 2_000;
/// What a secret begins with, so that it is known for one wherever it turns up.
const SECRET_PREFIX: &str = "whsec_";
/// Hexadecimal digits of an event's id: 128 bits, so that two events never meet.
const EVENT_DIGITS: usize = 32;

words! {
    /// What an event is about.
    EventKind {
        /// An account fell to or below an alert level above 0.
        Low = "credits.low",
        /// An account fell to or below its level of 0.
        Exhausted = "credits.exhausted",
        /// An account has risen above all of its levels.
        Recovered = "credits.recovered",
        /// A month of an account has begun (R1, R2).
        MonthReset = "month.reset",
        /// A month of an account is over, and its statement can be read.
        StatementReady = "statement.ready",
        /// Somebody wants to see that events arrive. Every address gets it.
        Test = "webhook.test",
    }
}

/// Which events an address gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted(Vec<EventKind>);

impl Wanted {
    /// These; of none, all.
    #[must_use]
    pub fn new(mut kinds: Vec<EventKind>) -> Wanted {
        kinds.retain(|kind| *kind != EventKind::Test);
        kinds.sort();
        kinds.dedup();
        Wanted(kinds)
    }

    /// Which, in order; none for all.
    #[must_use]
    pub fn kinds(&self) -> &[EventKind] {
        &self.0
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" "))
    }
}

/// Something happened to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// To which.
    pub account: AccountId,
    /// What it is about.
    pub kind: EventKind,
    /// Which of its kind: two events of one account, kind and subject-matter are one.
    pub about: String,
    /// When: by it receivers tell which of an account's alerts is the newest, in whatever order they arrive.
    pub at: Instant,
    /// What there is to know.
    pub facts: Facts,
}

/// What an event says beside its kind, its account and when it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Facts {
    /// Of an alert: `credits.low`, `credits.exhausted`, `credits.recovered`.
    Alert {
        /// The name of the level.
        level: String,
        /// Where it lies, in credits; of an alert that is over, none.
        #[serde(skip_serializing_if = "Option::is_none")]
        threshold: Option<Credits>,
        /// Credits that a charge can use, of both types.
        available: Credits,
        /// Those of them that are free.
        available_free: Credits,
        /// Those of them that were purchased.
        available_purchased: Credits,
        /// When the next month begins, with its free credits if there are any.
        next_reset_at: String,
    },
    /// Of a month: `month.reset`, `statement.ready`.
    Month {
        /// The month.
        month: Month,
        /// Its first instant.
        from: String,
        /// The first instant after it.
        to: String,
        /// Free credits of the month.
        allowance: Credits,
    },
    /// Of a test.
    Test {
        /// What to make of it.
        message: &'static str,
    },
}

impl Facts {
    /// Those of an alert.
    #[must_use]
    pub fn alert(level: String, threshold: Option<Credits>, available: Split, next_reset_at: Instant) -> Facts {
        Facts::Alert {
            level,
            threshold,
            available: available.total(),
            available_free: available.free,
            available_purchased: available.purchased,
            next_reset_at: next_reset_at.to_string(),
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: EventKind,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    account: &'a AccountId,
    #[serde(flatten)]
    facts: &'a Facts,
}

impl Event {
    /// The id: the same for every address and every time it is sent.
    #[must_use]
    pub fn id(&self) -> String {
        let Event { account, kind, about, .. } = self;
        let hash = Sha256::digest(format!("{kind}/{account}/{about}"));
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("evt_{}", &digits[..EVENT_DIGITS])
    }

    /// What is sent: JSON, frozen when the event is written down.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which no event is known not to be.
    pub fn body(&self) -> Result<String, serde_json::Error> {
        let Event { account, kind, at, facts, .. } = self;
        serde_json::to_string(&Body { r#type: *kind, timestamp: at.to_string(), data: Data { account, facts } })
    }
}

/// With what the events to one address are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSecret(Secret);

impl WebhookSecret {
    /// The secret of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; SECRET_BYTES]) -> WebhookSecret {
        WebhookSecret(Secret::new(format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes))))
    }

    /// The secret as it was kept; `None` when this is none.
    #[must_use]
    pub fn read(text: &str) -> Option<WebhookSecret> {
        let secret = WebhookSecret(Secret::new(text));
        secret.bytes().filter(|bytes| !bytes.is_empty()).map(|_| secret)
    }

    /// The secret itself, for whoever is to check signatures and for where it is kept.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.0.expose().strip_prefix(SECRET_PREFIX)?).ok()
    }

    /// The header `webhook-signature` of an event that is sent at `seconds` of Unix time.
    #[must_use]
    pub fn signature(&self, id: &str, seconds: i64, body: &str) -> String {
        // A key of any length is one.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.bytes().unwrap_or_default())
            .unwrap_or_else(|_| unreachable!("a key of any length"));
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body.as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specification_s_own_example_is_signed_as_it_says() {
        let secret = WebhookSecret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signature = secret.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_reads_back_and_is_shown_to_nobody() {
        let secret = WebhookSecret::new([7; SECRET_BYTES]);
        assert_eq!(WebhookSecret::read(secret.expose()), Some(secret.clone()));
        assert!(!format!("{secret:?}").contains(&secret.expose()[6..]));
        for bad in ["", "whsec_", "whsec_!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(WebhookSecret::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_event_has_one_id_and_one_text() {
        let event = |about: &str| Event {
            account: AccountId::new("acme").expect("an id"),
            kind: EventKind::Low,
            about: about.to_owned(),
            at: Instant::parse("2013-03-05T10:00:00Z").expect("an instant"),
            facts: Facts::alert(
                "low".to_owned(),
                Some(Credits::new(300)),
                Split { free: Credits::new(250), purchased: Credits::ZERO },
                Instant::parse("2013-04-01T00:00:00Z").expect("an instant"),
            ),
        };
        assert_eq!(event("low#1").id(), event("low#1").id());
        assert_ne!(event("low#1").id(), event("low#2").id());
        assert_eq!(event("low#1").id().len(), "evt_".len() + EVENT_DIGITS);
        insta::assert_snapshot!(event("low#1").body().expect("JSON"), @r#"{"type":"credits.low","timestamp":"2013-03-05T10:00:00Z","data":{"account":"acme","level":"low","threshold":300,"available":250,"available_free":250,"available_purchased":0,"next_reset_at":"2013-04-01T00:00:00Z"}}"#);
    }
}
