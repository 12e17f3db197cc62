import { describe, expect, test } from '@jest/globals';
import type { ToWorker, WorkerStart } from '../../src/contract/channel.ts';
import { Supervisor, type ProcessEvents, type WorkerEnd } from '../../src/control/supervise.ts';
import { ManualClock } from '../../src/lib/clock.ts';

class FakeProcess {
  readonly sent: ToWorker[] = [];
  killed = false;
  readonly pid: number;
  readonly workerId: number;
  readonly events: ProcessEvents;

  constructor(pid: number, workerId: number, events: ProcessEvents) {
    this.pid = pid;
    this.workerId = workerId;
    this.events = events;
  }

  send(message: ToWorker): void {
    this.sent.push(message);
  }

  kill(): void {
    this.killed = true;
    this.events.onExit(null, 'SIGKILL');
  }

  hello(): void {
    this.events.onMessage({ type: 'hello', engine: 'memory', engineVersion: '1', fallback: false, why: '' });
  }

  beat(delayMs = 0): void {
    this.events.onMessage({ type: 'heartbeat', delayMs });
  }
}

const setUp = (count = 1) => {
  const clock = new ManualClock();
  const processes: FakeProcess[] = [];
  const downs: [number, string, WorkerEnd][] = [];
  const ups: number[] = [];
  const busy = new Set<number>();
  const supervisor = new Supervisor({
    clock,
    count,
    spawn: (workerId, events) => {
      const p = new FakeProcess(1000 + processes.length, workerId, events);
      processes.push(p);
      return p;
    },
    start: (workerId) => ({ workerId }) as WorkerStart,
    busy: (worker) => busy.has(worker),
    onUp: (worker) => ups.push(worker),
    onDown: (worker, reason, end) => downs.push([worker, reason, end]),
    onMessage: () => {},
  });
  supervisor.start();
  const last = (): FakeProcess => processes.at(-1) as FakeProcess;
  /** Time passes while the given processes beat as they should. */
  const live = (ms: number, ...alive: FakeProcess[]): void => {
    for (let t = 0; t < ms; t += 250) {
      for (const p of alive) p.beat();
      clock.advance(250);
    }
  };
  return { clock, processes, downs, ups, busy, supervisor, last, live };
};

test('each worker is started with its number, and is up when it says hello', () => {
  const { processes, ups, supervisor } = setUp(2);
  expect(processes.map((p) => p.sent)).toEqual([[{ type: 'start', start: { workerId: 0 } }], [{ type: 'start', start: { workerId: 1 } }]]);
  expect(supervisor.fresh()).toBe(false);
  processes.forEach((p) => p.hello());
  expect(ups).toEqual([0, 1]);
  expect(supervisor.fresh()).toBe(true);
});

