//! The datagrams that are answered without any state. Every one is smaller than three times its trigger; a reset is smaller than it.

use super::{MAX_CID, QUIC_V1};
use crate::ids::{Random, aes_once};
use crate::tokens::Token;
use boring::aead::{AeadCtx, Algorithm};
use boring::error::ErrorStack;
use boring::hash::hmac_sha256;

pub const CONNECTION_REFUSED: u64 = 0x02;
pub const INVALID_TOKEN: u64 = 0x0b;

/// The smallest trigger that leaves room for a smaller reset of the least length, 5 + 16 bytes (RFC 9000 s10.3).
pub const MIN_RESET_TRIGGER: usize = 22;

const TAG: usize = 16;

/// What is written so far of an answer; None is: no room.
struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    fn new(out: &'a mut [u8]) -> Self {
        Writer { out, at: 0 }
    }

    fn room(&mut self, length: usize) -> Option<&mut [u8]> {
        let end = self.at.checked_add(length)?;
        let room = self.out.get_mut(self.at..end)?;
        self.at = end;
        Some(room)
    }

    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.room(bytes.len())?.copy_from_slice(bytes);
        Some(())
    }

    fn id(&mut self, id: &[u8]) -> Option<()> {
        self.put(&[u8::try_from(id.len()).ok()?])?;
        self.put(id)
    }

    fn written(&self) -> &[u8] {
        &self.out[..self.at]
    }
}

/// Version Negotiation (RFC 9000 s17.2.1): our one version, and a reserved one so that clients keep ignoring what they do not know.
pub fn version_negotiation(dcid: &[u8], scid: &[u8], random: &mut Random, out: &mut [u8]) -> Option<usize> {
    let mut w = Writer::new(out);
    let [first] = random.bytes();
    w.put(&[0x80 | first])?;
    w.put(&0_u32.to_be_bytes())?;
    w.id(scid)?;
    w.id(dcid)?;
    w.put(&QUIC_V1.to_be_bytes())?;
    w.put(&(random.number() & 0xf0f0_f0f0 | 0x0a0a_0a0a).to_be_bytes())?;
    Some(w.at)
}

const RETRY_KEY: [u8; 16] = [0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e];
const RETRY_NONCE: [u8; 12] = [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];

/// Writes Retries; the tag ties each to the client's first destination id (RFC 9001 s5.8).
pub struct RetryWriter {
    seal: AeadCtx,
}

impl RetryWriter {
    pub fn new() -> Result<Self, ErrorStack> {
        Ok(RetryWriter { seal: AeadCtx::new_default_tag(&Algorithm::aes_128_gcm(), &RETRY_KEY)? })
    }

    /// `dcid` and `scid` are those of the client's packet, `id` is what it shall use from now on. The pseudo-packet of the tag is
    /// what is written, with the first id in front.
    pub fn write(&mut self, dcid: &[u8], scid: &[u8], id: &[u8], token: &Token, out: &mut [u8]) -> Option<usize> {
        let mut pseudo = [0; 8 + 3 * MAX_CID + size_of::<Token>()];
        let mut w = Writer::new(&mut pseudo);
        w.id(dcid)?;
        let start = w.at;
        w.put(&[0xf0])?;
        w.put(&QUIC_V1.to_be_bytes())?;
        w.id(scid)?;
        w.id(id)?;
        w.put(token)?;
        let mut tag = [0; TAG];
        self.seal.seal_in_place_mut(&RETRY_NONCE, &mut [], &mut tag, w.written()).ok()?;
        let mut answer = Writer::new(out);
        answer.put(w.written().get(start..)?)?;
        answer.put(&tag)?;
        Some(answer.at)
    }
}

/// A stateless reset: looks like a short-header packet, always smaller than what triggered it (RFC 9000 s10.3.3).
pub fn stateless_reset(token: &[u8; 16], trigger: usize, random: &mut Random, out: &mut [u8]) -> Option<usize> {
    if trigger < MIN_RESET_TRIGGER {
        return None;
    }
    let size = if trigger <= 43 { trigger - 1 } else { 42 + random.below((trigger - 42).min(20)) };
    let (head, tail) = out.get_mut(..size)?.split_last_chunk_mut::<16>()?;
    random.fill(head);
    let first = head.first_mut()?;
    *first = 0x40 | *first & 0x3f;
    *tail = *token;
    Some(size)
}

const SALT_V1: [u8; 20] =
    [0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a];

