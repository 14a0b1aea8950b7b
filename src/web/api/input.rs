//! What programs send: bodies, queries and keys, read once, at the edge. Everything that cannot be understood is refused with
//! the name of what it is about, and with what was probably meant.

use crate::core::counting::grouped;
use crate::core::ids::{Key, clean_text};
use crate::core::near::nearest;
use crate::web::media::{BadMedia, media_type};
use crate::web::problem::{Fault, Problem};
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Query, Request};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_path_to_error::Segment;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::marker::PhantomData;
use std::str::FromStr;

/// What bodies are of.
pub(super) const JSON: &str = "application/json";
/// The header of the key of a call (R9).
const KEY_HEADER: &str = "idempotency-key";
/// Most parameters of a query.
const PARAMS_MAX: usize = 50;

/// The key that a call comes under: printable ASCII without spaces, in quotes or without.
pub(super) fn key<T: FromStr<Err: Display>>(headers: &HeaderMap) -> Result<T, Problem> {
    let mut values = headers.get_all(KEY_HEADER).iter();
    let (value, more) = (values.next(), values.next());
    let value = value.ok_or_else(|| {
        Problem::new(
            Fault::MissingKey,
            "a call that changes something needs the header Idempotency-Key: a text of yours that is new for each new call, and \
             the same when a call is repeated",
        )
    })?;
    let bad = |what: &dyn Display| Problem::invalid(format!("Idempotency-Key: {what}"));
    if more.is_some() {
        return Err(bad(&"the header is there twice; a call has one key"));
    }
    let text = value.to_str().map_err(|_| bad(&"the key has characters that are not printable ASCII"))?.trim();
    // The draft of the header has a text in quotes; most programs leave them out.
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    text.parse().map_err(|error| bad(&error))
}

impl From<BadMedia> for Problem {
    fn from(error: BadMedia) -> Problem {
        let right = match error {
            BadMedia::Unreadable(_) => format!("; a right one is \"{JSON}; charset=utf-8\""),
            BadMedia::Twice | BadMedia::Charset(_) => String::new(),
        };
        Problem::new(Fault::UnsupportedMediaType, format!("{error}{right}"))
    }
}

/// What stands in bodies as an object.
pub(super) trait Asked: DeserializeOwned {
    /// A right one, for whoever sent something else.
    const EXAMPLE: &str;
}

/// A body that must be one JSON object and say so.
pub(super) async fn body<T: Asked>(request: Request, bytes_max: usize) -> Result<T, Problem> {
    let found = media_type(request.headers())?;
    if found.as_deref() != Some(JSON) {
        return Err(unsupported(found.as_deref(), &[JSON]));
    }
    object(&bytes(request.into_body(), bytes_max).await?)
}

/// A body that is an object.
pub(super) fn object<T: Asked>(bytes: &[u8]) -> Result<T, Problem> {
    json::<Object<T>>(bytes).map(|Object(value)| value)
}

/// One of many in a body. Lines and columns would be its own, so there are none.
pub(super) fn item<T: Asked>(what: &str, bytes: &[u8]) -> Result<T, Problem> {
    let read = read::<Object<T>>(&mut serde_json::Deserializer::from_slice(bytes), what, |said| {
        said.rsplit_once(" at line ").map_or(said, |(said, _)| said)
    });
    read.map(|Object(value)| value)
}

/// A value whose fields have names: of a list, which serde would read as if it had them in order, it is nothing.
#[derive(Debug)]
pub(super) struct Object<T>(pub T);

impl<'de, T: Asked> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        deserializer.deserialize_map(ByName(PhantomData)).map(Object)
    }
}

struct ByName<T>(PhantomData<T>);

impl<'de, T: Asked> Visitor<'de> for ByName<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an object, such as {}", T::EXAMPLE)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

/// The body is of none of the types that are taken.
pub(super) fn unsupported(found: Option<&str>, taken: &[&str]) -> Problem {
    let is = found.map_or("has no Content-Type".to_owned(), |found| format!("is {found:?}"));
    Problem::new(Fault::UnsupportedMediaType, format!("the body {is}; send {}", taken.join(" or ")))
}

