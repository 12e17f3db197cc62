import { describe, expect, test } from '@jest/globals';
import { Pool, type PoolLimits } from '../../../src/edge/backends/pool.ts';
import type { BackendSession, Connect, SessionEvents } from '../../../src/edge/backends/session.ts';
import { Fields } from '../../../src/edge/http/fields.ts';
import type { BackendFailure, ClientRequest, ClientStream, ResponseHandler } from '../../../src/edge/http/message.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { TimerWheel } from '../../../src/lib/wheel.ts';

const REQUEST: ClientRequest = { method: 'GET', scheme: 'http', authority: 'a', path: '/', fields: new Fields() };
const LIMITS: PoolLimits = { connections: 4, busy: 3, spread: 2, idleMs: 1000 };

class FakeSession implements BackendSession {
  readonly limit: number;
  readonly events: SessionEvents;
  active = 0;
  opened = 0;
  answered = 0;
  taken = -1;
  writing = false;
  ended: 'shutdown' | 'destroyed' | null = null;

  constructor(limit: number, events: SessionEvents) {
    this.limit = limit;
    this.events = events;
  }

  get capacity(): number {
    return this.ended === null ? this.limit - this.active : 0;
  }

  open(_request: ClientRequest, _end: boolean, handler: ResponseHandler): boolean {
    if (this.capacity <= 0) return false;
    this.active++;
    this.opened++;
    handler.onRequestSent({} as ClientStream);
    return true;
  }

  finishOne(answered = 0): void {
    this.active--;
    this.answered = Math.max(this.answered, answered);
    this.events.onCapacity(this);
  }

  /** GOAWAY: of what was opened only the first `taken` are served, and nothing more is opened. */
  goaway(taken: number): void {
    this.taken = taken;
    this.ended = 'shutdown';
    this.events.onClosed(this);
  }

  shutdown(): void {
    this.ended = 'shutdown';
    if (this.active === 0) this.events.onClosed(this);
  }

  destroy(): void {
    this.ended = 'destroyed';
    this.events.onClosed(this);
  }
}

class Caller implements ResponseHandler {
  sent = 0;
  failure: BackendFailure | null = null;
  onFailure: (() => void) | null = null;
  onSent: (() => void) | null = null;

  onRequestSent(): void {
    this.sent++;
    this.onSent?.();
  }

  onResponseFailure(failure: BackendFailure): void {
    this.failure = failure;
    this.onFailure?.();
  }

  onInform(): void {}
  onResponse(): void {}
  onKnownResponse(): void {}
  onResponseBody(): void {}
  onResponseEnd(): void {}
  onRequestWritable(): void {}
}

interface Dial {
  readonly events: SessionEvents;
  readonly timeoutMs: number;
  cancelled: boolean;
}

function rig(limits: PoolLimits = LIMITS) {
  const clock = new ManualClock();
  const wheel = new TimerWheel(clock, (e) => {
    throw e;
  });
  const dials: Dial[] = [];
  const connect: Connect = (_target, timeoutMs, events) => {
    const dial: Dial = { events, timeoutMs, cancelled: false };
    dials.push(dial);
    return () => {
      dial.cancelled = true;
    };
  };
  const pending = { value: 0 };
  const pool = new Pool({ address: '127.0.0.1', port: 1, host: 'a' }, connect, limits, pending, wheel);
  const ready = (i: number, limit: number): FakeSession => {
    const dial = dials[i] as Dial;
    const session = new FakeSession(limit, dial.events);
    dial.events.onReady(session);
    return session;
  };
  const ask = (again = false): Caller => {
    const caller = new Caller();
    pool.open(REQUEST, true, caller, 250, again);
    return caller;
  };
  return { clock, pool, dials, pending, ready, ask };
}

const REFUSED: BackendFailure = { reason: 'connect_refused', unseen: false, detail: 'x' };

