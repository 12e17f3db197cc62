//! How connections begin and end, and what an endpoint counts.

use crate::kit::*;
use crate::raw::Raw;
use spooky_quic::ids::{CidCodec, NO_SLOT, Random};
use spooky_quic::options::Key;
use spooky_quic::records::{RECORD_BYTES, Record, command};
use spooky_quic::tokens::TokenKeys;
use spooky_quic::turn::Endpoint;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

fn bye(who: Who, side: u32, app: bool, code: u64, reason: &str) -> Goodbye {
    Goodbye { who, side, app, code, reason: reason.into() }
}

/// Dials and fails: why.
fn refused(s: &mut Side, change: impl FnOnce(&mut serde_json::Value)) -> (u32, bool, u64) {
    let mut c = client_with(s.address(), change);
    drive(&mut [s, &mut c], "FAILED", |x| !x[1].failed.is_empty());
    assert_eq!((c.conns.len(), c.failed.len(), c.closes.len()), (0, 1, 0));
    (c.failed[0].side, c.failed[0].app, c.failed[0].code)
}

#[test]
fn both_sides_hear_once_who_closed_and_why() {
    let mut s = server(|_| {});
    let mut a = client(s.address());
    drive(&mut [&mut s, &mut a], "a handshake", |x| x.iter().all(|s| s.conns.len() == 1));
    let (sa, aw) = (s.conns[0], a.conns[0]);
    a.out.close(aw, true, 0x101, "enough");
    a.out.close(aw, true, 0x102, "again");
    drive(&mut [&mut s, &mut a], "goodbyes", |x| x.iter().all(|s| s.closes.len() == 1));
    assert_eq!((&s.closes[0], &a.closes[0]), (&bye(sa, 1, true, 0x101, "enough"), &bye(aw, 0, true, 0x101, "enough")));
    let mut b = client(s.address());
    drive(&mut [&mut s, &mut b], "a handshake", |x| x[0].conns.len() == 2 && x[1].conns.len() == 1);
    let (sb, bw) = (s.conns[1], b.conns[0]);
    s.out.send(sb, 3, b"last words", false);
    s.out.close(sb, true, 0x107, "load");
    drive(&mut [&mut s, &mut b], "goodbyes", |x| x[0].closes.len() == 2 && x[1].closes.len() == 1);
    assert_eq!((&s.closes[1], &b.closes[0]), (&bye(sb, 0, true, 0x107, "load"), &bye(bw, 1, true, 0x107, "load")));
    b.out.send(bw, 0, b"x", true);
    b.turn(false);
    assert_eq!(b.stats()["commandsStale"], 1);
    let st = s.stats();
    assert_eq!((&st["connections"], &st["handshakes"]["accepted"]), (&0.into(), &2.into()));
}

#[test]
fn what_came_before_a_goodbye_is_told_before_it() {
    let (mut s, mut c, sw, cw) = pair(server(|_| {}));
    c.out.send(cw, 0, b"x", false);
    drive(&mut [&mut s, &mut c], "a stream", |x| !x[0].seen(sw, 0).bytes.is_empty());
    c.out.send(cw, 0, &[b'y'; 5000], true);
    c.turn(false);
    c.out.close(cw, true, 0, "");
    c.turn(false);
    drive(&mut [&mut s, &mut c], "the goodbye", |x| x[0].closes.len() == 1);
    assert_eq!((s.seen(sw, 0).bytes.len(), s.seen(sw, 0).fin), (5001, true));
    assert!(matches!(s.events.last(), Some(Event::Close(_))));
}

#[test]
fn an_idle_connection_ends_on_both_sides() {
    let (mut s, mut c, sw, cw) = pair(server(|o| o["limits"]["idleMs"] = 150.into()));
    drive(&mut [&mut s, &mut c], "time-outs", |x| x.iter().all(|s| s.closes.len() == 1));
    assert_eq!((&s.closes[0], &c.closes[0]), (&bye(sw, 2, false, 0, "idle"), &bye(cw, 2, false, 0, "idle")));
    assert_eq!((s.ep.external_bytes(), s.ep.deadline()), (0, None));
    assert_eq!((s.ep.info(sw.0, sw.1), s.ep.conn_stats(sw.0, sw.1)), ("null".to_string(), None));
}

