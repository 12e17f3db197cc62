//! An endpoint in Node's loop: it runs when a socket is ready, when the timer is due and when JavaScript asks, and calls JavaScript in
//! between. No borrow of the endpoint is held while JavaScript runs, so that any export may be called from inside `turn`.

use crate::host::{Buffer, Callback, Failure, Fields, Loop, Poll, Prepare, Ready, Timer, Watcher};
use crate::moderation::Moderation;
use crate::records::{RECORD_BYTES, whole_requests};
use crate::turn::{Endpoint, Flushed};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::RawFd;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// Batches per turn, and how long a turn goes on beginning them.
const ROUNDS: usize = 16;
const BUDGET: Duration = Duration::from_millis(10);
/// Requests that a turn begins, about: those that come all at once must not keep the loop from what backends have answered, whose streams the next
/// ones need.
const REQUESTS: u32 = 256;
/// Batches that sending makes (WRITABLE, CLOSE) before the loop goes on.
const AFTERMATH: usize = 4;
/// Batches at close: enough for the last event of every connection.
const FAREWELL: usize = 4096;
/// A socket that only ever reports errors ends the endpoint.
const BROKEN_LIMIT: u32 = 100;
/// V8 is told of memory in steps of this many bytes.
const MEMORY_STEP: usize = 1 << 20;
const MAX_ENDPOINTS: usize = 4096;

/// How much fits into the buffers that an endpoint shares with JavaScript.
#[derive(Clone, Copy)]
pub struct Capacity {
    /// Event records.
    pub heard: usize,
    /// Command records.
    pub records: usize,
    pub events: usize,
    pub commands: usize,
}

pub const LISTENING: Capacity = Capacity { heard: 512, records: 4096, events: 2 << 20, commands: 256 << 10 };
pub const DIALLED: Capacity = Capacity { heard: 256, records: 256, events: 256 << 10, commands: 256 << 10 };

struct Channel {
    event_records: Buffer,
    event_data: Buffer,
    command_records: Buffer,
    command_data: Buffer,
}

impl Channel {
    fn new(c: Capacity) -> Result<Self, Failure> {
        Ok(Channel {
            event_records: Buffer::new(c.heard * RECORD_BYTES)?,
            event_data: Buffer::new(c.events)?,
            command_records: Buffer::new(c.records * RECORD_BYTES)?,
            command_data: Buffer::new(c.commands)?,
        })
    }

    fn share(&self) -> Fields {
        vec![
            ("eventRecords", self.event_records.share()),
            ("eventData", self.event_data.share()),
            ("commandRecords", self.command_records.share()),
            ("commandData", self.command_data.share()),
        ]
    }
}

struct Live {
    endpoint: Endpoint,
    channel: Channel,
}

impl Live {
    fn collect(&mut self) -> usize {
        self.endpoint.collect(self.channel.event_records.bytes(), self.channel.event_data.bytes())
    }

    /// Requests that the last `collect` brought to their end.
    fn requests(&mut self, events: usize) -> u32 {
        if self.endpoint.listens() { whole_requests(self.channel.event_records.bytes(), events) } else { 0 }
    }

    fn run(&mut self, count: usize) {
        self.endpoint.run(count, self.channel.command_records.bytes(), self.channel.command_data.bytes());
    }
}

/// The loop's side of an endpoint. Dropped before the endpoint, whose descriptors it watches.
struct Pulse {
    polls: Vec<Poll>,
    timer: Timer,
}

impl Pulse {
    fn poll(&mut self, fd: RawFd) -> Option<&mut Poll> {
        self.polls.iter_mut().find(|p| p.fd() == fd)
    }
}

/// Why a turn ends early.
enum Stop {
    /// The endpoint died of this.
    Fault(String),
    /// It was closed, or died, while JavaScript ran.
    Gone,
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Stop::Fault(message)
    }
}

#[cfg(feature = "inject")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Injected {
    Panic,
    SocketError,
}

pub struct Driver {
    handle: u32,
    hub: Weak<Hub>,
    turn: Callback,
    fault: Callback,
    capacity: Capacity,
    live: RefCell<Option<Live>>,
    pulse: RefCell<Option<Pulse>>,
    dead: RefCell<Option<String>>,
    /// A turn is on the stack: JavaScript may be running inside of it.
    busy: Cell<bool>,
    closing: Cell<bool>,
    /// `fault` waits for the end of the turn.
    fault_due: Cell<bool>,
    /// The last turn has not told everything that it had read.
    unheard: Cell<bool>,
    /// The last `collect` found nothing.
    exhausted: Cell<bool>,
    broken: Cell<u32>,
    /// Steps of memory of which V8 was told.
    told: Cell<usize>,
    #[cfg(feature = "inject")]
    injected: Cell<Option<Injected>>,
}

