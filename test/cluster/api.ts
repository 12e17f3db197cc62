/**
 * A real kube-apiserver with its etcd, by the scripts beside this. One start costs four seconds: a file of tests starts one, isolates its
 * tests by namespaces, and takes new names instead of waiting for a deletion. Namespaces that are deleted stay (`tier: 'control'` for those who need more).
 */
import { afterAll } from '@jest/globals';
import { execFile, spawn } from 'node:child_process';
import { Agent, request } from 'node:https';
import { existsSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../kit/process.ts';

const HARNESS = import.meta.dirname;

export interface ApiOptions {
  /** `control`: with kube-controller-manager. */
  readonly tier?: 'api' | 'control';
  /** The newest release that we test with, or the oldest that we support (`api` alone). */
  readonly release?: 'newest' | 'oldest';
  /** More flags of kube-apiserver. */
  readonly flags?: readonly string[];
  readonly controllerFlags?: readonly string[];
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

function execute(
  file: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; stdin?: string; timeoutMs: number },
): Promise<Ran> {
  return new Promise((resolve) => {
    const limits = { timeout: options.timeoutMs, killSignal: 'SIGKILL', maxBuffer: 256 * 1024 * 1024 } as const;
    const child = execFile(file, args, { ...limits, env: options.env ?? process.env }, (cause, stdout, stderr) => {
      const code = cause === null ? 0 : typeof cause.code === 'number' ? cause.code : 1;
      resolve({ code, stdout, stderr: stderr === '' && cause !== null ? cause.message : stderr });
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.stdin ?? '');
  });
}

let started = 0;

export class Api {
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string;
  readonly url: string;
  /** Certificate of the authority, in PEM. */
  readonly ca: string;
  readonly adminToken: string;
  /** The cluster's folder: logs are in log/, every program as NAME.run, its process as NAME.pid. */
  readonly state: string;
  readonly #env: NodeJS.ProcessEnv;
  #agent = new Agent({ keepAlive: true, maxSockets: 16 });
  #stopped = false;

  constructor(state: string, env: NodeJS.ProcessEnv) {
    this.state = state;
    this.#env = env;
    this.kubeconfig = join(state, 'kubeconfig');
    const text = readFileSync(this.kubeconfig, 'utf8');
    this.url = /server: "([^"]+)"/.exec(text)?.[1] ?? '';
    this.adminToken = /token: (\S+?)\}/.exec(text)?.[1] ?? '';
    this.ca = readFileSync(join(state, 'ca.crt'), 'utf8');
  }

  /** What a program needs to be the administrator: KUBECONFIG, and kubectl and helm on its PATH. */
  get env(): NodeJS.ProcessEnv {
    return { ...this.#env, KUBECONFIG: this.kubeconfig, KUBECACHEDIR: this.#cache };
  }

  /** What kubectl remembers of the kinds that a server has, by default per port and for hours. */
  get #cache(): string {
    return join(this.state, 'cache');
  }

  /** kubectl as the administrator; throws unless it succeeds. */
  async kubectl(args: readonly string[], stdin = ''): Promise<string> {
    const { code, stdout, stderr } = await this.tryKubectl(args, stdin);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr.trim()}`);
    return stdout;
  }

  tryKubectl(args: readonly string[], stdin = ''): Promise<Ran> {
    return execute('kubectl', args, { env: this.env, stdin, timeoutMs: 60_000 });
  }

  /** Any program with `env`. */
  run(file: string, args: readonly string[], options: { stdin?: string; timeoutMs?: number } = {}): Promise<Ran> {
    return execute(file, args, { env: this.env, stdin: options.stdin ?? '', timeoutMs: options.timeoutMs ?? 120_000 });
  }

  /** The same question a thousand times is no matter for processes: one request over HTTPS, by default the administrator's. */
  request(method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const all = {
        authorization: `Bearer ${this.adminToken}`,
        accept: 'application/json',
        'content-type': 'application/json',
        ...headers,
      };
      const asked = request(
        `${this.url}${path}`,
        { method, ca: this.ca, headers: all, timeout: 30_000, agent: this.#agent },
        (response) => {
          let read = '';
          response.setEncoding('utf8');
          response.on('data', (part: string) => (read += part));
          response.once('error', reject);
          response.once('end', () => {
            let parsed: unknown = read;
            try {
              parsed = JSON.parse(read);
            } catch {
              // Not every answer is JSON.
            }
            resolve({ status: response.statusCode ?? 0, body: parsed });
          });
        },
      );
      asked.once('timeout', () => asked.destroy(new Error(`${method} ${path}: no answer within 30 s`)));
      asked.once('error', reject);
      asked.end(text);
    });
  }

  /** A token of a ServiceAccount, `namespace/name`, which is made when it is not there. */
  async token(serviceAccount: string): Promise<string> {
    const [namespace = '', name = ''] = serviceAccount.split('/');
    await this.namespace(namespace);
    await this.request('POST', `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name } });
    const { status, body } = await this.request('POST', `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: 3600 },
    });
    if (status !== 201) throw new Error(`no token for ${serviceAccount}: ${JSON.stringify(body)}`);
    return (body as { status: { token: string } }).status.token;
  }

  /** Makes the namespace, unless it is there. */
  async namespace(name: string, labels: Readonly<Record<string, string>> = {}): Promise<string> {
    const { status, body } = await this.request('POST', '/api/v1/namespaces', { metadata: { name, labels } });
    if (status !== 201 && status !== 409) throw new Error(`no namespace ${name}: ${JSON.stringify(body)}`);
    return name;
  }

  /** Applies our kinds from crds/ and waits until they are served. */
  async crds(): Promise<void> {
    await this.kubectl(['apply', '--server-side', '--validate=strict', '-f', join(HARNESS, '../../crds')]);
    await this.kubectl(['wait', '--for', 'condition=Established', '--timeout=30s', 'crd/listeners.spooky.dev', 'crd/upstreams.spooky.dev']);
    await eventually(async () => {
      for (const plural of ['listeners', 'upstreams']) {
        const { status } = await this.request('GET', `/apis/spooky.dev/v1alpha1/${plural}`);
        if (status !== 200) throw new Error(`${plural}: ${status}`);
      }
    });
    rmSync(this.#cache, { recursive: true, force: true });
  }

  /** kube-apiserver's process; 0 when it was killed. */
  get pid(): number {
    const file = join(this.state, 'kube-apiserver.pid');
    return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
  }

  /** kill -9 of kube-apiserver; etcd keeps what it had. */
  async kill(): Promise<void> {
    const { pid } = this;
    if (pid === 0) return;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
    // Its threads, and with them its sockets, go a little later than its main one.
    await eventually(async () => {
      const cause = await this.request('GET', '/readyz').then(
        () => 'an answer',
        (e: NodeJS.ErrnoException) => e.code,
      );
      if (cause !== 'ECONNREFUSED') throw new Error(`${pid} is not gone: ${cause}`);
    });
    writeFileSync(join(this.state, 'kube-apiserver.pid'), '');
    this.#agent.destroy();
    this.#agent = new Agent({ keepAlive: true, maxSockets: 16 });
  }

  /** kube-apiserver anew on the same port, after `kill` or instead of it; returns when it is ready. */
  async restart(): Promise<void> {
    await this.kill();
    const log = openSync(join(this.state, 'log/kube-apiserver.log'), 'a');
    const child = spawn(join(this.state, 'kube-apiserver.run'), [], { cwd: this.state, detached: true, stdio: ['ignore', log, log] });
    closeSync(log);
    child.unref();
    writeFileSync(join(this.state, 'kube-apiserver.pid'), String(child.pid));
    await this.ready();
  }

  async ready(timeoutMs = 60_000): Promise<void> {
    await eventually(async () => {
      const { status } = await this.request('GET', '/readyz');
      if (status !== 200) throw new Error(`readyz: ${status}`);
    }, timeoutMs);
  }

  /** Ends it and removes its folder; SPOOKY_KEEP_CLUSTER=1 keeps that for reading. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    running.delete(this);
    this.#agent.destroy();
    const keep = process.env['SPOOKY_KEEP_CLUSTER'] !== undefined;
    await execute(join(HARNESS, 'down'), keep ? [] : ['--remove'], { env: this.#env, timeoutMs: 30_000 });
  }
}

const running = new Set<Api>();
afterAll(async () => {
  await Promise.all([...running].map((api) => api.stop()));
}, 60_000);

const HOME =
  process.env['CLUSTER_HOME'] ?? join(process.env['SPOOKY_CACHE'] ?? join(process.env['HOME'] ?? '', '.cache/spooky'), 'cluster');

/** What to do before a server can be started; null when everything is there. */
export function apiMissing(): string | null {
  const assets = process.env['KUBEBUILDER_ASSETS'];
  const there = (name: string): boolean => existsSync(join(HOME, 'bin', name)) || (assets !== undefined && existsSync(join(assets, name)));
  return ['etcd', 'kube-apiserver', 'kubectl'].every(there) ? null : 'test/cluster/build api';
}

/** The same for `release: 'oldest'`. */
export const oldestMissing = (): string | null =>
  existsSync(join(HOME, 'bin/oldest/kube-apiserver')) ? null : 'test/cluster/build oldest';

/** An API server of one's own, stopped after the last test of the file at the latest; it ends with this process in any case. */
export async function startApi(options: ApiOptions = {}): Promise<Api> {
  started += 1;
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    CLUSTER_NAME: `test-${process.pid}-${process.env['JEST_WORKER_ID'] ?? '0'}-${started}-${Date.now().toString(36)}`,
    CLUSTER_RELEASE: options.release ?? 'newest',
    CLUSTER_OWNER: String(process.pid),
    APISERVER_FLAGS: (options.flags ?? []).join(' '),
    CONTROLLER_MANAGER_FLAGS: (options.controllerFlags ?? []).join(' '),
  };
  delete env['CLUSTER_STATE'];
  const { code, stdout, stderr } = await execute(join(HARNESS, 'up'), [options.tier ?? 'api'], { env, timeoutMs: 120_000 });
  const [, kubeconfig = '', path = ''] = /KUBECONFIG=(\S+) PATH=(\S+)/.exec(stdout) ?? [];
  if (code !== 0 || kubeconfig === '') throw new Error(`no API server: ${stderr}`);
  const api = new Api(join(kubeconfig, '..'), { ...env, PATH: path });
  running.add(api);
  return api;
}