/// HKDF-Expand-Label (RFC 8446 s7.1) for outputs of at most one HMAC block: the HkdfLabel with the block counter behind it.
fn expand<const N: usize>(secret: &[u8], label: &[u8]) -> Option<[u8; N]> {
    let mut info = [0; 32];
    let mut w = Writer::new(&mut info);
    w.put(&(N as u16).to_be_bytes())?;
    w.put(&[6 + u8::try_from(label.len()).ok()?])?;
    w.put(b"tls13 ")?;
    w.put(label)?;
    w.put(&[0, 1])?;
    let block = hmac_sha256(secret, w.written()).ok()?;
    block.first_chunk::<N>().copied()
}

/// An Initial with CONNECTION_CLOSE (RFC 9000 s10.2.3) for a client of which nothing else is kept: packet number 0 in two bytes, no
/// token, sealed with the keys that follow from the id that the client chose (RFC 9001 s5.2). Codes below 2^14.
pub fn initial_close(dcid: &[u8], scid: &[u8], code: u64, out: &mut [u8]) -> Option<usize> {
    let initial = hmac_sha256(&SALT_V1, dcid).ok()?;
    let secret: [u8; 32] = expand(&initial, b"server in")?;
    let key: [u8; 16] = expand(&secret, b"quic key")?;
    let iv: [u8; 12] = expand(&secret, b"quic iv")?;
    let hp: [u8; 16] = expand(&secret, b"quic hp")?;

    let mut frame = [0; 5];
    let mut f = Writer::new(&mut frame);
    f.put(&[0x1c])?;
    put_varint(&mut f, code)?;
    // No frame type, no reason.
    f.put(&[0, 0])?;

    let mut w = Writer::new(out);
    w.put(&[0xc1])?;
    w.put(&QUIC_V1.to_be_bytes())?;
    w.id(scid)?;
    w.id(dcid)?;
    w.put(&[0])?;
    w.put(&(0x4000 | (2 + f.at + TAG) as u16).to_be_bytes())?;
    let number_at = w.at;
    w.put(&[0, 0])?;
    let body_at = w.at;
    w.put(f.written())?;
    w.room(TAG)?;
    let size = w.at;
    seal(&key, &iv, out.get_mut(..size)?, body_at)?;
    hide(&hp, out.get_mut(..size)?, number_at)?;
    Some(size)
}

fn put_varint(w: &mut Writer<'_>, value: u64) -> Option<()> {
    match value {
        0..0x40 => w.put(&[value as u8]),
        0x40..0x4000 => w.put(&(0x4000 | value as u16).to_be_bytes()),
        _ => None,
    }
}

/// Packet number 0: the nonce is the IV.
fn seal(key: &[u8; 16], iv: &[u8; 12], packet: &mut [u8], body_at: usize) -> Option<()> {
    let (head, body) = packet.split_at_mut_checked(body_at)?;
    let (body, tag) = body.split_last_chunk_mut::<TAG>()?;
    let mut c = AeadCtx::new_default_tag(&Algorithm::aes_128_gcm(), key).ok()?;
    c.seal_in_place_mut(iv, body, tag, head).ok()?;
    Some(())
}

