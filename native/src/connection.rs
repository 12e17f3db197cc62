//! One connection: its life, its ids and paths, and what it tells JavaScript.

use crate::address;
use crate::budget::Budget;
use crate::chunks::Quic;
use crate::counters::Handshakes;
use crate::gate::Gate;
use crate::ids::{CID_LENGTH, YoungKey};
use crate::outbound::Outbound;
use crate::packet::{Invariant, LongHeader, is_long};
use crate::records::{EARLY, Events, FIN, Record, command, event};
use crate::transport::{JUMBO_PACKET, LARGEST_PACKET, SMALL_JUMBO, SMALLEST_PACKET, WORTH_A_PROBE};
use quiche::{ConnectionId, Error, PathEvent, RecvInfo, Shutdown};
use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an acknowledgement may wait for the answer that can carry it: well below the 25 ms that peers assume.
const ACK_DELAY: Duration = Duration::from_millis(3);
/// Datagrams that arrive before an acknowledgement goes out alone.
const ACK_EVERY: u32 = 8;
/// Bytes that leave before larger packets are tried, and how many times as many before they are tried again.
const BULK: usize = 256 * 1024;
const MORE_BULK: usize = 16;
/// What one connection may hand over before the others have their turn.
const SHARE: usize = 256 * 1024;
const CHUNK: usize = 64 * 1024;
/// Less room than this waits for an empty buffer.
const LEAST_ROOM: usize = 4096;
const REASON_BYTES: usize = 256;
/// Ids of ours that a peer may hold at once.
const OWN_IDS: usize = 4;
/// The sequence in an id has 8 bits, and none is used twice.
const LAST_SEQUENCE: u8 = u8::MAX;
const STATS: Duration = Duration::from_secs(1);
/// quiche's own bound (RFC 9000 s4.6).
const LAST_STREAM: u64 = (1 << 60) - 1;
const INTERNAL_ERROR: u64 = 0x01;
/// Codes from here on name a TLS alert (RFC 9001 s4.8).
const TLS_ALERT: u64 = 0x100;
const UNRECOGNIZED_NAME: u64 = 0x170;
const LAST_CODE: u64 = (1 << 62) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Local,
    Remote,
    Timeout,
    Reset,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    pub side: Side,
    pub app: bool,
    pub code: u64,
    pub reason: Vec<u8>,
}

impl Why {
    fn new(side: Side, app: bool, code: u64, reason: &[u8]) -> Self {
        Why { side, app, code, reason: reason.to_vec() }
    }

    fn record(&self, kind: u32, slot: u32, generation: u32) -> Record {
        let side = match self.side {
            Side::Local => 0,
            Side::Remote => 1,
            Side::Timeout => 2,
            Side::Reset => 3,
        };
        Record::new(kind, slot, generation).stream(self.code).flags(side | u32::from(self.app) << 2)
    }

    /// Counts a handshake that came to nothing, by whose error ended it (RFC 9001 s4.8: 0x100 and above are TLS alerts).
    pub fn count(&self, h: &mut Handshakes) {
        const CONNECTION_REFUSED: u64 = 0x02;
        const NO_APPLICATION_PROTOCOL: u64 = 0x178;
        let local = self.side == Side::Local;
        let outcome = match self.code {
            _ if self.side == Side::Timeout => &mut h.handshake_timeout,
            NO_APPLICATION_PROTOCOL => &mut h.alpn_failed,
            UNRECOGNIZED_NAME if local => &mut h.sni_rejected,
            0x100..=0x1ff if !self.app => &mut h.tls_failed,
            CONNECTION_REFUSED if local => &mut h.refused_draining,
            code if local && code != 0 => &mut h.tls_failed,
            _ => &mut h.client_gone,
        };
        *outcome += 1;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Handshaking,
    Open,
    /// It is over: what is left is to say so.
    Ending,
}

/// What `settle` has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Established,
    /// It was established.
    Ended,
    /// It never was.
    Failed,
}

