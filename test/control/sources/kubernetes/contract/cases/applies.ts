/** Server-side apply: who owns what. */
import { APPLY, MERGE, type ApplyOptions, type Case, type Scene } from '../scene.ts';
import type { Answer, Json } from '../wire.ts';

const status = (s: Scene, value: Json, options: ApplyOptions = {}, metadata: Json = {}): Promise<Answer> =>
  s.apply('widgets', 'w', { metadata, status: value }, { ...options, sub: 'status' });
const spec = (s: Scene, value: Json, options: ApplyOptions = {}, metadata: Json = {}): Promise<Answer> =>
  s.apply('widgets', 'w', { metadata, spec: value }, options);
const owners = (o: Json): string[] =>
  (o.metadata.managedFields as Json[]).map((e) => [e.manager, e.operation, e.subresource].filter((x) => x !== undefined).join(' ')).sort();
const owned = (o: Json, manager: string): unknown => (o.metadata.managedFields as Json[]).find((e) => e.manager === manager)?.fieldsV1;

export const APPLIES: readonly Case[] = [
  {
    name: 'makes what is not there',
    run: async (s) => {
      const answer = await spec(s, { size: 1 }, {}, { labels: { a: 'b' } });
      return [answer.status, answer.body.spec, answer.body.metadata.generation, owners(answer.body), owned(answer.body, 'm1')];
    },
    gives: [201, { color: 'red', size: 1 }, 1, ['m1 Apply'], { 'f:metadata': { 'f:labels': { 'f:a': {} } }, 'f:spec': { 'f:size': {} } }],
  },
  {
    name: 'the same again: no new version',
    run: async (s) => {
      const one = await spec(s, { size: 1, parts: [{ name: 'a' }], tags: ['x'] });
      const two = await spec(s, { size: 1, parts: [{ name: 'a' }], tags: ['x'] });
      return [two.status, one.body.metadata.resourceVersion === two.body.metadata.resourceVersion];
    },
    gives: [200, true],
  },
  {
    name: 'without a manager',
    run: async (s) => s.full(await s.patch('widgets', 'w', APPLY, s.object('widgets', 'w', { spec: {} }))),
    gives: '422 Invalid: PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
  },
  {
    name: 'what is not applied any more goes, what others have stays',
    run: async (s) => {
      await spec(s, { size: 1, word: 'abc', labels: { x: '1', y: '2' } });
      await spec(s, { labels: { z: '3' } }, { manager: 'm2' });
      const { body } = await spec(s, { word: 'abc', labels: { y: '2' } });
      return [body.spec, owners(body)];
    },
    gives: [{ color: 'red', labels: { y: '2', z: '3' }, word: 'abc' }, ['m1 Apply', 'm2 Apply']],
  },
  {
    name: 'two managers, one value: both own it',
    run: async (s) => {
      await spec(s, { size: 1, word: 'abc' });
      const both = await spec(s, { size: 1 }, { manager: 'm2' });
      const left = await spec(s, { word: 'abc' });
      return [both.status, left.body.spec.size];
    },
    gives: [200, 1],
  },
  {
    name: 'two managers, two values',
    run: async (s) => {
      await spec(s, { size: 1 });
      const answer = await spec(s, { size: 2 }, { manager: 'm2' });
      return [s.full(answer), answer.body.details];
    },
    gives: [
      '409 Conflict: Apply failed with 1 conflict: conflict with "m1": .spec.size',
      { causes: [{ reason: 'FieldManagerConflict', message: 'conflict with "m1"', field: '.spec.size' }] },
    ],
  },
  {
    name: 'two managers, two values, by force',
    run: async (s) => {
      await spec(s, { size: 1, word: 'abc' });
      const taken = await spec(s, { size: 2 }, { manager: 'm2', force: true });
      const back = await spec(s, { size: 1, word: 'abc' });
      const rest = await spec(s, { word: 'abc' });
      return [taken.body.spec.size, owned(taken.body, 'm1'), s.brief(back), rest.body.spec.size];
    },
    gives: [2, { 'f:spec': { 'f:word': {} } }, '409 Conflict', 2],
  },
  {
    name: "what an update wrote is the updater's",
    run: async (s) => {
      await spec(s, { size: 1, word: 'abc' });
      await s.patch('widgets', 'w', MERGE, { spec: { size: 5 } }, '', '?fieldManager=hand');
      const again = await spec(s, { size: 1, word: 'abc' });
      const others = await spec(s, { word: 'abc' });
      return [s.full(again), others.body.spec.size, owners(others.body)];
    },
    gives: [
      '409 Conflict: Apply failed with 1 conflict: conflict with "hand" using contract.spooky.dev/v1: .spec.size',
      5,
      ['hand Update', 'm1 Apply'],
    ],
  },
  {
    name: 'items of a map are merged by their key',
    run: async (s) => {
      await spec(s, {
        parts: [
          { name: 'a', weight: 1 },
          { name: 'b', owner: 'one' },
        ],
      });
      const { body } = await spec(s, { parts: [{ name: 'b', weight: 7 }, { name: 'c' }] }, { manager: 'm2', force: true });
      return [body.spec.parts, owned(body, 'm2')];
    },
    gives: [
      [
        { name: 'a', weight: 1 },
        { name: 'b', owner: 'one', weight: 7 },
        { name: 'c', weight: 1 },
      ],
      {
        'f:spec': {
          'f:parts': { 'k:{"name":"b"}': { '.': {}, 'f:name': {}, 'f:weight': {} }, 'k:{"name":"c"}': { '.': {}, 'f:name': {} } },
        },
      },
    ],
  },
  {
    name: 'items of a map that are not applied any more',
    run: async (s) => {
      await spec(s, { parts: [{ name: 'a' }, { name: 'b', weight: 2 }] });
      await spec(s, { parts: [{ name: 'b', owner: 'two' }] }, { manager: 'm2' });
      const { body } = await spec(s, { parts: [] });
      return body.spec;
    },
    gives: { color: 'red', parts: [{ name: 'b', owner: 'two', weight: 1 }] },
  },
  {
    name: 'a set is a union, a plain list is one value',
    run: async (s) => {
      await spec(s, { tags: ['a', 'b'], plain: ['x'] });
      const two = await spec(s, { tags: ['b', 'c'] }, { manager: 'm2' });
      const clash = await spec(s, { plain: ['y'] }, { manager: 'm2' });
      const left = await spec(s, { tags: ['a'], plain: ['x'] });
      return [two.body.spec.tags, s.brief(clash), left.body.spec.tags];
    },
    gives: [['a', 'b', 'c'], '409 Conflict', ['a', 'b', 'c']],
  },
  {
    name: 'an empty list, map and object in the place of full ones',
    run: async (s) => {
      const full = { tags: ['a'], labels: { x: '1' }, deep: { value: 'v' } };
      const seen: unknown[] = [];
      for (const empty of [{ tags: [] }, { labels: {} }, { deep: {} }]) {
        await spec(s, full, { force: true });
        const answer = await spec(s, { ...full, ...empty });
        seen.push(answer.status === 200 ? answer.body.spec : s.full(answer));
      }
      return seen;
    },
    gives: [
      { color: 'red', deep: { value: 'v' }, labels: { x: '1' } },
      '422 Invalid: Widget.contract.spooky.dev "w" is invalid: spec.labels: Invalid value: "null": spec.labels in body must be of type object: "null"',
      '422 Invalid: Widget.contract.spooky.dev "w" is invalid: spec.deep: Invalid value: "null": spec.deep in body must be of type object: "null"',
    ],
  },
  {
    name: 'an atomic map is one value',
    run: async (s) => {
      await spec(s, { ref: { kind: 'A', name: 'a' } });
      return [
        s.brief(await spec(s, { ref: { kind: 'B' } }, { manager: 'm2' })),
        (await spec(s, { ref: { kind: 'B' } }, { manager: 'm2', force: true })).body.spec.ref,
      ];
    },
    gives: ['409 Conflict', { kind: 'B' }],
  },
  {
    name: 'labels and annotations have owners too',
    run: async (s) => {
      await spec(s, {}, {}, { labels: { a: '1' }, annotations: { n: '1' } });
      await spec(s, {}, { manager: 'm2' }, { labels: { b: '2' } });
      const { body } = await spec(s, {});
      return [body.metadata.labels, body.metadata.annotations ?? 'none'];
    },
    gives: [{ b: '2' }, 'none'],
  },
  {
    name: 'a status at the object itself is not looked at',
    run: async (s) => {
      const { body } = await s.apply('widgets', 'w', { spec: {}, status: { count: 1 } });
      return body.status ?? 'none';
    },
    gives: 'none',
  },
  {
    name: 'managers in the body',
    run: async (s) =>
      s.brief(
        await spec(
          s,
          {},
          {},
          {
            managedFields: [
              { manager: 'x', operation: 'Apply', apiVersion: 'v1', time: '2026-01-01T00:00:00Z', fieldsType: 'FieldsV1', fieldsV1: {} },
            ],
          },
        ),
      ),
    gives: '400 BadRequest',
  },
  {
    name: 'another name in the body than in the path',
    run: async (s) => s.brief(await s.patch('widgets', 'v', APPLY, s.object('widgets', 'w', { spec: {} }), '', '?fieldManager=m1')),
    gives: '400 BadRequest',
  },
  {
    name: 'YAML',
    run: async (s) => {
      const text = `apiVersion: contract.spooky.dev/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 4}\n`;
      const answer = await s.patch('widgets', 'w', APPLY, text, '', '?fieldManager=m1');
      return [answer.status, answer.body.spec];
    },
    gives: [201, { color: 'red', size: 4 }],
  },
  {
    name: 'a field that nobody knows',
    run: async (s) => [s.brief(await s.apply('widgets', 'w', { spec: { unknown: 1 } })), (await s.get('widgets', 'w')).body.spec],
    gives: ['500', null],
  },
  {
    name: 'not what the schema takes',
    run: async (s) => s.brief(await spec(s, { size: 1000 })),
    gives: '422 Invalid',
  },
  {
    name: 'the generation moves with the spec only',
    run: async (s) => {
      const one = await spec(s, { size: 1 });
      const two = await spec(s, { size: 2 });
      const three = await spec(s, { size: 2 }, {}, { labels: { a: 'b' } });
      const four = await status(s, { count: 1 });
      return [one, two, three, four].map((a) => a.body.metadata.generation as number);
    },
    gives: [1, 2, 2, 2],
  },
  {
    name: 'a built-in type',
    run: async (s) => {
      const config = (data: Json, manager: string): Promise<Answer> => s.apply('configmaps', 'a', { data }, { manager });
      const one = await config({ x: '1' }, 'm1');
      await config({ y: '2' }, 'm2');
      const left = await config({}, 'm1');
      return [one.status, left.body.data, s.brief(await config({ y: '3' }, 'm1'))];
    },
    gives: [201, { y: '2' }, '409 Conflict'],
  },
];
