import { describe, expect, test } from '@jest/globals';
import { serialize } from 'node:v8';
import { MESSAGE_BYTES, type BoundListener, type LoadProblem, type ToWorker } from '../../src/contract/channel.ts';
import type { EndpointInfo, EndpointList, GroupId, PartHash } from '../../src/contract/snapshot/parts.ts';
import { MAX_ENDPOINTS } from '../../src/control/endpoints.ts';
import { ListJoin } from '../../src/contract/pieces.ts';
import { endpointMessages, partMessages, Publisher, type Published, type PublishState } from '../../src/control/publish.ts';
import { ManualClock } from '../../src/lib/clock.ts';

const hash = (s: string): PartHash => s as PartHash;
const group = (s: string): GroupId => s as GroupId;

const stateOf = (parts: Record<string, number>, groups: string[] = []): PublishState => ({
  listeners: [hash(Object.keys(parts)[0] ?? 'none')],
  encoded: new Map(Object.entries(parts).map(([h, n]) => [hash(h), new Uint8Array(n).fill(7)])),
  groups: new Set(groups.map(group)),
});

const endpoint = (n: number): EndpointInfo => ({
  address: `10.0.0.${n}`,
  port: 80,
  host: `h${n}`,
  label: `e${n}`,
  weight: 1,
  healthy: true,
  draining: false,
});
const list = (id: string, sequence: number, n = 1): EndpointList => ({
  group: group(id),
  sequence,
  list: Array.from({ length: n }, (_, i) => endpoint(i)),
});

/** Remembers what it was told; answers when the test says so. */
class FakeWorker {
  readonly sent: ToWorker[] = [];
  readonly workerId: number;
  private readonly publisher: Publisher;

  constructor(publisher: Publisher, workerId: number) {
    this.publisher = publisher;
    this.workerId = workerId;
  }

  attach(): this {
    this.publisher.attach({ workerId: this.workerId, send: (m) => this.sent.push(m) });
    return this;
  }

  take(): ToWorker[] {
    return this.sent.splice(0);
  }

  types(): string {
    return this.take()
      .map((m) =>
        m.type === 'load' || m.type === 'switch'
          ? `${m.type}${m.version}`
          : m.type === 'parts'
            ? `parts:${m.parts.map((p) => p.hash).join()}`
            : m.type === 'forget'
              ? `forget:${m.hashes.join()}`
              : m.type === 'forgetLists'
                ? `forgetLists:${m.groups.join()}`
                : m.type,
      )
      .join(' ');
  }

  loaded(version: number, problems: LoadProblem[] = [], bound: BoundListener[] = []): void {
    this.publisher.loaded(this.workerId, version, bound, problems);
  }

  switched(version: number): void {
    this.publisher.switched(this.workerId, version);
  }
}

const setUp = (count: number) => {
  const clock = new ManualClock();
  const replaced: [number, string][] = [];
  const loads: number[] = [];
  const publisher = new Publisher({
    clock,
    replace: (worker, reason) => replaced.push([worker, reason]),
    onLoaded: (load) => loads.push(load.workerId),
  });
  const workers = Array.from({ length: count }, (_, i) => new FakeWorker(publisher, i).attach());
  const outcomes: Published[] = [];
  const publish = (state: PublishState): Promise<void> => publisher.publish(state).then((outcome) => void outcomes.push(outcome));
  return { clock, publisher, replaced, loads, workers, outcomes, publish };
};

const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

