/** Credentials from kubeconfig files. The only importer of the Kubernetes client, which costs 75 MB of memory: in a pod it is not needed. */
import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { dirname } from 'node:path';
import type { Cluster, KubeConfig, User } from '@kubernetes/client-node';
import type { Clock } from '../../../lib/clock.ts';
import { err, ok, type Result } from '../../../lib/result.ts';
import { identityOf, REREAD_MS, type Access, type Credentials, type CredentialsLog, type TlsMaterial } from './access.ts';
import { cleanMessage, messageOf } from './answers.ts';

/** A plugin may ask a user; a hanging one must not hang us. */
const PLUGIN_MS = 30_000;
/** A server that always refuses does not make us start plugins without end. */
const RENEW_MS = 5000;

/** What is said to the user, as it is. */
class KubeconfigError extends Error {}

const faultOf = (e: unknown): string => messageOf(e).split('\\u000a', 1)[0] ?? '';

interface Chosen {
  readonly config: KubeConfig;
  readonly server: URL;
  readonly context: string;
  readonly namespace: string;
  /** It gets its credentials from a program, or over the network: not each minute. */
  readonly plugin: boolean;
}

const read = async (file: string): Promise<string> => {
  try {
    return await readFile(file, 'utf8');
  } catch (e) {
    throw new KubeconfigError(`the kubeconfig cannot be read: ${faultOf(e)}`);
  }
};

const parse = async (files: readonly string[]): Promise<KubeConfig> => {
  const { KubeConfig } = await import('@kubernetes/client-node');
  let all: KubeConfig | null = null;
  for (const file of files) {
    const text = await read(file);
    const one = new KubeConfig();
    try {
      one.loadFromString(text);
      one.makePathsAbsolute(dirname(file));
      if (all !== null) all.mergeConfig(one, all.currentContext !== undefined);
    } catch (e) {
      throw new KubeconfigError(`${file} is not a kubeconfig: ${text.trim() === '' ? 'it is empty' : faultOf(e)}`);
    }
    all ??= one;
  }
  if (all === null) throw new KubeconfigError('no kubeconfig is named');
  return all;
};

const serverOf = (cluster: Cluster, where: string): URL => {
  if (!URL.canParse(cluster.server)) throw new KubeconfigError(`${where}: server ${JSON.stringify(cluster.server)} is no URL`);
  const server = new URL(cluster.server);
  // Credentials would be readable on the way.
  if (server.protocol !== 'https:') throw new KubeconfigError(`${where}: server ${cleanMessage(cluster.server)} is not https`);
  if (cluster.proxyUrl !== undefined) throw new KubeconfigError(`${where}: proxy-url is not supported`);
  return server;
};

const choose = (config: KubeConfig, files: readonly string[], context: string | null): Chosen => {
  const name = context ?? config.getCurrentContext();
  const where = files.join(', ');
  const names = config.getContexts().map((c) => c.name);
  const known = names.length === 0 ? 'it has none' : `it has ${names.slice(0, 20).join(', ')}`;
  if (typeof name !== 'string' || name === '')
    throw new KubeconfigError(`${where} has no current context: name one with --context (${known})`);
  const chosen = config.getContextObject(name);
  if (chosen === null) throw new KubeconfigError(`${where} has no context ${JSON.stringify(name)}: ${known}`);
  const cluster = config.getCluster(chosen.cluster);
  if (cluster === null)
    throw new KubeconfigError(
      `context ${JSON.stringify(name)} of ${where} names cluster ${JSON.stringify(chosen.cluster)}, which is not there`,
    );
  const user: User | null = config.getUser(chosen.user);
  if (user === null)
    throw new KubeconfigError(`context ${JSON.stringify(name)} of ${where} names user ${JSON.stringify(chosen.user)}, which is not there`);
  config.setCurrentContext(name);
  const server = serverOf(cluster, `cluster ${JSON.stringify(cluster.name)} of ${where}`);
  const plugin = user.exec !== undefined || (user.authProvider !== undefined && user.authProvider !== null);
  return { config, server, context: name, namespace: chosen.namespace ?? 'default', plugin };
};

