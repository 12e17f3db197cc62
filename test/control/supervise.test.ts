import { describe, expect, test } from '@jest/globals';
import type { ToWorker, WorkerStart } from '../../src/contract/channel.ts';
import type { MemoryEvent, ProcessEvents, WorkerEnd } from '../../src/control/life.ts';
import { LEAST_PAUSE_MS, type MemoryLimits } from '../../src/control/memorywatch.ts';
import { Numbers } from '../../src/control/numbers.ts';
import { Supervisor } from '../../src/control/supervise.ts';
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

  /** Bytes that it has. */
  memory = 0;

  beat(delayMs = 0): void {
    this.events.onMessage({ type: 'heartbeat', delayMs, memory: this.memory });
  }
}

const UNLIMITED: MemoryLimits = { soft: 0, hard: 0, relievable: true };

const setUp = (count = 1, memory = UNLIMITED, numbers = new Numbers()) => {
  const clock = new ManualClock();
  const processes: FakeProcess[] = [];
  const downs: [number, string, WorkerEnd][] = [];
  const ups: number[] = [];
  const busy = new Set<number>();
  const events: MemoryEvent[] = [];
  /** Why no process can be started; '' while they can. */
  const failing = { why: '' };
  const gone: [number, boolean][] = [];
  const supervisor = new Supervisor({
    clock,
    count,
    numbers,
    memory,
    spawn: (workerId, events) => {
      if (failing.why !== '') throw new Error(failing.why);
      const p = new FakeProcess(1000 + processes.length, workerId, events);
      processes.push(p);
      return p;
    },
    start: (workerId) => ({ workerId }) as WorkerStart,
    busy: (worker) => busy.has(worker),
    onUp: (worker) => ups.push(worker),
    onGone: (number) => gone.push([number, numbers.inUse().includes(number)]),
    onDown: (worker, reason, end) => downs.push([worker, reason, end]),
    onMessage: () => {},
    onOutput: () => {},
    onMemory: (event) => events.push(event),
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
  return { clock, processes, downs, ups, busy, events, failing, gone, numbers, supervisor, last, live };
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

  test('that could not even be started is tried again, as one that ended, and says why', () => {
    const { clock, processes, downs, failing, last, supervisor, numbers } = setUp();
    last().hello();
    failing.why = 'spawn ENOMEM';
    last().events.onExit(1, null);
    clock.advance(0);
    clock.advance(0);
    expect(downs[1]).toMatchObject([0, 'exit', { pid: 0, code: null, signal: null, fault: 'spawn ENOMEM', wasUp: false, pauseMs: 200 }]);
    expect(numbers.inUse()).toEqual([]);
    failing.why = '';
    clock.advance(200);
    expect(processes).toHaveLength(2);
    last().hello();
    expect(supervisor.facts()).toMatchObject([{ number: 0, state: 'up', restarts: 2 }]);
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
      numbers: new Numbers(),
      memory: UNLIMITED,
      spawn: (workerId, events) => {
        const p = new FakeProcess(1, workerId, events);
        processes.push(p);
        return p;
      },
      start: () => ({}) as WorkerStart,
      busy: () => false,
      onUp: () => {},
      onGone: () => {},
      onDown: () => {},
      onMessage: () => {},
      onOutput: () => {},
      onMemory: () => {},
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

test('a process that is not up when all stop will not be: it would take clients that nobody sends away', () => {
  const { clock, processes, supervisor } = setUp(2);
  processes.forEach((p) => p.hello());
  processes[0]?.events.onExit(1, null);
  clock.advance(0);
  supervisor.stop();
  expect(processes.map((p) => p.killed)).toEqual([false, false, true]);
  expect(supervisor.facts().map((f) => f.state)).toEqual(['stopped', 'up']);
});

test('who hangs or has too much memory when all stop is ended, and nothing comes in its place', () => {
  const { clock, processes, downs, events, supervisor, live } = setUp(3, { soft: 100, hard: 200, relievable: true });
  for (const p of processes) p.hello();
  const [hung, large, well] = processes as [FakeProcess, FakeProcess, FakeProcess];
  well.memory = 110;
  supervisor.stop();
  live(1000, large, well);
  large.memory = 201;
  live(3000, large, well);
  expect([hung.killed, large.killed, well.killed]).toEqual([true, true, false]);
  expect(downs).toMatchObject([
    [1, 'memory_hard', { pauseMs: -1 }],
    [0, 'hung', { pauseMs: -1 }],
  ]);
  expect(events.map((e) => e.kind)).toEqual(['kill']);
  well.events.onExit(0, null);
  clock.advance(60_000);
  expect([processes.length, clock.pending()]).toEqual([3, 0]);
});

test('the end of a process tells what it said last, how much it had, and how often that happened', () => {
  const { clock, processes, downs, last } = setUp();
  for (let i = 0; i < 3; i++) {
    last().hello();
    last().memory = 1000 + i;
    last().beat();
    last().events.onOutput('first line');
    last().events.onOutput(`Fatal process out of memory ${i}`);
    last().events.onExit(null, 'SIGABRT');
    clock.advance(10_000);
  }
  expect(processes).toHaveLength(4);
  expect(downs.map(([, , end]) => [end.output, end.memory, end.quickEnds])).toEqual([
    ['Fatal process out of memory 0', 1000, 1],
    ['Fatal process out of memory 1', 1001, 2],
    ['Fatal process out of memory 2', 1002, 3],
  ]);
});

describe('numbers', () => {
  test('a dead process gives its number to the one in its place', () => {
    const { clock, gone, processes } = setUp(3);
    processes[1]?.events.onExit(1, null);
    processes[0]?.events.onExit(1, null);
    expect(gone).toEqual([
      [1, true],
      [0, true],
    ]);
    clock.advance(0);
    expect(processes.slice(3).map((p) => p.workerId)).toEqual([1, 0]);
  });

  test("another tree's are left alone; a slot without one waits until there is one", () => {
    const numbers = new Numbers();
    numbers.reserve(Array.from({ length: 255 }, (_, i) => i));
    const { clock, processes, supervisor } = setUp(2, UNLIMITED, numbers);
    expect(processes.map((p) => p.workerId)).toEqual([255]);
    expect(supervisor.facts()[1]).toMatchObject({ workerId: 1, number: -1, state: 'waiting', restarts: 0 });
    numbers.reserve([]);
    clock.advance(1000);
    expect(processes.map((p) => p.workerId)).toEqual([255, 0]);
  });
});

describe('a worker with too much memory', () => {
  const limits: MemoryLimits = { soft: 100, hard: 125, relievable: true };

  /** Two workers, of which the first has been over the soft limit for long enough. */
  const crowded = (memory = 110, more: MemoryLimits = limits) => {
    const t = setUp(2, more);
    t.processes.forEach((p) => p.hello());
    const [first, second] = t.processes as [FakeProcess, FakeProcess];
    first.memory = memory;
    second.memory = 50;
    t.live(2000, first, second);
    return { ...t, first, second };
  };

  test('over the soft limit: another one starts under another number, and takes over when it serves', () => {
    const t = crowded();
    expect(t.processes.map((p) => p.workerId)).toEqual([0, 1, 255]);
    expect(t.first.killed).toBe(false);
    expect(t.events).toEqual([{ kind: 'relieve', number: 0, worker: 0, pid: 1000, memory: 110, successor: 255, pauseMs: LEAST_PAUSE_MS }]);
    expect(t.supervisor.succeed(0, 1000)).toBeNull();
    t.last().hello();
    expect(t.supervisor.relieves(255)).toBe(0);
    expect([t.supervisor.relieves(0), t.supervisor.relieves(7)]).toEqual([null, null]);
    expect(t.supervisor.up()).toEqual([0, 1, 255]);
    expect(t.supervisor.facts().map((w) => [w.workerId, w.number, w.state])).toEqual([
      [0, 0, 'up'],
      [1, 1, 'up'],
      [0, 255, 'up'],
    ]);
    expect(t.supervisor.succeed(255, 30_000)).toBe(0);
    expect(t.supervisor.up()).toEqual([1, 255]);
    expect(t.supervisor.present()).toEqual([0, 1, 255]);
    expect(t.supervisor.facts().map((w) => [w.workerId, w.number, w.state, w.restarts])).toEqual([
      [0, 255, 'up', 1],
      [1, 1, 'up', 0],
      [0, 0, 'draining', 1],
    ]);
    t.supervisor.dismiss(0);
    expect(t.first.sent.at(-1)).toEqual({ type: 'exit' });
    t.first.events.onExit(0, null);
    expect(t.downs).toMatchObject([[0, 'memory_soft', { worker: 0, role: 'leaving', code: 0, pauseMs: -1, quickEnds: 0 }]]);
    expect(t.numbers.inUse()).toEqual([1, 255]);
    t.live(5000, t.second, t.last());
    expect(t.processes).toHaveLength(3);
  });

  test('one that is over it for a moment, as before a garbage collection, is left alone', () => {
    const t = setUp(1, limits);
    t.last().hello();
    for (let i = 0; i < 20; i++) {
      t.last().memory = i % 3 === 0 ? 90 : 110;
      t.live(250, t.last());
    }
    expect(t.events).toEqual([]);
  });

  test('only one at a time, the largest first, with a pause between that is said once', () => {
    const t = crowded(105);
    t.second.memory = 120;
    t.first.memory = 105;
    t.live(2000, t.first, t.second, t.last());
    expect(t.processes).toHaveLength(3);
    t.last().hello();
    const third = t.last();
    t.supervisor.succeed(255, 30_000);
    t.live(2000, t.first, t.second, third);
    expect(t.processes).toHaveLength(3);
    t.supervisor.dismiss(0);
    t.first.events.onExit(0, null);
    t.live(4000, t.second, third);
    expect(t.events.slice(1)).toMatchObject([{ kind: 'wait', number: 1, memory: 120, successor: -1, ms: expect.any(Number) }]);
    t.live(LEAST_PAUSE_MS, t.second, third);
    expect(t.processes.map((p) => p.workerId)).toEqual([0, 1, 255, 254]);
    expect(t.events.slice(2)).toMatchObject([{ kind: 'relieve', number: 1, successor: 254, pauseMs: 2 * LEAST_PAUSE_MS }]);
  });

  test('one that does not go is dismissed when its time is over, and killed when it does not heed that', () => {
    const t = crowded();
    const third = t.last();
    third.hello();
    t.supervisor.succeed(255, 5000);
    t.live(5000, t.first, t.second, third);
    expect(t.first.sent.at(-1)).toEqual({ type: 'exit' });
    expect(t.first.killed).toBe(false);
    t.live(2250, t.first, t.second, third);
    expect(t.first.killed).toBe(true);
    expect(t.downs).toMatchObject([[0, 'memory_soft', {}]]);
  });

  test('dies while its replacement starts: that takes its place', () => {
    const t = crowded();
    t.first.events.onExit(null, 'SIGKILL');
    expect(t.downs).toMatchObject([[0, 'signal', { role: 'serving', pauseMs: 0 }]]);
    t.last().hello();
    t.live(1000, t.second, t.last());
    expect(t.processes).toHaveLength(3);
    expect(t.supervisor.facts()).toMatchObject([{ workerId: 0, number: 255, state: 'up', restarts: 1 }, { workerId: 1 }]);
    expect(t.supervisor.facts()).toHaveLength(2);
  });

  test('its replacement dies: it goes on, and another try waits for its time', () => {
    const t = crowded();
    t.last().events.onExit(1, null);
    expect(t.downs).toMatchObject([[255, 'exit', { role: 'next', pauseMs: -1 }]]);
    t.live(4000, t.first, t.second);
    expect(t.processes).toHaveLength(3);
    expect(t.events.at(-1)).toMatchObject({ kind: 'wait', number: 0 });
    t.live(LEAST_PAUSE_MS, t.first, t.second);
    expect(t.processes.map((p) => p.workerId)).toEqual([0, 1, 255, 255]);
  });

  test('over the hard limit it is killed at once, also while it drains, and the slot is filled again', () => {
    const t = crowded(126);
    expect(t.first.killed).toBe(true);
    expect(t.downs).toMatchObject([[0, 'memory_hard', { worker: 0, memory: 126, pauseMs: 0 }]]);
    expect(t.events).toMatchObject([{ kind: 'kill', number: 0, memory: 126 }]);
    expect(t.processes.map((p) => p.workerId)).toEqual([0, 1, 0]);
  });

  test('over the hard limit before it says hello, it never is up', () => {
    const t = crowded(126);
    t.last().memory = 126;
    t.last().beat();
    t.last().hello();
    expect(t.last().killed).toBe(true);
    expect(t.downs.at(-1)).toMatchObject([0, 'memory_hard', { memory: 126, wasUp: false }]);
  });

  test('where no second one can serve beside it, it is left until the hard limit, which is said once', () => {
    const t = crowded(110, { ...limits, relievable: false });
    t.live(10_000, t.first, t.second);
    expect(t.processes).toHaveLength(2);
    expect(t.events).toMatchObject([{ kind: 'wait', number: 0, ms: -1 }]);
    t.first.memory = 126;
    t.live(500, t.first, t.second);
    expect(t.downs).toMatchObject([[0, 'memory_hard', {}]]);
  });

  test('without a number for another one it waits', () => {
    const numbers = new Numbers();
    numbers.reserve(Array.from({ length: 255 }, (_, i) => i + 1));
    const t = setUp(1, limits, numbers);
    t.last().hello();
    t.last().memory = 110;
    t.live(2000, t.last());
    expect(t.processes).toHaveLength(1);
    expect(t.events).toMatchObject([{ kind: 'relieve', successor: -1 }, { kind: 'wait' }]);
  });

  test('that is stopped while another one starts leaves nothing planned', () => {
    const t = crowded();
    const third = t.last();
    third.hello();
    t.supervisor.succeed(255, 5000);
    t.supervisor.stop();
    for (const p of t.processes) p.events.onExit(0, null);
    t.clock.advance(60_000);
    expect(t.processes).toHaveLength(3);
    expect(t.clock.pending()).toBe(0);
  });
});
