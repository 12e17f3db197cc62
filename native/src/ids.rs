//! Connection ids of 17 bytes, stateless reset tokens, and the slots that ids name.
//!
//! ```text
//! octet 0        3 bits key rotation, 5 bits worker mod 32, in clear: `steering` goes by it
//! octets 1..16   AES-128-ECB( node u32 | worker u8 | slot u24 | generation u24 | sequence u8 | random u32 )
//! ```
//!
//! The single-pass form of draft-ietf-quic-load-balancers: a server id of 4 bytes and a nonce of 12. Sequence and random part make
//! every id of one connection different; slot and generation name it inside its worker.

use boring::hash::hmac_sha256;
use boring::rand::rand_bytes;
use boring::symm::{Cipher, Crypter, Mode};
use std::collections::VecDeque;
use std::net::SocketAddr;

pub const CID_LENGTH: usize = 17;
/// Never a slot of a connection: ids that a Retry hands out before there is one.
pub const NO_SLOT: u32 = 0xff_ffff;
pub const MAX_SLOTS: u32 = 0xff_ffff;

const BLOCK: usize = 16;
const U24: u32 = 0x100_0000;

pub type Cid = [u8; CID_LENGTH];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CidParts {
    pub worker_id: u8,
    pub slot: u32,
    pub generation: u32,
    pub sequence: u8,
}

pub struct CidCodec {
    node_id: u32,
    worker_id: u8,
    rotation: u8,
    // One context for all ids: making one costs many times the block.
    seal: Crypter,
    open: Crypter,
    random: Random,
}

impl CidCodec {
    pub fn new(key: &[u8], node_id: u32, worker_id: u8) -> Result<Self, String> {
        Self::rotated(key, node_id, worker_id, 0)
    }

    pub fn rotated(key: &[u8], node_id: u32, worker_id: u8, rotation: u8) -> Result<Self, String> {
        if key.len() != BLOCK {
            return Err("cid.key: 16 bytes wanted".into());
        }
        if rotation > 7 {
            return Err("cid.rotation: not 0 to 7".into());
        }
        let (seal, open) = (ecb(Mode::Encrypt, key)?, ecb(Mode::Decrypt, key)?);
        Ok(CidCodec { node_id, worker_id, rotation, seal, open, random: Random::new() })
    }

    pub fn worker_id(&self) -> u8 {
        self.worker_id
    }

    /// A new id with a random part of its own.
    pub fn encode(&mut self, slot: u32, generation: u32, sequence: u8) -> Cid {
        let random = self.random.number();
        self.encode_with(slot, generation, sequence, random)
    }

    pub fn encode_with(&mut self, slot: u32, generation: u32, sequence: u8, random: u32) -> Cid {
        let mut b = [0; BLOCK];
        b[..4].copy_from_slice(&self.node_id.to_be_bytes());
        b[4] = self.worker_id;
        b[5..8].copy_from_slice(&slot.to_be_bytes()[1..]);
        b[8..11].copy_from_slice(&generation.to_be_bytes()[1..]);
        b[11] = sequence;
        b[12..].copy_from_slice(&random.to_be_bytes());
        let mut out = [0; CID_LENGTH];
        out[0] = self.rotation << 5 | self.worker_id & 31;
        out[1..].copy_from_slice(&one_block(&mut self.seal, &b));
        out
    }

    /// None when no worker of this node gave it out. `id` is exactly 17 bytes.
    pub fn decode(&mut self, id: &[u8]) -> Option<CidParts> {
        let (first, sealed) = id.split_first()?;
        let sealed: &[u8; BLOCK] = sealed.try_into().ok()?;
        if first >> 5 != self.rotation {
            return None;
        }
        let b = one_block(&mut self.open, sealed);
        let node = u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
        if node != self.node_id || b[4] & 31 != first & 31 {
            return None;
        }
        Some(CidParts {
            worker_id: b[4],
            slot: u32::from_be_bytes([0, b[5], b[6], b[7]]),
            generation: u32::from_be_bytes([0, b[8], b[9], b[10]]),
            sequence: b[11],
        })
    }
}

