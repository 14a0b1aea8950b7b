//! What the ledger signs for itself and reads back later: links in mails, cookies, the tokens of forms.
//!
//! A token is a signature (HMAC-SHA256 under the ledger's key) and what is signed, in base64url. Each [`Purpose`] has a
//! signature of its own, so that a token made for one thing opens nothing else. Nothing that comes from outside is looked
//! at before its signature, which is compared in constant time. What is signed can be read by whoever has the token.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// Bytes of a key: as many as the hash has.
pub const KEY_BYTES: usize = 32;
/// Bytes of a signature.
const TAG_BYTES: usize = 32;
/// Letters that are read of a token for the first line of what it signs.
const FIRST_LETTERS: usize = 96;
/// The letters of base64url.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To end mails.
    Unsubscribe,
    /// To come in by a link.
    Link,
    /// To stay in, as a cookie.
    Cookie,
    /// To send a form that was made for the same visit.
    Form,
}

impl Purpose {
    /// What stands before whatever is signed; the number is that of the form behind it.
    const fn prefix(self) -> &'static [u8] {
        match self {
            Purpose::Unsubscribe => b"creditd unsubscribe 1\n",
            Purpose::Link => b"creditd link 1\n",
            Purpose::Cookie => b"creditd cookie 1\n",
            Purpose::Form => b"creditd form 1\n",
        }
    }
}

/// The key of a ledger. Nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey([u8; KEY_BYTES]);

impl SigningKey {
    /// The key of these bytes, which must be random.
    #[must_use]
    pub const fn new(bytes: [u8; KEY_BYTES]) -> SigningKey {
        SigningKey(bytes)
    }

    fn mac(&self, purpose: Purpose, signed: &[u8]) -> Hmac<Sha256> {
        // A key of any length is one.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!("a key of any length"));
        mac.update(purpose.prefix());
        mac.update(signed);
        mac
    }

    /// A token of `signed`: [`token_len`] letters, digits, `-` and `_`.
    #[must_use]
    pub fn token(&self, purpose: Purpose, signed: &[u8]) -> String {
        let mut bytes = self.mac(purpose, signed).finalize().into_bytes().to_vec();
        bytes.extend(signed);
        encode(&bytes)
    }

    /// What was signed, if [`SigningKey::token`] made `token` for the same purpose.
    #[must_use]
    pub fn open(&self, purpose: Purpose, token: &str) -> Option<Vec<u8>> {
        let mut bytes = decode(token)?;
        let signed = bytes.split_off_checked(TAG_BYTES)?;
        self.mac(purpose, &signed).verify_slice(&bytes).ok()?;
        Some(signed)
    }

    /// A signature of `signed` without it.
    #[must_use]
    pub fn tag(&self, purpose: Purpose, signed: &[u8]) -> String {
        encode(&self.mac(purpose, signed).finalize().into_bytes())
    }

    /// Whether `tag` is that of `signed`.
    #[must_use]
    pub fn is_tag(&self, purpose: Purpose, signed: &[u8], tag: &str) -> bool {
        let is_so_long = tag.len() <= token_len(0);
        is_so_long && decode(tag).is_some_and(|tag| self.mac(purpose, signed).verify_slice(&tag).is_ok())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The first lines of what tokens in `word` sign, wherever one begins and whoever signed it. Whether it opens anything, nobody asks.
pub fn first_lines(word: &str) -> impl Iterator<Item = String> {
    let begins = (0..word.len()).filter_map(|at| word.get(at..));
    begins.filter_map(|rest| {
        let letters = rest.len().min(FIRST_LETTERS) / 4 * 4;
        let bytes = decode(rest.get(..letters)?)?;
        let (line, _) = std::str::from_utf8(bytes.get(TAG_BYTES..)?.split_inclusive(|byte| *byte == b'\n').next()?)
            .ok()?
            .split_once('\n')?;
        Some(line.to_owned())
    })
}

/// Characters of a token of so many bytes, rounded up to the next four: six bits each.
#[must_use]
pub const fn token_len(signed_bytes: usize) -> usize {
    (TAG_BYTES + signed_bytes).div_ceil(3) * 4
}

/// [`Vec::split_off`] for lengths that may be too large.
trait SplitOff: Sized {
    fn split_off_checked(&mut self, at: usize) -> Option<Self>;
}

impl SplitOff for Vec<u8> {
    fn split_off_checked(&mut self, at: usize) -> Option<Vec<u8>> {
        (at <= self.len()).then(|| self.split_off(at))
    }
}

/// Base64url without padding.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let [_, high, middle, low] = u32::from_be_bytes([0, three[0], three[1], three[2]]).to_be_bytes();
        let six = [high >> 2, (high & 3) << 4 | middle >> 4, (middle & 15) << 2 | low >> 6, low & 63];
        text.extend(six.iter().take(chunk.len() + 1).map(|bits| char::from(LETTERS[usize::from(*bits)])));
    }
    text
}

