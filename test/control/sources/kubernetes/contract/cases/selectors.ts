/** Selectors by label and by field. */
import type { Case, Scene } from '../scene.ts';

async function four(s: Scene): Promise<void> {
  await s.post('configmaps', 'a', { metadata: { labels: { tier: 'front', env: 'prod' } } });
  await s.post('configmaps', 'b', { metadata: { labels: { tier: 'front', env: 'test' } } });
  await s.post('configmaps', 'c', { metadata: { labels: { tier: 'back' } } });
  await s.post('configmaps', 'd');
}

const byLabel = (selector: string, gives: readonly string[]): Case => ({
  name: `labels: ${selector}`,
  run: async (s) => {
    await four(s);
    return s.names(await s.list('configmaps', `labelSelector=${encodeURIComponent(selector)}`));
  },
  gives,
});

export const SELECTORS: readonly Case[] = [
  byLabel('tier=front', ['a', 'b']),
  byLabel('tier==front,env!=prod', ['b']),
  byLabel('tier!=front', ['c', 'd']),
  byLabel('env', ['a', 'b']),
  byLabel('!env', ['c', 'd']),
  byLabel('tier in (back, front),env notin (prod)', ['b', 'c']),
  byLabel('tier notin (front)', ['c', 'd']),
  byLabel('', ['a', 'b', 'c', 'd']),
  {
    name: 'labels that cannot be read',
    run: async (s) =>
      Promise.all(['a=b=c', '=', 'x in y'].map(async (t) => s.brief(await s.list('configmaps', `labelSelector=${encodeURIComponent(t)}`)))),
    gives: ['400 BadRequest', '400 BadRequest', '400 BadRequest'],
  },
  {
    name: 'the name and the namespace',
    run: async (s) => {
      await four(s);
      const by = async (t: string): Promise<string[]> => s.names(await s.list('configmaps', `fieldSelector=${encodeURIComponent(t)}`));
      return [
        await by('metadata.name=b'),
        await by('metadata.name!=b'),
        await by(`metadata.namespace=${s.ns},metadata.name=c`),
        await by('metadata.namespace=other'),
      ];
    },
    gives: [['b'], ['a', 'c', 'd'], ['c'], []],
  },
  {
    name: 'the type of a Secret',
    run: async (s) => {
      await s.post('secrets', 'o', {});
      await s.post('secrets', 't', { type: 'kubernetes.io/tls', data: { 'tls.crt': '', 'tls.key': '' } });
      return s.names(await s.list('secrets', 'fieldSelector=type%3Dkubernetes.io%2Ftls'));
    },
    gives: ['t'],
  },
  {
    name: 'a field that a definition makes selectable',
    run: async (s) => {
      await s.post('widgets', 'a', { spec: { color: 'blue', size: 1 } });
      await s.post('widgets', 'b', { spec: { size: 2 } });
      const by = async (t: string): Promise<string[]> => s.names(await s.list('widgets', `fieldSelector=${encodeURIComponent(t)}`));
      return [await by('spec.color=blue'), await by('spec.color=red'), await by('spec.size=2'), await by('spec.color!=blue,spec.size!=2')];
    },
    gives: [['a'], ['b'], ['b'], []],
  },
  {
    name: 'fields that cannot be selected by',
    run: async (s) => [
      s.full(await s.list('widgets', 'fieldSelector=spec.word%3Da')),
      s.full(await s.list('configmaps', 'fieldSelector=data.a%3Db')),
    ],
    gives: [
      '400 BadRequest: field label not supported: spec.word',
      '400 BadRequest: "data.a" is not a known field selector: only "metadata.name", "metadata.namespace"',
    ],
  },
];
