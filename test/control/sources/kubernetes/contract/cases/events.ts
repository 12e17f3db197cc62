/** Watches: what they tell. */
import { MERGE, METADATA, type Case } from '../scene.ts';
import type { Json } from '../wire.ts';
import { INITIAL, isMark, rising, touch } from './watching.ts';

const generation = (object: Json): unknown => object.metadata.generation;

export const EVENTS: readonly Case[] = [
  {
    name: 'a selector: coming in, changing, going out, with the state before',
    run: async (s) => {
      const watch = await s.watch('configmaps', 'labelSelector=x%3Dy');
      await s.post('configmaps', 'a');
      await touch(s, 'configmaps', 'a', { metadata: { labels: { x: 'y' } }, data: { n: '1' } });
      await touch(s, 'configmaps', 'a', { data: { n: '2' } });
      await touch(s, 'configmaps', 'a', { metadata: { labels: { x: 'z' } }, data: { n: '3' } });
      await touch(s, 'configmaps', 'a', { data: { n: '4' } });
      await s.post('configmaps', 'end', { metadata: { labels: { x: 'y' } } });
      const events = await watch.first(4);
      return [s.told(events, (o) => [o.data, o.metadata.labels]), rising(events)];
    },
    gives: [
      [
        'ADDED a [{"n":"1"},{"x":"y"}]',
        'MODIFIED a [{"n":"2"},{"x":"y"}]',
        'DELETED a [{"n":"2"},{"x":"y"}]',
        'ADDED end [null,{"x":"y"}]',
      ],
      true,
    ],
  },
  {
    name: 'an object that a selector takes is deleted',
    run: async (s) => {
      await s.post('configmaps', 'a', { metadata: { labels: { x: 'y' } } });
      await s.post('configmaps', 'b');
      const watch = await s.watch('configmaps', 'labelSelector=x%3Dy');
      await s.delete('configmaps', 'b');
      await s.delete('configmaps', 'a');
      return s.told(await watch.first(1));
    },
    gives: ['DELETED a'],
  },
  {
    name: 'one object, by its name',
    run: async (s) => {
      const watch = await s.watch('configmaps', 'fieldSelector=metadata.name%3Db');
      for (const name of ['a', 'b', 'c']) await s.post('configmaps', name);
      await s.delete('configmaps', 'b');
      return s.told(await watch.first(2));
    },
    gives: ['ADDED b', 'DELETED b'],
  },
  {
    name: 'a field of a custom resource: in and out',
    run: async (s) => {
      const watch = await s.watch('widgets', 'fieldSelector=spec.color%3Dblue');
      await s.post('widgets', 'a', { spec: {} });
      await touch(s, 'widgets', 'a', { spec: { color: 'blue' } });
      await touch(s, 'widgets', 'a', { spec: { color: 'green' } });
      return s.told(await watch.first(2), (o) => o.spec.color);
    },
    gives: ['ADDED a "blue"', 'DELETED a "blue"'],
  },
  {
    name: 'other namespaces are not told',
    run: async (s) => {
      const watch = await s.watch('configmaps');
      await s.wire.ask('POST', '/api/v1/namespaces/default/configmaps', { body: s.object('configmaps', s.ns) });
      await s.post('configmaps', 'mine');
      const events = s.told(await watch.first(1));
      await s.wire.ask('DELETE', `/api/v1/namespaces/default/configmaps/${s.ns}`);
      return events;
    },
    gives: ['ADDED mine'],
  },
  {
    name: 'a status is a change that leaves the generation',
    run: async (s) => {
      await s.post('widgets', 'a', { spec: {} });
      const watch = await s.watch('widgets');
      await s.patch('widgets', 'a', MERGE, { status: { count: 1 } }, 'status');
      return s.told(await watch.first(1), (o) => [o.status, o.metadata.generation]);
    },
    gives: ['MODIFIED a [{"count":1},1]'],
  },
  {
    name: 'a write that changes nothing is not told',
    run: async (s) => {
      const made = await s.post('configmaps', 'a', { data: { x: 'y' } });
      const watch = await s.watch('configmaps');
      await s.put('configmaps', made.body);
      await touch(s, 'configmaps', 'a', { data: { x: 'y' } });
      await s.post('configmaps', 'b');
      return s.told(await watch.first(1));
    },
    gives: ['ADDED b'],
  },
  {
    name: 'a finalizer: marked first, gone when it goes, with what went with it',
    run: async (s) => {
      await s.post('widgets', 'a', { metadata: { finalizers: ['contract.spooky.dev/hold'] }, spec: {} });
      const watch = await s.watch('widgets');
      await s.delete('widgets', 'a');
      await touch(s, 'widgets', 'a', { metadata: { finalizers: null, labels: { x: 'y' } } });
      const events = await watch.first(2);
      return s.told(events, (o) => [
        typeof o.metadata.deletionTimestamp,
        o.metadata.finalizers ?? 'none',
        o.metadata.labels ?? 'none',
        o.metadata.generation,
      ]);
    },
    gives: ['MODIFIED a ["string",["contract.spooky.dev/hold"],"none",2]', 'DELETED a ["string",["contract.spooky.dev/hold"],"none",2]'],
  },
  {
    name: 'deleted and made again: another one of the same name',
    run: async (s) => {
      await s.post('widgets', 'a', { spec: {} });
      const watch = await s.watch('widgets');
      await s.delete('widgets', 'a');
      await s.post('widgets', 'a', { spec: { size: 1 } });
      const events = await watch.first(2);
      return [s.told(events, generation), events[0]?.object.metadata.uid === events[1]?.object.metadata.uid];
    },
    gives: [['DELETED a 1', 'ADDED a 1'], false],
  },
  {
    name: 'metadata alone',
    run: async (s) => {
      await s.post('configmaps', 'a', { data: { x: 'y' } });
      const watch = await s.watch('configmaps', INITIAL, { accept: METADATA });
      const initial = await watch.until(isMark);
      await touch(s, 'configmaps', 'a', { metadata: { labels: { x: 'y' } } });
      await s.delete('configmaps', 'a');
      const events = [...initial, ...(await watch.first(3)).slice(1)];
      return events.map(({ type, object }) => [type, object.kind, object.apiVersion, Object.keys(object).sort().join()]);
    },
    gives: [
      ['ADDED', 'PartialObjectMetadata', 'meta.k8s.io/v1', 'apiVersion,kind,metadata'],
      ['BOOKMARK', 'PartialObjectMetadata', 'meta.k8s.io/v1', 'apiVersion,kind,metadata'],
      ['MODIFIED', 'PartialObjectMetadata', 'meta.k8s.io/v1', 'apiVersion,kind,metadata'],
      ['DELETED', 'PartialObjectMetadata', 'meta.k8s.io/v1', 'apiVersion,kind,metadata'],
    ],
  },
  {
    name: 'a watch of a name is an object',
    run: async (s) => {
      await s.post('configmaps', 'a');
      const answer = await s.wire.ask('GET', `${s.path('configmaps', 'a')}?watch=true`);
      return [answer.status, answer.body.kind];
    },
    gives: [200, 'ConfigMap'],
  },
  {
    name: 'thirty quick changes, each told once and in order',
    run: async (s) => {
      await s.post('configmaps', 'a');
      const watch = await s.watch('configmaps');
      for (let i = 0; i < 30; i++) await touch(s, 'configmaps', 'a', { data: { n: String(i) } });
      const events = await watch.first(30);
      return [events.every((e, i) => e.object.data.n === String(i)), rising(events)];
    },
    gives: [true, true],
  },
  {
    name: 'a collection is deleted',
    run: async (s) => {
      for (const name of ['a', 'b', 'c']) await s.post('configmaps', name, { metadata: { labels: { x: name === 'b' ? 'n' : 'y' } } });
      const watch = await s.watch('configmaps');
      const answer = await s.wire.ask('DELETE', `${s.path('configmaps')}?labelSelector=x%3Dy`);
      return [answer.status, answer.body.kind, s.told(await watch.first(2)).sort(), s.names(await s.list('configmaps'))];
    },
    gives: [200, 'ConfigMapList', ['DELETED a', 'DELETED c'], ['b']],
  },
  {
    name: 'two watches tell the same',
    run: async (s) => {
      const both = [await s.watch('widgets'), await s.watch('widgets')];
      await s.post('widgets', 'a', { spec: {} });
      await touch(s, 'widgets', 'a', { spec: { size: 1 } });
      const [one, two] = await Promise.all(both.map((watch) => watch.first(2)));
      return JSON.stringify(one) === JSON.stringify(two);
    },
    gives: true,
  },
];