/// What [`encode`] made; `None` for any other text, so that no two texts are the same bytes.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for letter in chunk {
            let six = LETTERS.iter().position(|known| known == letter)?;
            bits = bits << 6 | u32::try_from(six).ok()?;
        }
        let [_, high, middle, low] = (bits << (6 * (4 - chunk.len()))).to_be_bytes();
        bytes.extend(&[high, middle, low][..(chunk.len() * 6 / 8)]);
    }
    (encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Purpose; 4] = [Purpose::Unsubscribe, Purpose::Link, Purpose::Cookie, Purpose::Form];

    #[test]
    fn base64url_is_that_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
        for bad in ["Z", "Zh", "Zm9", "Zg==", "Zm9v+", "Zm 9v", "Zm9v\n", "ä"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_key_is_shown_to_nobody() {
        assert_eq!(format!("{:?}", SigningKey::new([7; KEY_BYTES])), "***");
    }

    proptest! {
        /// What was signed for one purpose under one key comes back for these two alone.
        #[test]
        fn a_token_opens_what_it_was_made_for(signed: Vec<u8>, key: [u8; KEY_BYTES], other: [u8; KEY_BYTES]) {
            let (key, other) = (SigningKey::new(key), SigningKey::new(other));
            for purpose in ALL {
                let (token, tag) = (key.token(purpose, &signed), key.tag(purpose, &signed));
                prop_assert!(token.len() <= token_len(signed.len()));
                for asked in ALL {
                    prop_assert_eq!(key.open(asked, &token), (asked == purpose).then(|| signed.clone()));
                    prop_assert_eq!(key.is_tag(asked, &signed, &tag), asked == purpose);
                }
                prop_assert_eq!(other.open(purpose, &token).is_some(), other == key);
                prop_assert_eq!(other.is_tag(purpose, &signed, &tag), other == key);
            }
        }

        #[test]
        fn whatever_is_done_to_a_token_it_is_one_no_more(
            signed: Vec<u8>,
            at: prop::sample::Index,
            letter in proptest::sample::select(&LETTERS[..]),
        ) {
            let key = SigningKey::new([7; KEY_BYTES]);
            let token = key.token(Purpose::Link, &signed);
            let at = at.index(token.len());
            let mut changed = token.clone().into_bytes();
            changed[at] = letter;
            let changed = String::from_utf8(changed).expect("ASCII");
            prop_assert_eq!(key.open(Purpose::Link, &changed).is_some(), changed == token);
            prop_assert_eq!(key.open(Purpose::Link, &token[..at]), None);
        }

        #[test]
        fn what_nobody_made_opens_nothing(text: String) {
            let key = SigningKey::new([7; KEY_BYTES]);
            prop_assert_eq!(key.open(Purpose::Cookie, &text), None);
            prop_assert!(!key.is_tag(Purpose::Form, b"", &text));
        }
    }
}