/// How far `collect` came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    All,
    /// It has had its share, and has more.
    More,
    /// The buffers are full.
    Full,
}

pub struct Connection {
    pub q: Quic,
    pub slot: u32,
    pub generation: u32,
    pub phase: Phase,
    /// Validated.
    pub remote: SocketAddr,
    pub local: SocketAddr,
    pub outbound: Outbound,
    pub young: Option<YoungKey>,
    pub limit_key: [u8; 8],
    pub handshake_ms: u64,
    /// Of the endpoint's lists and timers.
    pub in_news: bool,
    pub in_wants: bool,
    pub armed: Option<Instant>,
    /// Bytes in `outbound` that the endpoint has counted.
    pub accounted: usize,
    dialled: bool,
    born: Instant,
    handshake_until: Instant,
    /// CONN is to be told, or has been.
    welcomed: bool,
    announced: bool,
    early: bool,
    why: Option<Why>,
    /// What quiche closed it for: the peer is told a code that stands for many errors.
    fault: Option<Error>,
    farewell: bool,
    moved: bool,
    paused: BTreeSet<u64>,
    /// Streams that quiche has named and that may have more.
    unread: VecDeque<u64>,
    stops_seen: u64,
    resets_seen: u64,
    /// Something other than an acknowledgement may have to leave.
    spoken: bool,
    /// Data was handed over since packets last left: an answer is likely.
    asked: bool,
    since_send: u32,
    ack_at: Option<Instant>,
    sequence: u8,
    retired: bool,
    /// There is, or was, another path than the first one.
    narrow: bool,
    /// How large packets may become on the first path.
    largest: usize,
    /// Bytes that have left since larger ones were tried, and how many have to.
    sent: usize,
    bulk: usize,
    /// None on the side that dials: it has chosen its peer.
    budget: Option<Budget>,
    stats: Cell<Option<(Instant, [f64; 4])>>,
}

pub struct Born {
    pub slot: u32,
    pub generation: u32,
    pub remote: SocketAddr,
    pub local: SocketAddr,
    pub limit_key: [u8; 8],
    pub young: Option<YoungKey>,
    pub now: Instant,
    pub handshake: Duration,
    /// None when it was dialled.
    pub budget: Option<Budget>,
}

/// The length of a datagram's first packet (RFC 9000 s12.2): never 0, unless there is nothing.
fn first_packet(datagram: &[u8]) -> usize {
    let all = datagram.len();
    if !datagram.first().is_some_and(|&first| is_long(first)) {
        return all;
    }
    let invariant = Invariant::parse(datagram);
    let Some(h) = invariant.as_ref().and_then(LongHeader::parse) else { return all };
    h.protected.as_ptr_range().end as usize - datagram.as_ptr_range().start as usize
}

impl Connection {
    pub fn new(q: Quic, b: Born) -> Self {
        Connection {
            q,
            slot: b.slot,
            generation: b.generation,
            phase: Phase::Handshaking,
            remote: b.remote,
            local: b.local,
            outbound: Outbound::default(),
            young: b.young,
            limit_key: b.limit_key,
            handshake_ms: 0,
            in_news: false,
            in_wants: false,
            armed: None,
            accounted: 0,
            dialled: b.budget.is_none(),
            born: b.now,
            handshake_until: b.now + b.handshake,
            welcomed: false,
            announced: false,
            early: false,
            why: None,
            fault: None,
            farewell: false,
            moved: false,
            paused: BTreeSet::new(),
            unread: VecDeque::new(),
            stops_seen: 0,
            resets_seen: 0,
            spoken: true,
            asked: false,
            since_send: 0,
            ack_at: None,
            sequence: 0,
            retired: false,
            narrow: false,
            largest: LARGEST_PACKET,
            sent: 0,
            bulk: BULK,
            budget: b.budget,
            stats: Cell::new(None),
        }
    }

