/** Watches: where they begin and how they end. */
import type { Case } from '../scene.ts';
import { INITIAL, isMark, rising, touch } from './watching.ts';

export const WATCHES: readonly Case[] = [
  {
    name: 'made, changed, gone: in order, with rising versions',
    run: async (s) => {
      const watch = await s.watch('configmaps');
      await s.post('configmaps', 'a');
      await touch(s, 'configmaps', 'a', { data: { x: '1' } });
      await s.delete('configmaps', 'a');
      const events = await watch.first(3);
      return [s.told(events, (o) => o.data), rising(events), events.map((e) => [e.object.kind, e.object.apiVersion])];
    },
    gives: [
      ['ADDED a', 'MODIFIED a {"x":"1"}', 'DELETED a {"x":"1"}'],
      true,
      [
        ['ConfigMap', 'v1'],
        ['ConfigMap', 'v1'],
        ['ConfigMap', 'v1'],
      ],
    ],
  },
  {
    name: 'the same of a custom resource',
    run: async (s) => {
      const watch = await s.watch('widgets');
      await s.post('widgets', 'a', { spec: {} });
      await touch(s, 'widgets', 'a', { spec: { size: 3 } });
      await s.delete('widgets', 'a');
      const events = await watch.first(3);
      return [s.told(events, (o) => [o.spec, o.metadata.generation]), rising(events)];
    },
    gives: [['ADDED a [{"color":"red"},1]', 'MODIFIED a [{"color":"red","size":3},2]', 'DELETED a [{"color":"red","size":3},2]'], true],
  },
  {
    name: 'without a version: what is there, then what happens',
    run: async (s) => {
      await s.post('configmaps', 'a');
      await s.post('configmaps', 'b');
      const watch = await s.watch('configmaps', 'resourceVersion=');
      await watch.first(2);
      await s.post('configmaps', 'c');
      return s.told(await watch.first(3));
    },
    gives: ['ADDED a', 'ADDED b', 'ADDED c'],
  },
  {
    name: 'from version 0 the same',
    run: async (s) => {
      await s.post('widgets', 'a', { spec: {} });
      await s.list('widgets');
      const watch = await s.watch('widgets', 'resourceVersion=0');
      await watch.first(1);
      await s.post('widgets', 'b', { spec: {} });
      return s.told(await watch.first(2));
    },
    gives: ['ADDED a', 'ADDED b'],
  },
  {
    name: 'from an earlier version everything since is told',
    run: async (s) => {
      const version = await s.version('configmaps');
      await s.post('configmaps', 'a');
      await touch(s, 'configmaps', 'a', { data: { x: '1' } });
      await s.post('configmaps', 'b');
      await s.delete('configmaps', 'a');
      const watch = await s.watch('configmaps', `resourceVersion=${version}`);
      return s.told(await watch.first(4), (o) => o.data);
    },
    gives: ['ADDED a', 'MODIFIED a {"x":"1"}', 'ADDED b', 'DELETED a {"x":"1"}'],
  },
  {
    name: 'from the version of an event what comes after it',
    run: async (s) => {
      const watch = await s.watch('configmaps');
      await s.post('configmaps', 'a');
      await s.post('configmaps', 'b');
      const [first] = await watch.first(2);
      const again = await s.watch('configmaps', `resourceVersion=${String(first?.object.metadata.resourceVersion)}`);
      return s.told(await again.first(1));
    },
    gives: ['ADDED b'],
  },
  {
    name: 'a version too long ago: an event, and the end',
    run: async (s) => {
      const watch = await s.watch('widgets', 'resourceVersion=1');
      const events = await watch.first(1);
      return [
        s.told(events),
        s.mask(String(events[0]?.object.message)).replaceAll(/\d+/g, 'N'),
        await watch.ended(),
        events[0]?.object.kind,
      ];
    },
    gives: [['ERROR 410 Expired'], 'too old resource version: N N', 'in order', 'Status'],
  },
  {
    name: 'a version that is no number',
    run: async (s) => s.full(await s.wire.watch(`${s.path('configmaps')}?watch=true&resourceVersion=abc`).refusal()),
    gives: '500: resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax',
  },
  {
    name: 'a version of the future: headers, and nothing until it has come',
    run: async (s) => {
      const version = Number(await s.version('configmaps'));
      const watch = await s.watch('configmaps', `resourceVersion=${version + 2}&allowWatchBookmarks=true`);
      for (const name of ['a', 'b', 'c', 'd']) await s.post('configmaps', name);
      const never = await s.watch('configmaps', 'resourceVersion=99999999&allowWatchBookmarks=true&timeoutSeconds=1');
      const versions = (await watch.first(1)).map((e) => Number(e.object.metadata.resourceVersion) > version + 2);
      return [versions, await never.ended(), never.events.length];
    },
    gives: [[true], 'in order', 0],
  },
  {
    name: 'its time is up',
    run: async (s) => {
      const watch = await s.watch('configmaps', 'timeoutSeconds=1');
      return [await watch.ended(), watch.events.length];
    },
    gives: ['in order', 0],
  },
  {
    name: 'initial events, their end, then what happens',
    run: async (s) => {
      await s.post('widgets', 'a', { spec: {} });
      await s.post('widgets', 'b', { spec: {} });
      const version = Number(await s.version('widgets'));
      const watch = await s.watch('widgets', INITIAL);
      const initial = await watch.until(isMark);
      const mark = initial.at(-1)?.object;
      await s.post('widgets', 'c', { spec: {} });
      return [
        s.told(initial),
        mark.kind,
        mark.apiVersion,
        Number(mark.metadata.resourceVersion) >= version,
        s.told((await watch.first(3)).slice(2)),
      ];
    },
    gives: [['ADDED a', 'ADDED b', 'BOOKMARK'], 'Widget', 'contract.spooky.dev/v1', true, ['ADDED c']],
  },
  {
    name: 'initial events of nothing',
    run: async (s) => s.told(await (await s.watch('configmaps', INITIAL)).until(isMark)),
    gives: ['BOOKMARK'],
  },
  {
    name: 'initial events with a selector',
    run: async (s) => {
      await s.post('configmaps', 'a', { metadata: { labels: { x: 'y' } } });
      await s.post('configmaps', 'b');
      return s.told(await (await s.watch('configmaps', `${INITIAL}&labelSelector=x%3Dy`)).until(isMark));
    },
    gives: ['ADDED a', 'BOOKMARK'],
  },
  {
    name: 'initial events without bookmarks have no end',
    run: async (s) => {
      await s.post('configmaps', 'a');
      const watch = await s.watch('configmaps', 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1');
      await watch.ended();
      return s.told(watch.events);
    },
    gives: ['ADDED a'],
  },
  {
    name: 'initial events without the match that they need',
    run: async (s) => s.full(await s.wire.watch(`${s.path('configmaps')}?watch=true&sendInitialEvents=true`).refusal()),
    gives:
      '422 Invalid: ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
  },
  {
    name: 'a match without initial events',
    run: async (s) =>
      s.full(await s.wire.watch(`${s.path('configmaps')}?watch=true&resourceVersion=5&resourceVersionMatch=NotOlderThan`).refusal()),
    gives:
      '422 Invalid: ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
  },
  {
    name: 'no initial events, said so',
    run: async (s) => {
      await s.post('configmaps', 'a');
      const version = await s.version('configmaps');
      const watch = await s.watch('configmaps', `sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=${version}`);
      await s.post('configmaps', 'b');
      return s.told(await watch.first(1));
    },
    gives: ['ADDED b'],
  },
];
