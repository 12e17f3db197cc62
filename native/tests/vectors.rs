//! The golden vectors that every engine shares (`test/golden/`): the TypeScript tests read the same files.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use spooky_quic::ids::{CidCodec, CidParts, reset_token};
use spooky_quic::options::Key;
use spooky_quic::packet::answers::{RetryWriter, initial_close};
use spooky_quic::tokens::{TOKEN_LIFE_MS, TokenKeys, TokenVerdict};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CidVector {
    key: Key,
    rotation: u8,
    node_id: u32,
    worker_id: u8,
    slot: u32,
    generation: u32,
    sequence: u8,
    random: u32,
    id: Key,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GateVectors {
    reset_tokens: Vec<ResetVector>,
    tokens: Vec<TokenVector>,
    retries: Vec<RetryVector>,
    closes: Vec<CloseVector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetVector {
    key: Key,
    id: Key,
    token: Key,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenVector {
    by: String,
    key: Key,
    host: IpAddr,
    port: u16,
    id: Key,
    odcid: Key,
    time: u64,
    token: Key,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryVector {
    dcid: Key,
    scid: Key,
    id: Key,
    token: Key,
    packet: Key,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseVector {
    dcid: Key,
    scid: Key,
    code: u64,
    packet: Key,
}

fn golden<T: DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/../test/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn connection_ids() {
    let vectors: Vec<CidVector> = golden("cid.json");
    assert!(vectors.len() > 3);
    for v in vectors {
        let mut codec = CidCodec::rotated(&v.key.0, v.node_id, v.worker_id, v.rotation).unwrap();
        let id = codec.encode_with(v.slot, v.generation, v.sequence, v.random);
        assert_eq!(id[..], v.id.0);
        assert_eq!(id[0], (v.rotation << 5) | (v.worker_id % 32));
        let parts = CidParts { worker_id: v.worker_id, slot: v.slot, generation: v.generation, sequence: v.sequence };
        assert_eq!(codec.decode(&id), Some(parts));
    }
}

#[test]
fn reset_tokens() {
    let vectors = golden::<GateVectors>("gate.json").reset_tokens;
    assert!(vectors.len() > 3);
    for v in vectors {
        assert_eq!(reset_token(&v.key.0, &v.id.0)[..], v.token.0);
    }
}

#[test]
fn retry_tokens_of_either_engine() {
    let vectors = golden::<GateVectors>("gate.json").tokens;
    let engines: BTreeSet<&str> = vectors.iter().map(|v| v.by.as_str()).collect();
    assert_eq!(engines, BTreeSet::from(["matrixai", "native"]));
    for v in &vectors {
        let from = SocketAddr::new(v.host, v.port);
        let open = |wall, key: &Key, id: &[u8]| TokenKeys::new(std::slice::from_ref(key)).unwrap().open(&v.token.0, &from, id, wall);
        let good = TokenVerdict::Valid(v.odcid.0.clone());
        assert_eq!(open(v.time, &v.key, &v.id.0), good);
        assert_eq!(open(v.time + TOKEN_LIFE_MS, &v.key, &v.id.0), good);
        assert_eq!(open(v.time + TOKEN_LIFE_MS + 1, &v.key, &v.id.0), TokenVerdict::Expired);
        assert_eq!(open(v.time - 2_001, &v.key, &v.id.0), TokenVerdict::Expired);
        assert_eq!(open(v.time, &Key(vec![9; 32]), &v.id.0), TokenVerdict::Invalid);
        assert_eq!(open(v.time, &v.key, &[9; 17]), TokenVerdict::Invalid);
    }
}

#[test]
fn retry_packets() {
    let vectors = golden::<GateVectors>("gate.json").retries;
    assert!(vectors.len() > 2);
    let (mut writer, mut out) = (RetryWriter::new().unwrap(), [0; 1500]);
    for v in vectors {
        let token = v.token.0[..].try_into().unwrap();
        let n = writer.write(&v.dcid.0, &v.scid.0, &v.id.0, &token, &mut out).unwrap();
        assert_eq!(out[..n], v.packet.0);
    }
}

#[test]
fn refusals() {
    let vectors = golden::<GateVectors>("gate.json").closes;
    assert!(vectors.len() > 2);
    let mut out = [0; 1500];
    for v in vectors {
        let n = initial_close(&v.dcid.0, &v.scid.0, v.code, &mut out).unwrap();
        assert_eq!(out[..n], v.packet.0);
    }
}