    /// quiche can send nothing any more.
    pub fn give_up(&mut self, e: Error) {
        self.fault.get_or_insert(e);
        // Done: it has closed by itself.
        let _ = self.q.close(false, INTERNAL_ERROR, b"");
    }

    // What arrives

    /// False: the datagram names an id that the peer has given back.
    pub fn recv(&mut self, datagram: &mut [u8], from: SocketAddr, to: SocketAddr, now: Instant) -> bool {
        if self.retired && !self.names(datagram) {
            return false;
        }
        self.since_send += 1;
        if self.ack_at.is_none() {
            self.ack_at = Some(now + ACK_DELAY);
        }
        // quiche drops all that follows a packet whose keys are gone, say a Handshake packet in front of the first request: one by one, the
        // others are heard.
        let mut rest = datagram;
        while !rest.is_empty() {
            let (packet, others) = rest.split_at_mut(first_packet(rest));
            // Whatever the error, quiche has closed, or has dropped the packet: `settle` sees which.
            if let Err(e) = self.q.recv(packet, RecvInfo { from, to }) {
                self.fault.get_or_insert(e);
            }
            rest = others;
        }
        self.follow_paths();
        true
    }

    /// A short header carries one of our ids. quiche takes a packet with any other one, once authenticated, for a crime; it may only be late.
    fn names(&self, datagram: &[u8]) -> bool {
        match datagram.first() {
            Some(first) if first & 0x80 == 0 => {
                datagram.get(1..=CID_LENGTH).is_some_and(|id| self.q.source_ids().any(|own| own.as_ref() == id))
            }
            _ => true,
        }
    }

    fn follow_paths(&mut self) {
        while let Some(e) = self.q.path_event_next() {
            self.spoken = true;
            match e {
                PathEvent::PeerMigrated(local, peer) if (local, peer) != (self.local, self.remote) => {
                    (self.local, self.remote) = (local, peer);
                    self.moved = true;
                }
                PathEvent::New(..) => self.narrow = true,
                _ => {}
            }
        }
    }

    /// Keeps the peer supplied with ids, as it allows.
    pub fn issue_ids(&mut self, gate: &mut Gate) {
        if self.phase != Phase::Open {
            return;
        }
        while self.q.retired_scid_next().is_some() {
            self.retired = true;
        }
        while self.q.scids_left() > 0 && self.q.active_scids() < OWN_IDS && self.sequence < LAST_SEQUENCE {
            let id = gate.new_id(self.slot, self.generation, self.sequence + 1);
            let token = u128::from_be_bytes(gate.reset_token(&id));
            if self.q.new_scid(&ConnectionId::from_ref(&id), token, false).is_err() {
                return;
            }
            self.sequence += 1;
        }
    }

    /// What has become of it since the last look.
    pub fn settle(&mut self, now: Instant) -> Change {
        if self.phase == Phase::Handshaking {
            if self.q.is_established() {
                self.phase = Phase::Open;
                self.handshake_ms = now.saturating_duration_since(self.born).as_millis() as u64;
                self.welcomed = true;
                self.spoken = true;
                return Change::Established;
            }
            if !self.welcomed && self.q.is_in_early_data() && self.q.is_readable() {
                self.welcomed = true;
                self.early = true;
            }
            if now >= self.handshake_until {
                return self.end(Why::new(Side::Timeout, false, 0, b"handshake"));
            }
        }
        if self.phase == Phase::Ending {
            return Change::None;
        }
        let closed = self.q.is_closed();
        if closed || self.q.is_draining() || self.q.local_error().is_some() {
            let why = self.reason();
            return self.end(why);
        }
        Change::None
    }

