//! UDP in batches: recvmmsg with GRO, sendmmsg with GSO, the local address by packet info.
//!
//! What is unsafe is here, in calls that hold no pointer past their return; `inbox`, `outbox` and `layout` deal in slices and bytes.

mod inbox;
mod layout;
mod outbox;

pub use inbox::Inbox;
pub use outbox::Outbox;

use layout::{Control, Name};
use libc::{c_int, c_uint, c_ushort};
use outbox::Part;
use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

/// The largest datagram that is taken apart from a GRO batch, and the largest that is sent where nobody has asked for more room.
pub const MAX_DATAGRAM: usize = 1500;

/// Messages of one sendmmsg.
const MAX_MESSAGES: usize = 64;

/// Linux 5.3; the crate does not have it.
const SO_DETACH_REUSEPORT_BPF: c_int = 68;

/// `sock_fprog`: with its padding, which the kernel copies too, and which nobody would set.
#[repr(C)]
struct Program {
    length: c_ushort,
    padding: [u8; PADDING],
    filter: *mut libc::sock_filter,
}

const PADDING: usize = std::mem::offset_of!(libc::sock_fprog, filter) - size_of::<c_ushort>();

/// How often in a row a call is made again that a signal, or the ICMP error of a peer, has cut short.
const ATTEMPTS: usize = 16;

#[derive(Clone, Copy, Debug)]
pub struct BindOptions {
    pub host: IpAddr,
    pub port: u16,
    pub reuse_port: bool,
    /// 0: the system's.
    pub receive_buffer: usize,
    pub send_buffer: usize,
}

pub struct Socket {
    socket: UdpSocket,
    local: SocketAddr,
    /// Bound to every address: datagrams say which one they came to, and which one they leave from.
    wildcard: bool,
    receive_buffer: usize,
    gso: bool,
    drops: Cell<u64>,
    messages: Messages<MAX_MESSAGES>,
    parts: [Part; MAX_MESSAGES],
    #[cfg(test)]
    kernel: tests::Kernel,
}

impl Socket {
    /// Non-blocking, packet info on, don't-fragment set (path MTU discovery is ours), IPv6 only when IPv6.
    pub fn bind(o: &BindOptions) -> io::Result<Self> {
        let fd = open(o.host)?;
        prepare(&fd, o)?;
        let address = SocketAddr::new(o.host, o.port);
        bind(&fd, &address)?;
        let [granted] = option::<1>(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF)?;
        let gso = option::<1>(&fd, libc::SOL_UDP, libc::UDP_SEGMENT).is_ok();
        let socket = UdpSocket::from(fd);
        Ok(Socket {
            local: socket.local_addr()?,
            socket,
            wildcard: o.host.is_unspecified(),
            // Linux says twice what it was asked for: the other half is for its own records (socket(7)).
            receive_buffer: granted as usize / 2,
            gso,
            drops: Cell::new(0),
            messages: Messages::new(),
            parts: [Part::default(); MAX_MESSAGES],
            #[cfg(test)]
            kernel: tests::Kernel::default(),
        })
    }

    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Whether others may be bound to the same port.
    pub fn share_port(&self, shared: bool) -> io::Result<()> {
        set_option(&self.socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, c_int::from(shared))
    }

    /// By what the kernel chooses among the sockets that share this port from now on: the places that `program` returns.
    pub fn steer(&self, program: &mut [libc::sock_filter]) -> io::Result<()> {
        let length = c_ushort::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let given = Program { length, padding: [0; PADDING], filter: program.as_mut_ptr() };
        let (value, size) = (&raw const given, size_of::<Program>() as libc::socklen_t);
        // SAFETY: `given` and what it points at outlive the call, with their true lengths; the kernel only reads them.
        check(unsafe { libc::setsockopt(self.fd(), libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, value.cast(), size) })
    }

    /// By a hash of the addresses again.
    pub fn unsteer(&self) -> io::Result<()> {
        set_option(&self.socket, libc::SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)
    }

