//! What JavaScript can call: a table of functions, their arguments checked. `host` registers them, each behind the wrapper that catches
//! unwinding; a panic in one that has an endpoint also ends that endpoint.

use crate::address;
use crate::driver::{self, Capacity, Driver, Hub};
use crate::host::{Answer, Call, Export, Failure, Loop, Module, guard};
use crate::options::{Congestion, RetryMode, Whereabouts};
use crate::records::ABI;
use crate::tls;
use crate::turn::{Endpoint, OpenError};
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

const MAX_FORWARDED: usize = 65_535;
/// JSON's errors repeat what they did not like: enough of it to find the place.
const MESSAGE_LIMIT: usize = 300;

const TABLE: &[Export] = &[
    Export { name: "abi", arguments: 0, run: |_| Ok(Answer::Number(f64::from(ABI))) },
    Export { name: "version", arguments: 0, run: |_| Ok(Answer::Text(String::from(QUICHE))) },
    Export { name: "judge", arguments: 2, run: judge },
    Export { name: "open", arguments: 3, run: open },
    Export { name: "dial", arguments: 3, run: dial },
    Export { name: "submit", arguments: 2, run: submit },
    Export { name: "flush", arguments: 2, run: flush },
    Export { name: "forward", arguments: 4, run: forward },
    Export { name: "setTls", arguments: 2, run: set_tls },
    Export { name: "setLimits", arguments: 2, run: set_limits },
    Export { name: "setRetry", arguments: 2, run: set_retry },
    Export { name: "setCongestion", arguments: 2, run: set_congestion },
    Export { name: "setKeys", arguments: 2, run: set_keys },
    Export { name: "succeed", arguments: 2, run: succeed },
    Export { name: "widen", arguments: 2, run: widen },
    Export { name: "narrow", arguments: 2, run: narrow },
    Export { name: "drain", arguments: 1, run: drain },
    Export { name: "close", arguments: 1, run: close },
    Export { name: "stats", arguments: 1, run: stats },
    Export { name: "info", arguments: 3, run: info },
    Export { name: "connStats", arguments: 3, run: conn_stats },
    Export { name: "stuck", arguments: 4, run: stuck },
    #[cfg(feature = "inject")]
    Export { name: "inject", arguments: 2, run: inject },
];

/// The version that Cargo.toml pins.
const QUICHE: &str = "0.30.0";

type Outcome = Result<Answer, Failure>;

/// What this module keeps for one environment.
struct State {
    hub: Rc<Hub>,
    lane: Rc<Loop>,
}

pub fn register(module: &Module) -> Result<(), Failure> {
    let hub = Hub::new();
    let leaving = Rc::clone(&hub);
    let lane = module.event_loop(move || leaving.abandon())?;
    module.keep(Rc::new(State { hub, lane }))?;
    module.define(TABLE)
}

fn open(call: &Call) -> Outcome {
    let options = parse(&call.text(0)?)?;
    begin(call, driver::LISTENING, || Endpoint::listen(options))
}

fn dial(call: &Call) -> Outcome {
    let options = parse(&call.text(0)?)?;
    begin(call, driver::DIALLED, || Endpoint::dial(options))
}

fn begin(call: &Call, capacity: Capacity, make: impl FnOnce() -> Result<Endpoint, OpenError>) -> Outcome {
    let (turn, fault) = (call.function(1)?, call.function(2)?);
    let state = call.state::<State>()?;
    let endpoint = make().map_err(|e| Failure { code: e.code, message: e.message })?;
    let addresses = listed(&endpoint.addresses());
    let (handle, mut opened) = state.hub.drive(&state.lane, endpoint, capacity, turn, fault)?;
    opened.push(("handle", Answer::Number(f64::from(handle))));
    opened.push(("addresses", Answer::Text(addresses)));
    Ok(Answer::Object(opened))
}

fn listed(addresses: &[SocketAddr]) -> String {
    let list: Vec<_> = addresses.iter().map(|a| serde_json::json!({ "host": a.ip().to_string(), "port": a.port() })).collect();
    serde_json::Value::from(list).to_string()
}

fn submit(call: &Call) -> Outcome {
    let commands = call.whole(1)?;
    with(call, |driver| driver.submit(commands).map(|()| Answer::Undefined))
}

fn flush(call: &Call) -> Outcome {
    let commands = call.whole(1)?;
    with(call, |driver| driver.flush(commands).map(|()| Answer::Undefined))
}

fn forward(call: &Call) -> Outcome {
    let mut datagram = call.bytes(1, MAX_FORWARDED)?;
    let (from, to) = (address_of(call, 2)?, address_of(call, 3)?);
    on_endpoint(call, |e| {
        e.forward(&mut datagram, from, to, Instant::now());
        Ok(Answer::Undefined)
    })
}

fn address_of(call: &Call, i: usize) -> Result<SocketAddr, Failure> {
    address::decode(&call.bytes(i, address::ADDRESS_LENGTH)?).ok_or_else(|| Failure::from("an address has 18 bytes"))
}

fn judge(call: &Call) -> Outcome {
    Ok(tls::judge(&call.text(0)?, &call.text(1)?).map(|()| Answer::Undefined)?)
}

