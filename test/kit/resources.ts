/** Documents as the set that compile takes, through the schemas but without files and YAML. */
import {
  emptySet,
  listenerSpec,
  objectKey,
  upstreamSpec,
  type FileContent,
  type ObjectMeta,
  type ResourceSet,
} from '../../src/contract/resources/index.ts';
import { Secret } from '../../src/lib/secret.ts';
import type { Document, Gateway } from './documents.ts';

export const metaOf = (d: Document): ObjectMeta => ({
  namespace: d.metadata.namespace ?? 'default',
  name: d.metadata.name,
  uid: '',
  generation: 0,
  created: d.metadata.creationTimestamp === undefined ? 0 : Date.parse(d.metadata.creationTimestamp),
  labels: new Map(),
  // A place that shows the path it was asked for.
  origin: { file: `${d.kind}-${d.metadata.name}.yaml`, locate: (path) => ({ line: path.length + 1, column: 1 }) },
});

export function resourcesOf(
  from: readonly Document[] | Gateway,
  files: Readonly<Record<string, string | { problem: string }>> = {},
): ResourceSet {
  const documents = 'documents' in from ? from.documents() : from;
  const empty = emptySet();
  const set = {
    listeners: new Map(empty.listeners),
    upstreams: new Map(empty.upstreams),
    secrets: new Map(empty.secrets),
    configMaps: new Map(empty.configMaps),
    files: new Map(
      Object.entries(files).map(([path, content]): [string, FileContent] => [
        path,
        typeof content === 'string' ? { ok: true, bytes: Buffer.from(content) } : { ok: false, problem: content.problem },
      ]),
    ),
    cluster: null,
  };
  for (const d of documents) {
    const meta = metaOf(d);
    const key = objectKey(meta.namespace, meta.name);
    if (d.kind === 'Listener') set.listeners.set(key, { meta, spec: listenerSpec.parse(d.spec) });
    else if (d.kind === 'Upstream') set.upstreams.set(key, { meta, spec: upstreamSpec.parse(d.spec) });
    else if (d.kind === 'ConfigMap') set.configMaps.set(key, { meta, data: new Map(Object.entries(d.data as Record<string, string>)) });
    else {
      const data = Object.entries(d.data as Record<string, string>).map(([k, v]): [string, Secret] => [
        k,
        new Secret(Buffer.from(v, 'base64')),
      ]);
      set.secrets.set(key, { meta, type: d.type ?? 'Opaque', data: new Map(data) });
    }
  }
  return set;
}