describe('two phases', () => {
  test('nobody switches before all have loaded, and the outcome waits for all that switch', async () => {
    const { workers, outcomes, publish, publisher } = setUp(2);
    const [a, b] = workers as [FakeWorker, FakeWorker];
    void publish(stateOf({ p: 10 }, ['g']));
    publisher.endpoints([list('g', 1)]);
    expect(a.types()).toBe('parts:p load1');
    a.loaded(1);
    expect(a.types()).toBe('');
    b.loaded(1);
    expect(a.types()).toBe('switch1');
    expect(b.types()).toBe('parts:p load1 switch1');
    a.switched(1);
    await settle();
    expect(outcomes).toEqual([]);
    expect(publisher.serving(2)).toBe(false);
    b.switched(1);
    await settle();
    expect(outcomes).toMatchObject([{ ok: true, version: 1 }]);
    expect(publisher.serving(2)).toBe(true);
    expect(publisher.serving(3)).toBe(false);
  });

  test('only parts that a worker lacks are sent; what fell out of a version is sent again', async () => {
    const { workers, publish } = setUp(1);
    const [a] = workers as [FakeWorker];
    const serve = async (version: number, state: PublishState): Promise<string> => {
      void publish(state);
      a.loaded(version);
      a.switched(version);
      await settle();
      return a.types();
    };
    expect(await serve(1, stateOf({ x: 1, y: 1 }))).toBe('parts:x,y load1 switch1');
    expect(await serve(2, stateOf({ x: 1, z: 1 }))).toBe('parts:z load2 switch2 forget:y');
    expect(await serve(3, stateOf({ x: 1, y: 1 }))).toBe('parts:y load3 switch3 forget:z');
  });

  test('problems of a load are data: the switch goes on and they are in the outcome', async () => {
    const { workers, outcomes, publish } = setUp(1);
    const [a] = workers as [FakeWorker];
    void publish(stateOf({ p: 1 }));
    const problem: LoadProblem = { kind: 'bind', listener: 'default/a', code: 'EADDRINUSE', message: 'x' };
    a.loaded(1, [problem]);
    a.switched(1);
    await settle();
    expect(outcomes).toMatchObject([{ ok: true, loads: [{ workerId: 0, problems: [problem] }] }]);
  });

  test('of a state that is whole or nothing, a Listener that cannot be served as it says keeps all from switching', async () => {
    const { workers, outcomes, publish, publisher } = setUp(2);
    const [a, b] = workers as [FakeWorker, FakeWorker];
    const of = (kind: LoadProblem['kind']): LoadProblem => ({ kind, listener: 'default/a', code: 'x', message: 'no such thing' });
    const serve = async (version: number, problems: LoadProblem[]): Promise<void> => {
      void publish({ ...stateOf({ [`p${version}`]: 1 }), whole: true });
      a.loaded(version);
      b.loaded(version, problems);
      for (const w of [a, b]) w.switched(version);
      await settle();
    };
    await serve(1, [of('bind')]);
    expect(outcomes.at(-1)).toMatchObject({ ok: true, version: 1 });
    for (const w of [a, b]) w.types();
    await serve(2, [of('certificate')]);
    expect(outcomes.at(-1)).toEqual({ ok: false, version: 2, why: 'listener default/a cannot be served: no such thing' });
    expect(a.types()).toBe('parts:p2 load2 load1');
    expect(publisher.version).toBe(1);
    for (const w of [a, b]) w.loaded(1);
    for (const w of [a, b]) w.switched(1);
    await serve(3, [of('part')]);
    expect(outcomes.at(-1)).toMatchObject({ ok: false, version: 3 });
    void publish(stateOf({ p4: 1 }));
    for (const w of [a, b]) w.loaded(4, [of('certificate')]);
    for (const w of [a, b]) w.switched(4);
    await settle();
    expect(outcomes.at(-1)).toMatchObject({ ok: true, version: 4 });
  });

  test('answers about another version, or out of order, change nothing', () => {
    const { workers, publish } = setUp(1);
    const [a] = workers as [FakeWorker];
    void publish(stateOf({ p: 1 }));
    a.take();
    a.switched(1);
    a.loaded(7);
    expect(a.types()).toBe('');
    a.loaded(1);
    a.loaded(1);
    expect(a.types()).toBe('switch1');
  });
});