    fn reason(&self) -> Why {
        if let Some(e) = self.q.peer_error() {
            return Why::new(Side::Remote, e.is_app, e.error_code, &e.reason);
        }
        if let Some(e) = self.q.local_error() {
            let ours = self.fault.filter(|_| !e.is_app && e.reason.is_empty() && e.error_code < TLS_ALERT).map(|e| e.to_string());
            return Why::new(Side::Local, e.is_app, e.error_code, ours.as_deref().map_or(&e.reason, str::as_bytes));
        }
        if self.q.is_timed_out() {
            return Why::new(Side::Timeout, false, 0, b"idle");
        }
        Why::new(Side::Reset, false, 0, b"")
    }

    fn end(&mut self, why: Why) -> Change {
        let change = if self.phase == Phase::Handshaking { Change::Failed } else { Change::Ended };
        self.phase = Phase::Ending;
        self.outbound.clear();
        self.paused.clear();
        // What came in front of the peer's goodbye is still told.
        if why.side != Side::Remote {
            self.unread.clear();
        }
        self.why = Some(why);
        self.spoken = true;
        change
    }

    /// Refused with unrecognized_name, which happens before anything is chosen.
    pub fn rejected_name(&self) -> bool {
        self.q.local_error().is_some_and(|e| e.error_code == UNRECOGNIZED_NAME)
    }

    pub fn why(&self) -> Option<&Why> {
        self.why.as_ref()
    }

    /// From JavaScript or from the endpoint.
    pub fn close(&mut self, app: bool, code: u64, reason: &[u8]) -> Change {
        if self.phase == Phase::Ending {
            return Change::None;
        }
        let reason = &reason[..reason.len().min(REASON_BYTES)];
        // Done: it has closed by itself in the meantime.
        let _ = self.q.close(app, code, reason);
        self.end(Why::new(Side::Local, app, code, reason))
    }

    /// Whether its peer has used up what it may send to no purpose. Only asked when everything that can be read was read.
    pub fn exhausted(&mut self) -> bool {
        let Some(b) = &mut self.budget else { return false };
        self.phase == Phase::Open && b.strained() && b.exceeded(Instant::now(), self.q.stats().sent as u64, self.paused.len())
    }

    fn finished(&mut self, id: u64, reset: bool) {
        let paused = self.paused.remove(&id);
        if let Some(b) = &mut self.budget {
            if reset && paused { b.released() } else { b.finished() }
        }
    }

    /// Nothing of it is left to be done.
    pub fn gone(&self) -> bool {
        let told = self.farewell || !(self.welcomed || self.dialled);
        // Whoever failed sends its Initial again when our answer was lost, and gets another one.
        let over = self.q.is_closed() || (!self.welcomed && self.since_send == 0 && !self.spoken);
        self.phase == Phase::Ending && told && (over || self.why.as_ref().is_some_and(|w| w.side == Side::Timeout))
    }

    // What JavaScript is told

    pub fn has_news(&self) -> bool {
        (self.welcomed && !self.announced)
            || self.moved
            || !self.outbound.writable.is_empty()
            || !self.outbound.stops.is_empty()
            || !self.unread.is_empty()
            || (self.phase == Phase::Ending && !self.farewell)
    }

    /// What arrives is for JavaScript: early data before the handshake is done.
    pub fn listens(&self) -> bool {
        self.welcomed || self.phase != Phase::Handshaking
    }

    fn record(&self, kind: u32) -> Record {
        Record::new(kind, self.slot, self.generation)
    }

    pub fn collect(&mut self, out: &mut Events<'_>) -> Told {
        if self.welcomed && !self.announce(out) {
            return Told::Full;
        }
        let told = if self.announced { self.collect_news(out) } else { Told::All };
        if told == Told::All && self.phase == Phase::Ending && !self.farewell && !self.take_leave(out) {
            return Told::Full;
        }
        told
    }

    fn announce(&mut self, out: &mut Events<'_>) -> bool {
        if self.announced {
            return true;
        }
        let longest = self.q.dgram_max_writable_len().unwrap_or(0) as u32;
        let record = self.record(event::CONN).flags(if self.early { EARLY } else { 0 });
        let parts: [&[u8]; 3] = [&address::encode(&self.remote), &address::encode(&self.local), &longest.to_le_bytes()];
        self.announced = out.push_bytes(record, &parts);
        self.announced
    }

