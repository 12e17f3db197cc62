//! Every datagram's first stop: to its connection, to another worker, to those who want to become connections, or out.
//!
//! ```text
//! short header   id of ours -> Deliver    id of another worker -> Foreign    else a stateless reset, smaller than the datagram
//! long header    another version -> Version Negotiation
//!                version 1: id of ours, or a client in its handshake -> Deliver    another worker's -> Foreign
//!                           Initial -> admission (`gate/admission.rs`)    else Drop
//! ```
//!
//! Nothing is kept of what is dropped, what is delivered or dropped allocates nothing, and an answer has at most three times the bytes
//! of its question.

mod admission;
mod waiting;

pub use waiting::{Arrival, Waiting};

use crate::address;
use crate::counters::Counters;
use crate::ids::{CID_LENGTH, Cid, CidCodec, CidParts, NO_SLOT, Random, reset_token};
use crate::limits::TokenBucket;
use crate::options::{EndpointKeys, Key, Limits, ListenOptions, RetryMode};
use crate::packet::answers::{MIN_RESET_TRIGGER, stateless_reset, version_negotiation};
use crate::packet::{Invariant, Kind, LongHeader, MIN_INITIAL, MIN_INITIAL_DCID, QUIC_V1, is_fixed, is_long};
use admission::Admission;
use std::net::SocketAddr;
use std::time::Instant;

const VERSIONS_PER_SECOND: f64 = 1_000.0;
/// For ids that nobody here gave out.
const RESETS_PER_SECOND: f64 = 1_000.0;
/// For those that a worker of this node gave out, which nobody can make up: of a worker that is gone, all clients ask at once.
const LOST_PER_SECOND: f64 = 10_000.0;
const MIN_RESET_KEY: usize = 16;

/// What the gate asks of the connections that there are.
pub trait Population {
    /// A live connection with this slot and generation.
    fn alive(&self, slot: u32, generation: u32) -> bool;
    /// The connection in its handshake that this client's first id began (or the id that our Retry gave it).
    fn young(&self, from: SocketAddr, dcid: &[u8]) -> Option<u32>;
    /// All connections, those that are ending as well.
    fn live(&self) -> usize;
    fn handshaking(&self) -> usize;
    fn of_address(&self, key: &[u8; 8]) -> usize;
}

/// A client that may begin its handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    pub dcid: Vec<u8>,
    pub scid: Vec<u8>,
    /// After a Retry: the first id that the client chose; `dcid` is then the one that our Retry gave it.
    pub odcid: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the connection in this slot.
    Deliver {
        slot: u32,
    },
    /// To another worker of this node.
    Foreign {
        worker: u8,
    },
    Begin(Newcomer),
    /// This turn has begun enough handshakes: into `Waiting`, and here again in a later one.
    Wait,
    /// An answer of this many bytes is in `out`.
    Answer(usize),
    Drop,
}

/// What comes with a datagram and goes with its verdict.
struct Case<'a> {
    from: SocketAddr,
    forwarded: bool,
    population: &'a dyn Population,
    counters: &'a mut Counters,
    now: Instant,
    wall_ms: u64,
    out: &'a mut [u8],
}

pub struct Gate {
    codec: CidCodec,
    random: Random,
    reset_key: Key,
    /// Workers that take what would begin a connection: nobody's while this is empty.
    successors: Vec<u8>,
    admission: Admission,
    versions: TokenBucket,
    resets: TokenBucket,
    lost: TokenBucket,
}

impl Gate {
    pub fn new(o: &ListenOptions, now: Instant) -> Result<Self, String> {
        let bucket = |rate: f64| TokenBucket::new(rate, rate / 4.0, now);
        Ok(Gate {
            codec: CidCodec::new(&o.cid.key.0, o.cid.node_id, o.cid.worker_id)?,
            random: Random::new(),
            reset_key: usable_reset_key(&o.reset_key)?,
            successors: Vec::new(),
            admission: Admission::new(o, now)?,
            versions: bucket(VERSIONS_PER_SECOND),
            resets: bucket(RESETS_PER_SECOND),
            lost: bucket(LOST_PER_SECOND),
        })
    }

