//! Links by which whoever got a mail ends such mails, without logging in anywhere (RFC 8058).
//!
//! A token says whose mail, about which account and which of the mails, and is signed under a key of the ledger
//! (HMAC-SHA256): only who got a mail of creditd has one, and it ends nothing but that. It can be used again and again, as
//! the link in an old mail must, and tells nobody anything that its mail did not.

use super::ids::{AccountId, EMAIL_LEN_MAX, Email, NAME_LEN_MAX};
use super::transaction::words;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// Bytes of a key: as many as the hash has.
pub const KEY_BYTES: usize = 32;
/// Bytes of a signature.
const TAG_BYTES: usize = 32;
/// Longest word of a wish.
const WISH_LEN_MAX: usize = 14;
/// Longest token, in characters: six bits each, and what is signed has two line ends.
pub const TOKEN_LEN_MAX: usize = (TAG_BYTES + WISH_LEN_MAX + NAME_LEN_MAX + EMAIL_LEN_MAX + 2).div_ceil(3) * 4;
/// So that no signature under this key is one of anything else.
const PURPOSE: &[u8] = b"creditd unsubscribe 1\n";
/// The letters of base64url.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

words! {
    /// Which of the mails of an account an admin wishes or not.
    Wish {
        /// Low-credit alerts.
        Alerts = "alerts",
        /// That an alert is over.
        Resolved = "resolved",
        /// That unused free credits lapse soon.
        LapseSoon = "lapse-soon",
        /// The statement of each month.
        MonthlyReport = "monthly-report",
        /// The statement of each day.
        DailyReport = "daily-report",
    }
}

/// The key of a ledger, which signs its tokens. Nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct UnsubscribeKey([u8; KEY_BYTES]);

impl UnsubscribeKey {
    /// The key of these bytes, which must be random.
    #[must_use]
    pub const fn new(bytes: [u8; KEY_BYTES]) -> UnsubscribeKey {
        UnsubscribeKey(bytes)
    }

    fn signature_of(&self, signed: &[u8]) -> Hmac<Sha256> {
        // A key of any length is one.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!("a key of any length"));
        mac.update(PURPOSE);
        mac.update(signed);
        mac
    }
}

impl fmt::Debug for UnsubscribeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Which mails are to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// About which account.
    pub account: AccountId,
    /// Whose.
    pub address: Email,
    /// Which of them.
    pub wish: Wish,
}

/// No token of this ledger. It says no more, so that nobody learns how to make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no link of ours to end mails by: it may have been cut or changed on its way. Take the whole link from the mail, \
     or write to its sender"
)]
pub struct BadToken;

impl Unsubscribe {
    /// The token of this: at most [`TOKEN_LEN_MAX`] letters, digits, `-` and `_`.
    #[must_use]
    pub fn token(&self, key: &UnsubscribeKey) -> String {
        let signed = format!("{}\n{}\n{}", self.wish, self.account, self.address);
        let mut bytes = key.signature_of(signed.as_bytes()).finalize().into_bytes().to_vec();
        bytes.extend(signed.as_bytes());
        encode(&bytes)
    }

