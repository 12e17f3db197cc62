//! A socket and what waits to leave through it.

use crate::socket::{BindOptions, Outbox, Socket};
use std::io;
use std::net::SocketAddr;

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
}

impl Port {
    pub fn open(o: &BindOptions, outbox: usize) -> io::Result<Self> {
        Ok(Port { socket: Socket::bind(o)?, outbox: Outbox::new(outbox), blocked: false, behind: false, leaving: false, refuses: false })
    }

    /// Sends what waits. Err: the socket is dead.
    pub fn push(&mut self) -> Result<(), String> {
        self.blocked = !self.outbox.is_empty() && !self.socket.send(&mut self.outbox).map_err(|e| format!("send: {e}"))?;
        Ok(())
    }

    /// Whether datagrams to this address come here.
    fn serves(&self, address: SocketAddr) -> bool {
        let local = self.socket.local();
        local == address || (local.ip().is_unspecified() && local.is_ipv6() == address.is_ipv6() && local.port() == address.port())
    }
}

/// In this order: those of one address before those of all, and before them those that stay.
pub fn sort(ports: &mut [Port]) {
    ports.sort_by_key(|p| (p.leaving, p.socket.local().ip().is_unspecified()));
}

pub fn port_of(ports: &[Port], address: SocketAddr) -> Option<usize> {
    ports.iter().position(|p| p.serves(address))
}
