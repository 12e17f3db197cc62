//! Endpoints as JavaScript drives them, in a loop of their own.

use crate::certs::pem;
use spooky_quic::address;
use spooky_quic::options::{DialOptions, ListenOptions};
use spooky_quic::records::{EARLY, FIN, RECORD_BYTES, Record, WANT_WRITABLE, command, event};
use spooky_quic::turn::Endpoint;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// No test takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub type Who = (u32, u32);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goodbye {
    pub who: Who,
    pub side: u32,
    pub app: bool,
    pub code: u64,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Conn { who: Who, remote: SocketAddr, local: SocketAddr, longest: u32, early: bool },
    Data { who: Who, id: u64, bytes: Vec<u8>, fin: bool },
    Reset { who: Who, id: u64, code: u64 },
    Stop { who: Who, id: u64, code: u64 },
    Writable { who: Who, id: u64 },
    Close(Goodbye),
    Failed(Goodbye),
    Datagram { who: Who, bytes: Vec<u8> },
    Path { who: Who, remote: SocketAddr, local: SocketAddr },
    Foreign { worker: u32, from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Drained,
}

fn decode(r: &Record, data: &[u8]) -> Event {
    let who = (r.slot(), r.generation());
    let id = r.id();
    let bytes = || data[r.range(data.len()).expect("an event's span lies in its buffer")].to_vec();
    let two = || {
        let b = bytes();
        (address::decode(&b[..18]).unwrap(), address::decode(&b[18..36]).unwrap(), b[36..].to_vec())
    };
    let goodbye =
        || Goodbye { who, side: r.flag_bits() & 3, app: r.flag_bits() & 4 != 0, code: r.id(), reason: String::from_utf8(bytes()).unwrap() };
    match r.kind() {
        event::CONN => {
            let (remote, local, rest) = two();
            let longest = u32::from_le_bytes(rest.try_into().unwrap());
            Event::Conn { who, remote, local, longest, early: r.flag_bits() & EARLY != 0 }
        }
        event::DATA => Event::Data { who, id, bytes: bytes(), fin: r.flag_bits() & FIN != 0 },
        event::RESET => Event::Reset { who, id, code: r.error() },
        event::STOP => Event::Stop { who, id, code: r.error() },
        event::WRITABLE => Event::Writable { who, id },
        event::CLOSE => Event::Close(goodbye()),
        event::FAILED => Event::Failed(goodbye()),
        event::DATAGRAM => Event::Datagram { who, bytes: bytes() },
        event::PATH => {
            let (remote, local, _) = two();
            Event::Path { who, remote, local }
        }
        event::FOREIGN => {
            let (from, to, bytes) = two();
            Event::Foreign { worker: r.slot(), from, to, bytes }
        }
        event::DRAINED => Event::Drained,
        other => panic!("event {other}"),
    }
}

/// Commands that wait for the end of the turn.
#[derive(Default)]
pub struct Commands {
    records: Vec<u8>,
    data: Vec<u8>,
}

impl Commands {
    pub fn raw(&mut self, r: Record) {
        let mut bytes = [0; RECORD_BYTES];
        r.write(&mut bytes);
        self.records.extend_from_slice(&bytes);
    }

    pub fn with(&mut self, r: Record, bytes: &[u8]) {
        let at = self.data.len();
        self.data.extend_from_slice(bytes);
        self.raw(r.span(at, bytes.len()));
    }

    pub fn send(&mut self, who: Who, id: u64, bytes: &[u8], fin: bool) {
        self.with(Record::new(command::SEND, who.0, who.1).stream(id).flags(if fin { FIN } else { 0 }), bytes);
    }

    /// With the wish to hear when more may follow.
    pub fn send_much(&mut self, who: Who, id: u64, bytes: &[u8]) {
        self.with(Record::new(command::SEND, who.0, who.1).stream(id).flags(WANT_WRITABLE), bytes);
    }

    pub fn plain(&mut self, kind: u32, who: Who, id: u64) {
        self.raw(Record::new(kind, who.0, who.1).stream(id));
    }

    pub fn code(&mut self, kind: u32, who: Who, id: u64, code: u64) {
        self.raw(Record::new(kind, who.0, who.1).stream(id).code(code));
    }

    pub fn priority(&mut self, who: Who, id: u64, urgency: u32, incremental: bool) {
        let flags = urgency | u32::from(incremental) << 3;
        self.raw(Record::new(command::PRIORITY, who.0, who.1).stream(id).flags(flags));
    }

    pub fn close(&mut self, who: Who, app: bool, code: u64, reason: &str) {
        self.with(Record::new(command::CLOSE, who.0, who.1).stream(code).flags(u32::from(app)), reason.as_bytes());
    }
}

#[derive(Default, Debug)]
pub struct Seen {
    pub bytes: Vec<u8>,
    pub fin: bool,
    pub resets: Vec<u64>,
    pub stops: Vec<u64>,
    pub writable: usize,
}

type React = Box<dyn FnMut(&Event, &mut Commands)>;