/// A body of at most so many bytes.
pub(super) async fn bytes(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            Fault::TooLarge,
            format!("the body has more than the {} bytes that are taken", grouped(bytes_max as u64)),
        )
    };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    to_bytes(body, bytes_max).await.map_err(|error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(one) = cause {
            if one.to_string().contains("length limit exceeded") {
                return too_large();
            }
            cause = one.source();
        }
        Problem::invalid("the body ended before it was whole")
    })
}

/// A value of JSON, with the place of what is wrong.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = read(&mut reader, "the body", |said| said)?;
    reader.end().map_err(|error| Problem::invalid(format!("the body: {error}")))?;
    Ok(value)
}

/// Reads `what`; of what is wrong with it `shown` is said.
fn read<'a, T: Deserialize<'a>>(
    reader: &mut serde_json::Deserializer<serde_json::de::SliceRead<'a>>,
    what: &str,
    shown: fn(&str) -> &str,
) -> Result<T, Problem> {
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let said = error.inner().to_string();
        let said = shown(&said);
        // What is there twice is told of the object that it is in.
        let twice = said.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next()).map(str::to_owned);
        let parts = error.path().iter().filter_map(|part| match part {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } | Segment::Enum { variant: key } => Some(key.clone()),
            Segment::Unknown => None,
        });
        let names: Vec<String> = parts.chain(twice).collect();
        let place = if names.is_empty() { what.to_owned() } else { names.join(".") };
        Problem::invalid(format!("{place}: {}", suggested(said))).at(names)
    })
}

/// serde names the wrong word and the right ones in backticks.
fn suggested(said: &str) -> String {
    let mut quoted = said.split('`').skip(1).step_by(2);
    let (wrong, right) = (quoted.next(), quoted);
    let meant = wrong.filter(|_| said.starts_with("unknown ")).and_then(|wrong| nearest(wrong, right));
    match meant {
        Some(meant) => format!("{said}; did you mean `{meant}`?"),
        None => said.to_owned(),
    }
}

/// Free text of a call.
pub(super) fn comment(text: &str) -> Result<String, Problem> {
    clean_text("the comment", text).map_err(|error| Problem::invalid(format!("comment: {error}")).at(["comment"]))
}

/// The parameters of a query, which are taken one by one; what is left over was misspelt.
pub(super) struct Params {
    left: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Params {
    pub(super) fn of(uri: &Uri) -> Result<Params, Problem> {
        let read = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Query(left) = read.map_err(|_| Problem::invalid("the query of the address cannot be read"))?;
        if left.len() > PARAMS_MAX {
            return Err(Problem::invalid(format!("the query has more than {PARAMS_MAX} parameters")));
        }
        Ok(Params { left, known: Vec::new() })
    }

    /// A parameter as text.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        self.known.push(name);
        let found = self.left.iter().position(|(param, _)| param == name).map(|at| self.left.remove(at).1);
        if self.left.iter().any(|(param, _)| param == name) {
            return Err(Problem::invalid(format!("{name}: the parameter is there twice")));
        }
        Ok(found)
    }

    /// A parameter of a type.
    pub(super) fn one<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>, Problem> {
        let text = self.text(name)?;
        let read = text.map(|text| text.parse()).transpose();
        read.map_err(|error| Problem::invalid(format!("{name}: {error}")))
    }

    /// A parameter that is one of some words.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        all: &[T],
        as_str: fn(T) -> &'static str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match all.iter().copied().find(|one| as_str(*one) == text) {
            Some(one) => Ok(Some(one)),
            None => {
                let words: Vec<&str> = all.iter().map(|one| as_str(*one)).collect();
                Err(Problem::invalid(format!("{name}: {:?} is none of {}", cut(&text), words.join(", "))))
            }
        }
    }

    /// How many are wanted at most.
    pub(super) fn limit(&mut self, usual: usize, max: usize) -> Result<usize, Problem> {
        let Some(text) = self.text("limit")? else { return Ok(usual) };
        match text.parse() {
            Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
            _ => {
                let max = grouped(max as u64);
                Err(Problem::invalid(format!("limit: a number from 1 to {max} is expected, not {:?}", cut(&text))))
            }
        }
    }

    /// Nothing may be there, where the body says what is asked for, by these fields.
    pub(super) fn none_of(self, fields: impl FnOnce() -> BTreeSet<String>) -> Result<(), Problem> {
        let Some((name, _)) = self.left.first() else { return Ok(()) };
        let fields = fields();
        let hint = match nearest(name, fields.iter().map(String::as_str)) {
            Some(field) if field == name => format!("{field} belongs in the body"),
            Some(field) => format!("did you mean {field}, which belongs in the body?"),
            None => return self.finish(),
        };
        Err(Problem::invalid(format!("there is no parameter {:?}, and there are none here; {hint}", cut(name))))
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), Problem> {
        let Some((unknown, _)) = self.left.first() else { return Ok(()) };
        let meant = nearest(unknown, self.known.iter().copied());
        let hint = match (meant, self.known.is_empty()) {
            (Some(meant), _) => format!("did you mean {meant}?"),
            (None, true) => "there are none here".to_owned(),
            (None, false) => format!("there are {}", self.known.join(", ")),
        };
        Err(Problem::invalid(format!("there is no parameter {:?}; {hint}", cut(unknown))))
    }
}

