//! What an endpoint does with its connections: brings them datagrams, commands and time, and takes events and packets.

use crate::address;
use crate::chunks::Chunks;
use crate::connection::{Born, Change, Connection, Phase, Told};
use crate::counters::Counters;
use crate::flights::Flights;
use crate::gate::{Arrival, Population as _, Verdict};
use crate::handover::{Handed, entries, next};
use crate::ids::{CID_LENGTH, Random, SlotPool};
use crate::listener::{Begun, Listener};
use crate::memory::{self, Tide};
use crate::options::DialOptions;
use crate::packet::is_long;
use crate::population::Population;
use crate::port::{Port, port_of};
use crate::records::{Events, Record, command, event};
use crate::report;
use crate::socket::{MAX_DATAGRAM, first_hop};
use crate::steering::{Heard, is_message};
use crate::timers::Timers;
use crate::tls;
use crate::transport::LARGEST_PACKET;
use quiche::{ConnectionId, Error};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of packets per connection and flush, where short ones count as one of the usual size: the others want their turn.
const SHARE: usize = 64 * LARGEST_PACKET;
/// Datagrams of other workers that wait to be handed out.
const FOREIGN: usize = 512;
const MAX_SLOTS: u32 = 0xff_ffff;
const LAST_CODE: u64 = (1 << 62) - 1;
const CONNECTION_REFUSED: u64 = 0x02;
const H3_EXCESSIVE_LOAD: u64 = 0x107;

pub enum Role {
    Listener(Box<Listener>),
    Dialler { sni: Option<String> },
}

/// The present, monotonic for everything but tokens.
#[derive(Clone, Copy)]
pub struct Times {
    pub now: Instant,
    wall_ms: u64,
}

impl Times {
    pub fn at(now: Instant) -> Self {
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        Times { now, wall_ms }
    }
}

/// How far the sending of a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    Done,
    /// It could go on.
    More,
    Blocked,
}

/// What has become of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The connection in this slot, or begun there: to be settled.
    Slot(u32),
    /// A later turn judges it.
    Later,
    Nothing,
}

struct Foreign {
    worker: u8,
    datagram: Box<[u8]>,
    from: SocketAddr,
    to: SocketAddr,
}

pub struct Engine {
    pub counters: Counters,
    pub people: Population,
    role: Role,
    pool: SlotPool,
    timers: Timers,
    news: VecDeque<u32>,
    wants: VecDeque<u32>,
    foreign: VecDeque<Foreign>,
    flights: Flights,
    /// Where answers go when there is no room for them.
    scratch: Box<[u8]>,
    queued: usize,
    tide: Tide,
}

impl Engine {
    pub fn new(role: Role) -> Self {
        Engine {
            counters: Counters::default(),
            people: Population::default(),
            role,
            pool: SlotPool::new(Random::new().number(), MAX_SLOTS),
            timers: Timers::default(),
            news: VecDeque::new(),
            wants: VecDeque::new(),
            foreign: VecDeque::new(),
            flights: Flights::default(),
            scratch: vec![0; MAX_DATAGRAM].into(),
            queued: 0,
            tide: Tide::default(),
        }
    }

    pub fn listener(&mut self) -> Result<&mut Listener, String> {
        match &mut self.role {
            Role::Listener(l) => Ok(l),
            Role::Dialler { .. } => Err("this endpoint does not listen".into()),
        }
    }

    pub fn listens(&self) -> bool {
        matches!(self.role, Role::Listener(_))
    }