/// One endpoint, what it told, and what answers it.
pub struct Side {
    pub ep: Endpoint,
    pub out: Commands,
    pub conns: Vec<Who>,
    pub events: Vec<Event>,
    pub closes: Vec<Goodbye>,
    pub failed: Vec<Goodbye>,
    pub streams: BTreeMap<(Who, u64), Seen>,
    pub react: Option<React>,
    records: Vec<u8>,
    data: Vec<u8>,
}

impl Side {
    pub fn new(ep: Endpoint) -> Self {
        Self::with_buffers(ep, 256, 256 * 1024)
    }

    pub fn with_buffers(ep: Endpoint, records: usize, data: usize) -> Self {
        Side {
            ep,
            out: Commands::default(),
            conns: Vec::new(),
            events: Vec::new(),
            closes: Vec::new(),
            failed: Vec::new(),
            streams: BTreeMap::new(),
            react: None,
            records: vec![0; records * RECORD_BYTES],
            data: vec![0; data],
        }
    }

    pub fn reacting(mut self, react: impl FnMut(&Event, &mut Commands) + 'static) -> Self {
        self.react = Some(Box::new(react));
        self
    }

    pub fn address(&self) -> SocketAddr {
        self.ep.addresses()[0]
    }

    pub fn seen(&self, who: Who, id: u64) -> &Seen {
        static NOTHING: Seen = Seen { bytes: Vec::new(), fin: false, resets: Vec::new(), stops: Vec::new(), writable: 0 };
        self.streams.get(&(who, id)).unwrap_or(&NOTHING)
    }

    pub fn stats(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.ep.stats()).unwrap()
    }

    /// One turn: true when more is to be done at once.
    pub fn turn(&mut self, readable: bool) -> bool {
        if readable {
            self.ep.receive(Instant::now()).unwrap();
        }
        self.exchange();
        for _ in 0..4 {
            let flushed = self.ep.flush(Instant::now()).unwrap();
            drop(self.ep.take_gone());
            if !flushed.events {
                return flushed.more;
            }
            self.exchange();
        }
        true
    }

    fn exchange(&mut self) {
        self.run();
        for _ in 0..16 {
            if !self.ep.wants_collect() {
                break;
            }
            let count = self.ep.collect(&mut self.records, &mut self.data);
            for i in 0..count {
                let record = Record::read(&self.records[i * RECORD_BYTES..]).unwrap();
                let e = decode(&record, &self.data);
                self.note(&e);
                if let Some(react) = &mut self.react {
                    react(&e, &mut self.out);
                }
                self.events.push(e);
            }
            self.run();
        }
    }

    fn run(&mut self) {
        let out = std::mem::take(&mut self.out);
        self.ep.run(out.records.len() / RECORD_BYTES, &out.records, &out.data);
    }

    fn note(&mut self, e: &Event) {
        match e {
            Event::Conn { who, .. } => self.conns.push(*who),
            Event::Data { who, id, bytes, fin } => {
                let s = self.streams.entry((*who, *id)).or_default();
                s.bytes.extend_from_slice(bytes);
                s.fin |= fin;
            }
            Event::Reset { who, id, code } => self.streams.entry((*who, *id)).or_default().resets.push(*code),
            Event::Stop { who, id, code } => self.streams.entry((*who, *id)).or_default().stops.push(*code),
            Event::Writable { who, id } => self.streams.entry((*who, *id)).or_default().writable += 1,
            Event::Close(g) => self.closes.push(g.clone()),
            Event::Failed(g) => self.failed.push(g.clone()),
            _ => {}
        }
    }
}

/// Turns the sides until `done`, or fails with what was waited for.
pub fn drive(sides: &mut [&mut Side], what: &str, mut done: impl FnMut(&mut [&mut Side]) -> bool) {
    drive_with(sides, what, &[], |s, _| done(s));
}

/// The same with foreign descriptors: `done` hears whether any of them is readable.
pub fn drive_with(sides: &mut [&mut Side], what: &str, others: &[i32], mut done: impl FnMut(&mut [&mut Side], bool) -> bool) {
    let start = Instant::now();
    let mut more = true;
    let mut other = true;
    while !done(sides, other) {
        assert!(start.elapsed() < PATIENCE, "still waiting: {what}");
        let mut fds: Vec<libc::pollfd> = Vec::new();
        for s in sides.iter() {
            fds.extend(s.ep.descriptors().iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }));
        }
        let own = fds.len();
        fds.extend(others.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }));
        let now = Instant::now();
        let next = sides.iter().filter_map(|s| s.ep.deadline()).min();
        let idle = next.map_or(20, |at| at.saturating_duration_since(now).as_micros().div_ceil(1000).min(20) as i32);
        let pending = more || sides.iter().any(|s| !s.out.records.is_empty());
        unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, if pending { 0 } else { idle }) };
        more = false;
        for s in sides.iter_mut() {
            let mine = s.ep.descriptors();
            let readable = fds[..own].iter().any(|f| f.revents != 0 && mine.contains(&f.fd));
            more |= s.turn(readable);
        }
        other = fds[own..].iter().any(|f| f.revents != 0);
    }
}

