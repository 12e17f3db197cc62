/** What a reflector does when the server says no, or nothing. */
import { afterEach, describe, expect, test } from '@jest/globals';
import type { ApiError } from '../../../../src/control/sources/kubernetes/api.ts';
import { Outage } from '../../../../src/control/sources/kubernetes/backoff.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { object, setUp, setUpSynced, setUpWatching, stopAll } from './reflecting.ts';
import { failure, ScriptedApi, settle } from './scripted.ts';

afterEach(stopAll);

type Rig = ReturnType<typeof setUp>;

/** Milliseconds until the next stream or request; fails after two minutes. */
const untilNext = async ({ api, clock }: Pick<Rig, 'api' | 'clock'>): Promise<number> => {
  const count = (): number => api.streams.length + api.requests.length;
  const before = count();
  await settle();
  for (let ms = 0; ms <= 120_000; ms += 10) {
    if (count() > before) return ms;
    clock.advance(10);
    await settle();
  }
  throw new Error('nothing was asked within two minutes');
};

/** The pauses after so many errors in a row. */
const pausesOf = async (rig: Rig, error: ApiError, times: number): Promise<number[]> => {
  const pauses: number[] = [];
  for (let i = 0; i < times; i++) {
    const { api } = rig;
    const before = api.streams.length;
    const ended = api.last.end(error);
    await ended;
    pauses.push(api.streams.length > before ? 0 : await untilNext(rig));
  }
  return pauses;
};

describe('K10: 410', () => {
  test.each<[string, (rig: Rig) => Promise<void> | void]>([
    ['as a status', ({ api }) => api.last.end(failure('gone', 410))],
    [
      'as an event',
      ({ api }) => {
        api.last.event('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version: 1 (2)' });
        expect(api.last.aborted).toBe(true);
      },
    ],
    ['as an event without a code', ({ api }) => void api.last.event('ERROR', { kind: 'Status', reason: 'Expired' })],
  ])('%s: a list at once, with at most 1 s of jitter; everything stays until it is complete', async (_how, say) => {
    const rig = await setUpWatching({ random: () => 0.4 });
    rig.clock.advance(20_000);
    await say(rig);
    expect(await untilNext(rig)).toBe(400);
    expect(rig.api.last.query.get('sendInitialEvents')).toBe('true');
    expect(rig.counts.get('gone')).toBe(1);
    expect(rig.seen).toEqual([]);
    expect(rig.reflector.state().synced).toBe(true);
    rig.api.last.open().event('ADDED', object('b', '50')).listed('60');
    expect(rig.seen).toEqual(['= b@50']);
    expect(rig.reflector.state().problem).toBeNull();
  });

  test('after 410, 410: a storm is waited out', async () => {
    const rig = await setUpWatching();
    rig.clock.advance(20_000);
    const pauses: number[] = [];
    for (let i = 0; i < 7; i++) {
      pauses.push(...(await pausesOf(rig, failure('gone', 410), 1)));
      rig.api.last.open().listed('60');
    }
    expect(pauses).toEqual([0, 200, 400, 800, 1600, 3200, 6400]);
    expect(rig.counts.get('gone')).toBe(7);
  });
});

test('410 right after an outage, in which the pauses grew, is no reason to wait', async () => {
  const rig = await setUpWatching({ random: () => 0.3 });
  await pausesOf(rig, failure('connection'), 8);
  rig.api.last.open().event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' });
  expect(await untilNext(rig)).toBe(300);
  expect(rig.api.last.query.get('sendInitialEvents')).toBe('true');
});

test('410 as the answer to a list is a failure like any other', async () => {
  const rig = setUp();
  expect(await pausesOf(rig, failure('gone', 410), 4)).toEqual([200, 400, 800, 1600]);
});