test('requests that come together share one attempt and go out in order when it is ready', () => {
  const { dials, ask, ready, pending } = rig();
  const callers = [ask(), ask(), ask()];
  expect(dials).toHaveLength(1);
  expect(dials[0]?.timeoutMs).toBe(250);
  expect(pending.value).toBe(3);
  const session = ready(0, 10);
  expect(callers.map((c) => c.sent)).toEqual([1, 1, 1]);
  expect(session.active).toBe(3);
  expect(pending.value).toBe(0);
});

test('a ready connection takes a request at once', () => {
  const { pool, ask, ready } = rig();
  ask();
  ready(0, 10);
  const caller = new Caller();
  expect(pool.open(REQUEST, true, caller, 250)).toBeNull();
  expect(caller.sent).toBe(1);
});

test('a failed attempt fails all who wait, with its reason', () => {
  const { dials, ask, pending } = rig();
  const callers = [ask(), ask()];
  dials[0]?.events.onFailed(REFUSED);
  expect(callers.map((c) => c.failure?.reason)).toEqual(['connect_refused', 'connect_refused']);
  expect(pending.value).toBe(0);
});

test('a failure that asks again from its callback waits for the next attempt and is not failed by this one', () => {
  const { dials, ask } = rig();
  const first = ask();
  let again: Caller | null = null;
  first.onFailure = () => {
    again = ask();
  };
  dials[0]?.events.onFailed(REFUSED);
  expect(dials).toHaveLength(2);
  expect((again as Caller | null)?.failure).toBeNull();
});

test('with a full connection, one more is opened at a time, up to the limit; a stream that ends serves the next', () => {
  const { dials, ask, ready, pending } = rig();
  ask();
  const first = ready(0, 1);
  const second = ask();
  expect(dials).toHaveLength(2);
  const third = ask();
  expect(dials).toHaveLength(2);
  first.finishOne();
  expect(second.sent).toBe(1);
  expect(third.sent).toBe(0);
  ready(1, 1);
  expect(third.sent).toBe(1);
  for (let i = 0; i < 10; i++) ask();
  for (let i = 2; i < 4; i++) ready(i, 1);
  expect(dials).toHaveLength(LIMITS.connections);
  expect(pending.value).toBe(8);
});

test('the place of a connection that takes no more is another one’s, and nobody waits for the streams of those that are left', () => {
  const { dials, ask, ready } = rig();
  ask();
  const sessions = [ready(0, 1)];
  for (let i = 1; i < LIMITS.connections; i++) {
    ask();
    sessions.push(ready(i, 1));
  }
  const waiting = ask();
  expect(dials).toHaveLength(LIMITS.connections);
  sessions[0]?.goaway(1);
  expect(dials).toHaveLength(LIMITS.connections + 1);
  // One that ends before it was of use to anybody is not replaced at once: that could go on for ever.
  const useless = new FakeSession(0, (dials.at(-1) as Dial).events);
  useless.events.onReady(useless);
  useless.destroy();
  expect(dials).toHaveLength(LIMITS.connections + 1);
  expect(waiting.failure).toBeNull();
  sessions[1]?.finishOne();
  expect(waiting.sent).toBe(1);
});

test('an attempt that fails beside a working connection fails nobody', () => {
  const { dials, ask, ready } = rig();
  ask();
  const session = ready(0, 1);
  const waiting = ask();
  dials[1]?.events.onFailed(REFUSED);
  expect(waiting.failure).toBeNull();
  session.finishOne();
  expect(waiting.sent).toBe(1);
});

test('a cancelled request is neither sent nor failed', () => {
  const { pool, dials, ready, pending } = rig();
  const callers = [new Caller(), new Caller(), new Caller()];
  const waits = callers.map((c) => pool.open(REQUEST, true, c, 250));
  waits[1]?.cancel();
  waits[1]?.cancel();
  expect(pending.value).toBe(2);
  ready(0, 10);
  expect(callers.map((c) => c.sent)).toEqual([1, 0, 1]);
  dials[0]?.events.onFailed(REFUSED);
  expect(callers[1]?.failure).toBeNull();
});

