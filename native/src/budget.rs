//! Bounds what a peer can have kept for it (fragments with gaps, above all: RFC 9000 s21.7): bytes of its packets must turn into delivered
//! stream bytes, sent packets or finished streams. Packets that are not authentic, or come twice, are not its own and cost nothing.

use std::time::Instant;

const BUDGET: u64 = 256 * 1024;
const PER_MINUTE: u64 = 100 * 1024;
const DELIVERED: u64 = 4;
const PACKET: u64 = 200;
const STREAM: u64 = 3000;

pub struct Budget {
    born: Instant,
    stream_window: u64,
    conn_window: u64,
    received: u64,
    credit: u64,
    /// Sent packets that are in `credit`.
    packets: u64,
}

impl Budget {
    pub fn new(born: Instant, stream_window: u64, conn_window: u64) -> Self {
        Budget { born, stream_window, conn_window: conn_window.max(stream_window), received: 0, credit: 0, packets: 0 }
    }

    /// Bytes of authentic packets, since the beginning.
    pub fn arrived(&mut self, total: u64) {
        self.received = total;
    }

    /// What may arrive out of order later on is bounded by the connection's window: no more is saved up for it.
    fn earn(&mut self, bytes: u64) {
        self.credit = (self.credit + bytes).min(self.received + self.conn_window);
    }

    pub fn delivered(&mut self, bytes: usize) {
        self.earn(bytes as u64 * DELIVERED);
    }

    pub fn finished(&mut self) {
        self.earn(STREAM);
    }

    /// What a stream held, or has on its way, is thrown away: we stopped it, or its peer has reset it while it was paused.
    pub fn released(&mut self) {
        self.earn(self.stream_window);
    }

    /// Whether it is worth asking `exceeded`.
    pub fn strained(&self) -> bool {
        self.received > self.credit + BUDGET
    }

    /// With `paused` streams their windows may fill, all together up to the connection's window, inside datagrams with headers.
    pub fn exceeded(&mut self, now: Instant, sent: u64, paused: usize) -> bool {
        self.earn(sent.saturating_sub(self.packets) * PACKET);
        self.packets = sent;
        let age = now.saturating_duration_since(self.born).as_millis() as u64;
        let held = (paused as u64).saturating_mul(self.stream_window).min(self.conn_window);
        self.received > self.credit + BUDGET + age * PER_MINUTE / 60_000 + held + held / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const WINDOW: u64 = 100_000;

    fn budget() -> (Budget, Instant) {
        let now = Instant::now();
        (Budget::new(now, WINDOW, 4 * WINDOW), now)
    }

    #[test]
    fn bytes_that_turn_into_nothing_run_out() {
        let (mut b, now) = budget();
        b.arrived(BUDGET);
        assert!(!b.strained() && !b.exceeded(now, 0, 0));
        b.arrived(BUDGET + 1);
        assert!(b.strained() && b.exceeded(now, 0, 0));
        // Time, packets that left, and windows of paused streams.
        assert!(!b.exceeded(now + Duration::from_secs(60), 0, 0));
        assert!(!b.exceeded(now, 0, 1));
        assert!(!b.exceeded(now, 1, 0));
        b.arrived(BUDGET + 201);
        assert!(b.exceeded(now, 1, 0));
        assert!(!b.exceeded(now, 2, 0));
    }

    #[test]
    fn delivered_bytes_and_finished_streams_are_paid_for() {
        let (mut b, now) = budget();
        for n in 1..=10_000 {
            b.arrived(n * 1250);
            b.delivered(1200);
        }
        assert!(!b.strained());
        for earn in [Budget::finished, Budget::released] {
            let (mut b, _) = budget();
            b.arrived(BUDGET + 3000);
            earn(&mut b);
            assert!(!b.exceeded(now, 0, 0));
        }
    }

    #[test]
    fn no_more_than_a_window_is_saved_up() {
        let (mut b, now) = budget();
        for _ in 0..1000 {
            b.released();
        }
        b.arrived(BUDGET + 4 * WINDOW);
        assert!(!b.exceeded(now, 0, 0));
        b.arrived(BUDGET + 4 * WINDOW + 1);
        assert!(b.exceeded(now, 0, 0));
        let (mut b, now) = budget();
        b.arrived(BUDGET + 5 * WINDOW);
        assert!(!b.exceeded(now, 0, usize::MAX));
        b.arrived(BUDGET + 5 * WINDOW + 1);
        assert!(b.exceeded(now, 0, usize::MAX));
    }
}
