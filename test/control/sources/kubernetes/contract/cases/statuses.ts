/** Server-side apply of a status: installations side by side, versions, what is left. */
import { type ApplyOptions, type Case, type Scene } from '../scene.ts';
import type { Answer, Json } from '../wire.ts';

const status = (s: Scene, value: Json, options: ApplyOptions = {}, metadata: Json = {}): Promise<Answer> =>
  s.apply('widgets', 'w', { metadata, status: value }, { ...options, sub: 'status' });
const spec = (s: Scene, value: Json, options: ApplyOptions = {}, metadata: Json = {}): Promise<Answer> =>
  s.apply('widgets', 'w', { metadata, spec: value }, options);
const condition = (type: string, value = 'True'): Json => ({ type, status: value });
const owners = (o: Json): string[] =>
  (o.metadata.managedFields as Json[]).map((e) => [e.manager, e.operation, e.subresource].filter((x) => x !== undefined).join(' ')).sort();

export const STATUSES: readonly Case[] = [
  {
    name: 'status: conditions of two managers',
    run: async (s) => {
      await spec(s, {});
      await status(s, { conditions: [condition('A'), condition('B')] }, { manager: 'm1' });
      const two = await status(s, { conditions: [condition('C')] }, { manager: 'm2' });
      const left = await status(s, { conditions: [condition('B', 'False')] }, { manager: 'm1' });
      return [two.body.status.conditions, left.body.status.conditions, owners(left.body)];
    },
    gives: [
      [
        { status: 'True', type: 'A' },
        { status: 'True', type: 'B' },
        { status: 'True', type: 'C' },
      ],
      [
        { status: 'False', type: 'B' },
        { status: 'True', type: 'C' },
      ],
      ['m1 Apply', 'm1 Apply status', 'm2 Apply status'],
    ],
  },
  {
    name: 'status: an identical apply keeps the version',
    run: async (s) => {
      await spec(s, {});
      const one = await status(s, { count: 1, conditions: [condition('A')] });
      const two = await status(s, { count: 1, conditions: [condition('A')] });
      return one.body.metadata.resourceVersion === two.body.metadata.resourceVersion;
    },
    gives: true,
  },
  {
    name: 'status: entries of two installations stay apart',
    run: async (s) => {
      await spec(s, {});
      await status(s, { installations: [{ name: 'one', ready: 1, conditions: [condition('A')] }] }, { manager: 'm1' });
      await status(s, { installations: [{ name: 'two', ready: 2, conditions: [condition('A')] }] }, { manager: 'm2' });
      const changed = await status(s, { installations: [{ name: 'one', ready: 3 }] }, { manager: 'm1' });
      const gone = await status(s, {}, { manager: 'm1' });
      return [changed.body.status, gone.body.status];
    },
    gives: [
      {
        installations: [
          { name: 'one', ready: 3 },
          { conditions: [{ status: 'True', type: 'A' }], name: 'two', ready: 2 },
        ],
      },
      { installations: [{ conditions: [{ status: 'True', type: 'A' }], name: 'two', ready: 2 }] },
    ],
  },
  {
    name: 'status: nothing left of the only manager',
    run: async (s) => {
      await spec(s, {});
      await status(s, { count: 1, conditions: [condition('A')] });
      return s.full(await status(s, {}));
    },
    gives: '422 Invalid: Widget.contract.spooky.dev "w" is invalid: status: Invalid value: "null":  in body must be of type object: "null"',
  },
  {
    name: 'status: no status in the body at all',
    run: async (s) => {
      await spec(s, {});
      await status(s, { count: 1 });
      const { status: code, body } = await s.apply('widgets', 'w', {}, { sub: 'status' });
      return [code, body.status ?? 'none'];
    },
    gives: [200, 'none'],
  },
  {
    name: 'status: conflict, and force',
    run: async (s) => {
      await spec(s, {});
      await status(s, { conditions: [condition('A')] });
      const clash = await status(s, { conditions: [condition('A', 'False')] }, { manager: 'm2' });
      const forced = await status(s, { conditions: [condition('A', 'False')] }, { manager: 'm2', force: true });
      return [s.full(clash), forced.body.status.conditions];
    },
    gives: [
      '409 Conflict: Apply failed with 1 conflict: conflict with "m1" with subresource "status": .status.conditions[type="A"].status',
      [{ status: 'False', type: 'A' }],
    ],
  },
  {
    name: 'status: of what is not there',
    run: async (s) => s.full(await status(s, { count: 1 })),
    gives: '404 NotFound: widgets.contract.spooky.dev "w" not found',
  },
  {
    name: 'status: with the version that was seen, and with one of before',
    run: async (s) => {
      const { body } = await spec(s, {});
      const { resourceVersion } = body.metadata as { resourceVersion: string };
      return [
        s.brief(await status(s, { count: 1 }, {}, { resourceVersion })),
        s.full(await status(s, { count: 2 }, {}, { resourceVersion })),
      ];
    },
    gives: [
      '200',
      '409 Conflict: Operation cannot be fulfilled on widgets.contract.spooky.dev "w": the object has been modified; please apply your changes to the latest version and try again',
    ],
  },
  {
    name: 'a wrong uid: not seen at the status, seen at the object',
    run: async (s) => {
      await spec(s, {});
      const metadata = { uid: '00000000-0000-0000-0000-000000000000' };
      return [s.brief(await status(s, { count: 1 }, {}, metadata)), s.brief(await spec(s, { size: 2 }, {}, metadata))];
    },
    gives: ['200', '422 Invalid'],
  },
  {
    name: 'a uid or a version of what is not there',
    run: async (s) => [
      s.brief(await spec(s, {}, {}, { uid: '00000000-0000-0000-0000-000000000000' })),
      s.brief(await spec(s, {}, {}, { resourceVersion: '5' })),
    ],
    gives: ['409 Conflict', '201'],
  },
  {
    name: 'status: a spec in the body is not looked at',
    run: async (s) => {
      await spec(s, { size: 1 });
      const { status: code, body } = await s.apply('widgets', 'w', { spec: { size: 9 }, status: { count: 1 } }, { sub: 'status' });
      return [code, body.spec.size, body.metadata.generation, owners(body)];
    },
    gives: [200, 1, 1, ['m1 Apply', 'm1 Apply status']],
  },
];
