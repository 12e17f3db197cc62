//! A ClientHello with a post-quantum key share takes two Initials, and a client sends both at once. What answers the first one, with a
//! Retry or a refusal, answers the client: the second one needs no answer, and counts as no other handshake.

use crate::packet::{Invariant, Kind, LongHeader};
use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;

/// Answers that one turn remembers.
const REMEMBERED: usize = 1024;

/// Clients whose Initial was answered in this turn.
#[derive(Default)]
pub struct Flights {
    hasher: RandomState,
    answered: HashSet<u64>,
}

impl Flights {
    /// What the Initials of one flight have in common: where they come from, their ids and their token.
    pub fn name(&self, datagram: &[u8], from: SocketAddr) -> Option<u64> {
        let invariant = Invariant::parse(datagram)?;
        let h = LongHeader::parse(&invariant).filter(|h| h.kind == Kind::Initial)?;
        Some(self.hasher.hash_one((from, h.dcid, h.scid, h.token)))
    }

    pub fn is_answered(&self, datagram: &[u8], from: SocketAddr) -> bool {
        !self.answered.is_empty() && self.name(datagram, from).is_some_and(|n| self.answered.contains(&n))
    }

    pub fn answered(&mut self, datagram: &[u8], from: SocketAddr) {
        if self.answered.len() < REMEMBERED
            && let Some(name) = self.name(datagram, from)
        {
            self.answered.insert(name);
        }
    }

    pub fn clear(&mut self) {
        self.answered.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Initial of version 1, as far as anybody can read it.
    fn initial(first: u8, dcid: u8, token: &[u8], filler: u8) -> Vec<u8> {
        let mut p = vec![first, 0, 0, 0, 1, 8];
        p.extend([dcid; 8]);
        p.extend([2, 5, 5, token.len() as u8]);
        p.extend(token);
        p.extend([0x44, 0x00]);
        p.extend([filler; 1024]);
        p
    }

    #[test]
    fn what_differs_under_protection_alone_is_the_same_flight() {
        let from: SocketAddr = "192.0.2.1:1000".parse().unwrap();
        let mut f = Flights::default();
        assert!(!f.is_answered(&initial(0xc0, 1, b"", 9), from));
        f.answered(&initial(0xc0, 1, b"", 9), from);
        assert!(f.is_answered(&initial(0xc3, 1, b"", 7), from));
        for (p, from) in [
            (initial(0xc0, 2, b"", 9), from),
            (initial(0xc0, 1, b"token", 9), from),
            (initial(0xd0, 1, b"", 9), from),
            (initial(0xc0, 1, b"", 9), "192.0.2.1:1001".parse().unwrap()),
        ] {
            assert!(!f.is_answered(&p, from));
        }
        f.clear();
        assert!(!f.is_answered(&initial(0xc0, 1, b"", 9), from));
    }

    #[test]
    fn no_more_is_remembered_than_a_turn_needs() {
        let mut f = Flights::default();
        for port in 0..5000 {
            f.answered(&initial(0xc0, 1, b"", 9), SocketAddr::from(([192, 0, 2, 1], port)));
        }
        assert_eq!(f.answered.len(), REMEMBERED);
    }
}