describe('pauses', () => {
  test.each<[string, ApiError, number]>([
    ['500', failure('server', 500), 10_000],
    ['429', failure('throttled', 429), 10_000],
    ['401', failure('unauthorized', 401), 10_000],
    ['no answer', failure('timeout'), 10_000],
    ['no connection', failure('connection'), 5000],
    ['403', failure('forbidden', 403), 30_000],
    ['404', failure('not_found', 404), 30_000],
  ])('%s: doubling from 200 ms to a ceiling; counted each time, and everything held stays', async (_what, error, ceiling) => {
    const rig = await setUpWatching();
    const expected = Array.from({ length: 10 }, (_, i) => Math.min(200 * 2 ** i, ceiling));
    expect(await pausesOf(rig, error, 10)).toEqual(expected);
    expect(rig.counts.get(error.kind)).toBe(10);
    expect(rig.reflector.state().synced).toBe(true);
    expect(rig.reflector.state().problem).toMatch(/^Upstreams cannot be (listed|watched): [a-z ]+: scripted/);
    expect(rig.seen).toEqual(error.kind === 'not_found' ? ['missing'] : []);
  });

  test.each<[string, ApiError, number]>([
    ['full for what passes', failure('server', 500), 0.1],
    ['half for what an administrator has to change', failure('forbidden', 403), 0.55],
  ])('jitter is %s', async (_what, error, share) => {
    const rig = await setUpWatching({ random: () => 0.9 });
    const pauses = await pausesOf(rig, error, 5);
    expect(pauses).toEqual([200, 400, 800, 1600, 3200].map((ms) => Math.ceil((ms * share) / 10 - 1e-6) * 10));
  });

  test('begin anew after 5 s of a healthy stream', async () => {
    const rig = await setUpWatching();
    expect(await pausesOf(rig, failure('server', 500), 3)).toEqual([200, 400, 800]);
    rig.api.last.open();
    rig.clock.advance(4999);
    await rig.api.last.end(failure('server', 500));
    expect(await untilNext(rig)).toBe(1600);
    rig.api.last.open();
    rig.clock.advance(5000);
    await rig.api.last.end(failure('server', 500));
    expect(await untilNext(rig)).toBe(200);
  });

  test.each([
    [1000, 1200],
    [30_000, 30_200],
    [10_000_000, 60_200],
  ])('Retry-After %i ms is waited for, and the own pause on top: %i ms', async (retryAfterMs, expected) => {
    const rig = await setUpWatching();
    expect(await pausesOf(rig, failure('throttled', 429, { retryAfterMs }), 1)).toEqual([expected]);
  });

  test('an ERROR event is like the status', async () => {
    const rig = await setUpWatching();
    rig.api.last.event('ERROR', { kind: 'Status', code: 429, message: 'slow down', details: { retryAfterSeconds: 2 } });
    expect(await untilNext(rig)).toBe(2200);
    expect(rig.counts.get('throttled')).toBe(1);
    expect(rig.api.last.query.get('resourceVersion')).toBe('10');
  });

  test.each<[string, unknown]>([
    ['null', null],
    ['text', 'x'],
    ['a code that is none', { kind: 'Status', code: 'x' }],
    ['a code below 400', { kind: 'Status', code: 200 }],
  ])('an ERROR event with %s is an error of the server', async (_what, status) => {
    const rig = await setUpWatching();
    rig.api.last.event('ERROR', status);
    expect(await untilNext(rig)).toBe(200);
    expect(rig.counts.get('server')).toBe(1);
  });

  test('of a connection that was cut: from the last version', async () => {
    const rig = await setUpWatching();
    rig.api.last.event('ADDED', object('b', '30'));
    rig.clock.advance(10_000);
    await rig.api.last.end(failure('connection'));
    expect(await untilNext(rig)).toBe(200);
    expect(rig.api.last.query.get('resourceVersion')).toBe('30');
    expect(rig.seen).toEqual(['ADDED b@30']);
  });
});

describe('what is not there', () => {
  test('404, then it appears: told once, polled, and no problem where it is optional', async () => {
    const rig = setUp({ optional: true });
    expect(rig.reflector.state().problem).toBeNull();
    await pausesOf(rig, failure('not_found', 404), 12);
    expect(rig.seen).toEqual(['missing']);
    expect(rig.reflector.state()).toMatchObject({ synced: false, problem: null });
    expect(rig.logged).toHaveLength(1);
    rig.api.last.open().event('ADDED', object('a', '5')).listed('10');
    expect(rig.seen).toEqual(['missing', '= a@5']);
    expect(rig.reflector.state().synced).toBe(true);
    // It goes again: told again, and what was held stays.
    await rig.api.last.end(failure('not_found', 404));
    expect(rig.seen).toEqual(['missing', '= a@5', 'missing']);
  });

  test('where it must be there, it is said', async () => {
    const rig = setUp();
    await rig.api.last.end(failure('not_found', 404));
    expect(rig.reflector.state().problem).toBe('Upstreams cannot be listed: not found: scripted not_found');
  });

  test('a namespace is named', async () => {
    const rig = setUp({ namespace: 'shop' });
    await rig.api.last.end(failure('forbidden', 403));
    expect(rig.reflector.state().problem).toBe('Upstreams of namespace shop cannot be listed: forbidden: scripted forbidden');
  });

  test('a handler that throws about it ends nothing', async () => {
    const rig = setUp({
      handler: {
        missing: () => {
          throw new Error('no');
        },
      },
    });
    await rig.api.last.end(failure('not_found', 404));
    expect(await untilNext(rig)).toBe(200);
  });
});

