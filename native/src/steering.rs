//! Which socket the kernel brings a connection's datagrams to. The workers' sockets of one port are a group of which the kernel chooses
//! by a hash of both addresses: a client whose address has changed, or a group that has, comes to another worker, and each of its
//! datagrams is handed over for as long as the connection lasts. A classic BPF program of the group (SO_ATTACH_REUSEPORT_CBPF, which
//! needs no privilege) chooses by the worker that octet 0 of our ids names in clear: then hand-overs are rare. Nothing relies on it.
//!
//! The program names sockets by their places in the group. They change whenever a socket goes, and the kernel tells them to nobody. So a
//! worker that others' datagrams come to asks the group, place by place, through a program that brings each question to its place; who
//! gets one answers with its number, through the hand-over. A place beyond the last is the hash's again: there somebody answers twice.
//! Where anybody has not answered before, nobody is steered: it may be a stranger, whose connections our program would take away. For the
//! same reason who joins the group, or leaves it, takes the program along.
//!
//! ```text
//! question   0 u8 | 1 u8 | place u8 | worker u8, who asks | nonce, 8 octets | secret, 16 octets
//! answer     0 u8 | 2 u8 | place u8 | worker u8, who answers | nonce | secret
//! ```
//!
//! Octet 0 is that of no QUIC packet: the fixed bit is 0. The secret is the node's; a question comes from this machine alone, to itself.

use crate::ids::{Random, reset_token};
use libc::sock_filter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

pub const MESSAGE: usize = 28;
const QUESTION: u8 = 1;
const ANSWER: u8 = 2;
/// Of twice as many workers as octet 0 tells apart, and one that is nobody's.
const PLACES: usize = 65;
const CLEAR: u8 = 31;
/// So many of others' datagrams are no accident.
const MANY: u32 = 128;
/// Who has not answered by then hangs, or does not know the question.
const PATIENCE: Duration = Duration::from_millis(100);
/// Between two times of asking: longer each time, while it does not help.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(8);
/// What a program returns that does not choose: no group has so many sockets.
const NOWHERE: u32 = u32::MAX;

type Nonce = [u8; 8];
pub type Message = [u8; MESSAGE];
pub type Program = Vec<sock_filter>;

/// A worker, as octet 0 of its ids has it, and its place in the group.
type Seat = (u8, u8);

pub struct Steering {
    worker: u8,
    secret: [u8; 16],
    /// From here to here: this socket's group gets it, and nobody else.
    address: SocketAddr,
    astray: u32,
    seats: Vec<Seat>,
    asking: Option<Asking>,
    again: Option<Instant>,
    pause: Duration,
}

struct Asking {
    nonce: Nonce,
    until: Instant,
    heard: [Option<u8>; PLACES],
}

/// What is to be done now.
pub enum Step {
    /// Attach the program, and send the questions one by one: together they may leave as one, for which the kernel asks the program once.
    Ask(Program, Vec<Message>),
    Steer(Program),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer is for this worker.
    Question(u8, Message),
    Answer,
    Nothing,
}