/// The beginning of what was sent, for an error about it.
pub(super) fn cut(text: &str) -> String {
    crate::core::ids::cut_text(text, 64)
}

/// Whether a list of entity tags in `If-None-Match` has this one; compared weakly, as it is for GET.
pub(super) fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let listed = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|value| value.split(',')).any(|tag| tag.trim() == "*" || opaque(tag) == opaque(etag))
}

/// Whether `wanted` is accepted rather than `other`, which whoever says nothing about either is answered by (RFC 9110, 12.5.1).
pub(super) fn prefers(headers: &HeaderMap, wanted: &str, other: &str) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    let ranges: Vec<Accepted> = accepted.flat_map(|value| value.split(',')).filter_map(Accepted::of).collect();
    // The range that names a type most closely has its weight. Of two types with one weight, that is meant which is named
    // more closely, or earlier.
    let rank = |kind: &str| {
        let near = ranges.iter().enumerate().filter_map(|(at, range)| Some((range.closeness(kind)?, Reverse(at))));
        let (closeness, at) = near.max()?;
        let thousandths = ranges[at.0].thousandths;
        (thousandths > 0).then_some((thousandths, closeness, at))
    };
    rank(wanted) > rank(other)
}

/// A range of types in `Accept`, with its weight.
struct Accepted<'a> {
    range: &'a str,
    thousandths: u32,
}

impl Accepted<'_> {
    /// What stands between two commas; nothing where its weight is none.
    fn of(text: &str) -> Option<Accepted<'_>> {
        let mut parts = text.split(';').map(str::trim);
        let range = parts.next()?;
        let weight = parts.filter_map(|param| param.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("q"));
        let thousandths = weight.map_or(Some(1_000), |(_, weight)| thousandths(weight))?;
        Some(Accepted { range, thousandths })
    }

    /// How closely it names a type, if at all.
    fn closeness(&self, kind: &str) -> Option<u8> {
        let major = self.range.strip_suffix("/*");
        match major {
            Some("*") => Some(0),
            Some(major) => kind.split_once('/').filter(|(of, _)| of.eq_ignore_ascii_case(major)).map(|_| 1),
            None => self.range.eq_ignore_ascii_case(kind).then_some(2),
        }
    }
}

/// A weight: 0 to 1, with three decimals at most.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_weight =
        matches!(whole, "0" | "1") && decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let all: u32 = is_weight.then(|| format!("{whole}{decimals:0<3}").parse().ok()).flatten()?;
    (all <= 1_000).then_some(all)
}

