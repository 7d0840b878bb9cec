//! How often who may ask for what: buckets of permissions that fill up again with time.
//!
//! Owns rates and nothing else; what a limit protects is said where it is spent.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use stackvm_catalog::ids::{SessionId, ShareId};

use crate::problem::Problem;

/// Longest body of a request, in bytes: notes of 16 KiB, each byte written as `\u00xx`.
pub(crate) const BODY_BYTES_MAX: usize = 128 << 10;
/// Most that are remembered; of more, the one that has asked for least is forgotten.
const KEYS_MAX: usize = 4096;

/// Requests from one address.
const REQUESTS: Rate = Rate { burst: 400, interval: Duration::from_millis(10) };
/// Changes by one session.
const CHANGES: Rate = Rate { burst: 200, interval: Duration::from_millis(50) };
/// Attempts to come in from one address, behind which may be a whole class that opens one link.
const EXCHANGES: Rate = Rate { burst: 100, interval: Duration::from_millis(200) };
/// Passwords tried at one link: a guesser at one link does not shut out those of another.
const PASSWORDS: Rate = Rate { burst: 10, interval: Duration::from_secs(3) };
/// Machines of a visitor's own, of one session: making one costs more than the change it is.
const VISITS: Rate = Rate { burst: 5, interval: Duration::from_secs(5) };

/// So many at once, and one more after each interval.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    interval: Duration,
}

/// All limits on how often.
pub(crate) struct Limits {
    requests: Buckets<IpAddr>,
    changes: Buckets<SessionId>,
    exchanges: Buckets<IpAddr>,
    passwords: Buckets<ShareId>,
    visits: Buckets<SessionId>,
}

impl Limits {
    pub(crate) fn new() -> Limits {
        Limits {
            requests: Buckets::new(REQUESTS),
            changes: Buckets::new(CHANGES),
            exchanges: Buckets::new(EXCHANGES),
            passwords: Buckets::new(PASSWORDS),
            visits: Buckets::new(VISITS),
        }
    }

    /// A neighbour on the network, or a page in another tab, keeps the server busy.
    pub(crate) fn request(&self, from: IpAddr) -> Result<(), Problem> {
        self.requests.spend(subscriber(from), Instant::now())
    }

    /// A guest fills the disk with rows.
    pub(crate) fn change(&self, by: SessionId) -> Result<(), Problem> {
        self.changes.spend(by, Instant::now())
    }

    /// A neighbour tries tokens and links.
    pub(crate) fn exchange(&self, from: IpAddr) -> Result<(), Problem> {
        self.exchanges.spend(subscriber(from), Instant::now())
    }

    /// Somebody with a link tries passwords.
    pub(crate) fn password(&self, at: ShareId) -> Result<(), Problem> {
        self.passwords.spend(at, Instant::now())
    }

    /// A visitor starts over and over.
    pub(crate) fn visit(&self, by: SessionId) -> Result<(), Problem> {
        self.visits.spend(by, Instant::now())
    }
}

/// IPv6 gives everybody 2^64 addresses: what one subscriber has counts as one.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        v4 => v4,
    }
}

struct Buckets<K> {
    rate: Rate,
    buckets: Mutex<HashMap<K, Bucket>>,
}

struct Bucket {
    left: u32,
    since: Instant,
}

impl<K: Hash + Eq + Copy> Buckets<K> {
    fn new(rate: Rate) -> Buckets<K> {
        Buckets { rate, buckets: Mutex::default() }
    }

    fn spend(&self, key: K, now: Instant) -> Result<(), Problem> {
        let Rate { burst, interval } = self.rate;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEYS_MAX && !buckets.contains_key(&key) {
            buckets.values_mut().for_each(|bucket| bucket.fill(self.rate, now));
            buckets.retain(|_, bucket| bucket.left < burst);
            if buckets.len() >= KEYS_MAX {
                let fullest = buckets.iter().max_by_key(|(_, bucket)| bucket.left);
                if let Some(key) = fullest.map(|(key, _)| *key) {
                    buckets.remove(&key);
                }
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { left: burst, since: now });
        bucket.fill(self.rate, now);
        match bucket.left.checked_sub(1) {
            Some(left) => {
                bucket.left = left;
                Ok(())
            }
            None => Err(Problem::too_often(interval.saturating_sub(now - bucket.since))),
        }
    }
}

impl Bucket {
    fn fill(&mut self, rate: Rate, now: Instant) {
        let intervals =
            now.saturating_duration_since(self.since).as_nanos() / rate.interval.as_nanos().max(1);
        let earned = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(rate.burst);
        // What is left of an interval counts for the next one.
        self.since = match self.left == rate.burst {
            true => now,
            false => self.since + rate.interval * earned,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_millis(100) };

    #[test]
    fn a_burst_then_one_for_each_interval() {
        let buckets = Buckets::new(RATE);
        let start = Instant::now();
        let check = |ms, expected: bool| {
            let now = start + Duration::from_millis(ms);
            assert_eq!(buckets.spend(1, now).is_ok(), expected, "at {ms} ms");
        };
        for (ms, expected) in [
            (0, true),
            (0, true),
            (0, true),
            (0, false),
            (99, false),
            (100, true),
            (199, false),
            (250, true),
            (299, false),
            (300, true),
            (10_000, true),
            (10_000, true),
            (10_000, true),
            (10_000, false),
        ] {
            check(ms, expected);
        }
        assert!(buckets.spend(2, start).is_ok(), "somebody else has their own");
    }

    #[test]
    fn many_callers_take_bounded_memory_and_the_greediest_stays_known() {
        let buckets = Buckets::new(RATE);
        let now = Instant::now();
        for _ in 0..4 {
            let _ = buckets.spend(0, now);
        }
        for key in 1..2 * KEYS_MAX {
            let _ = buckets.spend(key, now);
        }
        assert!(buckets.buckets.lock().unwrap().len() <= KEYS_MAX);
        assert!(buckets.spend(0, now).is_err());
    }

    #[test]
    fn a_subscribers_addresses_are_one() {
        let check = |a: &str, b: &str, same: bool| {
            let of = |text: &str| subscriber(text.parse().unwrap());
            assert_eq!(of(a) == of(b), same, "{a} {b}");
        };
        check("2001:db8::1", "2001:db8::ffff:1", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
    }
}