    fn collect_news(&mut self, out: &mut Events<'_>) -> Told {
        if self.moved {
            let parts: [&[u8]; 2] = [&address::encode(&self.remote), &address::encode(&self.local)];
            if !out.push_bytes(self.record(event::PATH), &parts) {
                return Told::Full;
            }
            self.moved = false;
        }
        if self.phase == Phase::Open {
            self.look_around();
        }
        let reads = self.phase != Phase::Ending || self.why.as_ref().is_some_and(|w| w.side == Side::Remote);
        if reads {
            let told = self.collect_data(out);
            if told != Told::All {
                return told;
            }
        }
        while let Some(&(id, code)) = self.outbound.stops.front() {
            if !out.push(self.record(event::STOP).stream(id).code(code), None) {
                return Told::Full;
            }
            self.outbound.stops.pop_front();
        }
        while let Some(&id) = self.outbound.writable.front() {
            if !out.push(self.record(event::WRITABLE).stream(id), None) {
                return Told::Full;
            }
            self.outbound.writable.pop_front();
        }
        Told::All
    }

    /// What quiche only counts: streams whose peer has stopped reading them, and streams that it reset while they were paused.
    fn look_around(&mut self) {
        let stats = self.q.stats();
        if let Some(b) = &mut self.budget {
            b.arrived(stats.recv_bytes);
        }
        if stats.stopped_stream_count_remote != self.stops_seen {
            self.stops_seen = stats.stopped_stream_count_remote;
            self.outbound.poll_stops(&mut self.q);
        }
        if stats.reset_stream_count_remote != self.resets_seen {
            self.resets_seen = stats.reset_stream_count_remote;
            let over = self.paused.iter().filter(|&&id| self.q.stream_finished(id));
            self.unread.extend(over);
        }
    }

    fn collect_data(&mut self, out: &mut Events<'_>) -> Told {
        let mut left = SHARE;
        if !self.collect_datagrams(out) {
            return Told::Full;
        }
        loop {
            let Some(id) = self.unread.pop_front().or_else(|| self.q.stream_readable_next()) else { return Told::All };
            // A stream that is finished has nothing to be held back: it was reset, or nothing but its end is left.
            if !self.paused.is_empty() && self.paused.contains(&id) && !self.q.stream_finished(id) {
                continue;
            }
            let before = left;
            if !self.read(id, out, &mut left) {
                self.unread.push_front(id);
                return if left == 0 { Told::More } else { Told::Full };
            }
            self.asked |= left < before;
        }
    }

    /// False: no room, or its share is used up; `left` is 0 in the second case.
    fn read(&mut self, id: u64, out: &mut Events<'_>, left: &mut usize) -> bool {
        loop {
            let tight = out.room().len() < LEAST_ROOM && out.count() > 0;
            if !out.has_record() || tight || out.room().is_empty() {
                return false;
            }
            if *left == 0 {
                return false;
            }
            let record = self.record(event::DATA).stream(id);
            let room = out.room();
            let size = room.len().min(CHUNK).min(*left);
            match self.q.stream_recv(id, &mut room[..size]) {
                Ok((0, false)) => return true,
                Ok((n, fin)) => {
                    *left -= n;
                    self.asked = true;
                    out.push(record.flags(if fin { FIN } else { 0 }), Some(n));
                    if let Some(b) = &mut self.budget {
                        b.delivered(n);
                    }
                    if fin {
                        self.finished(id, false);
                    }
                    if fin || n < size {
                        return true;
                    }
                }
                Err(Error::StreamReset(code)) => {
                    self.finished(id, true);
                    self.spoken = true;
                    out.push(self.record(event::RESET).stream(id).code(code), None);
                    return true;
                }
                Err(_) => return true,
            }
        }
    }

