//! Who looks at a page, and how that is carried from a link over a cookie: signed, for one purpose, until an instant.
//!
//! A link and a cookie say the same of a visitor, and neither can take the other's place. That somebody is an admin still is
//! asked of the ledger at each visit; here nothing is looked up.

use super::access::Reach;
use super::calendar::Instant;
use super::ids::{AccountId, EMAIL_LEN_MAX, Email, NAME_LEN_MAX};
use super::signed::{Purpose, SigningKey, token_len};

/// Longest token: an instant, a word, an account and an address, and what stands between them.
pub const VISIT_TOKEN_LEN_MAX: usize = token_len(20 + 8 + NAME_LEN_MAX + EMAIL_LEN_MAX + 3);
/// For how long a visit goes on without another link, in seconds: a working day.
pub const VISIT_SECONDS: i64 = 12 * 3_600;

/// Who visits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// What they may see.
    pub reach: Reach,
    /// As whom; `None` for an operator, and for whoever the platform let in without saying.
    pub address: Option<Email>,
}

/// A visitor, until an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Who.
    pub visitor: Visitor,
    /// From when on it counts no more.
    pub until: Instant,
}

/// No token of this ledger for this purpose, or one whose time is over. It says no more, so that nobody learns how to make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVisit {
    /// Never made here.
    #[error("this is no link of ours: it may have been cut or changed on its way")]
    Unknown,
    /// Its time is over.
    #[error("the time of this link is over")]
    Over,
}

const PLATFORM: &str = "platform";
const ACCOUNT: &str = "account";

impl Visitor {
    /// The visitor in one line for each part; two visitors never have the same text.
    #[must_use]
    pub fn text(&self) -> String {
        let (word, account) = match &self.reach {
            Reach::Platform => (PLATFORM, ""),
            Reach::Account(account) => (ACCOUNT, account.as_str()),
        };
        format!("{word}\n{account}\n{}", self.address.as_ref().map_or("", Email::as_str))
    }

    fn of_text(text: &str) -> Option<Visitor> {
        let mut parts = text.splitn(3, '\n');
        let (word, account, address) = (parts.next()?, parts.next()?, parts.next()?);
        let reach = match (word, account) {
            (PLATFORM, "") => Reach::Platform,
            (ACCOUNT, account) => Reach::Account(AccountId::new(account).ok()?),
            _ => return None,
        };
        let address = if address.is_empty() { None } else { Some(Email::new(address).ok()?) };
        Some(Visitor { reach, address })
    }
}

impl Visit {
    /// The token of this visit for `purpose`: a link or a cookie.
    #[must_use]
    pub fn token(&self, purpose: Purpose, key: &SigningKey) -> String {
        key.token(purpose, format!("{}\n{}", self.until.micros(), self.visitor.text()).as_bytes())
    }

    /// The visit of which `token` was made for `purpose`, if its time is not over at `now`.
    ///
    /// # Errors
    /// [`BadVisit`].
    pub fn of_token(token: &str, purpose: Purpose, key: &SigningKey, now: Instant) -> Result<Visit, BadVisit> {
        if token.len() > VISIT_TOKEN_LEN_MAX {
            return Err(BadVisit::Unknown);
        }
        let signed = key.open(purpose, token).ok_or(BadVisit::Unknown)?;
        let read = || {
            let (until, visitor) = std::str::from_utf8(&signed).ok()?.split_once('\n')?;
            Some(Visit { visitor: Visitor::of_text(visitor)?, until: Instant::from_micros(until.parse().ok()?) })
        };
        match read() {
            Some(visit) if now < visit.until => Ok(visit),
            Some(_) => Err(BadVisit::Over),
            None => Err(BadVisit::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::signed::KEY_BYTES;
    use super::*;
    use proptest::prelude::*;

    const KEY: SigningKey = SigningKey::new([7; KEY_BYTES]);

    fn visitor() -> impl Strategy<Value = Visitor> {
        let address = prop::option::of("[a-z/#+=!A-Z]{1,60}@[a-z]{1,60}\\.example");
        let account = prop::option::of("[A-Za-z0-9._-]{1,64}");
        (account, address).prop_map(|(account, address)| Visitor {
            reach: account.map_or(Reach::Platform, |id| Reach::Account(AccountId::new(&id).expect("an id"))),
            address: address.map(|address| Email::new(&address).expect("an address")),
        })
    }

    proptest! {
        #[test]
        fn a_token_says_who_until_when_and_for_what(visitor in visitor(), until: i64, now: i64) {
            let visit = Visit { visitor, until: Instant::from_micros(until) };
            let now = Instant::from_micros(now);
            for (made, asked) in [(Purpose::Link, Purpose::Cookie), (Purpose::Cookie, Purpose::Link)] {
                let token = visit.token(made, &KEY);
                prop_assert!(token.len() <= VISIT_TOKEN_LEN_MAX);
                let expected = if now < visit.until { Ok(visit.clone()) } else { Err(BadVisit::Over) };
                prop_assert_eq!(Visit::of_token(&token, made, &KEY, now), expected);
                prop_assert_eq!(Visit::of_token(&token, asked, &KEY, now), Err(BadVisit::Unknown));
            }
        }

        #[test]
        fn two_visitors_never_have_one_text(one in visitor(), other in visitor()) {
            prop_assert_eq!(one.text() == other.text(), one == other);
            prop_assert_eq!(Visitor::of_text(&one.text()), Some(one));
        }

        #[test]
        fn what_nobody_made_is_no_visit(text: String) {
            prop_assert_eq!(Visit::of_token(&text, Purpose::Cookie, &KEY, Instant::MIN), Err(BadVisit::Unknown));
        }
    }
}
