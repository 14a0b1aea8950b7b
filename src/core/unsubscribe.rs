//! Links by which whoever got a mail ends such mails, without logging in anywhere (RFC 8058).
//!
//! A token says whose mail, about which account and which of the mails, and is signed under a key of the ledger
//! (HMAC-SHA256): only who got a mail of creditd has one, and it ends nothing but that. It can be used again and again, as
//! the link in an old mail must, and tells nobody anything that its mail did not.

use super::ids::{AccountId, EMAIL_LEN_MAX, Email, NAME_LEN_MAX};
use super::signed::{Purpose, SigningKey, token_len};
use super::transaction::words;

/// Longest word of a wish.
const WISH_LEN_MAX: usize = 14;
/// Longest token, in characters: what is signed has two line ends.
pub const TOKEN_LEN_MAX: usize = token_len(WISH_LEN_MAX + NAME_LEN_MAX + EMAIL_LEN_MAX + 2);

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
    pub fn token(&self, key: &SigningKey) -> String {
        let signed = format!("{}\n{}\n{}", self.wish, self.account, self.address);
        key.token(Purpose::Unsubscribe, signed.as_bytes())
    }

    /// What `token` ends. Nothing is looked at before its signature, which is compared in constant time.
    ///
    /// # Errors
    /// [`BadToken`] for whatever [`Unsubscribe::token`] did not make under this key.
    pub fn of_token(token: &str, key: &SigningKey) -> Result<Unsubscribe, BadToken> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(BadToken);
        }
        let signed = key.open(Purpose::Unsubscribe, token).ok_or(BadToken)?;
        let read = || {
            let mut parts = std::str::from_utf8(&signed).ok()?.splitn(3, '\n');
            let wish = Wish::from_word(parts.next()?)?;
            let account = AccountId::new(parts.next()?).ok()?;
            Some(Unsubscribe { account, address: Email::new(parts.next()?).ok()?, wish })
        };
        read().ok_or(BadToken)
    }
}

#[cfg(test)]
mod tests {
    use super::super::signed::KEY_BYTES;
    use super::*;
    use proptest::prelude::*;

    const KEY: SigningKey = SigningKey::new([7; KEY_BYTES]);

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

    /// The longest there can be fits, and whatever is longer is not even looked at.
    #[test]
    fn a_token_is_bounded() {
        let address = format!("{}@{}.example", "a".repeat(64), "b.".repeat(89) + "bb");
        let longest = unsubscribe(&"a".repeat(NAME_LEN_MAX), &address, Wish::MonthlyReport).token(&KEY);
        assert!(longest.len() <= TOKEN_LEN_MAX && longest.len() > TOKEN_LEN_MAX - 20, "{}", longest.len());
        assert!(Wish::ALL.iter().all(|wish| wish.as_str().len() <= WISH_LEN_MAX));
        assert_eq!(Unsubscribe::of_token(&"A".repeat(TOKEN_LEN_MAX + 1), &KEY), Err(BadToken));
    }

    proptest! {
        #[test]
        fn a_token_says_what_it_was_made_of(asked in any_unsubscribe(), key: [u8; KEY_BYTES]) {
            let key = SigningKey::new(key);
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
            letter in proptest::char::ranges(vec!['a'..='z', 'A'..='Z', '0'..='9', '-'..='-', '_'..='_'].into()),
            other: [u8; KEY_BYTES],
        ) {
            let token = asked.token(&KEY);
            let at = at.index(token.len());
            let mut changed = token.clone().into_bytes();
            changed[at] = u8::try_from(letter).expect("ASCII");
            let changed = String::from_utf8(changed).expect("ASCII");
            prop_assert_eq!(Unsubscribe::of_token(&changed, &KEY).is_ok(), changed == token);
            prop_assert_eq!(Unsubscribe::of_token(&token[..at], &KEY), Err(BadToken));
            prop_assert_eq!(Unsubscribe::of_token(&format!("{token}{letter}"), &KEY), Err(BadToken));
            let other = SigningKey::new(other);
            prop_assert_eq!(Unsubscribe::of_token(&token, &other).is_ok(), other == KEY);
        }

        #[test]
        fn what_nobody_made_is_no_token(text: String) {
            prop_assert_eq!(Unsubscribe::of_token(&text, &KEY), Err(BadToken));
        }
    }
}
