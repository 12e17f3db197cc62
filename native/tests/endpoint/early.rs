//! Sessions that are resumed, and what is said before the handshake is done.

use crate::kit::*;
use crate::raw::Raw;

fn accepting(early: bool) -> Side {
    let s = server(|o| {
        o["tls"]["entries"][0]["earlyData"] = early.into();
        o["tls"]["entries"][0]["ticketKeys"] = serde_json::json!(["11".repeat(48)]);
    });
    s.reacting(polite)
}

/// A client that comes back with what it was given, and asks in its first flight.
fn come_back(s: &mut Side) -> Raw {
    let (mut first, _) = Raw::handshake(s, 4);
    first.drive(s, "a ticket", |_, r| r.q.session().is_some());
    let session = first.q.session().unwrap().to_vec();
    let mut again = Raw::new(s.address(), 4);
    again.q.set_session(&session).unwrap();
    again.turn();
    if again.q.is_in_early_data() {
        again.q.stream_send(0, b"early", true).unwrap();
    }
    again.drive(s, "the second handshake", |s, r| r.q.is_established() && s.conns.len() == 2);
    again
}

#[test]
fn early_data_is_told_before_the_handshake_is_done_and_counted_once() {
    let mut s = accepting(true);
    let mut raw = come_back(&mut s);
    raw.drive(&mut s, "an answer", |_, r| r.body() == b"ok");
    let early: Vec<bool> = s.events.iter().filter_map(|e| if let Event::Conn { early, .. } = e { Some(*early) } else { None }).collect();
    assert_eq!(early, [false, true]);
    let who = s.conns[1];
    assert_eq!(s.seen(who, 0).bytes, b"early");
    let info: serde_json::Value = serde_json::from_str(&s.ep.info(who.0, who.1)).unwrap();
    assert_eq!(info["resumed"], true);
    raw.drive(&mut s, "both", |s, _| s.stats()["handshakes"]["accepted"] == 2);
    assert_eq!((&s.stats()["connections"], &s.stats()["halfOpen"]), (&2.into(), &0.into()));
}

#[test]
fn early_data_does_not_wait_for_the_handshake() {
    let mut s = accepting(true);
    let (mut first, _) = Raw::handshake(&mut s, 4);
    first.drive(&mut s, "a ticket", |_, r| r.q.session().is_some());
    let mut again = Raw::new(s.address(), 4);
    again.q.set_session(first.q.session().unwrap()).unwrap();
    again.turn();
    for part in [b"one", b"two"] {
        again.q.stream_send(0, part, false).unwrap();
        for (p, _) in again.packets() {
            again.send_from(0, &p);
        }
        for _ in 0..5 {
            s.turn(true);
        }
    }
    let who = s.conns[1];
    assert_eq!(s.seen(who, 0).bytes, b"onetwo");
    assert_eq!(s.stats()["halfOpen"], 1);
}

#[test]
fn early_data_is_off_unless_the_entry_says_so() {
    let mut s = accepting(false);
    let mut raw = come_back(&mut s);
    raw.settle(&mut s);
    let who = s.conns[1];
    assert!(matches!(s.events.iter().rev().find(|e| matches!(e, Event::Conn { .. })), Some(Event::Conn { early: false, .. })));
    let info: serde_json::Value = serde_json::from_str(&s.ep.info(who.0, who.1)).unwrap();
    assert_eq!(info["resumed"], true);
}

#[test]
fn what_follows_a_packet_without_keys_in_its_datagram_is_heard() {
    let mut s = accepting(false);
    let mut raw = Raw::new(s.address(), 4);
    raw.drive(&mut s, "a handshake", |s, r| r.q.is_established() && s.conns.len() == 1);
    let late = [&[0xe0, 0, 0, 0, 1, 17][..], raw.q.destination_id().as_ref(), &[0, 0x40, 30], &[7; 30]].concat();
    raw.q.stream_send(0, b"behind it", true).unwrap();
    for (p, _) in raw.packets() {
        raw.send_from(0, &[&late[..], &p].concat());
    }
    let who = s.conns[0];
    // At once: a packet that is lost would come again.
    for _ in 0..5 {
        s.turn(true);
    }
    assert_eq!(s.seen(who, 0).bytes, b"behind it");
}
