use super::*;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV6};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

/// What becomes of the message at this place of the call.
type Judge = Box<dyn FnMut(usize, &Part) -> Option<i32>>;

/// Errors that the real kernel cannot be made to give: it is asked only when this one has nothing to say.
#[derive(Default)]
pub(super) struct Kernel {
    /// Of the next receives, the last one first.
    pub(super) receiving: Vec<i32>,
    sending: Option<Judge>,
}

impl Kernel {
    /// As sendmmsg: what comes before a refused message is sent; a refused first one is the error.
    pub(super) fn before<'a>(&mut self, parts: &'a [Part]) -> Result<&'a [Part], i32> {
        let Some(judge) = &mut self.sending else { return Ok(parts) };
        for (i, part) in parts.iter().enumerate() {
            match judge(i, part) {
                Some(e) if i == 0 => return Err(e),
                Some(_) => return Ok(&parts[..i]),
                None => {}
            }
        }
        Ok(parts)
    }
}

impl Socket {
    /// The kernel takes so many messages, then its buffer is full once; then so many as the next number says, and at last all.
    pub fn full_after(&mut self, budgets: Vec<usize>) {
        self.kernel.sending = Some(full_after(budgets));
    }
}

fn options(host: &str) -> BindOptions {
    BindOptions { host: host.parse().unwrap(), port: 0, reuse_port: false, receive_buffer: 4 << 20, send_buffer: 0 }
}

fn bound(host: &str) -> Socket {
    Socket::bind(&options(host)).unwrap()
}

type Datagram = (Vec<u8>, SocketAddr, SocketAddr);

/// At least `n` datagrams, and everything that waits beside them.
fn drain(s: &mut Socket, inbox: &mut Inbox, n: usize) -> Vec<Datagram> {
    let mut all = Vec::new();
    for _ in 0..10_000 {
        let waiting = s.receive(inbox).unwrap();
        assert_eq!((waiting, waiting == 0), (inbox.len(), inbox.is_empty()));
        if waiting == 0 {
            if all.len() >= n {
                return all;
            }
            wait(s, all.len(), n);
        }
        for i in 0..waiting {
            let (bytes, from, to) = inbox.datagram(i);
            all.push((bytes.to_vec(), from, to));
        }
    }
    panic!("no end of datagrams");
}

/// Loopback mostly delivers before sendmmsg returns, but a busy kernel may do it later.
fn wait(s: &Socket, got: usize, wanted: usize) {
    s.socket.set_nonblocking(false).unwrap();
    s.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(s.socket.peek(&mut [0; 1]).is_ok(), "{got} datagrams instead of {wanted}");
    s.socket.set_nonblocking(true).unwrap();
}

fn received(s: &mut Socket, n: usize) -> Vec<Datagram> {
    drain(s, &mut Inbox::new(), n)
}

/// These arrive, in this order.
#[track_caller]
fn arrive(s: &mut Socket, want: &[Vec<u8>]) {
    same(&bytes(&received(s, want.len())), want);
}

fn bytes(all: &[Datagram]) -> Vec<Vec<u8>> {
    all.iter().map(|d| d.0.clone()).collect()
}

/// As `assert_eq`, with fewer words: all bytes are compared, lengths are shown.
#[track_caller]
fn same(got: &[Vec<u8>], want: &[Vec<u8>]) {
    let lengths = |all: &[Vec<u8>]| all.iter().map(Vec::len).collect::<Vec<_>>();
    assert!(got == want, "got {:?} instead of {:?}", lengths(got), lengths(want));
}

fn put(out: &mut Outbox, datagram: &[u8], from: SocketAddr, to: SocketAddr) {
    out.room().unwrap()[..datagram.len()].copy_from_slice(datagram);
    out.commit(datagram.len(), from, to);
}

fn put_all(out: &mut Outbox, datagrams: &[Vec<u8>], from: SocketAddr, to: SocketAddr) {
    for d in datagrams {
        put(out, d, from, to);
    }
}

/// Datagrams of these sizes, no two alike.
fn datagrams(sizes: &[usize]) -> Vec<Vec<u8>> {
    sizes.iter().enumerate().map(|(i, n)| (0..*n).map(|at| (i * 31 + at * 7) as u8).collect()).collect()
}

/// xorshift64: the same numbers each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    /// Runs and single ones, as an endpoint makes them.
    fn sizes(&mut self) -> Vec<usize> {
        let mut sizes = Vec::new();
        for _ in 0..1 + self.below(6) {
            let size = [0, 1, 2, 39, 1200, 1350, 1500, self.below(MAX_DATAGRAM + 1)][self.below(8)];
            let count = [1, 2, 63, 64, 65, 1 + self.below(140)][self.below(6)];
            sizes.extend(std::iter::repeat_n(size, count));
            if self.below(2) == 0 {
                sizes.push(self.below(size + 1));
            }
        }
        sizes
    }
}

fn parts_of(out: &Outbox, gso: bool) -> Vec<(usize, usize)> {
    let mut parts = [Part::default(); MAX_MESSAGES];
    let n = out.parts(gso, &mut parts);
    parts[..n].iter().map(|p| (p.length, usize::from(p.segment))).collect()
}

