//! What the seam says of streams.

use crate::kit::*;
use crate::raw::Raw;
use spooky_quic::records::{Record, command};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

const MIB: usize = 1 << 20;

fn pumps() -> Pumps {
    Rc::new(RefCell::new(BTreeMap::new()))
}

#[test]
fn streams_carry_bytes_both_ways_to_the_end() {
    let (mut s, mut c, sw, cw) = pair(server(|_| {}).reacting(echo));
    for id in [0, 4, 8] {
        c.out.send(cw, id, format!("question {id}").as_bytes(), true);
    }
    c.out.send(cw, 2, b"settings", false);
    drive(&mut [&mut s, &mut c], "three answers", |x| [0, 4, 8].iter().all(|&id| x[1].seen(cw, id).fin));
    for id in [0, 4, 8] {
        assert_eq!(c.seen(cw, id).bytes, format!("question {id}").as_bytes());
    }
    drive(&mut [&mut s, &mut c], "settings", |x| x[0].seen(sw, 2).bytes == b"settings");
}

#[test]
fn a_mebibyte_comes_back_with_backpressure_both_ways() {
    let there = pumps();
    let (mut s, c, sw, cw) = pair(server(|_| {}).reacting(echo));
    let mut c = c.reacting(pumping(&there));
    let body = pattern(MIB, 3);
    there.borrow_mut().insert(0, Pump::new(0, body.clone()));
    there.borrow_mut().get_mut(&0).unwrap().run(cw, &mut c.out);
    drive(&mut [&mut s, &mut c], "the echo", |x| x[1].seen(cw, 0).fin);
    assert!(c.seen(cw, 0).bytes == body);
    assert!(c.seen(cw, 0).writable >= 6, "{} times writable", c.seen(cw, 0).writable);
    assert!(s.seen(sw, 0).fin);
}

#[test]
fn every_wish_to_write_more_is_granted_once() {
    let (mut s, mut c, _, cw) = pair(server(|_| {}));
    for round in 1..=8 {
        for _ in 0..20 {
            c.out.send(cw, 0, &pattern(16384, round), false);
        }
        c.out.send_much(cw, 0, b"more?");
        let granted = round as usize;
        drive(&mut [&mut s, &mut c], "WRITABLE", |x| x[1].seen(cw, 0).writable >= granted);
        assert_eq!(c.seen(cw, 0).writable, granted);
    }
    // Nothing waits: at once, and without bytes as well.
    c.out.send_much(cw, 4, b"");
    c.turn(false);
    assert_eq!(c.seen(cw, 4).writable, 1);
    c.out.send(cw, 0, b"", true);
    drive(&mut [&mut s, &mut c], "the end", |x| x[0].streams.values().any(|s| s.fin));
    assert_eq!(c.seen(cw, 0).writable, 8);
}

