//! quiche as a client in the test's own hands: several sockets, and every datagram through the one that the test wants.

use crate::kit::{Side, Who, drive_with};
use quiche::{ConnectionId, RecvInfo};
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// What came to one of the sockets.
#[derive(Default, Debug, Clone, Copy)]
pub struct Traffic {
    pub sent: usize,
    pub received: usize,
    pub largest: usize,
}

pub struct Raw {
    pub q: quiche::Connection,
    pub sockets: Vec<UdpSocket>,
    pub traffic: Vec<Traffic>,
    /// Packets leave through this socket, whatever quiche thinks; and it thinks that what comes there came to the first one.
    pub nat: Option<usize>,
    /// Packets that would leave are kept.
    pub hold: bool,
    pub held: Vec<Vec<u8>>,
    /// Every so many-th datagram that comes is lost.
    pub loses: Option<usize>,
    /// Longer datagrams than this are lost on their way, and counted.
    pub carries: usize,
    pub too_long: usize,
    /// How many bytes its socket holds: of what comes between two turns the rest is lost, and counted.
    pub holds: usize,
    pub spilled: usize,
    /// None of its timers is due, ever: it answers, and says nothing by itself.
    pub timeless: bool,
    /// What came on each stream, and whether it has ended.
    pub streams: BTreeMap<u64, (Vec<u8>, bool)>,
    server: SocketAddr,
    body: Vec<u8>,
    heard: usize,
}

fn socket() -> UdpSocket {
    let s = UdpSocket::bind("127.0.0.1:0").unwrap();
    s.set_nonblocking(true).unwrap();
    s
}

impl Raw {
    pub fn new(server: SocketAddr, ids: u64) -> Self {
        Self::with(server, ids, |_| {})
    }

    pub fn with(server: SocketAddr, ids: u64, change: impl FnOnce(&mut quiche::Config)) -> Self {
        let mut c = quiche::Config::new(quiche::PROTOCOL_VERSION).unwrap();
        c.verify_peer(false);
        c.enable_early_data();
        c.set_application_protos(&[b"h3"]).unwrap();
        c.set_max_idle_timeout(10_000);
        c.set_initial_max_data(1 << 24);
        c.set_initial_max_stream_data_bidi_local(1 << 24);
        c.set_initial_max_stream_data_uni(1 << 20);
        c.set_initial_max_streams_uni(8);
        c.set_active_connection_id_limit(ids);
        c.set_max_recv_udp_payload_size(65527);
        change(&mut c);
        let first = socket();
        let local = first.local_addr().unwrap();
        let q = quiche::connect(Some("localhost"), &ConnectionId::from_ref(&[7; 16]), local, server, &mut c).unwrap();
        Raw {
            q,
            sockets: vec![first],
            traffic: vec![Traffic::default()],
            nat: None,
            hold: false,
            held: Vec::new(),
            loses: None,
            carries: usize::MAX,
            too_long: 0,
            holds: usize::MAX,
            spilled: 0,
            timeless: false,
            streams: BTreeMap::new(),
            server,
            body: Vec::new(),
            heard: 0,
        }
    }

    /// Another socket: its address.
    pub fn open(&mut self) -> SocketAddr {
        self.sockets.push(socket());
        self.traffic.push(Traffic::default());
        self.address(self.sockets.len() - 1)
    }

    pub fn address(&self, i: usize) -> SocketAddr {
        self.sockets[i].local_addr().unwrap()
    }

    pub fn send_from(&mut self, i: usize, datagram: &[u8]) {
        self.sockets[i].send_to(datagram, self.server).unwrap();
        self.traffic[i].sent += datagram.len();
    }

    /// The packets that wait.
    pub fn packets(&mut self) -> Vec<(Vec<u8>, SocketAddr)> {
        let mut out = Vec::new();
        let mut packet = [0; 1500];
        while let Ok((n, info)) = self.q.send(&mut packet) {
            out.push((packet[..n].to_vec(), info.from));
        }
        out
    }

    pub fn turn(&mut self) {
        let mut bytes = [0; 65_536];
        let mut held = 0;
        for i in 0..self.sockets.len() {
            while let Ok((n, from)) = self.sockets[i].recv_from(&mut bytes) {
                if n > self.carries {
                    self.too_long += 1;
                    continue;
                }
                if held + n > self.holds {
                    self.spilled += n;
                    continue;
                }
                held += n;
                let t = &mut self.traffic[i];
                t.received += n;
                t.largest = t.largest.max(n);
                self.heard += 1;
                if self.loses.is_some_and(|every| self.heard.is_multiple_of(every)) {
                    continue;
                }
                let to = self.address(if self.nat == Some(i) { 0 } else { i });
                let _ = self.q.recv(&mut bytes[..n], RecvInfo { from, to });
            }
        }
        if !self.timeless && self.q.timeout().is_some_and(|t| t.is_zero()) {
            self.q.on_timeout();
        }
        while let Some(id) = self.q.stream_readable_next() {
            while let Ok((n, fin)) = self.q.stream_recv(id, &mut bytes) {
                self.body.extend_from_slice(&bytes[..n]);
                let s = self.streams.entry(id).or_default();
                s.0.extend_from_slice(&bytes[..n]);
                s.1 |= fin;
            }
        }
        for (p, from) in self.packets() {
            if self.hold {
                self.held.push(p);
                continue;
            }
            let i = self.nat.unwrap_or_else(|| (0..self.sockets.len()).find(|&i| self.address(i) == from).unwrap());
            self.send_from(i, &p);
        }
    }

    /// All stream bytes so far.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Turns both until `done`.
    pub fn drive(&mut self, s: &mut Side, what: &str, mut done: impl FnMut(&mut Side, &mut Raw) -> bool) {
        let fds: Vec<i32> = self.sockets.iter().map(|s| s.as_raw_fd()).collect();
        drive_with(&mut [s], what, &fds, |x, _| {
            self.turn();
            done(x[0], self)
        });
    }

    /// Everything that is under way arrives.
    pub fn settle(&mut self, s: &mut Side) {
        let mut quiet = 0;
        for _ in 0..2000 {
            let before: usize = self.traffic.iter().map(|t| t.received).sum();
            self.turn();
            s.turn(true);
            let after: usize = self.traffic.iter().map(|t| t.received).sum();
            quiet = if before == after { quiet + 1 } else { 0 };
            if quiet == 10 {
                return;
            }
        }
        panic!("never quiet");
    }

    pub fn handshake(s: &mut Side, ids: u64) -> (Raw, Who) {
        let mut raw = Raw::new(s.address(), ids);
        let before = s.conns.len();
        raw.drive(s, "a raw handshake", |s, r| r.q.is_established() && s.conns.len() > before);
        raw.settle(s);
        (raw, s.conns[before])
    }
}
