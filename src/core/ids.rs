//! Names given from outside: validated once, at the edge, then carried by type.
//!
//! Every name has a length bound and an alphabet that is safe in a file name, a header, a key and a URL;
//! free text (account names, comments) is separate, see [`clean_text`].

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Longest account id or action code, in bytes.
pub const NAME_LEN_MAX: usize = 64;
/// Longest user id or idempotency key, in bytes.
pub const OPAQUE_LEN_MAX: usize = 200;
/// What makes a payment's reference the idempotency key of its purchase (R9, R12).
pub const PURCHASE_KEY_PREFIX: &str = "purchase:";
/// What the keys begin with under which the job `close` closes months (R14).
pub const CLOSE_KEY_PREFIX: &str = "close:";
/// Longest payment reference, in bytes: with the prefix it is still a key.
pub const REFERENCE_LEN_MAX: usize = OPAQUE_LEN_MAX - PURCHASE_KEY_PREFIX.len();
/// Longest free text (account name, comment), in characters.
pub const TEXT_CHARS_MAX: usize = 500;
/// Longest part of an e-mail address before its `@`, in bytes (RFC 5321, 4.5.3.1.1).
const EMAIL_LOCAL_LEN_MAX: usize = 64;
/// Longest part between two dots of a domain, in bytes (RFC 1035, 2.3.4).
const DOMAIN_LABEL_LEN_MAX: usize = 63;
/// Longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3: a path of 256 with its brackets).
pub const EMAIL_LEN_MAX: usize = 254;

/// Why a name or text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// What kind of name.
        what: &'static str,
    },
    /// More than the bound.
    #[error("{what} is longer than {max} characters")]
    TooLong {
        /// What kind of name.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// A character outside the alphabet.
    #[error("{what} has the character {found:?}; allowed are {allowed}")]
    Character {
        /// What kind of name.
        what: &'static str,
        /// The first offending character.
        found: char,
        /// The alphabet in words.
        allowed: &'static str,
    },
    /// Not an e-mail address.
    #[error("{0:?} is not an e-mail address (name@domain)")]
    Email(String),
    /// An e-mail address whose domain is not spelt as mail servers know it.
    #[error(
        "the domain of {0:?} has letters other than a to z; write it as mail servers know it, in ASCII: it begins with xn--"
    )]
    Domain(String),
}

