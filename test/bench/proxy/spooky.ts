/** Spooky as users run it, on one of its engines. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOST } from './h2load.ts';
import { Program } from './program.ts';
import { PATHS } from './rows.ts';
import { CPU, ROOT, type Setting, type Subject } from './setting.ts';

/** Limits stay on; only what one load generator on one address would run into is raised. Two more Upstreams make the router choose. */
const documents = (s: Setting, backend: string): string => `
apiVersion: spooky.dev/v1alpha1
kind: Listener
metadata: {name: public}
spec:
  addresses: ["127.0.0.1"]
  port: 0
  tls: {certificateRefs: [{files: {cert: ${s.cert}, key: ${s.key}}}]}
  quic: {idleTimeout: 5m}
  limits: {connectionsPerAddress: 20000}
---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: bodies}
spec:
  hostnames: [${HOST}]
  matches: [{path: {type: Exact, value: ${PATHS.large}}}, {path: {value: ${PATHS.upload}}, methods: [POST]}]
  backends: [{addresses: [{address: "${backend}"}]}]
---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: small}
spec:
  hostnames: [${HOST}]
  backends: [{addresses: [{address: "${backend}"}]}]
---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: others}
spec:
  hostnames: ["*.bench.test"]
  backends: [{addresses: [{address: "${backend}"}]}]
`;

const FLAGS =
  '--workers 1 --log-format json --log-level info --access-log off --metrics 127.0.0.1:0 --admin 127.0.0.1:0 --drain-timeout 1s';

interface Ready {
  readonly listeners: readonly { readonly addresses: readonly string[] }[];
  readonly admin: string;
  readonly engine: string;
  readonly engineVersion: string;
}

const readyOf = (line: string): Ready | undefined => {
  if (!line.startsWith('{') || !line.includes('"ready"')) return undefined;
  const json = JSON.parse(line) as Ready & { msg?: string };
  return json.msg === 'ready' ? json : undefined;
};

export interface SpookyOptions {
  readonly engine: string;
  /** Distinguishes two of the same engine in one run. */
  readonly folder: string;
  /** Lets an inspector be opened in the worker. */
  readonly inspect: boolean;
}

export interface SpookySubject extends Subject {
  readonly program: Program;
}

export async function startSpooky(s: Setting, backend: string, o: SpookyOptions): Promise<SpookySubject> {
  const dir = join(s.dir, o.folder);
  mkdirSync(dir);
  writeFileSync(join(dir, 'spooky.yaml'), documents(s, backend));
  const program = new Program(
    join(ROOT, 'bin', 'spooky'),
    `serve --config ${join(dir, 'spooky.yaml')} --engine ${o.engine} ${FLAGS}`.split(' '),
    { cpu: CPU.proxy, env: o.inspect ? { NODE_OPTIONS: '--inspect-port=0' } : {} },
  );
  const ready = await program.waitFor(readyOf);
  if (ready.engine !== o.engine) throw new Error(`--engine ${o.engine} runs ${ready.engine}`);
  const { workers } = (await (await fetch(`http://${ready.admin}/admin/workers`)).json()) as { workers: { pid: number }[] };
  const port = Number(/:(\d+)/.exec(JSON.stringify(ready.listeners))?.[1] ?? 0);
  return {
    name: o.engine,
    version: ready.engineVersion,
    port,
    workers: workers.map((w) => w.pid),
    main: program.pid,
    program,
    stop: () => program.stop(),
  };
}
