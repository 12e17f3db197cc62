//! Retry tokens: proof that a client receives at its address, kept by the client and not by us.
//!
//! ```text
//! kind u8 (0xa5) | nonce 12 | AES-256-GCM( time u48 | odcid length u8 | odcid 20 ) | tag 16
//! authenticated beside it: kind, the client's address and port, the id that the Retry handed out
//! ```
//!
//! All tokens have one length, so that a cut one is seen before any cryptography. GCM compares its tag in constant time.

use crate::address;
use crate::ids::Random;
use crate::options::Key;
use crate::packet::MAX_CID;
use boring::aead::{AeadCtx, Algorithm};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const KIND_RETRY: u8 = 0xa5;
const NONCE: usize = 12;
const BODY: usize = 6 + 1 + MAX_CID;
const TAG: usize = 16;
const BOUND: usize = 1 + address::ADDRESS_LENGTH + MAX_CID;
pub const TOKEN_LENGTH: usize = 1 + NONCE + BODY + TAG;
/// A Retry is answered within a round trip; ten seconds is the most that anybody needs.
pub const TOKEN_LIFE_MS: u64 = 10_000;
/// Clocks of two nodes may differ by this much.
const SKEW_MS: u64 = 2_000;

pub type Token = [u8; TOKEN_LENGTH];

#[derive(Debug, PartialEq, Eq)]
pub enum TokenVerdict {
    /// There is none, or one of a kind that is not ours (RFC 9000 s8.1.3).
    None,
    Invalid,
    Expired,
    /// The first id that the client chose.
    Valid(Vec<u8>),
}

/// The first key seals; all open, so that rotation drops nobody.
pub struct TokenKeys {
    contexts: Vec<AeadCtx>,
}

impl TokenKeys {
    pub fn new(keys: &[Key]) -> Result<Self, String> {
        if keys.is_empty() {
            return Err("tokenKeys: at least one key wanted".into());
        }
        let contexts = keys.iter().map(context).collect::<Result<_, _>>()?;
        Ok(TokenKeys { contexts })
    }

    /// None only when an id is longer than 20 bytes.
    pub fn seal(&mut self, from: &SocketAddr, id: &[u8], odcid: &[u8], wall_ms: u64, random: &mut Random) -> Option<Token> {
        let (bound, used) = bound(from, id)?;
        let mut token = [0; TOKEN_LENGTH];
        let (head, rest) = token.split_at_mut(1 + NONCE);
        let (body, tag) = rest.split_at_mut(BODY);
        head[0] = KIND_RETRY;
        random.fill(&mut head[1..]);
        body[..6].copy_from_slice(&wall_ms.to_be_bytes()[2..]);
        body[6] = odcid.len() as u8;
        body[7..].get_mut(..odcid.len())?.copy_from_slice(odcid);
        self.contexts.first_mut()?.seal_in_place_mut(&head[1..], body, tag, &bound[..used]).ok()?;
        Some(token)
    }

    /// What a token is worth from this address on an Initial with destination `id`.
    pub fn open(&mut self, token: &[u8], from: &SocketAddr, id: &[u8], wall_ms: u64) -> TokenVerdict {
        if token.first() != Some(&KIND_RETRY) {
            return TokenVerdict::None;
        }
        let (Ok(token), Some((bound, used))) = (<&Token>::try_from(token), bound(from, id)) else {
            return TokenVerdict::Invalid;
        };
        let (nonce, sealed) = token[1..].split_at(NONCE);
        let (sealed, tag) = sealed.split_at(BODY);
        for c in &mut self.contexts {
            let mut body = [0; BODY];
            body.copy_from_slice(sealed);
            if c.open_in_place_mut(nonce, &mut body, tag, &bound[..used]).is_ok() {
                return judge(&body, wall_ms);
            }
        }
        TokenVerdict::Invalid
    }
}

fn context(key: &Key) -> Result<AeadCtx, String> {
    if key.0.len() != 32 {
        return Err("tokenKeys: 32 bytes wanted".into());
    }
    AeadCtx::new_default_tag(&Algorithm::aes_256_gcm(), &key.0).map_err(|e| format!("tokenKeys: {e}"))
}

