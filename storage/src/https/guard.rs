//! The guard of `https://` addresses that strangers name: they must not become their way into the networks here.
//!
//! Only `https` at its own port, only public addresses. A name is resolved by [`Resolver`], which hands the addresses it has checked to the
//! connection itself, so that a second, different DNS answer gains nothing. Redirects are followed by hand, if at all, and each is checked as the
//! first address was. An installation may name networks of its own that are reached as well, then at any port.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, redirect};
use tokio::net::lookup_host;
use url::{Host, Url};

use crate::error::find;
use crate::{Error, is_public};

const CONNECT_TIME: Duration = Duration::from_secs(5);
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

/// Where requests may go: to the public internet, and to the networks that the installation names.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    networks: Arc<[IpNet]>,
}

/// Which addresses a client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// Those of the public internet and of the networks that are named.
    Usual,
    /// Those of the networks that are named, and no others: for ports that are not https's own.
    Named,
}

impl Guard {
    /// A guard that lets requests into `networks` as well, at any port.
    pub(super) fn with(networks: Vec<IpNet>) -> Self {
        Self { networks: networks.into() }
    }

    /// A client that connects to addresses that are `admitted`, follows no redirect, takes no proxy from the environment and keeps no cookies.
    pub(super) fn client(&self, admitted: Admitted) -> ClientBuilder {
        Client::builder()
            .https_only(true)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(Resolver { guard: self.clone(), admitted, lookup: system }))
            .connect_timeout(CONNECT_TIME)
            .user_agent(concat!("trellis/", env!("CARGO_PKG_VERSION")))
    }

    /// The address, where a request may be tried.
    pub(super) fn parse(&self, address: &str) -> Result<Url, Error> {
        let url = Url::parse(address).map_err(|error| {
            // The text may be anything, so it is not repeated at length.
            Error::refused(address.chars().take(80).collect::<String>(), format!("it is no URL ({error})"))
        })?;
        self.check(url)
    }

    /// The address that `from` redirects to, where a request may be tried.
    pub(super) fn redirected(&self, from: &Url, location: &str) -> Result<Url, Error> {
        let url = from.join(location).map_err(|error| {
            Error::refused(shown(from), format!("it redirects to what is no URL ({error})"))
        })?;
        self.check(url)
    }

    fn check(&self, url: Url) -> Result<Url, Error> {
        match self.fault(&url) {
            None => Ok(url),
            Some(why) => Err(Error::refused(shown(&url), why)),
        }
    }

    /// What is wrong with `url`, as far as can be told without asking DNS.
    fn fault(&self, url: &Url) -> Option<&'static str> {
        if url.scheme() != "https" {
            return Some("only https:// addresses are used");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Some("an address with a user name or password is not used");
        }
        if url.port().is_some() && self.networks.is_empty() {
            return Some("only the port of https, 443, is used");
        }
        let admitted = Admitted::for_port(url);
        let reached = match url.host() {
            None => false,
            Some(Host::Ipv4(address)) => self.admits(admitted, address.into()),
            Some(Host::Ipv6(address)) => self.admits(admitted, address.into()),
            // Where networks are named, names may lead there: which do only DNS tells.
            Some(Host::Domain(name)) => !self.networks.is_empty() || is_public_name(name),
        };
        (!reached).then_some(NOT_PUBLIC)
    }

    fn admits(&self, admitted: Admitted, address: IpAddr) -> bool {
        let named = || self.networks.iter().any(|network| network.contains(&address.to_canonical()));
        (admitted == Admitted::Usual && is_public(address)) || named()
    }
}

impl Admitted {
    /// What a request to `url` may connect to.
    pub(super) fn for_port(url: &Url) -> Self {
        if url.port().is_some() { Self::Named } else { Self::Usual }
    }
}

const NOT_PUBLIC: &str = "its host is not on the public internet";

fn is_public_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit_once('.')
        .is_some_and(|(rest, suffix)| !rest.is_empty() && !PRIVATE_SUFFIXES.contains(&suffix))
}

/// The address as messages show it: a query may hold a signature that grants access.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Fails only for addresses that cannot have a user, which then have none to hide.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// What reqwest says of a request to `url`.
pub(super) fn convert(url: &Url, error: reqwest::Error) -> Error {
    match find::<NotPublic>(&error) {
        Some(not_public) => Error::refused(shown(url), not_public.to_string()),
        None => Error::unavailable(shown(url), error.without_url()),
    }
}

/// A resolver that answers only with addresses that are admitted, and not at all when one of them is not.
struct Resolver {
    guard: Guard,
    admitted: Admitted,
    lookup: fn(String) -> Answer,
}

/// What DNS says of a name.
type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

fn system(name: String) -> Answer {
    Box::pin(async move { Ok(lookup_host((name, 0)).await?.collect()) })
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, admitted) = (self.guard.clone(), self.admitted);
        let answer = (self.lookup)(absolute(name.as_str()));
        Box::pin(async move { all_admitted(&guard, admitted, answer.await?) })
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

fn all_admitted(
    guard: &Guard,
    admitted: Admitted,
    addresses: Vec<SocketAddr>,
) -> Result<Addrs, Box<dyn StdError + Send + Sync>> {
    match addresses.iter().map(SocketAddr::ip).find(|address| !guard.admits(admitted, *address)) {
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
        formatter.write_str(NOT_PUBLIC)
    }
}

