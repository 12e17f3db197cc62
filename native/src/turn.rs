//! An endpoint and its turn: read what has arrived, gather events, run commands, send. Knows nothing of Node.
//!
//! ```text
//! receive   sockets -> gate -> connections                  news: connections with something to tell
//! collect   news -> records                                 wants: connections that may have something to send
//! run       records -> connections
//! flush     waiting newcomers, timers, wants -> sockets     news again: WRITABLE, CLOSE
//! ```

use crate::engine::{Engine, Pumped, Reached, Role, Times};
use crate::handover::{Handover, MESSAGE};
use crate::listener::{DRAIN_HANDSHAKE, Draining, Listener};
use crate::options::*;
use crate::port::{Port, port_of, sort};
use crate::records::{Events, RECORD_BYTES, Record};
use crate::report;
use crate::socket::{BindOptions, Inbox};
use crate::steering::Steering;
use crate::{tls, transport};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// Batches that one socket may bring per turn.
const BATCHES: usize = 4;
/// Messages that other workers may bring per turn.
const MESSAGES: usize = 16;
/// Turns that take one of them, after one in which no other waited.
const LONE: u32 = 8;
/// What reading, and what sending, may take of a turn.
const SLICE: Duration = Duration::from_millis(2);
const LISTEN_OUTBOX: usize = 512 * 1024;
const DIAL_OUTBOX: usize = 64 * 1024;
const DIAL_RECEIVE_BUFFER: usize = 2 * 1024 * 1024;
/// How often is looked whether the last connection of an address that is left is gone.
const LOOK: Duration = Duration::from_millis(250);
/// About what quiche, BoringSSL and this engine hold for a connection.
const CONNECTION_BYTES: usize = 40 * 1024;

/// Everything between the sockets and the records. Each method is a phase of a turn; JavaScript runs between them, never inside one.
pub struct Endpoint {
    ports: Vec<Port>,
    /// How they are bound, all on one port.
    bind: BindOptions,
    /// When those that leave are looked at.
    look: Option<Instant>,
    /// Not used any more, but watched perhaps.
    gone: Vec<Port>,
    /// Datagrams, bytes and drops of ports that are gone.
    past: [u64; 3],
    inbox: Inbox,
    /// A message of another worker: empty where there is no hand-over.
    handed: Box<[u8]>,
    /// Of `LONE` turns those that are left.
    lone: u32,
    handover: Option<RawFd>,
    /// Where the kernel is told of workers: the key that they share, and our number.
    steered: Option<(Key, u8)>,
    engine: Engine,
}

#[derive(Debug)]
pub struct OpenError {
    /// As Node names system errors: EADDRINUSE, EACCES... None when an option is wrong.
    pub code: Option<String>,
    pub message: String,
}

fn locals(ports: &[Port]) -> impl Iterator<Item = SocketAddr> {
    ports.iter().map(|p| p.socket.local())
}

/// By its own socket, or by that of all addresses.
fn served(hosts: &[IpAddr], ip: IpAddr) -> bool {
    hosts.iter().any(|host| *host == ip || (host.is_unspecified() && host.is_ipv4() == ip.is_ipv4()))
}

impl OpenError {
    fn option(message: String) -> Self {
        OpenError { code: None, message }
    }

    fn system(what: &str, e: &io::Error) -> Self {
        let name = e.raw_os_error().and_then(errno_name);
        OpenError { code: name.map(str::to_string), message: format!("{what}: {e}") }
    }
}

fn errno_name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::EACCES => "EACCES",
        libc::EPERM => "EPERM",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EMFILE => "EMFILE",
        libc::ENFILE => "ENFILE",
        libc::ENOBUFS => "ENOBUFS",
        libc::ENOMEM => "ENOMEM",
        libc::EINVAL => "EINVAL",
        // Of the folder of the hand-over.
        libc::ENOENT => "ENOENT",
        libc::ENOSPC => "ENOSPC",
        _ => return None,
    })
}

