//! Initials that a later turn judges: what is longer than the queue falls out at its old end.

use crate::counters::Counters;
use std::collections::VecDeque;
use std::net::SocketAddr;

const QUEUE: usize = 512;
const QUEUE_BYTES: usize = QUEUE * 1500;

pub struct Arrival {
    pub datagram: Vec<u8>,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub forwarded: bool,
}

#[derive(Default)]
pub struct Waiting {
    queue: VecDeque<Arrival>,
    bytes: usize,
}

impl Waiting {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, datagram: &[u8], from: SocketAddr, to: SocketAddr, forwarded: bool, counters: &mut Counters) {
        self.bytes += datagram.len();
        self.queue.push_back(Arrival { datagram: datagram.to_vec(), from, to, forwarded });
        while self.queue.len() > QUEUE || self.bytes > QUEUE_BYTES {
            if self.pop().is_some() {
                counters.dropped.batch += 1;
            }
        }
    }

    pub fn pop(&mut self) -> Option<Arrival> {
        let a = self.queue.pop_front()?;
        self.bytes -= a.datagram.len();
        Some(a)
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_falls_out_by_count_and_by_bytes() {
        let (mut w, mut c) = (Waiting::new(), Counters::default());
        let from: SocketAddr = "192.0.2.1:1".parse().unwrap();
        for i in 0..QUEUE + 10 {
            w.push(&(i as u32).to_be_bytes(), from, from, false, &mut c);
        }
        assert_eq!((w.len(), c.dropped.batch), (QUEUE, 10));
        assert_eq!(w.pop().unwrap().datagram, 10_u32.to_be_bytes());
        for _ in 0..20 {
            w.push(&[0; 65_000], from, from, false, &mut c);
        }
        assert!(w.bytes <= QUEUE_BYTES && w.len() == QUEUE_BYTES / 65_000);
        while w.pop().is_some() {}
        assert_eq!((w.is_empty(), w.bytes), (true, 0));
        // More than everything: nothing is kept, and nothing hangs.
        w.push(&vec![0; QUEUE_BYTES + 1], from, from, false, &mut c);
        assert!(w.is_empty());
    }
}