fn set_tls(call: &Call) -> Outcome {
    let table = parse(&call.text(1)?)?;
    on_endpoint(call, |e| Ok(e.set_tls(table).map(|()| Answer::Undefined)?))
}

fn set_limits(call: &Call) -> Outcome {
    let limits = parse(&call.text(1)?)?;
    on_endpoint(call, |e| Ok(e.set_limits(limits).map(|()| Answer::Undefined)?))
}

fn set_retry(call: &Call) -> Outcome {
    let mode: RetryMode = name(&call.text(1)?)?;
    on_endpoint(call, |e| {
        e.set_retry(mode);
        Ok(Answer::Undefined)
    })
}

fn set_congestion(call: &Call) -> Outcome {
    let congestion: Congestion = name(&call.text(1)?)?;
    on_endpoint(call, |e| {
        e.set_congestion(congestion);
        Ok(Answer::Undefined)
    })
}

fn set_keys(call: &Call) -> Outcome {
    let keys = parse(&call.text(1)?)?;
    on_endpoint(call, |e| Ok(e.set_keys(keys).map(|()| Answer::Undefined)?))
}

fn succeed(call: &Call) -> Outcome {
    let workers = parse(&call.text(1)?)?;
    on_endpoint(call, |e| Ok(e.succeed(workers).map(|()| Answer::Undefined)?))
}

/// Answers where the endpoint will be.
fn widen(call: &Call) -> Outcome {
    let wanted: Whereabouts = parse(&call.text(1)?)?;
    let state = call.state::<State>()?;
    let driver = state.hub.find(call.whole(0)?)?;
    with(call, |_| {
        let widened = driver.endpoint(|e| e.widen(&wanted))?;
        let addresses = widened.map_err(|e| Failure { code: e.code, message: e.message })?;
        driver.watch(&state.lane)?;
        Ok(Answer::Text(listed(&addresses)))
    })
}

fn narrow(call: &Call) -> Outcome {
    let wanted: Whereabouts = parse(&call.text(1)?)?;
    with(call, |driver| {
        driver.endpoint(|e| e.narrow(&wanted, Instant::now()))?;
        driver.soon();
        Ok(Answer::Undefined)
    })
}

fn drain(call: &Call) -> Outcome {
    with(call, |driver| {
        driver.endpoint(Endpoint::drain)?;
        driver.soon();
        Ok(Answer::Undefined)
    })
}

/// A second call does nothing.
fn close(call: &Call) -> Outcome {
    let state = call.state::<State>()?;
    let handle = call.whole(0)?;
    match state.hub.find(handle) {
        Ok(_) => with(call, |driver| {
            driver.close();
            Ok(Answer::Undefined)
        }),
        Err(_) if state.hub.issued(handle) => Ok(Answer::Undefined),
        Err(failure) => Err(failure),
    }
}

fn stats(call: &Call) -> Outcome {
    on_endpoint(call, |e| Ok(Answer::Text(e.stats())))
}

fn info(call: &Call) -> Outcome {
    let (slot, generation) = (call.whole(1)?, call.whole(2)?);
    on_endpoint(call, |e| Ok(Answer::Text(e.info(slot, generation))))
}

fn conn_stats(call: &Call) -> Outcome {
    let (slot, generation) = (call.whole(1)?, call.whole(2)?);
    on_endpoint(call, |e| Ok(e.conn_stats(slot, generation).map_or(Answer::Null, |s| Answer::Numbers(s.to_vec()))))
}

fn stuck(call: &Call) -> Outcome {
    let (slot, generation, ms) = (call.whole(1)?, call.whole(2)?, call.whole(3)?);
    on_endpoint(call, |e| {
        let ids = e.stuck(slot, generation, u64::from(ms));
        Ok(Answer::Numbers(ids.into_iter().map(|id| id as f64).collect()))
    })
}

#[cfg(feature = "inject")]
fn inject(call: &Call) -> Outcome {
    let kind = call.text(1)?;
    with(call, |driver| {
        driver.endpoint(|_| ())?;
        match kind.as_str() {
            "panic-export" => panic!("injected into an export"),
            "panic-turn" => driver.inject(driver::Injected::Panic),
            "socket-error" => driver.inject(driver::Injected::SocketError),
            _ => return Err(Failure::from("nothing of that name can be injected")),
        }
        Ok(Answer::Undefined)
    })
}

/// Runs `f` with the endpoint that the first argument names. A panic in it kills that endpoint, and is thrown.
fn with(call: &Call, f: impl FnOnce(&Driver) -> Outcome) -> Outcome {
    let driver = call.state::<State>()?.hub.find(call.whole(0)?)?;
    guard(|| f(&driver)).unwrap_or_else(|message| {
        driver.failed_in_export(message.clone());
        Err(Failure::from(message))
    })
}

fn on_endpoint(call: &Call, f: impl FnOnce(&mut Endpoint) -> Outcome) -> Outcome {
    with(call, |driver| driver.endpoint(f)?)
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|e| Failure::from(e.to_string().chars().take(MESSAGE_LIMIT).collect::<String>()))
}

/// A word of an enumeration, as JSON would have it.
fn name<T: DeserializeOwned>(word: &str) -> Result<T, Failure> {
    T::deserialize(serde_json::Value::from(word)).map_err(|e| Failure::from(e.to_string().chars().take(MESSAGE_LIMIT).collect::<String>()))
}
