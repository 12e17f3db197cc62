//! A socket and what waits to leave through it.

use crate::socket::{BindOptions, Outbox, Socket};
use crate::steering::{Message, Program, Steering, Step};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

pub struct Port {
    pub socket: Socket,
    pub outbox: Outbox,
    /// The kernel's buffer is full.
    pub blocked: bool,
    /// The last turn has left something in the socket, as far as it knows.
    pub behind: bool,
    /// Its address is not the listener's any more: it stays for the connections that it has.
    pub leaving: bool,
    /// Newcomers are refused here.
    pub refuses: bool,
    /// Where the workers of this port meet.
    pub steering: Option<Box<Steering>>,
}

impl Port {
    pub fn open(o: &BindOptions, outbox: usize) -> io::Result<Self> {
        Ok(Port {
            socket: Socket::bind(o)?,
            outbox: Outbox::new(outbox),
            blocked: false,
            behind: false,
            leaving: false,
            refuses: false,
            steering: None,
        })
    }

    /// Sends what waits. Err: the socket is dead.
    pub fn push(&mut self) -> Result<(), String> {
        self.blocked = !self.outbox.is_empty() && !self.socket.send(&mut self.outbox).map_err(|e| format!("send: {e}"))?;
        Ok(())
    }

    /// It has joined others.
    pub fn meet(&mut self, steering: Steering) {
        self.steering = Some(Box::new(steering));
        let _ = self.socket.unsteer();
    }

    /// What there is to do so that others' datagrams do not come here. Err: the socket is dead.
    pub fn steer(&mut self, now: Instant) -> Result<(), String> {
        match self.steering.as_mut().and_then(|s| s.step(now)) {
            None => Ok(()),
            Some(Step::Steer(program)) => {
                self.choose(program);
                Ok(())
            }
            Some(Step::Ask(program, questions)) => {
                self.choose(program);
                questions.iter().try_for_each(|q| self.ask(q))
            }
        }
    }

    /// A system without such programs, or one that forbids them: the hash it is, for good.
    fn choose(&mut self, mut program: Program) {
        if self.socket.steer(&mut program).is_err() {
            self.steering = None;
        }
    }

    fn ask(&mut self, question: &Message) -> Result<(), String> {
        let (Some(s), Some(room)) = (&self.steering, self.outbox.room()) else { return Ok(()) };
        room[..question.len()].copy_from_slice(question);
        self.outbox.commit(question.len(), s.address(), s.address());
        self.push()
    }

    /// Whether datagrams to this address come here.
    fn serves(&self, address: SocketAddr) -> bool {
        let local = self.socket.local();
        local == address || (local.ip().is_unspecified() && local.is_ipv6() == address.is_ipv6() && local.port() == address.port())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // With this socket the places of others change.
        if self.steering.is_some() {
            let _ = self.socket.unsteer();
        }
    }
}

/// In this order: those of one address before those of all, and before them those that stay.
pub fn sort(ports: &mut [Port]) {
    ports.sort_by_key(|p| (p.leaving, p.socket.local().ip().is_unspecified()));
}

pub fn port_of(ports: &[Port], address: SocketAddr) -> Option<usize> {
    ports.iter().position(|p| p.serves(address))
}