    /// Judges one datagram. Counts what it drops, refuses and answers: `dropped`, `answered`, `handshakes.refused_*`. Received datagrams
    /// and bytes are the caller's to count. `out` has room for 1,500 bytes.
    #[allow(clippy::too_many_arguments)]
    pub fn judge(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        forwarded: bool,
        population: &dyn Population,
        counters: &mut Counters,
        now: Instant,
        wall_ms: u64,
        out: &mut [u8],
    ) -> Verdict {
        let c = Case { from, forwarded, population, counters, now, wall_ms, out };
        match datagram.first() {
            None => {
                c.counters.dropped.empty += 1;
                Verdict::Drop
            }
            Some(&first) if is_long(first) => self.long(datagram, c),
            Some(&first) => self.short(first, datagram, c),
        }
    }

    fn short(&mut self, first: u8, datagram: &[u8], c: Case<'_>) -> Verdict {
        let Some(id) = datagram.get(1..=CID_LENGTH).filter(|_| is_fixed(first)) else {
            c.counters.dropped.malformed += 1;
            return Verdict::Drop;
        };
        let parts = self.codec.decode(id);
        if let Some(verdict) = parts.and_then(|p| self.own(&p, &c)).or_else(|| self.foreign(parts, &c)) {
            return settled(verdict, c.counters);
        }
        self.reset(id, parts.is_some(), datagram.len(), c.counters, c.now, c.out)
    }

    /// The worker whose connection this was for is gone.
    pub fn orphan(&mut self, datagram: &[u8], counters: &mut Counters, now: Instant, out: &mut [u8]) -> Verdict {
        match datagram.get(1..=CID_LENGTH).filter(|_| !is_long(datagram[0])) {
            Some(id) => self.reset(id, true, datagram.len(), counters, now, out),
            None => {
                counters.dropped.unknown_connection += 1;
                Verdict::Drop
            }
        }
    }

    /// What names no connection ends it at its client. `known`: a worker of this node gave the id out. Garbage takes no reset from those who have one.
    fn reset(&mut self, id: &[u8], known: bool, length: usize, counters: &mut Counters, now: Instant, out: &mut [u8]) -> Verdict {
        counters.dropped.unknown_connection += 1;
        let bucket = if known { &mut self.lost } else { &mut self.resets };
        if length < MIN_RESET_TRIGGER || !bucket.take(now) {
            return Verdict::Drop;
        }
        let token = reset_token(&self.reset_key.0, id);
        let written = stateless_reset(&token, length, &mut self.random, out);
        answer(written, &mut counters.answered.reset)
    }

    fn long(&mut self, datagram: &[u8], c: Case<'_>) -> Verdict {
        let invariant = Invariant::parse(datagram);
        if let Some(h) = invariant.as_ref().filter(|h| h.version != QUIC_V1) {
            return self.other_version(datagram, h, c);
        }
        let Some(h) = invariant.as_ref().and_then(LongHeader::parse) else {
            c.counters.dropped.malformed += 1;
            return Verdict::Drop;
        };
        if h.kind == Kind::Initial && datagram.len() < MIN_INITIAL {
            c.counters.dropped.short_initial += 1;
            return Verdict::Drop;
        }
        let parts = if h.dcid.len() == CID_LENGTH { self.codec.decode(h.dcid) } else { None };
        if let Some(verdict) = parts.and_then(|p| self.own(&p, &c)) {
            return verdict;
        }
        if h.kind == Kind::Initial && h.dcid.len() < MIN_INITIAL_DCID {
            c.counters.dropped.malformed += 1;
            return Verdict::Drop;
        }
        if let Some(slot) = c.population.young(c.from, h.dcid) {
            return Verdict::Deliver { slot };
        }
        // A Retry's id may begin a connection wherever it comes to: its token tells every worker as much as the one that gave it, which
        // may have been succeeded meanwhile.
        let begins = h.kind == Kind::Initial && parts.is_some_and(|p| p.slot == NO_SLOT);
        if let Some(verdict) = self.foreign(parts.filter(|_| !begins), &c).or_else(|| self.successor(h.dcid, &c)) {
            return settled(verdict, c.counters);
        }
        if h.kind == Kind::Initial {
            return self.admission.consider(&h, c, &mut self.codec, &mut self.random);
        }
        c.counters.dropped.unknown_connection += 1;
        Verdict::Drop
    }

    /// Version Negotiation for what may be a client of another version (RFC 9000 s5.2.2, s6.1); never for Version Negotiation itself.
    fn other_version(&mut self, datagram: &[u8], h: &Invariant<'_>, c: Case<'_>) -> Verdict {
        let dropped = &mut c.counters.dropped;
        let why = if h.version == 0 {
            &mut dropped.malformed
        } else if datagram.len() < MIN_INITIAL {
            &mut dropped.short_version
        } else if !self.versions.take(c.now) {
            &mut dropped.version_limited
        } else {
            let written = version_negotiation(h.dcid, h.scid, &mut self.random, c.out);
            return answer(written, &mut c.counters.answered.version);
        };
        *why += 1;
        Verdict::Drop
    }

