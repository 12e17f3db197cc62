//! Initials that a later turn judges. What has waited too long, or is over the queue's length, is told so instead of being let in: its
//! client would have given up, or asked again, before it came to anything.

use crate::counters::Counters;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// More than a core begins in `PATIENCE`: a ClientHello with a post-quantum key share takes two.
const QUEUE: usize = 2048;
const QUEUE_BYTES: usize = QUEUE * 1500;
/// What arrives in one turn may be over it until the next one turns it away; nothing is said to what is over that.
const SPARE: usize = 2;
/// A quarter of the time after which a client that hears nothing asks again (RFC 9002 s6.2.2: an initial RTT of 333 ms). Longer than a
/// process stands still that has used up its share of a core (100 ms at most where periods are the usual ones).
const PATIENCE: Duration = Duration::from_millis(250);
/// It is asked for when somebody has waited at all times for so long: there is more to do than is done. Those who come all at once to a
/// worker that has time for them are served within it, before they ask again.
const LASTING: Duration = Duration::from_secs(1);
/// As many as a turn begins: with so many, and more to do than is done, a further one of a client that had many would only keep others waiting.
const CROWD: usize = 32;

pub struct Arrival {
    pub datagram: Vec<u8>,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub forwarded: bool,
    pub at: Instant,
}

#[derive(Default)]
pub struct Waiting {
    queue: VecDeque<Arrival>,
    bytes: usize,
    /// When it was empty last.
    since: Option<Instant>,
}

impl Waiting {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, a: Arrival, counters: &mut Counters) {
        self.bytes += a.datagram.len();
        self.since.get_or_insert(a.at);
        self.queue.push_back(a);
        while self.exceeds(SPARE) {
            if self.pop().is_some() {
                counters.dropped.batch += 1;
            }
        }
    }

    fn exceeds(&self, times: usize) -> bool {
        self.queue.len() > QUEUE * times || self.bytes > QUEUE_BYTES * times
    }

    /// The next one is to be turned away.
    pub fn is_late(&self, now: Instant) -> bool {
        self.exceeds(1) || (self.lasts(now) && self.queue.front().is_some_and(|a| over(a.at, PATIENCE, now)))
    }

    /// There is more to do than is done, and enough to go on with.
    pub fn is_crowded(&self, now: Instant) -> bool {
        self.queue.len() >= CROWD && self.lasts(now)
    }

    /// Of the same client's attempt as the last one: a ClientHello with a post-quantum key share takes two.
    pub fn continues(&self, datagram: &[u8], from: &SocketAddr) -> bool {
        self.queue.back().is_some_and(|a| a.from == *from && destination(&a.datagram) == destination(datagram))
    }

    fn lasts(&self, now: Instant) -> bool {
        self.since.is_some_and(|at| over(at, LASTING, now))
    }

    pub fn pop(&mut self) -> Option<Arrival> {
        let a = self.queue.pop_front()?;
        self.bytes -= a.datagram.len();
        if self.queue.is_empty() {
            self.since = None;
        }
        Some(a)
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// The id that a long header names.
fn destination(datagram: &[u8]) -> Option<&[u8]> {
    datagram.get(6..6 + usize::from(*datagram.get(5)?))
}

fn over(since: Instant, time: Duration, now: Instant) -> bool {
    now.saturating_duration_since(since) >= time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_falls_out_by_count_and_by_bytes() {
        let (mut w, mut c, at) = (Waiting::new(), Counters::default(), Instant::now());
        for i in 0..2 * QUEUE + 10 {
            w.push(arrival(&(i as u32).to_be_bytes(), at), &mut c);
        }
        assert_eq!((w.len(), c.dropped.batch), (2 * QUEUE, 10));
        assert_eq!(w.pop().unwrap().datagram, 10_u32.to_be_bytes());
        for _ in 0..160 {
            w.push(arrival(&[0; 65_000], at), &mut c);
        }
        assert!(w.bytes <= 2 * QUEUE_BYTES && w.len() == 2 * QUEUE_BYTES / 65_000);
        while w.pop().is_some() {}
        assert_eq!((w.is_empty(), w.bytes), (true, 0));
        // More than everything: nothing is kept, and nothing hangs.
        w.push(arrival(&vec![0; 2 * QUEUE_BYTES + 1], at), &mut c);
        assert!(w.is_empty());
    }

    #[test]
    fn the_next_is_late_when_others_are_too_many_or_it_has_waited_for_long() {
        let (mut w, mut c, start) = (Waiting::new(), Counters::default(), Instant::now());
        let ms = Duration::from_millis;
        assert!(!w.is_late(start + LASTING));
        w.push(arrival(b"a", start), &mut c);
        w.push(arrival(b"b", start + LASTING - PATIENCE), &mut c);
        // A burst has its time.
        assert!(!w.is_late(start + LASTING - ms(1)));
        assert!(w.is_late(start + LASTING));
        w.pop();
        // Somebody has waited all the time.
        assert!(w.is_late(start + LASTING));
        w.push(arrival(b"c", start + LASTING), &mut c);
        w.pop();
        assert!(!w.is_late(start + LASTING + PATIENCE - ms(1)));
        assert!(w.is_late(start + LASTING + PATIENCE));
        // Once nobody did, all is as at first.
        w.pop();
        w.push(arrival(b"d", start + LASTING), &mut c);
        assert!(!w.is_late(start + LASTING + PATIENCE));
        for _ in 0..QUEUE {
            w.push(arrival(b"e", start), &mut c);
        }
        assert!(w.is_late(start));
        w.pop();
        assert_eq!((w.is_late(start), w.len(), c.dropped.batch), (false, QUEUE, 0));
    }

    #[test]
    fn many_who_have_waited_for_long_are_a_crowd() {
        let (mut w, mut c, start) = (Waiting::new(), Counters::default(), Instant::now());
        for _ in 1..CROWD {
            w.push(arrival(b"a", start), &mut c);
        }
        assert!(!w.is_crowded(start + LASTING));
        w.push(arrival(b"b", start + LASTING), &mut c);
        assert!(w.is_crowded(start + LASTING) && !w.is_crowded(start + LASTING - Duration::from_millis(1)));
        w.pop();
        assert!(!w.is_crowded(start + LASTING));
    }

    #[test]
    fn what_has_the_same_address_and_id_as_the_last_one_continues_it() {
        let (mut w, mut c, start) = (Waiting::new(), Counters::default(), Instant::now());
        let (one, other): (SocketAddr, SocketAddr) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.1:2".parse().unwrap());
        assert!(!w.continues(b"\xc0\0\0\0\x01\x02ab", &one));
        w.push(arrival(b"\xc0\0\0\0\x01\x02ab...", start), &mut c);
        assert!(w.continues(b"\xc3\0\0\0\x01\x02ab!!", &one));
        assert!(!w.continues(b"\xc0\0\0\0\x01\x02ac...", &one) && !w.continues(b"\xc0\0\0\0\x01\x02ab...", &other));
        w.push(arrival(b"\xc0\0\0\0\x01\x02ac", start), &mut c);
        assert!(!w.continues(b"\xc0\0\0\0\x01\x02ab", &one));
    }

    fn arrival(datagram: &[u8], at: Instant) -> Arrival {
        let from: SocketAddr = "192.0.2.1:1".parse().unwrap();
        Arrival { datagram: datagram.to_vec(), from, to: from, forwarded: false, at }
    }
}
