//! What the application has written and quiche has not taken. quiche gets it in the order of RFC 9218, and never more than it can
//! send next: what it holds leaves in its own order, and a congestion window may be large.

use crate::chunks::{BLOCK, Chunk, Quic};
use crate::transport::JUMBO_PACKET;
use quiche::{Error, Shutdown};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::{Duration, Instant};

const WRITE_LOW: usize = 32 * 1024;
const CONN_LOW: usize = 512 * 1024;
/// What an incremental stream gives to quiche before its equals have their turn, in however many passes.
const SHARE: usize = 8 * 1024;
/// Stream bytes that quiche gets before it has to send, at least.
const OFFER: usize = 32 * 1024;
/// Packets for which it gets bytes, when they are large, as far as they make one message.
const OFFER_PACKETS: usize = 4;
/// quiche's default urgency, which stands for ours of 3.
const MIDDLE: u8 = 127;
const DEFAULT_URGENCY: u8 = 3;
/// Streams of which something is remembered, beyond those with bytes: above it those that have ended are looked for.
const REMEMBERED: usize = 1024;

/// RFC 9218 s10: by urgency; then those that are not incremental by id, each to its end; then the incremental ones in turn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    urgency: u8,
    incremental: bool,
    order: u64,
    id: u64,
}

impl Place {
    /// Before that one, and not in turn with it.
    fn precedes(&self, other: Place) -> bool {
        let equals = self.urgency == other.urgency && self.incremental && other.incremental;
        self.id != other.id && !equals && *self < other
    }
}

struct Stream {
    urgency: u8,
    incremental: bool,
    /// quiche has heard of the priority.
    told: bool,
    /// quiche knows the stream: bytes or fin went either way.
    begun: bool,
    fin: bool,
    /// One WRITABLE is owed.
    owed: bool,
    /// quiche took nothing last time: ask for capacity before offering again.
    stalled: bool,
    queued: bool,
    /// Since when the peer has had no room for its bytes though it was its turn; None when it moves, or others are served before it.
    refused: Option<Instant>,
    /// The pass over the queue in which bytes of it were last taken.
    pass: u64,
    /// For incremental streams: when it had its last turn, and what it has got in this one.
    turn: u64,
    share: usize,
    pending: usize,
    chunks: VecDeque<Chunk>,
    /// A stop that waits until quiche knows the stream.
    stop: Option<u64>,
}

impl Stream {
    fn new() -> Self {
        Stream {
            urgency: DEFAULT_URGENCY,
            incremental: false,
            told: false,
            begun: false,
            fin: false,
            owed: false,
            stalled: false,
            queued: false,
            refused: None,
            pass: 0,
            turn: 0,
            share: 0,
            pending: 0,
            chunks: VecDeque::new(),
            stop: None,
        }
    }

    fn place(&self, id: u64) -> Place {
        let order = if self.incremental { self.turn } else { id };
        Place { urgency: self.urgency, incremental: self.incremental, order, id }
    }

    fn plain(&self) -> bool {
        !self.queued && !self.owed && self.stop.is_none() && self.urgency == DEFAULT_URGENCY && !self.incremental
    }