#[test]
fn drain_refuses_newcomers_and_waits_for_the_last_connection() {
    let (mut s, mut c, _, cw) = pair(server(|_| {}).reacting(echo));
    s.ep.drain();
    assert_eq!(refused(&mut s, |_| {}), (1, false, 0x02));
    barrier(&mut s, &mut c, cw, 0);
    assert!(!s.events.contains(&Event::Drained));
    let st = s.stats();
    assert_eq!((&st["connections"], &st["dropped"]["draining"], &st["handshakes"]["refused_draining"]), (&1.into(), &1.into(), &1.into()));
    c.out.close(cw, true, 0x100, "");
    drive(&mut [&mut s, &mut c], "DRAINED", |x| x[0].events.contains(&Event::Drained));
    s.ep.drain();
    s.turn(true);
    assert_eq!(s.events.iter().filter(|e| **e == Event::Drained).count(), 1);
}

#[test]
fn a_handshake_that_nobody_finishes_does_not_hold_a_drain() {
    let mut s = server(|o| o["limits"]["handshakeMs"] = 3_600_000.into());
    let mut c = client(s.address());
    c.turn(false);
    drive(&mut [&mut s], "half a handshake", |x| x[0].stats()["halfOpen"] == 1);
    let start = Instant::now();
    s.ep.drain();
    drive(&mut [&mut s], "DRAINED", |x| x[0].events.contains(&Event::Drained));
    assert!(start.elapsed() > Duration::from_millis(900));
    let st = s.stats();
    assert_eq!((&st["halfOpen"], &st["handshakes"]["refused_draining"]), (&0.into(), &1.into()));
    assert_eq!(s.events, [Event::Drained]);
}

#[test]
fn an_endpoint_that_drains_without_connections_is_drained_at_once() {
    let mut s = server(|_| {});
    s.ep.drain();
    s.turn(false);
    assert_eq!(s.events, [Event::Drained]);
}

#[test]
fn closing_tells_every_connection() {
    let mut s = server(|_| {});
    let mut clients: Vec<Side> = (0..3).map(|_| client(s.address())).collect();
    for c in &mut clients {
        drive(&mut [&mut s, c], "a handshake", |x| x[1].conns.len() == 1);
    }
    drive(&mut [&mut s], "all of them", |x| x[0].conns.len() == 3);
    s.ep.close_all();
    s.turn(false);
    assert_eq!(s.closes.len(), 3);
    assert!(s.closes.iter().all(|g| (g.side, g.app, g.code) == (0, false, 0)));
    for c in &mut clients {
        drive(&mut [c], "a goodbye", |x| x[0].closes.len() == 1);
        assert_eq!((c.closes[0].side, c.closes[0].app, c.closes[0].code), (1, false, 0));
    }
    assert_eq!(refused(&mut s, |_| {}), (1, false, 0x02));
}

#[test]
fn a_handshake_that_is_never_finished_ends_in_time() {
    let mut s = server(|o| o["limits"]["handshakeMs"] = 100.into());
    let mut c = client_with(s.address(), |o| o["handshakeMs"] = 100.into());
    c.turn(false);
    drive(&mut [&mut s], "half a handshake", |x| x[0].stats()["halfOpen"] == 1);
    drive(&mut [&mut s], "its end", |x| x[0].stats()["halfOpen"] == 0);
    assert_eq!(s.stats()["handshakes"]["handshake_timeout"], 1);
    assert_eq!((s.events.len(), s.ep.external_bytes()), (0, 0));
    // The client did not look in the meantime: its time is over, too.
    c.turn(false);
    assert_eq!(c.failed, [bye(c.failed[0].who, 2, false, 0, "handshake")]);
}

#[test]
fn nobody_there_is_a_time_out() {
    let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut c = client_with(gone, |o| o["handshakeMs"] = 100.into());
    drive(&mut [&mut c], "FAILED", |x| x[0].failed.len() == 1);
    assert_eq!((c.failed[0].side, c.failed[0].reason.as_str()), (2, "handshake"));
}

