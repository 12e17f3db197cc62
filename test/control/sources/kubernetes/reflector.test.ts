import { afterEach, describe, expect, test } from '@jest/globals';
import { METADATA_ONLY } from '../../../../src/control/sources/kubernetes/reflector.ts';
import { nameOf, object, setUp, setUpSynced, setUpWatching, stopAll } from './reflecting.ts';
import { failure, settle } from './scripted.ts';

afterEach(stopAll);

describe('the first list', () => {
  test('comes as a watch that begins with all objects, and counts when the bookmark says that it is complete', async () => {
    const { api, seen, counts, reflector } = setUp({ random: () => 0.5 });
    expect(api.last.path.split('?')[0]).toBe('/apis/spooky.dev/v1alpha1/upstreams');
    expect(Object.fromEntries(api.last.query)).toEqual({
      watch: 'true',
      allowWatchBookmarks: 'true',
      timeoutSeconds: '300',
      sendInitialEvents: 'true',
      resourceVersionMatch: 'NotOlderThan',
    });
    expect(reflector.state()).toEqual({ synced: false, problem: 'Upstreams are not listed yet', lastHeardAt: 0 });
    api.last.open().event('ADDED', object('a', '5')).event('ADDED', object('b', '7')).bookmark('8');
    expect(seen).toEqual([]);
    expect(reflector.state().synced).toBe(false);
    api.last.listed('10');
    expect(seen).toEqual(['= a@5 b@7']);
    expect(reflector.state()).toEqual({ synced: true, problem: null, lastHeardAt: 1_700_000_000_000 });
    expect(Object.fromEntries(counts)).toEqual({ heard: 5, event: 4, list: 1, synced: 1 });
    api.last.event('ADDED', object('c', '11'));
    expect(seen).toEqual(['= a@5 b@7', 'ADDED c@11']);
    expect(api.streams).toHaveLength(1);
  });

  test('is of one namespace, with a selector, of metadata alone, where that is asked for', () => {
    const { api } = setUp({ namespace: 'shop', query: 'fieldSelector=type%3Dkubernetes.io%2Ftls', accept: METADATA_ONLY });
    expect(api.last.path).toMatch(
      /^\/apis\/spooky\.dev\/v1alpha1\/namespaces\/shop\/upstreams\?watch=true&.*&fieldSelector=type%3Dkubernetes\.io%2Ftls$/,
    );
    expect(api.last.options.accept).toBe('application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1');
  });

  test('takes changes that come in between', async () => {
    const { api, seen } = setUp();
    api.last.open().event('ADDED', object('a', '5')).event('MODIFIED', object('a', '6')).event('ADDED', object('b', '7'));
    api.last.event('DELETED', object('b', '8')).listed('10');
    expect(seen).toEqual(['= a@6']);
  });

  test('is dropped when it is cut off, and nothing of it is seen', async () => {
    const { api, clock, seen, counts } = setUp();
    api.last.open().event('ADDED', object('a', '5'));
    await api.last.end(failure('connection'));
    clock.advance(200);
    await settle();
    api.last.open().event('ADDED', object('b', '6')).listed('9');
    expect(seen).toEqual(['= b@6']);
    expect(counts.get('connection')).toBe(1);
    expect(api.requests).toHaveLength(0);
  });

  test('leaves out what has no name, uid or version, and counts it', async () => {
    const { api, seen, counts, logged } = setUp();
    api.last.open();
    for (const bad of [
      null,
      7,
      [],
      {},
      { metadata: null },
      { metadata: { name: 'x', uid: 'u' } },
      { metadata: { name: 'x', uid: 'u', resourceVersion: 'abc' } },
      { metadata: { name: 'x', uid: 'u', resourceVersion: 7 } },
      { metadata: { name: 7, uid: 'u', resourceVersion: '7' } },
      { metadata: { name: '', uid: 'u', resourceVersion: '7' } },
      { metadata: { name: 'x', uid: 'u', resourceVersion: '7', namespace: {} } },
    ])
      api.last.event('ADDED', bad);
    api.last.event('ADDED', object('a', '5')).listed('10');
    expect(seen).toEqual(['= a@5']);
    expect(counts.get('malformed')).toBe(11);
    expect(logged.filter((line) => line.includes('left out'))).toHaveLength(1);
  });

  test('that the handler does not take is taken again', async () => {
    let throws = true;
    const { api, clock, seen, reflector, counts } = setUp({
      handler: {
        replaced: () => {
          if (throws) throw new Error('no room');
        },
      },
    });
    api.last.open().event('ADDED', object('a', '5')).listed('10');
    await settle();
    expect(api.last.aborted).toBe(true);
    expect(reflector.state().synced).toBe(false);
    expect(reflector.state().problem).toBe('Upstreams cannot be listed: malformed: no room');
    expect(counts.get('malformed')).toBe(1);
    throws = false;
    clock.advance(200);
    await settle();
    api.last.open().event('ADDED', object('a', '5')).listed('11');
    expect(reflector.state().synced).toBe(true);
    expect(seen).toEqual([]);
  });
});

