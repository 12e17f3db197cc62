//! Commands, datagrams and forwarded datagrams of all sorts against live connections over loopback, and every event read back.

use crate::dice::{Dice, rounds};
use crate::gate::Life;
use crate::kit::{at, listen_options};
use crate::pki;
use spooky_quic::options::{CertPair, ClientAuth, DialOptions, ListenOptions, TlsEntry};
use spooky_quic::records::{FIN, RECORD_BYTES, Record, command, event};
use spooky_quic::turn::Endpoint;
use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const STEPS: usize = 60;
const BATCH: usize = 40;
const DATA: usize = 8 * 1024;

type Who = (u32, u32);

fn certificate() -> &'static CertPair {
    static PAIR: OnceLock<CertPair> = OnceLock::new();
    PAIR.get_or_init(|| {
        let c = pki::server(&pki::ca("fuzz"), "localhost");
        CertPair { cert: c.pem(), key: c.key_pem() }
    })
}

fn server_options() -> ListenOptions {
    let mut o = listen_options();
    let entry = TlsEntry {
        id: 1,
        certs: vec![certificate().clone()],
        client_auth: ClientAuth::None,
        ca: None,
        alpn: vec!["h3".into()],
        early_data: false,
        ticket_keys: vec![],
    };
    o.tls.entries.push(entry);
    o.tls.fallback = Some(1);
    o.limits.datagrams = true;
    o
}

fn dial(to: SocketAddr) -> Party {
    let o = DialOptions {
        host: to.ip(),
        port: to.port(),
        local: None,
        sni: Some("localhost".into()),
        alpn: vec!["h3".into()],
        ca: certificate().cert.clone(),
        insecure: true,
        handshake_ms: 10_000,
        idle_ms: 10_000,
    };
    Party::new(Endpoint::dial(o).unwrap())
}

/// An endpoint as JavaScript holds it, and what it may be told from now on.
struct Party {
    ep: Endpoint,
    open: BTreeSet<Who>,
    ended: BTreeSet<Who>,
    failed: bool,
    echoed: Vec<u8>,
    records: Vec<u8>,
    data: Vec<u8>,
}

impl Party {
    fn new(ep: Endpoint) -> Self {
        let (records, data) = (vec![0; 64 * RECORD_BYTES], vec![0; 128 * 1024]);
        Party { ep, open: BTreeSet::new(), ended: BTreeSet::new(), failed: false, echoed: Vec::new(), records, data }
    }

    fn turn(&mut self) {
        self.ep.receive(Instant::now()).unwrap();
        self.collect();
        for _ in 0..4 {
            if !self.ep.flush(Instant::now()).unwrap().events {
                break;
            }
            self.collect();
        }
    }

    fn collect(&mut self) {
        for _ in 0..64 {
            if !self.ep.wants_collect() {
                return;
            }
            let count = self.ep.collect(&mut self.records, &mut self.data);
            assert!(count <= self.records.len() / RECORD_BYTES);
            for i in 0..count {
                let r = Record::read(&self.records[i * RECORD_BYTES..]).unwrap();
                self.hear(&r);
            }
        }
    }

    fn hear(&mut self, r: &Record) {
        let who = (r.slot(), r.generation());
        let span = || r.range(self.data.len()).expect("the span of an event lies in its buffer");
        match r.kind() {
            event::CONN => {
                assert_eq!(span().len(), 40);
                assert!(!self.ended.contains(&who) && self.open.insert(who), "a connection begins once");
            }
            event::CLOSE => {
                let _ = span();
                assert!(self.open.remove(&who) && self.ended.insert(who), "a connection ends once");
            }
            event::FAILED => self.failed = true,
            event::FOREIGN => assert!(span().len() >= 36),
            event::DRAINED => {}
            kind => {
                assert!((event::DATA..=event::PATH).contains(&kind), "event {kind}");
                assert!(self.open.contains(&who), "event {kind} of nobody");
                if kind == event::DATA {
                    self.echoed.extend_from_slice(&self.data[span()]);
                }
            }
        }
    }

    fn run(&mut self, commands: &[Record], data: &[u8]) {
        let mut bytes = vec![0; commands.len() * RECORD_BYTES];
        for (r, out) in commands.iter().zip(bytes.chunks_exact_mut(RECORD_BYTES)) {
            r.write(out);
        }
        self.ep.run(commands.len(), &bytes, data);
    }

    fn someone(&self, d: &mut Dice) -> Who {
        match self.open.iter().nth(d.below(self.open.len().max(1))) {
            Some(&(slot, generation)) if !d.one_in(8) => (slot, generation),
            Some(&(slot, generation)) => (slot, generation.wrapping_add(d.below(3) as u32)),
            None => (d.below(5) as u32, d.next() as u32),
        }
    }
}

