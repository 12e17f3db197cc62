//! Moderation of turns, as network cards moderate their interrupts. A worker with time left wakes up for every datagram and every segment,
//! and pays for a turn each time: system calls, calls into JavaScript, packets that could have been one. Where many requests come, a short
//! rest before it looks at its sockets brings several of them in one turn, and takes a third of the CPU from each.
//!
//! It rests only where that is worth something (many requests, nearly one per turn), never behind a turn that was long by itself, and
//! only as long as no more requests come without it: clients that wait for one answer before they ask again would come less often. From
//! time to time it looks whether they do.

use std::time::{Duration, Instant};

/// The longest rest. A request passes two of them, on its way in and on its way back.
pub const REST: Duration = Duration::from_micros(400);
/// What a turn and the rest behind it take together: a longer turn has no rest behind it.
const PERIOD: Duration = Duration::from_micros(800);
/// To fall asleep and wake up costs as much.
const LEAST: Duration = Duration::from_micros(20);
/// What is judged at once.
const WINDOW: Duration = Duration::from_millis(5);
/// Requests per second: with fewer than three per rest it costs what it brings.
const RATE: f64 = 30_000.0;
/// It goes on down to this: what comes in bursts has windows with few.
const LEAST_RATE: f64 = RATE / 2.0;
/// Windows with rests between two trials: few at first, more with each trial that is passed.
const FIRST: u32 = 4;
const MOST: u32 = 64;
/// Windows of a trial.
const TRIAL: u32 = 3;
/// So many times the requests without rests are more than chance, when they are seen so often in a row.
const GAIN: f64 = 1.1;
const STRIKES: u32 = 5;
/// How long it is left when few requests came, and when they came slower because of it (twice as long with each time).
const BREAK: Duration = Duration::from_millis(20);
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    turns: u32,
    requests: u32,
    time: Duration,
}

impl Tally {
    /// Requests per second.
    fn rate(&self) -> f64 {
        f64::from(self.requests) / self.time.as_secs_f64().max(f64::EPSILON)
    }

    /// Two of three turns bring a request: a client alone that asks one by one has a turn for each request and another one for its answer.
    fn worth_it(&self, rate: f64) -> bool {
        self.requests * 3 >= self.turns * 2 && self.rate() >= rate
    }

    fn add(&mut self, other: &Tally) {
        self.turns += other.turns;
        self.requests += other.requests;
        self.time += other.time;
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Off {
        until: Instant,
    },
    On {
        left: u32,
        sum: Tally,
    },
    /// No rests, to see whether more requests come then.
    Trial {
        left: u32,
        sum: Tally,
        rested: f64,
    },
}

pub struct Moderation {
    state: State,
    window: Tally,
    began: Instant,
    looked: Instant,
    /// Windows until the next trial.
    length: u32,
    strikes: u32,
    pause: Duration,
}

impl Moderation {
    pub fn new(now: Instant) -> Self {
        Moderation {
            state: State::Off { until: now },
            window: Tally::default(),
            began: now,
            looked: now,
            length: FIRST,
            strikes: 0,
            pause: FIRST_PAUSE,
        }
    }

    /// A turn of the loop is over that brought so many whole requests: how long to rest before the next.
    pub fn turn(&mut self, now: Instant, requests: u32) -> Duration {
        let took = now.saturating_duration_since(self.looked);
        self.looked = now;
        self.window.turns += 1;
        self.window.requests += requests;
        self.window.time = now.saturating_duration_since(self.began);
        if self.window.time >= WINDOW {
            let window = std::mem::take(&mut self.window);
            self.began = now;
            self.state = self.judge(&window, now);
        }
        if !matches!(self.state, State::On { .. }) {
            return Duration::ZERO;
        }
        let rest = PERIOD.saturating_sub(took).min(REST);
        if rest < LEAST { Duration::ZERO } else { rest }
    }

    /// The rest is over.
    pub fn rested(&mut self, now: Instant) {
        self.looked = now;
    }

