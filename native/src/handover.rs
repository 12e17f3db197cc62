//! Datagrams of other workers' connections, to their owners and from those who got ours: a Unix socket of datagrams for each endpoint,
//! named by its worker's number, in a folder that only this user may enter.
//!
//! ```text
//! message    version u8 = 1 | entry, at least one
//! entry      length u16 | from 18 | to 18 | datagram
//! ```
//!
//! Numbers are big endian, addresses those of `address`. A message takes what one turn has for one owner: by default the kernel lets
//! only ten messages wait (net.unix.max_dgram_qlen), but asks little of their size. What it does not take waits here, one message for
//! each owner, and is tried again; what does not fit is lost, as datagrams can be.
//!
//! What waits at an owner is charged to the socket that it was sent from: each owner has one of its own, so that those who do not read
//! (stopped, hung, about to be replaced) take nothing from those who do.
//!
//! A listener has one name in all workers of a tree of processes. A tree that takes over may have other addresses for it, and so another
//! name: whom no name leads to is looked for by the address that the datagram came to, under which everybody can be found as well.

use crate::address::{self, ADDRESS_LENGTH};
use crate::options::HandoverOptions;
use crate::socket::send_buffer;
use serde::Serialize;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub const VERSION: u8 = 1;
/// The longest message.
pub const MESSAGE: usize = 64 * 1024;
const LENGTH: usize = 2;
/// What an entry has in front of its datagram.
pub const HEAD: usize = LENGTH + 2 * ADDRESS_LENGTH;
/// What the messages that wait at an owner may take of the kernel's memory, as far as the system allows; it allows itself twice as much.
const SEND_BUFFER: usize = 1 << 20;
/// How long an owner's socket is sent to without a look at whose its name is now.
const LOOK: Duration = Duration::from_millis(10);
/// Between attempts at an owner whose queue is full: twice as long each time.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(64);
/// Names that one listener has had, by which those find it who do not hear of another: they drain.
const NAMES: usize = 16;
/// More than there are workers that anything is handed to, each at a few addresses.
const PARCELS: usize = 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Handed {
    pub sent: u64,
    pub received: u64,
    /// Of those received: reached a connection, or may begin one.
    pub delivered: u64,
    /// The owner's queue is full, or the owner is gone.
    pub lost: u64,
    /// Of those received: malformed, for an address that is not ours, or for yet another worker.
    pub refused: u64,
}

/// What waits for one owner, as the message that it becomes.
struct Parcel {
    worker: u8,
    /// Only what came to this address: it was found by that.
    at: Option<SocketAddr>,
    to: UnixAddress,
    /// What its messages are sent from. None: there are no descriptors left, and the endpoint's own socket serves.
    socket: Option<UnixDatagram>,
    /// Until then the socket stays connected to whom it found under the name: to look each time costs as much as to send.
    connected: Option<Instant>,
    message: Vec<u8>,
    count: u64,
    /// The owner's queue was full: not before then again.
    again: Option<Instant>,
    pause: Duration,
    gone: bool,
}

pub struct Handover {
    pub handed: Handed,
    /// Datagrams that were given to `push`.
    pub pushed: u64,
    socket: UnixDatagram,
    options: HandoverOptions,
    former: Option<HandoverOptions>,
    worker: u8,
    /// Something waits in `parcels`.
    waiting: bool,
    /// Owners that something was sent to, until they are gone.
    parcels: Vec<Parcel>,
    /// Behind the socket: whoever finds it gone must not find its names.
    places: Vec<Place>,
    /// The same, by addresses.
    addresses: Vec<Place>,
}

impl Handover {
    /// Whoever had this worker's number before is gone, and so is its socket.
    pub fn open(o: &HandoverOptions, worker: u8) -> io::Result<Self> {
        let path = o.path(worker);
        let address = UnixAddress::from_pathname(&path)?;
        vacate(&path)?;
        let socket = UnixDatagram::bind_addr(&address)?;
        let place = Place::of(path)?;
        fs::set_permissions(&place.path, fs::Permissions::from_mode(0o600))?;
        socket.set_nonblocking(true)?;
        send_buffer(&socket, SEND_BUFFER)?;
        Ok(Handover {
            handed: Handed::default(),
            pushed: 0,
            socket,
            options: o.clone(),
            former: None,
            waiting: false,
            parcels: Vec::new(),
            worker,
            places: vec![place],
            addresses: Vec::new(),
        })
    }

    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Others reach this listener by this name, too: a link to the same socket.
    pub fn also(&mut self, name: &str) -> io::Result<()> {
        let path = self.options.named(name).path(self.worker);
        if self.places.iter().any(|p| p.path == path && p.is_ours()) {
            return Ok(());
        }
        // First: it would take what is linked there along.
        self.places.retain(|p| p.path != path);
        let place = self.link(path)?;
        self.places.push(place);
        Ok(())
    }

