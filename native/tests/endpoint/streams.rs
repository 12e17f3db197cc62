use crate::kit::*;
use spooky_quic::records::command;

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
    c.out.close(cw, true, 0x100, "enough");
    drive(&mut [&mut s, &mut c], "goodbyes", |x| x.iter().all(|s| s.closes.len() == 1));
    let bye = |who, side| Goodbye { who, side, app: true, code: 0x100, reason: "enough".into() };
    assert_eq!((&s.closes[0], &c.closes[0]), (&bye(sw, 1), &bye(cw, 0)));
    let st = s.stats();
    assert_eq!((&st["handshakes"]["accepted"], &st["connections"], &st["halfOpen"]), (&1.into(), &0.into(), &0.into()));
    let _ = command::PING;
}
