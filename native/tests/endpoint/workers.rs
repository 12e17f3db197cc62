//! Datagrams of other workers' connections.

use crate::kit::*;
use crate::raw::Raw;

#[test]
fn a_datagram_of_another_workers_connection_is_handed_over_and_taken_in() {
    let mut owner = server(|_| {}).reacting(polite);
    let mut other = server(|o| o["cid"]["workerId"] = 4.into());
    let (mut raw, _) = Raw::handshake(&mut owner, 4);
    let (client, there, here) = (raw.address(0), other.address(), owner.address());
    raw.q.stream_send(0, b"by hand", true).unwrap();
    let packets: Vec<Vec<u8>> = raw.packets().into_iter().map(|(p, _)| p).collect();
    for p in &packets {
        raw.sockets[0].send_to(p, there).unwrap();
    }
    drive(&mut [&mut other], "FOREIGN", |x| x[0].events.len() == packets.len());
    for (e, p) in other.events.iter().zip(&packets) {
        assert_eq!(*e, Event::Foreign { worker: 3, from: client, to: there, bytes: p.clone() });
    }
    for p in &packets {
        owner.ep.forward(&mut p.clone(), client, here, std::time::Instant::now());
    }
    raw.drive(&mut owner, "the answer", |_, r| r.body() == b"ok");
    // What is handed over to the wrong one does not go round; nor does what came to an address that is nobody's any more.
    let gone = std::net::SocketAddr::new("192.0.2.1".parse().unwrap(), here.port());
    other.ep.forward(&mut packets[0].clone(), client, there, std::time::Instant::now());
    owner.ep.forward(&mut packets[0].clone(), client, gone, std::time::Instant::now());
    other.turn(false);
    owner.turn(false);
    assert_eq!((&other.stats()["dropped"]["foreign"], &owner.stats()["dropped"]["foreign"]), (&1.into(), &1.into()));
    assert_eq!(other.events.len(), packets.len());
}

#[test]
fn a_wildcard_answers_from_the_address_that_was_asked() {
    let mut s = server(|o| o["hosts"] = serde_json::json!(["0.0.0.0", "::"])).reacting(echo);
    let port = s.address().port();
    for host in ["127.0.0.1", "127.0.0.9", "::1"] {
        let to = std::net::SocketAddr::new(host.parse().unwrap(), port);
        let mut c = client(to);
        let before = s.conns.len();
        drive(&mut [&mut s, &mut c], host, |x| x[0].conns.len() > before && x[1].conns.len() == 1);
        let cw = c.conns[0];
        barrier(&mut s, &mut c, cw, 0);
        assert!(matches!(s.events.iter().rev().find(|e| matches!(e, Event::Conn { .. })), Some(Event::Conn { local, .. }) if *local == to));
        c.out.close(cw, true, 0, "");
        c.turn(false);
    }
}