fn ecb(mode: Mode, key: &[u8]) -> Result<Crypter, String> {
    let mut c = Crypter::new(Cipher::aes_128_ecb(), mode, key, None).map_err(|e| format!("cid.key: {e}"))?;
    c.pad(false);
    Ok(c)
}

/// One block through a context without padding, which keeps nothing between calls.
fn one_block(c: &mut Crypter, block: &[u8; BLOCK]) -> [u8; BLOCK] {
    let mut out = [0; 2 * BLOCK];
    let n = c.update(block, &mut out).expect("AES on one whole block cannot fail");
    debug_assert_eq!(n, BLOCK);
    let mut first = [0; BLOCK];
    first.copy_from_slice(&out[..BLOCK]);
    first
}

/// One block of AES-128 under a key that is used once.
pub(crate) fn aes_once(key: &[u8], block: &[u8; BLOCK]) -> Option<[u8; BLOCK]> {
    ecb(Mode::Encrypt, key).ok().map(|mut c| one_block(&mut c, block))
}

/// HMAC-SHA256(key, id), the first 16 bytes: from a key that survives restarts, so that a new process can reset what the old one left.
pub fn reset_token(key: &[u8], id: &[u8]) -> [u8; 16] {
    let mac = hmac_sha256(key, id).expect("HMAC-SHA256 fails only where memory does");
    let mut out = [0; 16];
    out.copy_from_slice(&mac[..16]);
    out
}

/// Slots reused oldest first, each with its generation. Generations start at random, so that a restarted process does not take the
/// ids of its predecessor for its own but resets them.
pub struct SlotPool {
    first: u32,
    limit: usize,
    generations: Vec<u32>,
    freed: VecDeque<u32>,
}

impl SlotPool {
    pub fn new(first_generation: u32, limit: u32) -> Self {
        SlotPool { first: first_generation % U24, limit: limit.min(MAX_SLOTS) as usize, generations: Vec::new(), freed: VecDeque::new() }
    }

    /// A slot and its generation; None when all are taken.
    pub fn take(&mut self) -> Option<(u32, u32)> {
        if let Some(slot) = self.freed.pop_front() {
            let generation = self.generations.get_mut(slot as usize)?;
            *generation = (*generation + 1) % U24;
            return Some((slot, *generation));
        }
        if self.generations.len() >= self.limit {
            return None;
        }
        self.generations.push(self.first);
        Some((self.generations.len() as u32 - 1, self.first))
    }

    /// A slot that `take` gave, once.
    pub fn give(&mut self, slot: u32) {
        debug_assert!((slot as usize) < self.generations.len());
        self.freed.push_back(slot);
    }
}

/// A client in its handshake: its address and the first id that it chose.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct YoungKey(pub SocketAddr, pub Vec<u8>);

const POOL: usize = 1024;

/// Random bytes in batches: asking for a few costs as much as asking for many.
pub struct Random {
    pool: [u8; POOL],
    at: usize,
}