#[test]
fn a_socket_is_what_was_asked() {
    for host in LOOPBACK {
        let s = bound(host);
        assert_eq!(s.local().ip(), host.parse::<IpAddr>().unwrap());
        assert_ne!(s.local().port(), 0);
        let v6 = s.local().is_ipv6();
        let is = |level, name| option::<1>(&s.socket, level, name).unwrap()[0];
        if v6 {
            assert_eq!(is(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY), 1);
            assert_eq!(is(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER), libc::IPV6_PMTUDISC_PROBE as u32);
        } else {
            assert_eq!(is(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER), libc::IP_PMTUDISC_PROBE as u32);
        }
        assert_eq!(is(libc::SOL_UDP, libc::UDP_GRO), 1);
        let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", s.fd())).unwrap();
        let flags = flags.lines().find_map(|l| l.strip_prefix("flags:")).unwrap();
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
        assert_eq!(flags & libc::O_NONBLOCK, libc::O_NONBLOCK);
        assert_eq!(flags & libc::O_CLOEXEC, libc::O_CLOEXEC);
    }
}

/// Pages of `memory` that are there (proc_pid_pagemap(5)).
fn touched(memory: &Pages, page: usize) -> usize {
    let first = (memory.as_ptr() as usize / page) as u64;
    let mut map = vec![0; memory.len() / page * 8];
    std::fs::File::open("/proc/self/pagemap").unwrap().read_exact_at(&mut map, first * 8).unwrap();
    map.chunks_exact(8).filter(|entry| entry[7] >> 6 != 0).count()
}

#[test]
fn buffers_cost_what_they_hold() {
    let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
    let (mut out, mut inbox) = (Outbox::new(1 << 20), Inbox::new());
    let page = Command::new("getconf").arg("PAGESIZE").output().unwrap().stdout;
    let page: usize = String::from_utf8_lossy(&page).trim().parse().unwrap();
    assert_eq!((touched(&out.arena, page), touched(&inbox.memory, page)), (0, 0));
    put(&mut out, &[7; 1200], a.local(), b.local());
    assert!(a.send(&mut out).unwrap());
    wait(&b, 0, 1);
    assert_eq!(b.receive(&mut inbox).unwrap(), 1);
    assert_eq!((touched(&out.arena, page), touched(&inbox.memory, page)), (1, 1));
    inbox.memory.fill(1);
    assert_eq!(touched(&inbox.memory, page), 32 * 65_536 / page);
}

#[test]
fn buffers_are_given_back() {
    let mapped = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmSize:")).unwrap();
        line.trim_end_matches("kB").trim().parse::<usize>().unwrap() >> 10
    };
    let before = mapped();
    for _ in 0..1000 {
        drop(Pages::new(64 << 20));
    }
    // In MiB, of 64,000; the rest is what other tests do meanwhile.
    assert!(mapped() < before + 8000);
}

#[test]
fn nothing_waits() {
    for host in LOOPBACK {
        let mut inbox = Inbox::default();
        assert_eq!(bound(host).receive(&mut inbox).unwrap(), 0);
        assert!(inbox.is_empty());
    }
}

#[test]
fn a_datagram_goes_there_and_back() {
    for host in LOOPBACK {
        let (mut a, mut b) = (bound(host), bound(host));
        let mut out = Outbox::new(10_000);
        put(&mut out, b"there", a.local(), b.local());
        assert!(a.send(&mut out).unwrap());
        assert_eq!(received(&mut b, 1), [(b"there".to_vec(), a.local(), b.local())]);
        put(&mut out, b"back", b.local(), a.local());
        assert!(b.send(&mut out).unwrap());
        assert_eq!(received(&mut a, 1), [(b"back".to_vec(), b.local(), a.local())]);
        assert_eq!((out.sent(), out.refused(), out.is_empty()), ((2, 9), 0, true));
    }
}

#[test]
fn all_sizes_arrive_joined_or_single_in_their_order() {
    for host in LOOPBACK {
        let mut dice = Dice(0x5eed);
        let (mut a, mut b, mut c) = (bound(host), bound(host), bound(host));
        assert!(a.gso());
        let mut out = Outbox::new(1 << 20);
        let mut inbox = Inbox::new();
        let (mut count, mut total) = (0, 0);
        for round in 0..150 {
            let sizes = dice.sizes();
            let all = datagrams(&sizes);
            // Every third round is not joined; others change between two peers.
            a.gso = round % 3 != 0;
            let other = dice.below(5);
            let (mut to_b, mut to_c) = (Vec::new(), Vec::new());
            for (i, d) in all.iter().enumerate() {
                let (target, list) = if i % 5 < other { (c.local(), &mut to_c) } else { (b.local(), &mut to_b) };
                put(&mut out, d, a.local(), target);
                list.push(d.clone());
            }
            assert!(a.send(&mut out).unwrap());
            count += sizes.len() as u64;
            total += sizes.iter().sum::<usize>() as u64;
            assert_eq!(out.sent(), (count, total));
            for (s, sent) in [(&mut b, to_b), (&mut c, to_c)] {
                let to = s.local();
                let got = drain(s, &mut inbox, sent.len());
                assert!(bytes(&got) == sent, "round {round}: {sizes:?}");
                assert!(got.iter().all(|d| d.1 == a.local() && d.2 == to));
                assert_eq!(s.kernel_drops(), 0);
            }
        }
        assert_eq!((inbox.truncated(), out.refused()), (0, 0));
    }
}

