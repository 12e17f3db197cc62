/** Spooky as users run it, on some workers; its configuration and certificate can change while it runs. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeCa, makeLeaf } from '../../kit/certs.ts';
import { HOST } from '../proxy/h2load.ts';
import { Program } from '../proxy/program.ts';
import { PATHS } from '../proxy/rows.ts';
import { ROOT, type Setting } from '../proxy/setting.ts';
import { rssBytes } from '../proxy/stat.ts';
import type { Sample } from './memory.ts';
import type { Options } from './options.ts';

/** `version` shows in a header and in how many Upstreams there are, so that every change is one. */
const documents = (port: number, folder: string, backend: string, version: number): string => `
apiVersion: spooky.dev/v1alpha1
kind: Listener
metadata: {name: public}
spec:
  addresses: ["127.0.0.1"]
  port: ${port}
  tls: {certificateRefs: [{files: {cert: ${join(folder, 'cert.pem')}, key: ${join(folder, 'key.pem')}}}]}
  quic: {idleTimeout: 10m}
  limits: {connections: 100000, connectionsPerAddress: 100000}
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
${Array.from({ length: 1 + (version % 20) }, (_, i) => other(backend, i)).join('')}`;

const other = (backend: string, i: number): string => `---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: other-${i}}
spec:
  hostnames: ["*.other-${i}.test"]
  backends: [{addresses: [{address: "${backend}"}]}]
`;

interface Ready {
  readonly listeners: unknown;
  readonly admin: string;
  readonly metrics: string;
}

const readyOf = (line: string): Ready | undefined => {
  if (!line.startsWith('{') || !line.includes('"ready"')) return undefined;
  const json = JSON.parse(line) as Ready & { msg?: string };
  return json.msg === 'ready' ? json : undefined;
};

const FLAGS = '--log-format json --log-level info --access-log off --metrics 127.0.0.1:0 --admin 127.0.0.1:0 --drain-timeout 1s';

export class Subject {
  readonly port: number;
  readonly #folder: string;
  readonly #backend: string;
  readonly #program: Program;
  readonly #ready: Ready;
  readonly #began = performance.now();
  #workers: readonly number[] = [];
  #version = 0;

  private constructor(folder: string, backend: string, program: Program, ready: Ready) {
    this.#folder = folder;
    this.#backend = backend;
    this.#program = program;
    this.#ready = ready;
    this.port = Number(/:(\d+)/.exec(JSON.stringify(ready.listeners))?.[1] ?? 0);
  }

  static async start(s: Setting, backend: string, o: Options, name: string, port: number): Promise<Subject> {
    const folder = join(s.dir, name);
    mkdirSync(folder);
    certificate(folder);
    put(folder, 'spooky.yaml', documents(port, folder, backend, 0));
    const flags = `serve --config ${join(folder, 'spooky.yaml')} --engine ${o.engine} --workers ${o.workers} ${FLAGS}`;
    const program = new Program(join(ROOT, 'bin', 'spooky'), flags.split(' '), { cpu: '0-1' });
    const subject = new Subject(folder, backend, program, await program.waitFor(readyOf));
    await subject.#findWorkers();
    return subject;
  }

  /** Another configuration than before. */
  reconfigure(): void {
    put(this.#folder, 'spooky.yaml', documents(this.port, this.#folder, this.#backend, ++this.#version));
  }

  /** A new certificate of a new key. */
  swapCertificate(): void {
    certificate(this.#folder);
  }

  sample(): Sample {
    return {
      seconds: (performance.now() - this.#began) / 1000,
      main: rssBytes([this.#program.pid]),
      workers: this.#workers.map((pid) => rssBytes([pid])),
    };
  }

  /** Whether the workers are those of the start: a replaced one would look like memory that came back. */
  async whole(): Promise<boolean> {
    const before = this.#workers.join();
    await this.#findWorkers();
    return this.#workers.join() === before;
  }

  /** The sum of a metric's rows whose labels hold `labels`. */
  async metric(name: string, labels = ''): Promise<number> {
    const text = await (await fetch(`http://${this.#ready.metrics}/metrics`)).text();
    const rows = text.split('\n').filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(labels));
    return rows.reduce((n, line) => n + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  stop(): Promise<void> {
    return this.#program.stop();
  }

  async #findWorkers(): Promise<void> {
    const { workers } = (await (await fetch(`http://${this.#ready.admin}/admin/workers`)).json()) as { workers: { pid: number }[] };
    this.#workers = workers.map((w) => w.pid);
  }
}

/** By a rename: nobody reads half of it. */
function put(folder: string, name: string, text: string | Buffer): void {
  writeFileSync(join(folder, `.${name}`), text);
  renameSync(join(folder, `.${name}`), join(folder, name));
}

function certificate(folder: string): void {
  const leaf = makeLeaf(makeCa('soak'), { names: [HOST] });
  put(folder, 'key.pem', leaf.key);
  put(folder, 'cert.pem', leaf.cert);
}
