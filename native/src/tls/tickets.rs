//! Session tickets. A ticket never crosses a policy: what judges clients is part of its key.
//!
//! ```text
//! key name (16) | salt (16) | AES-256-GCM(deadline (8), session) | tag (16)
//! ```
//! Each ticket is sealed under a key of its own, HMAC-SHA256(secret, salt): an installation's keys serve all its nodes, and random
//! nonces of 12 bytes under one key would not carry that many tickets.

use crate::options::{ClientAuth, Key, TlsEntry};
use boring::error::ErrorStack;
use boring::hash::{MessageDigest, hmac_sha256};
use boring::hkdf::HkdfSuite;
use boring::memcmp;
use boring::rand::rand_bytes;
use boring::sha::sha256;
use boring::symm::{Cipher, decrypt_aead, encrypt_aead};

pub const KEY_BYTES: usize = 48;
const NAME: usize = 16;
const SALT: usize = 16;
const TAG: usize = 16;
const DEADLINE: usize = 8;
/// What a ticket has beside the session.
pub const OVERHEAD: usize = NAME + SALT + DEADLINE + TAG;
/// A session with a long chain of the client's is not worth a ClientHello of many packets.
pub const MAX_TICKET: usize = 8 * 1024;
/// How long after its full handshake, by which alone certificates are judged, a session may be resumed; in seconds.
pub const LIFETIME: u64 = 24 * 60 * 60;
/// A key is used once, see above.
const NONCE: [u8; 12] = [0; 12];

