//! What JavaScript says once per endpoint or per change of configuration: JSON, so that every field has a name and a type, and an
//! unknown one is an error. Keys are hexadecimal, certificates PEM.

use crate::address;
use boring::sha::sha256;
use serde::{Deserialize, Deserializer, de::Error};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenOptions {
    pub hosts: Vec<IpAddr>,
    pub port: u16,
    pub reuse_port: bool,
    pub cid: CidOptions,
    /// Without it, JavaScript hears of other workers' datagrams.
    #[serde(default)]
    pub handover: Option<HandoverOptions>,
    pub reset_key: Key,
    pub token_keys: Vec<Key>,
    pub retry: RetryMode,
    pub limits: Limits,
    pub tls: TlsTable,
    pub congestion: Congestion,
    pub receive_buffer: usize,
    pub send_buffer: usize,
    /// A file to which TLS secrets are appended.
    #[serde(default)]
    pub keylog: Option<String>,
    /// A folder that gets one qlog file per connection.
    #[serde(default)]
    pub qlog: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DialOptions {
    pub host: IpAddr,
    pub port: u16,
    pub local: Option<IpAddr>,
    pub sni: Option<String>,
    pub alpn: Vec<String>,
    /// PEM bundle; JavaScript puts Node's roots here when the caller gave none.
    pub ca: String,
    pub insecure: bool,
    pub handshake_ms: u64,
    pub idle_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CidOptions {
    pub node_id: u32,
    pub worker_id: u8,
    pub key: Key,
}

/// Where the workers of this node meet: sockets named by a worker's number and this listener's name.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HandoverOptions {
    pub folder: PathBuf,
    #[serde(deserialize_with = "sixteen_digits")]
    pub name: String,
}

impl HandoverOptions {
    pub fn path(&self, worker: u8) -> PathBuf {
        self.folder.join(format!("{worker}-{}", self.name))
    }

    pub fn named(&self, name: &str) -> Self {
        HandoverOptions { folder: self.folder.clone(), name: name.into() }
    }

    /// By what a listener is found at an address, whatever its name is.
    pub fn at(&self, address: &SocketAddr) -> Self {
        let digest = sha256(&address::encode(address));
        self.named(&digest[..8].iter().map(|octet| format!("{octet:02x}")).collect::<String>())
    }
}

/// Where a listener is from now on.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Whereabouts {
    pub hosts: Vec<IpAddr>,
    #[serde(default, deserialize_with = "some_sixteen_digits")]
    pub name: Option<String>,
}

fn some_sixteen_digits<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    sixteen_digits(d).map(Some)
}

/// A part of a file's name: nothing but digits.
fn sixteen_digits<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let text = String::deserialize(d)?;
    if text.len() == 16 && text.bytes().all(|b| nibble(b).is_some()) {
        return Ok(text);
    }
    Err(D::Error::custom("16 hexadecimal digits wanted"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryMode {
    Off,
    Load,
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Congestion {
    Cubic,
    Bbr,
    Reno,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    pub connections: usize,
    pub half_open: usize,
    pub handshakes_per_second: u32,
    pub retry_above: usize,
    pub per_address: usize,
    pub handshake_ms: u64,
    pub idle_ms: u64,
    pub bidi: u64,
    pub uni: u64,
    pub stream_window: u64,
    pub conn_window: u64,
    pub datagrams: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsTable {
    pub entries: Vec<TlsEntry>,
    /// `a.b` or `*.b`, lower case, to the id of an entry.
    pub names: HashMap<String, u32>,
    /// What an unmatched or missing name gets; null rejects it with unrecognized_name.
    pub fallback: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsEntry {
    pub id: u32,
    /// ECDSA first, RSA second.
    pub certs: Vec<CertPair>,
    pub client_auth: ClientAuth,
    #[serde(default)]
    pub ca: Option<String>,
    pub alpn: Vec<String>,
    pub early_data: bool,
    /// 48 bytes each: the first seals, all open.
    pub ticket_keys: Vec<Key>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertPair {
    pub cert: String,
    pub key: String,
}

impl std::fmt::Debug for CertPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertPair(..)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientAuth {
    None,
    Request,
    Require,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointKeys {
    pub reset_key: Key,
    pub token_keys: Vec<Key>,
}

/// Secret bytes: they come in hexadecimal and never show.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        from_hex(&text).map(Key).ok_or_else(|| D::Error::custom("a key in hexadecimal wanted"))
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hexadecimal_and_do_not_show() {
        let k: Key = serde_json::from_str("\"00ff10\"").unwrap();
        assert_eq!(k.0, [0, 255, 16]);
        assert_eq!(format!("{k:?}"), "Key(3 bytes)");
        for bad in ["\"0\"", "\"0g\"", "\"FF\"", "7"] {
            assert!(serde_json::from_str::<Key>(bad).is_err());
        }
    }

    #[test]
    fn unknown_fields_are_named() {
        let e = serde_json::from_str::<EndpointKeys>(r#"{"resetKey":"00","tokenKeys":[],"more":1}"#).unwrap_err();
        assert!(e.to_string().contains("more"));
    }
}