/// What `flush` has left to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Events wait for `collect`.
    pub events: bool,
    /// Bounded by count and time: more could be sent now.
    pub more: bool,
}

impl Endpoint {
    pub fn listen(o: ListenOptions) -> Result<Self, OpenError> {
        let now = Instant::now();
        let mut listener = Listener::new(&o, now).map_err(OpenError::option)?;
        let mut ports: Vec<Port> = Vec::new();
        for host in &o.hosts {
            // Port 0 is chosen once.
            let port = ports.first().map_or(o.port, |p| p.socket.local().port());
            let bind =
                BindOptions { host: *host, port, reuse_port: o.reuse_port, receive_buffer: o.receive_buffer, send_buffer: o.send_buffer };
            let opened = Port::open(&bind, LISTEN_OUTBOX);
            ports.push(opened.map_err(|e| OpenError::system(&format!("bind {}", SocketAddr::new(*host, port)), &e))?);
        }
        let Some(first) = ports.first() else { return Err(OpenError::option("hosts: at least one wanted".into())) };
        let local = first.socket.local();
        let bind = BindOptions {
            host: local.ip(),
            port: local.port(),
            reuse_port: o.reuse_port,
            receive_buffer: o.receive_buffer,
            send_buffer: o.send_buffer,
        };
        let mut handover = match &o.handover {
            Some(h) => Some(Box::new(
                Handover::open(h, o.cid.worker_id)
                    .map_err(|e| OpenError::system(&format!("handover {}", h.path(o.cid.worker_id).display()), &e))?,
            )),
            None => None,
        };
        if let Some(h) = &mut handover {
            h.serve(locals(&ports)).map_err(|e| OpenError::system("handover", &e))?;
        }
        let steered = (handover.is_some() && o.reuse_port).then(|| (o.cid.key.clone(), o.cid.worker_id));
        let fd = handover.as_ref().map(|h| h.fd());
        let handed = vec![0; if fd.is_some() { MESSAGE } else { 0 }].into();
        listener.handover = handover;
        let engine = Engine::new(Role::Listener(Box::new(listener)));
        let mut e = Endpoint::new(ports, bind, handed, fd, engine);
        e.steered = steered;
        e.steer();
        Ok(e)
    }

    /// Ports that workers share have their steering.
    fn steer(&mut self) {
        let Some((key, worker)) = &self.steered else { return };
        for port in self.ports.iter_mut().filter(|p| p.steering.is_none()) {
            port.meet(Steering::new(&key.0, *worker, port.socket.local()));
        }
    }

    fn new(ports: Vec<Port>, bind: BindOptions, handed: Box<[u8]>, handover: Option<RawFd>, engine: Engine) -> Self {
        Endpoint {
            ports,
            bind,
            look: None,
            gone: Vec::new(),
            past: [0; 3],
            inbox: Inbox::new(),
            handed,
            lone: 0,
            handover,
            steered: None,
            engine,
        }
    }

