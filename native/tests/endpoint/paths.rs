//! Addresses that change, on purpose and not; ids; and what a peer can do with either.

use crate::kit::*;
use crate::raw::Raw;
use quiche::ConnectionId;
use spooky_quic::records::command;
use spooky_quic::transport::{JUMBO_PACKET, LARGEST_PACKET, SMALL_JUMBO};
use std::net::SocketAddr;

const MIB: usize = 1 << 20;

/// Answers every question with a mebibyte.
fn generous(e: &Event, out: &mut Commands) {
    if let Event::Data { who, id, fin: true, .. } = e {
        out.send(*who, *id, &pattern(MIB, 5), true);
    }
}

fn paths(s: &Side) -> Vec<SocketAddr> {
    let remotes = s.events.iter().filter_map(|e| match e {
        Event::Path { remote, .. } => Some(*remote),
        _ => None,
    });
    remotes.collect()
}

#[test]
fn a_client_that_migrates_on_purpose_goes_on_from_its_new_address() {
    let mut s = server(|_| {}).reacting(generous);
    let (mut raw, _) = Raw::handshake(&mut s, 4);
    raw.q.new_scid(&ConnectionId::from_ref(&[8; 16]), 8, false).unwrap();
    let new = raw.open();
    raw.q.stream_send(0, b"get", true).unwrap();
    raw.drive(&mut s, "the first part", |_, r| r.body().len() > MIB / 8);
    raw.q.probe_path(new, s.address()).unwrap();
    let there = s.address();
    raw.drive(&mut s, "validation", |_, r| r.q.is_path_validated(new, there) == Ok(true));
    assert_eq!(paths(&s), []);
    raw.q.migrate(new, s.address()).unwrap();
    raw.q.stream_send(4, b"get", true).unwrap();
    raw.drive(&mut s, "both answers", |_, r| r.body().len() == 2 * MIB);
    assert_eq!(paths(&s), [new]);
    assert!(raw.traffic[1].received > MIB);
    assert!(matches!(s.events.iter().find(|e| matches!(e, Event::Path { .. })), Some(Event::Path { local, .. }) if *local == s.address()));
    // Nobody has probed what the new path carries.
    assert!(raw.traffic[1].largest <= 1200, "{:?}", raw.traffic[1]);
}

#[test]
fn a_client_behind_a_nat_that_forgot_it_goes_on() {
    // With ids to spare and with none.
    for ids in [4, 2] {
        let mut s = server(|_| {}).reacting(generous);
        let (mut raw, _) = Raw::handshake(&mut s, ids);
        for n in 1..=3 {
            let new = raw.open();
            raw.nat = Some(n);
            let before = raw.body().len();
            raw.q.stream_send(n as u64 * 4 - 4, b"get", true).unwrap();
            raw.drive(&mut s, "the answer", |_, r| r.body().len() == before + MIB);
            raw.drive(&mut s, "PATH", |s, _| paths(s).last() == Some(&new));
            assert_eq!(paths(&s).len(), n);
        }
        assert_eq!(s.closes, []);
    }
}

#[test]
fn an_address_that_is_not_validated_gets_three_times_what_it_sent_and_is_never_reported() {
    let mut s = server(|_| {}).reacting(generous);
    let (mut raw, _) = Raw::handshake(&mut s, 4);
    raw.open();
    raw.q.stream_send(0, b"get", true).unwrap();
    raw.hold = true;
    raw.turn();
    raw.hold = false;
    // Somebody on the way sends the client's packet from elsewhere.
    for p in std::mem::take(&mut raw.held) {
        raw.send_from(1, &p);
    }
    for _ in 0..50 {
        s.turn(true);
    }
    let sent = raw.traffic[1].sent;
    let mut bytes = [0; 2000];
    let mut drawn = 0;
    while let Ok((n, _)) = raw.sockets[1].recv_from(&mut bytes) {
        drawn += n;
    }
    assert!(drawn > 0 && drawn <= 3 * sent, "{drawn} for {sent}");
    // The client says more from where it is, and all goes on there.
    raw.q.stream_send(4, b"get", true).unwrap();
    raw.drive(&mut s, "both answers", |_, r| r.body().len() == 2 * MIB);
    assert_eq!(paths(&s), []);
    assert_eq!(s.closes, []);
}