    fn collect_datagrams(&mut self, out: &mut Events<'_>) -> bool {
        while let Some(length) = self.q.dgram_recv_front_len() {
            if !out.has_record() || (out.room().len() < length && out.count() > 0) {
                return false;
            }
            let record = self.record(event::DATAGRAM);
            match self.q.dgram_recv(out.room()) {
                Ok(n) => {
                    out.push(record, Some(n));
                    if let Some(b) = &mut self.budget {
                        b.delivered(n);
                    }
                }
                // Larger than the whole buffer: gone.
                Err(_) => continue,
            }
        }
        true
    }

    fn take_leave(&mut self, out: &mut Events<'_>) -> bool {
        let Some(why) = &self.why else { return true };
        let kind = match (self.welcomed, self.dialled) {
            (true, _) => event::CLOSE,
            (false, true) => event::FAILED,
            (false, false) => return true,
        };
        let reason = &why.reason[..why.reason.len().min(REASON_BYTES)];
        self.farewell = out.push_bytes(why.record(kind, self.slot, self.generation), &[reason]);
        self.farewell
    }

    // What JavaScript commands

    /// False: the record makes no sense.
    pub fn command(&mut self, r: &Record, data: &[u8]) -> bool {
        let (id, flags) = (r.id(), r.flag_bits());
        match r.kind() {
            command::SEND => {
                let (Some(range), true) = (r.range(data.len()), self.writes(id)) else { return false };
                self.spoken = true;
                let fin = flags & FIN != 0;
                let want = flags & crate::records::WANT_WRITABLE != 0;
                self.outbound.write(&mut self.q, id, &data[range], fin, want);
            }
            command::RESET => {
                if !self.writes(id) || r.error() > LAST_CODE {
                    return false;
                }
                self.spoken = true;
                self.outbound.finish(id);
                // An error: a stream that quiche does not know (yet or any more) needs no shutdown.
                let _ = self.q.stream_shutdown(id, Shutdown::Write, r.error());
            }
            command::STOP => {
                if !self.reads(id) || r.error() > LAST_CODE {
                    return false;
                }
                self.spoken = true;
                self.paused.remove(&id);
                let later = self.outbound.stop_later(id, r.error());
                if !later
                    && self.q.stream_shutdown(id, Shutdown::Read, r.error()).is_ok()
                    && let Some(b) = &mut self.budget
                {
                    b.released();
                }
            }
            command::PAUSE => {
                if !self.reads(id) {
                    return false;
                }
                if !self.q.stream_finished(id) {
                    self.paused.insert(id);
                }
            }
            command::RESUME => {
                if !self.reads(id) {
                    return false;
                }
                if self.paused.remove(&id) {
                    self.spoken = true;
                    self.unread.push_back(id);
                }
            }
            command::PRIORITY => {
                if !self.writes(id) || flags > 15 {
                    return false;
                }
                self.outbound.priority(&mut self.q, id, (flags & 7) as u8, flags & 8 != 0);
            }
            command::DATAGRAM => {
                let Some(range) = r.range(data.len()) else { return false };
                self.spoken = true;
                // DATAGRAM frames may be lost: also here, when too many wait.
                let _ = self.q.dgram_send(&data[range]);
            }
            command::PING => {
                self.spoken = true;
                let _ = self.q.send_ack_eliciting();
            }
            _ => return false,
        }
        true
    }

    fn own(&self, id: u64) -> bool {
        (id & 1 == 1) == self.q.is_server()
    }

    /// Streams that have a direction of ours. Bidirectional ones are opened by clients alone (RFC 9114 s6.1).
    fn writes(&self, id: u64) -> bool {
        id <= LAST_STREAM && if id & 2 == 0 { id & 1 == 0 } else { self.own(id) }
    }

    fn reads(&self, id: u64) -> bool {
        id <= LAST_STREAM && if id & 2 == 0 { id & 1 == 0 } else { !self.own(id) }
    }