#[test]
fn joined_datagrams_arrive_in_one_message() {
    for host in LOOPBACK {
        let (mut a, b) = (bound(host), bound(host));
        let mut out = Outbox::new(100_000);
        put_all(&mut out, &datagrams(&[1200; 40]), a.local(), b.local());
        assert!(a.send(&mut out).unwrap());
        let mut inbox = Inbox::new();
        wait(&b, 0, 1);
        assert_eq!(inbox.fill(b.fd()), Ok(1));
        inbox.take_apart(1, b.local());
        assert_eq!(inbox.len(), 40);
    }
}

#[test]
fn a_batch_is_thirty_two_messages() {
    let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
    a.gso = false;
    let mut out = Outbox::new(100_000);
    let all = datagrams(&[100; 70]);
    put_all(&mut out, &all, a.local(), b.local());
    assert!(a.send(&mut out).unwrap());
    let mut inbox = Inbox::new();
    for n in [32, 32, 6, 0] {
        assert_eq!((b.receive(&mut inbox).unwrap(), inbox.is_full()), (n, n == 32));
    }
    for d in &all {
        put(&mut out, d, a.local(), b.local());
    }
    assert!(a.send(&mut out).unwrap());
    arrive(&mut b, &all);
}

#[test]
fn a_borrowed_datagram_can_be_written() {
    let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
    let mut out = Outbox::new(10_000);
    put_all(&mut out, &datagrams(&[3, 3, 2]), a.local(), b.local());
    assert!(a.send(&mut out).unwrap());
    let mut inbox = Inbox::new();
    wait(&b, 0, 1);
    assert_eq!(b.receive(&mut inbox).unwrap(), 3);
    inbox.datagram(1).0.fill(9);
    let all: Vec<Vec<u8>> = (0..3).map(|i| inbox.datagram(i).0.to_vec()).collect();
    assert_eq!(all, [datagrams(&[3, 3, 2])[0].clone(), vec![9; 3], datagrams(&[3, 3, 2])[2].clone()]);
}

#[test]
fn empty_datagrams_are_datagrams() {
    for host in LOOPBACK {
        let (mut a, mut b) = (bound(host), bound(host));
        let mut out = Outbox::new(10_000);
        let all = datagrams(&[0, 0, 5, 0, 5, 5, 0]);
        put_all(&mut out, &all, a.local(), b.local());
        assert!(!out.is_empty());
        assert!(a.send(&mut out).unwrap());
        assert_eq!(out.sent(), (7, 15));
        arrive(&mut b, &all);
    }
}

#[test]
fn runs_are_cut_where_they_must_be() {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let cut = |sizes: &[usize]| {
        let mut out = Outbox::new(1 << 20);
        put_all(&mut out, &datagrams(sizes), address(1), address(2));
        parts_of(&out, true)
    };
    assert_eq!(cut(&[1200]), [(1200, 0)]);
    assert_eq!(cut(&[1200; 3]), [(3600, 1200)]);
    assert_eq!(cut(&[1200, 1200, 7]), [(2407, 1200)]);
    // A shorter one closes, even for one of its own size, a longer one begins anew.
    assert_eq!(cut(&[1200, 7, 7]), [(1207, 1200), (7, 0)]);
    assert_eq!(cut(&[7, 1200, 1200]), [(7, 0), (2400, 1200)]);
    assert_eq!(cut(&[0, 0]), [(0, 0), (0, 0)]);
    assert_eq!(cut(&[7, 0, 7]), [(7, 0), (0, 0), (7, 0)]);
    // 64 datagrams, 65,000 bytes.
    assert_eq!(cut(&[100; 130]), [(6400, 100), (6400, 100), (200, 100)]);
    assert_eq!(cut(&[1500; 44]), [(64_500, 1500), (1500, 0)]);
    assert_eq!(cut(&[1000; 66]), [(64_000, 1000), (2000, 1000)]);
    // The size of segments has 16 bits.
    assert_eq!(cut(&[32_500; 3]), [(65_000, 32_500), (32_500, 0)]);
    assert_eq!(cut(&[65_000, 1]), [(65_000, 0), (1, 0)]);
    assert_eq!(cut(&[66_000, 10]), [(66_000, 0), (10, 0)]);

    let mut out = Outbox::new(10_000);
    for (from, to) in [(1, 2), (1, 2), (1, 3), (2, 3), (1, 2)] {
        put(&mut out, &[0; 10], address(from), address(to));
    }
    assert_eq!(parts_of(&out, true), [(20, 10), (10, 0), (10, 0), (10, 0)]);
    assert_eq!(parts_of(&out, false), [(10, 0); 5]);
}

#[test]
fn one_call_sends_sixty_four_messages() {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut out = Outbox::new(1 << 20);
    for i in 0..200 {
        put(&mut out, &[0; 10], address(1), address(2 + i / 2 % 2));
    }
    assert_eq!(parts_of(&out, true), [(20, 10); 64]);
    assert_eq!(parts_of(&out, false), [(10, 0); 64]);
}

