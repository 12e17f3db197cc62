//! What is in a ticket, read and written with its key by a second implementation.

use boring::hash::{MessageDigest, hmac_sha256};
use boring::hkdf::HkdfSuite;
use boring::sha::sha256;
use boring::symm::{Cipher, decrypt_aead, encrypt_aead};
use spooky_quic::options::Key;

const NONCE: Option<&[u8]> = Some(&[0; 12]);

pub struct Reader {
    name: [u8; 16],
    secret: [u8; 32],
}

impl Reader {
    /// `auth` and the CA bundle are the entry's; its protocol is h3, without early data.
    pub fn new(key: &Key, auth: &str, ca: &str) -> Self {
        let ca: String = sha256(ca.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        let hkdf = HkdfSuite::new(MessageDigest::sha256());
        let mut all = [0; 48];
        let info = format!("ticket {auth} false {ca} [\"h3\"]");
        hkdf.expand(&hkdf.extract(b"", &key.0).unwrap(), info.as_bytes(), &mut all).unwrap();
        Reader { name: all[..16].try_into().unwrap(), secret: all[16..].try_into().unwrap() }
    }

    /// Where the ticket is, in a session as quiche keeps it: a DER length of one or two bytes is before it.
    fn find(&self, session: &[u8]) -> std::ops::Range<usize> {
        let at = session.windows(16).position(|w| w == self.name).unwrap();
        let length = match session[at - 3..at] {
            [0x82, high, low] => u16::from_be_bytes([high, low]),
            [_, 0x81, length] => length.into(),
            _ => panic!("no ticket"),
        };
        at..at + usize::from(length)
    }

    pub fn deadline(&self, session: &[u8]) -> u64 {
        u64::from_be_bytes(self.open(&session[self.find(session)])[..8].try_into().unwrap())
    }

    /// The same session with a ticket of another deadline.
    pub fn forge(&self, session: &[u8], deadline: u64) -> Vec<u8> {
        let span = self.find(session);
        let mut plain = self.open(&session[span.clone()]);
        plain[..8].copy_from_slice(&deadline.to_be_bytes());
        let salt = [9; 16];
        let mut tag = [0; 16];
        let key = hmac_sha256(&self.secret, &salt).unwrap();
        let sealed = encrypt_aead(Cipher::aes_256_gcm(), &key, NONCE, &self.name, &plain, &mut tag).unwrap();
        let mut made = session.to_vec();
        made[span].copy_from_slice(&[&self.name[..], &salt, &sealed, &tag].concat());
        made
    }

    fn open(&self, ticket: &[u8]) -> Vec<u8> {
        let (salt, sealed, tag) = (&ticket[16..32], &ticket[32..ticket.len() - 16], &ticket[ticket.len() - 16..]);
        let key = hmac_sha256(&self.secret, salt).unwrap();
        decrypt_aead(Cipher::aes_256_gcm(), &key, NONCE, &self.name, sealed, tag).unwrap()
    }
}