    /// What `token` ends. Nothing is looked at before its signature, which is compared in constant time.
    ///
    /// # Errors
    /// [`BadToken`] for whatever [`Unsubscribe::token`] did not make under this key.
    pub fn of_token(token: &str, key: &UnsubscribeKey) -> Result<Unsubscribe, BadToken> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(BadToken);
        }
        let bytes = decode(token).ok_or(BadToken)?;
        let (tag, signed) = bytes.split_at_checked(TAG_BYTES).ok_or(BadToken)?;
        key.signature_of(signed).verify_slice(tag).map_err(|_| BadToken)?;
        let read = || {
            let mut parts = std::str::from_utf8(signed).ok()?.splitn(3, '\n');
            let wish = Wish::from_word(parts.next()?)?;
            let account = AccountId::new(parts.next()?).ok()?;
            Some(Unsubscribe { account, address: Email::new(parts.next()?).ok()?, wish })
        };
        read().ok_or(BadToken)
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

    const KEY: UnsubscribeKey = UnsubscribeKey::new([7; KEY_BYTES]);

    fn unsubscribe(account: &str, address: &str, wish: Wish) -> Unsubscribe {
        let account = AccountId::new(account).expect("an id");
        Unsubscribe { account, address: Email::new(address).expect("an address"), wish }
    }

    fn any_unsubscribe() -> impl Strategy<Value = Unsubscribe> {
        let wish = proptest::sample::select(Wish::ALL);
        ("[A-Za-z0-9_-]{1,64}", "[a-z/#+=!A-Z]{1,60}@[a-z]{1,60}\\.example", wish)
            .prop_map(|(account, address, wish)| unsubscribe(&account, &address, wish))
    }

    /// Links in mails that were sent stay what they are.
    #[test]
    fn the_token_of_given_facts_stays_what_it_is() {
        let token = unsubscribe("acme", "ann@acme.example", Wish::Alerts).token(&KEY);
        insta::assert_snapshot!(token, @"byr3aXBpqCwBzWCaoNOhVKYv2qMNb-uUfUp6F_Z3A4NhbGVydHMKYWNtZQphbm5AYWNtZS5leGFtcGxl");
    }

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

    /// The longest there can be fits, and whatever is longer is not even looked at.
    #[test]
    fn a_token_is_bounded() {
        let address = format!("{}@{}.example", "a".repeat(64), "b.".repeat(89) + "bb");
        let longest = unsubscribe(&"a".repeat(NAME_LEN_MAX), &address, Wish::MonthlyReport).token(&KEY);
        assert!(longest.len() <= TOKEN_LEN_MAX && longest.len() > TOKEN_LEN_MAX - 20, "{}", longest.len());
        assert!(Wish::ALL.iter().all(|wish| wish.as_str().len() <= WISH_LEN_MAX));
        assert_eq!(Unsubscribe::of_token(&"A".repeat(TOKEN_LEN_MAX + 1), &KEY), Err(BadToken));
        assert_eq!(format!("{KEY:?}"), "***");
    }

    proptest! {
        #[test]
        fn a_token_says_what_it_was_made_of(asked in any_unsubscribe(), key: [u8; KEY_BYTES]) {
            let key = UnsubscribeKey::new(key);
            let token = asked.token(&key);
            prop_assert!(token.len() <= TOKEN_LEN_MAX);
            prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(Unsubscribe::of_token(&token, &key), Ok(asked));
        }

        /// Whatever is done to a token, it is a token no more; nor is it one of another ledger.
        #[test]
        fn no_other_token_passes(
            asked in any_unsubscribe(),
            at: prop::sample::Index,
            letter in proptest::sample::select(&LETTERS[..]),
            other: [u8; KEY_BYTES],
        ) {
            let token = asked.token(&KEY);
            let at = at.index(token.len());
            let mut changed = token.clone().into_bytes();
            changed[at] = letter;
            let changed = String::from_utf8(changed).expect("ASCII");
            prop_assert_eq!(Unsubscribe::of_token(&changed, &KEY).is_ok(), changed == token);
            prop_assert_eq!(Unsubscribe::of_token(&token[..at], &KEY), Err(BadToken));
            prop_assert_eq!(Unsubscribe::of_token(&format!("{token}{}", char::from(letter)), &KEY), Err(BadToken));
            let other = UnsubscribeKey::new(other);
            prop_assert_eq!(Unsubscribe::of_token(&token, &other).is_ok(), other == KEY);
        }

        #[test]
        fn what_nobody_made_is_no_token(text: String) {
            prop_assert_eq!(Unsubscribe::of_token(&text, &KEY), Err(BadToken));
        }
    }
}
