/**
 * A Kubernetes API server in the test's own process, on 127.0.0.1 with TLS and bearer tokens:
 *
 *     const fake = await startApiServer();
 *     fake.create({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace: 'shop' }, spec: { ports: [{ port: 80 }] } });
 *     ... a client with fake.url, fake.ca and fake.token, or with the file fake.kubeconfig() ...
 *     fake.faults.cut();                       // open watches end without a word
 *     fake.faults.status(429, { retryAfter: 1, watch: false, times: 3 });
 *     fake.compact();                          // versions before now are too old: 410
 *     await fake.kill(); await fake.restart(); // kill -9, and back at the same port with the same objects
 *     fake.calls.filter((call) => call.verb === 'patch');
 *     await fake.stop();
 *
 * It knows the core kinds of `kinds.ts`, the definitions in crds/, and any other CustomResourceDefinition that is created. Whether it is like a
 * real one is what test/control/sources/kubernetes/contract/ finds out.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { Access, MASTERS, serviceAccount, type Rule } from './access.ts';
import { looseDefinition } from './custom.ts';
import { Faults } from './faults.ts';
import { Folder, type Identity } from './files.ts';
import { Handler } from './handler.ts';
import type { Call } from './asking.ts';
import { BUILT_IN, Kinds } from './kinds.ts';
import { Listening } from './listening.ts';
import type { KubeObject, Plain } from './model.ts';
import { Objects } from './objects.ts';
import { Store } from './store.ts';
import type { WatchStream } from './watches.ts';

export type { Rule } from './access.ts';
export type { Match } from './faults.ts';
export type { Call } from './asking.ts';
export type { KubeObject, Plain } from './model.ts';

export interface FakeOptions {
  /** Changes of a kind that a watch can go back to. */
  readonly window?: number;
  readonly bookmarkMs?: number;
  /** Watches may begin with a list; true when left out. */
  readonly watchLists?: boolean;
  /** The definitions in crds/; true when left out. */
  readonly crds?: boolean;
  /** Milliseconds since the epoch, for `creationTimestamp` and the like. */
  readonly now?: () => number;
}

const CRDS = resolve(import.meta.dirname, '../../../crds');
const GATEWAY = 'gateway.networking.k8s.io';

export class FakeApiServer {
  readonly store: Store;
  readonly kinds = new Kinds(BUILT_IN);
  readonly access: Access;
  readonly faults: Faults;
  /** Every request, in the order of their arrival. */
  readonly calls: Call[] = [];
  #users = 0;
  /** Of an administrator. */
  token: string;
  /** Off: `sendInitialEvents` is refused, as servers without the feature do. */
  watchLists: boolean;
  readonly #streams = new Set<WatchStream>();
  readonly #listening: Listening;
  readonly #objects: Objects;
  readonly #folder = new Folder();
  readonly #files = new Map<string, Pick<Identity, 'token' | 'namespace'>>();
  #mounted: Pick<Identity, 'token' | 'namespace'> | null = null;