    /// The one connection of an endpoint that dials.
    pub fn dial(&mut self, o: &DialOptions, config: &mut quiche::Config, local: SocketAddr) -> Result<(), String> {
        let (slot, generation) = self.pool.take().ok_or("no slot")?;
        let id: [u8; CID_LENGTH] = Random::new().bytes();
        let remote = SocketAddr::new(o.host, o.port);
        let q = quiche::connect_with_buffer_factory::<Chunks>(tls::dial_name(o), &ConnectionId::from_ref(&id), local, remote, config);
        let born = Born {
            slot,
            generation,
            remote,
            local,
            limit_key: address::limit_key(&remote),
            young: None,
            budget: None,
            now: Instant::now(),
            handshake: Duration::from_millis(o.handshake_ms),
        };
        self.people.insert(Box::new(Connection::new(q.map_err(|e| format!("sni: {e}"))?, born)));
        self.want(slot);
        Ok(())
    }

    pub fn live(&self) -> usize {
        self.people.live()
    }

    pub fn queued(&self) -> usize {
        self.queued
    }

    fn tell(&mut self, slot: u32) {
        if let Some(c) = self.people.at(slot)
            && !c.in_news
        {
            c.in_news = true;
            self.news.push_back(slot);
        }
    }

    fn want(&mut self, slot: u32) {
        if let Some(c) = self.people.at(slot)
            && !c.in_wants
        {
            c.in_wants = true;
            self.wants.push_back(slot);
        }
    }

    // What arrives

    /// Newcomers are counted by turn.
    pub fn start_turn(&mut self) {
        self.flights.clear();
        if let Ok(l) = self.listener() {
            l.gate.start_turn();
        }
    }

    pub fn is_waiting(&self) -> bool {
        matches!(&self.role, Role::Listener(l) if !l.waiting.is_empty())
    }

    /// The sockets hold more than this turn has read: newcomers can wait, those who are here cannot.
    pub fn set_behind(&mut self, behind: bool) {
        if let Ok(l) = self.listener() {
            l.gate.set_behind(behind);
        }
    }

    /// Newcomers of earlier turns; those that have waited too long are refused, as many as there are.
    pub fn admit(&mut self, ports: &mut [Port], times: Times) {
        if !self.is_waiting() {
            return;
        }
        while let Role::Listener(l) = &mut self.role {
            let late = l.waiting.is_late(times.now);
            if !late && l.gate.is_full() {
                break;
            }
            let Some(Arrival { mut datagram, from, to, forwarded, .. }) = l.waiting.pop() else { break };
            l.gate.set_late(late);
            if let Some(port) = port_of(ports, to) {
                self.judge(&mut ports[port], &mut datagram, from, to, forwarded, times);
            }
        }
        if let Ok(l) = self.listener() {
            l.gate.set_late(false);
        }
        self.settle_all(times.now);
    }

    pub fn arrive(
        &mut self,
        port: &mut Port,
        datagram: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        forwarded: bool,
        times: Times,
    ) -> Reached {
        self.counters.datagrams[0] += 1;
        self.counters.bytes[0] += datagram.len() as u64;
        match &self.role {
            Role::Listener(_) => self.judge(port, datagram, from, to, forwarded, times),
            Role::Dialler { .. } => {
                self.answered(datagram, from, to, port.socket.local(), times.now);
                Reached::Slot(0)
            }
        }
    }

    /// A dialled endpoint has no gate: quiche drops what does not come from where it asked; here what names another connection.
    fn answered(&mut self, datagram: &mut [u8], from: SocketAddr, to: SocketAddr, bound: SocketAddr, now: Instant) {
        let Some(c) = self.people.at(0) else { return };
        if datagram.is_empty() || from != c.remote {
            return;
        }
        // A short header that is not ours may be a stateless reset.
        let long = datagram[0] & 0x80 != 0;
        let named = datagram.get(5) == Some(&(CID_LENGTH as u8)) && datagram.get(6..6 + CID_LENGTH) == Some(c.q.source_id().as_ref());
        if long && !named {
            return;
        }
        c.local = to;
        // quiche knows the path by the address that the socket is bound to.
        c.recv(datagram, from, bound, now);
        if c.phase != Phase::Handshaking {
            self.tell(0);
        }
        self.want(0);
    }

