import { describe, expect, test } from '@jest/globals';
import { array, assert, constantFrom, integer, nat, oneof, property, record, type Arbitrary } from 'fast-check';
import type { ToWorker } from '../../src/contract/channel.ts';
import type { ListenerPart } from '../../src/contract/snapshot/parts.ts';
import { socketKey, socketName } from '../../src/contract/socket.ts';
import { SHARE_MS, shareOut, Shares } from '../../src/control/share.ts';
import { ManualClock } from '../../src/lib/clock.ts';

type Told = Extract<ToWorker, { type: 'shares' }>;

const part = (connections: number | null, port = 443): ListenerPart =>
  ({ namespace: 'default', name: `p${port}`, addresses: [], port, limits: { connections } }) as unknown as ListenerPart;
const nameOf = (p: ListenerPart): string => socketName(socketKey(p));
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

test.each([
  [100, [0], 0, [100]],
  [100, [0, 0, 0], 0, [34, 33, 33]],
  [100, [0], 2, [34]],
  [100, [90, 0], 0, [95, 5]],
  [2, [0, 0, 0], 0, [1, 1, 0]],
  [10, [10, 0], 0, [10, 0]],
  [10, [12, 3], 0, [7, 0]],
  [1, [], 0, []],
])('%i connections among users of %j and %i to come', (total, uses, absent, shares) =>
  expect(shareOut(total, uses, absent)).toEqual(shares),
);

test('the shares add up to the limit; nobody gets less than it uses, unless that alone is too much', () => {
  assert(
    property(nat(100_000), array(nat(5000), { minLength: 1, maxLength: 64 }), (total, uses) => {
      const shares = shareOut(total, uses);
      const tooMuch = sum(uses) > total;
      if (tooMuch) expect(sum(shares)).toBeLessThanOrEqual(total);
      else expect(sum(shares)).toBe(total);
      shares.forEach((share, i) => expect(Math.sign(share - (uses[i] as number))).not.toBe(tooMuch ? 1 : -1));
    }),
  );
});

/** A process: takes messages when the test lets it, and connections whenever there are some. */
class Worker {
  readonly shares = new Map<string, number>();
  readonly connections = new Map<string, number>();
  readonly inbox: Told[] = [];
  readonly answers: (() => void)[] = [];
  leaving = false;

  has(socket: string): number {
    return this.connections.get(socket) ?? 0;
  }

  open(socket: string): boolean {
    if (this.leaving || this.has(socket) >= (this.shares.get(socket) ?? 0)) return false;
    this.connections.set(socket, this.has(socket) + 1);
    return true;
  }

  close(socket: string): void {
    this.connections.set(socket, Math.max(0, this.has(socket) - 1));
  }
}

class Node {
  readonly clock = new ManualClock();
  readonly shares: Shares;
  /** Those that live. */
  readonly workers = new Map<number, Worker>();
  sent = 0;
  private readonly awaited = new Set<number>();
  private next = 0;

  constructor(count: number, total = 1000) {
    this.shares = new Shares({
      clock: this.clock,
      total,
      count,
      send: (worker, message) => {
        this.sent++;
        if (message.type === 'shares') this.workers.get(worker)?.inbox.push(message);
      },
    });
    this.shares.start();
  }

  join(): Worker {
    const worker = new Worker();
    this.workers.set(this.next, worker);
    this.awaited.delete(this.next);
    this.shares.joined(this.next++);
    return worker;
  }

  /** The process that joins next has been started, to replace one that serves. */
  start(): void {
    this.awaited.add(this.next);
    this.shares.coming(this.next);
  }

  /** It ends before it joins. */
  fail(): void {
    if (this.awaited.delete(this.next)) this.shares.left(this.next++);
  }

  pick(n: number): [number, Worker] | null {
    const all = [...this.workers];
    return all.length === 0 ? null : (all[n % all.length] as [number, Worker]);
  }

  /** The worker takes one message; its answer is on its way. */
  take(id: number, worker: Worker): void {
    const message = worker.inbox.shift();
    if (message === undefined) return;
    for (const { socket, connections } of message.shares) worker.shares.set(socket, connections);
    const uses = message.shares.map(({ socket }) => ({ socket, connections: worker.has(socket) }));
    worker.answers.push(() => this.shares.answered(id, message.id, uses));
  }

  kill(id: number): void {
    this.workers.delete(id);
    this.shares.left(id);
  }

  leave(id: number, worker: Worker): void {
    worker.leaving = true;
    this.shares.leaving(id);
  }