fn judge(body: &[u8; BODY], wall_ms: u64) -> TokenVerdict {
    let sealed_at = u64::from_be_bytes([0, 0, body[0], body[1], body[2], body[3], body[4], body[5]]);
    if wall_ms > sealed_at.saturating_add(TOKEN_LIFE_MS) || wall_ms.saturating_add(SKEW_MS) < sealed_at {
        return TokenVerdict::Expired;
    }
    match body[7..].get(..usize::from(body[6])) {
        Some(odcid) => TokenVerdict::Valid(odcid.to_vec()),
        None => TokenVerdict::Invalid,
    }
}

/// What a token is bound to, and how much of it is used.
fn bound(from: &SocketAddr, id: &[u8]) -> Option<([u8; BOUND], usize)> {
    let mut out = [0; BOUND];
    let (head, rest) = out.split_at_mut(1 + address::ADDRESS_LENGTH);
    head[0] = KIND_RETRY;
    head[1..].copy_from_slice(&address::encode(from));
    rest.get_mut(..id.len())?.copy_from_slice(id);
    Some((out, 1 + address::ADDRESS_LENGTH + id.len()))
}

const USED_LIMIT: usize = 65_536;

/// Which tokens were used: two halves that take turns, so that memory stays bounded and no used token outlives its time in here.
pub struct UsedTokens {
    young: HashSet<[u8; TAG]>,
    old: HashSet<[u8; TAG]>,
    turned_at: Instant,
    limit: usize,
}

impl UsedTokens {
    pub fn new(now: Instant) -> Self {
        Self::with_limit(USED_LIMIT, now)
    }

    pub fn with_limit(limit: usize, now: Instant) -> Self {
        UsedTokens { young: HashSet::new(), old: HashSet::new(), turned_at: now, limit }
    }