    fn judge(&mut self, port: &mut Port, datagram: &mut [u8], from: SocketAddr, to: SocketAddr, forwarded: bool, times: Times) -> Reached {
        let Role::Listener(l) = &mut self.role else { return Reached::Nothing };
        if self.flights.is_answered(datagram, from) {
            return Reached::Nothing;
        }
        if is_message(datagram)
            && let Some(s) = &mut port.steering
        {
            match s.hear(datagram, forwarded) {
                Heard::Nothing => {}
                // It has reached whom it was for.
                Heard::Answer => return Reached::Later,
                Heard::Question(worker, answer) => {
                    if let Some(h) = &mut l.handover {
                        h.push(worker, &answer, &from, &to, times.now);
                    }
                    return Reached::Nothing;
                }
            }
        }
        let out = port.outbox.room().unwrap_or(&mut self.scratch);
        let Times { now, wall_ms } = times;
        l.gate.set_leaving(port.refuses);
        let mut verdict = l.gate.judge(datagram, from, forwarded, &self.people, &mut self.counters, now, wall_ms, out);
        if verdict == Verdict::Wait && l.waiting.is_crowded(now) && l.gate.has_many(&from) && !l.waiting.continues(datagram, &from) {
            l.gate.set_late(true);
            verdict = l.gate.judge(datagram, from, forwarded, &self.people, &mut self.counters, now, wall_ms, out);
            l.gate.set_late(false);
        }
        match verdict {
            Verdict::Deliver { slot } => {
                self.deliver(slot, datagram, from, to, now);
                return Reached::Slot(slot);
            }
            Verdict::Begin(newcomer) => return self.begin(newcomer, datagram, from, to, now).map_or(Reached::Nothing, Reached::Slot),
            Verdict::Wait => {
                let datagram = datagram.to_vec();
                l.waiting.push(Arrival { datagram, from, to, forwarded, at: now }, &mut self.counters);
                return Reached::Later;
            }
            // Without room the answer is lost, as datagrams can be.
            Verdict::Answer(n) => {
                if port.outbox.room().is_some() {
                    port.outbox.commit(n, to, from);
                }
                self.flights.answered(datagram, from);
            }
            Verdict::Foreign { worker } => match &mut l.handover {
                Some(h) => {
                    if let Some(s) = port.steering.as_mut().filter(|_| !is_long(datagram[0])) {
                        s.astray();
                    }
                    h.push(worker, datagram, &from, &to, now);
                }
                None => self.tell_foreign(worker, datagram, from, to),
            },
            Verdict::Drop => {}
        }
        Reached::Nothing
    }

    /// Without a hand-over of our own, JavaScript has one.
    fn tell_foreign(&mut self, worker: u8, datagram: &[u8], from: SocketAddr, to: SocketAddr) {
        if self.foreign.len() >= FOREIGN {
            self.counters.dropped.foreign += 1;
            return;
        }
        self.foreign.push_back(Foreign { worker, datagram: datagram.into(), from, to });
    }

    /// What waits for other workers leaves. The clients of those that are gone hear so from us.
    pub fn hand_over(&mut self, ports: &mut [Port], now: Instant) {
        let Role::Listener(l) = &mut self.role else { return };
        let Listener { handover: Some(h), gate, .. } = l.as_mut() else { return };
        h.send(now, |datagram, from, to| {
            let Some(port) = port_of(ports, to) else { return };
            let out = ports[port].outbox.room().unwrap_or(&mut self.scratch);
            if let Verdict::Answer(n) = gate.orphan(datagram, &mut self.counters, now, out)
                && ports[port].outbox.room().is_some()
            {
                ports[port].outbox.commit(n, to, from);
            }
        });
    }

    /// Whether a connection's datagrams leave through this port.
    pub fn uses(&mut self, ports: &[Port], port: usize) -> bool {
        self.people.all().any(|c| port_of(ports, c.local) == Some(port))
    }

