/** Tables of routes are made and let go in slices: the event loop has its turns in between, whatever a change touches. */
import { expect, test } from '@jest/globals';
import { Cells } from '../../../src/contract/cells.ts';
import { encodePart, groupId, hashPart, type Part, type PartHash } from '../../../src/contract/snapshot/index.ts';
import { PartStore } from '../../../src/edge/proxy/parts.ts';
import type { Plant } from '../../../src/edge/proxy/plant.ts';
import { Slices } from '../../../src/edge/proxy/slices.ts';
import { Tables } from '../../../src/edge/proxy/tables.ts';
import { Upstreams } from '../../../src/edge/proxy/upstreams.ts';
import { groupPart, hostPart, listenerPart, routePart, upstreamPart } from '../../kit/snapshot.ts';

/** Each look at the clock is 100 microseconds later than the last: sixteen steps of work, at a guess. */
const counted = () => {
  let now = 0;
  let turns = 0;
  const slices = new Slices({
    now: () => (now += 0.1),
    turn: () => {
      turns++;
      return Promise.resolve();
    },
  });
  return { slices, turns: () => turns };
};

const setUp = () => {
  const parts = new PartStore();
  const cells = new Cells();
  const groups = new Set<object>();
  const backends = {
    split: () => null,
    group: () => {
      const group = {};
      groups.add(group);
      return group;
    },
    release: (group: object) => void groups.delete(group),
  };
  const upstreams = new Upstreams({ cells, backends } as unknown as Plant, parts, 'upstream');
  const add = (part: Part): PartHash => {
    const bytes = encodePart(part);
    const hash = hashPart(bytes);
    parts.add(hash, bytes);
    return hash;
  };
  const host = (hostname: string, names: readonly string[], path = '/p') =>
    add(
      hostPart(
        hostname,
        names.map((name) => {
          const upstream = { namespace: 'default', name };
          const group = add(groupPart({ id: groupId('default', name, 'default'), upstream }));
          const target = add(upstreamPart([{ name: 'default', weight: 1, group }], { name }));
          return routePart(target, {
            upstream,
            hostname,
            match: { path: { type: 'Prefix', value: `${path}/${name}` }, methods: [], headers: [], query: [] },
          });
        }),
      ),
    );
  return { tables: new Tables(parts, upstreams), groups, host, cells };
};

const names = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `u${from + i}`);
const get = (table: Awaited<ReturnType<Tables['build']>>, name: string, path = '/p') =>
  table.match('a.example', `${path}/${name}`, '', 'GET', [], [])?.upstream.label ?? null;

test('thousands of routes take many turns, a change of one of them takes none', async () => {
  const { tables, groups, host } = setUp();
  const pages = Array.from({ length: 50 }, (_, i) => host('a.example', names(i * 64, i * 64 + 64)));
  const first = counted();
  const table = await tables.build('default/public', listenerPart({ hosts: pages }), first.slices);
  expect(first.turns()).toBeGreaterThan(10);
  expect(get(table, 'u3199')).toBe('default/u3199');
  await tables.commit(new Set(['default/public'])).run(counted().slices);
  expect(groups.size).toBe(3200);

  const second = counted();
  const changed = host('a.example', names(64, 128), '/q');
  const next = await tables.build(
    'default/public',
    listenerPart({ hosts: [pages[0] as PartHash, changed, ...pages.slice(2)] }),
    second.slices,
  );
  expect(second.turns()).toBe(0);
  expect([get(next, 'u100', '/q'), get(next, 'u100'), get(table, 'u100')]).toEqual(['default/u100', null, 'default/u100']);

  const letting = tables.commit(new Set(['default/public']));
  await letting.run(counted().slices);
  expect(groups.size).toBe(3200);

  // The listener goes: everything is let go, in turns.
  const last = counted();
  await tables.commit(new Set()).run(last.slices);
  expect(last.turns()).toBeGreaterThan(5);
  expect(groups.size).toBe(0);
});

test('what was built and does not serve is let go, and what serves stays', async () => {
  const { tables, groups, host, cells } = setUp();
  const page = host('a.example', names(0, 3));
  await tables.build('default/public', listenerPart({ hosts: [page] }), counted().slices);
  await tables.commit(new Set(['default/public'])).run(counted().slices);
  const rows = cells.read().length;
  await tables.build('default/public', listenerPart({ hosts: [page, host('a.example', names(2, 9))] }), counted().slices);
  expect(groups.size).toBe(9);
  await tables.abandon().run(counted().slices);
  expect(groups.size).toBe(3);
  expect(cells.read()).toHaveLength(rows);
});

test('a page that cannot be built leaves nothing behind', async () => {
  const { tables, groups, host } = setUp();
  const good = host('a.example', names(0, 3));
  const missing = 'missing' as PartHash;
  await expect(tables.build('default/public', listenerPart({ hosts: [good, missing] }), counted().slices)).rejects.toThrow('is missing');
  expect(groups.size).toBe(0);
});