#[test]
fn a_full_outbox_gives_no_room() {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let mut out = Outbox::new(4000);
    put(&mut out, &[0; 1500], to, to);
    put(&mut out, &[0; 1000], to, to);
    assert_eq!(out.room().map(|r| r.len()), Some(1500));
    put(&mut out, &[0; 1], to, to);
    assert!(out.room().is_none());

    let mut out = Outbox::new(1);
    assert_eq!(out.room().map(|r| r.len()), Some(MAX_DATAGRAM));

    // Empty ones take no bytes, and are bounded all the same.
    let mut out = Outbox::new(4000);
    let mut taken = 0;
    while out.room().is_some() && taken < 5000 {
        out.commit(0, to, to);
        taken += 1;
    }
    assert_eq!(taken, 1024);
}

#[test]
fn a_commit_cannot_claim_more_than_the_room() {
    let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
    let mut out = Outbox::new(2000);
    out.room().unwrap().fill(1);
    out.commit(usize::MAX, a.local(), b.local());
    assert!(a.send(&mut out).unwrap());
    arrive(&mut b, &[vec![1; 2000]]);
}

/// The kernel takes `budget` messages, then its buffer is full.
fn full_after(budgets: Vec<usize>) -> Judge {
    let mut budgets = budgets.into_iter();
    let mut left = budgets.next().unwrap_or(0);
    Box::new(move |i, _| {
        if left == 0 {
            // Refused in the middle of a call, it will be asked again.
            left = if i == 0 { budgets.next().unwrap_or(usize::MAX) } else { 0 };
            return Some(libc::EAGAIN);
        }
        left -= 1;
        None
    })
}

#[test]
fn what_is_blocked_is_kept_and_resumed() {
    let mut dice = Dice(77);
    for round in 0..60 {
        let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
        a.gso = round % 2 == 0;
        a.full_after((0..40).map(|_| dice.below(90)).collect());
        // Small enough that what waits must be moved to make room.
        let mut out = Outbox::new(150_000);
        let (mut want, mut got) = (Vec::new(), Vec::new());
        let mut inbox = Inbox::new();
        let mut blocked = 0;
        for n in 0..3000 {
            let d = vec![n as u8; [1200, 1200, 1200, 700, 0, 40][dice.below(6)]];
            while out.room().is_none() {
                blocked += usize::from(!a.send(&mut out).unwrap());
                got.extend(bytes(&drain(&mut b, &mut inbox, 0)));
            }
            put(&mut out, &d, a.local(), b.local());
            want.push(d);
        }
        while !a.send(&mut out).unwrap() {
            assert!(!out.is_empty());
            blocked += 1;
        }
        got.extend(bytes(&drain(&mut b, &mut inbox, want.len() - got.len())));
        assert!(blocked > 0, "round {round}");
        assert_eq!((b.kernel_drops(), got.len()), (0, want.len()), "round {round}");
        same(&got, &want);
        assert_eq!((out.sent().0, out.refused(), out.is_empty()), (3000, 0, true));
    }
}

#[test]
fn what_has_left_makes_room() {
    let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
    let mut out = Outbox::new(10_000);
    let all = datagrams(&[1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008]);
    put_all(&mut out, &all, a.local(), b.local());
    assert!(out.room().is_none());
    a.kernel.sending = Some(full_after(vec![4, 2]));
    assert!(!a.send(&mut out).unwrap());
    assert!(out.room().is_none(), "less than half has left");
    assert!(!a.send(&mut out).unwrap());
    assert_eq!(out.room().map(|r| r.len()), Some(10_000 - 1006 - 1007 - 1008));
    put_all(&mut out, &all[..2], a.local(), b.local());
    assert!(a.send(&mut out).unwrap());
    assert_eq!(out.room().map(|r| r.len()), Some(10_000));
    arrive(&mut b, &[&all[..], &all[..2]].concat());

    // Runs are reclaimed as bytes are.
    let mut count = 0;
    while out.room().is_some() && count < 5000 {
        out.commit(0, a.local(), b.local());
        count += 1;
    }
    a.kernel.sending = Some(full_after(vec![511, 1]));
    assert!(!a.send(&mut out).unwrap());
    assert!(out.room().is_none());
    assert!(!a.send(&mut out).unwrap());
    assert!(out.room().is_some());
    assert!(a.send(&mut out).unwrap());
    assert_eq!(out.sent().0, 11 + 1024);
}

#[test]
fn gso_that_a_device_refuses_is_given_up() {
    for errno in [libc::EIO, libc::EINVAL, libc::EOPNOTSUPP, libc::ENOTSUP] {
        let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
        a.kernel.sending = Some(Box::new(move |_, p| p.joined().then_some(errno)));
        let mut out = Outbox::new(1 << 20);
        let all = datagrams(&[40, 1200, 1200, 1200, 1200, 7, 1350, 1350, 0, 1350]);
        put_all(&mut out, &all, a.local(), b.local());
        assert!(a.gso());
        assert!(a.send(&mut out).unwrap());
        assert!(!a.gso());
        arrive(&mut b, &all);
        assert_eq!((out.sent().0, out.refused()), (10, 0));
        a.kernel.sending = Some(Box::new(|_, p| p.joined().then(|| panic!("joined again"))));
        put_all(&mut out, &all, a.local(), b.local());
        assert!(a.send(&mut out).unwrap());
        arrive(&mut b, &all);
    }
}

