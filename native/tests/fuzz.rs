//! Input that nobody would send: random bytes, valid packets with something changed, and well-formed nonsense. Every round is made
//! of one seed, which a failure names.
//!
//! ```text
//! SPOOKY_FUZZ_SECONDS=60   how long in all (a fixed number of rounds when unset)
//! SPOOKY_FUZZ_SEED=7       begin here
//! ```

mod kit;

use kit::*;
use spooky_quic::counters::{Counters, Dropped};
use spooky_quic::gate::{Verdict, Waiting};
use spooky_quic::ids::{CID_LENGTH, CidCodec, CidParts, NO_SLOT, Random, SlotPool};
use spooky_quic::limits::{PrefixBuckets, TokenBucket};
use spooky_quic::options::{EndpointKeys, Key, RetryMode};
use spooky_quic::packet::{Invariant, LongHeader, MIN_INITIAL};
use spooky_quic::tokens::{TOKEN_LENGTH, TokenKeys, TokenVerdict, UsedTokens};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// splitmix64: the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Lengths at which something begins or ends, and any other.
    fn length(&mut self) -> usize {
        match self.below(4) {
            0 => self.below(64),
            1 => *self.pick(&[0, 1, 6, 7, 17, 18, 21, 22, 43, 44, 1199, 1200, 1201, 1500, 65_527]),
            _ => self.below(1_600),
        }
    }

    /// One to four changes: a bit, an octet, a cut, a repetition, more at the end.
    fn mutate(&mut self, mut p: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(4) {
            if p.is_empty() {
                return self.bytes(3);
            }
            let at = self.below(p.len());
            match self.below(5) {
                0 => p[at] ^= 1 << self.below(8),
                1 => p[at] = *self.pick(&[0, 1, 0x14, 0x15, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xff]),
                2 => p.truncate(at),
                3 => {
                    let part = p[at..].to_vec();
                    p.splice(at..at, part.into_iter().take(40));
                }
                _ => {
                    let n = self.below(40);
                    p.extend(self.bytes(n));
                }
            }
        }
        p
    }
}

/// Runs `round` with one seed after the other: `count` times, or for this share of the time that is given to all.
fn rounds(name: &str, share: f64, count: u64, mut round: impl FnMut(&mut Dice)) {
    let number = |key: &str| std::env::var(key).ok().map(|v| v.parse::<u64>().unwrap_or_else(|_| panic!("{key}: a number wanted")));
    let first = number("SPOOKY_FUZZ_SEED").unwrap_or_else(|| u64::from(Random::new().number()));
    let until = number("SPOOKY_FUZZ_SECONDS").map(|s| Instant::now() + Duration::from_secs(s).mul_f64(share));
    println!("{name}: SPOOKY_FUZZ_SEED={first}");
    let mut done = 0;
    while until.map_or(done < count, |u| Instant::now() < u) {
        let seed = first.wrapping_add(done);
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| round(&mut Dice(seed)))).is_err();
        assert!(!failed, "{name}: again with SPOOKY_FUZZ_SEED={seed}");
        done += 1;
    }
    println!("{name}: {done} rounds");
}

fn sum(d: &Dropped) -> u64 {
    let all = serde_json::to_value(d).unwrap();
    all.as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum()
}

/// A gate in the middle of its life, and what came of its datagrams.
struct Life {
    b: Bench,
    other: CidCodec,
    addresses: Vec<SocketAddr>,
    /// Ids and tokens that Retries gave out.
    retries: Vec<(Vec<u8>, Vec<u8>)>,
    waiting: Waiting,
    judged: u64,
    passed: u64,
}

impl Life {
    fn new(d: &mut Dice) -> Self {
        let mode = *d.pick(&[RetryMode::Off, RetryMode::Load, RetryMode::Always]);
        let mut b = Bench::with(|o| {
            o.retry = mode;
            o.limits.retry_above = d.below(20);
            o.limits.half_open = d.below(60);
            o.limits.connections = 1 + d.below(200);
            o.limits.per_address = 1 + d.below(60);
            o.limits.handshakes_per_second = d.below(5_000) as u32;
        });
        for slot in 0..16 {
            b.crowd.alive.insert((slot, slot * 7));
        }
        let addresses = ["192.0.2.1:4433", "192.0.2.1:1", "198.51.100.7:443", "[2001:db8::1]:443", "[::ffff:192.0.2.1]:5"].map(at).to_vec();
        let other = CidCodec::new(&CID_KEY, NODE, OTHER_WORKER).unwrap();
        Life { b, other, addresses, retries: Vec::new(), waiting: Waiting::new(), judged: 0, passed: 0 }
    }

