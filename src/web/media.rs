//! What kind a body says it is, in `Content-Type`, and whether it says that its letters are written otherwise than they are read.

use crate::core::ids::cut_text;
use axum::http::{HeaderMap, header};

/// Longest part of a header that is said to be wrong, in bytes.
const SHOWN_MAX: usize = 64;

/// Why the kind of a body is not taken, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadMedia {
    /// Of two, nobody knows which is meant.
    #[error("the header Content-Type is there twice; a body is of one type")]
    Twice,
    /// It is not written as RFC 9110 has it.
    #[error("the Content-Type {0:?} cannot be read")]
    Unreadable(String),
    /// It is not read so.
    #[error("the body has the charset {0:?}; send it in UTF-8")]
    Charset(String),
}

/// The media type of a body, without its parameters, in lower case; none where nothing is said.
///
/// # Errors
/// [`BadMedia`]: it is there twice, cannot be read, or has another charset than UTF-8.
pub(super) fn media_type(headers: &HeaderMap) -> Result<Option<String>, BadMedia> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(BadMedia::Twice);
    }
    let unreadable = || BadMedia::Unreadable(cut_text(&String::from_utf8_lossy(value.as_bytes()), SHOWN_MAX));
    let text = value.to_str().map_err(|_| unreadable())?;
    let (_, parameters) = text.split_once(';').unwrap_or((text, ""));
    let parameters = parameters_of(parameters).ok_or_else(unreadable)?;
    // ASCII is UTF-8.
    let is_read = |charset: &str| ["utf-8", "us-ascii"].iter().any(|read| read.eq_ignore_ascii_case(charset));
    let mut charsets = parameters.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
    match charsets.find(|(_, charset)| !is_read(charset)) {
        Some((_, other)) => Err(BadMedia::Charset(cut_text(&other, SHOWN_MAX))),
        None => Ok(Some(essence(text))),
    }
}

/// A media type without its parameters, in lower case.
pub(super) fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Names and values of what stands behind the type, values without quotes (RFC 9110, 5.6.6); nothing where it is not written so.
/// The crate that axum reads types by takes neither white space before a `;` nor what is quoted within quotes.
fn parameters_of(mut left: &str) -> Option<Vec<(&str, String)>> {
    let is_space = |c: char| matches!(c, ' ' | '\t');
    let mut all = Vec::new();
    loop {
        left = left.trim_start_matches(|c| is_space(c) || c == ';');
        if left.is_empty() {
            return Some(all);
        }
        let (name, value) = left.split_once('=').filter(|(name, _)| is_token(name))?;
        let value = if let Some(quoted) = value.strip_prefix('"') {
            let (mut text, mut chars) = (String::new(), quoted.chars());
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => text.push(chars.next()?),
                    other => text.push(other),
                }
            }
            left = chars.as_str();
            text
        } else {
            let end = value.find(|c| is_space(c) || c == ';').unwrap_or(value.len());
            left = &value[end..];
            Some(&value[..end]).filter(|text| is_token(text))?.to_owned()
        };
        all.push((name, value));
        left = left.trim_start_matches(is_space);
        if !(left.is_empty() || left.starts_with(';')) {
            return None;
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn of(values: &[&str]) -> Result<Option<String>, BadMedia> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_TYPE, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        media_type(&headers)
    }

    #[test]
    fn a_charset_is_found_wherever_it_stands_and_nowhere_else() {
        for right in [
            "application/json",
            "Application/JSON ;charset=UTF-8",
            "application/json\t; charset=\"utf-8\" ;; x=1;",
            "application/json; charset=\"utf\\-8\"",
            "application/json; Charset=us-ascii",
            "application/json; x=\"a;charset=latin1\"",
            "application/json; x=\"a\\\";charset=latin1\"",
            "application/json; x=\"\"; charset=utf-8",
        ] {
            assert_eq!(of(&[right]), Ok(Some("application/json".to_owned())), "{right}");
        }
        for (wrong, charset) in [
            ("application/json; charset=latin1", "latin1"),
            ("application/json; x=\"a\"; CHARSET=\"Latin1\"", "Latin1"),
            ("application/json; charset=utf-8; charset=utf-16", "utf-16"),
            ("application/json; x=\"\\\"\"; charset=latin1", "latin1"),
            ("application/json; charset=\"\"", ""),
        ] {
            assert_eq!(of(&[wrong]), Err(BadMedia::Charset(charset.to_owned())), "{wrong}");
        }
        for unread in [
            "application/json; charset",
            "application/json; charset=",
            "application/json; charset =utf-8",
            "application/json; charset= utf-8",
            "application/json; charset=\"utf-8",
            "application/json; charset=\"utf-8\\",
            "application/json; charset=\"utf-8\"x",
            "application/json; charset=utf-8 x",
            "application/json; charset=a=b",
            "application/json; x=é",
        ] {
            assert_eq!(of(&[unread]), Err(BadMedia::Unreadable(unread.to_owned())), "{unread}");
        }
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["application/json", "application/json"]), Err(BadMedia::Twice));
        assert_eq!(essence(" Text/Plain; a=b"), "text/plain");
    }

    proptest! {
        /// Whatever a value holds, within quotes it is read as it is.
        #[test]
        fn what_is_quoted_is_read_as_it_was(value in "[ -~]{0,20}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!(" x=\"{quoted}\" ; y=1");
            prop_assert_eq!(parameters_of(&text), Some(vec![("x", value), ("y", "1".to_owned())]));
        }
    }
}