test('under load it spreads over a second connection before the first is full', () => {
  const { dials, ask, ready } = rig();
  ask();
  const first = ready(0, 100);
  for (let i = 0; i < 3; i++) ask();
  expect(dials).toHaveLength(2);
  const second = ready(1, 100);
  for (let i = 0; i < 4; i++) ask();
  expect([first.active, second.active]).toEqual([4, 4]);
  expect(dials).toHaveLength(2);
});

test('what a turn brings goes to one connection, but not far ahead of the others', () => {
  const { dials, ask, ready } = rig({ ...LIMITS, busy: 1 });
  ask();
  const first = ready(0, 300);
  ask();
  expect(dials).toHaveLength(2);
  const second = ready(1, 300);
  expect([first.active, second.active]).toEqual([2, 0]);
  first.writing = true;
  for (let i = 0; i < 126; i++) ask();
  expect([first.active, second.active]).toEqual([128, 0]);
  for (let i = 0; i < 3; i++) ask();
  expect([first.active, second.active]).toEqual([129, 2]);
  second.writing = true;
  ask();
  expect([first.active, second.active]).toEqual([129, 3]);
  // The next turn begins with the least busy one.
  for (const s of [first, second]) s.writing = false;
  for (let i = 0; i < 127; i++) first.finishOne();
  ask();
  expect([first.active, second.active]).toEqual([3, 3]);
});

test('how far ahead a connection may be follows the others: new ones, and those that have less to do since', () => {
  const { dials, ask, ready } = rig({ ...LIMITS, busy: 1 });
  ask();
  const first = ready(0, 1000);
  // Windows that are given back keep it writing from the beginning of each turn on.
  first.writing = true;
  for (let i = 0; i < 200; i++) ask();
  expect([first.active, dials.length]).toEqual([201, 2]);
  const second = ready(1, 1000);
  ask();
  expect([first.active, second.active]).toEqual([201, 1]);
  for (let i = 0; i < 190; i++) ask();
  for (let i = 0; i < 60; i++) first.finishOne();
  second.writing = true;
  for (let i = 0; i < 40; i++) ask();
  const before = first.active;
  for (let n = second.active; n > 0; n--) second.finishOne();
  second.writing = false;
  first.writing = true;
  ask();
  expect([first.active, second.active]).toEqual([before, 1]);
});

test('a connection without a stream to spare takes nothing, whatever it writes', () => {
  const { dials, ask, ready } = rig({ ...LIMITS, busy: 1 });
  ask();
  const full = ready(0, 2);
  ask();
  expect(dials).toHaveLength(2);
  const other = ready(1, 100);
  full.writing = true;
  ask();
  expect([full.active, other.active]).toEqual([2, 1]);
});

test('a backend that closes every connection at once is given up after a few, and the waiting are told', () => {
  const { dials, ask } = rig();
  const caller = ask();
  for (let i = 0; i < dials.length && i < 20; i++) {
    const session = new FakeSession(0, (dials[i] as Dial).events);
    session.events.onReady(session);
    session.destroy();
  }
  expect(caller.failure?.reason).toBe('backend_closed');
  expect(dials.length).toBeLessThan(10);
});

describe('idle connections', () => {
  test('the spare one goes after a quiet period, the last one after four', () => {
    const { pool, clock, ask, ready } = rig();
    ask();
    const first = ready(0, 1);
    ask();
    const second = ready(1, 1);
    first.finishOne();
    second.finishOne();
    clock.advance(1100);
    expect(pool.connections).toBe(2);
    clock.advance(1000);
    expect([first.ended, second.ended].filter((e) => e === 'shutdown')).toHaveLength(1);
    expect(pool.connections).toBe(1);
    clock.advance(4000);
    expect(pool.connections).toBe(0);
    const caller = ask();
    expect(caller.sent).toBe(0);
  });

  test('short requests now and then are use, too, wherever they fall in the period', () => {
    const { pool, clock, ask, ready, dials } = rig();
    ask();
    const session = ready(0, 5);
    session.finishOne();
    for (let i = 0; i < 60; i++) {
      clock.advance(500);
      ask();
      session.finishOne();
    }
    expect([pool.connections, session.ended, dials.length]).toEqual([1, null, 1]);
  });

  test('a used one stays', () => {
    const { pool, clock, ask, ready } = rig();
    ask();
    ready(0, 5);
    clock.advance(60_000);
    expect(pool.connections).toBe(1);
  });
});

