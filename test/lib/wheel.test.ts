import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { ManualClock } from '../../src/lib/clock.ts';
import { TimerWheel, WheelTimer, type TimerOwner } from '../../src/lib/wheel.ts';

const TICK = 10;
const SPAN = 1024 * TICK;

function setup(start = 0) {
  const clock = new ManualClock(start);
  const errors: unknown[] = [];
  const wheel = new TimerWheel(clock, (e) => errors.push(e), TICK);
  const fired: { kind: number; at: number }[] = [];
  const owner: TimerOwner = { onTimer: (kind) => fired.push({ kind, at: clock.now() }) };
  const timer = (kind = 0) => new WheelTimer(owner, kind);
  return { clock, wheel, errors, fired, timer };
}

test('fires once, never early, at most a tick late, whatever the phase', () => {
  for (const start of [0, 3, 9.5, 10, 1234.25]) {
    for (const ms of [0, 1, 6, 10, 11, 95, SPAN - 1, SPAN, SPAN + 7, 3 * SPAN + 5]) {
      const { clock, wheel, fired, timer } = setup(start);
      wheel.arm(timer(), ms);
      for (let t = 0; t < ms + 3 * TICK; t += 5) clock.advance(5);
      expect(fired).toHaveLength(1);
      const late = (fired[0]?.at ?? 0) - (start + ms);
      expect(late).toBeGreaterThanOrEqual(0);
      expect(late).toBeLessThanOrEqual(TICK + 1);
    }
  }
});

test('a single long step of the clock fires all that is due', () => {
  const { clock, wheel, fired, timer } = setup();
  const timers = Array.from({ length: 50 }, (_, i) => timer(i));
  timers.forEach((t, i) => wheel.arm(t, i * 333));
  clock.advance(50 * 333 + 2 * TICK);
  expect(fired.map((f) => f.kind).sort((a, b) => a - b)).toEqual(timers.map((_, i) => i));
});

test('re-arming for later moves the deadline, for earlier too', () => {
  const { clock, wheel, fired, timer } = setup();
  const t = timer();
  wheel.arm(t, 100);
  clock.advance(90);
  wheel.arm(t, 100);
  clock.advance(90);
  expect(fired).toEqual([]);
  clock.advance(30);
  expect(fired).toHaveLength(1);
  wheel.arm(t, 5000);
  wheel.arm(t, 20);
  clock.advance(40);
  expect(fired).toHaveLength(2);
  clock.advance(6000);
  expect(fired).toHaveLength(2);
});

test('a disarmed or released timer stays silent and can be armed again', () => {
  const { clock, wheel, fired, timer } = setup();
  const t = timer();
  wheel.arm(t, 50);
  wheel.disarm(t);
  clock.advance(200);
  wheel.arm(t, 50);
  wheel.release(t);
  expect(t.slotAt).toBe(-1);
  clock.advance(200);
  expect(fired).toEqual([]);
  wheel.arm(t, 50);
  clock.advance(70);
  expect(fired).toHaveLength(1);
});

test('an idle wheel has no timer of the clock', () => {
  const { clock, wheel, timer } = setup();
  expect(clock.pending()).toBe(0);
  const t = timer();
  wheel.arm(t, 10);
  wheel.arm(timer(), 10);
  expect(clock.pending()).toBe(1);
  clock.advance(50);
  expect(clock.pending()).toBe(0);
  clock.advance(100_000);
  wheel.arm(t, 10);
  expect(clock.pending()).toBe(1);
  wheel.stop();
  expect(clock.pending()).toBe(0);
});

test('it sleeps until the first slot that has a timer, and wakes for an earlier one', () => {
  const clock = new ManualClock();
  let wakes = 0;
  const counting = {
    now: () => clock.now(),
    wall: () => clock.wall(),
    after: (ms: number, fn: () => void) =>
      clock.after(ms, () => {
        wakes++;
        fn();
      }),
  };
  const wheel = new TimerWheel(counting, () => undefined, TICK);
  const at: number[] = [];
  const owner: TimerOwner = { onTimer: () => void at.push(clock.now()) };
  wheel.arm(new WheelTimer(owner), 9000);
  clock.advance(4000);
  expect(wakes).toBe(0);
  // What is armed and over in between, as requests are, wakes nobody.
  for (let i = 0; i < 100; i++) {
    const t = new WheelTimer(owner);
    wheel.arm(t, 30_000);
    clock.advance(20);
    wheel.release(t);
  }
  wheel.arm(new WheelTimer(owner), 500);
  expect(clock.pending()).toBe(1);
  clock.advance(10_000);
  expect(at).toEqual([6510, 9010]);
  expect(wakes).toBeLessThanOrEqual(4);
  expect(clock.pending()).toBe(0);
});

