/** The servers that the suite is for: the fake, and the real one that the environment names. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { startApiServer, type FakeApiServer } from '../../../../kit/apiserver/index.ts';
import { definition } from './widget.ts';
import type { Endpoint, Json, Wire } from './wire.ts';

export interface Server {
  readonly name: string;
  start(): Promise<Endpoint>;
  /** The suite's kinds are served when this resolves. */
  prepare(wire: Wire): Promise<void>;
  stop(): Promise<void>;
}

const LISTENERS = resolve(import.meta.dirname, '../../../../../crds/listeners.yaml');

async function prepare(wire: Wire): Promise<void> {
  const definitions = [definition('widgets', 'Widget'), parse(readFileSync(LISTENERS, 'utf8')) as object];
  for (const body of definitions) {
    const answer = await wire.ask('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', { body });
    if (answer.status !== 201 && answer.status !== 409) throw new Error(`the definition was refused: ${JSON.stringify(answer.body)}`);
  }
  for (const path of ['/apis/contract.spooky.dev/v1/widgets', '/apis/spooky.dev/v1alpha1/listeners']) {
    const served = async (): Promise<boolean> => (await wire.ask('GET', path)).status === 200;
    for (let i = 0; i < 200 && !(await served()); i++) await new Promise((done) => setTimeout(done, 50));
  }
}

function fake(): Server {
  let server: FakeApiServer;
  return {
    name: 'the fake',
    start: async () => {
      server = await startApiServer();
      return { url: server.url, ca: server.ca, token: server.token };
    },
    prepare,
    stop: () => server.stop(),
  };
}

/** Of a kubeconfig with a token and the authority within. */
function real(path: string): Server {
  const config = parse(readFileSync(path, 'utf8')) as Json;
  const {
    server,
    'certificate-authority-data': data,
    'certificate-authority': file,
  } = config.clusters[0].cluster as Record<string, string>;
  const ca = data === undefined ? readFileSync(join(resolve(path, '..'), file as string), 'utf8') : Buffer.from(data, 'base64').toString();
  const endpoint: Endpoint = { url: server as string, ca, token: config.users[0].user.token as string };
  return { name: `a real server, ${endpoint.url}`, start: () => Promise.resolve(endpoint), prepare, stop: () => Promise.resolve() };
}

/** Set by the suite against a real server (make e2e-apiserver), or by hand. */
export const REAL_KUBECONFIG = process.env['SPOOKY_APISERVER_KUBECONFIG'];

export const realServer = (): Server | null => (REAL_KUBECONFIG === undefined || REAL_KUBECONFIG === '' ? null : real(REAL_KUBECONFIG));
export const fakeServer = fake;

export const SERVERS: readonly Server[] = [fake(), ...[realServer()].filter((server) => server !== null)];