impl Random {
    pub fn new() -> Self {
        Random { pool: [0; POOL], at: POOL }
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    pub fn fill(&mut self, out: &mut [u8]) {
        for part in out.chunks_mut(POOL) {
            if self.at + part.len() > POOL {
                rand_bytes(&mut self.pool).expect("RAND_bytes ends the process itself when it has none");
                self.at = 0;
            }
            let end = self.at + part.len();
            part.copy_from_slice(&self.pool[self.at..end]);
            self.pool[self.at..end].fill(0);
            self.at = end;
        }
    }

    pub fn number(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    /// Below `n`, which is small: the bias of the remainder is of no account.
    pub fn below(&mut self, n: usize) -> usize {
        self.number() as usize % n.max(1)
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const KEY: [u8; 16] = [9; 16];

    fn codec(node: u32, worker: u8) -> CidCodec {
        CidCodec::new(&KEY, node, worker).unwrap()
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let mut r = Random::new();
        for _ in 0..2_000 {
            let worker_id = r.number() as u8;
            let mut c = codec(r.number(), worker_id);
            let parts = CidParts { worker_id, slot: r.number() % U24, generation: r.number() % U24, sequence: r.number() as u8 };
            let id = c.encode(parts.slot, parts.generation, parts.sequence);
            assert_eq!(c.decode(&id), Some(parts));
        }
    }

    #[test]
    fn other_workers_are_told_apart_and_other_nodes_and_keys_are_strangers() {
        let mut ours = codec(1, 2);
        assert_eq!(ours.decode(&codec(1, 34).encode(5, 6, 0)).unwrap().worker_id, 34);
        assert_eq!(ours.decode(&codec(2, 2).encode(5, 6, 0)), None);
        assert_eq!(ours.decode(&CidCodec::new(&[1; 16], 1, 2).unwrap().encode(5, 6, 0)), None);
        assert_eq!(ours.decode(&CidCodec::rotated(&KEY, 1, 2, 3).unwrap().encode(5, 6, 0)), None);
    }

    #[test]
    fn a_flipped_bit_or_another_length_is_another_id() {
        let mut c = codec(1, 2);
        // A block of which 35 bits are checked: with a fixed random part the outcome is fixed, too.
        let id = c.encode_with(5, 6, 0, 7);
        for bit in 0..CID_LENGTH * 8 {
            let mut bad = id;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(c.decode(&bad), None, "bit {bit}");
        }
        for n in 0..40 {
            let bytes: Vec<u8> = id.iter().copied().chain([0; 40]).take(n).collect();
            assert_eq!(c.decode(&bytes).is_some(), n == CID_LENGTH);
        }
    }

    #[test]
    fn no_two_ids_of_a_connection_are_alike() {
        let mut c = codec(1, 2);
        let seen: HashSet<Cid> = (0..2_000).map(|_| c.encode(5, 6, 0)).collect();
        assert_eq!(seen.len(), 2_000);
    }

    #[test]
    fn wrong_keys_are_refused_by_name() {
        assert!(CidCodec::new(&[0; 15], 1, 2).err().unwrap().contains("cid.key"));
        assert!(CidCodec::rotated(&KEY, 1, 2, 8).err().unwrap().contains("cid.rotation"));
    }

    #[test]
    fn slots_are_reused_oldest_first_with_the_next_generation() {
        let mut p = SlotPool::new(0xff_ffff, 100);
        assert_eq!([p.take(), p.take(), p.take()], [Some((0, 0xff_ffff)), Some((1, 0xff_ffff)), Some((2, 0xff_ffff))]);
        p.give(1);
        p.give(0);
        assert_eq!([p.take(), p.take(), p.take()], [Some((1, 0)), Some((0, 0)), Some((3, 0xff_ffff))]);
    }

    #[test]
    fn slots_run_out_instead_of_repeating_themselves() {
        let mut p = SlotPool::new(1, 3);
        assert_eq!((0..4).map(|_| p.take().map(|t| t.0)).collect::<Vec<_>>(), [Some(0), Some(1), Some(2), None]);
        p.give(2);
        assert_eq!(p.take(), Some((2, 2)));
    }

    #[test]
    fn a_long_life_of_slots_stays_small_and_unique() {
        let mut p = SlotPool::new(0, MAX_SLOTS);
        let mut held = VecDeque::new();
        for _ in 0..20_000 {
            let taken = p.take().unwrap();
            assert!(!held.iter().any(|&(slot, _)| slot == taken.0));
            held.push_back(taken);
            if held.len() > 50 {
                p.give(held.pop_front().unwrap().0);
            }
        }
        assert!(p.generations.len() < 60);
    }

    #[test]
    fn random_bytes_never_come_twice() {
        let mut r = Random::new();
        let seen: HashSet<[u8; 12]> = (0..1_000).map(|_| r.bytes()).collect();
        assert_eq!(seen.len(), 1_000);
        let mut long = [0; 3_000];
        r.fill(&mut long);
        assert!(long.chunks(100).all(|c| c.iter().any(|&b| b != 0)));
        assert!((0..1_000).all(|_| r.below(20) < 20) && r.below(0) == 0);
    }
}
