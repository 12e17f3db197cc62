/** Create and update: what is refused, what the server fills in, what moves which number. */
import { MERGE, type Case, type Scene } from '../scene.ts';
import type { Json } from '../wire.ts';

const made = async (s: Scene, plural: string, name: string, more: Json = {}): Promise<Json> => (await s.post(plural, name, more)).body;
const widget = (s: Scene, spec: Json = {}, metadata: Json = {}): Promise<Json> => made(s, 'widgets', 'w', { metadata, spec });

export const WRITES: readonly Case[] = [
  {
    name: 'what a new object has',
    run: async (s) => {
      const a = await made(s, 'configmaps', 'a');
      const w = await widget(s);
      const of = (o: Json): unknown[] => [
        /^[0-9a-f-]{36}$/.test(o.metadata.uid as string),
        /^\d+$/.test(o.metadata.resourceVersion as string),
        /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(o.metadata.creationTimestamp as string),
        o.metadata.generation ?? 'none',
        o.metadata.namespace === s.ns,
      ];
      return [of(a), of(w)];
    },
    gives: [
      [true, true, true, 'none', true],
      [true, true, true, 1, true],
    ],
  },
  {
    name: 'the same name twice',
    run: async (s) => {
      await widget(s);
      const again = await s.post('widgets', 'w', { spec: {} });
      return [s.full(again), again.body.details];
    },
    gives: [
      '409 AlreadyExists: widgets.contract.spooky.dev "w" already exists',
      { name: 'w', group: 'contract.spooky.dev', kind: 'widgets' },
    ],
  },
  {
    name: 'a name is made up',
    run: async (s) => {
      const { status, body } = await s.post('configmaps', '', { metadata: { generateName: 'x-' } });
      return [status, /^x-[a-z0-9]{5}$/.test(body.metadata.name as string), body.metadata.generateName];
    },
    gives: [201, true, 'x-'],
  },
  {
    name: 'no name',
    run: async (s) => s.full(await s.post('configmaps', '')),
    gives: '422 Invalid: ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
  },
  {
    name: 'names that are none',
    run: async (s) =>
      Promise.all(
        [
          s.post('configmaps', 'x_Y'),
          s.post('services', 'a.b', { spec: { ports: [{ port: 1 }] } }),
          s.post('widgets', 'A', { spec: {} }),
        ].map(async (a) => s.brief(await a)),
      ),
    gives: ['422 Invalid', '422 Invalid', '422 Invalid'],
  },
  {
    name: 'another namespace in the body',
    run: async (s) => s.full(await s.post('widgets', 'a', { metadata: { namespace: 'other' }, spec: {} })),
    gives: '400 BadRequest: the namespace of the provided object does not match the namespace sent on the request',
  },
  {
    name: 'a namespace that is not there',
    run: async (s) =>
      s.full(
        await s.wire.ask('POST', `/apis/contract.spooky.dev/v1/namespaces/${s.ns}-not/widgets`, {
          body: s.object('widgets', 'a', { spec: {} }),
        }),
      ),
    gives: '404 NotFound: namespaces "NS-not" not found',
  },
  {
    name: 'another kind in the body',
    run: async (s) => [
      s.brief(await s.post('configmaps', 'a', { kind: 'Secret' })),
      s.full(await s.post('widgets', 'a', { kind: 'Gadget', spec: {} })),
    ],
    gives: ['400 BadRequest', '422 Invalid: Gadget.contract.spooky.dev "a" is invalid: kind: Invalid value: "Gadget": must be Widget'],
  },
  {
    name: 'another version in the body',
    run: async (s) => s.full(await s.post('widgets', 'a', { apiVersion: 'contract.spooky.dev/v2', spec: {} })),
    gives:
      '400 BadRequest: the API version in the data (contract.spooky.dev/v2) does not match the expected API version (contract.spooky.dev/v1)',
  },
  {
    name: 'a version for something new',
    run: async (s) => s.full(await s.post('configmaps', 'a', { metadata: { resourceVersion: '5' } })),
    gives: '500: resourceVersion should not be set on objects to be created',
  },
  {
    name: 'no JSON',
    run: async (s) =>
      Promise.all(['{"kind":', '[]', ''].map(async (body) => s.brief(await s.wire.ask('POST', s.path('widgets'), { body })))),
    gives: ['400 BadRequest', '400 BadRequest', '400 BadRequest'],
  },
  {
    name: "what is the server's is not taken from a body",
    run: async (s) => {
      const given = {
        uid: '00000000-0000-0000-0000-000000000000',
        creationTimestamp: '2001-01-01T00:00:00Z',
        generation: 7,
        deletionTimestamp: '2001-01-01T00:00:00Z',
      };
      const { metadata } = await widget(s, {}, given);
      return [
        metadata.uid === given.uid,
        metadata.creationTimestamp === given.creationTimestamp,
        metadata.generation,
        metadata.deletionTimestamp ?? 'none',
      ];
    },
    gives: [false, false, 1, 'none'],
  },
  {
    name: 'a status of a new object is dropped',
    run: async (s) => (await made(s, 'widgets', 'w', { spec: {}, status: { count: 1 } })).status ?? 'none',
    gives: 'none',
  },
  {
    name: 'replaced with the version that was read',
    run: async (s) => {
      const old = await widget(s);
      const answer = await s.put('widgets', { ...old, spec: { size: 2 } });
      return [
        answer.status,
        answer.body.spec,
        answer.body.metadata.generation,
        answer.body.metadata.resourceVersion !== old.metadata.resourceVersion,
        answer.body.metadata.uid === old.metadata.uid,
      ];
    },
    gives: [200, { color: 'red', size: 2 }, 2, true, true],
  },
  {
    name: 'replaced with a version of before',
    run: async (s) => {
      const old = await widget(s);
      await s.put('widgets', { ...old, spec: { size: 2 } });
      const answer = await s.put('widgets', { ...old, spec: { size: 3 } });
      return [s.full(answer), answer.body.details];
    },
    gives: [
      '409 Conflict: Operation cannot be fulfilled on widgets.contract.spooky.dev "w": the object has been modified; please apply your changes to the latest version and try again',
      { name: 'w', group: 'contract.spooky.dev', kind: 'widgets' },
    ],
  },
  {
    name: 'replaced without a version',
    run: async (s) => {
      await widget(s);
      await s.post('configmaps', 'a');
      return [
        s.full(await s.put('widgets', s.object('widgets', 'w', { spec: {} }))),
        s.brief(await s.put('configmaps', s.object('configmaps', 'a', { data: { x: 'y' } }))),
      ];
    },
    gives: [
      '422 Invalid: widgets.contract.spooky.dev "w" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update',
      '200',
    ],
  },
  {
    name: 'another name in the body than in the path',
    run: async (s) => {
      const old = await widget(s);
      return s.full(await s.wire.ask('PUT', s.path('widgets', 'v'), { body: old }));
    },
    gives: '400 BadRequest: the name of the object (w) does not match the name on the URL (v)',
  },
  {
    name: 'replaced when it is not there',
    run: async (s) => {
      const put = (plural: string, more: Json = {}): Promise<string> => s.put(plural, s.object(plural, 'x', more)).then((a) => s.brief(a));
      return [
        await put('widgets', { metadata: { resourceVersion: '5' }, spec: {} }),
        await put('configmaps'),
        await put('secrets'),
        await put('leases'),
        await put('services', { spec: { ports: [{ port: 80 }] } }),
        await put('endpointslices', { addressType: 'IPv4', endpoints: [] }),
      ];
    },
    gives: ['404 NotFound', '404 NotFound', '404 NotFound', '201', '201', '404 NotFound'],
  },
  {
    name: 'replaced with another uid',
    run: async (s) => {
      const old = await widget(s);
      return s.full(await s.put('widgets', { ...old, metadata: { ...old.metadata, uid: '00000000-0000-0000-0000-000000000000' } }));
    },
    gives:
      '409 Conflict: Operation cannot be fulfilled on widgets.contract.spooky.dev "w": StorageError: invalid object, Code: 4, Key: /registry/contract.spooky.dev/widgets/NS/w, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: UID, UID in object meta: UID',
  },
  {
    name: 'replaced by the same: no new version',
    run: async (s) => {
      const old = await widget(s);
      const config = await made(s, 'configmaps', 'a', { data: { x: 'y' } });
      const same = async (plural: string, o: Json): Promise<boolean> =>
        (await s.put(plural, o)).body.metadata.resourceVersion === o.metadata.resourceVersion;
      return [await same('widgets', old), await same('configmaps', config)];
    },
    gives: [true, true],
  },
  {
    name: 'what moves the generation',
    run: async (s) => {
      let now = await widget(s);
      const seen: unknown[] = [];
      const steps = [
        { spec: { size: 1 } },
        { metadata: { labels: { a: 'b' } } },
        { metadata: { annotations: { a: 'b' } } },
        { spec: { size: 1 } },
        { spec: { color: 'blue' } },
      ];
      for (const step of steps) {
        now = (await s.patch('widgets', 'w', MERGE, step)).body;
        seen.push(now.metadata.generation);
      }
      now = (await s.patch('widgets', 'w', MERGE, { status: { count: 2 } }, 'status')).body;
      return [...seen, now.metadata.generation];
    },
    gives: [2, 2, 2, 2, 3, 3],
  },
  {
    name: 'the status is not written with the rest',
    run: async (s) => {
      const old = await widget(s);
      const answer = await s.put('widgets', { ...old, status: { count: 5 } });
      return [answer.status, answer.body.status ?? 'none', answer.body.metadata.resourceVersion === old.metadata.resourceVersion];
    },
    gives: [200, 'none', true],
  },
  {
    name: 'nor the rest with the status',
    run: async (s) => {
      const old = await widget(s);
      const answer = await s.put(
        'widgets',
        { ...old, metadata: { ...old.metadata, labels: { a: 'b' } }, spec: { size: 9 }, status: { count: 5 } },
        'status',
      );
      return [answer.status, answer.body.spec, answer.body.status, answer.body.metadata.labels ?? 'none', answer.body.metadata.generation];
    },
    gives: [200, { color: 'red' }, { count: 5 }, 'none', 1],
  },
  {
    name: 'a status with a version of before',
    run: async (s) => {
      const old = await widget(s);
      await s.patch('widgets', 'w', MERGE, { spec: { size: 1 } });
      return s.brief(await s.put('widgets', { ...old, status: { count: 1 } }, 'status'));
    },
    gives: '409 Conflict',
  },
  {
    name: 'a status is read at its own path',
    run: async (s) => {
      await widget(s);
      const answer = await s.wire.ask('GET', s.path('widgets', 'w', 'status'));
      return [answer.status, answer.body.kind, s.brief(await s.wire.ask('GET', s.path('widgets', 'w', 'scale')))];
    },
    gives: [200, 'Widget', '404 NotFound'],
  },
  {
    name: 'the birthday stays',
    run: async (s) => {
      const old = await widget(s);
      const answer = await s.put('widgets', {
        ...old,
        metadata: { ...old.metadata, creationTimestamp: '2001-01-01T00:00:00Z' },
        spec: { size: 1 },
      });
      return [answer.status, answer.body.metadata.creationTimestamp === old.metadata.creationTimestamp];
    },
    gives: [200, true],
  },
  {
    name: 'only to try: nothing happens',
    run: async (s) => {
      const tried = await s.post('widgets', 'x', { spec: {} }, '?dryRun=All');
      const old = await widget(s);
      const changed = await s.put('widgets', { ...old, spec: { size: 4 } }, '', '?dryRun=All');
      const gone = await s.delete('widgets', 'w', undefined, '?dryRun=All');
      return [
        tried.status,
        s.brief(await s.get('widgets', 'x')),
        changed.status,
        changed.body.spec.size,
        gone.status,
        (await s.get('widgets', 'w')).body.spec,
      ];
    },
    gives: [201, '404 NotFound', 200, 4, 200, { color: 'red' }],
  },
  {
    name: 'the name of a namespace is its label',
    run: async (s) => {
      const { body } = await s.get('namespaces', s.ns);
      return [body.metadata.labels['kubernetes.io/metadata.name'] === s.ns, body.status.phase, body.spec];
    },
    gives: [true, 'Active', { finalizers: ['kubernetes'] }],
  },
  {
    name: 'a method that a path does not have',
    run: async (s) => [
      s.brief(await s.wire.ask('POST', s.path('configmaps', 'a'), { body: {} })),
      s.brief(await s.wire.ask('PUT', s.path('configmaps'), { body: {} })),
    ],
    gives: ['405 MethodNotAllowed', '405 MethodNotAllowed'],
  },
];
