//! Spooky's QUIC engine. From the UDP socket to ordered stream bytes, everything happens in here, in batches; JavaScript is called
//! once per turn with records (`records.rs`) and answers with records.
//!
//! `socket` -> `gate` (`packet`, `ids`, `tokens`, `limits`) -> `connection` (`tls`) -> `records` -> JavaScript, driven by `turn`.
//! `host` is the only file that knows Node (N-API, libuv), `driver` runs an endpoint in Node's loop, `exports` is what JavaScript can call.

pub mod address;
pub mod budget;
pub mod chunks;
pub mod connection;
pub mod counters;
#[cfg(feature = "node")]
pub mod driver;
pub mod engine;
#[cfg(feature = "node")]
pub mod exports;
pub mod flights;
pub mod gate;
pub mod handover;
#[cfg(feature = "node")]
pub mod host;
pub mod ids;
pub mod limits;
pub mod listener;
pub mod memory;
pub mod moderation;
pub mod options;
pub mod outbound;
pub mod packet;
pub mod population;
pub mod port;
pub mod records;
pub mod report;
pub mod socket;
pub mod steering;
pub mod timers;
pub mod tls;
pub mod tokens;
pub mod transport;
pub mod turn;

#[cfg(feature = "node")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
