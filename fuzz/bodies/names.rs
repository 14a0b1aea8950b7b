//! Any text as every kind of name: it is refused with a reason, or kept as it is and understood again.

use creditd::core::ids::{
    AccountId, ActionCode, BadName, Email, Key, LevelName, Reference, TEXT_CHARS_MAX, UserId, clean_text,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{Debug, Display};
use std::str::FromStr;

pub fn run(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    for name in [kept::<AccountId>(text), kept::<ActionCode>(text), kept::<LevelName>(text)].into_iter().flatten() {
        assert!(name == text && name.chars().all(is_plain), "{name:?}: not fit for a file name");
    }
    for name in [kept::<UserId>(text), kept::<Key>(text), kept::<Reference>(text)].into_iter().flatten() {
        assert!(name == text && name.chars().all(|c| c.is_ascii_graphic()), "{name:?}: not fit for a header");
    }
    if let Ok(reference) = Reference::new(text) {
        let key = Key::of_purchase(&reference);
        assert_eq!(Key::new(key.as_str()), Ok(key), "the key of a payment is a key");
    }
    if let Some(address) = kept::<Email>(text) {
        assert!(address.eq_ignore_ascii_case(text) && address.matches('@').count() == 1, "{address:?}");
        let domain = Email::new(text).expect("an address").domain().to_owned();
        assert!(!domain.is_empty() && address.ends_with(&format!("@{domain}")), "{address:?}");
    }
    match clean_text("the text", text) {
        Ok(clean) => {
            assert_eq!(clean, text);
            assert!(clean.chars().count() <= TEXT_CHARS_MAX && !clean.contains(char::is_control), "{clean:?}");
        }
        Err(bad) => assert!(bad.to_string().starts_with("the text "), "{bad}"),
    }
}

/// The text that is kept of a name, which is the same name again, also through JSON.
fn kept<T>(text: &str) -> Option<String>
where
    T: FromStr<Err = BadName> + Serialize + DeserializeOwned + Display + Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(name) => {
            let shown = name.to_string();
            let again: T = shown.parse().expect("what is shown is a name");
            let json = serde_json::to_string(&name).expect("JSON");
            let read: T = serde_json::from_str(&json).expect("what is stored is a name");
            assert!(again == name && read == name, "{name:?}");
            Some(shown)
        }
        Err(bad) => {
            assert!(!bad.to_string().is_empty());
            None
        }
    }
}