/// Header protection (RFC 9001 s5.4) over a packet number of two bytes.
fn hide(hp: &[u8; 16], packet: &mut [u8], number_at: usize) -> Option<()> {
    let sample = *packet.get(number_at + 4..)?.first_chunk::<16>()?;
    let mask = aes_once(hp, &sample)?;
    *packet.first_mut()? ^= mask[0] & 0x0f;
    for (octet, m) in packet.get_mut(number_at..number_at + 2)?.iter_mut().zip(&mask[1..]) {
        *octet ^= m;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Invariant, Kind, LongHeader};
    use crate::tokens::TOKEN_LENGTH;
    use boring::symm::{Cipher, decrypt_aead};

    const DCID: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
    const SCID: [u8; 4] = [0xa1, 0xa2, 0xa3, 0xa4];

    #[test]
    fn version_negotiation_swaps_the_ids_and_offers_version_1_and_a_reserved_one() {
        let (mut r, mut out) = (Random::new(), [0; 1500]);
        for _ in 0..50 {
            let n = version_negotiation(&DCID, &SCID, &mut r, &mut out).unwrap();
            let h = Invariant::parse(&out[..n]).unwrap();
            assert_eq!((h.first & 0x80, h.version, h.dcid, h.scid), (0x80, 0, &SCID[..], &DCID[..]));
            assert_eq!(out[19..23], [0, 0, 0, 1]);
            assert_eq!(out[23..27].iter().map(|b| b & 0x0f).collect::<Vec<_>>(), [10; 4]);
            assert_eq!(n, 27);
        }
        assert_eq!(version_negotiation(&[1; 255], &[2; 255], &mut r, &mut out), Some(525));
    }

    #[test]
    fn a_retry_is_what_quiche_would_write() {
        let (token, id) = ([7; TOKEN_LENGTH], [9; 17]);
        let (mut ours, mut theirs) = ([0; 1500], [0; 1500]);
        let n = RetryWriter::new().unwrap().write(&DCID, &SCID, &id, &token, &mut ours).unwrap();
        let [scid, dcid, new] = [&SCID[..], &DCID, &id].map(quiche::ConnectionId::from_ref);
        let m = quiche::retry(&scid, &dcid, &new, &token, QUIC_V1, &mut theirs).unwrap();
        assert_eq!(ours[..n], theirs[..m]);
    }

    #[test]
    fn a_refusal_is_an_initial_that_the_client_can_read() {
        let mut out = [0; 1500];
        for (code, frame) in [(0x02, &[0x1c, 2, 0, 0][..]), (0x0b, &[0x1c, 0x0b, 0, 0]), (0x178, &[0x1c, 0x41, 0x78, 0, 0])] {
            let n = initial_close(&DCID, &SCID, code, &mut out).unwrap();
            assert!(n < 100);
            let packet = &mut out[..n];
            let at = n - {
                let h = LongHeader::parse(&Invariant::parse(packet).unwrap()).unwrap();
                assert_eq!((h.kind, h.dcid, h.scid, h.token), (Kind::Initial, &SCID[..], &DCID[..], &[][..]));
                h.protected.len()
            };
            let initial = hmac_sha256(&SALT_V1, &DCID).unwrap();
            let secret: [u8; 32] = expand(&initial, b"server in").unwrap();
            hide(&expand(&secret, b"quic hp").unwrap(), packet, at).unwrap();
            assert_eq!((packet[0], &packet[at..at + 2]), (0xc1, &[0, 0][..]));
            let (head, body) = packet.split_at(at + 2);
            let (sealed, tag) = body.split_last_chunk::<16>().unwrap();
            let key: [u8; 16] = expand(&secret, b"quic key").unwrap();
            let iv: [u8; 12] = expand(&secret, b"quic iv").unwrap();
            assert_eq!(decrypt_aead(Cipher::aes_128_gcm(), &key, Some(&iv), head, sealed, tag).unwrap(), frame);
        }
        assert_eq!(initial_close(&DCID, &SCID, 0x4000, &mut out), None);
    }

    #[test]
    fn a_reset_is_smaller_than_its_trigger_at_least_21_bytes_and_ends_with_the_token() {
        let (mut r, mut out, token) = (Random::new(), [0; 1500], [6; 16]);
        for trigger in 0..2_000 {
            let n = stateless_reset(&token, trigger, &mut r, &mut out);
            assert_eq!(n.is_some(), trigger >= MIN_RESET_TRIGGER);
            let Some(n) = n else { continue };
            assert!((21..trigger).contains(&n), "{n} for {trigger}");
            assert_eq!((out[0] & 0xc0, &out[n - 16..n]), (0x40, &token[..]));
        }
    }

    #[test]
    fn without_room_there_is_no_answer() {
        let (mut r, token) = (Random::new(), [7; TOKEN_LENGTH]);
        let mut retries = RetryWriter::new().unwrap();
        let mut whole = [0; 200];
        let needed = [
            version_negotiation(&DCID, &SCID, &mut r, &mut whole).unwrap(),
            retries.write(&DCID, &SCID, &[9; 17], &token, &mut whole).unwrap(),
            initial_close(&DCID, &SCID, 2, &mut whole).unwrap(),
        ];
        for n in 0..*needed.iter().max().unwrap() {
            let out = &mut whole[..n];
            assert_eq!(version_negotiation(&DCID, &SCID, &mut r, out).is_some(), n >= needed[0]);
            assert_eq!(retries.write(&DCID, &SCID, &[9; 17], &token, out).is_some(), n >= needed[1]);
            assert_eq!(initial_close(&DCID, &SCID, 2, out).is_some(), n >= needed[2]);
        }
        assert_eq!(stateless_reset(&[0; 16], 1200, &mut r, &mut whole[..20]), None);
        assert_eq!(retries.write(&[1; 21], &[2; 21], &[9; 255], &token, &mut whole), None);
    }
}
