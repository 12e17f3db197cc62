//! Endpoints against each other over loopback.

mod certs;
mod kit;
mod life;
mod streams;
