/** Deletions: their answers, conditions, finalizers. */
import { MERGE, type Case, type Scene } from '../scene.ts';
import type { Json } from '../wire.ts';

const made = async (s: Scene, plural: string, name: string, more: Json = {}): Promise<Json> => (await s.post(plural, name, more)).body;
const widget = (s: Scene, spec: Json = {}, metadata: Json = {}): Promise<Json> => made(s, 'widgets', 'w', { metadata, spec });

export const DELETES: readonly Case[] = [
  {
    name: 'deleted: a Status, or the object, by its kind',
    run: async (s) => {
      await widget(s);
      await s.post('configmaps', 'a');
      await s.post('secrets', 'a');
      await s.post('services', 'a', { spec: { ports: [{ port: 80 }] } });
      await s.post('endpointslices', 'a', { addressType: 'IPv4', endpoints: [] });
      await s.post('leases', 'a');
      await s.post('serviceaccounts', 'a');
      const kinds = ['configmaps', 'secrets', 'services', 'endpointslices', 'leases', 'serviceaccounts'];
      const w = await s.delete('widgets', 'w');
      const rest = await Promise.all(kinds.map(async (plural) => (await s.delete(plural, 'a')).body.kind as string));
      return [w.status, w.body.kind, w.body.status, Object.keys(w.body.details as object).sort(), w.body.details.kind, rest];
    },
    gives: [
      200,
      'Status',
      'Success',
      ['group', 'kind', 'name', 'uid'],
      'widgets',
      ['Status', 'Status', 'Service', 'Status', 'Status', 'ServiceAccount'],
    ],
  },
  {
    name: 'deleted when it is not there',
    run: async (s) => s.full(await s.delete('widgets', 'x')),
    gives: '404 NotFound: widgets.contract.spooky.dev "x" not found',
  },
  {
    name: 'deleted on conditions',
    run: async (s) => {
      const old = await widget(s);
      const options = (preconditions: Json): Json => ({ apiVersion: 'v1', kind: 'DeleteOptions', preconditions });
      return [
        s.full(await s.delete('widgets', 'w', options({ uid: '00000000-0000-0000-0000-000000000000' }))),
        s.brief(await s.delete('widgets', 'w', options({ resourceVersion: '1' }))),
        s.brief(await s.delete('widgets', 'w', options({ uid: old.metadata.uid, resourceVersion: old.metadata.resourceVersion }))),
      ];
    },
    gives: [
      '409 Conflict: Operation cannot be fulfilled on Widget.contract.spooky.dev "w": the UID in the precondition (UID) does not match the UID in record (UID). The object might have been deleted and then recreated',
      '409 Conflict',
      '200',
    ],
  },
  {
    name: 'a finalizer holds an object',
    run: async (s) => {
      await widget(s, {}, { finalizers: ['contract.spooky.dev/hold'] });
      const first = await s.delete('widgets', 'w');
      const second = await s.delete('widgets', 'w');
      const of = (o: Json): unknown[] => [
        o.kind,
        typeof o.metadata.deletionTimestamp,
        o.metadata.generation,
        o.metadata.deletionGracePeriodSeconds ?? 'none',
      ];
      const still = await s.get('widgets', 'w');
      return [of(first.body), of(second.body), first.body.metadata.resourceVersion === second.body.metadata.resourceVersion, still.status];
    },
    gives: [['Widget', 'string', 2, 0], ['Widget', 'string', 2, 0], true, 200],
  },
  {
    name: 'the last finalizer goes, and so does the object',
    run: async (s) => {
      await widget(s, {}, { finalizers: ['contract.spooky.dev/a', 'contract.spooky.dev/b'] });
      await s.delete('widgets', 'w');
      const one = await s.patch('widgets', 'w', MERGE, { metadata: { finalizers: ['contract.spooky.dev/b'] } });
      const none = await s.patch('widgets', 'w', MERGE, { metadata: { finalizers: [] } });
      return [one.status, none.status, s.brief(await s.get('widgets', 'w'))];
    },
    gives: [200, 200, '404 NotFound'],
  },
  {
    name: 'no new finalizer on what is going',
    run: async (s) => {
      await widget(s, {}, { finalizers: ['contract.spooky.dev/a'] });
      await s.delete('widgets', 'w');
      return s.brief(
        await s.patch('widgets', 'w', MERGE, { metadata: { finalizers: ['contract.spooky.dev/a', 'contract.spooky.dev/b'] } }),
      );
    },
    gives: '422 Invalid',
  },
  {
    name: 'its dependents first',
    run: async (s) => {
      await widget(s);
      const { body } = await s.delete('widgets', 'w', { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Foreground' });
      return [body.kind, body.metadata?.finalizers];
    },
    gives: ['Widget', ['foregroundDeletion']],
  },
  {
    name: 'a namespace that goes takes nothing new',
    run: async (s) => {
      await s.post('configmaps', 'a');
      const gone = await s.delete('namespaces', s.ns);
      const late = await s.post('configmaps', 'b');
      const old = await s.patch('configmaps', 'a', MERGE, { data: { x: 'y' } });
      return [gone.status, gone.body.kind, gone.body.status.phase, s.full(late), s.brief(old)];
    },
    gives: [
      200,
      'Namespace',
      'Terminating',
      '403 Forbidden: configmaps "b" is forbidden: unable to create new content in namespace NS because it is being terminated',
      '200',
    ],
  },
];