    // What leaves, and when

    /// Nothing but an acknowledgement can be due, and the answer that is likely to follow can carry it.
    pub fn may_wait(&self, now: Instant) -> bool {
        self.phase == Phase::Open
            && self.asked
            && !self.spoken
            && self.since_send < ACK_EVERY
            && !self.outbound.waiting()
            && self.ack_at.is_some_and(|at| at > now)
    }

    /// How large the next packet may be.
    pub fn largest(&self) -> usize {
        if self.narrow { SMALLEST_PACKET } else { self.largest }
    }

    /// So many bytes have left. Whoever is sent much gets packets as large as the first hop (`mtu`), the peer and QUIC's lengths allow, if the
    /// path turns out to carry them. A path that does not costs three packets, and later three more: it may have failed for a while only.
    pub fn has_sent(&mut self, bytes: usize, mtu: impl FnOnce(SocketAddr) -> Option<usize>) {
        self.sent += bytes;
        if self.sent < self.bulk {
            return;
        }
        self.sent = 0;
        self.bulk = self.bulk.saturating_mul(MORE_BULK);
        if self.narrow {
            return;
        }
        let theirs = self.q.peer_transport_params().map_or(0, |p| usize::try_from(p.max_udp_payload_size).unwrap_or(usize::MAX));
        let window = self.q.path_stats().find(|p| p.active).map_or(0, |p| p.cwnd);
        // A probe waits for a window that holds it.
        let most = if window < JUMBO_PACKET * 3 / 2 { SMALL_JUMBO } else { JUMBO_PACKET };
        let size = mtu(self.remote).unwrap_or(0).min(theirs).min(most);
        if size >= WORTH_A_PROBE && self.q.raise_pmtu(size) {
            self.largest = size;
        }
    }

    /// Everything that could leave has left.
    pub fn quiet(&mut self) {
        self.spoken = false;
        self.asked = false;
        self.since_send = 0;
        self.ack_at = None;
    }

    pub fn on_due(&mut self, now: Instant) {
        if self.q.timeout_instant().is_some_and(|at| at <= now) {
            self.q.on_timeout();
            self.follow_paths();
            self.spoken = true;
        }
        if self.ack_at.is_some_and(|at| at <= now) {
            self.spoken = true;
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        let handshake = (self.phase == Phase::Handshaking).then_some(self.handshake_until);
        let ack = self.ack_at.filter(|_| self.phase == Phase::Open);
        [self.q.timeout_instant(), handshake, ack].into_iter().flatten().min()
    }

    /// RTT in ms, lost, sent, received.
    pub fn stats(&self, now: Instant) -> [f64; 4] {
        if let Some((at, s)) = self.stats.get()
            && now.saturating_duration_since(at) < STATS
        {
            return s;
        }
        let all = self.q.stats();
        let rtt = self.q.path_stats().find(|p| p.active).map_or(0.0, |p| p.rtt.as_secs_f64() * 1000.0);
        let s = [rtt, all.lost as f64, all.sent as f64, all.recv as f64];
        self.stats.set(Some((now, s)));
        s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_one_datagram_are_told_apart() {
        let handshake = [&[0xe0, 0, 0, 0, 1, 2, 1, 1, 1, 3, 0x40, 20][..], &[7; 20]].concat();
        let short = [&[0x40][..], &[9; 50]].concat();
        assert_eq!(first_packet(&[&handshake[..], &short].concat()), handshake.len());
        assert_eq!((first_packet(&handshake), first_packet(&short), first_packet(&[])), (handshake.len(), short.len(), 0));
        // What cannot be read is left to quiche as it is.
        for n in 1..handshake.len() {
            assert_eq!(first_packet(&handshake[..n]), n);
        }
        let retry = [&[0xf0, 0, 0, 0, 1, 0, 0][..], &[1; 40]].concat();
        assert_eq!(first_packet(&retry), retry.len());
    }
}
