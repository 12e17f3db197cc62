use super::*;
use crate::port::Port;
use crate::socket::{BindOptions, Inbox};
use std::net::UdpSocket;

const KEY: [u8; 16] = [7; 16];

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn steering(worker: u8) -> Steering {
    Steering::new(&KEY, worker, at(443))
}

fn lost(s: &mut Steering) {
    (0..MANY).for_each(|_| s.astray());
}

/// What it asks now.
fn asked(s: &mut Steering, now: Instant) -> Option<Vec<Message>> {
    match s.step(now)? {
        Step::Ask(_, questions) => Some(questions),
        Step::Steer(_) => None,
    }
}

/// A short header under an id of this worker's.
fn datagram(worker: u8) -> Vec<u8> {
    let mut d = vec![0x40; 40];
    d[1] = 5 << 5 | worker & CLEAR;
    d
}

fn socket(worker: u8, port: u16) -> Port {
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let o = BindOptions { host, port, reuse_port: true, receive_buffer: 0, send_buffer: 0 };
    let mut port = Port::open(&o, 64 * 1024).unwrap();
    port.meet(Steering::new(&KEY, worker, port.socket.local()));
    port
}

fn of(port: &mut Port) -> &mut Steering {
    port.steering.as_mut().unwrap()
}

/// Workers of these numbers, bound in this order.
fn group(numbers: &[u8]) -> Vec<Port> {
    let mut group: Vec<Port> = Vec::new();
    for &n in numbers {
        group.push(socket(n, group.first().map_or(0, |p| p.socket.local().port())));
    }
    group
}

/// What has come to each, once so many have come to all of them.
fn received(group: &mut [Port], wanted: usize) -> Vec<Vec<Vec<u8>>> {
    let mut inbox = Inbox::new();
    let mut got = vec![Vec::new(); group.len()];
    let until = Instant::now() + Duration::from_secs(10);
    while got.iter().map(Vec::len).sum::<usize>() < wanted {
        assert!(Instant::now() < until, "{got:?}");
        for (port, got) in group.iter_mut().zip(&mut got) {
            let n = port.socket.receive(&mut inbox).unwrap();
            got.extend((0..n).map(|i| inbox.datagram(i).0.to_vec()));
        }
    }
    got
}

/// One of them asks, and those who hear answer, but for the silent.
fn ask(group: &mut [Port], who: usize, silent: &[u8], now: Instant) {
    lost(of(&mut group[who]));
    group[who].steer(now).unwrap();
    let asker = of(&mut group[who]).worker;
    for (i, questions) in received(group, PLACES).into_iter().enumerate() {
        let heard = !silent.contains(&of(&mut group[i]).worker);
        for q in questions.iter().filter(|_| heard) {
            match of(&mut group[i]).hear(q, false) {
                Heard::Question(to, answer) => {
                    assert_eq!(to, asker);
                    assert_eq!(of(&mut group[who]).hear(&answer, true), Heard::Answer);
                }
                heard => assert_eq!((heard, i), (Heard::Answer, who)),
            }
        }
    }
    group[who].steer(if silent.is_empty() { now } else { now + PATIENCE }).unwrap();
    assert!(of(&mut group[who]).asking.is_none());
}

/// Of sixteen datagrams of each worker's connections, each from another address: how many come to it.
fn reach(group: &mut [Port]) -> Vec<usize> {
    let to = group[0].socket.local();
    let numbers: Vec<u8> = group.iter_mut().map(|p| of(p).worker).collect();
    let clients: Vec<UdpSocket> = (0..16).map(|_| UdpSocket::bind(at(0)).unwrap()).collect();
    for n in &numbers {
        for c in &clients {
            c.send_to(&datagram(*n), to).unwrap();
        }
    }
    let got = received(group, 16 * numbers.len());
    numbers.iter().zip(got).map(|(n, got)| got.iter().filter(|d| d[1] & CLEAR == n & CLEAR).count()).collect()
}

#[test]
fn each_workers_datagrams_come_to_it_from_wherever() {
    let mut group = group(&[3, 4, 200, 6]);
    let by_hash: usize = reach(&mut group).iter().sum();
    assert!(by_hash < 48, "without a program a hash chooses: {by_hash} of 64 are right");
    ask(&mut group, 2, &[], Instant::now());
    assert_eq!(reach(&mut group), [16; 4]);
}

#[test]
fn when_a_worker_goes_or_comes_a_hash_chooses_until_somebody_asks_again() {
    let (mut group, now) = (group(&[3, 4, 5]), Instant::now());
    ask(&mut group, 0, &[], now);
    assert_eq!(reach(&mut group), [16; 3]);
    // The last one takes its place.
    group.remove(0);
    let by_hash: usize = reach(&mut group).iter().sum();
    assert!((1..32).contains(&by_hash), "{by_hash} of 32 are right");
    ask(&mut group, 1, &[], now);
    assert_eq!(reach(&mut group), [16; 2]);
    group.push(socket(3, group[0].socket.local().port()));
    let by_hash: usize = reach(&mut group).iter().sum();
    assert!((1..48).contains(&by_hash), "{by_hash} of 48 are right");
    ask(&mut group, 0, &[], now);
    assert_eq!(reach(&mut group), [16; 3]);
}

#[test]
fn where_one_does_not_answer_nobody_is_steered() {
    for silent in [3, 4, 5] {
        let mut group = group(&[3, 4, 5]);
        ask(&mut group, usize::from(silent == 3), &[silent], Instant::now());
        let by_hash: usize = reach(&mut group).iter().sum();
        assert!((1..48).contains(&by_hash), "{by_hash} of 48 are right");
    }
}