/// Anything, and mostly what could be meant.
fn command(d: &mut Dice, p: &Party) -> Record {
    let who = p.someone(d);
    let kind = match d.below(40) {
        0 => d.next() as u32,
        1 if d.one_in(10) => command::CLOSE,
        2..10 => *d.pick(&[command::RESET, command::STOP, command::PRIORITY, command::PAUSE, command::RESUME]),
        10..14 => *d.pick(&[command::DATAGRAM, command::PING, 0, 10]),
        _ => command::SEND,
    };
    let id = match d.below(8) {
        0 => d.next(),
        1 => d.next() >> 2,
        2 => *d.pick(&[1, 2, 3, 6, 7, 11]),
        _ => d.below(30) as u64 * 4,
    };
    let mut r = Record::new(kind, who.0, who.1).stream(id).flags(if d.one_in(6) { d.next() as u32 } else { d.below(4) as u32 });
    (r.0[5], r.0[6]) = match d.below(6) {
        0 => (d.next() as u32, d.next() as u32),
        1 => (d.below(DATA + 1) as u32, d.next() as u32 & 0xffff),
        _ => {
            let start = d.below(DATA + 1);
            (start as u32, d.below(DATA + 1 - start) as u32)
        }
    };
    r
}

fn storm(d: &mut Dice) {
    let mut server = Party::new(Endpoint::listen(server_options()).unwrap());
    let to = server.ep.addresses()[0];
    let mut clients = [dial(to), dial(to)];
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut life = Life::new(d);
    for _ in 0..STEPS {
        for p in clients.iter_mut().chain([&mut server]) {
            if d.one_in(2) {
                let commands: Vec<Record> = (0..d.below(BATCH)).map(|_| command(d, p)).collect();
                p.run(&commands, &d.bytes(DATA));
            }
            p.turn();
        }
        for _ in 0..d.below(4) {
            let packet = life.packet(d);
            let mut packet = if d.one_in(2) { d.mutate(packet) } else { packet };
            // What is too long for the loopback is not sent.
            let _ = noise.send_to(&packet, to);
            let from = *d.pick(&["192.0.2.1:1", "127.0.0.1:9", "[2001:db8::1]:443"].map(at));
            let local = if d.one_in(5) { at("192.0.2.9:443") } else { to };
            server.ep.forward(&mut packet, from, local, Instant::now());
        }
        for c in &mut clients {
            if c.failed || !c.ended.is_empty() {
                *c = dial(to);
            }
        }
        check(&mut server, d);
    }
    assert!(server.open.len() + server.ended.len() > 0, "nobody was there");
    serves(&mut server, to);
    ends(&mut server);
}

fn check(server: &mut Party, d: &mut Dice) {
    let stats: serde_json::Value = serde_json::from_str(&server.ep.stats()).unwrap();
    assert!(stats["connections"].as_u64().is_some() && stats["dropped"].is_object());
    let who = server.someone(d);
    let info: serde_json::Value = serde_json::from_str(&server.ep.info(who.0, who.1)).unwrap();
    assert_eq!(info.is_null(), server.ep.conn_stats(who.0, who.1).is_none());
    let _ = server.ep.stuck(who.0, who.1, d.next());
    assert!(server.ep.external_bytes() < 256 << 20);
}

/// An honest newcomer gets its bytes across, whatever has happened.
fn serves(server: &mut Party, to: SocketAddr) {
    let before = server.open.clone();
    let mut honest = dial(to);
    let until = Instant::now() + PATIENCE;
    while honest.open.is_empty() || server.open.is_subset(&before) {
        assert!(Instant::now() < until && !honest.failed, "a newcomer waits in vain");
        honest.turn();
        server.turn();
    }
    let body: Vec<u8> = (0..DATA).map(|i| (i * 7) as u8).collect();
    let to_server = honest.open.first().copied().unwrap();
    let to_client = server.open.difference(&before).next().copied().unwrap();
    for (p, who, id) in [(&mut honest, to_server, 0), (server, to_client, 3)] {
        let r = Record::new(command::SEND, who.0, who.1).stream(id).span(0, DATA).flags(FIN);
        p.run(&[r], &body);
        p.echoed.clear();
    }
    let until = Instant::now() + PATIENCE;
    while honest.echoed != body {
        assert!(Instant::now() < until, "{} of {DATA} bytes have come", honest.echoed.len());
        honest.turn();
        server.turn();
    }
}

/// Every connection that began ends, and is told of once.
fn ends(server: &mut Party) {
    server.ep.close_all();
    let until = Instant::now() + PATIENCE;
    while !server.open.is_empty() {
        assert!(Instant::now() < until, "{} connections do not end", server.open.len());
        server.turn();
    }
    let stats: serde_json::Value = serde_json::from_str(&server.ep.stats()).unwrap();
    assert_eq!(stats["connections"], 0);
}

#[test]
fn endpoint() {
    rounds("endpoint", 0.4, 10, storm);
}
