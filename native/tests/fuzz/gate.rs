//! Datagrams at the gate, in the middle of its life.

use crate::dice::{Dice, rounds};
use crate::kit::*;
use spooky_quic::counters::{Counters, Dropped};
use spooky_quic::gate::{Arrival, Verdict, Waiting};
use spooky_quic::ids::{CID_LENGTH, CidCodec, NO_SLOT};
use spooky_quic::options::{EndpointKeys, Key, RetryMode};
use spooky_quic::packet::MIN_INITIAL;
use spooky_quic::tokens::TOKEN_LENGTH;
use std::net::SocketAddr;

/// Of every reason: a new one does not compile.
#[rustfmt::skip]
fn sum(d: &Dropped) -> u64 {
    let Dropped {
        empty, malformed, short_initial, short_version, version_limited, unknown_connection, token, token_expired,
        address_limit, handshake_rate, half_open, connections, draining, foreign, batch,
    } = d;
    empty + malformed + short_initial + short_version + version_limited + unknown_connection + token + token_expired
        + address_limit + handshake_rate + half_open + connections + draining + foreign + batch
}

/// A gate in the middle of its life, and what came of its datagrams.
pub struct Life {
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
    pub fn new(d: &mut Dice) -> Self {
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
        match d.below(8) {
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

    pub fn packet(&mut self, d: &mut Dice) -> Vec<u8> {
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
            Verdict::Wait => {
                let (from, forwarded, at) = (self.b.from, self.b.forwarded, self.b.now);
                self.waiting.push(Arrival { datagram: p.to_vec(), from, to: from, forwarded, at }, &mut self.b.counters);
            }
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
        if d.one_in(20) {
            self.orphan(&p);
        }
        self.judge(&p);
    }

    /// As if another worker had owned it, and had gone.
    fn orphan(&mut self, p: &[u8]) {
        let mut counters = Counters::default();
        match self.b.gate.orphan(p, &mut counters, self.b.now, &mut self.b.out) {
            Verdict::Answer(n) => assert!(n < p.len() && p[0] & 0x80 == 0 && counters.answered.reset == 1),
            other => assert!(other == Verdict::Drop && counters.answered.reset == 0),
        }
        assert_eq!(sum(&counters.dropped), 1);
    }

    fn change(&mut self, d: &mut Dice) {
        match d.below(8) {
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
            5 => {
                let count = d.below(4);
                self.b.gate.succeed(d.bytes(count));
            }
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
    rounds("gate", 0.3, 60, |d| {
        let mut life = Life::new(d);
        for _ in 0..500 {
            life.step(d);
        }
        let c = &life.b.counters;
        assert_eq!(life.passed + sum(&c.dropped) - c.dropped.batch, life.judged);
        assert!(life.waiting.len() <= 4096);
    });
}