    pub fn dial(o: DialOptions) -> Result<Self, OpenError> {
        let mut config = transport::client(&o).map_err(OpenError::option)?;
        let any = match o.host {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let host = o.local.unwrap_or(any);
        let bind = BindOptions { host, port: 0, reuse_port: false, receive_buffer: DIAL_RECEIVE_BUFFER, send_buffer: 0 };
        let port = Port::open(&bind, DIAL_OUTBOX).map_err(|e| OpenError::system(&format!("bind {host}"), &e))?;
        let mut engine = Engine::new(Role::Dialler { sni: tls::dial_name(&o).map(str::to_string) });
        engine.dial(&o, &mut config, port.socket.local()).map_err(OpenError::option)?;
        Ok(Endpoint::new(vec![port], bind, Box::default(), None, engine))
    }

    /// Serves these addresses beside those that it has. Answers where it is to be, once it is nowhere else. Err: all is as it was.
    pub fn widen(&mut self, w: &Whereabouts) -> Result<Vec<SocketAddr>, OpenError> {
        let mut fresh = Vec::new();
        for host in &w.hosts {
            if !self.has(*host) {
                fresh.push(self.open(*host)?);
            }
        }
        if let (Some(name), Ok(l)) = (&w.name, self.engine.listener())
            && let Some(h) = &mut l.handover
        {
            h.also(name).map_err(|e| OpenError::system(&format!("handover {name}"), &e))?;
            h.serve(locals(&fresh)).map_err(|e| OpenError::system("handover", &e))?;
        }
        // What was to be left is wanted again: its last connection may go before it is said what stays.
        for p in &mut self.ports {
            let ip = p.socket.local().ip();
            p.leaving &= !w.hosts.contains(&ip);
            p.refuses &= !served(&w.hosts, ip);
        }
        self.ports.append(&mut fresh);
        sort(&mut self.ports);
        self.steer();
        Ok(w.hosts.iter().map(|host| SocketAddr::new(*host, self.bind.port)).collect())
    }

    fn has(&self, host: IpAddr) -> bool {
        self.ports.iter().any(|p| p.socket.local().ip() == host)
    }

    /// One address more. The kernel refuses one of all beside all of them, unless both share their port.
    fn open(&self, host: IpAddr) -> Result<Port, OpenError> {
        let bind = BindOptions { host, reuse_port: true, ..self.bind };
        let alone = !self.bind.reuse_port;
        let share = |port: &Port, shared: bool| if alone { port.socket.share_port(shared) } else { Ok(()) };
        let opened = self.ports.iter().try_for_each(|p| share(p, true)).and_then(|()| Port::open(&bind, LISTEN_OUTBOX));
        let closed = self.ports.iter().chain(&opened).try_for_each(|p| share(p, false));
        opened
            .and_then(|port| closed.map(|()| port))
            .map_err(|e| OpenError::system(&format!("bind {}", SocketAddr::new(host, bind.port)), &e))
    }

    /// Is at no other addresses from now on, all of which it has: at others newcomers are refused, and their sockets go with their last
    /// connections.
    pub fn narrow(&mut self, w: &Whereabouts, now: Instant) {
        if !w.hosts.iter().any(|host| self.has(*host)) {
            return;
        }
        for p in &mut self.ports {
            let ip = p.socket.local().ip();
            p.leaving = !w.hosts.contains(&ip);
            p.refuses = !served(&w.hosts, ip);
        }
        sort(&mut self.ports);
        self.look = self.ports.iter().any(|p| p.leaving).then_some(now + LOOK);
        if let (Some(name), Ok(l)) = (&w.name, self.engine.listener())
            && let Some(h) = &mut l.handover
        {
            h.rename(name);
        }
    }

    /// Lets sockets go whose last connection is gone.
    fn let_go(&mut self, now: Instant) {
        if self.look.is_none_or(|at| at > now) {
            return;
        }
        for i in (0..self.ports.len()).rev() {
            let p = &self.ports[i];
            if !p.leaving || !p.outbox.is_empty() || self.engine.uses(&self.ports, i) {
                continue;
            }
            let p = self.ports.remove(i);
            let (datagrams, bytes) = p.outbox.sent();
            for (sum, n) in self.past.iter_mut().zip([datagrams, bytes, p.socket.kernel_drops()]) {
                *sum += n;
            }
            self.gone.push(p);
        }
        if let Ok(l) = self.engine.listener()
            && let Some(h) = &mut l.handover
        {
            h.keep(locals(&self.ports));
        }
        self.look = self.ports.iter().any(|p| p.leaving).then_some(now + LOOK);
    }

    /// Sockets that need not be watched any more.
    pub fn take_gone(&mut self) -> Vec<Port> {
        std::mem::take(&mut self.gone)
    }

    pub fn listens(&self) -> bool {
        self.engine.listens()
    }

    /// Nothing is to be told, to be sent or to be tried again: before the time that it has named, `flush` would find nothing to do.
    pub fn is_settled(&self) -> bool {
        let e = &self.engine;
        let waits = e.wants_collect() || e.wants() > 0 || e.is_waiting() || e.hand_over_deadline().is_some();
        !waits && self.ports.iter().all(|p| p.outbox.is_empty())
    }

    pub fn descriptors(&self) -> Vec<RawFd> {
        self.ports.iter().map(|p| p.socket.fd()).chain(self.handover).collect()
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(|p| p.socket.local()).collect()
    }

    /// Reads the sockets and feeds the connections, bounded by count and time. False: all that came was for other workers, and has left.
    /// Err: the endpoint is dead.
    pub fn receive(&mut self, now: Instant) -> Result<bool, String> {
        self.receive_at(None, now)
    }

    /// The same, of the one socket that is known to be readable.
    pub fn receive_at(&mut self, only: Option<RawFd>, now: Instant) -> Result<bool, String> {
        let times = Times::at(now);
        let before = self.engine.traffic();
        self.engine.start_turn();
        self.engine.admit(&mut self.ports, times);
        if self.handover.is_some_and(|fd| only.is_none_or(|ready| ready == fd)) {
            self.receive_handed(times)?;
        }
        let Endpoint { ports, inbox, engine, .. } = self;
        for port in ports.iter_mut().filter(|p| only.is_none_or(|fd| p.socket.fd() == fd)) {
            for _ in 0..BATCHES {
                port.behind = false;
                if port.socket.receive(inbox).map_err(|e| format!("receive: {e}"))? == 0 {
                    break;
                }
                port.behind = inbox.is_full();
                for i in 0..inbox.len() {
                    let (datagram, from, to) = inbox.datagram(i);
                    engine.arrive(port, datagram, from, to, false, times);
                }
                // What comes meanwhile wakes the loop again: a call that would only hear so is saved.
                if !inbox.is_full() || now.elapsed() > SLICE {
                    break;
                }
            }
        }
        engine.set_behind(ports.iter().any(|p| p.behind));
        engine.hand_over(ports, now);
        ports.iter_mut().try_for_each(|p| p.steer(now))?;
        engine.settle_all(now);
        let (came, left) = engine.traffic();
        Ok(came == before.0 || came - before.0 > left - before.1)
    }

    /// What other workers have got for us. A look behind a lone datagram, which finds nothing, is a tenth of what it costs to hand it over: most
    /// are saved, and a message that waits there wakes the loop again. Who sends several at once has more to send.
    fn receive_handed(&mut self, times: Times) -> Result<(), String> {
        let mut several = false;
        for i in 0..MESSAGES {
            if i == 1 && !several && self.lone > 0 {
                self.lone -= 1;
                break;
            }
            let Some(length) = self.engine.receive_handed(&mut self.handed)? else {
                if i == 1 {
                    self.lone = LONE;
                }
                break;
            };
            several |= self.engine.take_in(&mut self.ports, &mut self.handed[..length], times) > 1;
            if times.now.elapsed() > SLICE {
                break;
            }
        }
        Ok(())
    }

    /// Another worker's datagram.
    pub fn forward(&mut self, datagram: &mut [u8], from: SocketAddr, to: SocketAddr, now: Instant) {
        let Some(port) = port_of(&self.ports, to) else {
            self.engine.counters.dropped.foreign += 1;
            return;
        };
        // The others are settled when they are sent for: each datagram looking at all of them would make a storm quadratic.
        if let Reached::Slot(slot) = self.engine.arrive(&mut self.ports[port], datagram, from, to, true, Times::at(now)) {
            self.engine.settle(slot, now);
        }
    }

    /// Fills the buffers with events: how many. Call again while `wants_collect`.
    pub fn collect(&mut self, records: &mut [u8], data: &mut [u8]) -> usize {
        let mut out = Events::new(records, data);
        self.engine.collect(&mut out);
        out.count()
    }

    pub fn wants_collect(&self) -> bool {
        self.engine.wants_collect()
    }

    /// Runs the first `count` command records. Each is checked; what is wrong is counted and skipped.
    pub fn run(&mut self, count: usize, records: &[u8], data: &[u8]) {
        for bytes in records.chunks_exact(RECORD_BYTES).take(count) {
            if let Some(record) = Record::read(bytes) {
                self.engine.command(&record, data);
            }
        }
    }

    /// Timers that are due, then everything that connections have to send. Err: the endpoint is dead.
    pub fn flush(&mut self, now: Instant) -> Result<Flushed, String> {
        let Endpoint { ports, engine, .. } = self;
        for port in ports.iter_mut() {
            port.push()?;
        }
        engine.admit(ports, Times::at(now));
        // Newcomers that have waited may go to others, too.
        engine.hand_over(ports, now);
        engine.start_turn();
        engine.due(now);
        let mut more = engine.is_waiting();
        for left in (0..engine.wants()).rev() {
            more |= engine.pump_next(ports, now)? == Pumped::More;
            if left > 0 && now.elapsed() > SLICE {
                more = true;
                break;
            }
        }
        for port in ports.iter_mut() {
            let full = port.blocked;
            port.push()?;
            // It has room again, and nobody watches it: who waits for it would wait for the next timer.
            more |= full && !port.blocked;
        }
        self.let_go(now);
        let engine = &self.engine;
        Ok(Flushed { events: engine.wants_collect(), more })
    }

    /// The kernel's buffer behind this descriptor is full: call `flush` again when it is writable.
    pub fn is_full(&self, fd: RawFd) -> bool {
        self.ports.iter().any(|p| p.blocked && p.socket.fd() == fd)
    }

    /// When `flush` must be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        [self.engine.deadline(), self.look].into_iter().flatten().min()
    }

