//! Who visits a page: by the cookie that a signed link was exchanged for, or as a trusted proxy says.
//!
//! A handler of a page gets its account from [`AtAccount`] alone, and so never of somebody who may not see it: an account that
//! is not the visitor's looks like one that does not exist. A form is taken by [`Sent`] alone, which asks for the visitor's own
//! token in it.

use super::Peer;
use super::bearer::{Caller, caller};
use super::media::media_type;
use super::pages::{Pages, Shut};
use super::problem::Problem;
use crate::app::AppError;
use crate::config::WebSettings;
use crate::core::access::{Reach, Scope};
use crate::core::calendar::Instant;
use crate::core::ids::{AccountId, Email, printable};
use crate::core::signed::{Purpose, SigningKey};
use crate::core::visit::{VISIT_SECONDS, Visit, Visitor};
use crate::notice::words::shorten;
use crate::store::{AccountRecord, Admin};
use axum::RequestExt;
use axum::extract::{Form, FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Longest name of a field that is said to be wrong, in characters.
pub(super) const NAME_SHOWN_MAX: usize = 40;
/// The field of a form that says whose it is.
pub(super) const TOKEN_FIELD: &str = "token";

/// What tells visitors from others.
pub(super) struct Gate {
    key: SigningKey,
    web: WebSettings,
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub visitor: Visitor,
    /// What their forms carry.
    pub token: String,
    /// Whether they can leave: by a cookie they came, where a proxy lets them in again.
    pub has_cookie: bool,
}

impl Gate {
    pub fn new(key: SigningKey, web: WebSettings) -> Gate {
        Gate { key, web }
    }

    /// The visit that a link is for.
    pub fn of_link(&self, token: &str, now: Instant) -> Result<Visit, Shut> {
        Visit::of_token(token, Purpose::Link, &self.key, now).map_err(Shut::Link)
    }

    /// The cookie for a visitor from now on.
    pub fn cookie(&self, visitor: Visitor, now: Instant) -> Option<HeaderValue> {
        let token = Visit { visitor, until: now.plus_seconds(VISIT_SECONDS) }.token(Purpose::Cookie, &self.key);
        self.set_cookie(&token, VISIT_SECONDS)
    }

    /// What takes it away.
    pub fn no_cookie(&self) -> Option<HeaderValue> {
        self.set_cookie("", 0)
    }

    fn set_cookie(&self, token: &str, seconds: i64) -> Option<HeaderValue> {
        let (name, secure) = (self.cookie_name(), if self.is_https() { "; Secure" } else { "" });
        let cookie = format!("{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::from_str(&cookie).ok()
    }

    fn is_https(&self) -> bool {
        self.web.public_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }

    /// A browser takes a name with this prefix from the very host and over TLS only.
    fn cookie_name(&self) -> &'static str {
        if self.is_https() { "__Host-creditd" } else { "creditd" }
    }

    /// Who asks, if they were let in.
    fn guest(&self, headers: &HeaderMap, peer: Option<IpAddr>, now: Instant) -> Result<Option<Guest>, Shut> {
        if peer.is_some_and(|peer| self.web.trusted_proxy.from.contains(&peer.to_canonical()))
            && let Some(visitor) = self.named_by_proxy(headers)?
        {
            let token = self.key.tag(Purpose::Form, format!("proxy\n{}", visitor.text()).as_bytes());
            return Ok(Some(Guest { visitor, token, has_cookie: false }));
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = cookies.flat_map(|all| all.split(';')).filter_map(|pair| pair.trim().split_once('='));
        for (_, token) in pairs.filter(|(name, _)| *name == self.cookie_name()) {
            if let Ok(Visit { visitor, .. }) = Visit::of_token(token, Purpose::Cookie, &self.key, now) {
                let form = self.key.tag(Purpose::Form, format!("cookie\n{token}").as_bytes());
                return Ok(Some(Guest { visitor, token: form, has_cookie: true }));
            }
        }
        Ok(None)
    }

    /// Who visits, by the headers of a proxy that is believed. What it says twice, or not as it must be, lets nobody in.
    fn named_by_proxy(&self, headers: &HeaderMap) -> Result<Option<Visitor>, Shut> {
        let proxy = &self.web.trusted_proxy;
        let said = |name: &str| -> Result<Option<&str>, Shut> {
            let mut values = headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (None, _) => Ok(None),
                (Some(value), None) => {
                    value.to_str().map(|text| Some(text).filter(|text| !text.is_empty())).map_err(|_| Shut::Proxy)
                }
                (Some(_), Some(_)) => Err(Shut::Proxy),
            }
        };
        let address = said(&proxy.email_header)?.map(Email::new).transpose().map_err(|_| Shut::Proxy)?;
        match (said(&proxy.platform_header)?, said(&proxy.account_header)?) {
            (Some("yes"), None) => Ok(Some(Visitor { reach: Reach::Platform, address: None })),
            (None, Some(account)) => {
                let account = AccountId::new(account).map_err(|_| Shut::Proxy)?;
                Ok(Some(Visitor { reach: Reach::Account(account), address }))
            }
            (None, None) => Ok(None),
            _ => Err(Shut::Proxy),
        }
    }

    /// Whether a form was sent from a page of ours, as far as the browser says: it may leave both headers out.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Shut> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
            return Err(Shut::Form);
        }
        // Our pages send no referrer, and so the origin of their forms is null.
        match text("origin") {
            None | Some("null") => Ok(()),
            Some(origin) => {
                let host =
                    || text("host").is_some_and(|host| origin.split_once("://").is_some_and(|(_, at)| at == host));
                let is_ours = self.web.origin().map_or_else(host, |ours| ours == origin);
                if is_ours { Ok(()) } else { Err(Shut::Form) }
            }
        }
    }

    /// Whether a form that a guest sent is one that they were given.
    fn check_token(&self, guest: &Guest, token: &str, headers: &HeaderMap) -> Result<(), Shut> {
        // The guest's own token was made with the key just now; a comparison that ends early tells nothing but its length.
        let is_theirs = token.len() == guest.token.len()
            && token.bytes().zip(guest.token.bytes()).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0;
        if !is_theirs {
            return Err(Shut::Form);
        }
        self.check_origin(headers)
    }
}