#[test]
fn a_refusal_that_is_not_about_gso_does_not_switch_it_off() {
    // The path's MTU, or a source address that is gone: the single datagrams are refused as well.
    for (joined, single) in [(libc::EINVAL, libc::EMSGSIZE), (libc::EINVAL, libc::EINVAL), (libc::EMSGSIZE, libc::EMSGSIZE)] {
        let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
        let mut out = Outbox::new(1 << 20);
        a.kernel.sending = Some(Box::new(move |_, p| match (p.joined(), p.length) {
            (true, _) if usize::from(p.segment) > 1300 => Some(joined),
            (false, 1301..) => Some(single),
            _ => None,
        }));
        put_all(&mut out, &datagrams(&[1200, 1200, 1350, 1350, 1350, 900, 1200, 1200]), a.local(), b.local());
        assert!(a.send(&mut out).unwrap());
        assert!(a.gso());
        let lengths: Vec<usize> = received(&mut b, 5).iter().map(|d| d.0.len()).collect();
        assert_eq!(lengths, [1200, 1200, 900, 1200, 1200]);
        assert_eq!((out.sent(), out.refused()), ((5, 5700), 3));
        put_all(&mut out, &datagrams(&[1200, 1200]), a.local(), b.local());
        assert_eq!(parts_of(&out, a.gso()), [(2400, 1200)]);
    }
}

#[test]
fn an_mtu_that_shrinks_and_grows_again_is_not_about_gso() {
    let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
    a.kernel.sending = Some(Box::new(|_, p| p.joined().then_some(libc::EMSGSIZE)));
    let mut out = Outbox::new(10_000);
    let all = datagrams(&[1200; 4]);
    put_all(&mut out, &all, a.local(), b.local());
    assert!(a.send(&mut out).unwrap());
    arrive(&mut b, &all);
    assert_eq!((a.gso(), out.refused()), (true, 0));
}

#[test]
fn a_doubt_survives_a_full_buffer() {
    let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
    let mut blocks = 1;
    a.kernel.sending = Some(Box::new(move |_, p| {
        if p.joined() {
            return Some(libc::EIO);
        }
        (std::mem::take(&mut blocks) == 1).then_some(libc::EAGAIN)
    }));
    let mut out = Outbox::new(10_000);
    let all = datagrams(&[1200; 4]);
    put_all(&mut out, &all, a.local(), b.local());
    assert!(!a.send(&mut out).unwrap());
    assert!(a.gso());
    put(&mut out, &all[0], a.local(), b.local());
    assert!(a.send(&mut out).unwrap());
    assert!(!a.gso());
    arrive(&mut b, &[&all[..], &all[..1]].concat());
}

#[test]
fn a_probe_larger_than_the_device_is_lost_alone() {
    for gso in [true, false] {
        let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
        a.gso = gso;
        a.kernel.sending = Some(Box::new(|_, p| (p.length == 1472 || p.segment == 1472).then_some(libc::EMSGSIZE)));
        let mut out = Outbox::new(10_000);
        let all = datagrams(&[1200, 1200, 1472, 1200, 40]);
        put_all(&mut out, &all, a.local(), b.local());
        assert!(a.send(&mut out).unwrap());
        arrive(&mut b, &[&all[..2], &all[3..]].concat());
        assert_eq!((a.gso(), out.sent().0, out.refused()), (gso, 4, 1));
    }
}

#[test]
fn one_peers_error_is_not_the_others() {
    let lost = [
        libc::ECONNREFUSED,
        libc::ENETUNREACH,
        libc::EHOSTUNREACH,
        libc::EPERM,
        libc::EACCES,
        libc::EADDRNOTAVAIL,
        libc::EINVAL,
        libc::ENOBUFS,
        libc::ENODEV,
    ];
    for errno in lost {
        let (mut a, mut b, mut c) = (bound("127.0.0.1"), bound("127.0.0.1"), bound("127.0.0.1"));
        a.kernel.sending = Some(Box::new(move |_, p| (p.length % 10 == 3).then_some(errno)));
        let mut out = Outbox::new(100_000);
        let all = datagrams(&[100, 100, 40]);
        for _ in 0..30 {
            put_all(&mut out, &all, a.local(), b.local());
            put(&mut out, &[0; 33], a.local(), c.local());
        }
        assert!(a.send(&mut out).unwrap());
        assert_eq!(received(&mut b, 90).len(), 90);
        assert_eq!(received(&mut c, 0).len(), 0);
        assert_eq!((a.gso(), out.sent(), out.refused()), (true, (90, 7200), 30));
    }
}

#[test]
fn the_kernels_own_refusals_are_passed_over() {
    let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
    let mut out = Outbox::new(10_000);
    // Another family, no port, no permission to broadcast.
    for nobody in ["[::1]:9", "127.0.0.1:0", "255.255.255.255:9"] {
        put(&mut out, b"lost", a.local(), nobody.parse().unwrap());
        put(&mut out, b"lost", a.local(), nobody.parse().unwrap());
        put(&mut out, b"found", a.local(), b.local());
    }
    assert!(a.send(&mut out).unwrap());
    assert_eq!(received(&mut b, 3).len(), 3);
    assert_eq!((a.gso(), out.sent(), out.refused()), (true, (3, 15), 6));
}

