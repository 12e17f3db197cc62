use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

type Datagram = (Vec<u8>, SocketAddr, SocketAddr);

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("spooky-handover-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn options(&self) -> HandoverOptions {
        HandoverOptions { folder: self.0.clone(), name: "00112233445566ff".into() }
    }

    fn open(&self, worker: u8) -> Handover {
        Handover::open(&self.options(), worker).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ends() -> (SocketAddr, SocketAddr) {
    ("192.0.2.1:1000".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap())
}

/// What a message says, and whether it was whole.
fn read(message: &mut [u8]) -> (Vec<Datagram>, bool) {
    let mut out = Vec::new();
    let Some(mut rest) = entries(message) else { return (out, false) };
    while let Some((datagram, from, to)) = next(&mut rest) {
        out.push((datagram.to_vec(), from, to));
    }
    (out, rest.is_empty())
}

/// Everything that waits.
fn drain(h: &Handover) -> Vec<Vec<Datagram>> {
    let mut memory = vec![0; MESSAGE];
    let mut out = Vec::new();
    while let Some(n) = h.receive(&mut memory).unwrap() {
        let (datagrams, whole) = read(&mut memory[..n]);
        assert!(whole);
        out.push(datagrams);
    }
    out
}

fn send(h: &mut Handover) -> Vec<Datagram> {
    send_at(h, Instant::now())
}

fn send_at(h: &mut Handover, now: Instant) -> Vec<Datagram> {
    let mut back = Vec::new();
    h.send(now, |d, from, to| back.push((d.to_vec(), from, to)));
    back
}

#[test]
fn a_turns_datagrams_for_one_owner_are_one_message() {
    let folder = Folder::new();
    let (mut a, b, c) = (folder.open(1), folder.open(2), folder.open(200));
    let (from, to) = ends();
    for i in 0..20 {
        a.push(2, &[i; 1200], &from, &to, Instant::now());
    }
    a.push(200, b"", &to, &from, Instant::now());
    assert_eq!((drain(&b).len(), send(&mut a).len()), (0, 0));
    let wanted: Vec<Datagram> = (0..20).map(|i| (vec![i; 1200], from, to)).collect();
    assert_eq!(drain(&b), [wanted]);
    assert_eq!(drain(&c), [[(Vec::new(), to, from)]]);
    assert_eq!((a.handed.sent, a.handed.lost), (21, 0));
    // Nothing waits any more, and nothing goes twice.
    send(&mut a);
    assert_eq!((drain(&b).len(), drain(&c).len(), a.handed.sent), (0, 0, 21));
}

#[test]
fn what_does_not_fit_into_one_message_goes_in_two() {
    let folder = Folder::new();
    let (mut a, b) = (folder.open(1), folder.open(2));
    let (from, to) = ends();
    for _ in 0..100 {
        a.push(2, &[7; 1400], &from, &to, Instant::now());
    }
    send(&mut a);
    let got = drain(&b);
    assert_eq!((got.len(), got.iter().map(Vec::len).sum::<usize>(), a.handed.sent), (3, 100, 100));
    // The longest datagram that there is leaves no room for its head; one that just fits, does.
    a.push(2, &[7; MESSAGE - HEAD], &from, &to, Instant::now());
    a.push(2, &[7; MESSAGE], &from, &to, Instant::now());
    a.push(2, &[8; MESSAGE - HEAD - 1], &from, &to, Instant::now());
    send(&mut a);
    assert_eq!(drain(&b), [[(vec![8; MESSAGE - HEAD - 1], from, to)]]);
    assert_eq!((a.handed.sent, a.handed.lost), (101, 2));
}

#[test]
fn what_finds_a_full_queue_waits_and_is_tried_again_less_and_less_often() {
    let folder = Folder::new();
    let (mut a, b) = (folder.open(1), folder.open(2));
    let (from, to) = ends();
    let mut now = Instant::now();
    assert_eq!(a.deadline(), None);
    for i in 0..5_000_u32 {
        a.push(2, &i.to_be_bytes(), &from, &to, now);
        assert_eq!(send_at(&mut a, now), []);
    }
    // A few messages wait in the kernel, one here; the others are lost.
    let (sent, lost) = (a.handed.sent, a.handed.lost);
    let kept = 5_000 - sent - lost;
    assert!(sent > 0 && lost > 0 && kept as usize == (MESSAGE - 1) / (HEAD + 4));
    for pause in [1, 2, 4, 8, 16, 32, 64, 64] {
        assert_eq!(a.deadline(), Some(now + Duration::from_millis(pause)));
        send_at(&mut a, now + Duration::from_millis(pause - 1));
        assert_eq!(a.deadline(), Some(now + Duration::from_millis(pause)));
        now += Duration::from_millis(pause);
        send_at(&mut a, now);
    }
    assert_eq!((a.handed.sent, a.handed.lost), (sent, lost));
    let first = drain(&b);
    send_at(&mut a, now);
    assert_eq!(drain(&b).len(), 0);
    now = a.deadline().unwrap();
    send_at(&mut a, now);
    let rest = drain(&b);
    assert_eq!((rest.len(), a.handed.sent, a.handed.lost, a.deadline()), (1, sent + kept, lost, None));
    let got: Vec<u32> = first.iter().chain(&rest).flatten().map(|(d, ..)| u32::from_be_bytes(d[..].try_into().unwrap())).collect();
    assert_eq!(got, (0..(sent + kept) as u32).collect::<Vec<_>>());
    // As if nothing had been.
    a.push(2, b"more", &from, &to, now);
    send_at(&mut a, now);
    assert_eq!((drain(&b).len(), a.handed.lost, a.deadline()), (1, lost, None));
}

#[test]
fn a_full_owner_holds_up_no_other_and_may_go_meanwhile() {
    let folder = Folder::new();
    let (mut a, b, c) = (folder.open(1), folder.open(2), folder.open(3));
    let (from, to) = ends();
    let now = Instant::now();
    while a.deadline().is_none() {
        a.push(2, b"full", &from, &to, now);
        send_at(&mut a, now);
    }
    a.push(3, b"other", &from, &to, now);
    send_at(&mut a, now);
    assert_eq!(drain(&c), [[(b"other".to_vec(), from, to)]]);
    drop(b);
    a.push(2, b"late", &from, &to, now);
    let again = a.deadline().unwrap();
    assert_eq!(send_at(&mut a, again), [(b"full".to_vec(), from, to), (b"late".to_vec(), from, to)]);
    assert_eq!((a.handed.lost, a.deadline()), (2, None));
}

#[test]
fn owners_that_read_nothing_take_no_room_from_others() {
    let folder = Folder::new();
    let (mut a, healthy) = (folder.open(1), folder.open(2));
    let (from, to) = ends();
    let mut now = Instant::now();
    let long = vec![7; MESSAGE - HEAD - 1];
    // By default eleven messages wait at each of them, elsewhere 513: in all more than a socket's buffer takes, whatever the system allows.
    let stopped: Vec<Handover> = (10..30).map(|worker| folder.open(worker)).collect();
    let mut rounds = 0;
    loop {
        let before = a.handed.sent;
        for worker in 10..30 {
            a.push(worker, &long, &from, &to, now);
        }
        now += LONGEST;
        assert_eq!(send_at(&mut a, now), []);
        if a.handed.sent == before {
            break;
        }
        rounds += 1;
        assert!(rounds < 1_000);
    }
    // Neither the first message nor any other waits, while those are tried again and again.
    for turn in 0..100_u8 {
        a.push(2, &[turn; 1200], &from, &to, now);
        a.push(10 + turn % 20, b"more", &from, &to, now);
        assert_eq!(send_at(&mut a, now), []);
        let got = drain(&healthy);
        assert!(got == [[(vec![turn; 1200], from, to)]], "{} messages in turn {turn}", got.len());
        now += Duration::from_millis(3);
    }
    // Those who go on reading get what waits here.
    for (worker, one) in (10..30).zip(&stopped) {
        assert!(!drain(one).is_empty(), "{worker}");
    }
    now += LONGEST;
    assert_eq!(send_at(&mut a, now), []);
    assert_eq!((a.deadline(), stopped.iter().filter(|one| drain(one).len() == 1).count()), (None, 20));
}

#[test]
fn nothing_is_kept_for_an_owner_that_is_gone() {
    let folder = Folder::new();
    let (mut a, b) = (folder.open(1), folder.open(2));
    let (from, to) = ends();
    let owners = |a: &Handover| a.parcels.iter().map(|p| p.worker).collect::<Vec<_>>();
    for worker in [2, 3, 2, 4] {
        a.push(worker, b"one", &from, &to, Instant::now());
    }
    assert_eq!((send(&mut a).len(), owners(&a)), (2, vec![2]));
    drop(b);
    a.push(2, b"two", &from, &to, Instant::now());
    assert_eq!((send(&mut a).len(), owners(&a)), (1, vec![]));
    // And its successor is found.
    let b = folder.open(2);
    a.push(2, b"three", &from, &to, Instant::now());
    assert_eq!((send(&mut a).len(), owners(&a), drain(&b).len()), (0, vec![2], 1));
}

#[test]
fn what_is_for_an_owner_that_is_gone_comes_back() {
    let folder = Folder::new();
    let mut a = folder.open(1);
    let (from, to) = ends();
    let wanted = [(vec![1; 60], from, to), (vec![2; 70], from, to)];
    let mut returned = |owner: u8, what: &str| {
        for (d, from, to) in &wanted {
            a.push(owner, d, from, to, Instant::now());
        }
        assert_eq!(send(&mut a), wanted, "{what}");
        (a.handed.sent, a.handed.lost)
    };
    assert_eq!(returned(2, "never there"), (0, 2));
    drop(folder.open(2));
    assert!(!folder.options().path(2).exists());
    assert_eq!(returned(2, "closed"), (0, 4));
    // What is killed leaves its name behind.
    drop(UnixDatagram::bind(folder.options().path(2)).unwrap());
    assert!(folder.options().path(2).exists());
    assert_eq!(returned(2, "killed"), (0, 6));
}

#[test]
fn a_successor_takes_the_name_and_keeps_it() {
    let folder = Folder::new();
    let (mut a, old) = (folder.open(1), folder.open(2));
    let new = folder.open(2);
    let (from, to) = ends();
    a.push(2, b"one", &from, &to, Instant::now());
    send(&mut a);
    drop(old);
    a.push(2, b"two", &from, &to, Instant::now());
    send(&mut a);
    assert_eq!((drain(&new).len(), a.handed.sent), (2, 2));
    let mode = fs::metadata(folder.options().path(2)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Something else of that name goes, but not what is in a folder.
    drop(new);
    fs::write(folder.options().path(2), "a file").unwrap();
    drop(folder.open(2));
    fs::create_dir(folder.options().path(2)).unwrap();
    assert!(Handover::open(&folder.options(), 2).is_err());
}

#[test]
fn an_owner_that_was_sent_to_has_a_successor_at_once_or_is_looked_for_again() {
    let folder = Folder::new();
    let (mut a, first) = (folder.open(1), folder.open(2));
    let (from, to) = ends();
    let mut now = Instant::now();
    let mut post = |now: Instant| {
        a.push(2, b"one", &from, &to, now);
        send_at(&mut a, now).len()
    };
    assert_eq!((post(now), drain(&first).len()), (0, 1));
    // Gone: whoever has its name now gets what would have been its, in the same turn.
    drop(first);
    let second = folder.open(2);
    assert_eq!((post(now), drain(&second).len()), (0, 1));
    // Not gone, but another one has the name.
    let third = folder.open(2);
    now += LOOK;
    assert_eq!((post(now), drain(&second).len(), drain(&third).len()), (0, 0, 1));
    // Not gone, but nobody has the name.
    fs::remove_file(folder.options().path(2)).unwrap();
    now += LOOK;
    assert_eq!((post(now), drain(&third).len()), (1, 0));
    // Gone, and nobody has the name.
    let fourth = folder.open(2);
    assert_eq!((post(now), drain(&fourth).len()), (0, 1));
    drop(fourth);
    assert_eq!(post(now), 1);
}

#[test]
fn a_folder_that_is_not_there_or_whose_name_is_too_long_is_an_error() {
    let folder = Folder::new();
    let at = |path: PathBuf| Handover::open(&HandoverOptions { folder: path, ..folder.options() }, 1).err().unwrap();
    assert_eq!(at(folder.0.join("none")).kind(), io::ErrorKind::NotFound);
    let deep = folder.0.join("d".repeat(100));
    fs::create_dir(&deep).unwrap();
    assert_eq!(at(deep).kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn every_prefix_of_a_message_gives_its_whole_entries_and_nothing_else() {
    let (from, to) = ends();
    let mut p = Parcel::new(0, None, UnixAddress::from_pathname("/x").unwrap());
    let wanted: Vec<Datagram> = (0..4).map(|i| (vec![i; usize::from(i) * 10], from, to)).collect();
    for (d, from, to) in &wanted {
        assert!(p.add(d, from, to));
    }
    let ends: Vec<usize> = wanted
        .iter()
        .scan(1, |at, (d, ..)| {
            *at += HEAD + d.len();
            Some(*at)
        })
        .collect();
    for n in 0..=p.message.len() {
        let whole = ends.iter().filter(|&&end| end <= n).count();
        let (got, clean) = read(&mut p.message[..n].to_vec());
        assert_eq!(got, wanted[..whole]);
        assert_eq!(clean, n == 1 || ends.contains(&n), "{n}");
    }
    for version in [0, 2, 255] {
        p.message[0] = version;
        assert_eq!(read(&mut p.message.clone()), (vec![], false));
    }
}

#[test]
fn random_messages_are_taken_apart_without_harm() {
    let mut r = crate::ids::Random::new();
    for _ in 0..20_000 {
        let mut m: Vec<u8> = (0..r.below(300)).map(|_| r.number() as u8).collect();
        if let Some(first) = m.first_mut() {
            *first = VERSION;
        }
        // Short entries, mostly.
        if m.len() > 3 && r.below(4) > 0 {
            (m[1], m[2]) = (0, r.below(100) as u8);
        }
        let length = m.len();
        let (got, _) = read(&mut m);
        assert!(got.iter().map(|(d, ..)| HEAD + d.len()).sum::<usize>() <= length);
    }
}

fn send_to(h: &mut Handover, worker: u8) -> bool {
    let (from, to) = ends();
    h.push(worker, b"y", &from, &to, Instant::now());
    send(h).is_empty()
}

#[test]
fn whom_no_name_leads_to_is_found_by_the_address() {
    let folder = Folder::new();
    let named = |worker, name: &str| Handover::open(&folder.options().named(name), worker).unwrap();
    let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let (from, one, two, third) = (at("192.0.2.1:1000"), at("127.0.0.1:443"), at("127.0.0.2:443"), at("127.0.0.3:443"));
    // One worker has a listener for each address, another one for all of them, a third one for two.
    let (mut a, mut b) = (named(1, "aaaaaaaaaaaaaaaa"), named(1, "bbbbbbbbbbbbbbbb"));
    let (mut all, mut both) = (named(2, "cccccccccccccccc"), named(3, "dddddddddddddddd"));
    a.serve([one].into_iter()).unwrap();
    b.serve([two].into_iter()).unwrap();
    all.serve([at("0.0.0.0:443"), at("[::]:443")].into_iter()).unwrap();
    both.serve([one, two].into_iter()).unwrap();
    let hand = |sender: &mut Handover, worker: u8, to: SocketAddr, found: Option<&Handover>| {
        sender.push(worker, b"x", &from, &to, Instant::now());
        assert_eq!(send(sender).len(), usize::from(found.is_none()));
        assert_eq!(found.map_or(1, |h| drain(h).concat().len()), 1);
    };
    for sender in [&mut all, &mut both] {
        for _ in 0..2 {
            hand(sender, 1, one, Some(&a));
            hand(sender, 1, two, Some(&b));
            hand(sender, 1, third, None);
        }
    }
    hand(&mut a, 2, one, Some(&all));
    hand(&mut a, 2, at("[::1]:443"), Some(&all));
    hand(&mut a, 2, at("127.0.0.1:444"), None);
    hand(&mut b, 3, two, Some(&both));
    // Where there is a listener of the same name, that is the one.
    let mut same = named(4, "aaaaaaaaaaaaaaaa");
    hand(&mut same, 1, third, Some(&a));
    // What is not its address any more does not lead to it, and what is, stays.
    both.keep([one].into_iter());
    hand(&mut same, 3, two, None);
    hand(&mut same, 3, one, Some(&both));
    drop((a, b, all, both, same));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}

#[test]
fn a_listener_that_changes_its_name_is_found_by_everybody() {
    const NEXT: &str = "ff66554433221100";
    let folder = Folder::new();
    let (mut a, mut b) = (folder.open(1), folder.open(2));
    let (from, to) = ends();
    let hand = |a: &mut Handover, b: &Handover| {
        a.push(b.worker, b"x", &from, &to, Instant::now());
        assert_eq!((send(a).len(), drain(b).concat()), (0, vec![(b"x".to_vec(), from, to)]));
    };
    hand(&mut a, &b);
    b.also(NEXT).unwrap();
    // Another time is no other name.
    b.also(NEXT).unwrap();
    hand(&mut a, &b);
    a.also(NEXT).unwrap();
    a.rename(NEXT);
    hand(&mut a, &b);
    b.rename(NEXT);
    hand(&mut b, &a);
    // Who does not know yet still finds it.
    let mut late = folder.open(3);
    hand(&mut late, &b);
    // And is found.
    hand(&mut b, &late);
    // Somebody else has taken the name.
    let other = folder.open(2);
    b.also("00112233445566ff").unwrap();
    assert!(send_to(&mut late, 2) && drain(&other).is_empty() && drain(&b).len() == 1);
    drop(other);
    assert!(folder.options().path(2).exists());
    // Of many names the last ones stay.
    for n in 0..40 {
        let name = format!("{n:016x}");
        b.also(&name).unwrap();
        b.rename(&name);
    }
    let mut names: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|n| n.starts_with("2-"));
    names.sort();
    assert_eq!(names, (24..40).map(|n| format!("2-{n:016x}")).collect::<Vec<_>>());
    drop((a, b, late));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}
