//! Bearer tokens: what a program shows to prove that it may do something.
//!
//! A token is shown once, when it is made. What is kept of it is its SHA-256: 32 random bytes need no slow hash. Its id is the
//! beginning of that hash, which names it in lists and logs and opens nothing.

use super::access::{Reach, Scope};
use super::calendar::Instant;
use super::secret::Secret;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt;

/// What every token begins with, so that whoever finds one knows what it opens, and scanners of sources find it.
pub const TOKEN_PREFIX: &str = "crd_";
/// Random bytes of a token.
pub const TOKEN_BYTES: usize = 32;
/// Letters of the random part.
const RANDOM_LEN: usize = 43;
/// Bytes of the checksum behind it, which tells a cut or mistyped token from one without asking the ledger.
const SUM_BYTES: usize = 3;
/// Letters of the checksum.
const SUM_LEN: usize = 4;
/// Letters of a token.
pub const TOKEN_LEN: usize = TOKEN_PREFIX.len() + RANDOM_LEN + SUM_LEN;
/// Letters of the hash that are the id.
const ID_LEN: usize = 12;

/// What is kept of a token: its SHA-256, in hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(String);

/// What a token is called: letters of a hash, which open nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(String);

/// Not the id of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{ID_LEN} letters of a-f and 0-9 are expected, as `creditd token list` shows them; a token itself is nobody's id"
)]
pub struct BadTokenId;

/// Makes a token of random `bytes`.
#[must_use]
pub fn token_of(bytes: [u8; TOKEN_BYTES]) -> Secret {
    let random = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let sum = sum_of(&random);
    Secret::new(format!("{TOKEN_PREFIX}{random}{sum}"))
}

fn sum_of(random: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(random.as_bytes())[..SUM_BYTES])
}

impl TokenHash {
    /// The hash of what may be a token; `None` for what is none, whatever the ledger holds.
    #[must_use]
    pub fn of_token(text: &str) -> Option<TokenHash> {
        let (random, sum) = text.strip_prefix(TOKEN_PREFIX)?.split_at_checked(RANDOM_LEN)?;
        (text.len() == TOKEN_LEN && sum_of(random) == sum).then(|| TokenHash::of(text))
    }

    fn of(text: &str) -> TokenHash {
        TokenHash(Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What the token is called.
    #[must_use]
    pub fn id(&self) -> TokenId {
        TokenId(self.0.chars().take(ID_LEN).collect())
    }

    /// The hash in hexadecimal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A hash as it was kept.
    #[must_use]
    pub fn kept(text: &str) -> TokenHash {
        TokenHash(text.to_owned())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.id().0)
    }
}

impl TokenId {
    /// The letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::str::FromStr for TokenId {
    type Err = BadTokenId;
    fn from_str(text: &str) -> Result<TokenId, BadTokenId> {
        let is_id = text.len() == ID_LEN && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if is_id { Ok(TokenId(text.to_owned())) } else { Err(BadTokenId) }
    }
}

/// What a token opens, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What is kept of it.
    pub hash: TokenHash,
    /// What it is called by people; may be empty.
    pub name: String,
    /// What it is for.
    pub scope: Scope,
    /// Of which accounts.
    pub reach: Reach,
    /// When it was made.
    pub created_at: Instant,
    /// The first instant at which it opens nothing any more; `None` for never.
    pub expires_at: Option<Instant>,
    /// When it was revoked; `None` while it was not.
    pub revoked_at: Option<Instant>,
}

impl Token {
    /// Whether it opens anything at `now`.
    #[must_use]
    pub fn is_good_at(&self, now: Instant) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(micros: i64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn a_token_is_known_by_its_form_and_is_not_its_id() {
        let token = token_of([7; TOKEN_BYTES]);
        let text = token.expose();
        assert_eq!((text.len(), &text[..4]), (TOKEN_LEN, "crd_"));
        let hash = TokenHash::of_token(text).expect("a token");
        assert_eq!(hash.as_str().len(), 64);
        assert!(hash.as_str().starts_with(hash.id().as_str()) && !text.contains(hash.id().as_str()));
        assert_eq!(hash.id().as_str().parse(), Ok(hash.id()));
        assert_eq!(format!("{hash:?}"), format!("{}..", hash.id()));
        for bad in ["", "abcdefabcde", "ABCDEFABCDEF", "abcdefabcdeg", text] {
            assert_eq!(bad.parse::<TokenId>(), Err(BadTokenId), "{bad}");
        }
    }

    #[test]
    fn a_token_opens_until_it_expires_or_is_revoked() {
        let token = Token {
            hash: TokenHash::of(""),
            name: String::new(),
            scope: Scope::Read,
            reach: Reach::Platform,
            created_at: at(0),
            expires_at: Some(at(10)),
            revoked_at: None,
        };
        assert!(token.is_good_at(at(9)) && !token.is_good_at(at(10)));
        assert!(Token { expires_at: None, ..token.clone() }.is_good_at(at(i64::MAX)));
        assert!(!Token { revoked_at: Some(at(3)), ..token }.is_good_at(at(1)));
    }

    proptest! {
        /// Whoever cuts or changes a token is told so without a look into the ledger, but for one change in millions.
        #[test]
        fn a_changed_token_is_none(bytes: [u8; TOKEN_BYTES], place in 0..TOKEN_LEN, letter in "[A-Za-z0-9_-]") {
            let token = token_of(bytes);
            let text = token.expose();
            prop_assert!(TokenHash::of_token(text).is_some());
            let changed = format!("{}{letter}{}", &text[..place], &text[place + 1..]);
            prop_assert_eq!(TokenHash::of_token(&changed).is_some(), changed == text);
            prop_assert!(TokenHash::of_token(&text[..place]).is_none());
        }

        #[test]
        fn any_text_is_a_token_or_none(text in ".{0,80}") {
            prop_assert!(TokenHash::of_token(&text).is_none());
            let prefixed = ["crd_", &text].concat();
            prop_assert!(TokenHash::of_token(&prefixed).is_none());
        }
    }
}
