//! What is freed goes back to the system: not at once, for the next bytes want it again, but when many connections have gone.
//!
//! Rust's memory is mimalloc's, which gives back what nobody has used for a while; BoringSSL's and JavaScript's buffers are libc's, which keeps
//! what is not at its end: so that is given back every minute as well.

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Fewer connections than this leave nothing worth looking for.
const WAVE: usize = 256;
/// How long after most of a wave have gone: the others may follow, or come back.
const CALM: Duration = Duration::from_secs(5);
/// Between two looks for what libc has free. With uploads between connections that stay it has some 20 MiB, more in one minute than in the next.
const ROUND: Duration = Duration::from_secs(60);
const LONGEST_ROUND: Duration = Duration::from_secs(3600);
/// The more there is, the longer a look takes (1 to 4 ms for 30 MiB): such a part of the time at most.
const PART: u32 = 20_000;
/// Of mimalloc.h of version 2, beyond what the crate declares.
#[cfg(feature = "node")]
mod mimalloc {
    use std::ffi::{c_int, c_long};

    // SAFETY: as mimalloc.h declares them.
    unsafe extern "C" {
        pub fn mi_option_get(option: c_int) -> c_long;
        pub fn mi_option_set(option: c_int, value: c_long);
        pub fn mi_collect(force: bool);
    }

    pub const PURGE_DELAY: c_int = 15;
    /// How long it keeps what is free: the kernel would clear the same pages over and over while bodies flow.
    pub const ITS_OWN_MS: c_long = 10;
    pub const OUR_MS: c_long = 1000;
}

/// Says when a wave of connections is over.
#[derive(Default)]
pub struct Tide {
    /// The most connections since memory was last given back.
    high: usize,
    at: Option<Instant>,
}

impl Tide {
    /// There are so many connections now.
    pub fn level(&mut self, live: usize, now: impl FnOnce() -> Instant) {
        if live >= self.high {
            self.high = live;
        } else if live <= self.high / 2 && self.high - live >= WAVE {
            self.at.get_or_insert_with(|| now() + CALM);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.at
    }

    /// Whether it is time to give back; true once for each wave.
    pub fn turned(&mut self, live: usize, now: Instant) -> bool {
        if self.at.is_none_or(|at| at > now) {
            return false;
        }
        *self = Tide { high: live, at: None };
        true
    }
}

/// Says when libc is to be looked through again.
struct Rounds {
    next: Option<Instant>,
}

impl Rounds {
    fn due(&mut self, now: Instant) -> bool {
        now >= *self.next.get_or_insert(now + ROUND)
    }

    fn took(&mut self, now: Instant, time: Duration) {
        self.next = Some(now + time.saturating_mul(PART).clamp(ROUND, LONGEST_ROUND));
    }
}

thread_local! {
    static ROUNDS: RefCell<Rounds> = const { RefCell::new(Rounds { next: None }) };
}

/// To be asked every turn: gives back what libc holds and nobody uses, now and then.
pub fn make_rounds(now: Instant) {
    ROUNDS.with_borrow_mut(|rounds| {
        if rounds.due(now) {
            let began = Instant::now();
            trim_libc();
            rounds.took(now, began.elapsed());
        }
    });
}

fn trim_libc() {
    #[cfg(target_env = "gnu")]
    // SAFETY: looks through memory that is free.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// For the whole process, when the addon is loaded.
pub fn set_up() {
    #[cfg(feature = "node")]
    // SAFETY: reads and sets a number. Any other than mimalloc's own is MIMALLOC_PURGE_DELAY's, or that of another option.
    unsafe {
        if mimalloc::mi_option_get(mimalloc::PURGE_DELAY) == mimalloc::ITS_OWN_MS {
            mimalloc::mi_option_set(mimalloc::PURGE_DELAY, mimalloc::OUR_MS);
        }
    };
}

/// Gives back what this thread and libc hold and nobody uses: some milliseconds.
pub fn give_back() {
    crate::chunks::trim();
    #[cfg(feature = "node")]
    // SAFETY: looks through memory that is free.
    unsafe {
        mimalloc::mi_collect(true)
    };
    trim_libc();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tide(levels: &[usize], now: Instant) -> Tide {
        let mut t = Tide::default();
        for &n in levels {
            t.level(n, || now);
        }
        t
    }

    #[test]
    fn a_wave_is_over_when_most_are_gone_and_nobody_follows() {
        let now = Instant::now();
        let mut t = tide(&[1000, 501], now);
        assert_eq!(t.deadline(), None);
        t.level(500, || now);
        assert_eq!(t.deadline(), Some(now + CALM));
        t.level(499, || now + CALM / 2);
        assert!(!t.turned(499, now + CALM - Duration::from_millis(1)));
        assert!(t.turned(400, now + CALM));
        assert_eq!((t.deadline(), t.turned(400, now + CALM * 9)), (None, false));
        // The next wave counts from there.
        t.level(150, || now);
        assert_eq!(t.deadline(), None);
        t.level(144, || now);
        assert_eq!(t.deadline(), Some(now + CALM));
    }

    #[test]
    fn few_connections_are_no_wave() {
        let now = Instant::now();
        assert_eq!(tide(&[WAVE - 1, 0], now).deadline(), None);
        assert!(tide(&[WAVE, 0], now).deadline().is_some());
    }

    #[test]
    fn libc_is_looked_through_every_minute_and_less_often_the_longer_that_takes() {
        let now = Instant::now();
        let mut rounds = Rounds { next: None };
        assert!(!rounds.due(now));
        assert!(!rounds.due(now + ROUND - Duration::from_millis(1)));
        assert!(rounds.due(now + ROUND));
        rounds.took(now, Duration::from_millis(2));
        assert!(!rounds.due(now + ROUND - Duration::from_millis(1)));
        assert!(rounds.due(now + ROUND));
        rounds.took(now, Duration::from_millis(15));
        assert!(!rounds.due(now + Duration::from_secs(299)));
        assert!(rounds.due(now + Duration::from_secs(300)));
        rounds.took(now, Duration::MAX / 2);
        assert!(!rounds.due(now + Duration::from_secs(3599)));
        assert!(rounds.due(now + Duration::from_secs(3600)));
    }

    #[test]
    fn giving_back_leaves_what_is_used() {
        let used = vec![7u8; 100_000];
        give_back();
        assert!(used.iter().all(|&b| b == 7));
    }
}
