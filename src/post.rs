//! Posts events to the addresses of webhooks (Standard Webhooks), over the web and with care: an address comes from somebody
//! who may not be a friend.
//!
//! Only https, unless the settings allow more; only addresses of the internet at large, looked at behind the name and
//! for every connection; no proxy, no redirect, no cookie; everything is bounded in time and size, and what is answered is
//! looked at no further than its status.

use crate::core::causes::with_causes;
use crate::core::secret::Secret;
use crate::core::webhook::{URL_LEN_MAX, WebhookSecret};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The longest that connecting takes.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest wait that an answer may ask for is heeded up to a day.
const RETRY_AFTER_MAX: i64 = 86_400;

/// Why an address is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BadAddress {
    /// It is none.
    #[error("{0:?} is no web address, such as https://example.com/credits/events")]
    NoUrl(String),
    /// Whoever listens on the way reads it all.
    #[error("the address of a webhook begins with https:// (allow_private in [webhooks] allows http:// as well)")]
    NotHttps,
    /// Credentials would be in lists and logs.
    #[error("the address of a webhook has no user name, password or #: events are signed instead")]
    Credentials,
    /// It is where no stranger should be able to ask us to go.
    #[error(
        "{0} is no address of the internet at large; allow_private in [webhooks] allows those of your own network, too"
    )]
    Private(String),
}

/// What came of posting an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It was taken, with this status.
    Taken(u16),
    /// The address does not want any more (410).
    Gone,
    /// It was answered otherwise.
    Refused {
        /// With this status.
        status: u16,
        /// For how many seconds it wants to be left alone, where it says so.
        retry_after: Option<i64>,
    },
    /// There was no answer.
    Unanswered(String),
}

/// Posts events.
#[derive(Clone, Debug)]
pub struct Poster {
    client: Client,
    allow_private: bool,
}

impl Poster {
    /// A poster that waits for an answer for so long. To be used within a runtime.
    ///
    /// # Errors
    /// What the system says when there can be no client.
    pub fn new(allow_private: bool, timeout: Duration) -> Result<Poster, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("creditd/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIME_MAX.min(timeout))
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Resolver { allow_private }))
            .build()?;
        Ok(Poster { client, allow_private })
    }

    /// Whether events may be posted there. Names other than localhost are looked up only when they are.
    ///
    /// # Errors
    /// [`BadAddress`].
    pub fn check(&self, address: &str) -> Result<Url, BadAddress> {
        let none = || BadAddress::NoUrl(address.chars().take(80).collect());
        let url = Url::parse(address).map_err(|_| none())?;
        if address.len() > URL_LEN_MAX || !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
            return Err(none());
        }
        if url.scheme() == "http" && !self.allow_private {
            return Err(BadAddress::NotHttps);
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(BadAddress::Credentials);
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_private = match host.parse::<IpAddr>() {
            Ok(ip) => !is_public(ip),
            // The one name that means this machine whoever is asked (RFC 6761); a URL has it in lower case.
            Err(_) => host.trim_end_matches('.').rsplit('.').next() == Some("localhost"),
        };
        if is_private && !self.allow_private { Err(BadAddress::Private(host.to_owned())) } else { Ok(url) }
    }

    /// Posts `body` as the event `id` at `seconds` of Unix time.
    pub async fn post(&self, address: &Secret, secret: &WebhookSecret, id: &str, seconds: i64, body: &str) -> Posted {
        let url = match self.check(address.expose()) {
            Ok(url) => url,
            Err(why) => return Posted::Unanswered(why.to_string()),
        };
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", secret.signature(id, seconds, body))
            .body(body.to_owned());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Posted::Taken(answer.status().as_u16()),
            Ok(answer) if answer.status() == StatusCode::GONE => Posted::Gone,
            Ok(answer) => {
                Posted::Refused { status: answer.status().as_u16(), retry_after: retry_after(answer.headers()) }
            }
            Err(error) => Posted::Unanswered(with_causes(&error.without_url())),
        }
    }
}

/// How long an answer wants to be left alone, where it says so in seconds.
fn retry_after(headers: &HeaderMap) -> Option<i64> {
    let seconds: i64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    (seconds >= 0).then(|| seconds.min(RETRY_AFTER_MAX))
}

/// Looks names up, and gives no address that may not be connected to: what was looked at is what is connected to.
struct Resolver {
    allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.into_iter().filter(|address| allow_private || is_public(address.ip())).collect();
            if allowed.is_empty() {
                return Err(BadAddress::Private(name.as_str().to_owned()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the internet at large: to no machine of ours, no network beside it, and nothing that has another
/// meaning. What answers elsewhere may take a request from here for a friend's.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let is_special = v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                // Shared by providers, protocols, the relay of IPv6, benchmarks, and kept for later.
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && (18..20).contains(&b))
                || a >= 240;
            !is_special
        }
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_public(IpAddr::V4(v4));
            }
            // Only 2000::/3 was ever given out. In it, 2001::/23 has other meanings, 2001:db8::/32 and 3fff::/20 are for books,
            // and 2002::/16 wraps an address of IPv4.
            (segments[0] & 0xe000) == 0x2000
                && !(segments[0] == 0x2001 && segments[1] < 0x200)
                && !(segments[0] == 0x2001 && segments[1] == 0xdb8)
                && segments[0] != 0x2002
                && !(segments[0] == 0x3fff && segments[1] < 0x1000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_looked_at_before_anybody_goes_there() {
        let check = |allow_private: bool, address: &str| {
            let poster = Poster::new(allow_private, Duration::from_secs(1)).expect("a client");
            poster.check(address).map(|url| url.to_string()).map_err(|error| error.to_string())
        };
        for address in [
            "https://hooks.example/credits?x=1",
            "https://1.1.1.1:8443/",
            "https://[2606:4700::1111]/",
            "https://localhost.example/",
        ] {
            assert_eq!(check(false, address), Ok(address.to_owned()));
        }
        for (address, why) in [
            ("hooks.example", "no web address"),
            ("ftp://hooks.example/", "no web address"),
            ("http://hooks.example/", "begins with https://"),
            ("https://ann:secret@hooks.example/", "no user name"),
            ("https://hooks.example/#x", "no user name"),
            ("https://127.0.0.1/", "internet at large"),
            ("https://2130706433/", "internet at large"),
            ("https://LocalHost/", "localhost is no address of the internet at large"),
            ("https://hooks.localhost.:8443/x", "internet at large"),
            ("https://0x7f.1/", "internet at large"),
            ("https://[::ffff:10.0.0.1]/", "internet at large"),
            ("https://169.254.169.254/latest", "internet at large"),
        ] {
            let said = check(false, address).map_or_else(|said| said, |url| format!("taken as {url}"));
            assert!(said.contains(why), "{address}: {said}");
        }
        assert!(check(true, "http://127.0.0.1:8080/").is_ok());
    }

    #[tokio::test]
    async fn a_name_is_looked_at_behind_it() {
        let poster = Poster::new(false, Duration::from_secs(5)).expect("a client");
        let secret = WebhookSecret::new([1; 32]);
        let posted = poster.post(&Secret::new("https://localhost:9/"), &secret, "evt_1", 0, "{}").await;
        let Posted::Unanswered(why) = posted else { panic!("{posted:?}") };
        assert!(why.contains("internet at large"), "{why}");
    }

    #[test]
    fn private_addresses_are_known() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12:3456::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2001::1",
            "3fff::1",
        ] {
            assert!(!is_public(text.parse().expect(text)), "{text}");
        }
        for text in [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(text.parse().expect(text)), "{text}");
        }
    }
}
