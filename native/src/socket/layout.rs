//! Socket addresses and control messages as Linux lays them out (ip(7), ipv6(7), udp(7), cmsg(3)), written and read as bytes, every
//! length checked.

use libc::{c_int, cmsghdr, in_pktinfo, in6_pktinfo, sockaddr_in, sockaddr_in6, socklen_t};
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A sockaddr_in or sockaddr_in6.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Name([u8; Name::LENGTH]);

const _: () = {
    assert!(align_of::<Name>() >= align_of::<sockaddr_in6>() && align_of::<Name>() >= align_of::<sockaddr_in>());
    assert!(offset_of!(sockaddr_in, sin_port) == 2 && offset_of!(sockaddr_in, sin_addr) == 4 && size_of::<sockaddr_in>() == 16);
    assert!(offset_of!(sockaddr_in6, sin6_port) == 2 && offset_of!(sockaddr_in6, sin6_addr) == 8);
    assert!(offset_of!(sockaddr_in6, sin6_scope_id) == 24 && size_of::<sockaddr_in6>() == 28);
};

impl Name {
    pub const LENGTH: usize = size_of::<sockaddr_in6>();
    pub const EMPTY: Name = Name([0; Name::LENGTH]);

    /// How many bytes it is.
    pub fn write(&mut self, a: &SocketAddr) -> socklen_t {
        self.0 = [0; Name::LENGTH];
        let family = if a.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
        self.0[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        self.0[2..4].copy_from_slice(&a.port().to_be_bytes());
        match a {
            SocketAddr::V4(a) => {
                self.0[4..8].copy_from_slice(&a.ip().octets());
                size_of::<sockaddr_in>() as socklen_t
            }
            SocketAddr::V6(a) => {
                self.0[8..24].copy_from_slice(&a.ip().octets());
                self.0[24..28].copy_from_slice(&a.scope_id().to_ne_bytes());
                size_of::<sockaddr_in6>() as socklen_t
            }
        }
    }

    pub fn read(&self, length: usize) -> Option<SocketAddr> {
        let bytes = self.0.get(..length)?;
        let port = u16::from_be_bytes(array(bytes, 2)?);
        match c_int::from(u16::from_ne_bytes(array(bytes, 0)?)) {
            libc::AF_INET => Some(SocketAddrV4::new(Ipv4Addr::from(array::<4>(bytes, 4)?), port).into()),
            libc::AF_INET6 => {
                let scope = u32::from_ne_bytes(array(bytes, 24)?);
                Some(SocketAddrV6::new(Ipv6Addr::from(array::<16>(bytes, 8)?), port, 0, scope).into())
            }
            _ => None,
        }
    }
}

/// Control messages of one datagram or batch: packet info and the size of segments need half of it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Control([u8; Control::LENGTH]);

const HEADER: usize = size_of::<cmsghdr>();

const _: () = {
    assert!(align_of::<Control>() >= align_of::<cmsghdr>());
    assert!(aligned(HEADER) == HEADER && HEADER == size_of::<usize>() + 8);
    assert!(aligned(HEADER + size_of::<in6_pktinfo>()) + aligned(HEADER + size_of::<c_int>()) <= Control::LENGTH);
    assert!(offset_of!(in_pktinfo, ipi_spec_dst) == 4 && size_of::<in_pktinfo>() == 12);
    assert!(offset_of!(in6_pktinfo, ipi6_addr) == 0 && offset_of!(in6_pktinfo, ipi6_ifindex) == 16 && size_of::<in6_pktinfo>() == 20);
};

/// CMSG_ALIGN.
const fn aligned(length: usize) -> usize {
    length.next_multiple_of(size_of::<usize>())
}

impl Control {
    pub const LENGTH: usize = 128;
    pub const EMPTY: Control = Control([0; Control::LENGTH]);

