//! What the gate is made of, piece by piece.

use crate::dice::rounds;
use crate::kit::*;
use spooky_quic::ids::{CID_LENGTH, CidCodec, CidParts, Random, SlotPool};
use spooky_quic::limits::{PrefixBuckets, TokenBucket};
use spooky_quic::options::Key;
use spooky_quic::packet::{Invariant, LongHeader};
use spooky_quic::tokens::{TOKEN_LENGTH, TokenKeys, TokenVerdict, UsedTokens};
use std::time::{Duration, Instant};

#[test]
fn headers() {
    rounds("headers", 0.06, 20_000, |d| {
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
    rounds("ids", 0.06, 5_000, |d| {
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
    rounds("slots", 0.06, 200, |d| {
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
    rounds("tokens", 0.06, 3_000, |d| {
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
    rounds("limits", 0.06, 200, |d| {
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
