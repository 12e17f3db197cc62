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

    /// Less than half of the burst is left.
    pub fn is_low(&mut self, now: Instant) -> bool {
        self.level.ready(self.rate, now);
        self.level.tokens * 2.0 < self.rate.burst
    }
}

pub const BUCKETS: usize = 4096;

/// Places of IPv4 /24 and IPv6 /48 in a table of fixed size, by a seeded hash: some share one.
struct Places {
    seed: u32,
}

impl Places {
    fn new() -> Self {
        Places { seed: Random::new().number() }
    }

    fn of(&self, from: &SocketAddr) -> usize {
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

/// Of so many handshakes half are forgotten.
const RECENT: u32 = 1024;
/// Beyond these, and a quarter of the recent ones, a prefix has many.
const MANY: u32 = 64;

/// Who had how many of the handshakes that were begun lately, by prefix. Only those count whose address was proven: nobody else can make
/// somebody's prefix one that has many.
pub struct PrefixCounts {
    places: Places,
    counts: Box<[u32]>,
    total: u32,
}

impl Default for PrefixCounts {
    fn default() -> Self {
        PrefixCounts { places: Places::new(), counts: vec![0; BUCKETS].into(), total: 0 }
    }
}

impl PrefixCounts {
    pub fn add(&mut self, from: &SocketAddr, proven: bool) {
        if self.total >= RECENT {
            self.counts.iter_mut().for_each(|n| *n /= 2);
            self.total /= 2;
        }
        self.total += 1;
        let place = self.places.of(from);
        if let Some(count) = self.counts.get_mut(place).filter(|_| proven) {
            *count += 1;
        }
    }

    pub fn has_many(&self, from: &SocketAddr) -> bool {
        self.counts.get(self.places.of(from)).is_some_and(|&n| n > MANY.max(self.total / 4))
    }
}

/// A bucket per prefix; who shares a place shares the bucket.
pub struct PrefixBuckets {
    places: Places,
    rate: Rate,
    levels: Box<[Level]>,
}

impl PrefixBuckets {
    pub fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        let levels = vec![Level { tokens: burst, at: now }; BUCKETS];
        PrefixBuckets { places: Places::new(), rate: Rate { per_second, burst }, levels: levels.into() }
    }

    pub fn set(&mut self, per_second: f64, burst: f64) {
        self.rate = Rate { per_second, burst };
    }

    pub fn take(&mut self, from: &SocketAddr, now: Instant) -> bool {
        let place = self.places.of(from);
        self.levels.get_mut(place).is_some_and(|l| l.take(self.rate, now))
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
    fn a_bucket_is_low_below_half_of_its_burst() {
        let start = Instant::now();
        let mut b = TokenBucket::new(10.0, 4.0, start);
        assert!(!b.is_low(start));
        assert_eq!(count(2, || b.take(start)), 2);
        assert!(!b.is_low(start));
        assert!(b.take(start) && b.is_low(start));
        assert!(!b.is_low(start + Duration::from_millis(101)));
    }

    #[test]
    fn whoever_had_more_than_a_quarter_of_the_last_handshakes_has_many_until_others_had_theirs() {
        let mut c = PrefixCounts::default();
        let (one, beside) = (at("192.0.2.1:1"), at("192.0.2.9:2"));
        let elsewhere = |a: &SocketAddr| c.places.of(a) != c.places.of(&one);
        let other = (0..10).map(|i| at(&format!("[2001:db8:{i}::1]:1"))).find(elsewhere).unwrap();
        // Few are not many, and what is not proven is nobody's.
        (0..MANY).for_each(|_| c.add(&one, true));
        (0..RECENT).for_each(|_| c.add(&other, false));
        assert!(!c.has_many(&one) && !c.has_many(&other));
        (0..RECENT).for_each(|_| c.add(&one, true));
        assert!(c.has_many(&beside) && !c.has_many(&other));
        // Three quarters are others'.
        for _ in 0..RECENT {
            c.add(&one, true);
            (0..4).for_each(|_| c.add(&other, false));
        }
        assert!(!c.has_many(&one));
        (0..RECENT).for_each(|_| c.add(&one, true));
        assert!(c.has_many(&one));
        (0..6 * RECENT).for_each(|_| c.add(&other, true));
        assert!(!c.has_many(&one) && c.has_many(&other));
    }

    #[test]
    fn every_place_is_within_the_table() {
        let places = Places::new();
        for i in 0..=u16::MAX {
            let [x, y] = i.to_be_bytes();
            assert!(places.of(&at(&format!("{x}.{y}.7.1:1"))) < BUCKETS);
        }
    }
}