#[test]
fn ports_that_change_without_end_are_followed() {
    let mut s = server(|_| {}).reacting(polite);
    let (mut raw, who) = Raw::handshake(&mut s, 4);
    for n in 1..100 {
        raw.open();
        raw.nat = Some(n);
        raw.q.stream_send(2, b"x", false).unwrap();
        raw.settle(&mut s);
    }
    // Eight paths at a time are kept: those that nothing needs any more make room for the next.
    assert_eq!(paths(&s).len(), 99);
    assert_eq!(s.closes, []);
    assert!(s.ep.conn_stats(who.0, who.1).is_some());
    raw.q.stream_send(0, b"still there?", true).unwrap();
    raw.drive(&mut s, "an answer", |_, r| r.body() == b"ok");
    let (mut c, _) = Raw::handshake(&mut s, 2);
    c.q.stream_send(0, b"and others?", true).unwrap();
    c.drive(&mut s, "an answer", |_, c| c.body() == b"ok");
}

#[test]
fn challenges_without_end_are_bounded() {
    let mut s = server(|_| {}).reacting(polite);
    let (mut raw, _) = Raw::handshake(&mut s, 4);
    let (local, peer) = (raw.address(0), s.address());
    for _ in 0..500 {
        // One PATH_CHALLENGE per packet; the server looks once for all of them.
        raw.q.probe_path(local, peer).unwrap();
        for (p, _) in raw.packets() {
            raw.send_from(0, &p);
        }
    }
    let before = s.stats()["datagrams"][1].as_u64().unwrap();
    raw.settle(&mut s);
    let after = s.stats()["datagrams"][1].as_u64().unwrap();
    assert!(after - before < 200, "{}", after - before);
    raw.q.stream_send(0, b"and?", true).unwrap();
    raw.drive(&mut s, "an answer", |_, r| r.body() == b"ok");
}

#[test]
fn a_peer_has_the_ids_that_it_wants_and_no_more_than_four() {
    for (limit, spare) in [(2, 1), (3, 2), (4, 3), (64, 3)] {
        let mut s = server(|_| {});
        let (raw, _) = Raw::handshake(&mut s, limit);
        assert_eq!(raw.q.available_dcids(), spare, "{limit}");
    }
}

#[test]
fn ids_that_are_given_back_are_replaced_until_their_numbers_are_used_up() {
    let mut s = server(|_| {}).reacting(polite);
    let (mut raw, who) = Raw::handshake(&mut s, 4);
    let mut retired = 0;
    for seq in 0..400 {
        if raw.q.available_dcids() == 0 {
            break;
        }
        raw.q.retire_dcid(seq).unwrap();
        raw.settle(&mut s);
        retired += 1;
    }
    // 256 numbers: the last ids stay.
    assert_eq!(retired, 255);
    raw.q.stream_send(0, b"still you?", true).unwrap();
    raw.drive(&mut s, "an answer", |_, r| r.body() == b"ok");
    assert_eq!((s.conns.len(), s.closes.len()), (1, 0));
    assert!(s.ep.conn_stats(who.0, who.1).is_some());
}

#[test]
fn a_late_packet_with_an_id_that_was_given_back_is_dropped() {
    let mut s = server(|_| {}).reacting(polite);
    let (mut raw, _) = Raw::handshake(&mut s, 4);
    raw.q.stream_send(4, b"late", true).unwrap();
    raw.hold = true;
    raw.turn();
    raw.hold = false;
    let late = std::mem::take(&mut raw.held);
    assert!(!late.is_empty());
    raw.q.retire_dcid(0).unwrap();
    raw.settle(&mut s);
    for p in &late {
        raw.send_from(0, p);
    }
    raw.q.stream_send(0, b"and?", true).unwrap();
    raw.drive(&mut s, "both answers", |_, r| r.body() == b"okok");
    assert_eq!(s.stats()["dropped"]["unknown_connection"], late.len());
    assert_eq!(s.closes, []);
}

