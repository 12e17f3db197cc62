//! What JavaScript asks rarely, as JSON.

use crate::connection::Connection;
use crate::counters::Counters;
use crate::engine::Engine;
use crate::gate::Population as _;
use crate::handover::Handed;
use crate::tls;
use boring::base64;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats<'a> {
    connections: usize,
    half_open: usize,
    receive_buffer: usize,
    kernel_drops: u64,
    handover: Handed,
    #[serde(flatten)]
    counters: &'a Counters,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    sni: Option<String>,
    alpn: String,
    tls: u32,
    resumed: bool,
    peer_chain: Option<Vec<String>>,
    handshake_ms: u64,
}

pub fn stats(engine: &Engine, receive_buffer: usize, kernel_drops: u64) -> String {
    let (connections, half_open) = (engine.people.open(), engine.people.handshaking());
    json(&Stats { connections, half_open, receive_buffer, kernel_drops, handover: engine.handed(), counters: &engine.counters })
}

/// `dialled`: the name that we asked for.
pub fn info(c: &mut Connection, dialled: Option<Option<String>>) -> String {
    let chosen = tls::chosen(c.q.as_mut());
    let chain = c.q.peer_cert_chain().filter(|chain| !chain.is_empty());
    json(&Info {
        sni: dialled.unwrap_or_else(|| chosen.as_ref().and_then(|c| c.sni.clone())),
        alpn: String::from_utf8_lossy(c.q.application_proto()).into_owned(),
        tls: chosen.map_or(0, |c| c.tls),
        resumed: c.q.is_resumed(),
        peer_chain: chain.map(|chain| chain.into_iter().map(base64::encode_block).collect()),
        handshake_ms: c.handshake_ms,
    })
}

/// Numbers and strings: nothing that could fail.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".into())
}
