//! Numbers from a seed, and the rounds that are made of them.

use spooky_quic::ids::Random;
use std::time::{Duration, Instant};

/// splitmix64: the same numbers on every machine.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Lengths at which something begins or ends, and any other.
    pub fn length(&mut self) -> usize {
        match self.below(4) {
            0 => self.below(64),
            1 => *self.pick(&[0, 1, 6, 7, 17, 18, 21, 22, 43, 44, 1199, 1200, 1201, 1500, 65_527]),
            _ => self.below(1_600),
        }
    }

    /// One to four changes: a bit, an octet, a cut, a repetition, more at the end.
    pub fn mutate(&mut self, mut p: Vec<u8>) -> Vec<u8> {
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
pub fn rounds(name: &str, share: f64, count: u64, mut round: impl FnMut(&mut Dice)) {
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
