//! Addresses as they cross the seam: 18 bytes, IPv6 or ::ffff:v4, then the port, big endian.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub const ADDRESS_LENGTH: usize = 18;

pub fn encode(a: &SocketAddr) -> [u8; ADDRESS_LENGTH] {
    let ip = match a.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut out = [0; ADDRESS_LENGTH];
    out[..16].copy_from_slice(&ip.octets());
    out[16..].copy_from_slice(&a.port().to_be_bytes());
    out
}

/// None unless there are exactly 18 bytes.
pub fn decode(bytes: &[u8]) -> Option<SocketAddr> {
    let bytes: &[u8; ADDRESS_LENGTH] = bytes.try_into().ok()?;
    let (ip, port) = bytes.split_at(16);
    let ip = Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?);
    let port = u16::from_be_bytes([port[0], port[1]]);
    let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
    Some(SocketAddr::new(ip, port))
}

/// What counts as one client: an IPv4 address or an IPv6 /64.
pub fn limit_key(a: &SocketAddr) -> [u8; 8] {
    match a.ip() {
        // fe80::/10 and the like never begin with 0xff 0xff 0xff 0xff, so that the families cannot meet.
        IpAddr::V4(v4) => {
            let o = v4.octets();
            [0xff, 0xff, 0xff, 0xff, o[0], o[1], o[2], o[3]]
        }
        IpAddr::V6(v6) => {
            let o = v6.octets();
            [o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7]]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_go_there_and_back() {
        for text in ["192.0.2.1:443", "[2001:db8::1]:65535", "127.0.0.1:0"] {
            let a: SocketAddr = text.parse().unwrap();
            assert_eq!(decode(&encode(&a)), Some(a));
        }
        for n in 0..ADDRESS_LENGTH {
            assert_eq!(decode(&vec![0; n]), None);
        }
        assert_eq!(decode(&[0; 19]), None);
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_a_v6_prefix() {
        let key = |s: &str| limit_key(&s.parse().unwrap());
        assert_eq!(key("[2001:db8::1]:1"), key("[2001:db8::2]:2"));
        assert_ne!(key("[2001:db8::1]:1"), key("[2001:db8:0:1::1]:1"));
        assert_eq!(key("192.0.2.1:1"), key("192.0.2.1:2"));
        assert_ne!(key("192.0.2.1:1"), key("192.0.2.2:1"));
    }
}