impl FromRequestParts<Pages> for Guest {
    type Rejection = Shut;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Guest, Shut> {
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical());
        let gate = pages.gate().await?;
        gate.guest(&parts.headers, peer, pages.app().now())?.ok_or(Shut::Nobody)
    }
}

/// A guest at an account that they may see.
pub(super) struct AtAccount {
    pub guest: Guest,
    pub record: AccountRecord,
}

impl AtAccount {
    /// The admin who visits, where it is known who does.
    pub fn admin(&self) -> Option<&Admin> {
        let address = self.guest.visitor.address.as_ref()?;
        self.record.admins.iter().find(|admin| admin.email == *address)
    }

    pub fn id(&self) -> &AccountId {
        &self.record.account.id
    }
}

impl FromRequestParts<Pages> for AtAccount {
    type Rejection = Shut;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<AtAccount, Shut> {
        let guest = Guest::from_request_parts(parts, pages).await?;
        let path: Result<Path<BTreeMap<String, String>>, _> = Path::from_request_parts(parts, pages).await;
        let Path(path) = path.map_err(|_| Shut::NotFound)?;
        let id = path.get("account").and_then(|id| AccountId::new(id).ok()).ok_or(Shut::NotFound)?;
        if !guest.visitor.reach.covers(&id) {
            return Err(Shut::NotFound);
        }
        let record = record(pages, &id, &guest.visitor, guest.has_cookie).await?;
        Ok(AtAccount { guest, record })
    }
}

/// The account of a visitor. Who came by a link must be an admin still; whom a proxy lets in, it vouches for.
pub(super) async fn record(
    pages: &Pages,
    id: &AccountId,
    visitor: &Visitor,
    by_link: bool,
) -> Result<AccountRecord, Shut> {
    let record = pages.app().store.accounts(std::slice::from_ref(id)).await?.pop().ok_or(Shut::NotFound)?;
    let is_admin = |address: &Email| record.admins.iter().any(|admin| admin.email == *address);
    match (&visitor.reach, &visitor.address) {
        (Reach::Account(_), address) if by_link && !address.as_ref().is_some_and(is_admin) => Err(Shut::NoAdmin),
        _ => Ok(record),
    }
}