#[test]
fn long_headers_are_left_to_the_hash() {
    let mut group = group(&[3, 4]);
    ask(&mut group, 0, &[], Instant::now());
    let clients: Vec<UdpSocket> = (0..32).map(|_| UdpSocket::bind(at(0)).unwrap()).collect();
    for c in &clients {
        let mut d = datagram(3);
        d[0] = 0xc0;
        c.send_to(&d, group[0].socket.local()).unwrap();
    }
    assert!(received(&mut group, 32).iter().all(|got| !got.is_empty()));
}

#[test]
fn whom_the_clear_octet_does_not_tell_apart_is_left_to_the_hash() {
    assert_eq!(seats(&[Some(1), Some(33), Some(2), Some(1)]), [(2, 2)]);
}

#[test]
fn beyond_the_last_place_somebody_answers_twice() {
    assert_eq!(seats(&[Some(3), Some(4), Some(4), Some(4)]), [(3, 0), (4, 1)]);
    // A stranger is among them, or at the end, or there are more than were asked for.
    assert_eq!(seats(&[Some(3), None, Some(5), Some(3)]), []);
    assert_eq!(seats(&[Some(3), Some(4), None, None]), []);
    assert_eq!(seats(&[Some(3), Some(4)]), []);
    // Nobody to choose from.
    assert_eq!(seats(&[Some(3), Some(3)]), []);
}

#[test]
fn a_program_of_as_many_as_there_can_be_is_one_that_the_kernel_takes() {
    let heard: Vec<Option<u8>> = (0..32).chain([0]).map(Some).collect();
    let seats = seats(&heard);
    assert_eq!(seats.len(), 32);
    let mut p = program(&seats, Some([9; 8]));
    let port = socket(3, 0);
    port.socket.steer(&mut p).unwrap();
    port.socket.unsteer().unwrap();
}

#[test]
fn it_asks_when_many_have_gone_astray_and_seldom_again_while_that_does_not_help() {
    let (mut s, mut now) = (steering(3), Instant::now());
    (1..MANY).for_each(|_| s.astray());
    assert!(s.step(now).is_none());
    s.astray();
    let mut pauses = Vec::new();
    for _ in 0..5 {
        lost(&mut s);
        let began = now;
        let questions = asked(&mut s, now).unwrap();
        assert_eq!(questions.len(), PLACES);
        assert!(s.step(now + PATIENCE - Duration::from_nanos(1)).is_none());
        now += PATIENCE;
        assert!(matches!(s.step(now), Some(Step::Steer(_))));
        lost(&mut s);
        while s.again.is_some_and(|at| now < at) {
            assert!(s.step(now).is_none());
            now += Duration::from_millis(100);
        }
        pauses.push((now - began).as_millis());
    }
    assert_eq!(pauses, [1000, 2000, 4000, 8000, 8000]);
    // It has helped for a while.
    now += LONGEST;
    assert!(asked(&mut s, now).is_some());
    assert_eq!(s.pause, SHORTEST);
}

#[test]
fn who_is_asked_does_not_ask_at_the_same_time() {
    let (mut a, mut b, now) = (steering(3), steering(4), Instant::now());
    lost(&mut a);
    lost(&mut b);
    let q = asked(&mut a, now).unwrap()[1];
    assert!(matches!(b.hear(&q, false), Heard::Question(3, _)));
    assert!(b.step(now).is_none());
    lost(&mut b);
    assert!(b.step(now).is_some());
}

#[test]
fn only_who_knows_the_secret_is_heard_and_answers_by_the_hand_over_alone() {
    let (mut a, mut b, now) = (steering(3), steering(4), Instant::now());
    lost(&mut a);
    let q = asked(&mut a, now).unwrap()[1];
    let Heard::Question(3, answer) = b.hear(&q, false) else { panic!("not heard") };
    // Through the other way each.
    assert_eq!((b.hear(&q, true), a.hear(&answer, false)), (Heard::Nothing, Heard::Nothing));
    // Of another node, for another one, and of another time.
    assert_eq!(Steering::new(&[8; 16], 4, at(443)).hear(&q, false), Heard::Nothing);
    assert_eq!(b.hear(&answer, true), Heard::Nothing);
    let mut old = answer;
    old[4] ^= 1;
    assert_eq!(a.hear(&old, true), Heard::Nothing);
    // Any place but those that were asked for.
    let mut far = answer;
    far[2] = PLACES as u8;
    assert_eq!(a.hear(&far, true), Heard::Nothing);
    for length in 0..MESSAGE {
        assert_eq!(a.hear(&answer[..length], true), Heard::Nothing);
        assert!(!is_message(&answer[..length]));
    }
    for i in (0..2).chain(4..MESSAGE) {
        let mut bad = answer;
        bad[i] ^= 0x80;
        assert_eq!(a.hear(&bad, true), Heard::Nothing, "octet {i}");
    }
    assert_eq!(a.hear(&answer, true), Heard::Answer);
}

#[test]
fn questions_go_to_where_the_group_is_bound() {
    let to = |local: &str| Steering::new(&KEY, 3, local.parse().unwrap()).address().to_string();
    assert_eq!(to("0.0.0.0:443"), "127.0.0.1:443");
    assert_eq!(to("[::]:443"), "[::1]:443");
    assert_eq!(to("192.0.2.1:443"), "192.0.2.1:443");
}