test('a retired pool finishes what it has and takes its waiting along', () => {
  const { pool, ask, ready } = rig();
  ask();
  const session = ready(0, 1);
  const waiting = ask();
  pool.retire();
  expect(session.ended).toBe('shutdown');
  const second = ready(1, 1);
  expect(waiting.sent).toBe(1);
  expect(second.ended).toBe('shutdown');
});

test('close fails the waiting and gives up attempts', () => {
  const { pool, dials, ask } = rig();
  const caller = ask();
  pool.close();
  expect(caller.failure?.reason).toBe('draining');
  expect(dials[0]?.cancelled).toBe(true);
});

describe('an endpoint that ends its connections after some requests', () => {
  const taught = (connections: number) => {
    const r = rig({ ...LIMITS, busy: 100, connections });
    r.ask();
    const first = r.ready(0, 100);
    for (let i = 1; i < 8; i++) r.ask();
    expect(first.opened).toBe(8);
    first.goaway(5);
    return r;
  };

  test('gets no more than it took on the last one, and one to see; the others wait for another connection', () => {
    const { ask, ready, dials } = taught(4);
    const callers = Array.from({ length: 8 }, () => ask());
    const second = ready(1, 100);
    expect(second.opened).toBe(6);
    expect(dials.length).toBe(3);
    const third = ready(2, 100);
    expect(third.opened).toBe(2);
    expect(callers.every((c) => c.sent === 1)).toBe(true);
  });

  test('a request that was refused goes first, and never where it would be the one to see', () => {
    const { ask, ready, dials } = taught(4);
    const early = Array.from({ length: 4 }, () => ask());
    const refused = ask(true);
    const late = [ask(), ask()];
    const order: string[] = [];
    refused.onSent = () => void order.push('refused');
    for (const c of early) c.onSent = () => void order.push('early');
    const second = ready(1, 100);
    expect(order).toEqual(['refused', 'early', 'early', 'early', 'early']);
    expect(late.map((c) => c.sent)).toEqual([1, 0]);
    expect(second.opened).toBe(6);
    const again = ask(true);
    expect(again.sent).toBe(0);
    const third = ready(2, 100);
    expect(again.sent).toBe(1);
    expect(third.opened).toBe(2);
    expect(dials.length).toBe(3);
  });

  test('an answer to the one more shows that it was no rule', () => {
    const { ask, ready, dials } = taught(4);
    for (let i = 0; i < 6; i++) ask();
    const second = ready(1, 100);
    const waits = ask();
    second.finishOne(3);
    expect(waits.sent).toBe(0);
    second.finishOne(6);
    expect(waits.sent).toBe(1);
    expect(second.opened).toBe(7);
    expect(dials.length).toBe(3);
  });

  test('with as many connections as there may be, or none to be had, nobody waits for another', () => {
    const most = taught(1);
    const callers = Array.from({ length: 9 }, () => most.ask());
    most.ready(1, 100);
    expect(callers.every((c) => c.sent === 1)).toBe(true);

    const none = taught(4);
    const more = Array.from({ length: 9 }, () => none.ask());
    none.ready(1, 100);
    none.dials[2]?.events.onFailed(REFUSED);
    expect(more.every((c) => c.sent === 1 && c.failure === null)).toBe(true);
  });

  test('a GOAWAY that refuses nothing teaches nothing', () => {
    const { ask, ready } = rig({ ...LIMITS, busy: 100 });
    ask();
    ready(0, 100).goaway(1);
    for (let i = 0; i < 9; i++) ask();
    expect(ready(1, 100).opened).toBe(9);
  });
});