  constructor(options: FakeOptions) {
    const now = options.now ?? Date.now;
    this.store = new Store(options.window === undefined ? {} : { window: options.window });
    this.access = new Access(this.store);
    this.faults = new Faults(this.#streams);
    this.watchLists = options.watchLists ?? true;
    this.token = this.access.issue({ name: 'admin', groups: [MASTERS, 'system:authenticated'] });
    const handler = new Handler({
      store: this.store,
      kinds: this.kinds,
      access: this.access,
      faults: this.faults,
      streams: this.#streams,
      calls: this.calls,
      watchLists: () => this.watchLists,
      bookmarkMs: options.bookmarkMs ?? 60_000,
      now,
    });
    this.#listening = new Listening((request, response) => {
      response.on('error', () => undefined);
      void handler.handle(request, response);
    });
    this.#objects = new Objects(this.store, this.kinds, handler, now);
    for (const name of ['default', 'kube-node-lease', 'kube-public', 'kube-system']) this.#objects.namespace(name);
    if (options.crds ?? true)
      for (const file of readdirSync(CRDS).sort()) this.create(parse(readFileSync(join(CRDS, file), 'utf8')) as Plain);
  }

  get url(): string {
    return `https://127.0.0.1:${this.#listening.port}`;
  }

  get port(): number {
    return this.#listening.port;
  }

  get ca(): string {
    return this.#listening.ca;
  }

  /** Watches that are open now. */
  get watches(): number {
    return this.#streams.size;
  }

  /** Sockets that are open now. */
  get connections(): number {
    return this.#listening.connections;
  }

  create = (object: Plain): KubeObject => this.#objects.create(object);
  replace = (object: Plain): KubeObject => this.#objects.replace(object);
  put = (object: Plain): KubeObject => this.#objects.put(object);
  patch = (plural: string, namespace: string | null, name: string, change: Plain): KubeObject =>
    this.#objects.patch(plural, namespace, name, change);
  setStatus = (plural: string, namespace: string | null, name: string, status: unknown): KubeObject =>
    this.#objects.setStatus(plural, namespace, name, status);
  remove = (plural: string, namespace: string | null, name: string): void => this.#objects.remove(plural, namespace, name);
  get = (plural: string, namespace: string | null, name: string): KubeObject | undefined => this.#objects.get(plural, namespace, name);
  list = (plural: string, namespace: string | null = null): KubeObject[] => this.#objects.list(plural, namespace);
  namespace = (name: string, labels?: Record<string, string>): KubeObject => this.#objects.namespace(name, labels);

  /** ReferenceGrants, as Gateway API's definitions would bring them. */
  installGrants(versions: readonly string[] = ['v1', 'v1beta1']): void {
    this.create(looseDefinition(GATEWAY, versions, 'ReferenceGrant', 'referencegrants'));
  }

  uninstallGrants(): void {
    this.remove('customresourcedefinitions', null, `referencegrants.${GATEWAY}`);
  }

  /** A token of a user who may do this and nothing else. */
  rules(allow: readonly Rule[], user = `user-${this.#users++}`): string {
    this.access.allow(user, allow);
    return this.access.issue({ name: user, groups: ['system:authenticated'] });
  }

  /** Takes Roles, ClusterRoles and their bindings (what else is among the objects is left out); gives a token of `NAMESPACE/NAME`. */
  rbac(objects: readonly Plain[], account: string): string {
    for (const object of objects) if (String(object['apiVersion']).startsWith('rbac.authorization.k8s.io/')) this.put(object);
    const [namespace = 'default', name = 'default'] = account.split('/');
    this.put({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { namespace, name } });
    return this.access.issue(serviceAccount(namespace, name));
  }

  /** The path of a kubeconfig; it is written anew when the token or the authority rotates. */
  kubeconfig(token = this.token, namespace = 'default'): string {
    const name = `kubeconfig-${this.#files.size}`;
    this.#files.set(name, { token, namespace });
    return this.#folder.kubeconfig(name, this.#identity({ token, namespace }));
  }

  /** What a pod has of it: the folder with `token`, `ca.crt` and `namespace`, and the environment. */
  mount(token = this.token, namespace = 'default'): { readonly folder: string; readonly env: Readonly<Record<string, string>> } {
    this.#mounted = { token, namespace };
    const folder = this.#folder.serviceAccount(this.#identity(this.#mounted));
    return { folder, env: { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(this.port) } };
  }

  /** The token is refused from now on; files get a new one, unless `tellFiles` is false: then they get it with `refreshFiles`. */
  rotateToken(old = this.token, { tellFiles = true } = {}): string {
    const user = this.access.revoke(old);
    if (user === undefined) throw new Error('there is no such token');
    const token = this.access.issue(user);
    if (old === this.token) this.token = token;
    for (const [name, file] of this.#files) if (file.token === old) this.#files.set(name, { ...file, token });
    if (this.#mounted?.token === old) this.#mounted = { ...this.#mounted, token };
    if (tellFiles) this.refreshFiles();
    return token;
  }

  /** New connections meet a certificate of another authority; the old ones stay unless they are cut. */
  rotateCa({ tellFiles = true } = {}): void {
    this.#listening.rotate();
    if (tellFiles) this.refreshFiles();
  }

  refreshFiles(): void {
    for (const [name, file] of this.#files) this.#folder.kubeconfig(name, this.#identity(file));
    if (this.#mounted !== null) this.#folder.serviceAccount(this.#identity(this.#mounted));
  }

  /** Every open watch that asked for bookmarks gets one now. */
  bookmark(): void {
    for (const stream of this.#streams) stream.bookmark();
  }

  /** Versions before now are too old, for watches and for pages of lists. */
  compact(): void {
    this.store.compact();
  }

  /** Every connection ends, listening goes on. */
  cutAll(): void {
    this.#listening.cutAll();
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.#listening.kill();
  }

  /** A server that has just started knows no history: watches can begin at what is there, not before. */
  async restart({ history = false } = {}): Promise<void> {
    await this.#listening.kill();
    if (!history) this.store.compact();
    await this.#listening.start();
  }

  async start(): Promise<void> {
    await this.#listening.start();
  }

  async stop(): Promise<void> {
    for (const stream of this.#streams) stream.cut();
    await this.#listening.kill();
    this.#folder.drop();
  }

  #identity(file: Pick<Identity, 'token' | 'namespace'>): Identity {
    return { url: this.url, ca: this.ca, ...file };
  }
}

export async function startApiServer(options: FakeOptions = {}): Promise<FakeApiServer> {
  const fake = new FakeApiServer(options);
  await fake.start();
  return fake;
}
