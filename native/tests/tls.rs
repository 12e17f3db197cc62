//! Certificates, client certificates, tickets and the key log, between a quiche server and a quiche client.

#[path = "tls/lab.rs"]
mod lab;
#[path = "tls/pki.rs"]
mod pki;
#[path = "tls/ticket.rs"]
mod ticket;

use boring::nid::Nid;
use boring::ssl::{SslContextBuilder, SslSession, SslSignatureAlgorithm, SslVerifyMode, SslVersion};
use boring::x509::store::X509StoreBuilder;
use lab::*;
use pki::{Cert, Use, Wanted, YEAR, leaf, make, p256};
use quiche::Config;
use spooky_quic::options::{CertPair, ClientAuth, DialOptions, Key, TlsEntry, TlsTable};
use spooky_quic::tls::{KeyLog, Tls, client_context, dial_name};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;

static CA: LazyLock<Cert> = LazyLock::new(|| pki::ca("test ca"));
static ECDSA: LazyLock<Cert> = LazyLock::new(|| pki::server(&CA, "a.example"));
static RSA: LazyLock<Cert> = LazyLock::new(|| leaf(&CA, "a.example", pki::rsa(2048), Use::Server));
static OTHER: LazyLock<Cert> = LazyLock::new(|| pki::server(&CA, "b.example"));

const NAME: Option<&str> = Some("a.example");

fn tls(t: &TlsTable) -> Tls {
    Tls::new(t).unwrap()
}

fn refusal(t: &TlsTable) -> String {
    Tls::new(t).err().unwrap()
}

// Names.

#[test]
fn the_exact_name_then_the_wildcard_then_the_fallback() {
    let entries = [entry(1, &[&ECDSA]), entry(2, &[&OTHER]), entry(3, &[&RSA])];
    let names = [("a.example", 1), ("*.b.example", 2), ("x.b.example", 1)];
    let with = tls(&table(&entries.each_ref(), &names, Some(3)));
    let without = tls(&table(&entries.each_ref(), &names, None));
    let (mut with, mut without, mut client) = (server(&with), server(&without), plain());
    let cases = [
        ("a.example", Some((1, "a.example"))),
        ("A.eXample", Some((1, "a.example"))),
        ("a.example.", Some((1, "a.example"))),
        ("A.EXAMPLE.", Some((1, "a.example"))),
        ("x.b.example", Some((1, "x.b.example"))),
        ("y.b.example", Some((2, "y.b.example"))),
        ("Y.B.Example.", Some((2, "y.b.example"))),
        ("*.b.example", Some((2, "*.b.example"))),
        ("a.example..", None),
        ("y.y.b.example", None),
        ("b.example", None),
        (".b.example", None),
        ("a.example.org", None),
        ("a", None),
        ("xa.example", None),
        ("\u{e4}.b.example", Some((2, "\u{c3}\u{a4}.b.example"))),
        ("\u{212a}.example", None),
        ("a.ex ample", None),
        ("a.example\n", None),
    ];
    for (asked, expected) in cases {
        let mut got = shake(&mut with, &mut client, Some(asked)).good();
        let chosen = got.chosen().unwrap();
        let cert = [&ECDSA, &OTHER, &RSA][chosen.tls as usize - 1].der();
        assert_eq!(got.client.peer_cert(), Some(&cert[..]), "{asked}");
        let sni = chosen.sni.unwrap();
        assert!(!chosen.early_data);
        match expected {
            Some((id, name)) => assert_eq!((chosen.tls, sni.as_str()), (id, name), "{asked}"),
            None => assert_eq!(chosen.tls, 3, "{asked}"),
        }
        let mut strict = shake(&mut without, &mut client, Some(asked));
        match expected {
            Some((id, _)) => assert_eq!(strict.good().chosen().unwrap().tls, id, "{asked}"),
            None => assert_eq!((strict.code(), strict.chosen()), (Some(UNRECOGNIZED_NAME), None), "{asked}"),
        }
    }
}

#[test]
fn no_name_is_an_unmatched_one() {
    let (e, names) = (entry(1, &[&ECDSA]), [("a.example", 1)]);
    let mut client = plain();
    let mut got = shake(&mut server(&tls(&table(&[&e], &names, Some(1)))), &mut client, None).good();
    assert_eq!(got.chosen().map(|c| (c.tls, c.sni)), Some((1, None)));
    let mut none = shake(&mut server(&tls(&table(&[&e], &names, None))), &mut client, None);
    assert_eq!((none.code(), none.chosen()), (Some(UNRECOGNIZED_NAME), None));
    let mut nothing = shake(&mut server(&tls(&table(&[], &[], None))), &mut client, NAME);
    assert_eq!((nothing.code(), nothing.chosen()), (Some(UNRECOGNIZED_NAME), None));
}