    pub fn set_tls(&mut self, t: TlsTable) -> Result<(), String> {
        self.engine.listener()?.set_tls(&t)
    }

    pub fn set_limits(&mut self, l: Limits) -> Result<(), String> {
        self.engine.listener()?.set_limits(l)
    }

    pub fn set_retry(&mut self, m: RetryMode) {
        if let Ok(l) = self.engine.listener() {
            l.gate.set_retry(m);
        }
    }

    /// For connections from now on. Should BoringSSL fail, all stays as it is.
    pub fn set_congestion(&mut self, c: Congestion) {
        if let Ok(l) = self.engine.listener() {
            let _ = l.set_congestion(c);
        }
    }

    /// One of these workers takes what would begin a connection from now on.
    pub fn succeed(&mut self, workers: Vec<u8>) -> Result<(), String> {
        self.engine.listener()?.gate.succeed(workers);
        Ok(())
    }

    pub fn set_keys(&mut self, k: EndpointKeys) -> Result<(), String> {
        self.engine.listener()?.gate.set_keys(&k)
    }

    /// Refuses newcomers from now on. Handshakes under way have a second.
    pub fn drain(&mut self) {
        if let Ok(l) = self.engine.listener() {
            l.gate.drain();
            l.draining.get_or_insert(Draining { until: Some(Instant::now() + DRAIN_HANDSHAKE), told: false });
        }
    }

