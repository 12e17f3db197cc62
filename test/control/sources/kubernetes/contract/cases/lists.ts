/** Lists: their form, order, pages and versions. */
import { METADATA, METADATA_LIST, type Case, type Scene } from '../scene.ts';

const some = async (s: Scene, plural: string, names: readonly string[]): Promise<void> => {
  for (const name of names) await s.post(plural, name, plural === 'widgets' ? { spec: {} } : {});
};

export const LISTS: readonly Case[] = [
  {
    name: 'an empty list',
    run: async (s) => {
      const { status, body } = await s.list('configmaps');
      return [status, body.kind, body.apiVersion, body.items, /^\d+$/.test(body.metadata.resourceVersion as string)];
    },
    gives: [200, 'ConfigMapList', 'v1', [], true],
  },
  {
    name: 'a list in a namespace that is not there',
    run: async (s) => {
      const { status, body } = await s.wire.ask('GET', `/api/v1/namespaces/${s.ns}-not/configmaps`);
      return [status, body.items];
    },
    gives: [200, []],
  },
  {
    name: 'items of a built-in type carry no type',
    run: async (s) => {
      await some(s, 'configmaps', ['a']);
      const { body } = await s.list('configmaps');
      return [body.kind, 'kind' in body.items[0], 'apiVersion' in body.items[0]];
    },
    gives: ['ConfigMapList', false, false],
  },
  {
    name: 'items of a custom type do',
    run: async (s) => {
      await some(s, 'widgets', ['a']);
      const { body } = await s.list('widgets');
      return [body.kind, body.apiVersion, body.items[0].kind, body.items[0].apiVersion];
    },
    gives: ['WidgetList', 'contract.spooky.dev/v1', 'Widget', 'contract.spooky.dev/v1'],
  },
  {
    name: 'an object that is read by name has its type',
    run: async (s) => {
      await some(s, 'configmaps', ['a']);
      const { body } = await s.get('configmaps', 'a');
      return [body.kind, body.apiVersion];
    },
    gives: ['ConfigMap', 'v1'],
  },
  {
    name: 'items are in the order of their names',
    run: async (s) => {
      await some(s, 'configmaps', ['b', 'a.b', 'c', 'a', 'a-b']);
      return s.names(await s.list('configmaps'));
    },
    gives: ['a', 'a-b', 'a.b', 'b', 'c'],
  },
  {
    name: 'pages: sizes, what remains, one version',
    run: async (s) => {
      await some(s, 'widgets', ['a', 'b', 'c', 'd', 'e']);
      const pages: unknown[] = [];
      const versions = new Set<string>();
      let token = '';
      for (let i = 0; i < 5; i++) {
        const page = await s.list('widgets', `limit=2${token === '' ? '' : `&continue=${token}`}`);
        versions.add(page.body.metadata.resourceVersion as string);
        pages.push([s.names(page), page.body.metadata.remainingItemCount ?? 'none']);
        token = (page.body.metadata.continue as string | undefined) ?? '';
        if (token === '') break;
      }
      return [pages, versions.size];
    },
    gives: [
      [
        [['a', 'b'], 3],
        [['c', 'd'], 1],
        [['e'], 'none'],
      ],
      1,
    ],
  },
  {
    name: 'later pages do not see what happened since the first',
    run: async (s) => {
      await some(s, 'configmaps', ['a', 'b', 'c', 'd']);
      const first = await s.list('configmaps', 'limit=2');
      await s.delete('configmaps', 'c');
      await some(s, 'configmaps', ['e']);
      const second = await s.list('configmaps', `limit=2&continue=${first.body.metadata.continue as string}`);
      return [s.names(second), second.body.metadata.continue ?? 'none'];
    },
    gives: [['c', 'd'], 'none'],
  },
  {
    name: 'a limit that everything fits in',
    run: async (s) => {
      await some(s, 'configmaps', ['a', 'b']);
      const { body } = await s.list('configmaps', 'limit=2');
      return [body.items.length, body.metadata.continue ?? 'none', body.metadata.remainingItemCount ?? 'none'];
    },
    gives: [2, 'none', 'none'],
  },
  {
    name: 'with a selector nobody counts what remains',
    run: async (s) => {
      for (const name of ['a', 'b', 'c']) await s.post('configmaps', name, { metadata: { labels: { x: name === 'b' ? 'n' : 'y' } } });
      const { body } = await s.list('configmaps', 'limit=1&labelSelector=x%3Dy');
      const second = await s.list('configmaps', `limit=1&labelSelector=x%3Dy&continue=${body.metadata.continue as string}`);
      return [body.metadata.remainingItemCount ?? 'none', s.names(second), second.body.metadata.continue ?? 'none'];
    },
    gives: ['none', ['c'], 'none'],
  },
  {
    name: 'a continue token of nobody',
    run: async (s) => s.brief(await s.list('configmaps', 'limit=1&continue=abc')),
    gives: '400 BadRequest',
  },
  {
    name: 'a continue token with a version beside it',
    run: async (s) => {
      await some(s, 'configmaps', ['a', 'b']);
      const { body } = await s.list('configmaps', 'limit=1');
      const rest = `limit=1&continue=${body.metadata.continue as string}`;
      const with0 = await s.list('configmaps', `${rest}&resourceVersion=0`);
      const with5 = await s.list('configmaps', `${rest}&resourceVersion=5`);
      return [s.brief(with0), s.full(with5)];
    },
    gives: ['200', '400 BadRequest: specifying resource version is not allowed when using continue'],
  },
  {
    name: 'version 0 and the version of now',
    run: async (s) => {
      await some(s, 'configmaps', ['a']);
      const version = await s.version('configmaps');
      return [s.brief(await s.list('configmaps', 'resourceVersion=0')), s.names(await s.list('configmaps', `resourceVersion=${version}`))];
    },
    gives: ['200', ['a']],
  },
  {
    name: 'a version of the future',
    run: async (s) => {
      const answer = await s.list('configmaps', 'resourceVersion=99999999');
      return [s.brief(answer), answer.body.details.retryAfterSeconds, answer.body.details.causes[0].reason];
    },
    gives: ['504 Timeout', 1, 'ResourceVersionTooLarge'],
  },
  {
    name: 'a version that is no number',
    run: async (s) => s.full(await s.list('configmaps', 'resourceVersion=abc')),
    gives:
      '400 BadRequest: invalid resource version: resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax',
  },
  {
    name: 'exactly an earlier version',
    run: async (s) => {
      await some(s, 'configmaps', ['a', 'b']);
      const version = await s.version('configmaps');
      await s.delete('configmaps', 'a');
      await s.patch('configmaps', 'b', 'application/merge-patch+json', { data: { x: 'y' } });
      await some(s, 'configmaps', ['c']);
      const answer = await s.list('configmaps', `resourceVersion=${version}&resourceVersionMatch=Exact`);
      return [s.names(answer), answer.body.items[1].data ?? 'none', answer.body.metadata.resourceVersion === version];
    },
    gives: [['a', 'b'], 'none', true],
  },
  {
    name: 'no older than an earlier version',
    run: async (s) => {
      const version = await s.version('configmaps');
      await some(s, 'configmaps', ['a']);
      const newer = Number(await s.version('configmaps'));
      const answer = await s.list('configmaps', `resourceVersion=${version}&resourceVersionMatch=NotOlderThan`);
      return [answer.status, Number(answer.body.metadata.resourceVersion) <= newer];
    },
    gives: [200, true],
  },
  {
    name: 'a limit makes an earlier version exact',
    run: async (s) => {
      await some(s, 'configmaps', ['a', 'b']);
      const version = await s.version('configmaps');
      await s.delete('configmaps', 'a');
      const answer = await s.list('configmaps', `resourceVersion=${version}&limit=1`);
      return [s.names(answer), answer.body.metadata.resourceVersion === version];
    },
    gives: [['a'], true],
  },
  {
    name: 'exactly, without a version',
    run: async (s) => s.full(await s.list('configmaps', 'resourceVersionMatch=Exact')),
    gives:
      '422 Invalid: ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided',
  },
  {
    name: 'exactly version 0',
    run: async (s) => s.full(await s.list('configmaps', 'resourceVersion=0&resourceVersionMatch=Exact')),
    gives:
      '422 Invalid: ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
  },
  {
    name: 'a match that does not exist',
    run: async (s) => s.full(await s.list('configmaps', 'resourceVersion=5&resourceVersionMatch=Newest')),
    gives:
      '422 Invalid: ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Unsupported value: "Newest": supported values: "Exact", "NotOlderThan", ""',
  },
  {
    name: 'initial events are for watches',
    run: async (s) => s.full(await s.list('configmaps', 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan')),
    gives:
      '422 Invalid: ListOptions.meta.k8s.io "" is invalid: [resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided, sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list]',
  },
  {
    name: 'metadata alone, of a list',
    run: async (s) => {
      await s.post('configmaps', 'a', { metadata: { labels: { x: 'y' } }, data: { k: 'v' } });
      const { body } = await s.list('configmaps', '', { accept: METADATA_LIST });
      return [body.kind, body.apiVersion, Object.keys(body.items[0]).sort(), body.items[0].metadata.labels];
    },
    gives: ['PartialObjectMetadataList', 'meta.k8s.io/v1', ['apiVersion', 'kind', 'metadata'], { x: 'y' }],
  },
  {
    name: 'metadata alone, of an object',
    run: async (s) => {
      await some(s, 'widgets', ['a']);
      const { body } = await s.get('widgets', 'a', { accept: METADATA });
      return [body.kind, body.apiVersion, Object.keys(body).sort()];
    },
    gives: ['PartialObjectMetadata', 'meta.k8s.io/v1', ['apiVersion', 'kind', 'metadata']],
  },
  {
    name: 'metadata alone, asked for in the wrong form',
    run: async (s) => {
      const seen: string[] = [];
      for (const plural of ['configmaps', 'widgets']) {
        await some(s, plural, ['a']);
        seen.push(s.full(await s.list(plural, '', { accept: METADATA })), s.full(await s.get(plural, 'a', { accept: METADATA_LIST })));
      }
      return seen;
    },
    gives: [
      '406 NotAcceptable: you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)',
      '406 NotAcceptable: you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)',
      '406 NotAcceptable: you requested PartialObjectMetadata, but the requested object is a list (*unstructured.UnstructuredList)',
      '500: content is not a list',
    ],
  },
  {
    name: 'the version of a list grows with writes of other kinds',
    run: async (s) => {
      const before = Number(await s.version('widgets'));
      await some(s, 'configmaps', ['a']);
      const written = Number((await s.get('configmaps', 'a')).body.metadata.resourceVersion);
      return [written > before, Number(await s.version('widgets')) >= written];
    },
    gives: [true, true],
  },
  {
    name: 'a list over all namespaces is in the order of namespaces',
    run: async (s) => {
      const other = `${s.ns}-b`;
      await s.wire.ask('POST', '/api/v1/namespaces', { body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: other } } });
      const labels = { scene: s.ns };
      const body = (name: string): object => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels } });
      await s.wire.ask('POST', `/api/v1/namespaces/${other}/configmaps`, { body: body('a') });
      await s.post('configmaps', 'z', { metadata: { labels } });
      const answer = await s.wire.ask('GET', `/api/v1/configmaps?labelSelector=scene%3D${s.ns}`);
      return s.names(answer);
    },
    gives: ['a', 'z'],
  },
  {
    name: 'a resource that the core does not have',
    run: async (s) => s.full(await s.wire.ask('GET', '/api/v1/nopes')),
    gives: '404 NotFound: the server could not find the requested resource',
  },
  {
    name: 'groups, versions and custom resources that are not there',
    run: async (s) => {
      const paths = ['/apis/nope.dev/v1/things', '/apis/contract.spooky.dev/v1/things', '/apis/contract.spooky.dev/v9/widgets', '/nope'];
      const answers = await Promise.all(paths.map((path) => s.wire.ask('GET', path)));
      return answers.map(({ status, type, body }) => [status, type.split(';')[0], body]);
    },
    gives: [
      [404, 'text/plain', '404 page not found\n'],
      [404, 'text/plain', '404 page not found\n'],
      [404, 'text/plain', '404 page not found\n'],
      [404, 'text/plain', '404 page not found\n'],
    ],
  },
  {
    name: 'one object by its name',
    run: async (s) => {
      await some(s, 'configmaps', ['a', 'b']);
      return [s.full(await s.get('configmaps', 'zz')), (await s.get('configmaps', 'a')).body.metadata.name];
    },
    gives: ['404 NotFound: configmaps "zz" not found', 'a'],
  },
];
