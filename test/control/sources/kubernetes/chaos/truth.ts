/** What is there, in the words of the API server and in those of the source: equal when the source is right. */
import type { KubernetesSource } from '../../../../../src/control/sources/kubernetes/source.ts';
import type { SourceState } from '../../../../../src/control/sources/source.ts';
import { isPlain, type KubeObject, type Plain } from '../../../../kit/apiserver/model.ts';
import { OUR_NAMESPACES } from './churn.ts';
import type { ChaosTarget } from './target.ts';

export type Truth = Readonly<Record<string, Readonly<Record<string, string>>>>;

const SERVICE_NAME = 'kubernetes.io/service-name';

const sortedRecord = (entries: Iterable<readonly [string, string]>): Record<string, string> =>
  Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
const keyed = (objects: readonly KubeObject[], text: (o: KubeObject) => string): Record<string, string> =>
  sortedRecord(objects.map((o) => [`${o.metadata.namespace ?? ''}/${o.metadata.name}`, text(o)]));
const pairs = (map: Iterable<readonly [string, unknown]>): string => JSON.stringify([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
const plain = (value: unknown): Plain => (isPlain(value) ? value : {});
const list = (value: unknown): Plain[] => (Array.isArray(value) ? value.filter(isPlain) : []);

const version = ({ metadata }: KubeObject): string => `${metadata.uid} ${metadata.generation} ${metadata.resourceVersion}`;

/** What else a server has is not looked at. */
const isOurs = (key: string): boolean => OUR_NAMESPACES.includes(key.split('/')[0] as string);
const ours = ({ metadata }: KubeObject): boolean => isOurs(metadata.namespace ?? metadata.name);

export async function serverTruth(target: ChaosTarget): Promise<Truth> {
  const of = async (plural: string): Promise<KubeObject[]> => (await target.list(plural)).filter(ours);
  const [upstreams, listeners, services, slices, namespaces, secrets, configMaps, grants] = (await Promise.all(
    ['upstreams', 'listeners', 'services', 'endpointslices', 'namespaces', 'secrets', 'configmaps', 'referencegrants'].map(of),
  )) as [KubeObject[], KubeObject[], KubeObject[], KubeObject[], KubeObject[], KubeObject[], KubeObject[], KubeObject[]];
  const addressesOf = (service: KubeObject): string => {
    const { namespace, name } = service.metadata;
    const mine = slices.filter((s) => s.metadata.namespace === namespace && s.metadata.labels?.[SERVICE_NAME] === name);
    return addresses(mine.flatMap((s) => list(s['endpoints']).map((e) => String((e['addresses'] as string[])[0]))));
  };
  return {
    upstreams: keyed(upstreams, version),
    listeners: keyed(listeners, version),
    services: keyed(
      services,
      (o) => `${o.metadata.uid} ${JSON.stringify(list(plain(o['spec'])['ports']).map((p) => [p['name'], p['port'], p['targetPort']]))}`,
    ),
    endpoints: keyed(services, addressesOf),
    namespaces: sortedRecord(namespaces.map((o) => [o.metadata.name, pairs(Object.entries(o.metadata.labels ?? {}))])),
    secrets: keyed(secrets, (o) => pairs(Object.entries(plain(o['data'])))),
    configMaps: keyed(configMaps, (o) => pairs(Object.entries(plain(o['data'])))),
    grants: sortedRecord(
      grants.map((o) => [`${o.metadata.namespace ?? ''} ${JSON.stringify(list(plain(o['spec'])['from']).map((f) => f['namespace']))}`, '']),
    ),
  };
}

const addresses = (all: readonly string[]): string => [...new Set(all)].sort().join(' ');

export function sourceTruth(source: KubernetesSource, { set }: SourceState): Truth {
  const { cluster } = set;
  if (cluster === null) throw new Error("the state is no cluster's");
  const known = (
    kind: 'Listener' | 'Upstream',
    objects: Iterable<{
      readonly meta: { readonly namespace: string; readonly name: string; readonly uid: string; readonly generation: number };
    }>,
  ): Record<string, string> =>
    sortedRecord(
      [...objects]
        .filter(({ meta }) => isOurs(meta.namespace))
        .map(({ meta }) => {
          const seen = source.seen({ kind, namespace: meta.namespace, name: meta.name });
          return [`${meta.namespace}/${meta.name}`, `${meta.uid} ${meta.generation} ${seen?.resourceVersion ?? 'unseen'}`] as const;
        }),
    );
  const mine = <T>(map: ReadonlyMap<string, T>): [string, T][] => [...map].filter(([key]) => isOurs(key));
  const services = mine(cluster.services);
  return {
    upstreams: known('Upstream', set.upstreams.values()),
    listeners: known('Listener', set.listeners.values()),
    services: sortedRecord(
      services.map(([key, s]) => [key, `${s.meta.uid} ${JSON.stringify(s.ports.map((p) => [p.name, p.port, p.targetPort]))}`]),
    ),
    endpoints: sortedRecord(
      services.map(([key, { meta }]) => [
        key,
        addresses(source.endpoints.endpoints({ namespace: meta.namespace, name: meta.name, portName: 'web' }).map((e) => e.address)),
      ]),
    ),
    namespaces: sortedRecord(mine(cluster.namespaces).map(([name, labels]) => [name, pairs(labels)])),
    secrets: sortedRecord(
      mine(set.secrets).map(([key, { data }]) => [
        key,
        pairs([...data].map(([name, value]) => [name, Buffer.from(value.reveal()).toString('base64')])),
      ]),
    ),
    configMaps: sortedRecord(mine(set.configMaps).map(([key, { data }]) => [key, pairs(data)])),
    grants: sortedRecord(
      cluster.grants
        .filter((g) => isOurs(g.namespace))
        .map((g) => [`${g.namespace} ${JSON.stringify(g.from.map((f) => f.namespace))}`, '']),
    ),
  };
}
