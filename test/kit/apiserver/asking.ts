/** A request, taken apart. */
import type { IncomingMessage } from 'node:http';
import { parse } from 'yaml';
import { NAMESPACES, type Kinds } from './kinds.ts';
import type { Kind } from './model.ts';
import type { ListOptions } from './reads.ts';
import { badRequest, noSuchResource, Refusal } from './status.ts';

export interface Call {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly userAgent: string;
  readonly user: string;
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string | null;
  readonly name: string;
  /** The body of a write. */
  readonly body: unknown;
  /** 0 until there is an answer. */
  status: number;
}

/** Of which nothing is known yet but what was sent. */
export const newCall = (request: IncomingMessage, path: string, method: string, at: number): Call => ({
  at,
  method,
  path,
  userAgent: String(request.headers['user-agent'] ?? ''),
  user: '',
  verb: '',
  group: '',
  resource: '',
  subresource: '',
  namespace: null,
  name: '',
  body: null,
  status: 0,
});

export interface Target {
  readonly kind: Kind;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly subresource: string;
}

/** What a path is about; null: nothing that this server has. */
export function targetOf(kinds: Kinds, parts: readonly string[]): Target | null {
  const [root, ...rest] = parts;
  if (root !== 'api' && root !== 'apis') return null;
  const group = root === 'api' ? '' : (rest.shift() ?? '');
  const version = rest.shift() ?? '';
  if (!kinds.has(group, version)) return null;
  // `/namespaces/x` is a Namespace, `/namespaces/x/services` its Services, `/namespaces/x/status` a part of it.
  const inside = rest[0] === 'namespaces' && rest.length > 2 && !(group === '' && NAMESPACES.subresources.includes(rest[2] as string));
  const namespace = inside ? rest[1] : undefined;
  const [plural = '', name = '', subresource = '', ...more] = inside ? rest.slice(2) : rest;
  const kind = kinds.find(group, version, plural);
  if (kind === undefined) {
    if (isCustomGroup(kinds, group)) return null;
    throw noSuchResource();
  }
  if (more.length > 0 || (subresource !== '' && !kind.subresources.includes(subresource))) throw noSuchResource();
  if (inside && !kind.namespaced) throw noSuchResource();
  if (!inside && kind.namespaced && name !== '') throw noSuchResource();
  return { kind, namespace, name, subresource };
}

const isCustomGroup = (kinds: Kinds, group: string): boolean => kinds.all().some((kind) => kind.group === group && kind.custom);

export const isSelected = (query: URLSearchParams): boolean => Boolean(query.get('labelSelector') ?? query.get('fieldSelector'));

export const listOptions = (query: URLSearchParams): ListOptions => ({
  limit: Number(query.get('limit') ?? 0) || 0,
  continue: query.get('continue') ?? '',
  resourceVersion: query.get('resourceVersion') ?? '',
  resourceVersionMatch: query.get('resourceVersionMatch') ?? '',
  sendInitialEvents: query.get('sendInitialEvents') ?? '',
});

/** What an answer is to be made of. */
export function formOf(request: IncomingMessage): 'whole' | 'metadata' | 'metadata list' {
  const wanted = /as=(PartialObjectMetadata(?:List)?)(?![A-Za-z])/.exec(String(request.headers.accept ?? ''))?.[1];
  return wanted === undefined ? 'whole' : wanted.endsWith('List') ? 'metadata list' : 'metadata';
}

const notAcceptable = (message: string): Refusal => new Refusal(406, 'NotAcceptable', message);
const goType = ({ group, kind }: Kind): string => `${group === '' ? 'core' : (group.split('.')[0] as string)}.${kind}`;

/** Metadata of an object was asked for, where a list is. */
export const isList = (kind: Kind): Refusal =>
  notAcceptable(
    `you requested PartialObjectMetadata, but the requested object is a list (*${kind.custom ? 'unstructured.Unstructured' : goType(kind)}List)`,
  );

export const isNoList = (kind: Kind): Refusal =>
  kind.custom
    ? new Refusal(500, null, 'content is not a list')
    : notAcceptable(`you requested PartialObjectMetadataList, but the requested object is not a list (*${goType(kind)})`);

export function verbOf(method: string, named: boolean, watch: boolean): string {
  if (method === 'GET') return watch ? 'watch' : named ? 'get' : 'list';
  if (method === 'DELETE') return named ? 'delete' : 'deletecollection';
  return { POST: 'create', PUT: 'update', PATCH: 'patch' }[method] ?? method.toLowerCase();
}

const MAX_BODY = 3 * 1024 * 1024;

export function parsed(body: Buffer, type = ''): unknown {
  try {
    return (type.startsWith('application/apply-patch') ? parse(body.toString()) : JSON.parse(body.toString())) as unknown;
  } catch (cause) {
    throw badRequest(`couldn't get version/kind; json parse error: ${(cause as Error).message}`);
  }
}

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Refusal(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${MAX_BODY}`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