describe('a dead worker', () => {
  test('is replaced at once; the other one is not touched', () => {
    const { clock, processes, downs, supervisor } = setUp(2);
    processes.forEach((p) => p.hello());
    processes[0]?.events.onExit(null, 'SIGKILL');
    clock.advance(0);
    expect(processes).toHaveLength(3);
    expect(processes[2]?.workerId).toBe(0);
    expect(processes[1]?.killed).toBe(false);
    expect(downs).toMatchObject([[0, 'signal', { pid: 1000, signal: 'SIGKILL', wasUp: true, pauseMs: 0 }]]);
    expect(supervisor.facts()[0]).toMatchObject({ restarts: 1, state: 'starting', pid: 1002 });
  });

  test('in a crash loop comes back ever more slowly, up to 10 s, and says why', () => {
    const { clock, processes, downs, last } = setUp();
    for (let i = 0; i < 10; i++) {
      last().events.onMessage({ type: 'fault', message: 'no engine' });
      last().events.onExit(4, null);
      clock.advance(10_000);
    }
    expect(downs.map(([, , end]) => end.pauseMs)).toEqual([0, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
    expect(downs[0]).toMatchObject([0, 'exit', { code: 4, fault: 'no engine', wasUp: false }]);
    expect(processes).toHaveLength(11);
  });

  test('after a healthy life starts without a pause again', () => {
    const { clock, downs, last, live } = setUp();
    last().hello();
    last().events.onExit(1, null);
    clock.advance(0);
    last().hello();
    live(31_000, last());
    last().events.onExit(1, null);
    expect(downs.map(([, , end]) => end.pauseMs)).toEqual([0, 0]);
  });

  test('messages of a former process are not taken for those of its successor', () => {
    const { clock, processes, ups } = setUp();
    processes[0]?.hello();
    processes[0]?.events.onExit(1, null);
    clock.advance(0);
    processes[0]?.hello();
    processes[0]?.events.onExit(1, null);
    expect(ups).toEqual([0]);
    expect(processes).toHaveLength(2);
  });
});

describe('a hung worker', () => {
  test('is killed and replaced within three seconds of its last heartbeat', () => {
    const { clock, processes, downs, last, live } = setUp();
    last().hello();
    live(5000, last());
    expect(processes[0]?.killed).toBe(false);
    const since = clock.now();
    while (processes.length === 1 && clock.now() - since < 5000) clock.advance(50);
    expect(processes[0]?.killed).toBe(true);
    expect(clock.now() - since).toBeLessThan(3000);
    expect(clock.now() - since).toBeGreaterThan(1500);
    expect(downs).toMatchObject([[0, 'hung', {}]]);
  });

  test('is left to the publisher while it loads, and is judged again afterwards', () => {
    const { clock, processes, busy, last } = setUp();
    last().hello();
    busy.add(0);
    clock.advance(4900);
    expect(processes[0]?.killed).toBe(false);
    busy.delete(0);
    clock.advance(1500);
    expect(processes[0]?.killed).toBe(false);
    clock.advance(1000);
    expect(processes[0]?.killed).toBe(true);
  });

  test('that never says hello is given 15 s', () => {
    const { clock, processes, downs } = setUp();
    clock.advance(14_900);
    expect(processes[0]?.killed).toBe(false);
    clock.advance(500);
    expect(downs).toMatchObject([[0, 'start', { wasUp: false }]]);
  });

  test('is not suspected when it was this process that stood still', () => {
    const clock = new ManualClock();
    let held: (() => void) | null = null;
    let stand = false;
    // A clock whose callbacks come late, as after a SIGSTOP: heartbeats are delivered after the tick.
    const late = {
      now: () => clock.now(),
      wall: () => clock.wall(),
      after: (ms: number, fn: () => void) =>
        clock.after(ms, () => {
          if (stand) held = fn;
          else fn();
        }),
    };
    const processes: FakeProcess[] = [];
    const supervisor = new Supervisor({
      clock: late,
      count: 1,
      spawn: (workerId, events) => {
        const p = new FakeProcess(1, workerId, events);
        processes.push(p);
        return p;
      },
      start: () => ({}) as WorkerStart,
      busy: () => false,
      onUp: () => {},
      onDown: () => {},
      onMessage: () => {},
    });
    supervisor.start();
    processes[0]?.hello();
    stand = true;
    clock.advance(10_000);
    stand = false;
    (held as (() => void) | null)?.();
    expect(processes[0]?.killed).toBe(false);
    processes[0]?.beat();
    clock.advance(250);
    expect(processes[0]?.killed).toBe(false);
    expect(supervisor.fresh()).toBe(true);
  });
});

test('replace ends a process for the given reason', () => {
  const { clock, processes, downs, supervisor } = setUp();
  processes[0]?.hello();
  supervisor.replace(0, 'load_silent');
  clock.advance(0);
  expect(downs).toMatchObject([[0, 'load_silent', {}]]);
  expect(processes).toHaveLength(2);
});

test('after stop the dead stay dead and nothing is planned', () => {
  const { clock, processes, downs, supervisor } = setUp(2);
  processes.forEach((p) => p.hello());
  processes[0]?.events.onExit(1, null);
  supervisor.stop();
  processes[1]?.events.onExit(0, null);
  clock.advance(60_000);
  expect(processes).toHaveLength(2);
  expect(downs.at(-1)).toMatchObject([1, 'exit', { pauseMs: -1 }]);
  expect(clock.pending()).toBe(0);
});