    /// Closes every connection with NO_ERROR; the CLOSE events wait for `collect`, the packets for `flush`.
    pub fn close_all(&mut self) {
        if let Ok(l) = self.engine.listener() {
            l.gate.drain();
        }
        self.engine.close_all();
    }

    /// EndpointStats as JSON.
    pub fn stats(&mut self) -> String {
        let [mut datagrams, mut bytes, mut drops] = self.past;
        for p in &self.ports {
            let (d, b) = p.outbox.sent();
            datagrams += d;
            bytes += b;
            drops += p.socket.kernel_drops();
        }
        let c = &mut self.engine.counters;
        c.datagrams[1] = datagrams;
        c.bytes[1] = bytes;
        let receive_buffer = self.ports.iter().map(|p| p.socket.receive_buffer()).min().unwrap_or(0);
        report::stats(&self.engine, receive_buffer, drops)
    }

    /// ConnInfo as JSON (`peerChain`: DER in base64 or null); "null" when the connection is gone.
    pub fn info(&mut self, slot: u32, generation: u32) -> String {
        self.engine.info(slot, generation)
    }

    /// RTT in ms, lost, sent, received; None when the connection is gone.
    pub fn conn_stats(&self, slot: u32, generation: u32) -> Option<[f64; 4]> {
        Some(self.engine.people.get(slot, generation)?.stats(Instant::now()))
    }