/// Says that a turn is on the stack, for as long as it is, a panic's unwinding included.
struct Busy<'a>(&'a Cell<bool>);

impl<'a> Busy<'a> {
    fn new(flag: &'a Cell<bool>) -> Self {
        flag.set(true);
        Busy(flag)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Driver {
    fn start(self: &Rc<Self>, lane: &Rc<Loop>, descriptors: &[RawFd]) -> Result<(), Failure> {
        let watcher = || {
            let weak: Weak<Self> = Rc::downgrade(self);
            weak as Weak<dyn Watcher>
        };
        let timer = Timer::new(lane, watcher())?;
        let polls = descriptors.iter().map(|fd| Poll::new(lane, *fd, watcher())).collect::<Result<Vec<_>, _>>()?;
        *self.pulse.borrow_mut() = Some(Pulse { polls, timer });
        self.soon();
        Ok(())
    }

    /// Watches what has been opened since.
    pub fn watch(self: &Rc<Self>, lane: &Rc<Loop>) -> Result<(), Failure> {
        let descriptors = self.endpoint(|e| e.descriptors())?;
        let mut pulse = self.pulse.borrow_mut();
        let Some(pulse) = pulse.as_mut() else { return Err(self.refusal()) };
        for fd in descriptors {
            if pulse.poll(fd).is_none() {
                let weak: Weak<Self> = Rc::downgrade(self);
                pulse.polls.push(Poll::new(lane, fd, weak)?);
            }
        }
        Ok(())
    }

    /// Something is there to be sent or told, and nothing that would wake us: the loop's next round does it.
    pub fn soon(&self) {
        if let Some(pulse) = self.pulse.borrow().as_ref() {
            pulse.timer.after(0);
        }
    }

    /// A phase of the endpoint. JavaScript does not run inside of it.
    fn phase<R>(&self, f: impl FnOnce(&mut Live) -> R) -> Result<R, Stop> {
        self.live.borrow_mut().as_mut().map(f).ok_or(Stop::Gone)
    }

    fn collect(&self) -> Result<(usize, u32), Stop> {
        let (events, requests) = self.phase(|l| {
            let events = l.collect();
            (events, l.requests(events))
        })?;
        if let Some(hub) = self.hub.upgrade() {
            hub.requests.set(hub.requests.get().saturating_add(requests));
        }
        self.exhausted.set(events == 0);
        Ok((events, requests))
    }

    /// What an export does with the endpoint.
    pub fn endpoint<R>(&self, f: impl FnOnce(&mut Endpoint) -> R) -> Result<R, Failure> {
        self.phase(|l| f(&mut l.endpoint)).map_err(|_| self.refusal())
    }

    fn refusal(&self) -> Failure {
        match self.dead.borrow().as_ref() {
            Some(message) => Failure::from(format!("the endpoint is dead: {message}")),
            None => Failure::from("the endpoint is closed"),
        }
    }

    fn alive(&self) -> bool {
        self.live.borrow().is_some()
    }

    // ------------------------------------------------------------------------------------------------ what JavaScript asks

    /// Runs the commands of a full buffer. What they wrote leaves at once, unless JavaScript is in the middle of a batch.
    pub fn submit(&self, commands: u32) -> Result<(), Failure> {
        self.run(commands)?;
        if !self.busy.get() {
            let sent = self.phase(|l| l.endpoint.flush(Instant::now()));
            self.settle(sent.and_then(|flushed| flushed.map(drop).map_err(Stop::from)));
        }
        Ok(())
    }

    fn run(&self, commands: u32) -> Result<(), Failure> {
        let count = self.count_of(f64::from(commands)).ok_or_else(|| Failure::from("more commands than the buffer holds"))?;
        self.phase(|l| l.run(count)).map_err(|_| self.refusal())
    }

    /// Runs commands, then timers and sending.
    pub fn flush(&self, commands: u32) -> Result<(), Failure> {
        if self.busy.get() {
            return Err(Failure::from("flush cannot be called from inside a turn"));
        }
        self.run(commands)?;
        let outcome = {
            let _busy = Busy::new(&self.busy);
            self.send()
        };
        self.settle(outcome);
        if self.dead.borrow().is_some() { Err(self.refusal()) } else { Ok(()) }
    }

    /// From inside a turn it takes effect when `turn` has returned.
    pub fn close(&self) {
        self.closing.set(true);
        if !self.busy.get() {
            self.finish();
        }
    }

    /// An export that had this endpoint panicked.
    pub fn failed_in_export(&self, message: String) {
        self.settle(Err(Stop::Fault(message)));
    }

    /// The endpoint is dead: its descriptors are closed now, and `fault` is told once, but not in the middle of a turn.
    fn kill(&self, message: String) {
        if self.alive() {
            *self.dead.borrow_mut() = Some(message);
            self.release();
            self.fault_due.set(true);
        }
    }

    fn tell_fault(&self) {
        if !self.fault_due.replace(false) {
            return;
        }
        let message = self.dead.borrow().clone().unwrap_or_default();
        // What `fault` throws is taken, and has nobody left to be told to.
        let _ = self.fault.call_text(&message);
    }

    /// Gives up everything but the message that says why. A panic in a drop must not keep the rest.
    fn release(&self) {
        drop(self.pulse.take());
        let live = self.live.take();
        let _ = crate::host::guard(|| drop(live));
        self.tell_memory(0);
    }

    // --------------------------------------------------------------------------------------------------------- the turn

    /// What comes before JavaScript has anything to do with it.
    fn read(&self, ready: Ready) -> Result<Read, Stop> {
        self.mend(ready)?;
        #[cfg(feature = "inject")]
        match self.injected.take() {
            Some(Injected::Panic) => panic!("injected into a turn"),
            Some(Injected::SocketError) => return Err(Stop::from(String::from("injected: EBADF"))),
            None => {}
        }
        match ready.readable() {
            None => Ok(Read::Nothing),
            // The timer is set for it.
            Some(_) if self.unheard.get() => Ok(Read::Done),
            readable => self.phase(|Live { endpoint: e, .. }| match e.receive_at(readable, Instant::now())? {
                true => Ok(Read::Batch),
                false if e.is_settled() => Ok(Read::Done),
                false => Ok(Read::Nothing),
            })?,
        }
    }

    fn cycle(&self, read: Read) -> Result<(), Stop> {
        self.rounds(matches!(read, Read::Batch))?;
        self.send()
    }

    /// Events to JavaScript and its commands back, until there are no more. A batch of datagrams is told even without events.
    fn rounds(&self, batch: bool) -> Result<(), Stop> {
        let began = Instant::now();
        let mut told = !batch;
        let mut begun = 0;
        self.unheard.set(false);
        for _ in 0..ROUNDS {
            if told && !self.phase(|l| l.endpoint.wants_collect())? {
                break;
            }
            let (events, requests) = self.collect()?;
            if told && events == 0 {
                break;
            }
            self.converse(events)?;
            told = true;
            begun += requests;
            if begun >= REQUESTS || began.elapsed() >= BUDGET {
                self.unheard.set(self.phase(|l| l.endpoint.wants_collect())?);
                break;
            }
        }
        Ok(())
    }

    /// Sends, and tells what came of it.
    fn send(&self) -> Result<(), Stop> {
        let mut flushed = self.phase(|l| l.endpoint.flush(Instant::now()))??;
        for _ in 0..AFTERMATH {
            if !flushed.events || self.unheard.get() {
                break;
            }
            let (events, _) = self.collect()?;
            if events == 0 {
                break;
            }
            self.converse(events)?;
            flushed = self.phase(|l| l.endpoint.flush(Instant::now()))??;
        }
        self.arm(flushed)
    }

    /// One `turn`: events there, commands back.
    fn converse(&self, events: usize) -> Result<(), Stop> {
        let answer = self.turn.call_number(events as f64)?;
        let count = answer.and_then(|n| self.count_of(n)).ok_or_else(|| String::from("turn did not answer with a count of commands"))?;
        self.phase(|l| l.run(count))?;
        if self.closing.get() { Err(Stop::Gone) } else { Ok(()) }
    }

    fn count_of(&self, n: f64) -> Option<usize> {
        // The cast saturates and drops fractions: only whole numbers come back unchanged.
        let count = n as usize;
        (count as f64 == n && count <= self.capacity.records).then_some(count)
    }

    /// When to go on: now (but after everybody else in the loop), when the socket has room, at the deadline.
    fn arm(&self, flushed: Flushed) -> Result<(), Stop> {
        let (events, later, memory, gone) = self.phase(|Live { endpoint: e, .. }| {
            // What is gone goes behind those who watch it.
            (e.wants_collect(), e.deadline(), e.external_bytes(), e.take_gone())
        })?;
        // Nothing is left to be told, and the timer is not set for it.
        self.unheard.set(self.unheard.get() && events);
        if let Some(pulse) = self.pulse.borrow_mut().as_mut() {
            if !gone.is_empty() {
                pulse.polls.retain(|poll| gone.iter().all(|port| port.socket.fd() != poll.fd()));
            }
            for poll in &mut pulse.polls {
                let full = self.phase(|l| l.endpoint.is_full(poll.fd()))?;
                poll.want_writable(full).map_err(|f| f.message)?;
            }
            match later {
                _ if flushed.more => pulse.timer.after(0),
                _ if events => pulse.timer.after(u64::from(self.exhausted.get())),
                Some(deadline) => pulse.timer.after(milliseconds(deadline.saturating_duration_since(Instant::now()))),
                None => pulse.timer.stop(),
            }
        }
        self.tell_memory(memory / MEMORY_STEP);
        Ok(())
    }

    fn tell_memory(&self, steps: usize) {
        let told = self.told.replace(steps);
        if told != steps {
            self.turn.env().adjust_memory((steps as i64 - told as i64) * MEMORY_STEP as i64);
        }
    }

    /// What a turn leaves behind it; a turn that is still on the stack does it on its way out.
    fn settle(&self, outcome: Result<(), Stop>) {
        if let Err(Stop::Fault(message)) = outcome {
            self.kill(message);
        }
        if self.busy.get() {
            return;
        }
        self.tell_fault();
        if self.closing.get() {
            self.finish();
        }
    }

    fn finish(&self) {
        let outcome = {
            let _busy = Busy::new(&self.busy);
            self.farewell()
        };
        if let Err(Stop::Fault(message)) = outcome {
            self.kill(message);
        }
        self.tell_fault();
        self.forget();
    }

    fn forget(&self) {
        self.release();
        if let Some(hub) = self.hub.upgrade() {
            hub.forget(self.handle);
        }
    }

    /// Closes every connection: the packets leave, the last events are told, commands are not asked for any more.
    fn farewell(&self) -> Result<(), Stop> {
        self.phase(|l| l.endpoint.close_all())?;
        for _ in 0..FAREWELL {
            self.phase(|l| l.endpoint.flush(Instant::now()))??;
            let (events, _) = self.collect()?;
            if events == 0 {
                break;
            }
            self.turn.call_number(events as f64)?;
        }
        Ok(())
    }

    fn wake(&self, read: Result<Read, Stop>) {
        let outcome = {
            let _busy = Busy::new(&self.busy);
            read.and_then(|read| self.cycle(read))
        };
        self.settle(outcome);
    }

    /// libuv stops watching a descriptor that has an error pending. Reading takes the error; one that does not go away ends the endpoint.
    fn mend(&self, ready: Ready) -> Result<(), Stop> {
        let Ready::Broken { fd } = ready else {
            if matches!(ready, Ready::Descriptor { .. }) {
                self.broken.set(0);
            }
            return Ok(());
        };
        self.broken.set(self.broken.get() + 1);
        if self.broken.get() > BROKEN_LIMIT {
            return Err(Stop::from(String::from("a socket reports nothing but errors")));
        }
        match self.pulse.borrow_mut().as_mut().and_then(|p| p.poll(fd)) {
            Some(poll) => Ok(poll.restart().map_err(|f| f.message)?),
            None => Ok(()),
        }
    }

    #[cfg(feature = "inject")]
    pub fn inject(&self, what: Injected) {
        self.injected.set(Some(what));
        self.soon();
    }
}

impl Watcher for Driver {
    fn ready(self: Rc<Self>, ready: Ready) {
        if self.busy.get() || !self.alive() {
            return;
        }
        let read = {
            let _busy = Busy::new(&self.busy);
            self.read(ready)
        };
        // To enter JavaScript's scope and to look for what is to be sent is a tenth of what it costs to hand a datagram over.
        if !matches!(read, Ok(Read::Done)) {
            self.turn.in_loop(|| self.wake(read));
        }
    }

    fn failed(self: Rc<Self>, message: String) {
        self.turn.in_loop(|| self.settle(Err(Stop::Fault(message))));
    }
}

/// At least 1: a deadline that `flush` could not meet is no reason to spin.
fn milliseconds(d: Duration) -> u64 {
    (d.as_micros().div_ceil(1000) as u64).max(1)
}

/// What a look at what is ready has brought.
enum Read {
    /// All of it was for other workers, and has left; or it is not time to look.
    Done,
    /// Nothing that JavaScript must be told of, but perhaps something to send.
    Nothing,
    Batch,
}

/// The endpoints of one environment, by handle.
pub struct Hub {
    drivers: RefCell<HashMap<u32, Rc<Driver>>>,
    next: Cell<u32>,
    /// Requests since the loop last looked at its descriptors.
    requests: Cell<u32>,
    moderation: RefCell<Moderation>,
    /// While there is an endpoint.
    prepare: RefCell<Option<Prepare>>,
}

/// Of the loop as a whole: endpoints rest together.
impl Watcher for Hub {
    fn ready(self: Rc<Self>, _: Ready) {
        let mut moderation = self.moderation.borrow_mut();
        let rest = moderation.turn(Instant::now(), self.requests.take());
        if !rest.is_zero() && self.prepare.borrow().as_ref().is_some_and(Prepare::may_rest) {
            std::thread::sleep(rest);
            moderation.rested(Instant::now());
        }
    }

    /// Nobody needs it.
    fn failed(self: Rc<Self>, _: String) {
        drop(self.prepare.take());
    }
}

impl Hub {
    pub fn new() -> Rc<Self> {
        Rc::new(Hub {
            drivers: RefCell::new(HashMap::new()),
            next: Cell::new(1),
            requests: Cell::new(0),
            moderation: RefCell::new(Moderation::new(Instant::now())),
            prepare: RefCell::new(None),
        })
    }

    fn forget(&self, handle: u32) {
        self.drivers.borrow_mut().remove(&handle);
        if self.drivers.borrow().is_empty() {
            drop(self.prepare.take());
        }
    }

    fn moderate(self: &Rc<Self>, lane: &Rc<Loop>) -> Result<(), Failure> {
        if self.prepare.borrow().is_none() {
            let weak: Weak<Self> = Rc::downgrade(self);
            *self.prepare.borrow_mut() = Some(Prepare::new(lane, weak as Weak<dyn Watcher>)?);
        }
        Ok(())
    }

    pub fn find(&self, handle: u32) -> Result<Rc<Driver>, Failure> {
        match self.drivers.borrow().get(&handle) {
            Some(driver) => Ok(Rc::clone(driver)),
            None if self.issued(handle) => Err(Failure::from("the endpoint is closed")),
            None => Err(Failure::from("no endpoint has this handle")),
        }
    }

    /// This handle was given out once, whatever has become of it.
    pub fn issued(&self, handle: u32) -> bool {
        handle > 0 && handle < self.next.get()
    }

    /// Puts an endpoint into the loop: its handle, and the buffers that JavaScript gets.
    pub fn drive(
        self: &Rc<Self>,
        lane: &Rc<Loop>,
        endpoint: Endpoint,
        capacity: Capacity,
        turn: Callback,
        fault: Callback,
    ) -> Result<(u32, Fields), Failure> {
        let handle = self.next.get();
        let next = handle.checked_add(1).filter(|_| self.drivers.borrow().len() < MAX_ENDPOINTS).ok_or("too many endpoints")?;
        let channel = Channel::new(capacity)?;
        if endpoint.listens() {
            self.moderate(lane)?;
        }
        let (shared, descriptors) = (channel.share(), endpoint.descriptors());
        let driver = Rc::new(Driver {
            handle,
            hub: Rc::downgrade(self),
            turn,
            fault,
            capacity,
            live: RefCell::new(Some(Live { endpoint, channel })),
            pulse: RefCell::new(None),
            dead: RefCell::new(None),
            busy: Cell::new(false),
            closing: Cell::new(false),
            fault_due: Cell::new(false),
            unheard: Cell::new(false),
            exhausted: Cell::new(true),
            broken: Cell::new(0),
            told: Cell::new(0),
            #[cfg(feature = "inject")]
            injected: Cell::new(None),
        });
        driver.start(lane, &descriptors)?;
        self.next.set(next);
        self.drivers.borrow_mut().insert(handle, driver);
        Ok((handle, shared))
    }

    /// The environment ends, and JavaScript runs no more: descriptors, handles and callbacks are given up.
    pub fn abandon(&self) {
        drop(self.prepare.take());
        let drivers: Vec<_> = self.drivers.borrow_mut().drain().map(|(_, d)| d).collect();
        for driver in drivers {
            driver.release();
        }
    }
}