const basic = (auth: string): string => `Basic ${Buffer.from(auth).toString('base64')}`;

const accessOf = (server: URL, options: RequestOptions): Access => {
  const { ca, cert, key, rejectUnauthorized, servername } = options as RequestOptions & TlsMaterial;
  const tls: TlsMaterial = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(servername === undefined ? {} : { servername }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
  };
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = String(value).trim();
  if (typeof options.auth === 'string') headers['authorization'] = basic(options.auth);
  return { server, headers, tls, identity: identityOf(server, tls) };
};

class FileCredentials implements Credentials {
  readonly inCluster = false;
  readonly namespace: string;
  private readonly files: readonly string[];
  private readonly context: string | null;
  private readonly clock: Clock;
  private readonly log: CredentialsLog | null;
  private chosen: Chosen;
  private now: Access | null = null;
  private readAt = 0;
  private renewedAt = -Infinity;
  private reading: Promise<void> | null = null;
  private failing = '';

  constructor(files: readonly string[], context: string | null, chosen: Chosen, clock: Clock, log: CredentialsLog | null) {
    this.files = files;
    this.context = context;
    this.chosen = chosen;
    this.namespace = chosen.namespace;
    this.clock = clock;
    this.log = log;
  }

  /** The first time it must succeed. */
  async load(): Promise<void> {
    this.now = await this.apply(this.chosen);
    this.readAt = this.clock.now();
  }

  async access(): Promise<Access> {
    // A plugin is asked each time: the client remembers its answer until that expires.
    if (this.clock.now() - this.readAt >= REREAD_MS) await this.again(!this.chosen.plugin);
    return this.now as Access;
  }

  async renew(): Promise<void> {
    if (this.clock.now() - this.renewedAt < RENEW_MS) return;
    this.renewedAt = this.clock.now();
    await this.again(true);
  }

  private again(files: boolean): Promise<void> {
    this.reading ??= this.reread(files).finally(() => {
      this.reading = null;
    });
    return this.reading;
  }

  private async reread(files: boolean): Promise<void> {
    this.readAt = this.clock.now();
    try {
      const chosen = files ? choose(await parse(this.files), this.files, this.context) : this.chosen;
      this.now = await this.apply(chosen);
      this.chosen = chosen;
      this.failing = '';
    } catch (e) {
      const error = faultOf(e);
      if (error !== this.failing) this.log?.warn('the kubeconfig cannot be read again: the last state stays', { error });
      this.failing = error;
    }
  }

  private async apply({ config, server, context }: Chosen): Promise<Access> {
    const options: RequestOptions = {};
    let cancel = (): void => {};
    const late = new Promise<never>((_, reject) => {
      cancel = this.clock.after(PLUGIN_MS, () => reject(new Error(`no answer within ${PLUGIN_MS / 1000} s`)));
    });
    try {
      await Promise.race([config.applyToHTTPSOptions(options), late]);
    } catch (e) {
      throw new KubeconfigError(`the credentials of context ${JSON.stringify(context)} are not to be had: ${faultOf(e)}`, { cause: e });
    } finally {
      cancel();
    }
    return accessOf(server, options);
  }
}

export const fromKubeconfig = async (
  files: readonly string[],
  context: string | null,
  clock: Clock,
  log: CredentialsLog | null,
): Promise<Result<Credentials, string>> => {
  try {
    const credentials = new FileCredentials(files, context, choose(await parse(files), files, context), clock, log);
    await credentials.load();
    return ok(credentials);
  } catch (e) {
    return err(e instanceof KubeconfigError ? e.message : `the kubeconfig cannot be used: ${faultOf(e)}`);
  }
};