/// The key of a call that changes something.
pub(super) fn call_key(headers: &HeaderMap) -> Result<Key, Problem> {
    key(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Two {
        #[serde(rename = "action")]
        _action: String,
        #[serde(rename = "quantity")]
        _quantity: i64,
    }

    impl Asked for Two {
        const EXAMPLE: &str = "{\"action\": \"erase\"}";
    }

    fn said<T: std::fmt::Debug>(read: Result<T, Problem>) -> String {
        let problem = serde_json::to_value(read.expect_err("a problem")).expect("JSON");
        problem["detail"].as_str().expect("a detail").to_owned()
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let read = |text: &str| said(object::<Two>(text.as_bytes()));
        insta::assert_snapshot!(read("{\"acton\": 1}"), @"acton: unknown field `acton`, expected `action` or `quantity` at line 1 column 8; did you mean `action`?");
        insta::assert_snapshot!(read("{\"action\": \"a\", \"quantity\": 1.5}"), @"quantity: invalid type: floating point `1.5`, expected i64 at line 1 column 31");
        insta::assert_snapshot!(read("{\"action\": \"a\", \"quantity\": 1} x"), @"the body: trailing characters at line 1 column 32");
        assert!(
            read(&"[".repeat(100_000)).starts_with("the body: invalid type: sequence, expected an object, such as ")
        );
        let deep = format!("{{\"action\": {}", "[".repeat(100_000));
        insta::assert_snapshot!(said(item::<Two>("the item", b"null")), @r#"the item: invalid type: null, expected an object, such as {"action": "erase"}"#);
        insta::assert_snapshot!(said(item::<Two>("the item", b"{\"acton\": 1}")), @"acton: unknown field `acton`, expected `action` or `quantity`; did you mean `action`?");
        insta::assert_snapshot!(read(&deep), @"action: invalid type: sequence, expected a string at line 1 column 11");
    }

    #[test]
    fn parameters_are_taken_once_and_none_is_left() {
        let params = |query: &str| Params::of(&format!("/x?{query}").parse().expect("an address")).expect("parameters");
        insta::assert_snapshot!(said(params("user=a&user=b").text("user")), @"user: the parameter is there twice");
        let mut misspelt = params("usr=a");
        assert_eq!(misspelt.text("user").expect("none"), None);
        insta::assert_snapshot!(said(misspelt.finish()), @r#"there is no parameter "usr"; did you mean user?"#);
        insta::assert_snapshot!(said(params("x=1").finish()), @r#"there is no parameter "x"; there are none here"#);
        insta::assert_snapshot!(said(params("limit=0").limit(50, 1_000)), @r#"limit: a number from 1 to 1,000 is expected, not "0""#);
        assert_eq!(params("user=%41+b").text("user").expect("one").as_deref(), Some("A b"));
    }

    #[test]
    fn a_key_may_stand_in_quotes() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(KEY_HEADER, HeaderValue::from_str(value).expect("a value"));
            }
            headers
        };
        for text in ["job-1", "\"job-1\"", " job-1 "] {
            assert_eq!(call_key(&headers(&[text])).expect("a key").as_str(), "job-1");
        }
        for bad in [&[][..], &["a", "b"], &["a b"], &["\"\""], &["ü"]] {
            assert_eq!(call_key(&headers(bad)).expect_err("a problem").status(), 400, "{bad:?}");
        }
    }

    #[test]
    fn tags_and_types_are_compared_as_http_does() {
        let with = |name: header::HeaderName, value: &str| {
            HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a value"))])
        };
        for (value, matches) in [("W/\"a\"", true), ("\"b\", \"a\"", true), ("*", true), ("\"b\"", false), ("", false)]
        {
            assert_eq!(matches_etag(&with(header::IF_NONE_MATCH, value), "W/\"a\""), matches, "{value}");
        }
        for (value, is_csv) in [
            ("text/csv", true),
            ("Text/CSV", true),
            ("application/json, text/csv", false),
            ("text/csv, application/json", true),
            ("*/*", false),
            ("x/y", false),
            ("x/y, text/csv;q=1", true),
            // Weights count, whatever comes first.
            ("text/csv;q=0.5, application/json", false),
            ("application/json;q=0.5, text/csv;q=0.51", true),
            ("application/json; Q=0.999 , text/csv; header=present; q=1.0", true),
            // 0 is not accepted at all.
            ("text/csv;q=0", false),
            ("text/csv;q=0, */*", false),
            ("application/json;q=0, */*;q=0.1", true),
            ("application/json;q=0.000, text/csv;q=0", false),
            // What names a type most closely has its weight, and of equals is meant.
            ("text/csv, */*", true),
            ("*/*, text/csv;q=0.1", false),
            ("text/*, application/json;q=0.9", true),
            ("text/*;q=0.9, text/csv;q=0.1, application/json;q=0.5", false),
            // A weight that is none says nothing.
            ("text/csv;q=2", false),
            ("text/csv;q=1.001, application/json;q=0.1", false),
            ("text/csv;q=0.0001", false),
            ("text/csv;q=", false),
        ] {
            assert_eq!(prefers(&with(header::ACCEPT, value), "text/csv", JSON), is_csv, "{value}");
        }
        assert!(!prefers(&HeaderMap::new(), "text/csv", JSON));
    }
}