#[test]
fn a_source_address_that_is_gone_does_not_switch_gso_off() {
    let (mut a, mut b) = (bound("0.0.0.0"), bound("127.0.0.1"));
    let mut out = Outbox::new(10_000);
    let gone = SocketAddr::from(([192, 0, 2, 77], a.local().port()));
    put_all(&mut out, &datagrams(&[100; 3]), gone, b.local());
    put_all(&mut out, &datagrams(&[100; 3]), SocketAddr::from(([127, 0, 0, 1], 0)), b.local());
    assert!(a.send(&mut out).unwrap());
    assert_eq!(received(&mut b, 3).len(), 3);
    assert_eq!((a.gso(), out.sent().0, out.refused()), (true, 3, 3));
}

#[test]
fn the_sockets_own_errors_are_errors() {
    for errno in [libc::EBADF, libc::ENOTSOCK, libc::ENOSYS] {
        let (mut a, b) = (bound("127.0.0.1"), bound("127.0.0.1"));
        let mut out = Outbox::new(10_000);
        put(&mut out, b"kept", a.local(), b.local());
        a.kernel.sending = Some(Box::new(move |_, _| Some(errno)));
        assert_eq!(a.send(&mut out).unwrap_err().raw_os_error(), Some(errno));
        assert!(!out.is_empty());
        a.kernel.receiving.push(errno);
        assert_eq!(a.receive(&mut Inbox::new()).unwrap_err().raw_os_error(), Some(errno));
    }
}

#[test]
fn signals_are_passed_over_so_many_times() {
    let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
    let mut out = Outbox::new(10_000);
    put(&mut out, b"kept", a.local(), b.local());
    let (mut left, calls) = (ATTEMPTS, std::rc::Rc::new(Cell::new(0)));
    a.kernel.sending = Some(Box::new(move |_, _| {
        left = left.wrapping_sub(1);
        (left < ATTEMPTS).then_some(libc::EINTR)
    }));
    assert!(a.send(&mut out).unwrap());
    let counting = calls.clone();
    a.kernel.sending = Some(Box::new(move |_, _| {
        counting.set(counting.get() + 1);
        Some(libc::EINTR)
    }));
    put(&mut out, b"kept", a.local(), b.local());
    assert!(!a.send(&mut out).unwrap());
    assert_eq!((calls.get(), out.is_empty()), (ATTEMPTS + 1, false));
    // One that leaves begins the count anew.
    let mut turn = 0;
    a.kernel.sending = Some(Box::new(move |_, _| {
        turn += 1;
        (turn % ATTEMPTS != 0).then_some(libc::EINTR)
    }));
    put(&mut out, b"longer", a.local(), b.local());
    assert!(a.send(&mut out).unwrap());
    let mut inbox = Inbox::new();
    b.kernel.receiving = vec![libc::EINTR; ATTEMPTS];
    assert_eq!(b.receive(&mut inbox).unwrap(), 0);
    assert_eq!(b.receive(&mut inbox).unwrap(), 3);
}

#[test]
fn icmp_of_a_peer_is_no_error() {
    for host in LOOPBACK {
        let (mut a, mut b) = (bound(host), bound(host));
        // Connected to another: whoever else writes to this port hears that nobody is there.
        let holder = UdpSocket::bind((host, 0)).unwrap();
        holder.connect(b.local()).unwrap();
        let closed = holder.local_addr().unwrap();
        let mut out = Outbox::new(10_000);
        for _ in 0..3 {
            put(&mut out, b"nobody", a.local(), closed);
            assert!(a.send(&mut out).unwrap());
            assert_eq!(received(&mut a, 0), []);
        }
        put(&mut out, b"somebody", b.local(), a.local());
        assert!(b.send(&mut out).unwrap());
        a.kernel.receiving = vec![libc::EPROTO, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::ECONNREFUSED];
        let mut inbox = Inbox::new();
        wait(&a, 0, 1);
        assert_eq!(a.receive(&mut inbox).unwrap(), 1);
    }
}

/// Asks a wildcard socket at `host` and wants the answer from there.
fn asked_at(server: &mut Socket, host: &str, gso: bool) {
    let client_host = if host.contains(':') { "::1" } else { "127.0.0.1" };
    let mut client = bound(client_host);
    let asked = SocketAddr::new(host.parse().unwrap(), server.local().port());
    let mut out = Outbox::new(100_000);
    let all = datagrams(&[500, 500, 500, 20]);
    put_all(&mut out, &all, client.local(), asked);
    client.gso = gso;
    assert!(client.send(&mut out).unwrap());
    let got = received(server, all.len());
    same(&bytes(&got), &all);
    for (_, from, to) in &got {
        assert_eq!((*from, *to), (client.local(), asked));
    }
    server.gso = gso;
    for (d, from, to) in &got {
        put(&mut out, d, *to, *from);
    }
    assert!(server.send(&mut out).unwrap());
    let got = received(&mut client, all.len());
    same(&bytes(&got), &all);
    for (_, from, to) in &got {
        assert_eq!((*from, *to), (asked, client.local()));
    }
    assert_eq!(out.refused(), 0);
}

