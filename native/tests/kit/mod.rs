//! A gate with made-up connections around it, and datagrams of every kind.
#![allow(dead_code, reason = "each test program uses its part")]

use spooky_quic::address::limit_key;
use spooky_quic::counters::Counters;
use spooky_quic::gate::{Gate, Population, Verdict};
use spooky_quic::ids::{CidCodec, reset_token};
use spooky_quic::options::ListenOptions;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const CID_KEY: [u8; 16] = [3; 16];
pub const RESET_KEY: [u8; 32] = [4; 32];
pub const NODE: u32 = 7;
pub const WORKER: u8 = 3;
pub const OTHER_WORKER: u8 = 4;
pub const WALL: u64 = 1_700_000_000_000;
pub const DCID: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
pub const SCID: [u8; 5] = [0xa1, 0xa2, 0xa3, 0xa4, 0xa5];

pub fn listen_options() -> ListenOptions {
    let text = r#"{ "hosts": ["127.0.0.1"], "port": 0, "reusePort": false,
        "cid": { "nodeId": 7, "workerId": 3, "key": "03030303030303030303030303030303" },
        "resetKey": "0404040404040404040404040404040404040404040404040404040404040404",
        "tokenKeys": ["0505050505050505050505050505050505050505050505050505050505050505"],
        "retry": "off",
        "limits": { "connections": 1000, "halfOpen": 500, "handshakesPerSecond": 1000, "retryAbove": 100, "perAddress": 100,
            "handshakeMs": 10000, "idleMs": 30000, "bidi": 100, "uni": 3, "streamWindow": 65536, "connWindow": 1048576, "datagrams": false },
        "tls": { "entries": [], "names": {}, "fallback": null },
        "congestion": "cubic", "receiveBuffer": 0, "sendBuffer": 0 }"#;
    serde_json::from_str(text).unwrap()
}

pub fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Connections as the tests want them.
#[derive(Default)]
pub struct Crowd {
    pub alive: HashSet<(u32, u32)>,
    pub young: HashMap<(SocketAddr, Vec<u8>), u32>,
    pub live: usize,
    pub handshaking: usize,
    pub addresses: HashMap<[u8; 8], usize>,
}

impl Population for Crowd {
    fn alive(&self, slot: u32, generation: u32) -> bool {
        self.alive.contains(&(slot, generation))
    }
    fn young(&self, from: SocketAddr, dcid: &[u8]) -> Option<u32> {
        self.young.get(&(from, dcid.to_vec())).copied()
    }
    fn live(&self) -> usize {
        self.live
    }
    fn handshaking(&self) -> usize {
        self.handshaking
    }
    fn of_address(&self, key: &[u8; 8]) -> usize {
        self.addresses.get(key).copied().unwrap_or(0)
    }
}

/// A gate, its counters and its time.
pub struct Bench {
    pub gate: Gate,
    pub crowd: Crowd,
    pub counters: Counters,
    pub from: SocketAddr,
    pub now: Instant,
    pub wall: u64,
    pub forwarded: bool,
    pub out: [u8; 1500],
    pub codec: CidCodec,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut ListenOptions)) -> Self {
        let now = Instant::now();
        let mut o = listen_options();
        change(&mut o);
        Bench {
            gate: Gate::new(&o, now).unwrap(),
            crowd: Crowd::default(),
            counters: Counters::default(),
            from: at("192.0.2.1:4433"),
            now,
            wall: WALL,
            forwarded: false,
            out: [0xee; 1500],
            codec: CidCodec::new(&CID_KEY, NODE, WORKER).unwrap(),
        }
    }

    pub fn judge(&mut self, datagram: &[u8]) -> Verdict {
        self.gate.judge(datagram, self.from, self.forwarded, &self.crowd, &mut self.counters, self.now, self.wall, &mut self.out)
    }

    /// The answer to this datagram, which has one.
    pub fn answer(&mut self, datagram: &[u8]) -> Vec<u8> {
        match self.judge(datagram) {
            Verdict::Answer(n) => self.out[..n].to_vec(),
            other => panic!("{other:?} instead of an answer"),
        }
    }

    pub fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.wall += ms;
    }

    /// One more connection in its handshake, as after a Begin.
    pub fn begun(&mut self) {
        self.crowd.live += 1;
        self.crowd.handshaking += 1;
        *self.crowd.addresses.entry(limit_key(&self.from)).or_default() += 1;
    }

    /// What is counted, and nothing else.
    pub fn counted(&mut self, want: impl FnOnce(&mut Counters)) {
        let mut wanted = Counters::default();
        want(&mut wanted);
        assert_eq!(self.counters, wanted);
    }
}

pub fn reset_of(id: &[u8]) -> [u8; 16] {
    reset_token(&RESET_KEY, id)
}

pub fn long(first: u8, version: u32, dcid: &[u8], scid: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut p = vec![first];
    p.extend(version.to_be_bytes());
    for id in [dcid, scid] {
        p.push(id.len() as u8);
        p.extend(id);
    }
    p.extend(rest);
    p
}

/// An Initial that looks well from outside; what is in it nobody can read.
pub fn initial(dcid: &[u8], scid: &[u8], token: &[u8], size: usize) -> Vec<u8> {
    let mut p = long(0xc3, 1, dcid, scid, &(0x4000 | token.len() as u16).to_be_bytes());
    p.extend(token);
    let length = size.saturating_sub(p.len() + 2);
    p.extend((0x4000 | length as u16).to_be_bytes());
    p.resize(p.len() + length, 0x77);
    p
}

pub fn hello() -> Vec<u8> {
    initial(&DCID, &SCID, &[], 1200)
}

pub fn short(id: &[u8], size: usize) -> Vec<u8> {
    let mut p = vec![0x41];
    p.extend(id);
    p.resize(size, 0x66);
    p
}

/// Id and token of a Retry to SCID.
pub fn read_retry(p: &[u8]) -> (Vec<u8>, Vec<u8>) {
    assert_eq!((p[0], &p[1..5], &p[6..6 + p[5] as usize]), (0xf0, &[0, 0, 0, 1][..], &SCID[..]));
    let at = 6 + p[5] as usize;
    let (id, rest) = p[at + 1..].split_at(p[at] as usize);
    (id.to_vec(), rest[..rest.len() - 16].to_vec())
}

/// The code of an Initial with CONNECTION_CLOSE for a client that sent `dcid`: it has only one shape per code.
pub fn closes_with(p: &[u8], dcid: &[u8], code: u64) -> bool {
    let mut out = [0; 1500];
    let n = spooky_quic::packet::answers::initial_close(dcid, &SCID, code, &mut out).unwrap();
    p == &out[..n]
}