    /// As bound: the address may be a wildcard.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What the kernel granted, in the unit in which it was asked.
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// Datagrams that the kernel dropped because this socket's buffer was full.
    pub fn kernel_drops(&self) -> u64 {
        let total = self.drops.get();
        let Ok(meminfo) = option::<{ MEMINFO }>(&self.socket, libc::SOL_SOCKET, libc::SO_MEMINFO) else { return total };
        // The kernel counts in 32 bits and begins anew; the low half of our total is what it said last.
        let more = meminfo[libc::SK_MEMINFO_DROPS as usize].wrapping_sub(total as u32);
        self.drops.set(total + u64::from(more));
        self.drops.get()
    }

    /// Whether runs of datagrams leave as one message. Switched off for good when a device refuses them.
    pub fn gso(&self) -> bool {
        self.gso
    }

    /// One recvmmsg into `batch`, whose datagrams are valid until the next call. 0: nothing waits. ICMP errors of peers are no errors.
    pub fn receive(&mut self, batch: &mut Inbox) -> io::Result<usize> {
        batch.clear();
        for _ in 0..ATTEMPTS {
            match self.fill(batch) {
                Ok(messages) => {
                    batch.take_apart(messages, self.local);
                    return Ok(batch.len());
                }
                Err(libc::EAGAIN) => return Ok(0),
                Err(e) if passes(e) => {}
                Err(e) => return Err(io::Error::from_raw_os_error(e)),
            }
        }
        Ok(0)
    }

    fn fill(&mut self, batch: &mut Inbox) -> Result<usize, i32> {
        #[cfg(test)]
        if let Some(e) = self.kernel.receiving.pop() {
            return Err(e);
        }
        batch.fill(self.fd())
    }

    /// Sends everything in `outbox`, in its order. False: the kernel's buffer is full, the rest stays in the outbox.
    pub fn send(&mut self, outbox: &mut Outbox) -> io::Result<bool> {
        let mut interrupted = 0;
        while !outbox.is_empty() {
            let count = outbox.parts(self.gso, &mut self.parts);
            match self.transmit(outbox, count) {
                Ok(0) | Err(libc::EAGAIN) => return Ok(false),
                Ok(left) => {
                    if outbox.doubted() {
                        // Refused together, taken one by one: it was the joining.
                        self.gso = false;
                    }
                    outbox.finish(&self.parts[..left], true);
                    interrupted = 0;
                }
                Err(libc::EINTR) if interrupted == ATTEMPTS => return Ok(false),
                Err(libc::EINTR) => interrupted += 1,
                Err(e) => self.refused(e, outbox)?,
            }
        }
        Ok(true)
    }

    /// One sendmmsg: how many of the messages left. An error is always that of the first one.
    fn transmit(&mut self, outbox: &Outbox, count: usize) -> Result<usize, i32> {
        let fd = self.fd();
        let parts = &self.parts[..count];
        #[cfg(test)]
        let parts = self.kernel.before(parts)?;
        self.messages.send(fd, outbox, parts, self.wildcard)
    }

    /// The kernel does not want the first message. One peer's trouble ends neither the others' datagrams nor the socket.
    fn refused(&mut self, errno: i32, outbox: &mut Outbox) -> io::Result<()> {
        let first = self.parts[0];
        match errno {
            libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::ENOSYS => return Err(io::Error::from_raw_os_error(errno)),
            // A device that cannot do it says EIO or EOPNOTSUPP; EINVAL may as well mean that segments are larger than its MTU, or that
            // the source address is gone: what becomes of the single datagrams decides.
            libc::EIO | libc::EINVAL | libc::EOPNOTSUPP if first.joined() => outbox.split(true),
            libc::EMSGSIZE if first.joined() => outbox.split(false),
            // EMSGSIZE, ECONNREFUSED, ENETUNREACH, EPERM...: lost, as datagrams can be.
            _ => outbox.finish(&[first], false),
        }
        Ok(())
    }
}

/// Errors of receiving that say nothing about the socket: signals, what ICMP brings (`icmp_err_convert`), a lack of memory.
fn passes(errno: i32) -> bool {
    matches!(
        errno,
        libc::EINTR
            | libc::ECONNREFUSED
            | libc::ECONNRESET
            | libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EPROTO
            | libc::EMSGSIZE
            | libc::EACCES
            | libc::ETIMEDOUT
            | libc::ENOMEM
            | libc::ENOBUFS
    )
}

/// Words of SO_MEMINFO as far as they are read.
const MEMINFO: usize = libc::SK_MEMINFO_DROPS as usize + 1;