/// A byte stream of which one side was written beforehand.
struct Tape {
    input: io::Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Tape {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.input.read(out)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tape(input: Vec<u8>) -> Tape {
    Tape { input: io::Cursor::new(input), output: Vec::new() }
}

/// A ClientHello as a TLS record, with `name`.
fn hello(name: &str, change: impl FnOnce(&mut SslContextBuilder)) -> Vec<u8> {
    let mut b = SslContextBuilder::new(boring::ssl::SslMethod::tls()).unwrap();
    b.set_alpn_protos(b"\x02h3").unwrap();
    change(&mut b);
    let mut ssl = boring::ssl::Ssl::new(&b.build()).unwrap();
    ssl.set_hostname(name).unwrap();
    match ssl.connect(tape(vec![])) {
        Err(boring::ssl::HandshakeError::WouldBlock(mid)) => mid.get_ref().output.clone(),
        _ => panic!("no hello"),
    }
}

/// The alert with which our context answers these bytes, over a plain stream: the callbacks are the same, the alerts show their names.
fn alert(t: &TlsTable, hello: Vec<u8>) -> Option<u8> {
    let context = tls(t).server_context(None).unwrap().build();
    match boring::ssl::Ssl::new(&context).unwrap().accept(tape(hello)) {
        Err(boring::ssl::HandshakeError::Failure(mid)) => match mid.get_ref().output[..] {
            [21, _, _, 0, 2, 2, alert] => Some(alert),
            _ => panic!("no alert"),
        },
        _ => None,
    }
}

#[test]
fn a_name_with_hostile_bytes_selects_nothing() {
    const ERROR: Option<u8> = Some(50);
    const UNKNOWN: Option<u8> = Some(112);
    let entries = [entry(1, &[&ECDSA])];
    let strict = table(&entries.each_ref(), &[("aaaaaaaa.example", 1)], None);
    let lax = table(&entries.each_ref(), &[], Some(1));
    let good = hello("aaaaaaaa.example", |_| {});
    let at = good.windows(16).position(|w| w == b"aaaaaaaa.example").unwrap();
    assert_eq!(good[at - 5..at], [0, 19, 0, 0, 16]);
    assert_eq!((alert(&strict, good.clone()), alert(&lax, good.clone())), (None, None));
    let patched = |offset: isize, bytes: &[u8]| {
        let (mut h, at) = (good.clone(), at.strict_add_signed(offset));
        h[at..at + bytes.len()].copy_from_slice(bytes);
        h
    };
    // A NUL in front, within, at the end.
    for offset in [0, 3, 15] {
        let h = patched(offset, &[0]);
        assert_eq!((alert(&strict, h.clone()), alert(&lax, h)), (UNKNOWN, UNKNOWN));
    }
    // Another type of name; a name shorter than its list (then a second one begins) or longer.
    for (offset, byte, expected) in [(-3, 1, UNKNOWN), (-1, 10, ERROR), (-1, 17, ERROR), (-4, 0, ERROR)] {
        let h = patched(offset, &[byte]);
        assert_eq!((alert(&strict, h.clone()), alert(&lax, h)), (expected, expected), "{offset}");
    }
    // Bytes that no name has match nothing, and are no missing name either.
    for byte in [1, b' ', 0x7f, 0x80, 0xff] {
        let h = patched(2, &[byte]);
        assert_eq!((alert(&strict, h.clone()), alert(&lax, h)), (UNKNOWN, None), "{byte}");
    }
}

#[test]
fn tls_1_2_is_refused() {
    let h = hello("a.example", |b| b.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap());
    assert_eq!(alert(&only(&entry(1, &[&ECDSA])), h), Some(70));
}

// Certificates.

fn verifying(schemes: &[SslSignatureAlgorithm]) -> Config {
    client(|b| b.set_verify_algorithm_prefs(schemes).unwrap())
}

#[test]
fn each_client_gets_the_chain_that_it_can_verify() {
    use SslSignatureAlgorithm as S;
    let p384 = leaf(&CA, "a.example", pki::ec(Nid::SECP384R1), Use::Server);
    let mut both = server(&tls(&only(&entry(1, &[&ECDSA, &RSA]))));
    let mut large = server(&tls(&only(&entry(1, &[&p384, &RSA]))));
    let mut ecdsa = server(&tls(&only(&entry(1, &[&ECDSA]))));
    let got = |s: &mut Config, schemes: &[S]| shake(s, &mut verifying(schemes), NAME).good().client.peer_cert().unwrap().to_vec();
    assert_eq!(shake(&mut both, &mut plain(), NAME).good().client.peer_cert(), Some(&ECDSA.der()[..]));
    assert_eq!(got(&mut both, &[S::RSA_PSS_RSAE_SHA256, S::ECDSA_SECP256R1_SHA256]), ECDSA.der());
    assert_eq!(got(&mut both, &[S::RSA_PSS_RSAE_SHA256]), RSA.der());
    assert_eq!(got(&mut both, &[S::RSA_PSS_RSAE_SHA512]), RSA.der());
    assert_eq!(got(&mut both, &[S::ECDSA_SECP384R1_SHA384, S::RSA_PSS_RSAE_SHA384]), RSA.der());
    assert_eq!(got(&mut large, &[S::ECDSA_SECP256R1_SHA256, S::RSA_PSS_RSAE_SHA256]), RSA.der());
    assert_eq!(got(&mut large, &[S::ECDSA_SECP384R1_SHA384, S::RSA_PSS_RSAE_SHA256]), p384.der());
    assert_eq!(shake(&mut ecdsa, &mut verifying(&[S::RSA_PSS_RSAE_SHA256]), NAME).code(), Some(HANDSHAKE_FAILURE));
}

#[test]
fn intermediates_are_sent_and_verified() {
    let middle = make(&Wanted { name: "middle", key: p256(), issuer: Some(&CA), ca: true, usage: Use::Unsaid, valid: YEAR, ip: None });
    let end = pki::server(&middle, "a.example");
    let e = TlsEntry { certs: vec![pair(&[&end, &middle])], ..entry(1, &[&ECDSA]) };
    let mut client = client(|b| {
        let mut roots = X509StoreBuilder::new().unwrap();
        roots.add_cert(&CA.cert).unwrap();
        b.set_cert_store_builder(roots);
        b.set_verify(SslVerifyMode::PEER);
    });
    let got = shake(&mut server(&tls(&only(&e))), &mut client, NAME).good();
    assert_eq!(got.client.peer_cert_chain(), Some(vec![&end.der()[..], &middle.der()[..]]));
}

#[test]
fn every_form_of_a_key_is_read() {
    let sec1 = String::from_utf8(ECDSA.key.ec_key().unwrap().private_key_to_pem().unwrap()).unwrap();
    let pkcs1 = String::from_utf8(RSA.key.rsa().unwrap().private_key_to_pem().unwrap()).unwrap();
    assert!(sec1.contains("BEGIN EC PRIVATE KEY") && pkcs1.contains("BEGIN RSA PRIVATE KEY"));
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let keys =
        [(&ECDSA, sec1.clone()), (&RSA, pkcs1), (&ECDSA, format!("{parameters}{sec1}")), (&RSA, RSA.key_pem().replace('\n', "\r\n"))];
    for (cert, key) in keys {
        let e = TlsEntry { certs: vec![CertPair { cert: cert.pem(), key }], ..entry(1, &[]) };
        shake(&mut server(&tls(&only(&e))), &mut plain(), NAME).good();
    }
}

#[test]
fn what_cannot_serve_is_refused_by_entry() {
    let key_of = |c: &Cert| c.key_pem();
    let (cert, key) = (ECDSA.pem(), ECDSA.key_pem());
    let with = |key: boring::pkey::PKey<boring::pkey::Private>| {
        let c = leaf(&CA, "a.example", key, Use::Server);
        CertPair { cert: c.pem(), key: key_of(&c) }
    };
    let of = |cert: &str, key: &str| CertPair { cert: cert.into(), key: key.into() };
    let client_only = leaf(&CA, "a.example", p256(), Use::Client);
    let nul = leaf(&CA, "a.example\0.evil.example", p256(), Use::Server);
    let foreign = pki::ca("foreign");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let garbled = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let long = ECDSA.pem() + &CA.pem().repeat(16);
    let cases: Vec<(CertPair, &str)> = vec![
        (of("", &key), "there is no certificate: the text is empty"),
        (of("0\u{1}", &key), "the certificate is DER; it must be PEM (-----BEGIN CERTIFICATE-----)"),
        (of("garbage", &key), "there is no certificate in it (-----BEGIN CERTIFICATE-----)"),
        (of(&cert.replace("CERTIFICATE", "SOMETHING"), &key), "there is no certificate in it (-----BEGIN CERTIFICATE-----)"),
        (of(&format!("{cert}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"), &key), "certificate 2 cannot be read"),
        (of(&long, &key), "the chain has 17 certificates, at most 16"),
        (of(&cert, ""), "there is no private key: the text is empty"),
        (of(&cert, "0\u{1}"), "the private key is DER; it must be PEM (-----BEGIN PRIVATE KEY-----)"),
        (of(&cert, "garbage"), "there is no private key in it (-----BEGIN PRIVATE KEY-----)"),
        (of(&cert, &cert), "there is no private key in it (-----BEGIN PRIVATE KEY-----)"),
        (of(&cert, &format!("{key}{key}")), "there is more than one private key in it"),
        (of(&cert, encrypted), "the private key is encrypted; it must be stored in the clear"),
        (of(&cert, garbled), "the private key cannot be read"),
        (of(&cert, &OTHER.key_pem()), "the private key does not belong to the certificate"),
        (of(&cert, &RSA.key_pem()), "the private key does not belong to the certificate"),
        (of(&(CA.pem() + &cert), &key), "the private key belongs to certificate 2 of the chain; the leaf must come first"),
        (
            of(&(cert.clone() + &foreign.pem()), &key),
            "certificate 2 of the chain did not issue certificate 1; each must be followed by its issuer",
        ),
        (
            of(&(cert.clone() + &OTHER.pem()), &key),
            "certificate 2 of the chain did not issue certificate 1; each must be followed by its issuer",
        ),
        (of(&client_only.pem(), &key_of(&client_only)), "the certificate is not meant for a server (extended key usage)"),
        (of(&nul.pem(), &key_of(&nul)), "the certificate has a subject alternative name with characters that no name has"),
        (with(pki::rsa(1024)), "the RSA key has 1024 bits; use 2048 to 8192"),
        (with(pki::ec(Nid::SECP521R1)), "the curve secp521r1 is not supported; use P-256 or P-384"),
        (with(pki::ed25519()), "keys of type ed25519 are not supported; use ECDSA (P-256, P-384) or RSA"),
    ];
    for (pair, expected) in cases {
        let secrets: Vec<String> = pair.key.lines().filter(|l| l.len() > 20 && !l.contains('-')).map(Into::into).collect();
        // Alone, and behind a pair that is good.
        for certs in [vec![pair.clone()], vec![lab::pair(&[&RSA]), pair.clone()]] {
            let said = refusal(&only(&TlsEntry { certs, ..entry(77, &[]) }));
            assert_eq!(said, format!("TLS entry 77: {expected}"));
            assert!(secrets.iter().all(|s| !said.contains(s)));
        }
    }
}

#[test]
fn what_an_entry_lacks_is_named() {
    let good = entry(5, &[&ECDSA]);
    let ca = || Some(CA.pem());
    let cases = [
        (TlsEntry { certs: vec![], ..good.clone() }, "no certificate"),
        (TlsEntry { alpn: vec![], ..good.clone() }, "no ALPN protocol"),
        (TlsEntry { alpn: vec!["h3".into(), String::new()], ..good.clone() }, "ALPN protocol of 0 bytes"),
        (TlsEntry { alpn: vec!["x".repeat(256)], ..good.clone() }, "ALPN protocol of 256 bytes"),
        (TlsEntry { client_auth: ClientAuth::Request, ..good.clone() }, "clientAuth request without a CA"),
        (TlsEntry { client_auth: ClientAuth::Require, ..good.clone() }, "clientAuth require without a CA"),
        (
            TlsEntry { client_auth: ClientAuth::Require, ca: Some(String::new()), ..good.clone() },
            "CA: there is no certificate: the text is empty",
        ),
        (
            TlsEntry { client_auth: ClientAuth::Request, ca: Some("garbage".into()), ..good.clone() },
            "CA: there is no certificate in it (-----BEGIN CERTIFICATE-----)",
        ),
        (
            TlsEntry { ca: ca().map(|c| c.replace("M", "-")), client_auth: ClientAuth::Require, ..good.clone() },
            "CA: certificate 1 cannot be read",
        ),
        (TlsEntry { ticket_keys: vec![ticket_key(1), Key(vec![1; 16])], ..good.clone() }, "ticket keys have 48 bytes, not 16"),
    ];
    for (e, expected) in cases {
        assert_eq!(refusal(&only(&e)), format!("TLS entry 5: {expected}"));
    }
    assert!(Tls::new(&only(&TlsEntry { alpn: vec!["x".repeat(255)], ..good.clone() })).is_ok());
    assert_eq!(refusal(&table(&[&good], &[], Some(6))), "TLS table: the fallback 6 is no entry");
    assert_eq!(refusal(&table(&[&good], &[("a.example", 7)], None)), "TLS table: \"a.example\" names 7, which is no entry");
    let twin = TlsEntry { alpn: vec!["h3x".into()], ..good.clone() };
    assert_eq!(refusal(&table(&[&good, &twin], &[], None)), "TLS entry 5: there are two with this id");
    assert!(Tls::new(&table(&[&good, &good], &[], None)).is_ok());
    assert!(!format!("{:?}", only(&good)).contains("PRIVATE"));
}

// Hot swap.

#[test]
fn a_new_table_counts_from_the_next_hello() {
    let (a, b) = (entry(1, &[&ECDSA]), entry(2, &[&OTHER]));
    let tls = tls(&table(&[&a], &[("a.example", 1)], None));
    let (mut server, mut client) = (server(&tls), plain());
    let mut waiting = Pair::new(&mut server, &mut client, Some("b.example"));
    let mut old = shake(&mut server, &mut client, NAME).good();
    assert_eq!(shake(&mut server, &mut client, Some("b.example")).code(), Some(UNRECOGNIZED_NAME));
    tls.set(&table(&[&a, &b], &[("a.example", 1), ("b.example", 2)], None)).unwrap();
    // A connection that had not yet spoken belongs to the new table, a finished one keeps what it has.
    waiting = waiting.talk().good();
    assert_eq!(waiting.chosen().unwrap().tls, 2);
    tls.set(&table(&[&b], &[("a.example", 2)], None)).unwrap();
    assert_eq!(shake(&mut server, &mut client, NAME).good().chosen().unwrap().tls, 2);
    assert_eq!(old.chosen().unwrap().tls, 1);
    assert_eq!(old.talk().good().code(), None);
}

#[test]
fn a_bad_table_changes_nothing() {
    let (a, b) = (entry(1, &[&ECDSA]), entry(2, &[&OTHER]));
    let tls = tls(&table(&[&a], &[("a.example", 1)], None));
    let broken = TlsEntry { alpn: vec![], ..entry(3, &[&OTHER]) };
    for bad in [
        table(&[&b, &broken], &[("a.example", 2)], None),
        table(&[&b], &[("a.example", 9)], None),
        table(&[&b], &[("a.example", 2)], Some(9)),
    ] {
        tls.set(&bad).unwrap_err();
        assert_eq!(shake(&mut server(&tls), &mut plain(), NAME).good().chosen().unwrap().tls, 1);
    }
}

#[test]
fn an_id_that_comes_again_with_other_contents_is_another_entry() {
    let lax = entry(1, &[&ECDSA]);
    let tls = tls(&only(&lax));
    let strict = TlsEntry { client_auth: ClientAuth::Require, ca: Some(CA.pem()), ..lax.clone() };
    tls.set(&only(&strict)).unwrap();
    assert_eq!(shake(&mut server(&tls), &mut plain(), NAME).code(), Some(REQUIRED));
    tls.set(&only(&TlsEntry { certs: vec![pair(&[&OTHER])], ..lax })).unwrap();
    assert_eq!(shake(&mut server(&tls), &mut plain(), NAME).good().client.peer_cert(), Some(&OTHER.der()[..]));
}

// Protocols and groups.

fn offering(wire: &'static [u8]) -> Config {
    client(|b| b.set_alpn_protos(wire).unwrap())
}

#[test]
fn the_protocol_is_the_entrys() {
    let entries = [entry(1, &[&ECDSA]), TlsEntry { alpn: vec!["hq".into(), "h3".into()], ..entry(2, &[&OTHER]) }];
    let mut server = server(&tls(&table(&entries.each_ref(), &[("a.example", 1), ("b.example", 2)], None)));
    let mut got = |name, wire| {
        let done = shake(&mut server, &mut offering(wire), Some(name));
        match done.code() {
            Some(code) => Err(code),
            None => Ok(done.good().server.application_proto().to_vec()),
        }
    };
    assert_eq!(got("a.example", b"\x02hq\x02h3"), Ok(b"h3".to_vec()));
    assert_eq!(got("b.example", b"\x02h3\x02hq"), Ok(b"h3".to_vec()));
    assert_eq!(got("b.example", b"\x02xx\x02hq"), Ok(b"hq".to_vec()));
    assert_eq!(got("a.example", b"\x02hq"), Err(NO_PROTOCOL));
    assert_eq!(got("a.example", b"\x03h3x\x01h\x02H3"), Err(NO_PROTOCOL));
}

#[test]
fn each_group_alone_will_do() {
    let mut server = server(&tls(&only(&entry(1, &[&ECDSA]))));
    for group in ["X25519MLKEM768", "X25519", "P-256", "P-384"] {
        let mut client = client(|b| b.set_curves_list(group).unwrap());
        let mut got = shake(&mut server, &mut client, NAME).good();
        assert_eq!(got.server.as_mut().curve_name(), Some(group));
    }
    let mut client = client(|b| b.set_curves_list("P-521").unwrap());
    assert_eq!(shake(&mut server, &mut client, NAME).code(), Some(HANDSHAKE_FAILURE));
}

#[test]
fn a_hello_may_come_in_pieces_and_in_any_order() {
    let mut server = server(&tls(&table(&[&entry(1, &[&ECDSA])], &[("a.example", 1)], None)));
    let mut client = client(|b| b.set_curves_list("X25519MLKEM768").unwrap());
    for order in [&[0, 1][..], &[1, 0], &[1, 1, 0], &[0, 0, 1]] {
        let mut pair = Pair::new(&mut server, &mut client, Some("A.example"));
        let initials = packets(&mut pair.client);
        assert_eq!(initials.len(), 2);
        for (n, &i) in order.iter().enumerate() {
            assert_eq!(pair.chosen(), None);
            deliver(&mut pair.server, &initials[i..=i], client_address(), server_address());
            assert_eq!(pair.chosen().is_some(), n + 1 == order.len());
        }
        assert_eq!(pair.talk().good().chosen().unwrap().sni.as_deref(), NAME);
    }
}

// Client certificates.

const REQUIRED: u64 = 0x174;
const UNKNOWN_CA: u64 = 0x130;
const EXPIRED: u64 = 0x12d;
const UNSUPPORTED: u64 = 0x12b;

fn asking(id: u32, client_auth: ClientAuth, ca: &Cert) -> TlsEntry {
    TlsEntry { client_auth, ca: Some(ca.pem()), ..entry(id, &[&ECDSA]) }
}

#[test]
fn client_certificates_in_three_modes() {
    let (ours, foreign) = (pki::ca("ours"), pki::ca("foreign"));
    let timed = |valid| make(&Wanted { name: "c", key: p256(), issuer: Some(&ours), ca: false, usage: Use::Client, valid, ip: None });
    let good = leaf(&ours, "c", p256(), Use::Client);
    let clients = [
        (None, None, Some(REQUIRED)),
        (Some(good.clone()), None, None),
        (Some(leaf(&ours, "c", p256(), Use::Unsaid)), None, None),
        (Some(leaf(&ours, "c", pki::rsa(2048), Use::Client)), None, None),
        (Some(leaf(&foreign, "c", p256(), Use::Client)), Some(UNKNOWN_CA), Some(UNKNOWN_CA)),
        (Some(leaf(&pki::ca("ours"), "c", p256(), Use::Client)), Some(0x133), Some(0x133)),
        (Some(pki::ca("self")), Some(UNKNOWN_CA), Some(UNKNOWN_CA)),
        (Some(timed((-7200, -60))), Some(EXPIRED), Some(EXPIRED)),
        (Some(timed((3600, 7200))), Some(EXPIRED), Some(EXPIRED)),
        (Some(leaf(&ours, "c", p256(), Use::Server)), Some(UNSUPPORTED), Some(UNSUPPORTED)),
    ];
    let mut none = server(&tls(&only(&asking(1, ClientAuth::None, &ours))));
    let mut request = server(&tls(&only(&asking(1, ClientAuth::Request, &ours))));
    let mut require = server(&tls(&only(&asking(1, ClientAuth::Require, &ours))));
    for (n, (cert, asked, required)) in clients.iter().enumerate() {
        let client = || cert.as_ref().map_or_else(plain, |c| with_certificate(&[c]));
        let chain = cert.as_ref().map(|c| vec![c.der()]);
        assert_eq!(shake(&mut none, &mut client(), NAME).good().server.peer_cert_chain(), None, "{n}");
        for (mode, expected) in [(&mut request, asked), (&mut require, required)] {
            let done = shake(mode, &mut client(), NAME);
            assert_eq!(done.code(), *expected, "{n}");
            if expected.is_none() {
                let seen = done.good().server.peer_cert_chain().map(|c| c.iter().map(|d| d.to_vec()).collect());
                assert_eq!(seen, chain, "{n}");
            } else {
                assert!(!done.server.is_established(), "{n}");
            }
        }
    }
}

#[test]
fn client_chains_end_in_the_entrys_own_store() {
    let (ours, theirs) = (pki::ca("ours"), pki::ca("theirs"));
    let middle = make(&Wanted { name: "middle", key: p256(), issuer: Some(&ours), ca: true, usage: Use::Unsaid, valid: YEAR, ip: None });
    let end = leaf(&middle, "c", p256(), Use::Client);
    let both = TlsEntry { ca: Some(theirs.pem() + &ours.pem()), ..asking(3, ClientAuth::Require, &ours) };
    let entries = [asking(1, ClientAuth::Require, &ours), asking(2, ClientAuth::Require, &theirs), both];
    let mut server = server(&tls(&table(&entries.each_ref(), &[("a.example", 1), ("b.example", 2), ("c.example", 3)], None)));
    let whole = &[&end, &middle][..];
    let mut code = |name, chain: &[&Cert]| shake(&mut server, &mut with_certificate(chain), Some(name)).code();
    assert_eq!(code("a.example", whole), None);
    assert_eq!(code("a.example", &[&end]), Some(UNKNOWN_CA));
    assert_eq!(code("b.example", whole), Some(UNKNOWN_CA));
    assert_eq!(code("b.example", &[&end, &middle, &ours]), Some(UNKNOWN_CA));
    assert_eq!(code("c.example", whole), None);
    assert_eq!(code("c.example", &[&leaf(&theirs, "d", p256(), Use::Client)]), None);
}

#[test]
fn the_names_of_the_cas_are_sent_while_they_are_few() {
    use std::sync::{Arc, Mutex};
    let cas: Vec<Cert> = (0..3).map(|n| pki::ca(&format!("authority {n}"))).collect();
    let few: String = cas.iter().map(Cert::pem).collect();
    let name = "x".repeat(60);
    let many: String = (0..220).map(|n| pki::ca(&format!("{name}{n}")).pem()).collect();
    for (bundle, expected) in [(few, 3), (many, 0)] {
        let e = TlsEntry { ca: Some(bundle), client_auth: ClientAuth::Request, ..entry(1, &[&ECDSA]) };
        let seen = Arc::new(Mutex::new(None));
        let note = Arc::clone(&seen);
        let mut client = client(|b| client_ca_names(b, move |n| *note.lock().unwrap() = Some(n)));
        shake(&mut server(&tls(&only(&e))), &mut client, NAME).good();
        assert_eq!(*seen.lock().unwrap(), Some(expected));
    }
}

/// Counts the names in the CertificateRequest that a client gets.
fn client_ca_names(b: &mut SslContextBuilder, f: impl Fn(usize) + Send + Sync + 'static) {
    use boring_sys as ffi;
    type Note = Box<dyn Fn(usize) + Send + Sync>;
    extern "C" fn asked(ssl: *mut ffi::SSL, note: *mut std::ffi::c_void) -> libc::c_int {
        // SAFETY: BoringSSL lends its SSL; the note is leaked and lives for ever.
        unsafe {
            let names = ffi::SSL_get0_server_requested_CAs(ssl);
            let count = if names.is_null() { 0 } else { ffi::sk_num(names.cast()) };
            (*note.cast::<Note>())(count);
        }
        1
    }
    let note: &'static mut Note = Box::leak(Box::new(Box::new(f)));
    // SAFETY: a valid context, and a pointer that stays valid.
    unsafe { ffi::SSL_CTX_set_cert_cb(b.as_ptr(), Some(asked), std::ptr::from_mut(note).cast()) };
}

// Tickets.

fn ticketing(id: u32, keys: &[u8]) -> TlsEntry {
    TlsEntry { ticket_keys: keys.iter().map(|&n| ticket_key(n)).collect(), ..entry(id, &[&ECDSA]) }
}

#[test]
fn a_session_resumes_on_its_policy_alone() {
    let a = ticketing(1, &[1]);
    let others = [
        ("auth", TlsEntry { client_auth: ClientAuth::Request, ca: Some(CA.pem()), ..ticketing(2, &[1]) }),
        ("ca", TlsEntry { ca: Some(CA.pem()), ..ticketing(2, &[1]) }),
        ("alpn", TlsEntry { alpn: vec!["h3".into(), "hq".into()], ..ticketing(2, &[1]) }),
        ("early data", TlsEntry { early_data: true, ..ticketing(2, &[1]) }),
        ("key", ticketing(2, &[2])),
        ("no key", ticketing(2, &[])),
    ];
    let tls = tls(&only(&a));
    let (mut server, mut client) = (server(&tls), plain());
    let first = shake(&mut server, &mut client, NAME).good();
    assert!(!first.resumed());
    let session = first.session();
    assert!(again(&mut server, &mut client, NAME, &session).good().resumed());
    // The same policy and keys under another name and id, too; each of the others, never, under either name.
    for (what, other) in others {
        tls.set(&table(&[&a, &other], &[("a.example", 1), ("b.example", 2)], None)).unwrap();
        assert!(again(&mut server, &mut client, NAME, &session).good().resumed(), "{what}");
        assert!(!again(&mut server, &mut client, Some("b.example"), &session).good().resumed(), "{what}");
        tls.set(&table(&[&other], &[("a.example", 2)], None)).unwrap();
        assert!(!again(&mut server, &mut client, NAME, &session).good().resumed(), "{what}");
    }
    tls.set(&only(&ticketing(9, &[1]))).unwrap();
    assert!(again(&mut server, &mut client, NAME, &session).good().resumed());
}

#[test]
fn another_process_with_the_key_resumes() {
    let session = shake(&mut server(&tls(&only(&ticketing(1, &[1])))), &mut plain(), NAME).good().session();
    assert!(again(&mut server(&tls(&only(&ticketing(2, &[1])))), &mut plain(), NAME, &session).good().resumed());
}

#[test]
fn a_ticket_lives_for_a_day_at_most() {
    let (mut server, mut client) = (server(&tls(&only(&ticketing(1, &[1])))), plain());
    let first = shake(&mut server, &mut client, NAME).good().session();
    let second = again(&mut server, &mut client, NAME, &first).good();
    assert!(second.resumed());
    for session in [first, second.session()] {
        // quiche puts a length of 8 bytes in front.
        let (length, rest) = session.split_first_chunk().unwrap();
        let session = SslSession::from_der(&rest[..u64::from_be_bytes(*length) as usize]).unwrap();
        assert!((86_000..=86_400).contains(&session.timeout()), "{}", session.timeout());
    }
}

fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn resumptions_do_not_prolong_a_session() {
    let reader = ticket::Reader::new(&ticket_key(1), "none", "");
    let (mut server, mut client) = (server(&tls(&only(&ticketing(1, &[1])))), plain());
    let before = unix_now();
    let first = shake(&mut server, &mut client, NAME).good().session();
    assert!((before + 86_400..=unix_now() + 86_400).contains(&reader.deadline(&first)));
    // As if its full handshake had been most of a day ago.
    let soon = unix_now() + 1_000;
    let old = reader.forge(&first, soon);
    let second = again(&mut server, &mut client, NAME, &old).good();
    assert_eq!((second.resumed(), reader.deadline(&second.session())), (true, soon));
    // Over: a full handshake, with which a day begins.
    let third = again(&mut server, &mut client, NAME, &reader.forge(&first, unix_now())).good();
    assert!(!third.resumed() && reader.deadline(&third.session()) > soon);
}

#[test]
fn a_session_ends_with_the_clients_certificate() {
    let ca = pki::ca("ours");
    let reader = ticket::Reader::new(&ticket_key(1), "require", &ca.pem());
    let e = TlsEntry { ticket_keys: vec![ticket_key(1)], ..asking(1, ClientAuth::Require, &ca) };
    let mut server = server(&tls(&only(&e)));
    let ending =
        |after| make(&Wanted { name: "c", key: p256(), issuer: Some(&ca), ca: false, usage: Use::Client, valid: (-60, after), ip: None });
    let before = unix_now();
    let mut deadline = |after| reader.deadline(&shake(&mut server, &mut with_certificate(&[&ending(after)]), NAME).good().session());
    let (short, long) = (deadline(1_000), deadline(90_000));
    assert!((before + 1_000..=unix_now() + 1_000).contains(&short));
    assert!((before + 86_400..=unix_now() + 86_400).contains(&long));
}

#[test]
fn without_keys_there_are_no_tickets() {
    let got = shake(&mut server(&tls(&only(&ticketing(1, &[])))), &mut plain(), NAME).good();
    assert_eq!(got.client.session(), None);
}

#[test]
fn keys_rotate_without_loss() {
    let tls = tls(&only(&ticketing(1, &[1])));
    let (mut server, mut client) = (server(&tls), plain());
    let first = shake(&mut server, &mut client, NAME).good().session();
    tls.set(&only(&ticketing(2, &[2, 1]))).unwrap();
    let resumed = again(&mut server, &mut client, NAME, &first).good();
    assert!(resumed.resumed());
    let renewed = resumed.session();
    tls.set(&only(&ticketing(3, &[3, 2]))).unwrap();
    assert!(!again(&mut server, &mut client, NAME, &first).good().resumed());
    assert!(again(&mut server, &mut client, NAME, &renewed).good().resumed());
}

#[test]
fn a_ticket_that_was_touched_is_no_ticket() {
    let (mut server, mut client) = (server(&tls(&only(&ticketing(1, &[1])))), plain());
    let session = shake(&mut server, &mut client, NAME).good().session();
    // Bits within the ticket, which is the longest part of the session that quiche keeps.
    let mut refused = 0;
    for at in (120..session.len() - 60).step_by(7) {
        let mut bad = session.clone();
        bad[at] ^= 1;
        let mut pair = Pair::new(&mut server, &mut client, NAME);
        if pair.client.set_session(&bad).is_ok() {
            let done = pair.talk();
            refused += u32::from(done.code().is_none() && !done.good().resumed());
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn a_resumed_session_still_knows_its_client() {
    let ca = pki::ca("ours");
    let cert = leaf(&ca, "c", p256(), Use::Client);
    for mode in [ClientAuth::Request, ClientAuth::Require] {
        let e = TlsEntry { ticket_keys: vec![ticket_key(1)], ..asking(1, mode, &ca) };
        let tls = tls(&only(&e));
        let mut server = server(&tls);
        let session = shake(&mut server, &mut with_certificate(&[&cert]), NAME).good().session();
        // Twice: what the first resumption issued knows it, too. The client need not have its key any more.
        let second = again(&mut server, &mut plain(), NAME, &session).good();
        let third = again(&mut server, &mut plain(), NAME, &second.session()).good();
        for got in [second, third] {
            assert!(got.resumed());
            assert_eq!(got.server.peer_cert_chain(), Some(vec![&cert.der()[..]]));
        }
        // Another CA: nobody is let in by a ticket.
        tls.set(&only(&TlsEntry { ca: Some(pki::ca("new").pem()), ..e.clone() })).unwrap();
        let outcome = again(&mut server, &mut plain(), NAME, &session);
        assert!(!outcome.server.is_resumed());
        match mode {
            ClientAuth::Require => assert_eq!(outcome.code(), Some(REQUIRED)),
            _ => assert_eq!(outcome.good().server.peer_cert_chain(), None),
        }
    }
}

#[test]
fn a_session_of_a_lax_policy_does_not_pass_a_strict_one() {
    let lax = ticketing(1, &[1]);
    let strict = TlsEntry { ticket_keys: vec![ticket_key(1)], ..asking(2, ClientAuth::Require, &CA) };
    let tls = tls(&table(&[&lax, &strict], &[("a.example", 1), ("b.example", 2)], None));
    let (mut server, mut client) = (server(&tls), plain());
    let session = shake(&mut server, &mut client, NAME).good().session();
    let bypass = again(&mut server, &mut client, Some("b.example"), &session);
    assert_eq!((bypass.code(), bypass.server.is_resumed()), (Some(REQUIRED), false));
}

#[test]
fn a_ticket_with_a_long_chain_is_not_issued() {
    let ca = pki::ca("ours");
    let cert = leaf(&ca, "c", p256(), Use::Client);
    let padding: Vec<Cert> = (0..30).map(|n| pki::ca(&format!("padding {n}"))).collect();
    let long: Vec<&Cert> = std::iter::once(&cert).chain(&padding).collect();
    let e = TlsEntry { ticket_keys: vec![ticket_key(1)], ..asking(1, ClientAuth::Require, &ca) };
    let mut server = server(&tls(&only(&e)));
    assert!(shake(&mut server, &mut with_certificate(&[&cert]), NAME).good().client.session().is_some());
    let got = shake(&mut server, &mut with_certificate(&long), NAME).good();
    assert_eq!(got.server.peer_cert_chain().unwrap().len(), 31);
    assert_eq!(got.client.session(), None);
}

// Early data.

#[test]
fn early_data_only_where_the_entry_wants_it() {
    for wanted in [true, false] {
        let e = TlsEntry { early_data: wanted, ..ticketing(1, &[1]) };
        let mut server = server(&tls(&only(&e)));
        let mut client = plain();
        client.enable_early_data();
        let mut first = shake(&mut server, &mut client, NAME).good();
        assert_eq!(first.chosen().unwrap().early_data, wanted);
        let mut pair = Pair::resuming(&mut server, &mut client, NAME, &first.session());
        let mut up = packets(&mut pair.client);
        assert_eq!(pair.client.is_in_early_data(), wanted);
        if wanted {
            pair.client.stream_send(0, b"early", true).unwrap();
            up.extend(packets(&mut pair.client));
        }
        deliver(&mut pair.server, &up, client_address(), server_address());
        assert!(!pair.server.is_established());
        assert_eq!(pair.server.is_in_early_data(), wanted);
        assert_eq!(pair.server.readable().next(), wanted.then_some(0));
        assert!(pair.talk().good().resumed());
    }
}

#[test]
fn early_data_stops_with_the_policy() {
    let e = TlsEntry { early_data: true, ..ticketing(1, &[1]) };
    let tls = tls(&only(&e));
    let mut server = server(&tls);
    let mut client = plain();
    client.enable_early_data();
    let session = shake(&mut server, &mut client, NAME).good().session();
    tls.set(&only(&ticketing(2, &[1]))).unwrap();
    let mut pair = Pair::resuming(&mut server, &mut client, NAME, &session);
    let mut up = packets(&mut pair.client);
    pair.client.stream_send(0, b"early", true).unwrap();
    up.extend(packets(&mut pair.client));
    deliver(&mut pair.server, &up, client_address(), server_address());
    assert_eq!((pair.server.is_in_early_data(), pair.server.readable().next()), (false, None));
    let done = pair.talk().good();
    assert!(!done.resumed());
}

// The key log.

#[test]
fn secrets_are_written_only_when_asked() {
    let path = std::env::temp_dir().join(format!("spooky-keylog-{}", std::process::id()));
    let tls = tls(&only(&entry(1, &[&ECDSA])));
    let log = KeyLog::open(path.to_str().unwrap()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    shake(&mut server(&tls), &mut plain(), NAME).good();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    let mut logging = config(tls.server_context(Some(&log)).unwrap());
    shake(&mut logging, &mut plain(), NAME).good();
    let labels =
        ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"];
    let read = || std::fs::read_to_string(&path).unwrap();
    let once = read();
    for label in labels {
        let lines: Vec<_> = once.lines().filter(|l| l.starts_with(&format!("{label} "))).collect();
        assert_eq!(lines.len(), 1, "{label}");
        let parts: Vec<_> = lines[0].split(' ').collect();
        assert!(parts.len() == 3 && parts[1].len() == 64 && parts[2].len() >= 64);
    }
    // A second connection, and a second opening, append.
    let mut reopened = config(tls.server_context(Some(&KeyLog::open(path.to_str().unwrap()).unwrap())).unwrap());
    shake(&mut reopened, &mut plain(), NAME).good();
    assert!(read().starts_with(&once) && read().len() == 2 * once.len());
    std::fs::remove_file(&path).unwrap();
    assert!(KeyLog::open("/nowhere/at/all").is_err());
    // Nothing can be written there, and nobody minds.
    let mut full = config(tls.server_context(Some(&KeyLog::open("/dev/full").unwrap())).unwrap());
    shake(&mut full, &mut plain(), NAME).good();
}

// Our own client.

const BAD_CERTIFICATE: u64 = 0x12a;

fn dialling(sni: Option<&str>) -> DialOptions {
    DialOptions {
        host: "127.0.0.1".parse().unwrap(),
        port: 1,
        local: None,
        sni: sni.map(Into::into),
        alpn: vec!["h3".into()],
        ca: CA.pem(),
        insecure: false,
        handshake_ms: 1,
        idle_ms: 1,
    }
}

fn dial(cert: &Cert, o: &DialOptions) -> (Option<u64>, Pair) {
    let mut client = config(client_context(o).unwrap());
    let done = shake(&mut server(&tls(&only(&entry(1, &[cert])))), &mut client, dial_name(o));
    (done.client.local_error().map(|e| e.error_code), done)
}

fn with_ip(name: &str, ip: &str) -> Cert {
    make(&Wanted { name, key: p256(), issuer: Some(&CA), ca: false, usage: Use::Server, valid: YEAR, ip: Some(ip) })
}

fn leaf_without_names(name: &str) -> Cert {
    make(&Wanted { name, key: p256(), issuer: Some(&CA), ca: true, usage: Use::Server, valid: YEAR, ip: None })
}

#[test]
fn a_client_verifies_the_name_or_the_address() {
    let (here, there) = (with_ip("ip", "127.0.0.1"), with_ip("ip", "127.0.0.2"));
    let subject = leaf_without_names("a.example");
    let cases = [
        (&*ECDSA, NAME, None, NAME),
        (&*ECDSA, Some("A.EXAMPLE"), None, Some("A.EXAMPLE")),
        (&*OTHER, NAME, Some(BAD_CERTIFICATE), NAME),
        (&subject, NAME, Some(BAD_CERTIFICATE), NAME),
        (&here, None, None, None),
        (&there, None, Some(BAD_CERTIFICATE), None),
        (&there, Some("127.0.0.2"), None, None),
        (&here, Some("127.0.0.2"), Some(BAD_CERTIFICATE), None),
        (&*ECDSA, None, Some(BAD_CERTIFICATE), None),
    ];
    for (n, (cert, sni, expected, sent)) in cases.into_iter().enumerate() {
        let o = dialling(sni);
        assert_eq!(dial_name(&o), sent);
        let (code, mut done) = dial(cert, &o);
        assert_eq!(code, expected, "{n}");
        assert_eq!(done.chosen().unwrap().sni.as_deref(), sent.map(str::to_ascii_lowercase).as_deref(), "{n}");
        // Without the name that quiche adds: the context alone verifies as much.
        let mut client = config(client_context(&o).unwrap());
        let bare = shake(&mut server(&tls(&only(&entry(1, &[cert])))), &mut client, None);
        assert_eq!(bare.client.local_error().map(|e| e.error_code), expected, "{n}");
        let (insecure, done) = dial(cert, &DialOptions { insecure: true, ca: String::new(), ..o });
        assert_eq!(insecure, None, "{n}");
        done.good();
    }
}

#[test]
fn a_client_verifies_the_chain() {
    let foreign = pki::ca("foreign");
    let timed = |valid| make(&Wanted { name: "a.example", key: p256(), issuer: Some(&CA), ca: false, usage: Use::Server, valid, ip: None });
    assert_eq!(dial(&pki::server(&foreign, "a.example"), &dialling(NAME)).0, Some(UNKNOWN_CA));
    assert_eq!(dial(&timed((-100, -50)), &dialling(NAME)).0, Some(EXPIRED));
    let two = DialOptions { ca: foreign.pem() + &CA.pem(), ..dialling(NAME) };
    assert_eq!(dial(&pki::server(&foreign, "a.example"), &two).0, None);
    assert_eq!(dial(&ECDSA, &two).0, None);
}

#[test]
fn a_client_offers_what_it_was_told() {
    let (code, done) = dial(&ECDSA, &DialOptions { alpn: vec!["xx".into(), "h3".into()], ..dialling(NAME) });
    assert_eq!((code, done.client.application_proto()), (None, &b"h3"[..]));
    let (_, done) = dial(&ECDSA, &DialOptions { alpn: vec!["xx".into()], ..dialling(NAME) });
    assert_eq!(done.code(), Some(NO_PROTOCOL));
    let (_, mut done) = dial(&ECDSA, &dialling(NAME));
    assert_eq!(done.server.as_mut().curve_name(), Some("X25519MLKEM768"));
    let refused = |o: &DialOptions| client_context(o).err().unwrap();
    assert_eq!(refused(&DialOptions { alpn: vec![], ..dialling(NAME) }), "alpn: at least one protocol wanted");
    assert_eq!(refused(&DialOptions { alpn: vec!["x".repeat(256)], ..dialling(NAME) }), "alpn: ALPN protocol of 256 bytes");
    assert_eq!(refused(&DialOptions { ca: String::new(), ..dialling(NAME) }), "ca: there is no certificate: the text is empty");
    assert!(refused(&DialOptions { ca: "x".into(), ..dialling(NAME) }).starts_with("ca: there is no certificate in it"));
}