    fn id(&mut self, d: &mut Dice) -> Vec<u8> {
        match d.below(7) {
            0 => self.b.codec.encode(d.below(20) as u32, d.below(150) as u32, 0).to_vec(),
            1 => {
                let slot = d.below(16) as u32;
                self.b.codec.encode(slot, slot * 7, d.next() as u8).to_vec()
            }
            2 => self.other.encode(1, 1, 1).to_vec(),
            3 if !self.retries.is_empty() => d.pick(&self.retries).0.clone(),
            4 => DCID.to_vec(),
            5 => {
                let n = *d.pick(&[0, 7, 8, 16, 17, 18, 20, 21, 255]);
                d.bytes(n)
            }
            _ => d.bytes(CID_LENGTH),
        }
    }

    fn token(&mut self, d: &mut Dice) -> Vec<u8> {
        match d.below(4) {
            0 => Vec::new(),
            1 if !self.retries.is_empty() => d.pick(&self.retries).1.clone(),
            2 => {
                let mut t = d.bytes(TOKEN_LENGTH);
                t[0] = 0xa5;
                t
            }
            _ => {
                let n = d.below(100);
                d.bytes(n)
            }
        }
    }

    fn packet(&mut self, d: &mut Dice) -> Vec<u8> {
        let (id, scid) = (self.id(d), d.pick(&[&SCID[..], &[], &[9; 20], &[9; 21]]).to_vec());
        match d.below(9) {
            0 => {
                let n = d.length();
                d.bytes(n)
            }
            1 => short(&id, d.length()),
            2 => hello(),
            3 | 4 => {
                let token = self.token(d);
                initial(&id, &scid, &token, *d.pick(&[1199, 1200, 1350]))
            }
            5 => {
                let (n, first) = (d.length(), *d.pick(&[0xc0, 0xd0, 0xe0, 0xf0, 0x80]));
                let rest = d.bytes(n);
                long(first, 1, &id, &scid, &rest)
            }
            6 => {
                let (n, version) = (d.length(), d.next() as u32);
                let rest = d.bytes(n);
                long(0x80 | d.next() as u8, version, &id, &scid, &rest)
            }
            // With the very pair that a Retry gave out.
            _ => match self.retries.pop() {
                Some((id, token)) => {
                    if d.one_in(3) {
                        self.retries.push((id.clone(), token.clone()));
                    }
                    initial(&id, &SCID, &token, 1200)
                }
                None => short(&id, d.length()),
            },
        }
    }

    fn judge(&mut self, p: &[u8]) {
        self.b.out.fill(0xee);
        let before = self.b.counters.clone();
        let verdict = self.b.judge(p);
        self.judged += 1;
        match verdict {
            Verdict::Answer(n) => self.answered(p, n, &before),
            Verdict::Drop => assert_eq!(sum(&self.b.counters.dropped), sum(&before.dropped) + 1),
            other => {
                assert_eq!(self.b.counters, before, "{other:?} is not counted");
                self.passed += 1;
                self.passed_on(p, other);
            }
        }
        assert!(written(&self.b.out) == 0 || self.b.counters.answered != before.answered, "written, and not answered");
    }

    fn answered(&mut self, p: &[u8], n: usize, before: &Counters) {
        let (a, was) = (&self.b.counters.answered, &before.answered);
        assert!(n <= 3 * p.len() && n < self.b.out.len(), "{n} for {}", p.len());
        assert!(self.b.out[n..].iter().all(|&octet| octet == 0xee));
        let drops = sum(&self.b.counters.dropped) - sum(&before.dropped);
        if a.reset > was.reset {
            assert!(n < p.len() && n >= 21 && drops == 1);
        } else if a.version > was.version {
            assert!(p.len() >= MIN_INITIAL && drops == 0);
        } else if a.refused > was.refused {
            assert!(p.len() >= MIN_INITIAL && n < 100 && drops == 1);
        } else {
            assert!(a.retry == was.retry + 1 && p.len() >= MIN_INITIAL && n < 200 && drops == 0);
            self.passed += 1;
            self.keep_retry(n);
            return;
        }
        self.passed += u64::from(drops == 0);
    }