/// What a ticket must not cross, in one line.
pub fn policy(entry: &TlsEntry) -> String {
    let auth = match entry.client_auth {
        ClientAuth::None => "none",
        ClientAuth::Request => "request",
        ClientAuth::Require => "require",
    };
    let ca = hex(&sha256(entry.ca.as_deref().unwrap_or("").as_bytes()));
    let alpn = serde_json::Value::from(entry.alpn.clone());
    format!("ticket {auth} {} {ca} {alpn}", entry.early_data)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

struct TicketKey {
    name: [u8; NAME],
    secret: [u8; KEY_BYTES - NAME],
}

/// The keys of one entry: the first seals, all open.
pub struct TicketKeys(Vec<TicketKey>);

impl TicketKeys {
    /// Keys of KEY_BYTES, each bound to the policy.
    pub fn derive(policy: &str, keys: &[Key]) -> Result<Self, ErrorStack> {
        keys.iter().map(|k| derive(policy, &k.0)).collect::<Result<_, _>>().map(TicketKeys)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// None: no ticket, for want of a key or because it would be too large.
    pub fn seal(&self, deadline: u64, session: &[u8]) -> Option<Vec<u8>> {
        let key = self.0.first()?;
        if session.len() + OVERHEAD > MAX_TICKET {
            return None;
        }
        let mut salt = [0; SALT];
        rand_bytes(&mut salt).ok()?;
        let mut plain = Vec::with_capacity(DEADLINE + session.len());
        plain.extend_from_slice(&deadline.to_be_bytes());
        plain.extend_from_slice(session);
        let mut tag = [0; TAG];
        let once = hmac_sha256(&key.secret, &salt).ok()?;
        let sealed = encrypt_aead(Cipher::aes_256_gcm(), &once, Some(&NONCE), &key.name, &plain, &mut tag).ok()?;
        Some([&key.name[..], &salt, &sealed, &tag].concat())
    }

    /// The session and its deadline; None when no key of this entry sealed it or when it is too old.
    pub fn open(&self, ticket: &[u8], now: u64) -> Option<(u64, Vec<u8>)> {
        if ticket.len() < OVERHEAD || ticket.len() > MAX_TICKET {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (salt, rest) = rest.split_first_chunk::<SALT>()?;
        let (sealed, tag) = rest.split_last_chunk::<TAG>()?;
        let key = self.0.iter().find(|k| memcmp::eq(&k.name, name))?;
        let once = hmac_sha256(&key.secret, salt).ok()?;
        let mut plain = decrypt_aead(Cipher::aes_256_gcm(), &once, Some(&NONCE), name, sealed, tag).ok()?;
        let deadline = u64::from_be_bytes(*plain.first_chunk::<DEADLINE>()?);
        plain.drain(..DEADLINE);
        (now < deadline).then_some((deadline, plain))
    }
}

fn derive(policy: &str, key: &[u8]) -> Result<TicketKey, ErrorStack> {
    let hkdf = HkdfSuite::new(MessageDigest::sha256());
    let mut all = [0; KEY_BYTES];
    hkdf.expand(&hkdf.extract(b"", key)?, policy.as_bytes(), &mut all)?;
    let mut made = TicketKey { name: [0; NAME], secret: [0; KEY_BYTES - NAME] };
    let (name, secret) = all.split_at(NAME);
    made.name.copy_from_slice(name);
    made.secret.copy_from_slice(secret);
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> TlsEntry {
        TlsEntry {
            id: 1,
            certs: vec![],
            client_auth: ClientAuth::Require,
            ca: Some("CA \u{e9}\n".into()),
            alpn: vec!["h3".into(), "x\"\n".into()],
            early_data: false,
            ticket_keys: vec![],
        }
    }

    fn keys(policy: &str, of: &[u8]) -> TicketKeys {
        let keys: Vec<Key> = of.iter().map(|&n| Key(vec![n; KEY_BYTES])).collect();
        TicketKeys::derive(policy, &keys).unwrap()
    }

    #[test]
    fn keys_derive_as_those_of_the_other_engine() {
        let line = policy(&entry());
        let ca = "79bd371dde2b1c5d596f2556da2c19674076234505aa42b62e874c9711a91356";
        assert_eq!(line, format!("ticket require false {ca} [\"h3\",\"x\\\"\\n\"]"));
        let TicketKeys(made) = keys(&line, &[7]);
        assert_eq!(hex(&made[0].name), "15aa4ad3a3277948a912632a0f68ab91");
        assert_eq!(hex(&made[0].secret), "2d8d6799c5ea60cd6012aee48505cde7c055f645b5a952c98455bdc7468e1d2f");
    }

    #[test]
    fn whatever_judges_clients_is_part_of_the_policy() {
        let e = entry();
        let others = [
            TlsEntry { client_auth: ClientAuth::Request, ..e.clone() },
            TlsEntry { client_auth: ClientAuth::None, ..e.clone() },
            TlsEntry { ca: Some("other".into()), ..e.clone() },
            TlsEntry { ca: None, ..e.clone() },
            TlsEntry { alpn: vec!["h3".into()], ..e.clone() },
            TlsEntry { early_data: true, ..e.clone() },
        ];
        for other in others {
            assert_ne!(policy(&e), policy(&other));
        }
        assert_eq!(policy(&e), policy(&TlsEntry { id: 2, ..e.clone() }));
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (old, both, new) = (keys("p", &[1]), keys("p", &[2, 1]), keys("p", &[2]));
        let (first, second) = (old.seal(100, b"session").unwrap(), both.seal(100, b"session").unwrap());
        assert_eq!(both.open(&first, 99), Some((100, b"session".to_vec())));
        assert_eq!(new.open(&second, 99), Some((100, b"session".to_vec())));
        assert_eq!((old.open(&second, 99), new.open(&first, 99)), (None, None));
        assert_eq!(keys("q", &[1]).open(&first, 99), None);
        assert_eq!((keys("p", &[]).seal(100, b"session"), keys("p", &[]).open(&first, 99)), (None, None));
    }

    #[test]
    fn a_ticket_ends_at_its_deadline() {
        let k = keys("p", &[1]);
        let t = k.seal(100, b"session").unwrap();
        assert!(k.open(&t, 99).is_some());
        assert_eq!((k.open(&t, 100), k.open(&t, u64::MAX)), (None, None));
    }

    #[test]
    fn no_ticket_is_like_another_and_none_is_open_to_change() {
        let k = keys("p", &[1]);
        let t = k.seal(100, b"session").unwrap();
        assert_eq!(t.len(), OVERHEAD + 7);
        assert_ne!(t, k.seal(100, b"session").unwrap());
        for n in 0..t.len() {
            assert_eq!(k.open(&t[..n], 0), None);
            let mut bad = t.clone();
            bad[n] ^= 1;
            assert_eq!(k.open(&bad, 0), None);
        }
        assert_eq!(k.open(&[&t[..], b"x"].concat(), 0), None);
    }

    #[test]
    fn there_is_an_end_to_its_length() {
        let k = keys("p", &[1]);
        let largest = k.seal(100, &vec![1; MAX_TICKET - OVERHEAD]).unwrap();
        assert_eq!(largest.len(), MAX_TICKET);
        assert!(k.open(&largest, 0).is_some());
        assert_eq!(k.seal(100, &vec![1; MAX_TICKET - OVERHEAD + 1]), None);
        assert_eq!(k.open(&vec![1; 1 << 20], 0), None);
        assert!(k.open(&k.seal(100, b"").unwrap(), 0).is_some());
    }
}
