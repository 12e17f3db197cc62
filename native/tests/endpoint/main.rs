//! Endpoints over loopback: against each other, and against quiche in the test's own hands.

mod addresses;
mod certs;
mod early;
mod kit;
mod life;
mod paths;
mod raw;
mod streams;
mod workers;
