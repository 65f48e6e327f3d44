//! The reader of `https://` addresses that strangers name: it must not become their way into the networks here.
//!
//! Only `https` at its own port, only public addresses. A name is resolved by [`PublicOnly`], which hands the
//! addresses it has checked to the connection itself, so that a second, different DNS answer gains nothing.
//! Redirects are followed by hand, and each is checked as the first address was.

use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Response, StatusCode, header, redirect};
use tokio::net::lookup_host;
use tokio::time::timeout;
use url::{Host, Url};

use crate::error::find;
use crate::{Error, is_public};

const CONNECT_TIME: Duration = Duration::from_secs(5);
const TOTAL_TIME: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 3;
/// Names that mean a private network by convention or by RFC 6761, 6762, 9476.
const PRIVATE_SUFFIXES: [&str; 11] = [
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "svc",
    "arpa",
    "test",
];

/// Reads `https://` addresses of the public internet.
#[derive(Clone, Debug)]
pub struct HttpsReader {
    client: Client,
}

impl HttpsReader {
    /// A reader that takes no proxy from the environment and keeps no cookies.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .https_only(true)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(PublicOnly))
            .connect_timeout(CONNECT_TIME)
            .user_agent(concat!("trellis/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client })
    }

    /// Reads at most `limit` bytes from `address`, within 30 seconds in all.
    ///
    /// What the server says of the content's type and length is not relied on.
    ///
    /// # Errors
    /// See [`Error`]; `Refused` when the address, one that it resolves to, or one that it redirects to is not public.
    pub async fn get(&self, address: &str, limit: u64) -> Result<Bytes, Error> {
        let url = parse(address)?;
        let name = shown(&url);
        match timeout(TOTAL_TIME, self.follow(url, limit)).await {
            Ok(result) => result,
            Err(elapsed) => Err(Error::unavailable(name, elapsed)),
        }
    }

    async fn follow(&self, first: Url, limit: u64) -> Result<Bytes, Error> {
        let mut url = first.clone();
        for _ in 0..=REDIRECTS {
            let response = self.client.get(url.clone()).send().await.map_err(|error| convert(&url, error))?;
            match answer(&response) {
                Answer::Content => return read(&url, response, limit).await,
                Answer::Redirect(location) => url = redirected(&url, location)?,
                Answer::Failure => return Err(failure(&url, response.status())),
            }
        }
        Err(Error::refused(shown(&first), format!("it redirects more than {REDIRECTS} times")))
    }
}

enum Answer<'a> {
    Content,
    Redirect(&'a str),
    Failure,
}

fn answer(response: &Response) -> Answer<'_> {
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    match (response.status(), location) {
        (StatusCode::OK, _) => Answer::Content,
        (status, Some(location)) if status.is_redirection() => Answer::Redirect(location),
        _ => Answer::Failure,
    }
}

fn failure(url: &Url, status: StatusCode) -> Error {
    let uri = shown(url);
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Error::NotFound { uri },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied { uri, source: None },
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Error::unavailable(uri, format!("the server answered {status}"))
        }
        status if status.is_server_error() => {
            Error::unavailable(uri, format!("the server answered {status}"))
        }
        status => Error::refused(uri, format!("its server answered {status} instead of a file")),
    }
}

async fn read(url: &Url, mut response: Response, limit: u64) -> Result<Bytes, Error> {
    let too_large = || Error::TooLarge { uri: shown(url), limit };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut content = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(|error| convert(url, error))? {
        if (content.len() + piece.len()) as u64 > limit {
            return Err(too_large());
        }
        content.extend_from_slice(&piece);
    }
    Ok(content.freeze())
}

fn parse(address: &str) -> Result<Url, Error> {
    let url = Url::parse(address).map_err(|error| {
        // The text may be anything, so it is not repeated at length.
        Error::refused(address.chars().take(80).collect::<String>(), format!("it is no URL ({error})"))
    })?;
    check(url)
}

fn redirected(from: &Url, location: &str) -> Result<Url, Error> {
    let url = from
        .join(location)
        .map_err(|error| Error::refused(shown(from), format!("it redirects to what is no URL ({error})")))?;
    check(url)
}

fn check(url: Url) -> Result<Url, Error> {
    match fault(&url) {
        None => Ok(url),
        Some(why) => Err(Error::refused(shown(&url), why)),
    }
}

/// What is wrong with `url`, as far as can be told without asking DNS.
fn fault(url: &Url) -> Option<&'static str> {
    if url.scheme() != "https" {
        return Some("only https:// is read from the internet");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("an address with a user name or password is not used");
    }
    if url.port().is_some() {
        return Some("only the port of https, 443, is used");
    }
    let public = match url.host() {
        None => false,
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(name)) => is_public_name(name),
    };
    (!public).then_some("its host is not on the public internet")
}

fn is_public_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit_once('.')
        .is_some_and(|(rest, suffix)| !rest.is_empty() && !PRIVATE_SUFFIXES.contains(&suffix))
}

/// The address as messages show it: a query may hold a signature that grants access.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Fails only for addresses that cannot have a user, which then have none to hide.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

fn convert(url: &Url, error: reqwest::Error) -> Error {
    match find::<NotPublic>(&error) {
        Some(not_public) => Error::refused(shown(url), not_public.to_string()),
        None => Error::unavailable(shown(url), error.without_url()),
    }
}

/// A resolver that answers only with public addresses, and not at all when one of them is not.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = lookup_host((absolute(name.as_str()), 0)).await?.collect();
            all_public(addresses)
        })
    }
}

