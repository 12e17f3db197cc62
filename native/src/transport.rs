//! quiche's configuration, from the limits of an endpoint.

use crate::options::{Congestion, DialOptions, Limits, ListenOptions};
use crate::tls;
use boring::ssl::SslContextBuilder;
use quiche::Config;

/// What an Ethernet path carries over IPv4 and IPv6 alike: probed before it is used (RFC 8899), so that 1,200 bytes are where all begin.
pub const LARGEST_PACKET: usize = 1452;
/// What may be probed beyond that where the first hop takes more (jumbo frames, loopback): as much as a message of UDP may have, as GSO messages.
pub const JUMBO_PACKET: usize = 65_000;
/// The same for a connection whose congestion window holds hardly more than one of those: four of them make a GSO message.
pub const SMALL_JUMBO: usize = 16_250;
/// A size that is not this much is not worth the probes.
pub const WORTH_A_PROBE: usize = 2 * LARGEST_PACKET;
/// On any other path than the first one: quiche probes only that one, and RFC 9000 s14.1 promises no more.
pub const SMALLEST_PACKET: usize = 1200;
/// Where the window of a stream begins; it grows as its reader keeps up.
const FIRST_WINDOW: u64 = 256 * 1024;
const CLIENT_STREAM_WINDOW: u64 = 2 * 1024 * 1024;
const CLIENT_CONN_WINDOW: u64 = 4 * 1024 * 1024;
const CLIENT_UNI: u64 = 16;
const DATAGRAM_QUEUE: usize = 64;
/// Ids of the peer that we keep, and with that the paths that quiche follows.
const PEER_IDS: u64 = 8;
const CHALLENGES: usize = 3;
const AMPLIFICATION: usize = 3;
const MAX_STREAMS: u64 = 65_535;
const MAX_COUNT: u64 = (1 << 53) - 1;

pub fn check_limits(l: &Limits) -> Result<(), String> {
    let counts = [
        ("connections", l.connections as u64),
        ("halfOpen", l.half_open as u64),
        ("retryAbove", l.retry_above as u64),
        ("perAddress", l.per_address as u64),
        ("handshakeMs", l.handshake_ms),
        ("idleMs", l.idle_ms),
        ("streamWindow", l.stream_window),
        ("connWindow", l.conn_window),
    ];
    if let Some((name, n)) = counts.into_iter().find(|(_, n)| *n > MAX_COUNT) {
        return Err(format!("limits.{name}: {n} is no count"));
    }
    for (name, n) in [("bidi", l.bidi), ("uni", l.uni)] {
        if n > MAX_STREAMS {
            return Err(format!("limits.{name}: at most {MAX_STREAMS} streams"));
        }
    }
    Ok(())
}

pub fn check_listen(o: &ListenOptions) -> Result<(), String> {
    if o.hosts.is_empty() {
        return Err("hosts: at least one address wanted".into());
    }
    check_limits(&o.limits)
}

pub fn server(context: SslContextBuilder, l: &Limits, congestion: Congestion) -> Result<Config, String> {
    let mut c = base(context, congestion)?;
    c.set_max_idle_timeout(l.idle_ms);
    c.set_initial_max_streams_bidi(l.bidi);
    c.set_initial_max_streams_uni(l.uni);
    windows(&mut c, FIRST_WINDOW.min(l.stream_window), l.stream_window, l.conn_window);
    if l.datagrams {
        c.enable_dgram(true, DATAGRAM_QUEUE, DATAGRAM_QUEUE);
    }
    Ok(c)
}

pub fn client(o: &DialOptions) -> Result<Config, String> {
    if o.alpn.is_empty() {
        return Err("alpn: at least one protocol wanted".into());
    }
    let mut c = base(tls::client_context(o)?, Congestion::Cubic)?;
    c.set_max_idle_timeout(o.idle_ms);
    c.set_initial_max_streams_uni(CLIENT_UNI);
    // Whole from the start: we know that we read what we ask for.
    windows(&mut c, CLIENT_STREAM_WINDOW, CLIENT_STREAM_WINDOW, CLIENT_CONN_WINDOW);
    c.enable_dgram(true, DATAGRAM_QUEUE, DATAGRAM_QUEUE);
    Ok(c)
}

fn windows(c: &mut Config, first: u64, stream: u64, conn: u64) {
    c.set_initial_max_data(conn);
    c.set_max_connection_window(conn);
    c.set_initial_max_stream_data_bidi_local(first);
    c.set_initial_max_stream_data_bidi_remote(first);
    c.set_initial_max_stream_data_uni(first);
    c.set_max_stream_window(stream);
}

fn base(context: SslContextBuilder, congestion: Congestion) -> Result<Config, String> {
    let mut c = Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, context).map_err(|e| format!("quiche: {e}"))?;
    c.set_cc_algorithm_name(match congestion {
        Congestion::Cubic => "cubic",
        Congestion::Bbr => "bbr",
        Congestion::Reno => "reno",
    })
    .map_err(|e| format!("congestion: {e}"))?;
    c.enable_hystart(true);
    // Release times would need a timer per packet or SO_TXTIME; without them a burst is what the congestion window allows.
    c.enable_pacing(false);
    c.grease(true);
    c.discover_pmtu(true);
    c.set_max_send_udp_payload_size(LARGEST_PACKET);
    c.set_max_recv_udp_payload_size(crate::socket::MAX_DATAGRAM);
    c.set_max_amplification_factor(AMPLIFICATION);
    c.set_active_connection_id_limit(PEER_IDS);
    c.set_path_challenge_recv_max_queue_len(CHALLENGES);
    Ok(c)
}
