//! The address that a request comes from, also where proxies pass it on.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::FORWARDED;
use ipnet::IpNet;
use serde::Deserialize;

/// The header in which proxies say who asked them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ForwardedHeader {
    /// `X-Forwarded-For`, which nearly all proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Which proxies are believed, and where they say what.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Proxies {
    /// Their networks.
    pub trusted: Vec<IpNet>,
    /// Where they say it. Only one header is read: what a client writes into another would be passed on as it is.
    pub header: ForwardedHeader,
}

impl Proxies {
    /// Who sent a request that came from `peer`. Each proxy adds at the right who asked it, so that list is read from there, for as long as it is
    /// proxies of ours that say so: what stands further to the left may be anything.
    #[must_use]
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        for said in self.said(headers).rev() {
            match address(said) {
                Some(address) if self.trusts(address) => client = address,
                Some(address) => return address,
                // A name that the proxy gave instead, or nothing of any meaning: the last that is known is the proxy.
                None => break,
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    fn said<'a>(&self, headers: &'a HeaderMap) -> impl DoubleEndedIterator<Item = &'a str> {
        let name = match self.header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => FORWARDED.as_str(),
        };
        let values = headers.get_all(name).into_iter();
        values.flat_map(|value| value.to_str().unwrap_or_default().split(',')).map(str::trim)
    }
}

/// The address in an entry: `192.0.2.1`, `192.0.2.1:443`, `[2001:db8::1]:443`, or `for="[2001:db8::1]";proto=https`.
fn address(entry: &str) -> Option<IpAddr> {
    let node = entry.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    let node = node.unwrap_or(entry).trim_matches('"');
    let bare = node.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(node);
    let parsed = bare.parse().or_else(|_| node.parse::<SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(header: ForwardedHeader, peer: &str, said: &[(&'static str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).into();
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            headers.append(*name, value.parse().unwrap());
        }
        Proxies { trusted, header }.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_nearest_who_is_no_proxy_of_ours_is_the_client() {
        let xff = "x-forwarded-for";
        for (peer, said, expected) in [
            // Who is no proxy of ours may say what it likes.
            ("192.0.2.1", &[(xff, "10.0.0.9")][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(xff, "192.0.2.1")], "192.0.2.1"),
            ("10.0.0.1", &[(xff, "198.51.100.7, 192.0.2.1")], "192.0.2.1"),
            ("10.0.0.1", &[(xff, "198.51.100.7, 192.0.2.1, 10.0.0.2")], "192.0.2.1"),
            ("10.0.0.1", &[(xff, "198.51.100.7"), (xff, "192.0.2.1")], "192.0.2.1"),
            ("10.0.0.1", &[(xff, "10.0.0.3,10.0.0.2")], "10.0.0.3"),
            ("10.0.0.1", &[(xff, "192.0.2.1, what?")], "10.0.0.1"),
            ("10.0.0.1", &[(xff, "192.0.2.1:51234")], "192.0.2.1"),
            ("::ffff:10.0.0.1", &[(xff, "2001:db8::1")], "2001:db8::1"),
            ("fd00::1", &[(xff, "[2001:db8::1]:443")], "2001:db8::1"),
            ("10.0.0.1", &[("forwarded", "for=192.0.2.1")], "10.0.0.1"),
        ] {
            assert_eq!(client(ForwardedHeader::XForwardedFor, peer, said), expected, "{peer} {said:?}");
        }
    }

    #[test]
    fn the_standards_header_is_read_where_that_is_the_one() {
        for (said, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"[2001:db8::1]:4711\";proto=https;by=10.0.0.1", "2001:db8::1"),
            ("for=198.51.100.7, proto=https;for=192.0.2.1", "192.0.2.1"),
            ("for=192.0.2.1, for=10.0.0.2", "192.0.2.1"),
            ("for=unknown", "10.0.0.1"),
            ("for=_hidden", "10.0.0.1"),
        ] {
            let both = [("x-forwarded-for", "198.51.100.9"), ("forwarded", said)];
            assert_eq!(client(ForwardedHeader::Forwarded, "10.0.0.1", &both), expected, "{said}");
        }
    }
}
