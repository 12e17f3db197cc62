//! Addresses that come and go while the endpoint serves.

use crate::kit::*;
use crate::raw::Raw;
use spooky_quic::options::Whereabouts;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

fn at(hosts: &[&str]) -> Whereabouts {
    Whereabouts { hosts: hosts.iter().map(|h| h.parse().unwrap()).collect(), name: None }
}

fn moved(s: &mut Side, hosts: &[&str]) {
    let whereabouts = at(hosts);
    let told = s.ep.widen(&whereabouts).unwrap();
    assert_eq!(told.iter().map(SocketAddr::ip).collect::<Vec<_>>(), whereabouts.hosts);
    s.ep.narrow(&whereabouts, Instant::now());
}

/// Where the endpoint has sockets.
fn places(s: &Side) -> Vec<IpAddr> {
    let mut list: Vec<_> = s.ep.addresses().iter().map(SocketAddr::ip).collect();
    list.sort();
    list
}

fn generous(e: &Event, out: &mut Commands) {
    if let Event::Data { who, id, fin: true, .. } = e {
        out.send(*who, *id, &pattern(MIB, 5), true);
    }
}

fn client_at(s: &mut Side, host: &str) -> Raw {
    let mut raw = Raw::new(SocketAddr::new(host.parse().unwrap(), s.address().port()), 4);
    let before = s.conns.len();
    raw.drive(s, "a handshake", |s, r| r.q.is_established() && s.conns.len() > before);
    raw
}

fn get(s: &mut Side, raw: &mut Raw, id: u64) {
    let whole = raw.body().len() + MIB;
    raw.q.stream_send(id, b"get", true).unwrap();
    raw.drive(s, "an answer", |_, r| r.body().len() == whole);
}

fn refused_at(s: &mut Side, host: &str) {
    let before = s.stats()["dropped"]["draining"].as_u64().unwrap();
    let mut raw = Raw::new(SocketAddr::new(host.parse().unwrap(), s.address().port()), 4);
    raw.drive(s, "a refusal", |_, r| r.q.peer_error().is_some_and(|e| !e.is_app && e.error_code == 2));
    assert!(s.stats()["dropped"]["draining"].as_u64().unwrap() > before);
}

#[test]
fn an_address_comes_and_another_one_goes_with_its_last_connection() {
    let mut s = server(|_| {}).reacting(generous);
    let mut first = client_at(&mut s, "127.0.0.1");
    moved(&mut s, &["127.0.0.1", "127.0.0.2"]);
    get(&mut s, &mut first, 0);
    let mut second = client_at(&mut s, "127.0.0.2");
    moved(&mut s, &["127.0.0.2"]);
    for id in [4, 8] {
        get(&mut s, &mut first, id);
        get(&mut s, &mut second, id);
    }
    refused_at(&mut s, "127.0.0.1");
    client_at(&mut s, "127.0.0.2");
    assert_eq!((places(&s).len(), &s.closes[..]), (2, &[][..]));
    let before = s.stats()["datagrams"][1].as_u64().unwrap();
    first.q.close(true, 0x100, b"").unwrap();
    first.drive(&mut s, "the end of the socket", |s, _| places(s).len() == 1);
    assert_eq!(places(&s), at(&["127.0.0.2"]).hosts);
    // What has left through it still counts.
    assert!(s.stats()["datagrams"][1].as_u64().unwrap() >= before);
    get(&mut s, &mut second, 12);
    assert_eq!(s.closes.len(), 1);
}

#[test]
fn from_all_addresses_to_some_and_back_nothing_is_lost() {
    // Sockets of one process, and those that share their port with others.
    for shared in [false, true] {
        let mut s = server(|o| (o["hosts"], o["reusePort"]) = (serde_json::json!(["0.0.0.0"]), shared.into())).reacting(generous);
        let mut stays = client_at(&mut s, "127.0.0.1");
        let mut other = client_at(&mut s, "127.0.0.2");
        moved(&mut s, &["127.0.0.1"]);
        get(&mut s, &mut stays, 0);
        get(&mut s, &mut other, 0);
        client_at(&mut s, "127.0.0.1");
        refused_at(&mut s, "127.0.0.2");
        assert_eq!(places(&s), at(&["0.0.0.0", "127.0.0.1"]).hosts);
        moved(&mut s, &["0.0.0.0"]);
        get(&mut s, &mut stays, 4);
        client_at(&mut s, "127.0.0.1");
        client_at(&mut s, "127.0.0.2");
        // Nobody needs the socket of the one address any more.
        stays.drive(&mut s, "the end of the socket", |s, _| places(s).len() == 1);
        assert_eq!(places(&s), at(&["0.0.0.0"]).hosts);
        get(&mut s, &mut stays, 8);
        get(&mut s, &mut other, 4);
        assert_eq!(s.closes, []);
    }
}

#[test]
fn an_address_that_is_wanted_again_before_its_last_connection_is_gone_stays() {
    let mut s = server(|_| {}).reacting(generous);
    moved(&mut s, &["127.0.0.2"]);
    s.ep.widen(&at(&["127.0.0.1"])).unwrap();
    // Between the two, it is looked whether a socket has had its last connection.
    s.ep.flush(Instant::now() + Duration::from_secs(1)).unwrap();
    assert_eq!(places(&s), at(&["127.0.0.1", "127.0.0.2"]).hosts);
    let mut raw = client_at(&mut s, "127.0.0.1");
    s.ep.narrow(&at(&["127.0.0.1"]), Instant::now());
    get(&mut s, &mut raw, 0);
    raw.drive(&mut s, "the end of the other socket", |s, _| places(s).len() == 1);
    assert_eq!(places(&s), at(&["127.0.0.1"]).hosts);
    client_at(&mut s, "127.0.0.1");
}

#[test]
fn an_address_that_cannot_be_had_changes_nothing() {
    let mut s = server(|_| {}).reacting(generous);
    let mut raw = client_at(&mut s, "127.0.0.1");
    let port = s.address().port();
    let _other = std::net::UdpSocket::bind(("127.0.0.3", port)).unwrap();
    let e = s.ep.widen(&at(&["127.0.0.1", "127.0.0.2", "127.0.0.3"])).unwrap_err();
    assert_eq!(e.code.as_deref(), Some("EADDRINUSE"));
    assert_eq!(places(&s), at(&["127.0.0.1"]).hosts);
    // Nor is the port shared with anybody who wants it.
    assert!(std::net::UdpSocket::bind(("127.0.0.1", port)).is_err());
    // Nowhere at all is no place.
    s.ep.narrow(&at(&["127.0.0.9"]), Instant::now());
    get(&mut s, &mut raw, 0);
    client_at(&mut s, "127.0.0.1");
}