#[test]
fn a_wildcard_socket_answers_from_the_address_that_was_asked() {
    let mut v4 = bound("0.0.0.0");
    for gso in [true, false] {
        for host in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
            asked_at(&mut v4, host, gso);
        }
        asked_at(&mut bound("::"), "::1", gso);
    }
}

#[test]
fn a_wildcard_socket_hears_no_group_and_answers_broadcasts_from_an_address_of_its_own() {
    let mut s = bound("0.0.0.0");
    assert_eq!(option::<1>(&s.socket, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL).unwrap(), [0]);
    assert_eq!(option::<1>(&bound("::").socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL).unwrap(), [0]);
    let caller = UdpSocket::bind("127.0.0.1:0").unwrap();
    caller.set_broadcast(true).unwrap();
    caller.send_to(b"anybody", ("127.255.255.255", s.local().port())).unwrap();
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, s.local().port()));
    assert_eq!(received(&mut s, 1), [(b"anybody".to_vec(), caller.local_addr().unwrap(), here)]);
}

#[test]
fn an_unspecified_source_is_the_kernels_choice() {
    for (host, loopback) in [("0.0.0.0", "127.0.0.1"), ("::", "::1")] {
        let (mut a, mut b) = (bound(host), bound(loopback));
        let mut out = Outbox::new(10_000);
        put(&mut out, b"hello", a.local(), b.local());
        assert!(a.send(&mut out).unwrap());
        let from = SocketAddr::new(loopback.parse().unwrap(), a.local().port());
        assert_eq!(received(&mut b, 1), [(b"hello".to_vec(), from, b.local())]);
    }
}

#[test]
fn ipv6_sockets_leave_ipv4_alone() {
    // Somebody else may have that port.
    let both = (0..16).any(|_| {
        let v6 = bound("::");
        Socket::bind(&BindOptions { port: v6.local().port(), ..options("0.0.0.0") }).is_ok_and(|v4| v4.local().port() == v6.local().port())
    });
    assert!(both);
}

#[test]
fn buffers_are_read_back_in_the_unit_in_which_they_were_asked() {
    let limit: usize = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    for bytes in [8192, 65_536, limit] {
        assert_eq!(Socket::bind(&BindOptions { receive_buffer: bytes, ..options("127.0.0.1") }).unwrap().receive_buffer(), bytes);
    }
    for bytes in [limit + 1, usize::MAX] {
        let o = BindOptions { receive_buffer: bytes, send_buffer: bytes, ..options("::1") };
        assert_eq!(Socket::bind(&o).unwrap().receive_buffer(), limit);
    }
    let s = Socket::bind(&BindOptions { send_buffer: 65_536, receive_buffer: 0, ..options("127.0.0.1") }).unwrap();
    assert_eq!(option::<1>(&s.socket, libc::SOL_SOCKET, libc::SO_SNDBUF).unwrap()[0], 2 * 65_536);
    let usual: usize = std::fs::read_to_string("/proc/sys/net/core/rmem_default").unwrap().trim().parse().unwrap();
    assert_eq!(s.receive_buffer(), usual / 2);
}

#[test]
fn a_port_is_shared_only_when_all_ask_for_it() {
    for host in LOOPBACK {
        let first = Socket::bind(&BindOptions { reuse_port: true, ..options(host) }).unwrap();
        let port = first.local().port();
        let second = Socket::bind(&BindOptions { reuse_port: true, port, ..options(host) }).unwrap();
        assert_eq!(second.local(), first.local());
        let e = Socket::bind(&BindOptions { port, ..options(host) }).err().unwrap();
        assert_eq!(e.raw_os_error(), Some(libc::EADDRINUSE));
    }
    let e = Socket::bind(&options("192.0.2.77")).err().unwrap();
    assert_eq!(e.raw_os_error(), Some(libc::EADDRNOTAVAIL));
}

#[test]
fn what_a_full_buffer_drops_is_counted() {
    let mut a = bound("127.0.0.1");
    let mut b = Socket::bind(&BindOptions { receive_buffer: 4096, ..options("127.0.0.1") }).unwrap();
    a.gso = false;
    assert_eq!(b.kernel_drops(), 0);
    let mut out = Outbox::new(1 << 20);
    put_all(&mut out, &datagrams(&[1200; 100]), a.local(), b.local());
    assert!(a.send(&mut out).unwrap());
    let mut got = 0;
    for _ in 0..10_000 {
        got += received(&mut b, 0).len() as u64;
        if got + b.kernel_drops() == 100 {
            break;
        }
    }
    assert!((1..100).contains(&got));
    assert_eq!((b.kernel_drops(), b.kernel_drops()), (100 - got, 100 - got));
    // The kernel's 32 bits have begun anew.
    b.drops.set((5 << 32) - 1);
    assert_eq!(b.kernel_drops(), (5 << 32) + 100 - got);
}