/// All options, before the first datagram can come.
fn prepare(fd: &OwnedFd, o: &BindOptions) -> io::Result<()> {
    let v6 = o.host.is_ipv6();
    if v6 {
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    if o.reuse_port {
        set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    buffer(fd, libc::SO_RCVBUF, o.receive_buffer)?;
    buffer(fd, libc::SO_SNDBUF, o.send_buffer)?;
    // PROBE sets don't-fragment and heeds no ICMP: only the device's own MTU refuses a datagram, and nobody can forge that.
    if v6 {
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
    } else {
        set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
    }
    if o.host.is_unspecified() {
        wildcard_options(fd, v6)?;
    }
    // Linux 5.0; without it every datagram is a message.
    let _ = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
    Ok(())
}

/// Packet info; and no datagrams to groups that others on this machine have joined: no answer can leave from such an address.
fn wildcard_options(fd: &OwnedFd, v6: bool) -> io::Result<()> {
    if v6 {
        let _ = set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL, 0);
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        let _ = set_option(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0);
        set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

/// The kernel grants less than was asked when `net.core.*mem_max` says so; what it granted is read back.
fn buffer(fd: &OwnedFd, name: c_int, bytes: usize) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    set_option(fd, libc::SOL_SOCKET, name, c_int::try_from(bytes).unwrap_or(c_int::MAX))
}

/// For a socket of another kind: as much as the system allows.
pub fn send_buffer(fd: &impl AsRawFd, bytes: usize) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, c_int::try_from(bytes).unwrap_or(c_int::MAX))
}

/// The longest UDP payload that the way there begins with, by the kernel's routes: what is behind the first hop may take less.
pub fn first_hop(to: SocketAddr) -> Option<usize> {
    let (any, level, name, headers) = match to {
        SocketAddr::V4(_) => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), libc::IPPROTO_IP, libc::IP_MTU, 20 + 8),
        SocketAddr::V6(_) => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), libc::IPPROTO_IPV6, libc::IPV6_MTU, 40 + 8),
    };
    // The kernel says so of connected sockets alone.
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(to).ok()?;
    let [mtu] = option::<1>(&socket, level, name).ok()?;
    (mtu as usize).checked_sub(headers)
}

fn open(host: IpAddr) -> io::Result<OwnedFd> {
    let family = if host.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) };
    check(fd)?;
    // SAFETY: the kernel has just made this descriptor, nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bind(fd: &OwnedFd, address: &SocketAddr) -> io::Result<()> {
    let mut name = Name::EMPTY;
    let length = name.write(address);
    // SAFETY: `name` outlives the call, has the alignment of every sockaddr, and at least `length` bytes.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const name).cast(), length) })
}

fn set_option(fd: &impl AsRawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: `value` outlives the call, and its size is given with it.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size_of::<c_int>() as libc::socklen_t) })
}