    fn keep_retry(&mut self, n: usize) {
        let p = &self.b.out[..n];
        if p[6..6 + usize::from(p[5])] == SCID && self.retries.len() < 50 {
            self.retries.push(read_retry(p));
        }
    }

    fn passed_on(&mut self, p: &[u8], verdict: Verdict) {
        match verdict {
            Verdict::Deliver { slot } => {
                assert!(slot != NO_SLOT && (slot < 16 || self.b.crowd.young.values().any(|&s| s == slot)));
            }
            Verdict::Foreign { worker } => assert!(worker != WORKER && !self.b.forwarded),
            Verdict::Begin(n) => {
                assert!(p.len() >= MIN_INITIAL && (8..=20).contains(&n.dcid.len()) && n.scid.len() <= 20);
                assert!(n.odcid.is_none_or(|o| (8..=20).contains(&o.len()) && n.dcid.len() == CID_LENGTH));
                let slot = 100 + self.b.crowd.young.len() as u32;
                self.b.crowd.young.insert((self.b.from, n.dcid), slot);
                self.b.begun();
            }
            Verdict::Wait => self.waiting.push(p, self.b.from, self.b.from, &mut self.b.counters),
            Verdict::Answer(_) | Verdict::Drop => unreachable!("counted elsewhere"),
        }
    }

    fn step(&mut self, d: &mut Dice) {
        if d.one_in(4) {
            self.b.from = *d.pick(&self.addresses);
        }
        if d.one_in(20) {
            self.b.pass(d.next() % 3_000);
        }
        if d.one_in(30) {
            self.change(d);
        }
        let p = self.packet(d);
        let p = if d.one_in(2) { d.mutate(p) } else { p };
        self.judge(&p);
    }

    fn change(&mut self, d: &mut Dice) {
        match d.below(7) {
            0 => self.b.gate.set_retry(*d.pick(&[RetryMode::Off, RetryMode::Load, RetryMode::Always])),
            1 => {
                let old = listen_options().token_keys.remove(0);
                let keys = EndpointKeys { reset_key: Key(d.bytes(32)), token_keys: vec![Key(d.bytes(32)), old] };
                self.b.gate.set_keys(&keys).unwrap();
            }
            2 => {
                let mut l = listen_options().limits;
                l.half_open = d.below(100);
                l.handshakes_per_second = d.below(100) as u32;
                self.b.gate.set_limits(&l);
            }
            3 => self.b.forwarded = !self.b.forwarded,
            4 if d.one_in(10) => self.b.gate.drain(),
            _ => {
                self.b.gate.start_turn();
                while !self.b.gate.is_full() {
                    let Some(a) = self.waiting.pop() else { return };
                    self.b.from = a.from;
                    self.judge(&a.datagram);
                }
            }
        }
    }
}

/// How much was written, when 0xee is what nobody wrote.
fn written(out: &[u8]) -> usize {
    out.iter().rposition(|&octet| octet != 0xee).map_or(0, |at| at + 1)
}

#[test]
fn gate() {
    rounds("gate", 0.5, 60, |d| {
        let mut life = Life::new(d);
        for _ in 0..500 {
            life.step(d);
        }
        let c = &life.b.counters;
        assert_eq!(life.passed + sum(&c.dropped) - c.dropped.batch, life.judged);
        assert!(life.waiting.len() <= 512);
    });
}

#[test]
fn headers() {
    rounds("headers", 0.1, 20_000, |d| {
        let p = match d.below(3) {
            0 => {
                let n = d.length();
                d.bytes(n)
            }
            1 => d.mutate(initial(&[1; 17], &[2; 20], &[3; 56], 1200)),
            _ => d.mutate(long(0xd0, 1, &[1; 20], &[2; 3], &[0x44, 0, 1])),
        };
        if let Some(h) = Invariant::parse(&p) {
            assert!(h.dcid.len() + h.scid.len() + 7 <= p.len());
            if let Some(l) = LongHeader::parse(&h) {
                assert!(l.dcid.len() <= 20 && l.scid.len() <= 20);
                assert!(l.dcid.len() + l.scid.len() + l.token.len() + l.protected.len() + 8 <= p.len());
            }
        }
    });
}