#[test]
fn what_does_not_fit_a_slot_is_left_out_and_counted() {
    let (mut a, mut b) = (bound("127.0.0.1"), bound("127.0.0.1"));
    let mut out = Outbox::new(10_000);
    let all = datagrams(&[100, 400, 101, 256]);
    put_all(&mut out, &all, a.local(), b.local());
    a.gso = false;
    assert!(a.send(&mut out).unwrap());
    let mut inbox = Inbox::with_slots(256);
    same(&bytes(&drain(&mut b, &mut inbox, 3)), &[&all[..1], &all[2..]].concat());
    assert_eq!(inbox.truncated(), 1);
}

/// Runs the test of this name again in a network of its own, after `setup`. Where such a network cannot be made it says so.
fn in_namespace(test: &str, setup: &str) -> bool {
    const MARK: &str = "SPOOKY_TEST_NAMESPACE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let network = format!("ip link set lo up && {setup}");
    let unshare = |script: &str| {
        Command::new("unshare").args(["-n", "sh", "-c", script]).arg(std::env::current_exe().unwrap()).env(MARK, "1").output()
    };
    if !unshare(&network).is_ok_and(|o| o.status.success()) {
        // Past the harness, which shows nothing of tests that pass.
        let _ = writeln!(io::stderr(), "notice: {test} was not run: it needs unshare -n, and in there: {network}");
        return false;
    }
    let output = unshare(&format!("{network} && exec \"$0\" --exact socket::tests::{test} --test-threads 1")).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    false
}

#[test]
fn a_slow_device_blocks_and_nothing_is_lost() {
    if !in_namespace("a_slow_device_blocks_and_nothing_is_lost", "tc qdisc add dev lo root tbf rate 1mbit burst 3000 limit 10000000") {
        return;
    }
    for (host, gso) in [("127.0.0.1", true), ("127.0.0.1", false), ("::1", true), ("::1", false)] {
        let mut a = Socket::bind(&BindOptions { send_buffer: 4096, ..options(host) }).unwrap();
        a.gso = gso;
        let b = UdpSocket::bind((host, 0)).unwrap();
        b.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let all = datagrams(&[[1200; 20], [300; 20]].concat());
        let mut got = Vec::new();
        let mut next = |n: usize| {
            for _ in 0..n {
                let mut bytes = [0; 2000];
                let n = b.recv(&mut bytes).unwrap();
                got.push(bytes[..n].to_vec());
            }
        };
        let mut out = Outbox::new(1 << 20);
        put_all(&mut out, &all, a.local(), b.local_addr().unwrap());
        let mut blocked = 0;
        while !a.send(&mut out).unwrap() {
            blocked += 1;
            // One arrives: there is more room for others.
            next(1);
        }
        next(all.len() - blocked);
        assert!(blocked > 0);
        same(&got, &all);
        assert_eq!((a.gso(), out.sent().0, out.refused()), (gso, 40, 0));
    }
}

#[test]
fn small_devices_lose_the_large_ones_alone() {
    if !in_namespace("small_devices_lose_the_large_ones_alone", "ip link set lo mtu 1400") {
        return;
    }
    for (host, headers) in [("127.0.0.1", 28), ("::1", 48)] {
        let (mut a, mut b) = (bound(host), bound(host));
        let mut out = Outbox::new(1 << 20);
        let fits = 1400 - headers;
        let sizes = [1200, 1200, fits + 1, 1200, fits, fits, fits + 1, fits + 1, fits + 1, 7, 1500, 40];
        let small: Vec<Vec<u8>> = datagrams(&sizes).into_iter().filter(|d| d.len() <= fits).collect();
        put_all(&mut out, &datagrams(&sizes), a.local(), b.local());
        assert!(a.send(&mut out).unwrap());
        arrive(&mut b, &small);
        assert_eq!((a.gso(), out.sent().0, out.refused()), (true, 7, 5));
    }
}

#[test]
fn two_ipv6_addresses_answer_for_themselves() {
    // The kernel makes their routes a little later.
    let setup = "ip -6 addr add 2001:db8::2/128 dev lo nodad && ip -6 addr add fe80::7/64 dev lo nodad && \
        routes() { ip -6 route show table local | grep -c -e 2001:db8::2 -e fe80::7; } && \
        for i in $(seq 1000); do test \"$(routes)\" = 2 && break; done && test \"$(routes)\" = 2";
    if !in_namespace("two_ipv6_addresses_answer_for_themselves", setup) {
        return;
    }
    let mut server = bound("::");
    for gso in [true, false] {
        asked_at(&mut server, "::1", gso);
        asked_at(&mut server, "2001:db8::2", gso);
    }
    // Link-local on both sides: the answer needs the link.
    let mut client = bound("::");
    let link = |port| SocketAddr::from(SocketAddrV6::new("fe80::7".parse().unwrap(), port, 0, 1));
    let (here, there) = (link(client.local().port()), link(server.local().port()));
    let mut out = Outbox::new(10_000);
    put(&mut out, b"there", here, there);
    assert!(client.send(&mut out).unwrap());
    assert_eq!((received(&mut server, 1), out.refused()), (vec![(b"there".to_vec(), here, there)], 0));
    put(&mut out, b"back", there, here);
    assert!(server.send(&mut out).unwrap());
    assert_eq!((received(&mut client, 1), out.refused()), (vec![(b"back".to_vec(), there, here)], 0));
}