/// `name` with the root's dot, without which a pod's resolver tries it below the cluster's domain first: strangers could find
/// out by `https://service.namespace/` which Services there are. A name of one part is refused before anything is resolved.
fn absolute(name: &str) -> String {
    match name.contains('.') && !name.ends_with('.') {
        true => format!("{name}."),
        false => name.to_owned(),
    }
}

fn all_public(addresses: Vec<SocketAddr>) -> Result<Addrs, Box<dyn StdError + Send + Sync>> {
    match addresses.iter().map(SocketAddr::ip).find(|address| !is_public(*address)) {
        Some(address) => {
            tracing::warn!(%address, "an https:// address resolves to one that is not public");
            Err(Box::new(NotPublic))
        }
        None => Ok(Box::new(addresses.into_iter())),
    }
}

/// A name that leads, or also leads, to an address that is not public.
#[derive(Debug)]
struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("its host is not on the public internet")
    }
}

impl StdError for NotPublic {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each would reach something that a stranger must not reach, or hides where it leads.
    const HOSTILE: [&str; 66] = [
        // Not https.
        "",
        "example.com/a.png",
        "//example.com/a.png",
        "http://example.com/a.png",
        "ftp://example.com/a.png",
        "file:///etc/passwd",
        "gopher://example.com/",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "https:",
        "https://",
        "https:///",
        "https://?a",
        "jar:https://example.com!/",
        "ws://example.com/",
        // Private addresses, however they are written.
        "https://127.0.0.1/",
        "https://127.1/",
        "https://127.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://0177.0x0.0.1/",
        "https://127.0.0.1./",
        "https://0/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.0.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/computeMetadata/v1/",
        "https://2852039166/",
        "https://0xA9FEA9FE/",
        "https://0251.0376.0251.0376/",
        "https://%31%32%37.0.0.1/",
        "https://１２７.0.0.1/",
        "https://127。0。0。1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://255.255.255.255/",
        "https://224.0.0.1/",
        "https://168.63.129.16/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[0:0:0:0:0:ffff:a9fe:a9fe]/",
        "https://[64:ff9b::169.254.169.254]/",
        "https://[2002:7f00:1::]/",
        "https://[fd00:ec2::254]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[ff02::1]/",
        "https://[::127.0.0.1]/",
        // Names of private networks.
        "https://localhost/",
        "https://LOCALHOST/",
        "https://localhost./",
        "https://a.localhost/",
        "https://metadata.google.internal/",
        "https://metadata/",
        "https://kubernetes.default.svc/",
        "https://kubernetes.default.svc.cluster.local./",
        "https://printer.lan/",
        // Users and ports.
        "https://example.com@127.0.0.1/",
        "https://user:secret@example.com/",
        "https://example.com:6443/",
    ];

    #[test]
    fn hostile_addresses_are_refused_without_asking_dns() {
        for address in HOSTILE {
            let result = parse(address);
            assert!(matches!(result, Err(Error::Refused { .. })), "{address}: {result:?}");
        }
    }

    #[test]
    fn ordinary_addresses_are_not() {
        for address in [
            "https://example.com/a.png",
            "https://example.com:443/a.png?x=1",
            "HTTPS://EXAMPLE.COM/",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]/",
            "https://example.com./",
            "https://bücher.example.org/",
            "https://example.com/@127.0.0.1",
            r"https://example.com\@127.0.0.1",
        ] {
            assert!(parse(address).is_ok(), "{address}");
        }
    }

    #[test]
    fn a_redirect_is_checked_like_the_first_address() {
        let from = Url::parse("https://example.com/a/b.png").unwrap();
        assert_eq!(redirected(&from, "../c.png").unwrap().as_str(), "https://example.com/c.png");
        assert_eq!(redirected(&from, "//cdn.example.com/c.png").unwrap().host_str(), Some("cdn.example.com"));
        for location in [
            "http://example.com/b.png",
            "//127.0.0.1/",
            "https://169.254.169.254/",
            "file:///etc/passwd",
            "https://example.com:8443/",
            r"\\127.0.0.1\",
            "https://[::1]/",
            "//localhost",
        ] {
            assert!(matches!(redirected(&from, location), Err(Error::Refused { .. })), "{location}");
        }
    }

    #[test]
    fn one_private_address_among_public_ones_refuses_the_name() {
        let at = |address: &str| SocketAddr::new(address.parse().unwrap(), 0);
        assert!(all_public(vec![at("8.8.8.8"), at("2606:4700::1111")]).is_ok());
        assert!(all_public(vec![at("8.8.8.8"), at("10.0.0.1")]).is_err());
        assert!(all_public(vec![at("8.8.8.8"), at("fe80::1")]).is_err());
    }

    #[test]
    fn names_are_not_looked_for_below_the_clusters_domain() {
        assert_eq!(absolute("service.namespace"), "service.namespace.");
        assert_eq!(absolute("example.com."), "example.com.");
    }

    /// `localhost` resolves everywhere; the client is asked past the check of the name.
    #[tokio::test]
    async fn a_name_that_resolves_to_a_private_address_is_never_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url =
            Url::parse(&format!("https://localhost:{}/", listener.local_addr().unwrap().port())).unwrap();
        let error = HttpsReader::new().unwrap().follow(url, 1).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn messages_hide_signatures_and_passwords() {
        let url = Url::parse("https://user:secret@example.com/a.png?X-Goog-Signature=f00#x").unwrap();
        assert_eq!(shown(&url), "https://example.com/a.png");
        assert_eq!(
            failure(&url, StatusCode::NOT_FOUND).to_string(),
            "https://example.com/a.png does not exist"
        );
        assert!(failure(&url, StatusCode::BAD_GATEWAY).is_transient());
        assert!(!failure(&url, StatusCode::FORBIDDEN).is_transient());
    }
}
