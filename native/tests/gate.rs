//! What the gate does with each kind of datagram, and what it counts.

mod kit;

use kit::*;
use spooky_quic::gate::{Arrival, Newcomer, Verdict, Waiting};
use spooky_quic::ids::{CidCodec, NO_SLOT, Random};
use spooky_quic::options::{EndpointKeys, Key, RetryMode};
use spooky_quic::packet::answers::{CONNECTION_REFUSED, INVALID_TOKEN};
use spooky_quic::tokens::TokenKeys;

const REST: [u8; 34] = {
    let mut r = [0x55; 34];
    (r[0], r[1]) = (0x40, 0x20);
    r
};

#[test]
fn u1_packets_for_nobody_are_dropped_without_a_word() {
    let mut b = Bench::new();
    for p in [long(0xd0, 1, &DCID, &SCID, &REST), long(0xe0, 1, &DCID, &SCID, &REST), long(0xe0, 1, &[9; 17], &SCID, &REST)] {
        assert_eq!(b.judge(&p), Verdict::Drop);
    }
    for p in [long(0xf0, 1, &DCID, &SCID, &REST), long(0xe0, 1, &[9; 21], &SCID, &REST), long(0xa0, 1, &DCID, &SCID, &REST)] {
        assert_eq!(b.judge(&p), Verdict::Drop);
    }
    // Seven bytes once ended a process.
    let cut = [0xc0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for n in 1..=cut.len() {
        assert_eq!(b.judge(&cut[..n]), Verdict::Drop);
    }
    b.counted(|c| {
        c.dropped.unknown_connection = 3;
        c.dropped.malformed = 3 + 8;
        c.dropped.short_initial = 3;
    });
}

#[test]
fn u2_an_initial_below_1200_bytes_is_discarded_for_connections_that_exist_too() {
    let mut b = Bench::new();
    b.crowd.young.insert((b.from, DCID.to_vec()), 5);
    b.crowd.alive.insert((1, 2));
    let id = b.codec.encode(1, 2, 0);
    for p in [initial(&DCID, &SCID, &[], 1199), initial(&DCID, &SCID, &[], 500), initial(&id, &SCID, &[], 1199)] {
        assert_eq!(b.judge(&p), Verdict::Drop);
    }
    b.counted(|c| c.dropped.short_initial = 3);
    assert_eq!(b.judge(&hello()), Verdict::Deliver { slot: 5 });
    assert_eq!(b.judge(&initial(&id, &SCID, &[], 1200)), Verdict::Deliver { slot: 1 });
}

#[test]
fn u3_unknown_versions_small_ones_dropped_others_answered_once_none_answers_itself() {
    let mut b = Bench::new();
    let odd = |version: u32, size: usize| {
        let mut p = long(0xc0, version, &[1; 20], &[2; 20], &[]);
        p.resize(size, 3);
        p
    };
    assert_eq!(b.judge(&odd(0xff00_001d, 1199)), Verdict::Drop);
    assert_eq!(b.judge(&odd(0, 1200)), Verdict::Drop);
    let vn = b.answer(&odd(0xff00_001d, 1200));
    assert_eq!((vn[0] & 0x80, vn.len()), (0x80, 55));
    assert_eq!(b.judge(&vn), Verdict::Drop);
    // Ids of other versions may be longer than ours.
    let mut p = long(0xc0, 0xabcd_ef01, &[1; 255], &[2; 255], &[]);
    p.resize(1200, 0);
    assert_eq!(b.answer(&p).len(), 7 + 510 + 8);
    b.counted(|c| {
        c.dropped.short_version = 1;
        c.dropped.malformed = 2;
        c.answered.version = 2;
    });
}

#[test]
fn u3_version_negotiation_is_rate_limited() {
    let mut b = Bench::new();
    let mut p = long(0xc0, 0xff00_001d, &DCID, &SCID, &[]);
    p.resize(1200, 0);
    let answers = (0..1_000).filter(|_| b.judge(&p) != Verdict::Drop).count();
    assert_eq!(answers, 250);
    b.counted(|c| (c.answered.version, c.dropped.version_limited) = (250, 750));
    b.pass(100);
    assert_eq!((0..1_000).filter(|_| b.judge(&p) != Verdict::Drop).count(), 100);
}

#[test]
fn u4_always_a_retry_first_then_a_handshake_under_the_id_that_it_gave() {
    let mut b = Bench::with(|o| o.retry = RetryMode::Always);
    let p = b.answer(&hello());
    assert!(p.len() < 200);
    let (id, token) = read_retry(&p);
    let parts = b.codec.decode(&id).unwrap();
    assert_eq!((parts.slot, parts.generation, parts.worker_id), (NO_SLOT, 0, WORKER));
    b.counted(|c| c.answered.retry = 1);
    let newcomer = Newcomer { dcid: id.clone(), scid: SCID.to_vec(), odcid: Some(DCID.to_vec()) };
    assert_eq!(b.judge(&initial(&id, &SCID, &token, 1200)), Verdict::Begin(newcomer));
    // The rest of its flight, once the endpoint has it.
    b.crowd.young.insert((b.from, id.clone()), 9);
    assert_eq!(b.judge(&initial(&id, &SCID, &token, 1200)), Verdict::Deliver { slot: 9 });
    b.counted(|c| c.answered.retry = 1);
}

#[test]
fn u4_ids_of_a_retry_name_no_connection() {
    let mut b = Bench::new();
    b.crowd.alive.insert((NO_SLOT, 0));
    let id = b.codec.encode(NO_SLOT, 0, 0);
    assert!(matches!(b.judge(&short(&id, 100)), Verdict::Answer(_)));
    assert!(matches!(b.judge(&initial(&id, &SCID, &[], 1200)), Verdict::Begin(_)));
    b.counted(|c| (c.dropped.unknown_connection, c.answered.reset) = (1, 1));
}

#[test]
fn u4_under_load_retry_comes_in_at_the_half_open_mark() {
    let mut b = Bench::with(|o| (o.retry, o.limits.retry_above) = (RetryMode::Load, 5));
    for i in 0..40 {
        match b.judge(&hello()) {
            Verdict::Begin(n) => {
                assert!(i < 5 && n.odcid.is_none());
                b.begun();
            }
            Verdict::Answer(_) => assert!(i >= 5),
            other => panic!("{other:?}"),
        }
    }
    b.counted(|c| c.answered.retry = 35);
    b.gate.set_retry(RetryMode::Off);
    assert!(matches!(b.judge(&hello()), Verdict::Begin(_)));
}

#[test]
fn u4_a_prefix_has_its_share_then_a_retry_or_nothing() {
    for (mode, retries) in [(RetryMode::Load, 10), (RetryMode::Off, 0)] {
        let mut b = Bench::with(|o| (o.retry, o.limits.handshakes_per_second) = (mode, 400));
        let begun = (0..110)
            .filter(|_| {
                b.gate.start_turn();
                matches!(b.judge(&hello()), Verdict::Begin(_))
            })
            .count();
        assert_eq!(begun, 100);
        b.counted(|c| (c.answered.retry, c.dropped.handshake_rate) = (retries, 10 - retries));
        b.from = at("198.51.100.1:1");
        b.gate.start_turn();
        assert!(matches!(b.judge(&hello()), Verdict::Begin(_)), "others have their own");
    }
}

#[test]
fn u4_handshakes_that_come_to_nothing_call_for_a_retry() {
    let mut b = Bench::with(|o| (o.retry, o.limits.handshakes_per_second) = (RetryMode::Load, 40));
    for i in 0..60 {
        b.gate.start_turn();
        match b.judge(&hello()) {
            // Forged: never half-open.
            Verdict::Begin(_) => {
                assert!(i < 10);
                b.gate.failed();
            }
            Verdict::Answer(_) => assert!(i >= 10),
            other => panic!("{other:?}"),
        }
    }
    b.counted(|c| c.answered.retry = 50);
    b.pass(1_000);
    assert!(matches!(b.judge(&hello()), Verdict::Begin(_)), "forgotten with time");
}

#[test]
fn u4_retries_are_rate_limited() {
    let mut b = Bench::with(|o| o.retry = RetryMode::Always);
    let hello = hello();
    assert_eq!((0..6_000).filter(|_| b.judge(&hello) != Verdict::Drop).count(), 5_000);
    b.counted(|c| (c.answered.retry, c.dropped.handshake_rate) = (5_000, 1_000));
}

#[test]
fn u4_the_rate_of_handshakes_holds_and_follows_the_limits() {
    let mut b = Bench::with(|o| o.limits.handshakes_per_second = 4);
    let begun = |b: &mut Bench| (0..10).filter(|_| matches!(b.judge(&hello()), Verdict::Begin(_))).count();
    assert_eq!(begun(&mut b), 4);
    b.counted(|c| c.dropped.handshake_rate = 6);
    b.pass(1_001);
    b.gate.start_turn();
    assert_eq!(begun(&mut b), 4);
    let mut l = listen_options().limits;
    l.handshakes_per_second = 1;
    b.gate.set_limits(&l);
    b.pass(60_000);
    assert_eq!(begun(&mut b), 1);
}

/// Begins a handshake from there, with a token, where it may.
fn proven(b: &mut Bench, from: &str) -> bool {
    b.from = at(from);
    b.gate.start_turn();
    let Verdict::Answer(n) = b.judge(&hello()) else { return false };
    let (id, token) = read_retry(&b.out[..n]);
    b.gate.start_turn();
    matches!(b.judge(&initial(&id, &SCID, &token, 1200)), Verdict::Begin(_))
}

#[test]
fn u4_one_host_with_tokens_leaves_half_of_the_rate_to_others_and_has_what_they_leave() {
    let mut b = Bench::with(|o| (o.retry, o.limits.handshakes_per_second) = (RetryMode::Always, 400));
    let begun = (0..800).filter(|_| proven(&mut b, "192.0.2.1:1")).count();
    assert_eq!(begun, 201);
    let rate = b.counters.dropped.handshake_rate;
    assert_eq!(rate, 599);
    // Its neighbours are as good as it is; others have the rest, at once, but for the few that share its place.
    assert!(!proven(&mut b, "192.0.2.77:9"));
    assert_eq!((0..800).filter(|i| proven(&mut b, &format!("198.51.{}.1:1", i % 100))).count(), 199);
    // Alone again it has all of the rate.
    b.pass(500);
    let mut begun = 0;
    for _ in 0..1_000 {
        b.pass(1);
        begun += usize::from(proven(&mut b, "192.0.2.1:1")) + usize::from(proven(&mut b, "192.0.2.1:1"));
    }
    assert!((400..=402).contains(&begun), "{begun}");
}

#[test]
fn q11_limits_of_connections_addresses_and_half_open_ones() {
    let mut b = Bench::with(|o| (o.limits.connections, o.limits.half_open, o.limits.per_address) = (10, 3, 2));
    let refused = |b: &mut Bench| {
        let p = b.answer(&hello());
        assert!(closes_with(&p, &DCID, CONNECTION_REFUSED));
    };
    (b.crowd.live, b.crowd.handshaking) = (9, 3);
    refused(&mut b);
    b.counted(|c| (c.dropped.half_open, c.handshakes.refused_limit, c.answered.refused) = (1, 1, 1));
    b.crowd.addresses.insert([0xff, 0xff, 0xff, 0xff, 192, 0, 2, 1], 2);
    refused(&mut b);
    b.counted(|c| {
        (c.dropped.half_open, c.dropped.address_limit) = (1, 1);
        (c.handshakes.refused_limit, c.answered.refused) = (2, 2);
    });
    b.crowd.live = 10;
    refused(&mut b);
    b.counted(|c| {
        (c.dropped.half_open, c.dropped.address_limit, c.dropped.connections) = (1, 1, 1);
        (c.handshakes.refused_limit, c.answered.refused) = (3, 3);
    });
    (b.crowd.live, b.crowd.handshaking) = (9, 2);
    b.from = at("192.0.2.2:1");
    assert!(matches!(b.judge(&hello()), Verdict::Begin(_)));
}

#[test]
fn refusals_are_rate_limited_and_counted_all_the_same() {
    let mut b = Bench::with(|o| (o.limits.connections, o.limits.handshakes_per_second) = (0, 10_000));
    let hello = hello();
    assert_eq!((0..400).filter(|_| b.judge(&hello) != Verdict::Drop).count(), 250);
    b.counted(|c| (c.dropped.connections, c.handshakes.refused_limit, c.answered.refused) = (400, 400, 250));
}

#[test]
fn after_drain_newcomers_are_refused_and_connections_go_on() {
    let mut b = Bench::with(|o| o.retry = RetryMode::Always);
    let (id, token) = read_retry(&b.answer(&hello()));
    b.crowd.alive.insert((1, 2));
    b.gate.drain();
    let p = b.answer(&hello());
    assert!(closes_with(&p, &DCID, CONNECTION_REFUSED));
    // A token that is good opens nothing now.
    let p = b.answer(&initial(&id, &SCID, &token, 1200));
    assert!(closes_with(&p, &id, CONNECTION_REFUSED));
    b.counted(|c| {
        (c.dropped.draining, c.handshakes.refused_draining) = (2, 2);
        (c.answered.refused, c.answered.retry) = (2, 1);
    });
    let mine = b.codec.encode(1, 2, 0);
    assert_eq!(b.judge(&short(&mine, 100)), Verdict::Deliver { slot: 1 });
    for _ in 0..300 {
        b.judge(&hello());
    }
    assert_eq!((b.counters.answered.refused, b.counters.dropped.draining), (250, 302));
}

#[test]
fn u4_a_first_id_below_eight_bytes_is_malformed() {
    let mut b = Bench::new();
    for n in 0..=20 {
        let verdict = b.judge(&initial(&vec![1; n], &SCID, &[], 1200));
        assert_eq!(matches!(verdict, Verdict::Begin(_)), n >= 8, "{n} bytes: {verdict:?}");
    }
    b.counted(|c| c.dropped.malformed = 8);
}

/// A gate that always asks back, with the id and the token of its first Retry.
fn asked() -> (Bench, Vec<u8>, Vec<u8>) {
    let mut b = Bench::with(|o| o.retry = RetryMode::Always);
    let (id, token) = read_retry(&b.answer(&hello()));
    b.counters = Default::default();
    (b, id, token)
}

fn assert_invalid(b: &mut Bench, id: &[u8], token: &[u8]) {
    let p = b.answer(&initial(id, &SCID, token, 1200));
    assert!(closes_with(&p, id, INVALID_TOKEN));
}

#[test]
fn u5_tokens_from_elsewhere_changed_cut_or_of_another_id_or_key_are_invalid() {
    let (mut b, id, token) = asked();
    for other in ["192.0.2.1:4434", "192.0.2.2:4433", "[2001:db8::1]:4433"] {
        b.from = at(other);
        assert_invalid(&mut b, &id, &token);
    }
    b.from = at("192.0.2.1:4433");
    for bit in (8..token.len() * 8).step_by(5) {
        let mut bad = token.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_invalid(&mut b, &id, &bad);
    }
    for n in 1..token.len() {
        assert_invalid(&mut b, &id, &token[..n]);
    }
    assert_invalid(&mut b, &[7; 17], &token);
    assert_invalid(&mut b, &[7; 20], &token);
    let keys = EndpointKeys { reset_key: Key(RESET_KEY.to_vec()), token_keys: vec![Key(vec![9; 32])] };
    b.gate.set_keys(&keys).unwrap();
    assert_invalid(&mut b, &id, &token);
    let n = b.counters.dropped.token;
    assert_eq!(n, 3 + 88 + 55 + 3);
    b.counted(|c| (c.dropped.token, c.answered.refused) = (n, n));
}

#[test]
fn u5_expired_is_counted_apart() {
    let (mut b, id, token) = asked();
    b.pass(10_001);
    assert_invalid(&mut b, &id, &token);
    b.counted(|c| (c.dropped.token_expired, c.answered.refused) = (1, 1));
}

#[test]
fn u5_a_second_use_is_invalid() {
    let (mut b, id, token) = asked();
    assert!(matches!(b.judge(&initial(&id, &SCID, &token, 1200)), Verdict::Begin(_)));
    assert_invalid(&mut b, &id, &token);
    b.counted(|c| (c.dropped.token, c.answered.refused) = (1, 1));
}

#[test]
fn u5_a_token_for_an_id_that_no_retry_gives_out_is_invalid() {
    let mut b = Bench::with(|o| o.retry = RetryMode::Always);
    let mut keys = TokenKeys::new(&listen_options().token_keys).unwrap();
    let token = keys.seal(&b.from, &[7; 8], &DCID, b.wall, &mut Random::new()).unwrap();
    assert_invalid(&mut b, &[7; 8], &token);
    b.counted(|c| (c.dropped.token, c.answered.refused) = (1, 1));
}

#[test]
fn u5_nonsense_of_another_kind_counts_as_none() {
    let (mut b, ..) = asked();
    for text in ["{\"time\":1,\"odcid\":\"00\"}", "A", &"x".repeat(56)] {
        read_retry(&b.answer(&initial(&DCID, &SCID, text.as_bytes(), 1200)));
    }
    b.counted(|c| c.answered.retry = 3);
}

#[test]
fn u5_key_rotation_drops_nobody_and_bad_keys_change_nothing() {
    let (mut b, id, token) = asked();
    let old = listen_options().token_keys.remove(0);
    let keys = |reset: usize, tokens: Vec<Key>| EndpointKeys { reset_key: Key(vec![8; reset]), token_keys: tokens };
    let before = b.gate.reset_token(&id);
    assert!(b.gate.set_keys(&keys(15, vec![old.clone()])).unwrap_err().contains("resetKey"));
    assert!(b.gate.set_keys(&keys(32, vec![Key(vec![1])])).unwrap_err().contains("tokenKeys"));
    assert!(b.gate.set_keys(&keys(32, vec![])).unwrap_err().contains("tokenKeys"));
    assert_eq!(b.gate.reset_token(&id), before);
    b.gate.set_keys(&keys(32, vec![Key(vec![9; 32]), old])).unwrap();
    assert_ne!(b.gate.reset_token(&id), before);
    assert!(matches!(b.judge(&initial(&id, &SCID, &token, 1200)), Verdict::Begin(_)));
    // The new key seals.
    let (id, token) = read_retry(&b.answer(&hello()));
    b.gate.set_keys(&keys(32, vec![Key(vec![9; 32])])).unwrap();
    assert!(matches!(b.judge(&initial(&id, &SCID, &token, 1200)), Verdict::Begin(_)));
}

#[test]
fn u5_a_token_passes_retry_and_the_share_of_a_prefix_but_no_limit() {
    let (mut b, id, token) = asked();
    b.crowd.live = 1_000;
    let p = b.answer(&initial(&id, &SCID, &token, 1200));
    assert!(closes_with(&p, &id, CONNECTION_REFUSED));
    b.counted(|c| (c.dropped.connections, c.handshakes.refused_limit, c.answered.refused) = (1, 1, 1));
}

#[test]
fn u6_resets_are_smaller_than_their_trigger_and_need_room_for_an_id() {
    let mut b = Bench::new();
    let id = [0x1f; 17];
    for n in 0..=1_500 {
        let p = short(&id, n.max(18));
        match b.judge(&p[..n]) {
            Verdict::Answer(m) => {
                assert!(n >= 22 && (21..n).contains(&m));
                assert_eq!((b.out[0] & 0xc0, &b.out[m - 16..m]), (0x40, &reset_of(&id)[..]));
            }
            verdict => assert!(verdict == Verdict::Drop && n < 22, "{n}: {verdict:?}"),
        }
        b.pass(10);
    }
    b.counted(|c| {
        (c.dropped.empty, c.dropped.malformed) = (1, 17);
        (c.dropped.unknown_connection, c.answered.reset) = (1_483, 1_479);
    });
    assert_eq!(b.judge(&[0x3f; 60]), Verdict::Drop);
    assert_eq!(b.counters.dropped.malformed, 18);
}

#[test]
fn u6_a_reset_that_comes_back_ends_in_nothing() {
    let mut b = Bench::new();
    let mut p = short(&[0x1f; 17], 60);
    let mut rounds = 0;
    while let Verdict::Answer(n) = b.judge(&p) {
        assert!(n < p.len());
        p = b.out[..n].to_vec();
        rounds += 1;
    }
    assert!((1..41).contains(&rounds));
}

#[test]
fn u6_resets_are_rate_limited() {
    let mut b = Bench::new();
    let p = short(&[0x1f; 17], 50);
    assert_eq!((0..1_000).filter(|_| b.judge(&p) != Verdict::Drop).count(), 250);
    b.counted(|c| (c.dropped.unknown_connection, c.answered.reset) = (1_000, 250));
}

#[test]
fn u6_the_id_of_another_worker_is_handed_over_never_reset_and_never_goes_round() {
    let mut b = Bench::new();
    let id = CidCodec::new(&CID_KEY, NODE, OTHER_WORKER).unwrap().encode(1, 2, 3);
    b.crowd.alive.insert((1, 2));
    let packets = [short(&id, 60), long(0xe0, 1, &id, &SCID, &REST), initial(&id, &SCID, &[], 1200)];
    for p in &packets {
        assert_eq!(b.judge(p), Verdict::Foreign { worker: OTHER_WORKER });
    }
    b.counted(|_| {});
    b.forwarded = true;
    for p in &packets {
        assert_eq!(b.judge(p), Verdict::Drop);
    }
    b.counted(|c| c.dropped.foreign = 3);
    // Of another node: a stranger's.
    let stranger = CidCodec::new(&CID_KEY, NODE + 1, OTHER_WORKER).unwrap().encode(1, 2, 3);
    b.forwarded = false;
    assert!(matches!(b.judge(&short(&stranger, 60)), Verdict::Answer(_)));
}

#[test]
fn what_a_retry_asked_for_begins_wherever_it_comes_to() {
    let mut other = Bench::with(|o| (o.retry, o.cid.worker_id) = (RetryMode::Always, OTHER_WORKER));
    for forwarded in [false, true] {
        let mut b = Bench::with(|o| o.retry = RetryMode::Always);
        b.forwarded = forwarded;
        let (id, token) = read_retry(&other.answer(&hello()));
        let again = initial(&id, &SCID, &token, 1200);
        assert!(matches!(b.judge(&again), Verdict::Begin(n) if n.odcid.as_deref() == Some(&DCID[..])));
        // Nothing else under that id is anybody's.
        for p in [long(0xe0, 1, &id, &SCID, &REST), short(&id, 60)] {
            assert_eq!(b.judge(&p), if forwarded { Verdict::Drop } else { Verdict::Foreign { worker: OTHER_WORKER } });
        }
    }
}

#[test]
fn successors_take_what_would_begin_a_connection_and_nothing_else() {
    let mut b = Bench::new();
    b.crowd.alive.insert((1, 2));
    b.gate.succeed(vec![20, 21, 22]);
    let old = initial(&[9; 8], &SCID, &[], 1200);
    b.crowd.young.insert((b.from, vec![9; 8]), 6);
    assert_eq!(b.judge(&old), Verdict::Deliver { slot: 6 });
    let id = b.codec.encode(1, 2, 3);
    assert_eq!(b.judge(&short(&id, 60)), Verdict::Deliver { slot: 1 });
    // All of one attempt go to one worker: early data and handshake packets under the client's first id as well.
    let Verdict::Foreign { worker } = b.judge(&hello()) else { panic!("not handed over") };
    for first in [0xd0, 0xe0] {
        assert_eq!(b.judge(&long(first, 1, &DCID, &SCID, &REST)), Verdict::Foreign { worker });
    }
    // Clients are spread, by their ports as well as by their ids.
    let mut seen = std::collections::HashMap::new();
    for i in 0..3_000_u16 {
        if i < 1_500 {
            b.from.set_port(1_000 + i);
        }
        let mut dcid = DCID;
        dcid[..2].copy_from_slice(&i.to_be_bytes());
        let Verdict::Foreign { worker } = b.judge(&initial(if i < 1_500 { &DCID } else { &dcid }, &SCID, &[], 1200)) else { panic!() };
        *seen.entry(worker).or_insert(0) += 1;
    }
    assert!([20, 21, 22].iter().all(|w| seen[w] > 850), "{seen:?}");
    // A short header is for a connection that there is, or for nobody.
    assert!(matches!(b.judge(&short(&[0x1f; 17], 60)), Verdict::Answer(_)));
    // What came to us from others begins here, and so does everything when nobody takes it any more, or we are the one.
    b.forwarded = true;
    assert!(matches!(b.judge(&hello()), Verdict::Begin(_)));
    b.forwarded = false;
    for workers in [vec![], vec![WORKER]] {
        b.gate.succeed(workers);
        assert!(matches!(b.judge(&hello()), Verdict::Begin(_)));
    }
}

#[test]
fn a_retry_of_ours_is_answered_at_a_successor() {
    let mut b = Bench::with(|o| o.retry = RetryMode::Always);
    let (id, token) = read_retry(&b.answer(&hello()));
    b.gate.succeed(vec![20]);
    b.gate.drain();
    assert_eq!(b.judge(&initial(&id, &SCID, &token, 1200)), Verdict::Foreign { worker: 20 });
    b.counted(|c| c.answered.retry = 1);
}

#[test]
fn u6_clients_of_a_worker_that_is_gone_are_reset_at_a_rate_of_their_own() {
    let mut b = Bench::new();
    let id = CidCodec::new(&CID_KEY, NODE, OTHER_WORKER).unwrap().encode(1, 2, 3);
    let orphan = |b: &mut Bench, p: &[u8]| b.gate.orphan(p, &mut b.counters, b.now, &mut b.out);
    for p in [long(0xe0, 1, &id, &SCID, &REST), initial(&id, &SCID, &[], 1200), short(&id, 21), vec![], vec![0x40]] {
        assert_eq!(orphan(&mut b, &p), Verdict::Drop);
    }
    b.counted(|c| c.dropped.unknown_connection = 5);
    for size in [22, 60, 1200] {
        let Verdict::Answer(n) = orphan(&mut b, &short(&id, size)) else { panic!("not answered") };
        assert!(n < size);
        assert_eq!(b.out[n - 16..n], reset_of(&id));
    }
    assert_eq!((0..10_000).filter(|_| orphan(&mut b, &short(&id, 50)) != Verdict::Drop).count(), 2_497);
    b.pass(100);
    assert_eq!((0..10_000).filter(|_| orphan(&mut b, &short(&id, 50)) != Verdict::Drop).count(), 1_000);
}

#[test]
fn u6_garbage_takes_no_reset_from_clients_of_those_that_are_gone() {
    let mut b = Bench::new();
    let garbage = short(&[0x1f; 17], 50);
    assert_eq!((0..1_000).filter(|_| b.judge(&garbage) != Verdict::Drop).count(), 250);
    let predecessor = b.codec.encode(1, 2, 3);
    assert!(matches!(b.judge(&short(&predecessor, 50)), Verdict::Answer(_)));
    let other = CidCodec::new(&CID_KEY, NODE, OTHER_WORKER).unwrap().encode(1, 2, 3);
    assert!(matches!(b.gate.orphan(&short(&other, 50), &mut b.counters, b.now, &mut b.out), Verdict::Answer(_)));
    assert_eq!(b.judge(&garbage), Verdict::Drop);
}

#[test]
fn what_another_worker_hands_over_reaches_its_connection() {
    let mut b = Bench::new();
    b.crowd.alive.insert((1, 2));
    b.crowd.young.insert((b.from, DCID.to_vec()), 6);
    b.forwarded = true;
    let id = b.codec.encode(1, 2, 3);
    assert_eq!(b.judge(&short(&id, 60)), Verdict::Deliver { slot: 1 });
    assert_eq!(b.judge(&long(0xe0, 1, &id, &SCID, &REST)), Verdict::Deliver { slot: 1 });
    assert_eq!(b.judge(&hello()), Verdict::Deliver { slot: 6 });
    b.counted(|_| {});
}

#[test]
fn u6_what_is_too_short_for_a_reset_uses_none_up() {
    let mut b = Bench::new();
    for _ in 0..1_000 {
        assert_eq!(b.judge(&short(&[0x1f; 17], 21)), Verdict::Drop);
    }
    assert!(matches!(b.judge(&short(&[0x1f; 17], 22)), Verdict::Answer(21)));
    b.counted(|c| (c.dropped.unknown_connection, c.answered.reset) = (1_001, 1));
}

#[test]
fn u6_ids_of_a_predecessor_are_reset() {
    let mut b = Bench::new();
    b.crowd.alive.insert((1, 2));
    let id = b.codec.encode(1, 1, 0);
    let p = b.answer(&short(&id, 60));
    assert_eq!(p[p.len() - 16..], b.gate.reset_token(&id));
    b.counted(|c| (c.dropped.unknown_connection, c.answered.reset) = (1, 1));
    assert_eq!(b.judge(&long(0xe0, 1, &id, &SCID, &REST)), Verdict::Drop);
    b.counted(|c| (c.dropped.unknown_connection, c.answered.reset) = (2, 1));
}

#[test]
fn u7_the_ids_of_clients_mean_something_only_with_their_address() {
    let mut b = Bench::new();
    b.crowd.young.insert((b.from, DCID.to_vec()), 6);
    let handshake = long(0xe0, 1, &DCID, &SCID, &REST);
    assert_eq!(b.judge(&handshake), Verdict::Deliver { slot: 6 });
    b.from = at("192.0.2.1:4434");
    assert_eq!(b.judge(&handshake), Verdict::Drop);
    assert!(matches!(b.judge(&hello()), Verdict::Begin(_)));
    b.counted(|c| c.dropped.unknown_connection = 1);
}

#[test]
fn ids_that_the_gate_gives_out_come_back_to_it() {
    let mut b = Bench::new();
    let id = b.gate.new_id(77, 88, 9);
    b.crowd.alive.insert((77, 88));
    assert_eq!(b.judge(&short(&id, 40)), Verdict::Deliver { slot: 77 });
    assert_eq!(b.gate.reset_token(&id), reset_of(&id));
}

#[test]
fn u9_a_turn_begins_so_many_handshakes_and_the_rest_waits_with_its_token() {
    let (mut b, id, token) = asked();
    let second = initial(&id, &SCID, &token, 1200);
    b.gate.set_retry(RetryMode::Off);
    for _ in 0..32 {
        assert!(!b.gate.is_full());
        assert!(matches!(b.judge(&hello()), Verdict::Begin(_)));
    }
    assert!(b.gate.is_full());
    let mut waiting = Waiting::new();
    for p in [&second, &hello()] {
        assert_eq!(b.judge(p), Verdict::Wait);
        let arrival = Arrival { datagram: p.clone(), from: b.from, to: b.from, forwarded: false, at: b.now };
        waiting.push(arrival, &mut b.counters);
    }
    b.counted(|_| {});
    b.gate.start_turn();
    let first = waiting.pop().unwrap();
    assert_eq!((first.from, first.to), (b.from, b.from));
    assert!(matches!(b.judge(&first.datagram), Verdict::Begin(n) if n.odcid.is_some()));
    assert!(matches!(b.judge(&waiting.pop().unwrap().datagram), Verdict::Begin(_)));
    assert!(waiting.is_empty());
}

#[test]
fn u9_a_turn_that_is_behind_begins_fewer_and_those_who_have_waited_too_long_are_refused() {
    let mut b = Bench::new();
    b.gate.set_retry(RetryMode::Off);
    b.gate.set_behind(true);
    let begun = (0..40).filter(|_| matches!(b.judge(&hello()), Verdict::Begin(_))).count();
    assert_eq!((begun, b.gate.is_full()), (4, true));
    b.gate.set_behind(false);
    assert!(!b.gate.is_full());
    b.gate.set_late(true);
    assert!(matches!(b.judge(&hello()), Verdict::Answer(n) if n < 100));
    b.counted(|c| (c.dropped.batch, c.handshakes.refused_limit, c.answered.refused) = (1, 1, 1));
    // Its connection has begun meanwhile: no refusal may end it.
    let known = hello();
    b.crowd.young.insert((b.from, known[6..14].to_vec()), 5);
    assert_eq!(b.judge(&known), Verdict::Deliver { slot: 5 });
    let answered = (0..6_000).filter(|_| b.judge(&initial(&[9; 8], &SCID, b"", 1200)) != Verdict::Drop).count();
    assert_eq!((answered, b.counters.dropped.batch), (1_249, 6_001));
    b.gate.set_late(false);
    assert!(matches!(b.judge(&initial(&[8; 8], &SCID, b"", 1200)), Verdict::Begin(_)));
}

#[test]
fn without_room_for_an_answer_there_is_none() {
    let mut b = Bench::with(|o| o.retry = RetryMode::Always);
    let verdict = b.gate.judge(&hello(), b.from, false, &b.crowd, &mut b.counters, b.now, b.wall, &mut [0; 20]);
    assert_eq!(verdict, Verdict::Drop);
    b.counted(|_| {});
}

#[test]
fn every_first_octet_and_length_has_a_verdict_and_every_datagram_its_count() {
    let mut b = Bench::new();
    let mut judged = 0;
    for first in 0..=255_u8 {
        for n in 0..=64 {
            for fill in [0, 1, 0xff] {
                let mut p = [fill; 64];
                p[0] = first;
                p[4] = 1;
                let verdict = b.judge(&p[..n]);
                assert!(matches!(verdict, Verdict::Drop | Verdict::Answer(_)), "{verdict:?}");
                judged += 1;
            }
        }
    }
    let d = &b.counters.dropped;
    assert_eq!(d.empty + d.malformed + d.short_initial + d.short_version + d.unknown_connection, judged);
}

#[test]
fn every_prefix_of_every_kind_is_dropped_or_answered_with_less() {
    let mut b = Bench::with(|o| o.retry = RetryMode::Always);
    b.crowd.alive.insert((1, 2));
    let id = b.codec.encode(1, 2, 0);
    let mut other = long(0xc0, 0x0a0a_0a0a, &DCID, &SCID, &[]);
    other.resize(1300, 0);
    for whole in [short(&id, 1300), hello(), initial(&id, &SCID, &[7; 56], 1300), long(0xe0, 1, &id, &SCID, &REST), other] {
        for n in 0..whole.len() {
            b.pass(10);
            match b.judge(&whole[..n]) {
                Verdict::Answer(m) => assert!(m < n || n >= 1200 && m <= 3 * n),
                Verdict::Deliver { slot } => assert!(slot == 1 && n >= 18),
                Verdict::Drop => {}
                verdict => panic!("{verdict:?}"),
            }
        }
    }
}

#[test]
fn options_that_cannot_work_are_refused_by_name() {
    use spooky_quic::gate::Gate;
    let wrong = |change: fn(&mut spooky_quic::options::ListenOptions)| {
        let mut o = listen_options();
        change(&mut o);
        Gate::new(&o, std::time::Instant::now()).err().unwrap()
    };
    assert!(wrong(|o| o.cid.key = Key(vec![0; 17])).contains("cid.key"));
    assert!(wrong(|o| o.reset_key = Key(vec![0; 15])).contains("resetKey"));
    assert!(wrong(|o| o.token_keys.clear()).contains("tokenKeys"));
}