describe('workers that fail', () => {
  test('5 s of silence at load and at switch replaces a worker, and not a moment earlier', () => {
    const { clock, workers, replaced, publish } = setUp(2);
    const [a] = workers as [FakeWorker, FakeWorker];
    void publish(stateOf({ p: 1 }));
    clock.advance(4000);
    a.loaded(1);
    clock.advance(999);
    expect(replaced).toEqual([]);
    clock.advance(1);
    expect(replaced).toEqual([[1, 'load_silent']]);
    clock.advance(20_000);
    expect(replaced).toHaveLength(1);
  });

  test('what one cannot load because of a defect nobody switches to; one that cannot load what others serve is replaced', async () => {
    const { workers, replaced, publish, publisher, outcomes } = setUp(2);
    const [a, b] = workers as [FakeWorker, FakeWorker];
    void publish(stateOf({ p: 1 }));
    for (const w of [a, b]) w.loaded(1);
    for (const w of [a, b]) w.switched(1);
    for (const w of [a, b]) w.take();
    void publish(stateOf({ q: 1 }));
    a.loaded(2);
    publisher.notLoaded(1, 1, 'of another version');
    expect([a.types(), b.types()]).toEqual(['parts:q load2', 'parts:q load2']);
    publisher.notLoaded(1, 2, 'a defect');
    await settle();
    expect(outcomes.at(-1)).toEqual({ ok: false, version: 2, why: 'worker 1 cannot load it: a defect' });
    expect([a.types(), b.types(), replaced]).toEqual(['load1', 'load1', []]);
    a.loaded(1);
    publisher.notLoaded(1, 1, 'a defect');
    expect(replaced).toEqual([[1, 'load_failed']]);
  });

  test('a worker that shows life while it loads is given 30 s', () => {
    const { clock, replaced, publish, publisher } = setUp(1);
    void publish(stateOf({ p: 1 }));
    for (let t = 0; t < 29_750; t += 250) {
      publisher.heard(0);
      clock.advance(250);
    }
    expect(replaced).toEqual([]);
    publisher.heard(0);
    clock.advance(250);
    expect(replaced).toEqual([[0, 'load_silent']]);
  });

  test('a heartbeat of a worker that owes no answer plans nothing', async () => {
    const { clock, workers, publish, publisher } = setUp(1);
    void publish(stateOf({ p: 1 }));
    workers[0]?.loaded(1);
    workers[0]?.switched(1);
    await settle();
    publisher.heard(0);
    expect(clock.pending()).toBe(0);
  });

  test('a worker that is lost does not hold the others up, and its successor is brought to the version', async () => {
    const { workers, outcomes, publish, publisher } = setUp(2);
    const [a, b] = workers as [FakeWorker, FakeWorker];
    void publish(stateOf({ p: 1 }));
    a.loaded(1);
    publisher.detach(1);
    a.switched(1);
    await settle();
    expect(outcomes).toMatchObject([{ ok: true, version: 1 }]);
    b.take();
    b.attach();
    expect(b.types()).toBe('parts:p load1');
    b.loaded(1);
    expect(b.types()).toBe('switch1');
    b.switched(1);
    expect(publisher.serving(2)).toBe(true);
  });

  test('with every worker gone before the switch the publication waits for a successor', async () => {
    const { workers, outcomes, publish, publisher } = setUp(1);
    const [a] = workers as [FakeWorker];
    void publish(stateOf({ p: 1 }));
    publisher.detach(0);
    await settle();
    expect(outcomes).toEqual([]);
    a.attach();
    a.loaded(1);
    a.switched(1);
    await settle();
    expect(outcomes).toMatchObject([{ ok: true }]);
  });

  test('a version that three processes died on is given up: workers go back to the last good one, and the next change works', async () => {
    const { workers, outcomes, publish, publisher } = setUp(1);
    const [a] = workers as [FakeWorker];
    void publish(stateOf({ p: 1 }));
    a.loaded(1);
    a.switched(1);
    await settle();
    a.take();
    void publish(stateOf({ q: 1 }));
    for (let i = 0; i < 3; i++) {
      expect(a.types()).toContain('load2');
      publisher.detach(0);
      if (i < 2) a.attach();
    }
    await settle();
    expect(outcomes).toMatchObject([{ ok: true }, { ok: false, version: 2 }]);
    a.attach();
    expect(a.types()).toBe('parts:p load1');
    a.loaded(1);
    expect(a.types()).toBe('switch1');
    a.switched(1);
    expect(publisher.version).toBe(1);
    void publish(stateOf({ r: 1 }));
    a.loaded(3);
    a.switched(3);
    await settle();
    expect(outcomes[2]).toMatchObject({ ok: true, version: 3 });
  });

  test('a worker that attaches during a publication joins it without being waited for', async () => {
    const { workers, outcomes, publish, publisher } = setUp(1);
    const [a] = workers as [FakeWorker];
    void publish(stateOf({ p: 1 }));
    const late = new FakeWorker(publisher, 1).attach();
    a.loaded(1);
    expect(a.types()).toContain('switch1');
    a.switched(1);
    await settle();
    expect(outcomes).toHaveLength(1);
    late.loaded(1);
    expect(late.types()).toBe('parts:p load1 switch1');
  });
});