/// An option that is one int or an array of them. What the kernel does not fill is 0.
fn option<const N: usize>(fd: &impl AsRawFd, level: c_int, name: c_int) -> io::Result<[u32; N]> {
    let mut value = [0u32; N];
    let mut length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` and `length` outlive the call; the kernel writes at most `length` bytes, and any bytes are valid u32s.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length) })?;
    Ok(value)
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many messages recvmmsg or sendmmsg says it has done, or its error.
fn count(result: c_int) -> Result<usize, i32> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// Zeroed bytes that take no memory before they are written, page by page. An allocator may clear what it gives, and so touch it all.
struct Pages {
    start: NonNull<u8>,
    length: usize,
}

impl Pages {
    /// Of more than 0 bytes.
    fn new(length: usize) -> Self {
        let (kind, access) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping, wherever the kernel likes, touches no memory that is somebody's.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0) };
        assert!(start != libc::MAP_FAILED, "mmap of {length} bytes: {}", io::Error::last_os_error());
        // Otherwise the first byte may cost 2 MiB. Kernels without huge pages refuse, and need not be told.
        // SAFETY: the mapping of the line above, whose contents this does not change.
        unsafe { libc::madvise(start, length, libc::MADV_NOHUGEPAGE) };
        Pages { start: NonNull::new(start.cast()).expect("mmap without an address never gives 0"), length }
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is the first of `length` bytes that are mapped until `drop`, ours alone, and were zeroed by the kernel; `self`
        // is borrowed for as long as they are.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` has mapped; nobody can hold a part of it any more, since borrows of it are borrows of `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// The arrays that recvmmsg and sendmmsg want, made once. The pointers in `headers` are written before each call and mean nothing after it.
struct Messages<const N: usize> {
    headers: Box<[libc::mmsghdr; N]>,
    slots: Box<[Slot; N]>,
}

/// What one header points at, beside the bytes.
#[derive(Clone, Copy)]
struct Slot {
    name: Name,
    control: Control,
    span: libc::iovec,
}

/// What the kernel said of one received message.
struct Received {
    length: usize,
    flags: c_int,
    from: Option<SocketAddr>,
    to: Option<SocketAddr>,
    segment: usize,
}

impl<const N: usize> Messages<N> {
    fn new() -> Self {
        // SAFETY: mmsghdr is integers and raw pointers, for which all zeros are a value.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let span = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let slot = Slot { name: Name::EMPTY, control: Control::EMPTY, span };
        Messages { headers: Box::new([header; N]), slots: Box::new([slot; N]) }
    }

    /// One recvmmsg into `memory`, which is cut into pieces of `size` bytes, one for each message.
    fn receive(&mut self, fd: RawFd, memory: &mut [u8], size: usize) -> Result<usize, i32> {
        let mut ready: c_uint = 0;
        for ((header, slot), bytes) in self.headers.iter_mut().zip(self.slots.iter_mut()).zip(memory.chunks_exact_mut(size)) {
            slot.span = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            point(header, slot, Name::LENGTH, Control::LENGTH);
            ready += 1;
        }
        // SAFETY: the first `ready` headers are initialised, and point at names, control buffers, iovecs and bytes that are borrowed
        // mutably for all of this function, with their true lengths. Any bytes are valid in them.
        count(unsafe { libc::recvmmsg(fd, self.headers.as_mut_ptr(), ready, libc::MSG_DONTWAIT as _, std::ptr::null_mut()) })
    }

    /// Message `i` of the last `receive`; `port` completes its local address.
    fn received(&self, i: usize, port: u16) -> Received {
        let (header, slot) = (&self.headers[i], &self.slots[i]);
        let (to, segment) = slot.control.read(header.msg_hdr.msg_controllen as _, port);
        let from = slot.name.read(header.msg_hdr.msg_namelen as usize);
        Received { length: header.msg_len as usize, flags: header.msg_hdr.msg_flags, from, to, segment }
    }

    /// One sendmmsg of `parts`: how many have left.
    fn send(&mut self, fd: RawFd, outbox: &Outbox, parts: &[Part], choose_source: bool) -> Result<usize, i32> {
        let mut ready: c_uint = 0;
        for ((header, slot), part) in self.headers.iter_mut().zip(self.slots.iter_mut()).zip(parts) {
            let (bytes, from, to) = outbox.part(part);
            slot.span = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            let name = slot.name.write(to);
            let control = slot.control.write(choose_source.then_some(from), part.segment);
            point(header, slot, name as usize, control);
            ready += 1;
        }
        // SAFETY: the first `ready` headers are initialised, and point at names, control buffers, iovecs (borrowed mutably) and bytes
        // (borrowed from `outbox`) that live and stay put for all of this function, with their true lengths. The kernel reads the bytes
        // and writes only the headers' `msg_len`.
        count(unsafe { libc::sendmmsg(fd, self.headers.as_mut_ptr(), ready, (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _) })
    }
}

/// Makes `header` point at `slot`. Nothing is dereferenced before the call that follows.
fn point(header: &mut libc::mmsghdr, slot: &mut Slot, name: usize, control: usize) {
    header.msg_len = 0;
    let h = &mut header.msg_hdr;
    h.msg_name = (&raw mut slot.name).cast();
    h.msg_namelen = name as libc::socklen_t;
    h.msg_iov = &raw mut slot.span;
    h.msg_iovlen = 1;
    h.msg_control = if control == 0 { std::ptr::null_mut() } else { (&raw mut slot.control).cast() };
    h.msg_controllen = control as _;
    h.msg_flags = 0;
}

#[cfg(test)]
mod tests;