impl StdError for NotPublic {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Each would reach something that a stranger must not reach, or hides where it leads.
    const HOSTILE: [&str; 88] = [
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
        "https+unix:///run/docker.sock",
        "dict://example.com:2628/d:x",
        "ldap://example.com/",
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
        "https://[::ffff:0:127.0.0.1]/",
        "https://[64:ff9b:1::a00:1]/",
        "https://[2001:0:7f00:1::]/",
        "https://[2001:db8::1]/",
        "https://[fd20:ce::254]/",
        "https://[0000::1]:443/",
        "https://0x7f.1/",
        "https://0300.0250.1/",
        "https://4294967295/",
        "https://127.0.0.1\t/",
        "https://12\n7.0.0.1/",
        "https:127.0.0.1",
        "https:/127.0.0.1/",
        r"https:\\127.0.0.1\",
        "https://198.18.0.1/",
        "https://192.0.0.192/",
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
        "https://local\thost/",
        "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
        "https://metadata．google．internal。/",
        // Users and ports.
        "https://example.com@127.0.0.1/",
        "https://user:secret@example.com/",
        "https://example.com:6443/",
    ];

    #[test]
    fn hostile_addresses_are_refused_without_asking_dns() {
        for address in HOSTILE {
            let result = Guard::default().parse(address);
            assert!(matches!(result, Err(Error::Refused { .. })), "{address}: {result:?}");
        }
    }

    #[test]
    fn a_network_that_is_named_is_reached_and_nothing_else_besides() {
        let guard = Guard::with(vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()]);
        for address in [
            "https://10.1.2.3/",
            "https://10.1.2.3:8443/",
            "https://[fd00:1::1]:8443/",
            "https://receiver.team.svc.cluster.local:8443/",
            "https://receiver.internal/",
            "https://example.com/",
        ] {
            assert!(guard.parse(address).is_ok(), "{address}");
        }
        for address in [
            "http://10.1.2.3/",
            "https://10.2.0.1/",
            "https://169.254.169.254/",
            "https://8.8.8.8:8443/",
            "https://user@10.1.2.3/",
            "https://127.0.0.1/",
            "https://[fd00:2::1]/",
        ] {
            assert!(matches!(guard.parse(address), Err(Error::Refused { .. })), "{address}");
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
            assert!(Guard::default().parse(address).is_ok(), "{address}");
        }
    }

    #[test]
    fn a_redirect_is_checked_like_the_first_address() {
        let guard = Guard::default();
        let from = Url::parse("https://example.com/a/b.png").unwrap();
        assert_eq!(guard.redirected(&from, "../c.png").unwrap().as_str(), "https://example.com/c.png");
        assert_eq!(
            guard.redirected(&from, "//cdn.example.com/c.png").unwrap().host_str(),
            Some("cdn.example.com")
        );
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
            assert!(matches!(guard.redirected(&from, location), Err(Error::Refused { .. })), "{location}");
        }
    }

    #[test]
    fn one_address_that_is_not_admitted_refuses_the_name() {
        let at = |address: &str| SocketAddr::new(address.parse().unwrap(), 0);
        let guard = Guard::with(vec!["10.1.0.0/16".parse().unwrap()]);
        let all = |guard, admitted, addresses: &[&str]| {
            all_admitted(guard, admitted, addresses.iter().map(|address| at(address)).collect()).is_ok()
        };
        let public = &Guard::default();
        assert!(all(public, Admitted::Usual, &["8.8.8.8", "2606:4700::1111"]));
        assert!(!all(public, Admitted::Usual, &["8.8.8.8", "10.1.0.1"]));
        assert!(!all(public, Admitted::Usual, &["8.8.8.8", "fe80::1"]));
        assert!(all(&guard, Admitted::Usual, &["8.8.8.8", "10.1.0.1"]));
        assert!(all(&guard, Admitted::Named, &["10.1.0.1", "::ffff:10.1.0.1"]));
        assert!(!all(&guard, Admitted::Named, &["8.8.8.8"]), "other ports are for the named networks");
        assert!(!all(&guard, Admitted::Usual, &["10.2.0.1"]));
    }

    /// Says at first that a name is public, and then that it is here.
    fn rebinding(_: String) -> Answer {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let address = if ASKED.fetch_add(1, Ordering::SeqCst) == 0 { "8.8.8.8" } else { "127.0.0.1" };
        Box::pin(async move { Ok(vec![SocketAddr::new(address.parse().unwrap(), 0)]) })
    }

    /// The connection is made to what was checked, and each connection asks and checks anew.
    #[tokio::test]
    async fn a_name_that_changes_its_address_after_it_was_checked_gains_nothing() {
        let resolver = Resolver { guard: Guard::default(), admitted: Admitted::Usual, lookup: rebinding };
        let name = || "rebind.example.com".parse().unwrap();
        let first: Vec<_> = resolver.resolve(name()).await.unwrap().map(|address| address.ip()).collect();
        assert_eq!(first, ["8.8.8.8".parse::<IpAddr>().unwrap()]);
        let second = resolver.resolve(name()).await.err().unwrap();
        assert!(second.is::<NotPublic>(), "{second}");
    }

    #[test]
    fn names_are_not_looked_for_below_the_clusters_domain() {
        assert_eq!(absolute("service.namespace"), "service.namespace.");
        assert_eq!(absolute("example.com."), "example.com.");
    }

    #[test]
    fn messages_hide_signatures_and_passwords() {
        let url = Url::parse("https://user:secret@example.com/a.png?X-Goog-Signature=f00#x").unwrap();
        assert_eq!(shown(&url), "https://example.com/a.png");
    }
}
