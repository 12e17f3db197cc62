//! What an endpoint that listens has and one that dials has not: the gate, certificates, and the making of connections.

use crate::address::limit_key;
use crate::budget::Budget;
use crate::chunks::{Chunks, Quic};
use crate::connection::{Born, Connection};
use crate::gate::{Gate, Newcomer, Waiting};
use crate::handover::Handover;
use crate::ids::YoungKey;
use crate::options::{Congestion, Limits, ListenOptions, TlsTable};
use crate::tls::{KeyLog, Tls};
use crate::transport;
use quiche::{ConnectionId, RetryConnectionIds};
use std::fs::File;
use std::io::BufWriter;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long handshakes may go on once the endpoint drains.
pub const DRAIN_HANDSHAKE: Duration = Duration::from_secs(1);

pub struct Listener {
    pub gate: Gate,
    pub waiting: Waiting,
    pub handover: Option<Box<Handover>>,
    pub draining: Option<Draining>,
    tls: Tls,
    config: quiche::Config,
    limits: Limits,
    congestion: Congestion,
    keylog: Option<KeyLog>,
    qlog: Option<PathBuf>,
}

#[derive(Clone, Copy)]
pub struct Draining {
    /// When handshakes that are still unfinished end; None when they have.
    pub until: Option<Instant>,
    pub told: bool,
}

/// What became of a client's first datagram.
pub enum Begun {
    Connection(Box<Connection>),
    /// It was not authentic, or no ClientHello.
    Forged,
    /// quiche has refused it, and says nothing: a transport parameter that makes no sense.
    Refused(Box<Connection>),
}

impl Listener {
    pub fn new(o: &ListenOptions, now: Instant) -> Result<Self, String> {
        transport::check_listen(o)?;
        let keylog = match &o.keylog {
            Some(path) => Some(KeyLog::open(path).map_err(|e| format!("keylog: {path}: {e}"))?),
            None => None,
        };
        if let Some(path) = o.qlog.as_ref().filter(|path| !Path::new(path).is_dir()) {
            return Err(format!("qlog: {path}: no such folder"));
        }
        let tls = Tls::new(&o.tls)?;
        let config = transport::server(tls.server_context(keylog.as_ref())?, &o.limits, o.congestion)?;
        Ok(Listener {
            gate: Gate::new(o, now)?,
            waiting: Waiting::new(),
            handover: None,
            draining: None,
            tls,
            config,
            limits: o.limits.clone(),
            congestion: o.congestion,
            keylog,
            qlog: o.qlog.as_ref().map(PathBuf::from),
        })
    }

    /// `datagram` is its first one.
    pub fn begin(
        &mut self,
        (slot, generation): (u32, u32),
        n: Newcomer,
        datagram: &mut [u8],
        remote: SocketAddr,
        local: SocketAddr,
        now: Instant,
    ) -> Result<Begun, quiche::Error> {
        let id = self.gate.new_id(slot, generation, 0);
        self.config.set_stateless_reset_token(Some(u128::from_be_bytes(self.gate.reset_token(&id))));
        let id = ConnectionId::from_ref(&id);
        let mut q = match &n.odcid {
            None => quiche::accept_with_buf_factory::<Chunks>(&id, None, local, remote, &mut self.config)?,
            Some(odcid) => {
                let first = ConnectionId::from_ref(odcid);
                let retry = ConnectionId::from_ref(&n.dcid);
                let ids = RetryConnectionIds { original_destination_cid: &first, retry_source_cid: &retry };
                quiche::accept_with_retry::<Chunks>(&id, ids, local, remote, &mut self.config)?
            }
        };
        self.log(&mut q);
        let born = Born {
            slot,
            generation,
            remote,
            local,
            limit_key: limit_key(&remote),
            young: Some(YoungKey(remote, n.dcid)),
            now,
            budget: Some(Budget::new(now, self.limits.stream_window, self.limits.conn_window)),
            handshake: Duration::from_millis(self.limits.handshake_ms),
        };
        let mut c = Box::new(Connection::new(q, born));
        c.recv(datagram, remote, local, now);
        if c.q.stats().recv > 0 {
            return Ok(Begun::Connection(c));
        }
        Ok(match crate::tls::chosen(c.q.as_mut()) {
            None if !c.rejected_name() => Begun::Forged,
            _ if c.q.is_closed() => Begun::Refused(c),
            _ if c.q.local_error().is_some() => Begun::Connection(c),
            _ => Begun::Forged,
        })
    }

    /// One file per connection, named by its id. A folder that takes no more is no reason to refuse clients.
    fn log(&self, q: &mut Quic) {
        let Some(folder) = &self.qlog else { return };
        let name = q.trace_id().to_string();
        if let Ok(file) = File::create(folder.join(format!("{name}.sqlog"))) {
            q.set_qlog(Box::new(BufWriter::new(file)), "spooky".into(), name);
        }
    }

    pub fn set_tls(&mut self, t: &TlsTable) -> Result<(), String> {
        self.tls.set(t)
    }

    /// For connections from now on. After an error everything is as it was.
    pub fn set_limits(&mut self, l: Limits) -> Result<(), String> {
        transport::check_limits(&l)?;
        self.config = transport::server(self.tls.server_context(self.keylog.as_ref())?, &l, self.congestion)?;
        self.gate.set_limits(&l);
        self.limits = l;
        Ok(())
    }

    pub fn set_congestion(&mut self, c: Congestion) -> Result<(), String> {
        self.config = transport::server(self.tls.server_context(self.keylog.as_ref())?, &self.limits, c)?;
        self.congestion = c;
        Ok(())
    }
}