#[test]
fn failures_of_the_handshake_are_told_and_counted_by_kind() {
    let mut s = server(|o| {
        o["tls"]["names"] = serde_json::json!({ "localhost": 1 });
        o["tls"]["fallback"] = serde_json::Value::Null;
    });
    assert_eq!(refused(&mut s, |o| o["alpn"] = serde_json::json!(["hq-interop"])), (1, false, 0x178));
    assert_eq!(refused(&mut s, |o| o["sni"] = "elsewhere.example".into()), (1, false, 0x170));
    assert_eq!(refused(&mut s, |o| o["sni"] = serde_json::Value::Null), (1, false, 0x170));
    let h = s.stats()["handshakes"].clone();
    assert_eq!((&h["alpn_failed"], &h["sni_rejected"], &h["accepted"]), (&1.into(), &2.into(), &0.into()));
    assert_eq!((s.events.len(), s.ep.external_bytes()), (0, 0));
    let mut s = server(|_| {});
    assert_eq!(refused(&mut s, |o| o["sni"] = "elsewhere.example".into()), (0, false, 0x12a));
    assert_eq!(refused(&mut s, |o| o["sni"] = "192.0.2.1".into()).0, 0);
    drive(&mut [&mut s], "alerts of clients", |x| x[0].stats()["handshakes"]["tls_failed"] == 2);
    assert_eq!(s.conns.len(), 0);
}

#[test]
fn the_limits_of_connections_and_addresses_hold() {
    let mut s = server(|o| o["limits"]["connections"] = 1.into());
    let mut c = client(s.address());
    drive(&mut [&mut s, &mut c], "a handshake", |x| x.iter().all(|s| !s.conns.is_empty()));
    assert_eq!(refused(&mut s, |_| {}), (1, false, 0x02));
    let st = s.stats();
    assert_eq!(
        (&st["connections"], &st["dropped"]["connections"], &st["handshakes"]["refused_limit"], &st["answered"]["refused"]),
        (&1.into(), &1.into(), &1.into(), &1.into())
    );
    let mut more = listen_options(|_| {}).limits;
    more.per_address = 2;
    s.ep.set_limits(more.clone()).unwrap();
    let mut d = client(s.address());
    drive(&mut [&mut s, &mut d], "a handshake", |x| x[1].conns.len() == 1);
    assert_eq!(refused(&mut s, |_| {}), (1, false, 0x02));
    assert_eq!(s.stats()["dropped"]["address_limit"], 1);
    let mut e = client_with(s.address(), |o| o["local"] = "127.0.0.2".into());
    drive(&mut [&mut s, &mut e], "another address", |x| x[1].conns.len() == 1);
    // Its place is free again once it is gone.
    let cw = c.conns[0];
    c.out.close(cw, true, 0, "");
    drive(&mut [&mut s, &mut c], "a goodbye", |x| x[0].closes.len() == 1 && x[0].ep.external_bytes() < 3 * 40 * 1024);
    let mut f = client(s.address());
    drive(&mut [&mut s, &mut f], "a handshake", |x| x[1].conns.len() == 1);
    more.bidi = 70_000;
    assert!(s.ep.set_limits(more).unwrap_err().contains("bidi"));
}

#[test]
fn new_limits_count_for_new_connections() {
    let mut s = server(|o| o["limits"]["idleMs"] = 100.into());
    let mut l = listen_options(|_| {}).limits;
    l.idle_ms = 60_000;
    s.ep.set_limits(l).unwrap();
    s.ep.set_congestion(spooky_quic::options::Congestion::Bbr);
    let (mut s, mut c, _, cw) = pair(s.reacting(echo));
    std::thread::sleep(Duration::from_millis(150));
    barrier(&mut s, &mut c, cw, 0);
    assert_eq!(s.closes, []);
}