  /** Whatever is on its way arrives, and what follows from it. */
  quiet(): void {
    for (let i = 0; [...this.workers.values()].some((w) => w.inbox.length + w.answers.length > 0); i++) {
      if (i > 100) throw new Error('there is no end of messages');
      this.flow();
    }
  }

  flow(): void {
    for (const [id, worker] of this.workers) {
      worker.answers.shift()?.();
      this.take(id, worker);
    }
  }

  round(): void {
    this.clock.advance(SHARE_MS);
    this.quiet();
  }

  open(socket: string): number {
    return sum([...this.workers.values()].map((w) => w.has(socket)));
  }

  told(socket: string): number[] {
    return [...this.workers.values()].map((w) => w.shares.get(socket) ?? 0);
  }
}

interface Step {
  readonly what: string;
  readonly who: number;
  readonly n: number;
}
/** Everything can happen between any two messages. */
const steps = (kinds: readonly string[]): Arbitrary<Step[]> =>
  array(record({ what: constantFrom(...kinds), who: nat(7), n: nat(12) }), { minLength: 60, maxLength: 150, size: 'max' });
const EVERYDAY = [
  ...Array.from({ length: 6 }, () => 'open'),
  ...Array.from({ length: 6 }, () => 'flow'),
  'take',
  'take',
  'answer',
  'answer',
  'close',
  'close',
  'second',
  'second',
];
const LIVES = ['join', 'kill', 'leave', 'start', 'fail'];

const step = (node: Node, socket: string, { what, who, n }: Step, always: () => void): void => {
  if (what === 'second') node.clock.advance(SHARE_MS);
  if (what === 'join' && node.workers.size < 6) node.join();
  if (what === 'start') node.start();
  if (what === 'fail') node.fail();
  const [id, worker] = node.pick(who) ?? [-1, null];
  if (worker === null) return;
  // Each message that is next goes its way, or one does.
  if (what === 'flow') node.flow();
  if (what === 'take') node.take(id, worker);
  if (what === 'answer') worker.answers.shift()?.();
  if (what === 'kill') node.kill(id);
  if (what === 'leave' && !worker.leaving) node.leave(id, worker);
  for (let i = 0; i < n; i++) {
    if (what === 'open') worker.open(socket);
    if (what === 'close') worker.close(socket);
    always();
  }
};

/** Asked so often that `expect` would take most of the time. */
const within = (open: number, most: number): void => {
  if (open > most) throw new Error(`${open} connections, at most ${most} wanted`);
};