    /// The connection that an id of this worker names.
    fn own(&self, p: &CidParts, c: &Case<'_>) -> Option<Verdict> {
        let ours = p.worker_id == self.codec.worker_id() && p.slot != NO_SLOT;
        (ours && c.population.alive(p.slot, p.generation)).then_some(Verdict::Deliver { slot: p.slot })
    }

    /// An id that another worker of this node gave out; what was handed over already must not go round: Drop.
    fn foreign(&self, parts: Option<CidParts>, c: &Case<'_>) -> Option<Verdict> {
        let worker = parts?.worker_id;
        if worker == self.codec.worker_id() {
            return None;
        }
        Some(if c.forwarded { Verdict::Drop } else { Verdict::Foreign { worker } })
    }

    /// The worker that takes this client's attempt: one for all its datagrams, whichever worker they come to.
    fn successor(&self, dcid: &[u8], c: &Case<'_>) -> Option<Verdict> {
        if c.forwarded || self.successors.is_empty() {
            return None;
        }
        let octets = address::encode(&c.from);
        // FNV-1a, whose low bits know little of the last octets' high ones.
        let hash = octets.iter().chain(dcid).fold(0x811c_9dc5_u32, |h, &b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        let worker = self.successors[(hash ^ hash >> 15) as usize % self.successors.len()];
        (worker != self.codec.worker_id()).then_some(Verdict::Foreign { worker })
    }

    /// Newcomers of these workers from now on; nobody: ours again.
    pub fn succeed(&mut self, workers: Vec<u8>) {
        self.successors = workers;
    }

    /// Once per turn, before what waits is judged, and before what has arrived.
    pub fn start_turn(&mut self) {
        self.admission.start_turn();
    }

    /// A handshake that was begun came to nothing.
    pub fn failed(&mut self) {
        self.admission.failed();
    }

    /// Sockets hold more than this turn has read.
    pub fn set_behind(&mut self, behind: bool) {
        self.admission.set_behind(behind);
    }

    /// Newcomers that are judged now have waited too long: they are refused.
    pub fn set_late(&mut self, late: bool) {
        self.admission.set_late(late);
    }

    /// Newcomers that are judged now are at an address that is to be left: they are refused.
    pub fn set_leaving(&mut self, leaving: bool) {
        self.admission.set_leaving(leaving);
    }

    /// Newcomers would only wait.
    pub fn is_full(&self) -> bool {
        self.admission.is_full()
    }

    /// This client's prefix had many of the last handshakes.
    pub fn has_many(&self, from: &SocketAddr) -> bool {
        self.admission.has_many(from)
    }

    pub fn new_id(&mut self, slot: u32, generation: u32, sequence: u8) -> Cid {
        self.codec.encode(slot, generation, sequence)
    }

    pub fn reset_token(&self, id: &[u8]) -> [u8; 16] {
        reset_token(&self.reset_key.0, id)
    }

    pub fn set_limits(&mut self, l: &Limits) {
        self.admission.set_limits(l);
    }

    pub fn set_retry(&mut self, m: RetryMode) {
        self.admission.set_retry(m);
    }

    /// All or nothing.
    pub fn set_keys(&mut self, k: &EndpointKeys) -> Result<(), String> {
        let reset_key = usable_reset_key(&k.reset_key)?;
        self.admission.set_token_keys(&k.token_keys)?;
        self.reset_key = reset_key;
        Ok(())
    }

    pub fn drain(&mut self) {
        self.admission.drain();
    }
}

fn usable_reset_key(key: &Key) -> Result<Key, String> {
    if key.0.len() < MIN_RESET_KEY { Err("resetKey: at least 16 bytes wanted".into()) } else { Ok(key.clone()) }
}

/// Counts a datagram that was about to go round.
fn settled(verdict: Verdict, counters: &mut Counters) -> Verdict {
    if verdict == Verdict::Drop {
        counters.dropped.foreign += 1;
    }
    verdict
}

/// What did not fit into `out` was not answered.
fn answer(written: Option<usize>, counter: &mut u64) -> Verdict {
    match written {
        Some(n) => {
            *counter += 1;
            Verdict::Answer(n)
        }
        None => Verdict::Drop,
    }
}