    /// A message of another worker, into `memory`. Err: the socket is dead.
    pub fn receive_handed(&mut self, memory: &mut [u8]) -> Result<Option<usize>, String> {
        let Role::Listener(l) = &mut self.role else { return Ok(None) };
        let Some(h) = &l.handover else { return Ok(None) };
        h.receive(memory).map_err(|e| format!("handover: {e}"))
    }

    /// The datagrams in a message of another worker: how many.
    pub fn take_in(&mut self, ports: &mut [Port], message: &mut [u8], times: Times) -> u64 {
        let mut handed = Handed::default();
        let mut rest = entries(message).unwrap_or_default();
        let mut whole = !rest.is_empty();
        while let Some((datagram, from, to)) = next(&mut rest) {
            handed.received += 1;
            let foreign = self.counters.dropped.foreign;
            match port_of(ports, to).filter(|_| from.is_ipv4() == to.is_ipv4()) {
                Some(port) => {
                    let reached = self.arrive(&mut ports[port], datagram, from, to, true, times);
                    handed.delivered += u64::from(reached != Reached::Nothing);
                    handed.refused += self.counters.dropped.foreign - foreign;
                }
                None => handed.refused += 1,
            }
        }
        whole &= rest.is_empty();
        handed.refused += u64::from(!whole);
        if let Role::Listener(l) = &mut self.role
            && let Some(h) = &mut l.handover
        {
            h.handed.received += handed.received;
            h.handed.delivered += handed.delivered;
            h.handed.refused += handed.refused;
        }
        handed.received
    }

    /// Datagrams that have come since the beginning, and those of them that were for other workers.
    pub fn traffic(&self) -> (u64, u64) {
        let pushed = match &self.role {
            Role::Listener(l) => l.handover.as_ref().map_or(0, |h| h.pushed),
            Role::Dialler { .. } => 0,
        };
        (self.counters.datagrams[0], pushed)
    }

    pub fn handed(&self) -> Handed {
        match &self.role {
            Role::Listener(l) => l.handover.as_ref().map(|h| h.handed).unwrap_or_default(),
            Role::Dialler { .. } => Handed::default(),
        }
    }

    fn deliver(&mut self, slot: u32, datagram: &mut [u8], from: SocketAddr, to: SocketAddr, now: Instant) {
        let Some(c) = self.people.at(slot) else { return };
        if c.recv(datagram, from, to, now) {
            if c.listens() {
                self.tell(slot);
            }
            self.want(slot);
        } else {
            self.counters.dropped.unknown_connection += 1;
        }
    }

    fn begin(&mut self, n: crate::gate::Newcomer, datagram: &mut [u8], from: SocketAddr, to: SocketAddr, now: Instant) -> Option<u32> {
        let Role::Listener(l) = &mut self.role else { return None };
        let Some((slot, generation)) = self.pool.take() else {
            self.counters.dropped.connections += 1;
            return None;
        };
        match l.begin((slot, generation), n, datagram, from, to, now) {
            Ok(Begun::Connection(c)) => {
                self.people.insert(c);
                self.tide.level(self.people.live(), Instant::now);
                self.want(slot);
                return Some(slot);
            }
            Ok(Begun::Refused(mut c)) => {
                c.settle(now);
                l.gate.failed();
                if let Some(why) = c.why() {
                    why.count(&mut self.counters.handshakes);
                }
                self.pool.give(slot);
            }
            Ok(Begun::Forged) | Err(_) => {
                l.gate.failed();
                self.counters.dropped.malformed += 1;
                self.pool.give(slot);
            }
        }
        None
    }

    /// What has become of those whom something has reached.
    pub fn settle_all(&mut self, now: Instant) {
        for i in 0..self.wants.len() {
            if let Some(&slot) = self.wants.get(i) {
                self.settle(slot, now);
            }
        }
    }