#[test]
fn ids() {
    rounds("ids", 0.1, 5_000, |d| {
        let (node, worker) = (d.next() as u32, d.next() as u8);
        let mut codec = CidCodec::new(&d.bytes(16), node, worker).unwrap();
        let parts = CidParts {
            worker_id: worker,
            slot: d.next() as u32 & 0xff_ffff,
            generation: d.next() as u32 & 0xff_ffff,
            sequence: d.next() as u8,
        };
        let id = codec.encode(parts.slot, parts.generation, parts.sequence);
        assert_eq!(codec.decode(&id), Some(parts));
        let changed = d.mutate(id.to_vec());
        if let Some(found) = codec.decode(&changed) {
            // Nobody finds another block of ours by chance; what is the same is the same.
            assert_eq!((changed, found), (id.to_vec(), parts));
        }
    });
}

#[test]
fn slots() {
    rounds("slots", 0.1, 200, |d| {
        let limit = 1 + d.below(40) as u32;
        let mut pool = SlotPool::new(d.next() as u32, limit);
        let mut held: Vec<(u32, u32)> = Vec::new();
        for _ in 0..300 {
            if d.one_in(2) && !held.is_empty() {
                pool.give(held.swap_remove(d.below(held.len())).0);
            } else if let Some(t) = pool.take() {
                assert!(t.0 < limit && t.1 <= 0xff_ffff && held.iter().all(|h| h.0 != t.0));
                held.push(t);
            } else {
                assert_eq!(held.len(), limit as usize);
            }
        }
    });
}

#[test]
fn tokens() {
    rounds("tokens", 0.1, 3_000, |d| {
        let keys: Vec<Key> = (0..=d.below(3)).map(|_| Key(d.bytes(32))).collect();
        let mut k = TokenKeys::new(&keys).unwrap();
        let from = *d.pick(&["192.0.2.1:1", "[2001:db8::1]:65535"].map(at));
        let (id, n, wall) = (d.bytes(CID_LENGTH), d.below(21), d.next() >> 17);
        let odcid = d.bytes(n);
        let token = k.seal(&from, &id, &odcid, wall, &mut Random::new()).unwrap();
        assert_eq!(k.open(&token, &from, &id, wall), TokenVerdict::Valid(odcid));
        let changed = d.mutate(token.to_vec());
        if changed != token {
            let verdict = k.open(&changed, &from, &id, d.next());
            assert_eq!(verdict, if changed.first() == Some(&0xa5) { TokenVerdict::Invalid } else { TokenVerdict::None });
        }
        let n = d.below(30);
        let other = d.bytes(n);
        assert!(other == id || !matches!(k.open(&token, &from, &other, wall), TokenVerdict::Valid(_)));
    });
}

#[test]
fn limits_stay_within_their_rate_and_their_memory() {
    let start = Instant::now();
    rounds("limits", 0.1, 200, |d| {
        let (rate, burst) = (d.below(1_000) as f64, d.below(100) as f64);
        let mut now = start;
        let (mut one, mut many) = (TokenBucket::new(rate, burst, now), PrefixBuckets::new(rate, burst, now));
        let mut used = UsedTokens::with_limit(10, now);
        let (mut taken, mut shared) = (0.0, 0.0);
        for _ in 0..500 {
            // Time may stand still and run back; it gives nothing twice.
            now = match d.below(3) {
                0 => now + Duration::from_millis(d.next() % 50),
                1 => start.max(now.checked_sub(Duration::from_millis(d.next() % 50)).unwrap_or(start)),
                _ => now,
            };
            taken += f64::from(u8::from(one.take(now)));
            shared += f64::from(u8::from(many.take(&at("192.0.2.1:1"), now)));
            let token = d.bytes(TOKEN_LENGTH);
            assert!(used.claim(&token, now) && !used.claim(&token, now) && used.len() <= 20);
        }
        let most = burst + rate * 500.0 * 0.05;
        assert!(taken <= most && shared <= most);
    });
}