describe('callbacks that change the wheel', () => {
  test('arming from within a callback is not early, also when the wheel had become empty', () => {
    const clock = new ManualClock();
    const wheel = new TimerWheel(clock, () => undefined, TICK);
    const at: number[] = [];
    const owner: TimerOwner = {
      onTimer() {
        at.push(clock.now());
        if (at.length < 5) wheel.arm(timer, 100);
      },
    };
    const timer = new WheelTimer(owner);
    wheel.arm(timer, 10);
    // Late by many ticks: the rest of them must not carry the new deadline off.
    clock.advance(0);
    for (let i = 0; i < 100; i++) clock.advance(7);
    expect(at).toHaveLength(5);
    for (let i = 1; i < at.length; i++) {
      const gap = (at[i] as number) - (at[i - 1] as number);
      expect(gap).toBeGreaterThanOrEqual(100);
      expect(gap).toBeLessThanOrEqual(100 + TICK + 1);
    }
  });

  test('a stalled loop: a callback arms while many ticks are still to be walked', () => {
    let now = 0;
    let wake: (() => void) | null = null;
    const clock = {
      now: () => now,
      wall: () => now,
      after(_ms: number, fn: () => void) {
        wake = fn;
        return () => (wake = null);
      },
    };
    const wheel = new TimerWheel(clock, () => undefined, TICK);
    const at: number[] = [];
    const owner: TimerOwner = {
      onTimer() {
        at.push(now);
        if (at.length === 1) wheel.arm(timer, 100);
      },
    };
    const timer = new WheelTimer(owner);
    wheel.arm(timer, 10);
    const runAt = (t: number): void => {
      now = t;
      const fn = wake as (() => void) | null;
      wake = null;
      fn?.();
    };
    runAt(500);
    expect(at).toEqual([500]);
    for (let t = 510; t <= 590; t += 10) runAt(t);
    expect(at).toEqual([500]);
    for (let t = 600; t <= 620; t += 10) runAt(t);
    expect(at).toHaveLength(2);
  });

  test('moving or releasing others of the same slot loses none of the rest', () => {
    const { clock, wheel, fired, timer } = setup();
    const others = [timer(1), timer(2), timer(3), timer(4)];
    const mover: TimerOwner = {
      onTimer() {
        wheel.arm(others[3] as WheelTimer, 1000);
        wheel.release(others[3] as WheelTimer);
        wheel.arm(others[3] as WheelTimer, 1000);
        wheel.release(others[2] as WheelTimer);
      },
    };
    // Lists are last in, first out: the mover comes first, then 4, 3, 2, 1.
    for (const t of others) wheel.arm(t, 50);
    wheel.arm(new WheelTimer(mover), 50);
    clock.advance(70);
    expect(fired.map((f) => f.kind)).toEqual([2, 1]);
    clock.advance(1100);
    expect(fired.map((f) => f.kind)).toEqual([2, 1, 4]);
  });

  test('an exception goes to the handler and stops nobody else', () => {
    const { clock, wheel, errors, fired, timer } = setup();
    const bad: TimerOwner = {
      onTimer() {
        throw new Error('bad owner');
      },
    };
    wheel.arm(timer(1), 50);
    wheel.arm(new WheelTimer(bad), 50);
    wheel.arm(timer(2), 50);
    wheel.arm(timer(3), 80);
    clock.advance(200);
    expect(errors).toEqual([new Error('bad owner')]);
    expect(fired.map((f) => f.kind).sort()).toEqual([1, 2, 3]);
  });
});

test('any sequence of arming, disarming and waiting: as a list of deadlines would have it', () => {
  const step = fc.oneof(
    fc.record({ op: fc.constant('arm' as const), which: fc.nat(7), ms: fc.nat(2 * SPAN) }),
    fc.record({ op: fc.constant('disarm' as const), which: fc.nat(7), ms: fc.constant(0) }),
    fc.record({ op: fc.constant('release' as const), which: fc.nat(7), ms: fc.constant(0) }),
    fc.record({ op: fc.constant('wait' as const), which: fc.constant(0), ms: fc.nat(3000) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { clock, wheel, fired, timer } = setup();
      const timers = Array.from({ length: 8 }, (_, i) => timer(i));
      const deadlines: (number | null)[] = timers.map(() => null);
      for (const s of steps) {
        const t = timers[s.which] as WheelTimer;
        if (s.op === 'arm') {
          wheel.arm(t, s.ms);
          deadlines[s.which] = clock.now() + s.ms;
        } else if (s.op === 'wait') {
          fired.length = 0;
          clock.advance(s.ms);
          for (const f of fired) {
            const due = deadlines[f.kind];
            expect(due).not.toBeNull();
            expect(f.at).toBeGreaterThanOrEqual(due as number);
            expect(f.at - (due as number)).toBeLessThanOrEqual(TICK);
            deadlines[f.kind] = null;
          }
          for (const due of deadlines) if (due !== null) expect(due).toBeGreaterThan(clock.now() - TICK);
        } else {
          if (s.op === 'disarm') wheel.disarm(t);
          else wheel.release(t);
          deadlines[s.which] = null;
        }
      }
    }),
    { numRuns: 300 },
  );
});
