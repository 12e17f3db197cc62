/** One request: who, what, may they, and the answer. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { denial, serviceAccount, type Access, type Attributes, type User } from './access.ts';
import {
  formOf,
  isList,
  isNoList,
  isSelected,
  listOptions,
  newCall,
  parsed,
  readBody,
  targetOf,
  verbOf,
  type Call,
  type Target,
} from './asking.ts';
import { discover } from './discovery.ts';
import type { Faults } from './faults.ts';
import { CUSTOM_RESOURCES, type Kinds } from './kinds.ts';
import { kindsOf } from './custom.ts';
import { isPlain, objectKey, type KubeObject, type Plain } from './model.ts';
import { checkListOptions, list, metadataOnly, parseVersion } from './reads.ts';
import { predicate } from './selectors.ts';
import { badRequest, forbidden, methodNotAllowed, notFound, Refusal, unauthorized, unsupportedMedia, type StatusBody } from './status.ts';
import type { Store } from './store.ts';
import { WatchStream } from './watches.ts';
import { create, patch, remove, update, type DeleteOptions, type WriteContext } from './writes.ts';

export interface HandlerOptions {
  readonly store: Store;
  readonly kinds: Kinds;
  readonly access: Access;
  readonly faults: Faults;
  readonly streams: Set<WatchStream>;
  readonly calls: Call[];
  readonly watchLists: () => boolean;
  readonly bookmarkMs: number;
  readonly now: () => number;
}

const MAX_CALLS = 200_000;

export class Handler {
  readonly #o: HandlerOptions;

  constructor(options: HandlerOptions) {
    this.#o = options;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    const url = new URL(path, 'https://fake');
    const method = request.method ?? 'GET';
    const query = url.searchParams;
    const watch = method === 'GET' && ['true', '1'].includes(query.get('watch') ?? '');
    const call: Call = this.#log(request, path, method);
    response.on('close', () => (call.status ||= response.headersSent ? response.statusCode : 0));
    response.on('finish', () => (call.status = response.statusCode));
    try {
      const body = await readBody(request);
      if (request.headers['content-type'] === 'application/vnd.kubernetes.protobuf')
        throw unsupportedMedia(['application/json', 'application/yaml']);
      (call as { body: unknown }).body = body.length === 0 ? null : parsed(body, request.headers['content-type']);
      const spoil = this.#o.faults.take({ method, path, watch });
      if (spoil !== undefined && (await spoil(response)) === 'answered') return;
      const user = this.#authenticate(request);
      (call as { user: string }).user = user.name;
      this.#answer({ request, response, url, method, query, watch, body, user, call });
    } catch (cause) {
      if (response.headersSent || response.destroyed) return;
      if (cause instanceof Refusal) this.#json(response, cause.body.code, cause.body, { method, path, watch });
      else
        this.#json(response, 500, new Refusal(500, 'InternalError', `fake API server: ${String((cause as Error).stack)}`).body, {
          method,
          path,
          watch,
        });
    }
  }

  #log(request: IncomingMessage, path: string, method: string): Call {
    const { calls } = this.#o;
    const call = newCall(request, path, method, this.#o.now());
    calls.push(call);
    if (calls.length > MAX_CALLS) calls.splice(0, MAX_CALLS / 2);
    return call;
  }

  #authenticate(request: IncomingMessage): User {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const user = this.#o.access.user(token);
    if (user === undefined) throw unauthorized();
    return user;
  }

  #answer(a: Asked): void {
    const asked = { method: a.method, path: a.call.path, watch: a.watch };
    const parts = a.url.pathname
      .split('/')
      .filter((part) => part !== '')
      .map(decodeURIComponent);
    if (['readyz', 'livez', 'healthz'].includes(parts[0] ?? '')) return text(a.response, 200, 'ok');
    const found = discover(parts, this.#o.kinds);
    if (found !== null) return this.#json(a.response, 200, found, asked);
    if (a.url.pathname === '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews') return this.#review(a, asked);
    const target = targetOf(this.#o.kinds, parts);
    if (target === null) return text(a.response, 404, '404 page not found\n');
    this.#authorize(a, target);
    if (a.watch && target.name === '') return this.#watch(a, target);
    if (a.method === 'GET') return this.#json(a.response, 200, target.name === '' ? this.#list(a, target) : this.#get(a, target), asked);
    const { code, body } = this.#write(a, target);
    this.#json(a.response, code, body, asked);
  }

  #authorize({ method, watch, query, user, call }: Asked, target: Target): void {
    const byField = /(?:^|,)metadata\.name==?([^,]+)/.exec(query.get('fieldSelector') ?? '')?.[1] ?? '';
    const wanted: Attributes = {
      verb: verbOf(method, target.name !== '', watch),
      group: target.kind.group,
      resource: target.kind.plural,
      subresource: target.subresource,
      namespace: target.namespace ?? null,
      name: target.name === '' ? byField : target.name,
    };
    Object.assign(call, wanted);
    // A Namespace is in itself, for an authorizer.
    const scoped =
      target.kind.plural === 'namespaces' && target.kind.group === '' && target.name !== ''
        ? { ...wanted, namespace: target.name }
        : wanted;
    if (!this.#o.access.allowed(user, scoped)) throw forbidden(target.kind, target.name, denial(user, scoped));
  }

  #review(a: Asked, asked: { method: string; path: string; watch: boolean }): void {
    const body = a.call.body as { spec?: { resourceAttributes?: Partial<Attributes> } } | null;
    const wanted = body?.spec?.resourceAttributes ?? {};
    const allowed = this.#o.access.allowed(a.user, {
      verb: wanted.verb ?? '',
      group: wanted.group ?? '',
      resource: wanted.resource ?? '',
      subresource: wanted.subresource ?? '',
      namespace: wanted.namespace || null,
      name: wanted.name ?? '',
    });
    const review = {
      kind: 'SelfSubjectAccessReview',
      apiVersion: 'authorization.k8s.io/v1',
      metadata: {},
      spec: body?.spec,
      status: { allowed },
    };
    this.#json(a.response, 201, review, asked);
  }

  #list({ query, request }: Asked, { kind, namespace }: Target): Plain {
    const accepts = predicate(kind, namespace ?? null, query.get('labelSelector') ?? '', query.get('fieldSelector') ?? '');
    const form = formOf(request);
    if (form === 'metadata') throw isList(kind);
    return list(this.#o.store, kind, accepts, isSelected(query), listOptions(query), form === 'metadata list');
  }

  #get({ request }: Asked, { kind, namespace, name }: Target): Plain {
    const object = this.#o.store.get(kind, objectKey(namespace, name));
    if (object === undefined) throw notFound(kind, name);
    const form = formOf(request);
    if (form === 'metadata list') throw isNoList(kind);
    return form === 'metadata' ? metadataOnly(object) : object;
  }

  #watch({ query, request, response, call }: Asked, { kind, namespace }: Target): void {
    const { store, streams, faults, bookmarkMs } = this.#o;
    const options = listOptions(query);
    checkListOptions(options, true, this.#o.watchLists());
    parseVersion(options.resourceVersion, true);
    const accepts = predicate(kind, namespace ?? null, query.get('labelSelector') ?? '', query.get('fieldSelector') ?? '');
    const stream = new WatchStream(
      response,
      call.path,
      store,
      kind,
      accepts,
      {
        resourceVersion: options.resourceVersion,
        sendInitialEvents: options.sendInitialEvents === 'true',
        bookmarks: query.get('allowWatchBookmarks') === 'true' || query.get('allowWatchBookmarks') === '1',
        timeoutSeconds: Number(query.get('timeoutSeconds') ?? 0) || 1800 + Math.random() * 1800,
        metadata: formOf(request) !== 'whole',
        bookmarkMs,
      },
      faults,
    );
    streams.add(stream);
    stream.onEnd = () => streams.delete(stream);
    stream.start();
  }

  #write(a: Asked, target: Target): { code: number; body: KubeObject | StatusBody | Plain } {
    const { kind, name, subresource } = target;
    const input = a.call.body ?? {};
    const context: WriteContext = {
      store: this.#o.store,
      kind,
      namespace: target.namespace,
      name: name === '' && isPlain(input) && isPlain(input['metadata']) ? String(input['metadata']['name'] ?? '') : name,
      subresource,
      manager: a.query.get('fieldManager') ?? String(a.request.headers['user-agent'] ?? 'unknown').split('/')[0] ?? 'unknown',
      dryRun: a.query.get('dryRun') === 'All',
      strict: a.query.get('fieldValidation') === 'Strict',
      now: this.#o.now,
    };
    if (a.method === 'DELETE') return name === '' ? this.#removeAll(a, target, context) : this.#removed(context, input as DeleteOptions);
    if (a.method === 'POST' && subresource === 'token') return this.#token(context, input as Plain);
    if (!(a.method === 'PATCH' ? isPlain(input) || Array.isArray(input) : isPlain(input))) {
      throw badRequest(`the object provided is unrecognized (must be of type ${kind.kind}): couldn't get version/kind; json parse error`);
    }
    const written = this.#dispatch(a, context, input, name);
    if (kind === CUSTOM_RESOURCES && !context.dryRun && 'spec' in written.body) this.define(written.body as KubeObject);
    return written;
  }

  #dispatch(a: Asked, context: WriteContext, input: unknown, name: string): { code: number; body: KubeObject | StatusBody } {
    if (a.method === 'POST' && name === '') return create(context, input as Plain);
    if (a.method === 'PUT' && name !== '') return update(context, input as Plain);
    if (a.method !== 'PATCH' || name === '') throw methodNotAllowed();
    const type =
      String(a.request.headers['content-type'] ?? '')
        .split(';')[0]
        ?.trim() ?? '';
    if (type === 'application/apply-patch+yaml' && !a.query.get('fieldManager')) {
      throw new Refusal(
        422,
        'Invalid',
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
        { group: 'meta.k8s.io', kind: 'PatchOptions' },
      );
    }
    return patch(context, type, input, a.query.get('force') === 'true');
  }

  #removed(context: WriteContext, options: DeleteOptions): { code: number; body: KubeObject | StatusBody } {
    const { kind, name, store } = context;
    const definition = kind === CUSTOM_RESOURCES ? store.get(kind, name) : undefined;
    const written = remove({ ...context, dryRun: context.dryRun || (options.dryRun ?? []).includes('All') }, options);
    if (definition !== undefined && !context.dryRun) this.undefine(definition);
    return written;
  }

  #removeAll({ query }: Asked, { kind, namespace }: Target, context: WriteContext): { code: number; body: Plain } {
    const accepts = predicate(kind, namespace ?? null, query.get('labelSelector') ?? '', query.get('fieldSelector') ?? '');
    const answer = list(this.#o.store, kind, accepts, isSelected(query), listOptions(query), false);
    for (const item of answer['items'] as KubeObject[]) {
      remove({ ...context, namespace: item.metadata.namespace, name: item.metadata.name }, {});
    }
    return { code: 200, body: answer };
  }

  #token(context: WriteContext, input: Plain): { code: number; body: Plain } {
    const { store, kind, namespace = '', name } = context;
    if (store.get(kind, objectKey(namespace, name)) === undefined) throw notFound(kind, name);
    const token = this.#o.access.issue(serviceAccount(namespace, name));
    const expirationTimestamp = new Date(this.#o.now() + 3_600_000).toISOString();
    return {
      code: 201,
      body: {
        kind: 'TokenRequest',
        apiVersion: 'authentication.k8s.io/v1',
        metadata: { name, namespace },
        spec: input['spec'],
        status: { token, expirationTimestamp },
      },
    };
  }

  /** What a definition describes is served from now on. */
  define(definition: KubeObject): void {
    for (const kind of kindsOf(definition)) this.#o.kinds.add(kind);
  }

  /** Its objects go with a definition, and watches of it end. */
  undefine(definition: KubeObject): void {
    for (const kind of kindsOf(definition)) {
      for (const object of this.#o.store.all(kind)) this.#o.store.remove(kind, objectKey(object.metadata.namespace, object.metadata.name));
      this.#o.kinds.drop(kind);
      for (const stream of this.#o.streams) if (stream.kind.plural === kind.plural && stream.kind.group === kind.group) stream.end();
    }
  }

  #json(response: ServerResponse, code: number, body: unknown, asked: { method: string; path: string; watch: boolean }): void {
    const content = Buffer.from(JSON.stringify(body));
    response.writeHead(code, { 'content-type': 'application/json', 'content-length': content.length });
    if (!this.#o.faults.takeHalfBody(asked)) response.end(content);
    else response.write(content.subarray(0, content.length >> 1), () => response.destroy());
  }
}

interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly method: string;
  readonly query: URLSearchParams;
  readonly watch: boolean;
  readonly body: Buffer;
  readonly user: User;
  readonly call: Call;
}

function text(response: ServerResponse, code: number, body: string): void {
  response.writeHead(code, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(body);
}