fn check(
    what: &'static str,
    text: &str,
    max: usize,
    allowed: &'static str,
    ok: fn(char) -> bool,
) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName::Empty { what });
    }
    if text.len() > max {
        return Err(BadName::TooLong { what, max });
    }
    match text.chars().find(|c| !ok(*c)) {
        Some(found) => Err(BadName::Character { what, found, allowed }),
        None => Ok(()),
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn is_level_char(c: char) -> bool {
    c.is_ascii_lowercase() || c == '-'
}

fn is_opaque_char(c: char) -> bool {
    c.is_ascii_graphic()
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $allowed:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Validates `text`.
            ///
            /// # Errors
            /// [`BadName`] when it is empty, too long or has a character outside the alphabet.
            pub fn new(text: &str) -> Result<$name, BadName> {
                check($what, text, $max, $allowed, $ok)?;
                Ok($name(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<$name, BadName> {
                $name::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                (*name.0).to_owned()
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<$name, BadName> {
                $name::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// The id of an account, given by the platform.
    AccountId, "the account id", NAME_LEN_MAX, "letters, digits, '-', '_' and '.'", is_name_char
);
name_type!(
    /// The code of an action in the action credit matrix.
    ActionCode, "the action code", NAME_LEN_MAX, "letters, digits, '-', '_' and '.'", is_name_char
);
name_type!(
    /// The name of an alert level, such as `low`.
    LevelName, "the name of the alert level", NAME_LEN_MAX, "a-z and '-'", is_level_char
);
name_type!(
    /// The opaque id of the user who performed an action, given by the platform.
    UserId, "the user id", OPAQUE_LEN_MAX, "printable ASCII without spaces", is_opaque_char
);
name_type!(
    /// An idempotency key: unique per account for ever (R9).
    Key, "the key", OPAQUE_LEN_MAX, "printable ASCII without spaces", is_opaque_char
);
name_type!(
    /// The reference of an external payment (R12).
    Reference, "the reference", REFERENCE_LEN_MAX, "printable ASCII without spaces", is_opaque_char
);

impl Key {
    /// The key of the purchase that `reference` paid: one payment, one purchase (R9, R12). A reference is short enough to
    /// leave room for the prefix.
    #[must_use]
    pub fn of_purchase(reference: &Reference) -> Key {
        Key(format!("{PURCHASE_KEY_PREFIX}{reference}").into())
    }

    /// The key as callers give it: that of a purchase is the reference of its payment.
    #[must_use]
    pub fn as_given(&self) -> &str {
        self.0.strip_prefix(PURCHASE_KEY_PREFIX).unwrap_or(&self.0)
    }
}

/// The e-mail address of an admin: one `@`, a domain with a dot or `localhost`, no space, control or list character.
///
/// It is kept as it was written. Two that differ in nothing but small and capital letters are the same: no server gives them to two people.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(Box<str>);

impl Email {
    /// Validates `text`. The domain is kept in lower case, so that one mailbox has one spelling.
    ///
    /// # Errors
    /// [`BadName`] when it cannot be an address.
    pub fn new(text: &str) -> Result<Email, BadName> {
        let bad = || BadName::Email(text.chars().take(EMAIL_LEN_MAX).collect());
        if text.len() > EMAIL_LEN_MAX {
            return Err(BadName::TooLong { what: "the e-mail address", max: EMAIL_LEN_MAX });
        }
        let (local, domain) = text.rsplit_once('@').ok_or_else(bad)?;
        if !domain.is_ascii() && domain.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.')) {
            return Err(BadName::Domain(text.to_owned()));
        }
        let local_ok = !local.is_empty()
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..")
            && local.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c));
        let label_ok = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        if !local_ok || !domain.split('.').all(label_ok) {
            return Err(bad());
        }
        Ok(Email(format!("{local}@{}", domain.to_ascii_lowercase()).into()))
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, where mail programs take it: what is longer in one of its parts is refused only when it is to be sent to.
    ///
    /// # Errors
    /// [`BadName::TooLong`].
    pub fn deliverable(self) -> Result<Email, BadName> {
        let local = self.0.rsplit_once('@').map_or("", |(local, _)| local);
        if local.len() > EMAIL_LOCAL_LEN_MAX {
            return Err(BadName::TooLong { what: "the e-mail address before its @", max: EMAIL_LOCAL_LEN_MAX });
        }
        if self.domain().split('.').any(|label| label.len() > DOMAIN_LABEL_LEN_MAX) {
            return Err(BadName::TooLong { what: "a part of the e-mail address's domain", max: DOMAIN_LABEL_LEN_MAX });
        }
        Ok(self)
    }

    fn folded(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }

    /// What stands after the `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl PartialEq for Email {
    fn eq(&self, other: &Email) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Email {}

impl PartialOrd for Email {
    fn partial_cmp(&self, other: &Email) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Email {
    fn cmp(&self, other: &Email) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl Hash for Email {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|byte| byte.hash(state));
    }
}

impl TryFrom<String> for Email {
    type Error = BadName;
    fn try_from(text: String) -> Result<Email, BadName> {
        Email::new(&text)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> String {
        email.0.into()
    }
}

impl std::str::FromStr for Email {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Email, BadName> {
        Email::new(text)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Free text (an account's name, a comment): at most [`TEXT_CHARS_MAX`] characters, no control characters.
///
/// # Errors
/// [`BadName`] naming `what` and the first offence. Empty text is fine.
pub fn clean_text(what: &'static str, text: &str) -> Result<String, BadName> {
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(BadName::TooLong { what, max: TEXT_CHARS_MAX });
    }
    match text.chars().find(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        Some(found) => Err(BadName::Character { what, found, allowed: "all but control characters" }),
        None => Ok(text.to_owned()),
    }
}

/// Text that a terminal takes for nothing but text: no control character moves its cursor, and none turns the direction of what
/// stands beside it. What is taken out leaves its mark, but for what only says which way a neighbour reads.
#[must_use]
pub fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\u{061C}' | '\u{200E}' | '\u{200F}' => None,
        '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => Some(char::REPLACEMENT_CHARACTER),
        c if c.is_control() => Some(char::REPLACEMENT_CHARACTER),
        c => Some(c),
    };
    text.chars().filter_map(shown).collect()
}

/// Text of at most `chars_max` characters; what is cut ends in `…`.
#[must_use]
pub fn cut_text(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_could_leave_their_place() {
        for good in ["9e-atl", "A.b_c", "x"] {
            assert!(AccountId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "../x", "é", "a\n", "a/b", &"x".repeat(65)] {
            assert!(AccountId::new(bad).is_err(), "{bad:?}");
        }
        assert!(Key::new("a/b:c").is_ok());
        assert!(Key::new("a\u{7f}").is_err());
    }

    #[test]
    fn an_address_is_one_mailbox() {
        assert_eq!(Email::new("Ann@Example.COM").expect("valid").as_str(), "Ann@example.com");
        assert_eq!(Email::new("Ann@Example.COM").expect("valid").domain(), "example.com");
        for bad in [
            "",
            "a",
            "@x.y",
            "a@",
            "a@b@c.d",
            "a b@c.d",
            "a@c..d",
            "a@c.d\r\nBcc: x@y.z",
            "<a@c.d>",
            ".a@c.d",
            "a,b@c.d",
        ] {
            assert!(Email::new(bad).is_err(), "{bad:?}");
        }
        let said = Email::new("jorg@exämple.de").expect_err("not ASCII").to_string();
        assert!(said.contains("exämple.de") && said.ends_with("it begins with xn--"), "{said}");
        assert!(Email::new("jorg@xn--exmple-cua.de").is_ok());
        let [ann, same] = ["ANN@example.com", "ann@example.com"].map(|text| Email::new(text).expect("valid"));
        assert_eq!((ann.as_str(), &ann, ann.cmp(&same)), ("ANN@example.com", &same, Ordering::Equal));
    }

    #[test]
    fn text_for_a_terminal_turns_nothing() {
        assert_eq!(printable("a\u{202E}b\u{1b}[2Jc\u{2066}ש\u{200F}לום"), "a\u{fffd}b\u{fffd}[2Jc\u{fffd}שלום");
    }

    #[test]
    fn text_refuses_control_characters() {
        assert_eq!(clean_text("the comment", "für Ann").as_deref(), Ok("für Ann"));
        assert!(clean_text("the comment", "a\r\nb").is_err());
    }
}
