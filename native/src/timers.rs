//! When connections want to be looked at again: one entry each, moved only when it has to come earlier.

use std::collections::BTreeSet;
use std::time::Instant;

#[derive(Default)]
pub struct Timers {
    due: BTreeSet<(Instant, u32)>,
}

impl Timers {
    /// `armed` is the connection's own note of its entry. A later deadline leaves it alone: whoever comes too early is armed again.
    pub fn arm(&mut self, slot: u32, armed: &mut Option<Instant>, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        match *armed {
            Some(at) if at <= deadline => return,
            Some(at) => {
                self.due.remove(&(at, slot));
            }
            None => {}
        }
        self.due.insert((deadline, slot));
        *armed = Some(deadline);
    }

    pub fn disarm(&mut self, slot: u32, armed: &mut Option<Instant>) {
        if let Some(at) = armed.take() {
            self.due.remove(&(at, slot));
        }
    }

    /// The next slot whose time has come. Its entry is gone.
    pub fn pop(&mut self, now: Instant) -> Option<u32> {
        let &(at, slot) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        Some(slot)
    }

    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_slot_has_one_entry_at_its_earliest_time() {
        let (mut t, start) = (Timers::default(), Instant::now());
        let at = |ms| Some(start + Duration::from_millis(ms));
        let (mut a, mut b) = (None, None);
        t.arm(1, &mut a, at(50));
        t.arm(1, &mut a, at(90));
        t.arm(1, &mut a, at(20));
        t.arm(2, &mut b, at(30));
        t.arm(2, &mut b, None);
        assert_eq!((a, b, t.next()), (at(20), at(30), at(20)));
        let late = start + Duration::from_millis(100);
        assert_eq!([t.pop(start), t.pop(late), t.pop(late), t.pop(late)], [None, Some(1), Some(2), None]);
        t.arm(3, &mut b, at(10));
        b = at(10);
        t.disarm(3, &mut b);
        assert_eq!((b, t.next()), (None, None));
    }
}
