//! What is to be sent, in the order in which it was written, joined into runs.

use super::{MAX_DATAGRAM, MAX_MESSAGES, Pages};
use std::net::SocketAddr;

/// Datagrams of one GSO message: UDP_MAX_SEGMENTS of the kernels before 6.9.
const MAX_SEGMENTS: usize = 64;

/// Bytes of one GSO message: an IP packet, less its headers and what tunnels may add.
const MAX_JOINED: usize = 65_000;

/// So many runs wait at most: 16 calls of sendmmsg. Small ones to many peers fill this before they fill the arena.
const MAX_RUNS: usize = 1024;

/// Datagrams to be sent: one arena, runs of equal size between the same addresses leave as one GSO message.
///
/// ```text
/// arena  ....sent....|1200|1200|1200|700|40|1200|1200|......free......
/// runs                `-- a to b ------' `c'`-- a to d             ^used
///                     ^next
/// ```
pub struct Outbox {
    pub(super) arena: Pages,
    used: usize,
    runs: Vec<Run>,
    /// The first run that has not left.
    next: usize,
    sent: (u64, u64),
    refused: u64,
}

/// Datagrams of `segment` bytes each, one behind the other; the last one may be shorter.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    length: usize,
    segment: usize,
    from: SocketAddr,
    to: SocketAddr,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Joined,
    /// Refused as one message, perhaps because of the joining.
    Doubted,
    Single,
}

/// One message of a sendmmsg: a run, or one datagram of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Part {
    run: usize,
    start: usize,
    pub(super) length: usize,
    /// 0: one datagram.
    pub(super) segment: u16,
}

impl Part {
    pub(super) fn joined(&self) -> bool {
        self.segment != 0
    }

    fn datagrams(&self) -> u64 {
        if self.joined() { self.length.div_ceil(usize::from(self.segment)) as u64 } else { 1 }
    }
}

impl Run {
    /// All datagrams are of one size, but a shorter last one, which ends the run; empty ones would get lost in it.
    fn takes(&self, length: usize, from: &SocketAddr, to: &SocketAddr) -> bool {
        (1..=self.segment).contains(&length)
            && self.length.is_multiple_of(self.segment)
            && self.length / self.segment < MAX_SEGMENTS
            && self.length + length <= MAX_JOINED
            && self.to == *to
            && self.from == *from
    }

    fn single(&self) -> bool {
        self.length <= self.segment
    }
}

impl Outbox {
    /// Room for `bytes` of datagrams.
    pub fn new(bytes: usize) -> Self {
        Outbox {
            arena: Pages::new(bytes.max(MAX_DATAGRAM)),
            used: 0,
            runs: Vec::with_capacity(MAX_RUNS),
            next: 0,
            sent: (0, 0),
            refused: 0,
        }
    }

    /// Where the next datagram is written, MAX_DATAGRAM bytes or more; None when full: send first.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        self.room_for(MAX_DATAGRAM)
    }

    /// The same for one of `size` bytes, of which the arena must hold one.
    pub fn room_for(&mut self, size: usize) -> Option<&mut [u8]> {
        if self.full(size) {
            self.compact();
        }
        if self.full(size) { None } else { Some(&mut self.arena[self.used..]) }
    }

    fn full(&self, size: usize) -> bool {
        self.arena.len() - self.used < size || self.runs.len() == MAX_RUNS
    }

    /// Moves what waits to the front, when at least half is to be gained: each byte moves once, on the average.
    fn compact(&mut self) {
        let Some(first) = self.runs.get(self.next) else { return };
        let gained = first.start;
        if gained < self.arena.len() / 2 && self.next < MAX_RUNS / 2 {
            return;
        }
        self.arena.copy_within(gained..self.used, 0);
        self.used -= gained;
        self.runs.drain(..self.next);
        self.next = 0;
        for run in &mut self.runs {
            run.start -= gained;
        }
    }

    /// The first `length` bytes of `room` are a datagram.
    pub fn commit(&mut self, length: usize, from: SocketAddr, to: SocketAddr) {
        let length = length.min(self.arena.len() - self.used);
        let start = self.used;
        self.used += length;
        match self.runs[self.next..].last_mut() {
            Some(run) if run.takes(length, &from, &to) => run.length += length,
            _ => self.runs.push(Run { start, length, segment: length, from, to, how: How::Joined }),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.next == self.runs.len()
    }

    /// Datagrams and bytes that left, since the beginning.
    pub fn sent(&self) -> (u64, u64) {
        self.sent
    }

    /// Datagrams that the kernel would not send, since the beginning.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The next messages: how many.
    pub(super) fn parts(&self, gso: bool, parts: &mut [Part; MAX_MESSAGES]) -> usize {
        let mut places = parts.iter_mut();
        for (i, run) in self.runs.iter().enumerate().skip(self.next) {
            if places.len() == 0 {
                break;
            }
            if run.single() || (gso && run.how == How::Joined) {
                let Some(place) = places.next() else { break };
                // More than one: together they have MAX_JOINED bytes at most.
                let segment = if run.single() { 0 } else { run.segment as u16 };
                *place = Part { run: i, start: run.start, length: run.length, segment };
            } else {
                let end = run.start + run.length;
                // Not as many places as datagrams: the rest is for the next time.
                for (start, place) in (run.start..end).step_by(run.segment).zip(&mut places) {
                    *place = Part { run: i, start, length: run.segment.min(end - start), segment: 0 };
                }
            }
        }
        MAX_MESSAGES - places.len()
    }

    /// Bytes, from, to.
    pub(super) fn part(&self, part: &Part) -> (&[u8], &SocketAddr, &SocketAddr) {
        let run = &self.runs[part.run];
        (&self.arena[part.start..part.start + part.length], &run.from, &run.to)
    }

    /// The first message was refused: its datagrams go one by one. `doubted`: perhaps because it was joined.
    pub(super) fn split(&mut self, doubted: bool) {
        if let Some(run) = self.runs.get_mut(self.next) {
            run.how = if doubted { How::Doubted } else { How::Single };
        }
    }

    pub(super) fn doubted(&self) -> bool {
        self.runs.get(self.next).is_some_and(|run| run.how == How::Doubted)
    }

    /// `parts`, the next messages, have left, or are lost.
    pub(super) fn finish(&mut self, parts: &[Part], left: bool) {
        for part in parts {
            let run = &mut self.runs[part.run];
            run.start += part.length;
            run.length -= part.length;
            if run.how == How::Doubted {
                run.how = How::Single;
            }
            if run.length == 0 {
                self.next = part.run + 1;
            }
            if left {
                self.sent.0 += part.datagrams();
                self.sent.1 += part.length as u64;
            } else {
                self.refused += part.datagrams();
            }
        }
        if self.is_empty() {
            self.runs.clear();
            self.next = 0;
            self.used = 0;
        }
    }
}