#[test]
fn a_dead_stream_takes_writes_without_a_word() {
    let (mut s, mut c, sw, cw) = pair(server(|_| {}).reacting(echo));
    c.out.send(cw, 0, b"x", false);
    drive(&mut [&mut s, &mut c], "the echo", |x| x[1].seen(cw, 0).bytes == b"x");
    c.out.code(command::STOP, cw, 0, 0x10c);
    c.out.code(command::RESET, cw, 0, 0x10c);
    drive(&mut [&mut s, &mut c], "both ends", |x| {
        let seen = x[0].seen(sw, 0);
        !seen.stops.is_empty() && !seen.resets.is_empty()
    });
    s.out.send(sw, 0, b"more", false);
    s.out.send(sw, 0, b"", true);
    s.out.send_much(sw, 0, b"more");
    s.out.send(sw, 400, b"never opened", true);
    c.out.send(cw, 0, b"more", true);
    for kind in [command::RESET, command::STOP] {
        s.out.code(kind, sw, 0, 1);
        s.out.code(kind, sw, 444, 1);
    }
    for kind in [command::PAUSE, command::RESUME] {
        s.out.plain(kind, sw, 0);
    }
    s.out.priority(sw, 0, 1, true);
    barrier(&mut s, &mut c, cw, 4);
    // Nothing of it is kept, also when quiche has forgotten the stream.
    s.out.send_much(sw, 0, b"more");
    barrier(&mut s, &mut c, cw, 8);
    assert_eq!((s.ep.stuck(sw.0, sw.1, 0), s.ep.external_bytes() % 1024), (vec![], 0));
    assert_eq!((s.closes.len(), c.closes.len()), (0, 0));
    assert_eq!((&s.seen(sw, 0).stops, &s.seen(sw, 0).resets), (&vec![0x10c], &vec![0x10c]));
    assert_eq!(s.seen(sw, 0).writable, 0);
    assert_eq!((s.stats()["commandsStale"].as_u64(), s.stats()["commandsInvalid"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn codes_of_resets_and_stops_arrive_once_and_whole() {
    let (mut s, mut c, sw, cw) = pair(server(|_| {}).reacting(polite));
    c.out.send(cw, 0, b"a", false);
    c.out.send(cw, 4, b"b", false);
    drive(&mut [&mut s, &mut c], "both", |x| !x[0].seen(sw, 0).bytes.is_empty() && !x[0].seen(sw, 4).bytes.is_empty());
    let large = (1 << 62) - 1;
    c.out.code(command::RESET, cw, 0, large);
    s.out.code(command::STOP, sw, 4, 0x107);
    s.out.code(command::RESET, sw, 4, 0x102);
    drive(&mut [&mut s, &mut c], "codes", |x| {
        let seen = x[1].seen(cw, 4);
        !x[0].seen(sw, 0).resets.is_empty() && !seen.stops.is_empty() && !seen.resets.is_empty()
    });
    for id in [8, 12, 16] {
        barrier(&mut s, &mut c, cw, id);
    }
    assert_eq!(s.seen(sw, 0).resets, [large]);
    assert_eq!((&c.seen(cw, 4).stops, &c.seen(cw, 4).resets), (&vec![0x107], &vec![0x102]));
}

#[test]
fn streams_that_their_client_resets_make_room_for_others_however_they_are_answered() {
    let late = Rc::new(RefCell::new(Vec::new()));
    let todo = Rc::clone(&late);
    let s = server(|o| o["limits"]["bidi"] = 4.into()).reacting(move |e, out| match e {
        Event::Data { who, id, .. } if id % 16 == 4 => out.send(*who, *id, b"early", true),
        Event::Reset { who, id, .. } if id % 16 == 0 => out.code(command::RESET, *who, *id, 0x10c),
        Event::Reset { who, id, .. } if id % 16 == 8 => out.send(*who, *id, b"late", true),
        Event::Reset { who, id, .. } if id % 16 == 12 => todo.borrow_mut().push((*who, *id)),
        _ => {}
    });
    let (mut s, mut c, sw, cw) = pair(s);
    for id in (0..400).step_by(4) {
        c.out.send(cw, id, b"x", false);
        drive(&mut [&mut s, &mut c], "the stream", |x| !x[0].seen(sw, id).bytes.is_empty());
        c.out.code(command::RESET, cw, id, 0x10c);
        drive(&mut [&mut s, &mut c], "its reset", |x| !x[0].seen(sw, id).resets.is_empty());
        for (who, id) in late.borrow_mut().drain(..) {
            s.out.code(command::RESET, who, id, 0x10c);
        }
    }
    assert_eq!((s.closes.len(), c.closes.len()), (0, 0));
}

#[test]
fn answered_streams_make_room_whatever_their_client_still_says() {
    let s = server(|o| o["limits"]["bidi"] = 4.into()).reacting(|e, out| {
        if let Event::Data { who, id, bytes, .. } = e
            && bytes.starts_with(b"x")
        {
            out.send(*who, *id, b"enough", true);
            out.code(command::STOP, *who, *id, 0x100);
        }
    });
    let (mut s, mut c, _, cw) = pair(s);
    for id in (0..400).step_by(4) {
        c.out.send(cw, id, &[b'x'; 3000], false);
        drive(&mut [&mut s, &mut c], "the answer", |x| x[1].seen(cw, id).fin && !x[1].seen(cw, id).stops.is_empty());
        c.out.code(command::RESET, cw, id, 0x100);
    }
}

#[test]
fn answered_streams_that_are_stopped_late_make_room() {
    let s = server(|o| o["limits"]["bidi"] = 4.into()).reacting(|e, out| match e {
        Event::Data { who, id: 0, bytes, .. } => out.send(*who, 0, bytes, false),
        Event::Data { who, id, .. } => out.send(*who, *id, b"enough", true),
        _ => {}
    });
    let (mut s, mut c, sw, cw) = pair(s);
    for id in (4..80).step_by(4) {
        c.out.send(cw, id, &[b'x'; 3000], false);
        drive(&mut [&mut s, &mut c], "the answer", |x| x[1].seen(cw, id).fin);
        // By the time that this has come back, the answer is acknowledged.
        let echoed = c.seen(cw, 0).bytes.len();
        c.out.send(cw, 0, b"?", false);
        drive(&mut [&mut s, &mut c], "an echo", |x| x[1].seen(cw, 0).bytes.len() > echoed);
        s.out.code(command::STOP, sw, id, 0x100);
        drive(&mut [&mut s, &mut c], "STOP", |x| !x[1].seen(cw, id).stops.is_empty());
    }
}

/// What comes on stream 0 comes back: whatever was sent before is acknowledged by then.
fn echoing() -> Side {
    server(|o| o["limits"]["bidi"] = 4.into()).reacting(|e, out| {
        if let Event::Data { who, id: 0, bytes, .. } = e {
            out.send(*who, 0, bytes, false);
        }
    })
}

fn round_trip(s: &mut Side, c: &mut Side, cw: Who) {
    let echoed = c.seen(cw, 0).bytes.len();
    c.out.send(cw, 0, b"?", false);
    drive(&mut [s, c], "an echo", |x| x[1].seen(cw, 0).bytes.len() > echoed);
}

#[test]
fn streams_that_are_reset_and_stopped_later_make_room() {
    let (mut s, mut c, sw, cw) = pair(echoing());
    for id in (4..80).step_by(4) {
        c.out.send(cw, id, b"x", false);
        drive(&mut [&mut s, &mut c], "the stream", |x| !x[0].seen(sw, id).bytes.is_empty());
        // Of some streams the end has come, and was not read, by then.
        let ended = id % 8 == 0;
        if ended {
            s.out.plain(command::PAUSE, sw, id);
            s.turn(false);
            c.out.send(cw, id, b"y", true);
        }
        s.out.code(command::RESET, sw, id, 0x102);
        drive(&mut [&mut s, &mut c], "RESET", |x| !x[1].seen(cw, id).resets.is_empty());
        round_trip(&mut s, &mut c, cw);
        s.out.code(command::STOP, sw, id, 0x100);
        if !ended {
            drive(&mut [&mut s, &mut c], "STOP", |x| !x[1].seen(cw, id).stops.is_empty());
        }
    }
    assert_eq!((s.closes.len(), c.closes.len()), (0, 0));
}

#[test]
fn streams_of_one_direction_that_are_stopped_make_room() {
    let s = server(|o| o["limits"]["uni"] = 4.into()).reacting(|e, out| {
        if let Event::Data { who, id, .. } = e {
            out.code(command::STOP, *who, *id, 0x103);
        }
    });
    let (mut s, mut c, _, cw) = pair(s);
    for id in (2..80).step_by(4) {
        c.out.send(cw, id, b"x", false);
        drive(&mut [&mut s, &mut c], "STOP", |x| !x[1].seen(cw, id).stops.is_empty());
    }
    assert_eq!((s.closes.len(), c.closes.len()), (0, 0));
}

#[test]
fn streams_that_both_sides_have_stopped_make_room() {
    let (mut s, mut c, sw, cw) = pair(echoing());
    for first in (4..80).step_by(12) {
        let ids = [first, first + 4, first + 8];
        for id in ids {
            c.out.send(cw, id, b"x", false);
        }
        drive(&mut [&mut s, &mut c], "three streams", |x| ids.iter().all(|&id| !x[0].seen(sw, id).bytes.is_empty()));
        for id in ids {
            s.out.plain(command::PAUSE, sw, id);
            c.out.code(command::STOP, cw, id, 0x10c);
        }
        drive(&mut [&mut s, &mut c], "STOP", |x| ids.iter().all(|&id| !x[0].seen(sw, id).stops.is_empty()));
        for id in ids {
            c.out.send(cw, id, b"y", true);
        }
        round_trip(&mut s, &mut c, cw);
        for id in ids {
            s.out.code(command::STOP, sw, id, 0x100);
        }
    }
    assert_eq!((s.closes.len(), c.closes.len()), (0, 0));
}

#[test]
fn a_stream_that_was_reset_never_ends_as_if_it_were_whole() {
    for kinds in [[command::STOP, command::RESET], [command::RESET, command::STOP]] {
        let mut s = server(|_| {});
        let (mut raw, who) = Raw::handshake(&mut s, 4);
        raw.q.stream_send(4, b"x", false).unwrap();
        raw.drive(&mut s, "a question", |s, _| !s.seen(who, 4).bytes.is_empty());
        s.out.send(who, 4, b"half", false);
        raw.drive(&mut s, "half of the answer", |_, r| r.body() == b"half");
        for kind in kinds {
            s.out.code(kind, who, 4, 0x102);
        }
        // The reset is lost; the end of the question comes all the same.
        s.turn(false);
        let mut lost = [0; 1500];
        while raw.sockets[0].recv_from(&mut lost).is_ok() {}
        raw.q.stream_send(4, b"y", true).unwrap();
        for (p, _) in raw.packets() {
            raw.send_from(0, &p);
        }
        for _ in 0..5 {
            s.turn(true);
        }
        let local = raw.address(0);
        while let Ok((n, from)) = raw.sockets[0].recv_from(&mut lost) {
            let _ = raw.q.recv(&mut lost[..n], quiche::RecvInfo { from, to: local });
        }
        assert!(!raw.q.stream_finished(4) || raw.q.stream_recv(4, &mut lost).is_err());
    }
}

#[test]
fn a_client_that_stops_reading_is_noticed_while_the_answer_waits() {
    let (mut s, mut c, sw, cw) = pair(server(|_| {}));
    for id in [0, 4, 8] {
        c.out.send(cw, id, b"slow, please", true);
    }
    drive(&mut [&mut s, &mut c], "the questions", |x| [0, 4, 8].iter().all(|&id| x[0].seen(sw, id).fin));
    for id in [0, 8] {
        c.out.code(command::STOP, cw, id, 0x10c + id);
    }
    drive(&mut [&mut s, &mut c], "STOP", |x| [0, 8].iter().all(|&id| !x[0].seen(sw, id).stops.is_empty()));
    assert_eq!((&s.seen(sw, 0).stops[..], &s.seen(sw, 8).stops[..], &s.seen(sw, 4).stops[..]), (&[0x10c][..], &[0x114][..], &[][..]));
}

#[test]
fn a_paused_stream_holds_at_most_its_window_and_loses_nothing() {
    const WINDOW: usize = 64 * 1024;
    let s = server(|o| o["limits"]["streamWindow"] = WINDOW.into());
    let mut first = true;
    let s = s.reacting(move |e, out| match e {
        Event::Data { who, id: 0, .. } if first => {
            first = false;
            out.plain(command::PAUSE, *who, 0);
        }
        Event::Data { id: 0, .. } => {}
        _ => polite(e, out),
    });
    let (mut s, c, sw, cw) = pair(s);
    let there = pumps();
    let mut c = c.reacting(pumping(&there));
    let body = pattern(MIB, 9);
    there.borrow_mut().insert(0, Pump::new(0, body.clone()));
    there.borrow_mut().get_mut(&0).unwrap().run(cw, &mut c.out);
    drive(&mut [&mut s, &mut c], "the first bytes", |x| !x[0].seen(sw, 0).bytes.is_empty());
    for id in [4, 8, 12] {
        barrier(&mut s, &mut c, cw, id);
    }
    let held = s.seen(sw, 0).bytes.len();
    assert!(held <= WINDOW, "{held}");
    assert!(there.borrow()[&0].left() > MIB - WINDOW - held - 256 * 1024);
    s.out.plain(command::RESUME, sw, 0);
    drive(&mut [&mut s, &mut c], "the rest", |x| x[0].seen(sw, 0).fin);
    assert!(s.seen(sw, 0).bytes == body);
}

#[test]
fn a_paused_stream_tells_its_reset() {
    let (mut s, mut c, sw, cw) = pair(server(|_| {}));
    c.out.send(cw, 0, b"x", false);
    drive(&mut [&mut s, &mut c], "the stream", |x| !x[0].seen(sw, 0).bytes.is_empty());
    s.out.plain(command::PAUSE, sw, 0);
    s.turn(false);
    c.out.send(cw, 0, b"unheard", false);
    c.turn(false);
    c.out.code(command::RESET, cw, 0, 7);
    drive(&mut [&mut s, &mut c], "the reset", |x| x[0].seen(sw, 0).resets == [7]);
    assert_eq!(s.seen(sw, 0).bytes, b"x");
}

#[test]
fn a_reader_that_stands_still_stops_the_writer_and_not_its_neighbours() {
    let there = pumps();
    let mut run = pumping(&there);
    let mine = Rc::clone(&there);
    let s = server(|_| {}).reacting(move |e, out| match e {
        Event::Data { who, id: 0, fin: true, .. } => {
            let mut p = Pump::new(0, pattern(8 * MIB, 2));
            p.run(*who, out);
            mine.borrow_mut().insert(0, p);
        }
        _ => {
            polite(e, out);
            run(e, out);
        }
    });
    let (mut s, mut c, sw, cw) = pair(s);
    c.out.send(cw, 0, b"x", true);
    c.out.plain(command::PAUSE, cw, 0);
    for id in [4, 8, 12] {
        barrier(&mut s, &mut c, cw, id);
    }
    assert!(there.borrow()[&0].left() > 4 * MIB);
    // The server knows that it is the client who does not read.
    drive(&mut [&mut s, &mut c], "stuck", |x| x[0].ep.stuck(sw.0, sw.1, 30) == [0]);
    assert_eq!(s.ep.stuck(sw.0, sw.1, 60_000), [0; 0]);
    c.out.plain(command::RESUME, cw, 0);
    drive(&mut [&mut s, &mut c], "eight mebibytes", |x| x[1].seen(cw, 0).bytes.len() == 8 * MIB);
    assert_eq!((s.ep.stuck(sw.0, sw.1, 0), &s.seen(sw, 0).stops), (vec![], &vec![]));
}

/// All answers are ready together: in which order they end, and what each has when the first one does.
fn race(urgencies: &'static [(u32, bool)]) -> (Vec<u64>, Vec<usize>) {
    let there = pumps();
    let mut run = pumping(&there);
    let mine = Rc::clone(&there);
    let s = server(|_| {}).reacting(move |e, out| match e {
        Event::Data { who, id, fin: true, .. } => {
            let mut pumps = mine.borrow_mut();
            pumps.insert(*id, Pump::new(*id, pattern(MIB, *id as u32)));
            if pumps.len() < urgencies.len() {
                return;
            }
            for (i, (u, incremental)) in urgencies.iter().enumerate() {
                out.priority(*who, i as u64 * 4, *u, *incremental);
            }
            for p in pumps.values_mut() {
                p.run(*who, out);
            }
        }
        _ => run(e, out),
    });
    let (mut s, mut c, _, cw) = pair(s);
    let ids: Vec<u64> = (0..urgencies.len() as u64).map(|i| i * 4).collect();
    for &id in &ids {
        c.out.send(cw, id, b"get", true);
    }
    drive(&mut [&mut s, &mut c], "all answers", |x| ids.iter().all(|&id| x[1].seen(cw, id).fin));
    let (mut order, mut rest) = (Vec::new(), vec![0; ids.len()]);
    for e in &c.events {
        if let Event::Data { id, bytes, fin, .. } = e {
            if order.is_empty() {
                rest[*id as usize / 4] += bytes.len();
            }
            if *fin {
                order.push(*id);
            }
        }
    }
    (order, rest)
}

#[test]
fn what_is_urgent_is_complete_before_the_rest_has_passed_a_fifth() {
    let (order, rest) = race(&[(7, false), (0, false)]);
    assert_eq!(order, [4, 0]);
    assert!(rest[0] < MIB / 5, "{rest:?}");
}

#[test]
fn equals_that_are_not_incremental_leave_one_after_the_other() {
    let (order, rest) = race(&[(3, false), (3, false)]);
    assert_eq!(order, [0, 4]);
    assert!(rest[1] < MIB / 5, "{rest:?}");
}

#[test]
fn incremental_equals_share() {
    let (_, rest) = race(&[(3, true), (3, true), (3, true)]);
    assert!(rest.iter().all(|&n| n > MIB * 6 / 10), "{rest:?}");
}

#[test]
fn a_priority_may_come_before_its_stream() {
    let (mut s, mut c, sw, cw) = pair(server(|_| {}).reacting(polite));
    for id in (0..20_000).step_by(4) {
        s.out.priority(sw, id, 1, true);
    }
    s.turn(false);
    for id in (0..40).step_by(4) {
        barrier(&mut s, &mut c, cw, id);
    }
    assert_eq!(s.stats()["commandsInvalid"], 0);
}

#[test]
fn no_more_streams_at_once_than_the_limit_and_the_others_wait() {
    let (mut s, mut c, sw, cw) = pair(server(|o| o["limits"]["bidi"] = 4.into()));
    for id in (0..40).step_by(4) {
        c.out.send(cw, id, b"x", true);
    }
    drive(&mut [&mut s, &mut c], "the first four", |x| [0, 4, 8, 12].iter().all(|&id| x[0].seen(sw, id).fin));
    c.out.plain(command::PING, cw, 0);
    for _ in 0..10 {
        c.turn(true);
        s.turn(true);
    }
    assert_eq!(s.streams.keys().map(|k| k.1).collect::<Vec<_>>(), [0, 4, 8, 12]);
    for id in [0, 4, 8, 12] {
        s.out.send(sw, id, b"ok", true);
    }
    let mut s = s.reacting(polite);
    drive(&mut [&mut s, &mut c], "all", |x| (0..40).step_by(4).all(|id| x[1].seen(cw, id).fin));
}

#[test]
fn small_event_buffers_lose_nothing() {
    let ep = spooky_quic::turn::Endpoint::listen(listen_options(|_| {})).unwrap();
    let s = Side::with_buffers(ep, 2, 4096);
    let (mut s, mut c, sw, cw) = pair(s);
    let bodies: Vec<Vec<u8>> = (0..6).map(|i| pattern(50_000, i + 1)).collect();
    for (i, b) in bodies.iter().enumerate() {
        c.out.send(cw, i as u64 * 4, b, true);
    }
    drive(&mut [&mut s, &mut c], "all bodies", |x| (0..6).all(|i| x[0].seen(sw, i * 4).fin));
    for (i, b) in bodies.iter().enumerate() {
        assert!(s.seen(sw, i as u64 * 4).bytes == *b);
    }
}

#[test]
fn datagrams_go_both_ways_as_far_as_agreed() {
    let answer = |e: &Event, out: &mut Commands| {
        if let Event::Datagram { who, bytes } = e {
            out.with(Record::new(command::DATAGRAM, who.0, who.1), bytes);
        }
    };
    let (mut s, mut c, sw, cw) = pair(server(|_| {}).reacting(answer));
    let longest = |s: &Side| match &s.events[0] {
        Event::Conn { longest, .. } => *longest,
        e => panic!("{e:?}"),
    };
    assert!(longest(&s) > 1000 && longest(&c) > 1000);
    let ping = |c: &mut Side, n: usize| {
        let r = Record::new(command::DATAGRAM, cw.0, cw.1);
        c.out.with(r, &vec![7; n]);
    };
    for n in [0, 1, 5000, longest(&c) as usize] {
        ping(&mut c, n);
    }
    drive(&mut [&mut s, &mut c], "datagrams", |x| x[1].events.iter().filter(|e| matches!(e, Event::Datagram { .. })).count() == 3);
    assert_eq!(s.stats()["commandsInvalid"], 0);
    let off = server(|o| o["limits"]["datagrams"] = false.into());
    let (mut off, mut c, _, _) = pair(off);
    assert_eq!((longest(&off), longest(&c)), (c_longest(&off), 0));
    ping(&mut c, 1);
    off.turn(true);
    c.turn(true);
    let _ = sw;

    fn c_longest(s: &Side) -> u32 {
        match &s.events[0] {
            Event::Conn { longest, .. } => *longest,
            _ => unreachable!(),
        }
    }
}

#[test]
fn what_is_said_at_once_arrives() {
    let answer = |e: &Event, out: &mut Commands| {
        if let Event::Datagram { who, bytes } = e {
            out.with(Record::new(command::DATAGRAM, who.0, who.1), bytes);
        }
    };
    let mut s = server(|_| {}).reacting(answer);
    let mut c = client(s.address()).reacting(|e, out| {
        if let Event::Conn { who, .. } = e {
            for _ in 0..20 {
                out.with(Record::new(command::DATAGRAM, who.0, who.1), b"ping");
            }
        }
    });
    let n = |x: &Side| x.events.iter().filter(|e| matches!(e, Event::Datagram { .. })).count();
    drive(&mut [&mut s, &mut c], "datagrams", |x| n(x[1]) == 20);
}

#[test]
fn small_answers_share_their_packets() {
    let (mut s, mut c, _, cw) = pair(server(|_| {}).reacting(polite));
    barrier(&mut s, &mut c, cw, 0);
    let sent = |s: &mut Side| s.stats()["datagrams"][1].as_u64().unwrap();
    let before = sent(&mut s);
    for id in (4..=320).step_by(4) {
        c.out.send(cw, id, b"question", true);
    }
    drive(&mut [&mut s, &mut c], "80 answers", |x| (4..=320).step_by(4).all(|id| x[1].seen(cw, id).fin));
    let packets = sent(&mut s) - before;
    assert!(packets < 20, "{packets} packets for 80 answers");
}

#[test]
fn a_lost_packet_costs_none_of_its_streams_anything() {
    // Of one packet, of a few, of a part of one; bytes whose place tells.
    let length = |id: u64| [1, 40, 300, 1000, 1151, 4000][(id / 4 % 6) as usize] + (id % 16) as usize;
    let answer = move |e: &Event, out: &mut Commands| {
        if let Event::Data { who, id, fin: true, .. } = e {
            out.priority(*who, *id, (*id / 4 % 3) as u32 + 2, id % 8 == 0);
            out.send(*who, *id, &pattern(length(*id), *id as u32 + 1), true);
        }
    };
    for every in [2, 3, 7] {
        let mut s = server(|_| {}).reacting(answer);
        let (mut raw, _) = Raw::handshake(&mut s, 4);
        raw.loses = Some(every);
        for round in 0..3 {
            let ids: Vec<u64> = (0..60).map(|i| (round * 60 + i) * 4).collect();
            for id in &ids {
                // The leave for more may be in a packet that was lost.
                if raw.q.peer_streams_left_bidi() == 0 {
                    raw.drive(&mut s, "leave for a stream", |_, r| r.q.peer_streams_left_bidi() > 0);
                }
                raw.q.stream_send(*id, b"get", true).unwrap();
            }
            raw.drive(&mut s, "60 whole answers", |_, r| ids.iter().all(|id| r.streams.get(id).is_some_and(|s| s.1)));
            for id in &ids {
                assert!(raw.streams[id].0 == pattern(length(*id), *id as u32 + 1), "stream {id}");
            }
        }
        assert_eq!((s.closes.len(), s.stats()["commandsInvalid"].as_u64()), (0, Some(0)));
    }
}

#[test]
fn bytes_arrive_once_and_in_order_whatever_the_order_of_their_packets() {
    for stride in [1, 5, 7, 12] {
        let mut s = server(|_| {});
        let (mut raw, who) = Raw::handshake(&mut s, 4);
        let body = pattern(10_000, stride as u32);
        raw.hold = true;
        for piece in body.chunks(770) {
            raw.q.stream_send(2, piece, false).unwrap();
            raw.turn();
        }
        let mut first: Vec<(usize, Vec<u8>)> = std::mem::take(&mut raw.held).into_iter().enumerate().collect();
        assert_eq!(first.len(), 13);
        first.sort_by_key(|(i, _)| i * stride % 13);
        let late = first.split_off(6);
        for (_, p) in first {
            raw.send_from(0, &p);
        }
        // It counts some of the late ones as lost, and sends their bytes again, cut in other places.
        raw.settle(&mut s);
        raw.q.stream_send(2, b"", true).unwrap();
        raw.turn();
        let mut again = std::mem::take(&mut raw.held).into_iter();
        for (_, p) in late {
            raw.send_from(0, &p);
            if let Some(p) = again.next() {
                raw.send_from(0, &p);
            }
        }
        again.for_each(|p| raw.send_from(0, &p));
        raw.hold = false;
        raw.drive(&mut s, "the end", |s, _| s.seen(who, 2).fin);
        assert!(s.seen(who, 2).bytes == body, "stride {stride}");
    }
}

/// A byte arrives and its acknowledgment waits at the client's socket; nobody knows of an end yet.
fn acknowledged_byte(s: &mut Side, raw: &mut Raw, who: Who) {
    raw.q.stream_send(2, b"x", false).unwrap();
    raw.turn();
    let mut byte = [0];
    drive_with(&mut [s], "the acknowledgment", &[], |x, _| x[0].seen(who, 2).bytes == b"x" && raw.sockets[0].peek(&mut byte).is_ok());
}

#[test]
fn an_end_that_is_written_after_all_bytes_arrives_though_they_are_acknowledged_first() {
    let mut s = server(|_| {});
    let (mut raw, who) = Raw::handshake(&mut s, 4);
    acknowledged_byte(&mut s, &mut raw, who);
    raw.q.stream_send(2, b"", true).unwrap();
    // Reads before it sends.
    raw.drive(&mut s, "the end", |s, _| s.seen(who, 2).fin);
}

#[test]
fn an_end_that_is_lost_is_sent_again_though_all_bytes_are_acknowledged() {
    let mut s = server(|_| {});
    let (mut raw, who) = Raw::handshake(&mut s, 4);
    acknowledged_byte(&mut s, &mut raw, who);
    raw.q.stream_send(2, b"", true).unwrap();
    assert_eq!(raw.packets().len(), 1);
    raw.drive(&mut s, "the end", |s, _| s.seen(who, 2).fin);
}

#[test]
fn an_end_that_comes_with_bytes_that_were_read_before_is_the_end() {
    let mut s = server(|_| {});
    let (mut raw, who) = Raw::handshake(&mut s, 4);
    raw.q.stream_send(2, b"x", false).unwrap();
    for (p, _) in raw.packets() {
        raw.send_from(0, &p);
    }
    drive_with(&mut [&mut s], "the byte", &[], |x, _| x[0].seen(who, 2).bytes == b"x");
    // The end is lost, and its client has heard nothing when it sends everything once more.
    raw.q.stream_send(2, b"", true).unwrap();
    assert_eq!(raw.packets().len(), 1);
    std::thread::sleep(raw.q.timeout().expect("a probe timeout"));
    raw.q.on_timeout();
    raw.drive(&mut s, "the end", |s, _| s.seen(who, 2).fin);
    assert_eq!(s.seen(who, 2).bytes, b"x");
}

#[test]
fn a_stream_is_complete_when_its_end_is_acknowledged() {
    let mut s = server(|_| {}).reacting(echo);
    let (mut raw, _) = Raw::handshake(&mut s, 4);
    for round in 0..40 {
        raw.q.stream_send(4 * round, b"x", false).unwrap();
        raw.turn();
        raw.q.stream_send(4 * round, b"", true).unwrap();
        raw.drive(&mut s, "the answer", |_, r| r.streams.get(&(4 * round)).is_some_and(|s| s.1));
        raw.settle(&mut s);
        assert!(raw.q.stream_finished(4 * round));
        assert_eq!(raw.q.stream_capacity(4 * round), Err(quiche::Error::InvalidStreamState(4 * round)), "collected");
    }
}

#[test]
fn a_stream_whose_lost_bytes_arrived_after_all_does_not_keep_the_others_waiting() {
    let mut s = server(|_| {});
    let (mut raw, who) = Raw::handshake(&mut s, 4);
    for id in [2, 6] {
        raw.q.stream_priority(id, 127, false).unwrap();
    }
    let body = pattern(6000, 1);
    assert_eq!(raw.q.stream_send(2, &body, false).unwrap(), body.len());
    for (p, _) in raw.packets() {
        raw.send_from(0, &p);
    }
    // Everything arrives and is acknowledged, but the client looks too late, when it has begun to send it once more.
    drive_with(&mut [&mut s], "the body", &[], |x, _| x[0].seen(who, 2).bytes == body);
    std::thread::sleep(raw.q.timeout().expect("a probe timeout"));
    raw.q.on_timeout();
    let mut packet = [0; 1500];
    let (n, _) = raw.q.send(&mut packet).unwrap();
    raw.send_from(0, &packet[..n]);
    raw.q.stream_send(6, b"next", false).unwrap();
    raw.drive(&mut s, "what comes after it", |s, _| s.seen(who, 6).bytes == b"next");
}