pub fn listen_options(change: impl FnOnce(&mut serde_json::Value)) -> ListenOptions {
    let p = pem();
    let mut o = serde_json::json!({
        "hosts": ["127.0.0.1"], "port": 0, "reusePort": false,
        "cid": { "nodeId": 7, "workerId": 3, "key": "00112233445566778899aabbccddeeff" },
        "resetKey": "ab".repeat(32), "tokenKeys": ["cd".repeat(32)], "retry": "off",
        "limits": {
            "connections": 4000, "halfOpen": 4000, "handshakesPerSecond": 4000, "retryAbove": 4000, "perAddress": 4000,
            "handshakeMs": 5000, "idleMs": 10_000, "bidi": 100, "uni": 8, "streamWindow": 262_144, "connWindow": 4_194_304,
            "datagrams": true
        },
        "tls": {
            "entries": [{ "id": 1, "certs": [{ "cert": p.cert, "key": p.key }], "clientAuth": "none", "alpn": ["h3"],
                          "earlyData": false, "ticketKeys": [] }],
            "names": {}, "fallback": 1
        },
        "congestion": "cubic", "receiveBuffer": 1 << 20, "sendBuffer": 1 << 20
    });
    change(&mut o);
    serde_json::from_value(o).unwrap()
}

pub fn dial_options(to: SocketAddr, change: impl FnOnce(&mut serde_json::Value)) -> DialOptions {
    let mut o = serde_json::json!({
        "host": to.ip(), "port": to.port(), "local": null, "sni": "localhost", "alpn": ["h3"], "ca": pem().ca,
        "insecure": false, "handshakeMs": 4000, "idleMs": 10_000
    });
    change(&mut o);
    serde_json::from_value(o).unwrap()
}

pub fn server(change: impl FnOnce(&mut serde_json::Value)) -> Side {
    Side::with_buffers(Endpoint::listen(listen_options(change)).unwrap(), 4096, 2 << 20)
}

pub fn client(to: SocketAddr) -> Side {
    client_with(to, |_| {})
}

pub fn client_with(to: SocketAddr, change: impl FnOnce(&mut serde_json::Value)) -> Side {
    Side::new(Endpoint::dial(dial_options(to, change)).unwrap())
}

/// Sends back what comes.
pub fn echo(e: &Event, out: &mut Commands) {
    if let Event::Data { who, id, bytes, fin } = e {
        out.send(*who, *id, bytes, *fin);
    }
}

/// Writes all of a body as JavaScript does: until 128 KiB are on their way, then again when it hears that there is room.
pub struct Pump {
    id: u64,
    body: Vec<u8>,
    at: usize,
}

impl Pump {
    pub fn new(id: u64, body: Vec<u8>) -> Self {
        Pump { id, body, at: 0 }
    }

    pub fn left(&self) -> usize {
        self.body.len() - self.at
    }

    pub fn run(&mut self, who: Who, out: &mut Commands) {
        let mut count = 0;
        while self.left() > 0 {
            let end = (self.at + 16384).min(self.body.len());
            let bytes = &self.body[self.at..end];
            self.at = end;
            count += bytes.len();
            if self.left() == 0 {
                out.send(who, self.id, bytes, true);
            } else if count > 128 * 1024 {
                out.send_much(who, self.id, bytes);
                return;
            } else {
                out.send(who, self.id, bytes, false);
            }
        }
    }
}

pub type Pumps = Rc<RefCell<BTreeMap<u64, Pump>>>;

/// Runs the pump of a stream whenever it is writable.
pub fn pumping(pumps: &Pumps) -> impl FnMut(&Event, &mut Commands) + use<> {
    let pumps = Rc::clone(pumps);
    move |e, out| {
        if let Event::Writable { who, id } = e
            && let Some(p) = pumps.borrow_mut().get_mut(id)
        {
            p.run(*who, out);
        }
    }
}

/// Answers `ok` to whoever has said everything.
pub fn polite(e: &Event, out: &mut Commands) {
    if let Event::Data { who, id, fin: true, .. } = e
        && id % 4 == 0
    {
        out.send(*who, *id, b"ok", true);
    }
}

/// Returns when everything that was under way before has been seen by both sides. The server answers.
pub fn barrier(s: &mut Side, c: &mut Side, cw: Who, id: u64) {
    c.out.send(cw, id, b"barrier", true);
    drive(&mut [s, c], "a barrier", |x| x[1].seen(cw, id).fin);
}

/// A server and a client that know each other.
pub fn pair(mut s: Side) -> (Side, Side, Who, Who) {
    let mut c = client(s.address());
    drive(&mut [&mut s, &mut c], "a handshake", |x| x.iter().all(|s| !s.conns.is_empty()));
    let (a, b) = (s.conns[0], c.conns[0]);
    (s, c, a, b)
}

pub fn pattern(length: usize, seed: u32) -> Vec<u8> {
    let mut x = seed.max(1);
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}