#[test]
fn commands_that_make_no_sense_are_counted_and_do_nothing() {
    let (mut s, mut c, sw, cw) = pair(server(|_| {}).reacting(polite));
    let r = |kind, who: Who, id| Record::new(kind, who.0, who.1).stream(id);
    let mut stale = 0;
    for who in [(sw.0, sw.1 ^ 1), (sw.0 + 1, sw.1), (u32::MAX, u32::MAX)] {
        for kind in command::SEND..=command::PING {
            s.out.raw(r(kind, who, 0));
            stale += 1;
        }
    }
    let mut invalid = 0;
    let mut bad = |s: &mut Side, r: Record| {
        s.out.raw(r);
        invalid += 1;
    };
    for kind in [0, 10, u32::MAX] {
        bad(&mut s, r(kind, sw, 0));
    }
    for range in [(0, 1), (u32::MAX as usize, 1), (1, u32::MAX as usize)] {
        for kind in [command::SEND, command::CLOSE, command::DATAGRAM] {
            bad(&mut s, r(kind, sw, 0).span(range.0, range.1));
        }
    }
    // The client's unidirectional streams, bidirectional ones of a server, and what is no stream id at all.
    for id in [2, 1, 5, 1 << 60, u64::MAX] {
        for kind in [command::SEND, command::RESET, command::PRIORITY] {
            bad(&mut s, r(kind, sw, id));
        }
    }
    for id in [3, 1, 1 << 61] {
        for kind in [command::STOP, command::PAUSE, command::RESUME] {
            bad(&mut s, r(kind, sw, id));
        }
    }
    bad(&mut s, r(command::RESET, sw, 0).code(1 << 62));
    bad(&mut s, r(command::STOP, sw, 0).code(u64::MAX));
    bad(&mut s, r(command::CLOSE, sw, 1 << 62));
    bad(&mut s, r(command::PRIORITY, sw, 0).flags(16));
    barrier(&mut s, &mut c, cw, 0);
    let st = s.stats();
    assert_eq!((st["commandsStale"].as_u64(), st["commandsInvalid"].as_u64()), (Some(stale), Some(invalid)));
    // More records announced than there are.
    s.ep.run(1000, &[0; RECORD_BYTES * 2 + 5], &[]);
    assert_eq!(s.stats()["commandsInvalid"], invalid + 2);
}

#[test]
fn what_is_known_of_a_connection() {
    let (mut s, mut c, sw, cw) = pair(server(|_| {}).reacting(echo));
    c.out.send(cw, 0, &pattern(100_000, 1), true);
    drive(&mut [&mut s, &mut c], "the echo", |x| x[1].seen(cw, 0).fin);
    let info: serde_json::Value = serde_json::from_str(&s.ep.info(sw.0, sw.1)).unwrap();
    assert_eq!((&info["sni"], &info["alpn"], &info["tls"]), (&"localhost".into(), &"h3".into(), &1.into()));
    assert_eq!((&info["resumed"], &info["peerChain"]), (&false.into(), &serde_json::Value::Null));
    let info: serde_json::Value = serde_json::from_str(&c.ep.info(cw.0, cw.1)).unwrap();
    assert_eq!((&info["sni"], &info["alpn"], info["peerChain"].as_array().unwrap().len()), (&"localhost".into(), &"h3".into(), 1));
    let st = s.stats();
    for i in 0..2 {
        assert!(st["datagrams"][i].as_u64().unwrap() > 5 && st["bytes"][i].as_u64().unwrap() > 100_000, "{st}");
    }
    assert!(st["receiveBuffer"].as_u64().unwrap() > 0 && st["kernelDrops"] == 0);
    let [rtt, lost, sent, received] = s.ep.conn_stats(sw.0, sw.1).unwrap();
    assert!(rtt > 0.0 && rtt < 1000.0 && lost == 0.0 && sent > 5.0 && received > 5.0);
    assert_eq!(s.ep.conn_stats(sw.0, sw.1), Some([rtt, lost, sent, received]));
    assert_eq!(s.ep.external_bytes(), 40 * 1024);
    assert!(matches!(s.events[0], Event::Conn { remote, local, early: false, .. } if remote == c_local(&c) && local == s.address()));

    fn c_local(c: &Side) -> std::net::SocketAddr {
        match &c.events[0] {
            Event::Conn { local, .. } => *local,
            e => panic!("{e:?}"),
        }
    }
}

#[test]
fn what_is_wrong_is_said_when_it_is_opened() {
    let code = |o| Endpoint::listen(o).err().map(|e| (e.code, e.message)).unwrap();
    let s = server(|_| {});
    let port = s.address().port();
    assert_eq!(code(listen_options(|o| o["port"] = port.into())).0.as_deref(), Some("EADDRINUSE"));
    assert_eq!(code(listen_options(|o| o["hosts"] = serde_json::json!(["192.0.2.1"]))).0.as_deref(), Some("EADDRNOTAVAIL"));
    let nowhere = serde_json::json!({ "folder": "/nowhere", "name": "0123456789abcdef" });
    assert_eq!(code(listen_options(|o| o["handover"] = nowhere)).0.as_deref(), Some("ENOENT"));
    type Change = fn(&mut serde_json::Value);
    let wrong: [(Change, &str); 6] = [
        (|o| o["hosts"] = serde_json::json!([]), "hosts"),
        (|o| o["limits"]["uni"] = 100_000.into(), "limits.uni"),
        (|o| o["tls"]["entries"][0]["certs"] = serde_json::json!([]), "certificate"),
        (|o| o["resetKey"] = "00".into(), "resetKey"),
        (|o| o["keylog"] = "/nonexistent/keys".into(), "keylog"),
        (|o| o["qlog"] = "/nonexistent".into(), "qlog"),
    ];
    for (change, name) in wrong {
        let (code, message) = code(listen_options(change));
        assert!(code.is_none() && message.contains(name), "{message}");
    }
    let bad = |change: fn(&mut serde_json::Value)| Endpoint::dial(dial_options(s.address(), change)).err().unwrap().message;
    assert!(bad(|o| o["alpn"] = serde_json::json!([])).contains("alpn"));
    assert!(bad(|o| o["ca"] = "".into()).contains("ca"));
}

