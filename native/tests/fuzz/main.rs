//! Input that nobody would send: random bytes, valid packets with something changed, and well-formed nonsense. Every round is made
//! of one seed, which a failure names.
//!
//! ```text
//! SPOOKY_FUZZ_SECONDS=60   how long in all (a fixed number of rounds when unset)
//! SPOOKY_FUZZ_SEED=7       begin here
//! ```

mod dice;
mod endpoint;
mod gate;
#[path = "../kit/mod.rs"]
mod kit;
mod parts;
#[allow(dead_code, reason = "one certificate is enough here")]
#[path = "../tls/pki.rs"]
mod pki;