describe('K10: versions from the future', () => {
  test('that the server says are too large lead to a list', async () => {
    const rig = await setUpWatching();
    await rig.api.last.end(failure('server', 504, { reason: 'ResourceVersionTooLarge', retryAfterMs: 1000 }));
    expect(await untilNext(rig)).toBe(1200);
    expect(rig.api.last.query.get('sendInitialEvents')).toBe('true');
  });

  test('that it waits for without a word lead to a list after three attempts', async () => {
    const rig = await setUpWatching();
    expect(rig.api.last.query.get('resourceVersion')).toBe('10');
    rig.clock.advance(9000);
    await rig.api.last.end();
    for (let i = 0; i < 3; i++) {
      expect(rig.api.last.query.get('resourceVersion')).toBe('10');
      await rig.api.last.end(failure('timeout'));
      await untilNext(rig);
    }
    expect(rig.api.last.query.get('sendInitialEvents')).toBe('true');
    expect(rig.api.last.query.get('resourceVersion')).toBeNull();
  });

  test('a first list by pages that is refused as too new is asked of etcd', async () => {
    const rig = setUp();
    await rig.api.last.end(failure('invalid', 422));
    expect(rig.api.lastRequest.query.get('resourceVersion')).toBe('0');
    await rig.api.lastRequest.fail(failure('server', 504, { reason: 'ResourceVersionTooLarge' }));
    await untilNext(rig);
    expect(rig.api.lastRequest.query.get('resourceVersion')).toBeNull();
  });
});

describe('an outage', () => {
  const pair = async () => {
    const outage = new Outage();
    const clock = new ManualClock();
    const [a, b] = [await setUpWatching({ outage, clock }), await setUpWatching({ outage, clock, api: new ScriptedApi() })];
    // Both are at the ceiling, at different times.
    for (let i = 0; i < 8; i++) {
      await a.api.last.end(failure('connection'));
      await b.api.last.end(failure('connection'));
      clock.advance(5000);
      await settle();
    }
    await b.api.last.end(failure('connection'));
    clock.advance(2500);
    await a.api.last.end(failure('connection'));
    await settle();
    return { a, b, clock };
  };

  test('is over for all reflectors when it is for one', async () => {
    const { a, b, clock } = await pair();
    const [before, waiting] = [b.api.streams.length, a.api.streams.length];
    clock.advance(2500);
    await settle();
    expect(b.api.streams).toHaveLength(before + 1);
    expect(a.api.streams).toHaveLength(waiting);
    b.api.last.open();
    await settle();
    expect(a.api.streams).toHaveLength(waiting + 1);
    expect(b.reflector.state().problem).toBeNull();
  });

  test('is over when the server says no: from then on the pauses are short again, for all', async () => {
    const { a, b, clock } = await pair();
    const waiting = a.api.streams.length;
    clock.advance(2500);
    await settle();
    await b.api.last.end(failure('forbidden', 403));
    expect(a.api.streams).toHaveLength(waiting + 1);
    expect(await untilNext(b)).toBe(200);
    await a.api.last.end(failure('not_found', 404));
    expect(await untilNext(a)).toBe(200);
  });

  test('whoever ends it has short pauses for what comes next, unless the connection fails again', async () => {
    const rig = await setUpWatching();
    expect((await pausesOf(rig, failure('connection'), 6)).at(-1)).toBe(5000);
    rig.api.last.open();
    await rig.api.last.end(failure('throttled', 429));
    expect(await untilNext(rig)).toBe(200);
    expect((await pausesOf(rig, failure('connection'), 6)).at(-1)).toBe(5000);
    rig.api.last.open();
    await rig.api.last.end(failure('connection'));
    expect(await untilNext(rig)).toBe(5000);
  });

  test('other failures do not wake anybody', async () => {
    const outage = new Outage();
    const clock = new ManualClock();
    const a = await setUpWatching({ outage, clock });
    await a.api.last.end(failure('forbidden', 403));
    const before = a.api.streams.length;
    outage.over();
    await settle();
    expect(a.api.streams).toHaveLength(before);
  });
});

