//! A server and a client that shuttle packets through memory.

use super::pki::Cert;
use boring::ssl::{SslContextBuilder, SslMethod, SslVersion};
use quiche::{Config, Connection, ConnectionId, RecvInfo};
use spooky_quic::options::{CertPair, ClientAuth, Key, TlsEntry, TlsTable};
use spooky_quic::tls::{Chosen, Tls, chosen};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

const ROUNDS: usize = 40;

pub const UNRECOGNIZED_NAME: u64 = 0x170;
pub const NO_PROTOCOL: u64 = 0x178;
pub const HANDSHAKE_FAILURE: u64 = 0x128;

pub fn pair(chain: &[&Cert]) -> CertPair {
    CertPair { cert: chain.iter().map(|c| c.pem()).collect(), key: chain[0].key_pem() }
}

pub fn entry(id: u32, certs: &[&Cert]) -> TlsEntry {
    TlsEntry {
        id,
        certs: certs.iter().map(|c| pair(&[c])).collect(),
        client_auth: ClientAuth::None,
        ca: None,
        alpn: vec!["h3".into()],
        early_data: false,
        ticket_keys: vec![],
    }
}

pub fn ticket_key(n: u8) -> Key {
    Key(vec![n; 48])
}

pub fn table(entries: &[&TlsEntry], names: &[(&str, u32)], fallback: Option<u32>) -> TlsTable {
    TlsTable {
        entries: entries.iter().map(|e| (*e).clone()).collect(),
        names: names.iter().map(|(n, id)| ((*n).into(), *id)).collect::<HashMap<_, _>>(),
        fallback,
    }
}

/// A table of one entry, for whatever name.
pub fn only(e: &TlsEntry) -> TlsTable {
    table(&[e], &[], Some(e.id))
}

fn transport(mut c: Config) -> Config {
    c.set_initial_max_data(1 << 20);
    c.set_initial_max_stream_data_bidi_local(1 << 16);
    c.set_initial_max_stream_data_bidi_remote(1 << 16);
    c.set_initial_max_streams_bidi(10);
    c.set_max_idle_timeout(10_000);
    c
}

pub fn config(b: SslContextBuilder) -> Config {
    transport(Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, b).unwrap())
}

pub fn server(tls: &Tls) -> Config {
    config(tls.server_context(None).unwrap())
}

/// A client that verifies nothing, before `change`.
pub fn client(change: impl FnOnce(&mut SslContextBuilder)) -> Config {
    let mut b = SslContextBuilder::new(SslMethod::tls()).unwrap();
    b.set_min_proto_version(Some(SslVersion::TLS1_3)).unwrap();
    b.set_alpn_protos(b"\x02h3").unwrap();
    change(&mut b);
    config(b)
}

pub fn plain() -> Config {
    client(|_| {})
}

pub fn with_certificate(chain: &[&Cert]) -> Config {
    client(|b| {
        b.set_certificate(&chain[0].cert).unwrap();
        b.set_private_key(&chain[0].key).unwrap();
        for c in &chain[1..] {
            b.add_extra_chain_cert(c.cert.clone()).unwrap();
        }
    })
}

pub struct Pair {
    pub client: Connection,
    pub server: Connection,
}

pub fn client_address() -> SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

pub fn server_address() -> SocketAddr {
    "127.0.0.1:2".parse().unwrap()
}

fn id() -> ConnectionId<'static> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    ConnectionId::from_vec([[7; 8], n.to_be_bytes()].concat())
}

impl Pair {
    pub fn new(server: &mut Config, client: &mut Config, sni: Option<&str>) -> Self {
        Pair {
            client: quiche::connect(sni, &id(), client_address(), server_address(), client).unwrap(),
            server: quiche::accept(&id(), None, server_address(), client_address(), server).unwrap(),
        }
    }

    pub fn resuming(server: &mut Config, client: &mut Config, sni: Option<&str>, session: &[u8]) -> Self {
        let mut pair = Pair::new(server, client, sni);
        pair.client.set_session(session).unwrap();
        pair
    }

    /// Until neither has anything to say.
    pub fn talk(mut self) -> Self {
        for _ in 0..ROUNDS {
            let up = packets(&mut self.client);
            deliver(&mut self.server, &up, client_address(), server_address());
            let down = packets(&mut self.server);
            deliver(&mut self.client, &down, server_address(), client_address());
            if up.is_empty() && down.is_empty() {
                return self;
            }
        }
        panic!("they never stop");
    }

    /// Both sides are happy, and the client knows the server's certificate.
    pub fn good(mut self) -> Self {
        assert_eq!(self.code(), None);
        assert!(self.client.is_established() && self.server.is_established());
        self.chosen().unwrap();
        self
    }

    /// The code that the server closed with, which the client was told.
    pub fn code(&self) -> Option<u64> {
        let code = self.server.local_error().map(|e| e.error_code);
        assert_eq!(code, self.client.peer_error().map(|e| e.error_code));
        code
    }

    pub fn chosen(&mut self) -> Option<Chosen> {
        chosen(self.server.as_mut())
    }

    pub fn session(&self) -> Vec<u8> {
        self.client.session().unwrap().to_vec()
    }

    pub fn resumed(&self) -> bool {
        assert_eq!(self.server.is_resumed(), self.client.is_resumed());
        self.server.is_resumed()
    }
}

pub fn packets(c: &mut Connection) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut out = [0; 1500];
    while let Ok((n, _)) = c.send(&mut out) {
        all.push(out[..n].to_vec());
    }
    all
}

pub fn deliver(c: &mut Connection, packets: &[Vec<u8>], from: SocketAddr, to: SocketAddr) {
    for p in packets {
        // What is wrong shows in the connection's error.
        let _ = c.recv(&mut p.clone(), RecvInfo { from, to });
    }
}

pub fn shake(server: &mut Config, client: &mut Config, sni: Option<&str>) -> Pair {
    Pair::new(server, client, sni).talk()
}

pub fn again(server: &mut Config, client: &mut Config, sni: Option<&str>, session: &[u8]) -> Pair {
    Pair::resuming(server, client, sni, session).talk()
}