    /// For sending: the address to leave from, the size into which the bytes are cut (0: they are one datagram). How many bytes it is.
    pub fn write(&mut self, source: Option<&SocketAddr>, segment: u16) -> usize {
        let mut at = 0;
        match source {
            Some(SocketAddr::V4(a)) if !a.ip().is_unspecified() => {
                let mut info = [0; size_of::<in_pktinfo>()];
                info[4..8].copy_from_slice(&a.ip().octets());
                at = self.put(at, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            Some(SocketAddr::V6(a)) if !a.ip().is_unspecified() => {
                let mut info = [0; size_of::<in6_pktinfo>()];
                info[..16].copy_from_slice(&a.ip().octets());
                info[16..].copy_from_slice(&a.scope_id().to_ne_bytes());
                at = self.put(at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            _ => {}
        }
        if segment == 0 { at } else { self.put(at, libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes()) }
    }

    fn put(&mut self, at: usize, level: c_int, kind: c_int, data: &[u8]) -> usize {
        let length = HEADER + data.len();
        let place = &mut self.0[at..at + length];
        place[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
        place[HEADER - 8..HEADER - 4].copy_from_slice(&level.to_ne_bytes());
        place[HEADER - 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        place[HEADER..].copy_from_slice(data);
        at + aligned(length)
    }

    /// Of what was received: the local address (with `port`), the size of the datagrams that were joined (0: it is one).
    pub fn read(&self, length: usize, port: u16) -> (Option<SocketAddr>, usize) {
        let (mut local, mut segment) = (None, 0);
        let mut rest = self.0.get(..length).unwrap_or_default();
        while let Some((level, kind, data, next)) = entry(rest) {
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => local = packet_info(data, port),
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => local = packet_info6(data, port),
                (libc::SOL_UDP, libc::UDP_GRO) => segment = array(data, 0).map_or(0, |b| c_int::from_ne_bytes(b).max(0) as usize),
                _ => {}
            }
            rest = next;
        }
        (local, segment)
    }
}

type Entry<'a> = (c_int, c_int, &'a [u8], &'a [u8]);

/// Level, type and data of the first control message, and what follows it.
fn entry(bytes: &[u8]) -> Option<Entry<'_>> {
    let length = usize::from_ne_bytes(array(bytes, 0)?);
    let level = c_int::from_ne_bytes(array(bytes, HEADER - 8)?);
    let kind = c_int::from_ne_bytes(array(bytes, HEADER - 4)?);
    let data = bytes.get(HEADER..length)?;
    Some((level, kind, data, bytes.get(aligned(length)..).unwrap_or_default()))
}

/// `ipi_spec_dst` is the address that was asked; after a broadcast it is the interface's own, from which one can answer.
fn packet_info(data: &[u8], port: u16) -> Option<SocketAddr> {
    let ip = Ipv4Addr::from(array::<4>(data, 4)?);
    (!ip.is_unspecified()).then(|| SocketAddr::new(IpAddr::V4(ip), port))
}

/// A link-local address means something together with its link alone.
fn packet_info6(data: &[u8], port: u16) -> Option<SocketAddr> {
    let ip = Ipv6Addr::from(array::<16>(data, 0)?);
    let scope = if ip.is_unicast_link_local() { u32::from_ne_bytes(array(data, 16)?) } else { 0 };
    Some(SocketAddrV6::new(ip, port, 0, scope).into())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        let scoped = SocketAddr::from(SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0, 3));
        for (a, length) in [("192.0.2.1:443".parse().unwrap(), 16), ("[2001:db8::1]:65535".parse().unwrap(), 28), (scoped, 28)] {
            let mut name = Name([0xff; Name::LENGTH]);
            assert_eq!(name.write(&a), length);
            assert_eq!(name.read(length as usize), Some(a));
            let least = if a.is_ipv4() { 8 } else { 28 };
            for short in 0..least {
                assert_eq!(name.read(short), None);
            }
            assert_eq!(name.read(Name::LENGTH + 1), None);
        }
        assert_eq!(Name::EMPTY.read(Name::LENGTH), None);
    }

    #[test]
    fn packet_info_and_segments_go_there_and_back() {
        let scoped = SocketAddr::from(SocketAddrV6::new("fe80::1".parse().unwrap(), 9, 0, 3));
        for a in ["127.0.0.2:9".parse().unwrap(), "[::1]:9".parse().unwrap(), scoped] {
            let mut c = Control([0xff; Control::LENGTH]);
            let length = c.write(Some(&a), 0);
            let info = if a.is_ipv4() { 12 } else { 20 };
            assert_eq!(length, aligned(HEADER + info));
            assert_eq!(c.read(length, 9), (Some(a), 0));
            assert_eq!(c.write(Some(&a), 1200), length + aligned(HEADER + 2));
        }
    }

    #[test]
    fn an_unknown_source_is_left_to_the_kernel() {
        let mut c = Control::EMPTY;
        assert_eq!(c.write(Some(&"0.0.0.0:1".parse().unwrap()), 0), 0);
        assert_eq!(c.write(Some(&"[::]:1".parse().unwrap()), 0), 0);
        assert_eq!(c.write(None, 0), 0);
    }

    #[test]
    fn segments_are_read_behind_what_is_unknown() {
        let mut c = Control::EMPTY;
        let at = c.put(0, libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[7; 16]);
        let end = c.put(at, libc::SOL_UDP, libc::UDP_GRO, &1200i32.to_ne_bytes());
        assert_eq!(c.read(end, 1), (None, 1200));
        c.put(at, libc::SOL_UDP, libc::UDP_GRO, &(-1i32).to_ne_bytes());
        assert_eq!(c.read(end, 1), (None, 0));
    }

    #[test]
    fn no_length_leads_astray() {
        let mut c = Control::EMPTY;
        let end = c.write(Some(&"[::1]:1".parse().unwrap()), 0);
        for cut in 0..HEADER + size_of::<in6_pktinfo>() {
            assert_eq!(c.read(cut, 1), (None, 0));
        }
        assert_eq!(c.read(Control::LENGTH + 1, 1), (None, 0));
        for length in [0, 1, HEADER - 1, end + 1, usize::MAX, usize::MAX - 7] {
            c.0[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(c.read(end, 1), (None, 0));
        }
    }
}