    pub fn settle(&mut self, slot: u32, now: Instant) {
        let Some(c) = self.people.at(slot) else { return };
        let change = c.settle(now);
        if let Role::Listener(l) = &mut self.role {
            c.issue_ids(&mut l.gate);
        }
        if c.has_news() {
            self.tell(slot);
        }
        self.changed(slot, change);
    }

    fn changed(&mut self, slot: u32, change: Change) {
        let listens = self.listens();
        match change {
            Change::None => return,
            Change::Established => {
                self.people.established(slot);
                self.counters.handshakes.accepted += u64::from(listens);
            }
            Change::Failed => {
                self.people.failed(slot);
                if let Role::Listener(l) = &mut self.role {
                    l.gate.failed();
                }
                if let Some(why) = self.people.at(slot).and_then(|c| c.why()) {
                    why.count(&mut self.counters.handshakes);
                }
            }
            Change::Ended => self.people.ended(),
        }
        self.account(slot);
        self.tell(slot);
        self.want(slot);
    }

    // What JavaScript hears

    /// The endpoint was told to drain, and its last connection is gone.
    fn drained(&self) -> bool {
        let idle = self.people.open() + self.people.handshaking() == 0;
        idle && matches!(&self.role, Role::Listener(l) if l.draining.is_some_and(|d| !d.told))
    }

    pub fn wants_collect(&self) -> bool {
        !self.news.is_empty() || !self.foreign.is_empty() || self.drained()
    }

    pub fn collect(&mut self, out: &mut Events<'_>) {
        if !self.collect_foreign(out) {
            return;
        }
        while let Some(&slot) = self.news.front() {
            let Some(c) = self.people.at(slot).filter(|c| c.in_news) else {
                self.news.pop_front();
                continue;
            };
            let told = c.collect(out);
            match told {
                Told::Full => return,
                Told::More => self.news.rotate_left(1),
                // What it has to say now is that.
                Told::All if c.exhausted() => {
                    let change = c.close(true, H3_EXCESSIVE_LOAD, b"budget");
                    self.changed(slot, change);
                }
                Told::All => {
                    self.news.pop_front();
                    c.in_news = false;
                    self.reap(slot);
                }
            }
            // Windows have moved, perhaps.
            self.want(slot);
        }
        if self.drained()
            && out.push(Record::new(event::DRAINED, 0, 0), None)
            && let Ok(l) = self.listener()
            && let Some(d) = &mut l.draining
        {
            d.told = true;
        }
    }

    fn collect_foreign(&mut self, out: &mut Events<'_>) -> bool {
        while let Some(f) = self.foreign.front() {
            let parts: [&[u8]; 3] = [&address::encode(&f.from), &address::encode(&f.to), &f.datagram];
            if !out.push_bytes(Record::new(event::FOREIGN, u32::from(f.worker), 0), &parts) {
                return false;
            }
            self.foreign.pop_front();
        }
        true
    }

    /// Frees a connection of which nothing is left.
    fn reap(&mut self, slot: u32) {
        if !self.people.at(slot).is_some_and(|c| c.gone() && !c.in_news) {
            return;
        }
        if let Some(mut c) = self.people.remove(slot, &mut self.pool) {
            self.timers.disarm(slot, &mut c.armed);
            self.queued -= c.accounted;
            self.tide.level(self.people.live(), Instant::now);
        }
    }

    // What JavaScript says

    pub fn command(&mut self, r: &Record, data: &[u8]) {
        let live = self.people.at(r.slot()).filter(|c| c.generation == r.generation() && c.phase != Phase::Ending);
        let Some(c) = live else {
            let known = (command::SEND..=command::PING).contains(&r.kind());
            let counter = if known { &mut self.counters.commands_stale } else { &mut self.counters.commands_invalid };
            *counter += 1;
            return;
        };
        let slot = c.slot;
        if r.kind() == command::CLOSE {
            self.close(slot, r, data);
            return;
        }
        if !c.command(r, data) {
            self.counters.commands_invalid += 1;
            return;
        }
        let news = c.has_news();
        self.account(slot);
        self.want(slot);
        if news {
            self.tell(slot);
        }
    }