    fn push(&mut self, chunk: Chunk) {
        self.pending += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// What to offer next, at most `limit` bytes; None when only a fin waits.
    fn peek(&self, limit: usize) -> Option<Chunk> {
        self.chunks.front().map(|c| c.part(0..limit))
    }

    fn took(&mut self, n: usize) {
        self.pending -= n;
        if let Some(first) = self.chunks.front_mut() {
            *first = first.part(n..first.len());
            if first.is_empty() {
                self.chunks.pop_front();
            }
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
    }
}

/// How an attempt to write ended for the stream.
enum Wrote {
    Bytes(usize),
    Blocked,
    /// Beyond the peer's limit of streams: it waits to be raised.
    Waits,
    /// By STOP_SENDING, with its code.
    Stopped(u64),
    /// Ended, reset, or never there.
    Dead,
}

/// None: an end without bytes.
fn send(q: &mut Quic, id: u64, chunk: Option<Chunk>, fin: bool) -> Wrote {
    let sent = match chunk {
        Some(chunk) => q.stream_send_zc(id, chunk, fin).map(|(n, _)| n),
        None => q.stream_send(id, &[], fin),
    };
    match sent {
        Ok(n) => Wrote::Bytes(n),
        // Also what quiche says of a stream that it has forgotten.
        Err(Error::Done) if q.stream_closed(id) => Wrote::Dead,
        Err(Error::Done) => Wrote::Blocked,
        Err(Error::StreamLimit) => Wrote::Waits,
        Err(Error::StreamStopped(code)) => Wrote::Stopped(code),
        Err(_) => Wrote::Dead,
    }
}

/// What is left of a write, in order.
struct Rest<'a> {
    first: Option<Chunk>,
    bytes: &'a [u8],
    fin: bool,
}

#[derive(Default)]
pub struct Outbound {
    streams: BTreeMap<u64, Stream>,
    queue: BTreeSet<Place>,
    /// Bytes of all streams that quiche has not taken.
    pending: usize,
    owing: usize,
    /// Stream bytes that quiche got since packets were last made.
    offered: usize,
    /// How large packets are.
    packet: usize,
    pass: u64,
    turns: u64,
    /// Streams that are refused room at the moment.
    refused: usize,
    /// Above this many streams the ended ones are looked for.
    sweep: usize,
    /// The stream here gets its next bytes when JavaScript hears that it is writable: nobody behind it goes ahead in the meantime.
    held: Option<Place>,
    held_back: bool,
    /// WRITABLE and STOP (with its code) that wait to be told.
    pub writable: VecDeque<u64>,
    pub stops: VecDeque<(u64, u64)>,
    /// Streams whose STOP is told.
    told: Vec<u64>,
}

impl Outbound {
    pub fn waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Bytes stayed behind for the sake of a stream that JavaScript is to be asked for.
    pub fn held_back(&self) -> bool {
        self.held_back
    }

    pub fn write(&mut self, q: &mut Quic, id: u64, bytes: &[u8], fin: bool, want: bool) {
        if self.streams.get(&id).is_some_and(|s| s.fin) {
            return;
        }
        if bytes.is_empty() && !fin {
            if want {
                self.want(id);
            }
            return;
        }
        let rest = if self.queue.is_empty() && self.offered < self.most() {
            self.write_direct(q, id, bytes, fin)
        } else {
            self.admit(q, id).then_some(Rest { first: None, bytes, fin })
        };
        // None: the stream has ended.
        let Some(rest) = rest else { return };
        self.enqueue(id, rest);
        if want && !fin {
            self.want(id);
        }
    }

