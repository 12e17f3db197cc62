//! Rates per endpoint and per client. Time is given by the caller, memory is fixed.

use crate::ids::Random;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    burst: f64,
}

#[derive(Clone, Copy)]
struct Level {
    tokens: f64,
    at: Instant,
}

impl Level {
    fn ready(&mut self, rate: Rate, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = rate.burst.min(self.tokens + passed * rate.per_second);
        self.at = self.at.max(now);
        self.tokens >= 1.0
    }

    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let enough = self.ready(rate, now);
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// So many per second, with a burst.
pub struct TokenBucket {
    rate: Rate,
    level: Level,
}

impl TokenBucket {
    pub fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        TokenBucket { rate: Rate { per_second, burst }, level: Level { tokens: burst, at: now } }
    }

    /// What was saved up stays, as far as the new burst reaches.
    pub fn set(&mut self, per_second: f64, burst: f64) {
        self.rate = Rate { per_second, burst };
    }

    pub fn take(&mut self, now: Instant) -> bool {
        self.level.take(self.rate, now)
    }

    /// Whether `take` would succeed now.
    pub fn ready(&mut self, now: Instant) -> bool {
        self.level.ready(self.rate, now)
    }
}

pub const BUCKETS: usize = 4096;

/// A bucket per IPv4 /24 or IPv6 /48 in a table of fixed size; who shares a place by its hash (seeded) shares the bucket.
pub struct PrefixBuckets {
    seed: u32,
    rate: Rate,
    levels: Box<[Level]>,
}

impl PrefixBuckets {
    pub fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        let levels = vec![Level { tokens: burst, at: now }; BUCKETS];
        PrefixBuckets { seed: Random::new().number(), rate: Rate { per_second, burst }, levels: levels.into() }
    }

    pub fn set(&mut self, per_second: f64, burst: f64) {
        self.rate = Rate { per_second, burst };
    }

    pub fn take(&mut self, from: &SocketAddr, now: Instant) -> bool {
        let place = self.place(from);
        self.levels.get_mut(place).is_some_and(|l| l.take(self.rate, now))
    }

    fn place(&self, from: &SocketAddr) -> usize {
        match from.ip().to_canonical() {
            IpAddr::V4(a) => self.hash(&a.octets()[..3]),
            IpAddr::V6(a) => self.hash(&a.octets()[..6]),
        }
    }

    fn hash(&self, prefix: &[u8]) -> usize {
        let mut h = prefix.iter().fold(self.seed, |h, &octet| (h ^ u32::from(octet)).wrapping_mul(0x0100_0193));
        h ^= h >> 15;
        (h.wrapping_mul(0x2c1b_3c6d) >> 12) as usize % BUCKETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn count(n: usize, mut take: impl FnMut() -> bool) -> usize {
        (0..n).filter(|_| take()).count()
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let start = Instant::now();
        let ms = |n| start + Duration::from_millis(n);
        let mut b = TokenBucket::new(10.0, 5.0, start);
        assert_eq!(count(20, || b.take(ms(0))), 5);
        assert_eq!(count(20, || b.take(ms(1_000))), 5);
        assert_eq!(count(20, || b.take(ms(1_201))), 2);
        assert_eq!(count(20, || b.take(ms(1_000_000_000))), 5);
        b.set(10.0, 1.0);
        assert_eq!(count(20, || b.take(ms(2_000_000_000))), 1);
    }

    #[test]
    fn time_that_runs_backwards_gives_nothing() {
        let start = Instant::now();
        let later = start + Duration::from_secs(10);
        let mut b = TokenBucket::new(10.0, 5.0, later);
        assert_eq!(count(20, || b.take(later)), 5);
        assert_eq!(count(20, || b.take(start)), 0);
        assert_eq!(count(20, || b.take(later)), 0);
    }

    #[test]
    fn prefixes_share_a_bucket_and_others_have_their_own() {
        let now = Instant::now();
        let mut b = PrefixBuckets::new(10.0, 3.0, now);
        assert_eq!(count(5, || b.take(&at("192.0.2.1:1"), now)), 3);
        assert!(!b.take(&at("192.0.2.200:2"), now));
        assert!(!b.take(&at("[::ffff:192.0.2.9]:3"), now));
        // 4096 places: of ten other prefixes at least nine must be free.
        let others: Vec<_> = (0..10).map(|i| at(&format!("198.51.{i}.1:1"))).collect();
        assert!(others.iter().filter(|a| b.take(a, now)).count() >= 9);
        assert_eq!(count(5, || b.take(&at("[2001:db8:1::1]:1"), now)), 3);
        assert!(!b.take(&at("[2001:db8:1:ffff::1]:1"), now));
        b.set(10.0, 1.0);
        let later = now + Duration::from_secs(60);
        assert_eq!(count(5, || b.take(&at("192.0.2.1:1"), later)), 1);
    }

    #[test]
    fn every_place_is_within_the_table() {
        let b = PrefixBuckets::new(1.0, 1.0, Instant::now());
        for i in 0..=u16::MAX {
            let [x, y] = i.to_be_bytes();
            assert!(b.place(&at(&format!("{x}.{y}.7.1:1"))) < BUCKETS);
        }
    }
}