    fn close(&mut self, slot: u32, r: &Record, data: &[u8]) {
        let (Some(range), true) = (r.range(data.len()), r.id() <= LAST_CODE) else {
            self.counters.commands_invalid += 1;
            return;
        };
        let Some(c) = self.people.at(slot) else { return };
        let change = c.close(r.flag_bits() & 1 != 0, r.id(), &data[range]);
        self.changed(slot, change);
    }

    pub fn close_all(&mut self) {
        let slots: Vec<u32> = self.people.all().map(|c| c.slot).collect();
        self.close_these(&slots, 0);
    }

    fn close_these(&mut self, slots: &[u32], code: u64) {
        for &slot in slots {
            let Some(c) = self.people.at(slot) else { continue };
            let change = c.close(false, code, b"");
            self.changed(slot, change);
        }
    }

    /// Takes note of how much a connection holds.
    fn account(&mut self, slot: u32) {
        let Some(c) = self.people.at(slot) else { return };
        let pending = c.outbound.pending();
        self.queued = self.queued - c.accounted + pending;
        c.accounted = pending;
    }

    // Time

    pub fn deadline(&self) -> Option<Instant> {
        let draining = match &self.role {
            Role::Listener(l) => l.draining.and_then(|d| d.until),
            Role::Dialler { .. } => None,
        };
        [self.timers.next(), draining, self.hand_over_deadline(), self.tide.deadline()].into_iter().flatten().min()
    }

    /// When datagrams that wait for another worker are sent again.
    pub fn hand_over_deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Listener(l) => l.handover.as_ref().and_then(|h| h.deadline()),
            Role::Dialler { .. } => None,
        }
    }

    pub fn due(&mut self, now: Instant) {
        self.end_handshakes(now);
        if self.tide.turned(self.people.live(), now) {
            memory::give_back();
        }
        memory::make_rounds(now);
        while let Some(slot) = self.timers.pop(now) {
            let Some(c) = self.people.at(slot) else { continue };
            c.armed = None;
            let deadline = c.deadline();
            if deadline.is_some_and(|at| at > now) {
                self.timers.arm(slot, &mut c.armed, deadline);
                continue;
            }
            c.on_due(now);
            self.settle(slot, now);
            self.want(slot);
        }
    }

    /// Whoever was in mid-handshake when the drain began has had time to finish; one that has left must not hold the drain any longer.
    fn end_handshakes(&mut self, now: Instant) {
        let Role::Listener(l) = &mut self.role else { return };
        let Some(d) = &mut l.draining else { return };
        if d.until.is_some_and(|at| at <= now) {
            d.until = None;
            let slots = self.people.handshakers();
            self.close_these(&slots, CONNECTION_REFUSED);
        }
    }

    // What leaves

    pub fn wants(&self) -> usize {
        self.wants.len()
    }

    /// The next connection that may have something to send. Err: a socket is dead.
    pub fn pump_next(&mut self, ports: &mut [Port], now: Instant) -> Result<Pumped, String> {
        let Some(slot) = self.wants.pop_front() else { return Ok(Pumped::Done) };
        let Some(c) = self.people.at(slot).filter(|c| c.in_wants) else { return Ok(Pumped::Done) };
        c.in_wants = false;
        let pumped = if c.may_wait(now) { Pumped::Done } else { pump(c, ports, now)? };
        self.settle(slot, now);
        self.account(slot);
        let Some(c) = self.people.at(slot) else { return Ok(pumped) };
        let deadline = c.deadline();
        self.timers.arm(slot, &mut c.armed, deadline);
        if pumped != Pumped::Done {
            self.want(slot);
        }
        self.reap(slot);
        Ok(pumped)
    }

    pub fn info(&mut self, slot: u32, generation: u32) -> String {
        let dialled = match &self.role {
            Role::Dialler { sni } => Some(sni.clone()),
            Role::Listener(_) => None,
        };
        match self.people.at(slot).filter(|c| c.generation == generation) {
            Some(c) => report::info(c, dialled),
            None => "null".into(),
        }
    }
}