    /// Straight into quiche: what it did not take. None: nothing is left to be done for this stream.
    fn write_direct<'a>(&mut self, q: &mut Quic, id: u64, mut bytes: &'a [u8], fin: bool) -> Option<Rest<'a>> {
        loop {
            let (part, others) = bytes.split_at(bytes.len().min(BLOCK));
            let chunk = (!part.is_empty()).then(|| Chunk::of(part));
            let n = part.len().min(self.most() - self.offered);
            let last = fin && n == bytes.len();
            let took = match send(q, id, chunk.as_ref().map(|c| c.part(0..n)), last) {
                Wrote::Bytes(took) => {
                    self.offered += took;
                    self.begin(q, id);
                    if last && took == n {
                        self.finish(id);
                        return None;
                    }
                    took
                }
                Wrote::Blocked | Wrote::Waits => 0,
                Wrote::Stopped(code) => {
                    self.stopped(id, code);
                    return None;
                }
                Wrote::Dead => {
                    self.finish(id);
                    return None;
                }
            };
            bytes = others;
            if took < part.len() || others.is_empty() || self.offered >= self.most() {
                let first = chunk.map(|c| c.part(took..c.len())).filter(|c| !c.is_empty());
                return Some(Rest { first, bytes, fin });
            }
        }
    }

    /// Whether there is a stream to queue bytes for. A stream that the peer opens must be there; ours come into being.
    fn admit(&mut self, q: &mut Quic, id: u64) -> bool {
        if self.streams.get(&id).is_some_and(|s| s.queued) {
            return true;
        }
        self.exists(q, id) || ((id & 1 == 1) == q.is_server() && !self.told.contains(&id) && !q.stream_closed(id))
    }

    fn enqueue(&mut self, id: u64, rest: Rest<'_>) {
        if rest.first.is_none() && rest.bytes.is_empty() && !rest.fin {
            return;
        }
        let s = self.streams.entry(id).or_insert_with(Stream::new);
        let before = s.pending;
        for chunk in rest.first.into_iter().chain(rest.bytes.chunks(BLOCK).map(Chunk::of)) {
            s.push(chunk);
        }
        s.fin |= rest.fin;
        self.pending += s.pending - before;
        if !s.queued {
            s.queued = true;
            self.queue.insert(s.place(id));
        }
    }

    /// One WRITABLE, as soon as there is room.
    fn want(&mut self, id: u64) {
        let s = self.streams.entry(id).or_insert_with(Stream::new);
        if s.owed || s.fin {
            return;
        }
        if s.pending <= WRITE_LOW && self.pending <= CONN_LOW {
            self.writable.push_back(id);
            self.forget_plain(id);
            return;
        }
        s.owed = true;
        self.owing += 1;
    }

    /// quiche knows the stream from now on: what was said about it before.
    fn begin(&mut self, q: &mut Quic, id: u64) {
        let Some(s) = self.streams.get_mut(&id) else { return };
        s.begun = true;
        if !s.told {
            s.told = true;
            if s.urgency != DEFAULT_URGENCY || s.incremental {
                tell(q, id, s.urgency, s.incremental);
            }
        }
        if let Some(code) = s.stop.take() {
            // An error says that there is nothing left to stop.
            let _ = q.stream_shutdown(id, Shutdown::Read, code);
        }
    }

    fn forget_plain(&mut self, id: u64) {
        if self.streams.get(&id).is_some_and(Stream::plain) {
            self.streams.remove(&id);
        }
    }

    /// Our direction has ended, for whatever reason.
    pub fn finish(&mut self, id: u64) {
        let Some(s) = self.streams.remove(&id) else { return };
        if s.queued {
            self.queue.remove(&s.place(id));
        }
        if s.owed {
            self.owing -= 1;
        }
        if s.refused.is_some() {
            self.refused -= 1;
        }
        self.pending -= s.pending;
    }

    pub fn stopped(&mut self, id: u64, code: u64) {
        self.finish(id);
        if !self.told.contains(&id) {
            self.told.push(id);
            self.stops.push_back((id, code));
        }
    }

    /// The application stops reading a stream of ours that quiche does not know yet. False: there is none.
    pub fn stop_later(&mut self, id: u64, code: u64) -> bool {
        match self.streams.get_mut(&id) {
            Some(s) if s.queued && !s.begun => {
                s.stop = Some(code);
                true
            }
            _ => false,
        }
    }

    pub fn clear(&mut self) {
        *self = Outbound::default();
    }

    /// Also for a stream that is not there yet.
    pub fn priority(&mut self, q: &mut Quic, id: u64, urgency: u8, incremental: bool) {
        if !self.streams.contains_key(&id) {
            let usual = (urgency, incremental) == (DEFAULT_URGENCY, false);
            if usual || (self.streams.len() >= REMEMBERED.max(self.sweep) && !self.swept(q)) {
                return;
            }
        }
        let there = self.exists(q, id);
        let s = self.streams.entry(id).or_insert_with(Stream::new);
        if (s.urgency, s.incremental) != (urgency, incremental) {
            if s.queued {
                self.queue.remove(&s.place(id));
            }
            s.urgency = urgency;
            s.incremental = incremental;
            s.told = false;
            if s.queued {
                self.queue.insert(s.place(id));
            }
        }
        if !s.told && there {
            s.told = true;
            tell(q, id, urgency, incremental);
        }
        self.forget_plain(id);
    }

    /// Forgets what is remembered of streams that have ended. False: too many are left.
    fn swept(&mut self, q: &mut Quic) -> bool {
        self.streams.retain(|&id, s| s.queued || s.owed || !q.stream_closed(id));
        let idle = self.streams.values().filter(|s| !s.queued).count();
        self.sweep = REMEMBERED.max(self.streams.len() * 2 - idle);
        idle < REMEMBERED
    }

    // Giving to quiche

    /// A new flush: JavaScript has had its chance to add to what it was told about.
    pub fn release(&mut self) {
        self.held = None;
        self.held_back = false;
    }

    /// quiche has what it may have before packets are made of it.
    pub fn full(&self) -> bool {
        self.offered >= self.most()
    }

    /// Packets were made of what quiche had, but for the last `rest` bytes, which wait for more to fill one.
    pub fn sent(&mut self, rest: usize) {
        self.offered = rest;
    }

    /// Packets were made of what quiche had, as far as it went: it has no more than `rest` bytes.
    pub fn keeps(&mut self, rest: usize) {
        self.offered = self.offered.min(rest);
    }

    /// How large packets are.
    pub fn fit(&mut self, packet: usize) {
        self.packet = packet;
    }

    /// Stream bytes that quiche may get.
    fn most(&self) -> usize {
        OFFER.max((OFFER_PACKETS * self.packet).min(JUMBO_PACKET))
    }

    /// Gives quiche what it takes, in the queue's order.
    pub fn offer(&mut self, q: &mut Quic, now: Instant) {
        self.pass += 1;
        let mut outdone = false;
        let mut at: Option<Place> = None;
        while self.offered < self.most() {
            let next = match at {
                None => self.queue.first(),
                Some(p) => self.queue.range((Excluded(p), Unbounded)).next(),
            };
            let Some(&place) = next else { return };
            if self.held.is_some_and(|h| h.precedes(place)) {
                self.held_back = true;
                break;
            }
            at = Some(place);
            let took = self.offer_stream(q, place.id);
            self.judge(place.id, took, &mut outdone, now);
            self.pay(place.id);
            self.rotate(place);
        }
        self.forgive(at);
    }

    /// True when anything was taken. A stream with nothing left leaves the queue.
    fn offer_stream(&mut self, q: &mut Quic, id: u64) -> bool {
        let left = self.most() - self.offered;
        let Some(s) = self.streams.get_mut(&id) else { return false };
        // It was not incremental, or ran out of bytes, when its share was up.
        if s.share >= SHARE {
            s.share = 0;
        }
        let limit = left.min(if s.incremental { SHARE - s.share } else { left });
        if s.stalled && s.pending > 0 && q.stream_capacity(id) == Ok(0) {
            return false;
        }
        let mut total = 0;
        loop {
            let Some(s) = self.streams.get_mut(&id) else { return total > 0 };
            let chunk = s.peek(limit - total);
            let size = chunk.as_ref().map_or(0, Chunk::len);
            let fin = s.fin && size == s.pending;
            let n = match send(q, id, chunk, fin) {
                Wrote::Bytes(n) => n,
                Wrote::Blocked => {
                    s.stalled = true;
                    return total > 0;
                }
                Wrote::Waits => return total > 0,
                Wrote::Stopped(code) => {
                    self.stopped(id, code);
                    return false;
                }
                Wrote::Dead => {
                    self.finish(id);
                    return false;
                }
            };
            s.took(n);
            s.share += n;
            s.stalled = n < size;
            total += n;
            let (stalled, empty) = (s.stalled, s.pending == 0);
            self.pending -= n;
            self.offered += n;
            self.begin(q, id);
            if fin && !stalled {
                self.finish(id);
                return true;
            }
            if empty {
                self.leave(id);
                return true;
            }
            if stalled || total >= limit {
                return total > 0;
            }
        }
    }

    /// Nothing is left to be sent at the moment.
    fn leave(&mut self, id: u64) {
        let Some(s) = self.streams.get_mut(&id) else { return };
        if s.queued {
            s.queued = false;
            self.queue.remove(&s.place(id));
        }
        self.forgive_one(id);
        self.forget_plain(id);
    }

    /// An incremental stream that has had its share goes behind its equals.
    fn rotate(&mut self, place: Place) {
        let Some(s) = self.streams.get_mut(&place.id) else { return };
        if !s.queued || !s.incremental || s.share < SHARE {
            return;
        }
        s.share = 0;
        self.turns += 1;
        s.turn = self.turns;
        self.queue.remove(&place);
        self.queue.insert(s.place(place.id));
    }

    /// Tells a peer that does not read from streams that wait behind others: a connection's window, and its path, serve one after the other.
    fn judge(&mut self, id: u64, took: bool, outdone: &mut bool, now: Instant) {
        let pass = self.pass;
        let Some(s) = self.streams.get_mut(&id) else { return };
        if took {
            s.pass = pass;
        }
        if s.pass == pass || *outdone {
            // Whoever is behind a stream that moves and wants more is refused for its sake.
            *outdone |= s.queued;
            self.forgive_one(id);
        } else if s.queued && s.refused.is_none() {
            s.refused = Some(now);
            self.refused += 1;
        }
    }

    fn forgive_one(&mut self, id: u64) {
        if let Some(s) = self.streams.get_mut(&id)
            && s.refused.take().is_some()
        {
            self.refused -= 1;
        }
    }

    /// The turn of those behind this place has not come.
    fn forgive(&mut self, behind: Option<Place>) {
        if self.refused == 0 {
            return;
        }
        let start = behind.map_or(Unbounded, Excluded);
        let ids: Vec<u64> = self.queue.range((start, Unbounded)).map(|p| p.id).collect();
        for id in ids {
            self.forgive_one(id);
        }
    }

    /// Streams whose bytes the peer has had no room for since `ms` ago or longer.
    pub fn stuck(&self, ms: Duration, now: Instant) -> Vec<u64> {
        let since = |s: &Stream| s.refused.is_some_and(|at| now.saturating_duration_since(at) >= ms);
        self.queue.iter().filter(|p| self.streams.get(&p.id).is_some_and(since)).map(|p| p.id).collect()
    }

    /// WRITABLE for a stream that is below the mark again.
    fn pay(&mut self, id: u64) {
        if self.owing == 0 || self.pending > CONN_LOW {
            return;
        }
        let Some(s) = self.streams.get_mut(&id) else { return };
        if !s.owed || s.pending > WRITE_LOW {
            return;
        }
        s.owed = false;
        self.owing -= 1;
        self.writable.push_back(id);
        let place = s.place(id);
        if self.held.is_none_or(|h| place < h) {
            self.held = Some(place);
        }
        self.forget_plain(id);
    }

    /// WRITABLE for all streams that are below the mark again, the most urgent first.
    pub fn pay_debts(&mut self) {
        if self.owing == 0 || self.pending > CONN_LOW {
            return;
        }
        let due = |s: &Stream| s.owed && s.pending <= WRITE_LOW;
        let mut places: Vec<Place> = self.streams.iter().filter(|(_, s)| due(s)).map(|(&id, s)| s.place(id)).collect();
        places.sort_unstable();
        for p in places {
            self.pay(p.id);
        }
    }

    /// Whether a peer has lost interest shows only when one asks (quiche raises no event for STOP_SENDING). quiche counts them and lists
    /// such streams among the writable ones, as long as nobody takes them from there.
    pub fn poll_stops(&mut self, q: &mut Quic) {
        self.told.retain(|&id| !matches!(q.stream_capacity(id), Err(Error::InvalidStreamState(_))));
        for id in q.writable() {
            if let Err(Error::StreamStopped(code)) = q.stream_capacity(id) {
                self.stopped(id, code);
            }
        }
    }

    /// Whether quiche knows the stream.
    fn exists(&mut self, q: &mut Quic, id: u64) -> bool {
        match q.stream_capacity(id) {
            Ok(_) => true,
            Err(Error::StreamStopped(code)) => {
                self.stopped(id, code);
                false
            }
            Err(_) => false,
        }
    }
}

fn tell(q: &mut Quic, id: u64, urgency: u8, incremental: bool) {
    // A stream that has been collected in the meantime needs none.
    let _ = q.stream_priority(id, MIDDLE - DEFAULT_URGENCY * 8 + urgency * 8, incremental);
}