    /// Others reach this listener by its addresses, too, whatever they call it.
    pub fn serve(&mut self, addresses: impl Iterator<Item = SocketAddr>) -> io::Result<()> {
        for path in addresses.map(|a| self.options.at(&a).path(self.worker)).collect::<Vec<_>>() {
            if self.addresses.iter().any(|p| p.path == path && p.is_ours()) {
                continue;
            }
            self.addresses.retain(|p| p.path != path);
            let place = self.link(path)?;
            self.addresses.push(place);
        }
        Ok(())
    }

    /// It has no other addresses any more.
    pub fn keep(&mut self, addresses: impl Iterator<Item = SocketAddr>) {
        let paths: Vec<PathBuf> = addresses.map(|a| self.options.at(&a).path(self.worker)).collect();
        self.addresses.retain(|p| paths.contains(&p.path));
    }

    fn link(&self, path: PathBuf) -> io::Result<Place> {
        let Some(known) = self.places.iter().chain(&self.addresses).find(|p| p.is_ours()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        vacate(&path)?;
        fs::hard_link(&known.path, &path)?;
        Ok(Place { path, identity: known.identity })
    }

    /// This name is the listener's from now on. Those before stay ours, for workers that do not hear of it any more.
    pub fn rename(&mut self, name: &str) {
        if self.options.name == name {
            return;
        }
        let named = self.options.named(name);
        self.former = Some(std::mem::replace(&mut self.options, named));
        let path = self.options.path(self.worker);
        if let Some(at) = self.places.iter().position(|p| p.path == path) {
            let place = self.places.remove(at);
            self.places.push(place);
        }
        let many = self.places.len().saturating_sub(NAMES);
        self.places.drain(..many);
        for i in 0..self.parcels.len() {
            let Parcel { worker, at: None, .. } = self.parcels[i] else { continue };
            let path = self.named(worker).unwrap_or_else(|| self.options.path(worker));
            if let Ok(to) = UnixAddress::from_pathname(path) {
                (self.parcels[i].to, self.parcels[i].connected) = (to, None);
            }
        }
    }

    /// Where a worker is found: by the former name, when it does not know the present one.
    fn named(&self, worker: u8) -> Option<PathBuf> {
        [Some(&self.options), self.former.as_ref()].into_iter().flatten().map(|o| o.path(worker)).find(|path| path.exists())
    }

    /// Where a worker is found that knows neither: by the address, or by all of them.
    fn addressed(&self, worker: u8, at: &SocketAddr) -> Option<PathBuf> {
        let any: IpAddr = if at.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        [*at, SocketAddr::new(any, at.port())].iter().map(|a| self.options.at(a).path(worker)).find(|path| path.exists())
    }

    /// Lets a datagram wait for `send`.
    pub fn push(&mut self, worker: u8, datagram: &[u8], from: &SocketAddr, to: &SocketAddr, now: Instant) {
        self.pushed += 1;
        let Some(parcel) = self.parcel(worker, to) else {
            self.handed.lost += 1;
            return;
        };
        if !parcel.add(datagram, from, to) {
            // Full: it leaves now. Who is gone is told of at the next one.
            self.send(now, |_, _, _| {});
            let added = self.parcel(worker, to).is_some_and(|p| p.add(datagram, from, to));
            self.handed.lost += u64::from(!added);
        }
        self.waiting = true;
    }

    fn parcel(&mut self, worker: u8, to: &SocketAddr) -> Option<&mut Parcel> {
        let i = match self.parcels.iter().position(|p| p.worker == worker && p.at.is_none_or(|at| at == *to)) {
            Some(i) => i,
            None if self.parcels.len() >= PARCELS => return None,
            None => {
                let named = self.named(worker);
                let addressed = if named.is_none() { self.addressed(worker, to) } else { None };
                let at = addressed.as_ref().map(|_| *to);
                // Nobody is found there either: it is gone.
                let path = named.or(addressed).unwrap_or_else(|| self.options.path(worker));
                self.parcels.push(Parcel::new(worker, at, UnixAddress::from_pathname(path).ok()?));
                self.parcels.len() - 1
            }
        };
        self.parcels.get_mut(i)
    }

    /// One message for each owner that something waits for. What is for an owner that is gone, comes back.
    pub fn send(&mut self, now: Instant, mut back: impl FnMut(&mut [u8], SocketAddr, SocketAddr)) {
        if !std::mem::take(&mut self.waiting) {
            return;
        }
        let mut gone = false;
        for p in self.parcels.iter_mut().filter(|p| p.count > 0) {
            if p.again.is_some_and(|at| at > now) {
                self.waiting = true;
                continue;
            }
            match p.post(&self.socket, now) {
                Ok(_) => self.handed.sent += p.count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    p.again = Some(now + p.pause);
                    p.pause = LONGEST.min(2 * p.pause);
                    self.waiting = true;
                    continue;
                }
                Err(e) => {
                    self.handed.lost += p.count;
                    if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ECONNREFUSED)) {
                        let mut rest = entries(&mut p.message).unwrap_or_default();
                        while let Some((datagram, from, to)) = next(&mut rest) {
                            back(datagram, from, to);
                        }
                        gone = true;
                        p.gone = true;
                    }
                }
            }
            p.clear();
        }
        if gone {
            self.parcels.retain(|p| !p.gone);
        }
    }

    /// When `send` must be called again.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.waiting {
            return None;
        }
        self.parcels.iter().filter_map(|p| p.again).min()
    }

    /// A message of another worker, if one waits: how long it is. Err: the socket is dead.
    pub fn receive(&self, memory: &mut [u8]) -> io::Result<Option<usize>> {
        match self.socket.recv(memory) {
            Ok(n) => Ok(Some(n)),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl Parcel {
    fn new(worker: u8, at: Option<SocketAddr>, to: UnixAddress) -> Self {
        Parcel {
            worker,
            at,
            to,
            socket: None,
            connected: None,
            message: vec![VERSION],
            count: 0,
            again: None,
            pause: SHORTEST,
            gone: false,
        }
    }

    fn post(&mut self, shared: &UnixDatagram, now: Instant) -> io::Result<usize> {
        if self.socket.is_none() {
            self.socket = sender().ok();
        }
        let Some(socket) = &self.socket else { return shared.send_to_addr(&self.message, &self.to) };
        if self.connected.is_some_and(|until| now < until) {
            match socket.send(&self.message) {
                // The one that was connected to is gone: its successor may have the name.
                Err(e) if e.raw_os_error() == Some(libc::ECONNREFUSED) => {}
                sent => return sent,
            }
        }
        socket.connect_addr(&self.to)?;
        self.connected = Some(now + LOOK);
        socket.send(&self.message)
    }

    /// Its memory stays for the next time.
    fn clear(&mut self) {
        self.message.truncate(1);
        self.count = 0;
        self.again = None;
        self.pause = SHORTEST;
    }

    /// False: it is full.
    fn add(&mut self, datagram: &[u8], from: &SocketAddr, to: &SocketAddr) -> bool {
        let m = &mut self.message;
        let Ok(length) = u16::try_from(datagram.len()) else { return false };
        if m.len() + HEAD + datagram.len() > MESSAGE {
            return false;
        }
        m.extend_from_slice(&length.to_be_bytes());
        m.extend_from_slice(&address::encode(from));
        m.extend_from_slice(&address::encode(to));
        m.extend_from_slice(datagram);
        self.count += 1;
        true
    }
}

/// A socket without a name: nobody can send to it.
fn sender() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    send_buffer(&socket, SEND_BUFFER)?;
    Ok(socket)
}

/// The entries of a message of our version.
pub fn entries(message: &mut [u8]) -> Option<&mut [u8]> {
    match message.split_first_mut() {
        Some((&mut VERSION, rest)) => Some(rest),
        _ => None,
    }
}

/// The first entry of `rest`, which goes on behind it: a datagram, from, to. None: there is no whole one; what is left is in `rest`.
pub fn next<'a>(rest: &mut &'a mut [u8]) -> Option<(&'a mut [u8], SocketAddr, SocketAddr)> {
    let (head, _) = rest.split_at_checked(HEAD)?;
    let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
    let (from, to) = head[LENGTH..].split_at(ADDRESS_LENGTH);
    let (from, to) = (address::decode(from)?, address::decode(to)?);
    if rest.len() < HEAD + length {
        return None;
    }
    let (entry, behind) = std::mem::take(rest).split_at_mut(HEAD + length);
    *rest = behind;
    Some((&mut entry[HEAD..], from, to))
}

/// The name of our socket, given back when it goes: unless another endpoint has taken it.
struct Place {
    path: PathBuf,
    identity: (u64, u64),
}

impl Place {
    fn of(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Place { path, identity })
    }

    fn is_ours(&self) -> bool {
        identity(&self.path).is_ok_and(|now| now == self.identity)
    }
}

/// Whoever had this name is gone, or has left it.
fn vacate(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_ours() {
            // Whoever finds a name without a socket behind it knows as much.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|m| (m.dev(), m.ino()))
}

#[cfg(test)]
mod tests;