#[test]
fn new_ids_without_end_are_bounded() {
    // With one path and with several.
    for moves in [0, 3] {
        let mut s = server(|_| {}).reacting(polite);
        let (mut raw, _) = Raw::handshake(&mut s, 4);
        for n in 1..=moves {
            raw.open();
            raw.nat = Some(n);
            raw.q.stream_send(2, b"x", false).unwrap();
            raw.settle(&mut s);
        }
        for n in 0..1000u32 {
            let mut id = [9; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            let _ = raw.q.new_scid(&ConnectionId::from_ref(&id), n.into(), true);
            raw.turn();
            s.turn(true);
            while raw.q.retired_scid_next().is_some() {}
        }
        raw.settle(&mut s);
        // Whether it goes on or is closed with CONNECTION_ID_LIMIT_ERROR: nothing hangs, and others are served.
        assert!(s.closes.len() <= 1);
        let (mut c, _) = Raw::handshake(&mut s, 2);
        c.q.stream_send(0, b"still there?", true).unwrap();
        c.drive(&mut s, "an answer", |_, c| c.body() == b"ok");
    }
}

#[test]
fn packets_grow_to_what_the_path_carries() {
    let mut s = server(|_| {}).reacting(generous);
    let (mut raw, _) = Raw::handshake(&mut s, 4);
    raw.carries = LARGEST_PACKET;
    assert!(mebibyte(&mut s, &mut raw, 0) < 850);
    assert_eq!(raw.traffic[0].largest, LARGEST_PACKET);
    // Loopback would begin to carry larger ones: that was found out once.
    assert!((1..=3).contains(&raw.too_long), "{}", raw.too_long);
    let packets = mebibyte(&mut s, &mut raw, 4);
    // None of them is much shorter than the others.
    assert!(packets < 775, "{packets}");
    assert!(raw.too_long <= 3, "{}", raw.too_long);
}

/// How many datagrams it takes.
fn mebibyte(s: &mut Side, raw: &mut Raw, id: u64) -> u64 {
    let sent = |s: &mut Side| s.stats()["datagrams"][1].as_u64().unwrap();
    let (before, length) = (sent(s), raw.body().len());
    raw.q.stream_send(id, b"get", true).unwrap();
    raw.drive(s, "a mebibyte", |_, r| r.body().len() == length + MIB);
    assert!(raw.streams[&id].0 == pattern(MIB, 5));
    sent(s) - before
}

/// A connection with packets of that size, and none with larger ones: the first of five, since probes can be lost, and a window that the
/// machine's other work keeps small holds none of the largest.
fn grown(s: &mut Side, size: usize, loses: Option<usize>) -> Raw {
    for _ in 0..5 {
        let (mut raw, _) = Raw::handshake(s, 4);
        raw.loses = loses;
        mebibyte(s, &mut raw, 0);
        if raw.loses.take().is_some() {
            mebibyte(s, &mut raw, 4);
        }
        assert!(raw.traffic[0].largest <= size, "{}", raw.traffic[0].largest);
        if raw.traffic[0].largest == size {
            return raw;
        }
    }
    panic!("no packets of {size} bytes");
}

#[test]
fn packets_grow_beyond_an_ethernet_frame_where_the_first_hop_the_path_and_the_peer_take_them() {
    let mut s = server(|_| {}).reacting(generous);
    let mut raw = grown(&mut s, JUMBO_PACKET, None);
    let packets = mebibyte(&mut s, &mut raw, 4);
    assert!(packets < 60, "{packets}");
}

#[test]
fn packets_grow_less_where_the_window_does_not_hold_the_largest() {
    let mut s = server(|_| {}).reacting(generous);
    // Each loss makes the window smaller.
    grown(&mut s, SMALL_JUMBO, Some(10));
}

#[test]
fn large_packets_that_spill_make_the_window_smaller() {
    let mut s = server(|_| {}).reacting(generous);
    let mut raw = grown(&mut s, JUMBO_PACKET, None);
    // Less than a connection sends in a flush.
    raw.holds = JUMBO_PACKET + JUMBO_PACKET / 4;
    for id in 1..=8 {
        mebibyte(&mut s, &mut raw, id * 4);
    }
    // With a window that stays as it is, a part of every flush does.
    assert!(raw.spilled < 8 * MIB / 20, "{}", raw.spilled);
}

#[test]
fn packets_grow_no_larger_than_their_reader_wants_them() {
    for (wanted, largest) in [(2 * LARGEST_PACKET - 1, LARGEST_PACKET), (4000, 4000)] {
        let mut s = server(|_| {}).reacting(generous);
        let mut raw = Raw::with(s.address(), 4, |c| c.set_max_recv_udp_payload_size(wanted));
        raw.drive(&mut s, "a handshake", |s, r| r.q.is_established() && !s.conns.is_empty());
        mebibyte(&mut s, &mut raw, 0);
        assert_eq!(raw.traffic[0].largest, largest);
    }
}

#[test]
fn what_waits_to_fill_a_packet_waits_no_longer_than_for_more() {
    // The window closes at the end of a connection's share of a flush, with almost as many bytes given to quiche as it gets at once.
    for window in (92_500..95_000).step_by(500) {
        let mut s = server(|_| {}).reacting(generous);
        let mut raw = Raw::with(s.address(), 4, |c| {
            c.set_max_recv_udp_payload_size(4000);
            c.set_initial_max_stream_data_bidi_local(window);
            c.set_max_stream_window(window);
        });
        raw.drive(&mut s, "a handshake", |s, r| r.q.is_established() && !s.conns.is_empty());
        mebibyte(&mut s, &mut raw, 0);
        assert_eq!(raw.traffic[0].largest, 4000);
        raw.timeless = true;
        mebibyte(&mut s, &mut raw, 4);
    }
}

#[test]
fn a_path_that_carries_large_packets_no_longer_gets_small_ones() {
    let mut s = server(|_| {}).reacting(generous);
    let mut raw = grown(&mut s, JUMBO_PACKET, None);
    raw.carries = LARGEST_PACKET;
    mebibyte(&mut s, &mut raw, 4);
    let lost = raw.too_long;
    assert!(lost > 0);
    mebibyte(&mut s, &mut raw, 8);
    assert_eq!(raw.too_long, lost);
}

#[test]
fn a_client_without_an_answer_still_gets_its_acknowledgements() {
    let mut s = server(|_| {});
    let (mut raw, who) = Raw::handshake(&mut s, 4);
    for _ in 0..5 {
        raw.q.stream_send(0, b"x", false).unwrap();
        let sent = raw.q.stats().acked_bytes;
        raw.drive(&mut s, "an acknowledgement", |_, r| r.q.stats().acked_bytes > sent);
    }
    s.out.plain(command::PING, who, 0);
    let before = raw.q.stats().recv;
    raw.drive(&mut s, "a ping", |_, r| r.q.stats().recv > before);
}

/// Turns the server until `done`; the client hears nothing, and says nothing.
fn alone(s: &mut Side, what: &str, mut done: impl FnMut(&mut Side) -> bool) {
    drive_with(&mut [s], what, &[], |x, _| done(x[0]));
}

fn anything_at(raw: &Raw, socket: usize) -> bool {
    raw.sockets[socket].peek(&mut [0; 65_536]).is_ok()
}

/// Bytes that came there, and are lost.
fn drain(raw: &Raw, socket: usize) -> usize {
    let mut bytes = [0; 65_536];
    std::iter::from_fn(|| raw.sockets[socket].recv(&mut bytes).ok()).sum()
}

/// All that the client has to say leaves through one of its sockets.
fn speak(raw: &mut Raw, socket: usize) {
    for (p, _) in raw.packets() {
        raw.send_from(socket, &p);
    }
}

/// A client that has asked from another address than the one that the server knows.
fn moved(s: &mut Side) -> (Raw, SocketAddr) {
    let (mut raw, _) = Raw::handshake(s, 4);
    let new = raw.open();
    raw.nat = Some(1);
    raw.q.stream_send(0, b"get", true).unwrap();
    speak(&mut raw, 1);
    (raw, new)
}

#[test]
fn a_path_that_failed_is_taken_up_again_where_the_client_goes_on() {
    let mut s = server(|_| {}).reacting(generous);
    let (mut raw, new) = moved(&mut s);
    // It does not answer for so long that the server goes back to where it was.
    alone(&mut s, "the way back", |_| anything_at(&raw, 0));
    // Then two of its packets come at once.
    for id in [4, 8] {
        raw.q.stream_send(id, b"get", true).unwrap();
        speak(&mut raw, 1);
    }
    raw.drive(&mut s, "the answers", |s, r| !s.closes.is_empty() || r.body().len() == 3 * MIB);
    assert_eq!(s.closes, []);
    raw.drive(&mut s, "PATH", |s, _| paths(s) == [new]);
}

#[test]
fn a_challenge_whose_response_is_lost_is_repeated() {
    let mut s = server(|_| {}).reacting(polite);
    let (mut raw, new) = moved(&mut s);
    alone(&mut s, "a challenge", |_| anything_at(&raw, 1));
    raw.hold = true;
    raw.turn();
    raw.hold = false;
    assert!(!std::mem::take(&mut raw.held).is_empty());
    // All that it says from now on arrives, and acknowledges the challenge.
    raw.drive(&mut s, "PATH", |s, r| {
        r.q.send_ack_eliciting().unwrap();
        paths(s) == [new]
    });
    assert_eq!(s.closes, []);
}

#[test]
fn a_second_challenge_that_is_lost_is_sent_again() {
    let mut s = server(|_| {}).reacting(generous);
    let (mut raw, new) = moved(&mut s);
    // So little has come from there that the first one is too short to tell that the path takes whole packets.
    alone(&mut s, "a challenge", |_| anything_at(&raw, 1));
    raw.turn();
    alone(&mut s, "another one", |_| anything_at(&raw, 1));
    assert_eq!(paths(&s), []);
    // It is lost alone: what comes behind it is acknowledged, and tells.
    assert!(raw.sockets[1].recv(&mut [0; 65_536]).unwrap() > 0);
    raw.drive(&mut s, "PATH and the answer", |s, r| paths(s) == [new] && r.body().len() == MIB);
    assert_eq!(s.closes, []);
}

#[test]
fn an_id_of_the_client_that_several_paths_used_is_given_back_once() {
    let mut s = server(|_| {}).reacting(generous);
    let (mut raw, _) = Raw::handshake(&mut s, 4);
    let mut id = 0;
    let mut ask = |raw: &mut Raw| {
        raw.q.stream_send(id, b"get", true).unwrap();
        id += 4;
    };
    // It has one id: the second path and the third have it as well, and the third is never validated.
    for n in 1..=2 {
        raw.open();
        raw.nat = Some(n);
        ask(&mut raw);
        if n == 1 {
            raw.drive(&mut s, "an answer", |_, r| r.body().len() == MIB);
            raw.settle(&mut s);
        } else {
            speak(&mut raw, n);
            s.turn(true);
            drain(&raw, n);
        }
    }
    // The fourth has one of its own, and so has the fifth.
    for n in 3..=4 {
        raw.q.new_scid(&ConnectionId::from_ref(&[n as u8; 16]), n as u128, false).unwrap();
        speak(&mut raw, n - 1);
        s.turn(true);
        drain(&raw, n - 1);
        raw.open();
        raw.nat = Some(n);
        ask(&mut raw);
        let whole = (n - 1) * MIB;
        raw.drive(&mut s, "an answer", |s, r| !s.closes.is_empty() || r.body().len() >= whole);
        raw.settle(&mut s);
    }
    assert_eq!(s.closes, []);
    raw.drive(&mut s, "all answers", |_, r| r.body().len() == 4 * MIB);
}

#[test]
fn a_late_packet_with_an_id_that_was_given_back_just_before_it_is_dropped() {
    let mut s = server(|_| {}).reacting(polite);
    let (mut raw, _) = Raw::handshake(&mut s, 4);
    raw.q.stream_send(4, b"late", true).unwrap();
    raw.hold = true;
    raw.turn();
    raw.hold = false;
    let late = std::mem::take(&mut raw.held);
    assert!(!late.is_empty());
    raw.q.retire_dcid(0).unwrap();
    // The server hears both at once.
    speak(&mut raw, 0);
    for p in &late {
        raw.send_from(0, p);
    }
    s.turn(true);
    assert_eq!(s.closes, []);
    raw.q.stream_send(0, b"and?", true).unwrap();
    raw.drive(&mut s, "both answers", |_, r| r.body() == b"okok");
}

#[test]
fn an_id_that_is_given_back_twice_is_given_back_once() {
    let mut s = server(|_| {}).reacting(polite);
    // It has two.
    let (mut raw, _) = Raw::handshake(&mut s, 2);
    raw.q.stream_send(4, b"x", true).unwrap();
    raw.q.retire_dcid(0).unwrap();
    let mut packets = raw.packets();
    while packets.len() < 2 {
        std::thread::sleep(raw.q.timeout().expect("a timer"));
        raw.q.on_timeout();
        packets.extend(raw.packets());
    }
    for (p, _) in &packets {
        raw.send_from(0, p);
    }
    s.turn(true);
    assert_eq!(s.closes, []);
    raw.q.stream_send(0, b"and?", true).unwrap();
    raw.drive(&mut s, "both answers", |_, r| r.body() == b"okok");
}

#[test]
fn a_path_whose_id_was_given_back_on_another_one_is_probed_all_the_same() {
    let mut s = server(|_| {}).reacting(polite);
    let (mut raw, _) = Raw::handshake(&mut s, 4);
    raw.open();
    // From the new port, and the next from the old one again: two paths with one id, of which one waits for an answer to its challenge.
    raw.q.stream_send(2, &[0; 1000], false).unwrap();
    speak(&mut raw, 1);
    s.turn(true);
    assert!(drain(&raw, 1) > 0);
    raw.q.stream_send(2, b"x", false).unwrap();
    raw.settle(&mut s);
    raw.q.retire_dcid(0).unwrap();
    raw.settle(&mut s);
    // The challenge is lost, and another one is due.
    alone(&mut s, "another challenge", |s| !s.closes.is_empty() || anything_at(&raw, 1));
    assert_eq!(s.closes, []);
    raw.q.stream_send(0, b"and?", true).unwrap();
    raw.drive(&mut s, "an answer", |_, r| r.body() == b"ok");
}

/// The client takes all of its ids back and gives the server new ones, of which the first arrives alone, and the others are kept.
fn rotate(raw: &mut Raw, used: u8) -> Vec<Vec<u8>> {
    // Eight are all that the server wants: more of them, and the first ones go.
    for n in used..8 + used {
        raw.q.new_scid(&ConnectionId::from_ref(&[n + 100; 16]), u128::from(n), true).unwrap();
    }
    // With room for one of them.
    let mut packet = [0; 90];
    let mut packets: Vec<_> = std::iter::from_fn(|| raw.q.send(&mut packet).ok().map(|(n, _)| packet[..n].to_vec())).collect();
    assert!(packets.len() >= 8, "{}", packets.len());
    let others = packets.split_off(1);
    let last = raw.sockets.len() - 1;
    raw.send_from(last, &packets[0]);
    others
}

#[test]
fn a_client_that_takes_the_ids_of_all_paths_back_and_gives_one_keeps_the_path_that_it_uses() {
    let mut s = server(|_| {}).reacting(generous);
    let (mut raw, _) = Raw::handshake(&mut s, 4);
    raw.q.new_scid(&ConnectionId::from_ref(&[8; 16]), 8, false).unwrap();
    let new = raw.open();
    raw.q.probe_path(new, s.address()).unwrap();
    let there = s.address();
    raw.drive(&mut s, "validation", |_, r| r.q.is_path_validated(new, there) == Ok(true));
    raw.q.migrate(new, there).unwrap();
    raw.q.stream_send(0, b"get", true).unwrap();
    raw.drive(&mut s, "PATH and an answer", |s, r| paths(s) == [new] && r.body().len() == MIB);
    raw.settle(&mut s);
    // The first path is still there, to fall back to.
    let others = rotate(&mut raw, 2);
    s.turn(true);
    raw.q.stream_send(4, b"get", true).unwrap();
    raw.drive(&mut s, "an answer", |s, r| !s.closes.is_empty() || r.body().len() == 2 * MIB);
    assert_eq!(s.closes, []);
    for p in &others {
        raw.send_from(1, p);
    }
    raw.settle(&mut s);
    assert_eq!(s.closes, []);
    raw.q.stream_send(8, b"get", true).unwrap();
    raw.drive(&mut s, "another answer", |_, r| r.body().len() == 3 * MIB);
    assert_eq!((raw.q.active_scids(), paths(&s).len()), (8, 1));
}

#[test]
fn a_client_that_takes_the_id_back_that_several_paths_share_keeps_them() {
    let mut s = server(|_| {}).reacting(generous);
    let (mut raw, new) = moved(&mut s);
    raw.drive(&mut s, "PATH and an answer", |s, r| paths(s) == [new] && r.body().len() == MIB);
    raw.settle(&mut s);
    let others = rotate(&mut raw, 1);
    s.turn(true);
    for id in [4, 8] {
        let whole = raw.body().len() + MIB;
        raw.q.stream_send(id, b"get", true).unwrap();
        raw.drive(&mut s, "an answer", |s, r| !s.closes.is_empty() || r.body().len() == whole);
        assert_eq!(s.closes, []);
        // Back to where it was.
        raw.nat = None;
    }
    for p in &others {
        raw.send_from(0, p);
    }
    raw.settle(&mut s);
    assert_eq!(s.closes, []);
    raw.q.stream_send(12, b"get", true).unwrap();
    raw.drive(&mut s, "another answer", |_, r| r.body().len() == 4 * MIB);
}

#[test]
fn a_path_without_an_id_is_fallen_back_to_all_the_same() {
    let mut s = server(|_| {}).reacting(generous);
    let (mut raw, _) = Raw::handshake(&mut s, 4);
    raw.q.new_scid(&ConnectionId::from_ref(&[8; 16]), 8, false).unwrap();
    raw.settle(&mut s);
    raw.open();
    raw.nat = Some(1);
    raw.q.stream_send(0, b"get", true).unwrap();
    speak(&mut raw, 1);
    s.turn(true);
    drain(&raw, 1);
    // The new path has its own id, and the one that the client gives for both.
    rotate(&mut raw, 2);
    alone(&mut s, "the way back", |s| !s.closes.is_empty() || anything_at(&raw, 0));
    assert_eq!(s.closes, []);
    raw.nat = None;
    raw.drive(&mut s, "the answer", |s, r| !s.closes.is_empty() || r.body().len() == MIB);
    assert_eq!((paths(&s).len(), s.closes.len()), (0, 0));
}
