//! What can be read of a packet without its keys: the invariants (RFC 8999) and the long headers of version 1 (RFC 9000 s17.2).
//! Everything is borrowed from the datagram, so that a flood of packets allocates nothing.

pub mod answers;

pub const QUIC_V1: u32 = 1;
pub const MAX_CID: usize = 20;
/// A datagram that carries an Initial is at least this long (RFC 9000 s14.1).
pub const MIN_INITIAL: usize = 1200;
/// The first destination id of a client has at least eight bytes (RFC 9000 s7.2).
pub const MIN_INITIAL_DCID: usize = 8;

pub fn is_long(first: u8) -> bool {
    first & 0x80 != 0
}

/// The bit that version 1 always sets.
pub fn is_fixed(first: u8) -> bool {
    first & 0x40 != 0
}

/// The part of a long header that every version has (RFC 8999 s5.1). Ids may be longer than version 1 allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invariant<'a> {
    pub first: u8,
    pub version: u32,
    pub dcid: &'a [u8],
    pub scid: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Invariant<'a> {
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (first, rest) = datagram.split_first()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (dcid, rest) = short_vector(rest)?;
        let (scid, rest) = short_vector(rest)?;
        Some(Invariant { first: *first, version: u32::from_be_bytes(*version), dcid, scid, rest })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Initial,
    ZeroRtt,
    Handshake,
}

/// A long header of version 1 up to its packet number. A server is never sent a Retry: that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongHeader<'a> {
    pub kind: Kind,
    pub dcid: &'a [u8],
    pub scid: &'a [u8],
    /// Only Initials have one.
    pub token: &'a [u8],
    /// Packet number and payload, as long as the header says.
    pub protected: &'a [u8],
}

impl<'a> LongHeader<'a> {
    /// None when the packet is none of version 1 or does not fit into the datagram.
    pub fn parse(h: &Invariant<'a>) -> Option<Self> {
        if h.version != QUIC_V1 || h.dcid.len() > MAX_CID || h.scid.len() > MAX_CID || !is_fixed(h.first) {
            return None;
        }
        let (kind, token, rest) = match h.first >> 4 & 3 {
            0 => {
                let (token, rest) = vector(h.rest)?;
                (Kind::Initial, token, rest)
            }
            1 => (Kind::ZeroRtt, &h.rest[..0], h.rest),
            2 => (Kind::Handshake, &h.rest[..0], h.rest),
            _ => return None,
        };
        let (protected, _) = vector(rest)?;
        Some(LongHeader { kind, dcid: h.dcid, scid: h.scid, token, protected })
    }
}

/// Bytes behind a length of one octet, and what follows them.
fn short_vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Bytes behind a variable-length integer (RFC 9000 s16), and what follows them.
fn vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = bytes.first()?;
    let (own, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let value = own.iter().skip(1).fold(u64::from(first & 0x3f), |v, &octet| v << 8 | u64::from(octet));
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(first: u8, version: u32, dcid: &[u8], scid: &[u8], rest: &[u8]) -> Vec<u8> {
        let mut p = vec![first];
        p.extend(version.to_be_bytes());
        for id in [dcid, scid] {
            p.push(id.len() as u8);
            p.extend(id);
        }
        p.extend(rest);
        p
    }

    fn parse(p: &[u8]) -> Option<LongHeader<'_>> {
        LongHeader::parse(&Invariant::parse(p)?)
    }

    #[test]
    fn every_form_of_length_is_read() {
        for (bytes, want) in [
            (&[0x25][..], 37),
            (&[0x40, 0x25], 37),
            (&[0x7b, 0xbd], 15_293),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
        ] {
            assert_eq!(varint(bytes), Some((want, &[][..])));
            for n in 0..bytes.len() {
                assert_eq!(varint(&bytes[..n]), None);
            }
        }
        assert_eq!(vector(&[0xff; 9]), None);
    }

    #[test]
    fn headers_of_version_1_are_taken_apart() {
        let p = long(0xc3, 1, &[1; 8], &[2; 5], &[3, 7, 7, 7, 4, 9, 9, 9, 9, 0xee]);
        let h = parse(&p).unwrap();
        assert_eq!((h.kind, h.dcid, h.scid), (Kind::Initial, &[1; 8][..], &[2; 5][..]));
        assert_eq!((h.token, h.protected), (&[7; 3][..], &[9; 4][..]));
        for (first, kind) in [(0xd0, Kind::ZeroRtt), (0xe0, Kind::Handshake)] {
            let p = long(first, 1, &[], &[], &[2, 5, 6]);
            assert_eq!(parse(&p).map(|h| (h.kind, h.token.len(), h.protected)), Some((kind, 0, &[5, 6][..])));
        }
    }

    #[test]
    fn what_is_none_of_version_1_is_refused() {
        let rest = &[0, 1, 9];
        assert!(parse(&long(0xc0, 1, &[1; 20], &[2; 20], rest)).is_some());
        for bad in [
            long(0xf0, 1, &[1; 8], &[2; 8], rest),
            long(0x80, 1, &[1; 8], &[2; 8], rest),
            long(0xc0, 2, &[1; 8], &[2; 8], rest),
            long(0xc0, 1, &[1; 21], &[2; 8], rest),
            long(0xc0, 1, &[1; 8], &[2; 21], rest),
            long(0xc0, 1, &[1; 8], &[2; 8], &[0, 2, 9]),
            long(0xc0, 1, &[1; 8], &[2; 8], &[2, 9]),
            long(0xc0, 1, &[1; 8], &[2; 8], &[0xff; 8]),
        ] {
            assert_eq!(parse(&bad), None);
        }
    }

    #[test]
    fn every_prefix_of_every_kind_is_refused_without_a_panic() {
        for (first, rest) in [(0xc0, &[2, 7, 7, 0x44, 0, 1][..]), (0xd0, &[0x44, 0, 1]), (0xe0, &[0x44, 0, 1])] {
            let mut whole = long(first, 1, &[1; 17], &[2; 20], rest);
            whole.resize(whole.len() - 1 + 1024, 5);
            for n in 0..whole.len() {
                assert_eq!(parse(&whole[..n]), None, "{first:x}: {n} bytes");
            }
            assert!(parse(&whole).is_some());
        }
    }

    #[test]
    fn every_first_octet_and_length_is_read_or_refused() {
        let zeros = [0; 64];
        for first in 0..=255_u8 {
            for n in 0..=64 {
                for fill in [0, 1, 0x40, 0xff] {
                    let mut p = [fill; 64];
                    p[0] = first;
                    p[1..5].copy_from_slice(&1_u32.to_be_bytes());
                    if let Some(h) = parse(&p[..n]) {
                        assert!(h.dcid.len() + h.scid.len() + h.token.len() + h.protected.len() < n);
                    }
                }
                assert_eq!(Invariant::parse(&zeros[..n]).is_some(), n >= 7);
            }
        }
    }

    #[test]
    fn ids_of_other_versions_may_be_long() {
        let p = long(0x80, 0xabcd_ef01, &[1; 200], &[2; 255], &[]);
        let h = Invariant::parse(&p).unwrap();
        assert_eq!((h.version, h.dcid.len(), h.scid.len()), (0xabcd_ef01, 200, 255));
    }
}