describe('whatever comes between messages, and however long they take', () => {
  test('there are never more connections than the limit', () => {
    assert(
      property(nat(3), integer({ min: 1, max: 30 }), oneof(steps(EVERYDAY), steps([...EVERYDAY, ...LIVES])), (more, limit, list) => {
        const node = new Node(more + 1);
        const p = part(limit);
        const socket = nameOf(p);
        node.shares.expect([p]);
        node.shares.settle([p]);
        for (let i = 0; i <= more; i++) node.join();
        for (const s of list) step(node, socket, s, () => within(node.open(socket), limit));
      }),
      { numRuns: 500 },
    );
  });

  test('of a limit that changes: never more than the most that held since all had heard; beyond a lower one nobody new', () => {
    assert(
      property(
        nat(3),
        integer({ min: 1, max: 30 }),
        steps([...EVERYDAY, ...LIVES, 'limit', 'limit', 'refused', 'quiet']),
        (more, first, list) => {
          const node = new Node(more + 1);
          let p = part(first);
          const socket = nameOf(p);
          node.shares.expect([p]);
          node.shares.settle([p]);
          for (let i = 0; i <= more; i++) node.join();
          let [limit, most] = [first, first];
          let before = 0;
          for (const s of list) {
            if (s.what === 'limit' || s.what === 'refused') {
              const next = part(s.n * 3 + 1);
              node.shares.expect([next]);
              // A state that could not be served.
              node.shares.settle(s.what === 'limit' ? [next] : [p]);
              if (s.what === 'limit') [p, limit] = [next, s.n * 3 + 1];
              most = Math.max(most, limit);
            } else if (s.what === 'quiet') {
              node.quiet();
              most = limit;
            } else {
              step(node, socket, s, () => {
                const open = node.open(socket);
                if (open > before) within(open, most);
                before = open;
              });
            }
            before = node.open(socket);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test('when all have heard, every free place is somebody’s that takes clients, and can be used', () => {
    assert(
      property(nat(3), integer({ min: 1, max: 30 }), steps([...EVERYDAY, ...LIVES]), (more, limit, list) => {
        const node = new Node(more + 1);
        const p = part(limit);
        const socket = nameOf(p);
        node.shares.expect([p]);
        node.shares.settle([p]);
        for (let i = 0; i <= more; i++) node.join();
        for (const s of list) step(node, socket, s, () => {});
        if (![...node.workers.values()].some((w) => !w.leaving)) node.join();
        node.fail();
        node.quiet();
        // Clients come wherever they come: each worker takes what it may. Half of what is free is kept for workers that are to come.
        for (let i = 0; i < 12 && node.open(socket) < limit; i++) {
          node.round();
          for (const worker of node.workers.values()) while (worker.open(socket));
        }
        expect(node.open(socket)).toBe(limit);
      }),
      { numRuns: 500 },
    );
  });
});

describe('shares', () => {
  const begin = (count: number, limit: number | null, joins = count) => {
    const node = new Node(count);
    const p = part(limit);
    node.shares.expect([p]);
    const workers = Array.from({ length: joins }, () => node.join());
    node.quiet();
    node.shares.settle([p]);
    return { node, p, socket: nameOf(p), workers };
  };

  test('at the start each worker has its equal part, whenever it comes, before anything else is said to it', () => {
    const { node, socket, workers } = begin(3, 12, 1);
    expect(workers[0]?.shares.get(socket)).toBe(4);
    node.round();
    const second = node.join();
    expect(second.inbox.map((m) => m.shares)).toEqual([[{ socket, connections: 4 }]]);
    node.join();
    node.quiet();
    expect(node.told(socket)).toEqual([4, 4, 4]);
  });

  test('without a limit of its own a listener has the installation’s; with fewer places than workers some have none', () => {
    expect(begin(4, null).node.told(begin(4, null).socket)).toEqual([250, 250, 250, 250]);
    const { node, socket } = begin(3, 2);
    expect(node.told(socket)).toEqual([1, 1, 0]);
  });

  test('a raise comes in the same round as what was given back for it', () => {
    const { node, socket, workers } = begin(2, 10);
    for (let i = 0; i < 5; i++) workers[0]?.open(socket);
    node.round();
    expect(node.told(socket)).toEqual([8, 2]);
  });

  test('one that does not answer keeps what it had; the others get what is free', () => {
    const { node, socket, workers } = begin(2, 10);
    const [first, second] = workers as [Worker, Worker];
    for (let i = 0; i < 5; i++) first.open(socket);
    node.clock.advance(SHARE_MS);
    node.take(0, first);
    first.answers.shift()?.();
    for (let i = 0; i < 5; i++) {
      node.clock.advance(SHARE_MS);
      node.take(0, first);
      first.answers.shift()?.();
    }
    expect(first.shares.get(socket)).toBe(5);
    expect(second.inbox.length).toBeLessThanOrEqual(2);
    node.quiet();
    expect(node.told(socket)).toEqual([8, 2]);
  });

  test('a replacement gets what is free at once, and more when the others have given back; who leaves keeps what it has open', () => {
    const { node, socket, workers } = begin(2, 10);
    const [first, second] = workers as [Worker, Worker];
    for (let i = 0; i < 4; i++) first.open(socket);
    node.round();
    expect(node.told(socket)).toEqual([7, 3]);
    const next = node.join();
    expect(next.inbox[0]?.shares).toEqual([{ socket, connections: 0 }]);
    node.quiet();
    expect(node.told(socket)).toEqual([6, 2, 2]);
    node.leave(0, first);
    node.quiet();
    expect(node.told(socket)).toEqual([0, 3, 3]);
    for (let i = 0; i < 4; i++) first.close(socket);
    node.round();
    expect(node.told(socket)).toEqual([0, 5, 5]);
    node.kill(1);
    expect(second.leaving).toBe(false);
    const replacement = node.join();
    expect(replacement.inbox[0]?.shares).toEqual([{ socket, connections: 5 }]);
  });

  test('whoever is started as a replacement has its share from its first moment: the others gave it back while it started', () => {
    const { node, socket, workers } = begin(2, 10);
    for (let i = 0; i < 4; i++) workers[0]?.open(socket);
    node.round();
    expect(node.told(socket)).toEqual([7, 3]);
    node.start();
    node.quiet();
    expect(node.told(socket)).toEqual([6, 2]);
    node.round();
    expect(node.told(socket)).toEqual([6, 2]);
    const next = node.join();
    expect(next.inbox[0]?.shares).toEqual([{ socket, connections: 2 }]);
    node.quiet();
    expect(node.told(socket)).toEqual([6, 2, 2]);
  });

  test('a replacement that ends before it joins leaves what was kept for it to the others', () => {
    const { node, socket } = begin(2, 10);
    node.start();
    node.quiet();
    expect(sum(node.told(socket))).toBe(7);
    node.fail();
    node.quiet();
    expect(node.told(socket)).toEqual([5, 5]);
  });

  test('one that is alone gives back, for its replacement, what it does not use', () => {
    const { node, socket, workers } = begin(1, 10);
    for (let i = 0; i < 8; i++) workers[0]?.open(socket);
    node.start();
    node.quiet();
    expect(node.told(socket)).toEqual([9]);
    expect(node.join().inbox[0]?.shares).toEqual([{ socket, connections: 1 }]);
  });

  test('one worker has the whole limit, and is asked nothing until there is another one', () => {
    const { node, socket } = begin(1, 10);
    const { sent } = node;
    for (let i = 0; i < 5; i++) node.round();
    expect([node.told(socket), node.sent]).toEqual([[10], sent]);
    node.join();
    node.quiet();
    expect(node.told(socket)).toEqual([5, 5]);
  });

  test('one that was alone is asked what it has before anything is taken from it: it never refuses whom it has room for', () => {
    const { node, socket, workers } = begin(1, 10);
    const [first] = workers as [Worker];
    for (let i = 0; i < 8; i++) first.open(socket);
    node.join();
    for (let i = 0; i < 20; i++) {
      node.flow();
      expect(first.shares.get(socket)).toBeGreaterThan(8);
    }
    expect(node.told(socket)).toEqual([9, 1]);
  });

  test('one worker is asked of a socket that is gone until nobody is there', () => {
    const { node, socket, workers } = begin(1, 10);
    workers[0]?.open(socket);
    node.shares.settle([]);
    node.quiet();
    expect(node.told(socket)).toEqual([0]);
    workers[0]?.close(socket);
    node.round();
    node.round();
    const { sent } = node;
    node.round();
    expect([node.sent, node.told(socket)]).toEqual([sent, [0]]);
    node.join();
    expect(node.workers.get(1)?.inbox).toEqual([]);
  });

  test('a lower limit holds before the load, a higher one when it serves; a state that failed changes nothing', () => {
    const { node, socket, workers } = begin(2, 10);
    node.shares.expect([part(6)]);
    node.quiet();
    expect(node.told(socket)).toEqual([3, 3]);
    node.shares.settle([part(10)]);
    node.quiet();
    expect(node.told(socket)).toEqual([5, 5]);
    node.shares.expect([part(20)]);
    node.quiet();
    expect(node.told(socket)).toEqual([5, 5]);
    node.shares.settle([part(20)]);
    node.quiet();
    expect(node.told(socket)).toEqual([10, 10]);
    for (let i = 0; i < 10; i++) workers[0]?.open(socket);
    node.shares.expect([part(4)]);
    node.quiet();
    node.round();
    expect(node.told(socket)).toEqual([4, 0]);
    for (let i = 0; i < 8; i++) workers[0]?.close(socket);
    node.round();
    expect(sum(node.told(socket))).toBe(4);
  });

  test('a socket that no listener has any more is lowered to nothing, and forgotten when nobody is there', () => {
    const { node, p, socket, workers } = begin(2, 10);
    workers[0]?.open(socket);
    const other = part(8, 8443);
    node.shares.expect([other]);
    node.quiet();
    expect([node.told(socket), node.told(nameOf(other))]).toEqual([
      [6, 4],
      [4, 4],
    ]);
    node.shares.settle([other]);
    node.quiet();
    expect(node.told(socket)).toEqual([0, 0]);
    // Back again while a connection of before is still there.
    node.shares.expect([p, other]);
    node.quiet();
    expect(sum(node.told(socket))).toBe(10);
    node.shares.settle([other]);
    node.quiet();
    workers[0]?.close(socket);
    node.round();
    node.round();
    const inboxes = [...node.workers.values()].map((w) => w.inbox);
    node.clock.advance(SHARE_MS);
    expect(inboxes.map((inbox) => inbox.flatMap((m) => m.shares.map((s) => s.socket)))).toEqual([[nameOf(other)], [nameOf(other)]]);
  });

  test('a message has so many sockets at most, and what is answered for one that has ended is nobody’s', () => {
    const node = new Node(2);
    const parts = Array.from({ length: 1200 }, (_, i) => part(10, i + 1));
    node.shares.expect(parts);
    const worker = node.join();
    expect(worker.inbox.map((m) => m.shares.length)).toEqual([500, 500, 200]);
    node.take(0, worker);
    node.kill(0);
    worker.answers.shift()?.();
    const next = node.join();
    node.quiet();
    expect(parts.every((p) => next.shares.get(nameOf(p)) === 5)).toBe(true);
  });
});
