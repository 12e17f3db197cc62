//! Where a recvmmsg leaves what it found, and how that is taken apart.

use super::{Messages, Pages};
use std::net::SocketAddr;
use std::os::fd::RawFd;

/// Messages of one recvmmsg.
const SLOTS: usize = 32;

/// More than a UDP message can have, joined or not.
const SLOT_BYTES: usize = 64 * 1024;

/// Datagrams that the kernel joins at most.
const MAX_JOINED: usize = 128;

/// Receive buffers: 32 slots of 64 KiB for GRO, taken apart into datagrams.
pub struct Inbox {
    pub(super) memory: Pages,
    slot_bytes: usize,
    messages: Messages<SLOTS>,
    /// From, to.
    ends: [(SocketAddr, SocketAddr); SLOTS],
    pieces: Vec<Piece>,
    /// Messages of the last `receive`.
    filled: usize,
    truncated: u64,
}

#[derive(Clone, Copy)]
struct Piece {
    start: u32,
    length: u32,
    message: u32,
}

impl Inbox {
    pub fn new() -> Self {
        Self::with_slots(SLOT_BYTES)
    }

    pub(super) fn with_slots(slot_bytes: usize) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Inbox {
            memory: Pages::new(SLOTS * slot_bytes),
            slot_bytes,
            messages: Messages::new(),
            ends: [(nowhere, nowhere); SLOTS],
            pieces: Vec::with_capacity(SLOTS * MAX_JOINED),
            filled: 0,
            truncated: 0,
        }
    }

    /// Datagrams of the last `receive`.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes, from, to (the address that the client asked, with our port). `None` as bytes does not exist: empty datagrams are empty slices.
    pub fn datagram(&mut self, i: usize) -> (&mut [u8], SocketAddr, SocketAddr) {
        let piece = self.pieces[i];
        let (from, to) = self.ends[piece.message as usize];
        let start = piece.start as usize;
        (&mut self.memory[start..start + piece.length as usize], from, to)
    }

    /// Messages that did not fit, or came without what says who and whereto, and were left out. Since the beginning.
    pub fn truncated(&self) -> u64 {
        self.truncated
    }

    /// The last `receive` has filled every slot: more may wait.
    pub fn is_full(&self) -> bool {
        self.filled == SLOTS
    }

    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.filled = 0;
    }

    pub(super) fn fill(&mut self, fd: RawFd) -> Result<usize, i32> {
        self.messages.receive(fd, &mut self.memory, self.slot_bytes)
    }

    /// The first `messages` messages become datagrams. Those without packet info came to `local`.
    pub(super) fn take_apart(&mut self, messages: usize, local: SocketAddr) {
        self.filled = messages;
        for i in 0..messages {
            let m = self.messages.received(i, local.port());
            // A lost control message might be the one that says how to cut.
            let whole = m.flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) == 0;
            match m.from {
                Some(from) if whole => {
                    self.ends[i] = (from, m.to.unwrap_or(local));
                    self.cut(i, m.length.min(self.slot_bytes), m.segment);
                }
                _ => self.truncated += 1,
            }
        }
    }

    fn cut(&mut self, message: usize, length: usize, segment: usize) {
        let start = message * self.slot_bytes;
        let step = if segment == 0 { length.max(1) } else { segment };
        let mut at = 0;
        loop {
            let n = step.min(length - at);
            self.pieces.push(Piece { start: (start + at) as u32, length: n as u32, message: message as u32 });
            at += n;
            if at == length {
                return;
            }
        }
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(length: usize, segment: usize) -> Vec<(u32, u32)> {
        let mut inbox = Inbox::with_slots(4096);
        inbox.cut(1, length, segment);
        inbox.pieces.iter().map(|p| (p.start - 4096, p.length)).collect()
    }

    #[test]
    fn batches_are_cut_at_their_segments() {
        assert_eq!(cut(0, 0), [(0, 0)]);
        assert_eq!(cut(0, 1200), [(0, 0)]);
        assert_eq!(cut(7, 0), [(0, 7)]);
        assert_eq!(cut(1200, 1200), [(0, 1200)]);
        assert_eq!(cut(1200, 4000), [(0, 1200)]);
        assert_eq!(cut(2400, 1200), [(0, 1200), (1200, 1200)]);
        assert_eq!(cut(2401, 1200), [(0, 1200), (1200, 1200), (2400, 1)]);
        assert_eq!(cut(3, 1), [(0, 1), (1, 1), (2, 1)]);
    }
}