    /// Streams whose bytes the peer has had no room for since `ms` ago or longer.
    pub fn stuck(&self, slot: u32, generation: u32, ms: u64) -> Vec<u64> {
        let Some(c) = self.engine.people.get(slot, generation) else { return Vec::new() };
        c.outbound.stuck(Duration::from_millis(ms), Instant::now())
    }

    /// Bytes that this endpoint holds outside of JavaScript, roughly: V8 is told.
    pub fn external_bytes(&self) -> usize {
        self.engine.live() * CONNECTION_BYTES + self.engine.queued()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Outbox;

    fn dialler() -> Endpoint {
        let o = serde_json::json!({
            "host": "127.0.0.1", "port": 9, "local": null, "sni": null, "alpn": ["h3"], "ca": "", "insecure": true,
            "handshakeMs": 1000, "idleMs": 1000
        });
        Endpoint::dial(serde_json::from_value(o).unwrap()).unwrap()
    }

    #[test]
    fn a_connection_waits_for_a_socket_that_is_full() {
        let (mut e, now) = (dialler(), Instant::now());
        e.ports[0].blocked = true;
        for _ in 0..3 {
            assert_eq!(e.engine.pump_next(&mut e.ports, now), Ok(Pumped::Blocked));
            assert_eq!((e.engine.wants(), e.ports[0].outbox.is_empty()), (1, true));
        }
        e.ports[0].blocked = false;
        assert_eq!(e.engine.pump_next(&mut e.ports, now), Ok(Pumped::Done));
        assert_eq!((e.engine.wants(), e.ports[0].outbox.is_empty()), (0, false));
        let flushed = e.flush(now).unwrap();
        assert_eq!((flushed, e.ports[0].outbox.is_empty()), (Flushed::default(), true));
    }

    #[test]
    fn who_waits_for_a_socket_that_has_room_again_at_once_goes_on() {
        let (mut e, now) = (dialler(), Instant::now());
        let fd = e.ports[0].socket.fd();
        // With room for one datagram. The kernel's is full when the connection wants more, and not any more when the flush ends.
        e.ports[0].outbox = Outbox::new(0);
        e.ports[0].socket.full_after(vec![0]);
        let flushed = e.flush(now).unwrap();
        assert_eq!((e.engine.wants(), e.is_full(fd)), (1, false));
        assert_eq!(flushed, Flushed { events: false, more: true });
        assert_eq!((e.flush(now), e.engine.wants()), (Ok(Flushed::default()), 0));
    }

    #[test]
    fn every_socket_that_is_full_is_watched() {
        let mut e = dialler();
        let bind = BindOptions { host: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 0, reuse_port: false, receive_buffer: 0, send_buffer: 0 };
        e.ports.push(Port::open(&bind, DIAL_OUTBOX).unwrap());
        for full in [[false, false], [true, false], [false, true], [true, true]] {
            for (port, full) in e.ports.iter_mut().zip(full) {
                port.blocked = full;
            }
            assert_eq!(e.descriptors().iter().map(|fd| e.is_full(*fd)).collect::<Vec<_>>(), full);
        }
    }

    #[test]
    fn what_only_listeners_do_is_refused_to_others() {
        let mut e = dialler();
        let keys = EndpointKeys { reset_key: Key(vec![1; 32]), token_keys: vec![] };
        assert!(e.set_keys(keys).is_err());
        e.set_retry(RetryMode::Always);
        e.set_congestion(Congestion::Bbr);
        e.drain();
        assert!(!e.wants_collect());
    }
}