/// Bytes to quiche and packets out of it, in turn, as far as the congestion window, the sockets and fairness allow.
fn pump(c: &mut Connection, ports: &mut [Port], now: Instant) -> Result<Pumped, String> {
    c.outbound.release();
    let packet = c.q.max_send_udp_payload_size().min(c.largest());
    c.outbound.fit(packet);
    let mut left = SHARE;
    let pumped = loop {
        let full = c.outbound.full();
        if c.phase != Phase::Ending {
            c.outbound.offer(&mut c.q, now);
        }
        // As long as there is more where this came from, the last few bytes wait to fill a packet: segments of one size leave as one message.
        let least = if c.outbound.full() && c.outbound.waiting() { packet } else { 0 };
        let before = left;
        let sent = send(c, ports, &mut left, least)?;
        let rest = c.q.stream_bytes_unsent();
        if sent != Pumped::Done {
            c.outbound.keeps(rest);
            break sent;
        }
        // No pump ends with them: with nothing under way, nobody would come back for them.
        let waits = rest < least;
        c.outbound.sent(if waits { rest } else { 0 });
        if !waits && ((left == before && !full) || !c.outbound.waiting()) {
            c.quiet();
            break Pumped::Done;
        }
    };
    c.outbound.pay_debts();
    Ok(if c.outbound.held_back() && pumped == Pumped::Done { Pumped::More } else { pumped })
}

/// Done: quiche has nothing to send now, or less than `least` bytes of streams.
fn send(c: &mut Connection, ports: &mut [Port], left: &mut usize, least: usize) -> Result<Pumped, String> {
    let Some(at) = port_of(ports, c.local) else { return Ok(Pumped::Done) };
    while least == 0 || c.q.stream_bytes_unsent() >= least {
        if *left == 0 {
            return Ok(Pumped::More);
        }
        let size = c.largest().max(MAX_DATAGRAM);
        if ports[at].blocked || !make_room(&mut ports[at], size)? {
            return Ok(Pumped::Blocked);
        }
        let Some(room) = ports[at].outbox.room_for(size) else { return Ok(Pumped::Blocked) };
        let size = room.len().min(c.largest());
        match c.q.send(&mut room[..size]) {
            Ok((n, info)) => {
                *left = left.saturating_sub(n.max(LARGEST_PACKET));
                c.has_sent(n, first_hop);
                match port_of(ports, info.from) {
                    Some(other) if other != at => carry(ports, at, other, n, info.from, info.to),
                    _ => ports[at].outbox.commit(n, info.from, info.to),
                }
            }
            Err(Error::Done) => return Ok(Pumped::Done),
            Err(e) => {
                c.give_up(e);
                return Ok(Pumped::Done);
            }
        }
    }
    Ok(Pumped::Done)
}

fn make_room(port: &mut Port, size: usize) -> Result<bool, String> {
    if port.outbox.room_for(size).is_none() {
        port.push()?;
    }
    Ok(!port.blocked)
}

/// A packet of another path than the active one, and of another socket. It is lost when that one is full.
fn carry(ports: &mut [Port], at: usize, other: usize, length: usize, from: SocketAddr, to: SocketAddr) {
    let mut packet = [0; MAX_DATAGRAM];
    let packet = &mut packet[..length.min(MAX_DATAGRAM)];
    let Some(room) = ports[at].outbox.room() else { return };
    packet.copy_from_slice(&room[..packet.len()]);
    if let Some(room) = ports[other].outbox.room() {
        room[..packet.len()].copy_from_slice(packet);
        ports[other].outbox.commit(packet.len(), from, to);
    }
}