describe('lists that nobody asked for', () => {
  test('come after 6 to 12 hours, as a safety net', async () => {
    const rig = await setUpSynced({ random: () => 0.5 });
    rig.clock.advance(9 * 3_600_000 - 1);
    await settle();
    expect(rig.api.streams).toHaveLength(1);
    rig.clock.advance(1);
    await settle();
    expect(rig.api.streams[0]?.aborted).toBe(true);
    expect(rig.api.last.query.get('sendInitialEvents')).toBe('true');
    expect([...rig.counts.keys()].filter((k) => !['heard', 'event', 'list', 'synced'].includes(k))).toEqual([]);
    rig.api.last.open().event('ADDED', object('a', '5')).listed('11');
    expect(rig.counts.get('list')).toBe(2);
    expect(rig.seen).toEqual(['= a@5']);
  });

  test('relist() asks for one, and ends a pause', async () => {
    const rig = await setUpWatching();
    rig.reflector.relist();
    await settle();
    expect(rig.api.last.query.get('sendInitialEvents')).toBe('true');
    await rig.api.last.end(failure('forbidden', 403));
    const before = rig.api.streams.length;
    rig.reflector.relist();
    await settle();
    expect(rig.api.streams).toHaveLength(before + 1);
  });
});

describe('stop()', () => {
  test('ends what runs, and nothing is called any more, whatever comes', async () => {
    const rig = await setUpWatching();
    rig.api.slowToAbort = true;
    const before = new Map(rig.counts);
    const { last } = rig.api;
    rig.reflector.stop();
    expect(last.aborted).toBe(true);
    last.event('ADDED', object('late', '99'));
    last.line('{');
    await last.end(failure('gone', 410));
    rig.clock.advance(24 * 3_600_000);
    await settle();
    expect(rig.seen).toEqual([]);
    expect(rig.counts).toEqual(before);
    expect(rig.api.last).toBe(last);
    expect(rig.clock.pending()).toBe(0);
  });

  test('before the headers', async () => {
    const rig = setUp();
    rig.api.slowToAbort = true;
    rig.reflector.stop();
    rig.api.last.open().event('ADDED', object('a', '5')).listed('9');
    await rig.api.last.end();
    expect(rig.seen).toEqual([]);
    expect(rig.counts.size).toBe(0);
    expect(rig.api.streams).toHaveLength(1);
  });

  test('in mid-list', async () => {
    const rig = setUp();
    rig.api.last.open().event('ADDED', object('a', '5'));
    rig.reflector.stop();
    rig.api.last.listed('9');
    await settle();
    expect(rig.seen).toEqual([]);
    expect(rig.counts.get('list')).toBeUndefined();
  });

  test('while a page is on its way', async () => {
    const rig = setUp();
    await rig.api.last.end(failure('invalid', 422));
    rig.reflector.stop();
    expect(rig.api.lastRequest.request.signal?.aborted).toBe(true);
    await rig.api.lastRequest.page('9', [object('a', '5')]);
    expect(rig.seen).toEqual([]);
    expect(rig.counts.size).toBe(0);
    expect(rig.clock.pending()).toBe(0);
  });

  test('in a pause', async () => {
    const rig = setUp();
    await rig.api.last.end(failure('connection'));
    expect(rig.clock.pending()).toBe(1);
    rig.reflector.stop();
    await settle();
    expect(rig.clock.pending()).toBe(0);
    expect(rig.api.streams).toHaveLength(1);
  });

  test('when it is told that the kind is missing', async () => {
    const rig = setUp({ handler: { missing: () => rig.reflector.stop() } });
    await rig.api.last.end(failure('not_found', 404));
    expect(rig.clock.pending()).toBe(0);
    expect(rig.api.streams).toHaveLength(1);
  });

  test('from within the handler', async () => {
    const rig = await setUpWatching({ handler: { changed: () => rig.reflector.stop() } });
    rig.api.last.event('ADDED', object('b', '11')).event('ADDED', object('c', '12'));
    await settle();
    expect(rig.counts.get('event')).toBe(3);
    expect(rig.clock.pending()).toBe(0);
  });
});

test('a problem is logged once while it stays the same, and its end as well', async () => {
  const rig = await setUpWatching();
  await pausesOf(rig, failure('server', 500), 5);
  rig.api.last.open();
  expect(rig.logged).toHaveLength(2);
  expect(rig.logged[0]).toContain('Upstreams cannot be read');
  expect(rig.logged[1]).toContain('Upstreams are read again');
});