#[test]
fn key_log_and_qlog_are_written_when_asked_for() {
    let folder = std::env::temp_dir().join(format!("spooky-endpoint-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let keys = folder.join("keys");
    let (mut s, mut c, _, cw) = pair(
        server(|o| {
            o["keylog"] = keys.to_str().unwrap().into();
            o["qlog"] = folder.to_str().unwrap().into();
        })
        .reacting(echo),
    );
    barrier(&mut s, &mut c, cw, 0);
    drop(s);
    assert!(std::fs::read_to_string(&keys).unwrap().contains("SERVER_TRAFFIC_SECRET_0"));
    let logs: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).filter(|p| p != &keys).collect();
    assert_eq!(logs.len(), 1);
    assert!(std::fs::read_to_string(&logs[0]).unwrap().contains("packet_received"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn handshakes_beyond_a_turns_share_wait_for_the_next() {
    let mut s = server(|_| {});
    let mut clients: Vec<Side> = (0..80).map(|_| client(s.address())).collect();
    for c in &mut clients {
        c.turn(false);
    }
    let mut before = 0;
    for _ in 0..2000 {
        s.turn(true);
        let now = s.stats()["halfOpen"].as_u64().unwrap();
        assert!(now - before <= 32, "{before} -> {now}");
        before = now;
        if now == 80 {
            break;
        }
    }
    assert_eq!(before, 80, "{}", s.stats());
    let mut all: Vec<&mut Side> = vec![&mut s];
    all.extend(clients.iter_mut());
    drive(&mut all, "all of them", |x| x[0].conns.len() == 80);
    assert_eq!(s.stats()["dropped"]["batch"], 0);
}

/// The Initial of a client that was asked to prove its address, and did; what is in it nobody can read.
fn proven(from: SocketAddr) -> Vec<u8> {
    let id = CidCodec::new(&[0, 17, 34, 51, 68, 85, 102, 119, 136, 153, 170, 187, 204, 221, 238, 255], 7, 3).unwrap().encode(NO_SLOT, 0, 0);
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let token = TokenKeys::new(&[Key(vec![0xcd; 32])]).unwrap().seal(&from, &id, &[9; 8], wall, &mut Random::new()).unwrap();
    let head = [0xc3, 0, 0, 0, 1, id.len() as u8];
    let mut p = [&head[..], id.as_ref(), &[1, 5, 0x40, token.len() as u8], &token].concat();
    p.extend((0x4000 | (1198 - p.len()) as u16).to_be_bytes());
    p.resize(1200, 0x77);
    p
}

#[test]
fn in_a_crowd_that_lasts_a_host_that_had_many_handshakes_keeps_nobody_waiting() {
    let mut s = server(|_| {});
    let (to, start) = (s.address(), Instant::now());
    let many = SocketAddr::from(([127, 0, 0, 1], 9));
    let send = |s: &mut Side, from, at| s.ep.forward(&mut proven(from), from, to, at);
    let turned_away = |s: &mut Side| s.stats()["dropped"]["batch"].as_u64().unwrap();
    for _ in 0..4 {
        for _ in 0..32 {
            send(&mut s, many, start);
        }
        s.ep.flush(start).unwrap();
    }
    // A burst waits.
    for _ in 0..32 + 79 {
        send(&mut s, many, start);
    }
    let mut last = proven(many);
    s.ep.forward(&mut last.clone(), many, to, start);
    assert_eq!(turned_away(&mut s), 0);
    let later = start + Duration::from_secs(1);
    s.ep.forward(&mut last, many, to, later);
    assert_eq!(turned_away(&mut s), 0, "the rest of a hello");
    send(&mut s, many, later);
    assert_eq!(turned_away(&mut s), 1);
    for i in 1..=10 {
        send(&mut s, SocketAddr::from(([127, 9, i, 1], 9)), later);
    }
    // By chance one of the others may share its place among 4096.
    let refused = turned_away(&mut s);
    assert!(refused <= 2, "{refused}");
    // Those have waited too long, the others have not.
    s.ep.flush(later).unwrap();
    assert_eq!(turned_away(&mut s), refused + 80);
    send(&mut s, many, later);
    assert_eq!(turned_away(&mut s), refused + 80);
}

#[test]
fn a_client_is_asked_once_to_prove_its_address() {
    let mut s = server(|o| o["retry"] = "always".into()).reacting(echo);
    for n in 1..=3 {
        let mut c = client(s.address());
        drive(&mut [&mut s, &mut c], "a handshake", |x| x[0].conns.len() == n && x[1].conns.len() == 1);
        let cw = c.conns[0];
        barrier(&mut s, &mut c, cw, 0);
        c.out.close(cw, true, 0, "");
        c.turn(false);
    }
    let st = s.stats();
    assert_eq!((&st["answered"]["retry"], &st["handshakes"]["accepted"], &st["dropped"]["token"]), (&3.into(), &3.into(), &0.into()));
    s.ep.set_retry(spooky_quic::options::RetryMode::Off);
    let mut c = client(s.address());
    drive(&mut [&mut s, &mut c], "a handshake", |x| x[1].conns.len() == 1);
    assert_eq!(s.stats()["answered"]["retry"], 3);
}

#[test]
fn what_a_new_process_does_not_know_it_resets() {
    let (s, mut c, _, cw) = pair(server(|_| {}));
    let port = s.address().port();
    drop(s);
    let mut s = server(|o| o["port"] = port.into());
    c.out.send(cw, 0, &[1; 200], true);
    drive(&mut [&mut s, &mut c], "the reset", |x| x[1].closes.len() == 1);
    assert_eq!(c.closes, [bye(cw, 3, false, 0, "")]);
    assert!(s.stats()["answered"]["reset"].as_u64() >= Some(1));
    assert_eq!(s.events, []);
}

/// A client that sends all at once, whatever the network thinks.
fn bold(s: &mut Side) -> (Raw, Who) {
    let mut raw = Raw::with(s.address(), 4, |c| {
        c.set_initial_congestion_window_packets(1000);
        c.enable_pacing(false);
    });
    raw.drive(s, "a handshake", |s, r| r.q.is_established() && s.conns.len() == 1);
    raw.settle(s);
    (raw, s.conns[0])
}

#[test]
fn a_peer_whose_packets_lead_to_nothing_is_closed() {
    let mut s = server(|_| {}).reacting(echo);
    let (mut raw, who) = bold(&mut s);
    for id in [0, 4] {
        raw.q.stream_send(id, &pattern(250_000, 1), true).unwrap();
    }
    // Without the first bytes of either stream all others have to be kept.
    for (p, _) in raw.packets().split_off(2) {
        // Acknowledgements, unread: the client must not repeat what is missing.
        while raw.sockets[0].recv_from(&mut [0; 2000]).is_ok() {}
        raw.send_from(0, &p);
        s.turn(true);
        if !s.closes.is_empty() {
            break;
        }
    }
    assert_eq!(s.closes, [bye(who, 0, true, 0x107, "budget")]);
    assert!(raw.traffic[0].sent > 256 * 1024);
    raw.drive(&mut s, "the goodbye", |_, r| r.q.peer_error().is_some_and(|e| e.is_app && e.error_code == 0x107));
}

#[test]
fn packets_that_anybody_could_have_sent_cost_their_connection_nothing() {
    let mut s = server(|_| {}).reacting(polite);
    let (mut raw, _) = Raw::handshake(&mut s, 4);
    raw.q.stream_send(0, &[1; 1000], false).unwrap();
    for (p, _) in raw.packets() {
        let mut forged = p.clone();
        *forged.last_mut().unwrap() ^= 1;
        for _ in 0..1000 {
            raw.send_from(0, &p);
            raw.send_from(0, &forged);
            s.turn(true);
        }
    }
    assert!(raw.traffic[0].sent > 1 << 20);
    raw.q.stream_send(0, b"!", true).unwrap();
    raw.drive(&mut s, "an answer", |_, r| r.body() == b"ok");
    assert_eq!(s.closes, []);
}
