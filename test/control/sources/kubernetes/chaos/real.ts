/** A real API server as the target of a chaos story: it is killed and started, again and again. */
import { loadCredentials } from '../../../../../src/control/sources/kubernetes/credentials.ts';
import { looseDefinition } from '../../../../kit/apiserver/custom.ts';
import type { KubeObject, Plain } from '../../../../kit/apiserver/model.ts';
import { MERGE } from '../contract/scene.ts';
import { Wire, type Answer } from '../contract/wire.ts';
import type { ChaosTarget, Write } from './target.ts';

/** What test/cluster starts. Our definitions are applied already. */
export interface RealServer {
  readonly kubeconfig: string;
  readonly url: string;
  readonly ca: string;
  readonly adminToken: string;
  /** kill -9. */
  kill(): Promise<void>;
  /** Ready when it resolves. */
  restart(): Promise<void>;
}

const ROOTS: Readonly<Record<string, string>> = {
  upstreams: '/apis/spooky.dev/v1alpha1',
  listeners: '/apis/spooky.dev/v1alpha1',
  endpointslices: '/apis/discovery.k8s.io/v1',
  referencegrants: '/apis/gateway.networking.k8s.io/v1',
};
/** Of a hundred chances to do something. */
const KILLS = 3;

const collection = (plural: string, namespace: string | undefined): string =>
  `${ROOTS[plural] ?? '/api/v1'}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${plural}`;

export async function realTarget(server: RealServer): Promise<ChaosTarget> {
  const wire = new Wire({ url: server.url, ca: server.ca, token: server.adminToken });
  await installGrants(wire);
  let down: Promise<void> | null = null;
  const killed = async (random: () => number): Promise<void> => {
    await server.kill();
    await new Promise((resolve) => setTimeout(resolve, random() * 1000));
    await server.restart();
  };
  return {
    credentials: async (clock, log) => {
      const loaded = await loadCredentials({ kubeconfig: server.kubeconfig, context: null, env: {}, clock, log });
      if (!loaded.ok) throw new Error(loaded.error);
      return loaded.value;
    },
    // Nobody writes while the server is away.
    write: async (write) => {
      if (down === null) await apply(wire, write).catch(ignoreAway);
    },
    list: (plural) => served(wire, plural),
    disturb: async (random) => {
      if (down !== null || random() * 100 >= KILLS) return 'nothing';
      down = killed(random).finally(() => (down = null));
      return 'killed and started';
    },
    heal: async () => {
      await down;
    },
    stop: async () => wire.close(),
  };
}

async function installGrants(wire: Wire): Promise<void> {
  const body = looseDefinition('gateway.networking.k8s.io', ['v1'], 'ReferenceGrant', 'referencegrants');
  await wire.ask('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', { body });
  await served(wire, 'referencegrants');
}

/** A server that is ready still answers for custom resources with errors, as long as it prepares to serve them. */
async function served(wire: Wire, plural: string): Promise<KubeObject[]> {
  for (let i = 0; ; i++) {
    const { status, body } = await wire.ask('GET', collection(plural, undefined));
    if (status === 200) return body.items as KubeObject[];
    if (i === 200) throw new Error(`${plural} are not served: ${status} ${JSON.stringify(body)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const PLURALS: Readonly<Record<string, string>> = {
  Namespace: 'namespaces',
  Upstream: 'upstreams',
  Listener: 'listeners',
  Service: 'services',
  EndpointSlice: 'endpointslices',
  Secret: 'secrets',
  ConfigMap: 'configmaps',
  ReferenceGrant: 'referencegrants',
};

async function apply(wire: Wire, write: Write): Promise<void> {
  if (write.what === 'put') return put(wire, write.object);
  const path = `${collection(write.plural, write.namespace)}/${write.name}`;
  if (write.what === 'remove') await wire.ask('DELETE', path);
  else await wire.ask('PATCH', `${path}/status`, { type: MERGE, body: { status: write.status } });
}

async function put(wire: Wire, object: Plain): Promise<void> {
  const { name, namespace } = object['metadata'] as { name: string; namespace?: string };
  const path = collection(PLURALS[object['kind'] as string] as string, namespace);
  const patched: Answer = await wire.ask('PATCH', `${path}/${name}`, { type: MERGE, body: object });
  if (patched.status === 404) refused(await wire.ask('POST', path, { body: object }));
  else refused(patched);
}

/** A write that the server never takes is a mistake of the story. */
function refused({ status, body }: Answer): void {
  if (status === 422 || status === 400) throw new Error(`refused: ${JSON.stringify(body)}`);
}

function ignoreAway(cause: unknown): void {
  if (cause instanceof Error && cause.message.startsWith('refused')) throw cause;
}
