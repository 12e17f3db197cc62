/** Spooky as users run it, on one of its engines. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOST } from '../h2load.ts';
import { freeUdpPort, Program } from '../program.ts';
import { PATHS, routeHost } from '../rows.ts';
import { CPU, ROOT, type Ask, type Setting, type Subject } from '../setting.ts';

const upstream = (name: string, hostname: string, backend: string, rest = ''): string => `---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: ${name}}
spec:
  hostnames: ["${hostname}"]${rest}
  backends: [{addresses: [{address: "${backend}"}]}]
`;

/** Limits stay on; only what one load generator on one address would run into is raised. Three more Upstreams make the router choose. */
export const spookyDocuments = (s: Setting, port: number, ask: Ask): string =>
  `apiVersion: spooky.dev/v1alpha1
kind: Listener
metadata: {name: public}
spec:
  addresses: ["127.0.0.1"]
  port: ${port}
  tls: {certificateRefs: [{files: {cert: ${s.cert}, key: ${s.key}}}]}
  quic: {idleTimeout: 5m}
  limits: {connectionsPerAddress: 20000}
` +
  upstream(
    'bodies',
    HOST,
    ask.backend,
    `\n  matches: [{path: {type: Exact, value: ${PATHS.large}}}, {path: {value: ${PATHS.upload}}, methods: [POST]}]`,
  ) +
  upstream('small', HOST, ask.backend) +
  upstream('others', `*.${HOST}`, ask.backend) +
  Array.from({ length: ask.routes }, (_, i) => upstream(`r${i}`, routeHost(i, HOST), ask.backend)).join('');

const FLAGS = '--log-format json --log-level info --access-log off --metrics 127.0.0.1:0 --admin 127.0.0.1:0 --drain-timeout 1s';

interface Ready {
  readonly listeners: readonly { readonly addresses: readonly string[] }[];
  readonly admin: string;
  readonly engine: string;
  readonly engineVersion: string;
}

export const readyOf = (line: string): Ready | undefined => {
  if (!line.startsWith('{') || !line.includes('"ready"')) return undefined;
  const json = JSON.parse(line) as Ready & { msg?: string };
  return json.msg === 'ready' ? json : undefined;
};

export interface SpookyOptions {
  readonly engine: string;
  /** What it is called in the table. */
  readonly name: string;
  /** The checkout that it is built in. */
  readonly root?: string;
  /** Another addon than that of the checkout. */
  readonly addon?: string;
  /** Lets an inspector be opened in the worker. */
  readonly inspect?: boolean;
}

interface Worker {
  readonly pid: number;
  readonly connections?: number;
}

export interface SpookySubject extends Subject {
  readonly program: Program;
  /** Client connections of each worker; null where it does not tell. */
  connections(): Promise<readonly number[] | null>;
}

async function workersOf(admin: string): Promise<readonly Worker[]> {
  return ((await (await fetch(`http://${admin}/admin/workers`)).json()) as { workers: Worker[] }).workers;
}

export async function startSpooky(s: Setting, ask: Ask, o: SpookyOptions): Promise<SpookySubject> {
  const dir = join(s.dir, ask.folder);
  mkdirSync(dir);
  const port = await freeUdpPort();
  writeFileSync(join(dir, 'spooky.yaml'), spookyDocuments(s, port, ask));
  const env = {
    ...(o.inspect === true ? { NODE_OPTIONS: '--inspect-port=0' } : {}),
    ...(o.addon === undefined ? {} : { SPOOKY_NATIVE: o.addon }),
  };
  const args = `serve --config ${join(dir, 'spooky.yaml')} --engine ${o.engine} --workers ${ask.workers} ${FLAGS}`;
  const program = new Program(join(o.root ?? ROOT, 'bin', 'spooky'), args.split(' '), { cpu: CPU.proxy, env });
  const ready = await program.waitFor(readyOf);
  if (ready.engine !== o.engine) throw new Error(`--engine ${o.engine} runs ${ready.engine}`);
  const workers = await workersOf(ready.admin);
  return {
    name: o.name,
    version: ready.engineVersion,
    port,
    root: program.pid,
    workers: workers.map((w) => w.pid),
    program,
    connections: async () => {
      const counts = (await workersOf(ready.admin)).map((w) => w.connections);
      return counts.every((n) => n !== undefined) ? counts : null;
    },
    stop: () => program.stop(),
  };
}