impl Steering {
    /// `key` is one that all workers of this node have; `local` is where their sockets are bound.
    pub fn new(key: &[u8], worker: u8, local: SocketAddr) -> Self {
        let ip = match local.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Steering {
            worker,
            secret: reset_token(key, b"places in the group"),
            address: SocketAddr::new(ip, local.port()),
            astray: 0,
            seats: Vec::new(),
            asking: None,
            again: None,
            pause: SHORTEST,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The kernel has brought another worker's datagram here.
    pub fn astray(&mut self) {
        self.astray = self.astray.saturating_add(1);
    }

    /// Once per turn.
    pub fn step(&mut self, now: Instant) -> Option<Step> {
        if let Some(asking) = self.asking.take_if(|a| now >= a.until || a.heard.iter().all(Option::is_some)) {
            self.seats = seats(&asking.heard);
            self.astray = 0;
            return Some(Step::Steer(program(&self.seats, None)));
        }
        if self.asking.is_some() || self.astray < MANY || self.again.is_some_and(|at| now < at) {
            return None;
        }
        let lately = self.again.is_some_and(|at| now - at < LONGEST);
        self.pause = if lately { LONGEST.min(2 * self.pause) } else { SHORTEST };
        self.again = Some(now + self.pause);
        let nonce = Random::new().bytes();
        self.asking = Some(Asking { nonce, until: now + PATIENCE, heard: [None; PLACES] });
        let questions = (0..PLACES as u8).map(|place| self.message(QUESTION, place, nonce)).collect();
        Some(Step::Ask(program(&self.seats, Some(nonce)), questions))
    }

    fn message(&self, kind: u8, place: u8, nonce: Nonce) -> Message {
        let mut m = [0; MESSAGE];
        m[1..4].copy_from_slice(&[kind, place, self.worker]);
        m[4..12].copy_from_slice(&nonce);
        m[12..].copy_from_slice(&self.secret);
        m
    }

    /// `forwarded`: it came through the hand-over.
    pub fn hear(&mut self, datagram: &[u8], forwarded: bool) -> Heard {
        let Some(&[0, kind, place, worker, ref rest @ ..]) = datagram.first_chunk::<MESSAGE>() else { return Heard::Nothing };
        let (nonce, secret) = rest.split_at(8);
        let Ok(nonce) = nonce.try_into() else { return Heard::Nothing };
        if !boring::memcmp::eq(secret, &self.secret) {
            return Heard::Nothing;
        }
        match (kind, forwarded) {
            (QUESTION, false) if worker == self.worker => self.note(place, worker, nonce),
            (QUESTION, false) => {
                // Two programs at a time would take each other's questions away.
                self.astray = 0;
                Heard::Question(worker, self.message(ANSWER, place, nonce))
            }
            (ANSWER, true) => self.note(place, worker, nonce),
            _ => Heard::Nothing,
        }
    }

    fn note(&mut self, place: u8, worker: u8, nonce: Nonce) -> Heard {
        let asking = self.asking.as_mut().filter(|a| a.nonce == nonce);
        let Some(heard) = asking.and_then(|a| a.heard.get_mut(usize::from(place))) else { return Heard::Nothing };
        *heard = Some(worker);
        Heard::Answer
    }
}

/// Worth a look by `hear`.
pub fn is_message(datagram: &[u8]) -> bool {
    datagram.len() == MESSAGE && datagram[0] == 0
}

/// Who has answered at which place, when all have. Whom octet 0 does not tell apart, the hash goes on to choose among.
fn seats(heard: &[Option<u8>]) -> Vec<Seat> {
    let mut group = Vec::new();
    for worker in heard {
        match worker {
            None => return Vec::new(),
            Some(w) if !group.contains(w) => group.push(*w),
            Some(_) => {
                let alone = |worker: u8| group.iter().filter(|w| **w & CLEAR == worker & CLEAR).count() == 1;
                let seats = (0..).zip(&group).filter(|(_, w)| group.len() > 1 && alone(**w));
                return seats.map(|(place, w)| (w & CLEAR, place)).collect();
            }
        }
    }
    Vec::new()
}

/// What the kernel runs for each datagram, whose payload begins at 0: the place of its socket, or nowhere.
fn program(seats: &[Seat], nonce: Option<Nonce>) -> Program {
    use libc::{BPF_A, BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};
    let code = |code: u32, (jt, jf): (u8, u8), k: u32| sock_filter { code: code as u16, jt, jf, k };
    let word = |at| code(BPF_LD | BPF_W | BPF_ABS, (0, 0), at);
    let octet = |at| code(BPF_LD | BPF_B | BPF_ABS, (0, 0), at);
    let equals = |k, skip| code(BPF_JMP | BPF_JEQ | BPF_K, (0, skip), k);
    let answer = |place| code(BPF_RET | BPF_K, (0, 0), place);
    let mut p = Vec::new();
    if let Some([a, b, c, d, e, f, g, h]) = nonce {
        p.extend([word(4), equals(u32::from_be_bytes([a, b, c, d]), 4), word(8), equals(u32::from_be_bytes([e, f, g, h]), 2)]);
        p.extend([octet(2), code(BPF_RET | BPF_A, (0, 0), 0)]);
    }
    if !seats.is_empty() {
        // Long headers are of clients that begin: the hash keeps all of one together.
        p.extend([octet(0), code(BPF_JMP | BPF_JSET | BPF_K, (0, 1), 0x80), answer(NOWHERE)]);
        p.extend([octet(1), code(BPF_ALU | BPF_AND | BPF_K, (0, 0), CLEAR.into())]);
        p.extend(seats.iter().flat_map(|&(worker, place)| [equals(worker.into(), 1), answer(place.into())]));
    }
    p.push(answer(NOWHERE));
    p
}

#[cfg(test)]
mod tests;