describe('a server that does not list by watch', () => {
  const refused = failure('invalid', 422);

  test('lists by pages: the first from the cache, and is not asked for the other way again', async () => {
    const { api, seen, counts, clock } = setUp();
    await api.last.end(refused);
    expect(Object.fromEntries(api.lastRequest.query)).toEqual({ limit: '500', resourceVersion: '0' });
    expect(api.lastRequest.request).toMatchObject({ method: 'GET' });
    await api.lastRequest.page('10', [object('a', '5')], 'next/token');
    expect(Object.fromEntries(api.lastRequest.query)).toEqual({ limit: '500', continue: 'next/token' });
    expect(seen).toEqual([]);
    await api.lastRequest.page('12', [object('b', '6')]);
    expect(seen).toEqual(['= a@5 b@6']);
    expect(counts.get('invalid')).toBeUndefined();
    expect(counts.get('server')).toBeUndefined();
    // Of the first page: what changed between the pages is not missed.
    expect(Object.fromEntries(api.last.query)).toMatchObject({ resourceVersion: '10', watch: 'true', timeoutSeconds: '30' });
    expect(counts.get('reconnect')).toBeUndefined();
    api.last.open();
    clock.advance(10_000);
    await api.last.end(failure('gone', 410));
    await settle();
    // Without a version: not older than anything that was seen.
    expect(Object.fromEntries(api.lastRequest.query)).toEqual({ limit: '500' });
  });

  test('that is too old to know of it, and so never says that the list is complete, lists by pages too', async () => {
    const { api, seen } = setUp();
    api.last.open().event('ADDED', object('a', '5'));
    await api.last.end(null);
    await api.lastRequest.page('10', [object('a', '5')]);
    expect(seen).toEqual(['= a@5']);
  });

  test('and so does one that falls silent instead', async () => {
    const { api, clock } = setUp();
    api.last.open().event('ADDED', object('a', '5'));
    clock.advance(50_000);
    await api.last.end(failure('timeout', 200));
    expect(api.requests).toHaveLength(1);
  });

  test('an empty list is one: Go writes null', async () => {
    const { api, seen } = setUp();
    await api.last.end(refused);
    await api.lastRequest.page('10', null);
    expect(seen).toEqual(['= ']);
  });

  test('asks for the list of metadata by its own name', async () => {
    const { api } = setUp({ accept: METADATA_ONLY });
    await api.last.end(refused);
    expect(api.lastRequest.request.accept).toBe('application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1');
  });

  test.each([['the token of a page has expired', failure('gone', 410)]])('lists all at once when %s', async (_why, error) => {
    const { api, seen } = setUp();
    await api.last.end(refused);
    await api.lastRequest.page('10', [object('a', '5')], 'token');
    await api.lastRequest.fail(error);
    expect(Object.fromEntries(api.lastRequest.query)).toEqual({});
    await api.lastRequest.page('14', [object('b', '6')]);
    expect(seen).toEqual(['= b@6']);
  });

  test('an error in mid-list drops all of it', async () => {
    const { api, clock, seen, counts } = setUp();
    await api.last.end(refused);
    await api.lastRequest.page('10', [object('a', '5')], 'token');
    await api.lastRequest.fail(failure('server', 500));
    expect(seen).toEqual([]);
    expect(counts.get('server')).toBe(1);
    clock.advance(200);
    await settle();
    expect(api.lastRequest.query.get('continue')).toBeNull();
    await api.lastRequest.page('11', [object('b', '6')]);
    expect(seen).toEqual(['= b@6']);
  });

  test.each<[string, unknown]>([
    ['null', null],
    ['text', 'x'],
    ['no items', { metadata: { resourceVersion: '1' } }],
    ['no version', { metadata: {}, items: [] }],
    ['a strange version', { metadata: { resourceVersion: '1x' }, items: [] }],
    ['a strange token', { metadata: { resourceVersion: '1', continue: 7 }, items: [] }],
    ['items that are no list', { metadata: { resourceVersion: '1' }, items: {} }],
  ])('an answer that is no list is an error: %s', async (_what, body) => {
    const { api, counts, reflector } = setUp();
    await api.last.end(refused);
    await api.lastRequest.answer(body);
    expect(counts.get('malformed')).toBe(1);
    expect(reflector.state()).toMatchObject({ synced: false, problem: 'Upstreams cannot be listed: malformed: the answer is not a list' });
  });

  test('more than a body may hold comes by pages from then on', async () => {
    const { api, clock } = setUp();
    await api.last.end(refused);
    await api.lastRequest.fail(failure('too_large', 200));
    clock.advance(200);
    await settle();
    expect(Object.fromEntries(api.lastRequest.query)).toEqual({ limit: '500' });
  });

  test('a page that is more than a body may hold is asked for again with fewer objects, and the list goes on from there', async () => {
    const { api, clock, seen, reflector } = setUp();
    await api.last.end(refused);
    await api.lastRequest.fail(failure('too_large', 200));
    clock.advance(200);
    await settle();
    const asked = (): unknown => Object.fromEntries(api.lastRequest.query);
    await api.lastRequest.page('10', [object('a', '5')], 'token');
    await api.lastRequest.fail(failure('too_large', 200));
    expect(asked()).toEqual({ limit: '125', continue: 'token' });
    await api.lastRequest.fail(failure('too_large', 200));
    expect(asked()).toEqual({ limit: '31', continue: 'token' });
    await api.lastRequest.page('11', [object('large', '6')], 'more');
    expect(asked()).toEqual({ limit: '31', continue: 'more' });
    await api.lastRequest.page('12', [object('c', '7')]);
    expect(seen).toEqual(['= a@5 c@7 large@6']);
    expect(reflector.state()).toMatchObject({ synced: true, problem: null });
  });

  test('one object alone that is more than a body may hold is an error', async () => {
    const { api, clock, counts, reflector } = setUp();
    await api.last.end(refused);
    await api.lastRequest.fail(failure('too_large', 200));
    clock.advance(200);
    await settle();
    const limits: (string | null)[] = [];
    while (counts.get('too_large') === 1) {
      limits.push(api.lastRequest.query.get('limit'));
      await api.lastRequest.fail(failure('too_large', 200));
    }
    expect(limits).toEqual(['500', '125', '31', '7', '1']);
    expect(reflector.state()).toMatchObject({ synced: false, problem: 'Upstreams cannot be listed: too large: scripted too_large' });
  });

  test('pages without end are given up', async () => {
    const { api, counts } = setUp();
    await api.last.end(refused);
    for (let i = 0; i < 10_000; i++) {
      api.lastRequest.answer({ metadata: { resourceVersion: '1', continue: 'again' }, items: [] }).catch(() => {});
      for (let n = 0; n < 6; n++) await Promise.resolve();
    }
    await settle();
    expect(api.requests).toHaveLength(10_000);
    expect(counts.get('too_large')).toBe(1);
  });
});

