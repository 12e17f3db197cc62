/** Merge patches and JSON patches. */
import { JSON_PATCH, MERGE, STRATEGIC, type Case, type Scene } from '../scene.ts';
import type { Json } from '../wire.ts';

const widget = async (s: Scene, more: Json = {}): Promise<Json> =>
  (await s.post('widgets', 'w', { spec: { size: 1, plain: ['a', 'b'], labels: { x: '1', y: '2' } }, ...more })).body;
const after = (name: string, type: string, patch: Json, gives: unknown): Case => ({
  name,
  run: async (s) => {
    await widget(s);
    const answer = await s.patch('widgets', 'w', type, patch);
    return answer.status === 200 ? answer.body.spec : s.brief(answer);
  },
  gives,
});

export const PATCHES: readonly Case[] = [
  after(
    'merge: a member more, one other, one away',
    MERGE,
    { spec: { size: 2, word: 'abc', labels: { x: null, z: '3' } } },
    { color: 'red', labels: { y: '2', z: '3' }, plain: ['a', 'b'], size: 2, word: 'abc' },
  ),
  after(
    'merge: a list is replaced',
    MERGE,
    { spec: { plain: ['c'] } },
    { color: 'red', labels: { x: '1', y: '2' }, plain: ['c'], size: 1 },
  ),
  after('merge: null for everything that is required', MERGE, { spec: null }, '422 Invalid'),
  after('merge: not what the schema takes', MERGE, { spec: { size: 'x' } }, '422 Invalid'),
  {
    name: 'merge: nothing there',
    run: async (s) => s.full(await s.patch('widgets', 'x', MERGE, {})),
    gives: '404 NotFound: widgets.contract.spooky.dev "x" not found',
  },
  {
    name: 'merge: with a version',
    run: async (s) => {
      const old = await widget(s);
      const patch = (n: number): Json => ({ metadata: { resourceVersion: old.metadata.resourceVersion }, spec: { size: n } });
      return [s.brief(await s.patch('widgets', 'w', MERGE, patch(2))), s.brief(await s.patch('widgets', 'w', MERGE, patch(3)))];
    },
    gives: ['200', '409 Conflict'],
  },
  {
    name: 'merge: nothing new, no new version',
    run: async (s) => {
      const old = await widget(s);
      const { body } = await s.patch('widgets', 'w', MERGE, { spec: { size: 1 } });
      return body.metadata.resourceVersion === old.metadata.resourceVersion;
    },
    gives: true,
  },
  {
    name: 'merge: another name, another kind',
    run: async (s) => {
      await widget(s);
      return [
        s.brief(await s.patch('widgets', 'w', MERGE, { metadata: { name: 'v' } })),
        s.brief(await s.patch('widgets', 'w', MERGE, { kind: 'Gadget' })),
      ];
    },
    gives: ['400 BadRequest', '422 Invalid'],
  },
  {
    name: 'merge: another uid',
    run: async (s) => {
      await widget(s);
      return s.brief(await s.patch('widgets', 'w', MERGE, { metadata: { uid: '00000000-0000-0000-0000-000000000000' } }));
    },
    gives: '422 Invalid',
  },
  {
    name: 'merge: a status, and labels beside it',
    run: async (s) => {
      await widget(s);
      const { body } = await s.patch(
        'widgets',
        'w',
        MERGE,
        { metadata: { labels: { a: 'b' } }, spec: { size: 7 }, status: { count: 1 } },
        'status',
      );
      return [body.status, body.metadata.labels ?? 'none', body.spec.size];
    },
    gives: [{ count: 1 }, 'none', 1],
  },
  {
    name: 'merge: a status at the object itself',
    run: async (s) => {
      await widget(s);
      return (await s.patch('widgets', 'w', MERGE, { status: { count: 1 } })).body.status ?? 'none';
    },
    gives: 'none',
  },
  {
    name: 'merge: no JSON',
    run: async (s) => {
      await widget(s);
      return [s.brief(await s.patch('widgets', 'w', MERGE, '{"a":')), s.brief(await s.patch('widgets', 'w', MERGE, []))];
    },
    gives: ['400 BadRequest', '400 BadRequest'],
  },
  after(
    'steps: add, replace, remove',
    JSON_PATCH,
    [
      { op: 'add', path: '/spec/plain/1', value: 'x' },
      { op: 'add', path: '/spec/plain/-', value: 'z' },
      { op: 'replace', path: '/spec/size', value: 5 },
      { op: 'remove', path: '/spec/labels/x' },
    ],
    { color: 'red', labels: { y: '2' }, plain: ['a', 'x', 'b', 'z'], size: 5 },
  ),
  after(
    'steps: copy and move',
    JSON_PATCH,
    [
      { op: 'copy', from: '/spec/labels/x', path: '/spec/note' },
      { op: 'move', from: '/spec/labels/y', path: '/spec/labels/w' },
    ],
    { color: 'red', labels: { w: '2', x: '1' }, note: '1', plain: ['a', 'b'], size: 1 },
  ),
  after(
    'steps: a test that holds',
    JSON_PATCH,
    [
      { op: 'test', path: '/spec/size', value: 1 },
      { op: 'replace', path: '/spec/size', value: 2 },
    ],
    { color: 'red', labels: { x: '1', y: '2' }, plain: ['a', 'b'], size: 2 },
  ),
  after(
    'steps: a test that does not',
    JSON_PATCH,
    [
      { op: 'test', path: '/spec/size', value: 9 },
      { op: 'replace', path: '/spec/size', value: 2 },
    ],
    '422 Invalid',
  ),
  after('steps: away with what is not there', JSON_PATCH, [{ op: 'remove', path: '/spec/none' }], '422 Invalid'),
  after('steps: replaced what is not there', JSON_PATCH, [{ op: 'replace', path: '/spec/none', value: 1 }], {
    color: 'red',
    labels: { x: '1', y: '2' },
    plain: ['a', 'b'],
    size: 1,
  }),
  after('steps: below what is not there', JSON_PATCH, [{ op: 'add', path: '/spec/none/deeper', value: 1 }], '422 Invalid'),
  after('steps: an escaped name', JSON_PATCH, [{ op: 'add', path: '/spec/labels/a~1b~0c', value: 'v' }], {
    color: 'red',
    labels: { 'a/b~c': 'v', x: '1', y: '2' },
    plain: ['a', 'b'],
    size: 1,
  }),
  after('steps: no list of them', JSON_PATCH, { op: 'add' }, '400 BadRequest'),
  after('steps: one that nobody knows', JSON_PATCH, [{ op: 'twist', path: '/spec' }], '422 Invalid'),
  {
    name: 'steps: the uid as a guard',
    run: async (s) => {
      const old = await widget(s);
      const guarded = (uid: string): Json => [
        { op: 'test', path: '/metadata/uid', value: uid },
        { op: 'add', path: '/status', value: { count: 3 } },
      ];
      const bad = await s.patch('widgets', 'w', JSON_PATCH, guarded('other'), 'status');
      const good = await s.patch('widgets', 'w', JSON_PATCH, guarded(old.metadata.uid as string), 'status');
      return [s.brief(bad), good.status, good.body.status];
    },
    gives: ['422 Invalid', 200, { count: 3 }],
  },
  {
    name: 'strategic patches are for built-in types',
    run: async (s) => {
      await widget(s);
      await s.post('configmaps', 'a');
      return [
        s.brief(await s.patch('widgets', 'w', STRATEGIC, {})),
        s.brief(await s.patch('configmaps', 'a', STRATEGIC, { data: { x: 'y' } })),
      ];
    },
    gives: ['415 UnsupportedMediaType', '200'],
  },
  {
    name: 'a patch of no known type',
    run: async (s) => {
      await widget(s);
      return s.brief(await s.patch('widgets', 'w', 'text/plain', {}));
    },
    gives: '415 UnsupportedMediaType',
  },
];
