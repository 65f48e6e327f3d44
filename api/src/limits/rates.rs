//! How many requests a minute: a bucket for each key and each address, which fills again as time passes (GCRA).

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use serde::Deserialize;

/// The policies in force and where the sender stands: draft-ietf-httpapi-ratelimit-headers.
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How many buckets there may be that are not full. Addresses beyond them share one, so that nobody fills the memory with them.
const MOST: usize = 100_000;

/// The address of all that share a bucket; none sends from it.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// How many requests are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rate {
    /// So many in every minute.
    per_minute: NonZeroU32,
    /// So many at once; as many as in a minute where left out.
    burst: Option<NonZeroU32>,
}

/// The rates of the settings file; no limit where one is left out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateSettings {
    /// Of each key, and of each user with tokens.
    key: Option<Rate>,
    /// Of each address, for requests without a valid key.
    address: Option<Rate>,
}

/// The requests of late.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    keys: Option<Buckets<String>>,
    addresses: Option<Buckets<IpAddr>>,
}

impl Rates {
    /// Nobody has asked for anything yet.
    pub(crate) fn new(settings: &RateSettings) -> Self {
        Self {
            keys: settings.key.map(|rate| Buckets::new("key", rate)),
            addresses: settings.address.map(|rate| Buckets::new("address", rate)),
        }
    }

    /// Counts a request with this key; where it stands, where that is limited.
    pub(crate) fn count_key(&self, key: &str) -> Option<Standing> {
        self.keys.as_ref().map(|buckets| buckets.count(&key.to_owned()))
    }

    /// Counts a request without a valid key from this address; where it stands, where that is limited.
    pub(crate) fn count_address(&self, address: IpAddr) -> Option<Standing> {
        let buckets = self.addresses.as_ref()?;
        let crowded = buckets.limiter.len() >= MOST;
        Some(buckets.count(&if crowded { OTHERS } else { network(address) }))
    }

    /// Forgets buckets that are full again.
    pub(crate) fn forget(&self) {
        if let Some(buckets) = &self.keys {
            buckets.limiter.retain_recent();
        }
        if let Some(buckets) = &self.addresses {
            buckets.limiter.retain_recent();
        }
    }
}

/// What one client can choose its addresses from: with IPv6 a network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>;

#[derive(Debug)]
struct Buckets<K: Hash + Eq + Clone> {
    name: &'static str,
    rate: Rate,
    limiter: Limiter<K>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(name: &'static str, rate: Rate) -> Self {
        let quota = Quota::per_minute(rate.per_minute).allow_burst(rate.burst.unwrap_or(rate.per_minute));
        Self { name, rate, limiter: RateLimiter::dashmap(quota).with_middleware() }
    }

    fn count(&self, who: &K) -> Standing {
        let (remaining, wait) = match self.limiter.check_key(who) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                (0, Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)))
            }
        };
        Standing { name: self.name, rate: self.rate, remaining, wait }
    }
}

/// Where the sender of a request stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    name: &'static str,
    rate: Rate,
    remaining: u32,
    wait: Option<u64>,
}

impl Standing {
    /// How many seconds to wait, where this request is one too many.
    #[must_use]
    pub(crate) fn wait(&self) -> Option<u64> {
        self.wait
    }

    /// Tells the sender: what there is in a minute, what is left at once, and in how many seconds all of that is there again.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Rate { per_minute, burst } = self.rate;
        let used = u64::from(burst.unwrap_or(per_minute).get().saturating_sub(self.remaining));
        let full = (used * 60).div_ceil(u64::from(per_minute.get()));
        let policy = format!("\"{}\";q={per_minute};w=60", self.name);
        let standing = format!("\"{}\";r={};t={full}", self.name, self.remaining);
        for (name, text) in [(RATELIMIT_POLICY, policy), (RATELIMIT, standing)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(settings: &str) -> Rates {
        Rates::new(&serde_yaml::from_str(settings).unwrap())
    }

    #[test]
    fn each_key_has_its_burst_and_hears_where_it_stands() {
        let rates = rates("key: {per_minute: 1, burst: 2}");
        let first = rates.count_key("a").unwrap();
        assert_eq!((first.remaining, first.wait()), (1, None));
        let mut headers = HeaderMap::new();
        first.write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"key\";q=1;w=60");
        assert_eq!(headers["ratelimit"], "\"key\";r=1;t=60");

        assert_eq!(rates.count_key("a").unwrap().remaining, 0);
        let refused = rates.count_key("a").unwrap();
        assert!((1..=60).contains(&refused.wait().unwrap()), "{refused:?}");
        assert_eq!(rates.count_key("b").unwrap().wait(), None, "another key has a bucket of its own");
        assert_eq!(rates.count_address("192.0.2.1".parse().unwrap()), None, "no limit is set");
    }

    #[test]
    fn a_network_of_ipv6_has_one_bucket_and_ipv4_is_the_same_in_either_way() {
        let rates = rates("address: {per_minute: 1}");
        let refused = |address: &str| rates.count_address(address.parse().unwrap()).unwrap().wait().is_some();
        assert!(!refused("2001:db8::1"));
        assert!(refused("2001:db8::2"));
        assert!(!refused("2001:db8:0:1::1"));
        assert!(!refused("192.0.2.1"));
        assert!(refused("::ffff:192.0.2.1"));
        assert!(!refused("192.0.2.2"));
    }

    #[test]
    fn buckets_that_are_full_are_forgotten_and_there_are_never_too_many() {
        let rates = rates("address: {per_minute: 1}");
        let many = u32::try_from(MOST).unwrap() + 10;
        for number in 1..=many {
            rates.count_address(std::net::Ipv4Addr::from_bits(number).into());
        }
        let buckets = rates.addresses.as_ref().unwrap();
        assert_eq!(buckets.limiter.len(), MOST + 1, "those beyond share one");
        let fast = self::rates("key: {per_minute: 4294967295}");
        fast.count_key("a");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !fast.keys.as_ref().unwrap().limiter.is_empty() {
            assert!(std::time::Instant::now() < deadline, "a full bucket is kept");
            fast.forget();
        }
    }

    #[test]
    fn settings_that_let_nothing_in_are_refused() {
        for wrong in ["key: {per_minute: 0}", "key: {per_minute: 1, burst: 0}", "key: {burst: 1}", "keys: {}"]
        {
            assert!(serde_yaml::from_str::<RateSettings>(wrong).is_err(), "{wrong}");
        }
    }
}
