//! The records in which this engine and JavaScript speak: eight little-endian words of 32 bits each, in both directions.
//!
//! | word | event                            | command                                    |
//! |------|----------------------------------|--------------------------------------------|
//! | 0    | type                             | type                                       |
//! | 1, 2 | slot, generation                 | slot, generation                           |
//! | 3, 4 | stream id, low then high         | stream id, low then high                   |
//! | 5, 6 | offset, length in the event data | offset, length in the command data         |
//! | 7    | flags                            | flags                                      |
//!
//! Error codes have 62 bits: RESET and STOP carry theirs in words 5 and 6 (low, high), CLOSE in words 3 and 4.
//! The same numbers are in `src/edge/quic/native/records.ts`; `ABI` changes with either,
//! and with what the exports take and answer.

pub const ABI: u32 = 3;
pub const RECORD_BYTES: usize = 32;

pub mod event {
    /// Data: remote and local address, then u32 the longest DATAGRAM that may be sent (0: none). Flags: EARLY.
    pub const CONN: u32 = 1;
    /// Flags: FIN.
    pub const DATA: u32 = 2;
    pub const RESET: u32 = 3;
    pub const STOP: u32 = 4;
    pub const WRITABLE: u32 = 5;
    /// Data: the reason. Flags: bits 0-1 side (0 local, 1 remote, 2 timeout, 3 reset), bit 2 application.
    pub const CLOSE: u32 = 6;
    pub const DATAGRAM: u32 = 7;
    /// Data: the new remote and local address.
    pub const PATH: u32 = 8;
    /// Word 1: the worker. Data: from, to, the datagram.
    pub const FOREIGN: u32 = 9;
    /// As CLOSE, of a connection that we dialled and that was never established.
    pub const FAILED: u32 = 10;
    /// The endpoint was told to drain, and its last connection is gone.
    pub const DRAINED: u32 = 11;
}

pub mod command {
    /// Flags: FIN, WANT_WRITABLE.
    pub const SEND: u32 = 1;
    pub const RESET: u32 = 2;
    pub const STOP: u32 = 3;
    /// Data: the reason. Flags: bit 0 application.
    pub const CLOSE: u32 = 4;
    pub const PAUSE: u32 = 5;
    pub const RESUME: u32 = 6;
    /// Flags: urgency 0-7 in bits 0-2, bit 3 incremental.
    pub const PRIORITY: u32 = 7;
    pub const DATAGRAM: u32 = 8;
    pub const PING: u32 = 9;
}

pub const FIN: u32 = 1;
pub const WANT_WRITABLE: u32 = 2;
pub const EARLY: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record(pub [u32; 8]);

impl Record {
    pub fn new(kind: u32, slot: u32, generation: u32) -> Self {
        Record([kind, slot, generation, 0, 0, 0, 0, 0])
    }

    #[must_use]
    pub fn stream(mut self, id: u64) -> Self {
        (self.0[3], self.0[4]) = halves(id);
        self
    }

    #[must_use]
    pub fn span(mut self, offset: usize, length: usize) -> Self {
        self.0[5] = offset as u32;
        self.0[6] = length as u32;
        self
    }

    /// A code in the place of the span (RESET, STOP).
    #[must_use]
    pub fn code(mut self, code: u64) -> Self {
        (self.0[5], self.0[6]) = halves(code);
        self
    }

    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.0[7] = flags;
        self
    }

    pub fn kind(&self) -> u32 {
        self.0[0]
    }

    pub fn slot(&self) -> u32 {
        self.0[1]
    }

    pub fn generation(&self) -> u32 {
        self.0[2]
    }

    /// The stream id, or the code of a CLOSE.
    pub fn id(&self) -> u64 {
        u64::from(self.0[3]) | u64::from(self.0[4]) << 32
    }

    pub fn error(&self) -> u64 {
        u64::from(self.0[5]) | u64::from(self.0[6]) << 32
    }

    pub fn flag_bits(&self) -> u32 {
        self.0[7]
    }

    /// The span's range when it lies within `available` bytes.
    pub fn range(&self, available: usize) -> Option<std::ops::Range<usize>> {
        let start = self.0[5] as usize;
        let end = start.checked_add(self.0[6] as usize)?;
        (end <= available).then_some(start..end)
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_BYTES] = bytes.get(..RECORD_BYTES)?.try_into().ok()?;
        let mut words = [0; 8];
        for (word, b) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        }
        Some(Record(words))
    }

    /// `out` has at least RECORD_BYTES.
    pub fn write(&self, out: &mut [u8]) {
        for (word, b) in self.0.iter().zip(out.chunks_exact_mut(4)) {
            b.copy_from_slice(&word.to_le_bytes());
        }
    }
}

fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

/// How many of the first `count` event records end what a peer has to say on a stream.
pub fn whole_requests(records: &[u8], count: usize) -> u32 {
    let ends = |r: &Record| r.kind() == event::DATA && r.flag_bits() & FIN != 0;
    records.chunks_exact(RECORD_BYTES).take(count).filter_map(Record::read).filter(ends).count() as u32
}

/// Where events go: records and the bytes that they speak of. Full is an answer and not an error: the turn calls JavaScript and goes on.
pub struct Events<'a> {
    records: &'a mut [u8],
    data: &'a mut [u8],
    count: usize,
    used: usize,
}

impl<'a> Events<'a> {
    pub fn new(records: &'a mut [u8], data: &'a mut [u8]) -> Self {
        Events { records, data, count: 0, used: 0 }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn has_record(&self) -> bool {
        (self.count + 1) * RECORD_BYTES <= self.records.len()
    }

    /// The free part of the data buffer: write into its beginning, then `push` with `taken`.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.data[self.used..]
    }

    /// One record, whose span is the first `taken` bytes of `room` when `taken` is given. False: full, nothing was written.
    pub fn push(&mut self, record: Record, taken: Option<usize>) -> bool {
        if !self.has_record() {
            return false;
        }
        let record = match taken {
            Some(n) => {
                let at = self.used;
                self.used += n;
                record.span(at, n)
            }
            None => record,
        };
        record.write(&mut self.records[self.count * RECORD_BYTES..]);
        self.count += 1;
        true
    }

    /// A record with its bytes. False: full, nothing was written.
    pub fn push_bytes(&mut self, record: Record, parts: &[&[u8]]) -> bool {
        let length: usize = parts.iter().map(|p| p.len()).sum();
        if !self.has_record() || self.room().len() < length {
            return false;
        }
        let mut at = 0;
        for p in parts {
            self.room()[at..at + p.len()].copy_from_slice(p);
            at += p.len();
        }
        self.push(record, Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_go_there_and_back() {
        let r = Record::new(event::DATA, 7, 9).stream(1 << 40 | 4).span(100, 20).flags(FIN);
        let mut bytes = [0; RECORD_BYTES];
        r.write(&mut bytes);
        assert_eq!(Record::read(&bytes), Some(r));
        assert_eq!((r.kind(), r.slot(), r.generation(), r.id(), r.flag_bits()), (2, 7, 9, 1 << 40 | 4, FIN));
        assert_eq!(r.range(120), Some(100..120));
        assert_eq!(r.range(119), None);
        assert_eq!(Record::new(1, 0, 0).code(u64::MAX >> 2).error(), u64::MAX >> 2);
        for n in 0..RECORD_BYTES {
            assert_eq!(Record::read(&bytes[..n]), None);
        }
    }

    #[test]
    fn whole_requests_are_counted() {
        let all = [
            Record::new(event::DATA, 1, 1).flags(FIN),
            Record::new(event::DATA, 1, 1),
            Record::new(event::CLOSE, 1, 1).flags(FIN),
            Record::new(event::DATA, 2, 1).stream(4).span(0, 9).flags(FIN),
            Record::new(event::DATA, 3, 1).flags(FIN),
        ];
        let mut bytes = [0; RECORD_BYTES * 5];
        for (r, out) in all.iter().zip(bytes.chunks_exact_mut(RECORD_BYTES)) {
            r.write(out);
        }
        for (count, requests) in [(0, 0), (1, 1), (3, 1), (4, 2), (5, 3), (99, 3)] {
            assert_eq!(whole_requests(&bytes, count), requests, "{count}");
        }
    }

    #[test]
    fn a_span_cannot_wrap() {
        let r = Record([command::SEND, 0, 0, 0, 0, u32::MAX, u32::MAX, 0]);
        assert_eq!(r.range(1 << 20), None);
    }

    #[test]
    fn full_is_an_answer() {
        let (mut records, mut data) = ([0; RECORD_BYTES * 2], [0; 8]);
        let mut e = Events::new(&mut records, &mut data);
        assert!(e.push_bytes(Record::new(event::DATA, 1, 2), &[b"abc", b"de"]));
        assert!(!e.push_bytes(Record::new(event::DATA, 1, 2), &[b"1234"]));
        assert!(e.push(Record::new(event::WRITABLE, 1, 2), None));
        assert!(!e.push(Record::new(event::WRITABLE, 1, 2), None));
        assert_eq!(e.count(), 2);
        assert_eq!(Record::read(&records).unwrap().range(8), Some(0..5));
        assert_eq!(&data[..5], b"abcde");
    }
}