    fn judge(&mut self, window: &Tally, now: Instant) -> State {
        match self.state {
            State::Off { until } if now >= until && window.worth_it(RATE) => self.on(),
            State::Off { .. } => self.state,
            State::On { left, mut sum } => {
                sum.add(window);
                // Too few may be what the rests have made of many.
                if left == 1 || !window.worth_it(LEAST_RATE) {
                    return State::Trial { left: TRIAL, sum: Tally::default(), rested: sum.rate() };
                }
                State::On { left: left - 1, sum }
            }
            State::Trial { left, mut sum, rested } => {
                sum.add(window);
                match left {
                    1 if sum.rate() < LEAST_RATE => State::Off { until: now + BREAK },
                    1 => self.verdict(sum.rate() > rested * GAIN, now),
                    _ => State::Trial { left: left - 1, sum, rested },
                }
            }
        }
    }

    fn on(&self) -> State {
        State::On { left: self.length, sum: Tally::default() }
    }

    /// What a trial has shown.
    fn verdict(&mut self, harmful: bool, now: Instant) -> State {
        if !harmful {
            self.strikes = 0;
            self.pause = FIRST_PAUSE;
            self.length = (self.length * 2).min(MOST);
            return self.on();
        }
        self.length = FIRST;
        self.strikes += 1;
        if self.strikes < STRIKES {
            return self.on();
        }
        self.strikes = 0;
        let until = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        State::Off { until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the loop did in a while.
    #[derive(Default)]
    struct Seen {
        turns: u32,
        requests: u32,
        rests: u32,
        resting: Duration,
        longest: Duration,
    }

    const fn us(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    struct Bench {
        moderation: Moderation,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            Bench { moderation: Moderation::new(now), now }
        }

        /// `load` is asked at each look how long the worker waits and works, and how many requests that brings, by the rest before.
        fn run(&mut self, long: Duration, mut load: impl FnMut(Duration) -> (Duration, u32)) -> Seen {
            let (end, mut seen, mut rest) = (self.now + long, Seen::default(), Duration::ZERO);
            while self.now < end {
                let (took, requests) = load(rest);
                self.now += took;
                rest = self.moderation.turn(self.now, requests);
                seen.turns += 1;
                seen.requests += requests;
                seen.longest = seen.longest.max(rest);
                if !rest.is_zero() {
                    seen.rests += 1;
                    seen.resting += rest;
                    self.now += rest;
                    self.moderation.rested(self.now);
                }
            }
            seen
        }

        /// An open loop: so many requests per second, each of which takes `work`.
        fn open(&mut self, long: Duration, per_second: f64, work: Duration) -> Seen {
            let mut owed = 0.0;
            self.run(long, |rest| {
                let mut time = rest.max(us(40));
                owed += time.as_secs_f64() * per_second;
                let requests = owed as u32;
                owed -= f64::from(requests);
                let took = us(5) + work * requests;
                owed += took.as_secs_f64() * per_second;
                time = if rest.is_zero() { us(40) } else { Duration::ZERO };
                (time + took, requests)
            })
        }

        /// A closed loop: so many clients, quick as the wind, each of which asks again when it has its answer. Two turns for a request.
        fn closed(&mut self, long: Duration, clients: u32, work: Duration) -> Seen {
            let (mut asked, mut turn) = (0, 0u32);
            self.run(long, |rest| {
                turn += 1;
                let ready = if rest.is_zero() { 2 + turn % 2 } else { clients };
                let requests = if turn.is_multiple_of(2) { 0 } else { ready.min(clients) };
                let answers = if requests == 0 { asked } else { 0 };
                asked = if requests == 0 { 0 } else { requests };
                (us(3) + work / 2 * (requests + answers), requests)
            })
        }
    }

    #[test]
    fn many_requests_in_small_turns_are_gathered() {
        let mut b = Bench::new();
        let seen = b.open(Duration::from_secs(1), 50_000.0, us(8));
        assert!(seen.requests > 45_000, "{}", seen.requests);
        assert!(seen.requests > seen.turns * 5, "{} turns", seen.turns);
        assert!(seen.longest <= REST);
        // Trials are seldom: without any, it rests for 58 % of the time.
        assert!(seen.resting > Duration::from_millis(520), "{:?}", seen.resting);
    }

    #[test]
    fn few_requests_do_not_wait() {
        let mut b = Bench::new();
        for per_second in [100.0, 4_000.0, 27_000.0] {
            assert_eq!(b.open(Duration::from_secs(1), per_second, us(10)).rests, 0, "{per_second}");
        }
    }

    #[test]
    fn one_at_a_time_does_not_wait() {
        // 40,000 per second, a turn for each and another one for its answer.
        let mut turn = 0u32;
        let seen = Bench::new().run(Duration::from_secs(1), |_| {
            turn += 1;
            (us(12), turn % 2)
        });
        assert_eq!(seen.rests, 0);
    }

    #[test]
    fn bodies_do_not_wait() {
        let mut turn = 0u32;
        let seen = Bench::new().run(Duration::from_secs(1), |_| {
            turn += 1;
            (us(50), u32::from(turn.is_multiple_of(20)))
        });
        assert_eq!(seen.rests, 0);
    }

    #[test]
    fn a_long_turn_has_no_rest_behind_it() {
        let mut b = Bench::new();
        b.open(Duration::from_millis(20), 50_000.0, us(8));
        let seen = b.run(Duration::from_secs(1), |_| (PERIOD, 40));
        assert_eq!(seen.rests, 0);
        let seen = b.run(Duration::from_secs(1), |_| (PERIOD - LEAST, 40));
        assert!(seen.rests > 0 && seen.longest == LEAST);
        let seen = b.run(Duration::from_secs(1), |_| (PERIOD - LEAST + us(1), 40));
        assert_eq!(seen.rests, 0);
    }

    #[test]
    fn it_ends_with_the_load() {
        let mut b = Bench::new();
        assert!(b.open(Duration::from_millis(200), 50_000.0, us(8)).rests > 0);
        let seen = b.open(WINDOW * 2, 4_000.0, us(20));
        assert!(seen.resting < WINDOW * 2, "{:?}", seen.resting);
        assert_eq!(b.open(Duration::from_secs(1), 4_000.0, us(20)).rests, 0);
        // And begins again.
        assert!(b.open(Duration::from_millis(200), 50_000.0, us(8)).rests > 0);
    }

    #[test]
    fn clients_that_wait_for_answers_are_not_slowed_down() {
        let mut b = Bench::new();
        let seen = b.closed(Duration::from_secs(60), 6, us(20));
        assert!(seen.rests > 0);
        assert!(seen.resting < Duration::from_millis(600), "{:?}", seen.resting);
    }

    #[test]
    fn requests_that_are_few_only_because_of_it_are_seen_too() {
        let mut b = Bench::new();
        // 32,000 per second, and 7,000 with rests.
        let seen = b.run(Duration::from_secs(60), |rest| (if rest.is_zero() { us(31) } else { us(40) }, 1));
        assert!(seen.rests > 0);
        assert!(seen.resting < Duration::from_millis(600), "{:?}", seen.resting);
    }

    #[test]
    fn one_bad_trial_is_chance() {
        let mut b = Bench::new();
        let (mut trials, mut resting) = (0u32, true);
        let seen = b.run(Duration::from_secs(10), |rest| {
            trials += u32::from(resting && rest.is_zero());
            resting = !rest.is_zero();
            // Every third trial meets a burst.
            (us(20), if rest.is_zero() && trials.is_multiple_of(3) { 4 } else { rest.as_micros() as u32 / 20 + 1 })
        });
        assert!(seen.resting > Duration::from_secs(5), "{:?}", seen.resting);
    }

    #[test]
    fn a_clock_that_stands_still_is_no_end_of_the_world() {
        let mut b = Bench::new();
        for _ in 0..100_000 {
            assert_eq!(b.moderation.turn(b.now, 100), Duration::ZERO);
        }
        b.moderation.rested(b.now);
    }
}
