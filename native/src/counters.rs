//! What an endpoint counts. The names are the seam's (`DROPS`, `OUTCOMES` in engine.ts): `EndpointStats` is made of them.

use serde::Serialize;

/// Why a datagram, or a newcomer, was turned away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dropped {
    pub empty: u64,
    pub malformed: u64,
    pub short_initial: u64,
    pub short_version: u64,
    pub version_limited: u64,
    pub unknown_connection: u64,
    pub token: u64,
    pub token_expired: u64,
    pub address_limit: u64,
    pub handshake_rate: u64,
    pub half_open: u64,
    pub connections: u64,
    pub draining: u64,
    pub foreign: u64,
    pub batch: u64,
}

/// How handshakes ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Handshakes {
    pub accepted: u64,
    pub refused_limit: u64,
    pub refused_draining: u64,
    pub handshake_timeout: u64,
    pub tls_failed: u64,
    pub alpn_failed: u64,
    pub sni_rejected: u64,
    pub client_gone: u64,
}

/// What was answered without a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answered {
    pub retry: u64,
    pub version: u64,
    pub reset: u64,
    pub refused: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Received, sent.
    pub datagrams: [u64; 2],
    pub bytes: [u64; 2],
    pub handshakes: Handshakes,
    pub dropped: Dropped,
    pub answered: Answered,
    /// Command records that named no live connection (stale), or were malformed (invalid).
    pub commands_stale: u64,
    pub commands_invalid: u64,
}