describe('the lane of endpoints', () => {
  test('the first list comes before the load, later ones at once, to workers that have the group only', async () => {
    const { workers, publish, publisher } = setUp(1);
    const [a] = workers as [FakeWorker];
    publisher.endpoints([list('g', 1), list('other', 2)]);
    expect(a.types()).toBe('');
    void publish(stateOf({ p: 1 }, ['g']));
    expect(a.sent.map((m) => m.type)).toEqual(['parts', 'endpoints', 'load']);
    expect(a.sent[1]).toEqual({ type: 'endpoints', lists: [list('g', 1)] });
    a.take();
    publisher.endpoints([list('g', 3, 2)]);
    expect(a.take()).toEqual([{ type: 'endpoints', lists: [list('g', 3, 2)] }]);
    a.loaded(1);
    a.switched(1);
    await settle();
    a.take();
    void publish(stateOf({ p: 1 }, ['g']));
    expect(a.types()).toBe('load2');
  });

  test('a group that left and came back gets its list again', async () => {
    const { workers, publish, publisher } = setUp(1);
    const [a] = workers as [FakeWorker];
    const serve = async (version: number, groups: string[]): Promise<string> => {
      void publish(stateOf({ p: 1 }, groups));
      a.loaded(version);
      a.switched(version);
      await settle();
      return a.types();
    };
    publisher.endpoints([list('g', 1)]);
    expect(await serve(1, ['g'])).toBe('parts:p endpoints load1 switch1');
    // Only then: a list that the worker forgot by itself would not be sent again.
    expect(await serve(2, [])).toBe('load2 switch2 forgetLists:g');
    publisher.endpoints([list('g', 2)]);
    expect(await serve(3, ['g'])).toBe('endpoints load3 switch3');
  });
});

describe('messages stay within the channel’s limit', () => {
  test('parts of every size arrive whole: small ones together, large ones cut', () => {
    const sizes = [
      1,
      300,
      59_000,
      60 * 1024 - 80,
      60 * 1024 - 79,
      60 * 1024,
      60 * 1024 + 1,
      1_000_000,
      ...Array.from({ length: 3000 }, (_, i) => 1 + (i % 700)),
    ];
    const parts = new Map(
      sizes.map((n, k) => [hash(`part-${k}`.padEnd(22, '.')), Uint8Array.from({ length: n }, (_, i) => (i * 7 + k) % 251)]),
    );
    const messages = partMessages(parts);
    const arrived = new Map<PartHash, Uint8Array[]>();
    const complete = new Set<PartHash>();
    for (const m of messages) {
      expect(serialize(m).length).toBeLessThanOrEqual(MESSAGE_BYTES);
      const items = m.type === 'parts' ? m.parts : m.type === 'chunk' ? [m] : [];
      for (const { hash, bytes } of items) arrived.set(hash, [...(arrived.get(hash) ?? []), bytes]);
      if (m.type === 'chunk' && m.last) complete.add(m.hash);
      if (m.type === 'parts') for (const p of m.parts) complete.add(p.hash);
    }
    expect(complete.size).toBe(parts.size);
    for (const [name, bytes] of parts) expect(Buffer.concat(arrived.get(name) ?? []).equals(bytes)).toBe(true);
    expect(messages.length).toBeLessThan(60);
  });

  test('many lists, and the longest list that the lane makes', () => {
    const long: EndpointInfo = {
      address: '2001:0db8:1111:2222:3333:4444:5555:6666',
      port: 65535,
      host: 'backend.example.internal',
      label: 'backend.example.internal:65535',
      weight: 1_000_000,
      healthy: false,
      draining: true,
    };
    const big = { group: group('["default","u","g"]'), sequence: 1, list: Array.from({ length: MAX_ENDPOINTS }, () => long) };
    const lists = [...Array.from({ length: 500 }, (_, i) => list(`g${i}`, i, 10)), big];
    const messages = endpointMessages(lists);
    for (const m of messages) expect(serialize(m).length).toBeLessThanOrEqual(MESSAGE_BYTES);
    const join = new ListJoin();
    const arrived = messages.flatMap((m) => (m.type === 'endpoints' ? m.lists : m.type === 'piece' ? (join.take(m) ?? []) : []));
    expect(arrived.length).toBe(lists.length);
    expect(new Map(arrived.map((l) => [l.group, l]))).toEqual(new Map(lists.map((l) => [l.group, l])));
    expect(messages.filter((m) => m.type === 'piece').length).toBeGreaterThan(10);
  });
});