    /// False when this token, which is valid, was used before.
    pub fn claim(&mut self, token: &[u8], now: Instant) -> bool {
        let Some(tag) = token.last_chunk::<TAG>() else { return false };
        let half = Duration::from_millis(TOKEN_LIFE_MS + SKEW_MS);
        if now.saturating_duration_since(self.turned_at) > half || self.young.len() >= self.limit {
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
            self.turned_at = now;
        }
        !self.old.contains(tag) && self.young.insert(*tag)
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const ODCID: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
    const ID: [u8; 17] = [5; 17];

    fn keys(list: &[u8]) -> TokenKeys {
        TokenKeys::new(&list.iter().map(|&b| Key(vec![b; 32])).collect::<Vec<_>>()).unwrap()
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn from() -> SocketAddr {
        at("192.0.2.1:4433")
    }

    fn sealed(list: &[u8]) -> Token {
        keys(list).seal(&from(), &ID, &ODCID, NOW, &mut Random::new()).unwrap()
    }

    fn good() -> TokenVerdict {
        TokenVerdict::Valid(ODCID.to_vec())
    }

    #[test]
    fn a_good_one_gives_back_the_first_id() {
        let token = sealed(&[1, 2]);
        assert_eq!(keys(&[1, 2]).open(&token, &from(), &ID, NOW + 100), good());
        assert_eq!(keys(&[9, 1]).open(&token, &from(), &ID, NOW), good());
    }

    #[test]
    fn any_address_id_time_and_first_id() {
        let (mut k, mut r) = (keys(&[1]), Random::new());
        for i in 0..1_000_u32 {
            let ip: std::net::IpAddr = if i % 2 == 0 { r.bytes::<4>().into() } else { r.bytes::<16>().into() };
            let from = SocketAddr::new(ip, r.number() as u16);
            let (id, odcid, age) = (r.bytes::<17>(), r.bytes::<20>(), u64::from(r.number()) % (TOKEN_LIFE_MS + 1));
            let odcid = &odcid[..r.below(21)];
            let token = k.seal(&from, &id, odcid, NOW, &mut r).unwrap();
            assert_eq!(k.open(&token, &from, &id, NOW + age), TokenVerdict::Valid(odcid.to_vec()));
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let (token, mut k) = (sealed(&[1]), keys(&[1]));
        for bit in 0..TOKEN_LENGTH * 8 {
            let mut bad = token;
            bad[bit / 8] ^= 1 << (bit % 8);
            let want = if bit < 8 { TokenVerdict::None } else { TokenVerdict::Invalid };
            assert_eq!(k.open(&bad, &from(), &ID, NOW), want, "bit {bit}");
        }
    }

    #[test]
    fn every_prefix_and_every_longer_one_is_refused() {
        let (token, mut k) = (sealed(&[1]), keys(&[1]));
        let long: Vec<u8> = token.iter().copied().chain([0; 30]).collect();
        for n in (0..long.len()).filter(|&n| n != TOKEN_LENGTH) {
            let want = if n == 0 { TokenVerdict::None } else { TokenVerdict::Invalid };
            assert_eq!(k.open(&long[..n], &from(), &ID, NOW), want, "{n} bytes");
        }
    }

    #[test]
    fn another_address_port_or_id_is_refused() {
        let (token, mut k) = (sealed(&[1]), keys(&[1]));
        for other in ["192.0.2.2:4433", "192.0.2.1:4434", "[2001:db8::1]:4433"] {
            assert_eq!(k.open(&token, &at(other), &ID, NOW), TokenVerdict::Invalid);
        }
        for id in [&[6; 17][..], &ID[..16], &[5; 18], &[], &[5; 21]] {
            assert_eq!(k.open(&token, &from(), id, NOW), TokenVerdict::Invalid);
        }
    }

    #[test]
    fn ten_seconds_are_its_life_and_it_is_not_from_the_future() {
        let (token, mut k) = (sealed(&[1]), keys(&[1]));
        let mut open = |wall| k.open(&token, &from(), &ID, wall);
        assert_eq!(open(NOW + TOKEN_LIFE_MS), good());
        assert_eq!(open(NOW + TOKEN_LIFE_MS + 1), TokenVerdict::Expired);
        assert_eq!(open(NOW - SKEW_MS), good());
        assert_eq!(open(NOW - SKEW_MS - 1), TokenVerdict::Expired);
        assert_eq!(open(0), TokenVerdict::Expired);
        assert_eq!(open(u64::MAX), TokenVerdict::Expired);
    }

    #[test]
    fn rotation_keeps_the_older_key_and_forgets_the_oldest() {
        let old = sealed(&[2]);
        assert_eq!(keys(&[1, 2]).open(&old, &from(), &ID, NOW), good());
        assert_eq!(keys(&[3, 1]).open(&old, &from(), &ID, NOW), TokenVerdict::Invalid);
    }

    #[test]
    fn nonsense_of_other_kinds_counts_as_none() {
        let mut k = keys(&[1]);
        for text in ["", "{\"t\":1,\"odcid\":\"00\"}", "null", "A", "\0"] {
            assert_eq!(k.open(text.as_bytes(), &from(), &ID, NOW), TokenVerdict::None);
        }
    }

    #[test]
    fn ids_that_do_not_fit_are_not_sealed() {
        let (mut k, mut r) = (keys(&[1]), Random::new());
        assert!(k.seal(&from(), &[0; 21], &ODCID, NOW, &mut r).is_none());
        assert!(k.seal(&from(), &ID, &[0; 21], NOW, &mut r).is_none());
    }

    #[test]
    fn no_token_works_twice_while_it_lives_and_memory_is_bounded() {
        let start = Instant::now();
        let ms = |n| start + Duration::from_millis(n);
        let (token, mut used) = (sealed(&[1]), UsedTokens::with_limit(4, start));
        assert!(used.claim(&token, ms(0)));
        assert!(!used.claim(&token, ms(1)));
        assert!(!used.claim(&token, ms(TOKEN_LIFE_MS)));
        // Over the end of a half, it is still known.
        assert!(!used.claim(&token, ms(TOKEN_LIFE_MS + SKEW_MS + 1)));
        for _ in 0..20 {
            assert!(used.claim(&sealed(&[1]), ms(15_000)));
            assert!(used.len() <= 8);
        }
        assert!(!used.claim(&token[..3], ms(15_000)));
    }

    #[test]
    fn keys_of_the_wrong_length_or_none_are_refused() {
        for bad in [vec![], vec![Key(vec![0; 16])], vec![Key(vec![0; 32]), Key(vec![])]] {
            assert!(TokenKeys::new(&bad).err().unwrap().contains("tokenKeys"));
        }
    }
}
