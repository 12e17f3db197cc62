//! Datagrams of other workers' connections.
//!
//! Of two sockets on one port, the one that is bound to the address itself gets what comes to it, not the one that is bound to all: so
//! a test says which worker the kernel brings a datagram to.

use crate::kit::*;
use crate::raw::Raw;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

const NAME: &str = "0123456789abcdef";
const RESET: u32 = 3;

/// A folder of the test's own, where its workers meet.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("spooky-workers-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn name(&self, worker: u8) -> PathBuf {
        self.0.join(format!("{worker}-{NAME}"))
    }

    fn worker(&self, number: u8, host: &str, port: u16, change: impl FnOnce(&mut Value)) -> Side {
        server(|o| {
            (o["cid"]["workerId"], o["hosts"], o["port"], o["reusePort"]) = (number.into(), json!([host]), port.into(), true.into());
            o["handover"] = json!({ "folder": self.0, "name": NAME });
            change(o);
        })
    }

    /// Gets what comes to any address, as long as nobody has that one.
    fn everywhere(&self, number: u8, port: u16) -> Side {
        self.worker(number, "0.0.0.0", port, |_| {})
    }

    /// Gets what comes to `MEETING`.
    fn first(&self, number: u8, port: u16) -> Side {
        self.worker(number, MEETING, port, |_| {})
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where clients ask.
const MEETING: &str = "127.0.0.2";

fn meeting(port: u16) -> SocketAddr {
    SocketAddr::new(MEETING.parse().unwrap(), port)
}

/// sent, received, delivered, lost, refused.
fn handed(s: &mut Side) -> [u64; 5] {
    let h = &s.stats()["handover"];
    ["sent", "received", "delivered", "lost", "refused"].map(|k| h[k].as_u64().unwrap())
}

/// A client that knows the worker which gets what comes to `MEETING`.
fn known(workers: &mut [&mut Side], port: u16) -> (Side, Who) {
    let mut c = client(meeting(port));
    let mut sides: Vec<&mut Side> = workers.iter_mut().map(|s| &mut **s).collect();
    let before: usize = sides.iter().map(|s| s.conns.len()).sum();
    sides.push(&mut c);
    drive(&mut sides, "a handshake", |x| x.iter().map(|s| s.conns.len()).sum::<usize>() == before + 2);
    let cw = c.conns[0];
    (c, cw)
}

/// `text` there and back on a stream.
fn ask(workers: &mut [&mut Side], c: &mut Side, cw: Who, id: u64, bytes: &[u8]) {
    c.out.send(cw, id, bytes, true);
    let mut sides: Vec<&mut Side> = workers.iter_mut().map(|s| &mut **s).collect();
    sides.push(c);
    drive(&mut sides, "an echo", |x| x.last().unwrap().seen(cw, id).fin);
    assert_eq!(c.seen(cw, id).bytes, bytes);
}

#[test]
fn a_worker_that_joins_brings_the_owner_what_is_its() {
    let folder = Folder::new();
    let mut owner = folder.everywhere(3, 0).reacting(echo);
    let port = owner.address().port();
    let (mut c, cw) = known(&mut [&mut owner], port);
    ask(&mut [&mut owner], &mut c, cw, 0, b"alone");
    let mut other = folder.first(4, port).reacting(echo);
    // What came before it did.
    owner.turn(true);
    let before = owner.stats()["datagrams"][0].as_u64().unwrap();
    ask(&mut [&mut owner, &mut other], &mut c, cw, 4, &pattern(300_000, 5));
    drive(&mut [&mut owner, &mut other], "the last ones", |x| handed(x[0])[1] == handed(x[1])[0]);
    let [sent, received, ..] = handed(&mut other);
    assert!(sent > 200, "{sent}");
    assert_eq!((received, handed(&mut owner)), (0, [0, sent, sent, 0, 0]));
    // Nothing came to it in another way, and JavaScript heard nothing of it.
    assert_eq!(owner.stats()["datagrams"][0].as_u64().unwrap() - before, sent);
    assert_eq!((other.events.len(), other.conns.len(), owner.conns.len()), (0, 0, 1));
    // A newcomer is the joined one's own, and each keeps theirs.
    let (mut d, dw) = known(&mut [&mut owner, &mut other], port);
    ask(&mut [&mut owner, &mut other], &mut d, dw, 0, b"new");
    ask(&mut [&mut owner, &mut other], &mut c, cw, 8, b"old");
    assert_eq!((other.conns.len(), owner.conns.len()), (1, 1));
    assert_eq!(handed(&mut owner)[0], 0);
}

#[test]
fn a_batch_that_was_all_for_others_is_no_news_here() {
    let folder = Folder::new();
    let mut owner = folder.everywhere(3, 0);
    let port = owner.address().port();
    let mut raw = Raw::new(meeting(port), 4);
    raw.drive(&mut owner, "a handshake", |s, r| r.q.is_established() && s.conns.len() == 1);
    let mut other = folder.first(4, port);
    raw.q.stream_send(0, b"to the owner", true).unwrap();
    let packets = raw.packets();
    let theirs: &[u8] = &packets[0].0;
    let received = |s: &mut Side, datagrams: &[&[u8]]| {
        for d in datagrams {
            raw.sockets[0].send_to(d, meeting(port)).unwrap();
        }
        s.ep.receive(std::time::Instant::now()).unwrap()
    };
    assert!(!received(&mut other, &[theirs]));
    assert!(!received(&mut other, &[theirs, theirs]));
    assert!(other.ep.is_settled());
    assert!(received(&mut other, &[theirs, &[0x40; 30]]));
    assert!(received(&mut other, &[]));
    assert!(owner.ep.receive(std::time::Instant::now()).unwrap());
    drive(&mut [&mut owner], "the others", |x| handed(x[0])[1] == 4);
    assert_eq!(handed(&mut other)[0], 4);
    // Also when the owner has gone: the answer leaves without JavaScript.
    drop(owner);
    assert!(!received(&mut other, &[theirs]));
    assert_eq!(other.stats()["answered"]["reset"], 2);
    assert!(!other.ep.is_settled());
    other.ep.flush(std::time::Instant::now()).unwrap();
    assert!(other.ep.is_settled());
}

#[test]
fn behind_a_lone_message_few_looks_are_taken_and_nothing_is_left() {
    let folder = Folder::new();
    let mut owner = folder.everywhere(3, 0);
    let port = owner.address().port();
    let mut raw = Raw::new(meeting(port), 4);
    raw.drive(&mut owner, "a handshake", |s, r| r.q.is_established() && s.conns.len() == 1);
    let mut other = folder.first(4, port);
    raw.q.stream_send(0, b"to the owner", true).unwrap();
    let packets = raw.packets();
    let theirs: &[u8] = &packets[0].0;
    // Messages of so many datagrams wait; what the owner takes of them in so many turns.
    let mut taken = |messages: &[usize], turns: usize| {
        for &datagrams in messages {
            for _ in 0..datagrams {
                raw.sockets[0].send_to(theirs, meeting(port)).unwrap();
            }
            other.ep.receive(std::time::Instant::now()).unwrap();
        }
        let before = handed(&mut owner)[1];
        for _ in 0..turns {
            owner.ep.receive(std::time::Instant::now()).unwrap();
        }
        handed(&mut owner)[1] - before
    };
    // The first look finds nothing. The next eight are saved, two of them here: of two messages, each has a turn.
    assert_eq!(taken(&[1], 1), 1);
    assert_eq!(taken(&[1, 1], 1), 1);
    assert_eq!(taken(&[], 1), 1);
    // Nobody waits for that where there is more than one datagram to a message.
    assert_eq!(taken(&[2, 1, 1], 1), 4);
    for _ in 0..6 {
        assert_eq!(taken(&[1], 1), 1);
    }
    // As long as looks find something, they are taken.
    assert_eq!(taken(&[1, 1, 1], 1), 3);
    assert_eq!(taken(&[1, 1, 1], 1), 3);
}

#[test]
fn an_owner_that_is_busy_gets_everything_later() {
    let folder = Folder::new();
    let mut owner = folder.everywhere(3, 0).reacting(echo);
    let port = owner.address().port();
    let (mut c, cw) = known(&mut [&mut owner], port);
    let mut other = folder.first(4, port);
    owner.turn(true);
    let junk: Vec<u8> = [&[0x40][..], &other_id(3), &[0; 20]].concat();
    let noise = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    // One message each: by default ten may wait, on some systems 512.
    for _ in 0..2_000 {
        noise.send_to(&junk, meeting(port)).unwrap();
        other.turn(true);
        if other.ep.deadline().is_some() {
            break;
        }
    }
    let full = handed(&mut other)[0];
    for id in 0..60 {
        c.out.send(cw, id * 4, b"question", true);
        c.turn(false);
        let before = other.stats()["datagrams"][0].as_u64().unwrap();
        drive(&mut [&mut other], "its datagram", |x| x[0].stats()["datagrams"][0].as_u64().unwrap() > before);
    }
    assert_eq!(handed(&mut other)[..4], [full, 0, 0, 0]);
    // Nothing else wakes it than its own deadline.
    assert!(other.ep.deadline().is_some() && !other.ep.is_settled());
    drive(&mut [&mut owner, &mut other], "what has waited", |x| handed(x[0])[1] >= full + 60);
    drive(&mut [&mut owner, &mut other, &mut c], "all answers", |x| (0..60).all(|id| x[2].seen(cw, id * 4).fin));
    drive(&mut [&mut owner, &mut other], "the last ones", |x| handed(x[0])[1] == handed(x[1])[0]);
    // The junk beside: all that waited for room is one datagram, and all of it named nothing.
    let sent = handed(&mut other)[0];
    assert_eq!((handed(&mut other), handed(&mut owner)), ([sent, 0, 0, 0, 0], [0, sent, sent - full - 1, 0, 0]));
}

#[test]
fn what_an_owner_has_no_room_for_is_lost_and_sent_again() {
    let folder = Folder::new();
    let mut owner = folder.everywhere(3, 0).reacting(echo);
    let port = owner.address().port();
    let (mut c, cw) = known(&mut [&mut owner], port);
    let mut other = folder.first(4, port);
    // What it sends again is lost, too, until there is more than fits.
    let body = pattern(100_000, 5);
    for id in 0..3 {
        c.out.send(cw, id * 4, &body, true);
    }
    let junk: Vec<u8> = [&[0x40][..], &other_id(3), &[0; 1_400]].concat();
    let noise = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    drive(&mut [&mut c, &mut other], "a loss", |x| {
        noise.send_to(&junk, meeting(port)).unwrap();
        handed(x[1])[3] > 20
    });
    drive(&mut [&mut owner, &mut other, &mut c], "all of it", |x| (0..3).all(|id| x[2].seen(cw, id * 4).bytes == body));
    let [sent, _, _, lost, _] = handed(&mut other);
    assert!(sent > 0 && lost > 20);
}

/// An id of another worker that names nothing.
fn other_id(worker: u8) -> [u8; 17] {
    spooky_quic::ids::CidCodec::new(&hex("00112233445566778899aabbccddeeff"), 7, worker).unwrap().encode(1 << 20, 2, 3)
}

#[test]
fn the_clients_of_a_worker_that_is_gone_are_reset_by_whoever_hears_them() {
    for killed in [false, true] {
        let folder = Folder::new();
        let mut owner = folder.everywhere(3, 0);
        let port = owner.address().port();
        let (mut c, cw) = known(&mut [&mut owner], port);
        let mut raw = Raw::new(meeting(port), 4);
        raw.drive(&mut owner, "a raw handshake", |s, r| r.q.is_established() && s.conns.len() == 2);
        let mut other = folder.first(4, port);
        drop(owner);
        assert!(!folder.name(3).exists());
        if killed {
            // What is killed leaves its name.
            drop(UnixDatagram::bind(folder.name(3)).unwrap());
        }
        c.out.send(cw, 0, &[7; 100], true);
        drive(&mut [&mut other, &mut c], "a reset", |x| !x[1].closes.is_empty());
        assert_eq!((c.closes[0].side, c.closes[0].app), (RESET, false));
        let [sent, _, _, lost, _] = handed(&mut other);
        assert!(sent == 0 && lost > 0);
        assert_eq!((&other.stats()["answered"]["reset"], &other.stats()["dropped"]["unknown_connection"]), (&lost.into(), &lost.into()));
        // A long header is nobody's any more, and is not answered.
        raw.q.stream_send(0, &[7; 100], false).unwrap();
        let (short, _) = raw.packets().remove(0);
        let mut long = vec![0xe0, 0, 0, 0, 1, 17];
        long.extend_from_slice(&short[1..18]);
        long.extend_from_slice(&[0, 0x40, 0x20]);
        long.extend_from_slice(&[9; 32]);
        raw.sockets[0].send_to(&long, meeting(port)).unwrap();
        drive(&mut [&mut other], "a long header", |x| handed(x[0])[3] == lost + 1);
        let stats = other.stats();
        assert_eq!((&stats["answered"]["reset"], &stats["dropped"]["unknown_connection"]), (&lost.into(), &(lost + 1).into()));
    }
}

#[test]
fn the_successor_of_a_dead_worker_under_its_number_resets_what_that_one_left() {
    let folder = Folder::new();
    let mut owner = folder.everywhere(3, 0);
    let port = owner.address().port();
    let (mut c, cw) = known(&mut [&mut owner], port);
    let mut other = folder.first(4, port);
    drop(owner);
    let mut again = folder.everywhere(3, port).reacting(echo);
    c.out.send(cw, 0, &[7; 100], true);
    drive(&mut [&mut other, &mut again, &mut c], "a reset", |x| !x[2].closes.is_empty());
    assert_eq!(c.closes[0].side, RESET);
    drive(&mut [&mut other, &mut again], "the last ones", |x| handed(x[1])[1] == handed(x[0])[0]);
    let sent = handed(&mut other)[0];
    assert_eq!((handed(&mut other), handed(&mut again)), ([sent, 0, 0, 0, 0], [0, sent, 0, 0, 0]));
    assert_eq!((&again.stats()["answered"]["reset"], &other.stats()["answered"]["reset"]), (&sent.into(), &0.into()));
}

#[test]
fn newcomers_go_to_successors_and_whoever_has_begun_stays() {
    let folder = Folder::new();
    let mut new = folder.everywhere(4, 0).reacting(echo);
    let port = new.address().port();
    let mut old = folder.first(3, port).reacting(echo);
    let (mut c, cw) = known(&mut [&mut old, &mut new], port);
    // In the midst of its handshake: what it says next is answered where it has begun.
    let mut young = Raw::new(meeting(port), 4);
    young.turn();
    drive(&mut [&mut old], "half a handshake", |x| x[0].stats()["halfOpen"] == 1);
    old.ep.succeed(vec![4]).unwrap();
    young.drive(&mut old, "the other half", |s, r| r.q.is_established() && s.conns.len() == 2);
    assert_eq!(handed(&mut old), [0; 5]);
    old.ep.drain();
    let mut clients: Vec<(Side, Who)> = (0..3).map(|_| known(&mut [&mut old, &mut new], port)).collect();
    for (d, dw) in &mut clients {
        ask(&mut [&mut old, &mut new], d, *dw, 0, &pattern(50_000, 7));
    }
    ask(&mut [&mut old, &mut new], &mut c, cw, 0, b"still here");
    assert_eq!((old.conns.len(), new.conns.len()), (2, 3));
    drive(&mut [&mut old, &mut new], "the last ones", |x| handed(x[1])[1] == handed(x[0])[0]);
    let sent = handed(&mut old)[0];
    assert_eq!((handed(&mut old), handed(&mut new)), ([sent, 0, 0, 0, 0], [0, sent, sent, 0, 0]));
    assert_eq!(old.stats()["handshakes"]["refused_draining"], 0);
    // The last one leaves; others are still handed over, until the endpoint is closed.
    c.out.close(cw, true, 0, "");
    young.q.close(true, 0, b"").unwrap();
    young.drive(&mut old, "the drain", |s, _| {
        s.events.contains(&Event::Drained) || {
            c.turn(true);
            false
        }
    });
    let (mut d, dw) = known(&mut [&mut old, &mut new], port);
    ask(&mut [&mut old, &mut new], &mut d, dw, 0, b"later");
}

#[test]
fn a_retry_before_the_change_leads_to_the_successor() {
    let folder = Folder::new();
    let always = |o: &mut Value| o["retry"] = "always".into();
    let mut new = folder.worker(4, "0.0.0.0", 0, always).reacting(echo);
    let port = new.address().port();
    let mut old = folder.worker(3, MEETING, port, always);
    let mut asked = Raw::new(meeting(port), 4);
    asked.turn();
    drive(&mut [&mut old], "a Retry", |x| x[0].stats()["answered"]["retry"] == 1);
    old.ep.succeed(vec![4]).unwrap();
    old.ep.drain();
    drive_with(&mut [&mut old, &mut new], "a handshake after it", &[], |x, _| {
        asked.turn();
        asked.q.is_established() && x[1].conns.len() == 1
    });
    assert_eq!((&new.stats()["answered"]["retry"], &old.stats()["dropped"]["draining"]), (&0.into(), &0.into()));
    // And one that has been asked by the new one, and is heard by the old one.
    let (mut c, cw) = known(&mut [&mut old, &mut new], port);
    ask(&mut [&mut old, &mut new], &mut c, cw, 0, b"both");
    assert_eq!((old.conns.len(), new.conns.len(), &new.stats()["answered"]["retry"]), (0, 2, &1.into()));
}

#[test]
fn workers_that_succeed_each_other_pass_nothing_on_twice() {
    let folder = Folder::new();
    let mut a = folder.everywhere(3, 0).reacting(echo);
    let port = a.address().port();
    let mut b = folder.first(4, port).reacting(echo);
    a.ep.succeed(vec![4]).unwrap();
    b.ep.succeed(vec![3]).unwrap();
    let (mut c, cw) = known(&mut [&mut a, &mut b], port);
    ask(&mut [&mut a, &mut b], &mut c, cw, 0, b"once");
    assert_eq!((a.conns.len(), b.conns.len(), handed(&mut a)[0], handed(&mut b)[1]), (1, 0, 0, 0));
    // More newcomers at once than a turn begins: those that wait do not go back, either.
    let mut crowd: Vec<Raw> = (0..40).map(|_| Raw::new(meeting(port), 4)).collect();
    let hellos: Vec<_> = crowd.iter_mut().map(|r| (r.packets().remove(0).0, r.address(0), meeting(port))).collect();
    let hellos: Vec<_> = hellos.iter().map(|(hello, from, to)| (&hello[..], *from, *to)).collect();
    UnixDatagram::unbound().unwrap().send_to(&message(&hellos), folder.name(3)).unwrap();
    drive(&mut [&mut a, &mut b], "all of them", |x| x[0].stats()["halfOpen"] == 40 || handed(x[0])[0] > 0);
    assert_eq!((handed(&mut a)[0], handed(&mut b)[1]), (0, 0));
    // Of a third worker: whoever handed that over was wrong.
    let mut datagram = vec![0x40];
    datagram.extend_from_slice(&other_id(5));
    datagram.extend_from_slice(&[0; 40]);
    UnixDatagram::unbound().unwrap().send_to(&message(&[(&datagram, c.address(), meeting(port))]), folder.name(3)).unwrap();
    drive(&mut [&mut a, &mut b], "what goes round", |x| handed(x[0])[4] == 1);
    let [sent, received, delivered, ..] = handed(&mut a);
    assert_eq!((sent, received), (0, delivered + 1));
    assert_eq!((&a.stats()["dropped"]["foreign"], &a.stats()["answered"]["reset"]), (&1.into(), &0.into()));
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn message(entries: &[(&[u8], SocketAddr, SocketAddr)]) -> Vec<u8> {
    let mut m = vec![1];
    for (datagram, from, to) in entries {
        m.extend_from_slice(&(datagram.len() as u16).to_be_bytes());
        m.extend_from_slice(&spooky_quic::address::encode(from));
        m.extend_from_slice(&spooky_quic::address::encode(to));
        m.extend_from_slice(datagram);
    }
    m
}

#[test]
fn messages_that_no_worker_sends_are_refused_and_counted() {
    let folder = Folder::new();
    let mut s = folder.first(3, 0).reacting(echo);
    let here = s.address();
    let (there, six): (SocketAddr, SocketAddr) = ("192.0.2.1:9".parse().unwrap(), "[2001:db8::1]:9".parse().unwrap());
    let gate = UnixDatagram::unbound().unwrap();
    let put = |m: &[u8], s: &mut Side| {
        gate.send_to(m, folder.name(3)).unwrap();
        s.turn(true);
    };
    let short = [0x41; 60];
    let good = message(&[(&short, there, here)]);
    let mut refused = 0;
    for n in 0..good.len() {
        put(&good[..n], &mut s);
        refused += 1;
        assert_eq!(handed(&mut s), [0, 0, 0, 0, refused], "{n}");
    }
    for version in [0, 2, 255] {
        put(&[&[version][..], &good[1..]].concat(), &mut s);
        refused += 1;
    }
    assert_eq!(handed(&mut s), [0, 0, 0, 0, refused]);
    // For addresses that are not ours, or from where we cannot answer.
    let elsewhere = SocketAddr::new(here.ip(), here.port() ^ 1);
    put(&message(&[(&short, there, elsewhere), (&short, there, there), (&short, six, here), (&short, there, six)]), &mut s);
    assert_eq!(handed(&mut s), [0, 4, 0, 0, refused + 4]);
    // What is whole counts, whatever is behind it.
    let mut tail = message(&[(&short, there, here), (b"", there, here)]);
    tail.push(0);
    put(&tail, &mut s);
    assert_eq!(handed(&mut s), [0, 6, 0, 0, refused + 5]);
    let mut r = spooky_quic::ids::Random::new();
    for _ in 0..2_000 {
        let mut m: Vec<u8> = (0..r.below(200)).map(|_| r.number() as u8).collect();
        if let Some(first) = m.first_mut() {
            *first = 1;
        }
        put(&m, &mut s);
    }
    assert_eq!(handed(&mut s)[2], 0);
    let (mut c, cw) = known(&mut [&mut s], here.port());
    ask(&mut [&mut s], &mut c, cw, 0, b"as before");
}

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