/// An account in a platform's own pages: of whoever visits it, and where nobody does, of a token that covers it. Who is a visitor
/// is asked first, for a proxy may hand on what its own tokens say in the same header.
pub(super) struct AtEmbed(pub AccountRecord);

impl FromRequestParts<Pages> for AtEmbed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<AtEmbed, Response> {
        let nobody = match AtAccount::from_request_parts(parts, pages).await {
            Ok(at) => return Ok(AtEmbed(at.record)),
            Err(shut @ Shut::Nobody) => shut,
            Err(shut) => return Err(shut.into_response()),
        };
        let caller = caller(pages.web(), Scope::Read, parts).await.map_err(IntoResponse::into_response)?;
        let caller = caller.ok_or_else(|| nobody.into_response())?;
        let record = of_caller(pages, &caller).await.map_err(IntoResponse::into_response)?;
        Ok(AtEmbed(record))
    }
}

async fn of_caller(pages: &Pages, caller: &Caller) -> Result<AccountRecord, Problem> {
    let id = caller.account()?;
    let found = pages.app().store.accounts(std::slice::from_ref(id)).await?.pop();
    found.ok_or_else(|| AppError::UnknownAccount(id.clone()).into())
}

/// A guest who may see the platform.
pub(super) struct AtPlatform(pub Guest);

impl FromRequestParts<Pages> for AtPlatform {
    type Rejection = Shut;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<AtPlatform, Shut> {
        let guest = Guest::from_request_parts(parts, pages).await?;
        if guest.visitor.reach == Reach::Platform { Ok(AtPlatform(guest)) } else { Err(Shut::NotFound) }
    }
}

/// A form that a guest was given and has sent: who, where, and what is in it.
pub(super) struct Sent<W> {
    pub at: W,
    pub fields: BTreeMap<String, String>,
}

/// Where a guest is.
pub(super) trait Where: FromRequestParts<Pages, Rejection = Shut> + Send {
    /// Who is there.
    fn guest(&self) -> &Guest;
}

impl Where for AtAccount {
    fn guest(&self) -> &Guest {
        &self.guest
    }
}

impl Where for Guest {
    fn guest(&self) -> &Guest {
        self
    }
}

impl<W: Where + 'static> FromRequest<Pages> for Sent<W> {
    type Rejection = Shut;

    async fn from_request(mut request: Request, pages: &Pages) -> Result<Sent<W>, Shut> {
        let at: W = request.extract_parts_with_state(pages).await?;
        let headers = request.headers().clone();
        let fields = fields(request).await?;
        let token = fields.get(TOKEN_FIELD).map_or("", String::as_str);
        pages.gate().await?.check_token(at.guest(), token, &headers)?;
        Ok(Sent { at, fields })
    }
}

/// What a form says, each field once.
async fn fields(request: Request) -> Result<BTreeMap<String, String>, Shut> {
    if request.method() != Method::POST {
        return Err(Shut::Form);
    }
    media_type(request.headers())?;
    let form: Result<Form<Vec<(String, String)>>, _> = request.extract().await;
    let Form(pairs) = form.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Shut::LongForm,
        _ => Shut::Form,
    })?;
    let mut fields = BTreeMap::new();
    for (name, value) in pairs {
        if fields.contains_key(&name) {
            let name = shorten(&printable(&name), NAME_SHOWN_MAX);
            return Err(Shut::Filled(format!("The form says “{name}” more than once.")));
        }
        fields.insert(name, value);
    }
    Ok(fields)
}

/// A form that nobody needs to be let in for, as the one that lets in: the browser must not say that it came from elsewhere.
pub(super) async fn from_our_page(pages: &Pages, headers: &HeaderMap) -> Result<(), Shut> {
    pages.gate().await?.check_origin(headers)
}