describe('a watch', () => {
  test('goes on from the last version: of events, and of bookmarks', async () => {
    const { api, clock, counts } = await setUpSynced();
    api.last.event('MODIFIED', object('a', '12')).bookmark('15');
    clock.advance(60_000);
    await api.last.end();
    expect(Object.fromEntries(api.last.query)).toEqual({
      watch: 'true',
      allowWatchBookmarks: 'true',
      timeoutSeconds: '30',
      resourceVersion: '15',
    });
    expect(counts.get('reconnect')).toBe(1);
    api.last.open().event('MODIFIED', object('a', '17'));
    clock.advance(30_000);
    await api.last.end();
    expect(api.requests).toHaveLength(0);
    expect(api.last.query.get('resourceVersion')).toBe('17');
    expect(counts.get('reconnect')).toBe(2);
    expect(counts.get('list')).toBe(1);
    // In order, with something to say or without: no errors.
    expect([...counts.keys()].sort()).toEqual(['event', 'heard', 'list', 'reconnect', 'synced']);
  });

  test('versions are compared as integers', async () => {
    const { api, clock } = await setUpSynced();
    api.last.bookmark('99').bookmark('100').event('ADDED', object('b', '90071992547409931'));
    api.last.bookmark('90071992547409932');
    clock.advance(60_000);
    await api.last.end();
    expect(api.last.query.get('resourceVersion')).toBe('90071992547409932');
  });

  test('lasts at most 45 s, a little different each time, and may be silent for 50 s', async () => {
    const { api } = await setUpWatching({ random: () => 0.99 });
    expect(api.last.query.get('timeoutSeconds')).toBe('44');
    expect(api.last.options.silenceMs).toBe(50_000);
  });

  test('that falls silent is opened again at once, from where it was, within 60 s of the last word', async () => {
    const { api, clock, counts, seen } = await setUpWatching();
    clock.advance(50_000);
    const before = api.streams.length;
    api.last.bookmark('12');
    await api.last.end(failure('timeout', 200));
    expect(api.streams).toHaveLength(before + 1);
    expect(api.last.query.get('resourceVersion')).toBe('12');
    expect(counts.get('timeout')).toBe(1);
    expect(seen).toEqual([]);
  });

  test.each<[string, ReturnType<typeof failure> | null]>([
    ['in order', null],
    ['in silence', failure('timeout', 200)],
  ])('that ends %s without a word may be from the future: the version of a list tells', async (_how, end) => {
    const { api, clock, seen } = await setUpWatching();
    clock.advance(40_000);
    await api.last.end(end);
    expect(Object.fromEntries(api.lastRequest.query)).toEqual({ limit: '1' });
    const opened = api.streams.length;
    await api.lastRequest.page('10', [object('a', '5')], 'more');
    expect(api.streams).toHaveLength(opened + 1);
    expect(api.last.query.get('resourceVersion')).toBe('10');
    api.last.open();
    clock.advance(40_000);
    await api.last.end(end);
    // Nothing was learned: the watch goes on.
    await api.lastRequest.fail(failure('server', 500));
    expect(api.streams).toHaveLength(opened + 2);
    expect(api.last.query.get('resourceVersion')).toBe('10');
    api.last.open();
    clock.advance(40_000);
    await api.last.end(end);
    await api.lastRequest.page('9', [object('a', '5')]);
    expect(api.last.query.get('sendInitialEvents')).toBe('true');
    api.last.open().event('ADDED', object('old', '3')).listed('9');
    expect(seen).toEqual(['= old@3']);
  });

  test('a stream that began with a list may be silent: it lasts longer than others', async () => {
    const { api, clock, counts } = await setUpSynced();
    clock.advance(50_000);
    await api.last.end(failure('timeout', 200));
    expect(counts.get('timeout')).toBeUndefined();
    expect(api.last.query.get('resourceVersion')).toBe('10');
  });

  test('that ends in order at once, again and again, is not opened in a loop', async () => {
    const { api, clock } = await setUpWatching();
    const before = api.streams.length;
    await api.last.end();
    expect(api.streams).toHaveLength(before);
    const pauses: number[] = [];
    for (let i = 0; i < 8; i++) {
      const from = clock.now();
      const opened = api.streams.length;
      while (api.streams.length === opened) {
        clock.advance(100);
        await settle();
      }
      pauses.push(clock.now() - from);
      api.last.open();
      await api.last.end();
    }
    expect(pauses).toEqual([200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  });

  test.each<[string, string]>([
    ['no JSON', '{"type":"ADDED","object":{'],
    ['half a character', '\ufffd'],
    ['a type that is not known', '{"type":"RENAMED","object":{}}'],
    ['no type', '{}'],
    ['null', 'null'],
    ['a list', '[]'],
    ['a bookmark without a version', '{"type":"BOOKMARK","object":{}}'],
  ])('a line that is %s leads to a list', async (_what, line) => {
    const { api, clock, counts, seen } = await setUpWatching();
    clock.advance(10_000);
    api.last.line(line);
    expect(api.last.aborted).toBe(true);
    // What comes after it in the same chunk is of no use.
    api.last.event('ADDED', object('z', '99'));
    await settle();
    expect(counts.get('malformed')).toBe(1);
    clock.advance(200);
    await settle();
    expect(api.last.query.get('sendInitialEvents')).toBe('true');
    api.last.open().event('ADDED', object('b', '20')).listed('21');
    expect(seen).toEqual(['= b@20']);
  });

  test('a line that is too long leads to a list by pages, which holds it', async () => {
    const { api, clock, seen, counts } = await setUpWatching();
    await api.last.end(failure('too_large', 200));
    clock.advance(200);
    await settle();
    await api.last.end(failure('too_large', 200));
    expect(counts.get('too_large')).toBe(2);
    clock.advance(400);
    await settle();
    await api.lastRequest.page('20', [object('large', '19')]);
    expect(seen).toEqual(['= large@19']);
  });

  test('an empty line is nothing', async () => {
    const { api, counts } = await setUpWatching();
    const before = counts.get('event');
    api.last.line('');
    expect(counts.get('event')).toBe(before);
    expect(api.last.aborted).toBe(false);
  });

  test('a handler that throws costs one object', async () => {
    const got: string[] = [];
    const { api, counts } = await setUpWatching({
      handler: {
        project: (o) => {
          if (o.metadata.name === 'p') throw new Error('no projection');
          return nameOf(o);
        },
        changed: (type, o) => {
          if (o.startsWith('bad')) throw new Error('no');
          got.push(`${type} ${o}`);
        },
      },
    });
    api.last.event('ADDED', object('bad', '11')).event('ADDED', object('p', '12')).event('ADDED', object('good', '13'));
    expect(got).toEqual(['ADDED good@13']);
    expect(counts.get('malformed')).toBe(2);
    expect(api.last.aborted).toBe(false);
  });

  test('types are what they are for the handler: known or not', async () => {
    const { api, seen } = await setUpWatching();
    api.last.event('MODIFIED', object('b', '11')).event('ADDED', object('b', '12')).event('DELETED', object('b', '13'));
    expect(seen).toEqual(['ADDED b@11', 'MODIFIED b@12', 'DELETED b@13']);
  });

  test('the same name with another uid is another object', async () => {
    const { api, seen } = await setUpWatching();
    api.last.event('ADDED', object('a', '11', 'second')).event('MODIFIED', object('a', '12', 'second'));
    // The end of the first, late: the second stays.
    api.last.event('DELETED', object('a', '5'));
    expect(seen).toEqual(['ADDED a@11', 'MODIFIED a@12']);
  });
});

describe('order', () => {
  test('what was seen before changes nothing', async () => {
    const { api, seen, counts } = await setUpWatching();
    api.last.event('MODIFIED', object('a', '11')).event('MODIFIED', object('a', '11')).event('ADDED', object('a', '11'));
    api.last.event('DELETED', object('a', '12')).event('DELETED', object('a', '12'));
    expect(seen).toEqual(['MODIFIED a@11', 'DELETED a@12']);
    expect(counts.get('malformed')).toBeUndefined();
  });

  test('what is older than what is known of an object is left out, and a list follows within 30 s', async () => {
    const { api, clock, seen, counts } = await setUpWatching();
    api.last.event('MODIFIED', object('a', '15')).event('MODIFIED', object('a', '12'));
    expect(seen).toEqual(['MODIFIED a@15']);
    expect(counts.get('malformed')).toBe(1);
    clock.advance(0);
    await settle();
    expect(api.last.query.get('sendInitialEvents')).toBe('true');
    api.last.open().event('ADDED', object('a', '15')).listed('16');
    // Again: not more often than each half minute.
    api.last.event('MODIFIED', object('a', '18')).event('MODIFIED', object('a', '17')).event('MODIFIED', object('a', '17'));
    const lists = api.streams.length;
    clock.advance(29_999);
    await settle();
    expect(api.streams).toHaveLength(lists);
    clock.advance(1);
    await settle();
    expect(api.streams).toHaveLength(lists + 1);
    expect(api.last.query.get('sendInitialEvents')).toBe('true');
    expect(seen).toEqual(['MODIFIED a@15', '= a@15', 'MODIFIED a@18']);
  });

  test('what was deleted does not come back by an older event', async () => {
    const { api, seen, counts } = await setUpWatching();
    api.last.event('DELETED', object('a', '15')).event('MODIFIED', object('a', '14'));
    expect(seen).toEqual(['DELETED a@15']);
    expect(counts.get('malformed')).toBe(1);
  });

  test('what a selector had taken away may come back', async () => {
    const { api, seen, counts } = await setUpWatching();
    api.last.event('DELETED', object('a', '15')).event('ADDED', object('a', '16'));
    expect(seen).toEqual(['DELETED a@15', 'ADDED a@16']);
    expect(counts.get('malformed')).toBeUndefined();
  });

  test('events of two objects in the wrong order are both taken, and a list follows', async () => {
    const { api, clock, seen } = await setUpWatching();
    api.last.event('ADDED', object('c', '15')).event('ADDED', object('b', '14'));
    expect(seen).toEqual(['ADDED c@15', 'ADDED b@14']);
    clock.advance(0);
    await settle();
    expect(api.last.query.get('sendInitialEvents')).toBe('true');
  });

  test('an event that is older than the list brings nothing back', async () => {
    const { api, seen, counts } = await setUpWatching();
    api.last.event('ADDED', object('gone', '9'));
    expect(seen).toEqual([]);
    expect(counts.get('malformed')).toBe(1);
  });

  test('a bookmark that goes back leads to a list, and never to an older version', async () => {
    const { api, clock } = await setUpWatching();
    api.last.bookmark('30').bookmark('20');
    clock.advance(0);
    await settle();
    expect(api.last.query.get('sendInitialEvents')).toBe('true');
    expect(api.last.query.get('resourceVersion')).toBeNull();
  });

  test('a complete list that is older than the last is what there is now: the cluster was restored', async () => {
    const { api, clock, seen, logged, reflector } = await setUpWatching();
    api.last.bookmark('1000');
    clock.advance(10_000);
    await api.last.end(failure('gone', 410));
    await settle();
    api.last.open().event('ADDED', object('old', '3')).listed('4');
    expect(seen).toEqual(['= old@3']);
    expect(logged.some((line) => line.includes('gone back in time'))).toBe(true);
    expect(reflector.state().synced).toBe(true);
    api.last.event('MODIFIED', object('old', '5'));
    expect(seen).toEqual(['= old@3', 'MODIFIED old@5']);
  });
});
